//! Convolution layers.

use super::layer::Layer;
use super::scope::Scope;
use crate::init::Init;
use crate::settings::{Context, Described, Range, SettingType, Value};
use crate::tensor::{Geometry, PadMode, Tensor};
use crate::{Error, Result, described};
use std::panic::Location;

/// Something that gives a size along each of `N` axes: one number for all, or a list.
pub trait IntoSize<const N: usize = 2> {
    /// The size along each axis, such as height and width.
    fn into_size(self) -> [usize; N];
}

impl<const N: usize> IntoSize<N> for usize {
    fn into_size(self) -> [usize; N] {
        [self; N]
    }
}

impl<const N: usize> IntoSize<N> for [usize; N] {
    fn into_size(self) -> [usize; N] {
        self
    }
}

/// How much a convolution puts around what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding<const N: usize = 2> {
    /// The same on both sides of each axis.
    Both([usize; N]),
    /// So that a stride of 1 keeps the extents; an odd remainder goes to the end, as in PyTorch.
    Same,
    /// Before and after along each axis: top and bottom, left and right.
    Sides([[usize; 2]; N]),
}

/// What a convolution puts around.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PaddingMode {
    /// Zeros.
    #[default]
    Zeros,
    /// The elements mirrored at the outermost one, which is not repeated.
    Reflect,
    /// The outermost element repeated.
    Replicate,
    /// The elements from the other end.
    Circular,
}

impl PaddingMode {
    const NAMES: [(&'static str, PaddingMode); 4] = [
        ("zeros", PaddingMode::Zeros),
        ("reflect", PaddingMode::Reflect),
        ("replicate", PaddingMode::Replicate),
        ("circular", PaddingMode::Circular),
    ];

    pub(super) fn mode(self) -> PadMode {
        match self {
            PaddingMode::Zeros => PadMode::Constant(0.0),
            PaddingMode::Reflect => PadMode::Reflect,
            PaddingMode::Replicate => PadMode::Replicate,
            PaddingMode::Circular => PadMode::Circular,
        }
    }
}

/// A convolution over `N` axes, from one to three. See [`conv`], [`conv1d`] and [`conv3d`].
#[derive(Clone, Debug)]
pub struct Convolution<const N: usize> {
    outputs: usize,
    kernel: [usize; N],
    stride: [usize; N],
    padding: Padding<N>,
    padding_mode: PaddingMode,
    dilation: [usize; N],
    groups: usize,
    bias: bool,
    weight_init: Init,
    bias_init: Option<Init>,
    site: &'static Location<'static>,
}

/// A convolution of series. See [`conv1d`].
pub type Conv1d = Convolution<1>;

/// A convolution of images. See [`conv`].
pub type Conv = Convolution<2>;

/// A convolution of volumes. See [`conv3d`].
pub type Conv3d = Convolution<3>;

/// A convolution of images `[batch, channels, height, width]` with this many output channels and a kernel of this size:
/// PyTorch's `nn.Conv2d`. The number of input channels is taken from what it is given.
///
/// Parameters: `weight [outputs, inputs / groups, kh, kw]`, Kaiming uniform with a = √5, and `bias [outputs]`, uniform
/// within ±1/√(inputs / groups · kh · kw). Defaults: stride 1, no padding, no dilation, one group, with bias.
///
/// ```
/// use dropforge::prelude::*;
///
/// let net = Network::compile(conv(6, 5).same(), [1, 28, 28])?;
/// assert_eq!(net.output().map(|ty| ty.shape.to_vec()), Some(vec![1, 6, 28, 28]));
/// # Ok::<(), dropforge::Error>(())
/// ```
#[doc(alias = "Conv2d")]
#[track_caller]
pub fn conv(outputs: usize, kernel: impl IntoSize) -> Conv {
    convolution(outputs, kernel.into_size())
}

/// A convolution of series `[batch, channels, time]`: PyTorch's `nn.Conv1d`. Parameters and defaults are those of
/// [`conv`].
#[track_caller]
pub fn conv1d(outputs: usize, kernel: usize) -> Conv1d {
    convolution(outputs, [kernel])
}

/// A convolution of volumes `[batch, channels, depth, height, width]`: PyTorch's `nn.Conv3d`. Parameters and defaults
/// are those of [`conv`].
#[track_caller]
pub fn conv3d(outputs: usize, kernel: impl IntoSize<3>) -> Conv3d {
    convolution(outputs, kernel.into_size())
}

#[track_caller]
fn convolution<const N: usize>(outputs: usize, kernel: [usize; N]) -> Convolution<N> {
    Convolution {
        outputs,
        kernel,
        stride: [1; N],
        padding: Padding::Both([0; N]),
        padding_mode: PaddingMode::Zeros,
        dilation: [1; N],
        groups: 1,
        bias: true,
        weight_init: Init::weight(),
        bias_init: None,
        site: Location::caller(),
    }
}

impl<const N: usize> Convolution<N> {
    /// Step of the kernel. Default 1.
    #[must_use]
    pub fn stride(mut self, stride: impl IntoSize<N>) -> Self {
        self.stride = stride.into_size();
        self
    }

