//! Time per kernel, by timestamps between the dispatches of a run.

use crate::gpu::Gpu;
use dropforge_ir::Result;
use dropforge_runtime::profile::Times;

/// Most timestamps of one query set.
const MOST: usize = 4096;

/// Timestamps of a program, and what they added up to.
pub(crate) struct Profile {
    set: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    count: u32,
    /// Nanoseconds of each dispatch, over all runs.
    totals: Vec<f64>,
    runs: u32,
}

impl Profile {
    /// For a number of dispatches; `None` if the device cannot tell, or there are too many.
    pub fn new(gpu: &Gpu, dispatches: usize) -> Option<Profile> {
        let able = gpu.features.contains(wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES);
        if !able || dispatches + 1 > MOST {
            return None;
        }
        let count = dispatches as u32 + 1;
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let resolved = gpu.buffer("timestamps", u64::from(count) * 8, usage).ok()?;
        let set = gpu.device.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("kernels"),
            ty: wgpu::QueryType::Timestamp,
            count,
        });
        Some(Profile { set, resolved, count, totals: vec![0.0; dispatches], runs: 0 })
    }

    /// Takes the time before dispatch `index`, or after the last.
    pub fn mark(&self, pass: &mut wgpu::ComputePass<'_>, index: usize) {
        pass.write_timestamp(&self.set, index as u32);
    }

    /// To be encoded after the pass.
    pub fn resolve(&self, encoder: &mut wgpu::CommandEncoder) {
        encoder.resolve_query_set(&self.set, 0..self.count, &self.resolved, 0);
    }

    /// Waits for the run and adds its times.
    pub fn collect(&mut self, gpu: &Gpu) -> Result<()> {
        let bytes = u64::from(self.count) * 8;
        let staging = gpu.staging(bytes)?;
        let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(&self.resolved, 0, &staging, 0, bytes);
        let submission = gpu.queue.submit([encoder.finish()]);
        let stamps: Vec<u64> = gpu.mapped("profile", "timestamps", &staging, bytes, submission, |view| {
            view.chunks_exact(8)
                .map(|c| u64::from_ne_bytes([c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]]))
                .collect()
        })?;
        let period = f64::from(gpu.queue.get_timestamp_period());
        for (total, pair) in self.totals.iter_mut().zip(stamps.windows(2)) {
            *total += pair[1].saturating_sub(pair[0]) as f64 * period;
        }
        gpu.return_staging(staging);
        self.runs += 1;
        Ok(())
    }

    /// The times of as many kernels of a plan. `kernels` names the kernel behind each dispatch.
    pub fn times(&self, count: usize, kernels: impl Iterator<Item = usize>) -> Times {
        let mut seconds = vec![0.0; count];
        for (kernel, total) in kernels.zip(&self.totals) {
            seconds[kernel] += total / 1e9 / f64::from(self.runs.max(1));
        }
        Times { seconds, runs: self.runs }
    }
}
