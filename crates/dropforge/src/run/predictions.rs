//! Predictions as a table: CSV or JSON lines, a row for each sample with the probabilities of all classes.

use crate::{Error, Result};
use serde_json::{Map, Value, json};
use std::io::Write;

/// How a table of predictions is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableFormat {
    /// Comma-separated, with a line of names: `sample,class,probability` and a column for each class; `sample,y0,y1…`
    /// where there are no classes, or `sample` and the name of the [target](PredictionTable::target). Quotes as in RFC
    /// 4180.
    Csv,
    /// A JSON object per line, with the keys `sample`, `class`, `probability` and `probabilities`; `sample` and
    /// `values` where there are no classes.
    JsonLines,
}

/// Writes predictions row by row.
///
/// ```
/// use dropforge::run::{PredictionTable, TableFormat};
///
/// let mut out = Vec::new();
/// let classes = ["cat".to_string(), "dog, wet".to_string()];
/// let mut table = PredictionTable::new(&mut out, TableFormat::Csv, &classes);
/// table.row("a.png", &[0.25, 0.75])?;
/// assert_eq!(out, b"sample,class,probability,cat,\"dog, wet\"\na.png,\"dog, wet\",0.75,0.25,0.75\n");
/// # Ok::<(), dropforge::Error>(())
/// ```
pub struct PredictionTable<'a> {
    out: &'a mut dyn Write,
    format: TableFormat,
    classes: &'a [String],
    target: Option<&'a str>,
    begun: bool,
}

impl<'a> PredictionTable<'a> {
    /// A table of predictions of these classes, in the order of the probabilities; without classes one of values.
    pub fn new(out: &'a mut dyn Write, format: TableFormat, classes: &'a [String]) -> PredictionTable<'a> {
        PredictionTable { out, format, classes, target: None, begun: false }
    }

    /// What the number that is predicted is called, where there are no classes and one number for each sample: the head
    /// of its column, and in JSON lines its key beside `values`.
    #[must_use]
    pub fn target(mut self, name: Option<&'a str>) -> PredictionTable<'a> {
        self.target = name;
        self
    }

    /// Writes a sample by its name, with its probabilities or values.
    ///
    /// # Errors
    /// It cannot be written, or there are not as many probabilities as classes.
    pub fn row(&mut self, sample: &str, numbers: &[f32]) -> Result<()> {
        if !self.classes.is_empty() && self.classes.len() != numbers.len() {
            return Err(Error::data(format!(
                "{sample}: {} probabilities for {} classes",
                numbers.len(),
                self.classes.len()
            )));
        }
        let best = self.classes.iter().zip(numbers).max_by(|a, b| a.1.total_cmp(b.1));
        let line = match self.format {
            TableFormat::JsonLines => self.json(sample, numbers, best).to_string(),
            TableFormat::Csv => {
                if !self.begun {
                    let head = self.head(numbers.len());
                    self.line(&head)?;
                }
                let mut cells = vec![cell(sample)];
                if let Some((class, probability)) = best {
                    cells.extend([cell(class), probability.to_string()]);
                }
                cells.extend(numbers.iter().map(f32::to_string));
                cells.join(",")
            }
        };
        self.begun = true;
        self.line(&line)
    }

    fn head(&self, numbers: usize) -> String {
        let mut cells = vec!["sample".to_string()];
        if let (true, Some(target)) = (self.classes.is_empty() && numbers == 1, self.target) {
            cells.push(cell(target));
        } else if self.classes.is_empty() {
            cells.extend((0..numbers).map(|number| format!("y{number}")));
        } else {
            cells.extend(["class".to_string(), "probability".to_string()]);
            cells.extend(self.classes.iter().map(|class| cell(class)));
        }
        cells.join(",")
    }

    fn json(&self, sample: &str, numbers: &[f32], best: Option<(&String, &f32)>) -> Value {
        let Some((class, probability)) = best else {
            let mut row = json!({ "sample": sample, "values": numbers });
            if let (Some(target), [number]) = (self.target.filter(|name| row.get(*name).is_none()), numbers) {
                row[target] = json!(number);
            }
            return row;
        };
        let all: Map<String, Value> =
            self.classes.iter().zip(numbers).map(|(class, p)| (class.clone(), json!(p))).collect();
        json!({ "sample": sample, "class": class, "probability": probability, "probabilities": all })
    }

    fn line(&mut self, text: &str) -> Result<()> {
        writeln!(self.out, "{text}").map_err(|error| Error::io("cannot write the predictions", error))
    }
}

/// A text as a cell: in quotes where it holds what separates.
fn cell(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows() {
        let classes = ["a".to_string(), "b".to_string()];
        let write = |format, classes: &[String], numbers: &[f32]| {
            let mut out = Vec::new();
            let mut table = PredictionTable::new(&mut out, format, classes);
            let result = table.row("say \"hi\"", numbers).and_then(|()| table.row("2", numbers));
            result.map(|()| String::from_utf8(out).unwrap())
        };
        let text = write(TableFormat::JsonLines, &classes, &[0.5, 0.25]).unwrap();
        assert_eq!(text.lines().count(), 2);
        let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!((&first["sample"], &first["class"]), (&json!("say \"hi\""), &json!("a")));
        assert_eq!(first["probabilities"]["b"], json!(0.25));
        let text = write(TableFormat::Csv, &[], &[0.5, -2.0]).unwrap();
        assert_eq!(text, "sample,y0,y1\n\"say \"\"hi\"\"\",0.5,-2\n2,0.5,-2\n");
        assert!(write(TableFormat::Csv, &classes, &[0.5]).is_err());
        let named = |format| {
            let mut out = Vec::new();
            let mut table = PredictionTable::new(&mut out, format, &[]).target(Some("price, net"));
            table.row("0", &[0.5]).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(named(TableFormat::Csv), "sample,\"price, net\"\n0,0.5\n");
        assert_eq!(named(TableFormat::JsonLines), "{\"price, net\":0.5,\"sample\":\"0\",\"values\":[0.5]}\n");
    }
}
