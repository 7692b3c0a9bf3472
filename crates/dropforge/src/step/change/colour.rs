//! Images in other colours, or hidden in part.

use super::column;
use super::geometry::places;
use crate::tensor::{Tensor, binary};
use dropforge_data::transform::{ColourJitter, FILL};
use dropforge_ir::{BinaryKind, DType};

/// Brightness, contrast and saturation by the first three numbers.
pub(super) fn jitter(change: &ColourJitter, images: &Tensor, numbers: &Tensor) -> Tensor {
    let mut images = limited(images * column(numbers, 0));
    if change.contrast > 0.0 {
        let mean = grey(&images).mean_keep([2, 3]);
        images = limited(&mean + (&images - &mean) * column(numbers, 1));
    }
    if change.saturation > 0.0 && images.shape()[1] == 3 {
        let grey = grey(&images);
        images = limited(&grey + (&images - &grey) * column(numbers, 2));
    }
    images
}

/// Without colours where the number is above 0.
pub(super) fn grey_where(images: &Tensor, numbers: &Tensor) -> Tensor {
    match images.shape()[1] {
        3 => Tensor::select(&column(numbers, 0).gt(0.0), limited(grey(images)), images),
        _ => images.clone(),
    }
}

/// The rows and columns from, and up to, the first four numbers hidden behind pixels that come from the fifth.
pub(super) fn erase(images: &Tensor, numbers: &Tensor) -> Tensor {
    let (x, y) = (places(images, 3), places(images, 2));
    let rows = y.ge(column(numbers, 0)).logical_and(y.lt(column(numbers, 1)));
    let columns = x.ge(column(numbers, 2)).logical_and(x.lt(column(numbers, 3)));
    let (height, width) = (images.shape()[2], images.shape()[3]);
    // Exact as whole numbers of u32, not as f32.
    let whole = |places: &Tensor| places.cast(DType::U32);
    let place = (whole(&places(images, 1)) * height as i32 + whole(&y)) * width as i32 + whole(&x);
    let number = Tensor::scalar_u32;
    let multiply = |bits: &Tensor, by: u32| binary("erase", BinaryKind::Multiply, bits, &number(by));
    let fold = |bits: &Tensor, by: u32| {
        let shifted = binary("erase", BinaryKind::ShiftRight, bits, &number(by));
        binary("erase", BinaryKind::Xor, bits, &shifted)
    };
    let bits = multiply(&place, FILL[0]) + column(numbers, 4).cast(DType::U32);
    let bits = fold(&multiply(&fold(&multiply(&fold(&bits, 16), FILL[1]), 15), FILL[2]), 16);
    Tensor::select(&rows.logical_and(columns), crate::tensor::uniform(&bits), images)
}

fn limited(images: Tensor) -> Tensor {
    images.maximum(0.0).minimum(1.0)
}

/// By torchvision's weights; the first plane where there are no colours.
fn grey(images: &Tensor) -> Tensor {
    let plane = |at: usize| images.slice(1, at..at + 1);
    match images.shape()[1] {
        3 => plane(0) * 0.2989 + plane(1) * 0.587 + plane(2) * 0.114,
        _ => plane(0),
    }
}
