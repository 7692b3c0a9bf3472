//! Steps after the first ones take little memory, and as little at the end of an epoch as at its start; programs of all batch sizes
//! share what they keep of the weights.

use dropforge::prelude::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

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

/// How often a step may take memory: handles of its inputs and outputs, all of them small.
const MOST_TIMES: usize = 28;
/// Bytes of a step: far below those of a batch, which are 25,088 here.
const MOST_BYTES: usize = 2_000;

/// Held by a test, so that no other takes memory meanwhile.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_step_takes_little_memory_and_no_more_later() {
    let _turn = turn();
    let (train, _) = datasets::digits(8 * 220, 0, 1);
    let net = seq![flatten(), dense(16), relu(), dense(10)];
    let trainer =
        Trainer::new(net, cross_entropy(), Adam::new(1e-3)).schedule(Schedule::cosine(5.0)).batch(8);
    let mut trainer = trainer.compile(&train).unwrap();
    trainer.epoch(&train).unwrap();
    let mut marks = Vec::with_capacity(8);
    let watch = |progress: &dropforge::train::Progress<'_>| {
        if progress.batch % 50 == 10 {
            marks.push((TAKEN.load(Ordering::SeqCst), BYTES.load(Ordering::SeqCst)));
        }
        Ok(())
    };
    trainer.epoch_with(&train, watch).unwrap();
    let steps: Vec<(usize, usize)> =
        marks.windows(2).map(|pair| ((pair[1].0 - pair[0].0) / 50, (pair[1].1 - pair[0].1) / 50)).collect();
    assert!(steps.len() >= 3, "{steps:?}");
    let (times, bytes) = steps[0];
    assert!(times <= MOST_TIMES && bytes <= MOST_BYTES, "a step takes memory {times} times, {bytes} bytes");
    assert!(steps.iter().all(|(later, _)| later.abs_diff(times) <= 1), "{steps:?}");
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
