//! Settings as TensorBoard's table of hyperparameters shows them: messages of its `plugin_data.proto`.

use super::events::{Events, Message, now};
use crate::Result;
use crate::settings::{Table, Value};

/// How a training ended, as TensorBoard's table says it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ended {
    /// Somebody ended it before it was over.
    Stopped = 0,
    Whole = 1,
    Failed = 2,
}

/// The part of TensorBoard that shows the table.
const PLUGIN: &str = "hparams";

/// Writes that a session began, then, with these settings; its figures are the scalars with these tags.
pub fn write(events: &mut Events, table: &Table, figures: &[String], began: f64) -> Result<()> {
    let mut settings = Vec::new();
    flatten("", &Value::Table(table.clone()), &mut settings);
    events.plugin("_hparams_/experiment", PLUGIN, &part(2, &experiment(&settings, figures)))?;
    events.plugin("_hparams_/session_start_info", PLUGIN, &part(3, &start(&settings, began)))
}

/// Writes that the session is over.
pub fn write_end(events: &mut Events, ended: Ended) -> Result<()> {
    events.plugin("_hparams_/session_end_info", PLUGIN, &part(4, &end(ended, now())))
}

/// A message `HParamsPluginData` with one of its parts.
fn part(field: u64, content: &Message) -> Message {
    let mut data = Message::default();
    data.bytes(field, &content.0);
    data
}

/// A message `Experiment`: the names of the settings with their types, and those of the figures.
fn experiment(settings: &[(String, Value)], figures: &[String]) -> Message {
    let mut experiment = Message::default();
    for (name, value) in settings {
        let mut info = Message::default();
        info.bytes(1, name.as_bytes());
        info.varint(4, kind(value));
        experiment.bytes(4, &info.0);
    }
    for figure in figures {
        let (mut name, mut info) = (Message::default(), Message::default());
        name.bytes(2, figure.as_bytes());
        info.bytes(1, &name.0);
        experiment.bytes(5, &info.0);
    }
    experiment
}

/// A message `SessionStartInfo`.
fn start(settings: &[(String, Value)], began: f64) -> Message {
    let mut start = Message::default();
    for (name, value) in settings {
        let mut shown = Message::default();
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
    }
    start.double(5, began);
    start
}

/// A message `SessionEndInfo`.
fn end(ended: Ended, at: f64) -> Message {
    let mut end = Message::default();
    end.varint(1, ended as u64);
    end.double(2, at);
    end
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_those_of_the_plugin() {
        let settings = [("lr".to_string(), Value::Float(1.0)), ("name".into(), Value::String("x".into()))];
        // hparam_infos is field 4, metric_infos field 5; a name's tag is field 2.
        let infos = experiment(&settings, &["mae/val".into()]);
        let expected = [
            &[0x22, 6, 0x0a, 2][..],
            b"lr",
            &[0x20, 3, 0x22, 8, 0x0a, 4],
            b"name",
            &[0x20, 1, 0x2a, 11, 0x0a, 9, 0x12, 7],
            b"mae/val",
        ];
        assert_eq!(infos.0, expected.concat());
        let ends = [Ended::Stopped, Ended::Whole, Ended::Failed].map(|ended| end(ended, 0.0).0[..2].to_vec());
        assert_eq!(ends, [[8, 0], [8, 1], [8, 2]]);
        assert_eq!(part(4, &end(Ended::Whole, 0.0)).0[..2], [0x22, 11]);
    }
}
