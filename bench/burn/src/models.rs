//! The networks of `dropforge bench`, written with burn's layers.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{
    BatchNorm, BatchNormConfig, Embedding, EmbeddingConfig, Initializer, LayerNorm, LayerNormConfig, Linear,
    LinearConfig, PaddingConfig2d,
};
use burn::tensor::activation::{gelu_approximate, relu, softmax};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

pub trait Network: Module {
    /// The scores of each sample (or token) in rows; the inputs are uploaded first.
    fn scores(&self, inputs: TensorData, device: &Device) -> Tensor<2>;
}

fn convolution(channels: [usize; 2], kernel: usize, padding: usize) -> Conv2dConfig {
    let padding = PaddingConfig2d::Explicit(padding, padding, padding, padding);
    Conv2dConfig::new(channels, [kernel, kernel]).with_padding(padding)
}

fn linear(inputs: usize, outputs: usize, device: &Device) -> Linear {
    LinearConfig::new(inputs, outputs).init(device)
}

/// The mean of each channel.
fn pooled(images: Tensor<4>) -> Tensor<2> {
    images.flatten::<3>(2, 3).mean_dim(2).flatten(1, 2)
}

#[derive(Module, Debug)]
pub struct TinyCnn {
    convolution: Conv2d,
    head: Linear,
}

impl TinyCnn {
    pub fn new(classes: usize, device: &Device) -> Self {
        Self { convolution: convolution([3, 8], 3, 1).init(device), head: linear(8, classes, device) }
    }
}

impl Network for TinyCnn {
    fn scores(&self, inputs: TensorData, device: &Device) -> Tensor<2> {
        let images = Tensor::from_data(inputs, device);
        self.head.forward(pooled(relu(self.convolution.forward(images))))
    }
}

#[derive(Module, Debug)]
pub struct Mlp {
    layers: Vec<Linear>,
}

impl Mlp {
    pub fn new(classes: usize, device: &Device) -> Self {
        Self {
            layers: vec![linear(784, 512, device), linear(512, 256, device), linear(256, classes, device)],
        }
    }
}

impl Network for Mlp {
    fn scores(&self, inputs: TensorData, device: &Device) -> Tensor<2> {
        dense(&self.layers, Tensor::from_data(inputs, device))
    }
}

/// Linear layers with ReLU between them.
fn dense(layers: &[Linear], inputs: Tensor<2>) -> Tensor<2> {
    let (last, hidden) = layers.split_last().expect("there is a layer");
    last.forward(hidden.iter().fold(inputs, |values, layer| relu(layer.forward(values))))
}

#[derive(Module, Debug)]
pub struct LeNet {
    first: Conv2d,
    second: Conv2d,
    pool: MaxPool2d,
    head: Vec<Linear>,
}

impl LeNet {
    pub fn new(classes: usize, device: &Device) -> Self {
        Self {
            first: convolution([1, 6], 5, 2).init(device),
            second: convolution([6, 16], 5, 0).init(device),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            head: vec![linear(400, 120, device), linear(120, 84, device), linear(84, classes, device)],
        }
    }
}

impl Network for LeNet {
    fn scores(&self, inputs: TensorData, device: &Device) -> Tensor<2> {
        let images = Tensor::from_data(inputs, device);
        let images = self.pool.forward(relu(self.first.forward(images)));
        let images = self.pool.forward(relu(self.second.forward(images)));
        dense(&self.head, images.flatten(1, 3))
    }
}

#[derive(Module, Debug)]
pub struct CatsDogs {
    convolutions: Vec<Conv2d>,
    head: Vec<Linear>,
}

impl CatsDogs {
    pub fn new(classes: usize, device: &Device) -> Self {
        let channels = [[3, 16], [16, 32], [32, 64]];
        Self {
            convolutions: channels.map(|channels| convolution(channels, 3, 1).init(device)).into(),
            head: vec![linear(64 * 64 * 64, 128, device), linear(128, classes, device)],
        }
    }
}

impl Network for CatsDogs {
    fn scores(&self, inputs: TensorData, device: &Device) -> Tensor<2> {
        let images = Tensor::from_data(inputs, device);
        let images = self.convolutions.iter().fold(images, |images, layer| relu(layer.forward(images)));
        dense(&self.head, images.flatten(1, 3))
    }
}

/// A convolution without bias and the norm of its channels.
#[derive(Module, Debug)]
struct Normed {
    convolution: Conv2d,
    norm: BatchNorm,
}

impl Normed {
    fn new(channels: [usize; 2], kernel: usize, stride: usize, device: &Device) -> Self {
        let convolution =
            convolution(channels, kernel, kernel / 2).with_stride([stride, stride]).with_bias(false);
        Self { convolution: convolution.init(device), norm: BatchNormConfig::new(channels[1]).init(device) }
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        self.norm.forward(self.convolution.forward(images))
    }
}

#[derive(Module, Debug)]
struct Residual {
    first: Normed,
    second: Normed,
    /// Absent where the block leaves the shape alone.
    shortcut: Option<Normed>,
}

