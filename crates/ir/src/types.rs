//! Element types, shapes and literals.

use crate::half::{BF16, F16};
use crate::small_list::SmallList;
use std::fmt;
use std::sync::Arc;

/// The type of one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// 32-bit IEEE float.
    F32,
    /// 16-bit IEEE float: results are computed in f32 or wider and rounded once.
    F16,
    /// The front half of an f32: results are computed in f32 or wider and rounded once.
    BF16,
    /// 32-bit signed integer: class indices, positions.
    I32,
    /// 32-bit unsigned integer: random bits, counters.
    U32,
    /// 8-bit unsigned integer: raw image bytes.
    U8,
    /// Truth value, stored as one byte, 0 or 1.
    Bool,
}

impl DType {
    /// Every type, for tables and tests.
    pub const ALL: [DType; 7] =
        [DType::F32, DType::F16, DType::BF16, DType::I32, DType::U32, DType::U8, DType::Bool];

    /// Bytes of one stored element.
    pub fn size(self) -> usize {
        match self {
            DType::F32 | DType::I32 | DType::U32 => 4,
            DType::F16 | DType::BF16 => 2,
            DType::U8 | DType::Bool => 1,
        }
    }

    /// The name used in the text form and in errors.
    pub fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::F16 => "f16",
            DType::BF16 => "bf16",
            DType::I32 => "i32",
            DType::U32 => "u32",
            DType::U8 => "u8",
            DType::Bool => "bool",
        }
    }

    /// The type with this name.
    pub fn from_name(name: &str) -> Option<DType> {
        DType::ALL.into_iter().find(|dtype| dtype.name() == name)
    }

    /// Whether gradients flow through values of this type.
    pub fn is_float(self) -> bool {
        self == DType::F32 || self.is_half()
    }

    /// Whether this is one of the floats of 16 bits.
    pub fn is_half(self) -> bool {
        matches!(self, DType::F16 | DType::BF16)
    }

    /// The nearest number of a float type, rounded once; numbers of other types as they are.
    pub fn round(self, number: f64) -> f64 {
        match self {
            DType::F32 => f64::from(number as f32),
            DType::F16 => F16::from_f64(number).into(),
            DType::BF16 => BF16::from_f64(number).into(),
            DType::I32 | DType::U32 | DType::U8 | DType::Bool => number,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The extents of a value, outermost first. Values are row-major; the empty shape is a scalar.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Shape(SmallList<usize, 4>);

impl Shape {
    /// The most axes a value may have: kernels keep their coordinates in arrays of this length.
    pub const MAX_RANK: usize = 16;

    /// The most elements a value may have, an image with its padding included. Products of an extent, a stride or a
    /// number of bytes with what kernels multiply it by (lanes, threads, the size of an element) then stay far inside
    /// of `isize`.
    pub const MAX_ELEMENTS: usize = 1 << 40;

    /// The shape of a scalar.
    pub fn scalar() -> Shape {
        Shape::default()
    }

    /// Number of axes.
    #[inline]
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// Number of elements: the product of the extents, 1 for a scalar. A product beyond `usize` stays at its maximum,
    /// which no value reaches.
    pub fn elements(&self) -> usize {
        if self.0.contains(&0) {
            return 0;
        }
        self.0.iter().fold(1, |product, &extent| product.saturating_mul(extent))
    }

    /// That a value may have this shape. Whatever makes shapes asks this once, so that nothing behind it overflows.
    ///
    /// # Errors
    /// Says which limit is passed: [`Shape::MAX_RANK`] axes, or [`Shape::MAX_ELEMENTS`] elements, where extents of 0
    /// count as 1 since strides do not.
    pub fn check(&self) -> Result<(), String> {
        if self.rank() > Shape::MAX_RANK {
            return Err(format!(
                "a shape of {self} has {} axes, at most {} are possible; merge some with reshape",
                self.rank(),
                Shape::MAX_RANK
            ));
        }
        let elements = self.0.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent.max(1)));
        match elements {
            Some(elements) if elements <= Shape::MAX_ELEMENTS => Ok(()),
            _ => Err(format!("a shape of {self} is too large")),
        }
    }

    /// Row-major strides in elements.
    pub fn strides(&self) -> Vec<usize> {
        let mut strides = vec![1usize; self.rank()];
        for axis in (1..self.rank()).rev() {
            strides[axis - 1] = strides[axis].saturating_mul(self.0[axis]);
        }
        strides
    }

    /// The extents that remain when `axes` are removed.
    pub fn without(&self, axes: &[usize]) -> Shape {
        self.0
            .iter()
            .enumerate()
            .filter(|(axis, _)| !axes.contains(axis))
            .map(|(_, &extent)| extent)
            .collect()
    }

    /// The extents as an owned vector.
    pub fn to_vec(&self) -> Vec<usize> {
        self.0.to_vec()
    }
}

