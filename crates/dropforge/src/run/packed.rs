//! A run as one file: its weights as safetensors, which other programs read, and beside them as texts what is needed to
//! use them: the programs, what inputs look like, and what outputs mean.

use super::checksums;
use super::disk;
use super::manifest::Manifest;
use super::run_dir::{CONSTANTS, EVALUATE, MANIFEST, MODEL, PREDICT, no_checkpoint, read_latest};
use super::safetensors::{TensorFile, write_arrays};
use super::stored::{MOST_TEXT, Stored};
use super::trained::{fits, load_programs};
use crate::file::{self, FileKind};
use crate::step::Choices;
use crate::{DType, Error, Result, Runtime};
use dropforge_ir::text::Template;
use dropforge_ir::{Array, ValueType};
use std::collections::BTreeMap;
use std::path::Path;

/// What the names of tensors begin with that are no weights, but used beside them.
const CONSTANT: &str = "constant of the program: ";

/// A file that has been opened; weights are read when they are asked for.
pub(super) struct Packed {
    pub manifest: Manifest,
    pub stored: Stored,
    pub tensors: TensorFile,
}

impl Packed {
    pub fn read(file: &Path) -> Result<Packed> {
        let tensors = TensorFile::open(file)?;
        Packed::of(tensors).map_err(|error| error.context(file.display()))
    }

    fn of(mut tensors: TensorFile) -> Result<Packed> {
        let text = |name: &str| {
            let missing =
                || Error::file(format!("has no {name}: it is no packed run, `dropforge pack` makes one"));
            tensors.text(name).map(String::from).ok_or_else(missing)
        };
        let manifest = Manifest::parse(&text(MANIFEST)?).map_err(|error| error.context(MANIFEST))?;
        let predict = template(PREDICT, &text(PREDICT)?)?;
        let evaluate = tensors.text(EVALUATE).map(|text| template(EVALUATE, text)).transpose()?;
        let names: Vec<String> = tensors.types().map(|(name, _)| name.to_string()).collect();
        let mut constants = BTreeMap::new();
        for name in names {
            if let Some(plain) = name.strip_prefix(CONSTANT) {
                constants.insert(plain.to_string(), tensors.read(&name)?);
            }
        }
        let stored = Stored::assemble(&manifest, predict, evaluate, constants);
        Ok(Packed { manifest, stored, tensors })
    }
}

/// A program of a file, by the name that errors give it.
fn template(name: &str, text: &str) -> Result<Template> {
    Template::parse(text).map_err(|error| Error::from(error).context(name))
}

/// Makes one file of the newest checkpoint of a run: [`Trained::open`](super::Trained::open) takes it, and the commands
/// `predict` and `eval` do. It is a safetensors file, whose weights other programs read.
///
/// # Errors
/// The folder is no run or has no checkpoint, a file of it is damaged, so that what is packed could not be opened, its
/// network works with some batch sizes only, or the file cannot be written: see [`file::write`]. A file that was there
/// is then as before.
pub fn pack(run: impl AsRef<Path>, file: impl AsRef<Path>) -> Result<()> {
    let (run, path) = (run.as_ref(), file.as_ref());
    let none = || no_checkpoint(run);
    let read = |checkpoint: &Path| {
        checksums::check(checkpoint)?;
        let mut texts = BTreeMap::new();
        for name in [MANIFEST, PREDICT, EVALUATE] {
            if let Some(text) = disk::read_text_if_any(&checkpoint.join(name), MOST_TEXT)? {
                texts.insert(name.to_string(), text);
            }
        }
        let mut arrays = TensorFile::open(&checkpoint.join(MODEL))?.read_all()?;
        if let Some(mut constants) = TensorFile::open_if_any(&checkpoint.join(CONSTANTS))? {
            for (name, array) in constants.read_all()? {
                arrays.insert(format!("{CONSTANT}{name}"), array);
            }
        }
        check(&texts, &arrays).map_err(|error| error.context(checkpoint.display()))?;
        Ok((texts, arrays))
    };
    let (texts, arrays) = read_latest(run, read)?.ok_or_else(none)?;
    if !texts.contains_key(PREDICT) || !texts.contains_key(MANIFEST) {
        return Err(Error::file(format!(
            "{}: holds no program for all batch sizes, which a file needs; save the run again with this version",
            run.display()
        )));
    }
    let types: Vec<ValueType> = arrays.values().map(Array::ty).collect();
    let tensors: Vec<(&str, &ValueType)> = arrays.keys().map(String::as_str).zip(&types).collect();
    let elements: Vec<&Array> = arrays.values().collect();
    file::write(path, FileKind::PackedRun, |out| write_arrays(out, &texts, &tensors, &elements))
}

/// Whether what is to be packed can be opened: a file that cannot must not take the place of one that can.
fn check(texts: &BTreeMap<String, String>, arrays: &BTreeMap<String, Array>) -> Result<()> {
    let (Some(manifest), Some(predict)) = (texts.get(MANIFEST), texts.get(PREDICT)) else { return Ok(()) };
    let manifest = Manifest::parse(manifest).map_err(|error| error.context(MANIFEST))?;
    let evaluate = texts.get(EVALUATE).map(|text| template(EVALUATE, text)).transpose()?;
    let mut constants = BTreeMap::new();
    for (name, array) in arrays {
        if let Some(plain) = name.strip_prefix(CONSTANT) {
            constants.insert(plain.to_string(), array.clone());
        }
    }
    let stored = Stored::assemble(&manifest, template(PREDICT, predict)?, evaluate, constants);
    let elements = |name: &str, ty: &ValueType| match arrays.get(name) {
        Some(array) if array.ty() == *ty => Ok(array.clone()),
        Some(array) => {
            Err(Error::file(format!("{name} is {} in the weights, but {ty} in the program", array.ty())))
        }
        // What random numbers come from is in no file of weights.
        None if ty.dtype == DType::U32 => Err(Error::file(
            "the network draws random numbers when it predicts, and where they are is no weight that a file could hold; open the \
             folder of the run instead",
        )),
        None => Err(Error::file(format!("{name} is in the program, but not among the weights"))),
    };
    let (forward, _) = load_programs(stored, &Runtime::shared()?, Choices::new(), elements)?;
    fits(&manifest.inputs, &forward)
}
