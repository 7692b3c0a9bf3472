//! More tensors from nothing: like others, ranges, triangles, diagonals, random ones.

use super::node::{apply, constant, fail};
use super::shapes::{IntoShape, resolve_axis};
use super::{Generator, Tensor};
use dropforge_ir::{DType, Literal, Op, Real, Shape};

impl Tensor {
    /// The same number everywhere, with the type and shape of another tensor; as a cast converts it.
    #[track_caller]
    pub fn full_like(other: &Tensor, value: f32) -> Tensor {
        constant(Literal::scalar(other.dtype(), f64::from(value)), Some(other)).broadcast_to(other.shape())
    }

    /// `start`, `start + step`, … up to `stop`, which is left out, as f32; none if `stop` lies the other way. For whole
    /// numbers see [`Tensor::arange`].
    #[doc(alias = "arange")]
    #[track_caller]
    pub fn arange_step(start: f32, stop: f32, step: f32) -> Tensor {
        let count = ((f64::from(stop) - f64::from(start)) / f64::from(step)).ceil();
        if step == 0.0 || !count.is_finite() || count > f64::from(i32::MAX) {
            let message = format!("from {start} to {stop} there is no number of steps of {step}");
            return fail("arange_step", message, &[]);
        }
        Tensor::arange(0, count.max(0.0) as i32).cast(DType::F32) * step + start
    }

    /// `count` powers of `base` whose exponents have equal distances from `start` to `stop`, both included, as f32.
    #[track_caller]
    pub fn logspace(start: f32, stop: f32, count: usize, base: f32) -> Tensor {
        let exponents = Tensor::linspace(start, stop, count);
        Tensor::full_like(&exponents, base).pow(&exponents)
    }

    /// Ones on a diagonal of a matrix of f32, zeros elsewhere: `diagonal` above the main one if positive, below if
    /// negative.
    #[doc(alias = "eye")]
    #[track_caller]
    pub fn eye_of(rows: usize, columns: usize, diagonal: isize) -> Tensor {
        let (row, column) = row_and_column(&[rows, columns].into(), "eye_of");
        (column - row).eq(clamped(diagonal)).cast(DType::F32)
    }

    /// Ones on and below a diagonal of a matrix of f32, zeros above: NumPy's `tri`.
    #[track_caller]
    pub fn tri(rows: usize, columns: usize, diagonal: isize) -> Tensor {
        Tensor::ones([rows, columns]).tril(diagonal)
    }

    /// The lower triangle of matrices in the last two axes: what lies above `diagonal` becomes 0. The main diagonal is
    /// 0, positive ones lie above.
    #[track_caller]
    pub fn tril(&self, diagonal: isize) -> Tensor {
        self.triangle("tril", diagonal, true)
    }

    /// The upper triangle of matrices in the last two axes: what lies below `diagonal` becomes 0. The main diagonal is
    /// 0, positive ones lie above.
    #[track_caller]
    pub fn triu(&self, diagonal: isize) -> Tensor {
        self.triangle("triu", diagonal, false)
    }

    #[track_caller]
    fn triangle(&self, name: &str, diagonal: isize, lower: bool) -> Tensor {
        let rank = self.rank();
        if rank < 2 {
            return fail(name, format!("needs matrices in the last two axes, got {}", self.shape()), &[self]);
        }
        let (row, column) = row_and_column(&self.shape()[rank - 2..].into(), name);
        let distance = column - row;
        let kept = if lower { distance.le(clamped(diagonal)) } else { distance.ge(clamped(diagonal)) };
        Tensor::select(&kept, self, 0)
    }

    /// Grids of coordinates: tensor `i` of the result holds vector `i` along axis `i` and repeats it along the others.
    /// PyTorch's `meshgrid(indexing="ij")`.
    #[track_caller]
    pub fn meshgrid(vectors: &[&Tensor]) -> Vec<Tensor> {
        if let Some(wrong) = vectors.iter().find(|vector| vector.rank() != 1) {
            let failed = fail("meshgrid", format!("needs vectors, got {}", wrong.shape()), vectors);
            return vectors.iter().map(|_| failed.clone()).collect();
        }
        let shape: Shape = vectors.iter().map(|vector| vector.shape()[0]).collect();
        let mut grids = Vec::with_capacity(vectors.len());
        for (axis, vector) in vectors.iter().enumerate() {
            let op = Op::Broadcast { shape: shape.clone(), axes: vec![axis] };
            grids.push(apply("meshgrid", op, &[vector]));
        }
        grids
    }

