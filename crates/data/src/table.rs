//! Tables of mixed columns from CSV and TSV files.

use std::collections::BTreeSet;
use std::path::Path;

use crate::column::{
    Column, Kind, UnknownCategories, is_missing, is_written_otherwise, parse_number, shortened,
};
use crate::random::Random;
use crate::separated::{separator, split_rows};
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
    /// Whether a target of numbers stays as it stands, in place of being standardised: counts, or a yes or no for a loss of these.
    /// Default `None`: only where it is 0 and 1, or −1 and 1, alone.
    pub unscaled: Option<bool>,
}

impl TableOptions {
    /// To predict this column from all others.
    pub fn target(name: impl Into<String>) -> TableOptions {
        TableOptions { target: Some(name.into()), ..TableOptions::default() }
    }
}

/// A CSV or TSV file, plain or gzip, whose first line names the columns.
///
/// The separator (comma, semicolon or tab) is found from the first line; quoted values may hold separators, line breaks
/// and doubled quotes. A column whose values are all numbers is one of numbers, any other one of categories; a target of numbers
/// is a regression, unless [`TableOptions::classes`] is set. Where nearly all are numbers and a few are not, that is an error that
/// names the first of them. Empty values, `NA`, `N/A`, `NaN`, `null` and `none` in any case, `?` and `-` are missing.
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
    rows: Vec<Vec<String>>,
}

/// The lines of a table, before anything is known of its columns.
struct Lines {
    header: Vec<String>,
    /// Values, with the line in which each row begins.
    rows: Vec<(usize, Vec<String>)>,
}

impl Lines {
    /// Values that are one of `missing` become empty.
    fn parse(text: &str, missing: &[String]) -> std::result::Result<Lines, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut rows = split_rows(text, separator(text))?;
        if rows.len() < 2 {
            return Err("has no rows under a first line with the names of the columns".into());
        }
        let header = rows.remove(0).1;
        for (at, column) in header.iter().enumerate() {
            if header[..at].contains(column) {
                return Err(format!("two columns are called `{}`; rename one", shortened(column)));
            }
        }
        for (line, row) in &mut rows {
            if row.len() != header.len() {
                let (values, columns) = (row.len(), header.len());
                return Err(format!("line {line} has {values} values, the first line names {columns}"));
            }
            row.iter_mut()
                .filter(|value| missing.iter().any(|m| m.trim() == value.trim()))
                .for_each(String::clear);
        }
        Ok(Lines { header, rows })
    }

    /// The position of a column.
    fn place(&self, column: &str) -> std::result::Result<usize, String> {
        self.header.iter().position(|name| name == column).ok_or_else(|| {
            let names: Vec<String> = self.header.iter().take(20).map(|name| shortened(name)).collect();
            format!("there is no column `{column}`, only {}", names.join(", "))
        })
    }

    /// What a column is taken as.
    fn kind(&self, at: usize) -> std::result::Result<Kind, String> {
        Kind::of(self.rows.iter().map(|(_, row)| row[at].as_str())).map_err(|row| {
            let (line, values) = &self.rows[row];
            let (column, value) = (&self.header[at], shortened(values[at].trim()));
            let what = match is_written_otherwise(values[at].trim()) {
                true => "write it with digits and a point alone, such as 1234.5",
                false => "mend it",
            };
            let quoted = value.replace(',', "%2C");
            format!(
                "line {line}: column `{column}` holds numbers, but for `{value}`; {what}, or say that it stands for a missing value \
                 (missing={quoted}), or that the column holds categories (categories={column})"
            )
        })
    }
}

impl Table {
    /// Reads a file.
    ///
    /// # Errors
    /// The file is missing, larger than 1 GiB or not UTF-8; lines have different numbers of values, a column is not
    /// there, the target is missing in a row, a column has more than 1000 different texts, or some of its values are no numbers
    /// while nearly all are; the message says where.
    pub fn open(path: impl AsRef<Path>, options: &TableOptions) -> Result<Table> {
        let path = path.as_ref();
        Table::parse(&path.display().to_string(), &read_text(path)?, options)
    }

