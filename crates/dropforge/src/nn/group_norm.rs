//! Normalisation that does not depend on the batch: of groups of channels, of channels, by the root mean square.

use super::layer::Layer;
use super::scope::Scope;
use crate::init::Init;
use crate::settings::{Described, Range, Value};
use crate::tensor::Tensor;
use crate::{Result, described};
use std::panic::Location;

/// Normalises groups of channels. See [`group_norm`].
#[derive(Clone, Copy, Debug)]
pub struct GroupNorm {
    groups: usize,
    eps: f32,
    affine: bool,
    site: &'static Location<'static>,
}

/// Normalises each of so many groups of channels (axis 1) of each sample: PyTorch's `nn.GroupNorm`. Wu and He,
/// arXiv:1803.08494.
///
/// y = (x − mean) / √(biased variance + eps) · weight + bias, with parameters `weight` (ones) and `bias` (zeros),
/// `[channels]`. Default eps 1e-5.
#[doc(alias = "GroupNorm")]
#[track_caller]
pub fn group_norm(groups: usize) -> GroupNorm {
    GroupNorm { groups, eps: 1e-5, affine: true, site: Location::caller() }
}

/// Normalises each channel of each sample. See [`instance_norm`].
#[derive(Clone, Copy, Debug)]
pub struct InstanceNorm {
    eps: f32,
    affine: bool,
    site: &'static Location<'static>,
}

/// Normalises each channel (axis 1) of each sample: PyTorch's `nn.InstanceNorm1d` to `3d`, which have no weight and
/// bias unless asked for; neither has this one. Ulyanov et al., arXiv:1607.08022. Default eps 1e-5.
#[doc(alias = "InstanceNorm2d")]
#[track_caller]
pub fn instance_norm() -> InstanceNorm {
    InstanceNorm { eps: 1e-5, affine: false, site: Location::caller() }
}

/// Divides by the root mean square of the last axis. See [`rms_norm`].
#[derive(Clone, Copy, Debug)]
pub struct RmsNorm {
    eps: f32,
    affine: bool,
    site: &'static Location<'static>,
}

/// Divides by the root mean square of the last axis: PyTorch's `nn.RMSNorm(x.shape[-1])`. Zhang and Sennrich,
/// arXiv:1910.07467.
///
/// y = x / √(mean of x² + eps) · weight, with the parameter `weight` (ones) of the last extent. Default eps 1e-5;
/// PyTorch's is the smallest step of the element type at 1.
#[doc(alias = "RMSNorm")]
#[track_caller]
pub fn rms_norm() -> RmsNorm {
    RmsNorm { eps: 1e-5, affine: true, site: Location::caller() }
}

macro_rules! setters {
    ($($type:ty, $affine:literal;)*) => {$(
        impl $type {
            /// Added to the variance or mean square. Default 1e-5.
            #[must_use]
            pub fn eps(mut self, eps: f32) -> $type {
                self.eps = eps;
                self
            }

            #[doc = concat!("Whether the result is scaled (and shifted) by parameters. Default `", $affine, "`.")]
            #[must_use]
            pub fn affine(mut self, affine: bool) -> $type {
                self.affine = affine;
                self
            }
        }
    )*};
}
setters! {
    GroupNorm, "true";
    InstanceNorm, "false";
    RmsNorm, "true";
}

