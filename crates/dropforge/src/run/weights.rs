//! Weights apart from runs: read from files of other programs, whatever they call them, and written for these.

use super::Trained;
use super::pickle;
use super::run_dir::latest_checkpoint;
use super::safetensors::{TensorFile, write};
use super::{calls, disk};
use crate::file::{self, FileKind};
use crate::nn::StateKind;
use crate::step::{Network, State, States};
use crate::train::Trainer;
use crate::{Error, Result, Tensor};
use dropforge_ir::{Array, DType, Data, ValueType};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

/// File of the index of weights that are split over several files.
const INDEX: &str = "model.safetensors.index.json";
/// File of weights that are in one.
const SINGLE: &str = "model.safetensors";
/// Bytes that an index has at most.
const MOST_INDEX: u64 = 64 << 20;
/// Bytes that a file of PyTorch has at most: larger archives have another directory.
const MOST_PICKLE: u64 = 4 << 30;
/// How many names of a sort a message lists.
const SHOWN: usize = 6;

/// How names in a file become names of the network, and how much may be left over.
///
/// ```
/// use dropforge::run::LoadOptions;
///
/// let options = LoadOptions::new()
///     .strip_prefix("model.")
///     .ignore("*.mask")
///     .rename("encoder.*.norm.gamma", "blocks.*.norm.weight");
/// assert_eq!(options.name("model.encoder.3.norm.gamma").as_deref(), Some("blocks.3.norm.weight"));
/// assert_eq!(options.name("model.encoder.3.mask"), None);
/// ```
#[derive(Clone, Debug)]
pub struct LoadOptions {
    strict: bool,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
enum Rule {
    StripPrefix(String),
    AddPrefix(String),
    Rename(String, String),
    Ignore(String),
    Transpose(String),
}

impl Default for LoadOptions {
    fn default() -> LoadOptions {
        LoadOptions::new()
    }
}

impl LoadOptions {
    /// Strict, without rules but one: PyTorch's counters `*.num_batches_tracked` are ignored, which nothing reads.
    pub fn new() -> LoadOptions {
        LoadOptions { strict: true, rules: vec![Rule::Ignore("*num_batches_tracked".into())] }
    }

    /// For [`gpt`](crate::models::gpt) from the weights of GPT-2 as Hugging Face stores them: the prefix `transformer.`
    /// is taken off if it is there, the weights of its Conv1D layers are turned, masks and the shared head are ignored.
    pub fn gpt2() -> LoadOptions {
        let options = LoadOptions::new().strip_prefix("transformer.");
        let ignored = ["lm_head.weight", "h.*.attn.bias", "h.*.attn.masked_bias"];
        let turned = ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"];
        let options = ignored.into_iter().fold(options, LoadOptions::ignore);
        turned.into_iter().fold(options, |options, layer| options.transpose(format!("h.*.{layer}.weight")))
    }

    /// Whether everything has to fit: all of the network's parameters and statistics are in the file, and nothing else.
    /// Otherwise what fits is loaded, and the report says what does not. Default `true`.
    #[must_use]
    pub fn strict(mut self, strict: bool) -> LoadOptions {
        self.strict = strict;
        self
    }

    /// Takes this off the start of the names that have it.
    #[must_use]
    pub fn strip_prefix(mut self, prefix: impl Into<String>) -> LoadOptions {
        self.rules.push(Rule::StripPrefix(prefix.into()));
        self
    }

    /// Puts this before all names.
    #[must_use]
    pub fn add_prefix(mut self, prefix: impl Into<String>) -> LoadOptions {
        self.rules.push(Rule::AddPrefix(prefix.into()));
        self
    }

    /// Renames what a pattern fits, in which `*` stands for any characters and `?` for one. Each `*` of the replacement
    /// becomes what the `*` at the same place of the pattern stood for. Rules apply in order, each to what the one
    /// before gave.
    #[must_use]
    pub fn rename(mut self, pattern: impl Into<String>, replacement: impl Into<String>) -> LoadOptions {
        self.rules.push(Rule::Rename(pattern.into(), replacement.into()));
        self
    }

    /// Leaves out what a pattern fits.
    #[must_use]
    pub fn ignore(mut self, pattern: impl Into<String>) -> LoadOptions {
        self.rules.push(Rule::Ignore(pattern.into()));
        self
    }

