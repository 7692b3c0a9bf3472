//! What a data set is to the rest of the library: a numbered list of samples that can be read in any order.

use crate::{Error, Normalization, Result};

/// What a sample is to be predicted as.
#[derive(Clone, Debug, PartialEq)]
pub enum TargetKind {
    /// One of these classes; class `i` is called `names[i]`.
    Class {
        /// Names, in the order of the class numbers.
        names: Vec<String>,
    },
    /// Real numbers, for regression.
    Values {
        /// Shape of the target of one sample, `[]` for one number.
        shape: Vec<usize>,
    },
}

/// What every sample of a source looks like.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// A short name for messages: `mnist`, `digits`, a folder.
    pub name: String,
    /// Shape of the input of one sample, without the batch: `[1, 28, 28]` for a grey image (channels, height, width).
    pub input_shape: Vec<usize>,
    /// What is predicted.
    pub target: TargetKind,
}

impl Description {
    /// A description of samples that belong to named classes.
    pub fn classes<S: Into<String>>(
        name: impl Into<String>,
        input_shape: &[usize],
        names: impl IntoIterator<Item = S>,
    ) -> Description {
        let target = TargetKind::Class { names: names.into_iter().map(Into::into).collect() };
        Description { name: name.into(), input_shape: input_shape.to_vec(), target }
    }

    /// A description of samples with real-valued targets of `target_shape` (`[]` for one number).
    pub fn values(name: impl Into<String>, input_shape: &[usize], target_shape: &[usize]) -> Description {
        let target = TargetKind::Values { shape: target_shape.to_vec() };
        Description { name: name.into(), input_shape: input_shape.to_vec(), target }
    }

    /// How many numbers one input holds: the product of `input_shape`.
    ///
    /// # Errors
    /// An extent is zero or the product does not fit in memory.
    pub fn input_len(&self) -> Result<usize> {
        self.product("input", &self.input_shape)
    }

    /// How many numbers one target holds: 1 for a class.
    ///
    /// # Errors
    /// An extent is zero or the product does not fit in memory.
    pub fn target_len(&self) -> Result<usize> {
        match &self.target {
            TargetKind::Class { .. } => Ok(1),
            TargetKind::Values { shape } => self.product("target", shape),
        }
    }

    /// How many classes there are; `None` for real-valued targets.
    pub fn class_count(&self) -> Option<usize> {
        match &self.target {
            TargetKind::Class { names } => Some(names.len()),
            TargetKind::Values { .. } => None,
        }
    }

    /// How many channels normalisation sees: the first extent, 1 for a scalar.
    pub(crate) fn channels(&self) -> usize {
        self.input_shape.first().copied().unwrap_or(1)
    }

    fn product(&self, what: &str, shape: &[usize]) -> Result<usize> {
        let product = shape.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent));
        match product {
            Some(n) if n > 0 && n <= isize::MAX as usize / 8 => Ok(n),
            Some(0) => Err(Error::new(format!(
                "{}: {what} shape {shape:?} has an extent of 0, so it holds nothing",
                self.name
            ))),
            _ => Err(Error::new(format!("{}: {what} shape {shape:?} is too large for memory", self.name))),
        }
    }
}

/// A numbered list of samples, read in any order and from several threads at once.
///
/// A source decides how its samples come to be: in memory ([`Dataset`](crate::Dataset)), decoded from files
/// ([`ImageFolder`](crate::ImageFolder)), or computed. A [`Loader`](crate::Loader) puts them into batches.
pub trait Source: Send + Sync {
    /// What every sample looks like. Must not change.
    fn description(&self) -> &Description;

    /// How many samples there are. Must not change.
    fn len(&self) -> usize;

    /// Whether there are no samples.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the input of a sample, normalised and row-major, into `out`, which holds exactly
    /// [`Description::input_len`] numbers and may hold old ones.
    ///
    /// # Errors
    /// The sample cannot be read, `index` is outside the source, or `out` has another length.
    fn read_input(&self, index: usize, out: &mut [f32]) -> Result<()>;

    /// The class of a sample, from 0 up to the number of names.
    ///
    /// # Errors
    /// The targets are real numbers, or `index` is outside the source.
    fn class(&self, index: usize) -> Result<i32> {
        Err(Error::new(format!(
            "{}: sample {index} has no class: its targets are numbers",
            self.description().name
        )))
    }

    /// Writes the real-valued target of a sample into `out`, which holds exactly [`Description::target_len`] numbers.
    ///
    /// # Errors
    /// The targets are classes, `index` is outside the source, or `out` has another length.
    fn values(&self, index: usize, out: &mut [f32]) -> Result<()> {
        let _ = out;
        Err(Error::new(format!(
            "{}: sample {index} has no values: its target is a class",
            self.description().name
        )))
    }

    /// The normalisation that [`read_input`](Source::read_input) has applied, to be kept with a trained model so that
    /// later inputs get the same; `None` when there is none.
    fn normalization(&self) -> Option<&Normalization> {
        None
    }
}

/// Targets of several samples, one after another.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// Class numbers, one per sample.
    Classes(Vec<i32>),
    /// Real numbers, [`Description::target_len`] per sample.
    Values(Vec<f32>),
}
