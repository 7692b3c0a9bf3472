//! The trainer: epochs of a compiled step over a source of samples.

use super::progress::{Outcomes, Progress};
use super::report::{EpochReport, Evaluation, Sums};
use super::source::{IntoSource, batch_types};
use super::state::State;
use crate::loss::Loss;
use crate::nn::Layer;
use crate::optim::Optimizer;
use crate::run::RunDir;
use crate::run::checkpoint;
use crate::schedule::{Moment, Schedule};
use crate::settings::Value;
use crate::step::{Choices, Step, StepBuilder};
use crate::{Error, Result, Runtime, Tensor};
use dropforge_data::{Epoch, Loader, LoaderOptions};
use std::path::Path;
use std::time::{Duration, Instant};

/// Choices for a [`Trainer`] before it is compiled.
pub struct TrainerBuilder {
    step: StepBuilder,
    options: LoaderOptions,
    schedule: Schedule,
}

impl TrainerBuilder {
    /// Samples per step. Default 64.
    #[must_use]
    pub fn batch(mut self, batch: usize) -> TrainerBuilder {
        self.options.batch = batch;
        self
    }

    /// What initial weights, the order of samples and dropout come from. Default 0.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> TrainerBuilder {
        self.options.seed = seed;
        self.step = self.step.seed(seed);
        self
    }

    /// Where to train. Default [`Runtime::shared`], the CPU.
    #[must_use]
    pub fn runtime(mut self, runtime: &Runtime) -> TrainerBuilder {
        self.step = self.step.runtime(runtime);
        self
    }

    /// How the learning rate changes: a [`Schedule`], or a function of a [`Moment`] that gives a factor. Default constant.
    #[must_use]
    pub fn schedule(mut self, schedule: impl Into<Schedule>) -> TrainerBuilder {
        self.schedule = schedule.into();
        self
    }

    /// Scales all gradients together so that their global norm is at most this. Default: no limit.
    #[must_use]
    pub fn clip_norm(mut self, limit: f64) -> TrainerBuilder {
        self.step = self.step.clip_norm(limit);
        self
    }

    /// Whether each epoch has its own random order. Default `true`.
    #[must_use]
    pub fn shuffle(mut self, shuffle: bool) -> TrainerBuilder {
        self.options.shuffle = shuffle;
        self
    }

    /// Whether a last batch with fewer samples is left out. Default `false`: it is trained on by a second program.
    #[must_use]
    pub fn drop_last(mut self, drop_last: bool) -> TrainerBuilder {
        self.options.drop_last = drop_last;
        self
    }

    /// How many threads read samples ahead. Default 1; more pay when images are decoded from files.
    #[must_use]
    pub fn reader_threads(mut self, threads: usize) -> TrainerBuilder {
        self.options.threads = threads;
        self
    }

    /// Compiles the training step for samples like those of `train`; input sizes are inferred from them.
    ///
    /// # Errors
    /// There are no samples, or the first error of a layer, the loss or the optimizer, with its path and source line.
    pub fn compile(self, train: &impl IntoSource) -> Result<Trainer> {
        let source = train.source();
        let description = source.description().clone();
        // What cannot be made batches of is refused before anything is compiled.
        Loader::new(source.clone(), self.options.clone())?;
        let len = source.len().map_or(self.options.batch, |len| self.options.batch.min(len));
        let (input, target) = batch_types(&description, len)?;
        let step = self.step.compile(&input, &target)?;
        if let (Some(outputs), Some(classes)) = (step.classes(), description.class_count())
            && outputs != classes
        {
            return Err(Error::new(format!(
                "the model has {outputs} outputs, but {} has {classes} classes; make the last layer as wide",
                description.name
            )));
        }
        let lr = step.settings().get("lr").and_then(Value::as_float);
        let state = State::new(self.options.seed, self.options.batch);
        Ok(Trainer { step, options: self.options, schedule: self.schedule, lr, state, autosave: None })
    }
}

