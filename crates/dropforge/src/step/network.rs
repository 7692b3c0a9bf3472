//! Networks with their states, for predictions.

use super::Compilation;
use super::batch::{Batch, Fields, IntoSample, TARGET};
use super::build::{Compiled, Recipe, Traced, hyper_values, trace_evaluate, trace_predict};
use super::evaluation::Evaluation;
use super::input::{Input, Inputs, emptied};
use super::kept::Kept;
use super::precision::Precision;
use super::programs::Programs;
use super::states::States;
use super::summary::Summary;
use super::task::{Forward, PREDICTION, Supervised, Task};
use crate::error::{Error, ErrorKind, Result};
use crate::loss::{Loss, Targets};
use crate::metric::{Figures, Metric, Slot, SumState, check_labels, finish};
use crate::nn::Layer;
use crate::tensor::check::is_check;
use crate::tensor::node::Place;
use crate::tensor::runtime::Placed;
use crate::tensor::{Runtime, Tensor};
use dropforge_data::{Normalization, ROW};
use dropforge_ir::{Array, ValueType};
use dropforge_runtime::{Argument, BufferRef, Choices};
use std::collections::BTreeMap;
use std::panic::Location;
use std::sync::Arc;
use std::time::Instant;

/// The samples of a batch, of which there must be one.
fn some(samples: usize) -> Result<usize> {
    match samples {
        0 => Err(Error::of(ErrorKind::Data, "the batch is empty")),
        samples => Ok(samples),
    }
}

/// A network with its states on a device.
///
/// Programs are compiled when a batch size is first seen and kept.
///
/// ```
/// use dropforge::prelude::*;
///
/// let mut net = Network::compile(seq![dense(3), relu()], [4])?;
/// let outputs = net.predict(&Tensor::zeros([2, 4]))?;
/// assert_eq!(outputs.shape().to_vec(), [2, 3]);
/// # Ok::<(), dropforge::Error>(())
/// ```
pub struct Network {
    pub(super) task: Arc<dyn Task>,
    pub(super) fields: Fields,
    /// The places of the fields that training takes, of those that evaluation does, and of those that predictions need.
    trained: Vec<usize>,
    measured: Vec<usize>,
    needed: Vec<usize>,
    /// The metrics that were chosen; `None` for the usual ones.
    metrics: Option<Vec<Arc<dyn Metric>>>,
    /// The metrics with the states that hold their sums over an evaluation; empty before the first.
    slots: Vec<Slot>,
    /// By what the targets were standardised.
    units: Option<Normalization>,
    /// What the evaluation has kept of its batches.
    kept: Kept,
    /// A list of its outputs, whose memory serves again.
    measured_outputs: Vec<BufferRef>,
    /// The place of a field with class indices, and how many classes there are.
    classes: Option<(usize, usize)>,
    /// Runtime scalars that the user set, by name.
    chosen: BTreeMap<String, f64>,
    pub(super) states: States,
    pub(super) runtime: Runtime,
    pub(super) seed: u64,
    /// Never `Auto`.
    precision: Precision,
    compilations: Vec<Compilation>,
    /// What the device chose for the programs so far.
    choices: Choices,
    predict: Programs,
    evaluate: Programs,
    summary: Summary,
    /// Names and types of the outputs for a batch of 1, the prediction first; empty where the task has none.
    outputs: Vec<(String, ValueType)>,
    /// Where the fields of the last batch were; kept for its memory.
    found: Vec<usize>,
    /// How many samples the device has, where it has those that are trained on.
    samples_kept: Option<usize>,
}

/// Choices for a [`Network`] before it is compiled.
pub struct NetworkBuilder {
    task: Arc<dyn Task>,
    metrics: Option<Vec<Arc<dyn Metric>>>,
    seed: u64,
    precision: Precision,
    runtime: Option<Runtime>,
    units: Option<Normalization>,
}

