//! Pooling over planes of `[batch × channel, height, width]`, and its gradients.
//!
//! Maxima keep the index of the element they come from, so that the gradient is a scatter. Averages are window sums
//! times a factor, which need no index; where zeros of the padding are not to be counted, the caller divides by
//! [`PoolShape::counted`] instead of the size of the window.

#![allow(clippy::needless_range_loop, reason = "indices name rows and columns")]

use crate::pool::{Disjoint, Pool};
use crate::simd::{Kernel, Level, MAX_LANES, Vector};
use std::ops::Range;

/// Windows over a plane. Pairs are height first, width second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolShape {
    /// Planes: batch times channels.
    pub planes: usize,
    /// Height and width of an input plane.
    pub input: [usize; 2],
    /// Height and width of a window.
    pub kernel: [usize; 2],
    /// Pixels from one window to the next.
    pub stride: [usize; 2],
    /// Pixels of padding before the first row and column.
    pub pad_low: [usize; 2],
    /// Pixels of padding after the last row and column.
    pub pad_high: [usize; 2],
}

impl PoolShape {
    /// Height and width of an output plane; zero where the window does not fit.
    pub fn output(&self) -> [usize; 2] {
        [0, 1].map(|axis| {
            let padded = self.pad_low[axis] + self.input[axis] + self.pad_high[axis];
            if padded < self.kernel[axis] { 0 } else { (padded - self.kernel[axis]) / self.stride[axis] + 1 }
        })
    }

    /// Elements of the input.
    pub fn input_len(&self) -> usize {
        self.planes * self.input_plane()
    }

    /// Elements of the output.
    pub fn output_len(&self) -> usize {
        self.planes * self.output_plane()
    }

    /// Pixels of the window at output position (`y`, `x`) that are not padding.
    pub fn counted(&self, y: usize, x: usize) -> usize {
        self.window(0, y).len() * self.window(1, x).len()
    }

    fn input_plane(&self) -> usize {
        self.input[0] * self.input[1]
    }

    fn output_plane(&self) -> usize {
        let [height, width] = self.output();
        height * width
    }

    /// The input positions along `axis` of the window at output position `at`, without the padding.
    #[inline(always)]
    fn window(&self, axis: usize, at: usize) -> Range<usize> {
        let start = at * self.stride[axis];
        let low = start.saturating_sub(self.pad_low[axis]).min(self.input[axis]);
        let high = (start + self.kernel[axis]).saturating_sub(self.pad_low[axis]).min(self.input[axis]);
        low..high
    }

    /// Whether windows of 2×2 lie side by side: the case with kernels of its own.
    pub(crate) fn is_two_by_two(&self) -> bool {
        self.kernel == [2; 2] && self.stride == [2; 2] && self.pad_low == [0; 2] && self.pad_high == [0; 2]
            // Vectors hold indices as numbers.
            && self.input_plane() < 1 << 24
    }

    /// How many planes are worth a thread.
    fn grain(&self) -> usize {
        (4096 / self.input_plane().max(1)).max(1)
    }

    fn check(&self, input: usize, output: usize) {
        assert!(
            self.stride.iter().chain(&self.kernel).all(|&size| size > 0),
            "windows and strides are at least 1"
        );
        assert!(self.input_plane() <= i32::MAX as usize, "indices into a plane do not fit");
        assert_eq!([input, output], [self.input_len(), self.output_len()], "operands of {self:?}");
    }
}

/// The maximum of each window, and where it is: `row * width + column` in its input plane.
///
/// The first of several maxima counts, and of numbers that are not a number (which beat all others) the last, as in
/// PyTorch. A window that is all padding gives negative infinity and index -1. Without `indices` only the values are
/// computed.
///
/// # Panics
/// Where a slice does not have the size that `shape` gives it; so do the functions below.
pub fn max_pool(
    shape: &PoolShape,
    input: &[f32],
    values: &mut [f32],
    indices: Option<&mut [i32]>,
    pool: &Pool,
    level: Level,
) {
    shape.check(input.len(), values.len());
    assert!(indices.as_ref().is_none_or(|i| i.len() == values.len()), "a value for every index");
    let (values, indices) = (Disjoint::new(values), indices.map(Disjoint::new));
    let plane = shape.output_plane();
    pool.split(shape.planes, shape.grain(), |_, planes| {
        let range = planes.start * plane..planes.end * plane;
        // SAFETY: each plane belongs to one thread.
        let (values, indices) =
            unsafe { (values.part(range.clone()), indices.as_ref().map(|indices| indices.part(range))) };
        let input = &input[planes.start * shape.input_plane()..planes.end * shape.input_plane()];
        level.call(Maxima { shape, input, values, indices });
    });
}

