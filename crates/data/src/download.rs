//! Fetching MNIST.

use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::mnist::file_names;
use crate::{Error, Result, file};

/// Where [`download_mnist`] fetches from unless told otherwise.
pub const MNIST_MIRROR: &str = "http://ossci-datasets.s3.amazonaws.com/mnist/";

/// A file of MNIST, with its size and SHA-256 after unpacking.
struct Part {
    prefix: &'static str,
    what: &'static str,
    rank: usize,
    size: usize,
    sha256: &'static str,
}

const PARTS: [Part; 4] = [
    Part {
        prefix: "train",
        what: "images",
        rank: 3,
        size: 47_040_016,
        sha256: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    },
    Part {
        prefix: "train",
        what: "labels",
        rank: 1,
        size: 60_008,
        sha256: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    },
    Part {
        prefix: "t10k",
        what: "images",
        rank: 3,
        size: 7_840_016,
        sha256: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    },
    Part {
        prefix: "t10k",
        what: "labels",
        rank: 1,
        size: 10_008,
        sha256: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
];

/// Far above the packed size of any part, so that a server cannot fill the disk.
const MOST_PACKED_BYTES: usize = 64 << 20;

/// Fetches the four packed files of MNIST, about 11 MB, into a folder that is made if need be. Files that are there
/// already and right are kept.
///
/// `base_url` is the address the file names are appended to; `None` means [`MNIST_MIRROR`]. The connection is plain
/// HTTP on purpose: no TLS is built in, and what arrives is trusted only when its *unpacked* contents have the SHA-256
/// of the original files, which is known here. (The packed files differ between mirrors.) An `http_proxy` in the
/// environment is used. A file gets its final name only once it is complete and right.
///
/// # Errors
/// The server cannot be reached or refuses, the address is not `http://`, the contents have another hash (the message
/// names both), the folder cannot be written, or a file of that name with other contents is there already, which is
/// left alone.
pub fn download_mnist(dir: impl AsRef<Path>, base_url: Option<&str>) -> Result<()> {
    fetch_all(dir.as_ref(), base_url.unwrap_or(MNIST_MIRROR), &PARTS)
}

fn fetch_all(dir: &Path, base_url: &str, parts: &[Part]) -> Result<()> {
    if !base_url.starts_with("http://") {
        return Err(Error::new(format!(
            "{base_url}: only http:// addresses can be fetched from; contents are checked by their SHA-256 anyway"
        )));
    }
    fs::create_dir_all(dir).map_err(|cause| Error::io(dir, "create", cause))?;
    for part in parts {
        let names = file_names(part.prefix, part.what, part.rank);
        match names.iter().map(|name| dir.join(name)).find(|path| path.exists()) {
            Some(present) => check_present(&present, part)?,
            None => {
                let name = &names[0];
                fetch(&format!("{}/{name}", base_url.trim_end_matches('/')), &dir.join(name), part)?;
            }
        }
    }
    Ok(())
}

/// A file that is not ours may be another data set in the same format, so it is never replaced.
fn check_present(path: &Path, part: &Part) -> Result<()> {
    let found = file::open(path).and_then(|mut reader| file::read_up_to(path, &mut reader, part.size + 1));
    let problem = match found.map(|bytes| sha256(&bytes)) {
        Ok(hash) if hash == part.sha256 => return Ok(()),
        Ok(hash) => format!("is there already, but its unpacked SHA-256 is {hash}, not {}", part.sha256),
        Err(error) => format!("is there already, but cannot be used ({error})"),
    };
    Err(Error::at_file(
        path,
        format_args!("{problem}; delete it to fetch it again, or choose another folder"),
    ))
}

fn fetch(url: &str, path: &Path, part: &Part) -> Result<()> {
    let failed = |cause: &dyn std::fmt::Display| {
        Error::new(format!("{url}: cannot fetch it: {cause}; try again, or give another mirror as base_url"))
    };
    let agent: ureq::Agent = ureq::Agent::config_builder()
        // A mirror on this machine is not behind a proxy.
        .proxy(if url.starts_with("http://127.0.0.1") { None } else { ureq::Proxy::try_from_env() })
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .timeout_recv_body(Some(Duration::from_secs(600)))
        .build()
        .into();
    let mut response = agent.get(url).call().map_err(|cause| failed(&cause))?;
    let mut packed = Vec::new();
    let body = response.body_mut().with_config().limit(MOST_PACKED_BYTES as u64).reader();
    body.take(MOST_PACKED_BYTES as u64).read_to_end(&mut packed).map_err(|cause| failed(&cause))?;

    // Another process may be fetching the same file.
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = fs::write(&temporary, &packed)
        .map_err(|cause| Error::io(&temporary, "write", cause))
        .and_then(|()| check_fetched(url, &temporary, part))
        .and_then(|()| {
            fs::rename(&temporary, path).map_err(|cause| Error::io(path, "put it in place as", cause))
        });
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn check_fetched(url: &str, path: &Path, part: &Part) -> Result<()> {
    let mut reader = file::open(path)?;
    let hash = sha256(&file::read_up_to(path, &mut reader, part.size + 1)?);
    if hash != part.sha256 {
        return Err(Error::new(format!(
            "{url}: its unpacked contents have SHA-256 {hash}, expected {}; the mirror holds something else, try another",
            part.sha256
        )));
    }
    Ok(())
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::testing::{Folder, gzip};

    /// Answers every request with this body (or 404), counting them.
    fn serve(body: Option<Vec<u8>>, cut: usize) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/mnist/", listener.local_addr().unwrap());
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                counted.fetch_add(1, Ordering::SeqCst);
                let (status, bytes) = match &body {
                    Some(bytes) => ("200 OK", bytes.as_slice()),
                    None => ("404 Not Found", &b"gone"[..]),
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    bytes.len()
                );
                let _ = stream.write_all(head.as_bytes());
                let _ = stream.write_all(&bytes[..bytes.len() - cut.min(bytes.len())]);
            }
        });
        (url, count)
    }

    /// SHA-256 of `hello`.
    const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    fn hello() -> [Part; 1] {
        [Part { prefix: "train", what: "labels", rank: 1, size: 5, sha256: HELLO }]
    }

    #[test]
    fn fetches_checks_and_keeps() {
        let folder = Folder::new("download");
        let (url, count) = serve(Some(gzip(b"hello")), 0);
        let dir = folder.path().join("new/mnist");
        fetch_all(&dir, &url, &hello()).unwrap();
        fetch_all(&dir, &url, &hello()).unwrap();
        assert_eq!(count.load(Ordering::SeqCst), 1, "a file that is right is not fetched again");
        let names: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["train-labels-idx1-ubyte.gz"]);
        // A plain file under another of its names is as good.
        fs::remove_file(dir.join(&names[0])).unwrap();
        fs::write(dir.join("train-labels.idx1-ubyte"), b"hello").unwrap();
        fetch_all(&dir, &url, &hello()).unwrap();
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn wrong_contents_are_named_with_both_hashes() {
        let folder = Folder::new("download-wrong");
        let (url, _) = serve(Some(gzip(b"other")), 0);
        let message = fetch_all(folder.path(), &url, &hello()).unwrap_err().to_string();
        assert!(message.contains("train-labels-idx1-ubyte.gz") && message.contains(HELLO), "{message}");
        assert!(message.contains(&sha256(b"other")), "{message}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
    }

    #[test]
    fn a_file_of_another_data_set_is_left_alone() {
        let folder = Folder::new("download-present");
        let present = folder.write("train-labels-idx1-ubyte", b"fashion");
        let (url, count) = serve(Some(gzip(b"hello")), 0);
        let message = fetch_all(folder.path(), &url, &hello()).unwrap_err().to_string();
        assert!(message.contains("is there already") && message.contains(HELLO), "{message}");
        assert_eq!(fs::read(present).unwrap(), b"fashion");
        assert_eq!(count.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn refusals_and_short_answers_are_errors() {
        let folder = Folder::new("download-refused");
        let (url, _) = serve(None, 0);
        let message = fetch_all(folder.path(), &url, &hello()).unwrap_err().to_string();
        assert!(message.contains("404") && message.contains("another mirror"), "{message}");
        let (url, _) = serve(Some(gzip(b"hello")), 7);
        assert!(fetch_all(folder.path(), &url, &hello()).is_err());
        let message = fetch_all(folder.path(), "https://example.org/", &hello()).unwrap_err().to_string();
        assert!(message.contains("only http://"), "{message}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
