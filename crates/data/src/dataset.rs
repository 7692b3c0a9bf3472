//! A data set held in memory.

use std::ops::Range;
use std::sync::Arc;

use crate::batch::check_values;
use crate::description::INPUT;
use crate::{
    Description, ElementType, Error, Field, FieldElement, Normalization, Preparation, Request, Result,
    Sample, Source, UnknownCategories, Values,
};

/// A data set in memory: an array for each field.
///
/// Cloning, [`split`](Dataset::split) and [`take`](Dataset::take) share the samples and copy nothing.
/// Everything is checked when it is made, so that reading later cannot meet a bad label or a NaN.
///
/// ```
/// use dropforge_data::{Dataset, Description, Source};
///
/// let description = Description::classes("parity", &[2], ["even", "odd"]);
/// let features = vec![0.0, 0.0, 0.0, 1.0, 1.0, 0.0];
/// let data = Dataset::from_f32(description, features, vec![0, 1, 1])?;
/// let (train, test) = data.split(2)?;
/// assert_eq!((train.len(), test.classes()), (Some(2), Some(&[1][..])));
/// # Ok::<(), dropforge_data::Error>(())
/// ```
#[derive(Clone)]
pub struct Dataset {
    samples: Arc<Samples>,
    description: Arc<Description>,
    normalization: Arc<Applied>,
    range: Range<usize>,
    /// What the command line calls it as it was made, if it does.
    name: Option<Arc<str>>,
    /// Texts that no column of categories knows.
    unknown: Arc<[UnknownCategories]>,
}

struct Samples {
    arrays: Vec<Values>,
    layout: Vec<usize>,
}

/// What is done to the input when it is read, and for bytes its table of 256 results per channel: one look-up a pixel,
/// and the same bits as `(x / 255 − mean) / std` computed each time.
struct Applied {
    /// Number of the field.
    field: usize,
    normalization: Normalization,
    tables: Vec<[f32; 256]>,
}

impl Applied {
    fn new(normalization: Normalization, description: &Description, arrays: &[Values]) -> Applied {
        let field = description.fields.iter().position(|field| field.name == INPUT).unwrap_or(0);
        let wanted = description.fields.get(field).map(|field| field.dtype);
        let tables = match arrays.get(field) {
            Some(Values::U8(_)) if wanted == Some(ElementType::F32) => (0..normalization.mean().len())
                .map(|channel| {
                    let (mean, std) = normalization.channel(channel);
                    std::array::from_fn(|byte| (byte as f32 / 255.0 - mean) / std)
                })
                .collect(),
            _ => Vec::new(),
        };
        Applied { field, normalization, tables }
    }
}

impl Dataset {
    /// A data set of one array per field of the description, each all samples one after another, row-major. Bytes for a
    /// field of f32 are read as `byte / 255`, so 0 to 1, until [`normalized`](Dataset::normalized).
    ///
    /// # Errors
    /// The number of arrays, their types or their counts of samples differ, an array is no whole number of samples, a
    /// class is outside its names, or a number is NaN or infinite (the message names its sample).
    pub fn new(description: Description, arrays: Vec<Values>) -> Result<Dataset> {
        let layout = description.layout()?;
        let name = &description.name;
        if arrays.len() != description.fields.len() {
            return Err(Error::new(format!(
                "{name}: {} arrays for {} fields: every field needs exactly one",
                arrays.len(),
                description.fields.len()
            )));
        }
        let mut count = None;
        for ((field, array), &elements) in description.fields.iter().zip(&arrays).zip(&layout) {
            let samples = check_array(name, field, array, elements)?;
            let (first, first_field) = *count.get_or_insert((samples, field.name.as_str()));
            if first != samples {
                return Err(Error::new(format!(
                    "{name}: {first} samples of {first_field} but {samples} of {}: every sample needs exactly one",
                    field.name
                )));
            }
        }
        let count = count.map_or(0, |(count, _)| count);
        let normalization = Arc::new(Applied::new(Normalization::identity(), &description, &arrays));
        let samples = Arc::new(Samples { arrays, layout });
        Ok(Dataset {
            samples,
            description: Arc::new(description),
            normalization,
            range: 0..count,
            name: None,
            unknown: Arc::default(),
        })
    }

    /// A data set of `f32` inputs, all samples one after another, row-major, read back unchanged until
    /// [`normalized`](Dataset::normalized); and classes (`Vec<i32>`) or numbers (`Vec<f32>`) as targets.
    ///
    /// # Errors
    /// As for [`new`](Dataset::new).
    pub fn from_f32(
        description: Description,
        inputs: Vec<f32>,
        targets: impl Into<Values>,
    ) -> Result<Dataset> {
        Dataset::new(description, vec![inputs.into(), targets.into()])
    }

