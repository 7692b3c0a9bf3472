//! Tracing a task into programs, and loading these on a device.

use super::batch::Fields;
use super::change::Changes;
use super::input::Input;
use super::precision::Precision;
use super::states::States;
use super::task::{Objective, Task};
use crate::error::{Error, ErrorKind, Result};
use crate::loss::Targets;
use crate::metric::{self, MeanLoss, Measured, Metric, Slot, Use};
use crate::nn::trace::{Declared, Passed, Trace};
use crate::nn::{Mode, STEP, Scope};
use crate::optim::{SkippedSteps, Updates};
use crate::tensor::check::{IndexCheck, is_check};
use crate::tensor::gradient::walk;
use crate::tensor::lower::{Leaves, Lowering};
use crate::tensor::node::Node;
use crate::tensor::{Runtime, Tensor};
use dropforge_data::Normalization;
use dropforge_ir::quick_hash::QuickSet;
use dropforge_ir::{DType, Program, ValueType};
use dropforge_runtime::{Argument, BufferRef, Choices, Executable, Options, load_with};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// The outputs that a program of a step may have beside those of the task, by name.
pub(crate) const LOSS: &str = "loss";
pub(crate) const NORM: &str = "gradient_norm";
/// What stands in front of a parameter's name where its gradient is an output.
pub(crate) const GRADIENT: &str = "gradient:";

/// A task as one program, with what it needs to be loaded.
pub(crate) struct Traced {
    pub program: Program,
    pub declared: Vec<Declared>,
    pub hypers: Vec<(String, f64)>,
    pub layers: Vec<Passed>,
    /// The places of the fields that are the program's inputs.
    pub inputs: Vec<usize>,
    /// Values from outside of the network that it uses; the last states of the program.
    pub captured: Vec<Tensor>,
    /// The metrics whose sums the program adds up, the mean loss first.
    pub metrics: Vec<Slot>,
    /// The place of a field with class indices, and how many classes there are.
    pub classes: Option<(usize, usize)>,
    /// What the last outputs of the program say whether it holds.
    pub checks: Vec<IndexCheck>,
}

/// How many steps of a GPU may be on the way when the checks of a step are looked at: nothing waits for them.
const LATE: usize = 3;

/// A loaded program.
pub(crate) struct Compiled {
    pub executable: Executable,
    /// The places of the fields that are its inputs.
    pub inputs: Vec<usize>,
    /// Runtime scalars in the program's order, with their defaults.
    pub hypers: Vec<(String, f64)>,
    pub outputs: Vec<String>,
    /// What the outputs behind these say whether it holds.
    checks: Vec<IndexCheck>,
    /// Outputs of runs whose checks nobody has looked at yet.
    unseen: VecDeque<Vec<BufferRef>>,
    /// How many runs may go on before their checks are looked at.
    late: usize,
    /// Lists of a run, whose memory serves again.
    pub memory: RunMemory,
}

/// Lists that a run fills, empty between runs.
#[derive(Default)]
pub(crate) struct RunMemory {
    pub inputs: Vec<Input<'static>>,
    pub arguments: Vec<Argument<'static>>,
    pub hypers: Vec<f32>,
    /// Outputs that checks were looked at in.
    pub found: Vec<Vec<BufferRef>>,
}

/// What the programs of a step are made of.
pub(crate) struct Recipe<'a> {
    pub task: &'a dyn Task,
    /// The metrics that were chosen; `None` for the usual ones.
    pub metrics: Option<&'a [Arc<dyn Metric>]>,
    pub fields: &'a Fields,
    /// By what the target was standardised: metrics see it in its own units.
    pub units: Option<&'a Normalization>,
}

/// The program that predicts: the outputs of the task, from the fields that they need.
pub(crate) fn trace_predict(task: &dyn Task, fields: &Fields, samples: usize) -> Result<Traced> {
    let scope = Scope::root(Mode::Eval);
    let batch = fields.ports(samples);
    let outputs = task.outputs(&scope, &batch);
    let inputs: Vec<(&str, Tensor)> =
        fields.iter().map(|field| (&*field.name, batch.get(&field.name))).collect();
    assemble("predict", scope.finish()?, &inputs, &outputs)
}

/// The program that evaluates: loss and the sums of the metrics.
pub(crate) fn trace_evaluate(recipe: &Recipe<'_>, samples: usize) -> Result<Traced> {
    trace_step(recipe, samples, None)
}

