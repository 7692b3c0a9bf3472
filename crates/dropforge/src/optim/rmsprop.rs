//! RMSProp.

use super::declare::{Update, optimizer};
use super::{Optimizer, Parameter};
use crate::nn::Scope;
use crate::settings::Range;

optimizer! {
    /// RMSProp: PyTorch's `optim.RMSprop`. Hinton, lecture 6e of "Neural Networks for Machine Learning", 2012;
    /// centered: Graves, arXiv:1308.0850.
    ///
    /// With g the gradient plus `weight_decay`·w: v = α·v + (1 − α)·g², d = √v + eps, or √(v − a²) + eps with a the
    /// running mean of g if centered; w −= lr·g/d, or with momentum b = momentum·b + g/d and w −= lr·b. States:
    /// `rmsprop.v.<name>`, and `rmsprop.mean.<name>` if centered, `rmsprop.momentum.<name>` with momentum.
    #[doc(alias = "RMSprop")]
    RmsProp = "rmsprop", "gradients divided by the root of their running mean square" like "optim.RMSprop", lr: 0.01;
    alpha: f64 = 0.99, (0.0..1.0).into(), "share of the old mean square that is kept";
    eps: f64 = 1e-8, (0.0..).into(), "added to the denominator";
    weight_decay: f64 = 0.0, (0.0..).into(), "share of each parameter that is added to its gradient";
    momentum: f64 = 0.0, (0.0..1.0).into(), "share of the old direction that is kept";
    centered: bool = false, Range::ANY, "whether the variance takes the place of the mean square";
}

impl Optimizer for RmsProp {
    fn hyperparameters(&self) -> Vec<(&'static str, f64)> {
        let mut values = vec![
            ("lr", self.lr),
            ("alpha", self.alpha),
            ("one_minus_alpha", 1.0 - self.alpha),
            ("eps", self.eps),
            ("weight_decay", self.weight_decay),
        ];
        if self.momentum != 0.0 {
            values.push(("momentum", self.momentum));
        }
        values
    }

    fn update(&self, scope: &Scope, parameters: &[Parameter]) {
        let update = Update { scope, name: "rmsprop", values: self.hyperparameters() };
        for parameter in parameters {
            let value = &parameter.value;
            let gradient = &parameter.gradient + value * update.hyper("weight_decay");
            let second = update.slot("v", parameter, 0.0);
            let mut spread = update.mean_square(&second, &gradient, "alpha", "one_minus_alpha");
            if self.centered {
                let mean = update.draw(&update.slot("mean", parameter, 0.0), &gradient, "one_minus_alpha");
                spread = spread - &mean * &mean;
            }
            let mut direction = gradient / (spread.sqrt() + update.hyper("eps"));
            if self.momentum != 0.0 {
                let momentum = update.slot("momentum", parameter, 0.0);
                direction = update.write(&momentum, &momentum * update.hyper("momentum") + direction);
            }
            scope.write_state(value, &(value - direction * update.hyper("lr")));
        }
    }

    super::declared!();
}
