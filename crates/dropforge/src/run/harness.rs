//! Every file call fails once, and the process dies before every one: whatever happens, a run can be opened again, has
//! lost nothing that was saved, and ends with the same bits.

use super::calls::faults::{self, EXIT, Fault};
use super::{RunDir, read_safetensors};
use crate::loss::cross_entropy;
use crate::nn::{batch_norm, dense, relu};
use crate::optim::Sgd;
use crate::train::Trainer;
use crate::{Result, seq};
use dropforge_data::{Dataset, Description};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const EPOCHS: u64 = 2;
/// Says to a child which folder it is to train in.
const CHILD: &str = "DROPFORGE_HARNESS_RUN";
/// Says before which call it is to end.
const CALL: &str = "DROPFORGE_HARNESS_CALL";
/// What lay in the folder before, and must lie there afterwards.
const MINE: [&str; 4] =
    ["notes.tmp", "scratch.tmp/results.csv", "model.safetensors.tmp", ".dropforge-new-notes"];

fn data() -> Dataset {
    let at = |i: usize| [(i as f32 * 0.7).sin(), (i as f32 * 1.3).cos()];
    let classes: Vec<i32> = (0..20).map(|i| i32::from(at(i)[0] > 0.3)).collect();
    let description = Description::classes("points", &[2], ["a", "b"]);
    Dataset::from_f32(description, (0..20).flat_map(at).collect(), classes).unwrap()
}

/// A new run, in a folder with things that no run made.
fn folder(name: &str) -> PathBuf {
    // Tests run at once.
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(format!("dropforge-harness-{name}-{process}-{number}"));
    let _ = fs::remove_dir_all(&path);
    RunDir::open(&path).unwrap().write_config("format = 1\nmodel = {}").unwrap();
    fs::create_dir(path.join("scratch.tmp")).unwrap();
    MINE.iter().for_each(|name| fs::write(path.join(name), "mine").unwrap());
    path
}

/// Trains to the end, saving after every epoch; says after each how many are saved.
fn train(path: &Path, data: &Dataset, mut saved: impl FnMut(u64)) -> Result<()> {
    let net = seq![dense(3), batch_norm(), relu(), dense(2)];
    let optimizer = Sgd::new(0.1).momentum(0.9);
    let mut trainer = Trainer::new(net, cross_entropy(), optimizer).batch(7).compile(data)?;
    let run = RunDir::open(path)?;
    trainer.resume(path)?;
    trainer.autosave(run, Duration::MAX);
    saved(trainer.epochs());
    while trainer.epochs() < EPOCHS {
        trainer.epoch(data)?;
        trainer.checkpoint()?;
        saved(trainer.epochs());
    }
    Ok(())
}

/// The newest checkpoint's files, without those that hold times.
fn bits(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let newest = super::run_dir::latest_checkpoint(path).unwrap().expect("a checkpoint");
    ["model.safetensors", "optimizer.safetensors"]
        .map(|name| (name.to_string(), fs::read(newest.join(name)).unwrap()))
        .into()
}

/// What must hold whatever happened; then the run goes on to the end.
fn check(path: &Path, at_least: u64, whole: &BTreeMap<String, Vec<u8>>, what: &str) {
    drop(RunDir::open(path).unwrap_or_else(|error| panic!("{what}: {error}")));
    let consistent = || {
        for name in MINE {
            assert_eq!(fs::read_to_string(path.join(name)).unwrap(), "mine", "{what}: {name}");
        }
        let names: Vec<String> = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with(".dropforge") || name.starts_with("checkpoint"))
            .filter(|name| !MINE.contains(&name.as_str()))
            .collect();
        assert!(names.len() <= 1 && !names.iter().any(|name| name.starts_with('.')), "{what}: {names:?}");
        let Some(newest) = super::run_dir::latest_checkpoint(path).unwrap() else { return 0 };
        for name in ["model.safetensors", "metrics.csv"] {
            let same = fs::read(path.join(name)).unwrap() == fs::read(newest.join(name)).unwrap();
            assert!(same, "{what}: {name} is not the newest checkpoint's");
        }
        read_safetensors(path.join("model.safetensors")).unwrap();
        fs::read_to_string(path.join("metrics.csv")).unwrap().lines().count() as u64 - 1
    };
    let epochs = consistent();
    assert!(epochs >= at_least, "{what}: {epochs} epochs, {at_least} had been saved");
    train(path, &data(), |_| {}).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(consistent(), EPOCHS, "{what}");
    assert!(bits(path) == *whole, "{what}: other bits");
}

