//! The connection to one GPU: its queue, what it can do, what went wrong, and what is kept across programs.

use crate::adapter::{Choice, choose};
use crate::driver::Turn;
use crate::faults::Faults;
use crate::halves;
use crate::printing::{Printing, printing_of};
use crate::tuning::{OUTSIDE_BYTES, OUTSIDE_LEAST_BYTES, READ_STAGING_BYTES};
use crate::wgsl::Pick;
use dropforge_gpu::tune::Tuned;
use dropforge_gpu::tuning::ALIGNMENT;
use dropforge_gpu::{Backend, Heap};
use dropforge_ir::{Error, Result};
use dropforge_runtime::profile::Peak;
use std::collections::HashMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Wake, Waker};

/// Everything that a device, its buffers and its executables share.
pub(crate) struct Gpu {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub info: wgpu::AdapterInfo,
    pub limits: wgpu::Limits,
    pub features: wgpu::Features,
    /// How its kernels are printed.
    pub printing: Printing,
    heap: Mutex<Heap<Gpu>>,
    pub tuned: Mutex<Tuned<Pick>>,
    /// What the device reaches at best, once that was asked for.
    pub peak: OnceLock<Option<Peak>>,
    faults: Arc<Faults>,
    layouts: Mutex<HashMap<Vec<bool>, Arc<Layout>>>,
    pipelines: Mutex<HashMap<String, Arc<Pipeline>>>,
    staging: Mutex<HashMap<u64, Vec<wgpu::Buffer>>>,
    /// Bytes that were written or cleared outside of steps since that was last waited for.
    outside: AtomicU64,
    /// Taken when this is dropped, and given back when everything above is: fields are dropped in order.
    closing: Option<Turn>,
}

impl Drop for Gpu {
    fn drop(&mut self) {
        self.closing = Some(Turn::take());
    }
}

/// How the bindings of a shader look: the parameters, then storage buffers that are written or only read.
pub(crate) struct Layout {
    pub bind_group: wgpu::BindGroupLayout,
    pipeline: wgpu::PipelineLayout,
}

/// A shader that is ready to run.
pub(crate) struct Pipeline {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: Arc<Layout>,
}

pub(crate) use dropforge_gpu::lock;

/// Memory that outlives runs.
pub(crate) type Piece = dropforge_gpu::Piece<Gpu>;

/// Memory of an executable.
pub(crate) type OwnMemory = dropforge_gpu::OwnMemory<Gpu>;

impl Backend for Gpu {
    type Memory = wgpu::Buffer;
    type Usage = wgpu::BufferUsages;
    const STORAGE: wgpu::BufferUsages =
        wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_SRC).union(wgpu::BufferUsages::COPY_DST);

    fn name(&self) -> &str {
        &self.info.name
    }

    fn heap(&self) -> &Mutex<Heap<Gpu>> {
        &self.heap
    }

    fn create(&self, what: &str, bytes: u64, usage: wgpu::BufferUsages) -> Result<wgpu::Buffer> {
        self.buffer(what, bytes, usage)
    }

    fn bytes(memory: &wgpu::Buffer) -> u64 {
        memory.size()
    }

    fn release_idle(&self) {
        self.clear_staging();
    }

    fn finish(&self, what: &str) -> Result<()> {
        self.wait(None, what)
    }

    fn check(&self, operation: &str, what: &str) -> Result<()> {
        // The inherent function.
        Gpu::check(self, operation, what)
    }
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future; those of native backends are ready at once.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

impl Gpu {
    /// Opens the adapter that a choice means.
    pub fn open(choice: Choice) -> Result<Arc<Gpu>> {
        let opened = {
            let turn = Turn::take();
            let opened = choose(&turn, choice).and_then(|adapter| Gpu::connect(&adapter));
            if opened.is_err() {
                turn.forget_instance();
            }
            opened
        };
        let gpu = Arc::new(opened?);
        let f16 = halves::are_right(&gpu);
        Ok(gpu.printed(|printing| Printing { f16, ..printing }))
    }

    /// With kernels that are printed as `change` makes of how they are; for one that nothing uses yet.
    pub fn printed(mut self: Arc<Gpu>, change: impl FnOnce(Printing) -> Printing) -> Arc<Gpu> {
        if let Some(gpu) = Arc::get_mut(&mut self) {
            gpu.printing = change(gpu.printing);
        }
        self
    }

