//! From programs to plans: fusion, the kernel intermediate representation, and where every intermediate lives.
//!
//! This crate does no I/O. It knows devices only by the [`Device`] trait.

pub mod device;
pub mod kernel;
pub mod reference;

pub use device::{Argument, Buffer, BufferRef, Device, Executable};
