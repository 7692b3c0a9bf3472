//! Rust types that tensor elements can be read as and made from.

use dropforge_ir::{BF16, DType, Data, F16};

/// A Rust type that stands for an element type: `f32`, `i32`, `u32`, `u8` and `bool`.
pub trait Element: Copy + Sized {
    /// The element type.
    const DTYPE: DType;

    /// Owned elements as data.
    fn into_data(elements: Vec<Self>) -> Data;

    /// The elements of data of this type; `None` if they are of another.
    fn from_data(data: &Data) -> Option<Vec<Self>>;
}

macro_rules! element {
    ($type:ty, $variant:ident) => {
        impl Element for $type {
            const DTYPE: DType = DType::$variant;

            fn into_data(elements: Vec<Self>) -> Data {
                Data::$variant(elements)
            }

            fn from_data(data: &Data) -> Option<Vec<Self>> {
                if let Data::$variant(elements) = data { Some(elements.clone()) } else { None }
            }
        }
    };
}
element!(f32, F32);
element!(F16, F16);
element!(BF16, BF16);
element!(i32, I32);
element!(u32, U32);
element!(u8, U8);

impl Element for bool {
    const DTYPE: DType = DType::Bool;

    fn into_data(elements: Vec<bool>) -> Data {
        Data::Bool(elements.into_iter().map(u8::from).collect())
    }

    fn from_data(data: &Data) -> Option<Vec<bool>> {
        if let Data::Bool(elements) = data { Some(elements.iter().map(|&x| x != 0).collect()) } else { None }
    }
}
