//! Residual networks (He et al.: Deep residual learning for image recognition, 2016).

use super::Recipe;
use super::declare::models;
use crate::Tensor;
use crate::nn::{Layer, Scope, batch_norm, conv, dense, max_pool};
use crate::seq;
use crate::settings::Range;

/// ResNet-18. Images of 64 pixels or more a side meet the published start: a 7×7 convolution with stride 2 and a
/// max-pool. Smaller ones, such as CIFAR's, start with a 3×3 convolution without stride and without pooling. 11.2
/// million parameters.
///
/// Takes images `[batch, channels, height, width]`. Parameters: `conv1`, `bn1`, `layerS.N.conv1`, `bn1`, `conv2`,
/// `bn2`, `downsample.0`, `downsample.1`, and `fc`: the names that torchvision's weights have.
pub fn resnet18(classes: usize) -> impl Layer {
    resnet(64, [2, 2, 2, 2], classes)
}

/// A residual network with this width at the start, which doubles from stage to stage, and this many blocks in each. It
/// starts as [`resnet18`] does.
pub fn resnet(width: usize, blocks: [usize; 4], classes: usize) -> impl Layer {
    residual_network(width, blocks, Block::Basic, None, classes)
}

/// From how many pixels a side on images are large: those of 32 and 48 would leave the published start as 8 and 12, and
/// the last stage as one pixel or two.
const LARGE: usize = 64;

/// What the stages are made of.
#[derive(Clone, Copy)]
enum Block {
    /// Two 3×3 convolutions.
    Basic,
    /// A 1×1, a 3×3 and a 1×1 convolution with four times the channels.
    Bottleneck,
}

fn residual_network(
    width: usize,
    blocks: [usize; 4],
    block: Block,
    large_images: Option<bool>,
    classes: usize,
) -> impl Layer {
    move |scope: &Scope, x: &Tensor| {
        let is_large = |x: &Tensor| x.shape().iter().skip(2).all(|&extent| extent >= LARGE);
        let large_images = large_images.unwrap_or_else(|| is_large(x));
        let first = match large_images {
            true => conv(width, 7).stride(2).padding(3),
            false => conv(width, 3).padding(1),
        };
        let mut x = scope.layer("bn1", &batch_norm(), &scope.layer("conv1", &first.bias(false), x)).relu();
        if large_images {
            x = max_pool(3).stride(2).padding(1).forward(scope, &x);
        }
        for (stage, count) in blocks.into_iter().enumerate() {
            let scope = scope.enter(&format!("layer{}", stage + 1));
            for number in 0..count {
                let stride = if stage > 0 && number == 0 { 2 } else { 1 };
                let channels = width << stage;
                let name = number.to_string();
                x = match block {
                    Block::Basic => scope.layer(&name, &basic_block(channels, stride), &x),
                    Block::Bottleneck => scope.layer(&name, &bottleneck(channels, stride), &x),
                };
            }
        }
        scope.layer("fc", &dense(classes), &x.mean([2, 3]))
    }
}

/// Two convolutions around which the input goes, through a 1×1 convolution where the shape changes.
fn basic_block(channels: usize, stride: usize) -> impl Layer {
    move |scope: &Scope, x: &Tensor| {
        let first = conv(channels, 3).stride(stride).padding(1).bias(false);
        let second = conv(channels, 3).padding(1).bias(false);
        let y = scope.layer("bn1", &batch_norm(), &scope.layer("conv1", &first, x)).relu();
        let y = scope.layer("bn2", &batch_norm(), &scope.layer("conv2", &second, &y));
        around(scope, x, y, channels, stride)
    }
}

/// Three convolutions, of which the middle one is narrow and has the stride.
fn bottleneck(channels: usize, stride: usize) -> impl Layer {
    move |scope: &Scope, x: &Tensor| {
        let second = conv(channels, 3).stride(stride).padding(1).bias(false);
        let wide = 4 * channels;
        let y = scope.layer("conv1", &conv(channels, 1).bias(false), x);
        let y = scope.layer("bn1", &batch_norm(), &y).relu();
        let y = scope.layer("bn2", &batch_norm(), &scope.layer("conv2", &second, &y)).relu();
        let y = scope.layer("bn3", &batch_norm(), &scope.layer("conv3", &conv(wide, 1).bias(false), &y));
        around(scope, x, y, wide, stride)
    }
}

/// The end of a block.
fn around(scope: &Scope, x: &Tensor, y: Tensor, channels: usize, stride: usize) -> Tensor {
    if stride == 1 && x.shape().get(1) == Some(&channels) {
        return (y + x).relu();
    }
    let shortcut = seq![conv(channels, 1).stride(stride).bias(false), batch_norm()];
    (y + scope.layer("downsample", &shortcut, x)).relu()
}

models! {
    /// The model `resnet18`: see [`resnet18`].
    ResNet18 = "resnet18", "a residual network of 18 layers"
        like "torchvision's resnet18" but "starts without strides for images of less than 64 pixels unless told otherwise",
        [3, 32, 32], Recipe::adam(2e-3); {
        width: usize = 64, (1..=4096).into(), "channels at the start, doubled from stage to stage";
        large_images: Option<bool> = None, Range::ANY,
            "whether it starts with strides, as for ImageNet; by default from 64 pixels a side on";
    }
    /// The model `resnet34`, of 21.8 million parameters with 1000 classes.
    ResNet34 = "resnet34", "a residual network of 34 layers"
        like "torchvision's resnet34" but "starts without strides for images of less than 64 pixels unless told otherwise",
        [3, 32, 32], Recipe::adam(1e-3); {
        width: usize = 64, (1..=4096).into(), "channels at the start, doubled from stage to stage";
        large_images: Option<bool> = None, Range::ANY,
            "whether it starts with strides, as for ImageNet; by default from 64 pixels a side on";
    }
    /// The model `resnet50`, whose blocks have three convolutions, the stride in the middle one as in torchvision. 25.6
    /// million parameters with 1000 classes.
    ResNet50 = "resnet50", "a residual network of 50 layers with narrow middles"
        like "torchvision's resnet50" but "starts without strides for images of less than 64 pixels unless told otherwise",
        [3, 32, 32], Recipe::adam(1e-3); {
        width: usize = 64, (1..=4096).into(), "channels at the start, doubled from stage to stage";
        large_images: Option<bool> = None, Range::ANY,
            "whether it starts with strides, as for ImageNet; by default from 64 pixels a side on";
    }
}

impl ResNet18 {
    fn network(&self, outputs: usize) -> Box<dyn Layer> {
        Box::new(residual_network(self.width, [2, 2, 2, 2], Block::Basic, self.large_images, outputs))
    }
}

impl ResNet34 {
    fn network(&self, outputs: usize) -> Box<dyn Layer> {
        Box::new(residual_network(self.width, [3, 4, 6, 3], Block::Basic, self.large_images, outputs))
    }
}

impl ResNet50 {
    fn network(&self, outputs: usize) -> Box<dyn Layer> {
        Box::new(residual_network(self.width, [3, 4, 6, 3], Block::Bottleneck, self.large_images, outputs))
    }
}
