//! Callbacks: what happens beside training, at its events.

use super::fit::Stop;
use super::report::EpochReport;
use super::setup::Setup;
use super::state::{FROZEN, State};
use super::{Progress, progress::Seen};
use crate::metric::Figures;
use crate::settings::{Table, Value};
use crate::step::{Evaluation, Network, Step};
use crate::{Error, Result};
use dropforge_data::{Description, Source};
use std::path::Path;
use std::sync::Arc;

/// Something that watches training and may change its course. Every event has the run's figures in hand, through
/// [`Control`], which can also stop it, change its settings and have it saved.
///
/// What a callback has to remember goes through [`Callback::state`] into each checkpoint, so that a resumed run does
/// what one that was never stopped would have done.
///
/// ```
/// use dropforge::prelude::*;
/// use dropforge::train::{Callback, Control, EpochReport};
///
/// /// Stops when the loss is low enough.
/// struct GoodEnough(f64);
///
/// impl Callback for GoodEnough {
///     fn name(&self) -> String {
///         "good_enough".into()
///     }
///
///     fn on_epoch_end(&mut self, report: &EpochReport, control: &mut Control<'_>) -> Result<()> {
///         if report.loss < self.0 {
///             control.stop(format!("the loss is under {}", self.0));
///         }
///         Ok(())
///     }
/// }
///
/// let (train, _) = datasets::digits(200, 50, 1);
/// let net = seq![flatten(), dense(10)];
/// let mut trainer = Trainer::new(net, cross_entropy(), Adam::new(1e-2)).compile(&train)?;
/// let fitted = trainer.fit(&train).epochs(1000).callback(GoodEnough(1.0)).run()?;
/// assert!(trainer.epochs() < 1000 && fitted.stopped.unwrap().contains("under 1"));
/// # Ok::<(), dropforge::Error>(())
/// ```
pub trait Callback {
    /// The name under which checkpoints keep what it remembers; it must differ from those of others beside it.
    fn name(&self) -> String;

    /// Before the first epoch of a fit.
    ///
    /// # Errors
    /// As all events: an error ends training, and is returned by the call that trains.
    fn on_fit_start(&mut self, control: &mut Control<'_>) -> Result<()> {
        let _ = control;
        Ok(())
    }

    /// Before the first step of an epoch, or before the next one of an epoch that was interrupted.
    ///
    /// # Errors
    /// As [`Callback::on_fit_start`].
    fn on_epoch_start(&mut self, control: &mut Control<'_>) -> Result<()> {
        let _ = control;
        Ok(())
    }

    /// After each step.
    ///
    /// # Errors
    /// As [`Callback::on_fit_start`].
    fn on_step_end(&mut self, control: &mut Control<'_>) -> Result<()> {
        let _ = control;
        Ok(())
    }

    /// After a validation: of a whole epoch, which [`Control::report`] then holds, or in the middle of one
    /// ([`Control::within_epoch`]).
    ///
    /// # Errors
    /// As [`Callback::on_fit_start`].
    fn on_validation_end(&mut self, validation: &Evaluation, control: &mut Control<'_>) -> Result<()> {
        let _ = (validation, control);
        Ok(())
    }

    /// When everything is to be kept: periodically, at the end of an epoch and when somebody asked for it.
    ///
    /// # Errors
    /// As [`Callback::on_fit_start`].
    fn on_checkpoint(&mut self, snapshot: &Snapshot<'_>) -> Result<()> {
        let _ = snapshot;
        Ok(())
    }

    /// When the weights as they are now are to be kept as the best.
    ///
    /// # Errors
    /// As [`Callback::on_fit_start`].
    fn on_best(&mut self, snapshot: &Snapshot<'_>) -> Result<()> {
        let _ = snapshot;
        Ok(())
    }

    /// After an epoch, its validation included.
    ///
    /// # Errors
    /// As [`Callback::on_fit_start`].
    fn on_epoch_end(&mut self, report: &EpochReport, control: &mut Control<'_>) -> Result<()> {
        let _ = (report, control);
        Ok(())
    }

    /// When training fails. The error is returned whatever this does.
    fn on_error(&mut self, error: &Error) {
        let _ = error;
    }

