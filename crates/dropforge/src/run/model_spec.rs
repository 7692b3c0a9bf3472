//! Models by name, and layers listed in a TOML or JSON file.

use super::registry::{Kind, build, context};
use super::{disk, toml_message};
use crate::models::{Model, Recipe};
use crate::nn::Layer;
use crate::settings::{Context, Described, Range, SettingType, TYPE, Table, Value, unknown};
use crate::{Error, Result, described};
use std::path::Path;

const NAME: &str = "name";
const LAYERS: &str = "layers";

/// What a network of layers says, as a `[model]` or as a file.
pub(super) struct ListedLayers {
    name: String,
    layers: Vec<Box<dyn Layer>>,
}

described! {
    ListedLayers = "layers", "a network of its own: a file for --model, or `[model]` without `type`";
    name: String, Some(String::new()), Range::ANY, "what it is called; a file by its own name by default";
    layers: Vec<Box<dyn Layer>>, None, Range::ANY, "the layers, one after another: `[[layers]]`";
}

/// A model as it stands in a configuration: one that the registry knows, with its settings, or layers with a name.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    /// Name and settings, or name and layers, complete.
    table: Table,
}

impl ModelSpec {
    /// The model that is meant on a command line: a name that is built in, or a file ending in `.toml` or `.json`.
    ///
    /// # Errors
    /// The name is unknown, or the file is missing or has a mistake; the message names the file, the layer and the key.
    pub fn parse(text: &str) -> Result<ModelSpec> {
        let path = Path::new(text);
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        match extension.as_deref() {
            Some("toml" | "json") => ModelSpec::read(path),
            _ => ModelSpec::new(&Value::String(text.into())),
        }
    }

    /// Reads a file that lists layers.
    ///
    /// ```toml
    /// [[layers]]
    /// type = "conv"
    /// channels = 8
    /// kernel = 3
    /// padding = "same"
    ///
    /// [[layers]]
    /// type = "relu"
    /// ```
    ///
    /// # Errors
    /// The file is missing, neither TOML nor JSON by its ending, or has a mistake.
    pub fn read(path: impl AsRef<Path>) -> Result<ModelSpec> {
        let path = path.as_ref();
        let text = disk::read_text_file(path)?;
        // Editors of some systems put a mark in front that says nothing.
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let parse = || {
            let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
            let mut table: Table = match is_json {
                true => serde_json::from_str(text)
                    .map_err(|error| Error::setting(format!("no valid JSON: {error}")))?,
                false => toml::from_str(text).map_err(|error| Error::setting(toml_message(text, &error)))?,
            };
            if !table.contains_key(LAYERS) && !table.contains_key(TYPE) {
                return Err(Error::setting("has no `layers`; list them, each with its `type`"));
            }
            let name = || path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into());
            if table.contains_key(LAYERS) && !table.contains_key(TYPE) {
                table.entry(NAME).or_insert_with(|| Value::String(name()));
            }
            ModelSpec::new(&Value::Table(table))
        };
        parse().map_err(|error: Error| error.context(path.display()))
    }

    /// The model that a name, a table with `type`, or a table with `name` and `layers` stands for.
    ///
    /// # Errors
    /// There is no such name, or a setting is wrong; the message names the layer and the key.
    pub fn new(value: &Value) -> Result<ModelSpec> {
        match value {
            Value::Table(table) if table.contains_key(LAYERS) && !table.contains_key(TYPE) => {
                ModelSpec::listed(table)
            }
            _ => match build::<dyn Model>(value) {
                Ok(model) => Ok(ModelSpec { table: model.config()? }),
                Err(error) if matches!(value, Value::String(_)) => {
                    Err(Error::setting(format!("{error}, or a .toml or .json file that lists layers")))
                }
                Err(error) => Err(error),
            },
        }
    }

    fn listed(table: &Table) -> Result<ModelSpec> {
        let declared = ListedLayers::declaration().settings;
        let known: Vec<&str> = declared.iter().map(|setting| setting.name).collect();
        if let Some(key) = table.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(unknown("a list of layers has no", key, "it has", &known));
        }
        let name = table.get(NAME).map_or(Ok(String::new()), |name| String::read(name, &Context::NONE));
        let name = name.map_err(|error| error.context("`name`"))?;
        match &table[LAYERS] {
            Value::Array(layers) if layers.is_empty() => {
                return Err(Error::setting("`layers` is empty; list at least one"));
            }
            Value::Array(_) => {}
            _ => return Err(Error::setting("`layers` should be a list")),
        }
        let layers: Box<dyn Layer> = SettingType::read(&table[LAYERS], &context())?;
        let table = Table::from_iter([
            (NAME.to_string(), Value::String(name)),
            (LAYERS.to_string(), layers.config()?),
        ]);
        Ok(ModelSpec { table })
    }

    fn model(&self) -> Option<Box<dyn Model>> {
        build(&Value::Table(self.table.clone())).ok()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.table.get(TYPE).or(self.table.get(NAME)).and_then(Value::as_str).unwrap_or_default()
    }

    /// The layers of the model. A built-in one has `outputs` outputs; a list of layers is taken as it stands.
    ///
    /// # Errors
    /// Only if there is a bug: what was read can be built.
    pub fn build(&self, outputs: usize) -> Result<Box<dyn Layer>> {
        match self.table.get(LAYERS) {
            Some(layers) if !self.table.contains_key(TYPE) => SettingType::read(layers, &context()),
            _ => build::<dyn Model>(&Value::Table(self.table.clone())).map(|model| model.layers(outputs)),
        }
    }

    /// The shape of a sample that the model is usually used with.
    pub fn usual_input(&self) -> Vec<usize> {
        self.model().map_or_else(|| vec![1, 28, 28], |model| model.usual_input())
    }

    /// Whether a sample of the model is token numbers, i32; `None` for a list of layers, which does not say.
    pub fn takes_tokens(&self) -> Option<bool> {
        self.model().map(|model| model.takes_tokens())
    }

    /// The loss that belongs to the model, if it is not one of what it gives and the targets.
    pub fn usual_loss(&self) -> Option<&'static str> {
        self.model().and_then(|model| model.usual_loss())
    }

    /// How the model is trained unless told otherwise.
    pub fn recipe(&self) -> Recipe {
        self.model().map_or_else(|| Recipe::adam(2e-3), |model| model.recipe())
    }
}

