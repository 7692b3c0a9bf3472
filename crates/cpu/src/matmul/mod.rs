//! Products of batches of matrices in any strides.
//!
//! The product is computed in blocks, as is usual since Goto and van de Geijn, *Anatomy of High-Performance Matrix
//! Multiplication* (2008): a block of the right side is copied into the order in which it is read (`pack`), then for
//! each few rows of the left side one function (`micro`) keeps a tile of the output in registers. Where the output's
//! rows are contiguous instead of its columns, the transposed product is computed.
//!
//! [`Matmul`] is decided on once for a shape and a number of threads: the division among threads (`split`), which
//! never depends on the data, so that the same number of threads always gives the same sums.

mod block;
mod dot;
mod inner;
pub(crate) mod micro;
pub(crate) mod pack;
mod split;
#[cfg(test)]
mod tests;

pub(crate) use dot::contiguous_strides;
pub use dot::{Axis, DotAxes};

use crate::pool::{Pool, share};
use crate::simd::Level;
use block::{Finish, Operand, Output, PackRight, PackedRight, Product};
use inner::InnerProduct;
use split::Split;
use std::ops::Range;

/// Strides of one matrix of a product, in elements; they may be zero or negative.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MatrixStrides {
    /// One for each batch axis.
    pub batch: Vec<isize>,
    /// One for each outer contracted axis; empty for the output.
    pub outer: Vec<isize>,
    /// From one row to the next.
    pub row: isize,
    /// From one column to the next.
    pub column: isize,
}

/// A batch of products of an `m` × `k` matrix with a `k` × `n` matrix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MatmulShape {
    /// Extents of the batch axes.
    pub batch: Vec<usize>,
    /// Extents of contracted axes besides `k`, where one stride does not describe them all.
    pub outer: Vec<usize>,
    /// Rows of the left side and of the output.
    pub m: usize,
    /// Columns of the right side and of the output.
    pub n: usize,
    /// Columns of the left side, rows of the right side.
    pub k: usize,
    /// Strides of the left side.
    pub lhs: MatrixStrides,
    /// Strides of the right side.
    pub rhs: MatrixStrides,
    /// Strides of the output; its elements must not overlap.
    pub out: MatrixStrides,
}

impl MatmulShape {
    /// The product of two contiguous matrices.
    pub fn contiguous(m: usize, n: usize, k: usize) -> MatmulShape {
        let strides = |row: usize| MatrixStrides { row: row as isize, column: 1, ..MatrixStrides::default() };
        MatmulShape { m, n, k, lhs: strides(k), rhs: strides(n), out: strides(n), ..MatmulShape::default() }
    }

    /// The same values in the transposed output.
    pub(crate) fn transposed(mut self) -> MatmulShape {
        std::mem::swap(&mut self.m, &mut self.n);
        std::mem::swap(&mut self.lhs, &mut self.rhs);
        for strides in [&mut self.lhs, &mut self.rhs, &mut self.out] {
            std::mem::swap(&mut strides.row, &mut strides.column);
        }
        self
    }

    fn check(&self) {
        for strides in [&self.lhs, &self.rhs, &self.out] {
            assert_eq!(strides.batch.len(), self.batch.len(), "a stride for each batch axis: {self:?}");
        }
        for strides in [&self.lhs, &self.rhs] {
            assert_eq!(strides.outer.len(), self.outer.len(), "a stride for each outer axis: {self:?}");
        }
    }

    fn reach(&self, strides: &MatrixStrides, rows: usize, columns: usize) -> Range<isize> {
        let batch = self.batch.iter().zip(&strides.batch);
        let outer = self.outer.iter().zip(&strides.outer);
        reach(batch.chain(outer).chain([(&rows, &strides.row), (&columns, &strides.column)]))
    }
}

/// The offsets from the first element that axes of these extents and strides touch; empty if an extent is zero.
pub(crate) fn reach<'a>(axes: impl Iterator<Item = (&'a usize, &'a isize)>) -> Range<isize> {
    let (mut low, mut high) = (0, 0);
    for (&extent, &stride) in axes {
        if extent == 0 {
            return 0..0;
        }
        let last = (extent as isize - 1) * stride;
        low += last.min(0);
        high += last.max(0);
    }
    low..high + 1
}

