//! Accuracy.

use super::form::Form;
use super::{Better, Figures, Measured, Metric, count, quotient};
use crate::settings::{Described, Table};
use crate::tensor::Tensor;
use crate::{Result, described};
use dropforge_ir::DType;

/// The share of right predictions. See [`accuracy`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Accuracy {}

/// The share of right predictions, from 0 to 1.
///
/// Of scores `[batch, classes, ..]` the class with the highest is predicted, and compared with class indices i32
/// `[batch, ..]`. Where prediction and target have one shape, the prediction is the logit of a yes: above 0 says yes
/// (above 0.5 where the network ends in a sigmoid, or the loss takes probabilities), as does a target above 0.5, or an
/// integer that is not 0. Every target counts, so several for each sample.
///
/// ```
/// use dropforge::loss::bce_with_logits;
/// use dropforge::metric::accuracy;
/// use dropforge::prelude::*;
/// use dropforge::step::Meter;
/// use std::sync::Arc;
///
/// let mut meter = Meter::new(bce_with_logits()).metrics([Arc::new(accuracy()) as _]);
/// meter.add(&Tensor::from([2.0, -1.0, 0.5, -3.0]), &Tensor::from([1.0, 0.0, 0.0, 0.0]), 4)?;
/// assert_eq!(meter.finish().get("accuracy"), Some(0.75));
/// # Ok::<(), dropforge::Error>(())
/// ```
pub fn accuracy() -> Accuracy {
    Accuracy {}
}

impl Metric for Accuracy {
    fn name(&self) -> String {
        "accuracy".into()
    }

    fn update(&self, batch: &Measured<'_>) -> Vec<Tensor> {
        let hits = match Form::read("accuracy", batch) {
            Ok(Form::Classes { scores, target, .. }) => scores.argmax(1).eq(&target),
            Ok(Form::Binary { logit, target, threshold }) => logit.gt(threshold).eq(&target),
            Err(failed) => return vec![failed],
        };
        let all = count(hits.elements());
        vec![hits.cast(DType::I32).sum(..), all]
    }

    fn compute(&self, sums: &[Vec<f64>]) -> Figures {
        Figures::share(self.name(), quotient(sums))
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
    Accuracy = "accuracy", "the share of right predictions";
}
