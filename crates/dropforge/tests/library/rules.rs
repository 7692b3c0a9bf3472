//! Schedules, initialisers and callbacks against PyTorch: scripts/golden_library/rules.py.

use crate::golden::Golden;
use dropforge::data::{Dataset, Description};
use dropforge::init::{self, Init};
use dropforge::prelude::*;
use dropforge::schedule::{self, Moment, Schedule};
use dropforge::step::{Batch, Objective};
use dropforge::train::{Callback, Snapshot, keep_best, reduce_on_plateau};

#[track_caller]
fn assert_near(what: &str, found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{what}: {found}, expected {expected}");
}

/// The factors at the starts of epochs.
#[track_caller]
fn check_schedule(name: &str, schedule: Schedule, first: u64) {
    let golden = Golden::read(&format!("schedules/{name}"));
    for (epoch, expected) in (0..).zip(golden.floats("factors")).skip(first as usize) {
        let moment = Moment { step: epoch * 10, epoch, batch: 0, batches: 10, planned: None };
        let what = format!("{name} at {epoch}");
        assert_near(&what, schedule.factor(&moment), f64::from(*expected), 1e-6);
    }
}

#[test]
fn schedules_are_those_of_pytorch() {
    let check = |name: &str, schedule: Schedule| check_schedule(name, schedule, 0);
    let chained: Vec<Schedule> = vec![
        Schedule::new(schedule::Exponential { gamma: 0.9 }),
        Schedule::new(schedule::Steps { every: 5.0, gamma: 0.5 }),
    ];
    check("chained", Schedule::new(schedule::Chained { schedules: chained }));
    check("constant", Schedule::new(schedule::Constant {}));
    check("cosine", Schedule::new(schedule::Cosine { length: Some(23.0), floor: 0.1 }));
    check(
        "cosine_restarts",
        Schedule::new(schedule::CosineRestarts { first: 3.0, growth: 2.0, floor: 0.05 }),
    );
    check("exponential", Schedule::new(schedule::Exponential { gamma: 0.8 }));
    check("linear", Schedule::new(schedule::Linear { length: Some(10.0), floor: 0.2 }));
    check("milestones", Schedule::new(schedule::Milestones { at: vec![2.0, 3.0, 11.0], gamma: 0.3 }));
    // There a phase ends one step earlier: of 24 steps a quarter less one of the way to the last.
    let (rise, length) = (5.0 / 23.0, Some(23.0));
    check("one_cycle", Schedule::new(schedule::OneCycle { length, rise, start: 8.0, end: 50.0 }));
    check("polynomial", Schedule::new(schedule::Polynomial { length: Some(15.0), power: 1.5, floor: 0.0 }));
    check("steps", Schedule::new(schedule::Steps { every: 4.0, gamma: 0.6 }));
    check("triangles", Schedule::new(schedule::Triangles { rise: 3.0, fall: Some(5.0), floor: 0.2 }));
    // There steps are counted from 1.
    check_schedule("inverse_root", Schedule::new(schedule::InverseRoot {}).warmup(4.0), 1);
}

fn drawn(init: &Init, shape: &[usize]) -> Vec<f64> {
    let array = init.array(3, "weight", &dropforge::ValueType::new(DType::F32, shape)).unwrap();
    array.as_f32().unwrap().iter().map(|&x| f64::from(x)).collect()
}

fn moments(x: &[f64]) -> (f64, f64) {
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
    (mean, variance.sqrt())
}

