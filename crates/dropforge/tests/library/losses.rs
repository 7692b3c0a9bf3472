//! Losses against PyTorch.

use crate::compare::assert_close;
use crate::golden::Golden;
use dropforge::prelude::*;

#[track_caller]
fn check(name: &str, loss: impl Loss) {
    let golden = Golden::read(&format!("losses/{name}"));
    let x = golden.tensor("x").requires_grad();
    let value = loss.loss(&x, &golden.tensor("target"));
    value.backward().unwrap();
    assert_close(name, &value.to_vec().unwrap(), golden.floats("loss"), 1e-6);
    let gradient = x.grad().unwrap().to_vec().unwrap();
    assert_close(&format!("{name} gradient"), &gradient, golden.floats("gradient"), 1e-6);
}

#[test]
fn cross_entropies() {
    check("cross_entropy", cross_entropy());
    check("cross_entropy_smoothing", cross_entropy().label_smoothing(0.1));
    check("cross_entropy_positions", cross_entropy());
}

#[test]
fn mean_squared_error() {
    check("mse", mse());
    check("mse", |y: &Tensor, t: &Tensor| (y - t).square().mean(..));
}
