//! Blocks that stand several times one after another.

use super::layer::Layer;
use super::scope::Scope;
use crate::settings::{Described, Range, Value};
use crate::tensor::Tensor;
use crate::{Result, described};
use std::sync::Arc;

/// The same layers several times, each time with parameters of their own. See [`repeat`].
pub struct Repeat {
    times: usize,
    body: Arc<dyn Layer>,
}

/// `times` copies of a layer one after another, each with parameters of its own: they are called by their positions from
/// 0. The layer must give what it takes.
pub fn repeat(times: usize, body: impl Layer + 'static) -> Repeat {
    Repeat { times, body: Arc::new(body) }
}

impl Layer for Repeat {
    fn forward(&self, scope: &Scope, x: &Tensor) -> Tensor {
        (0..self.times).fold(x.clone(), |x, copy| scope.layer(&copy.to_string(), &self.body, &x))
    }

    fn describe(&self) -> String {
        format!("repeat({})", self.times)
    }

    fn config(&self) -> Result<Value> {
        self.write_named().map(Value::Table)
    }
}

described! {
    Repeat = "repeat", "layers several times, each with parameters of its own";
    times: usize, None, (1..=10_000).into(), "how many copies there are";
    body: Arc<dyn Layer>, None, Range::ANY, "a layer, or a list of layers";
}
