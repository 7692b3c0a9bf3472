//! `dropforge sweep`: trains with many settings, each in a process and a run of its own.

use crate::args::Sweep;
use crate::output::{Outcome, Stop, line, note};
use crate::runs::{Listed, list, print};
use dropforge::run::{check_path, holds_run, read_text_file};
use dropforge::settings::{SettingType, Table, Value, unknown};
use dropforge::train::Monitor;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// What is tried, from a file.
struct Space {
    /// Words for every `dropforge train`.
    args: Vec<String>,
    monitor: Monitor,
    /// Settings with what each may be.
    settings: Vec<(String, Choice)>,
}

/// What a setting may be.
enum Choice {
    OneOf(Vec<Value>),
    Between { low: f64, high: f64, log: bool },
}

pub fn run(args: &Sweep) -> Outcome {
    let named = |message: String| format!("{}: {message}", args.space.display());
    let text = read_text_file(&args.space)?;
    let space = Space::parse(&text).map_err(named)?;
    let trials = match args.random {
        Some(count) => (0..count).map(|trial| space.random(args.seed, trial)).collect(),
        None => space.grid().map_err(named)?,
    };
    std::fs::create_dir_all(&args.out)
        .map_err(|error| format!("{}: cannot create it: {error}", args.out.display()))?;
    let width = trials.len().saturating_sub(1).to_string().len().max(3);
    let folder = |trial: usize| args.out.join(format!("trial-{trial:0width$}"));
    let mut waiting = 0..trials.len();
    let mut busy: Vec<(usize, Child)> = Vec::new();
    // What ends the sweep: no other trial is begun, and those that train are waited for.
    let mut failed = None;
    loop {
        while busy.len() < usize::from(args.jobs) && failed.is_none() {
            let Some(trial) = waiting.next() else { break };
            let child = match start(&space, &folder(trial), &trials[trial]) {
                Ok(Some(child)) => child,
                Ok(None) => continue,
                Err(stop) => {
                    failed = Some(stop);
                    break;
                }
            };
            busy.push((trial, child));
            if !args.json {
                match line(format_args!("trial {trial}: {}", said(&trials[trial]))) {
                    // Trials are worth finishing even if nobody reads along.
                    Ok(()) | Err(Stop::Unread) => {}
                    Err(stop) => failed = Some(stop),
                }
            }
        }
        if busy.is_empty() {
            break;
        }
        thread::sleep(Duration::from_millis(50));
        let mut index = 0;
        while index < busy.len() {
            match busy[index].1.try_wait() {
                Ok(None) => index += 1,
                Ok(Some(status)) if status.success() => drop(busy.swap_remove(index)),
                _ => {
                    let (trial, _) = busy.swap_remove(index);
                    note(&format!("trial {trial} failed ({}); the others go on", said(&trials[trial])));
                }
            }
        }
    }
    failed.map_or(Ok(()), Err)?;
    show(args, &space, list(&args.out)?)
}

/// Starts a trial, or goes on with it; `None` if it is finished.
fn start(space: &Space, folder: &Path, settings: &[(String, Value)]) -> Outcome<Option<Child>> {
    let program = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let mut command = Command::new(program);
    command.args(["train", "--quiet"]).stdin(Stdio::null());
    if holds_run(folder) {
        if Listed::read(folder)?.status() == "finished" {
            return Ok(None);
        }
        command.arg("--resume").arg(folder);
    } else {
        command.args(&space.args).arg("--out").arg(folder);
        for (path, value) in settings {
            command.arg("--set").arg(format!("{path}={value}"));
        }
    }
    let child = command.spawn().map_err(|error| format!("cannot start a trial: {error}"))?;
    Ok(Some(child))
}

/// The trials, the best first.
fn show(args: &Sweep, space: &Space, mut runs: Vec<Listed>) -> Outcome {
    let figure = |run: &Listed| run.figure(space.monitor.name());
    let measured = runs.iter().find(|run| figure(run).is_some()).and_then(|run| run.epochs.last());
    let is_highest = measured.map_or(Ok(false), |report| space.monitor.is_highest(report))?;
    runs.sort_by(|a, b| match (figure(a), figure(b)) {
        (Some(a), Some(b)) if is_highest => b.total_cmp(&a),
        (Some(a), Some(b)) => a.total_cmp(&b),
        (a, b) => b.is_some().cmp(&a.is_some()),
    });
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

fn said(settings: &[(String, Value)]) -> String {
    settings.iter().map(|(path, value)| format!("{path} = {value}")).collect::<Vec<_>>().join(", ")
}

impl Space {
    fn parse(text: &str) -> Result<Space, String> {
        let table: Table = text.parse().map_err(|error| format!("{error}").replace('\n', " "))?;
        let known = ["args", "monitor", "space"];
        if let Some(other) = table.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(unknown("there is no setting", other, "there are", &known).to_string());
        }
        let wrong = |error: dropforge::Error| error.to_string();
        let context = dropforge::settings::Context::NONE;
        let args = table.get("args").map(|args| Vec::<String>::read(args, &context)).transpose();
        let monitor = Value::String("val_loss".into());
        let monitor = Monitor::read(table.get("monitor").unwrap_or(&monitor), &context);
        let space = table.get("space").and_then(Value::as_table).filter(|space| !space.is_empty());
        let space = space.ok_or("[space] is missing: name settings with what they may be")?;
        let settings = space.iter().map(|(path, value)| {
            check_path(path).map_err(wrong)?;
            Ok((path.clone(), Choice::read(value).map_err(|error| format!("{path}: {error}"))?))
        });
        Ok(Space {
            args: args.map_err(|error| format!("args: {error}"))?.unwrap_or_default(),
            monitor: monitor.map_err(|error| format!("monitor: {error}"))?,
            settings: settings.collect::<Result<_, String>>()?,
        })
    }

    /// All combinations, the last setting changing fastest.
    fn grid(&self) -> Result<Vec<Vec<(String, Value)>>, String> {
        let mut all: Vec<Vec<(String, Value)>> = vec![Vec::new()];
        for (path, choice) in &self.settings {
            let Choice::OneOf(values) = choice else {
                return Err(format!(
                    "{path} has a range, of which there is no grid; list its values, or add --random N"
                ));
            };
            all = all
                .iter()
                .flat_map(|trial| values.iter().map(move |value| (trial, value)))
                .map(|(trial, value)| [trial.clone(), vec![(path.clone(), value.clone())]].concat())
                .collect();
        }
        Ok(all)
    }

    /// What a trial draws: the same for a seed and a number, whatever the other trials.
    fn random(&self, seed: u64, trial: u64) -> Vec<(String, Value)> {
        let draws = self.settings.iter().enumerate().map(|(place, (path, choice))| {
            let draw = uniform(seed, trial, place as u64);
            (path.clone(), choice.at(draw))
        });
        draws.collect()
    }
}

