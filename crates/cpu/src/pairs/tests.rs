//! Products of pairs against sums written out, for every orientation and in all directions of convolution.

use super::pack::{Target, pack_panel};
use super::shape::{PairShape, Side};
use super::{PairProduct, Pairs};
use crate::conv::{ConvShape, Direction};
use crate::device::Shared;
use crate::matmul::MatmulShape;
use crate::simd::Level;
use dropforge_ir::{BF16, DType};

/// Numbers that bf16 holds, some of them negative.
fn numbers(count: usize, seed: usize) -> Vec<u16> {
    (0..count).map(|i| BF16::from_f32(((i * 37 + seed * 11) % 61) as f32 / 16.0 - 1.8).to_bits()).collect()
}

fn wide(bits: u16) -> f64 {
    f64::from(BF16::from_bits(bits).to_f32())
}

fn kinds() -> Vec<Pairs> {
    Pairs::available()
}

/// The result of a product as f32, computed by `pairs` on some threads.
fn run(
    shape: &PairShape,
    [left, right]: [&[u16]; 2],
    count: usize,
    pairs: Pairs,
    threads: usize,
) -> Vec<f32> {
    let shared = Shared::new(threads, Level::detect());
    let product = PairProduct::new(shape.clone(), pairs, &shared);
    let mut scratch = vec![f32::NAN; product.scratch()];
    let mut out = vec![f32::NAN; count];
    // SAFETY: the shapes below reach what was made for them.
    unsafe {
        product.run([left.as_ptr(), right.as_ptr()], out.as_mut_ptr().cast(), &mut scratch, &shared.pool);
    }
    if shape.dtype == DType::F32 {
        return out;
    }
    // SAFETY: the result takes the first half of the memory.
    let halves = unsafe { std::slice::from_raw_parts(out.as_ptr().cast::<u16>(), count) };
    halves.iter().map(|&bits| BF16::from_bits(bits).to_f32()).collect()
}

fn assert_near(found: &[f32], expected: &[f64], dtype: DType, what: &str) {
    let largest = expected.iter().fold(1.0f64, |largest, x| largest.max(x.abs()));
    let tolerance = if dtype == DType::F32 { 1e-5 } else { 1.0 / 256.0 };
    for (index, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let close = (f64::from(found) - expected).abs() <= tolerance * largest;
        assert!(close, "{what}: element {index} is {found}, not {expected}");
    }
}

#[test]
fn matrices_in_all_orientations() {
    for (m, n, k) in [(9, 40, 33), (64, 32, 700), (15, 300, 64), (300, 17, 16)] {
        for orientation in 0..8 {
            let mut shape = MatmulShape::contiguous(m, n, k);
            if orientation & 1 != 0 {
                (shape.lhs.row, shape.lhs.column) = (1, m as isize);
            }
            if orientation & 2 != 0 {
                (shape.rhs.row, shape.rhs.column) = (1, k as isize);
            }
            if orientation & 4 != 0 {
                (shape.out.row, shape.out.column) = (1, m as isize);
            }
            let (left, right) = (numbers(m * k, 1), numbers(k * n, 2));
            let mut expected = vec![0.0; m * n];
            for i in 0..m {
                for j in 0..n {
                    let at = |strides: &crate::matmul::MatrixStrides, row: usize, column: usize| {
                        (row as isize * strides.row + column as isize * strides.column) as usize
                    };
                    let sum: f64 = (0..k)
                        .map(|l| wide(left[at(&shape.lhs, i, l)]) * wide(right[at(&shape.rhs, l, j)]))
                        .sum();
                    expected[at(&shape.out, i, j)] = sum;
                }
            }
            for dtype in [DType::F32, DType::BF16] {
                let product = PairShape::of_matmul(shape.clone(), [0, 0], dtype).unwrap();
                for (pairs, threads) in kinds().into_iter().flat_map(|pairs| [(pairs, 1), (pairs, 3)]) {
                    let found = run(&product, [&left, &right], m * n, pairs, threads);
                    assert_near(&found, &expected, dtype, &format!("{pairs:?} {shape:?}"));
                }
            }
        }
    }
}

/// A convolution in a direction, written out; operands in the order of the operation.
fn written_out(shape: &ConvShape, direction: Direction, a: &[u16], b: &[u16]) -> Vec<f64> {
    let ([ih, iw], [oh, ow], [kh, kw]) = (shape.input, shape.output(), shape.kernel);
    let (channels, filters) = (shape.in_channels, shape.out_channels);
    let count = match direction {
        Direction::Forward => shape.output_len(),
        Direction::InputGradient => shape.input_len(),
        Direction::FilterGradient => shape.filter_len(),
    };
    let mut out = vec![0.0; count];
    for image in 0..shape.batch {
        for (filter, channel) in
            (0..filters).flat_map(|filter| (0..channels).map(move |channel| (filter, channel)))
        {
            for (y, x) in (0..oh).flat_map(|y| (0..ow).map(move |x| (y, x))) {
                for (ky, kx) in (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx))) {
                    let row = (y * shape.stride[0] + ky * shape.dilation[0]).checked_sub(shape.pad_low[0]);
                    let column = (x * shape.stride[1] + kx * shape.dilation[1]).checked_sub(shape.pad_low[1]);
                    let (Some(row), Some(column)) = (row, column) else { continue };
                    if row >= ih || column >= iw {
                        continue;
                    }
                    let input = ((image * channels + channel) * ih + row) * iw + column;
                    let output = ((image * filters + filter) * oh + y) * ow + x;
                    let tap = ((filter * channels + channel) * kh + ky) * kw + kx;
                    match direction {
                        Direction::Forward => out[output] += wide(a[input]) * wide(b[tap]),
                        Direction::InputGradient => out[input] += wide(a[output]) * wide(b[tap]),
                        Direction::FilterGradient => out[tap] += wide(a[input]) * wide(b[output]),
                    }
                }
            }
        }
    }
    out
}

