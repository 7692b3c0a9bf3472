//! Measures matrix products and attention at the sizes of the example models, on one thread and on two; and predictions
//! of dense layers with their weights as they come and packed before.
//!
//! `cargo run --release -p dropforge-cpu --example matmul_speed [part of a name]`

use dropforge_cpu::attention::{
    Attention, AttentionGradient, AttentionGradientLayout, AttentionGradientPointers, AttentionLayout,
    AttentionPointers, AttentionShape,
};
use dropforge_cpu::matmul::{DotAxes, Matmul};
use dropforge_cpu::memory::AlignedBuffer;
use dropforge_cpu::movement::{IndexedShape, StridedCopy, gather, scatter_add};
use dropforge_cpu::pool::Pool;
use std::time::Instant;

/// The shortest time of one call, in seconds, over about a fifth of a second.
fn measure(mut body: impl FnMut()) -> f64 {
    body();
    let start = Instant::now();
    body();
    let calls = (0.002 / start.elapsed().as_secs_f64().max(1e-8)).ceil() as usize;
    let mut best = f64::INFINITY;
    for _ in 0..(100 / calls).clamp(5, 50) {
        let start = Instant::now();
        (0..calls).for_each(|_| body());
        best = best.min(start.elapsed().as_secs_f64() / calls as f64);
    }
    best
}

fn numbers(count: usize) -> AlignedBuffer {
    let mut buffer = AlignedBuffer::new(count);
    buffer.iter_mut().enumerate().for_each(|(i, number)| *number = ((i * 7919) % 1000) as f32 / 500.0 - 1.0);
    buffer
}

fn report(name: &str, flops: f64, bytes: f64, times: &[f64]) {
    print!("{name:<44}");
    for time in times {
        print!("{:>10.1} µs{:>7.0} GF/s{:>6.1} GB/s", time * 1e6, flops / time / 1e9, bytes / time / 1e9);
    }
    println!();
}

/// A product of two-dimensional tensors: shapes, and the axis of each that is summed over.
struct Product {
    name: &'static str,
    lhs: [usize; 2],
    rhs: [usize; 2],
    contract: [usize; 2],
}

fn products() -> Vec<Product> {
    let mut all = Vec::new();
    // x [batch, in], weight [in, out]: forward, input gradient, weight gradient.
    let mut layer = |name: [&'static str; 3], batch: usize, from: usize, to: usize| {
        all.push(Product { name: name[0], lhs: [batch, from], rhs: [from, to], contract: [1, 0] });
        all.push(Product { name: name[1], lhs: [batch, to], rhs: [from, to], contract: [1, 1] });
        all.push(Product { name: name[2], lhs: [batch, from], rhs: [batch, to], contract: [0, 0] });
    };
    layer(["mlp 784→512", "  input gradient", "  weight gradient"], 128, 784, 512);
    layer(["mlp 512→256", "  input gradient", "  weight gradient"], 128, 512, 256);
    layer(["mlp 256→10", "  input gradient", "  weight gradient"], 128, 256, 10);
    layer(["lenet 400→120", "  input gradient", "  weight gradient"], 128, 400, 120);
    layer(["lenet 120→84", "  input gradient", "  weight gradient"], 128, 120, 84);
    layer(["lenet 84→10", "  input gradient", "  weight gradient"], 128, 84, 10);
    layer(["gpt 128→384, 2048 positions", "  input gradient", "  weight gradient"], 2048, 128, 384);
    layer(["gpt 128→512", "  input gradient", "  weight gradient"], 2048, 128, 512);
    layer(["gpt 512→128", "  input gradient", "  weight gradient"], 2048, 512, 128);
    layer(["gpt 128→128", "  input gradient", "  weight gradient"], 2048, 128, 128);
    layer(["gpt 128→65", "  input gradient", "  weight gradient"], 2048, 128, 65);
    layer(["catsdogs 262144→128, batch 32", "  input gradient", "  weight gradient"], 32, 262_144, 128);
    // Weights stored as [out, in].
    all.push(Product {
        name: "catsdogs, weight [128, 262144]",
        lhs: [32, 262_144],
        rhs: [128, 262_144],
        contract: [1, 1],
    });
    all.push(Product { name: "  input gradient", lhs: [32, 128], rhs: [128, 262_144], contract: [1, 0] });
    all.push(Product { name: "  weight gradient", lhs: [32, 128], rhs: [32, 262_144], contract: [0, 0] });
    all.push(Product { name: "square 1024", lhs: [1024, 1024], rhs: [1024, 1024], contract: [1, 0] });
    all.push(Product {
        name: "matrix times vector 4096",
        lhs: [4096, 4096],
        rhs: [4096, 1],
        contract: [1, 0],
    });
    all
}