/// Whether no two positions of axes of these extents and strides surely share an element: each stride steps over all
/// that the smaller ones reach.
pub(crate) fn are_apart<'a>(axes: impl Iterator<Item = (&'a usize, &'a isize)>) -> bool {
    let mut axes: Vec<(usize, usize)> = axes
        .map(|(&extent, &stride)| (stride.unsigned_abs(), extent))
        .filter(|&(_, extent)| extent != 1)
        .collect();
    axes.sort_unstable();
    let mut reach = 1;
    axes.iter().all(|&(stride, extent)| {
        let apart = stride >= reach;
        reach += extent.saturating_sub(1) * stride;
        apart
    })
}

/// The offset of position `index`, counted in row-major order, of axes of these extents and strides.
pub(crate) fn offset(extents: &[usize], strides: &[isize], mut index: usize) -> isize {
    let mut offset = 0;
    for (&extent, &stride) in extents.iter().zip(strides).rev() {
        offset += (index % extent) as isize * stride;
        index /= extent;
    }
    offset
}

/// A part of the output that is finished, as [`Matmul::run_with`] tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// The thread that computed the tile and runs the epilogue.
    pub thread: usize,
    /// Position among the batches, row-major.
    pub batch: usize,
    /// Rows of the output.
    pub rows: Range<usize>,
    /// Columns of the output.
    pub columns: Range<usize>,
    /// Where the first element lies and the distance between rows, if the tile is not in the output but aside.
    pub aside: Option<(*const f32, usize)>,
}

impl Tile {
    /// The elements of the tile in an output `[batch, m, n]` without gaps, in row-major order, as few ranges as there
    /// are, each with the address of its first element if the tile lies aside.
    pub fn ranges(
        &self,
        m: usize,
        n: usize,
    ) -> impl Iterator<Item = (Range<usize>, Option<*const f32>)> + use<> {
        let Tile { batch, rows, columns, aside, .. } = self.clone();
        let first = batch * m * n;
        // Whole rows follow one another.
        let whole = columns.len() == n && aside.is_none_or(|(_, stride)| stride == n);
        let steps = if whole { rows.start..rows.start + usize::from(!rows.is_empty()) } else { rows.clone() };
        steps.map(move |row| {
            let elements = match whole {
                true => first + rows.start * n..first + rows.end * n,
                false => first + row * n + columns.start..first + row * n + columns.end,
            };
            (elements, aside.map(|(pointer, stride)| pointer.wrapping_add((row - rows.start) * stride)))
        })
    }
}

/// What to do with finished tiles.
pub type Epilogue<'a> = &'a (dyn Fn(Tile) + Sync);

/// A product whose shape and division among threads are settled.
#[derive(Clone, Debug)]
pub struct Matmul {
    /// As computed: transposed if that suits the output.
    shape: MatmulShape,
    transposed: bool,
    split: Split,
    level: Level,
    /// Whether vectors run along the contracted axis.
    is_inner: bool,
    /// Whether tiles are put aside for the epilogue instead of into the output.
    aside: bool,
    /// Whether the right side is packed by [`Matmul::pack`] and kept.
    keeps_right: bool,
}

/// The order in which a right side is packed: in equal orders, equal sides are packed equally.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RightPacking {
    /// Rows and columns.
    extents: [usize; 2],
    /// From one row and from one column to the next.
    strides: [isize; 2],
    /// Blocks of rows.
    blocks: usize,
}

/// Elements to spare in a thread's scratch, so that it can start at a cache line.
const ALIGN: usize = 16;

impl Matmul {
    /// Settles how `shape` is computed on a pool of `threads` threads. Panics if the strides do not fit the extents.
    pub fn new(shape: MatmulShape, threads: usize) -> Matmul {
        Matmul::with_level(shape, threads, Level::detect())
    }

