//! Images in folders.

use super::normalize::{Normalize, as_trained};
use super::{DataSet, InputSpec, OpenData, Opening, subfolders, word};
use crate::settings::{Described, Range, Table};
use crate::{Error, Result, described};
use dropforge_data::{FileSplit, ImageFolder, Source};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Which images of a folder are kept for testing, always the same, and how many are not.
pub(super) const SEED: u64 = 1;
pub(super) const TRAIN_PART: f64 = 0.85;
/// Names of folders that hold a part of a data set, in any case, the first that is there being taken.
const TRAIN_NAMES: [&str; 2] = ["train", "training"];
const VALIDATION_NAMES: [&str; 4] = ["val", "valid", "validation", "dev"];
const TEST_NAMES: [&str; 3] = ["test", "testing", "eval"];

/// Images in a folder per class; or in such folders within `train`, `val` and `test`.
pub struct Folder {
    path: PathBuf,
    normalize: Normalize,
}

/// The folders of the parts of a data set.
struct Parts {
    train: PathBuf,
    /// What is measured while training.
    validation: PathBuf,
    /// What training never looks at, if there is a third.
    test: Option<PathBuf>,
}

described! {
    Folder = "folder", "images (PNG, JPEG, WebP, GIF, BMP) in a folder per class, or in such folders within train, val and test";
    path: PathBuf, None, Range::ANY, "the folder";
    normalize: Normalize, Some(Normalize::Usual), Range::ANY, "by which mean and deviation: the `usual` ones for photographs, or those `found` in the images to train on";
}

impl DataSet for Folder {
    fn open(&self, opening: &Opening<'_>) -> Result<OpenData> {
        let mut notes = Vec::new();
        let dir = &self.path;
        let parts = if dir.is_dir() { parts(dir)? } else { None };
        let both = match (&parts, opening.noted) {
            (Some(parts), _) => {
                notes.push(parts.said());
                let both =
                    (read(&parts.train, opening, &mut notes)?, read(&parts.validation, opening, &mut notes)?);
                same_classes(dir, &both.0, &both.1)?;
                both
            }
            (None, None) => read(dir, opening, &mut notes)?.split(TRAIN_PART, SEED)?,
            (None, Some(noted)) => {
                let all = read(dir, opening, &mut notes)?;
                let (train, test, differences) = all.split_as(noted, TRAIN_PART, SEED)?;
                notes.extend(differences);
                (train, test)
            }
        };
        let (train, test) = self.normalize.apply(opening, &mut notes, both)?;
        let mut kept = None;
        if let Some(dir) = parts.and_then(|parts| parts.test) {
            let images = read(&dir, opening, &mut notes)?;
            same_classes(&self.path, &train, &images)?;
            kept = Some(Arc::new(as_trained(&images, &InputSpec::of(&train))?) as Arc<dyn Source>);
        }
        let split = FileSplit { train: train.names(), test: test.names() };
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
        Ok(OpenData { threads, kept, split: Some(split), notes, ..OpenData::new(train, test) })
    }

