//! Where the elements of a product of pairs lie, and which operations are one.

use super::Address;
use crate::conv::{ConvShape, Direction};
use crate::matmul::MatmulShape;
use crate::pool::Pool;
use dropforge_ir::DType;

/// What follows what in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The two steps of each pair.
    PairsFollow,
    /// Runs of positions.
    PositionsFollow,
    /// Nothing.
    Any,
}

/// One side of a product: element of position `i` and step `k` lies at `across[i] + inner[k]`.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    pub across: Vec<isize>,
    pub inner: Vec<isize>,
    pub(super) order: Order,
}

impl Side {
    pub(crate) fn new(across: Vec<isize>, inner: Vec<isize>) -> Side {
        let follow = |offsets: &[isize]| offsets.windows(2).filter(|pair| pair[1] == pair[0] + 1).count();
        let order = if inner.chunks_exact(2).all(|pair| pair[1] == pair[0] + 1) && inner.len() > 1 {
            Order::PairsFollow
        } else if 2 * follow(&across) >= across.len() {
            Order::PositionsFollow
        } else {
            Order::Any
        };
        Side { across, inner, order }
    }
}

/// Zeros around, and none between, the pixels of the planes of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spread {
    pub planes: usize,
    /// Height and width of a plane.
    pub plane: [usize; 2],
    pub low: [usize; 2],
    pub high: [usize; 2],
}

impl Spread {
    /// Height and width with the zeros.
    fn extents(&self) -> [usize; 2] {
        [0, 1].map(|axis| self.plane[axis] + self.low[axis] + self.high[axis])
    }

    pub(super) fn elements(&self) -> usize {
        let [height, width] = self.extents();
        self.planes * height * width
    }

    /// # Safety
    /// `from` holds the planes, `to` has room for [`Spread::elements`].
    pub(super) unsafe fn run(&self, from: *const u16, to: Address<u16>, pool: &Pool) {
        let ([height, width], [rows, columns]) = (self.extents(), self.plane);
        let from = Address(from.cast_mut());
        pool.split(self.planes, ((8 << 10) / (height * width).max(1)).max(1), |_, range| {
            for plane in range {
                let to = to.at(plane * height * width);
                // SAFETY: the caller's promise; planes do not overlap.
                unsafe {
                    to.write_bytes(0, height * width);
                    for row in 0..rows {
                        let from = from.at((plane * rows + row) * columns);
                        let to = to.add((row + self.low[0]) * width + self.low[1]);
                        to.copy_from_nonoverlapping(from, columns);
                    }
                }
            }
        });
    }
}

/// A batch of products.
#[derive(Clone, Debug)]
pub(crate) struct PairShape {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    /// First elements of the left side, the right side and the result.
    pub batch: Vec<[isize; 3]>,
    pub left: Side,
    pub right: Side,
    /// From one row of the result to the next, and from one column to the next within a run of columns.
    pub out_row: isize,
    pub out_column: isize,
    /// Columns of a run, and from one run to the next.
    pub run: usize,
    pub out_run: isize,
    /// f32 or bf16.
    pub dtype: DType,
    /// What happens to the right side before.
    pub spread: Option<Spread>,
    /// Whether the left side is the second argument.
    pub swapped: bool,
}

/// Products below this are no faster, since copying takes longer than computing.
const LEAST_ROWS: usize = 8;
const LEAST_COLUMNS: usize = 16;
const LEAST_STEPS: usize = 16;
const LEAST_PRODUCTS: usize = 1 << 16;

/// The offsets of all positions of axes in row-major order.
fn offsets(axes: &[(usize, isize)]) -> Vec<isize> {
    let mut all = vec![0];
    for &(extent, stride) in axes {
        all = all.iter().flat_map(|&at| (0..extent as isize).map(move |index| at + index * stride)).collect();
    }
    all
}

/// How many products of numbers there are in one of the batch.
fn m_n_k(shape: &PairShape) -> usize {
    shape.m * shape.n * shape.k
}

impl PairShape {
    /// A product of matrices; the offsets are the first elements of the two sides. `None` if it is empty.
    pub(crate) fn of_matmul(
        shape: MatmulShape,
        [left, right]: [isize; 2],
        dtype: DType,
    ) -> Option<PairShape> {
        let (mut shape, mut left, mut right, mut swapped) = (shape, left, right, false);
        if shape.out.column != 1 && shape.out.row == 1 {
            (shape, swapped) = (shape.transposed(), true);
            std::mem::swap(&mut left, &mut right);
        }
        let inner = |outer: &[isize], step: isize| {
            let outer = shape.outer.iter().copied().zip(outer.iter().copied());
            offsets(&outer.chain([(shape.k, step)]).collect::<Vec<_>>())
        };
        let batches = |strides: &[isize]| {
            offsets(&shape.batch.iter().copied().zip(strides.iter().copied()).collect::<Vec<_>>())
        };
        let of_sides = [batches(&shape.lhs.batch), batches(&shape.rhs.batch), batches(&shape.out.batch)];
        let batch = (0..of_sides[0].len()).map(|index| {
            let [of_left, of_right, out] = [0, 1, 2].map(|side: usize| of_sides[side][index]);
            [of_left + left, of_right + right, out]
        });
        let product = PairShape {
            m: shape.m,
            n: shape.n,
            k: shape.k * shape.outer.iter().product::<usize>(),
            batch: batch.collect(),
            left: Side::new(offsets(&[(shape.m, shape.lhs.row)]), inner(&shape.lhs.outer, shape.lhs.column)),
            right: Side::new(offsets(&[(shape.n, shape.rhs.column)]), inner(&shape.rhs.outer, shape.rhs.row)),
            out_row: shape.out.row,
            out_column: shape.out.column,
            run: shape.n.max(1),
            out_run: 0,
            dtype,
            spread: None,
            swapped,
        };
        (m_n_k(&product) > 0).then_some(product)
    }

