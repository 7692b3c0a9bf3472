//! Images in tar files.

use super::manifest::open_listed;
use super::normalize::{Normalize, as_trained};
use super::{DataSet, InputSpec, OpenData, Opening, word};
use crate::settings::{Described, Range, Table};
use crate::{Result, described};
use dropforge_data::{Manifest, Source, shard_files};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Images in tar files, as WebDataset packs them.
pub struct Shards {
    path: PathBuf,
    test: Option<PathBuf>,
    normalize: Normalize,
}

described! {
    Shards = "shards", "images in tar files as WebDataset packs them, each with its class in .cls or .json, or in folders";
    path: PathBuf, None, Range::ANY, "the file, or several: `train-{000..009}.tar`";
    test: Option<PathBuf>, Some(None), Range::ANY, "the files to measure on, a part of the images by default";
    normalize: Normalize, Some(Normalize::Usual), Range::ANY, "by which mean and deviation: the `usual` ones for photographs, or those `found` in the images to train on";
}

impl DataSet for Shards {
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

impl Shards {
    fn read(&self, opening: &Opening<'_>) -> Result<Manifest> {
        let files = |pattern: &Path| shard_files(&pattern.to_string_lossy());
        let test = self.test.as_deref().map_or(Ok(Vec::new()), files)?;
        Ok(Manifest::open_shards(&files(&self.path)?, &test, 3, opening.size, opening.size)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::TestFolder;
    use super::*;

    /// An archive with one folder of pictures, of which only the first bytes matter.
    fn archive(names: &[String]) -> Vec<u8> {
        let mut all = Vec::new();
        for name in names {
            let mut header = [0u8; 1024];
            header[..name.len()].copy_from_slice(name.as_bytes());
            header[124..135].copy_from_slice(b"00000000010");
            header[148..156].fill(b' ');
            let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
            header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            header[512..520].copy_from_slice(b"\x89PNG\r\n\x1a\n");
            all.extend_from_slice(&header);
        }
        all.extend_from_slice(&[0; 1024]);
        all
    }

    #[test]
    fn archives_are_split_by_the_names_in_them_or_as_they_are() {
        let folder = TestFolder::new("shards");
        for shard in 0..3 {
            let names = (0..20).map(|i| format!("{}/{i}.png", ["a", "b"][i % 2])).collect::<Vec<_>>();
            folder.write(&format!("s-{shard:02}.tar"), &archive(&names));
        }
        let spec = folder.spec("shards:{}/s-{00..02}.tar");
        let data = spec.open(&Opening::of(8)).unwrap();
        assert_eq!(data.train.len().unwrap() + data.test.len().unwrap(), 60);
        assert_eq!((data.inputs.classes.len(), spec.short_name().as_str()), (2, "s--00--02-"));
        let noted = data.split.unwrap();
        let again = spec.open(&Opening { noted: Some(&noted), ..Opening::of(8) }).unwrap();
        assert_eq!(again.split.unwrap(), noted);
        let own = folder.spec("shards:{}/s-{00..01}.tar?test={}/s-02.tar");
        let data = own.open(&Opening::of(8)).unwrap();
        assert_eq!((data.train.len(), data.test.len()), (Some(40), Some(20)));
        assert_eq!(own.open_all(&Opening::of(8), &data.inputs).unwrap().len(), Some(20));
    }
}
