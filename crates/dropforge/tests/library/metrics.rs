//! Metrics against scikit-learn: scripts/golden_metrics.py makes the numbers.

use crate::golden::Golden;
use dropforge::loss::{bce, bce_with_logits, nll};
use dropforge::metric::{Metric, auc, f1, mean};
use dropforge::prelude::*;
use dropforge::run::registry::{build, registry};
use dropforge::settings::{TYPE, Table, Value};
use dropforge::step::{Batch, Meter, Objective};
use std::collections::BTreeSet;
use std::sync::Arc;

/// `f1:average=macro` as a metric.
fn metric(text: &str) -> Arc<dyn Metric> {
    let (name, settings) = text.split_once(':').unwrap_or((text, ""));
    let mut table = Table::from_iter([(TYPE.to_string(), Value::String(name.into()))]);
    for (key, value) in settings.split(',').filter_map(|setting| setting.split_once('=')) {
        let value = value.parse().map_or_else(|_| Value::String(value.into()), Value::Integer);
        table.insert(key.into(), value);
    }
    build::<dyn Metric>(&Value::Table(table)).unwrap().into()
}

/// `f1:average=per_class/f1_2` as a metric, and the name of the figure: its own unless there is another.
fn figure(text: &str) -> (Arc<dyn Metric>, String) {
    let (text, detail) = text.split_once('/').map_or((text, None), |(text, detail)| (text, Some(detail)));
    let metric = metric(text);
    let name = detail.map_or_else(|| metric.name(), String::from);
    (metric, name)
}

/// The metrics of these texts, each once.
fn metrics_of(expected: &[(String, f64)]) -> Vec<Arc<dyn Metric>> {
    let mut all: Vec<Arc<dyn Metric>> = Vec::new();
    for (text, _) in expected {
        let (metric, _) = figure(text);
        if all.iter().all(|other| other.config().unwrap() != metric.config().unwrap()) {
            // Figures are found by names: no two settings may share one.
            assert!(all.iter().all(|other| other.name() != metric.name()), "two metrics are called {text}");
            all.push(metric);
        }
    }
    all
}

/// The cases of a file: their names, each with the metrics and what they come to.
fn cases(golden: &Golden) -> Vec<(String, Vec<(String, f64)>)> {
    let mut all: Vec<(String, Vec<(String, f64)>)> = Vec::new();
    for (key, array) in golden.under("") {
        let (case, name) = key.split_once('.').unwrap();
        if all.last().is_none_or(|(last, _)| last != case) {
            all.push((case.into(), Vec::new()));
        }
        if !["x", "target"].contains(&name) {
            let value = f64::from(array.as_f32().unwrap()[0]);
            all.last_mut().unwrap().1.push((name.into(), value));
        }
    }
    all
}

#[track_caller]
fn assert_agrees(what: &str, found: f64, expected: f64) {
    let close = (found - expected).abs() <= 1e-6 * expected.abs().max(1.0);
    assert!(close || (found.is_nan() && expected.is_nan()), "{what}: {found}, scikit-learn has {expected}");
}

/// Batches of several sizes, so that a mean of means would be wrong.
fn batches(x: &Tensor, target: &Tensor) -> Vec<(Tensor, Tensor)> {
    let all = x.shape()[0];
    let cuts = [0, all / 5, all / 5 + 1, all];
    let part = |of: &Tensor, pair: &[usize]| of.slice(0, pair[0]..pair[1]);
    cuts.windows(2).filter(|pair| pair[0] < pair[1]).map(|pair| (part(x, pair), part(target, pair))).collect()
}

