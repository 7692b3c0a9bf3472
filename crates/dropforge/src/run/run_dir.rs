//! The folder of a training run, and the checkpoints in it.
//!
//! ```text
//! runs/lenet/
//!   config.toml              everything the run was started with
//!   metrics.csv              one line per finished epoch
//!   model.safetensors        the newest weights once more, for other programs
//!   checkpoint-000012/       appears by one rename, when all its files are on the disk
//!     model.safetensors      weights and running statistics
//!     optimizer.safetensors  moments, step counts, state of the random numbers
//!     state.toml             position in the data, sums of the metrics, finished epochs
//!     choices.toml           what the device chose among ways that round differently; where it did
//! ```
//!
//! A checkpoint is one unit: weights, optimizer and position belong together or are not there. An older one is removed
//! only after a newer one is whole.

use super::disk;
use crate::{Error, Result};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

const CONFIG: &str = "config.toml";
const METRICS: &str = "metrics.csv";
const LOCK: &str = "lock";
const CHECKPOINT: &str = "checkpoint-";

/// File of a checkpoint with weights and running statistics.
pub(crate) const MODEL: &str = "model.safetensors";
/// File of a checkpoint with everything else that lives on the device.
pub(crate) const OPTIMIZER: &str = "optimizer.safetensors";
/// File of a checkpoint with what lives on the host.
pub(crate) const STATE: &str = "state.toml";
/// File of a checkpoint with what the device chose.
pub(crate) const CHOICES: &str = "choices.toml";

/// The folder of a training run, opened for writing by this process alone.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    /// Held while this lives; the system lets go of it when the process ends, however it does.
    _lock: File,
}

impl RunDir {
    /// Makes the folder, with those above it, or takes it as it is.
    ///
    /// # Errors
    /// The folder cannot be made or written to, or another process trains in it.
    pub fn open(path: impl Into<PathBuf>) -> Result<RunDir> {
        let path = path.into();
        fs::create_dir_all(&path).map_err(|error| disk::cannot("create", &path, &error))?;
        let lock_path = path.join(LOCK);
        let lock = File::create(&lock_path).map_err(|error| disk::cannot("create", &lock_path, &error))?;
        // Some network file systems have no locks; there the user has to take care.
        if let Err(TryLockError::WouldBlock) = lock.try_lock() {
            return Err(Error::new(format!(
                "{}: another process is training in this folder; wait for it or choose another one",
                path.display()
            )));
        }
        disk::remove_unfinished(&path)?;
        Ok(RunDir { path, _lock: lock })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes or replaces the text of the configuration.
    ///
    /// # Errors
    /// The disk is full or fails; the old configuration is then unchanged.
    pub fn write_config(&self, text: &str) -> Result<()> {
        self.replace_text(CONFIG, text)
    }

    /// Writes or replaces the table of metrics.
    pub(crate) fn write_metrics(&self, text: &str) -> Result<()> {
        self.replace_text(METRICS, text)
    }

    fn replace_text(&self, name: &str, text: &str) -> Result<()> {
        let failed = |error: std::io::Error| Error::new(format!("cannot write: {error}"));
        disk::replace_file(&self.path.join(name), &mut |out| out.write_all(text.as_bytes()).map_err(failed))
    }

    /// Adds a checkpoint with the files that `fill` puts into the folder it is given, and removes the older ones.
    pub(crate) fn add_checkpoint(&self, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let old = checkpoints(&self.path)?;
        let number = old.last().map_or(1, |&(number, _)| number + 1);
        let path = self.path.join(format!("{CHECKPOINT}{number:06}"));
        disk::create_folder(&path, fill)?;
        disk::replace_by_link(&self.path.join(MODEL), &path.join(MODEL))?;
        for (_, path) in old {
            disk::remove_folder(&path)?;
        }
        Ok(())
    }
}

/// The newest checkpoint of a run; `None` when none has been written yet.
///
/// # Errors
/// There is no such folder.
pub(crate) fn latest_checkpoint(run: &Path) -> Result<Option<PathBuf>> {
    Ok(checkpoints(run)?.pop().map(|(_, path)| path))
}

/// Reads something from the newest checkpoint, again if a training process replaces that one meanwhile.
pub(crate) fn read_latest<T>(run: &Path, read: impl Fn(&Path) -> Result<T>) -> Result<Option<T>> {
    let mut latest = latest_checkpoint(run)?;
    while let Some(path) = latest {
        let error = match read(&path) {
            Ok(value) => return Ok(Some(value)),
            Err(error) => error,
        };
        latest = latest_checkpoint(run)?;
        if latest.as_deref() == Some(&path) {
            return Err(error);
        }
    }
    Ok(None)
}

/// The configuration of a run and the file it is in.
///
/// # Errors
/// The folder or the file is missing.
pub(crate) fn read_config(run: &Path) -> Result<(PathBuf, String)> {
    if !run.is_dir() {
        return Err(Error::new(format!("{}: there is no such run; give the folder of one", run.display())));
    }
    let path = run.join(CONFIG);
    match fs::read_to_string(&path) {
        Ok(text) => Ok((path, text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::new(format!("{}: this is no run, it has no {CONFIG}", run.display())))
        }
        Err(error) => Err(disk::cannot("read", &path, &error)),
    }
}

/// Whether a folder holds a run already.
pub fn holds_run(path: &Path) -> bool {
    path.join(CONFIG).exists() || checkpoints(path).is_ok_and(|all| !all.is_empty())
}

/// Whole checkpoints by number.
fn checkpoints(run: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let numbered = |name: String| Some((name.strip_prefix(CHECKPOINT)?.parse().ok()?, run.join(&name)));
    let mut all: Vec<(u64, PathBuf)> = disk::names(run)?.into_iter().filter_map(numbered).collect();
    all.sort();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &'static str) -> impl Fn(&Path) -> Result<()> {
        move |path| {
            for name in [MODEL, OPTIMIZER, STATE] {
                disk::write_file(&path.join(name), &mut |out| {
                    out.write_all(text.as_bytes()).unwrap();
                    Ok(())
                })?;
            }
            Ok(())
        }
    }

