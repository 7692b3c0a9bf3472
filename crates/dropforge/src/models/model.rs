//! What a model is that has a name.

use crate::nn::Layer;
use crate::settings::{TYPE, Table, Value};
use crate::{Error, Result};

/// A network by name, with settings of its own.
pub trait Model: Send + Sync {
    /// The layers. The last has `outputs` outputs, unless the settings say otherwise.
    fn layers(&self, outputs: usize) -> Box<dyn Layer>;

    /// The shape of a sample that the model is usually used with.
    fn usual_input(&self) -> Vec<usize>;

    /// Whether a sample is token numbers, i32, rather than floats.
    fn takes_tokens(&self) -> bool {
        false
    }

    /// How the model is trained unless told otherwise.
    fn recipe(&self) -> Recipe;

    /// The loss that belongs to the model, if it is not one of what it gives and the targets.
    fn usual_loss(&self) -> Option<&'static str> {
        None
    }

    /// Name and settings as a file has them.
    ///
    /// # Errors
    /// The model cannot be written down.
    fn config(&self) -> Result<Table> {
        Err(Error::setting("a model made by a program cannot be written to a file"))
    }
}

/// How a model is trained unless told otherwise.
///
/// On MNIST, five epochs of the usual one take LeNet to 99.2 to 99.3 % and the MLP to 98.6 % of the test images
/// (PyTorch, three seeds each).
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Optimizers with settings that suit the model, the usual one first.
    pub optimizers: Vec<Table>,
    /// The schedule with its settings.
    pub schedule: Table,
    /// Samples per step.
    pub batch: usize,
    /// Epochs.
    pub epochs: u64,
}

impl Recipe {
    /// Adam with this learning rate, a short warm-up and a cosine; five epochs in batches of 128.
    pub fn adam(lr: f64) -> Recipe {
        Recipe::by("adam", lr)
    }

    /// As [`Recipe::adam`], with another optimizer.
    pub fn by(optimizer: &str, lr: f64) -> Recipe {
        Recipe {
            optimizers: vec![
                table([(TYPE, optimizer.into()), ("lr", lr.into())]),
                table([(TYPE, "sgd".into()), ("lr", 0.05.into()), ("momentum", 0.9.into())]),
            ],
            schedule: table([(TYPE, "cosine".into()), ("warmup", 0.2.into())]),
            batch: 128,
            epochs: 5,
        }
    }
}

fn table<const N: usize>(entries: [(&str, Value); N]) -> Table {
    entries.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
}
