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
    shared: bool,
}

/// `times` copies of a layer one after another, each with parameters of its own: they are called by their positions
/// from
/// 0. The layer must give what it takes.
#[doc(alias = "ModuleList")]
pub fn repeat(times: usize, body: impl Layer + 'static) -> Repeat {
    Repeat { times, body: Arc::new(body), shared: false }
}

impl Repeat {
    /// Whether all copies share the parameters of the first, which is called `0`. Default `false`.
    #[must_use]
    pub fn shared(mut self, shared: bool) -> Repeat {
        self.shared = shared;
        self
    }
}

impl Layer for Repeat {
    fn forward(&self, scope: &Scope, x: &Tensor) -> Tensor {
        (0..self.times).fold(x.clone(), |x, copy| match (self.shared, copy) {
            (false, _) => scope.layer(&copy.to_string(), &self.body, &x),
            (true, 0) => scope.layer("0", &self.body, &x),
            (true, _) => scope.shared().layer("0", &self.body, &x),
        })
    }

    fn describe(&self) -> String {
        format!("repeat({})", self.times)
    }

    fn config(&self) -> Result<Value> {
        self.write_named().map(Value::Table)
    }
}

described! {
    Repeat = "repeat", "layers several times, each with parameters of its own"
        like "nn.Sequential of copies" but "copies may share their parameters";
    times: usize, None, (1..=10_000).into(), "how many copies there are";
    body: Arc<dyn Layer>, None, Range::ANY, "a layer, or a list of layers";
    shared: bool, Some(false), Range::ANY, "whether all copies share their parameters";
}
