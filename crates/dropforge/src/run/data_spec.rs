//! Data sets by name, as on a command line.

use super::InputSpec;
use crate::{Error, Result};
use dropforge_data::{
    DIGITS_TEST, DIGITS_TRAIN, Description, ImageFolder, Normalization, Preparation, Source, cifar10, digits,
    download_mnist, mnist,
};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The built-in digits are always the same ones, so that results of runs with different seeds can be compared.
const DIGITS_SEED: u64 = 1;
/// The same for which images of a folder are kept for testing, and how many of them.
const FOLDER_SEED: u64 = 1;
const FOLDER_TRAIN_PART: f64 = 0.85;
/// Where MNIST is looked for unless told otherwise.
const MNIST_DIR: &str = "data/mnist";

/// A data set by name: `digits`, `digits:600`, `mnist`, `mnist:DIR`, `cifar10:DIR`, `folder:DIR`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataSpec {
    /// Built-in digits, so many for training and a sixth of that for testing.
    Digits(usize),
    /// MNIST or another data set in its format.
    Mnist(PathBuf),
    /// CIFAR-10, binary version.
    Cifar10(PathBuf),
    /// Images in a folder per class; or in such folders within `train` and `test`.
    Folder(PathBuf),
}

/// Training and test data, opened.
#[derive(Clone)]
pub struct OpenData {
    /// Samples to train on.
    pub train: Arc<dyn Source>,
    /// Samples to measure on.
    pub test: Arc<dyn Source>,
    /// What the samples look like.
    pub inputs: InputSpec,
    /// How many threads reading pays for.
    pub threads: usize,
}

impl DataSpec {
    /// What may stand on the command line.
    pub const USAGE: &'static str = "digits[:COUNT], mnist[:DIR], cifar10:DIR, folder:DIR";

    /// The data set of this name.
    ///
    /// # Errors
    /// The name is unknown or lacks its folder.
    pub fn parse(text: &str) -> Result<DataSpec> {
        let (name, rest) = text.split_once(':').map_or((text, None), |(name, rest)| (name, Some(rest)));
        let dir = || match rest {
            Some(dir) if !dir.is_empty() => Ok(PathBuf::from(dir)),
            _ => Err(Error::new(format!("data `{text}` names no folder; write {name}:DIR"))),
        };
        match (name, rest) {
            ("digits", None) => Ok(DataSpec::Digits(DIGITS_TRAIN)),
            ("digits", Some(count)) => match count.parse() {
                Ok(count @ 10..=10_000_000) => Ok(DataSpec::Digits(count)),
                _ => {
                    Err(Error::new(format!("data `{text}`: the count must be a number from 10 to 10000000")))
                }
            },
            ("mnist", None) => Ok(DataSpec::Mnist(MNIST_DIR.into())),
            ("mnist", Some(_)) => Ok(DataSpec::Mnist(dir()?)),
            ("cifar10", _) => Ok(DataSpec::Cifar10(dir()?)),
            ("folder", _) => Ok(DataSpec::Folder(dir()?)),
            _ => Err(Error::new(format!("unknown data `{text}`; known are {}", DataSpec::USAGE))),
        }
    }

    /// The same data set with its folder from the root, so that the name means the same wherever it is used.
    pub fn absolute(self) -> DataSpec {
        let absolute = |dir: PathBuf| std::path::absolute(&dir).unwrap_or(dir);
        match self {
            DataSpec::Digits(count) => DataSpec::Digits(count),
            DataSpec::Mnist(dir) => DataSpec::Mnist(absolute(dir)),
            DataSpec::Cifar10(dir) => DataSpec::Cifar10(absolute(dir)),
            DataSpec::Folder(dir) => DataSpec::Folder(absolute(dir)),
        }
    }

    /// A word for the data set, for names of folders.
    pub fn short_name(&self) -> String {
        match self {
            DataSpec::Digits(_) => "digits".into(),
            DataSpec::Mnist(_) => "mnist".into(),
            DataSpec::Cifar10(_) => "cifar10".into(),
            DataSpec::Folder(dir) => {
                let name = dir.file_name().map(|name| name.to_string_lossy().to_lowercase());
                name.unwrap_or_else(|| "folder".into()).replace(|c: char| !c.is_alphanumeric(), "-")
            }
        }
    }

    /// Fetches the data set unless it is there.
    ///
    /// # Errors
    /// The data set is none that can be fetched, or fetching fails.
    pub fn download(&self) -> Result<()> {
        match self {
            DataSpec::Mnist(dir) => Ok(download_mnist(dir, None)?),
            _ => Err(Error::new(format!("only mnist can be downloaded, not {self}"))),
        }
    }

