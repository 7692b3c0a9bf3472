//! The one error type of this crate.

use std::fmt;
use std::path::Path;

/// A result whose error is [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong with the data: which file or sample, why, and what to do about it.
///
/// [`Display`](fmt::Display) gives exactly one line. The type is opaque; a [`Source`](crate::Source) of your own
/// makes one with [`Error::new`] or [`Error::at_file`].
pub struct Error(Box<Inner>);

struct Inner {
    message: String,
    /// Whether a file is what is wrong.
    of_file: bool,
    cause: Option<std::io::Error>,
}

impl Error {
    /// An error with this message. Line breaks and other control characters become spaces.
    pub fn new(message: impl Into<String>) -> Error {
        Error(Box::new(Inner { message: one_line(&message.into()), of_file: false, cause: None }))
    }

    /// An error about a file: `<path>: <reason>`.
    pub fn at_file(path: impl AsRef<Path>, reason: impl fmt::Display) -> Error {
        let mut error = Error::new(format!("{}: {reason}", path.as_ref().display()));
        error.0.of_file = true;
        error
    }

    /// An input or output error while doing something (`"read"`, `"create"`) to a file.
    pub(crate) fn io(path: &Path, doing: &str, cause: std::io::Error) -> Error {
        let mut error = match cause.kind() {
            std::io::ErrorKind::NotFound => {
                Error::at_file(path, format_args!("cannot {doing} it: there is no such file; check the path"))
            }
            _ => Error::at_file(path, format_args!("cannot {doing} it: {cause}")),
        };
        error.0.cause = Some(cause);
        error
    }

    /// Whether a file or folder is what is wrong: it cannot be read, or does not hold what it should. Else it is
    /// samples, or how they were asked for.
    pub fn is_about_file(&self) -> bool {
        self.0.of_file
    }
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?})", self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.cause.as_ref().map(|cause| cause as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_one_line() {
        assert_eq!(Error::at_file("a\nb", "bad\r\nnews").to_string(), "a b: bad  news");
    }
}
