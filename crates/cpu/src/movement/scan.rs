//! Operations along one axis that keep it: sorting, running sums.

use super::{GRAIN, IndexedShape};
use crate::pool::{Disjoint, Pool};

/// Elements that can be sorted.
pub trait Sortable: Copy + Sync {
    /// A key in the order of the elements: equal for equal ones, −0 and 0 among them; that of NaN is the largest.
    fn key(self) -> u32;
}

impl Sortable for f32 {
    fn key(self) -> u32 {
        if self.is_nan() {
            return u32::MAX;
        }
        // −0 becomes 0. Negative numbers are larger in bits the smaller they are.
        let bits = (self + 0.0).to_bits();
        if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
    }
}

impl Sortable for i32 {
    fn key(self) -> u32 {
        self as u32 ^ 1 << 31
    }
}

/// The positions along the axis in the order of the elements there; equal elements keep their order. Panics if lengths
/// do not match.
pub fn argsort<T: Sortable>(shape: IndexedShape, descending: bool, from: &[T], out: &mut [i32], pool: &Pool) {
    let flip = if descending { u32::MAX } else { 0 };
    along(shape, from, out, pool, |run, out| {
        // The position decides between equal keys, so that a sort that is not stable becomes one.
        let mut keys: Vec<u64> =
            run.enumerate().map(|(i, x)| u64::from(x.key() ^ flip) << 32 | i as u64).collect();
        keys.sort_unstable();
        out.zip(keys).for_each(|(to, key)| *to = key as u32 as i32);
    });
}

/// Numbers with running sums.
pub trait Summable: Copy + Send + Sync {
    /// What sums are kept in.
    type Sum: Default;

    /// Adds to a sum and gives it, rounded.
    fn add_to(self, sum: &mut Self::Sum) -> Self;
}

impl Summable for f32 {
    type Sum = f64;

    fn add_to(self, sum: &mut f64) -> f32 {
        *sum += f64::from(self);
        *sum as f32
    }
}

impl Summable for i32 {
    type Sum = i32;

    fn add_to(self, sum: &mut i32) -> i32 {
        *sum = sum.wrapping_add(self);
        *sum
    }
}

/// The sum of the elements along the axis up to each one, from the end if `reverse`. Panics if lengths do not match.
pub fn cumulative_sum<T: Summable>(
    shape: IndexedShape,
    reverse: bool,
    from: &[T],
    out: &mut [T],
    pool: &Pool,
) {
    along(shape, from, out, pool, |run, out| {
        let mut sum = T::Sum::default();
        let mut add = |(from, to): (T, &mut T)| *to = from.add_to(&mut sum);
        if reverse { run.rev().zip(out.rev()).for_each(&mut add) } else { run.zip(out).for_each(add) }
    });
}

/// Calls `body` for each run along the axis, with its elements and where to put the results.
fn along<T: Copy + Sync, R: Send>(
    shape: IndexedShape,
    from: &[T],
    out: &mut [R],
    pool: &Pool,
    body: impl for<'a> Fn(Run<'a, T>, RunMut<'a, R>) + Sync,
) {
    let IndexedShape { outer, size, inner } = shape;
    assert_eq!(from.len(), outer * size * inner, "the operand has another size");
    assert_eq!(out.len(), from.len(), "the result has another size");
    let plane = size * inner;
    if plane == 0 {
        return;
    }
    let out = Disjoint::new(out);
    pool.split(outer, GRAIN.div_ceil(plane), |_, range| {
        // SAFETY: ranges of one split do not overlap.
        let part = unsafe { out.part(range.start * plane..range.end * plane) };
        for (from, to) in from[range.start * plane..].chunks_exact(plane).zip(part.chunks_exact_mut(plane)) {
            for i in 0..inner {
                body(from[i..].iter().step_by(inner).copied(), to[i..].iter_mut().step_by(inner));
            }
        }
    });
}

type Run<'a, T> = std::iter::Copied<std::iter::StepBy<std::slice::Iter<'a, T>>>;
type RunMut<'a, T> = std::iter::StepBy<std::slice::IterMut<'a, T>>;
