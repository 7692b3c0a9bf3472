//! Optimizers against PyTorch: 20 or 50 steps on a small net, with a change of the learning rate that compiles nothing.

use crate::compare::assert_close;
use crate::golden::Golden;
use dropforge::optim::{
    AdaDelta, AdaGrad, Adafactor, Adamax, Averaged, GradientNoise, Lamb, Lbfgs, Lion, Lookahead, Muon, NAdam,
    RAdam, RmsProp, group,
};
use dropforge::prelude::*;
use dropforge::step::{Batch, Objective};

/// Two matrices with tanh between.
fn net(scope: &Scope, x: &Tensor) -> Tensor {
    let w1 = scope.parameter("w1", [3, 4], Init::weight());
    let w2 = scope.parameter("w2", [4, 2], Init::weight());
    x.matmul(&w1).tanh().matmul(&w2)
}

#[track_caller]
fn check(name: &str, optimizer: impl Optimizer + 'static) {
    let golden = Golden::read(&format!("optimizers/{name}"));
    let (x, y) = (golden.tensor("x"), golden.tensor("y"));
    let tolerance = if golden.has("tolerance") { golden.floats("tolerance")[0] } else { 1e-6 };
    let lr = optimizer.settings()["lr"].as_float().unwrap();
    let mut builder = StepBuilder::new(net, mse(), optimizer);
    if golden.has("norms") {
        builder = builder.clip_norm(0.1);
    }
    let mut step = builder.compile(x.ty(), y.ty()).unwrap();
    for (key, array) in golden.under("start.") {
        step.states().write(key, array).unwrap();
    }
    let check_states = |step: &Step, when: &str| {
        for (key, array) in golden.under(when) {
            let got = step.states().read(key).unwrap();
            let what = format!("{name} {when}{key}");
            assert_close(&what, got.as_f32().unwrap(), array.as_f32().unwrap(), tolerance);
        }
    };
    let mut norms = Vec::new();
    let mut losses = Vec::new();
    let steps = golden.floats("losses").len();
    for index in 0..steps {
        if index == steps / 2 {
            step.set_learning_rate(lr / 2.0).unwrap();
        }
        let outcome = step.run((&x, &y)).unwrap();
        losses.push(outcome.loss().unwrap());
        norms.extend(outcome.gradient_norm().unwrap());
        if index == 0 {
            check_states(&step, "first.");
        }
    }
    check_states(&step, "end.");
    assert_close(&format!("{name} losses"), &losses, golden.floats("losses"), tolerance);
    if golden.has("norms") {
        assert_close(&format!("{name} norms"), &norms, golden.floats("norms"), 1e-6);
    }
    assert_eq!(step.steps().unwrap(), steps as u64);
    assert_eq!(step.network().compilations().len(), 1, "{name}: the change of rate compiled something");
}

#[test]
fn sgd() {
    check("sgd", Sgd::new(0.1));
    check("sgd_momentum", Sgd::new(0.05).momentum(0.9));
    check("sgd_nesterov", Sgd::new(0.05).momentum(0.9).nesterov());
    check("sgd_dampening", Sgd::new(0.1).momentum(0.8).dampening(0.3));
    check("sgd_weight_decay", Sgd::new(0.05).momentum(0.9).weight_decay(0.1));
}

#[test]
fn adam() {
    check("adam", Adam::new(0.01));
    check("adam_betas", Adam::new(0.02).betas(0.5, 0.9).eps(1e-4));
    check("adam_weight_decay", Adam::new(0.01).weight_decay(0.1));
    check("adam_amsgrad", Adam::new(0.01).betas(0.9, 0.6).amsgrad());
}

#[test]
fn adamw() {
    check("adamw", AdamW::new(0.01));
    check("adamw_weight_decay", AdamW::new(0.01).weight_decay(0.5));
    check("adamw_amsgrad", AdamW::new(0.01).betas(0.9, 0.6).amsgrad());
}

#[test]
fn clipping_by_global_norm() {
    check("sgd_clipped", Sgd::new(0.05).momentum(0.9));
    check("adam_clipped", Adam::new(0.01));
}

