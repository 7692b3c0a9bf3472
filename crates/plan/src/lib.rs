//! From programs to plans: fusion, the kernel intermediate representation, and where every intermediate lives.
//!
//! This crate does no I/O. It knows devices only by the [`Device`] trait.

pub mod device;
mod emit;
pub mod explain;
mod fuse;
pub mod kernel;
mod memory;
mod mixed;
pub mod plan;
pub mod profile;
pub mod reference;
pub mod simulate;
mod statistics;
mod tuning;
mod view;

pub use device::{Argument, Buffer, BufferRef, Choices, Device, Executable};
pub use plan::{Plan, plan};
pub use statistics::MemoryStatistics;
