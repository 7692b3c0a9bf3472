//! Threads that live as long as the device and share out the work of one kernel at a time.
//!
//! A training step is hundreds of kernels, some of them microseconds long, so starting work must cost next to
//! nothing: workers spin for a while after a job, and only then let the operating system park them. Work is always
//! divided in the same way for the same number of threads, so that sums come out the same in every run.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomData;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

/// How long a worker spins after its last job until it parks. The gaps between the kernels of a step are shorter; a
/// wake-up from parking costs some 20 µs.
const SPIN_FOR_JOB: Duration = Duration::from_micros(100);
/// How long the submitting thread spins for the others until it parks. Shares are alike, so that it rarely comes to
/// that, unless another process has taken the core of a worker: the worker can go on at once on the core that is then
/// free. Spinning on instead made small networks two to five times slower beside a busy process.
const SPIN_FOR_WORKERS: Duration = Duration::from_micros(50);
/// Spins between two looks at the clock.
const SPINS_PER_CLOCK: u32 = 64;

thread_local! {
    /// Whether this thread is running the body of some pool's job.
    static INSIDE_JOB: Cell<bool> = const { Cell::new(false) };
}

/// A fixed set of threads for fork-join work.
///
/// The calling thread takes part as thread 0; `Pool::new(1)` starts no thread at all. Dropping the pool ends its
/// threads.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<Worker>,
    /// Held while a job runs: there is one job at a time.
    submission: Mutex<()>,
}

struct Worker {
    thread: Thread,
    handle: Option<JoinHandle<()>>,
}

/// What a job is to the workers: a borrowed closure without its type.
#[derive(Clone, Copy)]
struct Job {
    body: *const (),
    call: unsafe fn(*const (), usize),
}

/// Keeps what one thread writes away from what others read.
#[repr(align(128))]
struct CacheLine<T>(T);

struct Shared {
    /// Counts the jobs; workers wait for it to change.
    generation: CacheLine<AtomicU64>,
    /// Workers that have not finished the current job.
    unfinished: CacheLine<AtomicUsize>,
    /// Written by the submitting thread before `generation`, read by the workers after it.
    job: CacheLine<UnsafeCell<Job>>,
    /// One flag for each worker: parked, or about to be.
    parked: Vec<CacheLine<AtomicBool>>,
    /// The submitting thread, while it sleeps until the job is done, and whether it does.
    sleeper: Mutex<Option<Thread>>,
    asleep: CacheLine<AtomicBool>,
    stop: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: `job` is the only part that is not `Sync` by itself. It is written only under `Pool::submission` while no
// worker is inside a job, and read only between the change of `generation` that announces it and the decrement of
// `unfinished` that ends it. The closure it points to is `Sync` and outlives the job, because `Pool::run` waits.
unsafe impl Sync for Shared {}
// SAFETY: as above; the raw pointer is not tied to a thread.
unsafe impl Send for Shared {}

/// Calls the closure of type `F` behind `body`.
///
/// # Safety
/// `body` points to a live `F`.
unsafe fn call_body<F: Fn(usize) + Sync>(body: *const (), thread: usize) {
    // SAFETY: the caller's promise.
    let body = unsafe { &*body.cast::<F>() };
    body(thread);
}

/// The job before the first one.
unsafe fn call_nothing(_: *const (), _: usize) {}

/// Spins for a while.
struct Spin {
    start: Option<Instant>,
    spins: u32,
    patience: Duration,
}

impl Spin {
    fn new(patience: Duration) -> Self {
        Spin { start: None, spins: 0, patience }
    }

    /// Passes a little time; false once it has been enough.
    fn pause(&mut self) -> bool {
        std::hint::spin_loop();
        self.spins += 1;
        !self.spins.is_multiple_of(SPINS_PER_CLOCK)
            || self.start.get_or_insert_with(Instant::now).elapsed() < self.patience
    }
}

impl Shared {
    /// The life of worker `thread`.
    fn work(&self, thread: usize) {
        INSIDE_JOB.set(true);
        let mut seen = 0;
        loop {
            seen = self.wait_for_job(thread, seen);
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            // SAFETY: the job was written before `generation` changed and stays until this worker reports.
            let job = unsafe { *self.job.0.get() };
            // SAFETY: `Pool::run` keeps the closure alive until every worker has reported.
            let result = catch_unwind(AssertUnwindSafe(|| unsafe { (job.call)(job.body, thread) }));
            if let Err(panic) = result {
                self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
            }
            // Sequentially consistent on both sides: either the last worker sees the flag, or the submitter the zero.
            if self.unfinished.0.fetch_sub(1, Ordering::SeqCst) == 1 && self.asleep.0.load(Ordering::SeqCst) {
                // Left in its place: a worker that comes late would otherwise take it away from the next one.
                if let Some(thread) = &*self.sleeper.lock().unwrap_or_else(PoisonError::into_inner) {
                    thread.unpark();
                }
            }
        }
    }

