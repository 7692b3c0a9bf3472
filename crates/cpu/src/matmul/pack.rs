//! Copies blocks of a matrix into the order in which they are read: panels of a fixed width, step after step.

use crate::simd::{MAX_LANES, Vector};
use std::ops::Range;

/// Copies `count` rows of `steps` elements to a panel: element `i` of step `s` goes to `s * width + i`. The elements
/// from `count` to the next whole vector are zeros.
///
/// # Safety
/// `from + i * across + s * inner` is readable for all of them; `to` has room for `steps * width`; `count <= width`,
/// a multiple of the lanes.
#[inline(always)]
pub(crate) unsafe fn pack_panel<V: Vector>(
    from: *const f32,
    across: isize,
    inner: isize,
    count: usize,
    steps: usize,
    to: *mut f32,
    width: usize,
) {
    let mut first = 0;
    while first < count {
        let part = (count - first).min(V::LANES);
        // SAFETY: the caller's promise for `part` rows from `first`.
        unsafe {
            let from = from.offset(first as isize * across);
            let to = to.add(first);
            if across == 1 {
                copy_rows::<V>(from, inner, part, steps, to, width);
            } else if inner == 1 {
                transpose_rows::<V>(from, across, part, steps, to, width);
            } else {
                copy_elements(from, [across, inner], part, steps, to, [V::LANES, width]);
            }
        }
        first += part;
    }
}

/// Columns of a matrix whose rows are contiguous, as panels one after another, each as [`pack_panel`] makes it.
#[derive(Clone, Copy)]
pub(crate) struct PanelsByRows {
    pub from: *const f32,
    /// Elements from one row to the next.
    pub inner: isize,
    /// Columns.
    pub count: usize,
    /// Rows.
    pub steps: usize,
    pub to: *mut f32,
    /// Columns of a panel.
    pub width: usize,
}

/// Copies some of the rows. Walks along them, and asks for those that come next: where rows are far apart in memory,
/// that is much faster than walking along the panels.
///
/// # Safety
/// As [`pack_panel`] for each panel.
#[inline(always)]
pub(crate) unsafe fn pack_panels_by_rows<V: Vector>(panels: PanelsByRows, rows: Range<usize>) {
    /// Rows from the one that is copied to the one that is asked for.
    const AHEAD: usize = 2;
    let PanelsByRows { from, inner, count, steps, to, width } = panels;
    for step in rows {
        let row = from.wrapping_offset(step as isize * inner);
        let next = row.wrapping_offset(inner * AHEAD.min(steps - 1 - step) as isize);
        let mut column = 0;
        while column < count {
            let part = (count - column).min(V::LANES);
            let (panel, within) = (column / width, column % width);
            // SAFETY: the caller's promise.
            unsafe {
                V::prefetch(next.wrapping_add(column));
                let from = row.add(column);
                let vector = if part == V::LANES { V::load(from) } else { V::load_partial(from, part) };
                vector.store(to.add(panel * steps * width + step * width + within));
            }
            column += part;
        }
    }
}

/// The elements of a step are contiguous.
///
/// # Safety
/// As [`pack_panel`], one vector.
#[inline(always)]
unsafe fn copy_rows<V: Vector>(
    mut from: *const f32,
    inner: isize,
    count: usize,
    steps: usize,
    to: *mut f32,
    width: usize,
) {
    for step in 0..steps {
        // SAFETY: the caller's promise.
        unsafe {
            let row = if count == V::LANES { V::load(from) } else { V::load_partial(from, count) };
            row.store(to.add(step * width));
        }
        from = from.wrapping_offset(inner);
    }
}

/// The steps of a row are contiguous: squares are transposed in registers.
///
/// # Safety
/// As [`pack_panel`], one vector.
#[inline(always)]
unsafe fn transpose_rows<V: Vector>(
    from: *const f32,
    across: isize,
    count: usize,
    steps: usize,
    to: *mut f32,
    width: usize,
) {
    let mut step = 0;
    while step < steps {
        let part = (steps - step).min(V::LANES);
        let mut square = [V::zero(); MAX_LANES];
        // SAFETY: the caller's promise.
        unsafe {
            if part == V::LANES && count == V::LANES {
                for (row, square) in square.iter_mut().enumerate().take(V::LANES) {
                    *square = V::load(from.offset(row as isize * across).add(step));
                }
            } else {
                for (row, square) in square.iter_mut().enumerate().take(count) {
                    *square = V::load_partial(from.offset(row as isize * across).add(step), part);
                }
            }
            V::transpose(&mut square);
            if part == V::LANES {
                for (row, square) in square.iter().enumerate().take(V::LANES) {
                    square.store(to.add((step + row) * width));
                }
            } else {
                for (row, square) in square.iter().enumerate().take(part) {
                    square.store(to.add((step + row) * width));
                }
            }
        }
        step += part;
    }
}

/// Nothing is contiguous.
///
/// # Safety
/// As [`pack_panel`], one vector of `lanes`.
#[inline(always)]
unsafe fn copy_elements(
    from: *const f32,
    [across, inner]: [isize; 2],
    count: usize,
    steps: usize,
    to: *mut f32,
    [lanes, width]: [usize; 2],
) {
    for step in 0..steps {
        for i in 0..lanes {
            // SAFETY: the caller's promise.
            unsafe {
                let value =
                    if i < count { *from.offset(i as isize * across + step as isize * inner) } else { 0.0 };
                *to.add(step * width + i) = value;
            }
        }
    }
}
