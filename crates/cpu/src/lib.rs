//! The CPU device of Dropforge: a thread pool, vector kernels, and the executable that chains them.

pub mod conv;
pub mod matmul;
pub mod memory;
pub mod movement;
pub mod pool;
pub mod simd;
