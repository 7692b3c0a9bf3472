//! Fits with everything that goes with them: limits, callbacks and what they remember.

use dropforge::data::{Dataset, Description, from_fn, from_iter};
use dropforge::metric::{Figures, Measured, Metric, auc, average_precision, confusion_matrix, top_k};
use dropforge::optim::{Averaged, group};
use dropforge::prelude::*;
use dropforge::settings::{Context, SettingType, Value};
use dropforge::step::Evaluation;
use dropforge::train::{
    Callback, Control, EpochReport, Fit, Fitted, Monitor, Snapshot, TrainerBuilder, keep_best,
    reduce_on_plateau, unfreeze,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("dropforge-callbacks-{name}-{}", std::process::id()));
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

fn trainer() -> Trainer {
    let net = seq!["first" => dense(12), relu(), dropout(0.25), "last" => dense(3)];
    let trainer = Trainer::new(net, cross_entropy(), Adam::new(0.03)).batch(8).seed(5);
    trainer.group(group("first.*").frozen()).compile(&points()).unwrap()
}

/// Writes down everything that happens.
#[derive(Default)]
struct Diary(Vec<String>);

impl Callback for Diary {
    fn name(&self) -> String {
        "diary".into()
    }

    fn on_fit_start(&mut self, control: &mut Control<'_>) -> Result<()> {
        self.0.push(format!("fit {}", control.progress().step));
        Ok(())
    }

    fn on_epoch_start(&mut self, control: &mut Control<'_>) -> Result<()> {
        self.0.push(format!("epoch {} at {}", control.progress().epoch, control.progress().batch));
        Ok(())
    }

    fn on_step_end(&mut self, control: &mut Control<'_>) -> Result<()> {
        if control.progress().batch.is_multiple_of(3) {
            let accuracy = control.metrics()?.get("accuracy").unwrap();
            assert!((0.0..=1.0).contains(&accuracy));
            self.0.push(format!("step {}", control.progress().step));
        }
        Ok(())
    }

    fn on_validation_end(&mut self, validation: &Evaluation, control: &mut Control<'_>) -> Result<()> {
        assert_eq!(control.report().unwrap().validation.as_ref(), Some(validation));
        self.0.push(format!("validated {}", validation.samples));
        Ok(())
    }

    fn on_checkpoint(&mut self, snapshot: &Snapshot<'_>) -> Result<()> {
        let validated = snapshot.history().iter().filter(|report| report.validation.is_some()).count();
        self.0.push(format!("saved {} with {validated}", snapshot.steps()));
        Ok(())
    }

    fn on_epoch_end(&mut self, report: &EpochReport, _: &mut Control<'_>) -> Result<()> {
        self.0.push(format!("end of {}", report.epoch));
        Ok(())
    }

    fn on_error(&mut self, error: &Error) {
        self.0.push(format!("error {error}"));
    }

    fn on_fit_end(&mut self, _: &mut Control<'_>) -> Result<()> {
        self.0.push("over".into());
        Ok(())
    }
}

#[test]
fn events_come_in_order_and_saving_comes_before_validation() {
    let data = points();
    let mut trainer = trainer();
    let mut diary = Diary::default();
    let fitted = trainer.fit(&data).validate(&data).epochs(2).callback(&mut diary).run().unwrap();
    assert_eq!(fitted.stopped, None);
    assert_eq!(fitted.last.as_ref(), trainer.history().last());
    let expected = [
        "fit 0",
        "epoch 1 at 0",
        "step 3",
        "step 6",
        "saved 7 with 0",
        "validated 50",
        "end of 1",
        "epoch 2 at 0",
        "step 10",
        "step 13",
        "saved 14 with 1",
        "validated 50",
        "end of 2",
        "saved 14 with 2",
        "over",
    ];
    assert_eq!(diary.0, expected);
    // What has been done is not done again; nothing new is to be saved.
    let mut diary = Diary::default();
    trainer.fit(&data).validate(&data).epochs(2).callback(&mut diary).run().unwrap();
    assert_eq!(diary.0, ["fit 14", "over"]);
}

