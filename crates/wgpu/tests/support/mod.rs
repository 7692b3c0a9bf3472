//! What the tests of memory and failures share.

use dropforge_ir::text::parse;
use dropforge_ir::{Array, Data, Program, ValueType};
use dropforge_runtime::{BufferRef, Device};
use dropforge_wgpu::{Choice, WgpuDevice};

/// The software renderer, or the GPU if `DROPFORGE_GPU=best`; `None` where `DROPFORGE_NO_GPU=1` says that there is
/// none.
pub fn device() -> Option<WgpuDevice> {
    let choice = match std::env::var("DROPFORGE_GPU").as_deref() {
        Ok("best") => Choice::Best,
        _ => Choice::Software,
    };
    match WgpuDevice::new(choice) {
        Ok(device) => Some(device),
        Err(_) if std::env::var("DROPFORGE_NO_GPU").as_deref() == Ok("1") => None,
        Err(error) => panic!("{error} (DROPFORGE_NO_GPU=1 passes without)"),
    }
}

/// A step that adds the sum of an input, times a hyperparameter, to a counter, and gives the new count.
pub fn counting() -> Program {
    parse(
        "program counting {
  %x: f32[8] = input \"x\"
  %c: f32[] = state \"count\"
  %h: f32[] = hyper \"rate\"
  %s = reduce_sum %x {axes=[0]}
  %t = mul %s, %h
  %n = add %c, %t
  write \"count\" = %n
  output \"total\" = %n
  output \"twice\" = %t
}",
    )
    .unwrap()
}

pub fn floats(values: &[f32]) -> Array {
    Array::new([values.len()], Data::F32(values.to_vec())).unwrap()
}

/// Buffers for the states of a program.
pub fn states(device: &WgpuDevice, program: &Program) -> Vec<BufferRef> {
    let types: Vec<ValueType> = program.states.iter().map(|port| program.ty(port.value).clone()).collect();
    types.iter().map(|ty| device.allocate(ty).unwrap()).collect()
}

pub fn number(buffer: &BufferRef) -> f32 {
    buffer.read().unwrap().as_f32().unwrap()[0]
}
