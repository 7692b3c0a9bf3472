//! Residual connections.

use super::layer::Layer;
use super::scope::Scope;
use crate::tensor::Tensor;
use std::panic::Location;

/// What a layer gives, added to what it was given. See [`residual`].
pub struct Residual<L> {
    body: L,
    shortcut: Option<Box<dyn Layer>>,
    site: &'static Location<'static>,
}

/// x + body(x): the body must keep the shape, or a [`Residual::shortcut`] bring x to the new one. He et al.,
/// arXiv:1512.03385. Parameters of the body are named directly under the residual, those of the shortcut under
/// `shortcut`.
#[track_caller]
pub fn residual<L: Layer>(body: L) -> Residual<L> {
    Residual { body, shortcut: None, site: Location::caller() }
}

impl<L> Residual<L> {
    /// What x passes on the other way, such as a convolution with a kernel of 1 and a stride.
    #[must_use]
    pub fn shortcut(mut self, layer: impl Layer + 'static) -> Residual<L> {
        self.shortcut = Some(Box::new(layer));
        self
    }
}

impl<L: Layer> Layer for Residual<L> {
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
}
