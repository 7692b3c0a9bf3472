//! Kernels for Metal without a Mac: every kernel is printed in Metal's language as wgpu would print it there, its types
//! are checked by clang with a header in place of Metal's library, and kernels run as C++ against the interpreter.
//!
//! A machine without clang fails, unless `DROPFORGE_NO_CLANG=1` says that none is expected.

#[path = "../support/attention.rs"]
mod attention;
mod clang;
mod execution;
mod faults;
mod models;
mod programs;
#[path = "../support/shapes.rs"]
mod shapes;
mod translate;

use dropforge_conformance::{generate, thinned};
use dropforge_wgpu::{Limits, Matrices, MatrixUse, Printing, shaders};
use execution::Machine;
use std::collections::HashMap;
use std::time::Instant;
use translate::{Kernel, translate};

/// Those of a Mac, as far as shaders depend on them.
fn limits() -> Limits {
    const BUFFER: u64 = 4 << 30;
    Limits {
        buffer_bytes: BUFFER,
        parameter_bytes: BUFFER,
        workgroup_bytes: 32 << 10,
        buffers: 29,
        ..Limits::default()
    }
}

/// A Mac: subgroups may be smaller than they are. Four neighbours are taken at once wherever that works.
fn machine() -> Machine {
    let printing = Printing { subgroup: Some(4), quads_from: 0, f16: true, ..Printing::default() };
    Machine { printing, subgroup: 32, pick: None }
}

/// One whose contractions all go through matrices, of 8 by 8, where they can.
fn machine_of_matrices() -> Machine {
    let matrices = Matrices { of_f16: Some(8), of_bf16: None, of_f32: Some(8), lanes: 32, lenient: false };
    let machine = machine();
    let printing = Printing { matrices: Some(matrices), matrix_use: MatrixUse::Always, ..machine.printing };
    Machine { printing, ..machine }
}

/// One that converts to f16 in another way than the rest does, and keeps it in words.
fn machine_of_words() -> Machine {
    let machine = machine();
    Machine { printing: Printing { f16: false, ..machine.printing }, ..machine }
}

/// Every distinct kernel of some programs.
fn kernels<'a>(programs: impl IntoIterator<Item = &'a dropforge_ir::Program>) -> Vec<Kernel> {
    kernels_of(programs, machine())
}

fn kernels_of<'a>(
    programs: impl IntoIterator<Item = &'a dropforge_ir::Program>,
    machine: Machine,
) -> Vec<Kernel> {
    let mut known: HashMap<String, Kernel> = HashMap::new();
    for program in programs {
        let shaders = machine.shaders(program).unwrap_or_else(|error| panic!("{}: {error}", program.name));
        for dispatch in shaders.dispatches {
            known.entry(dispatch.source).or_insert_with_key(|source| {
                let written: Vec<bool> = dispatch.bindings.iter().map(|&(_, written)| written).collect();
                translate(&dispatch.label, source, &written).unwrap_or_else(|message| panic!("{message}"))
            });
        }
    }
    known.into_values().collect()
}

fn check_types(name: &str, kernels: &[Kernel]) {
    let Some(clang) = clang::find() else { return };
    let start = Instant::now();
    let file = clang::folder(name).join("kernels.cpp");
    std::fs::write(&file, clang::joined(kernels)).unwrap();
    if let Err(message) = clang.check(&file) {
        panic!("{message}");
    }
    println!("{name}: {} kernels have right types ({:.1?})", kernels.len(), start.elapsed());
}

#[test]
fn kernels_of_models_have_right_types() {
    check_types("models", &kernels(&models::full()));
}

#[test]
fn kernels_of_cases_have_right_types() {
    let cases = programs::cases();
    let (tiled, halves) = (programs::tiled(), programs::in_halves());
    check_types("cases", &kernels(cases.iter().chain(&tiled).chain(&halves).map(|sample| &sample.program)));
}

#[test]
fn kernels_of_random_programs_have_right_types() {
    let programs: Vec<_> = (0..60).map(|seed| generate(seed).program).collect();
    check_types("random", &kernels(&programs));
}

#[test]
fn kernels_of_matrices_have_right_types() {
    check_types("models-of-matrices", &kernels_of(&models::full(), machine_of_matrices()));
    let samples = programs::matrices();
    check_types("matrices", &kernels_of(samples.iter().map(|sample| &sample.program), machine_of_matrices()));
}

/// Elementwise kernels are printed into the products and convolutions that they follow.
#[test]
fn epilogues_save_dispatches() {
    let without = Limits { buffers: 0, ..limits() };
    for program in models::full() {
        let count = |limits| shaders(&program, limits, &machine().printing).unwrap().dispatches.len();
        let (with, without) = (count(&limits()), count(&without));
        println!("{}: {with} dispatches, {without} without epilogues", program.name);
        assert!(with < without);
    }
}

fn check_results(name: &str, samples: &[programs::Sample], machine: Machine) {
    let Some(clang) = clang::find() else { return };
    let start = Instant::now();
    let (count, failures) = execution::run(clang, name, samples, machine);
    assert!(failures.is_empty(), "{} of {count:?} fail:\n{}", failures.len(), failures.join("\n"));
    println!("{name}: {count:?} ({:.1?})", start.elapsed());
}

#[test]
fn tiled_kernels_agree_with_the_interpreter() {
    check_results("run-tiled", &programs::tiled(), machine());
}

#[test]
fn kernels_of_halves_agree_with_the_interpreter() {
    check_results("run-halves", &programs::in_halves(), machine());
    check_results("run-halves-in-words", &programs::in_halves(), machine_of_words());
}

#[test]
fn matrices_agree_with_the_interpreter() {
    let picks = [
        ("by-rule", None),
        ("large", Some("matrices:64:64:32:32:32:1")),
        ("split", Some("matrices:32:32:16:16:32:3")),
    ];
    for (name, pick) in picks {
        let machine = Machine { pick, ..machine_of_matrices() };
        check_results(&format!("run-matrices-{name}"), &programs::matrices(), machine);
    }
}

#[test]
fn training_steps_agree_with_the_interpreter() {
    check_results("run-models", &models::small(), machine());
}

#[test]
fn cases_agree_with_pytorch() {
    check_results("run-cases", &thinned(programs::cases(), 2), machine());
}

/// Lanes exchange values within subgroups of any size, and four neighbours are taken at once also where some are stored
/// alone.
#[test]
fn reductions_agree_with_the_interpreter_for_every_subgroup() {
    for (least, subgroup) in [(4, 4), (8, 16), (32, 32), (64, 64)] {
        let printing = Printing {
            subgroup: Some(least),
            quads_from: 0,
            stores_parts: true,
            f16: true,
            ..Printing::default()
        };
        let name = format!("run-reductions-{least}-{subgroup}");
        check_results(&name, &programs::reductions(), Machine { printing, subgroup, pick: None });
    }
    let printing = Printing::default().plain();
    check_results(
        "run-reductions-plain",
        &programs::reductions(),
        Machine { printing, subgroup: 32, pick: None },
    );
}
