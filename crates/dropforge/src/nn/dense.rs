//! Dense layers.

use super::layer::Layer;
use super::scope::Scope;
use crate::init::Init;
use crate::settings::{Described, Range, Value};
use crate::tensor::Tensor;
use crate::{Result, described};
use std::panic::Location;

/// A dense layer, y = x·Wᵀ + b over the last axis. See [`dense`].
#[derive(Clone, Debug)]
pub struct Dense {
    outputs: usize,
    bias: bool,
    weight_init: Init,
    bias_init: Option<Init>,
    site: &'static Location<'static>,
}

/// A dense layer with this many outputs: PyTorch's `nn.Linear`. The number of inputs is the last extent of what it is
/// given.
///
/// Parameters: `weight [outputs, inputs]`, Kaiming uniform with a = √5, and `bias [outputs]`, uniform within
/// ±1/√inputs.
///
/// ```
/// use dropforge::prelude::*;
///
/// let net = Network::compile(dense(10).bias(false), [784])?;
/// assert_eq!(net.parameter_count(), 7840);
/// # Ok::<(), dropforge::Error>(())
/// ```
#[doc(alias = "Linear")]
#[track_caller]
pub fn dense(outputs: usize) -> Dense {
    let weight_init = Init::weight();
    Dense { outputs, bias: true, weight_init, bias_init: None, site: Location::caller() }
}

impl Dense {
    /// Whether there is a bias. Default `true`.
    #[must_use]
    pub fn bias(mut self, bias: bool) -> Dense {
        self.bias = bias;
        self
    }

    /// How the weight starts.
    #[must_use]
    pub fn weight_init(mut self, init: Init) -> Dense {
        self.weight_init = init;
        self
    }

    /// How the bias starts.
    #[must_use]
    pub fn bias_init(mut self, init: Init) -> Dense {
        self.bias_init = Some(init);
        self
    }
}

impl Layer for Dense {
    fn forward(&self, scope: &Scope, x: &Tensor) -> Tensor {
        scope.run(self, self.site, x, |scope, x| {
            let Some(&inputs) = x.shape().last() else {
                return scope.fail("dense", "needs at least one axis, got a scalar", x);
            };
            if !x.dtype().is_float() {
                return scope.fail("dense", format!("needs floats, got {}; cast first", x.ty()), x);
            }
            let weight = scope.parameter("weight", [self.outputs, inputs], self.weight_init.clone());
            let y = x.linear(&weight);
            if !self.bias {
                return y;
            }
            let init = self.bias_init.clone().unwrap_or(Init::bias(inputs));
            y + scope.parameter("bias", [self.outputs], init)
        })
    }

    fn describe(&self) -> String {
        format!("dense({})", self.outputs)
    }

    fn config(&self) -> Result<Value> {
        self.write_named().map(Value::Table)
    }
}

described! {
    Dense = "dense", "y = x·Wᵀ + b over the last axis"
        like "nn.Linear" but "inputs are counted from what it is given", { site: Location::caller() };
    outputs as "units": usize, None, (1..).into(), "how many outputs there are";
    bias: bool, Some(true), Range::ANY, "whether there is a bias";
    weight_init: Init, Some(Init::weight()), Range::ANY, "how the weight starts";
    bias_init: Option<Init>, Some(None), Range::ANY, "how the bias starts, by default uniform within ±1/√inputs";
}
