//! Data sets by name, as on a command line.

use super::InputSpec;
use super::data_sets::{MNIST_DIR, TEXT_LENGTH};
use crate::{Error, Result};
use dropforge_data::{
    Corpus, DIGITS_SEED, DIGITS_TRAIN, Description, Field, FileSplit, INPUT, ImageFolder, Normalization,
    Preparation, Source, TARGET, Table, TableOptions, Vocabulary, cifar10, digits, digits_for_testing,
    download_mnist, mnist,
};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Which images of a folder are kept for testing, always the same, and how many are not.
const FOLDER_SEED: u64 = 1;
const FOLDER_TRAIN_PART: f64 = 0.85;
/// Part of a text that is trained on; the rest, at its end, is for testing.
const TEXT_TRAIN_PART: f64 = 0.9;
/// Which rows of a table are kept for testing, always the same, and how many are not.
const TABLE_SEED: u64 = 1;
const TABLE_TRAIN_PART: f64 = 0.85;
/// Names of folders that hold a part of a data set, in any case, the first that is there being taken.
const TRAIN_NAMES: [&str; 2] = ["train", "training"];
const TEST_NAMES: [&str; 7] = ["test", "val", "valid", "validation", "testing", "eval", "dev"];

/// A data set by name: `digits`, `digits:600`, `mnist`, `mnist:DIR`, `cifar10:DIR`, `folder:DIR`, `text:FILE`,
/// `table:FILE?target=price`.
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
    /// A text in UTF-8, as tokens.
    Text {
        /// The file.
        path: PathBuf,
        /// Tokens of a sample.
        length: usize,
        /// Whether its bytes are the tokens, not its characters.
        bytes: bool,
    },
    /// A table in a CSV or TSV file.
    Table {
        /// The file.
        path: PathBuf,
        /// What is to be predicted, and what is left out.
        options: TableOptions,
    },
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
    /// Which files are on which side, for a run to note; `None` where that is not a matter of files.
    pub split: Option<FileSplit>,
    /// What people should know about what was read and what was not, a line each.
    pub notes: Vec<String>,
}

impl DataSpec {
    /// What may stand on the command line.
    pub const USAGE: &'static str = "digits[:COUNT], mnist[:DIR], cifar10:DIR, folder:DIR, text:FILE[?length=128&tokens=bytes], \
         table:FILE[?target=COLUMN&ignore=COLUMN,COLUMN&classes=yes]";

    /// The data set of this name.
    ///
    /// # Errors
    /// The name is unknown or lacks its folder.
    pub fn parse(text: &str) -> Result<DataSpec> {
        let (name, rest) = text.split_once(':').map_or((text, None), |(name, rest)| (name, Some(rest)));
        let dir = || match rest {
            Some(dir) if !dir.is_empty() => Ok(PathBuf::from(dir)),
            _ => Err(Error::setting(format!("data `{text}` names no folder; write {name}:DIR"))),
        };
        match (name, rest) {
            ("digits", None) => Ok(DataSpec::Digits(DIGITS_TRAIN)),
            ("digits", Some(count)) => match count.parse() {
                Ok(count @ 10..=10_000_000) => Ok(DataSpec::Digits(count)),
                _ => Err(Error::setting(format!(
                    "data `{text}`: the count must be a number from 10 to 10000000"
                ))),
            },
            ("mnist", None) => Ok(DataSpec::Mnist(MNIST_DIR.into())),
            ("mnist", Some(_)) => Ok(DataSpec::Mnist(dir()?)),
            ("cifar10", _) => Ok(DataSpec::Cifar10(dir()?)),
            ("folder", _) => Ok(DataSpec::Folder(dir()?)),
            ("text", _) => parse_text(text, rest.unwrap_or_default()),
            ("table", _) => parse_table(text, rest.unwrap_or_default()),
            _ => Err(Error::setting(format!("unknown data `{text}`; known are {}", DataSpec::USAGE))),
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
            DataSpec::Text { path, length, bytes } => DataSpec::Text { path: absolute(path), length, bytes },
            DataSpec::Table { path, options } => DataSpec::Table { path: absolute(path), options },
        }
    }

    /// A word for the data set, for names of folders.
    pub fn short_name(&self) -> String {
        match self {
            DataSpec::Digits(_) => "digits".into(),
            DataSpec::Mnist(_) => "mnist".into(),
            DataSpec::Cifar10(_) => "cifar10".into(),
            DataSpec::Folder(dir) => word(dir.file_name()),
            DataSpec::Text { path, .. } | DataSpec::Table { path, .. } => word(path.file_stem()),
        }
    }

