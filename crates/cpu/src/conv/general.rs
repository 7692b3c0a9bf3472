//! Plain loops over rows: slow where channels are many, right for everything.

use super::{ConvShape, Direction};
use crate::pool::{Disjoint, Pool};
use crate::simd::{Kernel, Level, Vector};
use std::ops::Range;

/// Partial sums of a dot product, so that it can run in vectors.
const PARTIAL_SUMS: usize = 16;

/// The planes of `out` that one thread computes.
struct Planes<'a> {
    direction: Direction,
    shape: &'a ConvShape,
    a: &'a [f32],
    b: &'a [f32],
    out: &'a mut [f32],
    /// Planes of the output (image and channel), of the input, or of the filter (output and input channel).
    planes: Range<usize>,
}

pub(super) fn run(
    direction: Direction,
    shape: &ConvShape,
    a: &[f32],
    b: &[f32],
    out: &mut [f32],
    pool: &Pool,
    level: Level,
) {
    let plane = match direction {
        Direction::Forward => shape.output_plane(),
        Direction::InputGradient => shape.input_plane(),
        Direction::FilterGradient => shape.taps(),
    };
    let count = out.len() / plane;
    let out = Disjoint::new(out);
    pool.split(count, 1, |_, planes| {
        // SAFETY: each plane belongs to one thread.
        let out = unsafe { out.part(planes.start * plane..planes.end * plane) };
        level.call(Planes { direction, shape, a, b, out, planes });
    });
}

impl Kernel for Planes<'_> {
    type Output = ();

    /// Knows nothing of vectors: the compiler uses the instruction set of the function this becomes part of.
    #[inline(always)]
    fn run<V: Vector>(self) {
        let Planes { direction, shape, a, b, out, planes } = self;
        let plane = out.len() / planes.len();
        for (index, out) in planes.zip(out.chunks_exact_mut(plane)) {
            out.fill(0.0);
            match direction {
                Direction::Forward => forward(shape, index, a, b, out),
                Direction::InputGradient => input_gradient(shape, index, a, b, out),
                Direction::FilterGradient => filter_gradient(shape, index, a, b, out),
            }
        }
    }
}

/// A row of outputs and the row of inputs that a filter tap pairs with it, without the padding.
pub(super) struct Rows {
    pub output: Range<usize>,
    pub input: Range<usize>,
}

/// The pairs of rows for filter tap (`y`, `x`) are numbered by output row.
#[inline(always)]
pub(super) fn rows(shape: &ConvShape, [y, x]: [usize; 2], row: usize) -> Rows {
    let columns = shape.inside(1, x);
    if columns.is_empty() {
        return Rows { output: 0..0, input: 0..0 };
    }
    let input_row = row * shape.stride[0] + y * shape.dilation[0] - shape.pad_low[0];
    let input_column = columns.start * shape.stride[1] + x * shape.dilation[1] - shape.pad_low[1];
    let (output, input) = (row * shape.output()[1], input_row * shape.input[1] + input_column);
    Rows {
        output: output + columns.start..output + columns.end,
        input: input..input + (columns.len() - 1) * shape.stride[1] + 1,
    }
}

#[inline(always)]
fn plane(data: &[f32], size: usize, index: usize) -> &[f32] {
    &data[index * size..][..size]
}

#[inline(always)]
fn forward(shape: &ConvShape, index: usize, input: &[f32], filter: &[f32], out: &mut [f32]) {
    let (image, channel) = (index / shape.out_channels, index % shape.out_channels);
    let first = channel / shape.group_outputs() * shape.group_inputs();
    for c in 0..shape.group_inputs() {
        let input = plane(input, shape.input_plane(), image * shape.in_channels + first + c);
        let weights = plane(filter, shape.taps(), channel * shape.group_inputs() + c);
        for (tap, &weight) in weights.iter().enumerate() {
            let tap = [tap / shape.kernel[1], tap % shape.kernel[1]];
            for row in shape.inside(0, tap[0]) {
                let rows = rows(shape, tap, row);
                let (out, input) = (&mut out[rows.output], &input[rows.input]);
                if shape.stride[1] == 1 {
                    out.iter_mut().zip(input).for_each(|(out, x)| *out += weight * x);
                } else {
                    let input = input.iter().step_by(shape.stride[1]);
                    out.iter_mut().zip(input).for_each(|(out, x)| *out += weight * x);
                }
            }
        }
    }
}

#[inline(always)]
fn input_gradient(shape: &ConvShape, index: usize, gradient: &[f32], filter: &[f32], out: &mut [f32]) {
    let (image, channel) = (index / shape.in_channels, index % shape.in_channels);
    let (group, c) = (channel / shape.group_inputs(), channel % shape.group_inputs());
    for k in group * shape.group_outputs()..(group + 1) * shape.group_outputs() {
        let gradient = plane(gradient, shape.output_plane(), image * shape.out_channels + k);
        let weights = plane(filter, shape.taps(), k * shape.group_inputs() + c);
        for (tap, &weight) in weights.iter().enumerate() {
            let tap = [tap / shape.kernel[1], tap % shape.kernel[1]];
            for row in shape.inside(0, tap[0]) {
                let rows = rows(shape, tap, row);
                let (gradient, out) = (&gradient[rows.output], &mut out[rows.input]);
                if shape.stride[1] == 1 {
                    out.iter_mut().zip(gradient).for_each(|(out, g)| *out += weight * g);
                } else {
                    let out = out.iter_mut().step_by(shape.stride[1]);
                    out.zip(gradient).for_each(|(out, g)| *out += weight * g);
                }
            }
        }
    }
}

#[inline(always)]
fn filter_gradient(shape: &ConvShape, index: usize, input: &[f32], gradient: &[f32], out: &mut [f32]) {
    let (k, c) = (index / shape.group_inputs(), index % shape.group_inputs());
    let channel = k / shape.group_outputs() * shape.group_inputs() + c;
    for (tap, out) in out.iter_mut().enumerate() {
        let tap = [tap / shape.kernel[1], tap % shape.kernel[1]];
        let mut sums = [0.0; PARTIAL_SUMS];
        for image in 0..shape.batch {
            let input = plane(input, shape.input_plane(), image * shape.in_channels + channel);
            let gradient = plane(gradient, shape.output_plane(), image * shape.out_channels + k);
            for row in shape.inside(0, tap[0]) {
                let rows = rows(shape, tap, row);
                add_products(&mut sums, &gradient[rows.output], &input[rows.input], shape.stride[1]);
            }
        }
        *out = sums.iter().sum();
    }
}

/// Adds the products of `a` with every `stride`-th element of `b` to the partial sums.
#[inline(always)]
fn add_products(sums: &mut [f32; PARTIAL_SUMS], a: &[f32], b: &[f32], stride: usize) {
    if stride > 1 {
        for (i, (a, b)) in a.iter().zip(b.iter().step_by(stride)).enumerate() {
            sums[i % PARTIAL_SUMS] += a * b;
        }
        return;
    }
    let (a_chunks, b_chunks) = (a.chunks_exact(PARTIAL_SUMS), b.chunks_exact(PARTIAL_SUMS));
    let (a_rest, b_rest) = (a_chunks.remainder(), b_chunks.remainder());
    for (a, b) in a_chunks.zip(b_chunks) {
        for i in 0..PARTIAL_SUMS {
            sums[i] += a[i] * b[i];
        }
    }
    for (i, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
        sums[i] += a * b;
    }
}
