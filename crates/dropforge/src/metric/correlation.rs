//! How far predictions follow their targets: R² and correlations.

use super::errors::alike;
use super::{Better, Figures, Measured, Metric, count};
use crate::settings::{Described, Table};
use crate::tensor::Tensor;
use crate::{Result, described};

/// Predictions and targets of one output.
type Column = (Vec<f64>, Vec<f64>);

/// The outputs apart, from the number of samples, the predictions and the targets.
fn columns(kept: &[Vec<f64>]) -> Vec<Column> {
    let [samples, predictions, targets] = kept else { return Vec::new() };
    let samples = samples.first().map_or(0, |&samples| samples as usize);
    if samples == 0 {
        return Vec::new();
    }
    let outputs = targets.len() / samples;
    let column = |of: &[f64], output: usize| of.iter().skip(output).step_by(outputs).copied().collect();
    (0..outputs).map(|output| (column(predictions, output), column(targets, output))).collect()
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len() as f64
}

/// The coefficient of determination; 1 or 0 where the target never varies, as scikit-learn has it.
fn determination((predictions, targets): &Column) -> f64 {
    if targets.len() < 2 {
        return f64::NAN;
    }
    let middle = mean(targets);
    let left: f64 = predictions.iter().zip(targets).map(|(y, t)| (y - t).powi(2)).sum();
    let whole: f64 = targets.iter().map(|t| (t - middle).powi(2)).sum();
    match (left == 0.0, whole == 0.0) {
        (true, true) => 1.0,
        (false, true) => 0.0,
        _ => 1.0 - left / whole,
    }
}

fn pearson((a, b): &Column) -> f64 {
    let (of_a, of_b) = (mean(a), mean(b));
    let (mut together, mut squares_a, mut squares_b) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a - of_a, b - of_b);
        together += a * b;
        squares_a += a * a;
        squares_b += b * b;
    }
    (together / (squares_a.sqrt() * squares_b.sqrt())).clamp(-1.0, 1.0)
}

/// The place of each number in their order, from 1; equal ones share the mean of theirs.
fn ranks(numbers: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    order.sort_by(|&a, &b| numbers[a].total_cmp(&numbers[b]));
    let mut ranks = vec![0.0; numbers.len()];
    let mut start = 0;
    for alike in order.chunk_by(|&a, &b| numbers[a] == numbers[b]) {
        let rank = start as f64 + (alike.len() as f64 + 1.0) / 2.0;
        alike.iter().for_each(|&index| ranks[index] = rank);
        start += alike.len();
    }
    ranks
}

fn spearman((a, b): &Column) -> f64 {
    pearson(&(ranks(a), ranks(b)))
}

macro_rules! following_metric {
    ($(
        $(#[$doc:meta])*
        $type:ident, $function:ident, $name:literal, $help:literal
            $(like $twin:literal $(but $differs:literal)?)?, $of:expr;
    )*) => {$(
        #[doc = concat!("The metric of [`", stringify!($function), "`].")]
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $type {}

        $(#[$doc])*
        ///
        /// The mean over the outputs of a sample. All numbers are [kept](Metric::keep), 16 bytes for each target on the
        /// host, so that it is exact however far the targets are from 0; it is measured in evaluations, not over
        /// training steps.
        pub fn $function() -> $type {
            $type {}
        }

        impl Metric for $type {
            fn name(&self) -> String {
                $name.into()
            }

            fn update(&self, batch: &Measured<'_>) -> Vec<Tensor> {
                vec![count(batch.target.shape().iter().next().copied().unwrap_or(1))]
            }

            fn keep(&self, batch: &Measured<'_>) -> Vec<Tensor> {
                match alike($name, batch) {
                    Ok(both) => both.into(),
                    Err(failed) => vec![failed],
                }
            }

            fn compute(&self, kept: &[Vec<f64>]) -> Figures {
                let columns = columns(kept);
                let each: Vec<f64> = columns.iter().map($of).collect();
                Figures::number($name, mean(&each))
            }

            fn better(&self) -> Option<Better> {
                Some(Better::Higher)
            }

            fn config(&self) -> Result<Table> {
                self.write_named()
            }
        }

        described! {
            $type = $name, $help $(like $twin $(but $differs)?)?;
        }
    )*};
}
following_metric! {
    /// Pearson's correlation of predictions and targets. NaN where one of them never varies.
    Pearson, pearson_correlation, "pearson", "the correlation of predictions and targets", pearson;
    /// R², the coefficient of determination: 1 - Σ(y - t)² / Σ(t - mean t)². scikit-learn's `r2_score`. Where targets
    /// never vary it is 1 if all predictions are right, else 0; NaN for fewer than two samples.
    R2, r2, "r2", "the coefficient of determination", determination;
    /// Spearman's correlation: Pearson's of the ranks, equal numbers sharing theirs. NaN where one of both never
    /// varies.
    Spearman, spearman_correlation, "spearman", "the correlation of the ranks of predictions and targets", spearman;
}
