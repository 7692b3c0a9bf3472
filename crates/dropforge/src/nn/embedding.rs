//! Tables of vectors.

use super::declare::layers;
use super::scope::Scope;
use crate::init::{Draw, Init, Initializer};
use crate::settings::Range;
use crate::tensor::Tensor;
use dropforge_ir::{DType, Shape, ValueType};

layers! {
    /// A table of `count` vectors of `width`, looked up by i32 indices of any shape: PyTorch's `nn.Embedding`. An index
    /// outside is an error. Parameter: `weight [count, width]`, normal with mean 0 and deviation 1. The vector with the
    /// index [`padding_index`](Embedding::padding_index) starts with zeros and is not trained.
    ///
    /// ```
    /// use dropforge::prelude::*;
    ///
    /// let net = Network::compile(embedding(100, 8), ValueType::new(DType::I32, [5]))?;
    /// assert_eq!(net.output().map(|ty| ty.shape.to_vec()), Some(vec![1, 5, 8]));
    /// # Ok::<(), dropforge::Error>(())
    /// ```
    Embedding, embedding(count: usize, width: usize) = "embedding", "a table of vectors, looked up by index"
        like "nn.Embedding" but "indices are i32; no max_norm, no sparse gradients" [
        count as "count": usize = count, (1..).into(), "how many vectors there are";
        width as "width": usize = width, (1..).into(), "numbers in a vector";
    ] {
        padding_index: Option<usize> = None, (0..).into(), "the vector that stays zero";
        weight_init: Init = Init::normal(0.0, 1.0), Range::ANY, "how the vectors start";
    }
}

impl Embedding {
    #[track_caller]
    fn trace(&self, scope: &Scope, x: &Tensor) -> Tensor {
        if x.dtype() != DType::I32 {
            return scope.fail("embedding", format!("needs i32 indices, got {}", x.ty()), x);
        }
        let shape = [self.count, self.width];
        let Some(padding) = self.padding_index else {
            return scope.parameter("weight", shape, self.weight_init.clone()).embedding(x);
        };
        if padding >= self.count {
            let message = format!("the padding index {padding} is none of {} vectors", self.count);
            return scope.fail("embedding", message, x);
        }
        let init = Init::new(WithoutRow { init: self.weight_init.clone(), row: padding });
        let y = scope.parameter("weight", shape, init).embedding(x);
        let is_padding = x.eq(padding as i32).unsqueeze(-1);
        Tensor::select(&is_padding, y.detach(), &y)
    }
}

/// As another rule says, but for a row of zeros.
struct WithoutRow {
    init: Init,
    row: usize,
}

impl Initializer for WithoutRow {
    fn elements(&self, draw: Draw<'_>, shape: &Shape) -> Option<Vec<f32>> {
        let ty = ValueType::new(DType::F32, shape.clone());
        let mut elements = self.init.array(draw.seed, draw.name, &ty)?.as_f32()?.to_vec();
        let width = shape.iter().skip(1).product::<usize>();
        elements.get_mut(self.row * width..(self.row + 1) * width)?.fill(0.0);
        Some(elements)
    }
}
