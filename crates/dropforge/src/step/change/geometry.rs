//! Images whose pixels come from elsewhere.

use super::column;
use crate::tensor::Tensor;
use crate::tensor::node::{apply, fail};
use dropforge_ir::{DType, Op};

/// The images of which the number is above 0 turned round along an axis.
pub(super) fn mirrored(images: &Tensor, numbers: &Tensor, axis: isize) -> Tensor {
    Tensor::select(&column(numbers, 0).gt(0.0), images.flip(axis), images)
}

/// Moved by whole pixels, down and to the right; black comes in.
pub(super) fn shifted(images: &Tensor, numbers: &Tensor) -> Tensor {
    let (x, y) = (places(images, 3) - column(numbers, 1), places(images, 2) - column(numbers, 0));
    pixels(images, &x, &y)
}

/// What lies where two rows of the numbers say, each with the factors of column and row and what is added.
pub(super) fn mapped(images: &Tensor, numbers: &Tensor) -> Tensor {
    let (x, y) = (places(images, 3) + 0.5, places(images, 2) + 0.5);
    let along = |first: usize| {
        &x * column(numbers, first) + &y * column(numbers, first + 1) + column(numbers, first + 2)
    };
    between(images, &along(0), &along(3))
}

/// The part from left and top that is so wide and high, brought to the size of the whole.
pub(super) fn resized_part(images: &Tensor, numbers: &Tensor) -> Tensor {
    let along = |axis: usize, start: usize| {
        let full = images.shape()[axis] as f32;
        let step = column(numbers, start + 2) / full;
        let at = (places(images, axis) + 0.5) * step + column(numbers, start);
        at.maximum(0.5).minimum(full - 0.5)
    };
    between(images, &along(3, 0), &along(2, 1))
}

/// The numbers of the columns or rows, beside images.
pub(super) fn places(images: &Tensor, axis: usize) -> Tensor {
    let mut shape = [1; 4];
    shape[axis] = images.shape()[axis];
    apply("augment", Op::Iota { shape: shape.to_vec().into(), axis }, &[]).cast(DType::F32)
}

/// What lies at places, whose middles are at halves: bilinear; 0 outside.
fn between(images: &Tensor, x: &Tensor, y: &Tensor) -> Tensor {
    let (x, y) = (x - 0.5, y - 0.5);
    let (left, top) = (x.floor(), y.floor());
    let (right_part, below_part) = (&x - &left, &y - &top);
    let (right, bottom) = (&left + 1.0, &top + 1.0);
    let row =
        |y: &Tensor| pixels(images, &left, y) * (1.0 - &right_part) + pixels(images, &right, y) * &right_part;
    row(&top) * (1.0 - &below_part) + row(&bottom) * &below_part
}

/// The pixels in these columns and rows, whole numbers; 0 outside.
fn pixels(images: &Tensor, x: &Tensor, y: &Tensor) -> Tensor {
    let &[batch, channels, height, width] = &images.shape().to_vec()[..] else { return images.clone() };
    if images.elements() > i32::MAX as usize {
        return fail(
            "augment",
            format!("{} has more elements than i32 can count", images.shape()),
            &[images],
        );
    }
    let (last_x, last_y) = (width as f32 - 1.0, height as f32 - 1.0);
    let inside = x.ge(0.0).logical_and(x.le(last_x)).logical_and(y.ge(0.0)).logical_and(y.le(last_y));
    let near = |at: &Tensor, last: f32| at.maximum(0.0).minimum(last).cast(DType::I32);
    let place = near(y, last_y) * width as i32 + near(x, last_x);
    let plane = |axis: usize, extent: usize, planes: usize| {
        let mut shape = [1; 4];
        shape[axis] = extent;
        apply("augment", Op::Iota { shape: shape.to_vec().into(), axis }, &[])
            * (planes * height * width) as i32
    };
    let place = place + plane(0, batch, channels) + plane(1, channels, 1);
    let flat = images.reshape(vec![images.elements()]);
    let place = place.broadcast_to(images.shape().to_vec()).reshape(vec![images.elements()]);
    let picked = apply("augment", Op::Gather { axis: 0 }, &[&flat, &place]).reshape(images.shape().to_vec());
    Tensor::select(&inside, picked, 0.0)
}
