//! NumPy's basic indexing: positions, ranges with steps, new axes.

use super::Tensor;
use super::node::{apply, fail};
use dropforge_ir::Op;
use std::ops::{Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

/// What stands for one axis, or several, in [`Tensor::index`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Index {
    /// One position, from the end if negative; the axis disappears.
    At(isize),
    /// The positions from `start` to `stop`, which is left out, by `step`; negative ones count from the end, and
    /// missing ones stand for the ends. As in NumPy, what lies outside is left out.
    Range {
        /// The first position.
        start: Option<isize>,
        /// The position before which it ends.
        stop: Option<isize>,
        /// From position to position; not 0.
        step: isize,
    },
    /// A new axis of extent 1.
    NewAxis,
    /// All axes that no other index stands for.
    Ellipsis,
}

/// A new axis of extent 1, in [`Tensor::index`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewAxis;

/// All axes that no other index stands for, in [`Tensor::index`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ellipsis;

/// Something that stands for axes in [`Tensor::index`]: a position, a range, [`NewAxis`], [`Ellipsis`], or a
/// [`stepped`] through a range.
pub trait IntoIndex {
    /// The index.
    fn into_index(self) -> Index;
}

/// Every `step`-th position of a range; backwards from its end if negative, as NumPy's `start:stop:step`. `stepped(..,
/// -1)` reverses.
pub fn stepped(range: impl IntoIndex, step: isize) -> Index {
    match range.into_index() {
        Index::Range { start, stop, .. } => Index::Range { start, stop, step },
        other => other,
    }
}

macro_rules! indices {
    ($($type:ty, $value:ident => $index:expr;)*) => {$(
        impl IntoIndex for $type {
            fn into_index(self) -> Index {
                let $value = self;
                $index
            }
        }
    )*};
}

/// The stop behind an included last position; the last of all, −1, has none.
fn behind(last: isize) -> Option<isize> {
    if last == -1 { None } else { last.checked_add(1) }
}

indices! {
    Index, index => index;
    isize, position => Index::At(position);
    NewAxis, _axis => Index::NewAxis;
    Ellipsis, _rest => Index::Ellipsis;
    RangeFull, _all => Index::Range { start: None, stop: None, step: 1 };
    Range<isize>, range => Index::Range { start: Some(range.start), stop: Some(range.end), step: 1 };
    RangeFrom<isize>, range => Index::Range { start: Some(range.start), stop: None, step: 1 };
    RangeTo<isize>, range => Index::Range { start: None, stop: Some(range.end), step: 1 };
    RangeInclusive<isize>, range => Index::Range { start: Some(*range.start()), stop: behind(*range.end()), step: 1 };
    RangeToInclusive<isize>, range => Index::Range { start: None, stop: behind(range.end), step: 1 };
}

/// Indices for the axes of a tensor, outermost first: one, or a tuple of up to eight.
pub trait IntoIndices {
    /// The indices.
    fn into_indices(self) -> Vec<Index>;
}

impl<T: IntoIndex> IntoIndices for T {
    fn into_indices(self) -> Vec<Index> {
        vec![self.into_index()]
    }
}

impl IntoIndices for Vec<Index> {
    fn into_indices(self) -> Vec<Index> {
        self
    }
}

impl IntoIndices for &[Index] {
    fn into_indices(self) -> Vec<Index> {
        self.to_vec()
    }
}

macro_rules! index_tuples {
    ($($name:ident)*) => {
        impl<$($name: IntoIndex),*> IntoIndices for ($($name,)*) {
            #[expect(non_snake_case, reason = "type parameters name the elements of the tuple")]
            fn into_indices(self) -> Vec<Index> {
                let ($($name,)*) = self;
                vec![$($name.into_index()),*]
            }
        }
    };
}
index_tuples!(A);
index_tuples!(A B);
index_tuples!(A B C);
index_tuples!(A B C D);
index_tuples!(A B C D E);
index_tuples!(A B C D E F);
index_tuples!(A B C D E F G);
index_tuples!(A B C D E F G H);

