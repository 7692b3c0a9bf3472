//! Products of a few long rows with a few long columns, which are read where they lie: vectors run along the contracted
//! axis, and each element of the output has a vector of sums. Packing, which the other way begins with, would take
//! about as long as the arithmetic here.

use super::MatmulShape;
use crate::pool::share;
use crate::simd::{Kernel, Level, MAX_LANES, Vector};
use std::ops::Range;

/// Steps of the contracted axis in a block: rows of both sides for one tile fit the nearest cache.
const BLOCK_STEPS: usize = 1024;
/// Elements of the output, at most: their vectors of sums must stay in the second cache.
const MOST_ELEMENTS: usize = 8192;
/// Steps for each thread, at least, so that adding up the lanes in the end takes little.
const LEAST_STEPS: usize = 4096;
/// Rows and columns of a tile with 32 vector registers.
const TILE: [usize; 2] = [4, 6];
/// The same with 16.
const SMALL_TILE: [usize; 2] = [2, 4];

/// Whether a product is computed this way on some threads, which share the contracted axis.
pub(super) fn suits(shape: &MatmulShape, threads: usize) -> bool {
    let is_one = |extents: &[usize]| extents.iter().all(|&extent| extent == 1);
    is_one(&shape.batch)
        && is_one(&shape.outer)
        && shape.lhs.column == 1
        && shape.rhs.row == 1
        && shape.m * shape.n <= MOST_ELEMENTS
        && shape.k / threads >= LEAST_STEPS
}

/// Elements of scratch that a thread needs.
pub(super) fn scratch(shape: &MatmulShape) -> usize {
    shape.m * BLOCK_STEPS + shape.m * shape.n * MAX_LANES
}

/// One thread's part of the contracted axis.
pub(super) struct InnerProduct {
    pub m: usize,
    pub n: usize,
    pub steps: Range<usize>,
    pub left: *const f32,
    /// From one row of the left side to the next.
    pub left_row: isize,
    pub right: *const f32,
    /// From one column of the right side to the next.
    pub right_column: isize,
    /// Row-major, without gaps.
    pub output: *mut f32,
    /// Room for [`scratch`] elements, aligned to a cache line.
    pub scratch: *mut f32,
}

impl InnerProduct {
    /// Computes the product over the steps.
    ///
    /// # Safety
    /// Everything described is accessible, and the output is not accessed by others.
    pub unsafe fn run(self, level: Level) {
        level.call(self);
    }

    fn left_at(&self, row: usize, step: usize) -> *const f32 {
        self.left.wrapping_offset(row as isize * self.left_row + step as isize)
    }

    fn right_at(&self, column: usize, step: usize) -> *const f32 {
        self.right.wrapping_offset(column as isize * self.right_column + step as isize)
    }
}

impl Kernel for InnerProduct {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let [tile_rows, tile_columns] = if V::REGISTERS >= 32 { TILE } else { SMALL_TILE };
        let groups = self.n.div_ceil(tile_columns);
        let tiles = self.m.div_ceil(tile_rows);
        let packed = self.scratch;
        // SAFETY: promised to `InnerProduct::run`; the scratch memory is as `scratch` counts it.
        unsafe {
            let sums = packed.add(self.m * BLOCK_STEPS);
            for sum in 0..self.m * self.n {
                V::zero().store(sums.add(sum * V::LANES));
            }
            let mut start = self.steps.start;
            while start < self.steps.end {
                let steps = (self.steps.end - start).min(BLOCK_STEPS);
                for row in 0..self.m {
                    copy::<V>(self.left_at(row, start), packed.add(row * BLOCK_STEPS), steps);
                }
                for group in 0..groups {
                    let columns = share(self.n, groups, group);
                    // What is read after this group.
                    let (next, next_start) = if group + 1 < groups {
                        (share(self.n, groups, group + 1), start)
                    } else {
                        (share(self.n, groups, 0), start + steps)
                    };
                    for tile in 0..tiles {
                        let rows = share(self.m, tiles, tile);
                        let ahead = match next.start + tile {
                            column if column < next.end => self.right_at(column, next_start),
                            _ => std::ptr::null(),
                        };
                        let arguments = Tile {
                            left: packed.add(rows.start * BLOCK_STEPS),
                            right: self.right_at(columns.start, start),
                            right_column: self.right_column,
                            steps,
                            sums: sums.add((rows.start * self.n + columns.start) * V::LANES),
                            sums_row: self.n * V::LANES,
                            ahead,
                        };
                        compute_tile::<V>(rows.len(), columns.len(), arguments);
                    }
                }
                start += steps;
            }
            for element in 0..self.m * self.n {
                *self.output.add(element) = V::load(sums.add(element * V::LANES)).sum();
            }
        }
    }
}

