//! Training steps: one compiled program per batch size, over states that stay on the device.

use super::batch::{Batched, IntoBatch, unbatched};
use super::build::{CLIP_NORM, CORRECT, Compiled, LOSS, NORM, Recipe, Traced, trace_evaluate, trace_train};
use super::check::written_states_are_used;
use super::network::{Network, NetworkBuilder, Programs, with_batch};
use super::states::States;
use crate::error::{Error, Result};
use crate::loss::Loss;
use crate::nn::{Layer, STEP};
use crate::optim::Optimizer;
use crate::settings::{Table, Value};
use crate::tensor::Runtime;
use dropforge_ir::{Array, Data, ValueType};
use dropforge_runtime::{Argument, BufferRef, Choices};
use std::collections::BTreeMap;
use std::time::Instant;

/// A training step: forward, loss, backward, clipping and the optimizer's update in one run.
///
/// ```
/// use dropforge::prelude::*;
///
/// let x = Tensor::from([[0.0], [1.0], [2.0], [3.0]]);
/// let y = Tensor::from([[1.0], [3.0], [5.0], [7.0]]);
/// let mut step = compile(dense(1), mse(), Sgd::new(0.1), (&x, &y))?;
/// for _ in 0..200 {
///     step.run((&x, &y))?;
/// }
/// assert!(step.evaluate((&x, &y))?.loss() < 1e-3);
/// # Ok::<(), dropforge::Error>(())
/// ```
pub struct Step {
    network: Network,
    loss: Box<dyn Loss>,
    optimizer: Box<dyn Optimizer>,
    clip_norm: Option<f64>,
    target: ValueType,
    classes: Option<usize>,
    /// Runtime scalars that the user set, by name.
    chosen: BTreeMap<String, f64>,
    train: Programs,
    evaluate: Programs,
}

/// Choices for a [`Step`] before it is compiled.
pub struct StepBuilder {
    network: NetworkBuilder,
    loss: Box<dyn Loss>,
    optimizer: Box<dyn Optimizer>,
    clip_norm: Option<f64>,
}

impl StepBuilder {
    /// For these layers, this loss and this optimizer; seed 0, no clipping, on the shared runtime.
    pub fn new(
        net: impl Layer + 'static,
        loss: impl Loss + 'static,
        optimizer: impl Optimizer + 'static,
    ) -> StepBuilder {
        StepBuilder {
            network: NetworkBuilder::new(net),
            loss: Box::new(loss),
            optimizer: Box::new(optimizer),
            clip_norm: None,
        }
    }

    /// What initial values and random numbers come from. Default 0.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> StepBuilder {
        self.network = self.network.seed(seed);
        self
    }

    /// Where the states lie and programs run. Default [`Runtime::shared`].
    #[must_use]
    pub fn runtime(mut self, runtime: &Runtime) -> StepBuilder {
        self.network = self.network.runtime(runtime);
        self
    }

    /// Scales all gradients together so that their global norm is at most this: PyTorch's `clip_grad_norm_`. The limit
    /// is the hyperparameter `clip_norm`. Default: no limit.
    #[must_use]
    pub fn clip_norm(mut self, limit: f64) -> StepBuilder {
        self.clip_norm = Some(limit);
        self
    }

    /// Compiles the step for inputs and targets of these types, the batch included as first axis.
    ///
    /// # Errors
    /// The first error of a layer, the loss or the optimizer with its path and source line: shapes that do not fit, an
    /// operation without gradient rule, a parameter that the loss does not depend on, a state that is written but never
    /// used, two states of one name; or the device's.
    pub fn compile(self, input: &ValueType, target: &ValueType) -> Result<Step> {
        let no_batch = |what: &str, ty: &ValueType| {
            Error::new(format!("the {what} need a batch as first axis, got {ty}"))
        };
        let (batch, sample) = unbatched(input).ok_or_else(|| no_batch("inputs", input))?;
        let (targets, target_sample) = unbatched(target).ok_or_else(|| no_batch("targets", target))?;
        if batch != targets || batch == 0 {
            return Err(Error::new(format!(
                "inputs and targets must have the same batch size, 1 or more; got {batch} and {targets}"
            )));
        }
        let mut step = Step {
            network: self.network.compile(sample)?,
            loss: self.loss,
            optimizer: self.optimizer,
            clip_norm: self.clip_norm,
            target: target_sample,
            classes: None,
            chosen: BTreeMap::new(),
            train: Programs::default(),
            evaluate: Programs::default(),
        };
        let started = Instant::now();
        let train = step.trace_train(batch)?;
        written_states_are_used(&train, &step.trace_evaluate(batch)?)?;
        step.classes = train.classes;
        let compiled = step.network.load(&train, "train", batch, started)?;
        step.train.insert(batch, compiled);
        Ok(step)
    }
}

