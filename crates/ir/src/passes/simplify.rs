//! Algebraic simplification, one node at a time with already simplified arguments. Only rewrites that keep every bit
//! are made, and only scalars are folded.

use crate::error::Result;
use crate::op::{BinaryKind, Op, ReduceKind, UnaryKind};
use crate::program::{Node, Program, Value};
use crate::types::{DType, Shape, ValueType};

/// The program with simpler nodes where a rule applies.
///
/// # Errors
/// Never for a valid program.
pub fn simplify(program: &Program) -> Result<Program> {
    program.rebuild(
        |_| true,
        |new, node, args| match rewrite(new, node, args)? {
            Some(value) => Ok(vec![value]),
            None => new.copy_node(node, args),
        },
    )
}

/// A simpler value for the only result of a node, if there is one.
fn rewrite(p: &mut Program, node: &Node, args: &[Value]) -> Result<Option<Value>> {
    if node.results.len() != 1 || args.is_empty() {
        return Ok(None);
    }
    if let Some(value) = fold_scalars(p, node, args)? {
        return Ok(Some(value));
    }
    if let Some(value) = sink_below_broadcast(p, node, args)? {
        return Ok(Some(value));
    }
    let x = args[0];
    let inner = p.definition(x).clone();
    match &node.op {
        Op::Reshape { shape } => {
            if p.shape(x) == shape {
                return Ok(Some(x));
            }
            if let Op::Reshape { .. } = inner.op {
                let value = p.apply(node.op.clone(), &[inner.args[0]])?;
                return Ok(Some(if p.shape(inner.args[0]) == shape { inner.args[0] } else { value }));
            }
            if let Some(number) = p.splat(x) {
                let ty = ValueType { dtype: p.dtype(x), shape: shape.clone() };
                return Ok(Some(p.full(ty, number)?));
            }
            Ok(None)
        }
        Op::Permute { order } => {
            if order.iter().enumerate().all(|(to, &from)| to == from) {
                return Ok(Some(x));
            }
            if let Op::Permute { order: first } = &inner.op {
                let order: Vec<usize> = order.iter().map(|&axis| first[axis]).collect();
                if order.iter().enumerate().all(|(to, &from)| to == from) {
                    return Ok(Some(inner.args[0]));
                }
                return Ok(Some(p.apply(Op::Permute { order }, &[inner.args[0]])?));
            }
            if moves_only_unit_axes(p.shape(x), order) {
                let shape = order.iter().map(|&axis| p.shape(x)[axis]).collect();
                return Ok(Some(p.apply(Op::Reshape { shape }, &[x])?));
            }
            Ok(None)
        }
        Op::Broadcast { shape, axes } => {
            if p.shape(x) == shape {
                return Ok(Some(x));
            }
            if let Op::Broadcast { axes: first, .. } = &inner.op {
                let axes = first.iter().map(|&axis| axes[axis]).collect();
                return Ok(Some(p.apply(Op::Broadcast { shape: shape.clone(), axes }, &[inner.args[0]])?));
            }
            if shape.elements() == p.shape(x).elements() {
                return Ok(Some(p.apply(Op::Reshape { shape: shape.clone() }, &[x])?));
            }
            Ok(None)
        }
        Op::Slice { start, stop, step } => {
            let shape = p.shape(x);
            let whole = (0..shape.rank())
                .all(|axis| start[axis] == 0 && stop[axis] == shape[axis] && step[axis] == 1);
            Ok(whole.then_some(x))
        }
        Op::Pad { low, high, interior, .. } => {
            let nothing =
                [low, high, interior].iter().all(|amounts| amounts.iter().all(|&amount| amount == 0));
            Ok(nothing.then_some(x))
        }
        Op::Flip { axes } => Ok(axes.iter().all(|&axis| p.shape(x)[axis] == 1).then_some(x)),
        Op::Concat { .. } => Ok((args.len() == 1).then_some(x)),
        Op::Cast { to } => Ok(match inner.op {
            _ if p.dtype(x) == *to => Some(x),
            // Back from a wider type, which has kept every bit.
            Op::Cast { to: DType::F32 } if to.is_half() && p.dtype(inner.args[0]) == *to => {
                Some(inner.args[0])
            }
            _ => None,
        }),
        Op::Reduce { axes, .. } => {
            if axes.iter().all(|&axis| p.shape(x)[axis] == 1) {
                let shape = p.shape(x).without(axes);
                return Ok(Some(if shape == *p.shape(x) {
                    x
                } else {
                    p.apply(Op::Reshape { shape }, &[x])?
                }));
            }
            if let (Op::Reduce { kind, axes }, Op::Reduce { kind: first, axes: first_axes }) =
                (&node.op, &inner.op)
                && kind == first
                && *kind == ReduceKind::Sum
            {
                let kept: Vec<usize> =
                    (0..p.shape(inner.args[0]).rank()).filter(|axis| !first_axes.contains(axis)).collect();
                let mut all: Vec<usize> =
                    axes.iter().map(|&axis| kept[axis]).chain(first_axes.clone()).collect();
                all.sort_unstable();
                return Ok(Some(p.reduce(*kind, inner.args[0], &all)?));
            }
            Ok(None)
        }
        Op::Unary { kind: UnaryKind::Negate } => match inner.op {
            Op::Unary { kind: UnaryKind::Negate } => Ok(Some(inner.args[0])),
            _ => Ok(None),
        },
        Op::Binary { kind } => binary(p, *kind, args),
        Op::Select {} => Ok(match p.splat(x) {
            Some(condition) => Some(if condition != 0.0 { args[1] } else { args[2] }),
            None => (args[1] == args[2]).then_some(args[1]),
        }),
        Op::Dot { .. } => fold_permutes_into_dot(p, &node.op, args),
        _ => Ok(None),
    }
}

