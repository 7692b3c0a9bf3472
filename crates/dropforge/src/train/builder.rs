//! The choices for a training, and how they become a trainer.

use super::callback::Expected;
use super::progress::Seen;
use super::setup::Setup;
use super::source::IntoSource;
use super::state::State;
use super::trainer::Trainer;
use crate::loss::Targets;
use crate::metric::Metric;
use crate::optim::Group;
use crate::schedule::Schedule;
use crate::settings::{SettingType, Value};
use crate::step::{Batch, DeviceChange, Mix, Precision, Resident, StepBuilder};
use crate::{Error, Result, Runtime};
use dropforge_data::{INPUT, Loader, LoaderOptions, Source};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Choices for a [`Trainer`] before it is compiled.
pub struct TrainerBuilder {
    pub(super) step: StepBuilder,
    pub(super) options: LoaderOptions,
    pub(super) schedule: Schedule,
    pub(super) detect_anomaly: bool,
    pub(super) on_device: bool,
    pub(super) group_schedules: Vec<(String, Schedule)>,
    pub(super) setup: Setup,
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

    /// What products, convolutions and attention compute in: see [`StepBuilder::precision`]. Default f32.
    ///
    /// ```
    /// use dropforge::prelude::*;
    ///
    /// let (train, test) = datasets::digits(200, 50, 1);
    /// let net = seq![flatten(), dense(10)];
    /// let step = Trainer::new(net, cross_entropy(), Adam::new(1e-2)).precision(Precision::Bf16);
    /// let mut trainer = step.compile(&train)?;
    /// let before = trainer.evaluate(&test)?;
    /// trainer.fit(&train).epochs(3).run()?;
    /// assert!(trainer.evaluate(&test)?.loss < before.loss);
    /// # Ok::<(), dropforge::Error>(())
    /// ```
    #[must_use]
    pub fn precision(mut self, precision: Precision) -> TrainerBuilder {
        self.step = self.step.precision(precision);
        self
    }

    /// How the learning rate changes: a [`Schedule`], or a function of a [`Moment`](crate::schedule::Moment) that gives
    /// a factor. Default constant.
    #[must_use]
    pub fn schedule(mut self, schedule: impl Into<Schedule>) -> TrainerBuilder {
        self.schedule = schedule.into();
        self
    }

    /// Another schedule for a group of parameters, by the name of the group, which is its pattern unless it has
    /// another.
    #[must_use]
    pub fn group_schedule(
        mut self,
        group: impl Into<String>,
        schedule: impl Into<Schedule>,
    ) -> TrainerBuilder {
        let group = group.into();
        let unnamed = || Error::setting(format!("the group {group} has a schedule that a program gave it"));
        self.setup.note("group_schedule", Err(unnamed()));
        self.group_schedules.push((group, schedule.into()));
        self
    }

    /// Measures this, beside the loss: see [`StepBuilder::metric`].
    #[must_use]
    pub fn metric(mut self, metric: impl Metric + 'static) -> TrainerBuilder {
        self.setup.push("metrics", metric.config());
        self.step = self.step.metric(metric);
        self
    }

    /// Measures these and no others beside the loss.
    #[must_use]
    pub fn metrics(mut self, metrics: impl IntoIterator<Item = Arc<dyn Metric>>) -> TrainerBuilder {
        let metrics: Vec<Arc<dyn Metric>> = metrics.into_iter().collect();
        self.setup.note("metrics", Ok(Value::Array(Vec::new())));
        self.setup.unnamed.retain(|line| !line.starts_with("metrics: "));
        metrics.iter().for_each(|metric| self.setup.push("metrics", metric.config()));
        self.step = self.step.metrics(metrics);
        self
    }

    /// Trains some parameters in a way of their own: see [`group`](crate::optim::group).
    #[must_use]
    pub fn group(mut self, group: Group) -> TrainerBuilder {
        self.setup.push("groups", group.config());
        self.step = self.step.group(group);
        self
    }

    /// Scales all gradients together so that their global norm is at most this. Default: no limit.
    #[doc(alias = "clip_grad_norm_")]
    #[must_use]
    pub fn clip_norm(mut self, limit: f64) -> TrainerBuilder {
        self.setup.set("clip_norm", &limit);
        self.step = self.step.clip_norm(limit);
        self
    }

    /// Brings each number of the gradients between −limit and limit. Default: no limit.
    #[doc(alias = "clip_grad_value_")]
    #[must_use]
    pub fn clip_value(mut self, limit: f64) -> TrainerBuilder {
        self.setup.set("clip_value", &limit);
        self.step = self.step.clip_value(limit);
        self
    }

    /// Updates the parameters after every so many batches only: see [`StepBuilder::accumulate`]. Default 1.
    #[doc(alias = "accumulate_grad_batches")]
    #[must_use]
    pub fn accumulate(mut self, batches: usize) -> TrainerBuilder {
        self.setup.set("accumulate", &batches);
        self.step = self.step.accumulate(batches);
        self
    }

    /// Has every step leave the gradients of its batch: see [`StepBuilder::keep_gradients`].
    #[must_use]
    pub fn keep_gradients(mut self) -> TrainerBuilder {
        self.step = self.step.keep_gradients();
        self
    }

    /// Has the step change the images that are trained on, at random, after what was asked for before: see
    /// [`DeviceChange`]. The same pictures as those of [`augment`](crate::data::transform::augment), which changes them
    /// while they are read.
    #[must_use]
    pub fn augment(mut self, change: impl DeviceChange + 'static) -> TrainerBuilder {
        self.setup.push("transforms", change.config());
        self.setup.set("augment_on", &"device".to_string());
        self.step = self.step.augment(change);
        self
    }

