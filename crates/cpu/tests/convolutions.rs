//! Convolutions in programs, against the interpreter: loop kernels that run on their finished parts, and filters that
//! stay packed from run to run until somebody writes them; and max-pools whose positions nobody reads.

use dropforge_cpu::CpuDevice;
use dropforge_ir::{
    Array, BinaryKind, ConvolutionWindow, DType, Data, Op, PoolWindow, Program, UnaryKind, ValueType,
};
use dropforge_runtime::reference::ReferenceDevice;
use dropforge_runtime::{Argument, BufferRef, Device, Executable, load};

fn sample(ty: &ValueType, seed: usize) -> Array {
    let number = |i: usize| ((i * 7919 + seed * 104_729 + 13) % 1009) as f32 / 504.5 - 1.0;
    Array::new(ty.shape.clone(), Data::F32((0..ty.shape.elements()).map(number).collect())).unwrap()
}

/// Images `[batch, channels, size, size]`, filters `[outputs, channels / groups, kernel, kernel]`.
#[derive(Clone, Copy, Debug)]
struct Case {
    batch: usize,
    channels: usize,
    outputs: usize,
    size: usize,
    kernel: usize,
    stride: usize,
    groups: usize,
    algorithm: &'static str,
}

impl Case {
    fn window(&self) -> ConvolutionWindow {
        let pad = self.kernel / 2;
        ConvolutionWindow {
            stride: [self.stride; 2],
            low: [pad; 2],
            high: [pad; 2],
            dilation: [1; 2],
            groups: self.groups,
        }
    }

    /// relu((convolution(x, filter) − mean) · scale + shift), a batch norm of fixed statistics.
    fn normalized(&self) -> Program {
        let mut program = Program::new("normalized");
        let ty = |shape: [usize; 4]| ValueType::new(DType::F32, shape);
        let x = program.input("x", ty([self.batch, self.channels, self.size, self.size]));
        let filter = program
            .state("filter", ty([self.outputs, self.channels / self.groups, self.kernel, self.kernel]));
        let mut y = program.apply(Op::Convolution { window: self.window() }, &[x, filter]).unwrap();
        let shape = program.shape(y).clone();
        for (name, kind) in
            [("mean", BinaryKind::Subtract), ("scale", BinaryKind::Multiply), ("shift", BinaryKind::Add)]
        {
            let numbers = program.state(name, ValueType::new(DType::F32, [self.outputs]));
            let op = Op::Broadcast { shape: shape.clone(), axes: vec![1] };
            let numbers = program.apply(op, &[numbers]).unwrap();
            y = program.binary(kind, y, numbers).unwrap();
        }
        let y = program.unary(UnaryKind::Relu, y).unwrap();
        program.output("y", y);
        program
    }

    /// relu(convolution(x, filter) · e^scale + bias) + residual.
    fn program(&self) -> Program {
        let mut program = Program::new("convolution");
        let ty = |shape: [usize; 4]| ValueType::new(DType::F32, shape);
        let x = program.input("x", ty([self.batch, self.channels, self.size, self.size]));
        let filter = program
            .state("filter", ty([self.outputs, self.channels / self.groups, self.kernel, self.kernel]));
        let [bias, scale] =
            ["bias", "scale"].map(|name| program.state(name, ValueType::new(DType::F32, [self.outputs])));
        let y = program.apply(Op::Convolution { window: self.window() }, &[x, filter]).unwrap();
        let shape = program.shape(y).clone();
        let residual = program.input("residual", ValueType::new(DType::F32, shape.clone()));
        // Computed for each channel, not for each element: that would not be in the order of the convolution's result.
        let scale = program.unary(UnaryKind::Exp, scale).unwrap();
        let [bias, scale] = [bias, scale].map(|of_channels| {
            program.apply(Op::Broadcast { shape: shape.clone(), axes: vec![1] }, &[of_channels]).unwrap()
        });
        let scaled = program.binary(BinaryKind::Multiply, y, scale).unwrap();
        let sum = program.binary(BinaryKind::Add, scaled, bias).unwrap();
        let bent = program.unary(UnaryKind::Relu, sum).unwrap();
        let y = program.binary(BinaryKind::Add, bent, residual).unwrap();
        program.output("y", y);
        program
    }
}

