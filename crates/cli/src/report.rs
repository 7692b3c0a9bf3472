//! `dropforge report` and `dropforge plot`: what a run looks like.

use crate::args::{DataArgs, Machine, Plot, Report};
use crate::data::for_testing;
use crate::output::{INSTALL, Outcome, OutputFile, Stop, line, note};
use crate::{machine, train};
use dropforge::Runtime;
use dropforge::data::{TARGET, Values};
use dropforge::file::FileKind;
use dropforge::run::{
    DataSpec, OnDevice, OpenData, Opening, REPORT, RunConfig, Trained, config_of, history, layer_records,
    read_split, step_records,
};
use dropforge::step::Batch;
use dropforge::train::Trainer;
use dropforge_report::{Parts, Predictions, figure, page};
use std::path::Path;
use std::time::{Duration, Instant};

/// What a chart needs beside the finished epochs.
const OF_PREDICTIONS: [&str; 9] =
    ["confusion", "roc", "pr", "calibration", "scatter", "residuals", "errors", "qq", "classes"];
const OF_STEP: [&str; 4] = ["network", "kernels", "memory", "blocks"];
/// How long steps are timed for the profile, at most so many beside the first.
const TIMED: Duration = Duration::from_secs(2);
const MOST_STEPS: usize = 20;
/// How long training samples are read to count their classes.
const COUNTED: Duration = Duration::from_secs(5);

pub fn run(args: &Report) -> Outcome {
    let out = match &args.out {
        Some(out) => out.clone(),
        None if args.run.is_file() => {
            return Err(format!(
                "{}: a packed run is no folder to write into; say where with --out",
                args.run.display()
            )
            .into());
        }
        None => args.run.join(REPORT),
    };
    let file = OutputFile::new(&out, FileKind::Report)?;
    let parts = read(&args.run, &args.data, &args.machine, |_| true)?;
    file.write(page(&parts))?;
    file.say(format_args!("report of {} written to {}", args.run.display(), out.display()))
}

pub fn plot(args: &Plot) -> Outcome {
    let ending =
        args.out.as_deref().and_then(|out| out.extension()).map(|ending| ending.to_ascii_lowercase());
    let as_png = ending.as_ref().is_some_and(|ending| ending == "png");
    if as_png && !cfg!(feature = "png") {
        return Err(format!(
            "--out: this command was built without PNG; give a file that ends in .svg, or install it anew from the folder of its \
             source: `{INSTALL}`"
        )
        .into());
    }
    if ending.is_some_and(|ending| ending != "svg" && ending != "png") {
        return Err("--out: charts are written as SVG or PNG; give a file that ends in .svg or .png".into());
    }
    let kind = if as_png { FileKind::Png } else { FileKind::Chart };
    let file = args.out.as_deref().map(|out| OutputFile::new(out, kind)).transpose()?;
    let parts = read(&args.run, &args.data, &args.machine, |part| part.contains(&&*args.what))?;
    let svg = figure(&parts, &args.what)?;
    match &file {
        #[cfg(feature = "png")]
        Some(file) if as_png => file.write(crate::raster::png(&svg)?),
        Some(file) => file.write(&svg),
        None => line(svg.trim_end()),
    }
}

/// What there is to know of a run. What cannot be found out is noted, not an error: the finished epochs are worth
/// seeing even if the data are gone.
fn read(run: &Path, data: &DataArgs, machine: &Machine, wanted: impl Fn(&[&str]) -> bool) -> Outcome<Parts> {
    let name =
        run.file_name().map_or_else(|| run.display().to_string(), |name| name.to_string_lossy().into());
    let config = config_of(run)?;
    // One file has neither epochs nor layers over time.
    let is_packed = run.is_file();
    let mut parts = Parts {
        name,
        history: if is_packed { None } else { Some(history(run)?) },
        config: config.as_ref().map(RunConfig::to_text).transpose()?,
        ..Parts::default()
    };
    if !is_packed {
        parts.steps = recorded(step_records(run), &mut parts.notes);
        parts.layers = recorded(layer_records(run), &mut parts.notes);
    }
    if is_packed {
        parts.notes.push(
            "This is a packed run: the network alone, without the epochs and settings of its training."
                .into(),
        );
    }
    if !wanted(&OF_PREDICTIONS) && !wanted(&OF_STEP) {
        return Ok(parts);
    }
    let runtime = machine::of_run(machine, run)?;
    let trained = match Trained::open(run, &runtime) {
        Ok(trained) => trained,
        Err(error) => {
            parts.notes.push(format!("The network cannot be opened: {error}."));
            return Ok(parts);
        }
    };
    parts.environment = trained.environment().cloned();
    if wanted(&OF_PREDICTIONS) {
        match for_testing(&trained, run, data, false) {
            Ok(samples) => {
                match Predictions::of(&trained, &samples.measured()) {
                    Ok(predictions) => parts.predictions = Some(predictions),
                    Err(error) => parts.notes.push(format!("No predictions are shown: {error}.")),
                }
                samples.note_skipped();
            }
            Err(stop) => parts.notes.extend(nothing_of("data", stop)),
        }
    }
    if let Some(config) = config.filter(|_| wanted(&OF_STEP)) {
        // A step is of the data that it trains on, whatever the run is measured on.
        match trained_on(&trained, &config, run) {
            Ok(data) => {
                if let Err(stop) = of_step(&config, &data, &runtime, &mut parts) {
                    parts.notes.extend(nothing_of("step", stop));
                }
            }
            Err(stop) => parts.notes.extend(nothing_of("step", stop)),
        }
    }
    Ok(parts)
}

