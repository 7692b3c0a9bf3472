//! How optimizers are declared, and what their updates share.

use super::Parameter;
use crate::init::Init;
use crate::nn::{Scope, StateKind};
use crate::tensor::Tensor;
use dropforge_ir::{DType, ValueType};

/// Declares an optimizer: its type with the learning rate and its other settings, `new` with their defaults, and a
/// method for each that changes it.
macro_rules! optimizer {
    (
        $(#[$doc:meta])*
        $type:ident = $name:literal, $help:literal
            $(like $twin:literal $(but $differs:literal)?)?, lr: $lr:literal;
        $($field:ident: $kind:ty = $default:expr, $range:expr, $line:literal;)*
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $type {
            lr: f64,
            $($field: $kind,)*
        }

        impl $type {
            #[doc = concat!("With this learning rate, PyTorch's default is ", stringify!($lr), ", and the defaults of the others.")]
            pub fn new(lr: f64) -> $type {
                $type { lr, $($field: $default,)* }
            }

            $(
                #[doc = concat!("Sets: ", $line, ". Default `", stringify!($default), "`.")]
                #[must_use]
                pub fn $field(mut self, $field: $kind) -> $type {
                    self.$field = $field;
                    self
                }
            )*
        }

        $crate::described! {
            $type = $name, $help $(like $twin $(but $differs)?)?;
            lr: f64, Some($lr), (0.0..).into(), "learning rate";
            $($field: $kind, Some($default), $range, $line;)*
        }
    };
}
pub(super) use optimizer;

/// The trace of an update: its runtime scalars, and its states by the optimizer's name.
pub(super) struct Update<'a> {
    pub scope: &'a Scope,
    pub name: &'static str,
    pub values: Vec<(&'static str, f64)>,
}

impl Update<'_> {
    /// A runtime scalar that the optimizer has told of.
    pub fn hyper(&self, name: &str) -> Tensor {
        let value = self.values.iter().find(|(known, _)| *known == name).map_or(0.0, |(_, value)| *value);
        self.scope.hyperparameter(name, value)
    }

    /// A state for each element of a parameter, which starts with one number everywhere.
    pub fn slot(&self, kind: &str, parameter: &Parameter, start: f32) -> Tensor {
        self.state(&format!("{kind}.{}", parameter.name), parameter.value.ty().clone(), start)
    }

    /// A state of any type, which starts with one number everywhere.
    pub fn state(&self, name: &str, ty: ValueType, start: f32) -> Tensor {
        let name = format!("{}.{name}", self.name);
        self.scope.state_of(&name, StateKind::Optimizer, ty, Init::constant(start))
    }

    /// Number of this step, from 1, as f32: the state `step`.
    pub fn count(&self) -> Tensor {
        let step = self.state("step", ValueType::scalar(DType::U32), 0.0);
        let next = &step + 1;
        self.scope.write_state(&step, &next);
        next.cast(DType::F32)
    }

    /// 1 − β^t without cancellation, from the runtime scalar of ln β: −expm1(t·ln β).
    pub fn correction(&self, count: &Tensor, log_beta: &str) -> Tensor {
        -(count * self.hyper(log_beta)).expm1()
    }

    /// Writes a state, and gives what it was written with.
    pub fn write(&self, state: &Tensor, value: Tensor) -> Tensor {
        self.scope.write_state(state, &value);
        value
    }

    /// The state drawn towards a value: state + share·(value − state).
    pub fn draw(&self, state: &Tensor, value: &Tensor, share: &str) -> Tensor {
        let drawn = state + (value - state) * self.hyper(share);
        self.write(state, drawn)
    }

    /// The state of mean squares, a step further: kept·state + share·value².
    pub fn mean_square(&self, state: &Tensor, value: &Tensor, kept: &str, share: &str) -> Tensor {
        let mean = state * self.hyper(kept) + value * value * self.hyper(share);
        self.write(state, mean)
    }
}
