//! Images of which a part is hidden.

use super::{Drawn, Image};
use crate::random::Random;

/// Hides a rectangle of 2 to 33 % of the image behind random pixels, with this probability (Zhong et al.: Random
/// erasing data augmentation, 2020).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Erase {
    /// From 0 to 1.
    pub probability: f32,
}

impl Erase {
    /// With this probability, 0 to 1.
    pub fn new(probability: f32) -> Erase {
        Erase { probability }
    }
}

impl Drawn for Erase {
    fn numbers(&self) -> usize {
        5
    }

    /// The first and behind the last row and column, all 0 if nothing is hidden, and a key of the pixels.
    fn draw(&self, [_, height, width]: [usize; 3], random: &mut Random, numbers: &mut [f32]) {
        numbers.fill(0.0);
        if random.unit() >= self.probability {
            return;
        }
        let part = random.between(0.02, 0.33);
        let proportion = random.between(1.0, 3.3);
        let proportion = if random.below(2) == 0 { proportion } else { 1.0 / proportion };
        let side = |extent: usize, part: f32| ((extent as f32 * part.sqrt()) as usize).clamp(1, extent);
        let (rows, columns) = (side(height, part * proportion), side(width, part / proportion));
        let top = random.below(height - rows + 1);
        let left = random.below(width - columns + 1);
        let ends = [top, top + rows, left, left + columns].map(|end| end as f32);
        numbers[..4].copy_from_slice(&ends);
        // Few enough bits for f32.
        numbers[4] = (random.bits() >> 40) as f32;
    }

    fn change(&self, image: &mut Image, numbers: &[f32]) {
        let [top, bottom, left, right] = [0, 1, 2, 3].map(|i| numbers[i] as usize);
        let (height, width) = (image.height, image.width);
        for (channel, plane) in image.planes().enumerate() {
            for y in top..bottom {
                for x in left..right {
                    let place = (channel * height + y) * width + x;
                    plane[y * width + x] = fill(numbers[4] as u32, place as u32);
                }
            }
        }
    }
}

/// What the numbers behind an erased rectangle are made of, here and on devices: what two places differ by, and the
/// multipliers of Wellons' `lowbias32` (public domain), whose shifts are 16, 15 and 16.
pub const FILL: [u32; 3] = [0x9e37_79b9, 0x7feb_352d, 0x846c_a68b];

/// A number from 0 to 1 for a place behind a rectangle; 32 bits are enough, so that any device can make it.
fn fill(key: u32, place: u32) -> f32 {
    let mut bits = place.wrapping_mul(FILL[0]).wrapping_add(key);
    bits = (bits ^ (bits >> 16)).wrapping_mul(FILL[1]);
    bits = (bits ^ (bits >> 15)).wrapping_mul(FILL[2]);
    bits ^= bits >> 16;
    (bits >> 8) as f32 / (1u32 << 24) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::tests::changed;

    #[test]
    fn one_rectangle_changes() {
        let plain: Vec<f32> = (0..256).map(|i| i as f32 / 256.0).collect();
        for seed in 0..50 {
            let erased = changed(&Erase::new(1.0), [1, 16, 16], seed);
            let places: Vec<usize> = (0..256).filter(|&at| erased[at] != plain[at]).collect();
            let (rows, columns) = (|at: usize| at / 16, |at: usize| at % 16);
            let span = |of: &dyn Fn(usize) -> usize| {
                let of: Vec<usize> = places.iter().map(|&at| of(at)).collect();
                of.iter().max().unwrap() - of.iter().min().unwrap() + 1
            };
            let area = span(&rows) * span(&columns);
            assert!(
                area <= 256 * 36 / 100 && area <= places.len() + 3,
                "seed {seed}: {} of {area}",
                places.len()
            );
        }
        assert_eq!(changed(&Erase::new(0.0), [1, 16, 16], 3), plain);
        changed(&Erase::new(1.0), [3, 1, 1], 3);
    }
}
