//! Weights that two layers share.

use super::declare::layers;
use super::scope::Scope;
use crate::settings::Range;
use crate::tensor::Tensor;

layers! {
    /// y = x·Wᵀ with the weight of another layer before it, such as the table of the embedding that made x: Press and
    /// Wolf, arXiv:1608.05859. It has no parameters of its own.
    Tied, tied(weight: impl Into<String>) = "tied", "y = x·Wᵀ with the weight of an earlier layer"
        like "a weight assigned to two modules" but "checkpoints hold it once" [
        weight as "weight": String = weight.into(), Range::ANY, "full name of the weight, such as \"0.weight\"";
    ] {
        transposed: bool = false, Range::ANY, "whether it is y = x·W instead";
    }
}

impl Tied {
    #[track_caller]
    fn trace(&self, scope: &Scope, x: &Tensor) -> Tensor {
        let Some(weight) = scope.declared(&self.weight) else {
            let message = format!("there is no parameter {} before it", self.weight);
            return scope.fail("tied", message, x);
        };
        let fits = weight.rank() == 2 && x.rank() > 0 && x.dtype().is_float();
        let axis = usize::from(!self.transposed);
        if !fits || weight.shape()[axis] != x.shape()[x.rank() - 1] {
            let message = format!("{} of {} does not fit {}", self.weight, weight.shape(), x.ty());
            return scope.fail("tied", message, x);
        }
        if self.transposed { x.matmul(&weight) } else { x.linear(&weight) }
    }
}
