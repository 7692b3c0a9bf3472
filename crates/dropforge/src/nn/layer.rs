//! What a layer is, and the smallest ones.

use super::declare::layers;
use super::scope::Scope;
use super::sequential::Sequential;
use crate::described;
use crate::settings::{Context, Described, Range, SettingType, TYPE, Table, Value};
use crate::tensor::Tensor;
use crate::{Error, Result};
use std::panic::Location;

/// A function from a tensor to a tensor that may keep parameters in a [`Scope`].
///
/// Any `Fn(&Scope, &Tensor) -> Tensor` is one. A type of your own implements `forward`; everything it keeps it declares
/// there, with sizes taken from the tensor it is given. `forward` runs once per compiled program, never per step.
#[doc(alias = "Module")]
pub trait Layer: Send + Sync {
    /// The output for an input.
    fn forward(&self, scope: &Scope, x: &Tensor) -> Tensor;

    /// What the summary calls the layer, such as `conv(6, 5)`.
    fn describe(&self) -> String {
        "function".into()
    }

    /// The name that a sequence gives the layer; its position if `None`.
    fn name(&self) -> Option<&str> {
        None
    }

    /// Name and settings of the layer as a file has them.
    ///
    /// # Errors
    /// The layer cannot be written down: functions cannot.
    fn config(&self) -> Result<Value> {
        Err(Error::setting(format!(
            "a layer made by a program ({}) cannot be written to a file",
            self.describe()
        )))
    }
}

/// The key for the name of a layer among its neighbours.
pub(crate) const NAME: &str = "name";

/// What every layer can say in a file, beside its own settings.
pub(crate) struct Naming {
    name: Option<String>,
}

described! {
    Naming = "layer", "what every layer can say beside the settings of its `type`";
    name: Option<String>, Some(None), Range::ANY, "what its parameters are called by, in place of its number among its neighbours; no dots";
}

impl<F> Layer for F
where
    F: Fn(&Scope, &Tensor) -> Tensor + Send + Sync,
{
    fn forward(&self, scope: &Scope, x: &Tensor) -> Tensor {
        self(scope, x)
    }
}

macro_rules! pointer_layer {
    ($($type:ty),*) => {$(
        impl Layer for $type {
            fn forward(&self, scope: &Scope, x: &Tensor) -> Tensor {
                (**self).forward(scope, x)
            }

            fn describe(&self) -> String {
                (**self).describe()
            }

            fn name(&self) -> Option<&str> {
                (**self).name()
            }

            fn config(&self) -> Result<Value> {
                (**self).config()
            }
        }
    )*};
}
pointer_layer!(Box<dyn Layer>, std::sync::Arc<dyn Layer>);

/// As a layer in a box.
impl SettingType for std::sync::Arc<dyn Layer> {
    fn expects() -> String {
        <Box<dyn Layer>>::expects()
    }

    fn read(value: &Value, context: &Context<'_>) -> Result<std::sync::Arc<dyn Layer>> {
        <Box<dyn Layer>>::read(value, context).map(std::sync::Arc::from)
    }

    fn kind() -> Option<&'static str> {
        Some("layer")
    }

    fn write(&self) -> Result<Option<Value>> {
        self.config().map(Some)
    }
}

/// The name of a layer, a table with `type`, settings and perhaps a `name`, or a list of layers one after another.
impl SettingType for Box<dyn Layer> {
    fn expects() -> String {
        "a layer such as \"relu\" or { type = \"dense\", units = 10 }".into()
    }

    fn read(value: &Value, context: &Context<'_>) -> Result<Box<dyn Layer>> {
        context.build("layer", value)
    }

    fn kind() -> Option<&'static str> {
        Some("layer")
    }

    fn write(&self) -> Result<Option<Value>> {
        self.config().map(Some)
    }
}

/// A layer with a name of its own in a sequence, instead of its position. See [`named`].
pub struct Named<L> {
    name: String,
    layer: L,
}

impl<L: Layer> Layer for Named<L> {
    fn forward(&self, scope: &Scope, x: &Tensor) -> Tensor {
        self.layer.forward(scope, x)
    }

    fn describe(&self) -> String {
        self.layer.describe()
    }

    fn name(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn config(&self) -> Result<Value> {
        let mut table = match self.layer.config()? {
            Value::Table(table) => table,
            // A sequence that needs room for its name.
            layers => {
                let mut table = Table::new();
                table.insert(TYPE.into(), Value::String(Sequential::NAME.into()));
                table.insert("layers".into(), layers);
                table
            }
        };
        table.insert(NAME.into(), Value::String(self.name.clone()));
        Ok(Value::Table(table))
    }
}

/// Gives a layer a name in the sequence it stands in: `seq![named("fc1", dense(120)), relu()]` has the parameters
/// `fc1.weight` and `fc1.bias`.
pub fn named<L: Layer>(name: impl Into<String>, layer: L) -> Named<L> {
    Named { name: name.into(), layer }
}

/// Merges all axes but the batch. See [`flatten`].
#[derive(Clone, Copy, Debug)]
pub struct Flatten {
    site: &'static Location<'static>,
}

/// Merges all axes but the batch: `[batch, 16, 5, 5]` becomes `[batch, 400]`.
#[doc(alias = "Flatten")]
#[track_caller]
pub fn flatten() -> Flatten {
    Flatten { site: Location::caller() }
}

impl Layer for Flatten {
    fn forward(&self, scope: &Scope, x: &Tensor) -> Tensor {
        scope.run(self, self.site, x, |_, x| x.flatten(1))
    }

    fn describe(&self) -> String {
        "flatten".into()
    }

    fn config(&self) -> Result<Value> {
        self.write_named().map(Value::Table)
    }
}

described! {
    Flatten = "flatten", "merges all axes but the batch" like "nn.Flatten", { site: Location::caller() };
}

layers! {
    /// Divides the last axis into several: `[batch, 784]` becomes `[batch, 1, 28, 28]` by `unflatten([1, 28, 28])`.
    /// PyTorch's `nn.Unflatten`.
    Unflatten, unflatten(extents: impl Into<Vec<usize>>) = "unflatten", "divides the last axis into several"
        like "nn.Unflatten" but "of the last axis" [
        extents as "extents": Vec<usize> = extents.into(), (1..).into(), "the extents that the last axis becomes";
    ] {}
}

impl Unflatten {
    #[track_caller]
    fn trace(&self, scope: &Scope, x: &Tensor) -> Tensor {
        let elements = self.extents.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent));
        let Some((_, before)) = x.shape().split_last().filter(|(last, _)| elements == Some(**last)) else {
            let message = format!("the last axis of {} does not become {:?}", x.shape(), self.extents);
            return scope.fail("unflatten", message, x);
        };
        x.reshape([before, &self.extents].concat())
    }
}
