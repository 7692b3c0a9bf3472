//! Batches of a loader as batches of a step, in the same memory.

use super::batch::Batch;
use super::input::{Input, Inputs};
use crate::error::{Error, Result};
use crate::nn::trace::own_port;
use crate::tensor::{Runtime, Tensor};
use dropforge_data::transform::NUMBERS;
use dropforge_data::{Description, INPUT, ROW, TARGET, Values};
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
}

/// Batches of a loader for a program, one after another, in the same memory, which goes back to the loader.
#[derive(Default)]
pub(crate) struct Feed {
    description: Option<Arc<Description>>,
    /// The fields of the batch that is in it.
    arrays: Vec<Array>,
    /// Their shapes while none is.
    shapes: Vec<Shape>,
    /// Where the loader had them.
    list: Vec<Values>,
    index: usize,
}

impl Feed {
    /// Takes a batch, in place of the one before.
    pub fn fill(&mut self, batch: dropforge_data::HostBatch) -> Result<()> {
        let (len, index, description) = (batch.len(), batch.index(), batch.description().clone());
        self.list = batch.into_arrays();
        self.arrays.clear();
        let mut shapes = self.shapes.drain(..);
        for (field, values) in description.fields.iter().zip(self.list.drain(..)) {
            let is_same = |shape: &Shape| {
                shape.split_first().is_some_and(|(first, rest)| *first == len && *rest == *field.shape)
            };
            let shape = match shapes.next().filter(is_same) {
                Some(shape) => shape,
                None => std::iter::once(len).chain(field.shape.iter().copied()).collect(),
            };
            let whole = Array::new(shape, elements(values));
            self.arrays.push(whole.ok_or_else(|| Error::data("a batch has samples that are not whole"))?);
        }
        drop(shapes);
        (self.description, self.index) = (Some(description), index);
        Ok(())
    }

    /// The memory of the batch, to be read into again.
    pub fn take_back(&mut self) -> Option<dropforge_data::HostBatch> {
        let description = self.description.take()?;
        let mut list = std::mem::take(&mut self.list);
        for array in self.arrays.drain(..) {
            let (shape, data) = array.into_parts();
            self.shapes.push(shape);
            list.push(values(data)?);
        }
        Some(dropforge_data::HostBatch::spare(description, list, self.index))
    }

    /// The batch as tensors that stay.
    pub fn to_batch(&self) -> Batch {
        let fields = self.description.iter().flat_map(|about| &about.fields).zip(&self.arrays);
        fields.fold(Batch::new(), |all, (field, array)| all.with(name(&field.name), array))
    }
}

impl Inputs for Feed {
    fn names(&self) -> impl Iterator<Item = &str> {
        self.description.iter().flat_map(|about| &about.fields).map(|field| field.name.as_str())
    }

    fn ty(&self, place: usize) -> Result<(DType, &Shape)> {
        let array = &self.arrays[place];
        Ok((array.data().dtype(), array.shape()))
    }

    fn input(&self, place: usize, _: &Runtime) -> Result<Input<'_>> {
        Ok(Input::Lent(&self.arrays[place]))
    }
}

/// The usual names take no memory.
fn name(name: &str) -> Cow<'static, str> {
    match [INPUT, TARGET, NUMBERS, ROW].into_iter().find(|known| *known == name) {
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
pub(super) fn elements(values: Values) -> Data {
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
        let batches: Vec<_> = loader.epoch(0, 0).map(|batch| batch.unwrap()).collect();
        let mut feed = Feed::default();
        for batch in batches {
            let (index, len, pointer) = (batch.index(), batch.len(), address(batch.get("input").unwrap()));
            let same = Batch::from(batch.clone());
            let expected = batch.clone().into_arrays();
            feed.fill(batch).unwrap();
            assert_eq!(feed.ty(0).unwrap().1[..], [len, 1, 28, 28]);
            assert_eq!(feed.names().collect::<Vec<_>>(), same.names().collect::<Vec<_>>());
            let target = |batch: &Batch| batch.get("target").to_array().unwrap();
            assert_eq!(target(&feed.to_batch()), target(&same));
            let back = feed.take_back().unwrap();
            assert_eq!((back.index(), address(back.get("input").unwrap())), (index, pointer));
            assert_eq!(back.into_arrays(), expected);
            assert!(feed.take_back().is_none());
        }
    }

    fn address(values: &Values) -> *const f32 {
        values.slice::<f32>().unwrap().as_ptr()
    }
}
