//! Event files that TensorBoard reads: scalars, histograms, pictures, texts, the graph and the settings.

mod events;
mod graph;
mod settings;

use super::InputSpec;
use super::picture::png;
use super::run_dir::TENSORBOARD;
use crate::nn::StateKind;
use crate::settings::{Described, Range, Table};
use crate::step::Evaluation;
use crate::train::report::VALIDATION;
use crate::train::{Callback, Control, EpochReport, Snapshot};
use crate::{Data, Result, described};
use dropforge_data::{INPUT, Loader, LoaderOptions, Source, Values};
use events::Events;
use settings::Ended;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Pictures that are shown of the samples.
const PICTURES: usize = 8;
/// Histograms wait for so many times as long as they take: epochs may be shorter than that.
const PATIENCE: u32 = 100;

/// The callback of [`tensorboard`].
pub struct TensorBoard {
    folder: Option<String>,
    every: u64,
    histograms: bool,
    /// The folder of the run that is trained.
    run: Option<PathBuf>,
    file: Option<Events>,
    samples: Option<Arc<dyn Source>>,
    /// Whether the settings have been written.
    told: bool,
    /// Tags of the figures that epochs will have.
    figures: Vec<String>,
    /// When the fit began, in seconds since 1970.
    began: f64,
    /// The last histograms.
    drawn: Option<Drawn>,
}

/// Histograms that were written.
struct Drawn {
    step: u64,
    at: Instant,
    took: Duration,
}

/// Writes event files for TensorBoard into a folder, which is made: the loss, the rate and the speed every 20 steps,
/// the figures of each epoch and of each validation, histograms of the parameters and, where [they are
/// kept](crate::train::TrainerBuilder::keep_gradients), of the gradients; the graph of the network, the first samples
/// that are validated on if they are pictures, and the settings as text and as hyperparameters. Each start adds a file;
/// `tensorboard --logdir FOLDER` shows them together.
///
/// Histograms are those of the first and the last epoch, and of the others as long as they take no more than a
/// hundredth of the time.
///
/// ```
/// use dropforge::prelude::*;
/// use dropforge::run::tensorboard;
///
/// # let folder = std::env::temp_dir().join(format!("dropforge-doc-events-{}", std::process::id()));
/// let (train, test) = datasets::digits(200, 50, 1);
/// let mut trainer = Trainer::new(seq![flatten(), dense(10)], cross_entropy(), Sgd::new(0.1)).compile(&train)?;
/// let events = tensorboard(folder.to_string_lossy());
/// trainer.fit(&train).validate(&test).epochs(1).callback(events).run()?;
/// assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
/// # std::fs::remove_dir_all(folder).unwrap();
/// # Ok::<(), dropforge::Error>(())
/// ```
pub fn tensorboard(folder: impl Into<String>) -> TensorBoard {
    TensorBoard {
        folder: Some(folder.into()),
        every: 20,
        histograms: true,
        run: None,
        file: None,
        samples: None,
        told: false,
        figures: Vec::new(),
        began: 0.0,
        drawn: None,
    }
}

described! {
    TensorBoard = "tensorboard", "writes event files that TensorBoard shows",
        { run: None, file: None, samples: None, told: false, figures: Vec::new(), began: 0.0, drawn: None };
    folder: Option<String>, Some(None), Range::ANY, "folder for the files, `tensorboard` in that of the run by default";
    every: u64, Some(20), (1..).into(), "steps between two losses", may change;
    histograms: bool, Some(true), Range::ANY, "whether histograms of the parameters are written after epochs", may change;
}

/// The tag of a figure: `val_loss` as `loss/val`, so that the curves of training and validation stand in one group.
fn tag(name: &str) -> String {
    let (of, figure) = name.split_once('_').unwrap_or(("", name));
    format!("{figure}/{of}")
}

