//! Changes of images as a part of the step: the same pictures as on the host, and mixtures with their losses.

use crate::compare::assert_close;
use dropforge::data::transform::{
    Affine, ColourJitter, Erase, Flip, FlipVertically, Grey, RandomCrop, RandomResizedCrop, Rotate,
    Transform, augment, with_numbers,
};
use dropforge::data::{Dataset, Description, Loader, LoaderOptions, Source};
use dropforge::prelude::*;
use dropforge::step::{Batch, DeviceChange, Mix, MixUp};
use std::sync::Arc;

/// Pictures without any order in them.
fn pictures(channels: usize) -> Arc<dyn Source> {
    let shape = [channels, 9, 12];
    let pixels = (0..7 * channels * 108).map(|i| (i * i * 37 % 1009) as f32 / 1009.0).collect();
    let description = Description::classes("pictures", &shape, ["a", "b"]);
    Arc::new(Dataset::from_f32(description, pixels, (0..7).map(|i| i % 2).collect::<Vec<i32>>()).unwrap())
}

fn batch(source: Arc<dyn Source>) -> Batch {
    let options = LoaderOptions { batch: 7, seed: 3, ..LoaderOptions::default() };
    Batch::from(Loader::new(source, options).unwrap().epoch(2, 0).next().unwrap().unwrap())
}

fn same<T: DeviceChange + Transform + Copy + 'static>(change: T) {
    for channels in [1, 2, 3] {
        let source = pictures(channels);
        let host = batch(Arc::new(augment(source.clone(), vec![Box::new(change)]).unwrap()));
        let device = batch(Arc::new(with_numbers(source, vec![Arc::new(change)]).unwrap()));
        let changed = change.trace(&device.get("input"), &device.get("change")).to_vec::<f32>().unwrap();
        let what = std::any::type_name::<T>();
        assert_close(what, &changed, &host.get("input").to_vec::<f32>().unwrap(), 2e-5);
        if !(what.ends_with("Grey") && channels < 3) {
            assert_ne!(changed, device.get("input").to_vec::<f32>().unwrap(), "{what} changes nothing");
        }
    }
}

#[test]
fn pictures_are_the_same_on_host_and_device() {
    same(Affine { degrees: 30.0, shift: 0.2, scale: 0.3, shear: 10.0 });
    same(ColourJitter { brightness: 0.4, contrast: 0.5, saturation: 0.6, hue: 0.0 });
    same(Erase::new(0.8));
    same(Flip::default());
    same(FlipVertically::default());
    same(Grey { probability: 0.5 });
    same(RandomCrop::new(3));
    same(RandomResizedCrop::new(0.2));
    same(Rotate::new(40.0));
}

fn net() -> impl Layer {
    seq![flatten(), dense(16), relu(), dense(10)]
}

#[test]
fn training_is_the_same_wherever_images_are_changed() {
    let (train, test) = datasets::digits(90, 30, 1);
    let changes = || (RandomCrop::new(3), Rotate::new(20.0), Erase::new(0.5));
    let (crop, rotate, erase) = changes();
    let changed =
        augment(Arc::new(train.clone()), vec![Box::new(crop), Box::new(rotate), Box::new(erase)]).unwrap();
    let trainer = || Trainer::new(net(), cross_entropy(), Adam::new(1e-3)).batch(32).seed(5);
    let mut host = trainer().compile(&changed).unwrap();
    host.fit(&changed).epochs(2).run().unwrap();
    let (crop, rotate, erase) = changes();
    let mut device = trainer().augment(crop).augment(rotate).augment(erase).compile(&train).unwrap();
    device.fit(&train).validate(&test).epochs(2).run().unwrap();
    let losses =
        |trainer: &Trainer| trainer.history().iter().map(|epoch| epoch.loss as f32).collect::<Vec<_>>();
    assert_close("loss", &losses(&device), &losses(&host), 1e-4);
    let (a, b) = (device.evaluate(&test).unwrap(), host.evaluate(&test).unwrap());
    assert!((a.loss - b.loss).abs() < 1e-3, "{a} {b}");
}

