//! Networks: layers, the scope that names what they keep, and how they are put together.

mod activation;
mod attention;
mod bilinear;
mod combine;
mod convolution;
mod declare;
mod dense;
mod drop;
mod dropout;
mod embedding;
mod group_norm;
mod layer;
mod norm;
mod pad;
mod pool;
mod positions;
mod prelu;
mod recurrent;
mod reparametrised;
mod repeat;
mod residual;
mod resize;
mod scope;
mod sequential;
mod tied;
pub(crate) mod trace;
mod transformer;
mod transposed;

pub use activation::{
    Activation, Celu, Elu, Gelu, GeluTanh, Glu, HardShrink, HardSigmoid, HardSwish, HardTanh, LeakyRelu,
    LogSigmoid, LogSoftmax, Mish, Relu, Relu6, Selu, Sigmoid, Silu, SoftShrink, Softmax, Softplus, Softsign,
    Swiglu, Tanh, TanhShrink, Threshold, activation, celu, elu, gelu, gelu_tanh, glu, hard_shrink,
    hard_sigmoid, hard_swish, hard_tanh, leaky_relu, log_sigmoid, log_softmax, mish, relu, relu6, selu,
    sigmoid, silu, soft_shrink, softmax, softplus, softsign, swiglu, tanh, tanh_shrink, threshold,
};
pub use attention::{MultiHeadAttention, multi_head_attention};
pub use bilinear::{Bilinear, bilinear};
pub use combine::{Concat, Parallel, concat, parallel};
pub use convolution::{
    Conv, Conv1d, Conv3d, Convolution, IntoSize, Padding, PaddingMode, conv, conv1d, conv3d,
};
pub use dense::{Dense, dense};
pub use drop::{AlphaDropout, DropPath, SpatialDropout, alpha_dropout, drop_path, spatial_dropout};
pub use dropout::{Dropout, dropout};
pub use embedding::{Embedding, embedding};
pub use group_norm::{GroupNorm, InstanceNorm, RmsNorm, group_norm, instance_norm, rms_norm};
pub use layer::{Flatten, Layer, Named, Unflatten, flatten, named, unflatten};
pub(crate) use layer::{NAME, Naming};
pub use norm::{BatchNorm, LayerNorm, batch_norm, layer_norm};
pub use pad::{Pad, pad};
pub use pool::{
    AdaptiveAvgPool, AdaptiveMaxPool, AvgPool, AvgPool1d, AvgPool3d, AvgPooling, GlobalAvgPool,
    GlobalMaxPool, LpPool, MaxPool, MaxPool1d, MaxPool3d, MaxPooling, adaptive_avg_pool, adaptive_max_pool,
    avg_pool, avg_pool1d, avg_pool3d, global_avg_pool, global_max_pool, lp_pool, max_pool, max_pool1d,
    max_pool3d,
};
pub use positions::{
    LearnedPositions, Positions, RotaryPositions, SinusoidalPositions, learned_positions, rotary_positions,
    sinusoidal_positions,
};
pub use prelu::{PRelu, prelu};
pub use recurrent::{Gru, Lstm, Rnn, Sequences, Start, gru, lstm, rnn};
pub use reparametrised::{SpectralNorm, WeightNorm, spectral_norm, weight_norm};
pub use repeat::{Repeat, repeat};
pub use residual::{Residual, residual};
pub use resize::{
    PixelShuffle, PixelUnshuffle, UpsampleBilinear, UpsampleNearest, pixel_shuffle, pixel_unshuffle,
    upsample_bilinear, upsample_nearest,
};
pub use scope::Scope;
pub(crate) use scope::{SEED, STEP};
pub use sequential::{Sequential, sequential};
pub use tied::{Tied, tied};
pub(crate) use trace::Held;
pub use trace::{Mode, StateKind};
pub use transformer::{TransformerDecoder, TransformerEncoder, transformer_decoder, transformer_encoder};
pub use transposed::{
    ConvTranspose, ConvTranspose1d, TransposedConvolution, conv_transpose, conv_transpose1d,
};
