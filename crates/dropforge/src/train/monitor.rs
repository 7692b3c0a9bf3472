//! Watching one figure of the epochs: whether it becomes better.

use super::report::EpochReport;
use crate::settings::{Context, SettingType, Value};
use crate::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// A figure of an epoch's report, and which of two is the better one. See [`lowest`] and [`highest`].
#[derive(Clone, Debug, PartialEq)]
pub struct Monitor {
    name: String,
    highest: bool,
}

/// Watches a figure that should become low, by the name that [`EpochReport::get`] knows: `val_loss`, `train_loss`.
pub fn lowest(name: impl Into<String>) -> Monitor {
    Monitor { name: name.into(), highest: false }
}

/// Watches a figure that should become high, by the name that [`EpochReport::get`] knows: `val_accuracy`.
pub fn highest(name: impl Into<String>) -> Monitor {
    Monitor { name: name.into(), highest: true }
}

/// The best so far, which checkpoints keep.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Best {
    /// The figure and the epoch it is of; none before the first.
    pub value: Option<f64>,
    pub epoch: u64,
    /// Epochs since then.
    pub waited: u64,
}

impl Monitor {
    /// What is watched.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a higher figure is the better one.
    pub fn is_highest(&self) -> bool {
        self.highest
    }

    /// The figure of an epoch.
    pub(crate) fn figure(&self, report: &EpochReport) -> Result<f64> {
        report.get(&self.name).ok_or_else(|| {
            let known = report.names().join(", ");
            Error::of(ErrorKind::Setting, format!("{} is not measured; there are {known}", self.name))
        })
    }

    /// Takes an epoch into account; gives whether it is better than the best so far by more than `least`.
    pub(crate) fn update(&self, best: &mut Best, report: &EpochReport, least: f64) -> Result<bool> {
        let figure = self.figure(report)?;
        let better = match best.value {
            None => !figure.is_nan(),
            Some(old) if self.highest => figure > old + least,
            Some(old) => figure < old - least,
        };
        if better {
            *best = Best { value: Some(figure), epoch: report.epoch, waited: 0 };
        } else {
            best.waited += 1;
        }
        Ok(better)
    }
}

impl Best {
    pub fn to_text(&self) -> Option<String> {
        toml::to_string(self).ok()
    }

    pub fn parse(text: &str) -> Result<Best> {
        toml::from_str(text).map_err(|_| Error::of(ErrorKind::File, format!("cannot go on from {text:?}")))
    }
}

/// The name of a figure, with `lowest` or `highest` in front where its name does not say which is better.
impl SettingType for Monitor {
    fn expects() -> String {
        "a figure such as \"val_loss\", \"val_accuracy\" or \"lowest val_depth\"".into()
    }

    fn read(value: &Value, context: &Context<'_>) -> Result<Monitor> {
        let text = String::read(value, context)?;
        let monitor = match text.split_once(' ') {
            Some(("lowest", name)) => lowest(name.trim()),
            Some(("highest", name)) => highest(name.trim()),
            None if LOWER_IS_BETTER.iter().any(|end| text.ends_with(end)) => lowest(text),
            None => highest(text),
            Some(_) => {
                return Err(Error::of(
                    ErrorKind::Setting,
                    format!("should be {}, got {text:?}", Monitor::expects()),
                ));
            }
        };
        Ok(monitor)
    }

    fn write(&self) -> Result<Option<Value>> {
        let which = if self.highest { "highest" } else { "lowest" };
        Ok(Some(Value::String(format!("{which} {}", self.name))))
    }
}

/// Ends of the names of figures that should become low.
const LOWER_IS_BETTER: [&str; 7] = ["loss", "error", "mae", "mape", "mse", "brier", "perplexity"];
