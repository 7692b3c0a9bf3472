//! Paths through tables: `optimizer.lr`.

use super::{TYPE, Table, Value};
use crate::{Error, ErrorKind, Result};

/// Sets the value at a dotted path, through tables that are made where they are missing and list items by number:
/// `optimizer.lr`, `model.layers.0.units`. A text that is no TOML value is taken as a text.
///
/// # Errors
/// The path is empty, or goes through something that has no parts.
///
/// ```
/// use dropforge::settings::{Table, set_path};
///
/// let mut table = Table::new();
/// set_path(&mut table, "optimizer.lr", "3e-4")?;
/// set_path(&mut table, "optimizer.type", "adamw")?;
/// assert_eq!(table.to_string(), "[optimizer]\nlr = 0.0003\ntype = \"adamw\"\n");
/// # Ok::<(), dropforge::Error>(())
/// ```
pub fn set_path(table: &mut Table, path: &str, text: &str) -> Result<()> {
    let value = parse_value(text);
    let Some((last, parents)) =
        path.split('.').collect::<Vec<_>>().split_last().map(|(l, p)| (*l, p.to_vec()))
    else {
        return Err(Error::of(ErrorKind::Setting, "the path of a setting is empty"));
    };
    if path.split('.').any(str::is_empty) {
        return Err(Error::of(
            ErrorKind::Setting,
            format!("`{path}` is no path of a setting; write one such as optimizer.lr"),
        ));
    }
    let no_parts = |part: &str| {
        Error::of(
            ErrorKind::Setting,
            format!("`{path}`: there is nothing in front of `{part}` that has such a part"),
        )
    };
    let Some((first, rest)) = parents.split_first() else {
        table.insert(last.into(), value);
        return Ok(());
    };
    let mut here = table.entry(*first).or_insert_with(|| Value::Table(Table::new()));
    for part in rest {
        here = match here {
            Value::Table(table) => table.entry(*part).or_insert_with(|| Value::Table(Table::new())),
            Value::Array(items) => part
                .parse()
                .ok()
                .and_then(|index: usize| items.get_mut(index))
                .ok_or_else(|| no_parts(part))?,
            _ => return Err(no_parts(part)),
        };
    }
    match here {
        Value::Table(table) => drop(table.insert(last.into(), value)),
        Value::Array(items) => {
            let item = last.parse().ok().and_then(|index: usize| items.get_mut(index));
            *item.ok_or_else(|| no_parts(last))? = value;
        }
        // A name alone, such as `optimizer = "adam"`, gets settings.
        Value::String(name) => {
            let mut table = Table::new();
            table.insert(super::TYPE.into(), Value::String(name.clone()));
            table.insert(last.into(), value);
            *here = Value::Table(table);
        }
        _ => return Err(no_parts(last)),
    }
    Ok(())
}

/// A value as it stands in a TOML file, or the text itself.
fn parse_value(text: &str) -> Value {
    let parsed = toml::from_str::<Table>(&format!("value = {text}")).ok().and_then(|mut t| t.remove("value"));
    parsed.unwrap_or_else(|| Value::String(text.into()))
}

/// The paths at which two values differ, with both, in order; a part that is missing on one side is `None`.
pub fn differences<'a>(
    old: &'a Value,
    new: &'a Value,
) -> Vec<(String, Option<&'a Value>, Option<&'a Value>)> {
    let mut found = Vec::new();
    compare("", Some(old), Some(new), &mut found);
    found
}

fn compare<'a>(
    path: &str,
    old: Option<&'a Value>,
    new: Option<&'a Value>,
    found: &mut Vec<(String, Option<&'a Value>, Option<&'a Value>)>,
) {
    let inner = |key: &str| if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
    match (old, new) {
        // Of another thing by another name all settings are others: the name says it.
        (Some(Value::Table(a)), Some(Value::Table(b))) if a.get(TYPE) != b.get(TYPE) => {
            found.push((inner(TYPE), a.get(TYPE), b.get(TYPE)));
        }
        (Some(Value::Table(a)), Some(Value::Table(b))) => {
            let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
            keys.sort();
            keys.dedup();
            keys.into_iter().for_each(|key| compare(&inner(key), a.get(key), b.get(key), found));
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            (0..a.len().max(b.len()))
                .for_each(|i| compare(&inner(&i.to_string()), a.get(i), b.get(i), found));
        }
        (old, new) if old == new => {}
        (old, new) => found.push((path.to_string(), old, new)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_through_tables_and_lists() {
        let mut table: Table =
            toml::from_str("optimizer = 'adam'\n[model]\nlayers = [{ type = 'dense', units = 3 }]").unwrap();
        set_path(&mut table, "optimizer.betas", "[0.5, 0.9]").unwrap();
        set_path(&mut table, "model.layers.0.units", "7").unwrap();
        set_path(&mut table, "epochs", "3").unwrap();
        set_path(&mut table, "data", "folder:some where").unwrap();
        assert_eq!(table["optimizer"]["type"].as_str(), Some("adam"));
        assert_eq!(table["optimizer"]["betas"][0].as_float(), Some(0.5));
        assert_eq!(table["model"]["layers"][0]["units"].as_integer(), Some(7));
        assert_eq!(table["data"].as_str(), Some("folder:some where"));
        for wrong in ["", "a..b", "epochs.x", "epochs.x.y", "model.layers.9", "model.layers.9.units"] {
            assert!(set_path(&mut table, wrong, "1").is_err(), "{wrong}");
        }
    }

    #[test]
    fn differences_are_named_by_path() {
        let old: Value = toml::from_str("a = 1\n[b]\nc = [1, 2]\nd = 'x'").unwrap();
        let new: Value = toml::from_str("a = 1\n[b]\nc = [1, 3, 4]\ne = 'x'").unwrap();
        let paths: Vec<String> = differences(&old, &new).into_iter().map(|(path, ..)| path).collect();
        assert_eq!(paths, ["b.c.1", "b.c.2", "b.d", "b.e"]);
        assert!(differences(&old, &old).is_empty());
        let old: Value = toml::from_str("a = { type = 'x', b = 1 }").unwrap();
        let new: Value = toml::from_str("a = { type = 'y', c = 1 }").unwrap();
        let paths: Vec<String> = differences(&old, &new).into_iter().map(|(path, ..)| path).collect();
        assert_eq!(paths, ["a.type"]);
        let new: Value = toml::from_str("a = { layers = [] }").unwrap();
        let paths: Vec<String> = differences(&old, &new).into_iter().map(|(path, ..)| path).collect();
        assert_eq!(paths, ["a.type"]);
    }
}
