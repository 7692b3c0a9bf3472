//! Images that are turned, moved, scaled and sheared.

use super::{Drawn, Image};
use crate::random::Random;

/// Turns, moves, scales and shears the image about its middle, each by a random amount, bilinear; what comes in is
/// black. As torchvision's `RandomAffine`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// Most degrees, either way.
    pub degrees: f32,
    /// Most of its height and width that it is moved by, either way.
    pub shift: f32,
    /// How far the factor of its size is from 1, 0 up to 1.
    pub scale: f32,
    /// Most degrees of shearing, either way.
    pub shear: f32,
}

impl Drawn for Affine {
    fn numbers(&self) -> usize {
        6
    }

    fn draw(&self, [_, height, width]: [usize; 3], random: &mut Random, numbers: &mut [f32]) {
        let mut either = |most: f32| random.between(-most, most);
        let motion = Motion {
            degrees: either(self.degrees),
            right: either(self.shift) * width as f32,
            down: either(self.shift) * height as f32,
            scale: (1.0 + either(self.scale)).max(1e-3),
            shear: [either(self.shear), 0.0],
        };
        numbers.copy_from_slice(&motion.map(height, width));
    }

    fn change(&self, image: &mut Image, numbers: &[f32]) {
        apply_map(image, numbers);
    }
}

/// What is done to an image about its middle: sheared, turned clockwise, scaled and moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Motion {
    pub degrees: f32,
    /// Pixels.
    pub right: f32,
    pub down: f32,
    pub scale: f32,
    /// Degrees along the rows and along the columns.
    pub shear: [f32; 2],
}

impl Default for Motion {
    fn default() -> Motion {
        Motion { degrees: 0.0, right: 0.0, down: 0.0, scale: 1.0, shear: [0.0; 2] }
    }
}

impl Motion {
    pub fn apply(&self, image: &mut Image) {
        apply_map(image, &self.map(image.height, image.width));
    }

    /// Where a pixel comes from, for [`apply_map`].
    fn map(&self, height: usize, width: usize) -> [f32; 6] {
        // The inverse of the motion, as torchvision writes it: rotation · shear, whose determinant is 1, over the
        // scale.
        let [turn, along, across] =
            [self.degrees, self.shear[0], self.shear[1]].map(|degrees| f64::from(degrees).to_radians());
        let (sine, cosine) = (turn - across).sin_cos();
        let a = cosine / across.cos();
        let b = -cosine * along.tan() / across.cos() - turn.sin();
        let c = sine / across.cos();
        let d = -sine * along.tan() / across.cos() + turn.cos();
        let scale = f64::from(self.scale);
        around_the_middle([d, -b, -c, a].map(|x| x / scale), [self.right, self.down], height, width)
    }
}

/// Two rows, each with the factors of column and row and what is added, of the map that says where pixels come from:
/// they are moved back by a shift and then turned about the middle, by a matrix whose rows come first.
pub(super) fn around_the_middle(
    [a, b, c, d]: [f64; 4],
    [right, down]: [f32; 2],
    height: usize,
    width: usize,
) -> [f32; 6] {
    let (middle_x, middle_y) = (width as f64 / 2.0, height as f64 / 2.0);
    let (x, y) = (middle_x + f64::from(right), middle_y + f64::from(down));
    [a, b, middle_x - a * x - b * y, c, d, middle_y - c * x - d * y].map(|x| x as f32)
}

/// Gives each pixel what lies where the map says: two rows, each with the factors of column and row and what is added.
pub(super) fn apply_map(image: &mut Image, map: &[f32]) {
    let [a, b, e, c, d, f] = [0, 1, 2, 3, 4, 5].map(|i| map[i]);
    image.sample_from(|x, y| (a * x + b * y + e, c * x + d * y + f));
}
