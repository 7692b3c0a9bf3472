//! Normally distributed numbers.

use super::{Draw, Initializer};
use crate::described;
use crate::settings::Range;
use dropforge_ir::Shape;

/// Normally distributed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normal {
    /// Mean.
    pub mean: f32,
    /// Standard deviation.
    pub deviation: f32,
}

described! {
    Normal = "normal", "normally distributed" like "init.normal_";
    mean: f32, Some(0.0), Range::ANY, "mean";
    deviation: f32, Some(0.02), (0.0..).into(), "standard deviation";
}

impl Initializer for Normal {
    fn elements(&self, draw: Draw<'_>, shape: &Shape) -> Option<Vec<f32>> {
        Some(draw.normal(shape.elements(), self.mean.into(), self.deviation.into()))
    }

    super::config!();
}
