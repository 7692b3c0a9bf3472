//! Slices picked by index, and added back by index.

use super::{Element, GRAIN};
use crate::pool::{Disjoint, Pool, share};
use crate::simd::{Kernel, Level, Vector};
use std::ops::Range;

/// An indexed axis of a contiguous tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexedShape {
    /// Positions before the axis.
    pub outer: usize,
    /// Extent of the axis.
    pub size: usize,
    /// Elements after the axis.
    pub inner: usize,
}

impl IndexedShape {
    /// The shape of `shape` seen from `axis`.
    pub fn new(shape: &[usize], axis: usize) -> IndexedShape {
        let (outer, inner) = (shape[..axis].iter().product(), shape[axis + 1..].iter().product());
        IndexedShape { outer, size: shape[axis], inner }
    }

    fn length(&self) -> usize {
        self.outer * self.size * self.inner
    }
}

/// Result `[outer, indices, inner]`: the slices of `from` (of this shape) that `indices` names; zeros for an index
/// outside the axis. Panics if lengths do not match.
pub fn gather<T: Element>(shape: IndexedShape, from: &[T], indices: &[i32], out: &mut [T], pool: &Pool) {
    let IndexedShape { outer, size, inner } = shape;
    assert_eq!(from.len(), shape.length(), "the operand has another size");
    assert_eq!(out.len(), outer * indices.len() * inner, "the result has another size");
    if out.is_empty() {
        return;
    }
    let rows = outer * indices.len();
    let result = Disjoint::new(out);
    pool.split(rows, GRAIN.div_ceil(inner + 4), |_, range| {
        // SAFETY: ranges of one split do not overlap.
        let part = unsafe { result.part(range.start * inner..range.end * inner) };
        let (mut position, mut next) = (range.start / indices.len(), range.start % indices.len());
        for row in part.chunks_exact_mut(inner) {
            match usize::try_from(indices[next]) {
                Ok(index) if index < size => {
                    let source = &from[(position * size + index) * inner..][..inner];
                    match (row, source) {
                        ([to], [from]) => *to = *from,
                        (row, source) => row.copy_from_slice(source),
                    }
                }
                _ => row.fill(T::default()),
            }
            next += 1;
            if next == indices.len() {
                (position, next) = (position + 1, 0);
            }
        }
    });
}

/// Columns below which a part of the elements after the axis is not worth a thread.
const LEAST_COLUMNS: usize = 16;

/// Result of this shape: zeros, to which the slices of `updates` `[outer, indices, inner]` are added where `indices`
/// names, in order; an index outside the axis adds nothing. The same sums for every number of threads. Panics if
/// lengths do not match.
pub fn scatter_add(shape: IndexedShape, updates: &[f32], indices: &[i32], out: &mut [f32], pool: &Pool) {
    let IndexedShape { outer, size, inner } = shape;
    assert_eq!(updates.len(), outer * indices.len() * inner, "the updates have another size");
    assert_eq!(out.len(), shape.length(), "the result has another size");
    if out.is_empty() {
        return;
    }
    let level = Level::detect();
    let work = updates.len() + out.len() / 4;
    let threads = pool.threads().min(work.div_ceil(GRAIN)).max(1);
    // Each thread owns positions before the axis, columns after it, or indices.
    let parts = if outer >= threads {
        [threads, 1, 1]
    } else if inner >= LEAST_COLUMNS * threads {
        [1, threads, 1]
    } else {
        [1, 1, threads]
    };
    let out = out.as_mut_ptr();
    let job = Add { updates, indices, out: Shared(out), shape };
    pool.split(threads, 1, |_, range| {
        for part in range {
            let own =
                |extent: usize, parts: usize| if parts == 1 { 0..extent } else { share(extent, parts, part) };
            let columns = if parts[1] == 1 {
                0..inner
            } else {
                let vectors = share(inner.div_ceil(LEAST_COLUMNS), parts[1], part);
                (vectors.start * LEAST_COLUMNS).min(inner)..(vectors.end * LEAST_COLUMNS).min(inner)
            };
            let (positions, indices) = (own(outer, parts[0]), own(size, parts[2]));
            level.call(AddPart { job: &job, positions, rows: indices, columns });
        }
    });
}

struct Shared(*mut f32);

// SAFETY: threads write the elements of their own part.
unsafe impl Sync for Shared {}

struct Add<'a> {
    updates: &'a [f32],
    indices: &'a [i32],
    out: Shared,
    shape: IndexedShape,
}

/// What one thread owns of the result. Lengths have been checked, ranges are within the shape.
struct AddPart<'a> {
    job: &'a Add<'a>,
    positions: Range<usize>,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Kernel for AddPart<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let AddPart { job: &Add { updates, indices, out: Shared(out), shape }, positions, rows, columns } =
            self;
        let IndexedShape { size, inner, .. } = shape;
        for position in positions {
            for row in rows.clone() {
                let start = (position * size + row) * inner + columns.start;
                // SAFETY: within the result, in this thread's part.
                unsafe { out.add(start).write_bytes(0, columns.len()) };
            }
            for (i, &index) in indices.iter().enumerate() {
                let Ok(row) = usize::try_from(index) else { continue };
                if !rows.contains(&row) {
                    continue;
                }
                let from = &updates[(position * indices.len() + i) * inner..][columns.clone()];
                // SAFETY: within the result, in this thread's part; `columns` are within a slice.
                unsafe {
                    let to = out.add((position * size + row) * inner + columns.start);
                    add_to::<V>(to, from);
                }
            }
        }
    }
}

/// Adds `from` to the elements at `to`.
///
/// # Safety
/// As many elements at `to` are this thread's.
#[inline(always)]
unsafe fn add_to<V: Vector>(to: *mut f32, from: &[f32]) {
    let whole = from.len() / V::LANES * V::LANES;
    // SAFETY: the caller's promise.
    unsafe {
        for start in (0..whole).step_by(V::LANES) {
            let to = to.add(start);
            V::load(to).add(V::load(from.as_ptr().add(start))).store(to);
        }
        for (i, value) in from.iter().enumerate().skip(whole) {
            *to.add(i) += value;
        }
    }
}
