//! Columns of a table: what their values are taken as, and the numbers that they become.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use crate::{Error, Result};

/// One column of a table as numbers, as found from the rows trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind", deny_unknown_fields)]
pub enum Column {
    /// One number, standardised: `(x − mean) / std`. A missing one is the mean; where some were missing in training, a
    /// second number is 1 for those and else 0.
    Number {
        /// The name in the first line.
        #[serde(deserialize_with = "trimmed")]
        name: String,
        /// Mean of what was not missing.
        mean: f64,
        /// Deviation of what was not missing; 1 where all were the same.
        std: f64,
        /// Whether some were missing.
        missing: bool,
    },
    /// One number for each text: 1 for that which stands there, else 0. All are 0 where it is missing or was not there
    /// in training.
    Category {
        /// The name in the first line.
        #[serde(deserialize_with = "trimmed")]
        name: String,
        /// The texts, sorted.
        texts: Vec<String>,
    },
}

/// Runs of earlier versions have names with the spaces that stood around them in the file.
fn trimmed<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<String, D::Error> {
    String::deserialize(from).map(|name| name.trim().to_string())
}

/// As [`trimmed`], of a name that may be missing.
pub(crate) fn trimmed_if_any<'de, D: Deserializer<'de>>(
    from: D,
) -> std::result::Result<Option<String>, D::Error> {
    let name = Option::<String>::deserialize(from)?;
    Ok(name.map(|name| name.trim().to_string()))
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

    /// Whether a value is one that was not there in training, so that it counts as missing: a text of a column of
    /// categories.
    pub fn is_unknown(&self, value: &str) -> bool {
        match self {
            Column::Number { .. } => false,
            Column::Category { texts, .. } => {
                !is_missing(value) && texts.binary_search_by(|text| text.as_str().cmp(value.trim())).is_err()
            }
        }
    }

    /// Appends the numbers of a value.
    pub(crate) fn write(&self, value: &str, out: &mut Vec<f32>) -> Result<()> {
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

/// What stands in a column of categories and was not there in training. [`Display`](fmt::Display) gives one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownCategories {
    /// The name of the column.
    pub column: String,
    /// How many values are unknown.
    pub count: usize,
    /// The first of them.
    pub first: String,
    /// The line of the file in which that stands, if it was read as a whole.
    pub line: Option<usize>,
}

impl fmt::Display for UnknownCategories {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UnknownCategories { column, count, first, line } = self;
        let (values, count_as) = if *count == 1 { ("value", "it counts") } else { ("values", "they count") };
        write!(f, "column `{}`: {count} {values} that the model was not trained on", shortened(column))?;
        write!(f, "{} `{}`", if *count == 1 { "," } else { ", the first" }, shortened(first))?;
        line.map_or(Ok(()), |line| write!(f, " in line {line}"))?;
        write!(f, "; {count_as} as missing")
    }
}

impl UnknownCategories {
    /// Counts a value of a column, if it is unknown; `noted` is where those of this column are counted.
    pub(crate) fn note(
        all: &mut Vec<UnknownCategories>,
        noted: &mut Option<usize>,
        column: &Column,
        value: &str,
        line: usize,
    ) {
        if !column.is_unknown(value) {
            return;
        }
        match noted.and_then(|at| all.get_mut(at)) {
            Some(known) => known.count += 1,
            None => {
                *noted = Some(all.len());
                let (column, first) = (column.name().into(), value.trim().into());
                all.push(UnknownCategories { column, count: 1, first, line: Some(line) });
            }
        }
    }
}

/// What the values of a column are taken as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Numbers,
    Texts,
}

/// The part of the values that may be no numbers in a column that is plainly one of numbers.
const MOST_ODD: f64 = 0.1;
/// Different numbers above which a column is hardly one of categories.
const FEW_NUMBERS: usize = 20;

