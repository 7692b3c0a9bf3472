//! Sums of metrics in states of the step: how they are added up and read without losing anything.

use super::{Figures, Measured, Metric, count};
use crate::init::Init;
use crate::nn::{Scope, StateKind};
use crate::tensor::node::fail;
use crate::tensor::{Tag, Tensor};
use dropforge_ir::{Array, DType, Data};
use std::sync::Arc;

/// What the sums are kept over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// The steps of an epoch of training.
    Train,
    /// An evaluation.
    Evaluate,
}

impl Use {
    fn kind(self) -> StateKind {
        match self {
            Use::Train => StateKind::Metric,
            Use::Evaluate => StateKind::Evaluation,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Use::Train => "train",
            Use::Evaluate => "evaluate",
        }
    }
}

/// The metric that a state of training sums up, by the name of the state; `None` for other states, and for the mean
/// loss.
pub(crate) fn measured_by(state: &str) -> Option<&str> {
    let (metric, _) = state.strip_prefix("metric.train.")?.rsplit_once('.')?;
    metric.rsplit_once('.').map(|(metric, _)| metric).filter(|metric| *metric != "loss")
}

/// A metric with the names of the states that hold its sums.
#[derive(Clone)]
pub(crate) struct Slot {
    pub metric: Arc<dyn Metric>,
    pub states: Vec<SumState>,
    /// What an evaluation keeps of every batch: outputs of its program.
    pub kept: Vec<(String, Tensor)>,
}

/// The two states of one sum: it is `sum` plus `rest`, or for counts plus `rest` times 2³².
#[derive(Clone, Debug)]
pub(crate) struct SumState {
    pub sum: String,
    pub rest: String,
    /// How many numbers it has.
    pub elements: usize,
}

/// Traces the sums of a metric over one batch, and the states to which the step adds them; `None` for one that keeps
/// something, over training steps.
pub(crate) fn trace(
    scope: &Scope,
    over: Use,
    metric: &Arc<dyn Metric>,
    batch: &Measured<'_>,
) -> Result<Option<Slot>, crate::Error> {
    let name = metric.name();
    let tag = Some(Arc::new(Tag { path: format!("metric {name}").into(), site: None }));
    let [prediction, target] = [batch.prediction, batch.target].map(|tensor| tensor.with_tag(tag.clone()));
    let measured = Measured { prediction: &prediction, target: &target, probabilities: batch.probabilities };
    let kept = metric.keep(&measured);
    if let Some(error) = kept.iter().find_map(Tensor::error) {
        return Err(error);
    }
    if over == Use::Train && !kept.is_empty() {
        return Ok(None);
    }
    let kept = kept.into_iter().enumerate();
    let kept = kept.map(|(index, tensor)| (format!("kept.{name}.{index}"), tensor)).collect();
    let sums = metric.update(&measured);
    let mut states = Vec::new();
    for (index, sum) in sums.iter().enumerate() {
        let sum = of_known_type(&name, sum);
        if let Some(error) = sum.error() {
            return Err(error);
        }
        let base = format!("metric.{}.{name}.{index}", over.name());
        let state =
            SumState { sum: format!("{base}.sum"), rest: format!("{base}.rest"), elements: sum.elements() };
        let port = |name: &str| scope.state_of(name, over.kind(), sum.ty().clone(), Init::constant(0.0));
        let (total, rest) = (port(&state.sum), port(&state.rest));
        let (new_total, new_rest) = add(&total, &rest, &sum);
        scope.write_state(&total, &new_total);
        scope.write_state(&rest, &new_rest);
        states.push(state);
    }
    Ok(Some(Slot { metric: metric.clone(), states, kept }))
}

/// The sum as u32, for counts, or f32.
fn of_known_type(name: &str, sum: &Tensor) -> Tensor {
    match sum.dtype() {
        DType::U32 | DType::F32 => sum.clone(),
        DType::I32 => sum.cast(DType::U32),
        DType::F16 | DType::BF16 => sum.cast(DType::F32),
        other => fail(name, format!("a sum must be of counts (i32) or floats, got {other}"), &[sum]),
    }
}

/// Adds a batch. Counts carry over into their rest; what rounding takes from a sum of floats goes into its rest
/// (Knuth's exact sum of two), so that millions of batches add up as they would in f64.
fn add(total: &Tensor, rest: &Tensor, batch: &Tensor) -> (Tensor, Tensor) {
    let sum = total + batch;
    if batch.dtype() == DType::U32 {
        let carry = sum.lt(total).cast(DType::U32);
        return (sum, rest + carry);
    }
    let moved = &sum - total;
    let lost = (total - (&sum - &moved)) + (batch - moved);
    let rest = rest + lost;
    // What has gathered in the rest goes back into the sum, so that the rest stays small and is itself exact.
    let whole = &sum + &rest;
    let left = rest - (&whole - &sum);
    (whole, left)
}

/// The numbers of an array.
pub(crate) fn numbers(array: &Array) -> Vec<f64> {
    match array.data() {
        Data::F32(values) => values.iter().map(|&value| f64::from(value)).collect(),
        Data::F16(values) => values.iter().map(|value| f64::from(value.to_f32())).collect(),
        Data::BF16(values) => values.iter().map(|value| f64::from(value.to_f32())).collect(),
        Data::I32(values) => values.iter().map(|&value| f64::from(value)).collect(),
        Data::U32(values) => values.iter().map(|&value| f64::from(value)).collect(),
        Data::U8(values) | Data::Bool(values) => values.iter().map(|&value| f64::from(value)).collect(),
    }
}

impl SumState {
    /// The sum, from what the two states hold.
    pub fn value(sum: &Array, rest: &Array) -> Vec<f64> {
        const CARRY: f64 = 4_294_967_296.0;
        match (sum.data(), rest.data()) {
            (Data::U32(sum), Data::U32(rest)) => {
                sum.iter().zip(rest).map(|(&sum, &rest)| f64::from(sum) + f64::from(rest) * CARRY).collect()
            }
            (Data::F32(sum), Data::F32(rest)) => {
                sum.iter().zip(rest).map(|(&sum, &rest)| f64::from(sum) + f64::from(rest)).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// The mean loss over the samples, which every step measures: sums of the losses times the samples, and of the samples.
pub(crate) struct MeanLoss {
    pub samples: usize,
    /// Whether losses that are no numbers count for nothing: trials of a line search, which are taken back.
    pub skips: bool,
}

impl Metric for MeanLoss {
    fn name(&self) -> String {
        "loss".into()
    }

    fn update(&self, batch: &Measured<'_>) -> Vec<Tensor> {
        let samples = count(self.samples);
        let sum = batch.prediction * self.samples as f32;
        if !self.skips {
            return vec![sum, samples];
        }
        let counts = batch.prediction.abs().le(f32::MAX);
        vec![Tensor::select(&counts, sum, 0.0), Tensor::select(&counts, samples, 0.0)]
    }

    fn compute(&self, sums: &[Vec<f64>]) -> Figures {
        Figures::number("loss", sums[0][0] / sums[1][0])
    }
}