    #[test]
    fn the_newest_whole_checkpoint_counts() {
        let path = std::env::temp_dir().join(format!("dropforge-run-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        let run = RunDir::open(&path).unwrap();
        assert!(!holds_run(&path) && latest_checkpoint(&path).unwrap().is_none());
        let state = || {
            read_latest(&path, |path| {
                fs::read_to_string(path.join(STATE)).map_err(|error| Error::new(error.to_string()))
            })
        };
        run.add_checkpoint(fill("one")).unwrap();
        assert_eq!(state().unwrap().unwrap(), "one");
        // The disk is full after two of three files.
        let error = run.add_checkpoint(|path| {
            fill("two")(path)?;
            fs::remove_file(path.join(STATE)).unwrap();
            Err(Error::new("no space left on device"))
        });
        assert_eq!(error.unwrap_err().to_string(), "no space left on device");
        assert_eq!(state().unwrap().unwrap(), "one");
        // Killed while writing one and removing another.
        fs::create_dir(path.join("checkpoint-000002.tmp")).unwrap();
        fs::create_dir(path.join("checkpoint-000000.tmp")).unwrap();
        assert_eq!(state().unwrap().unwrap(), "one");
        run.add_checkpoint(fill("three")).unwrap();
        assert_eq!(state().unwrap().unwrap(), "three");
        assert_eq!(fs::read_to_string(path.join(MODEL)).unwrap(), "three");
        assert_eq!(checkpoints(&path).unwrap().len(), 1);
        let error = RunDir::open(&path).unwrap_err().to_string();
        assert!(error.contains("another process is training"), "{error}");
        drop(run);
        fs::create_dir(path.join("checkpoint-000009.tmp")).unwrap();
        RunDir::open(&path).unwrap();
        let mut left: Vec<String> = disk::names(&path).unwrap();
        left.sort();
        assert_eq!(left, ["checkpoint-000002", LOCK, MODEL]);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 3);
        fs::remove_dir_all(path).unwrap();
    }
}
