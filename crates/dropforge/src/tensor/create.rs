//! Tensors from nothing and from data.

use super::node::{Node, Place, Source, apply, constant, fail, poison};
use super::runtime::Placed;
use super::shapes::IntoShape;
use super::{Element, Tensor};
use dropforge_ir::{Array, DType, Error, Literal, Op, Shape, ValueType};
use std::panic::Location;
use std::sync::Arc;

impl Tensor {
    /// Zeros of f32.
    #[track_caller]
    pub fn zeros(shape: impl IntoShape) -> Tensor {
        Tensor::full(shape, 0.0)
    }

    /// Ones of f32.
    #[track_caller]
    pub fn ones(shape: impl IntoShape) -> Tensor {
        Tensor::full(shape, 1.0)
    }

    /// The same f32 everywhere.
    #[track_caller]
    pub fn full(shape: impl IntoShape, value: f32) -> Tensor {
        constant(Literal::f32(value), None).broadcast_to(shape)
    }

    /// Zeros of the type and shape of another tensor.
    #[track_caller]
    pub fn zeros_like(other: &Tensor) -> Tensor {
        constant(Literal::scalar(other.dtype(), 0.0), Some(other)).broadcast_to(other.shape())
    }

    /// Ones of the type and shape of another tensor.
    #[track_caller]
    pub fn ones_like(other: &Tensor) -> Tensor {
        constant(Literal::scalar(other.dtype(), 1.0), Some(other)).broadcast_to(other.shape())
    }

    /// The integers from `start` up to `stop`, which is left out, as i32; none if `stop` is not above `start`.
    #[doc(alias = "range")]
    #[track_caller]
    pub fn arange(start: i32, stop: i32) -> Tensor {
        let count = usize::try_from(i64::from(stop) - i64::from(start)).unwrap_or(0);
        let counted = apply("arange", Op::Iota { shape: [count].into(), axis: 0 }, &[]);
        if start == 0 { counted } else { counted + start }
    }

    /// `count` numbers at equal distances from `start` to `stop`, both included, as f32.
    #[track_caller]
    pub fn linspace(start: f32, stop: f32, count: usize) -> Tensor {
        let position = apply("linspace", Op::Iota { shape: [count].into(), axis: 0 }, &[]);
        // From both ends, so that rounding spares them, and so that the distance of the ends may leave the range.
        let steps = count.saturating_sub(1).max(1);
        let step = (f64::from(stop) - f64::from(start)) / steps as f64;
        let step = step.clamp(f64::from(-f32::MAX), f64::from(f32::MAX)) as f32;
        let from_start = position.cast(DType::F32) * step + start;
        let whole = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        let to_stop = (-(&position - whole(count.saturating_sub(1)))).cast(DType::F32);
        let from_stop = to_stop * -step + stop;
        Tensor::select(&position.lt(whole((count / 2).max(1))), &from_start, &from_stop)
    }

    /// The identity matrix of f32.
    #[track_caller]
    pub fn eye(size: usize) -> Tensor {
        let row = apply("eye", Op::Iota { shape: [size, size].into(), axis: 0 }, &[]);
        let column = apply("eye", Op::Iota { shape: [size, size].into(), axis: 1 }, &[]);
        row.eq(&column).cast(DType::F32)
    }

    /// Elements in row-major order with their shape. A count that does not fit the shape is an error that the first
    /// call returning a result shows.
    #[doc(alias = "torch.tensor")]
    #[track_caller]
    pub fn from_vec<T: Element>(elements: Vec<T>, shape: impl IntoShape) -> Tensor {
        let (shape, count) = (shape.into_shape(), elements.len());
        match Array::new(shape.clone(), T::into_data(elements)) {
            Some(array) => Tensor::from_array(array),
            None => {
                let message = format!("{shape} has {} elements, got {count}", shape.elements());
                let place = Place::new(None, Location::caller());
                poison(Error::new("from_vec", message), ValueType::new(T::DTYPE, shape), place, None)
            }
        }
    }

    /// A copy of elements in row-major order with their shape. See [`Tensor::from_vec`].
    #[track_caller]
    pub fn from_slice<T: Element>(elements: &[T], shape: impl IntoShape) -> Tensor {
        Tensor::from_vec(elements.to_vec(), shape)
    }

    /// A host array as a tensor, without copying.
    #[track_caller]
    pub fn from_array(array: Array) -> Tensor {
        let place = Place::new(None, Location::caller());
        if let Err(message) = array.shape().check() {
            return poison(Error::new("from_array", message), array.ty(), place, None);
        }
        let node = Node::new(array.ty(), place, Source::Data(Arc::new(array)));
        Tensor { node: Arc::new(node), tag: None }
    }

    /// Elements that lie on a device.
    pub(crate) fn placed(value: Placed, place: Place) -> Tensor {
        let node = Node::new(value.buffer.ty().clone(), place, Source::Placed(value));
        Tensor { node: Arc::new(node), tag: None }
    }

    /// Class indices as rows that are 1 at the index and 0 elsewhere, f32, along a new last axis of `classes`. An index
    /// outside is an error of whatever computes the result.
    #[doc(alias = "F.one_hot")]
    #[track_caller]
    pub fn one_hot(&self, classes: usize) -> Tensor {
        if self.dtype() != DType::I32 {
            return fail("one_hot", format!("indices must be i32, got {}", self.ty()), &[self]);
        }
        let shape: Shape = self.shape().iter().copied().chain([classes]).collect();
        let axis = self.rank();
        let numbers = apply("one_hot", Op::Iota { shape, axis }, &[]);
        self.checked("one_hot", self, classes).unsqueeze(-1).eq(&numbers).cast(DType::F32)
    }
}

/// Numbers in nested arrays: a scalar, `[a, b]`, `[[a, b], [c, d]]`, and so on.
pub trait NestedData {
    /// Type of the numbers.
    type Element: Element;

    /// The extents, outermost first.
    fn extents() -> Vec<usize>;

    /// Appends the numbers in row-major order.
    fn append(&self, elements: &mut Vec<Self::Element>);
}

macro_rules! nested_scalar {
    ($($type:ty),*) => {$(
        impl NestedData for $type {
            type Element = $type;

            fn extents() -> Vec<usize> {
                Vec::new()
            }

            fn append(&self, elements: &mut Vec<$type>) {
                elements.push(*self);
            }
        }
    )*};
}
nested_scalar!(f32, i32, u32, u8, bool);

impl<T: NestedData, const N: usize> NestedData for [T; N] {
    type Element = T::Element;

    fn extents() -> Vec<usize> {
        let mut extents = vec![N];
        extents.extend(T::extents());
        extents
    }

    fn append(&self, elements: &mut Vec<T::Element>) {
        self.iter().for_each(|inner| inner.append(elements));
    }
}

impl<T: NestedData> From<T> for Tensor {
    #[track_caller]
    fn from(data: T) -> Tensor {
        let mut elements = Vec::new();
        data.append(&mut elements);
        Tensor::from_vec(elements, T::extents())
    }
}
