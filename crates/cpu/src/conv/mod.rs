//! Two-dimensional convolution and its two gradients.
//!
//! Activations are `[batch, channel, height, width]`, filters `[out, in / groups, height, width]`, all contiguous. One
//! meaning, several algorithms: [`choose`] picks one by speed alone, [`scratch_len`] says how much memory it needs,
//! [`run`] runs it, and [`Prepared`] is what is worked out before. Every algorithm that [`supports`] a case computes it
//! correctly at every size; the numbers that tune speed are in `choose.rs`.
//!
//! | operands | `a` | `b` | `out` |
//! |---|---|---|---|
//! | [`Direction::Forward`] | input | filter | output |
//! | [`Direction::InputGradient`] | output gradient | filter | input gradient |
//! | [`Direction::FilterGradient`] | input | output gradient | filter gradient |

#![allow(clippy::needless_range_loop, reason = "indices name registers, pixels and taps")]

mod axis;
mod channelwise;
mod choose;
mod columns;
mod depthwise;
mod depthwise_filter;
mod direct;
mod direct_filter;
mod general;
mod lanes;
mod lanes_pool;
mod layout;
mod pointwise;
mod prepared;
#[cfg(test)]
mod tests;
mod winograd;
mod winograd_product;
mod winograd_transform;

pub use channelwise::Channelwise;
pub use choose::choose;
pub use prepared::{Ending, FilterPacking, Filters, Finish, Part, Prepared};

use crate::pool::Pool;
use crate::simd::Level;
use std::ops::Range;

/// The sizes of a convolution. Pairs are height first, width second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvShape {
    /// Images.
    pub batch: usize,
    /// Channels of the input, a multiple of `groups`.
    pub in_channels: usize,
    /// Channels of the output, a multiple of `groups`.
    pub out_channels: usize,
    /// Sets of channels that do not see each other; 1 for the ordinary convolution.
    pub groups: usize,
    /// Height and width of an input plane.
    pub input: [usize; 2],
    /// Height and width of the filter.
    pub kernel: [usize; 2],
    /// Pixels from one output to the next.
    pub stride: [usize; 2],
    /// Zeros before the first row and column.
    pub pad_low: [usize; 2],
    /// Zeros after the last row and column.
    pub pad_high: [usize; 2],
    /// Pixels from one filter tap to the next; 1 for a dense filter.
    pub dilation: [usize; 2],
}

impl ConvShape {
    /// A square convolution with one group, stride 1, dilation 1, and the same padding on all sides.
    pub fn square(
        batch: usize,
        in_channels: usize,
        out_channels: usize,
        size: usize,
        kernel: usize,
        pad: usize,
    ) -> ConvShape {
        ConvShape {
            batch,
            in_channels,
            out_channels,
            groups: 1,
            input: [size; 2],
            kernel: [kernel; 2],
            stride: [1; 2],
            pad_low: [pad; 2],
            pad_high: [pad; 2],
            dilation: [1; 2],
        }
    }

    /// Height and width of an output plane; zero where the filter does not fit.
    pub fn output(&self) -> [usize; 2] {
        [self.output_along(0), self.output_along(1)]
    }

    fn output_along(&self, axis: usize) -> usize {
        let span = (self.kernel[axis] - 1) * self.dilation[axis] + 1;
        let padded = self.padded()[axis];
        if padded < span { 0 } else { (padded - span) / self.stride[axis] + 1 }
    }

    /// Height and width of an input plane with its padding.
    fn padded(&self) -> [usize; 2] {
        [0, 1].map(|axis| self.pad_low[axis] + self.input[axis] + self.pad_high[axis])
    }

    fn group_inputs(&self) -> usize {
        self.in_channels / self.groups
    }

    fn group_outputs(&self) -> usize {
        self.out_channels / self.groups
    }

    /// Taps of one filter plane.
    fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    fn input_plane(&self) -> usize {
        self.input[0] * self.input[1]
    }

    fn output_plane(&self) -> usize {
        let [height, width] = self.output();
        height * width
    }

