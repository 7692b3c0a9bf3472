//! The part of a checkpoint that lives on the host: where in the data a run is, and what it has measured.

use super::report::{EpochReport, Sums};
use crate::run::toml_message;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The layout of `state.toml` that this version reads and writes.
const FORMAT: u32 = 1;

/// Where a run is. The order of the samples follows from the seed and the number of the epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    format: u32,
    pub seed: u64,
    /// Samples per step.
    pub batch_size: usize,
    /// Batches in an epoch; 0 before the first.
    pub batches: usize,
    /// Steps that have been made.
    pub step: u64,
    /// Epochs that have been finished.
    pub epoch: u64,
    /// Batches of this epoch that have been trained on.
    pub batch: usize,
    /// Sums over these batches.
    pub sums: Sums,
    /// Epochs that have been finished.
    #[serde(default)]
    pub history: Vec<EpochReport>,
}

impl State {
    pub fn new(seed: u64, batch_size: usize) -> State {
        State {
            format: FORMAT,
            seed,
            batch_size,
            batches: 0,
            step: 0,
            epoch: 0,
            batch: 0,
            sums: Sums::default(),
            history: Vec::new(),
        }
    }

    pub fn to_text(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| Error::new(format!("state: {error}")))
    }

    pub fn parse(text: &str) -> Result<State> {
        let state: State = toml::from_str(text).map_err(|error| Error::new(toml_message(text, &error)))?;
        if state.format != FORMAT {
            return Err(Error::new(format!(
                "format {} is not the one of this version, {FORMAT}",
                state.format
            )));
        }
        Ok(state)
    }

    /// Whether a run with the settings of `self` can go on from `saved`.
    pub fn check_continues(&self, saved: &State) -> Result<()> {
        let differs = |what: &str, saved: u64, now: u64| {
            Err(Error::new(format!(
                "was saved by a run with {what} {saved}, this one has {now}; use the same"
            )))
        };
        if saved.seed != self.seed {
            return differs("seed", saved.seed, self.seed);
        }
        if saved.batch_size != self.batch_size {
            return differs("batch", saved.batch_size as u64, self.batch_size as u64);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back_exactly() {
        let mut state = State::new(u64::MAX, 32);
        state.sums.loss = 0.1 + 0.2;
        state.sums.correct = Some(13);
        state.sums.samples = 77;
        state.history.push(EpochReport {
            epoch: 1,
            step: 9,
            lr: 1e-300,
            loss: f64::MIN_POSITIVE,
            accuracy: None,
            samples_per_s: 12345.678,
            seconds: 0.1,
            validation: None,
        });
        assert_eq!(State::parse(&state.to_text().unwrap()).unwrap(), state);
        let other = State::new(7, 32);
        let message = other.check_continues(&state).unwrap_err().to_string();
        assert!(message.contains("seed 18446744073709551615") && message.contains('7'), "{message}");
        assert!(!State::parse("format = 1\nsteps = 3").unwrap_err().to_string().contains('\n'));
    }
}
