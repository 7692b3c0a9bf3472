//! Steps after the first ones take no memory: batches, inputs, outputs and what is read of them lie where earlier ones
//! did; programs of all batch sizes share what they keep of the weights.

use dropforge::data::transform::{Flip, RandomCrop, Rotate, Transform, augment};
use dropforge::data::{Dataset, Source, from_named_records};
use dropforge::prelude::*;
use dropforge::step::{Batch, Objective};
use dropforge::train::IntoSource;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts what all threads of this program take.
struct Counting;

static TAKEN: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);
static GIVEN_BACK: AtomicUsize = AtomicUsize::new(0);

/// Bytes that are taken now.
fn held() -> usize {
    BYTES.load(Ordering::SeqCst) - GIVEN_BACK.load(Ordering::SeqCst)
}

fn count(bytes: usize) {
    TAKEN.fetch_add(1, Ordering::SeqCst);
    BYTES.fetch_add(bytes, Ordering::SeqCst);
}

// SAFETY: everything is passed on to the system's allocator, with the layouts that came in.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        GIVEN_BACK.fetch_add(layout.size(), Ordering::SeqCst);
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        GIVEN_BACK.fetch_add(layout.size(), Ordering::SeqCst);
        // SAFETY: as promised by the caller.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Held by a test, so that no other takes memory meanwhile.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often steps take memory in the second epoch, a mark every fifty steps.
fn taken(mut trainer: Trainer, train: &impl IntoSource) -> Vec<usize> {
    trainer.epoch(train).unwrap();
    let mut marks = Vec::with_capacity(8);
    let watch = |progress: &dropforge::train::Progress<'_>| {
        if progress.batch % 50 == 10 {
            marks.push(TAKEN.load(Ordering::SeqCst));
        }
        Ok(())
    };
    trainer.epoch_with(train, watch).unwrap();
    assert!(marks.len() >= 4, "{marks:?}");
    marks.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn steps_take_no_memory() {
    let _turn = turn();
    let (train, test) = datasets::digits(8 * 220, 8 * 60, 1);
    let net = || seq![flatten(), dense(16), relu(), dense(10)];
    let build = |optimizer: Adam| {
        Trainer::new(net(), cross_entropy(), optimizer).schedule(Schedule::cosine(5.0)).batch(8)
    };
    let plain = taken(build(Adam::new(1e-3)).compile(&train).unwrap(), &train);
    let clipped = build(Adam::new(1e-3)).clip_norm(1.0).compile(&train).unwrap();
    let clipped = taken(clipped, &train);
    // Images of bytes, changed as they are read, by two threads.
    let changes: Vec<Box<dyn Transform>> =
        vec![Box::new(Flip::default()), Box::new(RandomCrop::new(2)), Box::new(Rotate::new(10.0))];
    let images = Arc::new(augment(Arc::new(train.clone()), changes).unwrap()) as Arc<dyn Source>;
    let changed = build(Adam::new(1e-3)).reader_threads(2).compile(&images).unwrap();
    let changed = taken(changed, &images);
    // Two inputs of names of their own.
    let records = (0..8 * 220).map(|i| ([i as f32 * 1e-3; 3], [1.0 - i as f32 * 1e-3; 3], [0.5f32; 4]));
    let pairs = from_named_records(&["the left of both", "the right of both", "target"], records).unwrap();
    let task = |scope: &Scope, batch: &Batch| {
        let embed = |name: &str, side: &str| dense(4).forward(&scope.enter(name), &batch.get(side));
        let (left, right) = (embed("left", "the left of both"), embed("right", "the right of both"));
        Objective::new(mse().loss(&(left - right), &batch.get("target")))
    };
    let two = Trainer::of(task, Sgd::new(0.01)).batch(8).compile(&pairs).unwrap();
    let two = taken(two, &pairs);
    for (what, steps) in [("plain", plain), ("clipped", clipped), ("changed", changed), ("two inputs", two)] {
        // Who waits for whom may now and then differ, and with it how many batches there are.
        let least = steps.iter().min().unwrap();
        assert_eq!(*least, 0, "{what}: fifty steps take memory {steps:?} times");
    }
    // An evaluation takes what an epoch of it takes, not what a batch does.
    let mut trainer = build(Adam::new(1e-3)).compile(&train).unwrap();
    trainer.evaluate(&test).unwrap();
    let measured = |trainer: &mut Trainer, samples: &Dataset| {
        let before = TAKEN.load(Ordering::SeqCst);
        trainer.evaluate(samples).unwrap();
        TAKEN.load(Ordering::SeqCst) - before
    };
    let (half, whole) = (measured(&mut trainer, &test.take(8 * 30)), measured(&mut trainer, &test));
    assert!(whole <= half + 10, "30 batches take memory {half} times, 60 {whole} times");
}

/// Weights of 6.4 MB are packed once for eight batch sizes and for threads that come at once.
#[test]
fn programs_of_all_batch_sizes_share_packed_weights() {
    let _turn = turn();
    let folder = std::env::temp_dir().join(format!("dropforge-packed-{}", std::process::id()));
    let runtime = dropforge::devices::open("cpu", Some(1)).unwrap();
    let (train, _) = datasets::digits(10, 0, 1);
    let net = seq![flatten(), dense(2048), relu(), dense(10)];
    let trainer = Trainer::new(net, cross_entropy(), Sgd::new(1e-3)).runtime(&runtime).batch(10);
    trainer.compile(&train).unwrap().save(&folder).unwrap();
    let trained = Trained::open(&folder, &runtime).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let predict = &|batch: usize| trained.predict(vec![0.5f32; batch * 28 * 28]).unwrap();
    let packed = 4 * 28 * 28 * 2048;
    let before = held();
    predict(1);
    let first = held() - before;
    assert!(first > packed, "{first} bytes with the first batch size");
    std::thread::scope(|scope| {
        for batch in 2..=8 {
            scope.spawn(move || predict(batch));
            scope.spawn(move || predict(batch));
        }
    });
    // Programs have memory of their own for intermediate values, which are small, and for what they pack.
    let more = held() - before - first;
    assert!(more < 3 * packed, "{more} bytes with seven more");
}
