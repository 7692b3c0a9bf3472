//! `dropforge sweep`: trains with many settings, each in a process and a run of its own.

mod space;
mod tpe;

use crate::args::Sweep;
use crate::output::{Outcome, Stop, line, note};
use crate::runs::{Listed, list, print};
use dropforge::plot::{Coordinate, Parallel};
use dropforge::run::{holds_run, read_text_file};
use dropforge::settings::Value;
use space::{Choice, Space, Trial};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;
use tpe::Tried;

/// Where trials go unless told otherwise.
pub fn usual_folder() -> PathBuf {
    PathBuf::from("runs/sweep")
}

pub fn run(args: &Sweep) -> Outcome {
    let named = |message: String| format!("{}: {message}", args.space.display());
    let text = read_text_file(&args.space)?;
    let space = Space::parse(&text).map_err(named)?;
    std::fs::create_dir_all(&args.out)
        .map_err(|error| format!("{}: cannot create it: {error}", args.out.display()))?;
    let mut sweep = match (args.tpe, args.random) {
        (Some(count), _) => Sweeping::new(args, &space, Source::Learned, count as usize),
        (_, Some(count)) => {
            let trials = (0..count).map(|trial| space.random(args.seed, trial)).collect();
            Sweeping::new(args, &space, Source::Given(trials), count as usize)
        }
        _ => {
            let trials = space.grid().map_err(named)?;
            let count = trials.len();
            Sweeping::new(args, &space, Source::Given(trials), count)
        }
    };
    let all: Vec<usize> = (0..sweep.count).collect();
    match args.halving {
        Some(first) => sweep.halve(all, first)?,
        None => sweep.train(&all, None)?,
    }
    show(args, &space, list(&args.out)?)
}

/// Where the settings of trials come from.
enum Source {
    /// All are known from the start.
    Given(Vec<Trial>),
    /// From what the trials before have measured.
    Learned,
}

struct Sweeping<'a> {
    args: &'a Sweep,
    space: &'a Space,
    source: Source,
    count: usize,
    /// Trials that failed; they are left out.
    failed: BTreeSet<usize>,
}

/// How many of the trials go on after each stage of successive halving: one of so many.
const KEPT: u64 = 3;

