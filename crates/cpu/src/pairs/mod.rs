//! Products and convolutions of bf16 by dot products of pairs, with sums of f32.
//!
//! Both sides are copied into panels in which two neighbours along the contracted axis share a word (`pack`), and a
//! tile of sums is kept in registers while it runs along two panels (`tile`). Where the elements of a side lie is said
//! by one offset for each position along the panel and one for each along the contracted axis, so that a convolution is
//! the same product: its patches are read from a copy of the image with zeros around.
//!
//! Instructions that multiply pairs do more arithmetic than those of f32: `vdpbf16ps` of AVX-512 BF16 twice as much on
//! AMD's processors, AMX (`amx`) sixteen times. Elsewhere operations on bf16 go by way of f32 (`halves.rs`); the
//! portable tile is there for tests.

#[cfg(target_arch = "x86_64")]
mod amx;
mod pack;
mod shape;
#[cfg(test)]
mod tests;
mod tile;

use crate::device::Shared;
use crate::pool::{Pool, share};
use crate::simd::Level;
use crate::vecmath::half;
use dropforge_ir::DType;
use pack::{Target, pack_panel};
pub(crate) use shape::PairShape;
use std::ops::Range;
use std::ptr;
use tile::{COLUMNS, MAX_ROWS, TileArguments};

/// How pairs are multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pairs {
    /// By two fused multiplications, in vectors of f32: what the instructions do, in their order.
    Portable,
    /// By `vdpbf16ps`.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// By `tdpbf16ps`.
    #[cfg(target_arch = "x86_64")]
    Amx,
}

impl Pairs {
    /// All that this machine has, the fastest last.
    pub(crate) fn available() -> Vec<Pairs> {
        let mut all = vec![Pairs::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512bw") {
                all.push(Pairs::Avx512);
            }
            if amx::is_available() {
                all.push(Pairs::Amx);
            }
        }
        all
    }

    /// The instructions of this machine that are faster than those of f32, if it has some. Intel's processors do as
    /// many products by `vdpbf16ps` as by those of f32, AMD's twice as many.
    pub(crate) fn detect() -> Option<Pairs> {
        let best = Pairs::available().pop()?;
        best.is_faster().then_some(best)
    }

    fn is_faster(self) -> bool {
        match self {
            Pairs::Portable => false,
            #[cfg(target_arch = "x86_64")]
            Pairs::Avx512 => {
                let vendor = std::arch::x86_64::__cpuid(0);
                [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).as_flattened() == b"AuthenticAMD"
            }
            #[cfg(target_arch = "x86_64")]
            Pairs::Amx => true,
        }
    }

    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Pairs::Portable => "pairs",
            #[cfg(target_arch = "x86_64")]
            Pairs::Avx512 => "AVX-512 BF16",
            #[cfg(target_arch = "x86_64")]
            Pairs::Amx => "AMX",
        }
    }

    /// Steps of the contracted axis that are computed together, in pairs.
    fn steps(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Pairs::Amx => amx::STEPS,
            _ => 1,
        }
    }

    /// Rows of a panel of the left side, for a product of so many: those with which the fewest are computed for
    /// nothing, but not so few that loading takes longer than computing.
    fn rows(self, m: usize) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Pairs::Amx => amx::ROWS,
            _ => {
                let least = if m > MAX_ROWS { MAX_ROWS - 3 } else { m.max(1) };
                let computed = |rows: usize| m.div_ceil(rows) * rows;
                let heights = (least..=MAX_ROWS.min(m.max(1))).rev();
                heights.min_by_key(|&rows| computed(rows)).unwrap_or(least)
            }
        }
    }
}

/// Pairs in a block of the contracted axis: a panel of the right side then fits the nearest cache.
const BLOCK_PAIRS: usize = 256;
/// Columns and rows of the sums that a thread finishes together, which with a block of the right side fit the second
/// cache.
const BLOCK_COLUMNS: usize = 8 * COLUMNS;
const BLOCK_ROWS: usize = 256;
/// Elements that a thread copies at least.
const GRAIN: usize = 16 << 10;

/// A product with everything that is decided before it runs.
pub(crate) struct PairProduct {
    shape: PairShape,
    pairs: Pairs,
    level: Level,
    threads: usize,
    /// Rows of a panel of the left side.
    rows: usize,
}

