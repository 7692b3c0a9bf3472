//! More functions of single elements, composed from the basic ones. Each is finite in the branches that it does not
//! take, so that their gradients do not spoil those of the branch that it takes.

use super::Tensor;
use super::arithmetic::{Operand, binary};
use super::node::fail;
use dropforge_ir::{BinaryKind, DType};
use std::f32::consts::{FRAC_PI_2, LN_2};

impl Tensor {
    /// The floats in f32, or what to return instead because they are none.
    #[track_caller]
    pub(crate) fn floats(&self, name: &str) -> Result<Tensor, Tensor> {
        if self.dtype().is_float() || self.node.error().is_some() {
            return Ok(self.widened());
        }
        Err(fail(name, format!("needs floats, got {}; cast first", self.ty()), &[self]))
    }

    /// The distance from 0, and where elements are negative. Unlike that of `abs`, the slope at 0 is 1, so that an odd
    /// function that is composed from both sides has its own there.
    #[track_caller]
    fn magnitude(&self) -> (Tensor, Tensor) {
        let negative = self.lt(0.0);
        (Tensor::select(&negative, -self, self), negative)
    }

    /// The first where negative, negated.
    #[track_caller]
    fn signed(&self, negative: &Tensor) -> Tensor {
        Tensor::select(negative, -self, self)
    }

    /// Tangent of each element, in radians.
    #[track_caller]
    pub fn tan(&self) -> Tensor {
        let x = match self.floats("tan") {
            Ok(x) => x,
            Err(failed) => return failed,
        };
        (x.sin() / x.cos()).cast(self.dtype())
    }

    /// Inverse sine of each element, from −π/2 to π/2; NaN outside −1 to 1.
    #[doc(alias = "arcsin")]
    #[track_caller]
    pub fn asin(&self) -> Tensor {
        let x = match self.floats("asin") {
            Ok(x) => x,
            Err(failed) => return failed,
        };
        (&x / ((1.0 - &x) * (1.0 + &x)).sqrt()).atan().cast(self.dtype())
    }

    /// Inverse cosine of each element, from 0 to π; NaN outside −1 to 1.
    #[doc(alias = "arccos")]
    #[track_caller]
    pub fn acos(&self) -> Tensor {
        let x = match self.floats("acos") {
            Ok(x) => x,
            Err(failed) => return failed,
        };
        (((1.0 - &x) / (1.0 + &x)).sqrt().atan() * 2.0).cast(self.dtype())
    }

    /// Inverse tangent of each element, from −π/2 to π/2.
    ///
    /// Moved to at most tan(π/8) by the inverse tangent's sum rule, then by a polynomial of degree 11 that was fitted
    /// there.
    #[doc(alias = "arctan")]
    #[track_caller]
    pub fn atan(&self) -> Tensor {
        const TAN_PI_8: f32 = 0.414_213_57;
        const TAN_3_PI_8: f32 = 2.414_213_6;
        let x = match self.floats("atan") {
            Ok(x) => x,
            Err(failed) => return failed,
        };
        let (a, negative) = x.magnitude();
        let (is_large, is_medium) = (a.gt(TAN_3_PI_8), a.gt(TAN_PI_8));
        let large = Tensor::select(&is_large, &a, TAN_3_PI_8);
        let rest = Tensor::select(&is_large, 0.0, &a);
        let near = Tensor::select(&is_medium, (&rest - 1.0) / (&rest + 1.0), &rest);
        let z = Tensor::select(&is_large, -1.0 / large, near);
        let offset =
            Tensor::select(&is_large, FRAC_PI_2, Tensor::select(&is_medium, FRAC_PI_2 / 2.0, &z * 0.0));
        let s = &z * &z;
        let fitted = [-0.142_399_83, 0.105_728_14, -0.060_332_417];
        let high = (&s * fitted[2] + fitted[1]) * &s + fitted[0];
        let slope = ((high * &s + 0.199_982_1) * &s - 0.333_333_07) * &s;
        (offset + (&z * slope + &z)).signed(&negative).cast(self.dtype())
    }

