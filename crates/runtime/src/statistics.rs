//! What devices tell about their memory.

use dropforge_plan::explain::human_bytes;
use std::fmt;

/// What is held of a device's memory, in bytes unless said otherwise.
///
/// Buffers are cut from larger pieces that are taken from the device and kept for reuse. Executables hold memory of
/// their own for inputs, outputs, intermediate values and staging.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryStatistics {
    /// Number of buffers that are alive.
    pub buffers: u64,
    /// Held by buffers, rounding included.
    pub in_use: u64,
    /// What buffers asked for, before rounding.
    pub requested: u64,
    /// Most that buffers held at once.
    pub peak: u64,
    /// Most that was taken from the device at once, for whatever.
    pub peak_held: u64,
    /// Taken from the device and free for buffers.
    pub cached: u64,
    /// The largest free piece of what is cached.
    pub largest_free: u64,
    /// Free pieces that are not the largest of what they were cut from.
    pub scattered: u64,
    /// Held by executables.
    pub executables: u64,
    /// Most that may be taken from the device, if there is a limit.
    pub limit: Option<u64>,
    /// Number of buffers that were ever made.
    pub allocations: u64,
    /// Number of those that were served from memory that was there already.
    pub reused: u64,
}

impl MemoryStatistics {
    /// Everything taken from the device: buffers in use, cached memory and executables.
    pub fn held(&self) -> u64 {
        self.in_use + self.cached + self.executables
    }

    /// Share of allocations that needed nothing from the device, from 0 to 1; 1 before the first allocation.
    pub fn hit_rate(&self) -> f64 {
        if self.allocations == 0 { 1.0 } else { self.reused as f64 / self.allocations as f64 }
    }

    /// Share of the cached memory that is scattered in small pieces between buffers, from 0 to 1.
    pub fn fragmentation(&self) -> f64 {
        if self.cached == 0 { 0.0 } else { self.scattered as f64 / self.cached as f64 }
    }
}

impl fmt::Display for MemoryStatistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = |bytes: u64| human_bytes(bytes as f64);
        write!(
            f,
            "{} held, at most {}: {} in {} buffers (at most {}), {} cached ({:.0} % of it scattered), {} by programs; {:.1} % \
             of {} allocations reused memory",
            size(self.held()),
            size(self.peak_held),
            size(self.in_use),
            self.buffers,
            size(self.peak),
            size(self.cached),
            100.0 * self.fragmentation(),
            size(self.executables),
            100.0 * self.hit_rate(),
            self.allocations
        )?;
        match self.limit {
            Some(limit) => write!(f, "; the limit is {}", size(limit)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_shares() {
        let none = MemoryStatistics::default();
        assert_eq!((none.hit_rate(), none.fragmentation(), none.held()), (1.0, 0.0, 0));
        let some = MemoryStatistics {
            in_use: 100,
            cached: 50,
            scattered: 10,
            executables: 7,
            allocations: 8,
            reused: 6,
            ..none
        };
        assert_eq!((some.hit_rate(), some.fragmentation(), some.held()), (0.75, 0.2, 157));
        let text = MemoryStatistics { limit: Some(3 << 20), peak_held: 200, ..some }.to_string();
        assert!(text.starts_with("157 B held, at most 200 B: 100 B in 0 buffers"), "{text}");
        assert!(text.contains("(20 % of it scattered)") && text.contains("75.0 % of 8"), "{text}");
        assert!(text.ends_with("the limit is 3.0 MiB") && !some.to_string().contains("limit"), "{text}");
    }
}
