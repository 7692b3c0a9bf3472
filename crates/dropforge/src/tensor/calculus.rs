//! Gradients of functions: `grad`, `value_and_grad`, `no_grad`, a check against differences.

use super::gradient::gradients;
use super::node::{apply, fail};
use super::{Generator, Tensor};
use crate::error::{Error, Result};
use dropforge_ir::Op;

/// Tensors in a structure: one, a vector, an array or a tuple of such.
pub trait Tensors: Sized {
    /// The same structure with each tensor replaced, in order.
    #[must_use]
    fn map(&self, replace: &mut dyn FnMut(&Tensor) -> Tensor) -> Self;

    /// All tensors, in order.
    fn list(&self) -> Vec<Tensor> {
        let mut all = Vec::new();
        let _same = self.map(&mut |tensor| {
            all.push(tensor.clone());
            tensor.clone()
        });
        all
    }
}

impl Tensors for Tensor {
    fn map(&self, replace: &mut dyn FnMut(&Tensor) -> Tensor) -> Tensor {
        replace(self)
    }
}

impl<T: Tensors> Tensors for Vec<T> {
    fn map(&self, replace: &mut dyn FnMut(&Tensor) -> Tensor) -> Vec<T> {
        self.iter().map(|part| part.map(replace)).collect()
    }
}

impl<T: Tensors, const N: usize> Tensors for [T; N] {
    fn map(&self, replace: &mut dyn FnMut(&Tensor) -> Tensor) -> [T; N] {
        std::array::from_fn(|place| self[place].map(replace))
    }
}

macro_rules! tensor_tuples {
    ($($name:ident $place:tt),*) => {
        impl<$($name: Tensors),*> Tensors for ($($name,)*) {
            fn map(&self, replace: &mut dyn FnMut(&Tensor) -> Tensor) -> Self {
                ($(self.$place.map(replace),)*)
            }
        }
    };
}
tensor_tuples!(A 0);
tensor_tuples!(A 0, B 1);
tensor_tuples!(A 0, B 1, C 2);
tensor_tuples!(A 0, B 1, C 2, D 3);
tensor_tuples!(A 0, B 1, C 2, D 3, E 4);
tensor_tuples!(A 0, B 1, C 2, D 3, E 4, F 5);

/// The gradient of a function that gives one float, with respect to its arguments, as a function of them.
///
/// It can be taken of its own result: `grad(grad(f))`. Nothing is computed until a result is read.
///
/// ```
/// use dropforge::prelude::*;
/// use dropforge::grad;
///
/// let cube = |x: &Tensor| x * x * x;
/// let x = Tensor::from(2.0);
/// assert_eq!(grad(cube)(&x).item::<f32>()?, 12.0);
/// assert_eq!(grad(grad(cube))(&x).item::<f32>()?, 12.0);
/// let product = |(a, b): &(Tensor, Tensor)| (a * b).sum(..);
/// let (by_a, _) = grad(product)(&(Tensor::from([1.0, 2.0]), Tensor::from([3.0, 4.0])));
/// assert_eq!(by_a.to_vec::<f32>()?, [3.0, 4.0]);
/// # Ok::<(), dropforge::Error>(())
/// ```
///
/// # Errors
/// Shown by the first call that returns a result: if an argument holds no floats, or as for [`gradients`].
pub fn grad<A: Tensors>(function: impl Fn(&A) -> Tensor) -> impl Fn(&A) -> A {
    let both = value_and_grad(function);
    move |arguments| both(arguments).1
}

/// A function that gives one float, together with its gradient: see [`grad`].
///
/// # Errors
/// As for [`grad`].
#[doc(alias = "jax.value_and_grad")]
pub fn value_and_grad<A: Tensors>(function: impl Fn(&A) -> Tensor) -> impl Fn(&A) -> (Tensor, A) {
    move |arguments| {
        let variables = arguments.map(&mut Tensor::variable);
        let value = function(&variables);
        let list = variables.list();
        let mut slopes = gradients(&value, &list.iter().collect::<Vec<_>>()).into_iter();
        let slopes = variables.map(&mut |variable| slopes.next().unwrap_or_else(|| variable.clone()));
        (value, slopes)
    }
}

