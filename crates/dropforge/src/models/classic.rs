//! Small feed-forward and convolutional networks.

use crate::nn::{Layer, Sequential, conv, dense, flatten, global_avg_pool, max_pool, relu};
use crate::seq;

/// A multilayer perceptron with hidden layers of 512 and 256 units: 784-512-256-10 on MNIST, 535,818 parameters.
///
/// Takes any shape of sample. Parameters: `1`, `3` and `5`, each with `weight` and `bias`.
pub fn mlp(classes: usize) -> Sequential {
    seq![flatten(), dense(512), relu(), dense(256), relu(), dense(classes)]
}

/// LeNet-5 (LeCun et al.: Gradient-based learning applied to document recognition, 1998) with ReLU and max pooling, as
/// it is used today: 61,706 parameters on MNIST.
///
/// Takes images `[batch, channels, height, width]` of at least 12×12 pixels. Parameters: `0` and `3` (convolutions), `7`,
/// `9` and `11` (dense), each with `weight` and `bias`.
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

/// One convolution of 8 channels, the mean over the image, one dense layer: so small that a step measures overhead.
///
/// Takes images. Parameters: `c` and `f`, each with `weight` and `bias`.
pub fn tinycnn(classes: usize) -> impl Layer {
    seq!["c" => conv(8, 3).same(), relu(), global_avg_pool(), "f" => dense(classes)]
}

/// Three convolutions without pooling and a wide dense layer: 33.6 million parameters on 3×64×64 images, most of them in
/// one matrix.
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