    /// A convolution: its left side are the filters, or the gradient of the output where filters are the result; `None`
    /// if it is empty, or its patches cannot be read in order.
    pub(crate) fn of_convolution(shape: &ConvShape, direction: Direction, dtype: DType) -> Option<PairShape> {
        if shape.groups != 1 {
            return None;
        }
        let [kh, kw] = shape.kernel;
        let [oh, ow] = shape.output();
        let (input, filters) = (shape.in_channels, shape.out_channels);
        let taps = kh * kw;
        let of_input = Spread {
            planes: shape.batch * input,
            plane: shape.input,
            low: shape.pad_low,
            high: shape.pad_high,
        };
        let [height, width] = of_input.extents();
        let plane = (height * width) as isize;
        let width = width as isize;
        let [step_y, step_x] = shape.stride.map(|stride| stride as isize);
        let [reach_y, reach_x] = shape.dilation.map(|dilation| dilation as isize);
        // Positions of the output in the image with zeros, and taps.
        let pixels = offsets(&[(shape.batch, input as isize * plane), (oh, step_y * width), (ow, step_x)]);
        let patch = offsets(&[(input, plane), (kh, reach_y * width), (kw, reach_x)]);
        let product = match direction {
            Direction::Forward => PairShape {
                m: filters,
                n: pixels.len(),
                k: patch.len(),
                batch: vec![[0; 3]],
                left: Side::new(
                    offsets(&[(filters, (input * taps) as isize)]),
                    offsets(&[(input * taps, 1)]),
                ),
                right: Side::new(pixels, patch),
                out_row: (oh * ow) as isize,
                out_column: 1,
                run: (oh * ow).max(1),
                out_run: (filters * oh * ow) as isize,
                dtype,
                spread: Some(of_input),
                swapped: true,
            },
            Direction::FilterGradient => PairShape {
                m: filters,
                n: patch.len(),
                k: pixels.len(),
                batch: vec![[0; 3]],
                left: Side::new(
                    offsets(&[(filters, (oh * ow) as isize)]),
                    offsets(&[(shape.batch, (filters * oh * ow) as isize), (oh * ow, 1)]),
                ),
                right: Side::new(patch, pixels),
                out_row: (input * taps) as isize,
                out_column: 1,
                run: (input * taps).max(1),
                out_run: 0,
                dtype,
                spread: Some(of_input),
                swapped: true,
            },
            Direction::InputGradient => {
                // The convolution of the output's gradient with turned filters, where no pixels are left out.
                let fits = |axis: usize| {
                    let reach = (shape.kernel[axis] - 1) * shape.dilation[axis];
                    shape.stride[axis] == 1 && shape.pad_low[axis] <= reach && shape.pad_high[axis] <= reach
                };
                if !(fits(0) && fits(1)) {
                    return None;
                }
                let reach = |axis: usize| (shape.kernel[axis] - 1) * shape.dilation[axis];
                let spread = Spread {
                    planes: shape.batch * filters,
                    plane: [oh, ow],
                    low: [0, 1].map(|axis| reach(axis) - shape.pad_low[axis]),
                    high: [0, 1].map(|axis| reach(axis) - shape.pad_high[axis]),
                };
                let [ih, iw] = shape.input;
                let [height, width] = spread.extents();
                let (plane, width) = ((height * width) as isize, width as isize);
                let pixels = offsets(&[(shape.batch, filters as isize * plane), (ih, width), (iw, 1)]);
                let patch = offsets(&[(filters, plane), (kh, reach_y * width), (kw, reach_x)]);
                // Filters turned: the tap that is read first is the last.
                let turned = offsets(&[(filters, (input * taps) as isize), (taps, -1)]);
                let turned = turned.into_iter().map(|offset| offset + taps as isize - 1).collect();
                PairShape {
                    m: input,
                    n: pixels.len(),
                    k: patch.len(),
                    batch: vec![[0; 3]],
                    left: Side::new(offsets(&[(input, taps as isize)]), turned),
                    right: Side::new(pixels, patch),
                    out_row: (ih * iw) as isize,
                    out_column: 1,
                    run: (ih * iw).max(1),
                    out_run: (input * ih * iw) as isize,
                    dtype,
                    spread: Some(spread),
                    swapped: true,
                }
            }
        };
        (m_n_k(&product) > 0).then_some(product)
    }

    /// Whether copying both sides takes less time than pairs save.
    pub(crate) fn pays(&self) -> bool {
        self.m >= LEAST_ROWS
            && self.n >= LEAST_COLUMNS
            && self.k >= LEAST_STEPS
            && m_n_k(self) >= LEAST_PRODUCTS
    }
}