/// What a function computes, as values through which no gradient flows: PyTorch's `no_grad` around it. Inside,
/// gradients can still be asked for.
///
/// ```
/// use dropforge::prelude::*;
/// use dropforge::no_grad;
///
/// let x = Tensor::from([3.0]).requires_grad();
/// let scale = no_grad(|| 1.0 / &x);
/// (&x * scale).sum(..).backward()?;
/// assert_eq!(x.grad().unwrap().to_vec::<f32>()?, [1.0 / 3.0]);
/// # Ok::<(), dropforge::Error>(())
/// ```
#[doc(alias = "torch.no_grad")]
pub fn no_grad<T: Tensors>(function: impl FnOnce() -> T) -> T {
    function().map(&mut Tensor::detach)
}

/// How gradients are compared with differences: see [`GradientCheck::check`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradientCheck {
    /// How far each element is moved, times its distance from 0 if that is above 1. Default 1e-2.
    pub step: f32,
    /// How much of the larger slope the two may differ. Default 1e-2.
    pub relative: f32,
    /// How much they may differ besides. Default 1e-3.
    pub absolute: f32,
}

impl Default for GradientCheck {
    fn default() -> GradientCheck {
        GradientCheck { step: 1e-2, relative: 1e-2, absolute: 1e-3 }
    }
}

impl GradientCheck {
    /// Compares the gradients of a function with differences of the fourth order between its values near the arguments.
    /// A result of several elements counts as their sum with random weights. Near a kink or a jump the two differ, and
    /// so they do by rounding where values are much larger than slopes.
    ///
    /// # Errors
    /// If they differ: which argument, where, and both slopes. Otherwise the first error of an operation, or the
    /// device's.
    pub fn check<A: Tensors>(&self, function: impl Fn(&A) -> Tensor, arguments: &A) -> Result<()> {
        let scalar = |arguments: &A| {
            let value = function(arguments);
            if value.rank() == 0 {
                return value;
            }
            (Generator::new(1).uniform(value.shape(), 0.5, 1.5) * value).sum(..)
        };
        let slopes = grad(scalar)(arguments).list();
        for (number, (argument, slope)) in arguments.list().iter().zip(slopes).enumerate() {
            let (slope, start) = (slope.to_vec::<f32>()?, argument.to_vec::<f32>()?);
            for place in 0..start.len() {
                let step = self.step * start[place].abs().max(1.0);
                let value = |steps: f32| -> Result<f64> {
                    let mut moved = start.clone();
                    moved[place] += steps * step;
                    let moved = Tensor::from_vec(moved, argument.shape());
                    let mut counted = 0..;
                    let arguments = arguments.map(&mut |tensor| {
                        if counted.next() == Some(number) { moved.clone() } else { tensor.detach() }
                    });
                    Ok(f64::from(scalar(&arguments).item::<f32>()?))
                };
                let (near, far) = (value(1.0)? - value(-1.0)?, value(2.0)? - value(-2.0)?);
                let found = (8.0 * near - far) / (12.0 * f64::from(step));
                let given = f64::from(slope[place]);
                let allowed =
                    f64::from(self.absolute) + f64::from(self.relative) * found.abs().max(given.abs());
                // Written so that NaN fails.
                let is_close = (found - given).abs() <= allowed;
                if !is_close {
                    return Err(Error::program(format!(
                        "the gradient by element {place} of argument {number} is {given}, but differences give {found}"
                    )));
                }
            }
        }
        Ok(())
    }
}

impl Tensor {
    /// The same value as one by which a gradient can be taken, and through which outer ones flow.
    #[track_caller]
    fn variable(&self) -> Tensor {
        if self.node.error().is_some() {
            return self.clone();
        }
        if !self.dtype().is_float() {
            return fail("grad", format!("{} has no gradient; cast it first", self.ty()), &[self]);
        }
        if self.node.tracked || self.node.traced {
            // A node of its own, so that other uses of the value do not count.
            return apply("grad", Op::Reshape { shape: self.shape().clone() }, &[self]);
        }
        self.requires_grad()
    }

    /// As [`Tensor::backward`], from a tensor of any shape with the gradient of something else by it: PyTorch's
    /// `backward(gradient)`.
    ///
    /// # Errors
    /// If the gradient has another shape, or as [`Tensor::backward`].
    #[track_caller]
    pub fn backward_with(&self, gradient: &Tensor) -> Result<()> {
        if self.shape() != gradient.shape() {
            let message =
                format!("the gradient must be {} as the tensor, got {}", self.shape(), gradient.shape());
            return fail("backward_with", message, &[self, gradient]).backward();
        }
        (self * gradient.detach()).sum(..).backward()
    }
}
