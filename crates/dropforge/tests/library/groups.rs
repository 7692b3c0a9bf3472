//! Groups of parameters, accumulation and clipping, each against steps written out by hand.

use crate::compare::assert_close;
use dropforge::optim::{Group, group};
use dropforge::prelude::*;

fn data(samples: usize) -> (Tensor, Tensor) {
    let mut generator = Generator::new(11);
    (generator.randn([samples, 3]), generator.randn([samples, 2]))
}

fn net() -> impl Layer + 'static {
    seq!["trunk" => dense(4), tanh(), "head" => dense(2)]
}

fn floats(step: &Step, name: &str) -> Vec<f32> {
    step.states().read(name).unwrap().as_f32().unwrap().to_vec()
}

const NAMES: [&str; 4] = ["trunk.weight", "trunk.bias", "head.weight", "head.bias"];

fn parameters(step: &Step) -> Vec<Vec<f32>> {
    NAMES.iter().map(|name| floats(step, name)).collect()
}

/// The gradients of a step, from what an update of SGD with rate 1 takes off.
fn gradients(start: &Step, x: &Tensor, y: &Tensor) -> Vec<Vec<f32>> {
    let mut probe = StepBuilder::new(net(), mse(), Sgd::new(1.0)).compile_for((x, y)).unwrap();
    for name in NAMES {
        probe.states().write(name, &start.states().read(name).unwrap()).unwrap();
    }
    let before = parameters(&probe);
    probe.run((x, y)).unwrap();
    let after = parameters(&probe);
    before.iter().zip(after).map(|(b, a)| b.iter().zip(a).map(|(b, a)| b - a).collect()).collect()
}

#[test]
fn a_frozen_group_has_no_gradient_and_no_state() {
    let (x, y) = data(8);
    let build = || StepBuilder::new(net(), mse(), Adam::new(0.01)).group(group("trunk.*").frozen());
    let mut step = build().compile_for((&x, &y)).unwrap();
    let before = parameters(&step);
    for _ in 0..3 {
        step.run((&x, &y)).unwrap();
    }
    let after = parameters(&step);
    assert!(before[..2] == after[..2] && before[2] != after[2] && before[3] != after[3]);
    assert!(!step.states().iter().any(|state| state.name().contains("m.trunk")), "a frozen state");
    // The program is that of the head: fewer kernels than with the trunk's gradients.
    let all = compile(net(), mse(), Adam::new(0.01), (&x, &y)).unwrap();
    let length = |step: &Step| step.explain()[0].1.len();
    assert!(length(&step) < length(&all), "nothing was saved");
    step.unfreeze("trunk").unwrap();
    step.run((&x, &y)).unwrap();
    assert!(floats(&step, "trunk.weight") != before[0]);
    assert!(step.states().get("trunk.adam.m.trunk.weight").is_some());
    step.freeze("trunk").unwrap();
    let before = parameters(&step);
    step.run((&x, &y)).unwrap();
    assert!(parameters(&step)[..2] == before[..2]);
}