#[test]
fn settings_change_or_say_why_not() {
    let (x, y) = (Tensor::ones([2, 3]), Tensor::ones([2, 2]));
    let mut step = compile(net, mse(), Sgd::new(0.1), (&x, &y)).unwrap();
    step.set_optimizer("weight_decay", 0.1).unwrap();
    assert_eq!(step.settings()["weight_decay"].as_float(), Some(0.1));
    let error = step.set_optimizer("momentum", 0.9).unwrap_err().to_string();
    assert!(error.starts_with("sgd: `momentum` cannot change like this while training"), "{error}");
    let error = step.set_optimizer("weight_decay", f64::NAN).unwrap_err().to_string();
    assert_eq!(error, "sgd: `weight_decay` is NaN, it must be 0 or more");
    let error = step.set_optimizer("rate", 0.9).unwrap_err().to_string();
    assert_eq!(
        error,
        "sgd has no setting `rate`; it has `lr`, `momentum`, `dampening`, `weight_decay`, `nesterov`"
    );
    let error = step.set_hyperparameter("lr", 0.9).unwrap_err().to_string();
    assert_eq!(error, "lr is prepared by the optimizer; change it with set_optimizer");
    let error = compile(net, mse(), Sgd::new(0.1).nesterov(), (&x, &y)).err().unwrap().to_string();
    assert!(error.starts_with("sgd: nesterov needs momentum and no dampening"), "{error}");
}

#[test]
fn rmsprop() {
    check("rmsprop", RmsProp::new(0.01));
    let options = RmsProp::new(0.005).alpha(0.9).eps(1e-4).weight_decay(0.1).momentum(0.8);
    check("rmsprop_options", options);
    check("rmsprop_centered", RmsProp::new(0.005).alpha(0.9).eps(1e-3).centered(true));
}

#[test]
fn sums_and_means_of_squares() {
    check("adagrad", AdaGrad::new(0.05));
    let options = AdaGrad::new(0.05).lr_decay(0.02).weight_decay(0.1).initial_sum(0.1).eps(1e-4);
    check("adagrad_options", options);
    check("adadelta", AdaDelta::new(1.0));
    check("adadelta_options", AdaDelta::new(0.5).rho(0.8).eps(1e-4).weight_decay(0.1));
}

#[test]
fn moments_beside_adam() {
    check("nadam", NAdam::new(0.01));
    check("nadam_options", NAdam::new(0.01).betas([0.8, 0.99]).weight_decay(0.1).momentum_decay(0.1));
    check("nadam_decoupled", NAdam::new(0.01).weight_decay(0.1).decoupled(true));
    check("radam", RAdam::new(0.01));
    check("radam_options", RAdam::new(0.01).betas([0.8, 0.95]).eps(1e-4).weight_decay(0.1));
    check("radam_decoupled", RAdam::new(0.01).weight_decay(0.1).decoupled(true));
    check("adamax", Adamax::new(0.01));
    check("adamax_options", Adamax::new(0.01).betas([0.8, 0.9]).eps(1e-4).weight_decay(0.1));
}

#[test]
fn large_batches_and_few_states() {
    check("lion", Lion::new(0.002));
    check("lion_options", Lion::new(0.002).betas([0.95, 0.98]).weight_decay(0.5));
    check("lamb", Lamb::new(0.01));
    check("lamb_options", Lamb::new(0.01).betas([0.8, 0.9]).eps(1e-3).weight_decay(0.0));
    check("adafactor", Adafactor::new(0.05));
    check("adafactor_options", Adafactor::new(0.05).beta2_decay(-0.5).eps(0.1).clip(1.2).weight_decay(0.1));
}

#[test]
fn matrices_made_orthogonal() {
    check("muon", Muon::new(0.01));
    let options = Muon::new(0.02).momentum(0.8).nesterov(false).weight_decay(0.0).steps(3);
    check("muon_options", options);
}

#[test]
fn slow_and_fast_weights() {
    check("lookahead", Lookahead::new(Sgd::new(0.1).momentum(0.9)));
    check("lookahead_options", Lookahead::new(Adam::new(0.02)).every(3).share(0.8));
}

/// A step is a trial: the losses are those of PyTorch's closure, one after another.
#[track_caller]
fn check_search(name: &str, optimizer: Lbfgs) {
    let golden = Golden::read(&format!("optimizers/{name}"));
    let (x, y) = (golden.tensor("x"), golden.tensor("y"));
    let tolerance = golden.floats("tolerance")[0];
    let mut step = compile(net, mse(), optimizer, (&x, &y)).unwrap();
    for (key, array) in golden.under("start.") {
        step.states().write(key, array).unwrap();
    }
    let run = |_: &f32| step.run((&x, &y)).unwrap().loss().unwrap();
    let losses: Vec<f32> = golden.floats("losses").iter().map(run).collect();
    assert_close(&format!("{name} losses"), &losses, golden.floats("losses"), tolerance);
    assert_eq!(step.use_averages().unwrap(), 2);
    for (key, array) in golden.under("end.") {
        let found = step.states().read(key).unwrap();
        assert_close(&format!("{name} {key}"), found.as_f32().unwrap(), array.as_f32().unwrap(), tolerance);
    }
}

