//! Accuracy.

use super::form::Form;
use super::{Measured, Metric, Values, count, quotient};
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
/// `[batch, ..]`. Where prediction and target have one shape, the prediction is the logit of a yes: above 0 says yes, as does a
/// target above 0.5, or an integer that is not 0. Every target counts, so several for each sample.
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
            Ok(Form::Binary { logit, target }) => logit.gt(0.0).eq(&target),
            Err(failed) => return vec![failed],
        };
        let all = count(hits.elements());
        vec![hits.cast(DType::I32).sum(..), all]
    }

    fn compute(&self, sums: &[Vec<f64>]) -> Values {
        Values::share(self.name(), quotient(sums))
    }

    fn config(&self) -> Result<Table> {
        self.write_named()
    }
}

described! {
    Accuracy = "accuracy", "the share of right predictions";
}
