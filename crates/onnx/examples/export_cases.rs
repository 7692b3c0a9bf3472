//! Writes the conformance cases, and random programs, as ONNX files with inputs and expected outputs, in folders as the
//! standard's own tests have them. `scripts/check-onnx` runs them through ONNX Runtime.
//!
//! What only training needs is left out, and bf16, which ONNX Runtime does not compute on a CPU.

use dropforge_conformance::{all_cases, generate};
use dropforge_ir::interpret::{Numbers, Rounding, run};
use dropforge_ir::{DType, Op, Program};
use dropforge_onnx::{ExportOptions, export, write_tensor};
use std::path::Path;

/// Random programs that are written.
const RANDOM: u64 = 150;

/// Why a program has no model, or none that can be compared.
fn unfit(program: &Program) -> Option<&'static str> {
    let training = |op: &Op| {
        matches!(
            op,
            Op::RandomBits { .. }
                | Op::ConvolutionFilterGradient { .. }
                | Op::MaxPoolGradient { .. }
                | Op::AttentionGradient { .. }
                | Op::ScatterAdd { .. }
        )
    };
    let nodes = program.nodes();
    if nodes.iter().any(|node| training(&node.op)) {
        return Some("only training needs it");
    }
    if nodes.iter().any(|node| node.results.iter().any(|&value| program.dtype(value).is_half())) {
        return Some("halves are rounded elsewhere");
    }
    if program.states.iter().any(|state| state.write.is_some()) {
        return Some("it changes its states");
    }
    let empty = (0..program.value_count())
        .any(|index| program.shape(dropforge_ir::Value(index as u32)).elements() == 0);
    empty.then_some("it has empty values")
}

struct Sample<'a> {
    program: &'a Program,
    inputs: &'a [Numbers],
    states: &'a [Numbers],
    hypers: &'a [f32],
}

fn write(folder: &Path, sample: &Sample<'_>) -> Result<(), String> {
    let Sample { program, inputs, states, hypers } = sample;
    let wide: Vec<f64> = hypers.iter().map(|&x| f64::from(x)).collect();
    let outcome = run(program, inputs, states, &wide, Rounding::Single).map_err(|error| error.to_string())?;
    let finite = |numbers: &Numbers| numbers.elements().iter().all(|x| x.is_finite() && x.abs() < 1e9);
    if !outcome.outputs.iter().chain(*inputs).chain(*states).all(finite) {
        return Err("numbers that are not finite are left open".into());
    }
    let state = |name: &str| {
        let index = program.states.iter().position(|state| state.name == name).unwrap_or(0);
        Ok(states[index].to_array())
    };
    let hyper = |name: &str| {
        let index = program.hypers.iter().position(|hyper| hyper.name == name)?;
        Some(wide[index])
    };
    let bytes = export([(1, program), (2, program)], state, hyper, &ExportOptions::default());
    let bytes = bytes.map_err(|error| error.to_string())?;
    let set = folder.join("test_data_set_0");
    let failed = |error: std::io::Error| error.to_string();
    std::fs::create_dir_all(&set).map_err(failed)?;
    std::fs::write(folder.join("model.onnx"), bytes).map_err(failed)?;
    for (index, (port, numbers)) in program.inputs.iter().zip(*inputs).enumerate() {
        let bytes = write_tensor(&port.name, &numbers.to_array());
        std::fs::write(set.join(format!("input_{index}.pb")), bytes).map_err(failed)?;
    }
    for (index, (port, numbers)) in program.outputs.iter().zip(&outcome.outputs).enumerate() {
        let bytes = write_tensor(&port.name, &numbers.to_array());
        std::fs::write(set.join(format!("output_{index}.pb")), bytes).map_err(failed)?;
    }
    Ok(())
}

fn main() -> Result<(), String> {
    let folder = std::env::args().nth(1).ok_or("give a folder to write to")?;
    let (mut written, mut left) = (0, 0);
    let mut one = |name: String, sample: &Sample<'_>| {
        let unsigned =
            sample.program.inputs.iter().any(|port| sample.program.dtype(port.value) == DType::U32);
        let result = match unfit(sample.program) {
            Some(reason) => Err(reason.to_string()),
            None if unsigned => Err("ONNX Runtime has little unsigned arithmetic".into()),
            None => write(&Path::new(&folder).join(name.replace(['/', ' '], "_")), sample),
        };
        match result {
            Ok(()) => written += 1,
            Err(reason) if reason.contains("counterpart") => return Err(format!("{name}: {reason}")),
            Err(_) => left += 1,
        }
        Ok(())
    };
    for case in &all_cases()? {
        let sample = Sample {
            program: &case.program,
            inputs: &case.inputs,
            states: &case.states,
            hypers: &case.hypers,
        };
        one(case.name.clone(), &sample)?;
    }
    for seed in 0..RANDOM {
        let made = generate(seed);
        let sample = Sample {
            program: &made.program,
            inputs: &made.inputs,
            states: &made.states,
            hypers: &made.hypers,
        };
        one(format!("random_{seed}"), &sample)?;
    }
    println!("{written} programs written, {left} left out");
    Ok(())
}
