//! Sources made of other sources.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crate::{Description, Error, Request, Result, Sample, Source, Stream, TARGET};

/// Passes everything on that an adaptor does not change.
macro_rules! pass_on {
    () => {
        fn description(&self) -> &Description {
            self.source.description()
        }

        fn inner(&self) -> Option<&dyn Source> {
            Some(&*self.source)
        }
    };
}

/// A source that is not the whole of a data set as the command line reads it: whoever trained by that name would train
/// on something else.
macro_rules! has_no_data_name {
    () => {
        fn data_name(&self) -> Option<String> {
            None
        }
    };
}
pub(crate) use has_no_data_name;

/// Some samples of a source; made by [`subset`].
#[derive(Clone)]
pub struct Subset {
    source: Arc<dyn Source>,
    indices: Arc<[usize]>,
}

/// Some samples of a source, in this order; a number may stand several times.
///
/// # Errors
/// The source is a stream, or there is no sample of such a number.
pub fn subset(source: Arc<dyn Source>, indices: impl Into<Arc<[usize]>>) -> Result<Subset> {
    let (indices, len) = (indices.into(), known_len(&*source)?);
    if let Some(index) = indices.iter().find(|&&index| index >= len) {
        let name = &source.description().name;
        return Err(Error::new(format!("{name}: there is no sample {index}: there are {len}")));
    }
    Ok(Subset { source, indices })
}

impl Source for Subset {
    pass_on!();

    fn len(&self) -> Option<usize> {
        Some(self.indices.len())
    }

    fn read(&self, request: &Request, sample: &mut Sample) -> Result<()> {
        let index = at(&*self.source, &self.indices, request.index)?;
        self.source.read(&Request { index, ..*request }, sample)
    }

    fn class(&self, index: usize) -> Option<i32> {
        self.source.class(*self.indices.get(index)?)
    }

    fn origin(&self, index: usize) -> Option<String> {
        self.source.origin(*self.indices.get(index)?)
    }

    has_no_data_name!();
}

/// A source of which each class comes up as often as the others; made by [`balanced`].
#[derive(Clone)]
pub struct Balanced {
    source: Arc<dyn Source>,
    by_class: Arc<[Vec<usize>]>,
}

/// As many samples as there are, each drawn anew in every epoch: first a class, each as likely as the others, then one
/// of its samples. Classes without samples are passed over.
///
/// # Errors
/// The source is a stream, has no classes, or a sample cannot be read to learn its class.
pub fn balanced(source: Arc<dyn Source>) -> Result<Balanced> {
    let mut by_class = vec![Vec::new(); source.description().class_count().unwrap_or(0)];
    for (index, class) in classes(&*source)?.into_iter().enumerate() {
        by_class[class].push(index);
    }
    by_class.retain(|samples| !samples.is_empty());
    Ok(Balanced { source, by_class: by_class.into() })
}

impl Source for Balanced {
    pass_on!();

    fn len(&self) -> Option<usize> {
        self.source.len()
    }

    fn read(&self, request: &Request, sample: &mut Sample) -> Result<()> {
        let mut random = request.random(BALANCE_STREAM);
        let samples = self.by_class.get(random.below(self.by_class.len()));
        let samples = samples.ok_or_else(|| Error::new("there are no samples to draw from"))?;
        let index = samples[random.below(samples.len())];
        self.source.read(&Request { index, ..*request }, sample)
    }

    fn is_random(&self) -> bool {
        true
    }

    /// Which sample it is depends on the epoch.
    fn class(&self, _: usize) -> Option<i32> {
        None
    }

    /// As for the class.
    fn origin(&self, _: usize) -> Option<String> {
        None
    }

    has_no_data_name!();
}

/// Keeps what is drawn apart from other random numbers of a sample.
const BALANCE_STREAM: u64 = 0x6261_6c61_6e63_0001;

/// The class of each sample.
///
/// # Errors
/// The source is a stream, has no classes, or a sample cannot be read to learn its class.
pub fn classes(source: &dyn Source) -> Result<Vec<usize>> {
    let (len, name) = (known_len(source)?, &source.description().name);
    let Some(count) = source.description().class_count() else {
        return Err(Error::new(format!("{name}: the target is no class")));
    };
    let class = |index| match source.class(index) {
        Some(class) => Ok(class),
        None => {
            let sample = crate::read_one(source, index)?;
            let class = sample.get(TARGET).and_then(|target| target.slice::<i32>()?.first().copied());
            class.ok_or_else(|| Error::new(format!("{name}: sample {index} has no class")))
        }
    };
    let checked = |index| {
        let class = class(index)?;
        usize::try_from(class).ok().filter(|&class| class < count).ok_or_else(|| {
            Error::new(format!(
                "{name}: label {class} of sample {index} is out of range: there are {count} classes"
            ))
        })
    };
    (0..len).map(checked).collect()
}

