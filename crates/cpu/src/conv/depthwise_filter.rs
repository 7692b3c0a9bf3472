//! The filter gradient of the depthwise convolution, with channels in the lanes.
//!
//! A block of channels is taken through all images, band by band: input and output gradient are transposed into a
//! cache, and a few taps at a time are summed over all pixels in registers. Where there are fewer blocks than threads
//! the images are split, too, and the parts added up in order.

use super::ConvShape;
use super::choose::{DEPTHWISE_BAND_ELEMENTS, DEPTHWISE_SUMMED_PIXELS};
use super::depthwise::Source;
use super::layout::{Block, Interleaved, align, whole_lines, with_alignment};
use crate::pool::{Pool, share};
use crate::simd::{Kernel, Level, Vector};
use std::ops::Range;

/// One filter gradient and the sizes of its scratch memory.
pub(super) struct Plan {
    shape: ConvShape,
    level: Level,
    threads: usize,
    source: Source,
    /// Where each tap lies in the padded band, in pixels.
    taps: Vec<usize>,
    /// Blocks of `lanes` input channels, and parts of the images.
    blocks: usize,
    parts: usize,
    /// Output rows of a band, and padded input rows that they see.
    band: usize,
    span: usize,
    /// Elements of the sums of one block and part, of a band of the input and of one of the output gradient.
    sums: usize,
    image: usize,
    gradients: usize,
}

impl Plan {
    pub fn new(shape: &ConvShape, level: Level, threads: usize) -> Plan {
        let lanes = level.lanes();
        let [height, width] = shape.output();
        let padded_width = shape.padded()[1];
        let span_of =
            |band: usize| (band - 1) * shape.stride[0] + (shape.kernel[0] - 1) * shape.dilation[0] + 1;
        let mut band = height.max(1);
        while band > 1 && span_of(band) * padded_width * lanes > DEPTHWISE_BAND_ELEMENTS {
            band = band.div_ceil(2);
        }
        let span = span_of(band);
        let place = |tap: usize| {
            let (y, x) = (tap / shape.kernel[1], tap % shape.kernel[1]);
            y * shape.dilation[0] * padded_width + x * shape.dilation[1]
        };
        let blocks = shape.in_channels.div_ceil(lanes);
        let parts = if blocks.is_multiple_of(threads) || blocks >= 4 * threads {
            1
        } else {
            threads.min(shape.batch).max(1)
        };
        Plan {
            shape: *shape,
            level,
            threads,
            source: Source {
                size: shape.input,
                lane_stride: shape.input_plane(),
                low: shape.pad_low,
                padded_width,
            },
            taps: (0..shape.taps()).map(place).collect(),
            blocks,
            parts,
            band,
            span,
            sums: whole_lines(shape.group_outputs() * shape.taps() * lanes),
            image: whole_lines(span * padded_width * lanes),
            gradients: whole_lines(band * width * lanes),
        }
    }

    fn own(&self) -> usize {
        self.image + self.gradients
    }

    pub fn scratch_len(&self) -> usize {
        with_alignment(self.blocks * self.parts * self.sums + self.threads * self.own())
    }

    pub fn run(&self, a: &[f32], b: &[f32], out: &mut [f32], scratch: &mut [f32], pool: &Pool) {
        let shared = self.blocks * self.parts * self.sums;
        let scratch = Interleaved::new(&mut align(scratch)[..shared + self.threads * self.own()]);
        let out = Interleaved::new(out);
        pool.split(self.blocks * self.parts, 1, |thread, units| {
            let image = scratch.at(shared + thread * self.own());
            self.level.call(Units {
                plan: self,
                units,
                input: a.as_ptr(),
                output: b.as_ptr(),
                sums: scratch.at(0),
                image,
                gradients: image.wrapping_add(self.image),
            });
        });
        pool.split(self.blocks, self.blocks, |_, blocks| {
            self.level.call(AddUp { plan: self, blocks, sums: scratch.at(0), out: out.at(0) });
        });
    }
}

/// Adds up the parts and brings the sums into the layout of the filter.
struct AddUp<'a> {
    plan: &'a Plan,
    blocks: Range<usize>,
    sums: *mut f32,
    out: *mut f32,
}

impl Kernel for AddUp<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let AddUp { plan, blocks, sums, out } = self;
        let width = plan.shape.group_outputs() * plan.shape.taps();
        for block in blocks {
            let lanes = V::LANES.min(plan.shape.in_channels - block * V::LANES);
            // SAFETY: sums of this block, and filters of its channels.
            unsafe {
                let first = sums.add(block * plan.parts * plan.sums);
                for part in 1..plan.parts {
                    for i in (0..width * V::LANES).step_by(V::LANES) {
                        let sum = V::load(first.add(i)).add(V::load(first.add(part * plan.sums + i)));
                        sum.store(first.add(i));
                    }
                }
                let filters = Block { lane_stride: width, lanes, rows: 1, width, row_step: width };
                filters.gather::<V>(first, out.add(block * V::LANES * width));
            }
        }
    }
}

