//! Samples that stay on the device, of which a step picks its batch by their numbers.

use super::batch::Batch;
use super::loaded::elements;
use crate::error::{Error, Result};
use crate::tensor::node::{Place, apply};
use crate::tensor::{Runtime, Tensor};
use dropforge_data::{ROW, Source, TARGET, Whole, WholeField, digest, whole};
use dropforge_ir::{Array, BinaryKind, DType, Data, Op, Shape};
use std::panic::Location;
use std::sync::Arc;

/// Bytes in a word of the device, which stores each element in one.
const BYTES: usize = 4;

/// All samples that a step trains on, on its device.
#[derive(Clone)]
pub(crate) struct Resident(Arc<Samples>);

struct Samples {
    fields: Vec<Field>,
    /// Memory that they take.
    bytes: usize,
    /// What tells them from others.
    digest: Option<String>,
    /// The targets of all samples, which are looked at once.
    targets: Option<Array>,
    len: usize,
}

struct Field {
    name: String,
    /// Of one sample.
    shape: Shape,
    stored: Stored,
}

/// How a field lies on the device.
enum Stored {
    /// A row for each sample.
    Plain(Tensor),
    /// A row of words for each sample, four bytes in each, the lowest first; and the numbers that these stand for, 256
    /// for each channel.
    Packed { words: Tensor, numbers: Tensor },
}

impl Resident {
    /// Reads all samples by so many threads, and puts them on the device of a runtime.
    ///
    /// # Errors
    /// They cannot be kept, one cannot be read, or the device has no room for them.
    pub fn place(source: &Arc<dyn Source>, threads: usize, runtime: &Runtime) -> Result<Resident> {
        let name = source.description().name.clone();
        if source.is_random() {
            return Err(Error::data(format!(
                "{name}: its samples are others each time that they are read, so they cannot stay on the device"
            ))
            .advice(
                "make random changes in the step by Trainer::augment, or leave out on_device",
                "make random changes in the step by --augment-on device, or leave out --data-on-device",
            ));
        }
        let digest = digest(&**source);
        let Whole { description, len, fields } = whole(source.clone(), threads)?;
        let (mut placed, mut targets, mut bytes) = (Vec::new(), None, 0);
        for (about, field) in description.fields.iter().zip(fields) {
            let mut put = |rows: usize, data: Data| -> Result<Tensor> {
                let columns = data.len() / rows.max(1);
                let array = Array::new([rows, columns], data);
                let array = array.ok_or_else(|| Error::data("samples that are not whole"))?;
                bytes += array.ty().bytes();
                let placed = runtime.place(&array).map_err(|error| {
                    let what = format!("{name}: to keep {} of {len} samples on the device", about.name);
                    Error::from(error)
                        .context(what)
                        .advice("leave out on_device", "leave out --data-on-device")
                })?;
                Ok(Tensor::placed(placed, Place::new(None, Location::caller())))
            };
            let stored = match field {
                WholeField::Plain(values) => {
                    if about.name == TARGET {
                        let shape: Shape = std::iter::once(len).chain(about.shape.iter().copied()).collect();
                        targets = Array::new(shape, elements(values.clone()));
                    }
                    Stored::Plain(put(len, elements(values))?)
                }
                WholeField::Bytes { bytes, tables } => Stored::Packed {
                    words: put(len, Data::U32(words(&bytes, len)))?,
                    numbers: put(tables.len(), Data::F32(tables.into_iter().flatten().collect()))?,
                },
            };
            placed.push(Field { name: about.name.clone(), shape: about.shape.as_slice().into(), stored });
        }
        Ok(Resident(Arc::new(Samples { fields: placed, bytes, digest, targets, len })))
    }

    /// Memory of the device that they take.
    pub fn bytes(&self) -> usize {
        self.0.bytes
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// The targets of all samples; `None` where there are none.
    pub fn targets(&self) -> Option<&Array> {
        self.0.targets.as_ref()
    }

    /// Whether samples are those that lie on the device, as far as a few of them tell.
    pub fn holds(&self, source: &dyn Source) -> bool {
        !source.is_random() && digest(source) == self.0.digest
    }

    /// The batch with the samples whose numbers are in its field `row`.
    pub fn apply(&self, batch: Batch) -> Batch {
        let rows = batch.get(ROW);
        self.0.fields.iter().fold(batch, |batch, field| batch.with(field.name.clone(), field.pick(&rows)))
    }
}

impl Field {
    fn pick(&self, rows: &Tensor) -> Tensor {
        let samples = rows.elements();
        let shape: Shape = std::iter::once(samples).chain(self.shape.iter().copied()).collect();
        // The numbers come from the loader, which knows how many samples there are.
        let picked = |table: &Tensor| apply("batch", Op::Gather { axis: 0 }, &[table, rows]);
        match &self.stored {
            Stored::Plain(table) => picked(table).reshape(shape),
            Stored::Packed { words, numbers } => {
                let elements = self.shape.iter().product::<usize>();
                let count = words.shape()[1];
                let bytes = bytes_of(&picked(words));
                let bytes = bytes.reshape(vec![samples, count * BYTES]);
                let bytes = if count * BYTES == elements { bytes } else { bytes.slice(1, 0..elements) };
                let channels = numbers.shape()[0];
                let places = bytes.reshape(vec![samples, channels, elements / channels]);
                let places = if channels == 1 {
                    places
                } else {
                    places + (Tensor::arange(0, channels as i32) * 256).reshape(vec![1, channels, 1])
                };
                let numbers = numbers.reshape(vec![channels * 256]);
                apply("batch", Op::Gather { axis: 0 }, &[&numbers, &places]).reshape(shape)
            }
        }
    }
}

/// The four bytes of each word, as i32 along a new last axis.
fn bytes_of(words: &Tensor) -> Tensor {
    let mut shape = words.shape().to_vec();
    shape.push(1);
    let words = words.reshape(shape.clone());
    *shape.last_mut().expect("it was just added") = BYTES;
    let words = words.broadcast_to(shape.clone());
    let shifts = Tensor::from_vec(vec![0u32, 8, 16, 24], [1, 1, BYTES]).broadcast_to(shape.clone());
    let mask = Tensor::from_vec(vec![0xffu32], [1, 1, 1]).broadcast_to(shape);
    let shifted = apply("batch", Op::Binary { kind: BinaryKind::ShiftRight }, &[&words, &shifts]);
    apply("batch", Op::Binary { kind: BinaryKind::And }, &[&shifted, &mask]).cast(DType::I32)
}

/// Bytes of so many samples in words, each sample from a word of its own on.
fn words(bytes: &[u8], samples: usize) -> Vec<u32> {
    let row = (bytes.len() / samples.max(1)).max(1);
    let word = |bytes: &[u8]| {
        let mut whole = [0; BYTES];
        whole[..bytes.len()].copy_from_slice(bytes);
        u32::from_le_bytes(whole)
    };
    bytes.chunks(row).flat_map(|sample| sample.chunks(BYTES).map(word)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_lie_in_words_and_come_back() {
        // Rows of five bytes, two words each.
        let bytes: Vec<u8> = (0..15).map(|i| (i * 17) as u8).collect();
        let words = words(&bytes, 3);
        assert_eq!((words.len(), words[1]), (6, u32::from(bytes[4])));
        let words = Tensor::from_vec(words, [3, 2]);
        let found = bytes_of(&words).reshape([3, 8]).slice(1, 0..5).to_vec::<i32>().unwrap();
        assert!(found.iter().zip(&bytes).all(|(&found, &byte)| found == i32::from(byte)), "{found:?}");
    }
}
