//! What metrics come to: named numbers in order.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How a number is to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// As it is.
    #[default]
    Number,
    /// A part of a whole, from 0 to 1, shown in percent.
    Share,
    /// One of many, such as a cell of a matrix: kept with the others, but not shown in a line.
    Detail,
}

/// Which of two numbers is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// The lower one, as of errors.
    Lower,
    /// The higher one, as of shares that are right.
    Higher,
}

/// One named number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[doc(alias = "Value")]
pub struct Figure {
    /// What it is called.
    pub name: String,
    /// The number; NaN where it is not defined, such as a mean of nothing.
    pub value: f64,
    /// How to read it.
    #[serde(default)]
    pub unit: Unit,
    /// Which of two such numbers is the better one, where its metric says so
    /// ([`Metric::better`](super::Metric::better)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub better: Option<Better>,
}

/// `accuracy 98.20 %` or `perplexity 4.1234`.
impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unit {
            Unit::Number | Unit::Detail => write!(f, "{} {:.4}", self.name, self.value),
            Unit::Share => write!(f, "{} {:.2} %", self.name, self.value * 100.0),
        }
    }
}

/// Named numbers in the order in which their metrics were chosen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
#[doc(alias = "Values")]
pub struct Figures(Vec<Figure>);

impl Figures {
    /// One number as it stands.
    pub fn of(value: Figure) -> Figures {
        Figures(vec![value])
    }

    /// One number.
    pub fn number(name: impl Into<String>, value: f64) -> Figures {
        Figures::of(Figure { name: name.into(), value, unit: Unit::Number, better: None })
    }

    /// One part of a whole, from 0 to 1.
    pub fn share(name: impl Into<String>, value: f64) -> Figures {
        Figures::of(Figure { name: name.into(), value, unit: Unit::Share, better: None })
    }

    /// One of many numbers, which are kept but not shown in a line.
    pub fn detail(name: impl Into<String>, value: f64) -> Figures {
        Figures::of(Figure { name: name.into(), value, unit: Unit::Detail, better: None })
    }

    /// Those that a line shows.
    pub fn shown(&self) -> impl Iterator<Item = &Figure> {
        self.0.iter().filter(|value| value.unit != Unit::Detail)
    }

    /// These numbers and then those.
    #[must_use]
    pub fn and(mut self, others: Figures) -> Figures {
        self.0.extend(others.0);
        self
    }

    /// The number of this name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.find(name).map(|value| value.value)
    }

    /// The number of this name, with what is known of it.
    pub fn find(&self, name: &str) -> Option<&Figure> {
        self.0.iter().find(|value| value.name == name)
    }

    /// The same numbers, those that a line shows with what their metric says of which is better.
    pub(crate) fn judged(mut self, better: Option<Better>) -> Figures {
        let shown = self.0.iter_mut().filter(|value| value.unit != Unit::Detail);
        shown.for_each(|value| value.better = value.better.or(better));
        self
    }

    /// All of them, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Figure> {
        self.0.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> IntoIterator for &'a Figures {
    type Item = &'a Figure;
    type IntoIter = std::slice::Iter<'a, Figure>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// `accuracy 98.20 %, f1 0.9711`
impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, value) in self.shown().enumerate() {
            write!(f, "{}{value}", if index > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_names_and_units() {
        let values = Figures::share("accuracy", 0.875)
            .and(Figures::detail("confusion_0_1", 3.0))
            .and(Figures::number("perplexity", 4.0));
        assert_eq!(values.get("confusion_0_1"), Some(3.0));
        assert_eq!(values.to_string(), "accuracy 87.50 %, perplexity 4.0000");
        assert_eq!((values.get("perplexity"), values.get("loss")), (Some(4.0), None));
    }
}