#[test]
fn curvature_and_a_line_search() {
    check_search("lbfgs", Lbfgs::new(1.0));
    check_search("lbfgs_options", Lbfgs::new(0.2).history(3));
    check_search("lbfgs_far", Lbfgs::new(8.0).history(5));
}

/// Rosenbrock's valley, whose lowest point is at (1, 1), from the classical start.
#[test]
fn a_bent_valley_is_followed_to_its_end() {
    let valley = |scope: &Scope, batch: &Batch| {
        let place = scope.parameter("place", [2], Init::values(vec![-1.2, 1.0]));
        let (x, y) = (place.slice(0, 0..1), place.slice(0, 1..2));
        let loss = ((&y - &x * &x).square() * 100.0 + (1.0 - &x).square()).sum(..);
        Objective::new(loss + batch.get("input").sum(..) * 0.0)
    };
    let batch = Batch::new().with("input", Tensor::zeros([1, 1]));
    let mut step = StepBuilder::of(valley, Lbfgs::new(1.0)).compile_for(batch.clone()).unwrap();
    for _ in 0..60 {
        step.run(batch.clone()).unwrap();
    }
    step.use_averages().unwrap();
    let place = step.states().read("place").unwrap();
    assert_close("place", place.as_f32().unwrap(), &[1.0, 1.0], 1e-3);
    // Where it has ended, it stays.
    for _ in 0..40 {
        assert!(step.run(batch.clone()).unwrap().loss().unwrap().is_finite());
    }
    step.use_averages().unwrap();
    let place = step.states().read("place").unwrap();
    assert_close("place", place.as_f32().unwrap(), &[1.0, 1.0], 1e-3);
}

/// A loss that is no number beyond a border: the search comes back.
#[test]
fn a_trial_beyond_all_numbers_is_taken_back() {
    let border = |scope: &Scope, batch: &Batch| {
        let place = scope.parameter("place", [1], Init::values(vec![0.9]));
        Objective::new((&place - place.log() * 0.01 + batch.get("input").sum(..) * 0.0).sum(..))
    };
    let batch = Batch::new().with("input", Tensor::zeros([1, 1]));
    let mut step = StepBuilder::of(border, Lbfgs::new(4.0)).compile_for(batch.clone()).unwrap();
    let losses: Vec<f32> = (0..40).map(|_| step.run(batch.clone()).unwrap().loss().unwrap()).collect();
    assert!(losses.iter().any(|loss| loss.is_nan()), "the border was never met: {losses:?}");
    step.use_averages().unwrap();
    let place = step.states().read("place").unwrap();
    assert_close("place", place.as_f32().unwrap(), &[0.01], 1e-3);

    // A trainer goes on as well, and leaves such trials out of its mean.
    let data = datasets::digits(10, 1, 1).0;
    let mut trainer = Trainer::of(border, Lbfgs::new(4.0)).batch(10).compile(&data).unwrap();
    let fitted = trainer.fit(&data).epochs(40).run().unwrap();
    assert_eq!((fitted.last.unwrap().step, fitted.stopped), (40, None));
}

#[test]
fn a_search_says_what_does_not_go_with_it() {
    let (x, y) = (Tensor::ones([2, 3]), Tensor::ones([2, 2]));
    let refused = |builder: StepBuilder, what: &str| {
        let error = builder.compile_for((&x, &y)).err().unwrap().to_string();
        assert!(error.contains("lbfgs") && error.contains(what), "{error}");
    };
    let step = |optimizer| StepBuilder::new(net, mse(), optimizer);
    refused(step(Lbfgs::new(1.0)).accumulate(2), "accumulation");
    refused(step(Lbfgs::new(1.0)).clip_norm(1.0), "clipping");
    refused(step(Lbfgs::new(1.0)).precision(Precision::F16), "f16");
    refused(step(Lbfgs::new(1.0)).group(group("w2").lr(0.1)), "another way");
    refused(StepBuilder::new(net, mse(), Lookahead::new(Lbfgs::new(1.0))), "around");
    let frozen = step(Lbfgs::new(1.0)).group(group("w2").frozen());
    let mut frozen = frozen.compile_for((&x, &y)).unwrap();
    let before = frozen.states().read("w2").unwrap();
    let first = frozen.run((&x, &y)).unwrap().loss().unwrap();
    let last = (0..10).map(|_| frozen.run((&x, &y)).unwrap().loss().unwrap()).last().unwrap();
    assert!(last < first && frozen.states().read("w2").unwrap() == before);
}

