//! Writes the trips of loops one after another, for devices that have no loops of their own.

use crate::error::Result;
use crate::op::Op;
use crate::program::{Program, Value};
use crate::types::{Literal, Shape, ValueType};

/// The program without loops.
///
/// # Errors
/// Never for a valid program.
pub fn unroll_scans(program: &Program) -> Result<Program> {
    if !program.nodes().iter().any(|node| matches!(node.op, Op::Scan { .. })) {
        return Ok(program.clone());
    }
    program.rebuild(
        |_| true,
        |new, node, args| match &node.op {
            Op::Scan { body, carries, stacked, trips, reverse } => {
                let body = unroll_scans(body.program())?;
                unroll(new, &body, [*carries, *stacked, *trips], *reverse != 0, args)
            }
            _ => new.copy_node(node, args),
        },
    )
}

fn unroll(
    new: &mut Program,
    body: &Program,
    [carries, stacked, trips]: [usize; 3],
    reverse: bool,
    args: &[Value],
) -> Result<Vec<Value>> {
    let mut inputs = args.to_vec();
    let mut stacks = vec![Vec::new(); body.outputs.len() - carries];
    for trip in 0..trips {
        let at = if reverse { trips - 1 - trip } else { trip };
        for position in carries..carries + stacked {
            let mut stop = new.shape(args[position]).to_vec();
            let mut start = vec![0; stop.len()];
            (start[0], stop[0]) = (at, at + 1);
            let step = vec![1; stop.len()];
            let slice = new.apply(Op::Slice { start, stop, step }, &[args[position]])?;
            let shape = body.shape(body.inputs[position].value).clone();
            inputs[position] = new.apply(Op::Reshape { shape }, &[slice])?;
        }
        let outputs = append(new, body, &inputs)?;
        inputs[..carries].copy_from_slice(&outputs[..carries]);
        for (stack, &value) in stacks.iter_mut().zip(&outputs[carries..]) {
            let shape: Shape = std::iter::once(1).chain(new.shape(value).iter().copied()).collect();
            stack.push(new.apply(Op::Reshape { shape }, &[value])?);
        }
    }
    let mut results = inputs[..carries].to_vec();
    for (output, mut stack) in body.outputs[carries..].iter().zip(stacks) {
        if reverse {
            stack.reverse();
        }
        results.push(match stack.len() {
            0 => {
                let slice = body.ty(output.value);
                let shape: Shape = std::iter::once(0).chain(slice.shape.iter().copied()).collect();
                let empty = Literal::from_bytes(ValueType { dtype: slice.dtype, shape }, &[]);
                new.constant(empty.unwrap_or_else(|| Literal::f32(0.0)))
            }
            _ => new.apply(Op::Concat { axis: 0 }, &stack)?,
        });
    }
    Ok(results)
}

/// Appends the nodes of a program that takes these values as inputs, and returns its outputs.
fn append(new: &mut Program, body: &Program, inputs: &[Value]) -> Result<Vec<Value>> {
    let mut map: Vec<Value> = Vec::with_capacity(body.value_count());
    for node in body.nodes() {
        match &node.op {
            Op::Input(port) => map.push(inputs[*port]),
            _ => {
                let args: Vec<Value> = node.args.iter().map(|arg| map[arg.index()]).collect();
                map.extend(new.copy_node(node, &args)?);
            }
        }
    }
    Ok(body.outputs.iter().map(|output| map[output.value.index()]).collect())
}
