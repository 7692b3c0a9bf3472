//! The device against PyTorch and the interpreter, on a machine that has one; elsewhere a line says why nothing was
//! run, and `DROPFORGE_CUDA=required` makes that a failure.

#[allow(dead_code)]
#[path = "../../wgpu/tests/support/shapes.rs"]
mod shapes;

use dropforge_conformance::{
    check_geometries, check_random, check_random_mixed, check_share, compare, seeds_from_environment, thinned,
};
use dropforge_cuda::CudaDevice;
use dropforge_ir::interpret::Numbers;
use dropforge_ir::text::parse;
use dropforge_ir::{Array, BF16, DType, Data, F16};
use dropforge_runtime::{Argument, Choices, Device, load};
use dropforge_wgsl::{MatrixUse, Printing};

fn device(change: impl FnOnce(Printing) -> Printing) -> Option<CudaDevice> {
    match CudaDevice::printing(0, change) {
        Ok(device) => Some(device),
        Err(error) if std::env::var("DROPFORGE_CUDA").as_deref() == Ok("required") => panic!("{error}"),
        Err(error) => {
            println!("not run here: {error}");
            None
        }
    }
}

/// The conformance cases, or the share of this way of printing, whose kernels are compiled on all cores first.
fn check_cases(device: &CudaDevice, way: usize) {
    let start = std::time::Instant::now();
    let cases = thinned(dropforge_conformance::all_cases().unwrap(), way);
    device.compile_ahead(cases.iter().map(|case| &case.program)).unwrap();
    println!("kernels of {} cases are compiled ({:.1?})", cases.len(), start.elapsed());
    check_share(device, way);
    println!("{} cases agree ({:.1?})", cases.len(), start.elapsed());
}

/// As kernels with many elements are printed.
fn quads(printing: Printing) -> Printing {
    Printing { quads_from: 0, ..printing }
}

#[test]
fn cases_agree_with_pytorch() {
    let Some(device) = device(|printing| printing) else { return };
    check_cases(&device, 0);
}

#[test]
fn cases_agree_with_pytorch_in_quads() {
    let Some(device) = device(quads) else { return };
    check_cases(&device, 1);
}

#[test]
fn cases_agree_with_pytorch_through_matrices() {
    let Some(device) = device(|printing| Printing { matrix_use: MatrixUse::Always, ..printing }) else {
        return;
    };
    check_cases(&device, 2);
}

#[test]
fn random_programs_agree_with_the_interpreter() {
    let Some(device) = device(|printing| printing) else { return };
    check_random(&device, seeds_from_environment(0..60));
}

#[test]
fn random_programs_agree_with_the_interpreter_in_quads() {
    let Some(device) = device(quads) else { return };
    check_random(&device, seeds_from_environment(0..60));
}

#[test]
fn random_programs_in_mixed_precision_agree_with_the_interpreter() {
    let Some(device) = device(|printing| printing) else { return };
    for half in [DType::BF16, DType::F16] {
        assert!(check_random_mixed(&device, half, seeds_from_environment(0..60)) > 0);
    }
}

#[test]
fn geometries() {
    let Some(device) = device(|printing| printing) else { return };
    let seeds = seeds_from_environment(0..400);
    let asked = (seeds.end - seeds.start) as usize;
    let met = check_geometries(&device, seeds);
    assert!(met.computed > asked / 4 && met.declined < asked / 4, "{met:?}");
}

/// The outputs of a program for inputs that look random.
fn outputs(device: &dyn Device, text: &str) -> Vec<Array> {
    let program = parse(text).unwrap();
    let array = |(seed, ty): (usize, &dropforge_ir::ValueType)| {
        let number = |i: usize| (((i * 7919 + seed * 104_729) * 2_654_435_761) % 2003) as f32 / 1001.0 - 1.0;
        let numbers = (0..ty.shape.elements()).map(number);
        let data = match ty.dtype {
            DType::F16 => Data::F16(numbers.map(F16::from_f32).collect()),
            DType::BF16 => Data::BF16(numbers.map(BF16::from_f32).collect()),
            _ => Data::F32(numbers.collect()),
        };
        Array::new(ty.shape.clone(), data).unwrap()
    };
    let types = program.inputs.iter().map(|port| program.ty(port.value));
    let inputs: Vec<Array> = types.enumerate().map(array).collect();
    let mut executable = load(device, &program, &[]).unwrap();
    let arguments: Vec<Argument<'_>> = inputs.iter().map(Argument::Host).collect();
    let outputs = executable.run(&arguments, &[]).unwrap();
    outputs.iter().map(|buffer| buffer.read().unwrap()).collect()
}

