//! The portable GPU as a device.

use crate::adapter::{Choice, choose};
use crate::buffer::WgpuBuffer;
use crate::executable::WgpuExecutable;
use crate::gpu::{Gpu, lock};
use crate::heap::HeapStatistics;
use dropforge_ir::passes::optimize;
use dropforge_ir::verify::verify;
use dropforge_ir::{Program, Result, ValueType};
use dropforge_plan::{BufferRef, Device, Executable, plan};
use std::sync::Arc;

/// A GPU reached through Vulkan, Metal or DirectX 12.
pub struct WgpuDevice {
    gpu: Arc<Gpu>,
}

impl WgpuDevice {
    /// Opens an adapter.
    ///
    /// # Errors
    /// If there is none such, or its driver refuses.
    pub fn new(choice: Choice) -> Result<WgpuDevice> {
        Ok(WgpuDevice { gpu: Arc::new(Gpu::connect(&choose(choice)?)?) })
    }

    /// Whether this is a renderer that computes on the CPU.
    pub fn is_software(&self) -> bool {
        self.gpu.info.device_type == wgpu::DeviceType::Cpu
    }

    /// What buffers hold of the device's memory; executables hold their own memory besides.
    pub fn memory(&self) -> HeapStatistics {
        lock(&self.gpu.heap).statistics()
    }

    /// Waits until everything that was started is done.
    ///
    /// # Errors
    /// If the device fails.
    pub fn synchronize(&self) -> Result<()> {
        self.gpu.wait(None)
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

    fn allocate(&self, ty: &ValueType) -> Result<BufferRef> {
        Ok(Arc::new(WgpuBuffer::zeroed(&self.gpu, ty)?))
    }

    fn load(&self, program: &Program, states: &[BufferRef]) -> Result<Box<dyn Executable>> {
        verify(program)?;
        let plan = plan(&optimize(program)?)?;
        Ok(Box::new(WgpuExecutable::new(&self.gpu, plan, states)?))
    }
}