impl NetworkBuilder {
    /// For these layers; seed 0, on the shared runtime.
    pub fn new(net: impl Layer + 'static) -> NetworkBuilder {
        NetworkBuilder::of(Arc::new(Forward { net: Box::new(net) }))
    }

    pub(super) fn of(task: Arc<dyn Task>) -> NetworkBuilder {
        NetworkBuilder { task, metrics: None, seed: 0, precision: Precision::F32, runtime: None, units: None }
    }

    /// For these layers and a loss, to predict and to evaluate.
    pub fn with_loss(net: impl Layer + 'static, loss: impl Loss + 'static) -> NetworkBuilder {
        NetworkBuilder::of(Arc::new(Supervised { net: Box::new(net), loss: Box::new(loss) }))
    }

    /// Measures this, beside the loss, in evaluation. Default, as long as none is named: accuracy where the targets are
    /// class indices.
    #[must_use]
    pub fn metric(mut self, metric: impl Metric + 'static) -> NetworkBuilder {
        self.metrics.get_or_insert_default().push(Arc::new(metric));
        self
    }

    /// Measures these and no others beside the loss.
    #[must_use]
    pub fn metrics(mut self, metrics: impl IntoIterator<Item = Arc<dyn Metric>>) -> NetworkBuilder {
        self.metrics = Some(metrics.into_iter().collect());
        self
    }

    /// What initial values and random numbers come from. Default 0.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> NetworkBuilder {
        self.seed = seed;
        self
    }

    /// Where the states lie and programs run. Default [`Runtime::shared`].
    #[must_use]
    pub fn runtime(mut self, runtime: &Runtime) -> NetworkBuilder {
        self.runtime = Some(runtime.clone());
        self
    }

    /// What products compute in, in all programs of the network. Default f32.
    #[must_use]
    pub fn precision(mut self, precision: Precision) -> NetworkBuilder {
        self.precision = precision;
        self
    }

    /// By what the targets were standardised: metrics, though not the loss, are then in the units of the raw targets,
    /// where predictions have the shape of the targets. Default: they were not.
    #[must_use]
    pub fn units(mut self, units: Normalization) -> NetworkBuilder {
        self.units = Some(units);
        self
    }

    pub(super) fn targets(&self) -> Targets {
        self.task.targets()
    }

    /// Where it is going to run.
    pub(super) fn place(&self) -> Result<Runtime> {
        match &self.runtime {
            Some(runtime) => Ok(runtime.clone()),
            None => Ok(Runtime::shared()?),
        }
    }

    /// Refuses a batch to train on without a field that the task needs.
    pub(super) fn check_fields(&self, example: &Batch) -> Result<()> {
        let missing = self.task.fields().iter().find(|needed| example.names().all(|name| name != **needed));
        missing.map_or(Ok(()), |missing| {
            let there: Vec<&str> = example.names().collect();
            Err(Error::data(format!(
                "there is no field \"{missing}\", and layers with a loss are trained on an input and a target; there are {}. Name \
                 the fields so, or train a function of the batch, which takes any fields: Trainer::of, StepBuilder::of",
                there.join(", ")
            )))
        })
    }

    /// The layers with their output shapes, for a batch of 1, and parameters. Nothing is computed and no memory is
    /// taken for parameters, however many there are.
    ///
    /// # Errors
    /// The first error of a layer, with its path and source line.
    #[doc(alias = "torchinfo")]
    pub fn summary(&self, sample: impl IntoSample) -> Result<Summary> {
        let traced = trace_predict(&*self.task, &Fields::input(sample.into_sample()), 1)?;
        Ok(Summary::new(&traced))
    }

    /// Makes the states for inputs whose samples look like this, without the batch: `[1, 28, 28]` means f32.
    ///
    /// # Errors
    /// The first error of a layer, with its path and source line, or the device's.
    pub fn compile(self, sample: impl IntoSample) -> Result<Network> {
        // The batch does not matter here: it decides no parameter's shape.
        self.compile_fields(Fields::input(sample.into_sample()), 1)
    }

    /// As [`NetworkBuilder::compile`], for batches like this one, of which only types and shapes count.
    ///
    /// # Errors
    /// As [`NetworkBuilder::compile`], or if the fields do not fit each other.
    pub fn compile_for(self, example: impl Into<Batch>) -> Result<Network> {
        let (fields, samples) = Fields::of(&example.into())?;
        self.compile_fields(fields, samples.max(1))
    }

    /// As [`NetworkBuilder::compile`], for batches of several fields, traced with so many samples.
    pub(super) fn compile_fields(self, fields: Fields, samples: usize) -> Result<Network> {
        let runtime = self.place()?;
        let traced = trace_predict(&*self.task, &fields, samples)?;
        let outputs = &traced.program.outputs;
        let outputs = outputs
            .iter()
            .filter(|output| !is_check(&output.name))
            .map(|output| (output.name.clone(), traced.program.ty(output.value).clone()))
            .collect();
        let mut states = States::default();
        states.provide(&traced.declared, &runtime, self.seed)?;
        Ok(Network {
            task: self.task,
            trained: (0..fields.iter().len()).collect(),
            measured: (0..fields.iter().len()).collect(),
            needed: traced.inputs.clone(),
            metrics: self.metrics,
            units: self.units,
            slots: Vec::new(),
            kept: Kept::default(),
            measured_outputs: Vec::new(),
            classes: None,
            chosen: BTreeMap::new(),
            fields,
            states,
            precision: self.precision.on(&runtime).0,
            runtime,
            seed: self.seed,
            compilations: Vec::new(),
            choices: Choices::new(),
            predict: Programs::default(),
            evaluate: Programs::default(),
            summary: Summary::new(&traced),
            outputs,
            found: Vec::new(),
            samples_kept: None,
        })
    }
}

