//! Files that people ask for by name: an ONNX file, a chart, weights. What a run writes into its own folder is another
//! matter (`run/disk.rs`).
//!
//! Nothing of a user's is replaced unless it is of the kind that is written: a file appears as a whole by one rename, a
//! symbolic link stays and what it points to is written, and devices and pipes are written to.

use crate::{Error, Result};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// What the name of a file starts with while it is written.
const UNFINISHED: &str = ".dropforge-new-";
/// Links that are followed at most, as systems have it.
const MOST_LINKS: usize = 40;
/// Bytes at the beginning of a file that tell its kind.
const HEAD: u64 = 4096;
/// Bytes of the header of a safetensors file that are looked through.
const MOST_HEADER: u64 = 64 << 20;

/// What is written into a file. A file that is there is replaced only if it is of this kind, or empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileKind {
    /// A network as an ONNX file.
    Onnx,
    /// A run as one file: see [`pack`](crate::run::pack).
    PackedRun,
    /// Weights in the format safetensors that are no packed run.
    Safetensors,
    /// An array as NumPy's `.npy`.
    Npy,
    /// Arrays as NumPy's `.npz`.
    Npz,
    /// A chart that [`plot`](crate::plot) has drawn.
    Chart,
    /// A picture in the format PNG.
    Png,
    /// A report of a run.
    Report,
    /// A trace of steps and kernels.
    Trace,
    /// What the folder of a sweep keeps of it.
    Sweep,
    /// Anything else: what is there is never replaced.
    Other,
}

impl FileKind {
    /// How an error calls it.
    fn name(self) -> &'static str {
        match self {
            FileKind::Onnx => "ONNX file",
            FileKind::PackedRun => "packed run",
            FileKind::Safetensors => "file of weights in the format safetensors",
            FileKind::Npy => "array in the format npy",
            FileKind::Npz => "file of arrays in the format npz",
            FileKind::Chart => "chart that was drawn by dropforge",
            FileKind::Png => "PNG picture",
            FileKind::Report => "report that was written by dropforge",
            FileKind::Trace => "trace",
            FileKind::Sweep => "list of the trials of a sweep",
            FileKind::Other => "file that may be replaced",
        }
    }

    /// Whether a file is of this kind, or nothing is in it.
    fn is(self, file: &mut File) -> io::Result<bool> {
        let mut head = Vec::new();
        Read::by_ref(file).take(HEAD).read_to_end(&mut head)?;
        let contains = |part: &str| head.windows(part.len()).any(|window| window == part.as_bytes());
        Ok(head.is_empty()
            || match self {
                // A message of protocol buffers whose first field is the version of the format, a small number.
                FileKind::Onnx => matches!(head[..], [8, 1..=64, ..]),
                FileKind::PackedRun => is_packed(&head, file)? == Some(true),
                FileKind::Safetensors => is_packed(&head, file)? == Some(false),
                FileKind::Npy => head.starts_with(b"\x93NUMPY"),
                FileKind::Npz => {
                    let is_named = head.get(30..).is_some_and(|rest| {
                        let len = usize::from(u16::from_le_bytes([head[26], head[27]]));
                        rest.get(..len).is_some_and(|name| name.ends_with(b".npy"))
                    });
                    head.starts_with(b"PK\x05\x06") || head.starts_with(b"PK\x03\x04") && is_named
                }
                FileKind::Chart => head.starts_with(b"<svg ") && contains("class=\"plot\""),
                FileKind::Png => head.starts_with(b"\x89PNG\r\n\x1a\n"),
                FileKind::Report => contains("<meta name=\"generator\" content=\"dropforge\">"),
                FileKind::Trace => head.starts_with(b"{") && contains("\"traceEvents\""),
                // Those of earlier versions say nothing of themselves.
                FileKind::Sweep => {
                    head.starts_with(b"# The trials of a sweep")
                        || head.starts_with(b"args = [") && contains("method = ")
                }
                FileKind::Other => false,
            })
    }
}

/// Whether a safetensors file is a packed run; `None` if it is none. `head` has been read of it.
fn is_packed(head: &[u8], file: &mut File) -> io::Result<Option<bool>> {
    let Some((len, rest)) = head.split_first_chunk::<8>() else { return Ok(None) };
    let len = u64::from_le_bytes(*len);
    let total = file.metadata()?.len();
    if !rest.starts_with(b"{") || total < 8 || len > total - 8 {
        return Ok(None);
    }
    let mut header = rest.to_vec();
    file.take((len.min(MOST_HEADER) + 8).saturating_sub(head.len() as u64)).read_to_end(&mut header)?;
    let program = b"\"predict.txt\":";
    Ok(Some(header.windows(program.len()).any(|window| window == program)))
}

/// Where what is written goes.
enum Target {
    /// A regular file that is there, or will be, without links.
    Regular(PathBuf),
    /// A device or a pipe.
    Stream,
}

/// Whether [`write()`] would be refused, so that it is known before anything long is done: the folder is missing, the
/// path is a folder, or holds something of another kind.
///
/// # Errors
/// As [`write()`] but for those of the disk.
pub fn check(path: impl AsRef<Path>, kind: FileKind) -> Result<()> {
    let path = path.as_ref();
    target(path, kind).map(drop).map_err(|error| error.context(path.display()))
}

