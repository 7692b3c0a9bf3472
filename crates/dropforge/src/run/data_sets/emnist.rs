//! EMNIST.

use super::{DataSet, OpenData, Opening};
use crate::settings::{Described, Range, Table};
use crate::{Result, described};
use std::path::PathBuf;

/// Handwritten letters and digits.
pub struct Emnist {
    path: PathBuf,
    part: String,
}

described! {
    Emnist = "emnist", "EMNIST, handwritten letters and digits in the format of MNIST";
    path: PathBuf, None, Range::ANY, "folder of the files";
    part: String, Some("balanced".into()), Range::ANY, "balanced, byclass, bymerge, digits, letters or mnist";
}

impl DataSet for Emnist {
    fn open(&self, _: &Opening<'_>) -> Result<OpenData> {
        let (train, test) = dropforge_data::emnist(&self.path, &self.part)?;
        Ok(OpenData::new(train, test))
    }

    fn short_name(&self) -> String {
        format!("{}-{}", Self::NAME, self.part)
    }

    fn config(&self) -> Result<Table> {
        self.write_named()
    }
}