/// Compiles a training step for batches like `example`; see [`StepBuilder`] for the choices.
///
/// # Errors
/// As [`StepBuilder::compile`].
pub fn compile(
    net: impl Layer + 'static,
    loss: impl Loss + 'static,
    optimizer: impl Optimizer + 'static,
    example: impl IntoBatch,
) -> Result<Step> {
    let unknown = ValueType::new(dropforge_ir::DType::F32, Vec::new());
    let example = example.into_batch(&unknown, &unknown)?;
    StepBuilder::new(net, loss, optimizer).compile(&example.inputs.ty(), &example.targets.ty())
}

/// What a training step gave. Reading waits for the step; not reading costs nothing.
pub struct Outcome {
    loss: BufferRef,
    correct: Option<BufferRef>,
    gradient_norm: Option<BufferRef>,
    samples: usize,
}

impl Outcome {
    /// The loss of the batch, before the update.
    ///
    /// # Errors
    /// If the device fails.
    pub fn loss(&self) -> Result<f32> {
        scalar(&self.loss).map(|value| value as f32)
    }

    /// How many predictions were right, before the update; `None` if the targets are no classes.
    ///
    /// # Errors
    /// If the device fails.
    pub fn correct(&self) -> Result<Option<usize>> {
        self.correct.as_ref().map(|buffer| scalar(buffer).map(|count| count as usize)).transpose()
    }

    /// The global norm of the gradients before clipping; `None` without clipping.
    ///
    /// # Errors
    /// If the device fails.
    pub fn gradient_norm(&self) -> Result<Option<f32>> {
        self.gradient_norm.as_ref().map(|buffer| scalar(buffer).map(|norm| norm as f32)).transpose()
    }

    /// Number of samples in the batch.
    pub fn samples(&self) -> usize {
        self.samples
    }
}

fn scalar(buffer: &BufferRef) -> Result<f64> {
    let value = match buffer.read()?.data() {
        Data::F32(v) => v.first().map(|&x| f64::from(x)),
        Data::F16(v) => v.first().map(|&x| f64::from(x)),
        Data::BF16(v) => v.first().map(|&x| f64::from(x)),
        Data::I32(v) => v.first().map(|&x| f64::from(x)),
        Data::U32(v) => v.first().map(|&x| f64::from(x)),
        Data::U8(v) | Data::Bool(v) => v.first().map(|&x| f64::from(x)),
    };
    value.ok_or_else(|| Error::new("the program gave an empty scalar"))
}

/// Loss and right predictions over some samples; add those of several batches.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// Sum over batches of mean loss times samples.
    pub loss_sum: f64,
    /// Right predictions; `None` if the targets are no classes.
    pub correct: Option<usize>,
    /// Number of samples.
    pub samples: usize,
}

impl Evaluation {
    /// Mean loss per sample; NaN without samples.
    pub fn loss(&self) -> f64 {
        self.loss_sum / self.samples as f64
    }

    /// Share of right predictions, from 0 to 1; `None` if the targets are no classes or there are no samples. Where each
    /// sample has several targets, `correct` counts all of them, and so may exceed 1 here.
    pub fn accuracy(&self) -> Option<f64> {
        let correct = self.correct?;
        (self.samples > 0).then(|| correct as f64 / self.samples as f64)
    }

    /// Adds another batch.
    pub fn add(&mut self, other: &Evaluation) {
        self.loss_sum += other.loss_sum;
        self.samples += other.samples;
        if let Some(count) = other.correct {
            *self.correct.get_or_insert(0) += count;
        }
    }
}

impl Step {
    /// A batch as the step reads it.
    pub(crate) fn batched(&self, batch: impl IntoBatch) -> Result<Batched> {
        batch.into_batch(&self.network.sample, &self.target)
    }

