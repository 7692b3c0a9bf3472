//! Random programs on a device against the interpreter in double precision.

use crate::compare::report;
use crate::dice::Dice;
use crate::generate::{Sample, generate, half_type, rounding_error};
use crate::runner::{quietly, run_twice};
use crate::shrink::shrink;
use dropforge_ir::DType;
use dropforge_ir::interpret::{Numbers, Rounding, run};
use dropforge_ir::passes::precision::{Computes, computes, to_half};
use dropforge_runtime::Device;
use std::ops::Range;

/// Allowed difference of a well-conditioned result: absolute up to 1, relative beyond.
const TOLERANCE: f64 = 1e-5;
/// The same for programs with halves, in roundings to the coarsest type.
const ROUNDINGS: f64 = 2.0;
/// How far arguments are moved to see how much a result hangs on them, relative: 16 roundings.
const JITTER: f64 = 1e-6;
/// Results that move further than this are not compared; with halves they move by more.
const UNSTABLE: f64 = 1e-2;
const UNSTABLE_HALVES: f64 = 1e-1;

/// Runs the random programs of these seeds on a device and compares outputs and states with the interpreter in double
/// precision. The allowed difference grows with how much a result moves when the program's arguments move by a few
/// roundings.
///
/// # Panics
/// With the seed, the difference and the smallest program found that shows it, if one differs.
pub fn check_random(device: &dyn Device, seeds: Range<u64>) {
    check_samples(device, seeds.map(|seed| (seed, generate(seed))));
}

/// As [`check_random`], for the programs with products, brought to mixed precision in this half type. Gives how many
/// there were.
///
/// # Panics
/// As [`check_random`].
pub fn check_random_mixed(device: &dyn Device, half: DType, seeds: Range<u64>) -> usize {
    let mixed = seeds.filter_map(|seed| {
        let mut sample = generate(seed);
        let has_product = sample.program.nodes().iter().any(|node| computes(&node.op) == Computes::InHalf);
        if !has_product || half_type(&sample.program).is_some() {
            return None;
        }
        sample.program = to_half(&sample.program, half, true).expect("the pass takes every valid program");
        Some((seed, sample))
    });
    check_samples(device, mixed)
}

fn check_samples(device: &dyn Device, samples: impl Iterator<Item = (u64, Sample)>) -> usize {
    let mut count = 0;
    for (seed, sample) in samples {
        count += 1;
        if let Err(message) = check_sample(device, &sample) {
            let fails = |sample: &Sample| check_sample(device, sample).is_err();
            let small = shrink(&sample, &fails);
            let again = check_sample(device, &small).err().unwrap_or_default();
            panic!(
                "{}, seed {seed} (DROPFORGE_SEEDS={seed}..{}): {message}\nsmallest program that differs: {again}\n{}",
                device.name(),
                seed + 1,
                listing(&small)
            );
        }
    }
    count
}

/// The seeds that the environment variable `DROPFORGE_SEEDS` names as `from..to`, or the given ones.
///
/// # Panics
/// If the variable is set to something else.
pub fn seeds_from_environment(otherwise: Range<u64>) -> Range<u64> {
    let Ok(text) = std::env::var("DROPFORGE_SEEDS") else { return otherwise };
    let range =
        text.split_once("..").and_then(|(from, to)| Some(from.trim().parse().ok()?..to.trim().parse().ok()?));
    range.unwrap_or_else(|| panic!("DROPFORGE_SEEDS is {text:?}, expected from..to, such as 0..1000"))
}

/// A program with what it is given, if that is not much.
fn listing(sample: &Sample) -> String {
    let mut text = sample.program.to_string();
    let inputs = sample.program.inputs.iter().map(|port| &port.name).zip(&sample.inputs);
    let states = sample.program.states.iter().map(|port| &port.name).zip(&sample.states);
    for (name, numbers) in inputs.chain(states).filter(|(_, numbers)| numbers.elements().len() <= 64) {
        text += &format!("{name} = {:?}\n", numbers.elements());
    }
    text + &format!("hyperparameters {:?}\n", sample.hypers)
}

fn check_sample(device: &dyn Device, sample: &Sample) -> Result<(), String> {
    let (tolerance, unstable) = match half_type(&sample.program) {
        Some(dtype) => (ROUNDINGS * rounding_error(dtype), UNSTABLE_HALVES),
        None => (TOLERANCE, UNSTABLE),
    };
    let expected = run_moved(sample, Rounding::Double, None)?;
    let [first, second] = quietly(|| {
        run_twice(device, &sample.program, &sample.inputs, &sample.states, &sample.hypers)
            .map_err(|error| error.to_string())
    })?;
    let mut moved = vec![run_moved(sample, Rounding::Single, None)?];
    for trial in 0..2 {
        moved.push(run_moved(sample, Rounding::Double, Some(trial))?);
    }
    for (index, expected) in expected.iter().enumerate() {
        let name = match sample.program.outputs.get(index) {
            Some(output) => format!("output {}", output.name),
            None => format!("state {}", sample.program.states[index - sample.program.outputs.len()].name),
        };
        let distance = |other: &Vec<Numbers>| {
            let pairs = other[index].elements().iter().zip(expected.elements());
            pairs.map(|(a, b)| if a == b { 0.0 } else { (a - b).abs() }).fold(0.0, f64::max)
        };
        let sensitivity = moved.iter().map(distance).fold(0.0, f64::max);
        let scale = expected.elements().iter().fold(1.0f64, |scale, x| scale.max(x.abs()));
        if sensitivity > unstable * scale {
            continue;
        }
        let allowed = |want: f64| tolerance * want.abs().max(1.0) + 5.0 * sensitivity;
        if let Some(message) = report(expected, &Numbers::from(&first[index]), allowed) {
            return Err(format!("{name} {message}"));
        }
        if first[index].data().bytes() != second[index].data().bytes() {
            return Err(format!("{name} is not the same in a second run"));
        }
    }
    Ok(())
}

/// Outputs and then states, with floats that are no whole numbers moved a little if a trial is given.
fn run_moved(sample: &Sample, precision: Rounding, trial: Option<u32>) -> Result<Vec<Numbers>, String> {
    let mut dice = Dice::new(u64::from(trial.unwrap_or(0)), 1);
    let mut shift = |x: f64| match trial {
        Some(_) if x.fract() != 0.0 => x * (1.0 + JITTER * dice.uniform(-1.0, 1.0)),
        _ => x,
    };
    let mut shifted = |all: &[Numbers]| -> Vec<Numbers> {
        let one = |numbers: &Numbers| {
            if !numbers.ty().dtype.is_float() {
                return numbers.clone();
            }
            let elements = numbers.elements().iter().map(|&x| shift(x)).collect();
            Numbers::new(numbers.ty().clone(), elements).unwrap_or_else(|| numbers.clone())
        };
        all.iter().map(one).collect()
    };
    let (inputs, states) = (shifted(&sample.inputs), shifted(&sample.states));
    let hypers: Vec<f64> = sample.hypers.iter().map(|&x| f64::from(x)).collect();
    let outcome =
        run(&sample.program, &inputs, &states, &hypers, precision).map_err(|error| error.to_string())?;
    Ok(outcome.outputs.into_iter().chain(outcome.states).collect())
}
