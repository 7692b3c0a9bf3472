//! Which algorithm is the fastest. Nothing here matters to correctness.

use super::{Algorithm, ConvShape, Direction, supports};
use crate::simd::Level;

/// With at most this many products for each output pixel (taps times channels in), images in the lanes win.
const LANES_PRODUCTS: usize = 250;
/// ... and at most this many output channels: more fill the lanes themselves.
const LANES_CHANNELS: usize = 16;

/// The algorithm that is expected to be the fastest for this case with `threads` threads.
pub fn choose(shape: &ConvShape, direction: Direction, level: Level, threads: usize) -> Algorithm {
    let few_channels = shape.in_channels * shape.kernel.iter().product::<usize>() <= LANES_PRODUCTS
        && shape.out_channels <= LANES_CHANNELS;
    let every_thread_has_a_block = shape.batch >= level.lanes() * threads;
    let fits = |algorithm| supports(algorithm, direction, shape);
    if fits(Algorithm::Lanes) && few_channels && every_thread_has_a_block {
        Algorithm::Lanes
    } else {
        Algorithm::General
    }
}