#[test]
fn limits_end_training_between_two_steps() {
    let started = Instant::now();
    let data = points();
    let mut trainer = trainer();
    let mut diary = Diary::default();
    let fitted = trainer.fit(&data).epochs(9).max_steps(10).callback(&mut diary).run().unwrap();
    assert_eq!((trainer.steps(), trainer.epochs()), (10, 1));
    assert_eq!(fitted.stopped.as_deref(), Some("10 steps have been made"));
    assert!(fitted.to_string().ends_with("stopped: 10 steps have been made"), "{fitted}");
    assert_eq!(fitted.limit, Some("max_steps"));
    assert_eq!(diary.0.last_chunk().unwrap(), &["step 10", "saved 10 with 0", "over"].map(String::from));

    // A flag, as a handler of Ctrl-C would set it: the step is finished, the next fit goes on behind it.
    let flag = Arc::new(AtomicBool::new(false));
    struct Raise(Arc<AtomicBool>);
    impl Callback for Raise {
        fn name(&self) -> String {
            "raise".into()
        }

        fn on_step_end(&mut self, control: &mut Control<'_>) -> Result<()> {
            self.0.store(control.progress().step == 12, Ordering::Relaxed);
            Ok(())
        }
    }
    let fitted = trainer.fit(&data).epochs(9).stop_flag(&flag).callback(Raise(flag.clone())).run().unwrap();
    assert_eq!((trainer.steps(), fitted.stopped.as_deref()), (12, Some("it was asked to stop")));

    // The time before counts, too, so that the same limit ends it again at once.
    let most = Duration::from_millis(200);
    let fitted = trainer.fit(&data).epochs(1_000_000).max_time(most).run().unwrap();
    assert!(started.elapsed() >= most && fitted.limit == Some("max_time"));
    let steps = trainer.steps();
    let again = trainer.fit(&data).epochs(1_000_000).max_time(most / 2).run().unwrap();
    assert_eq!((trainer.steps(), again.stopped.as_deref()), (steps, Some("0.1 seconds have passed")));
    // In the end it is the same training as one without stops.
    let mut whole = self::trainer();
    whole.fit(&data).epochs(1_000_000).max_steps(steps).run().unwrap();
    // The sums begin anew with an epoch, which the stopped one may just have done.
    for state in whole.step().states().iter().filter(|state| !state.name().starts_with("metric.")) {
        assert_eq!(
            trainer.step().states().read(state.name()).unwrap(),
            state.read().unwrap(),
            "{}",
            state.name()
        );
    }
}

#[test]
fn an_error_reaches_callbacks_and_caller() {
    struct Fails;
    impl Callback for Fails {
        fn name(&self) -> String {
            "fails".into()
        }

        fn on_step_end(&mut self, control: &mut Control<'_>) -> Result<()> {
            if control.progress().step == 2 { Err(Error::new("enough")) } else { Ok(()) }
        }
    }
    let data = points();
    let mut trainer = trainer();
    let mut diary = Diary::default();
    let error = trainer.fit(&data).callback(&mut diary).callback(Fails).run().unwrap_err();
    assert_eq!(error.to_string(), "enough");
    assert_eq!(diary.0.last().unwrap(), "error enough");
    assert_eq!(trainer.epoch(&data).unwrap().step, 7);
}

/// A callback that remembers, changes a rate, thaws a group and asks for a checkpoint.
#[derive(Default)]
struct Thaw {
    epochs: u64,
}

impl Callback for Thaw {
    fn name(&self) -> String {
        "thaw".into()
    }

    fn on_epoch_end(&mut self, _: &EpochReport, control: &mut Control<'_>) -> Result<()> {
        self.epochs += 1;
        if self.epochs == 2 {
            control.unfreeze("first")?;
            control.set("first", "lr", 0.001)?;
            control.set_learning_rate(0.02)?;
            control.request_save();
        }
        Ok(())
    }

    fn state(&self) -> Option<String> {
        Some(self.epochs.to_string())
    }

    fn restore(&mut self, state: &str) -> Result<()> {
        self.epochs = state.parse().map_err(|_| Error::new("no number"))?;
        Ok(())
    }
}