/// Copies a row, and zeros up to the next whole vector.
///
/// # Safety
/// `count` readable elements, and room for as many whole vectors.
#[inline(always)]
unsafe fn copy<V: Vector>(from: *const f32, to: *mut f32, count: usize) {
    let mut at = 0;
    while at < count {
        // SAFETY: the caller's promise.
        unsafe { V::load_partial(from.add(at), (count - at).min(V::LANES)).store(to.add(at)) };
        at += V::LANES;
    }
}

/// What a tile is computed from.
#[derive(Clone, Copy)]
struct Tile {
    /// Rows `BLOCK_STEPS` apart, with zeros after the last step.
    left: *const f32,
    right: *const f32,
    right_column: isize,
    steps: usize,
    /// A vector for each element, to be added to.
    sums: *mut f32,
    sums_row: usize,
    /// Memory as long as the steps that will be needed soon; need not be valid.
    ahead: *const f32,
}

struct TileKernel<const ROWS: usize, const COLUMNS: usize>(Tile);

impl<const ROWS: usize, const COLUMNS: usize> Kernel for TileKernel<ROWS, COLUMNS> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Tile { left, right, right_column, steps, sums, sums_row, ahead } = self.0;
        // SAFETY: the caller of `compute_tile` vouches for the memory.
        unsafe {
            let mut totals = [[V::zero(); COLUMNS]; ROWS];
            for (row, totals) in totals.iter_mut().enumerate() {
                for (column, total) in totals.iter_mut().enumerate() {
                    *total = V::load(sums.add(row * sums_row + column * V::LANES));
                }
            }
            let mut step = 0;
            while step < steps {
                V::prefetch(ahead.wrapping_add(step));
                let left_steps = (steps - step).min(V::LANES);
                let mut columns = [V::zero(); COLUMNS];
                for (column, vector) in columns.iter_mut().enumerate() {
                    let from = right.wrapping_offset(column as isize * right_column).wrapping_add(step);
                    *vector = if left_steps == V::LANES {
                        V::load(from)
                    } else {
                        V::load_partial(from, left_steps)
                    };
                }
                for (row, totals) in totals.iter_mut().enumerate() {
                    let factor = V::load(left.add(row * BLOCK_STEPS + step));
                    for (total, column) in totals.iter_mut().zip(&columns) {
                        *total = factor.mul_add(*column, *total);
                    }
                }
                step += V::LANES;
            }
            for (row, totals) in totals.iter().enumerate() {
                for (column, total) in totals.iter().enumerate() {
                    total.store(sums.add(row * sums_row + column * V::LANES));
                }
            }
        }
    }
}

/// Adds the steps to the sums of a tile.
///
/// # Safety
/// Rows and columns of a tile at most; everything that the arguments describe is accessible.
#[inline(always)]
unsafe fn compute_tile<V: Vector>(rows: usize, columns: usize, arguments: Tile) {
    macro_rules! dispatch {
        ($($rows:literal)*) => {
            match (rows, columns) {
                $(($rows, 1) => V::call(TileKernel::<$rows, 1>(arguments)),
                  ($rows, 2) => V::call(TileKernel::<$rows, 2>(arguments)),
                  ($rows, 3) => V::call(TileKernel::<$rows, 3>(arguments)),
                  ($rows, 4) => V::call(TileKernel::<$rows, 4>(arguments)),
                  ($rows, 5) => V::call(TileKernel::<$rows, 5>(arguments)),
                  ($rows, 6) => V::call(TileKernel::<$rows, 6>(arguments)),)*
                _ => unreachable!("no tile of {rows} by {columns}"),
            }
        };
    }
    dispatch!(1 2 3 4)
}
