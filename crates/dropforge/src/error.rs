//! The error of the library.

use std::fmt;

/// A result with the library's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, in one line that names the operation, the layer and the source line, or the file.
///
/// ```
/// use dropforge::prelude::*;
///
/// let error = Tensor::zeros([128, 784]).matmul(&Tensor::zeros([512, 256])).to_array().unwrap_err();
/// assert!(error.to_string().starts_with("matmul: inner sizes differ, [128, 784] · [512, 256], at "));
/// ```
#[derive(Clone, Debug)]
pub struct Error(Box<Kind>);

#[derive(Clone, Debug)]
enum Kind {
    Message(String),
    Program(dropforge_ir::Error),
    Data(String),
}

impl Error {
    /// An error with a text of its own; one line that reads like advice.
    pub fn new(message: impl Into<String>) -> Error {
        Error(Box::new(Kind::Message(message.into())))
    }

    /// The same error with a place or a circumstance in front: `context: what went wrong`.
    pub fn context(self, context: impl fmt::Display) -> Error {
        Error::new(format!("{context}: {self}"))
    }

    /// The error of the operation or program that failed, where that is what happened.
    pub fn as_program_error(&self) -> Option<&dropforge_ir::Error> {
        match &*self.0 {
            Kind::Program(error) => Some(error),
            Kind::Message(_) | Kind::Data(_) => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Kind::Message(text) | Kind::Data(text) => f.write_str(text),
            Kind::Program(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<dropforge_ir::Error> for Error {
    fn from(error: dropforge_ir::Error) -> Error {
        Error(Box::new(Kind::Program(error)))
    }
}

impl From<dropforge_data::Error> for Error {
    fn from(error: dropforge_data::Error) -> Error {
        Error(Box::new(Kind::Data(error.to_string())))
    }
}
