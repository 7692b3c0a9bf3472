//! Transposed convolutions.

use super::convolution::{IntoSize, layout, with_bias};
use super::layer::Layer;
use super::scope::Scope;
use crate::init::Init;
use crate::settings::{Described, Range, Value};
use crate::tensor::{Geometry, Tensor};
use crate::{Result, described};
use std::panic::Location;

/// The transpose of a convolution over one or two axes. See [`conv_transpose`] and [`conv_transpose1d`].
#[derive(Clone, Debug)]
pub struct TransposedConvolution<const N: usize> {
    outputs: usize,
    kernel: [usize; N],
    stride: [usize; N],
    padding: [usize; N],
    output_padding: [usize; N],
    dilation: [usize; N],
    groups: usize,
    bias: bool,
    weight_init: Init,
    bias_init: Option<Init>,
    site: &'static Location<'static>,
}

/// A transposed convolution of series. See [`conv_transpose1d`].
pub type ConvTranspose1d = TransposedConvolution<1>;

/// A transposed convolution of images. See [`conv_transpose`].
pub type ConvTranspose = TransposedConvolution<2>;

/// The transpose of a convolution of images `[batch, channels, height, width]` with this many output channels and a
/// kernel of this size, which makes them larger: PyTorch's `nn.ConvTranspose2d`. Zeiler et al., CVPR 2010.
///
/// An extent n becomes (n − 1)·stride − 2·padding + dilation·(kernel − 1) + output padding + 1. Parameters: `weight
/// [inputs, outputs / groups, kh, kw]`, Kaiming uniform with a = √5, and `bias [outputs]`, uniform within
/// ±1/√(outputs / groups · kh · kw). The output padding must be smaller than the stride.
#[track_caller]
pub fn conv_transpose(outputs: usize, kernel: impl IntoSize) -> ConvTranspose {
    transposed(outputs, kernel.into_size())
}

/// The transpose of a convolution of series `[batch, channels, time]`: PyTorch's `nn.ConvTranspose1d`. See
/// [`conv_transpose`].
#[track_caller]
pub fn conv_transpose1d(outputs: usize, kernel: usize) -> ConvTranspose1d {
    transposed(outputs, [kernel])
}

#[track_caller]
fn transposed<const N: usize>(outputs: usize, kernel: [usize; N]) -> TransposedConvolution<N> {
    TransposedConvolution {
        outputs,
        kernel,
        stride: [1; N],
        padding: [0; N],
        output_padding: [0; N],
        dilation: [1; N],
        groups: 1,
        bias: true,
        weight_init: Init::weight(),
        bias_init: None,
        site: Location::caller(),
    }
}

impl<const N: usize> TransposedConvolution<N> {
    /// Step of the kernel, by which the result is larger. Default 1.
    #[must_use]
    pub fn stride(mut self, stride: impl IntoSize<N>) -> Self {
        self.stride = stride.into_size();
        self
    }

    /// How much is taken away on both sides. Default 0.
    #[must_use]
    pub fn padding(mut self, padding: impl IntoSize<N>) -> Self {
        self.padding = padding.into_size();
        self
    }