    /// Elements of an output plane after a max-pool of 2×2.
    fn pooled_plane(&self) -> usize {
        let [height, width] = self.output();
        (height / 2) * (width / 2)
    }

    /// Elements of the input.
    pub fn input_len(&self) -> usize {
        self.batch * self.in_channels * self.input_plane()
    }

    /// Elements of the filter.
    pub fn filter_len(&self) -> usize {
        self.out_channels * self.group_inputs() * self.taps()
    }

    /// Elements of the output.
    pub fn output_len(&self) -> usize {
        self.batch * self.out_channels * self.output_plane()
    }

    /// Elements of the output after a max-pool of 2×2.
    pub fn pooled_len(&self) -> usize {
        self.batch * self.out_channels * self.pooled_plane()
    }

    /// Floating-point operations of one direction, counted as for the plain loops: two for each product.
    pub fn flops(&self) -> f64 {
        2.0 * self.output_len() as f64 * (self.group_inputs() * self.taps()) as f64
    }

    /// The output positions along `axis` whose input for filter tap `tap` is not padding.
    fn inside(&self, axis: usize, tap: usize) -> Range<usize> {
        let (stride, offset) = (self.stride[axis], tap * self.dilation[axis]);
        let low = self.pad_low[axis].saturating_sub(offset).div_ceil(stride);
        let high = (self.input[axis] + self.pad_low[axis]).saturating_sub(offset).div_ceil(stride);
        let high = high.min(self.output_along(axis));
        low.min(high)..high
    }

    fn check(&self) {
        let ConvShape { groups, stride, dilation, kernel, .. } = *self;
        assert!(groups > 0, "a convolution has at least one group");
        assert!(
            self.in_channels.is_multiple_of(groups) && self.out_channels.is_multiple_of(groups),
            "{} input and {} output channels do not divide into {groups} groups",
            self.in_channels,
            self.out_channels
        );
        for axis in 0..2 {
            assert!(stride[axis] > 0 && dilation[axis] > 0, "stride and dilation are at least 1");
            assert!(kernel[axis] > 0, "a filter has at least one tap along each axis");
        }
    }
}

/// Which of the three operands is computed from the other two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The output.
    Forward,
    /// The gradient of the input.
    InputGradient,
    /// The gradient of the filter.
    FilterGradient,
}

impl Direction {
    /// All three.
    pub const ALL: [Direction; 3] = [Direction::Forward, Direction::InputGradient, Direction::FilterGradient];
}

/// A way to compute a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Plain loops over rows, for everything.
    General,
    /// Vectors of output channels against broadcast pixels; one group.
    Direct,
    /// Vectors of images, for few channels; one group.
    Lanes,
    /// A product with a matrix of what each output pixel sees; needs memory for that.
    Columns,
    /// Vectors of channels that each see themselves alone; as many groups as input channels.
    Depthwise,
    /// A product with the input as it lies; filters of one tap.
    Pointwise,
    /// Winograd's F(4×4, 3×3): a quarter of the products, at an error of some 1e-5; one group, 3×3, stride 1.
    Winograd,
}

impl Algorithm {
    /// All of them, the one that serves everything first.
    pub const ALL: [Algorithm; 7] = [
        Algorithm::General,
        Algorithm::Direct,
        Algorithm::Lanes,
        Algorithm::Columns,
        Algorithm::Depthwise,
        Algorithm::Pointwise,
        Algorithm::Winograd,
    ];
}

/// Whether `algorithm` can compute this case.
pub fn supports(algorithm: Algorithm, direction: Direction, shape: &ConvShape) -> bool {
    match algorithm {
        Algorithm::General | Algorithm::Columns => true,
        Algorithm::Direct => direct::supports(shape),
        Algorithm::Lanes => lanes::supports(direction, shape),
        Algorithm::Depthwise => depthwise::supports(shape),
        Algorithm::Pointwise => pointwise::supports(direction, shape),
        Algorithm::Winograd => winograd::supports(shape),
    }
}

