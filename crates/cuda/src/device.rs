//! An NVIDIA GPU as a device.

use crate::buffer::CudaBuffer;
use crate::driver::Driver;
use crate::executable::CudaExecutable;
use crate::gpu::{Gpu, lock};
use dropforge_gpu::{Backend, LiveBuffer, leaks};
use dropforge_ir::{DType, Error, Program, Result, ValueType};
use dropforge_runtime::{Binding, BufferRef, Choices, Device, Loaded, MemoryStatistics, Options};
use dropforge_wgsl::Printing;
use std::path::PathBuf;
use std::sync::Arc;

/// What is known of a GPU without opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CudaDescription {
    /// Name by the driver, such as `NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// Compute capability, such as 9 and 0.
    pub capability: (u32, u32),
    /// Bytes of its memory.
    pub memory: u64,
    /// How many multiprocessors it has.
    pub multiprocessors: u32,
    /// The newest CUDA that the driver works with, such as 12 and 8.
    pub driver: (u32, u32),
}

/// The GPUs that the NVIDIA driver lists, in its order.
///
/// # Errors
/// If there is no driver: one line that says what is missing, and where it was looked for.
pub fn devices() -> Result<Vec<CudaDescription>> {
    let driver = Driver::start()?;
    let version = (driver.version / 1000, driver.version % 1000 / 10);
    let listed = driver.devices().map_err(|why| Error::new("device", why))?;
    let describe = |device: crate::driver::Listed| CudaDescription {
        name: device.name,
        capability: (device.architecture / 10, device.architecture % 10),
        memory: device.memory,
        multiprocessors: device.multiprocessors,
        driver: version,
    };
    Ok(listed.into_iter().map(describe).collect())
}

/// A GPU reached through NVIDIA's driver.
///
/// # When the device is lost
///
/// After a fault of a kernel the driver refuses everything: from then on every call of the device, its buffers and its
/// executables returns an error that names the program or buffer it was about. What lay on the device is gone; start a
/// new process and continue from a checkpoint.
pub struct CudaDevice {
    gpu: Arc<Gpu>,
}

impl CudaDevice {
    /// Opens the GPU at this position of [`devices`].
    ///
    /// # Errors
    /// If there is no driver, no such GPU, or no compiler of CUDA C: one line that says what is missing, and where it
    /// was looked for.
    pub fn new(position: usize) -> Result<CudaDevice> {
        Ok(CudaDevice { gpu: Gpu::open(position)? })
    }

    /// As [`CudaDevice::new`], with kernels that are printed as `change` makes of what suits the GPU: for comparisons.
    ///
    /// # Errors
    /// As [`CudaDevice::new`].
    pub fn printing(position: usize, change: impl FnOnce(Printing) -> Printing) -> Result<CudaDevice> {
        Ok(CudaDevice { gpu: Gpu::open(position)?.printed(change) })
    }

    /// As [`CudaDevice::printing`], with everything by printed kernels: for comparisons.
    ///
    /// # Errors
    /// As [`CudaDevice::new`].
    pub fn without_libraries(
        position: usize,
        change: impl FnOnce(Printing) -> Printing,
    ) -> Result<CudaDevice> {
        Ok(CudaDevice { gpu: Gpu::open(position)?.printed(change).without_libraries() })
    }

    /// As [`CudaDevice::new`], with the channels of convolutions in planes for cuDNN too: for comparisons.
    ///
    /// # Errors
    /// As [`CudaDevice::new`].
    pub fn unturned(position: usize) -> Result<CudaDevice> {
        Ok(CudaDevice { gpu: Gpu::open(position)?.unturned() })
    }

    /// Where what it works with was found: the driver, the compiler, and cuBLASLt and cuDNN if they are there.
    pub fn libraries(&self) -> Vec<PathBuf> {
        let products = self.gpu.products().map(|library| library.path());
        let convolutions = self.gpu.convolutions().map(|library| library.path());
        let driver = &self.gpu.connection.driver.functions.path;
        [Some(driver.as_path()), Some(self.gpu.compiler.path()), products, convolutions]
            .into_iter()
            .flatten()
            .map(Into::into)
            .collect()
    }

