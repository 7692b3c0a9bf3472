//! A plan on the device: launches captured as one graph, and the memory they share.

use crate::attention::{ATTENTION_THREADS, Attention, Launch, Operand, attention};
use crate::buffer::CudaBuffer;
use crate::connection::{Kernel, Memory, Outcome};
use crate::convolution::{self, Around, Spot as At, TURNING_THREADS, Turn, Turning};
use crate::cublaslt::{self, Product};
use crate::cudnn::Convolution;
use crate::driver::Address;
use crate::gpu::{Gpu, OwnMemory, lock};
use crate::peak;
use crate::product;
use crate::profile::Profile;
use crate::staging::Slot;
use crate::transfer::{Outputs, Uploads};
use crate::tune;
use crate::tuning::CONVOLUTION_WORKSPACE_BYTES;
use crate::words::{append, width};
use dropforge_gpu::epilogue::fused;
use dropforge_gpu::tune::Picker;
use dropforge_gpu::{Backend, Layout, Ring, Spot};
use dropforge_ir::{Data, Error, Result};
use dropforge_plan::plan::{Place, Plan, Work};
use dropforge_runtime::profile::{Peak, Times};
use dropforge_runtime::{Arguments, Binding, BufferRef, Choices, Loaded};
use dropforge_wgsl::{BufferId, Dispatch, Printing, Tunable, Where};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One launch, with all that it takes.
pub struct Step {
    action: Action,
    /// The kernel of the plan that it belongs to.
    pub number: usize,
}

enum Action {
    Kernel { kernel: Arc<Kernel>, parameters: Vec<u32>, addresses: Vec<Address>, grid: [u32; 3] },
    Product { product: Product, addresses: [Address; 3] },
    Convolution { convolution: Convolution, addresses: [Address; 3], workspace: Address },
}

impl Step {
    /// Starts it, or captures its start.
    pub fn launch(&self, gpu: &Gpu, captured: bool) -> Outcome {
        match &self.action {
            Action::Kernel { kernel, parameters, addresses, grid } => {
                gpu.connection.launch(kernel, *grid, parameters, addresses, captured)
            }
            Action::Product { product, addresses } => product.start(*addresses, captured),
            Action::Convolution { convolution, addresses, workspace } => {
                convolution.start(*addresses, *workspace, captured)
            }
        }
    }
}

/// Memory by the names that printers know.
pub struct Table<'a> {
    pub chunks: &'a [OwnMemory],
    pub states: &'a [Memory],
    pub scratch: Option<&'a OwnMemory>,
}

impl Table<'_> {
    fn address(&self, id: BufferId) -> Result<Address> {
        let found = match id {
            BufferId::Own(chunk) => self.chunks.get(chunk).map(|own| own.memory.address()),
            BufferId::State(number) => self.states.get(number).map(Memory::address),
            BufferId::Scratch => self.scratch.map(|own| own.memory.address()),
        };
        found.ok_or_else(|| Error::new("load", format!("a kernel asks for {id:?}, which was not made")))
    }
}

/// Where the operands of library operations lie.
struct Reach<'a> {
    gpu: &'a Gpu,
    plan: &'a Plan,
    places: &'a [Where],
    table: &'a Table<'a>,
}

impl Reach<'_> {
    fn address(&self, place: Where, offset: i64) -> Result<Address> {
        let first = (i64::from(place.first) + offset) as u64;
        let start = self.table.address(place.buffer)?;
        Ok(start + first * width(place.dtype, self.gpu.printing))
    }

    /// The addresses of the arguments of a kernel, and then of its results.
    fn operands(&self, kernel: usize) -> Result<Vec<Address>> {
        let Work::Call { args, results, .. } = &self.plan.kernels[kernel].work else {
            return Err(Error::new("load", format!("kernel {kernel} is no library operation")));
        };
        let args = args.iter().map(|arg| self.address(self.places[arg.buffer], arg.offset));
        args.chain(results.iter().map(|&result| self.address(self.places[result], 0))).collect()
    }

    /// Those of a kernel with two arguments and one result.
    fn three(&self, kernel: usize) -> Result<[Address; 3]> {
        let wrong = |_| Error::new("load", format!("kernel {kernel} has no two arguments and one result"));
        self.operands(kernel)?.try_into().map_err(wrong)
    }
}