impl Residual {
    fn new(channels: [usize; 2], stride: usize, device: &Device) -> Self {
        let [inputs, outputs] = channels;
        Self {
            first: Normed::new(channels, 3, stride, device),
            second: Normed::new([outputs, outputs], 3, 1, device),
            shortcut: (stride != 1 || inputs != outputs).then(|| Normed::new(channels, 1, stride, device)),
        }
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        let shortcut = match &self.shortcut {
            Some(shortcut) => shortcut.forward(images.clone()),
            None => images.clone(),
        };
        relu(self.second.forward(relu(self.first.forward(images))) + shortcut)
    }
}

/// ResNet-18 for small images: the stem keeps the resolution.
#[derive(Module, Debug)]
pub struct ResNet18 {
    stem: Normed,
    blocks: Vec<Residual>,
    head: Linear,
}

impl ResNet18 {
    pub fn new(classes: usize, device: &Device) -> Self {
        let width = 64;
        let (mut blocks, mut inputs) = (Vec::new(), width);
        for (outputs, stride) in [(width, 1), (2 * width, 2), (4 * width, 2), (8 * width, 2)] {
            blocks.push(Residual::new([inputs, outputs], stride, device));
            blocks.push(Residual::new([outputs, outputs], 1, device));
            inputs = outputs;
        }
        Self { stem: Normed::new([3, width], 3, 1, device), blocks, head: linear(inputs, classes, device) }
    }
}

impl Network for ResNet18 {
    fn scores(&self, inputs: TensorData, device: &Device) -> Tensor<2> {
        let images = relu(self.stem.forward(Tensor::from_data(inputs, device)));
        let images = self.blocks.iter().fold(images, |images, block| block.forward(images));
        self.head.forward(pooled(images))
    }
}

#[derive(Module, Debug)]
struct TransformerBlock {
    attention_norm: LayerNorm,
    /// Queries, keys and values side by side.
    projections: Linear,
    attention_output: Linear,
    dense_norm: LayerNorm,
    expansion: Linear,
    contraction: Linear,
    heads: usize,
}

const INITIALIZER: Initializer = Initializer::Normal { mean: 0.0, std: 0.02 };

impl TransformerBlock {
    fn new(width: usize, heads: usize, device: &Device) -> Self {
        let linear =
            |inputs, outputs| LinearConfig::new(inputs, outputs).with_initializer(INITIALIZER).init(device);
        Self {
            attention_norm: LayerNormConfig::new(width).init(device),
            projections: linear(width, 3 * width),
            attention_output: linear(width, width),
            dense_norm: LayerNormConfig::new(width).init(device),
            expansion: linear(width, 4 * width),
            contraction: linear(4 * width, width),
            heads,
        }
    }

    fn forward(&self, values: Tensor<3>, future: Tensor<2, Bool>) -> Tensor<3> {
        let values = values.clone() + self.attend(self.attention_norm.forward(values), future);
        let hidden = gelu_approximate(self.expansion.forward(self.dense_norm.forward(values.clone())));
        values + self.contraction.forward(hidden)
    }

    fn attend(&self, values: Tensor<3>, future: Tensor<2, Bool>) -> Tensor<3> {
        let [batch, time, width] = values.dims();
        let head = width / self.heads;
        let projected = self.projections.forward(values);
        let part = |index: usize| {
            let part = projected.clone().narrow(2, index * width, width);
            part.reshape([batch, time, self.heads, head]).swap_dims(1, 2)
        };
        let scores = part(0).matmul(part(1).transpose()) * (head as f32).sqrt().recip();
        let weights = softmax(scores.mask_fill(future.unsqueeze::<4>(), f32::NEG_INFINITY), 3);
        let mixed = weights.matmul(part(2)).swap_dims(1, 2).reshape([batch, time, width]);
        self.attention_output.forward(mixed)
    }
}

/// A transformer that predicts the next token; the embedding of the tokens is also the output layer.
#[derive(Module, Debug)]
pub struct Gpt {
    tokens: Embedding,
    positions: Embedding,
    blocks: Vec<TransformerBlock>,
    norm: LayerNorm,
}

impl Gpt {
    pub fn new(
        vocabulary: usize,
        context: usize,
        width: usize,
        heads: usize,
        layers: usize,
        device: &Device,
    ) -> Self {
        let embedding = |count| EmbeddingConfig::new(count, width).with_initializer(INITIALIZER).init(device);
        Self {
            tokens: embedding(vocabulary),
            positions: embedding(context),
            blocks: (0..layers).map(|_| TransformerBlock::new(width, heads, device)).collect(),
            norm: LayerNormConfig::new(width).init(device),
        }
    }
}

impl Network for Gpt {
    fn scores(&self, inputs: TensorData, device: &Device) -> Tensor<2> {
        let tokens = Tensor::<2, Int>::from_data(inputs, device);
        let [_, time] = tokens.dims();
        let positions = Tensor::<1, Int>::arange(0..time as i64, device).unsqueeze::<2>();
        let values = self.tokens.forward(tokens) + self.positions.forward(positions);
        let future = Tensor::<2, Bool>::tril_mask([time, time], 0, device);
        let values = self.blocks.iter().fold(values, |values, block| block.forward(values, future.clone()));
        let rows: Tensor<2> = self.norm.forward(values).flatten(0, 1);
        rows.matmul(self.tokens.weight.val().transpose())
    }
}
