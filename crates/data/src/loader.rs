//! Batches in a reproducible order, read ahead on background threads.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::batch::check_row;
use crate::random::Random;
use crate::streamed::Streamed;
use crate::{Description, Error, HostBatch, Request, Result, Source};

/// How a [`Loader`] makes batches.
#[derive(Clone, Debug, PartialEq)]
pub struct LoaderOptions {
    /// Samples per batch. Default 64.
    pub batch: usize,
    /// Whether each epoch has its own random order. Samples of a stream are shuffled within a window. Default `true`.
    pub shuffle: bool,
    /// How many samples of a stream are held ready, of which the next is drawn when they are shuffled; fewer where they
    /// would take more than 256 MiB. Sources with a length are shuffled as a whole. Default 1024.
    pub window: usize,
    /// What the random orders come from, and what sources are given for their own random numbers. Default 0.
    pub seed: u64,
    /// Whether a last batch with fewer samples is left out. Default `false`.
    pub drop_last: bool,
    /// How many batches each thread reads ahead; 0 reads in the calling thread when asked. Default 2.
    pub prefetch: usize,
    /// How many threads read ahead; the batches and their order do not depend on it. More than one pays when samples
    /// are decoded from files. A stream is read by one. Default 1.
    pub threads: usize,
}

impl Default for LoaderOptions {
    fn default() -> LoaderOptions {
        LoaderOptions {
            batch: 64,
            shuffle: true,
            window: 1024,
            seed: 0,
            drop_last: false,
            prefetch: 2,
            threads: 1,
        }
    }
}

/// Makes the batches of any epoch from a [`Source`].
///
/// The order of an epoch depends on the seed and the number of the epoch alone, so a run that was stopped in the
/// middle goes on exactly where it was: `loader.epoch(epoch, batches_done)`.
///
/// ```
/// use std::sync::Arc;
/// use dropforge_data::{Loader, LoaderOptions, digits};
///
/// let (train, _test) = digits(100, 10, 1);
/// let loader = Loader::new(Arc::new(train), LoaderOptions { batch: 32, ..Default::default() })?;
/// let mut epoch = loader.epoch(0, 0);
/// let mut sizes = Vec::new();
/// while let Some(batch) = epoch.next() {
///     let batch = batch?;
///     sizes.push(batch.len());
///     epoch.recycle(batch);
/// }
/// assert_eq!(sizes, [32, 32, 32, 4]);
/// # Ok::<(), dropforge_data::Error>(())
/// ```
#[derive(Clone)]
pub struct Loader {
    source: Arc<dyn Source>,
    options: LoaderOptions,
    description: Arc<Description>,
    /// Elements of one sample in each field.
    layout: Arc<[usize]>,
}

impl Loader {
    /// A loader over all samples of a source.
    ///
    /// # Errors
    /// The source is empty or its description holds nothing, the batch is 0, or `drop_last` leaves no batch at all.
    pub fn new(source: Arc<dyn Source>, options: LoaderOptions) -> Result<Loader> {
        let description = Arc::new(source.description().clone());
        let (name, len) = (&description.name, source.len());
        let layout = description.layout()?;
        if len == Some(0) {
            return Err(Error::new(format!("{name}: there are no samples to make batches of")));
        }
        if options.batch == 0 {
            return Err(Error::new(format!("{name}: a batch of 0 samples is asked for, use 1 or more")));
        }
        if let Some(len) = len.filter(|&len| options.drop_last && len < options.batch) {
            return Err(Error::new(format!(
                "{name}: {len} samples make no full batch of {}, and drop_last leaves out the rest; use a smaller \
                 batch or keep the last one",
                options.batch
            )));
        }
        let most = layout.iter().copied().max().unwrap_or(0);
        let rows = len.map_or(options.batch, |len| options.batch.min(len));
        if rows.checked_mul(most).is_none_or(|n| n > isize::MAX as usize / 8) {
            return Err(Error::new(format!(
                "{name}: a batch of {} samples does not fit in memory",
                options.batch
            )));
        }
        Ok(Loader { source, options, description, layout: layout.into() })
    }

    /// The source of the samples.
    pub fn source(&self) -> &Arc<dyn Source> {
        &self.source
    }

    /// The options it was made with.
    pub fn options(&self) -> &LoaderOptions {
        &self.options
    }

