//! Every file call fails once, and the process dies before every one: whatever happens, a run can be opened again, has
//! lost nothing that was saved, and ends with the same bits.

use super::calls::faults::{self, EXIT, Fault};
use super::run_dir::LOCK;
use super::{RunDir, holds_run, read_safetensors, read_split, step_records};
use crate::loss::cross_entropy;
use crate::nn::{batch_norm, dense, relu};
use crate::optim::Sgd;
use crate::train::{Trainer, keep_best, lowest};
use crate::{Result, seq};
use dropforge_data::{Dataset, Description, FileSplit};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const EPOCHS: u64 = 2;
/// What a run has in its folder from the start.
const CONFIG: &str = "format = 2\nmodel = 'mlp'\n";
/// Says to a child which folder it is to train in.
const CHILD: &str = "DROPFORGE_HARNESS_RUN";
/// Says by which way of training.
const WAY: &str = "DROPFORGE_HARNESS_WAY";
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
    RunDir::open(&path).unwrap().write_config(CONFIG).unwrap();
    fs::create_dir(path.join("scratch.tmp")).unwrap();
    MINE.iter().for_each(|name| fs::write(path.join(name), "mine").unwrap());
    path
}

/// How a run is trained and saved.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Epoch after epoch, with a checkpoint asked for after each.
    Epochs,
    /// As the tool does: with validation, in the middle of epochs too, the best weights, the split of the files, and
    /// the last two checkpoints.
    Fit,
}

impl Way {
    /// Of how many calls one is the last of its process, or of a disk that fails for good: the ways share most of them.
    fn stride(self) -> usize {
        match self {
            Way::Epochs => 1,
            Way::Fit => 5,
        }
    }

    /// How many checkpoints stay.
    fn kept(self) -> usize {
        match self {
            Way::Epochs => 1,
            Way::Fit => 2,
        }
    }
}

fn split() -> FileSplit {
    FileSplit { train: vec!["a/1.png".into(), "b/2.png".into()], test: vec!["a/3.png".into()] }
}

fn trainer(data: &Dataset) -> Result<Trainer> {
    let net = seq![dense(3), batch_norm(), relu(), dense(2)];
    let optimizer = Sgd::new(0.1).momentum(0.9);
    Trainer::new(net, cross_entropy(), optimizer).batch(7).compile(data)
}

/// Trains to the end, saving after every epoch; says after each how many are saved.
fn train(way: Way, path: &Path, data: &Dataset, mut saved: impl FnMut(u64)) -> Result<()> {
    let mut trainer = trainer(data)?;
    if let Way::Fit = way {
        RunDir::open(path)?.write_split(&split())?;
        trainer.resume(path)?;
        saved(trainer.epochs());
        let fit = trainer.fit(data).validate(data).validate_every(2).epochs(EPOCHS).save(path);
        let fit = fit.callback(keep_best(lowest("val_loss")).last(2));
        return fit.each_epoch(|report| saved(report.epoch)).run().map(|_| ());
    }
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

/// The newest checkpoint's files, without those that hold times, and the best weights where they are kept.
fn bits(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let newest = super::run_dir::latest_checkpoint(path).unwrap().expect("a checkpoint");
    let files = ["model.safetensors", "optimizer.safetensors"];
    let mut bits: BTreeMap<String, Vec<u8>> =
        files.map(|name| (name.to_string(), fs::read(newest.join(name)).unwrap())).into();
    if let Ok(best) = fs::read(path.join("best.safetensors")) {
        bits.insert("best".into(), best);
    }
    bits
}

/// What must hold whatever happened; then the run goes on to the end.
fn check(way: Way, path: &Path, at_least: u64, whole: &BTreeMap<String, Vec<u8>>, what: &str) {
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
        assert!(
            names.len() <= way.kept() && !names.iter().any(|name| name.starts_with('.')),
            "{what}: {names:?}"
        );
        let Some(newest) = super::run_dir::latest_checkpoint(path).unwrap() else { return 0 };
        for name in ["model.safetensors", "metrics.csv"] {
            let same = fs::read(path.join(name)).unwrap() == fs::read(newest.join(name)).unwrap();
            assert!(same, "{what}: {name} is not the newest checkpoint's");
        }
        read_safetensors(path.join("model.safetensors")).unwrap();
        step_records(path).unwrap_or_else(|error| panic!("{what}: {error}"));
        fs::read_to_string(path.join("metrics.csv")).unwrap().lines().count() as u64 - 1
    };
    let epochs = consistent();
    assert!(epochs >= at_least, "{what}: {epochs} epochs, {at_least} had been saved");
    train(way, path, &data(), |_| {}).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(consistent(), EPOCHS, "{what}");
    if let Way::Fit = way {
        assert_eq!(read_split(path).unwrap(), Some(split()), "{what}");
    }
    assert!(bits(path) == *whole, "{what}: other bits");
}

/// One test at a time: a child has its parent's locks for a moment, until it has become another program.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn whole(way: Way) -> (BTreeMap<String, Vec<u8>>, u64) {
    let path = folder("whole");
    faults::set(Fault::None);
    train(way, &path, &data(), |_| {}).unwrap();
    let calls = faults::set(Fault::None);
    let bits = bits(&path);
    fs::remove_dir_all(path).unwrap();
    (bits, calls)
}

