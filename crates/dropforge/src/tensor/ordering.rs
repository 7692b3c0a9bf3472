//! Sorting, and what is read from sorted elements.

use super::Tensor;
use super::node::{apply, fail};
use super::shapes::resolve_axis;
use dropforge_ir::{DType, Op};

impl Tensor {
    /// The elements as a type that can be sorted, in the same order.
    #[track_caller]
    fn sortable(&self) -> Tensor {
        match self.dtype() {
            // Less 2³¹, so that the order of the words is that of signed ones.
            DType::U32 => {
                let top = super::node::constant(dropforge_ir::Literal::u32(1 << 31), Some(self));
                self.logical_xor(top.broadcast_to(self.shape())).cast(DType::I32)
            }
            DType::U8 | DType::Bool => self.cast(DType::I32),
            _ => self.clone(),
        }
    }

    /// Positions of the elements along an axis in their order, as i32: smallest first, or largest first if
    /// `descending`. Equal elements keep their order (PyTorch's `stable=True`); NaN counts as larger than everything.
    #[track_caller]
    pub fn argsort(&self, axis: isize, descending: bool) -> Tensor {
        match resolve_axis(axis, self.shape()) {
            Ok(axis) => {
                let op = Op::ArgSort { axis, descending: usize::from(descending) };
                apply("argsort", op, &[&self.sortable()])
            }
            Err(message) => fail("argsort", message, &[self]),
        }
    }

    /// The elements along an axis in order, and the positions where they stood: see [`Tensor::argsort`]. The gradient
    /// goes back to where they stood.
    #[track_caller]
    pub fn sort(&self, axis: isize, descending: bool) -> (Tensor, Tensor) {
        let positions = self.argsort(axis, descending);
        (self.at_positions(axis, &positions), positions)
    }

    /// The `count` largest elements along an axis (smallest if not `largest`), the first of them first, and their
    /// positions as i32.
    #[track_caller]
    pub fn topk(&self, count: usize, axis: isize, largest: bool) -> (Tensor, Tensor) {
        let extent = match resolve_axis(axis, self.shape()) {
            Ok(axis) => self.shape()[axis],
            Err(message) => {
                let failed = fail("topk", message, &[self]);
                return (failed.clone(), failed);
            }
        };
        if count > extent {
            let message = format!("{count} elements are more than axis {axis} of {} has", self.shape());
            let failed = fail("topk", message, &[self]);
            return (failed.clone(), failed);
        }
        let positions = self.argsort(axis, largest).slice(axis, ..count);
        (self.at_positions(axis, &positions), positions)
    }

    /// The elements at positions that a sort gave.
    #[track_caller]
    fn at_positions(&self, axis: isize, positions: &Tensor) -> Tensor {
        match resolve_axis(axis, self.shape()) {
            Ok(axis) if positions.node.error().is_none() => self.gather_inside(axis, positions),
            _ => positions.clone(),
        }
    }

    /// The `k`-th smallest element along an axis, which disappears, and its position; `k` counts from 1, as in PyTorch.
    #[track_caller]
    pub fn kthvalue(&self, k: usize, axis: isize) -> (Tensor, Tensor) {
        let extent = match resolve_axis(axis, self.shape()) {
            Ok(axis) => self.shape()[axis],
            Err(message) => {
                let failed = fail("kthvalue", message, &[self]);
                return (failed.clone(), failed);
            }
        };
        if k == 0 || k > extent {
            let message =
                format!("k must be from 1 to {extent} for axis {axis} of {}, got {k}", self.shape());
            let failed = fail("kthvalue", message, &[self]);
            return (failed.clone(), failed);
        }
        let at = self.argsort(axis, false).slice(axis, k - 1..k);
        (self.at_positions(axis, &at).squeeze(axis), at.squeeze(axis))
    }

    /// The element in the middle of an axis, which disappears; the lower of two, as in PyTorch. NaN if any is.
    #[track_caller]
    pub fn median(&self, axis: isize) -> Tensor {
        let extent = match resolve_axis(axis, self.shape()) {
            Ok(axis) => self.shape()[axis],
            Err(message) => return fail("median", message, &[self]),
        };
        if extent == 0 {
            return fail("median", format!("axis {axis} of {} is empty", self.shape()), &[self]);
        }
        let (sorted, _) = self.sort(axis, false);
        let middle = sorted.slice(axis, (extent - 1) / 2..(extent - 1) / 2 + 1);
        if !self.dtype().is_float() {
            return middle.squeeze(axis);
        }
        // Sorted elements end with NaN if there is one.
        let last = sorted.slice(axis, extent - 1..);
        Tensor::select(&last.isnan(), &last, &middle).squeeze(axis)
    }

    /// The number below which the share `q` of the elements along an axis lie, which disappears: between two elements
    /// their distance is shared linearly. NaN if any is.
    #[track_caller]
    pub fn quantile(&self, q: f32, axis: isize) -> Tensor {
        let x = match self.floats("quantile") {
            Ok(x) => x,
            Err(failed) => return failed,
        };
        let extent = match resolve_axis(axis, self.shape()) {
            Ok(axis) => self.shape()[axis],
            Err(message) => return fail("quantile", message, &[self]),
        };
        if extent == 0 {
            return fail("quantile", format!("axis {axis} of {} is empty", self.shape()), &[self]);
        }
        if !(0.0..=1.0).contains(&q) {
            return fail("quantile", format!("the share must be from 0 to 1, got {q}"), &[self]);
        }
        let place = f64::from(q) * (extent - 1) as f64;
        let below = place.floor() as usize;
        let (sorted, _) = x.sort(axis, false);
        let low = sorted.slice(axis, below..below + 1);
        let next = (below + 1).min(extent - 1);
        let high = sorted.slice(axis, next..next + 1);
        let between = low.lerp(&high, (place - below as f64) as f32);
        let last = sorted.slice(axis, extent - 1..);
        Tensor::select(&last.isnan(), &last, &between).squeeze(axis).cast(self.dtype())
    }

    /// Where each of `values` belongs in this sorted vector so that it stays sorted, as i32: before equal elements, or
    /// behind them if `right`. PyTorch's `searchsorted`, and `bucketize` with the roles exchanged.
    #[doc(alias = "bucketize")]
    #[track_caller]
    pub fn searchsorted(&self, values: &Tensor, right: bool) -> Tensor {
        if self.rank() != 1 {
            let message = format!("needs a sorted vector, got {}", self.shape());
            return fail("searchsorted", message, &[self, values]);
        }
        let each = values.unsqueeze(-1);
        let before = if right { self.le(&each) } else { self.lt(&each) };
        before.cast(DType::I32).sum(-1)
    }
}
