//! A rate that stays.

use super::{Position, Rule};
use crate::described;

/// Always 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constant {}

described! {
    Constant = "constant", "the rate stays" like "no scheduler";
}

impl Rule for Constant {
    fn factor(&self, _: &Position) -> f64 {
        1.0
    }

    super::config!();
}
