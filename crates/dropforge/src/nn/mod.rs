//! Networks: layers, the scope that names what they keep, and how they are put together.

mod activation;
mod convolution;
mod dense;
mod dropout;
mod embedding;
mod layer;
mod norm;
mod pool;
mod repeat;
mod residual;
mod scope;
mod sequential;
pub(crate) mod trace;

pub use activation::{
    Activation, Elu, Gelu, GeluTanh, LeakyRelu, LogSoftmax, Relu, Sigmoid, Silu, Softmax, Tanh, activation,
    elu, gelu, gelu_tanh, leaky_relu, log_softmax, relu, sigmoid, silu, softmax, tanh,
};
pub use convolution::{Conv, IntoSize, Padding, conv};
pub use dense::{Dense, dense};
pub use dropout::{Dropout, dropout};
pub use embedding::{Embedding, embedding};
pub(crate) use layer::NAME;
pub use layer::{Flatten, Layer, Named, flatten, named};
pub use norm::{BatchNorm, LayerNorm, batch_norm, layer_norm};
pub use pool::{AvgPool, GlobalAvgPool, MaxPool, avg_pool, global_avg_pool, max_pool};
pub use repeat::{Repeat, repeat};
pub use residual::{Residual, residual};
pub use scope::Scope;
pub(crate) use scope::{SEED, STEP};
pub use sequential::{Sequential, sequential};
pub use trace::{Mode, StateKind};
