//! `dropforge list`: what names can stand for.

use crate::args::List;
use crate::output::{Outcome, line};
use dropforge::run::RunConfig;
use dropforge::run::registry::registry;
use dropforge::settings::{Declaration, Described, Setting, unknown};
use serde_json::{Value, json};

pub fn run(args: &List) -> Outcome {
    let settings = RunConfig::declaration();
    let kinds = registry().kinds().into_iter().map(|listing| (listing.plural, listing.entries));
    let kinds: Vec<_> = kinds.chain([("settings", vec![&settings])]).collect();
    let names: Vec<&str> = kinds.iter().map(|(name, _)| *name).collect();
    if let Some(kind) = args.kind.as_deref().filter(|kind| !names.contains(kind)) {
        return Err(unknown("there are no", kind, "there are", &names).into());
    }
    let wanted = |name: &str| args.kind.as_deref().is_none_or(|kind| kind == name);
    for (kind, entries) in kinds.iter().filter(|(name, _)| wanted(name)) {
        if args.json {
            entries.iter().try_for_each(|entry| line(object(kind, entry)))?;
        } else {
            print_kind(kind, entries, args.kind.is_none())?;
        }
    }
    Ok(())
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

fn print_kind(kind: &str, entries: &[&Declaration], headed: bool) -> Outcome {
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
