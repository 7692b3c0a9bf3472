use super::*;
use crate::pool::Pool;

fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 22) as f32 - 2.0
        })
        .collect()
}

/// One head in f64, straight from the formulas.
struct Naive {
    output: Vec<f64>,
    logsumexp: Vec<f64>,
    gradients: [Vec<f64>; 3],
}

fn naive(shape: &AttentionShape, q: &[f32], k: &[f32], v: &[f32], output_gradient: &[f32]) -> Naive {
    let (t, s, d, scale) = (shape.queries, shape.keys, shape.size, f64::from(shape.scale));
    let product = |a: &[f32], i: usize, b: &[f32], j: usize| -> f64 {
        (0..d).map(|n| f64::from(a[i * d + n]) * f64::from(b[j * d + n])).sum()
    };
    let mut result = Naive {
        output: vec![0.0; t * d],
        logsumexp: vec![],
        gradients: [vec![0.0; t * d], vec![0.0; s * d], vec![0.0; s * d]],
    };
    for i in 0..t {
        let visible = if shape.causal { (i + 1 + s).saturating_sub(t) } else { s };
        let scores: Vec<f64> = (0..visible).map(|j| scale * product(q, i, k, j)).collect();
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = scores.iter().map(|score| (score - largest).exp()).sum();
        let logsumexp = if visible == 0 { f64::NEG_INFINITY } else { largest + total.ln() };
        result.logsumexp.push(logsumexp);
        let weights: Vec<f64> = scores.iter().map(|score| (score - logsumexp).exp()).collect();
        let changes: Vec<f64> = (0..visible).map(|j| product(output_gradient, i, v, j)).collect();
        let shared: f64 = weights.iter().zip(&changes).map(|(weight, change)| weight * change).sum();
        for j in 0..visible {
            let change = weights[j] * (changes[j] - shared) * scale;
            for n in 0..d {
                result.output[i * d + n] += weights[j] * f64::from(v[j * d + n]);
                result.gradients[0][i * d + n] += change * f64::from(k[j * d + n]);
                result.gradients[1][j * d + n] += change * f64::from(q[i * d + n]);
                result.gradients[2][j * d + n] += weights[j] * f64::from(output_gradient[i * d + n]);
            }
        }
    }
    result
}

/// A tensor with room for strides.
struct Tensor {
    strides: HeadStrides,
    positions: usize,
    data: Vec<f32>,
}

impl Tensor {
    /// Contiguous, or as one of three in `[batch, position, 3, head, size]`, with random numbers or NaN.
    fn new(shape: &AttentionShape, positions: usize, packed: bool, seed: Option<u64>) -> Tensor {
        let row = (shape.heads * shape.size) as isize;
        let strides = if packed {
            HeadStrides { batch: 3 * row * positions as isize, head: shape.size as isize, position: 3 * row }
        } else {
            HeadStrides::contiguous(shape.heads, positions, shape.size)
        };
        let count = shape.batch * shape.heads * positions * shape.size * if packed { 3 } else { 1 };
        let data = seed.map_or(vec![f32::NAN; count], |seed| numbers(count, seed));
        Tensor { strides, positions, data }
    }

    fn head(&self, shape: &AttentionShape, head: usize) -> Vec<f32> {
        let start = self.strides.offset(shape, head);
        (0..self.positions * shape.size)
            .map(|i| {
                let row = (i / shape.size) as isize * self.strides.position;
                self.data[(start + row) as usize + i % shape.size]
            })
            .collect()
    }
}

fn close(have: &[f32], want: &[f64], what: &str, shape: &AttentionShape) {
    assert_eq!(have.len(), want.len());
    let largest = want.iter().filter(|x| x.is_finite()).fold(1.0f64, |largest, x| largest.max(x.abs()));
    for (i, (&have, &want)) in have.iter().zip(want).enumerate() {
        let have = f64::from(have);
        let same = have == want || (have - want).abs() < 3e-6 * largest;
        assert!(same, "{what} {i}: {have} instead of {want}, {shape:?}");
    }
}

