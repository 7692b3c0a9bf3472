//! Products over any axes of tensors, as matrix products without copying.

use super::{MatmulShape, MatrixStrides};

/// One axis of a tensor product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Positions along the axis.
    pub extent: usize,
    /// Stride in the left side; 0 for an axis that it does not have.
    pub lhs: isize,
    /// Stride in the right side; 0 for an axis that it does not have.
    pub rhs: isize,
    /// Stride in the output; 0 for a contracted axis.
    pub out: isize,
}

/// The axes of a sum of products of two tensors, by what they do. `dot` of the IR is one, with any strides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DotAxes {
    /// Axes of both sides and of the output.
    pub batch: Vec<Axis>,
    /// Axes of the left side and of the output.
    pub lhs_free: Vec<Axis>,
    /// Axes of the right side and of the output.
    pub rhs_free: Vec<Axis>,
    /// Axes of both sides that are summed over.
    pub contract: Vec<Axis>,
}

impl DotAxes {
    /// The axes of contiguous tensors of these shapes, as `dot` of the IR names them; its result is contiguous too.
    pub fn contiguous(
        lhs: &[usize],
        rhs: &[usize],
        lhs_batch: &[usize],
        rhs_batch: &[usize],
        lhs_contract: &[usize],
        rhs_contract: &[usize],
    ) -> DotAxes {
        let (lhs_strides, rhs_strides) = (contiguous_strides(lhs), contiguous_strides(rhs));
        let shared = |left: &[usize], right: &[usize]| -> Vec<Axis> {
            let axes = left.iter().zip(right);
            axes.map(|(&left, &right)| {
                assert_eq!(lhs[left], rhs[right], "axes {left} and {right} of {lhs:?} and {rhs:?}");
                Axis { extent: lhs[left], lhs: lhs_strides[left], rhs: rhs_strides[right], out: 0 }
            })
            .collect()
        };
        let (mut batch, contract) = (shared(lhs_batch, rhs_batch), shared(lhs_contract, rhs_contract));
        let free = |rank: usize, batch: &[usize], contract: &[usize]| -> Vec<usize> {
            (0..rank).filter(|axis| !batch.contains(axis) && !contract.contains(axis)).collect()
        };
        let mut lhs_free: Vec<Axis> = free(lhs.len(), lhs_batch, lhs_contract)
            .into_iter()
            .map(|axis| Axis { extent: lhs[axis], lhs: lhs_strides[axis], rhs: 0, out: 0 })
            .collect();
        let mut rhs_free: Vec<Axis> = free(rhs.len(), rhs_batch, rhs_contract)
            .into_iter()
            .map(|axis| Axis { extent: rhs[axis], lhs: 0, rhs: rhs_strides[axis], out: 0 })
            .collect();
        let mut stride = 1;
        for axis in
            [&mut rhs_free, &mut lhs_free, &mut batch].into_iter().flat_map(|axes| axes.iter_mut().rev())
        {
            axis.out = stride;
            stride *= axis.extent as isize;
        }
        DotAxes { batch, lhs_free, rhs_free, contract }
    }

    /// The matrix product that this is. Neighbouring axes with matching strides become one; of the free and of the
    /// contracted axes that remain, the longest becomes a matrix axis, the others batch and outer axes.
    pub fn matmul(mut self) -> MatmulShape {
        let lhs_free = take_longest(&mut self.lhs_free);
        let rhs_free = take_longest(&mut self.rhs_free);
        let contract = take_longest(&mut self.contract);
        let mut batch = merge(self.batch);
        batch.append(&mut self.lhs_free);
        batch.append(&mut self.rhs_free);
        let outer = self.contract;
        let strides = |of: fn(&Axis) -> isize, row: isize, column: isize| MatrixStrides {
            batch: batch.iter().map(of).collect(),
            outer: outer.iter().map(of).collect(),
            row,
            column,
        };
        MatmulShape {
            batch: batch.iter().map(|axis| axis.extent).collect(),
            outer: outer.iter().map(|axis| axis.extent).collect(),
            m: lhs_free.extent,
            n: rhs_free.extent,
            k: contract.extent,
            lhs: strides(|axis| axis.lhs, lhs_free.lhs, contract.lhs),
            rhs: strides(|axis| axis.rhs, contract.rhs, rhs_free.rhs),
            out: MatrixStrides { outer: Vec::new(), ..strides(|axis| axis.out, lhs_free.out, rhs_free.out) },
        }
    }
}

/// The strides of a contiguous tensor.
pub(crate) fn contiguous_strides(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis] as isize;
    }
    strides
}

/// Joins neighbours that one stride describes, and leaves out axes of extent 1.
fn merge(axes: Vec<Axis>) -> Vec<Axis> {
    let mut merged: Vec<Axis> = Vec::new();
    for axis in axes.into_iter().filter(|axis| axis.extent != 1) {
        if let Some(last) = merged.last_mut() {
            let spans = |outer: isize, inner: isize| outer == inner * axis.extent as isize;
            if spans(last.lhs, axis.lhs) && spans(last.rhs, axis.rhs) && spans(last.out, axis.out) {
                *last = Axis { extent: last.extent * axis.extent, ..axis };
                continue;
            }
        }
        merged.push(axis);
    }
    merged
}

/// Merges the axes and takes out the longest (the last of equals).
fn take_longest(axes: &mut Vec<Axis>) -> Axis {
    *axes = merge(std::mem::take(axes));
    match (0..axes.len()).max_by_key(|&axis| axes[axis].extent) {
        Some(longest) => axes.remove(longest),
        None => Axis { extent: 1, lhs: 1, rhs: 1, out: 1 },
    }
}
