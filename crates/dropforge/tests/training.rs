//! Training from the outside: what is learned, the same bits twice, and going on after being stopped.

use dropforge::data::{self, Corpus, Dataset, Description, from_iter, from_records};
use dropforge::loss::bce_with_logits;
use dropforge::models::{GptOptions, gpt};
use dropforge::prelude::*;
use dropforge::run::{RunDir, read_safetensors};
use dropforge::schedule::Moment;
use dropforge::step::{Batch, Objective};
use dropforge::train::Fit;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("dropforge-training-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// 2-dimensional points in three classes, 50 of them, so that batches of 8 leave a short one.
fn points() -> Dataset {
    let description = Description::classes("points", &[2], ["a", "b", "c"]);
    let at = |i: usize| [(i as f32 * 0.7).sin(), (i as f32 * 1.3).cos()];
    let class = |[x, y]: [f32; 2]| if x > 0.3 { 0 } else { 1 + i32::from(y > 0.0) };
    let features = (0..50).flat_map(at).collect();
    let classes: Vec<i32> = (0..50).map(|i| class(at(i))).collect();
    Dataset::from_f32(description, features, classes).unwrap()
}

/// Everything a checkpoint has to bring back: momenta, running statistics, random numbers.
fn schedule() -> Schedule {
    Schedule::cosine(4.0).warmup(0.5)
}

fn trainer(seed: u64) -> Trainer {
    let net = seq![dense(12), batch_norm(), relu(), dropout(0.25), dense(3)];
    let trainer =
        Trainer::new(net, cross_entropy(), Adam::new(0.03)).batch(8).seed(seed).schedule(schedule());
    trainer.compile(&points()).unwrap()
}

fn bits(trainer: &Trainer) -> BTreeMap<String, Vec<u8>> {
    let states = trainer.step().states();
    states
        .iter()
        .map(|state| (state.name().to_string(), state.read().unwrap().data().bytes().to_vec()))
        .collect()
}

/// What was measured, without what depends on the clock.
fn measured(trainer: &Trainer) -> Vec<(u64, f64, Option<f64>, f64)> {
    let figures = |report: &dropforge::train::EpochReport| {
        (report.step, report.loss, report.get("train_accuracy"), report.lr)
    };
    trainer.history().iter().map(figures).collect()
}

#[test]
fn a_regression_finds_the_weights_that_made_it() {
    let (weights, bias) = ([1.5f32, -2.0, 0.25], 0.75f32);
    let mut generator = Generator::new(3);
    let features = generator.randn([200, 3]).to_vec::<f32>().unwrap();
    let value = |x: &[f32]| x.iter().zip(weights).map(|(x, w)| x * w).sum::<f32>() + bias;
    let values: Vec<f32> = features.chunks(3).map(value).collect();
    let description = Description::values("plane", &[3], &[1]);
    let data = Dataset::from_f32(description, features, values).unwrap();
    let mut trainer = Trainer::new(dense(1), mse(), Sgd::new(0.1)).batch(32).compile(&data).unwrap();
    for _ in 0..30 {
        let report = trainer.epoch(&data).unwrap();
        assert!(report.metrics.is_empty());
    }
    let found = trainer.step().states().read("weight").unwrap();
    let close = found.as_f32().unwrap().iter().zip(weights).all(|(found, w)| (found - w).abs() < 1e-4);
    assert!(close, "{found:?}");
    assert!(trainer.evaluate(&data).unwrap().loss < 1e-8);
    let one = trainer.predict(Tensor::from([[1.0, 1.0, 1.0]])).unwrap().item::<f32>().unwrap();
    assert!((one - 0.5).abs() < 1e-3, "{one}");
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    let train = |seed| {
        let mut trainer = trainer(seed);
        let report = trainer.epoch(&points()).unwrap();
        (report.loss, report.metrics, bits(&trainer))
    };
    let first = train(1);
    assert!(first == train(1));
    assert!(first.2 != train(2).2);
}

#[test]
fn stopping_anywhere_changes_nothing() {
    const EPOCHS: u64 = 4;
    let data = points();
    let mut whole = trainer(7);
    for _ in 0..EPOCHS {
        whole.epoch(&data).unwrap();
        whole.validate(&data).unwrap();
    }
    assert_eq!(whole.steps(), EPOCHS * 7);
    let folder = Folder::new("resume");
    for stops in
        [vec![1], vec![6], vec![7], vec![8], vec![3, 4, 13, 21], vec![27], (1..28).step_by(2).collect()]
    {
        let _ = std::fs::remove_dir_all(&folder.0);
        let mut trainer = trainer(7);
        for &stop in &stops {
            // An error from the one who watches interrupts; then the process ends, and another one goes on.
            while trainer.steps() < stop {
                let interrupted = trainer.epoch_with(&data, |progress| match progress.step == stop {
                    true => Err(Error::new("stop")),
                    false => Ok(()),
                });
                match interrupted {
                    Ok(_) => drop(trainer.validate(&data).unwrap()),
                    Err(error) => assert_eq!(error.to_string(), "stop"),
                }
            }
            trainer.save(&folder.0).unwrap();
            trainer = self::trainer(7);
            assert!(trainer.resume(&folder.0).unwrap());
            assert_eq!(trainer.steps(), stop);
        }
        while trainer.epochs() < EPOCHS {
            trainer.epoch(&data).unwrap();
            trainer.validate(&data).unwrap();
        }
        assert!(bits(&trainer) == bits(&whole), "stopped at {stops:?}");
        assert_eq!(measured(&trainer), measured(&whole), "stopped at {stops:?}");
    }
}

#[test]
fn checkpoints_are_written_in_the_middle_of_an_epoch() {
    let folder = Folder::new("autosave");
    let data = points();
    let mut trainer = trainer(3);
    trainer.autosave(RunDir::open(&folder.0).unwrap(), Duration::ZERO);
    let mut numbers = Vec::new();
    let newest = |path: &Path| {
        let names = std::fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("checkpoint-")).collect::<Vec<_>>()
    };
    trainer
        .epoch_with(&data, |_| {
            numbers.push(newest(&folder.0));
            Ok(())
        })
        .unwrap();
    assert!(numbers[0].is_empty() && numbers[3] == ["checkpoint-000003"], "{numbers:?}");
    // What was written last is the state after the last step.
    let weights = read_safetensors(folder.0.join("model.safetensors")).unwrap();
    assert_eq!(weights["0.weight"], trainer.step().states().read("0.weight").unwrap());
    drop(trainer);
    let mut other = self::trainer(3);
    other.resume(&folder.0).unwrap();
    assert_eq!((other.epochs(), other.steps()), (0, 7));
    // The epoch has no batches left; it only remains to be reported.
    assert_eq!(other.epoch(&data).unwrap().step, 7);
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let folder = Folder::new("refused");
    let data = points();
    let mut trainer = trainer(1);
    assert!(trainer.resume(&folder.0).unwrap_err().to_string().contains("there is no such run"));
    trainer.epoch(&data).unwrap();
    trainer.save(&folder.0).unwrap();
    let build = |outputs, batch, seed| {
        let net = seq![dense(outputs), batch_norm(), relu(), dropout(0.25), dense(3)];
        let trainer = Trainer::new(net, cross_entropy(), Adam::new(0.03)).batch(batch).seed(seed);
        trainer.schedule(schedule()).compile(&data).unwrap()
    };
    let sgd = Trainer::new(
        seq![dense(12), batch_norm(), relu(), dropout(0.25), dense(3)],
        cross_entropy(),
        Sgd::new(0.1),
    );
    for (mut other, parts) in [
        (build(13, 8, 1), ["`model.layers.0.units`", "12", "13"]),
        (build(12, 9, 1), ["state.toml", "batch 8", "9"]),
        (build(12, 8, 2), ["state.toml", "seed 1", "2"]),
        (
            sgd.batch(8).seed(1).schedule(schedule()).compile(&data).unwrap(),
            ["`optimizer.type`", "adam", "sgd"],
        ),
    ] {
        let before = bits(&other);
        let message = other.resume(&folder.0).unwrap_err().to_string();
        assert!(parts.iter().all(|part| message.contains(part)) && !message.contains('\n'), "{message}");
        assert!(bits(&other) == before, "nothing has changed");
    }
    let (fewer, _) = data.split(30).unwrap();
    trainer.epoch_with(&data, |_| Err(Error::new("stop"))).unwrap_err();
    let message = trainer.epoch(&fewer).unwrap_err().to_string();
    assert!(message.contains("7 batches") && message.contains("makes 4"), "{message}");
    let classes =
        Trainer::new(dense(4), cross_entropy(), Sgd::new(0.1)).compile(&data).err().unwrap().to_string();
    assert!(classes.contains("4 outputs") && classes.contains("3 classes"), "{classes}");
}

