//! The kernels of a plan, prepared: what each runs, and how.

use crate::calls::{Call, Extras, Following, Scratch};
use crate::channels::OfChannels;
use crate::device::Shared;
use crate::executable::Pointer;
use crate::vm;
use dropforge_ir::{Result, ValueType};
use dropforge_plan::Plan;
use dropforge_plan::kernel::Domain;
use dropforge_plan::plan::{Place, Work};

/// What runs for one kernel of the plan.
pub(crate) enum Prepared {
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
        /// What the convolution does instead, if it can.
        channels: Option<OfChannels>,
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

/// The kernels of a plan in order.
pub(crate) struct Kernels {
    pub(crate) prepared: Vec<Prepared>,
    /// Scratch space that the largest of them needs.
    pub(crate) scratch_bytes: usize,
}

impl Kernels {
    /// Decides everything that can be decided before the first run. `stays` says of which buffers the caller packs what
    /// products need of them, by [`Call::pack_right`], and gives that to [`Kernels::run`].
    ///
    /// # Errors
    /// If there is no memory for what a kernel keeps.
    pub(crate) fn new(plan: &Plan, shared: &Shared, stays: &dyn Fn(usize) -> bool) -> Result<Kernels> {
        let threads = shared.pool.threads();
        let mut scratch_bytes = 0;
        let mut prepared: Vec<Prepared> = Vec::with_capacity(plan.kernels.len());
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
                            let operands = operands.swap_remove(0);
                            let product = operands.iter().position(|operand| *operand == results[0]);
                            let product = product.unwrap_or(0);
                            let mut channels = None;
                            if plan.is_used_by_next_only(number - 1, results[0]) {
                                call.put_product_aside();
                                scratch_bytes = scratch_bytes.max(call.scratch_bytes());
                                channels = call.changed_channels().and_then(|channels| {
                                    OfChannels::of(kernel, &domains[0], product, channels)
                                });
                            }
                            Prepared::Epilogue { compiled, product, operands, channels }
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
                    if let [left, right] = args.as_slice()
                        && stays(right.buffer)
                        && !stays(left.buffer)
                    {
                        call.keep_right(shared);
                    }
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
        scratch_bytes = scratch_bytes.max(join_pools(plan, &mut prepared, shared));
        Ok(Kernels { prepared, scratch_bytes })
    }

    /// Memory that kernels keep for themselves, in bytes.
    pub(crate) fn own_bytes(&self) -> usize {
        let own = |step: &Prepared| match step {
            Prepared::Call { call, .. } => call.own_bytes(),
            _ => 0,
        };
        self.prepared.iter().map(own).sum()
    }

    /// The loop that runs as part of the product with this number.
    pub(crate) fn epilogue(&self, product: usize) -> Option<(&vm::Compiled, &[usize], usize)> {
        match self.prepared.get(product + 1)? {
            Prepared::Epilogue { compiled, operands, product, .. } => Some((compiled, operands, *product)),
            _ => None,
        }
    }

    /// What the convolution with this number does with each channel of its result, and the operands that this speaks
    /// of.
    pub(crate) fn channels(&self, convolution: usize) -> Option<(&OfChannels, &[usize])> {
        match self.prepared.get(convolution + 1)? {
            Prepared::Epilogue { channels: Some(channels), operands, .. } => Some((channels, operands)),
            _ => None,
        }
    }

    /// Runs one kernel, by its number; `packed` is its second operand as [`Call::pack`] leaves it, if it was packed
    /// before.
    ///
    /// # Safety
    /// `pointers` say where each buffer of the plan lies: they have the sizes of their types and overlap only as the
    /// plan allows; nobody else uses them. The scratch space has the bytes that [`Kernels::scratch_bytes`] says.
    pub(crate) unsafe fn run(
        &self,
        index: usize,
        pointers: &[Pointer],
        packed: Option<&[f32]>,
        scratch: &Scratch,
        shared: &Shared,
    ) {
        let pool = &shared.pool;
        match &self.prepared[index] {
            Prepared::Loop { compiled, operands } => {
                // SAFETY: the plan's operands have the sizes that the kernel was compiled for, overlap only as plans
                // allow, and the device's lock is held.
                unsafe { compiled.run(&|instance, operand| pointers[operands[instance][operand]].0, pool) };
            }
            Prepared::Call { call, args, .. } if self.channels(index).is_some() => {
                let Some((channels, operands)) = self.channels(index) else { return };
                let operand = |operand: usize| pointers[operands[operand]].0;
                let channelwise = channels.with(|number| operand(number).cast::<f32>().cast_const());
                // SAFETY: as above. Nobody needs the convolution's own result; the place of the kernel's is not that of
                // anything that the convolution reads, since the plan lets both run at the same time.
                unsafe {
                    call.run_with(
                        &|arg| pointers[args[arg]].0,
                        &|_| operand(channels.result),
                        Extras { channelwise: Some(channelwise), packed, following: None },
                        scratch,
                        shared,
                    );
                }
            }
            Prepared::Call { call, args, results } => {
                let epilogue = self.epilogue(index);
                let operand = |_: usize, operand: usize| match epilogue {
                    Some((_, operands, _)) => pointers[operands[operand]].0,
                    None => std::ptr::null_mut(),
                };
                let following =
                    epilogue.map(|(kernel, _, product)| Following { kernel, operand: &operand, product });
                // SAFETY: as above; the scratch space is as large as the largest call asks for, and the plan says that
                // the loop may follow element by element.
                unsafe {
                    call.run_with(
                        &|arg| pointers[args[arg]].0,
                        &|result| pointers[results[result]].0,
                        Extras { following: following.as_ref(), packed, channelwise: None },
                        scratch,
                        shared,
                    );
                }
            }
            // Another kernel runs it.
            Prepared::Epilogue { .. } | Prepared::Pooled => {}
            Prepared::Copy { from, to, bytes } => {
                // SAFETY: a copy joins two different buffers of one size.
                unsafe { std::ptr::copy_nonoverlapping(pointers[*from].0, pointers[*to].0, *bytes) };
            }
        }
    }
}

/// Lets convolutions compute the max-pools of their outputs, and the gradients of these, where they can and nobody else
/// needs what comes in between. Returns the bytes of scratch space that this takes.
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
