//! Axes: what a number's place is, and which numbers are written.

/// An axis of a chart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Axis {
    pub(crate) label: String,
    pub(crate) log: bool,
    pub(crate) range: Option<(f64, f64)>,
    /// Whether only whole numbers are written.
    pub(crate) whole: bool,
}

/// An axis with its ends: what numbers are between them.
pub(crate) struct Scale {
    low: f64,
    high: f64,
    log: bool,
    whole: bool,
}

impl Axis {
    /// The scale for these numbers; what is no number, or has no place on a logarithmic axis, is passed over.
    pub(crate) fn scale(&self, numbers: impl Iterator<Item = f64>) -> Scale {
        let fits = |number: &f64| number.is_finite() && (!self.log || *number > 0.0);
        let ends = numbers.filter(fits).fold(None, |ends: Option<(f64, f64)>, number| {
            Some(ends.map_or((number, number), |(low, high)| (low.min(number), high.max(number))))
        });
        let chosen = self.range.filter(|(low, high)| fits(low) && fits(high));
        let (low, high) = chosen.or(ends).unwrap_or((if self.log { 1.0 } else { 0.0 }, 1.0));
        let (low, high) = match (low < high, self.log) {
            (true, _) => (low, high),
            (false, true) => (low / 2.0, low * 2.0),
            (false, false) => (low - 0.5 * low.abs().max(1.0), low + 0.5 * low.abs().max(1.0)),
        };
        Scale { low, high, log: self.log, whole: self.whole }
    }
}

impl Scale {
    /// The place of a number from 0 to 1 between the ends; `None` where it has none.
    pub fn place(&self, number: f64) -> Option<f64> {
        if !number.is_finite() || (self.log && number <= 0.0) {
            return None;
        }
        let of = |number: f64| if self.log { number.log10() } else { number };
        Some((of(number) - of(self.low)) / (of(self.high) - of(self.low)))
    }

    /// Round numbers between the ends, about so many.
    pub fn ticks(&self, about: usize) -> Vec<f64> {
        if self.log {
            let (low, high) = (self.low.log10().ceil() as i32, self.high.log10().floor() as i32);
            let step = ((high - low) / about.max(1) as i32 + 1).max(1);
            let decades: Vec<f64> =
                (low..=high).step_by(step as usize).map(|exponent| 10f64.powi(exponent)).collect();
            if decades.len() >= 2 {
                return decades;
            }
        }
        let rough = (self.high - self.low) / about.max(1) as f64;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
        let step = step.into_iter().find(|step| *step >= rough).unwrap_or(rough);
        let step = if self.whole { step.max(1.0) } else { step };
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step).floor() as i64;
        // As a quotient, so that 0.3 is not 0.30000000000000004.
        let tick =
            |index: i64| if step < 1.0 { index as f64 / (1.0 / step).round() } else { index as f64 * step };
        (first..=last).map(tick).filter(|tick| !self.log || *tick > 0.0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        let ticks = |numbers: &[f64], about| Axis::default().scale(numbers.iter().copied()).ticks(about);
        assert_eq!(ticks(&[0.0, 1.0], 5), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
        assert_eq!(ticks(&[-3.0, 12.0], 4), [0.0, 5.0, 10.0]);
        assert_eq!(ticks(&[0.013, 0.094], 5), [0.02, 0.04, 0.06, 0.08]);
        let whole = Axis { whole: true, ..Axis::default() };
        assert_eq!(whole.scale([1.0, 3.0].into_iter()).ticks(8), [1.0, 2.0, 3.0]);
        let log = Axis { log: true, ..Axis::default() };
        assert_eq!(log.scale([1e-4, 0.0, 20.0].into_iter()).ticks(6), [1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0]);
    }

    #[test]
    fn any_numbers_have_a_scale() {
        for numbers in [&[][..], &[f64::NAN], &[2.0], &[0.0, 0.0], &[f64::INFINITY, 1.0], &[-1e300, 1e300]] {
            let scale = Axis::default().scale(numbers.iter().copied());
            assert!(scale.ticks(5).len() < 20 && scale.place(f64::NAN).is_none());
        }
    }
}
