//! The interpreter against PyTorch, gradients against finite differences, and the text form on every case.

use dropforge_conformance::{all_cases, check_all, check_gradients, compare};
use dropforge_ir::interpret::{Rounding, run};
use dropforge_ir::passes::optimize;
use dropforge_ir::text::parse;
use dropforge_ir::verify::verify;
use dropforge_runtime::reference::ReferenceDevice;

#[test]
fn the_interpreter_agrees_with_pytorch() {
    check_all(&ReferenceDevice, &[]);
}

#[track_caller]
fn no_failures(failures: Vec<String>) {
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn gradients_agree_with_finite_differences() {
    let mut failures = Vec::new();
    for case in all_cases().unwrap() {
        if let Err(message) = check_gradients(&case) {
            failures.push(format!("{}: {message}", case.name));
        }
    }
    no_failures(failures);
}

#[test]
fn every_program_is_valid_and_prints_and_parses_back() {
    for case in all_cases().unwrap() {
        verify(&case.program).unwrap();
        let text = case.program.to_string();
        let parsed = parse(&text).unwrap_or_else(|error| panic!("{}: {error}\n{text}", case.name));
        assert_eq!(parsed.to_string(), text, "{}", case.name);
    }
}

/// Passes may change the order of roundings, nothing else.
#[test]
fn optimized_programs_give_the_same() {
    let mut failures = Vec::new();
    for case in all_cases().unwrap() {
        let optimized = optimize(&case.program).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let hypers: Vec<f64> = case.hypers.iter().map(|&x| f64::from(x)).collect();
        let outcome = |program| run(program, &case.inputs, &case.states, &hypers, Rounding::Double).unwrap();
        let (expected, got) = (outcome(&case.program), outcome(&optimized));
        let pairs = expected.outputs.iter().zip(&got.outputs).chain(expected.states.iter().zip(&got.states));
        for (index, (expected, got)) in pairs.enumerate() {
            if let Some(message) = compare(expected, got, 1e-9) {
                failures.push(format!("{}: result {index} {message}\n{optimized}", case.name));
            }
        }
    }
    no_failures(failures);
}