/// One test at a time: a child has its parent's locks for a moment, until it has become another program.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn whole() -> (BTreeMap<String, Vec<u8>>, u64) {
    let path = folder("whole");
    faults::set(Fault::None);
    train(&path, &data(), |_| {}).unwrap();
    let calls = faults::set(Fault::None);
    let bits = bits(&path);
    fs::remove_dir_all(path).unwrap();
    (bits, calls)
}

#[test]
fn every_file_call_may_fail() {
    let _turn = turn();
    let (whole, calls) = whole();
    assert!(calls > 80, "{calls} file calls are too few to be all");
    for k in 0..calls {
        for fault in [Fault::One(k), Fault::From(k)] {
            let (path, mut epochs) = (folder("fails"), 0);
            faults::set(fault);
            let result = train(&path, &data(), |saved| epochs = saved);
            faults::set(Fault::None);
            if let Err(error) = result {
                assert!(!error.to_string().contains('\n'), "{error}");
            }
            check(&path, epochs, &whole, &format!("{fault:?} of {calls}"));
            fs::remove_dir_all(path).unwrap();
        }
    }
}

/// Trains in a process of its own, which says what it has saved; gives that and whether it came to its end.
fn child(path: &Path, call: Option<u64>, kill_after: Option<Duration>) -> (u64, bool) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "run::harness::trains_where_it_is_told", "--nocapture"]).env(CHILD, path);
    if let Some(call) = call {
        command.env(CALL, call.to_string());
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        let number = |line: String| line.rsplit_once("saved ").and_then(|(_, number)| number.parse().ok());
        output.lines().map_while(std::result::Result::ok).filter_map(number).last().unwrap_or(0)
    });
    if let Some(pause) = kill_after {
        std::thread::sleep(pause);
        let _ = child.kill();
    }
    let code = child.wait().unwrap().code();
    assert!(matches!(code, None | Some(0 | EXIT)), "a child ended with {code:?}");
    (reader.join().unwrap(), code == Some(0))
}

#[test]
fn trains_where_it_is_told() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let call = std::env::var(CALL).ok().and_then(|call| call.parse().ok());
    faults::set(call.map_or(Fault::None, Fault::Exit));
    train(Path::new(&path), &data(), |epochs| {
        println!("saved {epochs}");
        std::io::stdout().flush().unwrap();
    })
    .unwrap();
}

#[test]
fn every_file_call_may_be_the_last() {
    let _turn = turn();
    let (whole, calls) = whole();
    for k in 0..calls {
        let path = folder("exits");
        let (saved, ended) = child(&path, Some(k), None);
        assert!(!ended, "call {k} of {calls} was never made");
        check(&path, saved, &whole, &format!("ended before call {k} of {calls}"));
        fs::remove_dir_all(path).unwrap();
    }
}

#[test]
fn a_kill_may_come_at_any_moment() {
    let _turn = turn();
    let (whole, _) = whole();
    let started = std::time::Instant::now();
    let path = folder("unkilled");
    child(&path, None, None);
    fs::remove_dir_all(path).unwrap();
    let usual = started.elapsed();
    for kill in 0..12u32 {
        let path = folder("killed");
        let pause = usual.mul_f64(f64::from(kill * 7 % 12) / 12.0);
        let (saved, _) = child(&path, None, Some(pause));
        check(&path, saved, &whole, &format!("killed after {pause:?} of {usual:?}"));
        fs::remove_dir_all(path).unwrap();
    }
}
