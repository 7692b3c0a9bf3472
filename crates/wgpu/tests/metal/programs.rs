//! Programs whose kernels are checked: conformance cases, and shapes that reach every form of the hand-tiled kernels.

use crate::attention;
use crate::shapes::{self, Convolved};
use dropforge_conformance::all_cases;
use dropforge_ir::interpret::{Numbers, run_arrays};
use dropforge_ir::text::parse;
use dropforge_ir::{Array, DType, Data, F16, Program, Value};

/// A program with what it is given and what it should give.
pub struct Sample {
    pub name: String,
    pub program: Program,
    pub inputs: Vec<Array>,
    pub hypers: Vec<f32>,
    pub states: Vec<Array>,
    /// Outputs, then states.
    pub expected: Vec<Numbers>,
    /// Allowed difference: absolute up to 1, relative beyond.
    pub tolerance: f64,
}

/// The conformance cases, with what PyTorch gave.
pub fn cases() -> Vec<Sample> {
    let cases = all_cases().unwrap_or_else(|message| panic!("{message}"));
    let arrays = |numbers: &[Numbers]| numbers.iter().map(Numbers::to_array).collect();
    cases
        .into_iter()
        .map(|case| Sample {
            inputs: arrays(&case.inputs),
            states: arrays(&case.states),
            hypers: case.hypers,
            expected: case.expected.into_iter().chain(case.expected_states).collect(),
            name: case.name,
            program: case.program,
            tolerance: case.tolerance,
        })
        .collect()
}

/// A program with numbers that look random, and what the interpreter makes of them.
fn sample(name: String, text: &str, tolerance: f64) -> Sample {
    let program = parse(text).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
    let array = |value: Value, seed: usize| {
        let ty = program.ty(value);
        let number = |i: usize| (((i * 7919 + seed * 104_729) * 2_654_435_761) % 2003) as f32 / 1001.0 - 1.0;
        let numbers = (0..ty.shape.elements()).map(number);
        let data = match ty.dtype {
            DType::F16 => Data::F16(numbers.map(F16::from_f32).collect()),
            _ => Data::F32(numbers.collect()),
        };
        Array::new(ty.shape.clone(), data).unwrap()
    };
    let ports = program.inputs.iter().enumerate();
    let inputs: Vec<Array> = ports.map(|(seed, port)| array(port.value, seed)).collect();
    let ports = program.states.iter().enumerate();
    let states: Vec<Array> = ports.map(|(seed, port)| array(port.value, seed + 100)).collect();
    let (outputs, written) = run_arrays(&program, &inputs, &states, &[]).unwrap();
    let expected = outputs.iter().chain(&written).map(Numbers::from).collect();
    Sample { name, program, inputs, hypers: Vec::new(), states, expected, tolerance }
}

/// Shapes that reach the tiles, splits and edges of products, convolutions, attention, reductions and pooling.
pub fn tiled() -> Vec<Sample> {
    let mut samples = Vec::new();
    for (m, n, k) in [(130, 70, 33), (20, 140, 17), (5, 300, 20), (300, 5, 20), (1, 1, 1500), (33, 47, 600)] {
        samples.push(sample(format!("product {m}×{n}×{k}"), &shapes::products(m, n, k), 2e-4));
    }
    for of in [[3, 8, 9, 1, 1, 1], [6, 40, 9, 1, 1, 1], [40, 36, 7, 2, 1, 1], [16, 24, 6, 1, 2, 2]] {
        let text = Convolved::new(of).all();
        samples.push(sample(format!("convolution {of:?}"), &text, 1e-4));
        for text in Convolved::new(of).with_epilogues() {
            samples.push(sample(format!("convolution {of:?} with epilogue"), &text, 1e-4));
        }
    }
    for (z, m, n, k) in [(1, 20, 36, 17), (2, 33, 47, 20), (3, 4, 8, 1500)] {
        for text in shapes::products_with_epilogues(z, m, n, k) {
            samples.push(sample(format!("product {z}×{m}×{n}×{k} with epilogue"), &text, 2e-4));
        }
    }
    for (t, s, d, causal) in [(70, 75, 40, 0), (70, 75, 33, 1), (40, 40, 64, 1)] {
        let text = attention::program(t, s, d, causal);
        samples.push(sample(format!("attention {t}×{s}×{d}, causal {causal}"), &text, 1e-4));
    }
    samples.extend(reductions());
    samples
}

