//! `dropforge train`

mod on_device;
mod screen;
pub mod settings;

use crate::args::Train;
use crate::dry_run;
use crate::interrupt;
use crate::machine;
use crate::output::{INSTALL, Outcome, OutputFile, Stop, line, note};
use crate::stop;
use crate::trace::{self, Timeline};
use dropforge::data::{FileSplit, Source};
use dropforge::file::FileKind;
use dropforge::loss::Targets;
use dropforge::run::{
    AugmentOn, DataSpec, OpenData, Opening, Part, RunConfig, RunDir, augmentations, differences, history,
    holds_run, read_split, record_layers, threads_of,
};
use dropforge::schedule::Moment;
use dropforge::settings::{Table, Value};
use dropforge::step::{NetworkBuilder, Precision};
use dropforge::train::{Callback, Monitor, Trainer, keep_best};
use dropforge::{DType, Runtime, ValueType};
pub use screen::Screen;
use screen::{announce, finish, print_profile, say_stopped};
use serde_json::json;
use settings::{read_settings, settings};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Where runs go unless told otherwise.
const RUNS: &str = "runs";
/// Height and width of the images of a folder, unless told otherwise.
pub const IMAGE_SIZE: usize = 64;

pub fn run(args: &Train) -> Outcome {
    let started = Instant::now();
    if args.tui && !cfg!(feature = "tui") {
        return Err(format!(
            "--tui: this command was built without the full screen; install it anew from the folder of its source: `{INSTALL}`"
        )
        .into());
    }
    if args.fast_dev_run || args.dry_run {
        return dry_run::run(args);
    }
    // Before there is a run.
    #[cfg(feature = "tui")]
    if args.tui {
        crate::tui::check()?;
    }
    let traced = args.trace.as_deref().map(|path| OutputFile::new(path, FileKind::Trace)).transpose()?;
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
    let Job { config, data, mut trainer, train, callbacks, path, is_new, read, .. } = job;
    let mut screen = Screen::new(&config, args.json, args.quiet || args.tui, !read);
    let mut timeline = Timeline::default();
    #[cfg(feature = "tui")]
    let mut full = args.tui.then(|| full_screen(&config, &trainer));
    let asked = interrupt::flag();
    if args.led {
        interrupt::follow(&asked);
    }
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
    let fitted = fit.callback(stop::Watch::new(&path, &asked)).stop_flag(&asked).callback(&mut screen).run();
    let fitted = match fitted {
        Ok(fitted) => fitted,
        Err(error) => {
            // What was refused before the first step leaves nothing in the way of the corrected command.
            // Nor does what failed before there was anything to go on from.
            if args.resume.is_none() {
                let is_begun = trainer.steps() > 0;
                drop(trainer);
                let _ = RunDir::open(&path).and_then(|run| match (is_begun, run.has_checkpoint()?) {
                    (_, true) => Ok(()),
                    (true, false) => run.remove().map(drop),
                    (false, false) => run.discard(),
                });
                remove_new(&path, is_new);
            }
            return Err(error.into());
        }
    };
    if let Some(file) = &traced {
        trace::write(file, &trainer.step().kernels(), &trainer.step().memory_blocks(), &timeline)?;
    }
    if let Some(stop) = screen.stop {
        return Err(stop);
    }
    if args.quiet {
        return Ok(());
    }
    // A part of a training, as sweeps make them, is not as long as its settings say on purpose.
    if args.until_epoch.is_none() {
        fitted.notes.iter().for_each(|text| note(text));
    }
    if let Some(why) = fitted.stopped {
        say_stopped(args.json, &why, fitted.limit, &trainer, &path)?;
    }
    let is_asked = asked.load(Ordering::Relaxed);
    finish(args.json, &mut trainer, &data, &path, started, is_asked)?;
    data.afterwards().iter().for_each(|text| note(text));
    if args.profile {
        print_profile(args.json, &trainer)?;
    }
    Ok(())
}

