//! Metrics for which the order of all scores counts: areas under curves.

use super::form::Form;
use super::{Better, Figures, Measured, Metric, count, curves};
use crate::settings::{Described, Range, Table};
use crate::tensor::Tensor;
use crate::{Result, described};
use dropforge_ir::DType;

/// Scores and targets of a batch, to be kept: `[positions, classes]` or one logit each, and `[positions]`.
pub(super) fn kept(metric: &str, batch: &Measured<'_>) -> Vec<Tensor> {
    match Form::read(metric, batch) {
        // One number more for each batch says that no softmax is to be taken.
        Ok(Form::Classes { scores, target, .. }) if batch.probabilities => vec![scores, target, count(1)],
        Ok(Form::Classes { scores, target, .. }) => vec![scores, target],
        Ok(Form::Binary { logit, target, .. }) => vec![logit, target.cast(DType::I32)],
        Err(failed) => vec![failed],
    }
}

/// For each class its scores, with whether each position is of the class; one logit is the class of a yes alone.
///
/// Scores of several classes become probabilities by softmax unless they are, so that those of different samples can be
/// compared. Of two classes the second alone counts, of more those that occur.
fn one_against_others(kept: &[Vec<f64>], probabilities: bool) -> Vec<(Vec<f64>, Vec<bool>)> {
    let [scores, targets, said @ ..] = kept else { return Vec::new() };
    let probabilities = probabilities || !said.is_empty();
    let classes = scores.len() / targets.len().max(1);
    if classes < 2 {
        return vec![(scores.clone(), targets.iter().map(|&target| target > 0.0).collect())];
    }
    let mut scores = scores.clone();
    if !probabilities {
        scores.chunks_mut(classes).for_each(softmax);
    }
    let of = |class: usize| {
        let own = scores.iter().skip(class).step_by(classes).copied().collect();
        (own, targets.iter().map(|&target| target == class as f64).collect())
    };
    if classes == 2 {
        return vec![of(1)];
    }
    (0..classes).map(of).filter(|(_, positive)| positive.contains(&true)).collect()
}

/// Scores as probabilities.
pub(super) fn softmax(row: &mut [f64]) {
    let highest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    row.iter_mut().for_each(|score| *score = (*score - highest).exp());
    let sum: f64 = row.iter().sum();
    row.iter_mut().for_each(|score| *score /= sum);
}

/// The mean of what is a number.
fn mean(numbers: impl Iterator<Item = f64>) -> f64 {
    let (sum, all) = numbers
        .filter(|number| !number.is_nan())
        .fold((0.0, 0.0), |(sum, all), number| (sum + number, all + 1.0));
    sum / all
}

macro_rules! ranking_metric {
    ($(
        $(#[$doc:meta])*
        $type:ident, $function:ident, $name:literal, $help:literal
            $(like $twin:literal $(but $differs:literal)?)?, $of:expr;
    )*) => {$(
        #[doc = concat!("The metric of [`", stringify!($function), "`].")]
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $type {
            probabilities: bool,
        }

        $(#[$doc])*
        ///
        /// All scores are [kept](Metric::keep), 8 bytes for each score and each target on the host, so that it is
        /// exact; it is measured in evaluations, not over training steps.
        pub fn $function() -> $type {
            $type::default()
        }

        impl $type {
            /// Says that the network gives probabilities, of which no softmax is taken.
            #[must_use]
            pub fn probabilities(mut self) -> $type {
                self.probabilities = true;
                self
            }
        }

        impl Metric for $type {
            fn name(&self) -> String {
                $name.into()
            }

            fn update(&self, _: &Measured<'_>) -> Vec<Tensor> {
                Vec::new()
            }

            fn keep(&self, batch: &Measured<'_>) -> Vec<Tensor> {
                kept($name, batch)
            }

            fn compute(&self, kept: &[Vec<f64>]) -> Figures {
                let of: fn(&[f64], &[bool]) -> f64 = $of;
                let classes = one_against_others(kept, self.probabilities);
                Figures::number($name, mean(classes.iter().map(|(scores, positive)| of(scores, positive))))
            }

            fn better(&self) -> Option<Better> {
                Some(Better::Higher)
            }

            fn takes_labels(&self) -> bool {
                true
            }

            fn config(&self) -> Result<Table> {
                self.write_named()
            }
        }

        described! {
            $type = $name, $help $(like $twin $(but $differs)?)?;
            probabilities: bool, Some(false), Range::ANY, "whether the network gives probabilities, also where its last layer does not show it";
        }
    )*};
}
ranking_metric! {
    /// The area under the ROC curve: scikit-learn's `roc_auc_score`, of several classes each against the others
    /// (`multi_class="ovr"`, the mean over those that occur and are not all). NaN where there is one class only.
    Auc, auc, "auc", "the area under the ROC curve",
        curves::roc_auc;
    /// The area under the curve of precision over recall: scikit-learn's `average_precision_score`; of several classes
    /// each against the others, the mean over those that occur.
    AveragePrecision, average_precision, "average_precision", "the area under the curve of precision over recall",
        curves::average_precision;
}
