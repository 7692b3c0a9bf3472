//! Pooling layers.

use super::convolution::IntoSize;
use super::layer::Layer;
use super::scope::Scope;
use crate::tensor::{Pool2d, Tensor};
use std::panic::Location;

/// Pooling of images. See [`max_pool`] and [`avg_pool`].
#[derive(Clone, Debug)]
pub struct Pool {
    max: bool,
    geometry: Pool2d,
    site: &'static Location<'static>,
}

#[track_caller]
fn pool(max: bool, kernel: impl IntoSize) -> Pool {
    let kernel = kernel.into_size();
    Pool { max, geometry: Pool2d { kernel, stride: kernel, padding: [0, 0] }, site: Location::caller() }
}

/// The largest element of each window of this size: PyTorch's `nn.MaxPool2d`. The window moves by its own size.
#[track_caller]
pub fn max_pool(kernel: impl IntoSize) -> Pool {
    pool(true, kernel)
}

/// The mean of each window of this size, padding counting as zeros: PyTorch's `nn.AvgPool2d`. The window moves by its
/// own size.
#[track_caller]
pub fn avg_pool(kernel: impl IntoSize) -> Pool {
    pool(false, kernel)
}

impl Pool {
    /// Step of the window. Default: its size.
    #[must_use]
    pub fn stride(mut self, stride: impl IntoSize) -> Pool {
        self.geometry.stride = stride.into_size();
        self
    }

    /// Padding on both sides, at most half the window. Default 0.
    #[must_use]
    pub fn padding(mut self, padding: impl IntoSize) -> Pool {
        self.geometry.padding = padding.into_size();
        self
    }
}

impl Layer for Pool {
    fn forward(&self, scope: &Scope, x: &Tensor) -> Tensor {
        scope.run(self, self.site, x, |_, x| {
            if self.max { x.max_pool2d(self.geometry) } else { x.avg_pool2d(self.geometry) }
        })
    }

    fn describe(&self) -> String {
        let name = if self.max { "max_pool" } else { "avg_pool" };
        match self.geometry.kernel {
            [height, width] if height == width => format!("{name}({height})"),
            [height, width] => format!("{name}([{height}, {width}])"),
        }
    }
}

/// Mean over height and width. See [`global_avg_pool`].
#[derive(Clone, Copy, Debug)]
pub struct GlobalAvgPool {
    site: &'static Location<'static>,
}

/// Mean over height and width of an image: `[batch, channels, height, width]` becomes `[batch, channels]`.
#[track_caller]
pub fn global_avg_pool() -> GlobalAvgPool {
    GlobalAvgPool { site: Location::caller() }
}

impl Layer for GlobalAvgPool {
    fn forward(&self, scope: &Scope, x: &Tensor) -> Tensor {
        scope.run(self, self.site, x, |_, x| x.global_avg_pool2d())
    }

    fn describe(&self) -> String {
        "global_avg_pool".into()
    }
}
