//! A whole training: epochs, validation, limits, callbacks.

use super::callback::{Callback, EachEpoch};
use super::callbacks::Callbacks;
use super::report::EpochReport;
use super::source::IntoSource;
use super::trainer::Trainer;
use crate::{Error, Result};
use dropforge_data::Source;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A training with everything that goes with it, made by [`Trainer::fit`].
///
/// ```
/// use dropforge::prelude::*;
///
/// let (train, test) = datasets::digits(200, 50, 1);
/// let trainer = Trainer::new(seq![flatten(), dense(10)], cross_entropy(), Adam::new(1e-2)).batch(50);
/// let mut trainer = trainer.compile(&train)?;
/// let fit = trainer.fit(&train).validate(&test).epochs(3);
/// println!("{}", fit.callback(early_stopping(lowest("val_loss")).patience(2)).run()?);
/// assert!(trainer.history().len() <= 3);
/// # Ok::<(), dropforge::Error>(())
/// ```
pub struct Fit<'a> {
    trainer: &'a mut Trainer,
    train: Arc<dyn Source>,
    validation: Option<Arc<dyn Source>>,
    validate_every: Option<u64>,
    validate_epochs: u64,
    epochs: u64,
    limits: Limits,
    callbacks: Vec<Box<dyn Callback + 'a>>,
}

/// Why training ends before its last epoch.
pub(super) struct Stop {
    pub why: String,
    /// The setting that says so, if one does: see [`Fitted::limit`].
    pub limit: Option<&'static str>,
}

/// What happens between two steps: the end of training, or a validation.
#[derive(Default)]
pub(super) struct Limits {
    steps: Option<u64>,
    /// The limit, and when it is over.
    time: Option<(Duration, Option<Instant>)>,
    flag: Option<Arc<AtomicBool>>,
    /// Steps between two validations in the middle of an epoch, and what is measured then.
    pub validation: Option<(u64, Arc<dyn Source>)>,
}

impl Limits {
    /// Whether somebody has asked for an end.
    fn is_flagged(&self) -> bool {
        self.flag().is_some_and(|flag| flag.load(Ordering::Relaxed))
    }

    /// Why training ends after this many steps; `None` if it goes on.
    pub fn reached(&self, steps: u64) -> Option<Stop> {
        if self.is_flagged() {
            return Some(Stop { why: "it was asked to stop".into(), limit: None });
        }
        if let Some(limit) = self.steps.filter(|&limit| steps >= limit) {
            return Some(Stop { why: format!("{limit} steps have been made"), limit: Some("max_steps") });
        }
        match self.time {
            Some((limit, Some(end))) if Instant::now() >= end => {
                let why = format!("{} seconds have passed", limit.as_secs_f64());
                Some(Stop { why, limit: Some("max_time") })
            }
            _ => None,
        }
    }

    /// Whether the last epoch may never come.
    pub fn is_limited(&self) -> bool {
        self.steps.is_some() || self.time.is_some()
    }

    /// What somebody sets who wants an end.
    pub fn flag(&self) -> Option<&AtomicBool> {
        self.flag.as_deref()
    }
}

/// How a fit ended. [`Display`](fmt::Display) gives one line.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// The last finished epoch of the run; `None` before the first.
    pub last: Option<EpochReport>,
    /// Why it ended before its last epoch; `None` if it did not.
    pub stopped: Option<String>,
    /// The setting that ended it, `max_steps`, `max_time` or `patience`: as they count the whole run, it goes on only
    /// with a greater one.
    pub limit: Option<&'static str>,
    /// What was not as its settings say, a line each: a schedule that had ended before the training, a validation loss
    /// that was no number.
    pub notes: Vec<String>,
}

impl fmt::Display for Fitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.last {
            Some(report) => write!(f, "{report}")?,
            None => write!(f, "no epoch was finished")?,
        }
        self.stopped.as_ref().map_or(Ok(()), |why| write!(f, "; stopped: {why}"))?;
        self.notes.iter().try_for_each(|note| write!(f, "; note: {note}"))
    }
}

