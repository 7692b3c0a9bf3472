//! Taking apart and repeating: split, chunk, repeat, roll, moved axes, sliding windows.

use super::node::{apply, fail};
use super::shapes::{Axes, IntoShape, broadcast_shapes, resolve_axis};
use super::{IntoReshape, Tensor};
use dropforge_ir::{Op, Shape};

impl Tensor {
    /// Parts along an axis with these extents, which must add up to it.
    #[doc(alias = "split_with_sizes")]
    #[track_caller]
    pub fn split_sizes(&self, sizes: &[usize], axis: isize) -> Vec<Tensor> {
        let resolved = match resolve_axis(axis, self.shape()) {
            Ok(axis) => axis,
            Err(message) => {
                let failed = fail("split", message, &[self]);
                return sizes.iter().map(|_| failed.clone()).collect();
            }
        };
        if sizes.iter().fold(0usize, |sum, &size| sum.saturating_add(size)) != self.shape()[resolved] {
            let message = format!("parts of {sizes:?} do not add up to axis {axis} of {}", self.shape());
            let failed = fail("split", message, &[self]);
            return sizes.iter().map(|_| failed.clone()).collect();
        }
        let mut parts = Vec::with_capacity(sizes.len());
        let mut start = 0;
        for &size in sizes {
            parts.push(self.slice(axis, start..start + size));
            start += size;
        }
        parts
    }

    /// Parts along an axis of extent `size`, the last one what is left.
    #[track_caller]
    pub fn split(&self, size: usize, axis: isize) -> Vec<Tensor> {
        let extent = match resolve_axis(axis, self.shape()) {
            Ok(axis) => self.shape()[axis],
            Err(message) => return vec![fail("split", message, &[self])],
        };
        if size == 0 {
            return vec![fail("split", "the extent of the parts must be at least 1", &[self])];
        }
        let mut sizes = vec![size; extent / size];
        if extent % size != 0 || extent == 0 {
            sizes.push(extent % size);
        }
        self.split_sizes(&sizes, axis)
    }

    /// At most `count` parts along an axis, all of one extent but the last: as in PyTorch there are fewer where they
    /// would be empty.
    #[track_caller]
    pub fn chunk(&self, count: usize, axis: isize) -> Vec<Tensor> {
        let extent = match resolve_axis(axis, self.shape()) {
            Ok(axis) => self.shape()[axis],
            Err(message) => return vec![fail("chunk", message, &[self])],
        };
        if count == 0 {
            return vec![fail("chunk", "there must be at least 1 part", &[self])];
        }
        if extent == 0 {
            self.split_sizes(&vec![0; count], axis)
        } else {
            self.split(extent.div_ceil(count), axis)
        }
    }

    /// The parts at all positions along an axis, which disappears.
    #[track_caller]
    pub fn unbind(&self, axis: isize) -> Vec<Tensor> {
        let extent = match resolve_axis(axis, self.shape()) {
            Ok(axis) => self.shape()[axis],
            Err(message) => return vec![fail("unbind", message, &[self])],
        };
        let mut parts = Vec::with_capacity(extent);
        for position in 0..extent {
            parts.push(self.at(axis, position));
        }
        parts
    }

    /// The whole repeated so often along each axis; missing axes are added in front. PyTorch's `repeat` and NumPy's
    /// `tile`.
    #[doc(alias = "tile")]
    #[track_caller]
    pub fn repeat(&self, counts: impl IntoShape) -> Tensor {
        let counts = counts.into_shape();
        let rank = counts.rank().max(self.rank());
        let counts = vec![1; rank - counts.rank()].into_iter().chain(counts.iter().copied());
        let extents = vec![1; rank - self.rank()].into_iter().chain(self.shape().iter().copied());
        let pairs: Vec<(usize, usize)> = counts.zip(extents).collect();
        let spread: Shape = pairs.iter().flat_map(|&(count, extent)| [count, extent]).collect();
        let single: Vec<usize> = pairs.iter().flat_map(|&(_, extent)| [1, extent]).collect();
        let whole: Vec<usize> = pairs.iter().map(|&(count, extent)| count.saturating_mul(extent)).collect();
        self.reshape(single).broadcast_to(spread).reshape(whole)
    }

    /// Each part along an axis repeated so often, side by side: NumPy's `repeat`.
    #[track_caller]
    pub fn repeat_interleave(&self, count: usize, axis: isize) -> Tensor {
        let axis = match resolve_axis(axis, self.shape()) {
            Ok(axis) => axis,
            Err(message) => return fail("repeat_interleave", message, &[self]),
        };
        let mut shape = self.shape().to_vec();
        shape.insert(axis + 1, count);
        let axes = (0..=self.rank()).filter(|&other| other != axis + 1).collect();
        let op = Op::Broadcast { shape: shape.into(), axes };
        let mut merged = self.shape().to_vec();
        merged[axis] = merged[axis].saturating_mul(count);
        apply("repeat_interleave", op, &[self]).reshape(merged)
    }