    /// As [`Table::open`], from a text; `name` is for messages.
    ///
    /// # Errors
    /// As for [`Table::open`].
    pub fn parse(name: &str, text: &str, options: &TableOptions) -> Result<Table> {
        let failed = |reason: String| Error::new(format!("{name}: {reason}"));
        let lines = Lines::parse(text, &options.missing).map_err(failed)?;
        let place = |column: &str| lines.place(column).map_err(failed);
        let target_place = options.target.as_deref().map_or(Ok(lines.header.len() - 1), place)?;
        let set =
            |names: &[String]| names.iter().map(|name| place(name)).collect::<Result<BTreeSet<usize>>>();
        let (ignored, categories) = (set(&options.ignore)?, set(&options.categories)?);
        let places: Vec<usize> =
            (0..lines.header.len()).filter(|at| *at != target_place && !ignored.contains(at)).collect();
        if places.is_empty() {
            return Err(failed("there is no column to predict from".into()));
        }
        for (line, row) in &lines.rows {
            if is_missing(&row[target_place]) {
                let target = &lines.header[target_place];
                return Err(failed(format!(
                    "line {line} has no value of the target `{target}`; remove the line"
                )));
            }
        }
        let mut numeric = vec![false; lines.header.len()];
        for &at in places.iter().chain([&target_place]) {
            let told = categories.contains(&at) || at == target_place && options.classes;
            numeric[at] = !told && lines.kind(at).map_err(failed)? == Kind::Numbers;
        }
        let Lines { header, rows } = lines;
        let rows: Vec<Vec<String>> = rows.into_iter().map(|(_, row)| row).collect();
        for &at in places.iter().chain([&target_place]).filter(|&&at| !numeric[at]) {
            let texts: BTreeSet<&str> = rows.iter().map(|row| row[at].trim()).collect();
            if texts.len() > MOST_CATEGORIES {
                let (column, count) = (&header[at], texts.len());
                return Err(failed(format!(
                    "column `{column}` has {count} different texts, too many for categories; ignore it or clean it"
                )));
            }
        }
        let classes = (!numeric[target_place])
            .then(|| rows.iter().map(|row| row[target_place].trim().to_string()).collect::<BTreeSet<_>>());
        let is_yes_or_no = |no: f64| {
            rows.iter().all(|row| {
                parse_number(&row[target_place]).ok().flatten().is_some_and(|x| x == no || x == 1.0)
            })
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
            rows,
        })
    }

    /// How many rows there are.
    pub fn count(&self) -> usize {
        self.rows.len()
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
            self.rows.iter().map(|row| row[at].trim()).filter(|text| !is_missing(text)).collect()
        };
        let (mut numbers, mut categories) = (Vec::new(), Vec::new());
        for (name, &at) in self.columns.iter().zip(&self.places) {
            let missing = self.rows.iter().filter(|row| is_missing(&row[at])).count();
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

    /// The rows of a file as a run has them that was trained on a table: the columns of its description by their names, with the
    /// means, deviations and categories of that. A file without the target, which is the last column unless the options name it,
    /// gives inputs alone, to predict from; other columns are passed over.
    ///
    /// # Errors
    /// As for [`Table::open`]; besides, the description is of no table, a column of it is not there, or a value is no number or no
    /// class of it. The message names the line.
    pub fn open_as(
        path: impl AsRef<Path>,
        options: &TableOptions,
        description: &Description,
    ) -> Result<Dataset> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let failed = |reason: String| Error::new(format!("{name}: {reason}"));
        let lines = Lines::parse(&read_text(path)?, &options.missing).map_err(failed)?;
        let Some(Preparation::Table { columns }) = description.input().map(|input| &input.preparation) else {
            return Err(failed("is a table, and the model was trained on something else".into()));
        };
        let places = columns.iter().map(|column| lines.place(column.name()).map_err(failed));
        let places = places.collect::<Result<Vec<usize>>>()?;
        let last = Some(lines.header.len() - 1).filter(|at| !places.contains(at));
        let target = match &options.target {
            Some(name) => lines.header.iter().position(|column| column == name),
            None => last,
        };
        let target = description.target().zip(target);
        let (mut inputs, mut unknown) = (Vec::new(), Vec::new());
        for (line, row) in &lines.rows {
            let at_line = |error: Error| failed(format!("line {line}: {error}"));
            for (column, &at) in columns.iter().zip(&places) {
                UnknownCategories::note(&mut unknown, column, &row[at], Some(*line));
                column.write(&row[at], &mut inputs).map_err(at_line)?;
            }
        }
        let mut same = Description::new(name.clone());
        same.fields = description.fields.clone();
        same.target_name.clone_from(&description.target_name);
        let Some((field, at)) = target else {
            same.fields.retain(|field| field.name != TARGET);
            return Ok(Dataset::new(same, vec![inputs.into()])?.with_unknown(unknown));
        };
        let texts = || lines.rows.iter().map(|(line, row)| (line, row[at].trim()));
        let wrong = |line: &usize, text: &str, what: &str| {
            failed(format!(
                "line {line}: `{}` of the target `{}` is {what}",
                shortened(text),
                lines.header[at]
            ))
        };
        let targets: Values = match field.classes() {
            Some(classes) => {
                let number = |text: &str| classes.iter().position(|class| class == text);
                let targets = texts().map(|(line, text)| {
                    number(text)
                        .map(|class| class as i32)
                        .ok_or_else(|| wrong(line, text, "no class of the model"))
                });
                targets.collect::<Result<Vec<i32>>>()?.into()
            }
            None => {
                let (mean, std) = field.preparation.normalization().map_or((0.0, 1.0), |n| n.channel(0));
                let targets = texts().map(|(line, text)| match parse_number(text) {
                    Ok(Some(number)) => Ok(((number - f64::from(mean)) / f64::from(std)) as f32),
                    _ => Err(wrong(line, text, "no number")),
                });
                targets.collect::<Result<Vec<f32>>>()?.into()
            }
        };
        Ok(Dataset::new(same, vec![inputs.into(), targets])?.with_unknown(unknown))
    }

    /// All rows as samples; means, deviations and categories are those of all rows.
    ///
    /// # Errors
    /// A number is too large.
    pub fn dataset(&self) -> Result<Dataset> {
        let all: Vec<usize> = (0..self.rows.len()).collect();
        self.samples(&all, &self.description(&all))
    }

    /// Rows to train on, `fraction` of them as chosen by `seed`, and the rest to measure on. Means, deviations and categories
    /// are found from the rows to train on alone.
    ///
    /// # Errors
    /// `fraction` leaves a part empty, or a number is too large.
    pub fn split(&self, fraction: f64, seed: u64) -> Result<(Dataset, Dataset)> {
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        Random::new(&[seed, TABLE_STREAM]).shuffle(&mut order);
        let count = (order.len() as f64 * fraction).round() as usize;
        if !(1..order.len()).contains(&count) {
            return Err(Error::new(format!(
                "{}: splitting off {fraction} of {} rows leaves a part empty",
                self.name,
                order.len()
            )));
        }
        let (train, test) = order.split_at_mut(count);
        train.sort_unstable();
        test.sort_unstable();
        let description = self.description(train);
        Ok((self.samples(train, &description)?, self.samples(test, &description)?))
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
        let texts = rows.iter().map(|&row| self.rows[row][at].trim()).filter(|text| !is_missing(text));
        let texts: BTreeSet<String> = texts.map(String::from).collect();
        Column::Category { name: name.into(), texts: texts.into_iter().collect() }
    }

    /// Mean, deviation and whether a value is missing, by these rows.
    fn statistics(&self, at: usize, rows: &[usize]) -> (f64, f64, bool) {
        let numbers: Vec<f64> =
            rows.iter().filter_map(|&row| parse_number(&self.rows[row][at]).ok().flatten()).collect();
        let count = numbers.len().max(1) as f64;
        let mean = numbers.iter().sum::<f64>() / count;
        let variance = numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
        // What is constant but for rounding is constant.
        let std = if variance.sqrt() > 1e-12 * mean.abs() { variance.sqrt() } else { 1.0 };
        (mean, std, numbers.len() < rows.len())
    }

    fn samples(&self, rows: &[usize], description: &Description) -> Result<Dataset> {
        let Preparation::Table { columns } = &description.fields[0].preparation else {
            return Err(Error::new(format!("{}: is no table", self.name)));
        };
        let (mut inputs, mut unknown) = (Vec::new(), Vec::new());
        for &row in rows {
            for (column, &at) in columns.iter().zip(&self.places) {
                UnknownCategories::note(&mut unknown, column, &self.rows[row][at], None);
                column.write(&self.rows[row][at], &mut inputs)?;
            }
        }
        let texts = rows.iter().map(|&row| self.rows[row][self.target_place].trim());
        let targets: Values = match &self.classes {
            Some(names) => {
                let class = |text: &str| {
                    names.binary_search_by(|name| name.as_str().cmp(text)).map_or(-1, |c| c as i32)
                };
                texts.map(class).collect::<Vec<i32>>().into()
            }
            None => {
                let normalization = description.fields[1].preparation.normalization();
                let (mean, std) = normalization.map_or((0.0, 1.0), |n| n.channel(0));
                let number = |text: &str| {
                    let number = parse_number(text).ok().flatten().unwrap_or(f64::NAN);
                    ((number - f64::from(mean)) / f64::from(std)) as f32
                };
                texts.map(number).collect::<Vec<f32>>().into()
            }
        };
        Ok(Dataset::new(description.clone(), vec![inputs.into(), targets])?.with_unknown(unknown))
    }
}

