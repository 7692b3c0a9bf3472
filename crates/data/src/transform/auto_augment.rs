//! Changes in the pairs that a search found to be the best for two sets of photographs.

use super::policy::Change::{
    self, AutoContrast, Brightness, Contrast, Equalise, Invert, Posterise, Saturation, Sharpness,
    ShearColumns, ShearRows, ShiftDown, ShiftRight, Solarise, Turn,
};
use super::policy::{GENTLE, way};
use super::{Image, Transform};
use crate::random::Random;

/// One of 25 pairs of changes, each with its own probability and strength, that were found by a search on a set of
/// photographs (Cubuk et al.: AutoAugment, 2019, tables 7 and 9). Strengths are torchvision's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AutoAugment {
    /// The photographs that they were found on.
    pub policy: Policy,
}

/// The photographs that pairs of changes were found on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// ImageNet.
    #[default]
    ImageNet,
    /// CIFAR-10.
    Cifar10,
}

/// A change, its probability in tenths, and its strength in ninths.
type Step = (Change, u8, u8);

const CIFAR10: [[Step; 2]; 25] = [
    [(Invert, 1, 0), (Contrast, 2, 6)],
    [(Turn, 7, 2), (ShiftRight, 3, 9)],
    [(Sharpness, 8, 1), (Sharpness, 9, 3)],
    [(ShearColumns, 5, 8), (ShiftDown, 7, 9)],
    [(AutoContrast, 5, 0), (Equalise, 9, 0)],
    [(ShearColumns, 2, 7), (Posterise, 3, 7)],
    [(Saturation, 4, 3), (Brightness, 6, 7)],
    [(Sharpness, 3, 9), (Brightness, 7, 9)],
    [(Equalise, 6, 0), (Equalise, 5, 0)],
    [(Contrast, 6, 7), (Sharpness, 6, 5)],
    [(Saturation, 7, 7), (ShiftRight, 5, 8)],
    [(Equalise, 3, 0), (AutoContrast, 4, 0)],
    [(ShiftDown, 4, 3), (Sharpness, 2, 6)],
    [(Brightness, 9, 6), (Saturation, 2, 8)],
    [(Solarise, 5, 2), (Invert, 0, 0)],
    [(Equalise, 2, 0), (AutoContrast, 6, 0)],
    [(Equalise, 2, 0), (Equalise, 6, 0)],
    [(Saturation, 9, 9), (Equalise, 6, 0)],
    [(AutoContrast, 8, 0), (Solarise, 2, 8)],
    [(Brightness, 1, 3), (Saturation, 7, 0)],
    [(Solarise, 4, 5), (AutoContrast, 9, 0)],
    [(ShiftDown, 9, 9), (ShiftDown, 7, 9)],
    [(AutoContrast, 9, 0), (Solarise, 8, 3)],
    [(Equalise, 8, 0), (Invert, 1, 0)],
    [(ShiftDown, 7, 9), (AutoContrast, 9, 0)],
];

const IMAGENET: [[Step; 2]; 25] = [
    [(Posterise, 4, 8), (Turn, 6, 9)],
    [(Solarise, 6, 5), (AutoContrast, 6, 0)],
    [(Equalise, 8, 0), (Equalise, 6, 0)],
    [(Posterise, 6, 7), (Posterise, 6, 6)],
    [(Equalise, 4, 0), (Solarise, 2, 4)],
    [(Equalise, 4, 0), (Turn, 8, 8)],
    [(Solarise, 6, 3), (Equalise, 6, 0)],
    [(Posterise, 8, 5), (Equalise, 10, 0)],
    [(Turn, 2, 3), (Solarise, 6, 8)],
    [(Equalise, 6, 0), (Posterise, 4, 6)],
    [(Turn, 8, 8), (Saturation, 4, 0)],
    [(Turn, 4, 9), (Equalise, 6, 0)],
    [(Equalise, 0, 0), (Equalise, 8, 0)],
    [(Invert, 6, 0), (Equalise, 10, 0)],
    [(Saturation, 6, 4), (Contrast, 10, 8)],
    [(Turn, 8, 8), (Saturation, 10, 2)],
    [(Saturation, 8, 8), (Solarise, 8, 7)],
    [(Sharpness, 4, 7), (Invert, 6, 0)],
    [(ShearRows, 6, 5), (Equalise, 10, 0)],
    [(Saturation, 4, 0), (Equalise, 6, 0)],
    [(Equalise, 4, 0), (Solarise, 2, 4)],
    [(Solarise, 6, 5), (AutoContrast, 6, 0)],
    [(Invert, 6, 0), (Equalise, 10, 0)],
    [(Saturation, 6, 4), (Contrast, 10, 8)],
    [(Equalise, 8, 0), (Equalise, 6, 0)],
];

impl Transform for AutoAugment {
    fn apply(&self, image: &mut Image, random: &mut Random) {
        let pairs = self.policy.pairs();
        for (change, tenths, ninths) in pairs[random.below(pairs.len())] {
            let (chance, way) = (random.unit(), way(random));
            if chance < f32::from(tenths) / 10.0 {
                change.apply(image, f32::from(ninths) / 9.0, &GENTLE, way);
            }
        }
    }
}

impl Policy {
    fn pairs(self) -> &'static [[Step; 2]; 25] {
        match self {
            Policy::ImageNet => &IMAGENET,
            Policy::Cifar10 => &CIFAR10,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::tests::changed;

    /// The pairs of torchvision (`scripts/golden_transforms.py`): a policy and a number, both changes with tenths and
    /// ninths, and some pixels of what they make of the picture of `transforms.txt`.
    const GOLDEN: &str = include_str!("../../tests/data/policies.txt");

    #[test]
    fn pairs_are_those_of_the_search() {
        let numbers = |text: &str| text.split(',').map(|x| x.parse().unwrap()).collect::<Vec<f32>>();
        let mut lines = GOLDEN.lines();
        let plain = numbers(lines.next().unwrap());
        assert_eq!(lines.clone().count(), 50);
        for line in lines {
            let [policy, number, pair, pixels] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
            let policy = if policy == "cifar10" { Policy::Cifar10 } else { Policy::ImageNet };
            let steps = policy.pairs()[number.parse::<usize>().unwrap()];
            let ours = steps.map(|(change, tenths, ninths)| format!("{change:?}:{tenths}:{ninths}"));
            assert_eq!(ours.join(","), pair);
            let mut image = plain.clone();
            for (change, _, ninths) in steps {
                let mut image = Image { channels: 3, height: 9, width: 12, pixels: &mut image };
                change.apply(&mut image, f32::from(ninths) / 9.0, &GENTLE, 1.0);
            }
            for (place, expected) in numbers(pixels).into_iter().enumerate() {
                let got = image[place * 17];
                assert!(
                    (got - expected).abs() < 5e-4,
                    "{line}: pixel {} is {got}, not {expected}",
                    place * 17
                );
            }
        }
    }

    #[test]
    fn pairs_are_drawn_by_their_probabilities() {
        let plain: Vec<f32> = (0..108).map(|i| i as f32 / 108.0).collect();
        for policy in [Policy::ImageNet, Policy::Cifar10] {
            let results = (0..200).map(|seed| changed(&AutoAugment { policy }, [3, 6, 6], seed));
            let results: Vec<Vec<f32>> = results.collect();
            assert!(results.iter().flatten().all(|x| (0.0..=1.0).contains(x)));
            let different = results.iter().filter(|pixels| **pixels != plain).count();
            assert!((120..200).contains(&different), "{policy:?}: {different}");
        }
    }
}
