//! The kernels of a plan as text: loop kernels, products, convolutions, attention, pooling and data movement, printed
//! in WGSL.
//!
//! WGSL is the text that GPU devices start from. `dropforge-wgpu` hands it to `wgpu` as it is; `dropforge-cuda`
//! translates it into CUDA C, whose expressions are the same. Nothing in here talks to a driver: printers are given
//! [`Limits`] and [`Printing`], what a device has and what suits it, and [`shaders`] prints a whole program where there
//! is no device at all.
//!
//! [`print()`] prints one kernel of a plan; where there is a choice of tiles, a [`Tunable`] says among what, and a
//! [`Pick`] is one. Every element takes one 32-bit word, bytes and truth values too, so that neighbours can be written
//! by different threads; halves take 2 bytes where shaders have the type ([`words`]).

mod limits;
mod print;
mod printing;
mod shaders;
pub mod tuning;
pub mod words;

pub use limits::{Limits, check};
pub use print::{
    BufferId, Dispatch, Epilogue, Kind, Means, Pick, Printed, Tunable, Where, epilogue, peak, print,
    there_and_back, tunable,
};
pub use printing::{Matrices, MatrixUse, Printing};
pub use shaders::{ShaderDispatch, ShaderPlace, Shaders, shaders, shaders_with};
