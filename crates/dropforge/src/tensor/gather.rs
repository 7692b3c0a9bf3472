//! Picking and placing elements one by one, by index.

use super::Tensor;
use super::node::{apply, fail};
use super::shapes::resolve_axis;
use dropforge_ir::{DType, Op, Shape};

/// An axis that is indexed, moved behind the others.
struct Rows {
    /// The order of axes that puts it last, and the one that puts it back.
    last: Vec<usize>,
    back: Vec<usize>,
    /// The other extents.
    outer: Vec<usize>,
    /// How many of them there are altogether.
    count: usize,
}

impl Rows {
    fn new(shape: &Shape, axis: usize) -> Rows {
        let mut last: Vec<usize> = (0..shape.rank()).filter(|&other| other != axis).collect();
        last.push(axis);
        let mut back = vec![0; last.len()];
        for (to, &from) in last.iter().enumerate() {
            back[from] = to;
        }
        let outer = shape.without(&[axis]).to_vec();
        let count = outer.iter().product();
        Rows { last, back, outer, count }
    }

    /// A tensor `[rows, extent of the axis]`.
    #[track_caller]
    fn flatten(&self, name: &str, tensor: &Tensor) -> Tensor {
        let extent = *self.last.last().map_or(&1, |&axis| &tensor.shape()[axis]);
        let turned = apply(name, Op::Permute { order: self.last.clone() }, &[tensor]);
        turned.reshape(vec![self.count, extent])
    }

    /// The inverse of `flatten`.
    #[track_caller]
    fn restore(&self, name: &str, rows: &Tensor, extent: usize) -> Tensor {
        let shape: Vec<usize> = self.outer.iter().copied().chain([extent]).collect();
        apply(name, Op::Permute { order: self.back.clone() }, &[&rows.reshape(shape)])
    }
}

impl Tensor {
    /// Indices for each element as positions in all rows one after another, flat. They lie inside.
    #[track_caller]
    fn row_positions(
        &self,
        name: &str,
        indices: &Tensor,
        rows: &Rows,
        extent: usize,
    ) -> Result<Tensor, Tensor> {
        if rows.count.saturating_mul(extent) > i32::MAX as usize {
            let message = format!("{} has more elements than i32 can count", self.shape());
            return Err(fail(name, message, &[self, indices]));
        }
        let flat = rows.flatten(name, indices);
        let shape = flat.shape().clone();
        let start = apply(name, Op::Iota { shape, axis: 0 }, &[]) * extent as i32;
        Ok((&flat + start).reshape(vec![flat.elements()]))
    }

    /// The axis, if indices have its rank and no more extent than `shape` along the others.
    #[track_caller]
    fn index_axis(&self, name: &str, axis: isize, indices: &Tensor) -> Result<usize, Tensor> {
        let resolved =
            resolve_axis(axis, self.shape()).map_err(|message| fail(name, message, &[self, indices]))?;
        if indices.dtype() != DType::I32 {
            return Err(fail(name, format!("indices must be i32, got {}", indices.ty()), &[self, indices]));
        }
        let fits = indices.rank() == self.rank()
            && (0..self.rank())
                .all(|other| other == resolved || indices.shape()[other] <= self.shape()[other]);
        if !fits {
            let message = format!(
                "indices {} do not fit {}: they must have as many axes, and no more extent along those other than {axis}",
                indices.shape(),
                self.shape()
            );
            return Err(fail(name, message, &[self, indices]));
        }
        Ok(resolved)
    }

    /// The first positions along all axes but one, as many as `shape` has.
    #[track_caller]
    fn cropped(&self, name: &str, shape: &Shape, axis: usize) -> Tensor {
        let mut stop = shape.to_vec();
        stop[axis] = self.shape()[axis];
        if stop[..] == self.shape()[..] {
            return self.clone();
        }
        let op = Op::Slice { start: vec![0; stop.len()], stop, step: vec![1; self.rank()] };
        apply(name, op, &[self])
    }

    /// The elements at indices (i32) along an axis, one index for each element of the result: PyTorch's `gather`,
    /// NumPy's `take_along_axis`. The result has the shape of `indices`, which have the rank of this tensor and no more
    /// extent along the other axes. An index outside is an error of whatever computes the result.
    #[doc(alias = "take_along_dim")]
    #[doc(alias = "take_along_axis")]
    #[track_caller]
    pub fn gather(&self, axis: isize, indices: &Tensor) -> Tensor {
        match self.index_axis("gather", axis, indices) {
            Ok(axis) => self.gather_inside(axis, &indices.checked("gather", self, self.shape()[axis])),
            Err(failed) => failed,
        }
    }

    /// The elements at indices of the right shape that are known to lie inside.
    #[track_caller]
    pub(super) fn gather_inside(&self, axis: usize, indices: &Tensor) -> Tensor {
        let whole = self.cropped("gather", indices.shape(), axis);
        let rows = Rows::new(whole.shape(), axis);
        let extent = whole.shape()[axis];
        let positions = match whole.row_positions("gather", indices, &rows, extent) {
            Ok(positions) => positions,
            Err(failed) => return failed,
        };
        let elements = rows.flatten("gather", &whole).reshape(vec![whole.elements()]);
        let picked = apply("gather", Op::Gather { axis: 0 }, &[&elements, &positions]);
        rows.restore("gather", &picked, indices.shape()[axis])
    }

    /// This with `source` added at indices (i32) along an axis, one index for each element of `source`: PyTorch's
    /// `scatter_add`. Indices and source have one shape, of this rank and with no more extent along the other axes.
    /// What equal indices name is added up; an index outside is an error of whatever computes the result. Floats only.
    #[track_caller]
    pub fn scatter_add(&self, axis: isize, indices: &Tensor, source: &Tensor) -> Tensor {
        match self.scattered("scatter_add", axis, indices, source) {
            Ok(sums) => self + sums,
            Err(failed) => failed,
        }
    }