/// How many samples each class has.
///
/// # Errors
/// As for [`classes`].
pub fn class_counts(source: &dyn Source) -> Result<Vec<usize>> {
    let mut counts = vec![0; source.description().class_count().unwrap_or(0)];
    classes(source)?.into_iter().for_each(|class| counts[class] += 1);
    Ok(counts)
}

/// A weight for each class, for a loss that is to count all classes alike:
/// `samples / (classes · samples of the class)`, as scikit-learn's `balanced`; 0 for a class without samples.
///
/// ```
/// use dropforge_data::{class_weights, from_records};
///
/// let uneven = from_records([([0.0f32], 0), ([1.0], 0), ([2.0], 1)])?;
/// assert_eq!(class_weights(&uneven)?, [0.75, 1.5]);
/// # Ok::<(), dropforge_data::Error>(())
/// ```
///
/// # Errors
/// As for [`classes`].
pub fn class_weights(source: &dyn Source) -> Result<Vec<f32>> {
    let counts = class_counts(source)?;
    let (all, present) = (counts.iter().sum::<usize>(), counts.iter().filter(|&&count| count > 0).count());
    let weight = |&count: &usize| if count == 0 { 0.0 } else { all as f64 / (present * count) as f64 };
    Ok(counts.iter().map(|count| weight(count) as f32).collect())
}

/// A source that passes over what cannot be read; made by [`skip_unreadable`]. Clones count together.
#[derive(Clone)]
pub struct SkipUnreadable {
    source: Arc<dyn Source>,
    skipped: Arc<AtomicUsize>,
    first: Arc<OnceLock<String>>,
}

/// The same samples, with the next readable one in the place of one that cannot be read; a stream is shorter by those.
/// [`skipped`](SkipUnreadable::skipped) says how often that was so.
pub fn skip_unreadable(source: Arc<dyn Source>) -> SkipUnreadable {
    SkipUnreadable { source, skipped: Arc::default(), first: Arc::default() }
}

impl SkipUnreadable {
    /// How often a sample could not be read so far.
    pub fn skipped(&self) -> usize {
        self.skipped.load(Ordering::Relaxed)
    }

    /// What was wrong with the first of them.
    pub fn first_error(&self) -> Option<&str> {
        self.first.get().map(String::as_str)
    }

    fn note(&self, error: &Error) {
        self.first.get_or_init(|| error.to_string());
        self.skipped.fetch_add(1, Ordering::Relaxed);
    }
}

/// A stream that goes on behind what cannot be read.
struct SkippingStream {
    stream: Box<dyn Stream>,
    noted: SkipUnreadable,
}

impl Stream for SkippingStream {
    fn next(&mut self, sample: &mut Sample) -> Result<bool> {
        for _ in 1..MOST_SKIPPED {
            match self.stream.next(sample) {
                Err(error) => self.noted.note(&error),
                there => return there,
            }
        }
        self.stream.next(sample)
    }
}

/// After so many in a row the fault is another one.
const MOST_SKIPPED: usize = 100;

impl Source for SkipUnreadable {
    pass_on!();

    fn len(&self) -> Option<usize> {
        self.source.len()
    }

    fn read(&self, request: &Request, sample: &mut Sample) -> Result<()> {
        let len = known_len(&*self.source)?;
        for step in 0..MOST_SKIPPED.min(len) {
            let index = (request.index + step) % len;
            match self.source.read(&Request { index, ..*request }, sample) {
                Ok(()) => return Ok(()),
                Err(error) if step + 1 == MOST_SKIPPED.min(len) => return Err(error),
                Err(error) => self.note(&error),
            }
        }
        Err(Error::new(format!("{}: there are no samples", self.description().name)))
    }

    fn stream(&self, epoch: u64, seed: u64) -> Result<Box<dyn Stream>> {
        let stream = self.source.stream(epoch, seed)?;
        Ok(Box::new(SkippingStream { stream, noted: self.clone() }))
    }

