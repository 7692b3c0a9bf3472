//! Steps that are functions of a batch: several inputs, several outputs, weights of samples, shared parts.

use crate::compare::assert_close;
use dropforge::metric::{accuracy, mean, ratio};
use dropforge::prelude::*;
use dropforge::step::{Batch, Objective};

fn numbers(seed: u64, shape: &[usize]) -> Tensor {
    Generator::new(seed).randn(shape)
}

/// Two inputs of different sorts, tokens among them, and two outputs with a loss each.
fn two_headed(scope: &Scope, batch: &Batch) -> Objective {
    let words = scope.layer("words", &embedding(10, 4), &batch.get("token"));
    let both = Tensor::concat(&[&words, &batch.get("numbers")], 1);
    let hidden = scope.layer("hidden", &dense(8), &both).tanh();
    let class = scope.layer("class", &dense(3), &hidden);
    let value = scope.layer("value", &dense(1), &hidden);
    let loss =
        cross_entropy().loss(&class, &batch.get("kind")) + mse().loss(&value, &batch.get("amount")) * 0.5;
    Objective::new(loss).prediction(&class).target(&batch.get("kind")).output("value", &value).measure(
        mean("absolute", |y: &Tensor, t: &Tensor| (y - t).abs()),
        &value,
        &batch.get("amount"),
    )
}

fn two_headed_batch(len: usize) -> Batch {
    let mut generator = Generator::new(7);
    Batch::new()
        .with("token", generator.randint([len], 0, 10))
        .with("numbers", generator.randn([len, 2]))
        .with("kind", generator.randint([len], 0, 3))
        .with("amount", generator.randn([len, 1]))
}

#[test]
fn several_inputs_and_outputs() {
    let batch = two_headed_batch(12);
    let step = StepBuilder::of(two_headed, Adam::new(0.05)).metric(accuracy());
    let mut step = step.compile_for(&batch).unwrap();
    let before = step.evaluate(&batch).unwrap();
    for _ in 0..100 {
        step.run(&batch).unwrap();
    }
    let after = step.evaluate(&batch).unwrap();
    assert!(after.loss < before.loss / 2.0, "{before} {after}");
    assert_eq!(after.metrics.get("accuracy"), Some(1.0), "{after}");
    assert!(after.metrics.get("absolute") < before.metrics.get("absolute"));
    // Predictions need no targets.
    let inputs = Batch::new().with("numbers", batch.get("numbers")).with("token", batch.get("token"));
    let outputs = step.outputs(&inputs).unwrap();
    let names: Vec<&str> = outputs.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["prediction", "value"]);
    assert_eq!(outputs[1].1.shape().to_vec(), [12, 1]);
    let off = (&outputs[1].1 - batch.get("amount")).abs().mean(..).item::<f32>().unwrap();
    assert_close("absolute", &[off], &[after.metrics.get("absolute").unwrap() as f32], 1e-5);
    let right = outputs[0].1.argmax(1).eq(batch.get("kind")).cast(DType::F32).mean(..).item::<f32>().unwrap();
    assert_eq!(right, 1.0);

    let error = step.run(&inputs).err().unwrap().to_string();
    assert_eq!(error, "the batch has no field \"kind\"; it has numbers, token");
    let error = step.predict(Batch::new().with("token", batch.get("token"))).err().unwrap().to_string();
    assert_eq!(error, "the batch has no field \"numbers\"; it has token");
    let wrong = batch.clone().with("numbers", numbers(1, &[12, 3]));
    let error = step.run(&wrong).err().unwrap().to_string();
    assert_eq!(error, "the field \"numbers\" must be f32[batch, 2], got f32[12, 3]");
    let other = batch.clone().with("kind", Tensor::from_vec(vec![3; 12], [12]));
    let error = step.run(&other).err().unwrap().to_string();
    assert_eq!(error, "the target of sample 0 is 3; classes go from 0 to 2");
}

#[test]
fn a_field_that_does_not_exist_is_named_with_those_that_do() {
    let task = |_: &Scope, batch: &Batch| (batch.get("inputs") * 1.0).mean(..);
    let error = StepBuilder::of(task, Sgd::new(0.1)).compile_for((numbers(1, &[2, 2]), numbers(2, &[2, 2])));
    let error = error.err().unwrap().to_string();
    assert!(error.starts_with("batch: there is no field \"inputs\"; there are input, target, at"), "{error}");
    let silent = |scope: &Scope, batch: &Batch| scope.layer("fc", &dense(1), &batch.get("input")).mean(..);
    let mut step =
        StepBuilder::of(silent, Sgd::new(0.1)).compile_for(Batch::from(numbers(1, &[2, 2]))).unwrap();
    let error = step.predict(numbers(1, &[2, 2])).err().unwrap().to_string();
    assert!(error.contains("gives no prediction"), "{error}");
    let metric = StepBuilder::of(silent, Sgd::new(0.1)).metric(accuracy());
    let error = metric.compile_for(Batch::from(numbers(1, &[2, 2]))).err().unwrap().to_string();
    assert!(error.starts_with("the metric accuracy needs a prediction and a target"), "{error}");
}

