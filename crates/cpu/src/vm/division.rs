//! How threads share the work of a kernel: whole units, and the columns of units that are long or that stand where the
//! share of one thread ends and that of the next begins.

use super::Shared;
use super::code::Code;
use super::execute::{Machine, scratch_bytes, with_scratch};
use super::layout::{Kind, Layout};
use super::reduce::Accumulator;
use super::tuning::LONG_UNIT;
use crate::pool::{Pool, share};
use dropforge_plan::kernel::LoopKernel;
use std::cell::UnsafeCell;
use std::ops::Range;

/// Gives the address of an operand of an instance.
pub(super) type Operands<'a> = dyn Fn(usize, usize) -> *mut u8 + Sync + 'a;

/// Units of an instance.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Share {
    pub instance: usize,
    pub units: Range<usize>,
}

/// What each thread computes.
#[derive(Default)]
pub(super) struct Division {
    /// Whole units, for each thread.
    pub whole: Vec<Vec<Share>>,
    /// Units of which threads share the columns.
    units: Vec<SplitUnit>,
    /// Parts of those, for each thread.
    pieces: Vec<Vec<Piece>>,
}

#[derive(Clone, Debug, PartialEq)]
struct SplitUnit {
    instance: usize,
    unit: usize,
    /// Where its pieces leave what they have seen, in order.
    partials: Range<usize>,
}

#[derive(Clone, Debug, PartialEq)]
struct Piece {
    /// Position in the table of split units.
    unit: usize,
    iterations: Range<usize>,
    partial: usize,
}

impl Division {
    /// Of a kernel with these layouts, one for each instance.
    pub fn new(kernel: &LoopKernel, layouts: &[&Layout], threads: usize) -> Division {
        let mut division = Division {
            whole: vec![Vec::new(); threads],
            pieces: vec![Vec::new(); threads],
            ..Division::default()
        };
        let is_elementwise = layouts.iter().all(|layout| layout.kind == Kind::Elementwise);
        match layouts {
            [layout] if shares_columns(layout, threads) || keeps_images(kernel, layout, threads) => {
                (0..layout.units()).for_each(|unit| division.cut(layouts, &[(0, unit)]));
            }
            _ if layouts.len() < 2 || is_elementwise => division.whole = divide(layouts, threads),
            _ => {
                let all = layouts.iter().enumerate();
                let all =
                    all.flat_map(|(instance, layout)| (0..layout.units()).map(move |unit| (instance, unit)));
                let is_long = |&(instance, _): &(usize, usize)| {
                    splits(layouts[instance]) && layouts[instance].iterations() >= LONG_UNIT * threads
                };
                // Each thread takes its part of a long unit, which it may have in its cache; the others follow each
                // other.
                let (long, others): (Vec<_>, Vec<_>) = all.partition(is_long);
                long.iter().for_each(|unit| division.cut(layouts, std::slice::from_ref(unit)));
                division.cut(layouts, &others);
            }
        }
        division
    }

    /// Divides a run of units, each given by its instance and number, into shares of equally many elements.
    fn cut(&mut self, layouts: &[&Layout], units: &[(usize, usize)]) {
        let threads = self.whole.len();
        let iterations = |layout: &Layout| if splits(layout) { layout.iterations() } else { 1 };
        let weight = |layout: &Layout| match layout.kind {
            // Rows without columns have results all the same.
            Kind::Rowwise if !splits(layout) => layout.block * layout.iterations().max(1),
            _ => layout.block,
        };
        let total = units.iter().map(|&(i, _)| iterations(layouts[i]) * weight(layouts[i])).sum();
        let mut before = 0;
        for &(instance, unit) in units {
            let (count, weight) = (iterations(layouts[instance]), weight(layouts[instance]));
            // An iteration belongs to the share in which it starts.
            let first = |position: usize| position.saturating_sub(before).div_ceil(weight).min(count);
            let first_partial = self.units.last().map_or(0, |last| last.partials.end);
            let mut partial = first_partial;
            for thread in 0..threads {
                let wanted = share(total, threads, thread);
                let range = first(wanted.start)..first(wanted.end);
                if range == (0..count) && count > 0 {
                    match self.whole[thread].last_mut() {
                        Some(last) if last.instance == instance && last.units.end == unit => {
                            last.units.end += 1
                        }
                        _ => self.whole[thread].push(Share { instance, units: unit..unit + 1 }),
                    }
                } else if !range.is_empty() {
                    self.pieces[thread].push(Piece { unit: self.units.len(), iterations: range, partial });
                    partial += 1;
                }
            }
            if partial > first_partial {
                self.units.push(SplitUnit { instance, unit, partials: first_partial..partial });
            }
            before += count * weight;
        }
    }

