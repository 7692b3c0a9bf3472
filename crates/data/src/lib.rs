//! Data for training: sources of samples, readers for common files, built-in digits, and batches.
//!
//! A [`Source`] is a numbered list of samples. [`Dataset`] holds one in memory, [`ImageFolder`] decodes one from
//! files, and any type of your own can be one. A [`Loader`] turns a source into batches, in an order that depends on
//! a seed and the number of the epoch alone.
//!
//! | data | function |
//! |---|---|
//! | built-in digits, nothing to fetch | [`digits`] |
//! | MNIST and what shares its format | [`mnist()`], [`download_mnist`], [`read_idx`] |
//! | CIFAR-10, binary version | [`cifar10()`] |
//! | PNG and JPEG images in class folders | [`ImageFolder`] |
//! | one image, for a prediction | [`read_image`], [`read_digit_image`] |
//! | characters of a text | [`Corpus`] |
//!
//! Bad data is an [`Error`] that names the file or the sample. Nothing here prints or panics on bad data.

mod cifar;
mod dataset;
mod digit_image;
mod digits;
mod download;
mod error;
mod file;
mod folder;
mod idx;
mod image_file;
mod loader;
mod mnist;
mod normalization;
mod pen;
mod picture;
mod random;
mod source;
mod strokes;
#[cfg(test)]
mod testing;
mod text;

pub use cifar::cifar10;
pub use dataset::Dataset;
pub use digit_image::read_digit_image;
pub use digits::{DIGITS_TEST, DIGITS_TRAIN, digits};
pub use download::{MNIST_MIRROR, download_mnist};
pub use error::{Error, Result};
pub use folder::ImageFolder;
pub use idx::{Idx, read_idx};
pub use image_file::read_image;
pub use loader::{Batch, Epoch, Loader, LoaderOptions};
pub use mnist::mnist;
pub use normalization::Normalization;
pub use source::{Description, Source, TargetKind, Targets};
pub use text::Corpus;