#[test]
fn every_file_call_may_fail() {
    let _turn = turn();
    for way in [Way::Epochs, Way::Fit] {
        let (whole, calls) = whole(way);
        assert!(calls > 80, "{calls} file calls are too few to be all");
        for k in 0..calls {
            let for_good = (k as usize).is_multiple_of(way.stride()).then_some(Fault::From(k));
            for fault in std::iter::once(Fault::One(k)).chain(for_good) {
                let (path, mut epochs) = (folder("fails"), 0);
                faults::set(fault);
                let result = train(way, &path, &data(), |saved| epochs = saved);
                faults::set(Fault::None);
                if let Err(error) = result {
                    assert!(!error.to_string().contains('\n'), "{error}");
                }
                check(way, &path, epochs, &whole, &format!("{way:?}: {fault:?} of {calls}"));
                fs::remove_dir_all(path).unwrap();
            }
        }
    }
}

/// A copy of a folder of files and of folders with files.
fn copy(from: &Path, name: &str) -> PathBuf {
    let to = folder(name);
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_dir() {
            let _ = fs::create_dir(to.join(&name));
            for file in fs::read_dir(&path).unwrap() {
                let file = file.unwrap();
                fs::copy(file.path(), to.join(&name).join(file.file_name())).unwrap();
            }
        } else {
            fs::copy(&path, to.join(&name)).unwrap();
        }
    }
    to
}

/// Whatever call of a removal fails, or is the last: what is left is known as a run and can be removed, and nothing
/// else is touched. A process that ends leaves what one leaves whose calls all fail.
#[test]
fn a_removal_that_fails_can_be_made_again() {
    let _turn = turn();
    let trained = folder("trained");
    train(Way::Fit, &trained, &data(), |_| {}).unwrap();
    fs::create_dir(trained.join("tensorboard")).unwrap();
    fs::write(trained.join("tensorboard/events.out.tfevents.1.dropforge.1"), "").unwrap();
    let begun = folder("begun");
    RunDir::open(&begun).unwrap().write_split(&split()).unwrap();
    type Removal = fn(&Path) -> Result<()>;
    let remove: Removal = |path| RunDir::open(path)?.remove().map(|_| ());
    let discard: Removal = |path| RunDir::open(path)?.discard();
    for (what, run, removal) in [("remove", &trained, remove), ("discard", &begun, discard)] {
        for k in 0.. {
            let mut is_over = true;
            for fault in [Fault::One(k), Fault::From(k)] {
                let path = copy(run, what);
                faults::set(fault);
                let result = removal(&path);
                is_over &= faults::set(Fault::None) <= k;
                let what = format!("{what}, {fault:?}");
                if result.is_err() && holds_run(&path) {
                    removal(&path).unwrap_or_else(|error| panic!("{what}: {error}"));
                }
                for name in MINE {
                    assert_eq!(fs::read_to_string(path.join(name)).unwrap(), "mine", "{what}: {name}");
                }
                let mut left: Vec<String> = fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                    .collect();
                // The lock says nothing by itself.
                left.retain(|name| name != LOCK && !MINE.iter().any(|mine| mine.starts_with(name.as_str())));
                assert!(left.is_empty(), "{what}: {left:?} is left");
                fs::remove_dir_all(path).unwrap();
            }
            if is_over {
                assert!(k > 5, "{what} makes {k} file calls, too few to be all");
                break;
            }
        }
    }
    fs::remove_dir_all(trained).unwrap();
    fs::remove_dir_all(begun).unwrap();
}

/// Trains in a process of its own, which says what it has saved; gives that and whether it came to its end.
fn child(way: Way, path: &Path, call: Option<u64>, kill_after: Option<Duration>) -> (u64, bool) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "run::harness::trains_where_it_is_told", "--nocapture"]).env(CHILD, path);
    command.env(WAY, format!("{way:?}"));
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
    let way = if std::env::var(WAY).is_ok_and(|way| way == "Fit") { Way::Fit } else { Way::Epochs };
    train(way, Path::new(&path), &data(), |epochs| {
        println!("saved {epochs}");
        std::io::stdout().flush().unwrap();
    })
    .unwrap();
}

#[test]
fn every_file_call_may_be_the_last() {
    let _turn = turn();
    for way in [Way::Epochs, Way::Fit] {
        let (whole, calls) = whole(way);
        for k in (0..calls).step_by(way.stride()) {
            let path = folder("exits");
            let (saved, ended) = child(way, &path, Some(k), None);
            assert!(!ended, "{way:?}: call {k} of {calls} was never made");
            check(way, &path, saved, &whole, &format!("{way:?}: ended before call {k} of {calls}"));
            fs::remove_dir_all(path).unwrap();
        }
    }
}

#[test]
fn a_kill_may_come_at_any_moment() {
    let _turn = turn();
    let (whole, _) = whole(Way::Fit);
    let started = std::time::Instant::now();
    let path = folder("unkilled");
    child(Way::Fit, &path, None, None);
    fs::remove_dir_all(path).unwrap();
    let usual = started.elapsed();
    for kill in 0..12u32 {
        let path = folder("killed");
        let pause = usual.mul_f64(f64::from(kill * 7 % 12) / 12.0);
        let (saved, _) = child(Way::Fit, &path, None, Some(pause));
        check(Way::Fit, &path, saved, &whole, &format!("killed after {pause:?} of {usual:?}"));
        fs::remove_dir_all(path).unwrap();
    }
}