fn check(file: &str) {
    let golden = Golden::read(&format!("metrics/{file}"));
    for (case, expected) in cases(&golden) {
        let (x, target) = (golden.tensor(&format!("{case}.x")), golden.tensor(&format!("{case}.target")));
        let metrics = metrics_of(&expected);
        let mut meter = Meter::new(|x: &Tensor, _: &Tensor| x.sum(..) * 0.0).metrics(metrics);
        for (x, target) in batches(&x, &target) {
            meter.add(&x, &target, x.shape()[0]).unwrap_or_else(|error| panic!("{file} {case}: {error}"));
        }
        let measured = meter.finish().metrics;
        for (text, value) in &expected {
            let (_, name) = figure(text);
            assert_agrees(&format!("{file} {case} {text}"), measured.get(&name).unwrap(), *value);
        }
    }
}

#[test]
fn classes_agree_with_scikit_learn() {
    check("multiclass");
}

#[test]
fn one_logit_agrees_with_scikit_learn() {
    check("binary");
}

#[test]
fn numbers_agree_with_scikit_learn() {
    check("regression");
}

/// The same inside of a compiled step, where sums lie on the device and what is kept comes out with every batch.
#[test]
fn a_step_measures_the_same() {
    for file in ["multiclass", "binary", "regression"] {
        let golden = Golden::read(&format!("metrics/{file}"));
        let (_, expected) = cases(&golden).into_iter().find(|(case, _)| case == "random").unwrap();
        let identity = |scope: &Scope, batch: &Batch| {
            let x = batch.get("input") * scope.parameter("factor", [1], Init::constant(1.0));
            Objective::new(x.square().mean(..)).prediction(&x).target(&batch.get("target"))
        };
        let (x, target) = (golden.tensor("random.x"), golden.tensor("random.target"));
        let builder = StepBuilder::of(identity, Sgd::new(0.0));
        let builder = builder.metrics(metrics_of(&expected));
        let mut step = builder.compile_for((&x, &target)).unwrap();
        // Twice: an evaluation begins anew.
        for _ in 0..2 {
            let mut evaluation = step.start_evaluation().unwrap();
            for (x, target) in batches(&x, &target) {
                evaluation.add((&x, &target)).unwrap();
            }
            let measured = evaluation.finish().unwrap().metrics;
            for (text, value) in &expected {
                let (_, name) = figure(text);
                assert_agrees(&format!("{file} {text}"), measured.get(&name).unwrap(), *value);
            }
        }
        // Over training steps all but those that keep something.
        step.run((&x, &target)).unwrap();
        let trained = step.metrics().unwrap().metrics;
        for (text, value) in &expected {
            let (_, name) = figure(text);
            match trained.get(&name) {
                Some(found) => assert_agrees(text, found, *value),
                None => {
                    assert!(
                        ["auc", "average_precision", "r2", "pearson", "spearman"].contains(&&*name),
                        "{name}"
                    );
                }
            }
        }
    }
}

/// Whoever asks for several entries gets each under its own name, and need not say which of two numbers is better.
#[test]
fn every_metric_goes_by_its_own_name() {
    for entry in &registry().metrics {
        let (own, metric) = (entry.declaration.name, metric(entry.declaration.name));
        let other =
            registry().metrics.iter().map(|entry| entry.declaration.name).find(|name| *name == metric.name());
        assert!(other.is_none_or(|other| other == own), "{own} is reported as {other:?}");
        assert!(metric.better().is_some(), "{own} does not say which of two numbers is better");
    }
    let names = ["balanced_accuracy", "confusion_matrix"];
    let (x, y) = (Tensor::zeros([4, 3]), Tensor::from([0, 1, 2, 0]));
    let builder = StepBuilder::new(dense(3), cross_entropy(), Sgd::new(0.1));
    let mut step = builder.metrics(names.map(metric)).compile_for((&x, &y)).unwrap();
    let measured = step.evaluate((&x, &y)).unwrap().metrics;
    assert_eq!(measured.get(names[0]).unwrap(), measured.get(names[1]).unwrap());
}

