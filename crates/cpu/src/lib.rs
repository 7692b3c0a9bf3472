//! The CPU device of Dropforge: a thread pool, vector kernels, and the executable that chains them.

pub mod pool;
