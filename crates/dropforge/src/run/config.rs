//! What a run was started with, as text: enough to build the same training again.

use super::augment::{AugmentOn, Augmentation};
use super::group_spec::GroupSpec;
use super::on_device::OnDevice;
use super::part::Part;
use super::program_config::take_unnamed;
use super::registry::context;
use super::{DataSpec, InputSpec, ModelSpec, StartSpec, old_config};
use crate::loss::Loss;
use crate::metric::Metric;
use crate::optim::{Group, Optimizer, averages_within, searches_within, with_mean_from, with_running_mean};
use crate::schedule::Schedule;
use crate::settings::{Declaration, Described, Range, SettingType, TYPE, Table, Value, differences, unknown};
use crate::step::Precision;
use crate::train::Callback;
use crate::{Error, Result, described};
use dropforge_data::{CacheOptions, Keep};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The layout of `config.toml` that this version writes.
pub(super) const FORMAT: i64 = 2;
pub(super) const FORMAT_KEY: &str = "format";
/// What is trained unless a model is named.
const USUAL_MODEL: &str = "lenet";

/// Everything a run was started with, complete; `config.toml` of its folder.
///
/// ```
/// use dropforge::run::RunConfig;
///
/// let config = RunConfig::parse("model = 'lenet'\nepochs = 7\n[optimizer]\nlr = 0.01")?;
/// // What is not said is as the model is usually trained.
/// assert_eq!((config.epochs, config.optimizer.name()), (7, "adam"));
/// assert_eq!(config.table()?["schedule"]["type"].as_str(), Some("cosine"));
/// // Going on with another number of epochs is fine, with another optimizer it is not.
/// config.check_continues(&RunConfig::parse("epochs = 9\nschedule = { length = 7 }\n[optimizer]\nlr = 0.01")?)?;
/// assert!(config.check_continues(&RunConfig::parse("epochs = 7\noptimizer = 'sgd'")?).is_err());
/// # Ok::<(), dropforge::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct RunConfig {
    /// Epochs to train for.
    pub epochs: u64,
    /// Most steps to make, if there is a limit.
    pub max_steps: Option<u64>,
    /// Most seconds to train, if there is a limit.
    pub max_time: Option<f64>,
    /// Steps between two validations in the middle of an epoch, if there are any.
    pub validate_every: Option<u64>,
    /// Epochs between two validations; the last epoch is always measured.
    pub validate_epochs: u64,
    /// Samples per step.
    pub batch: usize,
    /// Whether a last batch with fewer samples is left out.
    pub drop_last: bool,
    /// Whether each epoch has a random order of its own, not that of the samples.
    pub shuffle: bool,
    /// The part of the training samples that is used; all if `None`.
    pub limit_train: Option<f64>,
    /// Batches whose samples alone are trained on and measured.
    pub overfit_batches: Option<usize>,
    /// Batches whose gradients are added before an update.
    pub accumulate: usize,
    /// Limit of the global norm of the gradients, if there is one.
    pub clip_norm: Option<f64>,
    /// Limit of each number of the gradients, if there is one.
    pub clip_value: Option<f64>,
    /// The part of the old average that is kept after each update, if the network is to have the running mean of its
    /// weights.
    pub ema: Option<f64>,
    /// Epochs after which the plain mean of the weights begins, if the network is to have that.
    pub swa_start: Option<f64>,
    /// What products compute in.
    pub precision: Precision,
    /// Where initial weights, the order of samples and dropout come from.
    pub seed: u64,
    /// Name of the device, as on the command line.
    pub device: String,
    /// Threads of the CPU; all cores if `None`.
    pub threads: Option<usize>,
    /// Seconds between two checkpoints in the middle of an epoch.
    pub save_every: f64,
    /// Data to train on, as on the command line: `digits`, `mnist:DIR`... In a file also a table with `type` and
    /// settings.
    pub data: String,
    /// Height and width that the images of a folder are brought to; 64 if `None`.
    pub size: Option<usize>,
    /// Whether samples that cannot be read are passed over, and counted.
    pub skip_corrupt: bool,
    /// Bytes of memory that samples may take once they have been read; none are kept if `None`.
    pub cache: Option<usize>,
    /// A folder for a file in which they are kept in place of memory.
    pub cache_folder: Option<String>,
    /// Which of them are kept when they take more.
    pub cache_keep: Keep,
    /// Whether all samples to train on stay on the device.
    pub data_on_device: OnDevice,
    /// Random changes of the images that are trained on, in order.
    pub transforms: Vec<Part<dyn Augmentation>>,
    /// Where they are made.
    pub augment_on: AugmentOn,
    /// The layers.
    pub model: ModelSpec,
    /// The weights that training starts from, if not its own.
    pub from: Option<StartSpec>,
    /// What training makes small; the usual one for the targets if `None`.
    pub loss: Option<Part<dyn Loss>>,
    /// How weights are updated.
    pub optimizer: Part<dyn Optimizer>,
    /// Parameters that are trained in ways of their own.
    pub groups: Vec<GroupSpec>,
    /// How the learning rate changes.
    pub schedule: Schedule,
    /// What is measured; the usual for the targets if `None`.
    pub metrics: Option<Vec<Part<dyn Metric>>>,
    /// What happens beside training.
    pub callbacks: Vec<Part<dyn Callback>>,
    /// What the inputs look like, and what the outputs mean: found out from the data.
    pub inputs: InputSpec,
}

