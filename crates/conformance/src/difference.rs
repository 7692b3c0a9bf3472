//! Gradients against finite differences, in double precision.

use crate::case::Case;
use dropforge_ir::interpret::{Numbers, Precision, run};
use dropforge_ir::{Op, Program};

/// Distance of the two points of a central difference: the cube root of the rounding error of f64 is where the errors
/// of truncation and rounding meet.
const DISTANCE: f64 = 6e-6;
/// Allowed difference, relative to the larger of the derivative and a hundredth of the largest in the same array.
const TOLERANCE: f64 = 1e-6;
/// Most elements of one array that are moved.
const ELEMENTS: usize = 60;

/// Compares the gradients of a case with central differences of its loss, both computed in double precision by the
/// interpreter. Cases without gradients, and those that are not smooth, pass.
///
/// # Errors
/// Says which derivative differs.
pub fn check_gradients(case: &Case) -> Result<(), String> {
    let Some(gradients) = case.gradients.as_ref().filter(|gradients| gradients.smooth) else { return Ok(()) };
    let mut values = Values::new(case);
    let outcome = values.run()?;
    let mut forward = values.clone();
    forward.program = keep_one_output(&case.program, gradients.loss).map_err(|error| error.to_string())?;
    for (&by, &output) in gradients.by.iter().zip(&gradients.outputs) {
        let port = &case.program.definition(by).op;
        let analytic = outcome[output].elements();
        let count = analytic.len();
        let largest = analytic.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
        for element in (0..count).step_by(count.div_ceil(ELEMENTS).max(1)) {
            let middle = *forward.element(port, element);
            let distance = DISTANCE * middle.abs().max(1.0);
            let mut loss_at = |x: f64| {
                *forward.element(port, element) = x;
                Ok::<f64, String>(forward.run()?[0].elements()[0])
            };
            let numeric = (loss_at(middle + distance)? - loss_at(middle - distance)?) / (2.0 * distance);
            loss_at(middle)?;
            let allowed = TOLERANCE * numeric.abs().max(largest / 100.0).max(1e-2);
            if (analytic[element] - numeric).abs() > allowed || !numeric.is_finite() {
                let name = &case.program.outputs[output].name;
                return Err(format!(
                    "{name}, element {element}: the gradient is {}, finite differences say {numeric}",
                    analytic[element]
                ));
            }
        }
    }
    Ok(())
}

/// Everything a run is given, to be moved.
#[derive(Clone)]
struct Values {
    program: Program,
    inputs: Vec<(Numbers, Vec<f64>)>,
    states: Vec<(Numbers, Vec<f64>)>,
    hypers: Vec<f64>,
}

impl Values {
    fn new(case: &Case) -> Values {
        let movable =
            |numbers: &[Numbers]| numbers.iter().map(|x| (x.clone(), x.elements().to_vec())).collect();
        Values {
            program: case.program.clone(),
            inputs: movable(&case.inputs),
            states: movable(&case.states),
            hypers: case.hypers.iter().map(|&x| f64::from(x)).collect(),
        }
    }

    fn element(&mut self, port: &Op, element: usize) -> &mut f64 {
        match *port {
            Op::State(port) => &mut self.states[port].1[element],
            Op::Hyper(port) => &mut self.hypers[port],
            Op::Input(port) => &mut self.inputs[port].1[element],
            _ => unreachable!("cases differentiate by ports"),
        }
    }

    fn run(&mut self) -> Result<Vec<Numbers>, String> {
        let numbers = |all: &[(Numbers, Vec<f64>)]| -> Result<Vec<Numbers>, String> {
            let make =
                |(model, elements): &(Numbers, Vec<f64>)| Numbers::new(model.ty().clone(), elements.clone());
            all.iter().map(make).collect::<Option<_>>().ok_or_else(|| "an integer was moved".to_string())
        };
        let (inputs, states) = (numbers(&self.inputs)?, numbers(&self.states)?);
        let outcome = run(&self.program, &inputs, &states, &self.hypers, Precision::Double);
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
