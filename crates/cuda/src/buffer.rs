//! Buffers on the device, and the way back to the host.

use crate::gpu::{Gpu, Piece, lock};
use crate::staging::Readback;
use crate::words::{append, stored_bytes, to_array};
use dropforge_gpu::Backend;
use dropforge_ir::{Array, Error, Result, ValueType};
use dropforge_runtime::Buffer;
use std::any::Any;
use std::sync::{Arc, Mutex, OnceLock};

/// Elements on the device. Small outputs that went to the host with their step get memory of the device only when
/// somebody asks for it there.
pub struct CudaBuffer {
    pub gpu: Arc<Gpu>,
    ty: ValueType,
    piece: OnceLock<Piece>,
    /// What it is for, if that is known, such as `state fc1.weight`.
    name: OnceLock<Arc<str>>,
    /// A copy that went to the host with the step that made the elements, and where it begins there.
    early: Mutex<Option<(Arc<Readback>, u64)>>,
}

impl CudaBuffer {
    /// Zeroed memory for a value.
    pub fn zeroed(gpu: &Arc<Gpu>, ty: &ValueType) -> Result<CudaBuffer> {
        let what: Arc<str> = ty.to_string().into();
        gpu.check("allocate", &what)?;
        let piece = Piece::allocate(gpu, &what, stored_bytes(ty, gpu.printing))?;
        if piece.used_before() {
            let cleared = gpu.connection.clear(&piece.memory, piece.offset(), piece.bytes());
            gpu.told("allocate", &what, cleared)?;
        }
        let gpu = Arc::clone(gpu);
        Ok(CudaBuffer {
            gpu,
            ty: ty.clone(),
            piece: piece.into(),
            name: OnceLock::new(),
            early: Mutex::new(None),
        })
    }

    /// Memory for an output that is about to be written.
    pub fn output(gpu: &Arc<Gpu>, ty: &ValueType, name: &Arc<str>) -> Result<CudaBuffer> {
        let piece = Piece::allocate(gpu, name, stored_bytes(ty, gpu.printing))?.into();
        let (gpu, name) = (Arc::clone(gpu), Arc::clone(name).into());
        Ok(CudaBuffer { gpu, ty: ty.clone(), piece, name, early: Mutex::new(None) })
    }

    /// An output that is to come back with its step.
    pub fn early(gpu: &Arc<Gpu>, ty: &ValueType, name: &Arc<str>) -> CudaBuffer {
        let (gpu, name) = (Arc::clone(gpu), Arc::clone(name).into());
        CudaBuffer { gpu, ty: ty.clone(), piece: OnceLock::new(), name, early: Mutex::new(None) }
    }

    /// Its memory on the device, with the elements in it.
    pub fn piece(&self) -> Result<&Piece> {
        // Whoever else asks waits, so that there is one piece.
        let early = lock(&self.early);
        if let Some(piece) = self.piece.get() {
            return Ok(piece);
        }
        let what: Arc<str> = self.describe().into();
        let bytes = stored_bytes(&self.ty, self.gpu.printing);
        let piece = Piece::allocate(&self.gpu, &what, bytes)?;
        if let Some((readback, offset)) = &*early {
            let range = *offset as usize..(*offset + bytes) as usize;
            let stored = readback.read(|all| all.get(range).unwrap_or_default().to_vec());
            let sent = stored.and_then(|stored| self.gpu.upload(&stored, &piece.memory, piece.offset()));
            self.gpu.told("read", &what, sent)?;
        }
        Ok(self.piece.get_or_init(|| piece))
    }

    /// Says that the elements are already on their way to the host, and where they begin there.
    pub fn set_early(&mut self, readback: Arc<Readback>, offset: u64) {
        self.early = Mutex::new(Some((readback, offset)));
    }

    /// Binds it to a program as this state: from then on it changes by itself.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn become_state(&self, name: &str) -> Result<()> {
        let what: Arc<str> = format!("state {name}").into();
        self.piece()?.rename(&what);
        lock(&self.early).take();
        // The first program that it was bound to names it.
        let _ = self.name.set(what);
        Ok(())
    }

    /// What it is, for errors.
    fn describe(&self) -> String {
        match self.name.get() {
            Some(name) => format!("{name} {}", self.ty),
            None => self.ty.to_string(),
        }
    }

    fn array(&self, stored: &[u8]) -> Result<Array> {
        to_array(&self.ty, self.gpu.printing, stored)
            .ok_or_else(|| Error::new("read", format!("{}: too few bytes came back", self.describe())))
    }
}

impl Buffer for CudaBuffer {
    fn ty(&self) -> &ValueType {
        &self.ty
    }

    fn read(&self) -> Result<Array> {
        let gpu = &self.gpu;
        let bytes = stored_bytes(&self.ty, gpu.printing);
        if bytes == 0 {
            return Ok(Array::zeros(&self.ty));
        }
        let early = lock(&self.early).clone();
        if let Some((readback, offset)) = early {
            let range = offset as usize..(offset + bytes) as usize;
            let read = readback.read(|all| self.array(all.get(range).unwrap_or_default()));
            return gpu.told("read", &self.describe(), read)?;
        }
        gpu.check("read", &self.describe())?;
        let piece = self.piece()?;
        let stored = gpu.download(&piece.memory, piece.offset(), bytes);
        self.array(&gpu.told("read", &self.describe(), stored)?)
    }

    fn write(&self, array: &Array) -> Result<()> {
        if array.shape() != &self.ty.shape || array.data().dtype() != self.ty.dtype {
            let message = format!("the buffer is {}, got {}", self.describe(), array.ty());
            return Err(Error::new("write", message));
        }
        let gpu = &self.gpu;
        gpu.check("write", &self.describe())?;
        let piece = self.piece()?;
        lock(&self.early).take();
        let mut stored = Vec::new();
        append(array.data(), gpu.printing, &mut stored);
        gpu.told("write", &self.describe(), gpu.upload(&stored, &piece.memory, piece.offset()))
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}
