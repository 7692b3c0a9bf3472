//! Turned images.

use super::{Image, Transform};
use crate::random::Random;

/// Turns the image about its middle by up to so many degrees either way, bilinear; what comes in is black.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rotate {
    /// Most degrees, either way.
    pub degrees: f32,
}

impl Rotate {
    /// Up to so many degrees.
    pub fn new(degrees: f32) -> Rotate {
        Rotate { degrees }
    }
}

impl Transform for Rotate {
    fn apply(&self, image: &mut Image, random: &mut Random) {
        let (sine, cosine) = random.between(-self.degrees, self.degrees).to_radians().sin_cos();
        turn(image, sine, cosine);
    }
}

fn turn(image: &mut Image, sine: f32, cosine: f32) {
    let (middle_x, middle_y) = (image.width as f32 / 2.0, image.height as f32 / 2.0);
    image.sample_from(|x, y| {
        let (x, y) = (x - middle_x, y - middle_y);
        (cosine * x + sine * y + middle_x, cosine * y - sine * x + middle_y)
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::tests::changed;

    #[test]
    fn right_angles_move_pixels_and_small_ones_keep_the_middle() {
        let mut pixels = [0.1, 0.2, 0.3, 0.4];
        turn(&mut Image { channels: 1, height: 2, width: 2, pixels: &mut pixels }, 1.0, 0.0);
        let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(close(&pixels, &[0.3, 0.1, 0.4, 0.2]) || close(&pixels, &[0.2, 0.4, 0.1, 0.3]), "{pixels:?}");
        for seed in 0..20 {
            let turned = changed(&Rotate::new(15.0), [1, 5, 5], seed);
            assert!((turned[12] - 12.0 / 25.0).abs() < 1e-6);
        }
        let plain = changed(&Rotate::new(0.0), [1, 3, 4], 0);
        assert!(close(&plain, &(0..12).map(|i| i as f32 / 12.0).collect::<Vec<_>>()));
    }
}
