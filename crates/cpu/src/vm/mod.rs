//! The block machine: carries out loop kernels a block of lanes at a time.
//!
//! Loading a plan *compiles* each kernel (`Compiled::new`): a layout says what a lane is (`layout`), instructions are
//! merged (`superinstruction`), classified by how often they change, and turned into steps over slots of block registers
//! (`compile`). A run only follows the steps (`execute`): one indirect call for a block of some hundred lanes, so
//! that the interpretation is lost in the arithmetic. Operands that lie in memory as lanes do are used in place.
//!
//! Work is divided over threads in a way that depends on their number only, and partial sums are added in order of
//! the threads: the same number of threads gives the same bits.

mod code;
mod compile;
mod execute;
mod hold;
mod layout;
mod random;
mod reduce;
mod reduce_lanes;
mod superinstruction;
#[cfg(test)]
mod tests;
mod transfer;
mod tuning;
mod updates;

use crate::pool::{Pool, share};
use crate::simd::Level;
use code::Code;
use dropforge_ir::UnaryKind;
use dropforge_plan::kernel::LoopKernel;
use execute::{Machine, scratch_bytes, with_scratch};
use layout::{Kind, Layout};
use reduce::Accumulator;
use std::cell::UnsafeCell;
use std::ops::Range;

/// Whether a function takes many instructions.
fn is_expensive(kind: UnaryKind) -> bool {
    !matches!(
        kind,
        UnaryKind::Negate
            | UnaryKind::Absolute
            | UnaryKind::Sign
            | UnaryKind::Relu
            | UnaryKind::Floor
            | UnaryKind::Ceil
            | UnaryKind::Round
            | UnaryKind::Not
    )
}

/// Code for one cut of a domain, and without early stores for instances where those would overwrite what is still read.
struct Variants {
    early: Code,
    late: Option<Code>,
}

/// A share of a thread: units of an instance.
#[derive(Clone, Debug)]
struct Share {
    instance: usize,
    units: Range<usize>,
}

/// How threads share the work.
enum Division {
    /// Whole units, for each thread.
    Units(Vec<Vec<Share>>),
    /// Columns of every unit of the only instance.
    Columns(Columns),
}

/// What threads tell each other when they share columns.
struct Columns {
    units: usize,
    threads: usize,
    /// Row values of every unit, and bytes of one.
    rows: UnsafeCell<Vec<u64>>,
    row_words: usize,
    /// What each thread has seen in each unit, and the number of accumulators of a unit.
    partials: UnsafeCell<Vec<Accumulator>>,
    per_unit: usize,
}

// SAFETY: `Compiled::run` asks its callers that there is one run at a time, and inside a run threads write to their own
// parts.
unsafe impl Sync for Columns {}

/// A loop kernel ready to run.
pub struct Compiled {
    variants: Vec<Variants>,
    /// For each instance the variants that fit its rows.
    instances: Vec<usize>,
    division: Division,
    /// Threads that take part.
    threads: usize,
}

impl Compiled {
    /// Compiles a kernel for instances with the given extents of rows, to be run by up to `threads` threads.
    pub fn new(kernel: &LoopKernel, instances: &[Vec<usize>], threads: usize, level: Level) -> Compiled {
        let registers = compile::live_registers(kernel);
        Compiled::build(kernel, instances, threads, level, tuning::GRAIN, |rows| {
            Layout::choose(kernel, rows, registers)
        })
    }