    /// Trains on one batch: one run of one program. A batch size that was not seen before compiles another program over the
    /// same states.
    ///
    /// # Errors
    /// If the batch does not fit, a class is out of range, or the device fails.
    pub fn run(&mut self, batch: impl IntoBatch) -> Result<Outcome> {
        let batch = batch.into_batch(&self.network.sample, &self.target)?;
        let samples = self.check(&batch)?;
        self.load_train(samples)?;
        let settings = self.optimizer.hyperparameters();
        let compiled = self.train.get(samples).ok_or_else(|| Error::new("the program is gone"))?;
        let hypers = hypers(compiled, &self.chosen, &settings);
        let inputs = [Argument::Host(&batch.inputs), Argument::Host(&batch.targets)];
        let outputs = compiled.executable.run(&inputs, &hypers)?;
        let output = |name| compiled.output(name).and_then(|index| outputs.get(index)).cloned();
        Ok(Outcome {
            loss: output(LOSS).ok_or_else(|| Error::new("the program gave no loss"))?,
            correct: output(CORRECT),
            gradient_norm: output(NORM),
            samples,
        })
    }

    /// Loss and right predictions on one batch, without training: over the same states, nothing random, nothing written.
    ///
    /// # Errors
    /// As [`Step::run`].
    pub fn evaluate(&mut self, batch: impl IntoBatch) -> Result<Evaluation> {
        let batch = batch.into_batch(&self.network.sample, &self.target)?;
        let samples = self.check(&batch)?;
        self.load_evaluate(samples)?;
        let compiled = self.evaluate.get(samples).ok_or_else(|| Error::new("the program is gone"))?;
        let hypers = hypers(compiled, &self.chosen, &[]);
        let inputs = [Argument::Host(&batch.inputs), Argument::Host(&batch.targets)];
        let outputs = compiled.executable.run(&inputs, &hypers)?;
        let output = |name| compiled.output(name).and_then(|index| outputs.get(index));
        let loss = scalar(output(LOSS).ok_or_else(|| Error::new("the program gave no loss"))?)?;
        let correct = output(CORRECT).map(scalar).transpose()?;
        Ok(Evaluation {
            loss_sum: loss * samples as f64,
            correct: correct.map(|count| count as usize),
            samples,
        })
    }

    /// What the network gives for inputs; see [`Network::predict_array`].
    ///
    /// # Errors
    /// As [`Network::predict_array`].
    pub fn predict(&mut self, inputs: &Array) -> Result<Array> {
        self.network.predict_array(inputs)
    }

    /// Changes the learning rate from the next step on. Nothing is compiled again.
    ///
    /// # Errors
    /// If the optimizer has none.
    pub fn set_learning_rate(&mut self, lr: f64) -> Result<()> {
        self.optimizer.set_learning_rate(lr)
    }

    /// Changes a setting of the optimizer (`lr`, `momentum`, `weight_decay`, ..) from the next step on.
    ///
    /// # Errors
    /// If there is no such setting, or the change would need another program.
    pub fn set_optimizer(&mut self, setting: &str, value: impl Into<Value>) -> Result<()> {
        self.optimizer.set(setting, value.into())
    }

    /// Changes a runtime scalar that the network declared with `Scope::hyperparameter`, or `clip_norm`, from the next run
    /// on.
    ///
    /// # Errors
    /// If no program has a scalar of this name, or it is the optimizer's.
    pub fn set_hyperparameter(&mut self, name: &str, value: f64) -> Result<()> {
        if self.optimizer.hyperparameters().iter().any(|(known, _)| *known == name) {
            let message = format!("{name} is prepared by the optimizer; change it with set_optimizer");
            return Err(Error::new(message));
        }
        let limits = name == CLIP_NORM && self.clip_norm.is_some();
        if !limits && !self.train.names().chain(self.evaluate.names()).any(|known| known == name) {
            return Err(Error::new(format!("no program has a hyperparameter named {name}")));
        }
        self.chosen.insert(name.to_string(), value);
        Ok(())
    }

    /// The optimizer's settings as they are now; the learning rate is `lr`.
    pub fn settings(&self) -> Table {
        self.optimizer.settings()
    }

    /// How many training steps these states have seen.
    ///
    /// # Errors
    /// If the device fails.
    pub fn steps(&self) -> Result<u64> {
        match self.states().read(STEP)?.data() {
            Data::U32(v) => Ok(v.first().copied().unwrap_or(0).into()),
            _ => Ok(0),
        }
    }

    /// The network, for predictions, the summary and more.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The network, to predict with.
    pub fn network_mut(&mut self) -> &mut Network {
        &mut self.network
    }

    /// All states by name: parameters, running statistics, what the optimizer keeps, step count and seed. Reading all of
    /// them saves the whole training; writing them back resumes it, bit for bit if [`Step::choices`] are kept, too.
    pub fn states(&self) -> &States {
        self.network.states()
    }

    /// What the device chose for the programs so far; see [`Network::choices`].
    pub fn choices(&self) -> &Choices {
        self.network.choices()
    }

