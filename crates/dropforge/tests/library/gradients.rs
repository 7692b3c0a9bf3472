//! `requires_grad`, `backward`, `grad` and `gradients`.

use crate::compare::assert_close;
use dropforge::gradients;
use dropforge::prelude::*;

#[track_caller]
fn check_grad(x: &Tensor, expected: &[f32]) {
    let grad = x.grad().expect("a gradient");
    assert_eq!(grad.shape(), x.shape());
    assert_close("gradient", &grad.to_vec().unwrap(), expected, 1e-6);
}

#[test]
fn gradients_accumulate_until_cleared() {
    let x = Tensor::from([1.0, 2.0, 3.0]).requires_grad();
    assert!(x.grad().is_none());
    let loss = (&x * &x).sum(..);
    loss.backward().unwrap();
    check_grad(&x, &[2.0, 4.0, 6.0]);
    loss.backward().unwrap();
    check_grad(&x, &[4.0, 8.0, 12.0]);
    (&x * 10.0).sum(..).backward().unwrap();
    check_grad(&x.clone(), &[14.0, 18.0, 22.0]);
    x.zero_grad();
    assert!(x.grad().is_none());
    loss.backward().unwrap();
    check_grad(&x, &[2.0, 4.0, 6.0]);
}

#[test]
fn reading_a_value_on_the_way_keeps_its_history() {
    let x = Tensor::from([1.0, 2.0]).requires_grad();
    let y = x.exp();
    y.to_vec::<f32>().unwrap();
    let loss = (&y * 2.0).sum(..);
    assert_close("loss", &[loss.item::<f32>().unwrap()], &[2.0 * (1f32.exp() + 2f32.exp())], 1e-6);
    loss.backward().unwrap();
    check_grad(&x, &[2.0 * 1f32.exp(), 2.0 * 2f32.exp()]);
}

#[test]
fn broadcasting_sums_the_gradient() {
    let x = Tensor::from([[1.0, 2.0], [3.0, 4.0]]);
    let bias = Tensor::from([0.5, -0.5]).requires_grad();
    let scale = Tensor::from([[2.0], [3.0]]).requires_grad();
    ((x + &bias) * &scale).sum(..).backward().unwrap();
    check_grad(&bias, &[5.0, 5.0]);
    check_grad(&scale, &[3.0, 7.0]);
}

#[test]
fn detached_values_pass_no_gradient() {
    let x = Tensor::from([2.0]).requires_grad();
    (x.detach() * &x).sum(..).backward().unwrap();
    check_grad(&x, &[2.0]);
    x.zero_grad();
    let y = &x * 3.0;
    (y.detach() * &x).sum(..).backward().unwrap();
    check_grad(&x, &[6.0]);
    x.zero_grad();
    // A leaf in the middle keeps its own gradient and passes none on.
    let middle = (&x * 3.0).requires_grad();
    (&middle * &middle * &x).sum(..).backward().unwrap();
    check_grad(&middle, &[24.0]);
    check_grad(&x, &[36.0]);
}

#[test]
fn gradients_of_gradients() {
    let x = Tensor::from([1.0, 2.0]).requires_grad();
    let cube = x.square() * &x;
    let first = gradients(&cube.sum(..), &[&x]).remove(0);
    assert_close("first", &first.to_vec().unwrap(), &[3.0, 12.0], 1e-6);
    first.sum(..).backward().unwrap();
    check_grad(&x, &[6.0, 12.0]);
}

#[test]
fn a_hand_written_loop_finds_the_minimum() {
    let target = Tensor::from([3.0, -2.0]);
    let mut x = Tensor::zeros([2]).requires_grad();
    for _ in 0..60 {
        (&x - &target).square().sum(..).backward().unwrap();
        x = (x.detach() - x.grad().unwrap() * 0.2).requires_grad();
    }
    assert_close("x", &x.to_vec().unwrap(), &[3.0, -2.0], 1e-5);
    // Every round but the first runs the same programs.
    assert!(Runtime::shared().unwrap().cached_programs() < 200);
}

#[test]
fn backward_says_what_is_missing() {
    let x = Tensor::from([1.0, 2.0]);
    let error = x.sum(..).backward().unwrap_err().to_string();
    let expected =
        "backward: nothing that this value was computed from wants a gradient; call requires_grad() first";
    assert!(error.starts_with(expected), "{error}");
    let x = x.requires_grad();
    let error = (&x * 2.0).backward().unwrap_err().to_string();
    assert!(
        error.starts_with("gradients: the loss must be one float, got f32[2]; take its mean or sum"),
        "{error}"
    );
    let q = Tensor::ones([1, 1, 2, 2]).requires_grad();
    let first = gradients(&q.attention(&q, &q, false).square().sum(..), &[&q]).remove(0);
    let error = first.square().sum(..).backward().unwrap_err().to_string();
    assert!(error.starts_with("attention_gradient: has no gradient rule"), "{error}");
    let error = x.floor().sum(..).backward().unwrap_err().to_string();
    assert!(error.contains("the loss does not depend on"), "{error}");
    let error = Tensor::from([1]).requires_grad().to_vec::<i32>().unwrap_err().to_string();
    assert!(error.starts_with("requires_grad: i32[1] has no gradient; cast it first, at "), "{error}");
}
