//! A plan loaded on the CPU: everything is prepared once, and a run only follows the list.

use crate::calls::Scratch;
use crate::device::{CpuBuffer, Shared};
use crate::kernels::{Kernels, Prepared};
use crate::memory::AlignedBuffer;
use crate::packed::Kept;
use dropforge_ir::{Error, Literal, Result};
use dropforge_plan::Plan;
use dropforge_plan::explain::human_bytes;
use dropforge_plan::plan::Place;
use dropforge_runtime::profile::{Peak, TIMED_ELSEWHERE, Times};
use dropforge_runtime::{Argument, Arguments, Binding, BufferRef, Loaded, own};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A program on the CPU.
pub(crate) struct CpuExecutable {
    shared: Arc<Shared>,
    plan: Arc<Plan>,
    kernels: Kernels,
    states: Vec<Arc<CpuBuffer>>,
    /// By kernel, the packed operand that stays from run to run.
    packed: Vec<Option<Kept>>,
    arena: AlignedBuffer,
    /// Where empty inputs point.
    spare: AlignedBuffer,
    scratch: Scratch,
    /// Constants and hyperparameters, one line of memory each.
    constants: Vec<AlignedBuffer>,
    hypers: AlignedBuffer,
    /// Where each buffer of the plan lies in the current run.
    pointers: Vec<Pointer>,
    /// Where the inputs and the outputs of the current run lie.
    inputs: Vec<Pointer>,
    written: Vec<Pointer>,
    /// By output, buffers of earlier runs, which serve again when nobody else holds them; small ones only.
    outputs: Vec<Vec<Arc<CpuBuffer>>>,
    /// Per kernel, the time spent in it; empty unless profiling.
    times: Vec<Duration>,
    profiled_runs: u32,
}

/// An address that is only used while the device's lock is held.
#[derive(Clone, Copy)]
pub(crate) struct Pointer(pub(crate) *mut u8);
// SAFETY: the pointer is plain data; whoever uses it holds the device's lock.
unsafe impl Send for Pointer {}
// SAFETY: as above.
unsafe impl Sync for Pointer {}

impl CpuExecutable {
    pub(crate) fn new(shared: &Arc<Shared>, binding: &Binding<'_>) -> Result<CpuExecutable> {
        let plan = Arc::clone(binding.plan());
        let states = binding.own_states(|buffer: &CpuBuffer| buffer.belongs_to(shared))?;
        // What a program reads and does not write stays the same from run to run.
        let stays = |buffer: usize| match plan.buffers[buffer].place {
            Place::State(port) => plan.program.states[port].write.is_none(),
            _ => false,
        };
        let kernels = Kernels::new(&plan, shared, &stays)?;
        let packed = kernels.prepared.iter().map(|step| match step {
            Prepared::Call { call, args, .. } if args.len() == 2 => Kept::new(call, args[1], &plan, &states),
            _ => None,
        });
        let packed = packed.collect();
        let constants = constants(&plan)?;
        let mut executable = CpuExecutable {
            shared: Arc::clone(shared),
            scratch: Scratch::new(allocate(kernels.scratch_bytes, "scratch space")?),
            kernels,
            states,
            packed,
            // An empty value may stand at the very end, see `spare`.
            arena: allocate(plan.arena_bytes + SPARE, "intermediate values")?,
            spare: allocate(SPARE, "empty inputs")?,
            constants,
            hypers: allocate(plan.program.hypers.len() * HYPER_STRIDE, "hyperparameters")?,
            pointers: vec![Pointer(std::ptr::null_mut()); plan.buffers.len()],
            inputs: Vec::with_capacity(plan.program.inputs.len()),
            written: Vec::with_capacity(plan.program.outputs.len()),
            outputs: plan.program.outputs.iter().map(|_| Vec::new()).collect(),
            times: Vec::new(),
            profiled_runs: 0,
            plan,
        };
        executable.point_at_fixed_places();
        Ok(executable)
    }

