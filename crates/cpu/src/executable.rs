//! A plan loaded on the CPU: everything is prepared once, and a run only follows the list.

use crate::calls::{Call, Extras, Following, Scratch};
use crate::device::{CpuBuffer, Shared};
use crate::memory::AlignedBuffer;
use crate::packed::PackedFilters;
use crate::vm;
use dropforge_ir::{Error, Result, ValueType};
use dropforge_plan::Plan;
use dropforge_plan::explain::human_bytes;
use dropforge_plan::kernel::Domain;
use dropforge_plan::plan::{Place, Work};
use dropforge_runtime::profile::{Peak, Times};
use dropforge_runtime::{Argument, Arguments, Binding, BufferRef, Loaded, own};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What runs for one kernel of the plan.
enum Prepared {
    Loop {
        compiled: Box<vm::Compiled>,
        operands: Vec<Vec<usize>>,
    },
    /// A loop that runs on each finished part of the product or convolution before it; that kernel runs both.
    Epilogue {
        compiled: Box<vm::Compiled>,
        operands: Vec<usize>,
        /// Which of the operands is the product.
        product: usize,
    },
    Call {
        call: Box<Call>,
        args: Vec<usize>,
        results: Vec<usize>,
    },
    Copy {
        from: usize,
        to: usize,
        bytes: usize,
    },
    /// A max-pool, or the gradient of one, that convolutions compute.
    Pooled,
}

