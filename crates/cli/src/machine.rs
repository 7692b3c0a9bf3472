//! The device that a command computes on.

use crate::args::Machine;
use crate::output::Outcome;
use dropforge::{Runtime, devices};

/// Used unless another device is named.
pub const DEFAULT: &str = "cpu";

/// The device that is asked for, or `usual`.
pub fn open(machine: &Machine, usual: &str) -> Outcome<Runtime> {
    let name = machine.device.as_deref().unwrap_or(usual);
    Ok(devices::open(name, machine.threads.map(|threads| threads as usize))?)
}
