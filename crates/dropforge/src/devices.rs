//! Devices by name.
//!
//! | name | what |
//! |---|---|
//! | `cpu` | the CPU, with as many threads as one asks for |
//! | `gpu` | the first real GPU; a software renderer where there is none. With the feature `gpu` |
//! | `gpu:N` | the GPU at position N of [`list`], from 0 on. With the feature `gpu` |
//! | `cuda` | the first NVIDIA GPU, through its driver. With the feature `cuda` |
//! | `cuda:N` | the NVIDIA GPU at this position of the driver's list, from 0 on. With the feature `cuda` |
//! | `auto` | the first that there is, and that this build has: an NVIDIA GPU, another real GPU, the CPU |
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
    devices.extend(cuda::list());
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
        ("auto", None) => match cuda::first()?.map_or_else(gpu::real, |device| Ok(Some(device)))? {
            Some(device) => Ok(Runtime::new(device)),
            None => cpu(threads),
        },
        ("cuda", which) => Ok(Runtime::new(cuda::open(which)?)),
        ("gpu", which) => Ok(Runtime::new(gpu::open(which)?)),
        ("reference", None) => Ok(Runtime::new(Arc::new(ReferenceDevice))),
        _ => Err(Error::setting(format!(
            "unknown device `{name}`; known are cpu, gpu, gpu:NUMBER, cuda, cuda:NUMBER, auto, reference"
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
        let choice =
            match which {
                None => Choice::Best,
                Some(number) => Choice::Number(number.parse().map_err(|_| {
                    Error::setting(format!("`gpu:{number}`: a GPU has a number, such as gpu:0"))
                })?),
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
        Err(Error::setting(
            "this build has no GPU: build with `--features gpu` (`cargo run --release --features gpu -- …`; in a \
             Cargo.toml `dropforge = { features = [\"gpu\"] }`), or take `--device cpu`",
        ))
    }

    pub fn real() -> Result<Option<Arc<dyn Device>>> {
        Ok(None)
    }
}

#[cfg(feature = "cuda")]
mod cuda {
    use super::DeviceInfo;
    use crate::{Error, Result};
    use dropforge_cuda::{CudaDescription, CudaDevice, devices};
    use dropforge_runtime::Device;
    use std::sync::Arc;

    /// Nothing where there is no driver.
    pub fn list() -> Vec<DeviceInfo> {
        let describe = |(number, gpu): (usize, CudaDescription)| {
            let (capability, driver) = (gpu.capability, gpu.driver);
            DeviceInfo {
                name: format!("cuda:{number}"),
                description: format!("{} (CUDA {}.{})", gpu.name, driver.0, driver.1),
                memory: Some(gpu.memory),
                limits: vec![
                    ("compute capability, tenths", u64::from(capability.0 * 10 + capability.1)),
                    ("multiprocessors", gpu.multiprocessors.into()),
                ],
                features: Vec::new(),
            }
        };
        devices().unwrap_or_default().into_iter().enumerate().map(describe).collect()
    }

    pub fn open(which: Option<&str>) -> Result<Arc<dyn Device>> {
        let position = match which {
            None => 0,
            Some(number) => number.parse().map_err(|_| {
                Error::setting(format!("`cuda:{number}`: a GPU has a number, such as cuda:0"))
            })?,
        };
        Ok(Arc::new(CudaDevice::new(position)?))
    }

    /// The first one, if there is a driver that lists one.
    pub fn first() -> Result<Option<Arc<dyn Device>>> {
        match devices() {
            Ok(found) if !found.is_empty() => open(None).map(Some),
            _ => Ok(None),
        }
    }
}

#[cfg(not(feature = "cuda"))]
mod cuda {
    use super::DeviceInfo;
    use crate::{Error, Result};
    use dropforge_runtime::Device;
    use std::sync::Arc;

    pub fn list() -> Vec<DeviceInfo> {
        Vec::new()
    }

    pub fn open(_which: Option<&str>) -> Result<Arc<dyn Device>> {
        Err(Error::setting(
            "this build has no CUDA: build with `--features cuda` (`cargo run --release --features cuda -- …`; in a \
             Cargo.toml `dropforge = { features = [\"cuda\"] }`), or take `--device cpu`",
        ))
    }

    pub fn first() -> Result<Option<Arc<dyn Device>>> {
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

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn without_cuda_the_error_says_how_to_get_it() {
        for name in ["cuda", "cuda:0"] {
            let error = open(name, None).err().unwrap().to_string();
            assert!(error.contains("--features cuda"), "{error}");
        }
    }
}
