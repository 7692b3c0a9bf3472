//! Which algorithm is the fastest. Nothing here matters to correctness.

use super::{Algorithm, ConvShape, Direction};
use crate::simd::Level;

/// The algorithm that is expected to be the fastest for this case with `threads` threads.
pub fn choose(_shape: &ConvShape, _direction: Direction, _level: Level, _threads: usize) -> Algorithm {
    Algorithm::General
}
