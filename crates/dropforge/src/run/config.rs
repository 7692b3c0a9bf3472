//! What a run was started with, as text: enough to build the same training again.

use crate::models::ModelSpec;
use crate::optim::{Adam, AdamW, Optimizer, Sgd};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

use crate::schedule::Schedule;

/// The layout of `config.toml` that this version reads and writes.
const FORMAT: u32 = 1;

/// Everything a run was started with; `config.toml` of its folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Layout of the file.
    format: u32,
    /// Epochs to train for.
    pub epochs: u64,
    /// Samples per step.
    pub batch: usize,
    /// Where initial weights, the order of samples and dropout come from.
    pub seed: u64,
    /// Name of the device, as on the command line.
    pub device: String,
    /// Data to train on, as on the command line: `digits`, `mnist:DIR`...
    pub data: String,
    /// How the optimizer updates.
    pub optimizer: OptimizerSpec,
    /// How the learning rate changes.
    pub schedule: ScheduleSpec,
    /// What the inputs look like, and what the outputs mean.
    pub inputs: InputSpec,
    /// The layers.
    pub model: ModelSpec,
}

/// What the inputs of a model look like, so that a later image can be brought to the same form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSpec {
    /// Shape of one sample.
    pub shape: Vec<usize>,
    /// Names of the classes; empty for a regression.
    pub classes: Vec<String>,
    /// Mean per channel that is taken off.
    pub mean: Vec<f32>,
    /// Deviation per channel that is divided by.
    pub std: Vec<f32>,
    /// Whether images are handwritten digits, light on dark and centred, which photographs have to be made first.
    #[serde(default)]
    pub digits: bool,
}

/// An optimizer by name. Formulas and defaults are PyTorch's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase", deny_unknown_fields)]
pub enum OptimizerSpec {
    /// Stochastic gradient descent.
    Sgd {
        /// Learning rate.
        lr: f64,
        /// Part of the last change that is kept.
        #[serde(default)]
        momentum: f64,
        /// Nesterov's form of momentum.
        #[serde(default)]
        nesterov: bool,
        /// Added to the gradient, times the weight.
        #[serde(default)]
        weight_decay: f64,
    },
    /// Adam (Kingma and Ba, 2015).
    Adam {
        /// Learning rate.
        lr: f64,
        /// Added to the gradient, times the weight.
        #[serde(default)]
        weight_decay: f64,
    },
    /// Adam with decoupled weight decay (Loshchilov and Hutter, 2019).
    Adamw {
        /// Learning rate.
        lr: f64,
        /// Taken off the weight, times the weight and the learning rate.
        #[serde(default = "adamw_decay")]
        weight_decay: f64,
    },
}

fn adamw_decay() -> f64 {
    0.01
}

impl OptimizerSpec {
    /// Names that [`OptimizerSpec::named`] knows.
    pub const NAMES: [&'static str; 3] = ["sgd", "adam", "adamw"];

    /// The optimizer of this name with settings that suit small networks.
    pub fn named(name: &str) -> Option<OptimizerSpec> {
        Some(match name {
            "sgd" => OptimizerSpec::Sgd { lr: 0.05, momentum: 0.9, nesterov: false, weight_decay: 0.0 },
            "adam" => OptimizerSpec::Adam { lr: 1e-3, weight_decay: 0.0 },
            "adamw" => OptimizerSpec::Adamw { lr: 1e-3, weight_decay: adamw_decay() },
            _ => return None,
        })
    }

    /// The optimizer.
    pub fn build(&self) -> Box<dyn Optimizer> {
        match *self {
            OptimizerSpec::Sgd { lr, momentum, nesterov, weight_decay } => {
                let sgd = Sgd::new(lr).momentum(momentum).weight_decay(weight_decay);
                Box::new(if nesterov { sgd.nesterov() } else { sgd })
            }
            OptimizerSpec::Adam { lr, weight_decay } => Box::new(Adam::new(lr).weight_decay(weight_decay)),
            OptimizerSpec::Adamw { lr, weight_decay } => Box::new(AdamW::new(lr).weight_decay(weight_decay)),
        }
    }

    /// The learning rate.
    pub fn lr(&self) -> f64 {
        let (OptimizerSpec::Sgd { lr, .. }
        | OptimizerSpec::Adam { lr, .. }
        | OptimizerSpec::Adamw { lr, .. }) = self;
        *lr
    }

    /// To set the learning rate.
    pub fn lr_mut(&mut self) -> &mut f64 {
        let (OptimizerSpec::Sgd { lr, .. }
        | OptimizerSpec::Adam { lr, .. }
        | OptimizerSpec::Adamw { lr, .. }) = self;
        lr
    }

    /// To set the weight decay.
    pub fn weight_decay_mut(&mut self) -> &mut f64 {
        let (OptimizerSpec::Sgd { weight_decay, .. }
        | OptimizerSpec::Adam { weight_decay, .. }
        | OptimizerSpec::Adamw { weight_decay, .. }) = self;
        weight_decay
    }

    /// To set the momentum, of those that have one.
    pub fn momentum_mut(&mut self) -> Option<&mut f64> {
        match self {
            OptimizerSpec::Sgd { momentum, .. } => Some(momentum),
            OptimizerSpec::Adam { .. } | OptimizerSpec::Adamw { .. } => None,
        }
    }
}

/// A learning-rate schedule by name, over the epochs of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleSpec {
    /// How the rate goes down.
    pub name: ScheduleName,
    /// Epochs over which the rate rises first.
    #[serde(default)]
    pub warmup: f64,
}

/// How a learning rate goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleName {
    /// Not at all.
    Constant,
    /// Along half a cosine.
    Cosine,
    /// Along a line.
    Linear,
}

