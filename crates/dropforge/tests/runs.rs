//! Runs from the outside: whatever program saved one, it opens anywhere, and nothing of anybody's is lost.

use dropforge::data::{Dataset, Description, ElementType, Field, from_named_records};
use dropforge::metric::{Average, Figures, Measured, Metric, accuracy, confusion_matrix, f1, mean};
use dropforge::models::{GptOptions, gpt, lenet, resnet};
use dropforge::nn::Sequential;
use dropforge::prelude::*;
use dropforge::run::{LoadOptions, RunConfig, RunDir, read_safetensors, unnamed_parts, write_weights};
use dropforge::step::{Batch, Evaluation, Meter, Objective};
use dropforge::train::{TrainerBuilder, keep_best};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("dropforge-runs-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn runtime() -> Runtime {
    Runtime::shared().unwrap()
}

/// Points in three classes, with these names.
fn points(names: [&str; 3]) -> Dataset {
    let at = |i: usize| [(i as f32 * 0.7).sin(), (i as f32 * 1.3).cos()];
    let class = |[x, y]: [f32; 2]| if x > 0.3 { 0 } else { 1 + i32::from(y > 0.0) };
    let targets: Vec<i32> = (0..50).map(|i| class(at(i))).collect();
    let description = Description::classes("points", &[2], names);
    Dataset::from_f32(description, (0..50).flat_map(at).collect(), targets).unwrap()
}

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Layers that no configuration can name, with numbers from outside.
fn own_net() -> impl Layer {
    let table = Tensor::from([[0.5, -0.25], [1.5, 2.0]]);
    let own = move |scope: &Scope, x: &Tensor| {
        let scale = scope.parameter("scale", [2], dropforge::init::Init::constant(0.5));
        let warmth = scope.hyperparameter("warmth", 0.75);
        x.matmul(&table) * scale * warmth
    };
    seq![own, dense(8), batch_norm(), relu(), dropout(0.25), dense(3)]
}

fn trainer(net: impl Layer + 'static, data: &Dataset) -> Trainer {
    Trainer::new(net, cross_entropy(), Adam::new(0.03)).batch(8).seed(4).compile(data).unwrap()
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    tensor.to_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

#[test]
fn a_run_of_any_program_opens_without_its_layers() {
    let folder = Folder::new("own");
    let data = points(NAMES);
    let mut trainer = trainer(own_net(), &data);
    trainer.epoch(&data).unwrap();
    trainer.save(folder.join("run")).unwrap();
    let trained = Trained::open(folder.join("run"), &runtime()).unwrap();
    for batch in [1, 2, 5, 64] {
        let inputs = Generator::new(batch as u64).randn([batch, 2]);
        let expected = trainer.predict(&inputs).unwrap();
        assert!(bits(&trained.predict(&inputs).unwrap()) == bits(&expected), "batch {batch}");
    }
    assert_eq!(trained.predict(&Tensor::zeros([0, 2])).unwrap().shape().to_vec(), [0, 3]);
    let message = trained.predict(&Tensor::zeros([4, 3])).unwrap_err().to_string();
    assert!(message.contains("[2]") && message.contains("[4, 3]"), "{message}");
    assert_eq!(trained.classes(), NAMES);
    let rows = trained.probabilities(vec![0.1f32, 0.2, -0.3, 0.4]).unwrap();
    assert!(
        rows.len() == 2 && rows.iter().all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-5),
        "{rows:?}"
    );
    let measured = trained.evaluate(&data, 16).unwrap();
    let expected = trainer.evaluate(&data).unwrap();
    assert_eq!(measured.get("accuracy"), expected.get("accuracy"));
    assert!((measured.loss - expected.loss).abs() < 1e-5, "{measured} {expected}");
    let environment = trained.environment().unwrap();
    assert!(environment.device.contains("cpu") && !environment.command.is_empty(), "{environment:?}");
}

/// Of those that were taken for a class, how many were of another; a metric that only its program can finish.
struct Confused;

impl Metric for Confused {
    fn name(&self) -> String {
        "confused".into()
    }

    fn update(&self, batch: &Measured<'_>) -> Vec<Tensor> {
        vec![batch.prediction.argmax(1).ne(batch.target).cast(DType::I32).sum(..)]
    }

    fn compute(&self, sums: &[Vec<f64>]) -> Figures {
        Figures::number("confused", sums[0][0]).and(Figures::number("confused_twice", 2.0 * sums[0][0]))
    }
}

