//! Copies between two layouts of the same elements.

use super::transpose::transpose_plane;
use super::{Element, GRAIN};
use crate::matmul::{are_apart, reach};
use crate::pool::Pool;
use crate::simd::Level;

/// One axis of both layouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Axis {
    pub extent: usize,
    pub from: isize,
    pub to: isize,
}

/// A copy from strides to strides, in elements, decided on once. Source strides may be zero (broadcast) or negative
/// (flip); destination strides lead to distinct elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StridedCopy {
    /// Without axes of extent 1; neighbours that one stride describes are joined; the destination's smallest stride is
    /// last.
    axes: Vec<Axis>,
    /// The axis other than the last along which the source is contiguous, if the copy is a transposition.
    transposed: Option<usize>,
    /// The axis that is divided among threads.
    divided: usize,
    elements: usize,
    level: Level,
}

impl StridedCopy {
    /// The copy of `extents` elements from `from` strides to `to` strides. Panics if the lengths differ or elements of
    /// the destination may overlap.
    pub fn new(extents: &[usize], from: &[isize], to: &[isize]) -> StridedCopy {
        assert!(extents.len() == from.len() && extents.len() == to.len(), "a stride for each axis");
        assert!(are_apart(extents.iter().zip(to)), "destination elements may overlap: {extents:?}, {to:?}");
        let elements = extents.iter().product();
        let mut axes: Vec<Axis> = (0..extents.len())
            .map(|i| Axis { extent: extents[i], from: from[i], to: to[i] })
            .filter(|axis| axis.extent != 1)
            .collect();
        axes.sort_by_key(|axis| std::cmp::Reverse(axis.to.unsigned_abs()));
        let mut axes = join_neighbours(axes);
        if axes.is_empty() {
            axes.push(Axis { extent: 1, from: 1, to: 1 });
        }
        let last = axes.len() - 1;
        let inner = axes[last];
        let contiguous = |axis: &Axis| axis.from == 1;
        let transposed = if inner.to == 1 && inner.from != 1 && inner.from != 0 {
            axes[..last].iter().position(contiguous)
        } else {
            None
        };
        // The outermost axis that is long enough keeps the threads' parts far from each other.
        let long = axes.iter().position(|axis| axis.extent >= 64);
        let longest = (0..axes.len()).max_by_key(|&axis| axes[axis].extent);
        let divided = long.or(longest).unwrap_or(0);
        StridedCopy { axes, transposed, divided, elements, level: Level::detect() }
    }

    /// The copy that gathers a layout into a contiguous tensor of shape `extents`.
    pub fn to_contiguous(extents: &[usize], from: &[isize]) -> StridedCopy {
        StridedCopy::new(extents, from, &crate::matmul::contiguous_strides(extents))
    }

    /// The copy that makes a contiguous tensor of shape `shape` into the contiguous one whose axis `i` is axis
    /// `order[i]` of the first.
    pub fn permute(shape: &[usize], order: &[usize]) -> StridedCopy {
        let strides = crate::matmul::contiguous_strides(shape);
        let extents: Vec<usize> = order.iter().map(|&axis| shape[axis]).collect();
        let from: Vec<isize> = order.iter().map(|&axis| strides[axis]).collect();
        StridedCopy::to_contiguous(&extents, &from)
    }

    /// Copies.
    ///
    /// # Safety
    /// The pointers are to the elements at position 0 of all axes; what the strides reach from there is readable and
    /// writable, the destination not touched by others meanwhile, and the two do not overlap.
    pub unsafe fn run<T: Element>(&self, from: *const T, to: *mut T, pool: &Pool) {
        if self.elements == 0 {
            return;
        }
        let Axis { extent, from: from_stride, to: to_stride } = self.axes[self.divided];
        let pointers = Pointers { from, to };
        let grain = (GRAIN * extent).div_ceil(self.elements);
        pool.split(extent, grain, |_, range| {
            let Pointers { from, to } = &pointers;
            let part = Part {
                axes: &self.axes,
                divided: self.divided,
                extent: range.len(),
                from: from.wrapping_offset(range.start as isize * from_stride),
                to: to.wrapping_offset(range.start as isize * to_stride),
            };
            // SAFETY: the caller's promise; parts write distinct elements.
            unsafe {
                match self.transposed {
                    Some(axis) => part.transpose(axis, self.level),
                    None => part.copy(),
                }
            }
        });
    }

    /// As [`StridedCopy::run`], from and to slices in which position 0 is at the given offsets. Panics if the strides
    /// leave them.
    pub fn run_on_slices<T: Element>(
        &self,
        from: &[T],
        from_offset: usize,
        to: &mut [T],
        to_offset: usize,
        pool: &Pool,
    ) {
        if self.elements == 0 {
            return;
        }
        let fits = |stride: fn(&Axis) -> isize, offset: usize, length: usize| {
            let axes: Vec<(usize, isize)> =
                self.axes.iter().map(|axis| (axis.extent, stride(axis))).collect();
            let reach = reach(axes.iter().map(|(extent, stride)| (extent, stride)));
            let offset = offset as isize;
            offset + reach.start >= 0 && offset + reach.end <= length as isize
        };
        assert!(fits(|axis| axis.from, from_offset, from.len()), "the source is too short for {self:?}");
        assert!(fits(|axis| axis.to, to_offset, to.len()), "the destination is too short for {self:?}");
        // SAFETY: just checked; the destination is borrowed mutably.
        unsafe { self.run(from.as_ptr().add(from_offset), to.as_mut_ptr().add(to_offset), pool) }
    }
}