/// The gradient of [`max_pool`]: adds each output gradient to the element its index names. Windows may overlap.
pub fn max_pool_gradient(
    shape: &PoolShape,
    gradient: &[f32],
    indices: &[i32],
    out: &mut [f32],
    pool: &Pool,
    level: Level,
) {
    shape.check(out.len(), gradient.len());
    assert_eq!(gradient.len(), indices.len(), "an index for every gradient");
    let out = Disjoint::new(out);
    let (inputs, outputs) = (shape.input_plane(), shape.output_plane());
    pool.split(shape.planes, shape.grain(), |_, planes| {
        // SAFETY: each plane belongs to one thread.
        let out = unsafe { out.part(planes.start * inputs..planes.end * inputs) };
        let range = planes.start * outputs..planes.end * outputs;
        level.call(Scatter { shape, gradient: &gradient[range.clone()], indices: &indices[range], out });
    });
}

/// `scale` times the sum of each window. With `scale` one over the size of a window, the average that counts padding.
pub fn window_sum(shape: &PoolShape, scale: f32, input: &[f32], out: &mut [f32], pool: &Pool, level: Level) {
    shape.check(input.len(), out.len());
    let out = Disjoint::new(out);
    let (inputs, outputs) = (shape.input_plane(), shape.output_plane());
    pool.split(shape.planes, shape.grain(), |_, planes| {
        // SAFETY: each plane belongs to one thread.
        let out = unsafe { out.part(planes.start * outputs..planes.end * outputs) };
        let input = &input[planes.start * inputs..planes.end * inputs];
        level.call(Sums { shape, scale, input, out, transposed: false });
    });
}

/// The transpose of [`window_sum`], which is its gradient: adds `scale` times each element of `gradient` to all
/// elements of its window.
pub fn window_sum_transpose(
    shape: &PoolShape,
    scale: f32,
    gradient: &[f32],
    out: &mut [f32],
    pool: &Pool,
    level: Level,
) {
    shape.check(out.len(), gradient.len());
    let out = Disjoint::new(out);
    let (inputs, outputs) = (shape.input_plane(), shape.output_plane());
    pool.split(shape.planes, shape.grain(), |_, planes| {
        // SAFETY: each plane belongs to one thread.
        let out = unsafe { out.part(planes.start * inputs..planes.end * inputs) };
        let input = &gradient[planes.start * outputs..planes.end * outputs];
        level.call(Sums { shape, scale, input, out, transposed: true });
    });
}

/// Maxima of some planes.
struct Maxima<'a> {
    shape: &'a PoolShape,
    input: &'a [f32],
    values: &'a mut [f32],
    indices: Option<&'a mut [i32]>,
}

impl Kernel for Maxima<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Maxima { shape, input, values, indices } = self;
        let [height, width] = shape.output();
        let (inputs, outputs) = (shape.input_plane(), shape.output_plane());
        if outputs == 0 {
            return;
        }
        let mut indices = indices.map(|indices| indices.chunks_exact_mut(outputs));
        for (plane, values) in values.chunks_exact_mut(outputs).enumerate() {
            let input = &input[plane * inputs..(plane + 1) * inputs];
            let mut indices = indices.as_mut().and_then(Iterator::next);
            for y in 0..height {
                let row = y * width..(y + 1) * width;
                let values = &mut values[row.clone()];
                match indices.as_mut().map(|indices| &mut indices[row]) {
                    Some(indices) if shape.is_two_by_two() => {
                        maxima_of_pairs::<V>(input, shape.input[1], y, values, indices);
                    }
                    Some(indices) => maxima_of_row::<V, true>(shape, input, y, values, indices),
                    None => maxima_of_row::<V, false>(shape, input, y, values, &mut []),
                }
            }
        }
    }
}

