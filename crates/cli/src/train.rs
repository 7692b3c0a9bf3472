//! `dropforge train`

use crate::args::Train;
use crate::dry_run;
use crate::interrupt;
use crate::machine;
use crate::output::{Outcome, Stop, add_metrics, count, duration, line, note, shape};
use crate::progress::{ProgressBar, Shown};
use crate::stop;
use crate::trace::{self, Timeline};
use dropforge::Runtime;
use dropforge::data::Source;
use dropforge::metric::Values;
use dropforge::optim::group;
use dropforge::run::{
    DataSpec, ModelSpec, OpenData, Opening, Part, RunConfig, RunDir, augmentations, check_path, differences,
    holds_run, read_split, read_text_file, record_layers, threads_of,
};
use dropforge::schedule::Moment;
use dropforge::settings::{SettingType, Table, Value, set_path};
use dropforge::step::{Evaluation, Precision};
use dropforge::train::{Callback, Control, EpochReport, Mark, Marks, Progress, Trainer};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where runs go unless told otherwise.
const RUNS: &str = "runs";
/// Height and width of the images of a folder, unless told otherwise.
pub const IMAGE_SIZE: usize = 64;

pub fn run(args: &Train) -> Outcome {
    let started = Instant::now();
    if args.tui && !cfg!(feature = "tui") {
        return Err("--tui: this command has no full screen; build it with --features tui".into());
    }
    if args.fast_dev_run || args.dry_run {
        return dry_run::run(args);
    }
    let mut job = match &args.resume {
        Some(run) => resume(args, run)?,
        None => start(args)?,
    };
    // A pause that no Duration holds is never over.
    let save_every = Duration::try_from_secs_f64(job.config.save_every).unwrap_or(Duration::MAX);
    job.trainer.autosave(job.run, save_every);
    if args.profile || args.trace.is_some() {
        job.trainer.start_profile();
    }
    let Job { config, data, mut trainer, train, callbacks, path, read, .. } = job;
    let mut screen = Screen {
        config: &config,
        json: args.json,
        quiet: args.quiet || args.tui,
        bar: None,
        marks: Marks::default(),
        stop: None,
        unread: !read,
    };
    let mut timeline = Timeline::default();
    #[cfg(feature = "tui")]
    let mut full = match args.tui {
        true => Some(full_screen(&config, &trainer)?),
        false => None,
    };
    let asked = interrupt::flag();
    let epochs = args.until_epoch.map_or(config.epochs, |until| until.min(config.epochs));
    let mut fit = trainer.fit(&train).validate(&data.test).epochs(epochs);
    fit = fit.validate_epochs(config.validate_epochs);
    if let Some(steps) = config.max_steps {
        fit = fit.max_steps(steps);
    }
    if let Some(steps) = config.validate_every {
        fit = fit.validate_every(steps);
    }
    if let Some(time) = config.max_time {
        // A time that no Duration holds is never over.
        fit = fit.max_time(Duration::try_from_secs_f64(time).unwrap_or(Duration::MAX));
    }
    for callback in callbacks {
        fit = fit.callback(callback);
    }
    #[cfg(feature = "tui")]
    if let Some(full) = &mut full {
        fit = fit.callback(full);
    }
    if let Some(every) = args.record_layers {
        let record = record_layers();
        fit = fit.callback(if every > 0 { record.every(every) } else { record });
    }
    if args.trace.is_some() {
        fit = fit.callback(&mut timeline);
    }
    let fitted = fit.callback(stop::Watch::new(&path)).stop_flag(&asked).callback(&mut screen).run();
    let fitted = match fitted {
        Ok(fitted) => fitted,
        Err(error) => {
            // What was refused before the first step leaves nothing in the way of the corrected command.
            if args.resume.is_none() && trainer.steps() == 0 {
                drop(trainer);
                let _ = RunDir::open(&path).and_then(RunDir::discard);
            }
            return Err(error.into());
        }
    };
    if let Some(path) = &args.trace {
        trace::write(path, &trainer.step().kernels(), &trainer.step().memory_blocks(), &timeline)?;
    }
    if let Some(stop) = screen.stop {
        return Err(stop);
    }
    if args.quiet {
        return Ok(());
    }
    if let Some(why) = fitted.stopped {
        say_stopped(args.json, &why, &trainer, &path)?;
    }
    finish(args.json, &mut trainer, &data, &path, started)?;
    data.afterwards().iter().for_each(|text| note(text));
    if args.profile {
        print_profile(args.json, &trainer)?;
    }
    Ok(())
}