    /// After the last epoch of a fit, however it ended.
    ///
    /// # Errors
    /// As [`Callback::on_fit_start`].
    fn on_fit_end(&mut self, control: &mut Control<'_>) -> Result<()> {
        let _ = control;
        Ok(())
    }

    /// What it has to remember; `None` if nothing.
    fn state(&self) -> Option<String> {
        None
    }

    /// Takes over what it remembered when a checkpoint was written.
    ///
    /// # Errors
    /// If it is not what [`Callback::state`] gives.
    fn restore(&mut self, state: &str) -> Result<()> {
        let _ = state;
        Ok(())
    }

    /// The folder that it writes checkpoints to, if that is what it does.
    fn folder(&self) -> Option<&Path> {
        None
    }

    /// Takes the folder of the run that is saved to, before training; for callbacks that put files of their own there.
    fn in_run(&mut self, folder: &Path) {
        let _ = folder;
    }

    /// Takes the samples that are validated on, before training; for callbacks that show some of them.
    fn with_validation(&mut self, samples: &Arc<dyn Source>) {
        let _ = samples;
    }

    /// Whether it keeps what it is given in [`Callback::on_checkpoint`] and [`Callback::on_best`]. Default: whether it
    /// has a [folder](Callback::folder).
    fn saves(&self) -> bool {
        self.folder().is_some()
    }

    /// How many checkpoints it wants to stay, the newest included. Default 1.
    fn keeps(&self) -> usize {
        1
    }

    /// Whether it changes nothing about the training, as a progress bar; then a run does not note it. Default `false`.
    fn only_looks_on(&self) -> bool {
        false
    }

    /// Name and settings of the callback as a file has them.
    ///
    /// # Errors
    /// The callback cannot be written down.
    fn config(&self) -> Result<Table> {
        Err(Error::setting(format!(
            "a callback made by a program ({}) cannot be written to a file",
            self.name()
        )))
    }
}

/// What is passed on to the callback behind a pointer.
macro_rules! pointer_callback {
    ($(#[$doc:meta] ($($generic:tt)*) $type:ty;)*) => {$(
        #[$doc]
        impl<$($generic)*> Callback for $type {
            fn name(&self) -> String {
                (**self).name()
            }

            fn on_fit_start(&mut self, control: &mut Control<'_>) -> Result<()> {
                (**self).on_fit_start(control)
            }

            fn on_epoch_start(&mut self, control: &mut Control<'_>) -> Result<()> {
                (**self).on_epoch_start(control)
            }

            fn on_step_end(&mut self, control: &mut Control<'_>) -> Result<()> {
                (**self).on_step_end(control)
            }

            fn on_validation_end(&mut self, validation: &Evaluation, control: &mut Control<'_>) -> Result<()> {
                (**self).on_validation_end(validation, control)
            }

            fn on_checkpoint(&mut self, snapshot: &Snapshot<'_>) -> Result<()> {
                (**self).on_checkpoint(snapshot)
            }

            fn on_best(&mut self, snapshot: &Snapshot<'_>) -> Result<()> {
                (**self).on_best(snapshot)
            }

            fn saves(&self) -> bool {
                (**self).saves()
            }

            fn keeps(&self) -> usize {
                (**self).keeps()
            }

            fn on_epoch_end(&mut self, report: &EpochReport, control: &mut Control<'_>) -> Result<()> {
                (**self).on_epoch_end(report, control)
            }

            fn on_error(&mut self, error: &Error) {
                (**self).on_error(error);
            }

            fn on_fit_end(&mut self, control: &mut Control<'_>) -> Result<()> {
                (**self).on_fit_end(control)
            }

            fn state(&self) -> Option<String> {
                (**self).state()
            }

            fn restore(&mut self, state: &str) -> Result<()> {
                (**self).restore(state)
            }

            fn folder(&self) -> Option<&Path> {
                (**self).folder()
            }

            fn in_run(&mut self, folder: &Path) {
                (**self).in_run(folder);
            }

            fn with_validation(&mut self, samples: &Arc<dyn Source>) {
                (**self).with_validation(samples);
            }

            fn only_looks_on(&self) -> bool {
                (**self).only_looks_on()
            }

            fn config(&self) -> Result<Table> {
                (**self).config()
            }
        }
    )*};
}
pointer_callback! {
    /// One in a box.
    () Box<dyn Callback>;
    /// One that is lent, so that what it has gathered is there afterwards.
    (C: Callback + ?Sized) &mut C;
}

