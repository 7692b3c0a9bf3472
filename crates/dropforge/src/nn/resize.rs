//! Layers that change the size of images.

use super::activation::activations;
use super::layer::Layer;
use super::scope::Scope;
use crate::settings::{Described, Range, Value};
use crate::tensor::Tensor;
use crate::{Result, described};
use std::panic::Location;

activations! {
    /// Channels become pixels: PyTorch's `nn.PixelShuffle`; see [`Tensor::pixel_shuffle`].
    PixelShuffle, pixel_shuffle = "pixel_shuffle", "channels become pixels" like "nn.PixelShuffle"
        (factor: usize = 2, "how many times as high and wide") = |x| x.pixel_shuffle(factor);
    /// Pixels become channels: PyTorch's `nn.PixelUnshuffle`; see [`Tensor::pixel_unshuffle`].
    PixelUnshuffle, pixel_unshuffle = "pixel_unshuffle", "pixels become channels" like "nn.PixelUnshuffle"
        (factor: usize = 2, "how many times as high and wide it was") = |x| x.pixel_unshuffle(factor);
    /// Each pixel repeated in both directions: PyTorch's `nn.UpsamplingNearest2d`.
    #[doc(alias = "Upsample")]
    UpsampleNearest, upsample_nearest = "upsample_nearest", "each pixel repeated in both directions"
        like "nn.Upsample(mode=\"nearest\")" but "whole factors"
        (factor: usize = 2, "how many times as high and wide") = |x| x.upsample_nearest(factor);
    /// Pixels between their neighbours, so many times as high and wide: PyTorch's `nn.Upsample(mode="bilinear")`; see
    /// [`Tensor::resize_bilinear`].
    #[doc(alias = "Upsample")]
    UpsampleBilinear, upsample_bilinear = "upsample_bilinear", "pixels between their neighbours"
        like "nn.Upsample(mode=\"bilinear\")" but "whole factors"
        (factor: usize = 2, "how many times as high and wide",
        align_corners: bool = false, "whether the outermost pixels stay the outermost ones")
        = |x| enlarged(x, factor, align_corners);
}

#[track_caller]
fn enlarged(x: &Tensor, factor: usize, align_corners: bool) -> Tensor {
    let extent = |axis: usize| x.shape().get(axis).map_or(0, |extent| extent.saturating_mul(factor));
    x.resize_bilinear(extent(2), extent(3), align_corners)
}
