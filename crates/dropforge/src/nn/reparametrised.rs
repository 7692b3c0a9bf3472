//! Layers whose weight is made of other parameters.

use super::declare::layers;
use super::layer::Layer;
use super::scope::Scope;
use crate::init::{Draw, Init, Initializer};
use crate::settings::Range;
use crate::tensor::Tensor;
use dropforge_ir::Shape;
use std::sync::Arc;

layers! {
    /// A layer whose weight is a direction times a length for each output, w = g·v/‖v‖: PyTorch's
    /// `nn.utils.parametrizations.weight_norm`; Salimans and Kingma, arXiv:1602.07868. Parameters, for the layer's
    /// `weight`: `parametrizations.weight.original0` (g, `[outputs, 1, ..]`) and `original1` (v), which starts as the
    /// weight would.
    WeightNorm, weight_norm(body: impl Layer + 'static) = "weight_norm", "a layer whose weight is a direction times a length"
        like "nn.utils.parametrizations.weight_norm" but "of the first axis" [
        body as "body": Arc<dyn Layer> = Arc::new(body), Range::ANY, "a layer with a weight";
    ] {}
    /// A layer whose weight is divided by its largest singular value, which a step of power iteration follows in
    /// training: PyTorch's `nn.utils.parametrizations.spectral_norm` for weights whose first axis is the outputs';
    /// Miyato et al., arXiv:1802.05957. Parameter, for the layer's `weight`: `parametrizations.weight.original`; states
    /// `parametrizations.weight.0._u` and `_v`, which start after 15 iterations.
    SpectralNorm, spectral_norm(body: impl Layer + 'static) = "spectral_norm", "a layer whose weight has a spectral norm of 1"
        like "nn.utils.parametrizations.spectral_norm" but "other random numbers to start from" [
        body as "body": Arc<dyn Layer> = Arc::new(body), Range::ANY, "a layer with a weight";
    ] {
        iterations: usize = 1, (1..=100).into(), "power iterations of a step";
        eps: f32 = 1e-12, (0.0..).into(), "least norm that is divided by";
    }
}

/// Makes a weight of a shape that starts in a way, in the scope of its layer.
pub(super) type WeightRule = Arc<dyn Fn(&Scope, &Shape, &Init) -> Tensor>;

impl WeightNorm {
    fn trace(&self, scope: &Scope, x: &Tensor) -> Tensor {
        let rule = |scope: &Scope, shape: &Shape, init: &Init| {
            let scope = scope.enter("parametrizations").enter("weight");
            let mut lengths = vec![1; shape.len()];
            if let (Some(length), Some(&outputs)) = (lengths.first_mut(), shape.first()) {
                *length = outputs;
            }
            let direction = Start { init: init.clone(), shape: shape.clone(), name: "original1" };
            let g = scope.parameter("original0", lengths, Init::new(Norms(direction)));
            let v = scope.parameter("original1", shape, init.clone());
            let others: Vec<isize> = (1..shape.len() as isize).collect();
            &v * (g / (&v * &v).sum_keep(others).sqrt())
        };
        self.body.forward(&scope.with_weight(Arc::new(rule)), x)
    }
}

impl SpectralNorm {
    fn trace(&self, scope: &Scope, x: &Tensor) -> Tensor {
        let (iterations, eps) = (self.iterations, self.eps);
        let rule = move |scope: &Scope, shape: &Shape, init: &Init| {
            let scope = scope.enter("parametrizations").enter("weight");
            let weight = scope.parameter("original", shape, init.clone());
            if shape.len() < 2 {
                return scope.fail("spectral_norm", format!("a weight of {shape} is no matrix"), &weight);
            }
            let (rows, columns) = (shape[0], shape[1..].iter().product());
            let start = Start { init: init.clone(), shape: shape.clone(), name: "original" };
            let vectors = scope.enter("0");
            let state = |name: &str, extent: usize, left: bool| {
                vectors.state(name, [extent], Init::new(Singular { start: start.clone(), left }))
            };
            let (known_u, known_v) = (state("_u", rows, true), state("_v", columns, false));
            let (mut u, mut v) = (known_u.clone(), known_v.clone());
            if scope.is_training() {
                let matrix = weight.detach().reshape(vec![rows, columns]);
                for _ in 0..iterations {
                    u = matrix.matmul(&v).normalize(2.0, 0, eps);
                    v = matrix.t().matmul(&u).normalize(2.0, 0, eps);
                }
                scope.write_state(&known_u, &u);
                scope.write_state(&known_v, &v);
            }
            let (u, v) = (u.detach(), v.detach());
            let along = weight.reshape(vec![rows, columns]).matmul(&v);
            &weight / (u * along).sum(..)
        };
        self.body.forward(&scope.with_weight(Arc::new(rule)), x)
    }
}

/// How a neighbouring parameter starts.
#[derive(Clone)]
struct Start {
    init: Init,
    shape: Shape,
    name: &'static str,
}

impl Start {
    /// Its elements, in rows by the first axis. `of` is the full name of the state that asks, `levels` deeper.
    fn rows(&self, draw: Draw<'_>, levels: usize) -> Option<Vec<Vec<f64>>> {
        let path: Vec<&str> = draw.name.split('.').collect();
        let mut path = path[..path.len().checked_sub(1 + levels)?].to_vec();
        path.push(self.name);
        let ty = dropforge_ir::ValueType::new(dropforge_ir::DType::F32, self.shape.clone());
        let array = self.init.array(draw.seed, &path.join("."), &ty)?;
        let width = self.shape.get(1..)?.iter().product::<usize>().max(1);
        let row = |row: &[f32]| row.iter().map(|&x| f64::from(x)).collect();
        Some(array.as_f32()?.chunks(width).map(row).collect())
    }
}

/// The lengths of a neighbour's rows.
struct Norms(Start);

impl Initializer for Norms {
    fn elements(&self, draw: Draw<'_>, _: &Shape) -> Option<Vec<f32>> {
        let norm = |row: Vec<f64>| row.iter().map(|x| x * x).sum::<f64>().sqrt() as f32;
        Some(self.0.rows(draw, 0)?.into_iter().map(norm).collect())
    }
}

/// What 15 power iterations make of random vectors: the left or right singular vector of a neighbour.
struct Singular {
    start: Start,
    left: bool,
}

impl Initializer for Singular {
    fn elements(&self, draw: Draw<'_>, _: &Shape) -> Option<Vec<f32>> {
        let rows = self.start.rows(draw, 1)?;
        let columns = rows.first().map_or(0, Vec::len);
        let unit = |mut x: Vec<f64>| {
            let norm = x.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
            x.iter_mut().for_each(|x| *x /= norm);
            x
        };
        // Both states draw the same numbers, so that they belong together.
        let place = draw.name.rsplit_once('.').map_or("", |(place, _)| place);
        let numbers = Draw { name: place, ..draw }.normal(columns, 0.0, 1.0);
        let mut v = unit(numbers.into_iter().map(f64::from).collect());
        let mut u = Vec::new();
        for _ in 0..15 {
            u = unit(rows.iter().map(|row| row.iter().zip(&v).map(|(a, b)| a * b).sum()).collect());
            let mut turned = vec![0.0; columns];
            for (row, &factor) in rows.iter().zip(&u) {
                turned.iter_mut().zip(row).for_each(|(sum, x)| *sum += factor * x);
            }
            v = unit(turned);
        }
        Some(if self.left { u } else { v }.into_iter().map(|x| x as f32).collect())
    }
}
