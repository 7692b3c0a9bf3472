//! Multilayer perceptrons.

use super::{Model, Recipe};
use crate::nn::{Layer, Sequential, dense, flatten, relu};
use crate::settings::{Described, Table};
use crate::{Result, described, seq};

/// A multilayer perceptron with hidden layers of 512 and 256 units: 784-512-256-10 on MNIST, 535,818 parameters.
///
/// Takes any shape of sample. Parameters: `1`, `3` and `5`, each with `weight` and `bias`.
pub fn mlp(classes: usize) -> Sequential {
    perceptron(&[512, 256], classes)
}

fn perceptron(hidden: &[usize], outputs: usize) -> Sequential {
    let hidden = hidden.iter().fold(seq![flatten()], |net, &units| net.push(dense(units)).push(relu()));
    hidden.push(dense(outputs))
}

/// The model `mlp`: hidden layers of any widths, each followed by a ReLU.
#[derive(Clone, Debug, PartialEq)]
pub struct Mlp {
    hidden: Vec<usize>,
}

described! {
    Mlp = "mlp", "a multilayer perceptron for inputs of any shape";
    hidden: Vec<usize>, Some(vec![512, 256]), (1..).into(), "units of each hidden layer";
}

impl Model for Mlp {
    fn layers(&self, outputs: usize) -> Box<dyn Layer> {
        Box::new(perceptron(&self.hidden, outputs))
    }

    fn usual_input(&self) -> Vec<usize> {
        vec![1, 28, 28]
    }

    fn recipe(&self) -> Recipe {
        Recipe::adam(2e-3)
    }

    fn config(&self) -> Result<Table> {
        self.write_named()
    }
}