/// Maxima of the windows in row `y` of the output, and their positions if these are wanted: in vectors where windows
/// lie inside the row, one or two pixels apart.
#[inline(always)]
fn maxima_of_row<V: Vector, const POSITIONS: bool>(
    shape: &PoolShape,
    plane: &[f32],
    y: usize,
    values: &mut [f32],
    indices: &mut [i32],
) {
    let (width, rows) = (shape.input[1], shape.window(0, y));
    let (step, low) = (shape.stride[1], shape.pad_low[1]);
    // Vectors hold positions as numbers.
    let in_vectors = step <= 2 && !rows.is_empty() && shape.input_plane() < 1 << 24;
    let first = low.div_ceil(step).min(values.len());
    let last = match (width + low).checked_sub(shape.kernel[1]) {
        Some(start) if in_vectors => (start / step + 1).clamp(first, values.len()),
        _ => first,
    };
    for x in (0..first).chain(last..values.len()) {
        let (value, index) = maximum(plane, width, rows.clone(), shape.window(1, x));
        values[x] = value;
        if POSITIONS {
            indices[x] = index;
        }
    }
    let steps = places::<V>(step);
    for x in (first..last).step_by(V::LANES) {
        let left = V::LANES.min(last - x);
        let start = x * step - low;
        let (mut best, mut index) = (V::splat(f32::NEG_INFINITY), V::zero());
        for row in rows.clone() {
            // Of two neighbours each load gives both, if the step is 2.
            for tap in (0..shape.kernel[1]).step_by(step) {
                let at = row * width + start + tap;
                let pair = neighbours::<V>(plane, at, step);
                for offset in 0..step.min(shape.kernel[1] - tap) {
                    let value = pair[offset];
                    let is_first = row == rows.start && tap + offset == 0;
                    let better = value.beats(best);
                    best = if is_first { value } else { V::select(better, value, best) };
                    if POSITIONS {
                        let position = steps.add(V::splat((at + offset) as f32));
                        index = if is_first { position } else { V::select(better, position, index) };
                    }
                }
            }
        }
        // SAFETY: `left` values and positions from `x` on are in the slices; so the indexing checks.
        unsafe {
            best.store_partial(values[x..x + left].as_mut_ptr(), left);
            if POSITIONS {
                index.store_i32(indices[x..x + left].as_mut_ptr(), left);
            }
        }
    }
}

/// The elements of a plane from `at` on, each `step`-th, and those that follow each of them if the step is 2. Beyond
/// the plane there are zeros.
#[inline(always)]
fn neighbours<V: Vector>(plane: &[f32], at: usize, step: usize) -> [V; 2] {
    if step == 1 {
        return [vector_at(plane, at), V::zero()];
    }
    let (even, odd) = V::deinterleave(vector_at(plane, at), vector_at(plane, at + V::LANES));
    [even, odd]
}

/// The elements of a plane from `at` on; beyond the plane there are zeros.
#[inline(always)]
fn vector_at<V: Vector>(plane: &[f32], at: usize) -> V {
    let left = plane.len().saturating_sub(at);
    // SAFETY: the elements that are loaded are in the plane.
    unsafe {
        if left >= V::LANES {
            V::load(plane.as_ptr().add(at))
        } else {
            V::load_partial(plane.as_ptr().wrapping_add(at), left)
        }
    }
}

/// The maximum of one window of a plane, and its index.
#[inline(always)]
fn maximum(plane: &[f32], width: usize, rows: Range<usize>, columns: Range<usize>) -> (f32, i32) {
    let (mut best, mut index) = (f32::NEG_INFINITY, -1);
    for y in rows {
        for x in columns.clone() {
            let value = plane[y * width + x];
            if value > best || (value.is_nan() && !best.is_nan()) || index < 0 {
                (best, index) = (value, (y * width + x) as i32);
            }
        }
    }
    (best, index)
}

/// Maxima of 2×2 windows in row `y` of the output.
#[inline(always)]
fn maxima_of_pairs<V: Vector>(
    plane: &[f32],
    width: usize,
    y: usize,
    values: &mut [f32],
    indices: &mut [i32],
) {
    let count = values.len();
    let (top, bottom) = (2 * y * width, (2 * y + 1) * width);
    assert!(bottom + 2 * count <= plane.len() && count == indices.len());
    let columns = places::<V>(2);
    for x in (0..count).step_by(V::LANES) {
        let left = V::LANES.min(count - x);
        // SAFETY: two rows of `2 * count` elements are in the plane by the assertion, `count` results in both slices.
        unsafe {
            let (a, b) = load_pairs::<V>(plane.as_ptr().add(top + 2 * x), left);
            let (c, d) = load_pairs::<V>(plane.as_ptr().add(bottom + 2 * x), left);
            let first = columns.add(V::splat((top + 2 * x) as f32));
            let (mut best, mut index) = (a, first);
            for (value, offset) in [(b, 1), (c, width), (d, width + 1)] {
                let better = value.beats(best);
                best = V::select(better, value, best);
                index = V::select(better, first.add(V::splat(offset as f32)), index);
            }
            best.store_partial(values.as_mut_ptr().add(x), left);
            index.store_i32(indices.as_mut_ptr().add(x), left);
        }
    }
}

