//! The folder of a training run, and the checkpoints in it.
//!
//! ```text
//! runs/lenet/
//!   config.toml              everything the run was started with
//!   metrics.csv              one line per finished epoch
//!   model.safetensors        the newest weights once more, for other programs
//!   best.safetensors         the weights of the best epoch, if training keeps them
//!   split.toml               which files are trained on and which are for testing, of folders of images
//!   steps.jsonl              losses, rates and validations within epochs, and what stood out
//!   layers.jsonl             norms and histograms of the layers, if somebody wants them
//!   run.toml                 what inputs look like, what outputs mean, what trained the network
//!   checkpoint-000012/       appears by one rename, when all its files are on the disk
//!     model.safetensors      weights and running statistics
//!     optimizer.safetensors  moments, step counts, state of the random numbers
//!     state.toml             position in the data, sums of the metrics, finished epochs; checksums of the texts
//!     metrics.csv            the table of the epochs until then
//!     run.toml               the same as beside the checkpoint
//!     predict.txt            the network as a program, for any batch size
//!     evaluate.txt           loss and metrics as a program, for any batch size
//!     constants.safetensors  values that the program uses beside the weights; where there are some
//!     choices.toml           what the device chose among ways that round differently; where it did
//! ```
//!
//! A checkpoint is one unit: weights, optimizer and position belong together or are not there. What stands beside the
//! checkpoints follows from the newest one. A process may end before any file call: whoever opens the run next makes
//! good what was left undone, and removes what was left half done.

use super::damage;
use super::manifest::Manifest;
use super::{calls, disk};
use crate::{Error, Result};
use dropforge_data::FileSplit;
use std::collections::HashSet;
use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

pub(super) const CONFIG: &str = "config.toml";
pub(super) const LOCK: &str = "lock";
const CHECKPOINT: &str = "checkpoint-";

/// File of a checkpoint with weights and running statistics.
pub(crate) const MODEL: &str = "model.safetensors";
/// File of a checkpoint with everything else that lives on the device.
pub(crate) const OPTIMIZER: &str = "optimizer.safetensors";
/// File of a checkpoint with what lives on the host.
pub(crate) const STATE: &str = "state.toml";
/// File of a checkpoint with what the device chose.
pub(crate) const CHOICES: &str = "choices.toml";
/// File of a checkpoint with the table of the epochs.
pub(crate) const METRICS: &str = "metrics.csv";

/// File of a checkpoint that says what the run is.
pub(crate) const MANIFEST: &str = "run.toml";
/// File of a checkpoint with the program that predicts, for any batch size.
pub(crate) const PREDICT: &str = "predict.txt";
/// File of a checkpoint with the program that measures, for any batch size.
pub(crate) const EVALUATE: &str = "evaluate.txt";
/// File of a checkpoint with values that programs use beside the weights.
pub(crate) const CONSTANTS: &str = "constants.safetensors";

/// File of a run with the weights that were best so far.
pub(crate) const BEST: &str = "best.safetensors";
/// File of a run with its report, where somebody had one written.
pub const REPORT: &str = "report.html";

/// File of a run that says, as long as it is there, that somebody wants its training to end.
pub const STOP: &str = ".dropforge-stop";

/// Folder of a run for what TensorBoard shows, where somebody wanted it.
pub const TENSORBOARD: &str = "tensorboard";

/// File of a run with norms and histograms of its layers, where somebody wanted them.
pub const LAYERS: &str = "layers.jsonl";

/// File of a run with what happened within its epochs.
pub const STEPS: &str = "steps.jsonl";

/// File of a run that says which files are trained on and which are for testing.
pub(crate) const SPLIT: &str = "split.toml";

/// Everything that may be in a checkpoint.
const CHECKPOINT_FILES: [&str; 9] =
    [MODEL, OPTIMIZER, STATE, CHOICES, METRICS, MANIFEST, PREDICT, EVALUATE, CONSTANTS];
/// What a run has beside its checkpoints, each another name of what the newest checkpoint has.
const COPIES: [&str; 3] = [MODEL, METRICS, MANIFEST];

