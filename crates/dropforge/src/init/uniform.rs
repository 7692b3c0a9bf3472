//! Evenly distributed numbers.

use super::{Draw, Initializer};
use crate::described;
use crate::settings::Range;
use dropforge_ir::Shape;

/// Evenly distributed from `low` up to `high`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Uniform {
    /// Least value.
    pub low: f32,
    /// Greatest value.
    pub high: f32,
}

described! {
    Uniform = "uniform", "evenly distributed between two numbers" like "init.uniform_";
    low: f32, Some(-0.1), Range::ANY, "least value";
    high: f32, Some(0.1), Range::ANY, "greatest value";
}

impl Initializer for Uniform {
    fn elements(&self, draw: Draw<'_>, shape: &Shape) -> Option<Vec<f32>> {
        Some(draw.uniform(shape.elements(), self.low.into(), self.high.into()))
    }

    super::config!();
}
