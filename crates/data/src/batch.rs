//! Samples in a row, and one of them while it is being written.

use std::sync::Arc;

use crate::values::{FieldElement, RowOf};
use crate::{Description, Error, Request, Result, Source, Value, Values};

/// Some samples in a row, ready to be copied to a device: an array for each field, in the order of the description.
#[derive(Clone, Debug, PartialEq)]
pub struct HostBatch {
    pub(crate) description: Arc<Description>,
    pub(crate) arrays: Vec<Values>,
    pub(crate) len: usize,
    pub(crate) index: usize,
}

impl HostBatch {
    /// An empty batch that samples of this description can be put into.
    pub(crate) fn empty(description: &Arc<Description>) -> HostBatch {
        let arrays = description.fields.iter().map(|field| Values::empty(field.dtype)).collect();
        HostBatch { description: description.clone(), arrays, len: 0, index: 0 }
    }

    /// A batch of arrays that were taken out of one with [`HostBatch::into_arrays`], so that a loader can use their
    /// memory again; their contents do not matter.
    pub fn spare(description: Arc<Description>, arrays: Vec<Values>, index: usize) -> HostBatch {
        HostBatch { description, arrays, len: 0, index }
    }

    /// How many samples there are. The last batch of an epoch may have fewer than the others; nothing is filled up.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The place of this batch in its epoch, from 0; skipped batches count.
    pub fn index(&self) -> usize {
        self.index
    }

    /// What a sample looks like.
    pub fn description(&self) -> &Arc<Description> {
        &self.description
    }

    /// A field of all samples, one after another, each row-major.
    pub fn get(&self, field: &str) -> Option<&Values> {
        self.arrays.get(self.description.position(field).ok()?)
    }

    /// The fields with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Values)> {
        self.description.fields.iter().map(|field| field.name.as_str()).zip(&self.arrays)
    }

    /// The fields alone, in order.
    pub fn into_arrays(self) -> Vec<Values> {
        self.arrays
    }

    /// Makes room for `len` samples of these sizes; whatever is there is from others, or zero.
    pub(crate) fn resize(&mut self, len: usize, layout: &[usize]) {
        self.len = len;
        self.arrays.iter_mut().zip(layout).for_each(|(array, elements)| array.resize(len * elements));
    }

    /// A sample that is to be written.
    pub(crate) fn sample<'a>(&'a mut self, row: usize, layout: &'a [usize]) -> Sample<'a> {
        Sample { description: &self.description, arrays: &mut self.arrays, layout, row }
    }
}

/// One sample while a [`Source`] writes it: a row of each field.
pub struct Sample<'a> {
    description: &'a Description,
    arrays: &'a mut [Values],
    layout: &'a [usize],
    row: usize,
}

