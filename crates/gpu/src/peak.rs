//! What a device reaches at best: arithmetic in registers, and traffic with its cache and its memory.

use dropforge_ir::Result;
use dropforge_runtime::profile::Peak;

/// Bytes that are copied where they shall not stay in any cache, if there is room for so many twice.
pub const LARGE: u64 = 256 << 20;
/// Least bytes for which a copy says something.
pub const LEAST: u64 = 8 << 20;
/// Seconds from which a measurement is exact enough.
const EXACT: f64 = 2e-4;
/// Most rounds of a kernel: enough for any device.
const MOST_ROUNDS: u32 = 4096;
/// How often each measurement is made; the best counts.
const TRIES: usize = 3;
/// Part of the rate from memory above which reads count as coming from a cache.
const CLEARLY_FASTER: f64 = 1.3;

/// A kernel of the measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Probe {
    /// Multiply-adds in registers, over and over for so many rounds.
    MultiplyAdds(u32),
    /// A copy of so many bytes from one piece of memory to another.
    Copy(u64),
    /// So many rounds of reading the first so many bytes.
    Reads(u32, u64),
}

/// A device with two pieces of memory of `bytes` each, on which probes can be timed.
pub trait Prober {
    /// Bytes of each piece.
    fn bytes(&self) -> u64;

    /// Runs a probe once: its seconds, and its work in floating-point operations or bytes, of one round.
    ///
    /// # Errors
    /// If the device fails.
    fn run(&self, probe: Probe) -> Result<(f64, f64)>;
}

/// Two pieces of memory of the same size, as large as can be had up to [`LARGE`] and `most`; `None` below [`LEAST`].
/// `allocate` makes one; `check` says whether the device goes on after that failed.
///
/// # Errors
/// Those of `check`.
pub fn memory<M>(
    most: u64,
    allocate: impl Fn(u64) -> Result<M>,
    check: impl Fn() -> Result<()>,
) -> Result<Option<([M; 2], u64)>> {
    let mut large = LARGE.min(most);
    while large >= LEAST {
        if let (Ok(source), Ok(target)) = (allocate(large), allocate(large)) {
            return Ok(Some(([source, target], large)));
        }
        check()?;
        large /= 2;
    }
    Ok(None)
}

/// Measures the peak, which takes some milliseconds on a GPU.
///
/// # Errors
/// If the device fails.
pub fn measure(prober: &impl Prober) -> Result<Peak> {
    let large = prober.bytes();
    let flops = rate(prober, Probe::MultiplyAdds)?;
    let (seconds, bytes) = best(prober, Probe::Copy(large))?;
    let memory = bytes / seconds;
    let from_memory = rate(prober, |rounds| Probe::Reads(rounds, large))?;
    let (mut cache, mut cache_bytes) = (memory, 0.0);
    let mut bytes = LEAST / 4;
    while bytes < large {
        let rate = rate(prober, |rounds| Probe::Reads(rounds, bytes))?;
        if rate < from_memory * CLEARLY_FASTER {
            break;
        }
        cache = cache.max(rate);
        cache_bytes = bytes as f64;
        bytes *= 2;
    }
    Ok(Peak { flops, cache, memory, cache_bytes })
}

/// The least seconds of a probe, and its work.
fn best(prober: &impl Prober, probe: Probe) -> Result<(f64, f64)> {
    // The first one warms up.
    let (_, work) = prober.run(probe)?;
    let mut best = f64::INFINITY;
    for _ in 0..TRIES {
        best = best.min(prober.run(probe)?.0);
    }
    Ok((best.max(1e-9), work))
}

/// What a kernel reaches per second, with enough rounds that their start does not count.
fn rate(prober: &impl Prober, probe: impl Fn(u32) -> Probe) -> Result<f64> {
    let mut rounds = 1;
    loop {
        let (seconds, work) = best(prober, probe(rounds))?;
        if seconds > EXACT || rounds >= MOST_ROUNDS {
            return Ok(work * f64::from(rounds) / seconds);
        }
        rounds *= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 10 microseconds to start, 1 TFLOP/s, 100 GB/s from memory, 400 GB/s from a cache of 20 MB.
    struct Machine;

    impl Prober for Machine {
        fn bytes(&self) -> u64 {
            LARGE
        }

        fn run(&self, probe: Probe) -> Result<(f64, f64)> {
            let (rounds, work, rate) = match probe {
                Probe::MultiplyAdds(rounds) => (rounds, 1e8, 1e12),
                Probe::Copy(bytes) => (1, 2.0 * bytes as f64, 1e11),
                Probe::Reads(rounds, bytes) => {
                    (rounds, bytes as f64, if bytes > 20_000_000 { 1e11 } else { 4e11 })
                }
            };
            Ok((1e-5 + f64::from(rounds) * work / rate, work))
        }
    }

    #[test]
    fn starts_do_not_count_and_the_cache_is_found() {
        let peak = measure(&Machine).unwrap();
        let near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 0.06;
        assert!(near(peak.flops, 1e12) && near(peak.memory, 1e11) && near(peak.cache, 4e11), "{peak:?}");
        assert_eq!(peak.cache_bytes, (16 << 20) as f64);
    }

    #[test]
    fn memory_is_halved_until_it_fits() {
        let get = |free: u64| {
            let allocate = |bytes: u64| {
                let refuse = || dropforge_ir::Error::new("allocate", "too much");
                (bytes <= free).then_some(()).ok_or_else(refuse)
            };
            memory(u64::MAX, allocate, || Ok(())).unwrap().map(|(_, bytes)| bytes)
        };
        assert_eq!(get(u64::MAX), Some(LARGE));
        assert_eq!(get(LARGE - 1), Some(LARGE / 2));
        assert_eq!(get(LEAST - 1), None);
    }
}