/// Sorted axes with neighbours joined where one stride describes both on both sides.
fn join_neighbours(axes: Vec<Axis>) -> Vec<Axis> {
    let mut joined: Vec<Axis> = Vec::new();
    for axis in axes {
        if let Some(last) = joined.last_mut() {
            let extent = axis.extent as isize;
            if last.from == axis.from * extent && last.to == axis.to * extent {
                *last = Axis { extent: last.extent * axis.extent, ..axis };
                continue;
            }
        }
        joined.push(axis);
    }
    joined
}

struct Pointers<T> {
    from: *const T,
    to: *mut T,
}

// SAFETY: the threads of a copy read, and write distinct elements.
unsafe impl<T> Sync for Pointers<T> {}

/// What one thread copies: all axes, of one of them only `extent` positions.
struct Part<'a, T> {
    axes: &'a [Axis],
    divided: usize,
    extent: usize,
    from: *const T,
    to: *mut T,
}

impl<T: Element> Part<'_, T> {
    fn axis(&self, index: usize) -> Axis {
        let axis = self.axes[index];
        if index == self.divided { Axis { extent: self.extent, ..axis } } else { axis }
    }

    /// Calls `body` with both pointers at every position of the axes that are not `inner`.
    fn for_each_outer(&self, inner: [usize; 2], mut body: impl FnMut(*const T, *mut T)) {
        let mut outer: Vec<(Axis, usize)> = (0..self.axes.len())
            .filter(|axis| !inner.contains(axis))
            .map(|axis| (self.axis(axis), 0))
            .collect();
        let (mut from, mut to) = (self.from, self.to);
        'positions: loop {
            body(from, to);
            for (axis, position) in outer.iter_mut().rev() {
                *position += 1;
                from = from.wrapping_offset(axis.from);
                to = to.wrapping_offset(axis.to);
                if *position < axis.extent {
                    continue 'positions;
                }
                *position = 0;
                from = from.wrapping_offset(-(axis.extent as isize * axis.from));
                to = to.wrapping_offset(-(axis.extent as isize * axis.to));
            }
            return;
        }
    }

    /// Copies rows along the last axis, the last but one in a loop of its own.
    ///
    /// # Safety
    /// As [`StridedCopy::run`], for this part.
    unsafe fn copy(&self) {
        let last = self.axes.len() - 1;
        let inner = self.axis(last);
        let rows = if last > 0 { self.axis(last - 1) } else { Axis { extent: 1, from: 0, to: 0 } };
        self.for_each_outer([last, last.saturating_sub(1)], |from, to| {
            let (mut from, mut to) = (from, to);
            for _ in 0..rows.extent {
                // SAFETY: the caller's promise.
                unsafe { copy_row(from, to, inner) };
                from = from.wrapping_offset(rows.from);
                to = to.wrapping_offset(rows.to);
            }
        });
    }

    /// Copies planes of the last axis and `axis`, along which the source is contiguous.
    ///
    /// # Safety
    /// As [`StridedCopy::run`], for this part.
    unsafe fn transpose(&self, axis: usize, level: Level) {
        let last = self.axes.len() - 1;
        let (rows, columns) = (self.axis(axis), self.axis(last));
        self.for_each_outer([last, axis], |from, to| {
            // SAFETY: the caller's promise.
            unsafe { transpose_plane(from, columns.from, to, rows.to, [rows.extent, columns.extent], level) };
        });
    }
}

/// Copies along one axis.
///
/// # Safety
/// As [`StridedCopy::run`].
#[inline(always)]
unsafe fn copy_row<T: Element>(from: *const T, to: *mut T, axis: Axis) {
    // SAFETY: the caller's promise.
    unsafe {
        match (axis.from, axis.to) {
            (1, 1) => std::ptr::copy_nonoverlapping(from, to, axis.extent),
            (0, 1) => std::slice::from_raw_parts_mut(to, axis.extent).fill(*from),
            // Strides that are known while compiling become shuffles.
            (-1, 1) => copy_elements(from, to, Axis { from: -1, to: 1, ..axis }),
            (2, 1) => copy_elements(from, to, Axis { from: 2, to: 1, ..axis }),
            _ => copy_elements(from, to, axis),
        }
    }
}

/// # Safety
/// As [`StridedCopy::run`].
#[inline(always)]
unsafe fn copy_elements<T: Element>(from: *const T, to: *mut T, axis: Axis) {
    for i in 0..axis.extent as isize {
        // SAFETY: the caller's promise.
        unsafe { *to.offset(i * axis.to) = *from.offset(i * axis.from) };
    }
}