    /// Goes by these choices from the next step on; see [`Network::set_choices`]. Programs that were loaded with others are
    /// loaded again.
    ///
    /// # Errors
    /// If the device fails.
    pub fn set_choices(&mut self, choices: &Choices) -> Result<()> {
        if !self.network.adopt(choices) {
            return Ok(());
        }
        self.network.clear();
        for batch in self.train.clear() {
            self.load_train(batch)?;
        }
        for batch in self.evaluate.clear() {
            self.load_evaluate(batch)?;
        }
        Ok(())
    }

    /// Makes sure that there is a training program for this batch size.
    fn load_train(&mut self, batch: usize) -> Result<()> {
        if !self.train.contains(batch) {
            let started = Instant::now();
            let traced = self.trace_train(batch)?;
            let compiled = self.network.load(&traced, "train", batch, started)?;
            self.train.insert(batch, compiled);
        }
        Ok(())
    }

    /// Makes sure that there is an evaluating program for this batch size.
    fn load_evaluate(&mut self, batch: usize) -> Result<()> {
        if !self.evaluate.contains(batch) {
            let started = Instant::now();
            let traced = self.trace_evaluate(batch)?;
            let compiled = self.network.load(&traced, "evaluate", batch, started)?;
            self.evaluate.insert(batch, compiled);
        }
        Ok(())
    }

    /// The network alone, with its states.
    pub fn into_network(self) -> Network {
        self.network
    }

    /// The runtime that the states lie on.
    pub fn runtime(&self) -> &Runtime {
        self.network.runtime()
    }

    /// Element type and shape of the target of one sample.
    pub fn target(&self) -> &ValueType {
        &self.target
    }

    /// Number of classes, if the targets are class indices.
    pub fn classes(&self) -> Option<usize> {
        self.classes
    }

    /// Listings of the training programs for people, by batch size.
    pub fn explain(&self) -> Vec<(usize, String)> {
        self.train.explain()
    }

    /// Takes the time of each kernel of the training programs from the next run on.
    pub fn start_profile(&mut self) {
        self.train.start_profile();
    }

    /// What profiling found, for people, by batch size: time per kernel, its share and its rate. Empty where the device
    /// cannot tell.
    pub fn profile(&self) -> Vec<(usize, String)> {
        self.train.listings(|executable| executable.profile())
    }

    fn trace_train(&self, batch: usize) -> Result<Traced> {
        let recipe = Recipe {
            net: &*self.network.net,
            loss: &*self.loss,
            optimizer: &*self.optimizer,
            clip_norm: self.clip_norm,
        };
        let (input, target) = self.types(batch);
        trace_train(&recipe, &input, &target)
    }

    fn trace_evaluate(&self, batch: usize) -> Result<Traced> {
        let (input, target) = self.types(batch);
        trace_evaluate(&*self.network.net, &*self.loss, &input, &target)
    }

    fn types(&self, batch: usize) -> (ValueType, ValueType) {
        (with_batch(batch, &self.network.sample), with_batch(batch, &self.target))
    }

    /// The number of samples of a batch that fits.
    fn check(&self, batch: &Batched) -> Result<usize> {
        let samples = self.network.check_inputs(&batch.inputs.ty())?;
        let expected = with_batch(samples, &self.target);
        if batch.targets.ty() != expected {
            return Err(Error::new(format!("the targets must be {expected}, got {}", batch.targets.ty())));
        }
        if samples == 0 {
            return Err(Error::new("the batch is empty"));
        }
        let (Some(classes), Some(targets)) = (self.classes, batch.targets.as_i32()) else {
            return Ok(samples);
        };
        let inside = |class: &i32| usize::try_from(*class).is_ok_and(|class| class < classes);
        match targets.iter().position(|class| !inside(class)) {
            None => Ok(samples),
            Some(position) => {
                let per_sample = targets.len() / samples;
                Err(Error::new(format!(
                    "the target of sample {} is {}; classes go from 0 to {}",
                    position / per_sample.max(1),
                    targets[position],
                    classes - 1
                )))
            }
        }
    }
}

/// The values of a program's runtime scalars: the user's, the optimizer's, or the defaults.
fn hypers(compiled: &Compiled, chosen: &BTreeMap<String, f64>, settings: &[(&'static str, f64)]) -> Vec<f32> {
    let value = |(name, default): &(String, f64)| {
        let set = settings.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
        chosen.get(name).copied().or(set).unwrap_or(*default) as f32
    };
    compiled.hypers.iter().map(value).collect()
}
