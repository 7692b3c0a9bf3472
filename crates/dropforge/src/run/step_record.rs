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
use std::io::{Read, Seek, SeekFrom, Write};
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
/// Bytes by which a file that has grown is told from another one.
const COMPARED: usize = 256;
/// Bytes at the end of the file in which the last validation is looked for first.
const TAIL: u64 = 1 << 16;
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
    let mut reader = StepReader::new(run);
    reader.read()?;
    Ok(reader.records())
}

/// Reads the record of a run again and again, as somebody does who watches its training: only what was added since the
/// last time. [`step_records`] reads it once.
///
/// ```
/// use dropforge::prelude::*;
/// use dropforge::run::StepReader;
///
/// # let run = std::env::temp_dir().join(format!("dropforge-doc-reader-{}", std::process::id()));
/// let (train, _) = datasets::digits(200, 50, 1);
/// let mut trainer = Trainer::new(seq![flatten(), dense(10)], cross_entropy(), Sgd::new(0.1)).batch(10).compile(&train)?;
/// let mut reader = StepReader::new(&run);
/// assert!(!reader.read()?);
/// trainer.fit(&train).epochs(1).save(&run).run()?;
/// assert!(reader.read()? && !reader.read()?);
/// assert_eq!(reader.records().points.last().unwrap().step, 20);
/// # std::fs::remove_dir_all(run).unwrap();
/// # Ok::<(), dropforge::Error>(())
/// ```
pub struct StepReader {
    run: PathBuf,
    /// Bytes of whole lines that have been read, and the last of them: where they are others, the file is another.
    read: u64,
    end: Vec<u8>,
    lines: Lines,
}

/// What was recorded twice, before a stop and after it, counts as it was the last time.
#[derive(Default)]
struct Lines {
    count: usize,
    points: BTreeMap<u64, StepPoint>,
    validations: BTreeMap<(u64, bool), StepValidation>,
    marks: BTreeMap<(u64, String), StepMark>,
}

impl Lines {
    fn add(&mut self, text: &str, path: &Path) -> Result<()> {
        for line in text.lines() {
            self.count += 1;
            match parse(line) {
                Ok(Line::Point(point)) => drop(self.points.insert(point.step, point)),
                Ok(Line::Validation(one)) => drop(self.validations.insert((one.step, one.ends_epoch), one)),
                Ok(Line::Mark(mark)) => drop(self.marks.insert((mark.step, mark.figure.clone()), mark)),
                Err(error) => {
                    return Err(error.context(format_args!("{}, line {}", path.display(), self.count)));
                }
            }
        }
        Ok(())
    }
}

impl StepReader {
    /// Of a run, of which nothing is read yet.
    pub fn new(run: impl AsRef<Path>) -> StepReader {
        StepReader { run: run.as_ref().into(), read: 0, end: Vec::new(), lines: Lines::default() }
    }

    /// Reads what was added; says whether anything has changed.
    ///
    /// # Errors
    /// As [`step_records`]; the next time all is read again.
    pub fn read(&mut self) -> Result<bool> {
        let changed = self.read_added();
        if changed.is_err() {
            self.forget();
        }
        changed
    }

    /// What there is so far.
    pub fn records(&self) -> StepRecords {
        StepRecords {
            points: self.lines.points.values().cloned().collect(),
            validations: self.lines.validations.values().cloned().collect(),
            marks: self.lines.marks.values().cloned().collect(),
        }
    }

    fn forget(&mut self) {
        (self.read, self.lines) = (0, Lines::default());
        self.end.clear();
    }

    fn read_added(&mut self) -> Result<bool> {
        let path = self.run.join(STEPS);
        let had_any = self.read > 0;
        if !calls::is_folder(&self.run) || is_half_replaced(&self.run)? {
            self.forget();
            return Ok(had_any);
        }
        let cannot = |error: std::io::Error| disk::cannot("read", &path, &error);
        let mut file = match calls::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.forget();
                return Ok(had_any);
            }
            file => file.map_err(cannot)?,
        };
        let len = file.len().map_err(cannot)?;
        if len > MOST_BYTES {
            let message =
                format!("{}: is larger than {MOST_BYTES} bytes, which cannot be read", path.display());
            return Err(Error::file(message));
        }
        // Whoever goes on from a checkpoint takes back what is behind it.
        let is_same = len >= self.read && {
            let mut before = vec![0; self.end.len()];
            let from = self.read - before.len() as u64;
            file.seek(SeekFrom::Start(from)).map_err(cannot)?;
            file.read_exact(&mut before).map_err(cannot)?;
            before == self.end
        };
        if !is_same {
            self.forget();
            file.seek(SeekFrom::Start(0)).map_err(cannot)?;
        }
        let mut bytes = Vec::new();
        file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(cannot)?;
        bytes.truncate(bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1));
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| Error::file(format!("{}: is no text in UTF-8", path.display())))?;
        self.lines.add(text, &path)?;
        self.read += bytes.len() as u64;
        self.end.extend_from_slice(&bytes[bytes.len().saturating_sub(COMPARED)..]);
        self.end.drain(..self.end.len().saturating_sub(COMPARED));
        Ok(!bytes.is_empty() || !is_same)
    }
}

fn parse(line: &str) -> Result<Line> {
    serde_json::from_str(line).map_err(|error| Error::file(error.to_string()))
}