#[test]
fn a_loss_that_is_no_number_ends_training() {
    let description = Description::values("line", &[1], &[1]);
    let data = Dataset::from_f32(description, vec![1.0, 2.0], vec![1.0f32, 2.0]).unwrap();
    let mut explodes = Trainer::new(dense(1), mse(), Sgd::new(1e10)).compile(&data).unwrap();
    let message = (0..20).find_map(|_| explodes.epoch(&data).err()).expect("the loss explodes").to_string();
    assert!(message.contains("the loss became") && message.contains("learning rate"), "{message}");
}

#[test]
fn a_schedule_may_be_a_function() {
    let data = points();
    let mut trainer = Trainer::new(dense(3), cross_entropy(), Sgd::new(0.5))
        .batch(25)
        .schedule(|moment: &Moment| 0.5f64.powi(moment.step as i32))
        .compile(&data)
        .unwrap();
    let rates: Vec<f64> = (0..3).map(|_| trainer.epoch(&data).unwrap().lr).collect();
    assert_eq!(rates, [0.25, 0.0625, 0.015625]);
}

#[test]
fn a_text_trains_a_transformer() {
    let corpus = Corpus::from_text("abc", &"abcdefgh".repeat(60)).unwrap();
    let train = corpus.samples(16).unwrap();
    let options = GptOptions { vocabulary: 8, context: 16, width: 16, heads: 2, layers: 1 };
    let net = gpt(options);
    let net = move |scope: &Scope, x: &Tensor| net.forward(scope, x).permute(&[0, 2, 1]);
    let mut trainer = Trainer::new(net, cross_entropy(), Adam::new(0.01)).batch(8).compile(&train).unwrap();
    let before = trainer.evaluate(&train).unwrap().loss;
    assert!((before - 8f64.ln()).abs() < 0.3, "{before}");
    (0..40).for_each(|_| drop(trainer.epoch(&train).unwrap()));
    // Each letter says which one follows.
    let after = trainer.evaluate(&train).unwrap().loss;
    assert!(after < 0.1, "{after}");
}