#[test]
fn a_resumed_fit_does_what_one_without_stops_does() {
    let data = points();
    let stopping = || early_stopping(lowest("val_loss")).patience(2).min_delta(0.02);
    let slower = || reduce_on_plateau(highest("val_accuracy")).patience(0).factor(0.5).least(0.001);
    let fit = |trainer: &mut Trainer, folder: Option<&Folder>, steps: u64| {
        let mut fit = trainer.fit(&data).validate(&data).epochs(60).max_steps(steps);
        fit = fit.callback(Thaw::default()).callback(stopping()).callback(slower());
        if let Some(folder) = folder {
            fit = fit.save(&folder.0);
        }
        fit.run().unwrap()
    };
    let mut whole = trainer();
    let stopped = fit(&mut whole, None, u64::MAX).stopped.expect("it stops early");
    assert!(
        stopped.contains("val_loss was best in epoch") && whole.epochs() < 60,
        "{stopped} {}",
        whole.epochs()
    );
    assert!(whole.epochs() > 4, "it stops too early to show anything");
    let rates: Vec<f64> = whole.history().iter().map(|report| report.lr).collect();
    assert!(
        rates[0] == 0.03 && rates[2] <= 0.02 && rates.windows(2).any(|pair| pair[1] == pair[0] / 2.0),
        "{rates:?}"
    );

    let folder = Folder::new("resume");
    let mut resumed = trainer();
    let mut ended = None;
    for steps in (3..).step_by(5).take(200) {
        ended = fit(&mut resumed, Some(&folder), steps).stopped.filter(|why| !why.contains("steps"));
        if ended.is_some() {
            break;
        }
        resumed = trainer();
        assert!(resumed.resume(&folder.0).unwrap());
    }
    assert_eq!(ended.as_ref(), Some(&stopped));
    for state in whole.step().states().iter().filter(|state| !state.name().contains("metric.evaluate")) {
        let found = resumed.step().states().read(state.name()).unwrap();
        assert_eq!(found, state.read().unwrap(), "{}", state.name());
    }
    let figures = |trainer: &Trainer| {
        let figures = |report: &EpochReport| (report.step, report.loss, report.lr, report.get("val_loss"));
        trainer.history().iter().map(figures).collect::<Vec<_>>()
    };
    assert_eq!(figures(&resumed), figures(&whole));
    // A run that has ended stays so.
    let mut again = trainer();
    again.resume(&folder.0).unwrap();
    assert_eq!(fit(&mut again, None, u64::MAX).stopped, Some(stopped));
    assert_eq!(again.steps(), whole.steps());
}

#[test]
fn what_is_watched_must_be_measured() {
    let data = points();
    let mut trainer = trainer();
    let error = trainer.fit(&data).callback(early_stopping(highest("val_f1"))).run().unwrap_err().to_string();
    assert!(
        error.starts_with("there is no figure `val_f1`")
            && error.contains("`train_accuracy`")
            && error.contains(".validate(&data)"),
        "{error}"
    );
    let misspelt = keep_best(highest("val_acuracy"));
    let error = trainer.fit(&data).validate(&data).callback(misspelt).run().unwrap_err().to_string();
    assert!(error.contains("did you mean `val_accuracy`?"), "{error}");
    // It is said before anything is trained.
    assert_eq!(trainer.steps(), 0);
}

#[test]
fn callbacks_that_would_share_what_they_remember_are_refused() {
    let (data, mut trainer) = (points(), trainer());
    let one = || early_stopping(lowest("train_loss"));
    let error = trainer.fit(&data).callback(one()).callback(one().patience(9)).run().unwrap_err().to_string();
    assert!(error.contains("two callbacks are called early_stopping.train_loss"), "{error}");
    trainer
        .fit(&data)
        .epochs(1)
        .callback(one())
        .callback(early_stopping(highest("train_accuracy")))
        .run()
        .unwrap();
}

/// Fails at the end of an epoch, as a process that ends there.
struct EndsIn(u64);

impl Callback for EndsIn {
    fn name(&self) -> String {
        "ends_in".into()
    }

    fn on_epoch_end(&mut self, report: &EpochReport, _: &mut Control<'_>) -> Result<()> {
        if report.epoch == self.0 { Err(Error::new("the process ends")) } else { Ok(()) }
    }
}

/// Between the checkpoint of an epoch and its end: callbacks hear of it when the run goes on, without a validation too.
#[test]
fn the_end_of_an_epoch_is_heard_once_whatever_happens() {
    let data = points();
    let stopping = || early_stopping(lowest("train_loss")).patience(1).min_delta(0.05);
    let mut whole = trainer();
    whole.fit(&data).epochs(40).callback(stopping()).run().unwrap();
    assert!((3..40).contains(&whole.epochs()), "{}", whole.epochs());
    let folder = Folder::new("ends");
    for epoch in 1..=whole.epochs() {
        let mut killed = trainer();
        killed.resume(&folder.0).ok();
        let fit = killed.fit(&data).epochs(40).save(&folder.0).callback(EndsIn(epoch)).callback(stopping());
        assert_eq!(fit.run().unwrap_err().to_string(), "the process ends", "{epoch}");
    }
    let mut last = trainer();
    last.resume(&folder.0).unwrap();
    let fitted = last.fit(&data).epochs(40).save(&folder.0).callback(stopping()).run().unwrap();
    assert_eq!(last.epochs(), whole.epochs(), "{:?}", fitted.stopped);
    assert!(fitted.stopped.is_some_and(|why| why.contains("train_loss")));
}

