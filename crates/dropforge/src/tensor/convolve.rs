//! Convolutions over one, two and three axes, and their transposes, by the convolution of images.

use super::Tensor;
use super::node::{apply, fail};
use super::window::Conv2d;
use dropforge_ir::{ConvolutionWindow, Op};

/// Steps, zeros before and after, dilation and groups of a convolution over `N` axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry<const N: usize> {
    pub stride: [usize; N],
    pub sides: [[usize; 2]; N],
    pub dilation: [usize; N],
    pub groups: usize,
}

impl<const N: usize> Geometry<N> {
    /// The geometry of an image: the last two axes, or one row.
    fn image(&self) -> Conv2d {
        let last = N - 1;
        let row = N.checked_sub(2);
        Conv2d {
            stride: [row.map_or(1, |row| self.stride[row]), self.stride[last]],
            padding_height: row.map_or([0, 0], |row| self.sides[row]),
            padding_width: self.sides[last],
            dilation: [row.map_or(1, |row| self.dilation[row]), self.dilation[last]],
            groups: self.groups,
        }
    }
}

/// The most taps that a filter has along the outermost of three axes: each is a part of the program.
const DEEPEST: usize = 1024;

impl Tensor {
    /// Cross-correlation of `[batch, channels, ..]` with a filter `[out, in / groups, ..]`, each with `N` more axes,
    /// from one to three.
    #[track_caller]
    pub(crate) fn convolve<const N: usize>(&self, filter: &Tensor, geometry: &Geometry<N>) -> Tensor {
        match N {
            1 => self.unsqueeze(2).conv2d(&filter.unsqueeze(2), geometry.image()).squeeze(2),
            2 => self.conv2d(filter, geometry.image()),
            _ => self.convolve_volume(filter, geometry),
        }
    }

    /// Slices at the depths of the taps become channels, the depths of the result part of the batch: one convolution of
    /// images.
    #[track_caller]
    fn convolve_volume<const N: usize>(&self, filter: &Tensor, geometry: &Geometry<N>) -> Tensor {
        let (stride, dilation, [low, high]) = (geometry.stride[0], geometry.dilation[0], geometry.sides[0]);
        let taps = filter.shape()[2];
        if taps == 0 || taps > DEEPEST || stride == 0 || dilation == 0 {
            let message = format!(
                "needs a kernel of depth 1 to {DEEPEST} and strides and dilations of at least 1, got {}",
                filter.shape()
            );
            return fail("conv3d", message, &[self]);
        }
        let x = self.pad(&[0, 0, low, 0, 0], &[0, 0, high, 0, 0], 0.0);
        let &[batch, channels, depth, height, width] = x.shape().iter().as_slice() else {
            return x;
        };
        let reach = dilation.saturating_mul(taps - 1).saturating_add(1);
        if depth < reach {
            let message = format!("a kernel that reaches over {reach} does not fit a depth of {depth}");
            return fail("conv3d", message, &[self]);
        }
        let depths = (depth - reach) / stride + 1;
        let at = |tap: usize| {
            let start = tap * dilation;
            x.slice_step(2, start..start + (depths - 1).saturating_mul(stride) + 1, stride)
        };
        let slices: Vec<Tensor> = (0..taps).map(at).collect();
        let slices = Tensor::stack(&slices.iter().collect::<Vec<_>>(), 2);
        let images = slices.permute(&[0, 3, 1, 2, 4, 5]).reshape(vec![
            batch.saturating_mul(depths),
            channels.saturating_mul(taps),
            height,
            width,
        ]);
        let shape = filter.shape();
        let (outputs, inputs) = (shape[0], shape[1].saturating_mul(taps));
        let filter = filter.reshape(vec![outputs, inputs, shape[3], shape[4]]);
        let y = images.conv2d(&filter, geometry.image());
        if y.error().is_some() {
            return y;
        }
        let (height, width) = (y.shape()[2], y.shape()[3]);
        y.reshape(vec![batch, depths, outputs, height, width]).permute(&[0, 2, 1, 3, 4])
    }

    /// The transpose of a convolution over one or two axes, of `[batch, in, ..]` with a filter
    /// `[in, out / groups, ..]`: what its gradient by its input does. `extents` are those of the result.
    #[track_caller]
    pub(crate) fn convolve_transposed<const N: usize>(
        &self,
        filter: &Tensor,
        geometry: &Geometry<N>,
        extents: [usize; N],
    ) -> Tensor {
        let Conv2d { stride, padding_height, padding_width, dilation, groups } = geometry.image();
        let window = ConvolutionWindow {
            stride,
            low: [padding_height[0], padding_width[0]],
            high: [padding_height[1], padding_width[1]],
            dilation,
            groups,
        };
        let input = [if N == 1 { 1 } else { extents[0] }, extents[N - 1]];
        let op = Op::ConvolutionInputGradient { window, input };
        match N {
            1 => apply("conv_transpose", op, &[&self.unsqueeze(2), &filter.unsqueeze(2)]).squeeze(2),
            _ => apply("conv_transpose", op, &[self, filter]),
        }
    }
}
