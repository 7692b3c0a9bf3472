//! Reading tensors back, which computes them.

use super::node::Source;
use super::runtime::Runtime;
use super::{Element, Tensor};
use crate::error::Result;
use dropforge_ir::{Array, Error};
use dropforge_runtime::BufferRef;
use std::panic::Location;

impl Tensor {
    /// The elements on the host, with shape and type.
    ///
    /// # Errors
    /// The first error of an operation below, or the device's.
    pub fn to_array(&self) -> Result<Array> {
        match self.node.source() {
            Source::Data(array) => Ok((*array).clone()),
            _ => Ok(self.buffer()?.read()?),
        }
    }

    /// The elements in row-major order.
    ///
    /// # Errors
    /// If the tensor has another element type than `T`, or as [`Tensor::to_array`].
    #[doc(alias = "tolist")]
    #[track_caller]
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        let location = Location::caller();
        let array = self.to_array()?;
        T::from_data(array.data()).ok_or_else(|| {
            let message = format!("the elements are {}, not {}; cast first", self.dtype(), T::DTYPE);
            self.error_at("to_vec", message, location)
        })
    }

    /// The only element.
    ///
    /// # Errors
    /// If there is more than one element or none, or as [`Tensor::to_vec`].
    #[track_caller]
    pub fn item<T: Element>(&self) -> Result<T> {
        let location = Location::caller();
        if self.error().is_none() && self.elements() != 1 {
            let message = format!("there must be one element, the shape is {}", self.shape());
            return Err(self.error_at("item", message, location));
        }
        let elements = self.to_vec::<T>()?;
        elements.first().copied().ok_or_else(|| self.error_at("item", "there is no element".into(), location))
    }

    /// Computes the tensor now and keeps its elements, so that later reads and operations start from there.
    ///
    /// # Errors
    /// As [`Tensor::to_array`].
    pub fn evaluate(&self) -> Result<()> {
        Ok(Runtime::evaluate_somewhere(&[self])?)
    }

    /// The same elements on the device of `runtime`; what is computed from them is computed there. The history stays
    /// behind, as after [`Tensor::detach`].
    ///
    /// # Errors
    /// As [`Tensor::to_array`].
    #[track_caller]
    pub fn to(&self, runtime: &Runtime) -> Result<Tensor> {
        let placed = runtime.place(&self.to_array()?)?;
        let origin = super::node::Place::new(self.tag.as_deref(), Location::caller());
        let node = super::node::Node::new(self.ty().clone(), origin, Source::Placed(placed));
        Ok(Tensor { node: std::sync::Arc::new(node), tag: self.tag.clone() })
    }

    fn buffer(&self) -> std::result::Result<BufferRef, Error> {
        Runtime::evaluate_somewhere(&[self])?;
        match self.node.placed() {
            Some(placed) => Ok(placed.buffer),
            None => Err(Error::new("read", "the value was not computed")),
        }
    }

    fn error_at(&self, name: &str, message: String, location: &'static Location<'static>) -> crate::Error {
        let place = super::node::Place::new(self.tag.as_deref(), location);
        Error::new(name, message).at(&place.origin()).into()
    }
}