/// The full screen of a training.
#[cfg(feature = "tui")]
fn full_screen(config: &RunConfig, trainer: &Trainer) -> Outcome<crate::tui::Screen> {
    let (model, data) = (config.model.name(), &config.data);
    let device = trainer.step().runtime().device().name();
    let parameters = count(trainer.step().network().parameter_count() as u64);
    let title = format!("{model} ({parameters} parameters) on {data}, {device}");
    crate::tui::Screen::new(title, config.epochs, config.batch)
}

/// Everything that training needs.
struct Job {
    config: RunConfig,
    data: OpenData,
    trainer: Trainer,
    train: Arc<dyn Source>,
    callbacks: Vec<Box<dyn Callback>>,
    run: RunDir,
    path: PathBuf,
    /// Whether somebody reads what is said: training goes on where nobody does.
    read: bool,
}

/// Whether what was said has been read; whatever else went wrong is an error.
fn was_read(said: Outcome) -> Outcome<bool> {
    match said {
        Ok(()) => Ok(true),
        Err(Stop::Unread) => Ok(false),
        Err(stop) => Err(stop),
    }
}

/// What trains: the same for a run, a dry one and a search of the rate.
pub struct Training {
    pub trainer: Trainer,
    /// The samples that are trained on, with their random changes.
    pub train: Arc<dyn Source>,
    pub callbacks: Vec<Box<dyn Callback>>,
}

impl Training {
    /// From a configuration, before any step.
    fn of(config: &RunConfig, data: &OpenData, runtime: &Runtime, args: &Train) -> Outcome<Training> {
        Ok(Training {
            trainer: build(config, data, runtime, Watched::of(args))?,
            train: config.augmented(&data.train)?,
            callbacks: config.callbacks.iter().map(Part::build).collect::<dropforge::Result<_>>()?,
        })
    }

    /// A new one, which starts from the weights that the configuration names, and whether what was said of these has been read.
    pub fn new(resolved: &Resolved, args: &Train) -> Outcome<(Training, bool)> {
        let Resolved { config, data, runtime, .. } = resolved;
        let mut training = Training::of(config, data, runtime, args)?;
        let read = was_read(start_from(config, &mut training.trainer, args))?;
        Ok((training, read))
    }
}

/// What is to be trained, on what, and where.
pub struct Resolved {
    pub config: RunConfig,
    pub data: OpenData,
    pub runtime: Runtime,
    pub spec: DataSpec,
}

/// The settings of the command line and of the file it names, with what the data say.
pub fn resolve(args: &Train) -> Outcome<Resolved> {
    let base = args.config.as_deref().map_or(Ok(Table::new()), read_settings)?;
    let mut config = RunConfig::new(&settings(args, base)?)?;
    let spec = DataSpec::parse(&config.data)?.absolute()?;
    augmentations(&args.augment, &[1, 1, 1])?;
    let runtime = machine::open(&args.machine, &config.device)?;
    if let Some(out) = args.out.as_deref().filter(|out| holds_run(out)) {
        let out = out.display();
        return Err(
            format!("{out} holds a run already; go on with --resume {out}, or choose another --out").into()
        );
    }
    if args.data.download {
        spec.download()?;
    }
    config.size = args.data.size.map(|size| size as usize).or(config.size);
    let mut data = spec.open(&Opening {
        skip_corrupt: config.skip_corrupt,
        ..Opening::of(config.size.unwrap_or(IMAGE_SIZE))
    })?;
    // Chosen once, so that the run goes on in the same on another machine.
    config.precision = machine::chosen(config.precision, &runtime);
    (config.data, config.inputs) = (spec.to_string(), data.inputs.clone());
    config.transforms.extend(augmentations(&args.augment, &config.inputs.shape)?);
    if config.loss.is_none() {
        let usual = if let Some(usual) = config.model.usual_loss() {
            // What the model gives is not compared with the targets.
            config.metrics.get_or_insert_default();
            usual
        } else if config.inputs.classes.is_empty() && config.inputs.vocabulary().is_none() {
            "mse"
        } else {
            "cross_entropy"
        };
        config.loss = Some(Part::try_from(usual)?);
    }
    config.limit(&mut data)?;
    Ok(Resolved { config, data, runtime, spec })
}

