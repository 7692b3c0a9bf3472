//! What a trainer reports: an epoch, an evaluation, the table of a run.

use serde::{Deserialize, Serialize};
use std::fmt::{self, Write as _};

/// Sums over the samples of an epoch or an evaluation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sums {
    /// Loss times samples.
    pub loss: f64,
    /// Samples whose class was right; absent when nothing is classified.
    pub correct: Option<u64>,
    pub samples: u64,
    pub seconds: f64,
}

impl Sums {
    /// Adds a batch of `samples` with this mean loss.
    pub fn add(&mut self, loss: f64, correct: Option<usize>, samples: usize) {
        self.loss += loss * samples as f64;
        self.samples += samples as u64;
        if let Some(correct) = correct {
            *self.correct.get_or_insert(0) += correct as u64;
        }
    }

    pub fn mean_loss(&self) -> f64 {
        self.loss / self.samples as f64
    }

    pub fn accuracy(&self) -> Option<f64> {
        Some(self.correct? as f64 / self.samples as f64)
    }

    pub fn per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.samples as f64 / self.seconds } else { 0.0 }
    }
}

/// What came out of one epoch of training. [`Display`](fmt::Display) gives one line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochReport {
    /// Number of the epoch, from 1.
    pub epoch: u64,
    /// Steps since the start of the run.
    pub step: u64,
    /// Learning rate of the last step.
    pub lr: f64,
    /// Mean loss over the samples, each measured before the step it was part of.
    pub loss: f64,
    /// Part of the samples whose class was right, 0 to 1; `None` when nothing is classified.
    pub accuracy: Option<f64>,
    /// Samples per second.
    pub samples_per_s: f64,
    /// Seconds that the epoch took, stops not counted.
    pub seconds: f64,
    /// What [`Trainer::validate`](super::Trainer::validate) measured after the epoch.
    pub validation: Option<Evaluation>,
}

/// What a model is worth on some data. [`Display`](fmt::Display) gives one line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// Mean loss over the samples.
    pub loss: f64,
    /// Part of the samples whose class was right, 0 to 1; `None` when nothing is classified.
    pub accuracy: Option<f64>,
    /// How many samples there were.
    pub samples: u64,
    /// Seconds it took.
    pub seconds: f64,
}

impl Evaluation {
    /// Samples per second.
    pub fn samples_per_s(&self) -> f64 {
        if self.seconds > 0.0 { self.samples as f64 / self.seconds } else { 0.0 }
    }
}

impl From<&Sums> for Evaluation {
    fn from(sums: &Sums) -> Evaluation {
        Evaluation {
            loss: sums.mean_loss(),
            accuracy: sums.accuracy(),
            samples: sums.samples,
            seconds: sums.seconds,
        }
    }
}

/// A loss, and an accuracy if there is one.
struct Quality(f64, Option<f64>);

impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "loss {:.4}", self.0)?;
        self.1.map_or(Ok(()), |accuracy| write!(f, ", accuracy {:.2} %", accuracy * 100.0))
    }
}

impl fmt::Display for EpochReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {}: {}", self.epoch, Quality(self.loss, self.accuracy))?;
        if let Some(validation) = &self.validation {
            write!(f, "; test {}", Quality(validation.loss, validation.accuracy))?;
        }
        write!(f, "; {:.0} samples/s, {:.1} s", self.samples_per_s, self.seconds)
    }
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {} samples", Quality(self.loss, self.accuracy), self.samples)
    }
}

/// The epochs as a table, comma-separated, with a line of names.
pub(crate) fn table(history: &[EpochReport]) -> String {
    let mut text =
        "epoch,step,lr,train_loss,train_accuracy,test_loss,test_accuracy,samples_per_s,seconds\n".to_string();
    let optional = |number: Option<f64>| number.map_or_else(String::new, |number| number.to_string());
    for report in history {
        let EpochReport { epoch, step, lr, loss, accuracy, samples_per_s, seconds, validation } = report;
        let test_loss = optional(validation.as_ref().map(|v| v.loss));
        let test_accuracy = optional(validation.as_ref().and_then(|v| v.accuracy));
        let accuracy = optional(*accuracy);
        let _ = writeln!(
            text,
            "{epoch},{step},{lr},{loss},{accuracy},{test_loss},{test_accuracy},{samples_per_s:.1},{seconds:.3}"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_table() {
        let mut sums = Sums::default();
        sums.add(0.5, Some(3), 4);
        sums.add(0.25, Some(4), 4);
        sums.seconds = 2.0;
        let validation = Evaluation::from(&sums);
        assert_eq!(validation.to_string(), "loss 0.3750, accuracy 87.50 % on 8 samples");
        let report = EpochReport {
            epoch: 2,
            step: 4,
            lr: 0.05,
            loss: 0.375,
            accuracy: None,
            samples_per_s: sums.per_second(),
            seconds: 2.0,
            validation: Some(validation),
        };
        let line = "epoch 2: loss 0.3750; test loss 0.3750, accuracy 87.50 %; 4 samples/s, 2.0 s";
        assert_eq!(report.to_string(), line);
        assert!(table(&[report]).ends_with("\n2,4,0.05,0.375,,0.375,0.875,4.0,2.000\n"));
    }
}
