//! Sums of slices put back in their places become one joined value.
//!
//! The gradient of a value that was cut into slices (queries, keys and values out of one product) is a sum of padded
//! pieces, mostly of zeros. Pieces that lie side by side are joined instead, which touches each element once.

use crate::error::Result;
use crate::op::{BinaryKind, Op};
use crate::program::{Program, Value};

/// The program with sums of neighbouring padded pieces joined.
///
/// # Errors
/// Never for a valid program.
pub fn join_padded_pieces(program: &Program) -> Result<Program> {
    program.rebuild(
        |_| true,
        |new, node, args| match node.op {
            Op::Binary { kind: BinaryKind::Add } => match join_in_sum(new, args[0], args[1])? {
                Some(value) => Ok(vec![value]),
                None => new.copy_node(node, args),
            },
            _ => new.copy_node(node, args),
        },
    )
}

/// A value with zeros on both sides of it along one axis.
struct Piece {
    value: Value,
    axis: usize,
    start: usize,
    end: usize,
    length: usize,
}

fn piece(p: &Program, value: Value) -> Option<Piece> {
    let node = p.definition(value);
    let Op::Pad { low, high, interior, value: filler } = &node.op else { return None };
    if filler.0 != 0.0 || interior.iter().any(|&between| between > 0) {
        return None;
    }
    let mut padded = (0..low.len()).filter(|&axis| low[axis] + high[axis] > 0);
    let (axis, None) = (padded.next()?, padded.next()) else { return None };
    let length = p.shape(value)[axis];
    Some(Piece { value: node.args[0], axis, start: low[axis], end: length - high[axis], length })
}

/// The sum of two values if pieces of it are joined: the values themselves, or one of them with a term of the other.
/// Pieces that are joined do not overlap, so that the order of the terms does not matter.
fn join_in_sum(p: &mut Program, a: Value, b: Value) -> Result<Option<Value>> {
    if let Some(joined) = join(p, a, b)? {
        return Ok(Some(joined));
    }
    for (sum, term) in [(a, b), (b, a)] {
        let node = p.definition(sum);
        let (Op::Binary { kind: BinaryKind::Add }, &[x, y]) = (&node.op, node.args.as_slice()) else {
            continue;
        };
        for (piece, rest) in [(x, y), (y, x)] {
            if let Some(joined) = join(p, piece, term)? {
                return Ok(Some(match join(p, joined, rest)? {
                    Some(all) => all,
                    None => p.binary(BinaryKind::Add, joined, rest)?,
                }));
            }
        }
    }
    Ok(None)
}

fn join(p: &mut Program, a: Value, b: Value) -> Result<Option<Value>> {
    let (Some(a), Some(b)) = (piece(p, a), piece(p, b)) else { return Ok(None) };
    let (first, second) = if a.start < b.start { (a, b) } else { (b, a) };
    if first.axis != second.axis || first.end != second.start {
        return Ok(None);
    }
    let axis = first.axis;
    let mut parts = Vec::new();
    for part in [first.value, second.value] {
        match &p.definition(part).op {
            Op::Concat { axis: other } if *other == axis => parts.extend(&p.definition(part).args),
            _ => parts.push(part),
        }
    }
    let joined = p.apply(Op::Concat { axis }, &parts)?;
    let rank = p.shape(joined).rank();
    let (mut low, mut high) = (vec![0; rank], vec![0; rank]);
    low[axis] = first.start;
    high[axis] = first.length - second.end;
    if low[axis] + high[axis] == 0 {
        return Ok(Some(joined));
    }
    let pad = Op::Pad { low, high, interior: vec![0; rank], value: crate::types::Real(0.0) };
    Ok(Some(p.apply(pad, &[joined])?))
}
