//! Operations on single elements: functions, arithmetic with broadcasting, comparisons, selection, casts.

use super::Tensor;
use super::node::{apply, constant, fail};
use super::shapes::broadcast_shapes;
use dropforge_ir::{BinaryKind, CompareKind, DType, Literal, Op, Shape, UnaryKind};

/// The other side of an operation on pairs: a tensor, or a number that stands everywhere.
///
/// A number takes the element type of the tensor it meets. In arithmetic a tensor that cannot hold numbers of its sort
/// is raised as in NumPy: integers and truth values beside an `f32` become f32, truth values beside an `i32` become
/// i32. Tensors of different types never meet without a cast.
pub trait Operand {
    /// The operand next to `other`, of the operation `name`.
    #[doc(hidden)]
    fn beside(&self, other: &Tensor, name: &str) -> Tensor;

    /// What `other` becomes beside this in arithmetic.
    #[doc(hidden)]
    fn raise(&self, other: &Tensor) -> Tensor {
        other.clone()
    }
}

impl Operand for Tensor {
    fn beside(&self, _: &Tensor, _: &str) -> Tensor {
        self.clone()
    }
}

impl Operand for &Tensor {
    fn beside(&self, _: &Tensor, _: &str) -> Tensor {
        (*self).clone()
    }
}

impl Operand for f32 {
    #[track_caller]
    fn beside(&self, other: &Tensor, name: &str) -> Tensor {
        let dtype = other.dtype();
        if !dtype.is_float() && self.fract() != 0.0 {
            return fail(name, format!("{self} is no {dtype}; cast the tensor to f32 first"), &[other]);
        }
        constant(Literal::scalar(dtype, f64::from(*self)), Some(other))
    }

    #[track_caller]
    fn raise(&self, other: &Tensor) -> Tensor {
        if other.dtype().is_float() { other.clone() } else { other.cast(DType::F32) }
    }
}

impl Operand for i32 {
    #[track_caller]
    fn beside(&self, other: &Tensor, _: &str) -> Tensor {
        constant(Literal::scalar(other.dtype(), f64::from(*self)), Some(other))
    }

    #[track_caller]
    fn raise(&self, other: &Tensor) -> Tensor {
        if other.dtype() == DType::Bool { other.cast(DType::I32) } else { other.clone() }
    }
}

/// A tensor and what stands beside it in arithmetic, under one type if one of them is a number.
#[track_caller]
pub(crate) fn meet(tensor: &Tensor, other: &impl Operand, name: &str) -> (Tensor, Tensor) {
    let raised = other.raise(tensor);
    let other = other.beside(&raised, name);
    (raised, other)
}

/// Both sides under one shape.
#[track_caller]
fn together(name: &str, a: &Tensor, b: &Tensor) -> Result<(Tensor, Tensor), Tensor> {
    match broadcast_shapes(a.shape(), b.shape()) {
        Some(shape) => Ok((a.broadcast_to(&shape), b.broadcast_to(&shape))),
        None => {
            let message = format!("{} and {} do not broadcast together", a.shape(), b.shape());
            Err(fail(name, message, &[a, b]))
        }
    }
}

/// An operation on pairs, with broadcasting.
#[track_caller]
pub(crate) fn binary(name: &str, kind: BinaryKind, a: &Tensor, b: &Tensor) -> Tensor {
    match together(name, a, b) {
        Ok((a, b)) => apply(name, Op::Binary { kind }, &[&a, &b]),
        Err(failed) => failed,
    }
}

#[track_caller]
fn compare(name: &str, kind: CompareKind, a: &Tensor, b: impl Operand) -> Tensor {
    match together(name, a, &b.beside(a, name)) {
        Ok((a, b)) => apply(name, Op::Compare { kind }, &[&a, &b]),
        Err(failed) => failed,
    }
}

