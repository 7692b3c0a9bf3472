//! The connection to one GPU, and what is kept across programs: how kernels are printed, their code, what was timed.

use crate::code::{Store, text, with_prelude};
use crate::connection::{Connection, Kernel, Memory, Outcome, Pinned};
use crate::cublaslt;
use crate::cudnn;
use crate::driver::Driver;
use crate::nvrtc::Compiler;
use crate::tuning::{
    BUSY_GROUPS, LARGEST_BUFFER, MOST_BUFFERS, PARAMETER_BYTES, STAGING_BYTES, WORKGROUP_BYTES,
};
use dropforge_gpu::tune::{self, Tuned};
use dropforge_gpu::tuning::ALIGNMENT;
use dropforge_gpu::{Backend, Heap};
use dropforge_ir::{Error, Result};
use dropforge_runtime::profile::Peak;
use dropforge_wgsl::{Limits, Matrices, MatrixUse, Pick, Printing};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

pub use dropforge_gpu::lock;

/// Memory that outlives runs.
pub type Piece = dropforge_gpu::Piece<Gpu>;

/// Memory of an executable.
pub type OwnMemory = dropforge_gpu::OwnMemory<Gpu>;

/// Everything that a device, its buffers and its executables share.
pub struct Gpu {
    heap: Mutex<Heap<Gpu>>,
    /// By the text that they are made of: WGSL, or CUDA C.
    kernels: Mutex<HashMap<String, Arc<Kernel>>>,
    pub compiler: Compiler,
    store: Store,
    pub tuned: Mutex<Tuned<Pick>>,
    /// The libraries of products and of convolutions, where they were found, once somebody wanted them: starting them
    /// takes a while.
    products: OnceLock<Option<Arc<cublaslt::Library>>>,
    convolutions: OnceLock<Option<Arc<cudnn::Library>>>,
    /// Whether they are used.
    has_libraries: bool,
    /// Whether attention of halves goes to kernels of this device's own.
    pub own_attention: bool,
    /// Whether channels are brought side by side for it.
    pub turns: bool,
    /// What reads and writes outside of steps go through.
    staging: Mutex<Option<Pinned>>,
    /// What the device reaches at best, once that was asked for.
    pub peak: OnceLock<Option<Peak>>,
    pub limits: Limits,
    pub printing: Printing,
    /// Last, so that it is dropped after what belongs to it.
    pub connection: Arc<Connection>,
}

impl Backend for Gpu {
    type Memory = Memory;
    type Usage = ();
    const STORAGE: () = ();

    fn name(&self) -> &str {
        &self.connection.device.name
    }

    fn heap(&self) -> &Mutex<Heap<Gpu>> {
        &self.heap
    }

    fn create(&self, what: &str, bytes: u64, _usage: ()) -> Result<Memory> {
        let make = || {
            let memory = self.connection.allocate(bytes)?;
            self.connection.clear(&memory, 0, bytes)?;
            Ok(memory)
        };
        self.told("allocate", &format!("{what} of {bytes} bytes"), make())
    }

    fn bytes(memory: &Memory) -> u64 {
        memory.bytes()
    }

    fn finish(&self, what: &str) -> Result<()> {
        self.told("wait", what, self.connection.synchronize())
    }

    fn check(&self, operation: &str, what: &str) -> Result<()> {
        match self.connection.lost() {
            None => Ok(()),
            Some(why) => {
                let advice = "what it held is gone; start anew and continue from a checkpoint";
                Err(Error::new(operation, format!("{what}: {} was lost ({why}): {advice}", self.name())))
            }
        }
    }
}

/// How kernels are printed for GPUs of an architecture, such as 90.
pub fn printing_of(architecture: u32) -> Printing {
    let matrices = Matrices { of_f16: Some(16), of_bf16: Some(16), of_f32: None, lanes: 32, lenient: true };
    Printing {
        subgroup: Some(32),
        busy_groups: BUSY_GROUPS,
        stores_parts: true,
        f16: true,
        bf16: true,
        matrices: (architecture >= 80).then_some(matrices),
        matrix_use: MatrixUse::WhereFaster,
        ..Printing::default()
    }
}

