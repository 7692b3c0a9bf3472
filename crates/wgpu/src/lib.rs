//! The portable GPU device: plans carried out in WGSL through `wgpu`, on Vulkan, Metal or DirectX 12.
//!
//! A plan becomes a list of dispatches, each a WGSL shader with its bindings; a run is one command encoder with one
//! compute pass and one submission. Everything that a run touches lies in device memory: states where they were
//! allocated, the rest in memory of the executable. Inputs go up with the submission, small outputs come back with it,
//! and nothing waits until somebody reads.
//!
//! The host runs ahead of the device, by a few steps at most. Each step in flight has staging memory that is mapped
//! ahead (`staging.rs`), into which its inputs are written while the steps before it run. Small outputs are copied to
//! the host with their step, so that a loss that is read a few steps late costs no wait.
//!
//! Buffers are cut from few large chunks of a [heap](dropforge_gpu::Heap) and reused; [`WgpuDevice::memory`] tells what
//! is held, [`WgpuDevice::set_memory_limit`] bounds it, and [`WgpuDevice::live_buffers`] finds what is never let go.
//! What the device refuses is an error value of the call that asked (`faults.rs`). Devices are opened and closed one at
//! a time (`driver.rs`).
//!
//! Products, convolutions and attention have a choice of tiles, which is made by a short timing at first use and kept
//! in the user's cache folder (`tune.rs`). Tiles differ in the order in which sums are formed, and so in rounding;
//! `DROPFORGE_CACHE` names another folder, or, as `off`, pins every choice to a fixed rule. Where the device has
//! cooperative matrices for the types of the factors, tiles of such are among them (`print/cooperative.rs`).
//!
//! Every element takes one 32-bit word on the device, bytes and truth values too, so that neighbours can be written by
//! different threads. Only f16 takes 2 bytes, where shaders have the type and convert to it rightly (`halves.rs`).

mod adapter;
mod buffer;
mod clock;
mod device;
mod driver;
mod executable;
mod faults;
mod gpu;
mod halves;
mod peak;
mod printing;
mod profile;
mod staging;
mod transfer;
mod tune;
mod tuning;
mod words;

use dropforge_wgsl as wgsl;

pub use adapter::{AdapterDescription, Choice, adapters};
pub use device::WgpuDevice;
pub use dropforge_gpu::LiveBuffer;
pub use dropforge_runtime::MemoryStatistics;
pub use dropforge_wgsl::{ShaderDispatch, ShaderPlace, Shaders, shaders, shaders_with};
pub use printing::{Limits, Matrices, MatrixUse, Printing, limits_of};