/// A program on the CPU.
pub(crate) struct CpuExecutable {
    shared: Arc<Shared>,
    plan: Arc<Plan>,
    prepared: Vec<Prepared>,
    states: Vec<Arc<CpuBuffer>>,
    /// By kernel, the filters of convolutions that stay from run to run.
    packed: Vec<Option<PackedFilters>>,
    arena: AlignedBuffer,
    /// Where empty inputs point.
    spare: AlignedBuffer,
    scratch: Scratch,
    /// Constants and hyperparameters, one line of memory each.
    constants: Vec<AlignedBuffer>,
    hypers: AlignedBuffer,
    /// Where each buffer of the plan lies in the current run.
    pointers: Vec<Pointer>,
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
        let threads = shared.pool.threads();
        let mut scratch_bytes = 0;
        let mut prepared = Vec::with_capacity(plan.kernels.len());
        for (number, step) in plan.kernels.iter().enumerate() {
            let next = match &step.work {
                Work::Loop { kernel, instances } => {
                    let domains: Vec<Domain> =
                        instances.iter().map(|instance| instance.domain.clone()).collect();
                    let mut operands: Vec<Vec<usize>> =
                        instances.iter().map(|instance| instance.operands.clone()).collect();
                    let compiled = Box::new(vm::Compiled::new(kernel, &domains, threads, shared.level));
                    match prepared.last_mut() {
                        Some(Prepared::Call { call, results, .. })
                            if step.is_epilogue
                                && compiled.is_elementwise()
                                && call.can_be_followed()
                                && operands[0].contains(&results[0]) =>
                        {
                            if plan.is_used_by_next_only(number - 1, results[0]) {
                                call.put_product_aside();
                                scratch_bytes = scratch_bytes.max(call.scratch_bytes());
                            }
                            let operands = operands.swap_remove(0);
                            let product = operands.iter().position(|operand| *operand == results[0]);
                            Prepared::Epilogue { compiled, product: product.unwrap_or(0), operands }
                        }
                        _ => Prepared::Loop { compiled, operands },
                    }
                }
                Work::Call { op, args, results } => {
                    let types: Vec<&ValueType> =
                        results.iter().map(|&result| &plan.buffers[result].ty).collect();
                    let source =
                        |arg: usize| &plan.program.definition(plan.buffers[args[arg].buffer].value).op;
                    let mut call = Call::new(op, args, &types, source, shared)?;
                    if results.get(1).is_some_and(|&positions| plan.is_used_only_by(number, positions)) {
                        call.leave_out_positions();
                    }
                    scratch_bytes = scratch_bytes.max(call.scratch_bytes());
                    let args = args.iter().map(|arg| arg.buffer).collect();
                    Prepared::Call { call: Box::new(call), args, results: results.clone() }
                }
                Work::Copy { from, to } => {
                    Prepared::Copy { from: *from, to: *to, bytes: plan.buffers[*from].ty.bytes() }
                }
            };
            prepared.push(next);
        }
        scratch_bytes = scratch_bytes.max(join_pools(&plan, &mut prepared, shared));
        let packed = prepared.iter().map(|step| match step {
            Prepared::Call { call, args, .. } if args.len() == 2 => PackedFilters::new(call, args[1], &plan),
            _ => Ok(None),
        });
        let packed: Vec<Option<PackedFilters>> = packed.collect::<Result<_>>()?;
        let mut constants = Vec::new();
        for literal in &plan.constants {
            let mut memory = allocate(literal.bytes().len(), "a constant")?;
            memory.as_bytes_mut()[..literal.bytes().len()].copy_from_slice(literal.bytes());
            constants.push(memory);
        }
        let mut executable = CpuExecutable {
            shared: Arc::clone(shared),
            prepared,
            states,
            packed,
            // An empty value may stand at the very end, see `spare`.
            arena: allocate(plan.arena_bytes + SPARE, "intermediate values")?,
            spare: allocate(SPARE, "empty inputs")?,
            scratch: Scratch::new(allocate(scratch_bytes, "scratch space")?),
            constants,
            hypers: allocate(plan.program.hypers.len() * HYPER_STRIDE, "hyperparameters")?,
            pointers: vec![Pointer(std::ptr::null_mut()); plan.buffers.len()],
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

    /// The loop that runs as part of the product with this number.
    fn epilogue(&self, product: usize) -> Option<(&vm::Compiled, &[usize], usize)> {
        match self.prepared.get(product + 1)? {
            Prepared::Epilogue { compiled, operands, product } => Some((compiled, operands, *product)),
            _ => None,
        }
    }

    fn run_kernel(&mut self, index: usize) {
        let pool = &self.shared.pool;
        match &self.prepared[index] {
            Prepared::Loop { compiled, operands } => {
                // SAFETY: the plan's operands have the sizes that the kernel was compiled for, overlap only as plans
                // allow, and the device's lock is held.
                unsafe {
                    compiled.run(&|instance, operand| self.pointers[operands[instance][operand]].0, pool)
                };
            }
            Prepared::Call { call, args, results } => {
                let epilogue = self.epilogue(index);
                let operand = |_: usize, operand: usize| match epilogue {
                    Some((_, operands, _)) => self.pointers[operands[operand]].0,
                    None => std::ptr::null_mut(),
                };
                let following =
                    epilogue.map(|(kernel, _, product)| Following { kernel, operand: &operand, product });
                let packed = self.packed[index].as_ref().map(PackedFilters::elements);
                // SAFETY: as above; the scratch space is as large as the largest call asks for, and the plan says that the
                // loop may follow element by element.
                unsafe {
                    call.run_with(
                        &|arg| self.pointers[args[arg]].0,
                        &|result| self.pointers[results[result]].0,
                        Extras { following: following.as_ref(), packed },
                        &self.scratch,
                        &self.shared,
                    );
                }
            }
            // Another kernel runs it.
            Prepared::Epilogue { .. } | Prepared::Pooled => {}
            Prepared::Copy { from, to, bytes } => {
                // SAFETY: a copy joins two different buffers of one size.
                unsafe {
                    std::ptr::copy_nonoverlapping(self.pointers[*from].0, self.pointers[*to].0, *bytes)
                };
            }
        }
    }
}

/// Lets convolutions compute the max-pools of their outputs, and the gradients of these, where they can and nobody else needs
/// what comes in between. Returns the bytes of scratch space that this takes.
fn join_pools(plan: &Plan, prepared: &mut [Prepared], shared: &Shared) -> usize {
    let mut scratch_bytes = 0;
    for number in 0..prepared.len() {
        let Prepared::Call { call, args, results } = &prepared[number] else { continue };
        let Some(windows) = call.pool_shape().copied() else { continue };
        let (args, results) = (args.clone(), results.clone());
        let can_pool = |kernel: usize| matches!(&prepared[kernel], Prepared::Call { call, .. } if call.can_pool_output(&windows));
        if results.len() == 2 {
            let follows = plan.kernels[number].is_epilogue
                && plan.is_used_by_next_only(number - 1, args[0])
                && can_pool(number - 1);
            if !follows {
                continue;
            }
            if let Prepared::Call { call, results: pooled, .. } = &mut prepared[number - 1] {
                call.pool_output(shared);
                scratch_bytes = scratch_bytes.max(call.scratch_bytes());
                *pooled = results;
            }
        } else {
            let spread = results[0];
            let touches = |kernel: &usize| plan.kernels[*kernel].buffers().contains(&spread);
            let readers: Vec<usize> = (number + 1..prepared.len()).filter(touches).collect();
            let are_gradients = readers.iter().all(|&reader| {
                matches!(&prepared[reader], Prepared::Call { call, args, .. }
                    if call.is_convolution_gradient() && args.iter().filter(|arg| **arg == spread).count() == 1)
            });
            let is_free = plan.kernels[number].is_deferrable
                && matches!(plan.buffers[spread].place, Place::Arena(_))
                && are_gradients
                && readers.iter().all(|&reader| can_pool(reader));
            if !is_free {
                continue;
            }
            for reader in readers {
                if let Prepared::Call { call, args: inputs, .. } = &mut prepared[reader] {
                    call.pool_output(shared);
                    scratch_bytes = scratch_bytes.max(call.scratch_bytes());
                    for input in inputs.iter_mut().filter(|input| **input == spread) {
                        *input = args[0];
                    }
                    inputs.push(args[1]);
                }
            }
        }
        prepared[number] = Prepared::Pooled;
    }
    scratch_bytes
}

/// Bytes that can be read where a value is empty: one element of any type.
const SPARE: usize = 64;

/// Bytes between hyperparameters.
const HYPER_STRIDE: usize = size_of::<f32>();

fn allocate(bytes: usize, what: &str) -> Result<AlignedBuffer> {
    // One element at least, so that there is always an address.
    AlignedBuffer::try_new(bytes.div_ceil(size_of::<f32>()).max(1))
        .ok_or_else(|| Error::new("load", format!("no memory for {what}, {}", human_bytes(bytes as f64))))
}

impl Loaded for CpuExecutable {
    fn run(&mut self, arguments: &Arguments<'_>) -> Result<Vec<BufferRef>> {
        let program = &self.plan.program;
        let mut outputs = Vec::with_capacity(program.outputs.len());
        for port in &program.outputs {
            outputs.push(CpuBuffer::zeroed(&self.shared, program.ty(port.value))?);
        }
        // Copies of inputs from other devices, kept until the end of the run.
        let mut foreign = Vec::new();
        let mut input_pointers = Vec::with_capacity(arguments.inputs().len());
        for input in arguments.inputs() {
            input_pointers.push(match input {
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
            });
        }
        for (pointer, info) in self.pointers.iter_mut().zip(&self.plan.buffers) {
            match info.place {
                // Inputs are never written: no kernel stores into a leaf.
                Place::Input(port) => *pointer = Pointer(input_pointers[port]),
                Place::Output(port) => *pointer = Pointer(outputs[port].pointer()),
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
        for (packed, step) in self.packed.iter_mut().zip(&self.prepared) {
            if let (Some(packed), Prepared::Call { call, .. }) = (packed, step) {
                packed.renew(call, &self.states, &shared);
            }
        }
        if self.times.is_empty() {
            (0..self.prepared.len()).for_each(|index| self.run_kernel(index));
        } else {
            self.profiled_runs += 1;
            for index in 0..self.prepared.len() {
                let start = Instant::now();
                self.run_kernel(index);
                self.times[index] += start.elapsed();
            }
        }
        drop(guard);
        Ok(outputs.into_iter().map(|output| output as BufferRef).collect())
    }

    fn peak_bytes(&self) -> usize {
        let packed: usize = self.packed.iter().flatten().map(PackedFilters::bytes).sum();
        self.plan.arena_bytes + self.scratch.bytes() + packed
    }

    /// Which of several ways computes a kernel.
    fn note(&self, kernel: usize) -> String {
        match &self.prepared[kernel] {
            Prepared::Call { call, .. } if self.epilogue(kernel).is_some() => {
                format!("{} with epilogue", call.describe()).trim_start().into()
            }
            Prepared::Call { call, .. } => call.describe(),
            Prepared::Epilogue { .. } => "epilogue, its time is the product's".into(),
            Prepared::Pooled => "its time is the convolution's".into(),
            Prepared::Loop { .. } | Prepared::Copy { .. } => String::new(),
        }
    }

    fn remark(&self) -> String {
        format!("scratch {}\n", human_bytes(self.scratch.bytes() as f64))
    }

    fn start_profile(&mut self) {
        self.times = vec![Duration::ZERO; self.prepared.len()];
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