    /// The angle of the point (`x`, this) from the first axis, from −π to π; 0 at the origin. Zeros count as positive.
    #[doc(alias = "arctan2")]
    #[track_caller]
    pub fn atan2(&self, x: impl Operand) -> Tensor {
        let y = match self.floats("atan2") {
            Ok(y) => y,
            Err(failed) => return failed,
        };
        let x = x.beside(&y, "atan2").widened();
        let (a, left) = x.magnitude();
        let (b, below) = y.magnitude();
        let steep = b.gt(&a);
        let (low, high) = (Tensor::select(&steep, &a, &b), Tensor::select(&steep, &b, &a));
        let (origin, infinite) = (high.eq(0.0), low.eq(f32::INFINITY));
        let both = infinite.logical_or(&origin);
        let ratio = Tensor::select(&infinite, 1.0, low / Tensor::select(&both, 1.0, high));
        let angle = ratio.atan();
        let angle = Tensor::select(&steep, FRAC_PI_2 - &angle, &angle);
        let angle = Tensor::select(&left, std::f32::consts::PI - &angle, &angle);
        angle.signed(&below).cast(self.dtype())
    }

    /// Hyperbolic sine of each element.
    #[track_caller]
    pub fn sinh(&self) -> Tensor {
        let x = match self.floats("sinh") {
            Ok(x) => x,
            Err(failed) => return failed,
        };
        let (a, negative) = x.magnitude();
        let is_small = a.lt(1.0);
        let grown = Tensor::select(&is_small, &a, 0.0).expm1();
        let small = (&grown + &grown / (&grown + 1.0)) * 0.5;
        // Squares of half the way: e^x overflows before the result does.
        let half = (&a * 0.5).exp();
        let back = (&a * -0.5).exp();
        let large = &half * 0.5 * &half - &back * 0.5 * &back;
        Tensor::select(&is_small, small, large).signed(&negative).cast(self.dtype())
    }

    /// Hyperbolic cosine of each element.
    #[track_caller]
    pub fn cosh(&self) -> Tensor {
        let x = match self.floats("cosh") {
            Ok(x) => x,
            Err(failed) => return failed,
        };
        let half = (&x * 0.5).exp();
        let back = (&x * -0.5).exp();
        (&half * 0.5 * &half + &back * 0.5 * &back).cast(self.dtype())
    }

    /// Inverse hyperbolic sine of each element.
    #[doc(alias = "arcsinh")]
    #[track_caller]
    pub fn asinh(&self) -> Tensor {
        let x = match self.floats("asinh") {
            Ok(x) => x,
            Err(failed) => return failed,
        };
        let (a, negative) = x.magnitude();
        let is_large = a.gt(1e6);
        let near = Tensor::select(&is_large, 0.0, &a);
        let square = &near * &near;
        let near = (&near + &square / ((&square + 1.0).sqrt() + 1.0)).log1p();
        let far = Tensor::select(&is_large, &a, 1.0).log() + LN_2;
        Tensor::select(&is_large, far, near).signed(&negative).cast(self.dtype())
    }

    /// Inverse hyperbolic cosine of each element, not negative; NaN below 1.
    #[doc(alias = "arccosh")]
    #[track_caller]
    pub fn acosh(&self) -> Tensor {
        let x = match self.floats("acosh") {
            Ok(x) => x,
            Err(failed) => return failed,
        };
        let is_large = x.gt(1e6);
        let above = Tensor::select(&is_large, 1.0, &x - 1.0);
        let near = (&above + (&above * (&above + 2.0)).sqrt()).log1p();
        let far = Tensor::select(&is_large, &x, 1.0).log() + LN_2;
        Tensor::select(&is_large, far, near).cast(self.dtype())
    }

    /// Inverse hyperbolic tangent of each element; NaN outside −1 to 1.
    #[doc(alias = "arctanh")]
    #[track_caller]
    pub fn atanh(&self) -> Tensor {
        let x = match self.floats("atanh") {
            Ok(x) => x,
            Err(failed) => return failed,
        };
        ((x.log1p() - (-&x).log1p()) * 0.5).cast(self.dtype())
    }

    /// 2^x of each element.
    #[track_caller]
    pub fn exp2(&self) -> Tensor {
        let x = match self.floats("exp2") {
            Ok(x) => x,
            Err(failed) => return failed,
        };
        Tensor::full_like(&x, 2.0).pow(&x).cast(self.dtype())
    }

