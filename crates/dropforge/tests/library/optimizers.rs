//! Optimizers against PyTorch: 20 or 50 steps on a small net, with a change of the learning rate that compiles nothing.

use crate::compare::assert_close;
use crate::golden::Golden;
use dropforge::optim::{AdaDelta, AdaGrad, Adafactor, Adamax, Lamb, Lion, NAdam, RAdam, RmsProp};
use dropforge::prelude::*;

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
