//! Every instruction.

use super::build::{Builder, affine, register_type, steps};
use super::{Buffer, check};
use dropforge_ir::{BinaryKind, CompareKind, DType, UnaryKind};

const LENGTHS: [usize; 5] = [0, 1, 17, 257, 1100];

fn floats(count: usize, seed: u32) -> Vec<f32> {
    let special = [0.0, -0.0, 1.0, -1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 2.5, -3.5, 1e-40];
    let number = |i: u32| {
        let x = (i.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32;
        8.0 * (x - 0.5)
    };
    let at = |i: usize| {
        if i % 7 == 3 { special[(i / 7 + seed as usize) % special.len()] } else { number(i as u32) }
    };
    (0..count).map(at).collect()
}

fn words(count: usize, seed: u32) -> Vec<u32> {
    let special = [0, 1, 2, 31, 32, 33, u32::MAX, 1 << 31, (1 << 31) - 1, 255, 256];
    let number = |i: u32| i.wrapping_add(seed).wrapping_mul(2_654_435_761);
    let at = |i: usize| {
        if i % 2 == 1 { special[(i / 2 + seed as usize) % special.len()] } else { number(i as u32) }
    };
    (0..count).map(at).collect()
}

fn buffer(dtype: DType, count: usize, seed: u32) -> Buffer {
    let words = words(count, seed);
    match dtype {
        DType::F32 => Buffer::floats(&floats(count, seed)),
        DType::F16 | DType::BF16 => Buffer::halves(dtype, &floats(count, seed)),
        DType::I32 => Buffer::ints(&words.iter().map(|&word| word as i32).collect::<Vec<_>>()),
        DType::U32 => Buffer::words(&words),
        DType::U8 => Buffer::bytes(dtype, &words.iter().map(|&word| (word >> 8) as u8).collect::<Vec<_>>()),
        DType::Bool => {
            Buffer::bytes(dtype, &words.iter().map(|&word| (word >> 9) as u8 & 1).collect::<Vec<_>>())
        }
    }
}

#[test]
fn unary() {
    for &kind in UnaryKind::ALL {
        let mut dtypes = vec![if kind == UnaryKind::Not { DType::Bool } else { DType::F32 }];
        if matches!(kind, UnaryKind::Negate | UnaryKind::Absolute | UnaryKind::Sign) {
            dtypes.push(DType::I32);
        }
        for dtype in dtypes {
            for count in LENGTHS {
                let mut builder = Builder::new(1, &[], 2);
                let x = builder.load(0, dtype, affine(0, &[1], &[]));
                let y = builder.unary(kind, x);
                builder.store(1, dtype, affine(0, &[1], &[]), y);
                check(&builder, &[count], &[buffer(dtype, count, 1), Buffer::zeros(dtype, count)]);
            }
        }
    }
}

#[test]
fn binary_with_blocks_and_single_values() {
    for &kind in BinaryKind::ALL {
        let dtypes: &[DType] = match kind {
            BinaryKind::Power => &[DType::F32],
            BinaryKind::And | BinaryKind::Or | BinaryKind::Xor => &[DType::Bool, DType::I32, DType::U32],
            BinaryKind::ShiftLeft | BinaryKind::ShiftRight => &[DType::U32],
            _ => &[DType::F32, DType::I32, DType::U32],
        };
        for &dtype in dtypes {
            for (a_step, b_step) in [(1, 1), (0, 1), (1, 0), (0, 0), (2, 3)] {
                for count in [1, 300] {
                    let mut builder = Builder::new(1, &[], 3);
                    let a = builder.load(0, dtype, affine(3, &[a_step], &[]));
                    let b = builder.load(1, dtype, affine(2, &[b_step], &[]));
                    let y = builder.binary(kind, a, b);
                    builder.store(2, dtype, affine(0, &[1], &[]), y);
                    let (a, b) = (buffer(dtype, 3 * count + 4, 1), buffer(dtype, 3 * count + 4, 5));
                    check(&builder, &[count], &[a, b, Buffer::zeros(dtype, count)]);
                }
            }
        }
    }
}

#[test]
fn compare_and_select() {
    for &kind in CompareKind::ALL {
        for dtype in [DType::F32, DType::I32, DType::U32, DType::Bool] {
            for (a_step, b_step) in [(1, 1), (0, 1), (1, 0), (0, 0)] {
                let count = 133;
                let mut builder = Builder::new(1, &[], 4);
                let a = builder.load(0, dtype, affine(3, &[a_step], &[]));
                let b = builder.load(1, dtype, affine(2, &[b_step], &[]));
                let truth = builder.compare(kind, a, b);
                let y = builder.select(truth, b, a);
                builder.store(2, DType::Bool, affine(0, &[1], &[]), truth);
                builder.store(3, dtype, affine(0, &[1], &[]), y);
                let (a, b) = (buffer(dtype, count + 4, 1), buffer(dtype, count + 4, 5));
                let results = [Buffer::zeros(DType::Bool, count), Buffer::zeros(dtype, count)];
                check(&builder, &[count], &[&[a, b], &results[..]].concat());
            }
        }
    }
}

#[test]
fn casts() {
    for from in DType::ALL {
        for into in DType::ALL {
            let count = 333;
            let mut builder = Builder::new(1, &[], 2);
            let mut x = builder.load(0, from, affine(0, &[1], &[]));
            let mut wide = register_type(from);
            if from == DType::U8 {
                wide = from;
            }
            if into.is_half() && wide != DType::F32 {
                x = builder.cast(wide, DType::F32, x);
                wide = DType::F32;
            }
            let y = builder.cast(wide, into, x);
            builder.store(1, into, affine(0, &[1], &[]), y);
            let mut x = buffer(from, count, 1);
            if from == DType::F32 {
                let mut numbers = floats(count, 1);
                numbers[10..20].copy_from_slice(&[
                    1e10,
                    -1e10,
                    2.147_483_6e9,
                    4.294_967e9,
                    255.5,
                    256.0,
                    300.0,
                    -0.5,
                    3e9,
                    -3e9,
                ]);
                x = Buffer::floats(&numbers);
            }
            check(&builder, &[count], &[x, Buffer::zeros(into, count)]);
        }
    }
}

#[test]
fn products_merge_into_sums() {
    let order = [[0, 1, 2], [1, 0, 2], [2, 1, 0]];
    for kind in [BinaryKind::Add, BinaryKind::Subtract] {
        for [x, y, z] in order {
            for swapped in [false, true] {
                for step in [[1, 1, 1], [0, 1, 1], [1, 0, 0], [0, 0, 1], [1, 1, 0]] {
                    let count = 111;
                    let mut builder = Builder::new(1, &[], 4);
                    let loaded: Vec<_> =
                        (0..3).map(|i| builder.load(i, DType::F32, affine(1, &[step[i]], &[]))).collect();
                    let product = builder.binary(BinaryKind::Multiply, loaded[x], loaded[y]);
                    let (a, b) = if swapped { (loaded[z], product) } else { (product, loaded[z]) };
                    let sum = builder.binary(kind, a, b);
                    builder.store(3, DType::F32, affine(0, &[1], &[]), sum);
                    let whole = |seed: usize| {
                        Buffer::floats(
                            &(0..=count).map(|i| ((i * seed) % 13) as f32 - 6.0).collect::<Vec<_>>(),
                        )
                    };
                    let buffers = [whole(1), whole(3), whole(5), Buffer::zeros(DType::F32, count)];
                    check(&builder, &[count], &buffers);
                }
            }
        }
    }
}

#[test]
fn positions_and_random_words() {
    for extents in [vec![7], vec![3, 5], vec![5, 40, 3], vec![2, 300]] {
        let count = extents.iter().product();
        let rank = extents.len();
        let whole = affine(0, &steps(&extents), &[]);
        let mut odd = whole.clone();
        odd.offset = 11;
        odd.rows[rank - 1] = 3;
        for index in [whole.clone(), odd, affine(5, &vec![0; rank], &[])] {
            let mut builder = Builder::new(rank, &[], 4);
            let x = builder.index(index.clone());
            let y = builder.random(0, 1, 9, index);
            builder.store(2, DType::I32, whole.clone(), x);
            builder.store(3, DType::U32, whole.clone(), y);
            let results = [Buffer::zeros(DType::I32, count), Buffer::zeros(DType::U32, count)];
            let buffers = [&[Buffer::words(&[3, 4]), Buffer::words(&[17])], &results[..]].concat();
            check(&builder, &extents, &buffers);
        }
    }
}

#[test]
fn every_stride_of_bytes_and_words() {
    // A transpose, a broadcast along the middle, a slice, and runs shorter than a vector.
    for extents in [vec![5, 7, 3], vec![2, 3, 16], vec![3, 2, 260], vec![1, 9, 1]] {
        let count: usize = extents.iter().product();
        let [a, b, c] = [extents[0] as i64, extents[1] as i64, extents[2] as i64];
        let whole = affine(0, &steps(&extents), &[]);
        let walks = [
            affine(0, &[1, a, a * b], &[]),
            affine(0, &[c, 0, 1], &[]),
            affine(0, &[0, 1, 0], &[]),
            affine(2 * count as i64 - 1, &[-2 * b * c, -2 * c, -2], &[]),
        ];
        for walk in walks {
            for dtype in DType::ALL {
                let mut builder = Builder::new(3, &[], 2);
                let x = builder.load(0, dtype, walk.clone());
                builder.store(1, dtype, whole.clone(), x);
                check(&builder, &extents, &[buffer(dtype, 2 * count, 1), Buffer::zeros(dtype, count)]);
                let mut builder = Builder::new(3, &[], 2);
                let x = builder.load(0, dtype, whole.clone());
                builder.store(1, dtype, affine(0, &[1, a, a * b], &[]), x);
                check(&builder, &extents, &[buffer(dtype, 2 * count, 1), Buffer::zeros(dtype, count)]);
            }
        }
    }
}
