//! A data set held in memory.

use std::ops::Range;
use std::sync::Arc;

use crate::{Description, Error, Normalization, Result, Source, TargetKind, Targets};

/// A data set in memory: byte or `f32` features, and classes or real-valued targets.
///
/// Cloning, [`split`](Dataset::split) and [`take`](Dataset::take) share the samples and copy nothing.
/// Everything is checked when it is made, so that reading later cannot meet a bad label or a NaN.
///
/// ```
/// use dropforge_data::{Dataset, Description, Source, Targets};
///
/// let description = Description::classes("parity", &[2], ["even", "odd"]);
/// let features = vec![0.0, 0.0, 0.0, 1.0, 1.0, 0.0];
/// let data = Dataset::from_f32(description, features, Targets::Classes(vec![0, 1, 1]))?;
/// let (train, test) = data.split(2)?;
/// assert_eq!((train.len(), test.class(0)?), (2, 1));
/// # Ok::<(), dropforge_data::Error>(())
/// ```
#[derive(Clone)]
pub struct Dataset {
    samples: Arc<Samples>,
    description: Arc<Description>,
    normalization: Arc<Applied>,
    range: Range<usize>,
}

struct Samples {
    features: Features,
    targets: Targets,
    input_len: usize,
    target_len: usize,
}

enum Features {
    Bytes(Vec<u8>),
    Floats(Vec<f32>),
}

/// A normalisation and, for bytes, its table of 256 results per channel: one look-up a pixel, and the same bits as
/// `(x / 255 − mean) / std` computed each time.
struct Applied {
    normalization: Normalization,
    tables: Vec<[f32; 256]>,
}

impl Applied {
    fn new(normalization: Normalization, features: &Features) -> Applied {
        let tables = match features {
            Features::Floats(_) => Vec::new(),
            Features::Bytes(_) => (0..normalization.mean().len())
                .map(|channel| {
                    let (mean, std) = normalization.channel(channel);
                    std::array::from_fn(|byte| (byte as f32 / 255.0 - mean) / std)
                })
                .collect(),
        };
        Applied { normalization, tables }
    }
}

impl Dataset {
    /// A data set of `f32` features, all samples one after another, row-major, read back unchanged until
    /// [`normalized`](Dataset::normalized).
    ///
    /// # Errors
    /// The number of features is no multiple of the sample size, the counts of samples and targets differ, a class is
    /// outside its names, the targets are of another kind than described, or a feature or target is NaN or infinite
    /// (the message names its sample).
    pub fn from_f32(description: Description, features: Vec<f32>, targets: Targets) -> Result<Dataset> {
        let input_len = description.input_len()?;
        if let Some(at) = features.iter().position(|x| !x.is_finite()) {
            return Err(Error::new(format!(
                "{}: feature {} of sample {} is {}: clean or leave out samples that are not finite",
                description.name,
                at % input_len,
                at / input_len,
                features[at]
            )));
        }
        Dataset::new(description, Features::Floats(features), targets)
    }

    /// A data set of byte features such as pixels, all samples one after another, row-major. They are read as
    /// `byte / 255`, so 0 to 1, until [`normalized`](Dataset::normalized).
    ///
    /// # Errors
    /// As for [`from_f32`](Dataset::from_f32).
    pub fn from_u8(description: Description, features: Vec<u8>, targets: Targets) -> Result<Dataset> {
        Dataset::new(description, Features::Bytes(features), targets)
    }

