//! AVX-512: 16 lanes.

use super::lanes::Lanes;
use std::arch::x86_64::*;

/// 512-bit vectors.
#[derive(Clone, Copy)]
pub(crate) struct Avx512;

const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
const DOWN: i32 = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC;
const UP: i32 = _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC;

#[inline(always)]
fn first(count: usize) -> __mmask16 {
    ((1u32 << count) - 1) as __mmask16
}

macro_rules! simple {
    ($($name:ident($($arg:ident: $ty:ty),*) -> $result:ty = $body:expr;)*) => {
        $(#[inline(always)]
        fn $name($($arg: $ty),*) -> $result {
            unsafe { $body }
        })*
    };
}

// SAFETY of the blocks below: the type is named only on machines with AVX-512 (see `lanes`); pointers are as the
// caller promises.
#[allow(clippy::undocumented_unsafe_blocks, reason = "one comment for all of them, above")]
impl Lanes for Avx512 {
    const COUNT: usize = 16;
    type F = __m512;
    type I = __m512i;
    type M = __mmask16;

    #[inline(always)]
    unsafe fn load(from: *const u32) -> __m512i {
        unsafe { _mm512_loadu_si512(from.cast()) }
    }
    #[inline(always)]
    unsafe fn load_first(from: *const u32, count: usize) -> __m512i {
        unsafe { _mm512_maskz_loadu_epi32(first(count), from.cast()) }
    }
    #[inline(always)]
    unsafe fn store(x: __m512i, to: *mut u32) {
        unsafe { _mm512_storeu_si512(to.cast(), x) }
    }
    #[inline(always)]
    unsafe fn store_first(x: __m512i, to: *mut u32, count: usize) {
        unsafe { _mm512_mask_storeu_epi32(to.cast(), first(count), x) }
    }

    simple! {
        float(x: __m512i) -> __m512 = _mm512_castsi512_ps(x);
        bits(x: __m512) -> __m512i = _mm512_castps_si512(x);
        splat(x: f32) -> __m512 = _mm512_set1_ps(x);
        splat_bits(x: u32) -> __m512i = _mm512_set1_epi32(x as i32);
        add(a: __m512, b: __m512) -> __m512 = _mm512_add_ps(a, b);
        sub(a: __m512, b: __m512) -> __m512 = _mm512_sub_ps(a, b);
        mul(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps(a, b);
        div(a: __m512, b: __m512) -> __m512 = _mm512_div_ps(a, b);
        fused(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps(a, b, c);
        sqrt(x: __m512) -> __m512 = _mm512_sqrt_ps(x);
        min(a: __m512, b: __m512) -> __m512 = _mm512_min_ps(a, b);
        max(a: __m512, b: __m512) -> __m512 = _mm512_max_ps(a, b);
        floor(x: __m512) -> __m512 = _mm512_roundscale_ps::<DOWN>(x);
        ceil(x: __m512) -> __m512 = _mm512_roundscale_ps::<UP>(x);
        round(x: __m512) -> __m512 = _mm512_roundscale_ps::<NEAREST>(x);
        equal(a: __m512, b: __m512) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b);
        less(a: __m512, b: __m512) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b);
        less_equal(a: __m512, b: __m512) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(a, b);
        unordered(a: __m512, b: __m512) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, b);
        truncate(x: __m512) -> __m512i = _mm512_cvttps_epi32(x);
        convert(x: __m512i) -> __m512 = _mm512_cvtepi32_ps(x);
        int_add(a: __m512i, b: __m512i) -> __m512i = _mm512_add_epi32(a, b);
        int_sub(a: __m512i, b: __m512i) -> __m512i = _mm512_sub_epi32(a, b);
        int_mul(a: __m512i, b: __m512i) -> __m512i = _mm512_mullo_epi32(a, b);
        and(a: __m512i, b: __m512i) -> __m512i = _mm512_and_si512(a, b);
        or(a: __m512i, b: __m512i) -> __m512i = _mm512_or_si512(a, b);
        xor(a: __m512i, b: __m512i) -> __m512i = _mm512_xor_si512(a, b);
        shift_left(a: __m512i, b: __m512i) -> __m512i = _mm512_sllv_epi32(a, b);
        shift_right(a: __m512i, b: __m512i) -> __m512i = _mm512_srlv_epi32(a, b);
        int_equal(a: __m512i, b: __m512i) -> __mmask16 = _mm512_cmpeq_epi32_mask(a, b);
        int_less(a: __m512i, b: __m512i) -> __mmask16 = _mm512_cmplt_epi32_mask(a, b);
        select_bits(mask: __mmask16, yes: __m512i, no: __m512i) -> __m512i = _mm512_mask_blend_epi32(mask, no, yes);
        flag(mask: __mmask16) -> __m512i = _mm512_maskz_set1_epi32(mask, 1);
    }
    #[inline(always)]
    fn first(count: usize) -> __mmask16 {
        first(count)
    }
    #[inline(always)]
    unsafe fn load_halves(from: *const u16) -> __m512i {
        unsafe { _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast())) }
    }
    #[inline(always)]
    unsafe fn store_halves(x: __m512i, to: *mut u16) {
        unsafe { _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(x)) }
    }
    #[inline(always)]
    fn widen_binary16(bits: __m512i) -> __m512 {
        unsafe { _mm512_cvtph_ps(_mm512_cvtepi32_epi16(bits)) }
    }
    #[inline(always)]
    fn narrow_binary16(x: __m512) -> __m512i {
        unsafe { _mm512_cvtepu16_epi32(_mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x)) }
    }
    #[inline(always)]
    fn swap<const BIT: usize>(x: __m512i) -> __m512i {
        unsafe {
            match BIT {
                8 => _mm512_shuffle_i64x2::<0x4e>(x, x),
                4 => _mm512_shuffle_i64x2::<0xb1>(x, x),
                2 => _mm512_shuffle_epi32::<0x4e>(x),
                _ => _mm512_shuffle_epi32::<0xb1>(x),
            }
        }
    }
    #[inline(always)]
    fn scale(x: __m512, n: __m512) -> __m512 {
        unsafe { _mm512_scalef_ps(x, n) }
    }
    #[inline(always)]
    fn mask_or(a: __mmask16, b: __mmask16) -> __mmask16 {
        a | b
    }
    #[inline(always)]
    fn mask_not(a: __mmask16) -> __mmask16 {
        !a
    }
    #[inline(always)]
    fn shift_left_by<const BY: u32>(a: __m512i) -> __m512i {
        unsafe { _mm512_slli_epi32::<BY>(a) }
    }
    #[inline(always)]
    fn shift_right_by<const BY: u32>(a: __m512i) -> __m512i {
        unsafe { _mm512_srli_epi32::<BY>(a) }
    }
}