/// The full screen of a training.
#[cfg(feature = "tui")]
fn full_screen(config: &RunConfig, trainer: &Trainer) -> crate::tui::Screen {
    let (model, data) = (config.model.name(), &config.data);
    let device = trainer.step().runtime().device().name();
    let parameters = crate::output::count(trainer.step().network().parameter_count() as u64);
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
    /// Whether its folder was not there before.
    is_new: bool,
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

    /// A new one, which starts from the weights that the configuration names, and whether what was said of these has
    /// been read.
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

/// The settings of the command line and of the file it names, before the data are looked at.
pub fn configure(args: &Train) -> Outcome<RunConfig> {
    let base = args.config.as_deref().map_or(Ok(Table::new()), read_settings)?;
    Ok(RunConfig::new(&settings(args, base)?)?)
}

/// Refuses a figure that epochs of this training will not have, or of which nobody says which of two is better, and
/// callbacks that watch such a one; nothing is trained or written.
pub fn check_figures(args: &Train, monitor: &Monitor) -> Outcome {
    let resolved = resolve(args)?;
    let (Training { mut trainer, train, callbacks }, _) = Training::new(&resolved, args)?;
    let watching = callbacks.into_iter().filter(|callback| !callback.only_looks_on());
    let fit = trainer.fit(&train).validate(&resolved.data.test).epochs(0);
    watching.fold(fit, |fit, callback| fit.callback(callback)).run()?;
    let fit = trainer.fit(&train).validate(&resolved.data.test).epochs(0);
    fit.callback(keep_best(monitor.clone())).run()?;
    Ok(())
}

/// The settings as [`configure`] gives them, with what the data say.
pub fn resolve(args: &Train) -> Outcome<Resolved> {
    let mut config = configure(args)?;
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
        unscaled: needed_targets(&config)? != Targets::Any,
        ..Opening::of(config.size.unwrap_or(IMAGE_SIZE))
    })?;
    // Chosen once, so that the run goes on in the same on another machine.
    config.precision = machine::chosen(config.precision, &runtime);
    (config.data, config.inputs) = (spec.to_string(), data.inputs.clone());
    config.transforms.extend(augmentations(&args.augment, &config.inputs.shape)?);
    config.augment_on = config.augmented_on(&runtime)?;
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
    config.kept_on(&data, &runtime)?;
    // What cannot be changed is said before there is a folder.
    config.augmented(&data.train)?;
    Ok(Resolved { config, data, runtime, spec })
}

/// Removes the folder of a run that is discarded, if it was made for it; what somebody else has put there meanwhile
/// keeps it.
fn remove_new(path: &Path, is_new: bool) {
    if is_new {
        let _ = std::fs::remove_dir(path);
    }
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
            Ok(Job { config, data, trainer, train, callbacks, run, path, is_new, read })
        }
        Err(stop) => {
            // A run that cannot be trained is of no use to anyone.
            if matches!(stop, Stop::Error(_)) {
                let _ = run.discard();
                remove_new(&path, is_new);
            }
            Err(stop)
        }
    }
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
    if config.augment_on == AugmentOn::Auto {
        config.augment_on = old.augment_on;
    }
    // Files may have moved: whether they are the same is seen once they are listed.
    let has_moved =
        old.data != config.data && DataSpec::parse(&old.data)?.is_like(&DataSpec::parse(&config.data)?)?;
    let there = if has_moved { RunConfig { data: config.data.clone(), ..old.clone() } } else { old.clone() };
    there.check_continues(&config).map_err(|error| error.context("--resume"))?;
    let size = args.data.size.map(|size| size as usize);
    let was = config.inputs.shape.last().copied().unwrap_or(IMAGE_SIZE);
    if let Some(size) = size.filter(|&size| size != was) {
        return Err(
            format!("--resume: `size` was {was} when the run was started and cannot become {size}").into()
        );
    }
    let changes = config.table()? != old.table()?;
    if let Some(done) = nothing_left(&config, path)?.filter(|_| changes) {
        return Err(format!(
            "--resume {0}: it {done} already, so nothing is left to do with these settings; ask for more, or leave them out",
            path.display()
        )
        .into());
    }
    let run = RunDir::open(path)?;
    // How many threads share the work decides how sums round.
    let mut machine = args.machine.clone();
    let threads = config.threads.or(threads_of(path)?).and_then(|threads| threads.try_into().ok());
    machine.threads = machine.threads.or(threads);
    let runtime = machine::open(&machine, &config.device)?;
    differences(path, &runtime)?.iter().for_each(|line| note(line));
    let spec = DataSpec::parse(&config.data)?;
    if args.data.download {
        spec.download()?;
    }
    // Every file stays where it was.
    let noted = read_split(path)?;
    let mut data = spec.open(&Opening {
        size: was,
        noted: noted.as_ref(),
        skip_corrupt: config.skip_corrupt,
        inputs: Some(&config.inputs),
        ..Opening::default()
    })?;
    if has_moved && !noted.as_ref().zip(data.split.as_ref()).is_some_and(|(was, is)| same_files(was, is)) {
        return Err(format!(
            "--resume: {} does not hold the files that the run was trained on, those of {}; use the same data, or start \
             another run",
            config.data, old.data
        )
        .into());
    }
    config.inputs.check_continues(&data.inputs).map_err(|error| error.context("--resume"))?;
    // What is refused leaves the run as it was.
    note_split(&run, &data)?;
    if changes {
        run.write_config(&config.to_text()?)?;
    }
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
    Ok(Job { config, data, trainer, train, callbacks, run, path: path.into(), is_new: false, read })
}

