//! Samples that stay in memory once they have been read.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crate::{Description, Error, HostBatch, Request, Result, Sample, Source, Values};

/// A source whose samples are read once and then kept; made by [`cached`]. Clones share what is kept.
#[derive(Clone)]
pub struct Cached {
    source: Arc<dyn Source>,
    layout: Arc<[usize]>,
    /// The fields of each sample, once it has been read.
    kept: Arc<[OnceLock<Box<[Values]>>]>,
    bytes_of_one: usize,
    most_bytes: usize,
    used_bytes: Arc<AtomicUsize>,
    hits: Arc<AtomicUsize>,
    reads: Arc<AtomicUsize>,
}

/// How a cache did so far. [`Display`](std::fmt::Display) gives one line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheUse {
    /// Samples that were asked for.
    pub reads: usize,
    /// How many of them were there.
    pub hits: usize,
    /// Memory that the samples take.
    pub bytes: usize,
}

impl std::fmt::Display for CacheUse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let share = 100.0 * self.hits as f64 / self.reads.max(1) as f64;
        let mebibytes = self.bytes as f64 / f64::from(1 << 20);
        write!(f, "{share:.1} % of {} samples came from memory, which holds {mebibytes:.1} MiB", self.reads)
    }
}

/// The same samples, kept in memory from the first time on as long as all of them take at most `most_bytes`. What does
/// not fit is read each time. What is kept stays: an epoch reads each sample once, so that one which was just read is
/// needed last, and giving up the least recently used would give up what comes next.
///
/// Only for sources that give the same sample each time; random changes ([`augment`](crate::transform::augment)) go
/// around it.
///
/// ```
/// use std::sync::Arc;
/// use dropforge_data::{Request, cached, digits, read_one};
///
/// let (train, _) = digits(10, 0, 1);
/// let train = cached(Arc::new(train), 1 << 20)?;
/// read_one(&train, 3)?;
/// read_one(&train, 3)?;
/// assert_eq!((train.used().reads, train.used().hits), (2, 1));
/// # Ok::<(), dropforge_data::Error>(())
/// ```
///
/// # Errors
/// The source is a stream, or its description holds nothing.
pub fn cached(source: Arc<dyn Source>, most_bytes: usize) -> Result<Cached> {
    let description = source.description();
    let len = source.len().ok_or_else(|| {
        Error::new(format!("{}: is a stream, which is read once and cannot be kept", description.name))
    })?;
    let layout = description.layout()?;
    let sizes = description.fields.iter().zip(&layout);
    let bytes_of_one = sizes.map(|(field, elements)| field.dtype.size() * elements).sum();
    let kept = (0..len).map(|_| OnceLock::new()).collect();
    let [used_bytes, hits, reads] = Default::default();
    Ok(Cached { layout: layout.into(), kept, bytes_of_one, most_bytes, used_bytes, hits, reads, source })
}

impl Cached {
    /// How it did so far.
    pub fn used(&self) -> CacheUse {
        let read = |number: &AtomicUsize| number.load(Ordering::Relaxed);
        CacheUse { reads: read(&self.reads), hits: read(&self.hits), bytes: read(&self.used_bytes) }
    }

    /// Whether there is room for one sample more, which is then taken.
    fn takes_room(&self) -> bool {
        let more = |used: usize| used.checked_add(self.bytes_of_one).filter(|&used| used <= self.most_bytes);
        self.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }
}

impl Source for Cached {
    fn description(&self) -> &Description {
        self.source.description()
    }

    fn len(&self) -> Option<usize> {
        self.source.len()
    }

    fn read(&self, request: &Request, sample: &mut Sample) -> Result<()> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let Some(place) = self.kept.get(request.index) else { return self.source.read(request, sample) };
        if let Some(fields) = place.get() {
            self.hits.fetch_add(1, Ordering::Relaxed);
            fields.iter().enumerate().for_each(|(at, values)| sample.copy_at(at, values, 0));
            return Ok(());
        }
        if !self.takes_room() {
            return self.source.read(request, sample);
        }
        let give_back = || {
            self.used_bytes.fetch_sub(self.bytes_of_one, Ordering::Relaxed);
        };
        let mut one = HostBatch::empty(&Arc::new(self.source.description().clone()));
        one.resize(1, &self.layout);
        self.source.read(request, &mut one.sample(0, &self.layout)).inspect_err(|_| give_back())?;
        one.arrays.iter().enumerate().for_each(|(at, values)| sample.copy_at(at, values, 0));
        // Another thread may have read the same one meanwhile.
        if place.set(one.arrays.into_boxed_slice()).is_err() {
            give_back();
        }
        Ok(())
    }

    fn class(&self, index: usize) -> Option<i32> {
        self.source.class(index)
    }

    fn origin(&self, index: usize) -> Option<String> {
        self.source.origin(index)
    }

    fn data_name(&self) -> Option<String> {
        self.source.data_name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::message;
    use crate::{Loader, LoaderOptions, digits, from_iter};

    #[test]
    fn samples_are_the_same_and_are_read_once() {
        let (train, _) = digits(50, 0, 1);
        let plain: Arc<dyn Source> = Arc::new(train);
        let one = 28 * 28 * 4 + 4;
        for (most, hits) in [(usize::MAX, 50), (20 * one + one / 2, 20), (0, 0)] {
            let kept = Arc::new(cached(plain.clone(), most).unwrap());
            for threads in [1, 3] {
                let options = LoaderOptions { batch: 8, threads, seed: 3, ..Default::default() };
                let before = kept.used();
                for epoch in 0..2 {
                    let of = |source: Arc<dyn Source>| {
                        Loader::new(source, options.clone()).unwrap().epoch(epoch, 0)
                    };
                    let same = of(plain.clone()).zip(of(kept.clone())).all(|(a, b)| a.unwrap() == b.unwrap());
                    assert!(same, "{threads} threads");
                }
                let now = kept.used();
                assert_eq!(now.reads - before.reads, 100);
                let expected = if threads == 1 { hits } else { 2 * hits };
                assert_eq!((now.hits - before.hits, now.bytes), (expected, hits * one), "{most}: {now}");
            }
        }
        let stream = Arc::new(from_iter(|_| [([0.0f32], 1)]).unwrap());
        assert!(message(cached(stream, 1)).contains("is a stream"));
    }
}
