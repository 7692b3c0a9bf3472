//! A tile of sums in registers.
//!
//! A pair is multiplied as `vdpbf16ps` does it: the later product is added to the sum first, then the earlier one, and
//! both additions round once. The instruction takes subnormal numbers for 0, the portable tile does not.

use super::Pairs;
use crate::simd::{Kernel, Level, Vector};

/// Columns of a tile.
pub(super) const COLUMNS: usize = 32;
/// Most rows of a tile: with two vectors of the right side, 30 of 32 registers.
pub(super) const MAX_ROWS: usize = 14;

/// What a tile is computed from.
#[derive(Clone, Copy)]
pub(super) struct TileArguments {
    /// Pairs of the rows, step after step.
    pub left: *const u32,
    /// Pairs of the columns, step after step.
    pub right: *const u32,
    pub pairs: usize,
    pub sums: *mut f32,
    /// From one row of sums to the next.
    pub sums_row: usize,
    /// Whether what is there is added to.
    pub accumulate: bool,
}

/// Computes a tile of so many rows.
///
/// # Safety
/// Everything that the arguments describe is accessible, `rows` is one of [`Pairs::rows`], and the machine has the
/// instructions.
pub(super) unsafe fn compute(pairs: Pairs, level: Level, rows: usize, arguments: TileArguments) {
    match pairs {
        Pairs::Portable => level.call(Portable { rows, arguments }),
        // SAFETY: the caller's promise.
        #[cfg(target_arch = "x86_64")]
        Pairs::Avx512 => unsafe { avx512::compute(rows, arguments) },
        // SAFETY: the caller's promise.
        #[cfg(target_arch = "x86_64")]
        Pairs::Amx => unsafe { super::amx::compute(arguments) },
    }
}

#[inline(always)]
fn later(pair: u32) -> f32 {
    f32::from_bits(pair & 0xffff_0000)
}

#[inline(always)]
fn earlier(pair: u32) -> f32 {
    f32::from_bits(pair << 16)
}

struct Portable {
    rows: usize,
    arguments: TileArguments,
}

impl Kernel for Portable {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let TileArguments { left, right, pairs, sums, sums_row, accumulate } = self.arguments;
        for row in 0..self.rows {
            let mut totals = [0.0f32; COLUMNS];
            // SAFETY: promised to `compute`.
            unsafe {
                let sums = sums.add(row * sums_row);
                if accumulate {
                    totals.copy_from_slice(std::slice::from_raw_parts(sums, COLUMNS));
                }
                for step in 0..pairs {
                    let factor = *left.add(step * self.rows + row);
                    for (column, total) in totals.iter_mut().enumerate() {
                        let pair = *right.add(step * COLUMNS + column);
                        let sum = later(factor).mul_add(later(pair), *total);
                        *total = earlier(factor).mul_add(earlier(pair), sum);
                    }
                }
                sums.copy_from_nonoverlapping(totals.as_ptr(), COLUMNS);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::TileArguments;
    use std::arch::x86_64::*;
    use std::mem::transmute;

    /// # Safety
    /// As [`super::compute`], on a machine with AVX-512 BF16.
    pub(super) unsafe fn compute(rows: usize, arguments: TileArguments) {
        macro_rules! dispatch {
            ($($rows:literal)*) => {
                match rows {
                    // SAFETY: the caller's promise.
                    $($rows => unsafe { tile::<$rows>(arguments) },)*
                    _ => unreachable!("no tile of {rows} rows"),
                }
            };
        }
        dispatch!(1 2 3 4 5 6 7 8 9 10 11 12 13 14)
    }

    /// # Safety
    /// As [`compute`], with as many rows.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    unsafe fn tile<const ROWS: usize>(arguments: TileArguments) {
        let TileArguments { mut left, mut right, pairs, sums, sums_row, accumulate } = arguments;
        // SAFETY: the caller's promise; vectors of integers and of pairs have the same bits.
        unsafe {
            let mut totals = [[_mm512_setzero_ps(); 2]; ROWS];
            if accumulate {
                for (row, totals) in totals.iter_mut().enumerate() {
                    for (half, total) in totals.iter_mut().enumerate() {
                        *total = _mm512_loadu_ps(sums.add(row * sums_row + half * 16));
                    }
                }
            }
            for _ in 0..pairs {
                let low: __m512bh = transmute(_mm512_loadu_si512(right.cast()));
                let high: __m512bh = transmute(_mm512_loadu_si512(right.add(16).cast()));
                for (row, totals) in totals.iter_mut().enumerate() {
                    let factor: __m512bh = transmute(_mm512_set1_epi32(*left.add(row) as i32));
                    totals[0] = _mm512_dpbf16_ps(totals[0], factor, low);
                    totals[1] = _mm512_dpbf16_ps(totals[1], factor, high);
                }
                left = left.add(ROWS);
                right = right.add(32);
            }
            for (row, totals) in totals.iter().enumerate() {
                for (half, total) in totals.iter().enumerate() {
                    _mm512_storeu_ps(sums.add(row * sums_row + half * 16), *total);
                }
            }
        }
    }
}