    /// Whether threads share columns.
    pub fn has_pieces(&self) -> bool {
        !self.units.is_empty()
    }
}

/// Whether threads can share the columns of a unit.
fn splits(layout: &Layout) -> bool {
    matches!(layout.kind, Kind::Streamed | Kind::Rowwise) && layout.iterations() > 1
}

/// Whether there are too few units for the threads, and columns to share instead.
fn shares_columns(layout: &Layout, threads: usize) -> bool {
    let (units, iterations) = (layout.units(), layout.iterations());
    let uneven = units < threads || (units % threads != 0 && units < 4 * threads);
    threads > 1
        && units > 0
        && uneven
        && iterations >= 2 * threads
        && matches!(layout.kind, Kind::Streamed | Kind::Rowwise)
}

/// Whether threads share the columns of one pass over several runs, such as the images of a batch, although there are
/// rows enough: other kernels give each thread some of the images, so that these are still in its cache.
fn keeps_images(kernel: &LoopKernel, layout: &Layout, threads: usize) -> bool {
    let iterations = layout.iterations();
    let is_even = iterations.is_multiple_of(threads) || iterations >= 8 * threads;
    threads > 1
        && kernel.stages.len() == 1
        && layout.kind == Kind::Streamed
        && layout.columns.len() > 1
        && iterations >= threads
        && is_even
}

/// Divides the units of all instances by their elements.
fn divide(layouts: &[&Layout], threads: usize) -> Vec<Vec<Share>> {
    let weight = |layout: &Layout| match layout.kind {
        Kind::Elementwise => layout.block,
        _ => 1,
    };
    let total: usize = layouts.iter().map(|layout| layout.units() * weight(layout)).sum();
    (0..threads)
        .map(|thread| {
            let wanted = share(total, threads, thread);
            let mut before = 0;
            let mut shares = Vec::new();
            for (instance, layout) in layouts.iter().enumerate() {
                let (units, weight) = (layout.units(), weight(layout));
                // A unit belongs to the share in which it starts.
                let first = |position: usize| position.saturating_sub(before).div_ceil(weight).min(units);
                let range = first(wanted.start)..first(wanted.end);
                if !range.is_empty() {
                    shares.push(Share { instance, units: range });
                }
                before += units * weight;
            }
            shares
        })
        .collect()
}

/// What threads that share columns tell each other.
pub(super) struct Exchange {
    stages: usize,
    /// Row values of every split unit, and words of one.
    rows: UnsafeCell<Vec<u64>>,
    row_words: usize,
    /// What each piece has seen, and the most accumulators of one.
    partials: UnsafeCell<Vec<Accumulator>>,
    per_piece: usize,
}

// SAFETY: `Compiled::run` asks its callers that there is one run at a time, and inside a run threads write to their own
// parts.
unsafe impl Sync for Exchange {}

