//! Parts of images, at random places.

use super::room::with_copy;
use super::{Drawn, Image};
use crate::random::Random;

/// Moves the image by up to `padding` pixels each way; what comes in is black. The same as padding and a crop of the
/// old size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RandomCrop {
    /// Pixels.
    pub padding: usize,
}

impl RandomCrop {
    /// Up to so many pixels.
    pub fn new(padding: usize) -> RandomCrop {
        RandomCrop { padding }
    }
}

impl Drawn for RandomCrop {
    fn numbers(&self) -> usize {
        2
    }

    /// How many pixels down and to the right.
    fn draw(&self, [_, height, width]: [usize; 3], random: &mut Random, numbers: &mut [f32]) {
        for (number, extent) in numbers.iter_mut().zip([height, width]) {
            let most = self.padding.min(extent);
            *number = random.below(2 * most + 1) as f32 - most as f32;
        }
    }

    fn change(&self, image: &mut Image, numbers: &[f32]) {
        let (down, right) = (numbers[0] as isize, numbers[1] as isize);
        let (height, width) = (image.height, image.width);
        for plane in image.planes() {
            with_copy(plane, |plane, before| {
                for (y, row) in plane.chunks_exact_mut(width).enumerate() {
                    row.fill(0.0);
                    let Some(from) = y.checked_add_signed(-down).filter(|&y| y < height) else { continue };
                    let from = &before[from * width..][..width];
                    let count = width - right.unsigned_abs();
                    let (to_start, from_start) = (right.max(0) as usize, (-right).max(0) as usize);
                    row[to_start..to_start + count].copy_from_slice(&from[from_start..from_start + count]);
                }
            });
        }
    }
}

/// A part of the image, scaled back to its size: between `least` and all of the area, with sides in a proportion of up
/// to `4 : 3` (Szegedy et al.: Going deeper with convolutions, 2015).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandomResizedCrop {
    /// The least part of the area, 0 to 1.
    pub least: f32,
}

impl RandomResizedCrop {
    /// At least this part of the area, 0 to 1.
    pub fn new(least: f32) -> RandomResizedCrop {
        RandomResizedCrop { least: least.clamp(0.0, 1.0) }
    }
}

impl Default for RandomResizedCrop {
    fn default() -> RandomResizedCrop {
        RandomResizedCrop::new(0.08)
    }
}

impl Drawn for RandomResizedCrop {
    fn numbers(&self) -> usize {
        4
    }

    /// The left and upper end of the part, and its width and height, in pixels.
    fn draw(&self, [_, height, width]: [usize; 3], random: &mut Random, numbers: &mut [f32]) {
        let (full_width, full_height) = (width as f32, height as f32);
        let part = self.least + (1.0 - self.least) * random.unit();
        // Proportions as likely one way as the other.
        let proportion = random.between(1.0, 4.0 / 3.0);
        let proportion = if random.below(2) == 0 { proportion } else { 1.0 / proportion };
        let width = (full_width * (part * proportion).sqrt()).clamp(1.0, full_width);
        let height = (full_height * (part / proportion).sqrt()).clamp(1.0, full_height);
        let (left, top) = ((full_width - width) * random.unit(), (full_height - height) * random.unit());
        numbers.copy_from_slice(&[left, top, width, height]);
    }

    fn change(&self, image: &mut Image, numbers: &[f32]) {
        let (full_width, full_height) = (image.width as f32, image.height as f32);
        // Places stay where all four pixels around are inside, so that no black comes in.
        let along =
            |at: f32, start: f32, extent: f32, full: f32| (start + at * extent / full).clamp(0.5, full - 0.5);
        let [left, top, width, height] = [0, 1, 2, 3].map(|i| numbers[i]);
        image.sample_from(|x, y| (along(x, left, width, full_width), along(y, top, height, full_height)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::tests::changed;

    #[test]
    fn a_shift_keeps_what_stays_inside() {
        let mut seen = std::collections::HashSet::new();
        for seed in 0..400 {
            let moved = changed(&RandomCrop::new(1), [1, 3, 3], seed);
            // The middle comes from one of the nine pixels around it, the rest beside it.
            let from = (moved[4] * 9.0).round() as isize;
            seen.insert(from);
            for (place, &pixel) in moved.iter().enumerate() {
                let (x, y) = (place as isize % 3 + from % 3 - 1, place as isize / 3 + from / 3 - 1);
                let inside = (0..3).contains(&x) && (0..3).contains(&y);
                let expected = if inside { (y * 3 + x) as f32 / 9.0 } else { 0.0 };
                assert_eq!(pixel, expected, "seed {seed}, place {place}");
            }
        }
        assert_eq!(seen.len(), 9);
        let plain = changed(&RandomCrop::new(0), [2, 2, 3], 1);
        assert_eq!(plain, (0..12).map(|i| i as f32 / 12.0).collect::<Vec<_>>());
        // More than the image has moves it out of sight at most.
        changed(&RandomCrop::new(99), [1, 2, 3], 1);
    }

    #[test]
    fn a_part_fills_the_image() {
        for seed in 0..50 {
            let part = changed(&RandomResizedCrop::default(), [1, 8, 8], seed);
            assert!(part.iter().all(|x| (0.0..=63.0 / 64.0).contains(x)));
            // Still a ramp: it rises along both axes.
            assert!(part[63] >= part[0] && (0..8).all(|y| part[y * 8 + 7] >= part[y * 8]));
        }
    }
}
