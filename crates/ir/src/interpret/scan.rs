//! Operations along one axis that keep it: sorting, running sums.

use super::Numbers;
use std::cmp::Ordering;

/// Each run along `axis` replaced by what `body` makes of it.
fn along(x: &Numbers, axis: usize, body: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    let shape = x.shape();
    let (size, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
    let outer: usize = shape[..axis].iter().product();
    let mut result = vec![0.0; x.elements.len()];
    for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
        let at = |j: usize| (o * size + j) * inner + i;
        let run: Vec<f64> = (0..size).map(|j| x.elements[at(j)]).collect();
        for (j, element) in body(&run).into_iter().enumerate() {
            result[at(j)] = element;
        }
    }
    result
}

/// Smaller first, NaN last.
fn compare(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

pub fn argsort(x: &Numbers, axis: usize, descending: bool) -> Vec<f64> {
    along(x, axis, |run| {
        let mut order: Vec<usize> = (0..run.len()).collect();
        order.sort_by(|&a, &b| {
            let ascending = compare(run[a], run[b]);
            if descending { ascending.reverse() } else { ascending }
        });
        order.into_iter().map(|position| position as f64).collect()
    })
}

pub fn cumulative_sum(x: &Numbers, axis: usize, reverse: bool) -> Vec<f64> {
    let is_float = x.ty.dtype.is_float();
    along(x, axis, |run| {
        let mut sum = 0.0;
        let mut add = |x: &f64| {
            sum = if is_float { sum + x } else { f64::from((sum as i32).wrapping_add(*x as i32)) };
            sum
        };
        if reverse {
            let mut sums: Vec<f64> = run.iter().rev().map(add).collect();
            sums.reverse();
            sums
        } else {
            run.iter().map(&mut add).collect()
        }
    })
}
