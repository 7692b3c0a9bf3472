//! The CUDA device: plans carried out on NVIDIA GPUs, a whole step as one graph.
//!
//! Kernels are printed in WGSL by `dropforge-wgsl`, translated into CUDA C (`translate.rs`), compiled by NVRTC for the
//! GPU at hand, and kept in files of the user's cache folder (`code.rs`). The launches of a program are captured once,
//! as a graph over memory whose addresses do not change; a run copies the inputs there from pinned memory, starts the
//! graph, and copies small outputs back, all on one stream. Nothing waits until somebody reads.
//!
//! Large products go to cuBLASLt where it is found (`cublaslt.rs`, `product.rs`), convolutions to cuDNN (`cudnn.rs`,
//! `convolution.rs`), else to kernels like all others. Attention of halves has kernels of its own (`attention.rs`).
//!
//! A binary with this crate starts everywhere: the driver and the compiler are looked for when a device is opened
//! (`library.rs`), in the places of Python's packages too, and one line says what is missing.

mod attention;
mod buffer;
mod clock;
mod code;
mod connection;
mod convolution;
mod cublaslt;
mod cudnn;
mod device;
mod driver;
mod executable;
mod gpu;
mod library;
mod nvrtc;
mod peak;
mod product;
mod profile;
mod staging;
mod transfer;
mod translate;
mod tune;
mod tuning;
mod words;

pub use attention::{ATTENTION_THREADS, Attention, Operand};
pub use code::{text, with_prelude};
pub use convolution::{TURNING_THREADS, Turn};
pub use cudnn::Element;
pub use device::{CudaDescription, CudaDevice, devices};
pub use dropforge_gpu::LiveBuffer;
pub use dropforge_runtime::MemoryStatistics;
pub use gpu::{limits, printing_of};
pub use nvrtc::Compiler;
pub use translate::{MATRICES, PRELUDE, Translated, translate};
