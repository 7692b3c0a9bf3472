//! The transforms of Winograd's F(4×4, 3×3), with channels in the lanes.
//!
//! Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2015): an output tile of 4×4 pixels is
//! Aᵀ[(G w Gᵀ) ⊙ (Bᵀ d B)]A for an input tile d of 6×6 pixels and a filter w, and the gradient of the filter is
//! Gᵀ[(A g Aᵀ) ⊙ (Bᵀ d B)]G for a tile g of the output gradient. Summed over channels or over tiles, ⊙ is 36 matrix
//! products, one for each position in the 6×6 square. The interpolation points are 0, ±1, ±2 and infinity.

use super::Channelwise;
use super::layout::{Block, LINE};
use crate::simd::{Kernel, MAX_LANES, Vector};
use std::ops::Range;

/// Pixels of an output tile along each axis.
pub(super) const TILE: usize = 4;
/// Positions of a transformed tile along each axis.
pub(super) const SIDE: usize = TILE + 2;
/// Positions of a transformed tile.
pub(super) const POSITIONS: usize = SIDE * SIDE;
/// Taps of a filter.
const TAPS: usize = 9;
/// Filters to prefetch ahead of the one that is transformed.
const AHEAD: usize = 4;

#[inline(always)]
fn scaled<V: Vector>(factor: f32, value: V, summand: V) -> V {
    value.mul_add(V::splat(factor), summand)
}

/// Bᵀ: from a row or column of pixels.
#[inline(always)]
fn input_line<V: Vector>(d: [V; 6]) -> [V; 6] {
    let (even, odd) = (scaled(-4.0, d[2], d[4]), scaled(-4.0, d[1], d[3]));
    let (even_two, odd_two) = (d[4].sub(d[2]), d[3].sub(d[1]));
    [
        scaled(4.0, d[0], scaled(-5.0, d[2], d[4])),
        even.add(odd),
        even.sub(odd),
        scaled(2.0, odd_two, even_two),
        scaled(-2.0, odd_two, even_two),
        scaled(4.0, d[1], scaled(-5.0, d[3], d[5])),
    ]
}

/// Aᵀ: to a row or column of output pixels.
#[inline(always)]
fn output_line<V: Vector>(m: [V; 6]) -> [V; 4] {
    let (sum, difference) = (m[1].add(m[2]), m[1].sub(m[2]));
    let (sum_two, difference_two) = (m[3].add(m[4]), m[3].sub(m[4]));
    [
        m[0].add(sum.add(sum_two)),
        scaled(2.0, difference_two, difference),
        scaled(4.0, sum_two, sum),
        scaled(8.0, difference_two, difference).add(m[5]),
    ]
}

/// A: from a row or column of output gradients.
#[inline(always)]
fn gradient_line<V: Vector>(g: [V; 4]) -> [V; 6] {
    let (even, odd) = (g[0].add(g[2]), g[1].add(g[3]));
    let (even_two, odd_two) = (scaled(4.0, g[2], g[0]), scaled(4.0, g[3], g[1]));
    [
        g[0],
        even.add(odd),
        even.sub(odd),
        scaled(2.0, odd_two, even_two),
        scaled(-2.0, odd_two, even_two),
        g[3],
    ]
}

/// G: from a row or column of a filter.
#[inline(always)]
fn filter_line<V: Vector>(w: [V; 3]) -> [V; 6] {
    let even = w[0].add(w[2]).mul(V::splat(-1.0 / 6.0));
    let odd = w[1].mul(V::splat(1.0 / 6.0));
    let even_two = scaled(1.0 / 6.0, w[2], w[0].mul(V::splat(1.0 / 24.0)));
    let odd_two = w[1].mul(V::splat(1.0 / 12.0));
    [
        w[0].mul(V::splat(0.25)),
        even.sub(odd),
        even.add(odd),
        even_two.add(odd_two),
        even_two.sub(odd_two),
        w[2],
    ]
}

/// Gᵀ: to a row or column of a filter gradient.
#[inline(always)]
fn filter_gradient_line<V: Vector>(u: [V; 6]) -> [V; 3] {
    let (sum, difference) = (u[1].add(u[2]), u[2].sub(u[1]));
    let (sum_two, difference_two) = (u[3].add(u[4]), u[3].sub(u[4]));
    [
        scaled(0.25, u[0], scaled(-1.0 / 6.0, sum, sum_two.mul(V::splat(1.0 / 24.0)))),
        scaled(1.0 / 6.0, difference, difference_two.mul(V::splat(1.0 / 12.0))),
        u[5].add(scaled(-1.0 / 6.0, sum, sum_two.mul(V::splat(1.0 / 6.0)))),
    ]
}

