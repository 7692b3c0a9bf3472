//! Networks with their states, for predictions.

use super::Compilation;
use super::batch::{IntoSample, batched, unbatched};
use super::build::{Compiled, PREDICTION, Traced, trace_predict};
use super::states::States;
use super::summary::Summary;
use crate::error::{Error, Result};
use crate::nn::Layer;
use crate::tensor::{Runtime, Tensor};
use dropforge_ir::{Array, Shape, ValueType};
use dropforge_runtime::{Argument, Choices, Executable};
use std::collections::HashMap;
use std::time::Instant;

/// How many batch sizes a network keeps a program for, of each sort; the oldest goes first.
const KEPT_SIZES: usize = 16;

/// A network with its states on a device.
///
/// Programs are compiled when a batch size is first seen and kept.
pub struct Network {
    pub(super) net: Box<dyn Layer>,
    pub(super) sample: ValueType,
    pub(super) states: States,
    pub(super) runtime: Runtime,
    pub(super) seed: u64,
    compilations: Vec<Compilation>,
    /// What the device chose for the programs so far.
    choices: Choices,
    predict: Programs,
    summary: Summary,
    output: ValueType,
}

/// Loaded programs by batch size.
#[derive(Default)]
pub(super) struct Programs {
    by_size: HashMap<usize, (Compiled, u64)>,
    clock: u64,
    /// Whether kernels are timed, those of programs to come as well.
    profiling: bool,
}

impl Programs {
    pub fn get(&mut self, size: usize) -> Option<&mut Compiled> {
        self.clock += 1;
        let (compiled, used) = self.by_size.get_mut(&size)?;
        *used = self.clock;
        Some(compiled)
    }

    /// Lets go of all programs; gives the sizes there were.
    pub fn clear(&mut self) -> Vec<usize> {
        let mut sizes: Vec<usize> = self.by_size.drain().map(|(size, _)| size).collect();
        sizes.sort_unstable();
        sizes
    }

    pub fn contains(&self, size: usize) -> bool {
        self.by_size.contains_key(&size)
    }

    pub fn insert(&mut self, size: usize, mut compiled: Compiled) {
        if self.profiling {
            compiled.executable.start_profile();
        }
        if self.by_size.len() >= KEPT_SIZES {
            let oldest = self.by_size.values().map(|(_, used)| *used).min().unwrap_or(0);
            self.by_size.retain(|_, (_, used)| *used != oldest);
        }
        self.by_size.insert(size, (compiled, self.clock));
    }

    /// Names of the runtime scalars of all programs.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_size.values().flat_map(|(compiled, _)| compiled.hypers.iter().map(|(name, _)| name.as_str()))
    }

    pub fn explain(&self) -> Vec<(usize, String)> {
        self.listings(|executable| executable.explain())
    }

    pub fn start_profile(&mut self) {
        self.profiling = true;
        for (compiled, _) in self.by_size.values_mut() {
            compiled.executable.start_profile();
        }
    }

    /// What each executable says, by batch size.
    pub fn listings(&self, text: impl Fn(&Executable) -> String) -> Vec<(usize, String)> {
        let mut listings: Vec<(usize, String)> =
            self.by_size.iter().map(|(&size, (compiled, _))| (size, text(&compiled.executable))).collect();
        listings.sort_by_key(|(size, _)| *size);
        listings
    }
}

/// Choices for a [`Network`] before it is compiled.
pub struct NetworkBuilder {
    net: Box<dyn Layer>,
    seed: u64,
    runtime: Option<Runtime>,
}

