//! Small arrays that every compiler turns into the vectors of the target's baseline: SSE2 on x86, NEON on ARM.

use super::lanes::Lanes;

const COUNT: usize = 4;

/// Vectors of 4 lanes.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

type Floats = [f32; COUNT];
type Bits = [u32; COUNT];

/// A loop over the lanes of arrays.
macro_rules! lanes {
    ($zero:expr; $($array:ident),*; $body:expr) => {{
        let mut result = [$zero; COUNT];
        for lane in 0..COUNT {
            $(let $array = $array[lane];)*
            result[lane] = $body;
        }
        result
    }};
}

macro_rules! simple {
    ($($name:ident($($arg:ident: $ty:ty),*) -> $result:ty = $zero:expr, $body:expr;)*) => {
        $(#[inline(always)]
        #[allow(clippy::needless_range_loop, reason = "several arrays are indexed")]
        fn $name($($arg: $ty),*) -> $result {
            lanes!($zero; $($arg),*; $body)
        })*
    };
}

/// All ones where true.
#[inline(always)]
fn mask(truth: bool) -> u32 {
    if truth { u32::MAX } else { 0 }
}

impl Lanes for Portable {
    const COUNT: usize = COUNT;
    type F = Floats;
    type I = Bits;
    type M = Bits;

    #[inline(always)]
    unsafe fn load(from: *const u32) -> Bits {
        // SAFETY: the caller's promise; elements are aligned, arrays of them need no more.
        unsafe { from.cast::<Bits>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn load_first(from: *const u32, count: usize) -> Bits {
        let mut result = [0; COUNT];
        // SAFETY: the caller's promise.
        unsafe { std::ptr::copy_nonoverlapping(from, result.as_mut_ptr(), count) };
        result
    }
    #[inline(always)]
    unsafe fn store(x: Bits, to: *mut u32) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<Bits>().write_unaligned(x) }
    }
    #[inline(always)]
    unsafe fn store_first(x: Bits, to: *mut u32, count: usize) {
        // SAFETY: the caller's promise.
        unsafe { std::ptr::copy_nonoverlapping(x.as_ptr(), to, count) }
    }
    #[inline(always)]
    fn splat(x: f32) -> Floats {
        [x; COUNT]
    }
    #[inline(always)]
    fn splat_bits(x: u32) -> Bits {
        [x; COUNT]
    }

    simple! {
        float(x: Bits) -> Floats = 0.0, f32::from_bits(x);
        bits(x: Floats) -> Bits = 0, x.to_bits();
        add(a: Floats, b: Floats) -> Floats = 0.0, a + b;
        sub(a: Floats, b: Floats) -> Floats = 0.0, a - b;
        mul(a: Floats, b: Floats) -> Floats = 0.0, a * b;
        div(a: Floats, b: Floats) -> Floats = 0.0, a / b;
        fused(a: Floats, b: Floats, c: Floats) -> Floats = 0.0, if cfg!(target_arch = "aarch64") {
            a.mul_add(b, c)
        } else {
            // The product is exact in f64.
            (f64::from(a) * f64::from(b) + f64::from(c)) as f32
        };
        mul_add(a: Floats, b: Floats, c: Floats) -> Floats = 0.0, if cfg!(target_arch = "aarch64") {
            a.mul_add(b, c)
        } else {
            a * b + c
        };
        sqrt(x: Floats) -> Floats = 0.0, x.sqrt();
        min(a: Floats, b: Floats) -> Floats = 0.0, if a < b { a } else { b };
        max(a: Floats, b: Floats) -> Floats = 0.0, if a > b { a } else { b };
        floor(x: Floats) -> Floats = 0.0, x.floor();
        ceil(x: Floats) -> Floats = 0.0, x.ceil();
        round(x: Floats) -> Floats = 0.0, x.round_ties_even();
        equal(a: Floats, b: Floats) -> Bits = 0, mask(a == b);
        less(a: Floats, b: Floats) -> Bits = 0, mask(a < b);
        less_equal(a: Floats, b: Floats) -> Bits = 0, mask(a <= b);
        unordered(a: Floats, b: Floats) -> Bits = 0, mask(a.is_nan() || b.is_nan());
        truncate(x: Floats) -> Bits = 0, x as i32 as u32;
        convert(x: Bits) -> Floats = 0.0, x as i32 as f32;
        int_add(a: Bits, b: Bits) -> Bits = 0, a.wrapping_add(b);
        int_sub(a: Bits, b: Bits) -> Bits = 0, a.wrapping_sub(b);
        int_mul(a: Bits, b: Bits) -> Bits = 0, a.wrapping_mul(b);
        and(a: Bits, b: Bits) -> Bits = 0, a & b;
        or(a: Bits, b: Bits) -> Bits = 0, a | b;
        xor(a: Bits, b: Bits) -> Bits = 0, a ^ b;
        shift_left(a: Bits, b: Bits) -> Bits = 0, a << (b & 31);
        shift_right(a: Bits, b: Bits) -> Bits = 0, a >> (b & 31);
        int_equal(a: Bits, b: Bits) -> Bits = 0, mask(a == b);
        int_less(a: Bits, b: Bits) -> Bits = 0, mask((a as i32) < b as i32);
        select_bits(mask: Bits, yes: Bits, no: Bits) -> Bits = 0, (mask & yes) | (!mask & no);
        mask_or(a: Bits, b: Bits) -> Bits = 0, a | b;
        mask_not(a: Bits) -> Bits = 0, !a;
        flag(mask: Bits) -> Bits = 0, mask & 1;
    }
    #[inline(always)]
    fn first(count: usize) -> Bits {
        std::array::from_fn(|lane| mask(lane < count))
    }
    #[inline(always)]
    fn swap<const BIT: usize>(x: Bits) -> Bits {
        std::array::from_fn(|lane| x[lane ^ BIT])
    }
    #[inline(always)]
    fn shift_left_by<const BY: u32>(a: Bits) -> Bits {
        a.map(|x| x << BY)
    }
    #[inline(always)]
    fn shift_right_by<const BY: u32>(a: Bits) -> Bits {
        a.map(|x| x >> BY)
    }
}