    fn open_all(&self, opening: &Opening<'_>, inputs: &InputSpec) -> Result<Arc<dyn Source>> {
        let parts = parts(&self.path)?;
        let dir = parts.map_or_else(|| self.path.clone(), |parts| parts.test.unwrap_or(parts.validation));
        let all = open_images(&dir, opening.size)?;
        if !opening.skip_corrupt {
            all.check()?;
        }
        Ok(Arc::new(as_trained(&all, inputs)?))
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

/// The images of a folder, of which what is plainly broken is said now, not when an epoch has been trained.
fn read(dir: &Path, opening: &Opening<'_>, notes: &mut Vec<String>) -> Result<ImageFolder> {
    let mut images = open_images(dir, opening.size)?;
    if opening.skip_corrupt {
        let (whole, wrong) = images.without_corrupt()?;
        images = whole;
        if let Some(first) = wrong.first() {
            notes.push(format!("left out {} files that are no images; the first: {first}", wrong.len()));
        }
    } else {
        images.check()?;
    }
    if !images.left_out().is_empty() {
        notes.push(format!("{}: {}", dir.display(), images.left_out()));
    }
    Ok(images)
}

/// Whether two parts have the same classes.
fn same_classes(dir: &Path, train: &ImageFolder, other: &ImageFolder) -> Result<()> {
    let (here, there) = (train.description().class_names(), other.description().class_names());
    if here == there {
        return Ok(());
    }
    let names = |names: Option<&[String]>| names.map(|names| names.join(", ")).unwrap_or_default();
    Err(Error::data(format!(
        "{}: training images have the classes {}, {} images {}; name their folders alike",
        dir.display(),
        names(here),
        other.description().name,
        names(there)
    )))
}

fn open_images(dir: &Path, size: usize) -> Result<ImageFolder> {
    Ok(ImageFolder::open(dir, 3, size, size)?)
}

impl Parts {
    /// Which folder is used for what, as a line.
    fn said(&self) -> String {
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (train, validation) = (name(&self.train), name(&self.validation));
        let within = self.train.parent().unwrap_or(&self.train).display();
        match &self.test {
            Some(test) => format!(
                "{within}: {train} is trained on and {validation} measured; {} is left to `dropforge eval`",
                name(test)
            ),
            None => format!("{within}: {train} is trained on and {validation} measured"),
        }
    }
}

/// The folders of the parts, if these are what a folder has.
fn parts(dir: &Path) -> Result<Option<Parts>> {
    let folders = subfolders(dir)?;
    let find = |names: &[&str]| {
        let found =
            names.iter().find_map(|name| folders.iter().find(|folder| folder.eq_ignore_ascii_case(name)));
        found.map(|folder| dir.join(folder))
    };
    let Some(train) = find(&TRAIN_NAMES) else { return Ok(None) };
    let (validation, test) = match (find(&VALIDATION_NAMES), find(&TEST_NAMES)) {
        (Some(validation), test) => (validation, test),
        (None, Some(test)) => (test, None),
        (None, None) => return Ok(None),
    };
    // A class may be called like a part, but then its pictures lie in it.
    Ok((!subfolders(&train)?.is_empty()).then_some(Parts { train, validation, test }))
}

#[cfg(test)]
mod tests {
    use super::super::TestFolder;
    use super::*;

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
            let said = format!("{train} is trained on and {test} measured");
            assert!(data.notes[0].ends_with(&said), "{:?}", data.notes);
            assert!(data.notes[1].contains("1 TIFF images"), "{:?}", data.notes);
            assert!(data.kept.is_none());
            assert_eq!(spec.open_all(&Opening::of(8), &data.inputs).unwrap().len(), Some(4));
        }
    }

    /// A grey picture of one shade.
    fn shade(shade: u8) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, 2, 2);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.write_header().unwrap().write_image_data(&[shade; 4]).unwrap();
        file
    }

    #[test]
    fn a_third_part_is_kept_and_normalisation_is_that_of_the_first() {
        let folder = TestFolder::new("three");
        for (part, shades) in [("train", [51, 102]), ("valid", [0, 255]), ("test", [255, 255])] {
            for (class, shade_of_it) in ["a", "b"].iter().zip(shades) {
                folder.write(&format!("{part}/{class}/1.png"), &shade(shade_of_it));
            }
        }
        folder.write("test/a/2.png", &shade(9));
        let spec = folder.spec("folder:{}?normalize=found");
        let data = spec.open(&Opening::of(2)).unwrap();
        assert_eq!((data.train.len(), data.test.len()), (Some(2), Some(2)));
        let kept = data.kept.unwrap();
        assert_eq!(kept.len(), Some(3));
        assert!(
            data.notes[0].ends_with("valid measured; test is left to `dropforge eval`"),
            "{:?}",
            data.notes
        );
        assert!(data.notes[1].contains("mean 0.300, 0.300, 0.300 and deviation 0.100"), "{:?}", data.notes);
        for source in [&data.test, &kept, &spec.open_all(&Opening::of(2), &data.inputs).unwrap()] {
            let white = dropforge_data::read_one(&**source, source.len().unwrap() - 1).unwrap();
            let white = white.get("input").unwrap().slice::<f32>().unwrap()[0];
            assert!((white - 7.0).abs() < 1e-4, "{white}");
        }
        // A run goes on with what it found, whatever has come.
        folder.write("train/b/2.png", &shade(255));
        let again = spec.open(&Opening { inputs: Some(&data.inputs), ..Opening::of(2) }).unwrap();
        assert_eq!(again.inputs, data.inputs);
        assert_ne!(spec.open(&Opening::of(2)).unwrap().inputs, data.inputs);
        let message = crate::run::DataSpec::parse("folder:x?normalize=fund").unwrap_err().to_string();
        assert!(message.contains("did you mean `found`"), "{message}");
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
