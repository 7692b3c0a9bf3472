//! Factors that are the same along some axes are multiplied apart from those axes.
//!
//! A product of whole tensors and of values repeated over them, such as `x·scale·weight` in a normalisation, is
//! computed as `x·(scale·weight)`, with the bracket on as many elements as the repeated values have. A sum takes such
//! factors out: `Σ x·w = w·Σ x` where `w` does not change along the summed axes. What remains inside is put in one
//! order, so that the several sums of a normalisation's gradient turn out to be the same few.
//!
//! Results may differ in the last bits, and products in another order may leave the range where the written order does
//! not: `Σ x·w` with small `w` may be finite where `Σ x` is not. So only products of normalisations are rewritten,
//! which hold 1/√(variance + ε) or a distance from the mean. There the factors bound each other: an element's distance
//! from the mean is at most √count deviations, and what scales it is a parameter. In a half type a sum could overflow
//! all the same; only F32 is rewritten.

use crate::error::Result;
use crate::op::{BinaryKind, Op, ReduceKind, UnaryKind};
use crate::program::{Program, Value};
use crate::types::DType;

/// Products with at most this many factors are taken apart.
const MOST_FACTORS: usize = 16;

/// Takes repeated factors together, and out of sums.
///
/// # Errors
/// Never for a valid program.
pub fn gather_factors(program: &Program) -> Result<Program> {
    program.rebuild(
        |_| true,
        |new, node, args| {
            let rewritten = match &node.op {
                Op::Reduce { kind: ReduceKind::Sum, axes } => sum(new, axes, args[0])?,
                Op::Binary { kind: BinaryKind::Multiply } => product(new, args)?,
                _ => None,
            };
            match rewritten {
                Some(value) => Ok(vec![value]),
                None => new.copy_node(node, args),
            }
        },
    )
}

/// A product taken apart.
#[derive(Default)]
struct Factors {
    /// Values that differ from element to element, as far as is known.
    whole: Vec<Value>,
    /// Values repeated along some axes.
    repeated: Vec<Value>,
    /// The product of all numbers known in advance.
    number: Option<f64>,
    /// Whether the product has the other sign.
    is_negated: bool,
}

impl Factors {
    fn of(p: &Program, values: &[Value]) -> Option<Factors> {
        let mut factors = Factors::default();
        let mut open = values.to_vec();
        while let Some(value) = open.pop() {
            let node = p.definition(value);
            if let Some(number) = p.splat(value) {
                // As the device would multiply them.
                factors.number = Some((factors.number.unwrap_or(1.0) as f32 * number as f32) as f64);
                continue;
            }
            match &node.op {
                Op::Binary { kind: BinaryKind::Multiply } => open.extend(&node.args),
                Op::Unary { kind: UnaryKind::Negate } => {
                    factors.is_negated = !factors.is_negated;
                    open.push(node.args[0]);
                }
                Op::Broadcast { .. } => factors.repeated.push(value),
                _ => factors.whole.push(value),
            }
            if open.len() + factors.whole.len() + factors.repeated.len() > MOST_FACTORS {
                return None;
            }
        }
        factors.whole.sort_unstable();
        factors.repeated.sort_unstable();
        Some(factors)
    }

    /// Whether these are factors of a normalisation.
    fn normalize(&self, p: &Program) -> bool {
        self.repeated.iter().any(|&value| is_reciprocal_deviation(p, value, DEEPEST))
            || self.whole.iter().any(|&value| is_distance_from_mean(p, value))
    }
}

/// How many multiplications and repetitions a reciprocal deviation is looked for behind.
const DEEPEST: usize = 6;

/// Whether a value is 1/√x, or a product with it.
fn is_reciprocal_deviation(p: &Program, value: Value, deepest: usize) -> bool {
    let node = p.definition(value);
    let inside = || node.args.iter().any(|&arg| is_reciprocal_deviation(p, arg, deepest - 1));
    match &node.op {
        Op::Unary { kind: UnaryKind::ReciprocalSquareRoot } => true,
        Op::Broadcast { .. }
        | Op::Reshape { .. }
        | Op::Unary { kind: UnaryKind::Negate }
        | Op::Binary { kind: BinaryKind::Multiply } => deepest > 0 && inside(),
        _ => false,
    }
}