impl<'a> Fit<'a> {
    pub(super) fn new(trainer: &'a mut Trainer, train: Arc<dyn Source>) -> Fit<'a> {
        let (limits, callbacks) = (Limits::default(), Vec::new());
        Fit {
            trainer,
            train,
            validation: None,
            validate_every: None,
            validate_epochs: 1,
            epochs: 1,
            limits,
            callbacks,
        }
    }

    /// How many epochs the run is to have in the end, those before this call included. Default 1.
    #[must_use]
    pub fn epochs(mut self, epochs: u64) -> Self {
        self.epochs = epochs;
        self
    }

    /// Measures the network on these samples after each epoch.
    #[must_use]
    pub fn validate(mut self, validation: &impl IntoSource) -> Self {
        self.validation = Some(validation.source());
        self
    }

    /// Also measures the network on the samples of [`Fit::validate`] after every so many steps, for epochs that are
    /// long: callbacks hear of it, and those that watch a figure of the validation act on each, so that their patience
    /// counts validations. The end of an epoch is measured anyway.
    #[must_use]
    pub fn validate_every(mut self, steps: u64) -> Self {
        self.validate_every = Some(steps);
        self
    }

    /// Measures the network after every so many epochs only, and after the last: where a validation takes long.
    /// Callbacks that watch a figure of the validation wait for it. Default 1.
    #[must_use]
    pub fn validate_epochs(mut self, epochs: u64) -> Self {
        self.validate_epochs = epochs;
        self
    }

    /// Ends the run after so many steps, those before this call included, in the middle of an epoch if need be.
    #[must_use]
    pub fn max_steps(mut self, steps: u64) -> Self {
        self.limits.steps = Some(steps);
        self
    }

    /// Ends the run after the step during which so much time has passed, that of all fits before this one included.
    #[must_use]
    pub fn max_time(mut self, time: Duration) -> Self {
        self.limits.time = Some((time, None));
        self
    }

    /// Ends this fit after the step during which somebody sets this flag: what a handler of Ctrl-C does.
    #[must_use]
    pub fn stop_flag(mut self, flag: &Arc<AtomicBool>) -> Self {
        self.limits.flag = Some(flag.clone());
        self
    }

    /// Calls this at the events of the training, after those before it.
    #[must_use]
    pub fn callback(mut self, callback: impl Callback + 'a) -> Self {
        self.callbacks.push(Box::new(callback));
        self
    }

    /// Calls this function with the report of each epoch.
    #[must_use]
    pub fn each_epoch(self, function: impl FnMut(&EpochReport) + 'a) -> Self {
        self.callback(EachEpoch(function))
    }

    /// Trains. Everything is saved after each epoch, before its validation, by those callbacks that save, and at the
    /// end.
    ///
    /// # Errors
    /// A sample cannot be read, the loss is no longer finite, a callback fails, a checkpoint cannot be written, or the
    /// device fails; the validation data do not fit those trained on, or a setting could have no effect.
    pub fn run(self) -> Result<Fitted> {
        let Fit {
            trainer,
            train,
            validation,
            validate_every,
            validate_epochs,
            epochs,
            mut limits,
            callbacks: mut own,
        } = self;
        let nothing = |what: &str, why: &str| Err(Error::setting(format!("{what}: {why}")));
        if validate_every.is_some() && validation.is_none() {
            return nothing("validate_every", "nothing is validated; give samples by .validate(&data)");
        }
        if validate_every == Some(0) || validate_epochs == 0 {
            let what = if validate_epochs == 0 { "validate_epochs" } else { "validate_every" };
            return nothing(what, "it must be 1 or more; leave it out to validate after each epoch only");
        }
        trainer.notes.clear();
        trainer.state.since = Some(Instant::now());
        let spent = Duration::try_from_secs_f64(trainer.state.spent).unwrap_or(Duration::MAX);
        limits.validation = validate_every.zip(validation.clone());
        if let Some((limit, end)) = &mut limits.time {
            *end = Instant::now().checked_add(limit.saturating_sub(spent));
        }
        let mut attached = trainer.take_callbacks();
        trainer.setup.set("epochs", &epochs);
        trainer.planned = Some(epochs);
        trainer.setup.set("validate_every", &validate_every);
        trainer.setup.set("max_steps", &limits.steps);
        trainer.setup.set("max_time", &limits.time.map(|(time, _)| time.as_secs_f64()));
        trainer.setup.callbacks(attached.iter().chain(&own).map(|callback| &**callback as &dyn Callback));
        let all = attached.iter_mut().map(|callback| &mut **callback as &mut dyn Callback);
        let own = own.iter_mut().map(|callback| &mut **callback as &mut dyn Callback);
        let mut callbacks = Callbacks::new(all.chain(own).collect());
        trainer.skips_validations = validation.is_some() && validate_epochs > 1;
        trainer.validates_within = limits.validation.is_some();
        let measured = Validations { source: validation, every: validate_epochs, last: epochs };
        let fitted = run(trainer, train, &measured, epochs, &limits, &mut callbacks);
        trainer.state.spent = trainer.state.spent();
        trainer.state.since = None;
        (trainer.skips_validations, trainer.validates_within) = (false, false);
        if let Err(error) = &fitted {
            callbacks.failed(error);
        }
        drop(callbacks);
        trainer.put_callbacks(attached);
        fitted
    }
}

/// What is measured after epochs, and after which.
struct Validations {
    source: Option<Arc<dyn Source>>,
    every: u64,
    last: u64,
}

impl Validations {
    /// What is measured after an epoch.
    fn after(&self, epoch: u64) -> Option<&Arc<dyn Source>> {
        self.source.as_ref().filter(|_| epoch.is_multiple_of(self.every) || epoch >= self.last)
    }
}

fn run(
    trainer: &mut Trainer,
    train: Arc<dyn Source>,
    validations: &Validations,
    epochs: u64,
    limits: &Limits,
    callbacks: &mut Callbacks<'_>,
) -> Result<Fitted> {
    (trainer.stop, trainer.interrupted) = (None, false);
    callbacks.distinct()?;
    if let Some(samples) = &validations.source {
        trainer.check_measurable(samples).map_err(|error| error.context("the validation data"))?;
    }
    trainer.restore(callbacks)?;
    callbacks.tell_folder();
    if let Some(samples) = &validations.source {
        callbacks.tell_validation(samples);
    }
    trainer.saves = callbacks.save();
    trainer.note_what_has_no_effect(&train, epochs, limits.is_limited())?;
    trainer.know_figures(validations.source.is_some())?;
    trainer.event(callbacks, |callback, control| callback.on_fit_start(control))?;
    let mut unsaved = false;
    if trainer.is_before_end_of_epoch(validations.after(trainer.epochs()).is_some()) {
        after_epoch(trainer, validations, limits, callbacks)?;
        unsaved = true;
    }
    let mut stopped: Option<Stop> = None;
    while trainer.epochs() < epochs {
        stopped = trainer.stop.take().or_else(|| limits.reached(trainer.steps()));
        if stopped.is_some() {
            break;
        }
        unsaved = true;
        if trainer.train_epoch(train.clone(), callbacks, &mut |_| Ok(()), limits)?.is_none() {
            stopped = trainer.stop.take().or_else(|| limits.reached(trainer.steps()));
            break;
        }
        trainer.save_with(callbacks)?;
        after_epoch(trainer, validations, limits, callbacks)?;
    }
    // Whoever wanted to stop at the very end has been heard as well.
    stopped = stopped.or_else(|| trainer.stop.take());
    if unsaved || trainer.steps() == 0 {
        trainer.save_with(callbacks)?;
    }
    trainer.interrupted = limits.is_flagged();
    trainer.event(callbacks, |callback, control| callback.on_fit_end(control))?;
    let (stopped, limit) = stopped.map_or((None, None), |stop| (Some(stop.why), stop.limit));
    let notes = std::mem::take(&mut trainer.notes);
    Ok(Fitted { last: trainer.history().last().cloned(), stopped, limit, notes })
}

/// Validation and the end of an epoch. If somebody asks for an end during the validation, neither has happened: the run
/// begins with them when it goes on.
fn after_epoch(
    trainer: &mut Trainer,
    validations: &Validations,
    limits: &Limits,
    callbacks: &mut Callbacks<'_>,
) -> Result<()> {
    if let Some(validation) = validations.after(trainer.epochs())
        && trainer.history().last().is_some_and(|last| last.validation.is_none())
    {
        let Some(measured) = trainer.validate_until(validation.clone(), limits.flag())? else {
            trainer.stop = limits.reached(trainer.steps());
            return Ok(());
        };
        if measured.loss.is_nan() && trainer.notes.iter().all(|note| !note.starts_with("the validation loss"))
        {
            trainer.notes.push(format!("the validation loss is NaN from epoch {} on", trainer.epochs()));
        }
        trainer.event(callbacks, |callback, control| callback.on_validation_end(&measured, control))?;
    }
    match trainer.history().last().cloned() {
        Some(report) => trainer.end_epoch(&report, callbacks),
        None => Ok(()),
    }
}
