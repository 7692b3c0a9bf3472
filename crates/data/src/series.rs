//! Numbers that follow one another in time, and windows of them.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::column::{Kind, is_missing, parse_number, shortened};
use crate::lines::Lines;
use crate::table::read_lines;
use crate::{
    Description, ElementType, Error, Field, INPUT, Normalization, Preparation, Request, Result, Sample,
    Source, TARGET,
};

/// Rows of numbers in the order of time, one column for each thing that was measured.
///
/// ```
/// use dropforge_data::{Series, Source, WindowOptions, read_one};
///
/// let series = Series::new("ramp", ["x"], (0..10).map(|i| i as f32).collect())?;
/// let (train, test) = series.split(7)?;
/// let options = WindowOptions { length: 3, ..WindowOptions::default() };
/// let windows = train.windows(&options, &train.statistics()?)?;
/// assert_eq!((windows.len(), windows.description().input().unwrap().shape.as_slice()), (Some(4), &[1, 3][..]));
/// # let _ = test;
/// # Ok::<(), dropforge_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Series {
    name: String,
    columns: Vec<String>,
    /// Columns of a file that hold no numbers.
    left_out: Vec<String>,
    /// Row by row.
    values: Arc<Vec<f32>>,
    first: usize,
    rows: usize,
}

/// What samples are made of a [`Series`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowOptions {
    /// Rows that a network sees. Default 32.
    pub length: usize,
    /// Rows behind them that it is to predict. Default 1.
    pub ahead: usize,
    /// Rows from the start of a window to that of the next. Default 1.
    pub step: usize,
    /// Columns to predict; all if none is named.
    pub targets: Vec<String>,
}

impl Default for WindowOptions {
    fn default() -> WindowOptions {
        WindowOptions { length: 32, ahead: 1, step: 1, targets: Vec::new() }
    }
}

impl Series {
    /// Of numbers row by row.
    ///
    /// # Errors
    /// There are no columns, a row is not whole, or a number is not finite.
    pub fn new<S: Into<String>>(
        name: impl Into<String>,
        columns: impl IntoIterator<Item = S>,
        values: Vec<f32>,
    ) -> Result<Series> {
        let (name, columns) = (name.into(), columns.into_iter().map(Into::into).collect::<Vec<String>>());
        if columns.is_empty() || values.is_empty() || !values.len().is_multiple_of(columns.len()) {
            let (values, columns) = (values.len(), columns.len());
            return Err(Error::new(format!("{name}: {values} numbers make no rows of {columns} columns")));
        }
        if let Some(at) = values.iter().position(|x| !x.is_finite()) {
            let (row, column) = (at / columns.len(), &columns[at % columns.len()]);
            return Err(Error::new(format!(
                "{name}: row {row} has {} in {column}; fill it first",
                values[at]
            )));
        }
        let rows = values.len() / columns.len();
        Ok(Series { name, columns, left_out: Vec::new(), values: Arc::new(values), first: 0, rows })
    }

    /// Reads a CSV or TSV file, plain or gzip, whose first line names the columns. Columns without numbers, such as
    /// dates, are left out, as are those that are named.
    ///
    /// # Errors
    /// The file cannot be read, lines have different numbers of values, there is no column of numbers, or a column of
    /// numbers has a value that is missing or none; the message names line and column.
    pub fn open(path: impl AsRef<Path>, ignore: &[String]) -> Result<Series> {
        Series::read(path.as_ref(), |lines| {
            let ignore =
                ignore.iter().map(|column| lines.place(column)).collect::<std::result::Result<_, _>>();
            let ignore: BTreeSet<usize> = ignore?;
            let (mut taken, mut left_out) = (Vec::new(), Vec::new());
            for at in (0..lines.header().len()).filter(|at| !ignore.contains(at)) {
                let list = if holds_numbers(lines, at)? { &mut taken } else { &mut left_out };
                list.push(at);
            }
            Ok((taken, left_out))
        })
    }

    /// As [`Series::open`], the columns whose first value is a number: how earlier versions told them, whose runs do not
    /// say what theirs are called.
    ///
    /// # Errors
    /// As for [`Series::open`].
    pub fn open_by_first_row(path: impl AsRef<Path>, ignore: &[String]) -> Result<Series> {
        Series::read(path.as_ref(), |lines| {
            let ignored = ignore.iter().map(|column| lines.place(column));
            let ignored: BTreeSet<usize> = ignored.collect::<std::result::Result<_, _>>()?;
            let is_number = |at: &usize| matches!(parse_number(lines.value(0, *at)), Ok(Some(_)));
            Ok((0..lines.header().len()).filter(|at| !ignored.contains(at)).partition(is_number))
        })
    }

