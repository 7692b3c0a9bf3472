//! Halves in vectors: between the 16 bits of f16 and bf16 and lanes of f32.
//!
//! In lanes, the bits of a half stand in the lower part of an element, with zeros above.

use super::block::{Block, BlockFn, pick};
use super::lanes::Lanes;
use crate::simd::Level;
use dropforge_ir::DType;

/// A format of 16 bits.
pub(crate) trait Half: 'static {
    /// The numbers with these bits.
    fn widen<V: Lanes>(bits: V::I) -> V::F;
    /// The bits of the nearest numbers, ties to even.
    fn narrow<V: Lanes>(x: V::F) -> V::I;
}

/// 5 bits of exponent, 10 of fraction.
pub(crate) struct Binary16;

/// The front half of an f32.
pub(crate) struct BFloat16;

impl Half for Binary16 {
    #[inline(always)]
    fn widen<V: Lanes>(bits: V::I) -> V::F {
        V::widen_binary16(bits)
    }

    #[inline(always)]
    fn narrow<V: Lanes>(x: V::F) -> V::I {
        V::narrow_binary16(x)
    }
}

impl Half for BFloat16 {
    #[inline(always)]
    fn widen<V: Lanes>(bits: V::I) -> V::F {
        V::float(V::shift_left_by::<16>(bits))
    }

    #[inline(always)]
    fn narrow<V: Lanes>(x: V::F) -> V::I {
        let bits = V::bits(x);
        // Just below one step, and one more where the last bit that stays is odd: a tie then carries.
        let odd = V::and(V::shift_right_by::<16>(bits), V::splat_bits(1));
        let rounded = V::int_add(V::int_add(bits, V::splat_bits(0x7fff)), odd);
        let quiet = V::or(bits, V::splat_bits(0x0040_0000));
        V::shift_right_by::<16>(V::select_bits(V::is_nan(x), quiet, rounded))
    }
}

/// [`Binary16`]'s `widen` for instruction sets that lack it.
#[inline(always)]
pub(super) fn widen_binary16<V: Lanes>(bits: V::I) -> V::F {
    let magnitude = V::and(bits, V::splat_bits(0x7fff));
    let sign = V::shift_left_by::<16>(V::xor(bits, magnitude));
    let shifted = V::shift_left_by::<13>(magnitude);
    // The bias of exponents grows from 15 to 127, and to 255 where the exponent says infinity or NaN.
    let normal = V::int_add(shifted, V::splat_bits(112 << 23));
    let special = V::or(shifted, V::splat_bits(0x7f80_0000));
    // Whole numbers of the smallest step.
    let small = V::bits(V::mul(V::convert(magnitude), V::splat(1.0 / 16_777_216.0)));
    let finite = V::select_bits(V::int_less(magnitude, V::splat_bits(0x0400)), small, normal);
    let wide = V::select_bits(V::int_less(magnitude, V::splat_bits(0x7c00)), finite, special);
    V::float(V::or(sign, wide))
}

/// [`Binary16`]'s `narrow` for instruction sets that lack it.
#[inline(always)]
pub(super) fn narrow_binary16<V: Lanes>(x: V::F) -> V::I {
    let magnitude = V::and(V::bits(x), V::splat_bits(0x7fff_ffff));
    let sign = V::shift_right_by::<16>(V::xor(V::bits(x), magnitude));
    let odd = V::and(V::shift_right_by::<13>(magnitude), V::splat_bits(1));
    let rounded = V::int_add(V::int_add(magnitude, V::splat_bits(0xfff)), odd);
    let normal = V::shift_right_by::<13>(V::int_sub(rounded, V::splat_bits(112 << 23)));
    // Next to 1/2 the steps of f32 are those of the smallest halves: adding it rounds to them.
    let half = V::splat(0.5);
    let small = V::int_sub(V::bits(V::add(V::float(magnitude), half)), V::bits(half));
    let quiet =
        V::or(V::splat_bits(0x7e00), V::and(V::shift_right_by::<13>(magnitude), V::splat_bits(0x3ff)));
    // 2⁻¹⁴, and what rounds to 2¹⁶.
    let finite = V::select_bits(V::int_less(magnitude, V::splat_bits(0x3880_0000)), small, normal);
    let narrow =
        V::select_bits(V::int_less(magnitude, V::splat_bits(0x477f_f000)), finite, V::splat_bits(0x7c00));
    V::or(sign, V::select_bits(V::is_nan(x), quiet, narrow))
}

/// Reads `count` halves one after another as f32.
///
/// # Safety
/// `count` halves are readable, as many elements writable.
#[inline(always)]
pub(crate) unsafe fn widen_run<V: Lanes, H: Half>(to: *mut u32, from: *const u16, count: usize) {
    // SAFETY: every position is below `count`, and the array has room for a vector.
    unsafe {
        let mut i = 0;
        while i + V::COUNT <= count {
            V::store(V::bits(H::widen::<V>(V::load_halves(from.add(i)))), to.add(i));
            i += V::COUNT;
        }
        if i < count {
            let mut rest = [0u16; 16];
            std::ptr::copy_nonoverlapping(from.add(i), rest.as_mut_ptr(), count - i);
            let wide = V::bits(H::widen::<V>(V::load_halves(rest.as_ptr())));
            V::store_first(wide, to.add(i), count - i);
        }
    }
}