#[test]
fn initialisers_draw_as_those_of_pytorch() {
    let gain = std::f32::consts::SQRT_2;
    let all: [(&str, Init); 9] = [
        ("kaiming_normal", Init::new(init::KaimingNormal { gain })),
        ("kaiming_uniform", Init::new(init::KaimingUniform { gain })),
        ("lecun_normal", Init::new(init::LecunNormal {})),
        ("lecun_uniform", Init::new(init::LecunUniform {})),
        ("normal", Init::normal(0.5, 0.2)),
        (
            "truncated_normal",
            Init::new(init::TruncatedNormal { mean: 0.1, deviation: 0.5, low: -0.6, high: 1.0 }),
        ),
        ("uniform", Init::uniform(-0.25, 0.75)),
        ("xavier_normal", Init::xavier_normal()),
        ("xavier_uniform", Init::xavier_uniform()),
    ];
    for (name, init) in all {
        let golden = Golden::read(&format!("initialisers/{name}"));
        let number = |key: &str| f64::from(golden.floats(key)[0]);
        let x = drawn(&init, &[256, 64, 3, 3]);
        let (mean, deviation) = moments(&x);
        // 150,000 draws here and there.
        assert_near(name, mean, number("mean"), 0.02 * number("deviation"));
        assert_near(name, deviation / number("deviation"), 1.0, 0.01);
        if golden.has("ends") {
            let ends =
                [x.iter().copied().fold(f64::INFINITY, f64::min), x.iter().copied().fold(f64::MIN, f64::max)];
            for (found, expected) in ends.iter().zip(golden.floats("ends")) {
                assert_near(name, *found, f64::from(*expected), 1e-3 * number("deviation"));
            }
        }
    }
}

#[test]
fn initialisers_that_are_told_all() {
    let exactly = |name: &str, init: &Init| {
        let golden = Golden::read(&format!("initialisers/{name}"));
        let expected: Vec<f64> = golden.floats("elements").iter().map(|&x| f64::from(x)).collect();
        assert_eq!(drawn(init, golden.array("elements").shape()), expected, "{name}");
    };
    exactly("constant", &Init::constant(0.7));
    exactly("identity", &Init::new(init::Identity { gain: 1.0 }));
    exactly("identity_filters", &Init::new(init::Identity { gain: 1.0 }));
    exactly("values", &Init::values(vec![0.5, -1.0, 2.0, 0.25]));
    let golden = Golden::read("initialisers/orthogonal");
    let w = drawn(&Init::new(init::Orthogonal { gain: 1.5 }), &[12, 20]);
    let rows: Vec<&[f64]> = w.chunks(20).collect();
    let products =
        rows.iter().flat_map(|a| rows.iter().map(|b| a.iter().zip(*b).map(|(x, y)| x * y).sum::<f64>()));
    for (found, expected) in products.zip(golden.floats("products")) {
        assert_near("orthogonal", found, f64::from(*expected), 1e-5);
    }
    let golden = Golden::read("initialisers/sparse");
    let w = drawn(&Init::new(init::Sparse { sparsity: 0.3, deviation: 0.2 }), &[50, 400]);
    let zeros: Vec<i32> = (0..400)
        .map(|column| w.iter().skip(column).step_by(400).filter(|x| **x == 0.0).count() as i32)
        .collect();
    assert_eq!(zeros, golden.array("zeros").as_i32().unwrap());
    let rest: Vec<f64> = w.into_iter().filter(|x| *x != 0.0).collect();
    assert_near("sparse", moments(&rest).1 / f64::from(golden.floats("deviation")[0]), 1.0, 0.03);
}

/// Trains for as many epochs as there are losses, which come out as they are told; gives what is asked for after each.
fn scripted<T>(losses: &[f32], callback: &mut dyn Callback, after: impl Fn(&Trainer, bool) -> T) -> Vec<T> {
    let told = |scope: &Scope, batch: &Batch| {
        let nothing = scope.parameter("nothing", [1], Init::constant(0.0)).sum(..) * 0.0;
        Objective::new(batch.get("input").mean(..) + nothing)
    };
    let data = |loss: f32| {
        Dataset::from_f32(Description::values("told", &[1], &[1]), vec![loss], vec![0.0f32]).unwrap()
    };
    let mut trainer = Trainer::of(told, Sgd::new(0.1)).compile(&data(0.0)).unwrap();
    let each = losses.iter().enumerate().map(|(epoch, &loss)| {
        let fit = trainer.fit(&data(loss)).epochs(epoch as u64 + 1);
        let fitted = fit.callback(&mut *callback).run().unwrap();
        after(&trainer, fitted.stopped.is_some())
    });
    each.collect()
}