fn start(args: &Train) -> Outcome<Job> {
    let resolved = resolve(args)?;
    let Resolved { config, data, runtime, spec } = &resolved;
    let (path, is_new) = match &args.out {
        Some(out) => (out.clone(), !out.exists()),
        None => (new_folder(&format!("{}-{}", config.model.name(), spec.short_name()))?, true),
    };
    let run = RunDir::open(&path)?;
    // From here on the run can be resumed, even if it is killed before its first checkpoint.
    let training = run.write_config(&config.to_text()?).map_err(Stop::from).and_then(|()| {
        note_split(&run, data)?;
        let (training, read) = Training::new(&resolved, args)?;
        let said = announce(args, config, data, &training.trainer, runtime, &path);
        Ok((training, read & was_read(said)?))
    });
    match training {
        Ok((Training { trainer, train, callbacks }, read)) => {
            let Resolved { config, data, .. } = resolved;
            Ok(Job { config, data, trainer, train, callbacks, run, path, read })
        }
        Err(stop) => {
            // A run that cannot be trained is of no use to anyone.
            if matches!(stop, Stop::Error(_)) {
                let _ = run.discard();
                if is_new {
                    // What somebody else has put there meanwhile keeps the folder.
                    let _ = std::fs::remove_dir(&path);
                }
            }
            Err(stop)
        }
    }
}

/// What the command line says, as settings over those of `base`.
fn settings(args: &Train, mut base: Table) -> Outcome<Table> {
    if let Some(model) = &args.model {
        let model = ModelSpec::parse(model)?.write()?;
        base.extend(model.map(|model| ("model".to_string(), model)));
    }
    if let Some(data) = &args.data.data {
        base.insert("data".into(), Value::String(data.clone()));
    }
    let number = |number: Option<f64>| number.map(|number| Value::Float(number).to_string());
    let whole = |number: Option<u64>| number.map(|number| number.to_string());
    // A name comes before the settings of what it names.
    let mut said = |path: &str, value: Option<String>| -> Outcome {
        value.map_or(Ok(()), |value| Ok(set_path(&mut base, path, &value)?))
    };
    let name = |name: &Option<String>| name.as_ref().map(|name| format!("{{ type = {name:?} }}"));
    said("optimizer", name(&args.optimizer))?;
    said("schedule", name(&args.schedule))?;
    said("loss", name(&args.loss))?;
    said("optimizer.lr", number(args.lr))?;
    said("optimizer.momentum", number(args.momentum))?;
    said("optimizer.weight_decay", number(args.weight_decay))?;
    said("schedule.warmup", number(args.warmup))?;
    said("clip_norm", number(args.clip_norm))?;
    let metrics = (!args.metrics.is_empty()).then(|| format!("{:?}", args.metrics));
    said("precision", args.precision.as_ref().map(|name| format!("{name:?}")))?;
    said("metrics", metrics)?;
    said("max_steps", whole(args.max_steps))?;
    said("max_time", number(args.max_time))?;
    said("validate_every", whole(args.validate_every))?;
    said("validate_epochs", whole(args.validate_epochs))?;
    said("limit_train", number(args.limit_train))?;
    said("overfit_batches", whole(args.overfit_batches))?;
    said("drop_last", args.drop_last.then(|| "true".into()))?;
    said("skip_corrupt", args.skip_corrupt.then(|| "true".into()))?;
    said("cache", whole(args.cache))?;
    said("epochs", whole(args.epochs))?;
    said("batch", whole(args.batch))?;
    // More than TOML's integers hold.
    said("seed", args.seed.map(|seed| format!("\"{seed}\"")))?;
    said("save_every", number(args.save_every))?;
    said("threads", args.machine.threads.map(|threads| threads.to_string()))?;
    said("device", args.machine.device.as_ref().map(|device| format!("{device:?}")))?;
    // A word for data as the table that it stands for, where a part of that is set.
    if args.set.iter().any(|setting| setting.starts_with("data.")) {
        let spec = base.get("data").map_or_else(|| DataSpec::parse("digits"), DataSpec::new)?;
        base.insert("data".into(), Value::Table(spec.table()));
    }
    additions(args, &mut base)?;
    for setting in &args.set {
        let (path, value) = setting
            .split_once('=')
            .ok_or_else(|| format!("--set {setting}: write a path and a value, such as optimizer.lr=0.01"))?;
        check_path(path)?;
        set_path(&mut base, path, value)?;
    }
    Ok(base)
}