#[test]
fn a_run_is_measured_by_its_own_loss_and_metrics() {
    let folder = Folder::new("measured");
    let data = points(NAMES);
    let factor = Tensor::from([1.0, 0.5, 2.0]);
    // A loss with numbers from outside and a runtime scalar is nothing that a file can name.
    let loss = move |scores: &Tensor, classes: &Tensor| {
        let hot = classes.reshape([-1, 1]).eq(Tensor::arange(0, 3).reshape([1, 3])).cast(DType::F32);
        -(scores.log_softmax(1) * hot * &factor).sum(1).mean(..)
    };
    let certain = mean("certain", |scores: &Tensor, _: &Tensor| scores.softmax(1).max(1));
    let task = Trainer::new(own_net(), loss, Adam::new(0.03)).batch(8).seed(4);
    let task = task.metric(accuracy()).metric(certain).metric(confusion_matrix()).metric(Confused);
    let mut trainer = task.compile(&data).unwrap();
    trainer.epoch(&data).unwrap();
    trainer.save(folder.join("run")).unwrap();
    let expected = trainer.evaluate(&data).unwrap();
    let trained = Trained::open(folder.join("run"), &runtime()).unwrap();
    assert_eq!(trained.unknown_metrics(), ["confused"]);
    let values = |of: &Evaluation| -> Vec<(String, f64)> {
        of.metrics.iter().map(|value| (value.name.clone(), value.value)).collect()
    };
    let mut known = values(&expected);
    known.truncate(known.len() - 2);
    for batch in [1, 8, 16, 64] {
        let found = trained.evaluate(&data, batch).unwrap();
        assert_eq!(found.samples, 50);
        assert!((found.loss - expected.loss).abs() < 1e-6, "{found} {expected}");
        let close = |((a, x), (b, y)): (&(String, f64), &(String, f64))| a == b && (x - y).abs() < 1e-6;
        let found = values(&found);
        assert!(found.len() == known.len() && found.iter().zip(&known).all(close), "{found:?} {known:?}");
    }
    let message = trained.know(accuracy()).err().map(|error| error.to_string());
    assert_eq!(message, None);
    let trained = Trained::open(folder.join("run"), &runtime()).unwrap().know(Confused).unwrap();
    assert_eq!(values(&trained.evaluate(&data, 8).unwrap()), values(&expected));
    std::thread::scope(|scope| {
        for batch in [3, 5, 8] {
            let (trained, data) = (&trained, &data);
            scope.spawn(move || {
                let found = trained.evaluate(data, batch).unwrap();
                assert!((found.loss - expected.loss).abs() < 1e-6, "{found}");
            });
        }
    });
    // By others, if somebody asks.
    let by = trained.evaluate_by(&data, 8, Meter::new(cross_entropy())).unwrap();
    assert!((by.loss - expected.loss).abs() > 1e-3 && by.get("accuracy") == expected.get("accuracy"), "{by}");
    let message = trained.know(mean("other", |p: &Tensor, _: &Tensor| p.clone())).err().unwrap().to_string();
    assert!(message.contains("other was not measured") && message.contains("loss, accuracy"), "{message}");
}

/// A net of two inputs with two outputs and a second loss, of samples with more fields than it takes.
fn pairs() -> (impl Fn(&Scope, &Batch) -> Objective, Dataset) {
    let task = |scope: &Scope, batch: &Batch| {
        let left = scope.layer("left", &dense(4), &batch.get("left"));
        let right = scope.layer("right", &dense(4), &batch.get("right"));
        let score = scope.layer("head", &dense(1), &(&left + &right).relu());
        let error = (&score - batch.get("wanted")) * batch.get("weight");
        let distance = (&left - &right).square().mean(..);
        let off = mean("off", |a: &Tensor, b: &Tensor| (a - b).abs());
        Objective::new(error.square().mean(..) + distance * 0.1)
            .prediction(&score)
            .output("left code", &left)
            .measure(off, &left, &right)
    };
    let records = (0..30).map(|i| {
        let x = i as f32 / 30.0;
        ([1.0 + x], [x, 1.0], [x * x, 0.5, 1.0], [2.0 * x])
    });
    let source = from_named_records(&["weight", "left", "right", "wanted"], records).unwrap();
    (task, source)
}

#[test]
fn several_inputs_and_outputs_have_names() {
    let folder = Folder::new("pairs");
    let (task, data) = pairs();
    let mut trainer = Trainer::of(task, Adam::new(0.03)).batch(8).compile(&data).unwrap();
    trainer.epoch(&data).unwrap();
    trainer.save(folder.join("run")).unwrap();
    let trained = Trained::open(folder.join("run"), &runtime()).unwrap();
    let names: Vec<&str> = trained.input_types().map(|(name, _)| name).collect();
    assert_eq!(names, ["left", "right"]);
    let (left, right) = (Generator::new(1).randn([5, 2]), Generator::new(2).randn([5, 3]));
    let found = trained.outputs([("right", &right), ("left", &left)]).unwrap();
    let batch = Batch::new().with("left", &left).with("right", &right);
    let expected = trainer.step_mut().outputs(batch).unwrap();
    assert_eq!(found.len(), 2);
    for ((name, found), (other, expected)) in found.iter().zip(&expected) {
        assert!(name == other && bits(found) == bits(expected), "{name}");
    }
    for (inputs, part) in [
        (vec![("left", &left)], "\"right\" is missing; the network has left, right"),
        (vec![("left", &left), ("write", &right)], "no input \"write\"; it has left, right"),
        (vec![("left", &right), ("right", &right)], "\"left\": inputs have the shape [2]"),
    ] {
        let message = trained.outputs(inputs).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
    let short = right.slice(0, ..4);
    let message = trained.outputs([("left", &left), ("right", &short)]).unwrap_err().to_string();
    assert!(message.contains("\"right\" must be f32[5, 3], got f32[4, 3]"), "{message}");
    let message = trained.predict(&left).unwrap_err().to_string();
    assert!(message.contains("left, right") && message.contains("Trained::outputs"), "{message}");
    let (found, expected) = (trained.evaluate(&data, 7).unwrap(), trainer.evaluate(&data).unwrap());
    assert!((found.loss - expected.loss).abs() < 1e-6, "{found} {expected}");
    assert!((found.get("off").unwrap() - expected.get("off").unwrap()).abs() < 1e-6, "{found} {expected}");
    let mut rows = 0;
    let count = |_, values: &[f32]| {
        rows += values.len();
        Ok(())
    };
    trained.predict_all(&data, 8, count).unwrap();
    assert_eq!(rows, 30);
}

#[test]
fn a_task_that_only_has_a_loss_can_be_measured() {
    let folder = Folder::new("loss");
    let data = points(NAMES);
    let task = |scope: &Scope, batch: &Batch| {
        let code = scope.layer("code", &dense(1), &batch.get("input"));
        (scope.layer("back", &dense(2), &code) - batch.get("input")).square().mean(..)
    };
    let mut trainer = Trainer::of(task, Adam::new(0.03)).batch(8).compile(&data).unwrap();
    trainer.epoch(&data).unwrap();
    trainer.save(folder.join("run")).unwrap();
    let trained = Trained::open(folder.join("run"), &runtime()).unwrap();
    let (found, expected) = (trained.evaluate(&data, 16).unwrap(), trainer.evaluate(&data).unwrap());
    assert!((found.loss - expected.loss).abs() < 1e-6, "{found} {expected}");
    let message = trained.predict(&Tensor::zeros([4, 2])).unwrap_err().to_string();
    assert!(message.contains("prediction"), "{message}");
}

#[test]
fn several_threads_share_a_trained_network() {
    let folder = Folder::new("threads");
    let data = points(NAMES);
    let mut trainer = trainer(own_net(), &data);
    trainer.save(folder.join("run")).unwrap();
    let trained = Trained::open(folder.join("run"), &runtime()).unwrap();
    let expected: Vec<Vec<u32>> = (1..9)
        .map(|batch| bits(&trainer.predict(Generator::new(batch).randn([batch as usize, 2])).unwrap()))
        .collect();
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (trained, expected) = (&trained, &expected);
            scope.spawn(move || {
                for step in 0..40 {
                    let batch = (thread + step) % 8 + 1;
                    let inputs = Generator::new(batch).randn([batch as usize, 2]);
                    let found = bits(&trained.predict(&inputs).unwrap());
                    assert!(found == expected[batch as usize - 1], "batch {batch}");
                }
            });
        }
    });
}

