//! Training steps: one compiled program per batch size, over states that stay on the device.

use super::batch::Batch;
use super::build::{GRADIENT, LOSS, NORM, Traced, trace_train};
use super::builder::StepBuilder;
use super::change::Changes;
use super::check::written_states_are_used;
use super::evaluation::{Evaluating, Evaluation};
use super::exchange::Exchange;
use super::input::Inputs;
use super::network::{Network, gone};
use super::outcome::Outcome;
use super::programs::Programs;
use super::resident::Resident;
use super::states::States;
use crate::error::{Error, ErrorKind, Result};
use crate::loss::Loss;
use crate::metric::Slot;
use crate::nn::{Layer, STEP};
use crate::optim::{Optimizer, SCALE, Updates, clip};
use crate::settings::{Table, Value};
use crate::tensor::{Runtime, Tensor};
use dropforge_ir::{Array, Data};
use dropforge_runtime::{BufferRef, Choices};
use std::time::Instant;

/// A training step: forward, loss, backward, clipping, the optimizer's update and the metrics in one run.
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
/// assert!(step.evaluate((&x, &y))?.loss < 1e-3);
/// # Ok::<(), dropforge::Error>(())
/// ```
pub struct Step {
    network: Network,
    updates: Updates,
    /// What becomes of the inputs first.
    changes: Changes,
    /// The metrics with the states that hold their sums over an epoch, the mean loss first.
    train_metrics: Vec<Slot>,
    train: Programs,
    /// The optimizer's runtime scalars, whose names stay from step to step.
    settings: Vec<(String, f64)>,
    /// The gradients of the last step by name, where they are kept.
    gradients: Vec<(String, BufferRef)>,
    /// Lists of a step, whose memory serves again.
    outputs: Vec<BufferRef>,
    values: Vec<(&'static str, f64)>,
}

/// Compiles a training step of layers and a loss for batches like `example`; see [`StepBuilder`] for the choices, and
/// for steps of another form.
///
/// # Errors
/// As [`StepBuilder::compile_for`].
pub fn compile(
    net: impl Layer + 'static,
    loss: impl Loss + 'static,
    optimizer: impl Optimizer + 'static,
    example: impl Into<Batch>,
) -> Result<Step> {
    StepBuilder::new(net, loss, optimizer).compile_for(example)
}

impl Step {
    pub(super) fn compile(
        network: Network,
        updates: Updates,
        changes: Changes,
        samples: usize,
    ) -> Result<Step> {
        let (train_metrics, settings, gradients) = (Vec::new(), Vec::new(), Vec::new());
        let train = Programs::default();
        let (outputs, values) = (Vec::new(), Vec::new());
        let mut step =
            Step { network, updates, changes, train_metrics, train, settings, gradients, outputs, values };
        let started = Instant::now();
        let train = step.trace(samples)?;
        written_states_are_used(&train, &step.network.trace_evaluate(samples)?)?;
        if let Some((targets, samples)) =
            step.changes.resident.as_ref().and_then(|resident| Some((resident.targets()?, resident.len())))
        {
            step.network.check_kept(targets, samples)?;
        }
        step.train_metrics.clone_from(&train.metrics);
        let compiled = step.network.load(&train, "train", samples, started)?;
        step.train.insert(samples, compiled);
        Ok(step)
    }

    /// Trains on one batch: one run of one program. A batch size that was not seen before compiles another program over
    /// the same states.
    ///
    /// # Errors
    /// If the batch does not fit, a class is out of range, or the device fails. Indices that are computed in the step
    /// or lie on the device are looked at behind it: the error names the operation, the first index outside, its
    /// position and the limit. The update has been made by then. On a GPU, which computes while the host goes on, it
    /// may come from one of the next few runs, or from [`Outcome::loss`].
    pub fn run(&mut self, batch: impl Into<Batch>) -> Result<Outcome> {
        self.train_on(&batch.into())
    }

    pub(crate) fn train_on(&mut self, batch: &impl Inputs) -> Result<Outcome> {
        let samples = self.network.check_training(batch)?;
        self.load(samples)?;
        self.updates.read_hyperparameters(&mut self.settings, &mut self.values);
        let compiled = self.train.get(samples).ok_or_else(gone)?;
        self.network.run(compiled, batch, &self.settings, samples, &mut self.outputs)?;
        let output = |name| compiled.output(name).and_then(|index| self.outputs.get(index)).cloned();
        let named = compiled.outputs.iter().zip(&self.outputs);
        let kept =
            named.filter_map(|(name, output)| Some((name.strip_prefix(GRADIENT)?.into(), output.clone())));
        self.gradients = kept.collect();
        let outcome = Outcome {
            loss: output(LOSS).ok_or_else(|| Error::program("the program gave no loss"))?,
            gradient_norm: output(NORM),
            samples,
            checks: compiled.unseen(),
        };
        self.outputs.clear();
        Ok(outcome)
    }