described! {
    RunConfig = "run", "everything a training run is started with";
    epochs: u64, Some(5), (0..).into(), "passes over the training data, as the model is usually trained by default", may change, by recipe;
    max_steps: Option<u64>, Some(None), (0..).into(), "most steps that the whole run makes", may change;
    max_time: Option<f64>, Some(None), Range::above(0.0), "most seconds that the whole run trains", may change;
    validate_every: Option<u64>, Some(None), (1..).into(), "steps between validations within an epoch", may change;
    validate_epochs: u64, Some(1), (1..).into(), "epochs between validations; the last is always measured", may change;
    batch: usize, Some(128), (1..).into(), "samples per step, as the model is usually trained by default", by recipe;
    drop_last: bool, Some(false), Range::ANY, "whether a last batch with fewer samples is left out";
    shuffle: bool, Some(true), Range::ANY, "whether each epoch has a random order of its own";
    limit_train: Option<f64>, Some(None), Range::above(0.0), "the part of the training samples that is used, 1 at most";
    overfit_batches: Option<usize>, Some(None), (1..).into(), "batches whose samples alone are trained on and measured";
    accumulate: usize, Some(1), (1..).into(), "batches whose gradients are added before an update";
    clip_norm: Option<f64>, Some(None), Range::above(0.0), "limit of the global norm of the gradients";
    clip_value: Option<f64>, Some(None), Range::above(0.0), "limit of each number of the gradients";
    ema: Option<f64>, Some(None), (0.0..1.0).into(), "part of the old average that is kept, where the running mean of the weights is measured and saved";
    swa_start: Option<f64>, Some(None), (0.0..).into(), "epochs after which the plain mean of the weights begins, where that is measured and saved";
    precision: Precision, Some(Precision::F32), Range::ANY, "what products, convolutions and attention compute in";
    seed: u64, Some(0), (0..).into(), "where initial weights, the order of samples and dropout come from";
    device: String, Some("cpu".into()), Range::ANY, "where to compute", may change;
    threads: Option<usize>, Some(None), (1..=1024).into(), "threads of the CPU, all cores by default", may change;
    save_every: f64, Some(30.0), (0.0..).into(), "seconds between checkpoints in the middle of an epoch", may change;
    data: String, Some("digits".into()), Range::ANY, "what to train on: a word, or a table with `type` and settings";
    size: Option<usize>, Some(None), (1..=16_384).into(), "height and width that the images of a folder are brought to, 64 by default";
    skip_corrupt: bool, Some(false), Range::ANY, "whether samples that cannot be read are passed over, and counted";
    cache: Option<usize>, Some(None), (0..).into(), "bytes of memory that samples may take once they are read", may change;
    cache_folder: Option<String>, Some(None), Range::ANY, "a folder for a file that keeps them in place of memory, gone at the end", may change;
    cache_keep: Keep, Some(Keep::First), Range::ANY, "which of them stay where not all fit: those that came `first`, or the most `recent`", may change;
    data_on_device: OnDevice, Some(OnDevice::Auto), Range::ANY, "whether all samples to train on stay on the device, where the step picks its batches: `true`, `false`, or `auto` for a GPU on which they fit", may change;
    transforms: Vec<Part<dyn Augmentation>>, Some(Vec::new()), Range::ANY, "random changes of the images that are trained on";
    augment_on: AugmentOn, Some(AugmentOn::Auto), Range::ANY, "where they are made: on the `host` while samples are read, on the `device` as a part of the step, or `auto`";
    model: ModelSpec, None, Range::ANY, "the network, lenet by default", by recipe;
    from: Option<StartSpec>, Some(None), Range::ANY, "the weights that training starts from, if not its own";
    loss: Option<Part<dyn Loss>>, Some(None), Range::ANY, "what is made small, by default what suits the targets";
    optimizer: Part<dyn Optimizer>, None, Range::ANY, "how weights are updated, as the model is usually trained by default", by recipe;
    groups: Vec<GroupSpec>, Some(Vec::new()), Range::ANY, "parameters that are trained in ways of their own";
    schedule: Schedule, Some(Schedule::constant()), Range::ANY, "how the learning rate changes, as the model is usually trained by default", by recipe;
    metrics: Option<Vec<Part<dyn Metric>>>, Some(None), Range::ANY, "what is measured, by default what suits the targets";
    callbacks: Vec<Part<dyn Callback>>, Some(Vec::new()), Range::ANY, "what happens beside training";
    inputs: InputSpec, Some(InputSpec::default()), Range::ANY, "what the samples look like; found out from the data";
}

