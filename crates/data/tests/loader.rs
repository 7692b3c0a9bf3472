//! Batches: their order, their sizes, skipping, ending early, and sources that misbehave.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dropforge_data::{
    Dataset, Description, Epoch, Error, HostBatch, Loader, LoaderOptions, Request, Result, Sample, Source,
    Stream, Values, from_fn, from_iter,
};

/// Sample `i` is `[i, -i]` with class `i % 3`.
fn numbered(count: usize) -> Arc<Dataset> {
    let features = (0..count).flat_map(|i| [i as f32, -(i as f32)]).collect();
    let classes: Vec<i32> = (0..count).map(|i| i as i32 % 3).collect();
    let description = Description::classes("numbered", &[2], ["a", "b", "c"]);
    Arc::new(Dataset::from_f32(description, features, classes).unwrap())
}

fn loader(count: usize, options: LoaderOptions) -> Loader {
    Loader::new(numbered(count), options).unwrap()
}

/// All batches, giving each back as training does.
fn collect(mut epoch: Epoch) -> Vec<HostBatch> {
    let mut batches = Vec::new();
    while let Some(batch) = epoch.next() {
        let batch = batch.unwrap();
        batches.push(batch.clone());
        epoch.recycle(batch);
    }
    batches
}

fn inputs(batch: &HostBatch) -> &[f32] {
    batch.get("input").unwrap().slice().unwrap()
}

fn samples(batches: &[HostBatch]) -> Vec<usize> {
    batches.iter().flat_map(|batch| inputs(batch).chunks(2).map(|x| x[0] as usize)).collect()
}

fn options(batch: usize) -> LoaderOptions {
    LoaderOptions { batch, ..Default::default() }
}

#[test]
fn every_sample_once_with_its_target() {
    for prefetch in [0, 1, 2, 5] {
        for threads in [1, 3] {
            let loader = loader(103, LoaderOptions { prefetch, threads, ..options(10) });
            let batches = collect(loader.epoch(0, 0));
            assert_eq!(Some(batches.len()), loader.batches());
            assert_eq!(
                batches.iter().map(|b| b.len()).collect::<Vec<_>>(),
                [[10; 10].as_slice(), &[3]].concat()
            );
            assert_eq!(batches.iter().map(|b| b.index()).collect::<Vec<_>>(), (0..11).collect::<Vec<_>>());
            assert_eq!(samples(&batches), loader.order(0));
            let mut sorted = samples(&batches);
            sorted.sort();
            assert_eq!(sorted, (0..103).collect::<Vec<_>>());
            for batch in &batches {
                assert_eq!(inputs(batch).len(), batch.len() * 2);
                let expected: Vec<i32> = inputs(batch).chunks(2).map(|x| x[0] as i32 % 3).collect();
                assert_eq!(batch.get("target"), Some(&Values::I32(expected)));
                assert!(inputs(batch).chunks(2).all(|x| x[1] == -x[0]));
            }
        }
    }
}

#[test]
fn the_order_depends_on_seed_and_epoch_alone() {
    let first = loader(50, LoaderOptions { prefetch: 0, ..options(7) });
    let again = loader(50, LoaderOptions { prefetch: 4, threads: 4, ..options(7) });
    let other = loader(50, LoaderOptions { seed: 1, ..options(7) });
    assert_eq!(collect(first.epoch(3, 0)), collect(again.epoch(3, 0)));
    assert_ne!(first.order(3), first.order(4));
    assert_ne!(first.order(3), other.order(3));
    let plain = loader(50, LoaderOptions { shuffle: false, ..options(7) });
    assert_eq!(samples(&collect(plain.epoch(9, 0))), (0..50).collect::<Vec<_>>());
}

#[test]
fn skipping_continues_where_a_run_stopped() {
    for threads in [1, 2, 3] {
        let loader = loader(103, LoaderOptions { threads, ..options(10) });
        let all = collect(loader.epoch(5, 0));
        for skip in 0..=11 {
            assert_eq!(collect(loader.epoch(5, skip)), all[skip..], "skip {skip}");
        }
        assert!(collect(loader.epoch(5, 99)).is_empty());
    }
}

#[test]
fn the_short_last_batch_can_be_left_out() {
    let loader = loader(25, LoaderOptions { drop_last: true, ..options(10) });
    let sizes: Vec<usize> = collect(loader.epoch(0, 0)).iter().map(|batch| batch.len()).collect();
    assert_eq!((sizes.as_slice(), loader.batches()), ([10, 10].as_slice(), Some(2)));
}

#[test]
fn ending_early_stops_the_threads() {
    for (prefetch, threads) in [(0, 1), (1, 1), (3, 1), (2, 4)] {
        let loader = loader(1000, LoaderOptions { prefetch, threads, ..options(3) });
        for taken in 0..5 {
            let mut epoch = loader.epoch(0, 0);
            epoch.by_ref().take(taken).for_each(|batch| drop(batch.unwrap()));
        }
        // The threads held the source, and have given it back.
        assert_eq!(Arc::strong_count(loader.source()), 1);
    }
}