    /// The elements moved on along axes by `shifts`, one for each axis in increasing order; what leaves at the end
    /// comes in at the start.
    #[track_caller]
    pub fn roll(&self, shifts: &[isize], axes: impl Axes) -> Tensor {
        let axes = match axes.resolve(self.shape()) {
            Ok(axes) => axes,
            Err(message) => return fail("roll", message, &[self]),
        };
        if axes.len() != shifts.len() {
            let message = format!("needs a shift for each axis, got {} for {}", shifts.len(), axes.len());
            return fail("roll", message, &[self]);
        }
        let mut rolled = self.clone();
        for (&axis, &shift) in axes.iter().zip(shifts) {
            let extent = self.shape()[axis];
            let from = if extent == 0 { 0 } else { shift.rem_euclid(extent as isize).unsigned_abs() };
            if from != 0 {
                let axis = axis as isize;
                let (front, back) =
                    (rolled.slice(axis, ..extent - from), rolled.slice(axis, extent - from..));
                rolled = Tensor::concat(&[&back, &front], axis);
            }
        }
        rolled
    }

    /// The elements turned by `count` quarters in the plane of two axes, from the first to the second. NumPy's `rot90`.
    #[track_caller]
    pub fn rot90(&self, count: isize, from: isize, to: isize) -> Tensor {
        match count.rem_euclid(4) {
            1 => self.flip(to).transpose(from, to),
            2 => self.flip([from, to]),
            3 => self.transpose(from, to).flip(to),
            _ => self.clone(),
        }
    }

    /// One axis moved to another place, with the others in their order.
    #[doc(alias = "moveaxis")]
    #[track_caller]
    pub fn movedim(&self, from: isize, to: isize) -> Tensor {
        match (resolve_axis(from, self.shape()), resolve_axis(to, self.shape())) {
            (Ok(from), Ok(to)) => {
                let mut order: Vec<usize> = (0..self.rank()).filter(|&axis| axis != from).collect();
                order.insert(to, from);
                apply("movedim", Op::Permute { order }, &[self])
            }
            (Err(message), _) | (_, Err(message)) => fail("movedim", message, &[self]),
        }
    }

    /// An axis divided into several; one `-1` stands for what is left.
    #[track_caller]
    pub fn unflatten(&self, axis: isize, extents: impl IntoReshape) -> Tensor {
        let axis = match resolve_axis(axis, self.shape()) {
            Ok(axis) => axis,
            Err(message) => return fail("unflatten", message, &[self]),
        };
        let mut extents = extents.into_extents();
        let known = extents
            .iter()
            .filter_map(|&extent| usize::try_from(extent).ok())
            .fold(1usize, |product, extent| product.saturating_mul(extent));
        let whole = self.shape()[axis];
        let left = whole.checked_div(known).unwrap_or(0);
        let unknown: Vec<usize> = (0..extents.len()).filter(|&place| extents[place] < 0).collect();
        if unknown.len() > 1 || known.saturating_mul(if unknown.is_empty() { 1 } else { left }) != whole {
            let message = format!("axis {axis} of {} does not divide into {extents:?}", self.shape());
            return fail("unflatten", message, &[self]);
        }
        unknown.iter().for_each(|&place| extents[place] = left as isize);
        let parts = extents.iter().map(|&extent| extent.max(0).unsigned_abs());
        let shape =
            self.shape()[..axis].iter().copied().chain(parts).chain(self.shape()[axis + 1..].iter().copied());
        self.reshape(shape.collect::<Vec<usize>>())
    }

    /// The elements under the shape of another tensor, row by row.
    #[doc(alias = "view_as")]
    #[track_caller]
    pub fn reshape_as(&self, other: &Tensor) -> Tensor {
        self.reshape(other.shape())
    }

    /// The elements repeated to the shape of another tensor: see [`Tensor::broadcast_to`].
    #[track_caller]
    pub fn expand_as(&self, other: &Tensor) -> Tensor {
        self.broadcast_to(other.shape())
    }

    /// All tensors repeated to the shape to which they broadcast together.
    #[track_caller]
    pub fn broadcast_tensors(tensors: &[&Tensor]) -> Vec<Tensor> {
        let mut shape = Some(Shape::scalar());
        for tensor in tensors {
            shape = shape.and_then(|shape| broadcast_shapes(&shape, tensor.shape()));
        }
        let Some(shape) = shape else {
            let shapes: Vec<String> = tensors.iter().map(|tensor| tensor.shape().to_string()).collect();
            let message = format!("{} do not broadcast together", shapes.join(" and "));
            let failed = fail("broadcast_tensors", message, tensors);
            return tensors.iter().map(|_| failed.clone()).collect();
        };
        let mut all = Vec::with_capacity(tensors.len());
        for tensor in tensors {
            all.push(tensor.broadcast_to(&shape));
        }
        all
    }

    /// Windows of extent `size` along an axis, `step` apart: the axis counts the windows, and a new last axis holds
    /// their elements. PyTorch's `Tensor.unfold`.
    #[doc(alias = "im2col")]
    #[track_caller]
    pub fn unfold(&self, axis: isize, size: usize, step: usize) -> Tensor {
        let axis = match resolve_axis(axis, self.shape()) {
            Ok(axis) => axis,
            Err(message) => return fail("unfold", message, &[self]),
        };
        let extent = self.shape()[axis];
        if size > extent || step == 0 {
            let message =
                format!("windows of {size}, {step} apart, do not fit axis {axis} of {}", self.shape());
            return fail("unfold", message, &[self]);
        }
        let shape: Shape = [(extent - size) / step + 1, size].into();
        let window = apply("unfold", Op::Iota { shape: shape.clone(), axis: 0 }, &[]) * step as i32;
        let indices = window + apply("unfold", Op::Iota { shape, axis: 1 }, &[]);
        let windows = apply("unfold", Op::Gather { axis }, &[self, &indices]);
        windows.movedim(axis as isize + 1, -1)
    }
}
