//! The same number everywhere.

use super::{Draw, Initializer};
use crate::described;
use crate::settings::Range;
use dropforge_ir::Shape;

/// The same number everywhere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constant {
    /// The number.
    pub value: f32,
}

described! {
    Constant = "constant", "the same number everywhere" like "init.constant_";
    value: f32, Some(0.0), Range::ANY, "the number";
}

impl Initializer for Constant {
    fn elements(&self, _: Draw<'_>, shape: &Shape) -> Option<Vec<f32>> {
        Some(vec![self.value; shape.elements()])
    }

    super::config!();
}
