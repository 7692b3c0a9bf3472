//! The error of the library.

use std::fmt;
use std::sync::Arc;

/// A result with the library's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, in one line that names the operation, the layer and the source line, or the file.
///
/// [`Debug`](fmt::Debug) prints that line too, so that a program whose `main` returns [`Result`] ends with it.
///
/// ```
/// use dropforge::ErrorKind;
/// use dropforge::prelude::*;
///
/// let error = Tensor::zeros([128, 784]).matmul(&Tensor::zeros([512, 256])).to_array().unwrap_err();
/// assert!(error.to_string().starts_with("matmul: inner sizes differ, [128, 784] · [512, 256], at "));
/// assert_eq!(error.kind(), ErrorKind::Program);
/// assert_eq!(format!("{error:?}"), error.to_string());
/// ```
#[derive(Clone)]
pub struct Error(Box<Inner>);

/// What sort of thing went wrong: what a program can decide by, whatever the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Operations that do not fit together, or a program that a device cannot compile or run.
    Program,
    /// Samples that cannot be read or are not what they should be.
    Data,
    /// A file or folder that cannot be read or written, or does not hold what it should.
    File,
    /// A setting that does not exist or has a value that it cannot have.
    Setting,
    /// Numbers that are no longer finite: training cannot go on from them.
    Numbers,
    /// Anything else.
    Other,
}

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    /// What to do about it, for whoever writes a program and for whoever writes a command.
    advice: Option<[String; 2]>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error with a text of its own; one line that reads like advice.
    pub fn new(message: impl Into<String>) -> Error {
        Error::of(ErrorKind::Other, message)
    }

    /// An error of a kind.
    pub fn of(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error(Box::new(Inner { kind, message: message.into(), advice: None, source: None }))
    }

    /// An error about a file or folder.
    pub(crate) fn file(message: impl Into<String>) -> Error {
        Error::of(ErrorKind::File, message)
    }

    /// An error about a setting.
    pub(crate) fn setting(message: impl Into<String>) -> Error {
        Error::of(ErrorKind::Setting, message)
    }

    /// An error about operations that do not fit together.
    pub(crate) fn program(message: impl Into<String>) -> Error {
        Error::of(ErrorKind::Program, message)
    }

    /// An error about samples.
    pub(crate) fn data(message: impl Into<String>) -> Error {
        Error::of(ErrorKind::Data, message)
    }

    /// What the system said while something was done (`cannot read`) to a file, whose name is the caller's to say.
    pub(crate) fn io(doing: &str, error: std::io::Error) -> Error {
        Error::file(format!("{doing}: {error}")).caused_by(error)
    }

    /// The same error with what caused it, which [`source`](std::error::Error::source) then gives.
    #[must_use]
    pub fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Error {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// The same error with a place or a circumstance in front: `context: what went wrong`.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Error {
        self.0.message = format!("{context}: {}", self.0.message);
        self
    }

    /// The same error with what to do about it, where the words for that differ: methods for whoever writes a program,
    /// flags and settings for whoever writes a command.
    #[must_use]
    pub(crate) fn advice(mut self, program: impl Into<String>, command: impl Into<String>) -> Error {
        self.0.advice = Some([program.into(), command.into()]);
        self
    }

    /// The line for whoever wrote a command or a file of settings: what there is to do about it names flags and
    /// settings, where [`Display`](fmt::Display) names methods, and lines of a program are left out, since what a file
    /// describes is made in the library. For commands of your own that take a configuration of [`run`](crate::run).
    pub fn for_command(&self) -> String {
        without_lines(&self.advised(1))
    }

    fn advised(&self, reader: usize) -> String {
        let Inner { message, advice, .. } = &*self.0;
        advice.as_ref().map_or_else(|| message.clone(), |advice| format!("{message}; {}", advice[reader]))
    }

    /// The same error as one of another kind.
    #[must_use]
    pub fn with_kind(mut self, kind: ErrorKind) -> Error {
        self.0.kind = kind;
        self
    }

    /// What sort of thing went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The error of the operation or program that failed, where that is what happened.
    pub fn as_program_error(&self) -> Option<&dropforge_ir::Error> {
        self.0.source.as_ref()?.downcast_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.advised(0))
    }
}

/// The line itself: what `fn main() -> dropforge::Result<()>` prints.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.advised(0))
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

impl From<dropforge_ir::Error> for Error {
    fn from(error: dropforge_ir::Error) -> Error {
        Error::of(ErrorKind::Program, error.to_string()).caused_by(error)
    }
}

impl From<dropforge_data::Error> for Error {
    fn from(error: dropforge_data::Error) -> Error {
        let kind = if error.is_about_file() { ErrorKind::File } else { ErrorKind::Data };
        Error::of(kind, error.to_string()).caused_by(error)
    }
}

/// A message without the source lines in it, each ` (path.rs:12)` or `, at path.rs:12`.
fn without_lines(message: &str) -> String {
    let is_line = |text: &str| {
        text.split_once(".rs:").is_some_and(|(path, line)| {
            !path.contains([' ', '('])
                && !line.is_empty()
                && line.bytes().all(|c| c.is_ascii_digit() || c == b':')
        })
    };
    let mut left = message;
    let mut kept = String::new();
    while let Some(open) = left.find(" (") {
        let (before, rest) = left.split_at(open);
        kept += before;
        left = match rest[2..].split_once(')') {
            Some((inside, after)) if is_line(inside) => after,
            _ => {
                kept += &rest[..2];
                &rest[2..]
            }
        };
    }
    kept += left;
    match kept.rsplit_once(", at ") {
        Some((before, line)) if is_line(line) => before.into(),
        _ => kept,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn advice_is_in_the_words_of_whoever_reads_it() {
        let error = Error::file("does not fit").advice("use strict(false)", "add --partly").context("a.pt");
        assert_eq!(error.to_string(), "a.pt: does not fit; use strict(false)");
        assert_eq!(format!("{error:?}"), error.to_string());
        assert_eq!(error.for_command(), "a.pt: does not fit; add --partly");
        assert_eq!(Error::new("is missing").for_command(), "is missing");
        let error = Error::program(
            "add: shapes differ (a.rs), in fc1 (src/nn/dense.rs:12), in net (src/a.rs:7:3), at src/b.rs:9",
        );
        assert_eq!(error.for_command(), "add: shapes differ (a.rs), in fc1, in net");
    }

    #[test]
    fn kinds_and_sources_stay_under_a_context() {
        let full = std::io::Error::new(std::io::ErrorKind::StorageFull, "no space");
        let error = Error::of(ErrorKind::File, "cannot write: no space").caused_by(full).context("a.toml");
        assert_eq!(error.to_string(), "a.toml: cannot write: no space");
        assert_eq!(format!("{error:?}"), error.to_string());
        assert_eq!(error.kind(), ErrorKind::File);
        let source = error.source().and_then(|source| source.downcast_ref::<std::io::Error>()).unwrap();
        assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
        assert!(error.as_program_error().is_none());
        let error = Error::from(dropforge_data::Error::at_file("a.png", "is no image"));
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::File, "a.png: is no image"));
        assert_eq!(Error::from(dropforge_data::Error::new("no samples")).kind(), ErrorKind::Data);
        let error = Error::from(dropforge_ir::Error::new("add", "does not fit"));
        assert_eq!(error.kind(), ErrorKind::Program);
        assert!(error.as_program_error().is_some());
    }
}