/// Which positions of an axis are taken: `count` from `first` on, by `step`.
fn positions(extent: usize, start: Option<isize>, stop: Option<isize>, step: isize) -> (usize, usize) {
    let extent = extent as isize;
    // Where a walk may begin and end: before the first position only when walking backwards.
    let (low, high) = if step > 0 { (0, extent) } else { (-1, extent - 1) };
    let place = |position: isize| {
        let counted = if position < 0 { position.saturating_add(extent) } else { position };
        counted.clamp(low, high)
    };
    let first = start.map_or(if step > 0 { 0 } else { extent - 1 }, place);
    let end = stop.map_or(if step > 0 { extent } else { -1 }, place);
    let way = if step > 0 { end - first } else { first - end };
    let count = way.max(0).unsigned_abs().div_ceil(step.unsigned_abs());
    (first.max(0).unsigned_abs(), count)
}

impl Tensor {
    /// The part that indices name, as NumPy's `x[…]`, with one index for each axis from the first on: a position (the
    /// axis disappears), a range (`1..-1`, `..`), a [`stepped`] through one, [`NewAxis`] or [`Ellipsis`]. Axes without
    /// an index stay whole. Ranges are cut to the extents; a position outside is an error.
    ///
    /// ```
    /// use dropforge::prelude::*;
    /// use dropforge::{Ellipsis, NewAxis, stepped};
    ///
    /// let x = Tensor::arange(0, 24).reshape([2, 3, 4]);
    /// assert_eq!(x.index((0, -1)).to_vec::<i32>()?, [8, 9, 10, 11]);
    /// assert_eq!(x.index((Ellipsis, stepped(.., -2))).index((1, 0..1)).to_vec::<i32>()?, [15, 13]);
    /// assert_eq!(x.index((.., NewAxis, 1..)).shape().to_vec(), [2, 1, 2, 4]);
    /// # Ok::<(), dropforge::Error>(())
    /// ```
    #[track_caller]
    pub fn index(&self, indices: impl IntoIndices) -> Tensor {
        let indices = indices.into_indices();
        let named = indices.iter().filter(|index| !matches!(index, Index::NewAxis | Index::Ellipsis)).count();
        let ellipses = indices.iter().filter(|index| **index == Index::Ellipsis).count();
        if named > self.rank() || ellipses > 1 {
            let message = if ellipses > 1 {
                "one ellipsis at most can stand for the remaining axes".into()
            } else {
                format!("{named} indices are more than {} has axes", self.shape())
            };
            return fail("index", message, &[self]);
        }
        let rest = self.rank() - named;
        let whole = Index::Range { start: None, stop: None, step: 1 };
        let mut all = Vec::new();
        for index in indices {
            match index {
                Index::Ellipsis => all.extend(std::iter::repeat_n(whole.clone(), rest)),
                other => all.push(other),
            }
        }
        if ellipses == 0 {
            all.extend(std::iter::repeat_n(whole, rest));
        }
        let (mut start, mut stop, mut steps) = (Vec::new(), Vec::new(), Vec::new());
        let (mut flipped, mut shape) = (Vec::new(), Vec::new());
        for index in all {
            let axis = start.len();
            let (first, count, step) = match index {
                Index::NewAxis | Index::Ellipsis => {
                    shape.push(1);
                    continue;
                }
                Index::At(position) => {
                    let extent = self.shape()[axis];
                    let counted =
                        if position < 0 { position.saturating_add_unsigned(extent) } else { position };
                    match usize::try_from(counted) {
                        Ok(place) if place < extent => (place, 1, 1),
                        _ => {
                            let message =
                                format!("position {position} is outside axis {axis} of {}", self.shape());
                            return fail("index", message, &[self]);
                        }
                    }
                }
                Index::Range { step: 0, .. } => {
                    return fail("index", format!("the step along axis {axis} must not be 0"), &[self]);
                }
                Index::Range { start, stop, step } => {
                    let (first, count) = positions(self.shape()[axis], start, stop, step);
                    shape.push(count);
                    (first, count, step)
                }
            };
            let reach = count.saturating_sub(1) * step.unsigned_abs();
            // A walk backwards is one forwards, turned round.
            let low = if step > 0 || count == 0 { first } else { first - reach };
            if step < 0 && count > 1 {
                flipped.push(axis);
            }
            start.push(low);
            stop.push(if count == 0 { low } else { low + reach + 1 });
            steps.push(step.unsigned_abs());
        }
        let mut part = apply("index", Op::Slice { start, stop, step: steps }, &[self]);
        if !flipped.is_empty() {
            part = apply("index", Op::Flip { axes: flipped }, &[&part]);
        }
        part.reshape(shape)
    }
}
