//! A rate that falls along half a cosine.

use super::{Position, Rule};
use crate::described;
use crate::settings::Range;

/// From 1 down to `floor` along half a cosine: Loshchilov and Hutter, arXiv:1608.03983, without restarts.
#[doc(alias = "CosineAnnealingLR")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cosine {
    /// Epochs (or steps) until the end, warm-up included; the whole training by default.
    pub length: Option<f64>,
    /// Factor at the end.
    pub floor: f64,
}

described! {
    Cosine = "cosine", "down along half a cosine" like "lr_scheduler.CosineAnnealingLR" but "moves with every batch";
    length: Option<f64>, Some(None), Range::above(0.0), "epochs (or steps) until the end, the whole training by default",
        may change;
    floor: f64, Some(0.0), (0.0..=1.0).into(), "factor at the end";
}

impl Rule for Cosine {
    fn factor(&self, position: &Position) -> f64 {
        let done = position.done(position.length(self.length));
        self.floor + (1.0 - self.floor) * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
    }

    fn lacks_length(&self, position: &Position) -> bool {
        self.length.or(position.planned).is_none()
    }

    super::config!();
}