impl ScheduleSpec {
    /// The schedule for a run of so many epochs.
    pub fn schedule(&self, epochs: u64) -> Schedule {
        let schedule = match self.name {
            ScheduleName::Constant => Schedule::constant(),
            ScheduleName::Cosine => Schedule::cosine(epochs as f64),
            ScheduleName::Linear => Schedule::linear(epochs as f64),
        };
        schedule.warmup(self.warmup)
    }
}

impl RunConfig {
    /// A configuration with a cosine schedule, seed 0, on the CPU.
    pub fn new(model: ModelSpec, data: impl Into<String>, inputs: InputSpec) -> RunConfig {
        RunConfig {
            format: FORMAT,
            epochs: 5,
            batch: 128,
            seed: 0,
            device: "cpu".into(),
            data: data.into(),
            optimizer: OptimizerSpec::Adam { lr: 2e-3, weight_decay: 0.0 },
            schedule: ScheduleSpec { name: ScheduleName::Cosine, warmup: 0.0 },
            inputs,
            model,
        }
    }

    /// The configuration as TOML.
    ///
    /// # Errors
    /// Only if there is a bug.
    pub fn to_text(&self) -> Result<String> {
        let text = toml::to_string(self).map_err(|error| Error::new(format!("config: {error}")))?;
        Ok(format!(
            "# A training run of dropforge; `dropforge train --resume` on this folder continues it.\n{text}"
        ))
    }

    /// Reads the configuration of a run.
    ///
    /// # Errors
    /// The folder is no run, or the file has an unknown key or a value that is none; the message names file and key.
    pub fn read(run: impl AsRef<Path>) -> Result<RunConfig> {
        let (path, text) = super::run_dir::read_config(run.as_ref())?;
        RunConfig::parse(&text).map_err(|error| error.context(path.display()))
    }

    fn parse(text: &str) -> Result<RunConfig> {
        #[derive(Deserialize)]
        struct Layout {
            format: Option<u32>,
        }
        let bad = |error: toml::de::Error| Error::new(toml_message(text, &error));
        let layout: Layout = toml::from_str(text).map_err(bad)?;
        if let Some(format) = layout.format.filter(|&format| format > FORMAT) {
            return Err(Error::new(format!("format {format} is of a newer version of dropforge")));
        }
        let config: RunConfig = toml::from_str(text).map_err(bad)?;
        config.check()?;
        Ok(config)
    }

    /// Refuses numbers that no training can use.
    ///
    /// # Errors
    /// The message names the setting and what it may be.
    pub fn check(&self) -> Result<()> {
        let lr = self.optimizer.lr();
        if !(lr.is_finite() && lr > 0.0) {
            return Err(Error::new(format!("the learning rate is {lr}, it must be above 0 and finite")));
        }
        if self.batch == 0 {
            return Err(Error::new("a batch of 0 samples is asked for, use 1 or more"));
        }
        if !(self.schedule.warmup.is_finite() && self.schedule.warmup >= 0.0) {
            return Err(Error::new(format!(
                "the warm-up is {} epochs, it must be 0 or more",
                self.schedule.warmup
            )));
        }
        self.model.check()
    }
}

/// A message of the TOML reader on one line, with the line it is about.
pub(crate) fn toml_message(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().replace('\n', " ");
    match error.span() {
        Some(span) => {
            let line = text.get(..span.start).unwrap_or_default().matches('\n').count() + 1;
            format!("line {line}: {message}")
        }
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> RunConfig {
        let inputs = InputSpec {
            shape: vec![1, 28, 28],
            classes: vec!["0".into(), "a \"quoted\" one".into()],
            mean: vec![0.1307],
            std: vec![0.3081],
            digits: true,
        };
        RunConfig::new(ModelSpec::parse("lenet").unwrap(), "mnist:/some where", inputs)
    }

    #[test]
    fn what_is_written_reads_back() {
        for name in OptimizerSpec::NAMES {
            let mut config = config();
            config.optimizer = OptimizerSpec::named(name).unwrap();
            *config.optimizer.lr_mut() = 0.1 + 0.2;
            config.schedule.warmup = 1.0 / 3.0;
            config.seed = u64::MAX;
            assert_eq!(RunConfig::parse(&config.to_text().unwrap()).unwrap(), config);
        }
    }

    #[test]
    fn mistakes_are_named() {
        let text = config().to_text().unwrap();
        let message = |from: &str, to: &str| {
            let changed = text.replace(from, to);
            assert_ne!(changed, text, "{from} is not in the file");
            RunConfig::parse(&changed).unwrap_err().to_string()
        };
        let check = |from: &str, to: &str, parts: &[&str]| {
            let message = message(from, to);
            assert!(!message.contains('\n') && parts.iter().all(|part| message.contains(part)), "{message}");
        };
        check("epochs", "epoch", &["unknown field `epoch`", "`epochs`", "line"]);
        check("name = \"cosine\"", "name = \"cosin\"", &["cosin", "`cosine`", "`linear`"]);
        check("name = \"adam\"", "name = \"adamm\"", &["adamm", "`adamw`"]);
        check("lr = 0.002", "lr = nan", &["learning rate is NaN"]);
        check("lr = 0.002", "lr = 0.002\nmomentum = 0.9", &["momentum", "weight_decay"]);
        check("name = \"lenet\"", "name = \"lennet\"", &["unknown model `lennet`", "lenet", "mlp"]);
        check("format = 1", "format = 2", &["newer"]);
        check("batch = 128", "batch = \"many\"", &["invalid type", "line"]);
        check("batch = 128", "batch = 0", &["batch of 0"]);
    }
}
