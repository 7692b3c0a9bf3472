//! Leaky ReLU with a trained slope.

use super::layer::Layer;
use super::scope::Scope;
use crate::init::Init;
use crate::settings::{Described, Range, Value};
use crate::tensor::Tensor;
use crate::{Result, described};
use std::panic::Location;

/// A leaky ReLU whose slope is trained. See [`prelu`].
#[derive(Clone, Copy, Debug)]
pub struct PRelu {
    slope: f32,
    per_channel: bool,
    site: &'static Location<'static>,
}

/// x where positive, `weight`·x elsewhere, with one trained slope for all: PyTorch's `nn.PReLU`. He et al.,
/// arXiv:1502.01852. Parameter `weight`, `[1]` or `[channels]`, which starts at 0.25.
#[doc(alias = "PReLU")]
#[track_caller]
pub fn prelu() -> PRelu {
    PRelu { slope: 0.25, per_channel: false, site: Location::caller() }
}

impl PRelu {
    /// What the slope starts with. Default 0.25.
    #[must_use]
    pub fn slope(mut self, slope: f32) -> PRelu {
        self.slope = slope;
        self
    }

    /// Whether each channel (axis 1) has a slope of its own. Default `false`.
    #[must_use]
    pub fn per_channel(mut self, per_channel: bool) -> PRelu {
        self.per_channel = per_channel;
        self
    }
}

impl Layer for PRelu {
    fn forward(&self, scope: &Scope, x: &Tensor) -> Tensor {
        scope.run(self, self.site, x, |scope, x| {
            if self.per_channel && x.rank() < 2 {
                return scope.fail("prelu", format!("needs [batch, channels, ..], got {}", x.shape()), x);
            }
            let count = if self.per_channel { x.shape()[1] } else { 1 };
            let slope = scope.parameter("weight", [count], Init::constant(self.slope));
            let mut along = vec![1; x.rank()];
            if self.per_channel {
                along[1] = count;
            }
            x.prelu(&slope.reshape(along))
        })
    }

    fn describe(&self) -> String {
        "prelu".into()
    }

    fn config(&self) -> Result<Value> {
        self.write_named().map(Value::Table)
    }
}

described! {
    PRelu = "prelu", "x where positive, a trained slope elsewhere" like "nn.PReLU", { site: Location::caller() };
    slope: f32, Some(0.25), Range::ANY, "what the slope starts with";
    per_channel: bool, Some(false), Range::ANY, "whether each channel has a slope of its own";
}