fn main() {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let pools = [Pool::new(1), Pool::new(2)];
    let mut shown = false;
    for Product { name, lhs, rhs, contract } in products() {
        // Indented lines belong to the one above.
        shown = if name.starts_with(' ') { shown } else { name.contains(&wanted) };
        if !shown {
            continue;
        }
        let shape = DotAxes::contiguous(&lhs, &rhs, &[], &[], &contract[..1], &contract[1..]).matmul();
        let (m, n, k) = (shape.m, shape.n, shape.k);
        let (lhs, rhs, mut out) = (numbers(m * k), numbers(k * n), numbers(m * n));
        let times = pools.each_ref().map(|pool| {
            let matmul = Matmul::new(shape.clone(), pool.threads());
            let mut scratch = AlignedBuffer::new(matmul.scratch());
            // SAFETY: contiguous tensors of the product's sizes.
            measure(|| unsafe {
                matmul.run(lhs.as_ptr(), rhs.as_ptr(), out.as_mut_ptr(), scratch.as_mut_ptr(), pool);
            })
        });
        let name = format!("{name} ({m}×{k}·{k}×{n})");
        report(&name, 2.0 * (m * n * k) as f64, 4.0 * (m * n + m * k + k * n) as f64, &times);
    }
    if "kept weights".contains(&wanted) {
        kept(&pools);
    }
    for (name, batch, heads, positions, size, causal) in [
        ("attention gpt-char", 16, 4, 128, 32, true),
        ("attention, all visible", 16, 4, 128, 32, false),
        ("attention long", 1, 8, 2048, 64, true),
    ] {
        if name.contains(&wanted) {
            let scale = 1.0 / (size as f32).sqrt();
            let shape =
                AttentionShape { batch, heads, queries: positions, keys: positions, size, causal, scale };
            attention(name, shape, &pools);
        }
    }
    if "movement".contains(&wanted) {
        movement(&pools);
    }
}

/// Products with right sides as they come and kept, by number of threads; `-` where none is kept.
fn kept(pools: &[Pool]) {
    println!("weights as they come and kept, µs, on one thread and on two");
    for [from, to] in
        [[784, 512], [256, 10], [4096, 10], [9216, 10], [65_536, 10], [2048, 1000], [512, 2], [65_536, 2]]
    {
        for (batch, turned) in
            [(1, false), (8, false), (32, false), (128, false), (1, true), (32, true), (128, true)]
        {
            let weights = if turned { [to, from] } else { [from, to] };
            let axis = usize::from(turned);
            let shape = DotAxes::contiguous(&[batch, from], &weights, &[], &[], &[1], &[axis]).matmul();
            let (lhs, rhs, mut out) = (numbers(batch * from), numbers(from * to), numbers(batch * to));
            let order = if turned { "[out, in]" } else { "[in, out]" };
            print!("{:<36}", format!("{batch} × {from} → {to}, {order}"));
            for pool in pools {
                let matmul = Matmul::new(shape.clone(), pool.threads());
                let mut scratch = AlignedBuffer::new(matmul.scratch());
                // SAFETY: contiguous tensors of the product's sizes.
                let plain = measure(|| unsafe {
                    matmul.run(lhs.as_ptr(), rhs.as_ptr(), out.as_mut_ptr(), scratch.as_mut_ptr(), pool);
                });
                let Some(keeping) = matmul.keeping_right(pool.threads()) else {
                    print!("{:>10.1}{:>10}", plain * 1e6, "-");
                    continue;
                };
                let mut packed = AlignedBuffer::new(keeping.packed_len());
                // Memory has to have been touched. SAFETY: as above.
                unsafe { keeping.pack(rhs.as_ptr(), packed.as_mut_ptr(), 0, 1) };
                let mut scratch = AlignedBuffer::new(keeping.scratch());
                // SAFETY: as above; the packed side has the length that is asked for.
                let kept = measure(|| unsafe {
                    let (sides, packed) = ([lhs.as_ptr(), rhs.as_ptr()], Some(packed.as_ptr()));
                    keeping.run_packed(sides, packed, out.as_mut_ptr(), scratch.as_mut_ptr(), pool, &|_| {});
                });
                print!("{:>10.1}{:>10.1}", plain * 1e6, kept * 1e6);
            }
            println!();
        }
    }
}

