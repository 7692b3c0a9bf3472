//! The trainer: epochs of a compiled step over a source of samples.

use super::alike::alike;
use super::anomaly;
use super::builder::TrainerBuilder;
use super::callback::{Callback, Control, Expected, Snapshot};
use super::callbacks::Callbacks;
use super::fit::{Fit, Limits, Stop};
use super::progress::{Outcomes, Progress, Seen};
use super::report::EpochReport;
use super::setup::Setup;
use super::source::IntoSource;
use super::state::{FROZEN, State};
use crate::loss::Loss;
use crate::metric::Figures;
use crate::nn::Layer;
use crate::optim::Optimizer;
use crate::schedule::{Moment, Schedule};
use crate::settings::Value;
use crate::step::{Batch, Changes, Choices, Evaluation, Feed, Step, StepBuilder, Task};
use crate::{Error, ErrorKind, Result, Tensor};
use dropforge_data::{Description, Epoch, Loader, LoaderOptions, Source};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Trains a network for as many epochs as you like, and keeps everything that has to be kept to go on later.
///
/// ```
/// use dropforge::prelude::*;
///
/// let (train, test) = datasets::digits(200, 50, 1);
/// let net = seq![flatten(), dense(10)];
/// let mut trainer = Trainer::new(net, cross_entropy(), Adam::new(1e-2)).batch(50).compile(&train)?;
/// let before = trainer.evaluate(&test)?;
/// trainer.fit(&train).validate(&test).epochs(3).each_epoch(|report| println!("{report}")).run()?;
/// assert!(trainer.evaluate(&test)?.loss < before.loss);
/// # Ok::<(), dropforge::Error>(())
/// ```
///
/// Same seed, data, device and number of threads: the same bits. So too when a run is stopped, in the middle of an
/// epoch or not, and [resumed](Trainer::resume) from what [`Trainer::save`] or [`Trainer::autosave`] wrote.
#[doc(alias = "DataLoader")]
pub struct Trainer {
    pub(super) step: Step,
    /// What the step does to the samples.
    pub(super) changes: Changes,
    pub(super) options: LoaderOptions,
    pub(super) schedule: Schedule,
    pub(super) detect_anomaly: bool,
    pub(super) group_schedules: Vec<(String, Schedule)>,
    pub(super) state: State,
    /// What has been read of the losses since training went on.
    pub(super) seen: Seen,
    /// Why a callback wants to end training.
    pub(super) stop: Option<Stop>,
    /// Whether some epochs are not measured, on purpose.
    pub(super) skips_validations: bool,
    /// Whether somebody saves in the fit that is going on.
    pub(super) saves: bool,
    /// What there is to say about the fit that is going on.
    pub(super) notes: Vec<String>,
    /// Those that stay from fit to fit.
    pub(super) callbacks: Vec<Box<dyn Callback>>,
    /// What callbacks that are yet to come remembered in the checkpoint that was resumed.
    pub(super) remembered: BTreeMap<String, String>,
    /// What the samples trained on look like.
    pub(super) description: Description,
    /// What it was made of.
    pub(super) setup: Setup,
    /// Epochs that the fit is to have.
    pub(super) planned: Option<u64>,
    /// The figures that epochs are going to have, where they are known.
    pub(super) figures: Expected,
    /// Whether somebody has asked the fit to end.
    pub(super) interrupted: bool,
    /// Whether the network is measured in the middle of epochs, too.
    pub(super) validates_within: bool,
    /// What was measured in the middle of an epoch, as long as callbacks hear of it.
    pub(super) within: Option<EpochReport>,
}

impl Trainer {
    /// The choices for training these layers with this loss and this optimizer.
    #[allow(clippy::new_ret_no_self, reason = "the trainer itself needs data to know its sizes")]
    pub fn new(
        net: impl Layer + 'static,
        loss: impl Loss + 'static,
        optimizer: impl Optimizer + 'static,
    ) -> TrainerBuilder {
        let mut setup = Setup::default();
        setup.layers(net.config());
        setup.note("loss", loss.config().map(Value::Table));
        setup.note("optimizer", optimizer.config().map(Value::Table));
        Trainer::with_step(StepBuilder::new(net, loss, optimizer), setup)
    }

