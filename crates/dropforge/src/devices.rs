//! Devices by name.
//!
//! | name | what |
//! |---|---|
//! | `cpu` | the CPU, with as many threads as one asks for |
//! | `gpu` | the first real GPU; a software renderer where there is none. With the feature `gpu` |
//! | `gpu:N` | the GPU at position N of [`list`], from 0 on. With the feature `gpu` |
//! | `auto` | the first real GPU if the feature `gpu` is on and there is one, else the CPU |
//! | `reference` | the plain interpreter: slow, and right |

use crate::{Error, Result, Runtime};
use dropforge_cpu::CpuDevice;
use dropforge_runtime::Device;
use dropforge_runtime::reference::ReferenceDevice;
use std::sync::Arc;

/// A device of this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceInfo {
    /// What [`open`] calls it.
    pub name: String,
    /// What it is, for people.
    pub description: String,
    /// Bytes of its memory, where that is known.
    pub memory: Option<u64>,
    /// What it cannot exceed, by name.
    pub limits: Vec<(&'static str, u64)>,
    /// What it can do beyond what every device can.
    pub features: Vec<&'static str>,
}

/// The devices of this machine, the default one first.
///
/// # Errors
/// If a device that should always be there cannot be started.
pub fn list() -> Result<Vec<DeviceInfo>> {
    let mut devices = vec![DeviceInfo {
        name: "cpu".into(),
        description: Runtime::shared()?.device().name(),
        memory: host_memory(),
        ..DeviceInfo::default()
    }];
    devices.extend(gpu::list());
    devices.push(DeviceInfo {
        name: "reference".into(),
        description: ReferenceDevice.name(),
        memory: host_memory(),
        ..DeviceInfo::default()
    });
    Ok(devices)
}

/// A runtime on the device of this name; the table above lists them. `threads` are the CPU's; `None` means all cores.
///
/// # Errors
/// There is no such device, or it does not have so many threads.
pub fn open(name: &str, threads: Option<usize>) -> Result<Runtime> {
    match name.split_once(':').map_or((name, None), |(kind, which)| (kind, Some(which))) {
        ("cpu", None) => cpu(threads),
        ("auto", None) => match gpu::real()? {
            Some(device) => Ok(Runtime::new(device)),
            None => cpu(threads),
        },
        ("gpu", which) => Ok(Runtime::new(gpu::open(which)?)),
        ("reference", None) => Ok(Runtime::new(Arc::new(ReferenceDevice))),
        _ => Err(Error::new(format!(
            "unknown device `{name}`; known are cpu, gpu, gpu:NUMBER, auto, reference"
        ))),
    }
}

fn cpu(threads: Option<usize>) -> Result<Runtime> {
    match threads {
        None => Ok(Runtime::shared()?),
        Some(threads) => Ok(Runtime::new(Arc::new(CpuDevice::new(threads)?))),
    }
}

/// Bytes of this machine's memory, where the system says so in a file (Linux).
pub(crate) fn host_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(feature = "gpu")]
mod gpu {
    use super::DeviceInfo;
    use crate::{Error, Result};
    use dropforge_runtime::Device;
    use dropforge_wgpu::{Choice, WgpuDevice, adapters};
    use std::sync::Arc;

    pub fn list() -> Vec<DeviceInfo> {
        let describe = |(number, adapter): (usize, dropforge_wgpu::AdapterDescription)| DeviceInfo {
            name: format!("gpu:{number}"),
            description: format!(
                "{} ({}, {}, {})",
                adapter.name, adapter.backend, adapter.kind, adapter.driver
            ),
            memory: adapter.memory,
            limits: vec![
                ("bytes of a buffer", adapter.largest_buffer),
                ("bytes of a binding", adapter.largest_binding),
                ("bytes of workgroup memory", adapter.workgroup_memory.into()),
                ("least subgroup", adapter.subgroup.0.into()),
                ("largest subgroup", adapter.subgroup.1.into()),
            ],
            features: adapter.features,
        };
        adapters().into_iter().enumerate().map(describe).collect()
    }

    pub fn open(which: Option<&str>) -> Result<Arc<dyn Device>> {
        let choice = match which {
            None => Choice::Best,
            Some(number) => Choice::Number(
                number
                    .parse()
                    .map_err(|_| Error::new(format!("`gpu:{number}`: a GPU has a number, such as gpu:0")))?,
            ),
        };
        Ok(Arc::new(WgpuDevice::new(choice)?))
    }

    /// The first GPU that is not a program.
    pub fn real() -> Result<Option<Arc<dyn Device>>> {
        match adapters().iter().position(|adapter| !adapter.is_software) {
            Some(number) => Ok(Some(Arc::new(WgpuDevice::new(Choice::Number(number))?))),
            None => Ok(None),
        }
    }
}

#[cfg(not(feature = "gpu"))]
mod gpu {
    use super::DeviceInfo;
    use crate::{Error, Result};
    use dropforge_runtime::Device;
    use std::sync::Arc;

    pub fn list() -> Vec<DeviceInfo> {
        Vec::new()
    }

    pub fn open(_which: Option<&str>) -> Result<Arc<dyn Device>> {
        Err(Error::new(
            "this build has no GPU: build with `--features gpu` (`cargo run --release --features gpu -- …`; in a \
             Cargo.toml `dropforge = { features = [\"gpu\"] }`), or take `--device cpu`",
        ))
    }

    pub fn real() -> Result<Option<Arc<dyn Device>>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listed_opens_under_its_name() {
        for device in list().unwrap() {
            let runtime = open(&device.name, None).unwrap();
            assert!(!runtime.device().name().is_empty());
        }
        assert!(open("auto", Some(1)).is_ok());
    }

    #[test]
    fn wrong_names_say_what_there_is() {
        for name in ["tpu", "cpu:1", "reference:0", ""] {
            let error = open(name, None).err().unwrap().to_string();
            assert!(error.contains("unknown device") && error.contains("auto"), "{error}");
        }
    }

    #[cfg(not(feature = "gpu"))]
    #[test]
    fn without_the_feature_the_error_says_how_to_get_it() {
        for name in ["gpu", "gpu:0"] {
            let error = open(name, None).err().unwrap().to_string();
            assert!(error.contains("--features gpu"), "{error}");
        }
    }

    #[cfg(feature = "gpu")]
    #[test]
    fn gpus_have_numbers() {
        let error = open("gpu:first", None).err().unwrap().to_string();
        assert!(error.contains("gpu:0"), "{error}");
        let error = open("gpu:77", None).err().unwrap().to_string();
        assert!(error.contains("77"), "{error}");
    }
}
