//! The lines of a table: a first one with the names of the columns, and rows of values that commas, semicolons or tabs
//! separate (RFC 4180).

use std::collections::HashMap;

use crate::column::{Kind, is_written_otherwise, shortened};

/// The lines of a table, before anything is known of its columns. All rows are as wide as the first line.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    header: Vec<String>,
    /// Number of each column by its name.
    places: HashMap<String, usize>,
    /// All values one after another, without their quotes.
    text: String,
    /// Where each value ends in the text, row by row.
    ends: Vec<u32>,
    /// The line in which each row begins; empty where the table is no text, so that rows are counted.
    lines: Vec<u32>,
    is_text: bool,
    count: usize,
}

impl Lines {
    /// Empty lines are passed over; values that are one of `missing` become empty.
    pub fn parse(text: &str, missing: &[String]) -> Result<Lines, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if u32::try_from(text.len()).is_err() {
            return Err("is larger than 4 GiB; cut it into smaller tables".into());
        }
        let missing: Vec<&str> = missing.iter().map(|value| value.trim()).collect();
        let mut lines = Lines::empty(true);
        each_row(text, separator(text), |line, row| match lines.header.is_empty() {
            true => lines.name_columns(row.values()),
            false => lines.push(line, row, &missing),
        })?;
        match (lines.header.is_empty(), lines.count) {
            (true, _) => Err("is empty: it has no first line with the names of the columns".into()),
            (_, 0) => Err("has no rows under a first line with the names of the columns".into()),
            _ => Ok(lines),
        }
    }

    fn empty(is_text: bool) -> Lines {
        Lines {
            header: Vec::new(),
            places: HashMap::new(),
            text: String::new(),
            ends: Vec::new(),
            lines: Vec::new(),
            is_text,
            count: 0,
        }
    }

    /// A table of columns of these names that is no text, without rows yet.
    #[cfg(feature = "parquet")]
    pub fn of_rows<'a>(names: impl Iterator<Item = &'a str>) -> Result<Lines, String> {
        let mut lines = Lines::empty(false);
        lines.name_columns(names)?;
        Ok(lines)
    }

    /// What each value takes beside its text.
    #[cfg(feature = "parquet")]
    pub const BYTES_OF_VALUE: usize = size_of::<u32>();

    /// What all values take.
    #[cfg(feature = "parquet")]
    pub fn bytes(&self) -> usize {
        self.text.len() + self.ends.len() * Lines::BYTES_OF_VALUE
    }

    /// Adds a row; values that are one of `missing` become empty.
    #[cfg(feature = "parquet")]
    pub fn push_row<'a>(
        &mut self,
        values: impl Iterator<Item = &'a str>,
        missing: &[&str],
    ) -> Result<(), String> {
        self.add(values, missing);
        if u32::try_from(self.text.len()).is_err() {
            return Err("is larger than 4 GiB; cut it into smaller tables".into());
        }
        Ok(())
    }

    fn name_columns<'a>(&mut self, names: impl Iterator<Item = &'a str>) -> Result<(), String> {
        for (at, column) in names.map(str::trim).enumerate() {
            if self.places.insert(column.into(), at).is_some() {
                return Err(format!("two columns are called `{}`; rename one", shortened(column)));
            }
            self.header.push(column.into());
        }
        Ok(())
    }

    fn push(&mut self, line: usize, row: &Row, missing: &[&str]) -> Result<(), String> {
        let (values, columns) = (row.ends.len(), self.header.len());
        if values != columns {
            let which = match self.header.get(values) {
                Some(column) => format!("`{}` has none", shortened(column)),
                None => {
                    let more = row.values().nth(columns).unwrap_or_default();
                    format!("`{}` is one too many", shortened(more.trim()))
                }
            };
            return Err(format!("line {line} has {values} values, the first line names {columns}: {which}"));
        }
        self.add(row.values(), missing);
        self.lines.push(line as u32);
        Ok(())
    }

    fn add<'a>(&mut self, values: impl Iterator<Item = &'a str>, missing: &[&str]) {
        for value in values {
            if !missing.contains(&value.trim()) {
                self.text.push_str(value);
            }
            // Not larger than what is read.
            self.ends.push(self.text.len() as u32);
        }
        self.count += 1;
    }

    /// Names of the columns.
    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// How many rows there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The line in which a row begins, from 1 on; the number of the row where there are no lines.
    pub fn line(&self, row: usize) -> usize {
        self.lines.get(row).map_or(row + 1, |&line| line as usize)
    }

    /// The line in which a row begins, or the row, for a message.
    pub fn named(&self, row: usize) -> String {
        format!("{} {}", if self.is_text { "line" } else { "row" }, self.line(row))
    }

    /// What stands in a row and a column, without spaces around it.
    pub fn value(&self, row: usize, column: usize) -> &str {
        let at = row * self.header.len() + column;
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        self.text[start as usize..self.ends[at] as usize].trim()
    }

    /// All values of a column.
    pub fn column(&self, column: usize) -> impl Iterator<Item = &str> {
        (0..self.count()).map(move |row| self.value(row, column))
    }

    /// The position of a column.
    pub fn place(&self, column: &str) -> Result<usize, String> {
        self.places.get(column.trim()).copied().ok_or_else(|| {
            let names: Vec<String> = self.header.iter().take(20).map(|name| shortened(name)).collect();
            format!("there is no column `{}`, only {}", shortened(column), names.join(", "))
        })
    }

    /// What a column is taken as. Where it is plainly one of numbers and some value is none, the error ends in what
    /// `advice` says to the name of the column and that value.
    pub fn kind(&self, at: usize, advice: impl Fn(&str, &str) -> String) -> Result<Kind, String> {
        Kind::of(self.column(at)).map_err(|row| {
            let (line, value, column) = (self.named(row), self.value(row, at), &self.header[at]);
            let what = match is_written_otherwise(value) {
                true => "write it with digits and a point alone, such as 1234.5",
                false => "mend it",
            };
            let value = shortened(value);
            let advice = advice(column, &value);
            format!("{line}: column `{column}` holds numbers, but for `{value}`; {what}, {advice}")
        })
    }
}

