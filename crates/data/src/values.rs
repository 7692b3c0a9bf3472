//! Arrays of the element types that samples can have.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The type of the elements of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ElementType {
    /// 32-bit IEEE float.
    F32,
    /// 16-bit IEEE float.
    F16,
    /// 32-bit signed integer: classes, tokens, positions.
    I32,
    /// 32-bit unsigned integer.
    U32,
    /// Byte: pixels as they lie in a file.
    U8,
    /// Truth value: masks.
    Bool,
}

impl ElementType {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            ElementType::F32 | ElementType::I32 | ElementType::U32 => 4,
            ElementType::F16 => 2,
            ElementType::U8 | ElementType::Bool => 1,
        }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ElementType::F32 => "f32",
            ElementType::F16 => "f16",
            ElementType::I32 => "i32",
            ElementType::U32 => "u32",
            ElementType::U8 => "u8",
            ElementType::Bool => "bool",
        })
    }
}

/// Elements of one type: a field of all samples of a batch or a data set, one sample after another.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Elements of [`ElementType::F32`].
    F32(Vec<f32>),
    /// Bit patterns of elements of [`ElementType::F16`].
    F16(Vec<u16>),
    /// Elements of [`ElementType::I32`].
    I32(Vec<i32>),
    /// Elements of [`ElementType::U32`].
    U32(Vec<u32>),
    /// Elements of [`ElementType::U8`].
    U8(Vec<u8>),
    /// Elements of [`ElementType::Bool`].
    Bool(Vec<bool>),
}

/// Does the same for the vector of any element type.
macro_rules! each {
    ($values:expr, $v:ident => $result:expr) => {
        match $values {
            Values::F32($v) => $result,
            Values::F16($v) => $result,
            Values::I32($v) => $result,
            Values::U32($v) => $result,
            Values::U8($v) => $result,
            Values::Bool($v) => $result,
        }
    };
}

impl Values {
    /// No elements yet of a type.
    pub fn empty(dtype: ElementType) -> Values {
        match dtype {
            ElementType::F32 => Values::F32(Vec::new()),
            ElementType::F16 => Values::F16(Vec::new()),
            ElementType::I32 => Values::I32(Vec::new()),
            ElementType::U32 => Values::U32(Vec::new()),
            ElementType::U8 => Values::U8(Vec::new()),
            ElementType::Bool => Values::Bool(Vec::new()),
        }
    }

    /// The type of the elements.
    pub fn dtype(&self) -> ElementType {
        match self {
            Values::F32(_) => ElementType::F32,
            Values::F16(_) => ElementType::F16,
            Values::I32(_) => ElementType::I32,
            Values::U32(_) => ElementType::U32,
            Values::U8(_) => ElementType::U8,
            Values::Bool(_) => ElementType::Bool,
        }
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        each!(self, v => v.len())
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements, if they are of this type.
    pub fn slice<T: FieldElement>(&self) -> Option<&[T]> {
        T::of(self)
    }

    /// Makes it so many elements; new ones are zero.
    pub(crate) fn resize(&mut self, len: usize) {
        each!(self, v => v.resize(len, Default::default()))
    }

    /// Elements `start..start + len`, to be written.
    pub(crate) fn row(&mut self, start: usize, len: usize) -> Row<'_> {
        match self {
            Values::F32(v) => Row::F32(&mut v[start..start + len]),
            Values::F16(v) => Row::F16(&mut v[start..start + len]),
            Values::I32(v) => Row::I32(&mut v[start..start + len]),
            Values::U32(v) => Row::U32(&mut v[start..start + len]),
            Values::U8(v) => Row::U8(&mut v[start..start + len]),
            Values::Bool(v) => Row::Bool(&mut v[start..start + len]),
        }
    }

    /// Copies `len` elements from a place of another array of the same type; nothing happens if the types differ.
    pub(crate) fn copy(&mut self, to: usize, other: &Values, from: usize, len: usize) {
        let (to, from) = (to..to + len, from..from + len);
        match (self, other) {
            (Values::F32(a), Values::F32(b)) => a[to].copy_from_slice(&b[from]),
            (Values::F16(a), Values::F16(b)) => a[to].copy_from_slice(&b[from]),
            (Values::I32(a), Values::I32(b)) => a[to].copy_from_slice(&b[from]),
            (Values::U32(a), Values::U32(b)) => a[to].copy_from_slice(&b[from]),
            (Values::U8(a), Values::U8(b)) => a[to].copy_from_slice(&b[from]),
            (Values::Bool(a), Values::Bool(b)) => a[to].copy_from_slice(&b[from]),
            _ => {}
        }
    }

