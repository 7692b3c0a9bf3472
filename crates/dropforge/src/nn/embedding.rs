//! Tables of vectors.

use super::layer::Layer;
use super::scope::Scope;
use crate::init::Init;
use crate::settings::{Described, Value};
use crate::tensor::Tensor;
use crate::{Result, described};
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
            scope.parameter("weight", shape, Init::normal(0.0, 1.0)).embedding(x)
        })
    }

    fn describe(&self) -> String {
        format!("embedding({}, {})", self.count, self.width)
    }

    fn config(&self) -> Result<Value> {
        self.write_named().map(Value::Table)
    }
}

described! {
    Embedding = "embedding", "a table of vectors, looked up by index", { site: Location::caller() };
    count: usize, None, (1..).into(), "how many vectors there are";
    width: usize, None, (1..).into(), "numbers in a vector";
}
