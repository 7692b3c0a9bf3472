//! What a step can be given.

use crate::error::{Error, Result};
use crate::tensor::{IntoShape, Tensor};
use dropforge_data::{Batch, Targets};
use dropforge_ir::{Array, DType, Data, Shape, ValueType};
use std::sync::Arc;

/// The type of one sample without the batch axis: a shape means f32, a [`ValueType`] any element type.
pub trait IntoSample {
    /// Element type and shape.
    fn into_sample(self) -> ValueType;
}

impl<S: IntoShape> IntoSample for S {
    fn into_sample(self) -> ValueType {
        ValueType::new(DType::F32, self.into_shape())
    }
}

impl IntoSample for ValueType {
    fn into_sample(self) -> ValueType {
        self
    }
}

/// Inputs and targets on the host, each with the batch as first axis.
#[derive(Clone, Debug)]
pub struct Batched {
    /// Inputs of all samples.
    pub inputs: Arc<Array>,
    /// Targets of all samples.
    pub targets: Arc<Array>,
}

/// What a step can be given: pairs of tensors or arrays, and batches of a loader. Only a loader's batch needs the sample
/// types to find its shape.
pub trait IntoBatch {
    /// The batch; `input` and `target` are the types of one sample.
    ///
    /// # Errors
    /// If the count of elements does not fit, or a tensor cannot be read.
    fn into_batch(self, input: &ValueType, target: &ValueType) -> Result<Batched>;
}

impl IntoBatch for Batched {
    fn into_batch(self, _: &ValueType, _: &ValueType) -> Result<Batched> {
        Ok(self)
    }
}

impl IntoBatch for &Batched {
    fn into_batch(self, _: &ValueType, _: &ValueType) -> Result<Batched> {
        Ok(self.clone())
    }
}

impl IntoBatch for (Array, Array) {
    fn into_batch(self, _: &ValueType, _: &ValueType) -> Result<Batched> {
        Ok(Batched { inputs: Arc::new(self.0), targets: Arc::new(self.1) })
    }
}

impl IntoBatch for (&Tensor, &Tensor) {
    fn into_batch(self, _: &ValueType, _: &ValueType) -> Result<Batched> {
        Ok(Batched { inputs: host(self.0)?, targets: host(self.1)? })
    }
}

impl IntoBatch for &(Tensor, Tensor) {
    fn into_batch(self, _: &ValueType, _: &ValueType) -> Result<Batched> {
        Ok(Batched { inputs: host(&self.0)?, targets: host(&self.1)? })
    }
}

impl IntoBatch for Batch {
    fn into_batch(self, input: &ValueType, target: &ValueType) -> Result<Batched> {
        let targets = match self.targets {
            Targets::Classes(classes) => Data::I32(classes),
            Targets::Values(values) => Data::F32(values),
        };
        let inputs = shaped("inputs", self.len, input, Data::F32(self.inputs))?;
        Ok(Batched { inputs, targets: shaped("targets", self.len, target, targets)? })
    }
}

impl IntoBatch for &Batch {
    fn into_batch(self, input: &ValueType, target: &ValueType) -> Result<Batched> {
        self.clone().into_batch(input, target)
    }
}

fn host(tensor: &Tensor) -> Result<Arc<Array>> {
    match tensor.host_data() {
        Some(array) => Ok(array),
        None => Ok(Arc::new(tensor.to_array()?)),
    }
}

fn shaped(what: &str, len: usize, sample: &ValueType, data: Data) -> Result<Arc<Array>> {
    let shape = batched(len, &sample.shape);
    let (count, dtype) = (data.len(), data.dtype());
    let array = Array::new(shape.clone(), data).filter(|_| dtype == sample.dtype);
    array.map(Arc::new).ok_or_else(|| {
        Error::new(format!("the {what} must be {}{shape}, got {count} elements of {dtype}", sample.dtype))
    })
}

/// A shape with the batch in front.
pub(crate) fn batched(len: usize, sample: &Shape) -> Shape {
    std::iter::once(len).chain(sample.iter().copied()).collect()
}

/// The batch size of a value and the type of one sample; `None` without a batch axis.
pub(crate) fn unbatched(ty: &ValueType) -> Option<(usize, ValueType)> {
    let (&len, sample) = ty.shape.split_first()?;
    Some((len, ValueType::new(ty.dtype, sample)))
}
