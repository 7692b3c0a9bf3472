//! Residual networks (He et al.: Deep residual learning for image recognition, 2016).

use super::{Model, Recipe};
use crate::Tensor;
use crate::nn::{Layer, Scope, batch_norm, conv, dense};
use crate::seq;
use crate::settings::{Described, Table};
use crate::{Result, described};

/// ResNet-18 for small images such as CIFAR's: the first convolution is 3×3 without stride, and there is no pooling
/// before the mean at the end. 11.2 million parameters.
///
/// Takes images `[batch, channels, height, width]`. Parameters: `conv1`, `bn1`, `layerS.N.conv1`, `bn1`, `conv2`, `bn2`,
/// `downsample.0`, `downsample.1`, and `fc`: the names that torchvision's weights have.
pub fn resnet18(classes: usize) -> impl Layer {
    resnet(64, [2, 2, 2, 2], classes)
}

/// A residual network with this width at the start, which doubles from stage to stage, and this many blocks in each.
pub fn resnet(width: usize, blocks: [usize; 4], classes: usize) -> impl Layer {
    move |scope: &Scope, x: &Tensor| {
        let first = conv(width, 3).padding(1).bias(false);
        let mut x = scope.layer("bn1", &batch_norm(), &scope.layer("conv1", &first, x)).relu();
        for (stage, count) in blocks.into_iter().enumerate() {
            let scope = scope.enter(&format!("layer{}", stage + 1));
            for number in 0..count {
                let stride = if stage > 0 && number == 0 { 2 } else { 1 };
                x = scope.layer(&number.to_string(), &basic_block(width << stage, stride), &x);
            }
        }
        scope.layer("fc", &dense(classes), &x.mean([2, 3]))
    }
}

/// Two convolutions around which the input goes, through a 1×1 convolution where the shape changes.
fn basic_block(channels: usize, stride: usize) -> impl Layer {
    move |scope: &Scope, x: &Tensor| {
        let inputs = x.shape().get(1).copied().unwrap_or(0);
        let first = conv(channels, 3).stride(stride).padding(1).bias(false);
        let second = conv(channels, 3).padding(1).bias(false);
        let y = scope.layer("bn1", &batch_norm(), &scope.layer("conv1", &first, x)).relu();
        let y = scope.layer("bn2", &batch_norm(), &scope.layer("conv2", &second, &y));
        if stride == 1 && inputs == channels {
            return (y + x).relu();
        }
        let around = seq![conv(channels, 1).stride(stride).bias(false), batch_norm()];
        (y + scope.layer("downsample", &around, x)).relu()
    }
}

/// The model `resnet18`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResNet18 {
    width: usize,
}

described! {
    ResNet18 = "resnet18", "a residual network for small colour images";
    width: usize, Some(64), (1..).into(), "channels at the start, doubled from stage to stage";
}

impl Model for ResNet18 {
    fn layers(&self, outputs: usize) -> Box<dyn Layer> {
        Box::new(resnet(self.width, [2, 2, 2, 2], outputs))
    }

    fn usual_input(&self) -> Vec<usize> {
        vec![3, 32, 32]
    }

    fn recipe(&self) -> Recipe {
        Recipe::adam(2e-3)
    }

    fn config(&self) -> Result<Table> {
        self.write_named()
    }
}
