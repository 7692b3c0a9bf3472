//! Batches in a reproducible order, read ahead on background threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use crate::dataset::check_class;
use crate::random::Random;
use crate::{Error, Result, Source, TargetKind, Targets};

/// Some samples in a row, ready to be copied to a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The inputs, `len` samples one after another, each row-major.
    pub inputs: Vec<f32>,
    /// The targets of the same samples.
    pub targets: Targets,
    /// How many samples there are. The last batch of an epoch may have fewer than the others; nothing is filled up.
    pub len: usize,
    /// The place of this batch in its epoch, from 0; skipped batches count.
    pub index: usize,
}

/// How a [`Loader`] makes batches.
#[derive(Clone, Debug, PartialEq)]
pub struct LoaderOptions {
    /// Samples per batch. Default 64.
    pub batch: usize,
    /// Whether each epoch has its own random order. Default `true`.
    pub shuffle: bool,
    /// What the random orders come from. Default 0.
    pub seed: u64,
    /// Whether a last batch with fewer samples is left out. Default `false`.
    pub drop_last: bool,
    /// How many batches each thread reads ahead; 0 reads in the calling thread when asked. Default 2.
    pub prefetch: usize,
    /// How many threads read ahead; the batches and their order do not depend on it. More than one pays when samples
    /// are decoded from files. Default 1.
    pub threads: usize,
}

impl Default for LoaderOptions {
    fn default() -> LoaderOptions {
        LoaderOptions { batch: 64, shuffle: true, seed: 0, drop_last: false, prefetch: 2, threads: 1 }
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
///     sizes.push(batch.len);
///     epoch.recycle(batch);
/// }
/// assert_eq!(sizes, [32, 32, 32, 4]);
/// # Ok::<(), dropforge_data::Error>(())
/// ```
#[derive(Clone)]
pub struct Loader {
    source: Arc<dyn Source>,
    options: LoaderOptions,
    input_len: usize,
    target_len: usize,
}

impl Loader {
    /// A loader over all samples of a source.
    ///
    /// # Errors
    /// The source is empty or its description holds nothing, the batch is 0, or `drop_last` leaves no batch at all.
    pub fn new(source: Arc<dyn Source>, options: LoaderOptions) -> Result<Loader> {
        let description = source.description();
        let (name, len) = (&description.name, source.len());
        let (input_len, target_len) = (description.input_len()?, description.target_len()?);
        if len == 0 {
            return Err(Error::new(format!("{name}: there are no samples to make batches of")));
        }
        if options.batch == 0 {
            return Err(Error::new(format!("{name}: a batch of 0 samples is asked for, use 1 or more")));
        }
        if options.drop_last && len < options.batch {
            return Err(Error::new(format!(
                "{name}: {len} samples make no full batch of {}, and drop_last leaves out the rest; use a smaller \
                 batch or keep the last one",
                options.batch
            )));
        }
        if options
            .batch
            .min(len)
            .checked_mul(input_len.max(target_len))
            .is_none_or(|n| n > isize::MAX as usize / 8)
        {
            return Err(Error::new(format!(
                "{name}: a batch of {} samples does not fit in memory",
                options.batch
            )));
        }
        Ok(Loader { source, options, input_len, target_len })
    }

    /// The source of the samples.
    pub fn source(&self) -> &Arc<dyn Source> {
        &self.source
    }

    /// The options it was made with.
    pub fn options(&self) -> &LoaderOptions {
        &self.options
    }

    /// Batches per epoch.
    pub fn batches(&self) -> usize {
        let (len, batch) = (self.source.len(), self.options.batch);
        if self.options.drop_last { len / batch } else { len.div_ceil(batch) }
    }

    /// The sample numbers of an epoch, in order.
    pub fn order(&self, epoch: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.source.len()).collect();
        if self.options.shuffle {
            Random::new(&[self.options.seed, ORDER_STREAM, epoch]).shuffle(&mut order);
        }
        order
    }

    /// The batches of an epoch from number `skip_batches` on; none when that is all of them or more.
    ///
    /// Reading starts at once, in the background. Dropping the epoch early stops it.
    pub fn epoch(&self, epoch: u64, skip_batches: usize) -> Epoch {
        let end = self.batches();
        let next = skip_batches.min(end);
        let reader = Reader { loader: self.clone(), order: Arc::new(self.order(epoch)) };
        let threads =
            if self.options.prefetch == 0 { 0 } else { self.options.threads.max(1).min(end - next) };
        let workers =
            (0..threads).map_while(|i| Worker::start(reader.clone(), next + i..end, threads).ok()).collect();
        let mut epoch = Epoch { reader, workers, spare: Vec::new(), first: next, next, end };
        // The system refused a thread: read in the calling one.
        if epoch.workers.len() < threads {
            epoch.workers.clear();
        }
        epoch
    }
}

/// Keeps the stream of orders apart from other streams of the same seed.
const ORDER_STREAM: u64 = 0x6f72_6465_7200_0001;

/// The batches of one epoch, in order. After an error there are no more.
pub struct Epoch {
    reader: Reader,
    workers: Vec<Worker>,
    /// Batches given back, for reading in the calling thread.
    spare: Vec<Batch>,
    first: usize,
    next: usize,
    end: usize,
}

impl Epoch {
    /// Gives back the memory of a batch that is no longer needed, so that a later one can use it. Not required.
    pub fn recycle(&mut self, batch: Batch) {
        if self.next >= self.end {
            return;
        }
        let count = self.workers.len();
        if count == 0 {
            self.spare.push(batch);
        } else if let Some(worker) = self.workers.get(batch.index.wrapping_sub(self.first) % count) {
            // A worker that has already read its last batch needs no memory.
            let _ = worker.spare.send(batch);
        }
    }
}

impl Iterator for Epoch {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Result<Batch>> {
        if self.next >= self.end {
            return None;
        }
        let index = self.next;
        self.next += 1;
        let result = if self.workers.is_empty() {
            self.reader.read(index, self.spare.pop())
        } else {
            let count = self.workers.len();
            let worker = &self.workers[(index - self.first) % count];
            let lost = || Error::new(format!("{}: reading batch {index} ended early", self.reader.name()));
            worker.batches.as_ref().and_then(|batches| batches.recv().ok()).unwrap_or_else(|| Err(lost()))
        };
        if result.is_err() {
            self.end = self.next;
        }
        Some(result)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end - self.next;
        (usize::from(left > 0), Some(left))
    }
}

/// A background thread that reads every `step`-th batch.
struct Worker {
    /// `None` only while being dropped.
    batches: Option<Receiver<Result<Batch>>>,
    spare: Sender<Batch>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    fn start(reader: Reader, range: std::ops::Range<usize>, step: usize) -> std::io::Result<Worker> {
        let (send, batches) = sync_channel(reader.loader.options.prefetch.min(1 << 10));
        let (spare, spares) = channel();
        let thread = std::thread::Builder::new()
            .name("dropforge-data".into())
            .spawn(move || reader.run(range, step, &send, &spares))?;
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
    order: Arc<Vec<usize>>,
}

impl Reader {
    fn run(
        &self,
        range: std::ops::Range<usize>,
        step: usize,
        send: &SyncSender<Result<Batch>>,
        spares: &Receiver<Batch>,
    ) {
        for index in range.step_by(step) {
            let batch = self.read(index, spares.try_recv().ok());
            let failed = batch.is_err();
            if send.send(batch).is_err() || failed {
                return;
            }
        }
    }

