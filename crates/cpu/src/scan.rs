//! Loops: the plan of a body, carried out once for each trip.
//!
//! A body is planned and prepared once, when its program is loaded. A trip sets the addresses of what changes from trip to trip,
//! slices and carried values, and runs the body's kernels. Carried values go back and forth between two places.

use crate::calls::Scratch;
use crate::device::Shared;
use crate::executable::{Pointer, SPARE, allocate, constants};
use crate::kernels::Kernels;
use crate::memory::AlignedBuffer;
use dropforge_ir::{Body, Result};
use dropforge_plan::plan::{Place, Plan};
use std::sync::{Mutex, PoisonError};

/// A loop with everything that can be decided before it runs.
pub(crate) struct Scan {
    plan: Plan,
    kernels: Kernels,
    carries: usize,
    stacked: usize,
    trips: usize,
    reverse: bool,
    /// Where each carried value lies in the places of carried values, and its bytes.
    carried: Vec<(usize, usize)>,
    memory: Mutex<Memory>,
}

/// What a loop needs while it runs.
struct Memory {
    arena: AlignedBuffer,
    scratch: Scratch,
    constants: Vec<AlignedBuffer>,
    /// The carried values of even and of odd trips.
    carried: [AlignedBuffer; 2],
    /// Where each buffer of the body's plan lies in the current trip.
    pointers: Vec<Pointer>,
}

impl Scan {
    /// Plans a body.
    ///
    /// # Errors
    /// If there is no memory for its intermediate values.
    pub(crate) fn new(
        body: &Body,
        [carries, stacked, trips]: [usize; 3],
        reverse: bool,
        shared: &Shared,
    ) -> Result<Scan> {
        let plan = dropforge_plan::plan(body.program())?;
        let kernels = Kernels::new(&plan, shared)?;
        let mut carried = Vec::new();
        let mut end = 0usize;
        for input in &body.program().inputs[..carries] {
            let bytes = body.program().ty(input.value).bytes();
            carried.push((end, bytes));
            end = end.saturating_add(bytes).next_multiple_of(SPARE);
        }
        let place = || allocate(end.saturating_add(SPARE), "carried values");
        let memory = Memory {
            arena: allocate(plan.arena_bytes + SPARE, "intermediate values of a loop")?,
            scratch: Scratch::new(allocate(kernels.scratch_bytes, "scratch space")?),
            constants: constants(&plan)?,
            carried: [place()?, place()?],
            pointers: vec![Pointer(std::ptr::null_mut()); plan.buffers.len()],
        };
        Ok(Scan { plan, kernels, carries, stacked, trips, reverse, carried, memory: Mutex::new(memory) })
    }

    /// Memory that the loop keeps, in bytes.
    pub(crate) fn own_bytes(&self) -> usize {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let carried: usize = memory.carried.iter().map(|place| place.as_bytes().len()).sum();
        self.plan.arena_bytes + memory.scratch.bytes() + carried + self.kernels.own_bytes()
    }

    /// For listings.
    pub(crate) fn describe(&self) -> String {
        format!("{} trips of {} kernels", self.trips, self.plan.kernels.len())
    }

    /// Runs all trips.
    ///
    /// # Safety
    /// `arg` and `result` give memory of the sizes that the operation's types say; results overlap nothing; nobody else uses
    /// the memory.
    pub(crate) unsafe fn run(
        &self,
        arg: &dyn Fn(usize) -> *mut u8,
        result: &dyn Fn(usize) -> *mut u8,
        shared: &Shared,
    ) {
        // Contents do not survive a run, so that a panic leaves nothing behind.
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let Memory { arena, scratch, constants, carried, pointers } = &mut *memory;
        for trip in 0..self.trips {
            let at = if self.reverse { self.trips - 1 - trip } else { trip };
            for (pointer, info) in pointers.iter_mut().zip(&self.plan.buffers) {
                let bytes = info.ty.bytes();
                // SAFETY: stacked arrays have a slice for each trip.
                let slice = |array: *mut u8| unsafe { array.add(at * bytes) };
                let mut place = |trip: usize, port: usize| {
                    carried[trip % 2].as_bytes_mut()[self.carried[port].0..].as_mut_ptr()
                };
                let port_is_carried = |port: usize| port < self.carries;
                let port_is_stacked =
                    |port: usize| (self.carries..self.carries + self.stacked).contains(&port);
                *pointer = Pointer(match info.place {
                    Place::Input(port) if port_is_carried(port) && trip > 0 => place(trip - 1, port),
                    Place::Input(port) if port_is_stacked(port) => slice(arg(port)),
                    Place::Input(port) => arg(port),
                    Place::Output(port) if port_is_carried(port) && trip + 1 < self.trips => {
                        place(trip, port)
                    }
                    Place::Output(port) if port_is_carried(port) => result(port),
                    Place::Output(port) => slice(result(port)),
                    Place::Arena(offset) => arena.as_bytes_mut()[offset..].as_mut_ptr(),
                    Place::Constant(number) => constants[number].as_bytes_mut().as_mut_ptr(),
                    Place::State(_) | Place::Hyper(_) => {
                        unreachable!("the shape rule takes no body with states or hyperparameters")
                    }
                });
            }
            for kernel in 0..self.kernels.prepared.len() {
                // SAFETY: slices and the two places of carried values are apart from each other and from the arena; results
                // overlap nothing by the caller's promise. The scratch space is as large as the kernels ask for.
                unsafe { self.kernels.run(kernel, pointers, None, scratch, shared) };
            }
        }
        if self.trips == 0 {
            for (port, (_, bytes)) in self.carried.iter().enumerate() {
                // SAFETY: argument and result have the same type and do not overlap.
                unsafe { std::ptr::copy_nonoverlapping(arg(port), result(port), *bytes) };
            }
        }
    }
}