    /// Elements `start..start + len` as an array of their own.
    pub(crate) fn part(&self, start: usize, len: usize) -> Values {
        let range = start..start + len;
        match self {
            Values::F32(v) => Values::F32(v[range].to_vec()),
            Values::F16(v) => Values::F16(v[range].to_vec()),
            Values::I32(v) => Values::I32(v[range].to_vec()),
            Values::U32(v) => Values::U32(v[range].to_vec()),
            Values::U8(v) => Values::U8(v[range].to_vec()),
            Values::Bool(v) => Values::Bool(v[range].to_vec()),
        }
    }

    /// Appends the bytes of elements `start..start + len`, the lowest of each first.
    pub(crate) fn write_bytes(&self, start: usize, len: usize, bytes: &mut Vec<u8>) {
        let range = start..start + len;
        match self {
            Values::F32(v) => bytes.extend(v[range].iter().flat_map(|x| x.to_le_bytes())),
            Values::F16(v) => bytes.extend(v[range].iter().flat_map(|x| x.to_le_bytes())),
            Values::I32(v) => bytes.extend(v[range].iter().flat_map(|x| x.to_le_bytes())),
            Values::U32(v) => bytes.extend(v[range].iter().flat_map(|x| x.to_le_bytes())),
            Values::U8(v) => bytes.extend_from_slice(&v[range]),
            Values::Bool(v) => bytes.extend(v[range].iter().map(|&x| u8::from(x))),
        }
    }

    /// Elements `start..start + len` from the bytes that [`Values::write_bytes`] made.
    pub(crate) fn read_bytes(&mut self, start: usize, len: usize, bytes: &[u8]) {
        /// Elements from as many bytes each.
        fn take<T, const N: usize>(to: &mut [T], bytes: &[u8], of: impl Fn([u8; N]) -> T) {
            let (each, _) = bytes.as_chunks::<N>();
            to.iter_mut().zip(each).for_each(|(to, &bytes)| *to = of(bytes));
        }
        let range = start..start + len;
        match self {
            Values::F32(v) => take(&mut v[range], bytes, f32::from_le_bytes),
            Values::F16(v) => take(&mut v[range], bytes, u16::from_le_bytes),
            Values::I32(v) => take(&mut v[range], bytes, i32::from_le_bytes),
            Values::U32(v) => take(&mut v[range], bytes, u32::from_le_bytes),
            Values::U8(v) => take(&mut v[range], bytes, |[byte]| byte),
            Values::Bool(v) => take(&mut v[range], bytes, |[byte]| byte != 0),
        }
    }

    /// Makes room for so many elements more.
    pub(crate) fn reserve(&mut self, more: usize) -> Result<(), std::collections::TryReserveError> {
        each!(self, v => v.try_reserve_exact(more))
    }

    /// Adds the elements of another array of the same type; nothing happens if the types differ.
    pub(crate) fn extend(&mut self, other: &Values) {
        match (self, other) {
            (Values::F32(a), Values::F32(b)) => a.extend_from_slice(b),
            (Values::F16(a), Values::F16(b)) => a.extend_from_slice(b),
            (Values::I32(a), Values::I32(b)) => a.extend_from_slice(b),
            (Values::U32(a), Values::U32(b)) => a.extend_from_slice(b),
            (Values::U8(a), Values::U8(b)) => a.extend_from_slice(b),
            (Values::Bool(a), Values::Bool(b)) => a.extend_from_slice(b),
            _ => {}
        }
    }

    /// Whether `len` elements from `start` on are those of another array from `from` on.
    pub(crate) fn is_same(&self, start: usize, other: &Values, from: usize, len: usize) -> bool {
        let (own, of) = (start..start + len, from..from + len);
        match (self, other) {
            (Values::F32(a), Values::F32(b)) => a[own] == b[of],
            (Values::F16(a), Values::F16(b)) => a[own] == b[of],
            (Values::I32(a), Values::I32(b)) => a[own] == b[of],
            (Values::U32(a), Values::U32(b)) => a[own] == b[of],
            (Values::U8(a), Values::U8(b)) => a[own] == b[of],
            (Values::Bool(a), Values::Bool(b)) => a[own] == b[of],
            _ => false,
        }
    }