/// The place of every buffer of a plan, and the distinct memory that holds states.
fn places(
    plan: &Plan,
    layout: &Layout,
    states: &[Arc<CudaBuffer>],
    printing: Printing,
) -> Result<(Vec<Where>, Vec<Memory>)> {
    let mut buffers: Vec<Memory> = Vec::new();
    let mut places = Vec::new();
    for (number, info) in plan.buffers.iter().enumerate() {
        let (buffer, offset) = match (info.place, layout.spots[number]) {
            (Place::State(port), _) => {
                let piece = states[port].piece()?;
                let known = buffers.iter().position(|other| other.is(&piece.memory));
                let index = known.unwrap_or_else(|| {
                    buffers.push(piece.memory.clone());
                    buffers.len() - 1
                });
                (BufferId::State(index), piece.offset())
            }
            (_, Some(Spot { chunk, offset })) => (BufferId::Own(chunk), offset),
            // In the arena, but no kernel touches it.
            (_, None) => (BufferId::Own(0), 0),
        };
        places.push(Where::at(buffer, offset, &info.ty, printing)?);
    }
    Ok((places, buffers))
}

/// The products of a plan that the library computes, by kernel.
fn products(gpu: &Gpu, plan: &Plan) -> BTreeMap<usize, Product> {
    let product = |(number, kernel)| {
        let shape: cublaslt::Shape = product::shape(plan, kernel, gpu.printing)?;
        // What the library does not take, kernels do.
        gpu.products()?.product(&shape).ok().map(|product| (number, product))
    };
    plan.kernels.iter().enumerate().filter_map(product).collect()
}

/// The convolutions of a plan that the library computes, by kernel, each with what goes on around it.
fn convolutions(gpu: &Gpu, plan: &Plan) -> BTreeMap<usize, (Convolution, Around)> {
    let convolution = |(number, kernel)| {
        let job = convolution::job(plan, kernel, gpu.printing, gpu.turns)?;
        // What the library does not take, kernels do.
        let convolution = gpu.convolutions()?.convolution(&job.shape, CONVOLUTION_WORKSPACE_BYTES).ok()?;
        let around = job.around(convolution.workspace);
        Some((number, (convolution, around)))
    };
    plan.kernels.iter().enumerate().filter_map(convolution).collect()
}

/// The attentions of a plan that kernels of this device's own compute, by kernel.
fn attentions(gpu: &Gpu, plan: &Plan) -> BTreeMap<usize, Attention> {
    let numbered = plan.kernels.iter().enumerate();
    let found = |(number, kernel)| Some((number, attention(plan, kernel, gpu.printing)?));
    if gpu.own_attention { numbered.filter_map(found).collect() } else { BTreeMap::new() }
}

/// A plan, loaded: its launches and copies are captured as a graph for each step in flight.
pub struct CudaExecutable {
    plan: Arc<Plan>,
    layout: Layout,
    /// The memory of inputs, hyperparameters, constants, outputs and intermediate values.
    chunks: Vec<OwnMemory>,
    /// Kept for as long as the kernels that use it.
    _scratch: Option<OwnMemory>,
    steps: Vec<Step>,
    outputs: Outputs,
    ring: Ring<Slot>,
    /// What to say of each kernel in listings.
    notes: Vec<String>,
    /// Kept alive for the kernels that use them.
    _states: Vec<Arc<CudaBuffer>>,
    profile: Option<Profile>,
    /// Last, so that it is dropped after what belongs to it.
    gpu: Arc<Gpu>,
}

