//! Tables of mixed columns from CSV and TSV files.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use crate::column::{Column, Kind, UnknownCategories, is_missing, parse_number, shortened};
use crate::lines::Lines;
use crate::random::Random;
use crate::{
    Dataset, Description, ElementType, Error, Field, INPUT, Normalization, Preparation, Result, TARGET,
    Values, file,
};

/// Far above what is kept in memory as one table.
const MOST_BYTES: usize = 1 << 30;
/// Different texts in a column above which it is hardly a category.
const MOST_CATEGORIES: usize = 1000;
/// Different numbers of a target that may be meant as classes.
const FEW_VALUES: usize = 10;

/// What is to be learned from a [`Table`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableOptions {
    /// The column to predict; the last one if none is named.
    pub target: Option<String>,
    /// Columns that are not read: numbers of rows, names of people.
    pub ignore: Vec<String>,
    /// Whether a target of numbers stands for classes.
    pub classes: bool,
    /// Columns whose values are categories, numbers or not: codes, numbers of houses. That of the target has classes.
    pub categories: Vec<String>,
    /// Values that stand for a missing one, beside those that always do (see [`Table`]).
    pub missing: Vec<String>,
    /// Whether a target of numbers stays as it stands, in place of being standardised: counts, or a yes or no for a
    /// loss of these. Default `None`: only where it is 0 and 1, or −1 and 1, alone.
    pub unscaled: Option<bool>,
}

impl TableOptions {
    /// To predict this column from all others.
    pub fn target(name: impl Into<String>) -> TableOptions {
        TableOptions { target: Some(name.into()), ..TableOptions::default() }
    }
}

/// A CSV or TSV file, plain or gzip, whose first line names the columns; or, with the feature `parquet`, a Parquet file
/// without lists and records, whose numbers, texts, truth values, dates and gaps are taken as those of a CSV file.
///
/// The separator (comma, semicolon or tab) is found from the first line; quoted values may hold separators, line breaks
/// and doubled quotes. A column whose values are all numbers is one of numbers, any other one of categories; a target
/// of numbers is a regression, unless [`TableOptions::classes`] is set. Where nearly all are numbers and a few are not,
/// that is an error that names the first of them. Empty values, `NA`, `N/A`, `NaN`, `null` and `none` in any case, `?`
/// and `-` are missing.
///
/// ```
/// use dropforge_data::{Source, Table, TableOptions};
///
/// let text = "size,colour,price\n1,red,10\n2,blue,20\n,red,15\n4,blue,40\n";
/// let table = Table::parse("shop", text, &TableOptions::target("price"))?;
/// let (train, test) = table.split(0.75, 1)?;
/// assert_eq!((train.len(), test.len()), (Some(3), Some(1)));
/// let row = train.description().input().unwrap().prepare_row(&[("size", "3"), ("colour", "red")])?;
/// # let _ = row;
/// # Ok::<(), dropforge_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Table {
    name: String,
    /// Names of the columns that are read, but for the target.
    columns: Vec<String>,
    /// Number of each of them in a row.
    places: Vec<usize>,
    target: String,
    target_place: usize,
    /// All texts of a target of classes.
    classes: Option<Vec<String>>,
    /// Whether a column holds numbers, by its number in a row.
    numeric: Vec<bool>,
    /// Whether a target of numbers stays as it stands.
    unscaled: bool,
    lines: Lines,
}