impl NetworkBuilder {
    /// For these layers; seed 0, on the shared runtime.
    pub fn new(net: impl Layer + 'static) -> NetworkBuilder {
        NetworkBuilder { net: Box::new(net), seed: 0, runtime: None }
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

    /// The layers with their output shapes, for a batch of 1, and parameters. Nothing is computed and no memory is taken for
    /// parameters, however many there are.
    ///
    /// # Errors
    /// The first error of a layer, with its path and source line.
    pub fn summary(&self, sample: impl IntoSample) -> Result<Summary> {
        let traced = trace_predict(&*self.net, &with_batch(1, &sample.into_sample()))?;
        Ok(Summary::new(&traced))
    }

    /// Makes the states for inputs whose samples look like this, without the batch: `[1, 28, 28]` means f32.
    ///
    /// # Errors
    /// The first error of a layer, with its path and source line, or the device's.
    pub fn compile(self, sample: impl IntoSample) -> Result<Network> {
        let sample = sample.into_sample();
        let runtime = match self.runtime {
            Some(runtime) => runtime,
            None => Runtime::shared()?,
        };
        // The batch does not matter here: it decides no parameter's shape.
        let traced = trace_predict(&*self.net, &with_batch(1, &sample))?;
        let output = prediction_type(&traced)?;
        let mut states = States::default();
        states.provide(&traced.declared, &runtime, self.seed)?;
        Ok(Network {
            net: self.net,
            sample,
            states,
            runtime,
            seed: self.seed,
            compilations: Vec::new(),
            choices: Choices::new(),
            predict: Programs::default(),
            summary: Summary::new(&traced),
            output,
        })
    }
}

fn prediction_type(traced: &Traced) -> Result<ValueType> {
    let outputs = &traced.program.outputs;
    let output = outputs.iter().find(|output| output.name == PREDICTION);
    output
        .map(|output| traced.program.ty(output.value).clone())
        .ok_or_else(|| Error::new("the network gives no prediction"))
}

/// A type with the batch in front.
pub(super) fn with_batch(len: usize, sample: &ValueType) -> ValueType {
    ValueType::new(sample.dtype, batched(len, &sample.shape))
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

    /// What the network gives for inputs `[batch, ..]`, as in evaluation: nothing is random.
    ///
    /// # Errors
    /// If the inputs do not fit, or the device fails.
    pub fn predict(&mut self, inputs: &Tensor) -> Result<Tensor> {
        let array = match inputs.host_data() {
            Some(array) => array,
            None => std::sync::Arc::new(inputs.to_array()?),
        };
        Ok(Tensor::from_array(self.predict_array(&array)?))
    }

    /// As [`Network::predict`], on arrays of the host.
    ///
    /// # Errors
    /// As [`Network::predict`].
    pub fn predict_array(&mut self, inputs: &Array) -> Result<Array> {
        let batch = self.check_inputs(&inputs.ty())?;
        if batch == 0 {
            let shape: Shape = std::iter::once(0).chain(self.output.shape.iter().skip(1).copied()).collect();
            return Ok(Array::zeros(&ValueType::new(self.output.dtype, shape)));
        }
        if !self.predict.contains(batch) {
            let started = Instant::now();
            let traced = trace_predict(&*self.net, &with_batch(batch, &self.sample))?;
            let compiled = self.load(&traced, "predict", batch, started)?;
            self.predict.insert(batch, compiled);
        }
        let compiled = self.predict.get(batch).ok_or_else(|| Error::new("the program is gone"))?;
        let hypers: Vec<f32> = compiled.hypers.iter().map(|(_, value)| *value as f32).collect();
        let outputs = compiled.executable.run(&[Argument::Host(inputs)], &hypers)?;
        let prediction = compiled.output(PREDICTION).and_then(|index| outputs.get(index));
        Ok(prediction.ok_or_else(|| Error::new("the program gave no prediction"))?.read()?)
    }

    /// Loads a program of this network, traced since `started`.
    pub(super) fn load(
        &mut self,
        traced: &Traced,
        program: &'static str,
        batch: usize,
        started: Instant,
    ) -> Result<Compiled> {
        let compiled = traced.load(&mut self.states, &self.runtime, self.seed, &mut self.choices)?;
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

    /// Goes by these choices from the next run on, those of [`Network::choices`] on the same device at another time. Programs
    /// that were loaded with others are loaded again when they are needed.
    pub fn set_choices(&mut self, choices: &Choices) {
        if self.adopt(choices) {
            self.clear();
        }
    }

    /// Lets go of the programs for predictions.
    pub(super) fn clear(&mut self) {
        self.predict.clear();
    }

    /// Takes choices over; gives whether programs were loaded with others.
    pub(super) fn adopt(&mut self, choices: &Choices) -> bool {
        let differ = self.choices.iter().any(|(class, choice)| choices.get(class) != Some(choice));
        self.choices.clone_from(choices);
        differ
    }

    /// The batch size of inputs of this type, which must fit.
    pub(super) fn check_inputs(&self, ty: &ValueType) -> Result<usize> {
        match unbatched(ty) {
            Some((batch, sample)) if sample == self.sample => Ok(batch),
            _ => {
                let sample: Vec<String> = self.sample.shape.iter().map(ToString::to_string).collect();
                let wanted = [vec!["batch".to_string()], sample].concat().join(", ");
                Err(Error::new(format!("the inputs must be {}[{wanted}], got {ty}", self.sample.dtype)))
            }
        }
    }

    /// Element type and shape of one sample, without the batch.
    pub fn sample(&self) -> &ValueType {
        &self.sample
    }

    /// Element type and shape of what the network gives for a batch of 1.
    pub fn output(&self) -> &ValueType {
        &self.output
    }

    /// The states, shared with every program of the network.
    pub fn states(&self) -> &States {
        &self.states
    }

    /// Number of elements of all parameters.
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

    /// What was compiled so far, in order.
    pub fn compilations(&self) -> &[Compilation] {
        &self.compilations
    }
}
