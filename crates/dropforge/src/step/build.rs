//! Tracing a network into programs, and loading these on a device.

use super::states::States;
use crate::error::{Error, Result};
use crate::loss::Loss;
use crate::nn::trace::{Declared, Passed, Trace, own_port};
use crate::nn::{Layer, Mode, STEP, Scope};
use crate::optim::{Optimizer, Parameter, clip_by_global_norm};
use crate::tensor::lower::{Leaves, Lowering};
use crate::tensor::{Runtime, Tensor, gradients};
use dropforge_ir::{DType, Program, ValueType};
use dropforge_runtime::{BufferRef, Choices, Executable, load_with};

/// The outputs that a program of a network may have, by name.
pub(crate) const PREDICTION: &str = "prediction";
pub(crate) const LOSS: &str = "loss";
pub(crate) const CORRECT: &str = "correct";
pub(crate) const NORM: &str = "gradient_norm";

/// Name of the runtime scalar that limits the global norm of the gradients.
pub(crate) const CLIP_NORM: &str = "clip_norm";

/// A network as one program, with what it needs to be loaded.
pub(crate) struct Traced {
    pub program: Program,
    pub declared: Vec<Declared>,
    pub hypers: Vec<(String, f64)>,
    pub layers: Vec<Passed>,
    /// Values from outside of the network that it uses; the last states of the program.
    captured: Vec<Tensor>,
    /// How many classes the prediction tells apart, if the targets are class indices.
    pub classes: Option<usize>,
}

/// A loaded program.
pub(crate) struct Compiled {
    pub executable: Executable,
    /// Runtime scalars in the program's order, with their defaults.
    pub hypers: Vec<(String, f64)>,
    pub outputs: Vec<String>,
}

/// What a training step is made of.
pub(crate) struct Recipe<'a> {
    pub net: &'a dyn Layer,
    pub loss: &'a dyn Loss,
    pub optimizer: &'a dyn Optimizer,
    pub clip_norm: Option<f64>,
}

/// The program that predicts.
pub(crate) fn trace_predict(net: &dyn Layer, input: &ValueType) -> Result<Traced> {
    let scope = Scope::root(Mode::Eval);
    let x = own_port(input.clone());
    let prediction = net.forward(&scope, &x);
    assemble("predict", scope.finish()?, &[("x", &x)], &[(PREDICTION, prediction)])
}

/// The program that evaluates: loss and, for class targets, the number of correct predictions.
pub(crate) fn trace_evaluate(
    net: &dyn Layer,
    loss: &dyn Loss,
    input: &ValueType,
    target: &ValueType,
) -> Result<Traced> {
    let scope = Scope::root(Mode::Eval);
    let (x, t) = (own_port(input.clone()), own_port(target.clone()));
    let prediction = net.forward(&scope, &x);
    let mut outputs = vec![(LOSS, scalar_loss(loss, &prediction, &t))];
    outputs.extend(correct(&prediction, &t).map(|count| (CORRECT, count)));
    let classes = class_count(&prediction, &t);
    let traced = assemble("evaluate", scope.finish()?, &[("x", &x), ("target", &t)], &outputs)?;
    Ok(Traced { classes, ..traced })
}

/// The program that trains: forward, loss, backward, clipping and the optimizer's update.
pub(crate) fn trace_train(recipe: &Recipe<'_>, input: &ValueType, target: &ValueType) -> Result<Traced> {
    let scope = Scope::root(Mode::Train);
    let (x, t) = (own_port(input.clone()), own_port(target.clone()));
    let prediction = recipe.net.forward(&scope, &x);
    let loss = scalar_loss(recipe.loss, &prediction, &t);
    let mut outputs = vec![(LOSS, loss.clone())];
    outputs.extend(correct(&prediction, &t).map(|count| (CORRECT, count)));
    let classes = class_count(&prediction, &t);
    // What failed on the way is the reason for all that follows.
    if let Some(error) = loss.error() {
        return Err(scope.finish().err().map_or(error, Error::from));
    }
    let parameters = scope.parameters();
    if parameters.is_empty() {
        return Err(Error::new("the network has no parameters, so there is nothing to train"));
    }
    let wanted: Vec<&Tensor> = parameters.iter().map(|(_, value)| value).collect();
    let gradients = gradients(&loss, &wanted);
    let mut parameters: Vec<Parameter> = parameters
        .into_iter()
        .zip(gradients)
        .map(|((name, value), gradient)| Parameter { name, value, gradient })
        .collect();
    if let Some(limit) = recipe.clip_norm {
        let limit = scope.hyperparameter(CLIP_NORM, limit);
        outputs.extend(clip_by_global_norm(&mut parameters, &limit).map(|norm| (NORM, norm)));
    }
    recipe.optimizer.update(&scope, &parameters);
    let step = scope.shared_state(STEP, ValueType::scalar(DType::U32));
    scope.write_state(&step, &(&step + 1));
    let traced = assemble("train", scope.finish()?, &[("x", &x), ("target", &t)], &outputs)?;
    Ok(Traced { classes, ..traced })
}

