//! Networks: layers, the scope that names what they keep, and how they are put together.

mod activation;
mod convolution;
mod dense;
mod drop;
mod dropout;
mod embedding;
mod group_norm;
mod layer;
mod norm;
mod pool;
mod prelu;
mod recurrent;
mod repeat;
mod residual;
mod resize;
mod scope;
mod sequential;
pub(crate) mod trace;

pub use activation::{
    Activation, Celu, Elu, Gelu, GeluTanh, Glu, HardShrink, HardSigmoid, HardSwish, HardTanh, LeakyRelu,
    LogSigmoid, LogSoftmax, Mish, Relu, Relu6, Selu, Sigmoid, Silu, SoftShrink, Softmax, Softplus, Softsign,
    Swiglu, Tanh, TanhShrink, Threshold, activation, celu, elu, gelu, gelu_tanh, glu, hard_shrink,
    hard_sigmoid, hard_swish, hard_tanh, leaky_relu, log_sigmoid, log_softmax, mish, relu, relu6, selu,
    sigmoid, silu, soft_shrink, softmax, softplus, softsign, swiglu, tanh, tanh_shrink, threshold,
};
pub use convolution::{Conv, IntoSize, Padding, conv};
pub use dense::{Dense, dense};
pub use drop::{AlphaDropout, DropPath, SpatialDropout, alpha_dropout, drop_path, spatial_dropout};
pub use dropout::{Dropout, dropout};
pub use embedding::{Embedding, embedding};
pub use group_norm::{GroupNorm, InstanceNorm, RmsNorm, group_norm, instance_norm, rms_norm};
pub(crate) use layer::NAME;
pub use layer::{Flatten, Layer, Named, flatten, named};
pub use norm::{BatchNorm, LayerNorm, batch_norm, layer_norm};
pub use pool::{AvgPool, GlobalAvgPool, MaxPool, avg_pool, global_avg_pool, max_pool};
pub use prelu::{PRelu, prelu};
pub use recurrent::{Gru, Lstm, Rnn, Sequences, Start, gru, lstm, rnn};
pub use repeat::{Repeat, repeat};
pub use residual::{Residual, residual};
pub use resize::{
    PixelShuffle, PixelUnshuffle, UpsampleBilinear, UpsampleNearest, pixel_shuffle, pixel_unshuffle,
    upsample_bilinear, upsample_nearest,
};
pub use scope::Scope;
pub(crate) use scope::{SEED, STEP};
pub use sequential::{Sequential, sequential};
pub use trace::{Mode, StateKind};