    /// As [`Series::open`], these columns alone and in this order, wherever they stand in the file: those that a model
    /// was trained on. Others are not looked at.
    ///
    /// # Errors
    /// As for [`Series::open`], or a column is not there.
    pub fn open_columns(path: impl AsRef<Path>, columns: &[String]) -> Result<Series> {
        Series::read(path.as_ref(), |lines| {
            let places =
                columns.iter().map(|column| lines.place(column)).collect::<std::result::Result<_, _>>();
            Ok((places?, Vec::new()))
        })
    }

    /// The columns that `choose` takes, and the names of those that it leaves out.
    fn read(
        path: &Path,
        choose: impl FnOnce(&Lines) -> std::result::Result<(Vec<usize>, Vec<usize>), String>,
    ) -> Result<Series> {
        let failed = |reason: String| Error::at_file(path, reason);
        let lines = read_lines(path, &[])?.map_err(failed)?;
        let (taken, left_out) = choose(&lines).map_err(failed)?;
        let names =
            |places: &[usize]| places.iter().map(|&at| lines.header()[at].clone()).collect::<Vec<_>>();
        if taken.is_empty() {
            return Err(failed(format!("has no column of numbers, only {}", names(&left_out).join(", "))));
        }
        let mut values = Vec::with_capacity(lines.count() * taken.len());
        for row in 0..lines.count() {
            for &at in &taken {
                let text = lines.value(row, at);
                let number = parse_number(text).ok().flatten().map(|number| number as f32);
                values.push(number.filter(|number| number.is_finite()).ok_or_else(|| {
                    let (line, column, text) = (lines.named(row), &lines.header()[at], shortened(text));
                    failed(format!(
                        "{line}: column `{column}` holds numbers, `{text}` is none that can be taken; fill it first"
                    ))
                })?);
            }
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let series = Series::new(name, names(&taken), values).map_err(|error| failed(error.to_string()))?;
        Ok(Series { left_out: names(&left_out), ..series })
    }

    /// Names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Columns of the file that hold no numbers.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The rows before this one, and the rest: what is to be predicted is never older than what is trained on.
    ///
    /// # Errors
    /// A side has no rows.
    pub fn split(&self, row: usize) -> Result<(Series, Series)> {
        if row == 0 || row >= self.rows {
            let (name, rows) = (&self.name, self.rows);
            return Err(Error::new(format!("{name}: {rows} rows cannot be split at row {row}")));
        }
        let rest = Series { first: self.first + row, rows: self.rows - row, ..self.clone() };
        Ok((Series { rows: row, ..self.clone() }, rest))
    }

    /// Mean and deviation of each column; a column without any deviation has 1.
    ///
    /// # Errors
    /// Numbers are too large for their squares.
    pub fn statistics(&self) -> Result<Normalization> {
        let width = self.columns.len();
        let (mut mean, mut std) = (Vec::new(), Vec::new());
        for column in 0..width {
            let values = || (0..self.rows).map(|row| f64::from(self.at(row, column)));
            let middle = values().sum::<f64>() / self.rows as f64;
            let variance = values().map(|x| (x - middle).powi(2)).sum::<f64>() / self.rows as f64;
            let deviation = variance.sqrt();
            mean.push(middle as f32);
            std.push(if deviation > 1e-6 * middle.abs().max(1e-30) { deviation as f32 } else { 1.0 });
        }
        Normalization::new(&mean, &std)
    }

    /// Samples of so many rows, input f32 `[columns, length]`, and of those that follow, target f32
    /// `[targets · ahead]`, one target after another; both normalised column by column.
    ///
    /// # Errors
    /// There are too few rows, a column to predict does not exist, or the normalisation is for other columns.
    pub fn windows(&self, options: &WindowOptions, by: &Normalization) -> Result<Windows> {
        let WindowOptions { length, ahead, step, targets } = options;
        let failed = |reason: String| Error::new(format!("{}: {reason}", self.name));
        by.check_channels(self.columns.len())?;
        if [length, ahead, step].into_iter().any(|number| *number == 0) {
            return Err(failed("windows need a length, a step and rows to predict above 0".into()));
        }
        let needed = length.saturating_add(*ahead);
        if self.rows < needed {
            return Err(failed(format!(
                "has {} rows on one side, a window needs {needed} ({length} and {ahead} to predict)",
                self.rows
            )));
        }
        let place = |name: &String| {
            let known = self.columns.iter().position(|column| column == name);
            known.ok_or_else(|| failed(format!("has no column `{name}`, only {}", self.columns.join(", "))))
        };
        let targets = match targets.is_empty() {
            true => (0..self.columns.len()).collect(),
            false => targets.iter().map(place).collect::<Result<Vec<usize>>>()?,
        };
        let each = |of: &dyn Fn(usize) -> f32| {
            targets.iter().flat_map(|&column| std::iter::repeat_n(of(column), *ahead)).collect::<Vec<f32>>()
        };
        let target_by =
            Normalization::new(&each(&|column| by.channel(column).0), &each(&|column| by.channel(column).1))?;
        let input = Field::numbers(INPUT, ElementType::F32, &[self.columns.len(), *length]);
        let target = Field::numbers(TARGET, ElementType::F32, &[targets.len() * ahead]);
        let input = input.prepared(Preparation::Numbers { normalization: by.clone() });
        let target = target.prepared(Preparation::Numbers { normalization: target_by });
        let description = Description::new(&self.name)
            .with(input.from_columns(self.columns.iter().cloned()))
            .with(target.from_columns(targets.iter().map(|&column| self.columns[column].clone())));
        let count = (self.rows - needed) / step + 1;
        Ok(Windows {
            series: self.clone(),
            options: options.clone(),
            targets,
            by: by.clone(),
            description,
            count,
        })
    }

    fn at(&self, row: usize, column: usize) -> f32 {
        self.values[(self.first + row) * self.columns.len() + column]
    }
}

/// Whether a column is one of numbers: a date or a name is none, wherever digits stand in it.
fn holds_numbers(lines: &Lines, at: usize) -> std::result::Result<bool, String> {
    let is_number = |text: &str| !is_missing(text) && text.replace(',', ".").parse::<f64>().is_ok();
    if !lines.column(at).any(is_number) {
        return Ok(false);
    }
    let advice = |column: &str, _: &str| format!("or leave the column out (ignore={column})");
    Ok(lines.kind(at, advice)? == Kind::Numbers)
}

/// Windows of a [`Series`]; made by [`Series::windows`].
#[derive(Clone, Debug)]
pub struct Windows {
    series: Series,
    options: WindowOptions,
    targets: Vec<usize>,
    by: Normalization,
    description: Description,
    count: usize,
}

impl Source for Windows {
    fn description(&self) -> &Description {
        &self.description
    }

