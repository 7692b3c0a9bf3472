//! AVX-512: 16 lanes, 32 registers.

use super::{Kernel, MAX_LANES, Vector};
use std::arch::x86_64::*;

/// A 512-bit register.
#[derive(Clone, Copy)]
pub(super) struct Avx512(__m512);

#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
fn call<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx512>()
}

#[inline(always)]
fn first(count: usize) -> __mmask16 {
    debug_assert!(count <= 16);
    ((1u32 << count) - 1) as __mmask16
}

// SAFETY of the blocks below: `Level::call` names this type only on machines with AVX-512 (see the module above);
// pointers are as the caller promises.
#[allow(clippy::undocumented_unsafe_blocks, reason = "one comment for all of them, above")]
impl Vector for Avx512 {
    const LANES: usize = 16;
    const REGISTERS: usize = 32;
    type Mask = __mmask16;

    #[inline(always)]
    fn call<K: Kernel>(kernel: K) -> K::Output {
        unsafe { call(kernel) }
    }
    #[inline(always)]
    fn splat(value: f32) -> Self {
        Avx512(unsafe { _mm512_set1_ps(value) })
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Avx512(unsafe { _mm512_loadu_ps(from) })
    }
    #[inline(always)]
    unsafe fn load_partial(from: *const f32, count: usize) -> Self {
        Avx512(unsafe { _mm512_maskz_loadu_ps(first(count), from) })
    }
    #[inline(always)]
    unsafe fn load_i32(from: *const i32, count: usize) -> Self {
        Avx512(unsafe { _mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(first(count), from)) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm512_storeu_ps(to, self.0) }
    }
    #[inline(always)]
    unsafe fn store_partial(self, to: *mut f32, count: usize) {
        unsafe { _mm512_mask_storeu_ps(to, first(count), self.0) }
    }
    #[inline(always)]
    unsafe fn store_i32(self, to: *mut i32, count: usize) {
        unsafe { _mm512_mask_storeu_epi32(to, first(count), _mm512_cvtps_epi32(self.0)) }
    }
    #[inline(always)]
    fn prefetch(address: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Avx512(unsafe { _mm512_add_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Avx512(unsafe { _mm512_sub_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Avx512(unsafe { _mm512_mul_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, summand: Self) -> Self {
        Avx512(unsafe { _mm512_fmadd_ps(self.0, factor.0, summand.0) })
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        unsafe { _mm512_reduce_add_ps(self.0) }
    }
    #[inline(always)]
    fn beats(self, other: Self) -> __mmask16 {
        unsafe {
            _mm512_cmp_ps_mask::<_CMP_NLE_UQ>(self.0, other.0)
                & _mm512_cmp_ps_mask::<_CMP_ORD_Q>(other.0, other.0)
        }
    }
    #[inline(always)]
    fn equal(self, other: Self) -> __mmask16 {
        unsafe { _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(self.0, other.0) }
    }
    #[inline(always)]
    fn select(mask: __mmask16, yes: Self, no: Self) -> Self {
        Avx512(unsafe { _mm512_mask_blend_ps(mask, no.0, yes.0) })
    }

    #[inline(always)]
    fn transpose(rows: &mut [Self; MAX_LANES]) {
        // Pairs of rows, pairs of pairs, then whole 128-bit quarters, twice.
        unsafe {
            let mut pairs = [_mm512_setzero_ps(); 16];
            for i in 0..8 {
                pairs[2 * i] = _mm512_unpacklo_ps(rows[2 * i].0, rows[2 * i + 1].0);
                pairs[2 * i + 1] = _mm512_unpackhi_ps(rows[2 * i].0, rows[2 * i + 1].0);
            }
            // quads[4 * i + j], quarter q: rows 4 * i .. 4 * i + 4 of column 4 * q + j.
            let mut quads = [_mm512_setzero_ps(); 16];
            for i in 0..4 {
                for j in 0..2 {
                    let upper = _mm512_castps_pd(pairs[4 * i + j]);
                    let lower = _mm512_castps_pd(pairs[4 * i + j + 2]);
                    quads[4 * i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(upper, lower));
                    quads[4 * i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(upper, lower));
                }
            }
            for j in 0..4 {
                let even_top = _mm512_shuffle_f32x4::<0x88>(quads[j], quads[4 + j]);
                let odd_top = _mm512_shuffle_f32x4::<0xdd>(quads[j], quads[4 + j]);
                let even_bottom = _mm512_shuffle_f32x4::<0x88>(quads[8 + j], quads[12 + j]);
                let odd_bottom = _mm512_shuffle_f32x4::<0xdd>(quads[8 + j], quads[12 + j]);
                rows[j].0 = _mm512_shuffle_f32x4::<0x88>(even_top, even_bottom);
                rows[4 + j].0 = _mm512_shuffle_f32x4::<0x88>(odd_top, odd_bottom);
                rows[8 + j].0 = _mm512_shuffle_f32x4::<0xdd>(even_top, even_bottom);
                rows[12 + j].0 = _mm512_shuffle_f32x4::<0xdd>(odd_top, odd_bottom);
            }
        }
    }
    #[inline(always)]
    fn deinterleave(low: Self, high: Self) -> (Self, Self) {
        unsafe {
            let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            let odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
            (
                Avx512(_mm512_permutex2var_ps(low.0, even, high.0)),
                Avx512(_mm512_permutex2var_ps(low.0, odd, high.0)),
            )
        }
    }
    #[inline(always)]
    fn interleave(even: Self, odd: Self) -> (Self, Self) {
        unsafe {
            let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            let high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
            (
                Avx512(_mm512_permutex2var_ps(even.0, low, odd.0)),
                Avx512(_mm512_permutex2var_ps(even.0, high, odd.0)),
            )
        }
    }
}
