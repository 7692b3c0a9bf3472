//! A file that is there as long as the process uses it.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Error, Result};

/// Names of such files begin so.
const NAME: &str = ".dropforge-cache";

/// A file of nobody else, read and written at any place by several threads at once; it disappears with its owner, and
/// where systems let a file be removed that is open, with the process, however that ends.
pub(super) struct ScratchFile {
    file: File,
    /// Where it still has a name.
    path: Option<PathBuf>,
}

impl ScratchFile {
    /// A new file in a folder, which is made where it is missing.
    ///
    /// # Errors
    /// The folder or the file cannot be made.
    pub fn new(folder: &Path) -> Result<ScratchFile> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        std::fs::create_dir_all(folder).map_err(|error| {
            Error::at_file(folder, format_args!("cannot make the folder of the cache: {error}"))
        })?;
        loop {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!("{NAME}-{}-{number}", std::process::id()));
            match OpenOptions::new().read(true).write(true).create_new(true).open(&path) {
                Ok(file) => {
                    let removed = cfg!(unix) && std::fs::remove_file(&path).is_ok();
                    return Ok(ScratchFile { file, path: (!removed).then_some(path) });
                }
                // Of another process of this number, on another machine or before this one.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    let reason = format_args!("cannot make the file of the cache: {error}");
                    return Err(Error::at_file(&path, reason));
                }
            }
        }
    }

    /// Fills memory from a place of the file.
    ///
    /// # Errors
    /// The system's.
    #[cfg(unix)]
    pub fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, bytes, offset)
    }

    /// Writes all bytes to a place of the file.
    ///
    /// # Errors
    /// The system's, such as a full disk.
    #[cfg(unix)]
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.file, bytes, offset)
    }

    #[cfg(windows)]
    pub fn read_at(&self, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match std::os::windows::fs::FileExt::seek_read(&self.file, bytes, offset)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => {
                    bytes = &mut bytes[read..];
                    offset += read as u64;
                }
            }
        }
        Ok(())
    }

    #[cfg(windows)]
    pub fn write_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match std::os::windows::fs::FileExt::seek_write(&self.file, bytes, offset)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => {
                    bytes = &bytes[written..];
                    offset += written as u64;
                }
            }
        }
        Ok(())
    }

    #[cfg(not(any(unix, windows)))]
    pub fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    #[cfg(not(any(unix, windows)))]
    pub fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Drop for ScratchFile {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Folder, message};

    #[test]
    fn a_file_is_gone_with_its_owner() {
        let folder = Folder::new("scratch");
        let inside = folder.path().join("a/b");
        let files = [ScratchFile::new(&inside).unwrap(), ScratchFile::new(&inside).unwrap()];
        files[0].write_at(b"later", 100).unwrap();
        files[1].write_at(b"other", 100).unwrap();
        let mut bytes = [7; 7];
        files[0].read_at(&mut bytes, 98).unwrap();
        assert_eq!(&bytes, b"\0\0later");
        assert!(files[0].read_at(&mut bytes, 99).is_err());
        drop(files);
        assert_eq!(std::fs::read_dir(&inside).unwrap().count(), 0);
        folder.write("taken", b"");
        assert!(
            message(ScratchFile::new(&folder.path().join("taken"))).contains("taken: cannot make the folder")
        );
    }
}