/// The network after no training, from its layers and from what it was saved as.
#[track_caller]
fn opens_the_same<L: Layer + 'static>(name: &str, net: L, data: &Dataset, classes: usize) {
    let folder = Folder::new(name);
    let mut trainer = trainer(net, data);
    trainer.save(folder.join("run")).unwrap();
    let trained = Trained::open(folder.join("run"), &runtime()).unwrap();
    let shape = trained.inputs().shape.clone();
    for batch in [1, 4] {
        let inputs = Generator::new(9).randn([vec![batch], shape.clone()].concat());
        let found = trained.predict(&inputs).unwrap();
        assert_eq!(found.shape().to_vec(), [batch, classes]);
        assert!(bits(&found) == bits(&trainer.predict(&inputs).unwrap()), "{name}, batch {batch}");
    }
}

#[test]
fn networks_of_images_have_programs_for_any_batch() {
    let (digits, _) = datasets::digits(20, 10, 1);
    // What is normalised twice would not be the same.
    let description = Description::classes("plain", &[1, 28, 28], (0..10).map(|i| i.to_string()));
    let digits = {
        let bytes = (0..20).flat_map(|i| digits.bytes(i).unwrap().to_vec()).collect();
        Dataset::from_u8(description, bytes, (0..20).map(|i| i % 10).collect::<Vec<i32>>()).unwrap()
    };
    opens_the_same("lenet", lenet(10), &digits, 10);
    opens_the_same("resnet", resnet(4, [2, 2, 2, 2], 10), &digits, 10);
}

#[test]
fn a_transformer_has_a_program_for_any_batch() {
    let options = GptOptions { vocabulary: 11, context: 8, width: 16, heads: 2, layers: 2 };
    let network = Network::compile(gpt(options), ValueType::new(DType::I32, [6])).unwrap();
    let text = dropforge::run::program_text(&network).unwrap();
    assert!(text.starts_with("program predict(b) {") && text.contains("i32[b, 6]"), "{text}");
}

#[test]
fn a_network_that_looks_at_its_batch_is_opened_by_its_own_layers() {
    let folder = Folder::new("batch");
    let data = points(NAMES);
    // Each sample sees how like it is to all others of its batch.
    let net = || {
        seq![
            |_: &Scope, x: &Tensor| {
                let like = x.matmul(&x.t());
                x * like.mean([0, 1]) + like.reshape([-1, 1]).mean([0, 1])
            },
            dense(3)
        ]
    };
    let mut trainer = trainer(net(), &data);
    trainer.save(folder.join("run")).unwrap();
    let message = Trained::open(folder.join("run"), &runtime()).err().unwrap().to_string();
    assert!(
        message.contains("2, 3, 7") && message.contains("open_with") && !message.contains('\n'),
        "{message}"
    );
    let trained = Trained::open_with(folder.join("run"), net(), &runtime()).unwrap();
    let inputs = Generator::new(1).randn([5, 2]);
    assert!(bits(&trained.predict(&inputs).unwrap()) == bits(&trainer.predict(&inputs).unwrap()));
}