macro_rules! unary_methods {
    ($($(#[$doc:meta])* $name:ident = $kind:ident),* $(,)?) => {
        impl Tensor {
            $(
                $(#[$doc])*
                #[track_caller]
                pub fn $name(&self) -> Tensor {
                    apply(stringify!($name), Op::Unary { kind: UnaryKind::$kind }, &[self])
                }
            )*
        }
    };
}

unary_methods! {
    /// e^x of each element.
    exp = Exp,
    /// e^x − 1 of each element, exact near 0.
    expm1 = ExpMinusOne,
    /// Natural logarithm of each element.
    log = Log,
    /// ln(1 + x) of each element, exact near 0.
    log1p = LogOnePlus,
    /// Square root of each element.
    sqrt = SquareRoot,
    /// 1/√x of each element.
    rsqrt = ReciprocalSquareRoot,
    /// 1/x of each element.
    reciprocal = Reciprocal,
    /// |x| of each element; its gradient at 0 is 0.
    abs = Absolute,
    /// Sine of each element, in radians.
    sin = Sin,
    /// Cosine of each element, in radians.
    cos = Cos,
    /// Hyperbolic tangent of each element.
    tanh = Tanh,
    /// 1/(1 + e^−x) of each element.
    sigmoid = Sigmoid,
    /// max(x, 0) of each element.
    relu = Relu,
    /// Gauss error function of each element.
    erf = Erf,
    /// Largest integer not above each element. No gradient flows through it.
    floor = Floor,
    /// Smallest integer not below each element. No gradient flows through it.
    ceil = Ceil,
    /// Nearest integer to each element, ties to even. No gradient flows through it.
    round = Round,
    /// Logical not of each bool.
    logical_not = Not,
}

macro_rules! binary_methods {
    ($($(#[$doc:meta])* $name:ident = $kind:ident),* $(,)?) => {
        impl Tensor {
            $(
                $(#[$doc])*
                #[track_caller]
                pub fn $name(&self, other: impl Operand) -> Tensor {
                    let (this, other) = meet(self, &other, stringify!($name));
                    binary(stringify!($name), BinaryKind::$kind, &this, &other)
                }
            )*
        }
    };
}

binary_methods! {
    /// The larger of each pair; NaN if either is. At equal pairs each side gets half of the gradient.
    maximum = Maximum,
    /// The smaller of each pair; NaN if either is. At equal pairs each side gets half of the gradient.
    minimum = Minimum,
    /// a^b of each pair, f32 only.
    pow = Power,
    /// Remainder of each pair, with the sign of the left side (C's `fmod`).
    fmod = Remainder,
    /// Logical (bool) or bitwise (integers) and of each pair.
    logical_and = And,
    /// Logical (bool) or bitwise (integers) or of each pair.
    logical_or = Or,
    /// Logical (bool) or bitwise (integers) exclusive or of each pair.
    logical_xor = Xor,
}

macro_rules! compare_methods {
    ($($(#[$doc:meta])* $name:ident = $kind:ident),* $(,)?) => {
        impl Tensor {
            $(
                $(#[$doc])*
                #[track_caller]
                pub fn $name(&self, other: impl Operand) -> Tensor {
                    compare(stringify!($name), CompareKind::$kind, self, other)
                }
            )*
        }
    };
}

compare_methods! {
    /// Whether each pair is equal, as bool.
    eq = Equal,
    /// Whether each pair is not equal, as bool.
    ne = NotEqual,
    /// Whether the left of each pair is smaller, as bool.
    lt = Less,
    /// Whether the left of each pair is not larger, as bool.
    le = LessEqual,
    /// Whether the left of each pair is larger, as bool.
    gt = Greater,
    /// Whether the left of each pair is not smaller, as bool.
    ge = GreaterEqual,
}

impl Tensor {
    /// x^exponent of each element.
    #[track_caller]
    pub fn powf(&self, exponent: f32) -> Tensor {
        // A product is exact where a device's power function may not be, and PyTorch takes the root as well, which
        // differs from the power at −∞ and −0.
        if exponent == 2.0 {
            self * self
        } else if exponent == 0.5 {
            self.sqrt()
        } else {
            self.pow(exponent)
        }
    }

    /// x² of each element.
    #[track_caller]
    pub fn square(&self) -> Tensor {
        self * self
    }

    /// −1, 0 or 1 for each element, 0 for NaN as well. No gradient flows through it.
    #[track_caller]
    pub fn sign(&self) -> Tensor {
        let sign = apply("sign", Op::Unary { kind: UnaryKind::Sign }, &[self]);
        if !self.dtype().is_float() {
            return sign;
        }
        Tensor::select(&self.eq(self), &sign, 0.0)
    }

    /// Each element moved into `low..=high`; all become `high` where `low` is larger. The gradient is 0 from the bounds
    /// on, as in PyTorch, and at NaN, which stays.
    #[doc(alias = "clip")]
    #[track_caller]
    pub fn clamp(&self, low: f32, high: f32) -> Tensor {
        let low = if low > high { high } else { low };
        if !self.dtype().is_float() {
            return self.maximum(low).minimum(high);
        }
        let inside = self.gt(low).logical_and(self.lt(high));
        let bounds = Tensor::select(&self.ge(high), high, Tensor::select(&self.le(low), low, f32::NAN));
        Tensor::select(&inside, self, bounds.cast(self.dtype()))
    }

    /// Gaussian error linear unit, x·Φ(x) = x/2·(1 + erf(x/√2)): PyTorch's `gelu`. Hendrycks and Gimpel,
    /// arXiv:1606.08415.
    #[track_caller]
    pub fn gelu(&self) -> Tensor {
        let x = &self.widened();
        (x * 0.5 * ((x * std::f32::consts::FRAC_1_SQRT_2).erf() + 1.0)).cast(self.dtype())
    }

    /// GELU by its approximation x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³))): PyTorch's `gelu(approximate="tanh")`.
    ///
    /// Computed as x·sigmoid(2√(2/π)·(x + 0.044715·x³)), which is the same, since (1 + tanh u)/2 = sigmoid(2u), and
    /// keeps its relative accuracy where the tail of tanh cancels.
    #[track_caller]
    pub fn gelu_tanh(&self) -> Tensor {
        let linear = 2.0 * (2.0 / std::f64::consts::PI).sqrt();
        let cubic = 0.044_715 * linear;
        let x = &self.widened();
        (x * (x * (x * x * cubic as f32 + linear as f32)).sigmoid()).cast(self.dtype())
    }

    /// x·sigmoid(x) of each element: SiLU, also called swish.
    #[doc(alias = "swish")]
    #[track_caller]
    pub fn silu(&self) -> Tensor {
        let x = self.widened();
        (&x * x.sigmoid()).cast(self.dtype())
    }

    /// ln(1 + e^x) of each element, without overflow.
    #[track_caller]
    pub fn softplus(&self) -> Tensor {
        let x = self.widened();
        // At 0 the maximum passes half of the gradient, which is the slope.
        (x.maximum(0.0) + (-x.abs()).exp().log1p()).cast(self.dtype())
    }

    /// x where positive, `slope`·x elsewhere.
    #[track_caller]
    pub fn leaky_relu(&self, slope: f32) -> Tensor {
        let x = self.widened();
        Tensor::select(&x.gt(0.0), &x, &(&x * slope)).cast(self.dtype())
    }

    /// `a` where the condition (bool) holds, `b` elsewhere; all three broadcast. PyTorch's `where`.
    #[doc(alias = "where")]
    #[track_caller]
    pub fn select(condition: &Tensor, a: impl Operand, b: impl Operand) -> Tensor {
        let float = constant(Literal::f32(0.0), Some(condition));
        // A number takes the type of the tensor on the other side, or f32 beside another number.
        let a_first = a.beside(&float, "select");
        let b = b.beside(&a_first, "select");
        let a = a.beside(&b, "select");
        let args = [condition, &a, &b];
        let shape = broadcast_shapes(a.shape(), b.shape())
            .and_then(|shape| broadcast_shapes(&shape, condition.shape()));
        let Some(shape) = shape else {
            let shapes: Vec<String> = args.iter().map(|arg| arg.shape().to_string()).collect();
            return fail("select", format!("{} do not broadcast together", shapes.join(" and ")), &args);
        };
        let [condition, a, b] = args.map(|arg| arg.broadcast_to(&shape));
        apply("select", Op::Select {}, &[&condition, &a, &b])
    }

    /// The elements where the condition (bool) does not hold, `value` where it does.
    #[track_caller]
    pub fn masked_fill(&self, condition: &Tensor, value: f32) -> Tensor {
        Tensor::select(condition, value, self)
    }

    /// Each element converted. Floats are cut towards zero and kept in range on their way to integers, NaN gives 0;
    /// to bool is `x != 0`.
    #[track_caller]
    pub fn cast(&self, to: DType) -> Tensor {
        if self.dtype() == to { self.clone() } else { apply("cast", Op::Cast { to }, &[self]) }
    }

    /// Halves as f32, for functions that take several operations: each operation on them would round, and leave their
    /// range on the way to results that lie in it. Other types stay.
    #[track_caller]
    pub(crate) fn widened(&self) -> Tensor {
        if self.dtype().is_half() { self.cast(DType::F32) } else { self.clone() }
    }

    /// The elements repeated along axes of extent 1 and along new leading axes, as in PyTorch's `expand`.
    #[doc(alias = "expand")]
    #[track_caller]
    pub fn broadcast_to(&self, shape: impl super::IntoShape) -> Tensor {
        let (from, to): (&Shape, Shape) = (self.shape(), shape.into_shape());
        if *from == to {
            return self.clone();
        }
        if broadcast_shapes(from, &to).as_ref() != Some(&to) {
            return fail("broadcast_to", format!("{from} does not broadcast to {to}"), &[self]);
        }
        let new = to.rank() - from.rank();
        let kept: Vec<usize> = (0..from.rank()).filter(|&axis| from[axis] == to[new + axis]).collect();
        let axes = kept.iter().map(|axis| new + axis).collect();
        let squeezed = if kept.len() == from.rank() {
            self.clone()
        } else {
            let shape = kept.iter().map(|&axis| from[axis]).collect();
            apply("broadcast_to", Op::Reshape { shape }, &[self])
        };
        apply("broadcast_to", Op::Broadcast { shape: to, axes }, &[&squeezed])
    }
}
