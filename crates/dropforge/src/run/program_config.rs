//! The configuration of a run that a program made: what has a name as files have it, and what has none.

use super::InputSpec;
use super::calls;
use super::config::{FORMAT, FORMAT_KEY, RunConfig};
use super::registry::context;
use super::run_dir::{CONFIG, RunDir, read_config_if_any};
use crate::settings::{Described, SettingType, Table, Value};
use crate::train::Snapshot;
use crate::{Error, Result};
use std::path::Path;

/// The first line of the configurations that this writes; others are not replaced.
const HEAD: &str = "# What a program trained this run with, as far as files have names for it.";
/// The key of what has no name.
const UNNAMED: &str = "unnamed";

/// Writes or brings up to date the configuration of a run, unless the command line wrote one.
pub(super) fn write(run: &RunDir, snapshot: &Snapshot<'_>) -> Result<()> {
    match read_config_if_any(run.path())? {
        Some(text) if !text.starts_with(HEAD) => Ok(()),
        _ => run.write_config(&text(snapshot)?),
    }
}

fn text(snapshot: &Snapshot<'_>) -> Result<String> {
    let (mut table, mut unnamed) = (snapshot.setup.settings.clone(), snapshot.setup.unnamed.clone());
    let network = snapshot.network();
    let device = network.runtime().device();
    let name = device.name();
    let kind = if device.is_gpu() { "gpu" } else { name.split([' ', '(']).next().unwrap_or_default() };
    table.insert("device".into(), kind.into());
    // A training in a loop of its own is as long as it has become.
    table
        .entry("epochs")
        .or_insert_with(|| Value::Integer(snapshot.state.epoch.try_into().unwrap_or(i64::MAX)));
    if let Some(inputs) = SettingType::write(&InputSpec::described(snapshot.description))? {
        table.insert("inputs".into(), inputs);
    }
    let whole =
        unnamed.is_empty().then(|| RunConfig::read(&table, &context()).and_then(|config| config.table()));
    let table = match whole {
        Some(Ok(table)) => table,
        Some(Err(error)) => {
            unnamed.push(error.to_string());
            table
        }
        None => table,
    };
    let mut lines = Table::new();
    lines.insert(FORMAT_KEY.into(), Value::Integer(FORMAT));
    if !unnamed.is_empty() {
        lines.insert(UNNAMED.into(), Value::Array(unnamed.into_iter().map(Value::String).collect()));
    }
    let text =
        |table: &Table| toml::to_string(table).map_err(|error| Error::file(format!("config: {error}")));
    Ok(format!("{HEAD}\n{}{}", text(&lines)?, text(&table)?))
}

/// What the text of a configuration says has no name.
pub(super) fn take_unnamed(table: &mut Table) -> Vec<String> {
    let Some(Value::Array(lines)) = table.remove(UNNAMED) else { return Vec::new() };
    lines.iter().filter_map(Value::as_str).map(String::from).collect()
}

/// What the configuration of a run has no name for, a line each: layers, losses and data of a program's own. Nothing
/// where the run can be built again from its configuration.
///
/// # Errors
/// There is no such run, or the file is no TOML.
pub fn unnamed_parts(run: impl AsRef<Path>) -> Result<Vec<String>> {
    let none = || vec!["data: the run holds no configuration".to_string()];
    if calls::is_file(run.as_ref()) {
        return Ok(none());
    }
    let Some(text) = read_config_if_any(run.as_ref())? else { return Ok(none()) };
    let mut table: Table = toml::from_str(&text).map_err(|error| {
        Error::file(super::toml_message(&text, &error)).context(run.as_ref().join(CONFIG).display())
    })?;
    Ok(take_unnamed(&mut table))
}
