//! The intermediate representation of Dropforge.
//!
//! A [`Program`] is a whole step: inputs, states that are read, values in the order they are computed, states that
//! are written once at the end, and outputs. Everything that is known about an operation stands in one table each:
//! its name and attributes in [`Op`], its shape rule in [`infer`], its gradient rule in [`gradient`], its meaning in
//! [`interpret`].
//!
//! This crate does no I/O and knows no device.

pub mod array;
mod attribute;
mod body;
pub mod error;
pub mod gradient;
mod half;
pub mod interpret;
pub mod op;
pub mod passes;
pub mod program;
pub mod quick_hash;
pub mod random;
mod rows;
mod shape_rule;
mod small_list;
pub mod text;
pub mod types;
pub mod verify;

pub use array::{Array, Data};
pub use body::Body;
pub use error::{Error, Result};
pub use half::{BF16, F16};
pub use op::{BinaryKind, CompareKind, ConvolutionWindow, Op, PoolWindow, ReduceKind, UnaryKind};
pub use program::{Node, NodeId, Origin, Program, Value, Values};
pub use rows::Rows;
pub use shape_rule::infer;
pub use small_list::SmallList;
pub use types::{DType, Literal, Real, Shape, ValueType};