#[test]
fn nobody_elses_run_is_replaced_unless_that_is_asked() {
    let folder = Folder::new("over");
    let data = points(NAMES);
    let (mut first, mut second) = (trainer(own_net(), &data), trainer(dense(3), &data));
    let run = folder.join("run");
    first.save(&run).unwrap();
    first.epoch(&data).unwrap();
    first.save(&run).unwrap();
    let weights = fs::read(run.join("model.safetensors")).unwrap();
    let message = second.save(&run).unwrap_err().to_string();
    assert!(message.contains("another run") && message.contains("save_over"), "{message}");
    let message = second.fit(&data).epochs(1).save(&run).run().unwrap_err().to_string();
    assert!(message.contains("another run") && second.steps() == 0, "{message}");
    assert_eq!(fs::read(run.join("model.safetensors")).unwrap(), weights);
    second.save_over(&run).unwrap();
    let inputs = Generator::new(1).randn([5, 2]);
    let trained = Trained::open(&run, &runtime()).unwrap();
    assert!(bits(&trained.predict(&inputs).unwrap()) == bits(&second.predict(&inputs).unwrap()));
    second.epoch(&data).unwrap();
    second.save(&run).unwrap();
    // An alike training that was saved before its first epoch was over.
    let alike = folder.join("alike");
    let mut short = trainer(own_net(), &data);
    short.fit(&data).max_steps(3).save(&alike).run().unwrap();
    let mut other = trainer(dense(3), &data);
    other.epoch(&data).unwrap();
    let message = other.save(&alike).unwrap_err().to_string();
    assert!(message.contains("another run"), "{message}");
    // The same program once more, which is what advice of that kind is for.
    let message = other.fit(&data).epochs(2).save(&alike).run().unwrap_err().to_string();
    assert!(message.contains("save_over"), "{message}");
    other.fit(&data).epochs(2).save_over(&alike).run().unwrap();
    let left: Vec<_> = fs::read_dir(&alike).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(
        left.iter().filter(|name| name.to_string_lossy().starts_with("checkpoint")).count(),
        1,
        "{left:?}"
    );
    let config = fs::read_to_string(alike.join("config.toml")).unwrap();
    assert!(config.contains("epochs = 2") && !config.contains("max_steps"), "{config}");
    let mut again = trainer(dense(3), &data);
    assert!(again.resume(&alike).unwrap() && again.epochs() == 2);
    again.fit(&data).epochs(3).save(&alike).run().unwrap();
    // A folder with something else is nobody's run.
    let mine = folder.join("mine");
    fs::create_dir(&mine).unwrap();
    fs::write(mine.join("thesis.tex"), "mine").unwrap();
    for result in [second.save(&mine), second.save_over(&mine)] {
        assert!(result.unwrap_err().to_string().contains("thesis.tex"));
    }
    assert_eq!(fs::read_dir(&mine).unwrap().count(), 1);
}

#[test]
fn dead_weights_never_replace_good_ones() {
    let folder = Folder::new("dead");
    let data = points(NAMES);
    let mut trainer = trainer(dense(3), &data);
    trainer.save(folder.join("run")).unwrap();
    let good = fs::read(folder.join("run/model.safetensors")).unwrap();
    let statistics = folder.join("statistics");
    let mut normalised = self::trainer(seq![dense(4), batch_norm(), dense(3)], &data);
    normalised.save(&statistics).unwrap();
    let infinite = Array::new([4], dropforge::Data::F32(vec![1.0, f32::INFINITY, 1.0, 1.0])).unwrap();
    normalised.step().states().write("1.running_var", &infinite).unwrap();
    let message = normalised.save(&statistics).unwrap_err().to_string();
    assert!(message.contains("running_var has become inf"), "{message}");
    for dead in [f32::NAN, f32::INFINITY, 1e38] {
        let array = Array::new([3], dropforge::Data::F32(vec![0.0, dead, 0.0])).unwrap();
        trainer.step().states().write("bias", &array).unwrap();
        let message = trainer.save(folder.join("run")).unwrap_err().to_string();
        assert!(message.contains("bias has become") && message.contains("lower learning rate"), "{message}");
        assert_eq!(fs::read(folder.join("run/model.safetensors")).unwrap(), good);
    }
    drop(trainer);
    assert!(self::trainer(dense(3), &data).resume(folder.join("run")).unwrap());
}

#[test]
fn a_network_made_for_one_batch_size_is_saved_and_goes_on() {
    let folder = Folder::new("fixed");
    let (data, _) = points(NAMES).split(48).unwrap();
    // Sizes are found out by one sample.
    let fixed = |_: &Scope, x: &Tensor| {
        if x.shape()[0] == 1 { x.clone() } else { x.reshape([8, 1, 2]).reshape([8, 2]) }
    };
    let net = || seq![fixed, dense(3)];
    let build = || trainer(net(), &data);
    let mut first = build();
    first.fit(&data).epochs(2).save(folder.join("run")).run().unwrap();
    let message = Trained::open(folder.join("run"), &runtime()).err().unwrap().to_string();
    assert!(message.contains("reshape") && message.contains("open_with"), "{message}");
    let mut second = build();
    assert!(second.resume(folder.join("run")).unwrap() && second.epochs() == 2);
}

#[test]
fn a_run_does_not_go_on_with_other_settings() {
    let folder = Folder::new("settings");
    let data = points(NAMES);
    let build = |lr: f64| Trainer::new(dense(3), cross_entropy(), Adam::new(lr)).batch(8).seed(4);
    build(0.03).compile(&data).unwrap().save(folder.join("run")).unwrap();
    let refused = |builder: TrainerBuilder| {
        builder.compile(&data).unwrap().resume(folder.join("run")).unwrap_err().to_string()
    };
    let message = refused(build(0.01));
    assert!(message.contains("`optimizer.lr` was 0.03") && message.contains("0.01"), "{message}");
    let message = refused(build(0.03).accumulate(2));
    assert!(message.contains("`accumulate` was 1 ") && message.contains("become 2"), "{message}");
    let message = refused(build(0.03).schedule(Schedule::cosine(9.0)));
    assert!(message.contains("`schedule.type` was \"constant\"") && message.contains("cosine"), "{message}");
    // What is said as it would be without saying it is the same, either way round.
    let said = || build(0.03).accumulate(1).drop_last(false);
    assert!(said().compile(&data).unwrap().resume(folder.join("run")).unwrap());
    said().compile(&data).unwrap().save(folder.join("said")).unwrap();
    assert!(build(0.03).compile(&data).unwrap().resume(folder.join("said")).unwrap());
    let message =
        build(0.03).drop_last(true).compile(&data).unwrap().resume(folder.join("said")).unwrap_err();
    assert!(message.to_string().contains("`drop_last` was false"), "{message}");
}