impl Sample<'_> {
    /// What it looks like.
    pub fn description(&self) -> &Description {
        self.description
    }

    /// The elements of a field, to be written in place.
    ///
    /// # Errors
    /// There is no such field, or it is of another type.
    pub fn get<T: FieldElement>(&mut self, field: &str) -> Result<&mut [T]> {
        let at = self.description.position(field)?;
        let (elements, dtype) = (self.layout[at], self.arrays[at].dtype());
        let Some(values) = T::of_mut(&mut self.arrays[at]) else {
            return Err(Error::new(format!(
                "{}: field {field} holds {dtype}, not {}",
                self.description.name,
                T::DTYPE
            )));
        };
        Ok(&mut values[self.row * elements..][..elements])
    }

    /// Writes a field; see [`Value`] for what goes into what.
    ///
    /// # Errors
    /// There is no such field, it has another number of elements, is of another type, or a number does not fit.
    pub fn write<T: Value>(&mut self, field: &str, values: &[T]) -> Result<()> {
        let at = self.description.position(field)?;
        self.write_at(at, values)
    }

    /// Writes the field of this number.
    pub(crate) fn write_at<T: Value>(&mut self, at: usize, values: &[T]) -> Result<()> {
        let elements = self.layout[at];
        let row = self.arrays[at].row(self.row * elements, elements);
        let named = |reason: String| {
            let field = &self.description.fields[at];
            Error::new(format!("{}: field {} {reason}", self.description.name, field.name))
        };
        if row.len() != values.len() {
            return Err(named(format!("has {elements} elements a sample, {} were given", values.len())));
        }
        T::write(values, RowOf(row)).map_err(named)
    }

    /// Every field, in arrays of its own.
    pub(crate) fn to_values(&self) -> Box<[Values]> {
        let fields = self.arrays.iter().zip(self.layout);
        fields.map(|(array, &elements)| array.part(self.row * elements, elements)).collect()
    }

    /// Appends the bytes of every field.
    pub(crate) fn write_bytes(&self, bytes: &mut Vec<u8>) {
        let fields = self.arrays.iter().zip(self.layout);
        fields.for_each(|(array, &elements)| array.write_bytes(self.row * elements, elements, bytes));
    }

    /// Takes every field from the bytes that [`Sample::write_bytes`] made.
    pub(crate) fn read_bytes(&mut self, mut bytes: &[u8]) {
        for (array, &elements) in self.arrays.iter_mut().zip(self.layout) {
            let (own, rest) = bytes.split_at((elements * array.dtype().size()).min(bytes.len()));
            array.read_bytes(self.row * elements, elements, own);
            bytes = rest;
        }
    }

    /// Copies a field from an array that holds whole samples of it.
    pub(crate) fn copy_at(&mut self, at: usize, from: &Values, sample: usize) {
        let elements = self.layout[at];
        self.arrays[at].copy(self.row * elements, from, sample * elements, elements);
    }
}

/// Reads one sample, as it is in epoch 0, into a batch of its own: to look at, or to predict from.
///
/// # Errors
/// The sample cannot be read, or has a number that is not finite or a class that does not exist.
pub fn read_one(source: &dyn Source, index: usize) -> Result<HostBatch> {
    let layout = source.description().layout()?;
    let mut batch = HostBatch::empty(&Arc::new(source.description().clone()));
    batch.resize(1, &layout);
    source.read(&Request::of(index), &mut batch.sample(0, &layout))?;
    check_row(&batch, &layout, 0, || crate::loader::named(source, index))?;
    Ok(batch)
}

/// Whether what a source has written can be trained on: a source may be someone else's.
pub(crate) fn check_row(
    batch: &HostBatch,
    layout: &[usize],
    row: usize,
    sample: impl Fn() -> String,
) -> Result<()> {
    for ((field, array), &elements) in batch.description.fields.iter().zip(&batch.arrays).zip(layout) {
        check_values(&batch.description.name, field, array, row * elements, elements, &sample)?;
    }
    Ok(())
}

/// Whether elements `start..start + len` of a field, which are those of one sample, are finite and in range.
pub(crate) fn check_values(
    name: &str,
    field: &crate::Field,
    array: &Values,
    start: usize,
    len: usize,
    sample: impl Fn() -> String,
) -> Result<()> {
    if let Some((at, number)) = array.not_finite(start, len) {
        return Err(Error::new(format!(
            "{name}: number {at} of the {} of {} is {number}; clean it or leave it out",
            field.name,
            sample()
        )));
    }
    let (Some(count), Values::I32(numbers)) = (field.count(), array) else { return Ok(()) };
    let outside = |number: &&i32| usize::try_from(**number).map_or(true, |number| number >= count);
    match numbers[start..start + len].iter().find(outside) {
        None => Ok(()),
        Some(number) => {
            let (what, many) = match field.classes() {
                Some(_) => ("label", "classes"),
                None => ("token", "tokens"),
            };
            Err(Error::new(format!(
                "{name}: {what} {number} of {} is out of range: there are {count} {many}, numbered from 0",
                sample()
            )))
        }
    }
}