/// Products that are large enough for the library, in every way that factors lie, against those of kernels.
#[test]
fn products_of_the_library_agree_with_kernels() {
    let Some(device) = device(|printing| printing) else { return };
    println!("{:?}", device.libraries());
    if !has_library(&device, "cublasLt") {
        return println!("cuBLASLt is not here");
    }
    let plain = CudaDevice::without_libraries(0, |printing| printing).unwrap();
    let batched = "program p {
  %a: f32[6, 300, 260] = input \"a\"
  %b: f32[6, 260, 308] = input \"b\"
  %x = dot %a, %b {lhs_batch=[0], rhs_batch=[0], lhs_contract=[2], rhs_contract=[1]}
  %y = tanh %x
  output \"x\" = %x
  output \"y\" = %y
}";
    for text in [shapes::products(520, 640, 400), batched.to_string()] {
        compare_in_all_types(&device, &plain, &text);
    }
}

fn has_library(device: &CudaDevice, stem: &str) -> bool {
    device.libraries().iter().any(|path| path.to_string_lossy().contains(stem))
}

/// A program of f32 on two devices, and the same of halves, and of f32 from halves.
fn compare_in_all_types(device: &CudaDevice, plain: &CudaDevice, text: &str) {
    let halves = shapes::in_halves(text);
    let widened = shapes::from_halves(text);
    let [of_bf16, widened_bf16] = [&halves, &widened].map(|text| text.replace("f16", "bf16"));
    let texts =
        [(text.to_string(), 1e-3), (halves, 2e-2), (of_bf16, 1e-1), (widened, 2e-2), (widened_bf16, 1e-1)];
    for (text, tolerance) in texts {
        let (expected, got) = (outputs(plain, &text), outputs(device, &text));
        for (expected, got) in expected.iter().zip(&got) {
            if let Some(message) = compare(&Numbers::from(expected), &Numbers::from(got), tolerance) {
                panic!("{message}\n{text}");
            }
        }
    }
}

/// Convolutions that are large enough for the library, in all directions.
#[test]
fn convolutions_of_the_library_agree_with_kernels() {
    let Some(device) = device(|printing| printing) else { return };
    println!("{:?}", device.libraries());
    if !has_library(&device, "cudnn") {
        return println!("cuDNN is not here");
    }
    let plain = CudaDevice::without_libraries(0, |printing| printing).unwrap();
    let unturned = CudaDevice::unturned(0).unwrap();
    // Channels, filters, size, stride, dilation and groups.
    for of in [[64, 64, 40, 1, 1, 1], [64, 136, 45, 2, 1, 1], [48, 80, 41, 1, 2, 1]] {
        let text = shapes::Convolved::new(of).all();
        compare_in_all_types(&device, &plain, &text);
        compare_in_all_types(&unturned, &plain, &text);
    }
}