#[test]
fn weights_of_samples_and_shared_fields() {
    // Per-sample weights, and one table for all samples.
    let task = |scope: &Scope, batch: &Batch| {
        let y = scope.layer("fc", &dense(1), &batch.get("input")) + batch.get("offset");
        let each = (y - batch.get("target")).square().sum(1);
        let weight = batch.get("weight");
        (&each * &weight).sum(..) / weight.sum(..)
    };
    let (x, y) = (numbers(1, &[6, 2]), numbers(2, &[6, 1]));
    let with = |weights: [f32; 6]| {
        Batch::from((&x, &y))
            .with("weight", Tensor::from(weights))
            .with_shared("offset", Tensor::from([0.25]))
    };
    let ones = with([1.0; 6]);
    let mut step = StepBuilder::of(task, Sgd::new(0.05)).compile_for(&ones).unwrap();
    let loss = |step: &mut Step, batch: &Batch| step.evaluate(batch).unwrap().loss;
    // A weight of 0 takes a sample out as if it were not there.
    let without = with([1.0, 1.0, 1.0, 1.0, 0.0, 0.0]);
    let first = Batch::from((x.slice(0, ..4), y.slice(0, ..4)))
        .with("weight", Tensor::ones([4]))
        .with_shared("offset", Tensor::from([0.25]));
    let (a, b) = (loss(&mut step, &without), loss(&mut step, &first));
    assert!((a - b).abs() < 1e-6 && (a - loss(&mut step, &ones)).abs() > 1e-3, "{a} {b}");
    assert_eq!(ones.samples().unwrap(), 6);
}

#[test]
fn a_shared_layer_is_the_same_layer() {
    // Statistics follow one another, gradients add up: as one layer that sees both.
    let task = |scope: &Scope, batch: &Batch| {
        let tower = seq![dense(3), batch_norm()];
        let left = scope.layer("tower", &tower, &batch.get("left"));
        let right = scope.shared().layer("tower", &tower, &batch.get("right"));
        (left * 2.0 - right).square().mean(..)
    };
    let batch = Batch::new().with("left", numbers(1, &[5, 4])).with("right", numbers(2, &[5, 4]));
    let mut step = StepBuilder::of(task, Sgd::new(0.1)).seed(3).compile_for(&batch).unwrap();
    assert_eq!(step.network().parameter_count(), 3 * 4 + 3 + 3 + 3);
    let (weight, bias) =
        (step.states().read("tower.0.weight").unwrap(), step.states().read("tower.0.bias").unwrap());
    step.run(&batch).unwrap();
    let affine =
        |x: Tensor| x.matmul(&Tensor::from_array(weight.clone()).t()) + Tensor::from_array(bias.clone());
    let (left, right) = (affine(batch.get("left")).mean(0), affine(batch.get("right")).mean(0));
    let expected = (left * 0.1) * 0.9 + right * 0.1;
    let found = step.states().read("tower.1.running_mean").unwrap();
    assert_close("running mean", found.as_f32().unwrap(), &expected.to_vec::<f32>().unwrap(), 1e-5);
    // Names must still differ where nobody asked for sharing.
    let twice = |scope: &Scope, x: &Tensor| {
        let y = scope.layer("a", &dense(4), x);
        scope.layer("a", &dense(4), &y)
    };
    assert!(Network::compile(twice, [4]).err().unwrap().to_string().contains("declared twice"));
    let misfit = |scope: &Scope, x: &Tensor| {
        let y = scope.layer("a", &dense(4), x);
        scope.shared().layer("a", &dense(5), &y)
    };
    let error = Network::compile(misfit, [4]).err().unwrap().to_string();
    assert!(error.contains("a.weight is f32[4, 4], here it would be f32[5, 4]"), "{error}");
}

#[test]
fn batches_on_the_device_are_used_there() {
    let (x, y) = (numbers(1, &[4, 3]), numbers(2, &[4, 2]));
    let runtime = Runtime::shared().unwrap();
    let make = || compile(dense(2), mse(), Sgd::new(0.1), (&x, &y)).unwrap();
    let (mut host, mut device) = (make(), make());
    let placed = (x.to(&runtime).unwrap(), y.to(&runtime).unwrap());
    // Computed on the way, without having been read.
    let computed = (x.to(&runtime).unwrap() * 1.0, y.to(&runtime).unwrap() * 1.0);
    for _ in 0..3 {
        let expected = host.run((x.to_array().unwrap(), y.to_array().unwrap())).unwrap().loss().unwrap();
        assert_eq!(device.run(&placed).unwrap().loss().unwrap(), expected);
        let expected = host.run((&x, &y)).unwrap().loss().unwrap();
        assert_eq!(device.run(&computed).unwrap().loss().unwrap(), expected);
    }
    assert_eq!(device.evaluate(&placed).unwrap().loss, host.evaluate((&x, &y)).unwrap().loss);
}

