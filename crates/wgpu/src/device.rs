//! The portable GPU as a device.

use crate::adapter::Choice;
use crate::buffer::WgpuBuffer;
use crate::executable::WgpuExecutable;
use crate::gpu::{Gpu, lock};
use crate::printing::Printing;
use dropforge_gpu::{Backend, LiveBuffer, leaks};
use dropforge_ir::{DType, Error, Result, ValueType};
use dropforge_runtime::{Binding, BufferRef, Choices, Device, Loaded, MemoryStatistics, Options};
use std::sync::Arc;

/// A GPU reached through Vulkan, Metal or DirectX 12.
///
/// # When the device is lost
///
/// A driver that crashes, a machine that takes the device away: from then on every call of the device, its buffers and
/// its executables returns an error that names the program or buffer it was about. Nothing waits forever. What lay on
/// the device is gone. Outputs that had been read before can be read again; others may fail. Open a new device and
/// continue from a checkpoint: files that were written are not touched.
pub struct WgpuDevice {
    gpu: Arc<Gpu>,
}

impl WgpuDevice {
    /// Opens an adapter. Threads that open or close devices at the same time wait for each other.
    ///
    /// # Errors
    /// If there is none such, or its driver refuses.
    pub fn new(choice: Choice) -> Result<WgpuDevice> {
        Ok(WgpuDevice { gpu: Gpu::open(choice)? })
    }

    /// As [`WgpuDevice::new`], with kernels that are printed as `change` makes of what suits the adapter: for
    /// comparisons.
    ///
    /// # Errors
    /// As [`WgpuDevice::new`]. Programs fail to load if their kernels use what the adapter lacks.
    pub fn printing(choice: Choice, change: impl FnOnce(Printing) -> Printing) -> Result<WgpuDevice> {
        Ok(WgpuDevice { gpu: Gpu::open(choice)?.printed(change) })
    }

    /// Whether this is a renderer that computes on the CPU.
    pub fn is_software(&self) -> bool {
        self.gpu.info.device_type == wgpu::DeviceType::Cpu
    }

    /// Most bytes of one value, each element taking four, or two if it is an f16 and shaders have the type: what a
    /// kernel can see of a buffer.
    pub fn largest_value(&self) -> u64 {
        self.gpu.binding_limit()
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
        self.gpu.clear_staging();
        lock(self.gpu.heap()).release()
    }

    /// The buffers that are alive, by what they are for, to find out who keeps them. Debug builds only: release builds
    /// do not keep the names and return nothing; [`WgpuDevice::memory`] counts buffers in both.
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
        self.gpu.wait(None, "all work")
    }

    /// Loses the device as a crash of its driver would; for tests of what follows.
    #[doc(hidden)]
    pub fn lose(&self) {
        self.gpu.lose();
    }
}

impl Device for WgpuDevice {
    fn name(&self) -> String {
        let info = &self.gpu.info;
        let software = if self.is_software() { ", software" } else { "" };
        format!("{} ({:?}{software})", info.name, info.backend)
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
        Ok(Arc::new(WgpuBuffer::zeroed(&self.gpu, ty)?))
    }

    fn options(&self) -> Options {
        Options::unrolled()
    }

    fn faster_half(&self) -> (Option<DType>, String) {
        let printing = self.gpu.printing;
        match printing.matrices.and_then(|matrices| matrices.of_f16).filter(|_| printing.f16) {
            Some(_) => (
                Some(DType::F16),
                "this GPU multiplies matrices of halves (f16) faster than those of f32".into(),
            ),
            None if printing.f16 => {
                (None, "this GPU has no matrix instructions for halves; f16 would only save memory".into())
            }
            None => (None, "this GPU has no f16 that shaders can use, so that halves are no faster".into()),
        }
    }

    fn load(&self, binding: &Binding<'_>, choices: &mut Choices) -> Result<Box<dyn Loaded>> {
        dropforge_wgsl::check(&binding.plan().program)?;
        Ok(Box::new(WgpuExecutable::new(&self.gpu, binding, choices)?))
    }
}
