//! The finished epochs of a run on disk.

use super::checksums::MOST_STATE;
use super::run_dir::{MANIFEST, STATE, latest_checkpoint, read_latest};
use super::{calls, disk, position, step_record};
use crate::Result;
use crate::train::EpochReport;
use std::path::Path;

/// What is known of a run without loading its network.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// The finished epochs.
    pub epochs: Vec<EpochReport>,
    /// Steps that have been made.
    pub steps: u64,
    /// When its newest checkpoint was written, in seconds since 1970.
    pub saved: Option<u64>,
}

/// The finished epochs of a run; none where it has no checkpoint yet.
///
/// # Errors
/// There is no such folder, or its newest checkpoint cannot be read.
pub fn history(run: impl AsRef<Path>) -> Result<History> {
    let run = run.as_ref();
    let state = read_latest(run, |checkpoint| {
        let path = checkpoint.join(STATE);
        let text = disk::read_text(&path, MOST_STATE)?;
        position::parse(&text).map_err(|error| error.context(path.display()))
    })?;
    let written =
        latest_checkpoint(run)?.and_then(|path| calls::open(&path.join(MANIFEST)).ok()?.modified().ok());
    let saved = written.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let steps = state.as_ref().map_or(0, |state| state.step);
    let mut epochs = state.map(|state| state.history).unwrap_or_default();
    // Everything is saved before the validation.
    step_record::complete(run, &mut epochs);
    Ok(History { steps, epochs, saved: saved.map(|since| since.as_secs()) })
}
