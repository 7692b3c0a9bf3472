//! A network's prediction as programs over weights that stay: no layers are needed, and several threads may call it.

use super::run_dir::{CONSTANTS, PREDICT};
use super::safetensors::{TensorFile, write};
use super::{disk, manifest::Manifest};
use crate::nn::{Layer, StateKind};
#[cfg(feature = "onnx")]
use crate::step::NetworkBuilder;
use crate::step::{Network, PREDICTION, TracedProgram};
use crate::{Error, Result, Runtime};
use dropforge_ir::text::Template;
use dropforge_ir::{Array, DType, Program, Shape, ValueType};
use dropforge_runtime::{Argument, BufferRef, Choices, Executable, load_with};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes that a text of a program has at most.
const MOST_TEXT: u64 = 16 << 20;
/// Batch sizes that a network is traced at: three, so that what fits two of them by chance is found out.
const SIZES: [usize; 3] = [2, 3, 7];
/// Bytes that one value of a program may take for a batch of 1: a program that wants more is damaged.
const MOST_VALUE: usize = 4 << 30;
/// How many batch sizes programs are kept for; the one unused for longest goes first.
const KEPT_SIZES: usize = 16;
/// How many programs of one size are kept for threads that come at once.
const KEPT_COPIES: usize = 8;

/// The network of a run, as it is stored.
#[derive(Clone)]
pub(super) struct Stored {
    template: std::result::Result<Template, String>,
    constants: BTreeMap<String, Array>,
    hypers: BTreeMap<String, f64>,
}

impl Stored {
    /// The programs of a network; why there are none for any batch size is kept as well.
    pub fn of(network: &Network) -> Result<Stored> {
        let traced = SIZES.map(|size| network.trace(size));
        let traced = traced.into_iter().collect::<Result<Vec<_>>>()?;
        let programs: Vec<(usize, &Program)> =
            SIZES.into_iter().zip(traced.iter().map(TracedProgram::program)).collect();
        let mut template = Template::of(&programs).map_err(|error| error.message().to_string());
        let constants = traced.iter().map(TracedProgram::constants).collect::<Result<Vec<_>>>()?;
        if constants.iter().any(|other| *other != constants[0]) {
            template = Err("the network uses values from outside that differ with the batch size".into());
        }
        let hypers = traced[0].hypers().map(|(name, value)| (name.to_string(), value)).collect();
        Ok(Stored { template, constants: constants.into_iter().next().unwrap_or_default(), hypers })
    }

    /// Notes in the manifest what does not stand in the text of a program.
    pub fn describe(&self, manifest: &mut Manifest) {
        manifest.hyperparameters.clone_from(&self.hypers);
        manifest.own_program_only = self.template.as_ref().err().cloned();
    }

    /// Writes the programs into a checkpoint.
    pub fn write(&self, checkpoint: &Path) -> Result<()> {
        let Ok(template) = &self.template else { return Ok(()) };
        if !self.constants.is_empty() {
            let arrays: Vec<&Array> = self.constants.values().collect();
            let types: Vec<ValueType> = arrays.iter().map(|array| array.ty()).collect();
            let tensors: Vec<(&str, &ValueType)> =
                self.constants.keys().map(String::as_str).zip(&types).collect();
            let mut contents =
                |out: &mut dyn std::io::Write| write(out, &tensors, |index| Ok(arrays[index].clone()));
            disk::write_file(&checkpoint.join(CONSTANTS), &mut contents)?;
        }
        disk::write_text(&checkpoint.join(PREDICT), &template.to_string())
    }

    /// Reads the programs of a checkpoint; `None` where it has none.
    pub fn read(checkpoint: &Path, manifest: &Manifest) -> Result<Option<Stored>> {
        let path = checkpoint.join(PREDICT);
        let Some(text) = disk::read_text_if_any(&path, MOST_TEXT)? else { return Ok(None) };
        let template = Template::parse(&text).map_err(|error| Error::from(error).context(path.display()))?;
        let constants = match TensorFile::open_if_any(&checkpoint.join(CONSTANTS))? {
            None => BTreeMap::new(),
            Some(mut file) => file.read_all()?,
        };
        Ok(Some(Stored { template: Ok(template), constants, hypers: manifest.hyperparameters.clone() }))
    }
}

#[cfg(feature = "onnx")]
impl Stored {
    /// The program at two batch sizes.
    pub fn two_sizes(&self) -> Result<[(usize, Program); 2]> {
        let template = self.template.as_ref().map_err(Error::new)?;
        Ok([(SIZES[1], template.instantiate(SIZES[1])?), (SIZES[2], template.instantiate(SIZES[2])?)])
    }

    /// A value that the program uses beside the weights.
    pub fn constant(&self, name: &str) -> Option<&Array> {
        self.constants.get(name)
    }