#[test]
fn callbacks_decide_as_those_of_pytorch_and_keras() {
    let golden = Golden::read("callbacks/reduce_on_plateau");
    let mut plateau = reduce_on_plateau(lowest("train_loss")).factor(0.5).patience(1).least(0.02);
    let rates =
        scripted(golden.floats("losses"), &mut plateau, |trainer, _| trainer.step().learning_rate().unwrap());
    for (found, expected) in rates.iter().zip(golden.floats("rates")) {
        assert_near("rate", *found, f64::from(*expected), 1e-7);
    }

    let golden = Golden::read("callbacks/early_stopping");
    let mut stopping = early_stopping(lowest("train_loss")).patience(4).min_delta(0.02);
    let epochs = scripted(golden.floats("losses"), &mut stopping, |trainer, _| trainer.epochs());
    assert_eq!(*epochs.last().unwrap(), golden.array("stopped").as_i32().unwrap()[0] as u64);

    /// Which epochs were kept as the best.
    struct Kept(dropforge::train::KeepBest, Vec<i32>);
    impl Callback for Kept {
        fn name(&self) -> String {
            self.0.name()
        }
        fn on_epoch_end(
            &mut self,
            report: &dropforge::train::EpochReport,
            control: &mut dropforge::train::Control<'_>,
        ) -> Result<()> {
            self.0.on_epoch_end(report, control)
        }
        fn on_best(&mut self, snapshot: &Snapshot<'_>) -> Result<()> {
            self.1.push(snapshot.history().len() as i32);
            Ok(())
        }
    }
    let golden = Golden::read("callbacks/keep_best");
    let mut kept = Kept(keep_best(lowest("train_loss")), Vec::new());
    scripted(golden.floats("losses"), &mut kept, |_, _| ());
    assert_eq!(kept.1, golden.array("kept").as_i32().unwrap());
}

/// What a file could not say, a program may not either: it is said when the trainer is compiled, or before the step.
#[test]
fn schedules_of_programs_are_in_their_ranges() {
    let description = Description::values("line", &[1], &[1]);
    let data = Dataset::from_f32(description, vec![0.0, 1.0, 2.0, 3.0], vec![1.0f32, 3.0, 5.0, 7.0]).unwrap();
    let train = |schedule: Schedule, own: bool| {
        let trainer = Trainer::new(dense(1), mse(), Sgd::new(0.01)).batch(2);
        let trainer = match own {
            true => trainer.group(dropforge::optim::group("bias")).group_schedule("bias", schedule),
            false => trainer.schedule(schedule),
        };
        trainer.compile(&data).and_then(|mut trainer| trainer.fit(&data).epochs(2).run().map(drop))
    };
    let nan = f64::NAN;
    let cosine = |length: f64, floor: f64| Schedule::new(schedule::Cosine { length: Some(length), floor });
    for (made, expected) in [
        (Schedule::cosine(0.0), "`length` is 0, it must be above 0"),
        (Schedule::linear(-1.0), "`length` is -1"),
        (Schedule::cosine(nan), "`length` is NaN"),
        (cosine(2.0, 1.5), "`floor` is 1.5"),
        (Schedule::constant().warmup(-1.0), "`warmup` is -1, it must be 0 or more"),
        (Schedule::constant().warmup(nan), "`warmup` is NaN"),
        (Schedule::constant().over(0.0), "`over` is 0"),
        (Schedule::new(schedule::Steps { every: 0.0, gamma: 0.1 }), "`every` is 0"),
        (Schedule::new(schedule::Chained { schedules: vec![Schedule::cosine(0.0)] }), "`length` is 0"),
        (Schedule::from(|_: &Moment| f64::NAN), "gives the factor NaN before step 1"),
        (Schedule::from(|moment: &Moment| 1.0 - moment.epoch as f64 * 2.0), "the factor -1 before step 3"),
    ] {
        for own in [false, true] {
            let error = train(made.clone(), own).unwrap_err().to_string();
            let place = if own { "group_schedule of bias: " } else { "schedule: " };
            assert!(error.starts_with(place) && error.contains(expected), "{error}");
        }
    }
    train(Schedule::cosine(2.0).warmup(0.5), true).unwrap();
    for group in [dropforge::optim::group("bias").lr(nan), dropforge::optim::group("bias").lr_factor(-1.0)] {
        let trainer = Trainer::new(dense(1), mse(), Sgd::new(0.01)).group(group);
        let error = trainer.compile(&data).err().unwrap().to_string();
        assert!(error.contains("group bias: sgd: the learning rate is "), "{error}");
    }
}
