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
                    self.reduced(stringify!($name), ReduceKind::$kind, axes)
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
    /// Largest element over axes, which disappear and must not be empty; NaN if any is. Equal ones share the gradient
    /// evenly.
    max max_keep = Max,
    /// Smallest element over axes, which disappear and must not be empty; NaN if any is. Equal ones share the gradient
    /// evenly.
    min min_keep = Min,
    /// Product over axes, which disappear.
    product product_keep = Product,
}

impl Tensor {
    #[track_caller]
    fn reduced(&self, name: &str, kind: ReduceKind, axes: Vec<usize>) -> Tensor {
        let empty = axes.iter().find(|&&axis| self.shape()[axis] == 0);
        match (kind, empty) {
            (ReduceKind::Max | ReduceKind::Min, Some(axis)) => {
                let message =
                    format!("axis {axis} of {} is empty, there is nothing to choose from", self.shape());
                fail(name, message, &[self])
            }
            _ => apply(name, Op::Reduce { kind, axes }, &[self]),
        }
    }

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
        let (_, biased) = self.widened().mean_and_variance(axes);
        (biased * (count as f32 / (count as f32 - 1.0))).cast(self.dtype())
    }

    /// Square root of [`Tensor::var`]. Equal elements get a gradient of 0, as in PyTorch, though the root has no slope
    /// there.
    #[track_caller]
    pub fn std(&self, axes: impl Axes) -> Tensor {
        let variance = self.widened().var(axes);
        let none = variance.eq(0.0);
        let root = Tensor::select(&none, 1.0, &variance).sqrt();
        Tensor::select(&none, 0.0, &root).cast(self.dtype())
    }

    /// Mean and biased variance (divided by the count) over axes, which disappear, in one pass.
    #[doc(alias = "var_mean")]
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

    /// e^x / Σ e^x along an axis, without overflow and with all digits at any magnitude of x.
    #[track_caller]
    pub fn softmax(&self, axis: isize) -> Tensor {
        match self.widened().below_largest("softmax", axis) {
            Ok((below, resolved)) => {
                let powers = below.exp();
                let total = powers.sum(axis).keep_axes(self.shape(), &[resolved]);
                (powers / total).cast(self.dtype())
            }
            Err(failed) => failed,
        }
    }

    /// Logarithm of the softmax along an axis: x − ln Σ e^x, with all digits at any magnitude of x.
    #[track_caller]
    pub fn log_softmax(&self, axis: isize) -> Tensor {
        match self.widened().below_largest("log_softmax", axis) {
            Ok((below, resolved)) => {
                let total = below.exp().sum(axis).log().keep_axes(self.shape(), &[resolved]);
                (below - total).cast(self.dtype())
            }
            Err(failed) => failed,
        }
    }

    /// How far each element lies below the largest along an axis, with that axis. Softmax and its kin start from there:
    /// ln Σ e^x of x itself is rounded at the magnitude of x, and what distinguishes small differences is lost. They
    /// are the same for every shift of x, so that no gradient has to flow through the largest.
    #[track_caller]
    pub(crate) fn below_largest(&self, name: &str, axis: isize) -> Result<(Tensor, usize), Tensor> {
        if !self.dtype().is_float() {
            return Err(fail(name, format!("needs floats, got {}; cast first", self.ty()), &[self]));
        }
        match resolve_axis(axis, self.shape()) {
            Ok(resolved) => {
                let axes = vec![resolved];
                let largest = apply(name, Op::Reduce { kind: ReduceKind::Max, axes }, &[self]);
                let largest = largest.detach().keep_axes(self.shape(), &[resolved]);
                Ok((self - largest, resolved))
            }
            Err(message) => Err(fail(name, message, &[self])),
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

    /// Whether every element of a bool tensor over axes, which disappear, is true; so it is where there is none.
    #[track_caller]
    pub fn all(&self, axes: impl Axes) -> Tensor {
        self.truths("all", ReduceKind::Min, axes).cast(DType::Bool)
    }

    /// Whether any element of a bool tensor over axes, which disappear, is true.
    #[track_caller]
    pub fn any(&self, axes: impl Axes) -> Tensor {
        self.truths("any", ReduceKind::Max, axes).gt(0)
    }

    #[track_caller]
    fn truths(&self, name: &str, kind: ReduceKind, axes: impl Axes) -> Tensor {
        match axes.resolve(self.shape()) {
            Ok(axes) => apply(name, Op::Reduce { kind, axes }, &[&self.cast(DType::I32)]),
            Err(message) => fail(name, message, &[self]),
        }
    }
}
