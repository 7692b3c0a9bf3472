//! What changes of images are called in files, and what can be set of each.

use crate::settings::{Context, Range, SettingType, Value, unknown};
use crate::{Error, Result, described};
use dropforge_data::transform::{
    Affine, AutoAugment, AutoContrast, Blur, ColourJitter, Elastic, Equalise, Erase, Flip, FlipVertically,
    Grey, Noise, Perspective, Policy, Posterise, RandAugment, RandomCrop, RandomResizedCrop, Rotate, Sharpen,
    Solarise, TrivialAugment,
};

described! {
    Affine = "affine", "the image is turned, moved, scaled and sheared about its middle, what comes in is black";
    degrees: f32, Some(10.0), (0.0..=180.0).into(), "most degrees, either way";
    shift: f32, Some(0.1), (0.0..=1.0).into(), "most of its height and width that it is moved by, either way";
    scale: f32, Some(0.1), (0.0..1.0).into(), "how far the factor of its size is from 1";
    shear: f32, Some(0.0), (0.0..=80.0).into(), "most degrees of shearing, either way";
}
described! {
    AutoContrast = "auto_contrast", "each plane is stretched from black to white";
    probability: f32, Some(0.5), (0.0..=1.0).into(), "of each image";
}
described! {
    AutoAugment = "auto_augment", "one of 25 pairs of changes that a search found to be the best for photographs"
        like "torchvision.transforms.v2.AutoAugment" but "bilinear";
    policy: Policy, Some(Policy::ImageNet), Range::ANY, "the photographs that they were found on: `imagenet` or `cifar10`";
}
described! {
    Blur = "blur", "the image is blurred by a Gaussian bell of random width";
    least: f32, Some(0.1), (0.0..=100.0).into(), "least deviation of the bell, in pixels";
    most: f32, Some(2.0), (0.0..=100.0).into(), "largest deviation of the bell, in pixels";
    probability: f32, Some(0.5), (0.0..=1.0).into(), "of each image";
}
described! {
    ColourJitter = "colour_jitter", "brightness, contrast and saturation change by random factors from 1 − x to 1 + x";
    brightness: f32, Some(0.2), (0.0..).into(), "how far the factor of all numbers is from 1";
    contrast: f32, Some(0.2), (0.0..).into(), "how far the factor of the distance from the mean grey is from 1";
    saturation: f32, Some(0.2), (0.0..).into(), "how far the factor of the distance of each pixel from its grey is from 1";
    hue: f32, Some(0.0), (0.0..=0.5).into(), "most parts of the circle of colours that they are turned by, either way";
}
described! {
    Elastic = "elastic", "pixels move by random amounts that change slowly from place to place";
    strength: f32, Some(10.0), (0.0..).into(), "how far, in pixels, before the amounts are blurred";
    smooth: f32, Some(4.0), (0.0..=100.0).into(), "deviation of the blur of the amounts, in pixels";
}
described! {
    Equalise = "equalise", "the shades of each plane are spread so that all are about as frequent";
    probability: f32, Some(0.5), (0.0..=1.0).into(), "of each image";
}
described! {
    Erase = "erase", "a random rectangle is hidden behind random pixels";
    probability: f32, Some(0.5), (0.0..=1.0).into(), "of each image";
}
described! {
    Flip = "flip", "left and right change places";
    probability: f32, Some(0.5), (0.0..=1.0).into(), "of each image";
}
described! {
    FlipVertically = "flip_vertically", "above and below change places";
    probability: f32, Some(0.5), (0.0..=1.0).into(), "of each image";
}
described! {
    Grey = "grey", "colours are taken away";
    probability: f32, Some(0.1), (0.0..=1.0).into(), "of each image";
}
described! {
    Noise = "noise", "a random number is added to each";
    deviation: f32, Some(0.05), (0.0..).into(), "deviation of what is added to numbers from 0 to 1";
}
described! {
    Perspective = "perspective", "the image is seen from the side, what comes in is black";
    distortion: f32, Some(0.5), (0.0..=1.0).into(), "most of half the image that a corner moves inwards";
    probability: f32, Some(0.5), (0.0..=1.0).into(), "of each image";
}
described! {
    Posterise = "posterise", "so many bits of each number are left";
    bits: u32, Some(4), (1..=8).into(), "of each number that are left";
    probability: f32, Some(0.5), (0.0..=1.0).into(), "of each image";
}
described! {
    RandAugment = "rand_augment", "several changes, each picked at random from fourteen, all of one strength";
    changes: usize, Some(2), (0..=14).into(), "how many one after another";
    strength: usize, Some(9), (0..=30).into(), "of each change, 30 is the most";
}
described! {
    RandomCrop = "random_crop", "the image is moved by some pixels each way, what comes in is black";
    padding: usize, Some(4), (0..).into(), "most pixels";
}
described! {
    RandomResizedCrop = "random_resized_crop", "a random part of the image is scaled to its size";
    least: f32, Some(0.08), Range::above_to(0.0, 1.0), "the least part of the area";
}
described! {
    Rotate = "rotate", "the image is turned about its middle, what comes in is black";
    degrees: f32, Some(10.0), (0.0..=180.0).into(), "most degrees, either way";
}
described! {
    Sharpen = "sharpen", "the image becomes sharper or less sharp by a random factor";
    most: f32, Some(0.5), (0.0..).into(), "how far the factor is from 1";
}
described! {
    Solarise = "solarise", "numbers from a threshold on are turned round";
    threshold: f32, Some(0.5), (0.0..=1.0).into(), "what becomes 1 − x";
    probability: f32, Some(0.5), (0.0..=1.0).into(), "of each image";
}
described! {
    TrivialAugment = "trivial_augment", "one change, picked at random from fourteen, of random strength";
}

const POLICIES: [(&str, Policy); 2] = [("imagenet", Policy::ImageNet), ("cifar10", Policy::Cifar10)];

impl SettingType for Policy {
    fn expects() -> String {
        "`imagenet` or `cifar10`".into()
    }

    fn read(value: &Value, _: &Context<'_>) -> Result<Policy> {
        let Some(name) = value.as_str() else {
            return Err(Error::setting(format!("should be {}, got {value}", Policy::expects())));
        };
        let known = POLICIES.iter().find(|(known, _)| *known == name);
        known
            .map(|(_, policy)| *policy)
            .ok_or_else(|| unknown("unknown policy", name, "known are", &POLICIES.map(|(known, _)| known)))
    }

    fn write(&self) -> Result<Option<Value>> {
        let known = POLICIES.iter().find(|(_, policy)| policy == self);
        Ok(known.map(|(name, _)| Value::String((*name).into())))
    }
}
