//! Activation functions beyond the basic ones, under PyTorch's names. At a kink each has PyTorch's slope.

use super::Tensor;
use super::node::fail;
use super::shapes::resolve_axis;

/// Constants of SELU, from the paper.
const SELU_ALPHA: f32 = 1.673_263_2;
const SELU_SCALE: f32 = 1.050_701;

impl Tensor {
    /// `positive` where the elements are above 0, α·(e^(x/`width`) − 1) elsewhere.
    #[track_caller]
    fn exponential_below(&self, positive: f32, alpha: f32, width: f32) -> Tensor {
        let is_positive = self.gt(0.0);
        let negative = (Tensor::select(&is_positive, 0.0, self) * (1.0 / width)).expm1() * alpha;
        let identity = if positive == 1.0 { self.clone() } else { self * positive };
        Tensor::select(&is_positive, identity, negative)
    }

    /// x where positive, α·(e^x − 1) elsewhere. Clevert et al., arXiv:1511.07289.
    #[track_caller]
    pub fn elu(&self, alpha: f32) -> Tensor {
        match self.floats("elu") {
            Ok(x) => x.exponential_below(1.0, alpha, 1.0).cast(self.dtype()),
            Err(failed) => failed,
        }
    }

    /// x where positive, α·(e^(x/α) − 1) elsewhere. Barron, arXiv:1704.07483.
    #[track_caller]
    pub fn celu(&self, alpha: f32) -> Tensor {
        match self.floats("celu") {
            Ok(x) => x.exponential_below(1.0, alpha, alpha).cast(self.dtype()),
            Err(failed) => failed,
        }
    }

    /// λx where positive, λα·(e^x − 1) elsewhere, with the α and λ that keep mean and variance. Klambauer et al.,
    /// arXiv:1706.02515.
    #[track_caller]
    pub fn selu(&self) -> Tensor {
        match self.floats("selu") {
            Ok(x) => x.exponential_below(SELU_SCALE, SELU_SCALE * SELU_ALPHA, 1.0).cast(self.dtype()),
            Err(failed) => failed,
        }
    }

    /// x between `low` and `high`, the nearer one outside. No gradient passes outside, nor at the ends.
    #[track_caller]
    pub fn hard_tanh(&self, low: f32, high: f32) -> Tensor {
        Tensor::select(&self.le(low), low, Tensor::select(&self.ge(high), high, self))
    }

    /// x between 0 and 6, the nearer one outside.
    #[track_caller]
    pub fn relu6(&self) -> Tensor {
        self.hard_tanh(0.0, 6.0)
    }

    /// x/6 + 1/2 between −3 and 3, 0 below, 1 above. Howard et al., arXiv:1905.02244.
    #[doc(alias = "hardsigmoid")]
    #[track_caller]
    pub fn hard_sigmoid(&self) -> Tensor {
        let x = match self.floats("hard_sigmoid") {
            Ok(x) => x,
            Err(failed) => return failed,
        };
        let line = &x * (1.0 / 6.0) + 0.5;
        Tensor::select(&x.le(-3.0), 0.0, Tensor::select(&x.ge(3.0), 1.0, line)).cast(self.dtype())
    }

    /// x·[`Tensor::hard_sigmoid`], and 0 at −∞. Howard et al., arXiv:1905.02244.
    #[doc(alias = "hardswish")]
    #[track_caller]
    pub fn hard_swish(&self) -> Tensor {
        let x = match self.floats("hard_swish") {
            Ok(x) => x,
            Err(failed) => return failed,
        };
        let inner = Tensor::select(&x.abs().lt(3.0), &x, 0.0);
        let curve = &inner * (&inner * (1.0 / 6.0) + 0.5);
        let outer = Tensor::select(&x.le(-3.0), 0.0, &x);
        Tensor::select(&x.abs().lt(3.0), curve, outer).cast(self.dtype())
    }