impl CudaExecutable {
    pub fn new(gpu: &Arc<Gpu>, binding: &Binding<'_>, choices: &mut Choices) -> Result<CudaExecutable> {
        let plan = Arc::clone(binding.plan());
        let name = &plan.program.name;
        gpu.check("load", name)?;
        let states = binding.own_states(|buffer: &CudaBuffer| Arc::ptr_eq(&buffer.gpu, gpu))?;
        for (port, state) in plan.program.states.iter().zip(&states) {
            state.become_state(&port.name)?;
        }
        let mut fused = fused(&plan, gpu.limits.buffers);
        // What the library computes ends with the product; what follows is a kernel of its own.
        let (products, convolutions) = (products(gpu, &plan), convolutions(gpu, &plan));
        let attentions = attentions(gpu, &plan);
        for number in products.keys().chain(convolutions.keys()) {
            if let Some(follows) = fused.get_mut(number + 1) {
                *follows = false;
            }
        }
        let layout =
            Layout::new(&plan, &fused, gpu.limits.buffer_bytes, &|dtype| width(dtype, gpu.printing))?;
        let what = format!("the memory of {name}");
        let memory = |bytes: &u64| OwnMemory::storage(gpu, &what, *bytes);
        let chunks: Vec<OwnMemory> = layout.chunks.iter().map(memory).collect::<Result<_>>()?;
        let (places, state_memory) = places(&plan, &layout, &states, gpu.printing)?;
        tune::prepare(gpu, &plan, choices);
        let known = |class: &str| lock(&gpu.tuned).pick(class);
        let mut picker = Picker::new(choices, &known);
        let mut steps = Vec::new();
        let mut dispatches = Vec::new();
        let mut notes = Vec::new();
        let mut scratch_words = 0;
        for (number, kernel) in plan.kernels.iter().enumerate() {
            if fused[number] {
                notes.push("epilogue, its time is that of the kernel before".into());
                continue;
            }
            if products.contains_key(&number) {
                notes.push("cuBLASLt".into());
                continue;
            }
            if let Some((convolution, around)) = convolutions.get(&number) {
                notes.push(convolution.note());
                scratch_words = scratch_words.max(around.bytes.div_ceil(4));
                continue;
            }
            if let Some(attention) = attentions.get(&number) {
                notes.push("tensor cores".into());
                scratch_words = scratch_words.max(attention.scratch_words());
                continue;
            }
            let epilogue = dropforge_wgsl::epilogue(&plan, &fused, number, &places);
            let mut pick = |tunable: &Tunable| picker.pick(tunable);
            let printed = dropforge_wgsl::print(
                &plan,
                kernel,
                epilogue.as_ref(),
                &places,
                &gpu.limits,
                &gpu.printing,
                &mut pick,
            )?;
            let blocks = |dispatch: &Dispatch| (dispatch.workgroups[0] * dispatch.workgroups[1]).to_string();
            let blocks: Vec<String> = printed.dispatches.iter().map(blocks).collect();
            let with = if epilogue.is_some() { " with epilogue" } else { "" };
            notes.push(format!("blocks {}{with}", blocks.join(" + ")));
            scratch_words = scratch_words.max(printed.scratch_words);
            dispatches.extend(printed.dispatches.into_iter().map(|dispatch| (number, dispatch)));
        }
        let scratch = match scratch_words {
            0 => None,
            words => Some(OwnMemory::storage(gpu, &format!("scratch memory of {name}"), words as u64 * 4)?),
        };
        let table = Table { chunks: &chunks, states: &state_memory, scratch: scratch.as_ref() };
        steps.extend(Self::steps(gpu, dispatches, &table)?);
        // What libraries compute is started outside of a graph once: they load their kernels then.
        let reach = Reach { gpu, plan: &plan, places: &places, table: &table };
        for (number, product) in products {
            let [first, second, result] = reach.three(number)?;
            let addresses = [second, first, result];
            gpu.told("load", name, product.start(addresses, false))?;
            steps.push(Step { action: Action::Product { product, addresses }, number });
        }
        // What the convolution right before has left in scratch memory: which turn, from where to where.
        let mut left: (usize, Vec<(Turn, Address, Address)>) = (0, Vec::new());
        for (number, (convolution, around)) in convolutions {
            let operands = reach.three(number)?;
            let scratch = if around.bytes > 0 { table.address(BufferId::Scratch)? } else { 0 };
            let address = |at: At| match at {
                At::Operand(operand) => operands[operand],
                At::Scratch(byte) => scratch + byte as u64,
            };
            let mut turned = Vec::new();
            let mut before = around.before;
            before.retain(|&(turn, from, to)| {
                let this = (turn, address(from), address(to));
                turned.push(this);
                left.0 + 1 != number || !left.1.contains(&this)
            });
            left = (number, turned);
            let turn = |(turn, from, to): Turning| {
                let (parameters, grid) = turn.launch();
                let action = Action::Kernel {
                    kernel: gpu.own_kernel("channels side by side", &turn.source(), TURNING_THREADS)?,
                    parameters,
                    addresses: vec![address(from), address(to)],
                    grid,
                };
                Ok(Step { action, number })
            };
            let (addresses, workspace) = (around.spots.map(address), scratch + around.workspace as u64);
            gpu.told("load", name, convolution.start(addresses, workspace, false))?;
            steps.extend(before.into_iter().map(turn).collect::<Result<Vec<_>>>()?);
            steps.push(Step { action: Action::Convolution { convolution, addresses, workspace }, number });
            steps.extend(around.after.into_iter().map(turn).collect::<Result<Vec<_>>>()?);
        }
        for (number, attention) in attentions {
            let operands = reach.operands(number)?;
            for Launch { source, parameters, operands: wanted, blocks } in attention.launches() {
                let address = |operand: Operand| match operand {
                    Operand::Of(operand) => Ok(operands[operand]),
                    Operand::Scratch => table.address(BufferId::Scratch),
                };
                let action = Action::Kernel {
                    kernel: gpu.own_kernel("attention", &source, ATTENTION_THREADS)?,
                    parameters,
                    addresses: wanted.into_iter().map(address).collect::<Result<_>>()?,
                    grid: [blocks, 1, 1],
                };
                steps.push(Step { action, number });
            }
        }
        steps.sort_by_key(|step| step.number);
        for (literal, spot) in plan.constants.iter().zip(&layout.constants) {
            let mut stored = Vec::new();
            let data = Data::from_bytes(literal.ty.dtype, literal.bytes())
                .ok_or_else(|| Error::new("load", format!("a constant does not hold {}", literal.ty)))?;
            append(&data, gpu.printing, &mut stored);
            gpu.told("load", name, gpu.upload(&stored, &chunks[spot.chunk].memory, spot.offset))?;
        }
        let outputs = Outputs::new(&plan.program, &layout, gpu.printing);
        Ok(CudaExecutable {
            gpu: Arc::clone(gpu),
            plan,
            layout,
            chunks,
            _scratch: scratch,
            steps,
            outputs,
            ring: Ring::default(),
            notes,
            _states: states,
            profile: None,
        })
    }

