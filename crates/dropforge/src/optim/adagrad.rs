//! AdaGrad and AdaDelta.

use super::declare::{Update, optimizer};
use super::{Optimizer, Parameter};
use crate::nn::Scope;

optimizer! {
    /// AdaGrad: PyTorch's `optim.Adagrad`. Duchi et al., JMLR 12, 2011.
    ///
    /// With g the gradient plus `weight_decay`·w: s += g², w −= lr/(1 + (t − 1)·lr_decay) · g/(√s + eps). States:
    /// `adagrad.step`, `adagrad.sum.<name>`.
    #[doc(alias = "Adagrad")]
    AdaGrad = "adagrad", "gradients divided by the root of the sum of their squares" like "optim.Adagrad", lr: 0.01;
    lr_decay: f64 = 0.0, (0.0..).into(), "how fast the learning rate falls with the number of steps";
    weight_decay: f64 = 0.0, (0.0..).into(), "share of each parameter that is added to its gradient";
    initial_sum: f32 = 0.0, (0.0..).into(), "what the sums of squares start with";
    eps: f64 = 1e-10, (0.0..).into(), "added to the denominator";
}

impl Optimizer for AdaGrad {
    fn hyperparameters(&self) -> Vec<(&'static str, f64)> {
        vec![
            ("lr", self.lr),
            ("lr_decay", self.lr_decay),
            ("weight_decay", self.weight_decay),
            ("eps", self.eps),
        ]
    }

    fn update(&self, scope: &Scope, parameters: &[Parameter]) {
        let update = Update { scope, name: "adagrad", values: self.hyperparameters() };
        let rate = update.hyper("lr") / ((update.count() - 1.0) * update.hyper("lr_decay") + 1.0);
        for parameter in parameters {
            let value = &parameter.value;
            let gradient = &parameter.gradient + value * update.hyper("weight_decay");
            let sum = update.slot("sum", parameter, self.initial_sum);
            let new_sum = update.write(&sum, &sum + &gradient * &gradient);
            let direction = gradient / (new_sum.sqrt() + update.hyper("eps"));
            scope.write_state(value, &(value - direction * &rate));
        }
    }

    super::declared!();
}

optimizer! {
    /// AdaDelta: PyTorch's `optim.Adadelta`. Zeiler, arXiv:1212.5701.
    ///
    /// With g the gradient plus `weight_decay`·w: v = ρ·v + (1 − ρ)·g², d = √(u + eps)/√(v + eps)·g, u = ρ·u + (1 −
    /// ρ)·d², w −= lr·d. States: `adadelta.v.<name>`, `adadelta.u.<name>`.
    #[doc(alias = "Adadelta")]
    AdaDelta = "adadelta", "gradients in the units of earlier changes" like "optim.Adadelta", lr: 1.0;
    rho: f64 = 0.9, (0.0..1.0).into(), "share of the old mean squares that is kept";
    eps: f64 = 1e-6, (0.0..).into(), "added to mean squares under a root";
    weight_decay: f64 = 0.0, (0.0..).into(), "share of each parameter that is added to its gradient";
}

impl Optimizer for AdaDelta {
    fn hyperparameters(&self) -> Vec<(&'static str, f64)> {
        vec![
            ("lr", self.lr),
            ("rho", self.rho),
            ("one_minus_rho", 1.0 - self.rho),
            ("eps", self.eps),
            ("weight_decay", self.weight_decay),
        ]
    }

    fn update(&self, scope: &Scope, parameters: &[Parameter]) {
        let update = Update { scope, name: "adadelta", values: self.hyperparameters() };
        for parameter in parameters {
            let value = &parameter.value;
            let gradient = &parameter.gradient + value * update.hyper("weight_decay");
            let (of_gradients, of_changes) =
                (update.slot("v", parameter, 0.0), update.slot("u", parameter, 0.0));
            let spread = update.mean_square(&of_gradients, &gradient, "rho", "one_minus_rho");
            let eps = update.hyper("eps");
            let change = (&of_changes + &eps).sqrt() / (spread + &eps).sqrt() * gradient;
            update.mean_square(&of_changes, &change, "rho", "one_minus_rho");
            scope.write_state(value, &(value - change * update.hyper("lr")));
        }
    }

    super::declared!();
}
