//! Operations that move elements: reshape, transpose, slice, pad, flip, concat, stack.

use super::Tensor;
use super::node::{apply, fail};
use super::shapes::{Axes, IntoShape, resolve_axis};
use dropforge_ir::{Op, Real, Shape};
use std::ops::{Bound, RangeBounds};

/// A shape for [`Tensor::reshape`], in which one `-1` stands for what is left: `[-1, 10]`, `(-1, 10)` or `-1` alone.
/// Vectors and slices of `usize` and [`Shape`]s do as well.
pub trait IntoReshape {
    /// The extents; at most one is -1.
    fn into_extents(self) -> Vec<isize>;
}

impl<const N: usize> IntoReshape for [isize; N] {
    fn into_extents(self) -> Vec<isize> {
        self.to_vec()
    }
}

impl<const N: usize> IntoReshape for &[isize; N] {
    fn into_extents(self) -> Vec<isize> {
        self.to_vec()
    }
}

macro_rules! known_extents {
    ($($type:ty),*) => {$(
        impl IntoReshape for $type {
            fn into_extents(self) -> Vec<isize> {
                // An extent beyond isize fits no tensor; it stays too large.
                self.iter().map(|&extent| isize::try_from(extent).unwrap_or(isize::MAX)).collect()
            }
        }
    )*};
}
known_extents!(Vec<usize>, &[usize], Shape, &Shape);

impl IntoReshape for isize {
    fn into_extents(self) -> Vec<isize> {
        vec![self]
    }
}

macro_rules! extent_tuples {
    ($($($name:ident)*;)*) => {$(
        impl IntoReshape for ($(extent_tuples!(@isize $name),)*) {
            #[expect(non_snake_case, reason = "the elements have the names of the pattern")]
            fn into_extents(self) -> Vec<isize> {
                let ($($name,)*) = self;
                vec![$($name),*]
            }
        }
    )*};
    (@isize $name:ident) => { isize };
}
extent_tuples! {
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
}

impl Tensor {
    /// The same elements in row-major order under another shape; one `-1` stands for what is left.
    #[doc(alias = "view")]
    #[track_caller]
    pub fn reshape(&self, shape: impl IntoReshape) -> Tensor {
        let extents = shape.into_extents();
        if let Some(extent) = extents.iter().find(|&&extent| extent < -1) {
            let message = format!("{extent} is no extent; only -1 stands for what is left, in {extents:?}");
            return fail("reshape", message, &[self]);
        }
        let unknown = extents.iter().filter(|&&extent| extent < 0).count();
        let known = extents
            .iter()
            .filter_map(|&extent| usize::try_from(extent).ok())
            .fold(1usize, |product, extent| product.saturating_mul(extent));
        if unknown > 1 || (unknown == 1 && (known == 0 || !self.elements().is_multiple_of(known))) {
            let message = format!("{} does not go into {extents:?}", self.shape());
            return fail("reshape", message, &[self]);
        }
        let rest = || self.elements() / known;
        let shape: Shape =
            extents.iter().map(|&extent| usize::try_from(extent).unwrap_or_else(|_| rest())).collect();
        self.reshaped("reshape", shape)
    }

    #[track_caller]
    fn reshaped(&self, name: &str, shape: Shape) -> Tensor {
        if shape == *self.shape() { self.clone() } else { apply(name, Op::Reshape { shape }, &[self]) }
    }

    /// The axes from `start` on merged into one: `flatten(1)` keeps the batch.
    #[track_caller]
    pub fn flatten(&self, start: usize) -> Tensor {
        if start > self.rank() {
            return fail("flatten", format!("there is no axis {start} in {}", self.shape()), &[self]);
        }
        let merged = self.shape()[start..].iter().product();
        self.reshaped("flatten", self.shape()[..start].iter().copied().chain([merged]).collect())
    }

    /// Two axes exchanged.
    #[track_caller]
    pub fn transpose(&self, a: isize, b: isize) -> Tensor {
        match (resolve_axis(a, self.shape()), resolve_axis(b, self.shape())) {
            (Ok(a), Ok(b)) => {
                let mut order: Vec<usize> = (0..self.rank()).collect();
                order.swap(a, b);
                apply("transpose", Op::Permute { order }, &[self])
            }
            (Err(message), _) | (_, Err(message)) => fail("transpose", message, &[self]),
        }
    }

    /// A matrix with rows and columns exchanged; of more axes, the last two.
    #[doc(alias = "transpose")]
    #[track_caller]
    pub fn t(&self) -> Tensor {
        self.transpose(-2, -1)
    }

    /// The axes reordered: axis `i` of the result is axis `order[i]` of this.
    #[doc(alias = "transpose")]
    #[track_caller]
    pub fn permute(&self, order: &[usize]) -> Tensor {
        apply("permute", Op::Permute { order: order.to_vec() }, &[self])
    }

