//! What is known in the middle of an epoch.

use super::state::State;
use crate::metric::Figures;
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
    /// Mean loss over the batches of this epoch since training went on; NaN at its very start. It is a few steps
    /// behind, so that the device never waits.
    pub loss: f64,
    /// Samples per second.
    pub samples_per_s: f64,
    /// Loss of the last step that has been read, a few steps behind; NaN before the first.
    pub last_loss: f64,
    /// Global norm of the gradients of that step, before they were clipped; `None` where they are not.
    pub gradient_norm: Option<f64>,
    /// Where the time went since training went on.
    pub phases: Phases,
    /// What has been read of this epoch since training went on.
    pub(crate) seen: Seen,
    /// What the schedule multiplied the rate of the last step with.
    factor: f64,
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
            last_loss: seen.last_loss.unwrap_or(f64::NAN),
            gradient_norm: seen.gradient_norm,
            phases: seen.phases,
            seen: *seen,
            factor: seen.rate_factor,
            measured: step,
        }
    }

    /// Learning rate of the last step as the schedule has it, of those parameters that are in no group; `None` if the
    /// optimizer has none.
    pub fn learning_rate(&self) -> Option<f64> {
        Some(self.measured.learning_rate()? * self.factor)
    }

    /// The metrics over the batches of this epoch so far. Reading waits for the last step: now and then is often
    /// enough.
    ///
    /// # Errors
    /// If the device fails.
    pub fn metrics(&self) -> Result<Figures> {
        Ok(self.measured.metrics()?.metrics)
    }
}

/// Where the time of training steps went, in seconds on the host. On a GPU, which computes while the host goes on, a
/// step takes as long as the host waits for an earlier one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Phases {
    /// Steps that were made.
    pub steps: u64,
    /// Waiting for a batch.
    pub data: f64,
    /// Computing: the program of the step, and what is told to the device before.
    pub step: f64,
    /// Callbacks after steps: saving, what is shown, those of your own.
    pub callbacks: f64,
}

impl Phases {
    /// All of it.
    pub fn seconds(&self) -> f64 {
        self.data + self.step + self.callbacks
    }
}

/// What has been read of the losses since training went on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// What the schedule multiplied the rate of the last step with.
    pub rate_factor: f64,
    /// Losses times samples.
    pub loss: f64,
    pub samples: u64,
    /// Samples of all steps that were made, those included whose loss has not been read.
    pub made: u64,
    pub seconds: f64,
    /// Loss and norm of the gradients of the last step that was read.
    pub last_loss: Option<f64>,
    pub gradient_norm: Option<f64>,
    pub phases: Phases,
}

/// Steps whose loss has not been read yet, in order.
pub(super) struct Outcomes {
    steps: VecDeque<(Outcome, u64)>,
    /// Whether steps whose loss is no number count for nothing: trials of a line search, which are taken back.
    skips: bool,
}

impl Outcomes {
    pub fn new(skips: bool) -> Outcomes {
        Outcomes { steps: VecDeque::new(), skips }
    }

    /// Adds the outcome of step number `step`.
    pub fn push(&mut self, outcome: Outcome, step: u64) {
        self.steps.push_back((outcome, step));
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
        while self.steps.len() > left {
            let Some((outcome, step)) = self.steps.pop_front() else { break };
            let loss = outcome.loss()?;
            if !loss.is_finite() && self.skips {
                continue;
            }
            if !loss.is_finite() {
                let message = format!(
                    "the loss became {loss} in step {step}; use a lower learning rate, or look for extreme inputs"
                );
                return Err(Error::of(ErrorKind::Numbers, message));
            }
            seen.loss += f64::from(loss) * outcome.samples() as f64;
            seen.samples += outcome.samples() as u64;
            seen.last_loss = Some(loss.into());
            seen.gradient_norm = outcome.gradient_norm()?.map(f64::from);
        }
        Ok(())
    }
}