impl Table {
    /// Reads a file.
    ///
    /// # Errors
    /// The file is missing, larger than 1 GiB or not UTF-8; lines have different numbers of values, a column is not
    /// there, the target is missing in a row, a column has more than 1000 different texts, or some of its values are no
    /// numbers while nearly all are; the message says where.
    pub fn open(path: impl AsRef<Path>, options: &TableOptions) -> Result<Table> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let failed = |reason: String| Error::new(format!("{name}: {reason}"));
        Table::of_columns(&name, read_lines(path, &options.missing)?.map_err(failed)?, options)
    }

    /// As [`Table::open`], with the columns of a description in its order, wherever they stand in the file: those that
    /// a model was trained on. Others are not looked at. The target is that of the description unless the options name
    /// another column.
    ///
    /// # Errors
    /// As for [`Table::open`]; besides, the description is of no table, or a column of it is not there.
    pub fn open_like(
        path: impl AsRef<Path>,
        options: &TableOptions,
        description: &Description,
    ) -> Result<Table> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let failed = |reason: String| Error::new(format!("{name}: {reason}"));
        let lines = read_lines(path, &options.missing)?.map_err(failed)?;
        let places = places_of(&lines, description).map_err(failed)?;
        let target = match description.target() {
            Some(_) => target_of(&lines, options, description, &places).map_err(failed)?,
            None => lines.header().len() - 1,
        };
        Table::of_lines(&name, lines, options, places, target)
    }

    /// As [`Table::open`], from a text; `name` is for messages.
    ///
    /// # Errors
    /// As for [`Table::open`].
    pub fn parse(name: &str, text: &str, options: &TableOptions) -> Result<Table> {
        let failed = |reason: String| Error::new(format!("{name}: {reason}"));
        Table::of_columns(name, Lines::parse(text, &options.missing).map_err(failed)?, options)
    }

    /// The columns that the options leave, of which one is to be predicted.
    fn of_columns(name: &str, lines: Lines, options: &TableOptions) -> Result<Table> {
        let failed = |reason: String| Error::new(format!("{name}: {reason}"));
        let place = |column: &str| lines.place(column).map_err(failed);
        let target_place = options.target.as_deref().map_or(Ok(lines.header().len() - 1), place)?;
        let ignored =
            options.ignore.iter().map(|column| place(column)).collect::<Result<BTreeSet<usize>>>()?;
        let places =
            (0..lines.header().len()).filter(|at| *at != target_place && !ignored.contains(at)).collect();
        Table::of_lines(name, lines, options, places, target_place)
    }

    fn of_lines(
        name: &str,
        lines: Lines,
        options: &TableOptions,
        places: Vec<usize>,
        target_place: usize,
    ) -> Result<Table> {
        let failed = |reason: String| Error::new(format!("{name}: {reason}"));
        let header = lines.header();
        let categories = options.categories.iter().map(|column| lines.place(column).map_err(failed));
        let categories = categories.collect::<Result<BTreeSet<usize>>>()?;
        if places.is_empty() {
            return Err(failed("there is no column to predict from".into()));
        }
        if let Some(row) = lines.column(target_place).position(is_missing) {
            let (line, target) = (lines.named(row), &header[target_place]);
            return Err(failed(format!("{line} has no value of the target `{target}`; remove it")));
        }
        let advice = |column: &str, value: &str| {
            let quoted = value.replace(',', "%2C");
            format!(
                "or say that it stands for a missing value (missing={quoted}), or that the column holds categories \
                 (categories={column})"
            )
        };
        let mut numeric = vec![false; header.len()];
        for &at in places.iter().chain([&target_place]) {
            let told = categories.contains(&at) || at == target_place && options.classes;
            numeric[at] = !told && lines.kind(at, advice).map_err(failed)? == Kind::Numbers;
        }
        for &at in places.iter().chain([&target_place]).filter(|&&at| !numeric[at]) {
            let texts: BTreeSet<&str> = lines.column(at).collect();
            if texts.len() > MOST_CATEGORIES {
                let (column, count) = (&header[at], texts.len());
                return Err(failed(format!(
                    "column `{column}` has {count} different texts, too many for categories; ignore it or clean it"
                )));
            }
        }
        let classes = (!numeric[target_place])
            .then(|| lines.column(target_place).map(String::from).collect::<BTreeSet<_>>());
        let is_yes_or_no = |no: f64| {
            let mut numbers = lines.column(target_place).map(|text| parse_number(text).ok().flatten());
            numbers.all(|number| number.is_some_and(|x| x == no || x == 1.0))
        };
        Ok(Table {
            unscaled: options.unscaled.unwrap_or_else(|| is_yes_or_no(0.0) || is_yes_or_no(-1.0)),
            name: name.into(),
            columns: places.iter().map(|&at| header[at].clone()).collect(),
            places,
            target: header[target_place].clone(),
            target_place,
            classes: classes.map(|classes| classes.into_iter().collect()),
            numeric,
            lines,
        })
    }

    /// How many rows there are.
    pub fn count(&self) -> usize {
        self.lines.count()
    }

    /// The name of the column to predict.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// What each column was taken as, as one line for people.
    pub fn taken_as(&self) -> String {
        const SHOWN: usize = 12;
        let list = |texts: Vec<String>| match texts.len() {
            0 => "none".into(),
            count if count <= SHOWN => texts.join(", "),
            count => format!("{} and {} more", texts[..SHOWN].join(", "), count - SHOWN),
        };
        let texts = |at: usize| -> BTreeSet<&str> {
            self.lines.column(at).filter(|text| !is_missing(text)).collect()
        };
        let (mut numbers, mut categories) = (Vec::new(), Vec::new());
        for (name, &at) in self.columns.iter().zip(&self.places) {
            let missing = self.lines.column(at).filter(|text| is_missing(text)).count();
            let gaps = if missing > 0 { format!(", {missing} missing") } else { String::new() };
            let name = shortened(name);
            match self.numeric[at] {
                true if missing > 0 => numbers.push(format!("{name} ({missing} missing)")),
                true => numbers.push(name),
                false => categories.push(format!("{name} ({} texts{gaps})", texts(at).len())),
            }
        }
        let target = match &self.classes {
            Some(classes) => format!("one of {} classes", classes.len()),
            None => {
                let values = texts(self.target_place).len();
                let hint = if values <= FEW_VALUES { "; classes=yes takes them as classes" } else { "" };
                format!("a number ({values} different ones{hint})")
            }
        };
        let (numbers, categories) = (list(numbers), list(categories));
        format!(
            "the target `{}` is {target}; numbers: {numbers}; categories: {categories}",
            shortened(&self.target)
        )
    }

    /// The rows of a file as a run has them that was trained on a table: the columns of its description by their names,
    /// in whatever order they stand, with the means, deviations and categories of that. Other columns are passed over.
    /// A description without a target gives inputs alone, to predict from.
    ///
    /// # Errors
    /// As for [`Table::open`]; besides, the description is of no table, a column of it or its target is not there, or a
    /// value is no number or no class of it. The message names line and column.
    pub fn open_as(
        path: impl AsRef<Path>,
        options: &TableOptions,
        description: &Description,
    ) -> Result<Dataset> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let failed = |reason: String| Error::new(format!("{name}: {reason}"));
        let lines = read_lines(path, &options.missing)?.map_err(failed)?;
        let places = places_of(&lines, description).map_err(failed)?;
        let target = description.target().map(|_| target_of(&lines, options, description, &places));
        let target = target.transpose().map_err(failed)?;
        let same = Description { name: name.clone(), ..description.clone() };
        samples(&lines, 0..lines.count(), same, &places, target)
    }

    /// All rows as samples; means, deviations and categories are those of all rows.
    ///
    /// # Errors
    /// A number is too large.
    pub fn dataset(&self) -> Result<Dataset> {
        let all: Vec<usize> = (0..self.count()).collect();
        self.samples(&all, self.description(&all))
    }

    /// Rows to train on, `fraction` of them as chosen by `seed`, and the rest to measure on. Means, deviations and
    /// categories are found from the rows to train on alone.
    ///
    /// # Errors
    /// `fraction` leaves a part empty, or a number is too large.
    pub fn split(&self, fraction: f64, seed: u64) -> Result<(Dataset, Dataset)> {
        let (train, test) = self.parts(fraction, seed)?;
        let description = self.description(&train);
        Ok((self.samples(&train, description.clone())?, self.samples(&test, description)?))
    }

    /// As [`Table::split`], with the means, deviations and categories of a description in place of those that are
    /// found: that of the model which [`Table::open_like`] was told.
    ///
    /// # Errors
    /// As for [`Table::split`]; the description has other columns, or a value is no number or no class of it.
    pub fn split_as(
        &self,
        fraction: f64,
        seed: u64,
        description: &Description,
    ) -> Result<(Dataset, Dataset)> {
        let names = table_columns(description)
            .map_err(|reason| Error::new(format!("{}: {reason}", self.name)))?
            .iter()
            .map(|column| column.name().trim());
        if !names.eq(self.columns.iter().map(String::as_str)) {
            return Err(Error::new(format!("{}: the model has other columns", self.name)));
        }
        let (train, test) = self.parts(fraction, seed)?;
        let same = Description { name: self.name.clone(), ..description.clone() };
        Ok((self.samples(&train, same.clone())?, self.samples(&test, same)?))
    }

    /// Numbers of the rows to train on and of the others, sorted.
    fn parts(&self, fraction: f64, seed: u64) -> Result<(Vec<usize>, Vec<usize>)> {
        let mut order: Vec<usize> = (0..self.count()).collect();
        Random::new(&[seed, TABLE_STREAM]).shuffle(&mut order);
        let count = (order.len() as f64 * fraction).round() as usize;
        if !(1..order.len()).contains(&count) {
            return Err(Error::new(format!(
                "{}: splitting off {fraction} of {} rows leaves a part empty",
                self.name,
                order.len()
            )));
        }
        let mut test = order.split_off(count);
        order.sort_unstable();
        test.sort_unstable();
        Ok((order, test))
    }

    /// What samples look like by these rows.
    fn description(&self, rows: &[usize]) -> Description {
        let columns = self.columns.iter().zip(&self.places).map(|(name, &at)| self.column(name, at, rows));
        let columns: Vec<Column> = columns.collect();
        let width = columns.iter().map(Column::width).sum();
        let input =
            Field::numbers(INPUT, ElementType::F32, &[width]).prepared(Preparation::Table { columns });
        let target = match &self.classes {
            Some(names) => Field::class(TARGET, names.iter().cloned()),
            None if self.unscaled => Field::numbers(TARGET, ElementType::F32, &[1]),
            None => {
                let (mean, std, _) = self.statistics(self.target_place, rows);
                // Beyond the range of f32 nothing is normalised, and the samples are refused.
                let normalization = Normalization::new(&[mean as f32], &[std as f32]);
                let preparation = normalization
                    .map_or(Preparation::None, |normalization| Preparation::Numbers { normalization });
                Field::numbers(TARGET, ElementType::F32, &[1]).prepared(preparation)
            }
        };
        let named =
            Description { target_name: Some(self.target.clone()), ..Description::new(self.name.clone()) };
        named.with(input).with(target)
    }

    fn column(&self, name: &str, at: usize, rows: &[usize]) -> Column {
        if self.numeric[at] {
            let (mean, std, missing) = self.statistics(at, rows);
            return Column::Number { name: name.into(), mean, std, missing };
        }
        let texts = rows.iter().map(|&row| self.lines.value(row, at)).filter(|text| !is_missing(text));
        let texts: BTreeSet<&str> = texts.collect();
        Column::Category { name: name.into(), texts: texts.into_iter().map(String::from).collect() }
    }

    /// Mean, deviation and whether a value is missing, by these rows.
    fn statistics(&self, at: usize, rows: &[usize]) -> (f64, f64, bool) {
        let numbers: Vec<f64> =
            rows.iter().filter_map(|&row| parse_number(self.lines.value(row, at)).ok().flatten()).collect();
        let count = numbers.len().max(1) as f64;
        let mean = numbers.iter().sum::<f64>() / count;
        let variance = numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
        // What is constant but for rounding is constant.
        let std = if variance.sqrt() > 1e-12 * mean.abs() { variance.sqrt() } else { 1.0 };
        (mean, std, numbers.len() < rows.len())
    }

    fn samples(&self, rows: &[usize], description: Description) -> Result<Dataset> {
        samples(&self.lines, rows.iter().copied(), description, &self.places, Some(self.target_place))
    }
}