    /// Swaps rows and columns of what a pattern fits, by the name that the rules so far have given it.
    #[must_use]
    pub fn transpose(mut self, pattern: impl Into<String>) -> LoadOptions {
        self.rules.push(Rule::Transpose(pattern.into()));
        self
    }

    /// The name in the network of a tensor with this name in the file; `None` if it is ignored.
    pub fn name(&self, name: &str) -> Option<String> {
        self.apply(name).map(|(name, _)| name)
    }

    /// The name in the network, and whether rows and columns are swapped.
    fn apply(&self, name: &str) -> Option<(String, bool)> {
        let (mut name, mut transposed) = (name.to_string(), false);
        for rule in &self.rules {
            match rule {
                Rule::StripPrefix(prefix) => {
                    name = name.strip_prefix(prefix.as_str()).map(String::from).unwrap_or(name);
                }
                Rule::AddPrefix(prefix) => name.insert_str(0, prefix),
                Rule::Rename(pattern, replacement) => {
                    if let Some(parts) = fit(pattern, &name) {
                        name = fill(replacement, &parts);
                    }
                }
                Rule::Ignore(pattern) if fit(pattern, &name).is_some() => return None,
                Rule::Transpose(pattern) => transposed ^= fit(pattern, &name).is_some(),
                Rule::Ignore(_) => {}
            }
        }
        Some((name, transposed))
    }
}

/// What the stars of a pattern stand for in a text that it fits; the first of them as little as possible.
fn fit<'a>(pattern: &str, text: &'a str) -> Option<Vec<&'a str>> {
    let pattern: Vec<char> = pattern.chars().collect();
    let places: Vec<(usize, char)> = text.char_indices().collect();
    let byte = |index: usize| places.get(index).map_or(text.len(), |(byte, _)| *byte);
    // For each star so far: its place in the pattern, where it begins in the text, where it ends.
    let mut stars: Vec<(usize, usize, usize)> = Vec::new();
    let (mut p, mut t) = (0, 0);
    loop {
        let fits = match pattern.get(p) {
            Some('*') => {
                stars.push((p, t, t));
                p += 1;
                continue;
            }
            Some('?') => t < places.len(),
            Some(c) => places.get(t).is_some_and(|(_, other)| other == c),
            None if t == places.len() => {
                return Some(stars.iter().map(|&(_, from, to)| &text[byte(from)..byte(to)]).collect());
            }
            None => false,
        };
        if fits {
            (p, t) = (p + 1, t + 1);
            continue;
        }
        // The last star stands for one character more. An earlier one need not: what follows it has been found at the
        // first place where it is.
        let (place, _, to) = stars.last_mut()?;
        *to += 1;
        if *to > places.len() {
            return None;
        }
        (p, t) = (*place + 1, *to);
    }
}

fn fill(replacement: &str, parts: &[&str]) -> String {
    let mut parts = parts.iter();
    replacement.chars().fold(String::new(), |mut text, c| {
        match c {
            '*' => text.push_str(parts.next().copied().unwrap_or_default()),
            c => text.push(c),
        }
        text
    })
}

/// What came of loading weights. [`Display`](fmt::Display) gives one line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadReport {
    /// States of the network that were loaded.
    pub loaded: Vec<String>,
    /// States of the network that the file does not have; they are as before.
    pub missing: Vec<String>,
    /// Tensors of the file, by the names that the rules gave them, that the network does not have.
    pub unexpected: Vec<String>,
    /// Names of both that are of another type or shape: name, what it is in the file, what it is in the network.
    pub mismatched: Vec<(String, String, String)>,
}

impl LoadReport {
    /// Whether everything has fitted.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.mismatched.is_empty()
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} loaded", self.loaded.len())?;
        let mismatched: Vec<String> = self
            .mismatched
            .iter()
            .map(|(name, file, network)| format!("{name} ({file} in the file, {network} in the network)"))
            .collect();
        for (what, names) in [
            ("missing", &self.missing),
            ("unexpected", &self.unexpected),
            ("of another shape or type", &mismatched),
        ] {
            if names.is_empty() {
                continue;
            }
            let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
            write!(f, "; {} {what}: {shown}", names.len())?;
            if names.len() > SHOWN {
                write!(f, " and {} more", names.len() - SHOWN)?;
            }
        }
        Ok(())
    }
}

