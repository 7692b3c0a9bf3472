//! Convolution with one image in each lane of a vector, for layers of few channels.
//!
//! Blocks of `LANES` images are brought into the layout `[channel][row][column][image]`, padded, convolved, and
//! brought back. All of a block stays in the cache of its core; no lane is wasted on channels that are not there.
//!
//! The input gradient adds each output gradient to the pixels it came from, a row at a time in registers, so that it
//! does no work for padding.

use super::lanes_pool::{pool_block, spread_block};
use super::layout::{Block, align, whole_lines, with_alignment};
use super::{ConvShape, Direction, Operands};
use crate::pool::{Disjoint, Pool};
use crate::simd::{Kernel, Level, Vector};
use std::ops::Range;

/// The widest filter row whose weights the input gradient keeps in registers.
const WIDEST_SCATTER: usize = 5;

/// Below this many filter elements one thread adds up the partial sums.
const REDUCE_GRAIN: usize = 512;

pub(super) fn supports(direction: Direction, shape: &ConvShape) -> bool {
    let scatters = shape.stride[1] == 1 && shape.dilation[1] == 1 && shape.kernel[1] <= WIDEST_SCATTER;
    shape.groups == 1 && (direction != Direction::InputGradient || scatters)
}

/// One convolution and the sizes of its scratch memory.
pub(super) struct Plan<'a> {
    direction: Direction,
    shape: &'a ConvShape,
    level: Level,
    lanes: usize,
    threads: usize,
    /// Elements of a block of padded inputs.
    input: usize,
    /// Elements of a block of outputs.
    output: usize,
    /// Elements of a filter with one partial sum for each lane; zero where no filter is computed.
    sums: usize,
    /// Elements of a block of pooled outputs; zero where outputs are not pooled.
    pooled: usize,
}

/// The scratch memory of one thread.
struct Piece<'a> {
    input: &'a mut [f32],
    output: &'a mut [f32],
    sums: &'a mut [f32],
    /// Pooled values and the positions that they come from, half each.
    pooled: &'a mut [f32],
}

/// The blocks of images that one thread computes.
struct Blocks<'a> {
    plan: &'a Plan<'a>,
    blocks: Range<usize>,
    a: &'a [f32],
    b: &'a [f32],
    /// Positions of the pooled gradient, for all images.
    positions: &'a [i32],
    /// What these blocks give, unless that is a filter.
    out: &'a mut [f32],
    /// The positions of pooled outputs of these blocks.
    out_positions: &'a mut [i32],
    piece: Piece<'a>,
}

impl<'a> Plan<'a> {
    pub fn new(
        direction: Direction,
        shape: &'a ConvShape,
        is_pooled: bool,
        level: Level,
        threads: usize,
    ) -> Self {
        let lanes = level.lanes();
        let [height, width] = shape.padded();
        Plan {
            direction,
            shape,
            level,
            lanes,
            threads,
            input: whole_lines(shape.in_channels * height * width * lanes),
            output: whole_lines(shape.out_channels * shape.output_plane() * lanes),
            sums: if direction == Direction::FilterGradient {
                whole_lines(shape.filter_len() * lanes)
            } else {
                0
            },
            pooled: if is_pooled {
                whole_lines(shape.out_channels * shape.pooled_plane() * lanes)
            } else {
                0
            },
        }
    }

    fn piece_len(&self) -> usize {
        self.input + self.output + self.sums + 2 * self.pooled
    }

    pub fn scratch_len(&self) -> usize {
        with_alignment(self.threads * self.piece_len())
    }