    /// Fetches the data set unless it is there.
    ///
    /// # Errors
    /// The data set is none that can be fetched, or fetching fails.
    pub fn download(&self) -> Result<()> {
        match self {
            DataSpec::Mnist(dir) => Ok(download_mnist(dir, None)?),
            _ => Err(Error::setting(format!("only mnist can be downloaded, not {self}"))),
        }
    }

    /// Opens the data. Images of a folder are brought to `[3, size, size]`.
    ///
    /// # Errors
    /// A file or folder is missing or damaged, or there is only one class; the message names it.
    pub fn open(&self, size: usize) -> Result<OpenData> {
        self.open_as(size, None)
    }

    /// As [`DataSpec::open`], where every file stays on the side that a run has noted.
    ///
    /// # Errors
    /// As for [`DataSpec::open`].
    pub fn open_as(&self, size: usize, noted: Option<&FileSplit>) -> Result<OpenData> {
        let (mut split, mut notes, mut threads) = (None, Vec::new(), 1);
        let (train, test): (Arc<dyn Source>, Arc<dyn Source>) = match self {
            DataSpec::Digits(count) => {
                // Always the same ones, so that results of runs with different seeds can be compared.
                let (train, test) = digits(*count, digits_for_testing(*count), DIGITS_SEED);
                (Arc::new(train), Arc::new(test))
            }
            DataSpec::Mnist(dir) => {
                let (train, test) = mnist(dir).map_err(|error| {
                    let hint = if dir.exists() { "" } else { "; `--download` fetches it" };
                    Error::data(format!("{error}{hint}")).caused_by(error)
                })?;
                (Arc::new(train), Arc::new(test))
            }
            DataSpec::Cifar10(dir) => {
                let (train, test) = cifar10(dir)?;
                (Arc::new(train), Arc::new(test))
            }
            DataSpec::Folder(dir) => {
                let (train, test) = open_folder(dir, size, noted, &mut notes)?;
                split = Some(FileSplit { train: train.names(), test: test.names() });
                threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
                (Arc::new(train), Arc::new(test))
            }
            DataSpec::Text { path, length, .. } => {
                let corpus = self.corpus(path, None)?;
                let at = (corpus.len() as f64 * TEXT_TRAIN_PART) as usize;
                // A short text still has a sample on each side.
                let (train, test) = corpus.split(at.min(corpus.len().saturating_sub(length + 1)))?;
                (Arc::new(train.samples(*length)?), Arc::new(test.samples(*length)?.fixed()))
            }
            DataSpec::Table { path, options } => {
                let (train, test) = Table::open(path, options)?.split(TABLE_TRAIN_PART, TABLE_SEED)?;
                (Arc::new(train), Arc::new(test))
            }
        };
        if let Some([only]) = train.description().class_names() {
            return Err(Error::data(format!(
                "{self}: there is one class only, `{only}`{}",
                self.advice(only)
            )));
        }
        Ok(OpenData { inputs: InputSpec::of(&*train), train, test, threads, split, notes })
    }

    /// All samples, to measure a model on other data than it was trained with: what is for testing where a data set has
    /// such a part of its own, and else everything. Texts are read by the vocabulary of the model.
    ///
    /// # Errors
    /// As for [`DataSpec::open`], except that one class is enough.
    pub fn open_all(&self, size: usize, inputs: &InputSpec) -> Result<Arc<dyn Source>> {
        Ok(match self {
            DataSpec::Folder(dir) => {
                let dir = parts(dir)?.map_or_else(|| dir.clone(), |(_, test)| test);
                let all = open_images(&dir, size)?;
                all.check()?;
                Arc::new(all.normalized(photographs()?)?)
            }
            DataSpec::Text { path, length, .. } => {
                Arc::new(self.corpus(path, inputs.vocabulary())?.samples(*length)?.fixed())
            }
            DataSpec::Digits(_) | DataSpec::Mnist(_) | DataSpec::Cifar10(_) | DataSpec::Table { .. } => {
                self.open(size)?.test
            }
        })
    }

    fn corpus(&self, path: &Path, vocabulary: Option<&Vocabulary>) -> Result<Corpus> {
        let bytes = matches!(self, DataSpec::Text { bytes: true, .. });
        Ok(match vocabulary.or(bytes.then_some(&Vocabulary::Bytes)) {
            Some(vocabulary) => Corpus::open_with(path, vocabulary)?,
            None => Corpus::open(path)?,
        })
    }

