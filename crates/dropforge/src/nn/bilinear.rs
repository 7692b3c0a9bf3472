//! Bilinear layers.

use super::declare::layers;
use super::scope::Scope;
use crate::init::Init;
use crate::settings::Range;
use crate::tensor::Tensor;

layers! {
    /// y_k = aᵀ·W_k·b + c_k of two vectors a and b: PyTorch's `nn.Bilinear`. As a layer it takes both in one, a before
    /// b along the last axis; [`Bilinear::of`] takes two.
    ///
    /// Parameters: `weight [units, of a, of b]` and `bias [units]`, uniform within ±1/√(numbers of a).
    Bilinear, bilinear(units: usize) = "bilinear", "products of two vectors with a matrix for each output"
        like "nn.Bilinear" but "takes both vectors in one tensor; Bilinear::of takes two" [
        units as "units": usize = units, (1..).into(), "how many outputs there are";
    ] {
        first: Option<usize> = None, (1..).into(), "numbers of the first vector, by default half of the last axis";
        bias: bool = true, Range::ANY, "whether there is a bias";
    }
}

impl Bilinear {
    /// Of vectors along the last axes of two tensors that are otherwise alike.
    #[track_caller]
    pub fn of(&self, scope: &Scope, a: &Tensor, b: &Tensor) -> Tensor {
        let (rank, floats) = (a.rank(), a.dtype().is_float() && b.dtype().is_float());
        if rank == 0 || rank != b.rank() || a.shape()[..rank - 1] != b.shape()[..rank - 1] || !floats {
            let message = format!("needs f32[.., m] and f32[.., n], got {} and {}", a.ty(), b.ty());
            return scope.fail("bilinear", message, a);
        }
        let (m, n) = (a.shape()[rank - 1], b.shape()[rank - 1]);
        let bound = if m == 0 { 0.0 } else { 1.0 / (m as f64).sqrt() as f32 };
        let init = Init::uniform(-bound, bound);
        let weight = scope.parameter("weight", [self.units, m, n], init.clone());
        // For each pair its products, as one vector.
        let pairs = (a.unsqueeze(-1) * b.unsqueeze(-2)).flatten(rank - 1);
        let y = pairs.linear(&weight.flatten(1));
        if self.bias { y + scope.parameter("bias", [self.units], init) } else { y }
    }

    #[track_caller]
    fn trace(&self, scope: &Scope, x: &Tensor) -> Tensor {
        let width = x.shape().last().copied().unwrap_or(0);
        let first = self.first.unwrap_or(width / 2);
        if first == 0 || first >= width || (self.first.is_none() && width % 2 != 0) {
            let message =
                format!("{} does not divide into two vectors; say how long the first is", x.shape());
            return scope.fail("bilinear", message, x);
        }
        self.of(scope, &x.slice(-1, ..first), &x.slice(-1, first..))
    }
}
