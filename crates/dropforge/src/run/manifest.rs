//! What a run is, whatever made it: `run.toml`, with which it is opened without the program that trained it.

use super::calls;
use super::commit::{Commit, commit};
use super::disk;
use super::run_dir::MANIFEST;
use super::{InputSpec, toml_message};
use crate::metric::{Better, Unit};
use crate::step::{Precision, SummaryRow};
use crate::{DType, Error, Result, Runtime, ValueType};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes that it has at most.
const MOST_BYTES: u64 = 16 << 20;
/// Bytes within which its first table begins, as a rule.
const HEAD_BYTES: u64 = 4096;
/// The layout that this version reads and writes.
pub(super) const FORMAT: u32 = 2;

/// What a run is: where it comes from, and how its network is used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    /// Layout of the file.
    format: u32,
    /// Why there are no programs for any batch size, if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_program_only: Option<String>,
    /// Values of the runtime scalars of the programs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hyperparameters: BTreeMap<String, f64>,
    /// Element type of the inputs.
    pub element: String,
    /// How many checkpoints stay.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub kept: usize,
    /// Whether what was in the folder before it is of another training: older checkpoints, and what stands beside them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replaces: bool,
    /// How many numbers its parameters are; 0 in runs of earlier versions.
    #[serde(default)]
    pub parameters: usize,
    /// What inputs look like, and what outputs mean.
    pub inputs: InputSpec,
    /// What one output says, where the loss is of yes and no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yes: Option<Yes>,
    /// How it was trained.
    pub training: Training,
    /// What trained it.
    pub environment: Environment,
    /// What is measured of it, and how; none in runs of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<Measures>,
    /// Its layers, in the order in which values pass them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Layer>,
}

/// What stands before its tables.
#[derive(Deserialize)]
struct Head {
    format: u32,
    #[serde(default)]
    replaces: bool,
}

/// How an output says how probable a yes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Yes {
    /// By its sigmoid.
    Logit,
    /// It is the probability.
    Probability,
}

/// The key for it in the metadata of an ONNX file.
#[cfg(feature = "onnx")]
pub(super) const YES: &str = "yes";

impl Yes {
    /// What files call it.
    #[cfg(feature = "onnx")]
    pub fn word(self) -> &'static str {
        match self {
            Yes::Logit => "logit",
            Yes::Probability => "probability",
        }
    }

    /// What files call so.
    #[cfg(feature = "onnx")]
    pub fn from_word(word: &str) -> Option<Yes> {
        [Yes::Logit, Yes::Probability].into_iter().find(|yes| yes.word() == word)
    }

    /// How the outputs of a loss of yes and no say it; `None` for other losses.
    pub fn of(probability: impl Fn(f32) -> Option<f32>) -> Option<Yes> {
        Some(if probability(0.0)? == 0.0 { Yes::Probability } else { Yes::Logit })
    }

    pub fn probability(self, output: f32) -> f32 {
        match self {
            Yes::Logit => 1.0 / (1.0 + (-output).exp()),
            Yes::Probability => output,
        }
    }
}

fn one() -> usize {
    1
}

fn is_one(number: &usize) -> bool {
    *number == 1
}

/// What the program that measures does not say: how its sums become numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Measures {
    /// Why there is no program for any batch size, if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_program_only: Option<String>,
    /// The field with class indices, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Classes>,
    /// The mean loss first.
    pub metrics: Vec<StoredMetric>,
}

/// A field with class indices, and how many classes there are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Classes {
    pub field: String,
    pub count: usize,
}

/// A metric: its sums, and what becomes of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredMetric {
    pub name: String,
    /// The states that hold its sums, and those that hold the rests of these.
    pub sums: Vec<String>,
    pub rests: Vec<String>,
    /// The outputs of the program that it keeps of every batch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<String>,
    /// If it is the first sum over the second: how to read that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quotient: Option<Unit>,
    /// And which of two is the better one, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub better: Option<Better>,
    /// Else name and settings, if files can name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<toml::Table>,
}

/// A row of the table of layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Layer {
    pub path: String,
    pub layer: String,
    /// Shape of what it gives, the batch included.
    pub output: Vec<usize>,
    pub parameters: usize,
    /// Numbers of the rows that it reads; runs of earlier versions have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<usize>,
}

impl Layer {
    pub fn of(row: &SummaryRow) -> Layer {
        let SummaryRow { path, layer, output, parameters, reads } = row.clone();
        Layer { path, layer, output: output.to_vec(), parameters, reads }
    }

    pub fn row(self) -> SummaryRow {
        let Layer { path, layer, output, parameters, reads } = self;
        SummaryRow { path, layer, output: output.into(), parameters, reads }
    }
}

