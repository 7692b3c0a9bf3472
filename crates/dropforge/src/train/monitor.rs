//! Watching one figure of the epochs: whether it becomes better.

use super::callback::Control;
use super::report::{EpochReport, TRAIN, VALIDATION};
use crate::metric::Better;
use crate::settings::{Context, SettingType, Value, unknown};
use crate::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// A figure of an epoch's report, and which of two is the better one: as its metric says ([`Metric::better`]) unless it
/// is said here. See [`lowest`] and [`highest`].
///
/// [`Metric::better`]: crate::metric::Metric::better
#[derive(Clone, Debug, PartialEq)]
pub struct Monitor {
    name: String,
    better: Option<Better>,
}

/// Watches a figure that should become low, by the name that [`EpochReport::get`] knows: `val_loss`, `train_loss`.
pub fn lowest(name: impl Into<String>) -> Monitor {
    Monitor { name: name.into(), better: Some(Better::Lower) }
}

/// Watches a figure that should become high, by the name that [`EpochReport::get`] knows: `val_accuracy`.
pub fn highest(name: impl Into<String>) -> Monitor {
    Monitor { name: name.into(), better: Some(Better::Higher) }
}

/// The best so far, which checkpoints keep.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Best {
    /// The figure and the epoch it is of; none before the first.
    pub value: Option<f64>,
    pub epoch: u64,
    /// The step after which it was measured; 0 in runs of earlier versions.
    #[serde(default)]
    pub step: u64,
    /// Epochs, or validations where those come in the middle of epochs, since then.
    pub waited: u64,
}

impl Monitor {
    /// What is watched.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a higher figure is the better one of epochs like this one.
    ///
    /// # Errors
    /// Neither the monitor nor the metric says so.
    pub fn is_highest(&self, report: &EpochReport) -> Result<bool> {
        self.decided(report.value(&self.name).and_then(|value| value.better))
    }

    /// Refuses, before anything is trained, a figure that the epochs of a fit will not have, or of which nobody says
    /// which is better.
    pub(crate) fn check(&self, control: &Control<'_>) -> Result<()> {
        let figures = control.figures();
        if !figures.is_empty() && self.name != "lr" && !figures.contains(&self.name) {
            return Err(self.unknown(figures));
        }
        control.expected().map_or(Ok(()), |report| self.directed(report))
    }

    /// Refuses a figure of which nobody says which is better. One that is not measured yet is looked at when it is.
    fn directed(&self, report: &EpochReport) -> Result<()> {
        match report.value(&self.name) {
            Some(value) => self.decided(value.better).map(|_| ()),
            None => Ok(()),
        }
    }

    fn decided(&self, metric: Option<Better>) -> Result<bool> {
        let name = &self.name;
        let unknown = || {
            let message = format!(
                "{name}: whether a low or a high one is better is not known; write `lowest {name}` or `highest {name}`"
            );
            Error::of(ErrorKind::Setting, message)
        };
        Ok(self.better.or(metric).ok_or_else(unknown)? == Better::Higher)
    }

    /// Takes an epoch into account as [`Monitor::update`] does; `None` where it says nothing, because only some are
    /// measured.
    pub(crate) fn watch(
        &self,
        best: &mut Best,
        report: &EpochReport,
        control: &Control<'_>,
        least: f64,
    ) -> Result<Option<bool>> {
        if self.waits(report, control) { Ok(None) } else { self.update(best, report, least).map(Some) }
    }

    /// Takes a validation in the middle of an epoch into account; `None` after a whole epoch, of which callbacks hear
    /// by its end, and where the figure is not the validation's.
    pub(crate) fn watch_within(
        &self,
        best: &mut Best,
        control: &Control<'_>,
        least: f64,
    ) -> Result<Option<bool>> {
        match control.within_epoch().filter(|_| self.name.starts_with(VALIDATION)) {
            Some(report) => self.update(best, report, least).map(Some),
            None => Ok(None),
        }
    }

    /// Whether an epoch has not been measured because only some are, so that it says nothing.
    fn waits(&self, report: &EpochReport, control: &Control<'_>) -> bool {
        control.is_unmeasured(report) && self.name.starts_with(VALIDATION)
    }

    /// Whether it is the loss of training or validation.
    pub(crate) fn is_of_a_loss(&self) -> bool {
        [TRAIN, VALIDATION].iter().any(|of| self.name.strip_prefix(of) == Some("loss"))
    }

    fn unknown(&self, known: &[String]) -> Error {
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        if self.name.starts_with("val_") && !known.iter().any(|name| name.starts_with("val_")) {
            let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
            let (name, known) = (&self.name, known.join(", "));
            return Error::setting(format!(
                "there is no figure `{name}`, since nothing is validated, only {known}"
            ))
            .advice("give samples by .validate(&data)", "watch one of these");
        }
        if let Some(metric) = self.name.strip_prefix(TRAIN)
            && let Some(twin) = known.iter().find(|name| name.strip_prefix(VALIDATION) == Some(metric))
        {
            return Error::setting(format!(
                "{}: {metric} needs all samples at once and is not measured over training steps; watch `{twin}`",
                self.name
            ));
        }
        unknown("there is no figure", &self.name, "there are", &without_cells(&known))
    }