/// One tensor of the weights: its file, its name there, whether it is turned.
struct Place {
    file: usize,
    name: String,
    transposed: bool,
}

/// Reads the weights of a file into states. Nothing changes before it is known what fits.
fn load(states: &States, path: &Path, options: &LoadOptions) -> Result<LoadReport> {
    let mut files = open(path)?;
    let mut places: BTreeMap<String, Place> = BTreeMap::new();
    for (index, file) in files.iter().enumerate() {
        for name in file.names() {
            let Some((renamed, transposed)) = options.apply(&name) else { continue };
            let place = Place { file: index, name: name.clone(), transposed };
            if let Some(other) = places.insert(renamed.clone(), place) {
                return Err(Error::file(format!(
                    "{}: both {} and {name} become {renamed} by the rules",
                    path.display(),
                    other.name
                )));
            }
        }
    }
    let mut report = LoadReport::default();
    let mut fitting = Vec::new();
    for state in states.iter().filter(|state| is_weight(state)) {
        let Some(place) = places.remove(state.name()) else {
            report.missing.push(state.name().into());
            continue;
        };
        let (file, network) = (files[place.file].ty(&place.name), state.ty());
        match file {
            Some(Ok(file)) if fits(&file, network, place.transposed) => fitting.push((state, place)),
            Some(Ok(file)) => {
                report.mismatched.push((state.name().into(), file.to_string(), network.to_string()));
            }
            Some(Err(error)) => {
                report.mismatched.push((state.name().into(), error.to_string(), network.to_string()));
            }
            None => report.missing.push(state.name().into()),
        }
    }
    report.unexpected = places.into_keys().collect();
    report.loaded = fitting.iter().map(|(state, _)| state.name().to_string()).collect();
    if options.strict && !report.is_complete() {
        return Err(Error::file(format!(
            "{}: does not fit the network: {}",
            path.display(),
            report.to_string().split_once("; ").map_or("", |(_, rest)| rest)
        ))
        .advice(
            "add rules that rename, or load what fits with strict(false)",
            "rename with --rename PATTERN=NAME, leave out with --ignore PATTERN, or load what fits with --partly",
        ));
    }
    if report.loaded.is_empty() {
        return Err(Error::file(format!("{}: nothing in it fits the network: {report}", path.display())));
    }
    // All is read before anything is written, so that a damaged file changes nothing.
    let arrays = fitting.iter().map(|(state, place)| {
        let array = files[place.file].read(&place.name)?;
        let array = if place.transposed { transpose(&array) } else { Some(array) };
        let array = array.and_then(|array| widen(array, state.ty().dtype));
        array.ok_or_else(|| Error::file(format!("{}: cannot be converted", place.name)))
    });
    let arrays = arrays.collect::<Result<Vec<Array>>>()?;
    fitting.iter().zip(&arrays).try_for_each(|((state, _), array)| state.write(array))?;
    Ok(report)
}

fn is_weight(state: &State) -> bool {
    matches!(state.kind(), StateKind::Parameter | StateKind::Statistic)
}

/// Whether a tensor of the file can be loaded: the shape is the same, halves are widened.
fn fits(file: &ValueType, network: &ValueType, transposed: bool) -> bool {
    let shape = match (&*file.shape, transposed) {
        (&[rows, columns], true) => vec![columns, rows],
        (_, true) => return false,
        (shape, false) => shape.to_vec(),
    };
    let dtype = file.dtype == network.dtype || (file.dtype.is_half() && network.dtype == DType::F32);
    dtype && *network.shape == *shape
}

fn transpose(array: &Array) -> Option<Array> {
    let &[rows, columns] = &**array.shape() else { return None };
    let size = array.data().dtype().size();
    let from = array.data().bytes();
    let mut bytes = Vec::with_capacity(from.len());
    for column in 0..columns {
        for row in 0..rows {
            let at = (row * columns + column) * size;
            bytes.extend_from_slice(&from[at..at + size]);
        }
    }
    Array::new([columns, rows], Data::from_bytes(array.data().dtype(), &bytes)?)
}