impl Network {
    /// A network for inputs whose samples look like this, without the batch: `[1, 28, 28]` means f32. Seed 0, on the
    /// shared runtime; [`NetworkBuilder`] has the choices.
    ///
    /// # Errors
    /// As [`NetworkBuilder::compile`].
    pub fn compile(net: impl Layer + 'static, sample: impl IntoSample) -> Result<Network> {
        NetworkBuilder::new(net).compile(sample)
    }

    /// What the network gives for inputs `[batch, ..]`, as in evaluation: nothing is random. A network of several
    /// inputs takes a [`Batch`] with the fields that it needs. The result lies on the device until it is read.
    ///
    /// # Errors
    /// If the inputs do not fit, the task has no prediction, or the device fails.
    #[doc(alias = "forward")]
    pub fn predict(&mut self, batch: impl Into<Batch>) -> Result<Tensor> {
        let outputs = self.run_outputs(&batch.into())?;
        outputs.into_iter().next().map(|(_, prediction)| prediction).ok_or_else(|| self.no_prediction())
    }

    /// All outputs of the task by name, the prediction first; see [`Network::predict`].
    ///
    /// # Errors
    /// As [`Network::predict`].
    pub fn outputs(&mut self, batch: impl Into<Batch>) -> Result<Vec<(String, Tensor)>> {
        self.run_outputs(&batch.into())
    }

    /// As [`Network::predict`], on arrays of the host.
    ///
    /// # Errors
    /// As [`Network::predict`].
    pub fn predict_array(&mut self, inputs: &Array) -> Result<Array> {
        self.predict(Tensor::from_array(inputs.clone()))?.to_array()
    }

    fn no_prediction(&self) -> Error {
        Error::program(
            "the function of the step gives no prediction; return Objective::new(loss).prediction(&prediction)",
        )
    }

