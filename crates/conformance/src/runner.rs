//! Runs the cases on a device.

use crate::case::{Case, all_cases};
use crate::compare::compare;
use dropforge_ir::Array;
use dropforge_ir::interpret::Numbers;
use dropforge_runtime::{Argument, BufferRef, Device, load};

/// A case in which a device may deviate, and why.
pub struct Exception {
    /// Name of the case, or what the names of several begin with, followed by `*`.
    pub case: &'static str,
    /// How it may deviate.
    pub verdict: Verdict,
    /// The reason, for whoever reads the test.
    pub because: &'static str,
}

/// How a device may deviate.
pub enum Verdict {
    /// Another tolerance than the case's.
    Tolerance(f64),
    /// The case is not run.
    Skip,
}

impl Exception {
    fn covers(&self, name: &str) -> bool {
        match self.case.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == self.case,
        }
    }
}

/// Runs every case of the repository on a device, or those whose names hold what the environment variable
/// `DROPFORGE_CASES` says. Each runs twice from the same states, with inputs from the host and from the device, and has
/// to give the same bits.
///
/// # Panics
/// With a report, if a case fails, cannot be read, or an exception covers no case.
pub fn check_all(device: &dyn Device, exceptions: &[Exception]) {
    check(device, exceptions, None);
}

/// [`check_all`] for one of several ways in which a device prints the same kernels: a way by number, which takes
/// another share of the cases than its neighbours do where [`thinned`] leaves some out.
pub fn check_share(device: &dyn Device, way: usize) {
    check(device, &[], Some(way));
}

/// Every n-th of a list, from its element number `way` modulo n, where the environment variable `DROPFORGE_THIN` is n:
/// for checks in which several ways go through the same list and each is slow. Without the variable, all of it.
///
/// # Panics
/// The variable is not a whole number from 1.
pub fn thinned<T>(list: impl IntoIterator<Item = T>, way: usize) -> Vec<T> {
    let every = std::env::var("DROPFORGE_THIN").map_or(1, |text| match text.parse::<usize>() {
        Ok(every @ 1..) => every,
        _ => panic!("DROPFORGE_THIN is {text:?}, expected a whole number from 1"),
    });
    list.into_iter().skip(way % every).step_by(every).collect()
}

fn check(device: &dyn Device, exceptions: &[Exception], way: Option<usize>) {
    let mut cases = all_cases().unwrap_or_else(|message| panic!("{message}"));
    if let Some(way) = way {
        cases = thinned(cases, way);
    }
    // Exceptions are checked against all cases, whatever is run.
    let wanted = std::env::var("DROPFORGE_CASES").unwrap_or_default();
    let mut failures = Vec::new();
    for exception in exceptions {
        if !cases.iter().any(|case| exception.covers(&case.name)) {
            failures.push(format!("the exception {} covers no case", exception.case));
        }
    }
    for case in cases.iter().filter(|case| case.name.contains(&wanted)) {
        let tolerance = match exceptions.iter().find(|exception| exception.covers(&case.name)) {
            Some(Exception { verdict: Verdict::Skip, .. }) => continue,
            Some(Exception { verdict: Verdict::Tolerance(tolerance), .. }) => *tolerance,
            None => case.tolerance,
        };
        if let Err(message) = check_case(device, case, tolerance) {
            failures.push(format!("{}: {message}", case.name));
        }
    }
    assert!(
        failures.is_empty(),
        "{}: {} of {} cases fail:\n{}",
        device.name(),
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

fn check_case(device: &dyn Device, case: &Case, tolerance: f64) -> Result<(), String> {
    let program = &case.program;
    let [first, second] = quietly(|| {
        run_twice(device, program, &case.inputs, &case.states, &case.hypers)
            .map_err(|error| error.to_string())
    })?;
    let names = program.outputs.iter().map(|port| format!("output {}", port.name));
    let names: Vec<String> =
        names.chain(program.states.iter().map(|port| format!("state {}", port.name))).collect();
    for (index, expected) in case.expected.iter().chain(&case.expected_states).enumerate() {
        if let Some(message) = compare(expected, &Numbers::from(&first[index]), tolerance) {
            return Err(format!("{} {message}", names[index]));
        }
        if first[index].data().bytes() != second[index].data().bytes() {
            return Err(format!("{} is not the same in a second run", names[index]));
        }
    }
    Ok(())
}

/// Turns a panic of a device into an error, so that a report can say where it happened.
pub fn quietly<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        Err(format!("panics: {}", text.unwrap_or("without a message")))
    })
}

/// Outputs and then states after two runs from the same states, the first with inputs on the host, the second with
/// inputs on the device.
pub fn run_twice(
    device: &dyn Device,
    program: &dropforge_ir::Program,
    inputs: &[Numbers],
    states: &[Numbers],
    hypers: &[f32],
) -> dropforge_ir::Result<[Vec<Array>; 2]> {
    let buffers: Vec<BufferRef> =
        states.iter().map(|state| device.allocate(state.ty())).collect::<dropforge_ir::Result<_>>()?;
    let mut executable = load(device, program, &buffers)?;
    let host: Vec<Array> = inputs.iter().map(Numbers::to_array).collect();
    let mut run = |arguments: &[Argument<'_>]| {
        for (buffer, state) in buffers.iter().zip(states) {
            buffer.write(&state.to_array())?;
        }
        let outputs = executable.run(arguments, hypers)?;
        outputs
            .iter()
            .chain(&buffers)
            .map(|buffer| buffer.read())
            .collect::<dropforge_ir::Result<Vec<Array>>>()
    };
    let first = run(&host.iter().map(Argument::Host).collect::<Vec<_>>())?;
    let mut on_device = Vec::new();
    for array in &host {
        let buffer = device.allocate(&array.ty())?;
        buffer.write(array)?;
        on_device.push(buffer);
    }
    let second = run(&on_device.iter().map(Argument::Device).collect::<Vec<_>>())?;
    Ok([first, second])
}
