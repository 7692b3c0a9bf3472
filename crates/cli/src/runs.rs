//! `dropforge runs`: what there is in a folder of runs.

use crate::args::{Runs, RunsAction};
use crate::output::{Outcome, count, duration, line, note};
use crate::sweep::is_sweep;
use dropforge::metric::{Figure, Unit};
use dropforge::run::{RunConfig, RunDir, StepRecords, config_of, history, holds_run, is_training};
use dropforge::settings::{Context, SettingType, Value, unknown};
use dropforge::train::{EpochReport, Monitor};
use serde_json::{Map, json};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// What is known of one run.
#[derive(Clone)]
pub struct Listed {
    pub path: PathBuf,
    pub name: String,
    /// The settings, each by its path; none where a program of its own trained it.
    pub settings: BTreeMap<String, String>,
    /// Epochs that it is to have.
    pub planned: Option<u64>,
    pub epochs: Vec<EpochReport>,
    pub steps: u64,
    /// What happened within epochs.
    pub records: StepRecords,
    /// When it was saved last, in seconds since 1970.
    pub saved: Option<u64>,
    /// Whether a process trains it now.
    pub training: bool,
}

pub fn run(args: &Runs) -> Outcome {
    match &args.action {
        Some(RunsAction::Rm { runs, yes }) => return remove(runs, *yes),
        Some(RunsAction::Prune { folder, keep, by, older, yes }) => {
            let runs = superfluous(folder, *keep, by.as_deref(), *older)?;
            return if runs.is_empty() { line("there is nothing to remove") } else { remove(&runs, *yes) };
        }
        None => {}
    }
    let mut all = list(&args.folder)?;
    let count = all.len();
    for filter in &args.filter {
        let (setting, value) =
            filter.split_once('=').filter(|(setting, _)| !setting.is_empty()).ok_or_else(|| {
                format!("--filter {filter}: write a setting and its value, such as model.type=lenet")
            })?;
        retain(&mut all, setting, value)?;
    }
    let (column, down) = args.sort.strip_prefix('-').map_or((&*args.sort, false), |column| (column, true));
    if !all.is_empty() && all.iter().all(|run| run.key(column).is_none()) {
        let figures: BTreeSet<String> =
            all.iter().filter_map(|run| run.epochs.last()).flat_map(shown).collect();
        let settings: BTreeSet<&str> =
            all.iter().flat_map(|run| run.settings.keys().map(String::as_str)).collect();
        let known = ["name", "status", "saved", "epochs", "steps", "seconds"].into_iter();
        let known: Vec<&str> = known.chain(figures.iter().map(String::as_str)).chain(settings).collect();
        return Err(unknown("--sort: no run has", column, "there are", &known).into());
    }
    all.sort_by(|a, b| match (a.key(column), b.key(column)) {
        (Some(a), Some(b)) if down => b.order(&a),
        (Some(a), Some(b)) => a.order(&b),
        // Runs that lack it come last, whatever the order.
        (a, b) => b.is_some().cmp(&a.is_some()),
    });
    if args.json {
        return all.iter().try_for_each(|run| line(run.json()));
    }
    if all.is_empty() {
        let folder = args.folder.display();
        return match count {
            0 => line(format_args!("{folder}: holds no run")),
            1 => line(format_args!("{folder}: the run there is not like that")),
            count => line(format_args!("{folder}: none of the {count} runs is like that")),
        };
    }
    print(&all)?;
    if args.compare { compare(&all) } else { Ok(()) }
}

/// Keeps the runs whose setting has a value, or which are called or are so (`name`, `status`).
///
/// # Errors
/// No run has such a setting.
fn retain(all: &mut Vec<Listed>, setting: &str, value: &str) -> Outcome {
    let own = |run: &Listed| match setting {
        "name" => Some(run.name.clone()),
        "status" => Some(run.status().to_string()),
        setting => run.settings.get(setting).cloned(),
    };
    if !all.is_empty() && all.iter().all(|run| own(run).is_none()) {
        let below = format!("{setting}.");
        let known: BTreeSet<&str> =
            all.iter().flat_map(|run| run.settings.keys().map(String::as_str)).collect();
        // A part of the settings, such as `model`: what is in it may be meant.
        let inside: Vec<&str> = known.iter().copied().filter(|path| path.starts_with(&below)).collect();
        let known: Vec<&str> =
            if inside.is_empty() { known.into_iter().chain(["name", "status"]).collect() } else { inside };
        return Err(unknown(
            &format!("--filter {setting}={value}: no run has the setting"),
            setting,
            "there are",
            &known,
        )
        .into());
    }
    let same = |own: &str| own == value || own.parse::<f64>().is_ok_and(|own| value.parse() == Ok(own));
    all.retain(|run| own(run).is_some_and(|own| same(&own)));
    Ok(())
}