#[test]
fn groups_have_rates_decays_and_optimizers_of_their_own() {
    let (x, y) = data(8);
    let mut step = StepBuilder::new(net(), mse(), Sgd::new(0.1))
        .group(group("head.weight").lr(0.01).weight_decay(0.5))
        .group(group("*.bias").lr_factor(2.0))
        .compile_for((&x, &y))
        .unwrap();
    for schedule in [1.0, 0.5] {
        let (before, gradient) = (parameters(&step), gradients(&step, &x, &y));
        step.set_rate_factor(schedule).unwrap();
        step.run((&x, &y)).unwrap();
        let factor = schedule as f32;
        for (index, (rate, decay)) in
            [(0.1, 0.0), (0.2, 0.0), (0.01, 0.5), (0.2, 0.0)].into_iter().enumerate()
        {
            let expected: Vec<f32> = before[index]
                .iter()
                .zip(&gradient[index])
                .map(|(w, g)| w - rate * factor * (g + decay * w))
                .collect();
            assert_close(NAMES[index], &parameters(&step)[index], &expected, 1e-6);
        }
    }
    // Multiples follow the rate of all others, own rates do not.
    step.set_rate_factor(1.0).unwrap();
    step.set_learning_rate(0.3).unwrap();
    let lr = |step: &Step, group: &str| step.group_settings(group).unwrap()["lr"].as_float().unwrap();
    assert_eq!([lr(&step, ""), lr(&step, "bias"), lr(&step, "head.weight")], [0.3, 0.6, 0.01]);
    step.set_group("head.weight", "lr", 0.02).unwrap();
    assert_eq!(lr(&step, "head.weight"), 0.02);

    let mut step = StepBuilder::new(net(), mse(), Sgd::new(0.1))
        .group(group("trunk.*").optimizer(Adam::new(0.02)))
        .compile_for((&x, &y))
        .unwrap();
    let (before, gradient) = (parameters(&step), gradients(&step, &x, &y));
    step.run((&x, &y)).unwrap();
    let after = parameters(&step);
    let sgd: Vec<f32> = before[2].iter().zip(&gradient[2]).map(|(w, g)| w - 0.1 * g).collect();
    // The first step of Adam is its rate in the direction of the gradient's sign.
    let adam: Vec<f32> =
        before[0].iter().zip(&gradient[0]).map(|(w, g)| w - 0.02 * g / (g.abs() + 1e-8)).collect();
    assert_close("sgd", &after[2], &sgd, 1e-6);
    assert_close("adam", &after[0], &adam, 1e-5);
}

#[test]
fn accumulated_batches_are_one_large_one() {
    let (x, y) = data(12);
    for clip in [None, Some(0.05)] {
        let build = |accumulate: usize| {
            let mut builder =
                StepBuilder::new(net(), mse(), Adam::new(0.05).weight_decay(0.1)).accumulate(accumulate);
            if let Some(limit) = clip {
                builder = builder.clip_norm(limit);
            }
            builder.compile_for((x.slice(0, ..4), y.slice(0, ..4))).unwrap()
        };
        let (mut parts, mut whole) = (build(3), build(1));
        let part = |index: usize| {
            let range = index * 4..index * 4 + 4;
            (x.slice(0, range.clone()), y.slice(0, range))
        };
        for _ in 0..3 {
            let before = parameters(&parts);
            for index in 0..3 {
                assert!(parameters(&parts) == before, "updated too early");
                parts.run(part(index)).unwrap();
            }
            whole.run((&x, &y)).unwrap();
            for (index, name) in NAMES.iter().enumerate() {
                assert_close(name, &parameters(&parts)[index], &parameters(&whole)[index], 1e-5);
            }
        }
        assert_eq!((parts.steps().unwrap(), whole.steps().unwrap()), (9, 3));
    }
}

#[test]
fn clipping_by_value_and_by_norm() {
    let (x, y) = data(8);
    let build = |value: Option<f64>, norm: Option<f64>| {
        let mut builder = StepBuilder::new(net(), mse(), Sgd::new(1.0));
        if let Some(value) = value {
            builder = builder.clip_value(value);
        }
        if let Some(norm) = norm {
            builder = builder.clip_norm(norm);
        }
        builder.compile_for((&x, &y)).unwrap()
    };
    let mut step = build(Some(0.1), Some(0.15));
    let (before, gradient) = (parameters(&step), gradients(&step, &x, &y));
    let clipped: Vec<Vec<f32>> =
        gradient.iter().map(|part| part.iter().map(|g| g.clamp(-0.1, 0.1)).collect()).collect();
    let norm = clipped.iter().flatten().map(|g| g * g).sum::<f32>().sqrt();
    assert!(gradient.iter().flatten().any(|g| g.abs() > 0.1) && norm > 0.15, "nothing is clipped");
    let outcome = step.run((&x, &y)).unwrap();
    assert_close("norm", &[outcome.gradient_norm().unwrap().unwrap()], &[norm], 1e-5);
    for (index, name) in NAMES.iter().enumerate() {
        let factor = 0.15 / (norm + 1e-6);
        let expected: Vec<f32> =
            before[index].iter().zip(&clipped[index]).map(|(w, g)| w - g * factor).collect();
        assert_close(name, &parameters(&step)[index], &expected, 1e-5);
    }
    step.set_hyperparameter("clip_value", 0.2).unwrap();
    let mut free = build(None, None);
    let error = free.set_hyperparameter("clip_value", 0.2).unwrap_err().to_string();
    assert_eq!(error, "no program has a hyperparameter named clip_value");
}

