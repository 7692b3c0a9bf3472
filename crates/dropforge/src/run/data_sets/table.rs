//! Tables.

use super::{DataSet, OpenData, Opening, word};
use crate::settings::{Described, Range, Table as Settings};
use crate::{Result, described};
use dropforge_data::{Table, TableOptions};
use std::path::PathBuf;

/// Which rows of a table are kept for testing, always the same, and how many are not.
const SEED: u64 = 1;
const TRAIN_PART: f64 = 0.85;

/// A table in a CSV or TSV file.
pub struct CsvTable {
    path: PathBuf,
    target: Option<String>,
    ignore: Vec<String>,
    classes: bool,
}

described! {
    CsvTable = "table", "a table in a CSV or TSV file, of which one column is predicted from the others";
    path: PathBuf, None, Range::ANY, "the file";
    target: Option<String>, Some(None), Range::ANY, "the column to predict, the last one by default";
    ignore: Vec<String>, Some(Vec::new()), Range::ANY, "columns that are not read";
    classes: bool, Some(false), Range::ANY, "whether a target of numbers stands for classes";
}

impl DataSet for CsvTable {
    fn open(&self, _: &Opening<'_>) -> Result<OpenData> {
        let CsvTable { path, target, ignore, classes } = self;
        let options = TableOptions { target: target.clone(), ignore: ignore.clone(), classes: *classes };
        let (train, test) = Table::open(path, &options)?.split(TRAIN_PART, SEED)?;
        Ok(OpenData::new(train, test))
    }

    fn short_name(&self) -> String {
        word(self.path.file_stem())
    }

    fn config(&self) -> Result<Settings> {
        self.write_named()
    }
}

#[cfg(test)]
mod tests {
    use super::super::TestFolder;
    use super::*;
    use crate::run::InputSpec;

    #[test]
    fn a_table_by_its_options() {
        let folder = TestFolder::new("table");
        let rows: String = (0..40).map(|i| format!("{i},{},{}\n", ["red", "blue"][i % 2], i * 3)).collect();
        folder.write("t.csv", format!("number,colour,price\n{rows}").as_bytes());
        let open = |options: &str| {
            folder.spec(&format!("table:{{}}/t.csv{options}")).open(&Opening::default()).unwrap()
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
