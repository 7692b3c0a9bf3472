//! Metrics: what a network is worth in numbers that people read, computed inside the compiled step.

mod accuracy;
mod average;
mod class_counts;
mod confusion_matrix;
mod correlation;
mod curves;
mod errors;
mod figures;
mod form;
mod probability;
mod ranking;
mod ratio;
mod sums;
mod text;
mod top_k;

pub use accuracy::{Accuracy, accuracy};
pub use average::Average;
pub use class_counts::{
    BalancedAccuracy, F1, Kappa, Mcc, Precision, Recall, Specificity, balanced_accuracy, f1, kappa, mcc,
    precision, recall, specificity,
};
pub use confusion_matrix::{ConfusionMatrix, confusion_matrix};
pub use correlation::{Pearson, R2, Spearman, pearson_correlation, r2, spearman_correlation};
pub use curves::{
    PrecisionRecallPoint, RocPoint, average_precision as average_precision_of, precision_recall_curve,
    roc_auc, roc_curve,
};
pub use errors::{
    MeanAbsoluteError, MeanOfSquares, MeanPercentageError, RootMeanOfSquares, mean_absolute_error,
    mean_of_squares, mean_percentage_error, root_mean_of_squares,
};
pub use figures::{Better, Figure, Figures, Unit};
pub use probability::{Brier, CalibrationError, LogLoss, brier, calibration_error, log_loss};
pub use ranking::{Auc, AveragePrecision, auc, average_precision};
pub use ratio::{Ratio, mean, ratio};
pub use text::{Perplexity, TokenAccuracy, perplexity, token_accuracy};
pub use top_k::{TopK, top_k};

pub(crate) use sums::{MeanLoss, Slot, SumState, Use, measured_by, numbers, trace};

use crate::loss::{Targets, first_no_label};
use crate::settings::Table;
use crate::tensor::Tensor;
use crate::{Error, Result};
use dropforge_ir::{Array, DType, Literal};
use std::sync::Arc;

/// What a metric is computed from: the tensors of one batch while a step is traced.
pub struct Measured<'a> {
    /// What the network gives.
    pub prediction: &'a Tensor,
    /// What it should give.
    pub target: &'a Tensor,
    /// Whether what the network gives are probabilities, from 0 to 1, and not scores: a sigmoid or a softmax has made
    /// them, or the loss takes them so.
    pub probabilities: bool,
}

impl<'a> Measured<'a> {
    /// Of these; what the prediction is made of tells whether it is probabilities. Of classes that exclude one another
    /// a softmax makes such, and no sigmoid.
    pub fn new(prediction: &'a Tensor, target: &'a Tensor) -> Measured<'a> {
        let exclusive = class_count(prediction, target).is_some_and(|classes| classes > 1);
        let probabilities = prediction.ending().is_some_and(|ending| ending.gives_probabilities(exclusive));
        Measured { prediction, target, probabilities }
    }
}

/// A number, or several, about predictions and targets, exact over all batches of an epoch whatever the size of the
/// last.
///
/// It has two parts, or three. [`Metric::update`] is traced into the step: it gives sums over the samples of one batch,
/// which the step adds up in states on the device, so that nothing is read while training. [`Metric::compute`] makes
/// numbers of the sums on the host, when somebody asks. What is to add up over batches must be a sum, so not a mean:
/// give its numerator and denominator. What no sum can tell, [`Metric::keep`] keeps.
///
/// ```
/// use dropforge::metric::{Measured, Metric, Figures};
/// use dropforge::prelude::*;
///
/// /// The share of predictions that are off by less than a tolerance.
/// struct Within(f32);
///
/// impl Metric for Within {
///     fn name(&self) -> String {
///         format!("within_{}", self.0)
///     }
///
///     fn update(&self, batch: &Measured<'_>) -> Vec<Tensor> {
///         let hits = (batch.prediction - batch.target).abs().lt(self.0).cast(DType::I32);
///         vec![hits.sum(..), Tensor::ones_like(&hits).sum(..)]
///     }
///
///     fn compute(&self, sums: &[Vec<f64>]) -> Figures {
///         Figures::share(self.name(), sums[0][0] / sums[1][0])
///     }
/// }
///
/// let (x, y) = (Tensor::from([[0.0], [1.0], [2.0]]), Tensor::from([[0.0], [0.1], [9.0]]));
/// let task = StepBuilder::new(dense(1), mse(), Sgd::new(0.1)).metric(Within(0.5));
/// let mut step = task.compile_for((&x, &y))?;
/// for name in ["weight", "bias"] {
///     let zeros = Array::zeros(&step.states().read(name)?.ty());
///     step.states().write(name, &zeros)?;
/// }
/// let measured = step.evaluate((&x, &y))?;
/// assert_eq!(measured.metrics.get("within_0.5"), Some(2.0 / 3.0));
/// # Ok::<(), dropforge::Error>(())
/// ```
pub trait Metric: Send + Sync {
    /// What reports call it: a word such as `accuracy`, which must differ from those of other metrics beside it.
    fn name(&self) -> String;

