//! What this machine reaches at best: arithmetic in registers, and copies in the cache and in memory.

use crate::memory::AlignedBuffer;
use crate::pool::Pool;
use crate::simd::{Kernel, Level, Vector};
use dropforge_runtime::profile::Peak;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Bytes that each thread copies from, where they shall stay in its own cache.
const CACHED: usize = 128 << 10;
/// Bytes that all threads together copy from, where they shall not; four times the last-level cache of small machines.
const LARGE: usize = 128 << 20;
/// How long each of the three is tried.
const PATIENCE: Duration = Duration::from_millis(30);

/// Independent chains of multiply-adds: enough to hide their latency, few enough for every register file.
const CHAINS: usize = 12;
const ROUNDS: usize = 20_000;

struct MultiplyAdd;

impl Kernel for MultiplyAdd {
    type Output = f32;

    #[inline(always)]
    fn run<V: Vector>(self) -> f32 {
        let (factor, summand) = (V::splat(black_box(0.999)), V::splat(black_box(0.0013)));
        let mut chains = [V::splat(1.0); CHAINS];
        for _ in 0..ROUNDS {
            for chain in &mut chains {
                *chain = chain.mul_add(factor, summand);
            }
        }
        chains.into_iter().fold(V::zero(), V::add).sum()
    }
}

/// The least seconds of a job of the whole pool.
fn best(pool: &Pool, job: impl Fn(usize) + Sync) -> f64 {
    let (begin, mut best) = (Instant::now(), f64::INFINITY);
    while begin.elapsed() < PATIENCE || best.is_infinite() {
        let start = Instant::now();
        pool.run(&job);
        best = best.min(start.elapsed().as_secs_f64());
    }
    best.max(1e-9)
}

/// Bytes per second, read and written, when every thread copies `bytes` of its own `rounds` times. `None` without
/// memory.
fn copies(pool: &Pool, bytes: usize, rounds: usize) -> Option<f64> {
    let threads = pool.threads();
    let numbers = bytes / size_of::<f32>();
    // The first half of each piece is copied to the second.
    let mut memory = AlignedBuffer::try_new(2 * numbers * threads)?;
    memory.as_bytes_mut().fill(1);
    let base = crate::executable::Pointer(memory.as_bytes_mut().as_mut_ptr());
    let seconds = best(pool, |thread| {
        let base = &base;
        for _ in 0..rounds {
            // SAFETY: every thread has a piece of its own of twice `bytes`; its halves do not overlap.
            unsafe {
                let from = base.0.add(thread * 2 * bytes);
                std::ptr::copy_nonoverlapping(black_box(from), from.add(bytes), bytes);
            }
        }
    });
    Some((2 * bytes * rounds * threads) as f64 / seconds)
}

/// Measures the peak of these threads, which takes a tenth of a second. `None` if there is no memory for it.
pub(crate) fn measure(pool: &Pool, level: Level) -> Option<Peak> {
    let threads = pool.threads();
    let seconds = best(pool, |_| {
        black_box(level.call(MultiplyAdd));
    });
    Some(Peak {
        flops: (2 * CHAINS * ROUNDS * level.lanes() * threads) as f64 / seconds,
        cache: copies(pool, CACHED, 20)?,
        memory: copies(pool, LARGE / threads / 2, 1)?,
        cache_bytes: (4 * CACHED * threads) as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_are_plausible_on_every_level() {
        for level in Level::available() {
            let peak = measure(&Pool::new(2), level).unwrap();
            assert!(peak.flops > 1e8 && peak.flops < 1e14, "{peak:?}");
            assert!(peak.memory > 1e7 && peak.cache > 1e8, "{peak:?}");
        }
    }
}
