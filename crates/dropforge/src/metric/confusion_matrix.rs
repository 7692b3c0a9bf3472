//! The confusion matrix.

use super::form::Form;
use super::{Better, Figure, Figures, Measured, Metric, Unit};
use crate::settings::{Described, Table};
use crate::tensor::Tensor;
use crate::{Result, described};
use dropforge_ir::DType;

/// How often each class was taken for each. See [`confusion_matrix`].
#[derive(Clone, Copy, Debug, Default)]
pub struct ConfusionMatrix {}

/// How often each class was taken for each, over all predictions of scores `[batch, classes, ..]` for class indices i32
/// `[batch, ..]`, or of one logit (no and yes) for each target.
///
/// Its own number, `confusion_matrix`, is the mean over the classes that occur of the share that was recognised
/// (scikit-learn's `balanced_accuracy_score`, as [`balanced_accuracy`](super::balanced_accuracy)), which lines of text
/// leave out; `confusion_T_P` counts the samples of class T that were taken for P.
///
/// ```
/// use dropforge::metric::confusion_matrix;
/// use dropforge::prelude::*;
/// use dropforge::step::Meter;
/// use std::sync::Arc;
///
/// let mut meter = Meter::new(cross_entropy()).metrics([Arc::new(confusion_matrix()) as _]);
/// meter.add(&Tensor::from([[9.0, 0.0], [9.0, 0.0], [0.0, 9.0]]), &Tensor::from([0, 1, 1]), 3)?;
/// let measured = meter.finish();
/// assert_eq!((measured.get("confusion_1_0"), measured.get("confusion_matrix")), (Some(1.0), Some(0.75)));
/// # Ok::<(), dropforge::Error>(())
/// ```
pub fn confusion_matrix() -> ConfusionMatrix {
    ConfusionMatrix {}
}

impl Metric for ConfusionMatrix {
    fn name(&self) -> String {
        Self::NAME.into()
    }

    fn update(&self, batch: &Measured<'_>) -> Vec<Tensor> {
        // Sums of at most so many ones as there are positions in a batch: exact in f32.
        let counts = |said: Tensor, truth: Tensor, classes: usize| {
            truth.one_hot(classes).t().matmul(&said.one_hot(classes)).cast(DType::I32)
        };
        match Form::read(Self::NAME, batch) {
            Ok(Form::Classes { scores, target, classes }) => vec![counts(scores.argmax(1), target, classes)],
            Ok(Form::Binary { logit, target, threshold }) => {
                vec![counts(logit.gt(threshold).cast(DType::I32), target.cast(DType::I32), 2)]
            }
            Err(failed) => vec![failed],
        }
    }

    fn compute(&self, sums: &[Vec<f64>]) -> Figures {
        let counts: &[f64] = sums.first().map_or(&[], Vec::as_slice);
        let classes = counts.len().isqrt();
        let rows: Vec<&[f64]> = counts.chunks(classes.max(1)).collect();
        let recognised = rows.iter().enumerate().filter_map(|(class, row)| {
            let all: f64 = row.iter().sum();
            (all > 0.0).then(|| row.get(class).copied().unwrap_or(0.0) / all)
        });
        let (sum, found) = recognised.fold((0.0, 0.0), |(sum, found), share| (sum + share, found + 1.0));
        let cells = rows.iter().enumerate().flat_map(|(truth, row)| {
            row.iter()
                .enumerate()
                .map(move |(said, count)| Figures::detail(format!("confusion_{truth}_{said}"), *count))
        });
        // A matrix is no percentage: the number is there to compare by, lines of text leave it out.
        let own = Figure { name: self.name(), value: sum / found, unit: Unit::Detail, better: self.better() };
        cells.fold(Figures::of(own), Figures::and)
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
    ConfusionMatrix = "confusion_matrix", "how often each class was taken for each, and the balanced accuracy";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are scikit-learn's `confusion_matrix` and `balanced_accuracy_score`.
    #[test]
    fn counts_and_balance() {
        let truth = Tensor::from_vec(vec![2, 0, 2, 2, 0, 1], [6]);
        let said = [0, 0, 2, 2, 0, 2];
        let scores = said.iter().flat_map(|&class| (0..4).map(move |i| f32::from(i == class))).collect();
        let scores = Tensor::from_vec(scores, [6, 4]);
        let metric = confusion_matrix();
        let counts = metric.update(&Measured::new(&scores, &truth));
        let counts: Vec<i32> = counts[0].to_vec().unwrap();
        assert_eq!(counts, [2, 0, 0, 0, 0, 0, 1, 0, 1, 0, 2, 0, 0, 0, 0, 0]);
        let values = metric.compute(&[counts.iter().map(|&count| f64::from(count)).collect()]);
        assert_eq!(values.get("confusion_matrix"), Some((1.0 + 0.0 + 2.0 / 3.0) / 3.0));
        assert_eq!((values.get("confusion_1_2"), values.get("confusion_2_0")), (Some(1.0), Some(1.0)));
        assert_eq!(
            (values.to_string().as_str(), values.find("confusion_matrix").unwrap().better),
            ("", Some(Better::Higher))
        );
        let wrong = metric.update(&Measured::new(&truth, &truth));
        assert!(wrong[0].error().is_some());
    }

    #[test]
    fn no_sample_has_no_balance() {
        let values = confusion_matrix().compute(&[vec![0.0; 4]]);
        assert!(values.get("confusion_matrix").unwrap().is_nan());
    }
}