/// Layers without parameters, the order of samples, and what is measured: no tensor tells them.
#[test]
fn a_run_does_not_go_on_as_another_network() {
    let folder = Folder::new("another");
    let data = points(NAMES);
    let build = |net: Sequential| Trainer::new(net, cross_entropy(), Adam::new(0.03)).batch(8).seed(4);
    let usual = || build(seq![dense(4), relu(), dropout(0.1), dense(3)]);
    usual().compile(&data).unwrap().save(folder.join("run")).unwrap();
    let resume =
        |run: &str, builder: TrainerBuilder| builder.compile(&data).unwrap().resume(folder.join(run));
    assert!(resume("run", usual()).unwrap());
    let refused = |run: &str, builder: TrainerBuilder, parts: &[&str]| {
        let message = resume(run, builder).unwrap_err().to_string();
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    };
    refused(
        "run",
        build(seq![dense(4), tanh(), dropout(0.1), dense(3)]),
        &["`model.layers.1", "relu", "tanh"],
    );
    refused(
        "run",
        build(seq![dense(4), relu(), dropout(0.9), dense(3)]),
        &["`model.layers.2.", "0.1", "0.9"],
    );
    refused("run", usual().shuffle(false), &["`shuffle` was true"]);
    refused("run", usual().metric(f1()), &["metrics differ", "measures accuracy, this training f1"]);
    // Of what a function does nobody knows.
    let own = || seq![dense(4), |_: &Scope, x: &Tensor| x.relu(), dropout(0.2), dense(3)];
    assert!(resume("run", build(own())).unwrap());
    usual().metric(f1()).compile(&data).unwrap().save(folder.join("f1")).unwrap();
    refused(
        "f1",
        usual().metric(f1().average(Average::Weighted)),
        &["the metrics differ", "`metrics.0.average`"],
    );
    refused("f1", usual().metric(f1()).metric(accuracy()), &["the metrics differ"]);
    // Runs of earlier versions do not say.
    let state = fs::read_dir(folder.join("run")).unwrap().flatten().map(|entry| entry.path());
    let state = state
        .filter(|path| path.is_dir())
        .find_map(|path| Some(path.join("state.toml")).filter(|p| p.exists()));
    let state = state.unwrap();
    let mut text: toml::Table = toml::from_str(&fs::read_to_string(&state).unwrap()).unwrap();
    let settings = text["settings"].as_table_mut().unwrap();
    settings.retain(|name, _| !["model", "metrics", "shuffle"].contains(&name));
    fs::write(&state, toml::to_string(&text).unwrap()).unwrap();
    assert!(resume("run", usual().shuffle(false)).unwrap());
}