/// `[batch, channels, ..]` normalised in groups of channels.
#[track_caller]
fn normalized(scope: &Scope, name: &str, x: &Tensor, groups: usize, eps: f32, affine: bool) -> Tensor {
    if x.rank() < 2 || !x.dtype().is_float() {
        return scope.fail(name, format!("needs f32[batch, channels, ..], got {}", x.ty()), x);
    }
    let channels = x.shape()[1];
    if groups == 0 || !channels.is_multiple_of(groups) {
        return scope.fail(name, format!("{channels} channels do not divide into {groups} groups"), x);
    }
    let each: usize = x.shape()[2..].iter().product::<usize>() * (channels / groups);
    let wide = x.widened().reshape(vec![x.shape()[0], groups, each]);
    let (mean, variance) = wide.mean_and_variance(-1);
    let scale = (variance + eps).rsqrt().unsqueeze(-1);
    let y = ((wide - mean.unsqueeze(-1)) * scale).reshape(x.shape()).cast(x.dtype());
    if !affine {
        return y;
    }
    let mut along = vec![1; x.rank()];
    along[1] = channels;
    let weight = scope.parameter("weight", [channels], Init::constant(1.0));
    let bias = scope.parameter("bias", [channels], Init::constant(0.0));
    y * weight.reshape(along.clone()) + bias.reshape(along)
}

impl Layer for GroupNorm {
    fn forward(&self, scope: &Scope, x: &Tensor) -> Tensor {
        scope.run(self, self.site, x, |scope, x| {
            normalized(scope, "group_norm", x, self.groups, self.eps, self.affine)
        })
    }

    fn describe(&self) -> String {
        format!("group_norm({})", self.groups)
    }

    fn config(&self) -> Result<Value> {
        self.write_named().map(Value::Table)
    }
}

described! {
    GroupNorm = "group_norm", "normalises groups of channels of each sample"
        like "nn.GroupNorm", { site: Location::caller() };
    groups: usize, None, (1..).into(), "number of groups; divides the channels";
    eps: f32, Some(1e-5), (0.0..).into(), "added to the variance";
    affine: bool, Some(true), Range::ANY, "whether there are a weight and a bias";
}

impl Layer for InstanceNorm {
    fn forward(&self, scope: &Scope, x: &Tensor) -> Tensor {
        scope.run(self, self.site, x, |scope, x| {
            if x.rank() >= 3 && x.shape()[2..].iter().product::<usize>() < 2 && scope.is_training() {
                let message = format!(
                    "needs more than one value per channel in training, got {}: one alone has no deviation",
                    x.shape()
                );
                return scope.fail("instance_norm", message, x);
            }
            let channels = x.shape().get(1).copied().unwrap_or(1);
            normalized(scope, "instance_norm", x, channels, self.eps, self.affine)
        })
    }

    fn describe(&self) -> String {
        "instance_norm".into()
    }

    fn config(&self) -> Result<Value> {
        self.write_named().map(Value::Table)
    }
}

described! {
    InstanceNorm = "instance_norm", "normalises each channel of each sample"
        like "nn.InstanceNorm1d, 2d, 3d" but "one layer for any number of axes; no running statistics",
        { site: Location::caller() };
    eps: f32, Some(1e-5), (0.0..).into(), "added to the variance";
    affine: bool, Some(false), Range::ANY, "whether there are a weight and a bias";
}

impl Layer for RmsNorm {
    fn forward(&self, scope: &Scope, x: &Tensor) -> Tensor {
        scope.run(self, self.site, x, |scope, x| {
            let Some(&width) = x.shape().last().filter(|_| x.dtype().is_float()) else {
                return scope.fail("rms_norm", format!("needs f32[.., width], got {}", x.ty()), x);
            };
            let wide = x.widened();
            let scale = ((&wide * &wide).mean_keep(-1) + self.eps).rsqrt();
            let y = (wide * scale).cast(x.dtype());
            if !self.affine {
                return y;
            }
            y * scope.parameter("weight", [width], Init::constant(1.0))
        })
    }

    fn describe(&self) -> String {
        "rms_norm".into()
    }

    fn config(&self) -> Result<Value> {
        self.write_named().map(Value::Table)
    }
}

described! {
    RmsNorm = "rms_norm", "divides by the root mean square of the last axis"
        like "nn.RMSNorm" but "of the last axis alone; eps is 1e-5 unless told otherwise", { site: Location::caller() };
    eps: f32, Some(1e-5), (0.0..).into(), "added to the mean square";
    affine: bool, Some(true), Range::ANY, "whether there is a weight";
}
