//! Reductions over axes.

use super::elementwise::{maximum, minimum};
use super::{Numbers, indices, offset};
use crate::op::ReduceKind;

/// The elements that belong to each element of the result, in row-major order.
fn groups(x: &Numbers, axes: &[usize]) -> Vec<Vec<f64>> {
    let kept = x.shape().without(axes);
    // Reduced axes get stride 0 in the result, so that they do not change the group.
    let mut kept_strides = kept.strides().into_iter();
    let strides: Vec<usize> = (0..x.shape().rank())
        .map(|axis| if axes.contains(&axis) { 0 } else { kept_strides.next().unwrap_or(0) })
        .collect();
    let mut groups = vec![Vec::new(); kept.elements()];
    for (index, &element) in indices(x.shape()).zip(&x.elements) {
        groups[offset(&index, &strides)].push(element);
    }
    groups
}

pub fn reduce(kind: ReduceKind, x: &Numbers, axes: &[usize]) -> Vec<f64> {
    let fold = |group: Vec<f64>| {
        let group = group.into_iter();
        match (kind, x.ty.dtype.is_float()) {
            (ReduceKind::Sum, true) => group.fold(0.0, |sum, x| sum + x),
            (ReduceKind::Product, true) => group.fold(1.0, |product, x| product * x),
            (ReduceKind::Max, true) => group.fold(f64::NEG_INFINITY, maximum),
            (ReduceKind::Min, true) => group.fold(f64::INFINITY, minimum),
            (ReduceKind::Sum, _) => f64::from(group.fold(0i32, |sum, x| sum.wrapping_add(x as i32))),
            (ReduceKind::Product, _) => {
                f64::from(group.fold(1i32, |product, x| product.wrapping_mul(x as i32)))
            }
            (ReduceKind::Max, _) => group.fold(f64::from(i32::MIN), maximum),
            (ReduceKind::Min, _) => group.fold(f64::from(i32::MAX), minimum),
        }
    };
    groups(x, axes).into_iter().map(fold).collect()
}

/// Whether `x` beats the best so far: larger, or the first NaN.
pub fn beats(x: f64, best: f64) -> bool {
    x > best || (x.is_nan() && !best.is_nan())
}

pub fn argmax(x: &Numbers, axis: usize) -> Vec<f64> {
    let position = |group: Vec<f64>| {
        let mut best = 0;
        for (i, &element) in group.iter().enumerate() {
            if beats(element, group[best]) {
                best = i;
            }
        }
        best as f64
    };
    groups(x, &[axis]).into_iter().map(position).collect()
}

pub fn logsumexp(x: &Numbers, axes: &[usize]) -> Vec<f64> {
    groups(x, axes).into_iter().map(|group| log_sum_exp(&group)).collect()
}

/// ln Σ e^x, shifted by the largest so that nothing overflows.
pub fn log_sum_exp(group: &[f64]) -> f64 {
    let largest = group.iter().copied().fold(f64::NEG_INFINITY, maximum);
    if !largest.is_finite() {
        return largest;
    }
    largest + group.iter().map(|x| (x - largest).exp()).sum::<f64>().ln()
}

pub fn mean_variance(x: &Numbers, axes: &[usize]) -> Vec<Vec<f64>> {
    let (mut means, mut variances) = (Vec::new(), Vec::new());
    for group in groups(x, axes) {
        let count = group.len() as f64;
        let mean = group.iter().sum::<f64>() / count;
        means.push(mean);
        variances.push(group.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count);
    }
    vec![means, variances]
}