/// What a run has done, if that is all that a configuration asks of it.
fn nothing_left(config: &RunConfig, path: &Path) -> Outcome<Option<String>> {
    let done = history(path)?;
    let epochs = done.epochs.len() as u64;
    Ok(if epochs >= config.epochs {
        Some(format!("has trained {epochs} epochs"))
    } else {
        config.max_steps.filter(|&most| done.steps >= most).map(|_| format!("has made {} steps", done.steps))
    })
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

/// Whether the same files are on the same sides.
fn same_files(was: &FileSplit, is: &FileSplit) -> bool {
    let sorted = |names: &[String]| {
        let mut names = names.to_vec();
        names.sort();
        names
    };
    sorted(&was.train) == sorted(&is.train) && sorted(&was.test) == sorted(&is.test)
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

/// What the loss that is named needs of the targets; anything where none is.
fn needed_targets(config: &RunConfig) -> Outcome<Targets> {
    let loss = config.loss.as_ref().map(Part::build).transpose()?;
    Ok(loss.map_or(Targets::Any, |loss| loss.targets()))
}

/// The trainer that a configuration describes, on the device's samples where they are to stay there.
pub fn build(config: &RunConfig, data: &OpenData, runtime: &Runtime, watched: Watched) -> Outcome<Trainer> {
    let kept = config.kept_on(data, runtime)?;
    let (trainer, said) = on_device::fall_back(config.data_on_device, kept, |on_device| {
        build_for(config, data, runtime, watched, on_device)
    })?;
    said.iter().for_each(|text| note(text));
    Ok(trainer)
}

fn build_for(
    config: &RunConfig,
    data: &OpenData,
    runtime: &Runtime,
    watched: Watched,
    on_device: bool,
) -> Outcome<Trainer> {
    // One output tells two classes apart.
    let one = config.inputs.classes.len() == 2 && needed_targets(config)?.tell_two_classes();
    let net = config.model.build(if one { 1 } else { config.inputs.outputs() })?;
    let loss = config
        .loss
        .as_ref()
        .map_or_else(|| Part::try_from("cross_entropy"), |loss| Ok(loss.clone()))?
        .build()?;
    let batches = data.train.len().map(|samples| match config.drop_last {
        true => samples / config.batch,
        false => samples.div_ceil(config.batch),
    });
    let mut trainer = Trainer::new(net, loss, config.build_optimizer(batches)?)
        .batch(config.batch)
        .seed(config.seed)
        .runtime(runtime)
        .schedule(config.schedule.clone())
        .precision(config.precision)
        .drop_last(config.drop_last)
        .shuffle(config.shuffle)
        .accumulate(config.accumulate)
        .reader_threads(data.threads)
        .on_device(on_device)
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
    for (group, made) in config.groups.iter().zip(config.build_groups(batches)?) {
        if let Some(schedule) = group.schedule() {
            trainer = trainer.group_schedule(made.given_name(), schedule.clone());
        }
        trainer = trainer.group(made);
    }
    for metric in config.metrics.iter().flatten() {
        trainer = trainer.metric(metric.build()?);
    }
    trainer = config.augment_steps(trainer)?;
    trainer.compile(&data.train).map_err(|error| unfit(config, data, error))
}

/// The error of a model that is not compiled for its data: says which of them does not fit what, as far as the model is
/// a built-in one. A list of layers says what it takes by itself.
fn unfit(config: &RunConfig, data: &OpenData, error: dropforge::Error) -> Stop {
    let (model, about) = (config.model.name(), data.train.description());
    let (Some(tokens), Some(input)) = (config.model.takes_tokens(), about.input()) else {
        return Stop::from(error);
    };
    let element = if input.dtype == dropforge::data::ElementType::I32 { DType::I32 } else { DType::F32 };
    let sample = ValueType::new(element, input.shape.as_slice());
    let samples = format!("{} ({} of {sample} each)", config.data, input.name);
    let is_text = config.inputs.vocabulary().is_some();
    let net = config.model.build(config.inputs.outputs().max(1));
    let taken = net.and_then(|net| NetworkBuilder::new(net).summary(sample.clone()));
    match taken {
        Err(refused) => {
            let other = match (is_text, tokens, input.shape.as_slice()) {
                (true, ..) => "choose another, such as --model gpt",
                (false, false, [_, _, _]) => {
                    "take larger images (--size for a folder), or choose another --model"
                }
                _ => "choose another, such as --model mlp",
            };
            let refused = refused.for_command();
            format!("the model {model} does not take samples like these of {samples}: {refused}; {other}")
                .into()
        }
        Ok(summary) => {
            let output = summary.output.as_ref().and_then(|output| output.get(1..));
            let gives = format!("{:?}", output.unwrap_or_default());
            let error = error.for_command();
            // It may be a part of the step that has nothing to do with what the model gives.
            if !error.contains("in loss") && !error.contains("in metric") {
                return error.into();
            }
            format!("the model {model} gives {gives} for each sample of {samples}, which does not go with its targets: {error}").into()
        }
    }
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
