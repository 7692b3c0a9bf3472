//! Layers side by side.

use super::declare::layers;
use super::layer::Layer;
use super::scope::Scope;
use crate::settings::Range;
use crate::tensor::Tensor;
use std::sync::Arc;

layers! {
    /// What several layers give for the same input, added: all must give one shape. They are called by their positions
    /// from 0 unless they have a name.
    Parallel, parallel(branches: Vec<Arc<dyn Layer>>) = "parallel", "what several layers give for one input, added"
        like "a sum of branches" [
        branches as "branches": Vec<Arc<dyn Layer>> = branches, Range::ANY, "the layers, each for the same input";
    ] {}
    /// What several layers give for the same input, joined along an axis, such as the parts of an Inception block. They
    /// are called by their positions from 0 unless they have a name.
    Concat, concat(branches: Vec<Arc<dyn Layer>>) = "concat", "what several layers give for one input, joined"
        like "torch.cat of branches" [
        branches as "branches": Vec<Arc<dyn Layer>> = branches, Range::ANY, "the layers, each for the same input";
    ] {
        axis: isize = 1, Range::ANY, "the axis along which is joined; -1 is the last";
    }
}

/// What each layer gives for the same input.
fn results(scope: &Scope, branches: &[Arc<dyn Layer>], x: &Tensor) -> Vec<Tensor> {
    let apply = |(position, layer): (usize, &Arc<dyn Layer>)| {
        let position = position.to_string();
        scope.layer(layer.name().unwrap_or(&position), layer, x)
    };
    branches.iter().enumerate().map(apply).collect()
}

impl Parallel {
    fn trace(&self, scope: &Scope, x: &Tensor) -> Tensor {
        let results = results(scope, &self.branches, x);
        let Some((first, rest)) = results.split_first() else {
            return scope.fail("parallel", "has no branches", x);
        };
        if let Some(other) =
            rest.iter().find(|other| other.error().is_none() && other.shape() != first.shape())
        {
            let message = format!("branches give {} and {}; all must be alike", first.shape(), other.shape());
            return scope.fail("parallel", message, x);
        }
        rest.iter().fold(first.clone(), |sum, other| sum + other)
    }
}

impl Concat {
    #[track_caller]
    fn trace(&self, scope: &Scope, x: &Tensor) -> Tensor {
        let results = results(scope, &self.branches, x);
        if results.is_empty() {
            return scope.fail("concat", "has no branches", x);
        }
        Tensor::concat(&results.iter().collect::<Vec<_>>(), self.axis)
    }
}