#[test]
fn a_run_goes_on_with_the_same_changes_and_mixtures() {
    let folder = std::env::temp_dir().join(format!("dropforge-changes-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let (train, test) = datasets::digits(90, 30, 1);
    let trainer = |threads| {
        let trainer = Trainer::new(net(), cross_entropy(), Adam::new(1e-3)).batch(16).reader_threads(threads);
        trainer.augment(RandomCrop::new(2)).mix(MixUp::new(0.4)).compile(&train).unwrap()
    };
    let (mut whole, mut stopped, mut resumed) = (trainer(1), trainer(2), trainer(3));
    whole.fit(&train).epochs(2).run().unwrap();
    stopped.fit(&train).epochs(2).max_steps(8).run().unwrap();
    stopped.save(&folder).unwrap();
    assert!(resumed.resume(&folder).unwrap());
    resumed.fit(&train).epochs(2).run().unwrap();
    let weights = |trainer: &Trainer| trainer.step().states().read("1.weight").unwrap();
    assert_eq!(weights(&whole), weights(&resumed));
    // The run holds a network of images alone.
    let opened = Trained::open(&folder, &Runtime::shared().unwrap()).unwrap();
    assert!(opened.evaluate(&test, 10).unwrap().loss.is_finite());
    assert!(std::fs::read_to_string(folder.join("config.toml")).unwrap().contains("mixup"));
    let mut other = Trainer::new(net(), cross_entropy(), Adam::new(1e-3)).batch(16).compile(&train).unwrap();
    let message = other.resume(&folder).unwrap_err().to_string();
    assert!(message.contains("transforms"), "{message}");
    std::fs::remove_dir_all(folder).unwrap();
}

/// Always the same parts.
struct Even;

impl Mix for Even {
    fn mix(&self, _: &Scope, images: &Tensor, others: &Tensor) -> (Tensor, Tensor) {
        (images * 0.7 + others * 0.3, Tensor::from_vec(vec![0.7f32], []))
    }
}

#[test]
fn the_loss_of_a_mixture_is_that_of_probabilities() {
    let data = batch(pictures(1));
    let (x, y) = (data.get("input"), data.get("target"));
    let net = || seq![flatten(), dense(2)];
    let soft = y.one_hot(2).cast(DType::F32);
    let mixed = |field: &Tensor| field * 0.7 + field.roll(&[1], 0) * 0.3;
    let plain = StepBuilder::new(net(), dropforge::loss::categorical_cross_entropy(), Sgd::new(0.1));
    let mut plain = plain.compile_for((mixed(&x), mixed(&soft))).unwrap();
    let mut step =
        StepBuilder::new(net(), cross_entropy(), Sgd::new(0.1)).mix(Even).compile_for((&x, &y)).unwrap();
    for _ in 0..3 {
        let expected = plain.run((mixed(&x), mixed(&soft))).unwrap().loss().unwrap();
        assert_close("loss", &[step.run((&x, &y)).unwrap().loss().unwrap()], &[expected], 1e-5);
    }
    // Evaluation mixes nothing, and metrics of training compare with the samples' own classes.
    assert!(step.evaluate((&x, &y)).unwrap().get("accuracy").is_some());
    assert!(step.metrics().unwrap().get("accuracy").is_some());

    let own = |scope: &Scope, batch: &Batch| scope.layer("net", &dense(2), &batch.get("input")).mean(..);
    let message =
        StepBuilder::of(own, Sgd::new(0.1)).mix(Even).compile_for((&x, &y)).err().unwrap().to_string();
    assert!(message.contains("Task::mixed"), "{message}");
}

#[test]
fn what_is_missing_is_said() {
    let (x, y) = (Tensor::ones([4, 1, 3, 3]), Tensor::from([0, 1, 0, 1]));
    let builder = || StepBuilder::new(seq![flatten(), dense(2)], cross_entropy(), Sgd::new(0.1));
    let message = |step: StepBuilder, batch: Batch| step.compile_for(batch).err().unwrap().to_string();
    let missing = message(builder().augment(Flip::default()), Batch::from((&x, &y)));
    assert!(missing.contains("no field \"change\"") && missing.contains("with_numbers"), "{missing}");
    let narrow = Batch::from((&x, &y)).with("change", Tensor::ones([4, 2]));
    let missing = message(builder().augment(Flip::default()), narrow);
    assert!(missing.contains("needs 1 numbers of each sample, got f32[4, 2]"), "{missing}");
    let flat = Batch::from((Tensor::ones([4, 9]), y)).with("change", Tensor::ones([4, 1]));
    let missing = message(builder().augment(Flip::default()), flat);
    assert!(missing.contains("needs images f32[batch, channels, height, width], got f32[4, 9]"), "{missing}");
}