    fn run_outputs(&mut self, batch: &Batch) -> Result<Vec<(String, Tensor)>> {
        if self.outputs.is_empty() {
            return Err(self.no_prediction());
        }
        let mut samples = self.fields.check(batch, &self.needed, &mut self.found)?;
        if self.needed.iter().all(|&place| self.fields.at(place).shared) {
            // What is made of random numbers alone needs no field; the batch says how many are wanted.
            samples = batch.samples()?;
        }
        if samples == 0 {
            let empty = |(name, ty): &(String, ValueType)| {
                let shape = std::iter::once(0).chain(ty.shape.iter().skip(1).copied());
                let ty = ValueType::new(ty.dtype, shape.collect::<Vec<usize>>());
                (name.clone(), Tensor::from_array(Array::zeros(&ty)))
            };
            return Ok(self.outputs.iter().map(empty).collect());
        }
        if !self.predict.contains(samples) {
            let started = Instant::now();
            let traced = trace_predict(&*self.task, &self.fields, samples)?;
            let compiled = self.load(&traced, "predict", samples, started)?;
            self.predict.insert(samples, compiled);
        }
        let compiled = self.predict.get(samples).ok_or_else(gone)?;
        let inputs = self.found.iter().map(|&place| Input::of(&batch.fields()[place].value, &self.runtime));
        let inputs = inputs.collect::<Result<Vec<_>>>()?;
        let arguments: Vec<Argument<'_>> = inputs.iter().map(Input::argument).collect();
        let hypers = compiled.hypers(&self.chosen, &[]);
        let buffers = compiled.run(&arguments, &hypers)?;
        // A prediction that is wrong must not leave.
        compiled.look(0)?;
        let names = self.outputs.iter().map(|(name, _)| name.clone());
        let placed = |buffer| {
            let placed = Placed { runtime: self.runtime.clone(), buffer };
            Tensor::placed(placed, Place::new(None, Location::caller()))
        };
        Ok(names.zip(buffers.into_iter().map(placed)).collect())
    }

    /// So many of the last fields are for training alone; and where the samples stay on the device, of which there are
    /// so many, training takes no others.
    pub(super) fn measure_without(&mut self, last: usize, kept: Option<usize>) {
        let own = self.measured.split_off(self.measured.len() - last);
        if kept.is_some() {
            self.trained = own;
        }
        self.samples_kept = kept;
    }

    /// The names of the fields that an evaluation takes.
    pub(crate) fn measured_fields(&self) -> impl Iterator<Item = &str> {
        self.measured.iter().map(|&place| &*self.fields.at(place).name)
    }

    /// The number of samples of a batch to train on whose fields are there and fit.
    pub(super) fn check_training(&mut self, batch: &impl Inputs) -> Result<usize> {
        let samples = some(self.fields.check(batch, &self.trained, &mut self.found)?)?;
        // Places count all fields, of which training may take the last ones only.
        let first = self.trained.first().copied().unwrap_or(0);
        self.found.splice(0..0, std::iter::repeat_n(usize::MAX, first));
        Ok(samples)
    }

    /// The number of samples of a batch to evaluate whose fields are there and fit.
    pub(super) fn check(&mut self, batch: &impl Inputs) -> Result<usize> {
        some(self.fields.check(batch, &self.measured, &mut self.found)?)
    }

    /// Runs a program on a batch that has just been [checked](Network::check); its outputs take the place of what is in
    /// `outputs`.
    pub(super) fn run(
        &self,
        compiled: &mut Compiled,
        batch: &impl Inputs,
        settings: &[(String, f64)],
        samples: usize,
        outputs: &mut Vec<BufferRef>,
    ) -> Result<()> {
        let mut memory = std::mem::take(&mut compiled.memory);
        compiled.memory.found = std::mem::take(&mut memory.found);
        let mut inputs: Vec<Input<'_>> = emptied(memory.inputs);
        for &place in &compiled.inputs {
            let input = batch.input(self.found[place], &self.runtime)?;
            if let Some(values) = input.on_host() {
                self.check_values(place, values, samples)?;
            }
            inputs.push(input);
        }
        let mut arguments: Vec<Argument<'_>> = emptied(memory.arguments);
        arguments.extend(inputs.iter().map(Input::argument));
        memory.hypers.clear();
        memory.hypers.extend(hyper_values(&compiled.hypers, &self.chosen, settings));
        let done = compiled.run_into(&arguments, &memory.hypers, outputs);
        memory.arguments = emptied(arguments);
        memory.inputs = emptied(inputs);
        memory.found = std::mem::take(&mut compiled.memory.found);
        compiled.memory = memory;
        done
    }

