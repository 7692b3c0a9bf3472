//! What a trainer was made of, as far as it has names: what a run keeps as its configuration.

use super::callback::Callback;
use crate::Result;
use crate::settings::{SettingType, Table, Value};

/// Settings under the names that files have for them, and what has none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    pub settings: Table,
    /// What no file can name, a line each: `loss: a loss made by a program ..`.
    pub unnamed: Vec<String>,
}

impl Setup {
    /// Takes a setting, or why it has no name.
    pub fn note(&mut self, setting: &str, value: Result<Value>) {
        match value {
            Ok(value) => drop(self.settings.insert(setting.into(), value)),
            Err(error) => self.unnamed.push(format!("{setting}: {error}")),
        }
    }

    /// Takes a setting that can always be written; one that is nothing is as if it had never been set.
    pub fn set(&mut self, setting: &str, value: &impl SettingType) {
        match value.write() {
            Ok(Some(value)) => drop(self.settings.insert(setting.into(), value)),
            _ => drop(self.settings.remove(setting)),
        }
    }

    /// What decides the results of a training, whoever drives it.
    pub fn deciding(&self) -> Table {
        const DECIDING: [&str; 12] = [
            "model",
            "metrics",
            "shuffle",
            "optimizer",
            "loss",
            "schedule",
            "groups",
            "accumulate",
            "clip_norm",
            "clip_value",
            "drop_last",
            "transforms",
        ];
        let named =
            DECIDING.iter().filter_map(|name| Some((name.to_string(), self.settings.get(*name)?.clone())));
        named.collect()
    }

    /// Adds to a list of settings.
    pub fn push(&mut self, list: &str, value: Result<Table>) {
        match value {
            Ok(table) => {
                let all = self.settings.entry(list).or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(all) = all {
                    all.push(Value::Table(table));
                }
            }
            Err(error) => self.unnamed.push(format!("{list}: {error}")),
        }
    }

    /// The layers of a network: a list of them, as files have it.
    pub fn layers(&mut self, config: Result<Value>) {
        let layers = match config {
            Ok(layers @ Value::Array(_)) => {
                let name = ("name".to_string(), Value::String("program".into()));
                Ok(Value::Table(Table::from_iter([name, ("layers".to_string(), layers)])))
            }
            Ok(_) => Err(crate::Error::setting(
                "one layer that is no sequence; seq![..] around it makes it a list",
            )),
            Err(error) => Err(error),
        };
        self.note("model", layers);
    }

    /// The callbacks of a fit, but for those that save and those that only look on.
    pub fn callbacks<'a>(&mut self, all: impl Iterator<Item = &'a (dyn Callback + 'a)>) {
        self.settings.remove("callbacks");
        self.unnamed.retain(|line| !line.starts_with("callbacks: "));
        for callback in all.filter(|callback| callback.folder().is_none() && !callback.only_looks_on()) {
            self.push("callbacks", callback.config());
        }
    }
}