    /// The value of a runtime scalar.
    pub fn hyper(&self, name: &str) -> Option<f64> {
        self.hypers.get(name).copied()
    }
}

#[cfg(feature = "onnx")]
impl Forward {
    /// The programs; constants are among the states.
    pub fn stored(&self) -> Result<Stored> {
        match &self.source {
            Source::Text { template, hypers } => Ok(Stored {
                template: Ok(template.clone()),
                constants: BTreeMap::new(),
                hypers: hypers.clone(),
            }),
            Source::Layers { net, sample } => {
                Stored::of(&NetworkBuilder::new(net.clone()).runtime(&self.runtime).compile(sample.clone())?)
            }
        }
    }

    /// A weight or a constant.
    pub fn read(&self, name: &str) -> Result<Array> {
        let missing = || Error::new(format!("the network has no {name}"));
        Ok(self.states.get(name).ok_or_else(missing)?.read()?)
    }
}

/// A network's prediction in text form, for any batch size, as runs hold it.
///
/// # Errors
/// The network depends on the batch in another way than by multiples of it; the message shows where.
pub fn program_text(network: &Network) -> Result<String> {
    Stored::of(network)?.template.map(|template| template.to_string()).map_err(Error::new)
}

/// Where programs come from.
enum Source {
    Text { template: Template, hypers: BTreeMap<String, f64> },
    Layers { net: Arc<dyn Layer>, sample: ValueType },
}

/// Predictions of a network over its weights. Threads share the weights; each call has a program to itself while it runs.
pub(super) struct Forward {
    source: Source,
    runtime: Runtime,
    /// Weights and constants by name.
    states: HashMap<String, BufferRef>,
    /// Names of those that are no weights: constants, and what random numbers come from.
    constants: HashSet<String>,
    choices: Mutex<Choices>,
    idle: Mutex<Idle>,
    sample: ValueType,
    output: ValueType,
}

/// A program that is ready, with its runtime scalars.
struct Ready {
    executable: Executable,
    hypers: Vec<f32>,
    prediction: usize,
}

/// Programs that nobody runs, by batch size, each size with when it was last used.
#[derive(Default)]
struct Idle {
    by_size: HashMap<usize, (Vec<Ready>, u64)>,
    clock: u64,
}

impl Forward {
    /// From the text of a run; `weights` gives the elements of a state of this name and type.
    pub fn from_text(
        stored: Stored,
        runtime: &Runtime,
        choices: Choices,
        mut weights: impl FnMut(&str, &ValueType) -> Result<Array>,
    ) -> Result<Forward> {
        let Stored { template, mut constants, hypers } = stored;
        let template = template.map_err(Error::new)?;
        let program = template.instantiate(1)?;
        check(&program)?;
        let (mut states, mut others) = (HashMap::new(), HashSet::new());
        for port in &program.states {
            let ty = program.ty(port.value);
            if ty.dtype == DType::U32 || constants.contains_key(&port.name) {
                others.insert(port.name.clone());
            }
            let array = match constants.remove(&port.name) {
                Some(array) if array.ty() == *ty => array,
                Some(array) => {
                    return Err(Error::new(format!(
                        "{} is {} among the constants, but {ty} in the program",
                        port.name,
                        array.ty()
                    )));
                }
                None => weights(&port.name, ty)?,
            };
            states.insert(port.name.clone(), runtime.device().allocate(ty)?);
            states[&port.name].write(&array)?;
        }
        Forward::new(Source::Text { template, hypers }, &program, runtime, (states, others), choices)
    }

    /// From layers, whose states are those of a network.
    pub fn from_layers(net: Arc<dyn Layer>, network: &Network, choices: Choices) -> Result<Forward> {
        let traced = network.trace(1)?;
        let states =
            network.states().iter().map(|state| (state.name().to_string(), state.buffer())).collect();
        let counters = network.states().iter().filter(|state| state.kind() == StateKind::Counter);
        let others = counters.map(|state| state.name().to_string()).collect();
        let source = Source::Layers { net, sample: network.sample().clone() };
        Forward::new(source, traced.program(), network.runtime(), (states, others), choices)
    }

    fn new(
        source: Source,
        program: &Program,
        runtime: &Runtime,
        (states, constants): (HashMap<String, BufferRef>, HashSet<String>),
        choices: Choices,
    ) -> Result<Forward> {
        let [input] = program.inputs.as_slice() else {
            return Err(Error::new(format!(
                "the network has {} inputs; only networks of one input can be opened",
                program.inputs.len()
            )));
        };
        let without_batch = |ty: &ValueType| ValueType::new(ty.dtype, ty.shape.get(1..).unwrap_or_default());
        let output = program.outputs.iter().find(|output| output.name == PREDICTION);
        let output = output.ok_or_else(|| Error::new("the program gives no prediction"))?;
        Ok(Forward {
            source,
            runtime: runtime.clone(),
            states,
            constants,
            choices: Mutex::new(choices),
            idle: Mutex::default(),
            sample: without_batch(program.ty(input.value)),
            output: program.ty(output.value).clone(),
        })
    }