fn widen(array: Array, wanted: DType) -> Option<Array> {
    if array.data().dtype() == wanted {
        return Some(array);
    }
    Array::new(array.shape().clone(), Data::F32(array.to_f32()?))
}

/// A file of weights: one of safetensors, whose tensors are read when they are asked for, or one that has been read
/// whole.
enum WeightFile {
    Safetensors(TensorFile),
    Whole(BTreeMap<String, Array>),
}

impl WeightFile {
    /// A file by what its name ends in: `.pt`, `.pth` and `.bin` are PyTorch's, `.npz` is NumPy's, others are
    /// safetensors.
    fn open(path: &Path) -> Result<WeightFile> {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        let arrays = match extension.as_deref() {
            Some("pt" | "pth" | "bin" | "ckpt") => pickle::read(&disk::read_bytes(path, MOST_PICKLE)?),
            Some("npz") => {
                let tensors = Tensor::load_npz(path)?;
                return tensors
                    .into_iter()
                    .map(|(name, tensor)| Ok((name, tensor.to_array()?)))
                    .collect::<Result<_>>()
                    .map(WeightFile::Whole);
            }
            _ => return TensorFile::open(path).map(WeightFile::Safetensors),
        };
        arrays.map(WeightFile::Whole).map_err(|error| error.context(path.display()))
    }

    fn names(&self) -> Vec<String> {
        match self {
            WeightFile::Safetensors(file) => file.types().map(|(name, _)| name.to_string()).collect(),
            WeightFile::Whole(arrays) => arrays.keys().cloned().collect(),
        }
    }

    fn ty(&self, name: &str) -> Option<Result<ValueType>> {
        match self {
            WeightFile::Safetensors(file) => file.ty(name),
            WeightFile::Whole(arrays) => arrays.get(name).map(|array| Ok(array.ty())),
        }
    }

    fn read(&mut self, name: &str) -> Result<Array> {
        match self {
            WeightFile::Safetensors(file) => file.read(name),
            WeightFile::Whole(arrays) => {
                arrays.get(name).cloned().ok_or_else(|| Error::file(format!("has no tensor {name}")))
            }
        }
    }
}

/// The files that hold the weights: one, those of an index, or those in a folder, which may be a run.
fn open(path: &Path) -> Result<Vec<WeightFile>> {
    if calls::is_folder(path) {
        let newest = latest_checkpoint(path)?.map(|checkpoint| checkpoint.join(SINGLE));
        let candidates = newest.into_iter().chain([path.join(INDEX), path.join(SINGLE)]);
        let missing = || Error::file(format!("{}: holds neither {SINGLE} nor {INDEX}", path.display()));
        return open(&candidates.into_iter().find(|path| calls::is_file(path)).ok_or_else(missing)?);
    }
    if path.extension().is_some_and(|extension| extension == "json") {
        let parts = shards(path)?;
        return parts.iter().map(|part| WeightFile::open(part)).collect();
    }
    Ok(vec![WeightFile::open(path)?])
}

/// The files that an index names, in the folder that it is in.
fn shards(path: &Path) -> Result<Vec<PathBuf>> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let text = disk::read_text(path, MOST_INDEX)?;
    let index: Index = serde_json::from_str(&text)
        .map_err(|error| Error::file(format!("{}: no index of weights ({error})", path.display())))?;
    let names: BTreeSet<String> = index.weight_map.into_values().collect();
    let plain = |name: &str| {
        let mut parts = Path::new(name).components();
        matches!((parts.next(), parts.next()), (Some(std::path::Component::Normal(_)), None))
    };
    if let Some(name) = names.iter().find(|name| !plain(name)) {
        return Err(Error::file(format!("{}: names {name:?}, which is no file beside it", path.display())));
    }
    Ok(names.iter().map(|name| path.with_file_name(name)).collect())
}

