//! Windows of numbers that follow one another in time.

use super::{DataSet, InputSpec, OpenData, Opening, word};
use crate::settings::{Described, Range, Table};
use crate::{Error, Result, described};
use dropforge_data::{Field, Normalization, Series, Source, WindowOptions};
use std::path::PathBuf;
use std::sync::Arc;

/// Part of the rows, at their start, that is trained on; the rest is for testing.
const TRAIN_PART: f64 = 0.85;

/// Rows of a table in the order of time.
pub struct TimeSeries {
    path: PathBuf,
    target: Vec<String>,
    ignore: Vec<String>,
    length: usize,
    ahead: usize,
    step: usize,
}

described! {
    TimeSeries = "series", "rows of numbers in the order of time, of which those that follow a window are predicted";
    path: PathBuf, None, Range::ANY, "a CSV or TSV file";
    target: Vec<String>, Some(Vec::new()), Range::ANY, "the columns to predict, all by default";
    ignore: Vec<String>, Some(Vec::new()), Range::ANY, "columns that are not read, beside those without numbers";
    length: usize, Some(32), (1..=1_000_000).into(), "rows that the network sees: its input is [columns, length]";
    ahead: usize, Some(1), (1..=1_000_000).into(), "rows behind them to predict";
    step: usize, Some(1), (1..).into(), "rows from the start of a window to that of the next";
}

impl DataSet for TimeSeries {
    fn open(&self, opening: &Opening<'_>) -> Result<OpenData> {
        let (series, options) = self.read(opening.inputs)?;
        // The side to measure on has a window at least.
        let (at, last) =
            (series.rows() as f64 * TRAIN_PART, series.rows().saturating_sub(self.length + self.ahead));
        let (train, test) = series.split((at as usize).min(last))?;
        let by = opening.inputs.map(known).transpose()?.map_or_else(|| train.statistics(), Ok)?;
        let mut data = OpenData::new(train.windows(&options, &by)?, test.windows(&options, &by)?);
        let (path, columns) = (self.path.display(), series.columns().join(", "));
        data.notes.push(match series.left_out() {
            [] => format!("{path}: {columns}"),
            others => format!("{path}: {columns}; {} hold no numbers", others.join(", ")),
        });
        Ok(data)
    }

    /// Normalised as the rows that the model was trained on.
    fn open_all(&self, _: &Opening<'_>, inputs: &InputSpec) -> Result<Arc<dyn Source>> {
        let (series, options) = self.read(Some(inputs))?;
        Ok(Arc::new(series.windows(&options, &known(inputs)?)?))
    }

    fn short_name(&self) -> String {
        word(self.path.file_stem())
    }

    fn config(&self) -> Result<Table> {
        self.write_named()
    }
}

impl TimeSeries {
    fn options(&self) -> WindowOptions {
        let TimeSeries { length, ahead, step, ref target, .. } = *self;
        WindowOptions { length, ahead, step, targets: target.clone() }
    }

    /// The columns of a model by their names, and what it predicts of them, if there is one that says what they are
    /// called.
    fn read(&self, inputs: Option<&InputSpec>) -> Result<(Series, WindowOptions)> {
        let about = inputs.and_then(|inputs| inputs.description.as_ref());
        let columns = |field: Option<&Field>| field.map_or(&[][..], |field| &field.columns).to_vec();
        let (read, targets) =
            (columns(about.and_then(|about| about.input())), columns(about.and_then(|about| about.target())));
        let mut options = self.options();
        if read.is_empty() {
            let of_earlier_version = about.and_then(|about| about.input()).is_some();
            let series = match of_earlier_version {
                true => Series::open_by_first_row(&self.path, &self.ignore)?,
                false => Series::open(&self.path, &self.ignore)?,
            };
            return Ok((series, options));
        }
        if options.targets.is_empty() {
            options.targets = targets;
        } else if !targets.is_empty() && options.targets != targets {
            let (path, asked, targets) =
                (self.path.display(), options.targets.join(", "), targets.join(", "));
            return Err(Error::data(format!(
                "{path}: the model predicts {targets}, not {asked}; leave target out"
            )));
        }
        Ok((Series::open_columns(&self.path, &read)?, options))
    }
}