    /// Zeros in this shape, with `source` added.
    #[track_caller]
    fn scattered(
        &self,
        name: &str,
        axis: isize,
        indices: &Tensor,
        source: &Tensor,
    ) -> Result<Tensor, Tensor> {
        let axis = self.index_axis(name, axis, indices)?;
        if source.shape() != indices.shape() {
            let message = format!("indices {} and source {} differ", indices.shape(), source.shape());
            return Err(fail(name, message, &[self, indices, source]));
        }
        let extent = self.shape()[axis];
        let indices = &indices.checked(name, self, extent);
        let rows = Rows::new(indices.shape(), axis);
        let positions = self.row_positions(name, indices, &rows, extent)?;
        let updates = rows.flatten(name, source).reshape(vec![source.elements()]);
        let op = Op::ScatterAdd { axis: 0, size: rows.count * extent };
        let sums = rows.restore(name, &apply(name, op, &[&updates, &positions]), extent);
        // What lies beyond the indices along other axes gets nothing.
        let high = (0..self.rank()).map(|axis| self.shape()[axis] - sums.shape()[axis]).collect();
        let (low, interior) = (vec![0; self.rank()], vec![0; self.rank()]);
        let whole = sums.shape() == self.shape();
        let op = Op::Pad { low, high, interior, value: dropforge_ir::Real(0.0) };
        Ok(if whole { sums } else { apply(name, op, &[&sums]) })
    }

    /// This with `source` in place of the elements at indices (i32) along an axis: PyTorch's `scatter`, with the shapes
    /// of [`Tensor::scatter_add`]. Where several name one place it gets their mean, whatever their order. Floats only.
    #[track_caller]
    pub fn scatter(&self, axis: isize, indices: &Tensor, source: &Tensor) -> Tensor {
        let sums = match self.scattered("scatter", axis, indices, source) {
            Ok(sums) => sums,
            Err(failed) => return failed,
        };
        let ones = Tensor::ones_like(source);
        let counts = match self.scattered("scatter", axis, indices, &ones) {
            Ok(counts) => counts,
            Err(failed) => return failed,
        };
        let named = counts.gt(0.0);
        Tensor::select(&named, sums / Tensor::select(&named, counts, 1.0), self)
    }

    /// This with the parts of `source` added at positions (i32 vector) along an axis: PyTorch's `index_add`. `source`
    /// has the shape of this but for the axis, along which it has a part for each index. Floats only.
    #[track_caller]
    pub fn index_add(&self, axis: isize, indices: &Tensor, source: &Tensor) -> Tensor {
        let resolved = match resolve_axis(axis, self.shape()) {
            Ok(axis) => axis,
            Err(message) => return fail("index_add", message, &[self, indices, source]),
        };
        let mut expected = self.shape().to_vec();
        expected[resolved] = indices.elements();
        if indices.rank() != 1 || source.shape()[..] != expected[..] {
            let message = format!(
                "needs a vector of indices and a source {}, got {} and {}",
                Shape::from(expected),
                indices.shape(),
                source.shape()
            );
            return fail("index_add", message, &[self, indices, source]);
        }
        let size = self.shape()[resolved];
        let op = Op::ScatterAdd { axis: resolved, size };
        self + apply("index_add", op, &[source, &indices.checked("index_add", self, size)])
    }

    /// The elements at indices (i32, any shape) in row-major order. An index outside is an error of whatever computes
    /// the result.
    #[track_caller]
    pub fn take(&self, indices: &Tensor) -> Tensor {
        let indices = indices.checked("take", self, self.elements());
        apply("take", Op::Gather { axis: 0 }, &[&self.reshape(vec![self.elements()]), &indices])
    }

    /// How often each number from 0 up to `count`, which is left out, occurs among these i32, as i32. Others are not
    /// counted.
    #[track_caller]
    pub fn bincount(&self, count: usize) -> Tensor {
        let flat = self.reshape(vec![self.elements()]);
        let ones = Tensor::ones([self.elements()]);
        // Counts are whole, and exact in f32 up to 2²⁴; beyond, halves of the indices are counted apart.
        let part = 1 << 24;
        let mut total: Option<Tensor> = None;
        for start in (0..self.elements().max(1)).step_by(part) {
            let stop = (start + part).min(self.elements());
            let op = Op::ScatterAdd { axis: 0, size: count };
            let (ones, indices) = (ones.slice(0, start..stop), flat.slice(0, start..stop));
            let counts = apply("bincount", op, &[&ones, &indices]).cast(DType::I32);
            total = Some(match total {
                Some(total) => total + counts,
                None => counts,
            });
        }
        total.unwrap_or_else(|| fail("bincount", "there is nothing to count", &[self]))
    }

    /// How many elements lie in each of `bins` equal parts of `low` to `high`, as i32; the last part includes `high`.
    /// Others are not counted.
    #[track_caller]
    pub fn histc(&self, bins: usize, low: f32, high: f32) -> Tensor {
        let distance = high - low;
        if bins == 0 || !distance.is_finite() || distance <= 0.0 {
            let message = format!("{low} to {high} cannot be divided into {bins} parts");
            return fail("histc", message, &[self]);
        }
        let x = match self.floats("histc") {
            Ok(x) => x,
            Err(failed) => return failed,
        };
        let part = ((&x - low) * bins as f32 / distance).floor().cast(DType::I32);
        let part = Tensor::select(&x.eq(high), bins as i32 - 1, part);
        let inside = x.ge(low).logical_and(x.le(high));
        Tensor::select(&inside, part, -1).bincount(bins)
    }
}
