//! Operations that move elements without changing them, and their transposes.

use super::{Numbers, indices, offset};
use crate::types::Shape;

pub fn permute(x: &Numbers, order: &[usize], result: &Shape) -> Vec<f64> {
    let strides = x.shape().strides();
    let strides: Vec<usize> = order.iter().map(|&axis| strides[axis]).collect();
    indices(result).map(|index| x.elements[offset(&index, &strides)]).collect()
}

pub fn broadcast(x: &Numbers, axes: &[usize], result: &Shape) -> Vec<f64> {
    let mut strides = vec![0; result.rank()];
    for (&axis, stride) in axes.iter().zip(x.shape().strides()) {
        strides[axis] = stride;
    }
    indices(result).map(|index| x.elements[offset(&index, &strides)]).collect()
}

pub fn slice(x: &Numbers, start: &[usize], step: &[usize], result: &Shape) -> Vec<f64> {
    let strides = x.shape().strides();
    let element = |index: Vec<usize>| {
        let source: Vec<usize> =
            index.iter().zip(start).zip(step).map(|((i, start), step)| start + i * step).collect();
        x.elements[offset(&source, &strides)]
    };
    indices(result).map(element).collect()
}

pub fn pad(x: &Numbers, low: &[usize], interior: &[usize], value: f64, result: &Shape) -> Vec<f64> {
    let strides = result.strides();
    let mut elements = vec![value; result.elements()];
    for (index, &element) in indices(x.shape()).zip(&x.elements) {
        let target: Vec<usize> = index
            .iter()
            .zip(low)
            .zip(interior)
            .map(|((i, low), interior)| low + i * (interior + 1))
            .collect();
        elements[offset(&target, &strides)] = element;
    }
    elements
}

pub fn flip(x: &Numbers, axes: &[usize]) -> Vec<f64> {
    let (shape, strides) = (x.shape(), x.shape().strides());
    let element = |mut index: Vec<usize>| {
        for &axis in axes {
            index[axis] = shape[axis] - 1 - index[axis];
        }
        x.elements[offset(&index, &strides)]
    };
    indices(shape).map(element).collect()
}

pub fn concat(args: &[&Numbers], axis: usize, result: &Shape) -> Vec<f64> {
    let element = |mut index: Vec<usize>| {
        let mut part = 0;
        while index[axis] >= args[part].shape()[axis] {
            index[axis] -= args[part].shape()[axis];
            part += 1;
        }
        args[part].elements[offset(&index, &args[part].shape().strides())]
    };
    indices(result).map(element).collect()
}

/// Extents before and after an axis (or a run of axes) multiplied up.
fn outer_inner(shape: &Shape, axis: usize, count: usize) -> (usize, usize) {
    (shape[..axis].iter().product(), shape[axis + count..].iter().product())
}

pub fn gather(x: &Numbers, index: &Numbers, axis: usize) -> Vec<f64> {
    let (outer, inner) = outer_inner(x.shape(), axis, 1);
    let size = x.shape()[axis];
    let mut result = Vec::new();
    for o in 0..outer {
        for &position in &index.elements {
            let inside = position >= 0.0 && position < size as f64;
            for i in 0..inner {
                result.push(if inside {
                    x.elements[(o * size + position as usize) * inner + i]
                } else {
                    0.0
                });
            }
        }
    }
    result
}

pub fn scatter_add(updates: &Numbers, index: &Numbers, axis: usize, result: &Shape) -> Vec<f64> {
    let (outer, inner) = outer_inner(result, axis, 1);
    let (size, count) = (result[axis], index.elements.len());
    let mut sums = vec![0.0; result.elements()];
    for o in 0..outer {
        for (j, &position) in index.elements.iter().enumerate() {
            if position < 0.0 || position >= size as f64 {
                continue;
            }
            for i in 0..inner {
                sums[(o * size + position as usize) * inner + i] +=
                    updates.elements[(o * count + j) * inner + i];
            }
        }
    }
    sums
}
