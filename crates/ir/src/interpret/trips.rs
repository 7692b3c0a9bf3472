//! Loops.

use super::{Numbers, Rounding, values};
use crate::error::Result;
use crate::program::Program;
use crate::types::ValueType;
use std::ops::Range;

/// The trips of a loop one after another. `slices` are the arguments that have a slice for each trip, behind those that
/// are carried.
pub fn scan(
    body: &Program,
    slices: Range<usize>,
    trips: usize,
    reverse: bool,
    args: &[&Numbers],
    types: &[ValueType],
    rounding: Rounding,
) -> Result<Vec<Numbers>> {
    let carries = slices.start;
    let mut inputs: Vec<Numbers> = args.iter().map(|&arg| arg.clone()).collect();
    let mut stacks: Vec<Vec<f64>> = types.iter().map(|ty| vec![0.0; ty.shape.elements()]).collect();
    for trip in 0..trips {
        let at = if reverse { trips - 1 - trip } else { trip };
        for position in slices.clone() {
            let ty = body.ty(body.inputs[position].value).clone();
            let length = ty.shape.elements();
            let elements = args[position].elements[at * length..(at + 1) * length].to_vec();
            inputs[position] = Numbers { ty, elements };
        }
        let values = values(body, &inputs, &[], &[], rounding)?;
        for (position, output) in body.outputs.iter().enumerate() {
            let value = &values[output.value.index()];
            if position < carries {
                inputs[position] = value.clone();
            } else {
                let length = value.elements.len();
                stacks[position][at * length..(at + 1) * length].copy_from_slice(&value.elements);
            }
        }
    }
    let stacked = types.iter().zip(stacks).skip(carries);
    let stacked = stacked.map(|(ty, elements)| Numbers { ty: ty.clone(), elements });
    Ok(inputs.into_iter().take(carries).chain(stacked).collect())
}