    /// Copies `len` elements to another place; the two are the same or do not overlap.
    pub(crate) fn copy_within(&mut self, to: usize, from: usize, len: usize) {
        each!(self, v => v.copy_within(from..from + len, to))
    }

    /// The place of a number that is NaN or infinite, from `start` on within `len` elements.
    pub(crate) fn not_finite(&self, start: usize, len: usize) -> Option<(usize, &'static str)> {
        // Whole rows first, without an early exit, so that it becomes vector code.
        match self {
            Values::F32(v) => {
                let v = &v[start..start + len];
                if v.iter().fold(true, |all, x| all & x.is_finite()) {
                    return None;
                }
                let at = v.iter().position(|x| !x.is_finite())?;
                Some((at, if v[at].is_nan() { "NaN" } else { "infinite" }))
            }
            Values::F16(v) => {
                let at = v[start..start + len].iter().position(|x| x & 0x7c00 == 0x7c00)?;
                Some((at, if v[start + at] & 0x3ff != 0 { "NaN" } else { "infinite" }))
            }
            _ => None,
        }
    }
}

/// The elements of one sample in one field, to be written.
pub(crate) enum Row<'a> {
    F32(&'a mut [f32]),
    F16(&'a mut [u16]),
    I32(&'a mut [i32]),
    U32(&'a mut [u32]),
    U8(&'a mut [u8]),
    Bool(&'a mut [bool]),
}

impl Row<'_> {
    pub fn len(&self) -> usize {
        match self {
            Row::F32(v) => v.len(),
            Row::F16(v) => v.len(),
            Row::I32(v) => v.len(),
            Row::U32(v) => v.len(),
            Row::U8(v) => v.len(),
            Row::Bool(v) => v.len(),
        }
    }

    fn dtype(&self) -> ElementType {
        match self {
            Row::F32(_) => ElementType::F32,
            Row::F16(_) => ElementType::F16,
            Row::I32(_) => ElementType::I32,
            Row::U32(_) => ElementType::U32,
            Row::U8(_) => ElementType::U8,
            Row::Bool(_) => ElementType::Bool,
        }
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A type whose slices a field lends out: f32, i32, u32, u8 and bool.
pub trait FieldElement: Value {
    /// The elements, if they are of this type.
    #[doc(hidden)]
    fn of(values: &Values) -> Option<&[Self]>;
    #[doc(hidden)]
    fn of_mut(values: &mut Values) -> Option<&mut [Self]>;
}

/// A type that samples can be written from. Numbers go into fields of their own type; besides f32 and f64 into f16, f64
/// into f32 (both rounded), and i64 and usize into i32 (refused where they do not fit).
pub trait Value: Copy + Send + Sync + sealed::Sealed + 'static {
    /// The type of a field that is made for such values.
    const DTYPE: ElementType;
    /// Writes as many elements as there are.
    #[doc(hidden)]
    fn write(from: &[Self], to: RowOf<'_>) -> Result<(), String>;
}

/// A [`Row`] that cannot be named outside.
#[doc(hidden)]
pub struct RowOf<'a>(pub(crate) Row<'a>);

fn mismatch(dtype: ElementType, row: &Row<'_>) -> Result<(), String> {
    Err(format!("holds {}, it cannot be written from {dtype}", row.dtype()))
}

macro_rules! element {
    ($type:ty, $variant:ident, |$from:ident, $row:ident| $other:expr) => {
        impl sealed::Sealed for $type {}
        impl Value for $type {
            const DTYPE: ElementType = ElementType::$variant;
            fn write($from: &[$type], to: RowOf<'_>) -> Result<(), String> {
                match to.0 {
                    Row::$variant(to) => {
                        to.copy_from_slice($from);
                        Ok(())
                    }
                    $row => $other,
                }
            }
        }
        impl FieldElement for $type {
            fn of(values: &Values) -> Option<&[$type]> {
                if let Values::$variant(v) = values { Some(v) } else { None }
            }
            fn of_mut(values: &mut Values) -> Option<&mut [$type]> {
                if let Values::$variant(v) = values { Some(v) } else { None }
            }
        }
        impl From<Vec<$type>> for Values {
            fn from(values: Vec<$type>) -> Values {
                Values::$variant(values)
            }
        }
    };
}

element!(f32, F32, |from, row| match row {
    Row::F16(to) => {
        to.iter_mut().zip(from).for_each(|(to, &x)| *to = half_bits(x));
        Ok(())
    }
    row => mismatch(ElementType::F32, &row),
});
element!(i32, I32, |from, row| mismatch(ElementType::I32, &row));
element!(u32, U32, |from, row| mismatch(ElementType::U32, &row));
element!(u8, U8, |from, row| mismatch(ElementType::U8, &row));
element!(bool, Bool, |from, row| mismatch(ElementType::Bool, &row));

impl sealed::Sealed for f64 {}
impl Value for f64 {
    const DTYPE: ElementType = ElementType::F32;
    fn write(from: &[f64], to: RowOf<'_>) -> Result<(), String> {
        match to.0 {
            Row::F32(to) => to.iter_mut().zip(from).for_each(|(to, &x)| *to = x as f32),
            Row::F16(to) => to.iter_mut().zip(from).for_each(|(to, &x)| *to = half_bits(x as f32)),
            row => return mismatch(ElementType::F32, &row),
        }
        Ok(())
    }
}

macro_rules! wide_integer {
    ($type:ty) => {
        impl sealed::Sealed for $type {}
        impl Value for $type {
            const DTYPE: ElementType = ElementType::I32;
            fn write(from: &[$type], to: RowOf<'_>) -> Result<(), String> {
                let Row::I32(to) = to.0 else { return mismatch(ElementType::I32, &to.0) };
                for (to, &x) in to.iter_mut().zip(from) {
                    *to = i32::try_from(x).map_err(|_| format!("holds i32, and {x} is beyond its range"))?;
                }
                Ok(())
            }
        }
    };
}
wide_integer!(i64);
wide_integer!(usize);

/// The nearest half, ties to even.
pub(crate) fn half_bits(x: f32) -> u16 {
    let bits = x.to_bits();
    let sign = ((bits >> 16) & 0x8000) as u16;
    let magnitude = bits & 0x7fff_ffff;
    let half = match magnitude {
        0x7f80_0001.. => 0x7e00,
        // From 65520 on it rounds to infinity.
        0x477f_f000.. => 0x7c00,
        // Normal: 10 bits of mantissa stay; a carry goes into the exponent.
        0x3880_0000.. => {
            let rounded = magnitude - 0x3800_0000 + 0x0fff + ((magnitude >> 13) & 1);
            (rounded >> 13) as u16
        }
        // Subnormal: adding a number whose last bit is 2^-24 rounds there.
        _ => (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0.5f32.to_bits()) as u16,
    };
    sign | half
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_round_to_nearest_even() {
        let cases = [
            (0.0, 0),
            (-0.0, 0x8000),
            (1.0, 0x3c00),
            (-2.0, 0xc000),
            (65504.0, 0x7bff),
            (65519.9, 0x7bff),
            (65520.0, 0x7c00),
            (f32::INFINITY, 0x7c00),
            (f32::NEG_INFINITY, 0xfc00),
            (f32::NAN, 0x7e00),
            (1.0 + 1.0 / 2048.0, 0x3c00),
            (1.0 + 3.0 / 2048.0, 0x3c02),
            (2.0f32.powi(-14), 0x0400),
            (2.0f32.powi(-24), 1),
            (2.0f32.powi(-25), 0),
            (1.5 * 2.0f32.powi(-24), 2),
            (1023.6 * 2.0f32.powi(-24), 0x0400),
        ];
        for (x, bits) in cases {
            assert_eq!(half_bits(x), bits, "{x}");
        }
        // Every half gives itself.
        for bits in 0..0x7c00u16 {
            let (exponent, mantissa) = (i32::from(bits >> 10), f32::from(bits & 0x3ff));
            let x = match exponent {
                0 => mantissa * 2.0f32.powi(-24),
                e => (1024.0 + mantissa) * 2.0f32.powi(e - 25),
            };
            assert_eq!(half_bits(x), bits);
        }
    }

    #[test]
    fn wide_integers_are_checked() {
        let mut values = Values::I32(vec![0; 2]);
        i64::write(&[-5, 7], RowOf(values.row(0, 2))).unwrap();
        assert_eq!(values, Values::I32(vec![-5, 7]));
        let message = i64::write(&[1, 1 << 40], RowOf(values.row(0, 2))).unwrap_err();
        assert!(message.contains("1099511627776 is beyond"), "{message}");
        let message = f32::write(&[1.0], RowOf(values.row(0, 1))).unwrap_err();
        assert_eq!(message, "holds i32, it cannot be written from f32");
    }
}
