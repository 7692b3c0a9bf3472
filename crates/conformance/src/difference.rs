//! Gradients against finite differences, in double precision.

use crate::case::{Case, Gradients};
use crate::generate::{Sample, generate, half_type};
use dropforge_ir::interpret::{Numbers, Rounding, run};
use dropforge_ir::{Op, Program};
use std::ops::Range;

/// Distance of the two points of a central difference: the cube root of the rounding error of f64 is where the errors
/// of truncation and rounding meet.
const DISTANCE: f64 = 6e-6;
/// Allowed difference, relative to the larger of the derivative and a hundredth of the largest in the same array.
const TOLERANCE: f64 = 1e-6;

/// Compares the gradients of a case with central differences of its loss, both computed in double precision by the
/// interpreter. Cases without gradients, and those that are not smooth, pass.
///
/// # Errors
/// Says which derivative differs.
pub fn check_gradients(case: &Case) -> Result<(), String> {
    let Some(gradients) = case.gradients.as_ref().filter(|gradients| gradients.smooth) else { return Ok(()) };
    let given = Given::new(&case.program, &case.inputs, &case.states, &case.hypers);
    compare_derivatives(given, gradients, 60, false).map(|_| ())
}

/// Compares the gradients of random programs with finite differences, in some elements of each array. Whole numbers,
/// which may be compared exactly and so sit on kinks, elements where differences do not settle, and programs with
/// halves, whose constants are too coarse, are left out.
///
/// # Panics
/// With the seed and the program, if a derivative differs or hardly any could be compared.
pub fn check_random_gradients(seeds: Range<u64>) {
    let mut compared = 0;
    let many = seeds.end.saturating_sub(seeds.start) >= 20;
    for seed in seeds {
        let sample = generate(seed);
        let Sample { program, inputs, states, hypers, gradients } = &sample;
        let Some(gradients) = gradients.as_ref().filter(|_| half_type(program).is_none()) else { continue };
        match compare_derivatives(Given::new(program, inputs, states, hypers), gradients, 5, true) {
            Ok(count) => compared += count,
            Err(message) => {
                panic!("seed {seed} (DROPFORGE_SEEDS={seed}..{}): {message}\n{program}", seed + 1)
            }
        }
    }
    assert!(compared > 0 || !many, "no derivative was compared");
}

/// Compares some elements of each gradient; how many were compared. With `skip_kinks`, whole numbers and
/// elements whose differences do not settle are left out.
fn compare_derivatives(
    mut given: Given,
    gradients: &Gradients,
    elements: usize,
    skip_kinks: bool,
) -> Result<usize, String> {
    let outcome = given.run()?;
    let mut forward = given.clone();
    forward.program = keep_one_output(&given.program, gradients.loss).map_err(|error| error.to_string())?;
    let mut compared = 0;
    for (&by, &output) in gradients.by.iter().zip(&gradients.outputs) {
        let port = &given.program.definition(by).op;
        let analytic = outcome[output].elements();
        let largest = analytic.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
        for element in (0..analytic.len()).step_by(analytic.len().div_ceil(elements).max(1)) {
            let Some(numeric) = forward.derivative(port, element, skip_kinks)? else { continue };
            compared += 1;
            // Constants such as 1/3 are f32 even here, and show where large terms cancel: in random programs they do.
            let least = if skip_kinks { 0.3 } else { 0.01 };
            let allowed = TOLERANCE * numeric.abs().max(largest / 100.0).max(least);
            if (analytic[element] - numeric).abs() > allowed || !numeric.is_finite() {
                let name = &given.program.outputs[output].name;
                return Err(format!(
                    "{name} (by {by}), element {element}: the gradient is {}, finite differences say {numeric}",
                    analytic[element]
                ));
            }
        }
    }
    Ok(compared)
}

