//! Event files: records of protocol buffers, written by hand.
//!
//! A file is a row of records (length, its checksum, bytes, their checksum); each holds an `Event` of TensorFlow's
//! `event.proto` and `summary.proto`.

use crate::Result;
use crate::run::calls::{self, OpenFile};
use crate::run::disk;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// An event file that is being written.
pub struct Events {
    path: PathBuf,
    file: std::io::BufWriter<OpenFile>,
}

impl Events {
    pub fn create(folder: &Path) -> Result<Events> {
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

    pub fn scalar(&mut self, tag: &str, value: f64, step: u64) -> Result<()> {
        let mut one = Message::default();
        one.bytes(1, tag.as_bytes());
        one.float(2, value as f32);
        self.summary(&one, step)
    }

    pub fn text(&mut self, tag: &str, text: &str, step: u64) -> Result<()> {
        const STRING: u64 = 7;
        let (mut dim, mut shape, mut tensor) = (Message::default(), Message::default(), Message::default());
        dim.varint(1, 1);
        shape.bytes(2, &dim.0);
        tensor.varint(1, STRING);
        tensor.bytes(2, &shape.0);
        tensor.bytes(8, text.as_bytes());
        let mut one = Message::default();
        one.bytes(1, tag.as_bytes());
        one.bytes(8, &tensor.0);
        one.bytes(9, &metadata("text", &[]).0);
        self.summary(&one, step)
    }

    pub fn histogram(&mut self, tag: &str, values: &[f32], step: u64) -> Result<()> {
        const BUCKETS: usize = 30;
        let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
        let (mut count, mut sum, mut squares) = (0u64, 0.0, 0.0);
        for &value in values.iter().filter(|value| value.is_finite()) {
            let wide = f64::from(value);
            (low, high) = (low.min(value), high.max(value));
            (count, sum, squares) = (count + 1, sum + wide, squares + wide * wide);
        }
        if count == 0 {
            return Ok(());
        }
        let (low, high) = (f64::from(low), f64::from(high));
        let width = if high > low { (high - low) / BUCKETS as f64 } else { 1.0 };
        let (mut counts, scale) = ([0u32; BUCKETS], width.recip());
        for &value in values.iter().filter(|value| value.is_finite()) {
            counts[(((f64::from(value) - low) * scale) as usize).min(BUCKETS - 1)] += 1;
        }
        let mut histogram = Message::default();
        let numbers = [low, high, count as f64, sum, squares];
        (1..).zip(numbers).for_each(|(field, number)| histogram.double(field, number));
        let limits: Vec<f64> = (1..=BUCKETS).map(|bucket| low + width * bucket as f64).collect();
        histogram.doubles(6, &limits);
        histogram.doubles(7, &counts.map(f64::from));
        let mut one = Message::default();
        one.bytes(1, tag.as_bytes());
        one.bytes(5, &histogram.0);
        self.summary(&one, step)
    }

    /// A picture: PNG.
    pub fn image(&mut self, tag: &str, size: [usize; 3], png: &[u8], step: u64) -> Result<()> {
        let [channels, height, width] = size;
        let (mut image, mut one) = (Message::default(), Message::default());
        image.varint(1, height as u64);
        image.varint(2, width as u64);
        image.varint(3, channels as u64);
        image.bytes(4, png);
        one.bytes(1, tag.as_bytes());
        one.bytes(4, &image.0);
        self.summary(&one, step)
    }

    /// What a part of TensorBoard of its own knows how to read.
    pub fn plugin(&mut self, tag: &str, name: &str, content: &Message) -> Result<()> {
        let mut one = Message::default();
        one.bytes(1, tag.as_bytes());
        one.bytes(9, &metadata(name, &content.0).0);
        self.summary(&one, 0)
    }

    /// A graph: a message `GraphDef`.
    pub fn graph(&mut self, graph: &Message) -> Result<()> {
        let mut event = Message::default();
        event.double(1, now());
        event.bytes(4, &graph.0);
        self.record(&event.0)
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

    pub fn flush(&mut self) -> Result<()> {
        self.file.flush().map_err(|error| disk::cannot("write", &self.path, &error))
    }
}

/// What a value is for: the part of TensorBoard that shows it, with what that needs.
fn metadata(plugin: &str, content: &[u8]) -> Message {
    let (mut data, mut metadata) = (Message::default(), Message::default());
    data.bytes(1, plugin.as_bytes());
    if !content.is_empty() {
        data.bytes(2, content);
    }
    metadata.bytes(1, &data.0);
    metadata
}

/// Seconds since 1970.
pub fn now() -> f64 {
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

/// CRC-32C (Castagnoli) of each byte.
const CHECKSUMS: [u32; 256] = {
    let (mut all, mut byte) = ([0; 256], 0);
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u32, 0);
        while bit < 8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
            bit += 1;
        }
        all[byte] = crc;
        byte += 1;
    }
    all
};

/// CRC-32C, byte by byte: records are short.
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, &byte| (crc >> 8) ^ CHECKSUMS[usize::from(crc as u8 ^ byte)])
}

/// A message of protocol buffers, field by field.
#[derive(Default)]
pub struct Message(pub Vec<u8>);

impl Message {
    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub fn varint(&mut self, field: u64, value: u64) {
        self.number(field << 3);
        self.number(value);
    }

    pub fn double(&mut self, field: u64, value: f64) {
        self.number(field << 3 | 1);
        self.0.extend(value.to_le_bytes());
    }

    pub fn float(&mut self, field: u64, value: f32) {
        self.number(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
    }

    pub fn bytes(&mut self, field: u64, bytes: &[u8]) {
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