    /// Sums over the samples of a batch, of any shape, which must not depend on the batch size: i32 or u32 for counts,
    /// which must not be negative, else floats. Poisoned tensors are reported by the call that compiles the step.
    fn update(&self, batch: &Measured<'_>) -> Vec<Tensor>;

    /// What has to be kept of every sample, where sums do not tell: scores whose order counts. Numbers of any shape,
    /// floats or integers.
    ///
    /// The host gathers them over an evaluation, 8 bytes for each number. Over training steps, of which nothing is
    /// read, a metric that keeps something is not measured.
    fn keep(&self, _batch: &Measured<'_>) -> Vec<Tensor> {
        Vec::new()
    }

    /// The numbers that follow from the sums over all batches, each row-major, in the order of [`Metric::update`], and
    /// then from what was kept of them, one batch after another, in the order of [`Metric::keep`]. The first is the
    /// metric's own.
    fn compute(&self, sums: &[Vec<f64>]) -> Figures;

    /// Which of two of its numbers is the better one, so that whoever [watches](crate::train::Monitor) it need not say.
    /// Default: it is not known.
    fn better(&self) -> Option<Better> {
        None
    }

    /// Whether it is about classes, so that targets that are floats must each say yes (1) or no (0, or −1): steps
    /// refuse others, unless the loss is one of probabilities. Default `false`.
    fn takes_labels(&self) -> bool {
        false
    }

    /// Whether [`Metric::compute`] is the quotient of two sums of one number each and nothing more. A run holds the
    /// traced part of every metric; of those that are no quotient and that no file can name, whoever opens the run has
    /// to bring the rest along. Default `false`.
    fn is_quotient(&self) -> bool {
        false
    }

    /// Name and settings of the metric as a file has them.
    ///
    /// # Errors
    /// The metric cannot be written down.
    fn config(&self) -> Result<Table> {
        Err(Error::setting(format!(
            "a metric made by a program ({}) cannot be written to a file",
            self.name()
        )))
    }
}

macro_rules! pointer_metric {
    ($($type:ty),*) => {$(
        impl Metric for $type {
            fn name(&self) -> String {
                (**self).name()
            }

            fn update(&self, batch: &Measured<'_>) -> Vec<Tensor> {
                (**self).update(batch)
            }

            fn keep(&self, batch: &Measured<'_>) -> Vec<Tensor> {
                (**self).keep(batch)
            }

            fn compute(&self, sums: &[Vec<f64>]) -> Figures {
                (**self).compute(sums)
            }

            fn better(&self) -> Option<Better> {
                (**self).better()
            }

            fn takes_labels(&self) -> bool {
                (**self).takes_labels()
            }

            fn is_quotient(&self) -> bool {
                (**self).is_quotient()
            }

            fn config(&self) -> Result<Table> {
                (**self).config()
            }
        }
    )*};
}
pointer_metric!(Box<dyn Metric>, Arc<dyn Metric>);

/// Refuses targets that say neither yes nor no where a metric of classes is measured; `targets` is what the loss needs.
pub(crate) fn check_labels<'a>(
    metrics: impl IntoIterator<Item = &'a dyn Metric>,
    targets: Targets,
    values: &Array,
    samples: usize,
) -> Result<()> {
    if targets.say_yes_or_no() {
        return Ok(());
    }
    let Some(metric) = metrics.into_iter().find(|metric| metric.takes_labels()) else { return Ok(()) };
    let Some((position, value)) = first_no_label(values) else { return Ok(()) };
    let sample = position / (values.data().len() / samples.max(1)).max(1);
    Err(Error::data(format!(
        "the target of sample {sample} is {value}, and the metric {} is about classes: it needs class indices i32, or targets of 1 \
         (yes) and 0 or -1 (no); for numbers there are mae, rmse, r2 and others",
        metric.name()
    )))
}

/// The numbers of a metric from its sums, with what it says of which are better.
pub(crate) fn finish(metric: &dyn Metric, sums: &[Vec<f64>]) -> Figures {
    metric.compute(sums).judged(metric.better())
}

/// What is measured of predictions and targets like these where nobody has chosen: accuracy where one class is to be
/// told from others, else nothing beside the loss.
pub(crate) fn usual(prediction: &Tensor, target: &Tensor) -> Vec<Arc<dyn Metric>> {
    match class_count(prediction, target) {
        Some(_) => vec![Arc::new(accuracy())],
        None => Vec::new(),
    }
}

/// The number of classes, if the targets are class indices for the scores of the prediction along axis 1.
pub(crate) fn class_count(prediction: &Tensor, target: &Tensor) -> Option<usize> {
    let fits = target.dtype() == DType::I32
        && prediction.dtype().is_float()
        && prediction.rank() >= 2
        && prediction.shape().without(&[1]) == *target.shape();
    fits.then(|| prediction.shape()[1]).filter(|&classes| classes > 0)
}

/// The first of two sums over the second, each of one number; NaN where they are not there, as in a run that is
/// damaged.
fn quotient(sums: &[Vec<f64>]) -> f64 {
    match sums {
        [above, below, ..] if !above.is_empty() && !below.is_empty() => above[0] / below[0],
        _ => f64::NAN,
    }
}

/// A count that is known when a step is traced, as i32.
fn count(count: usize) -> Tensor {
    crate::tensor::node::constant(Literal::scalar(DType::I32, count as f64), None)
}