/// What the command line adds to the lists of a configuration, and the weights to start from.
fn additions(args: &Train, base: &mut Table) -> Outcome {
    let table = |pairs: &[(&str, Value)]| {
        Value::Table(pairs.iter().map(|(name, value)| (name.to_string(), value.clone())).collect())
    };
    let mut add = |list: &str, value: Value, first: bool| -> Outcome {
        match base.entry(list).or_insert_with(|| Value::Array(Vec::new())) {
            Value::Array(all) if all.iter().any(|known| says(list, known, &value)) => {}
            Value::Array(all) => all.insert(if first { 0 } else { all.len() }, value),
            _ => return Err(format!("`{list}` should be a list").into()),
        }
        Ok(())
    };
    let monitor = args.monitor.as_deref().unwrap_or("val_loss");
    let named = args.keep_best.as_deref().filter(|figure| !figure.is_empty());
    if args.keep_best.is_some() || args.monitor.is_some() {
        let figure = named.unwrap_or(monitor).into();
        add("callbacks", table(&[("type", "keep_best".into()), ("monitor", figure)]), false)?;
    }
    if let Some(patience) = args.patience {
        let patience = Value::Integer(patience.min(i64::MAX as u64) as i64);
        let settings =
            [("type", "early_stopping".into()), ("monitor", monitor.into()), ("patience", patience)];
        add("callbacks", table(&settings), false)?;
    }
    if args.tensorboard {
        add("callbacks", table(&[("type", "tensorboard".into())]), false)?;
    }
    // Of several groups the first that fits takes a parameter.
    for pattern in args.freeze.iter().rev() {
        add("groups", table(&[("pattern", pattern.as_str().into()), ("frozen", true.into())]), true)?;
        if let Some(epochs) = args.unfreeze_after {
            let name = group(pattern.as_str()).given_name().to_string();
            let after = Value::Integer(epochs.min(i64::MAX as u64) as i64);
            let settings = [("type", "unfreeze".into()), ("group", name.into()), ("after", after)];
            add("callbacks", table(&settings), false)?;
        }
    }
    if let Some(path) = &args.from {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let list = |all: &[String]| Value::Array(all.iter().map(|text| text.as_str().into()).collect());
        let weights = Value::String(path.display().to_string());
        let from = table(&[
            ("weights", weights),
            ("strict", (!args.partly).into()),
            ("rename", list(&args.rename)),
            ("ignore", list(&args.ignore)),
        ]);
        base.insert("from".into(), from);
    }
    Ok(())
}

/// Whether an item of a list says what is to be added, and perhaps more.
fn says(list: &str, known: &Value, added: &Value) -> bool {
    // As they are written, whatever has its default.
    let written = |value: &Value| match list {
        "callbacks" => {
            Part::<dyn Callback>::new(value).map_or_else(|_| Table::new(), |part| part.table().clone())
        }
        _ => value.as_table().cloned().unwrap_or_default(),
    };
    let (known, whole) = (written(known), written(added));
    let said = added.as_table().filter(|said| !said.is_empty());
    known == whole || said.is_some_and(|said| said.keys().all(|key| known.get(key) == whole.get(key)))
}