impl RunConfig {
    /// A configuration from settings, as a file or a command line gives them. What they do not say is as the model is
    /// usually trained ([`ModelSpec::recipe`]), or else has its default.
    ///
    /// # Errors
    /// A setting is unknown, of another type or out of its range.
    pub fn new(settings: &Table) -> Result<RunConfig> {
        let mut settings = settings.clone();
        settings.entry("model").or_insert_with(|| Value::String(USUAL_MODEL.into()));
        let model = ModelSpec::new(&settings["model"]).map_err(|error| error.context("model"))?;
        let recipe = model.recipe();
        let usual = |mut given: Table, usual: &Table| {
            for (key, value) in usual {
                given.entry(key.as_str()).or_insert_with(|| value.clone());
            }
            Value::Table(given)
        };
        let named = |setting: &str, given: Option<&Value>| match given {
            None => Ok(Table::new()),
            Some(Value::String(name)) => {
                Ok(Table::from_iter([(TYPE.to_string(), Value::String(name.clone()))]))
            }
            Some(Value::Table(table)) => Ok(table.clone()),
            Some(other) => Err(Error::setting(format!(
                "`{setting}` is {other}, it must be a name, or a table with `{TYPE}` and settings"
            ))),
        };
        // Settings without a name are meant for the usual one.
        let (mut optimizer, schedule) =
            (named("optimizer", settings.get("optimizer"))?, named("schedule", settings.get("schedule"))?);
        let completed = |optimizer: Table| {
            let name = optimizer.get(TYPE);
            let suits = |known: &&Table| name.is_none_or(|name| known.get(TYPE) == Some(name));
            match recipe.optimizers.iter().find(suits) {
                Some(known) => usual(optimizer, known),
                None => Value::Table(optimizer),
            }
        };
        if is_around_another(&optimizer) {
            // So it is with the one that is inside of another.
            let inner = named("optimizer.optimizer", optimizer.get(INNER))?;
            optimizer.insert(INNER.into(), completed(inner));
        }
        settings.insert("optimizer".into(), completed(optimizer));
        if schedule.get(TYPE).is_none_or(|name| recipe.schedule.get(TYPE) == Some(name)) {
            settings.insert("schedule".into(), usual(schedule, &recipe.schedule));
        } else if let (false, Some(warmup)) = (schedule.contains_key("warmup"), recipe.schedule.get("warmup"))
        {
            settings.insert(
                "schedule".into(),
                usual(schedule, &Table::from_iter([("warmup".into(), warmup.clone())])),
            );
        }
        if let Some(Value::Table(loss)) = settings.get("loss")
            && !loss.contains_key(TYPE)
        {
            let named: Vec<String> = loss.keys().map(|key| format!("`{key}`")).collect();
            let usual = model.usual_loss().map_or_else(
                || "cross_entropy for classes and tokens, mse for numbers".to_string(),
                |usual| format!("{usual}, which belongs to the model {}", model.name()),
            );
            let suits = model.usual_loss().unwrap_or("cross_entropy");
            return Err(Error::setting(format!(
                "`loss` has settings ({}) and no name; without any it is {usual}",
                named.join(", ")
            ))
            .advice(
                format!("name it too: `type = \"{suits}\"`"),
                format!("name it with --loss, such as --loss {suits}, or by `type` in a file"),
            ));
        }
        if let Some(data @ Value::Table(_)) = settings.get("data") {
            let word = DataSpec::new(data).map_err(|error| error.context("data"))?.to_string();
            settings.insert("data".into(), Value::String(word));
        }
        settings.entry("batch").or_insert_with(|| Value::Integer(recipe.batch as i64));
        settings.entry("epochs").or_insert_with(|| Value::Integer(recipe.epochs as i64));
        let mut config = RunConfig::read(&settings, &context())?;
        if config.optimizer.table().get("lr").and_then(Value::as_float) == Some(0.0) {
            return Err(Error::setting(
                "the learning rate is 0, so nothing would be learned; use one above 0",
            ));
        }
        let own = config.groups.iter().filter_map(GroupSpec::optimizer);
        let optimizers: Vec<&Table> =
            std::iter::once(&config.optimizer).chain(own).map(|optimizer| optimizer.table()).collect();
        let averages = optimizers.iter().map(|optimizer| averages_within(optimizer)).max().unwrap_or(0);
        if averages > 1 {
            return Err(Error::setting(
                "the optimizer `averaged` stands in another one, and there is one mean of the weights; leave one out",
            ));
        }
        match (config.ema, config.swa_start) {
            (Some(_), Some(_)) => {
                return Err(Error::setting(
                    "`ema` and `swa_start` are two means of the weights; leave one out",
                ));
            }
            (None, None) => {}
            _ if averages > 0 => {
                return Err(Error::setting(
                    "the optimizer `averaged` keeps a mean of the weights already; leave out `ema` and `swa_start`",
                ));
            }
            _ if optimizers.iter().any(|optimizer| searches_within(optimizer)) => {
                return Err(Error::setting(
                    "the optimizer `lbfgs` keeps the best point of its search in place of a mean of the weights; leave out \
                     `ema` and `swa_start`",
                ));
            }
            _ => {}
        }
        if optimizers.iter().any(|optimizer| averages_within(optimizer) > 0 && searches_within(optimizer)) {
            return Err(Error::setting(
                "the optimizer `lbfgs` keeps the best point of its search in place of a mean of the weights; leave out \
                 `averaged` around it",
            ));
        }
        config.fix_lengths()?;
        Ok(config)
    }

