//! What every device offers: buffers that stay, and executables that run a whole step in one call.

use crate::statistics::MemoryStatistics;
use dropforge_ir::{Array, Error, Program, Result, ValueType};
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

    /// Replaces the elements.
    ///
    /// # Errors
    /// If the type or shape differs, or the device fails.
    fn write(&self, array: &Array) -> Result<()>;

    /// For the device to find its own buffers again.
    fn as_any(&self) -> &dyn Any;

    /// As `as_any`, for those that keep the buffer.
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
}

/// What a device chose where kernels can be computed in several ways that differ in speed and rounding, such as tiles of
/// products: a word for each class of kernels. Both mean something to this sort of device only.
pub type Choices = BTreeMap<String, String>;

/// A program that is ready to run, bound to its states.
pub trait Executable: Send {
    /// Runs the whole step: reads inputs and states, writes states, returns the outputs in the program's order. The
    /// outputs may still be on their way when this returns; reading one waits.
    ///
    /// # Errors
    /// If the inputs or hyperparameters do not fit the program, or the device fails. States are then unchanged or
    /// their contents lost, never half a step that looks whole.
    fn run(&mut self, inputs: &[Argument<'_>], hypers: &[f32]) -> Result<Vec<BufferRef>>;

    /// Bytes of intermediate values at the fullest moment of a step.
    fn peak_bytes(&self) -> usize;

    /// A listing for people: kernels, what each fused, memory.
    fn explain(&self) -> String;

    /// Takes the time of each kernel from the next run on.
    fn start_profile(&mut self) {}

    /// What profiling found, for people: time per kernel, its share and its rate. Empty where a device cannot tell.
    fn profile(&self) -> String {
        String::new()
    }
}

/// A place where programs run.
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

    /// Bounds the bytes that buffers and programs may take of the device's memory together; `None` lifts the bound. What is
    /// held already stays, even if it is more; an allocation beyond the bound fails, and says what is held.
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

    /// Compiles a program (passes included) and binds it to its states, in the order of `program.states`.
    ///
    /// # Errors
    /// If the program is not valid, or a state's buffer has another type or belongs to another device.
    fn load(&self, program: &Program, states: &[BufferRef]) -> Result<Box<dyn Executable>>;

    /// As [`Device::load`], with the choices that `choices` names; those that the device makes itself are added. Who keeps
    /// them can load the same programs later, in another process, and get the same bits. A choice that the device does not
    /// know, or that does not fit, is made anew.
    ///
    /// # Errors
    /// As [`Device::load`].
    fn load_with(
        &self,
        program: &Program,
        states: &[BufferRef],
        choices: &mut Choices,
    ) -> Result<Box<dyn Executable>> {
        // Where nothing is chosen, nothing has to be kept.
        let _ = choices;
        self.load(program, states)
    }
}
