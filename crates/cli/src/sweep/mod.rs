//! `dropforge sweep`: trains with many settings, each in a process and a run of its own.

mod check;
mod record;
pub mod space;
mod tpe;
mod trials;

use crate::args::Sweep;
use crate::interrupt;
use crate::output::{Outcome, OutputFile, Stop, line};
use crate::runs::{Listed, print};
use dropforge::file::FileKind;
use dropforge::plot::{Coordinate, Parallel};
use dropforge::run::{holds_run, read_text_file};
use dropforge::settings::Value;
use record::Record;
pub use record::is_sweep;
use serde_json::json;
use space::{Choice, Space, Trial};
use std::cmp::Ordering;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use trials::{Source, Sweeping};

/// Held while a sweep trains in a folder.
const LOCK: &str = "sweep.lock";

/// Where trials go unless told otherwise.
pub fn usual_folder() -> PathBuf {
    PathBuf::from("runs/sweep")
}

pub fn run(args: &Sweep) -> Outcome {
    let named = |message: String| format!("{}: {message}", args.space.display());
    let text = read_text_file(&args.space)?;
    let space = Space::parse(&text).map_err(named)?;
    args.chart.as_deref().map(|path| OutputFile::new(path, FileKind::Chart)).transpose()?;
    let random = |count| (0..count).map(|trial| space.random(args.seed, trial)).collect();
    let (trials, count): (Vec<Trial>, u64) = match (args.tpe, args.random) {
        // What the first ones are drawn as.
        (Some(count), _) => (random(count.min(tpe::FIRST as u64)), count),
        (_, Some(count)) => (random(count), count),
        _ => {
            let trials = space.grid().map_err(named)?;
            let count = trials.len() as u64;
            (trials, count)
        }
    };
    let refused = check::refused(&space, &trials).map_err(named)?;
    if holds_run(&args.out) {
        let out = args.out.display();
        return Err(format!("--out {out}: is a run itself, and trials need a folder of their own").into());
    }
    std::fs::create_dir_all(&args.out)
        .map_err(|error| format!("{}: cannot create it: {error}", args.out.display()))?;
    let _lock = lock(&args.out)?;
    let source = if args.tpe.is_some() { Source::Learned } else { Source::Given(trials.clone()) };
    let mut sweep = Sweeping::new(args, &space, source, count as usize, Record::open(args, &space)?)?;
    let sound: Vec<usize> = (0..trials.len()).filter(|trial| !refused.contains(trial)).collect();
    if let Some(&first) = sound.first().filter(|_| !sweep.has_measured()) {
        check::figures(&space, &trials[first]).map_err(|error| match error {
            Stop::Error(message) => Stop::Error(named(message)),
            other => other,
        })?;
    }
    let asked = interrupt::flag();
    let all: Vec<usize> = (0..sweep.count()).filter(|trial| !refused.contains(trial)).collect();
    let ended = match args.halving {
        Some(first) => sweep.halve(all, first, &asked)?,
        None => sweep.train(&all, None, &asked)?,
    };
    if ended {
        return show(args, &space, sweep.runs());
    }
    let finished = sweep.runs().iter().filter(|run| run.status() == "finished").count();
    if args.json {
        return line(json!({ "event": "stopped", "finished": finished, "trials": count }));
    }
    line(format_args!(
        "stopped with {finished} of {count} trials finished; all is saved, and the same command goes on"
    ))
}

/// Keeps other sweeps out of the folder for as long as it is open.
fn lock(folder: &Path) -> Outcome<File> {
    let path = folder.join(LOCK);
    let file = File::options().create(true).append(true).open(&path);
    let file = file.map_err(|error| format!("{}: cannot open it: {error}", path.display()))?;
    // Some network file systems have no locks; there the runs have to take care of themselves.
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            let folder = folder.display();
            Err(format!("{folder}: another sweep trains here; wait for it or choose another --out").into())
        }
        _ => Ok(file),
    }
}

/// Whether a high figure is the better one; anything will do where nothing was measured.
fn is_highest(space: &Space, runs: &[Listed]) -> Outcome<bool> {
    let measured = runs.iter().find(|run| run.figure(space.monitor.name()).is_some());
    let report = measured.and_then(|run| run.epochs.last());
    Ok(report.map_or(Ok(false), |report| space.monitor.is_highest(report))?)
}

/// The better figure first, none at all last.
fn order(highest: bool, a: Option<f64>, b: Option<f64>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) if highest => b.total_cmp(&a),
        (Some(a), Some(b)) => a.total_cmp(&b),
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}

/// The trials, the best first.
fn show(args: &Sweep, space: &Space, mut runs: Vec<Listed>) -> Outcome {
    let figure = |run: &Listed| run.figure(space.monitor.name());
    let highest = is_highest(space, &runs)?;
    // Of those that were stopped early, the longest trained come first.
    let last = |run: &Listed| if args.halving.is_some() { run.epochs.len() } else { 0 };
    runs.sort_by(|a, b| last(b).cmp(&last(a)).then_with(|| order(highest, figure(a), figure(b))));
    if let Some(path) = &args.chart {
        OutputFile::new(path, FileKind::Chart)?.write(chart(space, &runs, highest).svg())?;
    }
    if args.json {
        return runs.iter().try_for_each(|run| line(run.json()));
    }
    let Some((best, value)) = runs.first().and_then(|run| Some((run, figure(run)?))) else {
        return Err(format!("no trial has measured {}", space.monitor.name()).into());
    };
    print(&runs)?;
    let settings = space.settings.iter().filter_map(|(path, _)| Some((path, best.settings.get(path)?)));
    let settings: Vec<String> = settings.map(|(path, value)| format!("{path} = {value}")).collect();
    line(format_args!(
        "best: {} with {} {value:.4}: {}",
        best.name,
        space.monitor.name(),
        settings.join(", ")
    ))
}

/// A line for each trial over all settings and what came of them.
fn chart(space: &Space, runs: &[Listed], highest: bool) -> Parallel {
    let mut chart = Parallel::new("Settings and what came of them");
    for (path, choice) in &space.settings {
        let values = runs.iter().map(|run| run.settings.get(path).map(String::as_str));
        chart = chart.axis(match choice {
            Choice::OneOf(_) => Coordinate::names(path, values),
            Choice::Between { log, .. } => {
                Coordinate::numbers(path, values.map(|value| value?.parse().ok()), *log)
            }
        });
    }
    let name = space.monitor.name();
    let axis = Coordinate::numbers(name, runs.iter().map(|run| run.figure(name)), false);
    chart.result(axis, highest)
}

pub fn said(settings: &[(String, Value)]) -> String {
    settings.iter().map(|(path, value)| format!("{path} = {value}")).collect::<Vec<_>>().join(", ")
}
