//! What decides the results of a run, compared when it is gone on with.

use super::Environment;
use super::manifest::Manifest;
use super::run_dir::read_latest;
use crate::step::Precision;
use crate::{Error, Result};
use std::path::Path;

/// What differs between what trained a run and what would go on with it now, and may change bits: the library, the
/// device with its threads, the system. One line each; nothing for runs of the first version, which do not say.
///
/// # Errors
/// There is no such run, or it is damaged.
pub fn differences(run: impl AsRef<Path>, runtime: &crate::Runtime) -> Result<Vec<String>> {
    let about = read_latest(run.as_ref(), Manifest::read)?.flatten();
    Ok(about.map_or_else(Vec::new, |about| about.environment.differences(&Environment::now(runtime))))
}

/// How many threads of the CPU trained a run; `None` if it does not say, or another device trained it.
///
/// # Errors
/// As [`differences`].
pub fn threads_of(run: impl AsRef<Path>) -> Result<Option<usize>> {
    let about = read_latest(run.as_ref(), Manifest::read)?.flatten();
    Ok(about.and_then(|about| about.environment.threads()))
}

/// Whether a training can go on in another precision: its states would be others, or its numbers.
pub(super) fn same_precision(then: &str, now: Precision) -> Result<()> {
    if then == now.name() {
        return Ok(());
    }
    Err(Error::setting(format!("was trained in {then}, this goes on in {now}; use the same precision")))
}