#[test]
fn samples_may_come_one_after_another() {
    let stream = from_iter(|_| (0..50).map(|i| ([i as f32 / 50.0], [i as f32 / 25.0 + 1.0]))).unwrap();
    let mut trainer = Trainer::new(dense(1), mse(), Sgd::new(0.3)).batch(8).compile(&stream).unwrap();
    let reports: Vec<_> = (0..30).map(|_| trainer.epoch(&stream).unwrap()).collect();
    assert_eq!(reports[29].step, 30 * 7);
    assert!(reports[29].loss < 0.01 && trainer.evaluate(&stream).unwrap().samples == 50);
}

/// The first epoch of a stream tells how long the others are.
#[test]
fn schedules_go_by_the_epochs_of_a_stream() {
    let stream = from_iter(|_| (0..50).map(|i| ([i as f32 / 50.0], [i as f32 / 25.0 + 1.0]))).unwrap();
    let trainer = Trainer::new(dense(1), mse(), Sgd::new(0.3)).batch(8).schedule(Schedule::linear(4.0));
    let mut trainer = trainer.compile(&stream).unwrap();
    let rates: Vec<f64> = (0..4).map(|_| trainer.epoch(&stream).unwrap().lr).collect();
    let last = |epoch: f64| 0.3 * (1.0 - (epoch + 6.0 / 7.0) / 4.0);
    for (rate, expected) in rates.iter().zip([0.3, last(1.0), last(2.0), last(3.0)]) {
        assert!((rate - expected).abs() < 1e-6, "{rates:?}, expected {expected}");
    }
}

