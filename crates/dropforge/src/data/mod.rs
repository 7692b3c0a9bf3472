//! Data: sources of samples, readers for the files they usually come in, random changes of images, and batches.
//!
//! A [`Source`] gives samples: named arrays of any element type. [`Dataset`] holds them in memory, [`ImageFolder`]
//! decodes them from files, [`Table`] and [`Corpus`] read tables and texts, [`from_records`], [`from_fn`] and
//! [`from_iter`] make them of what a program has, and any type of your own can be one.
//! [`Trainer::fit`](crate::train::Trainer::fit) takes each of them.
//!
//! ```
//! use dropforge::data::{Source, from_records};
//!
//! let pairs = from_records([([0.0f32, 1.0], 1), ([1.0, 0.0], 0)])?;
//! assert_eq!((pairs.len(), pairs.description().class_count()), (Some(2), Some(2)));
//! # Ok::<(), dropforge::Error>(())
//! ```
//!
//! | data | function |
//! |---|---|
//! | built-in digits, nothing to fetch | [`digits`] |
//! | MNIST and what shares its format | [`mnist()`], [`download_mnist`], [`read_idx`] |
//! | Fashion-MNIST, EMNIST | [`fashion_mnist`], [`emnist`] |
//! | CIFAR-10 and CIFAR-100, binary version | [`cifar10()`], [`cifar100`] |
//! | images (PNG, JPEG, WebP, GIF, BMP) in class folders | [`ImageFolder`], [`save_pictures`] |
//! | images that a table or JSON lines list | [`Manifest`] |
//! | images in tar files, as WebDataset packs them | [`Manifest::open_shards`] |
//! | windows of numbers that follow one another in time | [`Series`] |
//! | one image, for a prediction | [`read_image`], [`read_digit_image`] |
//! | characters or bytes of a text | [`Corpus`] |
//! | CSV and TSV tables | [`Table`] |
//! | random changes of images | [`transform::augment`] |
//! | a part of a source, its classes in other proportions | [`subset`], [`balanced`], [`class_weights`] |
//! | sides for training and measuring, folds | [`stratified_split`], [`grouped_split`], [`k_fold`], [`stratified_k_fold`], [`grouped_k_fold`] |
//! | samples kept in memory or in a file; those that cannot be read passed over | [`cached`], [`cached_with`], [`skip_unreadable`] |
//! | all samples in arrays, for a device that keeps them | [`whole()`], [`rows`] |
//! | means and deviations for normalisation | [`statistics`] |
//!
//! What a name stands for in files and on the command line (`folder:DIR`, `--augment flip`) is in
//! [`run::DataSpec`](crate::run::DataSpec) and [`run::Augmentation`](crate::run::Augmentation).

mod keep;
mod transforms;

#[doc(inline)]
pub use dropforge_data::*;