impl Exchange {
    /// For a division of a kernel that may run any of these codes.
    pub fn new<'a>(division: &Division, codes: impl Iterator<Item = &'a Code>) -> Exchange {
        let (mut stages, mut per_piece, mut row_bytes) = (0, 0, 0);
        for code in codes {
            let lanes = if code.layout.kind == Kind::Rowwise { code.layout.block } else { 1 };
            let reductions = code.stages.iter().map(|stage| stage.reductions.len()).max().unwrap_or(0);
            per_piece = per_piece.max(lanes * reductions);
            row_bytes = row_bytes.max(code.row_area.len());
            stages = code.stages.len();
        }
        let row_words = row_bytes.div_ceil(8);
        let pieces = division.units.last().map_or(0, |last| last.partials.end);
        let nothing = Accumulator { wide: [0.0; 2], word: 0, index: 0, seen: 0 };
        Exchange {
            stages,
            rows: UnsafeCell::new(vec![0; division.units.len() * row_words]),
            row_words,
            partials: UnsafeCell::new(vec![nothing; pieces * per_piece]),
            per_piece,
        }
    }

    /// Stage by stage: every thread its pieces, at first also what `whole` does for it; then the caller the rest.
    ///
    /// # Safety
    /// As for [`super::Compiled::run`]; `code` gives the code for the operands of an instance, one of those that `new`
    /// was given.
    pub unsafe fn run<'a>(
        &self,
        division: &Division,
        code: &(dyn Fn(usize) -> &'a Code + Sync),
        operand: &Operands<'_>,
        whole: &(dyn Fn(usize) + Sync),
        pool: &Pool,
    ) {
        // SAFETY: there is one run at a time; threads write to their own partial accumulators.
        let (rows, partials) =
            unsafe { ((*self.rows.get()).as_mut_ptr(), (*self.partials.get()).as_mut_ptr()) };
        let (rows, partials) = (Shared(rows), Shared(partials));
        let units = &division.units;
        for stage in 0..self.stages {
            let work = |thread: usize| {
                if stage == 0 {
                    whole(thread);
                }
                let instance = |piece: &Piece| units[piece.unit].instance;
                for pieces in division.pieces[thread].chunk_by(|a, b| instance(a) == instance(b)) {
                    let instance = instance(&pieces[0]);
                    let code = code(instance);
                    assert!(
                        code.row_area.len() <= 8 * self.row_words,
                        "row values of the kernel have no room"
                    );
                    with_scratch(scratch_bytes(code), |scratch| {
                        // SAFETY: the caller's promise; every thread has its own scratch memory, every piece its own
                        // partial accumulators, of which `new` has counted the most.
                        unsafe {
                            let mut machine = Machine::new(code, scratch, |number| operand(instance, number));
                            // Later stages find the values in scratch memory; what they came from may be overwritten.
                            if stage == 0 {
                                machine.once();
                            }
                            for piece in pieces {
                                let partial = partials.get().add(piece.partial * self.per_piece);
                                let row_values = rows.get().add(piece.unit * self.row_words).cast();
                                let unit = units[piece.unit].unit;
                                machine.part_of_stage(
                                    unit,
                                    stage,
                                    piece.iterations.clone(),
                                    row_values,
                                    partial,
                                );
                            }
                        }
                    });
                }
            };
            pool.run(|thread| {
                // A pool with fewer threads than planned still does all the work, in the same pieces.
                let threads = pool.threads();
                (thread..division.pieces.len()).step_by(threads).for_each(work);
            });
            let mut number = 0;
            for units in units.chunk_by(|a, b| a.instance == b.instance) {
                let instance = units[0].instance;
                let code = code(instance);
                with_scratch(scratch_bytes(code), |scratch| {
                    // SAFETY: the threads are done.
                    unsafe {
                        let mut machine = Machine::new(code, scratch, |number| operand(instance, number));
                        for unit in units {
                            let row_values = rows.get().add(number * self.row_words).cast();
                            machine.end_of_stage(unit.unit, stage, row_values, |piece| {
                                let partial = unit.partials.start + piece;
                                unit.partials
                                    .contains(&partial)
                                    .then(|| partials.get().add(partial * self.per_piece).cast_const())
                            });
                            number += 1;
                        }
                    }
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(kind: Kind, rows: usize, columns: usize, block: usize) -> Layout {
        let (outer, rows) = if kind == Kind::Streamed { (vec![rows], vec![]) } else { (vec![], vec![rows]) };
        let rows_per_block = if kind == Kind::Packed { block / columns } else { 0 };
        Layout { kind, outer, rows, columns: vec![columns], block, rows_per_block }
    }

    #[test]
    fn every_iteration_is_computed_once_and_shares_are_even() {
        let layouts = [
            layout(Kind::Streamed, 1, 400_000, 1024),
            layout(Kind::Packed, 100, 10, 250),
            layout(Kind::Streamed, 3, 5000, 1000),
            layout(Kind::Rowwise, 30, 70, 16),
            layout(Kind::Packed, 1, 7, 7),
            layout(Kind::Rowwise, 3, 0, 16),
        ];
        let kernel = LoopKernel { row_axes: 1, column_axes: 1, ..LoopKernel::default() };
        let layouts: Vec<&Layout> = layouts.iter().collect();
        for threads in 1..20 {
            let division = Division::new(&kernel, &layouts, threads);
            let mut seen: Vec<Vec<Vec<usize>>> = layouts
                .iter()
                .map(|layout| vec![vec![0; layout.iterations().max(1)]; layout.units()])
                .collect();
            let mut elements = vec![0; threads];
            for (thread, elements) in elements.iter_mut().enumerate() {
                for share in &division.whole[thread] {
                    for unit in share.units.clone() {
                        seen[share.instance][unit].iter_mut().for_each(|count| *count += 1);
                        *elements += layouts[share.instance].block * layouts[share.instance].iterations();
                    }
                }
                for piece in &division.pieces[thread] {
                    let unit = &division.units[piece.unit];
                    assert!(unit.partials.contains(&piece.partial));
                    for iteration in piece.iterations.clone() {
                        seen[unit.instance][unit.unit][iteration] += 1;
                        *elements += layouts[unit.instance].block;
                    }
                }
            }
            assert!(seen.iter().flatten().flatten().all(|&count| count == 1), "{threads} threads: {seen:?}");
            let (least, most) = (elements.iter().min().unwrap(), elements.iter().max().unwrap());
            assert!(most - least <= 4000, "{threads} threads: {elements:?}");
        }
    }
}
