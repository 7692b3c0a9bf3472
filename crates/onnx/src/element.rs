//! Element types of ONNX, by their numbers in `TensorProto.DataType`, and what they are in a program.

use crate::proto::TensorProto;
use crate::{Result, failed};
use dropforge_ir::{Array, BF16, DType, Data, F16, Shape};

pub(crate) const FLOAT: i64 = 1;
pub(crate) const UINT8: i64 = 2;
pub(crate) const INT8: i64 = 3;
pub(crate) const UINT16: i64 = 4;
pub(crate) const INT16: i64 = 5;
pub(crate) const INT32: i64 = 6;
pub(crate) const INT64: i64 = 7;
pub(crate) const STRING: i64 = 8;
pub(crate) const BOOL: i64 = 9;
pub(crate) const FLOAT16: i64 = 10;
pub(crate) const DOUBLE: i64 = 11;
pub(crate) const UINT32: i64 = 12;
pub(crate) const UINT64: i64 = 13;
pub(crate) const BFLOAT16: i64 = 16;
pub(crate) const UINT4: i64 = 21;
pub(crate) const INT4: i64 = 22;
pub(crate) const UINT2: i64 = 25;
pub(crate) const INT2: i64 = 26;

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

/// The type of programs that stands for one of ONNX while computing: integers are 32 bits wide, doubles are floats.
pub(crate) fn computed(element: i64) -> Result<DType> {
    Ok(match element {
        FLOAT | DOUBLE => DType::F32,
        FLOAT16 => DType::F16,
        BFLOAT16 => DType::BF16,
        UINT8 | INT8 | UINT16 | INT16 | INT32 | INT64 | UINT4 | INT4 | UINT2 | INT2 => DType::I32,
        UINT32 | UINT64 => DType::U32,
        BOOL => DType::Bool,
        other => return Err(failed(format!("elements of the type {} cannot be computed with", name(other)))),
    })
}

/// Bits of an integer narrower than 32, and whether it has a sign.
pub(crate) fn narrow(element: i64) -> Option<(u32, bool)> {
    match element {
        UINT8 => Some((8, false)),
        INT8 => Some((8, true)),
        UINT16 => Some((16, false)),
        INT16 => Some((16, true)),
        UINT4 => Some((4, false)),
        INT4 => Some((4, true)),
        UINT2 => Some((2, false)),
        INT2 => Some((2, true)),
        _ => None,
    }
}

/// The name that the standard has for a type.
pub(crate) fn name(element: i64) -> String {
    const NAMES: [&str; 27] = [
        "undefined",
        "float",
        "uint8",
        "int8",
        "uint16",
        "int16",
        "int32",
        "int64",
        "string",
        "bool",
        "float16",
        "double",
        "uint32",
        "uint64",
        "complex64",
        "complex128",
        "bfloat16",
        "float8e4m3fn",
        "float8e4m3fnuz",
        "float8e5m2",
        "float8e5m2fnuz",
        "uint4",
        "int4",
        "float4e2m1",
        "float8e8m0",
        "uint2",
        "int2",
    ];
    let known = usize::try_from(element).ok().and_then(|index| NAMES.get(index));
    known.map_or_else(|| format!("number {element}"), ToString::to_string)
}

/// Extents that a file gives.
pub(crate) fn shape(dims: &[i64]) -> Result<Shape> {
    let extents: Option<Vec<usize>> = dims.iter().map(|&dim| usize::try_from(dim).ok()).collect();
    let shape: Shape = extents.ok_or_else(|| failed(format!("{dims:?} is no shape")))?.into();
    shape.check().map_err(failed)?;
    Ok(shape)
}

/// The elements of a tensor as they are computed with; `raw` are the bytes, where they lie elsewhere.
pub(crate) fn array(tensor: &TensorProto<'_>, outside: Option<&[u8]>) -> Result<Array> {
    let wrong = |what: String| failed(format!("the tensor {} {what}", tensor.name));
    if tensor.has_texts || tensor.element == STRING {
        return Err(wrong("holds texts, which programs cannot".into()));
    }
    let dtype = computed(tensor.element)?;
    let shape = shape(&tensor.dims)?;
    let count = shape.elements();
    let bits = match tensor.element {
        UINT2 | INT2 => 2,
        UINT4 | INT4 => 4,
        UINT8 | INT8 | BOOL => 8,
        UINT16 | INT16 | FLOAT16 | BFLOAT16 => 16,
        DOUBLE | INT64 | UINT64 => 64,
        _ => 32,
    };
    let data = if let Some(raw) = outside.or(tensor.raw) {
        let wanted = count.checked_mul(bits).map(|bits| bits.div_ceil(8));
        if wanted != Some(raw.len()) {
            return Err(wrong(format!("has {} bytes for the shape {shape}", raw.len())));
        }
        from_bytes(tensor.element, raw, count)
    } else {
        from_numbers(tensor, count, bits)
            .ok_or_else(|| wrong(format!("has another number of elements than its shape {shape}")))?
    };
    debug_assert_eq!(data.dtype(), dtype);
    Array::new(shape.clone(), data).ok_or_else(|| wrong(format!("does not fill its shape {shape}")))
}

