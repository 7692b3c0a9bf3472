//! Matrices of counts, such as who was taken for whom.

use crate::chart::open;
use crate::style::STYLE;
use crate::text::{at, cut, escape, number};
use std::fmt::Write as _;

/// More rows than this have no numbers in their cells and no names beside them.
const MOST_WRITTEN: usize = 24;

/// A square of counts, each cell as dark as its share of its row.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    title: String,
    names: Vec<String>,
    counts: Vec<f64>,
    rows: String,
    columns: String,
}

impl Matrix {
    /// Counts row by row, as many as the square of the names; what is missing counts 0.
    pub fn new(title: &str, names: &[String], counts: &[f64]) -> Matrix {
        let mut counts = counts.to_vec();
        counts.resize(names.len() * names.len(), 0.0);
        Matrix {
            title: title.into(),
            names: names.to_vec(),
            counts,
            rows: String::new(),
            columns: String::new(),
        }
    }

    /// What rows and columns stand for.
    #[must_use]
    pub fn axes(mut self, rows: &str, columns: &str) -> Matrix {
        (self.rows, self.columns) = (rows.into(), columns.into());
        self
    }

    /// The matrix as a file of its own.
    pub fn svg(&self) -> String {
        self.draw(STYLE)
    }

    /// The matrix as a part of a page whose rules include [`STYLE`].
    pub fn inline(&self) -> String {
        self.draw("")
    }

    fn draw(&self, style: &str) -> String {
        let size = self.names.len();
        let written = size <= MOST_WRITTEN;
        let cell = (460.0 / size.max(1) as f64).min(56.0);
        let longest = self.names.iter().map(|name| name.chars().count().min(14)).max().unwrap_or(0);
        let left = if written { 40.0 + 7.0 * longest as f64 } else { 40.0 };
        let (top, side) = (36.0, cell * size as f64);
        let below = if written { 30.0 + 5.0 * longest as f64 } else { 30.0 };
        let mut out = open((left + side + 16.0).max(320.0), top + side + below + 12.0, &self.title, style);
        for (row, counts) in self.counts.chunks(size.max(1)).enumerate() {
            let all: f64 = counts.iter().sum();
            let y = top + cell * row as f64;
            for (column, &count) in counts.iter().enumerate() {
                let share = if all > 0.0 { count / all } else { 0.0 };
                let x = left + cell * column as f64;
                let (truth, said) = (escape(&self.names[row]), escape(&self.names[column]));
                let _ = writeln!(
                    out,
                    "<rect class=\"cell\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{2}\" fill-opacity=\"{}\">\
                     <title>{truth} → {said}: {}</title></rect>",
                    at(x),
                    at(y),
                    at(cell - 1.0),
                    shade(share),
                    number(count)
                );
                if written && count > 0.0 {
                    let class = if share > 0.55 { "over" } else { "in" };
                    let _ = writeln!(
                        out,
                        "<text class=\"{class}\" x=\"{}\" y=\"{}\" text-anchor=\"middle\" font-size=\"{}\">{}</text>",
                        at(x + cell / 2.0),
                        at(y + cell / 2.0 + 4.0),
                        at((cell / 3.2).clamp(6.0, 13.0)),
                        number(count)
                    );
                }
            }
        }
        if written {
            self.names_beside(left, top, cell, &mut out);
        }
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\
             <text transform=\"translate(14 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            at(left + side / 2.0),
            at(top + side + below + 4.0),
            escape(&self.columns),
            at(top + side / 2.0),
            escape(&self.rows)
        );
        out + "</svg>\n"
    }

    fn names_beside(&self, left: f64, top: f64, cell: f64, out: &mut String) {
        let bottom = top + cell * self.names.len() as f64;
        for (index, name) in self.names.iter().enumerate() {
            let name = escape(&cut(name, 14));
            let middle = cell * (index as f64 + 0.5);
            let _ = writeln!(
                out,
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text>\
                 <text transform=\"translate({} {}) rotate(-45)\" text-anchor=\"end\">{name}</text>",
                at(left - 6.0),
                at(top + middle + 4.0),
                at(left + middle + 4.0),
                at(bottom + 14.0)
            );
        }
    }
}

/// How opaque a cell is: what is not 0 is seen.
fn shade(share: f64) -> String {
    let opacity = if share > 0.0 { 0.1 + 0.9 * share } else { 0.03 };
    format!("{opacity:.2}")
}