    /// What to do about a single class.
    fn advice(&self, only: &str) -> String {
        let inner = match self {
            DataSpec::Folder(dir) => dir.join(only),
            _ => return "; there is nothing to tell apart".into(),
        };
        let folders = subfolders(&inner).unwrap_or_default();
        if folders.is_empty() {
            return "; put the images of each class into a folder of its own, or give the folder above"
                .into();
        }
        format!("; if {} are the classes, give folder:{}", folders.join(", "), inner.display())
    }
}

/// A name of a file as a part of the name of another.
fn word(name: Option<&std::ffi::OsStr>) -> String {
    let name = name.map_or_else(|| "data".into(), |name| name.to_string_lossy().to_lowercase());
    name.replace(|c: char| !c.is_alphanumeric(), "-")
}

/// A file and the options behind it: `FILE`, `FILE?length=64`, `FILE?length=64&tokens=bytes`.
fn file_and_options<'a>(text: &str, rest: &'a str) -> Result<(PathBuf, Vec<(&'a str, &'a str)>)> {
    let (path, options) = match rest.rsplit_once('?') {
        Some((path, options)) if options.contains('=') => (path, options),
        _ => (rest, ""),
    };
    if path.is_empty() {
        let name = text.split(':').next().unwrap_or_default();
        return Err(Error::setting(format!("data `{text}` names no file; write {name}:FILE")));
    }
    let options = options.split('&').filter(|option| !option.is_empty());
    Ok((path.into(), options.map(|option| option.split_once('=').unwrap_or((option, ""))).collect()))
}

fn unknown_option(text: &str, (name, value): (&str, &str), known: &str) -> Error {
    Error::setting(format!("data `{text}`: unknown option `{name}={value}`; known are {known}"))
}

fn parse_text(text: &str, rest: &str) -> Result<DataSpec> {
    let (path, options) = file_and_options(text, rest)?;
    let (mut length, mut bytes) = (TEXT_LENGTH, false);
    for option in options {
        match option {
            ("length", number) => match number.parse() {
                Ok(number @ 1..=1_000_000) => length = number,
                _ => {
                    return Err(Error::setting(format!(
                        "data `{text}`: the length must be a number of tokens from 1 to 1000000"
                    )));
                }
            },
            ("tokens", "bytes") => bytes = true,
            ("tokens", "characters") => bytes = false,
            option => {
                let known = "length=NUMBER, tokens=characters and tokens=bytes";
                return Err(unknown_option(text, option, known));
            }
        }
    }
    Ok(DataSpec::Text { path, length, bytes })
}

fn parse_table(text: &str, rest: &str) -> Result<DataSpec> {
    let (path, given) = file_and_options(text, rest)?;
    let mut options = TableOptions::default();
    for option in given {
        match option {
            ("target", column) => options.target = Some(column.into()),
            ("ignore", columns) => options.ignore = columns.split(',').map(String::from).collect(),
            ("classes", "yes") => options.classes = true,
            ("classes", "no") => options.classes = false,
            option => {
                let known = "target=COLUMN, ignore=COLUMN,COLUMN and classes=yes";
                return Err(unknown_option(text, option, known));
            }
        }
    }
    Ok(DataSpec::Table { path, options })
}

/// What stands behind a file, if anything does.
fn write_options(f: &mut fmt::Formatter<'_>, options: [Option<String>; 3]) -> fmt::Result {
    let options: Vec<String> = options.into_iter().flatten().collect();
    if options.is_empty() { Ok(()) } else { write!(f, "?{}", options.join("&")) }
}

fn open_images(dir: &Path, size: usize) -> Result<ImageFolder> {
    Ok(ImageFolder::open(dir, 3, size, size)?)
}

/// The means and deviations that models for photographs are usually trained with.
fn photographs() -> Result<Normalization> {
    Ok(Normalization::new(&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225])?)
}

/// The folders for training and for testing, if these are what a folder has.
fn parts(dir: &Path) -> Result<Option<(PathBuf, PathBuf)>> {
    let folders = subfolders(dir)?;
    let find = |names: &[&str]| {
        let found =
            names.iter().find_map(|name| folders.iter().find(|folder| folder.eq_ignore_ascii_case(name)));
        found.map(|folder| dir.join(folder))
    };
    let (Some(train), Some(test)) = (find(&TRAIN_NAMES), find(&TEST_NAMES)) else { return Ok(None) };
    // A class may be called like a part, but then its pictures lie in it.
    Ok((!subfolders(&train)?.is_empty()).then_some((train, test)))
}