/// Has the training start from the weights that the configuration names.
fn start_from(config: &RunConfig, trainer: &mut Trainer, args: &Train) -> Outcome {
    let Some(from) = &config.from else { return Ok(()) };
    let report = from.load(trainer)?;
    if args.quiet {
        return Ok(());
    }
    if !args.json {
        return line(format_args!("weights: {report}"));
    }
    let names = |(name, file, network): &(String, String, String)| json!({ "name": name, "file": file, "network": network });
    line(json!({
        "event": "weights", "loaded": report.loaded, "missing": report.missing, "unexpected": report.unexpected,
        "mismatched": report.mismatched.iter().map(names).collect::<Vec<_>>(),
    }))
}

/// The settings of a file that a person wrote.
fn read_settings(path: &Path) -> Outcome<Table> {
    let text = read_text_file(path)?;
    // Read whole, so that mistakes are named with the file.
    let read = || {
        let settings = RunConfig::settings(&text)?;
        RunConfig::new(&settings).map(|_| settings)
    };
    Ok(read().map_err(|error: dropforge::Error| error.context(path.display()))?)
}

fn resume(args: &Train, path: &Path) -> Outcome<Job> {
    let old = RunConfig::open(path)?;
    let mut table = settings(args, old.table()?)?;
    let data = DataSpec::parse(&RunConfig::new(&table)?.data)?.absolute()?;
    table.insert("data".into(), Value::String(data.to_string()));
    let mut config = RunConfig::new(&table)?;
    if !args.augment.is_empty() {
        config.transforms = augmentations(&args.augment, &config.inputs.shape)?;
    }
    if config.precision == Precision::Auto {
        config.precision = old.precision;
    }
    old.check_continues(&config).map_err(|error| error.context("--resume"))?;
    let size = args.data.size.map(|size| size as usize);
    let was = config.inputs.shape.last().copied().unwrap_or(IMAGE_SIZE);
    if let Some(size) = size.filter(|&size| size != was) {
        return Err(
            format!("--resume: `size` was {was} when the run was started and cannot become {size}").into()
        );
    }
    let run = RunDir::open(path)?;
    // How many threads share the work decides how sums round.
    let mut machine = args.machine.clone();
    let threads = config.threads.or(threads_of(path)?).and_then(|threads| threads.try_into().ok());
    machine.threads = machine.threads.or(threads);
    let runtime = machine::open(&machine, &config.device)?;
    differences(path, &runtime)?.iter().for_each(|line| note(line));
    if config.table()? != old.table()? {
        run.write_config(&config.to_text()?)?;
    }
    let spec = DataSpec::parse(&config.data)?;
    if args.data.download {
        spec.download()?;
    }
    // Every file stays where it was.
    let mut data = spec.open(&Opening {
        size: was,
        noted: read_split(path)?.as_ref(),
        skip_corrupt: config.skip_corrupt,
    })?;
    note_split(&run, &data)?;
    config.inputs.check_continues(&data.inputs).map_err(|error| error.context("--resume"))?;
    config.limit(&mut data)?;
    let Training { mut trainer, train, callbacks } = Training::of(&config, &data, &runtime, args)?;
    let mut read = true;
    if !trainer.resume(path)? {
        read = was_read(start_from(&config, &mut trainer, args))?;
    }
    if let Some(hint) = idle_schedule(&config, &trainer) {
        note(&hint);
    }
    read &= was_read(announce(args, &config, &data, &trainer, &runtime, path))?;
    Ok(Job { config, data, trainer, train, callbacks, run, path: path.into(), read })
}

/// What there is to say if the schedule has come to its end, so that the epochs to come would change nothing.
fn idle_schedule(config: &RunConfig, trainer: &Trainer) -> Option<String> {
    let (epoch, step) = (trainer.epochs(), trainer.steps());
    let next = Moment { step, epoch, batch: 0, batches: 1, planned: Some(config.epochs) };
    (epoch > 0 && epoch < config.epochs && config.schedule.factor(&next) == 0.0).then(|| {
        format!(
            "the schedule has come to its end after {epoch} epochs, and the learning rate is 0 from here on; \
             --set schedule.length={} stretches it",
            config.epochs
        )
    })
}

