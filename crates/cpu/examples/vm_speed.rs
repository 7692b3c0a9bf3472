//! Times the block machine on the loop kernels that decide training speed.
//!
//! `cargo run --release -p dropforge-cpu --example vm_speed [threads [part of a name]]`. Other work on the machine
//! disturbs it: every figure is the best of many runs.

use dropforge_cpu::memory::AlignedBuffer;
use dropforge_cpu::pool::Pool;
use dropforge_cpu::simd::Level as Simd;
use dropforge_cpu::vm::Compiled;
use dropforge_ir::{BinaryKind, CompareKind, DType, UnaryKind};
use dropforge_plan::kernel::*;
use std::time::{Duration, Instant};

/// A kernel under construction.
struct Builder {
    kernel: LoopKernel,
    level: Level,
}

impl Builder {
    fn new(row_axes: usize, columns: &[usize], operands: usize) -> Builder {
        let kernel = LoopKernel {
            row_axes,
            column_axes: columns.len(),
            stages: vec![Stage::default()],
            written: vec![false; operands],
            ..LoopKernel::default()
        };
        Builder { kernel, level: Level::Domain }
    }

    fn register(&mut self, dtype: DType, level: Level) -> Register {
        self.kernel.registers.push(RegisterInfo { dtype, level });
        Register(self.kernel.registers.len() as u16 - 1)
    }

    fn push(&mut self, instruction: Instruction) {
        let stage = self.kernel.stages.last_mut().expect("there is a stage");
        match self.level {
            Level::Domain => stage.domain.push(instruction),
            Level::Row => stage.row.push(instruction),
        }
    }

    fn rows(&mut self) {
        self.level = Level::Row;
    }

    fn stage(&mut self) {
        self.kernel.stages.push(Stage::default());
        self.level = Level::Domain;
    }

    fn load(&mut self, operand: usize, dtype: DType, index: &Affine) -> Register {
        let to = self.register(dtype, self.level);
        self.push(Instruction::Load { to, access: Access { operand, dtype, index: index.clone() } });
        to
    }

    fn store(&mut self, operand: usize, index: &Affine, from: Register) {
        self.kernel.written[operand] = true;
        let access = Access { operand, dtype: DType::F32, index: index.clone() };
        self.push(Instruction::Store { from, access });
    }

    fn immediate(&mut self, x: f32) -> Register {
        let to = self.register(DType::F32, self.level);
        self.push(Instruction::Immediate { to, bits: x.to_bits() });
        to
    }

    fn unary(&mut self, kind: UnaryKind, x: Register) -> Register {
        let to = self.register(DType::F32, self.level);
        self.push(Instruction::Unary { kind, to, x });
        to
    }

    fn binary(&mut self, kind: BinaryKind, a: Register, b: Register) -> Register {
        let to = self.register(DType::F32, self.level);
        self.push(Instruction::Binary { kind, to, a, b });
        to
    }

    fn reduce(&mut self, kind: Reduction, from: Register) -> Vec<Register> {
        let count = if kind == Reduction::MeanVariance { 2 } else { 1 };
        let to: Vec<Register> = (0..count).map(|_| self.register(DType::F32, Level::Row)).collect();
        self.kernel.stages.last_mut().expect("a stage").reductions.push(Reduce {
            kind,
            from,
            to: to.clone(),
        });
        to
    }

    fn repeat(&mut self, registers: &[Register]) {
        for instruction in self.kernel.stages[0].domain.clone() {
            if instruction.target().is_some_and(|to| registers.contains(&to)) {
                self.push(instruction);
            }
        }
    }
}

fn affine(rows: &[i64], columns: &[i64]) -> Affine {
    Affine { offset: 0, rows: rows.to_vec(), columns: columns.to_vec() }
}

use BinaryKind::{Add, Divide, Multiply, Subtract};

