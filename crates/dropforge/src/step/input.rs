//! Fields of a batch as a program takes them.

use crate::error::Result;
use crate::tensor::node::Source;
use crate::tensor::{Runtime, Tensor};
use dropforge_ir::Array;
use dropforge_runtime::{Argument, BufferRef};
use std::sync::Arc;

/// A field of a batch as a program takes it.
pub(super) enum Input {
    Host(Arc<Array>),
    Device(BufferRef),
}

impl Input {
    /// The elements of a field: where they are if that is the host or the device of `runtime`, else brought to the host.
    pub fn of(field: &Tensor, runtime: &Runtime) -> Result<Input> {
        if let Source::Data(array) = field.node.source() {
            return Ok(Input::Host(array));
        }
        if field.node.placed().is_none() {
            field.evaluate()?;
        }
        match field.node.placed() {
            Some(placed) if placed.runtime.is(runtime) => Ok(Input::Device(placed.buffer)),
            _ => Ok(Input::Host(Arc::new(field.to_array()?))),
        }
    }

    /// As an argument of a run.
    pub fn argument(&self) -> Argument<'_> {
        match self {
            Input::Host(array) => Argument::Host(array),
            Input::Device(buffer) => Argument::Device(buffer),
        }
    }
}
