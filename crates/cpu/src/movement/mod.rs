//! Kernels that move elements without computing: strided copies (and through them permute, flip, slice, broadcast),
//! padding, concatenation, picking slices by index, and its transpose, which adds; sorting and running sums.

mod copy;
mod gather;
mod join;
mod scan;
#[cfg(test)]
mod tests;
mod transpose;

pub use copy::StridedCopy;
pub use gather::{IndexedShape, gather, scatter_add};
pub use join::{Padding, concat, pad};
pub use scan::{argsort, cumulative_sum};

/// What tensors are made of, to a kernel that only moves it: bytes (bool), halves of two or words of four bytes.
pub trait Element: Copy + Default + Send + Sync + PartialEq + private::Sealed {}

mod private {
    pub trait Sealed {}
}

macro_rules! elements {
    ($($type:ty)*) => { $(impl private::Sealed for $type {} impl Element for $type {})* };
}
elements!(u8 u16 f32 i32 u32);

/// Elements below which a thread more does not pay.
const GRAIN: usize = 8 << 10;
