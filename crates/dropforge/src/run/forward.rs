//! A network's outputs as programs over weights that stay: no layers are needed, and several threads may call it.

use super::stored::StoredProgram;
#[cfg(feature = "onnx")]
use super::stored::predicting;
use crate::nn::{Layer, StateKind};
#[cfg(feature = "onnx")]
use crate::step::NetworkBuilder;
use crate::step::{Network, PREDICTION, TracedProgram, verify};
use crate::tensor::check::IndexCheck;
use crate::tensor::probabilities::{Ending, ending};
use crate::{Error, Result, Runtime};
use dropforge_ir::text::Template;
use dropforge_ir::{Array, DType, Program, Shape, ValueType};
use dropforge_runtime::{Argument, BufferRef, Choices, Executable, load_with};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many batch sizes programs are kept for; the one unused for longest goes first.
pub(super) const KEPT_SIZES: usize = 16;
/// How many programs of one size are kept for threads that come at once.
const KEPT_COPIES: usize = 8;

/// Memory of states by their names.
pub(super) type Buffers = HashMap<String, BufferRef>;

/// The weights of a run on a device, which all its programs share.
pub(super) struct Weights {
    pub runtime: Runtime,
    buffers: Buffers,
    /// Names of those that are no weights: what random numbers come from.
    others: HashSet<String>,
    hypers: BTreeMap<String, f64>,
    choices: Mutex<Choices>,
}

impl Weights {
    /// What these programs read beside their constants; `elements` gives the elements of a state of this name and type.
    pub fn of(
        programs: &[(&Program, &StoredProgram)],
        hypers: BTreeMap<String, f64>,
        runtime: &Runtime,
        choices: Choices,
        mut elements: impl FnMut(&str, &ValueType) -> Result<Array>,
    ) -> Result<Weights> {
        let (mut buffers, mut others) = (Buffers::new(), HashSet::new());
        for (program, stored) in programs {
            // What a program writes are sums of its own.
            let read = program.states.iter().filter(|port| port.write.is_none());
            for port in read.filter(|port| !stored.constants.contains_key(&port.name)) {
                let ty = program.ty(port.value);
                match buffers.get(&port.name) {
                    Some(there) if there.ty() == ty => continue,
                    Some(there) => {
                        let (name, there) = (&port.name, there.ty());
                        return Err(Error::file(format!(
                            "{name} is {there} in one program, {ty} in another"
                        )));
                    }
                    None => {}
                }
                if ty.dtype == DType::U32 {
                    others.insert(port.name.clone());
                }
                let array = elements(&port.name, ty)?;
                let buffer = runtime.device().allocate(ty)?;
                buffer.write(&array)?;
                buffers.insert(port.name.clone(), buffer);
            }
        }
        Ok(Weights { runtime: runtime.clone(), buffers, others, hypers, choices: Mutex::new(choices) })
    }

    /// Those of a network.
    fn of_network(network: &Network, choices: Choices) -> Weights {
        let states = network.states().iter();
        let buffers = states.map(|state| (state.name().to_string(), state.buffer())).collect();
        let counters = network.states().iter().filter(|state| state.kind() == StateKind::Counter);
        let others = counters.map(|state| state.name().to_string()).collect();
        let (runtime, hypers) = (network.runtime().clone(), BTreeMap::new());
        Weights { runtime, buffers, others, hypers, choices: Mutex::new(choices) }
    }

    /// Parameters and running statistics by name, in order.
    pub fn all(&self) -> Vec<(&str, &BufferRef)> {
        let mut all: Vec<(&str, &BufferRef)> = self
            .buffers
            .iter()
            .filter(|(name, _)| !self.others.contains(*name))
            .map(|(name, buffer)| (name.as_str(), buffer))
            .collect();
        all.sort_by_key(|(name, _)| *name);
        all
    }

    /// Loads a program over the weights and what it has of its own; gives its runtime scalars, too.
    pub fn load(
        &self,
        program: &Program,
        own: &Buffers,
        defaults: &BTreeMap<String, f64>,
    ) -> Result<(Executable, Vec<f32>)> {
        let states = program.states.iter().map(|port| {
            let missing =
                || Error::file(format!("the program wants {}, which the run does not have", port.name));
            own.get(&port.name).or(self.buffers.get(&port.name)).cloned().ok_or_else(missing)
        });
        let states: Vec<BufferRef> = states.collect::<Result<_>>()?;
        let hypers = program.hypers.iter().map(|port| {
            let missing = || Error::file(format!("the run does not say what {} is", port.name));
            let value = self.hypers.get(&port.name).or(defaults.get(&port.name));
            value.map(|value| *value as f32).ok_or_else(missing)
        });
        let hypers = hypers.collect::<Result<_>>()?;
        let mut choices = self.choices.lock().unwrap_or_else(PoisonError::into_inner);
        let device = &**self.runtime.device();
        Ok((load_with(device, program, &states, &device.options(), &mut choices)?, hypers))
    }
}