/// Trains a network for as many epochs as you like, and keeps everything that has to be kept to go on later.
///
/// ```
/// use dropforge::prelude::*;
///
/// let (train, test) = datasets::digits(200, 50, 1);
/// let net = seq![flatten(), dense(10)];
/// let mut trainer = Trainer::new(net, cross_entropy(), Adam::new(1e-2)).batch(50).compile(&train)?;
/// let before = trainer.evaluate(&test)?;
/// for _ in 0..3 {
///     println!("{}", trainer.epoch(&train)?);
/// }
/// assert!(trainer.evaluate(&test)?.loss < before.loss);
/// # Ok::<(), dropforge::Error>(())
/// ```
///
/// Same seed, data, device and number of threads: the same bits. So too when a run is stopped, in the middle of an epoch
/// or not, and [resumed](Trainer::resume) from what [`Trainer::save`] or [`Trainer::autosave`] wrote.
pub struct Trainer {
    step: Step,
    options: LoaderOptions,
    schedule: Schedule,
    /// The optimizer's learning rate before the schedule; `None` if it has none.
    lr: Option<f64>,
    state: State,
    autosave: Option<Autosave>,
}

struct Autosave {
    run: RunDir,
    every: Duration,
    last: Instant,
}

impl Trainer {
    /// The choices for training these layers with this loss and this optimizer.
    #[allow(clippy::new_ret_no_self, reason = "the trainer itself needs data to know its sizes")]
    pub fn new(
        net: impl Layer + 'static,
        loss: impl Loss + 'static,
        optimizer: impl Optimizer + 'static,
    ) -> TrainerBuilder {
        TrainerBuilder {
            step: StepBuilder::new(net, loss, optimizer),
            options: LoaderOptions::default(),
            schedule: Schedule::constant(),
        }
    }

    /// Trains on every sample once, or on the rest of an epoch that was interrupted.
    ///
    /// # Errors
    /// A sample cannot be read, the loss is no longer finite, a checkpoint cannot be written, or the device fails.
    pub fn epoch(&mut self, train: &impl IntoSource) -> Result<EpochReport> {
        self.epoch_with(train, |_| Ok(()))
    }

    /// As [`Trainer::epoch`]; `watch` is called after each step. If it fails the epoch is interrupted, and the next call
    /// goes on with the next batch.
    ///
    /// # Errors
    /// As [`Trainer::epoch`], or what `watch` returned.
    pub fn epoch_with(
        &mut self,
        train: &impl IntoSource,
        mut watch: impl FnMut(&Progress) -> Result<()>,
    ) -> Result<EpochReport> {
        let loader = Loader::new(train.source(), self.options.clone())?;
        // 0 where only reading can tell.
        let batches = loader.batches().unwrap_or(0);
        if self.state.batch > 0 && self.state.batches != batches {
            return Err(Error::new(format!(
                "{}: the interrupted epoch has {} batches, this data makes {batches}; use the same data",
                loader.source().description().name,
                self.state.batches
            )));
        }
        self.state.batches = batches;
        let mut outcomes = Outcomes::default();
        let trained =
            self.train_batches(&mut outcomes, loader.epoch(self.state.epoch, self.state.batch), &mut watch);
        // Even if the epoch was interrupted, so that the sums are those of the steps made.
        let read = outcomes.read_all(&mut self.state.sums);
        trained.and(read)?;
        let report = self.report();
        self.state.history.push(report.clone());
        self.state.epoch += 1;
        self.state.batch = 0;
        self.state.sums = Sums::default();
        Ok(report)
    }

    fn train_batches(
        &mut self,
        outcomes: &mut Outcomes,
        mut epoch: Epoch,
        watch: &mut dyn FnMut(&Progress) -> Result<()>,
    ) -> Result<()> {
        let started = Instant::now();
        let (seconds, samples) = (self.state.sums.seconds, self.state.sums.samples);
        while let Some(batch) = epoch.next() {
            let batch = batch?;
            if let Some(lr) = self.lr {
                self.step.set_learning_rate(lr * self.schedule.factor(&self.moment()))?;
            }
            let (description, index) = (batch.description().clone(), batch.index());
            let batch = self.step.batched(batch)?;
            let outcome = self.step.run(&batch)?;
            // The device has copied what it needs.
            if let Some(spare) = batch.into_spare(&description, index) {
                epoch.recycle(spare);
            }
            self.state.batch += 1;
            self.state.step += 1;
            outcomes.push(outcome, self.state.step);
            outcomes.read_late(&mut self.state.sums)?;
            let elapsed = started.elapsed().as_secs_f64();
            self.state.sums.seconds = seconds + elapsed;
            let read = self.state.sums.samples - samples;
            watch(&Progress::new(&self.state, read as f64 / elapsed.max(1e-9)))?;
            if self.autosave.as_ref().is_some_and(|autosave| autosave.last.elapsed() >= autosave.every) {
                outcomes.read_all(&mut self.state.sums)?;
                self.checkpoint()?;
            }
        }
        Ok(())
    }

