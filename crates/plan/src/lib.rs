//! From programs to plans: fusion, the kernel intermediate representation, and where every intermediate lives.
//!
//! This crate does no I/O and knows no device.

mod emit;
pub mod explain;
mod fuse;
pub mod kernel;
mod memory;
mod mixed;
pub mod plan;
pub mod text;
mod topology;
mod tuning;
pub mod verify;
mod view;

pub use plan::{Plan, plan};