/// Neutral elements and powers that have an operation of their own.
fn binary(p: &mut Program, kind: BinaryKind, args: &[Value]) -> Result<Option<Value>> {
    let (a, b) = (args[0], args[1]);
    let (left, right) = (p.splat(a), p.splat(b));
    let float = p.dtype(a).is_float();
    Ok(match (kind, left, right) {
        // −0 + 0 is 0, so that only −0 is neutral for floats.
        (BinaryKind::Add, _, Some(zero)) if zero == 0.0 && (!float || zero.is_sign_negative()) => Some(a),
        (BinaryKind::Subtract, _, Some(zero)) if zero == 0.0 && zero.is_sign_positive() => Some(a),
        (BinaryKind::Add, Some(zero), _) if zero == 0.0 && (!float || zero.is_sign_negative()) => Some(b),
        (BinaryKind::Multiply | BinaryKind::Divide, _, Some(1.0)) => Some(a),
        (BinaryKind::Multiply, Some(1.0), _) => Some(b),
        (BinaryKind::Multiply, _, Some(-1.0)) if float => Some(p.unary(UnaryKind::Negate, a)?),
        (BinaryKind::Multiply, Some(-1.0), _) if float => Some(p.unary(UnaryKind::Negate, b)?),
        // Division by a power of two is the same multiplication, and much cheaper.
        (BinaryKind::Divide, _, Some(number)) if float && has_exact_reciprocal(p.dtype(a), number) => {
            let factor = p.splat_like(1.0 / number, b)?;
            Some(p.binary(BinaryKind::Multiply, a, factor)?)
        }
        (BinaryKind::Power, _, Some(1.0)) => Some(a),
        (BinaryKind::Power, _, Some(2.0)) => Some(p.binary(BinaryKind::Multiply, a, a)?),
        (BinaryKind::Power, _, Some(-1.0)) => Some(p.unary(UnaryKind::Reciprocal, a)?),
        _ => None,
    })
}

/// Whether a float is ±2^n with a reciprocal that is exact in its type, and in f32 no subnormal number.
fn has_exact_reciprocal(dtype: DType, number: f64) -> bool {
    let bits = (number as f32).to_bits();
    let exponent = (bits >> 23) & 0xff;
    bits & 0x007f_ffff == 0 && (2..253).contains(&exponent) && dtype.round(1.0 / number) == 1.0 / number
}