    /// Everything but inputs and outputs stays where it is from run to run.
    fn point_at_fixed_places(&mut self) {
        for (pointer, info) in self.pointers.iter_mut().zip(&self.plan.buffers) {
            *pointer = Pointer(match info.place {
                Place::Input(_) | Place::Output(_) => std::ptr::null_mut(),
                Place::State(port) => self.states[port].pointer(),
                Place::Hyper(port) => self.hypers.as_bytes_mut()[port * HYPER_STRIDE..].as_mut_ptr(),
                Place::Constant(number) => self.constants[number].as_bytes_mut().as_mut_ptr(),
                Place::Arena(offset) => self.arena.as_bytes_mut()[offset..].as_mut_ptr(),
            });
        }
    }
}

/// Bytes that can be read where a value is empty: one element of any type.
pub(crate) const SPARE: usize = 64;

/// Bytes between hyperparameters.
const HYPER_STRIDE: usize = size_of::<f32>();

/// Bytes of an output up to which its memory is kept for later runs: losses, norms, checks. What is larger is given
/// back to the system when nobody needs it.
const KEPT_BYTES: usize = 4096;
/// Buffers that are kept for an output: whoever reads losses late holds a few.
const KEPT_BUFFERS: usize = 8;

/// The constants of a plan in memory.
pub(crate) fn constants(plan: &Plan) -> Result<Vec<AlignedBuffer>> {
    let place = |literal: &Literal| {
        let mut memory = allocate(literal.bytes().len(), "a constant")?;
        memory.as_bytes_mut()[..literal.bytes().len()].copy_from_slice(literal.bytes());
        Ok(memory)
    };
    plan.constants.iter().map(place).collect()
}

pub(crate) fn allocate(bytes: usize, what: &str) -> Result<AlignedBuffer> {
    // One element at least, so that there is always an address.
    AlignedBuffer::try_new(bytes.div_ceil(size_of::<f32>()).max(1))
        .ok_or_else(|| Error::new("load", format!("no memory for {what}, {}", human_bytes(bytes as f64))))
}

impl CpuExecutable {
    /// Memory for an output: that of an earlier run, or new memory.
    fn output(&mut self, port: usize) -> Result<Arc<CpuBuffer>> {
        let ty = self.plan.program.ty(self.plan.program.outputs[port].value);
        let kept = &mut self.outputs[port];
        // Nobody else holds it, so nobody can take hold of it meanwhile.
        if let Some(free) =
            kept.iter_mut().find_map(|buffer| Arc::get_mut(buffer).is_some().then_some(buffer))
        {
            free.renew_version();
            return Ok(Arc::clone(free));
        }
        let buffer = CpuBuffer::zeroed(&self.shared, ty)?;
        if ty.bytes() <= KEPT_BYTES && kept.len() < KEPT_BUFFERS {
            kept.push(Arc::clone(&buffer));
        }
        Ok(buffer)
    }

    fn run_kernel(&self, index: usize) {
        // SAFETY: the device's lock is held, operands have been packed before the first kernel, the pointers are those
        // of this run, and the scratch space is as large as the largest call asks for.
        unsafe {
            let packed = self.packed[index].as_ref().map(|kept| kept.elements());
            self.kernels.run(index, &self.pointers, packed, &self.scratch, &self.shared);
        }
    }
}

impl Loaded for CpuExecutable {
    fn run(&mut self, arguments: &Arguments<'_>) -> Result<Vec<BufferRef>> {
        let mut outputs = Vec::with_capacity(self.plan.program.outputs.len());
        self.run_into(arguments, &mut outputs)?;
        Ok(outputs)
    }

