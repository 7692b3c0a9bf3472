//! The text form of programs: what [`Program`](crate::Program) prints with `{}` and [`parse`] reads.
//!
//! ```text
//! program lenet {
//!   %0: f32[128, 784] = input "x"
//!   %1: f32[784, 512] = state "fc1.weight"
//!   %2: f32[] = hyper "rate"
//!   %3: i32[3] = constant [1, -2, 3]
//!   %4: f32[128, 512] = dot %0, %1 {lhs_batch=[], rhs_batch=[], lhs_contract=[1], rhs_contract=[0]}  // in fc1 (model.rs:42)
//!   %5: f32[512], %6: f32[512] = mean_variance %4 {axes=[0]}
//!   write "fc1.weight" = %1
//!   output "mean" = %5
//! }
//! ```
//!
//! One statement a line, values numbered from 0 in the order in which they are made. The type of a result is checked
//! against the shape rule, or may be left out (`%5 = relu %4`) except for inputs, states and constants. What stands
//! behind `//` is a comment: the origin of a node is printed there and not read back. Constants are exact: floats print
//! with the fewest digits that read back as the same number; a NaN whose bits matter prints as `nan:0x7fc00001`.
//! Names stand in double quotes with the escapes of Rust; the program's name may go without if it is plain.
//! What is printed from a parsed program is the text it was parsed from, comments aside.

mod line;
mod parse;
mod print;
mod template;

pub use line::{Line, Parsed};
pub use parse::parse;
pub use template::Template;

#[cfg(test)]
mod tests;