/// Arithmetic on constants that are the same everywhere, done in f32; rounding that to a half type is rounding the
/// exact result, since f32 has more than twice the bits.
fn fold_scalars(p: &mut Program, node: &Node, args: &[Value]) -> Result<Option<Value>> {
    let ty = match &node.op {
        Op::Unary { .. } | Op::Binary { .. } => p.ty(args[0]).clone(),
        _ => return Ok(None),
    };
    if !ty.dtype.is_float() {
        return Ok(None);
    }
    let Some(numbers) = args.iter().map(|&arg| p.splat(arg).map(|x| x as f32)).collect::<Option<Vec<f32>>>()
    else {
        return Ok(None);
    };
    let result = match &node.op {
        Op::Unary { kind } => match kind {
            UnaryKind::Negate => -numbers[0],
            UnaryKind::Absolute => numbers[0].abs(),
            UnaryKind::SquareRoot => numbers[0].sqrt(),
            UnaryKind::Reciprocal => 1.0 / numbers[0],
            _ => return Ok(None),
        },
        Op::Binary { kind } => match kind {
            BinaryKind::Add => numbers[0] + numbers[1],
            BinaryKind::Subtract => numbers[0] - numbers[1],
            BinaryKind::Multiply => numbers[0] * numbers[1],
            BinaryKind::Divide => numbers[0] / numbers[1],
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    Ok(Some(p.full(ty, result as f64)?))
}

/// An elementwise operation on values that were all repeated in the same way is done before the repetition.
fn sink_below_broadcast(p: &mut Program, node: &Node, args: &[Value]) -> Result<Option<Value>> {
    if !node.op.is_elementwise() {
        return Ok(None);
    }
    let mut source: Option<(Shape, Vec<usize>)> = None;
    for &arg in args {
        if p.splat(arg).is_some() {
            continue;
        }
        let Op::Broadcast { axes, .. } = &p.definition(arg).op else { return Ok(None) };
        let shape = p.shape(p.definition(arg).args[0]).clone();
        match &source {
            None => source = Some((shape, axes.clone())),
            Some((other, other_axes)) if *other == shape && other_axes == axes => {}
            Some(_) => return Ok(None),
        }
    }
    let Some((shape, axes)) = source else { return Ok(None) };
    let result = p.shape(args[0]).clone();
    let mut small = Vec::new();
    for &arg in args {
        small.push(match p.splat(arg) {
            Some(number) => p.full(ValueType { dtype: p.dtype(arg), shape: shape.clone() }, number)?,
            None => p.definition(arg).args[0],
        });
    }
    let value = p.apply(node.op.clone(), &small)?;
    // The smaller operation may itself be known or simpler now.
    let inner = p.definition(value).clone();
    let value = match rewrite(p, &inner, &small)? {
        Some(simpler) => simpler,
        None => value,
    };
    Ok(Some(p.apply(Op::Broadcast { shape: result, axes }, &[value])?))
}

/// Whether a permutation leaves the order of all axes longer than one.
fn moves_only_unit_axes(shape: &Shape, order: &[usize]) -> bool {
    let long: Vec<usize> = order.iter().copied().filter(|&axis| shape[axis] != 1).collect();
    long.windows(2).all(|pair| pair[0] < pair[1])
}

/// A product reads a permuted side directly when the side's free axes keep their order.
fn fold_permutes_into_dot(p: &mut Program, op: &Op, args: &[Value]) -> Result<Option<Value>> {
    let Op::Dot { lhs_batch, rhs_batch, lhs_contract, rhs_contract } = op else { return Ok(None) };
    let mut sides = [
        (args[0], lhs_batch.clone(), lhs_contract.clone()),
        (args[1], rhs_batch.clone(), rhs_contract.clone()),
    ];
    let mut changed = false;
    for (value, batch, contract) in &mut sides {
        let inner = p.definition(*value).clone();
        let Op::Permute { order } = &inner.op else { continue };
        let free: Vec<usize> = (0..order.len())
            .filter(|axis| !batch.contains(axis) && !contract.contains(axis))
            .map(|axis| order[axis])
            .collect();
        if free.windows(2).any(|pair| pair[0] > pair[1]) {
            continue;
        }
        for axes in [&mut *batch, &mut *contract] {
            for axis in axes.iter_mut() {
                *axis = order[*axis];
            }
        }
        *value = inner.args[0];
        changed = true;
    }
    if !changed {
        return Ok(None);
    }
    let [(lhs, lhs_batch, lhs_contract), (rhs, rhs_batch, rhs_contract)] = sides;
    Ok(Some(p.apply(Op::Dot { lhs_batch, rhs_batch, lhs_contract, rhs_contract }, &[lhs, rhs])?))
}
