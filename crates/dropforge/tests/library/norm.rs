//! Batch norm across steps, modes and batch sizes.

use crate::compare::assert_close;
use dropforge::prelude::*;

fn step() -> Step {
    let ty = |batch: usize| ValueType::new(DType::F32, [batch, 2]);
    StepBuilder::new(batch_norm(), mse(), Sgd::new(0.0)).compile(&ty(4), &ty(4)).unwrap()
}

fn running(step: &Step) -> [Vec<f32>; 2] {
    ["running_mean", "running_var"].map(|name| step.states().read(name).unwrap().as_f32().unwrap().to_vec())
}

#[test]
fn a_short_batch_records_its_own_statistics() {
    let mut step = step();
    let full = Tensor::from([[1.0, 10.0], [3.0, 10.0], [5.0, 10.0], [7.0, 14.0]]);
    step.run((&full, &full)).unwrap();
    let [mean, variance] = running(&step);
    // Means 4 and 11; unbiased variances 20/3 and 4.
    assert_close("mean", &mean, &[0.4, 1.1], 1e-6);
    assert_close("variance", &variance, &[0.9 + 2.0 / 3.0, 0.9 + 0.4], 1e-6);

    let short = Tensor::from([[0.0, 1.0], [2.0, 1.0]]);
    step.run((&short, &short)).unwrap();
    let [mean, variance] = running(&step);
    assert_close("mean", &mean, &[0.36 + 0.1, 0.99 + 0.1], 1e-6);
    assert_close("variance", &variance, &[1.41 + 0.2, 1.17], 1e-6);

    let sizes: Vec<(&str, usize)> =
        step.network().compilations().iter().map(|done| (done.program, done.batch)).collect();
    assert_eq!(sizes, [("train", 4), ("train", 2)]);
    step.run((&full, &full)).unwrap();
    step.run((&short, &short)).unwrap();
    assert_eq!(step.network().compilations().len(), 2);
}

#[test]
fn evaluation_uses_the_recorded_statistics_and_changes_nothing() {
    let mut step = step();
    let write = |name: &str, values: [f32; 2]| {
        let array = Tensor::from(values).to_array().unwrap();
        step.states().write(name, &array).unwrap();
    };
    write("running_mean", [1.0, 2.0]);
    write("running_var", [4.0, 9.0]);
    let x = Tensor::from([[3.0, 2.0], [1.0, 8.0], [1.0, 2.0]]);
    let before = running(&step);
    let y = step.predict(&x).unwrap().to_array().unwrap();
    assert_close("y", y.as_f32().unwrap(), &[1.0, 0.0, 0.0, 2.0, 0.0, 0.0], 1e-5);
    step.evaluate((&x, &x)).unwrap();
    assert_eq!(running(&step), before);
    assert_eq!(step.steps().unwrap(), 0);
}

#[test]
fn one_value_per_channel_is_an_error() {
    let mut step = step();
    let one = Tensor::ones([1, 2]);
    let error = step.run((&one, &one)).err().unwrap().to_string();
    let expected = "batch_norm: needs more than one value per channel in training, got [1, 2]: one alone has no \
         deviation, at ";
    assert!(error.starts_with(expected), "{error}");
}