/// The names of the figures of an epoch but those of which there are many, such as the cells of a matrix.
fn shown(report: &EpochReport) -> Vec<String> {
    let is_shown = |name: &String| report.value(name).is_none_or(|value| value.unit != Unit::Detail);
    report.names().into_iter().filter(is_shown).collect()
}

/// What runs are sorted by: numbers by their size, anything else by its letters.
enum Key {
    Number(f64),
    Text(String),
}

impl Key {
    fn of(text: &str) -> Key {
        text.parse().map_or_else(|_| Key::Text(text.into()), Key::Number)
    }

    fn order(&self, other: &Key) -> Ordering {
        match (self, other) {
            (Key::Number(a), Key::Number(b)) => a.total_cmp(b),
            (Key::Text(a), Key::Text(b)) => a.cmp(b),
            (Key::Number(_), Key::Text(_)) => Ordering::Less,
            (Key::Text(_), Key::Number(_)) => Ordering::Greater,
        }
    }
}

/// A run in a folder of runs, and what it is called there.
pub struct Found {
    pub path: PathBuf,
    pub name: String,
}

/// The runs of a folder with the trials of its sweeps, or the run that it is. What cannot be read is noted.
pub fn list(folder: &Path) -> Outcome<Vec<Listed>> {
    let read = |found: Found| match Listed::read(&found.path) {
        Ok(run) => Some(Listed { name: found.name, ..run }),
        Err(error) => {
            note(&error.for_command());
            None
        }
    };
    Ok(find(folder)?.into_iter().filter_map(read).collect())
}