    /// As [`Matmul::new`], with the instructions of a level.
    pub(crate) fn with_level(shape: MatmulShape, threads: usize, level: Level) -> Matmul {
        shape.check();
        let threads = threads.max(1);
        let is_inner = inner::suits(&shape, threads);
        let transposed = !is_inner && split::prefers_transposed(&shape, level.lanes());
        let shape = if transposed { shape.transposed() } else { shape };
        let split = if is_inner {
            Split { rows: 1, columns: 1, inner: threads, blocks: threads, workers: threads }
        } else {
            Split::choose(&shape, threads, level.lanes())
        };
        Matmul { shape, transposed, split, level, is_inner, aside: false, keeps_right: false }
    }

    /// The same product for a right side that stays the same from run to run, so that it is packed once: see
    /// [`Matmul::pack`]. `None` if it is not computed in a way that packs all of the right side, or would take longer.
    pub fn keeping_right(&self, threads: usize) -> Option<Matmul> {
        let level = self.level;
        let shape = if self.transposed { self.shape.clone().transposed() } else { self.shape.clone() };
        let is_one = shape.outer.is_empty() && shape.batch.iter().product::<usize>() == 1;
        // Vectors along the contracted axis read both sides where they lie.
        if !is_one || self.is_inner || shape.m * shape.n * shape.k == 0 {
            return None;
        }
        let split = Split::choose_packed(&shape, threads.max(1), level.lanes());
        let tile = micro::VECTORS * level.lanes();
        let starts_panel =
            |part: usize| split.columns_of_part(shape.n, part, level.lanes()).start.is_multiple_of(tile);
        if !(0..split.columns).all(starts_panel) {
            return None;
        }
        if !split::keeping_pays([&self.shape, &shape], [&self.split, &split], level.lanes()) {
            return None;
        }
        let (transposed, is_inner, aside) = (false, false, false);
        Some(Matmul { shape, transposed, split, level, is_inner, aside, keeps_right: true })
    }

    /// Elements of the right side as it is kept; 0 if it is not.
    pub fn packed_len(&self) -> usize {
        if !self.keeps_right {
            return 0;
        }
        block::packed_len(self.shape.n, self.shape.k, self.level.lanes())
    }

    /// The order in which [`Matmul::pack`] packs, which the rows have no part in.
    pub(crate) fn packing(&self) -> RightPacking {
        let MatmulShape { n, k, rhs, .. } = &self.shape;
        RightPacking { extents: [*k, *n], strides: [rhs.row, rhs.column], blocks: self.split.blocks }
    }

    /// Packs one of several parts of a right side that is kept.
    ///
    /// # Safety
    /// `rhs` is as for [`Matmul::run`]; `to` has room for [`Matmul::packed_len`] elements, and nobody else touches this
    /// part.
    pub unsafe fn pack(&self, rhs: *const f32, to: *mut f32, part: usize, parts: usize) {
        let MatmulShape { n, k, rhs: strides, .. } = &self.shape;
        let right = Operand { pointer: rhs, across: strides.column, inner: strides.row, outer: &[] };
        let blocks = self.split.blocks;
        self.level.call(PackRight { right, n: *n, k: *k, blocks, to, part: [part, parts] });
    }

    /// Says that nobody but the epilogue of [`Matmul::run_with`] needs the output: where tiles are finished at once,
    /// they are put aside in the caches and the output's memory is not written. Returns whether that is so.
    pub fn put_output_aside(&mut self) -> bool {
        let segments = self.shape.outer.iter().product::<usize>() * self.split.blocks;
        // What is one element for the whole product is read before the first tile.
        let elements = self.shape.batch.iter().product::<usize>() * self.shape.m * self.shape.n;
        self.aside =
            !self.is_inner && !self.transposed && self.split.inner == 1 && segments <= 1 && elements > 1;
        self.aside
    }

    /// Rows and columns of the output, if all its elements follow one another in row-major order, batches too.
    pub fn row_major_output(&self) -> Option<(usize, usize)> {
        let shape = if self.transposed { self.shape.clone().transposed() } else { self.shape.clone() };
        let mut next = 1;
        let axes = [(shape.n, shape.out.column), (shape.m, shape.out.row)];
        let batch = shape.batch.iter().copied().zip(shape.out.batch.iter().copied()).rev();
        let follows = axes.into_iter().chain(batch).all(|(extent, stride)| {
            let fits = extent <= 1 || stride == next;
            next *= extent as isize;
            fits
        });
        follows.then_some((shape.m, shape.n))
    }