    /// How much is added at the end; smaller than the stride. Default 0.
    #[must_use]
    pub fn output_padding(mut self, padding: impl IntoSize<N>) -> Self {
        self.output_padding = padding.into_size();
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

    /// What an extent becomes along an axis; nothing if nothing is left, or it cannot be counted.
    fn extent(&self, axis: usize, extent: usize) -> Option<usize> {
        let reach = self.dilation[axis].checked_mul(self.kernel[axis].checked_sub(1)?)?;
        let grown = extent.checked_sub(1)?.checked_mul(self.stride[axis])?.checked_add(reach)?;
        let grown = grown.checked_add(self.output_padding[axis])?.checked_add(1)?;
        grown.checked_sub(self.padding[axis].checked_mul(2)?).filter(|&extent| extent > 0)
    }
}

impl<const N: usize> Layer for TransposedConvolution<N>
where
    TransposedConvolution<N>: Described,
{
    fn forward(&self, scope: &Scope, x: &Tensor) -> Tensor {
        scope.run(self, self.site, x, |scope, x| {
            let fail = |message: String| scope.fail(Self::NAME, message, x);
            if x.rank() != N + 2 || !x.dtype().is_float() {
                return fail(format!("needs f32{}, got {}", layout(N), x.ty()));
            }
            let (inputs, groups) = (x.shape()[1], self.groups);
            if groups == 0 || !inputs.is_multiple_of(groups) || !self.outputs.is_multiple_of(groups) {
                return fail(format!("{groups} groups do not divide {inputs} and {} channels", self.outputs));
            }
            if self.output_padding.iter().zip(self.stride).any(|(&padding, stride)| padding >= stride.max(1))
            {
                let message = format!(
                    "an output padding of {:?} is not smaller than the stride {:?}",
                    self.output_padding, self.stride
                );
                return fail(message);
            }
            let mut extents = [0; N];
            for (axis, to) in extents.iter_mut().enumerate() {
                match self.extent(axis, x.shape()[axis + 2]) {
                    Some(extent) => *to = extent,
                    None => return fail(format!("nothing is left of {}; use less padding", x.shape())),
                }
            }
            let each = self.outputs / groups;
            let shape: Vec<usize> = [inputs, each].into_iter().chain(self.kernel).collect();
            let weight = scope.parameter("weight", shape, self.weight_init.clone());
            let geometry = Geometry {
                stride: self.stride,
                sides: self.padding.map(|padding| [padding; 2]),
                dilation: self.dilation,
                groups,
            };
            let y = x.convolve_transposed(&weight, &geometry, extents);
            if !self.bias {
                return y;
            }
            let taps = self.kernel.iter().fold(each, |product, &taps| product.saturating_mul(taps));
            let init = self.bias_init.clone().unwrap_or_else(|| Init::bias(taps));
            with_bias(scope, y, self.outputs, init)
        })
    }

    fn describe(&self) -> String {
        let kernel: Vec<String> = self.kernel.iter().map(usize::to_string).collect();
        format!("{}({}, {})", Self::NAME, self.outputs, kernel.join("x"))
    }

    fn config(&self) -> Result<Value> {
        self.write_named().map(Value::Table)
    }
}

/// What files say of a transposed convolution.
macro_rules! described_convolutions {
    ($($type:ident, $axes:literal = $name:literal, $help:literal
        $(like $twin:literal $(but $differs:literal)?)?;)*) => {$(
        described! {
            $type = $name, $help $(like $twin $(but $differs)?)?, { site: Location::caller() };
            outputs as "channels": usize, None, (1..).into(), "output channels";
            kernel: [usize; $axes], None, (1..).into(), "size of the kernel";
            stride: [usize; $axes], Some([1; $axes]), (1..).into(), "step of the kernel, by which the result is larger";
            padding: [usize; $axes], Some([0; $axes]), (0..).into(), "how much is taken away on both sides";
            output_padding: [usize; $axes], Some([0; $axes]), (0..).into(),
                "how much is added at the end; smaller than the stride";
            dilation: [usize; $axes], Some([1; $axes]), (1..).into(), "distance between kernel taps";
            groups: usize, Some(1), (1..).into(), "groups of channels that see only themselves";
            bias: bool, Some(true), Range::ANY, "whether there is a bias";
            weight_init: Init, Some(Init::weight()), Range::ANY, "how the weight starts";
            bias_init: Option<Init>, Some(None), Range::ANY,
                "how the bias starts, by default uniform within ±1/√(outputs per group · taps)";
        }
    )*};
}
described_convolutions! {
    ConvTranspose, 2 = "conv_transpose", "the transpose of a convolution of images, which makes them larger"
        like "nn.ConvTranspose2d" but "the output padding is smaller than the stride, whatever the dilation";
    ConvTranspose1d, 1 = "conv_transpose1d", "the transpose of a convolution of series"
        like "nn.ConvTranspose1d" but "the output padding is smaller than the stride, whatever the dilation";
}