    /// Whether the values of a field of so many samples can be.
    fn check_values(&self, place: usize, values: &Array, samples: usize) -> Result<()> {
        if let Some((target, classes)) = self.classes
            && target == place
        {
            check_classes(values, classes, samples)?;
        }
        match &*self.fields.at(place).name {
            TARGET => {
                check_targets(values, self.task.targets(), samples)?;
                let metrics = self.metrics.iter().flatten().map(|metric| &**metric);
                check_labels(metrics, self.task.targets(), values, samples)
            }
            ROW => check_rows(values, self.samples_kept),
            _ => Ok(()),
        }
    }

    /// Whether targets that stay on the device, of so many samples, can be.
    pub(super) fn check_kept(&self, targets: &Array, samples: usize) -> Result<()> {
        let place = self.fields.iter().position(|field| field.name == TARGET);
        place.map_or(Ok(()), |place| self.check_values(place, targets, samples))
    }

    /// The values of runtime scalars: those that were chosen, the optimizer's, or the defaults.
    pub(super) fn hypers(&self, hypers: &[(String, f64)], settings: &[(String, f64)]) -> Vec<f32> {
        hyper_values(hypers, &self.chosen, settings).collect()
    }

    /// What the programs of this network are made of.
    pub(super) fn recipe(&self) -> Recipe<'_> {
        Recipe {
            task: &*self.task,
            metrics: self.metrics.as_deref(),
            fields: &self.fields,
            units: self.units.as_ref(),
        }
    }

    /// The program that evaluates; what it tells about classes and metrics is kept.
    pub(super) fn trace_evaluate(&mut self, samples: usize) -> Result<Traced> {
        let traced = trace_evaluate(&self.recipe(), samples)?;
        self.slots.clone_from(&traced.metrics);
        self.classes = traced.classes;
        Ok(traced)
    }

    /// Adds a batch to an evaluation.
    pub(super) fn measure(&mut self, batch: &impl Inputs) -> Result<()> {
        let samples = self.check(batch)?;
        let mut compiled = match self.evaluate.take(samples) {
            Some(compiled) => compiled,
            None => {
                let started = Instant::now();
                let traced = self.trace_evaluate(samples)?;
                self.load(&traced, "evaluate", samples, started)?
            }
        };
        let mut outputs = std::mem::take(&mut self.measured_outputs);
        let done = self.run(&mut compiled, batch, &[], samples, &mut outputs);
        let kept = done.and_then(|()| self.kept.add(&compiled, &mut outputs));
        self.evaluate.insert(samples, compiled);
        outputs.clear();
        self.measured_outputs = outputs;
        kept
    }

    /// Loss and metrics from their sums, the mean loss first.
    pub(super) fn read(&self, slots: &[Slot]) -> Result<Evaluation> {
        let Some((loss, metrics)) = slots.split_first() else {
            return Ok(Evaluation { loss: f64::NAN, samples: 0, seconds: 0.0, metrics: Figures::default() });
        };
        let sums = self.sums(loss)?;
        let samples = sums.get(1).and_then(|sum| sum.first()).copied().unwrap_or(0.0);
        let loss = loss.metric.compute(&sums).iter().next().map_or(f64::NAN, |value| value.value);
        let mut values = Figures::default();
        for slot in metrics {
            values = values.and(finish(&*slot.metric, &self.sums(slot)?));
        }
        Ok(Evaluation { loss, samples: samples as u64, seconds: 0.0, metrics: values })
    }

    /// The figures that an evaluation is going to have, with numbers that mean nothing: all its sums and all that it
    /// keeps are 0.
    pub(crate) fn expected_evaluation(&self) -> Evaluation {
        let mut metrics = Figures::default();
        for slot in self.slots.iter().skip(1) {
            let sums = slot.states.iter().map(|state| state.elements);
            let kept = slot.kept.iter().map(|(_, tensor)| tensor.elements());
            let zeros: Vec<Vec<f64>> = sums.chain(kept).map(|elements| vec![0.0; elements]).collect();
            metrics = metrics.and(finish(&*slot.metric, &zeros));
        }
        Evaluation { loss: f64::NAN, samples: 0, seconds: 0.0, metrics }
    }

    /// The sums of an evaluation.
    pub(super) fn evaluation(&mut self) -> Result<Evaluation> {
        self.evaluate.look()?;
        self.read(&self.slots)
    }

    /// The sums of a metric, each row-major.
    pub(super) fn sums(&self, slot: &Slot) -> Result<Vec<Vec<f64>>> {
        let value = |state: &SumState| {
            // Where no program has been loaded, nothing has been measured.
            if self.states.get(&state.sum).is_none() {
                return Ok(vec![0.0; state.elements]);
            }
            Ok(SumState::value(&self.states.read(&state.sum)?, &self.states.read(&state.rest)?))
        };
        let sums = slot.states.iter().map(value);
        let kept = slot.kept.iter().map(|(name, _)| self.kept.read(name));
        sums.chain(kept).collect()
    }

    /// Begins sums anew.
    pub(super) fn clear_sums(&self, slots: &[Slot]) -> Result<()> {
        for state in slots.iter().flat_map(|slot| &slot.states) {
            for state in [&state.sum, &state.rest].into_iter().filter_map(|name| self.states.get(name)) {
                state.write(&Array::zeros(state.ty()))?;
            }
        }
        Ok(())
    }

    /// Begins the sums of evaluations anew.
    pub(super) fn clear_evaluation(&mut self) -> Result<()> {
        self.kept = Kept::default();
        self.clear_sums(&self.slots)
    }

    /// Whether a program that evaluates or predicts has a runtime scalar of this name.
    pub(super) fn has_hyperparameter(&self, name: &str) -> bool {
        self.predict.names().chain(self.evaluate.names()).any(|known| known == name)
    }

    /// Sets a runtime scalar from the next run on.
    pub(super) fn choose(&mut self, name: &str, value: f64) {
        self.chosen.insert(name.to_string(), value);
    }

    /// How probable a yes is where the prediction is this; `None` unless the loss is of yes and no.
    pub(crate) fn probability(&self, output: f32) -> Option<f32> {
        self.task.probability(output)
    }

    /// Number of classes, if the targets are class indices.
    pub(super) fn classes(&self) -> Option<usize> {
        self.classes.map(|(_, classes)| classes)
    }

    /// Loads a program of this network, traced since `started`.
    pub(super) fn load(
        &mut self,
        traced: &Traced,
        program: &'static str,
        batch: usize,
        started: Instant,
    ) -> Result<Compiled> {
        let compiled =
            traced.load(&mut self.states, &self.runtime, self.seed, &mut self.choices, self.precision)?;
        self.compilations.push(Compilation {
            program,
            batch,
            seconds: started.elapsed().as_secs_f64(),
            peak_bytes: compiled.executable.peak_bytes(),
        });
        Ok(compiled)
    }

    /// What the device chose for the programs so far, where its kernels can be computed in several ways that round
    /// differently (tiles of products on a GPU); empty on devices that do not choose. Together with the states it makes
    /// what follows repeatable bit for bit.
    pub fn choices(&self) -> &Choices {
        &self.choices
    }

    /// Goes by these choices from the next run on, those of [`Network::choices`] on the same device at another time.
    /// Programs that were loaded with others are loaded again when they are needed.
    pub fn set_choices(&mut self, choices: &Choices) {
        if self.adopt(choices) {
            self.clear();
        }
    }

    /// Lets go of the programs, which are loaded again when they are needed.
    pub(super) fn clear(&mut self) {
        self.predict.clear();
        self.evaluate.clear();
    }

    /// Takes choices over; gives whether programs were loaded with others.
    pub(super) fn adopt(&mut self, choices: &Choices) -> bool {
        let differ = self.choices.iter().any(|(class, choice)| choices.get(class) != Some(choice));
        self.choices.clone_from(choices);
        differ
    }

    /// Element type and shape of one sample, without the batch, of the first field.
    pub fn sample(&self) -> &ValueType {
        &self.fields.at(0).ty
    }

    /// Element type and shape of what the network predicts for a batch of 1; `None` where the task has no prediction.
    pub fn output(&self) -> Option<&ValueType> {
        let (_, ty) = self.outputs.iter().find(|(name, _)| name == PREDICTION)?;
        Some(ty)
    }

    /// The states, shared with every program of the network.
    #[doc(alias = "state_dict")]
    pub fn states(&self) -> &States {
        &self.states
    }

    /// Number of elements of all parameters.
    #[doc(alias = "numel")]
    pub fn parameter_count(&self) -> usize {
        self.states.parameter_count()
    }

    /// The layers with their output shapes, for a batch of 1, and parameters.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The runtime that the states lie on.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// What products compute in; `Auto` has become what it is on the device.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Takes the time of each kernel of the programs for predictions from the next run on.
    pub fn start_profile(&mut self) {
        self.predict.start_profile();
    }

    /// What profiling found, for people, by batch size: time per kernel, its share and its rate. Empty where the device
    /// cannot tell.
    pub fn profile(&self) -> Vec<(usize, String)> {
        self.predict.listings(|executable| executable.profile())
    }

    /// What was compiled so far, in order.
    pub fn compilations(&self) -> &[Compilation] {
        &self.compilations
    }
}

