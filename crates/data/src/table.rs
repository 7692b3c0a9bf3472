//! Tables of mixed columns from CSV and TSV files.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::random::Random;
use crate::{
    DType, Dataset, Description, Error, Field, INPUT, Normalization, Preparation, Result, TARGET, Values,
    file,
};

/// Far above what is kept in memory as one table.
const MOST_BYTES: usize = 1 << 30;
/// Different texts in a column above which it is hardly a category.
const MOST_CATEGORIES: usize = 1000;

/// What is to be learned from a [`Table`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableOptions {
    /// The column to predict; the last one if none is named.
    pub target: Option<String>,
    /// Columns that are not read: numbers of rows, names of people.
    pub ignore: Vec<String>,
    /// Whether a target of numbers stands for classes.
    pub classes: bool,
}

impl TableOptions {
    /// To predict this column from all others.
    pub fn target(name: impl Into<String>) -> TableOptions {
        TableOptions { target: Some(name.into()), ..TableOptions::default() }
    }
}

/// One column of a table as numbers, as found from the rows trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind", deny_unknown_fields)]
pub enum Column {
    /// One number, standardised: `(x − mean) / std`. A missing one is the mean; where some were missing in training, a
    /// second number is 1 for those and else 0.
    Number {
        /// The name in the first line.
        name: String,
        /// Mean of what was not missing.
        mean: f64,
        /// Deviation of what was not missing; 1 where all were the same.
        std: f64,
        /// Whether some were missing.
        missing: bool,
    },
    /// One number for each text: 1 for that which stands there, else 0. All are 0 where it is missing or was not there in
    /// training.
    Category {
        /// The name in the first line.
        name: String,
        /// The texts, sorted.
        texts: Vec<String>,
    },
}

impl Column {
    /// The name in the first line.
    pub fn name(&self) -> &str {
        match self {
            Column::Number { name, .. } | Column::Category { name, .. } => name,
        }
    }

    /// How many numbers the column becomes.
    pub fn width(&self) -> usize {
        match self {
            Column::Number { missing, .. } => 1 + usize::from(*missing),
            Column::Category { texts, .. } => texts.len(),
        }
    }

    /// Appends the numbers of a value.
    fn write(&self, value: &str, out: &mut Vec<f32>) -> Result<()> {
        match self {
            Column::Number { name, mean, std, missing } => {
                let number = parse_number(value).map_err(|()| {
                    Error::new(format!("column {name} holds numbers, `{}` is none", shortened(value)))
                })?;
                out.push(number.map_or(0.0, |x| ((x - mean) / std) as f32));
                if *missing {
                    out.push(if number.is_none() { 1.0 } else { 0.0 });
                }
            }
            Column::Category { texts, .. } => {
                let start = out.len();
                out.resize(start + texts.len(), 0.0);
                if let Ok(at) = texts.binary_search_by(|text| text.as_str().cmp(value.trim())) {
                    out[start + at] = 1.0;
                }
            }
        }
        Ok(())
    }
}

