//! ONNX files from trained networks.

use super::forward::{Forward, no_inputs};
use super::manifest::{YES, Yes};
use super::stored::{StoredProgram, predicting};
use super::{InputSpec, Trained};
use crate::file::{self, FileKind};
use crate::step::Network;
use crate::{Error, Result};
use dropforge_ir::Array;
use dropforge_onnx::{ExportOptions, Preprocessing};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

/// How a network is written as an ONNX file.
///
/// The network is that of predictions, for any batch size; initialisers have the names of the parameters. The metadata
/// of the file say what inputs and outputs mean: `classes`, `mean` and `std`, each a JSON list, and `yes`, where each
/// output says how probable a yes is, by its sigmoid (`logit`) or as it is (`probability`).
#[derive(Clone, Debug, PartialEq)]
pub struct OnnxOptions {
    opset: i64,
    raw: Raw,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Raw {
    No,
    Floats,
    Bytes,
}

impl Default for OnnxOptions {
    fn default() -> OnnxOptions {
        OnnxOptions::new()
    }
}

impl OnnxOptions {
    /// Opset 18, without preprocessing: the file takes numbers that are normalised already, and the normalisation of
    /// the run is left out, but for the metadata.
    pub fn new() -> OnnxOptions {
        OnnxOptions { opset: 18, raw: Raw::No }
    }

    /// Version of the operators: 18, the default, to 23. From 20 on a GELU is one operator.
    #[must_use]
    pub fn opset(mut self, opset: i64) -> OnnxOptions {
        self.opset = opset;
        self
    }

    /// The file takes floats from 0 to 1 and normalises them itself.
    #[must_use]
    pub fn normalising(mut self) -> OnnxOptions {
        self.raw = Raw::Floats;
        self
    }

    /// The file takes bytes, as images have them, divides them by 255 and normalises them itself.
    #[must_use]
    pub fn from_bytes(mut self) -> OnnxOptions {
        self.raw = Raw::Bytes;
        self
    }

    fn of(&self, inputs: Option<&InputSpec>, yes: Option<Yes>) -> ExportOptions {
        let mut metadata = Vec::new();
        if let Some(inputs) = inputs {
            if !inputs.classes.is_empty() {
                metadata.push(("classes".to_string(), json!(inputs.classes).to_string()));
            }
            if !inputs.mean.is_empty() {
                metadata.push(("mean".to_string(), json!(inputs.mean).to_string()));
                metadata.push(("std".to_string(), json!(inputs.std).to_string()));
            }
            if inputs.digits {
                metadata.push(("digits".to_string(), "true".to_string()));
            }
            if let Some(yes) = yes {
                metadata.push((YES.to_string(), yes.word().to_string()));
            }
            metadata.push(("preprocessing".to_string(), self.raw.name().to_string()));
        }
        let numbers = |of: fn(&InputSpec) -> &Vec<f32>| inputs.map(of).cloned().unwrap_or_default();
        let preprocessing = (self.raw != Raw::No).then(|| Preprocessing {
            mean: numbers(|inputs| &inputs.mean),
            std: numbers(|inputs| &inputs.std),
            bytes: self.raw == Raw::Bytes,
        });
        ExportOptions { opset: self.opset, name: "predict".into(), metadata, preprocessing }
    }
}

impl Raw {
    fn name(self) -> &'static str {
        match self {
            Raw::No => "none",
            Raw::Floats => "normalises",
            Raw::Bytes => "bytes",
        }
    }
}

impl Trained {
    /// Writes the network as an ONNX file.
    ///
    /// ```
    /// use dropforge::prelude::*;
    /// use dropforge::run::OnnxOptions;
    ///
    /// # let folder = std::env::temp_dir().join(format!("dropforge-doc-onnx-{}", std::process::id()));
    /// let (train, _) = datasets::digits(200, 50, 1);
    /// let mut trainer = Trainer::new(seq![flatten(), dense(10)], cross_entropy(), Adam::new(1e-2)).compile(&train)?;
    /// trainer.epoch(&train)?;
    /// trainer.save(&folder)?;
    /// let trained = Trained::open(&folder, &Runtime::shared()?)?;
    /// trained.save_onnx(folder.join("digits.onnx"), &OnnxOptions::new().from_bytes())?;
    /// # std::fs::remove_dir_all(folder).unwrap();
    /// # Ok::<(), dropforge::Error>(())
    /// ```
    ///
    /// # Errors
    /// The run was opened with layers whose program depends on the batch size otherwise than by multiples, an operation
    /// has no counterpart among ONNX's operators (random numbers), the model exceeds 2 GiB, or the file cannot be
    /// written: see [`file::write`].
    pub fn save_onnx(&self, file: impl AsRef<Path>, options: &OnnxOptions) -> Result<()> {
        let path = file.as_ref();
        let bytes = self.forward().onnx(&options.of(Some(self.inputs()), self.yes()));
        write(path, &bytes.map_err(|error| error.context(path.display()))?)
    }
}

impl Network {
    /// Writes the network, as it predicts, as an ONNX file.
    ///
    /// # Errors
    /// As [`Trained::save_onnx`].
    pub fn save_onnx(&self, file: impl AsRef<Path>, options: &OnnxOptions) -> Result<()> {
        let path = file.as_ref();
        let read = |name: &str| {
            let state = self.states().get(name);
            state.ok_or_else(|| Error::file(format!("the network has no {name}")))?.read()
        };
        let bytes = predicting(self)
            .and_then(|(program, hypers)| program.onnx(&hypers, read, &options.of(None, None)));
        write(path, &bytes.map_err(|error| error.context(path.display()))?)
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    file::write(path, FileKind::Onnx, |out| {
        out.write_all(bytes).map_err(|error| Error::io("cannot write", error))
    })
}

impl StoredProgram {
    /// The bytes of an ONNX file.
    fn onnx(
        &self,
        hypers: &BTreeMap<String, f64>,
        mut weights: impl FnMut(&str) -> Result<Array>,
        options: &ExportOptions,
    ) -> Result<Vec<u8>> {
        let [mut small, mut large] = self.two_sizes()?;
        if small.1.inputs.is_empty() {
            return Err(no_inputs());
        }
        // What looks whether indices are inside is no output of the network.
        for (_, program) in [&mut small, &mut large] {
            program.outputs.retain(|output| !output.name.starts_with("check."));
        }
        let states = |name: &str| {
            let constant = self.constants.get(name).cloned().map(Ok);
            let array = constant.unwrap_or_else(|| weights(name));
            array.map_err(|error| dropforge_ir::Error::new("onnx", error.to_string()))
        };
        let hypers = |name: &str| hypers.get(name).copied();
        Ok(dropforge_onnx::export([(small.0, &small.1), (large.0, &large.1)], states, hypers, options)?)
    }
}

impl Forward {
    fn onnx(&self, options: &ExportOptions) -> Result<Vec<u8>> {
        let (program, hypers) = self.stored()?;
        program.onnx(&hypers, |name| self.read(name), options)
    }
}
