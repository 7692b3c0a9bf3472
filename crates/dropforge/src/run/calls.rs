//! Every file call that a run makes, one function each: the one place where a test can make any of them fail, or be the
//! last thing the process does.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

/// What a path names; a symbolic link is not followed.
pub(super) fn look(path: &Path) -> io::Result<Metadata> {
    point()?;
    fs::symlink_metadata(path)
}

/// What a symbolic link points to.
pub(super) fn link_target(path: &Path) -> io::Result<std::path::PathBuf> {
    point()?;
    fs::read_link(path)
}

/// Whether a path, or what a link points to, is a folder.
pub(super) fn is_folder(path: &Path) -> bool {
    point().is_ok() && fs::metadata(path).is_ok_and(|found| found.is_dir())
}

/// Whether a path, or what a link points to, is a regular file.
pub(super) fn is_file(path: &Path) -> bool {
    point().is_ok() && fs::metadata(path).is_ok_and(|found| found.is_file())
}

/// The path without links.
#[cfg(feature = "onnx")]
pub(super) fn real(path: &Path) -> io::Result<std::path::PathBuf> {
    point()?;
    fs::canonicalize(path)
}

/// Opens a file to read. What is no regular file is refused: a pipe would wait for ever, a device may never end.
pub(super) fn open(path: &Path) -> io::Result<OpenFile> {
    point()?;
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    Ok(OpenFile(File::open(path)?))
}

/// Makes a file that was not there; a symbolic link of this name is not followed.
pub(super) fn create(path: &Path) -> io::Result<OpenFile> {
    point()?;
    OpenOptions::new().write(true).create_new(true).open(path).map(OpenFile)
}

/// Makes a file to add to, or takes one that is there.
pub(super) fn append(path: &Path) -> io::Result<OpenFile> {
    point()?;
    OpenOptions::new().create(true).append(true).open(path).map(OpenFile)
}

/// Opens the file of a lock, and makes it if need be; what is in it stays.
pub(super) fn open_lock(path: &Path) -> io::Result<File> {
    point()?;
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => Err(io::Error::other("it is no regular file")),
        Ok(_) => OpenOptions::new().read(true).write(true).open(path),
        Err(_) => OpenOptions::new().read(true).write(true).create_new(true).open(path),
    }
}

/// The names in a folder.
pub(super) fn list(path: &Path) -> io::Result<Vec<OsString>> {
    point()?;
    fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect()
}

pub(super) fn create_folder(path: &Path) -> io::Result<()> {
    point()?;
    fs::create_dir(path)
}

/// Makes a folder and those above it.
pub(super) fn create_folders(path: &Path) -> io::Result<()> {
    point()?;
    fs::create_dir_all(path)
}

pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    point()?;
    fs::rename(from, to)
}

/// Gives a file a second name.
pub(super) fn link(from: &Path, to: &Path) -> io::Result<()> {
    point()?;
    fs::hard_link(from, to)
}

pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    point()?;
    fs::remove_file(path)
}

/// Removes a folder that is empty.
pub(super) fn remove_folder(path: &Path) -> io::Result<()> {
    point()?;
    fs::remove_dir(path)
}

/// Waits until the disk has the names in a folder; where folders cannot be flushed (Windows) renames are kept anyway.
pub(super) fn flush_folder(path: &Path) -> io::Result<()> {
    point()?;
    if !cfg!(unix) {
        return Ok(());
    }
    File::open(if path.as_os_str().is_empty() { Path::new(".") } else { path })?.sync_all()
}

/// A file whose reads and writes are file calls like the others.
pub(super) struct OpenFile(File);

impl OpenFile {
    /// Bytes in it.
    pub fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    /// Whether another process holds it for itself.
    pub fn is_locked(&self) -> bool {
        // Held for a moment only; who wants it then tries again.
        matches!(self.0.try_lock_shared(), Err(fs::TryLockError::WouldBlock))
    }

    /// When it was written last.
    pub fn modified(&self) -> io::Result<std::time::SystemTime> {
        self.0.metadata()?.modified()
    }

    /// Waits until the disk has it.
    pub fn flush_to_disk(&self) -> io::Result<()> {
        point()?;
        self.0.sync_all()
    }

    /// Whether this is the file that `other` names, too.
    #[cfg(unix)]
    pub fn is_same(&self, other: &OpenFile) -> bool {
        use std::os::unix::fs::MetadataExt;
        let id = |file: &OpenFile| file.0.metadata().map(|found| (found.dev(), found.ino()));
        matches!((id(self), id(other)), (Ok(a), Ok(b)) if a == b)
    }

    /// Whether this is the file that `other` names, too; where that cannot be told, it is not.
    #[cfg(not(unix))]
    pub fn is_same(&self, _other: &OpenFile) -> bool {
        false
    }
}

impl Read for OpenFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        point()?;
        self.0.read(buffer)
    }
}

impl io::Seek for OpenFile {
    fn seek(&mut self, position: io::SeekFrom) -> io::Result<u64> {
        self.0.seek(position)
    }
}

impl Write for OpenFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        point()?;
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(not(test))]
fn point() -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
use faults::point;

/// What tests do to the file calls of their thread.
#[cfg(test)]
pub(super) mod faults {
    use std::cell::Cell;
    use std::io;

    /// What happens to the file calls that follow.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub enum Fault {
        /// They are counted.
        None,
        /// The call with this number fails, from 0 on.
        One(u64),
        /// This call and all after it fail, as on a disk that is full or gone.
        From(u64),
        /// The process ends before this call.
        Exit(u64),
    }

    /// The exit code of a process that ended so.
    pub const EXIT: i32 = 86;

    thread_local! {
        static FAULT: Cell<(Fault, u64)> = const { Cell::new((Fault::None, 0)) };
    }

    /// Sets what happens from now on; gives how many calls there were since the last time.
    pub fn set(fault: Fault) -> u64 {
        FAULT.replace((fault, 0)).1
    }

    pub(super) fn point() -> io::Result<()> {
        let (fault, call) = FAULT.get();
        FAULT.set((fault, call + 1));
        match fault {
            Fault::One(k) if k == call => Err(io::Error::other("made to fail")),
            Fault::From(k) if k <= call => Err(io::Error::other("made to fail")),
            Fault::Exit(k) if k == call => std::process::exit(EXIT),
            _ => Ok(()),
        }
    }
}