/// What kernels may use.
pub fn limits() -> Limits {
    Limits {
        buffer_bytes: LARGEST_BUFFER,
        buffers: MOST_BUFFERS,
        parameter_bytes: PARAMETER_BYTES,
        workgroup_bytes: WORKGROUP_BYTES,
        workgroup_threads: 1024,
    }
}

impl Gpu {
    /// Opens the GPU at a position of the driver's list.
    ///
    /// # Errors
    /// One line that says what is missing, and where it was looked for.
    pub fn open(position: usize) -> Result<Arc<Gpu>> {
        let fail = |message: String| Error::new("device", message);
        let driver = Driver::start()?;
        let devices = driver.devices().map_err(fail)?;
        let count = devices.len();
        let device = devices.into_iter().nth(position).ok_or_else(|| match count {
            0 => fail("the NVIDIA driver lists no GPU".into()),
            _ => {
                fail(format!("there is no GPU {position}; the NVIDIA driver lists {count}, numbered from 0"))
            }
        })?;
        if device.architecture < 70 {
            let architecture = device.architecture;
            return Err(fail(format!(
                "{} has compute capability {}.{}; 7.0 is needed",
                device.name,
                architecture / 10,
                architecture % 10
            )));
        }
        let compiler = Compiler::find(driver.version / 1000).map_err(fail)?;
        let known = compiler.architectures();
        let architecture = device.architecture;
        if !known.contains(&architecture) {
            let message = format!(
                "{} does not compile for {}, compute capability {}.{}; a newer one is needed",
                compiler.path().display(),
                device.name,
                architecture / 10,
                architecture % 10
            );
            return Err(fail(message));
        }
        let described = format!("cuda {} {} {:?}", device.name, driver.version, compiler.version);
        let store = Store::new(tune::folder(), format!("sm_{architecture}"), compiler.version);
        let name = device.name.clone();
        let connection = Connection::open(driver, device)
            .map_err(|why| fail(format!("{name} cannot be opened: {why}")))?;
        Ok(Arc::new(Gpu {
            heap: Mutex::new(Heap::new(LARGEST_BUFFER / ALIGNMENT * ALIGNMENT)),
            kernels: Mutex::default(),
            compiler,
            store,
            tuned: Mutex::new(Tuned::of(&described, false)),
            products: OnceLock::new(),
            convolutions: OnceLock::new(),
            has_libraries: true,
            own_attention: true,
            turns: true,
            staging: Mutex::new(None),
            peak: OnceLock::new(),
            limits: limits(),
            printing: printing_of(architecture),
            connection,
        }))
    }

    /// The library of products, if it is there; kernels compute them where it is missing.
    pub fn products(&self) -> Option<&Arc<cublaslt::Library>> {
        let start = || cublaslt::Library::start(&self.connection).ok().map(Arc::new);
        self.has_libraries.then(|| self.products.get_or_init(start).as_ref()).flatten()
    }

    /// The library of convolutions, if it is there; kernels compute them where it is missing.
    pub fn convolutions(&self) -> Option<&Arc<cudnn::Library>> {
        let start = || cudnn::Library::start(&self.connection).ok().map(Arc::new);
        self.has_libraries.then(|| self.convolutions.get_or_init(start).as_ref()).flatten()
    }

    /// Without libraries, so that printed kernels compute everything; for one that nothing uses yet.
    pub fn without_libraries(mut self: Arc<Gpu>) -> Arc<Gpu> {
        if let Some(gpu) = Arc::get_mut(&mut self) {
            (gpu.has_libraries, gpu.own_attention) = (false, false);
        }
        self
    }

    /// With convolutions whose channels lie in planes as they are, by the library; for one that nothing uses yet.
    pub fn unturned(mut self: Arc<Gpu>) -> Arc<Gpu> {
        if let Some(gpu) = Arc::get_mut(&mut self) {
            gpu.turns = false;
        }
        self
    }

    /// With kernels that are printed as `change` makes of how they are; for one that nothing uses yet.
    pub fn printed(mut self: Arc<Gpu>, change: impl FnOnce(Printing) -> Printing) -> Arc<Gpu> {
        if let Some(gpu) = Arc::get_mut(&mut self) {
            gpu.printing = change(gpu.printing);
        }
        self
    }