    /// The dispatches with their kernels and addresses.
    pub fn steps(gpu: &Arc<Gpu>, dispatches: Vec<(usize, Dispatch)>, table: &Table<'_>) -> Result<Vec<Step>> {
        gpu.compile_ahead(dispatches.iter().map(|(_, dispatch)| dispatch.source.as_str()));
        let step = |(number, dispatch): (usize, Dispatch)| {
            let action = Action::Kernel {
                kernel: gpu.kernel(&dispatch.label, &dispatch.source)?,
                parameters: dispatch.params,
                addresses: dispatch
                    .bindings
                    .iter()
                    .map(|&(id, _)| table.address(id))
                    .collect::<Result<_>>()?,
                grid: dispatch.workgroups,
            };
            Ok(Step { action, number })
        };
        dispatches.into_iter().map(step).collect()
    }

    /// All that a step does from its hyperparameters on to its small outputs: started, or captured.
    fn work(&self, slot: &Slot, captured: bool) -> Outcome {
        let connection = &self.gpu.connection;
        let hypers = self.plan.program.hypers.len() as u64 * 4;
        if let (Some(staging), Some(chunk)) = (slot.upload(), self.chunks.first())
            && hypers > 0
        {
            let at = self.layout.hypers;
            connection.copy_up((staging, at), (&chunk.memory, at), hypers, captured)?;
        }
        let profile = self.profile.as_ref().filter(|_| !captured);
        for (index, step) in self.steps.iter().enumerate() {
            profile.map_or(Ok(()), |profile| profile.mark(index))?;
            step.launch(&self.gpu, captured)?;
        }
        profile.map_or(Ok(()), |profile| profile.mark(self.steps.len()))?;
        self.outputs.start_early(connection, slot, &self.chunks, captured)
    }