impl TensorBoard {
    /// The file, which is begun when it is first needed; none where there is neither a folder nor a run.
    fn open(&mut self) -> Result<Option<&mut Events>> {
        let usual = || self.run.as_ref().map(|run| run.join(TENSORBOARD));
        if self.file.is_none()
            && let Some(folder) = self.folder.as_ref().map(PathBuf::from).or_else(usual)
        {
            self.file = Some(Events::create(&folder)?);
        }
        Ok(self.file.as_mut())
    }

    /// Writes how a training ended whose settings have been written.
    fn write_end(&mut self, ended: Ended) -> Result<()> {
        match &mut self.file {
            Some(events) if self.told => settings::write_end(events, ended).and_then(|()| events.flush()),
            _ => Ok(()),
        }
    }

    /// Histograms of what the network has now.
    fn write_histograms(&mut self, step: u64, control: &Control<'_>) -> Result<()> {
        let began = Instant::now();
        if !self.histograms {
            return Ok(());
        }
        let Some(events) = self.open()? else { return Ok(()) };
        let states = control.step().states();
        for state in states.iter().filter(|state| state.kind() == StateKind::Parameter) {
            if let Data::F32(values) = state.read()?.data() {
                events.histogram(state.name(), values, step)?;
            }
        }
        for (name, gradient) in control.step().gradients()? {
            if let Data::F32(values) = gradient.data() {
                events.histogram(&format!("gradients/{name}"), values, step)?;
            }
        }
        events.flush()?;
        self.drawn = Some(Drawn { step, at: Instant::now(), took: began.elapsed() });
        Ok(())
    }

    fn write_pictures(&mut self, step: u64) -> Result<()> {
        let Some(samples) = self.samples.take() else { return Ok(()) };
        let input = InputSpec::described(samples.description());
        let &[channels, height, width] = input.shape.as_slice() else { return Ok(()) };
        if ![1, 3].contains(&channels) {
            return Ok(());
        }
        let options = LoaderOptions { batch: PICTURES, shuffle: false, ..LoaderOptions::default() };
        let Some(batch) = Loader::new(samples, options)?.epoch(0, 0).next() else { return Ok(()) };
        let batch = batch?;
        let Some(Values::F32(numbers)) = batch.get(INPUT) else { return Ok(()) };
        let Some(events) = self.open()? else { return Ok(()) };
        for (index, pixels) in numbers.chunks(channels * height * width).enumerate() {
            let size = [channels, height, width];
            if let Some(file) = png(size, &input.brightness(pixels)) {
                events.image(&format!("samples/{index}"), size, &file, step)?;
            }
        }
        Ok(())
    }
}

impl Callback for TensorBoard {
    fn name(&self) -> String {
        "tensorboard".into()
    }

    fn on_fit_start(&mut self, control: &mut Control<'_>) -> Result<()> {
        self.began = events::now();
        self.figures = control.figures().iter().map(|name| tag(name)).collect();
        let step = control.progress().step;
        self.write_pictures(step)?;
        // A network that cannot be traced for one sample has none.
        match graph::of(control.step().network()) {
            Ok(graph) => self.open()?.map_or(Ok(()), |events| events.graph(&graph)),
            Err(_) => Ok(()),
        }
    }

    fn on_step_end(&mut self, control: &mut Control<'_>) -> Result<()> {
        let progress = control.progress();
        let (step, loss, speed) = (progress.step, progress.loss, progress.samples_per_s);
        let lr = progress.learning_rate();
        if step % self.every == 0
            && let Some(events) = self.open()?
        {
            // Losses are read a few steps late: at the start of an epoch there is none yet.
            if !loss.is_nan() {
                events.scalar("step/loss", loss, step)?;
            }
            events.scalar("step/samples_per_s", speed, step)?;
            if let Some(lr) = lr {
                events.scalar("step/lr", lr, step)?;
            }
        }
        Ok(())
    }

