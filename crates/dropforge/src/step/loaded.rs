//! Batches of a loader as batches of a step, in the same memory.

use super::batch::Batch;
use crate::nn::trace::own_port;
use crate::tensor::Tensor;
use dropforge_data::transform::NUMBERS;
use dropforge_data::{Description, INPUT, TARGET, Values};
use dropforge_ir::{Array, DType, Data, F16, Shape, ValueType};
use std::borrow::Cow;
use std::sync::Arc;

impl From<dropforge_data::HostBatch> for Batch {
    fn from(batch: dropforge_data::HostBatch) -> Batch {
        let (len, description) = (batch.len(), batch.description().clone());
        let fields = description.fields.iter().zip(batch.into_arrays());
        fields.fold(Batch::new(), |all, (field, values)| {
            let shape: Shape = std::iter::once(len).chain(field.shape.iter().copied()).collect();
            let tensor = match Array::new(shape.clone(), elements(values)) {
                Some(array) => Tensor::from_array(array),
                // A loader makes whole samples only.
                None => Tensor::zeros(shape),
            };
            all.with(name(&field.name), tensor)
        })
    }
}

impl Batch {
    /// What batches of samples like these look like, for tracing.
    pub(crate) fn like(description: &Description, len: usize) -> Batch {
        description.fields.iter().fold(Batch::new(), |all, field| {
            let shape: Shape = std::iter::once(len).chain(field.shape.iter().copied()).collect();
            all.with(name(&field.name), own_port(ValueType::new(data_type(field.dtype), shape)))
        })
    }

    /// The memory of the loader's batch that this was made of, to be read into again; `None` if something else holds on to
    /// it.
    pub(crate) fn into_spare(
        self,
        description: &Arc<Description>,
        index: usize,
    ) -> Option<dropforge_data::HostBatch> {
        let memory = |tensor: Tensor| values(tensor.into_data()?.into_data());
        let arrays = self.into_tensors().map(memory).collect::<Option<Vec<Values>>>()?;
        Some(dropforge_data::HostBatch::spare(description.clone(), arrays, index))
    }
}

/// The usual names take no memory.
fn name(name: &str) -> Cow<'static, str> {
    match [INPUT, TARGET, NUMBERS].into_iter().find(|known| *known == name) {
        Some(known) => known.into(),
        None => name.to_string().into(),
    }
}

/// The element type of a field in a program.
fn data_type(dtype: dropforge_data::ElementType) -> DType {
    match dtype {
        dropforge_data::ElementType::F32 => DType::F32,
        dropforge_data::ElementType::F16 => DType::F16,
        dropforge_data::ElementType::I32 => DType::I32,
        dropforge_data::ElementType::U32 => DType::U32,
        dropforge_data::ElementType::U8 => DType::U8,
        dropforge_data::ElementType::Bool => DType::Bool,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_to_the_loader() {
        let (data, _) = dropforge_data::digits(20, 1, 1);
        let options = dropforge_data::LoaderOptions { batch: 8, ..Default::default() };
        let loader = dropforge_data::Loader::new(Arc::new(data), options).unwrap();
        let loaded = loader.epoch(0, 0).next().unwrap().unwrap();
        let (description, expected) = (loaded.description().clone(), loaded.clone());
        let batch = Batch::from(loaded);
        assert_eq!(batch.samples().unwrap(), 8);
        assert_eq!(batch.get("input").shape().to_vec(), [8, 1, 28, 28]);
        let held = batch.get("input");
        assert!(batch.clone().into_spare(&description, 0).is_none(), "two batches share the memory");
        assert!(batch.into_spare(&description, 0).is_none(), "a tensor holds on to it");
        drop(held);
        let spare = Batch::from(expected.clone()).into_spare(&description, 3).unwrap();
        assert_eq!(spare.into_arrays(), expected.into_arrays());
    }
}
