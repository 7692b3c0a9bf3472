//! From programs to plans: fusion, the kernel intermediate representation, and where every intermediate lives.
//!
//! This crate does no I/O. It knows devices only by the [`Device`] trait.

pub mod device;
pub mod kernel;
pub mod reference;
mod emit;
mod fuse;
mod memory;
pub mod plan;
mod tuning;
mod view;

pub use device::{Argument, Buffer, BufferRef, Device, Executable};
pub use plan::{Plan, plan};