/// The program that trains: forward, loss, backward, clipping, the optimizer's update and the sums of the metrics.
pub(crate) fn trace_train(
    recipe: &Recipe<'_>,
    updates: &Updates,
    changes: &Changes,
    samples: usize,
) -> Result<Traced> {
    trace_step(recipe, samples, Some((updates, changes)))
}

fn trace_step(recipe: &Recipe<'_>, samples: usize, training: Option<(&Updates, &Changes)>) -> Result<Traced> {
    let (updates, changes) = training.unzip();
    let over = if updates.is_some() { Use::Train } else { Use::Evaluate };
    let scope = Scope::root(if updates.is_some() { Mode::Train } else { Mode::Eval });
    scope.hold(updates.and_then(Updates::held_statistics));
    let batch = recipe.fields.ports(samples);
    let objective = match changes.map(|changes| changes.apply(&scope, &batch)) {
        None => recipe.task.objective(&scope, &batch),
        Some((changed, None)) => recipe.task.objective(&scope, &changed),
        Some((changed, Some(mixed))) => recipe.task.mixed(&scope, &changed, &mixed).ok_or_else(|| {
            Error::setting(
                "inputs are mixed where layers are trained with a loss; a function of a batch says what its loss is then, by \
                 Task::mixed",
            )
        })?,
    };
    let loss = scalar_loss(&objective.loss);
    // What failed on the way is the reason for all that follows.
    if let Some(error) = loss.error() {
        return Err(scope.finish().err().map_or(error, Error::from));
    }
    let mut metrics = trace_metrics(
        recipe,
        &scope,
        over,
        &objective,
        (&loss, updates.is_some_and(Updates::compare_losses)),
        samples,
    )?;
    let mut outputs = vec![(LOSS.to_string(), loss.clone())];
    outputs.extend(metrics.iter().flat_map(|slot| slot.kept.iter().cloned()));
    if let Some(updates) = updates {
        let traced = updates.trace(&scope, &loss)?;
        outputs.extend(traced.norm.map(|norm| (NORM.to_string(), norm)));
        let kept = traced.gradients.into_iter();
        outputs.extend(kept.map(|(name, gradient)| (format!("{GRADIENT}{name}"), gradient)));
        if let Some(finite) = traced.finite {
            let measured = Measured::new(&finite, &finite);
            let skipped: Arc<dyn Metric> = Arc::new(SkippedSteps);
            metrics.extend(metric::trace(&scope, over, &skipped, &measured)?);
        }
        let step = scope.shared_state(STEP, ValueType::scalar(DType::U32));
        scope.write_state(&step, &(&step + 1));
    }
    let inputs: Vec<(&str, Tensor)> =
        recipe.fields.iter().map(|field| (&*field.name, batch.get(&field.name))).collect();
    let name = if updates.is_some() { "train" } else { "evaluate" };
    let traced = assemble(name, scope.finish()?, &inputs, &outputs)?;
    Ok(Traced { metrics, classes: classes(&inputs, &objective, recipe.task.targets()), ..traced })
}

fn scalar_loss(value: &Tensor) -> Tensor {
    if value.error().is_none() && *value.ty() != ValueType::scalar(DType::F32) {
        let message = match value.dtype().is_float() {
            true if value.dtype() == DType::F32 => {
                format!("must give one float, got {}; take its mean", value.ty())
            }
            _ if value.rank() == 0 => format!("must give one f32, got {}; cast it to f32", value.ty()),
            _ => format!("must give one f32, got {}; cast it to f32, and take its mean", value.ty()),
        };
        return crate::tensor::node::fail("loss", message, &[value]);
    }
    value.clone()
}

