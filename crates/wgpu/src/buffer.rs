//! Buffers on the device, and the way back to the host.

use crate::gpu::{Gpu, Piece, lock};
use crate::staging::Readback;
use crate::words::{self, stored_bytes, to_array};
use dropforge_ir::{Array, Error, Result, ValueType};
use dropforge_runtime::Buffer;
use std::any::Any;
use std::sync::{Arc, Mutex, OnceLock};

/// Elements on the device.
pub(crate) struct WgpuBuffer {
    ty: ValueType,
    pub piece: Piece,
    /// What it is for, if that is known, such as `state fc1.weight`.
    name: OnceLock<Arc<str>>,
    /// A copy that went to the host with the step that made the elements, and where it begins there.
    early: Mutex<Option<(Arc<Readback>, u64)>>,
}

impl WgpuBuffer {
    /// Zeroed memory for a value.
    pub fn zeroed(gpu: &Arc<Gpu>, ty: &ValueType) -> Result<WgpuBuffer> {
        let what: Arc<str> = ty.to_string().into();
        gpu.check("allocate", &what)?;
        let piece = Piece::allocate(gpu, &what, stored_bytes(ty, gpu.printing))?;
        if piece.used_before() {
            let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            encoder.clear_buffer(&piece.memory, piece.offset(), Some(piece.bytes()));
            gpu.queue.submit([encoder.finish()]);
            gpu.check("allocate", &what)?;
            gpu.pace(piece.bytes(), &what)?;
        }
        Ok(WgpuBuffer { ty: ty.clone(), piece, name: OnceLock::new(), early: Mutex::new(None) })
    }

    /// Memory for an output that is about to be written.
    pub fn output(gpu: &Arc<Gpu>, ty: &ValueType, name: &Arc<str>) -> Result<WgpuBuffer> {
        let piece = Piece::allocate(gpu, name, stored_bytes(ty, gpu.printing))?;
        Ok(WgpuBuffer { ty: ty.clone(), piece, name: Arc::clone(name).into(), early: Mutex::new(None) })
    }

    /// Says that the elements are already on their way to the host, and where they begin there.
    pub fn set_early(&mut self, readback: Arc<Readback>, offset: u64) {
        self.early = Mutex::new(Some((readback, offset)));
    }

    /// Binds it to a program as this state: from then on it changes by itself.
    pub fn become_state(&self, name: &str) {
        lock(&self.early).take();
        let what: Arc<str> = format!("state {name}").into();
        self.piece.rename(&what);
        // The first program that it was bound to names it.
        let _ = self.name.set(what);
    }

    /// What it is, for errors.
    fn describe(&self) -> String {
        match self.name.get() {
            Some(name) => format!("{name} {}", self.ty),
            None => self.ty.to_string(),
        }
    }

    fn array(&self, stored: &[u8]) -> Result<Array> {
        to_array(&self.ty, self.piece.gpu.printing, stored)
            .ok_or_else(|| Error::new("read", format!("{}: too few bytes came back", self.describe())))
    }
}

impl Buffer for WgpuBuffer {
    fn ty(&self) -> &ValueType {
        &self.ty
    }

    fn read(&self) -> Result<Array> {
        let bytes = stored_bytes(&self.ty, self.piece.gpu.printing);
        if bytes == 0 {
            return Ok(Array::zeros(&self.ty));
        }
        let early = lock(&self.early).clone();
        if let Some((readback, offset)) = early {
            let range = offset as usize..(offset + bytes) as usize;
            return readback.read(&self.describe(), |all| self.array(all.get(range).unwrap_or_default()))?;
        }
        let (gpu, what) = (&self.piece.gpu, self.describe());
        gpu.check("read", &what)?;
        let staging = gpu.staging(bytes).map_err(|error| error.named("read"))?;
        let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(&self.piece.memory, self.piece.offset(), &staging, 0, bytes);
        let submission = gpu.queue.submit([encoder.finish()]);
        let array = gpu.mapped("read", &what, &staging, bytes, submission, |view| self.array(view))?;
        gpu.return_staging(staging);
        array
    }

    fn write(&self, array: &Array) -> Result<()> {
        if array.shape() != &self.ty.shape || array.data().dtype() != self.ty.dtype {
            let message = format!("the buffer is {}, got {}", self.describe(), array.ty());
            return Err(Error::new("write", message));
        }
        let gpu = &self.piece.gpu;
        gpu.check("write", &self.describe())?;
        lock(&self.early).take();
        let Some(bytes) = wgpu::BufferSize::new(stored_bytes(&self.ty, gpu.printing)) else { return Ok(()) };
        match gpu.queue.write_buffer_with(&self.piece.memory, self.piece.offset(), bytes) {
            Some(mut view) => words::write(array.data(), gpu.printing, view.slice(..)),
            None => {
                gpu.check("write", &self.describe())?;
                return Err(gpu.error("write", &self.describe(), "there is no memory to stage it in"));
            }
        }
        gpu.check("write", &self.describe())?;
        gpu.pace(bytes.get(), &self.describe()).map_err(|error| error.named("write"))
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}
