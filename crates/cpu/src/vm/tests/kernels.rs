//! Whole kernels as fusion makes them.

use super::build::{Builder, affine, domain, steps};
use super::{Buffer, check, check_instances, numbers};
use dropforge_ir::{BinaryKind, CompareKind, DType, UnaryKind};
use dropforge_plan::kernel::{LoopKernel, Reduction};

/// Softmax cross-entropy of rows, forward (loss by row) and backward, with labels.
pub fn cross_entropy(columns: usize) -> LoopKernel {
    let mut builder = Builder::new(1, &[columns], 4);
    let whole = affine(0, &[columns as i64], &[1]);
    let x = builder.load(0, DType::F32, whole.clone());
    let label = builder.load(1, DType::I32, affine(0, &[1], &[0]));
    let column = builder.index(affine(0, &[0], &[1]));
    let hit = builder.compare(CompareKind::Equal, column, label);
    let zero = builder.immediate(0.0);
    let picked = builder.select(hit, x, zero);
    let total = builder.reduce(Reduction::LogSumExp, x)[0];
    let chosen = builder.reduce(Reduction::Sum, picked)[0];
    builder.rows();
    let loss = builder.binary(BinaryKind::Subtract, total, chosen);
    builder.store(2, DType::F32, affine(0, &[1], &[0]), loss);
    builder.stage();
    builder.repeat(&[x, label, column, hit, zero]);
    let distance = builder.binary(BinaryKind::Subtract, x, total);
    let weight = builder.unary(UnaryKind::Exp, distance);
    let one = builder.immediate(1.0);
    let target = builder.select(hit, one, zero);
    let gradient = builder.binary(BinaryKind::Subtract, weight, target);
    builder.store(3, DType::F32, whole, gradient);
    builder.kernel
}

#[test]
fn softmax_cross_entropy() {
    for (rows, columns) in [(1, 10), (5, 10), (130, 10), (3, 1000), (2, 3000), (7, 1)] {
        let labels: Vec<i32> = (0..rows).map(|row| (row * 7 % columns) as i32).collect();
        let results = [Buffer::zeros(DType::F32, rows), Buffer::zeros(DType::F32, rows * columns)];
        let buffers = [&[numbers(rows * columns, 1), Buffer::ints(&labels)], &results[..]].concat();
        check_instances(
            &cross_entropy(columns),
            &[domain(&[rows], &[columns])],
            &[vec![0, 1, 2, 3]],
            &buffers,
            2e-3,
        );
    }
}

/// Normalisation over columns with a weight for each column, in the place of its argument.
fn layer_norm(columns: usize) -> LoopKernel {
    let mut builder = Builder::new(1, &[columns], 3);
    let whole = affine(0, &[columns as i64], &[1]);
    let x = builder.load(0, DType::F32, whole.clone());
    let moments = builder.reduce(Reduction::MeanVariance, x);
    builder.rows();
    let tiny = builder.immediate(1e-5);
    let sum = builder.binary(BinaryKind::Add, moments[1], tiny);
    let scale = builder.unary(UnaryKind::ReciprocalSquareRoot, sum);
    builder.stage();
    builder.repeat(&[x]);
    let distance = builder.binary(BinaryKind::Subtract, x, moments[0]);
    let normal = builder.binary(BinaryKind::Multiply, distance, scale);
    let weight = builder.load(1, DType::F32, affine(0, &[0], &[1]));
    let result = builder.binary(BinaryKind::Multiply, normal, weight);
    builder.store(2, DType::F32, whole, result);
    builder.kernel
}

#[test]
fn layer_normalisation_in_place() {
    for (rows, columns) in [(9, 128), (2, 700), (1, 5000), (40, 5)] {
        let buffers = [numbers(rows * columns, 1), numbers(columns, 2)];
        check_instances(
            &layer_norm(columns),
            &[domain(&[rows], &[columns])],
            &[vec![0, 1, 0]],
            &buffers,
            1e-3,
        );
    }
}