/// Planes of pixels, and how the tiles lie on them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planes {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    /// Zeros before the first row and column of the first tile.
    pub pad: [usize; 2],
}

impl Planes {
    fn image(&self) -> usize {
        self.channels * self.height * self.width
    }
}

/// How tiles cover the images. A strip is a row of tiles; strips are numbered through the batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiling {
    /// Strips of an image.
    pub strips: usize,
    /// Tiles of a strip.
    pub tiles: usize,
}

impl Tiling {
    /// Elements of the staging area for strips of channels in lanes.
    pub fn staging(&self, lanes: usize) -> usize {
        SIDE * (self.tiles * TILE + 2) * lanes
    }
}

/// Transformed tiles: `[position][channel / LANES][tile][LANES]`, one position `step` elements after the other.
#[derive(Clone, Copy)]
pub(super) struct Tiles {
    pub memory: *mut f32,
    pub step: usize,
    /// Tiles of each block of channels.
    pub count: usize,
}

/// Which transform brings pixels into the 36 positions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pixels {
    /// Bᵀ d B, from overlapping squares of 6×6.
    Inputs,
    /// A g Aᵀ, from squares of 4×4 side by side.
    Gradients,
}

/// Transforms strips of pixels.
///
/// `source` holds whole batches; `tiles` has room from `first_tile` on; `staging` is `Tiling::staging` long.
pub(super) struct TransformPixels {
    pub pixels: Pixels,
    pub planes: Planes,
    pub tiling: Tiling,
    pub strips: Range<usize>,
    pub source: *const f32,
    pub tiles: Tiles,
    pub first_tile: usize,
    pub staging: *mut f32,
}

impl Kernel for TransformPixels {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let TransformPixels { pixels, planes, tiling, strips, source, tiles, first_tile, staging } = self;
        let rows = if pixels == Pixels::Inputs { SIDE } else { TILE };
        let width = tiling.tiles * TILE + rows - TILE;
        let mut tile = first_tile;
        // SAFETY: the fields are as the struct demands; rows and columns that are staged are inside the plane and,
        // because the tiles cover it, inside the staging area.
        unsafe {
            zero::<V>(staging, rows * width);
            for strip in strips {
                let (image, strip) = (strip / tiling.strips, strip % tiling.strips);
                // Rows of the plane in this strip, and how many rows of zeros come before and after.
                let before = planes.pad[0].saturating_sub(strip * TILE).min(rows);
                let top = (strip * TILE).saturating_sub(planes.pad[0]).min(planes.height);
                let count = (rows - before).min(planes.height - top);
                zero::<V>(staging, before * width);
                zero::<V>(staging.add((before + count) * width * V::LANES), (rows - before - count) * width);
                let mut channel = 0;
                while channel < planes.channels {
                    let block = Block {
                        lane_stride: planes.height * planes.width,
                        lanes: V::LANES.min(planes.channels - channel),
                        rows: count,
                        width: planes.width,
                        row_step: width,
                    };
                    let plane = source.add(image * planes.image() + channel * planes.height * planes.width);
                    block.spread::<V>(
                        plane.add(top * planes.width),
                        staging.add((before * width + planes.pad[1]) * V::LANES),
                    );
                    for x in 0..tiling.tiles {
                        let square = staging.add(x * TILE * V::LANES);
                        let to = tiles.memory.add((channel * tiles.count) + (tile + x) * V::LANES);
                        match pixels {
                            Pixels::Inputs => input_tile::<V>(square, width, to, tiles.step),
                            Pixels::Gradients => gradient_tile::<V>(square, width, to, tiles.step),
                        }
                    }
                    channel += V::LANES;
                }
                tile += tiling.tiles;
            }
        }
    }
}

/// # Safety
/// Room for `vectors` vectors.
#[inline(always)]
unsafe fn zero<V: Vector>(memory: *mut f32, vectors: usize) {
    for i in 0..vectors {
        // SAFETY: the caller's promise.
        unsafe { V::zero().store(memory.add(i * V::LANES)) };
    }
}

/// # Safety
/// `square` is the first of 6×6 pixels in rows of `width`; `to` has room for 36 vectors `step` apart.
#[inline(always)]
unsafe fn input_tile<V: Vector>(square: *const f32, width: usize, to: *mut f32, step: usize) {
    let mut half = [[V::zero(); SIDE]; SIDE];
    // SAFETY: the caller's promise.
    unsafe {
        for column in 0..SIDE {
            let mut line = [V::zero(); SIDE];
            for row in 0..SIDE {
                line[row] = V::load(square.add((row * width + column) * V::LANES));
            }
            let line = input_line(line);
            for row in 0..SIDE {
                half[row][column] = line[row];
            }
        }
        for row in 0..SIDE {
            let line = input_line(half[row]);
            for column in 0..SIDE {
                line[column].store(to.add((row * SIDE + column) * step));
            }
        }
    }
}

