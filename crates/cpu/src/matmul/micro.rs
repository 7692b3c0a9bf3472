//! The innermost function: a tile of the output in registers.

use super::pack::PanelsByRows;
use crate::simd::{Kernel, Vector};

/// Vectors next to each other in a tile.
pub(crate) const VECTORS: usize = 2;

/// Rows of a full tile: the accumulators, the vectors of the right side and one broadcast fill the registers.
#[inline(always)]
pub(crate) fn tile_rows<V: Vector>() -> usize {
    tile_rows_of(V::REGISTERS)
}

const fn tile_rows_of(registers: usize) -> usize {
    (registers - 1 - VECTORS) / VECTORS
}

/// Cache lines to ask for while a tile is computed, one a step, because later tiles will read them: so memory works
/// while the arithmetic does.
#[derive(Clone, Copy)]
pub(crate) struct Ahead {
    /// Where to start; addresses that are not accessible do no harm.
    pub pointer: *const f32,
    /// Elements from one to the next.
    pub step: isize,
    /// Elements to skip after every sixteen.
    pub jump: isize,
}

impl Ahead {
    /// Asks for nothing.
    pub const NOTHING: Ahead = Ahead { pointer: std::ptr::null(), step: 0, jump: 0 };

    /// The rows of panels from one on, of which each has sixteen lines.
    pub fn rows(panels: &PanelsByRows, first: usize) -> Ahead {
        let pointer = panels.from.wrapping_offset(first as isize * panels.inner);
        Ahead { pointer, step: 16, jump: panels.inner - 16 * 16 }
    }

    /// The lines that `16 * steps` elements span, as a tile of `steps` steps asks for them. The elements are sixteen to
    /// a step, `inner` apart, or (if that is 1) `steps` to each of sixteen rows that are `across` apart.
    pub fn sixteen(pointer: *const f32, across: isize, inner: isize) -> Ahead {
        if inner == 1 {
            Ahead { pointer, step: across, jump: 16 - 16 * across }
        } else {
            Ahead { pointer, step: inner, jump: 0 }
        }
    }
}

/// Asks for a cache line to be brought into the second cache.
#[inline(always)]
fn prefetch(line: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which is allowed for any address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(line.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}

/// What a tile is computed from.
#[derive(Clone, Copy)]
pub(crate) struct TileArguments {
    /// Row 0 of the first step; from row to row it is the `STRIDE` of the tile, a constant for the compiler's sake.
    pub left: *const f32,
    /// Elements from one step of the contracted axis to the next.
    pub left_step: isize,
    /// Column 0 of the first step; columns are contiguous and there are whole vectors of them.
    pub right: *const f32,
    /// Elements from one step of the contracted axis to the next.
    pub right_step: isize,
    /// Steps of the contracted axis.
    pub steps: usize,
    /// The first element of the output; columns are contiguous.
    pub out: *mut f32,
    /// Elements from one row of the output to the next.
    pub out_row: isize,
    /// Columns that the output has here.
    pub columns: usize,
    /// Whether to add to what is in the output.
    pub accumulate: bool,
    /// What to ask for meanwhile.
    pub ahead: Ahead,
}

struct TileKernel<const ROWS: usize, const COUNT: usize, const STRIDE: usize>(TileArguments);

impl<const ROWS: usize, const COUNT: usize, const STRIDE: usize> Kernel for TileKernel<ROWS, COUNT, STRIDE> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let TileArguments { mut left, left_step, mut right, right_step, steps, mut ahead, .. } = self.0;
        if ROWS > tile_rows::<V>() {
            return;
        }
        let mut sums = [[V::zero(); COUNT]; ROWS];
        // SAFETY: the pointers stay within what `compute_tile`'s caller vouches for; past the last step they are
        // not read.
        unsafe {
            for step in 0..steps {
                prefetch(ahead.pointer);
                let jump = if step % 16 == 15 { ahead.jump } else { 0 };
                ahead.pointer = ahead.pointer.wrapping_offset(ahead.step + jump);
                let mut columns = [V::zero(); COUNT];
                for (vector, column) in columns.iter_mut().enumerate() {
                    *column = V::load(right.add(vector * V::LANES));
                }
                for (row, sums) in sums.iter_mut().enumerate() {
                    let factor = V::splat(*left.add(row * STRIDE));
                    for (sum, column) in sums.iter_mut().zip(&columns) {
                        *sum = factor.mul_add(*column, *sum);
                    }
                }
                left = left.wrapping_offset(left_step);
                right = right.wrapping_offset(right_step);
            }
            if self.0.columns == COUNT * V::LANES {
                for (row, sums) in sums.iter().enumerate() {
                    let out = self.0.out.offset(row as isize * self.0.out_row);
                    for (vector, sum) in sums.iter().enumerate() {
                        let out = out.add(vector * V::LANES);
                        let sum = if self.0.accumulate { sum.add(V::load(out)) } else { *sum };
                        sum.store(out);
                    }
                }
            } else {
                for (row, sums) in sums.iter().enumerate() {
                    let out = self.0.out.offset(row as isize * self.0.out_row);
                    for (vector, sum) in sums.iter().enumerate() {
                        let start = vector * V::LANES;
                        let count = self.0.columns.saturating_sub(start).min(V::LANES);
                        let out = out.wrapping_add(start);
                        let sum = if self.0.accumulate { sum.add(V::load_partial(out, count)) } else { *sum };
                        sum.store_partial(out, count);
                    }
                }
            }
        }
    }
}

/// Computes a tile of `rows` rows and `vectors` vectors.
///
/// # Safety
/// `1..=tile_rows()` rows and `1..=VECTORS` vectors; everything that the arguments describe is accessible.
#[inline(always)]
pub(crate) unsafe fn compute_tile<V: Vector, const STRIDE: usize>(
    rows: usize,
    vectors: usize,
    arguments: TileArguments,
) {
    debug_assert!(rows <= tile_rows::<V>() && (1..=VECTORS).contains(&vectors));
    macro_rules! dispatch {
        ($($rows:literal)*) => {
            match (rows, vectors) {
                $(($rows, 1) => V::call(TileKernel::<$rows, 1, STRIDE>(arguments)),
                  ($rows, _) => V::call(TileKernel::<$rows, VECTORS, STRIDE>(arguments)),)*
                _ => unreachable!("no tile of {rows} rows"),
            }
        };
    }
    dispatch!(1 2 3 4 5 6 7 8 9 10 11 12 13 14)
}

const _: () = assert!(tile_rows_of(32) == 14);