/// Whoever asks for an end does not wait for a validation; it and the end of its epoch come when the run goes on.
#[test]
fn who_asks_for_an_end_does_not_wait_for_a_validation() {
    let (data, flag) = (points(), Arc::new(AtomicBool::new(false)));
    let asks = flag.clone();
    // Asks while it is read.
    let validation = from_fn(48, move |request| {
        asks.store(true, Ordering::SeqCst);
        ([0.5f32, request.index as f32 / 48.0], (request.index % 3) as i32)
    });
    let validation = validation.classes(["a", "b", "c"]);
    let stopping = || early_stopping(lowest("val_loss")).patience(1);
    let mut trainer = trainer();
    for epochs in [2, 1] {
        // In the middle of an epoch, and after the last.
        flag.store(false, Ordering::SeqCst);
        let fit = trainer.fit(&data).validate(&validation).epochs(epochs).validate_every(if epochs == 2 {
            1
        } else {
            1000
        });
        let fitted = fit.stop_flag(&flag).callback(stopping()).run().unwrap();
        assert_eq!(fitted.stopped.as_deref(), Some("it was asked to stop"));
        assert!(fitted.last.is_none_or(|last| last.validation.is_none()));
    }
    assert_eq!(trainer.epochs(), 1);
    let fitted = trainer.fit(&data).validate(&validation).epochs(1).callback(stopping()).run().unwrap();
    assert!(fitted.stopped.is_none() && fitted.last.unwrap().validation.is_some());
}

#[test]
fn who_stops_at_the_very_end_is_heard_and_stops_nothing_later() {
    struct Stops;
    impl Callback for Stops {
        fn name(&self) -> String {
            "stops".into()
        }
        fn on_epoch_end(&mut self, _: &EpochReport, control: &mut Control<'_>) -> Result<()> {
            control.stop("enough");
            Ok(())
        }
    }
    let (data, mut trainer) = (points(), trainer());
    let fitted = trainer.fit(&data).epochs(1).callback(Stops).run().unwrap();
    assert_eq!(fitted.stopped.as_deref(), Some("enough"));
    trainer.epoch(&data).unwrap();
}

/// The last batch of an epoch has one sample: batch norm cannot train on it, which is said before anything is trained.
#[test]
fn a_last_batch_that_cannot_be_trained_on_is_refused_at_once() {
    let (data, _) = points().split(49).unwrap();
    let build =
        || Trainer::new(seq![dense(4), batch_norm(), dense(3)], cross_entropy(), Sgd::new(0.1)).batch(8);
    let error = build().compile(&data).err().unwrap().to_string();
    for part in
        ["the last batch of an epoch has 1 of 8 samples", "drop_last", "batch_norm", "[1, 4]", "in 1 ("]
    {
        assert!(error.contains(part), "{part}: {error}");
    }
    let mut trainer = build().drop_last(true).compile(&data).unwrap();
    assert_eq!(trainer.epoch(&data).unwrap().step, 6);
    build().batch(7).compile(&data).unwrap().epoch(&data).unwrap();
}

/// Keeps the scores of all samples, as a metric of one's own may.
struct Spread;

impl Metric for Spread {
    fn name(&self) -> String {
        "spread".into()
    }

    fn update(&self, _: &Measured<'_>) -> Vec<Tensor> {
        Vec::new()
    }

    fn keep(&self, batch: &Measured<'_>) -> Vec<Tensor> {
        vec![batch.prediction.clone()]
    }

    fn compute(&self, kept: &[Vec<f64>]) -> Figures {
        let all = &kept[0];
        Figures::number("spread", all.iter().fold(all[0], |a, b| a.max(*b)))
            .and(Figures::detail("count", all.len() as f64))
    }
}

