//! Images whose light parts are turned round.

use super::{Image, Transform};
use crate::random::Random;

/// Numbers from `threshold` on become `1 − x`, with this probability, as torchvision's `solarize`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Solarise {
    /// From 0 to 1.
    pub threshold: f32,
    /// From 0 to 1.
    pub probability: f32,
}

impl Transform for Solarise {
    fn apply(&self, image: &mut Image, random: &mut Random) {
        if random.unit() < self.probability {
            solarise(image, self.threshold);
        }
    }
}

pub(super) fn solarise(image: &mut Image, threshold: f32) {
    image.pixels.iter_mut().filter(|x| **x >= threshold).for_each(|x| *x = 1.0 - *x);
}
