//! What happens within epochs: `steps.jsonl`, an object a line.

use super::run_dir::{STEPS, is_half_replaced};
use super::{calls, disk};
use crate::metric::{Better, Figure, Figures, Unit};
use crate::step::Evaluation;
use crate::train::progress::Seen;
use crate::train::{Control, EpochReport, Mark, Marks, Progress};
use crate::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Bytes that the file is read up to.
const MOST_BYTES: u64 = 256 << 20;
/// Points of an epoch at most, and of a whole run about so many.
const MOST_IN_EPOCH: u64 = 200;
const MOST_IN_RUN: u64 = 20_000;
/// Between two points of an epoch of which nobody knows how long it is.
const PAUSE: Duration = Duration::from_secs(1);
/// Between any two points but those at the end of an epoch: a hundred times what one takes.
const LEAST_PAUSE: Duration = Duration::from_micros(500);
/// How long lines wait until they are written.
const WRITE: Duration = Duration::from_secs(1);
/// Marks of one figure that an epoch keeps, beside the last, which has their count.
const MOST_MARKS: u64 = 8;

/// Where training was at a step within an epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepPoint {
    /// The step, counted from the start of the run.
    pub step: u64,
    /// The epoch that it is in, from 1.
    pub epoch: u64,
    /// Batches of the epoch until then, and in all of it; 0 where only its end tells.
    pub batch: usize,
    /// See `batch`.
    pub batches: usize,
    /// Mean loss over the samples since the point before.
    pub loss: f64,
    /// Learning rate of the step, as the schedule has it; `None` if the optimizer has none.
    pub lr: Option<f64>,
    /// Samples per second since the point before.
    pub samples_per_s: f64,
    /// The part of the time since the point before that was spent waiting for data.
    pub waiting: f64,
}

/// What a validation has measured, in the middle of an epoch or after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepValidation {
    /// The step after which it was measured.
    pub step: u64,
    /// The epoch of the step, from 1.
    pub epoch: u64,
    /// Batches of the epoch until then, and in all of it; 0 where only its end tells.
    pub batch: usize,
    /// See `batch`.
    pub batches: usize,
    /// Whether the epoch was over.
    pub ends_epoch: bool,
    /// What was measured. A number that is infinite is NaN here.
    #[serde(serialize_with = "write_evaluation", deserialize_with = "read_evaluation")]
    pub measured: Evaluation,
}

/// Something that stood out; see [`Marks`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepMark {
    /// The step up to which training was when it was noticed.
    pub step: u64,
    /// The epoch of the step, from 1.
    pub epoch: u64,
    /// `loss`, `gradient_norm` or `speed`.
    pub figure: String,
    /// The loss, the norm, or steps per second.
    pub value: f64,
    /// What it usually was.
    pub usual: f64,
    /// What there is to say.
    pub text: String,
    /// How many of this figure stood out in the epoch until then.
    pub count: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Point(StepPoint),
    Validation(StepValidation),
    Mark(StepMark),
}

impl Line {
    fn step(&self) -> u64 {
        match self {
            Line::Point(point) => point.step,
            Line::Validation(validation) => validation.step,
            Line::Mark(mark) => mark.step,
        }
    }
}

/// What a run has recorded within its epochs, each in the order of steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepRecords {
    /// Losses, rates and speeds.
    pub points: Vec<StepPoint>,
    /// Validations, those after epochs included.
    pub validations: Vec<StepValidation>,
    /// What stood out; of each figure the first few of an epoch and the last.
    pub marks: Vec<StepMark>,
}

