//! Pooling layers.

use super::convolution::IntoSize;
use super::layer::Layer;
use super::scope::Scope;
use crate::settings::{Described, Value};
use crate::tensor::{Pool2d, Tensor};
use crate::{Result, described};
use std::panic::Location;

/// The largest element of each window. See [`max_pool`].
#[derive(Clone, Debug)]
pub struct MaxPool {
    kernel: [usize; 2],
    stride: Option<[usize; 2]>,
    padding: [usize; 2],
    site: &'static Location<'static>,
}

/// The largest element of each window of this size: PyTorch's `nn.MaxPool2d`. The window moves by its own size.
#[track_caller]
pub fn max_pool(kernel: impl IntoSize) -> MaxPool {
    MaxPool { kernel: kernel.into_size(), stride: None, padding: [0, 0], site: Location::caller() }
}

impl MaxPool {
    /// Step of the window. Default: its size.
    #[must_use]
    pub fn stride(mut self, stride: impl IntoSize) -> MaxPool {
        self.stride = Some(stride.into_size());
        self
    }

    /// Padding on both sides, at most half the window. Default 0.
    #[must_use]
    pub fn padding(mut self, padding: impl IntoSize) -> MaxPool {
        self.padding = padding.into_size();
        self
    }
}

impl Layer for MaxPool {
    fn forward(&self, scope: &Scope, x: &Tensor) -> Tensor {
        let MaxPool { kernel, stride, padding, .. } = *self;
        let geometry = Pool2d { kernel, stride: stride.unwrap_or(kernel), padding };
        scope.run(self, self.site, x, |_, x| x.max_pool2d(geometry))
    }

    fn describe(&self) -> String {
        format!("max_pool({})", square(self.kernel))
    }

    fn config(&self) -> Result<Value> {
        self.write_named().map(Value::Table)
    }
}

described! {
    MaxPool = "max_pool", "the largest element of each window", { site: Location::caller() };
    kernel as "size": [usize; 2], None, (1..).into(), "size of the window: one number, or [height, width]";
    stride: Option<[usize; 2]>, Some(None), (1..).into(), "step of the window, its size by default";
    padding: [usize; 2], Some([0, 0]), (0..).into(), "padding on both sides, at most half the window";
}

/// The mean of each window. See [`avg_pool`].
#[derive(Clone, Debug)]
pub struct AvgPool {
    kernel: [usize; 2],
    stride: Option<[usize; 2]>,
    padding: [usize; 2],
    site: &'static Location<'static>,
}

/// The mean of each window of this size, padding counting as zeros: PyTorch's `nn.AvgPool2d`. The window moves by its
/// own size.
#[track_caller]
pub fn avg_pool(kernel: impl IntoSize) -> AvgPool {
    AvgPool { kernel: kernel.into_size(), stride: None, padding: [0, 0], site: Location::caller() }
}

impl AvgPool {
    /// Step of the window. Default: its size.
    #[must_use]
    pub fn stride(mut self, stride: impl IntoSize) -> AvgPool {
        self.stride = Some(stride.into_size());
        self
    }

    /// Padding on both sides, at most half the window. Default 0.
    #[must_use]
    pub fn padding(mut self, padding: impl IntoSize) -> AvgPool {
        self.padding = padding.into_size();
        self
    }
}

impl Layer for AvgPool {
    fn forward(&self, scope: &Scope, x: &Tensor) -> Tensor {
        let AvgPool { kernel, stride, padding, .. } = *self;
        let geometry = Pool2d { kernel, stride: stride.unwrap_or(kernel), padding };
        scope.run(self, self.site, x, |_, x| x.avg_pool2d(geometry))
    }

    fn describe(&self) -> String {
        format!("avg_pool({})", square(self.kernel))
    }

    fn config(&self) -> Result<Value> {
        self.write_named().map(Value::Table)
    }
}

described! {
    AvgPool = "avg_pool", "the mean of each window, padding counting as zeros", { site: Location::caller() };
    kernel as "size": [usize; 2], None, (1..).into(), "size of the window: one number, or [height, width]";
    stride: Option<[usize; 2]>, Some(None), (1..).into(), "step of the window, its size by default";
    padding: [usize; 2], Some([0, 0]), (0..).into(), "padding on both sides, at most half the window";
}

/// `3`, or `[3, 5]`.
fn square(kernel: [usize; 2]) -> String {
    match kernel {
        [height, width] if height == width => height.to_string(),
        [height, width] => format!("[{height}, {width}]"),
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

    fn config(&self) -> Result<Value> {
        self.write_named().map(Value::Table)
    }
}

described! {
    GlobalAvgPool = "global_avg_pool", "the mean over height and width", { site: Location::caller() };
}
