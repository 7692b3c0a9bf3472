//! Which GPUs there are, and which one is taken.

use crate::driver::Turn;
use crate::gpu::block_on;
use dropforge_ir::{Error, Result};

/// Which adapter a [`crate::WgpuDevice`] opens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The first real GPU, discrete ones first; a software renderer only where there is no GPU.
    #[default]
    Best,
    /// A software renderer, for tests.
    Software,
    /// The adapter at this position of [`adapters`].
    Number(usize),
}

/// What is known of an adapter without opening it.
#[derive(Clone, Debug)]
pub struct AdapterDescription {
    /// Name by the driver, such as `NVIDIA H200`.
    pub name: String,
    /// Vulkan, Metal or Dx12.
    pub backend: String,
    /// Discrete, integrated, virtual, software or other.
    pub kind: String,
    /// Driver and its version, if it says.
    pub driver: String,
    /// Bytes of memory near the GPU, where the driver says (Vulkan).
    pub memory: Option<u64>,
    /// Most bytes of one buffer.
    pub largest_buffer: u64,
    /// Most bytes that a kernel sees of one buffer.
    pub largest_binding: u64,
    /// Bytes of workgroup memory.
    pub workgroup_memory: u32,
    /// Lanes that run in lockstep: fewest and most.
    pub subgroup: (u32, u32),
    /// What kernels could use, by name.
    pub features: Vec<&'static str>,
    /// Whether it computes on the CPU.
    pub is_software: bool,
}

fn all(turn: &Turn) -> Vec<wgpu::Adapter> {
    let mut adapters = block_on(turn.instance().enumerate_adapters(wgpu::Backends::all()));
    adapters.sort_by_key(|adapter| rank(adapter.get_info().device_type));
    adapters
}

fn rank(kind: wgpu::DeviceType) -> u32 {
    match kind {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    }
}

/// Bytes of the heaps that lie near the GPU. `wgpu` has no such question, so Vulkan is asked directly.
#[cfg(not(target_vendor = "apple"))]
fn memory(adapter: &wgpu::Adapter) -> Option<u64> {
    /// `VK_MEMORY_HEAP_DEVICE_LOCAL_BIT`
    const DEVICE_LOCAL: u32 = 1;
    // SAFETY: what is lent is only read, and given back before this returns; the adapter outlives it.
    let own = unsafe { adapter.as_hal::<wgpu::hal::api::Vulkan>() }?;
    let instance = own.shared_instance().raw_instance();
    // SAFETY: the physical device comes from this very instance, which the adapter keeps alive.
    let properties = unsafe { instance.get_physical_device_memory_properties(own.raw_physical_device()) };
    let heaps = properties.memory_heaps_as_slice();
    Some(heaps.iter().filter(|heap| heap.flags.as_raw() & DEVICE_LOCAL != 0).map(|heap| heap.size).sum())
}

#[cfg(target_vendor = "apple")]
fn memory(_adapter: &wgpu::Adapter) -> Option<u64> {
    None
}

fn describe(adapter: &wgpu::Adapter) -> AdapterDescription {
    let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
    let known = [
        (wgpu::Features::SHADER_F16, "f16"),
        (wgpu::Features::SUBGROUP, "subgroups"),
        (wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES, "timestamps"),
        (wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX, "cooperative matrices"),
    ];
    AdapterDescription {
        backend: format!("{:?}", info.backend),
        kind: match info.device_type {
            wgpu::DeviceType::DiscreteGpu => "discrete",
            wgpu::DeviceType::IntegratedGpu => "integrated",
            wgpu::DeviceType::VirtualGpu => "virtual",
            wgpu::DeviceType::Cpu => "software",
            wgpu::DeviceType::Other => "other",
        }
        .into(),
        driver: [info.driver.as_str(), info.driver_info.as_str()].join(" ").trim().to_string(),
        memory: memory(adapter),
        largest_buffer: limits.max_buffer_size,
        largest_binding: limits.max_storage_buffer_binding_size,
        workgroup_memory: limits.max_compute_workgroup_storage_size,
        subgroup: (info.subgroup_min_size, info.subgroup_max_size),
        features: known.iter().filter(|(flag, _)| features.contains(*flag)).map(|(_, name)| *name).collect(),
        is_software: info.device_type == wgpu::DeviceType::Cpu,
        name: info.name,
    }
}

/// The GPUs of this machine, the best first; software renderers come last.
pub fn adapters() -> Vec<AdapterDescription> {
    let turn = Turn::take();
    all(&turn).iter().map(describe).collect()
}

/// The adapter that a choice means.
pub(crate) fn choose(turn: &Turn, choice: Choice) -> Result<wgpu::Adapter> {
    let mut found = all(turn);
    let is_software = |adapter: &wgpu::Adapter| adapter.get_info().device_type == wgpu::DeviceType::Cpu;
    let position = match choice {
        Choice::Best => (!found.is_empty()).then_some(0),
        Choice::Software => found.iter().position(is_software),
        Choice::Number(number) => (number < found.len()).then_some(number),
    };
    match position {
        Some(position) => Ok(found.swap_remove(position)),
        None => Err(Error::new("device", missing(choice, found.len()))),
    }
}

fn missing(choice: Choice, count: usize) -> String {
    let advice =
        "install a driver for Vulkan, Metal or DirectX 12 (on Linux without a GPU: mesa-vulkan-drivers)";
    match choice {
        Choice::Best => format!("no GPU was found; {advice}"),
        Choice::Software => format!("no software renderer was found among {count} adapters; {advice}"),
        Choice::Number(number) => format!("there is no GPU number {number}, only {count} were found"),
    }
}