/// What a run that was [saved](crate::train::Fit::save) has recorded within its epochs, in the file `steps.jsonl`:
/// losses, rates and speeds at up to 200 points of an epoch, validations, and what stood out. Nothing where there is no
/// such file, as in runs of earlier versions. A last line that a process had no time to write is left out.
///
/// ```
/// use dropforge::prelude::*;
/// use dropforge::run::step_records;
///
/// # let run = std::env::temp_dir().join(format!("dropforge-doc-steps-{}", std::process::id()));
/// let (train, test) = datasets::digits(200, 50, 1);
/// let mut trainer = Trainer::new(seq![flatten(), dense(10)], cross_entropy(), Sgd::new(0.1)).batch(10).compile(&train)?;
/// trainer.fit(&train).validate(&test).validate_every(8).epochs(1).save(&run).run()?;
/// let records = step_records(&run)?;
/// assert_eq!(records.points.last().unwrap().step, 20);
/// let measured: Vec<u64> = records.validations.iter().map(|validation| validation.step).collect();
/// assert_eq!(measured, [8, 16, 20]);
/// # std::fs::remove_dir_all(run).unwrap();
/// # Ok::<(), dropforge::Error>(())
/// ```
///
/// # Errors
/// The file cannot be read, or a line of it is none that was written there.
pub fn step_records(run: impl AsRef<Path>) -> Result<StepRecords> {
    let path = run.as_ref().join(STEPS);
    if !calls::is_folder(run.as_ref()) || is_half_replaced(run.as_ref())? {
        return Ok(StepRecords::default());
    }
    let Some(text) = disk::read_text_if_any(&path, MOST_BYTES)? else { return Ok(StepRecords::default()) };
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    // What was recorded twice, before a stop and after it, counts as it was the last time.
    let (mut points, mut validations, mut marks) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for (index, line) in whole.lines().enumerate() {
        match parse(line) {
            Ok(Line::Point(point)) => drop(points.insert(point.step, point)),
            Ok(Line::Validation(one)) => drop(validations.insert((one.step, one.ends_epoch), one)),
            Ok(Line::Mark(mark)) => drop(marks.insert((mark.step, mark.figure.clone()), mark)),
            Err(error) => return Err(error.context(format_args!("{}, line {}", path.display(), index + 1))),
        }
    }
    Ok(StepRecords {
        points: points.into_values().collect(),
        validations: validations.into_values().collect(),
        marks: marks.into_values().collect(),
    })
}

fn parse(line: &str) -> Result<Line> {
    serde_json::from_str(line).map_err(|error| Error::file(error.to_string()))
}

/// Gives the last epoch the validation that came after its checkpoint.
pub(super) fn complete(run: &Path, history: &mut [EpochReport]) {
    let Some(last) = history.last_mut().filter(|last| last.validation.is_none()) else { return };
    // Whatever is wrong with the file is said where it is asked for.
    let Ok(records) = step_records(run) else { return };
    let is_of = |one: &&StepValidation| one.ends_epoch && (one.epoch, one.step) == (last.epoch, last.step);
    last.validation = records.validations.iter().rev().find(is_of).map(|one| one.measured.clone());
}

/// Records a run while it is trained.
pub(super) struct StepRecorder {
    path: PathBuf,
    /// Step from which the run goes on in this process, until what was recorded of later ones has been taken back.
    from: Option<u64>,
    begun: bool,
    /// Lines that are not written yet.
    lines: String,
    written: Instant,
    pointed: Instant,
    /// The epoch of the last point, and what was known then.
    last: (u64, Seen),
    /// Samples per second and part of the time that was spent waiting for data, at the last point.
    pace: (f64, f64),
    marks: Marks,
    /// Marks of the epoch that goes on, by their figure, and whether the last one is written.
    marked: BTreeMap<&'static str, (StepMark, bool)>,
}

impl StepRecorder {
    pub fn new(run: &Path) -> StepRecorder {
        let now = Instant::now();
        StepRecorder {
            path: run.join(STEPS),
            from: None,
            begun: false,
            lines: String::new(),
            written: now,
            pointed: now,
            last: (0, Seen::default()),
            pace: (0.0, 0.0),
            marks: Marks::default(),
            marked: BTreeMap::new(),
        }
    }

    /// Training goes on from here.
    pub fn begin(&mut self, control: &Control<'_>) {
        if !std::mem::replace(&mut self.begun, true) {
            self.from = Some(control.progress().step);
        }
    }

    /// After a step.
    pub fn step(&mut self, control: &Control<'_>) -> Result<()> {
        let progress = control.progress();
        if let Some(mark) = self.marks.look(&progress) {
            self.mark(progress.epoch, mark)?;
        }
        let planned = control.planned().unwrap_or(1).max(1);
        let most = (MOST_IN_RUN / planned).clamp(2, MOST_IN_EPOCH);
        let due = match progress.batches as u64 {
            0 => self.pointed.elapsed() >= PAUSE,
            batches => {
                (progress.batch as u64).is_multiple_of(batches.div_ceil(most))
                    && self.pointed.elapsed() >= LEAST_PAUSE
            }
        };
        if due { self.point(&progress, progress.epoch, progress.batch) } else { Ok(()) }
    }