    /// Loss and metrics of one batch, without training; see [`Network::evaluate`].
    ///
    /// # Errors
    /// As [`Step::run`].
    pub fn evaluate(&mut self, batch: impl Into<Batch>) -> Result<Evaluation> {
        self.network.evaluate(batch)
    }

    /// Measures the network on several batches; see [`Network::start_evaluation`].
    ///
    /// # Errors
    /// If the device fails.
    pub fn start_evaluation(&mut self) -> Result<Evaluating<'_>> {
        self.network.start_evaluation()
    }

    /// Loss and metrics over all training steps since the last [`Step::reset_metrics`], each batch measured before the
    /// step it was part of. Reading waits for the last step.
    ///
    /// # Errors
    /// If the device fails.
    pub fn metrics(&self) -> Result<Evaluation> {
        self.network.read(&self.train_metrics)
    }

    /// Forgets what the training steps so far have measured.
    ///
    /// # Errors
    /// If the device fails.
    pub fn reset_metrics(&mut self) -> Result<()> {
        self.network.clear_sums(&self.train_metrics)
    }

    /// The sums of a metric over the training steps since the last [`Step::reset_metrics`], each row-major, or `None`
    /// if it is not measured: for those of which a number is not enough, such as a confusion matrix.
    ///
    /// # Errors
    /// If the device fails.
    pub fn metric_sums(&self, name: &str) -> Result<Option<Vec<Vec<f64>>>> {
        let slot = self.train_metrics.iter().find(|slot| slot.metric.name() == name);
        slot.map(|slot| self.network.sums(slot)).transpose()
    }

    /// The gradients of the last step's batch by the names of their parameters, before they were clipped; empty before
    /// the first step, and unless [`StepBuilder::keep_gradients`] was asked for. Reading waits for the step.
    ///
    /// ```
    /// use dropforge::prelude::*;
    ///
    /// let (x, y) = (Tensor::from([[2.0]]), Tensor::from([[0.0]]));
    /// let step = StepBuilder::new(dense(1), mse(), Sgd::new(0.1)).keep_gradients();
    /// let mut step = step.compile_for((&x, &y))?;
    /// let read = |step: &Step, name: &str| step.states().read(name).map(|array| array.as_f32().unwrap()[0]);
    /// let (weight, bias) = (read(&step, "weight")?, read(&step, "bias")?);
    /// step.run((&x, &y))?;
    /// let gradients = step.gradients()?;
    /// let (name, gradient) = &gradients[0];
    /// // The loss is (2 w + b)².
    /// let expected = 4.0 * (2.0 * weight + bias);
    /// assert!(name == "weight" && (gradient.as_f32().unwrap()[0] - expected).abs() < 1e-4);
    /// # Ok::<(), dropforge::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the device fails.
    pub fn gradients(&self) -> Result<Vec<(String, Array)>> {
        self.gradients.iter().map(|(name, buffer)| Ok((name.clone(), buffer.read()?))).collect()
    }

    /// What the network predicts; see [`Network::predict`].
    ///
    /// # Errors
    /// As [`Network::predict`].
    pub fn predict(&mut self, batch: impl Into<Batch>) -> Result<Tensor> {
        self.network.predict(batch)
    }

    /// All outputs of the task by name; see [`Network::outputs`].
    ///
    /// # Errors
    /// As [`Network::predict`].
    pub fn outputs(&mut self, batch: impl Into<Batch>) -> Result<Vec<(String, Tensor)>> {
        self.network.outputs(batch)
    }

    /// Puts the averages that an optimizer inside of [`Averaged`](crate::optim::Averaged) keeps into the network, in
    /// place of the weights; says how many. Training on goes on from there. Running statistics of batch norms stay
    /// those of the weights.
    ///
    /// ```
    /// use dropforge::optim::Averaged;
    /// use dropforge::prelude::*;
    ///
    /// let (x, y) = (Tensor::ones([4, 3]), Tensor::zeros([4, 1]));
    /// let optimizer = Averaged::exponential(0.9, Sgd::new(0.1));
    /// let mut step = compile(dense(1), mse(), optimizer, (&x, &y))?;
    /// step.run((&x, &y))?;
    /// assert_eq!(step.use_averages()?, 2);
    /// # Ok::<(), dropforge::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there are none, or the device fails.
    pub fn use_averages(&mut self) -> Result<usize> {
        let averages = self.states().averages()?;
        if averages.is_empty() {
            return Err(crate::optim::no_averages());
        }
        for (average, parameter) in &averages {
            self.states().write(parameter, &average.read()?)?;
        }
        Ok(averages.len())
    }