/// Whether a value is x less its own mean.
fn is_distance_from_mean(p: &Program, value: Value) -> bool {
    let node = p.definition(value);
    let repeats_mean = |value: Value| {
        let mut node = p.definition(value);
        while matches!(node.op, Op::Broadcast { .. } | Op::Reshape { .. }) {
            node = p.definition(node.args[0]);
        }
        matches!(node.op, Op::MeanVariance { .. })
    };
    matches!(node.op, Op::Binary { kind: BinaryKind::Subtract }) && repeats_mean(node.args[1])
}

fn repeated_axes(p: &Program, value: Value) -> &[usize] {
    match &p.definition(value).op {
        Op::Broadcast { axes, .. } => axes,
        _ => &[],
    }
}

/// Multiplies factors that are repeated in the same way before they are repeated.
fn product(p: &mut Program, args: &[Value]) -> Result<Option<Value>> {
    if p.dtype(args[0]) != DType::F32 {
        return Ok(None);
    }
    let Some(factors) = Factors::of(p, args).filter(|factors| factors.normalize(p)) else { return Ok(None) };
    let mut gathered: Vec<(Vec<usize>, Vec<Value>)> = Vec::new();
    for &value in &factors.repeated {
        let axes = repeated_axes(p, value).to_vec();
        match gathered.iter_mut().find(|(known, _)| *known == axes) {
            Some((_, values)) => values.push(value),
            None => gathered.push((axes, vec![value])),
        }
    }
    let joins_number = factors.number.is_some() && !gathered.is_empty();
    if factors.whole.is_empty() || !(joins_number || gathered.iter().any(|(_, values)| values.len() > 1)) {
        return Ok(None);
    }
    let shape = p.shape(args[0]).clone();
    let mut number = factors.number;
    let mut result = None;
    for &value in &factors.whole {
        result = Some(times(p, result, value)?);
    }
    for (axes, values) in gathered {
        let mut small = None;
        for value in values {
            let source = p.definition(value).args[0];
            small = Some(times(p, small, source)?);
        }
        let Some(mut small) = small else { continue };
        if let Some(number) = number.take() {
            let factor = p.splat_like(number, small)?;
            small = p.binary(BinaryKind::Multiply, small, factor)?;
        }
        let repeated = p.apply(Op::Broadcast { shape: shape.clone(), axes }, &[small])?;
        result = Some(times(p, result, repeated)?);
    }
    signed(p, result, factors.is_negated)
}

/// Takes the factors out of a sum that are the same in all its terms.
fn sum(p: &mut Program, axes: &[usize], x: Value) -> Result<Option<Value>> {
    if p.dtype(x) != DType::F32 {
        return Ok(None);
    }
    let Some(factors) = Factors::of(p, &[x]).filter(|factors| factors.normalize(p)) else { return Ok(None) };
    let is_constant = |&value: &Value| repeated_axes(p, value).iter().all(|axis| !axes.contains(axis));
    let (constant, varying): (Vec<Value>, Vec<Value>) =
        factors.repeated.iter().partition(|value| is_constant(value));
    let moves = !constant.is_empty() || factors.number.is_some() || factors.is_negated;
    if factors.whole.is_empty() && varying.is_empty() || !moves {
        return Ok(None);
    }
    let mut inside = None;
    for &value in factors.whole.iter().chain(&varying) {
        inside = Some(times(p, inside, value)?);
    }
    let Some(inside) = inside else { return Ok(None) };
    let mut result = p.reduce(ReduceKind::Sum, inside, axes)?;
    let shape = p.shape(result).clone();
    for value in constant {
        let source = p.definition(value).args[0];
        // Where an axis of the terms is found in the sum.
        let axes = repeated_axes(p, value)
            .iter()
            .map(|&axis| axis - axes.iter().filter(|&&summed| summed < axis).count())
            .collect();
        let factor = p.apply(Op::Broadcast { shape: shape.clone(), axes }, &[source])?;
        result = p.binary(BinaryKind::Multiply, result, factor)?;
    }
    if let Some(number) = factors.number {
        let factor = p.splat_like(number, result)?;
        result = p.binary(BinaryKind::Multiply, result, factor)?;
    }
    signed(p, Some(result), factors.is_negated)
}

fn times(p: &mut Program, product: Option<Value>, factor: Value) -> Result<Value> {
    match product {
        Some(product) => p.binary(BinaryKind::Multiply, product, factor),
        None => Ok(factor),
    }
}

fn signed(p: &mut Program, value: Option<Value>, is_negated: bool) -> Result<Option<Value>> {
    match value {
        Some(value) if is_negated => Ok(Some(p.unary(UnaryKind::Negate, value)?)),
        value => Ok(value),
    }
}
