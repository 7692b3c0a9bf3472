//! Data for training: sources of samples, readers for common files, built-in digits, and batches.
//!
//! A [`Source`] gives samples: named arrays of any element type, described by a [`Description`]. [`Dataset`] holds them in
//! memory, [`ImageFolder`] decodes them from files, [`from_records`], [`from_fn`] and [`from_iter`] make them of what a
//! program has, and any type of your own can be one. A [`Loader`] turns a source into batches, in an order that depends
//! on a seed and the number of the epoch alone.
//!
//! | data | function |
//! |---|---|
//! | built-in digits, nothing to fetch | [`digits`] |
//! | MNIST and what shares its format | [`mnist()`], [`download_mnist`], [`read_idx`] |
//! | CIFAR-10, binary version | [`cifar10()`] |
//! | PNG and JPEG images in class folders | [`ImageFolder`] |
//! | one image, for a prediction | [`read_image`], [`read_digit_image`] |
//! | characters or bytes of a text | [`Corpus`] |
//! | CSV and TSV tables | [`Table`] |
//!
//! Bad data is an [`Error`] that names the file or the sample. Nothing here prints or panics on bad data.

mod adapt;
mod batch;
mod cifar;
mod dataset;
mod description;
mod digit_image;
mod digits;
mod download;
mod error;
mod exif;
mod file;
mod folder;
mod idx;
mod image_file;
mod jpeg;
mod loader;
mod mnist;
#[cfg(test)]
mod mutations;
mod normalization;
mod pen;
mod picture;
mod preparation;
mod quiet;
mod random;
mod records;
mod source;
mod streamed;
mod strokes;
mod table;
#[cfg(test)]
mod testing;
mod text;
pub mod transform;
mod values;
mod vocabulary;

pub use adapt::{
    Balanced, SkipUnreadable, Subset, balanced, class_counts, class_weights, classes, skip_unreadable, subset,
};
pub use batch::{Batch, Sample, read_one};
pub use cifar::cifar10;
pub use dataset::Dataset;
pub use description::{Description, Field, INPUT, Role, TARGET};
pub use digit_image::read_digit_image;
pub use digits::{DIGITS_SEED, DIGITS_TEST, DIGITS_TRAIN, digits, digits_for_testing};
pub use download::{MNIST_MIRROR, download_mnist};
pub use error::{Error, Result};
pub use folder::{FileSplit, ImageFolder, LeftOut};
pub use idx::{Idx, read_idx};
pub use image_file::read_image;
pub use loader::{Epoch, Loader, LoaderOptions};
pub use mnist::mnist;
pub use normalization::Normalization;
pub use preparation::Preparation;
pub use random::Random;
pub use records::{
    Cell, Extents, FromFn, FromIter, Record, from_fn, from_iter, from_named_records, from_records,
};
pub use source::{Request, Source, Stream};
pub use table::{Column, Table, TableOptions};
pub use text::{Corpus, TextWindows};
pub use values::{DType, Element, Value, Values};
pub use vocabulary::Vocabulary;
