//! Random changes picked from a list.

use super::affine::{Motion, apply_map};
use super::blur::sharpen;
use super::colour::{brightness, contrast, saturation};
use super::equalise::{auto_contrast, equalise};
use super::posterise::posterise;
use super::solarise::solarise;
use super::{Image, Transform};
use crate::random::Random;

/// A number of changes, each picked at random from fourteen, all of the same strength (Cubuk et al.: RandAugment,
/// 2020). Changes and their strengths are torchvision's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RandAugment {
    /// How many one after another.
    pub changes: usize,
    /// Strength, 0 to 30.
    pub strength: usize,
}

impl Transform for RandAugment {
    fn apply(&self, image: &mut Image, random: &mut Random) {
        for _ in 0..self.changes {
            let (change, way) = (pick(random), way(random));
            change.apply(image, part(self.strength), &GENTLE, way);
        }
    }
}

/// One change, picked at random from fourteen, of a random strength from none to far (Müller and Hutter:
/// TrivialAugment, 2021). Changes and their strengths are torchvision's `TrivialAugmentWide`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrivialAugment;

impl Transform for TrivialAugment {
    fn apply(&self, image: &mut Image, random: &mut Random) {
        let change = pick(random);
        let strength = random.below(STRONGEST + 1);
        change.apply(image, part(strength), &WIDE, way(random));
    }
}

/// Strengths go from 0 to this.
const STRONGEST: usize = 30;

/// A strength as a part of the full one.
pub(super) fn part(strength: usize) -> f32 {
    strength.min(STRONGEST) as f32 / STRONGEST as f32
}

/// How far changes go at full strength.
pub(super) struct Reach {
    /// Tangent of the angle.
    shear: f32,
    degrees: f32,
    /// Distance of a factor from 1.
    factor: f32,
    /// Bits that are taken away.
    bits: f32,
    /// Pixels of an image of this height or width.
    shift: fn(f32) -> f32,
}

/// That of RandAugment and AutoAugment.
pub(super) const GENTLE: Reach =
    Reach { shear: 0.3, degrees: 30.0, factor: 0.9, bits: 4.0, shift: |extent| extent * 150.0 / 331.0 };
/// That of TrivialAugment.
pub(super) const WIDE: Reach =
    Reach { shear: 0.99, degrees: 135.0, factor: 0.99, bits: 6.0, shift: |_| 32.0 };

/// A change of which only the strength is open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Change {
    Nothing,
    ShearRows,
    ShearColumns,
    ShiftRight,
    ShiftDown,
    Turn,
    Brightness,
    Saturation,
    Contrast,
    Sharpness,
    Posterise,
    Solarise,
    AutoContrast,
    Equalise,
    Invert,
}

/// Those that are picked from at random.
pub(super) const CHANGES: [Change; 14] = [
    Change::Nothing,
    Change::ShearRows,
    Change::ShearColumns,
    Change::ShiftRight,
    Change::ShiftDown,
    Change::Turn,
    Change::Brightness,
    Change::Saturation,
    Change::Contrast,
    Change::Sharpness,
    Change::Posterise,
    Change::Solarise,
    Change::AutoContrast,
    Change::Equalise,
];

fn pick(random: &mut Random) -> Change {
    CHANGES[random.below(CHANGES.len())]
}

impl Change {
    /// The change at so many parts of its full strength, 0 to 1; a way of 1 or −1 says in which direction, where there
    /// are two.
    pub fn apply(self, image: &mut Image, part: f32, reach: &Reach, way: f32) {
        let signed = way * part;
        let factor = 1.0 + signed * reach.factor;
        let still = Motion::default();
        match self {
            Change::Nothing => {}
            // About the upper left corner, as the first of these methods did it and all others since.
            Change::ShearRows => apply_map(image, &[1.0, signed * reach.shear, 0.0, 0.0, 1.0, 0.0]),
            Change::ShearColumns => apply_map(image, &[1.0, 0.0, 0.0, signed * reach.shear, 1.0, 0.0]),
            Change::ShiftRight => {
                Motion { right: (signed * (reach.shift)(image.width as f32)).trunc(), ..still }.apply(image);
            }
            Change::ShiftDown => {
                Motion { down: (signed * (reach.shift)(image.height as f32)).trunc(), ..still }.apply(image);
            }
            Change::Turn => Motion { degrees: -signed * reach.degrees, ..still }.apply(image),
            Change::Brightness => brightness(image, factor),
            Change::Saturation => saturation(image, factor),
            Change::Contrast => contrast(image, factor),
            Change::Sharpness => sharpen(image, factor),
            Change::Posterise => posterise(image, 8 - (part * reach.bits).round() as u32),
            Change::Solarise => solarise(image, 1.0 - part),
            Change::AutoContrast => auto_contrast(image),
            Change::Equalise => equalise(image),
            Change::Invert => image.pixels.iter_mut().for_each(|x| *x = 1.0 - *x),
        }
    }
}

/// Which way: drawn for all changes, so that what comes after does not depend on them.
pub(super) fn way(random: &mut Random) -> f32 {
    if random.below(2) == 0 { 1.0 } else { -1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::tests::changed;

    #[test]
    fn images_stay_images_and_are_the_same_again() {
        for seed in 0..100 {
            for shape in [[3, 9, 12], [1, 5, 4], [3, 1, 1]] {
                let strongest = RandAugment { changes: 3, strength: 30 };
                let once = changed(&strongest, shape, seed);
                assert!(once.iter().all(|x| (0.0..=1.0).contains(x)), "seed {seed}, {shape:?}");
                assert_eq!(once, changed(&strongest, shape, seed));
                assert!(changed(&TrivialAugment, shape, seed).iter().all(|x| (0.0..=1.0).contains(x)));
            }
        }
        let plain: Vec<f32> = (0..12).map(|i| i as f32 / 12.0).collect();
        assert_eq!(changed(&RandAugment { changes: 0, strength: 9 }, [1, 3, 4], 1), plain);
        let different = (0..100).filter(|&seed| changed(&TrivialAugment, [1, 3, 4], seed) != plain).count();
        assert!((60..100).contains(&different), "{different}");
    }
}
