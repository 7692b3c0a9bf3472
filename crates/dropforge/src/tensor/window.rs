//! Convolutions and pooling of images `[batch, channels, height, width]`.

use super::Tensor;
use super::node::{apply, apply_all, fail};
use dropforge_ir::{ConvolutionWindow, Op, PoolWindow};

/// Geometry of a convolution. The default is a stride of 1, no padding, no dilation, one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    /// Step of the window, height then width.
    pub stride: [usize; 2],
    /// Rows of zeros above and below.
    pub padding_height: [usize; 2],
    /// Columns of zeros left and right.
    pub padding_width: [usize; 2],
    /// Distance between kernel taps, height then width.
    pub dilation: [usize; 2],
    /// Channel groups; divides both channel counts.
    pub groups: usize,
}

impl Default for Conv2d {
    fn default() -> Conv2d {
        Conv2d { stride: [1, 1], padding_height: [0, 0], padding_width: [0, 0], dilation: [1, 1], groups: 1 }
    }
}

/// Geometry of a pooling window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool2d {
    /// Extent of the window, height then width.
    pub kernel: [usize; 2],
    /// Step of the window, height then width.
    pub stride: [usize; 2],
    /// Padding on both sides, height then width; at most half the kernel.
    pub padding: [usize; 2],
}

impl Pool2d {
    /// A square window that moves by its own size, without padding.
    pub fn square(size: usize) -> Pool2d {
        Pool2d { kernel: [size, size], stride: [size, size], padding: [0, 0] }
    }

    fn window(self) -> PoolWindow {
        PoolWindow { kernel: self.kernel, stride: self.stride, low: self.padding, high: self.padding }
    }
}

impl Tensor {
    /// Convolution (cross-correlation, as in PyTorch) of images with a filter `[out, in / groups, kh, kw]`.
    #[doc(alias = "F.conv2d")]
    #[track_caller]
    pub fn conv2d(&self, filter: &Tensor, geometry: Conv2d) -> Tensor {
        let Conv2d { stride, padding_height, padding_width, dilation, groups } = geometry;
        let window = ConvolutionWindow {
            stride,
            low: [padding_height[0], padding_width[0]],
            high: [padding_height[1], padding_width[1]],
            dilation,
            groups,
        };
        apply("conv2d", Op::Convolution { window }, &[self, filter])
    }

    /// Largest element of each window of an image. Padding never wins.
    #[track_caller]
    pub fn max_pool2d(&self, geometry: Pool2d) -> Tensor {
        let [values, _] = apply_all("max_pool2d", Op::MaxPool { window: geometry.window() }, &[self]);
        values
    }

    /// Mean of each window of an image; padding counts as zeros, as in PyTorch.
    #[track_caller]
    pub fn avg_pool2d(&self, geometry: Pool2d) -> Tensor {
        let count = geometry.kernel[0].saturating_mul(geometry.kernel[1]);
        // The sum of halves may leave their range where the mean does not.
        let sums = apply("avg_pool2d", Op::WindowSum { window: geometry.window() }, &[&self.widened()]);
        (sums / count.max(1) as f32).cast(self.dtype())
    }

    /// Mean over height and width of an image: `[batch, channels]`.
    #[doc(alias = "adaptive_avg_pool2d")]
    #[track_caller]
    pub fn global_avg_pool2d(&self) -> Tensor {
        if self.rank() != 4 {
            let message = format!("needs [batch, channels, height, width], got {}", self.shape());
            return fail("global_avg_pool2d", message, &[self]);
        }
        self.mean([2, 3])
    }
}
