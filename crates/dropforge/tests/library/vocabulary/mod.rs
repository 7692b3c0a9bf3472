//! Functions of tensors against PyTorch, family by family: a family is a file of tests/data and a table of cases.
//!
//! Every case of the file must be in the table, and the other way round. All that differ are reported at once.

mod activations;
mod creation;
mod errors;
mod functions;
mod gather;
mod index;
mod joining;
mod losses;
mod ordering;
mod products;
mod statistics;

use crate::golden::Golden;
use dropforge::prelude::*;
use std::collections::BTreeSet;

/// A case of the file, and the function that is called with its inputs.
pub type Case = (&'static str, fn(&[Tensor]) -> Tensor);

/// Relative to the larger of 1 and the expected number.
const TOLERANCE: f32 = 2e-6;

pub fn check(family: &str, cases: &[Case]) {
    let golden = Golden::read(family);
    let of_file: BTreeSet<&str> = golden.under("").filter_map(|(key, _)| key.strip_suffix(".y")).collect();
    let of_table: BTreeSet<&str> = cases.iter().map(|(name, _)| *name).collect();
    assert_eq!(of_table.len(), cases.len(), "{family}: a case stands twice in the table");
    let mut wrong: Vec<String> = of_file
        .symmetric_difference(&of_table)
        .map(|name| format!("{name}: in the file or the table only"))
        .collect();
    for (name, function) in cases.iter().filter(|(name, _)| of_file.contains(name)) {
        if let Err(message) = run(&golden, name, *function) {
            wrong.push(format!("{name}: {message}"));
        }
    }
    assert!(wrong.is_empty(), "{family}:\n{}", wrong.join("\n"));
}

fn run(golden: &Golden, name: &str, function: fn(&[Tensor]) -> Tensor) -> std::result::Result<(), String> {
    let key = |part: &str| format!("{name}.{part}");
    let inputs: Vec<Tensor> = (0..)
        .map_while(|place| {
            golden.has(&key(&place.to_string())).then(|| golden.tensor(&key(&place.to_string())))
        })
        .map(|input| if input.dtype().is_float() { input.requires_grad() } else { input })
        .collect();
    let tolerance =
        if golden.has(&key("tolerance")) { golden.floats(&key("tolerance"))[0] } else { TOLERANCE };
    let y = function(&inputs);
    compare("result", &y, golden.array(&key("y")), tolerance)?;
    if !golden.has(&key("weights")) {
        return Ok(());
    }
    (&y * golden.tensor(&key("weights"))).sum(..).backward().map_err(|error| error.to_string())?;
    for (place, input) in inputs.iter().enumerate() {
        let what = format!("gradient.{place}");
        if golden.has(&key(&what)) {
            let gradient = input.grad().ok_or_else(|| format!("{what} is missing"))?;
            compare(&what, &gradient, golden.array(&key(&what)), 4.0 * tolerance)?;
        }
    }
    Ok(())
}

fn compare(what: &str, got: &Tensor, expected: &Array, tolerance: f32) -> std::result::Result<(), String> {
    let got = got.to_array().map_err(|error| format!("{what}: {error}"))?;
    if got.ty() != expected.ty() {
        return Err(format!("{what} is {}, expected {}", got.ty(), expected.ty()));
    }
    let (Some(numbers), Some(wanted)) = (got.as_f32(), expected.as_f32()) else {
        let same = got == *expected;
        return if same {
            Ok(())
        } else {
            Err(format!("{what} is {:?}, expected {:?}", got.data(), expected.data()))
        };
    };
    let close = |x: f32, y: f32| {
        x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= tolerance * y.abs().max(1.0)
    };
    match numbers.iter().zip(wanted).position(|(&x, &y)| !close(x, y)) {
        Some(at) => Err(format!("{what}[{at}] is {}, expected {}", numbers[at], wanted[at])),
        None => Ok(()),
    }
}