/// The text of a file, plain or gzip.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    let bytes = file::read_up_to(path, &mut file::open(path)?, MOST_BYTES + 1)?;
    if bytes.len() > MOST_BYTES {
        return Err(Error::at_file(path, "is larger than 1 GiB; cut it into smaller tables"));
    }
    String::from_utf8(bytes).map_err(|cause| {
        let at = cause.utf8_error().valid_up_to();
        Error::at_file(path, format_args!("is not UTF-8 text: byte {at} is wrong; convert it"))
    })
}

/// Keeps the order of rows apart from other streams of the same seed.
const TABLE_STREAM: u64 = 0x7461_626c_6500_0001;

impl Field {
    /// A row of a table as training saw its rows: values by the names of their columns, in any order. What is left out is
    /// missing.
    ///
    /// # Errors
    /// The field is not made of a table, there is no such column, or a value is no number where numbers stand.
    pub fn prepare_row(&self, row: &[(&str, &str)]) -> Result<Vec<f32>> {
        let Preparation::Table { columns } = &self.preparation else {
            return Err(Error::new(format!("`{}` is not made of the columns of a table", self.name)));
        };
        if let Some((name, _)) =
            row.iter().find(|(name, _)| columns.iter().all(|column| column.name() != *name))
        {
            let names: Vec<&str> = columns.iter().map(Column::name).collect();
            return Err(Error::new(format!("there is no column `{name}`, only {}", names.join(", "))));
        }
        let mut out = Vec::new();
        for column in columns {
            let value = row.iter().find(|(name, _)| *name == column.name()).map_or("", |(_, value)| value);
            column.write(value, &mut out)?;
        }
        Ok(out)
    }

    /// The columns of categories in which a row of a table has a text that was not there in training, so that it counts as missing.
    pub fn unknown_categories<'a>(&'a self, row: &[(&str, &str)]) -> Vec<&'a str> {
        let Preparation::Table { columns } = &self.preparation else { return Vec::new() };
        let value = |column: &Column| {
            row.iter().find(|(name, _)| *name == column.name()).map_or("", |(_, value)| value)
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
        // What is only to be predicted from has no target.
        for options in [usual.clone(), TableOptions::target("price")] {
            let data = open("colour,size\nred,1\n", &options).unwrap();
            assert!(data.description().target().is_none() && input(&data, 0)[1] == 0.0);
        }
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
