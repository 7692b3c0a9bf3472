//! Checksums of the texts of a checkpoint, so that a byte that a disk has changed is noticed when the run is opened.
//! They stand at the start of the state of the host, which has one itself ([`position`](super::position)). Files of
//! tensors hold their own ([`safetensors`](super::safetensors)). The table of the epochs follows from the state, and
//! people open its copy in other programs.

use super::disk;
use super::run_dir::{CHOICES, EVALUATE, MANIFEST, PREDICT, STATE};
use super::stored::MOST_TEXT;
use crate::{Error, Result};
use flate2::Crc;
use std::path::Path;

/// Bytes that the state of the host has at most: a history of a million epochs.
pub(super) const MOST_STATE: u64 = 1 << 30;

/// The CRC-32 of bytes.
pub(super) fn sum(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// What is wrong with bytes that have another checksum than the one that is noted.
pub(super) fn differs() -> Error {
    Error::file("is damaged or has been changed: its checksum is another one")
}

/// Texts that have been written into a checkpoint.
#[derive(Default)]
pub(super) struct Sums(String);

impl Sums {
    /// Writes a text and notes its checksum.
    pub fn write(&mut self, checkpoint: &Path, name: &str, text: &str) -> Result<()> {
        disk::write_text(&checkpoint.join(name), text)?;
        self.0 += &format!("# CRC-32 of {name}: {:08x}\n", sum(text.as_bytes()));
        Ok(())
    }

    /// A line for each text, which TOML passes over.
    pub fn lines(&self) -> &str {
        &self.0
    }
}

/// Refuses a checkpoint of which a text has another checksum than the one that is noted; those of earlier versions have
/// none.
pub(super) fn check(checkpoint: &Path) -> Result<()> {
    let Some(state) = disk::read_text_if_any(&checkpoint.join(STATE), MOST_STATE)? else { return Ok(()) };
    for line in state.lines().take_while(|line| line.starts_with('#')) {
        for name in [MANIFEST, PREDICT, EVALUATE, CHOICES] {
            let Some(noted) = line.strip_prefix(&format!("# CRC-32 of {name}: ")) else { continue };
            let path = checkpoint.join(name);
            // Whoever needs one that is missing says so.
            let Some(text) = disk::read_text_if_any(&path, MOST_TEXT)? else { continue };
            if noted != format!("{:08x}", sum(text.as_bytes())) {
                let advice = format!("remove the lines with # from {STATE} beside it if that was meant");
                return Err(Error::file(format!("{}; {advice}", differs())).context(path.display()));
            }
        }
    }
    Ok(())
}
