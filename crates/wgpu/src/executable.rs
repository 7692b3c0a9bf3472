//! A plan on the device: dispatches with their pipelines and bind groups, and the memory they share.

use crate::buffer::WgpuBuffer;
use crate::gpu::OwnMemory;
use crate::gpu::{Gpu, Pipeline, lock};
use crate::peak;
use crate::printing::{Printing, limits_of};
use crate::profile::Profile;
use crate::staging::{Slot, SlotSizes};
use crate::transfer::{Outputs, Uploads};
use crate::tune;
use crate::wgsl::{self, BufferId, Dispatch, Tunable, Where};
use crate::words::{append, width};
use dropforge_gpu::epilogue::fused;
use dropforge_gpu::tune::Picker;
use dropforge_gpu::{Layout, Ring, Spot};
use dropforge_ir::{Error, Result};
use dropforge_plan::plan::{Place, Plan};
use dropforge_runtime::profile::{Peak, Times};
use dropforge_runtime::{Arguments, Binding, BufferRef, Choices, Loaded};
use std::sync::Arc;

/// One dispatch, ready to be encoded.
pub(crate) struct Step {
    pub pipeline: Arc<Pipeline>,
    pub bindings: wgpu::BindGroup,
    pub workgroups: [u32; 3],
    /// The kernel of the plan that it belongs to.
    kernel: usize,
}

pub(crate) struct WgpuExecutable {
    plan: Arc<Plan>,
    layout: Layout,
    /// The memory of inputs, hyperparameters, constants, outputs and intermediate values.
    chunks: Vec<OwnMemory>,
    /// Kept for as long as the kernels that use them: parameters of kernels, scratch memory.
    _memory: Vec<OwnMemory>,
    steps: Vec<Step>,
    outputs: Outputs,
    ring: Ring<Slot>,
    sizes: SlotSizes,
    /// What to say of each kernel in listings.
    notes: Vec<String>,
    /// Kept alive for the kernels that use them.
    _states: Vec<Arc<WgpuBuffer>>,
    profile: Option<Profile>,
    /// Last, so that it is dropped after what belongs to it.
    gpu: Arc<Gpu>,
}

/// Buffers of the device by the names that printers know.
pub(crate) struct Table<'a> {
    pub chunks: &'a [OwnMemory],
    pub states: Vec<wgpu::Buffer>,
    pub scratch: Option<&'a OwnMemory>,
}

impl Table<'_> {
    fn buffer(&self, id: BufferId) -> Result<&wgpu::Buffer> {
        let found = match id {
            BufferId::Own(chunk) => self.chunks.get(chunk).map(|memory| &memory.memory),
            BufferId::State(number) => self.states.get(number),
            BufferId::Scratch => self.scratch.map(|memory| &memory.memory),
        };
        found.ok_or_else(|| Error::new("load", format!("a kernel asks for {id:?}, which was not made")))
    }
}

