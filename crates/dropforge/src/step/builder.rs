//! Choices for a step before it is compiled.

use super::batch::{Batch, Fields, unbatched};
use super::change::{Changes, DeviceChange, Mix};
use super::network::NetworkBuilder;
use super::precision::Precision;
use super::resident::Resident;
use super::task::{Supervised, Task};
use super::training::Step;
use crate::error::{Error, ErrorKind, Result};
use crate::loss::{Loss, Targets};
use crate::metric::Metric;
use crate::nn::Layer;
use crate::nn::trace::own_port;
use crate::optim::{Group, Optimizer, Updates};
use crate::tensor::Runtime;
use dropforge_data::transform::NUMBERS;
use dropforge_data::{Normalization, ROW};
use dropforge_ir::{DType, ValueType};
use std::sync::Arc;

/// Choices for a [`Step`] before it is compiled.
///
/// ```
/// use dropforge::metric::accuracy;
/// use dropforge::optim::group;
/// use dropforge::prelude::*;
///
/// let (x, y) = (Tensor::ones([8, 4]), Tensor::from([0, 1, 2, 0, 1, 2, 0, 1]));
/// let builder = StepBuilder::new(seq![dense(16), relu(), dense(3)], cross_entropy(), AdamW::new(1e-2))
///     .group(group("*.bias").weight_decay(0.0))
///     .clip_norm(1.0)
///     .metric(accuracy())
///     .seed(7);
/// let mut step = builder.compile_for((&x, &y))?;
/// let first = step.run((&x, &y))?.loss()?;
/// for _ in 0..50 {
///     step.run((&x, &y))?;
/// }
/// assert!(step.evaluate((&x, &y))?.loss < f64::from(first));
/// # Ok::<(), dropforge::Error>(())
/// ```
pub struct StepBuilder {
    network: NetworkBuilder,
    /// Whether the batch size decides nothing about the network, as with layers.
    any_batch: bool,
    optimizer: Box<dyn Optimizer>,
    groups: Vec<Group>,
    clip_norm: Option<f64>,
    clip_value: Option<f64>,
    accumulate: usize,
    keep_gradients: bool,
    changes: Changes,
}

impl StepBuilder {
    /// For these layers, this loss and this optimizer; seed 0, no clipping, on the shared runtime.
    pub fn new(
        net: impl Layer + 'static,
        loss: impl Loss + 'static,
        optimizer: impl Optimizer + 'static,
    ) -> StepBuilder {
        let task = Supervised { net: Box::new(net), loss: Box::new(loss) };
        StepBuilder { any_batch: true, ..StepBuilder::of(task, optimizer) }
    }

    /// For a function of a batch: see [`Task`].
    pub fn of(task: impl Task + 'static, optimizer: impl Optimizer + 'static) -> StepBuilder {
        StepBuilder {
            network: NetworkBuilder::of(Arc::new(task)),
            any_batch: false,
            optimizer: Box::new(optimizer),
            groups: Vec::new(),
            clip_norm: None,
            clip_value: None,
            accumulate: 1,
            keep_gradients: false,
            changes: Changes::default(),
        }
    }