/// Writes a file that somebody asked for: as a whole or not at all. What a symbolic link points to is written, and the
/// link stays; a device or a pipe is written to.
///
/// ```
/// use dropforge::file::{self, FileKind};
///
/// # let folder = std::env::temp_dir().join(format!("dropforge-doc-file-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder).unwrap();
/// std::fs::write(folder.join("notes.txt"), "mine").unwrap();
/// let error = file::write(folder.join("notes.txt"), FileKind::Onnx, |_| Ok(())).unwrap_err();
/// assert!(error.to_string().contains("notes.txt: is there already and is no ONNX file"));
/// # std::fs::remove_dir_all(folder).unwrap();
/// ```
///
/// # Errors
/// The folder is missing, the path is a folder or a file with something of another kind in it, `contents` fails, or the
/// disk does. What was there is then unchanged.
pub fn write(
    path: impl AsRef<Path>,
    kind: FileKind,
    contents: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    let path = path.as_ref();
    let attempt = || match target(path, kind)? {
        Target::Stream => {
            let file = OpenOptions::new().write(true).open(path).map_err(failed("open"))?;
            fill(file, contents).map(drop)
        }
        Target::Regular(path) => {
            // Of this writer alone: two that write one file at a time do not take each other's half of it.
            static WRITERS: AtomicUsize = AtomicUsize::new(0);
            let writer = WRITERS.fetch_add(1, Ordering::Relaxed);
            let unfinished = path.with_file_name(format!("{UNFINISHED}{}-{writer}", std::process::id()));
            let written = replace(&path, &unfinished, contents);
            if written.is_err() {
                // It takes room on what may be a full disk.
                let _ = fs::remove_file(&unfinished);
            }
            written
        }
    };
    attempt().map_err(|error| error.context(path.display()))
}

fn replace(
    path: &Path,
    unfinished: &Path,
    contents: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).open(unfinished).map_err(failed("create"))?;
    if let Ok(was) = fs::metadata(path) {
        file.set_permissions(was.permissions()).map_err(failed("create"))?;
    }
    fill(file, contents)?.sync_all().map_err(failed("write"))?;
    fs::rename(unfinished, path).map_err(failed("replace"))?;
    // Without this a power failure may undo the rename. The file is there by now: a folder that cannot be opened (on
    // Windows, or without the right to read it) or synchronised (on some network file systems) is no failure.
    let folder =
        path.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    if let Some(folder) = folder.filter(|_| cfg!(unix)) {
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
    Ok(())
}

fn fill(file: File, contents: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<File> {
    let mut buffered = BufWriter::with_capacity(1 << 16, file);
    contents(&mut buffered)?;
    buffered.into_inner().map_err(|error| failed("write")(error.into_error()))
}

fn failed(doing: &str) -> impl Fn(io::Error) -> Error {
    move |error| Error::io(&format!("cannot {doing} it"), error)
}

/// What a path leads to, if it may be written.
fn target(path: &Path, kind: FileKind) -> Result<Target> {
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return free(path).map(Target::Regular),
        Err(error) => return Err(failed("write")(error)),
    };
    if found.is_dir() {
        return Err(Error::file("is a folder; give the name of a file"));
    }
    if !found.is_file() {
        return Ok(Target::Stream);
    }
    // Whoever may not write it may not replace it, either.
    OpenOptions::new().write(true).open(path).map_err(failed("write"))?;
    let is_kind = File::open(path).and_then(|mut file| kind.is(&mut file)).map_err(failed("read"))?;
    if !is_kind {
        return Err(Error::file(match kind {
            FileKind::Other => "is there already; give another name".to_string(),
            _ => format!("is there already and is no {}; give another name, or remove it first", kind.name()),
        }));
    }
    fs::canonicalize(path).map(Target::Regular).map_err(failed("write"))
}

