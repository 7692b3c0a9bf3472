//! Normalisation layers.

use super::layer::Layer;
use super::scope::Scope;
use crate::init::Init;
use crate::settings::{Described, Range, Value};
use crate::tensor::Tensor;
use crate::{Result, described};
use std::panic::Location;

/// Normalises each channel over the batch. See [`batch_norm`].
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm {
    momentum: f32,
    eps: f32,
    affine: bool,
    site: &'static Location<'static>,
}

/// Normalises each channel (axis 1) of `[batch, channels, ..]` over all other axes: PyTorch's `nn.BatchNorm1d` and
/// `nn.BatchNorm2d`. Ioffe and Szegedy, arXiv:1502.03167.
///
/// In training: y = (x − mean) / √(biased variance + eps) · weight + bias with the statistics of the batch, which are
/// also recorded: running = (1 − momentum)·running + momentum·batch, the variance unbiased. In evaluation the recorded
/// ones are used, as they are in training where [`Group::frozen_statistics`](crate::optim::Group::frozen_statistics)
/// holds them. Parameters `weight` (ones) and `bias` (zeros), states `running_mean` (zeros) and `running_var` (ones),
/// all `[channels]`. Defaults: momentum 0.1, eps 1e-5.
///
/// ```
/// use dropforge::prelude::*;
///
/// let net = seq![conv(8, 3).bias(false), batch_norm(), relu(), flatten(), dense(1)];
/// let (x, y) = (Tensor::ones([4, 3, 6, 6]), Tensor::zeros([4, 1]));
/// let mut step = compile(net, mse(), Sgd::new(0.01), (&x, &y))?;
/// step.run((&x, &y))?;
/// // A tenth of the way to the statistics of the batch.
/// let variance = step.states().read("1.running_var")?;
/// assert!(variance.as_f32().unwrap().iter().all(|v| (v - 0.9).abs() < 1e-5));
/// # Ok::<(), dropforge::Error>(())
/// ```
#[doc(alias = "BatchNorm2d")]
#[track_caller]
pub fn batch_norm() -> BatchNorm {
    BatchNorm { momentum: 0.1, eps: 1e-5, affine: true, site: Location::caller() }
}

impl BatchNorm {
    /// Share of the batch in the recorded statistics. Default 0.1.
    #[must_use]
    pub fn momentum(mut self, momentum: f32) -> BatchNorm {
        self.momentum = momentum;
        self
    }

    /// Added to the variance. Default 1e-5.
    #[must_use]
    pub fn eps(mut self, eps: f32) -> BatchNorm {
        self.eps = eps;
        self
    }

    /// Whether there are a weight and a bias. Default `true`.
    #[must_use]
    pub fn affine(mut self, affine: bool) -> BatchNorm {
        self.affine = affine;
        self
    }
}

impl Layer for BatchNorm {
    fn forward(&self, scope: &Scope, x: &Tensor) -> Tensor {
        scope.run(self, self.site, x, |scope, x| {
            if x.rank() < 2 || !x.dtype().is_float() {
                return scope.fail("batch_norm", format!("needs f32[batch, channels, ..], got {}", x.ty()), x);
            }
            let channels = x.shape()[1];
            let running_mean = scope.state("running_mean", [channels], Init::constant(0.0));
            let running_var = scope.state("running_var", [channels], Init::constant(1.0));
            let others: Vec<isize> = (0..x.rank() as isize).filter(|&axis| axis != 1).collect();
            let mut along = vec![1; x.rank()];
            along[1] = channels;
            let (mean, variance) = if scope.is_training() && !scope.is_held("running_mean") {
                let count: usize = x.shape().without(&[1]).elements();
                if count < 2 {
                    let message = format!(
                        "needs more than one value per channel in training, got {}: one alone has no deviation",
                        x.shape()
                    );
                    return scope.fail("batch_norm", message, x);
                }
                let (mean, variance) = x.mean_and_variance(others.as_slice());
                let unbiased = &variance * (count as f32 / (count as f32 - 1.0));
                let record = |state: &Tensor, batch: &Tensor| {
                    let kept = state * (1.0 - self.momentum) + batch * self.momentum;
                    scope.write_state(state, &kept);
                };
                record(&running_mean, &mean);
                record(&running_var, &unbiased);
                (mean, variance)
            } else {
                (running_mean, running_var)
            };
            let scale = (variance + self.eps).rsqrt().reshape(along.clone());
            let y = (x - mean.reshape(along.clone())) * scale;
            if !self.affine {
                return y;
            }
            let weight = scope.parameter("weight", [channels], Init::constant(1.0));
            let bias = scope.parameter("bias", [channels], Init::constant(0.0));
            y * weight.reshape(along.clone()) + bias.reshape(along)
        })
    }