/// The names of the folders in a folder that are not hidden, sorted.
fn subfolders(dir: &Path) -> Result<Vec<String>> {
    let entries =
        std::fs::read_dir(dir).map_err(|error| Error::io("cannot list it", error).context(dir.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok().filter(|entry| entry.path().is_dir()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && name != "__MACOSX")
        .collect();
    names.sort();
    Ok(names)
}

fn open_folder(
    dir: &Path,
    size: usize,
    noted: Option<&FileSplit>,
    notes: &mut Vec<String>,
) -> Result<(ImageFolder, ImageFolder)> {
    let mut open = |dir: &Path| {
        let images = open_images(dir, size)?;
        // What is plainly broken is said now, not when an epoch has been trained.
        images.check()?;
        if !images.left_out().is_empty() {
            notes.push(format!("{}: {}", dir.display(), images.left_out()));
        }
        Ok::<_, Error>(images)
    };
    let parts = if dir.is_dir() { parts(dir)? } else { None };
    let (train, test) = match (parts, noted) {
        (Some((train, test)), _) => (open(&train)?, open(&test)?),
        (None, None) => open(dir)?.split(FOLDER_TRAIN_PART, FOLDER_SEED)?,
        (None, Some(noted)) => {
            let (train, test, differences) = open(dir)?.split_as(noted, FOLDER_TRAIN_PART, FOLDER_SEED)?;
            notes.extend(differences);
            (train, test)
        }
    };
    let (here, there) = (train.description().class_names(), test.description().class_names());
    if here != there {
        let names = |names: Option<&[String]>| names.map(|names| names.join(", ")).unwrap_or_default();
        return Err(Error::data(format!(
            "{}: training images have the classes {}, test images {}; name their folders alike",
            dir.display(),
            names(here),
            names(there)
        )));
    }
    Ok((train.normalized(photographs()?)?, test.normalized(photographs()?)?))
}

impl fmt::Display for DataSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DataSpec::Digits(DIGITS_TRAIN) => f.write_str("digits"),
            DataSpec::Digits(count) => write!(f, "digits:{count}"),
            DataSpec::Mnist(dir) if dir == Path::new(MNIST_DIR) => f.write_str("mnist"),
            DataSpec::Mnist(dir) => write!(f, "mnist:{}", dir.display()),
            DataSpec::Cifar10(dir) => write!(f, "cifar10:{}", dir.display()),
            DataSpec::Folder(dir) => write!(f, "folder:{}", dir.display()),
            DataSpec::Text { path, length, bytes } => {
                write!(f, "text:{}", path.display())?;
                let length = (*length != TEXT_LENGTH).then(|| format!("length={length}"));
                write_options(f, [length, bytes.then(|| "tokens=bytes".to_string()), None])
            }
            DataSpec::Table { path, options } => {
                write!(f, "table:{}", path.display())?;
                let target = options.target.as_ref().map(|target| format!("target={target}"));
                let ignore =
                    (!options.ignore.is_empty()).then(|| format!("ignore={}", options.ignore.join(",")));
                write_options(f, [target, ignore, options.classes.then(|| "classes=yes".to_string())])
            }
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
        let spec = input.map_or_else(InputSpec::default, InputSpec::of_field);
        // Inputs of other names, or several.
        let own_fields =
            description.fields.iter().any(|field| ![INPUT, TARGET].contains(&field.name.as_str()));
        let preparation = input.map(|field| &field.preparation);
        let is_told =
            own_fields || matches!(preparation, Some(Preparation::Text | Preparation::Table { .. }));
        InputSpec {
            classes: description.class_names().map_or_else(Vec::new, <[String]>::to_vec),
            description: is_told.then(|| description.clone()),
            ..spec
        }
    }

    /// What a field of samples looks like.
    pub(super) fn of_field(field: &Field) -> InputSpec {
        let normalization = field.preparation.normalization();
        InputSpec {
            shape: field.shape.clone(),
            classes: Vec::new(),
            mean: normalization.map_or_else(Vec::new, |n| n.mean().to_vec()),
            std: normalization.map_or_else(Vec::new, |n| n.std().to_vec()),
            digits: matches!(field.preparation, Preparation::Digit { .. }),
            description: None,
        }
    }

    /// How many numbers a model gives for such data: a score per class or token, or the values of the target; 0 where the data
    /// do not say.
    pub fn outputs(&self) -> usize {
        let numbers = self.description.as_ref().and_then(|description| description.target());
        match (self.vocabulary(), numbers) {
            (Some(vocabulary), _) => vocabulary.len(),
            (None, Some(target)) if target.classes().is_none() => target.shape.iter().product(),
            _ => self.classes.len(),
        }
    }

    /// Whether a run that was started with samples like these can go on with those that are there now.
    ///
    /// # Errors
    /// Shape, classes, normalisation or columns are others; the message says which.
    pub fn check_continues(&self, now: &InputSpec) -> Result<()> {
        let differs = |what: &str, was: String, is: String| {
            Err(Error::data(format!(
                "the data have changed since the run was started: {what} {was}, now {is}; go on with the same data, or \
                 start another run"
            )))
        };
        if self.shape != now.shape {
            return differs("samples had the shape", format!("{:?}", self.shape), format!("{:?}", now.shape));
        }
        if self.classes != now.classes {
            return differs("the classes were", self.classes.join(", "), now.classes.join(", "));
        }
        if (&self.mean, &self.std) != (&now.mean, &now.std) {
            let numbers =
                |inputs: &InputSpec| format!("mean {:?} and deviation {:?}", inputs.mean, inputs.std);
            return differs("normalisation was by", numbers(self), numbers(now));
        }
        if self.description.as_ref().map(|was| &was.fields) != now.description.as_ref().map(|is| &is.fields) {
            return differs(
                "columns or vocabulary were",
                "others".into(),
                "they are as the data have them".into(),
            );
        }
        Ok(())
    }

    /// What tokens stand for, where the inputs are tokens.
    pub fn vocabulary(&self) -> Option<&Vocabulary> {
        self.description.as_ref().and_then(|description| description.input()).and_then(Field::vocabulary)
    }

    /// Reads a PNG or JPEG file in the size that the model takes, as raw numbers from 0 to 1, which
    /// [`Trained`](super::Trained) normalises.
    ///
    /// # Errors
    /// The file is missing or damaged, or the model does not take images.
    pub fn read_image(&self, path: impl AsRef<Path>) -> Result<Vec<f32>> {
        let &[channels, height, width] = self.shape.as_slice() else {
            return Err(Error::data(format!(
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
        for text in [
            "digits",
            "digits:600",
            "mnist:/a/b",
            "cifar10:x",
            "folder:pets: both",
            "text:a?b.txt",
            "text:a.txt?length=9&tokens=bytes",
        ] {
            assert_eq!(DataSpec::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(DataSpec::parse("mnist").unwrap(), DataSpec::Mnist("data/mnist".into()));
        assert_eq!(DataSpec::parse("folder:a/My Pets").unwrap().short_name(), "my-pets");
        for (text, part) in [
            ("minst", "unknown data `minst`; known are digits"),
            ("cifar10", "write cifar10:DIR"),
            ("folder:", "write folder:DIR"),
            ("text:", "write text:FILE"),
            ("table:x?tarjet=a", "unknown option `tarjet=a`; known are target=COLUMN"),
            ("text:a?length=0", "from 1 to"),
            ("text:a?lenght=3", "unknown option `lenght=3`"),
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

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path =
                std::env::temp_dir().join(format!("dropforge-data-spec-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            Folder(path)
        }

        fn write(&self, name: &str, bytes: &[u8]) {
            let path = self.0.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }

        fn open(&self) -> Result<OpenData> {
            DataSpec::Folder(self.0.clone()).open(8)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// The start of a PNG file, which is all that opening looks at.
    const PICTURE: &[u8] = b"\x89PNG\r\n\x1a\n";

    #[test]
    fn parts_by_any_of_their_names() {
        for (train, test) in
            [("train", "validation"), ("Train", "Test"), ("training", "val"), ("TRAINING", "dev")]
        {
            let folder = Folder::new("parts");
            for (part, count) in [(train, 3), (test, 2)] {
                for class in ["red", "blue"] {
                    (0..count).for_each(|i| folder.write(&format!("{part}/{class}/deep/{i}.png"), PICTURE));
                }
            }
            folder.write(&format!("{train}/red/x.gif"), b"GIF89a");
            let data = folder.open().unwrap();
            assert_eq!((data.train.len(), data.test.len()), (Some(6), Some(4)), "{train} and {test}");
            assert_eq!(data.inputs.classes, ["blue", "red"]);
            assert!(data.notes[0].contains("1 GIF images"), "{:?}", data.notes);
            let all = DataSpec::Folder(folder.0.clone()).open_all(8, &data.inputs).unwrap();
            assert_eq!(all.len(), Some(4));
        }
    }

    #[test]
    fn one_class_is_refused_and_broken_files_are_found_before_training() {
        let folder = Folder::new("one");
        (0..4).for_each(|i| folder.write(&format!("all/red/{i}.png"), PICTURE));
        (0..4).for_each(|i| folder.write(&format!("all/blue/{i}.png"), PICTURE));
        let message = folder.open().err().unwrap().to_string();
        assert!(
            message.contains("one class only, `all`; if blue, red are the classes, give folder:"),
            "{message}"
        );
        // To measure on, one class is enough.
        let inputs = InputSpec::default();
        assert_eq!(DataSpec::Folder(folder.0.clone()).open_all(8, &inputs).unwrap().len(), Some(8));
        let inner = DataSpec::Folder(folder.0.join("all"));
        let data = inner.open(8).unwrap();
        assert_eq!(data.train.len().unwrap() + data.test.len().unwrap(), 8);
        let split = data.split.unwrap();
        folder.write("all/red/9.png", PICTURE);
        let again = inner.open_as(8, Some(&split)).unwrap();
        assert!(again.notes[0].contains("1 files are new"), "{:?}", again.notes);
        let now = again.split.unwrap();
        assert!(split.test.iter().all(|name| now.test.contains(name)));
        assert!(split.train.iter().all(|name| now.train.contains(name)));
        folder.write("all/red/9.png", b"");
        let message = inner.open(8).err().unwrap().to_string();
        assert!(message.contains("9.png: is empty"), "{message}");
    }

    #[test]
    fn a_text_has_the_vocabulary_of_all_of_it() {
        let folder = Folder::new("text");
        folder.write("a.txt", "abcdefgh".repeat(30).as_bytes());
        let spec = DataSpec::parse(&format!("text:{}?length=10", folder.0.join("a.txt").display())).unwrap();
        let data = spec.open(0).unwrap();
        assert_eq!((data.train.len(), data.test.len()), (Some(21), Some(2)));
        assert_eq!((data.inputs.outputs(), data.inputs.shape.as_slice()), (8, [10].as_slice()));
        assert_eq!(spec.short_name(), "a");
        folder.write("a.txt", b"a short text, which has other letters");
        let message = spec.open_all(0, &data.inputs).err().unwrap().to_string();
        assert!(message.contains("' ' at place 1 is not in the vocabulary"), "{message}");
    }

    #[test]
    fn a_run_goes_on_with_the_same_classes_only() {
        let was = InputSpec { classes: vec!["blue".into(), "red".into()], ..InputSpec::default() };
        was.check_continues(&was.clone()).unwrap();
        let now = InputSpec { classes: vec!["azure".into(), "blue".into()], ..InputSpec::default() };
        let message = was.check_continues(&now).unwrap_err().to_string();
        assert!(message.contains("the classes were blue, red, now azure, blue"), "{message}");
        let now = InputSpec { mean: vec![0.5], std: vec![1.0], ..was.clone() };
        assert!(was.check_continues(&now).unwrap_err().to_string().contains("normalisation was by mean []"));
        let now = InputSpec { shape: vec![3, 8, 8], ..was.clone() };
        assert!(was.check_continues(&now).unwrap_err().to_string().contains("the shape [], now [3, 8, 8]"));
    }

    #[test]
    fn a_table_by_its_options() {
        let folder = Folder::new("table");
        let rows: String = (0..40).map(|i| format!("{i},{},{}\n", ["red", "blue"][i % 2], i * 3)).collect();
        folder.write("t.csv", format!("number,colour,price\n{rows}").as_bytes());
        let open = |options: &str| {
            let spec = DataSpec::parse(&format!("table:{}{options}", folder.0.join("t.csv").display()));
            spec.unwrap().open(0).unwrap()
        };
        let data = open("");
        assert_eq!((data.train.len(), data.test.len()), (Some(34), Some(6)));
        assert_eq!((data.inputs.shape.as_slice(), data.inputs.outputs()), ([3].as_slice(), 1));
        let data = open("?target=colour&ignore=price");
        assert_eq!((data.inputs.classes.len(), data.inputs.outputs()), (2, 2));
        let kept = toml::to_string(&data.inputs).unwrap();
        assert_eq!(toml::from_str::<InputSpec>(&kept).unwrap(), data.inputs);
    }
}