/// The path of a file that is not there yet, behind links that lead nowhere.
fn free(path: &Path) -> Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&path) {
            Ok(next) => path = path.parent().unwrap_or(Path::new("")).join(next),
            Err(_) => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                return match folder.filter(|folder| !folder.is_dir()) {
                    None => Ok(path),
                    Some(folder) => Err(Error::file(format!(
                        "cannot create it: there is no folder {}; make it first",
                        folder.display()
                    ))),
                };
            }
        }
    }
    Err(Error::file("is a link that leads to itself"))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("dropforge-file-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir(&path).unwrap();
            Folder(path)
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            let mut names: Vec<_> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn put(path: &Path, kind: FileKind, text: &[u8]) -> Result<()> {
        write(path, kind, |out| out.write_all(text).map_err(failed("write")))
    }

    #[test]
    fn only_its_own_kind_is_replaced() {
        let folder = Folder::new("kinds");
        let packed = b"{\"__metadata__\":{\"predict.txt\":\"\"}}";
        let safetensors = |header: &[u8]| [&(header.len() as u64).to_le_bytes()[..], header].concat();
        let npz = [&b"PK\x03\x04"[..], &[0; 22], &[5, 0, 0, 0], b"a.npy"].concat();
        let kinds: [(FileKind, Vec<u8>); 10] = [
            (FileKind::Onnx, vec![8, 9, 18, 0]),
            (FileKind::PackedRun, safetensors(packed)),
            (FileKind::Safetensors, safetensors(b"{}")),
            (FileKind::Npy, b"\x93NUMPY\x01".to_vec()),
            (FileKind::Npz, npz),
            (FileKind::Chart, b"<svg class=\"plot\">".to_vec()),
            (FileKind::Png, b"\x89PNG\r\n\x1a\n".to_vec()),
            (FileKind::Report, b"<!doctype html><meta name=\"generator\" content=\"dropforge\">".to_vec()),
            (FileKind::Trace, b"{\"traceEvents\":[]}".to_vec()),
            (FileKind::Sweep, b"# The trials of a sweep\n".to_vec()),
        ];
        let path = folder.0.join("a");
        let others =
            [&b"notes"[..], b"12345678{ no header", b"PK\x03\x04 short", b"{\"a\": 1}", b"<svg >", b"8"];
        for (kind, text) in &kinds {
            for there in kinds.iter().map(|(_, text)| text.as_slice()).chain(others) {
                fs::write(&path, there).unwrap();
                let written = put(&path, *kind, text);
                assert_eq!(written.is_ok(), there == text, "{kind:?} over {there:?}: {written:?}");
                if let Err(error) = written {
                    assert!(error.to_string().contains("a: is there already and is no "), "{error}");
                    assert_eq!(fs::read(&path).unwrap(), there);
                }
            }
            fs::write(&path, "").unwrap();
            put(&path, *kind, text).unwrap();
            assert_eq!((fs::read(&path).unwrap(), folder.names()), (text.clone(), vec!["a".to_string()]));
        }
        assert!(put(&path, FileKind::Other, b"x").unwrap_err().to_string().ends_with("give another name"));
    }

    #[test]
    fn what_cannot_be_written_is_said() {
        let folder = Folder::new("refused");
        let error = put(&folder.0, FileKind::Onnx, b"x").unwrap_err().to_string();
        assert!(error.ends_with("is a folder; give the name of a file"), "{error}");
        let error = put(&folder.0.join("none/a"), FileKind::Onnx, b"x").unwrap_err().to_string();
        assert!(error.contains("there is no folder") && error.ends_with("none; make it first"), "{error}");
        fs::write(folder.0.join("a"), [8, 1]).unwrap();
        let full = write(folder.0.join("a"), FileKind::Onnx, |out| {
            out.write_all(&[0; 1 << 20]).map_err(failed("write"))?;
            Err(Error::file("cannot write it: no space left on device"))
        });
        assert!(full.unwrap_err().to_string().ends_with("a: cannot write it: no space left on device"));
        assert_eq!((fs::read(folder.0.join("a")).unwrap(), folder.names().len()), (vec![8, 1], 1));
    }

    #[test]
    #[cfg(unix)]
    fn links_stay_and_pipes_are_written_to() {
        use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
        let folder = Folder::new("links");
        let at = |name: &str| folder.0.join(name);
        fs::create_dir(at("below")).unwrap();
        symlink("below/new", at("link")).unwrap();
        symlink("link", at("again")).unwrap();
        // Two links in a row, which lead to nothing at first.
        for text in [&[8u8, 1][..], &[8, 2]] {
            put(&at("again"), FileKind::Onnx, text).unwrap();
            assert!(["link", "again"].iter().all(|name| fs::read_link(at(name)).is_ok()));
            assert_eq!(fs::read(at("below/new")).unwrap(), text);
            fs::set_permissions(at("below/new"), fs::Permissions::from_mode(0o600)).unwrap();
        }
        put(&at("again"), FileKind::Onnx, &[8, 3]).unwrap();
        assert_eq!(fs::metadata(at("below/new")).unwrap().permissions().mode() & 0o777, 0o600);
        symlink("round", at("round")).unwrap();
        assert!(put(&at("round"), FileKind::Onnx, b"x").is_err());
        // A device; a link to it so that a fault cannot replace the system's own.
        symlink("/dev/null", at("null")).unwrap();
        put(&at("null"), FileKind::Onnx, b"x").unwrap();
        assert!(fs::read_link(at("null")).is_ok());
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
        let made = std::process::Command::new("mkfifo").arg(at("pipe")).status();
        assert!(made.is_ok_and(|status| status.success()), "mkfifo");
        let reader = std::thread::spawn({
            let pipe = at("pipe");
            move || fs::read(pipe).unwrap()
        });
        check(at("pipe"), FileKind::Onnx).unwrap();
        put(&at("pipe"), FileKind::Onnx, b"through").unwrap();
        assert_eq!(reader.join().unwrap(), b"through");
        assert!(fs::metadata(at("pipe")).unwrap().file_type().is_fifo());
        assert_eq!(folder.names(), ["again", "below", "link", "null", "pipe", "round"]);
    }
}