    /// A data set of byte inputs such as pixels, all samples one after another, row-major. They are read as
    /// `byte / 255`, so 0 to 1, until [`normalized`](Dataset::normalized).
    ///
    /// # Errors
    /// As for [`new`](Dataset::new).
    pub fn from_u8(description: Description, inputs: Vec<u8>, targets: impl Into<Values>) -> Result<Dataset> {
        Dataset::new(description, vec![inputs.into(), targets.into()])
    }

    /// The same samples, whose input is read as `(x − mean) / std` per channel instead of as it was normalised before.
    ///
    /// # Errors
    /// The normalisation is for another number of channels than the first extent of the samples, or the input is not of
    /// f32.
    pub fn normalized(&self, normalization: Normalization) -> Result<Dataset> {
        let mut description = (*self.description).clone();
        let field = &mut description.fields[self.normalization.field];
        if field.dtype != ElementType::F32 {
            return Err(Error::new(format!(
                "{}: {} holds {}, only f32 can be normalised as it is read",
                self.description.name, field.name, field.dtype
            )));
        }
        normalization.check_channels(field.channels())?;
        field.preparation = std::mem::take(&mut field.preparation).with(normalization.clone());
        let normalization = Arc::new(Applied::new(normalization, &description, &self.samples.arrays));
        Ok(Dataset { normalization, description: Arc::new(description), name: None, ..self.clone() })
    }

    /// The same samples with the bytes of their input as they are, a quarter of the memory on the way to a device. The
    /// program that reads them has to divide by 255 and normalise.
    ///
    /// # Errors
    /// The input is not stored as bytes.
    pub fn as_bytes(&self) -> Result<Dataset> {
        let at = self.normalization.field;
        let mut description = (*self.description).clone();
        let Values::U8(_) = self.samples.arrays[at] else {
            return Err(Error::new(format!("{}: the input is not stored as bytes", description.name)));
        };
        description.fields[at].dtype = ElementType::U8;
        let normalization = self.normalization.normalization.clone();
        let normalization = Arc::new(Applied::new(normalization, &description, &self.samples.arrays));
        Ok(Dataset { normalization, description: Arc::new(description), name: None, ..self.clone() })
    }

    /// The same samples, described as images that files can be read as, so that a model trained on them takes files.
    pub(crate) fn prepared_as(&self, preparation: Preparation) -> Dataset {
        let mut description = (*self.description).clone();
        description.fields[self.normalization.field].preparation = preparation;
        Dataset { description: Arc::new(description), ..self.clone() }
    }

    /// The same samples under another name.
    pub fn named(&self, name: impl Into<String>) -> Dataset {
        let description = Description { name: name.into(), ..(*self.description).clone() };
        Dataset { description: Arc::new(description), ..self.clone() }
    }

    /// The same with what no column of categories knows.
    pub(crate) fn with_unknown(self, unknown: Vec<UnknownCategories>) -> Dataset {
        Dataset { unknown: unknown.into(), ..self }
    }

    /// How many samples there are.
    pub fn count(&self) -> usize {
        self.range.len()
    }

    /// The samples before `at`, and those from `at` on. They are not shuffled first.
    ///
    /// # Errors
    /// `at` is beyond the last sample.
    pub fn split(&self, at: usize) -> Result<(Dataset, Dataset)> {
        if at > self.count() {
            return Err(Error::new(format!(
                "{}: cannot split at {at}: there are only {} samples",
                self.description.name,
                self.count()
            )));
        }
        let middle = self.range.start + at;
        Ok((self.within(self.range.start..middle), self.within(middle..self.range.end)))
    }

    /// The first `n` samples, or all of them when there are fewer.
    pub fn take(&self, n: usize) -> Dataset {
        let end = self.range.start + n.min(self.count());
        self.within(self.range.start..end)
    }

    /// Some of the samples; a part is no longer what the whole was called.
    fn within(&self, range: Range<usize>) -> Dataset {
        let name = self.name.clone().filter(|_| range == self.range);
        Dataset { range, name, ..self.clone() }
    }

    /// The same samples as what the command line calls so.
    pub(crate) fn called(mut self, name: &str) -> Dataset {
        self.name = Some(name.into());
        self
    }

    /// A field of all samples as it is stored, one after another; `None` when there is no such field or it is stored as
    /// another type.
    pub fn stored<T: FieldElement>(&self, field: &str) -> Option<&[T]> {
        let at = self.description.position(field).ok()?;
        let elements = self.samples.layout[at];
        Some(&self.samples.arrays[at].slice::<T>()?[self.range.start * elements..self.range.end * elements])
    }