/// Loads `count <= LANES` pairs; the first and the second of each.
///
/// # Safety
/// `2 * count` readable numbers.
#[inline(always)]
unsafe fn load_pairs<V: Vector>(from: *const f32, count: usize) -> (V, V) {
    // SAFETY: the caller's promise.
    unsafe {
        if count == V::LANES {
            return V::deinterleave(V::load(from), V::load(from.add(V::LANES)));
        }
        let low = V::load_partial(from, V::LANES.min(2 * count));
        let high = (2 * count).saturating_sub(V::LANES);
        V::deinterleave(low, V::load_partial(from.wrapping_add(V::LANES), high))
    }
}

/// Stores `count <= LANES` pairs.
///
/// # Safety
/// Room for `2 * count` numbers.
#[inline(always)]
unsafe fn store_pairs<V: Vector>(even: V, odd: V, to: *mut f32, count: usize) {
    let (low, high) = V::interleave(even, odd);
    // SAFETY: the caller's promise.
    unsafe {
        if count == V::LANES {
            low.store(to);
            high.store(to.add(V::LANES));
            return;
        }
        low.store_partial(to, V::LANES.min(2 * count));
        high.store_partial(to.wrapping_add(V::LANES), (2 * count).saturating_sub(V::LANES));
    }
}

/// 0, `step`, twice that and so on.
#[inline(always)]
fn places<V: Vector>(step: usize) -> V {
    let mut places = [0.0; MAX_LANES];
    for (i, place) in places.iter_mut().enumerate() {
        *place = (step * i) as f32;
    }
    // SAFETY: as long as the longest vector.
    unsafe { V::load(places.as_ptr()) }
}

/// Gradients of maxima of some planes.
struct Scatter<'a> {
    shape: &'a PoolShape,
    gradient: &'a [f32],
    indices: &'a [i32],
    out: &'a mut [f32],
}

impl Kernel for Scatter<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Scatter { shape, gradient, indices, out } = self;
        let [height, width] = shape.output();
        let (inputs, outputs) = (shape.input_plane(), shape.output_plane());
        if inputs == 0 {
            return;
        }
        for (plane, out) in out.chunks_exact_mut(inputs).enumerate() {
            let gradient = &gradient[plane * outputs..(plane + 1) * outputs];
            let indices = &indices[plane * outputs..(plane + 1) * outputs];
            if !shape.is_two_by_two() {
                out.fill(0.0);
                scatter(gradient, indices, out);
                continue;
            }
            for y in 0..height {
                let row = y * width..(y + 1) * width;
                spread_pairs::<V>(&gradient[row.clone()], &indices[row], y, shape.input[1], out);
                for line in [2 * y, 2 * y + 1] {
                    out[line * shape.input[1] + 2 * width..(line + 1) * shape.input[1]].fill(0.0);
                }
            }
            // An odd last row is in no window.
            out[2 * height * shape.input[1]..].fill(0.0);
        }
    }
}

#[inline(always)]
fn scatter(gradient: &[f32], indices: &[i32], out: &mut [f32]) {
    for (value, &index) in gradient.iter().zip(indices) {
        if let Some(out) = out.get_mut(index as usize) {
            *out += value;
        }
    }
}