    /// The figure of an epoch.
    pub(crate) fn figure(&self, report: &EpochReport) -> Result<f64> {
        report.get(&self.name).ok_or_else(|| self.unknown(&report.names()))
    }

    /// Takes an epoch into account; gives whether it is better than the best so far by more than `least`.
    pub(crate) fn update(&self, best: &mut Best, report: &EpochReport, least: f64) -> Result<bool> {
        let figure = self.figure(report)?;
        let highest = self.is_highest(report)?;
        let better = match best.value {
            None => !figure.is_nan(),
            Some(old) if highest => figure > old + least,
            Some(old) => figure < old - least,
        };
        if better {
            *best = Best { value: Some(figure), epoch: report.epoch, step: report.step, waited: 0 };
        } else {
            best.waited += 1;
        }
        Ok(better)
    }
}

/// Names without those of many figures of one metric, such as the cells of a confusion matrix. They are known all the
/// same.
fn without_cells<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let base = |name: &'a str| name.trim_end_matches(|c: char| c == '_' || c.is_ascii_digit());
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for name in names.iter().copied().filter(|name| base(name) != *name) {
        *counts.entry(base(name)).or_default() += 1;
    }
    let many = |of: &str| counts.get(of).is_some_and(|count| *count > 3);
    names.iter().copied().filter(|name| base(name) == *name || !many(base(name))).collect()
}

/// What callbacks that watch a figure have in common, inside of their `impl Callback`: a name by the figure, and the
/// best so far as what they remember. They have the fields `monitor` and `best`, and are described.
macro_rules! watches_a_figure {
    () => {
        fn name(&self) -> String {
            format!("{}.{}", Self::NAME, self.monitor.name())
        }

        fn state(&self) -> Option<String> {
            self.best.to_text()
        }

        fn restore(&mut self, state: &str) -> Result<()> {
            self.best = Best::parse(state)?;
            Ok(())
        }

        fn config(&self) -> Result<Table> {
            self.write_named()
        }
    };
}
pub(super) use watches_a_figure;

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
            None => {
                let plain = Monitor { name: text, better: None };
                let better = plain.is_of_a_loss().then_some(Better::Lower);
                Monitor { better, ..plain }
            }
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
        let which = match self.better {
            Some(Better::Lower) => "lowest ",
            Some(Better::Higher) => "highest ",
            None => "",
        };
        Ok(Some(Value::String(format!("{which}{}", self.name))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::{Figures, Measured, Metric, finish, mean, mean_absolute_error};
    use crate::tensor::Tensor;

    /// An epoch that has measured this.
    fn report(metric: &dyn Metric, value: f64) -> EpochReport {
        let sums = [vec![value], vec![1.0]];
        let mut report = EpochReport {
            epoch: 1,
            step: 1,
            lr: 0.1,
            loss: 1.0,
            samples_per_s: 1.0,
            seconds: 1.0,
            metrics: finish(metric, &sums),
            validation: None,
        };
        report.epoch += value as u64;
        report
    }

    fn read(text: &str) -> Monitor {
        Monitor::read(&Value::String(text.into()), &Context::NONE).unwrap()
    }

    #[test]
    fn the_metric_says_what_is_better_whatever_it_is_called() {
        let own = |name: &'static str| mean(name, |y: &Tensor, t: &Tensor| y - t);
        let deviation = own("deviation").better(Better::Lower);
        let gain = own("gain_less_error").better(Better::Higher);
        let all: [(&dyn Metric, &str, bool); 3] = [
            (&deviation, "train_deviation", false),
            (&gain, "train_gain_less_error", true),
            (&mean_absolute_error(), "train_mae", false),
        ];
        for (metric, name, highest) in all {
            let mut best = Best::default();
            read(name).directed(&report(metric, 1.0)).unwrap();
            assert!(read(name).update(&mut best, &report(metric, 2.0), 0.0).unwrap());
            assert_eq!(read(name).update(&mut best, &report(metric, 3.0), 0.0).unwrap(), highest, "{name}");
            assert_eq!(read(name).write().unwrap(), Some(Value::String(name.into())));
        }
        // One of which nobody says it.
        let unsaid = report(&own("depth"), 1.0);
        for error in
            [read("train_depth").directed(&unsaid), read("train_depth").is_highest(&unsaid).map(|_| ())]
        {
            assert!(error.unwrap_err().to_string().contains("write `lowest "));
        }
        assert!(!read("lowest train_depth").is_highest(&unsaid).unwrap());
        assert_eq!(read("val_loss"), lowest("val_loss"));
        // What says nothing of a batch cannot be asked.
        struct Silent;
        impl Metric for Silent {
            fn name(&self) -> String {
                "silent".into()
            }
            fn update(&self, _: &Measured<'_>) -> Vec<Tensor> {
                Vec::new()
            }
            fn compute(&self, _: &[Vec<f64>]) -> Figures {
                Figures::number("silent", 1.0)
            }
        }
        assert!(read("train_silent").is_highest(&report(&Silent, 1.0)).is_err());
    }
}
