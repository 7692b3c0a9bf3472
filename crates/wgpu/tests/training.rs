//! Training on a GPU beside training on the CPU: the same losses, random numbers and order of samples.
//!
//! Runs on a software renderer unless `DROPFORGE_GPU=best`; a machine without any fails, unless `DROPFORGE_NO_GPU=1`.

use dropforge::data::Dataset;
use dropforge::models::lenet;
use dropforge::nn::StateKind;
use dropforge::prelude::*;
use dropforge::step::Choices;
use dropforge::{Runtime, devices};

/// The GPU to test, unless none is expected.
fn gpu() -> Option<Runtime> {
    let best = std::env::var("DROPFORGE_GPU").as_deref() == Ok("best");
    let software =
        || devices::list().ok()?.into_iter().find(|device| device.description.contains("software"));
    let name = if best { "gpu".into() } else { software().map_or("gpu".into(), |device| device.name) };
    match devices::open(&name, None) {
        Ok(runtime) => Some(runtime),
        Err(_) if std::env::var("DROPFORGE_NO_GPU").as_deref() == Ok("1") => None,
        Err(error) => panic!("{error} (DROPFORGE_NO_GPU=1 passes without)"),
    }
}

fn cpu() -> Runtime {
    devices::open("cpu", None).unwrap()
}

fn trainer(net: impl Layer + 'static, data: &Dataset, on: &Runtime) -> Trainer {
    let builder = Trainer::new(net, cross_entropy(), Sgd::new(0.05).momentum(0.9));
    builder.batch(16).seed(3).runtime(on).clip_norm(5.0).compile(data).unwrap()
}

/// The mean losses of some epochs of a few steps each, the last batch of each a short one.
fn losses(trainer: &mut Trainer, data: &Dataset, epochs: usize) -> Vec<f64> {
    (0..epochs).map(|_| trainer.epoch(data).unwrap().loss).collect()
}

fn assert_close(found: &[f64], expected: &[f64], tolerance: f64) {
    let close = found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= tolerance * b.abs());
    assert!(found.len() == expected.len() && close, "{found:?} instead of {expected:?}");
}

#[test]
fn the_losses_of_lenet_follow_those_of_the_cpu() {
    let Some(gpu) = gpu() else { return };
    let (data, test) = datasets::digits(40, 24, 1);
    let (mut ours, mut expected) = (trainer(lenet(10), &data, &gpu), trainer(lenet(10), &data, &cpu()));
    let found = losses(&mut ours, &data, 5);
    assert_close(&found, &losses(&mut expected, &data, 5), 1e-3);
    assert!(found[4] < found[0], "nothing was learned: {found:?}");
    let (found, expected) = (ours.evaluate(&test).unwrap(), expected.evaluate(&test).unwrap());
    assert_close(&[found.loss], &[expected.loss], 1e-3);
}

#[test]
fn dropout_and_running_statistics_are_those_of_the_cpu() {
    let Some(gpu) = gpu() else { return };
    let (data, _) = datasets::digits(40, 1, 2);
    let net =
        || seq![conv(4, 3).stride(2), batch_norm(), relu(), dropout(0.3), flatten(), dropout(0.5), dense(10)];
    let (mut ours, mut expected) = (trainer(net(), &data, &gpu), trainer(net(), &data, &cpu()));
    // One other mask would change a loss by far more than rounding does.
    assert_close(&losses(&mut ours, &data, 3), &losses(&mut expected, &data, 3), 1e-4);
    for (found, expected) in ours.step().states().iter().zip(expected.step().states().iter()) {
        assert_eq!((found.name(), found.ty()), (expected.name(), expected.ty()));
        let (found, expected) = (found.read().unwrap(), expected.read().unwrap());
        match (found.data(), expected.data()) {
            (dropforge::Data::F32(a), dropforge::Data::F32(b)) => {
                assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3), "{a:?} instead of {b:?}");
            }
            (a, b) => assert_eq!(a.bytes(), b.bytes(), "counters are the same bits"),
        }
    }
}

