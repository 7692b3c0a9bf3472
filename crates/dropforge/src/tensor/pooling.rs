//! Pooling over one, two and three axes, by the pooling of images, and to a given size.

use super::Tensor;
use super::node::{apply, apply_all, fail};
use dropforge_ir::{Op, PoolWindow};

/// Windows over `N` axes, from one to three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Windows<const N: usize> {
    pub kernel: [usize; N],
    pub stride: [usize; N],
    pub padding: [usize; N],
    /// Whether a last window may reach beyond the padding.
    pub ceil: bool,
}

impl<const N: usize> Windows<N> {
    /// How much is put behind an axis: the padding, and what a last window needs beyond it.
    fn behind(&self, axis: usize, extent: usize) -> usize {
        let (kernel, stride, padding) = (self.kernel[axis], self.stride[axis].max(1), self.padding[axis]);
        let padded = extent.saturating_add(padding.saturating_mul(2));
        if !self.ceil || padded < kernel {
            return padding;
        }
        let end = extent.saturating_add(padding);
        let mut start = (padded - kernel).div_ceil(stride).saturating_mul(stride);
        // A window starts inside of the tensor or the padding before it.
        if start >= end {
            start = start.saturating_sub(stride);
        }
        start.saturating_add(kernel).saturating_sub(end).max(padding)
    }

    /// Windows of an image over these two axes; `None` for an axis of one element.
    fn image(&self, axes: [Option<usize>; 2], extents: [usize; 2]) -> PoolWindow {
        let of = |sizes: &[usize; N], otherwise: usize| {
            axes.map(|axis| axis.map_or(otherwise, |axis| sizes[axis]))
        };
        let high = [0, 1].map(|side| axes[side].map_or(0, |axis| self.behind(axis, extents[side])));
        PoolWindow {
            kernel: of(&self.kernel, 1),
            stride: of(&self.stride, 1),
            low: of(&self.padding, 0),
            high,
        }
    }

    /// How many elements of an axis each window has, `padded` ones included or not.
    fn counts(&self, axis: usize, extent: usize, positions: usize, padded: bool) -> Vec<usize> {
        let (kernel, stride, padding) = (self.kernel[axis], self.stride[axis], self.padding[axis]);
        let count = |position: usize| {
            let start = position * stride;
            let end = (start + kernel).min(extent + if padded { 2 * padding } else { padding });
            end.saturating_sub(if padded { start } else { start.max(padding) })
        };
        (0..positions).map(count).collect()
    }
}

impl Tensor {
    /// Applies a pooling of images to all axes behind the first two.
    #[track_caller]
    fn pooled<const N: usize>(
        &self,
        windows: &Windows<N>,
        pool: impl Fn(&Tensor, PoolWindow) -> Tensor,
    ) -> Tensor {
        let extents = self.shape()[2..].to_vec();
        match N {
            1 => pool(&self.unsqueeze(2), windows.image([None, Some(0)], [1, extents[0]])).squeeze(2),
            2 => pool(self, windows.image([Some(0), Some(1)], [extents[0], extents[1]])),
            _ => {
                let (batch, channels) = (self.shape()[0], self.shape()[1]);
                let planes =
                    self.reshape(vec![batch, channels.saturating_mul(extents[0]), extents[1], extents[2]]);
                let planes = pool(&planes, windows.image([Some(1), Some(2)], [extents[1], extents[2]]));
                if planes.error().is_some() {
                    return planes;
                }
                let (height, width) = (planes.shape()[2], planes.shape()[3]);
                let columns = planes.reshape(vec![batch, channels, extents[0], height * width]);
                let y = pool(&columns, windows.image([Some(0), None], [extents[0], 1]));
                if y.error().is_some() {
                    return y;
                }
                let depth = y.shape()[2];
                y.reshape(vec![batch, channels, depth, height, width])
            }
        }
    }

    /// Largest element of each window; padding never wins.
    #[track_caller]
    pub(crate) fn max_windows<const N: usize>(&self, windows: &Windows<N>) -> Tensor {
        self.pooled(windows, |x, window| {
            let [values, _] = apply_all("max_pool", Op::MaxPool { window }, &[x]);
            values
        })
    }

