//! How a product is divided among threads: an estimate of the time for each way, in vector operations.

use super::MatmulShape;
use super::block::{BLOCK_STEPS, UNPACKED_ROW_TILES};
use crate::pool::share;
use std::ops::Range;

/// What a fork-join costs.
const FORK: usize = 800;
/// What moving one vector costs while packing with contiguous elements, and with transposing.
const COPY: usize = 1;
const TRANSPOSE: usize = 4;
/// Rows of a full tile, roughly.
const TILE_ROWS: usize = 12;

/// Parts along each axis. Tasks are batches times these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Split {
    /// Parts of the rows.
    pub rows: usize,
    /// Parts of the columns.
    pub columns: usize,
    /// Parts of the contracted axis, each with an output of its own that is then added; 1 if there are batches.
    pub inner: usize,
    /// Blocks into which `k` is divided.
    pub blocks: usize,
    /// Threads that get parts.
    pub workers: usize,
}

/// What putting one element of a tile at its place costs where the output's columns are not contiguous.
const SCATTER: usize = 2;

/// Whether the transposed product, whose vectors run along the output's rows, suits the strides and extents better.
pub(super) fn prefers_transposed(shape: &MatmulShape, lanes: usize) -> bool {
    let time = |shape: &MatmulShape| {
        let split = Split::new(shape, [1, 1, 1], 1);
        split.time(shape, lanes, false) + split.scattering(shape)
    };
    // The estimates are rough: stay with the natural order where little is to be gained.
    time(&shape.clone().transposed()) < time(shape) * 19 / 20
}

/// Whether a product is estimated to take as long as it is without a right side that was packed before, or longer.
/// Packing costs nothing then, but neither may the product be transposed nor threads share the contracted axis, which
/// is what few columns want.
///
/// Microseconds with weights `[in, out]` as they come and kept, AVX-512, one thread and two:
///
/// | rows × in → out | one | two | kept by this rule |
/// |---|---|---|---|
/// | 1 × 784 → 512 | 33, 27 | 20, 14 | both |
/// | 32 × 784 → 512 | 284, 236 | 182, 127 | both |
/// | 32 × 2048 → 1000 | 1588, 1208 | 779, 610 | both |
/// | 1 × 65,536 → 10 | 137, 83 | 70, 82 | one thread |
/// | 8 × 4096 → 10 | 25, 21 | 14, 21 | one thread |
/// | 32 × 4096 → 10 | 63, 81 | 36, 43 | neither |
/// | 128 × 256 → 10 | 11, 16 | 8, 12 | neither |
/// | 128 × 512 → 2 | 14, 33 | 8, 17 | neither |
pub(super) fn keeping_pays(
    [plain_shape, shape]: [&MatmulShape; 2],
    [plain, kept]: [&Split; 2],
    lanes: usize,
) -> bool {
    let tiles = plain_shape.m.div_ceil(plain.rows).div_ceil(TILE_ROWS);
    // What is read where it lies is not packed either.
    let is_in_place = plain_shape.rhs.column == 1 && tiles <= UNPACKED_ROW_TILES;
    let plain_time = plain.time(plain_shape, lanes, is_in_place) + plain.scattering(plain_shape);
    // The estimates are rough, and rows far apart are slower to read than what lies together.
    kept.time(shape, lanes, true) + kept.scattering(shape) <= plain_time * 21 / 20
}

impl Split {
    /// The split that is estimated to be the fastest; with equal estimates the one with fewer parts.
    pub fn choose(shape: &MatmulShape, threads: usize, lanes: usize) -> Split {
        Split::fastest(shape, threads, lanes, false)
    }

    /// As [`Split::choose`] for a right side that has been packed: the contracted axis stays whole.
    pub fn choose_packed(shape: &MatmulShape, threads: usize, lanes: usize) -> Split {
        Split::fastest(shape, threads, lanes, true)
    }

    fn fastest(shape: &MatmulShape, threads: usize, lanes: usize, is_packed: bool) -> Split {
        let batches: usize = shape.batch.iter().product();
        let outer: usize = shape.outer.iter().product();
        let mut best = Split::new(shape, [1, 1, 1], 1);
        let mut best_time = best.time(shape, lanes, is_packed);
        let most_inner = if is_packed { 1 } else { threads };
        for inner in 1..=most_inner {
            if inner > 1 && (batches != 1 || (inner > shape.k / 16 && inner > outer)) {
                break;
            }
            for rows in 1..=threads / inner {
                for columns in 1..=threads / inner / rows {
                    // With many batches, further parts are useless.
                    if rows * columns > 1 && batches >= 4 * threads {
                        continue;
                    }
                    let split = Split::new(shape, [rows, columns, inner], threads);
                    let time = split.time(shape, lanes, is_packed);
                    if time < best_time {
                        (best, best_time) = (split, time);
                    }
                }
            }
        }
        best
    }

    fn new(shape: &MatmulShape, [rows, columns, inner]: [usize; 3], threads: usize) -> Split {
        let batches: usize = shape.batch.iter().product();
        let blocks = shape.k.div_ceil(BLOCK_STEPS).max(1);
        let blocks = if inner > 1 { blocks.next_multiple_of(inner) } else { blocks };
        Split { rows, columns, inner, blocks, workers: (batches * rows * columns * inner).clamp(1, threads) }
    }

    /// The columns of one part, whole vectors if it is not the last.
    pub fn columns_of_part(&self, n: usize, part: usize, lanes: usize) -> Range<usize> {
        let range = share(n.div_ceil(lanes), self.columns, part);
        (range.start * lanes).min(n)..(range.end * lanes).min(n)
    }

    /// The estimated time for putting elements at places that are no neighbours.
    fn scattering(&self, shape: &MatmulShape) -> usize {
        let batches: usize = shape.batch.iter().product();
        let scattered = shape.out.column != 1 && shape.n != 1;
        if scattered { SCATTER * batches * self.blocks * shape.m * shape.n / self.workers } else { 0 }
    }

    /// The estimated time but for that; the right side may be packed already.
    fn time(&self, shape: &MatmulShape, lanes: usize, is_packed: bool) -> usize {
        let batches: usize = shape.batch.iter().product();
        let tasks = (batches * self.rows * self.columns * self.inner).div_ceil(self.workers);
        let outer: usize = shape.outer.iter().product();
        let steps = (outer * shape.k).div_ceil(self.inner);
        let rows = shape.m.div_ceil(self.rows);
        let vectors = shape.n.div_ceil(lanes).div_ceil(self.columns);
        let packing = |stride: isize| if stride == 1 { COPY } else { TRANSPOSE };
        let right = if is_packed { 0 } else { vectors * steps * packing(shape.rhs.column) };
        let left = rows.div_ceil(TILE_ROWS) * steps * packing(shape.lhs.row);
        let task = (rows.max(3) * vectors + 2) * steps + left + right + 2 * rows * vectors;
        let partial = self.inner * shape.m * shape.n;
        let reduction = if self.inner > 1 { 3 * partial / lanes / self.workers + FORK } else { 0 };
        let fork = if self.workers > 1 { FORK } else { 0 };
        tasks * task + reduction + fork
    }
}
