//! Fields of a batch as a program takes them.

use super::batch::Batch;
use crate::error::Result;
use crate::tensor::node::Source;
use crate::tensor::{Runtime, Tensor};
use dropforge_ir::{Array, DType, Shape};
use dropforge_runtime::{Argument, BufferRef};
use std::sync::Arc;

/// A field of a batch as a program takes it.
pub(crate) enum Input<'a> {
    Host(Arc<Array>),
    /// On the host, in memory of whoever runs the program.
    Lent(&'a Array),
    Device(BufferRef),
}

impl Input<'_> {
    /// The elements of a field: where they are if that is the host or the device of `runtime`, else brought to the
    /// host.
    pub fn of(field: &Tensor, runtime: &Runtime) -> Result<Input<'static>> {
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

    /// The elements, where they are on the host.
    pub fn on_host(&self) -> Option<&Array> {
        match self {
            Input::Host(array) => Some(array),
            Input::Lent(array) => Some(array),
            Input::Device(_) => None,
        }
    }

    /// As an argument of a run.
    pub fn argument(&self) -> Argument<'_> {
        match self {
            Input::Host(array) => Argument::Host(array),
            Input::Lent(array) => Argument::Host(array),
            Input::Device(buffer) => Argument::Device(buffer),
        }
    }
}

/// What a program can be run on: named fields, wherever their elements are.
pub(crate) trait Inputs {
    /// The names, in order.
    fn names(&self) -> impl Iterator<Item = &str>;

    /// Element type and shape of a field, with the samples in front.
    fn ty(&self, place: usize) -> Result<(DType, &Shape)>;

    /// The elements of a field for a program on the device of `runtime`.
    fn input(&self, place: usize, runtime: &Runtime) -> Result<Input<'_>>;
}

impl Inputs for Batch {
    fn names(&self) -> impl Iterator<Item = &str> {
        Batch::names(self)
    }

    fn ty(&self, place: usize) -> Result<(DType, &Shape)> {
        let value = &self.fields()[place].value;
        match value.error() {
            Some(error) => Err(error),
            None => Ok((value.ty().dtype, &value.ty().shape)),
        }
    }

    fn input(&self, place: usize, runtime: &Runtime) -> Result<Input<'_>> {
        Input::of(&self.fields()[place].value, runtime)
    }
}

/// A list without elements, in the memory of another one.
pub(super) fn emptied<A, B>(list: Vec<A>) -> Vec<B> {
    // Elements of equal size are collected in place.
    list.into_iter().filter_map(|_| None).collect()
}
