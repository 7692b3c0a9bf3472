//! Convolution as a product of matrices: what each output pixel sees becomes a column of a matrix, for all images
//! together.
//!
//! With C input channels and K output channels of a group, T taps, and N output pixels of all images:
//!
//! | direction | product |
//! |---|---|
//! | forward | `[K, C·T] · [C·T, N]` |
//! | input gradient | `[K, C·T]ᵀ · [K, N]`, whose columns are then added where they came from |
//! | filter gradient | `[K, N] · [C·T, N]ᵀ` |
//!
//! The columns take T times the memory of the input (less with strides), so that large batches go in parts. This serves
//! every stride, dilation and group.

use super::choose::{COLUMN_ELEMENTS, COLUMN_RUN};
use super::general::rows;
use super::layout::{align, whole_lines, with_alignment};
use super::{ConvShape, Direction};
use crate::matmul::{Matmul, MatmulShape, MatrixStrides};
use crate::pool::{Disjoint, Pool};
use crate::simd::{Kernel, Level, Vector};
use std::ops::Range;

pub(super) struct Plan {
    direction: Direction,
    /// The parts of the batch, by their images.
    parts: Vec<Range<usize>>,
    /// Of the first part and others like it, and of the last if it is smaller.
    whole: PartPlan,
    rest: Option<PartPlan>,
    level: Level,
}

/// How some images are computed.
struct PartPlan {
    shape: ConvShape,
    product: Matmul,
}

impl Plan {
    pub fn new(direction: Direction, shape: &ConvShape, level: Level, threads: usize) -> Plan {
        let images = (COLUMN_ELEMENTS / columns_of_image(shape).max(1)).clamp(1, shape.batch.max(1));
        let parts: Vec<Range<usize>> =
            (0..shape.batch).step_by(images).map(|first| first..shape.batch.min(first + images)).collect();
        let part = |images: &Range<usize>| {
            let shape = ConvShape { batch: images.len(), ..*shape };
            PartPlan { shape, product: product(direction, &shape, level, threads) }
        };
        let rest = parts.last().filter(|last| last.len() < images).map(part);
        Plan { direction, whole: part(&(0..images)), rest, parts, level }
    }

    pub fn scratch_len(&self) -> usize {
        let PartPlan { shape, product } = &self.whole;
        let rest = self.rest.as_ref().map_or(0, |rest| rest.product.scratch());
        let pieces = self.columns_piece() + whole_lines(shape.output_len()) + self.sum_piece();
        with_alignment(pieces + product.scratch().max(rest))
    }

    fn columns_piece(&self) -> usize {
        whole_lines(columns_len(&self.whole.shape))
    }

    /// Elements for a filter's gradient from some images, which is then added to that from the others.
    fn sum_piece(&self) -> usize {
        let adds = self.direction == Direction::FilterGradient && self.parts.len() > 1;
        if adds { whole_lines(self.whole.shape.filter_len()) } else { 0 }
    }

    pub fn run(&self, a: &[f32], b: &[f32], out: &mut [f32], scratch: &mut [f32], pool: &Pool) {
        let (columns, rest) = align(scratch).split_at_mut(self.columns_piece());
        let (planes, rest) = rest.split_at_mut(whole_lines(self.whole.shape.output_len()));
        let (sum, scratch) = rest.split_at_mut(self.sum_piece());
        for images in &self.parts {
            let plan = self.rest.as_ref().filter(|rest| rest.shape.batch == images.len());
            let PartPlan { shape, product } = plan.unwrap_or(&self.whole);
            let columns = &mut columns[..columns_len(shape)];
            let planes = &mut planes[..shape.output_len()];
            let of_images = |length: usize| {
                let image = length / shape.batch;
                images.start * image..images.end * image
            };
            let (input, output) = (of_images(shape.input_len()), of_images(shape.output_len()));
            let channels_inside = [shape.batch, shape.out_channels];
            match self.direction {
                Direction::Forward => {
                    self.move_columns(shape, Move::Out(&a[input]), columns, pool);
                    multiply(product, b, columns, planes, scratch, pool);
                    exchange(shape, planes, &mut out[output], [shape.out_channels, shape.batch], pool);
                }
                Direction::InputGradient => {
                    exchange(shape, &a[output], planes, channels_inside, pool);
                    multiply(product, b, planes, columns, scratch, pool);
                    self.move_columns(shape, Move::Back(columns), &mut out[input], pool);
                }
                Direction::FilterGradient => {
                    self.move_columns(shape, Move::Out(&a[input]), columns, pool);
                    exchange(shape, &b[output], planes, channels_inside, pool);
                    if images.start == 0 {
                        multiply(product, planes, columns, out, scratch, pool);
                    } else {
                        multiply(product, planes, columns, sum, scratch, pool);
                        out.iter_mut().zip(&*sum).for_each(|(out, x)| *out += x);
                    }
                }
            }
        }
    }

