//! Adam and AdamW.

use super::{Optimizer, Parameter};
use crate::described;
use crate::init::Init;
use crate::nn::{Scope, StateKind};
use crate::settings::Range;
use dropforge_ir::{DType, ValueType};

/// What Adam and AdamW share.
struct Moments {
    name: &'static str,
    lr: f64,
    betas: [f64; 2],
    eps: f64,
    weight_decay: f64,
    amsgrad: bool,
    /// Whether weight decay acts on the parameter itself instead of the gradient.
    decoupled: bool,
}

impl Moments {
    fn hyperparameters(&self) -> [(&'static str, f64); 8] {
        let [beta1, beta2] = self.betas;
        let decay = if self.decoupled { 1.0 - self.lr * self.weight_decay } else { self.weight_decay };
        [
            ("lr", self.lr),
            (if self.decoupled { "weight_kept" } else { "weight_decay" }, decay),
            ("one_minus_beta1", 1.0 - beta1),
            ("beta2", beta2),
            ("one_minus_beta2", 1.0 - beta2),
            ("log_beta1", beta1.ln()),
            ("log_beta2", beta2.ln()),
            ("eps", self.eps),
        ]
    }

    fn update(&self, scope: &Scope, parameters: &[Parameter]) {
        let values = self.hyperparameters();
        let hyper = |name: &str| {
            let value = values.iter().find(|(known, _)| *known == name).map_or(0.0, |(_, value)| *value);
            scope.hyperparameter(name, value)
        };
        let state = |name: String, ty: ValueType| {
            scope.state_of(&name, StateKind::Optimizer, ty, Init::constant(0.0))
        };
        let step = state(format!("{}.step", self.name), ValueType::scalar(DType::U32));
        let next = &step + 1;
        scope.write_state(&step, &next);
        // 1 − beta^t without cancellation: −expm1(t·ln beta).
        let count = next.cast(DType::F32);
        let correction = |log_beta: &str| -(&count * hyper(log_beta)).expm1();
        let step_size = hyper("lr") / correction("log_beta1");
        // Its inverse, since a division for every element would take longer than all the rest.
        let inverse_root_correction = correction("log_beta2").rsqrt();
        for Parameter { name, value, gradient } in parameters {
            let slot = |kind: &str| state(format!("{}.{kind}.{name}", self.name), value.ty().clone());
            let (value_kept, gradient) = if self.decoupled {
                (value * hyper("weight_kept"), gradient.clone())
            } else {
                (value.clone(), gradient + value * hyper("weight_decay"))
            };
            let (first, second) = (slot("m"), slot("v"));
            let new_first = &first + (&gradient - &first) * hyper("one_minus_beta1");
            let new_second = &second * hyper("beta2") + &gradient * &gradient * hyper("one_minus_beta2");
            scope.write_state(&first, &new_first);
            scope.write_state(&second, &new_second);
            let spread = if self.amsgrad {
                let largest = slot("v_max");
                let new_largest = largest.maximum(&new_second);
                scope.write_state(&largest, &new_largest);
                new_largest
            } else {
                new_second
            };
            let denominator = spread.sqrt() * &inverse_root_correction + hyper("eps");
            scope.write_state(value, &(value_kept - &step_size * (new_first / denominator)));
        }
    }
}

macro_rules! adam {
    (
        $(#[$doc:meta])* $name:ident, $text:literal, $help:literal
            $(like $twin:literal $(but $differs:literal)?)?, decoupled: $decoupled:literal,
        weight_decay: $decay:literal
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            lr: f64,
            betas: [f64; 2],
            eps: f64,
            weight_decay: f64,
            amsgrad: bool,
        }

        impl $name {
            #[doc = concat!(
                "With this learning rate; betas (0.9, 0.999), eps 1e-8, weight decay ", stringify!($decay), "."
            )]
            pub fn new(lr: f64) -> $name {
                $name { lr, betas: [0.9, 0.999], eps: 1e-8, weight_decay: $decay, amsgrad: false }
            }

            /// How much of the running means of the gradient and of its square is kept. Default (0.9, 0.999).
            #[must_use]
            pub fn betas(mut self, beta1: f64, beta2: f64) -> $name {
                self.betas = [beta1, beta2];
                self
            }

            /// Added to the denominator. Default 1e-8.
            #[must_use]
            pub fn eps(mut self, eps: f64) -> $name {
                self.eps = eps;
                self
            }

            #[doc = concat!("How strongly parameters are drawn to zero. Default ", stringify!($decay), ".")]
            #[must_use]
            pub fn weight_decay(mut self, weight_decay: f64) -> $name {
                self.weight_decay = weight_decay;
                self
            }

            /// Uses the largest second moment so far. Default off. Reddi et al., arXiv:1904.09237.
            #[must_use]
            pub fn amsgrad(mut self) -> $name {
                self.amsgrad = true;
                self
            }

            fn moments(&self) -> Moments {
                let $name { lr, betas, eps, weight_decay, amsgrad } = *self;
                Moments { name: $text, lr, betas, eps, weight_decay, amsgrad, decoupled: $decoupled }
            }
        }

        impl Optimizer for $name {
            fn hyperparameters(&self) -> Vec<(&'static str, f64)> {
                self.moments().hyperparameters().into()
            }

            fn read_hyperparameters(&self, values: &mut Vec<(&'static str, f64)>) {
                values.extend(self.moments().hyperparameters());
            }

            fn update(&self, scope: &Scope, parameters: &[Parameter]) {
                self.moments().update(scope, parameters);
            }

            super::declared!();
        }

        described! {
            $name = $text, $help $(like $twin $(but $differs)?)?;
            lr: f64, Some(1e-3), (0.0..).into(), "learning rate";
            betas: [f64; 2], Some([0.9, 0.999]), (0.0..1.0).into(),
                "how much of the running means of the gradient and of its square is kept";
            eps: f64, Some(1e-8), (0.0..).into(), "added to the denominator";
            weight_decay: f64, Some($decay), (0.0..).into(), "how strongly parameters are drawn to zero";
            amsgrad: bool, Some(false), Range::ANY, "uses the largest second moment so far";
        }
    };
}

adam! {
    /// Adam: PyTorch's `optim.Adam`. Kingma and Ba, arXiv:1412.6980.
    ///
    /// With g the gradient plus `weight_decay`·w: m += (1 − β₁)(g − m), v = β₂·v + (1 − β₂)·g²,
    /// w −= lr/(1 − β₁ᵗ) · m / (√v/√(1 − β₂ᵗ) + eps). States: `adam.step`, `adam.m.<name>`, `adam.v.<name>`, and
    /// `adam.v_max.<name>` with AMSGrad.
    Adam, "adam", "adaptive moments" like "optim.Adam", decoupled: false, weight_decay: 0.0
}

adam! {
    /// Adam with decoupled weight decay: PyTorch's `optim.AdamW`. Loshchilov and Hutter, arXiv:1711.05101.
    ///
    /// w is first multiplied by 1 − lr·`weight_decay`; then as [`Adam`] with the bare gradient. States: `adamw.step`,
    /// `adamw.m.<name>`, `adamw.v.<name>`, and `adamw.v_max.<name>` with AMSGrad.
    AdamW, "adamw", "adaptive moments with decoupled weight decay"
        like "optim.AdamW", decoupled: true, weight_decay: 0.01
}