#[test]
fn a_trainer_measures_the_point_that_a_search_found() {
    let (train, _) = datasets::digits(40, 10, 1);
    let trainer = |batch: usize| {
        let net = seq![flatten(), dense(10)];
        Trainer::new(net, cross_entropy(), Lbfgs::new(1.0)).batch(batch).compile(&train).unwrap()
    };
    let parts = trainer(20).fit(&train).epochs(1).run().unwrap();
    assert!(parts.notes.iter().any(|note| note.contains("compares the losses")), "{:?}", parts.notes);

    let mut whole = trainer(40);
    let fitted = whole.fit(&train).epochs(30).run().unwrap();
    assert!(fitted.notes.is_empty(), "{:?}", fitted.notes);
    let measured = whole.evaluate(&train).unwrap().loss;
    assert!(measured < 0.1, "{measured}");
}

/// Bias and weight of a dense layer on one sample.
fn small(optimizer: impl Optimizer + 'static) -> Step {
    let types = (Tensor::ones([1, 2]), Tensor::zeros([1, 1]));
    let weight = Init::values(vec![1.0, -3.0]);
    let net = dense(1).weight_init(weight).bias_init(Init::constant(0.5));
    compile(net, mse(), optimizer, (&types.0, &types.1)).unwrap()
}

fn weights_of(step: &mut Step, steps: usize) -> Vec<[f32; 2]> {
    let (x, y) = (Tensor::ones([1, 2]), Tensor::zeros([1, 1]));
    let run = |_| {
        step.run((&x, &y)).unwrap();
        step.states().read("weight").unwrap().as_f32().unwrap().try_into().unwrap()
    };
    (0..steps).map(run).collect()
}

#[test]
fn averages_of_weights() {
    let known = weights_of(&mut small(Sgd::new(0.05)), 7);
    let mut running = small(Averaged::exponential(0.75, Sgd::new(0.05)));
    assert!(running.use_averages().is_err(), "there is nothing to average before the first step");
    let beside = weights_of(&mut running, 7);
    assert_close("training is the same", beside.as_flattened(), known.as_flattened(), 1e-6);
    let mean = known[1..].iter().fold(known[0], |mean, w| [0, 1].map(|i| 0.75 * mean[i] + 0.25 * w[i]));
    assert_eq!(running.use_averages().unwrap(), 2);
    let found = running.states().read("weight").unwrap();
    assert_close("running mean", found.as_f32().unwrap(), &mean, 1e-6);

    let mut plain = small(Averaged::plain(2, 2, Sgd::new(0.05)));
    weights_of(&mut plain, 7);
    plain.use_averages().unwrap();
    // Updates 2, 4 and 6, counted from 0.
    let mean = [0, 1].map(|i| (known[2][i] + known[4][i] + known[6][i]) / 3.0);
    let found = plain.states().read("weight").unwrap();
    assert_close("plain mean", found.as_f32().unwrap(), &mean, 1e-6);
    let without = small(Sgd::new(0.1)).use_averages().unwrap_err().to_string();
    assert!(without.contains("`averaged`"), "{without}");
}

/// A gradient of nothing but noise: its spread is that of the paper, and no step repeats another.
#[test]
fn noise_in_gradients() {
    let net = |scope: &Scope, x: &Tensor| x * scope.parameter("w", [4000], Init::constant(0.0)) * 0.0;
    let (x, y) = (Tensor::ones([1, 4000]), Tensor::zeros([1, 4000]));
    let optimizer = GradientNoise::new(0.04, Sgd::new(1.0)).decay(1.0);
    let mut step = compile(net, mse(), optimizer, (&x, &y)).unwrap();
    let mut before = vec![0.0; 4000];
    for count in 1..=3 {
        step.run((&x, &y)).unwrap();
        let after = step.states().read("w").unwrap().as_f32().unwrap().to_vec();
        let moved: Vec<f64> = after.iter().zip(&before).map(|(a, b)| f64::from(a - b)).collect();
        let variance = moved.iter().map(|x| x * x).sum::<f64>() / 4000.0;
        assert!((variance * f64::from(count) / 0.04 - 1.0).abs() < 0.1, "update {count}: {variance}");
        before = after;
    }
}