/// Writes the 2×2 windows in row `y` of the gradient: two rows of `out`, but for an odd last column.
#[inline(always)]
fn spread_pairs<V: Vector>(gradient: &[f32], indices: &[i32], y: usize, width: usize, out: &mut [f32]) {
    let count = gradient.len();
    let (top, bottom) = (2 * y * width, (2 * y + 1) * width);
    assert!(bottom + 2 * count <= out.len() && count == indices.len());
    let columns = places::<V>(2);
    for x in (0..count).step_by(V::LANES) {
        let left = V::LANES.min(count - x);
        // SAFETY: two rows of `2 * count` elements are in the plane by the assertion, `count` elements in both slices.
        unsafe {
            let value = V::load_partial(gradient.as_ptr().add(x), left);
            let index = V::load_i32(indices.as_ptr().add(x), left);
            let first = columns.add(V::splat((top + 2 * x) as f32));
            let mut parts = [V::zero(); 4];
            for (part, offset) in parts.iter_mut().zip([0, 1, width, width + 1]) {
                let chosen = index.equal(first.add(V::splat(offset as f32)));
                *part = V::select(chosen, value, V::zero());
            }
            store_pairs(parts[0], parts[1], out.as_mut_ptr().add(top + 2 * x), left);
            store_pairs(parts[2], parts[3], out.as_mut_ptr().add(bottom + 2 * x), left);
        }
    }
}

/// Window sums of some planes, or their transpose.
struct Sums<'a> {
    shape: &'a PoolShape,
    scale: f32,
    input: &'a [f32],
    out: &'a mut [f32],
    transposed: bool,
}

impl Kernel for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Sums { shape, scale, input, out, transposed } = self;
        let [height, width] = shape.output();
        let (inputs, outputs) = (shape.input_plane(), shape.output_plane());
        let (from, to) = if transposed { (outputs, inputs) } else { (inputs, outputs) };
        if to == 0 {
            return;
        }
        for (plane, out) in out.chunks_exact_mut(to).enumerate() {
            let input = &input[plane * from..(plane + 1) * from];
            if transposed {
                out.fill(0.0);
            }
            for y in 0..height {
                let rows = shape.window(0, y);
                for x in 0..width {
                    let columns = shape.window(1, x);
                    if transposed {
                        let value = scale * input[y * width + x];
                        for row in rows.clone() {
                            let row = &mut out[row * shape.input[1]..][columns.clone()];
                            row.iter_mut().for_each(|out| *out += value);
                        }
                    } else {
                        let mut sum = 0.0;
                        for row in rows.clone() {
                            sum += sum_of::<V>(&input[row * shape.input[1]..][columns.clone()]);
                        }
                        out[y * width + x] = scale * sum;
                    }
                }
            }
        }
    }
}

