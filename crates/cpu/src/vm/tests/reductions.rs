//! Every reduction, over short, long, packed and strided columns.

use super::build::{Builder, affine, steps};
use super::{Buffer, check_instances};
use dropforge_ir::DType;
use dropforge_plan::kernel::{Affine, Reduction};

const KINDS: [Reduction; 7] = [
    Reduction::Sum,
    Reduction::Max,
    Reduction::Min,
    Reduction::Product,
    Reduction::ArgMax,
    Reduction::LogSumExp,
    Reduction::MeanVariance,
];

fn numbers(count: usize, special: &[f32]) -> Vec<f32> {
    let number = |i: usize| ((i as u32).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0;
    let mut x: Vec<f32> = (0..count).map(number).collect();
    for (i, &special) in special.iter().enumerate() {
        if count > 3 {
            x[(i * 37 + 5) % count] = special;
        }
    }
    x
}

/// A kernel that stores one reduction of its first operand.
fn reduction(
    kind: Reduction,
    dtype: DType,
    row_axes: &[usize],
    columns: &[usize],
    index: &Affine,
) -> Builder {
    let targets = if kind == Reduction::MeanVariance { 2 } else { 1 };
    let mut builder = Builder::new(row_axes.len(), columns, 1 + targets);
    let x = builder.load(0, dtype, index.clone());
    let results = builder.reduce(kind, x);
    builder.rows();
    let stored = if kind == Reduction::ArgMax { DType::I32 } else { dtype };
    for (i, result) in results.into_iter().enumerate() {
        builder.store(1 + i, stored, affine(0, &steps(row_axes), &vec![0; columns.len()]), result);
    }
    builder
}

fn check_reduction(kind: Reduction, x: Buffer, rows: &[usize], columns: &[usize], index: &Affine) {
    let builder = reduction(kind, x.dtype, rows, columns, index);
    let count = rows.iter().product();
    let dtype = if kind == Reduction::ArgMax { DType::I32 } else { x.dtype };
    let mut buffers = vec![x];
    buffers.resize(builder.kernel.written.len(), Buffer::zeros(dtype, count));
    let places = (0..buffers.len()).collect();
    check_instances(&builder.kernel, &[builder.domain(rows)], &[places], &buffers, 2e-5);
}

#[test]
fn floats_in_every_layout() {
    let specials: [&[f32]; 4] =
        [&[], &[f32::NAN], &[f32::INFINITY, f32::NEG_INFINITY], &[f32::NEG_INFINITY, 0.0, -0.0]];
    for kind in KINDS {
        for (rows, columns) in
            [(1, 1), (3, 1), (1, 7), (5, 10), (37, 3), (128, 10), (2, 300), (3, 2050), (1, 5000), (600, 2)]
        {
            for special in specials {
                // A product may be 0 before it meets an infinity.
                if kind == Reduction::Product && special.contains(&f32::NEG_INFINITY) {
                    continue;
                }
                let x = Buffer::floats(&numbers(rows * columns, special));
                check_reduction(kind, x.clone(), &[rows], &[columns], &affine(0, &[columns as i64], &[1]));
                // Columns along rows in memory.
                check_reduction(kind, x, &[rows], &[columns], &affine(0, &[1], &[rows as i64]));
            }
        }
        let count = 8 * 5 * 16;
        let x = Buffer::floats(&numbers(count, &[]));
        // Channels of [8, 5, 16], and no row axes at all.
        check_reduction(kind, x.clone(), &[5], &[8, 16], &affine(0, &[16], &[80, 1]));
        check_reduction(kind, x.clone(), &[], &[count], &affine(0, &[], &[1]));
        check_reduction(kind, x.clone(), &[8, 16], &[5], &affine(0, &[80, 1], &[16]));
        // The same value along the columns.
        check_reduction(kind, x, &[5], &[3], &affine(0, &[1], &[0]));
    }
}

#[test]
fn infinities_only() {
    for kind in KINDS {
        for value in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
            let x = Buffer::floats(&[value; 60]);
            check_reduction(kind, x.clone(), &[3], &[20], &affine(0, &[20], &[1]));
        }
    }
}

#[test]
fn nothing_to_reduce() {
    for kind in KINDS {
        if kind != Reduction::ArgMax {
            check_reduction(kind, Buffer::floats(&[]), &[4], &[0], &affine(0, &[0], &[1]));
            check_reduction(kind, Buffer::floats(&[]), &[4], &[0], &affine(1 << 30, &[0], &[0]));
        }
        check_reduction(kind, Buffer::floats(&[]), &[0], &[4], &affine(0, &[4], &[1]));
    }
}

#[test]
fn integers() {
    for kind in [Reduction::Sum, Reduction::Max, Reduction::Min] {
        for (rows, columns) in [(1, 1), (5, 10), (3, 2050), (70, 3)] {
            let number = |i: usize| (i as u32).wrapping_mul(2_654_435_761) as i32 / 8192;
            let x = Buffer::ints(&(0..rows * columns).map(number).collect::<Vec<_>>());
            check_reduction(kind, x.clone(), &[rows], &[columns], &affine(0, &[columns as i64], &[1]));
            check_reduction(kind, x, &[rows], &[columns], &affine(0, &[1], &[rows as i64]));
        }
    }
}

#[test]
fn sums_and_variances_keep_their_accuracy() {
    // A million numbers around 1000: a plain sum in f32 would be off by per cents in the variance.
    let x: Vec<f32> = numbers(1_000_000, &[]).iter().map(|x| 1000.0 + x).collect();
    for kind in [Reduction::Sum, Reduction::MeanVariance] {
        for (rows, columns) in [(1, 1_000_000), (10, 100_000)] {
            let index = affine(0, &[columns as i64], &[1]);
            let builder = reduction(kind, DType::F32, &[rows], &[columns], &index);
            let mut buffers = vec![Buffer::floats(&x)];
            buffers.resize(builder.kernel.written.len(), Buffer::zeros(DType::F32, rows));
            let places = (0..buffers.len()).collect();
            check_instances(&builder.kernel, &[builder.domain(&[rows])], &[places], &buffers, 1e-3);
        }
    }
}
