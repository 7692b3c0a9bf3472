//! Optimizers with running moments besides Adam: NAdam, RAdam, Adamax, LAMB.

use super::declare::{Update, optimizer};
use super::{Optimizer, Parameter};
use crate::nn::Scope;
use crate::settings::Range;
use crate::tensor::Tensor;
use dropforge_ir::{DType, ValueType};

/// The runtime scalars of moments with these betas.
fn of_betas([beta1, beta2]: [f64; 2]) -> Vec<(&'static str, f64)> {
    vec![
        ("one_minus_beta1", 1.0 - beta1),
        ("beta2", beta2),
        ("one_minus_beta2", 1.0 - beta2),
        ("log_beta1", beta1.ln()),
        ("log_beta2", beta2.ln()),
    ]
}

/// The parameter less its decoupled decay, and the gradient with the coupled one.
fn decayed(update: &Update<'_>, parameter: &Parameter, decoupled: bool) -> (Tensor, Tensor) {
    let Parameter { value, gradient, .. } = parameter;
    if decoupled {
        (value * update.hyper("weight_kept"), gradient.clone())
    } else {
        (value.clone(), gradient + value * update.hyper("weight_decay"))
    }
}

/// The runtime scalar of weight decay.
fn decay(decoupled: bool, lr: f64, weight_decay: f64) -> (&'static str, f64) {
    if decoupled { ("weight_kept", 1.0 - lr * weight_decay) } else { ("weight_decay", weight_decay) }
}

optimizer! {
    /// Adam with Nesterov's momentum: PyTorch's `optim.NAdam`. Dozat, ICLR workshop 2016.
    ///
    /// With m and v as in [`Adam`](super::Adam) and μₜ = β₁·(1 − 0.96^(t·momentum_decay)/2), Πₜ = μ₁⋯μₜ: w −= lr·((1 −
    /// μₜ)·g/(1 − Πₜ) + μₜ₊₁·m/(1 − Πₜ₊₁)) / (√(v/(1 − β₂ᵗ)) + eps). States: `nadam.step`, `nadam.mu_product`,
    /// `nadam.m.<name>`, `nadam.v.<name>`.
    NAdam = "nadam", "Adam with Nesterov's momentum" like "optim.NAdam", lr: 2e-3;
    betas: [f64; 2] = [0.9, 0.999], (0.0..1.0).into(), "shares of the old moments that are kept";
    eps: f64 = 1e-8, (0.0..).into(), "added to the denominator";
    weight_decay: f64 = 0.0, (0.0..).into(), "how strongly parameters are drawn to zero";
    momentum_decay: f64 = 4e-3, (0.0..).into(), "how fast the momentum approaches the first beta";
    decoupled: bool = false, Range::ANY, "whether weight decay acts on the parameters instead of their gradients";
}

impl Optimizer for NAdam {
    fn hyperparameters(&self) -> Vec<(&'static str, f64)> {
        let mut values = of_betas(self.betas);
        values.extend([
            ("lr", self.lr),
            ("eps", self.eps),
            ("beta1", self.betas[0]),
            ("log_momentum", 0.96f64.ln() * self.momentum_decay),
            decay(self.decoupled, self.lr, self.weight_decay),
        ]);
        values
    }

    fn update(&self, scope: &Scope, parameters: &[Parameter]) {
        let update = Update { scope, name: "nadam", values: self.hyperparameters() };
        let count = update.count();
        let momentum = |count: &Tensor| {
            update.hyper("beta1") * (1.0 - (count * update.hyper("log_momentum")).exp() * 0.5)
        };
        let (now, next) = (momentum(&count), momentum(&(&count + 1.0)));
        let product = update.state("mu_product", ValueType::scalar(DType::F32), 1.0);
        let product = update.write(&product, &product * &now);
        let of_gradient = update.hyper("lr") * (1.0 - now) / (1.0 - &product);
        let of_mean = update.hyper("lr") * &next / (1.0 - product * &next);
        let inverse_root = update.correction(&count, "log_beta2").rsqrt();
        for parameter in parameters {
            let (kept, gradient) = decayed(&update, parameter, self.decoupled);
            let mean = update.draw(&update.slot("m", parameter, 0.0), &gradient, "one_minus_beta1");
            let second = update.slot("v", parameter, 0.0);
            let spread = update.mean_square(&second, &gradient, "beta2", "one_minus_beta2");
            let denominator = spread.sqrt() * &inverse_root + update.hyper("eps");
            let change = (gradient * &of_gradient + mean * &of_mean) / denominator;
            scope.write_state(&parameter.value, &(kept - change));
        }
    }

