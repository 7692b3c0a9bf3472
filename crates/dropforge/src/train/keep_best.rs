//! Keeping the best weights of a training.

use super::callback::{Callback, Control};
use super::monitor::{Best, Monitor, lowest, watches_a_figure};
use super::report::EpochReport;
use crate::settings::{Described, Range, Table};
use crate::step::Evaluation;
use crate::{Error, Result, described};

/// Keeps the weights of the best epoch. See [`keep_best`].
#[derive(Clone, Debug)]
pub struct KeepBest {
    monitor: Monitor,
    last: usize,
    best: Best,
}

/// Keeps the weights of the epoch in which a figure was best in the run that is saved to, beside the newest checkpoint:
/// `best.safetensors`. [`Trained::open_best`](crate::run::Trained::open_best) and `dropforge eval RUN --best` use them.
/// What was best is in the checkpoints, so that a resumed run keeps what one without stops would have kept.
///
/// ```
/// use dropforge::prelude::*;
/// use dropforge::train::keep_best;
///
/// # let run = std::env::temp_dir().join(format!("dropforge-doc-best-{}", std::process::id()));
/// let (train, test) = datasets::digits(200, 50, 1);
/// let net = seq![flatten(), dense(10)];
/// let mut trainer = Trainer::new(net, cross_entropy(), Sgd::new(0.05)).compile(&train)?;
/// let best = keep_best(highest("val_accuracy"));
/// trainer.fit(&train).validate(&test).epochs(3).callback(best).save(&run).run()?;
/// let accuracies = trainer.history().iter().filter_map(|report| report.get("val_accuracy"));
/// let best = Trained::open_best(&run, &Runtime::shared()?)?.evaluate(&test, 50)?;
/// assert_eq!(best.get("accuracy"), accuracies.reduce(f64::max));
/// # std::fs::remove_dir_all(run).unwrap();
/// # Ok::<(), dropforge::Error>(())
/// ```
pub fn keep_best(monitor: Monitor) -> KeepBest {
    KeepBest { monitor, last: 1, best: Best::default() }
}

impl KeepBest {
    /// How many checkpoints stay, the newest included. Default 1.
    #[must_use]
    pub fn last(mut self, checkpoints: usize) -> KeepBest {
        self.last = checkpoints.max(1);
        self
    }
}

impl Callback for KeepBest {
    watches_a_figure!();

    fn on_fit_start(&mut self, control: &mut Control<'_>) -> Result<()> {
        self.monitor.check(control)?;
        if control.goes_on() && !control.saves {
            return Err(Error::setting(
                "keep_best keeps the weights of the best epoch in a run, and nothing is saved; add .save(folder) to the fit, or \
                 have the callback that keeps them by itself say so (Callback::saves)",
            ));
        }
        Ok(())
    }

    fn on_validation_end(&mut self, _: &Evaluation, control: &mut Control<'_>) -> Result<()> {
        if self.monitor.watch_within(&mut self.best, control, 0.0)? == Some(true) {
            control.request_best();
        }
        Ok(())
    }

    fn on_epoch_end(&mut self, report: &EpochReport, control: &mut Control<'_>) -> Result<()> {
        if self.monitor.watch(&mut self.best, report, control, 0.0)? == Some(true) {
            control.request_best();
        }
        Ok(())
    }

    fn keeps(&self) -> usize {
        self.last
    }
}

described! {
    KeepBest = "keep_best", "keeps the weights of the best epoch in the run", { best: Best::default() };
    monitor: Monitor, Some(lowest("val_loss")), Range::ANY, "what is watched";
    last: usize, Some(1), (1..).into(), "how many checkpoints stay, the newest included";
}
