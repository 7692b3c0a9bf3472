//! Operators that work element by element.

use super::{Call, Importer, Item, Tensor};
use crate::{Result, element, failed};
use dropforge_ir::{BinaryKind, CompareKind, DType, UnaryKind, Value};

type Results = Result<Vec<Item>>;

/// One tensor as the result of a node.
pub(super) fn one(value: Value, element: i64) -> Results {
    Ok(vec![Item::Tensor(Tensor { value, element })])
}

impl Importer<'_, '_> {
    /// An integer that has come out of the range of a narrow type wraps around.
    pub(super) fn wrapped(&mut self, x: Value, element: i64) -> Result<Value> {
        let Some((bits, signed)) = element::narrow(element) else { return Ok(x) };
        let half = if signed { f64::from(1u32 << (bits - 1)) } else { 0.0 };
        let shifted = if signed { self.b.plus(x, half)? } else { x };
        let masked = self.b.with(BinaryKind::And, shifted, f64::from((1u32 << bits) - 1))?;
        if signed { self.b.plus(masked, -half) } else { Ok(masked) }
    }

    /// A conversion between types of the model.
    pub(super) fn converted(&mut self, x: Tensor, to: i64) -> Result<Value> {
        let dtype = element::computed(to)?;
        let mut value = self.b.cast(x.value, dtype)?;
        let narrower = match (element::narrow(x.element), element::narrow(to)) {
            (_, None) => false,
            (None, _) => x.element != element::BOOL,
            (Some((from, from_signed)), Some((bits, signed))) => {
                bits < from || (signed, bits) != (from_signed, from)
            }
        };
        if narrower {
            value = self.wrapped(value, to)?;
        }
        Ok(value)
    }
}

macro_rules! unary {
    ($($name:ident = $kind:ident),* $(,)?) => {$(
        pub(super) fn $name<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
            let x = call.tensor(0)?;
            let y = m.b.unary(UnaryKind::$kind, x.value)?;
            one(y, x.element)
        }
    )*};
}

unary! {
    ceil = Ceil, cos = Cos, erf = Erf, exp = Exp, floor = Floor, log = Log, not = Not, reciprocal = Reciprocal,
    round = Round, sigmoid = Sigmoid, sin = Sin, sqrt = SquareRoot, tanh = Tanh,
}

macro_rules! of_signed {
    ($($name:ident = $kind:ident),* $(,)?) => {$(
        pub(super) fn $name<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
            let x = call.tensor(0)?;
            let unsigned = m.b.dtype(x.value) == DType::U32;
            let value = if unsigned { m.b.cast(x.value, DType::I32)? } else { x.value };
            let y = m.b.unary(UnaryKind::$kind, value)?;
            let y = if unsigned { m.b.cast(y, DType::U32)? } else { y };
            let y = m.wrapped(y, x.element)?;
            one(y, x.element)
        }
    )*};
}

of_signed! { neg = Negate, sign = Sign }

pub(super) fn abs<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    if m.b.dtype(x.value) == DType::U32 {
        return one(x.value, x.element);
    }
    let y = m.b.unary(UnaryKind::Absolute, x.value)?;
    one(y, x.element)
}

pub(super) fn relu<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let y = match m.b.dtype(x.value).is_float() {
        true => m.b.unary(UnaryKind::Relu, x.value)?,
        false => m.b.with(BinaryKind::Maximum, x.value, 0.0)?,
    };
    one(y, x.element)
}

macro_rules! binary {
    ($($name:ident = $kind:ident),* $(,)?) => {$(
        pub(super) fn $name<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
            let (a, b) = (call.tensor(0)?, call.tensor(1)?);
            let y = m.b.binary(BinaryKind::$kind, a.value, b.value)?;
            let y = m.wrapped(y, a.element)?;
            one(y, a.element)
        }
    )*};
}

binary! {
    add = Add, sub = Subtract, mul = Multiply, div = Divide, and = And, or = Or, xor = Xor, bitwise_and = And,
    bitwise_or = Or, bitwise_xor = Xor,
}

