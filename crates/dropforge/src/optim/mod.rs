//! Optimizers: how a training step changes the parameters.

mod accumulate;
mod adafactor;
mod adagrad;
mod adam;
pub(crate) mod clip;
mod declare;
mod groups;
mod lbfgs;
mod lion;
mod loss_scale;
mod moments;
mod muon;
mod rmsprop;
mod sgd;
mod wolfe;
mod wrappers;

pub use adafactor::Adafactor;
pub use adagrad::{AdaDelta, AdaGrad};
pub use adam::{Adam, AdamW};
pub use groups::{Group, group};
pub use lbfgs::Lbfgs;
pub use lion::Lion;
pub use moments::{Adamax, Lamb, NAdam, RAdam};
pub use muon::Muon;
pub use rmsprop::RmsProp;
pub use sgd::Sgd;
pub use wrappers::{Averaged, GradientNoise, Lookahead};

pub(crate) use groups::Updates;
pub(crate) use loss_scale::{SCALE, SkippedSteps};
pub(crate) use wrappers::{
    averages, averages_within, no_averages, searches_within, with_mean_from, with_running_mean,
};

use crate::error::{Error, ErrorKind, Result};
use crate::nn::Scope;
use crate::settings::{Context, Described, Table, Value};
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
///
/// An optimizer is cloned for each group of parameters that has settings of its own, so a type of yours is [`Clone`].
pub trait Optimizer: Duplicate + Send + Sync {
    /// The runtime scalars that `update` reads, by name, as they are now. Some are prepared here in f64 from what the
    /// user set, so that no precision is lost in the step.
    fn hyperparameters(&self) -> Vec<(&'static str, f64)>;

    /// Appends [`Optimizer::hyperparameters`] to a list: what a step asks for, so that one that has a list already need
    /// not take memory for another.
    fn read_hyperparameters(&self, values: &mut Vec<(&'static str, f64)>) {
        values.extend(self.hyperparameters());
    }

    /// Declares states with [`Scope::state_of`] (named after the optimizer: `adam.m.fc1.weight`) and writes them and
    /// the parameters with [`Scope::write_state`].
    fn update(&self, scope: &Scope, parameters: &[Parameter]);

    /// Whether `update` looks at [`Scope::loss`]. Such an optimizer compares the losses of its steps, so it is given all trained
    /// parameters at once, and their whole gradients: other groups than frozen ones, accumulation and clipping are refused.
    fn needs_loss(&self) -> bool {
        false
    }

    /// What listings call it.
    fn describe(&self) -> String;

    /// The settings as they are now, by the names that [`Optimizer::set`] knows; the learning rate is `lr`.
    fn settings(&self) -> Table {
        Table::new()
    }

    /// Changes the learning rate from the next step on; called before every step, so it should cost nothing.
    ///
    /// # Errors
    /// There is none, or it cannot be that.
    fn set_learning_rate(&mut self, lr: f64) -> Result<()> {
        self.set("lr", Value::Float(lr))
    }

    /// Changes a setting from the next step on.
    ///
    /// # Errors
    /// There is no such setting, its value cannot be that, or the change would need another program.
    fn set(&mut self, setting: &str, value: Value) -> Result<()> {
        let _ = value;
        Err(Error::of(ErrorKind::Setting, format!("{} has no setting `{setting}`", self.describe())))
    }

    /// Name and settings as a file has them.
    ///
    /// # Errors
    /// The optimizer cannot be written down.
    fn config(&self) -> Result<Table> {
        Err(Error::setting(format!(
            "an optimizer of a program's own ({}) cannot be written to a file",
            self.describe()
        )))
    }
}

/// The parts of [`Optimizer`] that follow from the declaration of its settings.
macro_rules! declared {
    () => {
        fn describe(&self) -> String {
            <Self as crate::settings::Described>::NAME.into()
        }

        fn settings(&self) -> crate::settings::Table {
            crate::settings::Described::write(self).unwrap_or_default()
        }

        fn set_learning_rate(&mut self, lr: f64) -> crate::Result<()> {
            if !(lr.is_finite() && lr >= 0.0) {
                let name = self.describe();
                return Err(crate::Error::of(
                    crate::ErrorKind::Setting,
                    format!("{name}: the learning rate is {lr}, it must be 0 or more"),
                ));
            }
            self.lr = lr;
            Ok(())
        }

        fn set(&mut self, setting: &str, value: crate::settings::Value) -> crate::Result<()> {
            super::set_declared(self, setting, value)
        }

        fn config(&self) -> crate::Result<crate::settings::Table> {
            crate::settings::Described::write_named(self)
        }
    };
}
use declared;

/// Changes one declared setting, if the program for it stays the same: it reads the same runtime scalars, and no switch
/// differs.
fn set_declared<O: Optimizer + Described>(optimizer: &mut O, setting: &str, value: Value) -> Result<()> {
    let changed = optimizer.with(setting, value, &Context::NONE)?;
    let names = |optimizer: &O| -> Vec<&'static str> {
        optimizer.hyperparameters().into_iter().map(|(name, _)| name).collect()
    };
    let switches = |optimizer: &O| -> Vec<(String, Value)> {
        optimizer.settings().into_iter().filter(|(_, value)| value.is_bool()).collect()
    };
    if names(&changed) != names(optimizer) || switches(&changed) != switches(optimizer) {
        let message = format!(
            "{}: `{setting}` cannot change like this while training, since it would need another program; set it at the \
             start",
            O::NAME
        );
        return Err(Error::of(ErrorKind::Setting, message));
    }
    *optimizer = changed;
    Ok(())
}

/// What every [`Optimizer`] that is [`Clone`] can do without more words.
pub trait Duplicate {
    /// Another one with the same settings.
    fn duplicate(&self) -> Box<dyn Optimizer>;
}

impl<T: Optimizer + Clone + 'static> Duplicate for T {
    fn duplicate(&self) -> Box<dyn Optimizer> {
        Box::new(self.clone())
    }
}

impl Clone for Box<dyn Optimizer> {
    fn clone(&self) -> Box<dyn Optimizer> {
        (**self).duplicate()
    }
}

/// An optimizer of any type is one too.
impl Optimizer for Box<dyn Optimizer> {
    fn hyperparameters(&self) -> Vec<(&'static str, f64)> {
        (**self).hyperparameters()
    }

    fn read_hyperparameters(&self, values: &mut Vec<(&'static str, f64)>) {
        (**self).read_hyperparameters(values);
    }

    fn update(&self, scope: &Scope, parameters: &[Parameter]) {
        (**self).update(scope, parameters);
    }

    fn needs_loss(&self) -> bool {
        (**self).needs_loss()
    }

    fn describe(&self) -> String {
        (**self).describe()
    }

    fn settings(&self) -> Table {
        (**self).settings()
    }

    fn set_learning_rate(&mut self, lr: f64) -> Result<()> {
        (**self).set_learning_rate(lr)
    }

    fn set(&mut self, setting: &str, value: Value) -> Result<()> {
        (**self).set(setting, value)
    }

    fn config(&self) -> Result<Table> {
        (**self).config()
    }
}