/// # Safety
/// `square` is the first of 4×4 pixels in rows of `width`; `to` has room for 36 vectors `step` apart.
#[inline(always)]
unsafe fn gradient_tile<V: Vector>(square: *const f32, width: usize, to: *mut f32, step: usize) {
    let mut half = [[V::zero(); TILE]; SIDE];
    // SAFETY: the caller's promise.
    unsafe {
        for column in 0..TILE {
            let mut line = [V::zero(); TILE];
            for row in 0..TILE {
                line[row] = V::load(square.add((row * width + column) * V::LANES));
            }
            let line = gradient_line(line);
            for row in 0..SIDE {
                half[row][column] = line[row];
            }
        }
        for row in 0..SIDE {
            let line = gradient_line(half[row]);
            for column in 0..SIDE {
                line[column].store(to.add((row * SIDE + column) * step));
            }
        }
    }
}

/// Transforms tiles back into strips of output pixels.
///
/// `channels` are the ones that the tiles hold; the first is a multiple of `LANES`. `target` holds whole batches.
pub(super) struct TransformOutputs {
    /// What is done with each element on the way.
    pub each: Option<Channelwise>,
    pub planes: Planes,
    pub channels: Range<usize>,
    pub tiling: Tiling,
    pub strips: Range<usize>,
    pub tiles: Tiles,
    pub first_tile: usize,
    pub target: *mut f32,
    pub staging: *mut f32,
}

impl Kernel for TransformOutputs {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let TransformOutputs { each, planes, channels, tiling, strips, tiles, first_tile, target, staging } =
            self;
        let width = tiling.tiles * TILE;
        let mut tile = first_tile;
        // SAFETY: the fields are as the struct demands; only rows and columns inside the plane are written.
        unsafe {
            for strip in strips {
                let (image, strip) = (strip / tiling.strips, strip % tiling.strips);
                let mut channel = channels.start;
                while channel < channels.end {
                    for x in 0..tiling.tiles {
                        let block = (channel - channels.start) * tiles.count;
                        let from = tiles.memory.add(block + (tile + x) * V::LANES);
                        output_tile::<V>(from, tiles.step, staging.add(x * TILE * V::LANES), width);
                    }
                    let block = Block {
                        lane_stride: planes.height * planes.width,
                        lanes: V::LANES.min(channels.end - channel),
                        rows: TILE.min(planes.height - strip * TILE),
                        width: planes.width,
                        row_step: width,
                    };
                    let plane = image * planes.image() + channel * planes.height * planes.width;
                    let each = each.map(|each| each.of::<V>(channel, &block));
                    block.gather_changed(staging, target.add(plane + strip * TILE * planes.width), each);
                    channel += V::LANES;
                }
                tile += tiling.tiles;
            }
        }
    }
}

/// # Safety
/// `from` is the first of 36 vectors `step` apart; `square` has room for 4×4 pixels in rows of `width`.
#[inline(always)]
unsafe fn output_tile<V: Vector>(from: *const f32, step: usize, square: *mut f32, width: usize) {
    let mut half = [[V::zero(); SIDE]; TILE];
    // SAFETY: the caller's promise.
    unsafe {
        for column in 0..SIDE {
            let mut line = [V::zero(); SIDE];
            for row in 0..SIDE {
                line[row] = V::load(from.add((row * SIDE + column) * step));
            }
            let line = output_line(line);
            for row in 0..TILE {
                half[row][column] = line[row];
            }
        }
        for row in 0..TILE {
            let line = output_line(half[row]);
            for column in 0..TILE {
                line[column].store(square.add((row * width + column) * V::LANES));
            }
        }
    }
}

/// Where the filters between a block of `LANES` target channels and one source channel are.
#[derive(Clone, Copy)]
pub(super) struct FilterSizes {
    /// Target and source channels.
    pub targets: usize,
    pub sources: usize,
    /// Whether the targets are the filter's inputs: the input gradient convolves with turned filters.
    pub turned: bool,
}

impl FilterSizes {
    /// The place of the filter from `source` to `target`.
    #[inline(always)]
    fn offset(&self, target: usize, source: usize) -> usize {
        TAPS * if self.turned { source * self.targets + target } else { target * self.sources + source }
    }
}

/// Transforms filters into `[position][target / LANES][source][LANES]`, one position `step` elements after the
/// other; the first of `blocks` (blocks of target channels) lies at the start of `memory`.
pub(super) struct TransformFilters {
    pub filters: FilterSizes,
    pub blocks: Range<usize>,
    pub source: *const f32,
    pub memory: *mut f32,
    pub step: usize,
}