    /// What initial values and random numbers come from. Default 0.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> StepBuilder {
        self.network = self.network.seed(seed);
        self
    }

    /// What products, convolutions and attention compute in. With f16 the loss is scaled dynamically, and the training
    /// metrics have `skipped_steps` (`train_skipped_steps` in the report of an epoch): steps that counted for nothing
    /// because a gradient left the range of f16. Default f32.
    #[must_use]
    pub fn precision(mut self, precision: Precision) -> StepBuilder {
        self.network = self.network.precision(precision);
        self
    }

    /// Where the states lie and programs run. Default [`Runtime::shared`].
    #[must_use]
    pub fn runtime(mut self, runtime: &Runtime) -> StepBuilder {
        self.network = self.network.runtime(runtime);
        self
    }

    /// Measures this, beside the loss, in training and evaluation. Default, as long as none is named: accuracy where
    /// the targets are class indices.
    #[must_use]
    pub fn metric(mut self, metric: impl Metric + 'static) -> StepBuilder {
        self.network = self.network.metric(metric);
        self
    }

    /// Measures these and no others beside the loss; none at all if the list is empty.
    #[must_use]
    pub fn metrics(mut self, metrics: impl IntoIterator<Item = Arc<dyn Metric>>) -> StepBuilder {
        self.network = self.network.metrics(metrics);
        self
    }

    /// Trains some parameters in a way of their own: see [`group`](crate::optim::group). Of several groups the first
    /// that fits takes a parameter.
    #[must_use]
    pub fn group(mut self, group: Group) -> StepBuilder {
        self.groups.push(group);
        self
    }

    /// Scales all gradients together so that their global norm is at most this: PyTorch's `clip_grad_norm_`. The limit
    /// is the hyperparameter `clip_norm`. Default: no limit.
    #[must_use]
    pub fn clip_norm(mut self, limit: f64) -> StepBuilder {
        self.clip_norm = Some(limit);
        self
    }

    /// Brings each number of the gradients between −limit and limit, before their norm is clipped: PyTorch's
    /// `clip_grad_value_`. The limit is the hyperparameter `clip_value`. Default: no limit.
    #[must_use]
    pub fn clip_value(mut self, limit: f64) -> StepBuilder {
        self.clip_value = Some(limit);
        self
    }

    /// Updates the parameters after every so many batches only, with the mean of their gradients: a larger batch than
    /// fits into memory. Statistics such as those of batch norm, and metrics, follow every batch. What has been
    /// gathered at the end of an epoch counts for the next. Default 1.
    #[must_use]
    pub fn accumulate(mut self, batches: usize) -> StepBuilder {
        self.accumulate = batches;
        self
    }

    /// Has every step leave the gradients of its batch, of those parameters that are trained, for [`Step::gradients`]:
    /// to look at them. They then take memory of their own, and updates no longer come right behind the products that
    /// make them.
    #[must_use]
    pub fn keep_gradients(mut self) -> StepBuilder {
        self.keep_gradients = true;
        self
    }

    /// Has training steps change their images, after what was asked for before. Batches to train on then have one more
    /// field, `change`, with the numbers that decide it: [`with_numbers`](crate::data::transform::with_numbers) gives
    /// them. Changes are made of numbers from 0 to 1: see [`StepBuilder::normalized`].
    #[must_use]
    pub fn augment(mut self, change: impl DeviceChange + 'static) -> StepBuilder {
        self.changes.changes.push(Arc::new(change));
        self
    }

    /// Has training steps mix their inputs, and the losses with them; of several ways each batch takes one at random.
    /// Comes after all changes of single images.
    ///
    /// ```
    /// use dropforge::prelude::*;
    /// use dropforge::step::{CutMix, MixUp};
    ///
    /// let (x, y) = (Tensor::ones([8, 3, 4, 4]), Tensor::from([0, 1, 0, 1, 0, 1, 0, 1]));
    /// let net = seq![flatten(), dense(2)];
    /// let step = StepBuilder::new(net, cross_entropy(), Sgd::new(0.1)).mix(MixUp::new(0.2)).mix(CutMix::new(1.0));
    /// let mut step = step.compile_for((&x, &y))?;
    /// assert!(step.run((&x, &y))?.loss()?.is_finite());
    /// # Ok::<(), dropforge::Error>(())
    /// ```
    #[must_use]
    pub fn mix(mut self, mix: impl Mix + 'static) -> StepBuilder {
        self.changes.mixes.push(Arc::new(mix));
        self
    }

    /// By what the inputs have been normalised, for changes that are made of numbers from 0 to 1. Default: they are
    /// such numbers.
    #[must_use]
    pub fn normalized(mut self, normalization: Normalization) -> StepBuilder {
        self.changes.normalization = Some(normalization);
        self
    }

    /// By what the targets were standardised: see [`NetworkBuilder::units`].
    #[must_use]
    pub fn units(mut self, units: Normalization) -> StepBuilder {
        self.network = self.network.units(units);
        self
    }

    /// What the loss needs of the targets.
    pub(crate) fn targets(&self) -> Targets {
        self.network.targets()
    }

    pub(crate) fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Where it is going to run.
    pub(crate) fn place(&self) -> Result<Runtime> {
        self.network.place()
    }

    pub(crate) fn set_changes(&mut self, changes: Changes) {
        self.changes = changes;
    }

    /// Compiles the step for inputs and targets of these types, the batch included as first axis.
    ///
    /// # Errors
    /// As [`StepBuilder::compile_for`].
    #[doc(alias = "torch.compile")]
    pub fn compile(self, input: &ValueType, target: &ValueType) -> Result<Step> {
        for (what, ty) in [("inputs", input), ("targets", target)] {
            if unbatched(ty).is_none() {
                return Err(Error::data(format!("the {what} need a batch as first axis, got {ty}")));
            }
        }
        self.compile_for((own_port(input.clone()), own_port(target.clone())))
    }

    /// Compiles the step for batches like this one, of which only types and shapes count.
    ///
    /// # Errors
    /// The first error of a layer, the loss, a metric or the optimizer with its path and source line: shapes that do
    /// not fit, a field that does not exist, an operation without gradient rule, a parameter that the loss does not
    /// depend on, a state that is written but never used, two states of one name; a setting that cannot be; or the
    /// device's.
    pub fn compile_for(self, example: impl Into<Batch>) -> Result<Step> {
        let mut example = example.into();
        if self.changes.take_numbers() {
            example = example.with_last(NUMBERS)?;
        }
        if self.changes.resident.is_some() {
            let samples = example.samples()?;
            example = example.with(ROW, own_port(ValueType::new(DType::I32, [samples])));
        }
        let (fields, samples) = Fields::of(&example)?;
        if samples == 0 {
            return Err(Error::data("a step cannot be compiled for an empty batch; give one with samples"));
        }
        self.network.check_fields(&example)?;
        let positive = |what: &str, limit: Option<f64>| match limit {
            Some(limit) if limit.is_nan() || limit <= 0.0 => {
                Err(Error::of(ErrorKind::Setting, format!("{what} is {limit}, it must be more than 0")))
            }
            _ => Ok(()),
        };
        positive("clip_norm", self.clip_norm)?;
        positive("clip_value", self.clip_value)?;
        if self.accumulate == 0 {
            return Err(Error::of(ErrorKind::Setting, "accumulate is 0 batches, it must be 1 or more"));
        }
        let mut updates = Updates::new(self.optimizer, self.groups)?;
        updates.clip_norm = self.clip_norm;
        updates.clip_value = self.clip_value;
        updates.accumulate = self.accumulate;
        updates.keep_gradients = self.keep_gradients;
        let mut network = self.network.compile_fields(fields, if self.any_batch { 1 } else { samples })?;
        network.measure_without(self.changes.own_fields(), self.changes.resident.as_ref().map(Resident::len));
        updates.scale_loss = network.precision() == Precision::F16;
        Step::compile(network, updates, self.changes, samples)
    }
}
