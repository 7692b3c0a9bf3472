//! Norms and histograms of the layers while they are trained: `layers.jsonl`, an object a line.

use super::run_dir::LAYERS;
use super::{calls, disk};
use crate::nn::StateKind;
use crate::settings::Table;
use crate::train::{Callback, Control};
use crate::{Array, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Bytes that the file is read up to.
const MOST_BYTES: u64 = 256 << 20;
/// Bins of a histogram.
const BINS: usize = 40;

/// A parameter at a step: its weights after it, the gradient of its batch, and how far it moved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// The step, counted from the start of the run.
    pub step: u64,
    /// The epoch that it is in, from 1.
    pub epoch: u64,
    /// The path of the parameter.
    pub name: String,
    /// The weights after the step.
    pub weights: Spread,
    /// The gradients of the batch, before they were clipped; `None` where they are not kept, or the parameter is
    /// frozen.
    pub gradients: Option<Spread>,
    /// Norm of what the step changed; `None` if the weights before are not known.
    pub update_norm: Option<f64>,
}

/// How numbers are spread: their norm, and a histogram of those that are finite.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Square root of the sum of squares.
    pub norm: f64,
    /// The least number.
    pub low: f64,
    /// The largest number.
    pub high: f64,
    /// How many lie in each of equal parts from `low` to `high`.
    pub counts: Vec<u64>,
    /// How many are NaN or infinite.
    pub broken: u64,
}

impl Spread {
    /// That of these numbers.
    pub fn of(values: &[f32]) -> Spread {
        let finite = || values.iter().map(|&x| f64::from(x)).filter(|x| x.is_finite());
        let (mut low, mut high, mut squares, mut count) = (f64::INFINITY, f64::NEG_INFINITY, 0.0, 0);
        for x in finite() {
            (low, high, squares, count) = (low.min(x), high.max(x), squares + x * x, count + 1);
        }
        let broken = (values.len() - count) as u64;
        if count == 0 {
            return Spread { broken, ..Spread::default() };
        }
        let mut counts = vec![0; BINS];
        let scale = if high > low { BINS as f64 / (high - low) } else { 0.0 };
        finite().for_each(|x| counts[(((x - low) * scale) as usize).min(BINS - 1)] += 1);
        Spread { norm: squares.sqrt(), low, high, counts, broken }
    }
}

/// The callback of [`record_layers`].
pub struct RecordLayers {
    /// The file, in the folder of the run that is trained.
    path: Option<PathBuf>,
    every: Option<u64>,
    /// The weights before a step that is recorded.
    before: Option<(u64, BTreeMap<String, Vec<f32>>)>,
}

/// Writes norms and histograms of all parameters and, where [they are
/// kept](crate::train::TrainerBuilder::keep_gradients), of their gradients into the run that is saved to, which
/// [`layer_records`] reads and reports show: at the last step of each epoch, or after every so many steps. Recording
/// copies the weights to the host.
///
/// ```
/// use dropforge::prelude::*;
/// use dropforge::run::{layer_records, record_layers};
///
/// # let run = std::env::temp_dir().join(format!("dropforge-doc-layers-{}", std::process::id()));
/// let (train, _) = datasets::digits(200, 50, 1);
/// let net = seq![flatten(), "head" => dense(10)];
/// let trainer = Trainer::new(net, cross_entropy(), Sgd::new(0.1)).batch(50).keep_gradients();
/// let mut trainer = trainer.compile(&train)?;
/// trainer.fit(&train).epochs(2).callback(record_layers()).save(&run).run()?;
/// let records = layer_records(&run)?;
/// assert_eq!(records.len(), 4);
/// let last = &records[2];
/// assert_eq!((last.step, last.name.as_str()), (8, "head.weight"));
/// // What a step of SGD changes is the gradient times the rate.
/// let expected = 0.1 * last.gradients.as_ref().unwrap().norm;
/// assert!((last.update_norm.unwrap() / expected - 1.0).abs() < 1e-3);
/// # std::fs::remove_dir_all(run).unwrap();
/// # Ok::<(), dropforge::Error>(())
/// ```
pub fn record_layers() -> RecordLayers {
    RecordLayers { path: None, every: None, before: None }
}

impl RecordLayers {
    /// After every so many steps, instead of at the end of each epoch.
    #[must_use]
    pub fn every(mut self, steps: u64) -> RecordLayers {
        self.every = Some(steps.max(1));
        self
    }

    /// Whether step number `step` is recorded, which is batch number `batch` of so many, both from 1.
    fn is_due(&self, step: u64, batch: usize, batches: usize) -> bool {
        match self.every {
            Some(every) => step.is_multiple_of(every),
            None => batch == batches,
        }
    }