    pub fn run(&self, operands: Operands, scratch: &mut [f32], pool: &Pool) {
        let Operands { a, b, positions, out, out_positions } = operands;
        let blocks = self.shape.batch.div_ceil(self.lanes);
        let scratch = &mut align(scratch)[..self.threads * self.piece_len()];
        let pieces = Disjoint::new(scratch);
        let image = match self.direction {
            Direction::Forward if self.pooled > 0 => self.shape.out_channels * self.shape.pooled_plane(),
            Direction::Forward => self.shape.out_channels * self.shape.output_plane(),
            Direction::InputGradient => self.shape.in_channels * self.shape.input_plane(),
            Direction::FilterGradient => 0,
        };
        let pooled_image = if self.direction == Direction::Forward && self.pooled > 0 { image } else { 0 };
        let images = Disjoint::new(out);
        let image_positions = Disjoint::new(out_positions);
        pool.split(blocks, 1, |thread, blocks| {
            let range = blocks.start * self.lanes..self.shape.batch.min(blocks.end * self.lanes);
            // SAFETY: each thread has its own piece and its own images.
            let (piece, out, out_positions) = unsafe {
                (
                    pieces.part(thread * self.piece_len()..(thread + 1) * self.piece_len()),
                    images.part(range.start * image..range.end * image),
                    image_positions.part(range.start * pooled_image..range.end * pooled_image),
                )
            };
            let (input, rest) = piece.split_at_mut(self.input);
            let (output, rest) = rest.split_at_mut(self.output);
            let (sums, pooled) = rest.split_at_mut(self.sums);
            let piece = Piece { input, output, sums, pooled };
            self.level.call(Blocks { plan: self, blocks, a, b, positions, out, out_positions, piece });
        });
        if self.direction == Direction::FilterGradient {
            self.reduce(blocks.min(self.threads), out, scratch, pool);
        }
    }

    /// Adds the lanes of the partial sums of the first `threads` threads.
    fn reduce(&self, threads: usize, out: &mut [f32], scratch: &[f32], pool: &Pool) {
        let out = Disjoint::new(out);
        pool.split(out.len(), REDUCE_GRAIN, |_, range| {
            let first = self.input + self.output + range.start * self.lanes;
            let sums = &scratch[first..];
            // SAFETY: ranges of one split do not overlap.
            let out = unsafe { out.part(range) };
            self.level.call(Reduce { sums, stride: self.piece_len(), threads, out });
        });
    }
}

/// Adds the lanes of vectors `stride` apart.
struct Reduce<'a> {
    sums: &'a [f32],
    stride: usize,
    threads: usize,
    out: &'a mut [f32],
}

impl Kernel for Reduce<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        assert!(self.sums.len() >= (self.threads - 1) * self.stride + self.out.len() * V::LANES);
        for (i, out) in self.out.iter_mut().enumerate() {
            let mut total = V::zero();
            for thread in 0..self.threads {
                // SAFETY: in bounds by the assertion.
                total = total
                    .add(unsafe { V::load(self.sums.as_ptr().add(thread * self.stride + i * V::LANES)) });
            }
            *out = total.sum();
        }
    }
}

impl Kernel for Blocks<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Blocks { plan, blocks, a, b, positions, out, out_positions, piece } = self;
        let shape = plan.shape;
        let inputs = shape.in_channels * shape.input_plane();
        let outputs = shape.out_channels * shape.output_plane();
        let pooled = shape.out_channels * shape.pooled_plane();
        let (pooled_values, pooled_positions) = piece.pooled.split_at_mut(plan.pooled);
        let pooled_places = [pooled_values.as_mut_ptr(), pooled_positions.as_mut_ptr()];
        let is_pooled = plan.pooled > 0;
        let first = blocks.start * V::LANES;
        piece.sums.fill(0.0);
        if plan.direction != Direction::InputGradient {
            // The padding stays; the rest is overwritten by every block.
            piece.input.fill(0.0);
        }
        for block in blocks {
            let image = block * V::LANES;
            let lanes = V::LANES.min(shape.batch - image);
            let (input, output) = (piece.input.as_mut_ptr(), piece.output.as_mut_ptr());
            // SAFETY: `Plan::new` gave the pieces room for one block in the padded and in the output layout; `run` of
            // the module above checked the operands; `lanes` images from `image` on are in all of them.
            unsafe {
                match plan.direction {
                    Direction::Forward => {
                        spread_input::<V>(shape, lanes, a.as_ptr().add(image * inputs), input);
                        forward::<V>(shape, input, b.as_ptr(), output);
                        if is_pooled {
                            let start = (image - first) * pooled;
                            let to = (out.as_mut_ptr().add(start), out_positions.as_mut_ptr().add(start));
                            pool_block::<V>(shape, lanes, output, pooled_places, to);
                        } else {
                            let planes = out.as_mut_ptr().add((image - first) * outputs);
                            output_block(shape, lanes).gather::<V>(output, planes);
                        }
                    }
                    Direction::InputGradient => {
                        if is_pooled {
                            let start = image * pooled;
                            let from = (a.as_ptr().add(start), positions.as_ptr().add(start));
                            spread_block::<V>(shape, lanes, from, pooled_places, output);
                        } else {
                            output_block(shape, lanes).spread::<V>(a.as_ptr().add(image * outputs), output);
                        }
                        input_gradient::<V>(shape, output, b.as_ptr(), input);
                        gather_input::<V>(
                            shape,
                            lanes,
                            input,
                            out.as_mut_ptr().add((image - first) * inputs),
                        );
                    }
                    Direction::FilterGradient => {
                        spread_input::<V>(shape, lanes, a.as_ptr().add(image * inputs), input);
                        if is_pooled {
                            let start = image * pooled;
                            let from = (b.as_ptr().add(start), positions.as_ptr().add(start));
                            spread_block::<V>(shape, lanes, from, pooled_places, output);
                        } else {
                            output_block(shape, lanes).spread::<V>(b.as_ptr().add(image * outputs), output);
                        }
                        filter_gradient::<V>(shape, input, output, piece.sums.as_mut_ptr());
                    }
                }
            }
        }
    }
}

