//! The forms in which predictions and targets of classes come.

use super::{Measured, class_count};
use crate::tensor::Tensor;
use crate::tensor::node::fail;
use dropforge_ir::DType;

/// Predictions and targets of classes, one position after another.
pub(super) enum Form {
    /// Scores `f32[positions, classes]`, and classes `i32[positions]`.
    Classes { scores: Tensor, target: Tensor, classes: usize },
    /// Logits of a yes `f32[positions]`, or its probabilities, with what they exceed for a yes, and whether it is one
    /// `bool[positions]`.
    Binary { logit: Tensor, target: Tensor, threshold: f32 },
}

impl Form {
    /// Reads scores `[batch, classes, ..]` with class indices i32 `[batch, ..]`, or one logit for each target, whose
    /// type is then float (a yes above 0.5), integer or bool (a yes unless 0).
    ///
    /// What is neither is an error, which a poisoned tensor carries to whoever compiles the step.
    pub fn read(metric: &str, batch: &Measured<'_>) -> Result<Form, Tensor> {
        let Measured { prediction, target, probabilities } = *batch;
        match class_count(prediction, target) {
            Some(classes) if classes > 1 => Ok(Form::Classes {
                scores: prediction.movedim(1, -1).reshape([-1, classes as isize]).widened(),
                target: target.reshape([-1]),
                classes,
            }),
            // One logit in an axis of its own, or targets of the same shape.
            one if prediction.dtype().is_float()
                && (one == Some(1) || prediction.shape() == target.shape()) =>
            {
                let target = target.reshape([-1]);
                let target = match target.dtype() {
                    DType::Bool => target,
                    dtype if dtype.is_float() => target.gt(0.5),
                    _ => target.ne(0),
                };
                let threshold = if probabilities { 0.5 } else { 0.0 };
                Ok(Form::Binary { logit: prediction.reshape([-1]).widened(), target, threshold })
            }
            _ => {
                let message = format!(
                    "needs scores f32[batch, classes, ..] and classes i32[batch, ..], or one logit f32 for each target; \
                     got {} and {}",
                    prediction.ty(),
                    target.ty()
                );
                Err(fail(metric, message, &[prediction, target]))
            }
        }
    }
}
