//! Networks of inverted residuals: MobileNetV2 (Sandler et al., arXiv:1801.04381) and EfficientNet (Tan and Le,
//! arXiv:1905.11946).

use super::Recipe;
use super::declare::models;
use crate::Tensor;
use crate::nn::{
    Layer, Scope, Sequential, activation, batch_norm, conv, dense, drop_path, dropout, flatten,
    global_avg_pool, relu6, sequential, silu,
};
use crate::seq;

models! {
    /// The model `mobilenet_v2`, with torchvision's parameter names: `features.N.conv.M` and `classifier.1`. 3.5
    /// million parameters with 1000 classes.
    MobileNetV2 = "mobilenet_v2", "inverted residuals with depthwise convolutions"
        like "torchvision's mobilenet_v2" but "weights start as in the layers, not as there",
        [3, 224, 224], Recipe::adam(1e-3); {
        width: f64 = 1.0, (0.01..=16.0).into(), "what all numbers of channels are multiplied with";
        dropout: f32 = 0.2, (0.0..1.0).into(), "probability before the last layer";
    }
    /// The model `efficientnet_b0`, with torchvision's parameter names: `features.S.N.block.M` and `classifier.1`. 5.3
    /// million parameters with 1000 classes.
    EfficientNetB0 = "efficientnet_b0", "inverted residuals with gates for channels"
        like "torchvision's efficientnet_b0" but "weights start as in the layers, not as there",
        [3, 224, 224], Recipe::adam(1e-3); {
        width: f64 = 1.0, (0.01..=16.0).into(), "what all numbers of channels are multiplied with";
        dropout: f32 = 0.2, (0.0..1.0).into(), "probability before the last layer";
        drop_path: f32 = 0.2, (0.0..1.0).into(), "probability that the last block is left out of a sample";
    }
}

/// The multiple of 8 next to `channels`, at least 8 and nine tenths of it.
fn rounded(channels: f64) -> usize {
    let near = (((channels + 4.0) / 8.0).floor() * 8.0).max(8.0);
    (if near < 0.9 * channels { near + 8.0 } else { near }) as usize
}

/// A convolution with a batch norm and what follows it.
fn normed(
    channels: usize,
    kernel: usize,
    stride: usize,
    groups: usize,
    act: impl Layer + 'static,
) -> Sequential {
    seq![
        conv(channels, kernel).stride(stride).padding(kernel / 2).groups(groups).bias(false),
        batch_norm(),
        act
    ]
}

impl MobileNetV2 {
    fn network(&self, outputs: usize) -> Box<dyn Layer> {
        let first = rounded(32.0 * self.width);
        let mut features = sequential().push(normed(first, 3, 2, 1, relu6()));
        let mut inputs = first;
        // Times as wide inside, channels, blocks, stride of the first.
        for (times, channels, count, stride) in [
            (1, 16, 1, 1),
            (6, 24, 2, 2),
            (6, 32, 3, 2),
            (6, 64, 4, 2),
            (6, 96, 3, 1),
            (6, 160, 3, 2),
            (6, 320, 1, 1),
        ] {
            let channels = rounded(f64::from(channels) * self.width);
            for number in 0..count {
                let stride = if number == 0 { stride } else { 1 };
                features = features.push(inverted(times, inputs, channels, stride));
                inputs = channels;
            }
        }
        let last = rounded(1280.0 * self.width.max(1.0));
        Box::new(seq![
            "features" => features.push(normed(last, 1, 1, 1, relu6())),
            "pool" => global_avg_pool(),
            "classifier" => seq![dropout(self.dropout), dense(outputs)]
        ])
    }
}

fn inverted(times: usize, inputs: usize, channels: usize, stride: usize) -> impl Layer {
    move |scope: &Scope, x: &Tensor| {
        let inside = inputs * times;
        let mut parts = sequential();
        if times != 1 {
            parts = parts.push(normed(inside, 1, 1, 1, relu6()));
        }
        parts = parts.push(normed(inside, 3, stride, inside, relu6()));
        let parts = parts.push(conv(channels, 1).bias(false)).push(batch_norm());
        let y = scope.layer("conv", &parts, x);
        if stride == 1 && inputs == channels { x + y } else { y }
    }
}

/// Channels of an image, each times a number between 0 and 1 that depends on the means of all of them. Hu et al.,
/// arXiv:1709.01507.
fn gate(inputs: usize, narrow: usize) -> impl Layer {
    move |scope: &Scope, x: &Tensor| {
        let y = scope.layer("fc1", &conv(narrow, 1), &x.mean_keep([2, 3])).silu();
        x * scope.layer("fc2", &conv(inputs, 1), &y).sigmoid()
    }
}

impl EfficientNetB0 {
    fn network(&self, outputs: usize) -> Box<dyn Layer> {
        let first = rounded(32.0 * self.width);
        let mut features = sequential().push(normed(first, 3, 2, 1, silu()));
        let mut inputs = first;
        let mut block = 0;
        // Times as wide inside, kernel, stride of the first, channels, blocks.
        let stages = [
            (1, 3, 1, 16, 1),
            (6, 3, 2, 24, 2),
            (6, 5, 2, 40, 2),
            (6, 3, 2, 80, 3),
            (6, 5, 1, 112, 3),
            (6, 5, 2, 192, 4),
            (6, 3, 1, 320, 1),
        ];
        let blocks: usize = stages.iter().map(|stage| stage.4).sum();
        for (times, kernel, stride, channels, count) in stages {
            let channels = rounded(f64::from(channels) * self.width);
            let mut stage = sequential();
            for number in 0..count {
                let p = self.drop_path * block as f32 / blocks as f32;
                let stride = if number == 0 { stride } else { 1 };
                stage = stage.push(gated(times, kernel, inputs, channels, stride, p));
                (inputs, block) = (channels, block + 1);
            }
            features = features.push(stage);
        }
        Box::new(seq![
            "features" => features.push(normed(4 * inputs, 1, 1, 1, silu())),
            "avgpool" => global_avg_pool(),
            "flatten" => flatten(),
            "classifier" => seq![dropout(self.dropout), dense(outputs)]
        ])
    }
}

fn gated(times: usize, kernel: usize, inputs: usize, channels: usize, stride: usize, p: f32) -> impl Layer {
    move |scope: &Scope, x: &Tensor| {
        let inside = rounded((inputs * times) as f64);
        let mut parts = sequential();
        if times != 1 {
            parts = parts.push(normed(inside, 1, 1, 1, silu()));
        }
        parts = parts.push(normed(inside, kernel, stride, inside, silu()));
        parts = parts.push(gate(inside, (inputs / 4).max(1)));
        let parts = parts.push(normed(channels, 1, 1, 1, activation("identity", Tensor::clone)));
        let y = scope.layer("block", &parts, x);
        if stride != 1 || inputs != channels {
            return y;
        }
        x + scope.layer("stochastic_depth", &drop_path(p), &y)
    }
}
