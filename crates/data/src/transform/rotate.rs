//! Turned images.

use super::affine::{apply_map, around_the_middle};
use super::{Drawn, Image};
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

impl Drawn for Rotate {
    fn numbers(&self) -> usize {
        6
    }

    fn draw(&self, [_, height, width]: [usize; 3], random: &mut Random, numbers: &mut [f32]) {
        let radians = f64::from(random.between(-self.degrees, self.degrees)).to_radians();
        numbers.copy_from_slice(&turn(radians, height, width));
    }

    fn change(&self, image: &mut Image, numbers: &[f32]) {
        apply_map(image, numbers);
    }
}

fn turn(radians: f64, height: usize, width: usize) -> [f32; 6] {
    let (sine, cosine) = radians.sin_cos();
    around_the_middle([cosine, sine, -sine, cosine], [0.0; 2], height, width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::tests::changed;

    #[test]
    fn right_angles_move_pixels_and_small_ones_keep_the_middle() {
        let mut pixels = [0.1, 0.2, 0.3, 0.4];
        let quarter = turn(std::f64::consts::FRAC_PI_2, 2, 2);
        apply_map(&mut Image { channels: 1, height: 2, width: 2, pixels: &mut pixels }, &quarter);
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
