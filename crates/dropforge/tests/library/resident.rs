//! Samples that stay on the device: the same batches, to the bit, and what cannot stay is refused.

use dropforge::data::transform::{Flip, RandomCrop, augment};
use dropforge::data::{
    Dataset, Description, Normalization, Source, Values, balanced, from_records, skip_unreadable, subset,
};
use dropforge::loss::bce_with_logits;
use dropforge::nn::StateKind;
use dropforge::prelude::*;
use dropforge::step::{Batch, MixUp};
use std::sync::Arc;

/// Pictures of bytes, normalised by numbers for each of three channels, in rows of no whole number of words.
fn pictures(count: usize) -> Dataset {
    let description = Description::classes("pictures", &[3, 5, 7], ["a", "b", "c"]);
    let pixels = (0..count * 105).map(|i| (i * i * 37 % 1009 % 256) as u8).collect();
    let classes: Vec<i32> = (0..count).map(|i| (i * 5 % 3) as i32).collect();
    let data = Dataset::from_u8(description, pixels, classes).unwrap();
    data.normalized(Normalization::new(&[0.4, 0.5, 0.6], &[0.2, 0.3, 0.4]).unwrap()).unwrap()
}

fn net() -> impl Layer {
    seq![conv(4, 3), batch_norm(), relu(), dropout(0.2), flatten(), dense(3)]
}

/// Every state, as bits, but for the sums of evaluations.
fn bits(trainer: &Trainer) -> Vec<(String, Vec<u8>)> {
    let states = trainer.step().states().iter().filter(|state| state.kind() != StateKind::Evaluation);
    states.map(|state| (state.name().into(), state.read().unwrap().data().bytes().to_vec())).collect()
}

fn same(new: &dyn Fn() -> dropforge::train::TrainerBuilder, data: &Arc<dyn Source>) {
    let mut host = new().compile(data).unwrap();
    let mut device = new().on_device(true).compile(data).unwrap();
    assert_eq!(host.step().resident_bytes(), 0);
    assert!(device.step().resident_bytes() > 0);
    for _ in 0..2 {
        let (host, device) = (host.epoch(data).unwrap(), device.epoch(data).unwrap());
        assert_eq!((host.loss, host.metrics), (device.loss, device.metrics));
    }
    assert_eq!(bits(&host), bits(&device));
    let (host, device) = (host.evaluate(data).unwrap(), device.evaluate(data).unwrap());
    assert_eq!((host.loss, host.metrics), (device.loss, device.metrics));
}

#[test]
fn training_is_the_same_to_the_bit() {
    let data: Arc<dyn Source> = Arc::new(pictures(70));
    let new = || Trainer::new(net(), cross_entropy(), Adam::new(1e-2)).batch(16).seed(5);
    same(&new, &data);
    same(&|| new().drop_last(true).accumulate(2).clip_norm(1.0), &data);
    same(&|| new().shuffle(false).reader_threads(3), &data);
    same(&|| new().augment(RandomCrop::new(2)).augment(Flip::default()).mix(MixUp::new(0.3)), &data);
    let part: Arc<dyn Source> =
        Arc::new(subset(Arc::new(skip_unreadable(data)), (0..40).rev().collect::<Vec<_>>()).unwrap());
    same(&new, &part);
}

#[test]
fn numbers_of_tables_and_tokens_stay_as_they_are() {
    let numbers = |i: usize, j: usize| ((i * 31 + j * 7) % 997) as f32 / 100.0 - 4.0;
    let rows = (0..60).map(|i| (std::array::from_fn::<f32, 20, _>(|j| numbers(i, j)), [numbers(i, 3)]));
    let table: Arc<dyn Source> = Arc::new(from_records(rows).unwrap());
    let net = || seq![dense(8), relu(), dense(1)];
    same(&|| Trainer::new(net(), mse(), Sgd::new(1e-3)).batch(16), &table);
    // As many samples in a batch as there are rows.
    same(&|| Trainer::new(net(), mse(), Sgd::new(1e-3)).batch(60), &table);
    let texts = (0..40).map(|i| (std::array::from_fn::<i32, 12, _>(|j| ((i + j * j) % 9) as i32), (i % 2)));
    let texts: Arc<dyn Source> = Arc::new(from_records(texts).unwrap());
    let net = || seq![embedding(9, 6), flatten(), dense(2)];
    same(&|| Trainer::new(net(), cross_entropy(), Adam::new(1e-2)).batch(8), &texts);
}