#[test]
fn what_is_measured_in_validations_alone_can_be_watched() {
    let data = points();
    let fit = |callback: Box<dyn Callback>, validates: bool| {
        let net = seq![dense(12), relu(), dense(3)];
        let trainer = Trainer::new(net, cross_entropy(), Adam::new(0.03)).batch(8);
        let trainer = trainer.metric(auc()).metric(average_precision()).metric(Spread);
        let mut trainer = trainer.compile(&data).unwrap();
        let folder = Folder::new("watched");
        let fit = trainer.fit(&data).epochs(2).callback(callback).save(&folder.0);
        if validates { fit.validate(&data).run() } else { fit.run() }.map(|fitted| fitted.last.unwrap())
    };
    let of = |name: &str| -> Monitor { Monitor::read(&Value::String(name.into()), &Context::NONE).unwrap() };
    let watching = |name: &str| -> [Box<dyn Callback>; 3] {
        [
            Box::new(early_stopping(of(name))),
            Box::new(keep_best(of(name))),
            Box::new(reduce_on_plateau(of(name))),
        ]
    };
    for name in ["val_auc", "val_average_precision", "highest val_spread", "lowest val_count"] {
        for callback in watching(name) {
            let last = fit(callback, true).unwrap();
            assert!(last.get(name.split(' ').next_back().unwrap()).is_some(), "{name}");
        }
    }
    for (name, validates, expected) in [
        ("train_auc", true, "is not measured over training steps; watch `val_auc`"),
        ("val_auk", true, "did you mean `val_auc`?"),
        ("val_auc", false, "nothing is validated"),
        ("val_spread", true, "write `lowest val_spread` or `highest val_spread`"),
    ] {
        for callback in watching(name) {
            let error = fit(callback, validates).unwrap_err().to_string();
            assert!(error.contains(expected), "{name}: {error}");
        }
    }
}

/// Everything that training goes on from, by name.
fn bits(trainer: &Trainer) -> Vec<(String, Vec<u32>)> {
    let states = trainer.step().copy_states().unwrap();
    let bits = |array: Array| match array.to_f32() {
        Some(numbers) => numbers.iter().map(|number| number.to_bits()).collect(),
        None => Vec::new(),
    };
    let training = states.into_iter().filter(|(name, _)| !name.starts_with("metric.evaluate."));
    training.map(|(name, array)| (name, bits(array))).collect()
}

/// Averages of weights are measured, kept and used in place of the weights, and training goes on from these as if there
/// were none.
#[test]
fn averages_are_what_a_run_is_used_with() {
    let data = points();
    let inputs = || Tensor::from([[0.5, -0.5], [-1.0, 0.25]]);
    type Inside = fn(Adam) -> Box<dyn Optimizer>;
    let build = |inside: Inside| {
        let net = seq!["first" => dense(12), relu(), "last" => dense(3)];
        let own = group("last.*").name("end").optimizer(inside(Adam::new(0.01)));
        let trainer = Trainer::new(net, cross_entropy(), inside(Adam::new(0.03))).batch(8).seed(5);
        trainer.group(own).compile(&data).unwrap()
    };
    let (plain, mean, swa, late): (Inside, Inside, Inside, Inside) = (
        |adam| Box::new(adam),
        |adam| Box::new(Averaged::exponential(0.9, adam)),
        |adam| Box::new(Averaged::plain(9, 1, adam)),
        |adam| Box::new(Averaged::plain(1000, 1, adam)),
    );
    let weights = |trainer: &Trainer| -> Vec<(String, Vec<u32>)> {
        bits(trainer)
            .into_iter()
            .filter(|(name, _)| name.starts_with("first.") || name.starts_with("last."))
            .collect()
    };
    let mut unaveraged = build(plain);
    unaveraged.fit(&data).validate(&data).epochs(4).run().unwrap();
    for (name, inside) in [("mean", mean), ("swa", swa), ("late", late)] {
        let folder = Folder::new(name);
        let mut straight = build(inside);
        straight.fit(&data).validate(&data).epochs(4).run().unwrap();
        assert_eq!(weights(&straight), weights(&unaveraged), "{name}: training itself is not changed");
        let mut first = build(inside);
        let fit = first.fit(&data).validate(&data).epochs(2).save(&folder.0);
        let measured =
            fit.callback(keep_best(lowest("val_loss"))).run().unwrap().last.unwrap().validation.unwrap();
        let runtime = Runtime::shared().unwrap();
        for trained in [Trained::open(&folder.0, &runtime), Trained::open_best(&folder.0, &runtime)] {
            let trained = trained.unwrap();
            assert!((trained.evaluate(&data, 16).unwrap().loss - measured.loss).abs() < 1e-6, "{name}");
            let [a, b] = [trained.predict(vec![0.5f32, -0.5, -1.0, 0.25]), first.predict(inputs())];
            let [a, b]: [Vec<f32>; 2] = [a, b].map(|all| all.unwrap().to_vec().unwrap());
            assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-6), "{name}: {a:?} {b:?}");
        }
        let mut second = build(inside);
        assert!(second.resume(&folder.0).unwrap());
        assert!(bits(&second) == bits(&first), "{name}");
        second.fit(&data).validate(&data).epochs(4).run().unwrap();
        assert!(bits(&second) == bits(&straight), "{name}: resumed");
        // What is measured is the averages, where there are any.
        let before = first.step_mut().evaluate((inputs(), Tensor::from([0, 1]))).unwrap();
        let averaged = first.step_mut().use_averages();
        assert_eq!(averaged.is_ok(), name != "late");
        let after = first.step_mut().evaluate((inputs(), Tensor::from([0, 1]))).unwrap();
        assert_eq!(before.loss != after.loss, name != "late");
        if name != "late" {
            assert!((first.evaluate(&data).unwrap().loss - measured.loss).abs() < 1e-6, "{name}");
        }
    }
}

