//! Images that a file lists.

use super::folder::{SEED, TRAIN_PART};
use super::normalize::{Normalize, as_trained};
use super::{DataSet, InputSpec, OpenData, Opening, word};
use crate::settings::{Described, Range, Table};
use crate::{Result, described};
use dropforge_data::{FileSplit, Manifest, ManifestOptions, Source};
use std::path::PathBuf;
use std::sync::Arc;

/// Images with their classes, and on which side they are, in a table or JSON lines.
pub struct Listed {
    path: PathBuf,
    image: Option<String>,
    class: Option<String>,
    split: Option<String>,
    normalize: Normalize,
}

described! {
    Listed = "manifest", "images that a table or JSON lines list with their classes and, if they like, their sides";
    path: PathBuf, None, Range::ANY, "the file; paths in it are from its folder";
    image: Option<String>, Some(None), Range::ANY, "the column of the paths; `path`, `file`, `filename` or `image` by default";
    class: Option<String>, Some(None), Range::ANY, "the column of the classes; `class`, `label`, `target` or `category` by default";
    split: Option<String>, Some(None), Range::ANY, "the column of the sides, such as train and test; `split`, `subset`, `part` or `set` by default";
    normalize: Normalize, Some(Normalize::Usual), Range::ANY, "by which mean and deviation: the `usual` ones for photographs, or those `found` in the images to train on";
}

impl DataSet for Listed {
    fn open(&self, opening: &Opening<'_>) -> Result<OpenData> {
        open_listed(self.read(opening)?, self.normalize, opening)
    }

    fn open_all(&self, opening: &Opening<'_>, inputs: &InputSpec) -> Result<Arc<dyn Source>> {
        let Manifest { train, test } = self.read(opening)?;
        Ok(Arc::new(as_trained(&test.unwrap_or(train), inputs)?))
    }

    fn short_name(&self) -> String {
        word(self.path.file_stem())
    }

    fn config(&self) -> Result<Table> {
        self.write_named()
    }
}

/// The two sides of a list, which says them or not.
pub(super) fn open_listed(listed: Manifest, normalize: Normalize, opening: &Opening<'_>) -> Result<OpenData> {
    let Manifest { train, test } = listed;
    let mut notes = Vec::new();
    let (train, test) = match (test, opening.noted) {
        (Some(test), _) => (train, test),
        (None, None) => train.split(TRAIN_PART, SEED)?,
        (None, Some(noted)) => {
            let (train, test, differences) = train.split_as(noted, TRAIN_PART, SEED)?;
            notes.extend(differences);
            (train, test)
        }
    };
    if !opening.skip_corrupt {
        train.check()?;
        test.check()?;
    }
    let split = FileSplit { train: train.names(), test: test.names() };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let (train, test) = normalize.apply(opening, &mut notes, (train, test))?;
    Ok(OpenData { threads, split: Some(split), notes, ..OpenData::new(train, test) })
}

impl Listed {
    fn read(&self, opening: &Opening<'_>) -> Result<Manifest> {
        let Listed { path, image, class, split, .. } = self;
        let options = ManifestOptions { image: image.clone(), class: class.clone(), split: split.clone() };
        Ok(Manifest::open(path, 3, opening.size, opening.size, &options)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::TestFolder;
    use super::*;

    #[test]
    fn a_list_with_sides_of_its_own_or_without() {
        let folder = TestFolder::new("manifest");
        (0..20).for_each(|i| folder.write(&format!("{i}.png"), b"\x89PNG\r\n\x1a\n"));
        let rows = |with: &str| {
            (0..20).map(|i| format!("{i}.png,{}{with}\n", ["a", "b"][i % 2])).collect::<String>()
        };
        folder.write("all.csv", format!("path,what\n{}", rows("")).as_bytes());
        let spec = folder.spec("manifest:{}/all.csv?class=what");
        let data = spec.open(&Opening::of(8)).unwrap();
        assert_eq!(data.train.len().unwrap() + data.test.len().unwrap(), 20);
        assert_eq!(
            (data.inputs.classes.as_slice(), spec.short_name().as_str()),
            (&["a".to_string(), "b".into()][..], "all")
        );
        let noted = data.split.unwrap();
        let again = spec.open(&Opening { noted: Some(&noted), ..Opening::of(8) }).unwrap();
        assert_eq!(again.split.unwrap(), noted);
        let own = rows(",train").replacen("train", "val", 3);
        folder.write("own.csv", format!("path,label,split\n{own}").as_bytes());
        let data = folder.spec("manifest:{}/own.csv").open(&Opening::of(8)).unwrap();
        assert_eq!((data.train.len(), data.test.len()), (Some(17), Some(3)));
    }
}
