//! From programs to executables: the pipeline that every device shares, and what a device is.
//!
//! [`load`] verifies a program, runs the passes, plans it, checks the states and hands the plan to a [`Device`]. The
//! [`Executable`] that comes back checks the arguments of each run and writes listings and profiles; a device carries
//! out plans, and nothing else.

mod binding;
mod device;
mod executable;
mod pipeline;
pub mod profile;
pub mod reference;
pub mod simulate;
mod statistics;

pub use binding::{Arguments, Binding};
pub use device::{Argument, Buffer, BufferRef, Choices, Device, Loaded, own, wrong_size};
pub use executable::Executable;
pub use pipeline::{Options, compile, load, load_with};
pub use statistics::MemoryStatistics;