    /// To be called by whoever has a turn.
    fn connect(adapter: &wgpu::Adapter) -> Result<Gpu> {
        let info = adapter.get_info();
        let limits = adapter.limits();
        let wanted = wgpu::Features::SHADER_F16
            | wgpu::Features::SUBGROUP
            | wgpu::Features::TIMESTAMP_QUERY
            | wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES
            | wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        let features = adapter.features() & wanted;
        let experimental_features = if features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX) {
            // SAFETY: it is a promise to expect faults of `wgpu` behind such features. Of these only cooperative
            // matrices are asked for, and of shaders that use them only those of `print/cooperative.rs` come here, in
            // the forms that its tests run: called by whole workgroups, on workgroup memory of their own, within its
            // bounds. All other shaders are translated as without the feature.
            unsafe { wgpu::ExperimentalFeatures::enabled() }
        } else {
            wgpu::ExperimentalFeatures::disabled()
        };
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("dropforge"),
            required_features: features,
            required_limits: limits.clone(),
            experimental_features,
            memory_hints: wgpu::MemoryHints::Performance,
            ..Default::default()
        };
        let (device, queue) = block_on(adapter.request_device(&descriptor))
            .map_err(|error| Error::new("device", format!("{} cannot be opened: {error}", info.name)))?;
        let faults = Arc::new(Faults::default());
        let (raised, lost) = (Arc::clone(&faults), Arc::clone(&faults));
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| raised.raise(describe(&error))));
        device.set_device_lost_callback(move |_, message| lost.lose(&message));
        let chunk_limit = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
        Ok(Gpu {
            tuned: Mutex::new(Tuned::of(&described(&info), info.device_type == wgpu::DeviceType::Cpu)),
            peak: OnceLock::new(),
            device,
            queue,
            printing: printing_of(&info, features, &adapter.cooperative_matrix_properties()),
            info,
            features,
            heap: Mutex::new(Heap::new(chunk_limit / ALIGNMENT * ALIGNMENT)),
            limits,
            faults,
            layouts: Mutex::default(),
            pipelines: Mutex::default(),
            staging: Mutex::default(),
            outside: AtomicU64::new(0),
            closing: None,
        })
    }

    /// Most bytes that a shader can see of one buffer.
    pub fn binding_limit(&self) -> u64 {
        let limit = self.limits.max_storage_buffer_binding_size.min(self.limits.max_buffer_size);
        limit / ALIGNMENT * ALIGNMENT
    }

    /// An error on this device; `what` is the program, kernel or buffer that it is about.
    pub fn error(&self, operation: &str, what: &str, why: &str) -> Error {
        Error::new(operation, format!("{what} on {}: {}", self.info.name, one_line(why)))
    }

    fn lost_error(&self, operation: &str, what: &str, why: &str) -> Error {
        let detail = if why.is_empty() { String::new() } else { format!(" ({})", one_line(why)) };
        let advice = "what it held is gone; open the device again and continue from a checkpoint";
        Error::new(operation, format!("{what}: {} was lost{detail}: {advice}", self.info.name))
    }

    pub fn is_lost(&self) -> bool {
        self.faults.lost().is_some()
    }

    /// The error of an operation on `what`, if the device was lost or this thread's calls failed since it was last
    /// asked.
    pub fn check(&self, operation: &str, what: &str) -> Result<()> {
        match self.faults.take() {
            None => Ok(()),
            Some(why) if self.is_lost() => Err(self.lost_error(operation, what, &why)),
            Some(why) => Err(self.error(operation, what, &why)),
        }
    }

    /// Runs `work`, and gives the error that the device raised meanwhile.
    pub fn scoped<T>(&self, operation: &str, what: &str, work: impl FnOnce() -> T) -> Result<T> {
        self.check(operation, what)?;
        let scopes = [
            self.device.push_error_scope(wgpu::ErrorFilter::Internal),
            self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory),
            self.device.push_error_scope(wgpu::ErrorFilter::Validation),
        ];
        let result = work();
        let mut found = None;
        for scope in scopes.into_iter().rev() {
            found = found.or(block_on(scope.pop()));
        }
        // What a lost device is asked for fails without an error in any scope.
        self.check(operation, what)?;
        match found {
            Some(error) => Err(self.error(operation, what, &describe(&error))),
            None => Ok(result),
        }
    }

    /// A buffer of its own; the error says what it was for.
    pub fn buffer(&self, what: &str, bytes: u64, usage: wgpu::BufferUsages) -> Result<wgpu::Buffer> {
        let descriptor = wgpu::BufferDescriptor {
            label: Some(what),
            size: bytes.max(4),
            usage,
            mapped_at_creation: false,
        };
        let asked = format!("{what} of {bytes} bytes");
        if bytes > self.limits.max_buffer_size {
            let limit = self.limits.max_buffer_size;
            return Err(Error::new("allocate", format!("{asked}: {} allows {limit} bytes", self.info.name)));
        }
        self.scoped("allocate", &asked, || self.device.create_buffer(&descriptor))
    }

    /// A buffer to read through, of at least this size; give it back with `return_staging` when it is unmapped.
    pub fn staging(&self, bytes: u64) -> Result<wgpu::Buffer> {
        let size = bytes.max(ALIGNMENT).next_power_of_two().min(self.limits.max_buffer_size).max(bytes);
        if let Some(buffer) = lock(&self.staging).get_mut(&size).and_then(Vec::pop) {
            return Ok(buffer);
        }
        self.buffer("staging memory", size, wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ)
    }

    /// Keeps a staging buffer for the next read of its size.
    pub fn return_staging(&self, buffer: wgpu::Buffer) {
        let mut staging = lock(&self.staging);
        let kept: u64 = staging.values().flatten().map(wgpu::Buffer::size).sum();
        if kept + buffer.size() <= READ_STAGING_BYTES {
            staging.entry(buffer.size()).or_default().push(buffer);
        }
    }

    /// Lets go of the staging buffers that are kept for reads.
    pub fn clear_staging(&self) {
        lock(&self.staging).clear();
    }

    /// Hands what a submission copied into staging memory to `take`, once it is there. Unmaps the memory then.
    pub fn mapped<T>(
        &self,
        operation: &str,
        what: &str,
        staging: &wgpu::Buffer,
        bytes: u64,
        submission: wgpu::SubmissionIndex,
        take: impl FnOnce(&[u8]) -> T,
    ) -> Result<T> {
        let slice = staging.slice(..bytes);
        // Whether this worked shows below: the range is mapped, or it is not.
        slice.map_async(wgpu::MapMode::Read, |_| {});
        self.wait(Some(submission), what).map_err(|error| error.named(operation))?;
        let taken = match slice.get_mapped_range() {
            Ok(view) => Ok(take(&view)),
            Err(error) => Err(self.error(operation, what, &error.to_string())),
        };
        staging.unmap();
        taken
    }

    /// Counts a write or clearing outside of any step. When much has gathered, such as the states of a large
    /// checkpoint, it is sent and waited for, so that neither staging memory nor submissions pile up.
    pub fn pace(&self, bytes: u64, what: &str) -> Result<()> {
        // Each takes some memory of its own, however small it is.
        let weight = bytes.max(OUTSIDE_LEAST_BYTES);
        if self.outside.fetch_add(weight, Ordering::Relaxed) + weight < OUTSIDE_BYTES {
            return Ok(());
        }
        self.outside.store(0, Ordering::Relaxed);
        let submission = self.queue.submit([]);
        self.wait(Some(submission), what)
    }

    /// Looks at what the device has done, or waits for it; then what waited for that is called.
    pub fn poll(&self, kind: wgpu::PollType, what: &str) -> Result<()> {
        self.check("wait", what)?;
        // A device that is lost while it is waited for makes `poll` panic; whoever waits gets an error value instead.
        match catch_unwind(AssertUnwindSafe(|| self.device.poll(kind))) {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(self.error("wait", what, &error.to_string())),
            Err(_) => self.faults.lose("it failed while it was waited for"),
        }
        self.check("wait", what)
    }

    /// Waits until everything up to a submission is done.
    pub fn wait(&self, submission: Option<wgpu::SubmissionIndex>, what: &str) -> Result<()> {
        self.poll(wgpu::PollType::Wait { submission_index: submission, timeout: None }, what)
    }

    /// Loses the device, as a driver would.
    pub fn lose(&self) {
        self.device.destroy();
        self.faults.lose("given up on purpose");
    }

    fn layout(&self, writable: &[bool]) -> Arc<Layout> {
        let mut layouts = lock(&self.layouts);
        if let Some(layout) = layouts.get(writable) {
            return Arc::clone(layout);
        }
        let entry = |binding: usize, ty: wgpu::BufferBindingType| wgpu::BindGroupLayoutEntry {
            binding: binding as u32,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
            count: None,
        };
        let mut entries = vec![entry(0, wgpu::BufferBindingType::Uniform)];
        entries.extend(writable.iter().enumerate().map(|(index, &writable)| {
            entry(index + 1, wgpu::BufferBindingType::Storage { read_only: !writable })
        }));
        let bind_group = self
            .device
            .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
        let pipeline = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&bind_group)],
            ..Default::default()
        });
        let layout = Arc::new(Layout { bind_group, pipeline });
        layouts.insert(writable.to_vec(), Arc::clone(&layout));
        layout
    }

    /// The pipeline of a shader, compiled when it is seen for the first time.
    pub fn pipeline(&self, label: &str, source: &str, writable: &[bool]) -> Result<Arc<Pipeline>> {
        if let Some(pipeline) = lock(&self.pipelines).get(source) {
            return Ok(Arc::clone(pipeline));
        }
        let pipeline = self.scoped("load", &format!("kernel {label}"), || {
            let layout = self.layout(writable);
            let descriptor = wgpu::ShaderModuleDescriptor {
                label: Some(label),
                source: wgpu::ShaderSource::Wgsl(source.into()),
            };
            // SAFETY: the printers index inside the ranges that the plan gives to each operand, and every loop they
            // print counts to a bound.
            let module = unsafe {
                self.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
            };
            let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(label),
                layout: Some(&layout.pipeline),
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions {
                    zero_initialize_workgroup_memory: false,
                    ..Default::default()
                },
                cache: None,
            });
            Pipeline { pipeline, layout }
        })?;
        let pipeline = Arc::new(pipeline);
        let mut pipelines = lock(&self.pipelines);
        // A bound for programs that make ever new shaders: those in use stay alive with their executables.
        const KEPT: usize = 4096;
        if pipelines.len() >= KEPT {
            pipelines.retain(|_, pipeline| Arc::strong_count(pipeline) > 1);
        }
        pipelines.insert(source.to_string(), Arc::clone(&pipeline));
        Ok(pipeline)
    }
}

