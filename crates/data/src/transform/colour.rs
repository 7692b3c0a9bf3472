//! Other light and other colours.

use super::drawn::happens;
use super::{Drawn, Image};
use crate::random::Random;

/// Changes brightness, contrast and saturation, each by a factor from `1 − x` to `1 + x`, and the hue, in this order.
/// Formulas are torchvision's; grey is by the weights 0.2989, 0.587 and 0.114.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ColourJitter {
    /// How far the factor of all numbers is from 1.
    pub brightness: f32,
    /// How far the factor of the distance from the mean grey is from 1.
    pub contrast: f32,
    /// How far the factor of the distance of each pixel from its grey is from 1.
    pub saturation: f32,
    /// Most parts of the circle of colours that they are turned by, either way, 0 to 0.5.
    pub hue: f32,
}

impl Drawn for ColourJitter {
    fn numbers(&self) -> usize {
        4
    }

    fn draw(&self, _: [usize; 3], random: &mut Random, numbers: &mut [f32]) {
        for (number, most) in numbers.iter_mut().zip([self.brightness, self.contrast, self.saturation]) {
            *number = random.between(1.0 - most, 1.0 + most).max(0.0);
        }
        numbers[3] = if self.hue > 0.0 { random.between(-self.hue, self.hue) } else { 0.0 };
    }

    fn change(&self, image: &mut Image, numbers: &[f32]) {
        brightness(image, numbers[0]);
        if self.contrast > 0.0 {
            contrast(image, numbers[1]);
        }
        if self.saturation > 0.0 {
            saturation(image, numbers[2]);
        }
        if self.hue > 0.0 {
            hue(image, numbers[3]);
        }
    }
}

pub(super) fn brightness(image: &mut Image, factor: f32) {
    image.pixels.iter_mut().for_each(|x| *x = (*x * factor).clamp(0.0, 1.0));
}

pub(super) fn contrast(image: &mut Image, factor: f32) {
    let pixels = image.height * image.width;
    let mean = (0..pixels).map(|at| grey(image, at)).sum::<f32>() / pixels as f32;
    image.pixels.iter_mut().for_each(|x| *x = (mean + (*x - mean) * factor).clamp(0.0, 1.0));
}

/// Turns the colours of the circle by a part of it.
pub(super) fn hue(image: &mut Image, part: f32) {
    let pixels = image.height * image.width;
    for at in 0..if image.channels == 3 { pixels } else { 0 } {
        let [red, green, blue] = [0, 1, 2].map(|channel| image.pixels[channel * pixels + at]);
        let (most, least) = (red.max(green).max(blue), red.min(green).min(blue));
        let span = most - least;
        if span <= 0.0 {
            continue;
        }
        // In sixths of the circle (Smith: Color gamut transform pairs, 1978).
        let place = if most == red {
            (green - blue) / span
        } else if most == green {
            2.0 + (blue - red) / span
        } else {
            4.0 + (red - green) / span
        };
        let place = (place / 6.0 + part).rem_euclid(1.0) * 6.0;
        for (channel, turn) in [5.0f32, 3.0, 1.0].into_iter().enumerate() {
            let along = (turn + place).rem_euclid(6.0);
            let colour = most - span * along.min(4.0 - along).clamp(0.0, 1.0);
            image.pixels[channel * pixels + at] = colour.clamp(0.0, 1.0);
        }
    }
}

/// Takes all colour away with this probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grey {
    /// From 0 to 1.
    pub probability: f32,
}

impl Drawn for Grey {
    fn numbers(&self) -> usize {
        1
    }

    fn draw(&self, _: [usize; 3], random: &mut Random, numbers: &mut [f32]) {
        numbers[0] = happens(random, self.probability);
    }

    fn change(&self, image: &mut Image, numbers: &[f32]) {
        if numbers[0] > 0.0 {
            saturation(image, 0.0);
        }
    }
}

fn grey(image: &Image, at: usize) -> f32 {
    let pixels = image.height * image.width;
    match image.channels {
        3 => {
            0.2989 * image.pixels[at]
                + 0.587 * image.pixels[pixels + at]
                + 0.114 * image.pixels[2 * pixels + at]
        }
        _ => image.pixels[at],
    }
}

/// Keeps this part of the distance of each pixel from its grey.
pub(super) fn saturation(image: &mut Image, part: f32) {
    let pixels = image.height * image.width;
    for at in 0..if image.channels == 3 { pixels } else { 0 } {
        let grey = grey(image, at);
        for channel in 0..3 {
            let x = &mut image.pixels[channel * pixels + at];
            *x = (grey + (*x - grey) * part).clamp(0.0, 1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::tests::changed;

    #[test]
    fn each_factor_alone() {
        let plain: Vec<f32> = (0..12).map(|i| i as f32 / 12.0).collect();
        assert_eq!(changed(&ColourJitter::default(), [3, 2, 2], 1), plain);
        let bright = changed(&ColourJitter { brightness: 0.5, ..Default::default() }, [3, 2, 2], 1);
        let factor = bright[1] / plain[1];
        assert!((0.5..1.5).contains(&factor));
        assert!(bright.iter().zip(&plain).all(|(a, b)| (a - (b * factor).min(1.0)).abs() < 1e-6));
        let weighed = |x: &[f32], at: usize| 0.2989 * x[at] + 0.587 * x[4 + at] + 0.114 * x[8 + at];
        let jitter = ColourJitter { saturation: 0.9, ..Default::default() };
        let results = (0..20).map(|seed| changed(&jitter, [3, 2, 2], seed));
        // Less colour leaves the grey as it is; more of it ends at 0, where the first pixel has no red.
        let pale: Vec<Vec<f32>> = results.filter(|pixels| pixels[0] > 0.0).collect();
        assert!(pale.len() > 3);
        let keeps = |pixels: &Vec<f32>, at| (weighed(pixels, at) - weighed(&plain, at)).abs() < 1e-3;
        assert!(pale.iter().all(|pixels| (0..4).all(|at| keeps(pixels, at))));
        let grey = changed(&Grey { probability: 1.0 }, [3, 2, 2], 1);
        assert!((0..4).all(|at| grey[at] == grey[4 + at] && grey[at] == grey[8 + at]));
        assert_eq!(changed(&Grey { probability: 1.0 }, [1, 3, 4], 1), plain);
    }
}