    /// Compiles with given layouts; `grain` is the work worth a thread.
    fn build(
        kernel: &LoopKernel,
        instances: &[Vec<usize>],
        threads: usize,
        level: Level,
        grain: f64,
        layout: impl Fn(&[usize]) -> Layout,
    ) -> Compiled {
        let mut known: Vec<&Vec<usize>> = Vec::new();
        let mut cuts: Vec<Layout> = Vec::new();
        let mut numbers = Vec::new();
        for rows in instances {
            let number = known.iter().position(|other| *other == rows).unwrap_or_else(|| {
                known.push(rows);
                cuts.push(layout(rows));
                known.len() - 1
            });
            numbers.push(number);
        }
        let layouts: Vec<&Layout> = numbers.iter().map(|&number| &cuts[number]).collect();
        let cost: f64 = layouts.iter().map(|layout| layout.estimate(kernel)).sum();
        let threads = threads.min((cost / grain) as usize).max(1);
        let shares_columns = match &layouts[..] {
            [layout] => shares_columns(layout, threads) || keeps_images(kernel, layout, threads),
            _ => false,
        };
        let compile = |layout, forward| compile::compile(kernel, layout, level, forward, !shares_columns);
        let variants: Vec<Variants> = cuts
            .iter()
            .map(|layout| {
                let early = compile(layout, true);
                let late = (!early.conflicts.is_empty()).then(|| compile(layout, false));
                Variants { early, late }
            })
            .collect();
        let division = match shares_columns {
            true => Division::Columns(Columns::new(&variants[0], threads)),
            false => Division::Units(divide(&layouts, threads)),
        };
        Compiled { variants, instances: numbers, division, threads }
    }

    /// Runs the kernel. `operand` gives the address of an operand of an instance.
    ///
    /// # Safety
    /// Every access of the kernel is inside its operand; operands are aligned to their elements; those that are written
    /// overlap others only where plans allow it (an argument in the place of a result with the same accesses). There is one
    /// run of this kernel at a time.
    pub unsafe fn run(&self, operand: &(dyn Fn(usize, usize) -> *mut u8 + Sync), pool: &Pool) {
        match &self.division {
            Division::Units(shares) => {
                let work = |thread: usize| {
                    for share in shares.get(thread).into_iter().flatten() {
                        let code = self.code(share.instance, operand);
                        with_scratch(scratch_bytes(code), |scratch| {
                            // SAFETY: the scratch memory is this thread's; the rest is the caller's promise.
                            unsafe {
                                let mut machine =
                                    Machine::new(code, scratch, |number| operand(share.instance, number));
                                machine.once();
                                for unit in share.units.clone() {
                                    machine.unit(unit);
                                }
                            }
                        });
                    }
                };
                if self.threads == 1 || pool.threads() == 1 {
                    (0..shares.len()).for_each(work);
                } else {
                    pool.run(|thread| {
                        // A pool with fewer threads than planned still does all the work, in the same shares.
                        let threads = pool.threads();
                        (thread..shares.len()).step_by(threads).for_each(work);
                    });
                }
            }
            // SAFETY: the caller's promise.
            Division::Columns(columns) => unsafe { columns.run(self.code(0, operand), operand, pool) },
        }
    }

    /// Whether parts of the only instance can be computed by [`Compiled::run_elements`].
    pub fn is_elementwise(&self) -> bool {
        let [only] = &self.instances[..] else { return false };
        self.variants[*only].early.layout.kind == Kind::Elementwise
    }

    /// Computes some elements of the only instance, which is elementwise, on the calling thread: ranges counted in
    /// row-major order of the rows. The elements of the operand `aside`, if there is one, lie one after another from the
    /// address that comes with each range, instead of where `operand` says.
    ///
    /// # Safety
    /// As for [`Compiled::run`], but other threads may compute other elements meanwhile. Nothing is written to the operand
    /// `aside`, and its elements lie where the ranges say.
    pub unsafe fn run_elements(
        &self,
        operand: &(dyn Fn(usize, usize) -> *mut u8 + Sync),
        aside: Option<usize>,
        parts: impl Iterator<Item = (Range<usize>, Option<*const f32>)>,
    ) {
        let code = self.code(0, operand);
        let mut parts = parts.peekable();
        with_scratch(scratch_bytes(code), |scratch| {
            // SAFETY: the scratch memory is this thread's; the rest is the caller's promise.
            unsafe {
                let mut machine =
                    Machine::with_operand_aside(code, scratch, aside, |number| operand(0, number));
                machine.once();
                while let Some((elements, first)) = parts.next() {
                    if let (Some(operand), Some(first)) = (aside, first) {
                        machine.move_operand(operand, first.wrapping_sub(elements.start).cast_mut().cast());
                    }
                    machine.elements(elements, parts.peek().map(|(next, _)| next.start));
                }
            }
        });
    }

