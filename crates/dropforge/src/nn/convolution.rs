//! Convolution layers.

use super::layer::Layer;
use super::scope::Scope;
use crate::init::Init;
use crate::settings::{Context, Described, Range, SettingType, Value};
use crate::tensor::{Conv2d, Tensor};
use crate::{Error, Result, described};
use std::panic::Location;

/// Something that says height and width: one number for both, or `[height, width]`.
pub trait IntoSize {
    /// Height and width.
    fn into_size(self) -> [usize; 2];
}

impl IntoSize for usize {
    fn into_size(self) -> [usize; 2] {
        [self, self]
    }
}

impl IntoSize for [usize; 2] {
    fn into_size(self) -> [usize; 2] {
        self
    }
}

/// How much of zeros a convolution puts around an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// The same on both sides: height, width.
    Both([usize; 2]),
    /// So that a stride of 1 keeps height and width; an odd remainder goes after the image, as in PyTorch.
    Same,
}

/// A convolution of images. See [`conv`].
#[derive(Clone, Debug)]
pub struct Conv {
    outputs: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: Padding,
    dilation: [usize; 2],
    groups: usize,
    bias: bool,
    weight_init: Init,
    site: &'static Location<'static>,
}

/// A convolution of images `[batch, channels, height, width]` with this many output channels and a kernel of this size:
/// PyTorch's `nn.Conv2d`. The number of input channels is taken from what it is given.
///
/// Parameters: `weight [outputs, inputs / groups, kh, kw]`, Kaiming uniform with a = √5, and `bias [outputs]`, uniform
/// within ±1/√(inputs / groups · kh · kw). Defaults: stride 1, no padding, no dilation, one group, with bias.
#[track_caller]
pub fn conv(outputs: usize, kernel: impl IntoSize) -> Conv {
    Conv {
        outputs,
        kernel: kernel.into_size(),
        stride: [1, 1],
        padding: Padding::Both([0, 0]),
        dilation: [1, 1],
        groups: 1,
        bias: true,
        weight_init: Init::weight(),
        site: Location::caller(),
    }
}

impl Conv {
    /// Step of the kernel. Default 1.
    #[must_use]
    pub fn stride(mut self, stride: impl IntoSize) -> Conv {
        self.stride = stride.into_size();
        self
    }

    /// Zeros on both sides. Default 0.
    #[must_use]
    pub fn padding(mut self, padding: impl IntoSize) -> Conv {
        self.padding = Padding::Both(padding.into_size());
        self
    }

    /// Zeros around the image so that a stride of 1 keeps height and width.
    #[must_use]
    pub fn same(mut self) -> Conv {
        self.padding = Padding::Same;
        self
    }

    /// Distance between kernel taps. Default 1.
    #[must_use]
    pub fn dilation(mut self, dilation: impl IntoSize) -> Conv {
        self.dilation = dilation.into_size();
        self
    }

    /// Groups of channels that see only themselves; divides both channel counts. Default 1.
    #[must_use]
    pub fn groups(mut self, groups: usize) -> Conv {
        self.groups = groups;
        self
    }

    /// Whether there is a bias. Default `true`.
    #[must_use]
    pub fn bias(mut self, bias: bool) -> Conv {
        self.bias = bias;
        self
    }

    /// How the weight starts.
    #[must_use]
    pub fn weight_init(mut self, init: Init) -> Conv {
        self.weight_init = init;
        self
    }

    /// Zeros before and after, along one axis.
    fn sides(&self, axis: usize) -> [usize; 2] {
        match self.padding {
            Padding::Both(padding) => [padding[axis]; 2],
            Padding::Same => {
                let total = self.dilation[axis].saturating_mul(self.kernel[axis].saturating_sub(1));
                [total / 2, total - total / 2]
            }
        }
    }
}

impl Layer for Conv {
    fn forward(&self, scope: &Scope, x: &Tensor) -> Tensor {
        scope.run(self, self.site, x, |scope, x| {
            if x.rank() != 4 || !x.dtype().is_float() {
                let message = format!("needs f32[batch, channels, height, width], got {}", x.ty());
                return scope.fail("conv", message, x);
            }
            let inputs = x.shape()[1];
            if self.groups == 0 || !inputs.is_multiple_of(self.groups) {
                let message =
                    format!("{} groups do not divide the {inputs} channels of {}", self.groups, x.shape());
                return scope.fail("conv", message, x);
            }
            let inputs = inputs / self.groups;
            let [height, width] = self.kernel;
            let shape = [self.outputs, inputs, height, width];
            let weight = scope.parameter("weight", shape, self.weight_init.clone());
            let geometry = Conv2d {
                stride: self.stride,
                padding_height: self.sides(0),
                padding_width: self.sides(1),
                dilation: self.dilation,
                groups: self.groups,
            };
            let y = x.conv2d(&weight, geometry);
            if !self.bias {
                return y;
            }
            let bias = scope.parameter(
                "bias",
                [self.outputs],
                Init::bias(inputs.saturating_mul(height).saturating_mul(width)),
            );
            y + bias.reshape([1, -1, 1, 1])
        })
    }

    fn describe(&self) -> String {
        let mut text = match self.kernel {
            [height, width] if height == width => format!("conv({}, {height})", self.outputs),
            [height, width] => format!("conv({}, [{height}, {width}])", self.outputs),
        };
        if self.stride != [1, 1] {
            text += &format!(" stride {}x{}", self.stride[0], self.stride[1]);
        }
        match self.padding {
            Padding::Same => text += " same",
            Padding::Both([0, 0]) => {}
            Padding::Both([height, width]) => text += &format!(" padding {height}x{width}"),
        }
        text
    }

    fn config(&self) -> Result<Value> {
        self.write_named().map(Value::Table)
    }
}

/// `"same"`, or zeros on both sides: a whole number, or `[height, width]`.
impl SettingType for Padding {
    fn expects() -> String {
        "\"same\", a whole number, or [height, width]".into()
    }

    fn read(value: &Value, context: &Context<'_>) -> Result<Padding> {
        match value {
            Value::String(text) if text == "same" => Ok(Padding::Same),
            Value::String(text) => Err(Error::new(format!("should be {}, got {text:?}", Padding::expects()))),
            _ => <[usize; 2]>::read(value, context).map(Padding::Both),
        }
    }

    fn write(&self) -> Result<Option<Value>> {
        match self {
            Padding::Same => Ok(Some(Value::String("same".into()))),
            Padding::Both(extents) => extents.write(),
        }
    }
}

described! {
    Conv = "conv", "a convolution of images [batch, channels, height, width]", { site: Location::caller() };
    outputs as "channels": usize, None, (1..).into(), "output channels";
    kernel: [usize; 2], None, (1..).into(), "size of the kernel: one number, or [height, width]";
    stride: [usize; 2], Some([1, 1]), (1..).into(), "step of the kernel";
    padding: Padding, Some(Padding::Both([0, 0])), Range::ANY, "zeros on both sides, or \"same\"";
    dilation: [usize; 2], Some([1, 1]), (1..).into(), "distance between kernel taps";
    groups: usize, Some(1), (1..).into(), "groups of channels that see only themselves";
    bias: bool, Some(true), Range::ANY, "whether there is a bias";
    weight_init: Init, Some(Init::weight()), Range::ANY, "how the weight starts";
}
