//! The numbers that a setting may have.

use std::fmt;
use std::ops::{Range as HalfOpen, RangeFrom, RangeFull, RangeInclusive};

/// An interval of numbers. All numbers in it are finite; NaN is in none.
///
/// ```
/// use dropforge::settings::Range;
///
/// assert!(Range::from(0.0..1.0).contains(0.0) && !Range::from(0.0..1.0).contains(1.0));
/// assert_eq!(Range::above(0.0).to_string(), "above 0");
/// assert_eq!(Range::from(1..).to_string(), "1 or more");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    low: Option<f64>,
    high: Option<f64>,
    low_is_in: bool,
    high_is_in: bool,
}

impl Range {
    /// Every number that is finite.
    pub const ANY: Range = Range { low: None, high: None, low_is_in: true, high_is_in: true };

    /// The numbers greater than this.
    pub const fn above(low: f64) -> Range {
        Range { low: Some(low), low_is_in: false, ..Range::ANY }
    }

    /// The numbers greater than the first, up to the second, which is among them.
    pub const fn above_to(low: f64, high: f64) -> Range {
        Range { low: Some(low), high: Some(high), low_is_in: false, high_is_in: true }
    }

    /// Whether a number is among them.
    pub fn contains(&self, number: f64) -> bool {
        let above = |low: f64| number > low || self.low_is_in && number == low;
        let below = |high: f64| number < high || self.high_is_in && number == high;
        number.is_finite() && self.low.is_none_or(above) && self.high.is_none_or(below)
    }

    /// Whether it leaves nothing out.
    pub fn is_any(&self) -> bool {
        self.low.is_none() && self.high.is_none()
    }
}

impl From<RangeFull> for Range {
    fn from(_: RangeFull) -> Range {
        Range::ANY
    }
}

macro_rules! ranges {
    ($($number:ty),*) => {$(
        impl From<RangeFrom<$number>> for Range {
            fn from(range: RangeFrom<$number>) -> Range {
                Range { low: Some(range.start as f64), ..Range::ANY }
            }
        }

        impl From<RangeInclusive<$number>> for Range {
            fn from(range: RangeInclusive<$number>) -> Range {
                Range { low: Some(*range.start() as f64), high: Some(*range.end() as f64), ..Range::ANY }
            }
        }

        impl From<HalfOpen<$number>> for Range {
            fn from(range: HalfOpen<$number>) -> Range {
                let (low, high) = (Some(range.start as f64), Some(range.end as f64));
                Range { low, high, low_is_in: true, high_is_in: false }
            }
        }
    )*};
}
ranges!(f64, i32);

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.low, self.high) {
            (None, None) => f.write_str("any number"),
            (Some(low), None) if self.low_is_in => write!(f, "{low} or more"),
            (Some(low), None) => write!(f, "above {low}"),
            (None, Some(high)) if self.high_is_in => write!(f, "{high} or less"),
            (None, Some(high)) => write!(f, "below {high}"),
            (Some(low), Some(high)) => {
                let from = if self.low_is_in { "from" } else { "above" };
                let to = if self.high_is_in { "to" } else { "up to, without," };
                write!(f, "{from} {low} {to} {high}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_in_or_out() {
        let unit = Range::from(0.0..=1.0);
        assert!(unit.contains(0.0) && unit.contains(1.0) && !unit.contains(1.000_001));
        assert!(!Range::above(0.0).contains(0.0) && Range::above(0.0).contains(f64::MIN_POSITIVE));
        assert!(!Range::above_to(0.0, 1.0).contains(0.0) && Range::above_to(0.0, 1.0).contains(1.0));
        for range in [unit, Range::ANY, Range::above(0.0), Range::from(..)] {
            assert!(!range.contains(f64::NAN) && !range.contains(f64::INFINITY), "{range}");
        }
    }

    #[test]
    fn said_in_words() {
        let said = [
            Range::ANY.to_string(),
            Range::from(0.0..).to_string(),
            Range::from(0.0..=1.0).to_string(),
            Range::from(0.0..1.0).to_string(),
            Range::above_to(0.0, 1.0).to_string(),
        ];
        let expected = ["any number", "0 or more", "from 0 to 1", "from 0 up to, without, 1", "above 0 to 1"];
        assert_eq!(said, expected);
    }
}