/// The scratch memory that [`run`] needs with `threads` threads, in `f32` elements.
pub fn scratch_len(
    algorithm: Algorithm,
    direction: Direction,
    shape: &ConvShape,
    level: Level,
    threads: usize,
) -> usize {
    Prepared::new(algorithm, direction, shape, level, threads).scratch_len()
}

/// Whether `algorithm` computes this together with a max-pool of the output by windows of 2×2 that lie side by side.
pub fn supports_pool(algorithm: Algorithm, shape: &ConvShape) -> bool {
    // Positions are held as numbers, and something must be left.
    algorithm == Algorithm::Lanes && shape.output_plane() < 1 << 24 && shape.pooled_plane() > 0
}

/// The scratch memory that [`run_pooled`] needs with `threads` threads, in `f32` elements.
pub fn pooled_scratch_len(direction: Direction, shape: &ConvShape, level: Level, threads: usize) -> usize {
    lanes::Plan::new(direction, shape, true, level, threads).scratch_len()
}

/// The operands of a convolution whose output is pooled: values and positions take the place of the output, and a
/// gradient of the values with their positions that of the output's gradient.
pub struct Operands<'a> {
    /// As for [`run`].
    pub a: &'a [f32],
    /// As for [`run`].
    pub b: &'a [f32],
    /// Where in its plane each element of the pooled gradient belongs; empty forward.
    pub positions: &'a [i32],
    /// The result.
    pub out: &'a mut [f32],
    /// Where in its plane each pooled value comes from; empty backward.
    pub out_positions: &'a mut [i32],
}

/// As [`run`], with a max-pool of 2×2 after the output; [`supports_pool`] says where that can be.
///
/// # Panics
/// As [`run`].
pub fn run_pooled(
    direction: Direction,
    shape: &ConvShape,
    operands: Operands,
    scratch: &mut [f32],
    pool: &Pool,
    level: Level,
) {
    shape.check();
    assert!(
        supports(Algorithm::Lanes, direction, shape) && supports_pool(Algorithm::Lanes, shape),
        "cannot pool {direction:?} of {shape:?}"
    );
    let (input, filter) = (shape.input_len(), shape.filter_len());
    let pooled = shape.pooled_len();
    let lengths = match direction {
        Direction::Forward => [input, filter, 0, pooled, pooled],
        Direction::InputGradient => [pooled, filter, pooled, input, 0],
        Direction::FilterGradient => [input, pooled, pooled, filter, 0],
    };
    let Operands { a, b, positions, out, out_positions } = &operands;
    let found = [a.len(), b.len(), positions.len(), out.len(), out_positions.len()];
    assert_eq!(found, lengths, "operands of {direction:?} of {shape:?}");
    let plan = lanes::Plan::new(direction, shape, true, level, pool.threads());
    assert!(scratch.len() >= plan.scratch_len(), "scratch of {} elements is too short", scratch.len());
    if lengths.iter().take(2).any(|&length| length == 0) {
        operands.out.fill(0.0);
        return;
    }
    plan.run(operands, scratch, pool);
}

/// Computes a convolution once; [`Prepared`] is for many times. See the [module](self) for what `a`, `b` and `out` are.
/// `out` is overwritten.
///
/// Results are the same in every run with the same algorithm, level and number of threads.
///
/// # Panics
/// Where a slice does not have the size that `shape` gives it, `scratch` is shorter than [`scratch_len`], or the
/// algorithm does not support the case.
#[allow(clippy::too_many_arguments, reason = "three operands and how to compute")]
pub fn run(
    algorithm: Algorithm,
    direction: Direction,
    shape: &ConvShape,
    a: &[f32],
    b: &[f32],
    out: &mut [f32],
    scratch: &mut [f32],
    pool: &Pool,
    level: Level,
) {
    let prepared = Prepared::new(algorithm, direction, shape, level, pool.threads());
    prepared.run(a, Filters::Plain(b), out, scratch, pool, Ending::default());
}