/// Settings of a training, for people; what is needed to go on is in the checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Training {
    /// Samples per step.
    pub batch: usize,
    /// Where random numbers come from.
    pub seed: u64,
    /// What products compute in: `f32`, `bf16` or `f16`.
    #[serde(default = "single")]
    pub precision: String,
    /// The optimizer's settings.
    pub optimizer: BTreeMap<String, toml::Value>,
}

/// What runs of earlier versions computed in.
fn single() -> String {
    Precision::F32.name().into()
}

/// What decides the bits of a training beside its settings, and what made it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// Version of this library.
    pub library: String,
    /// The device, with its threads and instruction set.
    pub device: String,
    /// Operating system and processor architecture.
    pub system: String,
    /// Name of the processor, where the system says it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub processor: String,
    /// Bytes of memory that the machine has, where the system says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// When it was, in seconds since 1970; `None` in runs of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<u64>,
    /// The program and what it was told.
    pub command: Vec<String>,
    /// The commit of the folder that it was started in, where that is a Git repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<Commit>,
}

impl Environment {
    /// Where this process trains on a runtime.
    pub fn now(runtime: &Runtime) -> Environment {
        Environment {
            library: env!("CARGO_PKG_VERSION").into(),
            device: runtime.device().name(),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            processor: processor().unwrap_or_default(),
            commit: commit().cloned(),
            memory: memory(),
            date: SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs()),
            command: std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect(),
        }
    }

    /// Threads of the CPU, which its name tells: `cpu (2 threads, avx512)`; `None` on another device.
    pub fn threads(&self) -> Option<usize> {
        let (number, _) = self.device.strip_prefix("cpu (")?.split_once(" thread")?;
        number.parse().ok()
    }

    /// When it was as a date and a time of day, in UTC: `2026-03-01 14:05 UTC`; empty where that is not known.
    pub fn saved_on(&self) -> String {
        let Some(date) = self.date else { return String::new() };
        let (year, month, day) = civil(date / 86_400);
        let minutes = date % 86_400 / 60;
        format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", minutes / 60, minutes % 60)
    }

    /// What differs from another environment and may change bits, one line each.
    pub fn differences(&self, now: &Environment) -> Vec<String> {
        let pairs = [
            ("library", &self.library, &now.library),
            ("device", &self.device, &now.device),
            ("system", &self.system, &now.system),
        ];
        let differs = pairs.into_iter().filter(|(_, then, now)| then != now);
        differs
            .map(|(what, then, now)| {
                format!("the run was trained with {what} {then}, this is {now}: later bits may differ")
            })
            .collect()
    }
}

/// Year, month and day of so many days after the first of January 1970, in the Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut year, mut left) = (1970, days);
    while left >= 365 + u64::from(is_leap(year)) {
        left -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (year, month, left + 1)
}

/// Bytes of memory, where the system says so in a file (Linux).
fn memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// The name of the processor, where the system says so in a file (Linux).
fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

impl Manifest {
    pub fn new(element: DType, inputs: InputSpec, training: Training, environment: Environment) -> Manifest {
        Manifest {
            format: FORMAT,
            own_program_only: None,
            hyperparameters: BTreeMap::new(),
            element: element.name().into(),
            inputs,
            yes: None,
            training,
            environment,
            evaluation: None,
            kept: 1,
            replaces: false,
            parameters: 0,
            layers: Vec::new(),
        }
    }

    /// Whether it is a network of a file of others, which nothing here has trained.
    pub fn is_imported(&self) -> bool {
        self.training.batch == 0
    }

    /// Element type and shape of one sample.
    pub fn sample(&self) -> Result<ValueType> {
        let unknown = || Error::file(format!("{} is no element type", self.element));
        let dtype = DType::from_name(&self.element).ok_or_else(unknown)?;
        Ok(ValueType::new(dtype, self.inputs.shape.as_slice()))
    }

    pub fn to_text(&self) -> Result<String> {
        let text = toml::to_string(self).map_err(|error| Error::file(format!("{MANIFEST}: {error}")))?;
        Ok(format!("# What this run of dropforge is: how its network is used, and what trained it.\n{text}"))
    }

    /// Reads the file of a checkpoint; `None` where there is none, as in runs of the first version.
    pub fn read(checkpoint: &Path) -> Result<Option<Manifest>> {
        let path = checkpoint.join(MANIFEST);
        let Some(text) = disk::read_text_if_any(&path, MOST_BYTES)? else { return Ok(None) };
        Manifest::parse(&text).map(Some).map_err(|error| error.context(path.display()))
    }

    /// Whether what stands beside a checkpoint is of another training. Whoever looks on asks it again and again, and the
    /// inputs, which may hold a whole tokenizer, stand behind it: they are not read.
    pub fn is_replacement(checkpoint: &Path) -> bool {
        let head = Manifest::head(&checkpoint.join(MANIFEST));
        let is = head.map(|head| head.format <= FORMAT && head.replaces);
        is.unwrap_or_else(|| Manifest::read(checkpoint).ok().flatten().is_some_and(|about| about.replaces))
    }