/// Metrics had the name of their kind alone in earlier versions, whatever their settings.
#[test]
fn metrics_of_earlier_versions_are_told_by_their_settings() {
    let folder = Folder::new("renamed");
    let data = points(NAMES);
    let build = || {
        let metrics = Trainer::new(dense(3), cross_entropy(), Adam::new(0.03)).batch(8).seed(4);
        metrics.metric(f1().average(Average::PerClass)).metric(accuracy()).compile(&data).unwrap()
    };
    let mut whole = build();
    whole.epoch(&data).unwrap();
    let run = folder.join("run");
    build().fit(&data).max_steps(3).save(&run).run().unwrap();
    let checkpoint = fs::read_dir(&run).unwrap().flatten().map(|entry| entry.path());
    let checkpoint = checkpoint.filter(|path| path.join("optimizer.safetensors").exists()).max().unwrap();
    let path = checkpoint.join("optimizer.safetensors");
    let then = read_safetensors(&path).unwrap();
    let old = then.into_iter().map(|(name, array)| (name.replace(".f1_per_class.", ".f1."), array));
    let old: BTreeMap<String, Array> = old.collect();
    assert!(old.contains_key("metric.train.f1.0.sum"), "{:?}", old.keys());
    write_weights(&path, &old).unwrap();
    let mut again = build();
    assert!(again.resume(&run).unwrap());
    let (was, is) = (whole.history().last().cloned(), again.epoch(&data).unwrap());
    assert_eq!(was.unwrap().metrics, is.metrics);
    // One that does not say what it measured cannot be told.
    let state = checkpoint.join("state.toml");
    let mut text: toml::Table = toml::from_str(&fs::read_to_string(&state).unwrap()).unwrap();
    text["settings"].as_table_mut().unwrap().remove("metrics");
    fs::write(&state, toml::to_string(&text).unwrap()).unwrap();
    let message = build().resume(&run).unwrap_err().to_string();
    for part in ["measures accuracy, f1, this training accuracy, f1_per_class", "its f1 cannot be told to be"]
    {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn an_interrupted_epoch_goes_on_with_the_same_samples_only() {
    let folder = Folder::new("samples");
    let data = points(NAMES);
    trainer(dense(3), &data).fit(&data).max_steps(3).save(folder.join("run")).run().unwrap();
    let resumed = || {
        let mut resumed = trainer(dense(3), &data);
        assert!(resumed.resume(folder.join("run")).unwrap());
        resumed
    };
    // As many, of the same shape and classes.
    let description = Description::classes("others", &[2], NAMES);
    let features = (0..100).map(|i| i as f32 / 50.0).collect();
    let others = Dataset::from_f32(description, features, vec![0; 50]).unwrap();
    let message = resumed().epoch(&others).unwrap_err().to_string();
    assert!(message.contains("others: the interrupted epoch was trained on other samples"), "{message}");
    resumed().epoch(&data).unwrap();
}

#[test]
fn a_run_does_not_go_on_with_other_classes() {
    let folder = Folder::new("classes");
    let data = points(NAMES);
    trainer(dense(3), &data).save(folder.join("run")).unwrap();
    let renamed = points(["b", "a", "c"]);
    let message = trainer(dense(3), &renamed).resume(folder.join("run")).unwrap_err().to_string();
    assert!(message.contains("the classes were a, b, c, now b, a, c"), "{message}");
    // To measure, classes are told by their names.
    let trained = Trained::open(folder.join("run"), &runtime()).unwrap();
    let usual = trained.evaluate(&data, 16).unwrap();
    let at = |i: usize| [(i as f32 * 0.7).sin(), (i as f32 * 1.3).cos()];
    let class = |[x, y]: [f32; 2]| {
        if x > 0.3 {
            1
        } else if y > 0.0 {
            2
        } else {
            0
        }
    };
    let description = Description::classes("turned", &[2], ["b", "a", "c"]);
    let targets: Vec<i32> = (0..50).map(|i| class(at(i))).collect();
    let turned = Dataset::from_f32(description, (0..50).flat_map(at).collect(), targets).unwrap();
    let measured = trained.evaluate(&turned, 16).unwrap();
    assert_eq!((measured.loss, measured.get("accuracy")), (usual.loss, usual.get("accuracy")));
    // Numbers that have no names are those of the run.
    let (features, classes) = (data.stored::<f32>("input").unwrap(), data.classes().unwrap());
    let fields =
        [Field::numbers("input", ElementType::F32, &[2]), Field::numbers("target", ElementType::I32, &[])];
    let description = fields.into_iter().fold(Description::new("plain"), Description::with);
    let arrays = vec![features.to_vec().into(), classes.to_vec().into()];
    let plain = trained.evaluate(&Dataset::new(description, arrays).unwrap(), 16).unwrap();
    assert_eq!((plain.loss, plain.get("accuracy")), (usual.loss, usual.get("accuracy")));
    let message = trained.evaluate(&points(["a", "B", "c"]), 16).unwrap_err().to_string();
    assert!(message.contains("does not know B"), "{message}");
}

#[test]
fn weights_come_from_files_of_others() {
    let folder = Folder::new("weights");
    let data = points(NAMES);
    let net = || seq!["fc" => dense(4), relu(), "head" => dense(3)];
    let mut source = trainer(net(), &data);
    source.epoch(&data).unwrap();
    let file = folder.join("weights.safetensors");
    source.save_weights(&file).unwrap();
    let names: Vec<String> = read_safetensors(&file).unwrap().into_keys().collect();
    assert_eq!(names, ["fc.bias", "fc.weight", "head.bias", "head.weight"]);
    let weight = |trainer: &Trainer, name: &str| trainer.step().states().read(name).unwrap();

    let mut whole = trainer(net(), &data);
    let report = whole.load_weights(&file, &LoadOptions::new()).unwrap();
    assert!(report.is_complete() && report.loaded.len() == 4, "{report}");
    assert_eq!(weight(&whole, "head.weight"), weight(&source, "head.weight"));

    // Programs that have run with other weights before, of several batch sizes, give what new ones give.
    let points: Vec<Tensor> = [3, 40]
        .map(|samples| Tensor::from_vec((0..2 * samples).map(|i| i as f32).collect(), [samples, 2]))
        .into();
    let predict = |network: &mut Network| -> Vec<Vec<u32>> {
        points.iter().map(|points| bits(&network.predict(points).unwrap())).collect()
    };
    let networks = [true, false].map(|has_run| {
        let mut network = Network::compile(net(), [2]).unwrap();
        let before = if has_run { predict(&mut network) } else { Vec::new() };
        network.load_weights(&file, &LoadOptions::new()).unwrap();
        let after = predict(&mut network);
        assert_ne!(before, after);
        after
    });
    assert_eq!(networks[0], networks[1]);

    // Another head, other names: everything that does not fit is said at once.
    let mut other = trainer(seq!["body" => dense(4), relu(), "head" => dense(5), "last" => dense(3)], &data);
    let before = weight(&other, "body.weight");
    let message = other.load_weights(&file, &LoadOptions::new()).unwrap_err().to_string();
    for part in ["body.weight", "fc.weight", "head.weight", "[3, 4]", "[5, 4]", "last.bias", "strict(false)"]
    {
        assert!(message.contains(part) && !message.contains('\n'), "{part}: {message}");
    }
    assert_eq!(weight(&other, "body.weight"), before, "nothing has changed");
    let options = LoadOptions::new().rename("fc.*", "body.*").strict(false);
    let report = other.load_weights(&file, &options).unwrap();
    assert_eq!((report.loaded.len(), report.missing.len(), report.mismatched.len()), (2, 2, 2), "{report}");
    assert_eq!(weight(&other, "body.weight"), weight(&source, "fc.weight"));
    let message = other.load_weights(folder.join("none"), &options).unwrap_err().to_string();
    assert!(message.contains("no such file"), "{message}");

    // A run is a place to load from, too.
    source.save(folder.join("run")).unwrap();
    whole.load_weights(folder.join("run"), &LoadOptions::new()).unwrap();
    let trained = Trained::open(folder.join("run"), &runtime()).unwrap();
    trained.save_weights(folder.join("again.safetensors")).unwrap();
    assert_eq!(read_safetensors(folder.join("again.safetensors")).unwrap(), read_safetensors(&file).unwrap());
}

/// Writes a file of tensors: name, type, shape, bytes.
fn safetensors(path: &Path, tensors: &[(&str, &str, &[usize], Vec<u8>)]) {
    let (mut entries, mut data) = (Vec::new(), Vec::new());
    for (name, dtype, shape, bytes) in tensors {
        let (start, end) = (data.len(), data.len() + bytes.len());
        entries.push(format!(
            "{name:?}:{{\"dtype\":\"{dtype}\",\"shape\":{shape:?},\"data_offsets\":[{start},{end}]}}"
        ));
        data.extend_from_slice(bytes);
    }
    let header = format!("{{{}}}", entries.join(","));
    let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat();
    fs::write(path, file).unwrap();
}

#[test]
fn weights_come_in_parts_in_halves_and_turned() {
    let folder = Folder::new("shards");
    let mut network = Network::compile(dense(2), [3]).unwrap();
    // The weight as another library stores it: [inputs, outputs], of 16 bits.
    let halves = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0].map(dropforge::F16::from_f32);
    let bytes = halves.iter().flat_map(|half| half.to_bits().to_le_bytes()).collect();
    safetensors(&folder.join("one.safetensors"), &[("m.weight", "F16", &[3, 2], bytes)]);
    let bias: Vec<u8> = [0.5f64, -0.5].iter().flat_map(|x| x.to_le_bytes()).collect();
    let counter = 7i64.to_le_bytes().to_vec();
    safetensors(
        &folder.join("two.safetensors"),
        &[("m.bias", "F64", &[2], bias), ("m.num_batches_tracked", "I64", &[], counter)],
    );
    let index = |second: &str| {
        let text = format!(
            r#"{{"metadata":{{}},"weight_map":{{"m.weight":"one.safetensors","m.bias":"{second}"}}}}"#
        );
        fs::write(folder.join("model.safetensors.index.json"), text).unwrap();
    };
    index("two.safetensors");
    let options = LoadOptions::new().strip_prefix("m.").transpose("weight");
    for path in [folder.join("model.safetensors.index.json"), folder.join("")] {
        let report = network.load_weights(path, &options).unwrap();
        assert!(report.is_complete(), "{report}");
        let weight = network.states().read("weight").unwrap();
        assert_eq!(weight.as_f32(), Some(&[1.0, 3.0, 5.0, 2.0, 4.0, 6.0][..]));
        assert_eq!(network.states().read("bias").unwrap().as_f32(), Some(&[0.5, -0.5][..]));
    }
    for outside in ["../two.safetensors", "/etc/passwd", "three.safetensors"] {
        index(outside);
        assert!(network.load_weights(&folder.0, &options).is_err(), "{outside}");
    }
}

#[test]
fn a_run_that_was_never_saved_to_says_so() {
    let folder = Folder::new("empty");
    drop(RunDir::open(folder.join("run")).unwrap());
    let message = Trained::open(folder.join("run"), &runtime()).err().unwrap().to_string();
    assert!(message.contains("no checkpoint"), "{message}");
    let message = Trained::open(folder.join("none"), &runtime()).err().unwrap().to_string();
    assert!(message.contains("none"), "{message}");
}

/// Trains for so many epochs with a rate at which the loss goes up and down.
fn keep(run: &Path, data: &Dataset, epochs: u64) -> Trainer {
    let mut trainer = Trainer::new(dense(3), cross_entropy(), Sgd::new(8.0)).batch(8).compile(data).unwrap();
    if run.exists() {
        trainer.resume(run).unwrap();
    }
    let best = keep_best(lowest("val_loss")).last(2);
    trainer.fit(data).validate(data).epochs(epochs).callback(best).save(run).run().unwrap();
    trainer
}

/// Makes a run one of the version before evaluations were programs.
fn forget_measures(run: &Path) {
    let newest =
        fs::read_dir(run).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_dir()).unwrap();
    fs::remove_file(newest.join("evaluate.txt")).unwrap();
    let state = fs::read_to_string(newest.join("state.toml")).unwrap();
    let lines = state.lines().filter(|line| !line.starts_with('#'));
    fs::write(newest.join("state.toml"), lines.collect::<Vec<_>>().join("\n")).unwrap();
    let text = fs::read_to_string(newest.join("run.toml")).unwrap();
    let mut about: dropforge::settings::Table = text.parse().unwrap();
    for new in ["evaluation", "layers", "parameters"] {
        about.remove(new).unwrap();
    }
    fs::write(newest.join("run.toml"), about.to_string()).unwrap();
}