    /// Compiles the kernels of programs side by side, which loading them one after another then finds in the cache
    /// folder.
    ///
    /// # Errors
    /// If a program is not valid. What cannot be compiled is an error where it is loaded.
    pub fn compile_ahead<'a>(&self, programs: impl Iterator<Item = &'a Program>) -> Result<()> {
        let mut sources = Vec::new();
        for program in programs {
            let shaders = dropforge_wgsl::shaders(program, &self.gpu.limits, &self.gpu.printing)?;
            sources.extend(shaders.dispatches.into_iter().map(|dispatch| dispatch.source));
        }
        self.gpu.compile_ahead(sources.iter().map(String::as_str));
        Ok(())
    }

    /// What is held of the device's memory.
    pub fn memory(&self) -> MemoryStatistics {
        lock(self.gpu.heap()).statistics()
    }

    /// Bounds the bytes that buffers and executables may take from the device together; without a limit (the default)
    /// the device's own memory is the bound. What is held already stays, even if it is more.
    ///
    /// An allocation beyond the limit first gives back what lies idle, and then fails with an error that says what was
    /// asked for and what is held.
    pub fn set_memory_limit(&self, bytes: Option<u64>) {
        lock(self.gpu.heap()).set_limit(bytes);
    }

    /// Gives memory without a buffer back to the device. Returns the number of bytes.
    ///
    /// That also happens by itself before an allocation fails, and when much more lies idle than was ever in use.
    pub fn trim(&self) -> u64 {
        lock(self.gpu.heap()).release()
    }

    /// The buffers that are alive, by what they are for, to find out who keeps them. Debug builds only: release builds
    /// do not keep the names and return nothing; [`CudaDevice::memory`] counts buffers in both.
    pub fn live_buffers(&self) -> Vec<LiveBuffer> {
        lock(self.gpu.heap()).live()
    }

    /// Gives the device up, and says if anything that it made is still alive: a leak, if all of it was to be gone.
    /// Simply dropping the device is fine too; it stays open for the buffers and executables that are left.
    ///
    /// # Errors
    /// If buffers or executables are alive (their number and bytes; in debug builds also what the buffers are for), or
    /// the device fails.
    pub fn close(self) -> Result<()> {
        self.synchronize()?;
        match leaks(&self.memory(), &self.live_buffers()) {
            Some(message) => Err(Error::new("close", format!("{}: {message}", self.name()))),
            None => Ok(()),
        }
    }

    /// Waits until everything that was started is done.
    ///
    /// # Errors
    /// If the device fails.
    pub fn synchronize(&self) -> Result<()> {
        self.gpu.finish("all work")
    }

    /// Takes the device for lost, as after a fault; for tests of what follows.
    #[doc(hidden)]
    pub fn lose(&self) {
        self.gpu.connection.lose("a test asked for it");
    }
}

impl Device for CudaDevice {
    fn name(&self) -> String {
        format!("{} (CUDA)", self.gpu.connection.device.name)
    }

    fn is_gpu(&self) -> bool {
        true
    }

    fn memory_statistics(&self) -> Option<MemoryStatistics> {
        Some(self.memory())
    }

    fn limit_memory(&self, bytes: Option<u64>) -> Result<()> {
        self.set_memory_limit(bytes);
        Ok(())
    }

    fn allocate(&self, ty: &ValueType) -> Result<BufferRef> {
        Ok(Arc::new(CudaBuffer::zeroed(&self.gpu, ty)?))
    }

    fn options(&self) -> Options {
        Options::unrolled()
    }

    fn faster_half(&self) -> (Option<DType>, String) {
        match self.gpu.printing.matrices {
            Some(_) => {
                (Some(DType::BF16), "this GPU's tensor cores multiply halves (bf16) faster than f32".into())
            }
            None => (None, "this GPU has no tensor cores for bf16 (compute capability 8.0)".into()),
        }
    }

    fn load(&self, binding: &Binding<'_>, choices: &mut Choices) -> Result<Box<dyn Loaded>> {
        dropforge_wgsl::check(&binding.plan().program)?;
        Ok(Box::new(CudaExecutable::new(&self.gpu, binding, choices)?))
    }
}
