//! Dropout: how much is dropped, and that no step repeats another.

use dropforge::nn::{alpha_dropout, drop_path, spatial_dropout};
use dropforge::prelude::*;

/// A step whose loss gives back which elements were kept: the sum over positions of 2^position, in 16 bits.
fn kept(net: impl Layer + 'static, seed: u64) -> Step {
    let with_weight = |scope: &Scope, x: &Tensor| x * scope.parameter("w", [1], Init::constant(1.0));
    let net = seq![with_weight, "drop" => net];
    let loss = |y: &Tensor, t: &Tensor| (y * t).sum(..);
    let (x, t) = types();
    StepBuilder::new(net, loss, Sgd::new(0.0)).seed(seed).compile(x.ty(), t.ty()).unwrap()
}

fn types() -> (Tensor, Tensor) {
    let bits = (0..16).map(|bit| f32::from(1u16 << bit)).collect();
    (Tensor::ones([1, 16]), Tensor::from_vec(bits, [1, 16]))
}

fn masks(step: &mut Step, count: usize) -> Vec<f32> {
    let (x, t) = types();
    (0..count).map(|_| step.run((&x, &t)).unwrap().loss().unwrap()).collect()
}

#[test]
fn the_kept_share_and_the_mean_are_right() {
    let width = 20_000;
    for p in [0.1, 0.5, 0.9] {
        let observe = |y: &Tensor, _: &Tensor| {
            let kept = y.ne(0.0).cast(DType::F32).mean(..);
            // Two numbers in one: the share in the whole part, the mean below it.
            (kept * 10_000.0).round() + y.mean(..) * 0.01
        };
        let with_weight = |scope: &Scope, x: &Tensor| x * scope.parameter("w", [1], Init::constant(1.0));
        let (x, t) = (Tensor::ones([1, width]), Tensor::ones([1, 1]));
        let mut step = compile(seq![with_weight, dropout(p)], observe, Sgd::new(0.0), (&x, &t)).unwrap();
        let loss = f64::from(step.run((&x, &t)).unwrap().loss().unwrap());
        let (share, mean) = (loss.floor() / 10_000.0, loss.fract() * 100.0);
        assert!((share - f64::from(1.0 - p)).abs() < 0.015, "p {p}: kept {share}");
        assert!((mean - 1.0).abs() < 0.2, "p {p}: mean {mean}");
    }
}

#[test]
fn no_step_repeats_another_and_a_seed_repeats_all() {
    let first = masks(&mut kept(dropout(0.5), 1), 12);
    for (index, mask) in first.iter().enumerate() {
        assert!(!first[..index].contains(mask), "step {index} repeats an earlier one");
    }
    assert_eq!(first, masks(&mut kept(dropout(0.5), 1), 12));
    assert_ne!(first, masks(&mut kept(dropout(0.5), 2), 12));
}

#[test]
fn a_resumed_run_continues_the_random_numbers() {
    let mut step = kept(dropout(0.5), 1);
    let all = masks(&mut step, 6);
    let mut resumed = kept(dropout(0.5), 99);
    let mut source = kept(dropout(0.5), 1);
    masks(&mut source, 3);
    for state in source.states().iter() {
        resumed.states().write(state.name(), &state.read().unwrap()).unwrap();
    }
    assert_eq!(masks(&mut resumed, 3), all[3..]);
}

#[test]
fn two_dropouts_draw_different_numbers_whatever_stands_around_them() {
    let (x, t) = types();
    let net = |scope: &Scope, x: &Tensor| {
        let x = x * scope.parameter("w", [1], Init::constant(1.0));
        let first = scope.layer("a", &dropout(0.5), &x);
        let second = scope.layer("b", &dropout(0.5), &x);
        // 0 where both or none are kept, as 2 + 2 = 2 · 2.
        &first + &second - first * second
    };
    let loss = |y: &Tensor, t: &Tensor| (y * t).sum(..);
    let mut step = compile(net, loss, Sgd::new(0.0), (&x, &t)).unwrap();
    let differing: f32 = (0..4).map(|_| step.run((&x, &t)).unwrap().loss().unwrap()).sum();
    assert!(differing > 0.0);

    // The mask of `b` is the same with and without `a` before it.
    let alone = |scope: &Scope, x: &Tensor| {
        let w = scope.parameter("w", [1], Init::constant(1.0));
        scope.layer("b", &dropout(0.5), &(x * w))
    };
    let after = |scope: &Scope, x: &Tensor| {
        let w = scope.parameter("w", [1], Init::constant(1.0));
        let ignored = scope.layer("a", &dropout(0.5), x).sum(..) * 0.0;
        scope.layer("b", &dropout(0.5), &(x * w)) + ignored
    };
    let mut alone = compile(alone, loss, Sgd::new(0.0), (&x, &t)).unwrap();
    let mut after = compile(after, loss, Sgd::new(0.0), (&x, &t)).unwrap();
    assert_eq!(masks(&mut alone, 4), masks(&mut after, 4));
}

#[test]
fn evaluation_drops_nothing() {
    let mut step = kept(dropout(0.5), 1);
    let (x, t) = types();
    for _ in 0..2 {
        assert_eq!(step.evaluate((&x, &t)).unwrap().loss, 65_535.0);
    }
    let prediction = step.predict(&x).unwrap().to_array().unwrap();
    assert_eq!(prediction.as_f32().unwrap(), [1.0; 16]);
}

/// What a loss of the output in one training step gives.
fn observed(net: impl Layer + 'static, x: &Tensor, loss: impl Loss + 'static) -> f32 {
    let with_weight = |scope: &Scope, x: &Tensor| x * scope.parameter("w", [1], Init::constant(1.0));
    let t = Tensor::ones([x.shape()[0], 1]);
    let mut step = compile(seq![with_weight, net], loss, Sgd::new(0.0), (x, &t)).unwrap();
    step.run((x, &t)).unwrap().loss().unwrap()
}

#[test]
fn channels_and_samples_drop_as_a_whole() {
    let uneven = |y: &Tensor, _: &Tensor| (y - y.slice(-1, ..1)).abs().sum(..);
    let mean = |y: &Tensor, _: &Tensor| y.mean(..);
    let dropped = |y: &Tensor, _: &Tensor| y.eq(0.0).cast(DType::F32).mean(..) + y.sum(..) * 0.0;
    let images = Tensor::ones([40, 50, 5]);
    assert_eq!(observed(spatial_dropout(0.25), &images, uneven), 0.0);
    assert!((observed(spatial_dropout(0.25), &images, mean) - 1.0).abs() < 0.05);
    assert!((observed(spatial_dropout(0.25), &images, dropped) - 0.25).abs() < 0.04);
    let rows = Tensor::ones([2000, 3]);
    assert_eq!(observed(drop_path(0.4), &rows, uneven), 0.0);
    assert!((observed(drop_path(0.4), &rows, dropped) - 0.4).abs() < 0.04);
}

#[test]
fn alpha_dropout_keeps_mean_and_variance() {
    let x = Generator::new(4).randn([4, 20_000]);
    let mean = |y: &Tensor, _: &Tensor| y.mean(..);
    let variance = |y: &Tensor, _: &Tensor| y.square().mean(..);
    assert!(observed(alpha_dropout(0.3), &x, mean).abs() < 0.02);
    assert!((observed(alpha_dropout(0.3), &x, variance) - 1.0).abs() < 0.03);
}
