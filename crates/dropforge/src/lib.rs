//! Train neural networks where a whole training step is one compiled program.

pub mod compile;
pub mod devices;
mod error;
pub mod init;
pub mod loss;
pub mod models;
pub mod nn;
pub mod optim;
mod tensor;
pub mod train;

pub use error::{Error, Result};
pub use tensor::{
    Axes, Conv2d, Element, Generator, IntoReshape, IntoShape, NestedData, Operand, Pool2d, Runtime, Tensor,
    gradients,
};

pub use dropforge_data as data;
pub use dropforge_ir::{Array, DType, Data, Shape, ValueType};

/// Data sets that are built in or read from the files they usually come in.
pub mod datasets {
    pub use dropforge_data::{cifar10, digits, download_mnist, mnist};
}

/// Everything that most programs need.
pub mod prelude {
    pub use crate::compile::{Network, NetworkBuilder, Step, StepBuilder, compile};
    pub use crate::datasets;
    pub use crate::init::Init;
    pub use crate::loss::{Loss, cross_entropy, mse};
    pub use crate::nn::{
        Layer, Scope, avg_pool, batch_norm, conv, dense, dropout, elu, embedding, flatten, gelu, gelu_tanh,
        global_avg_pool, layer_norm, leaky_relu, log_softmax, max_pool, named, relu, residual, sequential,
        sigmoid, silu, softmax, tanh,
    };
    pub use crate::optim::{Adam, AdamW, Optimizer, Sgd};
    pub use crate::seq;
    pub use crate::train::{Schedule, Trainer};
    pub use crate::{Array, DType, Error, Generator, Result, Runtime, Shape, Tensor, ValueType, gradients};
}
