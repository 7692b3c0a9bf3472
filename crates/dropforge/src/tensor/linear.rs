//! Products beyond the matrix product.

use super::Tensor;
use super::node::{apply, fail};
use super::shapes::resolve_axis;
use dropforge_ir::{Op, Shape};

impl Tensor {
    /// Sum of the products of two vectors.
    #[track_caller]
    pub fn dot(&self, other: &Tensor) -> Tensor {
        if self.rank() != 1 || other.rank() != 1 {
            let message = format!("needs two vectors, got {} and {}", self.shape(), other.shape());
            return fail("dot", message, &[self, other]);
        }
        self.tensordot(other, &[0], &[0])
    }

    /// All products of an element of this vector and one of another: a matrix with a row for each of this one's.
    #[doc(alias = "ger")]
    #[track_caller]
    pub fn outer(&self, other: &Tensor) -> Tensor {
        if self.rank() != 1 || other.rank() != 1 {
            let message = format!("needs two vectors, got {} and {}", self.shape(), other.shape());
            return fail("outer", message, &[self, other]);
        }
        self.unsqueeze(1) * other.unsqueeze(0)
    }

    /// Sum of products over the last axis of both: PyTorch's `inner`. The result has the other axes of this one, then
    /// those of the other.
    #[track_caller]
    pub fn inner(&self, other: &Tensor) -> Tensor {
        if self.rank() == 0 || other.rank() == 0 {
            return self * other;
        }
        self.tensordot(other, &[-1], &[-1])
    }

    /// Sum of products over the axes `left` of this one and `right` of another, pair by pair. The result has the other
    /// axes of this one, then those of the other.
    #[track_caller]
    pub fn tensordot(&self, other: &Tensor, left: &[isize], right: &[isize]) -> Tensor {
        let resolve = |axes: &[isize], shape: &Shape| -> Result<Vec<usize>, String> {
            axes.iter().map(|&axis| resolve_axis(axis, shape)).collect()
        };
        match (resolve(left, self.shape()), resolve(right, other.shape())) {
            (Ok(lhs_contract), Ok(rhs_contract)) if lhs_contract.len() == rhs_contract.len() => {
                let op = Op::Dot { lhs_batch: Vec::new(), rhs_batch: Vec::new(), lhs_contract, rhs_contract };
                apply("tensordot", op, &[self, other])
            }
            (Ok(lhs), Ok(rhs)) => {
                let message = format!("needs pairs of axes, got {} and {}", lhs.len(), rhs.len());
                fail("tensordot", message, &[self, other])
            }
            (Err(message), _) | (_, Err(message)) => fail("tensordot", message, &[self, other]),
        }
    }

    /// Matrix with each element replaced by its product with the other tensor: the Kronecker product. Of tensors of any
    /// rank, the smaller one of which gets axes in front.
    #[track_caller]
    pub fn kron(&self, other: &Tensor) -> Tensor {
        let rank = self.rank().max(other.rank());
        let whole = |tensor: &Tensor| -> Vec<usize> {
            vec![1; rank - tensor.rank()].into_iter().chain(tensor.shape().iter().copied()).collect()
        };
        let (a, b) = (whole(self), whole(other));
        let left: Vec<usize> = a.iter().flat_map(|&extent| [extent, 1]).collect();
        let right: Vec<usize> = b.iter().flat_map(|&extent| [1, extent]).collect();
        let merged: Vec<usize> = a.iter().zip(&b).map(|(a, b)| a.saturating_mul(*b)).collect();
        (self.reshape(left) * other.reshape(right)).reshape(merged)
    }

    /// Cross product of vectors of 3 along an axis; the other axes broadcast.
    #[track_caller]
    pub fn cross(&self, other: &Tensor, axis: isize) -> Tensor {
        for tensor in [self, other] {
            match resolve_axis(axis, tensor.shape()) {
                Ok(resolved) if tensor.shape()[resolved] == 3 => {}
                Ok(_) => {
                    let message = format!("axis {axis} of {} must have extent 3", tensor.shape());
                    return fail("cross", message, &[self, other]);
                }
                Err(message) => return fail("cross", message, &[self, other]),
            }
        }
        // Component i is a[i+1]·b[i+2] − a[i+2]·b[i+1].
        let (a1, a2) = (self.roll(&[-1], axis), self.roll(&[-2], axis));
        let (b1, b2) = (other.roll(&[-1], axis), other.roll(&[-2], axis));
        a1 * b2 - a2 * b1
    }
}
