//! Losses against PyTorch.

use crate::compare::assert_close;
use crate::golden::Golden;
use dropforge::loss::Reduction;
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
    let weights = Some(vec![0.5, 1.0, 2.0, 0.25, 1.5, 0.0]);
    let options = cross_entropy().weight(weights.clone()).ignore_index(Some(-7));
    check("cross_entropy_options", options.label_smoothing(0.2));
    check("cross_entropy_weighted", cross_entropy().weight(weights).reduction(Reduction::Sum));
    check("cross_entropy_ignored", cross_entropy().ignore_index(Some(-7)));
}

#[test]
fn mean_squared_error() {
    check("mse", mse());
    check("mse", |y: &Tensor, t: &Tensor| (y - t).square().mean(..));
}

/// Scores that are infinite where nothing counts change nothing.
#[test]
fn ignored_positions_may_be_infinite() {
    let x = Tensor::from([[0.0, f32::NEG_INFINITY], [1e4, -1e4], [1.0, 1.0]]).requires_grad();
    let targets = Tensor::from_vec(vec![9, 0, 1], [3]);
    let loss = cross_entropy().ignore_index(Some(9)).loss(&x, &targets);
    assert_close("loss", &[loss.item().unwrap()], &[std::f32::consts::LN_2 / 2.0], 1e-6);
    let each = cross_entropy().ignore_index(Some(9)).reduction(Reduction::None).loss(&x, &targets);
    assert_eq!(each.to_vec::<f32>().unwrap()[..2], [0.0, 0.0]);
    let outside = cross_entropy().loss(&x, &targets).item::<f32>();
    assert!(outside.unwrap_err().to_string().contains('9'), "a class that does not exist is an error");
}
