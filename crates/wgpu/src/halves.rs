//! Whether f16 can take 2 bytes on a device.
//!
//! WGSL leaves open how a conversion to f16 rounds and whether numbers below the normal ones survive it. Here every
//! result is the nearest number, ties to even, so a device is asked: one that converts otherwise on the way to memory
//! keeps f16 in words. Between registers, rounding is arithmetic on bits everywhere.

use crate::executable::{Table, WgpuExecutable};
use crate::gpu::Gpu;
use crate::gpu::OwnMemory;
use crate::wgsl;
use dropforge_ir::{F16, Result};
use std::sync::Arc;

/// What memory and errors are about.
const WHAT: &str = "the trial of f16";

/// Numbers on both sides of what decides their rounding: ties, the largest f16, the smallest ones.
#[rustfmt::skip]
const NUMBERS: [f32; 24] = [
    0.0, -0.0, 1.0, -1.5,
    // Halfway to the next f16, below and above it.
    1.000_488_3, 1.001_464_8, 1.000_488_5, 1.001_464_7, -2049.0, -2051.0, 2049.001, 0.1,
    // What rounds to the largest, and what is too large.
    65_504.0, 65_519.996, 65_520.0, -1e6,
    // Below the smallest normal number, down to half the smallest one.
    6.1e-5, 5.96e-8, 2.980_232_2e-8, 2.980_233e-8, 8.940_697e-8, -1e-7,
    f32::INFINITY, f32::NEG_INFINITY,
];

/// Whether a device that knows the type f16 converts to it as `F16::from_f32` does, and back. One that fails does not.
pub(crate) fn are_right(gpu: &Arc<Gpu>) -> bool {
    gpu.features.contains(wgpu::Features::SHADER_F16) && try_out(gpu).unwrap_or(false)
}

fn try_out(gpu: &Arc<Gpu>) -> Result<bool> {
    let bytes = NUMBERS.len() as u64 * 4;
    let memory = || OwnMemory::storage(gpu, WHAT, bytes);
    let chunks = [memory()?, memory()?];
    let table = Table { chunks: &chunks, states: Vec::new(), scratch: None };
    let dispatch = wgsl::there_and_back(&NUMBERS);
    let (steps, _params) = WgpuExecutable::steps(gpu, WHAT, &[(0, dispatch)], &table)?;
    let staging = gpu.staging(bytes)?;
    let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        for step in &steps {
            pass.set_pipeline(&step.pipeline.pipeline);
            pass.set_bind_group(0, &step.bindings, &[]);
            pass.dispatch_workgroups(step.workgroups[0], step.workgroups[1], step.workgroups[2]);
        }
    }
    encoder.copy_buffer_to_buffer(&chunks[1].memory, 0, &staging, 0, bytes);
    let submission = gpu.queue.submit([encoder.finish()]);
    gpu.mapped("device", WHAT, &staging, bytes, submission, |view| {
        let found = view.chunks_exact(4).map(|c| u32::from_ne_bytes([c[0], c[1], c[2], c[3]]));
        let expected = NUMBERS.iter().map(|&number| F16::from_f32(number).to_f32().to_bits());
        found.eq(expected)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise no test would see f16 in 2 bytes.
    #[test]
    fn the_software_renderer_keeps_f16_in_2_bytes() {
        match Gpu::open(crate::Choice::Software) {
            Ok(gpu) => assert!(gpu.printing.f16),
            Err(_) if std::env::var("DROPFORGE_NO_GPU").as_deref() == Ok("1") => {}
            Err(error) => panic!("{error} (DROPFORGE_NO_GPU=1 passes without)"),
        }
    }
}