    /// Returns the new generation once it is not `seen`.
    fn wait_for_job(&self, thread: usize, seen: u64) -> u64 {
        let mut spin = Spin::new(SPIN_FOR_JOB);
        loop {
            let generation = self.generation.0.load(Ordering::Acquire);
            if generation != seen {
                return generation;
            }
            if !spin.pause() {
                // Sequentially consistent on both sides: either the submitter sees the flag, or this sees the job.
                let parked = &self.parked[thread - 1].0;
                parked.store(true, Ordering::SeqCst);
                while self.generation.0.load(Ordering::SeqCst) == seen {
                    std::thread::park();
                }
                parked.store(false, Ordering::Relaxed);
            }
        }
    }

    /// Returns when every worker has finished the job.
    fn wait_for_workers(&self) {
        let mut spin = Spin::new(SPIN_FOR_WORKERS);
        while self.unfinished.0.load(Ordering::Acquire) != 0 {
            if !spin.pause() {
                *self.sleeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(std::thread::current());
                self.asleep.0.store(true, Ordering::SeqCst);
                while self.unfinished.0.load(Ordering::SeqCst) != 0 {
                    std::thread::park();
                }
                self.asleep.0.store(false, Ordering::Relaxed);
            }
        }
    }
}

impl Pool {
    /// Starts `threads - 1` workers (zero counts as one thread).
    pub fn new(threads: usize) -> Pool {
        let threads = threads.max(1);
        let shared = Arc::new(Shared {
            generation: CacheLine(AtomicU64::new(0)),
            unfinished: CacheLine(AtomicUsize::new(0)),
            job: CacheLine(UnsafeCell::new(Job { body: std::ptr::null(), call: call_nothing })),
            parked: (1..threads).map(|_| CacheLine(AtomicBool::new(false))).collect(),
            sleeper: Mutex::new(None),
            asleep: CacheLine(AtomicBool::new(false)),
            stop: AtomicBool::new(false),
            panic: Mutex::new(None),
        });
        let workers = (1..threads)
            .map(|thread| {
                let shared = Arc::clone(&shared);
                let handle = std::thread::Builder::new()
                    .name(format!("dropforge-cpu-{thread}"))
                    .spawn(move || shared.work(thread))
                    .expect("the operating system refused to start a thread");
                Worker { thread: handle.thread().clone(), handle: Some(handle) }
            })
            .collect();
        Pool { shared, workers, submission: Mutex::new(()) }
    }

    /// The number of threads that take part in a job, the caller among them.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `body` once for each thread index in `0..threads()`, at the same time, and returns when all are done.
    ///
    /// Inside the body of another job the indices run one after another on the calling thread. If a body panics, the
    /// others are waited for and the panic goes on in the caller.
    pub fn run<F: Fn(usize) + Sync>(&self, body: F) {
        if self.workers.is_empty() || INSIDE_JOB.get() {
            (0..self.threads()).for_each(body);
            return;
        }
        let guard = self.submission.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = &*self.shared;
        shared.unfinished.0.store(self.workers.len(), Ordering::Relaxed);
        // SAFETY: the mutex is held and all workers have reported, so that none reads the job now.
        unsafe { *shared.job.0.get() = Job { body: (&raw const body).cast(), call: call_body::<F> } };
        self.announce();

        INSIDE_JOB.set(true);
        let own = catch_unwind(AssertUnwindSafe(|| body(0)));
        INSIDE_JOB.set(false);

        shared.wait_for_workers();
        let panic = match own {
            Err(panic) => Some(panic),
            Ok(()) => shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take(),
        };
        if let Some(panic) = panic {
            shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
            drop(guard);
            resume_unwind(panic);
        }
    }

    /// Divides `0..count` into contiguous ranges, one for each thread, and runs `body(thread, range)` on the ones that
    /// are not empty. No thread gets a share unless there are at least `grain` elements for each thread with one; up
    /// to `grain` elements run on the caller alone.
    pub fn split<F: Fn(usize, Range<usize>) + Sync>(&self, count: usize, grain: usize, body: F) {
        let parts = self.threads().min(count / grain.max(1)).max(1);
        if parts == 1 {
            if count > 0 {
                body(0, 0..count);
            }
            return;
        }
        self.run(|thread| {
            if thread < parts {
                body(thread, share(count, parts, thread));
            }
        });
    }