    fn new(description: Description, features: Features, targets: Targets) -> Result<Dataset> {
        let (input_len, target_len) = (description.input_len()?, description.target_len()?);
        let features_len = match &features {
            Features::Bytes(bytes) => bytes.len(),
            Features::Floats(floats) => floats.len(),
        };
        let name = &description.name;
        if !features_len.is_multiple_of(input_len) {
            return Err(Error::new(format!(
                "{name}: {features_len} features are not a whole number of samples of {input_len} (shape {:?})",
                description.input_shape
            )));
        }
        let count = features_len / input_len;
        let targets_count = check_targets(&description, &targets, target_len)?;
        if count != targets_count {
            return Err(Error::new(format!(
                "{name}: {count} samples but {targets_count} targets: every sample needs exactly one"
            )));
        }
        let normalization = Arc::new(Applied::new(Normalization::identity(), &features));
        let samples = Arc::new(Samples { features, targets, input_len, target_len });
        Ok(Dataset { samples, description: Arc::new(description), normalization, range: 0..count })
    }

    /// The same samples, read as `(x − mean) / std` per channel instead of as they were normalised before.
    ///
    /// # Errors
    /// The normalisation is for another number of channels than the first extent of the samples.
    pub fn normalized(&self, normalization: Normalization) -> Result<Dataset> {
        normalization.check_channels(self.description.channels())?;
        let normalization = Arc::new(Applied::new(normalization, &self.samples.features));
        Ok(Dataset { normalization, ..self.clone() })
    }

    /// The same samples under another name.
    pub fn named(&self, name: impl Into<String>) -> Dataset {
        let description = Description { name: name.into(), ..(*self.description).clone() };
        Dataset { description: Arc::new(description), ..self.clone() }
    }

    /// The samples before `at`, and those from `at` on. They are not shuffled first.
    ///
    /// # Errors
    /// `at` is beyond the last sample.
    pub fn split(&self, at: usize) -> Result<(Dataset, Dataset)> {
        if at > self.len() {
            return Err(Error::new(format!(
                "{}: cannot split at {at}: there are only {} samples",
                self.description.name,
                self.len()
            )));
        }
        let middle = self.range.start + at;
        let before = Dataset { range: self.range.start..middle, ..self.clone() };
        let after = Dataset { range: middle..self.range.end, ..self.clone() };
        Ok((before, after))
    }

    /// The first `n` samples, or all of them when there are fewer.
    pub fn take(&self, n: usize) -> Dataset {
        let end = self.range.start + n.min(self.len());
        Dataset { range: self.range.start..end, ..self.clone() }
    }

    /// The class numbers of all samples, in order; `None` when the targets are real numbers.
    pub fn classes(&self) -> Option<&[i32]> {
        match &self.samples.targets {
            Targets::Classes(classes) => Some(&classes[self.range.clone()]),
            Targets::Values(_) => None,
        }
    }

    /// The bytes of a sample as they are stored, before normalisation; `None` when the features are `f32` or `index`
    /// is outside the data set.
    pub fn bytes(&self, index: usize) -> Option<&[u8]> {
        let at = self.position(index).ok()?;
        match &self.samples.features {
            Features::Bytes(bytes) => Some(chunk(bytes, at, self.samples.input_len)),
            Features::Floats(_) => None,
        }
    }

    fn position(&self, index: usize) -> Result<usize> {
        if index < self.len() {
            return Ok(self.range.start + index);
        }
        Err(Error::new(format!(
            "{}: there is no sample {index}: there are {} (numbered from 0)",
            self.description.name,
            self.len()
        )))
    }

    fn check_out(&self, what: &str, out: &[f32], expected: usize) -> Result<()> {
        if out.len() == expected {
            return Ok(());
        }
        Err(Error::new(format!(
            "{}: the buffer for one {what} holds {} numbers, it must hold {expected}",
            self.description.name,
            out.len()
        )))
    }
}

impl Source for Dataset {
    fn description(&self) -> &Description {
        &self.description
    }

    fn len(&self) -> usize {
        self.range.len()
    }