/// Programs and weights for export.
#[cfg(feature = "onnx")]
impl Forward {
    /// The program that predicts, with the values of its runtime scalars.
    pub fn stored(&self) -> Result<(StoredProgram, BTreeMap<String, f64>)> {
        match &self.source {
            Source::Text { template, constants } => {
                let read = |(name, buffer): (&String, &BufferRef)| Ok((name.clone(), buffer.read()?));
                let constants = constants.iter().map(read).collect::<Result<_>>()?;
                let program = StoredProgram { template: Ok(template.clone()), constants };
                Ok((program, self.weights.hypers.clone()))
            }
            Source::Layers { net, sample } => {
                let network = NetworkBuilder::new(net.clone()).runtime(&self.weights.runtime);
                predicting(&network.compile(sample.clone())?)
            }
        }
    }

    /// A weight.
    pub fn read(&self, name: &str) -> Result<Array> {
        let missing = || Error::file(format!("the network has no {name}"));
        Ok(self.weights.buffers.get(name).ok_or_else(missing)?.read()?)
    }
}

/// Puts constants on a device.
pub(super) fn place(constants: BTreeMap<String, Array>, runtime: &Runtime) -> Result<Buffers> {
    let place = |(name, array): (String, Array)| {
        let buffer = runtime.device().allocate(&array.ty())?;
        buffer.write(&array)?;
        Ok((name, buffer))
    };
    constants.into_iter().map(place).collect()
}

/// Where programs come from.
enum Source {
    Text { template: Template, constants: Buffers },
    Layers { net: Arc<dyn Layer>, sample: ValueType },
}

/// The outputs of a network over its weights. Threads share the weights; each call has a program to itself while it
/// runs.
pub(super) struct Forward {
    source: Source,
    weights: Arc<Weights>,
    idle: Mutex<Idle>,
    /// Names of the inputs, and what one sample of each is.
    inputs: Vec<(String, ValueType)>,
    /// Names of the outputs, and what they are for a batch of one.
    outputs: Vec<(String, ValueType)>,
    /// What the outputs behind these say whether it holds.
    checks: Vec<IndexCheck>,
    ending: Option<Ending>,
}

/// A program that is ready, with its runtime scalars.
struct Ready {
    executable: Executable,
    hypers: Vec<f32>,
}

/// Programs that nobody runs, by batch size, each size with when it was last used.
#[derive(Default)]
struct Idle {
    by_size: HashMap<usize, (Vec<Ready>, u64)>,
    clock: u64,
}

impl Forward {
    /// From the text of a run and its program for a batch of one.
    pub fn from_text(
        template: Template,
        program: &Program,
        constants: BTreeMap<String, Array>,
        weights: Arc<Weights>,
    ) -> Result<Forward> {
        for (name, array) in &constants {
            let port = program.states.iter().find(|port| port.name == *name);
            if let Some(ty) = port.map(|port| program.ty(port.value)).filter(|ty| **ty != array.ty()) {
                let there = array.ty();
                return Err(Error::file(format!(
                    "{name} is {there} among the constants, but {ty} in the program"
                )));
            }
        }
        let constants = place(constants, &weights.runtime)?;
        Ok(Forward::new(Source::Text { template, constants }, program, weights))
    }

    /// From layers, whose states are those of a network.
    pub fn from_layers(net: Arc<dyn Layer>, network: &Network, choices: Choices) -> Result<Forward> {
        let traced = network.trace(1)?;
        let source = Source::Layers { net, sample: network.sample().clone() };
        Ok(Forward::new(source, traced.program(), Arc::new(Weights::of_network(network, choices))))
    }

    fn new(source: Source, program: &Program, weights: Arc<Weights>) -> Forward {
        let sample = |ty: &ValueType| ValueType::new(ty.dtype, ty.shape.get(1..).unwrap_or_default());
        let inputs = program.inputs.iter().map(|input| (input.name.clone(), sample(program.ty(input.value))));
        let checks =
            program.outputs.iter().filter_map(|output| IndexCheck::of_output(&output.name)).collect();
        let outputs = program.outputs.iter().filter(|output| IndexCheck::of_output(&output.name).is_none());
        let outputs = outputs.map(|output| (output.name.clone(), program.ty(output.value).clone()));
        let (inputs, outputs) = (inputs.collect(), outputs.collect());
        let prediction = program.outputs.iter().find(|output| output.name == PREDICTION);
        let ending = prediction.and_then(|output| ending(program, output.value));
        Forward { source, weights, idle: Mutex::default(), inputs, outputs, checks, ending }
    }