/// The columns that the input of a description is made of.
fn table_columns(description: &Description) -> std::result::Result<&[Column], String> {
    match description.input().map(|input| &input.preparation) {
        Some(Preparation::Table { columns }) => Ok(columns),
        _ => Err("is a table, and the model was trained on something else".into()),
    }
}

/// Where the columns of a description stand.
fn places_of(lines: &Lines, description: &Description) -> std::result::Result<Vec<usize>, String> {
    table_columns(description)?.iter().map(|column| lines.place(column.name())).collect()
}

/// Where the target of a description stands, whose inputs stand at `inputs`: in the column that the options name, or
/// that of the description. Runs of earlier versions do not say what it is called; then it is the one column that no
/// input is made of.
fn target_of(
    lines: &Lines,
    options: &TableOptions,
    about: &Description,
    inputs: &[usize],
) -> std::result::Result<usize, String> {
    let named = options.target.as_deref().or(about.target_name.as_deref());
    if let Some(name) = named {
        return lines.place(name).map_err(|reason| {
            format!(
                "{reason}; it is the target to measure by: add it, or say which column it is (target=NAME)"
            )
        });
    }
    let inputs: BTreeSet<usize> = inputs.iter().copied().collect();
    let ignored: BTreeSet<usize> = options.ignore.iter().filter_map(|name| lines.place(name).ok()).collect();
    let is_other = |at: &usize| !inputs.contains(at) && !ignored.contains(at);
    let others: Vec<usize> = (0..lines.header().len()).filter(is_other).collect();
    match others.as_slice() {
        [one] => Ok(*one),
        [] => {
            Err("has no column to measure by beside those that the model predicts from; add the target"
                .into())
        }
        _ => {
            let names: Vec<String> =
                others.iter().take(20).map(|&at| shortened(&lines.header()[at])).collect();
            Err(format!("the target may be any of {}; say which one it is (target=NAME)", names.join(", ")))
        }
    }
}