    /// So much padding on both sides. Default 0.
    #[must_use]
    pub fn padding(mut self, padding: impl IntoSize<N>) -> Self {
        self.padding = Padding::Both(padding.into_size());
        self
    }

    /// So much padding before and after along each axis, such as `[[top, bottom], [left, right]]`.
    #[must_use]
    pub fn padding_sides(mut self, sides: [[usize; 2]; N]) -> Self {
        self.padding = Padding::Sides(sides);
        self
    }

    /// So much padding that a stride of 1 keeps the extents.
    #[must_use]
    pub fn same(mut self) -> Self {
        self.padding = Padding::Same;
        self
    }

    /// What the padding is. Default zeros.
    #[must_use]
    pub fn padding_mode(mut self, mode: PaddingMode) -> Self {
        self.padding_mode = mode;
        self
    }

    /// Distance between kernel taps. Default 1.
    #[must_use]
    pub fn dilation(mut self, dilation: impl IntoSize<N>) -> Self {
        self.dilation = dilation.into_size();
        self
    }

    /// Groups of channels that see only themselves; divides both channel counts. Default 1.
    #[must_use]
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// Whether there is a bias. Default `true`.
    #[must_use]
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// How the weight starts.
    #[must_use]
    pub fn weight_init(mut self, init: Init) -> Self {
        self.weight_init = init;
        self
    }

    /// How the bias starts.
    #[must_use]
    pub fn bias_init(mut self, init: Init) -> Self {
        self.bias_init = Some(init);
        self
    }

    /// Padding before and after, along one axis.
    fn sides(&self, axis: usize) -> [usize; 2] {
        match self.padding {
            Padding::Both(padding) => [padding[axis]; 2],
            Padding::Sides(sides) => sides[axis],
            Padding::Same => {
                let total = self.dilation[axis].saturating_mul(self.kernel[axis].saturating_sub(1));
                [total / 2, total - total / 2]
            }
        }
    }
}

/// `[batch, channels, height, width]` for so many axes.
pub(super) fn layout(axes: usize) -> &'static str {
    match axes {
        1 => "[batch, channels, time]",
        2 => "[batch, channels, height, width]",
        _ => "[batch, channels, depth, height, width]",
    }
}

/// Adds the bias of channels, which stand on axis 1.
#[track_caller]
pub(super) fn with_bias(scope: &Scope, y: Tensor, channels: usize, init: Init) -> Tensor {
    let mut along = vec![1; y.rank()];
    if let Some(axis) = along.get_mut(1) {
        *axis = channels;
    }
    y + scope.parameter("bias", [channels], init).reshape(along)
}

impl<const N: usize> Layer for Convolution<N>
where
    Convolution<N>: Described,
{
    fn forward(&self, scope: &Scope, x: &Tensor) -> Tensor {
        scope.run(self, self.site, x, |scope, x| {
            if x.rank() != N + 2 || !x.dtype().is_float() {
                let message = format!("needs f32{}, got {}", layout(N), x.ty());
                return scope.fail(Self::NAME, message, x);
            }
            let inputs = x.shape()[1];
            if self.groups == 0 || !inputs.is_multiple_of(self.groups) {
                let message =
                    format!("{} groups do not divide the {inputs} channels of {}", self.groups, x.shape());
                return scope.fail(Self::NAME, message, x);
            }
            let inputs = inputs / self.groups;
            let shape: Vec<usize> = [self.outputs, inputs].into_iter().chain(self.kernel).collect();
            let weight = scope.parameter("weight", shape, self.weight_init.clone());
            let mut geometry = Geometry {
                stride: self.stride,
                sides: std::array::from_fn(|axis| self.sides(axis)),
                dilation: self.dilation,
                groups: self.groups,
            };
            let mut x = x.clone();
            if self.padding_mode != PaddingMode::Zeros {
                let count = |count: usize| isize::try_from(count).unwrap_or(isize::MAX);
                let sides = geometry.sides.map(|[low, high]| (count(low), count(high)));
                let around: Vec<_> = [(0, 0); 2].into_iter().chain(sides).collect();
                x = x.pad_with(&around, self.padding_mode.mode());
                geometry.sides = [[0, 0]; N];
            }
            let y = x.convolve(&weight, &geometry);
            if !self.bias {
                return y;
            }
            let taps = self.kernel.iter().fold(inputs, |product, &taps| product.saturating_mul(taps));
            let init = self.bias_init.clone().unwrap_or_else(|| Init::bias(taps));
            with_bias(scope, y, self.outputs, init)
        })
    }

    fn describe(&self) -> String {
        let joined =
            |sizes: &[usize], by: &str| sizes.iter().map(usize::to_string).collect::<Vec<_>>().join(by);
        let kernel = match self.kernel.iter().all(|&size| size == self.kernel[0]) {
            true => self.kernel[0].to_string(),
            false => format!("[{}]", joined(&self.kernel, ", ")),
        };
        let mut text = format!("{}({}, {kernel})", Self::NAME, self.outputs);
        if self.stride != [1; N] {
            text += &format!(" stride {}", joined(&self.stride, "x"));
        }
        match self.padding {
            Padding::Same => text += " same",
            Padding::Both(sizes) if sizes == [0; N] => {}
            Padding::Both(sizes) => text += &format!(" padding {}", joined(&sizes, "x")),
            Padding::Sides(sides) => {
                let sides: Vec<String> = sides.iter().map(|[low, high]| format!("{low}+{high}")).collect();
                text += &format!(" padding {}", sides.join("x"));
            }
        }
        text
    }

    fn config(&self) -> Result<Value> {
        self.write_named().map(Value::Table)
    }
}