impl Kind {
    /// What a column is, by its values; those that are missing say nothing.
    ///
    /// # Errors
    /// Most are numbers and some are not, and nothing speaks for categories that happen to be called by numbers: few
    /// different numbers, beside texts that come again and again. Gives the position of the first that is none.
    pub fn of<'a>(values: impl Iterator<Item = &'a str>) -> std::result::Result<Kind, usize> {
        let (mut known, mut numbers) = (0usize, BTreeSet::new());
        let mut odd: BTreeMap<&str, usize> = BTreeMap::new();
        let (mut numeric, mut first) = (0usize, None);
        for (at, value) in values.map(str::trim).enumerate() {
            if is_missing(value) {
                continue;
            }
            known += 1;
            let is_number = parse_number(value).is_ok();
            if !is_number {
                first.get_or_insert(at);
                *odd.entry(value).or_default() += 1;
            }
            if is_number || is_written_otherwise(value) {
                numeric += 1;
                if numbers.len() <= FEW_NUMBERS {
                    numbers.insert(value);
                }
            }
        }
        let Some(first) = first else { return Ok(Kind::Numbers) };
        let rare = odd.values().sum::<usize>() as f64 <= MOST_ODD * known as f64;
        let once = odd.values().all(|&count| count == 1);
        let many = numbers.len() > FEW_NUMBERS;
        match 2 * numeric > known && (rare || once || many) {
            true => Err(first),
            false => Ok(Kind::Texts),
        }
    }
}

/// Whether this is a number as people write it, which programs do not read: 12,5 or 1 234 or $5 or 20 %.
pub(crate) fn is_written_otherwise(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let others = text.chars().filter(|c| !c.is_ascii_digit());
    digits > 0
        && text.chars().filter(|c| matches!(c, '+' | '-')).count() <= 1
        && others.into_iter().all(|c| {
            matches!(c, ',' | '.' | '+' | '-' | '%' | '_' | '\'') || c.is_whitespace() || is_currency(c)
        })
}

fn is_currency(c: char) -> bool {
    matches!(c, '$' | '¢' | '£' | '¥' | '\u{20a0}'..='\u{20cf}')
}

/// A number; nothing where it is missing; an error where something else stands.
pub(crate) fn parse_number(text: &str) -> std::result::Result<Option<f64>, ()> {
    let text = text.trim();
    if is_missing(text) {
        return Ok(None);
    }
    text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Some).ok_or(())
}

/// Whether nothing is known where this stands: nothing at all, `NA`, `N/A`, `NaN`, `null`, `none` in any case, `?` or
/// `-`.
pub(crate) fn is_missing(text: &str) -> bool {
    let text = text.trim();
    matches!(text, "" | "?" | "-")
        || ["na", "n/a", "nan", "null", "none"].iter().any(|name| text.eq_ignore_ascii_case(name))
}

/// At most the start of a text, for messages.
pub(crate) fn shortened(text: &str) -> String {
    if text.chars().count() <= 40 {
        text.into()
    } else {
        text.chars().take(37).chain("...".chars()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_columns_are() {
        let kind = |values: &[&str]| Kind::of(values.iter().copied());
        assert_eq!(kind(&["1", " 2.5 ", "-3e4", "", "n/a", "NaN", "-"]), Ok(Kind::Numbers));
        assert_eq!(kind(&["red", "2", "blue"]), Ok(Kind::Texts));
        // Names of which some are numbers: few, and the others come again.
        assert_eq!(kind(&["2", "4", "more", "2", "4", "more", "4"]), Ok(Kind::Texts));
        // One that is none, among few and among many.
        assert_eq!(kind(&["1", "2", "n.a.", "4"]), Err(2));
        assert_eq!(kind(&["1", "inf", "2", "3"]), Err(1));
        let mut many: Vec<String> = (0..100).map(|i| i.to_string()).collect();
        (10..40).for_each(|i| many[i] = "unknown".into());
        assert_eq!(Kind::of(many.iter().map(String::as_str)), Err(10));
        // None are numbers as programs write them.
        let decimal: Vec<String> = (0..30).map(|i| format!("{i},5")).collect();
        assert_eq!(Kind::of(decimal.iter().map(String::as_str)), Err(0));
        for (text, expected) in
            [("1 234,5", true), ("€ 12", true), ("20 %", true), ("12a", false), ("2024-01-02", false)]
        {
            assert_eq!(is_written_otherwise(text), expected, "{text}");
        }
    }
}