fn adam() -> LoopKernel {
    let mut b = Builder::new(1, &[], 9);
    let (whole, single) = (affine(&[1], &[]), affine(&[0], &[]));
    let [p, g, m, v] = [0, 1, 2, 3].map(|operand| b.load(operand, DType::F32, &whole));
    let [b1, b2, small, c1, c2, one] = [0.9, 0.999, 1e-8, 0.1, 0.001, 1.0].map(|x| b.immediate(x));
    let (first, second) = (b.binary(Multiply, m, b1), b.binary(Multiply, g, c1));
    let new_m = b.binary(Add, first, second);
    let square = b.binary(Multiply, g, g);
    let (first, second) = (b.binary(Multiply, v, b2), b.binary(Multiply, square, c2));
    let new_v = b.binary(Add, first, second);
    let (rate, step) = (b.load(4, DType::F32, &single), b.load(5, DType::F32, &single));
    let power = b.binary(BinaryKind::Power, b2, step);
    let correction = b.binary(Subtract, one, power);
    let scaled = b.binary(Divide, new_v, correction);
    let root = b.unary(UnaryKind::SquareRoot, scaled);
    let bottom = b.binary(Add, root, small);
    let ratio = b.binary(Divide, new_m, bottom);
    let change = b.binary(Multiply, ratio, rate);
    let new_p = b.binary(Subtract, p, change);
    b.store(6, &whole, new_p);
    b.store(7, &whole, new_m);
    b.store(8, &whole, new_v);
    b.kernel
}

/// x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))
fn gelu() -> LoopKernel {
    let mut b = Builder::new(1, &[], 2);
    let whole = affine(&[1], &[]);
    let x = b.load(0, DType::F32, &whole);
    let [half, one, root, cubic] = [0.5, 1.0, 0.797_884_6, 0.044715].map(|x| b.immediate(x));
    let square = b.binary(Multiply, x, x);
    let cube = b.binary(Multiply, square, x);
    let scaled = b.binary(Multiply, cube, cubic);
    let sum = b.binary(Add, x, scaled);
    let inner = b.binary(Multiply, sum, root);
    let t = b.unary(UnaryKind::Tanh, inner);
    let shifted = b.binary(Add, t, one);
    let halved = b.binary(Multiply, x, half);
    let y = b.binary(Multiply, halved, shifted);
    b.store(1, &whole, y);
    b.kernel
}

fn map(kind: UnaryKind) -> LoopKernel {
    let mut b = Builder::new(1, &[], 2);
    let whole = affine(&[1], &[]);
    let x = b.load(0, DType::F32, &whole);
    let y = b.unary(kind, x);
    b.store(1, &whole, y);
    b.kernel
}

/// Loss of each row and gradient by the logits.
fn cross_entropy(columns: usize) -> LoopKernel {
    let mut b = Builder::new(1, &[columns], 4);
    let (whole, row) = (affine(&[columns as i64], &[1]), affine(&[1], &[0]));
    let x = b.load(0, DType::F32, &whole);
    let label = b.load(1, DType::I32, &row);
    let column = b.register(DType::I32, Level::Domain);
    b.push(Instruction::Index { to: column, index: affine(&[0], &[1]) });
    let hit = b.register(DType::Bool, Level::Domain);
    b.push(Instruction::Compare { kind: CompareKind::Equal, to: hit, a: column, b: label });
    let zero = b.immediate(0.0);
    let picked = b.register(DType::F32, Level::Domain);
    b.push(Instruction::Select { to: picked, condition: hit, a: x, b: zero });
    let total = b.reduce(Reduction::LogSumExp, x)[0];
    let chosen = b.reduce(Reduction::Sum, picked)[0];
    b.rows();
    let loss = b.binary(Subtract, total, chosen);
    b.store(2, &row, loss);
    b.stage();
    b.repeat(&[x, label, column, hit, zero]);
    let distance = b.binary(Subtract, x, total);
    let weight = b.unary(UnaryKind::Exp, distance);
    let one = b.immediate(1.0);
    let target = b.register(DType::F32, Level::Domain);
    b.push(Instruction::Select { to: target, condition: hit, a: one, b: zero });
    let difference = b.binary(Subtract, weight, target);
    let scale = b.immediate(1.0 / 128.0);
    let gradient = b.binary(Multiply, difference, scale);
    b.store(3, &whole, gradient);
    b.kernel
}

