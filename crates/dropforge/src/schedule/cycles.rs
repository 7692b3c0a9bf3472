//! Rates that rise again.

use super::{Position, Rule};
use crate::described;
use crate::settings::Range;
use std::f64::consts::PI;

/// From 1 down to `floor` along half a cosine, again and again: PyTorch's `CosineAnnealingWarmRestarts`. Loshchilov and
/// Hutter, arXiv:1608.03983. Rounds begin at the end of the warm-up.
#[doc(alias = "CosineAnnealingWarmRestarts")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CosineRestarts {
    /// Epochs (or steps) of the first round.
    pub first: f64,
    /// How many times as long each round is as the one before.
    pub growth: f64,
    /// Factor at the end of a round.
    pub floor: f64,
}

described! {
    CosineRestarts = "cosine_restarts", "down along half a cosine, again and again"
        like "lr_scheduler.CosineAnnealingWarmRestarts" but "moves with every batch";
    first: f64, None, Range::above(0.0), "epochs (or steps) of the first round";
    growth: f64, Some(1.0), (1.0..).into(), "how many times as long each round is as the one before";
    floor: f64, Some(0.0), (0.0..=1.0).into(), "factor at the end of a round";
}

impl Rule for CosineRestarts {
    fn factor(&self, position: &Position) -> f64 {
        let mut at = (position.at - position.warmup).max(0.0);
        let mut round = self.first;
        if self.growth == 1.0 {
            at %= round;
        }
        while at >= round {
            at -= round;
            round *= self.growth;
        }
        self.floor + (1.0 - self.floor) * 0.5 * (1.0 + (PI * at / round).cos())
    }

    super::config!();
}

/// Up from 1/`start` to 1 and down to 1/(`start`·`end`), along half cosines: PyTorch's `OneCycleLR`, whose phases end
/// one step earlier. Smith and Topin, arXiv:1708.07120.
#[doc(alias = "OneCycleLR")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OneCycle {
    /// Epochs (or steps) until the end; the whole training by default.
    pub length: Option<f64>,
    /// Share of the length that rises.
    pub rise: f64,
    /// How many times smaller the rate is at the start than at its largest.
    pub start: f64,
    /// How many times smaller it is at the end than at the start.
    pub end: f64,
}

described! {
    OneCycle = "one_cycle", "up and further down, along half cosines"
        like "lr_scheduler.OneCycleLR" but "phases do not end one step earlier; momentum stays";
    length: Option<f64>, Some(None), Range::above(0.0), "epochs (or steps) until the end, the whole training by default",
        may change;
    rise: f64, Some(0.3), (0.0..=1.0).into(), "share of the length that rises";
    start: f64, Some(25.0), (1.0..).into(), "how many times smaller the rate is at the start than at its largest";
    end: f64, Some(1e4), (1.0..).into(), "how many times smaller it is at the end than at the start";
}

impl Rule for OneCycle {
    fn factor(&self, position: &Position) -> f64 {
        let done = position.done(position.length(self.length));
        // From one factor to another along half a cosine.
        let between = |from: f64, to: f64, way: f64| to + (from - to) * 0.5 * (1.0 + (PI * way).cos());
        if done < self.rise {
            between(1.0 / self.start, 1.0, done / self.rise)
        } else {
            let left = 1.0 - self.rise;
            let way = if left > 0.0 { (done - self.rise) / left } else { 1.0 };
            between(1.0, 1.0 / (self.start * self.end), way)
        }
    }

    fn lacks_length(&self, position: &Position) -> bool {
        self.length.or(position.planned).is_none()
    }

    super::config!();
}

/// Up and down between `floor` and 1 along lines, again and again: PyTorch's `CyclicLR(mode="triangular")`. Smith,
/// arXiv:1506.01186.
#[doc(alias = "CyclicLR")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Triangles {
    /// Epochs (or steps) of a rise.
    pub rise: f64,
    /// Epochs (or steps) of a fall; as many as of a rise by default.
    pub fall: Option<f64>,
    /// Factor at the start and between the rounds.
    pub floor: f64,
}

described! {
    Triangles = "triangles", "up and down along lines, again and again"
        like "lr_scheduler.CyclicLR(mode=\"triangular\")" but "momentum stays";
    rise: f64, None, Range::above(0.0), "epochs (or steps) of a rise";
    fall: Option<f64>, Some(None), Range::above(0.0), "epochs (or steps) of a fall, as many as of a rise by default";
    floor: f64, Some(0.1), (0.0..=1.0).into(), "factor at the start and between the rounds";
}

impl Rule for Triangles {
    fn factor(&self, position: &Position) -> f64 {
        let fall = self.fall.unwrap_or(self.rise);
        let at = (position.at - position.warmup).max(0.0) % (self.rise + fall);
        let height = if at < self.rise { at / self.rise } else { 1.0 - (at - self.rise) / fall };
        self.floor + (1.0 - self.floor) * height
    }

    super::config!();
}

/// The product of several schedules, each with its own warm-up and unit: PyTorch's `ChainedScheduler`.
#[doc(alias = "SequentialLR")]
#[derive(Clone, Debug)]
pub struct Chained {
    /// The factors.
    pub schedules: Vec<super::Schedule>,
}

described! {
    Chained = "chained", "the product of several schedules" like "lr_scheduler.ChainedScheduler";
    schedules: Vec<super::Schedule>, None, Range::ANY, "the factors";
}

impl Rule for Chained {
    fn factor(&self, position: &Position) -> f64 {
        self.schedules.iter().map(|schedule| schedule.factor(&position.moment)).product()
    }

    fn lacks_length(&self, position: &Position) -> bool {
        self.schedules.iter().any(|schedule| schedule.check(&position.moment).is_err())
    }

    fn validate(&self) -> crate::Result<()> {
        self.schedules.iter().try_for_each(super::Schedule::validate)
    }

    fn config(&self) -> crate::Result<crate::settings::Table> {
        crate::settings::Described::write_named(self)
    }
}
