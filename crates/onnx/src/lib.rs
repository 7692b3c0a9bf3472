//! ONNX files from programs, and programs from ONNX files.
//!
//! [`export`] writes the model of a program that predicts; [`Model::import`] makes a program of a model. Both talk of
//! programs of the intermediate representation and of nothing else: what a run is and how weights are stored is the
//! caller's. The files are read and written by a small reader and writer of protocol buffers (`wire.rs`).
//!
//! The format: <https://onnx.ai/onnx/repo-docs/IR.html>, its operators: <https://onnx.ai/onnx/operators/>.

mod element;
mod export;
#[allow(dead_code)]
mod wire;

pub use dropforge_ir::{Error, Result};
pub use export::{ExportOptions, LATEST_OPSET, LEAST_OPSET, Preprocessing, export};

/// An error of this crate.
pub(crate) fn failed(message: impl Into<String>) -> Error {
    Error::new("onnx", message)
}
