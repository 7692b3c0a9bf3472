//! Every algorithm, direction and instruction set against plain loops in `f64`.

use super::*;
use crate::memory::AlignedBuffer;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Numbers in -1..1, always the same ones.
fn numbers(length: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

fn naive(direction: Direction, shape: &ConvShape, a: &[f32], b: &[f32]) -> Vec<f64> {
    let [height, width] = shape.output();
    let length = match direction {
        Direction::Forward => shape.output_len(),
        Direction::InputGradient => shape.input_len(),
        Direction::FilterGradient => shape.filter_len(),
    };
    let mut out = vec![0.0; length];
    let (cg, kg) = (shape.group_inputs(), shape.group_outputs());
    for n in 0..shape.batch {
        for k in 0..shape.out_channels {
            for c in 0..cg {
                for r in 0..shape.kernel[0] {
                    for s in 0..shape.kernel[1] {
                        let f = ((k * cg + c) * shape.kernel[0] + r) * shape.kernel[1] + s;
                        for y in 0..height {
                            let iy =
                                (y * shape.stride[0] + r * shape.dilation[0]).wrapping_sub(shape.pad_low[0]);
                            if iy >= shape.input[0] {
                                continue;
                            }
                            for x in 0..width {
                                let ix = (x * shape.stride[1] + s * shape.dilation[1])
                                    .wrapping_sub(shape.pad_low[1]);
                                if ix >= shape.input[1] {
                                    continue;
                                }
                                let channel = k / kg * cg + c;
                                let i = ((n * shape.in_channels + channel) * shape.input[0] + iy)
                                    * shape.input[1]
                                    + ix;
                                let o = ((n * shape.out_channels + k) * height + y) * width + x;
                                match direction {
                                    Direction::Forward => out[o] += a[i] as f64 * b[f] as f64,
                                    Direction::InputGradient => out[i] += a[o] as f64 * b[f] as f64,
                                    Direction::FilterGradient => out[f] += a[i] as f64 * b[o] as f64,
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    out
}

fn operands(direction: Direction, shape: &ConvShape) -> (Vec<f32>, Vec<f32>) {
    let (a, b) = match direction {
        Direction::Forward => (shape.input_len(), shape.filter_len()),
        Direction::InputGradient => (shape.output_len(), shape.filter_len()),
        Direction::FilterGradient => (shape.input_len(), shape.output_len()),
    };
    (numbers(a, 1), numbers(b, 2))
}

/// Runs one case twice, in dirty memory, and compares.
fn check(algorithm: Algorithm, direction: Direction, shape: &ConvShape, pools: &[Pool]) {
    if !supports(algorithm, direction, shape) {
        return;
    }
    let (a, b) = operands(direction, shape);
    let expected = naive(direction, shape, &a, &b);
    let largest = expected.iter().fold(1e-30, |largest: f64, value| largest.max(value.abs()));
    let bound = match algorithm {
        Algorithm::Winograd => 3e-5,
        _ => 2e-6,
    };
    for level in Level::available() {
        for pool in pools {
            let mut scratch =
                AlignedBuffer::new(scratch_len(algorithm, direction, shape, level, pool.threads()));
            let mut results = [vec![f32::NAN; expected.len()], vec![f32::INFINITY; expected.len()]];
            for (result, dirt) in results.iter_mut().zip([f32::NAN, 1e30]) {
                scratch.fill(dirt);
                run(algorithm, direction, shape, &a, &b, result, &mut scratch, pool, level);
            }
            let case =
                format!("{algorithm:?} {direction:?} {} {} threads {shape:?}", level.name(), pool.threads());
            for (i, (&value, &expected)) in results[0].iter().zip(&expected).enumerate() {
                let error = (value as f64 - expected).abs() / largest;
                assert!(error <= bound, "{case}: element {i} is {value}, not {expected}, error {error:.1e}");
            }
            let same = results[0].iter().zip(&results[1]).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "{case}: two runs differ");
            let prepared = Prepared::new(algorithm, direction, shape, level, pool.threads());
            if prepared.tells_parts() {
                check_parts(&prepared, [&a, &b], &results[0], pool, &case);
            }
        }
    }
}

/// Runs a case with packed filters, if it packs any, which must give the same bits, and in parts that cover the result
/// once.
fn check_parts(prepared: &Prepared, [a, b]: [&[f32]; 2], expected: &[f32], pool: &Pool, case: &str) {
    let mut packed = AlignedBuffer::new(prepared.packed_len());
    packed.fill(f32::NAN);
    prepared.pack(b, &mut packed, pool);
    let mut scratch = AlignedBuffer::new(prepared.scratch_len());
    scratch.fill(f32::NAN);
    let mut out = vec![f32::NAN; expected.len()];
    let told: Vec<AtomicUsize> = out.iter().map(|_| AtomicUsize::new(0)).collect();
    let finish = |part: Part| {
        for element in part.ranges().flatten() {
            told[element].fetch_add(1, Ordering::Relaxed);
        }
    };
    let filters = if packed.is_empty() { Filters::Plain(b) } else { Filters::Packed(&packed) };
    let ending = Ending { finish: Some(&finish), ..Ending::default() };
    prepared.run(a, filters, &mut out, &mut scratch, pool, ending);
    let same = out.iter().zip(expected).all(|(a, b)| a.to_bits() == b.to_bits());
    assert!(same, "{case}: packed filters give other numbers");
    let once = told.iter().all(|count| count.load(Ordering::Relaxed) == 1);
    assert!(once, "{case}: parts do not cover the result once");
    if !prepared.changes_channels() {
        return;
    }
    let numbers = |seed: usize| -> Vec<f32> {
        (0..prepared.shape().out_channels).map(|channel| ((channel * seed) % 11) as f32 - 5.0).collect()
    };
    let [mean, scale, shift] = [3, 5, 7].map(numbers);
    let plane = prepared.shape().output_plane();
    for (number, relu) in [(0, false), (1, true), (2, true), (3, false)] {
        // One of them is missing, or none.
        let of = |place: usize, numbers: &[f32]| (number != place).then_some(numbers.as_ptr());
        let each = Channelwise { mean: of(1, &mean), scale: of(2, &scale), shift: of(3, &shift), relu };
        let mut changed = vec![f32::NAN; expected.len()];
        let ending = Ending { each: Some(each), finish: None };
        prepared.run(a, filters, &mut changed, &mut scratch, pool, ending);
        for (index, (&found, &plain)) in changed.iter().zip(expected).enumerate() {
            let channel = index / plane % mean.len();
            let take = |place: usize, numbers: &[f32], without: f32| {
                if number == place { without } else { numbers[channel] }
            };
            let mut wanted = (plain - take(1, &mean, 0.0)) * take(2, &scale, 1.0) + take(3, &shift, -0.0);
            if relu && wanted <= 0.0 {
                wanted = 0.0;
            }
            assert_eq!(found.to_bits(), wanted.to_bits(), "{case}: element {index} of {each:?}");
        }
    }
}

fn pools() -> Vec<Pool> {
    [1, 2, 3].map(Pool::new).into()
}

/// Sizes that divide by nothing, every kind of padding, stride, dilation and group.
fn odd_shapes() -> Vec<ConvShape> {
    let plain = ConvShape::square(2, 3, 5, 7, 3, 1);
    vec![
        plain,
        ConvShape { input: [9, 6], pad_low: [0, 2], pad_high: [1, 0], ..plain },
        ConvShape { batch: 19, input: [5, 13], ..plain },
        ConvShape { stride: [2, 2], ..plain },
        ConvShape { stride: [2, 2], input: [8, 10], in_channels: 17, out_channels: 33, ..plain },
        ConvShape { stride: [2, 1], dilation: [1, 2], input: [11, 12], ..plain },
        ConvShape { stride: [3, 2], dilation: [2, 3], input: [17, 16], pad_low: [3, 1], ..plain },
        ConvShape {
            kernel: [1, 1],
            pad_low: [0; 2],
            pad_high: [0; 2],
            in_channels: 20,
            out_channels: 18,
            ..plain
        },
        ConvShape { kernel: [1, 1], stride: [2, 2], pad_low: [0; 2], pad_high: [0; 2], ..plain },
        ConvShape {
            kernel: [1, 1],
            stride: [1, 3],
            pad_low: [0; 2],
            pad_high: [0; 2],
            groups: 3,
            in_channels: 21,
            out_channels: 45,
            ..plain
        },
        ConvShape {
            kernel: [1, 1],
            pad_low: [0; 2],
            pad_high: [0; 2],
            groups: 2,
            in_channels: 70,
            out_channels: 6,
            ..plain
        },
        ConvShape { kernel: [1, 1], stride: [3, 3], pad_low: [1; 2], pad_high: [2; 2], ..plain },
        ConvShape { kernel: [5, 5], pad_low: [2; 2], pad_high: [2; 2], batch: 18, in_channels: 1, ..plain },
        ConvShape { kernel: [5, 5], pad_low: [0; 2], pad_high: [0; 2], batch: 35, input: [14, 14], ..plain },
        ConvShape { kernel: [2, 4], pad_low: [1, 3], pad_high: [0, 0], batch: 17, ..plain },
        ConvShape {
            kernel: [7, 7],
            stride: [2, 2],
            pad_low: [3; 2],
            pad_high: [3; 2],
            input: [20, 19],
            ..plain
        },
        ConvShape { kernel: [3, 9], pad_low: [5, 8], pad_high: [7, 0], input: [4, 5], ..plain },
        ConvShape { groups: 2, in_channels: 6, out_channels: 4, ..plain },
        ConvShape { groups: 6, in_channels: 6, out_channels: 6, stride: [2, 1], ..plain },
        ConvShape { groups: 19, in_channels: 19, out_channels: 38, input: [9, 17], ..plain },
        ConvShape { groups: 33, in_channels: 33, out_channels: 33, stride: [2, 2], input: [4, 4], ..plain },
        ConvShape {
            groups: 5,
            in_channels: 5,
            out_channels: 15,
            kernel: [5, 7],
            stride: [2, 3],
            dilation: [2, 1],
            pad_low: [4, 0],
            pad_high: [1, 5],
            input: [13, 20],
            ..plain
        },
        ConvShape { groups: 3, out_channels: 3, kernel: [1, 2], stride: [3, 4], input: [11, 14], ..plain },
        ConvShape { input: [1, 1], ..plain },
        ConvShape { input: [4, 4], in_channels: 33, out_channels: 70, batch: 3, ..plain },
        ConvShape { input: [3, 40], in_channels: 16, out_channels: 32, ..plain },
        ConvShape { input: [33, 18], in_channels: 8, out_channels: 16, ..plain },
        ConvShape { input: [1, 1], kernel: [3, 3], pad_low: [0; 2], pad_high: [0; 2], ..plain },
    ]
}

fn check_odd_shapes(algorithm: Algorithm) {
    let pools = pools();
    for shape in odd_shapes() {
        for direction in Direction::ALL {
            check(algorithm, direction, &shape, &pools);
        }
    }
}

#[test]
fn general_at_odd_shapes() {
    check_odd_shapes(Algorithm::General);
}

#[test]
fn direct_at_odd_shapes() {
    check_odd_shapes(Algorithm::Direct);
}

#[test]
fn lanes_at_odd_shapes() {
    check_odd_shapes(Algorithm::Lanes);
}

#[test]
fn columns_at_odd_shapes() {
    check_odd_shapes(Algorithm::Columns);
}

#[test]
fn columns_of_more_images_than_fit_at_once() {
    let shape = ConvShape { groups: 2, ..ConvShape::square(3, 8, 2, 64, 7, 3) };
    let of_one = 8 * 49 * 64 * 64;
    assert_eq!(choose::COLUMN_ELEMENTS / of_one, 2, "two images, and one more");
    for direction in Direction::ALL {
        check(Algorithm::Columns, direction, &shape, &[Pool::new(2)]);
    }
}

#[test]
fn depthwise_at_odd_shapes() {
    check_odd_shapes(Algorithm::Depthwise);
}

#[test]
fn depthwise_in_several_bands() {
    let plain = ConvShape { groups: 20, ..ConvShape::square(1, 20, 40, 90, 3, 1) };
    for shape in [
        plain,
        ConvShape { stride: [2, 2], pad_low: [0; 2], input: [181, 100], ..plain },
        ConvShape { stride: [3, 1], kernel: [7, 2], dilation: [2, 3], input: [203, 50], ..plain },
    ] {
        assert!(shape.padded()[0] * shape.padded()[1] * 16 > choose::DEPTHWISE_BAND_ELEMENTS);
        for direction in Direction::ALL {
            check(Algorithm::Depthwise, direction, &shape, &[Pool::new(2)]);
        }
    }
}

#[test]
fn pointwise_at_odd_shapes() {
    check_odd_shapes(Algorithm::Pointwise);
}

#[test]
fn winograd_at_odd_shapes() {
    check_odd_shapes(Algorithm::Winograd);
}

/// The sizes that training meets, with the batch cut down; these are the ones whose fast paths are taken.
#[test]
fn chosen_algorithms_at_real_shapes() {
    let pool = [Pool::new(2)];
    for shape in [
        ConvShape::square(32, 1, 6, 28, 5, 2),
        ConvShape::square(32, 6, 16, 14, 5, 0),
        ConvShape::square(32, 3, 8, 32, 3, 1),
        ConvShape::square(2, 3, 64, 32, 3, 1),
        ConvShape::square(2, 64, 64, 32, 3, 1),
        ConvShape { stride: [2, 2], ..ConvShape::square(2, 64, 128, 32, 3, 1) },
        ConvShape { stride: [2, 2], ..ConvShape::square(2, 64, 128, 32, 1, 0) },
        ConvShape::square(8, 128, 160, 8, 3, 1),
        ConvShape::square(1, 96, 70, 14, 1, 0),
        ConvShape::square(2, 16, 32, 64, 3, 1),
        ConvShape::square(3, 200, 216, 6, 3, 1),
        ConvShape { groups: 32, ..ConvShape::square(2, 32, 32, 32, 3, 1) },
        ConvShape { groups: 64, stride: [2, 2], ..ConvShape::square(2, 64, 64, 16, 5, 2) },
        ConvShape { groups: 48, ..ConvShape::square(3, 48, 48, 16, 7, 3) },
        ConvShape { groups: 80, ..ConvShape::square(3, 80, 80, 4, 3, 1) },
    ] {
        for direction in Direction::ALL {
            let level = Level::detect();
            check(choose(&shape, direction, level, 2), direction, &shape, &pool);
        }
    }
}

#[test]
fn empty_operands_give_zeros() {
    let pool = Pool::new(2);
    let shape = ConvShape { batch: 0, ..ConvShape::square(0, 2, 2, 4, 3, 1) };
    let mut out = vec![1.0; shape.filter_len()];
    let (direction, level) = (Direction::FilterGradient, Level::detect());
    run(Algorithm::General, direction, &shape, &[], &[], &mut out, &mut [], &pool, level);
    assert!(out.iter().all(|&value| value == 0.0));
}
