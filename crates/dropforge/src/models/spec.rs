//! Models by name, and layers listed in a TOML or JSON file.

use crate::run::toml_message;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A model as it stands in a configuration: a name that is built in, or layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// A name of [`ModelSpec::NAMES`] or, with layers, any.
    pub name: String,
    /// The layers, in order; empty for a model that is built in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerSpec>,
}

/// One extent for height and width, or one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a whole number, or [height, width]")]
pub enum Extent {
    /// The same for both.
    Square(usize),
    /// Height, then width.
    Pair([usize; 2]),
}

impl Extent {
    /// Height and width.
    pub fn pair(self) -> [usize; 2] {
        match self {
            Extent::Square(n) => [n, n],
            Extent::Pair(pair) => pair,
        }
    }
}

/// Rows and columns of zeros around an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected \"same\", a whole number, or [height, width]")]
pub enum Padding {
    /// As much as leaves the size unchanged at stride 1.
    Same(SameName),
    /// This much on each side.
    Extent(Extent),
}

/// The word for [`Padding::Same`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SameName {
    /// `"same"`
    Same,
}

/// A layer in a file, with its options. Defaults are PyTorch's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs, reason = "the options are those of the layers of the same name")]
pub enum LayerSpec {
    Dense {
        units: usize,
        #[serde(default = "yes")]
        bias: bool,
    },
    Conv {
        channels: usize,
        kernel: Extent,
        #[serde(default = "one")]
        stride: Extent,
        #[serde(default = "no_padding")]
        padding: Padding,
        #[serde(default = "one")]
        dilation: Extent,
        #[serde(default = "one_group")]
        groups: usize,
        #[serde(default = "yes")]
        bias: bool,
    },
    MaxPool {
        size: Extent,
        stride: Option<Extent>,
        #[serde(default = "none")]
        padding: Extent,
    },
    AvgPool {
        size: Extent,
        stride: Option<Extent>,
        #[serde(default = "none")]
        padding: Extent,
    },
    GlobalAvgPool {},
    Flatten {},
    Relu {},
    Sigmoid {},
    Tanh {},
    Gelu {},
    Softmax {},
    Dropout {
        #[serde(default = "half")]
        p: f64,
    },
    BatchNorm {
        #[serde(default = "batch_norm_eps")]
        eps: f64,
        #[serde(default = "batch_norm_momentum")]
        momentum: f64,
    },
}

fn yes() -> bool {
    true
}

fn one() -> Extent {
    Extent::Square(1)
}

fn none() -> Extent {
    Extent::Square(0)
}

fn one_group() -> usize {
    1
}

fn no_padding() -> Padding {
    Padding::Extent(none())
}

fn half() -> f64 {
    0.5
}

fn batch_norm_eps() -> f64 {
    1e-5
}

fn batch_norm_momentum() -> f64 {
    0.1
}

impl ModelSpec {
    /// The model that is meant on a command line: a name that is built in, or a file ending in `.toml` or `.json`.
    ///
    /// # Errors
    /// The name is unknown, or the file is missing or has a mistake; the message names the file, the layer and the key.
    pub fn parse(text: &str) -> Result<ModelSpec> {
        let path = Path::new(text);
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml" | "json") => ModelSpec::read(path),
            _ => {
                let spec = ModelSpec { name: text.into(), layers: Vec::new() };
                spec.check()?;
                Ok(spec)
            }
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
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::new(format!("{}: cannot read it: {error}", path.display())))?;
        let parse = || {
            let value = if path.extension().is_some_and(|extension| extension == "json") {
                serde_json::from_str(&text).map_err(|error| Error::new(format!("no valid JSON: {error}")))?
            } else {
                toml::from_str(&text).map_err(|error| Error::new(toml_message(&text, &error)))?
            };
            let name = path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into());
            ModelSpec::from_value(value, name)
        };
        parse().map_err(|error: Error| error.context(path.display()))
    }

    fn from_value(value: serde_json::Value, file_name: String) -> Result<ModelSpec> {
        let serde_json::Value::Object(mut table) = value else {
            return Err(Error::new("should be a table with the key `layers`"));
        };
        let name = match table.remove("name") {
            None => file_name,
            Some(serde_json::Value::String(name)) => name,
            Some(_) => return Err(Error::new("`name` should be a text")),
        };
        let Some(layers) = table.remove("layers") else {
            return Err(Error::new("has no `layers`; list them, each with its `type`"));
        };
        if let Some(key) = table.keys().next() {
            return Err(Error::new(format!("unknown key `{key}`, expected `name` or `layers`")));
        }
        let serde_json::Value::Array(layers) = layers else {
            return Err(Error::new("`layers` should be a list"));
        };
        if layers.is_empty() {
            return Err(Error::new("`layers` is empty; list at least one"));
        }
        let layer = |(index, value): (usize, serde_json::Value)| {
            let kind = value.get("type").and_then(|kind| kind.as_str()).map(|kind| format!(" ({kind})"));
            serde_json::from_value::<LayerSpec>(value)
                .map_err(|error| Error::new(format!("layer {index}{}: {error}", kind.unwrap_or_default())))
        };
        let spec =
            ModelSpec { name, layers: layers.into_iter().enumerate().map(layer).collect::<Result<_>>()? };
        spec.check()?;
        Ok(spec)
    }

    /// Refuses an unknown name, and options that no layer can have.
    ///
    /// # Errors
    /// The message names the model or the layer, and what is possible.
    pub fn check(&self) -> Result<()> {
        if self.layers.is_empty() {
            if ModelSpec::NAMES.contains(&self.name.as_str()) {
                return Ok(());
            }
            return Err(Error::new(format!(
                "unknown model `{}`; known are {}, or a .toml or .json file that lists layers",
                self.name,
                ModelSpec::NAMES.join(", ")
            )));
        }
        for (index, layer) in self.layers.iter().enumerate() {
            layer.check().map_err(|error| error.context(format_args!("layer {index}")))?;
        }
        Ok(())
    }
}

