//! Accuracy.

use super::{Measured, Metric, Values, class_count, count};
use crate::settings::{Described, Table};
use crate::tensor::Tensor;
use crate::tensor::node::fail;
use crate::{Result, described};
use dropforge_ir::DType;

/// The share of right predictions. See [`accuracy`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Accuracy {}

/// The share of right predictions, from 0 to 1.
///
/// Of scores `[batch, classes, ..]` the class with the highest is predicted, and compared with class indices i32
/// `[batch, ..]`. Where prediction and target are floats of one shape, the prediction is the logit of a yes: above 0 says
/// yes, as does a target above 0.5. Every target counts, so several for each sample.
pub fn accuracy() -> Accuracy {
    Accuracy {}
}

impl Metric for Accuracy {
    fn name(&self) -> String {
        "accuracy".into()
    }

    fn update(&self, batch: &Measured<'_>) -> Vec<Tensor> {
        let Measured { prediction, target } = *batch;
        let hits = if class_count(prediction, target).is_some() {
            prediction.argmax(1).eq(target)
        } else if prediction.shape() == target.shape()
            && prediction.dtype().is_float()
            && target.dtype().is_float()
        {
            prediction.gt(0.0).eq(target.gt(0.5))
        } else {
            let message = format!(
                "needs scores f32[batch, classes, ..] and classes i32[batch, ..], or logits and targets f32 of one shape; \
                 got {} and {}",
                prediction.ty(),
                target.ty()
            );
            return vec![fail("accuracy", message, &[prediction, target])];
        };
        let all = count(hits.elements());
        vec![hits.cast(DType::I32).sum(..), all]
    }

    fn compute(&self, sums: &[Vec<f64>]) -> Values {
        Values::share(self.name(), sums[0][0] / sums[1][0])
    }

    fn config(&self) -> Result<Table> {
        self.write_named()
    }
}

described! {
    Accuracy = "accuracy", "the share of right predictions";
}
