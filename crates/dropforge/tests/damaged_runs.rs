//! Thousands of damaged runs: none may panic, hang, or take memory that its files do not have.

use dropforge::data::{Dataset, Description};
use dropforge::prelude::*;
use dropforge::run::RunDir;
use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What is allocated now, and what was at most.
static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call goes on to the system's allocator with the same arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(LIVE.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Which damage is done; `DROPFORGE_SEEDS=10000..50000` does other. What a seed does depends on the run's files too, which hold
/// times: a fault may show in one run of the test and not in the next.
const MUTATIONS: Range<u64> = 0..10_000;
/// Bytes that opening a damaged run may take.
const MOST_MEMORY: usize = 256 << 20;
/// How long it may take.
const MOST_TIME: Duration = Duration::from_secs(120);

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("DROPFORGE_SEEDS") else { return MUTATIONS };
    let (from, to) = text.split_once("..").expect("DROPFORGE_SEEDS is from..to");
    from.parse().unwrap()..to.parse().unwrap()
}

/// Numbers from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

fn data() -> Dataset {
    let at = |i: usize| (i as f32 * 0.7).sin();
    let description = Description::classes("points", &[1, 6, 6], ["a", "b", "c"]);
    let classes: Vec<i32> = (0..12).map(|i| i % 3).collect();
    Dataset::from_f32(description, (0..12 * 36).map(at).collect(), classes).unwrap()
}

fn trainer(data: &Dataset) -> Trainer {
    let table = Tensor::from_vec(vec![0.5f32; 6], [6]);
    let own = move |_: &Scope, x: &Tensor| x * &table;
    let net = seq![own, conv(3, 3).same(), batch_norm(), relu(), max_pool(2), flatten(), dense(3)];
    Trainer::new(net, cross_entropy(), Adam::new(0.01)).batch(4).compile(data).unwrap()
}

/// A change that bad disks, bad copies and bad people make.
fn damage(bytes: &mut Vec<u8>, dice: &mut Dice) {
    const WORDS: [&str; 14] = [
        "4294967296",
        "18446744073709551615",
        "-1",
        "0",
        "99999999",
        "nan",
        "[",
        "]",
        "\"",
        "{",
        "b*b",
        "\u{0}",
        "é",
        "=",
    ];
    for _ in 0..=dice.below(3) {
        let at = dice.below(bytes.len());
        let end = (at + dice.below(40)).min(bytes.len());
        match dice.below(7) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << dice.below(8),
            1 => drop(bytes.drain(at..end)),
            2 => bytes.truncate(at),
            3 => {
                let copy = bytes[at..end].to_vec();
                let to = dice.below(bytes.len());
                bytes.splice(to..to, copy);
            }
            4 => {
                let word = WORDS[dice.below(WORDS.len())];
                bytes.splice(at..at, word.bytes());
            }
            // A number in place of a number.
            _ => {
                let digits = |c: &u8| c.is_ascii_digit();
                let Some(start) = bytes[at..].iter().position(digits).map(|start| at + start) else {
                    continue;
                };
                let len = bytes[start..].iter().take_while(|c| digits(c)).count();
                let number = [WORDS[dice.below(6)].to_string(), dice.below(70).to_string()];
                let number = number[dice.below(2)].clone();
                bytes.splice(start..start + len, number.bytes());
            }
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let newest = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_dir());
    let mut files: Vec<PathBuf> =
        fs::read_dir(newest.unwrap()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn a_damaged_run_is_an_error_or_a_network() {
    let folder = std::env::temp_dir().join(format!("dropforge-damaged-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    let data = data();
    let mut trainer = trainer(&data);
    trainer.epoch(&data).unwrap();
    trainer.save(&folder).unwrap();
    // Everything is read by somebody: what predicts, and what goes on.
    let files = files(&folder);
    let names: Vec<&str> = files.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    for name in [
        "constants.safetensors",
        "evaluate.txt",
        "model.safetensors",
        "predict.txt",
        "run.toml",
        "state.toml",
    ] {
        assert!(names.contains(&name), "{names:?} lacks {name}");
    }
    let whole: Vec<Vec<u8>> = files.iter().map(|path| fs::read(path).unwrap()).collect();
    let inputs = Tensor::zeros([2, 1, 6, 6]);
    let (mut opened, mut refused) = (0, 0);
    let runtime = Runtime::shared().unwrap();
    let seeds = seeds();
    let asked = seeds.end - seeds.start;
    for seed in seeds {
        let mut dice = Dice(seed);
        let which = dice.below(files.len());
        let mut bytes = whole[which].clone();
        damage(&mut bytes, &mut dice);
        fs::remove_file(&files[which]).unwrap();
        fs::write(&files[which], &bytes).unwrap();
        let before = LIVE.load(Relaxed);
        PEAK.store(before, Relaxed);
        let started = Instant::now();
        let open = || match files[which].file_name().unwrap().to_str().unwrap() {
            "optimizer.safetensors" | "state.toml" | "metrics.csv" => trainer.resume(&folder).map(|_| ()),
            "evaluate.txt" | "run.toml" => {
                Trained::open(&folder, &runtime).and_then(|trained| trained.evaluate(&data, 6)).map(|_| ())
            }
            _ => Trained::open(&folder, &runtime).and_then(|trained| trained.predict(&inputs)).map(|_| ()),
        };
        let result = catch_unwind(AssertUnwindSafe(open)).unwrap_or_else(|_| {
            panic!("seed {seed} panics; {} is\n{}", files[which].display(), String::from_utf8_lossy(&bytes))
        });
        let taken = PEAK.load(Relaxed).saturating_sub(before);
        let what = || format!("seed {seed}, {}", files[which].display());
        assert!(taken < MOST_MEMORY, "{}: took {taken} bytes", what());
        assert!(started.elapsed() < MOST_TIME, "{}: took {:?}", what(), started.elapsed());
        match result {
            Ok(()) => opened += 1,
            Err(error) => {
                refused += 1;
                let line = error.to_string();
                assert!(!line.contains('\n') && line.len() < 2000, "{}: {line}", what());
            }
        }
        fs::remove_file(&files[which]).unwrap();
        fs::write(&files[which], &whole[which]).unwrap();
    }
    assert!(opened > asked / 50 && refused > asked / 4, "{opened} opened, {refused} refused");
    Trained::open(&folder, &runtime).unwrap().predict(&inputs).unwrap();
    drop(RunDir::open(&folder).unwrap());
    fs::remove_dir_all(folder).unwrap();
}