fn scalar_loss(loss: &dyn Loss, prediction: &Tensor, target: &Tensor) -> Tensor {
    let value = loss.loss(prediction, target);
    if value.error().is_none() && *value.ty() != ValueType::scalar(DType::F32) {
        let message = format!("must give one float, got {}; take its mean", value.ty());
        return crate::tensor::node::fail("loss", message, &[&value]);
    }
    value
}

/// Whether the targets are class indices for the scores of the prediction along axis 1.
fn class_count(prediction: &Tensor, target: &Tensor) -> Option<usize> {
    let fits = target.dtype() == DType::I32
        && prediction.dtype().is_float()
        && prediction.rank() >= 2
        && prediction.shape().without(&[1]) == *target.shape();
    fits.then(|| prediction.shape()[1]).filter(|&classes| classes > 0)
}

fn correct(prediction: &Tensor, target: &Tensor) -> Option<Tensor> {
    class_count(prediction, target)?;
    Some(prediction.argmax(1).eq(target).cast(DType::I32).sum(..))
}

/// Lowers what was traced.
fn assemble(
    name: &str,
    trace: Trace,
    inputs: &[(&str, &Tensor)],
    outputs: &[(&str, Tensor)],
) -> Result<Traced> {
    let mut lowering = Lowering::new(name, Leaves::States);
    for (name, port) in inputs {
        let value = lowering.program.input(*name, port.ty().clone());
        lowering.bind(port, value);
    }
    for state in &trace.states {
        lowering.program.current_origin = state.port.node.origin.origin();
        let value = lowering.program.state(state.name.clone(), state.port.ty().clone());
        lowering.bind(&state.port, value);
    }
    for (name, _, port) in &trace.hypers {
        let value = lowering.program.hyper(name.clone());
        lowering.bind(port, value);
    }
    let writes: Vec<(usize, &Tensor)> = trace
        .states
        .iter()
        .enumerate()
        .filter_map(|(index, state)| state.write.as_ref().map(|value| (index, value)))
        .collect();
    let all: Vec<&Tensor> =
        outputs.iter().map(|(_, value)| value).chain(writes.iter().map(|(_, value)| *value)).collect();
    let values = lowering.lower(&all)?;
    for ((name, _), &value) in outputs.iter().zip(&values) {
        lowering.program.output(*name, value);
    }
    for ((index, _), &value) in writes.iter().zip(&values[outputs.len()..]) {
        lowering.program.write(*index, value)?;
    }
    let (program, captured) = lowering.finish()?;
    let hypers = trace.hypers.into_iter().map(|(name, default, _)| (name, default)).collect();
    Ok(Traced { program, declared: trace.states, hypers, layers: trace.layers, captured, classes: None })
}

impl Traced {
    /// Loads the program over the states, which are made where they are new, with the choices made before.
    pub fn load(
        &self,
        states: &mut States,
        runtime: &Runtime,
        seed: u64,
        choices: &mut Choices,
    ) -> Result<Compiled> {
        let mut buffers = states.provide(&self.declared, runtime, seed)?;
        for tensor in &self.captured {
            buffers.push(captured_buffer(tensor, runtime)?);
        }
        let device = &**runtime.device();
        let executable = load_with(device, &self.program, &buffers, &device.options(), choices)?;
        let outputs = self.program.outputs.iter().map(|output| output.name.clone()).collect();
        Ok(Compiled { executable, hypers: self.hypers.clone(), outputs })
    }
}

fn captured_buffer(tensor: &Tensor, runtime: &Runtime) -> Result<BufferRef> {
    Ok(runtime.place(&tensor.to_array()?)?.buffer)
}

impl Compiled {
    /// Position of an output.
    pub fn output(&self, name: &str) -> Option<usize> {
        self.outputs.iter().position(|output| output == name)
    }
}
