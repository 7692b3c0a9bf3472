//! Tables of vectors.

use super::layer::Layer;
use super::scope::Scope;
use crate::init::Init;
use crate::tensor::Tensor;
use dropforge_ir::DType;
use std::panic::Location;

/// A table of vectors, looked up by index. See [`embedding`].
#[derive(Clone, Debug)]
pub struct Embedding {
    count: usize,
    width: usize,
    site: &'static Location<'static>,
}

/// A table of `count` vectors of `width`, looked up by i32 indices of any shape: PyTorch's `nn.Embedding`. An index
/// outside gives zeros. Parameter: `weight [count, width]`, normal with mean 0 and deviation 1.
#[track_caller]
pub fn embedding(count: usize, width: usize) -> Embedding {
    Embedding { count, width, site: Location::caller() }
}

impl Layer for Embedding {
    fn forward(&self, scope: &Scope, x: &Tensor) -> Tensor {
        scope.run(self, self.site, x, |scope, x| {
            if x.dtype() != DType::I32 {
                return scope.fail("embedding", format!("needs i32 indices, got {}", x.ty()), x);
            }
            let shape = [self.count, self.width];
            scope.parameter("weight", shape, Init::Normal { mean: 0.0, deviation: 1.0 }).embedding(x)
        })
    }

    fn describe(&self) -> String {
        format!("embedding({}, {})", self.count, self.width)
    }
}
