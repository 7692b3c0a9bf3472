//! `dropforge list`: what names can stand for.

use crate::args::List;
use crate::output::{Outcome, line};
use dropforge::run::registry::registry;
use dropforge::settings::{Declaration, Setting, unknown};
use serde_json::{Value, json};

pub fn run(args: &List) -> Outcome {
    let settings = registry().settings();
    let kinds = registry().kinds().into_iter().map(|listing| (listing.kind, listing.plural, listing.entries));
    let kinds: Vec<_> = kinds.chain([("setting", "settings", settings.iter().collect())]).collect();
    let plurals: Vec<&str> = kinds.iter().map(|(_, plural, _)| *plural).collect();
    let wanted: Vec<_> = match args.kind.as_deref() {
        None => kinds,
        Some(kind) => kinds.into_iter().filter(|(_, plural, _)| *plural == kind).collect(),
    };
    let [(kind, plural, entries)] = wanted.as_slice() else {
        if let Some(kind) = &args.kind {
            return Err(unknown("there are no", kind, "there are", &plurals).into());
        }
        return wanted
            .iter()
            .try_for_each(|(_, plural, entries)| print_kind(plural, entries, args.json, true));
    };
    let Some(name) = &args.name else { return print_kind(plural, entries, args.json, false) };
    // Words of a name may be joined either way, as in files.
    let found = entries.iter().find(|entry| entry.name.replace('-', "_") == name.replace('-', "_"));
    let Some(entry) = found else {
        let known: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
        return Err(unknown(&format!("there is no {kind}"), name, "there are", &known).into());
    };
    if args.json { line(object(plural, entry)) } else { print_entry(entry) }
}

fn object(kind: &str, entry: &Declaration) -> Value {
    let setting = |setting: &Setting| {
        json!({
            "name": setting.name, "type": setting.expects, "default": setting.default, "required": setting.required,
            "range": setting.range.to_string(), "help": setting.help, "may_change": setting.may_change,
        })
    };
    let settings: Vec<Value> = entry.settings.iter().map(setting).collect();
    let twin = entry.twin.map(|twin| json!({ "name": twin.name, "differs": twin.differs }));
    json!({ "kind": kind, "name": entry.name, "help": entry.help, "counterpart": twin, "settings": settings })
}

/// One entry with all that there is to say of it.
fn print_entry(entry: &Declaration) -> Outcome {
    line(format_args!("{}: {}", entry.name, entry.help))?;
    if let Some(twin) = entry.twin {
        let differs = if twin.differs.is_empty() { String::new() } else { format!("; {}", twin.differs) };
        line(format_args!("known elsewhere as {}{differs}", twin.name))?;
    }
    let Some(width) = entry.settings.iter().map(|setting| setting.name.len()).max() else {
        return line("it has no settings");
    };
    for setting in &entry.settings {
        line(format_args!("  {:width$}  {}", setting.name, setting.help))?;
        let range = if setting.range.is_any() { String::new() } else { format!(", {}", setting.range) };
        let default = match (&setting.default, setting.required) {
            (Some(default), _) => format!("; {default} by default"),
            (None, true) => "; required".into(),
            (None, false) => String::new(),
        };
        let change = if setting.may_change { "; may change when a run goes on" } else { "" };
        line(format_args!("  {:width$}  {}{range}{default}{change}", "", setting.expects))?;
    }
    Ok(())
}

fn print_kind(kind: &str, entries: &[&Declaration], json: bool, headed: bool) -> Outcome {
    if json {
        return entries.iter().try_for_each(|entry| line(object(kind, entry)));
    }
    if headed {
        line(format_args!("{kind}:"))?;
    }
    let indent = if headed { "  " } else { "" };
    let width = entries.iter().map(|entry| entry.name.len()).max().unwrap_or(0);
    for entry in entries {
        line(format_args!("{indent}{:width$}  {}", entry.name, entry.help))?;
        for setting in &entry.settings {
            let default = match (&setting.default, setting.required) {
                (Some(default), _) => format!(" = {default}"),
                (None, true) => " (required)".into(),
                (None, false) => String::new(),
            };
            let range = if setting.range.is_any() { String::new() } else { format!(", {}", setting.range) };
            line(format_args!(
                "{indent}{:width$}    {}{default}: {}; {}{range}",
                "", setting.name, setting.help, setting.expects
            ))?;
        }
    }
    Ok(())
}
