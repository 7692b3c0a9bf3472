//! Contractions through cooperative matrices, tile by tile, against the interpreter.
//!
//! On the software renderer, if it has such matrices, or on the GPU with `DROPFORGE_GPU=best`. Where a device has none,
//! as most software renderers, there is nothing to run; `tests/metal` runs some of the same shaders without a device.

#[path = "support/shapes.rs"]
mod shapes;

use dropforge_conformance::compare;
use dropforge_ir::interpret::{Numbers, run_arrays};
use dropforge_ir::text::parse;
use dropforge_ir::{Array, DType, Data, F16, Program, Value};
use dropforge_runtime::{Argument, Choices, Device, load_with};
use dropforge_wgpu::{Choice, Matrices, MatrixUse, Printing, WgpuDevice};
use shapes::Convolved;

/// A device whose contractions all go through matrices where they can, and these matrices.
fn device() -> Option<(WgpuDevice, Matrices)> {
    let choice = match std::env::var("DROPFORGE_GPU").as_deref() {
        Ok("best") => Choice::Best,
        _ => Choice::Software,
    };
    let mut matrices = None;
    let opened = WgpuDevice::printing(choice, |printing| {
        matrices = printing.matrices;
        Printing { matrix_use: MatrixUse::Always, ..printing }
    });
    match opened {
        Ok(device) => Some((device, matrices?)),
        Err(_) if std::env::var("DROPFORGE_NO_GPU").as_deref() == Ok("1") => None,
        Err(error) => panic!("{error} (DROPFORGE_NO_GPU=1 passes without)"),
    }
}

/// Every tile of the table, with the sum in one part and in several.
const TILES: [&str; 12] = [
    "matrices:128:256:64:64:32:1",
    "matrices:128:128:64:32:64:1",
    "matrices:128:128:64:32:32:1",
    "matrices:64:128:32:32:64:1",
    "matrices:128:64:32:32:64:1",
    "matrices:64:64:32:32:64:1",
    "matrices:64:64:32:32:32:1",
    "matrices:64:64:32:32:32:3",
    "matrices:32:64:16:32:64:1",
    "matrices:32:32:16:16:64:1",
    "matrices:32:32:16:16:32:1",
    "matrices:32:32:16:16:32:4",
];

struct Sample {
    text: String,
    program: Program,
    inputs: Vec<Array>,
    states: Vec<Array>,
    expected: Vec<Array>,
    tolerance: f64,
}

impl Sample {
    fn new(text: String, tolerance: f64) -> Sample {
        let program = parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let array = |value: Value, seed: usize| {
            let ty = program.ty(value);
            let number =
                |i: usize| (((i * 7919 + seed * 104_729) * 2_654_435_761) % 2003) as f32 / 1001.0 - 1.0;
            let numbers = (0..ty.shape.elements()).map(number);
            let data = match ty.dtype {
                DType::F16 => Data::F16(numbers.map(F16::from_f32).collect()),
                _ => Data::F32(numbers.collect()),
            };
            Array::new(ty.shape.clone(), data).unwrap()
        };
        let inputs = program.inputs.iter().enumerate().map(|(seed, port)| array(port.value, seed));
        let inputs: Vec<Array> = inputs.collect();
        let states = program.states.iter().enumerate().map(|(seed, port)| array(port.value, seed + 100));
        let states: Vec<Array> = states.collect();
        let (outputs, written) = run_arrays(&program, &inputs, &states, &[]).unwrap();
        let expected = outputs.into_iter().chain(written).collect();
        Sample { program, inputs, states, expected, text, tolerance }
    }