    fn read_input(&self, index: usize, out: &mut [f32]) -> Result<()> {
        let at = self.position(index)?;
        let len = self.samples.input_len;
        self.check_out("input", out, len)?;
        let Applied { normalization, tables } = &*self.normalization;
        let channels = normalization.mean().len();
        match &self.samples.features {
            Features::Bytes(bytes) => {
                let runs = chunk(bytes, at, len).chunks(len / channels);
                for ((out, bytes), table) in out.chunks_mut(len / channels).zip(runs).zip(tables) {
                    out.iter_mut().zip(bytes).for_each(|(out, &byte)| *out = table[byte as usize]);
                }
            }
            Features::Floats(floats) => {
                out.copy_from_slice(chunk(floats, at, len));
                normalization.apply(out, channels)?;
            }
        }
        Ok(())
    }

    fn class(&self, index: usize) -> Result<i32> {
        let at = self.position(index)?;
        match &self.samples.targets {
            Targets::Classes(classes) => Ok(classes[at]),
            Targets::Values(_) => {
                let name = &self.description.name;
                Err(Error::new(format!("{name}: sample {index} has no class: its targets are numbers")))
            }
        }
    }

    fn values(&self, index: usize, out: &mut [f32]) -> Result<()> {
        let at = self.position(index)?;
        match &self.samples.targets {
            Targets::Values(values) => {
                self.check_out("target", out, self.samples.target_len)?;
                out.copy_from_slice(chunk(values, at, self.samples.target_len));
                Ok(())
            }
            Targets::Classes(_) => {
                let name = &self.description.name;
                Err(Error::new(format!("{name}: sample {index} has no values: its target is a class")))
            }
        }
    }

    fn normalization(&self) -> Option<&Normalization> {
        Some(&self.normalization.normalization)
    }
}

fn chunk<T>(all: &[T], at: usize, len: usize) -> &[T] {
    &all[at * len..(at + 1) * len]
}

/// How many samples the targets are for, after checking each.
fn check_targets(description: &Description, targets: &Targets, target_len: usize) -> Result<usize> {
    let name = &description.name;
    match (targets, &description.target) {
        (Targets::Classes(classes), TargetKind::Class { names }) => {
            for (index, &class) in classes.iter().enumerate() {
                check_class(name, index, class, names.len())?;
            }
            Ok(classes.len())
        }
        (Targets::Values(values), TargetKind::Values { shape }) => {
            if let Some(at) = values.iter().position(|x| !x.is_finite()) {
                return Err(Error::new(format!(
                    "{name}: the target of sample {} is {}: clean or leave out samples that are not finite",
                    at / target_len,
                    values[at]
                )));
            }
            if !values.len().is_multiple_of(target_len) {
                return Err(Error::new(format!(
                    "{name}: {} target values are not a whole number of targets of shape {shape:?}",
                    values.len()
                )));
            }
            Ok(values.len() / target_len)
        }
        (Targets::Classes(_), _) => {
            Err(Error::new(format!("{name}: class targets given, but the description says values")))
        }
        (Targets::Values(_), _) => {
            Err(Error::new(format!("{name}: values given as targets, but the description says classes")))
        }
    }
}