/// Hears of validations, by step; fails at one of them, as if the process ended there.
#[derive(Default)]
struct Hears {
    steps: Vec<u64>,
    fails_at: Option<u64>,
}

impl Callback for Hears {
    fn name(&self) -> String {
        "hears".into()
    }

    fn on_step_end(&mut self, control: &mut Control<'_>) -> Result<()> {
        if Some(control.progress().step) == self.fails_at {
            control.request_save();
        }
        Ok(())
    }

    fn on_validation_end(&mut self, validation: &Evaluation, control: &mut Control<'_>) -> Result<()> {
        let step = control.progress().step;
        let report = control.within_epoch().or(control.report()).unwrap();
        assert_eq!((report.step, report.validation.as_ref()), (step, Some(validation)));
        self.steps.push(step);
        if Some(step) == self.fails_at { Err(Error::new("killed")) } else { Ok(()) }
    }
}

#[test]
fn validations_within_epochs_are_recorded_acted_on_and_resumed() {
    let (data, folder) = (points(), Folder::new("within"));
    let still = || {
        let net = seq![dense(3)];
        Trainer::new(net, cross_entropy(), Sgd::new(1e-9)).batch(8).compile(&points()).unwrap()
    };
    // Nothing becomes better by so much: the first one stays the best, and the third in a row is one too many.
    let stopping = || early_stopping(lowest("val_loss")).patience(3).min_delta(0.1);
    let plateau = || reduce_on_plateau(lowest("train_loss")).patience(0);
    let fit = |trainer: &mut Trainer, run: &PathBuf, hears: &mut Hears| {
        let fit = trainer.fit(&data).validate(&data).validate_every(2).epochs(3).save(run);
        let best = keep_best(lowest("val_loss"));
        fit.callback(best).callback(hears).callback(stopping()).callback(plateau()).run()
    };
    let (mut trainer, mut hears) = (still(), Hears::default());
    let fitted = fit(&mut trainer, &folder.0, &mut hears).unwrap();
    assert_eq!(hears.steps, [2, 4, 6, 7]);
    let why = fitted.stopped.unwrap();
    assert!(why.contains("after step 2 (") && why.ends_with("3 validations ago"), "{why}");
    let records = dropforge::run::step_records(&folder.0).unwrap();
    let recorded: Vec<(u64, bool)> =
        records.validations.iter().map(|one| (one.step, one.ends_epoch)).collect();
    assert_eq!(recorded, [(2, false), (4, false), (6, false), (7, true)]);
    let last = records.points.last().unwrap();
    let speeds: Vec<f64> = records.points.iter().map(|point| point.samples_per_s).collect();
    assert!(speeds.iter().all(|speed| (1.0..1e9).contains(speed)), "{speeds:?}");
    assert!(last.step == 7 && last.loss > 0.0 && last.lr == Some(1e-9), "{last:?}");

    // One that ended between a checkpoint and its validation hears of that validation when it goes on.
    let ended = Folder::new("ended-within");
    let mut hears = Hears { fails_at: Some(4), ..Hears::default() };
    assert_eq!(fit(&mut still(), &ended.0, &mut hears).unwrap_err().to_string(), "killed");
    let (mut resumed, mut hears) = (still(), Hears::default());
    assert!(resumed.resume(&ended.0).unwrap());
    let fitted = fit(&mut resumed, &ended.0, &mut hears).unwrap();
    assert_eq!(hears.steps, [4, 6, 7]);
    assert_eq!((fitted.stopped.unwrap(), resumed.steps()), (why, 7));
    for state in trainer.step().states().iter() {
        let same = resumed.step().states().read(state.name()).unwrap() == state.read().unwrap();
        assert!(same, "{}", state.name());
    }
    let again = dropforge::run::step_records(&ended.0).unwrap();
    assert_eq!(again.validations.len(), 4);
}

