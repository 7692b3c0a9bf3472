//! Networks for tables with numbers and categories (Naumov et al.: Deep learning recommendation model,
//! arXiv:1906.00091).

use super::Recipe;
use super::declare::models;
use crate::Tensor;
use crate::init::Init;
use crate::nn::{Layer, Scope, Sequential, dense, relu, sequential};
use dropforge_ir::DType;

models! {
    /// The model `dlrm`: rows `[batch, columns]`, whose last columns are numbers of categories, as many as there are
    /// `tables`. Each category has a vector, as have the numbers by way of dense layers; the products of all pairs of
    /// vectors and that of the numbers go through more dense layers. The parameter names of the authors' code:
    /// `bot_l.N`, `emb_l.N` and `top_l.N`.
    Dlrm = "dlrm", "rows of numbers and categories, by the products of their vectors"
        like "the authors' DLRM_Net" but "weights start as in the layers, not as there", [13], Recipe::adam(1e-3); {
        tables: Vec<usize> = Vec::new(), (1..).into(), "categories of each of the last columns";
        width: usize = 16, (1..).into(), "numbers in a vector";
        bottom: Vec<usize> = vec![64, 32], (1..).into(), "units of the dense layers for numbers, without the last";
        top: Vec<usize> = vec![64, 32], (1..).into(), "units of the dense layers at the end, without the last";
    }
}

impl Dlrm {
    fn network(&self, outputs: usize) -> Box<dyn Layer> {
        let dlrm = self.clone();
        Box::new(move |scope: &Scope, x: &Tensor| dlrm.scores(scope, x, outputs))
    }

    fn scores(&self, scope: &Scope, x: &Tensor, outputs: usize) -> Tensor {
        let (categories, width) = (self.tables.len(), self.width);
        let &[batch, columns] = x.shape().iter().as_slice() else {
            return scope.fail("dlrm", format!("needs rows f32[batch, columns], got {}", x.ty()), x);
        };
        if columns <= categories || !x.dtype().is_float() {
            let message = format!("needs numbers beside {categories} categories, got {}", x.ty());
            return scope.fail("dlrm", message, x);
        }
        let numbers = x.slice(1, ..columns - categories);
        let stack = |units: &[usize]| {
            units.iter().fold(sequential(), |net: Sequential, &units| net.push(dense(units)).push(relu()))
        };
        let own = scope.layer("bot_l", &stack(&self.bottom).push(dense(width)).push(relu()), &numbers);
        let mut vectors = vec![own.clone()];
        for (table, &count) in self.tables.iter().enumerate() {
            let bound = (1.0 / count as f64).sqrt() as f32;
            let place = scope.enter("emb_l").enter(&table.to_string());
            let weight = place.parameter("weight", [count, width], Init::uniform(-bound, bound));
            let number = x.at(1, columns - categories + table).cast(DType::I32);
            vectors.push(weight.embedding(&number));
        }
        let vectors = Tensor::stack(&vectors.iter().collect::<Vec<_>>(), 1);
        let products = vectors.matmul(&vectors.transpose(1, 2));
        // Each pair once, row by row below the diagonal.
        let count = categories + 1;
        let places: Vec<i32> =
            (0..count).flat_map(|row| (0..row).map(move |column| (row * count + column) as i32)).collect();
        let mut joined = own;
        if !places.is_empty() {
            let pairs = places.len();
            let products = products.reshape(vec![batch, count * count]);
            let products = products.index_select(1, &Tensor::from_vec(places, [pairs]));
            joined = Tensor::concat(&[&joined, &products], 1);
        }
        scope.layer("top_l", &stack(&self.top).push(dense(outputs)), &joined)
    }
}