    fn len(&self) -> Option<usize> {
        Some(self.count)
    }

    fn read(&self, request: &Request, sample: &mut Sample) -> Result<()> {
        if request.index >= self.count {
            let (name, index, count) = (&self.series.name, request.index, self.count);
            return Err(Error::new(format!("{name}: there is no sample {index}: there are {count}")));
        }
        let WindowOptions { length, ahead, step, .. } = self.options;
        let start = request.index * step;
        let normalized = |row: usize, column: usize| {
            let (mean, std) = self.by.channel(column);
            (self.series.at(row, column) - mean) / std
        };
        for (column, out) in sample.get::<f32>(INPUT)?.chunks_exact_mut(length).enumerate() {
            out.iter_mut().enumerate().for_each(|(row, out)| *out = normalized(start + row, column));
        }
        for (&column, out) in self.targets.iter().zip(sample.get::<f32>(TARGET)?.chunks_exact_mut(ahead)) {
            out.iter_mut().enumerate().for_each(|(row, out)| *out = normalized(start + length + row, column));
        }
        Ok(())
    }

    fn origin(&self, index: usize) -> Option<String> {
        let row = self.series.first + index * self.options.step;
        Some(format!("rows {row} to {}", row + self.options.length + self.options.ahead - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read_one;
    use crate::testing::{Folder, message};

    #[test]
    fn windows_and_what_follows_them() {
        let folder = Folder::new("series");
        let rows: String = (0..10).map(|i| format!("2020-01-{i},{i},{}\n", 100 - 10 * i)).collect();
        let path = folder.write("a.csv", format!("day,up,down\n{rows}").as_bytes());
        let series = Series::open(&path, &[]).unwrap();
        assert_eq!(
            (series.columns(), series.left_out(), series.rows()),
            (&["up".into(), "down".into()][..], &["day".to_string()][..], 10)
        );
        let plain = Normalization::new(&[0.0, 0.0], &[1.0, 1.0]).unwrap();
        let options = WindowOptions { length: 3, ahead: 2, step: 2, targets: vec!["down".into()] };
        let (train, test) = series.split(8).unwrap();
        let windows = train.windows(&options, &plain).unwrap();
        assert_eq!(windows.len(), Some(2));
        let sample = read_one(&windows, 1).unwrap();
        let numbers = |field: &str| sample.get(field).unwrap().slice::<f32>().unwrap().to_vec();
        assert_eq!(numbers("input"), [2.0, 3.0, 4.0, 80.0, 70.0, 60.0]);
        assert_eq!(numbers("target"), [50.0, 40.0]);
        assert_eq!(windows.origin(1).unwrap(), "rows 2 to 6");
        // Normalised by the rows to train on, and back.
        let by = train.statistics().unwrap();
        assert_eq!((by.mean(), by.std()), (&[3.5, 65.0][..], &[5.25f32.sqrt(), 525f32.sqrt()][..]));
        let windows = train.windows(&options, &by).unwrap();
        let sample = read_one(&windows, 1).unwrap();
        let mut target = sample.get("target").unwrap().slice::<f32>().unwrap().to_vec();
        windows.description().target().unwrap().restore(&mut target);
        assert!((target[0] - 50.0).abs() < 1e-4 && (target[1] - 40.0).abs() < 1e-4, "{target:?}");
        assert!(message(test.windows(&options, &by)).contains("has 2 rows on one side, a window needs 5"));
        let options = WindowOptions { targets: vec!["sideways".into()], ..options };
        assert!(message(train.windows(&options, &by)).contains("no column `sideways`, only up, down"));
        let broken = folder.write("b.csv", b"t,x\n1,2\n2,\n");
        assert!(message(Series::open(&broken, &[])).contains("line 3: column `x` holds numbers, `` is none"));
        assert!(message(Series::open(&broken, &["y".into()])).contains("no column `y`"));
        assert!(message(series.split(10)).contains("cannot be split"));
    }

    #[test]
    fn columns_are_told_by_their_names() {
        let folder = Folder::new("series-names");
        let refused = |text: &str| message(Series::open(folder.write("a.csv", text.as_bytes()), &[]));
        // A value that is missing, in the first row too, is no reason to drop its column.
        let first = refused("day,x\n1.1.2020,NA\n2.1.2020,3\n");
        assert!(first.contains("line 2: column `x` holds numbers, `NA` is none"), "{first}");
        assert!(
            refused("x,y\n1,2\n3\n").contains("line 3 has 1 values, the first line names 2: `y` has none")
        );
        assert!(refused("x,y\n1,2\n3,4,5\n").contains("line 3 has 3 values"));
        assert!(refused("x,x\n1,2\n").contains("two columns are called `x`"));
        assert!(refused("x\n1e39\n").contains("line 2: column `x` holds numbers, `1e39` is none"));
        let comma = refused("x;y\n1,5;1\n2,5;2\n");
        assert!(comma.contains("line 2: column `x`") && comma.contains("a point alone"), "{comma}");
        assert!(refused("day\n1.1.2020\n").contains("has no column of numbers, only day"));
        // Earlier versions left such columns out.
        let path = folder.write("c.csv", b"day,x,y\n1.1.2020,NA,7\n2.1.2020,3,8\n");
        let series = Series::open_by_first_row(&path, &[]).unwrap();
        assert_eq!((series.columns(), series.rows()), (&["y".to_string()][..], 2));
        // Another file, in another order.
        let path = folder.write("b.csv", b"y,odd,x\n1,?,2\n3,4,5\n");
        let series = Series::open_columns(&path, &["x".into(), "y".into()]).unwrap();
        let expected: (&[String], &[f32]) = (&["x".into(), "y".into()], &[2.0, 1.0, 5.0, 3.0]);
        assert_eq!((series.columns(), &series.values[..]), expected);
        let options = WindowOptions { length: 1, targets: vec!["y".into()], ..WindowOptions::default() };
        let windows = series.windows(&options, &Normalization::identity()).unwrap();
        let columns = |field: &str| windows.description().field(field).unwrap().columns.clone();
        assert_eq!(
            (columns("input"), columns("target")),
            (vec!["x".into(), "y".into()], vec!["y".to_string()])
        );
        assert!(
            message(Series::open_columns(&path, &["z".into()])).contains("no column `z`, only y, odd, x")
        );
    }
}
