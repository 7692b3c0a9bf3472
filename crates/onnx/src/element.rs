//! Element types of ONNX, by their numbers in `TensorProto.DataType`.

use dropforge_ir::DType;

pub(crate) const FLOAT: i64 = 1;
pub(crate) const UINT8: i64 = 2;
pub(crate) const INT32: i64 = 6;
pub(crate) const INT64: i64 = 7;
pub(crate) const BOOL: i64 = 9;
pub(crate) const FLOAT16: i64 = 10;
pub(crate) const UINT32: i64 = 12;
pub(crate) const BFLOAT16: i64 = 16;

/// The number of a type of programs.
pub(crate) fn number(dtype: DType) -> i64 {
    match dtype {
        DType::F32 => FLOAT,
        DType::F16 => FLOAT16,
        DType::BF16 => BFLOAT16,
        DType::I32 => INT32,
        DType::U32 => UINT32,
        DType::U8 => UINT8,
        DType::Bool => BOOL,
    }
}
