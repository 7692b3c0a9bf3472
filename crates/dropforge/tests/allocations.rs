//! Steps after the first ones take little memory, and as little at the end of an epoch as at its start.

use dropforge::prelude::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts what all threads of this program take.
struct Counting;

static TAKEN: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

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
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
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

// One test, so that no other takes memory meanwhile.
#[test]
fn a_step_takes_little_memory_and_no_more_later() {
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