    super::declared!();
}

optimizer! {
    /// Rectified Adam: PyTorch's `optim.RAdam`. Liu et al., arXiv:1908.03265.
    ///
    /// With m̂ = m/(1 − β₁ᵗ), ρ∞ = 2/(1 − β₂) − 1 and ρₜ = ρ∞ − 2t·β₂ᵗ/(1 − β₂ᵗ): w −= lr·m̂·r·√(1 − β₂ᵗ)/(√v + eps)
    /// where ρₜ > 5, with r = √((ρₜ − 4)(ρₜ − 2)ρ∞ / ((ρ∞ − 4)(ρ∞ − 2)ρₜ)), and w −= lr·m̂ before. States:
    /// `radam.step`, `radam.m.<name>`, `radam.v.<name>`.
    RAdam = "radam", "Adam that waits until its second moment is known well enough" like "optim.RAdam", lr: 1e-3;
    betas: [f64; 2] = [0.9, 0.999], (0.0..1.0).into(), "shares of the old moments that are kept";
    eps: f64 = 1e-8, (0.0..).into(), "added to the denominator";
    weight_decay: f64 = 0.0, (0.0..).into(), "how strongly parameters are drawn to zero";
    decoupled: bool = false, Range::ANY, "whether weight decay acts on the parameters instead of their gradients";
}

impl RAdam {
    /// ρ∞.
    fn longest(&self) -> f64 {
        2.0 / (1.0 - self.betas[1]) - 1.0
    }
}

impl Optimizer for RAdam {
    fn hyperparameters(&self) -> Vec<(&'static str, f64)> {
        let longest = self.longest();
        let twice_reach = -2.0 / self.betas[1].ln();
        let mut values = of_betas(self.betas);
        values.extend([
            ("lr", self.lr),
            ("eps", self.eps),
            ("longest", longest),
            ("twice_reach", twice_reach),
            ("longest_less_reach", longest - twice_reach),
            ("scale", longest / ((longest - 4.0) * (longest - 2.0))),
            decay(self.decoupled, self.lr, self.weight_decay),
        ]);
        values
    }

    fn update(&self, scope: &Scope, parameters: &[Parameter]) {
        let update = Update { scope, name: "radam", values: self.hyperparameters() };
        let count = update.count();
        // ρₜ is the difference of nearly equal numbers at first. With u = −t·ln β₂ and u/(e^u − 1) = 1 − u/2 + h(u) it
        // is (ρ∞ + 2/ln β₂) + t + 2/ln β₂ · h(u), whose terms are of its own size; h(u) = u²/12 − u⁴/720 + u⁶/30240 −
        // ….
        let u = -(&count * update.hyper("log_beta2"));
        let is_early = u.lt(0.5);
        let early = Tensor::select(&is_early, &u, 0.0);
        let square = &early * &early;
        let bend = ((&square * (1.0 / 30_240.0) - 1.0 / 720.0) * &square + 1.0 / 12.0) * square;
        let early = update.hyper("longest_less_reach") + &count - update.hyper("twice_reach") * bend;
        let late = update.hyper("longest") - &count * 2.0 / Tensor::select(&is_early, 1.0, u).expm1();
        let length = Tensor::select(&is_early, early, late);
        let is_known = length.gt(5.0);
        let length = Tensor::select(&is_known, length, 5.0);
        let part = (&length - 4.0) * (&length - 2.0) / length * update.hyper("scale");
        let rectified = (part * update.correction(&count, "log_beta2")).sqrt();
        let rate = update.hyper("lr") / update.correction(&count, "log_beta1");
        for parameter in parameters {
            let (kept, gradient) = decayed(&update, parameter, self.decoupled);
            let mean = update.draw(&update.slot("m", parameter, 0.0), &gradient, "one_minus_beta1");
            let second = update.slot("v", parameter, 0.0);
            let spread = update.mean_square(&second, &gradient, "beta2", "one_minus_beta2");
            let adapted = &rectified / (spread.sqrt() + update.hyper("eps"));
            let factor = Tensor::select(&is_known, adapted, 1.0);
            scope.write_state(&parameter.value, &(kept - mean * &rate * factor));
        }
    }

    super::declared!();
}