    fn moment(&self) -> Moment {
        let State { step, epoch, batch, batches, .. } = self.state;
        Moment { step, epoch, batch, batches }
    }

    fn report(&self) -> EpochReport {
        let State { step, epoch, batch, sums, .. } = &self.state;
        let last = Moment { step: step - 1, batch: batch - 1, ..self.moment() };
        EpochReport {
            epoch: epoch + 1,
            step: *step,
            lr: self.lr.unwrap_or(0.0) * self.schedule.factor(&last),
            loss: sums.mean_loss(),
            accuracy: sums.accuracy(),
            samples_per_s: sums.per_second(),
            seconds: sums.seconds,
            validation: None,
        }
    }

    /// Measures the network on other samples, without training.
    ///
    /// # Errors
    /// A sample cannot be read or has another shape than those trained on, or the device fails.
    pub fn evaluate(&mut self, test: &impl IntoSource) -> Result<Evaluation> {
        let started = Instant::now();
        let options = LoaderOptions { shuffle: false, drop_last: false, ..self.options.clone() };
        let mut sums = Sums::default();
        for batch in Loader::new(test.source(), options)?.epoch(0, 0) {
            let measured = self.step.evaluate(batch?)?;
            sums.add(measured.loss(), measured.correct, measured.samples);
        }
        sums.seconds = started.elapsed().as_secs_f64();
        Ok(Evaluation::from(&sums))
    }

    /// As [`Trainer::evaluate`], and notes the result with the last epoch, for the table of metrics.
    ///
    /// # Errors
    /// As [`Trainer::evaluate`].
    pub fn validate(&mut self, test: &impl IntoSource) -> Result<Evaluation> {
        let evaluation = self.evaluate(test)?;
        if let Some(last) = self.state.history.last_mut() {
            last.validation = Some(evaluation.clone());
        }
        Ok(evaluation)
    }

    /// What the network gives for inputs `[samples, ..]`, normalised as the samples trained on.
    ///
    /// # Errors
    /// The inputs have another shape than those trained on, or the device fails.
    pub fn predict(&mut self, inputs: &Tensor) -> Result<Tensor> {
        self.step.network_mut().predict(inputs)
    }

    /// Adds a checkpoint to the run in this folder, which is made if need be.
    ///
    /// # Errors
    /// The folder cannot be written or is in use; the previous checkpoint is then unchanged.
    pub fn save(&mut self, run: impl AsRef<Path>) -> Result<()> {
        match &self.autosave {
            Some(autosave) if autosave.run.path() == run.as_ref() => self.checkpoint(),
            _ => self.save_to(&RunDir::open(run.as_ref())?),
        }
    }

    fn save_to(&self, run: &RunDir) -> Result<()> {
        checkpoint::save(run, self.step.network(), &self.state)
    }

    /// Writes checkpoints to this run while training, whenever so much time has passed since the last one.
    pub fn autosave(&mut self, run: RunDir, every: Duration) {
        self.autosave = Some(Autosave { run, every, last: Instant::now() });
    }

    /// Adds a checkpoint to the run of [`Trainer::autosave`]; without one, nothing happens.
    ///
    /// # Errors
    /// As [`Trainer::save`].
    pub fn checkpoint(&mut self) -> Result<()> {
        if let Some(autosave) = &self.autosave {
            self.save_to(&autosave.run)?;
        }
        if let Some(autosave) = &mut self.autosave {
            autosave.last = Instant::now();
        }
        Ok(())
    }

    /// Goes on where the last checkpoint of a run was written. Returns whether there was one; if not, nothing changes. On
    /// the same device it goes by what the device had chosen then, so that the run goes on with the same bits.
    ///
    /// # Errors
    /// There is no such folder, the checkpoint cannot be read, or it is one of another network, optimizer, seed or batch
    /// size; the message says what differs. Nothing changes then either.
    pub fn resume(&mut self, run: impl AsRef<Path>) -> Result<bool> {
        let Some((state, chosen)) = checkpoint::load(run.as_ref(), self.step.states(), &self.state)? else {
            return Ok(false);
        };
        let choices = chosen.as_ref().and_then(|chosen| chosen.for_device_of(self.step.network()));
        if let Some(choices) = choices {
            self.step.set_choices(choices)?;
        }
        self.state = state;
        Ok(true)
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
}