#[test]
fn batch_normalisation_with_running_statistics() {
    for (images, channels, pixels) in [(4, 3, 16), (2, 5, 400), (32, 2, 1), (8, 40, 4)] {
        let (c, p) = (channels as i64, pixels as i64);
        let mut builder = Builder::new(1, &[images, pixels], 4);
        let whole = affine(0, &[p], &[c * p, 1]);
        let row = affine(0, &[1], &[0, 0]);
        let x = builder.load(0, DType::F32, whole.clone());
        let moments = builder.reduce(Reduction::MeanVariance, x);
        builder.rows();
        let momentum = builder.load(3, DType::F32, affine(0, &[0], &[0, 0]));
        let old = builder.load(1, DType::F32, row.clone());
        let change = builder.binary(BinaryKind::Subtract, moments[0], old);
        let step = builder.binary(BinaryKind::Multiply, change, momentum);
        let new = builder.binary(BinaryKind::Add, old, step);
        let tiny = builder.immediate(1e-3);
        let sum = builder.binary(BinaryKind::Add, moments[1], tiny);
        let scale = builder.unary(UnaryKind::ReciprocalSquareRoot, sum);
        builder.store(1, DType::F32, row, new);
        builder.stage();
        builder.repeat(&[x]);
        let distance = builder.binary(BinaryKind::Subtract, x, moments[0]);
        let normal = builder.binary(BinaryKind::Multiply, distance, scale);
        let result = builder.unary(UnaryKind::Relu, normal);
        builder.store(2, DType::F32, whole, result);
        let count = images * channels * pixels;
        let buffers = [
            numbers(count, 1),
            numbers(channels, 2),
            Buffer::zeros(DType::F32, count),
            Buffer::floats(&[0.1]),
        ];
        check_instances(&builder.kernel, &[builder.domain(&[channels])], &[vec![0, 1, 2, 3]], &buffers, 1e-3);
    }
}

#[test]
fn scale_by_channel_of_short_images() {
    for (images, channels, pixels) in [(3, 5, 16), (2, 3, 1), (5, 7, 9), (2, 3, 300)] {
        let (c, p) = (channels as i64, pixels as i64);
        let mut builder = Builder::new(3, &[], 3);
        let x = builder.load(0, DType::F32, affine(0, &[c * p, p, 1], &[]));
        let scale = builder.load(1, DType::F32, affine(0, &[0, 1, 0], &[]));
        let y = builder.binary(BinaryKind::Multiply, x, scale);
        builder.store(2, DType::F32, affine(0, &[c * p, p, 1], &[]), y);
        let count = images * channels * pixels;
        let buffers = [numbers(count, 1), numbers(channels, 2), Buffer::zeros(DType::F32, count)];
        check(&builder, &[images, channels, pixels], &buffers);
    }
}

/// The Adam update: parameter, gradient, two moments, learning rate and the step's corrections.
pub fn adam() -> LoopKernel {
    let mut builder = Builder::new(1, &[], 9);
    let whole = affine(0, &[1], &[]);
    let single = affine(0, &[0], &[]);
    let [g, m, v] = [1, 2, 3].map(|i| builder.load(i, DType::F32, whole.clone()));
    let [b1, b2, small] = [0.9, 0.999, 1e-8].map(|x| builder.immediate(x));
    let [c1, c2] = [0.1, 0.001].map(|x| builder.immediate(x));
    let first = builder.binary(BinaryKind::Multiply, m, b1);
    let second = builder.binary(BinaryKind::Multiply, g, c1);
    let new_m = builder.binary(BinaryKind::Add, first, second);
    let square = builder.binary(BinaryKind::Multiply, g, g);
    let first = builder.binary(BinaryKind::Multiply, v, b2);
    let second = builder.binary(BinaryKind::Multiply, square, c2);
    let new_v = builder.binary(BinaryKind::Add, first, second);
    let rate = builder.load(4, DType::F32, single.clone());
    let step = builder.load(5, DType::F32, single);
    let power = builder.binary(BinaryKind::Power, b2, step);
    let one = builder.immediate(1.0);
    let correction = builder.binary(BinaryKind::Subtract, one, power);
    let scaled = builder.binary(BinaryKind::Divide, new_v, correction);
    let root = builder.unary(UnaryKind::SquareRoot, scaled);
    let bottom = builder.binary(BinaryKind::Add, root, small);
    let ratio = builder.binary(BinaryKind::Divide, new_m, bottom);
    let change = builder.binary(BinaryKind::Multiply, ratio, rate);
    let p = builder.load(0, DType::F32, whole.clone());
    let new_p = builder.binary(BinaryKind::Subtract, p, change);
    builder.store(6, DType::F32, whole.clone(), new_p);
    builder.store(7, DType::F32, whole.clone(), new_m);
    builder.store(8, DType::F32, whole, new_v);
    builder.kernel
}

