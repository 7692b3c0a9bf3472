//! Pooling over windows of images.

use super::reduction::beats;
use super::{Numbers, indices};
use crate::op::PoolWindow;
use crate::types::Shape;

/// Calls `visit` with the position in the output, the position in x and the position in the plane of x for every
/// element of every window, padding left out.
fn elements(x: &Shape, output: &Shape, window: &PoolWindow, mut visit: impl FnMut(usize, usize, usize)) {
    // The rows or columns of x that a window covers: a window may be much larger than the image.
    let covered = |axis: usize, out: usize| {
        let start = out * window.stride[axis];
        let inside = |position: usize| position.saturating_sub(window.low[axis]).min(x[2 + axis]);
        inside(start)..inside(start + window.kernel[axis])
    };
    for (at, index) in indices(output).enumerate() {
        let plane = index[0] * x[1] + index[1];
        for row in covered(0, index[2]) {
            for column in covered(1, index[3]) {
                let position = row * x[3] + column;
                visit(at, plane * x[2] * x[3] + position, position);
            }
        }
    }
}

pub fn max_pool(x: &Numbers, window: &PoolWindow, result: &Shape) -> Vec<Vec<f64>> {
    let mut best: Vec<Option<(f64, usize)>> = vec![None; result.elements()];
    elements(x.shape(), result, window, |output, input, position| {
        let candidate = x.elements[input];
        if best[output].is_none_or(|(value, _)| beats(candidate, value)) {
            best[output] = Some((candidate, position));
        }
    });
    // The shape rule leaves no window without elements.
    let best = best.into_iter().map(|found| found.unwrap_or((f64::NEG_INFINITY, 0)));
    let (values, positions): (Vec<f64>, Vec<f64>) =
        best.map(|(value, position)| (value, position as f64)).unzip();
    vec![values, positions]
}

pub fn max_pool_gradient(gradient: &Numbers, positions: &Numbers, result: &Shape) -> Vec<f64> {
    let per_plane = gradient.shape()[2] * gradient.shape()[3];
    let plane_size = result[2] * result[3];
    let mut sums = vec![0.0; result.elements()];
    for (i, (&g, &position)) in gradient.elements.iter().zip(&positions.elements).enumerate() {
        if position >= 0.0 && position < plane_size as f64 {
            sums[i / per_plane * plane_size + position as usize] += g;
        }
    }
    sums
}

pub fn window_sum(x: &Numbers, window: &PoolWindow, result: &Shape) -> Vec<f64> {
    let mut sums = vec![0.0; result.elements()];
    elements(x.shape(), result, window, |output, input, _| sums[output] += x.elements[input]);
    sums
}

pub fn window_sum_transpose(gradient: &Numbers, window: &PoolWindow, result: &Shape) -> Vec<f64> {
    let mut sums = vec![0.0; result.elements()];
    elements(result, gradient.shape(), window, |output, input, _| sums[input] += gradient.elements[output]);
    sums
}