/// Notes in a run which files are for training and which for testing.
fn note_split(run: &RunDir, data: &OpenData) -> Outcome {
    Ok(data.split.as_ref().map_or(Ok(()), |split| run.write_split(split))?)
}

/// What is looked at in every step.
#[derive(Clone, Copy, Default)]
pub struct Watched {
    anomalies: bool,
    gradients: bool,
}

impl Watched {
    /// What the command line asks for.
    pub fn of(args: &Train) -> Watched {
        Watched { anomalies: args.detect_anomaly, gradients: args.record_layers.is_some() }
    }
}

/// The trainer that a configuration describes.
pub fn build(config: &RunConfig, data: &OpenData, runtime: &Runtime, watched: Watched) -> Outcome<Trainer> {
    let net = config.model.build(config.inputs.outputs())?;
    let loss = config
        .loss
        .as_ref()
        .map_or_else(|| Part::try_from("cross_entropy"), |loss| Ok(loss.clone()))?
        .build()?;
    let mut trainer = Trainer::new(net, loss, config.optimizer.build()?)
        .batch(config.batch)
        .seed(config.seed)
        .runtime(runtime)
        .schedule(config.schedule.clone())
        .precision(config.precision)
        .drop_last(config.drop_last)
        .shuffle(config.shuffle)
        .accumulate(config.accumulate)
        .reader_threads(data.threads)
        .detect_anomaly(watched.anomalies);
    if watched.gradients {
        trainer = trainer.keep_gradients();
    }
    if let Some(limit) = config.clip_norm {
        trainer = trainer.clip_norm(limit);
    }
    if let Some(limit) = config.clip_value {
        trainer = trainer.clip_value(limit);
    }
    for group in &config.groups {
        let made = group.build()?;
        if let Some(schedule) = group.schedule() {
            trainer = trainer.group_schedule(made.given_name(), schedule.clone());
        }
        trainer = trainer.group(made);
    }
    for metric in config.metrics.iter().flatten() {
        trainer = trainer.metric(metric.build()?);
    }
    Ok(trainer.compile(&data.train)?)
}

/// A folder in `runs/` that did not exist before.
fn new_folder(name: &str) -> Outcome<PathBuf> {
    let failed = |path: &Path, error| format!("{}: cannot create it: {error}", path.display());
    let runs = Path::new(RUNS);
    std::fs::create_dir_all(runs).map_err(|error| failed(runs, error))?;
    for number in 1..u32::MAX {
        let path = runs.join(format!("{name}-{number}"));
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(&path, error).into()),
        }
    }
    Err("there are too many runs; remove some".into())
}

fn announce(
    args: &Train,
    config: &RunConfig,
    data: &OpenData,
    trainer: &Trainer,
    runtime: &Runtime,
    path: &Path,
) -> Outcome {
    if args.quiet {
        return Ok(());
    }
    let parameters = trainer.step().network().parameter_count();
    let device = runtime.device().name();
    let (train, test) = (data.train.len(), data.test.len());
    if args.json {
        return line(json!({
            "event": "start", "run": path.display().to_string(), "model": config.model.name(), "data": config.data,
            "device": device, "parameters": parameters, "train_samples": train, "validation_samples": test,
            "epochs": config.epochs, "batch": config.batch, "seed": config.seed, "epoch": trainer.epochs(),
            "step": trainer.steps(), "notes": data.notes,
        }));
    }
    data.notes.iter().for_each(|text| note(text));
    let samples =
        |len: Option<usize>| len.map_or_else(|| "an unknown number of".into(), |len| count(len as u64));
    let (train, test) = (samples(train), samples(test));
    let inputs = shape(&config.inputs.shape);
    line(format_args!("{}: {} parameters, on {device}", config.model.name(), count(parameters as u64)))?;
    line(format_args!("{}: {train} training and {test} validation samples of {inputs}", config.data))?;
    match trainer.steps() {
        0 => line(format_args!("run: {}", path.display())),
        steps => line(format_args!("run: {}, going on after {} steps", path.display(), count(steps))),
    }
}