/// Memory that threads share, each touching its own part.
#[derive(Clone, Copy)]
struct Address<T>(*mut T);

// SAFETY: threads touch different elements.
unsafe impl<T> Sync for Address<T> {}

impl<T> Address<T> {
    fn at(&self, element: usize) -> *mut T {
        self.0.wrapping_add(element)
    }
}

impl PairProduct {
    pub(crate) fn new(shape: PairShape, pairs: Pairs, shared: &Shared) -> PairProduct {
        let rows = pairs.rows(shape.m);
        PairProduct { shape, pairs, level: shared.level, threads: shared.pool.threads(), rows }
    }

    pub(crate) fn describe(&self) -> String {
        format!("bf16 by {}", self.pairs.name())
    }

    /// Steps of a panel, in pairs.
    fn steps(&self) -> usize {
        self.shape.k.div_ceil(2).next_multiple_of(self.pairs.steps())
    }

    fn left_panels(&self) -> usize {
        self.shape.m.div_ceil(self.rows)
    }

    fn right_panels(&self) -> usize {
        self.shape.n.div_ceil(COLUMNS)
    }

    /// Words of the parts of the scratch memory: the image with zeros around, both sides in panels, sums.
    fn parts(&self) -> [usize; 4] {
        let line = |words: usize| words.next_multiple_of(16);
        let left = self.left_panels() * self.steps() * self.rows;
        let right = self.right_panels() * self.steps() * COLUMNS;
        let sums = self.threads * (BLOCK_ROWS + MAX_ROWS) * BLOCK_COLUMNS;
        let image = self.shape.spread.as_ref().map_or(0, |spread| spread.elements().div_ceil(2));
        [line(image), line(left), line(right), sums]
    }

    /// Scratch memory that a run needs, in words.
    pub(crate) fn scratch(&self) -> usize {
        self.parts().iter().sum()
    }

    /// Computes the product.
    ///
    /// # Safety
    /// `args` gives the two arguments, which hold all elements that the shape reaches; `out` has room for the result,
    /// which overlaps nothing; `scratch` has the length that [`PairProduct::scratch`] says.
    pub(crate) unsafe fn run(&self, args: [*const u16; 2], out: *mut u8, scratch: &mut [f32], pool: &Pool) {
        let shape = &self.shape;
        let [left, mut right] = if shape.swapped { [args[1], args[0]] } else { args };
        let [image, left_words, right_words, _] = self.parts();
        let memory = scratch.as_mut_ptr().cast::<u32>();
        // SAFETY: the parts lie in the scratch memory one after another.
        let (left_panels, right_panels, sums) = unsafe {
            let left_panels = memory.add(image);
            let right_panels = left_panels.add(left_words);
            (
                Address(left_panels),
                Address(right_panels),
                Address(right_panels.add(right_words).cast::<f32>()),
            )
        };
        if let Some(spread) = &shape.spread {
            let to = Address(memory.cast::<u16>());
            // SAFETY: the caller's promise; the image has room in the scratch memory, and planes do not overlap.
            unsafe { spread.run(right, to, pool) };
            right = to.0;
        }
        for &[left_at, right_at, out_at] in &shape.batch {
            let sides = [
                (left.wrapping_offset(left_at), &shape.left, self.rows, left_panels, self.left_panels()),
                (right.wrapping_offset(right_at), &shape.right, COLUMNS, right_panels, self.right_panels()),
            ];
            for (number, (from, side, width, to, panels)) in sides.into_iter().enumerate() {
                // Registers of AMX take rows of the left side as they are.
                let by_rows = number == 0 && self.pairs.steps() > 1;
                let from = Address(from.cast_mut());
                let length = self.steps() * width;
                pool.split(panels, (GRAIN / length.max(1)).max(1), |_, range| {
                    for panel in range {
                        let first = panel * width;
                        let count = (side.across.len() - first).min(width);
                        let target =
                            Target { to: to.at(panel * length), width, steps: self.steps(), by_rows };
                        // SAFETY: the offsets reach elements of the side; the panel is this thread's alone.
                        unsafe { pack_panel(self.level, from.at(0), side, first..first + count, target) };
                    }
                });
            }
            let out = Address(out);
            let by_rows = self.left_panels() > self.right_panels();
            let split = if by_rows { self.left_panels() } else { self.right_panels() };
            let parts = self.threads.min(split).max(1);
            pool.split(parts, 1, |_, range| {
                for part in range {
                    let own = share(split, parts, part);
                    let (rows, columns) = match by_rows {
                        true => (own, 0..self.right_panels()),
                        false => (0..self.left_panels(), own),
                    };
                    let sums = sums.at(part * (BLOCK_ROWS + MAX_ROWS) * BLOCK_COLUMNS);
                    // SAFETY: parts are different rows or columns of the result, and have sums of their own.
                    unsafe {
                        self.part(
                            [left_panels.at(0), right_panels.at(0)],
                            rows,
                            columns,
                            sums,
                            out.at(0),
                            out_at,
                        )
                    };
                }
            });
        }
    }