#[test]
fn every_metric_has_golden_values() {
    let mut found = BTreeSet::from(["confusion_matrix".to_string()]);
    for file in ["multiclass", "binary", "regression"] {
        for (_, expected) in cases(&Golden::read(&format!("metrics/{file}"))) {
            found.extend(expected.iter().map(|(name, _)| name.split(':').next().unwrap().to_string()));
        }
    }
    for entry in &registry().metrics {
        assert!(found.contains(entry.declaration.name), "no golden values of {}", entry.declaration.name);
    }
}

#[test]
fn mistakes_say_what_is_right() {
    let (x, y) = (Tensor::zeros([4, 3]), Tensor::from([0, 1, 2, 0]));
    let compile = |metrics: Vec<Arc<dyn Metric>>| {
        let builder = StepBuilder::new(dense(3), cross_entropy(), Sgd::new(0.1)).metrics(metrics);
        builder.compile_for((&x, &y)).err().unwrap().to_string()
    };
    let error = compile(vec![Arc::new(f1()), Arc::new(mean("f1", |x: &Tensor, _: &Tensor| x.clone()))]);
    assert_eq!(error, "two metrics are called f1; leave one of them out");
    let error = compile(vec![metric("f1:average=binary")]);
    assert!(error.contains("is for two classes, there are 3") && error.contains("macro"), "{error}");
    let error = compile(vec![metric("top_k:k=20")]);
    assert!(error.contains("the 20 best of 3 classes"), "{error}");
    let error = compile(vec![metric("r2")]);
    assert!(error.contains("needs predictions and targets f32 of one shape"), "{error}");
    let zeros = Tensor::zeros([4, 2]);
    let builder =
        StepBuilder::new(dense(3), |x: &Tensor, _: &Tensor| x.mean(..), Sgd::new(0.1)).metric(auc());
    let error = builder.compile_for((&x, &zeros)).err().unwrap().to_string();
    assert!(error.contains("one logit f32 for each target") && error.contains("[4, 3]"), "{error}");
}

/// Settings that change what a figure means stand in its name; defaults leave it alone.
#[test]
fn settings_stand_in_names() {
    use dropforge::metric::{Average, calibration_error, kappa, perplexity, recall, specificity};
    let names: Vec<String> = vec![
        f1().name(),
        f1().threshold(0.5).name(),
        recall().average(Average::PerClass).name(),
        specificity().average(Average::Macro).threshold(-1.5).name(),
        kappa().threshold(0.5).name(),
        calibration_error().name(),
        calibration_error().bins(10).name(),
        perplexity().ignore(3).name(),
    ];
    assert_eq!(
        names,
        [
            "f1",
            "f1_at_0.5",
            "recall_per_class",
            "specificity_macro_at_-1.5",
            "kappa_at_0.5",
            "calibration_error",
            "calibration_error_10_bins",
            "perplexity_without_3"
        ]
    );
    let (x, y) = (Tensor::from([[0.2], [0.7], [0.9]]), Tensor::from([[0.0], [0.0], [1.0]]));
    let builder = StepBuilder::new(dense(1), mse(), Sgd::new(0.0));
    let both = builder.metric(f1()).metric(f1().threshold(0.5)).metric(f1().average(Average::PerClass));
    let measured = both.compile_for((&x, &y)).unwrap().evaluate((&x, &y)).unwrap();
    assert!(
        ["f1", "f1_at_0.5", "f1_per_class", "f1_0", "f1_1"].iter().all(|name| measured.get(name).is_some())
    );
}

/// Where chance is always right scikit-learn's kappa is 0 / 0; here it is 0.
#[test]
fn kappa_of_one_class_is_zero() {
    let mut meter = Meter::new(cross_entropy()).metrics([metric("kappa")]);
    meter.add(&Tensor::from([[9.0, 0.0], [9.0, 0.0]]), &Tensor::from([0, 0]), 2).unwrap();
    assert_eq!(meter.finish().get("kappa"), Some(0.0));
}