    /// What stands before the first table; `None` where that is long, or no TOML by itself.
    fn head(path: &Path) -> Option<Head> {
        let mut bytes = Vec::new();
        calls::open(path).ok()?.take(HEAD_BYTES).read_to_end(&mut bytes).ok()?;
        let end = bytes.windows(2).position(|two| two == b"\n[")?;
        toml::from_str(std::str::from_utf8(&bytes[..end]).ok()?).ok()
    }

    pub(super) fn parse(text: &str) -> Result<Manifest> {
        #[derive(Deserialize)]
        struct Layout {
            format: u32,
        }
        let bad = |error: toml::de::Error| Error::file(toml_message(text, &error));
        let Layout { format } = toml::from_str(text).map_err(bad)?;
        if format > FORMAT {
            return Err(Error::file(format!("format {format} is of a newer version of dropforge")));
        }
        let manifest: Manifest = toml::from_str(text).map_err(bad)?;
        manifest.inputs.check()?;
        Ok(manifest)
    }
}

impl InputSpec {
    /// Refuses what no input can look like.
    pub(super) fn check(&self) -> Result<()> {
        let channels = self.shape.first().copied().unwrap_or(1);
        let fits = |values: &[f32]| values.is_empty() || values.len() == 1 || values.len() == channels;
        if self.mean.len() != self.std.len() || !fits(&self.mean) {
            return Err(Error::file(format!(
                "inputs of {channels} channels have {} means and {} deviations",
                self.mean.len(),
                self.std.len()
            )));
        }
        if !self.mean.iter().all(|mean| mean.is_finite())
            || !self.std.iter().all(|std| std.is_finite() && *std > 0.0)
        {
            return Err(Error::file("means must be finite, and deviations above 0"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_and_mistakes_are_named() {
        let inputs = InputSpec {
            shape: vec![3, 8, 8],
            classes: vec!["a".into(), "b".into()],
            mean: vec![0.5; 3],
            std: vec![0.25; 3],
            digits: false,
            description: None,
        };
        let training = Training {
            batch: 7,
            seed: 3,
            precision: single(),
            optimizer: [("lr".into(), 0.1.into())].into(),
        };
        let mut manifest =
            Manifest::new(DType::F32, inputs, training, Environment::now(&Runtime::shared().unwrap()));
        manifest.hyperparameters.insert("temperature".into(), 0.7);
        let text = manifest.to_text().unwrap();
        assert_eq!(Manifest::parse(&text).unwrap(), manifest);
        // One question about it is answered without its tables, and where its beginning is no TOML by itself.
        let folder = std::env::temp_dir().join(format!("dropforge-manifest-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(MANIFEST);
        for (replaces, reason) in [(false, None), (true, None), (true, Some("why\n[and] what".to_string()))] {
            (manifest.replaces, manifest.own_program_only) = (replaces, reason.clone());
            std::fs::write(&path, manifest.to_text().unwrap()).unwrap();
            assert_eq!(Manifest::is_replacement(&folder), replaces);
            assert!(Manifest::head(&path).is_none_or(|head| head.replaces == replaces));
            assert!(Manifest::head(&path).is_some() || reason.is_some());
        }
        std::fs::remove_dir_all(&folder).unwrap();
        for (from, to, part) in [
            ("format = 2", "format = 3", "newer"),
            ("shape", "shap", "unknown field `shap`"),
            ("batch = 7", "batch = -7", "line"),
            ("std = [0.25, 0.25, 0.25]", "std = [0.25, 0.0, 0.25]", "above 0"),
            ("std = [0.25, 0.25, 0.25]", "std = [0.25, 0.25]", "3 channels have 3 means and 2"),
        ] {
            let changed = text.replace(from, to);
            assert_ne!(changed, text, "{from} is not in {text}");
            let message = Manifest::parse(&changed).unwrap_err().to_string();
            assert!(message.contains(part) && !message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn another_environment_is_said() {
        let then = Environment {
            library: "0.1.0".into(),
            device: "cpu (1 thread)".into(),
            ..Environment::default()
        };
        assert!(then.differences(&then).is_empty());
        let runtime = crate::devices::open("cpu", Some(1)).unwrap();
        assert_eq!((then.threads(), Environment::now(&runtime).threads()), (Some(1), Some(1)));
        let now = Environment { device: "cpu (2 threads)".into(), ..then.clone() };
        let said = then.differences(&now);
        assert!(
            said.len() == 1 && said[0].contains("cpu (1 thread)") && said[0].contains("2 threads"),
            "{said:?}"
        );
    }
}
