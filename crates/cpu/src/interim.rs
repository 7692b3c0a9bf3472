//! Interim.
use crate::pool::Pool;
use crate::simd::Level;
use dropforge_ir::random::philox;
use dropforge_ir::{BinaryKind, CompareKind, DType, UnaryKind};
use dropforge_plan::kernel::{Affine, Instruction, Level as L, LoopKernel, Reduction, Register};
const B: usize = 256;
pub struct Compiled {
    k: LoopKernel,
    rows: Vec<Vec<usize>>,
}
type Blk = Vec<[u32; B]>;
fn off(e: &[usize], st: &[i64], mut n: usize) -> i64 {
    let mut p = 0;
    for (&x, &s) in e.iter().zip(st).rev() {
        p += (n % x) as i64 * s;
        n /= x;
    }
    p
}
fn f(x: u32) -> f32 {
    f32::from_bits(x)
}
impl Compiled {
    pub fn new(k: &LoopKernel, rows: &[Vec<usize>], _: usize, _: Level) -> Compiled {
        Compiled { k: k.clone(), rows: rows.to_vec() }
    }
    pub unsafe fn run(&self, p: &dyn Fn(usize, usize) -> *mut u8, _: &Pool) {
        for (i, r) in self.rows.iter().enumerate() {
            unsafe { self.one(&|o| p(i, o), r) }
        }
    }
    unsafe fn one(&self, p: &dyn Fn(usize) -> *mut u8, rows: &[usize]) {
        let k = &self.k;
        let n: usize = rows.iter().product();
        let c: usize = k.columns.iter().product();
        let mut regs: Blk = vec![[0; B]; k.registers.len()];
        if k.columns.is_empty() {
            let mut a = 0;
            while a < n {
                let len = B.min(n - a);
                for s in &k.stages {
                    for ins in s.domain.iter().chain(&s.row) {
                        unsafe { step(k, ins, &mut regs, p, len, &|x, l| x.offset + off(rows, &x.rows, a + l), false) };
                    }
                }
                a += len;
            }
            return;
        }
        for row in 0..n {
            for s in &k.stages {
                let mut vals: Vec<Vec<f64>> = s.reductions.iter().map(|_| Vec::new()).collect();
                let mut a = 0;
                while a < c {
                    let len = B.min(c - a);
                    for ins in &s.domain {
                        unsafe {
                            step(
                                k,
                                ins,
                                &mut regs,
                                p,
                                len,
                                &|x, l| x.offset + off(rows, &x.rows, row) + off(&k.columns, &x.columns, a + l),
                                true,
                            )
                        };
                    }
                    for (v, r) in vals.iter_mut().zip(&s.reductions) {
                        let info = k.registers[r.from.index()];
                        for l in 0..len {
                            let x = regs[r.from.index()][if info.level == L::Row { 0 } else { l }];
                            v.push(if info.dtype == DType::I32 { x as i32 as f64 } else { f(x) as f64 });
                        }
                    }
                    a += len;
                }
                for (v, r) in vals.iter().zip(&s.reductions) {
                    let int = k.registers[r.from.index()].dtype == DType::I32;
                    let put = |x: f64| if int { (x as i64 as i32) as u32 } else { (x as f32).to_bits() };
                    let beats = |x: f64, b: f64| x > b || (x.is_nan() && !b.is_nan());
                    let m = v.iter().copied().fold(f64::NEG_INFINITY, |b, x| if beats(x, b) { x } else { b });
                    match r.kind {
                        Reduction::Sum => regs[r.to[0].index()][0] = put(v.iter().sum()),
                        Reduction::Product => {
                            let w = if int { v.iter().fold(1i32, |a, &x| a.wrapping_mul(x as i32)) as f64 } else { v.iter().product() };
                            regs[r.to[0].index()][0] = put(w)
                        }
                        Reduction::Max => regs[r.to[0].index()][0] = put(if int && v.is_empty() { i32::MIN as f64 } else { m }),
                        Reduction::Min => {
                            let m = v.iter().copied().fold(f64::INFINITY, |b, x| if x < b || (x.is_nan() && !b.is_nan()) { x } else { b });
                            regs[r.to[0].index()][0] = put(if int && v.is_empty() { i32::MAX as f64 } else { m })
                        }
                        Reduction::ArgMax => {
                            let mut b = 0;
                            for (i, &x) in v.iter().enumerate() {
                                if beats(x, v[b]) {
                                    b = i
                                }
                            }
                            regs[r.to[0].index()][0] = b as u32
                        }
                        Reduction::LogSumExp => {
                            let x = if m.is_finite() { m + v.iter().map(|x| (x - m).exp()).sum::<f64>().ln() } else { m };
                            regs[r.to[0].index()][0] = put(x)
                        }
                        Reduction::MeanVariance => {
                            let mean = v.iter().sum::<f64>() / v.len() as f64;
                            let var = v.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / v.len() as f64;
                            regs[r.to[0].index()][0] = put(mean);
                            regs[r.to[1].index()][0] = put(var);
                        }
                    }
                }
                for ins in &s.row {
                    unsafe { step(k, ins, &mut regs, p, 1, &|x, _| x.offset + off(rows, &x.rows, row), false) };
                }
            }
        }
    }
}
#[allow(clippy::too_many_arguments)]
unsafe fn step(k: &LoopKernel, ins: &Instruction, regs: &mut Blk, p: &dyn Fn(usize) -> *mut u8, len: usize, at: &dyn Fn(&Affine, usize) -> i64, dom: bool) {
    let g = |regs: &Blk, r: Register, l: usize| regs[r.index()][if dom && k.registers[r.index()].level == L::Row { 0 } else { l }];
    let ty = |r: Register| k.registers[r.index()].dtype;
    for l in 0..len {
        let (to, v) = match ins {
            Instruction::Load { to, access } => unsafe {
                let q = p(access.operand).offset(at(&access.index, l) as isize * access.dtype.size() as isize);
                (*to, if access.dtype.size() == 4 { *(q as *const u32) } else { *q as u32 })
            },
            Instruction::Store { from, access } => unsafe {
                let q = p(access.operand).offset(at(&access.index, l) as isize * access.dtype.size() as isize);
                let v = g(regs, *from, l);
                if access.dtype.size() == 4 { *(q as *mut u32) = v } else { *q = v as u8 }
                continue;
            },
            Instruction::Immediate { to, bits } => (*to, *bits),
            Instruction::Index { to, index } => (*to, at(index, l) as i32 as u32),
            Instruction::Unary { kind, to, x } => {
                let b = g(regs, *x, l);
                let x0 = f(b);
                let v = match (kind, ty(*x)) {
                    (UnaryKind::Not, _) => (*to, b ^ 1),
                    (UnaryKind::Negate, DType::I32) => (*to, (b as i32).wrapping_neg() as u32),
                    (UnaryKind::Absolute, DType::I32) => (*to, (b as i32).wrapping_abs() as u32),
                    (UnaryKind::Sign, DType::I32) => (*to, (b as i32).signum() as u32),
                    (kind, _) => {
                        let y = match kind {
                            UnaryKind::Negate => -x0,
                            UnaryKind::Absolute => x0.abs(),
                            UnaryKind::Sign => if x0 > 0.0 { 1.0 } else if x0 < 0.0 { -1.0 } else { x0 },
                            UnaryKind::Exp => x0.exp(),
                            UnaryKind::ExpMinusOne => x0.exp_m1(),
                            UnaryKind::Log => x0.ln(),
                            UnaryKind::LogOnePlus => x0.ln_1p(),
                            UnaryKind::SquareRoot => x0.sqrt(),
                            UnaryKind::ReciprocalSquareRoot => 1.0 / x0.sqrt(),
                            UnaryKind::Reciprocal => 1.0 / x0,
                            UnaryKind::Sin => x0.sin(),
                            UnaryKind::Cos => x0.cos(),
                            UnaryKind::Tanh => x0.tanh(),
                            UnaryKind::Sigmoid => 1.0 / (1.0 + (-x0).exp()),
                            UnaryKind::Erf => {
                                let t = 1.0 / (1.0 + 0.327_591_1 * x0.abs());
                                let y = 1.0 - (((((1.061_405_4 * t - 1.453_152_1) * t) + 1.421_413_8) * t - 0.284_496_72) * t + 0.254_829_6) * t * (-x0 * x0).exp();
                                if x0 < 0.0 { -y } else { y }
                            }
                            UnaryKind::Relu => if x0 <= 0.0 { 0.0 } else { x0 },
                            UnaryKind::Floor => x0.floor(),
                            UnaryKind::Ceil => x0.ceil(),
                            UnaryKind::Round => x0.round_ties_even(),
                            UnaryKind::Not => unreachable!(),
                        };
                        (*to, y.to_bits())
                    }
                };
                v
            }
            Instruction::Binary { kind, to, a, b } => {
                let (x, y) = (g(regs, *a, l), g(regs, *b, l));
                use BinaryKind::*;
                let v = match (kind, ty(*a)) {
                    (And, _) => x & y,
                    (Or, _) => x | y,
                    (Xor, _) => x ^ y,
                    (ShiftLeft, _) => x << (y & 31),
                    (ShiftRight, _) => x >> (y & 31),
                    (kind, DType::F32) => {
                        let (x, y) = (f(x), f(y));
                        (match kind {
                            Add => x + y,
                            Subtract => x - y,
                            Multiply => x * y,
                            Divide => x / y,
                            Power => x.powf(y),
                            Maximum => if x.is_nan() || y.is_nan() { f32::NAN } else { x.max(y) },
                            Minimum => if x.is_nan() || y.is_nan() { f32::NAN } else { x.min(y) },
                            _ => x % y,
                        }).to_bits()
                    }
                    (kind, DType::I32) => {
                        let (x, y) = (x as i32, y as i32);
                        (match kind {
                            Add => x.wrapping_add(y),
                            Subtract => x.wrapping_sub(y),
                            Multiply => x.wrapping_mul(y),
                            Divide => if y == 0 { 0 } else { x.wrapping_div(y) },
                            Maximum => x.max(y),
                            Minimum => x.min(y),
                            _ => if y == 0 { 0 } else { x.wrapping_rem(y) },
                        }) as u32
                    }
                    (kind, _) => match kind {
                        Add => x.wrapping_add(y),
                        Subtract => x.wrapping_sub(y),
                        Multiply => x.wrapping_mul(y),
                        Divide => x.checked_div(y).unwrap_or(0),
                        Maximum => x.max(y),
                        Minimum => x.min(y),
                        _ => x.checked_rem(y).unwrap_or(0),
                    },
                };
                (*to, v)
            }
            Instruction::Compare { kind, to, a, b } => {
                let (x, y) = (g(regs, *a, l), g(regs, *b, l));
                let o = match ty(*a) {
                    DType::F32 => f(x).partial_cmp(&f(y)),
                    DType::I32 => Some((x as i32).cmp(&(y as i32))),
                    _ => Some(x.cmp(&y)),
                };
                let v = match kind {
                    CompareKind::Equal => o.is_some_and(|o| o.is_eq()),
                    CompareKind::NotEqual => !o.is_some_and(|o| o.is_eq()),
                    CompareKind::Less => o.is_some_and(|o| o.is_lt()),
                    CompareKind::LessEqual => o.is_some_and(|o| o.is_le()),
                    CompareKind::Greater => o.is_some_and(|o| o.is_gt()),
                    CompareKind::GreaterEqual => o.is_some_and(|o| o.is_ge()),
                };
                (*to, v as u32)
            }
            Instruction::Select { to, condition, a, b } => {
                (*to, if g(regs, *condition, l) != 0 { g(regs, *a, l) } else { g(regs, *b, l) })
            }
            Instruction::Cast { to, into, x, .. } => {
                let b = g(regs, *x, l);
                let v = match (ty(*x), into) {
                    (DType::F32, DType::F32) => b,
                    (DType::F32, DType::I32) => f(b) as i32 as u32,
                    (DType::F32, DType::U32) => f(b) as u32,
                    (DType::F32, DType::U8) => f(b) as u8 as u32,
                    (DType::F32, DType::Bool) => (f(b) != 0.0) as u32,
                    (DType::I32, DType::F32) => (b as i32 as f32).to_bits(),
                    (_, DType::F32) => (b as f32).to_bits(),
                    (_, DType::U8) => b & 255,
                    (_, DType::Bool) => (b != 0) as u32,
                    _ => b,
                };
                (*to, v)
            }
            Instruction::RandomBits { to, seed, step, stream, index } => unsafe {
                let s = p(*seed) as *const u32;
                let i = at(index, l) as u32;
                let w = philox([*s, *s.add(1)], [i / 4, *(p(*step) as *const u32), *stream, 0]);
                (*to, w[(i % 4) as usize])
            },
        };
        regs[to.index()][l] = v;
    }
}
