//! What a device reaches at best: arithmetic in registers, and traffic with its cache and its memory.

use crate::clock::Clock;
use crate::executable::{Table, WgpuExecutable};
use crate::gpu::Gpu;
use crate::heap::OwnMemory;
use crate::wgsl::{self, Dispatch};
use dropforge_ir::Result;
use dropforge_runtime::profile::Peak;
use std::sync::Arc;

/// Bytes that are copied where they shall not stay in any cache, if there is room for so many twice.
const LARGE: u64 = 256 << 20;
/// Least bytes for which a copy says something.
const LEAST: u64 = 8 << 20;
const _: () = assert!(wgsl::peak::RESULT_WORDS as u64 * 4 <= LEAST);
/// Seconds from which a measurement is exact enough.
const EXACT: f64 = 2e-4;
/// Most rounds of a kernel: enough for any device.
const MOST_ROUNDS: u32 = 4096;
/// How often each measurement is made; the best counts.
const TRIES: usize = 3;
/// Part of the rate from memory above which reads count as coming from a cache.
const CLEARLY_FASTER: f64 = 1.3;

/// What memory and errors are about.
const WHAT: &str = "the measurement of the device's peak";

struct Meter<'a> {
    gpu: &'a Arc<Gpu>,
    clock: Clock,
    chunks: [OwnMemory; 2],
}

impl Meter<'_> {
    /// The least seconds of a dispatch.
    fn seconds(&self, dispatch: Dispatch) -> Result<f64> {
        let table = Table { chunks: &self.chunks, states: Vec::new(), scratch: None };
        let (steps, _params) = WgpuExecutable::steps(self.gpu, WHAT, &[(0, dispatch)], &table)?;
        // The first one warms up.
        self.clock.time(self.gpu, &steps, 1)?;
        let mut best = f64::INFINITY;
        for _ in 0..TRIES {
            best = best.min(self.clock.time(self.gpu, &steps, 1)?);
        }
        Ok(best.max(1e-9))
    }

    /// What a kernel reaches per second, with enough rounds that their start does not count.
    fn rate(&self, kernel: impl Fn(u32) -> (Dispatch, f64)) -> Result<f64> {
        let mut rounds = 1;
        loop {
            let (dispatch, work) = kernel(rounds);
            let seconds = self.seconds(dispatch)?;
            if seconds > EXACT || rounds >= MOST_ROUNDS {
                return Ok(work * f64::from(rounds) / seconds);
            }
            rounds *= 4;
        }
    }
}

/// Measures the peak, which takes some milliseconds on a GPU. `None` if there is no memory for it.
///
/// # Errors
/// If the device fails.
pub(crate) fn measure(gpu: &Arc<Gpu>) -> Result<Option<Peak>> {
    let mut large = LARGE.min(gpu.binding_limit());
    let memory = |bytes: u64| OwnMemory::storage(gpu, WHAT, bytes);
    let chunks = loop {
        if large < LEAST {
            return Ok(None);
        }
        if let (Ok(source), Ok(target)) = (memory(large), memory(large)) {
            break [source, target];
        }
        gpu.check("profile", WHAT)?;
        large /= 2;
    };
    let meter = Meter { gpu, clock: Clock::new(gpu, WHAT)?, chunks };
    let flops = meter.rate(wgsl::peak::multiply_adds)?;
    let memory = 2.0 * large as f64 / meter.seconds(wgsl::peak::copy(large))?;
    let from_memory = meter.rate(|rounds| wgsl::peak::reads(rounds, large))?;
    let (mut cache, mut cache_bytes) = (memory, 0.0);
    let mut bytes = LEAST / 4;
    while bytes < large {
        let rate = meter.rate(|rounds| wgsl::peak::reads(rounds, bytes))?;
        if rate < from_memory * CLEARLY_FASTER {
            break;
        }
        cache = cache.max(rate);
        cache_bytes = bytes as f64;
        bytes *= 2;
    }
    Ok(Some(Peak { flops, cache, memory, cache_bytes }))
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
        crate::gpu::lock(&gpu.heap).set_limit(Some(LEAST));
        assert_eq!(measure(&gpu).unwrap(), None);
    }
}
