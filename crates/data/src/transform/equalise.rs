//! Images whose shades are spread.

use super::{Image, Transform};
use crate::random::Random;

/// Spreads the shades of each plane so that all are about as frequent, with this probability. In 256 steps, as
/// torchvision's and Pillow's `equalize`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Equalise {
    /// From 0 to 1.
    pub probability: f32,
}

impl Transform for Equalise {
    fn apply(&self, image: &mut Image, random: &mut Random) {
        if random.unit() < self.probability {
            equalise(image);
        }
    }
}

/// Stretches each plane so that its darkest number is 0 and its lightest 1, with this probability, as torchvision's
/// `autocontrast`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AutoContrast {
    /// From 0 to 1.
    pub probability: f32,
}

impl Transform for AutoContrast {
    fn apply(&self, image: &mut Image, random: &mut Random) {
        if random.unit() < self.probability {
            auto_contrast(image);
        }
    }
}

pub(super) fn equalise(image: &mut Image) {
    let pixels = image.height * image.width;
    for plane in image.planes() {
        // As torchvision makes bytes of numbers.
        let byte = |x: f32| (x.clamp(0.0, 1.0) * 255.999) as u8;
        let mut counts = [0usize; 256];
        plane.iter().for_each(|&x| counts[usize::from(byte(x))] += 1);
        let last = counts.iter().rposition(|&count| count > 0).unwrap_or(0);
        let step = (pixels - counts[last]) / 255;
        // The shade of a byte follows from how many pixels are darker.
        let mut darker = 0;
        let table = counts.map(|count| {
            let shade = (darker + step / 2).checked_div(step).map_or(0, |shade| shade.min(255));
            darker += count;
            shade as f32 / 255.0
        });
        plane.iter_mut().for_each(|x| {
            *x = if step == 0 { f32::from(byte(*x)) / 255.0 } else { table[usize::from(byte(*x))] };
        });
    }
}

pub(super) fn auto_contrast(image: &mut Image) {
    for plane in image.planes() {
        let (least, most) =
            plane.iter().fold((f32::MAX, f32::MIN), |(least, most), &x| (least.min(x), most.max(x)));
        if most > least {
            plane.iter_mut().for_each(|x| *x = ((*x - least) / (most - least)).clamp(0.0, 1.0));
        }
    }
}
