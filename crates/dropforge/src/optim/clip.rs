//! Gradient clipping.

use super::Parameter;
use crate::tensor::Tensor;

/// Name of the runtime scalar that limits the global norm of the gradients.
pub(crate) const NORM: &str = "clip_norm";
/// Name of the runtime scalar that limits each number of the gradients.
pub(crate) const VALUE: &str = "clip_value";

/// Brings each number of all gradients between −limit and limit: PyTorch's `clip_grad_value_`.
pub(crate) fn clip_by_value(parameters: &mut [Parameter], limit: &Tensor) {
    for parameter in parameters {
        parameter.gradient = parameter.gradient.minimum(limit).maximum(-limit);
    }
}

/// Scales all gradients by min(1, limit / (norm + 1e-6)), where norm is the length of all of them as one vector:
/// PyTorch's `clip_grad_norm_`. Returns the norm before.
pub(crate) fn clip_by_global_norm(parameters: &mut [Parameter], limit: &Tensor) -> Option<Tensor> {
    if parameters.is_empty() {
        return None;
    }
    // Joined before they are added: so no sum of squares fuses with what adds them up, and all are one kernel.
    let squares: Vec<Tensor> =
        parameters.iter().map(|parameter| parameter.gradient.square().sum(..).reshape([1])).collect();
    let norm = Tensor::concat(&squares.iter().collect::<Vec<_>>(), 0).sum(..).sqrt();
    let factor = (limit / (&norm + 1e-6)).minimum(1.0);
    for parameter in parameters {
        parameter.gradient = &parameter.gradient * &factor;
    }
    Some(norm)
}