/// Some of these with all floats as f16, and with inputs of f16 that are cast.
pub fn in_halves() -> Vec<Sample> {
    let mut texts = vec![(shapes::products(130, 70, 33), 2e-3), (shapes::products(36, 140, 16), 2e-3)];
    texts.push((Convolved::new([6, 40, 9, 1, 1, 1]).all(), 2e-3));
    texts.push((Convolved::new([40, 36, 7, 2, 1, 1]).all(), 2e-3));
    texts.push((attention::program(70, 75, 40, 1), 1e-2));
    texts.extend(shapes::products_with_epilogues(1, 20, 36, 17).map(|text| (text, 0.0)));
    let mut samples = Vec::new();
    for (number, (text, tolerance)) in texts.into_iter().enumerate() {
        samples.push(sample(format!("{number} from halves"), &shapes::from_halves(&text), 2e-4));
        if tolerance > 0.0 {
            samples.push(sample(format!("{number} in halves"), &shapes::in_halves(&text), tolerance));
        }
    }
    samples
}

/// Products and convolutions whose matrices lie in every way and are cut off at the edges; of f32, from halves and in
/// halves.
pub fn matrices() -> Vec<Sample> {
    let texts = [
        shapes::products(35, 40, 41),
        Convolved::new([6, 36, 5, 1, 1, 1]).all(),
        Convolved::new([24, 20, 4, 2, 2, 2]).all(),
    ];
    let mut samples = Vec::new();
    for (number, text) in texts.iter().enumerate() {
        samples.push(sample(format!("{number} in halves"), &shapes::in_halves(text), 2e-3));
        samples.push(sample(format!("{number} of f32"), text, 2e-4));
    }
    for (number, text) in shapes::products_with_epilogues(2, 20, 36, 17).iter().enumerate() {
        samples.push(sample(
            format!("{number} with epilogue, from halves"),
            &shapes::from_halves(text),
            2e-4,
        ));
    }
    samples
}

/// Reductions of many and of few columns, along the memory and across it.
pub fn reductions() -> Vec<Sample> {
    let mut samples = Vec::new();
    for (shape, axis) in [("3, 3000", 1), ("40, 100", 1), ("9, 33", 1), ("2100, 6", 0), ("300, 70", 0)] {
        // Rows of several subgroups merge exponentials elsewhere than the rest: both alone.
        let plain = format!(
            "  %s = reduce_sum %x {{axes=[{axis}]}}
  %m = reduce_max %x {{axes=[{axis}]}}
  %a = argmax %x {{axis={axis}}}
  %n, %v = mean_variance %x {{axes=[{axis}]}}
  output \"s\" = %s
  output \"m\" = %m
  output \"a\" = %a
  output \"n\" = %n
  output \"v\" = %v"
        );
        let exponentials = format!(
            "  %s = reduce_sum %x {{axes=[{axis}]}}
  %l = logsumexp %x {{axes=[{axis}]}}
  %b = broadcast %l {{shape=[{shape}], axes=[{shift}]}}
  %e = sub %x, %b
  %p = exp %e
  output \"s\" = %s
  output \"l\" = %l
  output \"p\" = %p",
            shift = 1 - axis
        );
        for (what, body) in [("reduction", plain), ("softmax", exponentials)] {
            let text = format!("program reduction {{\n  %x: f32[{shape}] = input \"x\"\n{body}\n}}");
            samples.push(sample(format!("{what} of [{shape}] along {axis}"), &text, 1e-4));
        }
    }
    samples
}