/// The place of every buffer of a plan, and the distinct device buffers that hold states.
fn places(
    plan: &Plan,
    layout: &Layout,
    states: &[Arc<WgpuBuffer>],
    printing: Printing,
) -> Result<(Vec<Where>, Vec<wgpu::Buffer>)> {
    let mut buffers: Vec<wgpu::Buffer> = Vec::new();
    let mut places = Vec::new();
    for (number, info) in plan.buffers.iter().enumerate() {
        let (buffer, offset) = match (info.place, layout.spots[number]) {
            (Place::State(port), _) => {
                let piece = &states[port].piece;
                let known = buffers.iter().position(|other| *other == piece.memory);
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

impl WgpuExecutable {
    pub fn new(gpu: &Arc<Gpu>, binding: &Binding<'_>, choices: &mut Choices) -> Result<WgpuExecutable> {
        let plan = Arc::clone(binding.plan());
        gpu.check("load", &plan.program.name)?;
        let states = binding.own_states(|buffer: &WgpuBuffer| Arc::ptr_eq(&buffer.piece.gpu, gpu))?;
        for (port, state) in plan.program.states.iter().zip(&states) {
            state.become_state(&port.name);
        }
        let limits = limits_of(&gpu.limits);
        let fused = fused(&plan, limits.buffers);
        let layout = Layout::new(&plan, &fused, gpu.binding_limit(), &|dtype| width(dtype, gpu.printing))?;
        let name = format!("the memory of {}", plan.program.name);
        let memory = |bytes: &u64| OwnMemory::storage(gpu, &name, *bytes);
        let chunks: Vec<OwnMemory> = layout.chunks.iter().map(memory).collect::<Result<_>>()?;
        let (places, state_buffers) = places(&plan, &layout, &states, gpu.printing)?;
        tune::prepare(gpu, &plan, choices);
        let known = |class: &str| lock(&gpu.tuned).pick(class);
        let mut picker = Picker::new(choices, &known);
        let mut dispatches = Vec::new();
        let mut notes = Vec::new();
        let mut scratch_words = 0;
        for (number, kernel) in plan.kernels.iter().enumerate() {
            if fused[number] {
                notes.push("epilogue, its time is that of the kernel before".into());
                continue;
            }
            let epilogue = wgsl::epilogue(&plan, &fused, number, &places);
            let mut pick = |tunable: &Tunable| picker.pick(tunable);
            let printed =
                wgsl::print(&plan, kernel, epilogue.as_ref(), &places, &limits, &gpu.printing, &mut pick)?;
            let groups: Vec<String> = printed
                .dispatches
                .iter()
                .map(|dispatch| (dispatch.workgroups[0] * dispatch.workgroups[1]).to_string())
                .collect();
            let with = if epilogue.is_some() { " with epilogue" } else { "" };
            notes.push(format!("workgroups {}{with}", groups.join(" + ")));
            scratch_words = scratch_words.max(printed.scratch_words);
            dispatches.extend(printed.dispatches.into_iter().map(|dispatch| (number, dispatch)));
        }
        let scratch = match scratch_words {
            0 => None,
            words => {
                let what = format!("scratch memory of {}", plan.program.name);
                Some(OwnMemory::storage(gpu, &what, words as u64 * 4)?)
            }
        };
        let table = Table { chunks: &chunks, states: state_buffers, scratch: scratch.as_ref() };
        let (steps, params) = Self::steps(gpu, &plan.program.name, &dispatches, &table)?;
        for (literal, spot) in plan.constants.iter().zip(&layout.constants) {
            let mut stored = Vec::new();
            let data = dropforge_ir::Data::from_bytes(literal.ty.dtype, literal.bytes())
                .ok_or_else(|| Error::new("load", format!("a constant does not hold {}", literal.ty)))?;
            append(&data, gpu.printing, &mut stored);
            if !stored.is_empty() {
                gpu.queue.write_buffer(&chunks[spot.chunk].memory, spot.offset, &stored);
            }
        }
        gpu.check("load", &plan.program.name)?;
        let outputs = Outputs::new(&plan.program, &layout, gpu.printing);
        let sizes = SlotSizes::new(layout.upload_bytes, outputs.early_bytes());
        Ok(WgpuExecutable {
            gpu: Arc::clone(gpu),
            plan,
            layout,
            chunks,
            _memory: scratch.into_iter().chain([params]).collect(),
            steps,
            outputs,
            ring: Ring::default(),
            sizes,
            notes,
            _states: states,
            profile: None,
        })
    }

    /// The dispatches with their pipelines and bindings, and the memory of their parameters.
    pub(crate) fn steps(
        gpu: &Arc<Gpu>,
        program: &str,
        dispatches: &[(usize, Dispatch)],
        table: &Table<'_>,
    ) -> Result<(Vec<Step>, OwnMemory)> {
        // The parameters of all dispatches share one buffer.
        let alignment = gpu.limits.min_uniform_buffer_offset_alignment as usize;
        let mut params: Vec<u8> = Vec::new();
        let mut starts = Vec::new();
        for (_, dispatch) in dispatches {
            params.resize(params.len().next_multiple_of(alignment), 0);
            starts.push(params.len() as u64);
            params.extend(dispatch.params.iter().flat_map(|word| word.to_ne_bytes()));
        }
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let what = format!("kernel parameters of {program}");
        let uniform = OwnMemory::new(gpu, &what, params.len() as u64, usage)?;
        if !params.is_empty() {
            gpu.queue.write_buffer(&uniform.memory, 0, &params);
        }
        let mut steps = Vec::new();
        for ((kernel, dispatch), start) in dispatches.iter().zip(starts) {
            let pipeline = gpu.pipeline(&dispatch.label, &dispatch.source, &dispatch.writable())?;
            let mut entries = vec![wgpu::BindGroupEntry {
                binding: 0,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: &uniform.memory,
                    offset: start,
                    size: std::num::NonZeroU64::new(dispatch.params.len() as u64 * 4),
                }),
            }];
            for (index, (id, _)) in dispatch.bindings.iter().enumerate() {
                let resource = table.buffer(*id)?.as_entire_binding();
                entries.push(wgpu::BindGroupEntry { binding: index as u32 + 1, resource });
            }
            let bindings = gpu.scoped("load", &format!("bindings of kernel {}", dispatch.label), || {
                gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
                    label: None,
                    layout: &pipeline.layout.bind_group,
                    entries: &entries,
                })
            })?;
            steps.push(Step { pipeline, bindings, workgroups: dispatch.workgroups, kernel: *kernel });
        }
        Ok((steps, uniform))
    }

    /// Encodes one step and submits it; nothing in here fails halfway.
    fn submit(&self, slot: &mut Slot, uploads: &Uploads<'_>, outputs: Vec<WgpuBuffer>) -> Vec<BufferRef> {
        let gpu = &self.gpu;
        let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        if let Some(memory) = self.chunks.first() {
            uploads.encode(&mut encoder, slot, &memory.memory);
        }
        self.encode_kernels(&mut encoder);
        self.outputs.encode(&mut encoder, slot, &self.chunks, &outputs);
        let submission = gpu.queue.submit([encoder.finish()]);
        let readback = slot.launch(gpu, submission);
        self.outputs.finish(outputs, readback)
    }

    fn encode_kernels(&self, encoder: &mut wgpu::CommandEncoder) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        let mut current: Option<&Arc<Pipeline>> = None;
        for (index, step) in self.steps.iter().enumerate() {
            if let Some(profile) = &self.profile {
                profile.mark(&mut pass, index);
            }
            if !current.is_some_and(|current| Arc::ptr_eq(current, &step.pipeline)) {
                pass.set_pipeline(&step.pipeline.pipeline);
                current = Some(&step.pipeline);
            }
            pass.set_bind_group(0, &step.bindings, &[]);
            pass.dispatch_workgroups(step.workgroups[0], step.workgroups[1], step.workgroups[2]);
        }
        if let Some(profile) = &self.profile {
            profile.mark(&mut pass, self.steps.len());
            drop(pass);
            profile.resolve(encoder);
        }
    }
}

