//! Shapes that the conformance cases are too small for: rows split over workgroups, every tile of products, split inner
//! axes; against the interpreter.

#[path = "support/attention.rs"]
mod attention;
#[path = "support/shapes.rs"]
mod shapes;

use dropforge_conformance::compare;
use dropforge_ir::interpret::Numbers;
use dropforge_ir::text::parse;
use dropforge_ir::{Array, DType, Data, F16};
use dropforge_runtime::reference::ReferenceDevice;
use dropforge_runtime::{Argument, Device, load};
use dropforge_wgpu::{Choice, Printing, WgpuDevice};
use shapes::Convolved;
use std::sync::OnceLock;

/// Runs a program, and the same from inputs of f16, on both devices.
fn check(text: &str, tolerance: f64) {
    check_one(text, tolerance);
    check_one(&shapes::from_halves(text), tolerance);
}

/// As [`check`], and with all floats as f16, of which results may miss the nearest.
fn check_halves(text: &str, tolerance: f64, half_tolerance: f64) {
    check(text, tolerance);
    check_one(&shapes::in_halves(text), half_tolerance);
}

/// The device to test, opened once, since that takes as long as a few programs; unless none is expected.
fn device() -> Option<&'static WgpuDevice> {
    static DEVICE: OnceLock<Option<WgpuDevice>> = OnceLock::new();
    let open = || {
        let choice = match std::env::var("DROPFORGE_GPU").as_deref() {
            Ok("best") => Choice::Best,
            _ => Choice::Software,
        };
        match WgpuDevice::new(choice) {
            Ok(device) => Some(device),
            Err(_) if std::env::var("DROPFORGE_NO_GPU").as_deref() == Ok("1") => None,
            Err(error) => panic!("{error} (DROPFORGE_NO_GPU=1 passes without)"),
        }
    };
    DEVICE.get_or_init(open).as_ref()
}

/// Runs a program on both devices, with inputs and states that look random.
fn check_one(text: &str, tolerance: f64) {
    let Some(device) = device() else { return };
    let program = parse(text).unwrap();
    let array = |value, seed: usize| {
        let ty = program.ty(value);
        let number = |i: usize| (((i * 7919 + seed * 104_729) * 2_654_435_761) % 2003) as f32 / 1001.0 - 1.0;
        let numbers = (0..ty.shape.elements()).map(number);
        let data = match ty.dtype {
            DType::F16 => Data::F16(numbers.map(F16::from_f32).collect()),
            _ => Data::F32(numbers.collect()),
        };
        Array::new(ty.shape.clone(), data).unwrap()
    };
    let inputs: Vec<Array> =
        program.inputs.iter().enumerate().map(|(seed, port)| array(port.value, seed)).collect();
    let run = |device: &dyn Device| -> Vec<Array> {
        let states: Vec<_> = program
            .states
            .iter()
            .enumerate()
            .map(|(seed, port)| {
                let state = device.allocate(program.ty(port.value)).unwrap();
                state.write(&array(port.value, seed + 100)).unwrap();
                state
            })
            .collect();
        let mut executable = load(device, &program, &states).unwrap();
        let arguments: Vec<Argument<'_>> = inputs.iter().map(Argument::Host).collect();
        let outputs = executable.run(&arguments, &[]).unwrap();
        outputs.iter().chain(&states).map(|buffer| buffer.read().unwrap()).collect()
    };
    let (expected, got) = (run(&ReferenceDevice), run(device));
    for (index, (expected, got)) in expected.iter().zip(&got).enumerate() {
        if let Some(message) = compare(&Numbers::from(expected), &Numbers::from(got), tolerance) {
            panic!("result {index} {message}\n{text}");
        }
    }
}

#[test]
fn few_rows_of_many_columns() {
    for (shape, kept, axis) in [("3, 5000", "3", 1), ("4100, 6", "6", 0), ("2100, 70", "70", 0)] {
        check_halves(
            &format!(
                "program p {{
  %x: f32[{shape}] = input \"x\"
  %s = reduce_sum %x {{axes=[{axis}]}}
  %m = reduce_max %x {{axes=[{axis}]}}
  %l = logsumexp %x {{axes=[{axis}]}}
  %a = argmax %x {{axis={axis}}}
  output \"s\" = %s
  output \"m\" = %m
  output \"l\" = %l
  output \"a\" = %a
}}"
            ),
            2e-5,
            2e-3,
        );
        let shift = if axis == 1 { 0 } else { 1 };
        check(
            &format!(
                "program p {{
  %x: f32[{shape}] = input \"x\"
  %r: f32[{kept}] = state \"r\"
  %m, %v = mean_variance %x {{axes=[{axis}]}}
  %n = add %r, %m
  %b = broadcast %m {{shape=[{shape}], axes=[{shift}]}}
  %c = broadcast %v {{shape=[{shape}], axes=[{shift}]}}
  %d = broadcast %r {{shape=[{shape}], axes=[{shift}]}}
  %e = sub %x, %b
  %f = mul %e, %c
  %g = add %f, %d
  %t = reduce_sum %g {{axes=[{axis}]}}
  write \"r\" = %n
  output \"v\" = %v
  output \"g\" = %g
  output \"t\" = %t
}}"
            ),
            2e-4,
        );
    }
}