/// Whether a class number is one of the `count` there are.
pub(crate) fn check_class(name: &str, index: usize, class: i32, count: usize) -> Result<()> {
    if usize::try_from(class).is_ok_and(|class| class < count) {
        return Ok(());
    }
    Err(Error::new(format!(
        "{name}: label {class} of sample {index} is out of range: there are {count} classes, numbered from 0"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_class(features: Vec<f32>, classes: Vec<i32>) -> Result<Dataset> {
        Dataset::from_f32(Description::classes("toy", &[2], ["a", "b"]), features, Targets::Classes(classes))
    }

    fn message<T>(result: Result<T>) -> String {
        result.err().expect("should be refused").to_string()
    }

    #[test]
    fn reads_back_and_splits() {
        let data = two_class(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], vec![0, 1, 0]).unwrap();
        let (front, back) = data.split(1).unwrap();
        let mut out = [0.0; 2];
        back.read_input(1, &mut out).unwrap();
        assert_eq!((out, front.len(), back.len()), ([5.0, 6.0], 1, 2));
        assert_eq!(back.classes(), Some(&[1, 0][..]));
        assert_eq!(back.take(1).len(), 1);
        assert_eq!(back.take(9).len(), 2);
        assert!(message(data.split(4)).contains("only 3"));
        assert!(message(front.class(1)).contains("no sample 1"));
        assert!(message(front.values(0, &mut out)).contains("is a class"));
        assert!(message(front.read_input(0, &mut out[..1])).contains("must hold 2"));
    }

    #[test]
    fn bytes_are_normalised_per_channel_as_pytorch_does() {
        let description = Description::classes("toy", &[2, 1, 2], ["a"]);
        let data = Dataset::from_u8(description, vec![0, 255, 51, 102], Targets::Classes(vec![0])).unwrap();
        let mut out = [9.0; 4];
        data.read_input(0, &mut out).unwrap();
        assert_eq!(out, [0.0, 1.0, 51.0 / 255.0, 102.0 / 255.0]);
        let normalized = data.normalized(Normalization::new(&[0.5, 0.25], &[0.5, 2.0]).unwrap()).unwrap();
        normalized.read_input(0, &mut out).unwrap();
        assert_eq!(out, [-1.0, 1.0, (51.0 / 255.0 - 0.25) / 2.0, (102.0 / 255.0 - 0.25) / 2.0]);
        assert_eq!(normalized.bytes(0), Some(&[0, 255, 51, 102][..]));
        assert!(data.normalized(Normalization::new(&[0.0; 3], &[1.0; 3]).unwrap()).is_err());
    }

    #[test]
    fn floats_are_normalised_per_feature() {
        let data = two_class(vec![1.0, 2.0], vec![0]).unwrap();
        let data = data.normalized(Normalization::new(&[1.0, 0.0], &[1.0, 4.0]).unwrap()).unwrap();
        let mut out = [0.0; 2];
        data.read_input(0, &mut out).unwrap();
        assert_eq!(out, [0.0, 0.5]);
    }

    #[test]
    fn values_as_targets() {
        let description = Description::values("line", &[1], &[]);
        let data =
            Dataset::from_f32(description.clone(), vec![1.0, 2.0], Targets::Values(vec![3.0, 4.0])).unwrap();
        let mut out = [0.0];
        data.values(1, &mut out).unwrap();
        assert_eq!(out, [4.0]);
        assert!(message(data.class(0)).contains("no class"));
        let infinite = Targets::Values(vec![3.0, f32::INFINITY]);
        assert!(
            message(Dataset::from_f32(description, vec![1.0, 2.0], infinite))
                .contains("target of sample 1 is inf")
        );
    }

    #[test]
    fn bad_data_is_refused_by_index() {
        assert!(message(two_class(vec![0.0; 4], vec![0])).contains("2 samples but 1 targets"));
        assert!(message(two_class(vec![0.0; 3], vec![0])).contains("whole number"));
        assert!(message(two_class(vec![0.0; 4], vec![0, 2])).contains("label 2 of sample 1 is out of range"));
        assert!(message(two_class(vec![0.0; 4], vec![-1, 0])).contains("label -1 of sample 0"));
        let nan = vec![0.0, 0.0, 0.0, f32::NAN];
        assert!(message(two_class(nan, vec![0, 0])).contains("feature 1 of sample 1 is NaN"));
        let kinds =
            Dataset::from_f32(Description::values("toy", &[1], &[]), vec![0.0], Targets::Classes(vec![0]));
        assert!(message(kinds).contains("says values"));
        let empty =
            Dataset::from_u8(Description::classes("toy", &[0], ["a"]), vec![], Targets::Classes(vec![]));
        assert!(message(empty).contains("extent of 0"));
        let huge = Description::classes("toy", &[usize::MAX, 2], ["a"]);
        assert!(message(Dataset::from_u8(huge, vec![], Targets::Classes(vec![]))).contains("too large"));
    }
}
