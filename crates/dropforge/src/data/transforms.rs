//! What changes of images are called in files, and what can be set of each.

use crate::settings::{Described, Range, Table};
use crate::{Result, described};
use dropforge_data::transform::{
    ColourJitter, Erase, Flip, FlipVertically, Grey, RandomCrop, RandomResizedCrop, Rotate, Transform,
};

/// A random change of images that can be written down.
pub trait Augmentation: Transform {
    /// Its name and settings.
    ///
    /// # Errors
    /// Only if there is a bug: the settings of changes are numbers.
    fn config(&self) -> Result<Table>;
}

impl<T: Transform + Described> Augmentation for T {
    fn config(&self) -> Result<Table> {
        self.write_named()
    }
}

described! {
    ColourJitter = "colour_jitter", "brightness, contrast and saturation change by random factors from 1 − x to 1 + x";
    brightness: f32, Some(0.2), (0.0..).into(), "how far the factor of all numbers is from 1";
    contrast: f32, Some(0.2), (0.0..).into(), "how far the factor of the distance from the mean grey is from 1";
    saturation: f32, Some(0.2), (0.0..).into(), "how far the factor of the distance of each pixel from its grey is from 1";
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