#[test]
fn equal_reductions_of_rows_of_different_lengths() {
    // Sums of squares; then a softmax, which needs the sums of each row before its second stage.
    let mut squares = Builder::new(0, &[1], 2);
    let x = squares.load(0, DType::F32, affine(0, &[], &[1]));
    let square = squares.binary(BinaryKind::Multiply, x, x);
    let sum = squares.reduce(Reduction::Sum, square)[0];
    squares.rows();
    squares.store(1, DType::F32, affine(0, &[], &[0]), sum);
    let mut shares = Builder::new(0, &[1], 2);
    let x = shares.load(0, DType::F32, affine(0, &[], &[1]));
    let total = shares.reduce(Reduction::LogSumExp, x)[0];
    shares.stage();
    shares.repeat(&[x]);
    let log = shares.binary(BinaryKind::Subtract, x, total);
    shares.store(1, DType::F32, affine(0, &[], &[1]), log);
    let sizes = [70_000, 10, 1, 5000, 3, 2100, 0, 33];
    for (builder, results) in [(squares, [1; 8]), (shares, sizes)] {
        let (mut domains, mut places, mut buffers) = (Vec::new(), Vec::new(), Vec::new());
        for (seed, (size, result)) in sizes.into_iter().zip(results).enumerate() {
            domains.push(domain(&[], &[size]));
            places.push(vec![buffers.len(), buffers.len() + 1]);
            buffers.extend([numbers(size, seed), Buffer::zeros(DType::F32, result)]);
        }
        check_instances(&builder.kernel, &domains, &places, &buffers, 1e-4);
    }
    // Columns of matrices of one width, which lie side by side.
    let mut columns = Builder::new(1, &[1], 2);
    let x = columns.load(0, DType::F32, affine(0, &[1], &[40]));
    let largest = columns.reduce(Reduction::Max, x)[0];
    columns.rows();
    columns.store(1, DType::F32, affine(0, &[1], &[0]), largest);
    let domains = [domain(&[40], &[300]), domain(&[17], &[2]), domain(&[40], &[1])];
    let mut buffers: Vec<Buffer> = [300, 2, 1].iter().map(|&rows| numbers(40 * rows, rows)).collect();
    buffers.extend([40, 17, 40].map(|count| Buffer::zeros(DType::F32, count)));
    check_instances(&columns.kernel, &domains, &[vec![0, 3], vec![1, 4], vec![2, 5]], &buffers, 0.0);
}

#[test]
fn optimizer_over_several_parameters_in_place() {
    let sizes = [1, 1000, 17, 5000, 3, 512];
    let mut buffers = vec![Buffer::floats(&[0.01]), Buffer::floats(&[3.0])];
    let (mut domains, mut places) = (Vec::new(), Vec::new());
    for (i, &size) in sizes.iter().enumerate() {
        let first = buffers.len();
        buffers.extend((0..3).map(|j| numbers(size, i + j)));
        let squares: Vec<f32> = numbers(size, i).numbers().iter().map(|x| (x * x) as f32).collect();
        buffers.push(Buffer::floats(&squares));
        domains.push(domain(&[size], &[]));
        places.push(vec![first, first + 1, first + 2, first + 3, 0, 1, first, first + 2, first + 3]);
    }
    check_instances(&adam(), &domains, &places, &buffers, 1e-4);
}

#[test]
fn results_in_the_place_of_arguments_that_are_read_later() {
    // a' = a + b over b's memory is computed before c = a' * b needs b.
    let mut builder = Builder::new(1, &[], 4);
    let whole = affine(0, &[1], &[]);
    let a = builder.load(0, DType::F32, whole.clone());
    let b = builder.load(1, DType::F32, whole.clone());
    let sum = builder.binary(BinaryKind::Add, a, b);
    let product = builder.binary(BinaryKind::Multiply, sum, b);
    let last = builder.unary(UnaryKind::Absolute, product);
    builder.store(2, DType::F32, whole.clone(), sum);
    builder.store(3, DType::F32, whole, last);
    let buffers = [numbers(1000, 1), numbers(1000, 2), Buffer::zeros(DType::F32, 1000)];
    check_instances(&builder.kernel, &[builder.domain(&[1000])], &[vec![0, 1, 1, 2]], &buffers, 1e-6);
    check_instances(&builder.kernel, &[builder.domain(&[1000])], &[vec![0, 1, 2, 0]], &buffers, 1e-6);
    // The old value of a state goes elsewhere after the new one took its place; so does a sum of it.
    let mut builder = Builder::new(1, &[50], 4);
    let whole = affine(0, &[50], &[1]);
    let old = builder.load(0, DType::F32, whole.clone());
    let new = builder.unary(UnaryKind::Negate, old);
    builder.store(1, DType::F32, whole.clone(), new);
    builder.store(2, DType::F32, whole, old);
    let sum = builder.reduce(Reduction::Sum, old)[0];
    builder.rows();
    builder.store(3, DType::F32, affine(0, &[1], &[0]), sum);
    let buffers = [numbers(1000, 1), Buffer::zeros(DType::F32, 1000), Buffer::zeros(DType::F32, 20)];
    check_instances(&builder.kernel, &[builder.domain(&[20])], &[vec![0, 0, 1, 2]], &buffers, 1e-5);
}