/// Attention on tensor cores, with its gradients.
#[test]
fn attention_on_tensor_cores_agrees_with_kernels() {
    let Some(device) = device(|printing| printing) else { return };
    let plain = CudaDevice::without_libraries(0, |printing| printing).unwrap();
    for (t, s, d, causal) in [(130, 130, 64, 1), (96, 200, 32, 0), (200, 96, 128, 1), (70, 333, 16, 1)] {
        let text = format!(
            "program attention {{
  %q: f32[2, 3, {t}, {d}] = input \"q\"
  %k: f32[2, 3, {s}, {d}] = input \"k\"
  %v: f32[2, 3, {s}, {d}] = input \"v\"
  %g: f32[2, 3, {t}, {d}] = input \"g\"
  %o, %l = attention %q, %k, %v {{causal={causal}, scale=0.25}}
  %a, %b, %c = attention_gradient %q, %k, %v, %o, %l, %g {{causal={causal}, scale=0.25}}
  output \"o\" = %o
  output \"a\" = %a
  output \"b\" = %b
  output \"c\" = %c
}}"
        );
        for (half, tolerance) in [("f16", 1e-2), ("bf16", 6e-2)] {
            let text = text.replace("f32", half);
            let (expected, got) = (outputs(&plain, &text), outputs(&device, &text));
            for (expected, got) in expected.iter().zip(&got) {
                if let Some(message) = compare(&Numbers::from(expected), &Numbers::from(got), tolerance) {
                    panic!("{message}\n{text}");
                }
            }
        }
    }
}

/// What a program gives stays the same bits, whoever runs it again, and small outputs can be inputs of the next step.
#[test]
fn runs_repeat_and_outputs_are_inputs() {
    let Some(device) = device(|printing| printing) else { return };
    let text = "program p {
  %x: f32[8] = input \"x\"
  %c: f32[] = state \"count\"
  %h: f32[] = hyper \"rate\"
  %s = reduce_sum %x {axes=[0]}
  %t = mul %s, %h
  %n = add %c, %t
  %y = add %x, %x
  write \"count\" = %n
  output \"total\" = %n
  output \"next\" = %y
}";
    let program = parse(text).unwrap();
    let state = device.allocate(program.ty(program.states[0].value)).unwrap();
    let mut executable = load(&device, &program, std::slice::from_ref(&state)).unwrap();
    let first = Array::new([8], Data::F32(vec![1.0; 8])).unwrap();
    let mut given = executable.run(&[Argument::Host(&first)], &[0.5]).unwrap();
    let mut totals = Vec::new();
    for _ in 0..8 {
        let next = executable.run(&[Argument::Device(&given[1])], &[0.5]).unwrap();
        totals.push(std::mem::replace(&mut given, next));
    }
    let read = |buffer: &dropforge_runtime::BufferRef| buffer.read().unwrap().as_f32().unwrap()[0];
    let found: Vec<f32> = totals.iter().map(|outputs| read(&outputs[0])).collect();
    // 4 · (1 + 2 + 4 + …).
    let expected: Vec<f32> = (1..=8).map(|steps| 4.0 * ((1 << steps) - 1) as f32).collect();
    assert_eq!(found, expected);
    assert_eq!(read(&state), 4.0 * 511.0);
    assert!(device.memory().executables > 0);
    drop((executable, given, totals, state));
    device.close().unwrap();
}

/// Tiles are timed once; a second load takes what is known, and gives the same bits.
#[test]
fn picks_are_told_and_give_the_same_bits() {
    let Some(device) = device(|printing| printing) else { return };
    let program = parse(&shapes::products(130, 70, 600)).unwrap();
    let run = |choices: &mut Choices| {
        let array = |port: &usize| {
            let ty = program.ty(program.inputs[*port].value);
            let numbers = (0..ty.shape.elements()).map(|i| (i * 7919 % 2003) as f32 / 1001.0 - 1.0);
            Array::new(ty.shape.clone(), Data::F32(numbers.collect())).unwrap()
        };
        let inputs: Vec<Array> = (0..program.inputs.len()).collect::<Vec<_>>().iter().map(array).collect();
        let options = device.options();
        let mut executable = dropforge_runtime::load_with(&device, &program, &[], &options, choices).unwrap();
        let arguments: Vec<Argument<'_>> = inputs.iter().map(Argument::Host).collect();
        let outputs = executable.run(&arguments, &[]).unwrap();
        outputs.iter().map(|buffer| buffer.read().unwrap().data().bytes().to_vec()).collect::<Vec<_>>()
    };
    let mut choices = Choices::new();
    let first = run(&mut choices);
    assert!(!choices.is_empty());
    assert_eq!(run(&mut choices), first);
}

