//! Event files that TensorBoard reads: records of protocol buffers, written by hand.
//!
//! A file is a row of records (length, its checksum, bytes, their checksum); each holds an `Event` of TensorFlow's
//! `event.proto` and `summary.proto`, of which scalars, histograms and texts are written.

use super::calls::{self, OpenFile};
use super::disk;
use super::run_dir::TENSORBOARD;
use crate::nn::StateKind;
use crate::settings::{Described, Range, Table};
use crate::train::{Callback, Control, EpochReport};
use crate::{Data, Result, described};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The callback of [`tensorboard`].
pub struct TensorBoard {
    folder: Option<String>,
    every: u64,
    histograms: bool,
    /// The folder of the run that is trained.
    run: Option<PathBuf>,
    file: Option<Events>,
}

/// Writes event files for TensorBoard into a folder, which is made: the loss and the rate every 20 steps, the figures of each
/// epoch, histograms of the parameters. Each start adds a file; `tensorboard --logdir FOLDER` shows them together.
pub fn tensorboard(folder: impl Into<String>) -> TensorBoard {
    TensorBoard { folder: Some(folder.into()), every: 20, histograms: true, run: None, file: None }
}

described! {
    TensorBoard = "tensorboard", "writes event files that TensorBoard shows", { run: None, file: None };
    folder: Option<String>, Some(None), Range::ANY, "folder for the files, `tensorboard` in that of the run by default";
    every: u64, Some(20), (1..).into(), "steps between two losses", may change;
    histograms: bool, Some(true), Range::ANY, "whether histograms of the parameters are written after each epoch", may change;
}

impl TensorBoard {
    /// The file, which is begun with the first figure; none where there is neither a folder nor a run.
    fn open(&mut self, step: u64) -> Result<Option<&mut Events>> {
        let usual = || self.run.as_ref().map(|run| run.join(TENSORBOARD));
        if self.file.is_none()
            && let Some(folder) = self.folder.as_ref().map(PathBuf::from).or_else(usual)
        {
            let mut events = Events::create(&folder)?;
            events.text("step", &format!("begins at step {step}"), step)?;
            self.file = Some(events);
        }
        Ok(self.file.as_mut())
    }
}

impl Callback for TensorBoard {
    fn name(&self) -> String {
        "tensorboard".into()
    }

    fn on_step_end(&mut self, control: &mut Control<'_>) -> Result<()> {
        let progress = control.progress();
        let (step, loss, speed) = (progress.step, progress.loss, progress.samples_per_s);
        if step % self.every == 0
            && let Some(events) = self.open(step)?
        {
            // Losses are read a few steps late: at the start of an epoch there is none yet.
            if !loss.is_nan() {
                events.scalar("step/loss", loss, step)?;
            }
            events.scalar("step/samples_per_s", speed, step)?;
        }
        Ok(())
    }

    fn on_epoch_end(&mut self, report: &EpochReport, control: &mut Control<'_>) -> Result<()> {
        let histograms = self.histograms;
        let Some(events) = self.open(report.step)? else { return Ok(()) };
        events.scalar("lr", report.lr, report.step)?;
        for name in report.names() {
            // As `loss/train`, so that both curves stand in one group.
            let (of, figure) = name.split_once('_').unwrap_or(("", &name));
            if let Some(value) = report.get(&name) {
                events.scalar(&format!("{figure}/{of}"), value, report.step)?;
            }
        }
        if histograms {
            let states = control.step().states();
            for state in states.iter().filter(|state| state.kind() == StateKind::Parameter) {
                if let Data::F32(values) = state.read()?.data() {
                    events.histogram(state.name(), values, report.step)?;
                }
            }
        }
        events.flush()
    }

    fn in_run(&mut self, folder: &Path) {
        self.run = Some(folder.into());
    }

    fn only_looks_on(&self) -> bool {
        true
    }

    fn config(&self) -> Result<Table> {
        self.write_named()
    }
}

/// An event file that is being written.
struct Events {
    path: PathBuf,
    file: std::io::BufWriter<OpenFile>,
}

impl Events {
    fn create(folder: &Path) -> Result<Events> {
        calls::create_folders(folder).map_err(|error| disk::cannot("create", folder, &error))?;
        let seconds = now() as u64;
        let path = folder.join(format!("events.out.tfevents.{seconds:010}.dropforge.{}", std::process::id()));
        let file = calls::append(&path).map_err(|error| disk::cannot("create", &path, &error))?;
        let mut events = Events { path, file: std::io::BufWriter::new(file) };
        let mut version = Message::default();
        version.double(1, now());
        version.bytes(3, b"brain.Event:2");
        events.record(&version.0)?;
        Ok(events)
    }

