//! What lies where in a tar file (POSIX.1-2001 `ustar` and `pax`, and GNU's long names).

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::{Error, Result, file};

/// A regular file in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub name: String,
    /// Its first byte in the archive.
    pub start: u64,
    pub len: u64,
}

const BLOCK: u64 = 512;
/// No name is longer.
const MOST_NAME: u64 = 1 << 16;

/// The regular files in an archive, in order. Their contents are passed over.
pub(crate) fn members(path: &Path) -> Result<Vec<Member>> {
    let (mut archive, len) = file::open_regular(path)?;
    let damaged = |at: u64, what: &str| {
        Error::at_file(
            path,
            format_args!("is no readable tar file: {what} at byte {at}; fetch or pack it again"),
        )
    };
    let (mut found, mut at, mut name) = (Vec::new(), 0, None::<String>);
    while at + BLOCK <= len {
        let mut header = [0; BLOCK as usize];
        archive.seek(SeekFrom::Start(at)).map_err(|cause| Error::io(path, "read", cause))?;
        archive.read_exact(&mut header).map_err(|cause| Error::io(path, "read", cause))?;
        // Blocks of zeros end an archive.
        if header.iter().all(|&byte| byte == 0) {
            return Ok(found);
        }
        let start = at + BLOCK;
        let size = checked(&header).then(|| number(&header[124..136])).flatten();
        let size = size.ok_or_else(|| damaged(at, "a header is damaged"))?;
        let end = start.checked_add(size).filter(|&end| end <= len);
        let end = end.ok_or_else(|| damaged(at, "a file is longer than the archive"))?;
        match header[156] {
            0 | b'0' | b'7' => {
                let name = name.take().unwrap_or_else(|| own_name(&header));
                found.push(Member { name, start, len: size });
            }
            // A longer name of what comes next, GNU's and of pax.
            b'L' | b'x' => {
                if size > MOST_NAME {
                    return Err(damaged(at, "a name is too long"));
                }
                let text = contents(&mut archive, size).map_err(|cause| Error::io(path, "read", cause))?;
                let long = if header[156] == b'L' { Some(until_zero(&text)) } else { pax_path(&text) };
                name = long.or(name);
            }
            // Folders, links, and records for all that follows.
            _ => name = None,
        }
        at = end.next_multiple_of(BLOCK);
    }
    // Some writers leave out the end, but none stops within a header or behind a name.
    if found.is_empty() || at < len || name.is_some() {
        return Err(damaged(at.min(len), "it ends before its last file"));
    }
    Ok(found)
}

fn contents(archive: &mut File, size: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    archive.take(size).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether the bytes of a header add up to what it says, with its own sum as blanks.
fn checked(header: &[u8]) -> bool {
    let sum = header.iter().enumerate().map(|(at, &byte)| match at {
        148..156 => u64::from(b' '),
        _ => u64::from(byte),
    });
    number(&header[148..156]) == Some(sum.sum())
}

/// Octal digits, or bytes behind a set bit.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let bytes = std::iter::once(field[0] & 0x7f).chain(field[1..].iter().copied());
        return bytes
            .into_iter()
            .try_fold(0u64, |number, byte| number.checked_mul(256).map(|number| number | u64::from(byte)));
    }
    let text = until_zero(field);
    u64::from_str_radix(text.trim_matches(' '), 8).ok()
}

fn until_zero(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn own_name(header: &[u8]) -> String {
    let (name, front) = (until_zero(&header[..100]), until_zero(&header[345..500]));
    match header[257..].starts_with(b"ustar\0") && !front.is_empty() {
        true => format!("{front}/{name}"),
        false => name,
    }
}

/// The path in records of the form `LENGTH KEY=VALUE\n`.
fn pax_path(mut records: &[u8]) -> Option<String> {
    while let Some(blank) = records.iter().position(|&byte| byte == b' ') {
        let len: usize = std::str::from_utf8(&records[..blank]).ok()?.parse().ok()?;
        let record = records.get(blank + 1..len)?;
        if let Some(path) = record.strip_prefix(b"path=") {
            return Some(String::from_utf8_lossy(path.strip_suffix(b"\n").unwrap_or(path)).into_owned());
        }
        records = &records[len..];
    }
    None
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::testing::{Folder, message};

    /// An archive of files.
    pub fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut all = Vec::new();
        let mut entry = |name: &str, kind: u8, contents: &[u8]| {
            let mut header = [0u8; 512];
            let short = &name.as_bytes()[..name.len().min(100)];
            header[..short.len()].copy_from_slice(short);
            header[124..135].copy_from_slice(format!("{:011o}", contents.len()).as_bytes());
            header[156] = kind;
            header[257..263].copy_from_slice(b"ustar\0");
            header[148..156].fill(b' ');
            let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
            header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            all.extend_from_slice(&header);
            all.extend_from_slice(contents);
            all.resize(all.len().next_multiple_of(512), 0);
        };
        for (name, contents) in files {
            if name.len() > 100 {
                entry("././@LongLink", b'L', format!("{name}\0").as_bytes());
            }
            entry(name, b'0', contents);
        }
        all.extend_from_slice(&[0; 1024]);
        all
    }

    #[test]
    fn files_and_where_they_are() {
        let folder = Folder::new("tar");
        let long = "d/".repeat(80) + "long.txt";
        let bytes = archive(&[("a/b.txt", b"hello"), (&long, &[7; 600]), ("empty", b"")]);
        let path = folder.write("a.tar", &bytes);
        let found = members(&path).unwrap();
        let names: Vec<&str> = found.iter().map(|member| member.name.as_str()).collect();
        assert_eq!(names, ["a/b.txt", &long, "empty"]);
        let part = |member: &Member| &bytes[member.start as usize..][..member.len as usize];
        assert_eq!((part(&found[0]), part(&found[1])), (&b"hello"[..], &[7u8; 600][..]));
        // Made by other programs, if they are there.
        folder.write("in/one.txt", b"1");
        for format in ["pax", "gnu", "ustar"] {
            let made = folder.path().join(format!("{format}.tar"));
            let mut tar = std::process::Command::new("tar");
            let tar = tar
                .arg(format!("--format={format}"))
                .arg("-cf")
                .arg(&made)
                .arg("-C")
                .arg(folder.path())
                .arg("in");
            if tar.status().is_ok_and(|status| status.success()) {
                let found = members(&made).unwrap();
                assert_eq!(
                    (found.len(), found[0].name.as_str(), found[0].len),
                    (1, "in/one.txt", 1),
                    "{format}"
                );
            }
        }
        let cut = folder.write("cut.tar", &bytes[..2000]);
        assert!(message(members(&cut)).contains("ends before its last file"));
        let cut = folder.write("cut.tar", &bytes[..514]);
        assert!(message(members(&cut)).contains("longer than the archive"));
        let mut wrong = bytes.clone();
        wrong[3] ^= 1;
        assert!(
            message(members(&folder.write("wrong.tar", &wrong))).contains("a header is damaged at byte 0")
        );
        assert!(message(members(&folder.write("none.tar", b"none"))).contains("ends before its last file"));
    }
}