pub(super) fn bitwise_not<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let ones = if m.b.dtype(x.value) == DType::U32 { f64::from(u32::MAX) } else { -1.0 };
    let y = m.b.with(BinaryKind::Xor, x.value, ones)?;
    let y = m.wrapped(y, x.element)?;
    one(y, x.element)
}

pub(super) fn bit_shift<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let (x, by) = (call.tensor(0)?, call.tensor(1)?);
    let is_signed = matches!(x.element, element::INT8 | element::INT16 | element::INT32 | element::INT64);
    let width = element::narrow(x.element).map_or(32, |(bits, _)| bits);
    let kind = match call.text("direction", "").as_str() {
        "LEFT" => BinaryKind::ShiftLeft,
        "RIGHT" => BinaryKind::ShiftRight,
        other => return Err(failed(format!("direction is {other:?}, not LEFT or RIGHT"))),
    };
    let count = m.b.cast(by.value, DType::I32)?;
    let below = m.b.compare_with(CompareKind::Less, count, f64::from(width))?;
    let above = m.b.compare_with(CompareKind::GreaterEqual, count, 0.0)?;
    let inside = m.b.binary(BinaryKind::And, below, above)?;
    // A negative number is shifted to the right with its bits turned, so that ones come in.
    let negative = match is_signed && kind == BinaryKind::ShiftRight {
        true => Some(m.b.compare_with(CompareKind::Less, x.value, 0.0)?),
        false => None,
    };
    let ones = m.b.scalar(
        m.b.dtype(x.value),
        if m.b.dtype(x.value) == DType::U32 { f64::from(u32::MAX) } else { -1.0 },
    );
    let from = match negative {
        Some(negative) => {
            let turned = m.b.binary(BinaryKind::Xor, x.value, ones)?;
            m.b.select(negative, turned, x.value)?
        }
        None => x.value,
    };
    let a = m.b.cast(from, DType::U32)?;
    let b = m.b.cast(count, DType::U32)?;
    let shifted = m.b.binary(kind, a, b)?;
    let shifted = m.b.cast(shifted, m.b.dtype(x.value))?;
    let none = m.b.scalar(m.b.dtype(x.value), 0.0);
    let mut y = m.b.select(inside, shifted, none)?;
    if let Some(negative) = negative {
        let turned = m.b.binary(BinaryKind::Xor, y, ones)?;
        y = m.b.select(negative, turned, y)?;
    }
    let y = m.wrapped(y, x.element)?;
    one(y, x.element)
}

pub(super) fn pow<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let (x, by) = (call.tensor(0)?, call.tensor(1)?);
    let (a, b) = (m.b.cast(x.value, DType::F32)?, m.b.cast(by.value, DType::F32)?);
    let y = m.b.binary(BinaryKind::Power, a, b)?;
    let y = m.b.cast(y, m.b.dtype(x.value))?;
    one(y, x.element)
}

pub(super) fn modulo<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let (a, b) = (call.tensor(0)?, call.tensor(1)?);
    let rest = m.b.binary(BinaryKind::Remainder, a.value, b.value)?;
    if call.flag("fmod") || m.b.dtype(a.value) == DType::U32 {
        return one(rest, a.element);
    }
    // The sign is that of the divisor.
    let zero = m.b.scalar(m.b.dtype(a.value), 0.0);
    let rest_sign = m.b.compare(CompareKind::Less, rest, zero)?;
    let divisor_sign = m.b.compare(CompareKind::Less, b.value, zero)?;
    let differs = m.b.binary(BinaryKind::Xor, rest_sign, divisor_sign)?;
    let some = m.b.compare(CompareKind::NotEqual, rest, zero)?;
    let moves = m.b.binary(BinaryKind::And, differs, some)?;
    let moved = m.b.add(rest, b.value)?;
    let y = m.b.select(moves, moved, rest)?;
    one(y, a.element)
}

