//! Where tensors are computed, and the programs compiled for that so far.

use super::Tensor;
use super::gradient::walk;
use super::lower::{Leaves, Lowering};
use super::node::Source;
use dropforge_ir::{Array, Op, Program, Result, Value, ValueType, Values};
use dropforge_runtime::{Argument, BufferRef, Device, Executable, MemoryStatistics, load};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// How many compiled programs a runtime keeps for tensors used directly; the one unused for longest goes first.
const KEPT_PROGRAMS: usize = 256;

/// A device with the programs compiled for it. Clones share both.
///
/// Tensors that nobody placed are computed on [`Runtime::shared`].
#[derive(Clone)]
pub struct Runtime(Arc<Inner>);

struct Inner {
    device: Arc<dyn Device>,
    cache: Mutex<Cache>,
}

type SharedExecutable = Arc<Mutex<Executable>>;

#[derive(Default)]
struct Cache {
    programs: HashMap<Key, (SharedExecutable, u64)>,
    clock: u64,
}

/// What makes two programs the same: everything but names and source lines.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    nodes: Vec<(Op, Values)>,
    inputs: Vec<ValueType>,
    outputs: Vec<Value>,
}

impl Key {
    fn new(program: &Program) -> Key {
        Key {
            nodes: program.nodes().iter().map(|node| (node.op.clone(), node.args.clone())).collect(),
            inputs: program.inputs.iter().map(|port| program.ty(port.value).clone()).collect(),
            outputs: program.outputs.iter().map(|port| port.value).collect(),
        }
    }
}

/// Elements on the device of a runtime.
#[derive(Clone)]
pub(crate) struct Placed {
    pub runtime: Runtime,
    pub buffer: BufferRef,
}

impl Runtime {
    /// A runtime on a device of your choice.
    pub fn new(device: Arc<dyn Device>) -> Runtime {
        Runtime(Arc::new(Inner { device, cache: Mutex::default() }))
    }

    /// The runtime that everything uses for which no other was named: the CPU with all its threads.
    ///
    /// # Errors
    /// If the threads cannot be started.
    pub fn shared() -> Result<Runtime> {
        static SHARED: OnceLock<Runtime> = OnceLock::new();
        if let Some(runtime) = SHARED.get() {
            return Ok(runtime.clone());
        }
        let runtime = Runtime::new(default_device()?);
        Ok(SHARED.get_or_init(|| runtime).clone())
    }

    /// Whether this is a clone of another runtime.
    pub(crate) fn is(&self, other: &Runtime) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The device.
    pub fn device(&self) -> &Arc<dyn Device> {
        &self.0.device
    }

    /// What is held of the device's memory; `None` where the device does not count it, which a GPU does.
    pub fn memory(&self) -> Option<MemoryStatistics> {
        self.0.device.memory_statistics()
    }

    /// Bounds the bytes that tensors, states and programs may take of the device's memory together; `None` lifts the
    /// bound. What would take more fails, with an error that says what was asked for and what is held.
    ///
    /// # Errors
    /// If the device does not count its memory.
    pub fn limit_memory(&self, bytes: Option<u64>) -> crate::Result<()> {
        Ok(self.0.device.limit_memory(bytes)?)
    }

    /// How many programs are kept compiled for tensors used directly.
    pub fn cached_programs(&self) -> usize {
        self.cache().programs.len()
    }

    /// Computes tensors in one run and keeps their elements on the device. What has been computed already is not
    /// computed again.
    ///
    /// # Errors
    /// The first error of an operation below, or the device's.
    pub fn evaluate(&self, tensors: &[&Tensor]) -> crate::Result<()> {
        Ok(self.evaluate_nodes(tensors)?)
    }

