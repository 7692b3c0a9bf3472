//! Pooling layers.

use super::convolution::{IntoSize, layout};
use super::declare::layers;
use super::layer::Layer;
use super::scope::Scope;
use crate::settings::{Described, Range, Value};
use crate::tensor::{Tensor, Windows};
use crate::{Result, described};
use std::panic::Location;

/// Declares poolings over one, two and three axes.
macro_rules! pools {
    ($type:ident, $pool:expr, $fields:tt,
        $($(#[$doc:meta])* $alias:ident, $make:ident, $axes:literal = $name:literal, $help:literal
            $(like $twin:literal $(but $differs:literal)?)?;)*) => {
        pools! { @type $type, $pool, $fields }
        $(pools! { @alias $type, $fields, $(#[$doc])* $alias, $make, $axes = $name, $help $(like $twin $(but $differs)?)? })*
    };
    (@type $type:ident, $pool:expr, { $($field:ident: $kind:ty = $default:expr, $line:literal;)* }) => {
        /// Pooling over `N` axes, from one to three.
        #[derive(Clone, Debug)]
        pub struct $type<const N: usize> {
            kernel: [usize; N],
            stride: Option<[usize; N]>,
            padding: [usize; N],
            ceil_mode: bool,
            $($field: $kind,)*
            site: &'static Location<'static>,
        }

        impl<const N: usize> $type<N> {
            /// Step of the window. Default: its size.
            #[must_use]
            pub fn stride(mut self, stride: impl IntoSize<N>) -> Self {
                self.stride = Some(stride.into_size());
                self
            }

            /// Padding on both sides, at most half the window. Default 0.
            #[must_use]
            pub fn padding(mut self, padding: impl IntoSize<N>) -> Self {
                self.padding = padding.into_size();
                self
            }

            /// Whether a last window may reach beyond the end. Default `false`.
            #[must_use]
            pub fn ceil_mode(mut self, ceil_mode: bool) -> Self {
                self.ceil_mode = ceil_mode;
                self
            }

            $(
                #[doc = concat!("Sets: ", $line, ". Default `", stringify!($default), "`.")]
                #[must_use]
                pub fn $field(mut self, $field: $kind) -> Self {
                    self.$field = $field;
                    self
                }
            )*

            fn windows(&self) -> Windows<N> {
                let stride = self.stride.unwrap_or(self.kernel);
                Windows { kernel: self.kernel, stride, padding: self.padding, ceil: self.ceil_mode }
            }
        }

        impl<const N: usize> Layer for $type<N>
        where
            $type<N>: Described,
        {
            fn forward(&self, scope: &Scope, x: &Tensor) -> Tensor {
                scope.run(self, self.site, x, |scope, x| {
                    if x.rank() != N + 2 || !x.dtype().is_float() {
                        return scope.fail(Self::NAME, format!("needs f32{}, got {}", layout(N), x.ty()), x);
                    }
                    let pool: fn(&Self, &Tensor, &Windows<N>) -> Tensor = $pool;
                    pool(self, x, &self.windows())
                })
            }

            fn describe(&self) -> String {
                format!("{}({})", Self::NAME, size(&self.kernel))
            }

            fn config(&self) -> Result<Value> {
                self.write_named().map(Value::Table)
            }
        }

    };
    (@alias $type:ident, { $($field:ident: $kind:ty = $default:expr, $line:literal;)* },
        $(#[$doc:meta])* $alias:ident, $make:ident, $axes:literal = $name:literal, $help:literal
            $(like $twin:literal $(but $differs:literal)?)?) => {
            #[doc = concat!("The layer made by [`", stringify!($make), "`].")]
            pub type $alias = $type<$axes>;

            $(#[$doc])*
            #[track_caller]
            pub fn $make(kernel: impl IntoSize<$axes>) -> $alias {
                $type {
                    kernel: kernel.into_size(),
                    stride: None,
                    padding: [0; $axes],
                    ceil_mode: false,
                    $($field: $default,)*
                    site: Location::caller(),
                }
            }

            described! {
                $alias = $name, $help $(like $twin $(but $differs)?)?, { site: Location::caller() };
                kernel as "size": [usize; $axes], None, (1..).into(), "size of the window: one number, or one for each axis";
                stride: Option<[usize; $axes]>, Some(None), (1..).into(), "step of the window, its size by default";
                padding: [usize; $axes], Some([0; $axes]), (0..).into(), "padding on both sides, at most half the window";
                ceil_mode: bool, Some(false), Range::ANY, "whether a last window may reach beyond the end";
                $($field: $kind, Some($default), Range::ANY, $line;)*
            }
    };
}

pools! {
    MaxPooling, |_, x, windows| x.max_windows(windows), {},
        /// The largest element of each window of images `[batch, channels, height, width]`: PyTorch's `nn.MaxPool2d`.
        /// The window moves by its own size.
        ///
        /// ```
        /// use dropforge::prelude::*;
        ///
        /// let net = Network::compile(max_pool(2), [1, 28, 28])?;
        /// assert_eq!(net.output().map(|ty| ty.shape.to_vec()), Some(vec![1, 1, 14, 14]));
        /// # Ok::<(), dropforge::Error>(())
        /// ```
        #[doc(alias = "MaxPool2d")]
        MaxPool, max_pool, 2 = "max_pool", "the largest element of each window" like "nn.MaxPool2d" but "no dilation";
        /// The largest element of each window of series `[batch, channels, time]`: PyTorch's `nn.MaxPool1d`.
        MaxPool1d, max_pool1d, 1 = "max_pool1d", "the largest element of each window of series"
            like "nn.MaxPool1d" but "no dilation";
        /// The largest element of each window of volumes `[batch, channels, depth, height, width]`: PyTorch's
        /// `nn.MaxPool3d`.
        MaxPool3d, max_pool3d, 3 = "max_pool3d", "the largest element of each window of volumes"
            like "nn.MaxPool3d" but "no dilation";
}

pools! {
    AvgPooling, |pool, x, windows| x.mean_windows(windows, pool.count_include_pad), {
        count_include_pad: bool = true, "whether padding counts as zeros, or not at all";
    },
        /// The mean of each window of images `[batch, channels, height, width]`, padding counting as zeros: PyTorch's
        /// `nn.AvgPool2d`. The window moves by its own size.
        #[doc(alias = "AvgPool2d")]
        AvgPool, avg_pool, 2 = "avg_pool", "the mean of each window, padding counting as zeros"
            like "nn.AvgPool2d" but "no divisor_override";
        /// The mean of each window of series `[batch, channels, time]`: PyTorch's `nn.AvgPool1d`.
        AvgPool1d, avg_pool1d, 1 = "avg_pool1d", "the mean of each window of series" like "nn.AvgPool1d";
        /// The mean of each window of volumes `[batch, channels, depth, height, width]`: PyTorch's `nn.AvgPool3d`.
        AvgPool3d, avg_pool3d, 3 = "avg_pool3d", "the mean of each window of volumes"
            like "nn.AvgPool3d" but "no divisor_override";
}

/// `3`, or `[3, 5]`.
fn size(kernel: &[usize]) -> String {
    match kernel {
        [first, rest @ ..] if rest.iter().all(|size| size == first) => first.to_string(),
        _ => format!("{kernel:?}"),
    }
}

layers! {
    /// The p-norm of each window of images `[batch, channels, height, width]`, (Σ xᵖ)^(1/p), without absolute values as
    /// in PyTorch's `nn.LPPool2d`; a sum below 0 gives 0. The window moves by its own size.
    LpPool, lp_pool(p: f32, kernel: impl IntoSize) = "lp_pool", "the p-norm of each window" like "nn.LPPool2d" [
        p as "p": f32 = p, Range::above(0.0), "the exponent";
        kernel as "size": [usize; 2] = kernel.into_size(), (1..).into(), "size of the window: one number, or [height, width]";
    ] {
        stride: Option<[usize; 2]> = None, (1..).into(), "step of the window, its size by default";
        ceil_mode: bool = false, Range::ANY, "whether a last window may reach beyond the end";
    }
    /// The mean over windows that cover images `[batch, channels, height, width]`, so that the result has this height
    /// and width: PyTorch's `nn.AdaptiveAvgPool2d`.
    AdaptiveAvgPool, adaptive_avg_pool(size: impl IntoSize) = "adaptive_avg_pool", "means of windows, to a given height and width"
        like "nn.AdaptiveAvgPool2d" [
        size as "size": [usize; 2] = size.into_size(), (1..).into(), "height and width of the result";
    ] {}
    /// The largest element of windows that cover images `[batch, channels, height, width]`, so that the result has this
    /// height and width: PyTorch's `nn.AdaptiveMaxPool2d`.
    AdaptiveMaxPool, adaptive_max_pool(size: impl IntoSize) = "adaptive_max_pool", "largest elements of windows, to a given height and width"
        like "nn.AdaptiveMaxPool2d" [
        size as "size": [usize; 2] = size.into_size(), (1..).into(), "height and width of the result";
    ] {}
    /// The largest element over height and width: `[batch, channels, height, width]` becomes `[batch, channels]`.
    /// PyTorch's `nn.AdaptiveMaxPool2d(1)`, flattened.
    GlobalMaxPool, global_max_pool() = "global_max_pool", "the largest element over height and width"
        like "nn.AdaptiveMaxPool2d(1), flattened" [] {}
}

impl LpPool {
    fn trace(&self, scope: &Scope, x: &Tensor) -> Tensor {
        if x.rank() != 4 || !x.dtype().is_float() || self.p <= 0.0 || self.p.is_nan() {
            let message = format!("needs f32{} and p above 0, got {} and {}", layout(2), x.ty(), self.p);
            return scope.fail("lp_pool", message, x);
        }
        let stride = self.stride.unwrap_or(self.kernel);
        let windows = Windows { kernel: self.kernel, stride, padding: [0, 0], ceil: self.ceil_mode };
        let mut mean = x.widened().powf(self.p).mean_windows(&windows, true);
        mean = mean.relu() * (self.kernel[0] as f32 * self.kernel[1] as f32);
        mean.powf(1.0 / self.p).cast(x.dtype())
    }
}

impl AdaptiveAvgPool {
    #[track_caller]
    fn trace(&self, _: &Scope, x: &Tensor) -> Tensor {
        x.adaptive_avg_pool2d(self.size[0], self.size[1])
    }
}

impl AdaptiveMaxPool {
    #[track_caller]
    fn trace(&self, _: &Scope, x: &Tensor) -> Tensor {
        x.adaptive_max_pool2d(self.size[0], self.size[1])
    }
}

impl GlobalMaxPool {
    fn trace(&self, scope: &Scope, x: &Tensor) -> Tensor {
        if x.rank() != 4 {
            return scope.fail("global_max_pool", format!("needs {}, got {}", layout(2), x.shape()), x);
        }
        x.adaptive_max_pool2d(1, 1).flatten(1)
    }
}

/// Mean over height and width. See [`global_avg_pool`].
#[derive(Clone, Copy, Debug)]
pub struct GlobalAvgPool {
    site: &'static Location<'static>,
}

/// Mean over height and width of an image: `[batch, channels, height, width]` becomes `[batch, channels]`.
#[doc(alias = "AdaptiveAvgPool2d")]
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
    GlobalAvgPool = "global_avg_pool", "the mean over height and width"
        like "nn.AdaptiveAvgPool2d(1), flattened", { site: Location::caller() };
}
