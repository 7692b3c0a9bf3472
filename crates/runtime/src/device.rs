//! What every device offers: buffers that stay, and plans that run a whole step in one call.

use crate::binding::{Arguments, Binding};
use crate::pipeline::Options;
use crate::profile::{Peak, Times};
use crate::statistics::MemoryStatistics;
use dropforge_ir::{Array, DType, Error, Result, ValueType};
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Memory of a device that outlives runs. Clones share it.
pub type BufferRef = Arc<dyn Buffer>;

/// A typed piece of device memory.
pub trait Buffer: Send + Sync {
    /// Type and shape.
    fn ty(&self) -> &ValueType;

    /// Copies the elements to the host, after everything that was started before.
    ///
    /// # Errors
    /// If the device fails.
    fn read(&self) -> Result<Array>;

    /// As [`Buffer::read`], into memory of the caller, which is as large: for what is read in every step.
    ///
    /// # Errors
    /// As [`Buffer::read`], or the memory has another size.
    fn read_into(&self, bytes: &mut [u8]) -> Result<()> {
        let array = self.read()?;
        match array.data().bytes() {
            read if read.len() == bytes.len() => bytes.copy_from_slice(read),
            read => return Err(wrong_size(read.len(), bytes.len())),
        }
        Ok(())
    }

    /// Replaces the elements.
    ///
    /// # Errors
    /// If the type or shape differs, or the device fails.
    fn write(&self, array: &Array) -> Result<()>;

    /// For a device to find its own buffers again: see [`own`].
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// One input of a run.
pub enum Argument<'a> {
    /// Elements that still lie on the host.
    Host(&'a Array),
    /// Elements that lie on the device already.
    Device(&'a BufferRef),
}

impl Argument<'_> {
    /// Type and shape of the elements.
    pub fn ty(&self) -> ValueType {
        match self {
            Argument::Host(array) => array.ty(),
            Argument::Device(buffer) => buffer.ty().clone(),
        }
    }

    /// Whether the elements have this type and shape.
    pub fn is(&self, ty: &ValueType) -> bool {
        match self {
            Argument::Host(array) => *array.shape() == ty.shape && array.data().dtype() == ty.dtype,
            Argument::Device(buffer) => buffer.ty() == ty,
        }
    }
}

/// What a device chose where kernels can be computed in several ways that differ in speed and rounding, such as tiles
/// of products: a word for each class of kernels. Both mean something to this sort of device only.
pub type Choices = BTreeMap<String, String>;

/// A plan that a device has loaded, bound to its states.
pub trait Loaded: Send {
    /// Runs the whole plan once and returns the program's outputs; see [`Executable::run`](crate::Executable::run).
    ///
    /// # Errors
    /// If an input lies on a device that it cannot be read from, or the device fails. States are then unchanged or
    /// their contents lost, never half a step that looks whole.
    fn run(&mut self, arguments: &Arguments<'_>) -> Result<Vec<BufferRef>>;

    /// As [`Loaded::run`], with the outputs in a list of the caller that was empty, so that a step need not take memory
    /// for it.
    ///
    /// # Errors
    /// As [`Loaded::run`].
    fn run_into(&mut self, arguments: &Arguments<'_>, outputs: &mut Vec<BufferRef>) -> Result<()> {
        outputs.extend(self.run(arguments)?);
        Ok(())
    }

    /// Bytes of intermediate values at the fullest moment of a run.
    fn peak_bytes(&self) -> usize;

    /// What there is to say of a kernel of the plan in listings, such as which of several ways computes it.
    fn note(&self, kernel: usize) -> String {
        let _ = kernel;
        String::new()
    }

    /// Lines that end a listing.
    fn remark(&self) -> String {
        String::new()
    }

    /// Takes the time of each kernel from the next run on.
    fn start_profile(&mut self) {}

    /// The times taken so far; `None` where the device cannot tell.
    fn times(&self) -> Option<Times> {
        None
    }

    /// What the device reaches at best, measured when it is first asked for; `None` where that cannot be measured.
    fn peak(&self) -> Option<Peak> {
        None
    }
}

/// A place where plans run.
pub trait Device: Send + Sync {
    /// Name for people, such as `cpu (2 threads, AVX-512)`.
    fn name(&self) -> String;

    /// Whether it is a GPU, or a program that stands in for one.
    fn is_gpu(&self) -> bool {
        false
    }

    /// What is held of the device's memory; `None` where the device does not count it.
    fn memory_statistics(&self) -> Option<MemoryStatistics> {
        None
    }

    /// Bounds the bytes that buffers and programs may take of the device's memory together; `None` lifts the bound.
    /// What is held already stays, even if it is more; an allocation beyond the bound fails, and says what is held.
    ///
    /// # Errors
    /// If the device does not count its memory.
    fn limit_memory(&self, bytes: Option<u64>) -> Result<()> {
        match bytes {
            None => Ok(()),
            Some(_) => Err(Error::new(
                "memory limit",
                format!("{} does not count its memory; a limit needs a GPU", self.name()),
            )),
        }
    }

    /// Memory for a value, zeroed.
    ///
    /// # Errors
    /// If there is not enough memory; the message says what was asked for.
    fn allocate(&self, ty: &ValueType) -> Result<BufferRef>;

    /// What is to happen to programs before they are planned for this device.
    fn options(&self) -> Options {
        Options::default()
    }

    /// The half type in which products of large networks are faster here than in f32, if there is one; and why, or why
    /// not, as a sentence for people.
    fn faster_half(&self) -> (Option<DType>, String) {
        (None, format!("{} computes products of halves no faster than those of f32", self.name()))
    }

    /// Prepares a plan for running. Choices that `choices` names are followed where they fit; those that the device
    /// makes itself are added. Programs come here through [`load`](crate::load).
    ///
    /// # Errors
    /// If a state belongs to another device, or the device lacks memory or something that the plan needs.
    fn load(&self, binding: &Binding<'_>, choices: &mut Choices) -> Result<Box<dyn Loaded>>;
}

/// Says that memory to read a buffer into is not as large as that.
pub fn wrong_size(buffer: usize, memory: usize) -> Error {
    Error::new("read", format!("the buffer has {buffer} bytes, the memory to read it into {memory}"))
}

/// The buffer as one of a sort, if it is.
pub fn own<T: Buffer + 'static>(buffer: &BufferRef) -> Option<Arc<T>> {
    let any: Arc<dyn Any + Send + Sync> = Arc::clone(buffer).into_any();
    any.downcast().ok()
}