/// The last step of a stream is the end of its epoch, which is measured once, and waited for once.
#[test]
fn the_last_step_of_a_stream_is_validated_once() {
    let stream = from_iter(|_| (0..32).map(|i| ([i as f32 / 32.0, 0.0], i % 3))).unwrap();
    let net = Trainer::new(dense(3), cross_entropy(), Sgd::new(1e-9)).batch(8);
    let (mut trainer, mut hears) = (net.compile(&stream).unwrap(), Hears::default());
    let fit = trainer.fit(&stream).validate(&stream).validate_every(2).epochs(3);
    let stopping = early_stopping(lowest("val_loss")).patience(3).min_delta(0.1);
    let fitted = fit.callback(&mut hears).callback(stopping).run().unwrap();
    assert_eq!(hears.steps, [2, 4, 6, 8]);
    assert!(fitted.stopped.unwrap().contains("after step 2 ("));
}

/// Whoever keeps the best by itself need not have a folder.
#[test]
fn the_best_may_be_kept_by_a_callback_of_ones_own() {
    #[derive(Default)]
    struct Keeps(u64);
    impl Callback for Keeps {
        fn name(&self) -> String {
            "keeps".into()
        }

        fn saves(&self) -> bool {
            true
        }

        fn on_best(&mut self, snapshot: &Snapshot<'_>) -> Result<()> {
            self.0 = snapshot.steps();
            Ok(())
        }
    }
    let (data, mut keeps) = (points(), Keeps::default());
    let mut trainer = trainer();
    let best = keep_best(lowest("val_loss"));
    trainer.fit(&data).validate(&data).epochs(2).callback(best).callback(&mut keeps).run().unwrap();
    assert!(keeps.0 > 0);

    // What is kept in the middle of an epoch says nothing of training steps that are not over.
    let folder = Folder::new("best-within");
    let net = Trainer::new(dense(3), cross_entropy(), Sgd::new(0.1)).batch(8).compile(&data).unwrap();
    let mut trainer = net;
    let fit = trainer.fit(&data).validate(&data).validate_every(2).epochs(1).max_steps(3).save(&folder.0);
    fit.callback(keep_best(lowest("val_loss"))).run().unwrap();
    let file = std::fs::read(folder.0.join("best.safetensors")).unwrap();
    let header = String::from_utf8_lossy(&file[8..]).into_owned();
    assert!(header.contains("\"val_loss\"") && header.contains("\"step\":\"2\""), "{header}");
    assert!(!header.contains("NaN") && !header.contains("train_loss"), "{header}");
}

#[test]
fn what_was_validated_is_in_the_run_at_once() {
    struct Looks(PathBuf, u64);
    impl Callback for Looks {
        fn name(&self) -> String {
            "looks".into()
        }

        fn on_validation_end(&mut self, measured: &Evaluation, _: &mut Control<'_>) -> Result<()> {
            let history = dropforge::run::history(&self.0)?;
            let last = history.epochs.last().unwrap().validation.clone().unwrap();
            assert_eq!((last.loss, last.samples), (measured.loss, measured.samples));
            let table = std::fs::read_to_string(self.0.join("metrics.csv")).unwrap();
            assert!(table.lines().last().unwrap().contains(&format!(",{},", measured.loss)), "{table}");
            self.1 += 1;
            Ok(())
        }
    }
    let (data, folder) = (points(), Folder::new("at-once"));
    let mut looks = Looks(folder.0.clone(), 0);
    trainer().fit(&data).validate(&data).epochs(2).save(&folder.0).callback(&mut looks).run().unwrap();
    assert_eq!(looks.1, 2);
}