#[test]
fn metrics_are_exact_over_batches_of_any_size() {
    // 3 batches of different sizes, in training and in evaluation, against all samples at once.
    let (x, y) = (numbers(1, &[11, 3]), numbers(2, &[11, 1]));
    let above = ratio("above", |p: &Tensor, t: &Tensor| {
        let hits = p.gt(t).cast(DType::I32);
        (hits.sum(..), Tensor::ones_like(&hits).sum(..))
    });
    let largest = mean("error", |p: &Tensor, t: &Tensor| (p - t).abs());
    let step = StepBuilder::new(dense(1), mse(), Sgd::new(0.0)).metric(above).metric(largest);
    let mut step = step.compile_for((&x, &y)).unwrap();
    let whole = step.evaluate((&x, &y)).unwrap();
    assert_eq!(whole.metrics.iter().map(|value| value.name.as_str()).collect::<Vec<_>>(), ["above", "error"]);
    let mut parts = step.start_evaluation().unwrap();
    for range in [0..5, 5..10, 10..11] {
        parts.add((x.slice(0, range.clone()), y.slice(0, range))).unwrap();
    }
    let parts = parts.finish().unwrap();
    for range in [0..7, 7..11] {
        step.run((x.slice(0, range.clone()), y.slice(0, range))).unwrap();
    }
    let trained = step.metrics().unwrap();
    for found in [&parts, &trained] {
        assert_eq!(found.samples, 11);
        assert!((found.loss - whole.loss).abs() < 1e-6, "{found} {whole}");
        assert_eq!(found.metrics.get("above"), whole.metrics.get("above"));
        let (a, b) = (found.metrics.get("error").unwrap(), whole.metrics.get("error").unwrap());
        assert!((a - b).abs() < 1e-6, "{found} {whole}");
    }
    step.reset_metrics().unwrap();
    assert_eq!(step.metrics().unwrap().samples, 0);
    assert!(step.metrics().unwrap().loss.is_nan());
    assert_eq!(step.metric_sums("above").unwrap(), Some(vec![vec![0.0], vec![0.0]]));
    assert_eq!(step.metric_sums("below").unwrap(), None);
}

/// A sum of floats loses nothing over many batches, and counts carry over beyond 32 bits.
#[test]
fn sums_of_metrics_do_not_round_away() {
    let sums = ratio("sums", |p: &Tensor, _: &Tensor| {
        (p.sum(..) * 0.0 + 0.1, (p.sum(..) * 0.0).cast(DType::I32) + 2_000_000_000)
    });
    let (x, y) = (Tensor::ones([1, 1]), Tensor::ones([1, 1]));
    let mut step =
        StepBuilder::new(dense(1), mse(), Sgd::new(0.0)).metric(sums).compile_for((&x, &y)).unwrap();
    const STEPS: usize = 30_000;
    for _ in 0..STEPS {
        step.run((&x, &y)).unwrap();
    }
    let sums = step.metric_sums("sums").unwrap().unwrap();
    let expected = f64::from(0.1f32) * STEPS as f64;
    assert!((sums[0][0] - expected).abs() < 1e-7, "{} {expected}", sums[0][0]);
    assert_eq!(sums[1][0], 2e9 * STEPS as f64);
}

#[test]
fn a_metric_that_does_not_fit_says_so() {
    let (x, y) = (numbers(1, &[4, 3]), numbers(2, &[4, 1]));
    let step =
        StepBuilder::new(dense(2), |p: &Tensor, _: &Tensor| p.mean(..), Sgd::new(0.0)).metric(accuracy());
    let error = step.compile_for((&x, &y)).err().unwrap().to_string();
    assert!(error.starts_with("accuracy: needs scores f32[batch, classes, ..]"), "{error}");
    let odd = mean("odd", |p: &Tensor, _: &Tensor| p.gt(0.0));
    let step = StepBuilder::new(dense(1), mse(), Sgd::new(0.0)).metric(odd);
    step.compile_for((&x, &y)).unwrap();
    let odd = ratio("odd", |p: &Tensor, t: &Tensor| (p.gt(0.0), t.sum(..)));
    let step = StepBuilder::new(dense(1), mse(), Sgd::new(0.0)).metric(odd);
    let error = step.compile_for((&x, &y)).err().unwrap().to_string();
    assert!(error.starts_with("odd: a sum must be of counts (i32) or floats, got bool"), "{error}");
}

#[test]
fn accuracy_of_one_logit() {
    let (x, y) = (Tensor::from([[1.0], [-1.0], [2.0], [3.0]]), Tensor::from([[1.0], [0.0], [0.0], [1.0]]));
    let step = StepBuilder::new(dense(1), mse(), Sgd::new(0.0)).metric(accuracy());
    let mut step = step.compile_for((&x, &y)).unwrap();
    step.states().write("weight", &Tensor::from([[1.0]]).to_array().unwrap()).unwrap();
    step.states().write("bias", &Tensor::from([0.0]).to_array().unwrap()).unwrap();
    assert_eq!(step.evaluate((&x, &y)).unwrap().metrics.get("accuracy"), Some(0.75));
}
