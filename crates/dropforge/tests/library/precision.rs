//! Mixed precision: what a step computes in, and how f16 keeps its gradients in range.

use dropforge::prelude::*;
use std::collections::BTreeMap;

/// Points on a curve, and a loss of any size for them.
fn data() -> (Tensor, Tensor) {
    let x = Generator::new(5).randn([64, 3]);
    let y = x.sin().sum_keep(1);
    (x, y)
}

fn net() -> impl Layer + 'static {
    seq![dense(16), batch_norm(), tanh(), dense(1)]
}

fn mean_square(factor: f32) -> impl Loss + 'static {
    move |prediction: &Tensor, target: &Tensor| (prediction - target).square().mean(..) * factor
}

fn step(precision: Precision, factor: f32, rate: f64) -> Step {
    let step = StepBuilder::new(net(), mean_square(factor), Sgd::new(rate).momentum(0.9));
    step.precision(precision).clip_norm(1e30).compile_for(data()).unwrap()
}

/// All states but those that every step changes: its count, and the sums of metrics.
fn states(step: &Step) -> BTreeMap<String, Array> {
    let counts = |name: &str| name.starts_with("metric.") || name == "step";
    let kept = step.states().iter().filter(|state| !counts(state.name()));
    kept.map(|state| (state.name().to_string(), state.read().unwrap())).collect()
}

fn set_scale(step: &Step, scale: f32) {
    let scale = Tensor::from(scale).to_array().unwrap();
    step.states().write("loss_scale", &scale).unwrap();
}

#[test]
fn halves_learn_what_f32_learns() {
    let (x, y) = data();
    let mut last = Vec::new();
    for precision in [Precision::F32, Precision::Bf16, Precision::F16] {
        let mut step = step(precision, 1.0, 0.02);
        let first = step.run((&x, &y)).unwrap().loss().unwrap();
        for _ in 0..200 {
            step.run((&x, &y)).unwrap();
        }
        let loss = step.evaluate((&x, &y)).unwrap().loss;
        assert!(loss < 0.2 * f64::from(first), "{precision}: {first} became {loss}");
        let listing = &step.explain()[0].1;
        let table = precision.half().map(|half| format!("in {half}, sums in f32: dot, convolution"));
        assert!(table.is_none_or(|table| listing.starts_with(&table)), "{listing}");
        last.push(loss);
    }
    assert!(
        last[1] != last[0] && last[2] != last[0] && last[1] != last[2],
        "all compute in one type: {last:?}"
    );
}

#[test]
fn parameters_and_moments_stay_f32() {
    let (x, y) = data();
    let step = StepBuilder::new(net(), mse(), Adam::new(0.01)).precision(Precision::Bf16);
    let step = step.compile_for((&x, &y)).unwrap();
    let halves = step.states().iter().filter(|state| state.ty().dtype.is_half()).count();
    assert_eq!((halves, step.loss_scale().unwrap()), (0, None));
}

#[test]
fn gradients_that_overflow_halve_the_scale_and_change_nothing_else() {
    let (x, y) = data();
    // The gradient of a prediction is near 1e6 / 64, times the scale: beyond 65504 from a scale of 8 on.
    let mut step = step(Precision::F16, 1e6, 2e-8);
    let before = states(&step);
    assert_eq!(step.loss_scale().unwrap(), Some(65536.0));
    let first = step.run((&x, &y)).unwrap().loss().unwrap();
    let mut after = states(&step);
    assert_eq!(step.loss_scale().unwrap(), Some(32768.0));
    after.insert("loss_scale".into(), before["loss_scale"].clone());
    assert!(after == before, "a step that overflowed has changed more than the scale");
    for _ in 0..200 {
        step.run((&x, &y)).unwrap();
    }
    let skipped = step.metrics().unwrap().metrics.get("skipped_steps").unwrap();
    let scale = step.loss_scale().unwrap().unwrap();
    assert!((5.0..40.0).contains(&skipped) && scale < 8.0, "{skipped} steps, scale {scale}");
    let last = step.evaluate((&x, &y)).unwrap().loss;
    assert!(last < 0.25 * f64::from(first), "{first} became {last}");
}

