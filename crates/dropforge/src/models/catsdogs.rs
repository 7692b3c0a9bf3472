//! A convolutional network with most of its weights in one matrix.

use super::{Model, Recipe};
use crate::nn::{Layer, conv, dense, flatten, relu};
use crate::settings::{Described, Table};
use crate::{Result, described, seq};

/// Three convolutions without pooling and a wide dense layer: 33.6 million parameters on 3×64×64 images, most of them
/// in one matrix.
///
/// Takes images. Parameters: `0`, `2`, `4` (convolutions), `7` and `9` (dense), each with `weight` and `bias`.
pub fn catsdogs(classes: usize) -> impl Layer {
    seq![
        conv(16, 3).same(),
        relu(),
        conv(32, 3).same(),
        relu(),
        conv(64, 3).same(),
        relu(),
        flatten(),
        dense(128),
        relu(),
        dense(classes)
    ]
}

/// The model `catsdogs`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CatsDogs {}

described! {
    CatsDogs = "catsdogs", "three convolutions without pooling and a wide dense layer";
}

impl Model for CatsDogs {
    fn layers(&self, outputs: usize) -> Box<dyn Layer> {
        Box::new(catsdogs(outputs))
    }

    fn usual_input(&self) -> Vec<usize> {
        vec![3, 64, 64]
    }

    fn recipe(&self) -> Recipe {
        Recipe::adam(1e-3)
    }

    fn config(&self) -> Result<Table> {
        self.write_named()
    }
}