impl Loaded for WgpuExecutable {
    fn run(&mut self, arguments: &Arguments<'_>) -> Result<Vec<BufferRef>> {
        let name = &self.plan.program.name;
        self.gpu.check("run", name)?;
        // Everything that can fail comes before the step is encoded.
        let uploads = Uploads::new(&self.gpu, &self.plan.program, &self.layout, arguments)?;
        let outputs = self.outputs.allocate(&self.gpu, &self.plan.program)?;
        let make = || Slot::new(&self.gpu, name, self.sizes);
        let mut slot = self.ring.acquire(&self.gpu, name, make).map_err(|error| error.named("run"))?;
        slot.write(|view| uploads.write(view, arguments))
            .map_err(|why| self.gpu.error("run", name, &format!("staging memory: {why}")))?;
        let outputs = self.submit(&mut slot, &uploads, outputs);
        self.ring.give_back(slot);
        self.gpu.check("run", &self.plan.program.name)?;
        if let Some(profile) = &mut self.profile {
            profile.collect(&self.gpu)?;
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
        self.profile = Profile::new(&self.gpu, self.steps.len());
    }

    fn times(&self) -> Option<Times> {
        let profile = self.profile.as_ref()?;
        Some(profile.times(self.plan.kernels.len(), self.steps.iter().map(|step| step.kernel)))
    }

    fn peak(&self) -> Option<Peak> {
        // What cannot be measured is left out; a device that fails says so in the next run.
        *self.gpu.peak.get_or_init(|| peak::measure(&self.gpu).ok().flatten())
    }
}