    /// Fills columns from the input, or the input's gradient from columns.
    fn move_columns(&self, shape: &ConvShape, what: Move, to: &mut [f32], pool: &Pool) {
        let (channels, length) = match what {
            // Columns lie by channel, the input by image.
            Move::Out(_) => (shape.in_channels, shape.taps() * pixels(shape)),
            Move::Back(_) => (shape.batch * shape.in_channels, shape.input_plane()),
        };
        let moves_rows = shape.stride[1] == 1 && shape.output()[1] >= COLUMN_RUN;
        let seen: Option<Vec<Vec<u32>>> =
            (!moves_rows).then(|| (0..shape.taps()).map(|tap| seen_pixels(shape, tap)).collect());
        let to = Disjoint::new(to);
        pool.split(channels, 1, |_, range| {
            // SAFETY: each channel, or plane, belongs to one thread.
            let to = unsafe { to.part(range.start * length..range.end * length) };
            self.level.call(Part { shape, seen: seen.as_deref(), what, range, to });
        });
    }
}

/// The product of a direction, of all groups.
fn product(direction: Direction, shape: &ConvShape, level: Level, threads: usize) -> Matmul {
    let (inner, outputs) = (shape.group_inputs() * shape.taps(), shape.group_outputs());
    let pixels = pixels(shape);
    let strides = |batch: usize, row: usize, column: usize| MatrixStrides {
        batch: vec![batch as isize],
        outer: Vec::new(),
        row: row as isize,
        column: column as isize,
    };
    let filter = strides(outputs * inner, inner, 1);
    let turned_filter = strides(outputs * inner, 1, inner);
    let columns = strides(inner * pixels, pixels, 1);
    let turned_columns = strides(inner * pixels, 1, pixels);
    let planes = strides(outputs * pixels, pixels, 1);
    let (m, n, k, lhs, rhs, out) = match direction {
        Direction::Forward => (outputs, pixels, inner, filter, columns, planes),
        Direction::InputGradient => (inner, pixels, outputs, turned_filter, planes, columns),
        Direction::FilterGradient => (outputs, inner, pixels, planes, turned_columns, filter),
    };
    let shape = MatmulShape { batch: vec![shape.groups], outer: Vec::new(), m, n, k, lhs, rhs, out };
    Matmul::with_level(shape, threads, level)
}

/// Runs a [`product`] on whole filters, columns and planes.
fn multiply(product: &Matmul, lhs: &[f32], rhs: &[f32], out: &mut [f32], scratch: &mut [f32], pool: &Pool) {
    assert!(scratch.len() >= product.scratch(), "scratch memory of the product");
    // SAFETY: the strides of the product are those of whole filters, columns and planes, which the slices are; the
    // scratch memory is long enough, and what is written is borrowed for that.
    unsafe { product.run(lhs.as_ptr(), rhs.as_ptr(), out.as_mut_ptr(), scratch.as_mut_ptr(), pool) }
}

/// Copies output planes `[first, second, pixel]` to `[second, first, pixel]`.
fn exchange(shape: &ConvShape, from: &[f32], to: &mut [f32], [first, second]: [usize; 2], pool: &Pool) {
    let plane = shape.output_plane();
    let to = Disjoint::new(to);
    pool.split(second, 1, |_, range| {
        // SAFETY: each index of the second axis belongs to one thread.
        let to = unsafe { to.part(range.start * first * plane..range.end * first * plane) };
        for (index, to) in range.zip(to.chunks_exact_mut(first * plane)) {
            for (row, to) in to.chunks_exact_mut(plane).enumerate() {
                to.copy_from_slice(&from[(row * second + index) * plane..][..plane]);
            }
        }
    });
}

/// Output pixels of a channel in all images.
fn pixels(shape: &ConvShape) -> usize {
    shape.batch * shape.output_plane()
}

/// Elements of the columns of one image.
pub(super) fn columns_of_image(shape: &ConvShape) -> usize {
    columns_len(&ConvShape { batch: 1, ..*shape })
}