impl LayerSpec {
    fn check(&self) -> Result<()> {
        let positive = |what: &str, extents: &[usize]| match extents.contains(&0) {
            true => Err(Error::new(format!("`{what}` is 0, it must be 1 or more"))),
            false => Ok(()),
        };
        match self {
            LayerSpec::Dense { units, .. } => positive("units", &[*units]),
            LayerSpec::Conv { channels, kernel, stride, dilation, groups, .. } => {
                positive("channels", &[*channels])?;
                positive("kernel", &kernel.pair())?;
                positive("stride", &stride.pair())?;
                positive("dilation", &dilation.pair())?;
                positive("groups", &[*groups])
            }
            LayerSpec::MaxPool { size, stride, .. } | LayerSpec::AvgPool { size, stride, .. } => {
                positive("size", &size.pair())?;
                positive("stride", &stride.unwrap_or(*size).pair())
            }
            LayerSpec::Dropout { p } if !(0.0..1.0).contains(p) => {
                Err(Error::new(format!("`p` is {p}, it must be at least 0 and below 1")))
            }
            LayerSpec::BatchNorm { eps, momentum } if !(*eps >= 0.0 && (0.0..=1.0).contains(momentum)) => {
                Err(Error::new(format!("`eps` {eps} or `momentum` {momentum} is out of range")))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ModelSpec> {
        let value = toml::from_str(text).map_err(|error| Error::new(toml_message(text, &error)))?;
        ModelSpec::from_value(value, "file".into())
    }

    #[test]
    fn layers_with_defaults() {
        let spec = parse(
            "layers = [{ type = 'conv', channels = 8, kernel = [3, 5], padding = 'same' }, { type = 'relu' },
                { type = 'max_pool', size = 2 }, { type = 'flatten' }, { type = 'dense', units = 10 }]",
        )
        .unwrap();
        assert_eq!((spec.name.as_str(), spec.layers.len()), ("file", 5));
        let LayerSpec::Conv { kernel, padding, bias, .. } = &spec.layers[0] else { panic!("{spec:?}") };
        assert_eq!((kernel.pair(), *padding, *bias), ([3, 5], Padding::Same(SameName::Same), true));
        let again: ModelSpec = toml::from_str(&toml::to_string(&spec).unwrap()).unwrap();
        assert_eq!(again, spec);
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
            ("layers = [{ type = 'dense', units = -3 }]", ["layer 0", "-3", "usize"]),
            (
                "layers = [{ type = 'conv', channels = 3, kernel = 'x' }]",
                ["layer 0 (conv)", "whole number", ""],
            ),
            (
                "layers = [{ type = 'conv', channels = 3, kernel = 3, padding = 'sam' }]",
                ["layer 0", "\"same\"", ""],
            ),
            ("layers = [{ type = 'dropout', p = 1.5 }]", ["layer 0", "`p` is 1.5", "below 1"]),
            ("layers = [{ type = 'relu', p = 1.5 }]", ["layer 0 (relu)", "`p`", ""]),
            ("layers = []", ["`layers` is empty", "", ""]),
            ("layer = []", ["no `layers`", "", ""]),
            ("layers = [{ type = 'relu' }]\nepochs = 3", ["`epochs`", "`name`", "`layers`"]),
            ("layers = [", ["line 1", "", ""]),
        ] {
            let message = parse(text).unwrap_err().to_string();
            assert!(!message.contains('\n'), "{message}");
            assert!(parts.iter().all(|part| message.contains(part)), "{text}: {message}");
        }
        let message = ModelSpec::parse("lennet").unwrap_err().to_string();
        assert!(
            message.contains("`lennet`") && message.contains("lenet") && message.contains("mlp"),
            "{message}"
        );
        let message = ModelSpec::parse("nowhere/model.toml").unwrap_err().to_string();
        assert!(message.starts_with("nowhere/model.toml: cannot read it"), "{message}");
    }
}
