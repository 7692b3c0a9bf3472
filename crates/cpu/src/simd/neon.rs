//! NEON, which every 64-bit ARM processor has: 4 lanes, 32 registers.

use super::{Kernel, MAX_LANES, Vector};
use std::arch::aarch64::*;

/// A 128-bit register.
#[derive(Clone, Copy)]
pub(super) struct Neon(float32x4_t);

/// NEON needs no attribute; a function of its own keeps callers small.
#[inline(never)]
fn call<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Neon>()
}

// SAFETY of the blocks below: NEON is part of the target; pointers are as the caller promises.
#[allow(clippy::undocumented_unsafe_blocks, reason = "one comment for all of them, above")]
impl Vector for Neon {
    const LANES: usize = 4;
    const REGISTERS: usize = 32;
    type Mask = uint32x4_t;

    #[inline(always)]
    fn call<K: Kernel>(kernel: K) -> K::Output {
        call(kernel)
    }
    #[inline(always)]
    fn splat(value: f32) -> Self {
        Neon(unsafe { vdupq_n_f32(value) })
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Neon(unsafe { vld1q_f32(from) })
    }
    #[inline(always)]
    unsafe fn load_partial(from: *const f32, count: usize) -> Self {
        let mut numbers = [0.0f32; 4];
        unsafe {
            std::ptr::copy_nonoverlapping(from, numbers.as_mut_ptr(), count);
            Neon(vld1q_f32(numbers.as_ptr()))
        }
    }
    #[inline(always)]
    unsafe fn load_i32(from: *const i32, count: usize) -> Self {
        let mut numbers = [0i32; 4];
        unsafe {
            std::ptr::copy_nonoverlapping(from, numbers.as_mut_ptr(), count);
            Neon(vcvtq_f32_s32(vld1q_s32(numbers.as_ptr())))
        }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { vst1q_f32(to, self.0) }
    }
    #[inline(always)]
    unsafe fn store_partial(self, to: *mut f32, count: usize) {
        let mut numbers = [0.0f32; 4];
        unsafe {
            vst1q_f32(numbers.as_mut_ptr(), self.0);
            std::ptr::copy_nonoverlapping(numbers.as_ptr(), to, count);
        }
    }
    #[inline(always)]
    unsafe fn store_i32(self, to: *mut i32, count: usize) {
        let mut numbers = [0i32; 4];
        unsafe {
            vst1q_s32(numbers.as_mut_ptr(), vcvtnq_s32_f32(self.0));
            std::ptr::copy_nonoverlapping(numbers.as_ptr(), to, count);
        }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Neon(unsafe { vaddq_f32(self.0, other.0) })
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Neon(unsafe { vsubq_f32(self.0, other.0) })
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Neon(unsafe { vmulq_f32(self.0, other.0) })
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, summand: Self) -> Self {
        Neon(unsafe { vfmaq_f32(summand.0, self.0, factor.0) })
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        unsafe { vaddvq_f32(self.0) }
    }
    #[inline(always)]
    fn beats(self, other: Self) -> uint32x4_t {
        unsafe { vandq_u32(vmvnq_u32(vcleq_f32(self.0, other.0)), vceqq_f32(other.0, other.0)) }
    }
    #[inline(always)]
    fn equal(self, other: Self) -> uint32x4_t {
        unsafe { vceqq_f32(self.0, other.0) }
    }
    #[inline(always)]
    fn select(mask: uint32x4_t, yes: Self, no: Self) -> Self {
        Neon(unsafe { vbslq_f32(mask, yes.0, no.0) })
    }
    #[inline(always)]
    fn transpose(rows: &mut [Self; MAX_LANES]) {
        unsafe {
            let even = [vzip1q_f32(rows[0].0, rows[2].0), vzip2q_f32(rows[0].0, rows[2].0)];
            let odd = [vzip1q_f32(rows[1].0, rows[3].0), vzip2q_f32(rows[1].0, rows[3].0)];
            for i in 0..2 {
                rows[2 * i].0 = vzip1q_f32(even[i], odd[i]);
                rows[2 * i + 1].0 = vzip2q_f32(even[i], odd[i]);
            }
        }
    }
    #[inline(always)]
    fn deinterleave(low: Self, high: Self) -> (Self, Self) {
        unsafe { (Neon(vuzp1q_f32(low.0, high.0)), Neon(vuzp2q_f32(low.0, high.0))) }
    }
    #[inline(always)]
    fn interleave(even: Self, odd: Self) -> (Self, Self) {
        unsafe { (Neon(vzip1q_f32(even.0, odd.0)), Neon(vzip2q_f32(even.0, odd.0))) }
    }
}