#[test]
fn a_run_goes_on_in_the_middle_of_an_epoch_wherever_the_samples_are() {
    let folder = std::env::temp_dir().join(format!("dropforge-resident-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let data = pictures(70);
    let new = |on_device| {
        let trainer = Trainer::new(net(), cross_entropy(), Adam::new(1e-2)).batch(16).seed(5);
        trainer.augment(Flip::default()).on_device(on_device).compile(&data).unwrap()
    };
    let mut whole = new(true);
    whole.fit(&data).epochs(2).run().unwrap();
    let mut begun = new(true);
    begun.fit(&data).epochs(2).max_steps(7).save(&folder).run().unwrap();
    for on_device in [true, false] {
        let mut resumed = new(on_device);
        assert!(resumed.resume(&folder).unwrap());
        assert_eq!(resumed.steps(), 7);
        resumed.fit(&data).epochs(2).run().unwrap();
        assert_eq!(bits(&resumed), bits(&whole), "{on_device}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_cannot_stay_is_refused() {
    let data = pictures(30);
    let new = || Trainer::new(net(), cross_entropy(), Adam::new(1e-2)).batch(16).on_device(true);
    let message = |result: dropforge::Result<Trainer>| result.err().unwrap().to_string();
    let changed = augment(Arc::new(data.clone()), vec![Box::new(Flip::default())]).unwrap();
    let refused = message(new().compile(&changed));
    assert!(refused.contains("others each time") && refused.contains("Trainer::augment"), "{refused}");
    let even = balanced(Arc::new(data.clone())).unwrap();
    assert!(message(new().compile(&even)).contains("others each time"));
    // Other samples than those it was compiled with.
    let mut trainer = new().compile(&data).unwrap();
    let refused = trainer.epoch(&pictures(31)).unwrap_err().to_string();
    assert!(refused.contains("not the samples that the trainer was compiled with"), "{refused}");
    let refused = trainer.epoch(&changed).unwrap_err().to_string();
    assert!(refused.contains("not the samples"), "{refused}");
    trainer.epoch(&data).unwrap();
    let rows = |rows: Vec<i32>| Batch::new().with("row", Tensor::from_vec(rows.clone(), [rows.len()]));
    trainer.step_mut().run(rows(vec![3, 29])).unwrap();
    let refused = trainer.step_mut().run(rows(vec![3, 30])).err().unwrap().to_string();
    assert!(refused.contains("no sample 30: 30 are on the device"), "{refused}");
    // A target that the loss cannot take is found before anything is trained.
    let numbers: Vec<f32> = (0..20).map(|i| if i == 13 { 1.5 } else { 1.0 }).collect();
    let description = Description::values("yes and no", &[2], &[1]);
    let data = Dataset::new(description, vec![Values::F32(vec![0.0; 40]), Values::F32(numbers)]).unwrap();
    let trainer = Trainer::new(dense(1), bce_with_logits(), Sgd::new(0.1)).on_device(true);
    let refused = message(trainer.compile(&data));
    assert!(refused.contains("sample 13"), "{refused}");
    // So is one of many numbers, such as a mask, of which bytes could be made.
    let masks = (0..20).map(|i| ([0.0f32, 1.0], [if i == 13 { 1.5f32 } else { 1.0 }; 16]));
    let masks = from_records(masks).unwrap();
    let new = || Trainer::new(dense(16), bce_with_logits(), Sgd::new(0.1));
    let refused = message(new().on_device(true).compile(&masks));
    assert!(refused.contains("sample 13 is 1.5"), "{refused}");
    let refused = new().compile(&masks).unwrap().epoch(&masks).unwrap_err().to_string();
    assert!(refused.contains("is 1.5"), "{refused}");
}