#[test]
fn a_schedule_without_a_length_lasts_for_the_fit() {
    let data =
        dropforge::data::from_records((0..40).map(|i| ([i as f32 / 40.0], [i as f32 / 20.0]))).unwrap();
    let build = || {
        let whole = Schedule::new(dropforge::schedule::Linear { length: None, floor: 0.0 });
        Trainer::new(dense(1), mse(), Sgd::new(0.1))
            .batch(10)
            .schedule(whole.by_steps())
            .compile(&data)
            .unwrap()
    };
    let mut trainer = build();
    trainer.fit(&data).epochs(2).run().unwrap();
    let rates: Vec<f64> = trainer.history().iter().map(|report| report.lr).collect();
    assert!((rates[0] - 0.1 * 5.0 / 8.0).abs() < 1e-6 && (rates[1] - 0.1 / 8.0).abs() < 1e-6, "{rates:?}");
    let error = build().epoch(&data).unwrap_err().to_string();
    assert!(error.contains("schedule: ") && error.contains("`length`"), "{error}");
}

/// Four points by their sign, with these names for the classes "low" and "high".
fn signs(names: [&str; 2], numbers: [i32; 2]) -> Dataset {
    let at = |i: usize| (i as f32 - 15.5) / 8.0;
    let classes: Vec<i32> = (0..32).map(|i| numbers[usize::from(at(i) > 0.0)]).collect();
    Dataset::from_f32(Description::classes("signs", &[1], names), (0..32).map(at).collect(), classes).unwrap()
}

#[test]
fn classes_are_measured_by_their_names() {
    let data = signs(["lo", "hi"], [0, 1]);
    let turned = signs(["hi", "lo"], [1, 0]);
    let build = || Trainer::new(dense(2), cross_entropy(), Adam::new(0.1)).batch(8).compile(&data).unwrap();
    let mut trainer = build();
    trainer.fit(&data).validate(&turned).epochs(5).run().unwrap();
    let (usual, renamed) = (trainer.evaluate(&data).unwrap(), trainer.evaluate(&turned).unwrap());
    assert!(usual.get("accuracy").unwrap() > 0.9);
    assert_eq!((usual.loss, usual.get("accuracy")), (renamed.loss, renamed.get("accuracy")));
    let last = trainer.history().last().unwrap();
    assert_eq!(last.get("val_accuracy"), usual.get("accuracy"));
    assert_eq!(
        trainer.predict_all(&turned).unwrap().1.to_vec::<i32>().unwrap(),
        trainer.predict_all(&data).unwrap().1.to_vec::<i32>().unwrap()
    );
    // What is trained on with other data, too.
    let (mut one, mut other) = (build(), build());
    assert_eq!(one.epoch(&data).unwrap().loss, other.epoch(&turned).unwrap().loss);
    // Numbers that have no names are those of the training.
    let numbers = data.stored::<f32>("input").unwrap().iter().zip(data.classes().unwrap());
    let plain = from_records(numbers.map(|(x, class)| ([*x], *class))).unwrap();
    assert_eq!(trainer.evaluate(&plain).unwrap().loss, usual.loss);
    let unknown = signs(["lo", "high"], [0, 1]);
    let message = trainer.evaluate(&unknown).unwrap_err().to_string();
    assert!(message.contains("classes lo, hi; it does not know high"), "{message}");
}