    /// The number of `f32` of scratch memory that [`Matmul::run`] needs.
    pub fn scratch(&self) -> usize {
        self.split.workers * self.thread_scratch() + self.partial_outputs()
    }

    fn thread_scratch(&self) -> usize {
        if self.is_inner {
            return inner::scratch(&self.shape) + ALIGN;
        }
        let aside = if self.aside { block::ASIDE + ALIGN } else { 0 };
        block::scratch(&self.shape, &self.split, self.level.lanes()) + ALIGN + aside
    }

    /// Whether the contracted axis is computed in parts that are then added.
    fn has_partial_outputs(&self) -> bool {
        self.split.inner > 1 || self.is_inner
    }

    /// Elements of the outputs of parts of the contracted axis.
    fn partial_outputs(&self) -> usize {
        if self.has_partial_outputs() { self.split.inner * self.shape.m * self.shape.n } else { 0 }
    }

    /// Computes the product, replacing what is in `out`.
    ///
    /// # Safety
    /// The pointers are to the first elements; all elements that the shape's strides reach from there are readable in
    /// `lhs` and `rhs`, writable in `out` and not touched by others meanwhile. `scratch` has room for
    /// [`Matmul::scratch`] elements. `pool` may have any number of threads; `out` overlaps nothing else.
    pub unsafe fn run(
        &self,
        lhs: *const f32,
        rhs: *const f32,
        out: *mut f32,
        scratch: *mut f32,
        pool: &Pool,
    ) {
        // SAFETY: the caller's promise.
        unsafe { self.run_with(lhs, rhs, out, scratch, pool, &|_| {}) }
    }

    /// As [`Matmul::run`], and calls `epilogue` on each tile of the output as soon as it is finished, while it is in
    /// the caches. The tiles cover the output exactly once. With `k` = 0 they do so too.
    ///
    /// # Safety
    /// As for [`Matmul::run`]. The epilogue may access the output in its tile only, or the tile where it lies aside.
    pub unsafe fn run_with(
        &self,
        lhs: *const f32,
        rhs: *const f32,
        out: *mut f32,
        scratch: *mut f32,
        pool: &Pool,
        epilogue: Epilogue,
    ) {
        // SAFETY: the caller's promise.
        unsafe { self.run_packed([lhs, rhs], None, out, scratch, pool, epilogue) }
    }

    /// As [`Matmul::run_with`]; `packed` is what [`Matmul::pack`] made of this right side, if it was packed.
    ///
    /// # Safety
    /// As for [`Matmul::run_with`].
    pub unsafe fn run_packed(
        &self,
        [lhs, rhs]: [*const f32; 2],
        packed: Option<*const f32>,
        out: *mut f32,
        scratch: *mut f32,
        pool: &Pool,
        epilogue: Epilogue,
    ) {
        let (lhs, rhs) = if self.transposed { (rhs, lhs) } else { (lhs, rhs) };
        let packed = packed.filter(|_| self.keeps_right);
        let job = Job { matmul: self, lhs, rhs, packed, out, scratch, epilogue };
        let workers = self.split.workers;
        if workers == 1 {
            // SAFETY: the caller's promise.
            unsafe {
                job.thread(0, 1);
                if self.has_partial_outputs() {
                    job.add_partial_outputs(0, 1);
                }
            }
            return;
        }
        // The division is the one that was settled, whatever the pool has.
        pool.split(workers, 1, |_, parts| {
            for part in parts {
                // SAFETY: the caller's promise; parts write disjoint tiles or partial outputs.
                unsafe { job.thread(part, workers) };
            }
        });
        if self.has_partial_outputs() {
            pool.split(workers, 1, |_, parts| {
                for part in parts {
                    // SAFETY: as above; the partial outputs are finished.
                    unsafe { job.add_partial_outputs(part, workers) };
                }
            });
        }
    }

