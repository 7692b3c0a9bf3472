//! What a trainer reports: an epoch, the table of a run.

use crate::metric::{Figure, Figures};
use crate::step::{Evaluation, Quality};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fmt::{self, Write as _};

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
    /// Samples per second.
    pub samples_per_s: f64,
    /// Seconds that the epoch took, stops not counted.
    pub seconds: f64,
    /// The metrics over the samples, each measured before the step it was part of.
    #[serde(default)]
    pub metrics: Figures,
    /// What [`Trainer::validate`](super::Trainer::validate) measured after the epoch.
    pub validation: Option<Evaluation>,
}

/// What the figures of the training steps are called in front of their names.
pub(crate) const TRAIN: &str = "train_";
/// What the figures of the validation are called in front of their names.
pub(crate) const VALIDATION: &str = "val_";

impl EpochReport {
    /// A figure by its full name: `train_loss`, `val_loss`, `lr`, or a metric such as `val_accuracy`.
    pub fn get(&self, name: &str) -> Option<f64> {
        if name == "lr" {
            return Some(self.lr);
        }
        if let Some(name) = name.strip_prefix(VALIDATION) {
            return self.validation.as_ref()?.get(name);
        }
        match name.strip_prefix(TRAIN)? {
            "loss" => Some(self.loss),
            name => self.metrics.get(name),
        }
    }

    /// The figure of a metric by its full name, such as `val_accuracy`, with what is known of it.
    pub fn value(&self, name: &str) -> Option<&Figure> {
        match name.strip_prefix(VALIDATION) {
            Some(name) => self.validation.as_ref()?.metrics.find(name),
            None => self.metrics.find(name.strip_prefix(TRAIN)?),
        }
    }

    /// The full names of all its figures but the rate, in order.
    pub fn names(&self) -> Vec<String> {
        let with = |prefix: &str, metrics: &Figures| {
            let names = std::iter::once("loss").chain(metrics.iter().map(|value| value.name.as_str()));
            names.map(|name| format!("{prefix}{name}")).collect::<Vec<_>>()
        };
        let mut names = with(TRAIN, &self.metrics);
        if let Some(validation) = &self.validation {
            names.extend(with(VALIDATION, &validation.metrics));
        }
        names
    }
}

impl fmt::Display for EpochReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {}: {}", self.epoch, Quality(self.loss, &self.metrics))?;
        if let Some(validation) = &self.validation {
            write!(f, "; validation {}", Quality(validation.loss, &validation.metrics))?;
        }
        write!(f, "; {:.0} samples/s, {:.1} s", self.samples_per_s, self.seconds)
    }
}

/// The epochs as a table, comma-separated, with a line of names: those of all figures that any epoch has.
pub(crate) fn table(history: &[EpochReport]) -> String {
    let mut known = HashSet::new();
    let names = history.iter().flat_map(EpochReport::names);
    let mut names: Vec<String> = names.filter(|name| known.insert(name.clone())).collect();
    // What an epoch without validation has comes first, whichever epoch is first.
    names.sort_by_key(|name| name.starts_with(VALIDATION));
    let mut text = "epoch,step,lr,".to_string();
    for name in &names {
        // Names are people's own: commas and quotes are quoted as in RFC 4180.
        match name.contains([',', '"', '\n']) {
            true => drop(write!(text, "\"{}\",", name.replace('"', "\"\""))),
            false => drop(write!(text, "{name},")),
        }
    }
    text.push_str("samples_per_s,seconds\n");
    for report in history {
        let EpochReport { epoch, step, lr, samples_per_s, seconds, .. } = report;
        let _ = write!(text, "{epoch},{step},{lr},");
        for name in &names {
            let _ = match report.get(name) {
                Some(number) => write!(text, "{number},"),
                None => write!(text, ","),
            };
        }
        let _ = writeln!(text, "{samples_per_s:.1},{seconds:.3}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_table() {
        let metrics = Figures::share("accuracy", 0.875).and(Figures::number("own, sum", 2.0));
        let validation = Evaluation { loss: 0.375, samples: 8, seconds: 2.0, metrics };
        assert_eq!(validation.to_string(), "loss 0.3750, accuracy 87.50 %, own, sum 2.0000 on 8 samples");
        let mut report = EpochReport {
            epoch: 2,
            step: 4,
            lr: 0.05,
            loss: 0.375,
            samples_per_s: validation.samples_per_s(),
            seconds: 2.0,
            metrics: Figures::default(),
            validation: None,
        };
        let first = report.clone();
        report.validation = Some(validation);
        let line = "epoch 2: loss 0.3750; validation loss 0.3750, accuracy 87.50 %, own, sum 2.0000; 4 samples/s, 2.0 s";
        assert_eq!(report.to_string(), line);
        assert_eq!((report.get("val_accuracy"), report.get("train_accuracy")), (Some(0.875), None));
        assert_eq!(
            table(&[first, report]),
            "epoch,step,lr,train_loss,val_loss,val_accuracy,\"val_own, sum\",samples_per_s,seconds\n\
             2,4,0.05,0.375,,,,4.0,2.000\n2,4,0.05,0.375,0.375,0.875,2,4.0,2.000\n"
        );
    }
}
