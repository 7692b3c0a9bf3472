//! Train neural networks where a whole training step is one compiled program.

mod error;
pub mod models;
mod tensor;
pub mod train;

pub use error::{Error, Result};
pub use tensor::{
    Axes, Conv2d, Element, Generator, IntoReshape, IntoShape, NestedData, Operand, Pool2d, Runtime, Tensor,
    gradients,
};

pub use dropforge_ir::{Array, DType, Data, Shape, ValueType};

/// Everything that most programs need.
pub mod prelude {
    pub use crate::{DType, Error, Generator, Result, Tensor};
}