macro_rules! several {
    ($($name:ident = $kind:ident),* $(,)?) => {$(
        pub(super) fn $name<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
            let all = call.tensors()?;
            let first = *all.first().ok_or_else(|| failed("has no input"))?;
            let mut y = first.value;
            for next in &all[1..] {
                y = m.b.binary(BinaryKind::$kind, y, next.value)?;
            }
            one(y, first.element)
        }
    )*};
}

several! { max = Maximum, min = Minimum, sum = Add }

pub(super) fn mean<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let all = call.tensors()?;
    let first = *all.first().ok_or_else(|| failed("has no input"))?;
    let mut y = first.value;
    for next in &all[1..] {
        y = m.b.add(y, next.value)?;
    }
    let y = m.b.with(BinaryKind::Divide, y, all.len() as f64)?;
    one(y, first.element)
}

macro_rules! compare {
    ($($name:ident = $kind:ident),* $(,)?) => {$(
        pub(super) fn $name<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
            let y = m.b.compare(CompareKind::$kind, call.value(0)?, call.value(1)?)?;
            one(y, element::BOOL)
        }
    )*};
}

compare! {
    equal = Equal, less = Less, less_or_equal = LessEqual, greater = Greater, greater_or_equal = GreaterEqual,
}

pub(super) fn where_<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let a = call.tensor(1)?;
    let y = m.b.select(call.value(0)?, a.value, call.value(2)?)?;
    one(y, a.element)
}

pub(super) fn identity<'m, 'a>(_: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let item = call.inputs.first().cloned().flatten();
    Ok(vec![item.ok_or_else(|| failed("has no input"))?])
}

pub(super) fn dropout<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    if let Some(training) = call.optional(2) {
        let trains = m.b.integers(training.value, "training_mode")? == [1];
        let ratio = match call.optional(1) {
            Some(ratio) => m.b.numbers(ratio.value, "ratio")?.elements().first().copied().unwrap_or(0.0),
            None => 0.5,
        };
        if trains && ratio != 0.0 {
            return Err(failed("drops elements at random; import a model that predicts"));
        }
    }
    let shape = m.b.shape(x.value);
    let mask = m.b.full(DType::Bool, &shape, 1.0)?;
    let mask = Tensor { value: mask, element: element::BOOL };
    Ok(vec![Item::Tensor(x), Item::Tensor(mask)])
}

pub(super) fn cast<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let to = call.integer("to", 0);
    let y = m.converted(call.tensor(0)?, to)?;
    one(y, to)
}

pub(super) fn cast_like<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let to = call.tensor(1)?.element;
    let y = m.converted(call.tensor(0)?, to)?;
    one(y, to)
}

pub(super) fn clip<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.tensor(0)?;
    let mut y = x.value;
    if let Some(low) = call.optional(1) {
        y = m.b.binary(BinaryKind::Maximum, y, low.value)?;
    } else if let Some(low) = call.attribute("min").and_then(|min| min.float) {
        y = m.b.with(BinaryKind::Maximum, y, low.into())?;
    }
    if let Some(high) = call.optional(2) {
        y = m.b.binary(BinaryKind::Minimum, y, high.value)?;
    } else if let Some(high) = call.attribute("max").and_then(|max| max.float) {
        y = m.b.with(BinaryKind::Minimum, y, high.into())?;
    }
    one(y, x.element)
}

pub(super) fn is_nan<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.value(0)?;
    let y = m.b.compare(CompareKind::NotEqual, x, x)?;
    one(y, element::BOOL)
}

pub(super) fn is_inf<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let x = call.value(0)?;
    let mut y = None;
    for (name, infinite) in [("detect_positive", f64::INFINITY), ("detect_negative", f64::NEG_INFINITY)] {
        if call.integer(name, 1) != 0 {
            let here = m.b.compare_with(CompareKind::Equal, x, infinite)?;
            y = Some(match y {
                Some(y) => m.b.binary(BinaryKind::Or, y, here)?,
                None => here,
            });
        }
    }
    let y = match y {
        Some(y) => y,
        None => m.b.full(DType::Bool, &m.b.shape(x), 0.0)?,
    };
    one(y, element::BOOL)
}