impl<'a> Sweeping<'a> {
    fn new(args: &'a Sweep, space: &'a Space, source: Source, count: usize) -> Sweeping<'a> {
        Sweeping { args, space, source, count, failed: BTreeSet::new() }
    }

    fn folder(&self, trial: usize) -> PathBuf {
        let width = self.count.saturating_sub(1).to_string().len().max(3);
        self.args.out.join(format!("trial-{trial:0width$}"))
    }

    /// Successive halving (Jamieson and Talwalkar, arXiv:1502.07943): trains all trials for a few epochs, the best third of them
    /// three times as long, and so on, until the best have all their epochs.
    fn halve(&mut self, mut trials: Vec<usize>, first: u64) -> Outcome {
        let mut epochs = first.max(1);
        loop {
            self.train(&trials, Some(epochs))?;
            trials.retain(|trial| !self.failed.contains(trial));
            let mut ranked = Vec::new();
            let mut planned = 0;
            for &trial in &trials {
                let run = Listed::read(&self.folder(trial))?;
                planned = planned.max(run.planned.unwrap_or(0));
                ranked.push((trial, self.figure_at(&run, epochs)));
            }
            if epochs >= planned {
                return Ok(());
            }
            let highest = self.is_highest(&list(&self.args.out)?)?;
            ranked.sort_by(|a, b| order(highest, a.1, b.1));
            let kept = (ranked.len() as u64).div_ceil(KEPT).max(1) as usize;
            trials = ranked.into_iter().take(kept).map(|(trial, _)| trial).collect();
            epochs = (epochs * KEPT).min(planned);
            if trials.is_empty() {
                return Ok(());
            }
            if !self.args.json {
                let names: Vec<String> = trials.iter().map(usize::to_string).collect();
                line(format_args!("the best go on to epoch {epochs}: trials {}", names.join(", ")))?;
            }
        }
    }

    /// The figure of a run after so many epochs, or its last one.
    fn figure_at(&self, run: &Listed, epochs: u64) -> Option<f64> {
        let report = run.epochs.iter().rfind(|report| report.epoch <= epochs)?;
        report.get(self.space.monitor.name()).filter(|figure| !figure.is_nan())
    }

    /// Whether a high figure is the better one, as the sweep or the metric says.
    fn is_highest(&self, runs: &[Listed]) -> Outcome<bool> {
        is_highest(self.space, runs)
    }

    /// Trains trials, several at once, up to an epoch or to their ends.
    fn train(&mut self, trials: &[usize], until: Option<u64>) -> Outcome {
        let mut waiting = trials.iter().copied();
        let mut busy: Vec<(usize, Child)> = Vec::new();
        // What ends the sweep: no other trial is begun, and those that train are waited for.
        let mut stop = None;
        loop {
            while busy.len() < usize::from(self.args.jobs) && stop.is_none() {
                let Some(trial) = waiting.next() else { break };
                match self.start(trial, until) {
                    Ok(Some(child)) => busy.push((trial, child)),
                    Ok(None) => {}
                    Err(error) => stop = Some(error),
                }
            }
            if busy.is_empty() {
                return stop.map_or(Ok(()), Err);
            }
            thread::sleep(Duration::from_millis(50));
            let mut index = 0;
            while index < busy.len() {
                match busy[index].1.try_wait() {
                    Ok(None) => index += 1,
                    Ok(Some(status)) if status.success() => drop(busy.swap_remove(index)),
                    _ => {
                        let (trial, _) = busy.swap_remove(index);
                        self.failed.insert(trial);
                        note(&format!("trial {trial} failed; the others go on"));
                    }
                }
            }
        }
    }

    /// Starts a trial, or goes on with it; `None` if it has what it is to have.
    fn start(&self, trial: usize, until: Option<u64>) -> Outcome<Option<Child>> {
        let program =
            std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
        let folder = self.folder(trial);
        let mut command = Command::new(program);
        command.args(["train", "--quiet"]).stdin(Stdio::null());
        if let Some(epochs) = until {
            command.arg("--until-epoch").arg(epochs.to_string());
        }
        if holds_run(&folder) {
            let run = Listed::read(&folder)?;
            let has_enough = until.is_some_and(|epochs| run.epochs.len() as u64 >= epochs);
            if has_enough || run.status() == "finished" {
                return Ok(None);
            }
            command.arg("--resume").arg(&folder);
        } else {
            let settings = self.settings(trial)?;
            if !self.args.json {
                match line(format_args!("trial {trial}: {}", said(&settings))) {
                    // Trials are worth finishing even if nobody reads along.
                    Ok(()) | Err(Stop::Unread) => {}
                    Err(stop) => return Err(stop),
                }
            }
            command.args(&self.space.args).arg("--out").arg(&folder);
            for (path, value) in &settings {
                command.arg("--set").arg(format!("{path}={value}"));
            }
        }
        let child = command.spawn().map_err(|error| format!("cannot start a trial: {error}"))?;
        Ok(Some(child))
    }

    /// What a trial is to be trained with.
    fn settings(&self, trial: usize) -> Outcome<Trial> {
        match &self.source {
            Source::Given(trials) => Ok(trials[trial].clone()),
            Source::Learned => {
                let tried = self.tried()?;
                Ok(tpe::propose(self.space, &tried, self.args.seed, trial as u64))
            }
        }
    }

    /// What the trials so far have had, and how good they were; those that are being trained are not known to be.
    fn tried(&self) -> Outcome<Vec<Tried>> {
        let runs = list(&self.args.out)?;
        let highest = self.is_highest(&runs)?;
        let tried = runs.iter().filter_map(|run| {
            let places =
                self.space.settings.iter().map(|(path, choice)| choice.place(run.settings.get(path)?));
            let figure = run.figure(self.space.monitor.name()).filter(|_| !run.training);
            let loss = figure.map(|figure| if highest { -figure } else { figure });
            Some(Tried { places: places.collect::<Option<_>>()?, loss })
        });
        Ok(tried.collect())
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
        std::fs::write(path, chart(space, &runs, highest).svg())
            .map_err(|error| format!("{}: cannot write it: {error}", path.display()))?;
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
