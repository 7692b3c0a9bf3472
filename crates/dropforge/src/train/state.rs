//! The part of a checkpoint that lives on the host: where in the data a run is, and what it has measured.

use super::report::EpochReport;
use crate::settings::{Table, Value};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The layout that this version reads and writes. 1 had sums of one metric on the host.
pub(crate) const FORMAT: u32 = 2;

/// Where a run is. The order of the samples follows from the seed and the number of the epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    pub format: u32,
    pub seed: u64,
    /// Samples per step.
    pub batch_size: usize,
    /// Batches in an epoch; 0 before the first.
    pub batches: usize,
    /// Steps that have been made.
    pub step: u64,
    /// Epochs that have been finished.
    pub epoch: u64,
    /// Batches of this epoch that have been trained on.
    pub batch: usize,
    /// Seconds that these batches took.
    pub seconds: f64,
    /// Seconds that all of it took until the fit that is going on began; none in runs of earlier versions.
    #[serde(default)]
    pub spent: f64,
    /// When the fit began that is going on.
    #[serde(skip)]
    pub since: Option<Instant>,
    /// Epochs of which the callbacks have heard the end; none in runs of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<u64>,
    /// The last step after which the network was measured in the middle of an epoch, and the callbacks heard of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validated: Option<u64>,
    /// What tells this training from any other, however alike; empty in runs of earlier versions.
    #[serde(default)]
    pub identity: String,
    /// What decides the results, as far as files have names for it; nothing in runs of earlier versions.
    #[serde(default)]
    pub settings: Table,
    /// What an epoch that was interrupted is trained on; none where that cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// What the callbacks remember, by their names.
    #[serde(default)]
    pub callbacks: BTreeMap<String, String>,
    /// Settings that callbacks have changed.
    #[serde(default)]
    pub changes: Vec<Change>,
    /// Epochs that have been finished.
    #[serde(default)]
    pub history: Vec<EpochReport>,
}

/// A setting that is no longer what the run was built with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    /// The group of parameters; empty for all that are in none.
    pub group: String,
    /// The setting, or `frozen`.
    pub setting: String,
    pub value: Value,
}

/// What a change is called that freezes a group (true) or trains it again (false).
pub(crate) const FROZEN: &str = "frozen";

/// Another text each time: when this process made it, and the how manieth it was.
fn identity() -> String {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{now:x}-{:x}-{:x}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed))
}

impl State {
    pub fn new(seed: u64, batch_size: usize) -> State {
        State {
            format: FORMAT,
            seed,
            batch_size,
            batches: 0,
            step: 0,
            epoch: 0,
            batch: 0,
            seconds: 0.0,
            spent: 0.0,
            since: None,
            ended: Some(0),
            validated: None,
            identity: identity(),
            settings: Table::new(),
            data: None,
            callbacks: BTreeMap::new(),
            changes: Vec::new(),
            history: Vec::new(),
        }
    }

    /// Seconds that fits have taken, with all that belongs to them.
    pub fn spent(&self) -> f64 {
        self.spent + self.since.map_or(0.0, |since| since.elapsed().as_secs_f64())
    }

    /// Remembers that a setting has been changed.
    pub fn change(&mut self, group: &str, setting: &str, value: Value) {
        self.changes.retain(|old| old.group != group || old.setting != setting);
        self.changes.push(Change { group: group.into(), setting: setting.into(), value });
    }

    /// Whether a run with the settings of `self` can go on from `saved`.
    pub fn check_continues(&self, saved: &State) -> Result<()> {
        let differs = |what: &str, saved: u64, now: u64| {
            Err(Error::setting(format!(
                "was saved by a run with {what} {saved}, this one has {now}; use the same"
            )))
        };
        if saved.seed != self.seed {
            return differs("seed", saved.seed, self.seed);
        }
        if saved.batch_size != self.batch_size {
            return differs("batch", saved.batch_size as u64, self.batch_size as u64);
        }
        Ok(())
    }
}