    /// The staging memory of one more step, with its graph.
    fn slot(&self) -> Result<Slot> {
        let name = &self.plan.program.name;
        let (up, down) = (self.layout.upload_bytes, self.outputs.early_bytes());
        let mut slot = Slot::new(&self.gpu, name, up, down)?;
        if !self.steps.is_empty() {
            let captured = self.gpu.connection.capture(|| self.work(&slot, true));
            slot.replay = Some(self.gpu.told("run", name, captured)?);
        }
        Ok(slot)
    }

    /// Starts one step.
    fn start(
        &self,
        slot: &mut Slot,
        uploads: &Uploads<'_>,
        outputs: Vec<CudaBuffer>,
    ) -> Outcome<Vec<BufferRef>> {
        let connection = &self.gpu.connection;
        if let Some(chunk) = self.chunks.first() {
            uploads.start(connection, slot, &chunk.memory)?;
        }
        match &slot.replay {
            Some(replay) if self.profile.is_none() => connection.replay(replay)?,
            _ => self.work(slot, false)?,
        }
        self.outputs.start(connection, &self.chunks, &outputs)?;
        let readback = slot.launch()?;
        Ok(self.outputs.finish(outputs, readback.as_ref()))
    }
}

impl Loaded for CudaExecutable {
    fn run(&mut self, arguments: &Arguments<'_>) -> Result<Vec<BufferRef>> {
        let gpu = Arc::clone(&self.gpu);
        gpu.check("run", &self.plan.program.name)?;
        // Everything that can fail comes before the step is started.
        let uploads = Uploads::new(&gpu, &self.plan.program, &self.layout, arguments)?;
        let outputs = self.outputs.allocate(&gpu, &self.plan.program)?;
        let mut ring = std::mem::take(&mut self.ring);
        let slot = ring.acquire(&gpu, &self.plan.program.name, || self.slot());
        let started = slot.map_err(|error| error.named("run")).and_then(|mut slot| {
            if let Some(pinned) = slot.upload_mut() {
                uploads.write(pinned.write(), arguments);
            }
            let outputs = self.start(&mut slot, &uploads, outputs);
            ring.give_back(slot);
            gpu.told("run", &self.plan.program.name, outputs)
        });
        drop(uploads);
        self.ring = ring;
        let outputs = started?;
        if let Some(profile) = &mut self.profile {
            gpu.told("profile", &self.plan.program.name, profile.collect())?;
        }
        Ok(outputs)
    }

    fn peak_bytes(&self) -> usize {
        self.layout.arena_bytes as usize
    }

    fn note(&self, kernel: usize) -> String {
        self.notes[kernel].clone()
    }

    fn start_profile(&mut self) {
        self.profile = Profile::new(&self.gpu, self.steps.len()).ok();
    }

    fn times(&self) -> Option<Times> {
        let profile = self.profile.as_ref()?;
        Some(profile.times(self.plan.kernels.len(), self.steps.iter().map(|step| step.number)))
    }

    fn peak(&self) -> Option<Peak> {
        // What cannot be measured is left out; a device that fails says so in the next run.
        *self.gpu.peak.get_or_init(|| peak::measure(&self.gpu).ok().flatten())
    }
}