    /// As [`Matmul::run`] on slices whose first elements are the first of the operands: strides must not be negative.
    /// Allocates the scratch memory. Panics if a slice is too short or elements of the output may overlap.
    pub fn run_on_slices(&self, lhs: &[f32], rhs: &[f32], out: &mut [f32], pool: &Pool) {
        let shape = if self.transposed { self.shape.clone().transposed() } else { self.shape.clone() };
        let fits = |reach: Range<isize>, length: usize| reach.start >= 0 && reach.end <= length as isize;
        assert!(fits(shape.reach(&shape.lhs, shape.m, shape.k), lhs.len()), "lhs too short for {shape:?}");
        assert!(fits(shape.reach(&shape.rhs, shape.k, shape.n), rhs.len()), "rhs too short for {shape:?}");
        let written = MatmulShape { outer: Vec::new(), ..shape.clone() };
        assert!(fits(written.reach(&shape.out, shape.m, shape.n), out.len()), "out too short for {shape:?}");
        let batch = written.batch.iter().zip(&shape.out.batch);
        let matrix = [(&shape.m, &shape.out.row), (&shape.n, &shape.out.column)];
        assert!(are_apart(batch.chain(matrix)), "elements of the output may overlap: {shape:?}");
        let mut scratch = vec![0.0; self.scratch()];
        // SAFETY: checked above; `out` is borrowed mutably.
        unsafe { self.run(lhs.as_ptr(), rhs.as_ptr(), out.as_mut_ptr(), scratch.as_mut_ptr(), pool) }
    }
}

/// The arguments of a run, sides swapped if the product is transposed.
struct Job<'a> {
    matmul: &'a Matmul,
    lhs: *const f32,
    rhs: *const f32,
    packed: Option<*const f32>,
    out: *mut f32,
    scratch: *mut f32,
    epilogue: Epilogue<'a>,
}

// SAFETY: threads write disjoint parts through the pointers, as the functions below see to.
unsafe impl Sync for Job<'_> {}