/// A function of one float composed of others.
fn composed<'m, 'a>(
    m: &mut Importer<'m, 'a>,
    call: &Call<'m, 'a>,
    function: impl FnOnce(&mut Importer<'m, 'a>, Value) -> Result<Value>,
) -> Results {
    let x = call.tensor(0)?;
    let y = function(m, x.value)?;
    one(y, x.element)
}

/// x where positive, `negative` elsewhere.
fn positive_or(m: &mut Importer<'_, '_>, x: Value, negative: Value) -> Result<Value> {
    let is_positive = m.b.compare_with(CompareKind::GreaterEqual, x, 0.0)?;
    m.b.select(is_positive, x, negative)
}

/// e^min(x, 0)/width − 1, times alpha
fn exponential_below(m: &mut Importer<'_, '_>, x: Value, alpha: f64, width: f64) -> Result<Value> {
    let below = m.b.with(BinaryKind::Minimum, x, 0.0)?;
    let scaled = m.b.with(BinaryKind::Divide, below, width)?;
    let power = m.b.unary(UnaryKind::ExpMinusOne, scaled)?;
    m.b.times(power, alpha)
}

pub(super) fn elu<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let alpha = call.float("alpha", 1.0);
    composed(m, call, |m, x| {
        let negative = exponential_below(m, x, alpha, 1.0)?;
        positive_or(m, x, negative)
    })
}

pub(super) fn celu<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let alpha = call.float("alpha", 1.0);
    composed(m, call, |m, x| {
        let negative = exponential_below(m, x, alpha, alpha)?;
        positive_or(m, x, negative)
    })
}

pub(super) fn selu<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let alpha = call.float("alpha", 1.673_263_192_176_818_8);
    let gamma = call.float("gamma", 1.050_701_022_148_132_3);
    composed(m, call, |m, x| {
        let negative = exponential_below(m, x, alpha, 1.0)?;
        let y = positive_or(m, x, negative)?;
        m.b.times(y, gamma)
    })
}

pub(super) fn leaky_relu<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let alpha = call.float("alpha", 0.01);
    composed(m, call, |m, x| {
        let negative = m.b.times(x, alpha)?;
        positive_or(m, x, negative)
    })
}

pub(super) fn prelu<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let slope = call.value(1)?;
    composed(m, call, |m, x| {
        let shape = m.b.shape(x);
        let slope = m.b.broadcast(slope, &shape)?;
        let negative = m.b.multiply(x, slope)?;
        positive_or(m, x, negative)
    })
}

pub(super) fn thresholded_relu<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let alpha = call.float("alpha", 1.0);
    composed(m, call, |m, x| {
        let above = m.b.compare_with(CompareKind::Greater, x, alpha)?;
        let zero = m.b.scalar(m.b.dtype(x), 0.0);
        m.b.select(above, x, zero)
    })
}

pub(super) fn hard_sigmoid<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let (alpha, beta) = (call.float("alpha", 0.2), call.float("beta", 0.5));
    composed(m, call, |m, x| {
        let line = m.b.times(x, alpha)?;
        let line = m.b.plus(line, beta)?;
        m.b.clamp(line, 0.0, 1.0)
    })
}

pub(super) fn hard_swish<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    composed(m, call, |m, x| {
        let line = m.b.times(x, 1.0 / 6.0)?;
        let line = m.b.plus(line, 0.5)?;
        let gate = m.b.clamp(line, 0.0, 1.0)?;
        m.b.multiply(x, gate)
    })
}

/// ln(1 + e^x), without overflow.
fn softplus_of(m: &mut Importer<'_, '_>, x: Value) -> Result<Value> {
    let size = m.b.unary(UnaryKind::Absolute, x)?;
    let minus = m.b.unary(UnaryKind::Negate, size)?;
    let power = m.b.unary(UnaryKind::Exp, minus)?;
    let log = m.b.unary(UnaryKind::LogOnePlus, power)?;
    let positive = m.b.with(BinaryKind::Maximum, x, 0.0)?;
    m.b.add(positive, log)
}

