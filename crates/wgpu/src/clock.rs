//! How long kernels take.

use crate::executable::Step;
use crate::gpu::Gpu;
use dropforge_ir::Result;
use std::time::Instant;

/// Takes the time of dispatches: by timestamps on the device, or from outside where it has none.
pub(crate) struct Clock {
    stamps: Option<(wgpu::QuerySet, wgpu::Buffer)>,
    /// What errors are about.
    what: &'static str,
}

impl Clock {
    pub fn new(gpu: &Gpu, what: &'static str) -> Result<Clock> {
        if !gpu.features.contains(wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES) {
            return Ok(Clock { stamps: None, what });
        }
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let resolved = gpu.buffer("timestamps", 16, usage)?;
        let set = gpu.device.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("clock"),
            ty: wgpu::QueryType::Timestamp,
            count: 2,
        });
        Ok(Clock { stamps: Some((set, resolved)), what })
    }

    /// Seconds of this many runs.
    pub fn time(&self, gpu: &Gpu, steps: &[Step], runs: usize) -> Result<f64> {
        let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            let mark = |pass: &mut wgpu::ComputePass<'_>, index: u32| {
                if let Some((set, _)) = &self.stamps {
                    pass.write_timestamp(set, index);
                }
            };
            mark(&mut pass, 0);
            for step in (0..runs).flat_map(|_| steps) {
                pass.set_pipeline(&step.pipeline.pipeline);
                pass.set_bind_group(0, &step.bindings, &[]);
                pass.dispatch_workgroups(step.workgroups[0], step.workgroups[1], step.workgroups[2]);
            }
            mark(&mut pass, 1);
        }
        let mut staging = None;
        if let Some((set, resolved)) = &self.stamps {
            let buffer = gpu.staging(16)?;
            encoder.resolve_query_set(set, 0..2, resolved, 0);
            encoder.copy_buffer_to_buffer(resolved, 0, &buffer, 0, 16);
            staging = Some(buffer);
        }
        let start = Instant::now();
        let submission = gpu.queue.submit([encoder.finish()]);
        let Some(staging) = staging else {
            gpu.wait(Some(submission), self.what)?;
            return Ok(start.elapsed().as_secs_f64());
        };
        let ticks = gpu.mapped("time", self.what, &staging, 16, submission, |view| {
            let stamp = |at: usize| {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(&view[at..at + 8]);
                u64::from_ne_bytes(bytes)
            };
            stamp(8).saturating_sub(stamp(0))
        })?;
        gpu.return_staging(staging);
        Ok(ticks as f64 * f64::from(gpu.queue.get_timestamp_period()) * 1e-9)
    }
}
