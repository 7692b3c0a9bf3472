//! Runs the ONNX standard's own tests of operators, a folder for each: `model.onnx`, and tensors in `test_data_set_N`.
//!
//! ```sh
//! cargo run -p dropforge-onnx --example node_tests -- FOLDER cases/onnx/node_tests.txt
//! ```
//!
//! The second argument names a file with a line for each test: `pass NAME`, or `fail NAME: reason`. What passes there
//! and fails here is an error; with `DROPFORGE_UPDATE=1` the file is written anew. `scripts/check-onnx` makes the
//! folder.

use dropforge_ir::interpret::{Numbers, Rounding, run};
use dropforge_ir::{Array, DType};
use dropforge_onnx::{ImportOptions, Model, read_tensor};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

/// Allowed differences, as the standard's own runner has them but for the absolute one: doubles are floats here.
const RELATIVE: f64 = 1e-3;
const ABSOLUTE: f64 = 1e-6;

fn tensors(folder: &Path, kind: &str) -> Result<Vec<(Array, i64)>, String> {
    let mut all = Vec::new();
    while let Ok(bytes) = std::fs::read(folder.join(format!("{kind}_{}.pb", all.len()))) {
        all.push(read_tensor(&bytes).map_err(|error| error.message().to_string())?);
    }
    Ok(all)
}

fn attempt(
    bytes: &[u8],
    inputs: &[(Array, i64)],
    fixed: impl Fn(&Array) -> bool,
) -> Result<Vec<(Numbers, i64)>, String> {
    let message = |error: dropforge_ir::Error| error.message().to_string();
    let model = Model::parse(bytes).map_err(message)?;
    let names: Vec<String> = model.input_names().map(String::from).collect();
    let given: BTreeMap<String, &Array> =
        names.iter().cloned().zip(inputs.iter().map(|(array, _)| array)).collect();
    let mut options = ImportOptions { batch: 1, ..ImportOptions::default() };
    for (name, array) in &given {
        options.shapes.insert(name.clone(), array.shape().to_vec());
        if fixed(array) {
            options.fixed.insert(name.clone(), (*array).clone());
        }
    }
    let none = |_: &str, _: u64, _: Option<u64>| Err("there are no other files".to_string());
    let imported = model.import(&options, &none).map_err(message)?;
    let program = &imported.program;
    let inputs: Vec<Numbers> = program.inputs.iter().map(|port| Numbers::from(given[&port.name])).collect();
    let states: Vec<Numbers> = imported.states.iter().map(Numbers::from).collect();
    let outcome = run(program, &inputs, &states, &[], Rounding::Single).map_err(message)?;
    Ok(outcome.outputs.into_iter().zip(imported.outputs).collect())
}

fn differs(expected: &(Array, i64), found: &(Numbers, i64)) -> Option<String> {
    let want = Numbers::from(&expected.0);
    if want.shape() != found.0.shape() {
        return Some(format!("gives {}, expected {}", found.0.shape(), want.shape()));
    }
    if expected.1 != found.1 {
        return Some(format!("gives elements of type {}, expected {}", found.1, expected.1));
    }
    // A half is not known better than this.
    let relative = if expected.0.data().dtype() == DType::BF16 { 1e-2 } else { RELATIVE };
    let close = |(a, b): &(&f64, &f64)| {
        a == b || a.is_nan() && b.is_nan() || (**a - **b).abs() <= ABSOLUTE + relative * a.abs()
    };
    let pairs = || want.elements().iter().zip(found.0.elements());
    let wrong = pairs().filter(|pair| !close(pair)).count();
    let first = pairs().find(|pair| !close(pair))?;
    Some(format!(
        "{wrong} of {} elements differ, the first is {} instead of {}",
        want.elements().len(),
        first.1,
        first.0
    ))
}

fn test(folder: &Path) -> Result<(), String> {
    let bytes = std::fs::read(folder.join("model.onnx")).map_err(|error| error.to_string())?;
    Model::parse(&bytes)
        .and_then(|model| model.inputs().map(|_| ()))
        .map_err(|error| error.message().to_string())?;
    let mut sets = 0;
    while folder.join(format!("test_data_set_{sets}")).is_dir() {
        let set = folder.join(format!("test_data_set_{sets}"));
        let (inputs, expected) = (tensors(&set, "input")?, tensors(&set, "output")?);
        // What shapes depend on is a constant of the program; where nothing else helps, all inputs are.
        let found = attempt(&bytes, &inputs, |_| false);
        let found = found.or_else(|_| attempt(&bytes, &inputs, |array| !array.data().dtype().is_float()));
        let found = found.or_else(|_| attempt(&bytes, &inputs, |_| true))?;
        if found.len() < expected.len() {
            return Err(format!("gives {} results, expected {}", found.len(), expected.len()));
        }
        for (index, (expected, found)) in expected.iter().zip(&found).enumerate() {
            if let Some(message) = differs(expected, found) {
                return Err(format!("output {index} {message}"));
            }
        }
        sets += 1;
    }
    if sets == 0 { Err("has no data".into()) } else { Ok(()) }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, expectations] = arguments.as_slice() else {
        eprintln!("usage: node_tests FOLDER EXPECTATIONS");
        return ExitCode::from(2);
    };
    let Ok(entries) = std::fs::read_dir(folder) else {
        eprintln!("{folder}: cannot be listed");
        return ExitCode::from(2);
    };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let mut lines = Vec::new();
    let mut passed = 0;
    for name in &names {
        let result = std::panic::catch_unwind(|| test(&Path::new(folder).join(name)));
        match result.unwrap_or_else(|_| Err("panics".into())) {
            Ok(()) => {
                passed += 1;
                lines.push(format!("pass {name}"));
            }
            Err(reason) => lines.push(format!("fail {name}: {}", reason.replace('\n', " "))),
        }
    }
    println!(
        "{passed} of {} tests of the standard pass ({:.1} %)",
        names.len(),
        100.0 * passed as f64 / names.len() as f64
    );
    let text = lines.join("\n") + "\n";
    if std::env::var("DROPFORGE_UPDATE").is_ok() {
        return match std::fs::write(expectations, text) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{expectations}: {error}");
                ExitCode::FAILURE
            }
        };
    }
    let known = std::fs::read_to_string(expectations).unwrap_or_default();
    // Other versions of the standard have other tests: what both have is compared, by whether it passes.
    let verdict = |line: &str| -> Option<(String, bool)> {
        let (verdict, rest) = line.split_once(' ')?;
        Some((rest.split(':').next()?.to_string(), verdict == "pass"))
    };
    let known: BTreeMap<String, bool> = known.lines().filter_map(verdict).collect();
    let mut wrong = 0;
    for line in &lines {
        let Some((name, passes)) = verdict(line) else { continue };
        if known.get(&name) == Some(&true) && !passes {
            wrong += 1;
            eprintln!("{line}, and is expected to pass");
        } else if known.get(&name) == Some(&false) && passes {
            println!("{name} passes, which {expectations} does not know: DROPFORGE_UPDATE=1 writes it anew");
        }
    }
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