    /// The optimizer, inside of the means of weights that `ema` or `swa_start` asks for; `batches` of an epoch, where
    /// they are known.
    ///
    /// # Errors
    /// `swa_start` is given, and nobody knows how many batches an epoch has.
    pub fn build_optimizer(&self, batches: Option<usize>) -> Result<Box<dyn Optimizer>> {
        self.averaging(self.optimizer.build()?, batches)
    }

    /// The groups of parameters, their own optimizers as in [`RunConfig::build_optimizer`].
    ///
    /// # Errors
    /// As [`RunConfig::build_optimizer`].
    pub fn build_groups(&self, batches: Option<usize>) -> Result<Vec<Group>> {
        let groups = self.groups.iter();
        groups.map(|group| group.build()?.around(|optimizer| self.averaging(optimizer, batches))).collect()
    }

    fn averaging(&self, optimizer: Box<dyn Optimizer>, batches: Option<usize>) -> Result<Box<dyn Optimizer>> {
        if let Some(decay) = self.ema {
            return Ok(with_running_mean(decay, optimizer));
        }
        let Some(start) = self.swa_start.filter(|start| *start > 0.0) else {
            return Ok(match self.swa_start {
                Some(_) => with_mean_from(0, optimizer),
                None => optimizer,
            });
        };
        let batches = batches.ok_or_else(|| {
            Error::setting(
                "swa_start: the data do not know their length, so nobody knows when so many epochs are over",
            )
            .advice("average with `ema` instead", "average with --ema instead")
        })?;
        let updates = start * batches as f64 / self.accumulate as f64;
        Ok(with_mean_from(updates.round() as usize, optimizer))
    }

    /// A schedule that lasts for the whole training gets its length in numbers, so that training longer later does not
    /// change the rates of what is done.
    fn fix_lengths(&mut self) -> Result<()> {
        let own = self.groups.iter_mut().filter_map(GroupSpec::schedule_mut);
        for schedule in std::iter::once(&mut self.schedule).chain(own) {
            let Some(Value::Table(mut table)) = schedule.write()? else { continue };
            let name = table.get(TYPE).and_then(Value::as_str).unwrap_or_default().to_string();
            let entries = &super::registry::registry().schedules;
            let entry = entries.iter().find(|entry| entry.declaration.name == name);
            let has_length = entry.is_some_and(|entry| entry.declaration.setting("length").is_ok());
            if has_length && !table.contains_key("length") && !schedule.is_by_steps() && self.epochs > 0 {
                table.insert("length".into(), Value::Float(self.epochs as f64));
                *schedule = Schedule::read(&Value::Table(table), &context())?;
            }
        }
        Ok(())
    }

