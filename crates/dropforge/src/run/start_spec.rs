//! The weights that a training starts from, as they stand in a configuration.

use super::{LoadOptions, LoadReport};
use crate::described;
use crate::settings::{Context, Described, Range, SettingType, Table, Value};
use crate::train::Trainer;
use crate::{Error, Result};

/// Weights to start from: `[from]` of a configuration.
///
/// ```toml
/// [from]
/// weights = "/models/resnet18.safetensors"
/// strict = false
/// rename = ["module.*=*"]
/// ignore = ["fc.*"]
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct StartSpec {
    weights: String,
    strict: bool,
    rename: Vec<String>,
    ignore: Vec<String>,
}

described! {
    StartSpec = "from", "`[from]`: the weights that training starts from; a text is its `weights` alone";
    weights: String, None, Range::ANY, "a file of weights (.safetensors, .pt, .pth, .npz), an index of several, or a run";
    strict: bool, Some(true), Range::ANY, "whether everything has to fit";
    rename: Vec<String>, Some(Vec::new()), Range::ANY, "names in the file that become others, each PATTERN=NAME";
    ignore: Vec<String>, Some(Vec::new()), Range::ANY, "patterns of names in the file that are left out";
}

impl StartSpec {
    /// Loads the weights into a trainer.
    ///
    /// # Errors
    /// As [`Trainer::load_weights`], or a rule is none.
    pub fn load(&self, trainer: &mut Trainer) -> Result<LoadReport> {
        let mut options = LoadOptions::new().strict(self.strict);
        for pattern in &self.ignore {
            options = options.ignore(pattern);
        }
        for rule in &self.rename {
            let (pattern, name) = rule.split_once('=').ok_or_else(|| {
                Error::setting(format!("from: `rename` has {rule:?}; write PATTERN=NAME, such as module.*=*"))
            })?;
            options = options.rename(pattern, name);
        }
        trainer.load_weights(&self.weights, &options)
    }
}

impl SettingType for StartSpec {
    fn expects() -> String {
        "a table with `weights` and how they are read".into()
    }

    fn read(value: &Value, context: &Context<'_>) -> Result<StartSpec> {
        let table = match value {
            Value::String(path) => Table::from_iter([("weights".to_string(), Value::String(path.clone()))]),
            Value::Table(table) => table.clone(),
            _ => return Err(Error::setting(format!("should be {}", <StartSpec as SettingType>::expects()))),
        };
        <StartSpec as Described>::read(&table, context)
    }

    fn write(&self) -> Result<Option<Value>> {
        let table: Table = Described::write(self)?;
        Ok(Some(Value::Table(table)))
    }
}
