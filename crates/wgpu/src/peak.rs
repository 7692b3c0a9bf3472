//! Measures what the device reaches at best; see [`dropforge_gpu::peak`].

use crate::clock::Clock;
use crate::executable::{Table, WgpuExecutable};
use crate::gpu::{Gpu, OwnMemory};
use crate::wgsl::peak::{RESULT_WORDS, copy, multiply_adds, reads};
use dropforge_gpu::peak::{self, LEAST, Probe, Prober};
use dropforge_ir::Result;
use dropforge_runtime::profile::Peak;
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
        let table = Table { chunks: &self.chunks, states: Vec::new(), scratch: None };
        let (steps, _params) = WgpuExecutable::steps(self.gpu, WHAT, &[(0, dispatch)], &table)?;
        Ok((self.clock.time(self.gpu, &steps, 1)?, work))
    }
}

/// Measures the peak, which takes some milliseconds on a GPU. `None` if there is no memory for it.
///
/// # Errors
/// If the device fails.
pub(crate) fn measure(gpu: &Arc<Gpu>) -> Result<Option<Peak>> {
    let memory = |bytes: u64| OwnMemory::storage(gpu, WHAT, bytes);
    let Some((chunks, bytes)) = peak::memory(gpu.binding_limit(), memory, || gpu.check("profile", WHAT))?
    else {
        return Ok(None);
    };
    let meter = Meter { gpu, clock: Clock::new(gpu, WHAT)?, chunks, bytes };
    peak::measure(&meter).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_plausible_and_needs_memory() {
        let gpu = match Gpu::open(crate::Choice::Software) {
            Ok(gpu) => gpu,
            Err(_) if std::env::var("DROPFORGE_NO_GPU").as_deref() == Ok("1") => return,
            Err(error) => panic!("{error} (DROPFORGE_NO_GPU=1 passes without)"),
        };
        let peak = measure(&gpu).unwrap().unwrap();
        assert!(peak.flops > 1e8 && peak.flops < 1e14, "{peak:?}");
        assert!(peak.memory > 1e7 && peak.cache >= peak.memory && peak.cache < 1e14, "{peak:?}");
        crate::gpu::lock(dropforge_gpu::Backend::heap(&*gpu)).set_limit(Some(LEAST));
        assert_eq!(measure(&gpu).unwrap(), None);
    }
}