    fn record(&mut self, control: &Control<'_>) -> Result<()> {
        let Some(path) = self.path.clone() else { return Ok(()) };
        let (step, epoch) = (control.progress().step, control.progress().epoch);
        let before = self.before.take().filter(|(of, _)| *of == step).map(|(_, before)| before);
        let mut gradients: BTreeMap<String, Array> = control.step().gradients()?.into_iter().collect();
        let mut text = String::new();
        for (name, weights) in parameters(control)? {
            let moved = before.as_ref().and_then(|before| before.get(&name)).map(|before| {
                let squares = weights.iter().zip(before).map(|(now, then)| f64::from(now - then).powi(2));
                squares.sum::<f64>().sqrt()
            });
            let gradient = gradients.remove(&name);
            let record = LayerRecord {
                step,
                epoch,
                weights: Spread::of(&weights),
                gradients: gradient.and_then(|gradient| Some(Spread::of(gradient.as_f32()?))),
                update_norm: moved,
                name,
            };
            let line = serde_json::to_string(&record)
                .map_err(|error| Error::file(format!("a record of {}: {error}", record.name)))?;
            text += &line;
            text.push('\n');
        }
        let written = calls::append(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| disk::cannot("write", &path, &error))
    }
}

/// The parameters of a step that are f32, with their numbers.
fn parameters(control: &Control<'_>) -> Result<Vec<(String, Vec<f32>)>> {
    let states = control.step().states().iter().filter(|state| state.kind() == StateKind::Parameter);
    let read = states.map(|state| Ok((state.name().to_string(), state.read()?)));
    let read: Vec<(String, Array)> = read.collect::<Result<_>>()?;
    Ok(read.into_iter().filter_map(|(name, array)| Some((name, array.as_f32()?.to_vec()))).collect())
}

impl Callback for RecordLayers {
    fn name(&self) -> String {
        "record_layers".into()
    }

    fn only_looks_on(&self) -> bool {
        true
    }

    /// What was recorded of steps that are made again is taken back.
    fn on_fit_start(&mut self, control: &mut Control<'_>) -> Result<()> {
        let Some(path) = self.path.as_deref().filter(|path| calls::is_file(path)) else { return Ok(()) };
        let step = control.progress().step;
        let text = disk::read_text(path, MOST_BYTES)?;
        let kept: Vec<&str> =
            text.lines().filter(|line| parse(line).is_ok_and(|record| record.step <= step)).collect();
        let kept: String = kept.iter().map(|line| format!("{line}\n")).collect();
        if kept == text { Ok(()) } else { disk::replace_text(path, &kept) }
    }

    fn on_epoch_start(&mut self, control: &mut Control<'_>) -> Result<()> {
        self.look_ahead(control)
    }

    fn on_step_end(&mut self, control: &mut Control<'_>) -> Result<()> {
        let progress = control.progress();
        if self.is_due(progress.step, progress.batch, progress.batches) {
            self.record(control)?;
        }
        self.look_ahead(control)
    }

    fn in_run(&mut self, folder: &Path) {
        self.path = Some(folder.join(LAYERS));
    }

    fn config(&self) -> Result<Table> {
        Err(Error::setting("record_layers is asked for anew whenever training goes on"))
    }
}

impl RecordLayers {
    /// Keeps the weights if the next step is to be recorded.
    fn look_ahead(&mut self, control: &Control<'_>) -> Result<()> {
        let progress = control.progress();
        let (step, batch, batches) = (progress.step + 1, progress.batch + 1, progress.batches);
        if self.is_due(step, batch, batches) {
            self.before = Some((step, parameters(control)?.into_iter().collect()));
        }
        Ok(())
    }
}

fn parse(line: &str) -> Result<LayerRecord> {
    serde_json::from_str(line).map_err(|error| Error::of(ErrorKind::File, error.to_string()))
}

/// What [`record_layers`] has written into a run, in order; nothing where it was not asked for. A last line that a
/// process had no time to write is left out.
///
/// # Errors
/// The file cannot be read, or a line of it is none that was written there.
pub fn layer_records(run: impl AsRef<Path>) -> Result<Vec<LayerRecord>> {
    let path = run.as_ref().join(LAYERS);
    let Some(text) = disk::read_text_if_any(&path, MOST_BYTES)? else { return Ok(Vec::new()) };
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let named = |(index, line): (usize, &str)| {
        parse(line).map_err(|error| error.context(format_args!("{}, line {}", path.display(), index + 1)))
    };
    whole.lines().enumerate().map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads() {
        let spread = Spread::of(&[3.0, -4.0, f32::NAN, 0.0]);
        assert_eq!((spread.norm, spread.low, spread.high, spread.broken), (5.0, -4.0, 3.0, 1));
        assert_eq!((spread.counts[0], spread.counts[BINS - 1], spread.counts.iter().sum::<u64>()), (1, 1, 3));
        assert_eq!(Spread::of(&[2.0, 2.0]).counts[0], 2);
        assert_eq!(Spread::of(&[f32::INFINITY]), Spread { broken: 1, ..Spread::default() });
    }
}