/// Threads that share the columns keep row values for each other, which are more where rows are not read in place.
#[test]
fn shared_columns_with_a_row_result_in_the_place_of_an_argument() {
    let (rows, columns) = (17, 192);
    let mut builder = Builder::new(1, &[columns], 4);
    let x = builder.load(0, DType::F32, affine(0, &[1], &[rows as i64]));
    let sum = builder.reduce(Reduction::Sum, x)[0];
    builder.rows();
    let row = affine(0, &[1], &[0]);
    let old = builder.load(1, DType::F32, row.clone());
    let new = builder.binary(BinaryKind::Add, old, sum);
    let change = builder.binary(BinaryKind::Multiply, new, old);
    let last = builder.unary(UnaryKind::Absolute, change);
    builder.store(2, DType::F32, row.clone(), new);
    builder.store(3, DType::F32, row, last);
    let buffers = [numbers(rows * columns, 1), numbers(rows, 2), Buffer::zeros(DType::F32, rows)];
    check_instances(&builder.kernel, &[builder.domain(&[rows])], &[vec![0, 1, 1, 2]], &buffers, 1e-5);
}

#[test]
fn a_state_of_one_number_is_read_before_it_is_written() {
    // A running mean over the memory of the old one, used by every column of a second stage.
    for columns in [5, 100_000] {
        let mut builder = Builder::new(0, &[columns], 3);
        let x = builder.load(0, DType::F32, affine(0, &[], &[1]));
        let sum = builder.reduce(Reduction::Sum, x)[0];
        builder.rows();
        let old = builder.load(1, DType::F32, affine(0, &[], &[0]));
        let new = builder.binary(BinaryKind::Add, old, sum);
        builder.store(1, DType::F32, affine(0, &[], &[0]), new);
        builder.stage();
        builder.repeat(&[x]);
        let y = builder.binary(BinaryKind::Add, x, new);
        builder.store(2, DType::F32, affine(0, &[], &[1]), y);
        let buffers = [numbers(columns, 1), Buffer::floats(&[2.0]), Buffer::zeros(DType::F32, columns)];
        // The terms of the sum cancel.
        check_instances(&builder.kernel, &[builder.domain(&[])], &[vec![0, 1, 2]], &buffers, 2e-3);
    }
}

#[test]
fn elementwise_kernels_with_columns_and_row_values_without_reductions() {
    // Nothing belongs to rows: columns are only more axes.
    let mut builder = Builder::new(1, &[3, 5], 2);
    let whole = affine(0, &[5], &[20, 1]);
    let x = builder.load(0, DType::F32, whole.clone());
    let y = builder.unary(UnaryKind::Negate, x);
    builder.store(1, DType::F32, whole, y);
    check(&builder, &[4], &[numbers(60, 1), Buffer::zeros(DType::F32, 60)]);
    // A row value that later stages spread over the columns.
    let mut builder = Builder::new(2, &[6], 3);
    builder.rows();
    let row = affine(0, &steps(&[4, 5]), &[0]);
    let x = builder.load(0, DType::F32, row.clone());
    let e = builder.unary(UnaryKind::Exp, x);
    builder.store(1, DType::F32, row, e);
    builder.stage();
    let z = builder.immediate(3.0);
    let y = builder.binary(BinaryKind::Multiply, e, z);
    builder.store(2, DType::F32, affine(0, &[30, 6], &[1]), y);
    let buffers = [numbers(20, 1), Buffer::zeros(DType::F32, 20), Buffer::zeros(DType::F32, 120)];
    check(&builder, &[4, 5], &buffers);
}