    fn scalar(&mut self, tag: &str, value: f64, step: u64) -> Result<()> {
        let mut one = Message::default();
        one.bytes(1, tag.as_bytes());
        one.float(2, value as f32);
        self.summary(&one, step)
    }

    fn text(&mut self, tag: &str, text: &str, step: u64) -> Result<()> {
        const STRING: u64 = 7;
        let (mut dim, mut shape, mut tensor) = (Message::default(), Message::default(), Message::default());
        dim.varint(1, 1);
        shape.bytes(2, &dim.0);
        tensor.varint(1, STRING);
        tensor.bytes(2, &shape.0);
        tensor.bytes(8, text.as_bytes());
        let (mut plugin, mut metadata, mut one) =
            (Message::default(), Message::default(), Message::default());
        plugin.bytes(1, b"text");
        metadata.bytes(1, &plugin.0);
        one.bytes(1, tag.as_bytes());
        one.bytes(8, &tensor.0);
        one.bytes(9, &metadata.0);
        self.summary(&one, step)
    }

    fn histogram(&mut self, tag: &str, values: &[f32], step: u64) -> Result<()> {
        const BUCKETS: usize = 30;
        let finite = || values.iter().map(|&x| f64::from(x)).filter(|x| x.is_finite());
        let (low, high) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(x), h.max(x)));
        if low > high {
            return Ok(());
        }
        let width = if high > low { (high - low) / BUCKETS as f64 } else { 1.0 };
        let mut counts = [0.0; BUCKETS];
        finite().for_each(|x| counts[(((x - low) / width) as usize).min(BUCKETS - 1)] += 1.0);
        let mut histogram = Message::default();
        let numbers = [low, high, finite().count() as f64, finite().sum(), finite().map(|x| x * x).sum()];
        (1..).zip(numbers).for_each(|(field, number)| histogram.double(field, number));
        let limits: Vec<f64> = (1..=BUCKETS).map(|bucket| low + width * bucket as f64).collect();
        histogram.doubles(6, &limits);
        histogram.doubles(7, &counts);
        let mut one = Message::default();
        one.bytes(1, tag.as_bytes());
        one.bytes(5, &histogram.0);
        self.summary(&one, step)
    }

    fn summary(&mut self, value: &Message, step: u64) -> Result<()> {
        let (mut summary, mut event) = (Message::default(), Message::default());
        summary.bytes(1, &value.0);
        event.double(1, now());
        event.varint(2, step);
        event.bytes(5, &summary.0);
        self.record(&event.0)
    }

    fn record(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.file.write_all(&record(bytes));
        written.map_err(|error| disk::cannot("write", &self.path, &error))
    }

    fn flush(&mut self) -> Result<()> {
        self.file.flush().map_err(|error| disk::cannot("write", &self.path, &error))
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Bytes as a record: their length and they themselves, each with a checksum behind it.
fn record(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    [&length[..], &masked(&length).to_le_bytes(), bytes, &masked(bytes).to_le_bytes()].concat()
}

/// A checksum, turned and moved as TensorFlow's records have it.
fn masked(bytes: &[u8]) -> u32 {
    checksum(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), bit by bit: records are few and short.
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    })
}

/// A message of protocol buffers, field by field.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn varint(&mut self, field: u64, value: u64) {
        self.number(field << 3);
        self.number(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.number(field << 3 | 1);
        self.0.extend(value.to_le_bytes());
    }

    fn float(&mut self, field: u64, value: f32) {
        self.number(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.number(field << 3 | 2);
        self.number(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn doubles(&mut self, field: u64, values: &[f64]) {
        let packed: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.bytes(field, &packed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_the_standard_ones() {
        // RFC 3720, and the check value of the CRC catalogue.
        assert_eq!(checksum(b"123456789"), 0xe306_9283);
        assert_eq!(checksum(&[0; 32]), 0x8a91_36aa);
        assert_eq!(checksum(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn messages_are_those_of_protocol_buffers() {
        let mut message = Message::default();
        message.varint(2, 300);
        message.bytes(1, b"ab");
        message.float(2, 1.0);
        assert_eq!(message.0, [0x10, 0xac, 0x02, 0x0a, 2, b'a', b'b', 0x15, 0, 0, 0x80, 0x3f]);
        assert_eq!(record(b"x").len(), 8 + 4 + 1 + 4);
    }
}