#[test]
fn gradients_beyond_f16_need_the_scale() {
    let (x, y) = data();
    // Below 1e-11, where f16 has nothing; a rate that makes up for it.
    let mut step = step(Precision::F16, 1e-8, 2e6);
    let weights = |step: &Step| step.states().read("3.weight").unwrap();
    let before = weights(&step);
    set_scale(&step, 1.0);
    step.run((&x, &y)).unwrap();
    assert!(weights(&step) == before, "without a scale there are gradients");
    set_scale(&step, 65536.0);
    let first = step.run((&x, &y)).unwrap().loss().unwrap();
    assert!(weights(&step) != before, "with the scale there are none");
    for _ in 0..200 {
        step.run((&x, &y)).unwrap();
    }
    let last = step.evaluate((&x, &y)).unwrap().loss;
    assert!(last < 0.3 * f64::from(first), "{first} became {last}");
}

#[test]
fn the_scale_grows_after_2000_good_steps() {
    let (x, y) = data();
    let mut step = step(Precision::F16, 1.0, 0.01);
    set_scale(&step, 2.0);
    let steady = Tensor::from_vec(vec![1998u32], [1]).reshape([1; 0]).to_array().unwrap();
    step.states().write("loss_scale.steady_steps", &steady).unwrap();
    let scales: Vec<f32> = (0..3)
        .map(|_| {
            step.run((&x, &y)).unwrap();
            step.loss_scale().unwrap().unwrap()
        })
        .collect();
    assert_eq!(scales, [2.0, 4.0, 4.0]);
}

/// Batches that overflow are left out of an accumulated gradient.
#[test]
fn scaling_goes_with_accumulation() {
    let (x, y) = data();
    let step = StepBuilder::new(net(), mean_square(1e6), Sgd::new(1e-8)).accumulate(2);
    let mut step = step.precision(Precision::F16).compile_for((&x, &y)).unwrap();
    for _ in 0..60 {
        step.run((&x, &y)).unwrap();
    }
    let skipped = step.metrics().unwrap().metrics.get("skipped_steps").unwrap();
    let finite =
        states(&step).values().all(|array| array.as_f32().is_none_or(|x| x.iter().all(|x| x.is_finite())));
    assert!(finite && (5.0..40.0).contains(&skipped), "{skipped}");
}

#[test]
fn runs_of_f16_go_on_with_the_same_bits_and_in_no_other_precision() {
    let folder = std::env::temp_dir().join(format!("dropforge-precision-{}", std::process::id()));
    let (train, _) = datasets::digits(60, 10, 1);
    let build = |precision: Precision| {
        let loss = |x: &Tensor, y: &Tensor| cross_entropy().loss(x, y) * 1e5;
        let net = seq![flatten(), dense(16), relu(), dense(10)];
        Trainer::new(net, loss, Adam::new(1e-2)).batch(10).precision(precision).compile(&train).unwrap()
    };
    let mut whole = build(Precision::F16);
    let reports: Vec<_> = (0..3).map(|_| whole.epoch(&train).unwrap()).collect();
    assert!(reports[0].get("train_skipped_steps").unwrap() > 0.0, "{}", reports[0]);
    let mut stopped = build(Precision::F16);
    let watch = |progress: &dropforge::train::Progress<'_>| match progress.step {
        3 => Err(Error::new("stop")),
        _ => Ok(()),
    };
    stopped.epoch_with(&train, watch).unwrap_err();
    stopped.save(&folder).unwrap();
    let other = build(Precision::Bf16).resume(&folder).unwrap_err().to_string();
    assert!(other.contains("was trained in f16, this goes on in bf16"), "{other}");
    let mut resumed = build(Precision::F16);
    resumed.resume(&folder).unwrap();
    for expected in &reports {
        let report = resumed.epoch(&train).unwrap();
        assert_eq!(report.get("train_skipped_steps"), expected.get("train_skipped_steps"));
    }
    assert!(states(resumed.step()) == states(whole.step()));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_is_fastest_is_left_to_the_device() {
    let (precision, why) = Precision::Auto.on(&Runtime::shared().unwrap());
    assert!(precision != Precision::Auto && why.is_some_and(|why| why.contains("halves")));
    let error = "bf32".parse::<Precision>().unwrap_err().to_string();
    assert!(error.contains("bf32") && error.contains("bf16"), "{error}");
}
