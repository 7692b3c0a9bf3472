//! Files and folders that are whole or not there: written under a name of our own, flushed to the disk, then renamed.
//!
//! Only what a run made is touched. While something is written or removed its name starts with a mark that nobody else
//! uses, and a folder is removed file by file, by names that are known.

use super::calls::{self, OpenFile};
use crate::{Error, Result};
use std::ffi::OsStr;
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// What the name of a thing starts with while it is written.
const UNFINISHED: &str = ".dropforge-new-";
/// What the name of a thing starts with while it is removed.
const DOOMED: &str = ".dropforge-old-";

/// A file that is written, in which a place before the end can be written again.
pub(super) trait Seekable: Write + Seek {}

impl<T: Write + Seek> Seekable for T {}

/// What goes into a file.
type Contents<'a> = &'a mut dyn FnMut(&mut dyn Seekable) -> Result<()>;

/// Writes a file that is not there yet and waits until the disk has it.
pub(super) fn write_file(path: &Path, contents: Contents<'_>) -> Result<()> {
    let mut attempt = || -> Result<()> {
        let file = calls::create(path).map_err(|error| Error::io("cannot create", error))?;
        let mut buffered = BufWriter::with_capacity(1 << 16, file);
        contents(&mut buffered)?;
        let failed = |error: io::Error| Error::io("cannot write", error);
        let file = buffered.into_inner().map_err(|error| failed(error.into_error()))?;
        file.flush_to_disk().map_err(failed)
    };
    attempt().map_err(|error| error.context(finished(path).display()))
}

/// The path that people know: of what is not finished yet, by the names that it is going to have.
fn finished(path: &Path) -> PathBuf {
    let name = |part: std::path::Component<'_>| {
        let part = part.as_os_str();
        part.to_str().and_then(|name| name.strip_prefix(UNFINISHED)).map_or(part, OsStr::new).to_os_string()
    };
    path.components().map(name).collect()
}

/// As [`write_file`], of a text.
pub(super) fn write_text(path: &Path, text: &str) -> Result<()> {
    let failed = |error: io::Error| Error::io("cannot write", error);
    write_file(path, &mut |out| out.write_all(text.as_bytes()).map_err(failed))
}

/// Writes or replaces a file as a whole.
pub(super) fn replace_file(path: &Path, contents: Contents<'_>) -> Result<()> {
    let unfinished = marked(UNFINISHED, path);
    remove_file(&unfinished)?;
    let written = write_file(&unfinished, contents).and_then(|()| rename(&unfinished, path));
    if written.is_err() {
        // It takes room on what may be a full disk.
        let _ = remove_file(&unfinished);
    }
    written
}

/// Writes or replaces a file of text as a whole; one that has this text already stays.
pub(super) fn replace_text(path: &Path, text: &str) -> Result<()> {
    if calls::look(path).is_ok_and(|found| found.is_file() && found.len() == text.len() as u64)
        && read_text(path, text.len() as u64).is_ok_and(|found| found == text)
    {
        return Ok(());
    }
    let failed = |error: io::Error| Error::io("cannot write", error);
    replace_file(path, &mut |out| out.write_all(text.as_bytes()).map_err(failed))
}

/// Makes `path` another name of `source`, or a copy where the disk has no such thing; one that is the same stays.
pub(super) fn replace_by_link(path: &Path, source: &Path) -> Result<()> {
    if is_same(path, source) {
        return Ok(());
    }
    let unfinished = marked(UNFINISHED, path);
    remove_file(&unfinished)?;
    if calls::link(source, &unfinished).is_ok() {
        return rename(&unfinished, path);
    }
    let mut from = open(source)?;
    replace_file(path, &mut |out| {
        io::copy(&mut from, out).map_err(|error| Error::io("cannot write", error))?;
        Ok(())
    })
}

/// Whether two paths name the same file, or files of the same bytes.
fn is_same(one: &Path, other: &Path) -> bool {
    let (Ok(one), Ok(other)) = (calls::open(one), calls::open(other)) else { return false };
    if one.is_same(&other) {
        return true;
    }
    let same_len = matches!((one.len(), other.len()), (Ok(a), Ok(b)) if a == b);
    same_len && same_bytes(one, other).unwrap_or(false)
}

fn same_bytes(one: OpenFile, other: OpenFile) -> io::Result<bool> {
    let mut readers = [one, other].map(|file| BufReader::with_capacity(1 << 16, file).bytes());
    loop {
        let [a, b] = &mut readers;
        match (a.next().transpose()?, b.next().transpose()?) {
            (None, None) => return Ok(true),
            (a, b) if a != b => return Ok(false),
            _ => {}
        }
    }
}