fn run(
    shape: &AttentionShape,
    packed: bool,
    threads: usize,
    level: Level,
) -> (Vec<f32>, Vec<Vec<f32>>, Vec<f32>, [Tensor; 4]) {
    let pool = Pool::new(threads);
    let tensor = |positions: usize, seed: Option<u64>| Tensor::new(shape, positions, packed, seed);
    let (q, k, v) =
        (tensor(shape.queries, Some(1)), tensor(shape.keys, Some(2)), tensor(shape.keys, Some(3)));
    let (mut output, output_gradient) = (tensor(shape.queries, None), tensor(shape.queries, Some(4)));
    let mut logsumexp = vec![f32::NAN; shape.head_count() * shape.queries];
    let forward =
        AttentionLayout { query: q.strides, key: k.strides, value: v.strides, output: output.strides };
    let attention = Attention { level, ..Attention::new(*shape, forward, threads) };
    let mut scratch = vec![f32::NAN; attention.scratch()];
    let pointers = AttentionPointers {
        query: q.data.as_ptr(),
        key: k.data.as_ptr(),
        value: v.data.as_ptr(),
        output: output.data.as_mut_ptr(),
        logsumexp: logsumexp.as_mut_ptr(),
    };
    // SAFETY: tensors have the room that their strides reach.
    unsafe { attention.run(&pointers, scratch.as_mut_ptr(), &pool) };

    let mut gradients = [shape.queries, shape.keys, shape.keys].map(|positions| tensor(positions, None));
    let layout = AttentionGradientLayout {
        forward,
        output_gradient: output_gradient.strides,
        query_gradient: gradients[0].strides,
        key_gradient: gradients[1].strides,
        value_gradient: gradients[2].strides,
    };
    let gradient = AttentionGradient { level, ..AttentionGradient::new(*shape, layout, threads) };
    let mut scratch = vec![f32::NAN; gradient.scratch()];
    let pointers = AttentionGradientPointers {
        query: q.data.as_ptr(),
        key: k.data.as_ptr(),
        value: v.data.as_ptr(),
        output: output.data.as_ptr(),
        logsumexp: logsumexp.as_ptr(),
        output_gradient: output_gradient.data.as_ptr(),
        query_gradient: gradients[0].data.as_mut_ptr(),
        key_gradient: gradients[1].data.as_mut_ptr(),
        value_gradient: gradients[2].data.as_mut_ptr(),
    };
    // SAFETY: as above.
    unsafe { gradient.run(&pointers, scratch.as_mut_ptr(), &pool) };
    let results = std::iter::once(&output).chain(&gradients);
    let heads = |tensor: &Tensor| (0..shape.head_count()).flat_map(|head| tensor.head(shape, head)).collect();
    let results: Vec<Vec<f32>> = results.map(heads).collect();
    (results[0].clone(), results[1..].to_vec(), logsumexp, [q, k, v, output_gradient])
}

fn check(shape: AttentionShape, packed: bool) {
    for level in Level::available() {
        let (output, gradients, logsumexp, inputs) = run(&shape, packed, 1, level);
        for head in 0..shape.head_count() {
            let [q, k, v, output_gradient] = inputs.each_ref().map(|tensor| tensor.head(&shape, head));
            let expected = naive(&shape, &q, &k, &v, &output_gradient);
            let part = |all: &[f32], length: usize| all[head * length..(head + 1) * length].to_vec();
            close(&part(&output, shape.queries * shape.size), &expected.output, "output", &shape);
            close(&part(&logsumexp, shape.queries), &expected.logsumexp, "logsumexp", &shape);
            for (which, name) in ["query", "key", "value"].iter().enumerate() {
                let length = expected.gradients[which].len();
                close(&part(&gradients[which], length), &expected.gradients[which], name, &shape);
            }
        }
        for threads in [2, 5] {
            let (again, gradients_again, logsumexp_again, _) = run(&shape, packed, threads, level);
            assert_eq!((&again, &logsumexp_again), (&output, &logsumexp), "{threads} threads, {shape:?}");
            for (again, gradient) in gradients_again.iter().zip(&gradients) {
                assert_eq!(again, gradient, "{threads} threads, {shape:?}");
            }
        }
    }
}

#[test]
fn awkward_sizes() {
    for causal in [false, true] {
        for (queries, keys, size) in
            [(1, 1, 1), (5, 7, 3), (33, 129, 16), (70, 70, 32), (128, 128, 40), (300, 280, 20), (40, 300, 64)]
        {
            let scale = 1.0 / (size as f32).sqrt();
            let shape = AttentionShape { batch: 1, heads: 2, queries, keys, size, causal, scale };
            check(shape, false);
        }
    }
}

#[test]
fn strided_heads() {
    for causal in [false, true] {
        let shape =
            AttentionShape { batch: 2, heads: 3, queries: 50, keys: 50, size: 8, causal, scale: -0.3 };
        check(shape, true);
    }
}

#[test]
fn one_head_is_divided_among_threads() {
    for causal in [false, true] {
        let shape =
            AttentionShape { batch: 1, heads: 1, queries: 400, keys: 350, size: 16, causal, scale: 0.25 };
        check(shape, false);
    }
}

#[test]
fn queries_that_see_nothing() {
    // The first two of five queries come before all three keys.
    let shape = AttentionShape { batch: 1, heads: 2, queries: 5, keys: 3, size: 4, causal: true, scale: 1.0 };
    check(shape, false);
    check(AttentionShape { queries: 200, keys: 100, ..shape }, false);
    check(AttentionShape { keys: 0, ..shape }, false);
    check(AttentionShape { queries: 0, ..shape }, false);
    check(AttentionShape { size: 0, ..shape }, false);
    check(AttentionShape { batch: 0, ..shape }, false);
}

#[test]
fn exponential_is_exact_to_rounding() {
    struct Check;
    impl crate::simd::Kernel for Check {
        type Output = ();
        #[inline(always)]
        fn run<V: crate::simd::Vector>(self) {
            let apply = |x: f32| {
                let mut lanes = [0.0; crate::simd::MAX_LANES];
                // SAFETY: no vector has more lanes.
                unsafe { exponential::exp(V::splat(x)).store(lanes.as_mut_ptr()) };
                lanes[0]
            };
            for step in -8_600..8_700 {
                let x = step as f32 / 100.0;
                let want = f64::from(x).exp();
                assert!((f64::from(apply(x)) - want).abs() < 2.5e-7 * want, "e^{x}: {} for {want}", apply(x));
            }
            assert_eq!(apply(f32::NEG_INFINITY), 0.0);
            assert_eq!(apply(0.0), 1.0);
            assert!(apply(f32::NAN).is_nan());
        }
    }
    for level in Level::available() {
        level.call(Check);
    }
}