fn attention(name: &str, shape: AttentionShape, pools: &[Pool]) {
    let rows = shape.batch * shape.heads * shape.queries;
    let [query, key, value, output_gradient] = [(); 4].map(|()| numbers(rows * shape.size));
    let mut results = [(); 4].map(|()| numbers(rows * shape.size));
    let mut logsumexp = numbers(rows);
    let [output, query_gradient, key_gradient, value_gradient] =
        results.each_mut().map(|result| result.as_mut_ptr());
    let (mut forward, mut backward) = (Vec::new(), Vec::new());
    for pool in pools {
        let attention = Attention::new(shape, AttentionLayout::contiguous(&shape), pool.threads());
        let mut scratch = AlignedBuffer::new(attention.scratch());
        let pointers = AttentionPointers {
            query: query.as_ptr(),
            key: key.as_ptr(),
            value: value.as_ptr(),
            output,
            logsumexp: logsumexp.as_mut_ptr(),
        };
        // SAFETY: contiguous tensors of the attention's sizes.
        forward.push(measure(|| unsafe { attention.run(&pointers, scratch.as_mut_ptr(), pool) }));
        let layout = AttentionGradientLayout::contiguous(&shape);
        let gradient = AttentionGradient::new(shape, layout, pool.threads());
        let mut scratch = AlignedBuffer::new(gradient.scratch());
        let pointers = AttentionGradientPointers {
            query: query.as_ptr(),
            key: key.as_ptr(),
            value: value.as_ptr(),
            output,
            logsumexp: logsumexp.as_ptr(),
            output_gradient: output_gradient.as_ptr(),
            query_gradient,
            key_gradient,
            value_gradient,
        };
        // SAFETY: as above.
        backward.push(measure(|| unsafe { gradient.run(&pointers, scratch.as_mut_ptr(), pool) }));
    }
    let seen = if shape.causal { 0.5 } else { 1.0 };
    let product = 2.0 * seen * (rows * shape.keys * shape.size) as f64;
    let bytes = (4 * rows * shape.size) as f64;
    report(&format!("{name}, forward"), 2.0 * product, 4.0 * bytes, &forward);
    report("  gradient", 5.0 * product, 8.0 * bytes, &backward);
}

fn movement(pools: &[Pool]) {
    let (rows, heads, size) = (2048, 4, 32);
    let from = numbers(3 * rows * heads * size);
    let mut out = numbers(3 * rows * heads * size);
    let count = (rows * heads * size) as f64;
    let mut copies = |name: &str, shape: &[usize], order: &[usize]| {
        let copy = StridedCopy::permute(shape, order);
        let (from, out) = (&from[..shape.iter().product()], &mut out[..shape.iter().product()]);
        let times: Vec<f64> =
            pools.iter().map(|pool| measure(|| copy.run_on_slices(from, 0, out, 0, pool))).collect();
        report(name, 0.0, 8.0 * from.len() as f64, &times);
    };
    copies("heads outwards [16, 128, 4, 32]", &[16, 128, 4, 32], &[0, 2, 1, 3]);
    copies("transposition [2048, 128]", &[2048, 128], &[1, 0]);
    copies("transposition [512, 512]", &[512, 512], &[1, 0]);
    copies("channels inwards [32, 64, 16, 16]", &[32, 64, 16, 16], &[0, 2, 3, 1]);
    let indices: Vec<i32> = (0..rows as i32).map(|i| i * 31 % 65).collect();
    let shape = IndexedShape { outer: 1, size: 65, inner: 128 };
    let mut table = vec![1.0; 65 * 128];
    let mut slices = vec![1.0; rows * 128];
    let times: Vec<f64> =
        pools.iter().map(|pool| measure(|| gather(shape, &table, &indices, &mut slices, pool))).collect();
    report("gather [65, 128] by 2048", 0.0, 8.0 * count, &times);
    let times: Vec<f64> = pools
        .iter()
        .map(|pool| measure(|| scatter_add(shape, &slices, &indices, &mut table, pool)))
        .collect();
    report("scatter_add [2048, 128] to [65, 128]", 0.0, 4.0 * count, &times);
}