    /// The code for an instance with these operands.
    fn code(&self, instance: usize, operand: &(dyn Fn(usize, usize) -> *mut u8 + Sync)) -> &Code {
        let variants = &self.variants[self.instances[instance]];
        match &variants.late {
            Some(late) => {
                let clashes = variants.early.conflicts.iter().any(|&(stored, loaded)| {
                    operand(instance, stored).addr() == operand(instance, loaded).addr()
                });
                if clashes { late } else { &variants.early }
            }
            None => &variants.early,
        }
    }
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

/// Whether threads share the columns of one pass over several runs, such as the images of a batch, although there are rows
/// enough: other kernels give each thread some of the images, so that these are still in its cache.
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

impl Columns {
    fn new(variants: &Variants, threads: usize) -> Columns {
        let code = &variants.early;
        let units = code.layout.units();
        let lanes = if code.layout.kind == Kind::Rowwise { code.layout.block } else { 1 };
        let reductions = code.stages.iter().map(|stage| stage.reductions.len()).max().unwrap_or(0);
        let per_unit = lanes * reductions;
        // Either of the variants may run, and they keep different values.
        let late_bytes = variants.late.as_ref().map_or(0, |late| late.row_area.len());
        let row_words = code.row_area.len().max(late_bytes).div_ceil(8);
        let nothing = Accumulator { wide: [0.0; 2], word: 0, index: 0, seen: 0 };
        Columns {
            units,
            threads,
            rows: UnsafeCell::new(vec![0; units * row_words]),
            row_words,
            partials: UnsafeCell::new(vec![nothing; threads * units * per_unit]),
            per_unit,
        }
    }

    /// Stage by stage: every thread its part of the columns of all units, then the caller the rest.
    ///
    /// # Safety
    /// As for [`Compiled::run`].
    unsafe fn run(&self, code: &Code, operand: &(dyn Fn(usize, usize) -> *mut u8 + Sync), pool: &Pool) {
        // SAFETY: there is one run at a time; threads write to their own partial accumulators.
        let (rows, partials) =
            unsafe { ((*self.rows.get()).as_mut_ptr(), (*self.partials.get()).as_mut_ptr()) };
        let (rows, partials) = (Shared(rows), Shared(partials));
        let iterations = code.layout.iterations();
        let bytes = scratch_bytes(code);
        assert!(code.row_area.len() <= 8 * self.row_words, "row values of the kernel have no room");
        for stage in 0..code.stages.len() {
            let work = |thread: usize| {
                with_scratch(bytes, |scratch| {
                    // SAFETY: the caller's promise; every thread has its own scratch memory and partial accumulators.
                    unsafe {
                        let mut machine = Machine::new(code, scratch, |number| operand(0, number));
                        // Later stages find the values in scratch memory; what they came from may be overwritten.
                        if stage == 0 {
                            machine.once();
                        }
                        for unit in 0..self.units {
                            let partial = partials.get().add((thread * self.units + unit) * self.per_unit);
                            let row_values = rows.get().add(unit * self.row_words);
                            let range = share(iterations, self.threads, thread);
                            machine.part_of_stage(unit, stage, range, row_values.cast(), partial);
                        }
                    }
                });
            };
            pool.run(|thread| {
                let threads = pool.threads();
                (thread..self.threads).step_by(threads).for_each(work);
            });
            with_scratch(bytes, |scratch| {
                // SAFETY: the threads are done.
                unsafe {
                    let mut machine = Machine::new(code, scratch, |number| operand(0, number));
                    for unit in 0..self.units {
                        let row_values = rows.get().add(unit * self.row_words);
                        machine.end_of_stage(unit, stage, row_values.cast(), |thread| {
                            let first = (thread * self.units + unit) * self.per_unit;
                            (thread < self.threads).then(|| partials.get().add(first).cast_const())
                        });
                    }
                }
            });
        }
    }
}

/// A pointer that threads of one job share.
#[derive(Clone, Copy)]
struct Shared<T>(*mut T);

impl<T> Shared<T> {
    fn get(self) -> *mut T {
        self.0
    }
}

// SAFETY: users write to disjoint parts.
unsafe impl<T> Sync for Shared<T> {}
