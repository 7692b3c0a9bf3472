//! Sums of products: dot and the three directions of convolution.

use super::{Numbers, indices, offset};
use crate::op::ConvolutionWindow;
use crate::types::Shape;

/// Positions in `x` reached by running over some of its axes, in row-major order of `axes`.
fn offsets(x: &Numbers, axes: &[usize]) -> Vec<usize> {
    let strides = x.shape().strides();
    let strides: Vec<usize> = axes.iter().map(|&axis| strides[axis]).collect();
    let extents: Shape = axes.iter().map(|&axis| x.shape()[axis]).collect();
    indices(&extents).map(|index| offset(&index, &strides)).collect()
}

pub fn dot(
    lhs: &Numbers,
    rhs: &Numbers,
    lhs_batch: &[usize],
    rhs_batch: &[usize],
    lhs_contract: &[usize],
    rhs_contract: &[usize],
) -> Vec<f64> {
    let free = |x: &Numbers, batch: &[usize], contract: &[usize]| {
        let axes: Vec<usize> =
            (0..x.shape().rank()).filter(|axis| !batch.contains(axis) && !contract.contains(axis)).collect();
        offsets(x, &axes)
    };
    let (rows, columns) = (free(lhs, lhs_batch, lhs_contract), free(rhs, rhs_batch, rhs_contract));
    let (lhs_inner, rhs_inner) = (offsets(lhs, lhs_contract), offsets(rhs, rhs_contract));
    let mut result = Vec::new();
    for (lhs_base, rhs_base) in offsets(lhs, lhs_batch).into_iter().zip(offsets(rhs, rhs_batch)) {
        for row in &rows {
            for column in &columns {
                let mut sum = 0.0;
                for (l, r) in lhs_inner.iter().zip(&rhs_inner) {
                    sum += lhs.elements[lhs_base + row + l] * rhs.elements[rhs_base + column + r];
                }
                result.push(sum);
            }
        }
    }
    result
}

/// Calls `visit` with positions in x, filter and output of every product of a convolution.
fn products(
    x: &Shape,
    filter: &Shape,
    output: &Shape,
    window: &ConvolutionWindow,
    mut visit: impl FnMut(usize, usize, usize),
) {
    let per_group = output[1] / window.groups;
    // Where a tap of the filter meets the input, or nothing if it meets padding.
    let meet = |axis: usize, out: usize, tap: usize| {
        let padded = out * window.stride[axis] + tap * window.dilation[axis];
        padded.checked_sub(window.low[axis]).filter(|&position| position < x[2 + axis])
    };
    for (at, index) in indices(output).enumerate() {
        let [batch, channel, row, column] = [index[0], index[1], index[2], index[3]];
        for inner in 0..filter[1] {
            let input_channel = channel / per_group * filter[1] + inner;
            for tap_row in 0..filter[2] {
                let Some(x_row) = meet(0, row, tap_row) else { continue };
                for tap_column in 0..filter[3] {
                    let Some(x_column) = meet(1, column, tap_column) else { continue };
                    visit(
                        ((batch * x[1] + input_channel) * x[2] + x_row) * x[3] + x_column,
                        ((channel * filter[1] + inner) * filter[2] + tap_row) * filter[3] + tap_column,
                        at,
                    );
                }
            }
        }
    }
}

pub fn convolution(x: &Numbers, filter: &Numbers, window: &ConvolutionWindow, result: &Shape) -> Vec<f64> {
    let mut sums = vec![0.0; result.elements()];
    products(x.shape(), filter.shape(), result, window, |i, f, o| {
        sums[o] += x.elements[i] * filter.elements[f]
    });
    sums
}

pub fn convolution_input_gradient(
    gradient: &Numbers,
    filter: &Numbers,
    window: &ConvolutionWindow,
    result: &Shape,
) -> Vec<f64> {
    let mut sums = vec![0.0; result.elements()];
    products(result, filter.shape(), gradient.shape(), window, |i, f, o| {
        sums[i] += gradient.elements[o] * filter.elements[f];
    });
    sums
}

pub fn convolution_filter_gradient(
    x: &Numbers,
    gradient: &Numbers,
    window: &ConvolutionWindow,
    result: &Shape,
) -> Vec<f64> {
    let mut sums = vec![0.0; result.elements()];
    products(x.shape(), result, gradient.shape(), window, |i, f, o| {
        sums[f] += gradient.elements[o] * x.elements[i];
    });
    sums
}