#[test]
fn settings_of_groups_that_cannot_be_are_refused() {
    use dropforge::ErrorKind;
    let (x, y) = data(4);
    let build = |group: dropforge::optim::Group| {
        StepBuilder::new(net(), mse(), Sgd::new(0.1)).group(group).compile_for((&x, &y))
    };
    let message = |group| {
        let error = build(group).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Setting, "{error}");
        error.to_string()
    };
    assert_eq!(
        message(group("tail.*")),
        "no parameter is left for the group tail.*; there are trunk.weight, trunk.bias, head.weight, head.bias"
    );
    let error = message(group("trunk.*").setting("beta1", 0.5));
    assert!(error.starts_with("group trunk: sgd has no setting `beta1`"), "{error}");
    let error = message(group("trunk.*").lr(-1.0));
    assert_eq!(error, "group trunk: sgd: the learning rate is -1, it must be 0 or more");
    assert_eq!(message(group("*").frozen()), "all parameters are frozen, so there is nothing to train");
    let mut step = build(group("trunk.*")).unwrap();
    let error = step.set_group("head", "lr", 0.1).unwrap_err().to_string();
    assert_eq!(error, "there is no group of parameters called `head`; there are `trunk`");
    let error = step.set_group("trunk", "speed", 0.1).unwrap_err().to_string();
    assert!(error.starts_with("sgd has no setting `speed`"), "{error}");
    let twice = StepBuilder::new(net(), mse(), Sgd::new(0.1)).group(group("a.*")).group(group("*.a"));
    assert!(twice.compile_for((&x, &y)).err().unwrap().to_string().contains("two groups are called a"));
    for (builder, what) in [
        (StepBuilder::new(net(), mse(), Sgd::new(0.1)).clip_norm(0.0), "clip_norm is 0"),
        (StepBuilder::new(net(), mse(), Sgd::new(0.1)).clip_value(f64::NAN), "clip_value is NaN"),
        (StepBuilder::new(net(), mse(), Sgd::new(0.1)).accumulate(0), "accumulate is 0"),
    ] {
        let error = builder.compile_for((&x, &y)).err().unwrap().to_string();
        assert!(error.starts_with(what), "{error}");
    }
}

/// A runtime scalar that nobody gives a value would stay at its first one for ever.
#[test]
fn an_optimizer_says_all_that_it_reads() {
    use dropforge::nn::Scope;
    use dropforge::optim::Parameter;
    #[derive(Clone)]
    struct Forgetful;
    impl Optimizer for Forgetful {
        fn hyperparameters(&self) -> Vec<(&'static str, f64)> {
            vec![("lr", 0.1)]
        }

        fn update(&self, scope: &Scope, parameters: &[Parameter]) {
            let rate = scope.hyperparameter("lr", 0.1) * scope.hyperparameter("scale", 1.0);
            for Parameter { value, gradient, .. } in parameters {
                scope.write_state(value, &(value - gradient * &rate));
            }
        }

        fn describe(&self) -> String {
            "forgetful".into()
        }
    }
    let (x, y) = data(4);
    let error = compile(net(), mse(), Forgetful, (&x, &y)).err().unwrap().to_string();
    assert_eq!(
        error,
        "forgetful reads the runtime scalar scale, which its hyperparameters() does not give; it gives lr"
    );
}