#[test]
fn validation_data_are_looked_at_before_the_first_step() {
    let data = points();
    let named = |names: [&str; 3], features: usize| {
        let description = Description::classes("others", &[features], names);
        Dataset::from_f32(description, vec![0.5; 4 * features], vec![0; 4]).unwrap()
    };
    let refused = |validation: &dyn Fn(Fit<'_>) -> Fit<'_>, what: &str| {
        let mut trainer = trainer(1);
        let message = validation(trainer.fit(&data)).run().unwrap_err().to_string();
        assert!(message.starts_with("the validation data: ") && message.contains(what), "{message}");
        assert_eq!(trainer.steps(), 0);
    };
    refused(&|fit| fit.validate(&named(["a", "b", "c"], 3)), "[3], in training it is f32[2]");
    refused(&|fit| fit.validate(&named(["a", "b", "d"], 2)), "does not know d");
    let none = data::subset(Arc::new(data.clone()), vec![]).unwrap();
    refused(&|fit| fit.validate(&none), "there are no samples");
    let inputs = from_records([([0.0f32, 1.0],)]).unwrap();
    refused(&|fit| fit.validate(&inputs), "no field \"target\"");
}

#[test]
fn a_stream_that_has_ended_is_an_error() {
    let samples = |epoch: u64| (0..if epoch < 1 { 10 } else { 0 }).map(|i| ([i as f32], i % 2));
    let stream = from_iter(samples).unwrap();
    let build = || Trainer::new(dense(2), cross_entropy(), Sgd::new(0.1)).batch(4).compile(&stream).unwrap();
    let mut trainer = build();
    let message = trainer.fit(&stream).epochs(2).run().unwrap_err().to_string();
    assert!(message.contains("there are no samples in epoch 2") && trainer.epochs() == 1, "{message}");
}

#[test]
fn several_questions_have_a_probability_each() {
    let folder = Folder::new("questions");
    let data = from_records((0..20).map(|i| ([i as f32 / 20.0], [1.0f32, 0.0, 1.0]))).unwrap();
    let mut trainer =
        Trainer::new(dense(3), bce_with_logits(), Adam::new(0.3)).batch(10).compile(&data).unwrap();
    trainer.fit(&data).epochs(30).save(&folder.0).run().unwrap();
    let trained = Trained::open(&folder.0, &Runtime::shared().unwrap()).unwrap();
    let rows = trained.probabilities(vec![0.5f32]).unwrap();
    assert!(rows[0][0] > 0.8 && rows[0][1] < 0.2 && rows[0][2] > 0.8, "{rows:?}");
    let scores = trained.predict(vec![0.5f32]).unwrap().to_vec::<f32>().unwrap();
    assert_eq!(rows[0][0], 1.0 / (1.0 + (-scores[0]).exp()));
    assert_eq!(trained.probability(0.0), Some(0.5));
    // As a data set is predicted.
    trained
        .predict_all(&data, 10, |row, values| {
            if row == 10 {
                assert_eq!(values, rows[0]);
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_prediction_that_needs_no_input_has_as_many_samples_as_its_batch() {
    let folder = Folder::new("generated");
    let data = from_records((0..16).map(|i| ([i as f32 / 16.0, 1.0],))).unwrap();
    let task = |scope: &Scope, batch: &Batch| {
        let real = batch.get("input");
        let noise = scope.normal([real.shape()[0], 2]);
        let made = scope.layer("generator", &dense(2), &noise);
        Objective::new((made.mean(0) - real.mean(0)).square().mean(..)).prediction(&made)
    };
    let mut trainer = Trainer::of(task, Adam::new(0.1)).batch(8).compile(&data).unwrap();
    trainer.fit(&data).epochs(1).save(&folder.0).run().unwrap();
    let made = trainer.predict(Tensor::zeros([5, 2])).unwrap();
    assert_eq!(made.shape().to_vec(), [5, 2]);
    assert!(made.to_vec::<f32>().unwrap().iter().all(|x| x.is_finite()));
    let trained = Trained::open(&folder.0, &Runtime::shared().unwrap()).unwrap();
    let said = trained.predict(vec![0.0f32, 1.0]).unwrap_err().to_string();
    assert!(said.contains("needs no field of the data"), "{said}");
    let none: [(&str, Vec<f32>); 0] = [];
    assert!(trained.outputs(none).unwrap_err().to_string().contains("needs no field of the data"));
    let said = dropforge::run::pack(&folder.0, folder.0.with_extension("packed")).unwrap_err().to_string();
    assert!(said.contains("draws random numbers when it predicts"), "{said}");
}
