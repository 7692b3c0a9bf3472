//! `grad`, `value_and_grad`, `no_grad`, `backward_with` and the check of gradients.

use crate::compare::assert_close;
use dropforge::prelude::*;
use dropforge::{GradientCheck, grad, gradients, no_grad, value_and_grad};

fn cube(x: &Tensor) -> Tensor {
    x.powf(3.0).sum(..)
}

#[test]
fn gradients_of_functions() {
    let x = Tensor::from([1.0, 2.0]);
    let (value, slope) = value_and_grad(cube)(&x);
    assert_eq!(value.item::<f32>().unwrap(), 9.0);
    assert_close("slope", &slope.to_vec().unwrap(), &[3.0, 12.0], 1e-6);
    let second = grad(|x: &Tensor| grad(cube)(x).sum(..));
    assert_close("second", &second(&x).to_vec().unwrap(), &[6.0, 12.0], 1e-6);
    let third = grad(|x: &Tensor| second(x).sum(..));
    assert_close("third", &third(&x).to_vec().unwrap(), &[6.0, 6.0], 1e-6);
}

#[test]
fn what_a_function_captures_is_no_argument() {
    let x = Tensor::from([3.0]).requires_grad();
    let slope = grad(|y: &Tensor| (&x * y).sum(..))(&x);
    assert_eq!(slope.to_vec::<f32>().unwrap(), [3.0]);
    // The gradient goes on to what the argument was computed from.
    slope.sum(..).backward().unwrap();
    assert_eq!(x.grad().unwrap().to_vec::<f32>().unwrap(), [1.0]);
}

#[test]
fn structures_of_arguments() {
    let parameters = (vec![Tensor::from([1.0, 2.0]), Tensor::from([3.0, 4.0])], [Tensor::from([5.0, 6.0])]);
    let (slopes, [last]) =
        grad(|(a, b): &(Vec<Tensor>, [Tensor; 1])| (&a[0] * &a[1] * &b[0]).sum(..))(&parameters);
    assert_eq!(slopes[0].to_vec::<f32>().unwrap(), [15.0, 24.0]);
    assert_eq!(slopes[1].to_vec::<f32>().unwrap(), [5.0, 12.0]);
    assert_eq!(last.to_vec::<f32>().unwrap(), [3.0, 8.0]);
    let error = grad(|x: &Tensor| x.sum(..))(&Tensor::from([1])).to_vec::<f32>().unwrap_err().to_string();
    assert!(error.starts_with("grad: i32[1] has no gradient; cast it first"), "{error}");
}

#[test]
fn no_gradient_leaves_no_grad() {
    let x = Tensor::from([2.0]).requires_grad();
    let (square, scaled) = no_grad(|| (&x * &x, &x * 5.0));
    ((square + scaled) * &x).sum(..).backward().unwrap();
    assert_eq!(x.grad().unwrap().to_vec::<f32>().unwrap(), [14.0]);
    let nothing = no_grad(|| &x * 2.0).sum(..).backward().unwrap_err().to_string();
    assert!(
        nothing.starts_with("backward: nothing that this value was computed from wants a gradient"),
        "{nothing}"
    );
}

#[test]
fn backward_from_a_gradient() {
    let x = Tensor::from([[1.0, 2.0]]).requires_grad();
    (&x * &x).backward_with(&Tensor::from([[10.0, 0.5]])).unwrap();
    assert_eq!(x.grad().unwrap().to_vec::<f32>().unwrap(), [20.0, 2.0]);
    let error = (&x * &x).backward_with(&Tensor::from([1.0])).unwrap_err().to_string();
    assert!(
        error.starts_with("backward_with: the gradient must be [1, 2] as the tensor, got [1]"),
        "{error}"
    );
}

#[test]
fn the_check_accepts_right_gradients_and_finds_wrong_ones() {
    let x = Tensor::from([0.3, -1.2, 2.0]);
    let check = GradientCheck::default();
    check.check(|x: &Tensor| x.tanh() * x.exp(), &x).unwrap();
    check.check(|(a, b): &(Tensor, Tensor)| a.matmul(b), &(Tensor::eye(2), Tensor::ones([2, 2]))).unwrap();
    // Half of the product is treated as a constant, so its slope is too small.
    let error = check.check(|x: &Tensor| (x.detach() * x).sum(..), &x).unwrap_err().to_string();
    assert!(error.starts_with("the gradient by element 0 of argument 0 is 0.3"), "{error}");
    assert!(
        error.contains("but differences give 0.6") || error.contains("but differences give 0.5999"),
        "{error}"
    );
    let error = check.check(|x: &Tensor| x.exp(), &Tensor::from([1])).unwrap_err().to_string();
    assert!(error.contains("has no gradient"), "{error}");
}

#[test]
fn products_have_second_gradients() {
    let x = Tensor::from([2.0, 3.0, 4.0]).requires_grad();
    let first = gradients(&x.product(..), &[&x]).remove(0);
    assert_close("first", &first.to_vec().unwrap(), &[12.0, 8.0, 6.0], 1e-6);
    first.sum(..).backward().unwrap();
    assert_close("second", &x.grad().unwrap().to_vec().unwrap(), &[7.0, 6.0, 5.0], 1e-6);
}
