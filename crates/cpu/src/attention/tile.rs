//! Small products inside an attention, and the memory for them.

use crate::matmul::micro::{Ahead, TileArguments, VECTORS, compute_tile, tile_rows};
use crate::matmul::pack::pack_panel;
use crate::pool::share;
use crate::simd::Vector;

/// `out[row, column] (+)= Σ left[step, row] · right[step, column]`.
pub(super) struct Multiply {
    /// Rows at distance `STRIDE`.
    pub left: *const f32,
    pub left_step: usize,
    /// Columns next to each other, whole vectors of them.
    pub right: *const f32,
    pub right_step: isize,
    pub steps: usize,
    pub rows: usize,
    pub columns: usize,
    pub out: *mut f32,
    pub out_row: isize,
    pub accumulate: bool,
}

/// # Safety
/// Everything described is accessible.
#[inline(always)]
pub(super) unsafe fn multiply<V: Vector, const STRIDE: usize>(product: Multiply) {
    let row_tiles = product.rows.div_ceil(tile_rows::<V>());
    let panel = VECTORS * V::LANES;
    let mut column = 0;
    while column < product.columns {
        let columns = (product.columns - column).min(panel);
        for tile in 0..row_tiles {
            let rows = share(product.rows, row_tiles, tile);
            let arguments = TileArguments {
                left: product.left.wrapping_add(rows.start * STRIDE),
                left_step: product.left_step as isize,
                right: product.right.wrapping_add(column),
                right_step: product.right_step,
                steps: product.steps,
                out: product.out.wrapping_offset(rows.start as isize * product.out_row + column as isize),
                out_row: product.out_row,
                columns,
                accumulate: product.accumulate,
                ahead: Ahead::NOTHING,
            };
            // SAFETY: the caller's promise.
            unsafe { compute_tile::<V, STRIDE>(rows.len(), columns.div_ceil(V::LANES), arguments) };
        }
        column += columns;
    }
}

/// Rows of `size` numbers, `stride` apart.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    pub pointer: *const f32,
    pub stride: isize,
}

impl Rows {
    /// The rows from `row` on.
    #[inline(always)]
    pub fn from(self, row: usize) -> Rows {
        Rows { pointer: self.pointer.wrapping_offset(row as isize * self.stride), ..self }
    }
}

/// Writes number `i` of row `j` to `to + i * width + j`; a last vector is filled with zeros.
///
/// # Safety
/// The rows are readable; `to` has room for `size * width`; `count <= width`.
#[inline(always)]
pub(super) unsafe fn pack_transposed<V: Vector>(
    rows: Rows,
    count: usize,
    size: usize,
    to: *mut f32,
    width: usize,
) {
    // SAFETY: the caller's promise.
    unsafe { pack_panel::<V>(rows.pointer, rows.stride, 1, count, size, to, width) };
}

/// The rows in a form whose columns can be read as whole vectors: themselves, or a copy filled up with zeros.
///
/// # Safety
/// The rows are readable; `copy` has room for `count` rows of `size` rounded up to whole vectors.
#[inline(always)]
pub(super) unsafe fn whole_vectors<V: Vector>(rows: Rows, count: usize, size: usize, copy: *mut f32) -> Rows {
    if size.is_multiple_of(V::LANES) {
        return rows;
    }
    let width = size.next_multiple_of(V::LANES);
    // SAFETY: the caller's promise.
    unsafe { pack_panel::<V>(rows.pointer, 1, rows.stride, size, count, copy, width) };
    Rows { pointer: copy, stride: width as isize }
}

/// The scratch memory of all threads.
pub(super) struct Scratch {
    start: *mut f32,
    of_each: usize,
}

// SAFETY: each thread takes its own part.
unsafe impl Sync for Scratch {}

impl Scratch {
    pub fn new(start: *mut f32, of_each: usize) -> Scratch {
        Scratch { start, of_each }
    }

    pub fn of_thread(&self, thread: usize) -> Parts {
        let start = self.start.wrapping_add(thread * self.of_each);
        // Vectors that cross cache lines cost twice.
        Parts { next: start.wrapping_add(start.align_offset(64).min(LINE)) }
    }
}

/// Numbers in a cache line.
const LINE: usize = 16;

/// Cuts scratch memory into pieces that start at cache lines. Made by the same calls as [`length`] counts.
pub(super) struct Parts {
    next: *mut f32,
}

impl Parts {
    /// The next piece.
    #[inline(always)]
    pub fn take(&mut self, length: usize) -> *mut f32 {
        let piece = self.next;
        self.next = piece.wrapping_add(length.next_multiple_of(LINE));
        piece
    }
}

/// Scratch for pieces of these lengths, with what alignment may cost.
pub(super) fn length(pieces: &[usize]) -> usize {
    pieces.iter().map(|length| length.next_multiple_of(LINE)).sum::<usize>() + LINE
}