    /// After an epoch, of which the last losses have been read now.
    pub fn end_epoch(&mut self, report: &EpochReport, control: &Control<'_>) -> Result<()> {
        let progress = control.progress();
        self.point(&progress, report.epoch, progress.batches)?;
        for (mark, written) in std::mem::take(&mut self.marked).into_values() {
            if !written {
                self.add(&Line::Mark(mark))?;
            }
        }
        Ok(())
    }

    /// At the end of a fit, perhaps in the middle of an epoch.
    pub fn end(&mut self, control: &Control<'_>) -> Result<()> {
        let progress = control.progress();
        if progress.batch > 0 { self.point(&progress, progress.epoch, progress.batch) } else { Ok(()) }
    }

    /// After a validation.
    pub fn validation(&mut self, measured: &Evaluation, control: &Control<'_>) -> Result<()> {
        let progress = control.progress();
        let ended = control.report().filter(|report| progress.batch == 0 && report.step == progress.step);
        self.add(&Line::Validation(StepValidation {
            step: progress.step,
            epoch: ended.map_or(progress.epoch, |report| report.epoch),
            batch: if ended.is_some() { progress.batches } else { progress.batch },
            batches: progress.batches,
            ends_epoch: ended.is_some(),
            measured: measured.clone(),
        }))
    }

    fn point(&mut self, progress: &Progress<'_>, epoch: u64, batch: usize) -> Result<()> {
        let seen = progress.seen;
        let goes_on = self.last.0 == epoch && self.last.1.made <= seen.made;
        let last = if goes_on { self.last.1 } else { Seen::default() };
        // Losses are read a few steps late.
        if seen.samples == last.samples {
            return Ok(());
        }
        self.pointed = Instant::now();
        self.last = (epoch, seen);
        // At the end of an epoch late losses are read, and no step may have been made since the point before.
        if seen.made > last.made {
            let (now, then) = (seen.phases, last.phases);
            let taken = (now.seconds() - then.seconds()).max(1e-9);
            let speed = (seen.made - last.made) as f64 / (seen.seconds - last.seconds).max(1e-9);
            self.pace = (speed, ((now.data - then.data) / taken).clamp(0.0, 1.0));
        }
        let (samples_per_s, waiting) = self.pace;
        self.add(&Line::Point(StepPoint {
            step: progress.step,
            epoch,
            batch,
            batches: progress.batches,
            loss: (seen.loss - last.loss) / (seen.samples - last.samples) as f64,
            lr: progress.learning_rate().filter(|lr| lr.is_finite()),
            samples_per_s,
            waiting,
        }))
    }

    fn mark(&mut self, epoch: u64, mark: Mark) -> Result<()> {
        let Mark { step, figure, value, usual, text } = mark;
        let before = self.marked.get(figure).filter(|(before, _)| before.epoch == epoch);
        let count = before.map_or(0, |(before, _)| before.count) + 1;
        let mark = StepMark { step, epoch, figure: figure.into(), value, usual, text, count };
        let written = count <= MOST_MARKS;
        if written {
            self.add(&Line::Mark(mark.clone()))?;
        }
        self.marked.insert(figure, (mark, written));
        Ok(())
    }

    fn add(&mut self, line: &Line) -> Result<()> {
        let text = serde_json::to_string(line)
            .map_err(|error| Error::file(format!("{}: {error}", self.path.display())))?;
        self.lines += &text;
        self.lines.push('\n');
        Ok(())
    }

    /// Writes what has waited long enough.
    pub fn write_late(&mut self) -> Result<()> {
        if self.written.elapsed() >= WRITE { self.write() } else { Ok(()) }
    }

