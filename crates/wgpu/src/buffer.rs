//! Buffers on the device, and the way back to the host.

use crate::gpu::{Gpu, lock};
use crate::heap::Piece;
use crate::words::{append, stored_bytes, to_array};
use dropforge_ir::{Array, Error, Result, ValueType};
use dropforge_plan::Buffer;
use std::any::Any;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

/// Elements on the device.
pub(crate) struct WgpuBuffer {
    ty: ValueType,
    pub piece: Piece,
    /// A copy on its way to the host since the step that made the elements.
    early: Mutex<Option<Download>>,
}

/// Bytes on their way to the host.
pub(crate) struct Download {
    gpu: Arc<Gpu>,
    staging: Option<wgpu::Buffer>,
    bytes: u64,
    submission: wgpu::SubmissionIndex,
    arrived: Receiver<std::result::Result<(), wgpu::BufferAsyncError>>,
}

impl Download {
    /// Starts to map what a submission copied into staging memory.
    pub fn start(
        gpu: &Arc<Gpu>,
        staging: wgpu::Buffer,
        bytes: u64,
        submission: wgpu::SubmissionIndex,
    ) -> Download {
        let (tell, arrived) = channel();
        staging.slice(..bytes).map_async(wgpu::MapMode::Read, move |result| {
            // Nobody listens if the buffer was dropped meanwhile.
            let _ = tell.send(result);
        });
        Download { gpu: Arc::clone(gpu), staging: Some(staging), bytes, submission, arrived }
    }

    /// Waits until the bytes are there.
    fn finish(mut self, ty: &ValueType) -> Result<Array> {
        let fail =
            |message: String| Error::new("read", format!("{ty} from {}: {message}", self.gpu.info.name));
        self.gpu.wait(Some(self.submission.clone()))?;
        match self.arrived.recv() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(fail(error.to_string())),
            Err(_) => return Err(fail("the device gave no answer".into())),
        }
        let staging = self.staging.take().ok_or_else(|| fail("it was read before".into()))?;
        let array = {
            let view =
                staging.slice(..self.bytes).get_mapped_range().map_err(|error| fail(error.to_string()))?;
            to_array(ty, &view)
        };
        staging.unmap();
        self.gpu.return_staging(staging);
        array.ok_or_else(|| fail("too few bytes came back".into()))
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        if let Some(staging) = self.staging.take() {
            // Cancels the mapping if it has not happened yet.
            staging.unmap();
            self.gpu.return_staging(staging);
        }
    }
}

impl WgpuBuffer {
    /// Zeroed memory for a value.
    pub fn zeroed(gpu: &Arc<Gpu>, ty: &ValueType) -> Result<WgpuBuffer> {
        let buffer = WgpuBuffer::unwritten(gpu, ty)?;
        if buffer.piece.used_before {
            let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            encoder.clear_buffer(&buffer.piece.buffer, buffer.piece.offset, Some(buffer.piece.bytes));
            gpu.queue.submit([encoder.finish()]);
        }
        gpu.check("allocate")?;
        Ok(buffer)
    }

    /// Memory for a value that is about to be written.
    pub fn unwritten(gpu: &Arc<Gpu>, ty: &ValueType) -> Result<WgpuBuffer> {
        let piece = Piece::allocate(gpu, &ty.to_string(), stored_bytes(ty))?;
        Ok(WgpuBuffer { ty: ty.clone(), piece, early: Mutex::new(None) })
    }

    /// Says that the elements are already on their way to the host.
    pub fn set_early(&mut self, download: Download) {
        self.early = Mutex::new(Some(download));
    }
}

impl Buffer for WgpuBuffer {
    fn ty(&self) -> &ValueType {
        &self.ty
    }

    fn read(&self) -> Result<Array> {
        if let Some(download) = lock(&self.early).take() {
            return download.finish(&self.ty);
        }
        let bytes = stored_bytes(&self.ty);
        if bytes == 0 {
            return Ok(Array::zeros(&self.ty));
        }
        let gpu = &self.piece.gpu;
        gpu.check("read")?;
        let staging = gpu.staging(bytes)?;
        let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(&self.piece.buffer, self.piece.offset, &staging, 0, bytes);
        let submission = gpu.queue.submit([encoder.finish()]);
        Download::start(gpu, staging, bytes, submission).finish(&self.ty)
    }

    fn write(&self, array: &Array) -> Result<()> {
        if array.ty() != self.ty {
            return Err(Error::new("write", format!("the buffer is {}, got {}", self.ty, array.ty())));
        }
        lock(&self.early).take();
        let mut stored = Vec::with_capacity(stored_bytes(&self.ty) as usize);
        append(array.data(), &mut stored);
        if !stored.is_empty() {
            self.piece.gpu.queue.write_buffer(&self.piece.buffer, self.piece.offset, &stored);
        }
        self.piece.gpu.check("write")
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}
