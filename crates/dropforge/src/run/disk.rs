//! Files and folders that are whole or not there: written under a temporary name, flushed to the disk, then renamed.

use crate::{Error, Result};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// What a name ends in while the thing is being written or removed.
const UNFINISHED: &str = ".tmp";

/// What goes into a file.
type Contents<'a> = &'a mut dyn FnMut(&mut dyn Write) -> Result<()>;

/// Writes a file and waits until the disk has it.
pub(super) fn write_file(path: &Path, contents: Contents<'_>) -> Result<()> {
    let mut attempt = || -> Result<()> {
        let file = File::create(path).map_err(|error| Error::new(format!("cannot create: {error}")))?;
        let mut buffered = BufWriter::with_capacity(1 << 16, file);
        contents(&mut buffered)?;
        let failed = |error: std::io::Error| Error::new(format!("cannot write: {error}"));
        let file = buffered.into_inner().map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(failed)
    };
    attempt().map_err(|error| error.context(path.display()))
}

/// Writes or replaces a file as a whole.
pub(super) fn replace_file(path: &Path, contents: Contents<'_>) -> Result<()> {
    let unfinished = unfinished(path);
    let written = write_file(&unfinished, contents).and_then(|()| rename(&unfinished, path));
    if written.is_err() {
        // It takes room on what may be a full disk.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

/// Replaces a file by another name of `source`, or by a copy where the disk has no such thing.
pub(super) fn replace_by_link(path: &Path, source: &Path) -> Result<()> {
    let unfinished = unfinished(path);
    let _ = fs::remove_file(&unfinished);
    if fs::hard_link(source, &unfinished).is_ok() {
        return rename(&unfinished, path);
    }
    let bytes = fs::read(source).map_err(|error| cannot("read", source, &error))?;
    replace_file(path, &mut |out| {
        out.write_all(&bytes).map_err(|error| Error::new(format!("cannot write: {error}")))
    })
}

/// Makes a folder whose files are all there from the moment it has its name. The name must be free.
pub(super) fn create_folder(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let unfinished = unfinished(path);
    // What a killed process has left.
    remove_folder(&unfinished)?;
    let made = fs::create_dir(&unfinished)
        .map_err(|error| cannot("create", &unfinished, &error))
        .and_then(|()| fill(&unfinished))
        .and_then(|()| sync_folder(&unfinished))
        .and_then(|()| rename(&unfinished, path));
    if made.is_err() {
        let _ = remove_folder(&unfinished);
    }
    made
}

/// Removes a folder that may be there; it loses its name first, so that nobody takes the rest for a whole one.
pub(super) fn remove_folder(path: &Path) -> Result<()> {
    let doomed = unfinished(path);
    if doomed != path && path.exists() {
        remove_folder(&doomed)?;
        rename(path, &doomed)?;
    }
    match fs::remove_dir_all(&doomed) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(cannot("remove", &doomed, &error)),
        _ => Ok(()),
    }
}

/// Removes what a killed process has left in a folder of ours.
pub(super) fn remove_unfinished(path: &Path) -> Result<()> {
    let entries = fs::read_dir(path).map_err(|error| cannot("list", path, &error))?;
    for entry in entries.filter_map(std::result::Result::ok) {
        let path = entry.path();
        if !entry.file_name().to_string_lossy().ends_with(UNFINISHED) {
            continue;
        }
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(|error| cannot("remove", &path, &error))?;
    }
    Ok(())
}

/// Names in a folder, without those that are being written or removed.
pub(super) fn names(path: &Path) -> Result<Vec<String>> {
    let list =
        || fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<Vec<_>>>();
    let names = list().map_err(|error| cannot("list", path, &error))?;
    let names = names.into_iter().filter_map(|name| name.into_string().ok());
    Ok(names.filter(|name| !name.ends_with(UNFINISHED)).collect())
}

/// An error about a path.
pub(super) fn cannot(doing: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::new(format!("{}: cannot {doing} it: {error}", path.display()))
}

fn unfinished(path: &Path) -> PathBuf {
    if path.extension().is_some_and(|extension| extension == &UNFINISHED[1..]) {
        return path.into();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(UNFINISHED);
    name.into()
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|error| cannot("rename", from, &error))?;
    to.parent().map_or(Ok(()), sync_folder)
}

/// Without this a power failure may undo a rename; where folders cannot be flushed (Windows) renames are kept anyway.
fn sync_folder(path: &Path) -> Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path).and_then(|folder| folder.sync_all()).map_err(|error| cannot("flush", path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("dropforge-disk-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        path
    }

    /// A disk with room for so many bytes.
    fn full_after(room: usize, out: &mut dyn Write) -> Result<()> {
        out.write_all(&vec![b'x'; room]).unwrap();
        Err(Error::new("cannot write: no space left on device"))
    }

    #[test]
    fn a_full_disk_leaves_the_old_file_and_nothing_else() {
        let folder = folder("file");
        let path = folder.join("config.toml");
        let old = |out: &mut dyn Write| {
            out.write_all(b"old").unwrap();
            Ok(())
        };
        replace_file(&path, &mut { old }).unwrap();
        for room in [0, 1, 1 << 20] {
            let error = replace_file(&path, &mut |out| full_after(room, out)).unwrap_err().to_string();
            assert!(error.ends_with("config.toml.tmp: cannot write: no space left on device"), "{error}");
        }
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn folders_are_whole_or_not_there() {
        let folder = folder("folder");
        let path = folder.join("checkpoint-1");
        // Left behind by a process that was killed while it wrote.
        fs::create_dir(folder.join("checkpoint-1.tmp")).unwrap();
        fs::write(folder.join("checkpoint-1.tmp/model"), b"half").unwrap();
        let fill = |path: &Path| write_file(&path.join("model"), &mut |out| full_after(9, out));
        create_folder(&path, fill).unwrap_err();
        assert_eq!(names(&folder).unwrap(), [""; 0]);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        create_folder(&path, |path| write_file(&path.join("state"), &mut |_| Ok(()))).unwrap();
        assert_eq!(names(&folder).unwrap(), ["checkpoint-1"]);
        assert_eq!(names(&path).unwrap(), ["state"]);
        remove_folder(&path).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::remove_dir_all(folder).unwrap();
    }
}
