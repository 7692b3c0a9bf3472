//! Measures what the device reaches at best; see [`dropforge_gpu::peak`].

use crate::clock::Clock;
use crate::executable::{CudaExecutable, Table};
use crate::gpu::{Gpu, OwnMemory};
use dropforge_gpu::Backend;
use dropforge_gpu::peak::{self, LEAST, Probe, Prober};
use dropforge_ir::Result;
use dropforge_runtime::profile::Peak;
use dropforge_wgsl::peak::{RESULT_WORDS, copy, multiply_adds, reads};
use std::sync::Arc;

const _: () = assert!(RESULT_WORDS as u64 * 4 <= LEAST);

/// What memory and errors are about.
const WHAT: &str = "the measurement of the device's peak";

struct Meter<'a> {
    gpu: &'a Arc<Gpu>,
    clock: Clock,
    chunks: [OwnMemory; 2],
    bytes: u64,
}

impl Prober for Meter<'_> {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn run(&self, probe: Probe) -> Result<(f64, f64)> {
        let (dispatch, work) = match probe {
            Probe::MultiplyAdds(rounds) => multiply_adds(rounds),
            Probe::Copy(bytes) => (copy(bytes), 2.0 * bytes as f64),
            Probe::Reads(rounds, bytes) => reads(rounds, bytes),
        };
        let table = Table { chunks: &self.chunks, states: &[], scratch: None };
        let steps = CudaExecutable::steps(self.gpu, vec![(0, dispatch)], &table)?;
        Ok((self.clock.time(self.gpu, &steps, 1)?, work))
    }
}

/// Measures the peak, which takes some milliseconds on a GPU. `None` if there is no memory for it.
///
/// # Errors
/// If the device fails.
pub fn measure(gpu: &Arc<Gpu>) -> Result<Option<Peak>> {
    let memory = |bytes: u64| OwnMemory::storage(gpu, WHAT, bytes);
    let Some((chunks, bytes)) = peak::memory(gpu.limits.buffer_bytes, memory, || gpu.check("profile", WHAT))?
    else {
        return Ok(None);
    };
    let meter = Meter { gpu, clock: Clock::new(gpu, WHAT)?, chunks, bytes };
    peak::measure(&meter).map(Some)
}