/// Makes a folder whose files are all there from the moment it has its name. The name must be free.
pub(super) fn create_folder(
    path: &Path,
    files: &[&str],
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let unfinished = marked(UNFINISHED, path);
    // What a killed process has left.
    remove_files(&unfinished, files)?;
    let made = calls::create_folder(&unfinished)
        .map_err(|error| cannot("create", &unfinished, &error))
        .and_then(|()| fill(&unfinished))
        .and_then(|()| flush(&unfinished))
        .and_then(|()| rename(&unfinished, path));
    if made.is_err() {
        let _ = remove_files(&unfinished, files);
    }
    made
}

/// Removes a folder that holds nothing but these files; it loses its name first, so that nobody takes the rest for a
/// whole one. Another one stays, and so does a link with what it points to.
pub(super) fn remove_folder(path: &Path, files: &[&str]) -> Result<()> {
    if calls::look(path).is_ok_and(|found| !found.is_dir()) {
        return Ok(());
    }
    let names = match calls::list(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        names => names.map_err(|error| cannot("list", path, &error))?,
    };
    if names.iter().any(|name| !files.iter().any(|file| name == file)) {
        return Ok(());
    }
    let doomed = marked(DOOMED, path);
    remove_files(&doomed, files)?;
    rename(path, &doomed)?;
    remove_files(&doomed, files)
}

/// Removes what a process that was killed while it wrote or removed `name` has left in a folder. `files` are those that
/// the thing has if it is a folder.
pub(super) fn remove_unfinished(folder: &Path, name: &str, files: Option<&[&str]>) -> Result<()> {
    let path = folder.join(name);
    for left in [UNFINISHED, DOOMED].map(|mark| marked(mark, &path)) {
        match files {
            None => remove_file(&left)?,
            Some(files) => remove_files(&left, files)?,
        }
    }
    Ok(())
}

/// The name of the thing that is being written or removed under this name, if it is one.
pub(super) fn unmarked(name: &str) -> Option<&str> {
    name.strip_prefix(UNFINISHED).or_else(|| name.strip_prefix(DOOMED))
}

fn remove_file(path: &Path) -> Result<()> {
    match calls::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(cannot("remove", path, &error)),
        _ => Ok(()),
    }
}

/// Removes a folder with these files; what else is in it stays, and the folder too.
fn remove_files(folder: &Path, files: &[&str]) -> Result<()> {
    match calls::look(folder) {
        Ok(found) if found.is_dir() => {}
        // A link of this name is none of ours, nor is what it points to.
        Ok(_) => return Err(Error::file(format!("{}: is no folder; remove it", folder.display()))),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(cannot("remove", folder, &error)),
    }
    for file in files {
        remove_file(&folder.join(file))?;
    }
    calls::remove_folder(folder).map_err(|error| cannot("remove", folder, &error))
}

/// Opens a regular file to read.
pub(super) fn open(path: &Path) -> Result<OpenFile> {
    calls::open(path).map_err(|error| cannot("read", path, &error))
}

/// The text of a file, `None` where there is none. No more than `most` bytes are read.
pub(super) fn read_text_if_any(path: &Path, most: u64) -> Result<Option<String>> {
    let file = match calls::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.map_err(|error| cannot("read", path, &error))?,
    };
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(|error| cannot("read", path, &error))?;
    if bytes.len() as u64 > most {
        return Err(Error::file(format!(
            "{}: is larger than {most} bytes, which no file of this sort is",
            path.display()
        )));
    }
    let text = String::from_utf8(bytes);
    text.map(Some).map_err(|_| Error::file(format!("{}: is no text in UTF-8", path.display())))
}

/// The bytes of a file, of which there are at most so many.
pub(super) fn read_bytes(path: &Path, most: u64) -> Result<Vec<u8>> {
    let file = open(path)?;
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(|error| cannot("read", path, &error))?;
    if bytes.len() as u64 > most {
        return Err(Error::file(format!(
            "{}: is larger than {most} bytes, which cannot be read",
            path.display()
        )));
    }
    Ok(bytes)
}

/// Bytes that a file which people write has at most.
pub(super) const MOST_WRITTEN: u64 = 16 << 20;

