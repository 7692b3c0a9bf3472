//! Gradient clipping.

use super::Parameter;
use crate::tensor::Tensor;

/// Scales all gradients by min(1, limit / (norm + 1e-6)), where norm is the length of all of them as one vector:
/// PyTorch's `clip_grad_norm_`. Returns the norm before.
pub(crate) fn clip_by_global_norm(parameters: &mut [Parameter], limit: &Tensor) -> Option<Tensor> {
    let mut total: Option<Tensor> = None;
    for parameter in parameters.iter() {
        let squares = parameter.gradient.square().sum(..);
        total = Some(match total {
            None => squares,
            Some(sum) => sum + squares,
        });
    }
    let norm = total?.sqrt();
    let factor = (limit / (&norm + 1e-6)).minimum(1.0);
    for parameter in parameters {
        parameter.gradient = &parameter.gradient * &factor;
    }
    Some(norm)
}
