//! AVX2 with FMA and F16C: 8 lanes.

use super::lanes::Lanes;
use std::arch::x86_64::*;

/// 256-bit vectors.
#[derive(Clone, Copy)]
pub(crate) struct Avx2;

const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

/// All ones in the first `count` of 8 lanes.
#[inline(always)]
fn first(count: usize) -> __m256i {
    static EDGE: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    // SAFETY: `count` is at most 8, so that 8 elements follow; the type is named only on machines with AVX2.
    unsafe { _mm256_loadu_si256(EDGE.as_ptr().add(8 - count).cast()) }
}

/// Lanes of 16 bits out of the lower parts of 32.
#[inline(always)]
fn pack(x: __m256i) -> __m128i {
    // SAFETY: the type is named only on machines with AVX2.
    unsafe {
        let low = _mm256_and_si256(x, _mm256_set1_epi32(0xffff));
        _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256::<1>(low))
    }
}

macro_rules! simple {
    ($($name:ident($($arg:ident: $ty:ty),*) -> $result:ty = $body:expr;)*) => {
        $(#[inline(always)]
        fn $name($($arg: $ty),*) -> $result {
            unsafe { $body }
        })*
    };
}

// SAFETY of the blocks below: the type is named only on machines with AVX2, FMA and F16C (see `lanes`); pointers are as
// the caller promises.
#[allow(clippy::undocumented_unsafe_blocks, reason = "one comment for all of them, above")]
impl Lanes for Avx2 {
    const COUNT: usize = 8;
    type F = __m256;
    type I = __m256i;
    type M = __m256i;

    #[inline(always)]
    unsafe fn load(from: *const u32) -> __m256i {
        unsafe { _mm256_loadu_si256(from.cast()) }
    }
    #[inline(always)]
    unsafe fn load_first(from: *const u32, count: usize) -> __m256i {
        unsafe { _mm256_maskload_epi32(from.cast(), first(count)) }
    }
    #[inline(always)]
    unsafe fn store(x: __m256i, to: *mut u32) {
        unsafe { _mm256_storeu_si256(to.cast(), x) }
    }
    #[inline(always)]
    unsafe fn store_first(x: __m256i, to: *mut u32, count: usize) {
        unsafe { _mm256_maskstore_epi32(to.cast(), first(count), x) }
    }

    simple! {
        float(x: __m256i) -> __m256 = _mm256_castsi256_ps(x);
        bits(x: __m256) -> __m256i = _mm256_castps_si256(x);
        splat(x: f32) -> __m256 = _mm256_set1_ps(x);
        splat_bits(x: u32) -> __m256i = _mm256_set1_epi32(x as i32);
        add(a: __m256, b: __m256) -> __m256 = _mm256_add_ps(a, b);
        sub(a: __m256, b: __m256) -> __m256 = _mm256_sub_ps(a, b);
        mul(a: __m256, b: __m256) -> __m256 = _mm256_mul_ps(a, b);
        div(a: __m256, b: __m256) -> __m256 = _mm256_div_ps(a, b);
        fused(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fmadd_ps(a, b, c);
        sqrt(x: __m256) -> __m256 = _mm256_sqrt_ps(x);
        min(a: __m256, b: __m256) -> __m256 = _mm256_min_ps(a, b);
        max(a: __m256, b: __m256) -> __m256 = _mm256_max_ps(a, b);
        floor(x: __m256) -> __m256 = _mm256_floor_ps(x);
        ceil(x: __m256) -> __m256 = _mm256_ceil_ps(x);
        round(x: __m256) -> __m256 = _mm256_round_ps::<NEAREST>(x);
        equal(a: __m256, b: __m256) -> __m256i = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_EQ_OQ>(a, b));
        less(a: __m256, b: __m256) -> __m256i = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_LT_OQ>(a, b));
        less_equal(a: __m256, b: __m256) -> __m256i = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_LE_OQ>(a, b));
        unordered(a: __m256, b: __m256) -> __m256i = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(a, b));
        truncate(x: __m256) -> __m256i = _mm256_cvttps_epi32(x);
        convert(x: __m256i) -> __m256 = _mm256_cvtepi32_ps(x);
        int_add(a: __m256i, b: __m256i) -> __m256i = _mm256_add_epi32(a, b);
        int_sub(a: __m256i, b: __m256i) -> __m256i = _mm256_sub_epi32(a, b);
        int_mul(a: __m256i, b: __m256i) -> __m256i = _mm256_mullo_epi32(a, b);
        and(a: __m256i, b: __m256i) -> __m256i = _mm256_and_si256(a, b);
        or(a: __m256i, b: __m256i) -> __m256i = _mm256_or_si256(a, b);
        xor(a: __m256i, b: __m256i) -> __m256i = _mm256_xor_si256(a, b);
        shift_left(a: __m256i, b: __m256i) -> __m256i = _mm256_sllv_epi32(a, b);
        shift_right(a: __m256i, b: __m256i) -> __m256i = _mm256_srlv_epi32(a, b);
        int_equal(a: __m256i, b: __m256i) -> __m256i = _mm256_cmpeq_epi32(a, b);
        int_less(a: __m256i, b: __m256i) -> __m256i = _mm256_cmpgt_epi32(b, a);
        select_bits(mask: __m256i, yes: __m256i, no: __m256i) -> __m256i = _mm256_blendv_epi8(no, yes, mask);
        mask_or(a: __m256i, b: __m256i) -> __m256i = _mm256_or_si256(a, b);
        mask_not(a: __m256i) -> __m256i = _mm256_xor_si256(a, _mm256_set1_epi32(-1));
        flag(mask: __m256i) -> __m256i = _mm256_srli_epi32::<31>(mask);
    }
    #[inline(always)]
    fn first(count: usize) -> __m256i {
        first(count)
    }
    #[inline(always)]
    unsafe fn load_halves(from: *const u16) -> __m256i {
        unsafe { _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast())) }
    }
    #[inline(always)]
    unsafe fn store_halves(x: __m256i, to: *mut u16) {
        unsafe { _mm_storeu_si128(to.cast(), pack(x)) }
    }
    #[inline(always)]
    fn widen_binary16(bits: __m256i) -> __m256 {
        unsafe { _mm256_cvtph_ps(pack(bits)) }
    }
    #[inline(always)]
    fn narrow_binary16(x: __m256) -> __m256i {
        unsafe { _mm256_cvtepu16_epi32(_mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x)) }
    }
    #[inline(always)]
    fn swap<const BIT: usize>(x: __m256i) -> __m256i {
        unsafe {
            match BIT {
                4 => _mm256_permute2x128_si256::<0x01>(x, x),
                2 => _mm256_shuffle_epi32::<0x4e>(x),
                _ => _mm256_shuffle_epi32::<0xb1>(x),
            }
        }
    }
    #[inline(always)]
    fn shift_left_by<const BY: u32>(a: __m256i) -> __m256i {
        unsafe { _mm256_sllv_epi32(a, _mm256_set1_epi32(BY as i32)) }
    }
    #[inline(always)]
    fn shift_right_by<const BY: u32>(a: __m256i) -> __m256i {
        unsafe { _mm256_srlv_epi32(a, _mm256_set1_epi32(BY as i32)) }
    }
}
