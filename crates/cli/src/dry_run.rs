//! `dropforge train --dry-run` and `--fast-dev-run`: what would be trained, without writing a run.

use crate::args::Train;
use crate::output::{Outcome, count, duration, line};
use crate::train::{Training, resolve};
use dropforge::data::{Source, subset};
use dropforge::metric::Figures;
use dropforge::run::RunConfig;
use dropforge::step::Batch;
use dropforge::train::Trainer;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long steps are timed.
const TIMED: Duration = Duration::from_secs(2);
const MOST_STEPS: u32 = 20;

pub fn run(args: &Train) -> Outcome {
    let mut resolved = resolve(args)?;
    if args.fast_dev_run {
        resolved.data.train = first(&resolved.data.train, resolved.config.batch)?;
        resolved.data.test = first(&resolved.data.test, resolved.config.batch)?;
    }
    let (Training { mut trainer, train, callbacks }, _) = Training::new(&resolved, args)?;
    if !args.fast_dev_run {
        return describe(args, &resolved.config, &train, &mut trainer);
    }
    // Whoever wants to save has nowhere to.
    let fit = trainer.fit(&train).validate(&resolved.data.test).epochs(1);
    callbacks.into_iter().fold(fit, |fit, callback| fit.callback(callback)).run()?;
    let Some(report) = trainer.history().last().filter(|_| !args.quiet) else { return Ok(()) };
    let Some(measured) = &report.validation else { return Ok(()) };
    if args.json {
        return line(json!({
            "event": "fast_dev_run", "train_loss": report.loss, "val_loss": measured.loss, "samples": measured.samples,
        }));
    }
    let shown = |loss: f64, values: &Figures| match values.shown().next().is_none() {
        true => format!("loss {loss:.4}"),
        false => format!("loss {loss:.4}, {values}"),
    };
    line(format_args!(
        "one step of training went through ({}), and one of validation ({}); no run was written",
        shown(report.loss, &report.metrics),
        shown(measured.loss, &measured.metrics)
    ))
}

/// The first samples of a source.
fn first(source: &Arc<dyn Source>, samples: usize) -> Outcome<Arc<dyn Source>> {
    let len = source.len().ok_or("--fast-dev-run: these data do not know their length")?;
    let indices: Vec<usize> = (0..len.min(samples)).collect();
    Ok(Arc::new(subset(source.clone(), indices).map_err(|error| error.to_string())?))
}

fn describe(args: &Train, config: &RunConfig, train: &Arc<dyn Source>, trainer: &mut Trainer) -> Outcome {
    let seconds = seconds_per_step(train, trainer)?;
    let peak = trainer.step().network().compilations().iter().map(|one| one.peak_bytes).max().unwrap_or(0);
    let states: usize = trainer.step().states().iter().map(|state| state.ty().bytes()).sum();
    let data = trainer.step().resident_bytes();
    let samples = train.len().unwrap_or(0);
    let steps = match config.drop_last {
        true => samples / config.batch,
        false => samples.div_ceil(config.batch),
    } as u64
        * config.epochs;
    let steps = config.max_steps.map_or(steps, |most| steps.min(most));
    let time = seconds * steps as f64;
    let time = config.max_time.map_or(time, |most| time.min(most));
    if args.quiet {
        return Ok(());
    }
    if args.json {
        return line(json!({
            "event": "dry_run", "config": config.to_text()?, "parameters": trainer.step().network().parameter_count(),
            "peak_bytes": peak, "state_bytes": states, "data_bytes": data, "steps": steps, "seconds_per_step": seconds, "seconds": time,
        }));
    }
    line(config.to_text()?.trim_end())?;
    line(format_args!("\n{}", trainer.step().network().summary().to_string().trim_end()))?;
    let size = |bytes: usize| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    line(format_args!(
        "\nmemory of a step: {} for intermediate values, {} for weights, optimizer and metrics{}",
        size(peak),
        size(states),
        if data > 0 { format!(", {} for the samples to train on", size(data)) } else { String::new() }
    ))?;
    line(format_args!(
        "time: about {} for {} steps of {:.2} ms, validation not counted; no run was written",
        duration(time),
        count(steps),
        seconds * 1e3
    ))
}

/// The time of a step on the data there are, reading included.
fn seconds_per_step(train: &Arc<dyn Source>, trainer: &mut Trainer) -> Outcome<f64> {
    let loader = trainer.batches(train)?;
    let (mut started, mut made) = (Instant::now(), 0);
    // The first step is slower than those that come.
    for (index, batch) in loader.epoch(0, 0).take(MOST_STEPS as usize + 1).enumerate() {
        let batch = Batch::from(batch.map_err(|error| error.to_string())?);
        trainer.step_mut().run(batch)?.loss()?;
        match index {
            0 => started = Instant::now(),
            _ => made += 1,
        }
        if started.elapsed() > TIMED {
            break;
        }
    }
    if made > 0 {
        return Ok(started.elapsed().as_secs_f64() / f64::from(made));
    }
    Ok(started.elapsed().as_secs_f64())
}
