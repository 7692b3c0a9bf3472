//! A learning rate that falls when training no longer becomes better.

use super::callback::{Callback, Control};
use super::monitor::{Best, Monitor, lowest, watches_a_figure};
use super::report::EpochReport;
use crate::settings::{Described, Range, Table};
use crate::step::Evaluation;
use crate::{Result, described};

/// Lowers the learning rate when a figure no longer becomes better. See [`reduce_on_plateau`].
#[derive(Clone, Debug)]
pub struct ReduceOnPlateau {
    monitor: Monitor,
    factor: f64,
    patience: u64,
    least: f64,
    best: Best,
}

/// Multiplies the learning rate by 0.1 when a figure has not become better for more than `patience` epochs: PyTorch's
/// `ReduceLROnPlateau`. Groups whose rate is a multiple of it follow.
///
/// ```
/// use dropforge::prelude::*;
///
/// let (train, test) = datasets::digits(200, 50, 1);
/// let net = seq![flatten(), dense(10)];
/// let mut trainer = Trainer::new(net, cross_entropy(), Sgd::new(1e-9)).compile(&train)?;
/// // Nothing becomes better by so much: the rate falls after every second epoch but the first.
/// let plateau = reduce_on_plateau(highest("val_accuracy")).patience(1).factor(0.5);
/// trainer.fit(&train).validate(&test).epochs(5).callback(plateau).run()?;
/// assert_eq!(trainer.step().learning_rate(), Some(2.5e-10));
/// # Ok::<(), dropforge::Error>(())
/// ```
#[doc(alias = "ReduceLROnPlateau")]
pub fn reduce_on_plateau(monitor: Monitor) -> ReduceOnPlateau {
    ReduceOnPlateau { monitor, factor: 0.1, patience: 10, least: 0.0, best: Best::default() }
}

impl ReduceOnPlateau {
    /// What the rate is multiplied with. Default 0.1.
    #[must_use]
    pub fn factor(mut self, factor: f64) -> ReduceOnPlateau {
        self.factor = factor;
        self
    }

    /// How many epochs may be no better without consequence. Default 10.
    #[must_use]
    pub fn patience(mut self, epochs: u64) -> ReduceOnPlateau {
        self.patience = epochs;
        self
    }

    /// The rate below which it does not fall. Default 0.
    #[must_use]
    pub fn least(mut self, lr: f64) -> ReduceOnPlateau {
        self.least = lr;
        self
    }
}

impl ReduceOnPlateau {
    /// Lowers the rate if the figure has not become better for too long.
    fn lower(&mut self, control: &mut Control<'_>) -> Result<()> {
        if self.best.waited <= self.patience {
            return Ok(());
        }
        self.best.waited = 0;
        match control.learning_rate() {
            Some(lr) => control.set_learning_rate((lr * self.factor).max(self.least.min(lr))),
            None => Ok(()),
        }
    }
}

impl Callback for ReduceOnPlateau {
    watches_a_figure!();

    fn on_fit_start(&mut self, control: &mut Control<'_>) -> Result<()> {
        self.monitor.check(control)
    }

    fn on_validation_end(&mut self, _: &Evaluation, control: &mut Control<'_>) -> Result<()> {
        match self.monitor.watch_within(&mut self.best, control, 0.0)? {
            Some(_) => self.lower(control),
            None => Ok(()),
        }
    }

    fn on_epoch_end(&mut self, report: &EpochReport, control: &mut Control<'_>) -> Result<()> {
        match self.monitor.watch(&mut self.best, report, control, 0.0)? {
            Some(_) => self.lower(control),
            None => Ok(()),
        }
    }
}

described! {
    ReduceOnPlateau = "reduce_on_plateau", "lowers the learning rate when a figure no longer becomes better",
        { best: Best::default() };
    monitor: Monitor, Some(lowest("val_loss")), Range::ANY, "what is watched";
    factor: f64, Some(0.1), Range::above_to(0.0, 1.0), "what the rate is multiplied with";
    patience: u64, Some(10), (0..).into(), "how many epochs may be no better without consequence";
    least: f64, Some(0.0), (0.0..).into(), "the rate below which it does not fall";
}