pub(super) fn softplus<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    composed(m, call, softplus_of)
}

pub(super) fn mish<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    composed(m, call, |m, x| {
        let soft = softplus_of(m, x)?;
        let gate = m.b.unary(UnaryKind::Tanh, soft)?;
        m.b.multiply(x, gate)
    })
}

pub(super) fn softsign<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    composed(m, call, |m, x| {
        let size = m.b.unary(UnaryKind::Absolute, x)?;
        let below = m.b.plus(size, 1.0)?;
        m.b.divide(x, below)
    })
}

/// x·sigmoid(αx)
pub(super) fn swish_of(m: &mut Importer<'_, '_>, x: Value, alpha: f64) -> Result<Value> {
    let scaled = m.b.times(x, alpha)?;
    let gate = m.b.unary(UnaryKind::Sigmoid, scaled)?;
    m.b.multiply(x, gate)
}

pub(super) fn swish<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let alpha = call.float("alpha", 1.0);
    composed(m, call, |m, x| swish_of(m, x, alpha))
}

pub(super) fn gelu<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let approximate = call.text("approximate", "none") == "tanh";
    composed(m, call, |m, x| {
        if approximate {
            // (1 + tanh u)/2 = sigmoid(2u)
            let linear = 2.0 * (2.0 / std::f64::consts::PI).sqrt();
            let square = m.b.multiply(x, x)?;
            let cubic = m.b.times(square, 0.044_715 * linear)?;
            let factor = m.b.plus(cubic, linear)?;
            let inner = m.b.multiply(x, factor)?;
            let gate = m.b.unary(UnaryKind::Sigmoid, inner)?;
            return m.b.multiply(x, gate);
        }
        let scaled = m.b.times(x, std::f64::consts::FRAC_1_SQRT_2)?;
        let erf = m.b.unary(UnaryKind::Erf, scaled)?;
        let above = m.b.plus(erf, 1.0)?;
        let half = m.b.times(x, 0.5)?;
        m.b.multiply(half, above)
    })
}

pub(super) fn shrink<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    let (lambda, bias) = (call.float("lambd", 0.5), call.float("bias", 0.0));
    composed(m, call, |m, x| {
        let zero = m.b.scalar(m.b.dtype(x), 0.0);
        let (below, above) = (m.b.plus(x, bias)?, m.b.plus(x, -bias)?);
        let is_below = m.b.compare_with(CompareKind::Less, x, -lambda)?;
        let is_above = m.b.compare_with(CompareKind::Greater, x, lambda)?;
        let y = m.b.select(is_above, above, zero)?;
        m.b.select(is_below, below, y)
    })
}

pub(super) fn sinh<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    composed(m, call, |m, x| {
        // (e^x − e^−x)/2 = (u + u/(u + 1))/2 with u = e^x − 1, exact near 0
        let u = m.b.unary(UnaryKind::ExpMinusOne, x)?;
        let below = m.b.plus(u, 1.0)?;
        let part = m.b.divide(u, below)?;
        let sum = m.b.add(u, part)?;
        m.b.times(sum, 0.5)
    })
}

pub(super) fn cosh<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    composed(m, call, |m, x| {
        let up = m.b.unary(UnaryKind::Exp, x)?;
        let minus = m.b.unary(UnaryKind::Negate, x)?;
        let down = m.b.unary(UnaryKind::Exp, minus)?;
        let sum = m.b.add(up, down)?;
        m.b.times(sum, 0.5)
    })
}

pub(super) fn tan<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    composed(m, call, |m, x| {
        let (sin, cos) = (m.b.unary(UnaryKind::Sin, x)?, m.b.unary(UnaryKind::Cos, x)?);
        m.b.divide(sin, cos)
    })
}

/// artanh x = ½·ln((1 + x)/(1 − x))
pub(super) fn atanh<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    composed(m, call, |m, x| {
        let minus = m.b.unary(UnaryKind::Negate, x)?;
        let (up, down) = (m.b.unary(UnaryKind::LogOnePlus, x)?, m.b.unary(UnaryKind::LogOnePlus, minus)?);
        let difference = m.b.subtract(up, down)?;
        m.b.times(difference, 0.5)
    })
}

