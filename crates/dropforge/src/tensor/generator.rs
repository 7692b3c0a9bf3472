//! Random tensors from an explicit, seeded generator.

use super::node::{apply, fail};
use super::{IntoShape, Tensor};
use dropforge_ir::{BinaryKind, DType, Op, Shape};

/// A source of random tensors. The same seed gives the same numbers on every device; each call gives new ones.
///
/// ```
/// use dropforge::prelude::*;
///
/// let mut generator = Generator::new(7);
/// let (a, b) = (generator.randn([3]), generator.randn([3]));
/// assert_ne!(a.to_vec::<f32>()?, b.to_vec::<f32>()?);
/// assert_eq!(a.to_vec::<f32>()?, Generator::new(7).randn([3]).to_vec::<f32>()?);
/// # Ok::<(), dropforge::Error>(())
/// ```
#[doc(alias = "manual_seed")]
#[derive(Clone, Debug)]
pub struct Generator {
    seed: u64,
    step: u32,
}

impl Generator {
    /// A generator that starts at the beginning of the numbers of `seed`.
    pub fn new(seed: u64) -> Generator {
        Generator { seed, step: 0 }
    }

    /// Random bits, u32.
    #[track_caller]
    pub fn bits(&mut self, shape: impl IntoShape) -> Tensor {
        let seed = Tensor::from_vec(vec![self.seed as u32, (self.seed >> 32) as u32], [2]);
        let step = Tensor::from(self.step);
        self.step = self.step.wrapping_add(1);
        apply("rand", Op::RandomBits { shape: shape.into_shape(), stream: 0 }, &[&seed, &step])
    }

    /// Evenly distributed f32 from 0 up to 1, which is left out.
    #[track_caller]
    pub fn rand(&mut self, shape: impl IntoShape) -> Tensor {
        uniform(&self.bits(shape))
    }

    /// Evenly distributed f32 from `low` up to `high`, which is left out unless both are equal. Bounds that are not
    /// finite or reversed are an error that the first call returning a result shows.
    #[track_caller]
    pub fn uniform(&mut self, shape: impl IntoShape, low: f32, high: f32) -> Tensor {
        if !low.is_finite() || !high.is_finite() || low > high {
            return fail("uniform", format!("there are no numbers from {low} up to {high}"), &[]);
        }
        let fraction = self.rand(shape);
        let width = high - low;
        let number = if width.is_finite() {
            fraction * width + low
        } else {
            &fraction * high + (1.0 - &fraction) * low
        };
        // Sums may be rounded up to the end, as often as a number is rounded up to any other; the lower end has half of
        // its share from rounding down, and takes the other half from there.
        Tensor::select(&number.ge(high), low, &number)
    }

    /// Normally distributed f32 with mean 0 and variance 1.
    #[doc(alias = "torch.randn")]
    #[track_caller]
    pub fn randn(&mut self, shape: impl IntoShape) -> Tensor {
        let shape = shape.into_shape();
        let pairs: Shape = [2].into_iter().chain(shape.iter().copied()).collect();
        normal(&self.bits(pairs))
    }

    /// Evenly distributed integers from `low` up to `high`, which is left out, as i32. That no integer lies between
    /// them is an error that the first call returning a result shows.
    #[track_caller]
    pub fn randint(&mut self, shape: impl IntoShape, low: i32, high: i32) -> Tensor {
        if low >= high {
            return fail("randint", format!("there are no integers from {low} up to {high}"), &[]);
        }
        // As many as fit u32, of which i32 holds half; the sum wraps around to where it belongs.
        let width = high.wrapping_sub(low) as u32;
        let bits = self.bits(shape);
        let picked = super::arithmetic::binary("randint", BinaryKind::Remainder, &bits, &Tensor::from(width));
        picked.cast(DType::I32) + low
    }
}

impl Tensor {
    /// Evenly distributed f32 from 0 up to 1, which is left out, from a generator.
    #[track_caller]
    pub fn rand(shape: impl IntoShape, generator: &mut Generator) -> Tensor {
        generator.rand(shape)
    }

    /// Normally distributed f32 with mean 0 and variance 1, from a generator.
    #[track_caller]
    pub fn randn(shape: impl IntoShape, generator: &mut Generator) -> Tensor {
        generator.randn(shape)
    }
}

/// The upper 24 bits as a fraction: every value is exact in f32.
#[track_caller]
pub(crate) fn uniform(bits: &Tensor) -> Tensor {
    let upper = super::arithmetic::binary("rand", BinaryKind::ShiftRight, bits, &Tensor::scalar_u32(8));
    upper.cast(DType::F32) * (1.0 / 16_777_216.0)
}

/// Box and Muller's transform of pairs along the first axis.
#[track_caller]
fn normal(bits: &Tensor) -> Tensor {
    let uniform = uniform(bits);
    // 1 − u is above 0, so its logarithm is finite.
    let radius = ((1.0 - uniform.at(0, 0)).log() * -2.0).sqrt();
    radius * (uniform.at(0, 1) * std::f32::consts::TAU).cos()
}

impl Tensor {
    #[track_caller]
    pub(crate) fn scalar_u32(value: u32) -> Tensor {
        super::node::constant(dropforge_ir::Literal::u32(value), None)
    }
}