/// Rows as samples of a description, whose input is made of the columns at `places`, and whose target stands at
/// `target`.
fn samples(
    lines: &Lines,
    rows: impl Iterator<Item = usize> + Clone,
    description: Description,
    places: &[usize],
    target: Option<usize>,
) -> Result<Dataset> {
    let failed = |reason: String| Error::new(format!("{}: {reason}", description.name));
    let columns = table_columns(&description).map_err(failed)?;
    let width: usize = columns.iter().map(Column::width).sum();
    let mut inputs = Vec::with_capacity(width.saturating_mul(rows.size_hint().0));
    let (mut unknown, mut noted) = (Vec::new(), vec![None; columns.len()]);
    for row in rows.clone() {
        for ((column, &at), noted) in columns.iter().zip(places).zip(&mut noted) {
            UnknownCategories::note(&mut unknown, noted, column, lines.value(row, at), lines.line(row));
            let written = column.write(lines.value(row, at), &mut inputs);
            written.map_err(|error| failed(format!("{}: {error}", lines.named(row))))?;
        }
    }
    let Some((field, at)) = description.target().zip(target) else {
        return Ok(Dataset::new(description, vec![inputs.into()])?.with_unknown(unknown));
    };
    let wrong = |row: usize, what: &str| {
        let (line, text, column) = (lines.named(row), shortened(lines.value(row, at)), &lines.header()[at]);
        failed(format!("{line}: `{text}` of the target `{column}` is {what}"))
    };
    let targets: Values = match field.classes() {
        Some(classes) => {
            let numbers: HashMap<&str, i32> = classes.iter().map(String::as_str).zip(0..).collect();
            let number = |row: usize| numbers.get(lines.value(row, at)).copied();
            let targets = rows.map(|row| number(row).ok_or_else(|| wrong(row, "no class of the model")));
            targets.collect::<Result<Vec<i32>>>()?.into()
        }
        None => {
            let (mean, std) = field.preparation.normalization().map_or((0.0, 1.0), |n| n.channel(0));
            let targets = rows.map(|row| match parse_number(lines.value(row, at)) {
                Ok(Some(number)) => Ok(((number - f64::from(mean)) / f64::from(std)) as f32),
                _ => Err(wrong(row, "no number")),
            });
            targets.collect::<Result<Vec<f32>>>()?.into()
        }
    };
    Ok(Dataset::new(description, vec![inputs.into(), targets])?.with_unknown(unknown))
}

