//! What a training step gave.

use super::build::verify;
use crate::error::{Error, Result};
use crate::tensor::check::IndexCheck;
use dropforge_ir::{DType, ValueType};
use dropforge_runtime::BufferRef;

/// What a training step gave. Reading waits for the step; not reading costs nothing.
pub struct Outcome {
    pub(super) loss: BufferRef,
    pub(super) gradient_norm: Option<BufferRef>,
    pub(super) samples: usize,
    /// What the step found out about indices, where nobody has looked at it yet.
    pub(super) checks: Vec<(IndexCheck, BufferRef)>,
}

impl Outcome {
    /// The loss of the batch, before the update.
    ///
    /// # Errors
    /// An index or class that was computed in the step, or lay on the device, was out of range; or the device fails.
    pub fn loss(&self) -> Result<f32> {
        verify(self.checks.iter().map(|(check, found)| (check, found)))?;
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
    if *buffer.ty() != ValueType::scalar(DType::F32) {
        return Err(Error::program("the program gave no float where one was expected"));
    }
    let mut bytes = [0; 4];
    buffer.read_into(&mut bytes)?;
    Ok(f32::from_ne_bytes(bytes))
}
