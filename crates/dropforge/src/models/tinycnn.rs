//! A very small convolutional network.

use super::{Model, Recipe};
use crate::nn::{Layer, conv, dense, global_avg_pool, relu};
use crate::settings::{Described, Table};
use crate::{Result, described, seq};

/// One convolution of 8 channels, the mean over the image, one dense layer: so small that a step measures overhead.
///
/// Takes images. Parameters: `c` and `f`, each with `weight` and `bias`.
pub fn tinycnn(classes: usize) -> impl Layer {
    seq!["c" => conv(8, 3).same(), relu(), global_avg_pool(), "f" => dense(classes)]
}

/// The model `tinycnn`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TinyCnn {}

described! {
    TinyCnn = "tinycnn", "one convolution, the mean over the image, one dense layer";
}

impl Model for TinyCnn {
    fn layers(&self, outputs: usize) -> Box<dyn Layer> {
        Box::new(tinycnn(outputs))
    }

    fn usual_input(&self) -> Vec<usize> {
        vec![3, 32, 32]
    }

    fn recipe(&self) -> Recipe {
        Recipe::adam(2e-3)
    }

    fn config(&self) -> Result<Table> {
        self.write_named()
    }
}
