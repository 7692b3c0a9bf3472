//! What a step can be given.

use crate::error::{Error, Result};
use crate::tensor::{IntoShape, Tensor};
use dropforge_data::{Batch, Description, INPUT, TARGET, Values};
use dropforge_ir::{Array, DType, Data, F16, Shape, ValueType};
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

impl Batched {
    /// The memory of a loader's batch that this was made of, to be read into again; `None` if something else holds on to
    /// it, or if the batch had further fields.
    pub(crate) fn into_spare(self, description: &Arc<Description>, index: usize) -> Option<Batch> {
        let names = description.fields.iter().map(|field| field.name.as_str());
        if !names.eq([INPUT, TARGET]) {
            return None;
        }
        let memory = |array: Arc<Array>| values(Arc::try_unwrap(array).ok()?.into_data());
        let arrays = vec![memory(self.inputs)?, memory(self.targets)?];
        Some(Batch::spare(description.clone(), arrays, index))
    }
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
        let (len, description) = (self.len(), self.description().clone());
        let mut arrays = self.into_arrays();
        let mut take = |name: &str, sample: &ValueType| {
            let position = description.fields.iter().position(|field| field.name == name);
            let missing = || Error::new(format!("{}: samples have no field `{name}`", description.name));
            let array = &mut arrays[position.ok_or_else(missing)?];
            shaped(name, len, sample, elements(std::mem::replace(array, Values::F32(Vec::new()))))
        };
        Ok(Batched { inputs: take(INPUT, input)?, targets: take(TARGET, target)? })
    }
}

/// The element type of a field in a program.
pub(crate) fn data_type(dtype: dropforge_data::DType) -> DType {
    match dtype {
        dropforge_data::DType::F32 => DType::F32,
        dropforge_data::DType::F16 => DType::F16,
        dropforge_data::DType::I32 => DType::I32,
        dropforge_data::DType::U32 => DType::U32,
        dropforge_data::DType::U8 => DType::U8,
        dropforge_data::DType::Bool => DType::Bool,
    }
}

/// The elements of a field for a program, in the same memory.
fn elements(values: Values) -> Data {
    match values {
        Values::F32(values) => Data::F32(values),
        // Elements of equal size are collected in place.
        Values::F16(bits) => Data::F16(bits.into_iter().map(F16::from_bits).collect()),
        Values::I32(values) => Data::I32(values),
        Values::U32(values) => Data::U32(values),
        Values::U8(values) => Data::U8(values),
        Values::Bool(values) => Data::Bool(values.into_iter().map(u8::from).collect()),
    }
}

/// The same memory as elements of a field again; `None` for a type that no field has.
fn values(data: Data) -> Option<Values> {
    Some(match data {
        Data::F32(values) => Values::F32(values),
        Data::F16(values) => Values::F16(values.into_iter().map(F16::to_bits).collect()),
        Data::BF16(_) => return None,
        Data::I32(values) => Values::I32(values),
        Data::U32(values) => Values::U32(values),
        Data::U8(values) => Values::U8(values),
        Data::Bool(values) => Values::Bool(values.into_iter().map(|x| x != 0).collect()),
    })
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