/// All channels of the output at once: they are contiguous on both sides.
#[inline(always)]
fn output_block(shape: &ConvShape, lanes: usize) -> Block {
    let count = shape.out_channels * shape.output_plane();
    Block { lane_stride: count, lanes, rows: 1, width: count, row_step: count }
}

/// One channel of the input, which has padding where lanes are innermost.
#[inline(always)]
fn input_block(shape: &ConvShape, lanes: usize) -> Block {
    Block {
        lane_stride: shape.in_channels * shape.input_plane(),
        lanes,
        rows: shape.input[0],
        width: shape.input[1],
        row_step: shape.padded()[1],
    }
}

/// # Safety
/// `planes` is the first of `lanes` images, `pixels` a block of padded inputs.
#[inline(always)]
unsafe fn spread_input<V: Vector>(shape: &ConvShape, lanes: usize, planes: *const f32, pixels: *mut f32) {
    let [height, width] = shape.padded();
    let inside = shape.pad_low[0] * width + shape.pad_low[1];
    for c in 0..shape.in_channels {
        // SAFETY: the caller's promise.
        unsafe {
            let pixels = pixels.add((c * height * width + inside) * V::LANES);
            input_block(shape, lanes).spread::<V>(planes.add(c * shape.input_plane()), pixels);
        }
    }
}

/// # Safety
/// As for [`spread_input`].
#[inline(always)]
unsafe fn gather_input<V: Vector>(shape: &ConvShape, lanes: usize, pixels: *const f32, planes: *mut f32) {
    let [height, width] = shape.padded();
    let inside = shape.pad_low[0] * width + shape.pad_low[1];
    for c in 0..shape.in_channels {
        // SAFETY: the caller's promise.
        unsafe {
            let pixels = pixels.add((c * height * width + inside) * V::LANES);
            input_block(shape, lanes).gather::<V>(pixels, planes.add(c * shape.input_plane()));
        }
    }
}

/// The largest of `sizes` (which are in falling order) that is at most `left`.
#[inline(always)]
fn largest(sizes: &[usize], left: usize) -> usize {
    *sizes.iter().find(|&&size| size <= left).expect("one is among the sizes")
}

