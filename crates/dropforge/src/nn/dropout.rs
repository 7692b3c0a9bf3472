//! Dropout.

use super::layer::Layer;
use super::scope::Scope;
use crate::settings::{Described, Value};
use crate::tensor::Tensor;
use crate::{Result, described};
use std::panic::Location;

/// Drops elements at random in training. See [`dropout`].
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    probability: f32,
    site: &'static Location<'static>,
}

/// In training each element becomes 0 with this probability and the others grow by 1/(1 − p), so that the mean stays;
/// in evaluation nothing happens. PyTorch's `nn.Dropout`; Srivastava et al., JMLR 15 (2014).
///
/// Each step draws new elements, the same ones for the same seed, step and place in the network.
#[doc(alias = "Dropout")]
#[track_caller]
pub fn dropout(probability: f32) -> Dropout {
    Dropout { probability, site: Location::caller() }
}

impl Layer for Dropout {
    fn forward(&self, scope: &Scope, x: &Tensor) -> Tensor {
        scope.run(self, self.site, x, |scope, x| {
            let p = self.probability;
            if !(0.0..=1.0).contains(&p) {
                return scope.fail(
                    "dropout",
                    format!("the probability must lie between 0 and 1, got {p}"),
                    x,
                );
            }
            if !scope.is_training() || p == 0.0 {
                return x.clone();
            }
            if p == 1.0 {
                return x * 0.0;
            }
            let kept = scope.uniform(x.shape()).ge(p);
            Tensor::select(&kept, &(x * (1.0 / (1.0 - p))), 0.0)
        })
    }

    fn describe(&self) -> String {
        format!("dropout({})", self.probability)
    }

    fn config(&self) -> Result<Value> {
        self.write_named().map(Value::Table)
    }
}

described! {
    Dropout = "dropout", "in training, elements become 0 at random"
        like "nn.Dropout" but "other random numbers, the same on every device", { site: Location::caller() };
    probability as "p": f32, Some(0.5), (0.0..=1.0).into(), "probability of each element";
}
