//! Losses of numbers.

use super::at;
use super::declare::{alike, losses, reduced};
use crate::settings::Range;
use crate::tensor::Tensor;
use crate::tensor::node::fail;

losses! {
    /// |prediction − target|: PyTorch's `L1Loss`, Keras' mean absolute error.
    #[doc(alias = "L1Loss")]
    AbsoluteError, mae = "mae", "mean of the distances" like "nn.L1Loss" {}

    /// Half the squared difference up to `delta`, then a line of slope `delta`: PyTorch's `HuberLoss`. Huber, 1964.
    #[doc(alias = "HuberLoss")]
    Huber, huber = "huber", "half the squared difference, a line far out" like "nn.HuberLoss" {
        delta: f32 = 1.0, Range::above(0.0), "distance from which on the loss is a line";
    }

    /// The squared difference divided by 2·`beta` up to `beta`, then a line of slope 1: PyTorch's `SmoothL1Loss`. With
    /// `beta` 0 it is [`mae`]. Girshick, arXiv:1504.08083.
    #[doc(alias = "SmoothL1Loss")]
    SmoothAbsoluteError, smooth_l1 = "smooth_l1", "squared difference near 0, distance far out" like "nn.SmoothL1Loss" {
        beta: f32 = 1.0, (0.0..).into(), "distance from which on the loss is a line";
    }

    /// e^prediction − target·prediction, the negative logarithm of Poisson's probability of the target without its
    /// constant: PyTorch's `PoissonNLLLoss`.
    #[doc(alias = "PoissonNLLLoss")]
    Poisson, poisson_nll = "poisson_nll", "negative logarithm of Poisson's probability" like "nn.PoissonNLLLoss" {
        log_input: bool = true, Range::ANY, "whether the prediction is the logarithm of the rate";
        full: bool = false, Range::ANY, "whether the constant is added";
        eps: f32 = 1e-8, Range::above(0.0), "added to a rate before its logarithm";
    }

    /// ln(var)/2 + (prediction − target)²/(2·var), the negative logarithm of the normal distribution's density without
    /// its constant: PyTorch's `GaussianNLLLoss`. As a loss of two tensors it reads mean and variance from the two
    /// halves of the prediction's last axis; [`GaussianLogLikelihood::with_variance`] takes three. Nix and Weigend,
    /// 1994.
    #[doc(alias = "GaussianNLLLoss")]
    GaussianLogLikelihood, gaussian_nll = "gaussian_nll",
        "negative logarithm of the normal density; means and variances are halves of the last axis"
        like "nn.GaussianNLLLoss" but "means and variances are halves of one tensor"
    {
        full: bool = false, Range::ANY, "whether the constant is added";
        eps: f32 = 1e-6, Range::above(0.0), "least variance that counts";
    }
}

impl AbsoluteError {
    /// The loss of each element.
    #[track_caller]
    pub fn each(&self, prediction: &Tensor, target: &Tensor) -> Tensor {
        match alike("mae", &at(prediction, self.site), target) {
            Ok([x, y]) => (x - y).abs(),
            Err(failed) => failed,
        }
    }
}

impl Huber {
    /// The loss of each element.
    #[track_caller]
    pub fn each(&self, prediction: &Tensor, target: &Tensor) -> Tensor {
        let [x, y] = match alike("huber", &at(prediction, self.site), target) {
            Ok(both) => both,
            Err(failed) => return failed,
        };
        if self.delta <= 0.0 || self.delta.is_nan() {
            return fail("huber", format!("delta must be above 0, got {}", self.delta), &[&x, &y]);
        }
        let distance = (x - y).abs();
        let is_near = distance.le(self.delta);
        let near = Tensor::select(&is_near, &distance, 0.0);
        let far = (&distance - 0.5 * self.delta) * self.delta;
        Tensor::select(&is_near, &near * &near * 0.5, far)
    }
}

impl SmoothAbsoluteError {
    /// The loss of each element.
    #[track_caller]
    pub fn each(&self, prediction: &Tensor, target: &Tensor) -> Tensor {
        let [x, y] = match alike("smooth_l1", &at(prediction, self.site), target) {
            Ok(both) => both,
            Err(failed) => return failed,
        };
        if self.beta < 0.0 || self.beta.is_nan() {
            return fail("smooth_l1", format!("beta must not be negative, got {}", self.beta), &[&x, &y]);
        }
        let distance = (x - y).abs();
        if self.beta == 0.0 {
            return distance;
        }
        let is_near = distance.lt(self.beta);
        let near = Tensor::select(&is_near, &distance, 0.0);
        Tensor::select(&is_near, &near * &near * (0.5 / self.beta), &distance - 0.5 * self.beta)
    }
}

impl Poisson {
    /// The loss of each element.
    #[track_caller]
    pub fn each(&self, prediction: &Tensor, target: &Tensor) -> Tensor {
        let [x, y] = match alike("poisson_nll", &at(prediction, self.site), target) {
            Ok(both) => both,
            Err(failed) => return failed,
        };
        let each = if self.log_input { x.exp() - &y * &x } else { &x - &y * (&x + self.eps).log() };
        if !self.full {
            return each;
        }
        // ln y! ≈ y·ln y − y + ln(2πy)/2.
        let counted = y.gt(1.0);
        let y = Tensor::select(&counted, y, 1.0);
        let factorial = &y * y.log() - &y + (&y * std::f32::consts::TAU).log() * 0.5;
        each + Tensor::select(&counted, factorial, 0.0)
    }
}

impl GaussianLogLikelihood {
    /// The loss of each element, from mean, target and variance of one shape.
    #[track_caller]
    pub fn with_variance(&self, mean: &Tensor, target: &Tensor, variance: &Tensor) -> Tensor {
        let mean = at(mean, self.site);
        let both = alike("gaussian_nll", &mean, target);
        let ([x, y], [_, variance]) = match (both, alike("gaussian_nll", &mean, variance)) {
            (Ok(both), Ok(other)) => (both, other),
            (Err(failed), _) | (_, Err(failed)) => return failed,
        };
        // The least variance counts, but the gradient is that of the variance itself, as in PyTorch.
        let variance = &variance + (variance.maximum(self.eps) - &variance).detach();
        let distance = x - y;
        let each = (variance.log() + &distance * &distance / &variance) * 0.5;
        if self.full { each + 0.5 * std::f32::consts::TAU.ln() } else { each }
    }

    /// The loss of each element: mean and variance are the halves of the last axis of the prediction.
    #[track_caller]
    pub fn each(&self, prediction: &Tensor, target: &Tensor) -> Tensor {
        let prediction = at(prediction, self.site);
        let extent = prediction.shape().last().copied().unwrap_or(0);
        if extent == 0 || extent % 2 != 0 {
            let message =
                format!("needs means and variances in halves of the last axis, got {}", prediction.shape());
            return fail("gaussian_nll", message, &[&prediction, target]);
        }
        let (mean, variance) = (prediction.slice(-1, ..extent / 2), prediction.slice(-1, extent / 2..));
        self.with_variance(&mean, target, &variance)
    }
}

reduced!(AbsoluteError, Huber, SmoothAbsoluteError, Poisson in Counts, GaussianLogLikelihood);