/// Where the runs of a folder are, in the order of their names.
pub fn find(folder: &Path) -> Outcome<Vec<Found>> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => format!(
            "{}: there is no such folder; `dropforge train` makes one with the first run, or give the folder that runs are in",
            folder.display()
        ),
        io::ErrorKind::NotADirectory => {
            format!("{}: is a file; give the folder that runs are in, or that of one run", folder.display())
        }
        _ => format!("{}: cannot list it: {error}", folder.display()),
    };
    let last = |path: &Path| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let inside = |folder: &Path| -> io::Result<Vec<PathBuf>> {
        let entries =
            std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        Ok(entries.into_iter().filter(|path| path.is_dir()).collect())
    };
    let mut all = Vec::new();
    if holds_run(folder) {
        all.push(Found { path: folder.into(), name: last(folder) });
    } else {
        for path in inside(folder).map_err(failed)? {
            let name = last(&path);
            if holds_run(&path) {
                all.push(Found { path, name });
            } else if is_sweep(&path) {
                // A sweep that cannot be looked into is no reason to show nothing of the others.
                let trials = inside(&path).unwrap_or_default().into_iter().filter(|path| holds_run(path));
                all.extend(trials.map(|path| Found { name: format!("{name}/{}", last(&path)), path }));
            }
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

impl Listed {
    pub fn read(path: &Path) -> dropforge::Result<Listed> {
        let config = config_of(path)?;
        let history = history(path)?;
        let mut settings = BTreeMap::new();
        if let Some(config) = &config {
            // What the data look like follows from what they are.
            let table = config.table()?.into_iter().filter(|(key, _)| key != "inputs").collect();
            flatten("", &Value::Table(table), &mut settings);
        }
        Ok(Listed {
            name: path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into(),
            path: path.into(),
            settings,
            planned: config.as_ref().map(|config: &RunConfig| config.epochs),
            epochs: history.epochs,
            steps: history.steps,
            saved: history.saved,
            training: is_training(path),
            records: StepRecords::default(),
        })
    }

    /// With what happened within its epochs, which tells while it is trained where it is.
    pub fn with_records(mut self, records: StepRecords) -> Listed {
        if let Some(last) = records.points.last().filter(|_| self.training) {
            self.steps = self.steps.max(last.step);
        }
        self.records = records;
        self
    }

    /// What it is sorted by: its name, how it is, a number, or a setting by its path.
    fn key(&self, column: &str) -> Option<Key> {
        match column {
            "name" => Some(Key::Text(self.name.clone())),
            "status" => Some(Key::Text(self.status().into())),
            "seconds" => Some(Key::Number(self.seconds())),
            column => {
                let setting = || self.settings.get(column).map(|value| Key::of(value));
                self.figure(column).map(Key::Number).or_else(setting)
            }
        }
    }

    /// A number by the name of its column.
    pub fn figure(&self, column: &str) -> Option<f64> {
        match column {
            "saved" => self.saved.map(|saved| saved as f64),
            "epochs" => Some(self.epochs.len() as f64),
            "steps" => Some(self.steps as f64),
            name => self.epochs.last()?.get(name).filter(|figure| !figure.is_nan()),
        }
    }

    pub fn status(&self) -> &'static str {
        match self.planned {
            _ if self.training => "training",
            Some(planned) if (self.epochs.len() as u64) < planned => "stopped",
            _ => "finished",
        }
    }

    fn seconds(&self) -> f64 {
        // A sum of none would be -0.
        self.epochs.iter().map(|report| report.seconds).fold(0.0, |sum, seconds| sum + seconds)
    }

    pub fn json(&self) -> serde_json::Value {
        let last: Map<String, serde_json::Value> = self
            .epochs
            .last()
            .map(|report| {
                report.names().into_iter().map(|name| (name.clone(), json!(report.get(&name)))).collect()
            })
            .unwrap_or_default();
        json!({
            "run": self.path.display().to_string(), "name": self.name, "status": self.status(),
            "epochs": self.epochs.len(), "planned_epochs": self.planned, "steps": self.steps, "saved": self.saved,
            "seconds": self.seconds(), "last": last, "settings": self.settings,
        })
    }
}

/// Each setting by its path.
fn flatten(path: &str, value: &Value, all: &mut BTreeMap<String, String>) {
    let below = |key: &str| if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
    match value {
        Value::Table(table) => table.iter().for_each(|(key, value)| flatten(&below(key), value, all)),
        Value::Array(items) if items.iter().any(Value::is_table) => {
            items.iter().enumerate().for_each(|(index, item)| flatten(&below(&index.to_string()), item, all));
        }
        Value::String(text) => drop(all.insert(path.into(), text.clone())),
        other => drop(all.insert(path.into(), other.to_string())),
    }
}

/// A table of runs with their last figures.
pub fn print(all: &[Listed]) -> Outcome {
    // The figures of validations, else those of training.
    let mut figures: Vec<String> = Vec::new();
    let mut known = HashSet::new();
    for prefix in ["val_", "train_"] {
        for report in all.iter().filter_map(|run| run.epochs.last()) {
            let shown = |name: &String| {
                let own = name.strip_prefix(prefix)?;
                let values =
                    if prefix == "val_" { &report.validation.as_ref()?.metrics } else { &report.metrics };
                let is_shown = |value: &Figure| value.unit != Unit::Detail;
                (own == "loss" || values.find(own).is_some_and(is_shown)).then(|| name.clone())
            };
            let names = report.names();
            figures.extend(names.iter().filter_map(shown).filter(|name| known.insert(name.clone())));
        }
        if !figures.is_empty() {
            break;
        }
    }
    figures.truncate(4);
    let mut lines = vec![["run", "status", "epochs", "steps", "time"].map(String::from).to_vec()];
    lines[0].extend(figures.iter().cloned());
    for run in all {
        let planned = run.planned.map_or_else(String::new, |planned| format!("/{planned}"));
        let mut cells = vec![
            run.name.clone(),
            run.status().into(),
            format!("{}{planned}", run.epochs.len()),
            count(run.steps),
            duration(run.seconds()),
        ];
        cells.extend(
            figures.iter().map(|name| run.figure(name).map_or("–".into(), |figure| format!("{figure:.4}"))),
        );
        lines.push(cells);
    }
    table(&lines)
}

/// The settings in which runs differ, a line for each.
fn compare(all: &[Listed]) -> Outcome {
    let paths: BTreeSet<&String> = all.iter().flat_map(|run| run.settings.keys()).collect();
    let differs = |path: &&&String| {
        let mut values = all.iter().map(|run| run.settings.get(**path));
        let first = values.next().flatten();
        values.any(|value| value != first)
    };
    let mut lines = vec![vec!["setting".to_string()]];
    lines[0].extend(all.iter().map(|run| run.name.clone()));
    for path in paths.iter().filter(differs) {
        let mut cells = vec![path.to_string()];
        cells.extend(all.iter().map(|run| run.settings.get(*path).cloned().unwrap_or_else(|| "–".into())));
        lines.push(cells);
    }
    line("")?;
    if lines.len() == 1 { line("the settings are the same") } else { table(&lines) }
}

/// Lines of cells, each column as wide as its widest.
pub fn table(lines: &[Vec<String>]) -> Outcome {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    lines.iter().try_for_each(|cells| {
        let cells = cells.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        line(cells.collect::<Vec<_>>().join("  ").trim_end())
    })
}

/// The runs of a folder beside those that are to stay.
fn superfluous(folder: &Path, keep: usize, by: Option<&str>, older: Option<f64>) -> Outcome<Vec<PathBuf>> {
    let mut all = list(folder)?;
    // Trials belong to their sweep, whose folder can be named. What a link points to belongs to another folder.
    all.retain(|run| run.path == folder || run.path.parent() == Some(folder));
    all.retain(|run| !run.training && RunDir::check_removable(&run.path).is_ok());
    match by.map(monitor).transpose()? {
        Some(monitor) => {
            let figure = |run: &Listed| run.figure(monitor.name());
            if !all.is_empty() && all.iter().all(|run| figure(run).is_none()) {
                return Err(format!("--by {}: no run has measured it", monitor.name()).into());
            }
            let measured = all.iter().find(|run| figure(run).is_some()).and_then(|run| run.epochs.last());
            let highest = measured.map_or(Ok(false), |report| monitor.is_highest(report))?;
            all.sort_by(|a, b| match (figure(a), figure(b)) {
                (Some(a), Some(b)) if highest => b.total_cmp(&a),
                (Some(a), Some(b)) => a.total_cmp(&b),
                (a, b) => b.is_some().cmp(&a.is_some()),
            });
        }
        None => all.sort_by_key(|run| std::cmp::Reverse(run.saved)),
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    let is_old = |run: &Listed| older.is_none_or(|age| now - run.saved.unwrap_or(0) as f64 > age);
    Ok(all.into_iter().skip(keep).filter(is_old).map(|run| run.path).collect())
}

/// A figure, and which of two is the better one.
fn monitor(name: &str) -> Outcome<Monitor> {
    Ok(Monitor::read(&Value::String(name.into()), &Context::NONE)?)
}

fn remove(runs: &[PathBuf], yes: bool) -> Outcome {
    // All of them before any is touched.
    for path in runs {
        RunDir::check_removable(path)?;
    }
    for path in runs {
        if !yes && !agreed(path)? {
            line(format_args!("{} stays", path.display()))?;
            continue;
        }
        let left = RunDir::open(path)?.remove()?;
        match left.as_slice() {
            [] => line(format_args!("{} is removed", path.display()))?,
            left => line(format_args!(
                "{}: the run is removed; what no run has written stays: {}",
                path.display(),
                left.join(", ")
            ))?,
        }
    }
    Ok(())
}

fn agreed(path: &Path) -> Outcome<bool> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Err(format!("{}: nobody can be asked whether to remove it; add --yes", path.display()).into());
    }
    let epochs = history(path).map(|history| history.epochs.len()).unwrap_or(0);
    let _ = write!(io::stderr(), "remove {} with its {epochs} epochs for good? [y/N] ", path.display());
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).map_err(|error| format!("cannot read an answer: {error}"))?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}