optimizer! {
    /// Adam with the largest gradient in place of the mean square: PyTorch's `optim.Adamax`. Kingma and Ba,
    /// arXiv:1412.6980, section 7.
    ///
    /// With g the gradient plus `weight_decay`·w: m as in [`Adam`](super::Adam), u = max(β₂·u, |g| + eps), w −= lr/(1 −
    /// β₁ᵗ)·m/u. States: `adamax.step`, `adamax.m.<name>`, `adamax.u.<name>`.
    Adamax = "adamax", "Adam with the largest gradient in place of the mean square" like "optim.Adamax", lr: 2e-3;
    betas: [f64; 2] = [0.9, 0.999], (0.0..1.0).into(), "shares of the old moments that are kept";
    eps: f64 = 1e-8, (0.0..).into(), "added to the size of gradients";
    weight_decay: f64 = 0.0, (0.0..).into(), "share of each parameter that is added to its gradient";
}

impl Optimizer for Adamax {
    fn hyperparameters(&self) -> Vec<(&'static str, f64)> {
        let mut values = of_betas(self.betas);
        values.extend([("lr", self.lr), ("eps", self.eps), ("weight_decay", self.weight_decay)]);
        values
    }

    fn update(&self, scope: &Scope, parameters: &[Parameter]) {
        let update = Update { scope, name: "adamax", values: self.hyperparameters() };
        let rate = update.hyper("lr") / update.correction(&update.count(), "log_beta1");
        for parameter in parameters {
            let (kept, gradient) = decayed(&update, parameter, false);
            let mean = update.draw(&update.slot("m", parameter, 0.0), &gradient, "one_minus_beta1");
            let largest = update.slot("u", parameter, 0.0);
            let size = gradient.abs() + update.hyper("eps");
            let largest = update.write(&largest, (&largest * update.hyper("beta2")).maximum(size));
            scope.write_state(&parameter.value, &(kept - mean / largest * &rate));
        }
    }

    super::declared!();
}

optimizer! {
    /// Adam whose step for each parameter has the parameter's own length, for large batches. You et al.,
    /// arXiv:1904.00962.
    ///
    /// With m and v as in [`Adam`](super::Adam): r = m/(1 − β₁ᵗ) / (√(v/(1 − β₂ᵗ)) + eps) + `weight_decay`·w, w −=
    /// lr·‖w‖/‖r‖·r; the quotient counts as 1 where a length is 0. States: `lamb.step`, `lamb.m.<name>`,
    /// `lamb.v.<name>`.
    Lamb = "lamb", "Adam with steps as long as the parameters, for large batches"
        like "You et al., arXiv:1904.00962", lr: 1e-3;
    betas: [f64; 2] = [0.9, 0.999], (0.0..1.0).into(), "shares of the old moments that are kept";
    eps: f64 = 1e-6, (0.0..).into(), "added to the denominator";
    weight_decay: f64 = 0.01, (0.0..).into(), "share of each parameter that is added to its direction";
}

impl Optimizer for Lamb {
    fn hyperparameters(&self) -> Vec<(&'static str, f64)> {
        let mut values = of_betas(self.betas);
        values.extend([("lr", self.lr), ("eps", self.eps), ("weight_decay", self.weight_decay)]);
        values
    }

    fn update(&self, scope: &Scope, parameters: &[Parameter]) {
        let update = Update { scope, name: "lamb", values: self.hyperparameters() };
        let count = update.count();
        let inverse = update.correction(&count, "log_beta1").reciprocal();
        let inverse_root = update.correction(&count, "log_beta2").rsqrt();
        for parameter in parameters {
            let Parameter { value, gradient, .. } = parameter;
            let mean = update.draw(&update.slot("m", parameter, 0.0), gradient, "one_minus_beta1");
            let second = update.slot("v", parameter, 0.0);
            let spread = update.mean_square(&second, gradient, "beta2", "one_minus_beta2");
            let adapted = mean * &inverse / (spread.sqrt() * &inverse_root + update.hyper("eps"));
            let direction = adapted + value * update.hyper("weight_decay");
            let (own, other) = (value.norm(2.0, ..), direction.norm(2.0, ..));
            let usable = own.gt(0.0).logical_and(other.gt(0.0));
            let trust = Tensor::select(&usable, own / Tensor::select(&usable, other, 1.0), 1.0);
            scope.write_state(value, &(value - direction * (trust * update.hyper("lr"))));
        }
    }

    super::declared!();
}
