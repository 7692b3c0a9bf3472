//! Rates that fall in steps, by powers and along roots.

use super::{Position, Rule};
use crate::described;
use crate::settings::Range;

/// Times `gamma` after every `every` epochs (or steps): PyTorch's `StepLR`.
#[doc(alias = "StepLR")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Steps {
    /// Epochs (or steps) between two falls.
    pub every: f64,
    /// What the rate is multiplied with at each.
    pub gamma: f64,
}

described! {
    Steps = "steps", "down by a factor every few epochs" like "lr_scheduler.StepLR";
    every: f64, None, Range::above(0.0), "epochs (or steps) between two falls";
    gamma: f64, Some(0.1), (0.0..).into(), "what the rate is multiplied with at each";
}

impl Rule for Steps {
    fn factor(&self, position: &Position) -> f64 {
        self.gamma.powf((position.at / self.every).floor())
    }

    super::config!();
}

/// Times `gamma` at each of some epochs (or steps): PyTorch's `MultiStepLR`.
#[doc(alias = "MultiStepLR")]
#[derive(Clone, Debug, PartialEq)]
pub struct Milestones {
    /// The epochs (or steps).
    pub at: Vec<f64>,
    /// What the rate is multiplied with at each.
    pub gamma: f64,
}

described! {
    Milestones = "milestones", "down by a factor at some epochs" like "lr_scheduler.MultiStepLR";
    at: Vec<f64>, None, (0.0..).into(), "the epochs (or steps)";
    gamma: f64, Some(0.1), (0.0..).into(), "what the rate is multiplied with at each";
}

impl Rule for Milestones {
    fn factor(&self, position: &Position) -> f64 {
        let passed = self.at.iter().filter(|&&milestone| milestone <= position.at).count();
        self.gamma.powf(passed as f64)
    }

    super::config!();
}

/// `gamma` to the power of the epochs (or steps): PyTorch's `ExponentialLR`, at every moment between them too.
#[doc(alias = "ExponentialLR")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exponential {
    /// What the rate is multiplied with in each epoch (or step).
    pub gamma: f64,
}

described! {
    Exponential = "exponential", "down by a factor in each epoch, evenly"
        like "lr_scheduler.ExponentialLR" but "moves with every batch";
    gamma: f64, None, Range::above(0.0), "what the rate is multiplied with in each epoch (or step)";
}

impl Rule for Exponential {
    fn factor(&self, position: &Position) -> f64 {
        self.gamma.powf(position.at)
    }

    super::config!();
}

/// From 1 down to `floor` along a power of what is left: PyTorch's `PolynomialLR`.
#[doc(alias = "PolynomialLR")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Polynomial {
    /// Epochs (or steps) until the end, warm-up included; the whole training by default.
    pub length: Option<f64>,
    /// The power: 1 is a line, larger ones fall faster at first.
    pub power: f64,
    /// Factor at the end.
    pub floor: f64,
}

described! {
    Polynomial = "polynomial", "down along a power of what is left"
        like "lr_scheduler.PolynomialLR" but "moves with every batch";
    length: Option<f64>, Some(None), Range::above(0.0), "epochs (or steps) until the end, the whole training by default",
        may change;
    power: f64, Some(1.0), Range::above(0.0), "1 is a line, larger ones fall faster at first";
    floor: f64, Some(0.0), (0.0..=1.0).into(), "factor at the end";
}

impl Rule for Polynomial {
    fn factor(&self, position: &Position) -> f64 {
        let left = 1.0 - position.done(position.length(self.length));
        self.floor + (1.0 - self.floor) * left.powf(self.power)
    }

    fn lacks_length(&self, position: &Position) -> bool {
        self.length.or(position.planned).is_none()
    }

    super::config!();
}

/// Down with the root of the time since the start, 1 at the end of the warm-up: the schedule of Vaswani et al.,
/// arXiv:1706.03762, whose largest rate is the optimizer's. Without a warm-up it is 1 during the first epoch (or step).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InverseRoot {}

described! {
    InverseRoot = "inverse_root", "down with the root of the time, from the end of the warm-up"
        like "Noam, of Vaswani et al., arXiv:1706.03762" but "the largest factor is 1";
}

impl Rule for InverseRoot {
    fn factor(&self, position: &Position) -> f64 {
        let start = if position.warmup > 0.0 { position.warmup } else { 1.0 };
        (start / position.at.max(start)).sqrt()
    }

    super::config!();
}
