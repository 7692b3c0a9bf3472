//! Convolution with filters of one tap, as a product of matrices that lie where the operands do: nothing is moved,
//! except with a stride, where the pixels that are seen are put together first.
//!
//! With C input channels and K output channels of a group and P output pixels of an image:
//!
//! | direction | product, for each image |
//! |---|---|
//! | forward | `[K, C] · [C, P]` |
//! | input gradient | `[K, C]ᵀ · [K, P]` |
//! | filter gradient | `[K, P] · [C, P]ᵀ`, summed over the images |

use super::layout::{align, whole_lines, with_alignment};
use super::{ConvShape, Direction, Finish, Part};
use crate::matmul::{Matmul, MatmulShape, MatrixStrides};
use crate::pool::{Disjoint, Pool};
use crate::simd::Level;

/// One tap, no padding, dense pixels; forward and for the filter's gradient strides too.
pub(super) fn supports(direction: Direction, shape: &ConvShape) -> bool {
    shape.kernel == [1; 2]
        && shape.pad_low == [0; 2]
        && shape.pad_high == [0; 2]
        && (shape.stride == [1; 2] || direction != Direction::InputGradient)
}

pub(super) struct Plan {
    direction: Direction,
    shape: ConvShape,
    product: Matmul,
}

impl Plan {
    pub fn new(direction: Direction, shape: &ConvShape, level: Level, threads: usize) -> Plan {
        Plan { direction, shape: *shape, product: product(direction, shape, level, threads) }
    }

    /// Elements of the pixels that are seen, where these do not lie together.
    fn seen(&self) -> usize {
        if self.shape.stride == [1; 2] {
            return 0;
        }
        whole_lines(self.shape.batch * self.shape.in_channels * self.shape.output_plane())
    }

    pub fn scratch_len(&self) -> usize {
        with_alignment(self.seen() + self.product.scratch())
    }

    pub fn run(
        &self,
        a: &[f32],
        b: &[f32],
        out: &mut [f32],
        scratch: &mut [f32],
        pool: &Pool,
        finish: Option<Finish>,
    ) {
        let Plan { direction, shape, product } = self;
        let (seen, scratch) = align(scratch).split_at_mut(self.seen());
        let a = if seen.is_empty() {
            a
        } else {
            gather(shape, a, seen, pool);
            seen
        };
        let (plane, groups) = (shape.output_plane(), shape.groups);
        let of_channels =
            if *direction == Direction::Forward { shape.out_channels } else { shape.in_channels };
        let of_group = of_channels / groups;
        assert!(scratch.len() >= product.scratch(), "scratch memory of the product");
        // SAFETY: the strides of the product are those of whole operands, whose lengths `Prepared` has compared; the
        // scratch memory is long enough, and what is written is borrowed for that.
        unsafe {
            // Filter and input, filter and the output's gradient, the output's gradient and input.
            let (lhs, rhs) = (b.as_ptr(), a.as_ptr());
            let (out, scratch) = (out.as_mut_ptr(), scratch.as_mut_ptr());
            match finish {
                None => product.run(lhs, rhs, out, scratch, pool),
                Some(finish) => product.run_with(lhs, rhs, out, scratch, pool, &|tile| {
                    let first = tile.batch % groups * of_group;
                    // Pixels are independent of one another, so that a plane may as well be rows of one pixel.
                    finish(Part {
                        image: tile.batch / groups,
                        channels: first + tile.rows.start..first + tile.rows.end,
                        rows: tile.columns,
                        width: 1,
                        plane,
                        of_channels,
                    });
                }),
            }
        }
    }
}

/// The product of a direction, of all images and groups.
fn product(direction: Direction, shape: &ConvShape, level: Level, threads: usize) -> Matmul {
    let (inputs, outputs, plane) = (shape.group_inputs(), shape.group_outputs(), shape.output_plane());
    let (all_inputs, all_outputs) = (shape.in_channels * plane, shape.out_channels * plane);
    let strides = |batch: [usize; 2], row: usize, column: usize| MatrixStrides {
        batch: batch.map(|stride| stride as isize).to_vec(),
        outer: Vec::new(),
        row: row as isize,
        column: column as isize,
    };
    let filters = outputs * inputs;
    let of_images = |channels: usize| strides([channels * shape.groups * plane, channels * plane], plane, 1);
    let batch = vec![shape.batch, shape.groups];
    let (n, outer) = (plane, Vec::new());
    let product = match direction {
        Direction::Forward => MatmulShape {
            batch,
            outer,
            m: outputs,
            n,
            k: inputs,
            lhs: strides([0, filters], inputs, 1),
            rhs: of_images(inputs),
            out: of_images(outputs),
        },
        Direction::InputGradient => MatmulShape {
            batch,
            outer,
            m: inputs,
            n,
            k: outputs,
            lhs: strides([0, filters], 1, inputs),
            rhs: of_images(outputs),
            out: of_images(inputs),
        },
        Direction::FilterGradient => {
            let side =
                |image: usize, group: usize, row: usize, column: usize, is_summed: bool| MatrixStrides {
                    batch: vec![group as isize],
                    outer: if is_summed { vec![image as isize] } else { Vec::new() },
                    row: row as isize,
                    column: column as isize,
                };
            MatmulShape {
                batch: vec![shape.groups],
                outer: vec![shape.batch],
                m: outputs,
                n: inputs,
                k: plane,
                lhs: side(all_outputs, outputs * plane, plane, 1, true),
                rhs: side(all_inputs, inputs * plane, 1, plane, true),
                out: side(0, filters, inputs, 1, false),
            }
        }
    };
    Matmul::with_level(product, threads, level)
}

/// Puts the pixels together that outputs see.
fn gather(shape: &ConvShape, input: &[f32], seen: &mut [f32], pool: &Pool) {
    let [height, width] = shape.output();
    let (plane, from_plane) = (height * width, shape.input_plane());
    let seen = Disjoint::new(seen);
    pool.split(shape.batch * shape.in_channels, 1, |_, planes| {
        // SAFETY: each plane belongs to one thread.
        let seen = unsafe { seen.part(planes.start * plane..planes.end * plane) };
        for (number, to) in planes.zip(seen.chunks_exact_mut(plane)) {
            let from = &input[number * from_plane..][..from_plane];
            for (y, row) in to.chunks_exact_mut(width).enumerate() {
                let from = &from[y * shape.stride[0] * shape.input[1]..];
                for (x, pixel) in row.iter_mut().enumerate() {
                    *pixel = from[x * shape.stride[1]];
                }
            }
        }
    });
}