/// The figures that the epochs of a fit are going to have.
#[derive(Default)]
pub(crate) struct Expected {
    /// Their full names.
    pub names: Vec<String>,
    /// An epoch that has them, with numbers that mean nothing.
    pub report: Option<EpochReport>,
}

/// Training as a [`Callback`] sees it, and what it can do about it.
pub struct Control<'a> {
    pub(super) step: &'a mut Step,
    pub(crate) state: &'a mut State,
    pub(super) seen: Seen,
    pub(super) stop: &'a mut Option<Stop>,
    pub(super) skips_validations: bool,
    pub(super) figures: &'a Expected,
    pub(super) interrupted: bool,
    /// Epochs that the fit is to have, where there is one.
    pub(super) planned: Option<u64>,
    pub(super) within: Option<&'a EpochReport>,
    pub(super) validates_within: bool,
    /// Whether somebody saves.
    pub(super) saves: bool,
    pub(super) notes: &'a mut Vec<String>,
    pub(super) save: bool,
    pub(super) best: bool,
}

impl Control<'_> {
    /// Names of the figures that epochs will have: what [`EpochReport::get`] knows, but for `lr`. Known from the start
    /// of a fit on; empty in epochs without one.
    pub fn figures(&self) -> &[String] {
        &self.figures.names
    }

    /// An epoch with the figures that those to come will have, whatever they will be; `None` where they are not known.
    pub(crate) fn expected(&self) -> Option<&EpochReport> {
        self.figures.report.as_ref()
    }

    /// Says something to whoever trains that is no reason to stop: see [`Fitted::notes`](super::Fitted::notes).
    pub fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    /// Whether there are epochs to come.
    pub(super) fn goes_on(&self) -> bool {
        self.planned.is_some_and(|planned| planned > self.state.epoch)
    }

    /// How far the epoch is.
    pub fn progress(&self) -> Progress<'_> {
        Progress::new(self.state, &self.seen, self.step)
    }

    /// The finished epochs.
    pub fn history(&self) -> &[EpochReport] {
        &self.state.history
    }

    /// The last finished epoch.
    pub fn report(&self) -> Option<&EpochReport> {
        self.state.history.last()
    }

    /// What a validation in the middle of an epoch has measured, with its step and rate, in
    /// [`Callback::on_validation_end`]; `None` after a whole epoch, whose [`Control::report`] holds it. The figures of
    /// training are not part of it.
    pub fn within_epoch(&self) -> Option<&EpochReport> {
        self.within
    }

    /// Whether the network is measured in the middle of epochs, too; see
    /// [`Fit::validate_every`](super::Fit::validate_every).
    pub fn validates_within(&self) -> bool {
        self.validates_within
    }

    /// Epochs that the run is to have in the end, where there is a fit that says so.
    pub fn planned(&self) -> Option<u64> {
        self.planned
    }

    /// Whether somebody has asked the fit to end, by the flag of [`Fit::stop_flag`](super::Fit::stop_flag); known in
    /// [`Callback::on_fit_end`].
    pub fn was_interrupted(&self) -> bool {
        self.interrupted
    }

    /// Whether an epoch was not measured because only some are: see
    /// [`Fit::validate_epochs`](super::Fit::validate_epochs).
    pub fn is_unmeasured(&self, report: &EpochReport) -> bool {
        self.skips_validations && report.validation.is_none()
    }

    /// The metrics over the batches of this epoch so far; see [`Progress::metrics`].
    ///
    /// # Errors
    /// If the device fails.
    pub fn metrics(&self) -> Result<Figures> {
        Ok(self.step.metrics()?.metrics)
    }

    /// The compiled step, with the network and its states.
    pub fn step(&self) -> &Step {
        self.step
    }

    /// Ends training after what is going on now, and says why.
    pub fn stop(&mut self, why: impl Into<String>) {
        self.stop.get_or_insert(Stop { why: why.into(), limit: None });
    }

    /// Whether a setting of a group is no longer as it was at the start.
    pub(super) fn has_changed(&self, group: &str, setting: &str) -> bool {
        self.state.changes.iter().any(|change| change.group == group && change.setting == setting)
    }

    /// As [`Control::stop`], by a setting with which the run would end again at once.
    pub(super) fn stop_by(&mut self, limit: &'static str, why: String) {
        self.stop.get_or_insert(Stop { why, limit: Some(limit) });
    }

    /// Has everything saved by whoever saves, once all callbacks have had this event.
    pub fn request_save(&mut self) {
        self.save = true;
    }

    /// Has the weights as they are now kept as the best by whoever saves, once all callbacks have had this event.
    pub fn request_best(&mut self) {
        self.best = true;
    }

    /// Changes the learning rate before the schedule from the next step on. Checkpoints remember it.
    ///
    /// # Errors
    /// If the optimizer has none.
    pub fn set_learning_rate(&mut self, lr: f64) -> Result<()> {
        self.set("", "lr", lr)
    }

    /// Changes a setting of the optimizer, or of the one of a group of parameters, from the next step on; the group of
    /// all that are in none is called `""`. Checkpoints remember it.
    ///
    /// # Errors
    /// If there is no such group or setting, or the change would need another program.
    pub fn set(&mut self, group: &str, setting: &str, value: impl Into<Value>) -> Result<()> {
        let value = value.into();
        self.step.set_group(group, setting, value.clone())?;
        self.state.change(group, setting, value);
        Ok(())
    }

    /// The learning rate before the schedule, of those parameters that are in no group; `None` if the optimizer has
    /// none.
    pub fn learning_rate(&self) -> Option<f64> {
        self.step.learning_rate()
    }

    /// Trains the parameters of a group no longer. Checkpoints remember it.
    ///
    /// # Errors
    /// If there is no such group.
    pub fn freeze(&mut self, group: &str) -> Result<()> {
        self.step.freeze(group)?;
        self.state.change(group, FROZEN, true.into());
        Ok(())
    }

    /// Trains the parameters of a group again. Checkpoints remember it.
    ///
    /// # Errors
    /// If there is no such group, or the step cannot be compiled.
    pub fn unfreeze(&mut self, group: &str) -> Result<()> {
        self.step.unfreeze(group)?;
        self.state.change(group, FROZEN, false.into());
        Ok(())
    }
}

