//! Which algorithm is the fastest, and other numbers that tune speed. Nothing here matters to correctness.

use super::columns::columns_of_image;
use super::{Algorithm, ConvShape, Direction, supports};
use crate::simd::Level;

/// With at most this many products for each output pixel (taps times channels in), images in the lanes win.
const LANES_PRODUCTS: usize = 250;
/// ... and at most this many output channels: more fill the lanes themselves.
const LANES_CHANNELS: usize = 16;

/// Winograd's transforms pay from this many channels on both sides.
const WINOGRAD_CHANNELS: usize = 16;

/// Tiles that go through Winograd's transforms together, so that they stay in the cache of a core.
pub(super) const WINOGRAD_TILES: usize = 64;
/// Blocks of target channels that a thread computes together when threads split the channels.
pub(super) const WINOGRAD_BLOCKS: usize = 2;
/// From this many filters on, transformed filters are what fills the caches.
const WINOGRAD_FILTERS: usize = 192 * 192;

/// Target pixels that the direct convolution computes before it brings them into their layout.
pub(super) const DIRECT_STAGED_PIXELS: usize = 64;
/// Above this many filter elements the direct convolution keeps some filters in the cache for all images, rather than
/// an image for all filters.
pub(super) const DIRECT_FILTER_ELEMENTS: usize = 128 << 10;
/// Pixels that the direct filter gradient sums over before it goes on to other channels.
pub(super) const DIRECT_SUMMED_PIXELS: usize = 256;

/// From this many elements of padding on, in a plane, and ...
const MOST_PADDING: usize = 1 << 16;
/// ... this many times as many as the planes hold otherwise, images are not copied with their padding.
const PADDING_RATIO: usize = 8;

/// Elements of columns at a time, so that they stay in a cache.
pub(super) const COLUMN_ELEMENTS: usize = 4 << 20;
/// Elements of columns of one image, at most: beyond, their memory costs more than the time they save.
const MOST_COLUMN_ELEMENTS: usize = 64 << 20;
/// Pixels in a row from which rows are moved into columns rather than pixels.
pub(super) const COLUMN_RUN: usize = 8;
/// With at most so many pixels in an output plane the direct gradients have too little to do in a row, ...
const COLUMN_PIXELS: usize = 16;
/// ... and from so many channels on both sides moving columns is little beside the product.
const COLUMN_CHANNELS: usize = 128;

/// Whether the threads of a Winograd convolution split the target channels rather than the tiles.
pub(super) fn winograd_splits_channels(
    sources: usize,
    targets: usize,
    blocks: usize,
    threads: usize,
) -> bool {
    sources * targets >= WINOGRAD_FILTERS && blocks >= threads * WINOGRAD_BLOCKS
}

/// The algorithm that is expected to be the fastest for this case with `threads` threads.
pub fn choose(shape: &ConvShape, direction: Direction, level: Level, threads: usize) -> Algorithm {
    let few_channels = shape.in_channels * shape.kernel.iter().product::<usize>() <= LANES_PRODUCTS
        && shape.out_channels <= LANES_CHANNELS;
    // The input gradient has the input's channels in the lanes of the other algorithms.
    let few_inputs = direction == Direction::InputGradient && 2 * shape.in_channels <= level.lanes();
    let every_thread_has_a_block = shape.batch >= level.lanes() * threads;
    let many_channels = shape.in_channels.min(shape.out_channels) >= WINOGRAD_CHANNELS;
    let few_pixels = shape.output_plane() <= COLUMN_PIXELS
        && direction != Direction::Forward
        && shape.in_channels.min(shape.out_channels) >= COLUMN_CHANNELS;
    if padding_dominates(shape) {
        return Algorithm::General;
    }
    let fits = |algorithm| supports(algorithm, direction, shape);
    if fits(Algorithm::Lanes) && (few_channels || few_inputs) && every_thread_has_a_block {
        Algorithm::Lanes
    } else if fits(Algorithm::Winograd) && many_channels {
        Algorithm::Winograd
    } else if (shape.groups > 1 || few_pixels) && columns_of_image(shape) <= MOST_COLUMN_ELEMENTS {
        Algorithm::Columns
    } else if fits(Algorithm::Direct) {
        Algorithm::Direct
    } else {
        Algorithm::General
    }
}

/// Whether a plane is mostly padding, which would be copied, and take memory, for nothing.
fn padding_dominates(shape: &ConvShape) -> bool {
    let [height, width] = shape.padded();
    let whole = height * width;
    whole > MOST_PADDING && whole / PADDING_RATIO > shape.input_plane() + shape.output_plane()
}
