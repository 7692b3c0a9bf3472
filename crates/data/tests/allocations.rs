//! Batches after the first ones take no memory: everything is read into what was given back.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dropforge_data::{
    Corpus, Dataset, Description, Loader, LoaderOptions, Request, Source, digits, from_fn, from_iter,
};

/// Counts what all threads of this program take.
struct Counting;

static TAKEN: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on to the system's allocator, with the layouts that came in.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.fetch_add(1, Ordering::SeqCst);
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        TAKEN.fetch_add(1, Ordering::SeqCst);
        // SAFETY: as promised by the caller.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often memory is taken by one epoch of this many batches.
fn taken(loader: &Loader, epoch: u64, batches: usize) -> usize {
    let before = TAKEN.load(Ordering::SeqCst);
    let mut batches_left = loader.epoch(epoch, 0);
    let mut count = 0;
    while let Some(batch) = batches_left.next() {
        batches_left.recycle(batch.unwrap());
        count += 1;
    }
    drop(batches_left);
    assert_eq!(count, batches);
    TAKEN.load(Ordering::SeqCst) - before
}

// One test, so that no other takes memory meanwhile.
#[test]
fn an_epoch_takes_as_much_memory_however_many_batches_it_has() {
    let features: Vec<f32> = (0..80_000).map(|i| i as f32).collect();
    let targets: Vec<i32> = (0..8000).map(|i| i % 2).collect();
    let floats = Dataset::from_f32(Description::classes("floats", &[10], ["a", "b"]), features, targets);
    let text: String = (0..80_010u32).map(|i| char::from(b'a' + (i % 260 * i % 26) as u8)).collect();
    let random = |request: &Request| ([request.random(0).unit(); 10], request.index % 2);
    let sources: [(&str, Arc<dyn Source>, usize); 5] = [
        ("digits", Arc::new(digits(8000, 0, 1).0), 8000),
        ("floats", Arc::new(floats.unwrap()), 8000),
        ("text", Arc::new(Corpus::from_text("text", &text).unwrap().samples(10).unwrap()), 8000),
        ("function", Arc::new(from_fn(8000, random)), 8000),
        ("stream", Arc::new(from_iter(|_| (0..8000).map(|i| ([i as f32; 4],))).unwrap()), 8000),
    ];
    for (name, source, samples) in sources {
        for (prefetch, threads) in [(0, 1), (2, 1), (2, 3)] {
            let loader = |batch| {
                let options = LoaderOptions { batch, window: 64, prefetch, threads, ..Default::default() };
                Loader::new(source.clone(), options).unwrap()
            };
            let (few, many) = (loader(200), loader(8));
            taken(&few, 0, samples / 200);
            taken(&many, 0, samples / 8);
            let (few, many) = (taken(&few, 1, samples / 200), taken(&many, 1, samples / 8));
            // A thousand batches instead of forty: smaller ones grow in fewer steps, threads start a little
            // differently.
            assert!(many <= few + 30, "{name}, {threads} threads: {few} and {many}");
            assert!(few < 160, "{name}, {threads} threads: {few} times memory was taken");
        }
    }
}
