//! Layers one after another.

use super::layer::Layer;
use super::scope::Scope;
use crate::settings::{Range, SettingType, Value};
use crate::tensor::Tensor;
use crate::{Result, described};

/// Layers one after another, called by their positions from 0 as in PyTorch's `nn.Sequential`, unless they have a name.
///
/// Made by [`seq!`](crate::seq) or layer by layer with [`Sequential::push`].
#[derive(Default)]
pub struct Sequential {
    layers: Vec<Box<dyn Layer>>,
}

/// A sequence without layers.
///
/// ```
/// use dropforge::prelude::*;
///
/// let mut net = sequential();
/// for width in [32, 16] {
///     net = net.push(dense(width)).push(relu());
/// }
/// let net = Network::compile(net, [4])?;
/// assert_eq!(net.output().map(|ty| ty.shape.to_vec()), Some(vec![1, 16]));
/// # Ok::<(), dropforge::Error>(())
/// ```
#[doc(alias = "Sequential")]
pub fn sequential() -> Sequential {
    Sequential::default()
}

impl Sequential {
    /// Appends a layer.
    #[must_use]
    pub fn push(mut self, layer: impl Layer + 'static) -> Sequential {
        self.layers.push(Box::new(layer));
        self
    }

    /// Appends a layer under a name of its own.
    #[must_use]
    pub fn push_named(self, name: impl Into<String>, layer: impl Layer + 'static) -> Sequential {
        self.push(super::layer::named(name, layer))
    }

    /// Number of layers.
    pub fn len(&self) -> usize {
        self.layers.len()
    }

    /// Whether there are no layers.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }
}

impl Layer for Sequential {
    fn forward(&self, scope: &Scope, x: &Tensor) -> Tensor {
        let mut x = x.clone();
        for (position, layer) in self.layers.iter().enumerate() {
            // What follows a failed layer has nothing to say.
            if x.node.error().is_some() {
                break;
            }
            let position = position.to_string();
            x = scope.layer(layer.name().unwrap_or(&position), layer, &x);
        }
        x
    }

    fn describe(&self) -> String {
        "sequence".into()
    }

    fn config(&self) -> Result<Value> {
        self.layers.write().map(|layers| layers.unwrap_or_else(|| Value::Array(Vec::new())))
    }
}

described! {
    Sequential = "sequence", "layers one after another" like "nn.Sequential";
    layers: Vec<Box<dyn Layer>>, Some(Vec::new()), Range::ANY, "the layers, in order";
}

/// Layers one after another: `seq![dense(120), relu(), dense(10)]`.
///
/// They are called by their positions from 0; `seq!["fc1" => dense(120), relu()]` names some.
#[macro_export]
macro_rules! seq {
    (@push $sequence:expr; ) => { $sequence };
    (@push $sequence:expr; $name:literal => $layer:expr $(, $($rest:tt)*)?) => {
        $crate::seq!(@push $sequence.push_named($name, $layer); $($($rest)*)?)
    };
    (@push $sequence:expr; $layer:expr $(, $($rest:tt)*)?) => {
        $crate::seq!(@push $sequence.push($layer); $($($rest)*)?)
    };
    ($($layers:tt)*) => { $crate::seq!(@push $crate::nn::sequential(); $($layers)*) };
}