/// Everything a run is given, to be moved.
#[derive(Clone)]
struct Given {
    program: Program,
    inputs: Vec<(Numbers, Vec<f64>)>,
    states: Vec<(Numbers, Vec<f64>)>,
    hypers: Vec<f64>,
}

impl Given {
    fn new(program: &Program, inputs: &[Numbers], states: &[Numbers], hypers: &[f32]) -> Given {
        let movable =
            |numbers: &[Numbers]| numbers.iter().map(|x| (x.clone(), x.elements().to_vec())).collect();
        Given {
            program: program.clone(),
            inputs: movable(inputs),
            states: movable(states),
            hypers: hypers.iter().map(|&x| f64::from(x)).collect(),
        }
    }

    /// The derivative of the only output by one element of a port; nothing if it does not settle and that is asked for.
    fn derivative(&mut self, port: &Op, element: usize, skip_kinks: bool) -> Result<Option<f64>, String> {
        let middle = *self.element(port, element)?;
        if skip_kinks && middle.fract() == 0.0 {
            return Ok(None);
        }
        let distance = DISTANCE * middle.abs().max(1.0);
        let mut loss_at = |x: f64| {
            *self.element(port, element)? = x;
            Ok::<f64, String>(self.run()?[0].elements()[0])
        };
        let (above, below) = (loss_at(middle + distance)?, loss_at(middle - distance)?);
        let derivative = (above - below) / (2.0 * distance);
        let mut settled = true;
        if skip_kinks {
            let near = distance / 4.0;
            let (here, near_above, near_below) =
                (loss_at(middle)?, loss_at(middle + near)?, loss_at(middle - near)?);
            // How far the slopes to both sides differ: a quarter of it at a quarter of the distance, unless at a kink.
            let jump = (above - 2.0 * here + below).abs() / distance;
            let near_jump = (near_above - 2.0 * here + near_below).abs() / near;
            let change = (derivative - (near_above - near_below) / (2.0 * near)).abs();
            settled = near_jump < 0.5 * jump + 1e-8 && change < TOLERANCE * derivative.abs().max(1e-2) / 2.0;
        }
        loss_at(middle)?;
        Ok(settled.then_some(derivative))
    }

    fn element(&mut self, port: &Op, element: usize) -> Result<&mut f64, String> {
        Ok(match *port {
            Op::State(port) => &mut self.states[port].1[element],
            Op::Hyper(port) => &mut self.hypers[port],
            Op::Input(port) => &mut self.inputs[port].1[element],
            _ => return Err("a gradient is by something that is no port".into()),
        })
    }

    fn run(&mut self) -> Result<Vec<Numbers>, String> {
        let numbers = |all: &[(Numbers, Vec<f64>)]| -> Result<Vec<Numbers>, String> {
            let make =
                |(model, elements): &(Numbers, Vec<f64>)| Numbers::new(model.ty().clone(), elements.clone());
            all.iter().map(make).collect::<Option<_>>().ok_or_else(|| "an integer was moved".to_string())
        };
        let (inputs, states) = (numbers(&self.inputs)?, numbers(&self.states)?);
        let outcome = run(&self.program, &inputs, &states, &self.hypers, Rounding::Double);
        outcome.map(|outcome| outcome.outputs).map_err(|error| error.to_string())
    }
}

/// The part of a program that one output needs; the ports stay, with the same values.
fn keep_one_output(program: &Program, output: usize) -> dropforge_ir::Result<Program> {
    let wanted = program.outputs[output].value;
    let mut used = vec![false; program.nodes().len()];
    used[program.definition_id(wanted).index()] = true;
    for (index, node) in program.nodes().iter().enumerate().rev() {
        if used[index] {
            node.args.iter().for_each(|&arg| used[program.definition_id(arg).index()] = true);
        }
    }
    let mut alone = program.clone();
    alone.outputs = vec![program.outputs[output].clone()];
    alone.states.iter_mut().for_each(|state| state.write = None);
    alone.rebuild(|node| used[node.index()], |new, node, args| new.copy_node(node, args))
}