    /// Element type and shape of one sample, without the batch.
    pub fn sample(&self) -> &ValueType {
        &self.sample
    }

    /// Parameters and running statistics by name, in order.
    pub fn weights(&self) -> Vec<(&str, &BufferRef)> {
        let mut all: Vec<(&str, &BufferRef)> = self
            .states
            .iter()
            .filter(|(name, _)| !self.constants.contains(*name))
            .map(|(name, buffer)| (name.as_str(), buffer))
            .collect();
        all.sort_by_key(|(name, _)| *name);
        all
    }

    /// What the network gives for inputs `[batch, ..]`.
    pub fn run(&self, inputs: &Array) -> Result<Array> {
        let ty = inputs.ty();
        let fits = ty.dtype == self.sample.dtype && ty.shape.get(1..) == Some(&*self.sample.shape);
        let batch = match ty.shape.first() {
            Some(&batch) if fits => batch,
            _ => {
                let extents = std::iter::once("batch".to_string());
                let extents: Vec<String> =
                    extents.chain(self.sample.shape.iter().map(usize::to_string)).collect();
                let wanted = extents.join(", ");
                return Err(Error::new(format!(
                    "the inputs must be {}[{wanted}], got {ty}",
                    self.sample.dtype
                )));
            }
        };
        if batch == 0 {
            let shape: Shape = std::iter::once(0).chain(self.output.shape.iter().skip(1).copied()).collect();
            return Ok(Array::zeros(&ValueType::new(self.output.dtype, shape)));
        }
        let idle = self.idle().take(batch);
        let mut ready = match idle {
            Some(ready) => ready,
            None => self.load(batch)?,
        };
        let outputs = ready.executable.run(&[Argument::Host(inputs)], &ready.hypers)?;
        let prediction =
            outputs.get(ready.prediction).ok_or_else(|| Error::new("the program gave no prediction"))?;
        let prediction = prediction.read()?;
        self.idle().put(batch, ready);
        Ok(prediction)
    }

    fn load(&self, batch: usize) -> Result<Ready> {
        let mut buffers = Vec::new();
        let (program, defaults) = match &self.source {
            Source::Text { template, hypers } => (template.instantiate(batch)?, hypers.clone()),
            Source::Layers { net, sample } => {
                let traced = TracedProgram::predict(net.clone(), sample, batch)?;
                let hypers = traced.hypers().map(|(name, value)| (name.to_string(), value)).collect();
                let (program, constants) = traced.into_parts(&self.runtime)?;
                buffers = constants;
                (program, hypers)
            }
        };
        let known = program.states.len() - buffers.len();
        let states = program.states[..known].iter().map(|port| {
            let missing =
                || Error::new(format!("the program wants {}, which the run does not have", port.name));
            self.states.get(&port.name).cloned().ok_or_else(missing)
        });
        let states: Vec<BufferRef> = states.chain(buffers.into_iter().map(Ok)).collect::<Result<_>>()?;
        let hypers = program.hypers.iter().map(|port| {
            let missing = || Error::new(format!("the run does not say what {} is", port.name));
            defaults.get(&port.name).map(|value| *value as f32).ok_or_else(missing)
        });
        let hypers = hypers.collect::<Result<_>>()?;
        let prediction = program.outputs.iter().position(|output| output.name == PREDICTION);
        let prediction = prediction.ok_or_else(|| Error::new("the program gives no prediction"))?;
        let mut choices = self.choices.lock().unwrap_or_else(PoisonError::into_inner);
        let device = &**self.runtime.device();
        let executable = load_with(device, &program, &states, &device.options(), &mut choices)?;
        Ok(Ready { executable, hypers, prediction })
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        // What is in it is whole at every moment, so it is usable after a panic elsewhere.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

/// Refuses programs that predict nothing, change the weights, or want more memory than any network.
fn check(program: &Program) -> Result<()> {
    if let Some(state) = program.states.iter().find(|state| state.write.is_some()) {
        return Err(Error::new(format!("the program changes {}, which a prediction must not", state.name)));
    }
    for node in program.nodes() {
        if let Some(&value) = node.results.iter().find(|&&value| program.ty(value).bytes() > MOST_VALUE) {
            return Err(Error::new(format!(
                "{value} of the program is {}, which is too large for one sample",
                program.ty(value)
            )));
        }
    }
    Ok(())
}