/// What could have no effect is an error before the first step, or said at the end.
#[test]
fn settings_without_effect_are_named() {
    let data = points();
    let refused = |fit: &dyn Fn(Fit<'_>) -> Fit<'_>, what: &str| {
        let mut trainer = trainer();
        let error = fit(trainer.fit(&data).epochs(2)).run().unwrap_err().to_string();
        assert!(error.contains(what) && trainer.steps() == 0, "{error}");
    };
    refused(&|fit| fit.callback(keep_best(lowest("train_loss"))), "nothing is saved; add .save(folder)");
    refused(&|fit| fit.validate_every(3), "nothing is validated");
    refused(&|fit| fit.validate(&data).validate_every(0), "validate_every: it must be 1 or more");
    refused(&|fit| fit.validate(&data).validate_epochs(0), "validate_epochs: it must be 1 or more");
    refused(&|fit| fit.callback(unfreeze("frist", 1)), "did you mean `first`?");
    let net = || seq!["first" => dense(4), "last" => dense(3)];
    let build = || Trainer::new(net(), cross_entropy(), Adam::new(0.03)).batch(8);
    let mut open = build().group(group("first.*").lr_factor(0.1)).compile(&data).unwrap();
    let error = open.fit(&data).epochs(2).callback(unfreeze("first", 1)).run().unwrap_err().to_string();
    assert!(error.contains("the group first is trained from the start"), "{error}");

    // One that was stopped within the epoch in which it is first trained goes on.
    let mut stopped = trainer();
    for limit in [9, 14] {
        let fit = stopped.fit(&data).epochs(2).callback(unfreeze("first", 1)).max_steps(limit);
        fit.run().unwrap();
    }
    assert_eq!(stopped.epochs(), 2);

    let noted = |fitted: Fitted, what: &str| {
        assert!(fitted.notes.iter().any(|note| note.contains(what)), "{:?}", fitted.notes);
        assert!(fitted.to_string().contains("; note: "), "{fitted}");
    };
    noted(trainer().fit(&data).epochs(2).callback(unfreeze("first", 2)).run().unwrap(), "first stays frozen");
    noted(trainer().fit(&data).epochs(0).run().unwrap(), "0 epochs");
    let fit = |builder: TrainerBuilder, epochs: u64| {
        builder.compile(&data).unwrap().fit(&data).epochs(epochs).run().unwrap()
    };
    noted(fit(build().accumulate(50), 1), "gradients of 50 batches, and the fit has 7 in all");
    noted(fit(build().schedule(Schedule::cosine(2.0)), 4), "its end after epoch 2");
    noted(
        fit(build().schedule(Schedule::constant().warmup(3.0)), 2),
        "warms up for 3 epochs, and the fit has 2",
    );
    // What is as it is meant to be says nothing.
    for builder in [
        build().accumulate(7),
        build().schedule(Schedule::cosine(2.0)),
        build().schedule(Schedule::constant().warmup(2.0)),
    ] {
        assert!(fit(builder, 2).notes.is_empty());
    }
}

#[test]
fn a_validation_loss_that_is_no_number_stops() {
    let data = points();
    // A field that is no number only where nothing is trained.
    let loss = |scores: &Tensor, classes: &Tensor| cross_entropy().loss(scores, classes);
    let net = |scope: &Scope, x: &Tensor| {
        let y = scope.layer("net", &dense(3), x);
        if scope.is_training() { y } else { y * f32::NAN }
    };
    let build = || Trainer::new(net, loss, Adam::new(0.03)).batch(8).compile(&data).unwrap();
    let stopping = early_stopping(lowest("val_loss")).patience(3);
    let fitted = build().fit(&data).validate(&data).epochs(9).callback(stopping).run().unwrap();
    assert_eq!(fitted.last.as_ref().unwrap().epoch, 1);
    assert!(fitted.stopped.as_ref().unwrap().starts_with("val_loss is NaN after epoch 1"), "{fitted}");
    // Without anybody who watches it is noted.
    let fitted = build().fit(&data).validate(&data).epochs(2).run().unwrap();
    assert_eq!(fitted.notes, ["the validation loss is NaN from epoch 1 on"]);
    let message =
        build().fit(&data).callback(early_stopping(lowest("val_los"))).run().unwrap_err().to_string();
    assert!(message.contains("nothing is validated"), "{message}");
}

#[test]
fn cells_of_a_matrix_are_not_listed() {
    let data = points();
    let net =
        Trainer::new(dense(3), cross_entropy(), Adam::new(0.03)).metric(confusion_matrix()).metric(top_k(2));
    let mut trainer = net.compile(&data).unwrap();
    let stopping = early_stopping(highest("val_acuracy"));
    let message = trainer.fit(&data).validate(&data).callback(stopping).run().unwrap_err().to_string();
    assert!(message.contains("`val_confusion_matrix`") && message.contains("`val_top_2`"), "{message}");
    assert!(!message.contains("confusion_0_1"), "{message}");
}
