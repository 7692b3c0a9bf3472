//! Opening data files, packed or not, and finding them under their several names.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::{Error, Result};

/// How much larger than its file packed contents may be, once they are large at all: a file of zeros packs by a
/// thousand, data by far less.
const MOST_PACKED: u64 = 200;
const LARGE: u64 = 64 << 20;

/// A reader of the file's contents, unpacked when they start with gzip's two magic bytes, whatever the name.
pub(crate) fn open(path: &Path) -> Result<Box<dyn Read>> {
    let (file, len) = open_regular(path)?;
    let mut file = BufReader::with_capacity(1 << 16, file);
    let start = file.fill_buf().map_err(|cause| Error::io(path, "read", cause))?;
    if !start.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(file));
    }
    let most = len.saturating_mul(MOST_PACKED).max(LARGE);
    Ok(Box::new(Unpacking { decoder: MultiGzDecoder::new(file), left: most }))
}

/// The contents of a file, unpacked as by [`open`], in memory for just as many bytes.
pub(crate) fn whole(path: &Path, most: usize) -> Result<Vec<u8>> {
    let (file, len) = open_regular(path)?;
    let bytes = read_all(path, file, len, most)?;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let left = len.saturating_mul(MOST_PACKED).max(LARGE);
    let unpacked =
        read_up_to(path, &mut Unpacking { decoder: MultiGzDecoder::new(&bytes[..]), left }, most + 1)?;
    check_most(path, unpacked, most)
}

/// A part of a file, from a byte on.
pub(crate) fn part(path: &Path, start: u64, len: u64, most: usize) -> Result<Vec<u8>> {
    let (mut file, _) = open_regular(path)?;
    file.seek(SeekFrom::Start(start)).map_err(|cause| Error::io(path, "read", cause))?;
    read_all(path, file.take(len), len, most)
}

fn read_all(path: &Path, reader: impl Read, len: u64, most: usize) -> Result<Vec<u8>> {
    // One byte more says that there is none.
    let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(most).min(most) + 1);
    let read = reader.take(most as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|cause| Error::io(path, "read", cause))?;
    check_most(path, bytes, most)
}

fn check_most(path: &Path, bytes: Vec<u8>, most: usize) -> Result<Vec<u8>> {
    if bytes.len() > most {
        return Err(Error::at_file(
            path,
            format_args!("is larger than {} MiB; make it smaller first", most >> 20),
        ));
    }
    Ok(bytes)
}

/// A file that is one: reading from a pipe or a device might never end. Its length, too.
pub(crate) fn open_regular(path: &Path) -> Result<(File, u64)> {
    let data = std::fs::metadata(path).map_err(|cause| Error::io(path, "open", cause))?;
    if data.is_dir() {
        return Err(Error::at_file(path, "is a folder, a file is wanted here"));
    }
    if !data.is_file() {
        return Err(Error::at_file(path, "is a pipe or a device, a file is wanted here"));
    }
    Ok((File::open(path).map_err(|cause| Error::io(path, "open", cause))?, data.len()))
}

/// Unpacks up to a limit.
struct Unpacking<R> {
    decoder: R,
    left: u64,
}

impl<R: Read> Read for Unpacking<R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let read = self.decoder.read(out)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            std::io::Error::other(format!(
                "it unpacks to more than {MOST_PACKED} times its size; unpack it first if that is meant"
            ))
        })?;
        Ok(read)
    }
}

/// The first bytes of a file, at most `len`.
pub(crate) fn start(path: &Path, len: usize) -> Result<Vec<u8>> {
    let (file, _) = open_regular(path)?;
    let mut bytes = Vec::new();
    file.take(len as u64).read_to_end(&mut bytes).map_err(|cause| Error::io(path, "read", cause))?;
    Ok(bytes)
}

/// Reads at most `limit` bytes and reports damage, say a gzip checksum or end that is missing.
pub(crate) fn read_up_to(path: &Path, reader: &mut dyn Read, limit: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match reader.take(limit as u64).read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(cause) if cause.kind() == std::io::ErrorKind::UnexpectedEof => {
            Err(Error::at_file(path, "is truncated: the packed data ends early; fetch or copy it again"))
        }
        Err(cause) => Err(Error::io(path, "read", cause)),
    }
}

/// An error when `dir` is not a folder that can be read.
pub(crate) fn check_folder(dir: &Path, advice: &str) -> Result<()> {
    match std::fs::metadata(dir) {
        Ok(data) if data.is_dir() => Ok(()),
        Ok(_) => Err(Error::at_file(dir, format_args!("is a file, a folder is wanted here; {advice}"))),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::at_file(dir, format_args!("there is no such folder; {advice}")))
        }
        Err(cause) => Err(Error::io(dir, "look into", cause)),
    }
}

/// The entries of a folder, sorted by name so that the order is the same everywhere. Names that are no UTF-8 are shown
/// with replacement characters.
pub(crate) fn list(dir: &Path) -> Result<Vec<(String, PathBuf)>> {
    let failed = |cause| Error::io(dir, "list", cause);
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        entries.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
    }
    entries.sort();
    Ok(entries)
}

/// What the command line calls a data set in a folder, from wherever it is called.
pub(crate) fn data_name(kind: &str, dir: &Path) -> String {
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_path_buf());
    format!("{kind}:{}", dir.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Folder, gzip, message};

    #[test]
    fn a_file_that_unpacks_to_far_more_than_its_size_is_refused() {
        let folder = Folder::new("file-bomb");
        let path = folder.write("zeros.gz", &gzip(&vec![0; 70 << 20]));
        let error = message(read_up_to(&path, &mut open(&path).unwrap(), usize::MAX));
        assert!(error.contains("zeros.gz") && error.contains("more than 200 times"), "{error}");
        let path = folder.write("fine.gz", &gzip(&vec![0; 60 << 20]));
        assert_eq!(read_up_to(&path, &mut open(&path).unwrap(), usize::MAX).unwrap().len(), 60 << 20);
    }

    #[cfg(unix)]
    #[test]
    fn pipes_and_devices_are_refused_at_once() {
        let folder = Folder::new("file-pipe");
        let pipe = folder.path().join("pipe");
        if !std::process::Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success()) {
            return;
        }
        for path in [pipe.as_path(), Path::new("/dev/zero")] {
            assert!(message(open(path)).contains("is a pipe or a device"));
            assert!(message(crate::read_idx(path)).contains("is a pipe or a device"));
            assert!(message(crate::read_image(path, 1, 8, 8)).contains("is a pipe or a device"));
            assert!(message(crate::Corpus::open(path)).contains("is a pipe or a device"));
        }
    }
}
