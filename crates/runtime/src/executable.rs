//! Programs that are ready to run.

use crate::binding::Arguments;
use crate::device::{Argument, BufferRef, Loaded};
use crate::profile::{self, Times};
use dropforge_ir::Result;
use dropforge_plan::Plan;
use dropforge_plan::explain::explain;
use std::sync::Arc;

/// A program on a device, bound to its states.
pub struct Executable {
    plan: Arc<Plan>,
    loaded: Box<dyn Loaded>,
}

impl Executable {
    pub(crate) fn new(plan: Arc<Plan>, loaded: Box<dyn Loaded>) -> Executable {
        Executable { plan, loaded }
    }

    /// The plan that runs.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Runs the whole step: reads inputs and states, writes states, returns the outputs in the program's order. The
    /// outputs may still be on their way when this returns; reading one waits.
    ///
    /// # Errors
    /// If the inputs or hyperparameters do not fit the program, or the device fails. States are then unchanged or
    /// their contents lost, never half a step that looks whole.
    pub fn run(&mut self, inputs: &[Argument<'_>], hypers: &[f32]) -> Result<Vec<BufferRef>> {
        self.loaded.run(&Arguments::new(&self.plan.program, inputs, hypers)?)
    }

    /// As [`Executable::run`], with the outputs in a list of the caller, which is emptied first: its memory serves
    /// again.
    ///
    /// # Errors
    /// As [`Executable::run`].
    pub fn run_into(
        &mut self,
        inputs: &[Argument<'_>],
        hypers: &[f32],
        outputs: &mut Vec<BufferRef>,
    ) -> Result<()> {
        outputs.clear();
        self.loaded.run_into(&Arguments::new(&self.plan.program, inputs, hypers)?, outputs)
    }

    /// Bytes of intermediate values at the fullest moment of a step.
    pub fn peak_bytes(&self) -> usize {
        self.loaded.peak_bytes()
    }

    /// A listing for people: kernels, what each fused, memory.
    pub fn explain(&self) -> String {
        explain(&self.plan, |kernel| self.loaded.note(kernel)) + &self.loaded.remark()
    }

    /// Takes the time of each kernel from the next run on.
    pub fn start_profile(&mut self) {
        self.loaded.start_profile();
    }

    /// The time of each kernel so far; `None` where a device cannot tell, or nobody asked for a profile.
    pub fn times(&self) -> Option<Times> {
        self.loaded.times()
    }

    /// What the device knows of a kernel beside the plan; empty if nothing.
    pub fn note(&self, kernel: usize) -> String {
        self.loaded.note(kernel)
    }

    /// What profiling found, for people: time per kernel, its share and its rate. Empty where a device cannot tell.
    pub fn profile(&self) -> String {
        match self.loaded.times() {
            Some(times) => {
                let peak = self.loaded.peak();
                profile::table(&self.plan, &times, peak.as_ref(), |kernel| self.loaded.note(kernel))
            }
            None => String::new(),
        }
    }
}
