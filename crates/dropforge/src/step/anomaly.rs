//! Finding the operation that made the first number that is none.

use super::batch::Batch;
use super::build::{LOSS, Traced};
use super::input::Input;
use super::training::Step;
use crate::error::{Error, Result};
use crate::nn::StateKind;
use dropforge_ir::interpret::{Numbers, Rounding, values};
use dropforge_ir::{Array, Op};
use std::fmt;

/// The first operation of a step whose result is not finite although all that it was given is.
/// [`Display`](fmt::Display) gives one line.
#[derive(Clone, Debug, PartialEq)]
pub struct Anomaly {
    /// The operation, such as `log` or `div`.
    pub operation: String,
    /// The layer and the source line, as far as they are known.
    pub place: String,
    /// Whether it belongs to the gradients or the update, not to the loss.
    pub backward: bool,
    /// How many elements of the result are not finite.
    pub count: usize,
    /// How many elements it has.
    pub elements: usize,
    /// The first of them: NaN or infinite.
    pub value: f64,
    /// The least and the greatest of what the operation was given.
    pub given: Vec<(f64, f64)>,
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Anomaly { operation, place, count, elements, value, .. } = self;
        let pass = if self.backward { "backward" } else { "forward" };
        write!(f, "{operation} {place} gave {value} in {count} of {elements} elements ({pass})")?;
        for (index, (least, greatest)) in self.given.iter().enumerate() {
            write!(
                f,
                "{} {least:.6e} to {greatest:.6e}",
                if index == 0 { ", of numbers from" } else { " and" }
            )?;
        }
        Ok(())
    }
}

impl Step {
    /// All states as they are now, for [`Step::find_anomaly`].
    ///
    /// # Errors
    /// If the device fails.
    pub fn copy_states(&self) -> Result<Vec<(String, Array)>> {
        let states = self.states();
        states.iter().map(|state| Ok((state.name().to_string(), state.read()?))).collect()
    }

    /// Repeats a step on the plain interpreter from the states that it began with, and looks for the first operation
    /// that made something that is not finite of numbers that are. `None` if there is none: then the device rounds
    /// differently, or the states or the batch were not finite to begin with.
    ///
    /// # Errors
    /// If the batch does not fit, or a state is missing.
    pub fn find_anomaly(
        &mut self,
        batch: impl Into<Batch>,
        states: &[(String, Array)],
    ) -> Result<Option<Anomaly>> {
        let batch = batch.into();
        let samples = self.check_batch(&batch)?;
        let traced = self.trace_for(samples)?;
        let mut inputs = Vec::new();
        for port in &traced.program.inputs {
            let input = Input::of(&batch.get(&port.name), self.runtime())?;
            let array = match (input.on_host(), &input) {
                (Some(array), _) => Numbers::from(array),
                (None, Input::Device(buffer)) => Numbers::from(&buffer.read()?),
                (None, _) => return Err(Error::program(format!("there is no input {}", port.name))),
            };
            inputs.push(array);
        }
        // What the network captured are the last states of the program.
        let own = traced.program.states.len() - traced.captured.len();
        let mut numbers = Vec::new();
        for port in &traced.program.states[..own] {
            let found = states.iter().find(|(name, _)| *name == port.name);
            let (_, array) =
                found.ok_or_else(|| Error::program(format!("there is no state {}", port.name)))?;
            numbers.push(Numbers::from(array));
        }
        for tensor in &traced.captured {
            numbers.push(Numbers::from(&tensor.to_array()?));
        }
        let hypers: Vec<f64> = self.hypers_of(&traced.hypers).into_iter().map(f64::from).collect();
        let program = &traced.program;
        let values = values(program, &inputs, &numbers, &hypers, Rounding::Single)?;
        let loss =
            program.outputs.iter().find(|output| output.name == LOSS).map(|output| output.value.index());
        let finite = |value: &Numbers| value.elements().iter().all(|x| x.is_finite());
        let counts = training_values(&traced, own);
        for node in program.nodes() {
            // What only metrics are made of goes wrong without harm.
            if !node.results.iter().any(|result| counts[result.index()]) {
                continue;
            }
            if matches!(node.op, Op::Input(_) | Op::State(_) | Op::Hyper(_) | Op::Constant(_)) {
                continue;
            }
            let given: Vec<&Numbers> = node.args.iter().map(|arg| &values[arg.index()]).collect();
            let mut made = node.results.iter().map(|result| (result, &values[result.index()]));
            let Some((result, made)) = made.find(|(_, made)| !finite(made)) else { continue };
            if !given.iter().all(|given| finite(given)) {
                continue;
            }
            let wrong: Vec<f64> = made.elements().iter().copied().filter(|x| !x.is_finite()).collect();
            let ends = |numbers: &&Numbers| {
                numbers
                    .elements()
                    .iter()
                    .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &x| (low.min(x), high.max(x)))
            };
            return Ok(Some(Anomaly {
                operation: operation(&node.op),
                place: node.origin.to_string(),
                backward: loss.is_some_and(|loss| result.index() > loss),
                count: wrong.len(),
                elements: made.elements().len(),
                value: wrong[0],
                given: given.iter().map(ends).collect(),
            }));
        }
        Ok(None)
    }
}

/// Which values of a step its loss, its gradients and the states that training goes on from are made of, by their
/// numbers.
fn training_values(traced: &Traced, own: usize) -> Vec<bool> {
    let program = &traced.program;
    let mut needed = vec![false; program.nodes().iter().flat_map(|node| &node.results).count()];
    let trained = traced.declared.iter().zip(&program.states[..own]);
    let trained =
        trained.filter(|(state, _)| !matches!(state.kind, StateKind::Metric | StateKind::Evaluation));
    let ends = program.outputs.iter().map(|output| output.value);
    for value in ends.chain(trained.filter_map(|(_, port)| port.write)) {
        needed[value.index()] = true;
    }
    for node in program.nodes().iter().rev() {
        if node.results.iter().any(|result| needed[result.index()]) {
            node.args.iter().for_each(|arg| needed[arg.index()] = true);
        }
    }
    needed
}

/// What an operation does, in a word.
fn operation(op: &Op) -> String {
    match op {
        Op::Unary { kind } => kind.name().into(),
        Op::Binary { kind } => kind.name().into(),
        op => op.name().into(),
    }
}
