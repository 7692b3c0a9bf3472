//! The CPU device of Dropforge: a thread pool, vector kernels, and the executable that chains them.

pub mod attention;
mod calls;
mod channels;
pub mod conv;
mod device;
mod executable;
mod halves;
mod kernels;
pub mod matmul;
pub mod memory;
pub mod movement;
mod packed;
mod pairs;
mod peak;
pub mod pool;
pub mod pooling;
mod scan;
pub mod simd;
pub mod vecmath;

pub use device::CpuDevice;

pub mod vm;