/// Bytes that the names of all files have at most.
const MOST_SPLIT: u64 = 256 << 20;

/// Bytes that a configuration has at most.
const MOST_CONFIG: u64 = 16 << 20;

/// The folder of a training run, opened for writing by this process alone.
#[doc(alias = "checkpoint")]
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    /// Whether the folder was made just now.
    is_new: bool,
    /// Held while this lives; the system lets go of it when the process ends, however it does.
    _lock: File,
}

/// What a folder holds.
enum Holds {
    Nothing,
    Run,
    /// Something else, one name of it.
    Other(String),
}

impl RunDir {
    /// Makes the folder, with those above it, or takes one that is empty or holds a run. Of a run it makes good what a
    /// process that was killed has left undone.
    ///
    /// # Errors
    /// The folder holds something that no run made, cannot be made or written to, or another process trains in it.
    pub fn open(path: impl Into<PathBuf>) -> Result<RunDir> {
        let path = path.into();
        if path.as_os_str().is_empty() {
            return Err(Error::file("the folder of the run has no name; give one"));
        }
        let is_new = match calls::look(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                calls::create_folders(&path).map_err(|error| disk::cannot("create", &path, &error))?;
                true
            }
            Err(error) => return Err(disk::cannot("open", &path, &error)),
            Ok(_) => false,
        };
        if let Holds::Other(name) = look_into(&path)? {
            return Err(Error::file(format!(
                "{}: holds {name}, and no run; choose a folder that is empty or not there yet",
                path.display()
            )));
        }
        let lock = lock(&path)?;
        let run = RunDir { path, is_new, _lock: lock };
        run.repair()?;
        Ok(run)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is something to go on from.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn has_checkpoint(&self) -> Result<bool> {
        Ok(!checkpoints(&self.path)?.is_empty())
    }