/// # Safety
/// `input` is a block of padded inputs, `filter` the filter, `output` room for a block of outputs.
#[inline(always)]
unsafe fn forward<V: Vector>(shape: &ConvShape, input: *const f32, filter: *const f32, output: *mut f32) {
    let [height, width] = shape.output();
    let wide = V::REGISTERS >= 32;
    let mut k = 0;
    while k < shape.out_channels {
        let channels = largest(if wide { &[6, 4, 3, 2, 1] } else { &[4, 3, 2, 1] }, shape.out_channels - k);
        // As many accumulators as registers allow, with few pixels computed twice at the end of a row.
        let pixels = match (wide, width) {
            (_, 1..3) => 1,
            (false, _) | (_, 3) => 3,
            _ if width.is_multiple_of(5) && channels <= 4 => 5,
            _ => 4,
        };
        for y in 0..height {
            let mut x = 0;
            while x < width {
                // The last tile of a row overlaps the one before.
                let tile = ForwardTile { shape, input, filter, output, k, y, x: x.min(width - pixels) };
                // SAFETY: the tile is inside the output.
                unsafe {
                    match channels {
                        6 => tile.by_pixels::<V, 6>(pixels),
                        4 => tile.by_pixels::<V, 4>(pixels),
                        3 => tile.by_pixels::<V, 3>(pixels),
                        2 => tile.by_pixels::<V, 2>(pixels),
                        _ => tile.by_pixels::<V, 1>(pixels),
                    }
                }
                x += pixels;
            }
        }
        k += channels;
    }
}

/// Some output channels from `k` on, at some pixels of row `y` from `x` on.
#[derive(Clone, Copy)]
struct ForwardTile<'a> {
    shape: &'a ConvShape,
    input: *const f32,
    filter: *const f32,
    output: *mut f32,
    k: usize,
    y: usize,
    x: usize,
}

impl ForwardTile<'_> {
    /// # Safety
    /// The tile is inside the output.
    #[inline(always)]
    unsafe fn by_pixels<V: Vector, const CHANNELS: usize>(self, pixels: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            match pixels {
                5 => self.compute::<V, CHANNELS, 5>(),
                4 => self.compute::<V, CHANNELS, 4>(),
                3 => self.compute::<V, CHANNELS, 3>(),
                _ => self.compute::<V, CHANNELS, 1>(),
            }
        }
    }

    /// # Safety
    /// The tile is inside the output.
    #[inline(always)]
    unsafe fn compute<V: Vector, const CHANNELS: usize, const PIXELS: usize>(self) {
        let ForwardTile { shape, input, filter, output, k, y, x } = self;
        let [height, width] = shape.padded();
        let filter_step = shape.in_channels * shape.taps();
        let pixel_step = shape.stride[1] * V::LANES;
        let mut sums = [[V::zero(); PIXELS]; CHANNELS];
        // SAFETY: taps of pixels inside the output are inside the padded input.
        unsafe {
            let mut weights = filter.add(k * filter_step);
            for c in 0..shape.in_channels {
                for r in 0..shape.kernel[0] {
                    let row = c * height + y * shape.stride[0] + r * shape.dilation[0];
                    let mut pixels = input.add((row * width + x * shape.stride[1]) * V::LANES);
                    for _ in 0..shape.kernel[1] {
                        let mut values = [V::zero(); PIXELS];
                        for p in 0..PIXELS {
                            values[p] = V::load(pixels.add(p * pixel_step));
                        }
                        for i in 0..CHANNELS {
                            let weight = V::splat(*weights.add(i * filter_step));
                            for p in 0..PIXELS {
                                sums[i][p] = weight.mul_add(values[p], sums[i][p]);
                            }
                        }
                        pixels = pixels.add(shape.dilation[1] * V::LANES);
                        weights = weights.add(1);
                    }
                }
            }
            let [height, width] = shape.output();
            for i in 0..CHANNELS {
                let row = output.add((((k + i) * height + y) * width + x) * V::LANES);
                for p in 0..PIXELS {
                    sums[i][p].store(row.add(p * V::LANES));
                }
            }
        }
    }
}

