//! Images of which a part is hidden.

use super::{Image, Transform};
use crate::random::Random;

/// Hides a rectangle of 2 to 33 % of the image behind random pixels, with this probability (Zhong et al.: Random erasing
/// data augmentation, 2020).
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

impl Transform for Erase {
    fn apply(&self, image: &mut Image, random: &mut Random) {
        if random.unit() >= self.probability {
            return;
        }
        let part = random.between(0.02, 0.33);
        let proportion = random.between(1.0, 3.3);
        let proportion = if random.below(2) == 0 { proportion } else { 1.0 / proportion };
        let side = |extent: usize, part: f32| ((extent as f32 * part.sqrt()) as usize).clamp(1, extent);
        let (height, width) = (side(image.height, part * proportion), side(image.width, part / proportion));
        let top = random.below(image.height - height + 1);
        let left = random.below(image.width - width + 1);
        let row_len = image.width;
        for plane in image.planes() {
            for row in plane.chunks_exact_mut(row_len).skip(top).take(height) {
                row[left..left + width].iter_mut().for_each(|x| *x = random.unit());
            }
        }
    }
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