/// All tensors of a file of weights, of an index of several, or of a folder with either, such as a run: safetensors,
/// and by the ends of their names PyTorch's (`.pt`, `.pth`, `.bin`) and NumPy's (`.npz`) files. 64-bit numbers are
/// narrowed to 32 bits.
///
/// ```
/// use dropforge::prelude::*;
/// use dropforge::run::{read_weights, write_weights};
///
/// # let folder = std::env::temp_dir().join(format!("dropforge-doc-weights-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder).unwrap();
/// let network = Network::compile(dense(3), [4])?;
/// network.save_weights(folder.join("a.safetensors"))?;
/// let weights = read_weights(folder.join("a.safetensors"))?;
/// write_weights(folder.join("a.npz"), &weights)?;
/// assert_eq!(read_weights(folder.join("a.npz"))?, weights);
/// # std::fs::remove_dir_all(folder).unwrap();
/// # Ok::<(), dropforge::Error>(())
/// ```
///
/// # Errors
/// A file is missing, damaged, or has a tensor of a type that cannot be read.
pub fn read_weights(path: impl AsRef<Path>) -> Result<BTreeMap<String, Array>> {
    let mut all = BTreeMap::new();
    for mut file in open(path.as_ref())? {
        for name in file.names() {
            let array = file.read(&name)?;
            all.insert(name, array);
        }
    }
    Ok(all)
}

/// Refuses a name by which whoever reads the file would take it for one of another format.
fn check_name(path: &Path, formats: &[&str]) -> Result<()> {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    match extension.as_deref() {
        Some(other @ ("pt" | "pth" | "bin" | "ckpt" | "npz" | "json")) if !formats.contains(&other) => {
            Err(Error::file(format!(
                "{}: files of the kind .{other} are not written here; give a name that ends in .safetensors",
                path.display()
            )))
        }
        _ => Ok(()),
    }
}

/// Writes tensors as a file, NumPy's where its name ends in `.npz`, else safetensors; one of its kind that is there is
/// replaced as a whole.
///
/// # Errors
/// The file cannot be written, something else has its name (see [`file::write`]), or the name ends in that of a format
/// which is not written, such as `.pth`.
pub fn write_weights(path: impl AsRef<Path>, weights: &BTreeMap<String, Array>) -> Result<()> {
    let path = path.as_ref();
    check_name(path, &["npz"])?;
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npz")) {
        let tensors: Vec<(&str, Tensor)> =
            weights.iter().map(|(name, array)| (name.as_str(), Tensor::from_array(array.clone()))).collect();
        let tensors: Vec<(&str, &Tensor)> = tensors.iter().map(|(name, tensor)| (*name, tensor)).collect();
        return Tensor::save_npz(path, &tensors);
    }
    let types: Vec<ValueType> = weights.values().map(Array::ty).collect();
    let tensors: Vec<(&str, &ValueType)> = weights.keys().map(String::as_str).zip(&types).collect();
    let arrays: Vec<&Array> = weights.values().collect();
    file::write(path, FileKind::Safetensors, |out| write(out, &tensors, |index| Ok(arrays[index].clone())))
}

/// Writes parameters and statistics as a safetensors file, as a whole or not at all.
fn save(states: &States, path: &Path) -> Result<()> {
    check_name(path, &[])?;
    let states: Vec<&State> = states.iter().filter(|state| is_weight(state)).collect();
    let tensors: Vec<(&str, &ValueType)> = states.iter().map(|state| (state.name(), state.ty())).collect();
    file::write(path, FileKind::Safetensors, |out| write(out, &tensors, |index| states[index].read()))
}

impl Network {
    /// Reads weights from a safetensors file, from the index of several, or from a folder with either, such as a run. A
    /// name that ends in `.pt`, `.pth` or `.bin` is a file of `torch.save(model.state_dict(), …)`, also within a
    /// checkpoint of other things; nothing that such a file could call is called. One that ends in `.npz` is NumPy's.
    /// Numbers of 16 bits are widened.
    ///
    /// # Errors
    /// A file is missing or damaged, or in strict mode something does not fit; the message lists all that does not.
    /// Nothing changes then.
    #[doc(alias = "load_state_dict")]
    pub fn load_weights(&mut self, path: impl AsRef<Path>, options: &LoadOptions) -> Result<LoadReport> {
        load(self.states(), path.as_ref(), options)
    }

    /// Writes parameters and running statistics as a safetensors file; one that is there is replaced as a whole.
    ///
    /// # Errors
    /// The file cannot be written; an old one is then unchanged. Or something else has its name: see [`file::write`].
    #[doc(alias = "state_dict")]
    pub fn save_weights(&self, path: impl AsRef<Path>) -> Result<()> {
        save(self.states(), path.as_ref())
    }
}