/// Adds a block's part of the filter gradient to `sums`, lane by lane.
///
/// # Safety
/// `input` is a block of padded inputs, `gradient` one of output gradients; `sums` has a vector for each element of
/// the filter.
#[inline(always)]
unsafe fn filter_gradient<V: Vector>(
    shape: &ConvShape,
    input: *const f32,
    gradient: *const f32,
    sums: *mut f32,
) {
    let wide = V::REGISTERS >= 32;
    let mut k = 0;
    while k < shape.out_channels {
        let left = shape.out_channels - k;
        // Six channels are two times three rather than four and two.
        let sizes: &[usize] = if wide && left != 6 { &[4, 3, 2, 1] } else { &[3, 2, 1] };
        let channels = largest(sizes, left);
        for c in 0..shape.in_channels {
            for r in 0..shape.kernel[0] {
                let mut s = 0;
                while s < shape.kernel[1] {
                    let taps = largest(if wide { &[5, 3, 2, 1] } else { &[3, 2, 1] }, shape.kernel[1] - s);
                    let tile = FilterTile { shape, input, gradient, sums, k, c, r, s };
                    // SAFETY: the tile is inside the filter.
                    unsafe {
                        match channels {
                            4 => tile.by_taps::<V, 4>(taps),
                            3 => tile.by_taps::<V, 3>(taps),
                            2 => tile.by_taps::<V, 2>(taps),
                            _ => tile.by_taps::<V, 1>(taps),
                        }
                    }
                    s += taps;
                }
            }
        }
        k += channels;
    }
}

/// Some output channels from `k` on, one input channel, some taps of row `r` from `s` on.
#[derive(Clone, Copy)]
struct FilterTile<'a> {
    shape: &'a ConvShape,
    input: *const f32,
    gradient: *const f32,
    sums: *mut f32,
    k: usize,
    c: usize,
    r: usize,
    s: usize,
}

impl FilterTile<'_> {
    /// # Safety
    /// The tile is inside the filter.
    #[inline(always)]
    unsafe fn by_taps<V: Vector, const CHANNELS: usize>(self, taps: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            match taps {
                5 => self.compute::<V, CHANNELS, 5>(),
                3 => self.compute::<V, CHANNELS, 3>(),
                2 => self.compute::<V, CHANNELS, 2>(),
                _ => self.compute::<V, CHANNELS, 1>(),
            }
        }
    }

    /// # Safety
    /// The tile is inside the filter.
    #[inline(always)]
    unsafe fn compute<V: Vector, const CHANNELS: usize, const TAPS: usize>(self) {
        let FilterTile { shape, input, gradient, sums, k, c, r, s } = self;
        let [padded_height, padded_width] = shape.padded();
        let [height, width] = shape.output();
        let channel_step = height * width * V::LANES;
        let (pixel_step, tap_step) = (shape.stride[1] * V::LANES, shape.dilation[1] * V::LANES);
        // SAFETY: taps of pixels inside the output are inside the padded input.
        unsafe {
            let first = sums
                .add((((k * shape.in_channels + c) * shape.kernel[0] + r) * shape.kernel[1] + s) * V::LANES);
            let filter_step = shape.in_channels * shape.taps() * V::LANES;
            let mut totals = [[V::zero(); TAPS]; CHANNELS];
            for i in 0..CHANNELS {
                for t in 0..TAPS {
                    totals[i][t] = V::load(first.add(i * filter_step + t * V::LANES));
                }
            }
            for y in 0..height {
                let row = c * padded_height + y * shape.stride[0] + r * shape.dilation[0];
                let mut pixels = input.add(row * padded_width * V::LANES + s * tap_step);
                let mut gradients = gradient.add((k * height + y) * width * V::LANES);
                for _ in 0..width {
                    let mut factors = [V::zero(); CHANNELS];
                    for i in 0..CHANNELS {
                        factors[i] = V::load(gradients.add(i * channel_step));
                    }
                    for t in 0..TAPS {
                        let pixel = V::load(pixels.add(t * tap_step));
                        for i in 0..CHANNELS {
                            totals[i][t] = factors[i].mul_add(pixel, totals[i][t]);
                        }
                    }
                    pixels = pixels.add(pixel_step);
                    gradients = gradients.add(V::LANES);
                }
            }
            for i in 0..CHANNELS {
                for t in 0..TAPS {
                    totals[i][t].store(first.add(i * filter_step + t * V::LANES));
                }
            }
        }
    }
}