    /// x·tanh(softplus(x)). Misra, arXiv:1908.08681.
    ///
    /// Computed as x·n/(n + 2) with n = e^x·(e^x + 2), which is the same and keeps its relative accuracy.
    #[track_caller]
    pub fn mish(&self) -> Tensor {
        let x = match self.floats("mish") {
            Ok(x) => x,
            Err(failed) => return failed,
        };
        // From here on the fraction is 1 in f32.
        let is_large = x.gt(20.0);
        let grown = Tensor::select(&is_large, 0.0, &x).exp();
        let n = &grown * (&grown + 2.0);
        let gate = &n / (&n + 2.0);
        Tensor::select(&is_large, &x, &x * gate).cast(self.dtype())
    }

    /// ln sigmoid(x), without overflow.
    #[doc(alias = "logsigmoid")]
    #[track_caller]
    pub fn log_sigmoid(&self) -> Tensor {
        match self.floats("log_sigmoid") {
            Ok(x) => (x.minimum(0.0) - (-x.abs()).exp().log1p()).cast(self.dtype()),
            Err(failed) => failed,
        }
    }

    /// x / (1 + |x|).
    #[track_caller]
    pub fn softsign(&self) -> Tensor {
        match self.floats("softsign") {
            Ok(x) => (&x / (x.abs() + 1.0)).cast(self.dtype()),
            Err(failed) => failed,
        }
    }

    /// x − tanh(x).
    #[doc(alias = "tanhshrink")]
    #[track_caller]
    pub fn tanh_shrink(&self) -> Tensor {
        match self.floats("tanh_shrink") {
            Ok(x) => (&x - x.tanh()).cast(self.dtype()),
            Err(failed) => failed,
        }
    }

    /// x moved towards 0 by `lambda`, and 0 where it would pass it.
    #[doc(alias = "softshrink")]
    #[track_caller]
    pub fn soft_shrink(&self, lambda: f32) -> Tensor {
        let inside = self.abs().le(lambda);
        let moved = Tensor::select(&self.gt(0.0), self - lambda, self + lambda);
        Tensor::select(&inside, 0.0, moved)
    }

    /// x where its distance from 0 is above `lambda`, 0 elsewhere.
    #[doc(alias = "hardshrink")]
    #[track_caller]
    pub fn hard_shrink(&self, lambda: f32) -> Tensor {
        Tensor::select(&self.abs().le(lambda), 0.0, self)
    }

    /// x where it is above `threshold`, `value` elsewhere.
    #[track_caller]
    pub fn threshold(&self, threshold: f32, value: f32) -> Tensor {
        Tensor::select(&self.le(threshold), value, self)
    }

    /// x where positive, `slope`·x elsewhere; the slope broadcasts. He et al., arXiv:1502.01852.
    #[track_caller]
    pub fn prelu(&self, slope: &Tensor) -> Tensor {
        Tensor::select(&self.gt(0.0), self, self * slope)
    }

    /// The halves along an axis, in f32.
    #[track_caller]
    fn halves_along(&self, name: &str, axis: isize) -> Result<[Tensor; 2], Tensor> {
        let resolved = resolve_axis(axis, self.shape()).map_err(|message| fail(name, message, &[self]))?;
        let extent = self.shape()[resolved];
        if !extent.is_multiple_of(2) {
            return Err(fail(name, format!("axis {axis} of {} cannot be halved", self.shape()), &[self]));
        }
        let x = self.floats(name)?;
        Ok([x.slice(axis, ..extent / 2), x.slice(axis, extent / 2..)])
    }

    /// The first half along an axis times the sigmoid of the second. Dauphin et al., arXiv:1612.08083.
    #[track_caller]
    pub fn glu(&self, axis: isize) -> Tensor {
        match self.halves_along("glu", axis) {
            Ok([value, gate]) => (value * gate.sigmoid()).cast(self.dtype()),
            Err(failed) => failed,
        }
    }

    /// The first half along an axis times the SiLU of the second. Shazeer, arXiv:2002.05202.
    #[track_caller]
    pub fn swiglu(&self, axis: isize) -> Tensor {
        match self.halves_along("swiglu", axis) {
            Ok([value, gate]) => (value * gate.silu()).cast(self.dtype()),
            Err(failed) => failed,
        }
    }
}
