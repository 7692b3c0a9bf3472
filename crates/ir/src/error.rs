//! The error of the intermediate representation.

use crate::program::Origin;
use std::fmt;

/// A result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong with an operation or a program, and where.
///
/// Its text reads `operation: what is wrong, in layer.path (file.rs:42)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    operation: String,
    message: String,
    origin: Option<Origin>,
}

impl Error {
    /// An error of `operation` (or of a pass or a parser, by its name).
    pub fn new(operation: impl Into<String>, message: impl Into<String>) -> Error {
        Error { operation: operation.into(), message: message.into(), origin: None }
    }

    /// The same error with the place that caused it; a place that is already known stays.
    pub fn at(mut self, origin: &Origin) -> Error {
        if self.origin.is_none() && !origin.is_unknown() {
            self.origin = Some(origin.clone());
        }
        self
    }

    /// The same error under the name by which the user called the operation.
    pub fn named(mut self, operation: impl Into<String>) -> Error {
        self.operation = operation.into();
        self
    }

    /// The operation's name.
    pub fn operation(&self) -> &str {
        &self.operation
    }

    /// What is wrong, without operation and place.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, self.message)?;
        match &self.origin {
            Some(origin) => write!(f, ", {origin}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}
