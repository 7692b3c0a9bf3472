//! AVX2 with fused multiply-add: 8 lanes, 16 registers.

use super::{Kernel, MAX_LANES, Vector};
use std::arch::x86_64::*;

/// A 256-bit register.
#[derive(Clone, Copy)]
pub(super) struct Avx2(__m256);

#[target_feature(enable = "avx2,fma")]
fn call<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx2>()
}

/// Ones, then zeros: a mask of the first lanes starts `8 - count` from the front.
static FIRST: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

#[inline(always)]
fn first(count: usize) -> __m256i {
    debug_assert!(count <= 8);
    // SAFETY: the type is named only on machines with AVX2; `8 - count` is at most 8.
    unsafe { _mm256_loadu_si256(FIRST.as_ptr().add(8 - count).cast()) }
}

// SAFETY of the blocks below: `Level::call` names this type only on machines with AVX2 and FMA (see the module
// above); pointers are as the caller promises.
#[allow(clippy::undocumented_unsafe_blocks, reason = "one comment for all of them, above")]
impl Vector for Avx2 {
    const LANES: usize = 8;
    const REGISTERS: usize = 16;
    type Mask = __m256;

    #[inline(always)]
    fn call<K: Kernel>(kernel: K) -> K::Output {
        unsafe { call(kernel) }
    }
    #[inline(always)]
    fn splat(value: f32) -> Self {
        Avx2(unsafe { _mm256_set1_ps(value) })
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Avx2(unsafe { _mm256_loadu_ps(from) })
    }
    #[inline(always)]
    unsafe fn load_partial(from: *const f32, count: usize) -> Self {
        Avx2(unsafe { _mm256_maskload_ps(from, first(count)) })
    }
    #[inline(always)]
    unsafe fn load_i32(from: *const i32, count: usize) -> Self {
        Avx2(unsafe { _mm256_cvtepi32_ps(_mm256_maskload_epi32(from, first(count))) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm256_storeu_ps(to, self.0) }
    }
    #[inline(always)]
    unsafe fn store_partial(self, to: *mut f32, count: usize) {
        unsafe { _mm256_maskstore_ps(to, first(count), self.0) }
    }
    #[inline(always)]
    unsafe fn store_i32(self, to: *mut i32, count: usize) {
        unsafe { _mm256_maskstore_epi32(to, first(count), _mm256_cvtps_epi32(self.0)) }
    }
    #[inline(always)]
    fn prefetch(address: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Avx2(unsafe { _mm256_add_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Avx2(unsafe { _mm256_sub_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Avx2(unsafe { _mm256_mul_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, summand: Self) -> Self {
        Avx2(unsafe { _mm256_fmadd_ps(self.0, factor.0, summand.0) })
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
    #[inline(always)]
    fn beats(self, other: Self) -> __m256 {
        unsafe {
            _mm256_and_ps(
                _mm256_cmp_ps::<_CMP_NLE_UQ>(self.0, other.0),
                _mm256_cmp_ps::<_CMP_ORD_Q>(other.0, other.0),
            )
        }
    }
    #[inline(always)]
    fn equal(self, other: Self) -> __m256 {
        unsafe { _mm256_cmp_ps::<_CMP_EQ_OQ>(self.0, other.0) }
    }
    #[inline(always)]
    fn select(mask: __m256, yes: Self, no: Self) -> Self {
        Avx2(unsafe { _mm256_blendv_ps(no.0, yes.0, mask) })
    }

    #[inline(always)]
    fn transpose(rows: &mut [Self; MAX_LANES]) {
        // Pairs of rows, pairs of pairs, then the 128-bit halves.
        unsafe {
            let mut pairs = [_mm256_setzero_ps(); 8];
            for i in 0..4 {
                pairs[2 * i] = _mm256_unpacklo_ps(rows[2 * i].0, rows[2 * i + 1].0);
                pairs[2 * i + 1] = _mm256_unpackhi_ps(rows[2 * i].0, rows[2 * i + 1].0);
            }
            let mut quads = [_mm256_setzero_ps(); 8];
            for i in 0..2 {
                for j in 0..2 {
                    let upper = _mm256_castps_pd(pairs[4 * i + j]);
                    let lower = _mm256_castps_pd(pairs[4 * i + j + 2]);
                    quads[4 * i + 2 * j] = _mm256_castpd_ps(_mm256_unpacklo_pd(upper, lower));
                    quads[4 * i + 2 * j + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(upper, lower));
                }
            }
            for j in 0..4 {
                rows[j].0 = _mm256_permute2f128_ps::<0x20>(quads[j], quads[4 + j]);
                rows[4 + j].0 = _mm256_permute2f128_ps::<0x31>(quads[j], quads[4 + j]);
            }
        }
    }
    #[inline(always)]
    fn deinterleave(low: Self, high: Self) -> (Self, Self) {
        unsafe {
            let even = _mm256_castps_pd(_mm256_shuffle_ps::<0x88>(low.0, high.0));
            let odd = _mm256_castps_pd(_mm256_shuffle_ps::<0xdd>(low.0, high.0));
            (
                Avx2(_mm256_castpd_ps(_mm256_permute4x64_pd::<0xd8>(even))),
                Avx2(_mm256_castpd_ps(_mm256_permute4x64_pd::<0xd8>(odd))),
            )
        }
    }
    #[inline(always)]
    fn interleave(even: Self, odd: Self) -> (Self, Self) {
        unsafe {
            let (low, high) = (_mm256_unpacklo_ps(even.0, odd.0), _mm256_unpackhi_ps(even.0, odd.0));
            (Avx2(_mm256_permute2f128_ps::<0x20>(low, high)), Avx2(_mm256_permute2f128_ps::<0x31>(low, high)))
        }
    }
}