    /// The choices for training a function of a batch; see [`Task`]. The data give the fields `input` and `target`.
    pub fn of(task: impl Task + 'static, optimizer: impl Optimizer + 'static) -> TrainerBuilder {
        let mut setup = Setup::default();
        for part in ["model", "loss"] {
            setup.note(
                part,
                Err(Error::setting("part of a function of a batch, which cannot be written to a file")),
            );
        }
        setup.note("optimizer", optimizer.config().map(Value::Table));
        Trainer::with_step(StepBuilder::of(task, optimizer), setup)
    }

    fn with_step(step: StepBuilder, setup: Setup) -> TrainerBuilder {
        TrainerBuilder {
            step,
            options: LoaderOptions::default(),
            schedule: Schedule::constant(),
            detect_anomaly: false,
            on_device: false,
            group_schedules: Vec::new(),
            setup,
        }
    }

    /// Trains on these samples, epoch by epoch, with everything that goes with it: validation, limits, callbacks.
    /// Nothing happens before [`Fit::run`].
    ///
    /// ```
    /// use dropforge::prelude::*;
    ///
    /// # let run = std::env::temp_dir().join(format!("dropforge-doc-fit-{}", std::process::id()));
    /// let (train, test) = datasets::digits(200, 50, 1);
    /// let net = seq![flatten(), dense(10)];
    /// let mut trainer = Trainer::new(net, cross_entropy(), Adam::new(1e-2)).batch(50).compile(&train)?;
    /// let fitted = trainer.fit(&train).validate(&test).epochs(2).save(&run).run()?;
    /// assert_eq!((trainer.epochs(), trainer.steps()), (2, 8));
    /// assert!(fitted.last.unwrap().get("val_accuracy").is_some());
    /// // What was saved goes on, and is opened anywhere.
    /// trainer.fit(&train).epochs(3).save(&run).run()?;
    /// assert_eq!(dropforge::run::history(&run)?.epochs.len(), 3);
    /// # std::fs::remove_dir_all(run).unwrap();
    /// # Ok::<(), dropforge::Error>(())
    /// ```
    pub fn fit(&mut self, train: &impl IntoSource) -> Fit<'_> {
        Fit::new(self, train.source())
    }

    /// Trains on every sample once, or on the rest of an epoch that was interrupted.
    ///
    /// ```
    /// use dropforge::prelude::*;
    ///
    /// let (train, test) = datasets::digits(200, 50, 1);
    /// let net = seq![flatten(), dense(10)];
    /// let mut trainer = Trainer::new(net, cross_entropy(), Adam::new(1e-2)).batch(50).compile(&train)?;
    /// let before = trainer.evaluate(&test)?.loss;
    /// for _ in 0..3 {
    ///     println!("{}", trainer.epoch(&train)?);
    /// }
    /// let measured = trainer.evaluate(&test)?;
    /// assert!(measured.loss < before && measured.get("accuracy").is_some());
    /// let scores = trainer.predict(&Tensor::zeros([7, 1, 28, 28]))?;
    /// assert_eq!(scores.shape().to_vec(), [7, 10]);
    /// # Ok::<(), dropforge::Error>(())
    /// ```
    ///
    /// # Errors
    /// A sample cannot be read, the loss is no longer finite, a checkpoint cannot be written, or the device fails.
    pub fn epoch(&mut self, train: &impl IntoSource) -> Result<EpochReport> {
        self.epoch_with(train, |_| Ok(()))
    }

    /// As [`Trainer::epoch`]; `watch` is called after each step. If it fails the epoch is interrupted, and the next
    /// call goes on with the next batch.
    ///
    /// # Errors
    /// As [`Trainer::epoch`], or what `watch` returned.
    pub fn epoch_with(
        &mut self,
        train: &impl IntoSource,
        mut watch: impl FnMut(&Progress<'_>) -> Result<()>,
    ) -> Result<EpochReport> {
        let mut attached = std::mem::take(&mut self.callbacks);
        let mut callbacks =
            Callbacks::new(attached.iter_mut().map(|callback| &mut **callback as _).collect());
        let report = self.whole_epoch(train.source(), &mut callbacks, &mut watch);
        if let Err(error) = &report {
            callbacks.failed(error);
        }
        self.callbacks = attached;
        report
    }

    fn whole_epoch(
        &mut self,
        train: Arc<dyn Source>,
        callbacks: &mut Callbacks<'_>,
        watch: &mut dyn FnMut(&Progress<'_>) -> Result<()>,
    ) -> Result<EpochReport> {
        self.restore(callbacks)?;
        match self.train_epoch(train, callbacks, watch, &Limits::default())? {
            Some(report) => {
                self.end_epoch(&report, callbacks)?;
                Ok(report)
            }
            // Without limits only a callback ends an epoch early.
            None => Err(Error::of(
                ErrorKind::Other,
                self.stop.take().map_or_else(|| "training was stopped".into(), |stop| stop.why),
            )),
        }
    }

    /// Has the callbacks hear that an epoch is over, its validation included. A checkpoint that was written before has
    /// this still to come.
    pub(super) fn end_epoch(&mut self, report: &EpochReport, callbacks: &mut Callbacks<'_>) -> Result<()> {
        // What callbacks save now has their part of it.
        self.state.ended = Some(report.epoch);
        self.event(callbacks, |callback, control| callback.on_epoch_end(report, control))
    }

    /// Whether the run goes on from a checkpoint that was written when an epoch was over, but its validation was not,
    /// or the callbacks had not heard of it.
    pub(super) fn is_before_end_of_epoch(&self, validates: bool) -> bool {
        let Some(last) = self.state.history.last() else { return false };
        let heard = match self.state.ended {
            Some(epochs) => epochs >= last.epoch,
            None => last.validation.is_some() || !validates,
        };
        self.state.batch == 0 && !heard
    }

    /// Finds out which figures the epochs to come will have, for callbacks that watch one.
    pub(super) fn know_figures(&mut self, validates: bool) -> Result<()> {
        let report = EpochReport {
            epoch: 0,
            step: 0,
            lr: 0.0,
            loss: 0.0,
            samples_per_s: 0.0,
            seconds: 0.0,
            metrics: self.step.metrics()?.metrics,
            // What needs all samples, such as the area under a curve, is not measured over training steps.
            validation: validates.then(|| self.step.network().expected_evaluation()),
        };
        self.figures = Expected { names: report.names(), report: Some(report) };
        Ok(())
    }

    /// Gives callbacks what they remembered in the checkpoint that was resumed.
    pub(super) fn restore(&mut self, callbacks: &mut Callbacks<'_>) -> Result<()> {
        callbacks.restore(&mut self.remembered)
    }

    /// Has all callbacks hear of an event, and saves if one asks for it.
    pub(super) fn event(
        &mut self,
        callbacks: &mut Callbacks<'_>,
        mut event: impl FnMut(&mut dyn Callback, &mut Control<'_>) -> Result<()>,
    ) -> Result<()> {
        if callbacks.is_empty() {
            return Ok(());
        }
        let mut control = self.control();
        callbacks.each(|callback| event(callback, &mut control))?;
        let (save, best) = (control.save, control.best);
        if best {
            self.best_with(callbacks)?;
        }
        if save { self.save_with(callbacks) } else { Ok(()) }
    }

    fn control(&mut self) -> Control<'_> {
        Control {
            step: &mut self.step,
            state: &mut self.state,
            seen: self.seen,
            stop: &mut self.stop,
            skips_validations: self.skips_validations,
            figures: &self.figures,
            interrupted: self.interrupted,
            planned: self.planned,
            within: self.within.as_ref(),
            validates_within: self.validates_within,
            saves: self.saves,
            notes: &mut self.notes,
            save: false,
            best: false,
        }
    }

    /// Has whoever saves keep everything.
    pub(super) fn save_with(&mut self, callbacks: &mut Callbacks<'_>) -> Result<()> {
        callbacks.remember(&mut self.state.callbacks);
        let snapshot = self.snapshot_keeping(callbacks.keeps());
        callbacks.each(|callback| callback.on_checkpoint(&snapshot))
    }

    /// Has whoever saves keep the weights as the best.
    fn best_with(&self, callbacks: &mut Callbacks<'_>) -> Result<()> {
        let snapshot = self.snapshot_keeping(callbacks.keeps());
        callbacks.each(|callback| callback.on_best(&snapshot))
    }

    fn snapshot_keeping(&self, keeps: usize) -> Snapshot<'_> {
        let (step, state, description) = (&self.step, &self.state, &self.description);
        Snapshot { step, state, description, setup: &self.setup, keeps, within: self.within.as_ref() }
    }

    /// Trains to the end of the epoch, or until a limit or a callback ends it: then there is no report.
    pub(super) fn train_epoch(
        &mut self,
        train: Arc<dyn Source>,
        callbacks: &mut Callbacks<'_>,
        watch: &mut dyn FnMut(&Progress<'_>) -> Result<()>,
        limits: &Limits,
    ) -> Result<Option<EpochReport>> {
        let loader = self.loader(train.clone())?;
        // 0 where only reading can tell.
        let batches = loader.batches().unwrap_or(0);
        if self.state.batch > 0 && self.state.batches != batches {
            return Err(Error::data(format!(
                "{}: the interrupted epoch has {} batches, this data makes {batches}; use the same data",
                loader.source().description().name,
                self.state.batches
            )));
        }
        // The same wherever the samples lie, so that a run may go on with them elsewhere.
        let data = dropforge_data::digest(&*self.changes.numbered(alike(&self.description, train)?)?);
        if let (true, Some(then), Some(now)) = (self.state.batch > 0, &self.state.data, &data)
            && then != now
        {
            return Err(Error::of(
                ErrorKind::Data,
                format!(
                    "{}: the interrupted epoch was trained on other samples (then {then}; now {now}); use the same data",
                    loader.source().description().name
                ),
            ));
        }
        (self.state.batches, self.state.data) = (batches, data);
        // The rate is that of the last step until there is one.
        let rate_factor = if self.state.step > 0 { self.schedule.factor(&self.last_moment()) } else { 0.0 };
        self.seen = Seen { rate_factor, ..Seen::default() };
        if self.state.batch == 0 {
            self.step.reset_metrics()?;
        }
        self.check_schedules()?;
        self.event(callbacks, |callback, control| callback.on_epoch_start(control))?;
        let mut outcomes = Outcomes::new(self.step.compares_losses());
        let epoch = loader.epoch(self.state.epoch, self.state.batch);
        let trained = self.train_batches(epoch, &mut outcomes, callbacks, watch, limits);
        // Even if the epoch was interrupted, so that no loss goes unseen.
        let read = outcomes.read_all(&mut self.seen);
        let whole = trained?;
        read?;
        if !whole {
            return Ok(None);
        }
        let report = self.report()?;
        self.state.history.push(report.clone());
        self.state.epoch += 1;
        self.state.batch = 0;
        self.state.seconds = 0.0;
        Ok(Some(report))
    }

    /// Whether the epoch came to its end.
    fn train_batches(
        &mut self,
        mut epoch: Epoch,
        outcomes: &mut Outcomes,
        callbacks: &mut Callbacks<'_>,
        watch: &mut dyn FnMut(&Progress<'_>) -> Result<()>,
        limits: &Limits,
    ) -> Result<bool> {
        let mut started = Instant::now();
        let seconds = self.state.seconds;
        let mut since = started;
        let mut feed = Feed::default();
        loop {
            let Some(batch) = epoch.next() else { return Ok(true) };
            let phases = &mut self.seen.phases;
            phases.data += lap(&mut since);
            // The end of an epoch is measured by whoever drives it, and of a stream only reading on tells that it is
            // not there yet. A checkpoint is written before the validation of its step, which is still to come then.
            let State { step, batch: done, validated, .. } = self.state;
            if let Some((every, source)) = &limits.validation
                && done > 0
                && step.is_multiple_of(*every)
                && validated != Some(step)
            {
                // A step whose loss is not finite is not kept.
                outcomes.read_all(&mut self.seen)?;
                // Whoever asked for an end meanwhile is heard below.
                if let Some(seconds) = self.validate_within(source.clone(), limits, callbacks)? {
                    started += Duration::from_secs_f64(seconds.max(0.0));
                    since = Instant::now();
                }
            }
            if self.stop.is_some() || limits.reached(self.state.step).is_some() {
                return Ok(false);
            }
            let batch = batch?;
            let moment = self.moment();
            self.seen.rate_factor =
                factor_at(&self.schedule, &moment).map_err(|error| error.context("schedule"))?;
            self.step.set_rate_factor(self.seen.rate_factor)?;
            for (group, schedule) in &self.group_schedules {
                let factor = factor_at(schedule, &moment)
                    .map_err(|error| error.context(format_args!("group_schedule of {group}")))?;
                self.step.set_group_rate_factor(group, factor)?;
            }
            feed.fill(batch)?;
            let before = if self.detect_anomaly { Some(self.step.copy_states()?) } else { None };
            let outcome = self.step.train_on(&feed)?;
            if let Some(before) = before {
                anomaly::check(&mut self.step, &feed.to_batch(), &before, &outcome, self.state.step + 1)?;
            }
            // The device has copied what it needs.
            if let Some(spare) = feed.take_back() {
                epoch.recycle(spare);
            }
            self.state.batch += 1;
            self.state.step += 1;
            self.seen.made += outcome.samples() as u64;
            outcomes.push(outcome, self.state.step);
            outcomes.read_late(&mut self.seen)?;
            self.seen.phases.step += lap(&mut since);
            self.seen.phases.steps += 1;
            self.seen.seconds = started.elapsed().as_secs_f64();
            self.state.seconds = seconds + self.seen.seconds;
            watch(&Progress::new(&self.state, &self.seen, &self.step))?;
            if !callbacks.is_empty() {
                self.after_step(outcomes, callbacks)?;
            }
            self.seen.phases.callbacks += lap(&mut since);
        }
    }

    /// A validation in the middle of an epoch; gives the seconds that it took, or `None` where somebody asked for an
    /// end meanwhile.
    fn validate_within(
        &mut self,
        source: Arc<dyn Source>,
        limits: &Limits,
        callbacks: &mut Callbacks<'_>,
    ) -> Result<Option<f64>> {
        let Some(measured) = self.evaluate_until(source, limits.flag())? else { return Ok(None) };
        let State { step, epoch, .. } = self.state;
        // What callbacks save now has it behind it.
        self.state.validated = Some(step);
        self.within = Some(EpochReport {
            epoch: epoch + 1,
            step,
            lr: self.step.learning_rate().unwrap_or(0.0) * self.seen.rate_factor,
            loss: f64::NAN,
            samples_per_s: 0.0,
            seconds: 0.0,
            metrics: Figures::default(),
            validation: Some(measured.clone()),
        });
        let heard = self.event(callbacks, |callback, control| callback.on_validation_end(&measured, control));
        self.within = None;
        heard.map(|()| Some(measured.seconds))
    }

    fn after_step(&mut self, outcomes: &mut Outcomes, callbacks: &mut Callbacks<'_>) -> Result<()> {
        let mut control = self.control();
        callbacks.each(|callback| callback.on_step_end(&mut control))?;
        let (save, best) = (control.save, control.best);
        if best {
            outcomes.read_all(&mut self.seen)?;
            self.best_with(callbacks)?;
        }
        if save {
            // A step whose loss is not finite is not kept.
            outcomes.read_all(&mut self.seen)?;
            self.save_with(callbacks)?;
        }
        Ok(())
    }

    fn check_schedules(&self) -> Result<()> {
        let moment = self.moment();
        self.schedule.check(&moment).map_err(|error| error.context("schedule"))?;
        self.group_schedules.iter().try_for_each(|(group, schedule)| {
            schedule.check(&moment).map_err(|error| error.context(format_args!("group_schedule of {group}")))
        })
    }

    fn moment(&self) -> Moment {
        let State { step, epoch, batch, batches, .. } = self.state;
        // Of a stream the epoch before tells how long this one is going to be.
        let before = || {
            let mut last = self.state.history.iter().rev().map(|report| report.step);
            let (end, start) = (last.next().unwrap_or(0), last.next().unwrap_or(0));
            usize::try_from(end.saturating_sub(start)).unwrap_or(0)
        };
        let batches = if batches == 0 { before() } else { batches };
        Moment { step, epoch, batch, batches, planned: self.planned }
    }

    /// That of the last step that was made.
    fn last_moment(&self) -> Moment {
        let State { step, batch, .. } = self.state;
        Moment { step: step.saturating_sub(1), batch: batch.saturating_sub(1), ..self.moment() }
    }

    fn report(&self) -> Result<EpochReport> {
        let State { step, epoch, batch, seconds, .. } = self.state;
        let last = Moment { step: step.saturating_sub(1), batch: batch.saturating_sub(1), ..self.moment() };
        let measured = Evaluation { seconds, ..self.step.metrics()? };
        Ok(EpochReport {
            epoch: epoch + 1,
            step,
            lr: self.step.learning_rate().unwrap_or(0.0) * self.schedule.factor(&last),
            loss: measured.loss,
            samples_per_s: measured.samples_per_s(),
            seconds,
            metrics: measured.metrics,
            validation: None,
        })
    }

    /// Measures the network on other samples, without training; by the averages of its weights, where the optimizer
    /// keeps some ([`Averaged`](crate::optim::Averaged)). [`Trainer::epoch`] has an example. Classes are told by their
    /// names: their order may be another one than that of the samples trained on.
    ///
    /// # Errors
    /// A sample cannot be read or has another shape than those trained on, there is a class that is not among those
    /// trained on, or the device fails.
    pub fn evaluate(&mut self, test: &impl IntoSource) -> Result<Evaluation> {
        Ok(self.evaluate_until(test.source(), None)?.expect("nobody can ask for an end"))
    }

    /// The same until somebody sets a flag: then there is no evaluation.
    fn evaluate_until(
        &mut self,
        test: Arc<dyn Source>,
        flag: Option<&AtomicBool>,
    ) -> Result<Option<Evaluation>> {
        let loader = self.measuring_loader(test)?;
        self.step.on_averages(|step| {
            let mut evaluation = step.start_evaluation()?;
            let (mut epoch, mut feed) = (loader.epoch(0, 0), Feed::default());
            while let Some(batch) = epoch.next() {
                if flag.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
                    return Ok(None);
                }
                feed.fill(batch?)?;
                evaluation.add_given(&feed)?;
                if let Some(spare) = feed.take_back() {
                    epoch.recycle(spare);
                }
            }
            evaluation.finish().map(Some)
        })
    }

    /// As [`Trainer::evaluate`], and notes the result with the last epoch, for the table of metrics.
    ///
    /// # Errors
    /// As [`Trainer::evaluate`].
    pub fn validate(&mut self, test: &impl IntoSource) -> Result<Evaluation> {
        Ok(self.validate_until(test.source(), None)?.expect("nobody can ask for an end"))
    }

    /// The same until somebody sets a flag: then nothing is noted.
    pub(super) fn validate_until(
        &mut self,
        test: Arc<dyn Source>,
        flag: Option<&AtomicBool>,
    ) -> Result<Option<Evaluation>> {
        let evaluation = self.evaluate_until(test, flag)?;
        if let (Some(last), Some(evaluation)) = (self.state.history.last_mut(), &evaluation) {
            last.validation = Some(evaluation.clone());
        }
        Ok(evaluation)
    }

    /// What the network gives for inputs `[samples, ..]`, which are normalised already, as the samples trained on are;
    /// [`Trained::predict`](crate::run::Trained::predict) takes raw ones. [`Trainer::epoch`] has an example.
    ///
    /// # Errors
    /// The inputs have another shape than those trained on, or the device fails.
    pub fn predict(&mut self, inputs: impl Into<Batch>) -> Result<Tensor> {
        if self.step.states().averages()?.is_empty() {
            return self.step.predict(inputs);
        }
        let inputs = inputs.into();
        // Read before the weights are back.
        self.step.on_averages(|step| Ok(Tensor::from_array(step.predict(inputs)?.to_array()?)))
    }

    /// What the network gives for all samples of a source, one after another, and their targets: for figures of your
    /// own. Classes have the numbers of those trained on, by their names.
    ///
    /// # Errors
    /// There are no samples, one cannot be read or has another shape than those trained on, or the device fails.
    pub fn predict_all(&mut self, samples: &impl IntoSource) -> Result<(Tensor, Tensor)> {
        let (mut predictions, mut targets) = (Vec::new(), Vec::new());
        let loader = self.measuring_loader(samples.source())?;
        self.step.on_averages(|step| {
            for batch in loader.epoch(0, 0) {
                let batch = Batch::from(batch?);
                predictions.push(Tensor::from_array(step.predict(batch.clone())?.to_array()?));
                targets.push(batch.get(dropforge_data::TARGET));
            }
            Ok(())
        })?;
        let joined = |parts: &[Tensor]| Tensor::concat(&parts.iter().collect::<Vec<_>>(), 0);
        Ok((joined(&predictions), joined(&targets)))
    }

    /// What makes the batches of these samples that [`Step::run`] of this trainer's step takes.
    ///
    /// # Errors
    /// There are no samples, or they are no images and the step changes such.
    pub fn batches(&self, train: &impl IntoSource) -> Result<Loader> {
        self.loader(train.source())
    }

    pub(super) fn loader(&self, train: Arc<dyn Source>) -> Result<Loader> {
        let train = alike(&self.description, train)?;
        Ok(Loader::new(self.changes.fed(train)?, self.options.clone())?)
    }

    /// What makes batches of all samples in order. Classes have the numbers of those trained on.
    fn measuring_loader(&self, samples: Arc<dyn Source>) -> Result<Loader> {
        let options = LoaderOptions { shuffle: false, drop_last: false, ..self.options.clone() };
        Ok(Loader::new(alike(&self.description, samples)?, options)?)
    }

    /// Whether samples can be measured, as far as that can be told without reading them.
    pub(super) fn check_measurable(&self, samples: &Arc<dyn Source>) -> Result<()> {
        self.measuring_loader(samples.clone())?;
        let description = samples.description();
        let missing = self.step.network().measured_fields().find(|name| description.field(name).is_none());
        missing.map_or(Ok(()), |name| {
            let there: Vec<&str> = description.fields.iter().map(|field| field.name.as_str()).collect();
            Err(Error::data(format!(
                "{} has no field \"{name}\", which the network is measured with; it has {}",
                description.name,
                there.join(", ")
            )))
        })
    }

    /// Adds a callback that stays, in `epoch` as in every fit.
    pub fn attach(&mut self, callback: impl Callback + 'static) {
        self.callbacks.push(Box::new(callback));
    }

    /// Has the callbacks that stay keep everything now; without one that does, nothing happens.
    ///
    /// # Errors
    /// As [`Trainer::save`].
    pub fn checkpoint(&mut self) -> Result<()> {
        let mut attached = std::mem::take(&mut self.callbacks);
        let mut callbacks =
            Callbacks::new(attached.iter_mut().map(|callback| &mut **callback as _).collect());
        let saved = self.save_with(&mut callbacks);
        self.callbacks = attached;
        saved
    }

    /// The callbacks that stay.
    pub(super) fn take_callbacks(&mut self) -> Vec<Box<dyn Callback>> {
        std::mem::take(&mut self.callbacks)
    }

    pub(super) fn put_callbacks(&mut self, callbacks: Vec<Box<dyn Callback>>) {
        self.callbacks = callbacks;
    }

    /// Whether one of the callbacks that stay saves to this folder.
    pub(crate) fn saves_to(&self, folder: &std::path::Path) -> bool {
        self.callbacks.iter().any(|callback| callback.folder() == Some(folder))
    }

    /// Everything there is to keep.
    pub(crate) fn snapshot(&mut self) -> Snapshot<'_> {
        let mut attached = std::mem::take(&mut self.callbacks);
        let callbacks = Callbacks::new(attached.iter_mut().map(|callback| &mut **callback as _).collect());
        callbacks.remember(&mut self.state.callbacks);
        let keeps = callbacks.keeps();
        drop(callbacks);
        self.callbacks = attached;
        self.snapshot_keeping(keeps)
    }

    /// What the samples trained on look like.
    pub(crate) fn description(&self) -> &Description {
        &self.description
    }

    /// Where the run is.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Makes the changes of settings that a saved run had made.
    pub(crate) fn apply_changes(&mut self, saved: &State) -> Result<()> {
        for change in &saved.changes {
            let group = change.group.as_str();
            match (change.setting.as_str(), &change.value) {
                (FROZEN, Value::Boolean(false)) => self.step.unfreeze(group)?,
                (FROZEN, _) => self.step.freeze(group)?,
                (setting, value) => self.step.set_group(group, setting, value.clone())?,
            }
        }
        Ok(())
    }

    /// Goes on where a saved run was, whose device states have been taken over.
    pub(crate) fn continue_from(&mut self, saved: State) {
        self.remembered.clone_from(&saved.callbacks);
        let own = std::mem::take(&mut self.state.identity);
        self.state = saved;
        // Runs of earlier versions get one now.
        if self.state.identity.is_empty() {
            self.state.identity = own;
        }
        self.state.settings = self.setup.deciding();
    }

    /// Goes by these choices of the device from the next step on; see [`Step::set_choices`].
    ///
    /// # Errors
    /// If the device fails.
    pub fn set_choices(&mut self, choices: &Choices) -> Result<()> {
        self.step.set_choices(choices)
    }

    /// Takes the time of each kernel of the training step from the next step on; [`Step::profile`] tells.
    pub fn start_profile(&mut self) {
        self.step.start_profile();
    }

    /// Epochs that have been finished.
    pub fn epochs(&self) -> u64 {
        self.state.epoch
    }

    /// Steps that have been made.
    pub fn steps(&self) -> u64 {
        self.state.step
    }

    /// The finished epochs.
    pub fn history(&self) -> &[EpochReport] {
        &self.state.history
    }

    /// The compiled step, with the network and its states.
    pub fn step(&self) -> &Step {
        &self.step
    }

    /// The compiled step, to change its settings.
    pub fn step_mut(&mut self) -> &mut Step {
        &mut self.step
    }
}

/// Seconds since a moment, which becomes now.
fn lap(since: &mut Instant) -> f64 {
    let now = Instant::now();
    now.duration_since(std::mem::replace(since, now)).as_secs_f64()
}

/// The factor of the learning rate, which a function of a program's own may have made of anything.
fn factor_at(schedule: &Schedule, moment: &Moment) -> Result<f64> {
    let factor = schedule.factor(moment);
    match factor.is_finite() && factor >= 0.0 {
        true => Ok(factor),
        false => Err(Error::setting(format!(
            "{schedule:?} gives the factor {factor} before step {}; learning rates are multiplied with 0 or more",
            moment.step + 1
        ))),
    }
}
