//! What the passes make of programs: each file in `cases/passes` holds a program, a line `---`, and the program that
//! the passes are expected to make of it, brought to the half type that its folder is called after, if it lies in one.
//! `DROPFORGE_UPDATE=1 cargo test -p dropforge-ir --test passes` rewrites the second half.

use dropforge_ir::interpret::run_arrays;
use dropforge_ir::passes::optimize;
use dropforge_ir::passes::precision::to_half;
use dropforge_ir::{Array, DType, Data, F16, Program, text};
use std::path::{Path, PathBuf};

/// Both programs give the same on some numbers, with negative ones and ties among them.
fn assert_same_meaning(file: &str, a: &Program, b: &Program, tolerance: f32) {
    let sample = |ty: &dropforge_ir::ValueType, seed: usize| {
        let count = ty.shape.elements();
        let data = match ty.dtype {
            DType::F32 => {
                Data::F32((0..count).map(|i| ((i * 37 + seed * 11) % 23) as f32 / 4.0 - 3.0).collect())
            }
            DType::F16 => Data::F16((0..count).map(|i| F16::from_f32((i * 37 % 23) as f32 / 4.0)).collect()),
            DType::I32 => Data::I32((0..count).map(|i| (i % 3) as i32).collect()),
            other => Data::zeros(other, count),
        };
        Array::new(ty.shape.clone(), data).unwrap()
    };
    let inputs: Vec<Array> =
        a.inputs.iter().enumerate().map(|(i, port)| sample(a.ty(port.value), i)).collect();
    let states: Vec<Array> =
        a.states.iter().enumerate().map(|(i, port)| sample(a.ty(port.value), i + 9)).collect();
    let hypers = vec![0.5; a.hypers.len()];
    let run = |program: &Program| run_arrays(program, &inputs, &states, &hypers).unwrap();
    let ((a_out, a_states), (b_out, b_states)) = (run(a), run(b));
    for (x, y) in a_out.iter().chain(&a_states).zip(b_out.iter().chain(&b_states)) {
        match (x.as_f32(), y.as_f32()) {
            (Some(x), Some(y)) => {
                let close = x.iter().zip(y).all(|(x, y)| (x - y).abs() <= tolerance * (1.0 + x.abs()));
                assert!(close, "{file}: {x:?} became {y:?}");
            }
            _ => assert_eq!(x, y, "{file}"),
        }
    }
}

/// The files of a folder of cases in order.
fn cases(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases/passes").join(folder);
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.is_file()).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// Holds what the passes make of a file's program against what stands there.
fn check(path: &Path, tolerance: f32, pass: impl Fn(&Program) -> dropforge_ir::Result<Program>) {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let content = std::fs::read_to_string(path).unwrap();
    let (before, expected) = content.split_once("---\n").unwrap_or((&content, ""));
    let program = text::parse(before).unwrap_or_else(|error| panic!("{name}: {error}"));
    let optimized = pass(&program).unwrap();
    assert_same_meaning(&name, &program, &optimized, tolerance);
    let found = optimized.to_string();
    if std::env::var_os("DROPFORGE_UPDATE").is_some() {
        std::fs::write(path, format!("{before}---\n{found}")).unwrap();
    } else {
        assert_eq!(found.trim(), expected.trim(), "{name}");
    }
}

#[test]
fn programs_become_what_is_written() {
    for path in cases("") {
        check(&path, 1e-5, optimize);
    }
}

#[test]
fn products_become_those_of_halves() {
    // Each of a few values that follow one another is rounded.
    for (folder, half, tolerance) in [("bf16", DType::BF16, 0.03), ("f16", DType::F16, 0.004)] {
        for path in cases(folder) {
            check(&path, tolerance, |program| to_half(&optimize(program)?, half, true));
        }
    }
}
