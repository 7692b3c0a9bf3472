//! Devices by name.

use crate::{Error, Result, Runtime};
use dropforge_cpu::CpuDevice;
use dropforge_plan::reference::ReferenceDevice;
use std::sync::Arc;

/// A device of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// What [`open`] calls it.
    pub name: String,
    /// What it is, for people.
    pub description: String,
}

/// Names that [`open`] knows.
const NAMES: [&str; 2] = ["cpu", "reference"];

/// The devices of this machine, the default one first.
///
/// # Errors
/// If a device that should always be there cannot be started.
pub fn list() -> Result<Vec<DeviceInfo>> {
    let info = |name: &str| {
        let runtime = open(name, None)?;
        Ok(DeviceInfo { name: name.into(), description: runtime.device().name() })
    };
    NAMES.into_iter().map(info).collect()
}

/// A runtime on the device of this name: `cpu`, or `reference` for the plain interpreter. `threads` are the CPU's; `None`
/// means all cores.
///
/// # Errors
/// There is no such device, or it does not have so many threads.
pub fn open(name: &str, threads: Option<usize>) -> Result<Runtime> {
    match name {
        "cpu" => match threads {
            None => Ok(Runtime::shared()?),
            Some(threads) => Ok(Runtime::new(Arc::new(CpuDevice::new(threads)?))),
        },
        "reference" => Ok(Runtime::new(Arc::new(ReferenceDevice))),
        _ => Err(Error::new(format!("unknown device `{name}`; known are {}", NAMES.join(", ")))),
    }
}
