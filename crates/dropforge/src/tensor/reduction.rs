//! Reductions over axes, and what is composed from them.

use super::Tensor;
use super::node::{apply, apply_all, fail};
use super::shapes::{Axes, resolve_axis};
use dropforge_ir::{DType, Op, ReduceKind, Shape};

macro_rules! reductions {
    ($($(#[$doc:meta])* $name:ident $keep:ident = $kind:ident),* $(,)?) => {
        impl Tensor {
            $(
                $(#[$doc])*
                #[track_caller]
                pub fn $name(&self, axes: impl Axes) -> Tensor {
                    let axes = match axes.resolve(self.shape()) {
                        Ok(axes) => axes,
                        Err(message) => return fail(stringify!($name), message, &[self]),
                    };
                    apply(stringify!($name), Op::Reduce { kind: ReduceKind::$kind, axes }, &[self])
                }

                #[doc = concat!("As [`Tensor::", stringify!($name), "`], with the axes kept at extent 1.")]
                #[track_caller]
                pub fn $keep(&self, axes: impl Axes) -> Tensor {
                    match axes.resolve(self.shape()) {
                        Ok(resolved) => self.$name(axes).keep_axes(self.shape(), &resolved),
                        Err(message) => fail(stringify!($keep), message, &[self]),
                    }
                }
            )*
        }
    };
}

reductions! {
    /// Sum over axes, which disappear: `x.sum(..)`, `x.sum(-1)`, `x.sum([0, 2])`. Of f32 or i32.
    sum sum_keep = Sum,
    /// Largest element over axes, which disappear; NaN if any is. Equal ones share the gradient evenly.
    max max_keep = Max,
    /// Smallest element over axes, which disappear; NaN if any is. Equal ones share the gradient evenly.
    min min_keep = Min,
    /// Product over axes, which disappear. It has no gradient.
    product product_keep = Product,
}

impl Tensor {
    /// Mean over axes, which disappear. NaN over no elements.
    #[track_caller]
    pub fn mean(&self, axes: impl Axes) -> Tensor {
        match axes.resolve(self.shape()) {
            Ok(resolved) => self.average("mean", axes, &resolved),
            Err(message) => fail("mean", message, &[self]),
        }
    }

    /// As [`Tensor::mean`], with the axes kept at extent 1.
    #[track_caller]
    pub fn mean_keep(&self, axes: impl Axes) -> Tensor {
        match axes.resolve(self.shape()) {
            Ok(resolved) => self.average("mean", axes, &resolved).keep_axes(self.shape(), &resolved),
            Err(message) => fail("mean_keep", message, &[self]),
        }
    }

    #[track_caller]
    fn average(&self, name: &str, axes: impl Axes, resolved: &[usize]) -> Tensor {
        if !self.dtype().is_float() {
            return fail(name, format!("is not defined for {}; cast to f32 first", self.ty()), &[self]);
        }
        let count: usize = resolved.iter().map(|&axis| self.shape()[axis]).product();
        (self.widened().sum(axes) / count as f32).cast(self.dtype())
    }

    /// Variance over axes, which disappear: squared distances from the mean, divided by the count less one (unbiased),
    /// as PyTorch's `var`.
    #[track_caller]
    pub fn var(&self, axes: impl Axes) -> Tensor {
        let count: usize = match axes.resolve(self.shape()) {
            Ok(axes) => axes.iter().map(|&axis| self.shape()[axis]).product(),
            Err(message) => return fail("var", message, &[self]),
        };
        let (_, biased) = self.mean_and_variance(axes);
        biased * (count as f32 / (count as f32 - 1.0))
    }

    /// Square root of [`Tensor::var`].
    #[track_caller]
    pub fn std(&self, axes: impl Axes) -> Tensor {
        self.var(axes).sqrt()
    }

    /// Mean and biased variance (divided by the count) over axes, which disappear, in one pass.
    #[track_caller]
    pub fn mean_and_variance(&self, axes: impl Axes) -> (Tensor, Tensor) {
        let [mean, variance] = match axes.resolve(self.shape()) {
            Ok(axes) => apply_all("mean_and_variance", Op::MeanVariance { axes }, &[self]),
            Err(message) => {
                let failed = fail("mean_and_variance", message, &[self]);
                [failed.clone(), failed]
            }
        };
        (mean, variance)
    }

    /// Position of the largest element along an axis, which disappears, as i32; the first of equals.
    #[track_caller]
    pub fn argmax(&self, axis: isize) -> Tensor {
        match resolve_axis(axis, self.shape()) {
            Ok(axis) => apply("argmax", Op::ArgMax { axis }, &[self]),
            Err(message) => fail("argmax", message, &[self]),
        }
    }

    /// Position of the smallest element along an axis, which disappears, as i32; the first of equals.
    #[track_caller]
    pub fn argmin(&self, axis: isize) -> Tensor {
        (-self).argmax(axis)
    }

    /// ln Σ e^x over axes, which disappear, without overflow.
    #[track_caller]
    pub fn logsumexp(&self, axes: impl Axes) -> Tensor {
        match axes.resolve(self.shape()) {
            Ok(axes) => apply("logsumexp", Op::LogSumExp { axes }, &[self]),
            Err(message) => fail("logsumexp", message, &[self]),
        }
    }

    /// e^x / Σ e^x along an axis, without overflow.
    #[track_caller]
    pub fn softmax(&self, axis: isize) -> Tensor {
        self.widened().normalized("softmax", axis).exp().cast(self.dtype())
    }

    /// Logarithm of the softmax along an axis: x − ln Σ e^x.
    #[track_caller]
    pub fn log_softmax(&self, axis: isize) -> Tensor {
        self.widened().normalized("log_softmax", axis).cast(self.dtype())
    }

    #[track_caller]
    fn normalized(&self, name: &str, axis: isize) -> Tensor {
        if !self.dtype().is_float() {
            return fail(name, format!("needs floats, got {}; cast first", self.ty()), &[self]);
        }
        match resolve_axis(axis, self.shape()) {
            Ok(resolved) => self - self.logsumexp(axis).keep_axes(self.shape(), &[resolved]),
            Err(message) => fail(name, message, &[self]),
        }
    }

    /// Puts the reduced `axes` of `shape` back with extent 1.
    #[track_caller]
    pub(crate) fn keep_axes(&self, shape: &Shape, axes: &[usize]) -> Tensor {
        let kept: Shape =
            (0..shape.rank()).map(|axis| if axes.contains(&axis) { 1 } else { shape[axis] }).collect();
        if kept == *self.shape() {
            self.clone()
        } else {
            apply("reshape", Op::Reshape { shape: kept }, &[self])
        }
    }

    /// Whether every element of a bool tensor over axes, which disappear, is true.
    #[track_caller]
    pub fn all(&self, axes: impl Axes) -> Tensor {
        self.cast(DType::I32).min(axes).cast(DType::Bool)
    }

    /// Whether any element of a bool tensor over axes, which disappear, is true.
    #[track_caller]
    pub fn any(&self, axes: impl Axes) -> Tensor {
        self.cast(DType::I32).max(axes).gt(0)
    }
}
