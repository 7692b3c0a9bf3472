//! Residual connections.

use super::layer::Layer;
use super::scope::Scope;
use crate::settings::{Described, Range, Value};
use crate::tensor::Tensor;
use crate::{Result, described};
use std::panic::Location;

/// What a layer gives, added to what it was given. See [`residual`].
pub struct Residual {
    body: Box<dyn Layer>,
    shortcut: Option<Box<dyn Layer>>,
    site: &'static Location<'static>,
}

/// x + body(x): the body must keep the shape, or a [`Residual::shortcut`] bring x to the new one. He et al.,
/// arXiv:1512.03385. Parameters of the body are named directly under the residual, those of the shortcut under
/// `shortcut`.
///
/// ```
/// use dropforge::prelude::*;
///
/// let block = residual(seq![conv(8, 3).same(), batch_norm(), relu(), conv(8, 3).same()]);
/// let net = Network::compile(block, [8, 6, 6])?;
/// assert_eq!(net.output().map(|ty| ty.shape.to_vec()), Some(vec![1, 8, 6, 6]));
/// # Ok::<(), dropforge::Error>(())
/// ```
#[track_caller]
pub fn residual(body: impl Layer + 'static) -> Residual {
    Residual { body: Box::new(body), shortcut: None, site: Location::caller() }
}

impl Residual {
    /// What x passes on the other way, such as a convolution with a kernel of 1 and a stride.
    #[must_use]
    pub fn shortcut(mut self, layer: impl Layer + 'static) -> Residual {
        self.shortcut = Some(Box::new(layer));
        self
    }
}

impl Layer for Residual {
    fn forward(&self, scope: &Scope, x: &Tensor) -> Tensor {
        let y = self.body.forward(scope, x);
        let around = match &self.shortcut {
            Some(layer) => scope.layer("shortcut", layer, x),
            None => x.clone(),
        };
        if y.error().is_none() && around.error().is_none() && y.shape() != around.shape() {
            let message = format!("the body makes {} of {}; give it a shortcut", y.shape(), x.shape());
            return scope.at(self.site).fail("residual", message, &y);
        }
        let scope = scope.at(self.site);
        (scope.bring(&around) + scope.bring(&y)).with_tag(x.tag.clone())
    }

    fn describe(&self) -> String {
        "residual".into()
    }

    fn config(&self) -> Result<Value> {
        self.write_named().map(Value::Table)
    }
}

described! {
    Residual = "residual", "what layers give, added to what they were given"
        like "x + body(x)", { site: Location::caller() };
    body: Box<dyn Layer>, None, Range::ANY, "a layer, or a list of layers";
    shortcut: Option<Box<dyn Layer>>, Some(None), Range::ANY, "what the input passes on the other way";
}