/// A CSV or TSV file, plain or gzip, whose first line names the columns.
///
/// The separator (comma, semicolon or tab) is found from the first line; quoted values may hold separators, line breaks
/// and doubled quotes. A column whose values are all numbers is one of numbers, any other one of categories. Empty values,
/// `NA`, `NaN`, `null`, `None` and `?` are missing.
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
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Reads a file.
    ///
    /// # Errors
    /// The file is missing, larger than 1 GiB or not UTF-8; lines have different numbers of values, a column is not
    /// there, the target is missing in a row, or a column has more than 1000 different texts; the message says where.
    pub fn open(path: impl AsRef<Path>, options: &TableOptions) -> Result<Table> {
        let path = path.as_ref();
        let bytes = file::read_up_to(path, &mut file::open(path)?, MOST_BYTES + 1)?;
        if bytes.len() > MOST_BYTES {
            return Err(Error::at_file(path, "is larger than 1 GiB; cut it into smaller tables"));
        }
        let text = String::from_utf8(bytes).map_err(|cause| {
            let at = cause.utf8_error().valid_up_to();
            Error::at_file(path, format_args!("is not UTF-8 text: byte {at} is wrong; convert it"))
        })?;
        Table::parse(&path.display().to_string(), &text, options)
    }

    /// As [`Table::open`], from a text; `name` is for messages.
    ///
    /// # Errors
    /// As for [`Table::open`].
    pub fn parse(name: &str, text: &str, options: &TableOptions) -> Result<Table> {
        let failed = |reason: String| Error::new(format!("{name}: {reason}"));
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut lines = split_rows(text, separator(text)).map_err(failed)?;
        if lines.len() < 2 {
            return Err(failed("has no rows under a first line with the names of the columns".into()));
        }
        let header = lines.remove(0).1;
        for (at, column) in header.iter().enumerate() {
            if header[..at].contains(column) {
                return Err(failed(format!("two columns are called `{}`; rename one", shortened(column))));
            }
        }
        let place = |column: &str| {
            header.iter().position(|name| name == column).ok_or_else(|| {
                let names: Vec<String> = header.iter().take(20).map(|name| shortened(name)).collect();
                failed(format!("there is no column `{column}`, only {}", names.join(", ")))
            })
        };
        let target_place = options.target.as_deref().map_or(Ok(header.len() - 1), place)?;
        let ignored = options.ignore.iter().map(|name| place(name)).collect::<Result<BTreeSet<usize>>>()?;
        let places: Vec<usize> =
            (0..header.len()).filter(|at| *at != target_place && !ignored.contains(at)).collect();
        if places.is_empty() {
            return Err(failed("there is no column to predict from".into()));
        }
        for (line, row) in &lines {
            if row.len() != header.len() {
                let (values, columns) = (row.len(), header.len());
                return Err(failed(format!(
                    "line {line} has {values} values, the first line names {columns}"
                )));
            }
            if is_missing(&row[target_place]) {
                let target = &header[target_place];
                return Err(failed(format!(
                    "line {line} has no value of the target `{target}`; remove the line"
                )));
            }
        }
        let rows: Vec<Vec<String>> = lines.into_iter().map(|(_, row)| row).collect();
        let is_numeric = |at: usize| rows.iter().all(|row| parse_number(&row[at]).is_ok());
        let mut numeric: Vec<bool> = (0..header.len()).map(is_numeric).collect();
        numeric[target_place] &= !options.classes;
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
        Ok(Table {
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
        let input = Field::numbers(INPUT, DType::F32, &[width]).prepared(Preparation::Table { columns });
        let target = match &self.classes {
            Some(names) => Field::class(TARGET, names.iter().cloned()),
            None => {
                let (mean, std, _) = self.statistics(self.target_place, rows);
                // Beyond the range of f32 nothing is normalised, and the samples are refused.
                let normalization = Normalization::new(&[mean as f32], &[std as f32]);
                let preparation = normalization
                    .map_or(Preparation::None, |normalization| Preparation::Numbers { normalization });
                Field::numbers(TARGET, DType::F32, &[1]).prepared(preparation)
            }
        };
        Description::new(self.name.clone()).with(input).with(target)
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
        let mut inputs = Vec::new();
        for &row in rows {
            for (column, &at) in columns.iter().zip(&self.places) {
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
        Dataset::new(description.clone(), vec![inputs.into(), targets])
    }
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

/// A number; nothing where it is missing; an error where something else stands.
fn parse_number(text: &str) -> std::result::Result<Option<f64>, ()> {
    let text = text.trim();
    if is_missing(text) {
        return Ok(None);
    }
    text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Some).ok_or(())
}

fn is_missing(text: &str) -> bool {
    let text = text.trim();
    matches!(text, "" | "?")
        || ["na", "n/a", "nan", "null", "none"].iter().any(|name| text.eq_ignore_ascii_case(name))
}

/// At most the start of a text, for messages.
fn shortened(text: &str) -> String {
    if text.chars().count() <= 40 {
        text.into()
    } else {
        text.chars().take(37).chain("...".chars()).collect()
    }
}

/// What stands most often between the names of the first line.
pub(crate) fn separator(text: &str) -> char {
    let line = text.lines().next().unwrap_or_default();
    let count = |separator: &char| line.matches(*separator).count();
    [',', ';', '\t'].into_iter().rev().max_by_key(count).unwrap_or(',')
}

/// The values of all rows with the number of the line each begins in; empty lines are passed over (RFC 4180).
pub(crate) fn split_rows(
    text: &str,
    separator: char,
) -> std::result::Result<Vec<(usize, Vec<String>)>, String> {
    let (mut rows, mut row, mut value) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut first_line) = (1, 1);
    // Within quotes; and behind the last of them, where only a separator may follow.
    let (mut quoted, mut was_quoted) = (false, false);
    let mut characters = text.chars().peekable();
    let mut end_row =
        |row: &mut Vec<String>, value: &mut String, was_quoted: &mut bool, first_line: usize| {
            if !(row.is_empty() && value.is_empty() && !*was_quoted) {
                row.push(std::mem::take(value));
                rows.push((first_line, std::mem::take(row)));
            }
            *was_quoted = false;
        };
    while let Some(character) = characters.next() {
        line += usize::from(character == '\n');
        if quoted {
            match character {
                '"' if characters.peek() == Some(&'"') => value.extend(characters.next()),
                '"' => (quoted, was_quoted) = (false, true),
                other => value.push(other),
            }
        } else if character == '"' && value.trim().is_empty() && !was_quoted {
            value.clear();
            quoted = true;
        } else if character == separator {
            row.push(std::mem::take(&mut value));
            was_quoted = false;
        } else if character == '\n' {
            end_row(&mut row, &mut value, &mut was_quoted, first_line);
            first_line = line;
        } else if character != '\r' || characters.peek() != Some(&'\n') {
            value.push(character);
        }
    }
    if quoted {
        return Err(format!("the quotes that open in the row of line {first_line} are never closed"));
    }
    end_row(&mut row, &mut value, &mut was_quoted, first_line);
    Ok(rows)
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
        assert!(message(field.prepare_row(&[("sise", "1")])).contains("no column `sise`, only size, colour"));
        assert!(message(field.prepare_row(&[("size", "big")])).contains("column size holds numbers, `big`"));
        // What a model gives comes back as prices.
        let sample = read_one(&data, 3).unwrap();
        let mut target = sample.get(TARGET).unwrap().slice::<f32>().unwrap().to_vec();
        data.description().target().unwrap().restore(&mut target);
        assert!((target[0] - 40.0).abs() < 1e-4, "{target:?}");
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