/// Rounds `count` f32 to halves one after another.
///
/// # Safety
/// `count` elements are readable, as many halves writable.
#[inline(always)]
pub(crate) unsafe fn narrow_run<V: Lanes, H: Half>(to: *mut u16, from: *const u32, count: usize) {
    // SAFETY: every position is below `count`, and the array has room for a vector.
    unsafe {
        let mut i = 0;
        while i + V::COUNT <= count {
            V::store_halves(H::narrow::<V>(V::float(V::load(from.add(i)))), to.add(i));
            i += V::COUNT;
        }
        if i < count {
            let mut rest = [0u16; 16];
            let x = V::float(V::load_first(from.add(i), count - i));
            V::store_halves(H::narrow::<V>(x), rest.as_mut_ptr());
            std::ptr::copy_nonoverlapping(rest.as_ptr(), to.add(i), count - i);
        }
    }
}

struct Widen<H>(std::marker::PhantomData<H>);

impl<H: Half> Block for Widen<H> {
    #[inline(always)]
    unsafe fn run<V: Lanes>(to: *mut u32, a: *const u32, _: *const u32, _: *const u32, count: usize) {
        // SAFETY: the caller's promise, with halves behind `a`.
        unsafe { widen_run::<V, H>(to, a.cast(), count) }
    }
}

struct Narrow<H>(std::marker::PhantomData<H>);

impl<H: Half> Block for Narrow<H> {
    #[inline(always)]
    unsafe fn run<V: Lanes>(to: *mut u32, a: *const u32, _: *const u32, _: *const u32, count: usize) {
        // SAFETY: the caller's promise, with halves behind `to`.
        unsafe { narrow_run::<V, H>(to.cast(), a, count) }
    }
}

/// The block function that reads `count` elements of a half type one after another at `a` as f32.
pub(crate) fn widen(dtype: DType, level: Level) -> BlockFn {
    match dtype {
        DType::BF16 => pick::<Widen<BFloat16>>(level),
        _ => pick::<Widen<Binary16>>(level),
    }
}

/// The block function that rounds `count` f32 to elements of a half type one after another at `to`.
pub(crate) fn narrow(dtype: DType, level: Level) -> BlockFn {
    match dtype {
        DType::BF16 => pick::<Narrow<BFloat16>>(level),
        _ => pick::<Narrow<Binary16>>(level),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dropforge_ir::{BF16, F16};

    /// Both directions on every instruction set, against the reference's conversions.
    fn check(dtype: DType, read: impl Fn(u16) -> f32, round: impl Fn(f32) -> u16) {
        let every: Vec<u16> = (0..=u16::MAX).collect();
        let mut numbers: Vec<f32> = Vec::new();
        // Every half, the f32 next to it, and the middle to the next half with its neighbours.
        for &bits in &every {
            let (x, next) = (read(bits), read(bits.wrapping_add(1)));
            let middle = ((f64::from(x) + f64::from(next)) / 2.0) as f32;
            for near in [x, middle] {
                numbers
                    .extend([-1, 0, 1].map(|step| f32::from_bits(near.to_bits().wrapping_add_signed(step))));
            }
        }
        numbers.extend((0..=u32::MAX).step_by(10_007).map(f32::from_bits));
        numbers.extend([65519.996, 65520.0, -65520.0, f32::MAX, 1e-40, -1e-45, 2.980_232_2e-8]);
        for level in Level::available() {
            let null = std::ptr::null();
            let mut wide = vec![0.0f32; every.len()];
            let mut narrowed = vec![0u16; numbers.len()];
            // SAFETY: as many elements on both sides; the level is this machine's.
            unsafe {
                let (to, from) = (wide.as_mut_ptr().cast(), every.as_ptr().cast());
                widen(dtype, level)(to, from, null, null, every.len());
                let (to, from) = (narrowed.as_mut_ptr().cast(), numbers.as_ptr().cast());
                narrow(dtype, level)(to, from, null, null, numbers.len());
            }
            for (&bits, &x) in every.iter().zip(&wide) {
                let expected = read(bits);
                let same = x.to_bits() == expected.to_bits() || (x.is_nan() && expected.is_nan());
                assert!(same, "{dtype} {bits:#x} is {expected:?}, {} gives {x:?}", level.name());
            }
            for (&x, &bits) in numbers.iter().zip(&narrowed) {
                let expected = round(x);
                assert_eq!(bits, expected, "{x:?} ({:#x}) to {dtype} on {}", x.to_bits(), level.name());
            }
            // Nothing is touched behind the last element.
            for count in 0..40 {
                let (mut wide, mut narrowed) = (vec![7.0f32; 48], vec![7u16; 48]);
                // SAFETY: at most 40 of 48 elements.
                unsafe {
                    widen(dtype, level)(wide.as_mut_ptr().cast(), every.as_ptr().cast(), null, null, count);
                    narrow(dtype, level)(
                        narrowed.as_mut_ptr().cast(),
                        wide.as_ptr().cast(),
                        null,
                        null,
                        count,
                    );
                }
                assert!(wide[count..].iter().all(|&x| x == 7.0), "{count} on {}", level.name());
                assert_eq!(narrowed[..count], every[..count]);
                assert!(narrowed[count..].iter().all(|&x| x == 7), "{count} on {}", level.name());
            }
        }
    }

    #[test]
    fn f16() {
        check(DType::F16, |bits| F16::from_bits(bits).to_f32(), |x| F16::from_f32(x).to_bits());
    }

    #[test]
    fn bf16() {
        check(DType::BF16, |bits| BF16::from_bits(bits).to_f32(), |x| BF16::from_f32(x).to_bits());
    }
}