    /// Runs on a device with given choices, which are added to. Gives the bits of the results.
    fn run(&self, device: &WgpuDevice, choices: &mut Choices) -> Vec<Array> {
        let ports = self.program.states.iter().zip(&self.states);
        let allocated = ports.map(|(port, array)| {
            let state = device.allocate(self.program.ty(port.value)).unwrap();
            state.write(array).unwrap();
            state
        });
        let states: Vec<_> = allocated.collect();
        let mut executable = load_with(device, &self.program, &states, &device.options(), choices).unwrap();
        let arguments: Vec<Argument<'_>> = self.inputs.iter().map(Argument::Host).collect();
        let outputs = executable.run(&arguments, &[]).unwrap();
        outputs.iter().chain(&states).map(|buffer| buffer.read().unwrap()).collect()
    }

    fn check(&self, device: &WgpuDevice, choices: &mut Choices) {
        let got = self.run(device, choices);
        for (index, (expected, got)) in self.expected.iter().zip(&got).enumerate() {
            if let Some(message) = compare(&Numbers::from(expected), &Numbers::from(got), self.tolerance) {
                panic!("result {index} {message}, with {choices:?}\n{}", self.text);
            }
        }
    }
}

/// Products and convolutions of f32: matrices that lie in every way, and are cut off at every edge.
fn some() -> Vec<String> {
    let product = shapes::products_with_epilogues(2, 33, 48, 40)[0].clone();
    vec![shapes::products(130, 70, 33), product, Convolved::new([6, 40, 9, 1, 1, 1]).all()]
}

/// More of them: whole tiles, long sums, filters that are turned first, strides and groups.
fn more() -> Vec<String> {
    let mut texts =
        vec![shapes::products(64, 128, 64), shapes::products(33, 47, 300), shapes::products(1, 1, 300)];
    texts.extend(shapes::products_with_epilogues(2, 33, 47, 20));
    for of in [[40, 36, 7, 2, 1, 1], [16, 36, 23, 1, 1, 1], [12, 20, 6, 1, 2, 2]] {
        texts.push(Convolved::new(of).all());
        texts.extend(Convolved::new(of).with_epilogues());
    }
    texts
}

/// Samples of the types that go through matrices.
fn samples(texts: &[String], matrices: Matrices) -> Vec<Sample> {
    let halves = texts.iter().filter(|_| matrices.of_f16.is_some()).map(|text| shapes::from_halves(text));
    let singles = texts.iter().filter(|_| matrices.of_f32.is_some()).cloned();
    halves.chain(singles).map(|text| Sample::new(text, 4e-4)).collect()
}

#[test]
fn every_tile_agrees_with_the_interpreter() {
    let Some((device, matrices)) = device() else { return };
    for sample in samples(&some(), matrices) {
        let mut found = Choices::new();
        sample.check(&device, &mut found);
        for tile in TILES {
            let mut choices: Choices = found.keys().map(|class| (class.clone(), tile.to_string())).collect();
            sample.check(&device, &mut choices);
        }
    }
}

#[test]
fn all_that_can_goes_through_matrices_and_agrees() {
    let Some((device, matrices)) = device() else { return };
    for sample in samples(&more(), matrices) {
        let mut choices = Choices::new();
        sample.check(&device, &mut choices);
        assert!(choices.values().all(|pick| pick.starts_with("matrices:")), "{choices:?}\n{}", sample.text);
    }
}

/// Results of f16 are rounded once, and the same choices give the same bits.
#[test]
fn results_of_halves_are_right_and_come_again() {
    let Some((device, _)) = device().filter(|(_, matrices)| matrices.of_f16.is_some()) else { return };
    for text in some().into_iter().chain(more()) {
        // Numbers that are written in the program are f32, and a cast to whole numbers makes much of a small
        // difference.
        if ["constant", "iota", "to=i32"].iter().any(|word| text.contains(word)) {
            continue;
        }
        let sample = Sample::new(shapes::in_halves(&text), 2e-3);
        let mut choices = Choices::new();
        sample.check(&device, &mut choices);
        let given = choices.clone();
        let first = sample.run(&device, &mut choices);
        assert_eq!(choices, given);
        assert!(first == sample.run(&device, &mut choices), "{text}");
    }
}
