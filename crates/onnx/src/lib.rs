//! ONNX files from programs, and programs from ONNX files.
//!
//! [`export()`] writes the model of a program that predicts; [`Model::import`] makes a program of a model. Both talk of
//! programs of the intermediate representation and of nothing else: what a run is and how weights are stored is the
//! caller's. The files are read and written by a small reader and writer of protocol buffers (`wire.rs`).
//!
//! The format: <https://onnx.ai/onnx/repo-docs/IR.html>, its operators: <https://onnx.ai/onnx/operators/>.

mod element;
mod export;
mod import;
#[cfg(test)]
mod mutations;
mod proto;
mod wire;

pub use dropforge_ir::{Error, Result};
pub use export::{ExportOptions, LATEST_OPSET, LEAST_OPSET, Preprocessing, export};
pub use import::{ImportOptions, Imported, Input, Model, Outside, operators};

/// An error of this crate.
pub(crate) fn failed(message: impl Into<String>) -> Error {
    Error::new("onnx", message)
}

/// Reads a file with one tensor, a `TensorProto`: its elements as programs compute with them, and the number of its
/// type in the standard.
///
/// # Errors
/// The bytes are no tensor, or one of texts or of a type that programs do not have.
pub fn read_tensor(bytes: &[u8]) -> Result<(dropforge_ir::Array, i64)> {
    let tensor = proto::tensor(bytes)?;
    if tensor.is_external {
        return Err(failed("the tensor lies in another file"));
    }
    Ok((element::array(&tensor, None)?, tensor.element))
}

/// The bytes of a file with one tensor, which [`read_tensor`] reads.
pub fn write_tensor(name: &str, array: &dropforge_ir::Array) -> Vec<u8> {
    let mut out = wire::Writer::default();
    array.shape().iter().for_each(|&extent| out.integer(1, extent as i64));
    out.integer(2, element::number(array.data().dtype()));
    out.text(8, name);
    out.bytes(9, array.data().bytes());
    out.into_bytes()
}
