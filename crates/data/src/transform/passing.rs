//! Changes of samples that come one after another.

use crate::{Request, Result, Sample, Source, Stream};

/// One pass over a stream whose samples are changed; `change` is given the number of each in its epoch.
struct Passing<C> {
    stream: Box<dyn Stream>,
    next: Request,
    change: C,
}

impl<C: FnMut(&Request, &mut Sample) -> Result<()> + Send> Stream for Passing<C> {
    fn next(&mut self, sample: &mut Sample) -> Result<bool> {
        let request = self.next;
        // The number counts where a sample cannot be read, too.
        self.next.index += 1;
        if !self.stream.next(sample)? {
            return Ok(false);
        }
        (self.change)(&request, sample).map(|()| true)
    }
}

/// The stream of a source with its samples changed.
pub(super) fn passing(
    source: &dyn Source,
    epoch: u64,
    seed: u64,
    change: impl FnMut(&Request, &mut Sample) -> Result<()> + Send + 'static,
) -> Result<Box<dyn Stream>> {
    let stream = source.stream(epoch, seed)?;
    Ok(Box::new(Passing { stream, next: Request { index: 0, epoch, seed }, change }))
}
