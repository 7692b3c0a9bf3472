//! Loop kernels that run on the finished parts of a product, against the interpreter; and weights that stay packed from
//! run to run until somebody writes them.

use dropforge_cpu::CpuDevice;
use dropforge_ir::{Array, BinaryKind, DType, Data, Op, Program, UnaryKind, ValueType};
use dropforge_runtime::reference::ReferenceDevice;
use dropforge_runtime::{Argument, BufferRef, Device, load};

fn sample(ty: &ValueType, seed: usize) -> Array {
    let number = |i: usize| ((i * 7919 + seed * 104_729 + 13) % 1009) as f32 / 504.5 - 1.0;
    Array::new(ty.shape.clone(), Data::F32((0..ty.shape.elements()).map(number).collect())).unwrap()
}

/// tanh(a · b + bias) · scale, the sides as they are or transposed, in `batch` products; `b` is an input, or a weight.
fn program(batch: usize, m: usize, n: usize, k: usize, turned: [bool; 2], is_weight: bool) -> Program {
    let mut program = Program::new("epilogue");
    let turn = |rows, columns, turned: bool| {
        let [rows, columns] = if turned { [columns, rows] } else { [rows, columns] };
        if batch > 1 { vec![batch, rows, columns] } else { vec![rows, columns] }
    };
    let first = usize::from(batch > 1);
    let axes: Vec<usize> = (0..first).collect();
    let a = program.input("a", ValueType::new(DType::F32, turn(m, k, turned[0])));
    let b = ValueType::new(DType::F32, turn(k, n, turned[1]));
    let b = if is_weight { program.state("b", b) } else { program.input("b", b) };
    let dot = Op::Dot {
        lhs_batch: axes.clone(),
        rhs_batch: axes,
        lhs_contract: vec![first + usize::from(!turned[0])],
        rhs_contract: vec![first + usize::from(turned[1])],
    };
    let y = program.apply(dot, &[a, b]).unwrap();
    let shape = program.shape(y).clone();
    let bias = program.input("bias", ValueType::new(DType::F32, [n]));
    let scale = program.input("scale", ValueType::new(DType::F32, shape.clone()));
    let bias =
        program.apply(Op::Broadcast { shape: shape.clone(), axes: vec![shape.rank() - 1] }, &[bias]).unwrap();
    let sum = program.binary(BinaryKind::Add, y, bias).unwrap();
    let bent = program.unary(UnaryKind::Tanh, sum).unwrap();
    let scaled = program.binary(BinaryKind::Multiply, bent, scale).unwrap();
    program.output("y", scaled);
    program
}

/// The outputs of two runs with each of two weights, one after another, and the listing.
fn run(device: &dyn Device, program: &Program) -> (Vec<Vec<f32>>, String) {
    let inputs: Vec<Array> =
        program.inputs.iter().enumerate().map(|(seed, port)| sample(program.ty(port.value), seed)).collect();
    let arguments: Vec<Argument> = inputs.iter().map(Argument::Host).collect();
    let states: Vec<BufferRef> =
        program.states.iter().map(|state| device.allocate(program.ty(state.value)).unwrap()).collect();
    let mut executable = load(device, program, &states).unwrap();
    let mut outputs = Vec::new();
    for seed in [10, 10, 11, 11] {
        // What was written is packed again, also if it is the same.
        for state in states.iter().filter(|_| outputs.len() % 2 == 0) {
            state.write(&sample(state.ty(), seed)).unwrap();
        }
        let output = executable.run(&arguments, &[]).unwrap()[0].read().unwrap();
        outputs.push(output.as_f32().unwrap().to_vec());
    }
    (outputs, executable.explain())
}

#[test]
fn every_shape_of_product_and_every_division_agrees_with_the_interpreter() {
    let shapes = [
        (1, 64, 64, 16),
        (1, 300, 70, 33),
        (1, 7, 1500, 40),
        (1, 1500, 7, 40),
        (1, 130, 2100, 9),
        (1, 40, 10, 3000),
        (5, 33, 65, 20),
        (1, 1, 500, 30),
        (1, 500, 1, 30),
        (1, 1, 784, 512),
        (1, 1, 1, 1),
    ];
    for (batch, m, n, k) in shapes {
        for turned in [[false, false], [false, true], [true, false], [true, true]] {
            for is_weight in [false, true] {
                let program = program(batch, m, n, k, turned, is_weight);
                let (expected, _) = run(&ReferenceDevice, &program);
                for threads in [1, 2, 3] {
                    let (found, listing) = run(&CpuDevice::new(threads).unwrap(), &program);
                    let what = format!(
                        "{batch} × {m}×{n}×{k} {turned:?}, weight: {is_weight}, on {threads} threads"
                    );
                    assert!(listing.contains("with epilogue"), "{what}: {listing}");
                    for (found, expected) in found.iter().zip(&expected) {
                        let wrong = found.iter().zip(expected).position(|(a, b)| (a - b).abs() > 2e-5);
                        assert_eq!(wrong, None, "{what}");
                    }
                    assert!(found[0] == found[1] && found[2] == found[3], "{what}: runs differ");
                    assert_eq!(found[0] != found[2], is_weight, "{what}: a weight that was not read again");
                }
            }
        }
    }
}