/// `"same"`; a whole number; or for each axis a whole number, or a pair of them.
impl<const N: usize> SettingType for Padding<N> {
    fn expects() -> String {
        format!("\"same\", a whole number, or a list of {N}, each a whole number or [before, after]")
    }

    fn read(value: &Value, context: &Context<'_>) -> Result<Padding<N>> {
        match value {
            Value::String(text) if text == "same" => Ok(Padding::Same),
            Value::String(text) => {
                Err(Error::setting(format!("should be {}, got {text:?}", Padding::<N>::expects())))
            }
            Value::Array(items) if items.iter().any(Value::is_array) => {
                let sides = items.iter().map(|item| <[usize; 2]>::read(item, context));
                let sides: [[usize; 2]; N] = sides.collect::<Result<Vec<_>>>()?.try_into().map_err(|_| {
                    Error::setting(format!("should be {}, got {value}", Padding::<N>::expects()))
                })?;
                Ok(Padding::Sides(sides))
            }
            _ => <[usize; N]>::read(value, context).map(Padding::Both),
        }
    }

    fn write(&self) -> Result<Option<Value>> {
        match self {
            Padding::Same => Ok(Some(Value::String("same".into()))),
            Padding::Both(extents) => extents.write(),
            Padding::Sides(sides) => sides.map(Vec::from).to_vec().write(),
        }
    }
}

impl SettingType for PaddingMode {
    fn expects() -> String {
        "\"zeros\", \"reflect\", \"replicate\" or \"circular\"".into()
    }

    fn read(value: &Value, _: &Context<'_>) -> Result<PaddingMode> {
        let found = PaddingMode::NAMES.iter().find(|(name, _)| value.as_str() == Some(name));
        let wrong = || Error::setting(format!("should be {}, got {value}", PaddingMode::expects()));
        found.map(|(_, mode)| *mode).ok_or_else(wrong)
    }

    fn write(&self) -> Result<Option<Value>> {
        let name = PaddingMode::NAMES.iter().find(|(_, mode)| mode == self).map(|(name, _)| *name);
        Ok(name.map(|name| Value::String(name.into())))
    }
}

/// What files say of a convolution.
macro_rules! described_convolutions {
    ($($type:ident, $axes:literal = $name:literal, $help:literal
        $(like $twin:literal $(but $differs:literal)?)?, $size:literal;)*) => {$(
        described! {
            $type = $name, $help $(like $twin $(but $differs)?)?, { site: Location::caller() };
            outputs as "channels": usize, None, (1..).into(), "output channels";
            kernel: [usize; $axes], None, (1..).into(), $size;
            stride: [usize; $axes], Some([1; $axes]), (1..).into(), "step of the kernel";
            padding: Padding<$axes>, Some(Padding::Both([0; $axes])), Range::ANY, "how much is put around";
            padding_mode: PaddingMode, Some(PaddingMode::Zeros), Range::ANY, "what is put around";
            dilation: [usize; $axes], Some([1; $axes]), (1..).into(), "distance between kernel taps";
            groups: usize, Some(1), (1..).into(), "groups of channels that see only themselves";
            bias: bool, Some(true), Range::ANY, "whether there is a bias";
            weight_init: Init, Some(Init::weight()), Range::ANY, "how the weight starts";
            bias_init: Option<Init>, Some(None), Range::ANY,
                "how the bias starts, by default uniform within ±1/√(inputs of an output)";
        }
    )*};
}
described_convolutions! {
    Conv1d, 1 = "conv1d", "a convolution of series [batch, channels, time]"
        like "nn.Conv1d" but "padding of two sides may differ", "size of the kernel";
    Conv, 2 = "conv", "a convolution of images [batch, channels, height, width]"
        like "nn.Conv2d" but "padding of two sides may differ",
        "size of the kernel: one number, or [height, width]";
    Conv3d, 3 = "conv3d", "a convolution of volumes [batch, channels, depth, height, width]"
        like "nn.Conv3d" but "padding of two sides may differ; kernels up to 1,024 deep",
        "size of the kernel: one number, or [depth, height, width]";
}
