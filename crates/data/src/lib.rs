//! Data for training: sources of samples, readers for common files, built-in digits, and batches.
//!
//! A [`Source`] gives samples: named arrays of any element type, described by a [`Description`]. [`Dataset`] holds them
//! in memory, [`ImageFolder`] decodes them from files, [`from_records`], [`from_fn`] and [`from_iter`] make them of
//! what a program has, and any type of your own can be one. A [`Loader`] turns a source into batches, in an order that
//! depends on a seed and the number of the epoch alone.
//!
//! | data | function |
//! |---|---|
//! | built-in digits, nothing to fetch | [`digits`] |
//! | MNIST and what shares its format | [`mnist()`], [`fashion_mnist`], [`emnist`], [`download_mnist`], [`read_idx`] |
//! | CIFAR-10 and CIFAR-100, binary version | [`cifar10()`], [`cifar100`] |
//! | images (PNG, JPEG, WebP, GIF, BMP) in class folders | [`ImageFolder`] |
//! | images that a table or JSON lines list | [`Manifest`] |
//! | images in tar files, as WebDataset packs them | [`Manifest::open_shards`] |
//! | one image, for a prediction | [`read_image`], [`read_digit_image`] |
//! | characters, bytes or other tokens of a text | [`Corpus`], [`Vocabulary`] |
//! | CSV and TSV tables, and Parquet files with the feature `parquet` | [`Table`] |
//! | windows of numbers that follow one another in time | [`Series`] |
//!
//! Bad data is an [`Error`] that names the file or the sample. Nothing here prints or panics on bad data.

mod adapt;
mod batch;
mod bmp;
mod cache;
mod cifar;
mod column;
mod dataset;
mod description;
mod digest;
mod digit_image;
mod digits;
mod download;
mod error;
mod exif;
mod export;
mod file;
mod folder;
mod gif;
mod idx;
mod image_file;
mod jpeg;
mod lines;
mod loader;
mod manifest;
mod mnist;
#[cfg(test)]
mod mutations;
mod normalization;
#[cfg(feature = "parquet")]
mod parquet_file;
mod pen;
mod picture;
mod preparation;
mod quiet;
mod random;
mod records;
mod series;
mod shards;
mod source;
mod split;
mod streamed;
mod strokes;
mod table;
mod tar;
#[cfg(test)]
mod testing;
mod text;
#[cfg(feature = "tokenizers")]
mod tokenizer;
pub mod transform;
mod values;
mod vocabulary;
mod webp;
mod whole;

pub use adapt::{
    Balanced, SkipUnreadable, Subset, balanced, class_counts, class_weights, classes, skip_unreadable, subset,
};
pub use batch::{HostBatch, Sample, read_one};
pub use cache::{CacheOptions, CacheUse, Cached, Keep, cached, cached_with};
pub use cifar::{cifar10, cifar100};
pub use column::{Column, UnknownCategories};
pub use dataset::Dataset;
pub use description::{Description, Field, INPUT, Role, TARGET};
pub use digest::digest;
pub use digit_image::read_digit_image;
pub use digits::{DIGITS_SEED, DIGITS_TEST, DIGITS_TRAIN, digits, digits_for_testing};
pub use download::{MNIST_MIRROR, download_mnist};
pub use error::{Error, Result};
pub use export::save_pictures;
pub use folder::{FileSplit, ImageFolder, LeftOut};
pub use idx::{Idx, read_idx};
pub use image_file::read_image;
pub use loader::{Epoch, Loader, LoaderOptions};
pub use manifest::{Manifest, ManifestOptions};
pub use mnist::{emnist, fashion_mnist, mnist};
pub use normalization::{Normalization, statistics};
pub use preparation::Preparation;
pub use random::Random;
pub use records::{
    Cell, Extents, FromFn, FromIter, Record, from_fn, from_iter, from_named_records, from_records,
};
pub use series::{Series, WindowOptions, Windows};
pub use shards::shard_files;
pub use source::{Request, Source, Stream};
pub use split::{Split, grouped_k_fold, grouped_split, k_fold, stratified_k_fold, stratified_split};
pub use table::{Table, TableOptions};
pub use text::{Corpus, TextWindows};
#[cfg(feature = "tokenizers")]
pub use tokenizer::Tokenizer;
pub use values::{ElementType, FieldElement, Value, Values};
pub use vocabulary::Vocabulary;
pub use whole::{ROW, Rows, Whole, WholeField, rows, whole, whole_bytes};
