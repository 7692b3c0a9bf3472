//! What is known in the middle of an epoch.

use super::state::State;
use crate::metric::Values;
use crate::step::{Outcome, Step};
use crate::{Error, ErrorKind, Result};
use std::collections::VecDeque;

/// How many steps a device may be ahead of what has been read from it.
const LATE: usize = 4;

/// How far an epoch is.
#[derive(Clone, Copy)]
pub struct Progress<'a> {
    /// Number of the epoch, from 1.
    pub epoch: u64,
    /// Batches of this epoch that have been trained on.
    pub batch: usize,
    /// Batches in the epoch.
    pub batches: usize,
    /// Steps since the start of the run.
    pub step: u64,
    /// Mean loss over the batches of this epoch since training went on; NaN at its very start. It is a few steps behind, so
    /// that the device never waits.
    pub loss: f64,
    /// Samples per second.
    pub samples_per_s: f64,
    measured: &'a Step,
}

impl<'a> Progress<'a> {
    pub(super) fn new(state: &State, seen: &Seen, step: &'a Step) -> Progress<'a> {
        Progress {
            epoch: state.epoch + 1,
            batch: state.batch,
            batches: state.batches,
            step: state.step,
            loss: seen.loss / seen.samples as f64,
            samples_per_s: seen.samples as f64 / seen.seconds.max(1e-9),
            measured: step,
        }
    }

    /// The metrics over the batches of this epoch so far. Reading waits for the last step: now and then is often enough.
    ///
    /// # Errors
    /// If the device fails.
    pub fn metrics(&self) -> Result<Values> {
        Ok(self.measured.metrics()?.metrics)
    }
}

/// What has been read of the losses since training went on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// Losses times samples.
    pub loss: f64,
    pub samples: u64,
    pub seconds: f64,
}

/// Steps whose loss has not been read yet, in order.
#[derive(Default)]
pub(super) struct Outcomes(VecDeque<(Outcome, u64)>);

impl Outcomes {
    /// Adds the outcome of step number `step`.
    pub fn push(&mut self, outcome: Outcome, step: u64) {
        self.0.push_back((outcome, step));
    }

    /// Reads those that have had time to finish.
    pub fn read_late(&mut self, seen: &mut Seen) -> Result<()> {
        self.read_down_to(LATE, seen)
    }

    /// Reads all.
    pub fn read_all(&mut self, seen: &mut Seen) -> Result<()> {
        self.read_down_to(0, seen)
    }

    fn read_down_to(&mut self, left: usize, seen: &mut Seen) -> Result<()> {
        while self.0.len() > left {
            let Some((outcome, step)) = self.0.pop_front() else { break };
            let loss = outcome.loss()?;
            if !loss.is_finite() {
                let message = format!(
                    "the loss became {loss} in step {step}; use a lower learning rate, or look for extreme inputs"
                );
                return Err(Error::of(ErrorKind::Numbers, message));
            }
            seen.loss += f64::from(loss) * outcome.samples() as f64;
            seen.samples += outcome.samples() as u64;
        }
        Ok(())
    }
}
