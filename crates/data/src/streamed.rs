//! Batches of samples that come one after another.

use std::sync::Arc;

use crate::batch::check_row;
use crate::loader::guarded;
use crate::random::Random;
use crate::{Description, Error, HostBatch, LoaderOptions, Result, Source, Stream};

/// Samples that are held for shuffling take at most so many bytes.
const MOST_BYTES: usize = 256 << 20;

/// Keeps the order of streams apart from other streams of the same seed.
const WINDOW_STREAM: u64 = 0x7368_7566_6600_0001;

/// One pass over a stream, shuffled within a window if that is wanted.
pub(crate) struct Streamed {
    stream: Box<dyn Stream>,
    layout: Arc<[usize]>,
    batch: usize,
    drop_last: bool,
    random: Random,
    /// Samples of which the next one is drawn; taken out while that happens.
    window: Option<HostBatch>,
    capacity: usize,
    /// Samples read so far.
    read: usize,
    ended: bool,
    epoch: u64,
}

impl Streamed {
    /// Opens the stream of an epoch and passes over so many batches of it.
    pub fn open(
        source: &dyn Source,
        options: &LoaderOptions,
        description: &Arc<Description>,
        layout: &Arc<[usize]>,
        epoch: u64,
        skip: usize,
    ) -> Result<Streamed> {
        let bytes: usize =
            description.fields.iter().zip(&**layout).map(|(field, n)| field.dtype.size() * n).sum();
        let capacity = if options.shuffle { options.window.min(MOST_BYTES / bytes.max(1)).max(1) } else { 0 };
        let mut streamed = Streamed {
            stream: source.stream(epoch, options.seed)?,
            layout: layout.clone(),
            batch: options.batch,
            drop_last: options.drop_last,
            random: Random::new(&[options.seed, WINDOW_STREAM, epoch]),
            window: Some(HostBatch::empty(description)),
            capacity,
            read: 0,
            ended: false,
            epoch,
        };
        // Read all the same: where a batch begins depends on what came before it.
        let mut memory = HostBatch::empty(description);
        for index in 0..skip {
            match streamed.batch(index, memory)? {
                Some(batch) => memory = batch,
                None => break,
            }
        }
        Ok(streamed)
    }

    /// The next batch, in this memory; `None` when there is none. That there is no first one is an error: nothing would
    /// be learnt, and nothing would say so.
    pub fn batch(&mut self, index: usize, mut batch: HostBatch) -> Result<Option<HostBatch>> {
        let layout = self.layout.clone();
        batch.index = index;
        let mut len = 0;
        while len < self.batch {
            // One row more than there are yet, so that a short stream takes little memory.
            batch.resize(len + 1, &layout);
            if !self.next(&mut batch, len, &layout)? {
                break;
            }
            len += 1;
        }
        batch.resize(len, &layout);
        if index == 0 && len == 0 {
            let (name, epoch) = (&batch.description.name, self.epoch + 1);
            return Err(Error::new(format!(
                "{name}: there are no samples in epoch {epoch}; the stream has to begin anew each time it is opened"
            )));
        }
        if index == 0 && len < self.batch && self.drop_last {
            return Err(Error::new(format!(
                "{}: {len} samples make no full batch of {}, and drop_last leaves out the rest; use a smaller batch or \
                 keep the last one",
                batch.description.name, self.batch
            )));
        }
        Ok((len > 0 && (len == self.batch || !self.drop_last)).then_some(batch))
    }

    /// Puts the next sample into this row; false when there are no more.
    fn next(&mut self, batch: &mut HostBatch, row: usize, layout: &[usize]) -> Result<bool> {
        if self.capacity == 0 {
            return self.pull(batch, row, layout);
        }
        let Some(mut window) = self.window.take() else { return Ok(false) };
        let drawn = self.draw(&mut window, batch, row, layout);
        self.window = Some(window);
        drawn
    }

    /// Fills the window, and takes one sample out of it.
    fn draw(
        &mut self,
        window: &mut HostBatch,
        batch: &mut HostBatch,
        row: usize,
        layout: &[usize],
    ) -> Result<bool> {
        while window.len < self.capacity && !self.ended {
            let len = window.len;
            window.resize(len + 1, layout);
            if !self.pull(window, len, layout)? {
                window.resize(len, layout);
            }
        }
        let Some(last) = window.len.checked_sub(1) else { return Ok(false) };
        let taken = self.random.below(window.len);
        for ((to, held), &elements) in batch.arrays.iter_mut().zip(&mut window.arrays).zip(layout) {
            to.copy(row * elements, held, taken * elements, elements);
            held.copy_within(taken * elements, last * elements, elements);
        }
        window.resize(last, layout);
        Ok(true)
    }

    /// Reads a sample of the stream into this row.
    fn pull(&mut self, batch: &mut HostBatch, row: usize, layout: &[usize]) -> Result<bool> {
        if self.ended {
            return Ok(false);
        }
        let sample = self.read;
        let stream = &mut self.stream;
        let there = guarded(|| stream.next(&mut batch.sample(row, layout))).unwrap_or_else(|why| {
            let name = &batch.description.name;
            Err(Error::new(format!("{name}: reading sample {sample} panicked: {why}")))
        })?;
        if there {
            check_row(batch, layout, row, || format!("sample {sample}"))?;
            self.read += 1;
        } else {
            self.ended = true;
        }
        Ok(there)
    }
}