/// The outputs of runs with one filter after another, and the listing.
fn run(device: &dyn Device, program: &Program, filters: usize) -> (Vec<Vec<f32>>, String) {
    let inputs: Vec<Array> =
        program.inputs.iter().enumerate().map(|(seed, port)| sample(program.ty(port.value), seed)).collect();
    let arguments: Vec<Argument> = inputs.iter().map(Argument::Host).collect();
    let states: Vec<BufferRef> =
        program.states.iter().map(|state| device.allocate(program.ty(state.value)).unwrap()).collect();
    for (seed, state) in states.iter().enumerate().skip(1) {
        state.write(&sample(state.ty(), seed)).unwrap();
    }
    let mut executable = load(device, program, &states).unwrap();
    let mut outputs = Vec::new();
    for seed in 0..filters {
        states[0].write(&sample(states[0].ty(), 10 + seed)).unwrap();
        // The second run finds the filters packed.
        for _ in 0..2 {
            let output = executable.run(&arguments, &[]).unwrap()[0].read().unwrap();
            outputs.push(output.as_f32().unwrap().to_vec());
        }
    }
    (outputs, executable.explain())
}

fn cases() -> Vec<Case> {
    let plain = Case {
        batch: 2,
        channels: 33,
        outputs: 40,
        size: 14,
        kernel: 1,
        stride: 1,
        groups: 1,
        algorithm: "direct",
    };
    let pointwise = Case { algorithm: "pointwise", ..plain };
    vec![
        Case { batch: 6, ..plain },
        pointwise,
        Case { batch: 1, channels: 20, outputs: 300, size: 7, ..pointwise },
        Case { batch: 1, channels: 3, outputs: 40, size: 56, kernel: 7, stride: 2, ..plain },
        Case { batch: 5, size: 9, kernel: 3, stride: 2, ..plain },
        Case { kernel: 3, algorithm: "winograd", ..plain },
        Case { batch: 1, kernel: 3, size: 33, algorithm: "winograd", ..plain },
        Case { channels: 200, outputs: 224, size: 9, kernel: 3, algorithm: "winograd", ..plain },
        Case { channels: 36, outputs: 36, kernel: 3, groups: 36, algorithm: "depthwise", ..plain },
        Case { channels: 24, outputs: 48, kernel: 5, stride: 2, groups: 24, algorithm: "depthwise", ..plain },
    ]
}

#[test]
fn loop_kernels_follow_and_packed_filters_stay_until_they_are_written() {
    for case in cases() {
        let program = case.program();
        let (expected, _) = run(&ReferenceDevice, &program, 2);
        for threads in [1, 2, 3] {
            let (found, listing) = run(&CpuDevice::new(threads).unwrap(), &program, 2);
            let what = format!("{case:?} on {threads} threads");
            assert!(listing.contains(&format!("{} with epilogue", case.algorithm)), "{what}: {listing}");
            for (found, expected) in found.iter().zip(&expected) {
                let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
                let wrong = found.iter().zip(expected).position(|(a, b)| (a - b).abs() > 3e-5 * largest);
                assert_eq!(wrong, None, "{what}");
            }
            assert_eq!(found[0], found[1], "{what}: runs differ");
        }
    }
}

#[test]
fn convolutions_normalize_their_channels_on_the_way_to_memory() {
    for case in cases() {
        let program = case.normalized();
        let (expected, _) = run(&ReferenceDevice, &program, 2);
        for threads in [1, 3] {
            let (found, listing) = run(&CpuDevice::new(threads).unwrap(), &program, 2);
            let what = format!("{case:?} on {threads} threads");
            let is_one_each = case.groups == 1 || case.channels == case.outputs;
            let in_registers = is_one_each && case.algorithm != "pointwise";
            assert_eq!(listing.contains("with epilogue in registers"), in_registers, "{what}: {listing}");
            for (found, expected) in found.iter().zip(&expected) {
                let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
                let wrong = found.iter().zip(expected).position(|(a, b)| (a - b).abs() > 3e-5 * largest);
                assert_eq!(wrong, None, "{what}");
            }
            assert_eq!(found[0], found[1], "{what}: runs differ");
        }
    }
}

