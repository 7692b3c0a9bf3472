//! Images on rubber.

use super::{Image, Transform};
use crate::random::Random;
use crate::transform::blur::blur;

/// Moves each pixel by a random amount that changes slowly from place to place: random numbers from −1 to 1, blurred
/// with a deviation of `smooth` pixels, times `strength` pixels (Simard et al.: Best practices for convolutional neural
/// networks, 2003); bilinear, what comes in is black. As torchvision's `ElasticTransform`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Elastic {
    /// Pixels.
    pub strength: f32,
    /// Deviation of the blur, in pixels.
    pub smooth: f32,
}

impl Transform for Elastic {
    fn apply(&self, image: &mut Image, random: &mut Random) {
        let (height, width) = (image.height, image.width);
        let mut moves: Vec<f32> = (0..2 * height * width).map(|_| random.between(-1.0, 1.0)).collect();
        if self.smooth > 0.0 {
            let reach = (3.0 * self.smooth).ceil().max(1.0) as usize;
            blur(&mut Image { channels: 2, height, width, pixels: &mut moves }, reach, self.smooth);
        }
        stretch(image, &moves, self.strength);
    }
}

/// Moves each pixel by its own amounts, to the right and then down, times `strength` pixels.
pub(super) fn stretch(image: &mut Image, moves: &[f32], strength: f32) {
    let (height, width) = (image.height, image.width);
    image.sample_from(|x, y| {
        let at = (y as usize).min(height - 1) * width + (x as usize).min(width - 1);
        (x + strength * moves[at], y + strength * moves[height * width + at])
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::tests::changed;

    #[test]
    fn pixels_move_a_little_and_together() {
        let plain: Vec<f32> = (0..400).map(|i| i as f32 / 400.0).collect();
        assert_eq!(changed(&Elastic { strength: 0.0, smooth: 3.0 }, [1, 20, 20], 2), plain);
        let moved = changed(&Elastic { strength: 10.0, smooth: 3.0 }, [1, 20, 20], 2);
        assert_ne!(moved, plain);
        // Inside, a ramp stays nearly one: no pixel goes further than its neighbours by more than a little.
        for y in 6..14 {
            for x in 6..14 {
                let step = moved[y * 20 + x + 1] - moved[y * 20 + x];
                assert!(step.abs() < 0.05, "{step}");
            }
        }
    }
}