#[test]
fn products_of_every_tile() {
    for (m, n, k) in [
        (260, 260, 40),
        (130, 70, 33),
        (20, 300, 17),
        (300, 20, 64),
        (5, 600, 20),
        (600, 5, 20),
        (1, 1, 3000),
        (33, 47, 1000),
        (64, 1, 70),
    ] {
        check_halves(&shapes::products(m, n, k), 2e-4, 2e-3);
    }
}

/// More channels than the direct form takes, and sums too long for it.
#[test]
fn convolutions_over_tiles() {
    for of in [
        [6, 40, 9, 1, 1, 1],
        [40, 36, 7, 2, 1, 1],
        [72, 80, 6, 1, 2, 2],
        [40, 8, 8, 2, 1, 1],
        // Turned filters, and slices within one tap.
        [48, 48, 23, 1, 1, 1],
        [48, 48, 23, 2, 1, 1],
        [96, 96, 24, 2, 2, 2],
        [36, 40, 23, 3, 1, 1],
    ] {
        check_halves(&Convolved::new(of).all(), 1e-4, 2e-3);
    }
}

/// Elementwise kernels that are printed into the products and convolutions before them, one dispatch less each: with
/// whole quads and without, split sums, few channels and many, strides, and where the product itself is wanted, too.
#[test]
fn epilogues() {
    let products = [(1, 64, 48, 32), (2, 33, 47, 20), (3, 4, 8, 3000), (2, 130, 68, 9), (1, 3, 5, 2000)];
    let products = products.into_iter().flat_map(|(z, m, n, k)| shapes::products_with_epilogues(z, m, n, k));
    let convolutions = [
        [6, 40, 9, 1, 1, 1],
        [40, 36, 7, 2, 1, 1],
        [16, 24, 6, 1, 2, 2],
        [48, 48, 24, 1, 1, 1],
        [36, 40, 23, 3, 1, 1],
    ];
    let convolutions = convolutions.into_iter().flat_map(|of| Convolved::new(of).with_epilogues());
    for text in products.chain(convolutions) {
        check(&text, 2e-4);
        let dispatches = |buffers: usize| {
            let limits = dropforge_wgpu::Limits { buffers, ..Default::default() };
            dropforge_wgpu::shaders(&parse(&text).unwrap(), &limits, &Printing::default())
                .unwrap()
                .dispatches
                .len()
        };
        assert_eq!(dispatches(8), dispatches(0) - 1, "{text}");
    }
}

/// More queries, keys and numbers than one tile.
#[test]
fn attention_over_tiles() {
    for (t, s, d, causal) in
        [(70, 130, 70, 0), (70, 130, 33, 1), (130, 70, 64, 1), (66, 65, 20, 1), (64, 128, 130, 0)]
    {
        check_halves(&attention::program(t, s, d, causal), 1e-4, 1e-2);
    }
}

/// More indices than each element looks through, more positions than a digit has values.
#[test]
fn sums_by_index() {
    for (count, size, inner, factor) in
        [(3000, 65, 40, 40.0), (1500, 700, 70, 400.0), (600, 70_000, 1, 36_000.0)]
    {
        check_halves(
            &format!(
                "program p {{
  %u: f32[2, {count}, {inner}] = input \"u\"
  %x: f32[{count}] = input \"x\"
  %c: f32[] = constant {factor:?}
  %f: f32[{count}] = broadcast %c {{shape=[{count}], axes=[]}}
  %y = mul %x, %f
  %z = abs %y
  %i = cast %z {{to=i32}}
  %s = scatter_add %u, %i {{axis=1, size={size}}}
  output \"s\" = %s
}}"
            ),
            2e-5,
            2e-3,
        );
    }
}