    has_no_data_name!();
}

fn at(source: &dyn Source, indices: &[usize], index: usize) -> Result<usize> {
    indices.get(index).copied().ok_or_else(|| {
        let (name, count) = (&source.description().name, indices.len());
        Error::new(format!("{name}: there is no sample {index}: there are {count}"))
    })
}

fn known_len(source: &dyn Source) -> Result<usize> {
    let name = &source.description().name;
    source.len().ok_or_else(|| Error::new(format!("{name}: is a stream, its samples have no numbers")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::message;
    use crate::{Dataset, Values, from_fn, from_iter, read_one};

    /// Ten samples of class a, two of b.
    fn uneven() -> Arc<dyn Source> {
        let classes: Vec<i32> = (0..12).map(|i| i32::from(i >= 10)).collect();
        let inputs = (0..12).map(|i| i as f32).collect();
        Arc::new(
            Dataset::from_f32(Description::classes("uneven", &[1], ["a", "b"]), inputs, classes).unwrap(),
        )
    }

    fn target(source: &dyn Source, index: usize) -> i32 {
        let sample = read_one(source, index).unwrap();
        sample.get(TARGET).unwrap().slice::<i32>().unwrap()[0]
    }

    #[test]
    fn counts_weights_and_balance() {
        let source = uneven();
        assert_eq!(class_counts(&*source).unwrap(), [10, 2]);
        assert_eq!(class_weights(&*source).unwrap(), [0.6, 3.0]);
        let even = balanced(source).unwrap();
        let mut batch = crate::HostBatch::empty(&Arc::new(even.description().clone()));
        batch.resize(1, &[1, 1]);
        let mut seen = [0; 2];
        for epoch in 0..100 {
            for index in 0..12 {
                even.read(&Request { index, epoch, seed: 0 }, &mut batch.sample(0, &[1, 1])).unwrap();
                let Some(Values::I32(class)) = batch.get(TARGET) else { panic!("a class") };
                seen[class[0] as usize] += 1;
            }
        }
        assert!((540..660).contains(&seen[0]), "{seen:?}");
    }

    #[test]
    fn parts_and_what_cannot_be_read() {
        let part = subset(uneven(), vec![11, 0, 11]).unwrap();
        assert_eq!((0..3).map(|i| target(&part, i)).collect::<Vec<_>>(), [1, 0, 1]);
        assert!(message(subset(uneven(), vec![12])).contains("no sample 12"));
        let stream = Arc::new(from_iter(|_| [([0.0f32], 1)]).unwrap());
        assert!(message(subset(stream, vec![0])).contains("is a stream"));

        let holes = Arc::new(Holes(from_fn(3, |_| ([0.0f32],)).description().clone()));
        let skipping = skip_unreadable(holes);
        assert_eq!(read_one(&skipping, 1).unwrap().get("input"), Some(&Values::F32(vec![2.0])));
        assert_eq!((skipping.skipped(), skipping.first_error()), (1, Some("damaged")));
    }

    /// Says all that can be said.
    struct Talkative(Description, Vec<crate::UnknownCategories>);

    impl Source for Talkative {
        fn description(&self) -> &Description {
            &self.0
        }
        fn len(&self) -> Option<usize> {
            Some(4)
        }
        fn read(&self, _: &Request, _: &mut Sample) -> Result<()> {
            Ok(())
        }
        fn class(&self, index: usize) -> Option<i32> {
            Some(index as i32 % 2)
        }
        fn origin(&self, index: usize) -> Option<String> {
            Some(format!("file {index}"))
        }
        fn data_name(&self) -> Option<String> {
            Some("talk".into())
        }
        fn unknown_categories(&self) -> &[crate::UnknownCategories] {
            &self.1
        }
    }

    #[test]
    fn what_is_made_of_a_source_loses_nothing_that_it_says() {
        use crate::transform::{Flip, augment, with_numbers};
        let unknown =
            crate::UnknownCategories { column: "c".into(), count: 1, first: "x".into(), line: None };
        let description = Description::classes("talk", &[1, 2, 2], ["a", "b"]);
        let inner: Arc<dyn Source> = Arc::new(Talkative(description, vec![unknown.clone()]));
        let made: Vec<(&str, Arc<dyn Source>, bool)> = vec![
            ("itself", Arc::new(inner.clone()), true),
            ("cached", Arc::new(crate::cached(inner.clone(), 100).unwrap()), true),
            (
                "numbered",
                Arc::new(with_numbers(inner.clone(), vec![Arc::new(Flip::default())]).unwrap()),
                true,
            ),
            ("augmented", Arc::new(augment(inner.clone(), vec![Box::new(Flip::default())]).unwrap()), false),
            ("skipping", Arc::new(skip_unreadable(inner.clone())), false),
            ("subset", Arc::new(subset(inner.clone(), vec![0, 1, 2]).unwrap()), false),
        ];
        for (name, source, whole) in made {
            assert_eq!(source.class(1), Some(1), "{name}");
            assert_eq!(source.origin(2).as_deref(), Some("file 2"), "{name}");
            assert_eq!(source.unknown_categories(), std::slice::from_ref(&unknown), "{name}");
            assert_eq!(source.data_name().is_some(), whole, "{name}");
        }
        let drawn = balanced(inner).unwrap();
        assert_eq!((drawn.class(1), drawn.origin(1), drawn.unknown_categories().len()), (None, None, 1));
    }

    /// A stream of 0, something damaged, 2; and one that is damaged for ever.
    struct Gaps(Description, bool);

    struct GapsStream(usize, bool);

    impl Source for Gaps {
        fn description(&self) -> &Description {
            &self.0
        }
        fn len(&self) -> Option<usize> {
            None
        }
        fn read(&self, _: &Request, _: &mut Sample) -> Result<()> {
            Err(Error::new("is a stream"))
        }
        fn stream(&self, _: u64, _: u64) -> Result<Box<dyn Stream>> {
            Ok(Box::new(GapsStream(0, self.1)))
        }
    }

    impl Stream for GapsStream {
        fn next(&mut self, sample: &mut Sample) -> Result<bool> {
            let now = self.0;
            self.0 += 1;
            match now {
                _ if self.1 => Err(Error::new("damaged")),
                1 => Err(Error::new("damaged")),
                0 | 2 => sample.write("input", &[now as f32]).map(|()| true),
                _ => Ok(false),
            }
        }
    }

    #[test]
    fn streams_go_on_behind_what_cannot_be_read() {
        let description = || from_fn(3, |_| ([0.0f32],)).description().clone();
        let skipping = skip_unreadable(Arc::new(Gaps(description(), false)));
        let options = crate::LoaderOptions { shuffle: false, ..Default::default() };
        let loader = crate::Loader::new(Arc::new(skipping.clone()), options.clone()).unwrap();
        let batch = loader.epoch(0, 0).next().unwrap().unwrap();
        assert_eq!(batch.get("input"), Some(&Values::F32(vec![0.0, 2.0])));
        assert_eq!(skipping.skipped(), 1);
        let broken = skip_unreadable(Arc::new(Gaps(description(), true)));
        let loader = crate::Loader::new(Arc::new(broken), options).unwrap();
        assert!(message(loader.epoch(0, 0).next().unwrap()).contains("damaged"));
    }

    #[test]
    fn a_stream_without_samples_is_an_error() {
        let stream = from_iter(|epoch| (0..if epoch < 2 { 3 } else { 0 }).map(|i| ([i as f32], 0))).unwrap();
        let first = |options: crate::LoaderOptions, epoch: u64| {
            crate::Loader::new(Arc::new(stream.clone()), options).unwrap().epoch(epoch, 0).next().unwrap()
        };
        for prefetch in [0, 2] {
            let options = || crate::LoaderOptions { prefetch, ..Default::default() };
            assert_eq!(first(options(), 1).unwrap().len(), 3);
            assert!(message(first(options(), 2)).contains("there are no samples in epoch 3"));
            let whole = crate::LoaderOptions { drop_last: true, batch: 4, ..options() };
            assert!(message(first(whole, 0)).contains("3 samples make no full batch of 4"));
        }
    }

    /// Sample 1 of 3 cannot be read.
    struct Holes(Description);

    impl Source for Holes {
        fn description(&self) -> &Description {
            &self.0
        }
        fn len(&self) -> Option<usize> {
            Some(3)
        }
        fn read(&self, request: &Request, sample: &mut Sample) -> Result<()> {
            match request.index {
                1 => Err(Error::new("damaged")),
                index => sample.write("input", &[index as f32]),
            }
        }
    }
}
