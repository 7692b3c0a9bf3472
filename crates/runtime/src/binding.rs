//! What devices are given: plans with their states, and the arguments of a run, after the checks that all devices
//! share.

use crate::device::{Argument, Buffer, BufferRef, own};
use dropforge_ir::{Error, Program, Result};
use dropforge_plan::Plan;
use dropforge_plan::verify::verify;
use std::sync::Arc;

/// A plan with a buffer of the right type for each of its states.
pub struct Binding<'a> {
    plan: &'a Arc<Plan>,
    states: &'a [BufferRef],
}

impl<'a> Binding<'a> {
    /// Binds states to a plan, in the order of its program's. The plan is verified: devices carry it out with raw
    /// memory.
    ///
    /// # Errors
    /// If the plan is not valid, or the number or a type of the states differs.
    pub fn new(plan: &'a Arc<Plan>, states: &'a [BufferRef]) -> Result<Binding<'a>> {
        verify(plan)?;
        Binding::of_planned(plan, states)
    }

    /// As [`Binding::new`], for a plan that the planner has just made, which is right but for faults of the planner.
    pub(crate) fn of_planned(plan: &'a Arc<Plan>, states: &'a [BufferRef]) -> Result<Binding<'a>> {
        let program = &plan.program;
        let fail = |message: String| Err(Error::new("load", message));
        let (expected, given) = (program.states.len(), states.len());
        if given != expected {
            return fail(format!("{} needs {expected} states, got {given}", program.name));
        }
        for (port, buffer) in program.states.iter().zip(states) {
            let expected = program.ty(port.value);
            if buffer.ty() != expected {
                return fail(format!("state {} is {expected}, its buffer is {}", port.name, buffer.ty()));
            }
        }
        Ok(Binding { plan, states })
    }

    /// The plan.
    pub fn plan(&self) -> &'a Arc<Plan> {
        self.plan
    }

    /// The states' buffers.
    pub fn states(&self) -> &'a [BufferRef] {
        self.states
    }

    /// The states as buffers of one sort, for which `belongs` says whether they are of the device that loads.
    ///
    /// # Errors
    /// If one is of another device; the message names it.
    pub fn own_states<T: Buffer + 'static>(&self, belongs: impl Fn(&T) -> bool) -> Result<Vec<Arc<T>>> {
        let find = |(port, buffer): (&dropforge_ir::program::StatePort, &BufferRef)| {
            own(buffer).filter(|buffer| belongs(buffer)).ok_or_else(|| {
                Error::new("load", format!("the buffer of state {} belongs to another device", port.name))
            })
        };
        self.plan.program.states.iter().zip(self.states).map(find).collect()
    }
}

/// The arguments of one run, which fit the program that runs.
#[derive(Clone, Copy)]
pub struct Arguments<'a> {
    /// One for each input.
    inputs: &'a [Argument<'a>],
    /// One for each runtime scalar.
    hypers: &'a [f32],
}

impl<'a> Arguments<'a> {
    /// Only an executable makes them, for the device that loaded its plan: devices rely on the types.
    pub(crate) fn new(program: &Program, inputs: &'a [Argument<'a>], hypers: &'a [f32]) -> Result<Self> {
        let name = &program.name;
        let fail = |message: String| Err(Error::new("run", message));
        let (expected, given) = (program.inputs.len(), inputs.len());
        if given != expected {
            return fail(format!("{name} takes {expected} inputs, got {given}"));
        }
        for (port, input) in program.inputs.iter().zip(inputs) {
            let expected = program.ty(port.value);
            if !input.is(expected) {
                return fail(format!("{name}: input {} is {expected}, got {}", port.name, input.ty()));
            }
        }
        let (expected, given) = (program.hypers.len(), hypers.len());
        if given != expected {
            return fail(format!("{name} takes {expected} hyperparameters, got {given}"));
        }
        Ok(Arguments { inputs, hypers })
    }

    /// One for each input of the program, of its type.
    pub fn inputs(&self) -> &'a [Argument<'a>] {
        self.inputs
    }

    /// One for each runtime scalar of the program.
    pub fn hypers(&self) -> &'a [f32] {
        self.hypers
    }
}
