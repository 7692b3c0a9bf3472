//! The machine against the plain interpreter, for every layout, instruction set and several numbers of threads.

mod build;
mod elements;
mod hold;
mod kernels;
mod reductions;
mod updates;

use super::{Compiled, Layout, compile};
use crate::pool::Pool;
use crate::simd::Level as Simd;
use build::{Builder, reference};
use dropforge_ir::{BF16, DType, F16};
use dropforge_plan::kernel::{Domain, LoopKernel};

/// Elements of an operand.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    pub dtype: DType,
    pub bytes: Vec<u8>,
}

impl Buffer {
    pub fn floats(x: &[f32]) -> Buffer {
        Buffer { dtype: DType::F32, bytes: x.iter().flat_map(|x| x.to_ne_bytes()).collect() }
    }

    pub fn ints(x: &[i32]) -> Buffer {
        Buffer { dtype: DType::I32, bytes: x.iter().flat_map(|x| x.to_ne_bytes()).collect() }
    }

    pub fn words(x: &[u32]) -> Buffer {
        Buffer { dtype: DType::U32, bytes: x.iter().flat_map(|x| x.to_ne_bytes()).collect() }
    }

    pub fn halves(dtype: DType, x: &[f32]) -> Buffer {
        let bits = |x: f32| {
            if dtype == DType::F16 { F16::from_f32(x).to_bits() } else { BF16::from_f32(x).to_bits() }
        };
        Buffer { dtype, bytes: x.iter().flat_map(|&x| bits(x).to_ne_bytes()).collect() }
    }

    pub fn bytes(dtype: DType, x: &[u8]) -> Buffer {
        Buffer { dtype, bytes: x.to_vec() }
    }

    pub fn zeros(dtype: DType, count: usize) -> Buffer {
        Buffer { dtype, bytes: vec![0; count * dtype.size()] }
    }

    pub fn numbers(&self) -> Vec<f64> {
        let word = |chunk: &[u8]| [chunk[0], chunk[1], chunk[2], chunk[3]];
        match self.dtype {
            DType::F32 => self.bytes.chunks(4).map(|c| f32::from_ne_bytes(word(c)).into()).collect(),
            DType::F16 => self
                .bytes
                .chunks(2)
                .map(|c| F16::from_bits(u16::from_ne_bytes([c[0], c[1]])).into())
                .collect(),
            DType::BF16 => self
                .bytes
                .chunks(2)
                .map(|c| BF16::from_bits(u16::from_ne_bytes([c[0], c[1]])).into())
                .collect(),
            DType::I32 => self.bytes.chunks(4).map(|c| i32::from_ne_bytes(word(c)).into()).collect(),
            DType::U32 => self.bytes.chunks(4).map(|c| u32::from_ne_bytes(word(c)).into()).collect(),
            DType::U8 | DType::Bool => self.bytes.iter().map(|&byte| byte.into()).collect(),
        }
    }
}

/// Memory aligned for elements, which vectors of bytes are not.
struct Memory(Vec<u64>);

impl Memory {
    fn new(buffer: &Buffer) -> Memory {
        let mut memory = Memory(vec![0; buffer.bytes.len().div_ceil(8) + 1]);
        memory.bytes()[..buffer.bytes.len()].copy_from_slice(&buffer.bytes);
        memory
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: any bytes are bytes.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), 8 * self.0.len()) }
    }
}

struct Addresses(Vec<*mut u8>);
// SAFETY: the kernel under test writes each element once.
unsafe impl Sync for Addresses {}

impl Addresses {
    fn get(&self, number: usize) -> *mut u8 {
        self.0[number]
    }
}

/// Runs instances of a kernel; buffer `places[instance][operand]` of `buffers` is each operand.
fn run(compiled: &Compiled, places: &[Vec<usize>], buffers: &[Buffer], pool: &Pool) -> Vec<Buffer> {
    let mut memories: Vec<Memory> = buffers.iter().map(Memory::new).collect();
    let addresses = Addresses(memories.iter_mut().map(|memory| memory.bytes().as_mut_ptr()).collect());
    // SAFETY: tests describe accesses inside their buffers.
    unsafe { compiled.run(&|instance, operand| addresses.get(places[instance][operand]), pool) };
    let buffer = |(memory, like): (&mut Memory, &Buffer)| Buffer {
        dtype: like.dtype,
        bytes: memory.bytes()[..like.bytes.len()].to_vec(),
    };
    memories.iter_mut().zip(buffers).map(buffer).collect()
}

/// Numbers between −2 and 2.04, others for each seed.
pub fn numbers(count: usize, seed: usize) -> Buffer {
    let number = |i: usize| ((i * 31 + seed * 17) % 101) as f32 / 25.0 - 2.0;
    Buffer::floats(&(0..count).map(number).collect::<Vec<_>>())
}

/// Whether a number is what it should be, up to rounding.
fn close(got: f64, expected: f64, tolerance: f64) -> bool {
    got == expected
        || (got.is_nan() && expected.is_nan())
        || (got - expected).abs() <= tolerance * expected.abs().max(1.0)
}

/// Runs a kernel in every way and compares with the interpreter.
pub fn check(builder: &Builder, rows: &[usize], buffers: &[Buffer]) {
    let places: Vec<usize> = (0..buffers.len()).collect();
    check_instances(&builder.kernel, &[builder.domain(rows)], &[places], buffers, 4e-6);
}

/// As [`check`], with several instances over shared buffers and a relative tolerance.
pub fn check_instances(
    kernel: &LoopKernel,
    instances: &[Domain],
    places: &[Vec<usize>],
    buffers: &[Buffer],
    tolerance: f64,
) {
    let mut expected = buffers.to_vec();
    for (domain, places) in instances.iter().zip(places) {
        reference(kernel, domain, places, &mut expected);
    }
    let registers = compile::live_registers(kernel);
    let all = |domain: &Domain| Layout::all(kernel, domain, registers);
    let choices = instances.iter().map(|domain| all(domain).len()).max().unwrap_or(0);
    for threads in [1, 3] {
        let pool = Pool::new(threads);
        for level in Simd::available() {
            for choice in 0..choices {
                let layouts = |domain: &Domain| {
                    let mut all = all(domain);
                    all.swap_remove(choice.min(all.len() - 1))
                };
                let kind = layouts(&instances[0]).kind;
                let compiled = Compiled::build(kernel, instances, threads, level, 0.0, layouts);
                let got = run(&compiled, places, buffers, &pool);
                assert_eq!(run(&compiled, places, buffers, &pool), got, "two runs differ");
                for (number, (got, expected)) in got.iter().zip(&expected).enumerate() {
                    for (at, (got, expected)) in got.numbers().iter().zip(expected.numbers()).enumerate() {
                        assert!(
                            close(*got, expected, tolerance),
                            "{kind:?} on {} with {threads} threads, {instances:?}: buffer {number}, element {at} is {got}, \
                             not {expected}",
                            level.name(),
                        );
                    }
                }
            }
        }
        let compiled = Compiled::new(kernel, instances, threads, Simd::detect());
        let got = run(&compiled, places, buffers, &pool);
        for (got, expected) in got.iter().zip(&expected) {
            assert!(got.numbers().iter().zip(expected.numbers()).all(|(x, y)| close(*x, y, tolerance)));
        }
    }
}
