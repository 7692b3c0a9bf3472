//! Given elements.

use super::{Draw, Initializer};
use crate::described;
use crate::settings::Range;
use dropforge_ir::Shape;

/// These elements, in row-major order; the count must fit.
#[derive(Clone, Debug, PartialEq)]
#[doc(alias = "Values")]
pub struct Given {
    /// The elements.
    pub values: Vec<f32>,
}

described! {
    Given = "values", "given elements, in row-major order" like "a tensor that is copied";
    values: Vec<f32>, Some(Vec::new()), Range::ANY, "the elements, as many as the parameter has";
}

impl Initializer for Given {
    fn elements(&self, _: Draw<'_>, shape: &Shape) -> Option<Vec<f32>> {
        (self.values.len() == shape.elements()).then(|| self.values.clone())
    }

    super::config!();
}