impl std::ops::Deref for Shape {
    type Target = [usize];
    #[inline]
    fn deref(&self) -> &[usize] {
        &self.0
    }
}

impl From<Vec<usize>> for Shape {
    fn from(extents: Vec<usize>) -> Shape {
        Shape(extents.into())
    }
}

impl From<&[usize]> for Shape {
    fn from(extents: &[usize]) -> Shape {
        Shape(extents.into())
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(extents: [usize; N]) -> Shape {
        Shape(extents.into())
    }
}

impl FromIterator<usize> for Shape {
    fn from_iter<I: IntoIterator<Item = usize>>(extents: I) -> Shape {
        Shape(extents.into_iter().collect())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (axis, extent) in self.0.iter().enumerate() {
            if axis > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{extent}")?;
        }
        f.write_str("]")
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Element type and shape of a value.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ValueType {
    /// Element type.
    pub dtype: DType,
    /// Extents.
    pub shape: Shape,
}

impl ValueType {
    /// A type from its parts.
    pub fn new(dtype: DType, shape: impl Into<Shape>) -> ValueType {
        ValueType { dtype, shape: shape.into() }
    }

    /// The type of one element without axes.
    pub fn scalar(dtype: DType) -> ValueType {
        ValueType { dtype, shape: Shape::scalar() }
    }

    /// Bytes of all elements; `usize::MAX` where they do not fit, which no memory has.
    pub fn bytes(&self) -> usize {
        self.shape.elements().saturating_mul(self.dtype.size())
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.dtype, self.shape)
    }
}

/// A float attribute of an operation, compared by its bits so that operations can be hashed.
#[derive(Clone, Copy, Debug)]
pub struct Real(pub f64);

impl PartialEq for Real {
    fn eq(&self, other: &Real) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}
impl Eq for Real {}
impl std::hash::Hash for Real {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

/// The elements of a constant: little-endian bytes in row-major order.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Literal {
    /// Type of the constant.
    pub ty: ValueType,
    bytes: Arc<[u8]>,
}

impl Literal {
    /// A literal from little-endian bytes; `None` when their number does not fit the type.
    pub fn from_bytes(ty: ValueType, bytes: &[u8]) -> Option<Literal> {
        (bytes.len() == ty.bytes()).then(|| Literal { ty, bytes: bytes.into() })
    }

    /// A float scalar.
    pub fn f32(value: f32) -> Literal {
        Literal { ty: ValueType::scalar(DType::F32), bytes: value.to_le_bytes().into() }
    }

    /// A signed scalar.
    pub fn i32(value: i32) -> Literal {
        Literal { ty: ValueType::scalar(DType::I32), bytes: value.to_le_bytes().into() }
    }

    /// An unsigned scalar.
    pub fn u32(value: u32) -> Literal {
        Literal { ty: ValueType::scalar(DType::U32), bytes: value.to_le_bytes().into() }
    }

    /// A scalar of any type from a number, converted as a cast would.
    pub fn scalar(dtype: DType, value: f64) -> Literal {
        let bytes: Arc<[u8]> = match dtype {
            DType::F32 => (value as f32).to_le_bytes().into(),
            DType::F16 => F16::from_f64(value).to_bits().to_le_bytes().into(),
            DType::BF16 => BF16::from_f64(value).to_bits().to_le_bytes().into(),
            DType::I32 => (value as i32).to_le_bytes().into(),
            DType::U32 => (value as u32).to_le_bytes().into(),
            DType::U8 => [value as u8].into(),
            DType::Bool => [u8::from(value != 0.0)].into(),
        };
        Literal { ty: ValueType::scalar(dtype), bytes }
    }

    /// The stored bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The elements as numbers, exact for every type.
    pub fn to_f64(&self) -> Vec<f64> {
        self.bytes.chunks_exact(self.ty.dtype.size()).map(|bytes| self.number(bytes)).collect()
    }

    /// The element with these bytes.
    fn number(&self, bytes: &[u8]) -> f64 {
        let word = || [bytes[0], bytes[1], bytes[2], bytes[3]];
        let half = || u16::from_le_bytes([bytes[0], bytes[1]]);
        match self.ty.dtype {
            DType::F32 => f32::from_le_bytes(word()).into(),
            DType::F16 => F16::from_bits(half()).into(),
            DType::BF16 => BF16::from_bits(half()).into(),
            DType::I32 => i32::from_le_bytes(word()).into(),
            DType::U32 => u32::from_le_bytes(word()).into(),
            DType::U8 | DType::Bool => bytes[0].into(),
        }
    }

    /// The single element of a scalar literal (or of one with one element).
    pub fn as_scalar(&self) -> Option<f64> {
        (self.ty.shape.elements() == 1).then(|| self.number(&self.bytes))
    }
}

impl fmt::Debug for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Literal({}, {} bytes)", self.ty, self.bytes.len())
    }
}
