//! `dropforge report` and `dropforge plot`: what a run looks like.

use crate::args::{DataArgs, Machine, Plot, Report};
use crate::output::{Outcome, line};
use crate::{machine, train};
use dropforge::Runtime;
use dropforge::run::{DataSpec, OpenData, REPORT, RunConfig, Trained, config_of, history};
use dropforge_report::{Parts, Predictions, figure, page};
use std::path::Path;

/// What a chart needs beside the finished epochs.
const OF_PREDICTIONS: [&str; 7] =
    ["confusion", "roc", "pr", "calibration", "scatter", "residuals", "classes"];
const OF_STEP: [&str; 2] = ["network", "memory"];

pub fn run(args: &Report) -> Outcome {
    let parts = read(&args.run, &args.data, &args.machine, |_| true)?;
    let out = args.out.clone().unwrap_or_else(|| args.run.join(REPORT));
    write(&out, &page(&parts))?;
    line(format_args!("report of {} written to {}", args.run.display(), out.display()))
}

pub fn plot(args: &Plot) -> Outcome {
    let ending =
        args.out.as_deref().and_then(|out| out.extension()).map(|ending| ending.to_ascii_lowercase());
    if ending.is_some_and(|ending| ending != "svg") {
        return Err("--out: charts are written as SVG; give a file that ends in .svg".into());
    }
    let parts = read(&args.run, &args.data, &args.machine, |part| part.contains(&&*args.what))?;
    let svg = figure(&parts, &args.what)?;
    match &args.out {
        Some(out) => write(out, &svg),
        None => line(svg.trim_end()),
    }
}

fn write(path: &Path, text: &str) -> Outcome {
    std::fs::write(path, text).map_err(|error| format!("{}: cannot write it: {error}", path.display()).into())
}

/// What there is to know of a run. What cannot be found out is noted, not an error: the finished epochs are worth seeing
/// even if the data are gone.
fn read(run: &Path, data: &DataArgs, machine: &Machine, wanted: impl Fn(&[&str]) -> bool) -> Outcome<Parts> {
    let name =
        run.file_name().map_or_else(|| run.display().to_string(), |name| name.to_string_lossy().into());
    let config = config_of(run)?;
    let mut parts = Parts {
        name,
        history: Some(history(run)?),
        config: config.as_ref().map(RunConfig::to_text).transpose()?,
        ..Parts::default()
    };
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
    match open_data(&trained, data) {
        Ok(data) => {
            if wanted(&OF_PREDICTIONS) {
                match Predictions::of(&trained, &data.test) {
                    Ok(predictions) => parts.predictions = Some(predictions),
                    Err(error) => parts.notes.push(format!("No predictions are shown: {error}.")),
                }
            }
            if let Some(config) = config.filter(|_| wanted(&OF_STEP)) {
                of_step(&config, &data, &runtime, &mut parts)?;
            }
        }
        Err(why) => parts.notes.push(format!("Nothing is shown of its data: {why}.")),
    }
    Ok(parts)
}

/// The data that a run names, or others.
fn open_data(trained: &Trained, data: &DataArgs) -> Result<OpenData, String> {
    let named = data.data.as_deref().or(trained.config().map(|config| config.data.as_str()));
    let named = named.ok_or("a program trained this run, so that it names no data; add --data")?;
    let spec = DataSpec::parse(named).map_err(|error| error.to_string())?;
    if data.download {
        spec.download().map_err(|error| error.to_string())?;
    }
    let usual = trained.inputs().shape.last().copied().unwrap_or(train::IMAGE_SIZE);
    spec.open(data.size.map_or(usual, |size| size as usize)).map_err(|error| error.to_string())
}

/// What the compiled step tells of itself.
fn of_step(config: &RunConfig, data: &OpenData, runtime: &Runtime, parts: &mut Parts) -> Outcome {
    let trainer = train::build(config, data, runtime, false)?;
    let step = trainer.step();
    parts.summary = Some(step.network().summary().clone());
    parts.listing = step.explain().pop().map(|(_, listing)| listing);
    parts.memory = step.memory_blocks();
    Ok(())
}