/// The text of a regular file, as people write them: a model, settings, what a sweep tries. Pipes, devices and what is
/// larger than 16 MiB are refused.
///
/// # Errors
/// The file is missing, no regular file, too large or no text; the message names it.
pub fn read_text_file(path: impl AsRef<Path>) -> Result<String> {
    read_text(path.as_ref(), MOST_WRITTEN)
}

/// The text of a file. No more than `most` bytes are read.
pub(super) fn read_text(path: &Path, most: u64) -> Result<String> {
    let missing = || Error::file(format!("{}: cannot read it: there is no such file", path.display()));
    read_text_if_any(path, most)?.ok_or_else(missing)
}

/// Names in a folder that are text.
pub(super) fn names(path: &Path) -> Result<Vec<String>> {
    let names = calls::list(path).map_err(|error| cannot("list", path, &error))?;
    Ok(names.into_iter().map(|name| name.to_string_lossy().into_owned()).collect())
}

/// An error about a path.
pub(super) fn cannot(doing: &str, path: &Path, error: &io::Error) -> Error {
    // Errors of the system cannot be copied but by their number.
    let source = error
        .raw_os_error()
        .map_or_else(|| io::Error::new(error.kind(), error.to_string()), io::Error::from_raw_os_error);
    Error::io(&format!("cannot {doing} it"), source).context(finished(path).display())
}

fn marked(mark: &str, path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(mark);
    name.push(path.file_name().unwrap_or_default());
    path.with_file_name(name)
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    calls::rename(from, to).map_err(|error| cannot("rename", from, &error))?;
    to.parent().map_or(Ok(()), flush)
}

/// Without this a power failure may undo a rename.
fn flush(folder: &Path) -> Result<()> {
    calls::flush_folder(folder).map_err(|error| cannot("flush", folder, &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

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
        replace_text(&path, "old").unwrap();
        for room in [0, 1, 1 << 20] {
            let error = replace_file(&path, &mut |out| full_after(room, out)).unwrap_err().to_string();
            assert!(error.ends_with("config.toml: cannot write: no space left on device"), "{error}");
        }
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn folders_are_whole_or_not_there() {
        let folder = folder("folder");
        let path = folder.join("checkpoint-1");
        let files = ["model", "state"];
        // Left behind by a process that was killed while it wrote.
        fs::create_dir(folder.join(".dropforge-new-checkpoint-1")).unwrap();
        fs::write(folder.join(".dropforge-new-checkpoint-1/model"), b"half").unwrap();
        let fill = |path: &Path| write_file(&path.join("model"), &mut |out| full_after(9, out));
        create_folder(&path, &files, fill).unwrap_err();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        create_folder(&path, &files, |path| write_text(&path.join("state"), "")).unwrap();
        assert_eq!(names(&folder).unwrap(), ["checkpoint-1"]);
        assert_eq!(names(&path).unwrap(), ["state"]);
        // What somebody else put there keeps the folder.
        fs::write(path.join("notes"), "mine").unwrap();
        remove_folder(&path, &files).unwrap();
        assert_eq!(names(&path).unwrap().len(), 2);
        fs::remove_file(path.join("notes")).unwrap();
        remove_folder(&path, &files).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    #[cfg(unix)]
    fn links_are_not_followed_when_writing() {
        let folder = folder("links");
        fs::write(folder.join("mine"), "mine").unwrap();
        for name in [".dropforge-new-config.toml", "config.toml"] {
            std::os::unix::fs::symlink(folder.join("mine"), folder.join(name)).unwrap();
        }
        replace_text(&folder.join("config.toml"), "new").unwrap();
        assert_eq!(fs::read_to_string(folder.join("config.toml")).unwrap(), "new");
        assert_eq!(fs::read_to_string(folder.join("mine")).unwrap(), "mine");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_is_read_has_a_limit() {
        let folder = folder("limit");
        fs::write(folder.join("a"), "12345").unwrap();
        assert_eq!(read_text(&folder.join("a"), 5).unwrap(), "12345");
        assert!(read_text(&folder.join("a"), 4).unwrap_err().to_string().contains("larger than 4 bytes"));
        let error = read_text(&folder, 9).unwrap_err().to_string();
        assert!(error.contains("no regular file"), "{error}");
        #[cfg(unix)]
        {
            let error = read_text(Path::new("/dev/zero"), 9).unwrap_err().to_string();
            assert!(error.contains("no regular file"), "{error}");
            let pipe = folder.join("pipe");
            if std::process::Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success()) {
                assert!(read_text(&pipe, 9).unwrap_err().to_string().contains("no regular file"));
            }
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