    /// Batches per epoch; `None` when only reading can tell.
    pub fn batches(&self) -> Option<usize> {
        let (len, batch) = (self.source.len()?, self.options.batch);
        Some(if self.options.drop_last { len / batch } else { len.div_ceil(batch) })
    }

    /// The sample numbers of an epoch, in order; none of a stream.
    pub fn order(&self, epoch: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.source.len().unwrap_or(0)).collect();
        if self.options.shuffle {
            Random::new(&[self.options.seed, ORDER_STREAM, epoch]).shuffle(&mut order);
        }
        order
    }

    /// The batches of an epoch from number `skip_batches` on; none when that is all of them or more. What is skipped of
    /// a stream is read all the same.
    ///
    /// Reading starts at once, in the background. Dropping the epoch early stops it.
    pub fn epoch(&self, epoch: u64, skip_batches: usize) -> Epoch {
        let end = self.batches();
        let next = end.map_or(skip_batches, |end| skip_batches.min(end));
        let reader = Reader { loader: self.clone(), order: self.order(epoch).into(), epoch };
        let wanted = if self.options.prefetch == 0 { 0 } else { self.options.threads.max(1) };
        let threads = end.map_or(wanted.min(1), |end| wanted.min(end - next));
        let workers =
            (0..threads).map_while(|i| Worker::start(&reader, next, i, threads, end).ok()).collect();
        let end = end.unwrap_or(usize::MAX);
        let mut epoch = Epoch { reader, workers, here: None, spare: Vec::new(), first: next, next, end };
        // The system refused a thread: read in the calling one.
        if epoch.workers.len() < threads {
            epoch.workers.clear();
        }
        epoch
    }

    fn name(&self) -> &str {
        &self.description.name
    }

    /// An empty batch, or an old one whose memory fits.
    fn memory(&self, spare: Option<HostBatch>) -> HostBatch {
        let fits = |batch: &HostBatch| {
            let dtypes = self.description.fields.iter().map(|field| field.dtype);
            Arc::ptr_eq(&batch.description, &self.description)
                || batch.arrays.iter().map(crate::Values::dtype).eq(dtypes)
        };
        match spare.filter(fits) {
            Some(batch) => HostBatch { description: self.description.clone(), ..batch },
            None => HostBatch::empty(&self.description),
        }
    }
}

/// Keeps the stream of orders apart from other streams of the same seed.
const ORDER_STREAM: u64 = 0x6f72_6465_7200_0001;

/// The batches of one epoch, in order. After an error there are no more.
pub struct Epoch {
    reader: Reader,
    workers: Vec<Worker>,
    /// A stream that is read in the calling thread.
    here: Option<Streamed>,
    /// Batches given back, for reading in the calling thread.
    spare: Vec<HostBatch>,
    first: usize,
    next: usize,
    end: usize,
}

impl Epoch {
    /// Gives back the memory of a batch that is no longer needed, so that a later one can use it. Not required; whoever
    /// does it sees no memory taken after the first batches.
    pub fn recycle(&mut self, batch: HostBatch) {
        if self.next >= self.end {
            return;
        }
        let count = self.workers.len();
        if count == 0 {
            if self.spare.is_empty() {
                self.spare.push(batch);
            }
        } else if let Some(worker) = self.workers.get(batch.index.wrapping_sub(self.first) % count) {
            // A worker that has enough, or has already read its last batch, needs no memory.
            let _ = worker.spare.try_send(batch);
        }
    }

    fn read_here(&mut self, index: usize) -> Result<Option<HostBatch>> {
        let spare = self.spare.pop();
        if self.reader.loader.source.len().is_some() {
            return self.reader.read(index, spare).map(Some);
        }
        if self.here.is_none() {
            self.here = Some(self.reader.stream(self.first)?);
        }
        let Some(stream) = &mut self.here else { return Ok(None) };
        let batch = self.reader.loader.memory(spare);
        stream.batch(index, batch)
    }
}

impl Iterator for Epoch {
    type Item = Result<HostBatch>;

