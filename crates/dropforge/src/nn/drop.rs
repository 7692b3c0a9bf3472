//! Dropout of channels, of whole samples, and around SELU.

use super::layer::Layer;
use super::scope::Scope;
use crate::settings::{Described, Value};
use crate::tensor::Tensor;
use crate::{Result, described};
use std::panic::Location;

/// What is dropped together.
#[derive(Clone, Copy)]
enum Whole {
    Channel,
    Sample,
}

macro_rules! dropouts {
    ($(
        $(#[$doc:meta])*
        $type:ident, $make:ident = $name:literal, $help:literal
            $(like $twin:literal $(but $differs:literal)?)?, $drop:expr;
    )*) => {$(
        #[doc = concat!("The layer made by [`", stringify!($make), "`].")]
        #[derive(Clone, Copy, Debug)]
        pub struct $type {
            probability: f32,
            site: &'static Location<'static>,
        }

        $(#[$doc])*
        #[track_caller]
        pub fn $make(probability: f32) -> $type {
            $type { probability, site: Location::caller() }
        }

        impl Layer for $type {
            fn forward(&self, scope: &Scope, x: &Tensor) -> Tensor {
                scope.run(self, self.site, x, |scope, x| {
                    let p = self.probability;
                    if !(0.0..=1.0).contains(&p) {
                        let message = format!("the probability must lie between 0 and 1, got {p}");
                        return scope.fail($name, message, x);
                    }
                    if !scope.is_training() || p == 0.0 {
                        return x.clone();
                    }
                    let drop: fn(&Scope, &Tensor, f32) -> Tensor = $drop;
                    drop(scope, x, p)
                })
            }

            fn describe(&self) -> String {
                format!(concat!($name, "({})"), self.probability)
            }

            fn config(&self) -> Result<Value> {
                self.write_named().map(Value::Table)
            }
        }

        described! {
            $type = $name, $help $(like $twin $(but $differs)?)?, { site: Location::caller() };
            probability as "p": f32, Some(0.5), (0.0..=1.0).into(), "probability of being dropped";
        }
    )*};
}

dropouts! {
    /// In training each channel of each sample becomes 0 as a whole with this probability, the others grow by 1/(1 −
    /// p): PyTorch's `nn.Dropout1d` to `3d`. Tompson et al., arXiv:1411.4280.
    #[doc(alias = "Dropout2d")]
    SpatialDropout, spatial_dropout = "spatial_dropout", "in training, whole channels become 0 at random"
        like "nn.Dropout1d, 2d, 3d" but "one layer for any number of axes",
        |scope, x, p| drop_whole(scope, "spatial_dropout", x, p, Whole::Channel);
    /// In training each sample becomes 0 as a whole with this probability, the others grow by 1/(1 − p): stochastic
    /// depth, where it ends the body of a residual. torchvision's `StochasticDepth(mode="row")`; Huang et al.,
    /// arXiv:1603.09382.
    #[doc(alias = "StochasticDepth")]
    DropPath, drop_path = "drop_path", "in training, whole samples become 0 at random"
        like "torchvision.ops.StochasticDepth(mode=\"row\")",
        |scope, x, p| drop_whole(scope, "drop_path", x, p, Whole::Sample);
    /// Dropout that keeps mean and variance behind a SELU: in training elements become SELU's limit at −∞ with this
    /// probability, then all are scaled and shifted. PyTorch's `nn.AlphaDropout`; Klambauer et al., arXiv:1706.02515.
    AlphaDropout, alpha_dropout = "alpha_dropout", "dropout that keeps mean and variance behind a SELU"
        like "nn.AlphaDropout", drop_alpha;
}

fn drop_whole(scope: &Scope, name: &str, x: &Tensor, p: f32, whole: Whole) -> Tensor {
    let kept = match whole {
        Whole::Channel => 2,
        Whole::Sample => 1,
    };
    if x.rank() < kept {
        return scope.fail(name, format!("needs [batch, channels, ..], got {}", x.shape()), x);
    }
    if p == 1.0 {
        return x * 0.0;
    }
    let mut shape = x.shape().to_vec();
    shape[kept..].fill(1);
    let stays = scope.uniform(shape).ge(p);
    Tensor::select(&stays, &(x * (1.0 / (1.0 - p))), 0.0)
}

fn drop_alpha(scope: &Scope, x: &Tensor, p: f32) -> Tensor {
    // SELU's limit at −∞: −λα.
    let limit = -f64::from(1.050_701f32) * f64::from(1.673_263_2f32);
    if p == 1.0 {
        return x * 0.0;
    }
    let p = f64::from(p);
    let scale = 1.0 / ((1.0 - p) * (1.0 + p * limit * limit)).sqrt();
    let shift = -scale * p * limit;
    let stays = scope.uniform(x.shape()).ge(p as f32);
    let wide = x.widened();
    (Tensor::select(&stays, &wide, limit as f32) * scale as f32 + shift as f32).cast(x.dtype())
}
