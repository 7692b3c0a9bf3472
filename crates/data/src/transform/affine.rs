//! Images that are turned, moved, scaled and sheared.

use super::{Image, Transform};
use crate::random::Random;

/// Turns, moves, scales and shears the image about its middle, each by a random amount, bilinear; what comes in is black.
/// As torchvision's `RandomAffine`.
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

impl Transform for Affine {
    fn apply(&self, image: &mut Image, random: &mut Random) {
        let mut either = |most: f32| random.between(-most, most);
        let motion = Motion {
            degrees: either(self.degrees),
            right: either(self.shift) * image.width as f32,
            down: either(self.shift) * image.height as f32,
            scale: (1.0 + either(self.scale)).max(1e-3),
            shear: [either(self.shear), 0.0],
        };
        motion.apply(image);
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
        // The inverse of the motion, as torchvision writes it: rotation · shear, whose determinant is 1, over the scale.
        let [turn, along, across] = [self.degrees, self.shear[0], self.shear[1]].map(f32::to_radians);
        let (sine, cosine) = (turn - across).sin_cos();
        let a = cosine / across.cos();
        let b = -cosine * along.tan() / across.cos() - turn.sin();
        let c = sine / across.cos();
        let d = -sine * along.tan() / across.cos() + turn.cos();
        let (middle_x, middle_y) = (image.width as f32 / 2.0, image.height as f32 / 2.0);
        let Motion { right, down, scale, .. } = *self;
        image.sample_from(|x, y| {
            let (x, y) = (x - middle_x - right, y - middle_y - down);
            ((d * x - b * y) / scale + middle_x, (a * y - c * x) / scale + middle_y)
        });
    }
}