impl Kernel for TransformFilters {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let TransformFilters { filters, blocks, source, memory, step } = self;
        let first = blocks.start;
        for block in blocks {
            let lanes = V::LANES.min(filters.targets - block * V::LANES);
            for channel in 0..filters.sources {
                let mut taps = [V::zero(); MAX_LANES];
                if filters.turned {
                    // Far from the last ones, where the processor does not expect them.
                    let ahead = source.wrapping_add(filters.offset(block * V::LANES, channel + AHEAD));
                    for line in 0..=(V::LANES * TAPS).div_ceil(LINE) {
                        V::prefetch(ahead.wrapping_add(line * LINE));
                    }
                }
                // SAFETY: nine taps of each of the filters; `memory` as the struct demands.
                unsafe {
                    if V::LANES >= TAPS {
                        for lane in 0..V::LANES {
                            if lane < lanes {
                                let filter = source.add(filters.offset(block * V::LANES + lane, channel));
                                taps[lane] = V::load_partial(filter, TAPS);
                            }
                        }
                        V::transpose(&mut taps);
                    } else {
                        let mut numbers = [[0.0f32; MAX_LANES]; TAPS];
                        for lane in 0..lanes {
                            let filter = source.add(filters.offset(block * V::LANES + lane, channel));
                            for tap in 0..TAPS {
                                numbers[tap][lane] = *filter.add(tap);
                            }
                        }
                        for tap in 0..TAPS {
                            taps[tap] = V::load(numbers[tap].as_ptr());
                        }
                    }
                    if filters.turned {
                        taps[..TAPS].reverse();
                    }
                    let to = memory.add(((block - first) * filters.sources + channel) * V::LANES);
                    let mut half = [[V::zero(); 3]; SIDE];
                    for column in 0..3 {
                        let line = filter_line([taps[column], taps[3 + column], taps[6 + column]]);
                        for row in 0..SIDE {
                            half[row][column] = line[row];
                        }
                    }
                    for row in 0..SIDE {
                        let line = filter_line(half[row]);
                        for column in 0..SIDE {
                            line[column].store(to.add((row * SIDE + column) * step));
                        }
                    }
                }
            }
        }
    }
}

/// Transforms gradients `[position][target / LANES][source, whole blocks][LANES]` back into filters, adding up the
/// parts of several threads, which are `part_step` apart. The first of `blocks` lies at the start of `memory`.
pub(super) struct TransformFilterGradients {
    pub filters: FilterSizes,
    pub blocks: Range<usize>,
    pub memory: *const f32,
    pub step: usize,
    pub parts: usize,
    pub part_step: usize,
    pub target: *mut f32,
}

impl Kernel for TransformFilterGradients {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let TransformFilterGradients { filters, blocks, memory, step, parts, part_step, target } = self;
        let sources = filters.sources.next_multiple_of(V::LANES);
        let first = blocks.start;
        for block in blocks {
            let lanes = V::LANES.min(filters.targets - block * V::LANES);
            for channel in 0..filters.sources {
                // SAFETY: as the struct demands; nine taps of each of the filters.
                unsafe {
                    let from = memory.add(((block - first) * sources + channel) * V::LANES);
                    let mut half = [[V::zero(); SIDE]; 3];
                    for column in 0..SIDE {
                        let mut line = [V::zero(); SIDE];
                        for row in 0..SIDE {
                            let position = from.add((row * SIDE + column) * step);
                            line[row] = V::load(position);
                            for part in 1..parts {
                                line[row] = line[row].add(V::load(position.add(part * part_step)));
                            }
                        }
                        let line = filter_gradient_line(line);
                        for row in 0..3 {
                            half[row][column] = line[row];
                        }
                    }
                    let mut taps = [V::zero(); MAX_LANES];
                    for row in 0..3 {
                        let line = filter_gradient_line(half[row]);
                        for column in 0..3 {
                            taps[row * 3 + column] = line[column];
                        }
                    }
                    if V::LANES >= TAPS {
                        V::transpose(&mut taps);
                        for lane in 0..V::LANES {
                            if lane < lanes {
                                let filter = target.add(filters.offset(block * V::LANES + lane, channel));
                                taps[lane].store_partial(filter, TAPS);
                            }
                        }
                    } else {
                        for tap in 0..TAPS {
                            let mut numbers = [0.0f32; MAX_LANES];
                            taps[tap].store(numbers.as_mut_ptr());
                            for lane in 0..lanes {
                                let filter = filters.offset(block * V::LANES + lane, channel);
                                *target.add(filter + tap) = numbers[lane];
                            }
                        }
                    }
                }
            }
        }
    }
}
