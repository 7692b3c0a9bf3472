//! A rate that falls along a line.

use super::{Position, Rule};
use crate::described;
use crate::settings::Range;

/// From 1 down to `floor` along a line.
#[doc(alias = "LinearLR")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linear {
    /// Epochs (or steps) until the end, warm-up included; the whole training by default.
    pub length: Option<f64>,
    /// Factor at the end.
    pub floor: f64,
}

described! {
    Linear = "linear", "down along a line"
        like "lr_scheduler.LinearLR" but "falls to a floor; a warm-up is a setting of every schedule";
    length: Option<f64>, Some(None), Range::above(0.0), "epochs (or steps) until the end, the whole training by default",
        may change;
    floor: f64, Some(0.0), (0.0..=1.0).into(), "factor at the end";
}

impl Rule for Linear {
    fn factor(&self, position: &Position) -> f64 {
        let done = position.done(position.length(self.length));
        1.0 - (1.0 - self.floor) * done
    }

    fn lacks_length(&self, position: &Position) -> bool {
        self.length.or(position.planned).is_none()
    }

    super::config!();
}