    /// Opens the data. Images of a folder are brought to `[3, size, size]`.
    ///
    /// # Errors
    /// A file or folder is missing or damaged; the message names it.
    pub fn open(&self, size: usize) -> Result<OpenData> {
        let (train, test): (Arc<dyn Source>, Arc<dyn Source>) = match self {
            DataSpec::Digits(count) => {
                let test = if *count == DIGITS_TRAIN { DIGITS_TEST } else { (count / 6).max(10) };
                let (train, test) = digits(*count, test, DIGITS_SEED);
                (Arc::new(train), Arc::new(test))
            }
            DataSpec::Mnist(dir) => {
                let (train, test) = mnist(dir).map_err(|error| {
                    let hint = if dir.exists() { "" } else { "; `--download` fetches it" };
                    Error::new(format!("{error}{hint}"))
                })?;
                (Arc::new(train), Arc::new(test))
            }
            DataSpec::Cifar10(dir) => {
                let (train, test) = cifar10(dir)?;
                (Arc::new(train), Arc::new(test))
            }
            DataSpec::Folder(dir) => {
                let (train, test) = open_folder(dir, size)?;
                (Arc::new(train), Arc::new(test))
            }
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if matches!(self, DataSpec::Folder(_)) { cores.min(8) } else { 1 };
        let inputs = InputSpec::of(&*train);
        Ok(OpenData { train, test, inputs, threads })
    }
}

fn open_folder(dir: &Path, size: usize) -> Result<(ImageFolder, ImageFolder)> {
    let open = |dir: &Path| ImageFolder::open(dir, 3, size, size);
    // The means and deviations that models for photographs are usually trained with.
    let usual = Normalization::new(&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225])?;
    let test = ["test", "val", "valid"].into_iter().map(|name| dir.join(name)).find(|path| path.is_dir());
    let (train, test) = match test {
        Some(test) if dir.join("train").is_dir() => (open(&dir.join("train"))?, open(&test)?),
        _ => open(dir)?.split(FOLDER_TRAIN_PART, FOLDER_SEED)?,
    };
    if train.description().target() != test.description().target() {
        return Err(Error::new(format!(
            "{}: training and test images have different classes",
            dir.display()
        )));
    }
    Ok((train.normalized(usual.clone())?, test.normalized(usual)?))
}

impl fmt::Display for DataSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DataSpec::Digits(DIGITS_TRAIN) => f.write_str("digits"),
            DataSpec::Digits(count) => write!(f, "digits:{count}"),
            DataSpec::Mnist(dir) => write!(f, "mnist:{}", dir.display()),
            DataSpec::Cifar10(dir) => write!(f, "cifar10:{}", dir.display()),
            DataSpec::Folder(dir) => write!(f, "folder:{}", dir.display()),
        }
    }
}

impl InputSpec {
    /// What the samples of a source look like.
    pub fn of(source: &dyn Source) -> InputSpec {
        InputSpec::described(source.description())
    }

    /// What samples look like that are described so.
    pub(crate) fn described(description: &Description) -> InputSpec {
        let input = description.input();
        let preparation = input.map_or(&Preparation::None, |field| &field.preparation);
        let normalization = preparation.normalization();
        InputSpec {
            shape: input.map_or_else(Vec::new, |field| field.shape.clone()),
            classes: description.class_names().map_or_else(Vec::new, <[String]>::to_vec),
            mean: normalization.map_or_else(Vec::new, |n| n.mean().to_vec()),
            std: normalization.map_or_else(Vec::new, |n| n.std().to_vec()),
            digits: matches!(preparation, Preparation::Digit { .. }),
        }
    }

    /// Reads a PNG or JPEG file in the size that the model takes, as raw numbers from 0 to 1, which
    /// [`Trained`](super::Trained) normalises.
    ///
    /// # Errors
    /// The file is missing or damaged, or the model does not take images.
    pub fn read_image(&self, path: impl AsRef<Path>) -> Result<Vec<f32>> {
        let &[channels, height, width] = self.shape.as_slice() else {
            return Err(Error::new(format!(
                "the model takes inputs of shape {:?}, which are no images",
                self.shape
            )));
        };
        Ok(match self.digits && self.shape == [1, 28, 28] {
            true => dropforge_data::read_digit_image(path)?,
            false => dropforge_data::read_image(path, channels, height, width)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for text in ["digits", "digits:600", "mnist:/a/b", "cifar10:x", "folder:pets: both"] {
            assert_eq!(DataSpec::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(DataSpec::parse("mnist").unwrap(), DataSpec::Mnist("data/mnist".into()));
        assert_eq!(DataSpec::parse("folder:a/My Pets").unwrap().short_name(), "my-pets");
        for (text, part) in [
            ("minst", "unknown data `minst`; known are digits"),
            ("cifar10", "write cifar10:DIR"),
            ("folder:", "write folder:DIR"),
            ("digits:x", "10 to 10000000"),
            ("digits:0", "10 to 10000000"),
        ] {
            let message = DataSpec::parse(text).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        assert!(DataSpec::parse("digits").unwrap().download().is_err());
    }

    #[test]
    fn opened() {
        let data = DataSpec::Digits(60).open(0).unwrap();
        assert_eq!((data.train.len(), data.test.len()), (Some(60), Some(10)));
        assert_eq!((data.inputs.shape.as_slice(), data.inputs.classes.len()), ([1, 28, 28].as_slice(), 10));
        let error = DataSpec::Mnist("no/such/folder".into()).open(0).err().unwrap().to_string();
        assert!(error.contains("no/such/folder") && error.contains("--download"), "{error}");
    }
}
