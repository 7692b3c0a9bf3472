//! What a training step gave.

use crate::error::{Error, Result};
use dropforge_ir::Data;
use dropforge_runtime::BufferRef;

/// What a training step gave. Reading waits for the step; not reading costs nothing.
pub struct Outcome {
    pub(super) loss: BufferRef,
    pub(super) gradient_norm: Option<BufferRef>,
    pub(super) samples: usize,
}

impl Outcome {
    /// The loss of the batch, before the update.
    ///
    /// # Errors
    /// If the device fails.
    pub fn loss(&self) -> Result<f32> {
        scalar(&self.loss)
    }

    /// The global norm of the gradients before clipping; `None` without clipping.
    ///
    /// # Errors
    /// If the device fails.
    pub fn gradient_norm(&self) -> Result<Option<f32>> {
        self.gradient_norm.as_ref().map(scalar).transpose()
    }

    /// How many samples the batch had.
    pub fn samples(&self) -> usize {
        self.samples
    }
}

fn scalar(buffer: &BufferRef) -> Result<f32> {
    match buffer.read()?.data() {
        Data::F32(values) if !values.is_empty() => Ok(values[0]),
        _ => Err(Error::new("the program gave no float where one was expected")),
    }
}
