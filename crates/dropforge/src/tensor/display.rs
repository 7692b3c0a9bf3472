//! How tensors look when they are printed.

use super::Tensor;
use dropforge_ir::{Array, Data};
use std::fmt;

/// How many elements are written at most along one axis; the middle of longer ones is left out.
const SHOWN: usize = 8;

/// The elements, computed for that, in nested brackets with their type and shape; the error if there is one.
impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_array() {
            Ok(array) => {
                write_axis(f, &array, 0, 0)?;
                write!(f, " {}", self.ty())
            }
            Err(error) => write!(f, "({error})"),
        }
    }
}

/// Type and shape only; nothing is computed.
impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.error() {
            Some(error) => write!(f, "Tensor({error})"),
            None => write!(f, "Tensor({})", self.ty()),
        }
    }
}

fn write_axis(f: &mut fmt::Formatter<'_>, array: &Array, axis: usize, offset: usize) -> fmt::Result {
    let shape = array.shape();
    if axis == shape.rank() {
        return write_element(f, array, offset);
    }
    let (extent, stride) = (shape[axis], shape.strides()[axis]);
    let separator =
        if axis + 1 == shape.rank() { ", ".to_string() } else { format!(",\n{}", " ".repeat(axis + 1)) };
    f.write_str("[")?;
    let mut index = 0;
    while index < extent {
        if index > 0 {
            f.write_str(&separator)?;
        }
        if extent > SHOWN && index == SHOWN / 2 {
            f.write_str("…")?;
            index = extent - SHOWN / 2;
            continue;
        }
        write_axis(f, array, axis + 1, offset + index * stride)?;
        index += 1;
    }
    f.write_str("]")
}

fn write_element(f: &mut fmt::Formatter<'_>, array: &Array, offset: usize) -> fmt::Result {
    match array.data() {
        Data::F32(v) => match f.precision() {
            Some(digits) => write!(f, "{:.digits$}", v[offset]),
            None => write!(f, "{:?}", v[offset]),
        },
        Data::F16(v) => write_half(f, &v[offset], v[offset].to_f32()),
        Data::BF16(v) => write_half(f, &v[offset], v[offset].to_f32()),
        Data::I32(v) => write!(f, "{}", v[offset]),
        Data::U32(v) => write!(f, "{}", v[offset]),
        Data::U8(v) => write!(f, "{}", v[offset]),
        Data::Bool(v) => write!(f, "{}", v[offset] != 0),
    }
}

/// With as many digits as asked for, or as few as tell it from other halves.
fn write_half(f: &mut fmt::Formatter<'_>, half: &dyn fmt::Debug, x: f32) -> fmt::Result {
    match f.precision() {
        Some(digits) => write!(f, "{x:.digits$}"),
        None => write!(f, "{half:?}"),
    }
}
