//! Mirrored images.

use super::drawn::happens;
use super::{Drawn, Image};
use crate::random::Random;

/// Left and right change places with this probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flip {
    /// From 0 to 1.
    pub probability: f32,
}

impl Default for Flip {
    fn default() -> Flip {
        Flip { probability: 0.5 }
    }
}

impl Drawn for Flip {
    fn numbers(&self) -> usize {
        1
    }

    fn draw(&self, _: [usize; 3], random: &mut Random, numbers: &mut [f32]) {
        numbers[0] = happens(random, self.probability);
    }

    fn change(&self, image: &mut Image, numbers: &[f32]) {
        if numbers[0] > 0.0 {
            let width = image.width;
            image.pixels.chunks_exact_mut(width).for_each(|row| row.reverse());
        }
    }
}

/// Above and below change places with this probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlipVertically {
    /// From 0 to 1.
    pub probability: f32,
}

impl Default for FlipVertically {
    fn default() -> FlipVertically {
        FlipVertically { probability: 0.5 }
    }
}

impl Drawn for FlipVertically {
    fn numbers(&self) -> usize {
        1
    }

    fn draw(&self, _: [usize; 3], random: &mut Random, numbers: &mut [f32]) {
        numbers[0] = happens(random, self.probability);
    }

    fn change(&self, image: &mut Image, numbers: &[f32]) {
        if numbers[0] > 0.0 {
            let (height, width) = (image.height, image.width);
            for plane in image.planes() {
                for y in 0..height / 2 {
                    let (above, below) = plane.split_at_mut((height - 1 - y) * width);
                    above[y * width..][..width].swap_with_slice(&mut below[..width]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::tests::changed;

    #[test]
    fn rows_and_columns() {
        let sixths = |numbers: [u8; 6]| numbers.map(|x| f32::from(x) / 6.0).to_vec();
        assert_eq!(changed(&Flip { probability: 1.0 }, [1, 2, 3], 0), sixths([2, 1, 0, 5, 4, 3]));
        assert_eq!(changed(&FlipVertically { probability: 1.0 }, [1, 3, 2], 0), sixths([4, 5, 2, 3, 0, 1]));
        assert_eq!(changed(&FlipVertically { probability: 1.0 }, [3, 2, 1], 0), sixths([1, 0, 3, 2, 5, 4]));
        let flipped = (0..200).filter(|&seed| changed(&Flip::default(), [1, 1, 2], seed)[0] > 0.0).count();
        assert!((70..130).contains(&flipped), "{flipped}");
    }
}
