//! The block machine: carries out loop kernels a block of lanes at a time.
//!
//! Loading a plan *compiles* each kernel (`Compiled::new`): a layout says what a lane is (`layout`), instructions are
//! merged (`superinstruction`), classified by how often they change, and turned into steps over slots of block
//! registers (`compile`). A run only follows the steps (`execute`): one indirect call for a block of some hundred
//! lanes, so that the interpretation is lost in the arithmetic. Operands that lie in memory as lanes do are used in
//! place.
//!
//! Work is divided over threads in a way that depends on their number only, and partial sums are added in order of
//! the threads: the same number of threads gives the same bits.

mod code;
mod compile;
mod division;
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

use crate::pool::Pool;
use crate::simd::Level;
use code::Code;
use division::{Division, Exchange, Operands};
use dropforge_ir::UnaryKind;
use dropforge_plan::kernel::{Domain, LoopKernel};
use execute::{Machine, scratch_bytes, with_scratch};
use layout::{Kind, Layout};
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

/// A loop kernel ready to run.
pub struct Compiled {
    variants: Vec<Variants>,
    /// For each instance the variants that fit its extents.
    instances: Vec<usize>,
    division: Division,
    /// If threads share columns.
    exchange: Option<Exchange>,
    /// Threads that take part.
    threads: usize,
}

impl Compiled {
    /// Compiles a kernel for instances with the given extents, to be run by up to `threads` threads.
    pub fn new(kernel: &LoopKernel, instances: &[Domain], threads: usize, level: Level) -> Compiled {
        let registers = compile::live_registers(kernel);
        Compiled::build(kernel, instances, threads, level, tuning::GRAIN, |domain| {
            Layout::choose(kernel, domain, registers)
        })
    }

    /// Compiles with given layouts; `grain` is the work worth a thread.
    fn build(
        kernel: &LoopKernel,
        instances: &[Domain],
        threads: usize,
        level: Level,
        grain: f64,
        layout: impl Fn(&Domain) -> Layout,
    ) -> Compiled {
        let mut known: Vec<&Domain> = Vec::new();
        let mut cuts: Vec<Layout> = Vec::new();
        let mut numbers = Vec::new();
        for domain in instances {
            let number = known.iter().position(|other| *other == domain).unwrap_or_else(|| {
                known.push(domain);
                cuts.push(layout(domain));
                known.len() - 1
            });
            numbers.push(number);
        }
        let layouts: Vec<&Layout> = numbers.iter().map(|&number| &cuts[number]).collect();
        let cost: f64 = layouts.iter().map(|layout| layout.estimate(kernel)).sum();
        let threads = threads.min((cost / grain) as usize).max(1);
        let division = Division::new(kernel, &layouts, threads);
        let compile =
            |layout, forward| compile::compile(kernel, layout, level, forward, !division.has_pieces());
        let variants: Vec<Variants> = cuts
            .iter()
            .map(|layout| {
                let early = compile(layout, true);
                let late = (!early.conflicts.is_empty()).then(|| compile(layout, false));
                Variants { early, late }
            })
            .collect();
        // Either of the variants may run, and they keep different values.
        let codes = variants.iter().flat_map(|one| std::iter::once(&one.early).chain(&one.late));
        let exchange = division.has_pieces().then(|| Exchange::new(&division, codes));
        Compiled { variants, instances: numbers, division, exchange, threads }
    }

    /// Runs the kernel. `operand` gives the address of an operand of an instance.
    ///
    /// # Safety
    /// Every access of the kernel is inside its operand; operands are aligned to their elements; those that are written
    /// overlap others only where plans allow it (an argument in the place of a result with the same accesses). There is
    /// one run of this kernel at a time.
    pub unsafe fn run(&self, operand: &Operands<'_>, pool: &Pool) {
        let whole = |thread: usize| {
            for share in &self.division.whole[thread] {
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
        if let Some(exchange) = &self.exchange {
            let code = |instance: usize| self.code(instance, operand);
            // SAFETY: the caller's promise.
            unsafe { exchange.run(&self.division, &code, operand, &whole, pool) };
        } else if self.threads == 1 || pool.threads() == 1 {
            (0..self.threads).for_each(whole);
        } else {
            pool.run(|thread| {
                // A pool with fewer threads than planned still does all the work, in the same shares.
                (thread..self.threads).step_by(pool.threads()).for_each(whole);
            });
        }
    }

    /// Whether parts of the only instance can be computed by [`Compiled::run_elements`].
    pub fn is_elementwise(&self) -> bool {
        let [only] = &self.instances[..] else { return false };
        self.variants[*only].early.layout.kind == Kind::Elementwise
    }

    /// Computes some elements of the only instance, which is elementwise, on the calling thread: ranges counted in
    /// row-major order of the rows. The elements of the operand `aside`, if there is one, lie one after another from
    /// the address that comes with each range, instead of where `operand` says.
    ///
    /// # Safety
    /// As for [`Compiled::run`], but other threads may compute other elements meanwhile. Nothing is written to the
    /// operand `aside`, and its elements lie where the ranges say.
    pub unsafe fn run_elements(
        &self,
        operand: &Operands<'_>,
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
    fn code(&self, instance: usize, operand: &Operands<'_>) -> &Code {
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