    /// The class numbers of all samples, in order; `None` when `target` is no class.
    pub fn classes(&self) -> Option<&[i32]> {
        self.description.class_count()?;
        self.stored(crate::description::TARGET)
    }

    /// The bytes of a sample's input as they are stored, before normalisation; `None` when it is not stored as bytes or
    /// `index` is outside the data set.
    pub fn bytes(&self, index: usize) -> Option<&[u8]> {
        let at = self.normalization.field;
        let elements = self.samples.layout[at];
        self.stored::<u8>(&self.description.fields[at].name)?.get(index * elements..(index + 1) * elements)
    }

    fn read_input(&self, at: usize, sample: &mut Sample) -> Result<()> {
        let Applied { field, normalization, tables } = &*self.normalization;
        let (len, channels) = (self.samples.layout[*field], normalization.mean().len());
        let name = &self.description.fields[*field].name;
        match &self.samples.arrays[*field] {
            Values::U8(bytes) if !tables.is_empty() => {
                let out = sample.get::<f32>(name)?;
                let runs = bytes[at * len..(at + 1) * len].chunks(len / channels);
                for ((out, bytes), table) in out.chunks_mut(len / channels).zip(runs).zip(tables) {
                    out.iter_mut().zip(bytes).for_each(|(out, &byte)| *out = table[byte as usize]);
                }
                Ok(())
            }
            Values::F32(floats) => {
                let out = sample.get::<f32>(name)?;
                out.copy_from_slice(&floats[at * len..(at + 1) * len]);
                normalization.apply(out, channels)
            }
            stored => {
                sample.copy_at(*field, stored, at);
                Ok(())
            }
        }
    }
}

impl Source for Dataset {
    fn description(&self) -> &Description {
        &self.description
    }

    fn len(&self) -> Option<usize> {
        Some(self.count())
    }

    fn read(&self, request: &Request, sample: &mut Sample) -> Result<()> {
        if request.index >= self.count() {
            return Err(Error::new(format!(
                "{}: there is no sample {}: there are {} (numbered from 0)",
                self.description.name,
                request.index,
                self.count()
            )));
        }
        let at = self.range.start + request.index;
        for (field, array) in self.samples.arrays.iter().enumerate() {
            if field == self.normalization.field {
                self.read_input(at, sample)?;
            } else {
                sample.copy_at(field, array, at);
            }
        }
        Ok(())
    }

    fn class(&self, index: usize) -> Option<i32> {
        self.classes()?.get(index).copied()
    }

    fn data_name(&self) -> Option<String> {
        self.name.as_deref().map(String::from)
    }

    /// Of the whole table that it was made of.
    fn unknown_categories(&self) -> &[UnknownCategories] {
        &self.unknown
    }
}