    /// Leaves those samples that `limit_train` and `overfit_batches` name, and reads them as `skip_corrupt` and `cache`
    /// say.
    ///
    /// # Errors
    /// The part is more than 1, or the data are a stream, of which nobody knows how many samples there are.
    pub fn limit(&self, data: &mut super::OpenData) -> Result<()> {
        let len = |source: &dyn dropforge_data::Source, setting: &str| {
            let unknown =
                || Error::data(format!("{setting}: {} does not know its length", source.description().name));
            source.len().ok_or_else(unknown)
        };
        if let Some(part) = self.limit_train {
            if part > 1.0 {
                return Err(Error::setting(format!("limit_train is {part}, it must be a part up to 1")));
            }
            let all = len(&*data.train, "limit_train")?;
            let kept = ((all as f64 * part).round() as usize).clamp(1, all.max(1)).min(all);
            // Spread evenly, since samples are often sorted by class.
            let indices: Vec<usize> = (0..kept).map(|index| index * all / kept).collect();
            data.train = Arc::new(dropforge_data::subset(data.train.clone(), indices)?);
        }
        if let Some(batches) = self.overfit_batches {
            let all = len(&*data.train, "overfit_batches")?;
            let kept = self.batch.saturating_mul(batches).min(all);
            let indices: Vec<usize> = (0..kept).map(|index| index * all / kept).collect();
            data.train = Arc::new(dropforge_data::subset(data.train.clone(), indices)?);
            data.test = data.train.clone();
        }
        let cache = self.cache.map(|most_bytes| CacheOptions {
            most_bytes,
            keep: self.cache_keep,
            folder: self.cache_folder.as_ref().map(PathBuf::from),
        });
        if let (None, Some(folder)) = (&cache, &self.cache_folder) {
            return Err(Error::setting(format!("`cache_folder` is {folder}, but nothing is kept")).advice(
                "say in `cache` how many bytes may be",
                "say how much may be, such as --cache 4GiB",
            ));
        }
        data.keep(self.skip_corrupt, cache.as_ref())
    }

    /// All settings.
    ///
    /// # Errors
    /// Only if there is a bug: what was read can be written.
    pub fn table(&self) -> Result<Table> {
        self.write()
    }

    /// The configuration as TOML.
    ///
    /// # Errors
    /// As [`RunConfig::table`].
    pub fn to_text(&self) -> Result<String> {
        let table = self.table()?;
        let text = toml::to_string(&table).map_err(|error| Error::setting(format!("config: {error}")))?;
        Ok(format!(
            "# A training run of dropforge; `dropforge train --resume` on this folder continues it.\n\
             {FORMAT_KEY} = {FORMAT}\n{text}"
        ))
    }

    /// Reads the configuration of a run.
    ///
    /// # Errors
    /// The folder is no run, or the file has an unknown key or a value that is none; the message names file and key.
    pub fn open(run: impl AsRef<Path>) -> Result<RunConfig> {
        let (path, text) = super::run_dir::read_config(run.as_ref())?;
        // All settings have defaults; a run writes its own, so that one without any is what a full disk has left.
        if RunConfig::settings(&text).is_ok_and(|table| table.is_empty()) {
            return Err(Error::file(format!(
                "{}: config.toml is empty or damaged: it has no settings; restore it from a copy",
                path.display()
            )));
        }
        RunConfig::parse(&text).map_err(|error| error.context(path.display()))
    }

    /// Reads a configuration from the text of a file: a run's, or one that a person wrote.
    ///
    /// # Errors
    /// As [`RunConfig::new`], or the text is no TOML.
    pub fn parse(text: &str) -> Result<RunConfig> {
        RunConfig::new(&RunConfig::settings(text)?)
    }

    /// The settings in the text of a file, as they stand there; those of earlier versions in today's words.
    ///
    /// # Errors
    /// The text is no TOML, or of a newer version.
    pub fn settings(text: &str) -> Result<Table> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut table: Table =
            toml::from_str(text).map_err(|error| Error::setting(toml_message(text, &error)))?;
        let unnamed = take_unnamed(&mut table);
        if !unnamed.is_empty() {
            return Err(Error::setting(format!(
                "a program made this run of parts that no file can name ({}); go on with it by that program, with \
                 Trainer::resume",
                unnamed.join("; ")
            )));
        }
        match table.remove(FORMAT_KEY) {
            Some(Value::Integer(1)) => table = old_config::converted(table)?,
            None | Some(Value::Integer(FORMAT)) => {}
            Some(Value::Integer(format)) if format > FORMAT => {
                return Err(Error::setting(format!("format {format} is of a newer version of dropforge")));
            }
            Some(other) => return Err(Error::setting(format!("format {other} is none that there was"))),
        }
        Ok(table)
    }

    /// The same without callbacks that change nothing about the training, which may come and go.
    fn without_onlookers(&self) -> Result<RunConfig> {
        let mut config = self.clone();
        config.callbacks.clear();
        for callback in &self.callbacks {
            if !callback.build()?.only_looks_on() {
                config.callbacks.push(callback.clone());
            }
        }
        Ok(config)
    }

    /// Whether a run with this configuration can go on with another one.
    ///
    /// # Errors
    /// A setting differs that must not; the message names it with both values.
    pub fn check_continues(&self, new: &RunConfig) -> Result<()> {
        check_settings(&self.without_onlookers()?.table()?, &new.without_onlookers()?.table()?)
    }
}

