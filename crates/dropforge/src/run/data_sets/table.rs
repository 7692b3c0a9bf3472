//! Tables.

use super::{DataSet, InputSpec, OpenData, Opening, word};
use crate::settings::{Described, Range, Table as Settings};
use crate::{Error, Result, described};
use dropforge_data::{Preparation, Source, Table, TableOptions};
use std::path::PathBuf;
use std::sync::Arc;

/// Which rows of a table are kept for testing, always the same, and how many are not.
const SEED: u64 = 1;
const TRAIN_PART: f64 = 0.85;

/// A table in a CSV or TSV file.
pub struct CsvTable {
    path: PathBuf,
    target: Option<String>,
    ignore: Vec<String>,
    classes: bool,
    categories: Vec<String>,
    missing: Vec<String>,
}

described! {
    CsvTable = "table", "a table in a CSV or TSV file, of which one column is predicted from the others";
    path: PathBuf, None, Range::ANY, "the file";
    target: Option<String>, Some(None), Range::ANY, "the column to predict, the last one by default";
    ignore: Vec<String>, Some(Vec::new()), Range::ANY, "columns that are not read";
    classes: bool, Some(false), Range::ANY, "whether a target of numbers stands for classes";
    categories: Vec<String>, Some(Vec::new()), Range::ANY, "columns that hold categories, whether they are called by numbers or not";
    missing: Vec<String>, Some(Vec::new()), Range::ANY,
        "values that stand for missing ones, beside NA, N/A, NaN, null, none, ?, - and nothing";
}

impl DataSet for CsvTable {
    fn open(&self, opening: &Opening<'_>) -> Result<OpenData> {
        // A run goes on as it began.
        let known =
            opening.inputs.and_then(|inputs| inputs.description.as_ref()).and_then(|about| about.target());
        let unscaled = match known {
            Some(target) => Some(target.preparation.normalization().is_none()),
            None => opening.unscaled.then_some(true),
        };
        let options = TableOptions { unscaled, ..self.options() };
        let about = opening.inputs.and_then(|inputs| inputs.description.as_ref());
        let about = about.filter(|about| {
            about.input().is_some_and(|input| matches!(input.preparation, Preparation::Table { .. }))
        });
        let Some(about) = about else {
            let table = Table::open(&self.path, &options)?;
            let (train, test) = table.split(TRAIN_PART, SEED)?;
            let mut data = OpenData::new(train, test);
            data.taken_as = Some(table.taken_as());
            return Ok(data);
        };
        let table = Table::open_like(&self.path, &options, about)?;
        let (train, test) = table.split_as(TRAIN_PART, SEED, about)?;
        let mut data = OpenData::new(train, test);
        // What the rows are now, so that whoever goes on training sees that they have changed.
        data.inputs = InputSpec::of(&table.split(TRAIN_PART, SEED)?.0);
        data.taken_as = Some(table.taken_as());
        Ok(data)
    }

    /// With the columns, means, deviations and categories of the model.
    fn open_all(&self, _: &Opening<'_>, inputs: &InputSpec) -> Result<Arc<dyn Source>> {
        let Some(description) = &inputs.description else {
            let path = self.path.display();
            return Err(Error::data(format!(
                "{path}: is a table, and the model was trained on something else"
            )));
        };
        Ok(Arc::new(Table::open_as(&self.path, &self.options(), description)?))
    }

    fn short_name(&self) -> String {
        word(self.path.file_stem())
    }

    fn config(&self) -> Result<Settings> {
        self.write_named()
    }
}

impl CsvTable {
    fn options(&self) -> TableOptions {
        TableOptions {
            target: self.target.clone(),
            ignore: self.ignore.clone(),
            classes: self.classes,
            categories: self.categories.clone(),
            missing: self.missing.clone(),
            unscaled: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::TestFolder;
    use super::*;

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
        assert!(
            data.taken_as
                .as_ref()
                .unwrap()
                .contains("the target `colour` is one of 2 classes; numbers: number"),
            "{:?}",
            data.taken_as
        );
        // The same one in another order, with a column more, is the same.
        let known = open("?target=colour&ignore=price");
        let rows: String = (0..40).map(|i| format!("{},?,{i}\n", ["red", "blue"][i % 2])).collect();
        folder.write("t.csv", format!("colour,new,number\n{rows}").as_bytes());
        let spec = folder.spec("table:{}/t.csv?target=colour");
        let again = spec.open(&Opening { inputs: Some(&known.inputs), ..Opening::default() }).unwrap();
        assert_eq!(again.inputs, known.inputs);
        for index in 0..6 {
            let read = |data: &OpenData| dropforge_data::read_one(&*data.test, index).unwrap();
            assert_eq!(read(&again).get("input").unwrap(), read(&known).get("input").unwrap());
        }
        let missing = folder.spec("table:{}/t.csv?target=color");
        let missing = missing.open_all(&Opening::default(), &known.inputs).err().unwrap().to_string();
        assert!(
            missing.contains("no column `color`, only colour, new, number; it is the target"),
            "{missing}"
        );
        // Another table is read by the columns of the run, whole.
        folder.write("u.csv", b"colour,price,number\nred,0,1\nred,0,2\ngreen,0,3\n");
        let other = folder.spec("table:{}/u.csv?target=colour");
        let wrong = other.open_all(&Opening::default(), &data.inputs).err().unwrap().to_string();
        assert!(wrong.contains("line 4: `green` of the target `colour` is no class"), "{wrong}");
        let all =
            folder.spec("table:{}/t.csv?target=colour").open_all(&Opening::default(), &data.inputs).unwrap();
        assert_eq!(all.len(), Some(40));
        let kept = toml::to_string(&data.inputs).unwrap();
        assert_eq!(toml::from_str::<InputSpec>(&kept).unwrap(), data.inputs);
    }
}
