//! What tests of plans share.

use dropforge_ir::{Array, BF16, DType, Data, F16, Program, ValueType};
use dropforge_plan::Plan;
use dropforge_runtime::reference::ReferenceDevice;
use dropforge_runtime::simulate::SimulatedDevice;
use dropforge_runtime::{Argument, Device, Options, compile, load};

fn sample(ty: &ValueType, seed: usize) -> Array {
    let count = ty.shape.elements();
    let number = |i: usize| ((i * 7919 + seed * 104_729 + 13) % 1009) as f32 / 504.5 - 1.0;
    let data = match ty.dtype {
        DType::F32 => Data::F32((0..count).map(number).collect()),
        DType::F16 => Data::F16((0..count).map(|i| F16::from_f32(number(i))).collect()),
        DType::BF16 => Data::BF16((0..count).map(|i| BF16::from_f32(number(i))).collect()),
        DType::I32 => Data::I32((0..count).map(|i| ((i * 31 + seed) % 3) as i32).collect()),
        DType::U32 => Data::U32((0..count).map(|i| i as u32).collect()),
        DType::U8 => Data::U8((0..count).map(|i| i as u8).collect()),
        DType::Bool => Data::Bool((0..count).map(|i| (i % 2) as u8).collect()),
    };
    Array::new(ty.shape.clone(), data).unwrap()
}

/// Two runs on both devices end with the same outputs and states, and the plan is returned.
pub fn check(program: &Program) -> Plan {
    let run = |device: &dyn Device| -> Vec<Array> {
        let states: Vec<_> = program
            .states
            .iter()
            .enumerate()
            .map(|(seed, port)| {
                let buffer = device.allocate(program.ty(port.value)).unwrap();
                buffer.write(&sample(program.ty(port.value), seed + 50)).unwrap();
                buffer
            })
            .collect();
        let inputs: Vec<Array> = program
            .inputs
            .iter()
            .enumerate()
            .map(|(seed, port)| sample(program.ty(port.value), seed))
            .collect();
        let hypers: Vec<f32> = (0..program.hypers.len()).map(|i| 0.1 + i as f32 * 0.2).collect();
        let mut executable = load(device, program, &states).unwrap();
        let mut results = Vec::new();
        for _ in 0..2 {
            let arguments: Vec<Argument> = inputs.iter().map(Argument::Host).collect();
            let outputs = executable.run(&arguments, &hypers).unwrap();
            results.extend(outputs.iter().map(|output| output.read().unwrap()));
        }
        results.extend(states.iter().map(|state| state.read().unwrap()));
        results
    };
    let plan = compile(program, &Options::default()).unwrap();
    for (index, (a, b)) in run(&ReferenceDevice).iter().zip(run(&SimulatedDevice)).enumerate() {
        match (a.data(), b.data()) {
            (Data::F32(a), Data::F32(b)) => {
                for (x, y) in a.iter().zip(b) {
                    let close =
                        (x - y).abs() <= 2e-5 * (1.0 + x.abs()) || (x.is_nan() && y.is_nan()) || x == y;
                    assert!(close, "result {index}: {x} and {y}\n{program}");
                }
            }
            (a, b) => assert_eq!(a, b, "result {index}\n{program}"),
        }
    }
    plan
}
