//! What metrics come to: named numbers in order.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::OnceLock;

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
pub struct Figures {
    all: Vec<Figure>,
    #[serde(skip)]
    by_name: ByName,
}

/// From so many on they are found by the order of their names, which is made when somebody asks first: a matrix of 200
/// classes has 40,000 cells, and tables look up each.
const MANY: usize = 32;

/// Where they stand, in the order of their names, and of the same name in the order in which they were given.
#[derive(Debug, Default)]
struct ByName(OnceLock<Vec<usize>>);

/// It follows from the figures, and a copy may be given more of them.
impl Clone for ByName {
    fn clone(&self) -> ByName {
        ByName::default()
    }
}

impl PartialEq for ByName {
    fn eq(&self, _: &ByName) -> bool {
        true
    }
}

impl Figures {
    /// One number as it stands.
    pub fn of(value: Figure) -> Figures {
        Figures { all: vec![value], by_name: ByName::default() }
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
        self.all.iter().filter(|value| value.unit != Unit::Detail)
    }

    /// These numbers and then those.
    #[must_use]
    pub fn and(mut self, others: Figures) -> Figures {
        self.all.extend(others.all);
        self.by_name = ByName::default();
        self
    }

    /// The number of this name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.find(name).map(|value| value.value)
    }

    /// The number of this name, with what is known of it.
    pub fn find(&self, name: &str) -> Option<&Figure> {
        if self.all.len() < MANY {
            return self.all.iter().find(|value| value.name == name);
        }
        let sorted = self.by_name.0.get_or_init(|| {
            let mut sorted: Vec<usize> = (0..self.all.len()).collect();
            sorted.sort_by(|&a, &b| self.all[a].name.cmp(&self.all[b].name));
            sorted
        });
        let first = sorted.partition_point(|&index| self.all[index].name.as_str() < name);
        sorted.get(first).map(|&index| &self.all[index]).filter(|value| value.name == name)
    }

    /// The same numbers, those that a line shows with what their metric says of which is better.
    pub(crate) fn judged(mut self, better: Option<Better>) -> Figures {
        let shown = self.all.iter_mut().filter(|value| value.unit != Unit::Detail);
        shown.for_each(|value| value.better = value.better.or(better));
        self
    }

    /// All of them, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Figure> {
        self.all.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

impl<'a> IntoIterator for &'a Figures {
    type Item = &'a Figure;
    type IntoIter = std::slice::Iter<'a, Figure>;

    fn into_iter(self) -> Self::IntoIter {
        self.all.iter()
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

    /// Each of 160,000 is found at once: one after another takes 13 thousand million comparisons.
    #[test]
    fn many_are_found_by_name() {
        let name = |index: usize| format!("confusion_{}_{}", index / 400, index % 400);
        let all = (0..160_000).map(|index| Figures::detail(name(index), index as f64));
        let all =
            all.fold(Figures::share("accuracy", 0.5), Figures::and).and(Figures::number("accuracy", 1.0));
        let started = std::time::Instant::now();
        assert!((0..160_000).all(|index| all.get(&name(index)) == Some(index as f64)));
        // Of the same name the first, whatever has been looked up before.
        assert_eq!((all.get("accuracy"), all.get("confusion_400_0"), all.get("z")), (Some(0.5), None, None));
        let more = all.clone().and(Figures::number("z", 2.0));
        assert_eq!((more.get("z"), more == all, all.clone() == all), (Some(2.0), false, true));
        assert!(started.elapsed().as_secs() < 10);
    }
}