fn layer_norm(columns: usize) -> LoopKernel {
    let mut b = Builder::new(1, &[columns], 4);
    let (whole, column) = (affine(&[columns as i64], &[1]), affine(&[0], &[1]));
    let x = b.load(0, DType::F32, &whole);
    let moments = b.reduce(Reduction::MeanVariance, x);
    b.rows();
    let tiny = b.immediate(1e-5);
    let sum = b.binary(Add, moments[1], tiny);
    let scale = b.unary(UnaryKind::ReciprocalSquareRoot, sum);
    b.stage();
    b.repeat(&[x]);
    let distance = b.binary(Subtract, x, moments[0]);
    let normal = b.binary(Multiply, distance, scale);
    let (weight, bias) = (b.load(1, DType::F32, &column), b.load(2, DType::F32, &column));
    let weighted = b.binary(Multiply, normal, weight);
    let y = b.binary(Add, weighted, bias);
    b.store(3, &whole, y);
    b.kernel
}

/// One reduction, its results in operands 1 and 2.
fn reduction(kind: Reduction, columns: &[usize], index: &Affine) -> LoopKernel {
    let results = if kind == Reduction::MeanVariance { 2 } else { 1 };
    let mut b = Builder::new(index.rows.len(), columns, 1 + results);
    let x = b.load(0, DType::F32, index);
    let results = b.reduce(kind, x);
    b.rows();
    for (i, result) in results.into_iter().enumerate() {
        let row = affine(&vec![1; index.rows.len()], &vec![0; columns.len()]);
        b.store(1 + i, &row, result);
    }
    b.kernel
}

/// Batch norm's second half: scale and shift by channel, ReLU.
fn scale_relu(channels: usize, pixels: usize) -> LoopKernel {
    let mut b = Builder::new(3, &[], 4);
    let whole = affine(&[(channels * pixels) as i64, pixels as i64, 1], &[]);
    let channel = affine(&[0, 1, 0], &[]);
    let x = b.load(0, DType::F32, &whole);
    let (scale, shift) = (b.load(1, DType::F32, &channel), b.load(2, DType::F32, &channel));
    let scaled = b.binary(Multiply, x, scale);
    let shifted = b.binary(Add, scaled, shift);
    let y = b.unary(UnaryKind::Relu, shifted);
    b.store(3, &whole, y);
    b.kernel
}

struct Bench {
    pool: Pool,
    level: Simd,
    /// What the names of timed kernels contain.
    part: String,
}

impl Bench {
    /// Times a kernel over operands of the given lengths. Operands named in `same` share memory with another.
    fn time(
        &self,
        name: &str,
        kernel: &LoopKernel,
        domain: (&[usize], &[usize]),
        lengths: &[usize],
        same: &[(usize, usize)],
        bytes: usize,
    ) {
        if !name.contains(&self.part) {
            return;
        }
        let mut buffers: Vec<AlignedBuffer> =
            lengths.iter().map(|&length| AlignedBuffer::new(length)).collect();
        for (number, buffer) in buffers.iter_mut().enumerate() {
            for (i, x) in buffer.iter_mut().enumerate() {
                *x = ((i * 7 + number) % 1000) as f32 / 500.0 - if number == 0 { 1.0 } else { 0.0 };
            }
        }
        let mut addresses: Vec<usize> = buffers.iter_mut().map(|buffer| buffer.as_mut_ptr().addr()).collect();
        for &(operand, other) in same {
            addresses[operand] = addresses[other];
        }
        let domain = Domain { rows: domain.0.to_vec(), columns: domain.1.to_vec() };
        let compiled = Compiled::new(kernel, &[domain], self.pool.threads(), self.level);
        // SAFETY: the lengths cover the accesses of the kernel.
        let run = || unsafe {
            compiled.run(&|_, operand| std::ptr::with_exposed_provenance_mut(addresses[operand]), &self.pool);
        };
        buffers.iter_mut().for_each(|buffer| {
            buffer.as_mut_ptr().expose_provenance();
        });
        let mut best = Duration::MAX;
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(400) {
            let begin = Instant::now();
            run();
            best = best.min(begin.elapsed());
        }
        let micros = best.as_secs_f64() * 1e6;
        println!("{name:44} {micros:10.2} µs {:8.2} GB/s", bytes as f64 / best.as_secs_f64() / 1e9);
    }
}

