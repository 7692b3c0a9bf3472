//! Which algorithm is the fastest, and other numbers that tune speed. Nothing here matters to correctness.

use super::columns::columns_of_image;
use super::winograd_transform::TILE;
use super::{Algorithm, ConvShape, Direction, supports};
use crate::simd::Level;

/// With at most this many products for each output pixel (taps times channels in), images in the lanes win.
const LANES_PRODUCTS: usize = 250;
/// ... and at most this many output channels: more fill the lanes themselves.
const LANES_CHANNELS: usize = 16;

/// Winograd's transforms pay from this many channels on both sides.
const WINOGRAD_CHANNELS: usize = 16;

/// ... and from so many tiles on: transformed filters are four times as many as plain ones, and read for each of them.
const WINOGRAD_LEAST_TILES: usize = 8;

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

/// Elements of a band of planes that a depthwise convolution transposes, at most where it can be: most of them stay in
/// the cache of a core.
pub(super) const DEPTHWISE_BAND_ELEMENTS: usize = 96 << 10;
/// Pixels that a depthwise convolution computes before it transposes them back.
pub(super) const DEPTHWISE_STAGED_PIXELS: usize = 64;

/// Pixels that the depthwise filter gradient sums over in registers.
pub(super) const DEPTHWISE_SUMMED_PIXELS: usize = 256;

/// Blocks of filters whose packing is worth a thread.
pub(super) const PACK_GRAIN: usize = 8;

/// Elements of the result that a direct convolution finishes before what follows is told: few enough to be in a cache
/// of the core still.
pub(super) const FINISHED_ELEMENTS: usize = 32 << 10;

/// Operations below which the rows of a direct convolution are not worth another thread.
const SPLIT_OPERATIONS: f64 = 1e6;

/// Pixels in a row up to which the rows of a pointwise convolution are joined.
const JOINED_PIXELS: usize = 256;

/// Up to so many images a pointwise convolution goes as a product, ...
const PRODUCT_IMAGES: usize = 4;
/// ... from so many pixels of a plane on.
const PRODUCT_PIXELS: usize = 32;

/// A pointwise convolution with longer rows, where rows may be joined because each pixel sees itself alone: tiles of
/// pixels fit long rows better.
pub(super) fn joined_rows(shape: &ConvShape) -> ConvShape {
    let is_pointwise = shape.kernel == [1; 2]
        && shape.stride == [1; 2]
        && shape.pad_low == [0; 2]
        && shape.pad_high == [0; 2];
    let [height, width] = shape.input;
    let fits = |rows: &usize| height.is_multiple_of(*rows) && rows * width <= JOINED_PIXELS;
    match (1..=height).rev().find(fits) {
        Some(rows) if is_pointwise => ConvShape { input: [height / rows, rows * width], ..*shape },
        _ => *shape,
    }
}

/// Pixels of a tile of two vectors of channels, for rows of so many: the largest tile that fits, unless that computes
/// many pixels twice at the end of a row. Images of 224 pixels have rows of 56, 28, 14 and 7 after a while.
pub(super) fn tile_pixels(row: usize) -> usize {
    match row {
        _ if row.is_multiple_of(14) || row >= 48 => 14,
        7 | 21 => 7,
        _ => 8,
    }
}

/// Into how many bands the rows of a direct convolution are split, so that each thread has something to do: rows are
/// split where the image is larger than the filters, so that no thread reads all of it, and channels are otherwise.
pub(super) fn direct_bands(
    shape: &ConvShape,
    chunks: usize,
    height: usize,
    threads: usize,
    filters: usize,
    image: usize,
) -> usize {
    let enough_images = shape.batch >= threads;
    let enough_channels = shape.batch * chunks >= threads && filters > image;
    if enough_images || enough_channels || shape.flops() < SPLIT_OPERATIONS {
        1
    } else {
        threads.min(height).max(1)
    }
}

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
    let tiles = shape.batch * shape.output().map(|extent| extent.div_ceil(TILE)).iter().product::<usize>();
    let many_tiles = tiles >= WINOGRAD_LEAST_TILES;
    // The direct input gradient of a filter of one tap is as fast as the convolution: 114 GFLOP/s beside 97 by columns
    // on one core of a Zen 4 with 256 and 512 channels.
    let gradient_suits_columns = match direction {
        Direction::Forward => false,
        Direction::InputGradient => shape.kernel != [1; 2],
        Direction::FilterGradient => true,
    };
    let few_pixels = shape.output_plane() <= COLUMN_PIXELS
        && gradient_suits_columns
        && shape.in_channels.min(shape.out_channels) >= COLUMN_CHANNELS;
    if padding_dominates(shape) {
        return Algorithm::General;
    }
    // Lanes that have no channel are idle.
    let fills_lanes = 2 * shape.in_channels > level.lanes();
    let fits = |algorithm| supports(algorithm, direction, shape);
    if fits(Algorithm::Lanes) && (few_channels || few_inputs) && every_thread_has_a_block {
        Algorithm::Lanes
    } else if fits(Algorithm::Depthwise) && fills_lanes {
        Algorithm::Depthwise
    } else if shape.groups == 1 && goes_as_product(shape, direction) {
        Algorithm::Pointwise
    } else if fits(Algorithm::Winograd) && many_channels && many_tiles {
        Algorithm::Winograd
    } else if (shape.groups > 1 || few_pixels) && columns_of_image(shape) <= MOST_COLUMN_ELEMENTS {
        Algorithm::Columns
    } else if fits(Algorithm::Direct) {
        Algorithm::Direct
    } else {
        Algorithm::General
    }
}

/// Whether a pointwise convolution of few images goes as a product: the direct one reads a few pixels of every channel
/// for each tile, a cache line each, where a product packs them once. With many images the direct one shares them among
/// threads, which makes up for that.
fn goes_as_product(shape: &ConvShape, direction: Direction) -> bool {
    supports(Algorithm::Pointwise, direction, shape)
        && shape.stride == [1; 2]
        && shape.batch <= PRODUCT_IMAGES
        && shape.output_plane() >= PRODUCT_PIXELS
}

/// Whether a plane is mostly padding, which would be copied, and take memory, for nothing.
fn padding_dominates(shape: &ConvShape) -> bool {
    let [height, width] = shape.padded();
    let whole = height * width;
    whole > MOST_PADDING && whole / PADDING_RATIO > shape.input_plane() + shape.output_plane()
}
