//! Whole steps: what training finds, what is repeated, what states hold.

use crate::compare::assert_close;
use dropforge::prelude::*;

/// Rows of a known linear map with its targets.
fn linear_problem(samples: usize, noise: f32) -> (Tensor, Tensor) {
    let mut generator = Generator::new(5);
    let x = generator.randn([samples, 3]);
    let w = Tensor::from([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0]]);
    let y = x.matmul(&w.t()) + Tensor::from([1.0, -4.0]) + generator.randn([samples, 2]) * noise;
    (x, y)
}

#[test]
fn linear_regression_finds_the_weights() {
    let (x, y) = linear_problem(64, 0.0);
    for rate in [0.1, 0.05] {
        let mut step = compile(dense(2), mse(), Sgd::new(rate).momentum(0.8), (&x, &y)).unwrap();
        for _ in 0..150 {
            step.run((&x, &y)).unwrap();
        }
        let weight = step.states().read("weight").unwrap();
        assert_close("weight", weight.as_f32().unwrap(), &[2.0, -1.0, 0.5, 0.0, 3.0, -2.0], 1e-3);
        let bias = step.states().read("bias").unwrap();
        assert_close("bias", bias.as_f32().unwrap(), &[1.0, -4.0], 1e-3);
    }
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    let (x, y) = linear_problem(32, 0.5);
    let train = |seed: u64| {
        let net = seq![dense(16), batch_norm(), relu(), dropout(0.2), dense(2)];
        let mut step =
            StepBuilder::new(net, mse(), AdamW::new(0.01)).seed(seed).compile(x.ty(), y.ty()).unwrap();
        for _ in 0..5 {
            step.run((&x, &y)).unwrap();
        }
        step.states().iter().map(|state| state.read().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(train(1), train(1));
    assert_ne!(train(1), train(2));
}

#[test]
fn states_hold_the_whole_training() {
    let (x, y) = linear_problem(16, 0.5);
    let make = |seed: u64| {
        let net = seq![dense(8), batch_norm(), relu(), dropout(0.3), dense(2)];
        StepBuilder::new(net, mse(), Adam::new(0.02)).seed(seed).compile(x.ty(), y.ty()).unwrap()
    };
    let (mut whole, mut first, mut second) = (make(1), make(1), make(2));
    let run = |step: &mut Step, count: usize| {
        (0..count).map(|_| step.run((&x, &y)).unwrap().loss().unwrap()).collect::<Vec<_>>()
    };
    let expected = run(&mut whole, 10);
    run(&mut first, 4);
    for state in first.states().iter() {
        second.states().write(state.name(), &state.read().unwrap()).unwrap();
    }
    assert_eq!(run(&mut second, 6), expected[4..]);
}

#[test]
fn classes_are_counted_and_checked() {
    let x = Tensor::from([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]);
    let t = Tensor::from([0, 1, 1]);
    let mut step = compile(dense(2), cross_entropy(), Sgd::new(0.0), (&x, &t)).unwrap();
    let weight = Tensor::from([[5.0, 0.0], [0.0, 5.0]]).to_array().unwrap();
    step.states().write("weight", &weight).unwrap();
    step.states().write("bias", &Tensor::from([0.0, 0.0]).to_array().unwrap()).unwrap();
    let outcome = step.run((&x, &t)).unwrap();
    assert_eq!(outcome.samples(), 3);
    assert_eq!(step.classes(), Some(2));
    let trained = step.metrics().unwrap();
    assert_eq!((trained.metrics.get("accuracy"), trained.samples), (Some(2.0 / 3.0), 3));
    let one = step.evaluate((&x, &t)).unwrap();
    assert_eq!(one.metrics.get("accuracy"), Some(2.0 / 3.0));
    assert_close("loss", &[one.loss as f32], &[outcome.loss().unwrap()], 1e-6);
    let mut both = step.start_evaluation().unwrap();
    both.add((&x, &t)).unwrap().add((&x.slice(0, ..2), &t.slice(0, ..2))).unwrap();
    let both = both.finish().unwrap();
    assert_eq!((both.metrics.get("accuracy"), both.samples), (Some(4.0 / 5.0), 5));

    let wrong = Tensor::from([0, 2, 1]);
    let error = step.run((&x, &wrong)).err().unwrap().to_string();
    assert_eq!(error, "the target of sample 1 is 2; classes go from 0 to 1");
    let error = step.evaluate((&x, &t.slice(0, ..2))).unwrap_err().to_string();
    assert_eq!(error, "the targets must be i32[3], got i32[2]");
    let error = step.run((&x.unsqueeze(0), &t)).err().unwrap().to_string();
    assert_eq!(error, "the inputs must be f32[batch, 2], got f32[1, 3, 2]");
}

#[test]
fn programs_share_one_set_of_states() {
    let (x, y) = linear_problem(8, 0.0);
    let mut step = compile(dense(2), mse(), Sgd::new(0.1), (&x, &y)).unwrap();
    let before = step.evaluate((&x, &y)).unwrap().loss;
    step.run((&x.slice(0, ..3), &y.slice(0, ..3))).unwrap();
    step.run((&x, &y)).unwrap();
    assert!(step.evaluate((&x, &y)).unwrap().loss < before);
    assert_eq!(step.steps().unwrap(), 2);
    let prediction = step.predict(&x).unwrap().to_array().unwrap();
    let expected = x.matmul(&Tensor::from_array(step.states().read("weight").unwrap()).t())
        + Tensor::from_array(step.states().read("bias").unwrap());
    assert_close("y", prediction.as_f32().unwrap(), &expected.to_vec().unwrap(), 1e-6);
}

#[test]
fn user_states_and_hyperparameters() {
    /// Scales by a runtime factor and keeps a mean of what it saw.
    fn layer(scope: &Scope, x: &Tensor) -> Tensor {
        let seen = scope.state("seen", [1], Init::constant(0.0));
        if scope.is_training() {
            scope.write_state(&seen, &(&seen * 0.5 + x.mean(..).reshape([1]) * 0.5));
        }
        let w = scope.parameter("w", [1], Init::constant(1.0));
        x * w * scope.hyperparameter("factor", 2.0) + seen
    }
    let (x, y) = (Tensor::full([4, 1], 3.0), Tensor::full([4, 1], 0.0));
    let absolute = |y: &Tensor, t: &Tensor| (y - t).abs().mean(..);
    let mut step = compile(layer, absolute, Sgd::new(0.0), (&x, &y)).unwrap();
    assert_eq!(step.run((&x, &y)).unwrap().loss().unwrap(), 6.0);
    step.set_hyperparameter("factor", 3.0).unwrap();
    assert_eq!(step.run((&x, &y)).unwrap().loss().unwrap(), 9.0 + 1.5);
    assert_eq!(step.evaluate((&x, &y)).unwrap().loss, 9.0 + 2.25);
    assert_eq!(step.network().compilations().len(), 2);
    let error = step.set_hyperparameter("speed", 3.0).unwrap_err().to_string();
    assert_eq!(error, "no program has a hyperparameter named speed");
}

#[test]
fn outside_values_are_captured_once() {
    let scale = Tensor::from([1.0, 10.0]);
    let net =
        move |scope: &Scope, x: &Tensor| x * &scale + scope.parameter("offset", [2], Init::constant(0.0));
    let mut network = Network::compile(net, [2]).unwrap();
    let y = network.predict(Tensor::from([[1.0, 2.0]])).unwrap();
    assert_eq!(y.to_vec::<f32>().unwrap(), [1.0, 20.0]);
    assert_eq!(network.states().len(), 1);
    let none = network.predict(Tensor::zeros([0, 2])).unwrap();
    assert_eq!(none.shape().to_vec(), [0, 2]);
}

#[test]
fn layers_can_be_shared_as_pointers() {
    let shared: std::sync::Arc<dyn Layer> = std::sync::Arc::new(seq![dense(2), tanh()]);
    let boxed: Box<dyn Layer> = Box::new(shared.clone());
    for _ in 0..2 {
        let network = Network::compile(shared.clone(), [3]).unwrap();
        assert_eq!(network.parameter_count(), 8);
    }
    assert_eq!(Network::compile(boxed, [3]).unwrap().parameter_count(), 8);
}

/// What compiling a deep network costs grows like its depth, with an optimizer that keeps states, too: by the square,
/// twice the layers would take four times as long.
#[test]
fn deep_networks_compile_in_linear_time() {
    let time = |depth: usize| {
        let net = move |s: &Scope, x: &Tensor| {
            (0..depth).fold(x.clone(), |x, i| s.layer(&i.to_string(), &dense(16), &x).relu())
        };
        let (x, y) = (Tensor::zeros([8, 16]), Tensor::from_vec(vec![0; 8], [8]));
        let start = std::time::Instant::now();
        compile(net, cross_entropy(), Adam::new(0.01), (&x, &y)).unwrap();
        start.elapsed().as_secs_f64()
    };
    // The least of several tries, since other programs run on the machine as well.
    let (mut short, mut long) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..8 {
        (short, long) = (short.min(time(100)), long.min(time(200)));
        if long <= 2.6 * short {
            return;
        }
    }
    panic!("100 layers take {short} seconds, 200 layers {long}");
}
