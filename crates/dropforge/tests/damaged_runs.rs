//! Thousands of damaged runs: none may panic, hang, or take memory that its files do not have.

use dropforge::data::{Dataset, Description};
use dropforge::prelude::*;
use dropforge::run::{ModelSpec, RunConfig, RunDir};
use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
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

/// Which damage is done; `DROPFORGE_SEEDS=10000..50000` does other. What a seed does depends on the run's files too,
/// which hold times: a fault may show in one run of the test and not in the next.
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

/// One test at a time: memory is counted for the whole process.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads what has been damaged: it may be refused in one line, and must not panic, hang, or take memory that no file
/// has. Gives whether it was taken.
fn survives(what: &dyn Fn() -> String, read: &mut dyn FnMut() -> Result<()>) -> bool {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let started = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| panic!("{} panics", what()));
    let taken = PEAK.load(Relaxed).saturating_sub(before);
    assert!(taken < MOST_MEMORY, "{}: took {taken} bytes", what());
    assert!(started.elapsed() < MOST_TIME, "{}: took {:?}", what(), started.elapsed());
    if let Err(error) = &result {
        let line = error.to_string();
        assert!(!line.contains('\n') && line.len() < 2000, "{}: {line}", what());
    }
    result.is_ok()
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
    let _turn = turn();
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
        // Without checksums whoever reads the files has to see to it.
        let sums = files.iter().position(|path| path.ends_with("state.toml")).unwrap();
        if which != sums && seed % 4 > 0 {
            let state = String::from_utf8_lossy(&whole[sums]);
            let lines = state.lines().filter(|line| !line.starts_with('#'));
            fs::write(&files[sums], lines.collect::<Vec<_>>().join("\n")).unwrap();
        }
        let mut open = || match files[which].file_name().unwrap().to_str().unwrap() {
            "optimizer.safetensors" | "state.toml" => trainer.resume(&folder).map(|_| ()),
            // Nobody goes on from the table: whoever opens the folder brings the copy beside the checkpoint up to it.
            "metrics.csv" => RunDir::open(&folder).map(|_| ()),
            "evaluate.txt" | "run.toml" => {
                Trained::open(&folder, &runtime).and_then(|trained| trained.evaluate(&data, 6)).map(|_| ())
            }
            _ => Trained::open(&folder, &runtime).and_then(|trained| trained.predict(&inputs)).map(|_| ()),
        };
        let what = || {
            format!("seed {seed}, {}, which is\n{}", files[which].display(), String::from_utf8_lossy(&bytes))
        };
        match survives(&what, &mut open) {
            true => opened += 1,
            false => refused += 1,
        }
        for changed in [which, sums] {
            let _ = fs::remove_file(&files[changed]);
            fs::write(&files[changed], &whole[changed]).unwrap();
        }
    }
    assert!(opened > asked / 50 && refused > asked / 4, "{opened} opened, {refused} refused");
    Trained::open(&folder, &runtime).unwrap().predict(&inputs).unwrap();
    drop(RunDir::open(&folder).unwrap());
    fs::remove_dir_all(folder).unwrap();
}

/// A file that is read by itself: its name, its bytes, and who reads it.
type Case<'a> = (&'a str, Vec<u8>, Box<dyn Fn(&Path) -> Result<()> + 'a>);

/// What PyTorch's `torch.save` writes for `{"w": tensor}`, without compression.
fn pth() -> Vec<u8> {
    let mut pickle =
        b"\x80\x02}(X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storage".to_vec();
    pickle.extend(b"ctorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQK\x00K\x02K\x03\x86K\x01K\x02\x86");
    pickle.extend(b"\x89ccollections\nOrderedDict\n)RtRu.");
    let elements: Vec<u8> = (0..6).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    let parts: [(&str, &[u8]); 3] =
        [("archive/data.pkl", &pickle), ("archive/data/0", &elements), ("archive/version", b"3\n")];
    for (name, bytes) in parts {
        // Version, flags, method, time, date; checksum and sizes; lengths of the name and of what follows it.
        let mut entry = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        entry.extend(crc(bytes).to_le_bytes());
        entry.extend([(bytes.len() as u32).to_le_bytes(), (bytes.len() as u32).to_le_bytes()].concat());
        entry.extend([(name.len() as u16).to_le_bytes(), [0, 0]].concat());
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&entry);
        directory.extend([0; 10]);
        directory.extend((file.len() as u32).to_le_bytes());
        directory.extend(name.bytes());
        file.extend(b"PK\x03\x04");
        file.extend(&entry);
        file.extend(name.bytes());
        file.extend(bytes);
    }
    let (start, len) = (file.len() as u32, directory.len() as u32);
    file.extend(&directory);
    file.extend(b"PK\x05\x06\x00\x00\x00\x00\x03\x00\x03\x00");
    file.extend([len.to_le_bytes(), start.to_le_bytes()].concat());
    file.extend([0, 0]);
    file
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & 0u32.wrapping_sub(crc & 1)))
    })
}