#[test]
fn memory_is_used_again() {
    let loader = loader(40, LoaderOptions { prefetch: 0, ..options(10) });
    let mut epoch = loader.epoch(0, 0);
    let first = epoch.next().unwrap().unwrap();
    let address = inputs(&first).as_ptr();
    let description = first.description().clone();
    epoch.recycle(HostBatch::spare(description.clone(), first.into_arrays(), 0));
    assert_eq!(inputs(&epoch.next().unwrap().unwrap()).as_ptr(), address);
    // A batch of something else does no harm.
    let other = Arc::new(Description::values("other", &[1], &[]));
    epoch.recycle(HostBatch::spare(other, vec![vec![1u8].into()], 77));
    assert_eq!(inputs(&epoch.next().unwrap().unwrap()).len(), 20);
}

#[test]
fn values_come_in_rows() {
    let features = (0..5).map(|i| i as f32).collect();
    let targets: Vec<f32> = (0..10).map(|i| i as f32).collect();
    let data = Dataset::from_f32(Description::values("line", &[1], &[2]), features, targets).unwrap();
    let loader = Loader::new(Arc::new(data), LoaderOptions { shuffle: false, ..options(4) }).unwrap();
    let batches = collect(loader.epoch(0, 0));
    let targets: Vec<_> = batches.iter().map(|batch| batch.get("target").unwrap()).collect();
    assert_eq!(targets[1], &Values::F32(vec![8.0, 9.0]));
    assert_eq!(targets[0], &Values::F32((0..8).map(|i| i as f32).collect()));
}

/// Sample `i` is `i`, and it is not known how many there are.
fn stream(count: usize) -> Arc<dyn Source> {
    Arc::new(from_iter(move |epoch| (0..count).map(move |i| ([i as f32 + 1000.0 * epoch as f32],))).unwrap())
}

fn firsts(batches: &[HostBatch]) -> Vec<usize> {
    batches.iter().flat_map(|batch| inputs(batch).iter().map(|x| *x as usize)).collect()
}

#[test]
fn a_stream_gives_what_there_is() {
    for (prefetch, threads) in [(0, 1), (1, 1), (3, 4)] {
        let options = LoaderOptions { shuffle: false, prefetch, threads, ..options(10) };
        let loader = Loader::new(stream(103), options.clone()).unwrap();
        assert_eq!(loader.batches(), None);
        let all = collect(loader.epoch(0, 0));
        assert_eq!(firsts(&all), (0..103).collect::<Vec<_>>());
        assert_eq!((all.len(), all[10].len(), all[10].index()), (11, 3, 10));
        for skip in [0, 4, 10, 11, 40] {
            assert_eq!(collect(loader.epoch(0, skip)), all[skip.min(11)..]);
        }
        assert_eq!(firsts(&collect(loader.epoch(2, 0)))[5], 2005);
        let loader = Loader::new(stream(103), LoaderOptions { drop_last: true, ..options }).unwrap();
        assert_eq!(collect(loader.epoch(0, 0)).len(), 10);
        let mut epoch = loader.epoch(0, 0);
        assert!(epoch.by_ref().take(2).all(|batch| batch.is_ok()), "dropped in the middle");
    }
}

#[test]
fn a_stream_is_shuffled_within_a_window() {
    let shuffled = |window, seed, skip| {
        let options = LoaderOptions { window, seed, ..options(10) };
        firsts(&collect(Loader::new(stream(300), options).unwrap().epoch(1, skip)))
    };
    let order = shuffled(32, 5, 0);
    let mut sorted = order.clone();
    sorted.sort();
    assert_eq!(sorted, (1000..1300).collect::<Vec<_>>());
    assert!(order.iter().enumerate().all(|(place, &sample)| sample - 1000 < place + 32));
    assert!(order != sorted && order != shuffled(32, 6, 0));
    assert_eq!(shuffled(32, 5, 7), order[70..]);
    assert_eq!(shuffled(1, 5, 0), sorted);
}

#[test]
fn random_samples_depend_on_seed_epoch_and_number_alone() {
    let source = Arc::new(from_fn(50, |request: &Request| ([request.random(3).unit()], request.index)));
    let batches = |prefetch, threads, seed, epoch| {
        let options = LoaderOptions { prefetch, threads, seed, ..options(8) };
        collect(Loader::new(source.clone(), options).unwrap().epoch(epoch, 0))
    };
    let first = batches(2, 1, 1, 0);
    assert_eq!(first, batches(0, 1, 1, 0));
    assert_eq!(first, batches(3, 4, 1, 0));
    assert_ne!(inputs(&first[0]), inputs(&batches(2, 1, 1, 1)[0]));
    assert_ne!(inputs(&first[0]), inputs(&batches(2, 1, 2, 0)[0]));
}