    /// A diagonal of matrices in two axes, which disappear, as a new last axis; `offset` above the main one if
    /// positive, below if negative. Beyond the corners it is empty.
    #[track_caller]
    pub fn diagonal(&self, offset: isize, rows: isize, columns: isize) -> Tensor {
        let (row, column) = match (resolve_axis(rows, self.shape()), resolve_axis(columns, self.shape())) {
            (Ok(row), Ok(column)) if row != column => (row, column),
            (Ok(_), Ok(_)) => return fail("diagonal", "the two axes must differ", &[self]),
            (Err(message), _) | (_, Err(message)) => return fail("diagonal", message, &[self]),
        };
        let mut order: Vec<usize> = (0..self.rank()).filter(|&axis| axis != row && axis != column).collect();
        order.extend([row, column]);
        let last = apply("diagonal", Op::Permute { order }, &[self]);
        let (n, m) = (self.shape()[row], self.shape()[column]);
        let (down, right) = (offset.min(0).unsigned_abs(), offset.max(0).unsigned_abs());
        let length = n.saturating_sub(down).min(m.saturating_sub(right));
        let outer = &last.shape()[..self.rank() - 2];
        let merged: Vec<usize> = outer.iter().copied().chain([n * m]).collect();
        let row_major = last.reshape(merged);
        // One row down and one column to the right is one more than a row.
        let start = if length == 0 { 0 } else { down * m + right };
        let stop = if length == 0 { 0 } else { start + (length - 1) * (m + 1) + 1 };
        row_major.slice_step(-1, start..stop, m + 1)
    }

    /// Vectors in the last axis as a diagonal of matrices, which take its place; zeros elsewhere.
    #[track_caller]
    pub fn diag_embed(&self, offset: isize) -> Tensor {
        let Some(&length) = self.shape().last() else {
            return fail("diag_embed", "a scalar is no diagonal", &[self]);
        };
        let size = length.saturating_add(offset.unsigned_abs());
        let outer = self.shape()[..self.rank() - 1].to_vec();
        let matrices: Shape = outer.iter().copied().chain([size, size]).collect();
        let elements = size.saturating_mul(size);
        let start =
            if offset < 0 { offset.unsigned_abs().saturating_mul(size) } else { offset.unsigned_abs() };
        let reach = match length {
            0 => start,
            _ => start.saturating_add((length - 1).saturating_mul(size + 1)).saturating_add(1),
        };
        let on_last = |value: usize| -> Vec<usize> { outer.iter().map(|_| 0).chain([value]).collect() };
        let op = Op::Pad {
            low: on_last(start),
            high: on_last(elements.saturating_sub(reach)),
            interior: on_last(size),
            value: Real(0.0),
        };
        apply("diag_embed", op, &[self]).reshape(matrices)
    }

    /// A vector as the diagonal of a matrix, or the diagonal of a matrix as a vector.
    #[track_caller]
    pub fn diag(&self, offset: isize) -> Tensor {
        match self.rank() {
            1 => self.diag_embed(offset),
            2 => self.diagonal(offset, 0, 1),
            _ => fail("diag", format!("needs a vector or a matrix, got {}", self.shape()), &[self]),
        }
    }

    /// Sum of the main diagonal of matrices in the last two axes, which disappear.
    #[track_caller]
    pub fn trace(&self) -> Tensor {
        self.diagonal(0, -2, -1).sum(-1)
    }
}

/// Number of the row and of the column of each element.
#[track_caller]
fn row_and_column(shape: &Shape, name: &str) -> (Tensor, Tensor) {
    let row = apply(name, Op::Iota { shape: shape.clone(), axis: 0 }, &[]);
    (row, apply(name, Op::Iota { shape: shape.clone(), axis: 1 }, &[]))
}

/// A diagonal's number; beyond i32 lies no element.
fn clamped(diagonal: isize) -> i32 {
    i32::try_from(diagonal).unwrap_or(if diagonal < 0 { i32::MIN } else { i32::MAX })
}

impl Generator {
    /// Normally distributed f32 with this mean and standard deviation.
    #[track_caller]
    pub fn normal(&mut self, shape: impl IntoShape, mean: f32, deviation: f32) -> Tensor {
        self.randn(shape) * deviation + mean
    }

    /// 1 with this probability, else 0, as f32. A tensor of probabilities broadcasts to the shape.
    #[track_caller]
    pub fn bernoulli(&mut self, shape: impl IntoShape, probability: impl super::Operand) -> Tensor {
        self.rand(shape).lt(probability).cast(DType::F32)
    }

    /// Exponentially distributed f32 with this rate: mean 1 / `rate`.
    #[track_caller]
    pub fn exponential(&mut self, shape: impl IntoShape, rate: f32) -> Tensor {
        // 1 − u is above 0, so its logarithm is finite.
        (1.0 - self.rand(shape)).log() * (-1.0 / rate)
    }

    /// The integers from 0 up to `count`, which is left out, in random order, as i32.
    ///
    /// They are sorted by random words of 32 bits; of two equal words the first comes first.
    #[doc(alias = "randperm")]
    #[track_caller]
    pub fn permutation(&mut self, count: usize) -> Tensor {
        self.bits([count]).argsort(0, false)
    }
}

impl Tensor {
    /// Evenly distributed integers from `low` up to `high`, which is left out, as i32, from a generator.
    #[track_caller]
    pub fn randint(shape: impl IntoShape, low: i32, high: i32, generator: &mut Generator) -> Tensor {
        generator.randint(shape, low, high)
    }

    /// Evenly distributed f32 from 0 up to 1, which is left out, with the shape of another tensor.
    #[track_caller]
    pub fn rand_like(other: &Tensor, generator: &mut Generator) -> Tensor {
        generator.rand(other.shape())
    }

    /// Normally distributed f32 with mean 0 and variance 1, with the shape of another tensor.
    #[track_caller]
    pub fn randn_like(other: &Tensor, generator: &mut Generator) -> Tensor {
        generator.randn(other.shape())
    }
}
