//! Layers that apply a function without parameters.

use super::layer::Layer;
use super::scope::Scope;
use crate::settings::{Described, Range, Value};
use crate::tensor::Tensor;
use crate::{Result, described};
use std::panic::Location;

/// A function of the tensor alone. See [`activation`].
#[derive(Clone)]
pub struct Activation<F> {
    name: &'static str,
    function: F,
    site: &'static Location<'static>,
}

/// A layer from a function of the tensor alone; `name` is what the summary calls it.
#[track_caller]
pub fn activation<F>(name: &'static str, function: F) -> Activation<F>
where
    F: Fn(&Tensor) -> Tensor + Send + Sync,
{
    Activation { name, function, site: Location::caller() }
}

impl<F> Layer for Activation<F>
where
    F: Fn(&Tensor) -> Tensor + Send + Sync,
{
    fn forward(&self, scope: &Scope, x: &Tensor) -> Tensor {
        scope.run(self, self.site, x, |_, x| (self.function)(x))
    }

    fn describe(&self) -> String {
        self.name.into()
    }
}

/// A layer for a function of a tensor and perhaps numbers: its type, the function that makes it, its name in files, a
/// line of help, the numbers with their defaults for files, and the function itself.
macro_rules! activations {
    ($(
        $(#[$doc:meta])*
        $type:ident, $make:ident = $name:literal, $help:literal
            $(like $twin:literal $(but $differs:literal)?)?
        ($($arg:ident: $kind:ty = $default:expr, $line:literal),*) = |$x:ident| $value:expr;
    )*) => {$(
        #[doc = concat!("The layer made by [`", stringify!($make), "`].")]
        #[derive(Clone, Copy, Debug)]
        pub struct $type {
            $($arg: $kind,)*
            site: &'static Location<'static>,
        }

        $(#[$doc])*
        #[track_caller]
        pub fn $make($($arg: $kind),*) -> $type {
            $type { $($arg,)* site: Location::caller() }
        }

        impl Layer for $type {
            fn forward(&self, scope: &Scope, x: &Tensor) -> Tensor {
                $(let $arg = self.$arg;)*
                scope.run(self, self.site, x, |_, $x| $value)
            }

            fn describe(&self) -> String {
                $name.into()
            }

            fn config(&self) -> Result<Value> {
                self.write_named().map(Value::Table)
            }
        }

        described! {
            $type = $name, $help $(like $twin $(but $differs)?)?, { site: Location::caller() };
            $($arg: $kind, Some($default), Range::ANY, $line;)*
        }
    )*};
}

pub(super) use activations;

activations! {
    /// max(x, 0).
    Relu, relu = "relu", "max(x, 0)" like "nn.ReLU" () = |x| x.relu();
    /// 1/(1 + e^−x).
    Sigmoid, sigmoid = "sigmoid", "1/(1 + e^−x)" like "nn.Sigmoid" () = |x| x.sigmoid();
    /// Hyperbolic tangent.
    Tanh, tanh = "tanh", "hyperbolic tangent" like "nn.Tanh" () = |x| x.tanh();
    /// Gaussian error linear unit, by the error function.
    Gelu, gelu = "gelu", "Gaussian error linear unit, by the error function" like "nn.GELU" () = |x| x.gelu();
    /// Gaussian error linear unit, by its approximation with tanh.
    GeluTanh, gelu_tanh = "gelu_tanh", "Gaussian error linear unit, approximated with tanh"
        like "nn.GELU(approximate=\"tanh\")" () = |x| x.gelu_tanh();
    /// x·sigmoid(x).
    Silu, silu = "silu", "x·sigmoid(x)" like "nn.SiLU" () = |x| x.silu();
    /// x where positive, `slope`·x elsewhere; PyTorch's default slope is 0.01.
    LeakyRelu, leaky_relu = "leaky_relu", "x where positive, slope·x elsewhere" like "nn.LeakyReLU"
        (slope: f32 = 0.01, "factor of negative numbers") = |x| x.leaky_relu(slope);
    /// x where positive, `alpha`·(e^x − 1) elsewhere; PyTorch's default alpha is 1.
    Elu, elu = "elu", "x where positive, alpha·(e^x − 1) elsewhere" like "nn.ELU"
        (alpha: f32 = 1.0, "limit at −∞, negated")
        = |x| x.elu(alpha);
    /// Softmax along an axis; `-1` is the last.
    Softmax, softmax = "softmax", "softmax along an axis"
        like "nn.Softmax" but "the last axis unless told otherwise" (axis: isize = -1, "the axis; -1 is the last")
        = |x| x.softmax(axis);
    /// Logarithm of the softmax along an axis; `-1` is the last.
    LogSoftmax, log_softmax = "log_softmax", "logarithm of the softmax along an axis"
        like "nn.LogSoftmax" but "the last axis unless told otherwise"
        (axis: isize = -1, "the axis; -1 is the last") = |x| x.log_softmax(axis);
    /// x between 0 and 6, the nearer one outside.
    Relu6, relu6 = "relu6", "x between 0 and 6" like "nn.ReLU6" () = |x| x.relu6();
    /// x where positive, `alpha`·(e^(x/`alpha`) − 1) elsewhere; PyTorch's default alpha is 1.
    Celu, celu = "celu", "x where positive, alpha·(e^(x/alpha) − 1) elsewhere" like "nn.CELU"
        (alpha: f32 = 1.0, "limit at −∞, negated") = |x| x.celu(alpha);
    /// Scaled ELU that keeps mean and variance: see [`Tensor::selu`].
    Selu, selu = "selu", "scaled ELU that keeps mean and variance" like "nn.SELU" () = |x| x.selu();
    /// x between `low` and `high`, the nearer one outside; PyTorch's defaults are −1 and 1.
    HardTanh, hard_tanh = "hard_tanh", "x between two numbers" like "nn.Hardtanh"
        (low: f32 = -1.0, "least value", high: f32 = 1.0, "greatest value") = |x| x.hard_tanh(low, high);
    /// x/6 + 1/2 between 0 and 1: PyTorch's `nn.Hardsigmoid`.
    HardSigmoid, hard_sigmoid = "hard_sigmoid", "x/6 + 1/2 between 0 and 1"
        like "nn.Hardsigmoid" () = |x| x.hard_sigmoid();
    /// x·hard_sigmoid(x): PyTorch's `nn.Hardswish`.
    HardSwish, hard_swish = "hard_swish", "x·hard_sigmoid(x)" like "nn.Hardswish" () = |x| x.hard_swish();
    /// x·tanh(ln(1 + e^x)).
    Mish, mish = "mish", "x·tanh(softplus(x))" like "nn.Mish" () = |x| x.mish();
    /// ln sigmoid(x), without overflow.
    LogSigmoid, log_sigmoid = "log_sigmoid", "logarithm of the sigmoid" like "nn.LogSigmoid" () = |x| x.log_sigmoid();
    /// ln(1 + e^x), without overflow: PyTorch's `nn.Softplus` with its defaults.
    Softplus, softplus = "softplus", "ln(1 + e^x)"
        like "nn.Softplus" but "beta is 1, and nothing is cut off" () = |x| x.softplus();
    /// x/(1 + |x|).
    Softsign, softsign = "softsign", "x/(1 + |x|)" like "nn.Softsign" () = |x| x.softsign();
    /// x − tanh(x): PyTorch's `nn.Tanhshrink`.
    TanhShrink, tanh_shrink = "tanh_shrink", "x − tanh(x)" like "nn.Tanhshrink" () = |x| x.tanh_shrink();
    /// x moved towards 0 by `lambda`: PyTorch's `nn.Softshrink`, whose default is 0.5.
    SoftShrink, soft_shrink = "soft_shrink", "x moved towards 0" like "nn.Softshrink"
        (lambda: f32 = 0.5, "by how much") = |x| x.soft_shrink(lambda);
    /// x, and 0 within `lambda` of 0: PyTorch's `nn.Hardshrink`, whose default is 0.5.
    HardShrink, hard_shrink = "hard_shrink", "x, and 0 near 0" like "nn.Hardshrink"
        (lambda: f32 = 0.5, "how near") = |x| x.hard_shrink(lambda);
    /// x above `limit`, `value` elsewhere: PyTorch's `nn.Threshold`.
    Threshold, threshold = "threshold", "x above a limit, another number elsewhere" like "nn.Threshold"
        (limit: f32 = 0.0, "the limit", value: f32 = 0.0, "the other number") = |x| x.threshold(limit, value);
    /// The first half along an axis times the sigmoid of the second: see [`Tensor::glu`].
    Glu, glu = "glu", "one half along an axis times the sigmoid of the other" like "nn.GLU"
        (axis: isize = -1, "the axis; -1 is the last") = |x| x.glu(axis);
    /// The first half along an axis times the SiLU of the second. Shazeer, arXiv:2002.05202.
    Swiglu, swiglu = "swiglu", "one half along an axis times the SiLU of the other" like "Shazeer, arXiv:2002.05202"
        (axis: isize = -1, "the axis; -1 is the last") = |x| x.swiglu(axis);
}