/// The Adam update as one loop, for comparison.
#[inline(always)]
fn adam_loop(p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], rate: f32, correction: f32) {
    for (((p, &g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
        *m = 0.9 * *m + 0.1 * g;
        *v = 0.999 * *v + 0.001 * g * g;
        *p -= rate * *m / ((*v / correction).sqrt() + 1e-8);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn adam_by_hand(p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) {
    adam_loop(p, g, m, v, 1e-3, 0.1);
}

/// Times the loop on one thread.
fn time_adam_by_hand(n: usize) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        let mut buffers: Vec<AlignedBuffer> = (0..4).map(|_| AlignedBuffer::new(n)).collect();
        buffers.iter_mut().for_each(|buffer| buffer.fill(0.5));
        let [p, g, m, v] = &mut buffers[..] else { return };
        let mut best = Duration::MAX;
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(400) {
            let begin = Instant::now();
            // SAFETY: the machine has AVX-512.
            unsafe { adam_by_hand(p, g, m, v) };
            best = best.min(begin.elapsed());
        }
        let micros = best.as_secs_f64() * 1e6;
        let name = format!("the same by hand, one thread ({n})");
        println!("{name:44} {micros:10.2} µs {:8.2} GB/s", 28.0 * n as f64 / best.as_secs_f64() / 1e9);
    }
    let _ = n;
}

fn main() {
    let threads = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(2);
    let bench = Bench {
        pool: Pool::new(threads),
        level: Simd::detect(),
        part: std::env::args().nth(2).unwrap_or_default(),
    };
    println!("{} threads, {}", threads, bench.level.name());
    for (name, n) in [
        ("Adam, 33.6M parameters", 33_600_000),
        ("Adam, 100k parameters", 100_000),
        ("Adam, 8k parameters", 8192),
    ] {
        let lengths = [n, n, n, n, 1, 1, 0, 0, 0];
        bench.time(name, &adam(), (&[n], &[]), &lengths, &[(6, 0), (7, 2), (8, 3)], 28 * n);
        time_adam_by_hand(n);
    }
    let n = 1 << 20;
    bench.time("GELU (tanh), 1M", &gelu(), (&[n], &[]), &[n, n], &[], 8 * n);
    let n = 1 << 14;
    for kind in [UnaryKind::Exp, UnaryKind::Tanh, UnaryKind::Sigmoid, UnaryKind::Erf, UnaryKind::Log] {
        bench.time(
            &format!("{} 16k (4 bytes counted)", kind.name()),
            &map(kind),
            (&[n], &[]),
            &[n, n],
            &[],
            4 * n,
        );
    }
    for (rows, columns) in [(4096, 1000), (128, 10)] {
        let n = rows * columns;
        let name = format!("softmax cross-entropy {rows}x{columns}, both ways");
        bench.time(&name, &cross_entropy(columns), (&[rows], &[columns]), &[n, rows, rows, n], &[], 8 * n);
    }
    let n = 2048 * 128;
    bench.time("LayerNorm 2048x128", &layer_norm(128), (&[2048], &[128]), &[n, 128, 128, n], &[], 8 * n);
    let column_sum = reduction(Reduction::Sum, &[2048], &affine(&[1], &[128]));
    bench.time("bias gradient: column sum 2048x128", &column_sum, (&[128], &[2048]), &[n, 128], &[], 4 * n);
    let total = reduction(Reduction::Sum, &[1 << 20], &affine(&[], &[1]));
    bench.time("sum of 1M", &total, (&[], &[1 << 20]), &[1 << 20, 1], &[], 4 << 20);
    for (images, channels, pixels) in [(32, 64, 1024), (32, 512, 16)] {
        let n = images * channels * pixels;
        let index = affine(&[pixels as i64], &[(channels * pixels) as i64, 1]);
        let stats = reduction(Reduction::MeanVariance, &[images, pixels], &index);
        let name = format!("BatchNorm statistics [{images},{channels},{pixels}]");
        bench.time(&name, &stats, (&[channels], &[images, pixels]), &[n, channels, channels], &[], 4 * n);
        let name = format!("BatchNorm scale, shift, ReLU [{images},{channels},{pixels}]");
        let rows = [images, channels, pixels];
        bench.time(
            &name,
            &scale_relu(channels, pixels),
            (&rows, &[]),
            &[n, channels, channels, n],
            &[],
            8 * n,
        );
    }
}