    /// Changes the generation and wakes the workers that are parked.
    fn announce(&self) {
        self.shared.generation.0.fetch_add(1, Ordering::SeqCst);
        for (worker, parked) in self.workers.iter().zip(&self.shared.parked) {
            if parked.0.load(Ordering::SeqCst) {
                worker.thread.unpark();
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.announce();
        for worker in &mut self.workers {
            if let Some(handle) = worker.handle.take() {
                // A worker catches the panics of jobs, so that this cannot fail.
                let _ = handle.join();
            }
        }
    }
}

/// The part with number `index` when `0..count` is divided into `parts` contiguous ranges of nearly the same length.
pub fn share(count: usize, parts: usize, index: usize) -> Range<usize> {
    let (length, longer) = (count / parts, count % parts);
    let start = index * length + index.min(longer);
    start..start + length + usize::from(index < longer)
}

/// A mutable slice of which the threads of a job each write their own part.
#[derive(Clone, Copy)]
pub struct Disjoint<'a, T> {
    pointer: *mut T,
    length: usize,
    lifetime: PhantomData<&'a mut [T]>,
}

// SAFETY: access goes through the unsafe functions below, whose callers promise that parts do not overlap.
unsafe impl<T: Send> Sync for Disjoint<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Disjoint<'_, T> {}

impl<'a, T> Disjoint<'a, T> {
    /// Borrows `slice` for as long as parts of it are given out.
    pub fn new(slice: &'a mut [T]) -> Self {
        Disjoint { pointer: slice.as_mut_ptr(), length: slice.len(), lifetime: PhantomData }
    }

    /// The number of elements of the whole slice.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether the whole slice has no elements.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The elements in `range`. Panics where the range leaves the slice.
    ///
    /// # Safety
    /// While the result lives, no other thread and no other part touches these elements.
    #[allow(clippy::mut_from_ref, reason = "the caller promises what the borrow checker cannot see")]
    pub unsafe fn part(&self, range: Range<usize>) -> &'a mut [T] {
        assert!(range.start <= range.end && range.end <= self.length, "part {range:?} of {}", self.length);
        // SAFETY: in bounds by the assertion, not aliased by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.add(range.start), range.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_runs_once() {
        for threads in [1, 2, 3, 7] {
            let pool = Pool::new(threads);
            assert_eq!(pool.threads(), threads);
            for _ in 0..200 {
                let counts: Vec<AtomicUsize> = (0..threads).map(|_| AtomicUsize::new(0)).collect();
                pool.run(|thread| {
                    counts[thread].fetch_add(1, Ordering::Relaxed);
                });
                assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn wakes_a_submitter_that_waits_for_late_workers() {
        let pool = Pool::new(4);
        let count = AtomicUsize::new(0);
        for round in 0..3000u32 {
            pool.run(|thread| {
                // Around the time at which the submitter parks, so that both orders of parking and finishing occur.
                let late = SPIN_FOR_WORKERS * (round % 7 + thread as u32) / 4;
                let start = Instant::now();
                while thread > 0 && start.elapsed() < late {
                    std::hint::spin_loop();
                }
                count.fetch_add(1, Ordering::Relaxed);
            });
        }
        assert_eq!(count.into_inner(), 4 * 3000);
    }

    #[test]
    fn wakes_parked_workers() {
        let pool = Pool::new(3);
        for _ in 0..5 {
            std::thread::sleep(10 * SPIN_FOR_JOB);
            let count = AtomicUsize::new(0);
            pool.run(|_| {
                count.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(count.into_inner(), 3);
        }
    }

    #[test]
    fn split_covers_every_element_once() {
        let pool = Pool::new(3);
        for count in [0, 1, 2, 3, 10, 31, 32, 33, 100] {
            let mut data = vec![0; count];
            let parts = Disjoint::new(&mut data);
            pool.split(count, 8, |_, range| {
                // SAFETY: ranges of one split do not overlap.
                let part = unsafe { parts.part(range) };
                part.iter_mut().for_each(|value| *value += 1);
            });
            assert!(data.iter().all(|&value| value == 1));
        }
    }

    #[test]
    fn shares_are_contiguous_and_even() {
        for count in 0..40 {
            for parts in 1..6 {
                let mut next = 0;
                for index in 0..parts {
                    let range = share(count, parts, index);
                    assert_eq!(range.start, next);
                    assert!(range.len() == count / parts || range.len() == count.div_ceil(parts));
                    next = range.end;
                }
                assert_eq!(next, count);
            }
        }
    }

    #[test]
    fn nested_jobs_run_inline() {
        let pool = Pool::new(2);
        let count = AtomicUsize::new(0);
        pool.run(|_| {
            let caller = std::thread::current().id();
            pool.run(|_| {
                assert_eq!(std::thread::current().id(), caller);
                count.fetch_add(1, Ordering::Relaxed);
            });
        });
        assert_eq!(count.into_inner(), 4);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
        let pool = Pool::new(3);
        for bad in 0..3 {
            let result = catch_unwind(AssertUnwindSafe(|| {
                pool.run(|thread| assert_ne!(thread, bad, "thread {bad} fails on purpose"));
            }));
            assert!(result.is_err());
        }
        let count = AtomicUsize::new(0);
        pool.run(|_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(count.into_inner(), 3);
    }

    #[test]
    fn jobs_from_several_threads_take_turns() {
        let pool = Pool::new(2);
        let count = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        pool.run(|_| {
                            count.fetch_add(1, Ordering::Relaxed);
                        });
                    }
                });
            }
        });
        assert_eq!(count.into_inner(), 800);
    }
}