/// arsinh x = sign(x)·ln(1 + |x| + x²/(1 + √(x² + 1)))
pub(super) fn asinh<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    composed(m, call, |m, x| {
        let size = m.b.unary(UnaryKind::Absolute, x)?;
        let square = m.b.multiply(x, x)?;
        let above = m.b.plus(square, 1.0)?;
        let root = m.b.unary(UnaryKind::SquareRoot, above)?;
        let below = m.b.plus(root, 1.0)?;
        let part = m.b.divide(square, below)?;
        let inner = m.b.add(size, part)?;
        let log = m.b.unary(UnaryKind::LogOnePlus, inner)?;
        let sign = m.b.unary(UnaryKind::Sign, x)?;
        m.b.multiply(sign, log)
    })
}

/// arcosh x = ln(x + √(x² − 1))
pub(super) fn acosh<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    composed(m, call, |m, x| {
        let square = m.b.multiply(x, x)?;
        let below = m.b.plus(square, -1.0)?;
        let root = m.b.unary(UnaryKind::SquareRoot, below)?;
        let sum = m.b.add(x, root)?;
        m.b.unary(UnaryKind::Log, sum)
    })
}

/// The arc tangent: of 1/x where |x| > 1, halved twice by arctan x = 2·arctan(x/(1 + √(1 + x²))), then its series.
fn arctangent(m: &mut Importer<'_, '_>, x: Value) -> Result<Value> {
    let size = m.b.unary(UnaryKind::Absolute, x)?;
    let large = m.b.compare_with(CompareKind::Greater, size, 1.0)?;
    let inverse = m.b.unary(UnaryKind::Reciprocal, size)?;
    let mut small = m.b.select(large, inverse, size)?;
    for _ in 0..2 {
        let square = m.b.multiply(small, small)?;
        let above = m.b.plus(square, 1.0)?;
        let root = m.b.unary(UnaryKind::SquareRoot, above)?;
        let below = m.b.plus(root, 1.0)?;
        small = m.b.divide(small, below)?;
    }
    let square = m.b.multiply(small, small)?;
    let mut series = m.b.scalar(m.b.dtype(x), 0.0);
    for term in (0..7).rev() {
        let factor = if term % 2 == 0 { 1.0 } else { -1.0 } / f64::from(2 * term + 1);
        series = m.b.multiply(series, square)?;
        series = m.b.plus(series, factor)?;
    }
    let angle = m.b.multiply(series, small)?;
    let angle = m.b.times(angle, 4.0)?;
    let minus = m.b.unary(UnaryKind::Negate, angle)?;
    let other = m.b.plus(minus, std::f64::consts::FRAC_PI_2)?;
    let angle = m.b.select(large, other, angle)?;
    let sign = m.b.unary(UnaryKind::Sign, x)?;
    m.b.multiply(sign, angle)
}

pub(super) fn atan<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    composed(m, call, arctangent)
}

/// arcsin x = arctan(x/√((1 − x)(1 + x)))
fn arcsine(m: &mut Importer<'_, '_>, x: Value) -> Result<Value> {
    let minus = m.b.unary(UnaryKind::Negate, x)?;
    let (down, up) = (m.b.plus(minus, 1.0)?, m.b.plus(x, 1.0)?);
    let product = m.b.multiply(down, up)?;
    let root = m.b.unary(UnaryKind::SquareRoot, product)?;
    let ratio = m.b.divide(x, root)?;
    arctangent(m, ratio)
}

pub(super) fn asin<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    composed(m, call, arcsine)
}

pub(super) fn acos<'m, 'a>(m: &mut Importer<'m, 'a>, call: &Call<'m, 'a>) -> Results {
    composed(m, call, |m, x| {
        let sine = arcsine(m, x)?;
        let minus = m.b.unary(UnaryKind::Negate, sine)?;
        m.b.plus(minus, std::f64::consts::FRAC_PI_2)
    })
}