impl SettingType for ModelSpec {
    fn expects() -> String {
        "a model's name, a table with `type` and settings, or a list of `layers`".into()
    }

    fn read(value: &Value, _: &Context<'_>) -> Result<ModelSpec> {
        ModelSpec::new(value)
    }

    fn kind() -> Option<&'static str> {
        Some(<dyn Model>::KIND)
    }

    fn write(&self) -> Result<Option<Value>> {
        Ok(Some(Value::Table(self.table.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ModelSpec> {
        let table: Table = toml::from_str(text).map_err(|error| Error::new(toml_message(text, &error)))?;
        ModelSpec::new(&Value::Table(table))
    }

    #[test]
    fn layers_with_defaults() {
        let spec = parse(
            "layers = [{ type = 'conv', channels = 8, kernel = [3, 5], padding = 'same' }, { type = 'relu' },
                { type = 'max_pool', size = 2 }, 'flatten', { type = 'dense', units = 10, name = 'fc' },
                { type = 'repeat', times = 2, body = [{ type = 'residual', body = { type = 'dense', units = 10 } }] }]",
        )
        .unwrap();
        let layers = spec.table["layers"].as_array().unwrap();
        assert_eq!(layers.len(), 6);
        assert_eq!(layers[0]["padding"].as_str(), Some("same"));
        assert_eq!(layers[0]["kernel"], Value::Array(vec![Value::Integer(3), Value::Integer(5)]));
        assert_eq!(layers[0]["bias"].as_bool(), Some(true));
        assert_eq!(layers[4]["name"].as_str(), Some("fc"));
        let again = ModelSpec::new(&Value::Table(spec.table.clone())).unwrap();
        assert_eq!(again, spec);
        let network = crate::step::Network::compile(spec.build(0).unwrap(), [1, 8, 8]).unwrap();
        let names: Vec<&str> = network.states().iter().map(|state| state.name()).collect();
        assert_eq!(
            names[2..],
            ["fc.weight", "fc.bias", "5.0.0.weight", "5.0.0.bias", "5.1.0.weight", "5.1.0.bias"]
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (text, parts) in [
            ("layers = [{ type = 'dens', units = 3 }]", ["layer 0 (dens)", "`dens`", "`dense`"]),
            (
                "layers = [{ type = 'relu' }, { type = 'dense', unit = 3 }]",
                ["layer 1 (dense)", "`unit`", "`units`"],
            ),
            ("layers = [{ type = 'dense' }]", ["layer 0 (dense)", "missing", "`units`"]),
            ("layers = [{ units = 3 }]", ["layer 0", "missing", "`type`"]),
            ("layers = [{ type = 'dense', units = 0 }]", ["layer 0", "`units`", "1 or more"]),
            ("layers = [{ type = 'dense', units = -3 }]", ["layer 0", "-3", "0 or more"]),
            (
                "layers = [{ type = 'conv', channels = 3, kernel = 'x' }]",
                ["layer 0 (conv)", "whole number", ""],
            ),
            (
                "layers = [{ type = 'conv', channels = 3, kernel = 3, padding = 'sam' }]",
                ["layer 0", "\"same\"", ""],
            ),
            ("layers = [{ type = 'dropout', p = 1.5 }]", ["layer 0", "`p` is 1.5", "from 0 to 1"]),
            ("layers = [{ type = 'relu', p = 1.5 }]", ["layer 0 (relu)", "`p`", ""]),
            (
                "layers = [{ type = 'residual', body = [{ type = 'dens' }] }]",
                ["layer 0 (residual)", "`body`", "`dense`"],
            ),
            ("layers = [{ type = 'relu', name = 'a.b' }]", ["layer 0", "`name`", "dot"]),
            ("layers = []", ["`layers` is empty", "", ""]),
            ("layers = [{ type = 'relu' }]\nepochs = 3", ["`epochs`", "`name`", "`layers`"]),
            ("layers = [", ["line 1", "", ""]),
        ] {
            let message = parse(text).unwrap_err().to_string();
            assert!(!message.contains('\n'), "{message}");
            assert!(parts.iter().all(|part| message.contains(part)), "{text}: {message}");
        }
        let message = ModelSpec::parse("lennet").unwrap_err().to_string();
        assert!(
            ["`lennet`", "did you mean `lenet`", "`mlp`", ".toml"].iter().all(|part| message.contains(part)),
            "{message}"
        );
        let message = ModelSpec::parse("nowhere/model.toml").unwrap_err().to_string();
        assert!(message.starts_with("nowhere/model.toml: cannot read it"), "{message}");
    }

    #[test]
    fn deep_nesting_is_refused() {
        let mut value = Value::String("relu".into());
        for _ in 0..200 {
            let body = Table::from_iter([
                ("type".to_string(), Value::String("residual".into())),
                ("body".into(), value),
            ]);
            value = Value::Table(body);
        }
        let table = Table::from_iter([("layers".to_string(), Value::Array(vec![value]))]);
        let message = ModelSpec::new(&Value::Table(table)).unwrap_err().to_string();
        assert!(message.contains("deep"), "{message}");
    }
}