    /// An error on this device; `what` is the program, kernel or buffer that it is about.
    pub fn error(&self, operation: &str, what: &str, why: &str) -> Error {
        let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
        Error::new(operation, format!("{what} on {}: {why}", self.connection.device.name))
    }

    /// What the driver said, as an error about `what`.
    pub fn told<T>(&self, operation: &str, what: &str, outcome: Outcome<T>) -> Result<T> {
        outcome.map_err(|why| match Backend::check(self, operation, what) {
            Err(lost) => lost,
            Ok(()) => self.error(operation, what, &why),
        })
    }

    /// Compiles the kernels of these texts that are not there yet, side by side. An error comes again where the kernel
    /// is asked for.
    pub fn compile_ahead<'a>(&self, sources: impl Iterator<Item = &'a str>) {
        let mut missing: Vec<&str> = {
            let kernels = lock(&self.kernels);
            sources.filter(|source| !kernels.contains_key(*source)).collect()
        };
        missing.sort_unstable();
        missing.dedup();
        let next = std::sync::atomic::AtomicUsize::new(0);
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(missing.len());
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(source) =
                        missing.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                    {
                        let _ = self.kernel("", source);
                    }
                });
            }
        });
    }

    /// The kernel of a text of WGSL.
    ///
    /// # Errors
    /// If it cannot be compiled.
    pub fn kernel(&self, label: &str, source: &str) -> Result<Arc<Kernel>> {
        if let Some(kernel) = lock(&self.kernels).get(source) {
            return Ok(Arc::clone(kernel));
        }
        let make = || {
            let (text, threads) = text(source)?;
            let code = self.store.code(&self.compiler, &text, threads)?;
            self.connection.load(&code.image, c"dropforge", code.threads)
        };
        let kernel = Arc::new(self.told("load", &format!("kernel {label}"), make())?);
        Ok(Arc::clone(lock(&self.kernels).entry(source.into()).or_insert(kernel)))
    }

    /// The kernel of a text of CUDA C that needs the prelude.
    ///
    /// # Errors
    /// If it cannot be compiled.
    pub fn own_kernel(&self, label: &str, source: &str, threads: u32) -> Result<Arc<Kernel>> {
        if let Some(kernel) = lock(&self.kernels).get(source) {
            return Ok(Arc::clone(kernel));
        }
        let make = || {
            let code = self.store.code(&self.compiler, &with_prelude(source), threads)?;
            self.connection.load(&code.image, c"dropforge", code.threads)
        };
        let kernel = Arc::new(self.told("load", &format!("kernel {label}"), make())?);
        Ok(Arc::clone(lock(&self.kernels).entry(source.into()).or_insert(kernel)))
    }

    /// Does `work` with the memory that reads and writes outside of steps go through.
    fn staged<T>(&self, work: impl FnOnce(&mut Pinned) -> Outcome<T>) -> Outcome<T> {
        let mut staging = lock(&self.staging);
        match &mut *staging {
            Some(pinned) => work(pinned),
            None => work(staging.insert(self.connection.pinned(STAGING_BYTES)?)),
        }
    }

    /// Copies bytes from the device, after everything that was started before.
    pub fn download(&self, from: &Memory, offset: u64, bytes: u64) -> Outcome<Vec<u8>> {
        self.staged(|pinned| {
            let mut all = Vec::with_capacity(bytes as usize);
            for start in (0..bytes).step_by(STAGING_BYTES as usize) {
                let count = STAGING_BYTES.min(bytes - start);
                self.connection.copy_down((from, offset + start), (pinned, 0), count, false)?;
                self.connection.synchronize()?;
                all.extend_from_slice(&pinned.read()[..count as usize]);
            }
            Ok(all)
        })
    }

    /// Copies bytes to the device, after everything that was started before.
    pub fn upload(&self, bytes: &[u8], to: &Memory, offset: u64) -> Outcome {
        self.staged(|pinned| {
            for (number, piece) in bytes.chunks(STAGING_BYTES as usize).enumerate() {
                pinned.write()[..piece.len()].copy_from_slice(piece);
                let at = offset + number as u64 * STAGING_BYTES;
                self.connection.copy_up((pinned, 0), (to, at), piece.len() as u64, false)?;
                self.connection.synchronize()?;
            }
            Ok(())
        })
    }
}