    fn name(&self) -> &str {
        &self.loader.source.description().name
    }

    /// Reads a batch, into the memory of an old one if there is one.
    fn read(&self, index: usize, spare: Option<Batch>) -> Result<Batch> {
        let Loader { source, options, input_len, target_len } = &self.loader;
        let start = index * options.batch;
        let samples = &self.order[start..(start + options.batch).min(self.order.len())];
        let classes = matches!(source.description().target, TargetKind::Class { .. });
        let (mut inputs, old) = spare.map_or((Vec::new(), None), |batch| (batch.inputs, Some(batch.targets)));
        inputs.resize(samples.len() * input_len, 0.0);
        let mut targets = match old {
            Some(old) if matches!(old, Targets::Classes(_)) == classes => old,
            _ if classes => Targets::Classes(Vec::new()),
            _ => Targets::Values(Vec::new()),
        };
        match &mut targets {
            Targets::Classes(targets) => targets.resize(samples.len(), 0),
            Targets::Values(targets) => targets.resize(samples.len() * target_len, 0.0),
        }
        for (row, &sample) in samples.iter().enumerate() {
            let input = &mut inputs[row * input_len..][..*input_len];
            catch_unwind(AssertUnwindSafe(|| self.read_sample(sample, row, input, &mut targets)))
                .unwrap_or_else(|panic| {
                    let why = panic.downcast_ref::<&str>().map(|why| why.to_string());
                    let why = why.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
                    Err(Error::new(format!("{}: reading sample {sample} panicked: {why}", self.name())))
                })?;
        }
        Ok(Batch { inputs, targets, len: samples.len(), index })
    }

    /// Reads one sample into its row, and checks it: a source may be someone else's.
    fn read_sample(&self, sample: usize, row: usize, input: &mut [f32], targets: &mut Targets) -> Result<()> {
        let Loader { source, target_len, .. } = &self.loader;
        source.read_input(sample, input)?;
        if !all_finite(input) {
            return Err(self.not_finite("input", sample));
        }
        match targets {
            Targets::Classes(classes) => {
                classes[row] = source.class(sample)?;
                let count = source.description().class_count().unwrap_or(0);
                check_class(self.name(), sample, classes[row], count)
            }
            Targets::Values(values) => {
                let values = &mut values[row * target_len..][..*target_len];
                source.values(sample, values)?;
                if all_finite(values) { Ok(()) } else { Err(self.not_finite("target", sample)) }
            }
        }
    }

    fn not_finite(&self, what: &str, sample: usize) -> Error {
        Error::new(format!("{}: the {what} of sample {sample} has a NaN or an infinite number", self.name()))
    }
}

/// Without an early exit, so that it becomes vector code.
fn all_finite(values: &[f32]) -> bool {
    values.iter().fold(true, |all, x| all & x.is_finite())
}
