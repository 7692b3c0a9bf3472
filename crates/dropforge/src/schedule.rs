//! How the learning rate changes during training.

use std::fmt;
use std::sync::Arc;

/// A moment of a training run, just before a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// Steps that have been made.
    pub step: u64,
    /// Epochs that have been finished.
    pub epoch: u64,
    /// Batches of this epoch that have been trained on.
    pub batch: usize,
    /// Batches in an epoch.
    pub batches: usize,
}

impl Moment {
    /// The moment in epochs: 2.5 is the middle of the third.
    pub fn epochs(&self) -> f64 {
        self.epoch as f64 + self.batch as f64 / self.batches.max(1) as f64
    }
}

/// What the learning rate of the optimizer is multiplied with at each step.
///
/// It depends on the moment alone, so that a resumed run goes on with the rates of one that was never stopped. The
/// rate is an input of the compiled step: changing it never recompiles.
///
/// ```
/// use dropforge::schedule::{Moment, Schedule};
///
/// let schedule = Schedule::cosine(10.0).warmup(1.0);
/// let at = |epoch| schedule.factor(&Moment { step: 0, epoch, batch: 50, batches: 100 });
/// assert_eq!(at(0), 0.5);
/// assert!(at(5) < at(4));
///
/// let halve = Schedule::from(|moment: &Moment| 0.5f64.powi(moment.epoch as i32));
/// assert_eq!(halve.factor(&Moment { step: 9, epoch: 3, batch: 0, batches: 3 }), 0.125);
/// ```
#[derive(Clone)]
pub struct Schedule {
    shape: Shape,
    warmup: f64,
}

#[derive(Clone)]
enum Shape {
    Constant,
    Cosine { epochs: f64 },
    Linear { epochs: f64 },
    Custom(Arc<dyn Fn(&Moment) -> f64 + Send + Sync>),
}

impl Schedule {
    /// Always 1.
    pub fn constant() -> Schedule {
        Schedule { shape: Shape::Constant, warmup: 0.0 }
    }

    /// From 1 down to 0 along half a cosine over this many epochs, warm-up included
    /// (Loshchilov and Hutter: SGDR, 2017, without restarts).
    pub fn cosine(epochs: f64) -> Schedule {
        Schedule { shape: Shape::Cosine { epochs }, warmup: 0.0 }
    }

    /// From 1 down to 0 along a line over this many epochs, warm-up included.
    pub fn linear(epochs: f64) -> Schedule {
        Schedule { shape: Shape::Linear { epochs }, warmup: 0.0 }
    }

    /// The same schedule after a rise from 0 over the first `epochs` epochs.
    pub fn warmup(mut self, epochs: f64) -> Schedule {
        self.warmup = epochs;
        self
    }

    /// The factor for the step that comes next.
    pub fn factor(&self, moment: &Moment) -> f64 {
        let at = moment.epochs();
        if at < self.warmup {
            return at.max(0.5 / moment.batches.max(1) as f64) / self.warmup;
        }
        // How much of the way down is done.
        let done = |epochs: f64| {
            let way = epochs - self.warmup;
            if way > 0.0 { ((at - self.warmup) / way).clamp(0.0, 1.0) } else { 1.0 }
        };
        match &self.shape {
            Shape::Constant => 1.0,
            Shape::Cosine { epochs } => 0.5 * (1.0 + (std::f64::consts::PI * done(*epochs)).cos()),
            Shape::Linear { epochs } => 1.0 - done(*epochs),
            Shape::Custom(factor) => factor(moment),
        }
    }
}

impl Default for Schedule {
    fn default() -> Schedule {
        Schedule::constant()
    }
}

impl<F: Fn(&Moment) -> f64 + Send + Sync + 'static> From<F> for Schedule {
    fn from(factor: F) -> Schedule {
        Schedule { shape: Shape::Custom(Arc::new(factor)), warmup: 0.0 }
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = match &self.shape {
            Shape::Constant => "constant".to_string(),
            Shape::Cosine { epochs } => format!("cosine over {epochs} epochs"),
            Shape::Linear { epochs } => format!("linear over {epochs} epochs"),
            Shape::Custom(_) => "a function".to_string(),
        };
        write!(f, "Schedule({shape}, warm-up of {} epochs)", self.warmup)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(schedule: &Schedule, epoch: u64, batch: usize) -> f64 {
        schedule.factor(&Moment { step: epoch * 10 + batch as u64, epoch, batch, batches: 10 })
    }

    #[test]
    fn shapes() {
        let cosine = Schedule::cosine(4.0);
        assert_eq!([at(&cosine, 0, 0), at(&cosine, 4, 0), at(&cosine, 9, 0)], [1.0, 0.0, 0.0]);
        assert!((at(&cosine, 2, 0) - 0.5).abs() < 1e-12);
        let linear = Schedule::linear(3.0).warmup(1.0);
        assert_eq!([at(&linear, 0, 5), at(&linear, 1, 0), at(&linear, 2, 0)], [0.5, 1.0, 0.5]);
        assert!(at(&linear, 0, 0) > 0.0, "the first step trains");
        assert_eq!(at(&Schedule::constant(), 77, 3), 1.0);
        assert_eq!(at(&Schedule::linear(1.0).warmup(1.0), 1, 0), 0.0);
    }
}
