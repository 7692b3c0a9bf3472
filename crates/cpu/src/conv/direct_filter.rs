//! The filter gradient of the direct convolution, with output channels in the lanes.
//!
//! Each thread takes its images one by one: the input padded, the output gradient with channels innermost. It adds
//! to sums of its own, which are added up at the end.

use super::ConvShape;
use super::choose::DIRECT_SUMMED_PIXELS;
use super::direct::copy_inside;
use super::layout::{Block, Interleaved, align, whole_lines, with_alignment};
use crate::pool::Pool;
use crate::simd::{Kernel, Level, Vector};
use std::ops::Range;

/// One filter gradient and the sizes of its scratch memory.
pub(super) struct Plan<'a> {
    shape: &'a ConvShape,
    level: Level,
    threads: usize,
    /// Blocks of `LANES` output channels.
    blocks: usize,
    /// Elements of a padded image, of an image of output gradients, and of the sums.
    image: usize,
    gradients: usize,
    sums: usize,
}

impl<'a> Plan<'a> {
    pub fn new(shape: &'a ConvShape, level: Level, threads: usize) -> Self {
        let lanes = level.lanes();
        let blocks = shape.out_channels.div_ceil(lanes);
        let [height, width] = shape.padded();
        Plan {
            shape,
            level,
            threads,
            blocks,
            image: whole_lines(shape.in_channels * height * width),
            gradients: whole_lines(blocks * lanes * shape.output_plane()),
            sums: whole_lines(blocks * lanes * shape.in_channels * shape.taps()),
        }
    }

    fn own(&self) -> usize {
        self.image + self.gradients + self.sums
    }

    pub fn scratch_len(&self) -> usize {
        with_alignment(self.threads * self.own())
    }

    pub fn run(&self, a: &[f32], b: &[f32], out: &mut [f32], scratch: &mut [f32], pool: &Pool) {
        let scratch = Interleaved::new(&mut align(scratch)[..self.threads * self.own()]);
        let out = Interleaved::new(out);
        pool.split(self.shape.batch, 1, |thread, images| {
            let image = scratch.at(thread * self.own());
            let gradients = image.wrapping_add(self.image);
            let sums = gradients.wrapping_add(self.gradients);
            let (input, output) = (a.as_ptr(), b.as_ptr());
            self.level.call(Images { plan: self, images, input, output, image, gradients, sums });
        });
        let parts = self.threads.min(self.shape.batch);
        pool.split(self.blocks, 1, |_, blocks| {
            let sums = scratch.at(self.image + self.gradients);
            self.level.call(AddUp { plan: self, blocks, parts, sums, out: out.at(0) });
        });
    }
}

/// Adds the sums of the threads and brings them into the layout of the filter.
struct AddUp<'a> {
    plan: &'a Plan<'a>,
    blocks: Range<usize>,
    parts: usize,
    sums: *mut f32,
    out: *mut f32,
}

impl Kernel for AddUp<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let AddUp { plan, blocks, parts, sums, out } = self;
        let width = plan.shape.in_channels * plan.shape.taps();
        for block in blocks {
            let channel = block * V::LANES;
            let lanes = V::LANES.min(plan.shape.out_channels - channel);
            // SAFETY: each block belongs to one thread of this job; areas as `Plan::new` has them.
            unsafe {
                let sums = sums.add(channel * width);
                for i in 0..width {
                    let mut sum = V::load(sums.add(i * V::LANES));
                    for part in 1..parts {
                        sum = sum.add(V::load(sums.add(part * plan.own() + i * V::LANES)));
                    }
                    sum.store(sums.add(i * V::LANES));
                }
                let block = Block { lane_stride: width, lanes, rows: 1, width, row_step: width };
                block.gather::<V>(sums, out.add(channel * width));
            }
        }
    }
}

/// The images of one thread.
struct Images<'a> {
    plan: &'a Plan<'a>,
    images: Range<usize>,
    input: *const f32,
    output: *const f32,
    image: *mut f32,
    gradients: *mut f32,
    sums: *mut f32,
}

impl Kernel for Images<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Images { plan, images, input, output, image: padded, gradients, sums } = self;
        let shape = plan.shape;
        let pixels = shape.output_plane();
        // SAFETY: images inside the operands, whose sizes were checked; areas as `Plan::new` has them.
        unsafe {
            std::slice::from_raw_parts_mut(padded, plan.image).fill(0.0);
            std::slice::from_raw_parts_mut(sums, plan.sums).fill(0.0);
            for image in images {
                let from = input.add(image * shape.in_channels * shape.input_plane());
                copy_inside(from, shape.in_channels, shape.input, padded, shape.padded(), shape.pad_low);
                for block in 0..plan.blocks {
                    let channel = block * V::LANES;
                    let lanes = V::LANES.min(shape.out_channels - channel);
                    let from = output.add((image * shape.out_channels + channel) * pixels);
                    let block =
                        Block { lane_stride: pixels, lanes, rows: 1, width: pixels, row_step: pixels };
                    block.spread::<V>(from, gradients.add(channel * pixels));
                }
                add_image::<V>(plan, padded, gradients, sums);
            }
        }
    }
}