/// The setting of an optimizer that is around another one.
const INNER: &str = "optimizer";

/// Whether these are the settings of an optimizer around another one.
fn is_around_another(optimizer: &Table) -> bool {
    let name = optimizer.get(TYPE).and_then(Value::as_str).unwrap_or_default();
    let entry = super::registry::registry().optimizers.iter().find(|entry| entry.declaration.name == name);
    entry.is_some_and(|entry| entry.declaration.setting(INNER).is_ok())
}

/// The path of a setting of the optimizer in a configuration: of the one inside, where it is around another.
pub fn optimizer_path(settings: &Table, setting: &str) -> String {
    let optimizer = match settings.get("optimizer") {
        Some(Value::Table(table)) => table.clone(),
        Some(Value::String(name)) => Table::from_iter([(TYPE.to_string(), Value::String(name.clone()))]),
        _ => Table::new(),
    };
    match is_around_another(&optimizer) {
        true => format!("optimizer.{INNER}.{setting}"),
        false => format!("optimizer.{setting}"),
    }
}

/// Whether a run with some settings can go on with others. What one of them does not say, a program that never called a
/// function for it, is its default.
pub(super) fn check_settings(old: &Table, new: &Table) -> Result<()> {
    let declaration = RunConfig::declaration();
    let (old, new) = (&comparable(old, new), &comparable(new, old));
    let filled = |table: &Table, other: &Table| {
        let mut table = table.clone();
        for setting in declaration.settings.iter().filter(|setting| other.contains_key(setting.name)) {
            if let (Some(default), false) = (&setting.default, table.contains_key(setting.name)) {
                table.insert(setting.name.into(), default.clone());
            }
        }
        Value::Table(table)
    };
    let (was, is) = (filled(old, new), filled(new, old));
    for (path, old, now) in differences(&was, &is) {
        if !may_change(&path, new) {
            let shown =
                |value: Option<&Value>| value.map_or_else(|| "nothing".to_string(), ToString::to_string);
            let what = if path.starts_with("metrics") { "the metrics differ: " } else { "" };
            return Err(Error::setting(format!(
                "{what}`{path}` was {} when the run was started and cannot become {}; leave it, or start another run",
                shown(old),
                shown(now)
            )));
        }
    }
    Ok(())
}

/// Settings without those that only one of two trainings says and that are no default either: what a program's own
/// function does, and what earlier versions did not keep. Layers and metrics say all settings that this version has.
fn comparable(table: &Table, other: &Table) -> Table {
    const BOTH: [&str; 3] = ["model", "metrics", "shuffle"];
    let mut table = table.clone();
    table.retain(|name, _| !BOTH.contains(&name) || other.contains_key(name));
    if let Some(layers) = table.get_mut("model").and_then(|model| model.get_mut("layers"))
        && let Ok(whole) = <Box<dyn crate::nn::Layer>>::read(layers, &context()).and_then(|net| net.config())
    {
        *layers = whole;
    }
    if let Some(Value::Array(metrics)) = table.get_mut("metrics") {
        for metric in metrics {
            if let Ok(whole) = Part::<dyn Metric>::new(metric) {
                *metric = Value::Table(whole.table().clone());
            }
        }
    }
    table
}

/// Whether the setting at this path of a configuration may change from one start to the next: itself, or what it is a
/// part of.
fn may_change(path: &str, table: &Table) -> bool {
    changes(&RunConfig::declaration(), &path.split('.').collect::<Vec<_>>(), table)
}

/// As [`may_change`], of the settings of a thing.
fn changes(declaration: &Declaration, path: &[&str], table: &Table) -> bool {
    let Some((first, rest)) = path.split_first() else { return false };
    let Ok(setting) = declaration.setting(first) else { return false };
    if setting.may_change {
        return true;
    }
    // In a list the number of an item comes first.
    let (value, rest) = match (table.get(*first), rest.split_first()) {
        (Some(Value::Array(items)), Some((number, rest))) => {
            (number.parse().ok().and_then(|number: usize| items.get(number)), rest)
        }
        (value, _) => (value, rest),
    };
    let (Some(kind), Some(Value::Table(part))) = (setting.kind, value) else { return false };
    if kind == <GroupSpec as Described>::NAME {
        return changes(&<GroupSpec as Described>::declaration(), rest, part);
    }
    let name = part.get(TYPE).and_then(Value::as_str).unwrap_or_default();
    let known = super::registry::registry().declaration(kind, name);
    known.is_some_and(|declaration| changes(declaration, rest, part))
}

