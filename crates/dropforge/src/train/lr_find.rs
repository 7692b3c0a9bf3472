//! Which learning rate to try first.

use super::source::IntoSource;
use super::trainer::Trainer;
use crate::{Error, ErrorKind, Result};

/// The loss over learning rates that rise from step to step; made by [`Trainer::find_rate`].
#[derive(Clone, Debug, PartialEq)]
pub struct RateSweep {
    /// Rates with the loss before the step that was made with it, smoothed.
    pub points: Vec<(f64, f64)>,
    /// The rate at which the loss falls fastest; `None` if it never falls.
    pub suggestion: Option<f64>,
}

/// How much of the average is kept from step to step.
const SMOOTH: f64 = 0.9;
/// A loss that is so many times the least one has diverged.
const DIVERGED: f64 = 4.0;

impl Trainer {
    /// Trains for so many steps with a learning rate that rises from `low` to `high` by the same factor each time, and
    /// says where the loss fell fastest (Smith, arXiv:1506.01186): a tenth to a third of where it diverges. Ends early
    /// where it diverges. Everything is as before afterwards.
    ///
    /// ```
    /// use dropforge::prelude::*;
    ///
    /// let (train, _) = datasets::digits(400, 50, 1);
    /// let net = seq![flatten(), dense(32), relu(), dense(10)];
    /// let mut trainer = Trainer::new(net, cross_entropy(), Adam::new(1e-3)).batch(50).compile(&train)?;
    /// let sweep = trainer.find_rate(&train, 1e-5, 1.0, 60)?;
    /// assert!(sweep.suggestion.is_some_and(|rate| (1e-4..0.5).contains(&rate)));
    /// # Ok::<(), dropforge::Error>(())
    /// ```
    ///
    /// # Errors
    /// The ends are not 0 < `low` < `high`, the optimizer has no learning rate, a sample cannot be read, or the device
    /// fails.
    pub fn find_rate(
        &mut self,
        train: &impl IntoSource,
        low: f64,
        high: f64,
        steps: usize,
    ) -> Result<RateSweep> {
        if !(low > 0.0 && low < high && high.is_finite()) || steps < 2 {
            let message = format!(
                "the rates go from {low} to {high} in {steps} steps; give 0 < low < high and 2 steps or more"
            );
            return Err(Error::of(ErrorKind::Setting, message));
        }
        let rate = self.step().learning_rate().ok_or_else(|| {
            Error::of(ErrorKind::Setting, "the optimizer has no learning rate that could be looked for")
        })?;
        let states = self.step().copy_states()?;
        let swept = self.sweep(train, low, high, steps);
        self.step_mut().set_learning_rate(rate)?;
        for (name, array) in &states {
            self.step().states().write(name, array)?;
        }
        swept
    }

    fn sweep(&mut self, train: &impl IntoSource, low: f64, high: f64, steps: usize) -> Result<RateSweep> {
        let loader = self.loader(train.source())?;
        self.step_mut().set_rate_factor(1.0)?;
        let mut points: Vec<(f64, f64)> = Vec::new();
        let (mut average, mut least, mut epoch) = (0.0, f64::INFINITY, 0);
        while points.len() < steps {
            let before = points.len();
            for batch in loader.epoch(epoch, 0) {
                let index = points.len();
                if index == steps {
                    break;
                }
                let rate = low * (high / low).powf(index as f64 / (steps - 1) as f64);
                self.step_mut().set_learning_rate(rate)?;
                let loss = f64::from(self.step_mut().run(batch?)?.loss()?);
                average = SMOOTH * average + (1.0 - SMOOTH) * loss;
                // Without the pull of the zero that the average began with.
                let smooth = average / (1.0 - SMOOTH.powi(index as i32 + 1));
                if !smooth.is_finite() || (index > 5 && smooth > DIVERGED * least) {
                    return Ok(RateSweep { suggestion: steepest(&points), points });
                }
                least = least.min(smooth);
                points.push((rate, smooth));
            }
            if points.len() == before {
                return Err(Error::of(ErrorKind::Data, "there is no batch to train on"));
            }
            epoch += 1;
        }
        Ok(RateSweep { suggestion: steepest(&points), points })
    }
}

/// Where the loss falls fastest before its least value, over the logarithm of the rate.
fn steepest(points: &[(f64, f64)]) -> Option<f64> {
    const WIDTH: usize = 3;
    let least = (0..points.len()).min_by(|&a, &b| points[a].1.total_cmp(&points[b].1))?;
    // What comes first is not settled yet.
    let slope = |index: usize| {
        let (before, behind) = (points[index - WIDTH], points[index + WIDTH]);
        (behind.1 - before.1) / (behind.0 / before.0).ln()
    };
    let places = (points.len() / 10).max(WIDTH)..(least + 1).min(points.len().saturating_sub(WIDTH));
    let best = places.min_by(|&a, &b| slope(a).total_cmp(&slope(b)))?;
    (slope(best) < 0.0).then_some(points[best].0)
}

#[cfg(test)]
mod tests {
    use super::steepest;

    #[test]
    fn the_steepest_fall_before_the_least_loss() {
        let rates = (0..60).map(|i| 10f64.powf(-5.0 + f64::from(i) / 12.0));
        // Falls around 1e-3, diverges from 0.1 on.
        let loss =
            |rate: f64| 2.0 - 1.5 / (1.0 + (-3.0 * (rate.log10() + 3.0)).exp()) + (rate * 10.0).powi(4);
        let points: Vec<(f64, f64)> = rates.map(|rate| (rate, loss(rate))).collect();
        let found = steepest(&points).unwrap();
        assert!((6e-4..2e-3).contains(&found), "{found}");
        let rising: Vec<(f64, f64)> = points.iter().map(|&(rate, _)| (rate, rate)).collect();
        assert_eq!((steepest(&rising), steepest(&[])), (None, None));
    }
}
