//! Samples that are kept once they have been read.

mod recency;
mod scratch;
mod store;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::{Description, Error, Request, Result, Sample, Source};
use recency::Recency;
use store::Store;

/// A source whose samples are read once and then kept; made by [`cached`] and [`cached_with`]. Clones share what is
/// kept.
#[derive(Clone)]
pub struct Cached {
    source: Arc<dyn Source>,
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    index: Mutex<Index>,
    keep: Keep,
    bytes_of_one: usize,
    is_file: bool,
    hits: AtomicUsize,
    reads: AtomicUsize,
    /// Why the file is used no longer.
    failed: OnceLock<String>,
}

/// Where samples are.
struct Index {
    /// One more than the place of each sample; 0 where it is not kept.
    places: Vec<u32>,
    recency: Recency,
}

/// Which samples a cache keeps when not all of them fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Keep {
    /// Those that came first. An epoch reads each sample once, so that one which was just read is needed last, and giving
    /// up the least recently used would give up what comes next: of samples of which half fit, half are there in every
    /// epoch, and by [`Keep::Recent`] a sixth.
    #[default]
    First,
    /// Those that were used most recently, in place of the one that was not used for longest: where some samples are
    /// drawn much more often than others.
    Recent,
}

/// How samples are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheOptions {
    /// Bytes that all of them may take.
    pub most_bytes: usize,
    /// Which of them stay when they take more. Default [`Keep::First`].
    pub keep: Keep,
    /// A folder for a file in which they lie, in place of memory. The file has no name where systems allow that, and is
    /// gone when the cache is. Default: memory.
    pub folder: Option<PathBuf>,
}

/// How a cache did so far. [`Display`](std::fmt::Display) gives one line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheUse {
    /// Samples that were asked for.
    pub reads: usize,
    /// How many of them were there.
    pub hits: usize,
    /// Memory, or bytes of the file, that the samples take.
    pub bytes: usize,
    /// Whether they lie in a file.
    pub is_file: bool,
    /// Why the file was given up, if it was.
    pub failed: Option<String>,
}

impl std::fmt::Display for CacheUse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let share = 100.0 * self.hits as f64 / self.reads.max(1) as f64;
        let mebibytes = self.bytes as f64 / f64::from(1 << 20);
        let place = if self.is_file { "the file" } else { "memory" };
        write!(
            f,
            "{share:.1} % of {} samples came from {place}, which holds {mebibytes:.1} MiB",
            self.reads
        )?;
        self.failed.as_ref().map_or(Ok(()), |why| write!(f, "; it was given up: {why}"))
    }
}

/// The same samples, kept in memory from the first time on as long as all of them take at most `most_bytes`. What does
/// not fit is read each time, and what is kept stays: see [`Keep::First`].
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
/// The source is a stream, its samples are others each time that they are read, or its description holds nothing.
pub fn cached(source: Arc<dyn Source>, most_bytes: usize) -> Result<Cached> {
    cached_with(source, &CacheOptions { most_bytes, ..CacheOptions::default() })
}

/// As [`cached`], with a choice of what is kept and where.
///
/// ```
/// use std::sync::Arc;
/// use dropforge_data::{CacheOptions, Keep, cached_with, digits, read_one};
///
/// let (train, _) = digits(10, 0, 1);
/// let folder = Some(std::env::temp_dir());
/// let options = CacheOptions { most_bytes: 1 << 30, keep: Keep::Recent, folder };
/// let train = cached_with(Arc::new(train), &options)?;
/// assert_eq!(read_one(&train, 3)?, read_one(&train, 3)?);
/// assert!(train.used().to_string().starts_with("50.0 % of 2 samples came from the file"));
/// # Ok::<(), dropforge_data::Error>(())
/// ```
///
/// # Errors
/// As for [`cached`], or no file can be made in the folder.
pub fn cached_with(source: Arc<dyn Source>, options: &CacheOptions) -> Result<Cached> {
    let description = source.description();
    let len = source.len().ok_or_else(|| {
        Error::new(format!("{}: is a stream, which is read once and cannot be kept", description.name))
    })?;
    if source.is_random() {
        return Err(Error::new(format!(
            "{}: its samples are others each time that they are read, so they cannot be kept; keep what they are made of",
            description.name
        )));
    }
    let layout = description.layout()?;
    let sizes = description.fields.iter().zip(&layout);
    let bytes_of_one: usize = sizes.map(|(field, elements)| field.dtype.size() * elements).sum();
    let most = options.most_bytes / bytes_of_one.max(1);
    let places = most.min(len).min(u32::MAX as usize - 1);
    let store = Store::new(places, bytes_of_one, options.folder.as_deref())?;
    let shared = Shared {
        store,
        index: Mutex::new(Index { places: vec![0; len], recency: Recency::default() }),
        keep: options.keep,
        bytes_of_one,
        is_file: options.folder.is_some(),
        hits: AtomicUsize::new(0),
        reads: AtomicUsize::new(0),
        failed: OnceLock::new(),
    };
    Ok(Cached { source, shared: Arc::new(shared) })
}

