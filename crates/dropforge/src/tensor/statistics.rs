//! Statistics, norms, running sums and distances, composed from reductions.

use super::Tensor;
use super::node::{apply, fail};
use super::shapes::{Axes, resolve_axis};
use dropforge_ir::{DType, Op, Real};

/// How many elements a running sum adds one after another; longer axes are cut in parts of that many.
const RUN: usize = 1024;

macro_rules! kept {
    ($($name:ident $keep:ident)*) => {
        impl Tensor {
            $(
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

kept! {
    var var_keep
    std std_keep
    logsumexp logsumexp_keep
    all all_keep
    any any_keep
    nansum nansum_keep
    nanmean nanmean_keep
    count_nonzero count_nonzero_keep
}

impl Tensor {
    /// Position of the largest element along an axis, which stays with extent 1: see [`Tensor::argmax`].
    #[track_caller]
    pub fn argmax_keep(&self, axis: isize) -> Tensor {
        self.argmax(axis).unsqueeze(self.place_of(axis))
    }

    /// Position of the smallest element along an axis, which stays with extent 1: see [`Tensor::argmin`].
    #[track_caller]
    pub fn argmin_keep(&self, axis: isize) -> Tensor {
        self.argmin(axis).unsqueeze(self.place_of(axis))
    }

    /// An axis counted from the front, where there is one.
    fn place_of(&self, axis: isize) -> isize {
        resolve_axis(axis, self.shape()).map_or(0, |axis| axis as isize)
    }

    /// Variance over axes, which disappear: squared distances from the mean, divided by the count less `correction`. 1
    /// is [`Tensor::var`], 0 NumPy's default.
    #[track_caller]
    pub fn var_with(&self, axes: impl Axes, correction: f32) -> Tensor {
        let x = match self.floats("var_with") {
            Ok(x) => x,
            Err(failed) => return failed,
        };
        let count: usize = match axes.resolve(self.shape()) {
            Ok(axes) => axes.iter().map(|&axis| self.shape()[axis]).product(),
            Err(message) => return fail("var_with", message, &[self]),
        };
        let (_, biased) = x.mean_and_variance(axes);
        // No degrees of freedom give NaN or infinity, never a negative variance.
        let free = (count as f64 - f64::from(correction)).max(0.0);
        (biased * count as f32 / free as f32).cast(self.dtype())
    }

    /// Square root of [`Tensor::var_with`]. Where the elements are equal no gradient flows.
    #[track_caller]
    pub fn std_with(&self, axes: impl Axes, correction: f32) -> Tensor {
        match self.floats("std_with") {
            Ok(x) => x.var_with(axes, correction).root().cast(self.dtype()),
            Err(failed) => failed,
        }
    }

    /// Square root, through which no gradient flows at 0.
    #[track_caller]
    fn root(&self) -> Tensor {
        let zero = self.eq(0.0);
        Tensor::select(&zero, 0.0, Tensor::select(&zero, 1.0, self).sqrt())
    }

    /// Length over axes, which disappear: (Σ |x|^p)^(1/p). p = ∞ is the largest, −∞ the smallest distance from 0, and 0
    /// counts what is not 0. Where it is 0 no gradient flows, as in PyTorch's `linalg.vector_norm`.
    #[doc(alias = "vector_norm")]
    #[track_caller]
    pub fn norm(&self, p: f32, axes: impl Axes) -> Tensor {
        let x = match self.floats("norm") {
            Ok(x) => x,
            Err(failed) => return failed,
        };
        let norm = if p == 2.0 {
            (&x * &x).sum(axes).root()
        } else if p == 1.0 {
            x.abs().sum(axes)
        } else if p == f32::INFINITY {
            x.abs().max(axes)
        } else if p == f32::NEG_INFINITY {
            x.abs().min(axes)
        } else if p == 0.0 {
            x.ne(0.0).cast(DType::F32).sum(axes)
        } else {
            let zero = x.eq(0.0);
            let power = Tensor::select(&zero, 1.0, x.abs()).pow(p);
            let at_zero = if p > 0.0 { 0.0 } else { f32::INFINITY };
            let sum = Tensor::select(&zero, at_zero, power).sum(axes);
            let flat = sum.eq(0.0);
            Tensor::select(&flat, 0.0, Tensor::select(&flat, 1.0, sum).pow(1.0 / p))
        };
        norm.cast(self.dtype())
    }

    /// As [`Tensor::norm`], with the axes kept at extent 1.
    #[track_caller]
    pub fn norm_keep(&self, p: f32, axes: impl Axes) -> Tensor {
        match axes.resolve(self.shape()) {
            Ok(resolved) => self.norm(p, axes).keep_axes(self.shape(), &resolved),
            Err(message) => fail("norm_keep", message, &[self]),
        }
    }

    /// The elements divided by their length along axes, or by `eps` if it is shorter: PyTorch's `normalize`, whose
    /// `eps` is 1e-12.
    #[track_caller]
    pub fn normalize(&self, p: f32, axes: impl Axes, eps: f32) -> Tensor {
        match self.floats("normalize") {
            Ok(x) => (&x / x.norm_keep(p, axes).clamp_min(eps)).cast(self.dtype()),
            Err(failed) => failed,
        }
    }

    /// Sum over axes, which disappear, with NaN left out.
    #[track_caller]
    pub fn nansum(&self, axes: impl Axes) -> Tensor {
        Tensor::select(&self.isnan(), 0, self).sum(axes)
    }

    /// Mean over axes, which disappear, of what is not NaN; NaN if nothing is left.
    #[track_caller]
    pub fn nanmean(&self, axes: impl Axes) -> Tensor {
        let x = match self.floats("nanmean") {
            Ok(x) => x,
            Err(failed) => return failed,
        };
        let axes = match axes.resolve(self.shape()) {
            Ok(axes) => axes.iter().map(|&axis| axis as isize).collect::<Vec<_>>(),
            Err(message) => return fail("nanmean", message, &[self]),
        };
        let count = x.isnan().logical_not().cast(DType::F32).sum(axes.as_slice());
        (x.nansum(axes.as_slice()) / count).cast(self.dtype())
    }

    /// How many elements over axes, which disappear, are not 0, as i32.
    #[track_caller]
    pub fn count_nonzero(&self, axes: impl Axes) -> Tensor {
        self.cast(DType::Bool).cast(DType::I32).sum(axes)
    }

    /// Whether all pairs are equal, and the shapes are, as one bool.
    #[track_caller]
    pub fn equal(&self, other: &Tensor) -> Tensor {
        if self.shape() == other.shape() {
            return self.eq(other).all(..);
        }
        fail("equal", format!("{} and {} differ in shape", self.shape(), other.shape()), &[self, other])
    }

    /// Running sums along an axis: element `i` is the sum of those up to and including `i`. Of floats or i32, which
    /// wrap; of bool and u8 as i32.
    #[track_caller]
    pub fn cumsum(&self, axis: isize) -> Tensor {
        let resolved = match resolve_axis(axis, self.shape()) {
            Ok(axis) => axis,
            Err(message) => return fail("cumsum", message, &[self]),
        };
        match self.dtype() {
            DType::U8 | DType::Bool => self.cast(DType::I32).running_sum(resolved),
            _ => self.widened().running_sum(resolved).cast(self.dtype()),
        }
    }

    /// Long axes in parts, which run side by side; what lies before a part is added to it.
    #[track_caller]
    fn running_sum(&self, axis: usize) -> Tensor {
        let op = |axis: usize| Op::CumulativeSum { axis, reverse: 0 };
        let extent = self.shape()[axis];
        if extent <= RUN {
            return apply("cumsum", op(axis), &[self]);
        }
        let parts = extent.div_ceil(RUN);
        let along = |count: usize| (0..self.rank()).map(move |other| if other == axis { count } else { 0 });
        let pad = |low: usize, high: usize| Op::Pad {
            low: along(low).collect(),
            high: along(high).collect(),
            interior: along(0).collect(),
            value: Real(0.0),
        };
        let whole = apply("cumsum", pad(0, parts * RUN - extent), &[self]);
        let mut shape = self.shape().to_vec();
        shape[axis] = parts;
        shape.insert(axis + 1, RUN);
        let runs = apply("cumsum", op(axis + 1), &[&whole.reshape(shape)]);
        let totals = runs.at(axis as isize + 1, RUN - 1).running_sum(axis);
        let before = apply("cumsum", pad(1, 0), &[&totals]).slice(axis as isize, ..parts);
        let mut merged = self.shape().to_vec();
        merged[axis] = parts * RUN;
        (runs + before.unsqueeze(axis as isize + 1)).reshape(merged).slice(axis as isize, ..extent)
    }

    /// Each element combined with all before it along an axis, in log₂ n rounds of doubling distance.
    #[track_caller]
    fn doubled(
        &self,
        name: &str,
        axis: isize,
        neutral: f64,
        combine: fn(&Tensor, &Tensor) -> Tensor,
    ) -> Tensor {
        let resolved = match resolve_axis(axis, self.shape()) {
            Ok(axis) => axis,
            Err(message) => return fail(name, message, &[self]),
        };
        let extent = self.shape()[resolved];
        let mut result = self.clone();
        let mut distance = 1;
        while distance < extent {
            let low = (0..self.rank()).map(|other| if other == resolved { distance } else { 0 }).collect();
            let (high, interior) = (vec![0; self.rank()], vec![0; self.rank()]);
            let before = result.slice(axis, ..extent - distance);
            let before = apply(name, Op::Pad { low, high, interior, value: Real(neutral) }, &[&before]);
            result = combine(&before, &result);
            distance *= 2;
        }
        result
    }

    /// Running products along an axis.
    #[track_caller]
    pub fn cumprod(&self, axis: isize) -> Tensor {
        self.widened().doubled("cumprod", axis, 1.0, |before, x| before * x).cast(self.dtype())
    }

    /// The largest element so far along an axis; NaN after one. Equal ones share the gradient.
    #[track_caller]
    pub fn cummax(&self, axis: isize) -> Tensor {
        let least = if self.dtype().is_float() { f64::NEG_INFINITY } else { f64::from(i32::MIN) };
        self.doubled("cummax", axis, least, |before, x| before.maximum(x))
    }

    /// The smallest element so far along an axis; NaN after one. Equal ones share the gradient.
    #[track_caller]
    pub fn cummin(&self, axis: isize) -> Tensor {
        let greatest = if self.dtype().is_float() { f64::INFINITY } else { f64::from(i32::MAX) };
        self.doubled("cummin", axis, greatest, |before, x| before.minimum(x))
    }

    /// ln Σ e^x of the elements so far along an axis, without overflow.
    #[track_caller]
    pub fn logcumsumexp(&self, axis: isize) -> Tensor {
        match self.floats("logcumsumexp") {
            Ok(x) => {
                let sums =
                    x.doubled("logcumsumexp", axis, f64::NEG_INFINITY, |before, x| before.logaddexp(x));
                sums.cast(self.dtype())
            }
            Err(failed) => failed,
        }
    }

    /// Differences of neighbours along an axis, which gets one shorter, `times` times.
    #[track_caller]
    pub fn diff(&self, times: usize, axis: isize) -> Tensor {
        let resolved = match resolve_axis(axis, self.shape()) {
            Ok(axis) => axis,
            Err(message) => return fail("diff", message, &[self]),
        };
        let mut result = self.clone();
        for _ in 0..times {
            let extent = result.shape()[resolved];
            result =
                if extent == 0 { result } else { result.slice(axis, 1..) - result.slice(axis, ..extent - 1) };
        }
        result
    }

    /// Integral along an axis, which disappears, by trapezoids `distance` wide.
    #[track_caller]
    pub fn trapezoid(&self, distance: f32, axis: isize) -> Tensor {
        let extent = match resolve_axis(axis, self.shape()) {
            Ok(axis) => self.shape()[axis],
            Err(message) => return fail("trapezoid", message, &[self]),
        };
        let last = extent.saturating_sub(1);
        let both = self.slice(axis, extent.min(1)..) + self.slice(axis, ..last);
        both.sum(axis) * (distance / 2.0)
    }

    /// Covariances of the rows of a matrix `[variables, observations]`, divided by the number of observations less 1.
    #[track_caller]
    pub fn cov(&self) -> Tensor {
        if self.rank() != 2 {
            return fail("cov", format!("needs [variables, observations], got {}", self.shape()), &[self]);
        }
        let x = match self.floats("cov") {
            Ok(x) => x,
            Err(failed) => return failed,
        };
        let centered = &x - x.mean_keep(1);
        let free = self.shape()[1].saturating_sub(1) as f32;
        (centered.matmul(&centered.t()) / free).cast(self.dtype())
    }

    /// Correlations of the rows of a matrix `[variables, observations]`.
    #[track_caller]
    pub fn corrcoef(&self) -> Tensor {
        let covariances = match self.floats("corrcoef") {
            Ok(x) => x.cov(),
            Err(failed) => return failed,
        };
        if covariances.node.error().is_some() {
            return covariances;
        }
        let deviation = covariances.diagonal(0, 0, 1).sqrt();
        let scaled = &covariances / deviation.unsqueeze(1) / deviation.unsqueeze(0);
        scaled.clamp_min(-1.0).clamp_max(1.0).cast(self.dtype())
    }

    /// Cosine of the angle between vectors along an axis, which disappears; lengths count as at least `eps` (PyTorch:
    /// 1e-8). The other axes broadcast.
    #[track_caller]
    pub fn cosine_similarity(&self, other: &Tensor, axis: isize, eps: f32) -> Tensor {
        let (a, b) = match (self.floats("cosine_similarity"), other.floats("cosine_similarity")) {
            (Ok(a), Ok(b)) => (a, b),
            (Err(failed), _) | (_, Err(failed)) => return failed,
        };
        let shape = super::shapes::broadcast_shapes(a.shape(), b.shape());
        let Some(shape) = shape else {
            let message = format!("{} and {} do not broadcast together", self.shape(), other.shape());
            return fail("cosine_similarity", message, &[self, other]);
        };
        let (a, b) = (a.broadcast_to(&shape), b.broadcast_to(&shape));
        let unit = |x: &Tensor| x.norm_keep(2.0, axis).clamp_min(eps);
        ((&a / unit(&a)) * (&b / unit(&b))).sum(axis).cast(self.dtype())
    }

    /// Length of the difference of vectors in the last axis, which disappears, with `eps` added to each difference
    /// (PyTorch: 1e-6); the other axes broadcast.
    #[track_caller]
    pub fn pairwise_distance(&self, other: &Tensor, p: f32, eps: f32) -> Tensor {
        (self - other + eps).norm(p, -1)
    }

    /// Lengths of the differences of all pairs of rows: `[.., m, d]` and `[.., n, d]` give `[.., m, n]`.
    #[track_caller]
    pub fn cdist(&self, other: &Tensor, p: f32) -> Tensor {
        if self.rank() < 2 || other.rank() < 2 {
            let message = format!("needs matrices, got {} and {}", self.shape(), other.shape());
            return fail("cdist", message, &[self, other]);
        }
        (self.unsqueeze(-2) - other.unsqueeze(-3)).norm(p, -1)
    }
}