#[test]
fn runs_without_a_program_that_measures_go_by_their_configuration() {
    let folder = Folder::new("old");
    let (train, test) = datasets::digits(60, 10, 1);
    let (named, unnamed) = (folder.join("named"), folder.join("unnamed"));
    let loss = || cross_entropy().label_smoothing(0.3);
    let task = Trainer::new(seq![flatten(), dense(10)], loss(), Adam::new(0.01)).metric(confusion_matrix());
    let mut trainer = task.compile(&train).unwrap();
    trainer.save(&named).unwrap();
    let expected = trainer.evaluate(&test).unwrap();
    forget_measures(&named);
    let found = Trained::open(&named, &runtime()).unwrap().evaluate(&test, 5).unwrap();
    assert!((found.loss - expected.loss).abs() < 1e-6, "{found} {expected}");
    assert_eq!(found.get("confusion_matrix"), expected.get("confusion_matrix"));
    let net = seq![flatten(), |scope: &Scope, x: &Tensor| scope.layer("own", &dense(10), x)];
    let mut trainer = Trainer::new(net, loss(), Adam::new(0.01)).compile(&train).unwrap();
    trainer.save(&unnamed).unwrap();
    let expected = trainer.evaluate(&test).unwrap();
    forget_measures(&unnamed);
    let trained = Trained::open(&unnamed, &runtime()).unwrap();
    let message = trained.evaluate(&test, 5).unwrap_err().to_string();
    assert!(message.contains("an earlier version") && message.contains("evaluate_by"), "{message}");
    let found = trained.evaluate_by(&test, 5, Meter::new(loss())).unwrap();
    assert!((found.loss - expected.loss).abs() < 1e-6, "{found} {expected}");
    assert_eq!(trained.parameter_count(), 7850);
}