    fn evaluate_nodes(&self, tensors: &[&Tensor]) -> Result<()> {
        let mut wanted: Vec<&Tensor> = Vec::new();
        let mut known = HashSet::new();
        for tensor in tensors {
            let pending = match tensor.node.source() {
                Source::Data(_) | Source::Placed(_) | Source::Applied { placed: Some(_), .. } => false,
                Source::Applied { .. } | Source::Port | Source::Poisoned(_) => true,
            };
            if pending && known.insert(Arc::as_ptr(&tensor.node)) {
                wanted.push(tensor);
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let mut lowering = Lowering::new("tensors", Leaves::Inputs);
        let mut values = lowering.lower(&wanted)?;
        let carried = lowering.carried();
        let mut results: Vec<Tensor> = wanted.into_iter().cloned().collect();
        for (tensor, value) in carried {
            if known.insert(Arc::as_ptr(&tensor.node)) {
                results.push(tensor);
                values.push(value);
            }
        }
        for (index, value) in values.into_iter().enumerate() {
            lowering.program.output(format!("y{index}"), value);
        }
        let checks = lowering.output_checks();
        let (program, leaves) = lowering.finish()?;
        let inputs = leaves.iter().map(|leaf| self.input(leaf)).collect::<Result<Vec<_>>>()?;
        let arguments: Vec<Argument<'_>> = inputs
            .iter()
            .map(|input| match input {
                Input::Host(array) => Argument::Host(array),
                Input::Device(buffer) => Argument::Device(buffer),
            })
            .collect();
        let executable = self.executable(&program)?;
        let outputs = executable.lock().unwrap_or_else(PoisonError::into_inner).run(&arguments, &[])?;
        for (check, flag) in checks.iter().zip(&outputs[results.len()..]) {
            check.verify(flag)?;
        }
        for (tensor, buffer) in results.into_iter().zip(outputs) {
            tensor.node.set_placed(Placed { runtime: self.clone(), buffer });
        }
        Ok(())
    }

    /// Computes tensors where the first elements below them lie, or on the shared runtime.
    pub(crate) fn evaluate_somewhere(tensors: &[&Tensor]) -> Result<()> {
        let mut place = None;
        walk(tensors, |node, _| {
            if place.is_none() {
                place = node.placed().map(|placed| placed.runtime);
            }
            place.is_none()
        });
        match place {
            Some(runtime) => runtime.evaluate_nodes(tensors),
            None => Runtime::shared()?.evaluate_nodes(tensors),
        }
    }

    fn input(&self, leaf: &Tensor) -> Result<Input> {
        match (leaf.node.source(), leaf.node.placed()) {
            (Source::Data(array), _) => Ok(Input::Host(array)),
            (_, Some(placed)) if Arc::ptr_eq(&placed.runtime.0, &self.0) => Ok(Input::Device(placed.buffer)),
            (_, Some(placed)) => Ok(Input::Host(Arc::new(placed.buffer.read()?))),
            _ => Err(dropforge_ir::Error::new("evaluate", "a value without elements was used as a leaf")),
        }
    }

    fn executable(&self, program: &Program) -> Result<SharedExecutable> {
        let key = Key::new(program);
        {
            let mut cache = self.cache();
            cache.clock += 1;
            let clock = cache.clock;
            if let Some((executable, used)) = cache.programs.get_mut(&key) {
                *used = clock;
                return Ok(executable.clone());
            }
        }
        // Compiled outside of the lock; if two threads do so at once, one result is dropped.
        let executable = Arc::new(Mutex::new(load(&*self.0.device, program, &[])?));
        let mut cache = self.cache();
        if cache.programs.len() >= KEPT_PROGRAMS {
            let oldest = cache.programs.values().map(|(_, used)| *used).min().unwrap_or(0);
            cache.programs.retain(|_, (_, used)| *used != oldest);
        }
        let clock = cache.clock;
        cache.programs.insert(key, (executable.clone(), clock));
        Ok(executable)
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        // Entries are whole at every moment, so the cache is usable after a panic elsewhere.
        self.0.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts elements on the device.
    pub(crate) fn place(&self, array: &Array) -> Result<Placed> {
        let buffer = self.0.device.allocate(&array.ty())?;
        buffer.write(array)?;
        Ok(Placed { runtime: self.clone(), buffer })
    }
}

enum Input {
    Host(Arc<Array>),
    Device(BufferRef),
}

/// The device that is used when none is named.
fn default_device() -> Result<Arc<dyn Device>> {
    Ok(Arc::new(dropforge_cpu::CpuDevice::all_cores()))
}
