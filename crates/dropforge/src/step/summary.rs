//! Tables of layers.

use super::PREDICTION;
use super::build::Traced;
use crate::nn::StateKind;
use dropforge_ir::Shape;
use std::collections::HashMap;
use std::fmt;

/// One layer of a [`Summary`].
#[derive(Clone, Debug, PartialEq)]
pub struct SummaryRow {
    /// Dotted path.
    pub path: String,
    /// What it is, such as `conv(6, 5)`.
    pub layer: String,
    /// Shape of what it gives, the batch included.
    pub output: Shape,
    /// Number of elements of its own parameters.
    pub parameters: usize,
    /// Numbers of the rows that it reads, with no other row between; none if it reads the inputs alone.
    pub reads: Vec<usize>,
}

/// The layers of a network in the order in which values pass them.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// One row per layer.
    pub rows: Vec<SummaryRow>,
    /// Number of elements of all parameters.
    pub parameters: usize,
    /// Bytes of all parameters.
    pub bytes: usize,
    /// Shape of what the network predicts, the batch included; `None` if it predicts nothing.
    pub output: Option<Shape>,
}

impl Summary {
    pub(crate) fn new(traced: &Traced) -> Summary {
        let parameters = || traced.declared.iter().filter(|state| state.kind == StateKind::Parameter);
        let mut by_path: HashMap<&str, usize> = HashMap::new();
        for state in parameters() {
            let path = state.name.rsplit_once('.').map_or("", |(path, _)| path);
            *by_path.entry(path).or_default() += state.port.elements();
        }
        let own = |path: &str| by_path.get(path).copied().unwrap_or(0);
        let rows = traced
            .layers
            .iter()
            .map(|passed| SummaryRow {
                path: passed.path.clone(),
                layer: passed.layer.clone(),
                output: passed.output.clone(),
                parameters: own(&passed.path),
                reads: passed.reads.clone(),
            })
            .collect();
        let program = &traced.program;
        let prediction = program.outputs.iter().find(|output| output.name == PREDICTION);
        Summary {
            output: prediction.map(|output| program.ty(output.value).shape.clone()),
            rows,
            parameters: parameters().map(|state| state.port.elements()).sum(),
            bytes: parameters().map(|state| state.port.ty().bytes()).sum(),
        }
    }
}

/// A table with a line per layer and a last line of totals.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = vec![["layer", "kind", "output", "parameters"].map(String::from)];
        for row in &self.rows {
            lines.push([
                row.path.clone(),
                row.layer.clone(),
                row.output.to_string(),
                grouped(row.parameters),
            ]);
        }
        let mut widths = [0; 4];
        for line in &lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for [path, layer, output, parameters] in &lines {
            let [a, b, c, d] = widths;
            writeln!(f, "{path:<a$}  {layer:<b$}  {output:<c$}  {parameters:>d$}")?;
        }
        write!(f, "{} parameters, {} bytes", grouped(self.parameters), grouped(self.bytes))
    }
}

/// Digits in groups of three.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn digits_stand_in_groups_of_three() {
        assert_eq!(
            [0, 12, 999, 1000, 61706, 1234567].map(grouped),
            ["0", "12", "999", "1,000", "61,706", "1,234,567"]
        );
    }
}
