//! Images out of focus, and too much in it.

use super::room::{with_copy, with_room};
use super::{Image, Transform};
use crate::random::Random;

/// Blurs by a Gaussian bell whose deviation is drawn between two numbers of pixels, as torchvision's `GaussianBlur`:
/// the bell is cut off at three deviations, and the image is mirrored at its edges.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Blur {
    /// Least deviation, in pixels.
    pub least: f32,
    /// Largest deviation, in pixels.
    pub most: f32,
    /// Of each image, from 0 to 1.
    pub probability: f32,
}

impl Transform for Blur {
    fn apply(&self, image: &mut Image, random: &mut Random) {
        if random.unit() < self.probability {
            let deviation = random.between(self.least, self.most.max(self.least));
            if deviation > 0.0 {
                let reach = (3.0 * deviation).ceil() as usize;
                blur(image, reach.max(1), deviation);
            }
        }
    }
}

/// Sharpens by a random factor from 1 to `1 + most`, or blurs by one from `1 − most` to 1, as torchvision's
/// `adjust_sharpness`: the factor of the distance from the mean of the 3 × 3 pixels around, of which the middle counts
/// five times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sharpen {
    /// How far the factor is from 1.
    pub most: f32,
}

impl Transform for Sharpen {
    fn apply(&self, image: &mut Image, random: &mut Random) {
        sharpen(image, random.between(1.0 - self.most, 1.0 + self.most).max(0.0));
    }
}

/// Blurs over `2 · reach + 1` pixels each way.
pub(super) fn blur(image: &mut Image, reach: usize, deviation: f32) {
    let count = 2 * reach + 1;
    with_room(count + image.height * image.width, |room| {
        let (bell, rows) = room.split_at_mut(count);
        for (i, weight) in bell.iter_mut().enumerate() {
            *weight = (-0.5 * ((i as f32 - reach as f32) / deviation).powi(2)).exp();
        }
        blur_by(image, reach, bell, rows);
    });
}

/// With these weights, and room for a plane.
fn blur_by(image: &mut Image, reach: usize, bell: &[f32], rows: &mut [f32]) {
    let sum: f32 = bell.iter().sum();
    let (height, width) = (image.height, image.width);
    let mirrored = |at: isize, extent: usize| {
        let period = 2 * (extent as isize - 1).max(1);
        let at = at.rem_euclid(period);
        if extent == 1 { 0 } else { at.min(period - at) as usize }
    };
    for plane in image.planes() {
        for (place, out) in rows.iter_mut().enumerate() {
            let (y, x) = (place / width, (place % width) as isize - reach as isize);
            let row = &plane[y * width..][..width];
            *out = (0..).zip(bell).map(|(i, weight)| weight * row[mirrored(x + i, width)]).sum::<f32>() / sum;
        }
        for (place, out) in plane.iter_mut().enumerate() {
            let (x, y) = (place % width, (place / width) as isize - reach as isize);
            let column =
                (0..).zip(bell).map(|(i, weight)| weight * rows[mirrored(y + i, height) * width + x]);
            *out = column.sum::<f32>() / sum;
        }
    }
}

pub(super) fn sharpen(image: &mut Image, factor: f32) {
    let (height, width) = (image.height, image.width);
    if height < 3 || width < 3 {
        return;
    }
    for plane in image.planes() {
        with_copy(plane, |plane, before| {
            for y in 1..height - 1 {
                for x in 1..width - 1 {
                    let around: f32 = (0..9).map(|i| before[(y + i / 3 - 1) * width + x + i % 3 - 1]).sum();
                    let middle = before[y * width + x];
                    let mean = (around + 4.0 * middle) / 13.0;
                    plane[y * width + x] = mean + factor * (middle - mean);
                }
            }
        });
        plane.iter_mut().for_each(|x| *x = x.clamp(0.0, 1.0));
    }
}
