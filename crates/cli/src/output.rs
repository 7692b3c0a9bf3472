//! Writing to standard output, where the reader may go away, and errors to standard error.

use dropforge::file::{self, FileKind};
use dropforge::metric::Figures;
use serde_json::{Value, json};
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

/// What installs the command with all that it can show; README.md says the same.
pub const INSTALL: &str = "cargo install --locked --path crates/cli --features tui,png";

/// Why a command ends early.
#[derive(Debug)]
pub enum Stop {
    /// Something is wrong; one line says what.
    Error(String),
    /// Something is wrong, and has been said.
    Said,
    /// Nobody reads the output any more.
    Unread,
}

/// The result of a command.
pub type Outcome<T = ()> = Result<T, Stop>;

impl From<dropforge::Error> for Stop {
    fn from(error: dropforge::Error) -> Stop {
        // Of what the commands write only the output is a pipe.
        let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<io::Error>());
        match cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe) {
            true => Stop::Unread,
            false => Stop::Error(error.for_command()),
        }
    }
}

impl From<String> for Stop {
    fn from(message: String) -> Stop {
        Stop::Error(message)
    }
}

impl From<&str> for Stop {
    fn from(message: &str) -> Stop {
        Stop::Error(message.into())
    }
}

/// Prints one line.
pub fn line(text: impl fmt::Display) -> Outcome {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Stop::Unread,
        _ => Stop::Error(format!("cannot write to standard output: {error}")),
    })
}

/// A file that is to be written, and whether what is said of it would get into it: `--out /dev/stdout`.
pub struct OutputFile<'a> {
    path: &'a Path,
    kind: FileKind,
    is_output: bool,
}

impl OutputFile<'_> {
    /// Refuses at once what could not be written in the end.
    pub fn new(path: &Path, kind: FileKind) -> Outcome<OutputFile<'_>> {
        file::check(path, kind)?;
        Ok(OutputFile { path, kind, is_output: is_output(path) })
    }

    /// Writes it as a whole.
    pub fn write(&self, contents: impl AsRef<[u8]>) -> Outcome {
        let failed = |error: io::Error| {
            let kind = dropforge::ErrorKind::File;
            dropforge::Error::of(kind, format!("cannot write it: {error}")).caused_by(error)
        };
        Ok(file::write(self.path, self.kind, |out| out.write_all(contents.as_ref()).map_err(failed))?)
    }

    /// Says that it is written: where the file is no output itself, there.
    pub fn say(&self, text: impl fmt::Display) -> Outcome {
        if self.is_output {
            note(&text.to_string());
            return Ok(());
        }
        line(text)
    }
}

/// Whether a path leads to standard output.
#[cfg(unix)]
fn is_output(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |path: &Path| std::fs::metadata(path).map(|found| (found.dev(), found.ino()));
    matches!((id(path), id(Path::new("/dev/stdout"))), (Ok(a), Ok(b)) if a == b)
}

/// Whether a path leads to standard output; where there are no names for that, none does.
#[cfg(not(unix))]
fn is_output(_: &Path) -> bool {
    false
}

/// Prints an error as one line, whatever its text holds.
pub fn error(text: &str) {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let _ = writeln!(io::stderr().lock(), "error: {text}");
}

/// Prints something that should be known and is no error, as one line on standard error.
pub fn note(text: &str) {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let _ = writeln!(io::stderr().lock(), "note: {text}");
}

/// A line on a terminal that is drawn over again.
pub struct StatusLine {
    shown: usize,
    terminal: bool,
}

impl StatusLine {
    /// A line on standard error; nothing is ever drawn when that is no terminal or `wanted` is false.
    pub fn new(wanted: bool) -> StatusLine {
        StatusLine { shown: 0, terminal: wanted && io::stderr().is_terminal() }
    }

    /// Whether anything is drawn at all.
    pub fn visible(&self) -> bool {
        self.terminal
    }

    /// Draws the line anew.
    pub fn draw(&mut self, text: &str) {
        if self.terminal {
            let width = text.chars().count();
            let _ = write!(io::stderr().lock(), "\r{text}{:1$}", "", self.shown.saturating_sub(width));
            self.shown = width;
        }
    }

    /// Removes the line, so that others can be printed.
    pub fn clear(&mut self) {
        if self.shown > 0 {
            // Behind it may stand what the terminal shows of Ctrl-C.
            let rest = if cfg!(unix) { "\x1b[K" } else { "" };
            let _ = write!(io::stderr().lock(), "\r{:1$}\r{rest}", "", self.shown);
            self.shown = 0;
        }
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Adds metrics to a JSON object, each under its name behind `prefix_`.
pub fn add_metrics(event: &mut Value, prefix: &str, metrics: &Figures) {
    if let Some(event) = event.as_object_mut() {
        event.extend(metrics.iter().map(|value| (format!("{prefix}_{}", value.name), json!(value.value))));
    }
}

/// A whole number with commas: 12,345.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A shape as people write it: 1×28×28.
pub fn shape(extents: &[usize]) -> String {
    match extents {
        [] => "scalar".into(),
        _ => extents.iter().map(usize::to_string).collect::<Vec<_>>().join("×"),
    }
}

/// A duration as people say it: 4.2 s, 3 min 05 s, 1 h 02 min.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        // Without the sign that a zero may have.
        0..60 => format!("{:.1} s", seconds.max(0.0) + 0.0),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(
            [count(0), count(999), count(1000), count(12_345_678)],
            ["0", "999", "1,000", "12,345,678"]
        );
        assert_eq!(
            [duration(4.21), duration(185.0), duration(3720.0), duration(-0.0)],
            ["4.2 s", "3 min 05 s", "1 h 02 min", "0.0 s"]
        );
        assert_eq!([shape(&[]), shape(&[1, 28, 28])], ["scalar", "1×28×28"]);
    }
}
