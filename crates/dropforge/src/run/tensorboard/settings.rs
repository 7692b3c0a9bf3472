//! Settings as TensorBoard's table of hyperparameters shows them: messages of its `plugin_data.proto`.

use super::events::{Events, Message, now};
use crate::Result;
use crate::settings::{Table, Value};

/// How a training ended.
const SUCCESS: u64 = 1;

/// Writes that a session has begun with these settings. What came of it are its scalars.
pub fn write(events: &mut Events, table: &Table) -> Result<()> {
    let mut settings = Vec::new();
    flatten("", &Value::Table(table.clone()), &mut settings);
    let (mut start, mut infos) = (Message::default(), Message::default());
    for (name, value) in &settings {
        let (mut shown, kind) = (Message::default(), kind(value));
        match value {
            Value::Boolean(on) => shown.varint(4, (*on).into()),
            Value::Integer(number) => shown.double(2, *number as f64),
            Value::Float(number) => shown.double(2, *number),
            Value::String(text) => shown.bytes(3, text.as_bytes()),
            other => shown.bytes(3, other.to_string().as_bytes()),
        }
        let mut entry = Message::default();
        entry.bytes(1, name.as_bytes());
        entry.bytes(2, &shown.0);
        start.bytes(1, &entry.0);
        let mut info = Message::default();
        info.bytes(1, name.as_bytes());
        info.varint(4, kind);
        infos.bytes(5, &info.0);
    }
    for metric in ["loss/train", "loss/val", "accuracy/val"] {
        let (mut name, mut info) = (Message::default(), Message::default());
        name.bytes(2, metric.as_bytes());
        info.bytes(1, &name.0);
        infos.bytes(6, &info.0);
    }
    start.double(5, now());
    let mut end = Message::default();
    end.varint(1, SUCCESS);
    end.double(2, now());
    for (tag, field, content) in
        [("experiment", 2, infos), ("session_start_info", 3, start), ("session_end_info", 4, end)]
    {
        let mut data = Message::default();
        data.bytes(field, &content.0);
        events.plugin(&format!("_hparams_/{tag}"), "hparams", &data)?;
    }
    Ok(())
}

/// The type of a value in TensorBoard: text, whether or not, number.
fn kind(value: &Value) -> u64 {
    match value {
        Value::Boolean(_) => 2,
        Value::Integer(_) | Value::Float(_) => 3,
        _ => 1,
    }
}

/// Each setting by its path; lists as text.
fn flatten(path: &str, value: &Value, all: &mut Vec<(String, Value)>) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                flatten(&path, value, all);
            }
        }
        other => all.push((path.into(), other.clone())),
    }
}