/// Elements of the columns.
fn columns_len(shape: &ConvShape) -> usize {
    shape.in_channels * shape.taps() * pixels(shape)
}

#[derive(Clone, Copy)]
enum Move<'a> {
    /// From an input.
    Out(&'a [f32]),
    /// From columns.
    Back(&'a [f32]),
}

/// What one thread moves: channels of columns, or planes of the input's gradient.
struct Part<'a> {
    shape: &'a ConvShape,
    /// For each tap, see [`seen_pixels`]; nothing where whole rows are moved.
    seen: Option<&'a [Vec<u32>]>,
    what: Move<'a>,
    range: Range<usize>,
    to: &'a mut [f32],
}

impl Kernel for Part<'_> {
    type Output = ();

    /// Knows nothing of vectors: the compiler uses the instruction set of the function this becomes part of.
    #[inline(always)]
    fn run<V: Vector>(self) {
        let Part { shape, seen, what, range, to } = self;
        let (plane, output, taps) = (shape.input_plane(), shape.output_plane(), shape.taps());
        let row = pixels(shape);
        // A plane of the input and one pixel more, for what is padding.
        let mut local = vec![0.0; plane + 1];
        match what {
            Move::Out(input) => {
                for (channel, to) in range.zip(to.chunks_exact_mut(taps * row)) {
                    for image in 0..shape.batch {
                        let input = &input[(image * shape.in_channels + channel) * plane..][..plane];
                        local[..plane].copy_from_slice(input);
                        for (tap, to) in to.chunks_exact_mut(row).enumerate() {
                            let to = &mut to[image * output..][..output];
                            match seen {
                                Some(seen) => {
                                    let pixels = to.iter_mut().zip(&seen[tap]);
                                    pixels.for_each(|(to, &pixel)| *to = local[pixel as usize]);
                                }
                                None => fill_rows(shape, tap, input, to),
                            }
                        }
                    }
                }
            }
            Move::Back(columns) => {
                for (number, to) in range.zip(to.chunks_exact_mut(plane)) {
                    let (image, channel) = (number / shape.in_channels, number % shape.in_channels);
                    local.fill(0.0);
                    for tap in 0..taps {
                        let column = &columns[(channel * taps + tap) * row + image * output..][..output];
                        match seen {
                            Some(seen) => {
                                let pixels = column.iter().zip(&seen[tap]);
                                pixels.for_each(|(x, &pixel)| local[pixel as usize] += x);
                            }
                            None => add_rows(shape, tap, column, &mut local),
                        }
                    }
                    to.copy_from_slice(&local[..plane]);
                }
            }
        }
    }
}

/// Height and width of a tap by its number.
#[inline(always)]
fn tap_position(shape: &ConvShape, tap: usize) -> [usize; 2] {
    [tap / shape.kernel[1], tap % shape.kernel[1]]
}

#[inline(always)]
fn fill_rows(shape: &ConvShape, tap: usize, input: &[f32], to: &mut [f32]) {
    let tap = tap_position(shape, tap);
    to.fill(0.0);
    for row in shape.inside(0, tap[0]) {
        let rows = rows(shape, tap, row);
        to[rows.output].copy_from_slice(&input[rows.input]);
    }
}

#[inline(always)]
fn add_rows(shape: &ConvShape, tap: usize, column: &[f32], to: &mut [f32]) {
    let tap = tap_position(shape, tap);
    for row in shape.inside(0, tap[0]) {
        let rows = rows(shape, tap, row);
        to[rows.input].iter_mut().zip(&column[rows.output]).for_each(|(to, x)| *to += x);
    }
}

/// The input pixels that each output pixel sees through a tap; the number after the last pixel stands for padding.
fn seen_pixels(shape: &ConvShape, tap: usize) -> Vec<u32> {
    let tap = tap_position(shape, tap);
    let at = |axis: usize, output: usize| {
        let padded = output * shape.stride[axis] + tap[axis] * shape.dilation[axis];
        padded.checked_sub(shape.pad_low[axis]).filter(|&input| input < shape.input[axis])
    };
    let [height, width] = shape.output();
    let pixel = |y: usize, x: usize| match (at(0, y), at(1, x)) {
        (Some(y), Some(x)) => y * shape.input[1] + x,
        _ => shape.input_plane(),
    };
    (0..height).flat_map(|y| (0..width).map(move |x| (y, x))).map(|(y, x)| pixel(y, x) as u32).collect()
}
