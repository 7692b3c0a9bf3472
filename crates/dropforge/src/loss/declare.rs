//! How losses are declared, and what they share.

use crate::settings::{Context, SettingType, Value};
use crate::tensor::Tensor;
use crate::tensor::node::fail;
use crate::{Error, Result};
use dropforge_ir::DType;

/// What becomes of the losses of the elements or positions of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reduction {
    /// Their mean.
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// They stay as they are, for a loss of your own.
    None,
}

impl Reduction {
    /// One loss, or all of them, from those of the elements.
    #[track_caller]
    pub fn of(self, each: &Tensor) -> Tensor {
        match self {
            Reduction::Mean => each.mean(..),
            Reduction::Sum => each.sum(..),
            Reduction::None => each.clone(),
        }
    }

    /// One loss, or all of them, from those of the elements and their weights, which broadcast. The mean is divided by
    /// the sum of the weights.
    #[track_caller]
    pub fn weighted(self, each: &Tensor, weights: &Tensor) -> Tensor {
        let weights = weights.widened().expand_as(each);
        let products = each * &weights;
        match self {
            Reduction::Mean => products.sum(..) / weights.sum(..),
            Reduction::Sum => products.sum(..),
            Reduction::None => products,
        }
    }
}

impl SettingType for Reduction {
    fn expects() -> String {
        "\"mean\", \"sum\" or \"none\"".into()
    }

    fn read(value: &Value, _: &Context<'_>) -> Result<Reduction> {
        match value.as_str() {
            Some("mean") => Ok(Reduction::Mean),
            Some("sum") => Ok(Reduction::Sum),
            Some("none") => Ok(Reduction::None),
            _ => Err(Error::setting(format!("should be {}, got {value}", Reduction::expects()))),
        }
    }

    fn write(&self) -> Result<Option<Value>> {
        let name = match self {
            Reduction::Mean => "mean",
            Reduction::Sum => "sum",
            Reduction::None => "none",
        };
        Ok(Some(Value::String(name.into())))
    }
}

/// What is wrong with shapes that are not alike.
pub(super) fn unlike(name: &str, prediction: &Tensor, target: &Tensor) -> String {
    if target.dtype() == DType::I32 && prediction.rank() == target.rank() + 1 {
        return format!(
            "the targets are class numbers, {}, which cross_entropy takes; {name} takes f32{} like the prediction",
            target.ty(),
            prediction.shape()
        );
    }
    let (prediction, target) = (prediction.shape(), target.shape());
    format!("prediction {prediction} and target {target} must have one shape; reshape one")
}

/// Floats of one shape, in f32; what would broadcast is refused, since it is nearly always a forgotten axis.
#[track_caller]
pub(super) fn alike(
    name: &str,
    prediction: &Tensor,
    target: &Tensor,
) -> std::result::Result<[Tensor; 2], Tensor> {
    if prediction.shape() != target.shape() {
        return Err(fail(name, unlike(name, prediction, target), &[prediction, target]));
    }
    Ok([prediction.floats(name)?, target.floats(name)?])
}

/// Declares losses: their types with their settings, the functions that make them with the defaults, and a method for
/// each setting that changes it. All have the setting `reduction`, and reduce what their method `each` gives.
macro_rules! losses {
    ($(
        $(#[$doc:meta])*
        $type:ident, $make:ident = $name:literal, $help:literal
            $(like $twin:literal $(but $differs:literal)?)?
        { $($field:ident: $kind:ty = $default:expr, $range:expr, $line:literal;)* }
    )*) => {$(
        #[doc = concat!("The loss made by [`", stringify!($make), "`].")]
        #[derive(Clone, Debug)]
        pub struct $type {
            $($field: $kind,)*
            reduction: $crate::loss::Reduction,
            site: &'static std::panic::Location<'static>,
        }

        $(#[$doc])*
        #[track_caller]
        pub fn $make() -> $type {
            $type {
                $($field: $default,)*
                reduction: $crate::loss::Reduction::Mean,
                site: std::panic::Location::caller(),
            }
        }

        impl $type {
            $(
                #[doc = concat!("Sets: ", $line, ". Default `", stringify!($default), "`.")]
                #[must_use]
                pub fn $field(mut self, $field: $kind) -> $type {
                    self.$field = $field;
                    self
                }
            )*

            /// Whether the losses of the elements are averaged (the default), added up or kept.
            #[must_use]
            pub fn reduction(mut self, reduction: $crate::loss::Reduction) -> $type {
                self.reduction = reduction;
                self
            }
        }

        $crate::described! {
            $type = $name, $help $(like $twin $(but $differs)?)?, { site: std::panic::Location::caller() };
            $($field: $kind, Some($default), $range, $line;)*
            reduction: $crate::loss::Reduction, Some($crate::loss::Reduction::Mean), $crate::settings::Range::ANY,
                "what becomes of the losses of the elements";
        }
    )*};
}
pub(super) use losses;

/// What a loss that [`losses`] declares says of itself.
macro_rules! told {
    () => {
        fn describe(&self) -> String {
            <Self as $crate::settings::Described>::NAME.into()
        }

        fn config(&self) -> $crate::Result<$crate::settings::Table> {
            $crate::settings::Described::write_named(self)
        }
    };
}
pub(super) use told;

/// The loss of a prediction and a target by reducing what `each` gives; behind `in` what targets it
/// needs; behind losses of yes and no, how probable a yes is for what the network gives.
macro_rules! reduced {
    ($($type:ident $(in $targets:ident)? $(: $probability:expr)?),* $(,)?) => {$(
        impl $crate::loss::Loss for $type {
            fn loss(&self, prediction: &$crate::Tensor, target: &$crate::Tensor) -> $crate::Tensor {
                self.reduction.of(&self.each(prediction, target))
            }

            $(
                fn probability(&self, output: f32) -> Option<f32> {
                    let probability: fn(f32) -> f32 = $probability;
                    Some(probability(output))
                }
            )?

            $(
                fn targets(&self) -> $crate::loss::Targets {
                    $crate::loss::Targets::$targets
                }
            )?

            $crate::loss::declare::told!();
        }
    )*};
}
pub(super) use reduced;
