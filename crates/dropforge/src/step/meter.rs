//! Measuring predictions that come from anywhere.

use super::build::restored;
use super::evaluation::Evaluation;
use crate::error::Result;
use crate::loss::{self, Loss};
use crate::metric::{Figures, Measured, Metric, check_labels, finish, numbers, usual};
use crate::tensor::{Runtime, Tensor};
use dropforge_data::Normalization;
use dropforge_ir::DType;
use std::sync::Arc;
use std::time::Instant;

/// The sums of a metric over all batches so far, one list for each tensor of its update, and then what it keeps.
type Sums = Vec<Vec<f64>>;

/// Loss and metrics of predictions that are there already, whatever made them: a compiled step measures inside its own
/// program, see [`Network::start_evaluation`](super::Network::start_evaluation).
///
/// ```
/// use dropforge::prelude::*;
/// use dropforge::step::Meter;
///
/// let mut meter = Meter::new(cross_entropy());
/// meter.add(&Tensor::from([[9.0, 0.0], [9.0, 0.0]]), &Tensor::from([0, 1]), 2)?;
/// meter.add(&Tensor::from([[0.0, 9.0]]), &Tensor::from([1]), 1)?;
/// assert_eq!(meter.finish().metrics.get("accuracy"), Some(2.0 / 3.0));
/// # Ok::<(), dropforge::Error>(())
/// ```
pub struct Meter {
    loss: Box<dyn Loss>,
    /// The metrics that were chosen; `None` for the usual ones.
    chosen: Option<Vec<Arc<dyn Metric>>>,
    metrics: Vec<(Arc<dyn Metric>, Sums)>,
    loss_sum: f64,
    samples: u64,
    started: Instant,
    units: Option<Normalization>,
    probabilities: bool,
}

impl Meter {
    /// Of this loss, and the metrics that suit the first batch.
    pub fn new(loss: impl Loss + 'static) -> Meter {
        Meter {
            loss: Box::new(loss),
            chosen: None,
            metrics: Vec::new(),
            loss_sum: 0.0,
            samples: 0,
            started: Instant::now(),
            units: None,
            probabilities: false,
        }
    }

    /// Says that the predictions are probabilities, from 0 to 1, for metrics that would take them for scores. Default:
    /// only what a softmax or a sigmoid has made counts as such.
    #[must_use]
    pub fn probabilities(mut self) -> Meter {
        self.probabilities = true;
        self
    }

    /// Measures these metrics and no others.
    #[must_use]
    pub fn metrics(mut self, metrics: impl IntoIterator<Item = Arc<dyn Metric>>) -> Meter {
        self.chosen = Some(metrics.into_iter().collect());
        self
    }

    /// By what predictions and targets were standardised: metrics, though not the loss, are then in the units of the
    /// raw targets. Default: they were not.
    #[must_use]
    pub fn units(mut self, units: Normalization) -> Meter {
        self.units = Some(units);
        self
    }

    /// Adds a batch of so many samples.
    ///
    /// # Errors
    /// Prediction and target do not fit the loss or a metric, or the device fails.
    pub fn add(&mut self, prediction: &Tensor, target: &Tensor, samples: usize) -> Result<()> {
        if self.samples == 0 {
            let metrics = self.chosen.clone().unwrap_or_else(|| usual(prediction, target));
            self.metrics = metrics.into_iter().map(|metric| (metric, Vec::new())).collect();
        }
        let loss = loss::of(&*self.loss, prediction, target);
        let restored = self.units.as_ref().and_then(|units| restored(units, prediction, target));
        let (prediction, target) =
            restored.as_ref().map_or((prediction, target), |[prediction, target]| (prediction, target));
        if target.dtype() == DType::F32 && self.metrics.iter().any(|(metric, _)| metric.takes_labels()) {
            let metrics = self.metrics.iter().map(|(metric, _)| &**metric);
            check_labels(metrics, self.loss.targets(), &target.to_array()?, samples)?;
        }
        let mut measured = Measured::new(prediction, target);
        measured.probabilities |= self.probabilities;
        let sums = self.metrics.iter().map(|(metric, _)| (metric.update(&measured), metric.keep(&measured)));
        let sums: Vec<(Vec<Tensor>, Vec<Tensor>)> = sums.collect();
        // All in one program.
        let each = sums.iter().flat_map(|(sums, kept)| sums.iter().chain(kept));
        let all: Vec<&Tensor> = std::iter::once(&loss).chain(each).collect();
        Runtime::evaluate_somewhere(&all)?;
        self.loss_sum += f64::from(loss.item::<f32>()?) * samples as f64;
        self.samples += samples as u64;
        for ((_, total), (sums, kept)) in self.metrics.iter_mut().zip(&sums) {
            total.resize(sums.len() + kept.len(), Vec::new());
            let (of_sums, of_kept) = total.split_at_mut(sums.len());
            for (total, sum) in of_sums.iter_mut().zip(sums) {
                let sum = numbers(&sum.to_array()?);
                total.resize(sum.len(), 0.0);
                total.iter_mut().zip(sum).for_each(|(total, number)| *total += number);
            }
            for (all, kept) in of_kept.iter_mut().zip(kept) {
                all.extend(numbers(&kept.to_array()?));
            }
        }
        Ok(())
    }

    /// The figures over all batches so far.
    pub fn finish(&self) -> Evaluation {
        let mut metrics = Figures::default();
        for (metric, sums) in &self.metrics {
            metrics = metrics.and(finish(&**metric, sums));
        }
        Evaluation {
            loss: self.loss_sum / self.samples as f64,
            samples: self.samples,
            seconds: self.started.elapsed().as_secs_f64(),
            metrics,
        }
    }
}
