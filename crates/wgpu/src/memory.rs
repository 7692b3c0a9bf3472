//! What users are told about the memory of a device.

use std::fmt;

/// What is held of a device's memory, in bytes unless said otherwise.
///
/// Buffers are cut from larger pieces that are taken from the device and kept for reuse. Executables hold memory of their
/// own for inputs, outputs, intermediate values and staging.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryStatistics {
    /// Number of buffers that are alive.
    pub buffers: u64,
    /// Held by buffers, rounding included.
    pub in_use: u64,
    /// What buffers asked for, before rounding.
    pub requested: u64,
    /// Most that buffers held at once.
    pub peak: u64,
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
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        write!(
            f,
            "{} buffers of {:.1} MiB (peak {:.1}), {:.1} MiB cached ({:.0} % scattered), {:.1} MiB of executables, {:.1} % of \
             {} allocations reused memory",
            self.buffers,
            mebibytes(self.in_use),
            mebibytes(self.peak),
            mebibytes(self.cached),
            100.0 * self.fragmentation(),
            mebibytes(self.executables),
            100.0 * self.hit_rate(),
            self.allocations
        )
    }
}

/// Buffers that are alive, by what they are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveBuffer {
    /// Such as `f32[128, 784]`, `state fc1.weight` or `output loss`.
    pub what: String,
    /// How many of them are alive.
    pub count: u64,
}

impl fmt::Display for LiveBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.count == 1 { f.write_str(&self.what) } else { write!(f, "{} × {}", self.count, self.what) }
    }
}

/// The error text of closing a device while it is in use; `None` if nothing is alive.
pub(crate) fn leaks(statistics: &MemoryStatistics, live: &[LiveBuffer]) -> Option<String> {
    const MOST_NAMED: usize = 8;
    if statistics.buffers == 0 && statistics.executables == 0 {
        return None;
    }
    let mut text = format!(
        "still alive are {} buffers of {} bytes and executables of {} bytes",
        statistics.buffers, statistics.in_use, statistics.executables
    );
    let named: Vec<String> = live.iter().take(MOST_NAMED).map(LiveBuffer::to_string).collect();
    if !named.is_empty() {
        text += &format!(": {}", named.join(", "));
    }
    if live.len() > MOST_NAMED {
        text += &format!(" and {} more", live.len() - MOST_NAMED);
    }
    Some(text)
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
    }

    #[test]
    fn leaks_are_named_up_to_a_bound() {
        assert_eq!(leaks(&MemoryStatistics::default(), &[]), None);
        let live: Vec<LiveBuffer> =
            (1..11).map(|count| LiveBuffer { what: format!("f32[{count}]"), count }).collect();
        let statistics = MemoryStatistics { buffers: 55, in_use: 9, ..MemoryStatistics::default() };
        let text = leaks(&statistics, &live).unwrap();
        assert!(text.contains("55 buffers of 9 bytes") && text.contains(": f32[1], 2 × f32[2]"), "{text}");
        assert!(text.ends_with("and 2 more"), "{text}");
    }
}
