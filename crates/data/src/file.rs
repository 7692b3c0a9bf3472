//! Opening data files, packed or not, and finding them under their several names.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::{Error, Result};

/// A reader of the file's contents, unpacked when they start with gzip's two magic bytes, whatever the name.
pub(crate) fn open(path: &Path) -> Result<Box<dyn Read>> {
    if path.is_dir() {
        return Err(Error::at_file(path, "is a folder, a file is wanted here"));
    }
    let file = File::open(path).map_err(|cause| Error::io(path, "open", cause))?;
    let mut file = BufReader::with_capacity(1 << 16, file);
    let start = file.fill_buf().map_err(|cause| Error::io(path, "read", cause))?;
    let packed = start.starts_with(&[0x1f, 0x8b]);
    Ok(if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) })
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

/// The entries of a folder with names in UTF-8, sorted by name so that the order is the same everywhere.
pub(crate) fn list(dir: &Path) -> Result<Vec<(String, PathBuf)>> {
    let failed = |cause| Error::io(dir, "list", cause);
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if let Ok(name) = entry.file_name().into_string() {
            entries.push((name, entry.path()));
        }
    }
    entries.sort();
    Ok(entries)
}
