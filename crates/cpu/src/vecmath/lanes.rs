//! Vectors of 32-bit lanes that may hold floats or integers: what block functions are written in.
//!
//! Block registers of the machine hold 32-bit elements of any type, so that this trait, unlike
//! [`crate::simd`], moves bits and looks at them as floats where a function asks for it. Everything is
//! `#[inline(always)]`, to end up inside the wrappers of [`super::wrap`] that enable an instruction set.
//!
//! *Invariant:* a vector type is named only by code that runs on machines that have its instructions.

/// Asks for the memory at an address, which will be needed soon.
#[inline(always)]
pub(crate) fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch of any address is allowed.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// One instruction set's vectors.
pub(crate) trait Lanes: Copy + 'static {
    /// Lanes in a vector.
    const COUNT: usize;
    /// Lanes as f32.
    type F: Copy;
    /// Lanes as bits.
    type I: Copy;
    /// A truth value for each lane.
    type M: Copy;

    /// # Safety
    /// `COUNT` readable elements.
    unsafe fn load(from: *const u32) -> Self::I;
    /// The first `count < COUNT` elements; the other lanes are zero.
    /// # Safety
    /// `count` readable elements.
    unsafe fn load_first(from: *const u32, count: usize) -> Self::I;
    /// # Safety
    /// `COUNT` writable elements.
    unsafe fn store(x: Self::I, to: *mut u32);
    /// # Safety
    /// `count < COUNT` writable elements.
    unsafe fn store_first(x: Self::I, to: *mut u32, count: usize);

    fn float(x: Self::I) -> Self::F;
    fn bits(x: Self::F) -> Self::I;
    fn splat(x: f32) -> Self::F;
    fn splat_bits(x: u32) -> Self::I;

    fn add(a: Self::F, b: Self::F) -> Self::F;
    fn sub(a: Self::F, b: Self::F) -> Self::F;
    fn mul(a: Self::F, b: Self::F) -> Self::F;
    fn div(a: Self::F, b: Self::F) -> Self::F;
    /// a · b + c, rounded once (or as if in f64).
    fn fused(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// a · b + c, rounded once where that is fast.
    #[inline(always)]
    fn mul_add(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        Self::fused(a, b, c)
    }
    fn sqrt(x: Self::F) -> Self::F;
    /// x · 2ⁿ, rounded once, for integral n from −252 to 254 and x near 1.
    #[inline(always)]
    fn scale(x: Self::F, n: Self::F) -> Self::F {
        // In two steps, since the power alone may be beyond the normal range.
        let power_of_two = |n: Self::F| {
            let biased = Self::int_add(Self::truncate(n), Self::splat_bits(127));
            Self::float(Self::shift_left_by::<23>(biased))
        };
        let half = Self::floor(Self::mul(n, Self::splat(0.5)));
        Self::mul(Self::mul(x, power_of_two(half)), power_of_two(Self::sub(n, half)))
    }
    /// The smaller. `b` if they cannot be ordered, except on instruction sets that give NaN then.
    fn min(a: Self::F, b: Self::F) -> Self::F;
    /// The larger, as `min`.
    fn max(a: Self::F, b: Self::F) -> Self::F;
    fn floor(x: Self::F) -> Self::F;
    fn ceil(x: Self::F) -> Self::F;
    /// Nearest integer, ties to even.
    fn round(x: Self::F) -> Self::F;
    fn equal(a: Self::F, b: Self::F) -> Self::M;
    fn less(a: Self::F, b: Self::F) -> Self::M;
    fn less_equal(a: Self::F, b: Self::F) -> Self::M;
    /// Either is NaN.
    fn unordered(a: Self::F, b: Self::F) -> Self::M;
    /// Towards zero; anything outside i32 gives anything.
    fn truncate(x: Self::F) -> Self::I;
    /// Signed integers as floats.
    fn convert(x: Self::I) -> Self::F;

    fn int_add(a: Self::I, b: Self::I) -> Self::I;
    fn int_sub(a: Self::I, b: Self::I) -> Self::I;
    fn int_mul(a: Self::I, b: Self::I) -> Self::I;
    fn and(a: Self::I, b: Self::I) -> Self::I;
    fn or(a: Self::I, b: Self::I) -> Self::I;
    fn xor(a: Self::I, b: Self::I) -> Self::I;
    /// a << b for b below 32.
    fn shift_left(a: Self::I, b: Self::I) -> Self::I;
    /// a >> b for b below 32; zeros come in.
    fn shift_right(a: Self::I, b: Self::I) -> Self::I;
    fn shift_left_by<const BY: u32>(a: Self::I) -> Self::I;
    fn shift_right_by<const BY: u32>(a: Self::I) -> Self::I;
    fn int_equal(a: Self::I, b: Self::I) -> Self::M;
    /// Signed.
    fn int_less(a: Self::I, b: Self::I) -> Self::M;

    fn select_bits(mask: Self::M, yes: Self::I, no: Self::I) -> Self::I;
    fn mask_or(a: Self::M, b: Self::M) -> Self::M;
    fn mask_not(a: Self::M) -> Self::M;
    /// 1 where true, 0 elsewhere.
    fn flag(mask: Self::M) -> Self::I;

    /// True in the first `count` lanes.
    fn first(count: usize) -> Self::M;
    /// Exchanges lanes whose numbers differ in the bit `BIT` (1, 2, 4, …).
    fn swap<const BIT: usize>(x: Self::I) -> Self::I;

    /// `COUNT` elements of 16 bits, zeros above.
    /// # Safety
    /// `COUNT` readable elements.
    #[inline(always)]
    unsafe fn load_halves(from: *const u16) -> Self::I {
        let mut lanes = [0u32; 16];
        // SAFETY: the array has room for a vector; the caller's promise.
        unsafe {
            for (lane, element) in lanes.iter_mut().enumerate().take(Self::COUNT) {
                *element = (*from.add(lane)).into();
            }
            Self::load(lanes.as_ptr())
        }
    }
    /// The lower 16 bits of each lane.
    /// # Safety
    /// `COUNT` writable elements.
    #[inline(always)]
    unsafe fn store_halves(x: Self::I, to: *mut u16) {
        let mut lanes = [0u32; 16];
        // SAFETY: as above.
        unsafe {
            Self::store(x, lanes.as_mut_ptr());
            for (lane, &element) in lanes.iter().enumerate().take(Self::COUNT) {
                *to.add(lane) = element as u16;
            }
        }
    }
    /// The numbers of binary16 with these bits.
    #[inline(always)]
    fn widen_binary16(bits: Self::I) -> Self::F {
        super::half::widen_binary16::<Self>(bits)
    }
    /// The bits of the nearest numbers of binary16.
    #[inline(always)]
    fn narrow_binary16(x: Self::F) -> Self::I {
        super::half::narrow_binary16::<Self>(x)
    }

    #[inline(always)]
    fn select(mask: Self::M, yes: Self::F, no: Self::F) -> Self::F {
        Self::float(Self::select_bits(mask, Self::bits(yes), Self::bits(no)))
    }
    #[inline(always)]
    fn abs(x: Self::F) -> Self::F {
        Self::float(Self::and(Self::bits(x), Self::splat_bits(0x7fff_ffff)))
    }
    #[inline(always)]
    fn neg(x: Self::F) -> Self::F {
        Self::float(Self::xor(Self::bits(x), Self::splat_bits(0x8000_0000)))
    }
    /// The magnitude of `x` with the sign of `sign`.
    #[inline(always)]
    fn with_sign(x: Self::F, sign: Self::F) -> Self::F {
        let sign = Self::and(Self::bits(sign), Self::splat_bits(0x8000_0000));
        Self::float(Self::or(Self::bits(Self::abs(x)), sign))
    }
    #[inline(always)]
    fn is_nan(x: Self::F) -> Self::M {
        Self::unordered(x, x)
    }
    /// The larger, NaN if either is.
    #[inline(always)]
    fn max_nan(a: Self::F, b: Self::F) -> Self::F {
        Self::select(Self::is_nan(a), a, Self::max(a, b))
    }
    /// The smaller, NaN if either is.
    #[inline(always)]
    fn min_nan(a: Self::F, b: Self::F) -> Self::F {
        Self::select(Self::is_nan(a), a, Self::min(a, b))
    }
}
