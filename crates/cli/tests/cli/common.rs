//! Running the tool in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder for one test, removed afterwards.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("dropforge-cli-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, contents).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Runs the tool here; `line` is split at spaces.
    pub fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dropforge"));
        command.current_dir(&self.0).args(line.split_whitespace()).env("RUST_BACKTRACE", "1");
        command
    }

    /// Runs the tool and expects success; what it printed.
    pub fn succeed(&self, line: &str) -> String {
        let output = self.run(line);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{line}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs the tool and expects one line of error; the line without `error: `.
    pub fn fail(&self, line: &str) -> String {
        check_failed(line, &self.run(line))
    }

    /// The newest checkpoint's file.
    pub fn checkpoint(&self, run: &str, file: &str) -> Vec<u8> {
        self.read(&format!("{}/{file}", self.newest(run)))
    }

    /// The folder of the newest checkpoint of a run.
    pub fn newest(&self, run: &str) -> String {
        let mut names: Vec<String> = std::fs::read_dir(self.0.join(run))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("checkpoint-"))
            .collect();
        names.sort();
        format!("{run}/{}", names.last().expect("a checkpoint"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Expects a failure with one line of error and no panic; the line without `error: `.
pub fn check_failed(line: &str, output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(matches!(output.status.code(), Some(1 | 2)), "{line}: {:?}, {text}", output.status);
    let message = text.strip_prefix("error: ").unwrap_or_else(|| panic!("{line}: {text}"));
    assert_eq!(message.matches('\n').count(), 1, "{line}: one line is expected, got {text}");
    message.trim_end().into()
}

/// The value of a key in a line of JSON.
pub fn number(line: &str, key: &str) -> f64 {
    let value: serde_json::Value =
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    value[key].as_f64().unwrap_or_else(|| panic!("{line}: no number {key}"))
}

/// A model that trains in no time: one dense layer.
pub const LINEAR: &str = "layers = [{ type = 'flatten' }, { type = 'dense', units = 10 }]\n";

/// A grey picture as PNG without compression.
pub fn png(width: u32, height: u32, pixels: &[u8]) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8; 4], body: &[u8]| {
        file.extend_from_slice(&(body.len() as u32).to_be_bytes());
        let checked = [&kind[..], body].concat();
        file.extend_from_slice(&checked);
        file.extend_from_slice(&crc(&checked).to_be_bytes());
    };
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 0, 0, 0, 0]].concat();
    chunk(b"IHDR", &header);
    let rows: Vec<u8> = pixels.chunks(width as usize).flat_map(|row| [&[0], row].concat()).collect();
    let len = rows.len() as u16;
    let mut zlib = [&[0x78, 0x01, 1][..], &len.to_le_bytes(), &(!len).to_le_bytes(), &rows].concat();
    let (mut a, mut b) = (1u32, 0u32);
    for &byte in &rows {
        a = (a + u32::from(byte)) % 65521;
        b = (b + a) % 65521;
    }
    zlib.extend_from_slice(&(b << 16 | a).to_be_bytes());
    chunk(b"IDAT", &zlib);
    chunk(b"IEND", &[]);
    file
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & 0u32.wrapping_sub(crc & 1)))
    })
}