fn trace_metrics(
    recipe: &Recipe<'_>,
    scope: &Scope,
    over: Use,
    objective: &Objective,
    (loss, is_compared): (&Tensor, bool),
    samples: usize,
) -> Result<Vec<Slot>> {
    let mean_loss: Arc<dyn Metric> = Arc::new(MeanLoss { samples, skips: is_compared });
    let mut slots: Vec<Slot> = Vec::new();
    let mut add = |metric: &Arc<dyn Metric>, measured: &Measured<'_>| -> Result<()> {
        let name = metric.name();
        if slots.iter().any(|slot| slot.metric.name() == name) {
            return Err(Error::setting(format!("two metrics are called {name}; leave one of them out")));
        }
        slots.extend(metric::trace(scope, over, metric, measured)?);
        Ok(())
    };
    add(&mean_loss, &Measured::new(loss, loss))?;
    let prediction = objective.outputs.first().map(|(_, prediction)| prediction);
    let restored = recipe.units.and_then(|units| restored(units, prediction?, objective.target.as_ref()?));
    let usual = match (prediction, &objective.target) {
        (Some(prediction), Some(target)) => metric::usual(prediction, target),
        _ => Vec::new(),
    };
    for metric in recipe.metrics.unwrap_or(&usual) {
        let (Some(prediction), Some(target)) = (prediction, &objective.target) else {
            return Err(Error::setting(format!(
                "the metric {} needs a prediction and a target; return \
                 Objective::new(loss).prediction(&prediction).target(&target)",
                metric.name()
            )));
        };
        let (prediction, target) =
            restored.as_ref().map_or((prediction, target), |[prediction, target]| (prediction, target));
        let mut measured = Measured::new(prediction, target);
        // A loss of probabilities of yes and no knows what the network gives, whatever made it.
        measured.probabilities |= recipe.task.probability(0.0) == Some(0.0);
        add(metric, &measured)?;
    }
    for (metric, prediction, target) in &objective.measured {
        add(metric, &Measured::new(prediction, target))?;
    }
    Ok(slots)
}

/// Prediction and target in the units of the raw data; `None` where they are not alike, so that nobody knows what the
/// network says.
pub(crate) fn restored(units: &Normalization, prediction: &Tensor, target: &Tensor) -> Option<[Tensor; 2]> {
    if prediction.shape() != target.shape() || !target.dtype().is_float() || target.rank() == 0 {
        return None;
    }
    let scale = |numbers: &[f32]| {
        let mut shape = vec![1; target.rank()];
        if numbers.len() > 1 {
            *shape.get_mut(1)? = numbers.len();
        }
        Some(Tensor::from_slice(numbers, shape))
    };
    let (mean, std) = (scale(units.mean())?, scale(units.std())?);
    Some([prediction, target].map(|value| value.widened() * &std + &mean))
}

/// The field that is the target, if that holds class indices, and the number of classes.
fn classes(inputs: &[(&str, Tensor)], objective: &Objective, targets: Targets) -> Option<(usize, usize)> {
    let (prediction, target) = (&objective.outputs.first()?.1, objective.target.as_ref()?);
    let place = inputs.iter().position(|(_, port)| Arc::ptr_eq(&port.node, &target.node))?;
    let count = metric::class_count(prediction, target)?;
    // One output for two classes.
    Some((place, if count == 1 && targets.tell_two_classes() { 2 } else { count }))
}

/// Lowers what was traced.
fn assemble(
    name: &str,
    trace: Trace,
    inputs: &[(&str, Tensor)],
    outputs: &[(impl AsRef<str>, Tensor)],
) -> Result<Traced> {
    let mut lowering = Lowering::new(name, Leaves::States);
    let used = used(&trace, outputs);
    let mut places = Vec::new();
    for (place, (name, port)) in inputs.iter().enumerate() {
        if used.contains(&Arc::as_ptr(&port.node)) {
            let value = lowering.program.input(*name, port.ty().clone());
            lowering.bind(port, value);
            places.push(place);
        }
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
        lowering.program.output(name.as_ref(), value);
    }
    for ((index, _), &value) in writes.iter().zip(&values[outputs.len()..]) {
        lowering.program.write(*index, value)?;
    }
    let checks = lowering.output_checks();
    let (program, captured) = lowering.finish()?;
    let hypers = trace.hypers.into_iter().map(|(name, default, _)| (name, default)).collect();
    Ok(Traced {
        program,
        declared: trace.states,
        hypers,
        layers: trace.layers,
        inputs: places,
        captured,
        metrics: Vec::new(),
        classes: None,
        checks,
    })
}

/// Everything that outputs and new states are computed from.
fn used(trace: &Trace, outputs: &[(impl AsRef<str>, Tensor)]) -> QuickSet<*const Node> {
    let writes = trace.states.iter().filter_map(|state| state.write.as_ref());
    let all: Vec<&Tensor> = outputs.iter().map(|(_, value)| value).chain(writes).collect();
    let mut used = QuickSet::default();
    walk(&all, |node, _| {
        used.insert(Arc::as_ptr(node));
        true
    });
    used
}

