//! Plain arrays, for machines that have none of the other instruction sets; the compiler vectorises what it can.

use super::{Kernel, MAX_LANES, Vector};

const LANES: usize = 8;

/// Eight numbers.
#[derive(Clone, Copy)]
pub(super) struct Portable([f32; LANES]);

#[inline(never)]
fn call<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Portable>()
}

impl Portable {
    #[inline(always)]
    fn combine(self, other: Self, function: impl Fn(f32, f32) -> f32) -> Self {
        let mut result = self;
        for i in 0..LANES {
            result.0[i] = function(self.0[i], other.0[i]);
        }
        result
    }
}

impl Vector for Portable {
    const LANES: usize = LANES;
    const REGISTERS: usize = 8;
    type Mask = [bool; LANES];

    #[inline(always)]
    fn call<K: Kernel>(kernel: K) -> K::Output {
        call(kernel)
    }
    #[inline(always)]
    fn splat(value: f32) -> Self {
        Portable([value; LANES])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise; an array has the alignment of its elements.
        Portable(unsafe { *from.cast() })
    }
    #[inline(always)]
    unsafe fn load_partial(from: *const f32, count: usize) -> Self {
        let mut result = [0.0; LANES];
        for (i, number) in result.iter_mut().enumerate().take(count) {
            // SAFETY: the caller's promise.
            *number = unsafe { *from.add(i) };
        }
        Portable(result)
    }
    #[inline(always)]
    unsafe fn load_i32(from: *const i32, count: usize) -> Self {
        let mut result = [0.0; LANES];
        for (i, number) in result.iter_mut().enumerate().take(count) {
            // SAFETY: the caller's promise.
            *number = unsafe { *from.add(i) } as f32;
        }
        Portable(result)
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { *to.cast() = self.0 }
    }
    #[inline(always)]
    unsafe fn store_partial(self, to: *mut f32, count: usize) {
        for (i, number) in self.0.iter().enumerate().take(count) {
            // SAFETY: the caller's promise.
            unsafe { *to.add(i) = *number };
        }
    }
    #[inline(always)]
    unsafe fn store_i32(self, to: *mut i32, count: usize) {
        for (i, number) in self.0.iter().enumerate().take(count) {
            // SAFETY: the caller's promise.
            unsafe { *to.add(i) = *number as i32 };
        }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.combine(other, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.combine(other, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.combine(other, |a, b| a * b)
    }
    /// Rounds twice: without the instruction, rounding once would be a slow library call.
    #[inline(always)]
    fn mul_add(self, factor: Self, summand: Self) -> Self {
        self.mul(factor).add(summand)
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        self.0.iter().sum()
    }
    #[inline(always)]
    fn beats(self, other: Self) -> [bool; LANES] {
        let mut mask = [false; LANES];
        for i in 0..LANES {
            mask[i] = self.0[i] > other.0[i] || (self.0[i].is_nan() && !other.0[i].is_nan());
        }
        mask
    }
    #[inline(always)]
    fn equal(self, other: Self) -> [bool; LANES] {
        let mut mask = [false; LANES];
        for i in 0..LANES {
            mask[i] = self.0[i] == other.0[i];
        }
        mask
    }
    #[inline(always)]
    fn select(mask: [bool; LANES], yes: Self, no: Self) -> Self {
        let mut result = no;
        for i in 0..LANES {
            result.0[i] = if mask[i] { yes.0[i] } else { no.0[i] };
        }
        result
    }
    #[inline(always)]
    fn transpose(rows: &mut [Self; MAX_LANES]) {
        for i in 0..LANES {
            for j in 0..i {
                let (upper, lower) = (rows[j].0[i], rows[i].0[j]);
                rows[j].0[i] = lower;
                rows[i].0[j] = upper;
            }
        }
    }
    #[inline(always)]
    fn deinterleave(low: Self, high: Self) -> (Self, Self) {
        let (mut even, mut odd) = (low, high);
        for i in 0..LANES / 2 {
            (even.0[i], odd.0[i]) = (low.0[2 * i], low.0[2 * i + 1]);
            (even.0[LANES / 2 + i], odd.0[LANES / 2 + i]) = (high.0[2 * i], high.0[2 * i + 1]);
        }
        (even, odd)
    }
    #[inline(always)]
    fn interleave(even: Self, odd: Self) -> (Self, Self) {
        let (mut low, mut high) = (even, odd);
        for i in 0..LANES / 2 {
            (low.0[2 * i], low.0[2 * i + 1]) = (even.0[i], odd.0[i]);
            (high.0[2 * i], high.0[2 * i + 1]) = (even.0[LANES / 2 + i], odd.0[LANES / 2 + i]);
        }
        (low, high)
    }
}