    /// The figures of a validation in the middle of an epoch; those of a whole one come with its report.
    fn on_validation_end(&mut self, _: &Evaluation, control: &mut Control<'_>) -> Result<()> {
        let Some(report) = control.within_epoch().cloned() else { return Ok(()) };
        let Some(events) = self.open()? else { return Ok(()) };
        let validation = report.names().into_iter().filter(|name| name.starts_with(VALIDATION));
        for (value, name) in validation.filter_map(|name| Some((report.get(&name)?, name))) {
            events.scalar(&tag(&name), value, report.step)?;
        }
        events.flush()
    }

    /// The settings, which only a snapshot knows.
    fn on_checkpoint(&mut self, snapshot: &Snapshot<'_>) -> Result<()> {
        if std::mem::replace(&mut self.told, true) {
            return Ok(());
        }
        let (step, table) = (snapshot.steps(), snapshot.setup.settings.clone());
        let (figures, began) = (self.figures.clone(), self.began);
        let Some(events) = self.open()? else { return Ok(()) };
        // Indented text is shown as it is.
        let text: String = table.to_string().lines().map(|line| format!("    {line}\n")).collect();
        events.text("settings", &text, step)?;
        settings::write(events, &table, &figures, began)?;
        events.flush()
    }

    fn on_epoch_end(&mut self, report: &EpochReport, control: &mut Control<'_>) -> Result<()> {
        let is_last = control.planned() == Some(report.epoch);
        let waited = self.drawn.as_ref().is_none_or(|drawn| drawn.at.elapsed() >= drawn.took * PATIENCE);
        let Some(events) = self.open()? else { return Ok(()) };
        events.scalar("lr", report.lr, report.step)?;
        for name in report.names() {
            if let Some(value) = report.get(&name) {
                events.scalar(&tag(&name), value, report.step)?;
            }
        }
        events.flush()?;
        if waited || is_last { self.write_histograms(report.step, control) } else { Ok(()) }
    }

    fn on_fit_end(&mut self, control: &mut Control<'_>) -> Result<()> {
        // Somebody may have ended it before its last epoch.
        if let Some(last) = control.report().map(|report| report.step)
            && self.drawn.as_ref().is_some_and(|drawn| drawn.step < last)
        {
            self.write_histograms(last, control)?;
        }
        self.write_end(if control.was_interrupted() { Ended::Stopped } else { Ended::Whole })
    }

    fn on_error(&mut self, _: &crate::Error) {
        // The error that ended training is the one to be told.
        let _ = self.write_end(Ended::Failed);
    }

    fn in_run(&mut self, folder: &Path) {
        self.run = Some(folder.into());
    }

    fn with_validation(&mut self, samples: &Arc<dyn Source>) {
        self.samples = Some(samples.clone());
    }

    fn only_looks_on(&self) -> bool {
        true
    }

    fn config(&self) -> Result<Table> {
        self.write_named()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    #[test]
    fn histograms_of_short_epochs_wait_and_the_last_one_comes() {
        const EPOCHS: u64 = 300;
        let folder = std::env::temp_dir().join(format!("dropforge-histograms-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let (train, _) = datasets::digits(20, 10, 1);
        let net = seq![flatten(), "wide" => dense(10)];
        let mut trainer =
            Trainer::new(net, cross_entropy(), Sgd::new(0.1)).batch(20).compile(&train).unwrap();
        trainer.fit(&train).epochs(EPOCHS).callback(tensorboard(folder.to_string_lossy())).run().unwrap();
        let file = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
        let bytes = std::fs::read(file).unwrap();
        // A summary with a histogram of this name: its tag, and the message behind it.
        let tag = b"\x0a\x0bwide.weight\x2a";
        let found: Vec<usize> =
            (0..bytes.len() - tag.len()).filter(|&at| bytes[at..].starts_with(tag)).collect();
        assert!((2..EPOCHS as usize / 2).contains(&found.len()), "{} histograms", found.len());
        // The step stands before the summary: field 2 of the event.
        let step = [&[0x10][..], &[(EPOCHS as u8 & 0x7f) | 0x80, (EPOCHS >> 7) as u8]].concat();
        let last = *found.last().unwrap();
        assert!(bytes[last - 24..last].windows(step.len()).any(|part| part == step), "not of the last epoch");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