/// What is about classes is not measured of numbers.
#[test]
fn metrics_of_classes_refuse_numbers() {
    let (x, y) = (Tensor::zeros([4, 2]), Tensor::from([[0.0], [1.0], [2.5], [0.0]]));
    for name in ["accuracy", "f1", "auc", "log_loss", "confusion_matrix"] {
        let builder = StepBuilder::new(dense(1), mse(), Sgd::new(0.1)).metric(metric(name));
        let mut step = builder.compile_for((&x, &y)).unwrap();
        for error in [step.run((&x, &y)).err().unwrap(), step.evaluate((&x, &y)).err().unwrap()] {
            let error = error.to_string();
            assert!(error.contains(&format!("sample 2 is 2.5, and the metric {name}")), "{error}");
        }
        let mut meter = Meter::new(mse()).metrics([metric(name)]);
        assert!(meter.add(&y, &y, 4).unwrap_err().to_string().contains("is about classes"));
        // Of yes and no they are measured whatever the loss; a loss of probabilities takes parts of a yes.
        let labels = Tensor::from([[0.0], [1.0], [1.0], [0.0]]);
        step.run((&x, &labels)).unwrap();
        let builder = StepBuilder::new(dense(1), dropforge::loss::bce_with_logits(), Sgd::new(0.1));
        let mut step = builder.metric(metric(name)).compile_for((&x, &y)).unwrap();
        step.run((&x, &Tensor::from([[0.1], [0.9], [0.9], [0.1]]))).unwrap();
    }
}

/// Numbers that are no number, and nothing at all, come to no number instead of a panic.
#[test]
fn nothing_and_no_numbers() {
    for entry in &registry().metrics {
        let metric = metric(entry.declaration.name);
        // As in a run that is damaged.
        assert!(metric.compute(&[]).iter().next().is_some_and(|own| own.value.is_nan()), "{}", metric.name());
        // These take scores of several classes only.
        if ["perplexity", "token_accuracy", "top_k"].contains(&entry.declaration.name) {
            continue;
        }
        let mut meter = Meter::new(|x: &Tensor, _: &Tensor| x.sum(..) * 0.0).metrics([metric.clone()]);
        meter.add(&Tensor::from([f32::NAN, 1.0]), &Tensor::from([1.0, 0.0]), 2).unwrap();
        assert!(meter.finish().metrics.iter().next().is_some());
        assert!(Meter::new(mse()).metrics([metric]).finish().metrics.is_empty());
    }
}