    fn run_into(&mut self, arguments: &Arguments<'_>, outputs: &mut Vec<BufferRef>) -> Result<()> {
        // Copies of inputs from other devices, kept until the end of the run.
        let mut foreign = Vec::new();
        self.inputs.clear();
        for input in arguments.inputs() {
            self.inputs.push(Pointer(match input {
                // Kernels read what is the same everywhere ahead of their loops, even if these never run.
                Argument::Host(array) if array.data().is_empty() => self.spare.as_mut_ptr().cast(),
                Argument::Host(array) => array.data().bytes().as_ptr().cast_mut(),
                Argument::Device(buffer) => match own::<CpuBuffer>(buffer) {
                    Some(own) if own.belongs_to(&self.shared) => own.pointer(),
                    _ => {
                        foreign.push(buffer.read()?);
                        foreign[foreign.len() - 1].data().bytes().as_ptr().cast_mut()
                    }
                },
            }));
        }
        self.written.clear();
        for port in 0..self.outputs.len() {
            let output = self.output(port)?;
            self.written.push(Pointer(output.pointer()));
            outputs.push(output);
        }
        for (pointer, info) in self.pointers.iter_mut().zip(&self.plan.buffers) {
            match info.place {
                // Inputs are never written: no kernel stores into a leaf.
                Place::Input(port) => *pointer = self.inputs[port],
                Place::Output(port) => *pointer = self.written[port],
                _ => {}
            }
        }
        for (port, &hyper) in arguments.hypers().iter().enumerate() {
            self.hypers[port] = hyper;
        }
        let shared = Arc::clone(&self.shared);
        let guard = shared.lock();
        for (state, port) in self.states.iter().zip(&self.plan.program.states) {
            if port.write.is_some() {
                state.renew_version();
            }
        }
        for (kept, step) in self.packed.iter().zip(&self.kernels.prepared) {
            if let (Some(kept), Prepared::Call { call, .. }) = (kept, step) {
                // SAFETY: the lock is held, and no kernel runs yet.
                unsafe { kept.renew(call, &shared) };
            }
        }
        if self.times.is_empty() {
            (0..self.kernels.prepared.len()).for_each(|index| self.run_kernel(index));
        } else {
            self.profiled_runs += 1;
            for index in 0..self.kernels.prepared.len() {
                let start = Instant::now();
                self.run_kernel(index);
                self.times[index] += start.elapsed();
            }
        }
        drop(guard);
        Ok(())
    }

    fn peak_bytes(&self) -> usize {
        let packed: BTreeMap<_, usize> = self.packed.iter().flatten().map(Kept::place_and_bytes).collect();
        let packed: usize = packed.values().sum();
        self.plan.arena_bytes + self.scratch.bytes() + packed + self.kernels.own_bytes()
    }

    /// Which of several ways computes a kernel.
    fn note(&self, kernel: usize) -> String {
        match &self.kernels.prepared[kernel] {
            Prepared::Call { call, .. } if self.kernels.epilogue(kernel).is_some() => {
                let place = if self.kernels.channels(kernel).is_some() { " in registers" } else { "" };
                format!("{} with epilogue{place}", call.describe()).trim_start().into()
            }
            Prepared::Call { call, .. } => call.describe(),
            Prepared::Epilogue { .. } => format!("epilogue, {TIMED_ELSEWHERE} product's"),
            Prepared::Pooled => format!("{TIMED_ELSEWHERE} convolution's"),
            Prepared::Loop { .. } | Prepared::Copy { .. } => String::new(),
        }
    }

    fn remark(&self) -> String {
        format!("scratch {}\n", human_bytes(self.scratch.bytes() as f64))
    }

    fn start_profile(&mut self) {
        self.times = vec![Duration::ZERO; self.kernels.prepared.len()];
        self.profiled_runs = 0;
    }

    fn times(&self) -> Option<Times> {
        let runs = f64::from(self.profiled_runs.max(1));
        let seconds = self.times.iter().map(|time| time.as_secs_f64() / runs).collect();
        Some(Times { seconds, runs: self.profiled_runs })
    }

    fn peak(&self) -> Option<Peak> {
        let _guard = self.shared.lock();
        self.shared.peak().copied()
    }
}
