//! What a name of data can stand for: one file each, and a line in the list below.

mod cifar;
mod digits;
mod emnist;
mod folder;
mod manifest;
mod mnist;
mod normalize;
mod series;
mod shards;
mod table;
mod text;

use super::InputSpec;
use super::registry::{Entry, entries};
use crate::settings::Table;
use crate::{Error, Result};
use dropforge_data::{CacheOptions, Cached, FileSplit, SkipUnreadable, Source, cached_with, skip_unreadable};
use std::path::Path;
use std::sync::Arc;

/// The data sets of the registry.
pub(super) fn all() -> Vec<Entry<dyn DataSet>> {
    entries![dyn DataSet:
        cifar::Cifar10,
        cifar::Cifar100,
        digits::Digits,
        emnist::Emnist,
        mnist::FashionMnist,
        folder::Folder,
        manifest::Listed,
        mnist::Mnist,
        series::TimeSeries,
        shards::Shards,
        table::CsvTable,
        text::Text,
    ]
}

/// A data set that a name stands for, with its settings; [`described!`](crate::described) says what they are called.
/// The first of them is what may stand behind the name in a word: `digits:600`.
pub trait DataSet: Send + Sync {
    /// Opens the samples to train on and those to measure on.
    ///
    /// # Errors
    /// A file or folder is missing or damaged; the message names it.
    fn open(&self, opening: &Opening<'_>) -> Result<OpenData>;

    /// All samples, to measure a model on other data than it was trained with, whose inputs are these: what is for
    /// testing where a data set has such a part of its own, and else everything.
    ///
    /// # Errors
    /// As for [`DataSet::open`].
    fn open_all(&self, opening: &Opening<'_>, inputs: &InputSpec) -> Result<Arc<dyn Source>> {
        let _ = inputs;
        Ok(self.open(opening)?.test)
    }

    /// A word for the data set, for names of folders.
    fn short_name(&self) -> String;

    /// Fetches the data set unless it is there.
    ///
    /// # Errors
    /// The data set is none that can be fetched, or fetching fails.
    fn download(&self) -> Result<()> {
        Err(Error::setting("it cannot be downloaded, as mnist can; give a folder or a file that is there"))
    }

    /// What to do if there is this class only, as the end of a message.
    fn advice_for_one_class(&self, only: &str) -> String {
        let _ = only;
        "there is nothing to tell apart".into()
    }

    /// Its name and settings.
    ///
    /// # Errors
    /// Only if there is a bug: the settings are texts and numbers.
    fn config(&self) -> Result<Table>;
}

/// How data are opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Opening<'a> {
    /// Height and width that the images of files are brought to.
    pub size: usize,
    /// On which side a run has noted each file to be, if it has: there it stays.
    pub noted: Option<&'a FileSplit>,
    /// Whether targets of numbers stay as they stand, in place of being standardised: a loss of counts or of yes and no
    /// needs them so.
    pub unscaled: bool,
    /// Whether files that are plainly no images are left out, and noted, instead of refused.
    pub skip_corrupt: bool,
    /// What the inputs of a run look like, if there is one: what data sets find out of their samples stays as it was.
    pub inputs: Option<&'a InputSpec>,
}

impl Opening<'_> {
    /// Images of files are brought to this height and width.
    pub fn of(size: usize) -> Opening<'static> {
        Opening { size, ..Opening::default() }
    }
}

/// Training and test data, opened.
#[derive(Clone)]
pub struct OpenData {
    /// Samples to train on.
    pub train: Arc<dyn Source>,
    /// Samples to measure on.
    pub test: Arc<dyn Source>,
    /// Samples that training never looks at, for the last word on a model; `None` where there are none beside `test`.
    pub kept: Option<Arc<dyn Source>>,
    /// What the samples look like.
    pub inputs: InputSpec,
    /// How many threads reading pays for.
    pub threads: usize,
    /// Which files are on which side, for a run to note; `None` where that is not a matter of files.
    pub split: Option<FileSplit>,
    /// What people should know about what was read and what was not, a line each.
    pub notes: Vec<String>,
    /// What the raw data were taken as, where that is a guess: the columns of a table. One line, for the start of
    /// training.
    pub taken_as: Option<String>,
    /// What counts samples that were passed over.
    skipping: Vec<Arc<SkipUnreadable>>,
    cache: Option<Arc<Cached>>,
}

impl OpenData {
    /// Samples to train on and to measure on, which are in memory or as good as that.
    pub fn new(train: impl Source + 'static, test: impl Source + 'static) -> OpenData {
        let inputs = InputSpec::of(&train);
        let (train, test) = (Arc::new(train), Arc::new(test));
        let (split, notes, taken_as, skipping, cache) = (None, Vec::new(), None, Vec::new(), None);
        OpenData { train, test, kept: None, inputs, threads: 1, split, notes, taken_as, skipping, cache }
    }

    /// Samples that cannot be read are passed over if that is wanted, and those to train on are kept once they are read,
    /// as far as a cache is to hold them.
    ///
    /// # Errors
    /// The samples are a stream, which cannot be kept; or no file can be made for them.
    pub fn keep(&mut self, skip_corrupt: bool, cache: Option<&CacheOptions>) -> Result<()> {
        for side in [&mut self.train, &mut self.test].into_iter().filter(|_| skip_corrupt) {
            let skipping = Arc::new(skip_unreadable(side.clone()));
            self.skipping.push(skipping.clone());
            *side = skipping;
        }
        if let Some(options) = cache {
            let kept = Arc::new(cached_with(self.train.clone(), options)?);
            self.cache = Some(kept.clone());
            self.train = kept;
        }
        Ok(())
    }

    /// What is known when the samples have been read: how many could not be, and what the cache did, a line each.
    pub fn afterwards(&self) -> Vec<String> {
        let skipped: usize = self.skipping.iter().map(|side| side.skipped()).sum();
        let first = self.skipping.iter().find_map(|side| side.first_error());
        let skipped =
            first.map(|first| format!("passed over {skipped} times what cannot be read; the first: {first}"));
        skipped.into_iter().chain(self.cache.iter().map(|cache| format!("cache: {}", cache.used()))).collect()
    }
}

/// A name of a file as a part of the name of another.
fn word(name: Option<&std::ffi::OsStr>) -> String {
    let name = name.map_or_else(|| "data".into(), |name| name.to_string_lossy().to_lowercase());
    name.replace(|c: char| !c.is_alphanumeric(), "-")
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

/// A folder of its own for one test, removed afterwards.
#[cfg(test)]
pub(super) struct TestFolder(pub std::path::PathBuf);

#[cfg(test)]
impl TestFolder {
    pub fn new(name: &str) -> TestFolder {
        let path = std::env::temp_dir().join(format!("dropforge-data-set-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        TestFolder(path)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// The data set of a word in which `{}` stands for the folder.
    pub fn spec(&self, word: &str) -> super::DataSpec {
        super::DataSpec::parse(&word.replace("{}", &self.0.display().to_string())).unwrap()
    }
}

#[cfg(test)]
impl Drop for TestFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