    /// Writes what there is. The run is this training's own by now.
    pub fn write(&mut self) -> Result<()> {
        self.written = Instant::now();
        if self.lines.is_empty() {
            return Ok(());
        }
        if let Some(step) = self.from {
            self.take_back(step)?;
            self.from = None;
        }
        let lines = std::mem::take(&mut self.lines);
        let written = calls::append(&self.path).and_then(|mut file| file.write_all(lines.as_bytes()));
        written.map_err(|error| disk::cannot("write", &self.path, &error))
    }

    /// Takes back what was recorded of steps that are made again, and what is half written.
    fn take_back(&self, step: u64) -> Result<()> {
        let text = match disk::read_text_if_any(&self.path, MOST_BYTES) {
            Ok(Some(text)) => text,
            Ok(None) => return Ok(()),
            // It decides nothing: what cannot be read any more does not end a training, the record begins anew.
            Err(_) => return disk::replace_text(&self.path, ""),
        };
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let kept: String = whole.filter(|line| parse(line).is_ok_and(|line| line.step() <= step)).collect();
        if kept == text { Ok(()) } else { disk::replace_text(&self.path, &kept) }
    }
}

/// An [`Evaluation`] in JSON, which has no NaN.
#[derive(Serialize, Deserialize)]
struct Measured {
    loss: Option<f64>,
    samples: u64,
    seconds: f64,
    metrics: Vec<Named>,
}

#[derive(Serialize, Deserialize)]
struct Named {
    name: String,
    value: Option<f64>,
    #[serde(default)]
    unit: Unit,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    better: Option<Better>,
}

fn write_evaluation<S: Serializer>(of: &Evaluation, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    let finite = |x: f64| x.is_finite().then_some(x);
    let named = |one: &Figure| Named {
        name: one.name.clone(),
        value: finite(one.value),
        unit: one.unit,
        better: one.better,
    };
    let metrics = of.metrics.iter().map(named).collect();
    Measured { loss: finite(of.loss), samples: of.samples, seconds: of.seconds, metrics }
        .serialize(serializer)
}

fn read_evaluation<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Evaluation, D::Error> {
    let Measured { loss, samples, seconds, metrics } = Measured::deserialize(deserializer)?;
    let figure = |Named { name, value, unit, better }: Named| {
        Figures::of(Figure { name, value: value.unwrap_or(f64::NAN), unit, better })
    };
    let metrics = metrics.into_iter().map(figure).fold(Figures::default(), Figures::and);
    Ok(Evaluation { loss: loss.unwrap_or(f64::NAN), samples, seconds, metrics })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_half_written_or_made_again_is_taken_back() {
        let run = std::env::temp_dir().join(format!("dropforge-steps-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&run);
        std::fs::create_dir(&run).unwrap();
        let mut recorder = StepRecorder::new(&run);
        let metrics = Figures::share("accuracy", 0.5).and(Figures::number("auc", f64::NAN));
        let measured = Evaluation { loss: 0.25, samples: 3, seconds: 0.5, metrics };
        for step in [4, 8] {
            let (batch, batches) = (step as usize, 9);
            let validation = StepValidation {
                step,
                epoch: 1,
                batch,
                batches,
                ends_epoch: false,
                measured: measured.clone(),
            };
            recorder.add(&Line::Validation(validation)).unwrap();
        }
        recorder.write().unwrap();
        std::fs::OpenOptions::new()
            .append(true)
            .open(run.join(STEPS))
            .and_then(|mut file| file.write_all(b"{\"point\":{\"st"))
            .unwrap();
        let read = step_records(&run).unwrap();
        assert_eq!(read.validations.len(), 2);
        let back = &read.validations[0].measured;
        assert!(back.loss == 0.25 && back.get("auc").unwrap().is_nan() && back.get("accuracy") == Some(0.5));
        let mut next = StepRecorder::new(&run);
        next.from = Some(4);
        let mark = |step| Mark { step, figure: "loss", value: 9.0, usual: 1.0, text: "far".into() };
        (0..20).for_each(|n| next.mark(1, mark(5 + n)).unwrap());
        next.write().unwrap();
        let read = step_records(&run).unwrap();
        assert_eq!(read.validations.len(), 1);
        assert_eq!((read.marks.len() as u64, next.marked["loss"].0.count), (MOST_MARKS, 20));
        std::fs::remove_dir_all(run).unwrap();
    }
}
