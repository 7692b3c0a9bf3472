//! The text form of plans: what [`Plan`](crate::Plan) prints with `{}` and [`parse`] reads.
//!
//! ```text
//! program p {
//!   %0: f32[6, 5] = input "x"
//!   …
//! }
//! plan, arena 1024, at least 896 {
//!   b0 = %0 in input 0
//!   b1 = %3 in arena 256
//!   call dot b0: f32[6, 5] at 0 by (5, 1), b2: f32[8, 5] at 0 by (5, 1) {lhs_batch=[], …} into b1, for %3
//!   copy b1 to b4
//!   loop o0 o1!, rows 1, columns 0, for %4, epilogue {
//!     r0: f32, r1: f32
//!     each
//!       r0 = load o0: f32 at 0 by (1; )
//!       r1 = relu r0
//!       store o1: f32 at 0 by (1; ) = r1
//!     over (48; ) with b1 b3
//!   }
//! }
//! ```
//!
//! The program comes first, in its own text form. Then come the buffers, each with its value and its place, and the
//! kernels in order. `for` names the first results of the operations that a kernel computes; `epilogue` and
//! `deferrable` are [`Kernel::is_epilogue`](crate::plan::Kernel::is_epilogue) and
//! [`Kernel::is_deferrable`](crate::plan::Kernel::is_deferrable). Positions are an offset and a step along each axis,
//! those of rows and of columns apart; operands with `!` are written. Each stage of a loop begins with `each` (for
//! every element); `reduce` and `row` follow where they are not empty. `over` are the extents and buffers of one
//! instance. What stands behind `//` is a comment. What is printed from a parsed plan is the text it was parsed from,
//! comments aside.

mod parse;
mod print;

pub use parse::parse;
pub use print::{kernels, order, places};

#[cfg(test)]
mod tests;