/// Times convolutions of ResNet-18 in every way that there is; says nothing about right or wrong.
#[test]
#[ignore = "takes times, on a machine with nothing else to do"]
fn speed_of_convolutions() {
    let Some(turned) = device(|printing| printing) else { return };
    let unturned = CudaDevice::unturned(0).unwrap();
    let plain = CudaDevice::without_libraries(0, |printing| printing).unwrap();
    let ways = [("turned", &turned), ("planes", &unturned), ("kernels", &plain)];
    // Channels, filters, size of the images, stride.
    let shapes = [[64, 64, 32, 1], [64, 128, 32, 2], [128, 128, 16, 1], [256, 256, 8, 1], [512, 512, 4, 1]];
    for (dtype, shapes) in [("bf16", &shapes[..]), ("f32", &shapes[..2])] {
        for &[channels, filters, size, stride] in shapes {
            let out = size / stride;
            let window = format!(
                "window=[stride:[{stride}, {stride}] low:[1, 1] high:[1, 1] dilation:[1, 1] groups:1]"
            );
            let inputs = format!(
                "  %x: {dtype}[256, {channels}, {size}, {size}] = input \"x\"
  %f: {dtype}[{filters}, {channels}, 3, 3] = input \"f\"
  %g: {dtype}[256, {filters}, {out}, {out}] = input \"g\""
            );
            let work = 2.0 * (256 * out * out * channels * filters * 9) as f64;
            for (name, line) in [
                ("forward", format!("convolution %x, %f {{{window}}}")),
                ("input", format!("convolution_input_gradient %g, %f {{{window}, input=[{size}, {size}]}}")),
                ("filter", format!("convolution_filter_gradient %x, %g {{{window}, kernel=[3, 3]}}")),
            ] {
                let text = format!("program p {{\n{inputs}\n  %y = {line}\n  output \"y\" = %y\n}}");
                let times = ways.map(|(way, device)| {
                    let time = seconds(device, &text);
                    format!("{way} {:.0} µs ({:.0} TFLOP/s)", time * 1e6, work / time / 1e12)
                });
                println!("{dtype} {channels}->{filters} {size} /{stride} {name}: {}", times.join(", "));
            }
        }
    }
}

/// Seconds of one run.
fn seconds(device: &CudaDevice, text: &str) -> f64 {
    const RUNS: u32 = 10;
    let program = parse(text).unwrap();
    let buffers: Vec<_> = program
        .inputs
        .iter()
        .map(|port| {
            let ty = program.ty(port.value);
            let numbers = (0..ty.shape.elements()).map(|i| (i * 7919 % 2003) as f32 / 1001.0 - 1.0);
            let data = match ty.dtype {
                DType::BF16 => Data::BF16(numbers.map(BF16::from_f32).collect()),
                _ => Data::F32(numbers.collect()),
            };
            let buffer = device.allocate(ty).unwrap();
            buffer.write(&Array::new(ty.shape.clone(), data).unwrap()).unwrap();
            buffer
        })
        .collect();
    let mut executable = load(device, &program, &[]).unwrap();
    let arguments: Vec<Argument<'_>> = buffers.iter().map(Argument::Device).collect();
    executable.start_profile();
    for _ in 0..RUNS {
        executable.run(&arguments, &[]).unwrap();
    }
    let profile = executable.profile();
    let (before, _) = profile.split_once(" µs of kernels").unwrap();
    before.rsplit(' ').next().unwrap().parse::<f64>().unwrap() / 1e6
}

/// A machine with a driver opens the device, one without says in a line what is missing and where it was looked for.
#[test]
fn a_missing_driver_is_one_line() {
    let error = dropforge::devices::open("cuda:first", None).err().unwrap().to_string();
    assert!(error.contains("cuda:0"), "{error}");
    if let Err(error) = dropforge::devices::open("cuda:77", None) {
        let error = error.to_string();
        assert!(!error.contains('\n') && (error.contains("libcuda") || error.contains("77")), "{error}");
    }
}
