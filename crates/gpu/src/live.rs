//! What users are told about buffers that are alive.

use dropforge_runtime::MemoryStatistics;
use std::fmt;

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
pub fn leaks(statistics: &MemoryStatistics, live: &[LiveBuffer]) -> Option<String> {
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
