//! Tensors: immutable values of a lazy graph, with the operations that make new ones.
//!
//! An operation computes nothing. It makes a node that knows its element type, its shape and the source line that
//! called it. Reading a tensor ([`Tensor::to_vec`], [`Tensor::item`], [`Tensor::backward`]) compiles everything below
//! it into one program, cached by its structure, and runs it. A chain that is never read is computed before it grows
//! beyond a few thousand operations.
//!
//! Operations never fail and never panic. One that does not fit makes a *poisoned* tensor, as do all operations on
//! it; the first call that returns a `Result` reports the first error with operation, shapes, layer and source line.

mod activations;
mod arithmetic;
mod attention;
mod calculus;
pub(crate) mod check;
mod convolve;
mod create;
mod creation;
mod display;
mod einsum;
mod element;
mod functions;
mod gather;
mod generator;
pub(crate) mod gradient;
mod index;
mod indexing;
mod joining;
mod linear;
pub(crate) mod lower;
mod matmul;
mod movement;
pub(crate) mod node;
pub(crate) mod npy;
mod operators;
mod ordering;
mod padding;
mod pooling;
pub(crate) mod probabilities;
mod read;
mod reduction;
mod resize;
pub(crate) mod runtime;
mod scan;
mod shapes;
mod statistics;
mod window;

pub use arithmetic::Operand;
pub use calculus::{GradientCheck, Tensors, grad, no_grad, value_and_grad};
pub use create::NestedData;
pub use element::Element;
pub use generator::Generator;
pub use gradient::gradients;
pub use index::{Ellipsis, Index, IntoIndex, IntoIndices, NewAxis, stepped};
pub use movement::IntoReshape;
pub use padding::PadMode;
pub use runtime::Runtime;
pub use scan::{scan, scan_reverse};
pub use shapes::{Axes, IntoShape};
pub use window::{Conv2d, Pool2d};

pub(crate) use arithmetic::binary;
pub(crate) use convolve::Geometry;
pub(crate) use generator::uniform;
pub(crate) use pooling::Windows;

use dropforge_ir::{DType, Shape, ValueType};
use node::Node;
use std::panic::Location;
use std::sync::Arc;

/// An immutable value: elements of one type in a row-major shape. A cheap handle; clones are the same value.
///
/// ```
/// use dropforge::prelude::*;
///
/// let x = Tensor::from([[1.0, 2.0], [3.0, 4.0]]);
/// let w = Tensor::from([[1.0], [-1.0]]).requires_grad();
/// let loss = (x.matmul(&w) - 1.0).powf(2.0).mean(..);
/// loss.backward()?;
/// assert_eq!(loss.item::<f32>()?, 4.0);
/// assert_eq!(w.grad().unwrap().to_vec::<f32>()?, [-8.0, -12.0]);
/// # Ok::<(), dropforge::Error>(())
/// ```
#[derive(Clone)]
pub struct Tensor {
    pub(crate) node: Arc<Node>,
    /// Where in the network this handle is used; operations inherit it.
    pub(crate) tag: Option<Arc<Tag>>,
}

/// A place in the network, as a handle carries it.
pub(crate) struct Tag {
    /// Dotted layer path.
    pub path: Arc<str>,
    /// The line where the user made the layer, if the layer's own lines are of no use to them.
    pub site: Option<&'static Location<'static>>,
}

impl Tensor {
    /// The extents, outermost first; `[]` for a scalar. On a poisoned tensor, some shape.
    pub fn shape(&self) -> &Shape {
        &self.node.ty.shape
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.node.ty.dtype
    }

    /// Element type and shape.
    pub fn ty(&self) -> &ValueType {
        &self.node.ty
    }

    /// Number of axes.
    #[doc(alias = "ndim")]
    pub fn rank(&self) -> usize {
        self.shape().rank()
    }

    /// Number of elements.
    #[doc(alias = "numel")]
    pub fn elements(&self) -> usize {
        self.shape().elements()
    }

    /// The error that this tensor carries, if it is poisoned.
    pub fn error(&self) -> Option<crate::Error> {
        self.node.error().map(|error| (*error).clone().into())
    }

    /// The same value used at another place in the network.
    pub(crate) fn with_tag(&self, tag: Option<Arc<Tag>>) -> Tensor {
        Tensor { node: self.node.clone(), tag }
    }
}