#[test]
fn the_best_weights_stay_beside_the_last() {
    let folder = Folder::new("best");
    let data = points(NAMES);
    let (whole, parts) = (folder.join("whole"), folder.join("parts"));
    let trainer = keep(&whole, &data, 5);
    for epochs in [1, 3, 5] {
        keep(&parts, &data, epochs);
    }
    let losses: Vec<f64> = trainer.history().iter().map(|report| report.get("val_loss").unwrap()).collect();
    let least = losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(losses[4] > least, "the last epoch is the best, so that nothing is tried: {losses:?}");
    for run in [&whole, &parts] {
        let best = Trained::open_best(run, &runtime()).unwrap().evaluate(&data, 8).unwrap();
        assert!((best.loss - least).abs() < 1e-9, "{best} {losses:?}");
        let last = Trained::open(run, &runtime()).unwrap().evaluate(&data, 8).unwrap();
        assert!((last.loss - losses[4]).abs() < 1e-9, "{last} {losses:?}");
        drop(RunDir::open(run).unwrap());
        let names = fs::read_dir(run).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(names.filter(|name| name.starts_with("checkpoint")).count(), 2);
    }
    let read = |run: &Path| fs::read(run.join("best.safetensors")).unwrap();
    assert_eq!(read(&whole), read(&parts));
    // What another training kept does not stay.
    let mut other = self::trainer(dense(3), &data);
    other.save_over(&whole).unwrap();
    let message = Trained::open_best(&whole, &runtime()).err().unwrap().to_string();
    assert!(message.contains("no best weights") && message.contains("keep_best"), "{message}");
}

#[test]
fn a_run_of_a_program_holds_its_configuration_as_far_as_that_has_names() {
    let folder = Folder::new("config");
    let (train, test) = datasets::digits(60, 10, 1);
    let (named, unnamed) = (folder.join("named"), folder.join("unnamed"));
    let net = seq![flatten(), "head" => dense(10)];
    let trainer = Trainer::new(net, cross_entropy().label_smoothing(0.1), Adam::new(0.01)).batch(20).seed(3);
    let trainer = trainer.group(dropforge::optim::group("*.bias").lr_factor(0.5)).clip_norm(1.0);
    let mut trainer = trainer.schedule(Schedule::cosine(4.0)).compile(&train).unwrap();
    let stopping = early_stopping(lowest("val_loss")).patience(2);
    trainer.fit(&train).validate(&test).epochs(2).callback(stopping).save(&named).run().unwrap();
    let config = RunConfig::open(&named).unwrap();
    assert_eq!(unnamed_parts(&named).unwrap(), Vec::<String>::new());
    assert_eq!((config.data.as_str(), config.epochs, config.batch, config.seed), ("digits:60", 2, 20, 3));
    assert_eq!((config.groups.len(), config.callbacks.len(), config.clip_norm), (1, 1, Some(1.0)));
    assert_eq!(config.loss.as_ref().unwrap().name(), "cross_entropy");
    let network = NetworkBuilder::new(config.model.build(10).unwrap()).compile([1, 28, 28]).unwrap();
    assert_eq!(network.states().iter().next().unwrap().name(), "head.weight");
    let trained = Trained::open(&named, &runtime()).unwrap();
    assert_eq!(trained.config().unwrap().data, "digits:60");
    assert_eq!((trained.parameter_count(), trained.layers().len()), (7850, 2));
    // Part of it is put together by the program.
    let (part, _) = train.split(40).unwrap();
    let net = seq![flatten(), |scope: &Scope, x: &Tensor| scope.layer("own", &dense(10), x)];
    let mut trainer = self::trainer(net, &part);
    trainer.save(&unnamed).unwrap();
    let parts = unnamed_parts(&unnamed).unwrap();
    assert!(
        parts.len() == 2 && parts[0].starts_with("model: ") && parts[1].starts_with("data: "),
        "{parts:?}"
    );
    let message = RunConfig::open(&unnamed).unwrap_err().to_string();
    assert!(message.contains("a program made this run") && message.contains("Trainer::resume"), "{message}");
    assert!(Trained::open(&unnamed, &runtime()).unwrap().config().is_none());
    let text = fs::read_to_string(unnamed.join("config.toml")).unwrap();
    assert!(text.contains("[optimizer]") && text.contains("lr = 0.03"), "{text}");
}