    /// Has the step mix the samples of each batch: see [`StepBuilder::mix`].
    #[must_use]
    pub fn mix(mut self, mix: impl Mix + 'static) -> TrainerBuilder {
        self.setup.push("transforms", mix.config());
        self.step = self.step.mix(mix);
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

    /// Looks at the loss and at all states after every step, and where one is no longer finite repeats the step on the
    /// plain interpreter, so that the error names the first operation that made it, with its layer and source line.
    /// Default `false`: it copies all states to the host before every step.
    #[must_use]
    pub fn detect_anomaly(mut self, detect: bool) -> TrainerBuilder {
        self.detect_anomaly = detect;
        self
    }

    /// Whether all samples to train on lie on the device from the start, bytes as bytes, and the step picks its batches
    /// there, so that nothing is read or copied while training. They have to fit there beside the network, and to be the
    /// same each time that they are read: random changes are made in the step ([`TrainerBuilder::augment`]). The batches
    /// are the same bits. Default `false`.
    ///
    /// ```
    /// use dropforge::prelude::*;
    ///
    /// let (train, test) = datasets::digits(200, 50, 1);
    /// let net = || seq![flatten(), dense(10)];
    /// let trainer = || Trainer::new(net(), cross_entropy(), Adam::new(1e-2)).batch(50);
    /// let (mut device, mut host) = (trainer().on_device(true).compile(&train)?, trainer().compile(&train)?);
    /// device.fit(&train).epochs(2).run()?;
    /// host.fit(&train).epochs(2).run()?;
    /// assert_eq!(device.evaluate(&test)?.loss, host.evaluate(&test)?.loss);
    /// # Ok::<(), dropforge::Error>(())
    /// ```
    #[must_use]
    pub fn on_device(mut self, on_device: bool) -> TrainerBuilder {
        self.setup.set("data_on_device", &on_device);
        self.on_device = on_device;
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
    /// There are no samples, or the first error of a layer, the loss or the optimizer, with its path and source line,
    /// for the last batch of an epoch too.
    pub fn compile(mut self, train: &impl IntoSource) -> Result<Trainer> {
        self.schedule.validate().map_err(|error| error.context("schedule"))?;
        for (group, schedule) in &self.group_schedules {
            schedule.validate().map_err(|error| error.context(format_args!("group_schedule of {group}")))?;
        }
        let source = train.source();
        self.note_options(&*source);
        let description = source.description().clone();
        let mut changes = self.step.changes().clone();
        if changes.normalization.is_none() {
            let input = description.field(INPUT);
            changes.normalization = input.and_then(|input| input.preparation.normalization()).cloned();
        }
        if self.on_device {
            let threads = self.options.threads;
            changes.resident = Some(Resident::place(&source, threads, &self.step.place()?)?);
        }
        self.step.set_changes(changes.clone());
        if let Some(units) = description.target().and_then(|target| target.preparation.normalization()) {
            let needed = self.step.targets();
            if needed != Targets::Any {
                return Err(Error::data(format!(
                    "the targets of {} are standardised, and the loss needs {}",
                    description.name,
                    needed.wanted()
                ))
                .advice(
                    "leave them as they are (TableOptions::unscaled for a table), or take a loss of numbers such as mse",
                    "take a loss of numbers, such as --loss mse",
                ));
            }
            self.step = self.step.units(units.clone());
        }
        let source = changes.numbered(source)?;
        // What cannot be made batches of is refused before anything is compiled.
        Loader::new(source.clone(), self.options.clone())?;
        let batch = source.len().map_or(self.options.batch, |len| self.options.batch.min(len));
        let step = self.step.compile_for(Batch::like(source.description(), batch))?;
        if let (Some(outputs), Some(classes)) = (step.classes(), description.class_count())
            && outputs != classes
        {
            return Err(Error::data(format!(
                "the model has {outputs} outputs, but {} has {classes} classes; make the last layer as wide",
                description.name
            )));
        }
        for (group, _) in &self.group_schedules {
            step.group_settings(group).map_err(|error| error.context("group_schedule"))?;
        }
        let rest = source.len().map_or(0, |len| len % batch);
        if rest > 0 && !self.options.drop_last {
            step.check_for(rest).map_err(|error| {
                error
                    .context(format_args!("the last batch of an epoch has {rest} of {batch} samples"))
                    .advice(
                        "leave it out by drop_last, or choose another batch size",
                        "leave it out with --drop-last, or choose another --batch",
                    )
            })?;
        }
        let mut state = State::new(self.options.seed, self.options.batch);
        state.settings = self.setup.deciding();
        Ok(Trainer {
            step,
            changes,
            options: self.options,
            schedule: self.schedule,
            detect_anomaly: self.detect_anomaly,
            group_schedules: self.group_schedules,
            state,
            seen: Seen::default(),
            stop: None,
            skips_validations: false,
            saves: false,
            notes: Vec::new(),
            callbacks: Vec::new(),
            remembered: BTreeMap::new(),
            description,
            setup: self.setup,
            planned: None,
            figures: Expected::default(),
            interrupted: false,
            validates_within: false,
            within: None,
        })
    }

    /// What a run is to know of the choices.
    fn note_options(&mut self, source: &dyn Source) {
        let LoaderOptions { batch, seed, drop_last, shuffle, .. } = self.options;
        self.setup.set("batch", &batch);
        self.setup.set("seed", &seed);
        self.setup.set("drop_last", &drop_last);
        self.setup.set("shuffle", &shuffle);
        let schedule = self.schedule.write().map(|value| value.unwrap_or(Value::Table(Default::default())));
        self.setup.note("schedule", schedule);
        let unknown =
            || Error::setting(format!("{} was put together by a program", source.description().name));
        self.setup.note("data", source.data_name().map(Value::String).ok_or_else(unknown));
    }
}