/// # Safety
/// `gradient` is a block of output gradients, `filter` the filter, `input` room for a block of padded inputs; rows
/// that are padding are left as they are.
#[inline(always)]
unsafe fn input_gradient<V: Vector>(
    shape: &ConvShape,
    gradient: *const f32,
    filter: *const f32,
    input: *mut f32,
) {
    let [padded_height, padded_width] = shape.padded();
    let width = shape.output()[1];
    let sizes: &[usize] = match (V::REGISTERS >= 32, width.is_multiple_of(8)) {
        (true, false) => &[10, 8, 6, 4, 2, 1],
        (true, true) => &[8],
        (false, _) => &[6, 4, 2, 1],
    };
    for c in 0..shape.in_channels {
        for row in shape.pad_low[0]..shape.pad_low[0] + shape.input[0] {
            // SAFETY: the row is inside the block; its pieces are as wide as the output, which together with the
            // filter's overhang is at most as wide as the padded row.
            unsafe {
                let pixels = input.add((c * padded_height + row) * padded_width * V::LANES);
                for x in 0..padded_width {
                    V::zero().store(pixels.add(x * V::LANES));
                }
                let mut x = 0;
                while x < width {
                    let count = largest(sizes, width - x);
                    let tile = ScatterTile { shape, gradient, filter, pixels, c, row, x };
                    match shape.kernel[1] {
                        5 => tile.by_pixels::<V, 5>(count),
                        4 => tile.by_pixels::<V, 4>(count),
                        3 => tile.by_pixels::<V, 3>(count),
                        2 => tile.by_pixels::<V, 2>(count),
                        _ => tile.by_pixels::<V, 1>(count),
                    }
                    x += count;
                }
            }
        }
    }
}

/// What some columns of the output gradient from `x` on add to one padded row of the input gradient's channel `c`.
#[derive(Clone, Copy)]
struct ScatterTile<'a> {
    shape: &'a ConvShape,
    gradient: *const f32,
    filter: *const f32,
    pixels: *mut f32,
    c: usize,
    row: usize,
    x: usize,
}

impl ScatterTile<'_> {
    /// # Safety
    /// The columns are inside the output, `TAPS` is the width of the filter.
    #[inline(always)]
    unsafe fn by_pixels<V: Vector, const TAPS: usize>(self, pixels: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            match pixels {
                10 => self.compute::<V, TAPS, 10>(),
                8 => self.compute::<V, TAPS, 8>(),
                6 => self.compute::<V, TAPS, 6>(),
                4 => self.compute::<V, TAPS, 4>(),
                2 => self.compute::<V, TAPS, 2>(),
                _ => self.compute::<V, TAPS, 1>(),
            }
        }
    }

    /// # Safety
    /// The columns are inside the output, `TAPS` is the width of the filter.
    #[inline(always)]
    unsafe fn compute<V: Vector, const TAPS: usize, const PIXELS: usize>(self) {
        let ScatterTile { shape, gradient, filter, pixels, c, row, x } = self;
        let [height, width] = shape.output();
        // PIXELS + TAPS - 1 of these are used.
        let mut sums = [V::zero(); 10 + WIDEST_SCATTER - 1];
        // SAFETY: `y` is a row of the output; columns as the caller promises.
        unsafe {
            let pixels = pixels.add(x * V::LANES);
            for i in 0..PIXELS + TAPS - 1 {
                sums[i] = V::load(pixels.add(i * V::LANES));
            }
            for r in 0..shape.kernel[0] {
                let Some(above) = row.checked_sub(r * shape.dilation[0]) else { break };
                let y = above / shape.stride[0];
                if y * shape.stride[0] != above || y >= height {
                    continue;
                }
                let mut gradients = gradient.add((y * width + x) * V::LANES);
                let mut taps = filter.add((c * shape.kernel[0] + r) * TAPS);
                for _ in 0..shape.out_channels {
                    let mut weights = [V::zero(); TAPS];
                    for s in 0..TAPS {
                        weights[s] = V::splat(*taps.add(s));
                    }
                    for p in 0..PIXELS {
                        let value = V::load(gradients.add(p * V::LANES));
                        for s in 0..TAPS {
                            sums[p + s] = value.mul_add(weights[s], sums[p + s]);
                        }
                    }
                    gradients = gradients.add(height * width * V::LANES);
                    taps = taps.add(shape.in_channels * shape.taps());
                }
            }
            for i in 0..PIXELS + TAPS - 1 {
                sums[i].store(pixels.add(i * V::LANES));
            }
        }
    }
}