/// Everything of a training run at one moment, to be kept.
pub struct Snapshot<'a> {
    pub(crate) step: &'a Step,
    pub(crate) state: &'a State,
    pub(crate) description: &'a Description,
    /// What the trainer was made of.
    pub(crate) setup: &'a Setup,
    /// How many checkpoints are to stay, this one included.
    pub(crate) keeps: usize,
    pub(crate) within: Option<&'a EpochReport>,
}

impl Snapshot<'_> {
    /// The network with its states, those of the optimizer and the metrics included.
    pub fn network(&self) -> &Network {
        self.step.network()
    }

    /// The finished epochs.
    pub fn history(&self) -> &[EpochReport] {
        &self.state.history
    }

    /// What was measured last: in the middle of an epoch, if callbacks hear of that now, else of the last finished
    /// epoch.
    pub fn report(&self) -> Option<&EpochReport> {
        self.within.or_else(|| self.history().last())
    }

    /// Steps that have been made.
    pub fn steps(&self) -> u64 {
        self.state.step
    }
}

/// A function as a callback: see [`Fit::each_epoch`](super::Fit::each_epoch).
pub(super) struct EachEpoch<F>(pub F);

impl<F: FnMut(&EpochReport)> Callback for EachEpoch<F> {
    fn name(&self) -> String {
        "each_epoch".into()
    }

    fn only_looks_on(&self) -> bool {
        true
    }

    fn on_epoch_end(&mut self, report: &EpochReport, _: &mut Control<'_>) -> Result<()> {
        (self.0)(report);
        Ok(())
    }
}