impl Job<'_> {
    /// Computes the share of `thread`.
    ///
    /// # Safety
    /// As for [`Matmul::run_with`]; one call for each thread.
    unsafe fn thread(&self, thread: usize, threads: usize) {
        let Matmul { shape, split, .. } = self.matmul;
        let batches: usize = shape.batch.iter().product();
        let per_batch = split.rows * split.columns * split.inner;
        for task in share(batches * per_batch, threads, thread) {
            let (batch, part) = (task / per_batch, task % per_batch);
            let (inner, part) = (part % split.inner, part / split.inner);
            let rows = share(shape.m, split.rows, part / split.columns);
            let columns = split.columns_of_part(shape.n, part % split.columns, self.matmul.level.lanes());
            // SAFETY: offsets within what the strides reach; each thread has its own scratch.
            unsafe { self.task(thread, batch, rows, columns, inner) };
        }
    }

    /// Computes one part of one product.
    ///
    /// # Safety
    /// As for [`Job::thread`].
    unsafe fn task(
        &self,
        thread: usize,
        batch: usize,
        rows: Range<usize>,
        columns: Range<usize>,
        inner: usize,
    ) {
        let Matmul { shape, split, transposed, level, .. } = self.matmul;
        let at = |strides: &MatrixStrides, row: usize, column: usize| {
            let batch = offset(&shape.batch, &strides.batch, batch);
            batch + row as isize * strides.row + column as isize * strides.column
        };
        let finish = |tile_rows: Range<usize>, tile_columns: Range<usize>, first: *const f32| {
            let stride = tile_columns.len();
            let mut rows = rows.start + tile_rows.start..rows.start + tile_rows.end;
            let mut columns = columns.start + tile_columns.start..columns.start + tile_columns.end;
            if *transposed {
                std::mem::swap(&mut rows, &mut columns);
            }
            let aside = self.matmul.aside.then_some((first, stride));
            (self.epilogue)(Tile { thread, batch, rows, columns, aside });
        };
        // SAFETY: the offsets lead to elements that the caller vouches for.
        unsafe {
            let output = if split.inner == 1 {
                let pointer = self.out.offset(at(&shape.out, rows.start, columns.start));
                Output { pointer, row: shape.out.row, column: shape.out.column }
            } else {
                let partial = self.partial_output(inner);
                let pointer = partial.add(rows.start * shape.n + columns.start);
                Output { pointer, row: shape.n as isize, column: 1 }
            };
            let aligned = |scratch: *mut f32| scratch.add(scratch.align_offset(64).min(ALIGN));
            let scratch = self.scratch.add(thread * self.matmul.thread_scratch());
            if self.matmul.is_inner {
                // One thread's product goes through a partial output too, so that the output may have any strides.
                let product = InnerProduct {
                    m: shape.m,
                    n: shape.n,
                    steps: share(shape.k, split.inner, inner),
                    left: self.lhs.offset(at(&shape.lhs, 0, 0)),
                    left_row: shape.lhs.row,
                    right: self.rhs.offset(at(&shape.rhs, 0, 0)),
                    right_column: shape.rhs.column,
                    output: self.partial_output(inner),
                    scratch: aligned(scratch),
                };
                product.run(*level);
                return;
            }
            let packs = block::scratch(shape, split, level.lanes()) + ALIGN;
            let finish = Finish {
                call: &finish,
                // Rows of a transposed product are columns of the output, which are short of neighbours: the more, the
                // better.
                together: if *transposed { usize::MAX } else { block::TOGETHER },
                aside: self.matmul.aside.then(|| aligned(scratch.add(packs))),
            };
            let segments = shape.outer.iter().product::<usize>() * split.blocks;
            Product {
                m: rows.len(),
                n: columns.len(),
                k: shape.k,
                outer: &shape.outer,
                blocks: split.blocks,
                segments: share(segments, split.inner, inner),
                left: Operand {
                    pointer: self.lhs.offset(at(&shape.lhs, rows.start, 0)),
                    across: shape.lhs.row,
                    inner: shape.lhs.column,
                    outer: &shape.lhs.outer,
                },
                right: Operand {
                    pointer: self.rhs.offset(at(&shape.rhs, 0, columns.start)),
                    across: shape.rhs.column,
                    inner: shape.rhs.row,
                    outer: &shape.rhs.outer,
                },
                packed: self.packed.map(|pointer| PackedRight {
                    pointer,
                    width: shape.n.next_multiple_of(micro::VECTORS * level.lanes()),
                    first: columns.start,
                }),
                output,
                scratch: aligned(scratch),
                finish: (split.inner == 1).then_some(finish),
            }
            .run(*level);
        }
    }

    /// The memory of partial output `inner`, row-major.
    ///
    /// # Safety
    /// `inner` is below the split's count.
    unsafe fn partial_output(&self, inner: usize) -> *mut f32 {
        let matmul = self.matmul;
        let packs = matmul.split.workers * matmul.thread_scratch();
        // SAFETY: within the scratch memory.
        unsafe { self.scratch.add(packs + inner * matmul.shape.m * matmul.shape.n) }
    }

    /// Sums the partial outputs in order, for the rows (or columns, if there are more) of this thread.
    ///
    /// # Safety
    /// As for [`Job::thread`], after all threads have finished.
    unsafe fn add_partial_outputs(&self, thread: usize, threads: usize) {
        let Matmul { shape, split, transposed, .. } = self.matmul;
        let (rows, columns) = if shape.m >= shape.n {
            (share(shape.m, threads, thread), 0..shape.n)
        } else {
            (0..shape.m, share(shape.n, threads, thread))
        };
        if rows.is_empty() || columns.is_empty() {
            return;
        }
        let count = columns.len();
        for row in rows.clone() {
            // SAFETY: rows of the partial outputs, of which the first is this thread's to change.
            let sum = unsafe {
                let start = row * shape.n + columns.start;
                let sum = std::slice::from_raw_parts_mut(self.partial_output(0).add(start), count);
                for inner in 1..split.inner {
                    let other = std::slice::from_raw_parts(self.partial_output(inner).add(start), count);
                    sum.iter_mut().zip(other).for_each(|(sum, other)| *sum += other);
                }
                sum
            };
            let start = row as isize * shape.out.row + columns.start as isize * shape.out.column;
            for (column, &value) in sum.iter().enumerate() {
                // SAFETY: an element of the output, in this thread's part.
                unsafe { *self.out.offset(start + column as isize * shape.out.column) = value };
            }
        }
        let (rows, columns) = if *transposed { (columns, rows) } else { (rows, columns) };
        (self.epilogue)(Tile { thread, batch: 0, rows, columns, aside: None });
    }
}