pub(super) fn gone() -> Error {
    Error::program("the program is gone")
}

/// Targets must be what the loss needs.
fn check_targets(values: &Array, targets: Targets, samples: usize) -> Result<()> {
    let Some((position, value)) = targets.first_outside(values) else { return Ok(()) };
    let sample = position / (values.data().len() / samples.max(1)).max(1);
    let wanted = targets.wanted();
    Err(Error::data(format!(
        "the target of sample {sample} is {value}, and the loss needs {wanted}; change the targets, or take another loss"
    )))
}

/// Numbers of samples must be those of samples that the device has.
fn check_rows(rows: &Array, kept: Option<usize>) -> Result<()> {
    let (Some(kept), Some(rows)) = (kept, rows.as_i32()) else { return Ok(()) };
    let is_outside = |row: &&i32| usize::try_from(**row).map_or(true, |row| row >= kept);
    rows.iter().find(is_outside).map_or(Ok(()), |row| {
        Err(Error::data(format!("there is no sample {row}: {kept} are on the device, numbered from 0")))
    })
}

/// Class indices must be those of a class.
fn check_classes(targets: &Array, classes: usize, samples: usize) -> Result<()> {
    let Some(targets) = targets.as_i32() else { return Ok(()) };
    let inside = |class: &i32| usize::try_from(*class).is_ok_and(|class| class < classes);
    match targets.iter().position(|class| !inside(class)) {
        None => Ok(()),
        Some(position) => {
            let per_sample = targets.len() / samples;
            let message = format!(
                "the target of sample {} is {}; classes go from 0 to {}",
                position / per_sample.max(1),
                targets[position],
                classes - 1
            );
            Err(Error::of(ErrorKind::Data, message))
        }
    }
}
