//! Muon.

use super::declare::{Update, optimizer};
use super::{Optimizer, Parameter};
use crate::nn::Scope;
use crate::settings::Range;
use crate::tensor::Tensor;

optimizer! {
    /// Momentum whose matrices are made orthogonal: PyTorch's `optim.Muon`. Jordan et al., "Muon: An optimizer for
    /// hidden layers in neural networks", 2024.
    ///
    /// m += (1 − `momentum`)(g − m); with Nesterov's momentum the direction is g + `momentum`·(m − g), else m. It is
    /// divided by its norm and goes through `steps` iterations X ← aX + (bA + cA²)X with A = XXᵀ, all in f32; then w ←
    /// (1 − lr·`weight_decay`)·w − lr·√max(1, rows/columns)·X. Filters are matrices with a row for each output.
    /// Parameters with fewer than two axes, which have no directions to make orthogonal, go by AdamW with betas 0.9 and
    /// 0.999 and `others` times the learning rate; so should embeddings and last layers, as groups of their own.
    /// States: `muon.m.<name>`, and `muon.step` and `muon.v.<name>` for those.
    Muon = "muon", "momentum with matrices made orthogonal"
        like "optim.Muon"
        but "computes in f32, not bf16; parameters that are no matrices go by AdamW; filters are matrices", lr: 1e-3;
    momentum: f64 = 0.95, (0.0..1.0).into(), "share of the old momentum that is kept";
    nesterov: bool = true, Range::ANY, "whether the gradient counts once more";
    weight_decay: f64 = 0.1, (0.0..).into(), "how strongly parameters are drawn to zero";
    steps: usize = 5, (1..=20).into(), "iterations that make a matrix orthogonal";
    others: f64 = 0.1, (0.0..).into(), "learning rate of parameters that are no matrices, as a share";
}

/// The coefficients of the iteration, whose slope at 0 is steepest.
const COEFFICIENTS: [f32; 3] = [3.4445, -4.775, 2.0315];

impl Optimizer for Muon {
    fn hyperparameters(&self) -> Vec<(&'static str, f64)> {
        vec![
            ("lr", self.lr),
            ("momentum", self.momentum),
            ("one_minus_momentum", 1.0 - self.momentum),
            ("weight_kept", 1.0 - self.lr * self.weight_decay),
            ("lr_of_others", self.lr * self.others),
            ("weight_kept_of_others", 1.0 - self.lr * self.others * self.weight_decay),
        ]
    }

    fn update(&self, scope: &Scope, parameters: &[Parameter]) {
        let update = Update { scope, name: "muon", values: self.hyperparameters() };
        let is_matrix = |parameter: &&Parameter| parameter.value.rank() >= 2;
        for parameter in parameters.iter().filter(is_matrix) {
            let Parameter { value, gradient, .. } = parameter;
            let momentum = update.slot("m", parameter, 0.0);
            let momentum = update.draw(&momentum, gradient, "one_minus_momentum");
            let direction = match self.nesterov {
                true => gradient + (momentum - gradient) * update.hyper("momentum"),
                false => momentum,
            };
            let rows = value.shape()[0];
            let columns = value.shape()[1..].iter().product::<usize>();
            let step = orthogonal(&direction.reshape(vec![rows, columns]), self.steps).reshape(value.shape());
            let growth = (rows as f32 / columns.max(1) as f32).max(1.0).sqrt();
            let kept = value * update.hyper("weight_kept");
            scope.write_state(value, &(kept - step * (update.hyper("lr") * growth)));
        }
        let others: Vec<&Parameter> = parameters.iter().filter(|parameter| !is_matrix(parameter)).collect();
        if others.is_empty() {
            return;
        }
        let count = update.count();
        let unbiased = |beta: f64| -(&count * beta.ln() as f32).expm1();
        let (first, second) = (unbiased(0.9), unbiased(0.999).sqrt());
        for parameter in others {
            let Parameter { value, gradient, .. } = parameter;
            let mean = update.slot("m", parameter, 0.0);
            let mean = update.write(&mean, &mean + (gradient - &mean) * 0.1);
            let spread = update.slot("v", parameter, 0.0);
            let spread = update.write(&spread, &spread * 0.999 + gradient * gradient * 0.001);
            let change = mean / &first / (spread.sqrt() / &second + 1e-8);
            let kept = value * update.hyper("weight_kept_of_others");
            scope.write_state(value, &(kept - change * update.hyper("lr_of_others")));
        }
    }

    super::declared!();
}

/// A matrix with the same singular vectors and singular values near 1.
fn orthogonal(matrix: &Tensor, steps: usize) -> Tensor {
    let is_high = matrix.shape()[0] > matrix.shape()[1];
    let wide = if is_high { matrix.t() } else { matrix.clone() };
    let [a, b, c] = COEFFICIENTS;
    let mut x = &wide / (&wide * &wide).sum(..).sqrt().clamp_min(1e-7);
    for _ in 0..steps {
        let square = x.matmul(&x.t());
        let update = &square * b + square.matmul(&square) * c;
        x = &x * a + update.matmul(&x);
    }
    if is_high { x.t() } else { x }
}
