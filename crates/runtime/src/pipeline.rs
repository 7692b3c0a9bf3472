//! The way from a program to an executable, in one place: verify, passes, plan, load.

use crate::binding::Binding;
use crate::device::{BufferRef, Choices, Device};
use crate::executable::Executable;
use dropforge_ir::passes::precision::to_half;
use dropforge_ir::passes::{PASSES, Pass, join_scans, run_passes, unroll_scans};
use dropforge_ir::verify::verify;
use dropforge_ir::{DType, Program, Result};
use dropforge_plan::verify::verify as verify_plan;
use dropforge_plan::{Plan, plan};
use std::sync::Arc;

/// What happens to a program before it is planned.
#[derive(Clone, Debug)]
pub struct Options {
    /// The passes, in order. Default [`PASSES`].
    pub passes: Vec<Pass>,
    /// Whether the program is verified again after each pass, so that an error names the pass with the fault, and the
    /// plan at the end. Default: in debug builds.
    pub verify_passes: bool,
    /// The half type that products of f32 compute in, after all other passes: see [`dropforge_ir::passes::precision`].
    /// Default `None`: f32.
    pub half: Option<DType>,
}

impl Default for Options {
    fn default() -> Options {
        Options { passes: PASSES.to_vec(), verify_passes: cfg!(debug_assertions), half: None }
    }
}

impl Options {
    /// For devices that have no loops: the trips of a scan are written one after another before everything else.
    pub fn unrolled() -> Options {
        let mut options = Options::default();
        let first = [Pass::new("join-scans", join_scans), Pass::new("unroll-scans", unroll_scans)];
        options.passes.splice(0..0, first);
        options
    }

    /// No passes: the program is planned as it is written.
    pub fn as_written() -> Options {
        Options { passes: Vec::new(), ..Options::default() }
    }
}

/// Turns a program into a plan.
///
/// # Errors
/// If the program is not valid.
pub fn compile(program: &Program, options: &Options) -> Result<Plan> {
    verify(program)?;
    let mut program = run_passes(program, &options.passes, options.verify_passes)?;
    if let Some(half) = options.half {
        program = to_half(&program, half, options.verify_passes)?;
    }
    let plan = plan(&program)?;
    if options.verify_passes {
        verify_plan(&plan)?;
    }
    Ok(plan)
}

/// Compiles a program as the device wants it and binds it to its states, in the order of `program.states`.
///
/// # Errors
/// If the program is not valid, a state's buffer has another type or belongs to another device, or the device lacks
/// memory or something that the program needs.
pub fn load(device: &dyn Device, program: &Program, states: &[BufferRef]) -> Result<Executable> {
    load_with(device, program, states, &device.options(), &mut Choices::new())
}

/// As [`load`], with options of the caller, and with the choices that `choices` names; those that the device makes
/// itself are added. Who keeps them can load the same programs later, in another process, and get the same bits. A
/// choice that the device does not know, or that does not fit, is made anew.
///
/// # Errors
/// As [`load`].
pub fn load_with(
    device: &dyn Device,
    program: &Program,
    states: &[BufferRef],
    options: &Options,
    choices: &mut Choices,
) -> Result<Executable> {
    let plan = Arc::new(compile(program, options)?);
    let loaded = device.load(&Binding::of_planned(&plan, states)?, choices)?;
    Ok(Executable::new(plan, loaded))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::ReferenceDevice;
    use crate::simulate::SimulatedDevice;
    use dropforge_ir::{DType, Error, UnaryKind, ValueType};

    fn twice_negated() -> Program {
        let mut program = Program::new("p");
        let x = program.input("x", ValueType::new(DType::F32, [2]));
        let minus = program.unary(UnaryKind::Negate, x).unwrap();
        let x = program.unary(UnaryKind::Negate, minus).unwrap();
        program.output("x", x);
        program
    }

    #[test]
    fn options_choose_the_passes() {
        let count = |options: &Options| compile(&twice_negated(), options).unwrap().program.nodes().len();
        assert!(count(&Options::default()) < count(&Options::as_written()));
    }

    #[test]
    fn a_faulty_pass_is_named() {
        fn forget_the_types(program: &Program) -> Result<Program> {
            let mut new = Program::new(program.name.clone());
            let x = new.input("x", ValueType::new(DType::F32, [3]));
            new.output("x", x);
            new.states.clone_from(&program.states);
            new.inputs.push(new.inputs[0].clone());
            Ok(new)
        }
        let passes = vec![Pass::new("forgetful", forget_the_types)];
        let options = Options { passes, verify_passes: true, half: None };
        let error = compile(&twice_negated(), &options).err().map(|error: Error| error.to_string());
        assert!(error.as_ref().is_some_and(|error| error.contains("after pass forgetful")), "{error:?}");
    }

    #[test]
    fn every_device_checks_states_and_arguments_alike() {
        let mut program = Program::new("p");
        let ty = ValueType::new(DType::F32, [2]);
        let x = program.input("x", ty.clone());
        let rate = program.hyper("rate");
        program.state("w", ty.clone());
        program.output("x", x);
        program.output("rate", rate);
        for device in [&ReferenceDevice as &dyn Device, &SimulatedDevice] {
            let (wrong, right) = (ValueType::new(DType::F32, [3]), device.allocate(&ty).unwrap());
            let says = |states: &[BufferRef]| load(device, &program, states).err().unwrap().to_string();
            assert_eq!(says(&[]), "load: p needs 1 states, got 0");
            let wrong = device.allocate(&wrong).unwrap();
            assert_eq!(says(std::slice::from_ref(&wrong)), "load: state w is f32[2], its buffer is f32[3]");
            let mut executable = load(device, &program, std::slice::from_ref(&right)).unwrap();
            let mut says = |inputs: &[&BufferRef], hypers: &[f32]| {
                let inputs: Vec<_> = inputs.iter().map(|buffer| crate::Argument::Device(buffer)).collect();
                executable.run(&inputs, hypers).err().unwrap().to_string()
            };
            assert_eq!(says(&[], &[1.0]), "run: p takes 1 inputs, got 0");
            assert_eq!(says(&[&right], &[]), "run: p takes 1 hyperparameters, got 0");
            assert_eq!(says(&[&wrong], &[1.0]), "run: p: input x is f32[2], got f32[3]");
        }
    }
}
