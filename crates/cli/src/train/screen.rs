//! What people see of a training: what it trains, a bar, a line for each epoch, how it ended.

use crate::args::Train;
use crate::confusion;
use crate::machine;
use crate::output::{Outcome, Stop, add_metrics, count, duration, line, note, shape};
use crate::progress::{ProgressBar, Shown, seconds_left};
use dropforge::Runtime;
use dropforge::metric::Figures;
use dropforge::run::{OpenData, RunConfig};
use dropforge::step::Evaluation;
use dropforge::train::{Callback, Control, EpochReport, Mark, Marks, Progress, Trainer};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// What is about to be trained, on what and where.
pub fn announce(
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
            "step": trainer.steps(), "notes": data.notes, "taken_as": data.taken_as,
        }));
    }
    data.notes.iter().for_each(|text| note(text));
    let samples =
        |len: Option<usize>| len.map_or_else(|| "an unknown number of".into(), |len| count(len as u64));
    let (train, test) = (samples(train), samples(test));
    let inputs = shape(&config.inputs.shape);
    line(format_args!("{}: {} parameters, on {device}", config.model.name(), count(parameters as u64)))?;
    line(format_args!("{}: {train} training and {test} validation samples of {inputs}", config.data))?;
    data.taken_as.iter().try_for_each(|taken| line(format_args!("columns: {taken}")))?;
    match trainer.steps() {
        0 => line(format_args!("run: {}", path.display())),
        steps => line(format_args!("run: {}, going on after {} steps", path.display(), count(steps))),
    }
}

/// What people see of training: a bar, and a line for each epoch.
pub struct Screen<'a> {
    config: &'a RunConfig,
    json: bool,
    quiet: bool,
    /// Whether there is the bar alone, for what measures it and prints something else.
    only_bar: bool,
    bar: Option<ProgressBar>,
    marks: Marks,
    /// What stood out in the epoch that goes on: of each figure the first, and how many there were.
    marked: BTreeMap<&'static str, (Mark, u64)>,
    /// Why nothing can be printed any more.
    pub stop: Option<Stop>,
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
            self.mark(mark, control);
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
        self.say_marks(control);
        if self.only_bar {
            return Ok(());
        }
        let waited = control.progress().phases.data;
        let printed = print_epoch(self.json, self.config, report, waited);
        self.printed(printed, control);
        Ok(())
    }

    fn on_fit_end(&mut self, control: &mut Control<'_>) -> dropforge::Result<()> {
        // What is said of the end must not stand behind the bar.
        self.bar = None;
        self.say_marks(control);
        Ok(())
    }

    fn on_error(&mut self, _: &dropforge::Error) {
        self.bar = None;
    }
}

impl<'a> Screen<'a> {
    /// Of a training; `unread` says that the reader of the output has gone already.
    pub fn new(config: &'a RunConfig, json: bool, quiet: bool, unread: bool) -> Screen<'a> {
        let (marks, marked) = (Marks::default(), BTreeMap::new());
        Screen { config, json, quiet, only_bar: false, bar: None, marks, marked, stop: None, unread }
    }

    /// Looks at each step as any, and prints no lines.
    pub fn only_bar(config: &'a RunConfig) -> Screen<'a> {
        Screen { only_bar: true, ..Screen::new(config, false, false, false) }
    }

    /// Something stands out. Programs hear of each; people of a speed that falls at once, of the rest when the epoch is
    /// over, so that there is one line of a figure and an epoch.
    fn mark(&mut self, mark: Mark, control: &mut Control<'_>) {
        let figure = mark.figure;
        let is_first = !self.marked.contains_key(figure);
        if !self.only_bar && (self.json || (figure == "speed" && is_first)) {
            self.bar = None;
            let printed = print_mark(self.json, &mark);
            self.printed(printed, control);
        }
        self.marked.entry(figure).or_insert((mark, 0)).1 += 1;
    }

    /// Says what stood out in the epoch and has not been said.
    fn say_marks(&mut self, control: &mut Control<'_>) {
        let marked = std::mem::take(&mut self.marked);
        if self.json || self.quiet || self.only_bar {
            return;
        }
        // Those of the speed have been said.
        for (mark, times) in marked.into_values().filter(|(mark, _)| mark.figure != "speed") {
            let printed = print_marks(&mark, times);
            self.printed(printed, control);
        }
    }

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

/// What stood out in an epoch, so many times.
fn print_marks(mark: &Mark, times: u64) -> Outcome {
    match times {
        1 => note(&mark.to_string()),
        _ => note(&format!("{mark}; {times} times in this epoch")),
    }
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
pub fn say_stopped(
    json: bool,
    why: &str,
    limit: Option<&'static str>,
    trainer: &Trainer,
    path: &Path,
) -> Outcome {
    let run = path.display();
    if json {
        return line(json!({
            "event": "stopped", "why": why, "limit": limit, "run": run.to_string(), "step": trainer.steps(),
        }));
    }
    let steps = count(trainer.steps());
    // Without that the same limit would end it again at once.
    let more = limit.map_or_else(String::new, |limit| format!(" --{} MORE", limit.replace('_', "-")));
    line(format_args!(
        "stopped after {steps} steps: {why}; all is saved, and `dropforge train --resume {run}{more}` goes on"
    ))
}

fn shown(progress: &Progress<'_>, config: &RunConfig) -> Shown {
    let Progress { epoch, batch, batches, loss, samples_per_s, phases, .. } = *progress;
    let metrics = progress.metrics().unwrap_or_default();
    let metrics = metrics.shown().map(ToString::to_string).collect();
    let left = seconds_left(progress, config.epochs, config.batch);
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
    let named = |prefix: &str, loss: f64, metrics: &Figures| {
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

/// How it ended; what was not validated yet is measured now.
pub fn finish(
    json: bool,
    trainer: &mut Trainer,
    data: &OpenData,
    path: &Path,
    started: Instant,
    is_asked: bool,
) -> Outcome {
    let last = match trainer.history().last().and_then(|report| report.validation.clone()) {
        Some(validation) => validation,
        // Whoever wants an end does not want to wait for a measurement.
        None if is_asked => return Ok(()),
        None => trainer.evaluate(&data.test)?,
    };
    let history = trainer.history();
    let seconds = history.iter().map(|report| report.seconds).fold(0.0, |sum, seconds| sum + seconds);
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
    let figure = match last.metrics.shown().next() {
        Some(metric) => metric.to_string(),
        None => format!("loss {:.4}", last.loss),
    };
    confusion::print(&last.metrics, data.inputs.classes.as_slice())?;
    line(format_args!("validation {figure} after {seconds}; saved in {}", path.display()))
}

/// The kernels of the training step; a last batch with fewer samples has a program of its own.
pub fn print_profile(json: bool, trainer: &Trainer) -> Outcome {
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