    fn next(&mut self) -> Option<Result<HostBatch>> {
        if self.next >= self.end {
            return None;
        }
        let index = self.next;
        self.next += 1;
        let count = self.workers.len();
        let result = if count == 0 {
            self.read_here(index)
        } else {
            let worker = &self.workers[(index - self.first) % count];
            let name = self.reader.loader.name();
            let lost = || Error::new(format!("{name}: reading batch {index} ended early"));
            worker.batches.as_ref().and_then(|batches| batches.recv().ok()).unwrap_or_else(|| Err(lost()))
        };
        if !matches!(result, Ok(Some(_))) {
            self.end = self.next;
        }
        result.transpose()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end - self.next;
        match self.end {
            usize::MAX => (0, None),
            _ => (usize::from(left > 0), Some(left)),
        }
    }
}

/// A background thread that reads every `step`-th batch.
struct Worker {
    /// `None` only while being dropped.
    batches: Option<Receiver<Result<Option<HostBatch>>>>,
    spare: SyncSender<HostBatch>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Thread number `i` of `threads`, which share the batches from `first` on.
    fn start(
        reader: &Reader,
        first: usize,
        i: usize,
        threads: usize,
        end: Option<usize>,
    ) -> std::io::Result<Worker> {
        let prefetch = reader.loader.options.prefetch.min(1 << 10);
        let (send, batches) = sync_channel(prefetch);
        // One in the hands of the caller, one being given back, and those that wait.
        let (spare, spares) = sync_channel(prefetch + 2);
        let reader = reader.clone();
        let thread = std::thread::Builder::new().name("dropforge-data".into()).spawn(move || match end {
            Some(end) => reader.run((first + i..end).step_by(threads), &send, &spares),
            None => reader.run_stream(first, &send, &spares),
        })?;
        Ok(Worker { batches: Some(batches), spare, thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Without a receiver a thread that waits to hand over a batch wakes up with an error, and ends.
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[derive(Clone)]
struct Reader {
    loader: Loader,
    order: Arc<[usize]>,
    epoch: u64,
}

impl Reader {
    fn run(
        &self,
        indices: impl Iterator<Item = usize>,
        send: &SyncSender<Result<Option<HostBatch>>>,
        spares: &Receiver<HostBatch>,
    ) {
        for index in indices {
            let batch = self.read(index, spares.try_recv().ok());
            let failed = batch.is_err();
            if send.send(batch.map(Some)).is_err() || failed {
                return;
            }
        }
    }

    fn run_stream(
        &self,
        first: usize,
        send: &SyncSender<Result<Option<HostBatch>>>,
        spares: &Receiver<HostBatch>,
    ) {
        let mut stream = match self.stream(first) {
            Ok(stream) => stream,
            Err(error) => return drop(send.send(Err(error))),
        };
        for index in first.. {
            let batch = stream.batch(index, self.loader.memory(spares.try_recv().ok()));
            let ended = !matches!(batch, Ok(Some(_)));
            if send.send(batch).is_err() || ended {
                return;
            }
        }
    }

    fn stream(&self, skip: usize) -> Result<Streamed> {
        let Loader { source, options, description, layout } = &self.loader;
        Streamed::open(&**source, options, description, layout, self.epoch, skip)
    }

    /// Reads a batch, into the memory of an old one if there is one.
    fn read(&self, index: usize, spare: Option<HostBatch>) -> Result<HostBatch> {
        let Loader { source, options, layout, .. } = &self.loader;
        let start = index * options.batch;
        let samples = &self.order[start..(start + options.batch).min(self.order.len())];
        let mut batch = self.loader.memory(spare);
        batch.resize(samples.len(), layout);
        batch.index = index;
        for (row, &sample) in samples.iter().enumerate() {
            let request = Request { index: sample, epoch: self.epoch, seed: options.seed };
            guarded(|| source.read(&request, &mut batch.sample(row, layout))).unwrap_or_else(|why| {
                let (name, which) = (self.loader.name(), named(&**source, sample));
                Err(Error::new(format!("{name}: reading {which} panicked: {why}")))
            })?;
            check_row(&batch, layout, row, || named(&**source, sample))?;
        }
        Ok(batch)
    }
}

/// A sample for a message: its number, and where it is from if that is known.
pub(crate) fn named(source: &dyn Source, index: usize) -> String {
    match source.origin(index) {
        Some(origin) => format!("sample {index} ({origin})"),
        None => format!("sample {index}"),
    }
}

/// What a call gives, or what it said when it panicked.
pub(crate) fn guarded<T>(call: impl FnOnce() -> T) -> std::result::Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic: Box<dyn Any + Send>| {
        let why = panic.downcast_ref::<&str>().map(|why| why.to_string());
        why.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
    })
}