/// The lines of a file: text, plain or gzip, or Parquet, as its first bytes say. What is wrong with the lines is told
/// apart from what is wrong with the file.
pub(crate) fn read_lines(path: &Path, missing: &[String]) -> Result<std::result::Result<Lines, String>> {
    let bytes = file::read_up_to(path, &mut file::open(path)?, MOST_BYTES + 1)?;
    if bytes.len() > MOST_BYTES {
        return Err(Error::at_file(path, "is larger than 1 GiB; cut it into smaller tables"));
    }
    if bytes.starts_with(PARQUET) {
        return Ok(read_parquet(bytes, missing));
    }
    let text = String::from_utf8(bytes).map_err(|cause| {
        let at = cause.utf8_error().valid_up_to();
        Error::at_file(path, format_args!("is not UTF-8 text: byte {at} is wrong; convert it"))
    })?;
    Ok(Lines::parse(&text, missing))
}

/// What Parquet files begin with.
const PARQUET: &[u8] = b"PAR1";

#[cfg(feature = "parquet")]
fn read_parquet(bytes: Vec<u8>, missing: &[String]) -> std::result::Result<Lines, String> {
    crate::parquet_file::read(bytes, missing)
}

#[cfg(not(feature = "parquet"))]
fn read_parquet(_: Vec<u8>, _: &[String]) -> std::result::Result<Lines, String> {
    Err("is a Parquet file, which is read by builds with the feature `parquet` only; write it as CSV".into())
}

/// Keeps the order of rows apart from other streams of the same seed.
const TABLE_STREAM: u64 = 0x7461_626c_6500_0001;

impl Field {
    /// A row of a table as training saw its rows: values by the names of their columns, in any order. What is left out
    /// is missing.
    ///
    /// # Errors
    /// The field is not made of a table, there is no such column, or a value is no number where numbers stand.
    pub fn prepare_row(&self, row: &[(&str, &str)]) -> Result<Vec<f32>> {
        let Preparation::Table { columns } = &self.preparation else {
            return Err(Error::new(format!("`{}` is not made of the columns of a table", self.name)));
        };
        let mut values: HashMap<&str, &str> =
            row.iter().rev().map(|(name, value)| (name.trim(), *value)).collect();
        let mut out = Vec::new();
        for column in columns {
            column.write(values.remove(column.name().trim()).unwrap_or_default(), &mut out)?;
        }
        if let Some((name, _)) = row.iter().find(|(name, _)| values.contains_key(name.trim())) {
            let names: Vec<String> = columns.iter().take(20).map(|column| shortened(column.name())).collect();
            return Err(Error::new(format!("there is no column `{name}`, only {}", names.join(", "))));
        }
        Ok(out)
    }