/// A program that writes its own filters reads the new ones in the next run, and so does another one that only reads
/// them.
#[test]
fn filters_that_another_program_writes_are_packed_again() {
    let case = Case { kernel: 3, size: 12, ..cases()[4] };
    let reading = case.program();
    let mut writing = Program::new("update");
    let filter = writing.state("filter", reading.ty(reading.states[0].value).clone());
    let half = writing.splat_like(0.5, filter).unwrap();
    let smaller = writing.binary(BinaryKind::Multiply, filter, half).unwrap();
    writing.write(0, smaller).unwrap();
    let device = CpuDevice::new(2).unwrap();
    let mut found = Vec::new();
    for device in [&device as &dyn Device, &ReferenceDevice] {
        let states: Vec<BufferRef> =
            reading.states.iter().map(|state| device.allocate(reading.ty(state.value)).unwrap()).collect();
        states[0].write(&sample(states[0].ty(), 1)).unwrap();
        let inputs: Vec<Array> =
            reading.inputs.iter().map(|port| sample(reading.ty(port.value), 3)).collect();
        let arguments: Vec<Argument> = inputs.iter().map(Argument::Host).collect();
        let mut read = load(device, &reading, &states).unwrap();
        let mut write = load(device, &writing, &states[..1]).unwrap();
        read.run(&arguments, &[]).unwrap();
        write.run(&[], &[]).unwrap();
        found.push(read.run(&arguments, &[]).unwrap()[0].read().unwrap());
    }
    let (ours, reference) = (found[0].as_f32().unwrap(), found[1].as_f32().unwrap());
    assert!(ours.iter().zip(reference).all(|(a, b)| (a - b).abs() < 1e-3), "stale filters");
}

/// Programs of several batch sizes over the same states, each on a thread of its own, between writes of the filters:
/// those that pack them alike share them.
#[test]
fn programs_share_packed_filters_and_follow_what_is_written() {
    for kernel in [1, 3] {
        let programs = [1, 3, 6, 7, 40].map(|batch| Case { batch, kernel, size: 8, ..cases()[0] }.program());
        let found = [&CpuDevice::new(2).unwrap() as &dyn Device, &ReferenceDevice].map(|device| {
            let ty = |state: usize| programs[0].ty(programs[0].states[state].value);
            let states: Vec<BufferRef> = (0..3).map(|state| device.allocate(ty(state)).unwrap()).collect();
            let mut loaded = programs.each_ref().map(|program| load(device, program, &states).unwrap());
            let mut outputs = Vec::new();
            for seed in [10, 11] {
                states.iter().for_each(|state| state.write(&sample(state.ty(), seed)).unwrap());
                let of_seed: Vec<Array> = std::thread::scope(|scope| {
                    let run = |(program, executable)| {
                        scope.spawn(move || {
                            let (program, executable): (&Program, &mut Executable) = (program, executable);
                            let ports = program.inputs.iter();
                            let inputs: Vec<Array> =
                                ports.map(|port| sample(program.ty(port.value), seed)).collect();
                            let arguments: Vec<Argument> = inputs.iter().map(Argument::Host).collect();
                            executable.run(&arguments, &[]).unwrap()[0].read().unwrap()
                        })
                    };
                    let threads: Vec<_> = programs.iter().zip(&mut loaded).map(run).collect();
                    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
                });
                outputs.extend(of_seed);
            }
            outputs
        });
        for (ours, reference) in found[0].iter().zip(&found[1]) {
            let (ours, reference) = (ours.as_f32().unwrap(), reference.as_f32().unwrap());
            let largest = reference.iter().fold(0f32, |largest, value| largest.max(value.abs()));
            assert!(ours.iter().zip(reference).all(|(a, b)| (a - b).abs() <= 3e-5 * largest), "{kernel}");
        }
    }
}

#[test]
fn max_pools_without_positions_agree_with_the_interpreter() {
    for (size, kernel, stride, pad) in [(56, 3, 2, 1), (17, 2, 2, 0), (9, 5, 1, 2), (30, 3, 3, 1)] {
        let mut program = Program::new("pool");
        let x = program.input("x", ValueType::new(DType::F32, [2, 3, size, size]));
        let window = PoolWindow { kernel: [kernel; 2], stride: [stride; 2], low: [pad; 2], high: [pad; 2] };
        let values = program.push(Op::MaxPool { window }, &[x]).unwrap()[0];
        program.output("y", values);
        let x = sample(program.ty(x), 1);
        let found = [&CpuDevice::new(2).unwrap() as &dyn Device, &ReferenceDevice].map(|device| {
            let mut executable = load(device, &program, &[]).unwrap();
            executable.run(&[Argument::Host(&x)], &[]).unwrap()[0].read().unwrap()
        });
        assert_eq!(found[0].as_f32(), found[1].as_f32(), "{size} {kernel} {stride} {pad}");
    }
}