fn clamp_signed(number: i64) -> i32 {
    number.clamp(i32::MIN.into(), i32::MAX.into()) as i32
}

fn clamp_unsigned(number: u64) -> u32 {
    number.min(u32::MAX.into()) as u32
}

/// The elements in a byte of several, the lowest bits first.
fn packed(raw: &[u8], count: usize, bits: u32, signed: bool) -> Vec<i32> {
    let each = 8 / bits as usize;
    let mask = (1i32 << bits) - 1;
    let one = |index: usize| {
        let number = (i32::from(raw[index / each]) >> ((index % each) as u32 * bits)) & mask;
        if signed && number > mask / 2 { number - mask - 1 } else { number }
    };
    (0..count).map(one).collect()
}

fn from_bytes(element: i64, raw: &[u8], count: usize) -> Data {
    let two = |c: &[u8]| [c[0], c[1]];
    let four = |c: &[u8]| [c[0], c[1], c[2], c[3]];
    let eight = |c: &[u8]| [c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]];
    let halves = || raw.chunks_exact(2).map(move |c| u16::from_le_bytes(two(c)));
    match element {
        FLOAT16 => Data::F16(halves().map(F16::from_bits).collect()),
        BFLOAT16 => Data::BF16(halves().map(BF16::from_bits).collect()),
        DOUBLE => Data::F32(raw.chunks_exact(8).map(|c| f64::from_le_bytes(eight(c)) as f32).collect()),
        BOOL => Data::Bool(raw.iter().map(|&byte| u8::from(byte != 0)).collect()),
        UINT8 => Data::I32(raw.iter().map(|&byte| byte.into()).collect()),
        INT8 => Data::I32(raw.iter().map(|&byte| i32::from(byte as i8)).collect()),
        UINT16 => Data::I32(halves().map(i32::from).collect()),
        INT16 => Data::I32(halves().map(|half| i32::from(half as i16)).collect()),
        INT32 => Data::I32(raw.chunks_exact(4).map(|c| i32::from_le_bytes(four(c))).collect()),
        UINT32 => Data::U32(raw.chunks_exact(4).map(|c| u32::from_le_bytes(four(c))).collect()),
        INT64 => Data::I32(raw.chunks_exact(8).map(|c| clamp_signed(i64::from_le_bytes(eight(c)))).collect()),
        UINT64 => {
            Data::U32(raw.chunks_exact(8).map(|c| clamp_unsigned(u64::from_le_bytes(eight(c)))).collect())
        }
        UINT4 => Data::I32(packed(raw, count, 4, false)),
        INT4 => Data::I32(packed(raw, count, 4, true)),
        UINT2 => Data::I32(packed(raw, count, 2, false)),
        INT2 => Data::I32(packed(raw, count, 2, true)),
        _ => Data::F32(raw.chunks_exact(4).map(|c| f32::from_le_bytes(four(c))).collect()),
    }
}

/// The elements in the fields for numbers; `None` if there are not as many as there should be.
fn from_numbers(tensor: &TensorProto<'_>, count: usize, bits: usize) -> Option<Data> {
    let integers = &tensor.integers;
    let whole = (integers.len() == count).then_some(integers);
    Some(match tensor.element {
        FLOAT => {
            if tensor.floats.len() != count {
                return None;
            }
            Data::F32(tensor.floats.clone())
        }
        DOUBLE => {
            if tensor.doubles.len() != count {
                return None;
            }
            Data::F32(tensor.doubles.iter().map(|&number| number as f32).collect())
        }
        FLOAT16 => Data::F16(whole?.iter().map(|&bits| F16::from_bits(bits as u16)).collect()),
        BFLOAT16 => Data::BF16(whole?.iter().map(|&bits| BF16::from_bits(bits as u16)).collect()),
        BOOL => Data::Bool(whole?.iter().map(|&number| u8::from(number != 0)).collect()),
        UINT32 | UINT64 => Data::U32(whole?.iter().map(|&number| clamp_unsigned(number as u64)).collect()),
        INT4 | UINT4 | INT2 | UINT2 if bits < 8 => {
            let bytes: Vec<u8> = integers.iter().map(|&number| number as u8).collect();
            if bytes.len() != (count * bits).div_ceil(8) {
                return None;
            }
            Data::I32(packed(&bytes, count, bits as u32, matches!(tensor.element, INT4 | INT2)))
        }
        _ => Data::I32(whole?.iter().map(|&number| clamp_signed(number)).collect()),
    })
}
