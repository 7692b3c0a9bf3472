//! Time per kernel, by events between the launches of a run, which are made one by one then.

use crate::connection::{Mark, Outcome};
use crate::gpu::Gpu;
use dropforge_runtime::profile::Times;

/// Marks of a program, and what they added up to.
pub struct Profile {
    marks: Vec<Mark>,
    /// Seconds of each launch, over all runs.
    totals: Vec<f64>,
    runs: u32,
}

impl Profile {
    /// For a number of launches.
    pub fn new(gpu: &Gpu, launches: usize) -> Outcome<Profile> {
        let marks = (0..=launches).map(|_| gpu.connection.event(true)).collect::<Outcome<_>>()?;
        Ok(Profile { marks, totals: vec![0.0; launches], runs: 0 })
    }

    /// Takes the time before launch `index`, or after the last.
    pub fn mark(&self, index: usize) -> Outcome {
        self.marks.get(index).map_or(Ok(()), Mark::record)
    }

    /// Waits for the run and adds its times.
    pub fn collect(&mut self) -> Outcome {
        if let Some(last) = self.marks.last() {
            last.wait()?;
        }
        for (total, pair) in self.totals.iter_mut().zip(self.marks.windows(2)) {
            *total += pair[1].seconds_since(&pair[0])?;
        }
        self.runs += 1;
        Ok(())
    }

    /// The times of as many kernels of a plan. `kernels` names the kernel behind each launch.
    pub fn times(&self, count: usize, kernels: impl Iterator<Item = usize>) -> Times {
        let mut seconds = vec![0.0; count];
        for (kernel, total) in kernels.zip(&self.totals) {
            seconds[kernel] += total / f64::from(self.runs.max(1));
        }
        Times { seconds, runs: self.runs }
    }
}
