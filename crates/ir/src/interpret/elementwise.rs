//! Functions of single elements.

use super::{Numbers, Rounding};
use crate::op::{BinaryKind, CompareKind, UnaryKind};
use crate::types::DType;

pub fn unary(kind: UnaryKind, x: &Numbers) -> Vec<f64> {
    let wraps = x.ty.dtype == DType::I32;
    let function = |x: f64| match kind {
        UnaryKind::Negate if wraps => f64::from((x as i32).wrapping_neg()),
        UnaryKind::Absolute if wraps => f64::from((x as i32).wrapping_abs()),
        UnaryKind::Negate => -x,
        UnaryKind::Absolute => x.abs(),
        UnaryKind::Sign if x > 0.0 => 1.0,
        UnaryKind::Sign if x < 0.0 => -1.0,
        UnaryKind::Sign => x,
        UnaryKind::Exp => x.exp(),
        UnaryKind::ExpMinusOne => x.exp_m1(),
        UnaryKind::Log => x.ln(),
        UnaryKind::LogOnePlus => x.ln_1p(),
        UnaryKind::SquareRoot => x.sqrt(),
        UnaryKind::ReciprocalSquareRoot => 1.0 / x.sqrt(),
        UnaryKind::Reciprocal => 1.0 / x,
        UnaryKind::Sin => x.sin(),
        UnaryKind::Cos => x.cos(),
        UnaryKind::Tanh => x.tanh(),
        UnaryKind::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        UnaryKind::Erf => libm::erf(x),
        UnaryKind::Relu if x <= 0.0 => 0.0,
        UnaryKind::Relu => x,
        UnaryKind::Floor => x.floor(),
        UnaryKind::Ceil => x.ceil(),
        UnaryKind::Round => x.round_ties_even(),
        UnaryKind::Not => 1.0 - x,
    };
    x.elements.iter().map(|&x| function(x)).collect()
}

pub fn binary(kind: BinaryKind, a: &Numbers, b: &Numbers) -> Vec<f64> {
    let pairs = a.elements.iter().zip(&b.elements);
    match a.ty.dtype {
        DType::F32 | DType::F16 | DType::BF16 => pairs.map(|(&a, &b)| float_binary(kind, a, b)).collect(),
        DType::I32 => pairs.map(|(&a, &b)| f64::from(signed_binary(kind, a as i32, b as i32))).collect(),
        DType::U32 | DType::U8 | DType::Bool => {
            pairs.map(|(&a, &b)| f64::from(unsigned_binary(kind, a as u32, b as u32))).collect()
        }
    }
}

/// The larger, or NaN if either is.
pub fn maximum(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

/// The smaller, or NaN if either is.
pub fn minimum(a: f64, b: f64) -> f64 {
    if a.is_nan() || a < b { a } else { b }
}

fn float_binary(kind: BinaryKind, a: f64, b: f64) -> f64 {
    match kind {
        BinaryKind::Add => a + b,
        BinaryKind::Subtract => a - b,
        BinaryKind::Multiply => a * b,
        BinaryKind::Divide => a / b,
        BinaryKind::Power => a.powf(b),
        BinaryKind::Maximum => maximum(a, b),
        BinaryKind::Minimum => minimum(a, b),
        BinaryKind::Remainder => a % b,
        // The shape rule refuses these.
        BinaryKind::And
        | BinaryKind::Or
        | BinaryKind::Xor
        | BinaryKind::ShiftLeft
        | BinaryKind::ShiftRight => f64::NAN,
    }
}

fn signed_binary(kind: BinaryKind, a: i32, b: i32) -> i32 {
    match kind {
        BinaryKind::Divide if b == 0 => 0,
        BinaryKind::Divide => a.wrapping_div(b),
        BinaryKind::Remainder if b == 0 => 0,
        BinaryKind::Remainder => a.wrapping_rem(b),
        BinaryKind::Maximum => a.max(b),
        BinaryKind::Minimum => a.min(b),
        // The other operations are the same on the bits of signed and unsigned numbers.
        _ => unsigned_binary(kind, a as u32, b as u32) as i32,
    }
}

fn unsigned_binary(kind: BinaryKind, a: u32, b: u32) -> u32 {
    match kind {
        BinaryKind::Add => a.wrapping_add(b),
        BinaryKind::Subtract => a.wrapping_sub(b),
        BinaryKind::Multiply => a.wrapping_mul(b),
        BinaryKind::Divide => a.checked_div(b).unwrap_or(0),
        BinaryKind::Remainder => a.checked_rem(b).unwrap_or(0),
        BinaryKind::Maximum => a.max(b),
        BinaryKind::Minimum => a.min(b),
        BinaryKind::And => a & b,
        BinaryKind::Or => a | b,
        BinaryKind::Xor => a ^ b,
        BinaryKind::ShiftLeft => a << (b % 32),
        BinaryKind::ShiftRight => a >> (b % 32),
        // The shape rule refuses it.
        BinaryKind::Power => 0,
    }
}

pub fn compare(kind: CompareKind, a: &Numbers, b: &Numbers) -> Vec<f64> {
    let function = |a: f64, b: f64| match kind {
        CompareKind::Equal => a == b,
        CompareKind::NotEqual => a != b,
        CompareKind::Less => a < b,
        CompareKind::LessEqual => a <= b,
        CompareKind::Greater => a > b,
        CompareKind::GreaterEqual => a >= b,
    };
    a.elements.iter().zip(&b.elements).map(|(&a, &b)| f64::from(u8::from(function(a, b)))).collect()
}

pub fn select(condition: &Numbers, a: &Numbers, b: &Numbers) -> Vec<f64> {
    let pairs = a.elements.iter().zip(&b.elements);
    condition.elements.iter().zip(pairs).map(|(&c, (&a, &b))| if c != 0.0 { a } else { b }).collect()
}

pub fn cast(to: DType, x: &Numbers, rounding: Rounding) -> Vec<f64> {
    let from_float = x.ty.dtype.is_float();
    let function = |x: f64| match to {
        DType::F16 | DType::BF16 if !from_float => rounding.round(DType::F32, x),
        DType::F32 | DType::F16 | DType::BF16 => x,
        DType::Bool => f64::from(u8::from(x != 0.0)),
        // `as` from a float saturates, from an integer wraps.
        DType::I32 if from_float => f64::from(x as i32),
        DType::U32 if from_float => f64::from(x as u32),
        DType::U8 if from_float => f64::from(x as u8),
        DType::I32 => f64::from(x as i64 as i32),
        DType::U32 => f64::from(x as i64 as u32),
        DType::U8 => f64::from(x as i64 as u8),
    };
    x.elements.iter().map(|&x| function(x)).collect()
}
