//! Functions of many elements at once: what the block machine computes with.
//!
//! Every function is written once over `lanes::Lanes` and compiled for each instruction set; the errors are below
//! two and a half units in the last place (of powers: four) over the whole range, infinities, zeros and NaN included.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod block;
pub(crate) mod functions;
pub(crate) mod half;
pub(crate) mod lanes;
pub(crate) mod operations;
mod portable;
#[cfg(test)]
mod tests;
pub(crate) mod update;

use crate::simd::Level;
use dropforge_ir::{DType, UnaryKind};

/// Computes a function of f32 for each element. Panics if the lengths differ or the function is none of f32 (`Not`).
pub fn map(kind: UnaryKind, level: Level, x: &[f32], to: &mut [f32]) {
    assert_eq!(x.len(), to.len(), "as many results as arguments");
    assert_ne!(kind, UnaryKind::Not, "not is a function of truth values");
    let function = operations::unary(kind, DType::F32, level);
    // SAFETY: both slices have the length; a level exists only on machines that have its instructions.
    unsafe {
        function(to.as_mut_ptr().cast(), x.as_ptr().cast(), std::ptr::null(), std::ptr::null(), x.len())
    }
}