/// How the inputs of a model are normalised.
fn known(inputs: &InputSpec) -> Result<Normalization> {
    Normalization::new(&inputs.mean, &inputs.std)
        .map_err(|_| Error::data("the model was trained on something else than rows in the order of time"))
}

#[cfg(test)]
mod tests {
    use super::super::TestFolder;
    use super::*;

    #[test]
    fn later_rows_are_measured_by_the_numbers_of_earlier_ones() {
        let folder = TestFolder::new("series");
        let rows = |count: usize| (0..count).map(|i| format!("{i},{}\n", i * i)).collect::<String>();
        folder.write("a.csv", format!("x,y\n{}", rows(100)).as_bytes());
        let spec = folder.spec("series:{}/a.csv?target=y&length=4&ahead=2");
        let data = spec.open(&Opening::default()).unwrap();
        assert_eq!((data.train.len(), data.test.len()), (Some(80), Some(10)));
        assert_eq!((data.inputs.shape.as_slice(), data.inputs.outputs()), (&[2, 4][..], 2));
        assert_eq!((data.inputs.mean[0], data.inputs.classes.len()), (42.0, 0));
        // A run goes on with the numbers that it has found, and other rows are read by them.
        folder.write("a.csv", format!("x,y\n{}", rows(200)).as_bytes());
        let again = spec.open(&Opening { inputs: Some(&data.inputs), ..Opening::default() }).unwrap();
        assert_eq!(again.inputs, data.inputs);
        let all = spec.open_all(&Opening::default(), &data.inputs).unwrap();
        assert_eq!((all.len(), InputSpec::of(&*all)), (Some(195), data.inputs.clone()));
        // In another order, among others, without saying again what is predicted: told by name.
        let turned: String = (0..200).map(|i| format!("{},?,{i}\n", i * i)).collect();
        folder.write("b.csv", format!("y,odd,x\n{turned}").as_bytes());
        let open = |word: &str| folder.spec(word).open_all(&Opening::default(), &data.inputs);
        let same = open("series:{}/b.csv?length=4&ahead=2").unwrap();
        assert_eq!(same.description().fields, all.description().fields);
        for field in ["input", "target"] {
            let read = |source: &dyn Source| dropforge_data::read_one(source, 7).unwrap();
            assert_eq!(read(&*same).get(field).unwrap(), read(&*all).get(field).unwrap());
        }
        // A run of an earlier version, which left out what had no number in its first row.
        let mut old = data.inputs.clone();
        let about = old.description.as_mut().unwrap();
        about.fields.iter_mut().for_each(|field| field.columns.clear());
        let late: String =
            (0..100).map(|i| format!("{i},{},{}\n", if i > 0 { "1" } else { "" }, i * i)).collect();
        folder.write("late.csv", format!("x,late,y\n{late}").as_bytes());
        let spec = folder.spec("series:{}/late.csv?target=y&length=4&ahead=2");
        assert!(spec.open(&Opening::default()).err().unwrap().to_string().contains("column `late`"));
        let again = spec.open(&Opening { inputs: Some(&old), ..Opening::default() }).unwrap();
        old.check_continues(&again.inputs).unwrap();
        let refused = open("series:{}/b.csv?target=x&length=4&ahead=2").err().unwrap().to_string();
        assert!(refused.contains("the model predicts y, not x"), "{refused}");
        folder.write("b.csv", b"z,x\n1,2\n");
        let refused = open("series:{}/b.csv?length=4&ahead=2").err().unwrap().to_string();
        assert!(refused.contains("no column `y`, only z, x"), "{refused}");
    }
}