/// Units of work: a block of channels and a part of the images.
struct Units<'a> {
    plan: &'a Plan,
    units: Range<usize>,
    input: *const f32,
    output: *const f32,
    sums: *mut f32,
    image: *mut f32,
    gradients: *mut f32,
}

impl Kernel for Units<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Units { plan, units, input, output, sums, image: padded, gradients } = self;
        let shape = &plan.shape;
        let [height, width] = shape.output();
        let multiplier = shape.group_outputs();
        for i in (0..plan.image).step_by(V::LANES) {
            // SAFETY: the area is that long, a multiple of the lanes.
            unsafe { V::zero().store(padded.add(i)) };
        }
        for unit in units {
            let (block, part) = (unit / plan.parts, unit % plan.parts);
            let channel = block * V::LANES;
            let lanes = V::LANES.min(shape.in_channels - channel);
            // SAFETY: images and channels are inside the operands, whose sizes were checked; areas as `Plan::new` has
            // them.
            unsafe {
                let sums = sums.add(unit * plan.sums);
                for i in (0..plan.sums).step_by(V::LANES) {
                    V::zero().store(sums.add(i));
                }
                for image in share(shape.batch, plan.parts, part) {
                    let planes = input.add((image * shape.in_channels + channel) * shape.input_plane());
                    let of_outputs = (image * shape.in_channels + channel) * multiplier * height * width;
                    for first in (0..height).step_by(plan.band) {
                        let rows = plan.band.min(height - first);
                        let start = first * shape.stride[0];
                        plan.source.spread::<V>(planes, lanes, start..start + plan.span, padded);
                        for multiple in 0..multiplier {
                            let lane_stride = multiplier * height * width;
                            let block = Block { lane_stride, lanes, rows, width, row_step: width };
                            let from = of_outputs + (multiple * height + first) * width;
                            block.spread::<V>(output.add(from), gradients);
                            let band = Band { plan, rows, pixels: padded, gradients };
                            band.add_all::<V>(sums.add(multiple * shape.taps() * V::LANES));
                        }
                    }
                }
            }
        }
    }
}

/// Rows of a block of channels of an image, channels innermost.
#[derive(Clone, Copy)]
struct Band<'a> {
    plan: &'a Plan,
    rows: usize,
    pixels: *const f32,
    gradients: *const f32,
}

impl Band<'_> {
    /// # Safety
    /// `sums` has a vector for each tap.
    #[inline(always)]
    unsafe fn add_all<V: Vector>(self, sums: *mut f32) {
        let count = self.plan.taps.len();
        let mut tap = 0;
        while tap < count {
            // SAFETY: taps that there are.
            tap += unsafe {
                // Of 9 sums a machine with 16 registers has some in memory, and is still faster than with fewer at a
                // time.
                match count - tap {
                    9.. if count.is_multiple_of(9) => self.add::<V, 9>(tap, sums),
                    7.. if count.is_multiple_of(7) => self.add::<V, 7>(tap, sums),
                    5.. if count.is_multiple_of(5) => self.add::<V, 5>(tap, sums),
                    4.. => self.add::<V, 4>(tap, sums),
                    2.. => self.add::<V, 2>(tap, sums),
                    _ => self.add::<V, 1>(tap, sums),
                }
            };
        }
    }

    /// Adds to the sums of `TAPS` taps; returns their number.
    ///
    /// # Safety
    /// The taps from `tap` on are there.
    #[inline(always)]
    unsafe fn add<V: Vector, const TAPS: usize>(self, tap: usize, sums: *mut f32) -> usize {
        let Plan { shape, source, taps, .. } = self.plan;
        let width = shape.output()[1];
        let mut places = [0; TAPS];
        places.copy_from_slice(&taps[tap..tap + TAPS]);
        let places = places.map(|place| place * V::LANES);
        // Sums of sums round less than one long sum.
        let together = (DEPTHWISE_SUMMED_PIXELS / width.max(1)).max(1);
        for first in (0..self.rows).step_by(together) {
            let mut totals = [V::zero(); TAPS];
            // SAFETY: the caller's promise; what a tap sees of these rows is in the padded band.
            unsafe {
                for row in first..self.rows.min(first + together) {
                    let line = row * shape.stride[0] * source.padded_width;
                    let mut pixels = self.pixels.add(line * V::LANES);
                    let mut gradients = self.gradients.add(row * width * V::LANES);
                    for _ in 0..width {
                        let gradient = V::load(gradients);
                        for t in 0..TAPS {
                            totals[t] = V::load(pixels.add(places[t])).mul_add(gradient, totals[t]);
                        }
                        pixels = pixels.wrapping_add(shape.stride[1] * V::LANES);
                        gradients = gradients.add(V::LANES);
                    }
                }
                for t in 0..TAPS {
                    let sum = sums.add((tap + t) * V::LANES);
                    V::load(sum).add(totals[t]).store(sum);
                }
            }
        }
        TAPS
    }
}