    /// Logarithm to base 2 of each element.
    #[track_caller]
    pub fn log2(&self) -> Tensor {
        let x = match self.floats("log2") {
            Ok(x) => x,
            Err(failed) => return failed,
        };
        (x.log() * std::f32::consts::LOG2_E).cast(self.dtype())
    }

    /// Logarithm to base 10 of each element.
    #[track_caller]
    pub fn log10(&self) -> Tensor {
        let x = match self.floats("log10") {
            Ok(x) => x,
            Err(failed) => return failed,
        };
        (x.log() * std::f32::consts::LOG10_E).cast(self.dtype())
    }

    /// ln(x / (1 − x)) of each element, the inverse of [`Tensor::sigmoid`].
    #[track_caller]
    pub fn logit(&self) -> Tensor {
        let x = match self.floats("logit") {
            Ok(x) => x,
            Err(failed) => return failed,
        };
        (x.log() - (-&x).log1p()).cast(self.dtype())
    }

    /// sin(πx) / (πx) of each element, 1 at 0.
    #[track_caller]
    pub fn sinc(&self) -> Tensor {
        let x = match self.floats("sinc") {
            Ok(x) => x,
            Err(failed) => return failed,
        };
        let middle = x.eq(0.0);
        let angle = Tensor::select(&middle, 1.0, x * std::f32::consts::PI);
        Tensor::select(&middle, 1.0, angle.sin() / angle).cast(self.dtype())
    }

    /// Each element without its fraction: the nearest integer towards 0. No gradient flows through it.
    #[doc(alias = "fix")]
    #[track_caller]
    pub fn trunc(&self) -> Tensor {
        Tensor::select(&self.lt(0.0), self.ceil(), self.floor())
    }

    /// The fraction of each element, with its sign.
    #[track_caller]
    pub fn frac(&self) -> Tensor {
        self - self.trunc()
    }

    /// Remainder of each pair with the sign of the right side, as Python's `%`. See [`Tensor::fmod`] for C's.
    #[track_caller]
    pub fn remainder(&self, other: impl Operand) -> Tensor {
        let other = other.beside(self, "remainder");
        let rest = binary("remainder", BinaryKind::Remainder, self, &other);
        let differ = rest.lt(0).ne(other.lt(0)).logical_and(rest.ne(0));
        Tensor::select(&differ, &rest + &other, &rest)
    }

    /// Quotient of each pair, rounded down, as Python's `//`. No gradient flows through it.
    #[track_caller]
    pub fn floor_divide(&self, other: impl Operand) -> Tensor {
        let other = other.beside(self, "floor_divide");
        if self.dtype().is_float() {
            return binary("floor_divide", BinaryKind::Divide, self, &other).floor();
        }
        let quotient = binary("floor_divide", BinaryKind::Divide, self, &other);
        let rest = self - &quotient * &other;
        let differ = rest.lt(0).ne(other.lt(0)).logical_and(rest.ne(0));
        Tensor::select(&differ, &quotient - 1, &quotient)
    }

    /// This + `weight`·(`end` − this): the way from this to `end`.
    #[track_caller]
    pub fn lerp(&self, end: &Tensor, weight: impl Operand) -> Tensor {
        let way = end - self;
        let weight = weight.beside(&way, "lerp");
        self + way * weight
    }

    /// √(x² + y²) of each pair, without overflow.
    #[track_caller]
    pub fn hypot(&self, other: impl Operand) -> Tensor {
        let a = match self.floats("hypot") {
            Ok(a) => a,
            Err(failed) => return failed,
        };
        let b = other.beside(&a, "hypot").widened();
        // A factor through which no gradient flows: its own cancels out.
        let scale = a.abs().maximum(b.abs()).detach();
        let usable = scale.gt(0.0).logical_and(scale.lt(f32::INFINITY));
        let scale = Tensor::select(&usable, scale, 1.0);
        let (a, b) = (a / &scale, b / &scale);
        ((&a * &a + &b * &b).sqrt() * scale).cast(self.dtype())
    }