/// A run holds what its metrics keep as well, so that whoever opens it measures the same.
#[test]
fn a_run_measures_the_same() {
    use dropforge::data::{Dataset, Description};
    let run = std::env::temp_dir().join(format!("dropforge-metrics-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&run);
    let x = Generator::new(3).randn([150, 2]);
    let y = x.square().sum_keep(1).lt(1.4).cast(DType::F32);
    let about = Description::values("ring", &[2], &[1]);
    let data = Dataset::from_f32(about, x.to_vec::<f32>().unwrap(), y.to_vec::<f32>().unwrap()).unwrap();
    let names = [
        "accuracy",
        "auc",
        "average_precision",
        "brier",
        "calibration_error",
        "confusion_matrix",
        "f1",
        "mcc",
    ];
    let loss = dropforge::loss::bce_with_logits();
    let trainer = Trainer::new(seq![dense(8), tanh(), dense(1)], loss, Adam::new(1e-2)).batch(40);
    let mut trainer =
        names.iter().fold(trainer, |all, name| all.metric(metric(name))).compile(&data).unwrap();
    trainer.epoch(&data).unwrap();
    trainer.save(&run).unwrap();
    let expected = trainer.evaluate(&data).unwrap();
    let found = Trained::open(&run, &Runtime::shared().unwrap()).unwrap().evaluate(&data, 64).unwrap();
    assert!(expected.metrics.iter().count() > names.len() && found.samples == 150);
    for value in &expected.metrics {
        assert_agrees(&value.name, found.metrics.get(&value.name).unwrap(), value.value);
    }
    let (scores, targets) = trainer.predict_all(&data).unwrap();
    let positive: Vec<bool> = targets.to_vec::<f32>().unwrap().iter().map(|&target| target > 0.5).collect();
    let area = dropforge::metric::roc_auc(&scores.to_vec::<f32>().unwrap(), &positive);
    assert_agrees("auc", area, found.metrics.get("auc").unwrap());
    std::fs::remove_dir_all(run).unwrap();
}

/// A network that ends in a sigmoid or a softmax says so by its last operation, whatever the loss is; metrics that are
/// told something else go by that.
#[test]
fn probabilities_are_told_from_scores() {
    let x = Tensor::from([[1.0], [-1.0], [2.0], [-3.0], [0.5], [-0.25]]);
    let target = Tensor::from([[1.0], [0.0], [0.0], [0.0], [1.0], [1.0]]);
    let classes = Tensor::from([1, 0, 0, 0, 1, 1]);
    // What stands at these scores, where two are wrong.
    let measure = |net: Box<dyn Layer>, loss: Box<dyn Loss>, target: &Tensor| {
        let names = "accuracy,f1,auc,log_loss,confusion_matrix,kappa";
        let step = StepBuilder::new(net, loss, Sgd::new(0.0)).metrics(names.split(',').map(metric));
        let mut step = step.compile_for((&x, target)).unwrap();
        step.run((&x, target)).unwrap();
        let (trained, measured) = (step.metrics().unwrap(), step.evaluate((&x, target)).unwrap());
        assert_eq!(trained.get("f1"), measured.get("f1"));
        measured
    };
    let as_is = |_: &Scope, x: &Tensor| x.clone();
    let yes = |_: &Scope, x: &Tensor| x.sigmoid();
    let two = |_: &Scope, x: &Tensor| Tensor::concat(&[&(x * 0.0), x], 1);
    let softmax = |_: &Scope, x: &Tensor| Tensor::concat(&[&(x * 0.0), x], 1).softmax(1);
    let weighed = |net: fn(&Scope, &Tensor) -> Tensor| -> Box<dyn Layer> {
        Box::new(move |scope: &Scope, x: &Tensor| {
            let one = scope.parameter("one", [1], Init::constant(1.0));
            net(scope, &(x * one))
        })
    };
    let squares = || -> Box<dyn Loss> { Box::new(|p: &Tensor, t: &Tensor| (p - t).square().mean(..)) };
    let logs = || -> Box<dyn Loss> { Box::new(|p: &Tensor, t: &Tensor| nll().loss(&p.log(), t)) };
    let expected = measure(weighed(as_is), Box::new(bce_with_logits()), &target);
    assert_agrees("accuracy", expected.get("accuracy").unwrap(), 4.0 / 6.0);
    assert_agrees("auc", expected.get("auc").unwrap(), 6.0 / 9.0);
    for (name, found) in [
        ("bce", measure(weighed(yes), Box::new(bce()), &target)),
        ("squares", measure(weighed(yes), squares(), &target)),
        ("cross-entropy", measure(weighed(two), Box::new(cross_entropy()), &classes)),
        ("logs", measure(weighed(softmax), logs(), &classes)),
    ] {
        for figure in &expected.metrics {
            let value = found.get(&figure.name).unwrap();
            assert!(
                (value - figure.value).abs() < 1e-6,
                "{name}: {} is {value}, not {}",
                figure.name,
                figure.value
            );
        }
    }
    // What was chosen stays.
    let step = StepBuilder::new(weighed(yes), bce(), Sgd::new(0.0)).metric(f1().threshold(0.99));
    let measured = step.compile_for((&x, &target)).unwrap().evaluate((&x, &target)).unwrap();
    assert_eq!(measured.get("f1_at_0.99"), Some(0.0));
}
