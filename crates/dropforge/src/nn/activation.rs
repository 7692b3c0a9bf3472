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

/// A layer for a function of a tensor and perhaps numbers: its type, the function that makes it, its name in files, a line
/// of help, the numbers with their defaults for files, and the function itself.
macro_rules! activations {
    ($(
        $(#[$doc:meta])*
        $type:ident, $make:ident = $name:literal, $help:literal
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
            $type = $name, $help, { site: Location::caller() };
            $($arg: $kind, Some($default), Range::ANY, $line;)*
        }
    )*};
}

activations! {
    /// max(x, 0).
    Relu, relu = "relu", "max(x, 0)" () = |x| x.relu();
    /// 1/(1 + e^−x).
    Sigmoid, sigmoid = "sigmoid", "1/(1 + e^−x)" () = |x| x.sigmoid();
    /// Hyperbolic tangent.
    Tanh, tanh = "tanh", "hyperbolic tangent" () = |x| x.tanh();
    /// Gaussian error linear unit, by the error function.
    Gelu, gelu = "gelu", "Gaussian error linear unit, by the error function" () = |x| x.gelu();
    /// Gaussian error linear unit, by its approximation with tanh.
    GeluTanh, gelu_tanh = "gelu_tanh", "Gaussian error linear unit, approximated with tanh" () = |x| x.gelu_tanh();
    /// x·sigmoid(x).
    Silu, silu = "silu", "x·sigmoid(x)" () = |x| x.silu();
    /// x where positive, `slope`·x elsewhere; PyTorch's default slope is 0.01.
    LeakyRelu, leaky_relu = "leaky_relu", "x where positive, slope·x elsewhere"
        (slope: f32 = 0.01, "factor of negative numbers") = |x| x.leaky_relu(slope);
    /// x where positive, `alpha`·(e^x − 1) elsewhere; PyTorch's default alpha is 1.
    Elu, elu = "elu", "x where positive, alpha·(e^x − 1) elsewhere"
        (alpha: f32 = 1.0, "limit at −∞, negated")
        = |x| Tensor::select(&x.gt(0.0), x, &(x.minimum(0.0).expm1() * alpha));
    /// Softmax along an axis; `-1` is the last.
    Softmax, softmax = "softmax", "softmax along an axis" (axis: isize = -1, "the axis; -1 is the last")
        = |x| x.softmax(axis);
    /// Logarithm of the softmax along an axis; `-1` is the last.
    LogSoftmax, log_softmax = "log_softmax", "logarithm of the softmax along an axis"
        (axis: isize = -1, "the axis; -1 is the last") = |x| x.log_softmax(axis);
}