    /// Removes a run that was never trained: what it has written, and the folder if it was made for it.
    ///
    /// # Errors
    /// Something cannot be removed.
    pub fn discard(self) -> Result<()> {
        if self.has_checkpoint()? {
            return Ok(());
        }
        // The configuration last, so that what is left is known as a run.
        for name in [SPLIT, STOP, CONFIG, LOCK] {
            match calls::remove_file(&self.path.join(name)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(disk::cannot("remove", &self.path.join(name), &error));
                }
                _ => {}
            }
        }
        if self.is_new && disk::names(&self.path)?.is_empty() {
            calls::remove_folder(&self.path).map_err(|error| disk::cannot("remove", &self.path, &error))?;
        }
        Ok(())
    }

    /// Refuses, before anything is touched, what [`RunDir::remove`] would not remove: opening a run already makes good
    /// what is left undone in it.
    ///
    /// # Errors
    /// The path holds no run, or is a symbolic link: the run it points to belongs to another folder.
    pub fn check_removable(path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        refuse_link(path)?;
        match holds_run(path) {
            true => Ok(()),
            false => Err(Error::file(format!("{}: is no run; nothing was removed", path.display()))),
        }
    }

    /// Removes what a run has written here, and the folder if nothing else is in it; gives the names of what stays.
    /// Symbolic links in it that are none of the run's files stay, too.
    ///
    /// # Errors
    /// The folder is a symbolic link, of which nothing is removed, or something cannot be removed; what could not is
    /// still there.
    pub fn remove(self) -> Result<Vec<String>> {
        refuse_link(&self.path)?;
        for (_, checkpoint) in checkpoints(&self.path)? {
            disk::remove_folder(&checkpoint, &CHECKPOINT_FILES)?;
        }
        self.remove_events()?;
        // The configuration last, so that what a stopped removal leaves is known as a run.
        for name in COPIES.into_iter().chain([BEST, SPLIT, REPORT, LAYERS, STEPS, STOP, CONFIG, LOCK]) {
            match calls::remove_file(&self.path.join(name)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(disk::cannot("remove", &self.path.join(name), &error));
                }
                _ => {}
            }
        }
        let left = disk::names(&self.path)?;
        if left.is_empty() {
            calls::remove_folder(&self.path).map_err(|error| disk::cannot("remove", &self.path, &error))?;
        }
        Ok(left)
    }

    fn remove_events(&self) -> Result<()> {
        let folder = self.path.join(TENSORBOARD);
        match calls::look(&folder) {
            Ok(found) if found.is_dir() => {}
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(disk::cannot("open", &folder, &error));
            }
            _ => return Ok(()),
        }
        let mine = |name: &String| name.starts_with("events.out.tfevents.") && name.contains(".dropforge.");
        for name in disk::names(&folder)?.iter().filter(|name| mine(name)) {
            let path = folder.join(name);
            calls::remove_file(&path).map_err(|error| disk::cannot("remove", &path, &error))?;
        }
        if disk::names(&folder)?.is_empty() {
            calls::remove_folder(&folder).map_err(|error| disk::cannot("remove", &folder, &error))?;
        }
        Ok(())
    }

    /// Writes or replaces the text of the configuration.
    ///
    /// # Errors
    /// The disk is full or fails; the old configuration is then unchanged.
    pub fn write_config(&self, text: &str) -> Result<()> {
        disk::replace_text(&self.path.join(CONFIG), text)
    }

    /// Notes which files are trained on and which are for testing, those that were noted before as they were.
    ///
    /// # Errors
    /// The disk is full or fails; what was noted before is then unchanged.
    pub fn write_split(&self, split: &FileSplit) -> Result<()> {
        let mut all = split.clone();
        if let Some(noted) = read_split(&self.path)? {
            let here: HashSet<&String> = split.train.iter().chain(&split.test).collect();
            // A file that is missing may come back.
            let missing = |names: Vec<String>| names.into_iter().filter(|name| !here.contains(name));
            all.train.extend(missing(noted.train));
            all.test.extend(missing(noted.test));
        }
        let text = toml::to_string(&all).map_err(|error| Error::file(format!("{SPLIT}: {error}")))?;
        disk::replace_text(&self.path.join(SPLIT), &text)
    }

    /// Removes what another training has left beside its checkpoints.
    fn remove_others(&self) -> Result<()> {
        for name in [CONFIG, BEST, SPLIT, STEPS] {
            match calls::remove_file(&self.path.join(name)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(disk::cannot("remove", &self.path.join(name), &error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Adds a checkpoint with the files that `fill` puts into the folder it is given, and removes the older ones.
    pub(crate) fn add_checkpoint(&self, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let taken = disk::names(&self.path)?.into_iter().filter_map(|name| checkpoint_number(&name)).max();
        let path = self.path.join(checkpoint_name(taken.map_or(1, |number| number.saturating_add(1))));
        disk::create_folder(&path, &CHECKPOINT_FILES, fill)?;
        self.follow_newest()
    }

    /// Makes good what a process that was killed has left undone.
    fn repair(&self) -> Result<()> {
        for name in disk::names(&self.path)? {
            match disk::unmarked(&name) {
                Some(of @ (CONFIG | MODEL | METRICS | MANIFEST | BEST | SPLIT | STEPS)) => {
                    disk::remove_unfinished(&self.path, of, None)?
                }
                Some(of) if checkpoint_number(of).is_some() => {
                    disk::remove_unfinished(&self.path, of, Some(&CHECKPOINT_FILES))?;
                }
                _ => {}
            }
        }
        self.follow_newest()
    }

    /// Brings what stands beside the checkpoints to the newest one, and removes the older ones.
    fn follow_newest(&self) -> Result<()> {
        let mut all = checkpoints(&self.path)?;
        let Some((_, newest)) = all.pop() else { return Ok(()) };
        for name in COPIES {
            let source = newest.join(name);
            match calls::look(&source) {
                // Runs of the first version have no table in their checkpoints.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(disk::cannot("read", &source, &error)),
                Ok(_) => disk::replace_by_link(&self.path.join(name), &source)?,
            }
        }
        // Of a newest one that cannot be read the older ones are all there is.
        let about = Manifest::read(&newest).ok();
        let mut kept =
            about.as_ref().map_or(usize::MAX, |about| about.as_ref().map_or(1, |about| about.kept));
        if about.flatten().is_some_and(|about| about.replaces) && !all.is_empty() {
            // The older ones go last: as long as one is there, so may be what belongs to it.
            self.remove_others()?;
            kept = 1;
        }
        all.truncate(all.len().saturating_sub(kept.saturating_sub(1)));
        all.iter().try_for_each(|(_, path)| disk::remove_folder(path, &CHECKPOINT_FILES))
    }
}

/// Refuses a path that is a symbolic link: what it points to belongs to another folder.
fn refuse_link(path: &Path) -> Result<()> {
    // Without a slash at its end, which would name what the link points to.
    let path: PathBuf = path.components().collect();
    match calls::look(&path) {
        Ok(found) if found.is_symlink() => {}
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(disk::cannot("open", &path, &error)),
        _ => return Ok(()),
    }
    let target = calls::link_target(&path).map_err(|error| disk::cannot("read", &path, &error))?;
    Err(Error::file(format!(
        "{}: is a symbolic link to {}; remove the link itself or name the folder; nothing was removed",
        path.display(),
        target.display()
    )))
}

fn lock(run: &Path) -> Result<File> {
    let path = run.join(LOCK);
    let lock = calls::open_lock(&path).map_err(|error| disk::cannot("open", &path, &error))?;
    // Somebody who only wants to know whether it is held has it for a moment.
    let mut held = lock.try_lock();
    for _ in 0..5 {
        if !matches!(held, Err(TryLockError::WouldBlock)) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
        held = lock.try_lock();
    }
    // Some network file systems have no locks; there the user has to take care.
    match held {
        Err(TryLockError::WouldBlock) => Err(Error::file(format!(
            "{}: another process is training in this folder; wait for it or choose another one",
            run.display()
        ))),
        _ => Ok(lock),
    }
}

/// Whether a process trains in this folder now.
pub fn is_training(run: &Path) -> bool {
    let Ok(lock) = calls::open(&run.join(LOCK)) else { return false };
    lock.is_locked()
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
            return Err(damage::advised(run, &path, error));
        }
    }
    Ok(None)
}

/// The text of a run's configuration; `None` where it has none.
///
/// # Errors
/// The folder is missing.
pub(crate) fn read_config_if_any(run: &Path) -> Result<Option<String>> {
    if !calls::is_folder(run) {
        return Err(no_run(run));
    }
    match is_half_replaced(run)? {
        true => Ok(None),
        false => disk::read_text_if_any(&run.join(CONFIG), MOST_CONFIG),
    }
}

/// Whether what stands beside the newest checkpoint belongs to an older one of another training, which a process that
/// ended has not removed yet.
pub(super) fn is_half_replaced(run: &Path) -> Result<bool> {
    let mut all = checkpoints(run)?;
    let newest = all.pop();
    Ok(!all.is_empty() && newest.is_some_and(|(_, path)| Manifest::is_replacement(&path)))
}

/// Which files of a folder a run is trained on and which are for testing; `None` where it does not say.
///
/// # Errors
/// The file cannot be read or is damaged.
pub fn read_split(run: impl AsRef<Path>) -> Result<Option<FileSplit>> {
    let path = run.as_ref().join(SPLIT);
    if is_half_replaced(run.as_ref())? {
        return Ok(None);
    }
    let Some(text) = disk::read_text_if_any(&path, MOST_SPLIT)? else { return Ok(None) };
    let split = toml::from_str(&text).map_err(|error| Error::file(super::toml_message(&text, &error)));
    split.map(Some).map_err(|error| error.context(path.display()))
}

/// The configuration of a run and the file it is in.
///
/// # Errors
/// The folder or the file is missing.
pub(crate) fn read_config(run: &Path) -> Result<(PathBuf, String)> {
    let path = run.join(CONFIG);
    let text = read_config_if_any(run)?;
    let missing = || match checkpoints(run) {
        Ok(all) if !all.is_empty() => Error::file(format!(
            "{}: has no {CONFIG}: a program of its own has trained it, or it was imported; that program goes on with it, and \
             `train --from {0}` starts another run from its weights",
            run.display()
        )),
        _ => Error::file(format!("{}: this is no run, it has no {CONFIG}", run.display())),
    };
    Ok((path, text.ok_or_else(missing)?))
}

/// Says that a path is no folder of a run.
/// The error for a folder without a checkpoint.
pub(super) fn no_checkpoint(run: &Path) -> Error {
    match calls::is_folder(run) {
        true => Error::file(format!("{}: the run has no checkpoint yet", run.display())),
        false => no_run(run),
    }
}

pub(super) fn no_run(path: &Path) -> Error {
    if calls::is_file(path) {
        return Error::file(format!(
            "{}: is a file, and this needs the folder of a run; a packed run holds the network alone, not how it was trained",
            path.display()
        ));
    }
    Error::file(format!("{}: there is no such run; give the folder of one", path.display()))
}

/// Whether a folder holds a run already.
pub fn holds_run(path: &Path) -> bool {
    matches!(look_into(path), Ok(Holds::Run))
}

/// What a folder holds: a run has a checkpoint, or a configuration of ours.
fn look_into(path: &Path) -> Result<Holds> {
    if calls::is_file(path) {
        return Err(Error::file(format!("{}: is a file; a run needs a folder", path.display())));
    }
    let names = disk::names(path)?;
    if !checkpoints(path)?.is_empty() {
        return Ok(Holds::Run);
    }
    if names.iter().any(|name| name == CONFIG) && is_config(&path.join(CONFIG))? {
        return Ok(Holds::Run);
    }
    // A lock, and what is marked as ours, is all that a process leaves that was killed before it wrote anything else.
    let mine = |name: &String| ![LOCK, STOP].contains(&name.as_str()) && disk::unmarked(name).is_none();
    let mut others: Vec<String> = names.into_iter().filter(mine).collect();
    others.sort();
    Ok(others.into_iter().next().map_or(Holds::Nothing, Holds::Other))
}

/// Whether a file is the configuration of a run, well or badly written, and not somebody else's of that name.
fn is_config(path: &Path) -> Result<bool> {
    let text = disk::read_text(path, MOST_CONFIG)?;
    Ok(text.parse::<toml::Table>().is_ok_and(|table| {
        table.get("format").is_some_and(toml::Value::is_integer) && table.contains_key("model")
    }))
}

fn checkpoint_name(number: u64) -> String {
    format!("{CHECKPOINT}{number:06}")
}

fn checkpoint_number(name: &str) -> Option<u64> {
    let number = name.strip_prefix(CHECKPOINT)?.parse().ok()?;
    (checkpoint_name(number) == name).then_some(number)
}

/// Whole checkpoints by number.
pub(super) fn checkpoints(run: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let mut all = Vec::new();
    if !calls::is_folder(run) {
        return Err(no_run(run));
    }
    for name in disk::names(run)? {
        let Some(number) = checkpoint_number(&name) else { continue };
        let path = run.join(name);
        // With the weights alone it has lost something, which whoever reads it is told.
        match calls::look(&path.join(STATE)).or_else(|_| calls::look(&path.join(MODEL))) {
            Ok(_) => all.push((number, path)),
            // Something of this name that is none, or one that another process has just removed.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => return Err(disk::cannot("read", &path, &error)),
        }
    }
    all.sort();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn fill(text: &'static str) -> impl Fn(&Path) -> Result<()> {
        move |path| {
            [MODEL, OPTIMIZER, STATE].iter().try_for_each(|name| disk::write_text(&path.join(name), text))
        }
    }

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("dropforge-run-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn the_newest_whole_checkpoint_counts() {
        let path = folder("newest");
        let run = RunDir::open(&path).unwrap();
        assert!(!holds_run(&path) && latest_checkpoint(&path).unwrap().is_none());
        let state = || read_latest(&path, |path| disk::read_text(&path.join(STATE), 99));
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
        fs::create_dir(path.join(".dropforge-new-checkpoint-000002")).unwrap();
        fs::create_dir(path.join(".dropforge-old-checkpoint-000000")).unwrap();
        assert_eq!(state().unwrap().unwrap(), "one");
        run.add_checkpoint(fill("three")).unwrap();
        assert_eq!(state().unwrap().unwrap(), "three");
        assert_eq!(fs::read_to_string(path.join(MODEL)).unwrap(), "three");
        assert_eq!(checkpoints(&path).unwrap().len(), 1);
        let error = RunDir::open(&path).unwrap_err().to_string();
        assert!(error.contains("another process is training"), "{error}");
        drop(run);
        fs::create_dir(path.join(".dropforge-new-checkpoint-000009")).unwrap();
        RunDir::open(&path).unwrap();
        let mut left: Vec<String> = disk::names(&path).unwrap();
        left.sort();
        assert_eq!(left, ["checkpoint-000002", LOCK, MODEL]);
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn what_no_run_made_stays() {
        let path = folder("foreign");
        fs::create_dir_all(path.join("scratch.tmp")).unwrap();
        fs::write(path.join("scratch.tmp/results.csv"), "mine").unwrap();
        for name in ["notes.tmp", MODEL, LOCK] {
            fs::write(path.join(name), "mine").unwrap();
        }
        let error = RunDir::open(&path).unwrap_err().to_string();
        assert!(error.contains("holds model.safetensors, and no run"), "{error}");
        fs::write(path.join(CONFIG), "model = 'of another program'").unwrap();
        assert!(RunDir::open(&path).unwrap_err().to_string().contains("no run"));
        assert_eq!(fs::read_to_string(path.join(LOCK)).unwrap(), "mine");
        // The same beside a run.
        fs::remove_file(path.join(MODEL)).unwrap();
        fs::write(path.join(CONFIG), "format = 1\nmodel = {}").unwrap();
        let run = RunDir::open(&path).unwrap();
        fs::create_dir(path.join("checkpoint-000007")).unwrap();
        fs::write(path.join("checkpoint-000007/notes"), "mine").unwrap();
        run.add_checkpoint(fill("one")).unwrap();
        fs::write(path.join("checkpoint-000008/notes"), "mine").unwrap();
        run.add_checkpoint(fill("two")).unwrap();
        drop(run);
        RunDir::open(&path).unwrap();
        for name in [
            "notes.tmp",
            LOCK,
            "scratch.tmp/results.csv",
            "checkpoint-000007/notes",
            "checkpoint-000008/notes",
        ] {
            assert_eq!(fs::read_to_string(path.join(name)).unwrap(), "mine", "{name}");
        }
        assert_eq!(fs::read_to_string(path.join(MODEL)).unwrap(), "two");
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    #[cfg(unix)]
    fn a_lock_that_is_a_link_is_not_followed() {
        let path = folder("lock");
        fs::create_dir_all(&path).unwrap();
        let mine = path.with_extension("mine");
        fs::write(&mine, "mine").unwrap();
        std::os::unix::fs::symlink(&mine, path.join(LOCK)).unwrap();
        let error = RunDir::open(&path).unwrap_err().to_string();
        assert!(error.contains("lock") && error.contains("no regular file"), "{error}");
        assert_eq!(fs::read_to_string(&mine).unwrap(), "mine");
        fs::remove_file(mine).unwrap();
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_run_that_was_never_trained_can_be_discarded() {
        let path = folder("discard");
        let run = RunDir::open(&path).unwrap();
        run.write_config("format = 1\nmodel = {}").unwrap();
        run.discard().unwrap();
        assert!(!path.exists());
        fs::create_dir(&path).unwrap();
        RunDir::open(&path).unwrap().discard().unwrap();
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
        fs::remove_dir_all(path).unwrap();
    }
}