impl Choice {
    fn read(value: &Value) -> Result<Choice, String> {
        match value {
            Value::Array(values) if !values.is_empty() => Ok(Choice::OneOf(values.clone())),
            Value::Table(table) => {
                let known = ["low", "high", "log"];
                if let Some(other) = table.keys().find(|key| !known.contains(&key.as_str())) {
                    return Err(unknown("a range has no", other, "it has", &known).to_string());
                }
                let number = |key: &str| match table.get(key) {
                    Some(Value::Float(number)) => Ok(*number),
                    Some(Value::Integer(number)) => Ok(*number as f64),
                    _ => Err(format!("`{key}` should be a number")),
                };
                let (low, high) = (number("low")?, number("high")?);
                let log = table.get("log").and_then(Value::as_bool).unwrap_or(false);
                if low.is_nan() || high.is_nan() || low >= high || (log && low <= 0.0) {
                    return Err(format!(
                        "goes from {low} to {high}; `low` must be less, and above 0 with `log`"
                    ));
                }
                Ok(Choice::Between { low, high, log })
            }
            _ => Err("should be a list of values, or a range such as { low = 1e-4, high = 0.1, log = true }"
                .into()),
        }
    }

    /// The value at a place from 0 up to 1.
    fn at(&self, draw: f64) -> Value {
        match self {
            Choice::OneOf(values) => {
                values[((draw * values.len() as f64) as usize).min(values.len() - 1)].clone()
            }
            Choice::Between { low, high, log: true } => Value::Float(low * (high / low).powf(draw)),
            Choice::Between { low, high, .. } => Value::Float(low + (high - low) * draw),
        }
    }
}

/// A number from 0 up to 1 for three numbers (SplitMix64).
fn uniform(seed: u64, trial: u64, place: u64) -> f64 {
    let mut word = [seed, trial, place].into_iter().fold(0u64, |word, number| {
        let mut word = word.wrapping_add(number).wrapping_add(0x9e37_79b9_7f4a_7c15);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    });
    word >>= 11;
    word as f64 / (1u64 << 53) as f64
}

/// Where trials go unless told otherwise.
pub fn usual_folder() -> PathBuf {
    PathBuf::from("runs/sweep")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_and_draws() {
        let text =
            "monitor = 'highest val_accuracy'\n[space]\n'optimizer.lr' = [0.1, 0.01]\nbatch = [8, 16, 32]\n";
        let space = Space::parse(text).unwrap();
        let grid = space.grid().unwrap();
        assert_eq!(grid.len(), 6);
        assert!(said(&grid[0]).contains("batch = 8") && said(&grid[5]).contains("batch = 32"));
        let space =
            Space::parse("[space]\n'optimizer.lr' = { low = 1e-4, high = 1e-1, log = true }").unwrap();
        assert!(space.grid().err().unwrap().contains("--random"));
        let draws: Vec<f64> = (0..200).map(|trial| space.random(7, trial)[0].1.as_float().unwrap()).collect();
        assert!(
            draws.iter().all(|rate| (1e-4..0.1).contains(rate)) && space.random(7, 3) == space.random(7, 3)
        );
        // Half of them below the middle of the logarithms.
        let low = draws.iter().filter(|rate| **rate < 10f64.powf(-2.5)).count();
        assert!((70..130).contains(&low), "{low}");
    }

    #[test]
    fn mistakes_are_named() {
        let wrong = |text: &str| Space::parse(text).err().unwrap();
        assert!(wrong("spaces = 1").contains("did you mean `space`"));
        assert!(wrong("[space]").contains("is missing"));
        assert!(wrong("[space]\n'optimiser.lr' = [1]").contains("optimizer"));
        assert!(wrong("[space]\nbatch = 8").contains("a list of values"));
        assert!(wrong("[space]\nbatch = { low = 2, high = 1 }").contains("must be less"));
    }
}
