//! Images in folders.

use super::{DataSet, OpenData, Opening, subfolders, word};
use crate::settings::{Described, Range, Table};
use crate::{Error, Result, described};
use dropforge_data::{FileSplit, ImageFolder, Normalization, Source};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Which images of a folder are kept for testing, always the same, and how many are not.
pub(super) const SEED: u64 = 1;
pub(super) const TRAIN_PART: f64 = 0.85;
/// Names of folders that hold a part of a data set, in any case, the first that is there being taken.
const TRAIN_NAMES: [&str; 2] = ["train", "training"];
const TEST_NAMES: [&str; 7] = ["test", "val", "valid", "validation", "testing", "eval", "dev"];

/// Images in a folder per class; or in such folders within `train` and `test`.
pub struct Folder {
    path: PathBuf,
}

described! {
    Folder = "folder", "images (PNG, JPEG, WebP, GIF, BMP) in a folder per class, or in such folders within train and test";
    path: PathBuf, None, Range::ANY, "the folder";
}

impl DataSet for Folder {
    fn open(&self, opening: &Opening<'_>) -> Result<OpenData> {
        let mut notes = Vec::new();
        let (train, test) = self.parts(opening, &mut notes)?;
        let split = FileSplit { train: train.names(), test: test.names() };
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
        Ok(OpenData { threads, split: Some(split), notes, ..OpenData::new(train, test) })
    }

    fn open_all(&self, opening: &Opening<'_>, _: &super::InputSpec) -> Result<Arc<dyn Source>> {
        let dir = parts(&self.path)?.map_or_else(|| self.path.clone(), |(_, test)| test);
        let all = open_images(&dir, opening.size)?;
        all.check()?;
        Ok(Arc::new(all.normalized(photographs()?)?))
    }

    fn short_name(&self) -> String {
        word(self.path.file_name())
    }

    fn advice_for_one_class(&self, only: &str) -> String {
        let inner = self.path.join(only);
        let folders = subfolders(&inner).unwrap_or_default();
        if folders.is_empty() {
            return "put the images of each class into a folder of its own, or give the folder above".into();
        }
        format!("if {} are the classes, give folder:{}", folders.join(", "), inner.display())
    }

    fn config(&self) -> Result<Table> {
        self.write_named()
    }
}

impl Folder {
    /// Images to train on and to measure on.
    fn parts(&self, opening: &Opening<'_>, notes: &mut Vec<String>) -> Result<(ImageFolder, ImageFolder)> {
        let dir = &self.path;
        let mut open = |dir: &Path| {
            let mut images = open_images(dir, opening.size)?;
            // What is plainly broken is said now, not when an epoch has been trained.
            if opening.skip_corrupt {
                let (whole, wrong) = images.without_corrupt()?;
                images = whole;
                if let Some(first) = wrong.first() {
                    notes.push(format!(
                        "left out {} files that are no images; the first: {first}",
                        wrong.len()
                    ));
                }
            } else {
                images.check()?;
            }
            if !images.left_out().is_empty() {
                notes.push(format!("{}: {}", dir.display(), images.left_out()));
            }
            Ok::<_, Error>(images)
        };
        let inner = if dir.is_dir() { parts(dir)? } else { None };
        let (train, test) = match (inner, opening.noted) {
            (Some((train, test)), _) => (open(&train)?, open(&test)?),
            (None, None) => open(dir)?.split(TRAIN_PART, SEED)?,
            (None, Some(noted)) => {
                let (train, test, differences) = open(dir)?.split_as(noted, TRAIN_PART, SEED)?;
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
}

fn open_images(dir: &Path, size: usize) -> Result<ImageFolder> {
    Ok(ImageFolder::open(dir, 3, size, size)?)
}

/// The means and deviations that models for photographs are usually trained with.
pub(super) fn photographs() -> Result<Normalization> {
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

#[cfg(test)]
mod tests {
    use super::super::TestFolder;
    use super::*;
    use crate::run::InputSpec;

    /// The start of a PNG file, which is all that opening looks at.
    const PICTURE: &[u8] = b"\x89PNG\r\n\x1a\n";

    #[test]
    fn parts_by_any_of_their_names() {
        for (train, test) in
            [("train", "validation"), ("Train", "Test"), ("training", "val"), ("TRAINING", "dev")]
        {
            let folder = TestFolder::new("parts");
            for (part, count) in [(train, 3), (test, 2)] {
                for class in ["red", "blue"] {
                    (0..count).for_each(|i| folder.write(&format!("{part}/{class}/deep/{i}.png"), PICTURE));
                }
            }
            folder.write(&format!("{train}/red/x.tif"), b"II*\0");
            let spec = folder.spec("folder:{}");
            let data = spec.open(&Opening::of(8)).unwrap();
            assert_eq!((data.train.len(), data.test.len()), (Some(6), Some(4)), "{train} and {test}");
            assert_eq!(data.inputs.classes, ["blue", "red"]);
            assert!(data.notes[0].contains("1 TIFF images"), "{:?}", data.notes);
            assert_eq!(spec.open_all(&Opening::of(8), &data.inputs).unwrap().len(), Some(4));
        }
    }

    #[test]
    fn one_class_is_refused_and_broken_files_are_found_before_training() {
        let folder = TestFolder::new("one");
        (0..4).for_each(|i| folder.write(&format!("all/red/{i}.png"), PICTURE));
        (0..4).for_each(|i| folder.write(&format!("all/blue/{i}.png"), PICTURE));
        let (spec, opening) = (folder.spec("folder:{}"), Opening::of(8));
        let message = spec.open(&opening).err().unwrap().to_string();
        assert!(
            message.contains("one class only, `all`; if blue, red are the classes, give folder:"),
            "{message}"
        );
        // To measure on, one class is enough.
        let inputs = InputSpec::default();
        assert_eq!(spec.open_all(&opening, &inputs).unwrap().len(), Some(8));
        let inner = folder.spec("folder:{}/all");
        let data = inner.open(&opening).unwrap();
        assert_eq!(data.train.len().unwrap() + data.test.len().unwrap(), 8);
        let split = data.split.unwrap();
        folder.write("all/red/9.png", PICTURE);
        let again = inner.open(&Opening { noted: Some(&split), ..opening }).unwrap();
        assert!(again.notes[0].contains("1 files are new"), "{:?}", again.notes);
        let now = again.split.unwrap();
        assert!(split.test.iter().all(|name| now.test.contains(name)));
        assert!(split.train.iter().all(|name| now.train.contains(name)));
        folder.write("all/red/9.png", b"");
        let message = inner.open(&opening).err().unwrap().to_string();
        assert!(message.contains("9.png: is empty"), "{message}");
        let data = inner.open(&Opening { skip_corrupt: true, ..opening }).unwrap();
        assert_eq!(data.train.len().unwrap() + data.test.len().unwrap(), 8);
        assert!(
            data.notes[0].contains("left out 1 files that are no images; the first: "),
            "{:?}",
            data.notes
        );
    }
}