    /// Mean of each window. With `count_padding` zeros of the padding count, though not what reaches beyond it.
    #[track_caller]
    pub(crate) fn mean_windows<const N: usize>(&self, windows: &Windows<N>, count_padding: bool) -> Tensor {
        let sums = self.sum_windows(windows);
        if sums.error().is_some() {
            return sums;
        }
        let counts: Vec<Vec<usize>> = (0..N)
            .map(|axis| {
                let (extent, positions) = (self.shape()[axis + 2], sums.shape()[axis + 2]);
                windows.counts(axis, extent, positions, count_padding)
            })
            .collect();
        if counts.iter().all(|along| along.iter().all(|count| *count == along[0])) {
            let count: f32 =
                counts.iter().filter_map(|along| along.first()).map(|&count| count as f32).product();
            return (sums / count).cast(self.dtype());
        }
        let mut mean = sums;
        for (axis, along) in counts.iter().enumerate() {
            let mut shape = vec![1; N + 2];
            shape[axis + 2] = along.len();
            let shares: Vec<f32> = along.iter().map(|&count| count as f32).collect();
            mean = mean / Tensor::from_vec(shares, shape);
        }
        mean.cast(self.dtype())
    }

    /// Sum of each window, in f32.
    #[track_caller]
    pub(crate) fn sum_windows<const N: usize>(&self, windows: &Windows<N>) -> Tensor {
        self.widened().pooled(windows, |x, window| apply("avg_pool", Op::WindowSum { window }, &[x]))
    }

    /// Means of windows that cover `[batch, channels, height, width]`, so that the result has these extents: window i
    /// of n over an extent e goes from ⌊i·e/n⌋ to ⌈(i + 1)·e/n⌉, as in PyTorch.
    #[track_caller]
    pub fn adaptive_avg_pool2d(&self, height: usize, width: usize) -> Tensor {
        let extents = match self.adaptive("adaptive_avg_pool2d", [height, width]) {
            Ok(extents) => extents,
            Err(failed) => return failed,
        };
        if extents == [height, width] {
            return self.clone();
        }
        if extents[0] % height == 0 && extents[1] % width == 0 {
            let kernel = [extents[0] / height, extents[1] / width];
            return self
                .mean_windows(&Windows { kernel, stride: kernel, padding: [0, 0], ceil: false }, true);
        }
        let shares = |from: usize, to: usize| {
            let mut shares = vec![0.0; from * to];
            for (row, (start, end)) in spans(from, to).enumerate() {
                shares[row * from + start..row * from + end].fill(1.0 / (end - start) as f32);
            }
            Tensor::from_vec(shares, [to, from]).t()
        };
        let wide = self.widened().matmul(&shares(extents[1], width));
        wide.transpose(2, 3).matmul(&shares(extents[0], height)).transpose(2, 3).cast(self.dtype())
    }

    /// The largest elements of windows as in [`Tensor::adaptive_avg_pool2d`].
    #[track_caller]
    pub fn adaptive_max_pool2d(&self, height: usize, width: usize) -> Tensor {
        let extents = match self.adaptive("adaptive_max_pool2d", [height, width]) {
            Ok(extents) => extents,
            Err(failed) => return failed,
        };
        if extents == [height, width] {
            return self.clone();
        }
        // Windows of one size, whose last element is repeated: the first of equals is still the first.
        let mut x = self.clone();
        let mut kernel = [0; 2];
        for (axis, to) in [height, width].into_iter().enumerate() {
            let size = spans(extents[axis], to).map(|(start, end)| end - start).max().unwrap_or(1);
            let places: Vec<i32> = spans(extents[axis], to)
                .flat_map(|(start, end)| (0..size).map(move |place| (start + place).min(end - 1) as i32))
                .collect();
            if places.len() != extents[axis] {
                let count = places.len();
                x = x.index_select(axis as isize + 2, &Tensor::from_vec(places, [count]));
            }
            kernel[axis] = size;
        }
        x.max_windows(&Windows { kernel, stride: kernel, padding: [0, 0], ceil: false })
    }

    /// Height and width of an image with elements, for windows of so many.
    #[track_caller]
    fn adaptive(&self, name: &str, to: [usize; 2]) -> Result<[usize; 2], Tensor> {
        let &[_, _, height, width] = self.shape().iter().as_slice() else {
            let message = format!("needs [batch, channels, height, width], got {}", self.shape());
            return Err(fail(name, message, &[self]));
        };
        let most = 1 << 20;
        if height == 0 || width == 0 || to.iter().any(|&extent| extent == 0 || extent > most) {
            let message = format!("{} does not become {} by {}", self.shape(), to[0], to[1]);
            return Err(fail(name, message, &[self]));
        }
        Ok([height, width])
    }
}

/// Where each of so many windows over an extent starts and ends.
fn spans(from: usize, to: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..to).map(move |row| (row * from / to, ((row + 1) * from).div_ceil(to)))
}
