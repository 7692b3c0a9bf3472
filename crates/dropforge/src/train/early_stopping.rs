//! Ending training when it no longer becomes better.

use super::callback::{Callback, Control};
use super::monitor::{Best, Monitor, lowest, watches_a_figure};
use super::report::{EpochReport, VALIDATION};
use crate::settings::{Described, Range, Table};
use crate::step::Evaluation;
use crate::{Result, described};

/// Ends training when a figure no longer becomes better. See [`early_stopping`].
#[derive(Clone, Debug)]
pub struct EarlyStopping {
    monitor: Monitor,
    patience: u64,
    min_delta: f64,
    best: Best,
}

/// Ends training when a figure has not become better for some epochs: Keras's `EarlyStopping`.
///
/// ```
/// use dropforge::prelude::*;
///
/// let (train, test) = datasets::digits(200, 50, 1);
/// let net = seq![flatten(), dense(10)];
/// let mut trainer = Trainer::new(net, cross_entropy(), Sgd::new(0.0)).compile(&train)?;
/// let stopping = early_stopping(lowest("val_loss")).patience(2);
/// let fitted = trainer.fit(&train).validate(&test).epochs(100).callback(stopping).run()?;
/// // Nothing is learned at a rate of 0: the first epoch stays the best.
/// assert_eq!(trainer.epochs(), 3);
/// assert!(fitted.stopped.unwrap().contains("val_loss"));
/// # Ok::<(), dropforge::Error>(())
/// ```
#[doc(alias = "EarlyStopping")]
pub fn early_stopping(monitor: Monitor) -> EarlyStopping {
    EarlyStopping { monitor, patience: 3, min_delta: 0.0, best: Best::default() }
}

impl EarlyStopping {
    /// How many epochs may be no better, of those that are measured; how many validations, where
    /// [they come in the middle of epochs](super::Fit::validate_every). Default 3.
    #[must_use]
    pub fn patience(mut self, epochs: u64) -> EarlyStopping {
        self.patience = epochs;
        self
    }

    /// By how much a figure must be better to count. Default 0.
    #[must_use]
    pub fn min_delta(mut self, least: f64) -> EarlyStopping {
        self.min_delta = least;
        self
    }

    fn check(&self, control: &mut Control<'_>) {
        let Best { value, epoch, step, waited } = &self.best;
        if *waited < self.patience.max(1) {
            return;
        }
        let name = self.monitor.name();
        let by_steps = control.validates_within() && name.starts_with(VALIDATION);
        let (of, at, unit) =
            if by_steps { ("after step", step, "validation") } else { ("in epoch", epoch, "epoch") };
        let time = if *waited == 1 { format!("1 {unit}") } else { format!("{waited} {unit}s") };
        let why = match value {
            Some(value) => format!("{name} was best {of} {at} ({value:.4}), {time} ago"),
            None => format!("{name} has been NaN for {time}"),
        };
        control.stop_by("patience", why);
    }
}

impl Callback for EarlyStopping {
    watches_a_figure!();

    /// A run that was stopped stays so when it is resumed.
    fn on_fit_start(&mut self, control: &mut Control<'_>) -> Result<()> {
        self.monitor.check(control)?;
        self.check(control);
        Ok(())
    }

    fn on_validation_end(&mut self, _: &Evaluation, control: &mut Control<'_>) -> Result<()> {
        if self.monitor.watch_within(&mut self.best, control, self.min_delta)?.is_some() {
            self.check(control);
        }
        Ok(())
    }

    fn on_epoch_end(&mut self, report: &EpochReport, control: &mut Control<'_>) -> Result<()> {
        if self.monitor.watch(&mut self.best, report, control, self.min_delta)?.is_some() {
            // A loss that is no number does not come back; other figures may, where a class turns up.
            if self.monitor.is_of_a_loss() && self.monitor.figure(report)?.is_nan() {
                let (name, epoch) = (self.monitor.name(), report.epoch);
                control.stop(format!(
                    "{name} is NaN after epoch {epoch}: the training diverges, or the data hold what is no number; train with \
                     a lower rate"
                ));
            }
            self.check(control);
        }
        Ok(())
    }
}

described! {
    EarlyStopping = "early_stopping", "ends training when a figure no longer becomes better", { best: Best::default() };
    monitor: Monitor, Some(lowest("val_loss")), Range::ANY, "what is watched";
    patience: u64, Some(3), (1..).into(), "how many epochs may be no better", may change;
    min_delta: f64, Some(0.0), (0.0..).into(), "by how much a figure must be better to count", may change;
}