/// What people see of training: a bar, and a line for each epoch.
struct Screen<'a> {
    config: &'a RunConfig,
    json: bool,
    quiet: bool,
    bar: Option<ProgressBar>,
    marks: Marks,
    /// Why nothing can be printed any more.
    stop: Option<Stop>,
    /// Whether the reader of the output has gone.
    unread: bool,
}

impl Callback for Screen<'_> {
    fn name(&self) -> String {
        "screen".into()
    }

    fn only_looks_on(&self) -> bool {
        true
    }

    fn on_step_end(&mut self, control: &mut Control<'_>) -> dropforge::Result<()> {
        let bar = self.bar.get_or_insert_with(|| ProgressBar::new(!self.json && !self.quiet));
        bar.update(|| shown(&control.progress(), self.config));
        if let Some(mark) = self.marks.look(&control.progress()).filter(|_| !self.quiet) {
            self.bar = None;
            let printed = print_mark(self.json, &mark);
            self.printed(printed, control);
        }
        Ok(())
    }

    fn on_validation_end(
        &mut self,
        measured: &Evaluation,
        control: &mut Control<'_>,
    ) -> dropforge::Result<()> {
        let progress = control.progress();
        // That of the end of an epoch stands in its line.
        if self.quiet || progress.batch == 0 {
            return Ok(());
        }
        let step = progress.step;
        self.bar = None;
        let printed = print_validation(self.json, step, measured);
        self.printed(printed, control);
        Ok(())
    }

    fn on_epoch_end(&mut self, report: &EpochReport, control: &mut Control<'_>) -> dropforge::Result<()> {
        // Without the bar, so that it does not stand in the way.
        self.bar = None;
        if self.quiet {
            return Ok(());
        }
        let waited = control.progress().phases.data;
        let printed = print_epoch(self.json, self.config, report, waited);
        self.printed(printed, control);
        Ok(())
    }

    fn on_error(&mut self, _: &dropforge::Error) {
        self.bar = None;
    }
}

impl Screen<'_> {
    /// What becomes of training after a line was printed, or was not.
    fn printed(&mut self, printed: Outcome, control: &mut Control<'_>) {
        match printed {
            Ok(()) => {}
            // Training is worth finishing even if nobody reads along.
            _ if self.unread => {}
            Err(Stop::Unread) => self.unread = true,
            Err(stop) => {
                control.stop("nothing can be printed");
                self.stop = Some(stop);
            }
        }
    }
}

/// Something that stands out.
fn print_mark(json: bool, mark: &Mark) -> Outcome {
    if json {
        let Mark { step, figure, value, usual, text } = mark;
        return line(json!({
            "event": "mark", "step": step, "figure": figure, "value": value, "usual": usual, "text": text,
        }));
    }
    note(&mark.to_string());
    Ok(())
}

/// A validation in the middle of an epoch.
fn print_validation(json: bool, step: u64, measured: &Evaluation) -> Outcome {
    if json {
        let mut event = json!({ "event": "validation", "step": step, "val_loss": measured.loss });
        add_metrics(&mut event, "val", &measured.metrics);
        return line(event);
    }
    let metrics: String = measured.metrics.shown().map(|value| format!("  {value}")).collect();
    line(format_args!("step {}  validation loss {:.4}{metrics}", count(step), measured.loss))
}

/// Why training ended before its last epoch, and how it goes on.
fn say_stopped(json: bool, why: &str, trainer: &Trainer, path: &Path) -> Outcome {
    let run = path.display();
    if json {
        return line(
            json!({ "event": "stopped", "why": why, "run": run.to_string(), "step": trainer.steps() }),
        );
    }
    let steps = count(trainer.steps());
    line(format_args!(
        "stopped after {steps} steps: {why}; all is saved, and `dropforge train --resume {run}` goes on"
    ))
}

