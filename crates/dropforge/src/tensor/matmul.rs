//! Matrix products.

use super::Tensor;
use super::node::{apply, fail};
use super::shapes::broadcast_shapes;
use dropforge_ir::{Op, Shape};

impl Tensor {
    /// Matrix product, as PyTorch's `matmul`: of two vectors it is their dot product; a vector on the left counts as a
    /// row, on the right as a column, and its axis disappears from the result; leading axes are batches, which
    /// broadcast.
    #[doc(alias = "mm")]
    #[track_caller]
    pub fn matmul(&self, other: &Tensor) -> Tensor {
        if self.rank() == 0 || other.rank() == 0 {
            let message = format!("a scalar has no axis to contract, {} · {}", self.shape(), other.shape());
            return fail("matmul", message, &[self, other]);
        }
        let (m, n) = (self.rank(), other.rank());
        let inner = other.shape()[n.saturating_sub(2)];
        if self.shape()[m - 1] != inner {
            let message = format!("inner sizes differ, {} · {}", self.shape(), other.shape());
            return fail("matmul", message, &[self, other]);
        }
        // One matrix on the right serves all batches on the left: one product.
        if n <= 2 {
            return self.contract("matmul", other, m - 1, n.saturating_sub(2), 0);
        }
        let lhs = if m == 1 { self.unsqueeze(0) } else { self.clone() };
        let (left, right) = (lhs.shape(), other.shape());
        let (left_batch, right_batch) = (&left[..left.rank() - 2], &right[..n - 2]);
        let Some(batch) = broadcast_shapes(left_batch, right_batch) else {
            let message = format!("batch sizes differ, {} · {}", self.shape(), other.shape());
            return fail("matmul", message, &[self, other]);
        };
        let whole =
            |matrix: &Shape| -> Shape { batch.iter().chain(&matrix[matrix.rank() - 2..]).copied().collect() };
        let (to_left, to_right) = (whole(left), whole(right));
        let (lhs, rhs) = (lhs.broadcast_to(to_left), other.broadcast_to(to_right));
        let rank = batch.rank();
        let product = lhs.contract("matmul", &rhs, rank + 1, rank, rank);
        if m == 1 { product.squeeze(-2) } else { product }
    }

    /// The product with a matrix of shape `[out, in]` over the last axis of both: a dense layer without bias.
    #[track_caller]
    pub(crate) fn linear(&self, weight: &Tensor) -> Tensor {
        self.contract("linear", weight, self.rank().saturating_sub(1), 1, 0)
    }

    /// Contracts one axis of each side; the first `batch` axes of both are batches.
    #[track_caller]
    fn contract(&self, name: &str, other: &Tensor, left: usize, right: usize, batch: usize) -> Tensor {
        let op = Op::Dot {
            lhs_batch: (0..batch).collect(),
            rhs_batch: (0..batch).collect(),
            lhs_contract: vec![left],
            rhs_contract: vec![right],
        };
        apply(name, op, &[self, other])
    }
}
