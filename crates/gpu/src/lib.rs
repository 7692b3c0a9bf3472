//! What all GPU devices share, whatever language their kernels are printed in and whoever launches them.
//!
//! A device brings a [`Backend`], which gets memory from its driver, and what only it can know: how kernels are
//! printed, launched and timed. Here stand the heap that buffers are cut from ([`Heap`], [`Piece`]), where the values
//! of a plan lie ([`Layout`]), which kernels run as the epilogue of the one before ([`epilogue`]), which of several
//! kernels is fastest ([`tune`]), the steps in flight ([`Ring`]), and how the peak is measured ([`peak`]). Nothing in
//! here talks to a driver.

mod backend;
mod blocks;
pub mod epilogue;
mod heap;
mod layout;
mod live;
pub mod peak;
mod ring;
pub mod tune;
pub mod tuning;

pub use backend::{Backend, lock};
pub use heap::{Heap, OwnMemory, Piece};
pub use layout::{Layout, Spot, Width, aligned, stored_bytes};
pub use live::{LiveBuffer, leaks};
pub use ring::{InFlight, Ring};
