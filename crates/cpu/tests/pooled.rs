//! Convolutions that are computed together with a max-pool of their output, against the interpreter.

use dropforge_cpu::CpuDevice;
use dropforge_ir::gradient::append_gradients;
use dropforge_ir::{Array, ConvolutionWindow, DType, Data, Op, PoolWindow, Program, ReduceKind, ValueType};
use dropforge_runtime::reference::ReferenceDevice;
use dropforge_runtime::{Argument, Device, load};

fn window(padding: usize, stride: usize) -> ConvolutionWindow {
    ConvolutionWindow {
        stride: [stride; 2],
        low: [padding; 2],
        high: [padding; 2],
        dilation: [1; 2],
        groups: 1,
    }
}

/// The pooled output of a convolution, and the gradients of its sum weighted by `weight` for the input and the filter.
fn program(
    batch: usize,
    channels: [usize; 2],
    input: [usize; 2],
    kernel: usize,
    window: ConvolutionWindow,
) -> Program {
    let mut program = Program::new("pooled");
    let x = program.input("x", ValueType::new(DType::F32, [batch, channels[0], input[0], input[1]]));
    let filter =
        program.input("filter", ValueType::new(DType::F32, [channels[1], channels[0], kernel, kernel]));
    let y = program.apply(Op::Convolution { window }, &[x, filter]).unwrap();
    let pool = PoolWindow { kernel: [2; 2], stride: [2; 2], low: [0; 2], high: [0; 2] };
    let pooled = program.push(Op::MaxPool { window: pool }, &[y]).unwrap();
    let weight = program.input("weight", program.ty(pooled[0]).clone());
    let product = program.binary(dropforge_ir::BinaryKind::Multiply, pooled[0], weight).unwrap();
    let loss = program.reduce(ReduceKind::Sum, product, &[0, 1, 2, 3]).unwrap();
    let gradients = append_gradients(&mut program, loss, &[x, filter]).unwrap();
    program.output("pooled", pooled[0]);
    program.output("positions", pooled[1]);
    for (name, gradient) in ["x gradient", "filter gradient"].into_iter().zip(gradients) {
        program.output(name, gradient);
    }
    program
}

/// Few different numbers, so that maxima tie.
fn sample(ty: &ValueType, seed: usize) -> Array {
    let number = |i: usize| ((i * 7919 + seed * 104_729 + 13) % 17) as f32 / 8.0 - 1.0;
    Array::new(ty.shape.clone(), Data::F32((0..ty.shape.elements()).map(number).collect())).unwrap()
}

fn run(device: &dyn Device, program: &Program) -> (Vec<Array>, String) {
    let inputs: Vec<Array> =
        program.inputs.iter().enumerate().map(|(seed, port)| sample(program.ty(port.value), seed)).collect();
    let arguments: Vec<Argument> = inputs.iter().map(Argument::Host).collect();
    let mut executable = load(device, program, &[]).unwrap();
    let mut outputs = Vec::new();
    // Scratch memory holds what the first run left there.
    for _ in 0..2 {
        outputs = executable.run(&arguments, &[]).unwrap();
    }
    (outputs.iter().map(|output| output.read().unwrap()).collect(), executable.explain())
}

#[test]
fn values_positions_and_gradients_are_those_of_the_interpreter() {
    let cases = [
        (128, [1, 6], [28, 28], 5, window(2, 1)),
        (32, [6, 16], [14, 14], 5, window(0, 1)),
        (37, [3, 4], [9, 12], 3, window(1, 1)),
        (5, [2, 3], [7, 7], 3, window(0, 1)),
        (16, [1, 2], [2, 3], 1, window(0, 1)),
    ];
    let mut pooled = 0;
    for (batch, channels, input, kernel, window) in cases {
        let program = program(batch, channels, input, kernel, window);
        let (expected, _) = run(&ReferenceDevice, &program);
        for threads in [1, 2, 3] {
            let (found, listing) = run(&CpuDevice::new(threads).unwrap(), &program);
            let what = format!("{batch} × {channels:?} × {input:?} on {threads} threads");
            // Which convolutions have images in lanes depends on the machine.
            assert!(!listing.contains("[lanes]"), "{what}: {listing}");
            pooled += listing.matches("lanes with pool").count();
            for (found, expected) in found.iter().zip(&expected) {
                match (found.as_f32(), expected.as_f32()) {
                    (Some(found), Some(expected)) => {
                        let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-4 * (1.0 + b.abs());
                        assert!(found.iter().zip(expected).all(close), "{what}");
                    }
                    _ => assert_eq!(found, expected, "{what}"),
                }
            }
        }
    }
    assert!(pooled >= 9, "{pooled} of 45");
}

#[test]
fn an_output_that_others_read_too_is_not_pooled_on_the_way() {
    let mut program = program(32, [2, 3], [8, 8], 3, window(1, 1));
    let convolution = program.nodes().iter().find(|node| matches!(node.op, Op::Convolution { .. })).unwrap();
    let y = convolution.results[0];
    program.output("y", y);
    let (expected, _) = run(&ReferenceDevice, &program);
    let (found, listing) = run(&CpuDevice::new(2).unwrap(), &program);
    assert!(!listing.contains("convolution [lanes with pool]"), "{listing}");
    for (found, expected) in found.iter().zip(&expected).filter(|(found, _)| found.as_f32().is_some()) {
        let pairs = found.as_f32().unwrap().iter().zip(expected.as_f32().unwrap());
        assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() <= 1e-4 * (1.0 + b.abs())));
    }
}