/// What was recorded beside the epochs; nothing where it is damaged, which is noted on the page and for whoever makes it.
fn recorded<T: Default>(read: dropforge::Result<T>, notes: &mut Vec<String>) -> T {
    read.unwrap_or_else(|error| {
        note(&error.for_command());
        notes.push(format!("What was recorded within epochs is not shown: {error}."));
        T::default()
    })
}

fn nothing_of(part: &str, stop: Stop) -> Option<String> {
    match stop {
        Stop::Error(why) => Some(format!("Nothing is shown of its {part}: {why}.")),
        Stop::Said | Stop::Unread => None,
    }
}

/// The data that a run was trained on, as they were split then.
fn trained_on(trained: &Trained, config: &RunConfig, run: &Path) -> Outcome<OpenData> {
    let size = trained.inputs().shape.last().copied().unwrap_or(train::IMAGE_SIZE);
    let noted = read_split(run)?;
    let (noted, inputs) = (noted.as_ref(), Some(trained.inputs()));
    Ok(DataSpec::parse(&config.data)?.open(&Opening {
        noted,
        inputs,
        skip_corrupt: config.skip_corrupt,
        ..Opening::of(size)
    })?)
}

/// What the compiled step tells of itself.
fn of_step(config: &RunConfig, data: &OpenData, runtime: &Runtime, parts: &mut Parts) -> Outcome {
    // The kernels are those of the network; that samples are picked on the device is no part of it.
    let config = RunConfig { data_on_device: OnDevice::No, ..config.clone() };
    let mut trainer = train::build(&config, data, runtime, train::Watched::default())?;
    time(data, &mut trainer)?;
    let step = trainer.step();
    parts.kernels = step.kernels();
    parts.profile = step.profile().pop().map(|(_, table)| table);
    parts.summary = Some(step.network().summary().clone());
    parts.listing = step.explain().pop().map(|(_, listing)| listing);
    parts.memory = step.memory_blocks();
    match trained_classes(data, &trainer) {
        Some(counts) => parts.trained_classes = counts,
        None if data.inputs.classes.is_empty() => {}
        None => parts
            .notes
            .push("The classes of the training samples are not counted: reading them takes long.".into()),
    }
    Ok(())
}

/// Samples of each class that were trained on; `None` where the targets are no classes, or reading all of them takes
/// long.
fn trained_classes(data: &OpenData, trainer: &Trainer) -> Option<Vec<u64>> {
    let classes = data.inputs.classes.len();
    let loader = trainer.batches(&data.train).ok().filter(|_| classes > 0)?;
    let started = Instant::now();
    let mut counts = vec![0; classes];
    for batch in loader.epoch(0, 0) {
        let batch = batch.ok().filter(|_| started.elapsed() < COUNTED)?;
        let Some(Values::I32(targets)) = batch.get(TARGET) else { return None };
        for &class in targets {
            *counts.get_mut(usize::try_from(class).ok()?)? += 1;
        }
    }
    Some(counts)
}

/// Makes a few steps, of which nothing is kept, to see how long kernels take. What cannot be trained on any more is no
/// error here.
fn time(data: &OpenData, trainer: &mut Trainer) -> Outcome {
    let loader = trainer.batches(&data.train).map_err(|error| error.to_string())?;
    let started = Instant::now();
    // An epoch may have a single batch.
    let batches = (0..=MOST_STEPS as u64).flat_map(|epoch| loader.epoch(epoch, 0));
    for (index, batch) in batches.take(MOST_STEPS + 1).enumerate() {
        let Ok(batch) = batch else { break };
        if trainer.step_mut().run(Batch::from(batch)).and_then(|outcome| outcome.loss()).is_err() {
            break;
        }
        // The first step is slower than those that come.
        if index == 0 {
            trainer.start_profile();
        }
        if started.elapsed() > TIMED {
            break;
        }
    }
    Ok(())
}