impl Traced {
    /// Loads the program over the states, which are made where they are new, with the choices made before.
    pub fn load(
        &self,
        states: &mut States,
        runtime: &Runtime,
        seed: u64,
        choices: &mut Choices,
        precision: Precision,
    ) -> Result<Compiled> {
        let mut buffers = states.provide(&self.declared, runtime, seed)?;
        for tensor in &self.captured {
            buffers.push(captured_buffer(tensor, runtime)?);
        }
        let device = &**runtime.device();
        let options = Options { half: precision.half(), ..device.options() };
        let executable = load_with(device, &self.program, &buffers, &options, choices)?;
        let outputs = self.program.outputs.iter().map(|output| output.name.clone());
        Ok(Compiled {
            executable,
            inputs: self.inputs.clone(),
            hypers: self.hypers.clone(),
            outputs: outputs.filter(|name| !is_check(name)).collect(),
            checks: self.checks.clone(),
            unseen: VecDeque::new(),
            late: if device.is_gpu() { LATE } else { 0 },
            memory: RunMemory::default(),
        })
    }
}

/// Whether checks hold, by their outputs.
///
/// # Errors
/// The first that does not.
pub(crate) fn verify<'a>(checks: impl IntoIterator<Item = (&'a IndexCheck, &'a BufferRef)>) -> Result<()> {
    for (check, found) in checks {
        check.verify(found).map_err(|error| Error::from(error).with_kind(ErrorKind::Data))?;
    }
    Ok(())
}

pub(super) fn captured_buffer(tensor: &Tensor, runtime: &Runtime) -> Result<BufferRef> {
    // Programs only read what they captured, so that all of them share it.
    if let Some(placed) = tensor.node.placed().filter(|placed| placed.runtime.is(runtime)) {
        return Ok(placed.buffer);
    }
    Ok(runtime.place(&tensor.to_array()?)?.buffer)
}

impl Compiled {
    /// Runs it. What its checks find is an error of this run, or, where runs are on the way while the host goes on, of
    /// one of the next.
    ///
    /// # Errors
    /// An index was outside of what it picks from, or the device fails.
    pub fn run(&mut self, arguments: &[Argument<'_>], hypers: &[f32]) -> Result<Vec<BufferRef>> {
        let mut outputs = Vec::new();
        self.run_into(arguments, hypers, &mut outputs)?;
        Ok(outputs)
    }

    /// As [`Compiled::run`], with the outputs in place of what is in a list.
    ///
    /// # Errors
    /// As [`Compiled::run`].
    pub fn run_into(
        &mut self,
        arguments: &[Argument<'_>],
        hypers: &[f32],
        outputs: &mut Vec<BufferRef>,
    ) -> Result<()> {
        self.executable.run_into(arguments, hypers, outputs)?;
        if !self.checks.is_empty() {
            let mut found = self.memory.found.pop().unwrap_or_default();
            found.extend(outputs.drain(self.outputs.len()..));
            self.unseen.push_back(found);
            self.look(self.late)?;
        }
        Ok(())
    }

    /// The checks of the last run, if nobody has looked at them yet.
    pub fn unseen(&self) -> Vec<(IndexCheck, BufferRef)> {
        let last = self.unseen.back();
        last.map_or_else(Vec::new, |found| self.checks.iter().cloned().zip(found.iter().cloned()).collect())
    }

    /// Looks at the checks of all runs but the last few.
    ///
    /// # Errors
    /// As [`Compiled::run`].
    pub fn look(&mut self, but: usize) -> Result<()> {
        while self.unseen.len() > but {
            let Some(mut found) = self.unseen.pop_front() else { break };
            verify(self.checks.iter().zip(&found))?;
            found.clear();
            self.memory.found.push(found);
        }
        Ok(())
    }

    /// Position of an output.
    pub fn output(&self, name: &str) -> Option<usize> {
        self.outputs.iter().position(|output| output == name)
    }

    /// The values of its runtime scalars: the user's, the optimizer's, or the defaults.
    pub fn hypers(&self, chosen: &BTreeMap<String, f64>, settings: &[(String, f64)]) -> Vec<f32> {
        hyper_values(&self.hypers, chosen, settings).collect()
    }
}

/// The values of runtime scalars: the user's, the optimizer's, or the defaults.
pub(super) fn hyper_values<'a>(
    hypers: &'a [(String, f64)],
    chosen: &'a BTreeMap<String, f64>,
    settings: &'a [(String, f64)],
) -> impl Iterator<Item = f32> + 'a {
    let value = move |(name, default): &(String, f64)| {
        let set = settings.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
        chosen.get(name).copied().or(set).unwrap_or(*default) as f32
    };
    hypers.iter().map(value)
}
