//! Adafactor.

use super::declare::{Update, optimizer};
use super::{Optimizer, Parameter};
use crate::nn::Scope;
use crate::tensor::Tensor;
use dropforge_ir::{Shape, ValueType};

optimizer! {
    /// Mean squares of matrices kept as one number for each row and column: PyTorch's `optim.Adafactor`. Shazeer and
    /// Stern, arXiv:1804.04235.
    ///
    /// With β = 1 − t^`beta2_decay`: rows = β·rows + (1 − β)·mean over columns of g², columns likewise, and v =
    /// rows·columns/mean(rows); of vectors v = β·v + (1 − β)·g². u = g/√v, shortened where its root mean square is
    /// above `clip`; w −= max(`eps`, root mean square of w)·min(lr, 1/√t)·u. Matrices are the last two axes. States:
    /// `adafactor.step`, `adafactor.rows.<name>` and `adafactor.columns.<name>`, or `adafactor.v.<name>`.
    Adafactor = "adafactor", "Adam with one number for each row and column of a matrix"
        like "optim.Adafactor", lr: 0.01;
    beta2_decay: f64 = -0.8, (-1.0..=0.0).into(), "how the share of a new square falls with the steps, as a power";
    eps: f64 = 1e-3, (0.0..).into(), "least size of the parameters that a step is measured by";
    clip: f64 = 1.0, (1.0..).into(), "root mean square up to which a direction stays";
    weight_decay: f64 = 0.0, (0.0..).into(), "how strongly parameters are drawn to zero";
}

/// Root of the mean square of all elements.
fn root_mean_square(x: &Tensor) -> Tensor {
    (x * x).mean(..).sqrt()
}

impl Optimizer for Adafactor {
    fn hyperparameters(&self) -> Vec<(&'static str, f64)> {
        vec![
            ("lr", self.lr),
            ("beta2_decay", self.beta2_decay),
            ("eps", self.eps),
            ("clip", self.clip),
            ("weight_kept", 1.0 - self.lr * self.weight_decay),
        ]
    }

    fn update(&self, scope: &Scope, parameters: &[Parameter]) {
        let update = Update { scope, name: "adafactor", values: self.hyperparameters() };
        let count = update.count();
        let share = count.pow(update.hyper("beta2_decay"));
        let rate = update.hyper("lr").minimum(count.rsqrt());
        let draw = |state: &Tensor, value: Tensor| update.write(state, state + (value - state) * &share);
        // The least mean square, as PyTorch has it.
        let least = f32::EPSILON;
        for parameter in parameters {
            let Parameter { name, value, gradient } = parameter;
            let kept = value * update.hyper("weight_kept");
            let square = gradient * gradient;
            let spread = if value.rank() < 2 {
                draw(&update.slot("v", parameter, 0.0), square)
            } else {
                let state = |kind: &str, shape: &Shape| {
                    let ty = ValueType::new(value.dtype(), shape.clone());
                    update.state(&format!("{kind}.{name}"), ty, 0.0)
                };
                let (of_rows, of_columns) = (square.mean_keep(-1), square.mean_keep(-2));
                let rows = draw(&state("rows", of_rows.shape()), of_rows.clone());
                let columns = draw(&state("columns", of_columns.shape()), of_columns.clone());
                let mean = rows.mean_keep(-2).maximum(least);
                rows * columns / mean
            };
            let direction = spread.maximum(least * least).rsqrt() * gradient;
            let excess = (root_mean_square(&direction) / update.hyper("clip")).maximum(1.0);
            let size = root_mean_square(value).maximum(update.hyper("eps"));
            scope.write_state(value, &(kept - direction * (size * &rate / excess)));
        }
    }

    super::declared!();
}
