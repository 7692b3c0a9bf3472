//! Host-side arrays: what goes into a program and what comes out.

use crate::half::{BF16, F16};
use crate::types::{DType, Shape, ValueType};

/// Elements in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Elements of [`DType::F32`].
    F32(Vec<f32>),
    /// Elements of [`DType::F16`].
    F16(Vec<F16>),
    /// Elements of [`DType::BF16`].
    BF16(Vec<BF16>),
    /// Elements of [`DType::I32`].
    I32(Vec<i32>),
    /// Elements of [`DType::U32`].
    U32(Vec<u32>),
    /// Elements of [`DType::U8`].
    U8(Vec<u8>),
    /// Elements of [`DType::Bool`], each 0 or 1.
    Bool(Vec<u8>),
}

impl Data {
    /// Zeros (false).
    pub fn zeros(dtype: DType, count: usize) -> Data {
        match dtype {
            DType::F32 => Data::F32(vec![0.0; count]),
            DType::F16 => Data::F16(vec![F16::default(); count]),
            DType::BF16 => Data::BF16(vec![BF16::default(); count]),
            DType::I32 => Data::I32(vec![0; count]),
            DType::U32 => Data::U32(vec![0; count]),
            DType::U8 => Data::U8(vec![0; count]),
            DType::Bool => Data::Bool(vec![0; count]),
        }
    }

    /// Type of the elements.
    pub fn dtype(&self) -> DType {
        match self {
            Data::F32(_) => DType::F32,
            Data::F16(_) => DType::F16,
            Data::BF16(_) => DType::BF16,
            Data::I32(_) => DType::I32,
            Data::U32(_) => DType::U32,
            Data::U8(_) => DType::U8,
            Data::Bool(_) => DType::Bool,
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Data::F32(v) => v.len(),
            Data::F16(v) => v.len(),
            Data::BF16(v) => v.len(),
            Data::I32(v) => v.len(),
            Data::U32(v) => v.len(),
            Data::U8(v) | Data::Bool(v) => v.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements as they lie in memory.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the element types are plain numbers without padding, the length in bytes is exact, and any bytes
        // are valid u8.
        unsafe {
            match self {
                Data::F32(v) => std::slice::from_raw_parts(v.as_ptr().cast(), v.len() * 4),
                Data::F16(v) => std::slice::from_raw_parts(v.as_ptr().cast(), v.len() * 2),
                Data::BF16(v) => std::slice::from_raw_parts(v.as_ptr().cast(), v.len() * 2),
                Data::I32(v) => std::slice::from_raw_parts(v.as_ptr().cast(), v.len() * 4),
                Data::U32(v) => std::slice::from_raw_parts(v.as_ptr().cast(), v.len() * 4),
                Data::U8(v) | Data::Bool(v) => v,
            }
        }
    }

    /// Elements from bytes in this machine's order; `None` when the number of bytes is no multiple of the element size.
    pub fn from_bytes(dtype: DType, bytes: &[u8]) -> Option<Data> {
        if !bytes.len().is_multiple_of(dtype.size()) {
            return None;
        }
        let halves = || bytes.chunks_exact(2).map(|c| u16::from_ne_bytes([c[0], c[1]]));
        let words = || bytes.chunks_exact(4).map(|c| [c[0], c[1], c[2], c[3]]);
        Some(match dtype {
            DType::F32 => Data::F32(words().map(f32::from_ne_bytes).collect()),
            DType::F16 => Data::F16(halves().map(F16::from_bits).collect()),
            DType::BF16 => Data::BF16(halves().map(BF16::from_bits).collect()),
            DType::I32 => Data::I32(words().map(i32::from_ne_bytes).collect()),
            DType::U32 => Data::U32(words().map(u32::from_ne_bytes).collect()),
            DType::U8 => Data::U8(bytes.to_vec()),
            DType::Bool => Data::Bool(bytes.to_vec()),
        })
    }
}

/// Elements with their shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    shape: Shape,
    data: Data,
}

impl Array {
    /// An array from its parts; `None` when the number of elements does not fit the shape.
    pub fn new(shape: impl Into<Shape>, data: Data) -> Option<Array> {
        let shape = shape.into();
        (shape.elements() == data.len()).then_some(Array { shape, data })
    }

    /// Zeros (false) of a type.
    pub fn zeros(ty: &ValueType) -> Array {
        Array { shape: ty.shape.clone(), data: Data::zeros(ty.dtype, ty.shape.elements()) }
    }

    /// A float scalar.
    pub fn scalar(value: f32) -> Array {
        Array { shape: Shape::scalar(), data: Data::F32(vec![value]) }
    }

    /// Type and shape.
    pub fn ty(&self) -> ValueType {
        ValueType { dtype: self.data.dtype(), shape: self.shape.clone() }
    }

    /// The shape.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The elements.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// The elements, to be changed in place.
    pub fn data_mut(&mut self) -> &mut Data {
        &mut self.data
    }

    /// Shape and elements.
    pub fn into_parts(self) -> (Shape, Data) {
        (self.shape, self.data)
    }

    /// The elements without the shape.
    pub fn into_data(self) -> Data {
        self.data
    }

    /// The elements if they are f32.
    pub fn as_f32(&self) -> Option<&[f32]> {
        if let Data::F32(v) = &self.data { Some(v) } else { None }
    }

    /// The elements of any float type as f32, which holds all of them; `None` for other types.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        match &self.data {
            Data::F32(v) => Some(v.clone()),
            Data::F16(v) => Some(v.iter().map(|x| x.to_f32()).collect()),
            Data::BF16(v) => Some(v.iter().map(|x| x.to_f32()).collect()),
            Data::I32(_) | Data::U32(_) | Data::U8(_) | Data::Bool(_) => None,
        }
    }

    /// The elements if they are i32.
    pub fn as_i32(&self) -> Option<&[i32]> {
        if let Data::I32(v) = &self.data { Some(v) } else { None }
    }
}