/// The error for a path of `--set` whose first part is no setting.
pub fn check_path(path: &str) -> Result<()> {
    let declaration = RunConfig::declaration();
    let top = path.split('.').next().unwrap_or_default();
    let known: Vec<&str> = declaration.settings.iter().map(|setting| setting.name).collect();
    match known.contains(&top) {
        true => Ok(()),
        false => Err(unknown("there is no setting", top, "there are", &known)),
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
    use super::super::registry::registry;
    use super::*;

    fn config() -> RunConfig {
        let mut config = RunConfig::new(&Table::new()).unwrap();
        config.data = "mnist:/some where".into();
        config.inputs = InputSpec {
            shape: vec![1, 28, 28],
            classes: vec!["0".into(), "a \"quoted\" one".into()],
            mean: vec![0.1307],
            std: vec![0.3081],
            digits: true,
            description: None,
        };
        config
    }

    #[test]
    fn what_is_written_reads_back() {
        for entry in &registry().optimizers {
            let mut config = config();
            // Some are around another one.
            let inner = entry.declaration.settings.iter().any(|setting| setting.name == "optimizer");
            let text = if inner { "type = 'TYPE'\noptimizer = 'adam'" } else { "type = 'TYPE'" };
            let table: Table = toml::from_str(&text.replace("TYPE", entry.declaration.name)).unwrap();
            config.optimizer = Part::new(&Value::Table(table)).unwrap();
            config.seed = u64::MAX;
            config.save_every = 0.1 + 0.2;
            config.max_time = Some(1e-300);
            let again = RunConfig::parse(&config.to_text().unwrap()).unwrap();
            assert_eq!(again.table().unwrap(), config.table().unwrap());
            assert_eq!(again.inputs, config.inputs);
        }
    }

    #[test]
    fn what_is_not_said_is_the_recipe() {
        let read = |text: &str| RunConfig::parse(text).unwrap().table().unwrap();
        let lenet = read("model = 'lenet'");
        assert_eq!(lenet["optimizer"]["lr"].as_float(), Some(3e-3));
        assert_eq!(lenet["schedule"]["length"].as_float(), Some(5.0));
        let set = read("model = 'lenet'\nepochs = 7\n[optimizer]\nlr = 0.5\n[schedule]\ntype = 'linear'");
        assert_eq!(set["optimizer"]["type"].as_str(), Some("adam"));
        assert_eq!(set["optimizer"]["lr"].as_float(), Some(0.5));
        assert_eq!(
            (set["schedule"]["length"].as_float(), set["schedule"]["warmup"].as_float()),
            (Some(7.0), Some(0.2))
        );
        for wrong in ["optimizer = 7", "optimizer = true", "schedule = [1]", "schedule = 0.5"] {
            let message = RunConfig::parse(wrong).unwrap_err().to_string();
            assert!(message.contains("it must be a name, or a table with `type`"), "{wrong}: {message}");
        }
        let sgd = read("optimizer = 'sgd'");
        assert_eq!(sgd["optimizer"]["momentum"].as_float(), Some(0.9));
        assert_eq!(read("optimizer = 'adamw'")["optimizer"]["lr"].as_float(), Some(1e-3));
    }

    #[test]
    fn weights_have_one_mean() {
        let inner = "{ type = 'averaged', decay = 0.9, optimizer = 'sgd' }";
        let around = format!("{{ type = 'lookahead', optimizer = {inner} }}");
        for (text, message) in [
            ("ema = 0.9\nswa_start = 1".to_string(), "two means"),
            (format!("ema = 0.9\noptimizer = {inner}"), "keeps a mean of the weights already"),
            (format!("swa_start = 1\noptimizer = {around}"), "keeps a mean of the weights already"),
            (format!("ema = 0.9\n[[groups]]\npattern = '*'\noptimizer = {around}"), "already"),
            (format!("[optimizer]\ntype = 'averaged'\noptimizer = {around}"), "stands in another one"),
            ("ema = 0.9\noptimizer = 'lbfgs'".to_string(), "leave out `ema` and `swa_start`"),
            ("swa_start = 1\noptimizer = 'lbfgs'".to_string(), "the best point of its search"),
            ("optimizer = { type = 'averaged', optimizer = 'lbfgs' }".to_string(), "leave out `averaged`"),
        ] {
            let refused = RunConfig::parse(&text).unwrap_err().to_string();
            assert!(refused.contains(message), "{text}: {refused}");
        }
        RunConfig::parse(&format!("optimizer = {around}")).unwrap();
        RunConfig::parse("optimizer = 'lbfgs'").unwrap();
    }

    /// What is listed as a default is one for every model; what follows from the model is listed as none.
    #[test]
    fn defaults_are_what_is_trained_with() {
        for entry in &registry().models {
            let model = Value::String(entry.declaration.name.into());
            let table =
                RunConfig::new(&Table::from_iter([("model".to_string(), model)])).unwrap().table().unwrap();
            for setting in RunConfig::declaration().settings {
                let given = table.get(setting.name);
                assert!(given.is_some() || setting.default.is_none(), "{}", setting.name);
                let listed = setting.default.as_ref();
                assert!(
                    listed.is_none_or(|listed| Some(listed) == given) && !setting.required,
                    "{} of {}: {listed:?} is listed, {given:?} is taken",
                    setting.name,
                    entry.declaration.name
                );
            }
        }
    }

    #[test]
    fn mistakes_are_named() {
        let text = config().to_text().unwrap();
        let check = |from: &str, to: &str, parts: &[&str]| {
            let changed = text.replace(from, to);
            assert_ne!(changed, text, "{from} is not in the file");
            let message = RunConfig::parse(&changed).unwrap_err().to_string();
            assert!(!message.contains('\n') && parts.iter().all(|part| message.contains(part)), "{message}");
        };
        check("epochs = 5", "epoch = 5", &["no setting `epoch`", "did you mean `epochs`"]);
        check("type = \"cosine\"", "type = \"cosin\"", &["cosin", "`cosine`", "`linear`"]);
        check("type = \"adam\"", "type = \"adamm\"", &["adamm", "`adamw`"]);
        check("lr = 0.003", "lr = nan", &["`lr` is NaN", "0 or more"]);
        check("lr = 0.003", "lr = 0.003\nmomentum = 0.9", &["momentum", "weight_decay"]);
        check("type = \"lenet\"", "type = \"lennet\"", &["unknown model `lennet`", "lenet", "mlp"]);
        check("format = 2", "format = 3", &["newer"]);
        check("batch = 128", "batch = \"many\"", &["`batch`", "whole number"]);
        check("batch = 128", "batch = 0", &["`batch` is 0", "1 or more"]);
    }

    #[test]
    fn what_may_change_is_a_property_of_the_setting() {
        let old = config();
        let mut new = old.clone();
        (new.epochs, new.device, new.save_every) = (9, "gpu".into(), 1.0);
        old.check_continues(&new).unwrap();
        new.batch = 64;
        let message = old.check_continues(&new).unwrap_err().to_string();
        assert!(message.starts_with("`batch` was 128") && message.contains("64"), "{message}");
        let mut new = old.clone();
        new.optimizer =
            Part::new(&toml::from_str("type = 'adam'\nlr = 0.003\nbetas = [0.9, 0.99]").unwrap()).unwrap();
        let message = old.check_continues(&new).unwrap_err().to_string();
        let mut longer = old.clone();
        longer.schedule = Schedule::cosine(9.0).warmup(0.2);
        old.check_continues(&longer).unwrap();
        // Parts of parts, in lists and one in another, whatever the plural of their kind.
        let parts = |every: u64, length: f64| {
            RunConfig::parse(&format!(
                "callbacks = [{{ type = 'early_stopping' }}, {{ type = 'tensorboard', every = {every} }}]\n\
                 groups = [{{ pattern = 'a.*', schedule = {{ type = 'cosine', length = {length:?} }} }}]\n\
                 schedule = {{ type = 'chained', schedules = ['constant', {{ type = 'linear', length = {length:?} }}] }}"
            ))
            .unwrap()
        };
        parts(20, 3.0).check_continues(&parts(5, 7.5)).unwrap();
        let mut other = parts(20, 3.0);
        other.callbacks.remove(0);
        let refused = parts(20, 3.0).check_continues(&other).unwrap_err().to_string();
        assert!(refused.starts_with("`callbacks.0` was"), "{refused}");
        assert!(message.starts_with("`optimizer.betas.1` was 0.999"), "{message}");
        assert!(check_path("optimizer.lr").is_ok());
        assert!(check_path("optimiser.lr").unwrap_err().to_string().contains("did you mean `optimizer`"));
    }
}
