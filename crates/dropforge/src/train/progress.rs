//! What is known in the middle of an epoch.

use super::report::Sums;
use super::state::State;
use crate::step::Outcome;
use crate::{Error, Result};
use std::collections::VecDeque;

/// How many steps a device may be ahead of what has been read from it.
const LATE: usize = 4;

/// How far an epoch is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Number of the epoch, from 1.
    pub epoch: u64,
    /// Batches of this epoch that have been trained on.
    pub batch: usize,
    /// Batches in the epoch.
    pub batches: usize,
    /// Steps since the start of the run.
    pub step: u64,
    /// Mean loss so far in this epoch; NaN at its very start. It is a few steps behind, so that the device never waits.
    pub loss: f64,
    /// Part of the samples so far whose class was right; `None` when nothing is classified.
    pub accuracy: Option<f64>,
    /// Samples per second.
    pub samples_per_s: f64,
}

impl Progress {
    pub(super) fn new(state: &State, samples_per_s: f64) -> Progress {
        Progress {
            epoch: state.epoch + 1,
            batch: state.batch,
            batches: state.batches,
            step: state.step,
            loss: state.sums.mean_loss(),
            accuracy: state.sums.accuracy(),
            samples_per_s,
        }
    }
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
    pub fn read_late(&mut self, sums: &mut Sums) -> Result<()> {
        self.read_down_to(LATE, sums)
    }

    /// Reads all.
    pub fn read_all(&mut self, sums: &mut Sums) -> Result<()> {
        self.read_down_to(0, sums)
    }

    fn read_down_to(&mut self, left: usize, sums: &mut Sums) -> Result<()> {
        while self.0.len() > left {
            let Some((outcome, step)) = self.0.pop_front() else { break };
            let loss = outcome.loss()?;
            if !loss.is_finite() {
                return Err(Error::new(format!(
                    "the loss became {loss} in step {step}; use a lower learning rate, or look for extreme inputs"
                )));
            }
            sums.add(loss.into(), outcome.correct()?, outcome.samples());
        }
        Ok(())
    }
}
