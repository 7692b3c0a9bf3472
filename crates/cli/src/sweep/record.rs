//! What a folder keeps of its sweep: what made the trials in it, and which they are.

use super::space::Space;
use crate::args::Sweep;
use crate::output::{Outcome, OutputFile};
use dropforge::file::FileKind;
use dropforge::run::read_text_file;
use dropforge::settings::{SettingType, Table, Value};
use std::path::{Path, PathBuf};

/// The file in the folder.
const FILE: &str = "trials.toml";
/// How it begins.
const HEAD: &str = "# The trials of a sweep of dropforge; the same command goes on with them.\n";
/// The key of the trials' names; the others say what made them.
const TRIALS: &str = "trials";

/// Whether a folder holds the trials of a sweep.
pub fn is_sweep(folder: &Path) -> bool {
    folder.join(FILE).is_file()
}

pub struct Record {
    folder: PathBuf,
    /// What decides what the trials are.
    sweep: Table,
    /// The names of the trials that were begun.
    trials: Vec<String>,
}

impl Record {
    /// What the folder of a sweep keeps; nothing is written before the first trial.
    ///
    /// # Errors
    /// The trials there are of another sweep, or the file cannot be read.
    pub fn open(args: &Sweep, space: &Space) -> Outcome<Record> {
        let mut record =
            Record { folder: args.out.clone(), sweep: described(args, space)?, trials: Vec::new() };
        let path = record.folder.join(FILE);
        if std::fs::symlink_metadata(&path).is_err() {
            return Ok(record);
        }
        let damaged = || format!("{}: is not what a sweep writes; take another --out", path.display());
        let mut noted: Table = read_text_file(&path)?.parse().map_err(|_| damaged())?;
        let trials = noted.remove(TRIALS).ok_or_else(damaged)?;
        record.trials = trials.try_into().map_err(|_| damaged())?;
        match difference(&noted, &record.sweep) {
            Some(difference) => Err(format!(
                "{}: holds the trials of another sweep ({difference}); take another --out",
                record.folder.display()
            )
            .into()),
            None => Ok(record),
        }
    }

    /// Whether this sweep has begun a trial of this name.
    pub fn has(&self, name: &str) -> bool {
        self.trials.iter().any(|trial| trial == name)
    }

    /// Notes that a trial is begun.
    pub fn add(&mut self, name: &str) -> Outcome {
        if self.has(name) {
            return Ok(());
        }
        self.trials.push(name.into());
        let names = self.trials.iter().cloned().map(Value::String).collect();
        let mut table = self.sweep.clone();
        table.insert(TRIALS.into(), Value::Array(names));
        // As a whole or not at all, so that a sweep that is killed can go on.
        let path = self.folder.join(FILE);
        OutputFile::new(&path, FileKind::Sweep)?.write(format!("{HEAD}{table}"))
    }
}

/// What decides what the trials are, and so not how many there are, how long they train or how they are compared.
fn described(args: &Sweep, space: &Space) -> Outcome<Table> {
    let method = match (args.tpe, args.random) {
        (Some(_), _) => "tpe",
        (_, Some(_)) => "random",
        _ => "grid",
    };
    let mut table = Table::new();
    table.insert("method".into(), Value::String(method.into()));
    if method != "grid" {
        // More than TOML's integers hold.
        table.insert("seed".into(), Value::String(args.seed.to_string()));
    }
    if let Some(monitor) = space.monitor.write()?.filter(|_| method == "tpe") {
        table.insert("monitor".into(), monitor);
    }
    let words = space.args.iter().cloned().map(Value::String).collect();
    table.insert("args".into(), Value::Array(words));
    table.insert("space".into(), Value::Table(space.table.clone()));
    Ok(table)
}

/// Where two sweeps differ, if they do.
fn difference(noted: &Table, now: &Table) -> Option<String> {
    let said = |value: Option<&Value>| value.map_or_else(|| "missing".to_string(), Value::to_string);
    let differ = |name: &str, noted: Option<&Value>, now: Option<&Value>| {
        (noted != now).then(|| format!("{name} was {} and is {}", said(noted), said(now)))
    };
    let plain = |key: &&str| differ(key, noted.get(*key), now.get(*key));
    if let Some(difference) = ["method", "seed", "monitor", "args"].iter().find_map(plain) {
        return Some(difference);
    }
    let settings = |table: &Table| table.get("space").and_then(Value::as_table).cloned().unwrap_or_default();
    let (before, after) = (settings(noted), settings(now));
    let paths = before.keys().chain(after.keys());
    let mut differences = paths.filter_map(|path| differ(path, before.get(path), after.get(path)));
    // The number of a trial goes by the order of the settings.
    let reordered =
        || (!before.keys().eq(after.keys())).then(|| "its settings stood in another order".into());
    differences.next().or_else(reordered)
}