    /// The columns of categories in which a row of a table has a text that was not there in training, so that it counts
    /// as missing.
    pub fn unknown_categories<'a>(&'a self, row: &[(&str, &str)]) -> Vec<&'a str> {
        let Preparation::Table { columns } = &self.preparation else { return Vec::new() };
        let value = |column: &Column| {
            row.iter().find(|(name, _)| name.trim() == column.name().trim()).map_or("", |(_, value)| value)
        };
        columns.iter().filter(|column| column.is_unknown(value(column))).map(Column::name).collect()
    }

    /// Numbers that a model gives for this field, in the units of the raw data: what normalisation did is undone.
    pub fn restore(&self, numbers: &mut [f32]) {
        if let Some(normalization) = self.preparation.normalization() {
            let channels = self.channels().max(1);
            for (at, number) in numbers.iter_mut().enumerate() {
                let (mean, std) = normalization.channel(at % channels % normalization.mean().len());
                *number = *number * std + mean;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::message;
    use crate::{Source, read_one};

    const SHOP: &str = "size;colour;price\r\n1;red;10\r\n3;\"bl;ue \"\"x\"\"\";20\r\n;red;30\r\n\r\n2;NA;40";

    fn input(data: &Dataset, index: usize) -> Vec<f32> {
        read_one(data, index).unwrap().get(INPUT).unwrap().slice().unwrap().to_vec()
    }

    #[test]
    fn columns_of_all_kinds() {
        let table = Table::parse("shop", SHOP, &TableOptions::default()).unwrap();
        assert_eq!((table.target(), table.count()), ("price", 4));
        let data = table.dataset().unwrap();
        let field = data.description().input().unwrap();
        let Preparation::Table { columns } = &field.preparation else { panic!("a table") };
        let std = (2.0f64 / 3.0).sqrt();
        let size = Column::Number { name: "size".into(), mean: 2.0, std, missing: true };
        let texts = vec!["bl;ue \"x\"".to_string(), "red".into()];
        assert_eq!(columns, &[size, Column::Category { name: "colour".into(), texts }]);
        let one = (1.0 / std) as f32;
        assert_eq!(input(&data, 0), [-one, 0.0, 0.0, 1.0]);
        assert_eq!(input(&data, 1), [one, 0.0, 1.0, 0.0]);
        assert_eq!(input(&data, 2), [0.0, 1.0, 0.0, 1.0]);
        assert_eq!(input(&data, 3), [0.0, 0.0, 0.0, 0.0]);
        assert_eq!(field.prepare_row(&[("colour", "red"), ("size", "1")]).unwrap(), input(&data, 0));
        assert_eq!(field.prepare_row(&[("colour", "green")]).unwrap(), [0.0, 1.0, 0.0, 0.0]);
        assert_eq!(field.unknown_categories(&[("colour", "green"), ("size", "9")]), ["colour"]);
        assert!(field.unknown_categories(&[("colour", "NA")]).is_empty());
        assert!(
            field.unknown_categories(&[("colour", "red")]).is_empty() && data.unknown_categories().is_empty()
        );
        assert!(message(field.prepare_row(&[("sise", "1")])).contains("no column `sise`, only size, colour"));
        assert!(message(field.prepare_row(&[("size", "big")])).contains("column size holds numbers, `big`"));
        // What a model gives comes back as prices.
        let sample = read_one(&data, 3).unwrap();
        let mut target = sample.get(TARGET).unwrap().slice::<f32>().unwrap().to_vec();
        data.description().target().unwrap().restore(&mut target);
        assert!((target[0] - 40.0).abs() < 1e-4, "{target:?}");
    }

    #[test]
    fn one_bad_cell_turns_no_numbers_into_categories() {
        let rows: String = (0..50)
            .map(|i| format!("{i},{},red\n", if i == 7 { "n.a.".into() } else { (i * 2).to_string() }))
            .collect();
        let text = format!("a,b,c\n{rows}");
        let usual = TableOptions::target("a");
        let refused = message(Table::parse("t.csv", &text, &usual));
        assert!(refused.starts_with("t.csv: line 9: column `b` holds numbers, but for `n.a.`"), "{refused}");
        assert!(refused.contains("(missing=n.a.)") && refused.contains("(categories=b)"), "{refused}");
        // The target, too.
        assert!(
            message(Table::parse("t", &text, &TableOptions::target("b")))
                .contains("column `b` holds numbers")
        );
        let decimal = message(Table::parse("t", "a,b\n1,\"12,3\"\n2,3\n3,4\n", &usual));
        assert!(
            decimal.contains("`12,3`; write it with digits and a point")
                && decimal.contains("missing=12%2C3"),
            "{decimal}"
        );
        let missing = TableOptions { missing: vec!["n.a.".into()], ..usual.clone() };
        let table = Table::parse("t", &text, &missing).unwrap();
        assert_eq!(
            table.taken_as(),
            "the target `a` is a number (50 different ones); numbers: b (1 missing); categories: c (1 texts)"
        );
        let categories = TableOptions { categories: vec!["b".into(), "a".into()], ..usual.clone() };
        let said = Table::parse("t", &text, &categories).unwrap().taken_as();
        assert!(
            said.starts_with("the target `a` is one of 50 classes; numbers: none; categories: b (50 texts)"),
            "{said}"
        );
        let unknown = TableOptions { categories: vec!["d".into()], ..usual };
        assert!(message(Table::parse("t", &text, &unknown)).contains("no column `d`"));
        let few = Table::parse("t", "a,b\n1,0\n2,1\n3,0\n", &TableOptions::default()).unwrap().taken_as();
        assert!(
            few.contains("`b` is a number (2 different ones; classes=yes takes them as classes)"),
            "{few}"
        );
    }

    #[test]
    fn another_file_is_read_as_the_run_has_it() {
        let table = Table::parse("shop", SHOP, &TableOptions::default()).unwrap();
        let description = table.dataset().unwrap().description().clone();
        let path = std::env::temp_dir().join(format!("dropforge-table-{}.csv", std::process::id()));
        let open = |text: &str, options: &TableOptions| {
            std::fs::write(&path, text).unwrap();
            Table::open_as(&path, options, &description)
        };
        let usual = TableOptions::default();
        let data = open("colour,other,size,price\nred,x,1,10\ngreen,y,200,30\n", &usual).unwrap();
        assert_eq!(data.description().fields, description.fields);
        assert_eq!(input(&data, 0), input(&table.dataset().unwrap(), 0));
        let unknown: Vec<String> = data.unknown_categories().iter().map(ToString::to_string).collect();
        assert_eq!(
            unknown,
            [
                "column `colour`: 1 value that the model was not trained on, `green` in line 3; it counts as missing"
            ]
        );
        let twice = open("colour,size,price\nblue,1,10\n,2,30\nred,1,2\ngreen,1,1\n", &usual).unwrap();
        let unknown = &twice.unknown_categories()[0];
        assert!(
            unknown
                .to_string()
                .contains("2 values that the model was not trained on, the first `blue` in line 2; they")
        );
        let mut target = read_one(&data, 1).unwrap().get(TARGET).unwrap().slice::<f32>().unwrap().to_vec();
        data.description().target().unwrap().restore(&mut target);
        assert!((target[0] - 30.0).abs() < 1e-4);
        // Whatever comes last, the target is told by its name, and measuring needs it.
        let data = open("size,price,colour,other\n1,10,red,77\n", &usual).unwrap();
        let first = read_one(&table.dataset().unwrap(), 0).unwrap();
        assert_eq!(read_one(&data, 0).unwrap().get(TARGET).unwrap(), first.get(TARGET).unwrap());
        let without = message(open("size,colour,other\n1,red,77\n", &usual));
        assert!(
            without.contains("no column `price`, only size, colour, other; it is the target"),
            "{without}"
        );
        let cost = TableOptions::target("cost");
        let data = open("cost,size,colour,other\n10,1,red,77\n", &cost).unwrap();
        assert_eq!(read_one(&data, 0).unwrap().get(TARGET).unwrap(), first.get(TARGET).unwrap());
        assert!(message(open("colour,size,price\nred,1,2\n", &cost)).contains("no column `cost`"));
        // Runs that do not say what it is called.
        let mut old = description.clone();
        old.target_name = None;
        let open_old = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Table::open_as(&path, &usual, &old)
        };
        let data = open_old("cost,size,colour\n10,1,red\n").unwrap();
        assert_eq!(read_one(&data, 0).unwrap().get(TARGET).unwrap(), first.get(TARGET).unwrap());
        assert!(
            message(open_old("price,size,colour,other\n10,1,red,7\n")).contains("any of price, other; say")
        );
        assert!(message(open_old("size,colour\n1,red\n")).contains("no column to measure by"));
        let ignoring = TableOptions { ignore: vec!["other".into()], ..usual.clone() };
        std::fs::write(&path, "other,cost,size,colour\n7,10,1,red\n").unwrap();
        let data = Table::open_as(&path, &ignoring, &old).unwrap();
        assert_eq!(read_one(&data, 0).unwrap().get(TARGET).unwrap(), first.get(TARGET).unwrap());
        // What is only to be predicted from has no target.
        let mut inputs = description.clone();
        inputs.fields.retain(|field| field.name != TARGET);
        std::fs::write(&path, "colour,size\nred,1\n").unwrap();
        let data = Table::open_as(&path, &usual, &inputs).unwrap();
        assert!(data.description().target().is_none() && input(&data, 0)[1] == 0.0);
        assert!(message(open("colour,price\nred,1\n", &usual)).contains("there is no column `size`"));
        assert!(
            message(open("size,colour,price\n1,red,2\nbig,red,1\n", &usual))
                .contains("line 3: column size holds numbers")
        );
        assert!(
            message(open("size,colour,price\n1,red,cheap\n", &usual))
                .contains("line 2: `cheap` of the target `price` is no number")
        );
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_table_that_was_rearranged_is_split_as_before() {
        let rows: Vec<[String; 3]> =
            (0..40).map(|i| [i.to_string(), ["x", "y"][i % 2].into(), (3 * i).to_string()]).collect();
        let line = |row: &[String; 3], order: &[usize]| {
            order.iter().map(|&at| row[at].as_str()).collect::<Vec<_>>().join(",") + "\n"
        };
        let text = |order: &[usize]| {
            let names = ["a", "b", "y"].map(String::from);
            line(&names, order) + &rows.iter().map(|row| line(row, order)).collect::<String>()
        };
        let usual = TableOptions::default();
        let (train, test) = Table::parse("t", &text(&[0, 1, 2]), &usual).unwrap().split(0.8, 1).unwrap();
        let path = std::env::temp_dir().join(format!("dropforge-rearranged-{}.csv", std::process::id()));
        std::fs::write(&path, text(&[2, 1, 0])).unwrap();
        let table = Table::open_like(&path, &usual, train.description()).unwrap();
        let fresh = table.split(0.8, 1).unwrap().0;
        assert_eq!(fresh.description().fields, train.description().fields);
        let again = table.split_as(0.8, 1, train.description()).unwrap();
        for (was, is) in [(&train, &again.0), (&test, &again.1)] {
            assert_eq!(
                (was.stored::<f32>(INPUT), was.stored::<f32>(TARGET)),
                (is.stored(INPUT), is.stored(TARGET))
            );
        }
        std::fs::remove_file(path).unwrap();
    }

    /// Names had the spaces of the file in earlier versions.
    #[test]
    fn names_are_the_same_with_spaces_around_them() {
        let rows: String = (0..20).map(|i| format!("{i}, {}, {}\n", ["x", "y"][i % 2], 3 * i)).collect();
        let table = Table::parse("t", &format!("a, b, y\n{rows}"), &TableOptions::default()).unwrap();
        let (train, _) = table.split(0.8, 1).unwrap();
        let text = toml::to_string(train.description()).unwrap();
        let old = text.replace("name = \"b\"", "name = \" b\"").replace("\"y\"\n", "\" y\"\n");
        assert!(old.contains("name = \" b\"") && old.contains("target_name = \" y\""), "{old}");
        let old: Description = toml::from_str(&old).unwrap();
        assert_eq!(&old, train.description());
        let again = table.split_as(0.8, 1, &old).unwrap().0;
        assert_eq!(input(&again, 3), input(&train, 3));
        let field = old.input().unwrap();
        let row = |b| field.prepare_row(&[("a", "1"), (b, "x")]).unwrap();
        assert_eq!((row(" b"), field.unknown_categories(&[(" b", "z")])), (row("b"), vec!["b"]));
    }

    #[test]
    fn only_rows_to_train_on_are_looked_at() {
        let rows: String =
            (0..100).map(|i| format!("{i},{},{}\n", if i == 7 { "rare" } else { "often" }, i * 2)).collect();
        let table = Table::parse("t", &format!("a,b,y\n{rows}"), &TableOptions::target("y")).unwrap();
        let (train, test) = table.split(0.8, 3).unwrap();
        assert_eq!((train.len(), test.len()), (Some(80), Some(20)));
        assert_eq!(train.description(), test.description());
        let mean: f32 = (0..80).map(|i| input(&train, i)[0]).sum::<f32>() / 80.0;
        assert!(mean.abs() < 1e-5, "{mean}");
        assert_ne!(input(&train, 0), input(&table.split(0.8, 4).unwrap().0, 0));
        assert!(message(table.split(1.0, 0)).contains("leaves a part empty"));
    }

    #[test]
    fn classes_by_text_or_when_asked() {
        let text = "a\tkind\n1\tx\n2\ty\n3\tx\n";
        let data = Table::parse("t", text, &TableOptions::default()).unwrap().dataset().unwrap();
        assert_eq!((data.classes(), data.description().class_count()), (Some(&[0, 1, 0][..]), Some(2)));
        let options = TableOptions { classes: true, ..TableOptions::target("a") };
        let data = Table::parse("t", text, &options).unwrap().dataset().unwrap();
        assert_eq!(data.description().class_names().unwrap(), ["1", "2", "3"]);
    }

    #[test]
    fn mistakes_are_named() {
        let refused = |text: &str, options: &TableOptions| message(Table::parse("t.csv", text, options));
        let usual = TableOptions::default();
        assert!(refused("a,b\n", &usual).contains("has no rows"));
        assert!(refused("a,b\n1,2\n1\n", &usual).contains("line 3 has 1 values, the first line names 2"));
        assert!(refused("a,b\n\"1\n2\",3\n4\n", &usual).contains("line 4 has 1"));
        assert!(refused("a,b\n1,\n", &usual).contains("line 2 has no value of the target `b`"));
        assert!(refused("a,a\n1,2\n", &usual).contains("two columns are called `a`"));
        assert!(refused("a,b\n\"1,2\n", &usual).contains("never closed"));
        assert!(refused("a,b\n1,2\n", &TableOptions::target("c")).contains("no column `c`, only a, b"));
        assert!(refused("a\n1\n", &usual).contains("no column to predict from"));
        let many: String = (0..1200).map(|i| format!("text{i},1\n")).collect();
        assert!(refused(&format!("a,b\n{many}"), &usual).contains("`a` has 1200 different texts"));
        let ignored = TableOptions { ignore: vec!["a".into()], ..TableOptions::default() };
        assert!(refused(&format!("a,b\n{many}"), &ignored).contains("no column to predict from"));
    }

    #[test]
    fn the_description_survives_a_file() {
        let data = Table::parse("shop", SHOP, &TableOptions::default()).unwrap().dataset().unwrap();
        let text = toml::to_string(data.description()).unwrap();
        assert_eq!(&toml::from_str::<Description>(&text).unwrap(), data.description());
    }
}