fn shown(progress: &Progress<'_>, config: &RunConfig) -> Shown {
    let Progress { epoch, batch, batches, loss, samples_per_s, phases, .. } = *progress;
    let metrics = progress.metrics().unwrap_or_default();
    let metrics = metrics.shown().map(|value| format!("  {value}")).collect();
    let epochs_left = config.epochs.saturating_sub(epoch) as f64;
    let batches_left = epochs_left * batches as f64 + batches.saturating_sub(batch) as f64;
    let left = batches_left * config.batch as f64 / samples_per_s.max(1e-9);
    let waiting = phases.data / phases.seconds().max(1e-9);
    Shown { epoch, epochs: config.epochs, batch, batches, loss, metrics, samples_per_s, waiting, left }
}

/// The line of an epoch, of which so many seconds were spent waiting for data.
fn print_epoch(json: bool, config: &RunConfig, report: &EpochReport, waited: f64) -> Outcome {
    let validation = report.validation.as_ref();
    if json {
        let mut event = json!({
            "event": "epoch", "epoch": report.epoch, "step": report.step, "lr": report.lr,
            "train_loss": report.loss, "val_loss": validation.map(|measured| measured.loss),
            "seconds": report.seconds, "samples_per_s": report.samples_per_s, "data_seconds": waited,
        });
        add_metrics(&mut event, "train", &report.metrics);
        if let Some(measured) = validation {
            add_metrics(&mut event, "val", &measured.metrics);
        }
        return line(event);
    }
    let named = |prefix: &str, loss: f64, metrics: &Values| {
        let metrics: String =
            metrics.shown().map(|value| format!("  {}{value}", prefix.trim_start())).collect();
        format!("{prefix}loss {loss:.4}{metrics}")
    };
    let train = named("", report.loss, &report.metrics);
    let validation = validation
        .map(|measured| named("  validation ", measured.loss, &measured.metrics))
        .unwrap_or_default();
    line(format_args!(
        "epoch {}/{}  {train}{validation}  {} samples/s  {}",
        report.epoch,
        config.epochs,
        count(report.samples_per_s as u64),
        duration(report.seconds)
    ))
}

fn finish(json: bool, trainer: &mut Trainer, data: &OpenData, path: &Path, started: Instant) -> Outcome {
    let last = match trainer.history().last().and_then(|report| report.validation.clone()) {
        Some(validation) => validation,
        None => trainer.evaluate(&data.test)?,
    };
    let history = trainer.history();
    let seconds: f64 = history.iter().map(|report| report.seconds).sum();
    let samples: f64 = history.iter().map(|report| report.seconds * report.samples_per_s).sum();
    let samples_per_s = if seconds > 0.0 { samples / seconds } else { 0.0 };
    if json {
        let mut event = json!({
            "event": "end", "run": path.display().to_string(), "epochs": trainer.epochs(), "steps": trainer.steps(),
            "train_loss": history.last().map(|report| report.loss), "val_loss": last.loss,
            "seconds": started.elapsed().as_secs_f64(), "samples_per_s": samples_per_s,
        });
        if let Some(report) = history.last() {
            add_metrics(&mut event, "train", &report.metrics);
        }
        add_metrics(&mut event, "val", &last.metrics);
        return line(event);
    }
    let seconds = duration(started.elapsed().as_secs_f64());
    let figure = match last.metrics.iter().next() {
        Some(metric) => metric.to_string(),
        None => format!("loss {:.4}", last.loss),
    };
    line(format_args!("validation {figure} after {seconds}; saved in {}", path.display()))
}

/// The kernels of the training step; a last batch with fewer samples has a program of its own.
fn print_profile(json: bool, trainer: &Trainer) -> Outcome {
    // Asked for first: to find out what the device reaches at best takes memory, too.
    let memory = trainer.step().runtime().memory();
    for (batch, table) in trainer.step().profile() {
        if json {
            line(json!({ "event": "profile", "batch": batch, "table": table }))?;
        } else {
            line(format_args!("\nbatches of {batch}\n{}", table.trim_end()))?;
        }
    }
    machine::print_memory(json, memory)
}
