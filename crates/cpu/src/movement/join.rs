//! Concatenation and padding of contiguous tensors.

use super::{Element, GRAIN, StridedCopy};
use crate::matmul::contiguous_strides;
use crate::pool::{Disjoint, Pool, share};

/// Joins tensors along an axis. Each part is a tensor with the elements of `outer` positions before the axis, and how
/// many elements it has for each of these. Panics if lengths do not match.
pub fn concat<T: Element>(outer: usize, parts: &[(&[T], usize)], out: &mut [T], pool: &Pool) {
    let row: usize = parts.iter().map(|(_, length)| length).sum();
    assert_eq!(out.len(), outer * row, "the result has another size");
    for (part, length) in parts {
        assert_eq!(part.len(), outer * length, "a part has another size");
    }
    let result = Disjoint::new(out);
    pool.split(result.len(), GRAIN, |_, range| {
        // SAFETY: ranges of one split do not overlap.
        let mut rest = unsafe { result.part(range.clone()) };
        let (mut position, mut skip) = (range.start / row, range.start % row);
        while !rest.is_empty() {
            for (part, length) in parts {
                let start = skip.min(*length);
                skip -= start;
                let count = (length - start).min(rest.len());
                let (piece, after) = rest.split_at_mut(count);
                piece.copy_from_slice(&part[position * length + start..][..count]);
                rest = after;
            }
            position += 1;
        }
    });
}

/// What is put around and between the elements of a tensor, decided on once.
#[derive(Clone, Debug)]
pub struct Padding {
    /// Positions before the first padded axis, each done by itself.
    outer: usize,
    /// Elements of one such position, in the argument and in the result.
    from: usize,
    to: usize,
    /// Where the first element of a position stands in the result.
    offset: usize,
    copy: StridedCopy,
}

impl Padding {
    /// Pads a contiguous tensor of shape `shape`: `low`, `high` and `interior` elements before, after and between, for
    /// each axis.
    pub fn new(shape: &[usize], low: &[usize], high: &[usize], interior: &[usize]) -> Padding {
        let padded = |axis: usize| low[axis] + high[axis] + interior[axis] > 0;
        let first = (0..shape.len()).find(|&axis| padded(axis)).unwrap_or(shape.len());
        let length = |axis: usize| {
            low[axis] + shape[axis] + interior[axis] * shape[axis].saturating_sub(1) + high[axis]
        };
        let result: Vec<usize> = (first..shape.len()).map(length).collect();
        let strides = contiguous_strides(&result);
        let inner = &shape[first..];
        let to: Vec<isize> = strides
            .iter()
            .zip(&interior[first..])
            .map(|(stride, &between)| stride * (between as isize + 1))
            .collect();
        let offset = strides.iter().zip(&low[first..]).map(|(&stride, &low)| stride as usize * low).sum();
        // Axes of extent 0 or 1 may have any stride; what the copy wants is that elements are apart, as they are.
        let copy = StridedCopy::new(inner, &contiguous_strides(inner), &to);
        Padding {
            outer: shape[..first].iter().product(),
            from: inner.iter().product(),
            to: result.iter().product(),
            offset,
            copy,
        }
    }
}

/// Copies `from` to its places in `out` and puts `value` everywhere else. Panics if lengths do not match.
pub fn pad<T: Element>(padding: &Padding, from: &[T], value: T, out: &mut [T], pool: &Pool) {
    let Padding { outer, from: from_length, to: to_length, offset, copy } = padding;
    assert_eq!(from.len(), outer * from_length, "the argument has another size");
    assert_eq!(out.len(), outer * to_length, "the result has another size");
    let place = |position: usize, out: &mut [T], pool: &Pool| {
        if *from_length > 0 {
            copy.run_on_slices(&from[position * from_length..][..*from_length], 0, out, *offset, pool);
        }
    };
    let result = Disjoint::new(out);
    if *outer < pool.threads() {
        for position in 0..*outer {
            let start = position * to_length;
            pool.split(*to_length, GRAIN, |_, range| {
                // SAFETY: ranges of one split do not overlap.
                unsafe { result.part(start + range.start..start + range.end) }.fill(value);
            });
            // SAFETY: the filling is over.
            place(position, unsafe { result.part(start..start + to_length) }, pool);
        }
        return;
    }
    let tasks = pool.threads().min(result.len().div_ceil(GRAIN)).max(1);
    pool.split(tasks, 1, |_, parts| {
        for position in parts.flat_map(|part| share(*outer, tasks, part)) {
            // SAFETY: positions do not overlap, and each is in one share.
            let out = unsafe { result.part(position * to_length..(position + 1) * to_length) };
            out.fill(value);
            // Inside a job the copy runs on this thread alone.
            place(position, out, pool);
        }
    });
}
