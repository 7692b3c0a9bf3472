//! What was traced, for those who keep programs outside of a network.

use super::batch::Fields;
use super::build::{Traced, captured_buffer, trace_evaluate, trace_predict};
use super::network::Network;
use super::task::Forward;
use crate::metric::Slot;
use crate::nn::Layer;
use crate::{Result, Runtime};
use dropforge_ir::{Array, Program, ValueType};
use dropforge_runtime::BufferRef;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A program of a network, with what it needs beside the network's states.
pub(crate) struct TracedProgram(Traced);

impl TracedProgram {
    /// The program that predicts for batches of this size.
    pub fn predict(net: Arc<dyn Layer>, sample: &ValueType, batch: usize) -> Result<TracedProgram> {
        let task = Forward { net: Box::new(net) };
        trace_predict(&task, &Fields::input(sample.clone()), batch).map(TracedProgram)
    }

    pub fn program(&self) -> &Program {
        &self.0.program
    }

    /// What the sums of a program that evaluates are of, the mean loss first.
    pub fn metrics(&self) -> &[Slot] {
        &self.0.metrics
    }

    /// The place among the network's fields of the one with class indices, and how many classes there are.
    pub fn classes(&self) -> Option<(usize, usize)> {
        self.0.classes
    }

    /// Runtime scalars with what they are unless somebody sets them.
    pub fn hypers(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.hypers.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// Values from outside of the network that the program uses, by the names of its last states.
    pub fn constants(&self) -> Result<BTreeMap<String, Array>> {
        let Traced { program, captured, .. } = &self.0;
        let ports = &program.states[program.states.len() - captured.len()..];
        ports.iter().zip(captured).map(|(port, tensor)| Ok((port.name.clone(), tensor.to_array()?))).collect()
    }

    /// The program and the memory of its last states.
    pub fn into_parts(self, runtime: &Runtime) -> Result<(Program, Vec<BufferRef>)> {
        let captured = self.0.captured.iter().map(|tensor| captured_buffer(tensor, runtime));
        Ok((self.0.program, captured.collect::<Result<_>>()?))
    }
}

impl Network {
    /// The program that predicts for batches of this size.
    pub(crate) fn trace(&self, batch: usize) -> Result<TracedProgram> {
        trace_predict(&*self.task, &self.fields, batch).map(TracedProgram)
    }

    /// The program that evaluates batches of this size: loss and metrics, whatever they are.
    pub(crate) fn trace_measuring(&self, batch: usize) -> Result<TracedProgram> {
        trace_evaluate(&self.recipe(), batch).map(TracedProgram)
    }

    /// The name of a field of its batches.
    pub(crate) fn field_name(&self, place: usize) -> &str {
        &self.fields.at(place).name
    }
}
