//! How long kernels take, by events of the driver.

use crate::connection::Mark;
use crate::executable::Step;
use crate::gpu::Gpu;
use dropforge_ir::Result;

/// Takes the time of launches.
pub struct Clock {
    start: Mark,
    end: Mark,
    /// What errors are about.
    what: &'static str,
}

impl Clock {
    pub fn new(gpu: &Gpu, what: &'static str) -> Result<Clock> {
        let mark = || gpu.told("time", what, gpu.connection.event(true));
        Ok(Clock { start: mark()?, end: mark()?, what })
    }

    /// Seconds of this many runs.
    pub fn time(&self, gpu: &Gpu, steps: &[Step], runs: usize) -> Result<f64> {
        let time = || {
            self.start.record()?;
            for step in (0..runs).flat_map(|_| steps) {
                step.launch(gpu, false)?;
            }
            self.end.record()?;
            self.end.wait()?;
            self.end.seconds_since(&self.start)
        };
        gpu.told("time", self.what, time())
    }
}
