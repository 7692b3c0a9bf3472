//! The operation that makes a number that is none is named.

use dropforge::data::{Dataset, Description};
use dropforge::prelude::*;

fn points() -> Dataset {
    let x: Vec<f32> = (0..40).map(|i| i as f32 / 20.0).collect();
    let y: Vec<f32> = x.iter().map(|x| 2.0 * x).collect();
    Dataset::from_f32(Description::values("line", &[1], &[1]), x, y).unwrap()
}

fn train(net: impl Layer + 'static, lr: f64) -> String {
    let data = points();
    let trainer = Trainer::new(net, mse(), Sgd::new(lr)).batch(10).detect_anomaly(true);
    let mut trainer = trainer.compile(&data).unwrap();
    for _ in 0..20 {
        if let Err(error) = trainer.epoch(&data) {
            return error.to_string();
        }
    }
    panic!("all went well")
}

#[test]
fn forward() {
    let negative = |scope: &Scope, x: &Tensor| (scope.layer("inner", &dense(1), x).square() - 1e6).log();
    let message = train(seq!["head" => negative], 0.1);
    for part in [
        "step 1: the loss became NaN; first log in head",
        "anomalies.rs:",
        "of 10 elements (forward), of numbers from -",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[test]
fn backward() {
    // The slope of a square root at 0 is infinite, and 0 times that is no number.
    let root = |_: &Scope, x: &Tensor| (x * 0.0).sqrt();
    let message = train(seq![dense(1), "root" => root], 0.1);
    for part in ["step 1: ", " is no longer finite; first ", "root", "(backward)"] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[test]
fn divergence() {
    let message = train(dense(1), 1e20);
    assert!(message.starts_with("step ") && message.contains("; first "), "{message}");
}

#[test]
fn a_sweep_changes_nothing() {
    let data = points();
    let mut trainer = Trainer::new(dense(1), mse(), Sgd::new(0.05)).batch(10).compile(&data).unwrap();
    let before = trainer.step().copy_states().unwrap();
    let sweep = trainer.find_rate(&data, 1e-4, 100.0, 80).unwrap();
    assert!(sweep.points.len() < 80, "the loss of a rate of 100 diverges");
    let suggestion = sweep.suggestion.unwrap();
    assert!((1e-3..1.0).contains(&suggestion), "{suggestion}");
    assert_eq!(trainer.step().copy_states().unwrap(), before);
    assert_eq!(trainer.step().learning_rate(), Some(0.05));
    let error = trainer.find_rate(&data, 1.0, 0.1, 10).unwrap_err().to_string();
    assert!(error.contains("0 < low < high"), "{error}");
}

/// A relative error of a target of 0 is infinite, which is no fault of the network; one that is, is still found beside
/// it.
#[test]
fn metrics_are_no_anomaly() {
    let data = points();
    let fit = |net: Box<dyn Layer>| {
        let infinite = dropforge::metric::mean("off", |y: &Tensor, t: &Tensor| (y - t).abs() / (t * 0.0));
        let trainer = Trainer::new(net, mse(), Sgd::new(0.1)).metric(infinite).batch(10).detect_anomaly(true);
        let mut trainer = trainer.compile(&data).unwrap();
        trainer.epoch(&data).map(drop).and_then(|()| trainer.epoch(&data).map(drop))
    };
    fit(Box::new(dense(1))).unwrap();
    let root = |_: &Scope, x: &Tensor| (x * 0.0).sqrt();
    let message = fit(Box::new(seq![dense(1), "root" => root])).unwrap_err().to_string();
    assert!(
        message.contains("root") && message.contains("(backward)") && !message.contains("metric"),
        "{message}"
    );
}
