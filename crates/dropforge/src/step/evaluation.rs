//! What a network is worth on some data.

use super::batch::Batch;
use super::input::Inputs;
use super::network::Network;
use crate::error::Result;
use crate::metric::Figures;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Instant;

/// What a network is worth on some data. [`Display`](fmt::Display) gives one line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// Mean loss over the samples; NaN without samples.
    pub loss: f64,
    /// How many samples there were.
    pub samples: u64,
    /// Seconds it took.
    pub seconds: f64,
    /// The metrics over all samples, by name.
    #[serde(default)]
    pub metrics: Figures,
}

impl Evaluation {
    /// Samples per second.
    pub fn samples_per_s(&self) -> f64 {
        if self.seconds > 0.0 { self.samples as f64 / self.seconds } else { 0.0 }
    }

    /// The loss, under the name `loss`, or a metric.
    pub fn get(&self, name: &str) -> Option<f64> {
        if name == "loss" { Some(self.loss) } else { self.metrics.get(name) }
    }
}

/// A loss and the metrics beside it.
pub(crate) struct Quality<'a>(pub f64, pub &'a Figures);

impl fmt::Display for Quality<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "loss {:.4}", self.0)?;
        if self.1.shown().next().is_none() { Ok(()) } else { write!(f, ", {}", self.1) }
    }
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {} samples", Quality(self.loss, &self.metrics), self.samples)
    }
}

impl Network {
    /// Loss and metrics of one batch: nothing is random, and nothing of the network is written.
    ///
    /// # Errors
    /// If the batch does not fit, a class is out of range, the network was compiled without a loss, or the device
    /// fails.
    pub fn evaluate(&mut self, batch: impl Into<Batch>) -> Result<Evaluation> {
        self.start_evaluation()?.add(batch)?.finish()
    }

    /// Measures the network on as many batches as are added: the means are over all samples, however the batches are
    /// cut.
    ///
    /// ```
    /// use dropforge::prelude::*;
    ///
    /// let (x, y) = (Tensor::from([[0.0], [1.0], [2.0]]), Tensor::from([[1.0], [3.0], [5.0]]));
    /// let mut step = compile(dense(1), mse(), Sgd::new(0.1), (&x, &y))?;
    /// let whole = step.evaluate((&x, &y))?;
    /// let mut parts = step.start_evaluation()?;
    /// parts.add((x.slice(0, ..2), y.slice(0, ..2)))?;
    /// parts.add((x.slice(0, 2..), y.slice(0, 2..)))?;
    /// assert!((parts.finish()?.loss - whole.loss).abs() < 1e-6);
    /// # Ok::<(), dropforge::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the device fails.
    pub fn start_evaluation(&mut self) -> Result<Evaluating<'_>> {
        self.clear_evaluation()?;
        Ok(Evaluating { network: self, started: Instant::now() })
    }
}

/// An evaluation in progress: see [`Network::start_evaluation`].
pub struct Evaluating<'a> {
    network: &'a mut Network,
    started: Instant,
}

impl Evaluating<'_> {
    /// Measures one more batch.
    ///
    /// # Errors
    /// As [`Network::evaluate`].
    pub fn add(&mut self, batch: impl Into<Batch>) -> Result<&mut Self> {
        self.network.measure(&batch.into())?;
        Ok(self)
    }

    /// As [`Evaluating::add`], of a batch whose memory goes back to its loader.
    pub(crate) fn add_given(&mut self, batch: &impl Inputs) -> Result<()> {
        self.network.measure(batch)
    }

    /// The figures over all batches so far.
    ///
    /// # Errors
    /// If the device fails.
    pub fn finish(&mut self) -> Result<Evaluation> {
        let measured = self.network.evaluation()?;
        Ok(Evaluation { seconds: self.started.elapsed().as_secs_f64(), ..measured })
    }
}