    /// Computes the tiles of some panels.
    ///
    /// # Safety
    /// As for [`PairProduct::run`]; nobody else writes these rows and columns of the result, nor `sums`.
    unsafe fn part(
        &self,
        [left, right]: [*const u32; 2],
        rows: Range<usize>,
        columns: Range<usize>,
        sums: *mut f32,
        out: *mut u8,
        out_at: isize,
    ) {
        let (steps, height) = (self.steps(), self.rows);
        let (across, down) = (BLOCK_COLUMNS / COLUMNS, (BLOCK_ROWS / height).max(1));
        for first_column in columns.clone().step_by(across) {
            let columns = first_column..(first_column + across).min(columns.end);
            for first_row in rows.clone().step_by(down) {
                let rows = first_row..(first_row + down).min(rows.end);
                let mut start = 0;
                while start < steps || (steps == 0 && start == 0) {
                    let pairs = (steps - start).min(BLOCK_PAIRS);
                    for row in rows.clone() {
                        for column in columns.clone() {
                            let arguments = TileArguments {
                                left: left.wrapping_add((row * steps + start) * height),
                                right: right.wrapping_add((column * steps + start) * COLUMNS),
                                pairs,
                                sums: sums.wrapping_add(
                                    (row - rows.start) * height * BLOCK_COLUMNS
                                        + (column - columns.start) * COLUMNS,
                                ),
                                sums_row: BLOCK_COLUMNS,
                                accumulate: start > 0,
                            };
                            // SAFETY: panels hold as many pairs, and the block of sums holds the tile.
                            unsafe { tile::compute(self.pairs, self.level, height, arguments) };
                        }
                    }
                    start += pairs.max(1);
                }
                let columns = columns.start * COLUMNS..(columns.end * COLUMNS).min(self.shape.n);
                let rows = rows.start * height..(rows.end * height).min(self.shape.m);
                // SAFETY: the caller's promise.
                unsafe { self.finish(rows, columns, sums, out, out_at) };
            }
        }
    }

    /// Writes sums to where they belong, rounded if the result is of halves.
    ///
    /// # Safety
    /// As for [`PairProduct::part`].
    unsafe fn finish(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
        sums: *const f32,
        out: *mut u8,
        out_at: isize,
    ) {
        let PairShape { out_row, out_column, run, out_run, dtype, .. } = self.shape;
        let narrow = half::narrow(DType::BF16, self.level);
        for (place, row) in rows.enumerate() {
            let sums = sums.wrapping_add(place * BLOCK_COLUMNS);
            let mut column = columns.start;
            while column < columns.end {
                let within = column % run;
                let count = (run - within).min(columns.end - column);
                let from = sums.wrapping_add(column - columns.start);
                let at = out_at
                    + row as isize * out_row
                    + (column / run) as isize * out_run
                    + within as isize * out_column;
                // SAFETY: the sums of the block, and elements of the result that are this thread's.
                unsafe {
                    if out_column != 1 {
                        for element in 0..count {
                            let at = at + element as isize * out_column;
                            let from = from.add(element);
                            match dtype {
                                DType::F32 => *out.cast::<f32>().offset(at) = *from,
                                _ => {
                                    let to = out.cast::<u16>().offset(at);
                                    narrow(to.cast(), from.cast(), ptr::null(), ptr::null(), 1);
                                }
                            }
                        }
                    } else if dtype == DType::F32 {
                        ptr::copy_nonoverlapping(from, out.cast::<f32>().offset(at), count);
                    } else {
                        let to = out.cast::<u16>().offset(at);
                        narrow(to.cast(), from.cast(), ptr::null(), ptr::null(), count);
                    }
                }
                column += count;
            }
        }
    }
}