    /// Does something with the averages of the weights in the network, if there are any, and puts the weights back. The
    /// two take each other's place on the device, which has memory for one of them more meanwhile.
    pub(crate) fn on_averages<T>(&mut self, something: impl FnOnce(&mut Step) -> Result<T>) -> Result<T> {
        let averages = self.states().averages()?;
        if averages.is_empty() {
            return something(self);
        }
        let pairs: Vec<(String, String)> =
            averages.into_iter().map(|(average, parameter)| (average.name().into(), parameter)).collect();
        let mut exchange = Exchange::new(&pairs, self.states(), self.runtime())?;
        exchange.run()?;
        let done = something(self);
        exchange.run()?;
        done
    }

    /// Changes the learning rate from the next step on. Nothing is compiled again. Groups whose rate is a multiple of
    /// it follow.
    ///
    /// # Errors
    /// If the optimizer has none.
    pub fn set_learning_rate(&mut self, lr: f64) -> Result<()> {
        self.updates.set("", "lr", Value::Float(lr))
    }

    /// The learning rate of all parameters that are in no group, before a schedule; `None` if the optimizer has none.
    pub fn learning_rate(&self) -> Option<f64> {
        self.updates.learning_rate()
    }

    /// What all learning rates are multiplied with from the next step on, those of groups as well: for schedules.
    ///
    /// # Errors
    /// If an optimizer refuses the rate.
    pub fn set_rate_factor(&mut self, factor: f64) -> Result<()> {
        self.updates.set_factor(factor)
    }

    /// What the learning rate of a group is multiplied with from the next step on, in place of the factor of
    /// [`Step::set_rate_factor`]: for a schedule of its own.
    ///
    /// # Errors
    /// If there is no such group, or its optimizer refuses the rate.
    pub fn set_group_rate_factor(&mut self, group: &str, factor: f64) -> Result<()> {
        self.updates.set_factor_of(group, factor)
    }

    /// Changes a setting of the optimizer (`lr`, `momentum`, `weight_decay`, ..) from the next step on.
    ///
    /// # Errors
    /// If there is no such setting, or the change would need another program.
    pub fn set_optimizer(&mut self, setting: &str, value: impl Into<Value>) -> Result<()> {
        self.updates.set("", setting, value.into())
    }

    /// Changes a setting of a group of parameters from the next step on.
    ///
    /// # Errors
    /// If there is no such group or setting, or the change would need another program.
    pub fn set_group(&mut self, group: &str, setting: &str, value: impl Into<Value>) -> Result<()> {
        self.updates.set(group, setting, value.into())
    }

    /// The settings of a group of parameters as they are now; the learning rate is `lr`.
    ///
    /// # Errors
    /// If there is no such group.
    pub fn group_settings(&self, group: &str) -> Result<Table> {
        self.updates.settings(group)
    }

    /// Trains no longer the parameters of a group. The next step is compiled anew; what their optimizer has kept stays.
    ///
    /// # Errors
    /// If there is no such group.
    #[doc(alias = "requires_grad_")]
    pub fn freeze(&mut self, group: &str) -> Result<()> {
        self.set_frozen(group, true)
    }

    /// Trains the parameters of a group that was frozen. The next step is compiled anew; their optimizer starts afresh,
    /// or where it was when they were frozen.
    ///
    /// # Errors
    /// If there is no such group, or the step cannot be compiled.
    pub fn unfreeze(&mut self, group: &str) -> Result<()> {
        self.set_frozen(group, false)
    }

    /// Whether an optimizer compares the losses of steps.
    pub(crate) fn compares_losses(&self) -> bool {
        self.updates.compare_losses()
    }

    /// Of how many batches the gradients make one update.
    pub(crate) fn accumulated(&self) -> usize {
        self.updates.accumulate
    }

    /// Whether the parameters of a group are frozen.
    ///
    /// # Errors
    /// If there is no such group.
    pub fn is_frozen(&self, group: &str) -> Result<bool> {
        self.updates.is_frozen(group)
    }

    fn set_frozen(&mut self, group: &str, frozen: bool) -> Result<()> {
        if self.updates.freeze(group, frozen)? {
            for batch in self.train.clear() {
                self.load(batch)?;
            }
        }
        Ok(())
    }

