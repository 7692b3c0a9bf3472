//! The portable GPU device: plans carried out in WGSL through `wgpu`, on Vulkan, Metal or DirectX 12.
//!
//! A plan becomes a list of dispatches, each a WGSL shader with its bindings; a run is one command encoder with one
//! compute pass and one submission. Everything that a run touches lies in device memory: states where they were allocated,
//! the rest in memory of the executable. Inputs go up with the submission, small outputs come back with it, and nothing
//! waits until somebody reads.
//!
//! Every element takes one 32-bit word on the device, bytes and truth values too, so that neighbours can be written by
//! different threads.

mod adapter;
mod buffer;
mod device;
mod executable;
mod gpu;
mod heap;
mod layout;
mod profile;
mod shaders;
mod tuning;
mod wgsl;
mod words;

pub use adapter::{AdapterDescription, Choice, adapters};
pub use device::WgpuDevice;
pub use heap::HeapStatistics;
pub use shaders::{ShaderDispatch, ShaderPlace, Shaders, shaders};