impl Cached {
    /// How it did so far.
    pub fn used(&self) -> CacheUse {
        let read = |number: &AtomicUsize| number.load(Ordering::Relaxed);
        CacheUse {
            reads: read(&self.shared.reads),
            hits: read(&self.shared.hits),
            bytes: self.shared.index().recency.len() * self.shared.bytes_of_one,
            is_file: self.shared.is_file,
            failed: self.shared.failed.get().cloned(),
        }
    }
}

impl Shared {
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies a sample that is kept; false where it is not.
    fn get(&self, number: usize, sample: &mut Sample) -> bool {
        let mut index = self.index();
        let Some(place) = index.places.get(number).and_then(|place| place.checked_sub(1)) else {
            return false;
        };
        if self.keep == Keep::Recent {
            index.recency.touch(place);
        }
        // Held before others may give the place away.
        let held = self.store.hold(place);
        drop(index);
        match self.store.get(place, &held, sample) {
            Ok(there) => there,
            Err(error) => {
                self.failed.get_or_init(|| format!("its file cannot be read: {error}"));
                false
            }
        }
    }

    /// Keeps a sample that was just read, if there is room or something else has to go for it.
    fn put(&self, number: usize, sample: &Sample) {
        if self.failed.get().is_some() {
            return;
        }
        let mut index = self.index();
        // Another thread may have read the same one meanwhile.
        if index.places.get(number) != Some(&0) {
            return;
        }
        let (place, mut held) = if index.recency.len() < self.store.len() {
            let place = index.recency.push(number);
            let Some(held) = self.store.take(place) else { return };
            (place, held)
        } else if self.keep == Keep::Recent {
            // What others are just reading stays.
            let mut free = index.recency.oldest_first().map(|place| (place, self.store.take(place)));
            let Some((place, Some(held))) = free.find(|(_, held)| held.is_some()) else { return };
            drop(free);
            let old = index.recency.replace(place, number);
            index.places[old] = 0;
            (place, held)
        } else {
            return;
        };
        index.places[number] = place + 1;
        drop(index);
        if let Err(error) = self.store.put(place, &mut held, sample) {
            self.failed.get_or_init(|| format!("its file cannot be written: {error}"));
        }
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
        self.shared.reads.fetch_add(1, Ordering::Relaxed);
        if self.shared.get(request.index, sample) {
            self.shared.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        self.source.read(request, sample)?;
        self.shared.put(request.index, sample);
        Ok(())
    }

    fn inner(&self) -> Option<&dyn Source> {
        Some(&*self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Folder, message};
    use crate::{
        Dataset, ElementType, Field, Loader, LoaderOptions, Values, digits, from_fn, from_iter, read_one,
    };

    #[test]
    fn samples_are_the_same_and_are_read_once() {
        let (train, _) = digits(50, 0, 1);
        let plain: Arc<dyn Source> = Arc::new(train);
        let folder = Folder::new("cache");
        let one = 28 * 28 * 4 + 4;
        for place in [None, Some(folder.path().to_path_buf())] {
            for (most, hits) in [(usize::MAX, 50), (20 * one + one / 2, 20), (0, 0)] {
                let options = CacheOptions { most_bytes: most, folder: place.clone(), ..Default::default() };
                let kept = Arc::new(cached_with(plain.clone(), &options).unwrap());
                for threads in [1, 3] {
                    let options = LoaderOptions { batch: 8, threads, seed: 3, ..Default::default() };
                    let before = kept.used();
                    for epoch in 0..2 {
                        let of = |source: Arc<dyn Source>| {
                            Loader::new(source, options.clone()).unwrap().epoch(epoch, 0)
                        };
                        let same =
                            of(plain.clone()).zip(of(kept.clone())).all(|(a, b)| a.unwrap() == b.unwrap());
                        assert!(same, "{threads} threads");
                    }
                    let now = kept.used();
                    assert_eq!(now.reads - before.reads, 100);
                    let expected = if threads == 1 { hits } else { 2 * hits };
                    assert_eq!((now.hits - before.hits, now.bytes), (expected, hits * one), "{most}: {now}");
                    assert!(now.failed.is_none(), "{now}");
                }
            }
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let stream = Arc::new(from_iter(|_| [([0.0f32], 1)]).unwrap());
        assert!(message(cached(stream, 1)).contains("is a stream"));
        let random = Arc::new(crate::balanced(Arc::new(digits(10, 0, 1).0)).unwrap());
        assert!(message(cached(random, 1)).contains("others each time"));
    }

    #[test]
    fn what_was_used_least_recently_goes() {
        let numbers = Arc::new(from_fn(6, |request| ([request.index as f32],)));
        let options = CacheOptions { most_bytes: 3 * 4, keep: Keep::Recent, ..Default::default() };
        let kept = cached_with(numbers.clone(), &options).unwrap();
        let is_hit = |kept: &Cached, index: usize| {
            let before = kept.used().hits;
            let sample = read_one(kept, index).unwrap();
            assert_eq!(sample.get("input"), Some(&Values::F32(vec![index as f32])));
            kept.used().hits > before
        };
        let read =
            |kept: &Cached, order: &[usize]| order.iter().map(|&i| is_hit(kept, i)).collect::<Vec<_>>();
        assert_eq!(read(&kept, &[0, 1, 2, 0, 3]), [false, false, false, true, false]);
        // 1 went for 3; then 0 goes for 1, and 3 for 0.
        assert_eq!(read(&kept, &[0, 3, 2, 1, 0, 2]), [true, true, true, false, false, true]);
        let kept = cached_with(numbers, &CacheOptions { keep: Keep::First, ..options }).unwrap();
        assert_eq!(
            read(&kept, &[0, 1, 2, 3, 0, 1, 2, 3]),
            [false, false, false, false, true, true, true, false]
        );
    }

    /// Half of the samples fit: the share of each policy is what its documentation says.
    #[test]
    fn shares_of_epochs_are_those_that_are_promised() {
        let source = Arc::new(from_fn(2000, |request| ([request.index as f32],)));
        for (keep, share) in [(Keep::First, 0.5), (Keep::Recent, 0.153)] {
            let options = CacheOptions { most_bytes: 1000 * 4, keep, ..Default::default() };
            let kept = Arc::new(cached_with(source.clone(), &options).unwrap());
            let loader =
                Loader::new(kept.clone(), LoaderOptions { batch: 50, ..Default::default() }).unwrap();
            for epoch in 0..6 {
                assert!(loader.epoch(epoch, 0).all(|batch| batch.is_ok()));
            }
            let used = kept.used();
            let found = used.hits as f64 / (used.reads - 2000) as f64;
            assert!((found - share).abs() < 0.02, "{keep:?}: {found}");
        }
    }

    #[test]
    fn several_threads_share_few_places() {
        let field = |name: &str, dtype, shape: &[usize]| Field::numbers(name, dtype, shape);
        let description = Description::new("kinds")
            .with(field("f32", ElementType::F32, &[3]))
            .with(field("f16", ElementType::F16, &[]))
            .with(field("i32", ElementType::I32, &[2]))
            .with(field("u32", ElementType::U32, &[]))
            .with(field("u8", ElementType::U8, &[5]))
            .with(field("bool", ElementType::Bool, &[2]));
        let each = |n: usize| 0..40 * n;
        let arrays = vec![
            Values::F32(each(3).map(|i| i as f32 * 0.5 - 7.0).collect()),
            Values::F16(each(1).map(|i| i as u16 * 7).collect()),
            Values::I32(each(2).map(|i| 9 - i as i32 * 70_000).collect()),
            Values::U32(each(1).map(|i| u32::MAX - i as u32).collect()),
            Values::U8(each(5).map(|i| (i * 37) as u8).collect()),
            Values::Bool(each(2).map(|i| i % 3 == 0).collect()),
        ];
        let plain: Arc<dyn Source> = Arc::new(Dataset::new(description, arrays).unwrap());
        let folder = Folder::new("cache-kinds");
        for place in [None, Some(folder.path().to_path_buf())] {
            let options = CacheOptions { most_bytes: 5 * 33, keep: Keep::Recent, folder: place };
            let kept: Arc<dyn Source> = Arc::new(cached_with(plain.clone(), &options).unwrap());
            let options = LoaderOptions { batch: 3, threads: 4, ..Default::default() };
            for epoch in 0..20 {
                let of = |source: &Arc<dyn Source>| {
                    Loader::new(source.clone(), options.clone()).unwrap().epoch(epoch, 0)
                };
                assert!(of(&plain).zip(of(&kept)).all(|(a, b)| a.unwrap() == b.unwrap()));
            }
        }
    }

    /// What cannot be written is read from its source, and the end says why.
    #[test]
    fn a_file_that_fails_is_given_up() {
        let source = Arc::new(from_fn(6, |request| ([request.index as f32],)));
        let kept = cached(source, 1 << 10).unwrap();
        kept.shared.failed.get_or_init(|| "its file cannot be written: no space left".into());
        for index in [1, 1, 2] {
            let sample = read_one(&kept, index).unwrap();
            assert_eq!(sample.get("input"), Some(&Values::F32(vec![index as f32])));
        }
        let used = kept.used();
        assert_eq!((used.hits, used.bytes), (0, 0));
        assert!(used.to_string().ends_with("given up: its file cannot be written: no space left"), "{used}");
    }
}