    /// The weights.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Names of the inputs, and element type and shape of one sample of each, without the batch.
    pub fn inputs(&self) -> &[(String, ValueType)] {
        &self.inputs
    }

    /// Names of the outputs, and their types for a batch of one.
    pub fn outputs(&self) -> &[(String, ValueType)] {
        &self.outputs
    }

    /// What it ends in, if what it predicts is the result of a softmax or a sigmoid.
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// What the network gives for inputs `[batch, ..]`, in the order of their names.
    pub fn run(&self, inputs: &[&Array]) -> Result<Vec<Array>> {
        let mut batch = None;
        for ((name, sample), array) in self.inputs.iter().zip(inputs) {
            let ty = array.ty();
            let fits = ty.dtype == sample.dtype && ty.shape.get(1..) == Some(&*sample.shape);
            let len = ty.shape.first().copied().filter(|_| fits);
            let len = len.filter(|len| *batch.get_or_insert(*len) == *len);
            if len.is_none() {
                let first = batch.map_or_else(|| "batch".into(), |batch| batch.to_string());
                let extents: Vec<String> =
                    std::iter::once(first).chain(sample.shape.iter().map(usize::to_string)).collect();
                let what = if self.inputs.len() == 1 { "the inputs".into() } else { format!("\"{name}\"") };
                let wanted = extents.join(", ");
                return Err(Error::data(format!("{what} must be {}[{wanted}], got {ty}", sample.dtype)));
            }
        }
        let batch = batch.ok_or_else(no_inputs)?;
        if batch == 0 {
            let empty = |(_, ty): &(String, ValueType)| {
                let shape: Shape = std::iter::once(0).chain(ty.shape.iter().skip(1).copied()).collect();
                Array::zeros(&ValueType::new(ty.dtype, shape))
            };
            return Ok(self.outputs.iter().map(empty).collect());
        }
        let idle = self.idle().take(batch);
        let mut ready = match idle {
            Some(ready) => ready,
            None => self.load(batch)?,
        };
        let arguments: Vec<Argument<'_>> = inputs.iter().map(|array| Argument::Host(array)).collect();
        let outputs = ready.executable.run(&arguments, &ready.hypers)?;
        self.idle().put(batch, ready);
        verify(self.checks.iter().zip(outputs.iter().skip(self.outputs.len())))?;
        let outputs = outputs.iter().take(self.outputs.len());
        let outputs = outputs.map(|output| Ok(output.read()?)).collect::<Result<Vec<Array>>>()?;
        Ok(outputs)
    }

    /// A listing of the kernels and the memory for a batch of this size.
    pub fn explain(&self, batch: usize) -> Result<String> {
        Ok(self.load(batch)?.executable.explain())
    }

    fn load(&self, batch: usize) -> Result<Ready> {
        let (executable, hypers) = match &self.source {
            Source::Text { template, constants } => {
                self.weights.load(&template.instantiate(batch)?, constants, &BTreeMap::new())?
            }
            Source::Layers { net, sample } => {
                let traced = TracedProgram::predict(net.clone(), sample, batch)?;
                let hypers = traced.hypers().map(|(name, value)| (name.to_string(), value)).collect();
                let (program, captured) = traced.into_parts(&self.weights.runtime)?;
                let ports = &program.states[program.states.len() - captured.len()..];
                let own = ports.iter().map(|port| port.name.clone()).zip(captured).collect();
                self.weights.load(&program, &own, &hypers)?
            }
        };
        Ok(Ready { executable, hypers })
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        // What is in it is whole at every moment, so it is usable after a panic elsewhere.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error for a network that predicts from nothing but its own random numbers.
pub(super) fn no_inputs() -> Error {
    Error::file(
        "what the network predicts needs no field of the data, so that nothing says how many samples are wanted; have its function \
         take the random numbers as a field of the batch",
    )
}

impl Idle {
    fn take(&mut self, size: usize) -> Option<Ready> {
        self.by_size.get_mut(&size)?.0.pop()
    }

    fn put(&mut self, size: usize, ready: Ready) {
        self.clock += 1;
        if !self.by_size.contains_key(&size) && self.by_size.len() >= KEPT_SIZES {
            let oldest = self.by_size.values().map(|(_, used)| *used).min().unwrap_or(0);
            self.by_size.retain(|_, (_, used)| *used != oldest);
        }
        let (all, used) = self.by_size.entry(size).or_default();
        *used = self.clock;
        if all.len() < KEPT_COPIES {
            all.push(ready);
        }
    }
}
