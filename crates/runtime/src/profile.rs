//! Where the time of a step goes: per kernel, beside what the machine can do at best.

use dropforge_plan::Plan;
use dropforge_plan::explain::{Cost, cost, title};
use std::fmt::Write;

/// What a device reaches at best, as measured on it.
///
/// The least time for a kernel is that of its arithmetic or that of its traffic, whichever is longer: the roofline of
/// Williams, Waterman and Patterson, "Roofline: an insightful visual performance model" (2009).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peak {
    /// Floating-point operations per second, a fused multiply-add counted as two.
    pub flops: f64,
    /// Bytes per second, read or written, where everything lies in the cache.
    pub cache: f64,
    /// Bytes per second, read or written, where nothing does.
    pub memory: f64,
    /// Up to how many bytes a kernel's values count as lying in the cache.
    pub cache_bytes: f64,
}

impl Peak {
    /// The least seconds for this much work.
    pub fn least_seconds(&self, cost: &Cost) -> f64 {
        let rate = if cost.bytes <= self.cache_bytes { self.cache } else { self.memory };
        (cost.flops / self.flops).max(cost.bytes / rate)
    }
}

/// Time spent in the kernels of a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Times {
    /// Seconds of each kernel in one run, as the mean over all runs.
    pub seconds: Vec<f64>,
    /// How many runs were timed.
    pub runs: u32,
}

/// What the note of a kernel says that runs as a part of another one, whose time is that of both: it has no rate of its
/// own.
pub const TIMED_ELSEWHERE: &str = "its time is the";

/// A table of kernels, the slowest first; `note` adds what a device knows of a kernel.
pub fn table(plan: &Plan, times: &Times, peak: Option<&Peak>, note: impl Fn(usize) -> String) -> String {
    let Times { seconds, runs } = times;
    let total: f64 = seconds.iter().sum();
    let mut order: Vec<usize> = (0..seconds.len()).collect();
    order.sort_by(|&a, &b| seconds[b].total_cmp(&seconds[a]));
    let mut text =
        format!("{}: {:.1} µs of kernels, the mean of {runs} runs\n", plan.program.name, total * 1e6);
    // Writing to a string cannot fail.
    if let Some(peak) = peak {
        let _ = writeln!(
            text,
            "measured peak: {:.0} GFLOP/s, {:.0} GB/s from cache, {:.0} GB/s from memory; `peak` is the least time that \
             these allow as a part of the time taken, over 100 % where an algorithm needs less than the plain formula",
            peak.flops / 1e9,
            peak.cache / 1e9,
            peak.memory / 1e9
        );
    }
    let _ = writeln!(text, "      time    share     peak     GFLOP/s      GB/s  kernel");
    for index in order {
        let (kernel, time) = (&plan.kernels[index], seconds[index]);
        let work = cost(plan, kernel);
        let note = note(index);
        let has_rate = time > 0.0 && !note.contains(TIMED_ELSEWHERE);
        let rate = |amount: f64| if has_rate { amount / time } else { 0.0 };
        let peak = peak.filter(|_| has_rate);
        let reached =
            peak.map_or("–".into(), |peak| format!("{:.0} %", 100.0 * rate(peak.least_seconds(&work))));
        let note = if note.is_empty() { note } else { format!(" [{note}]") };
        let origin = if kernel.origin.is_unknown() { String::new() } else { format!(" {}", kernel.origin) };
        let _ = writeln!(
            text,
            "{:7.1} µs {:6.1} % {:>8} {:11.1} {:9.1}  {}{note}{origin}",
            time * 1e6,
            100.0 * time / total.max(f64::MIN_POSITIVE),
            reached,
            rate(work.flops) / 1e9,
            rate(work.bytes) / 1e9,
            title(plan, kernel),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use dropforge_ir::{BinaryKind, DType, Program, ValueType};
    use dropforge_plan::plan;

    #[test]
    fn the_slower_of_arithmetic_and_traffic_decides() {
        let peak = Peak { flops: 100.0, cache: 50.0, memory: 10.0, cache_bytes: 1000.0 };
        assert_eq!(peak.least_seconds(&Cost { flops: 1000.0, bytes: 100.0 }), 10.0);
        assert_eq!(peak.least_seconds(&Cost { flops: 0.0, bytes: 1000.0 }), 20.0);
        assert_eq!(peak.least_seconds(&Cost { flops: 0.0, bytes: 2000.0 }), 200.0);
    }

    #[test]
    fn a_table_has_shares_rates_and_the_distance_from_the_peak() {
        let mut program = Program::new("sum");
        let ty = ValueType::new(DType::F32, [1000]);
        let (x, y) = (program.input("x", ty.clone()), program.input("y", ty));
        let sum = program.binary(BinaryKind::Add, x, y).unwrap();
        program.output("sum", sum);
        let plan = plan(&program).unwrap();
        let peak = Peak { flops: 1e9, cache: 24e9, memory: 1e9, cache_bytes: 1e6 };
        // 12,000 bytes in two microseconds: a quarter of what the cache gives, half of what the arithmetic takes.
        let text = table(&plan, &Times { seconds: vec![2e-6], runs: 3 }, Some(&peak), |_| "noted".into());
        let line = text.lines().last().unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[..8], ["2.0", "µs", "100.0", "%", "50", "%", "0.5", "6.0"], "{text}");
        assert!(line.ends_with("fused(add) [noted]"), "{text}");
        let epilogue = |_| format!("epilogue, {TIMED_ELSEWHERE} product's");
        let text = table(&plan, &Times { seconds: vec![1e-10], runs: 3 }, Some(&peak), epilogue);
        let words: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(words[4..7], ["–", "0.0", "0.0"], "{text}");
        let none = Times { seconds: vec![0.0], runs: 0 };
        assert!(table(&plan, &none, None, |_| String::new()).contains('–'));
    }
}
