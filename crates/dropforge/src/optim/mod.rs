//! Optimizers: how a training step changes the parameters.

mod adam;
mod clip;
mod sgd;

pub use adam::{Adam, AdamW};
pub use sgd::Sgd;

pub(crate) use clip::clip_by_global_norm;

use crate::error::{Error, Result};
use crate::nn::Scope;
use crate::tensor::Tensor;

/// A parameter in an update.
pub struct Parameter {
    /// Its full name, such as `fc1.weight`.
    pub name: String,
    /// Its value before the step.
    pub value: Tensor,
    /// The gradient of the loss.
    pub gradient: Tensor,
}

/// How a training step changes the parameters.
///
/// `update` is traced once per compiled step. Everything that may change between steps is a runtime scalar:
/// [`Scope::hyperparameter`] declares one in `update`, [`Optimizer::hyperparameters`] says its value before each step.
pub trait Optimizer: Send + Sync {
    /// The runtime scalars that `update` reads, by name, as they are now. Some are prepared here in f64 from what the
    /// user set, so that no precision is lost in the step.
    fn hyperparameters(&self) -> Vec<(&'static str, f64)>;

    /// Declares states with [`Scope::state_of`] (named after the optimizer: `adam.m.fc1.weight`) and writes them and the
    /// parameters with [`Scope::write_state`].
    fn update(&self, scope: &Scope, parameters: &[Parameter]);

    /// The settings that can change while training, by the names that [`Optimizer::set`] knows: `lr` first.
    fn settings(&self) -> Vec<(&'static str, f64)>;

    /// Changes a setting from the next step on.
    ///
    /// # Errors
    /// If there is no such setting, or the change would need another program.
    fn set(&mut self, setting: &str, value: f64) -> Result<()>;

    /// What listings and configurations call it.
    fn describe(&self) -> String;
}

/// An optimizer of any type is one too.
impl Optimizer for Box<dyn Optimizer> {
    fn hyperparameters(&self) -> Vec<(&'static str, f64)> {
        (**self).hyperparameters()
    }

    fn update(&self, scope: &Scope, parameters: &[Parameter]) {
        (**self).update(scope, parameters);
    }

    fn settings(&self) -> Vec<(&'static str, f64)> {
        (**self).settings()
    }

    fn set(&mut self, setting: &str, value: f64) -> Result<()> {
        (**self).set(setting, value)
    }

    fn describe(&self) -> String {
        (**self).describe()
    }
}

/// The error for a setting that an optimizer does not have.
fn unknown_setting(optimizer: &dyn Optimizer, setting: &str) -> Error {
    let known: Vec<&str> = optimizer.settings().iter().map(|(name, _)| *name).collect();
    Error::new(format!("{} has no setting {setting:?}; it has {}", optimizer.describe(), known.join(", ")))
}
