//! What a data set is to the rest of the library: samples that can be read in any order, or one after another.

use std::sync::Arc;

use crate::random::Random;
use crate::{Description, Error, Result, Sample, UnknownCategories};

/// Which sample is wanted, and where random numbers for it come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Number of the sample, from 0.
    pub index: usize,
    /// Number of the epoch, from 0.
    pub epoch: u64,
    /// Seed of the run.
    pub seed: u64,
}

impl Request {
    /// The sample as it is first read: epoch 0, seed 0.
    pub fn of(index: usize) -> Request {
        Request { index, epoch: 0, seed: 0 }
    }

    /// Random numbers that depend on the seed, the epoch, the sample and `stream` alone, so that what is made of them
    /// is the same whatever the number of threads, and again after a run was resumed.
    pub fn random(&self, stream: u64) -> Random {
        Random::new(&[self.seed, SAMPLE_STREAM, self.epoch, self.index as u64, stream])
    }
}

/// Keeps random numbers of samples apart from other streams of the same seed.
const SAMPLE_STREAM: u64 = 0x7361_6d70_6c65_0001;

/// Samples, read in any order and from several threads at once, or one after another where there is no order.
///
/// A source decides how its samples come to be: in memory ([`Dataset`](crate::Dataset)), decoded from files
/// ([`ImageFolder`](crate::ImageFolder)), or computed. [`from_records`](crate::from_records),
/// [`from_fn`](crate::from_fn) and [`from_iter`](crate::from_iter) make one of what a program has. A
/// [`Loader`](crate::Loader) puts samples into batches.
///
/// ```
/// use dropforge_data::{ElementType, Description, Field, Request, Result, Sample, Source};
///
/// /// Points on a line, never twice the same.
/// struct Line(Description);
///
/// impl Source for Line {
///     fn description(&self) -> &Description {
///         &self.0
///     }
///     fn len(&self) -> Option<usize> {
///         Some(1000)
///     }
///     fn read(&self, request: &Request, sample: &mut Sample) -> Result<()> {
///         let x = request.random(0).unit();
///         sample.write("input", &[x])?;
///         sample.write("target", &[2.0 * x + 1.0])
///     }
/// }
///
/// let line = Line(Description::values("line", &[1], &[1]));
/// let sample = dropforge_data::read_one(&line, 7)?;
/// assert_eq!(sample.get("target").unwrap().slice::<f32>().unwrap().len(), 1);
/// # Ok::<(), dropforge_data::Error>(())
/// ```
pub trait Source: Send + Sync {
    /// What every sample looks like. Must not change.
    fn description(&self) -> &Description;

    /// How many samples there are; `None` when only reading can tell, as of a stream. Must not change.
    fn len(&self) -> Option<usize>;

    /// Whether it is known that there are no samples.
    fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// Writes every field of a sample. What was there before is from other samples.
    ///
    /// # Errors
    /// The sample cannot be read, or `index` is outside the source.
    fn read(&self, request: &Request, sample: &mut Sample) -> Result<()>;

    /// One pass over a source of unknown length.
    ///
    /// # Errors
    /// The stream cannot be opened, or the source has a length and is read by number.
    fn stream(&self, epoch: u64, seed: u64) -> Result<Box<dyn Stream>> {
        let _ = (epoch, seed);
        Err(Error::new(format!("{}: is not a stream", self.description().name)))
    }

    /// The source whose samples these are, with the same numbers, where this one only does something to them: all that
    /// is asked below is asked there, unless it is answered here. Default: none.
    fn inner(&self) -> Option<&dyn Source> {
        None
    }

    /// Whether a sample may be another one each time that it is read, as one that is changed or drawn at random, so that
    /// it cannot be kept. Default: it is always the same.
    fn is_random(&self) -> bool {
        self.inner().is_some_and(Source::is_random)
    }

    /// The class of a sample, where that is known without reading it.
    fn class(&self, index: usize) -> Option<i32> {
        self.inner()?.class(index)
    }

    /// The file or place that a sample is from, for messages and for what a run notes of its data; `None` where there
    /// is none.
    fn origin(&self, index: usize) -> Option<String> {
        self.inner()?.origin(index)
    }

    /// What the command line calls the data set that this is the whole training part of, such as `mnist:/data/mnist`;
    /// `None` where a program has put it together. A run notes it, so that it can be measured later without being told.
    fn data_name(&self) -> Option<String> {
        self.inner()?.data_name()
    }

    /// What stands in columns of categories of a table and was not there in training, so that it counts as missing.
    /// Default: nothing.
    fn unknown_categories(&self) -> &[UnknownCategories] {
        self.inner().map_or(&[], Source::unknown_categories)
    }
}

/// Samples one after another.
pub trait Stream: Send {
    /// Writes every field of the next sample; false when there are no more.
    ///
    /// # Errors
    /// The sample cannot be read.
    fn next(&mut self, sample: &mut Sample) -> Result<bool>;
}

impl<S: Source + ?Sized> Source for Arc<S> {
    fn description(&self) -> &Description {
        (**self).description()
    }

    fn len(&self) -> Option<usize> {
        (**self).len()
    }

    fn read(&self, request: &Request, sample: &mut Sample) -> Result<()> {
        (**self).read(request, sample)
    }

    fn stream(&self, epoch: u64, seed: u64) -> Result<Box<dyn Stream>> {
        (**self).stream(epoch, seed)
    }

    fn inner(&self) -> Option<&dyn Source> {
        (**self).inner()
    }

    fn is_random(&self) -> bool {
        (**self).is_random()
    }

    fn class(&self, index: usize) -> Option<i32> {
        (**self).class(index)
    }

    fn origin(&self, index: usize) -> Option<String> {
        (**self).origin(index)
    }

    fn data_name(&self) -> Option<String> {
        (**self).data_name()
    }

    fn unknown_categories(&self) -> &[UnknownCategories] {
        (**self).unknown_categories()
    }
}