#[test]
fn convolutions_in_all_directions() {
    let base = ConvShape {
        batch: 3,
        in_channels: 16,
        out_channels: 10,
        groups: 1,
        input: [6, 5],
        kernel: [3, 3],
        stride: [1, 1],
        pad_low: [1, 1],
        pad_high: [1, 1],
        dilation: [1, 1],
    };
    let shapes = [
        base,
        ConvShape { kernel: [1, 1], pad_low: [0, 0], pad_high: [0, 0], in_channels: 33, ..base },
        ConvShape { stride: [2, 2], input: [9, 8], ..base },
        ConvShape { dilation: [2, 1], pad_low: [2, 0], pad_high: [1, 2], input: [7, 9], ..base },
    ];
    for shape in shapes {
        for direction in [Direction::Forward, Direction::InputGradient, Direction::FilterGradient] {
            let (input, filter, output) = (shape.input_len(), shape.filter_len(), shape.output_len());
            let [a, b, count] = match direction {
                Direction::Forward => [input, filter, output],
                Direction::InputGradient => [output, filter, input],
                Direction::FilterGradient => [input, output, filter],
            };
            let (a, b) = (numbers(a, 3), numbers(b, 4));
            let expected = written_out(&shape, direction, &a, &b);
            for dtype in [DType::F32, DType::BF16] {
                let Some(product) = PairShape::of_convolution(&shape, direction, dtype) else {
                    assert!(direction == Direction::InputGradient && shape.stride != [1, 1], "{shape:?}");
                    continue;
                };
                for (pairs, threads) in kinds().into_iter().flat_map(|pairs| [(pairs, 1), (pairs, 2)]) {
                    let found = run(&product, [&a, &b], count, pairs, threads);
                    assert_near(&found, &expected, dtype, &format!("{pairs:?} {direction:?} {shape:?}"));
                }
            }
        }
    }
}

/// The instruction and the tile that stands for it round alike.
#[test]
fn instructions_give_the_bits_of_the_portable_tile() {
    let by_vectors = Pairs::available().into_iter().find(|pairs| pairs.name() == "AVX-512 BF16");
    let Some(pairs) = by_vectors else { return };
    let product = PairShape::of_matmul(MatmulShape::contiguous(64, 96, 1030), [0, 0], DType::F32).unwrap();
    let (left, right) = (numbers(64 * 1030, 5), numbers(1030 * 96, 6));
    let [fast, portable] =
        [pairs, Pairs::Portable].map(|pairs| run(&product, [&left, &right], 64 * 96, pairs, 2));
    assert_eq!(fast, portable);
}

/// Both forms of panels hold what the offsets say, and zeros elsewhere.
#[test]
fn panels_hold_pairs_and_zeros() {
    let source = numbers(4000, 7);
    let straight = |count: isize, stride: isize| (0..count).map(|i| i * stride).collect::<Vec<_>>();
    let broken = |count: isize| (0..count).map(|i| i + i / 7 * 3).collect::<Vec<_>>();
    let sides = [
        Side::new(straight(13, 90), straight(71, 1)),
        Side::new(straight(13, 90), broken(71)),
        Side::new(broken(32), straight(40, 50)),
        Side::new(straight(5, 3), straight(64, 20)),
        Side::new(straight(2, 3), straight(1, 1)),
    ];
    for side in sides {
        for by_rows in [false, true] {
            let (width, steps) = (32, side.inner.len().div_ceil(2).next_multiple_of(16) + 16);
            let mut panel = vec![u32::MAX; width * steps];
            let target = Target { to: panel.as_mut_ptr(), width, steps, by_rows };
            let positions = 1..side.across.len();
            // SAFETY: the offsets stay below 4000, and the panel has room.
            unsafe { pack_panel(Level::detect(), source.as_ptr(), &side, positions.clone(), target) };
            for (step, position) in
                (0..steps).flat_map(|step| (0..width).map(move |position| (step, position)))
            {
                let element =
                    |step: usize| match (side.across.get(positions.start + position), side.inner.get(step)) {
                        (Some(across), Some(inner)) => u32::from(source[(across + inner) as usize]),
                        _ => 0,
                    };
                let at = match by_rows {
                    true => (step / 16 * width + position) * 16 + step % 16,
                    false => step * width + position,
                };
                let pair = element(2 * step) | element(2 * step + 1) << 16;
                assert_eq!(panel[at], pair, "step {step} of {position}, {by_rows}, {side:?}");
            }
        }
    }
}