    /// Changes a runtime scalar that the network declared with `Scope::hyperparameter`, or `clip_norm` or `clip_value`,
    /// from the next run on.
    ///
    /// # Errors
    /// If no program has a scalar of this name, or it is the optimizer's.
    pub fn set_hyperparameter(&mut self, name: &str, value: f64) -> Result<()> {
        if self.updates.hyperparameters().iter().any(|(known, _)| known == name) {
            let message = format!("{name} is prepared by the optimizer; change it with set_optimizer");
            return Err(Error::of(ErrorKind::Setting, message));
        }
        let limits = [(clip::NORM, self.updates.clip_norm), (clip::VALUE, self.updates.clip_value)];
        let limits = limits.iter().any(|(known, limit)| *known == name && limit.is_some());
        if !limits && !self.train.names().any(|known| known == name) && !self.network.has_hyperparameter(name)
        {
            let message = format!("no program has a hyperparameter named {name}");
            return Err(Error::of(ErrorKind::Setting, message));
        }
        self.network.choose(name, value);
        Ok(())
    }

    /// The optimizer's settings as they are now; the learning rate is `lr`.
    pub fn settings(&self) -> Table {
        self.updates.settings("").unwrap_or_default()
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

    /// What the loss is multiplied with before it is differentiated, in a step of f16.
    ///
    /// # Errors
    /// If the device fails.
    pub fn loss_scale(&self) -> Result<Option<f32>> {
        let Some(state) = self.states().get(SCALE) else { return Ok(None) };
        Ok(state.read()?.as_f32().and_then(|scale| scale.first().copied()))
    }

    /// The network, for predictions, the summary and more.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The network, to predict with.
    pub fn network_mut(&mut self) -> &mut Network {
        &mut self.network
    }

    /// All states by name: parameters, running statistics, what the optimizer keeps, step count and seed, sums of
    /// metrics. Reading all of them saves the whole training; writing them back resumes it, bit for bit if
    /// [`Step::choices`] are kept, too.
    pub fn states(&self) -> &States {
        self.network.states()
    }

    /// What the device chose for the programs so far; see [`Network::choices`].
    pub fn choices(&self) -> &Choices {
        self.network.choices()
    }

    /// Goes by these choices from the next step on; see [`Network::set_choices`]. Programs that were loaded with others
    /// are loaded again.
    ///
    /// # Errors
    /// If the device fails.
    pub fn set_choices(&mut self, choices: &Choices) -> Result<()> {
        if !self.network.adopt(choices) {
            return Ok(());
        }
        self.network.clear();
        for batch in self.train.clear() {
            self.load(batch)?;
        }
        Ok(())
    }

    /// Makes sure that there is a program for this batch size.
    fn load(&mut self, samples: usize) -> Result<()> {
        if !self.train.contains(samples) {
            let started = Instant::now();
            let traced = self.trace(samples)?;
            let compiled = self.network.load(&traced, "train", samples, started)?;
            self.train.insert(samples, compiled);
        }
        Ok(())
    }

    /// Finds out whether the step can be compiled for batches of so many samples, without doing so: what is wrong is
    /// said before any training.
    ///
    /// # Errors
    /// As [`StepBuilder::compile_for`].
    pub fn check_for(&self, samples: usize) -> Result<()> {
        self.trace(samples).map(|_| ())
    }

    /// The network alone, with its states.
    pub fn into_network(self) -> Network {
        self.network
    }

    /// The runtime that the states lie on.
    pub fn runtime(&self) -> &Runtime {
        self.network.runtime()
    }

    /// Number of classes, if the targets are class indices.
    pub fn classes(&self) -> Option<usize> {
        self.network.classes()
    }

    /// Listings of the training programs for people, by batch size; before each, in half precision, what each operation
    /// computes in.
    pub fn explain(&self) -> Vec<(usize, String)> {
        let table = self.network.precision().table();
        let with_table = |(batch, listing)| (batch, format!("{table}{listing}"));
        self.train.explain().into_iter().map(with_table).collect()
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

    /// Memory of the device that the samples take which stay there; 0 where none do.
    pub fn resident_bytes(&self) -> usize {
        self.changes.resident.as_ref().map_or(0, Resident::bytes)
    }

    /// The number of samples of a batch that fits.
    pub(super) fn check_batch(&mut self, batch: &impl Inputs) -> Result<usize> {
        self.network.check_training(batch)
    }

    /// The training program as it is before it is planned.
    pub(super) fn trace_for(&self, samples: usize) -> Result<Traced> {
        self.trace(samples)
    }

    /// The values of runtime scalars as the next step would have them.
    pub(super) fn hypers_of(&self, hypers: &[(String, f64)]) -> Vec<f32> {
        self.network.hypers(hypers, &self.updates.hyperparameters())
    }

    pub(super) fn programs(&self) -> &Programs {
        &self.train
    }

    fn trace(&self, samples: usize) -> Result<Traced> {
        trace_train(&self.network.recipe(), &self.updates, &self.changes, samples)
    }
}