/// A group with a schedule of its own goes by that, the others by theirs; both are multiples of the rates that were
/// set.
#[test]
fn a_group_may_have_a_schedule_of_its_own() {
    let (x, y) = data(8);
    let mut step =
        StepBuilder::new(net(), mse(), Sgd::new(0.5)).group(group("trunk.*")).compile_for((&x, &y)).unwrap();
    let expected = gradients(&step, &x, &y);
    let before = parameters(&step);
    step.set_group_rate_factor("trunk", 0.1).unwrap();
    step.set_rate_factor(0.2).unwrap();
    step.run((&x, &y)).unwrap();
    let after = parameters(&step);
    for (place, rate) in [(0, 0.05), (1, 0.05), (2, 0.1), (3, 0.1)] {
        let moved: Vec<f32> = before[place].iter().zip(&after[place]).map(|(b, a)| b - a).collect();
        let wanted: Vec<f32> = expected[place].iter().map(|gradient| rate * gradient).collect();
        assert_close(NAMES[place], &moved, &wanted, 1e-6);
    }
    assert!(step.set_group_rate_factor("tail", 0.1).is_err());
    let samples = datasets::digits(20, 10, 1).0;
    let wrong = Trainer::new(seq![flatten(), dense(10)], cross_entropy(), Sgd::new(0.1))
        .group_schedule("tail", Schedule::linear(1.0))
        .compile(&samples);
    assert!(wrong.err().unwrap().to_string().contains("tail"));
}

/// What a file could not say, a program cannot train with either.
#[test]
fn settings_out_of_their_range_are_refused_before_the_first_step() {
    let (x, y) = data(4);
    let wrong: [(Box<dyn Optimizer>, &str); 5] = [
        (Box::new(Sgd::new(-0.1)), "`lr` is -0.1"),
        (Box::new(Sgd::new(0.1).momentum(2.0)), "`momentum` is 2"),
        (Box::new(Sgd::new(0.1).weight_decay(f64::NAN)), "`weight_decay`"),
        (Box::new(Adam::new(0.1).betas(1.5, 0.9)), "is 1.5"),
        (Box::new(AdamW::new(f64::INFINITY)), "`lr`"),
    ];
    for (optimizer, expected) in wrong {
        let error =
            StepBuilder::new(net(), mse(), optimizer).compile_for((&x, &y)).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let own = StepBuilder::new(net(), mse(), Sgd::new(0.1)).group(group("head.*").optimizer(Adam::new(-1.0)));
    let error = own.compile_for((&x, &y)).err().unwrap().to_string();
    assert!(error.contains("group head:") && error.contains("`lr` is -1"), "{error}");
}

/// Statistics that are held are gone by as in evaluation, and stay where the weights are trained again.
#[test]
fn frozen_statistics_stay() {
    let (x, y) = data(8);
    let net =
        || seq!["trunk" => seq![dense(4), batch_norm(), relu()], "own" => batch_norm(), "head" => dense(2)];
    let build = |trunk: Group| {
        StepBuilder::new(net(), mse(), Sgd::new(0.1)).group(trunk).compile_for((&x, &y)).unwrap()
    };
    let mut step = build(group("trunk.*").frozen().frozen_statistics());
    let before =
        ["trunk.1.running_mean", "trunk.1.running_var", "own.running_mean"].map(|name| floats(&step, name));
    step.run((&x, &y)).unwrap();
    let read = |step: &Step| {
        ["trunk.1.running_mean", "trunk.1.running_var", "own.running_mean"].map(|name| floats(step, name))
    };
    let after = read(&step);
    assert_eq!(after[..2], before[..2]);
    // That of another group follows.
    assert_ne!(after[2], before[2]);
    step.unfreeze("trunk").unwrap();
    step.run((&x, &y)).unwrap();
    assert_eq!(read(&step)[..2], before[..2]);
    // A step trains what an evaluation says, where nothing else is normalised by its batch.
    let plain = || seq!["trunk" => seq![dense(4), batch_norm(), relu()], "head" => dense(2)];
    let held = StepBuilder::new(plain(), mse(), Sgd::new(0.1)).group(group("trunk.*").frozen_statistics());
    let mut held = held.compile_for((&x, &y)).unwrap();
    let evaluated = held.evaluate((&x, &y)).unwrap().loss;
    let trained = held.run((&x, &y)).unwrap().loss().unwrap();
    assert!((f64::from(trained) - evaluated).abs() < 1e-6, "{trained} {evaluated}");
    // One value per channel is enough then.
    held.run((&x.slice(0, ..1), &y.slice(0, ..1))).unwrap();
    let mut usual = build(group("trunk.*").frozen());
    usual.run((&x, &y)).unwrap();
    assert_ne!(read(&usual)[..2], before[..2]);
}