#[test]
fn a_run_goes_on_with_the_same_bits_and_moves_between_devices() {
    let Some(gpu) = gpu() else { return };
    let folder = std::env::temp_dir().join(format!("dropforge-gpu-{}", std::process::id()));
    let (data, _) = datasets::digits(40, 1, 4);
    let net = || seq![flatten(), dense(12), relu(), dropout(0.5), dense(10)];
    let mut whole = trainer(net(), &data, &gpu);
    losses(&mut whole, &data, 1);
    whole.save(&folder).unwrap();
    let rest = losses(&mut whole, &data, 2);
    let mut resumed = trainer(net(), &data, &gpu);
    assert!(resumed.resume(&folder).unwrap());
    assert_eq!(losses(&mut resumed, &data, 2), rest);
    let mut moved = trainer(net(), &data, &cpu());
    assert!(moved.resume(&folder).unwrap());
    assert_close(&losses(&mut moved, &data, 2), &rest, 1e-4);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn samples_that_stay_on_the_device_train_the_same() {
    let Some(gpu) = gpu() else { return };
    let (data, test) = datasets::digits(40, 24, 5);
    let new = |on_device| {
        let trainer =
            Trainer::new(lenet(10), cross_entropy(), Sgd::new(0.05).momentum(0.9)).batch(16).seed(3);
        let trainer = trainer.augment(dropforge::data::transform::RandomCrop::new(2));
        trainer.runtime(&gpu).on_device(on_device).compile(&data).unwrap()
    };
    let (mut device, mut host) = (new(true), new(false));
    // Batches are the same bits; what is computed of them may be fused otherwise.
    assert_close(&losses(&mut device, &data, 3), &losses(&mut host, &data, 3), 1e-5);
    assert_close(&[device.evaluate(&test).unwrap().loss], &[host.evaluate(&test).unwrap().loss], 1e-5);
    // A pixel is a byte there, too, although an element of bytes is a word.
    let bytes = device.step().resident_bytes();
    assert!((40 * (784 + 4)..40 * (784 + 4) + 2048).contains(&bytes), "{bytes} bytes");
    let held = gpu.memory().unwrap().held();
    gpu.limit_memory(Some(held + 1024)).unwrap();
    // More than what the device keeps for later would hold.
    let (large, _) = datasets::digits(20_000, 1, 5);
    let refused = Trainer::new(lenet(10), cross_entropy(), Sgd::new(0.05)).runtime(&gpu).on_device(true);
    let refused = refused.compile(&large).err().unwrap().to_string();
    gpu.limit_memory(None).unwrap();
    assert!(refused.contains("to keep input of 20000 samples on the device"), "{refused}");
}

/// Every state, as bits, but for the sums of evaluations: each of these starts anew.
fn bits(trainer: &Trainer) -> Vec<Vec<u8>> {
    let states = trainer.step().states().iter().filter(|state| state.kind() != StateKind::Evaluation);
    states.map(|state| state.read().unwrap().data().bytes().to_vec()).collect()
}

/// What is picked for products differs from process to process on a GPU, and rounds differently.
#[test]
fn a_run_goes_on_with_what_the_device_had_chosen_then() {
    let Some(gpu) = gpu() else { return };
    let folder = std::env::temp_dir().join(format!("dropforge-choices-{}", std::process::id()));
    let (data, test) = datasets::digits(40, 24, 6);
    let new = || trainer(seq![flatten(), dense(40), relu(), dense(10)], &data, &gpu);
    let mut whole = new();
    // Other tiles than this device takes by itself, as if they had been the fastest.
    let usual = whole.step().choices().clone();
    let other = |choice: &String| {
        let thin = "tile:8:128:4:4:16:1";
        let wide = "tile:64:64:4:4:32:9";
        assert!(choice.starts_with("tile:"), "{choice}");
        if choice.as_str() == wide { thin } else { wide }
    };
    let forced: Choices =
        usual.iter().map(|(class, choice)| (class.clone(), other(choice).to_string())).collect();
    whole.set_choices(&forced).unwrap();
    losses(&mut whole, &data, 1);
    whole.validate(&test).unwrap();
    assert!(forced.iter().all(|(class, choice)| whole.step().choices().get(class) == Some(choice)));
    whole.save(&folder).unwrap();
    let rest = losses(&mut whole, &data, 2);
    let mut resumed = new();
    // A real GPU may have timed others meanwhile, but hardly these for all.
    assert!(forced.iter().any(|(class, choice)| resumed.step().choices().get(class) != Some(choice)));
    assert!(resumed.resume(&folder).unwrap());
    assert!(forced.iter().all(|(class, choice)| resumed.step().choices().get(class) == Some(choice)));
    assert_eq!(losses(&mut resumed, &data, 2), rest);
    assert!(bits(&resumed) == bits(&whole), "other bits");
    // Without what was kept, the same run rounds differently: that is what keeping it is for.
    let checkpoint = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let checkpoint = checkpoint.into_iter().find(|path| path.is_dir()).unwrap();
    std::fs::remove_file(checkpoint.join("choices.toml")).unwrap();
    let mut forgetful = new();
    assert!(forgetful.resume(&folder).unwrap());
    assert_close(&losses(&mut forgetful, &data, 2), &rest, 1e-4);
    // By its rule a software renderer splits a sum that the other tiles do not; a real GPU times tiles, and may find
    // some that add in the same order.
    if std::env::var("DROPFORGE_GPU").as_deref() != Ok("best") {
        assert!(bits(&forgetful) != bits(&whole), "the tiles made no difference");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_is_listed_opens_under_its_name() {
    for device in devices::list().unwrap() {
        assert!(!devices::open(&device.name, None).unwrap().device().name().is_empty(), "{}", device.name);
    }
}

#[test]
fn gpus_have_numbers() {
    let error = devices::open("gpu:first", None).err().unwrap().to_string();
    assert!(error.contains("gpu:0"), "{error}");
    let error = devices::open("gpu:77", None).err().unwrap().to_string();
    assert!(error.contains("77"), "{error}");
}