/// How many samples an array is for, after checking each.
fn check_array(name: &str, field: &Field, array: &Values, elements: usize) -> Result<usize> {
    let pixels = field.dtype == ElementType::F32 && array.dtype() == ElementType::U8;
    if array.dtype() != field.dtype && !pixels {
        let what = if field.classes().is_some() { " of classes" } else { "" };
        return Err(Error::new(format!(
            "{name}: {} is described as {}{what}, but an array of {} was given",
            field.name,
            field.dtype,
            array.dtype()
        )));
    }
    if !array.len().is_multiple_of(elements) {
        return Err(Error::new(format!(
            "{name}: {} elements of {} are not a whole number of samples of {elements} (shape {:?})",
            array.len(),
            field.name,
            field.shape
        )));
    }
    let count = array.len() / elements;
    for sample in 0..count {
        check_values(name, field, array, sample * elements, elements, || format!("sample {sample}"))?;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read_one;
    use crate::testing::message;

    fn two_class(features: Vec<f32>, classes: Vec<i32>) -> Result<Dataset> {
        Dataset::from_f32(Description::classes("toy", &[2], ["a", "b"]), features, classes)
    }

    fn input(data: &Dataset, index: usize) -> Vec<f32> {
        read_one(data, index).unwrap().get("input").unwrap().slice().unwrap().to_vec()
    }

    #[test]
    fn reads_back_and_splits() {
        let data = two_class(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], vec![0, 1, 0]).unwrap();
        let (front, back) = data.split(1).unwrap();
        assert_eq!((input(&back, 1), front.count(), back.count()), (vec![5.0, 6.0], 1, 2));
        assert_eq!(back.classes(), Some(&[1, 0][..]));
        assert_eq!(back.take(1).count(), 1);
        assert_eq!(back.take(9).count(), 2);
        assert!(message(data.split(4)).contains("only 3"));
        assert!(message(read_one(&front, 1)).contains("no sample 1"));
    }

    #[test]
    fn bytes_are_normalised_per_channel_as_pytorch_does() {
        let description = Description::classes("toy", &[2, 1, 2], ["a"]);
        let data = Dataset::from_u8(description, vec![0, 255, 51, 102], vec![0]).unwrap();
        assert_eq!(input(&data, 0), [0.0, 1.0, 51.0 / 255.0, 102.0 / 255.0]);
        let statistics = Normalization::new(&[0.5, 0.25], &[0.5, 2.0]).unwrap();
        let normalized = data.normalized(statistics.clone()).unwrap();
        let expected = [-1.0, 1.0, (51.0 / 255.0 - 0.25) / 2.0, (102.0 / 255.0 - 0.25) / 2.0];
        assert_eq!(input(&normalized, 0), expected);
        assert_eq!(normalized.bytes(0), Some(&[0, 255, 51, 102][..]));
        let kept = normalized.description().input().unwrap().preparation.normalization();
        assert_eq!(kept, Some(&statistics));
        assert!(data.normalized(Normalization::new(&[0.0; 3], &[1.0; 3]).unwrap()).is_err());
        let bytes = normalized.as_bytes().unwrap();
        let sample = read_one(&bytes, 0).unwrap();
        assert_eq!(sample.get("input"), Some(&Values::U8(vec![0, 255, 51, 102])));
    }

    #[test]
    fn floats_are_normalised_per_feature() {
        let data = two_class(vec![1.0, 2.0], vec![0]).unwrap();
        let data = data.normalized(Normalization::new(&[1.0, 0.0], &[1.0, 4.0]).unwrap()).unwrap();
        assert_eq!(input(&data, 0), [0.0, 0.5]);
    }

    #[test]
    fn values_as_targets() {
        let description = Description::values("line", &[1], &[]);
        let data = Dataset::from_f32(description.clone(), vec![1.0, 2.0], vec![3.0f32, 4.0]).unwrap();
        assert_eq!(read_one(&data, 1).unwrap().get("target"), Some(&Values::F32(vec![4.0])));
        assert_eq!(data.classes(), None);
        let infinite = Dataset::from_f32(description, vec![1.0, 2.0], vec![3.0, f32::INFINITY]);
        assert!(message(infinite).contains("number 0 of the target of sample 1 is infinite"));
    }

    #[test]
    fn any_number_of_fields_of_any_type() {
        let description = Description::new("pairs")
            .with(Field::numbers("left", ElementType::U8, &[2]))
            .with(Field::numbers("mask", ElementType::Bool, &[1]))
            .with(Field::class("target", ["no", "yes"]));
        let arrays = vec![vec![1u8, 2, 3, 4].into(), vec![true, false].into(), vec![1, 0].into()];
        let data = Dataset::new(description.clone(), arrays).unwrap();
        let second = read_one(&data, 1).unwrap();
        assert_eq!(second.get("left"), Some(&Values::U8(vec![3, 4])));
        assert_eq!(second.get("mask"), Some(&Values::Bool(vec![false])));
        assert_eq!(second.get("target"), Some(&Values::I32(vec![0])));
        assert!(message(Dataset::new(description, vec![])).contains("0 arrays for 3 fields"));
    }

    #[test]
    fn bad_data_is_refused_by_index() {
        assert!(message(two_class(vec![0.0; 4], vec![0])).contains("2 samples of input but 1 of target"));
        assert!(message(two_class(vec![0.0; 3], vec![0])).contains("whole number"));
        assert!(message(two_class(vec![0.0; 4], vec![0, 2])).contains("label 2 of sample 1 is out of range"));
        assert!(message(two_class(vec![0.0; 4], vec![-1, 0])).contains("label -1 of sample 0"));
        let nan = vec![0.0, 0.0, 0.0, f32::NAN];
        assert!(message(two_class(nan, vec![0, 0])).contains("input of sample 1 is NaN"));
        let kinds = Dataset::from_f32(Description::values("toy", &[1], &[]), vec![0.0], vec![0]);
        assert!(message(kinds).contains("target is described as f32, but an array of i32"));
        let empty = Dataset::from_u8(Description::classes("toy", &[0], ["a"]), vec![], Vec::<i32>::new());
        assert!(message(empty).contains("extent of 0"));
        let huge = Description::classes("toy", &[usize::MAX, 2], ["a"]);
        assert!(message(Dataset::from_u8(huge, vec![], Vec::<i32>::new())).contains("too large"));
    }
}