    fn describe(&self) -> String {
        "batch_norm".into()
    }

    fn config(&self) -> Result<Value> {
        self.write_named().map(Value::Table)
    }
}

described! {
    BatchNorm = "batch_norm", "normalises each channel over the batch"
        like "nn.BatchNorm1d, 2d, 3d" but "one layer for any number of axes; no count of batches",
        { site: Location::caller() };
    momentum: f32, Some(0.1), (0.0..=1.0).into(), "share of the batch in the recorded statistics";
    eps: f32, Some(1e-5), (0.0..).into(), "added to the variance";
    affine: bool, Some(true), Range::ANY, "whether there are a weight and a bias";
}

/// Normalises the last axis. See [`layer_norm`].
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm {
    eps: f32,
    affine: bool,
    site: &'static Location<'static>,
}

/// Normalises over the last axis, each position on its own: PyTorch's `nn.LayerNorm(x.shape[-1])`. Ba et al.,
/// arXiv:1607.06450.
///
/// y = (x − mean) / √(biased variance + eps) · weight + bias, with parameters `weight` (ones) and `bias` (zeros) of the
/// last extent. Default eps 1e-5.
#[doc(alias = "LayerNorm")]
#[track_caller]
pub fn layer_norm() -> LayerNorm {
    LayerNorm { eps: 1e-5, affine: true, site: Location::caller() }
}

impl LayerNorm {
    /// Added to the variance. Default 1e-5.
    #[must_use]
    pub fn eps(mut self, eps: f32) -> LayerNorm {
        self.eps = eps;
        self
    }

    /// Whether there are a weight and a bias. Default `true`.
    #[must_use]
    pub fn affine(mut self, affine: bool) -> LayerNorm {
        self.affine = affine;
        self
    }
}

impl Layer for LayerNorm {
    fn forward(&self, scope: &Scope, x: &Tensor) -> Tensor {
        scope.run(self, self.site, x, |scope, x| {
            let Some(&width) = x.shape().last().filter(|_| x.dtype().is_float()) else {
                return scope.fail("layer_norm", format!("needs f32[.., width], got {}", x.ty()), x);
            };
            let (mean, variance) = x.mean_and_variance(-1);
            let scale = (variance + self.eps).rsqrt().unsqueeze(-1);
            let y = (x - mean.unsqueeze(-1)) * scale;
            if !self.affine {
                return y;
            }
            let weight = scope.parameter("weight", [width], Init::constant(1.0));
            let bias = scope.parameter("bias", [width], Init::constant(0.0));
            y * weight + bias
        })
    }

    fn describe(&self) -> String {
        "layer_norm".into()
    }

    fn config(&self) -> Result<Value> {
        self.write_named().map(Value::Table)
    }
}

described! {
    LayerNorm = "layer_norm", "normalises the last axis"
        like "nn.LayerNorm" but "of the last axis alone", { site: Location::caller() };
    eps: f32, Some(1e-5), (0.0..).into(), "added to the variance";
    affine: bool, Some(true), Range::ANY, "whether there are a weight and a bias";
}