#[test]
fn options_that_cannot_work_are_refused() {
    let refused = |count, options| Loader::new(numbered(count), options).err().unwrap().to_string();
    assert!(refused(0, options(4)).contains("no samples"));
    assert!(refused(5, options(0)).contains("batch of 0"));
    assert!(refused(3, LoaderOptions { drop_last: true, ..options(4) }).contains("no full batch of 4"));
    // A batch larger than the data is one short batch.
    let all = collect(loader(3, options(usize::MAX)).epoch(0, 0));
    assert_eq!((all.len(), all[0].len()), (1, 3));
}

/// A source with something wrong in sample 5.
struct Faulty(Description, Fault, AtomicUsize);

#[derive(Clone, Copy)]
enum Fault {
    Error,
    Panic,
    Nan,
    Infinite,
    Label,
}

impl Source for Faulty {
    fn description(&self) -> &Description {
        &self.0
    }

    fn len(&self) -> Option<usize> {
        Some(20)
    }

    fn read(&self, request: &Request, sample: &mut Sample) -> Result<()> {
        self.2.fetch_add(1, Ordering::SeqCst);
        let fault = (request.index == 5).then_some(self.1);
        match fault {
            Some(Fault::Error) => return Err(Error::at_file("five.png", "is damaged")),
            Some(Fault::Panic) => panic!("five is right out"),
            _ => {}
        }
        sample.get::<f32>("input")?[0] = match fault {
            Some(Fault::Nan) => f32::NAN,
            Some(Fault::Infinite) => f32::NEG_INFINITY,
            _ => 0.0,
        };
        sample.write("target", &[if matches!(fault, Some(Fault::Label)) { 2 } else { 0 }])
    }

    fn origin(&self, index: usize) -> Option<String> {
        (index == 5).then(|| "five.png".into())
    }
}

#[test]
fn a_fault_of_the_source_is_an_error_and_ends_the_epoch() {
    let cases = [
        (Fault::Error, "five.png: is damaged"),
        (Fault::Panic, "faulty: reading sample 5 (five.png) panicked: five is right out"),
        (Fault::Nan, "faulty: number 0 of the input of sample 5 (five.png) is NaN"),
        (Fault::Infinite, "faulty: number 0 of the input of sample 5 (five.png) is infinite"),
        (Fault::Label, "label 2 of sample 5 (five.png) is out of range: there are 2 classes"),
    ];
    for (fault, expected) in cases {
        for (prefetch, threads) in [(0, 1), (2, 1), (2, 3)] {
            let description = Description::classes("faulty", &[1], ["a", "b"]);
            let source = Arc::new(Faulty(description, fault, AtomicUsize::new(0)));
            let options = LoaderOptions { shuffle: false, prefetch, threads, ..options(2) };
            let mut epoch = Loader::new(source.clone(), options).unwrap().epoch(0, 0);
            assert!(epoch.next().unwrap().is_ok() && epoch.next().unwrap().is_ok());
            let error = epoch.next().unwrap().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(epoch.next().is_none());
            // The threads are over when the epoch is, whatever they were doing.
            drop(epoch);
            assert_eq!(Arc::strong_count(&source), 1);
        }
    }
}

/// A stream whose sixth sample is not as it should be.
struct FaultyStream(Description, Fault);

impl Source for FaultyStream {
    fn description(&self) -> &Description {
        &self.0
    }

    fn len(&self) -> Option<usize> {
        None
    }

    fn read(&self, _: &Request, _: &mut Sample) -> Result<()> {
        Err(Error::new("is a stream"))
    }

    fn stream(&self, _: u64, _: u64) -> Result<Box<dyn Stream>> {
        let source = Faulty(self.0.clone(), self.1, AtomicUsize::new(0));
        Ok(Box::new(Flowing(source)))
    }
}

struct Flowing(Faulty);

impl Stream for Flowing {
    fn next(&mut self, sample: &mut Sample) -> Result<bool> {
        let index = self.0.2.load(Ordering::SeqCst);
        self.0.read(&Request::of(index), sample).map(|()| index < 20)
    }
}

#[test]
fn a_fault_of_a_stream_is_an_error_and_ends_the_epoch() {
    let cases = [
        (Fault::Error, "five.png: is damaged"),
        (Fault::Panic, "faulty: reading sample 5 panicked: five is right out"),
        (Fault::Nan, "number 0 of the input of sample 5 is NaN"),
        (Fault::Infinite, "number 0 of the input of sample 5 is infinite"),
        (Fault::Label, "label 2 of sample 5 is out of range"),
    ];
    for (fault, expected) in cases {
        for (prefetch, shuffle) in [(0, false), (2, false), (2, true)] {
            let source = Arc::new(FaultyStream(Description::classes("faulty", &[1], ["a", "b"]), fault));
            let options = LoaderOptions { shuffle, window: 3, prefetch, ..options(2) };
            let mut epoch = Loader::new(source.clone(), options).unwrap().epoch(0, 0);
            let error = epoch.find_map(|batch| batch.err()).unwrap().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(epoch.next().is_none());
            drop(epoch);
            assert_eq!(Arc::strong_count(&source), 1);
        }
    }
}