impl Trainer {
    /// As [`Network::load_weights`]: training starts from these weights. The optimizer's states are as before; to go on
    /// with a run there is [`Trainer::resume`].
    ///
    /// ```
    /// use dropforge::prelude::*;
    /// use dropforge::run::LoadOptions;
    ///
    /// # let file = std::env::temp_dir().join(format!("dropforge-doc-load-{}.safetensors", std::process::id()));
    /// let (train, _) = datasets::digits(200, 50, 1);
    /// let net = |classes| seq!["body" => seq![flatten(), dense(16), relu()], "head" => dense(classes)];
    /// let mut first = Trainer::new(net(10), cross_entropy(), Adam::new(1e-2)).compile(&train)?;
    /// first.epoch(&train)?;
    /// first.save_weights(&file)?;
    /// // The same body, whose head has another name.
    /// let other = seq!["body" => seq![flatten(), dense(16), relu()], "classes" => dense(10)];
    /// let mut second = Trainer::new(other, cross_entropy(), Adam::new(1e-2)).compile(&train)?;
    /// let report = second.load_weights(&file, &LoadOptions::new().rename("head.*", "classes.*"))?;
    /// assert_eq!(report.loaded.len(), 4);
    /// # std::fs::remove_file(file).unwrap();
    /// # Ok::<(), dropforge::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Network::load_weights`].
    pub fn load_weights(&mut self, path: impl AsRef<Path>, options: &LoadOptions) -> Result<LoadReport> {
        load(self.step().states(), path.as_ref(), options)
    }

    /// As [`Network::save_weights`].
    ///
    /// # Errors
    /// As [`Network::save_weights`].
    pub fn save_weights(&self, path: impl AsRef<Path>) -> Result<()> {
        save(self.step().states(), path.as_ref())
    }
}

impl Trained {
    /// As [`Network::save_weights`].
    ///
    /// # Errors
    /// As [`Network::save_weights`].
    pub fn save_weights(&self, path: impl AsRef<Path>) -> Result<()> {
        let states = self.forward().weights().all();
        let tensors: Vec<(&str, &ValueType)> =
            states.iter().map(|(name, buffer)| (*name, buffer.ty())).collect();
        file::write(path, FileKind::Safetensors, |out| {
            write(out, &tensors, |index| Ok(states[index].1.read()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_and_rules() {
        assert_eq!(fit("a.*.b", "a.12.b"), Some(vec!["12"]));
        assert_eq!(fit("*.b.*", "x.y.b.z"), Some(vec!["x.y", "z"]));
        assert_eq!(fit("*a*a", "aaaa"), Some(vec!["", "aa"]));
        assert_eq!(fit("h.?.w", "h.1.w"), Some(vec![]));
        assert_eq!(fit("*", ""), Some(vec![""]));
        for (pattern, text) in [("a", "b"), ("a*c", "ab"), ("h.?.w", "h.12.w"), ("", "a"), ("a", "")] {
            assert_eq!(fit(pattern, text), None, "{pattern} {text}");
        }
        // A pattern of many stars takes no time that grows with their number.
        assert_eq!(fit(&"*a".repeat(40), &"a".repeat(39)), None);
        assert_eq!(fill("x.*.y.*", &["1", "2"]), "x.1.y.2");
        let options = LoadOptions::new()
            .strip_prefix("model.")
            .add_prefix("net.")
            .rename("net.*.gamma", "net.*.weight");
        assert_eq!(options.name("model.bn.gamma").as_deref(), Some("net.bn.weight"));
        assert_eq!(options.name("other.bias").as_deref(), Some("net.other.bias"));
        assert_eq!(options.name("bn1.num_batches_tracked"), None);
    }

    #[test]
    fn rows_and_columns() {
        let array = Array::new([2, 3], Data::F32(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0])).unwrap();
        let turned = transpose(&array).unwrap();
        assert_eq!(turned.as_f32(), Some(&[1.0, 4.0, 2.0, 5.0, 3.0, 6.0][..]));
        assert_eq!(transpose(&turned).unwrap(), array);
    }
}
