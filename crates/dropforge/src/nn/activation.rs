//! Layers that apply a function without parameters.

use super::layer::Layer;
use super::scope::Scope;
use crate::tensor::Tensor;
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

macro_rules! activations {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) = $function:expr),* $(,)?) => {$(
        $(#[$doc])*
        #[track_caller]
        pub fn $name($($arg: $type),*) -> Activation<impl Fn(&Tensor) -> Tensor + Send + Sync + Clone> {
            activation(stringify!($name), $function)
        }
    )*};
}

activations! {
    /// max(x, 0).
    relu() = Tensor::relu,
    /// 1/(1 + e^−x).
    sigmoid() = Tensor::sigmoid,
    /// Hyperbolic tangent.
    tanh() = Tensor::tanh,
    /// Gaussian error linear unit, by the error function.
    gelu() = Tensor::gelu,
    /// Gaussian error linear unit, by its approximation with tanh.
    gelu_tanh() = Tensor::gelu_tanh,
    /// x·sigmoid(x).
    silu() = Tensor::silu,
    /// x where positive, `slope`·x elsewhere; PyTorch's default slope is 0.01.
    leaky_relu(slope: f32) = move |x: &Tensor| x.leaky_relu(slope),
    /// x where positive, `alpha`·(e^x − 1) elsewhere; PyTorch's default alpha is 1.
    elu(alpha: f32) = move |x: &Tensor| Tensor::select(&x.gt(0.0), x, &(x.minimum(0.0).expm1() * alpha)),
    /// Softmax along an axis; `-1` is the last.
    softmax(axis: isize) = move |x: &Tensor| x.softmax(axis),
    /// Logarithm of the softmax along an axis; `-1` is the last.
    log_softmax(axis: isize) = move |x: &Tensor| x.log_softmax(axis),
}