/// An adapter with its driver, for whom what was timed holds.
fn described(info: &wgpu::AdapterInfo) -> String {
    format!("{} ({:?}) by {} {}", info.name, info.backend, info.driver, info.driver_info)
}

/// The text of an error of the device.
fn describe(error: &wgpu::Error) -> String {
    match error {
        wgpu::Error::OutOfMemory { .. } => "the device is out of memory".into(),
        error => error.to_string(),
    }
}

/// A message of the driver without line breaks, not too long.
fn one_line(message: &str) -> String {
    const LONGEST: usize = 600;
    let joined = message.split_whitespace().collect::<Vec<_>>().join(" ");
    if joined.chars().count() > LONGEST {
        joined.chars().take(LONGEST).chain(['…']).collect()
    } else {
        joined
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A software renderer; `None` where `DROPFORGE_NO_GPU=1` says that there is none.
    fn gpu() -> Option<Arc<Gpu>> {
        match Gpu::open(Choice::Software) {
            Ok(gpu) => Some(gpu),
            Err(_) if std::env::var("DROPFORGE_NO_GPU").as_deref() == Ok("1") => None,
            Err(error) => panic!("{error} (DROPFORGE_NO_GPU=1 passes without)"),
        }
    }

    fn text<T>(result: Result<T>) -> String {
        result.err().expect("this was to fail").to_string()
    }

    #[test]
    fn a_kernel_that_is_not_valid_fails_by_name_and_only_once() {
        let Some(gpu) = gpu() else { return };
        for source in [
            "this is not WGSL",
            "@compute @workgroup_size(1) fn main() { let x: f32 = 1u; }",
            "@compute @workgroup_size(100000) fn main() {}",
            "@group(0) @binding(7) var<storage, read_write> x: array<f32>;
             @compute @workgroup_size(1) fn main() { x[0] = 1.0; }",
        ] {
            let error = text(gpu.pipeline("softmax_7", source, &[true]));
            assert!(error.starts_with("load: kernel softmax_7 on ") && !error.contains('\n'), "{error}");
            gpu.check("run", "the next program").unwrap();
        }
        let source = "@compute @workgroup_size(1) fn main() {}";
        gpu.pipeline("fine", source, &[true]).unwrap();
    }

    #[test]
    fn what_the_device_refuses_outside_of_a_scope_is_told_to_the_caller() {
        let Some(gpu) = gpu() else { return };
        let buffer = gpu.buffer("small", 16, wgpu::BufferUsages::COPY_DST).unwrap();
        gpu.queue.write_buffer(&buffer, 8, &[0; 16]);
        let error = text(gpu.check("write", "state w"));
        assert!(error.starts_with("write: state w on "), "{error}");
        gpu.check("write", "state w").unwrap();
        let error = text(gpu.buffer("state w", u64::MAX / 2, wgpu::BufferUsages::COPY_DST));
        assert!(error.starts_with("allocate: state w of "), "{error}");
    }

    /// As the driver reports it: through the callback, not through `lose`.
    #[test]
    fn a_loss_is_noticed_and_stays() {
        let Some(gpu) = gpu() else { return };
        gpu.device.destroy();
        let error = text(gpu.wait(None, "step 7"));
        assert!(error.starts_with("wait: step 7: ") && error.contains("was lost"), "{error}");
        for _ in 0..2 {
            let error = text(gpu.pipeline("k", "@compute @workgroup_size(1) fn main() {}", &[true]));
            assert!(error.starts_with("load: kernel k: ") && error.contains("was lost"), "{error}");
            assert!(text(gpu.staging(64)).contains("was lost"));
            assert!(text(gpu.check("run", "step 8")).contains("step 8"));
        }
    }
}