/// Gives the last epoch the validation that came after its checkpoint.
pub(super) fn complete(run: &Path, history: &mut [EpochReport]) {
    let Some(last) = history.last_mut().filter(|last| last.validation.is_none()) else { return };
    // Whatever is wrong with the file is said where it is asked for.
    let Ok(validation) = last_validation(run, last.epoch, last.step) else { return };
    last.validation = validation;
}

/// What was measured when an epoch was over. Points stand in order, so that what comes before its own need not be read.
fn last_validation(run: &Path, epoch: u64, step: u64) -> Result<Option<Evaluation>> {
    let path = run.join(STEPS);
    if is_half_replaced(run)? {
        return Ok(None);
    }
    let cannot = |error: std::io::Error| disk::cannot("read", &path, &error);
    let mut file = calls::open(&path).map_err(cannot)?;
    let len = file.len().map_err(cannot)?.min(MOST_BYTES);
    let mut part = TAIL.min(len);
    loop {
        let mut bytes = vec![0; part as usize];
        file.seek(SeekFrom::Start(len - part)).map_err(cannot)?;
        file.read_exact(&mut bytes).map_err(cannot)?;
        // A part may begin in the middle of a character, and of a line.
        let text = String::from_utf8_lossy(&bytes);
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        for line in whole.rsplit('\n') {
            match parse(line) {
                Ok(Line::Validation(one)) if one.ends_epoch && (one.epoch, one.step) == (epoch, step) => {
                    return Ok(Some(one.measured));
                }
                // Marks may be written later than what they are of.
                Ok(Line::Point(point)) if point.step < step => return Ok(None),
                _ => {}
            }
        }
        if part == len {
            return Ok(None);
        }
        part = (part * 8).min(len);
    }
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
            // Cells of matrices are kept once an epoch.
            measured: if ended.is_some() { measured.clone() } else { without_details(measured) },
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

/// Only the numbers that a line shows.
fn without_details(measured: &Evaluation) -> Evaluation {
    let metrics = measured.metrics.shown().cloned().map(Figures::of).fold(Figures::default(), Figures::and);
    Evaluation { metrics, ..measured.clone() }
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

    /// Reads only what was added, and all of it where the file has become another one.
    #[test]
    fn a_reader_goes_on_where_it_was() {
        let run = std::env::temp_dir().join(format!("dropforge-reader-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&run);
        std::fs::create_dir(&run).unwrap();
        let point = |step: u64, loss: f64| {
            let (batch, batches) = (step as usize, 100);
            let point = StepPoint {
                step,
                epoch: 1,
                batch,
                batches,
                loss,
                lr: None,
                samples_per_s: 1.0,
                waiting: 0.0,
            };
            serde_json::to_string(&Line::Point(point)).unwrap() + "\n"
        };
        let path = run.join(STEPS);
        let mut reader = StepReader::new(&run);
        assert!(!reader.read().unwrap());
        let mut text: String = (0..50).map(|step| point(step, 1.0)).collect();
        std::fs::write(&path, &text).unwrap();
        assert!(reader.read().unwrap() && !reader.read().unwrap());
        assert_eq!((reader.records().points.len(), reader.lines.count), (50, 50));
        // A line that is half written is read when it is whole.
        text += &point(50, 1.0);
        std::fs::write(&path, &text[..text.len() - 5]).unwrap();
        assert!(!reader.read().unwrap());
        std::fs::write(&path, &text).unwrap();
        assert!(reader.read().unwrap());
        assert_eq!((reader.records().points.len(), reader.lines.count), (51, 51));
        // Taken back to step 20, and grown longer than it was.
        let again: String = (0..60).map(|step| point(step, if step < 20 { 1.0 } else { 2.0 })).collect();
        std::fs::write(&path, &again).unwrap();
        assert!(reader.read().unwrap());
        let points = reader.records().points;
        assert_eq!((points.len(), points[30].loss, reader.lines.count), (60, 2.0, 60));
        std::fs::write(&path, again + "what is this\n").unwrap();
        assert!(reader.read().unwrap_err().to_string().contains("line 61"));
        std::fs::remove_file(&path).unwrap();
        assert!(reader.records().points.is_empty() && !reader.read().unwrap());
        std::fs::remove_dir_all(run).unwrap();
    }

    /// The end of an epoch is found whatever comes behind it, and its details with it; within epochs there are none.
    #[test]
    fn the_end_of_an_epoch_is_found_from_behind() {
        let run = std::env::temp_dir().join(format!("dropforge-tail-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&run);
        std::fs::create_dir(&run).unwrap();
        let metrics = Figures::share("accuracy", 0.5).and(Figures::detail("confusion_0_0", 3.0));
        let measured = Evaluation { loss: 0.25, samples: 3, seconds: 0.5, metrics };
        let validation = |step: u64, ends_epoch: bool, measured: &Evaluation| {
            let one = StepValidation {
                step,
                epoch: 1,
                batch: 1,
                batches: 2,
                ends_epoch,
                measured: measured.clone(),
            };
            serde_json::to_string(&Line::Validation(one)).unwrap() + "\n"
        };
        let mut text: String =
            (1..600).map(|step| validation(step, false, &without_details(&measured))).collect();
        assert!(!text.contains("confusion"));
        text += &validation(600, true, &measured);
        text.extend((601..1200).map(|step| validation(step, false, &measured)));
        std::fs::write(run.join(STEPS), text).unwrap();
        let found = last_validation(&run, 1, 600).unwrap().unwrap();
        assert_eq!(found.get("confusion_0_0"), Some(3.0));
        assert_eq!(last_validation(&run, 1, 1200).unwrap(), None);
        std::fs::remove_dir_all(run).unwrap();
    }

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