    /// ln(e^a + e^b) of each pair, without overflow.
    #[track_caller]
    pub fn logaddexp(&self, other: impl Operand) -> Tensor {
        let a = match self.floats("logaddexp") {
            Ok(a) => a,
            Err(failed) => return failed,
        };
        let b = other.beside(&a, "logaddexp").widened();
        // Equal infinities have no distance.
        let distance = Tensor::select(&a.eq(&b), 0.0, &a - &b);
        (a.maximum(&b) + (-distance.abs()).exp().log1p()).cast(self.dtype())
    }

    /// x·ln(y) of each pair; 0 where x is 0 and y is not NaN.
    #[track_caller]
    pub fn xlogy(&self, other: impl Operand) -> Tensor {
        let x = match self.floats("xlogy") {
            Ok(x) => x,
            Err(failed) => return failed,
        };
        let y = other.beside(&x, "xlogy").widened();
        let flat = x.eq(0.0).logical_and(y.le(0.0).logical_or(y.eq(f32::INFINITY)));
        (&x * Tensor::select(&flat, 1.0, y).log()).cast(self.dtype())
    }

    /// 1 for positive elements, `at_zero` for 0, 0 for others. No gradient flows through it.
    #[track_caller]
    pub fn heaviside(&self, at_zero: f32) -> Tensor {
        let step = Tensor::select(&self.eq(0.0), at_zero, self.gt(0.0).cast(DType::F32));
        step.cast(self.dtype())
    }

    /// NaN replaced by `nan`, +∞ and −∞ by `positive` and `negative`.
    #[track_caller]
    pub fn nan_to_num(&self, nan: f32, positive: f32, negative: f32) -> Tensor {
        let low = Tensor::select(&self.eq(f32::NEG_INFINITY), negative, self);
        let high = Tensor::select(&self.eq(f32::INFINITY), positive, low);
        Tensor::select(&self.isnan(), nan, high)
    }

    /// Each element, or `low` if it is below. The gradient passes where it is above, as in PyTorch.
    #[doc(alias = "clip")]
    #[track_caller]
    pub fn clamp_min(&self, low: f32) -> Tensor {
        Tensor::select(&self.le(low), low, self)
    }

    /// Each element, or `high` if it is above. The gradient passes where it is below, as in PyTorch.
    #[doc(alias = "clip")]
    #[track_caller]
    pub fn clamp_max(&self, high: f32) -> Tensor {
        Tensor::select(&self.ge(high), high, self)
    }

    /// Degrees as radians.
    #[track_caller]
    pub fn deg2rad(&self) -> Tensor {
        self * (std::f32::consts::PI / 180.0)
    }

    /// Radians as degrees.
    #[track_caller]
    pub fn rad2deg(&self) -> Tensor {
        self * (180.0 / std::f32::consts::PI)
    }

    /// Which elements are no numbers, as bool.
    #[track_caller]
    pub fn isnan(&self) -> Tensor {
        self.ne(self)
    }

    /// Which elements are +∞ or −∞, as bool.
    #[track_caller]
    pub fn isinf(&self) -> Tensor {
        if self.dtype().is_float() { self.abs().eq(f32::INFINITY) } else { self.ne(self) }
    }

    /// Which elements are neither infinite nor NaN, as bool.
    #[track_caller]
    pub fn isfinite(&self) -> Tensor {
        if self.dtype().is_float() { self.abs().lt(f32::INFINITY) } else { self.eq(self) }
    }

    /// Which pairs are equal or at most `absolute` + `relative`·|other| apart, as bool. NaN is close to nothing.
    #[track_caller]
    pub fn isclose(&self, other: &Tensor, relative: f32, absolute: f32) -> Tensor {
        let (a, b) = (self.cast(DType::F32), other.cast(DType::F32));
        let near = (&a - &b).abs().le(b.abs() * relative + absolute).logical_and(b.isfinite());
        near.logical_or(a.eq(&b))
    }

    /// Whether all pairs are close: [`Tensor::isclose`], as one bool.
    #[track_caller]
    pub fn allclose(&self, other: &Tensor, relative: f32, absolute: f32) -> Tensor {
        self.isclose(other, relative, absolute).all(..)
    }
}
