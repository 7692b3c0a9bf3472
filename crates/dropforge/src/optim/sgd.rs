//! Stochastic gradient descent.

use super::{Optimizer, Parameter};
use crate::described;
use crate::init::Init;
use crate::nn::{Scope, StateKind};
use crate::settings::Range;
use crate::tensor::Tensor;
use dropforge_ir::{DType, ValueType};

/// Stochastic gradient descent: PyTorch's `optim.SGD`.
///
/// With g the gradient plus `weight_decay`·w and, in the first step, b = g, later b = momentum·b + (1 − dampening)·g:
/// w −= lr·b, or w −= lr·(g + momentum·b) with Nesterov, or w −= lr·g without momentum. States: `sgd.momentum.<name>`,
/// and `sgd.step` with dampening. Sutskever et al., ICML 2013.
///
/// ```
/// use dropforge::prelude::*;
///
/// let (x, y) = (Tensor::from([[0.0], [1.0], [2.0], [3.0]]), Tensor::from([[1.0], [3.0], [5.0], [7.0]]));
/// let optimizer = Sgd::new(0.02).momentum(0.9).nesterov();
/// let mut step = compile(dense(1), mse(), optimizer, (&x, &y))?;
/// for _ in 0..300 {
///     step.run((&x, &y))?;
/// }
/// assert!(step.evaluate((&x, &y))?.loss < 1e-3);
/// # Ok::<(), dropforge::Error>(())
/// ```
#[doc(alias = "SGD")]
#[derive(Clone, Debug, PartialEq)]
pub struct Sgd {
    lr: f64,
    momentum: f64,
    dampening: f64,
    weight_decay: f64,
    nesterov: bool,
}

impl Sgd {
    /// With this learning rate; no momentum, dampening or weight decay.
    pub fn new(lr: f64) -> Sgd {
        Sgd { lr, momentum: 0.0, dampening: 0.0, weight_decay: 0.0, nesterov: false }
    }

    /// Share of the old direction that is kept. Default 0, which keeps no state.
    #[must_use]
    pub fn momentum(mut self, momentum: f64) -> Sgd {
        self.momentum = momentum;
        self
    }

    /// Share of the gradient that does not enter the direction. Default 0.
    #[must_use]
    pub fn dampening(mut self, dampening: f64) -> Sgd {
        self.dampening = dampening;
        self
    }

    /// Share of each parameter that is added to its gradient (L2). Default 0.
    #[must_use]
    pub fn weight_decay(mut self, weight_decay: f64) -> Sgd {
        self.weight_decay = weight_decay;
        self
    }

    /// Looks ahead along the direction; needs momentum and no dampening. Default off.
    #[must_use]
    pub fn nesterov(mut self) -> Sgd {
        self.nesterov = true;
        self
    }
}

impl Optimizer for Sgd {
    fn hyperparameters(&self) -> Vec<(&'static str, f64)> {
        let mut values = Vec::new();
        self.read_hyperparameters(&mut values);
        values
    }

    fn read_hyperparameters(&self, values: &mut Vec<(&'static str, f64)>) {
        values.extend([("lr", self.lr), ("weight_decay", self.weight_decay)]);
        if self.momentum != 0.0 {
            values.push(("momentum", self.momentum));
        }
        if self.dampening != 0.0 {
            values.push(("undampened", 1.0 - self.dampening));
        }
    }

    fn update(&self, scope: &Scope, parameters: &[Parameter]) {
        if self.nesterov && (self.momentum == 0.0 || self.dampening != 0.0) {
            let Some(first) = parameters.first() else { return };
            let failed = scope.fail("sgd", "nesterov needs momentum and no dampening", &first.value);
            scope.write_state(&first.value, &failed);
            return;
        }
        let hyper = |name: &str, value: f64| scope.hyperparameter(name, value);
        let rate = hyper("lr", self.lr);
        let decay = hyper("weight_decay", self.weight_decay);
        // The first direction is the gradient itself, whatever the dampening.
        let dampening = (self.momentum != 0.0 && self.dampening != 0.0).then(|| {
            let ty = ValueType::scalar(DType::U32);
            let step = scope.state_of("sgd.step", StateKind::Optimizer, ty, Init::constant(0.0));
            scope.write_state(&step, &(&step + 1));
            let rest = hyper("undampened", 1.0 - self.dampening);
            Tensor::select(&step.eq(0), 1.0, &rest)
        });
        for Parameter { name, value, gradient } in parameters {
            let gradient = gradient + value * &decay;
            let direction = if self.momentum == 0.0 {
                gradient
            } else {
                let momentum = hyper("momentum", self.momentum);
                let name = format!("sgd.momentum.{name}");
                let old =
                    scope.state_of(&name, StateKind::Optimizer, value.ty().clone(), Init::constant(0.0));
                let new = match &dampening {
                    Some(factor) => &old * &momentum + &gradient * factor,
                    None => &old * &momentum + &gradient,
                };
                scope.write_state(&old, &new);
                if self.nesterov { gradient + new * momentum } else { new }
            };
            scope.write_state(value, &(value - direction * &rate));
        }
    }

    super::declared!();
}

described! {
    Sgd = "sgd", "stochastic gradient descent" like "optim.SGD";
    lr: f64, Some(1e-3), (0.0..).into(), "learning rate";
    momentum: f64, Some(0.0), (0.0..1.0).into(), "share of the old direction that is kept";
    dampening: f64, Some(0.0), (0.0..=1.0).into(), "share of the gradient that does not enter the direction";
    weight_decay: f64, Some(0.0), (0.0..).into(), "share of each parameter that is added to its gradient";
    nesterov: bool, Some(false), Range::ANY, "looks ahead along the direction; needs momentum and no dampening";
}
