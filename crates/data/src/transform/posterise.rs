//! Images of few shades.

use super::{Image, Transform};
use crate::random::Random;

/// Leaves so many bits of each number, with this probability: `floor(x · 2^bits) / 2^bits`, as torchvision's
/// `posterize`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Posterise {
    /// Of each number, 1 to 8.
    pub bits: u32,
    /// From 0 to 1.
    pub probability: f32,
}

impl Transform for Posterise {
    fn apply(&self, image: &mut Image, random: &mut Random) {
        if random.unit() < self.probability {
            posterise(image, self.bits);
        }
    }
}

pub(super) fn posterise(image: &mut Image, bits: u32) {
    let levels = (1u32 << bits.clamp(1, 8)) as f32;
    image.pixels.iter_mut().for_each(|x| *x = (*x * levels).floor().clamp(0.0, levels - 1.0) / levels);
}
