//! Lion.

use super::declare::{Update, optimizer};
use super::{Optimizer, Parameter};
use crate::nn::Scope;

optimizer! {
    /// Evolved sign momentum. Chen et al., arXiv:2302.06675.
    ///
    /// w −= lr·(sign(β₁·m + (1 − β₁)·g) + `weight_decay`·w), then m = β₂·m + (1 − β₂)·g. State: `lion.m.<name>`.
    Lion = "lion", "signs of a running mean of gradients" like "Chen et al., arXiv:2302.06675", lr: 1e-4;
    betas: [f64; 2] = [0.9, 0.99], (0.0..1.0).into(), "shares of the old mean in the step and in the new mean";
    weight_decay: f64 = 0.0, (0.0..).into(), "how strongly parameters are drawn to zero";
}

impl Optimizer for Lion {
    fn hyperparameters(&self) -> Vec<(&'static str, f64)> {
        vec![
            ("lr", self.lr),
            ("one_minus_beta1", 1.0 - self.betas[0]),
            ("one_minus_beta2", 1.0 - self.betas[1]),
            ("weight_kept", 1.0 - self.lr * self.weight_decay),
        ]
    }

    fn update(&self, scope: &Scope, parameters: &[Parameter]) {
        let update = Update { scope, name: "lion", values: self.hyperparameters() };
        for parameter in parameters {
            let Parameter { value, gradient, .. } = parameter;
            let mean = update.slot("m", parameter, 0.0);
            let direction = (&mean + (gradient - &mean) * update.hyper("one_minus_beta1")).sign();
            update.draw(&mean, gradient, "one_minus_beta2");
            scope.write_state(value, &(value * update.hyper("weight_kept") - direction * update.hyper("lr")));
        }
    }

    super::declared!();
}
