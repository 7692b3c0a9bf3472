//! Picking by index.

use super::Tensor;
use super::node::{apply, fail};
use super::shapes::resolve_axis;
use dropforge_ir::{DType, Op};

impl Tensor {
    /// The parts at `indices` (i32, any shape) along an axis; the axes of the indices take its place. An index outside
    /// is an error of whatever computes the result.
    #[doc(alias = "torch.index_select")]
    #[track_caller]
    pub fn index_select(&self, axis: isize, indices: &Tensor) -> Tensor {
        match resolve_axis(axis, self.shape()) {
            Ok(axis) => {
                let indices = indices.checked("index_select", self, self.shape()[axis]);
                apply("index_select", Op::Gather { axis }, &[self, &indices])
            }
            Err(message) => fail("index_select", message, &[self, indices]),
        }
    }

    /// Rows of a table `[count, width]` by `indices` (i32, any shape): PyTorch's `embedding`. An index outside is an
    /// error of whatever computes the result.
    #[doc(alias = "F.embedding")]
    #[track_caller]
    pub fn embedding(&self, indices: &Tensor) -> Tensor {
        if self.rank() != 2 {
            let message = format!("the table must be [count, width], got {}", self.shape());
            return fail("embedding", message, &[self, indices]);
        }
        let indices = indices.checked("embedding", self, self.shape()[0]);
        apply("embedding", Op::Gather { axis: 0 }, &[self, &indices])
    }

    /// The element at the class index of each position: with `self` `[.., classes, ..]` and `indices` (i32) the same
    /// shape without `axis`, the result has the shape of `indices`. An index outside is an error of whatever computes
    /// the result. Written as a masked sum, so that it fuses with what surrounds it.
    #[doc(alias = "gather")]
    #[track_caller]
    pub fn pick(&self, axis: isize, indices: &Tensor) -> Tensor {
        self.pick_for("pick", axis, indices)
    }

    /// [`Tensor::pick`] for an operation whose name errors say.
    #[track_caller]
    pub(crate) fn pick_for(&self, name: &str, axis: isize, indices: &Tensor) -> Tensor {
        let resolved = match resolve_axis(axis, self.shape()) {
            Ok(axis) => axis,
            Err(message) => return fail(name, message, &[self, indices]),
        };
        let shape = self.shape().without(&[resolved]);
        if indices.dtype() != DType::I32 || *indices.shape() != shape {
            let message = format!("{} has i32 indices of shape {shape}, got {}", self.ty(), indices.ty());
            return fail(name, message, &[self, indices]);
        }
        let indices = indices.checked(name, self, self.shape()[resolved]);
        let numbers = apply(name, Op::Iota { shape: self.shape().clone(), axis: resolved }, &[]);
        let chosen = indices.keep_axes(self.shape(), &[resolved]).eq(&numbers);
        Tensor::select(&chosen, self, 0.0).sum(axis)
    }
}
