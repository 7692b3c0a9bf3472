//! LeNet-5.

use super::{Model, Recipe};
use crate::nn::{Layer, Sequential, conv, dense, flatten, max_pool, relu};
use crate::settings::{Described, Table};
use crate::{Result, described, seq};

/// LeNet-5 (LeCun et al.: Gradient-based learning applied to document recognition, 1998) with ReLU and max pooling, as
/// it is used today: 61,706 parameters on MNIST.
///
/// Takes images `[batch, channels, height, width]` of at least 12×12 pixels. Parameters: `0` and `3` (convolutions),
/// `7`, `9` and `11` (dense), each with `weight` and `bias`.
pub fn lenet(classes: usize) -> Sequential {
    seq![
        conv(6, 5).same(),
        relu(),
        max_pool(2),
        conv(16, 5),
        relu(),
        max_pool(2),
        flatten(),
        dense(120),
        relu(),
        dense(84),
        relu(),
        dense(classes)
    ]
}

/// The model `lenet`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LeNet {}

described! {
    LeNet = "lenet", "LeNet-5 with ReLU and max pooling, for small grey images"
        like "LeCun et al., 1998" but "ReLU and the largest of each window";
}

impl Model for LeNet {
    fn layers(&self, outputs: usize) -> Box<dyn Layer> {
        Box::new(lenet(outputs))
    }

    fn usual_input(&self) -> Vec<usize> {
        vec![1, 28, 28]
    }

    fn recipe(&self) -> Recipe {
        Recipe::adam(3e-3)
    }

    fn config(&self) -> Result<Table> {
        self.write_named()
    }
}