    /// Axes of extent 1 removed: `squeeze(..)` all of them, `squeeze(1)` that one. Others that are named stay, as in
    /// PyTorch.
    #[track_caller]
    pub fn squeeze(&self, axes: impl Axes) -> Tensor {
        match axes.resolve(self.shape()) {
            Ok(axes) => {
                let gone = |axis: usize| axes.contains(&axis) && self.shape()[axis] == 1;
                let kept = (0..self.rank()).filter(|&axis| !gone(axis)).map(|axis| self.shape()[axis]);
                self.reshaped("squeeze", kept.collect())
            }
            Err(message) => fail("squeeze", message, &[self]),
        }
    }

    /// A new axis of extent 1 at this position of the result; `-1` puts it last.
    #[track_caller]
    pub fn unsqueeze(&self, axis: isize) -> Tensor {
        let rank = self.rank() as isize;
        let position = if axis < 0 { axis.saturating_add(rank + 1) } else { axis };
        if !(0..=rank).contains(&position) {
            return fail("unsqueeze", format!("there is no place {axis} in {}", self.shape()), &[self]);
        }
        let mut extents = self.shape().to_vec();
        extents.insert(position.unsigned_abs(), 1);
        self.reshaped("unsqueeze", extents.into())
    }

    /// The positions of a range along one axis: `x.slice(0, 1..3)`, `x.slice(-1, ..5)`.
    #[track_caller]
    pub fn slice(&self, axis: isize, range: impl RangeBounds<usize>) -> Tensor {
        self.slice_step(axis, range, 1)
    }

    /// Every `step`-th position of a range along one axis, from its start on.
    #[track_caller]
    pub fn slice_step(&self, axis: isize, range: impl RangeBounds<usize>, step: usize) -> Tensor {
        let shape = self.shape();
        let axis = match resolve_axis(axis, shape) {
            Ok(axis) => axis,
            Err(message) => return fail("slice", message, &[self]),
        };
        let (mut start, mut stop) = (vec![0; shape.rank()], shape.to_vec());
        let mut steps = vec![1; shape.rank()];
        start[axis] = match range.start_bound() {
            Bound::Included(&first) => first,
            Bound::Excluded(&before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        stop[axis] = match range.end_bound() {
            Bound::Included(&last) => last.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => shape[axis],
        };
        steps[axis] = step;
        apply("slice", Op::Slice { start, stop, step: steps }, &[self])
    }

    /// `length` positions along one axis from `start` on, as PyTorch's `narrow`.
    #[track_caller]
    pub fn narrow(&self, axis: isize, start: usize, length: usize) -> Tensor {
        self.slice(axis, start..start.saturating_add(length))
    }

    /// The part at one position along an axis, which disappears.
    #[track_caller]
    pub fn at(&self, axis: isize, position: usize) -> Tensor {
        let part = self.slice(axis, position..position.saturating_add(1));
        part.squeeze(axis)
    }

    /// `value` put around the elements: `low[i]` before and `high[i]` after along axis `i`.
    #[doc(alias = "constant_pad_nd")]
    #[track_caller]
    pub fn pad(&self, low: &[usize], high: &[usize], value: f32) -> Tensor {
        let op = Op::Pad {
            low: low.to_vec(),
            high: high.to_vec(),
            interior: vec![0; self.rank()],
            value: Real(f64::from(value)),
        };
        apply("pad", op, &[self])
    }

    /// The elements in reverse along axes.
    #[track_caller]
    pub fn flip(&self, axes: impl Axes) -> Tensor {
        match axes.resolve(self.shape()) {
            Ok(axes) => apply("flip", Op::Flip { axes }, &[self]),
            Err(message) => fail("flip", message, &[self]),
        }
    }

    /// Tensors joined along an axis; the other extents must be equal.
    #[doc(alias = "cat")]
    #[track_caller]
    pub fn concat(tensors: &[&Tensor], axis: isize) -> Tensor {
        let Some(first) = tensors.first() else {
            return fail("concat", "there is nothing to join", &[]);
        };
        match resolve_axis(axis, first.shape()) {
            Ok(axis) => apply("concat", Op::Concat { axis }, tensors),
            Err(message) => fail("concat", message, tensors),
        }
    }

    /// Tensors of one shape joined along a new axis at this position of the result.
    #[track_caller]
    pub fn stack(tensors: &[&Tensor], axis: isize) -> Tensor {
        let mut layers = Vec::with_capacity(tensors.len());
        for tensor in tensors {
            layers.push(tensor.unsqueeze(axis));
        }
        let layers: Vec<&Tensor> = layers.iter().collect();
        Tensor::concat(&layers, axis)
    }

    /// The same as [`Tensor::broadcast_to`], by PyTorch's name.
    #[doc(alias = "expand_as")]
    #[track_caller]
    pub fn expand(&self, shape: impl IntoShape) -> Tensor {
        self.broadcast_to(shape)
    }
}