/// Configurations, model files, splits, choices and files of weights: everything else that is read.
#[test]
fn damaged_files_are_errors_or_what_they_say() {
    let _turn = turn();
    let folder = std::env::temp_dir().join(format!("dropforge-damaged-files-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    let data = data();
    let mut trainer = trainer(&data);
    trainer.save(&folder).unwrap();
    let checkpoint = files(&folder)[0].parent().unwrap().to_path_buf();
    let inner = checkpoint.file_name().unwrap().to_str().unwrap();
    let choices = format!("{inner}/choices.toml");
    let config = "format = 2\nmodel = { type = 'mlp', hidden = [7, 5] }\nmetrics = ['accuracy', { type = 'f1' }]\n\
                  callbacks = [{ type = 'early_stopping', monitor = 'highest val_accuracy' }]\n\
                  groups = [{ pattern = '*.bias', lr_factor = 2, schedule = { type = 'cosine', length = 3.0 } }]\n\
                  [inputs]\nshape = [1, 28, 28]\nclasses = ['a', 'b']\nmean = [0.1]\nstd = [0.3]\n";
    let layers = "layers = [{ type = 'conv', channels = 3, kernel = [3, 5] }, 'relu', { type = 'repeat', times = 2, body = \
                  { type = 'residual', body = ['flatten', { type = 'dense', units = 7, name = 'a' }] } }]\n";
    let json = r#"{"name": "net", "layers": [{"type": "max_pool", "size": 2}, "tanh", {"type": "dense", "units": 3}]}"#;
    let index = r#"{"metadata": {"total_size": 24}, "weight_map": {"w": "weights.safetensors", "v": "weights.safetensors"}}"#;
    let tensors = [
        ("w".to_string(), Tensor::from_vec(vec![1.0f32; 12], [3, 4])),
        ("v".to_string(), Tensor::from([1, 2])),
    ];
    let named = tensors.each_ref().map(|(name, tensor)| (name.as_str(), tensor));
    Tensor::save_npz(folder.join("weights.npz"), &named).unwrap();
    let npz = fs::read(folder.join("weights.npz")).unwrap();
    dropforge::run::write_weights(
        folder.join("weights.safetensors"),
        &tensors.iter().map(|(name, tensor)| (name.clone(), tensor.to_array().unwrap())).collect(),
    )
    .unwrap();
    let weights = |path: &Path| dropforge::run::read_weights(path).map(|_| ());
    let model = |path: &Path| ModelSpec::read(path).and_then(|spec| spec.build(3)).map(|_| ());
    let run = folder.clone();
    let cases: [Case<'_>; 8] = [
        ("config.toml", config.into(), Box::new(|_| RunConfig::open(&run).map(|_| ()))),
        ("net.toml", layers.into(), Box::new(model)),
        ("net.json", json.into(), Box::new(model)),
        (
            "split.toml",
            b"train = ['a/1.png', 'b/2.png']\ntest = ['a/3.png']\n".to_vec(),
            Box::new(|_| dropforge::run::read_split(&run).map(|_| ())),
        ),
        (
            &choices,
            b"device = 'cpu'\n[choices]\ndot-1-64-k4 = 'tile:64:64:4:4:16:1'\n".to_vec(),
            Box::new(|_| Trained::open(&run, &Runtime::shared()?).map(|_| ())),
        ),
        ("model.safetensors.index.json", index.into(), Box::new(weights)),
        ("weights.pth", pth(), Box::new(weights)),
        ("weights.npz", npz, Box::new(weights)),
    ];
    for (name, whole, read) in &cases {
        let path = folder.join(name);
        let write = |bytes: &[u8]| {
            let _ = fs::remove_file(&path);
            fs::write(&path, bytes).unwrap();
        };
        write(whole);
        read(&path).unwrap_or_else(|error| panic!("{name} is not what is read: {error}"));
        let (mut taken, mut refused) = (0, 0);
        for seed in 0..400 {
            let mut bytes = whole.clone();
            damage(&mut bytes, &mut Dice(seed));
            write(&bytes);
            let what = || format!("seed {seed}, {name}, which is\n{}", String::from_utf8_lossy(&bytes));
            match survives(&what, &mut || read(&path)) {
                true => taken += 1,
                false => refused += 1,
            }
        }
        assert!(refused > 40 && taken > 0, "{name}: {taken} were taken, {refused} refused");
        write(whole);
    }
    fs::remove_dir_all(folder).unwrap();
}
