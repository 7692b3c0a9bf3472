//! The states of a network: named device memory that all its programs share.

use crate::error::{Error, Result};
use crate::nn::StateKind;
use crate::nn::trace::Declared;
use crate::tensor::Runtime;
use dropforge_ir::{Array, Data, ValueType};
use dropforge_runtime::BufferRef;
use std::collections::HashMap;

/// One named piece of device memory.
#[derive(Clone)]
pub struct State {
    name: String,
    kind: StateKind,
    buffer: BufferRef,
}

impl State {
    /// Its full name; for a parameter the path that checkpoints use.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is for.
    pub fn kind(&self) -> StateKind {
        self.kind
    }

    /// Element type and shape.
    pub fn ty(&self) -> &ValueType {
        self.buffer.ty()
    }

    /// The memory, for programs outside of the network.
    pub(crate) fn buffer(&self) -> BufferRef {
        self.buffer.clone()
    }

    /// Copies the elements to the host.
    ///
    /// # Errors
    /// If the device fails.
    pub fn read(&self) -> Result<Array> {
        Ok(self.buffer.read()?)
    }

    /// Replaces the elements.
    ///
    /// # Errors
    /// If the type or shape differs; the message names the state and both.
    pub fn write(&self, array: &Array) -> Result<()> {
        if array.ty() != *self.ty() {
            return Err(Error::program(format!("{} is {}, got {}", self.name, self.ty(), array.ty())));
        }
        Ok(self.buffer.write(array)?)
    }
}

/// The states of a network in the order in which they were declared: parameters, running statistics, what the optimizer
/// keeps, the step count and the seed. Clones share the memory.
#[derive(Clone, Default)]
pub struct States {
    all: Vec<State>,
    by_name: HashMap<String, usize>,
}

impl States {
    /// All states.
    pub fn iter(&self) -> impl Iterator<Item = &State> {
        self.all.iter()
    }

    /// The state with this name.
    pub fn get(&self, name: &str) -> Option<&State> {
        self.by_name.get(name).map(|&index| &self.all[index])
    }

    /// Number of states.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are no states.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The elements of a state.
    ///
    /// # Errors
    /// If there is no such state, or the device fails.
    pub fn read(&self, name: &str) -> Result<Array> {
        self.find(name)?.read()
    }

    /// Replaces the elements of a state.
    ///
    /// # Errors
    /// If there is no such state, the type or shape differs, or the device fails.
    pub fn write(&self, name: &str, array: &Array) -> Result<()> {
        self.find(name)?.write(array)
    }

    /// The averages of parameters that an optimizer inside of [`Averaged`](crate::optim::Averaged) keeps, with the
    /// names of these; none of those in which nothing counts yet.
    pub(crate) fn averages(&self) -> Result<Vec<(&State, String)>> {
        let mut averages = Vec::new();
        for average in crate::optim::averages(self.iter().map(State::name)) {
            let count = self.read(&average.count)?;
            let has_begun =
                matches!(count.data(), Data::U32(count) if count.first().is_some_and(|&count| count > 0));
            if let Some(state) = self.get(&average.name).filter(|_| has_begun) {
                averages.push((state, average.parameter));
            }
        }
        Ok(averages)
    }

    fn find(&self, name: &str) -> Result<&State> {
        self.get(name).ok_or_else(|| Error::program(format!("there is no state named {name}")))
    }

    /// Number of elements of all parameters.
    pub fn parameter_count(&self) -> usize {
        let parameters = self.all.iter().filter(|state| state.kind == StateKind::Parameter);
        parameters.map(|state| state.ty().shape.elements()).sum()
    }

    /// Bytes of all states on the device.
    pub fn bytes(&self) -> usize {
        self.all.iter().map(|state| state.ty().bytes()).sum()
    }

    /// The memory of declared states, made and filled where it is new.
    pub(crate) fn provide(
        &mut self,
        declared: &[Declared],
        runtime: &Runtime,
        seed: u64,
    ) -> Result<Vec<BufferRef>> {
        declared.iter().map(|state| self.provide_one(state, runtime, seed)).collect()
    }

    fn provide_one(&mut self, declared: &Declared, runtime: &Runtime, seed: u64) -> Result<BufferRef> {
        let (name, ty) = (&declared.name, declared.port.ty());
        if let Some(known) = self.get(name) {
            if known.ty() != ty {
                return Err(Error::program(format!(
                    "{name} is {}, but this input would make it {ty}; was the network compiled for another input?",
                    known.ty()
                )));
            }
            return Ok(known.buffer.clone());
        }
        let buffer = runtime.device().allocate(ty)?;
        if name == crate::nn::SEED {
            let words = vec![seed as u32, (seed >> 32) as u32];
            let array = Array::new([2], Data::U32(words));
            array.map(|array| buffer.write(&array)).transpose()?;
        } else if declared.kind != StateKind::Counter || ty.dtype.is_float() {
            // What counts in whole numbers starts at 0, as memory does.
            let array = declared.init.array(seed, name, ty).ok_or_else(|| {
                Error::program(format!(
                    "the initial values given for {name} do not fit its shape {}",
                    ty.shape
                ))
            })?;
            buffer.write(&array)?;
        }
        self.by_name.insert(name.clone(), self.all.len());
        self.all.push(State { name: name.clone(), kind: declared.kind, buffer: buffer.clone() });
        Ok(buffer)
    }
}