/// The sum of a row, in vectors where it is long.
#[inline(always)]
fn sum_of<V: Vector>(row: &[f32]) -> f32 {
    let whole = row.len() / V::LANES * V::LANES;
    let mut sum = row[whole..].iter().sum();
    if whole > 0 {
        let mut sums = V::zero();
        for x in (0..whole).step_by(V::LANES) {
            // SAFETY: `LANES` elements from `x` on are in the row.
            sums = sums.add(unsafe { V::load(row.as_ptr().add(x)) });
        }
        sum += sums.sum();
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes() -> Vec<PoolShape> {
        let plain = PoolShape {
            planes: 7,
            input: [8, 8],
            kernel: [2; 2],
            stride: [2; 2],
            pad_low: [0; 2],
            pad_high: [0; 2],
        };
        vec![
            plain,
            PoolShape { input: [28, 28], ..plain },
            PoolShape { input: [9, 71], ..plain },
            PoolShape { input: [64, 64], planes: 3, ..plain },
            PoolShape { input: [1, 1], ..plain },
            PoolShape { kernel: [3; 2], input: [11, 13], pad_low: [1; 2], pad_high: [1; 2], ..plain },
            PoolShape {
                kernel: [3, 2],
                stride: [1, 3],
                input: [5, 9],
                pad_low: [1, 0],
                pad_high: [0, 1],
                ..plain
            },
            PoolShape {
                kernel: [3; 2],
                stride: [2; 2],
                input: [14, 85],
                pad_low: [1; 2],
                pad_high: [1; 2],
                ..plain
            },
            PoolShape { kernel: [2, 5], stride: [2; 2], input: [6, 37], pad_high: [0, 3], ..plain },
            PoolShape { kernel: [3; 2], stride: [2; 2], input: [2, 34], pad_low: [2, 0], ..plain },
            PoolShape { kernel: [8; 2], stride: [8; 2], ..plain },
            PoolShape { kernel: [1, 33], stride: [1; 2], input: [2, 40], ..plain },
            PoolShape { kernel: [1; 2], stride: [1; 2], pad_low: [2, 0], pad_high: [0, 3], ..plain },
            PoolShape { planes: 0, ..plain },
        ]
    }

    /// Few different values, so that maxima tie; some that are not numbers or infinite.
    fn numbers(length: usize) -> Vec<f32> {
        (0..length)
            .map(|i| match i * 7919 % 101 {
                0 => f32::NAN,
                1..20 => f32::NEG_INFINITY,
                value => (value % 7) as f32 - 3.0,
            })
            .collect()
    }

    fn naive_maxima(shape: &PoolShape, input: &[f32]) -> Vec<(f32, i32)> {
        let [height, width] = shape.output();
        let mut out = Vec::new();
        for plane in 0..shape.planes {
            for at in 0..height * width {
                let (mut best, mut index) = (f32::NEG_INFINITY, -1);
                for tap in 0..shape.kernel[0] * shape.kernel[1] {
                    let y =
                        (at / width * shape.stride[0] + tap / shape.kernel[1]).wrapping_sub(shape.pad_low[0]);
                    let x =
                        (at % width * shape.stride[1] + tap % shape.kernel[1]).wrapping_sub(shape.pad_low[1]);
                    if y >= shape.input[0] || x >= shape.input[1] {
                        continue;
                    }
                    let value = input[(plane * shape.input[0] + y) * shape.input[1] + x];
                    if index < 0 || value > best || (value.is_nan() && !best.is_nan()) {
                        (best, index) = (value, (y * shape.input[1] + x) as i32);
                    }
                }
                out.push((best, index));
            }
        }
        out
    }

    fn everywhere(mut check: impl FnMut(&PoolShape, &Pool, Level)) {
        for pool in [Pool::new(1), Pool::new(3)] {
            for shape in shapes() {
                for level in Level::available() {
                    check(&shape, &pool, level);
                }
            }
        }
    }

    #[test]
    fn maxima_and_their_gradient() {
        everywhere(|shape, pool, level| {
            let input = numbers(shape.input_len());
            let expected = naive_maxima(shape, &input);
            let mut values = vec![5.0; shape.output_len()];
            let mut indices = vec![5; shape.output_len()];
            max_pool(shape, &input, &mut values, Some(&mut indices), pool, level);
            for (i, (value, index)) in expected.iter().enumerate() {
                assert_eq!(
                    (values[i].to_bits(), indices[i]),
                    (value.to_bits(), *index),
                    "{shape:?} {level:?} {i}"
                );
            }
            let mut alone = vec![5.0; values.len()];
            max_pool(shape, &input, &mut alone, None, pool, level);
            let same = alone.iter().zip(&values).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "{shape:?} {level:?} without positions");

            let gradient: Vec<f32> = (0..values.len()).map(|i| i as f32).collect();
            let mut expected_gradient = vec![0.0; input.len()];
            for (i, &index) in indices.iter().enumerate() {
                if index >= 0 {
                    let plane = i / shape.output_plane() * shape.input_plane();
                    expected_gradient[plane + index as usize] += gradient[i];
                }
            }
            let mut out = vec![f32::NAN; input.len()];
            max_pool_gradient(shape, &gradient, &indices, &mut out, pool, level);
            assert_eq!(out, expected_gradient, "{shape:?} {level:?}");
        });
    }

    #[test]
    fn sums_and_their_transpose() {
        everywhere(|shape, pool, level| {
            let [height, width] = shape.output();
            let input: Vec<f32> = (0..shape.input_len()).map(|i| (i * 31 % 17) as f32).collect();
            let gradient: Vec<f32> = (0..shape.output_len()).map(|i| (i * 29 % 13) as f32).collect();
            let (mut sums, mut spread) = (vec![0.0; gradient.len()], vec![0.0; input.len()]);
            for plane in 0..shape.planes {
                for y in 0..height {
                    for x in 0..width {
                        let o = (plane * height + y) * width + x;
                        for iy in shape.window(0, y) {
                            for ix in shape.window(1, x) {
                                let i = (plane * shape.input[0] + iy) * shape.input[1] + ix;
                                sums[o] += 0.5 * input[i];
                                spread[i] += 0.5 * gradient[o];
                            }
                        }
                    }
                }
            }
            let mut out = vec![f32::NAN; sums.len()];
            window_sum(shape, 0.5, &input, &mut out, pool, level);
            assert_eq!(out, sums, "{shape:?} {level:?}");
            let mut out = vec![f32::NAN; spread.len()];
            window_sum_transpose(shape, 0.5, &gradient, &mut out, pool, level);
            assert_eq!(out, spread, "{shape:?} {level:?}");
        });
    }
}