/// # Safety
/// The areas are those of [`Images`].
#[inline(always)]
unsafe fn add_image<V: Vector>(plan: &Plan<'_>, image: *const f32, gradients: *const f32, sums: *mut f32) {
    let shape = plan.shape;
    let [height, width] = shape.output();
    let rows = (DIRECT_SUMMED_PIXELS / width).max(1);
    let mut first = 0;
    while first < height {
        let rows = first..height.min(first + rows);
        let mut block = 0;
        while block < plan.blocks {
            let blocks = if V::REGISTERS >= 32 && plan.blocks - block >= 2 { 2 } else { 1 };
            let mut channel = 0;
            while channel < shape.in_channels {
                let left = shape.in_channels - channel;
                let channels = match left {
                    8.. if shape.kernel[1] == 1 => 8,
                    4.. => 4,
                    _ => left,
                };
                for r in 0..shape.kernel[0] {
                    let mut s = 0;
                    while s < shape.kernel[1] {
                        let taps = (shape.kernel[1] - s).min(3);
                        let tile = Tile { shape, image, gradients, sums, block, channel, r, s };
                        // SAFETY: the tile is inside the filter.
                        unsafe {
                            match (blocks, channels) {
                                (2, 8) => tile.compute::<V, 2, 8, 1>(rows.clone()),
                                (2, 4) => tile.by_taps::<V, 2, 4>(taps, rows.clone()),
                                (2, 3) => tile.by_taps::<V, 2, 3>(taps, rows.clone()),
                                (2, 2) => tile.by_taps::<V, 2, 2>(taps, rows.clone()),
                                (2, _) => tile.by_taps::<V, 2, 1>(taps, rows.clone()),
                                (_, 8) => tile.compute::<V, 1, 8, 1>(rows.clone()),
                                (_, 4) => tile.by_taps::<V, 1, 4>(taps, rows.clone()),
                                (_, 3) => tile.by_taps::<V, 1, 3>(taps, rows.clone()),
                                (_, 2) => tile.by_taps::<V, 1, 2>(taps, rows.clone()),
                                _ => tile.by_taps::<V, 1, 1>(taps, rows.clone()),
                            }
                        }
                        s += taps;
                    }
                }
                channel += channels;
            }
            block += blocks;
        }
        first = rows.end;
    }
}

/// Some blocks of output channels, input channels and taps of row `r`, each from the one given on.
#[derive(Clone, Copy)]
struct Tile<'a> {
    shape: &'a ConvShape,
    image: *const f32,
    gradients: *const f32,
    sums: *mut f32,
    block: usize,
    channel: usize,
    r: usize,
    s: usize,
}

impl Tile<'_> {
    /// # Safety
    /// The tile is inside the filter, the rows inside the output.
    #[inline(always)]
    unsafe fn by_taps<V: Vector, const BLOCKS: usize, const CHANNELS: usize>(
        self,
        taps: usize,
        rows: Range<usize>,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            match taps {
                3 => self.compute::<V, BLOCKS, CHANNELS, 3>(rows),
                2 => self.compute::<V, BLOCKS, CHANNELS, 2>(rows),
                _ => self.compute::<V, BLOCKS, CHANNELS, 1>(rows),
            }
        }
    }

    /// # Safety
    /// The tile is inside the filter, the rows inside the output.
    #[inline(always)]
    unsafe fn compute<V: Vector, const BLOCKS: usize, const CHANNELS: usize, const TAPS: usize>(
        self,
        rows: Range<usize>,
    ) {
        let Tile { shape, image, gradients, sums, block, channel, r, s } = self;
        let [padded_height, padded_width] = shape.padded();
        let [height, width] = shape.output();
        let (plane, dilation, stride) = (padded_height * padded_width, shape.dilation[1], shape.stride[1]);
        let gradient_step = height * width * V::LANES;
        let sum_step = shape.in_channels * shape.taps() * V::LANES;
        let channel_step = shape.taps() * V::LANES;
        let mut totals = [[[V::zero(); TAPS]; CHANNELS]; BLOCKS];
        // SAFETY: the caller's promise; taps of pixels inside the output are inside the padded image.
        unsafe {
            let sums =
                sums.add(block * sum_step + channel * channel_step + (r * shape.kernel[1] + s) * V::LANES);
            for i in 0..BLOCKS {
                for c in 0..CHANNELS {
                    for t in 0..TAPS {
                        totals[i][c][t] = V::load(sums.add(i * sum_step + c * channel_step + t * V::LANES));
                    }
                }
            }
            for y in rows {
                let row = channel * padded_height + y * shape.stride[0] + r * shape.dilation[0];
                let mut pixels = image.add(row * padded_width + s * dilation);
                let mut factors = gradients.add(block * gradient_step + y * width * V::LANES);
                for _ in 0..width {
                    let mut values = [V::zero(); BLOCKS];
                    for i in 0..BLOCKS {
                        values[i] = V::load(factors.add(i * gradient_step));
                    }
                    for c in 0..CHANNELS {
                        for t in 0..TAPS {
                            let pixel = V::splat(*pixels.add(c * plane + t * dilation));
                            for i in 0..BLOCKS {
                                totals[i][c][t] = pixel.mul_add(values[i], totals[i][c][t]);
                            }
                        }
                    }
                    pixels = pixels.wrapping_add(stride);
                    factors = factors.wrapping_add(V::LANES);
                }
            }
            for i in 0..BLOCKS {
                for c in 0..CHANNELS {
                    for t in 0..TAPS {
                        totals[i][c][t].store(sums.add(i * sum_step + c * channel_step + t * V::LANES));
                    }
                }
            }
        }
    }
}