/// What stands most often between the names of the first line.
fn separator(text: &str) -> u8 {
    let line = text.lines().next().unwrap_or_default();
    let count = |separator: &u8| line.bytes().filter(|byte| byte == separator).count();
    [b',', b';', b'\t'].into_iter().rev().max_by_key(count).unwrap_or(b',')
}

/// One row while it is read.
#[derive(Default)]
struct Row {
    text: String,
    /// Where each whole value ends.
    ends: Vec<usize>,
}

impl Row {
    fn values(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts.zip(&self.ends).map(|(&start, &end)| &self.text[start..end])
    }

    /// Where the value begins that is not whole yet.
    fn start(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    fn end_value(&mut self) {
        self.ends.push(self.text.len());
    }
}

/// Gives each row that is not empty, with the number of the line that it begins in.
fn each_row(
    text: &str,
    separator: u8,
    mut each: impl FnMut(usize, &Row) -> Result<(), String>,
) -> Result<(), String> {
    let bytes = text.as_bytes();
    let run = |at: usize, is_end: &dyn Fn(u8) -> bool| {
        bytes[at..].iter().position(|&byte| is_end(byte)).map_or(bytes.len(), |length| at + length)
    };
    let is_special = |byte: u8| byte == separator || matches!(byte, b'\n' | b'\r' | b'"');
    let mut row = Row::default();
    let (mut at, mut line, mut first_line) = (0, 1, 1);
    // Behind quotes only a separator may follow.
    let mut was_quoted = false;
    loop {
        let end = run(at, &is_special);
        row.text.push_str(&text[at..end]);
        at = end + 1;
        match bytes.get(end) {
            None | Some(b'\n') => {
                let is_empty = row.text.is_empty() && row.ends.is_empty() && !was_quoted;
                if !is_empty {
                    row.end_value();
                    each(first_line, &row)?;
                }
                if end == bytes.len() {
                    return Ok(());
                }
                row.text.clear();
                row.ends.clear();
                was_quoted = false;
                line += 1;
                first_line = line;
            }
            Some(&byte) if byte == separator => {
                row.end_value();
                was_quoted = false;
            }
            Some(b'"') if !was_quoted && row.text[row.start()..].trim().is_empty() => {
                row.text.truncate(row.start());
                loop {
                    let end = run(at, &|byte| byte == b'"');
                    if end == bytes.len() {
                        return Err(format!(
                            "the quotes that open in the row of line {first_line} are never closed"
                        ));
                    }
                    row.text.push_str(&text[at..end]);
                    line += bytes[at..end].iter().filter(|&&byte| byte == b'\n').count();
                    at = end + 1;
                    if bytes.get(at) != Some(&b'"') {
                        break;
                    }
                    row.text.push('"');
                    at += 1;
                }
                was_quoted = true;
            }
            Some(b'\r') if bytes.get(at) == Some(&b'\n') => {}
            Some(&other) => row.text.push(char::from(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<(usize, Vec<String>)> {
        let lines = Lines::parse(text, &[]).unwrap();
        let row = |row| (0..lines.header().len()).map(|at| lines.value(row, at).to_string()).collect();
        (0..lines.count()).map(|number| (lines.line(number), row(number))).collect()
    }

    #[test]
    fn values_and_the_lines_they_stand_in() {
        let text = "\u{feff}a , b\r\n\r\n \"x\"\"\ny\" z,\"\"\nü,\"1,\"\n,";
        let strings = |values: [&str; 2]| values.map(String::from).to_vec();
        let expected = [(3, strings(["x\"\ny z", ""])), (5, strings(["ü", "1,"])), (6, strings(["", ""]))];
        assert_eq!(rows(text), expected);
        assert_eq!(rows("a\tb;c\td\n1\t2;\t\"3\r\"\r"), [(2, vec!["1".into(), "2;".into(), "3".into()])]);
        let lines = Lines::parse("a,b\n none ,x\n", &["none".into(), "y ".into()]).unwrap();
        assert_eq!((lines.value(0, 0), lines.value(0, 1), lines.place(" b")), ("", "x", Ok(1)));
    }

    #[test]
    fn what_is_wrong_is_named_by_line_and_column() {
        let refused = |text: &str| Lines::parse(text, &[]).unwrap_err();
        assert!(refused("").starts_with("is empty"));
        assert!(refused("\n\na,b\n").starts_with("has no rows"));
        assert!(
            refused("a,b\n1,2\n\n1\n").contains("line 4 has 1 values, the first line names 2: `b` has none")
        );
        assert!(
            refused("a,b\n1,2,3\n")
                .contains("line 2 has 3 values, the first line names 2: `3` is one too many")
        );
        assert!(refused("a,b, a\n1,2,3\n").contains("two columns are called `a`"));
        assert!(refused("a\n\n\"1\n").contains("quotes that open in the row of line 3"));
    }

    #[test]
    fn time_grows_with_the_number_of_columns() {
        // With a look at all other names for each it would take minutes.
        let names: Vec<String> = (0..200_000).map(|i| format!("a long name of a column {i}")).collect();
        let lines = Lines::parse(&format!("{}\n{}\n", names.join(","), names.join(",")), &[]).unwrap();
        assert!(names.iter().enumerate().all(|(at, name)| lines.place(name) == Ok(at)));
    }
}
