//! The device that a command computes on.

use crate::args::Machine;
use crate::output::Outcome;
use crate::output::{line, note};
use dropforge::run::{Trained, config_of};
use dropforge::step::Precision;
use dropforge::{MemoryStatistics, Runtime, devices};
use serde_json::json;
use std::path::Path;

/// Used unless another device is named.
pub const DEFAULT: &str = "cpu";

/// The device that is asked for, or `usual`.
pub fn open(machine: &Machine, usual: &str) -> Outcome<Runtime> {
    let name = machine.device.as_deref().unwrap_or(usual);
    let runtime = devices::open(name, machine.threads.map(|threads| threads as usize))?;
    if machine.memory_limit.is_some() {
        runtime.limit_memory(machine.memory_limit)?;
    }
    Ok(runtime)
}

/// The device for a run: the one that is asked for, or the one that the run was started on.
pub fn of_run(machine: &Machine, run: &Path) -> Outcome<Runtime> {
    let config = config_of(run)?;
    open(machine, config.as_ref().map_or(DEFAULT, |config| config.device.as_str()))
}

/// What a precision is on this device; says so, and why, if it was left to the device.
pub fn chosen(precision: Precision, runtime: &Runtime) -> Precision {
    let (chosen, why) = precision.on(runtime);
    if let Some(why) = why {
        note(&format!("precision {chosen}: {why}"));
    }
    chosen
}

/// A run on the device for it: its last weights, or its best.
pub fn open_run(machine: &Machine, run: &Path, best: bool) -> Outcome<Trained> {
    let runtime = of_run(machine, run)?;
    Ok(if best { Trained::open_best(run, &runtime)? } else { Trained::open(run, &runtime)? })
}

/// Prints what a device has told of its memory, if it does.
pub fn print_memory(json: bool, memory: Option<MemoryStatistics>) -> Outcome {
    match memory {
        None => Ok(()),
        Some(memory) if json => line(json!({
            "event": "memory", "held_bytes": memory.held(), "peak_held_bytes": memory.peak_held,
            "buffers": memory.buffers, "in_use_bytes": memory.in_use, "peak_bytes": memory.peak,
            "cached_bytes": memory.cached, "executables_bytes": memory.executables, "limit_bytes": memory.limit,
            "fragmentation": memory.fragmentation(), "hit_rate": memory.hit_rate(),
        })),
        Some(memory) => line(format_args!("device memory: {memory}")),
    }
}
