//! Branch-free functions of f32 vectors.
//!
//! Each is a reduction of the argument to a short interval and a polynomial fitted there (by weighted least squares
//! towards the smallest largest relative error); the tests hold every function against f64.

use super::lanes::Lanes;

const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// ln 2 in two parts.
const LN2_HIGH: f32 = std::f32::consts::LN_2;
const LN2_LOW: f32 = -1.904_654_3e-9;

/// c₀ + c₁x + c₂x² + …
#[inline(always)]
pub(crate) fn polynomial<V: Lanes, const N: usize>(x: V::F, coefficients: [f32; N]) -> V::F {
    let mut sum = V::splat(coefficients[N - 1]);
    let mut i = N - 1;
    while i > 0 {
        i -= 1;
        sum = V::fused(sum, x, V::splat(coefficients[i]));
    }
    sum
}

/// 2^n for integral n from −126 to 127.
#[inline(always)]
fn power_of_two<V: Lanes>(n: V::F) -> V::F {
    let biased = V::int_add(V::truncate(n), V::splat_bits(127));
    V::float(V::shift_left_by::<23>(biased))
}

/// n and r with x = n ln 2 + r, and (e^r − 1 − r) / r².
#[inline(always)]
fn reduce_exponential<V: Lanes>(x: V::F) -> (V::F, V::F, V::F) {
    let n = V::round(V::mul(x, V::splat(LOG2_E)));
    let r = V::fused(n, V::splat(-LN2_HIGH), x);
    let r = V::fused(n, V::splat(-LN2_LOW), r);
    let rest =
        polynomial::<V, 5>(r, [4.999_999_4e-1, 1.666_652_1e-1, 4.166_839e-2, 8.368_725e-3, 1.381_458_1e-3]);
    (n, r, rest)
}

#[inline(always)]
pub(crate) fn exp<V: Lanes>(x: V::F) -> V::F {
    // NaN passes: the second argument wins.
    let x = V::max(V::splat(-104.5), V::min(V::splat(89.0), x));
    let (n, r, rest) = reduce_exponential::<V>(x);
    let power = V::add(V::fused(V::mul(r, r), rest, r), V::splat(1.0));
    V::scale(power, n)
}

/// e^x for x up to 0, where results below the smallest normal number may be 0.
#[inline(always)]
pub(crate) fn exp_of_negative<V: Lanes>(x: V::F) -> V::F {
    let (n, r, rest) = reduce_exponential::<V>(V::max(V::splat(-87.3), x));
    let power = V::add(V::fused(V::mul(r, r), rest, r), V::splat(1.0));
    let power = V::mul(power, power_of_two::<V>(n));
    V::select(V::less(x, V::splat(-87.3)), V::splat(0.0), power)
}

#[inline(always)]
pub(crate) fn exp_minus_one<V: Lanes>(x: V::F) -> V::F {
    let clamped = V::max(V::splat(-40.0), V::min(V::splat(89.0), x));
    let (n, r, rest) = reduce_exponential::<V>(clamped);
    let q = V::fused(V::mul(r, r), rest, r);
    // Half the power, because 2^128 is no f32.
    let half = power_of_two::<V>(V::sub(n, V::splat(1.0)));
    let sum = V::fused(half, q, V::sub(half, V::splat(0.5)));
    let result = V::add(sum, sum);
    V::select(V::less(V::abs(x), V::splat(1e-8)), x, result)
}

/// The exponent k and 1 + f = x / 2^k between √½ and √2, of normal positive x.
#[inline(always)]
fn split<V: Lanes>(x: V::F) -> (V::F, V::F) {
    // Adding 1 − √½ to the mantissa carries into the exponent where x / 2^k would be above √2.
    const ROOT_HALF: u32 = 0x3f35_04f3;
    let shifted = V::int_sub(V::bits(x), V::splat_bits(ROOT_HALF));
    let exponent = V::and(shifted, V::splat_bits(0xff80_0000));
    let mantissa = V::float(V::int_sub(V::bits(x), exponent));
    // An arithmetic shift by 23, by way of an exact division.
    let k = V::mul(V::convert(exponent), V::splat(1.0 / 8_388_608.0));
    (k, V::sub(mantissa, V::splat(1.0)))
}

/// k ln 2 + ln(1 + f) + low, for a small correction `low`.
#[inline(always)]
fn assemble_log<V: Lanes>(k: V::F, f: V::F, low: V::F) -> V::F {
    let rest = polynomial::<V, 8>(
        f,
        [
            3.333_333e-1,
            -2.500_082e-1,
            2.000_122_7e-1,
            -1.662_335_7e-1,
            1.420_175_7e-1,
            -1.316_018_3e-1,
            1.276_157_8e-1,
            -7.634_497e-2,
        ],
    );
    let square = V::mul(f, f);
    let rest = V::fused(V::mul(square, f), rest, V::fused(k, V::splat(LN2_LOW), low));
    let rest = V::fused(square, V::splat(-0.5), rest);
    V::fused(k, V::splat(LN2_HIGH), V::add(f, rest))
}

/// NaN, infinities and 0 as a logarithm of `x` gives them, else `result`.
#[inline(always)]
fn log_limits<V: Lanes>(x: V::F, result: V::F) -> V::F {
    let zero = V::splat(0.0);
    let result = V::select(V::less(x, V::splat(f32::INFINITY)), result, x);
    let result = V::select(V::equal(x, zero), V::splat(f32::NEG_INFINITY), result);
    V::select(V::less(x, zero), V::splat(f32::NAN), result)
}

#[inline(always)]
pub(crate) fn log<V: Lanes>(x: V::F) -> V::F {
    let is_tiny = V::less(x, V::splat(f32::MIN_POSITIVE));
    let scaled = V::select(is_tiny, V::mul(x, V::splat(16_777_216.0)), x);
    let (k, f) = split::<V>(scaled);
    let k = V::select(is_tiny, V::sub(k, V::splat(24.0)), k);
    log_limits::<V>(x, assemble_log::<V>(k, f, V::splat(0.0)))
}

#[inline(always)]
pub(crate) fn log_one_plus<V: Lanes>(x: V::F) -> V::F {
    let one = V::splat(1.0);
    let u = V::add(one, x);
    // What rounding of the sum lost; exact for either order of magnitude.
    let swapped = V::less(V::abs(x), one);
    let (large, small) = (V::select(swapped, one, x), V::select(swapped, x, one));
    let lost = V::sub(small, V::sub(u, large));
    let (k, f) = split::<V>(u);
    let result = assemble_log::<V>(k, f, V::div(lost, u));
    let result = log_limits::<V>(u, result);
    V::select(V::less(V::abs(x), V::splat(1e-7)), x, result)
}

#[inline(always)]
pub(crate) fn tanh<V: Lanes>(x: V::F) -> V::F {
    let size = V::abs(x);
    // (e^{2x} − 1) / (e^{2x} + 1)
    let e = exp_minus_one::<V>(V::min(V::splat(20.0), V::add(size, size)));
    let ratio = V::div(e, V::add(e, V::splat(2.0)));
    // Below, 2x may not be representable to the last bit after halving.
    let ratio = V::select(V::less(size, V::splat(1e-4)), size, ratio);
    V::with_sign(ratio, x)
}

#[inline(always)]
pub(crate) fn sigmoid<V: Lanes>(x: V::F) -> V::F {
    let e = exp::<V>(V::neg(V::abs(x)));
    let numerator = V::select(V::less(x, V::splat(0.0)), e, V::splat(1.0));
    V::div(numerator, V::add(V::splat(1.0), e))
}

#[inline(always)]
pub(crate) fn erf<V: Lanes>(x: V::F) -> V::F {
    let size = V::abs(x);
    let square = V::mul(x, x);
    let near = polynomial::<V, 6>(
        square,
        [1.283_791_5e-1, -3.761_248e-1, 1.128_168_3e-1, -2.676_172e-2, 4.985_940_6e-3, -5.953_742e-4],
    );
    let near = V::fused(near, size, size);
    // 1 − e^{−t(1 + p(t))}
    let t = V::min(V::splat(4.0), size);
    let far = polynomial::<V, 8>(
        t,
        [
            1.285_517_5e-1,
            6.356_253e-1,
            1.052_626_9e-1,
            -2.267_412_7e-2,
            2.930_149_7e-3,
            -4.958_382e-5,
            -4.558_177_5e-5,
            4.938_264e-6,
        ],
    );
    let far = V::fused(far, t, t);
    let far = V::sub(V::splat(1.0), exp_of_negative::<V>(V::neg(far)));
    V::with_sign(V::select(V::less(size, V::splat(0.925)), near, far), x)
}

/// Beyond this the reduction of [`sin_cos`] loses accuracy.
pub(crate) const TRIGONOMETRIC_LIMIT: f32 = 30_000.0;

/// The sine of x, or the cosine if `COSINE`, for |x| up to [`TRIGONOMETRIC_LIMIT`].
#[inline(always)]
pub(crate) fn sin_cos<V: Lanes, const COSINE: bool>(x: V::F) -> V::F {
    let n = V::round(V::mul(x, V::splat(std::f32::consts::FRAC_2_PI)));
    let r = V::fused(n, V::splat(-std::f32::consts::FRAC_PI_2), x);
    let r = V::fused(n, V::splat(4.371_139e-8), r);
    let r = V::fused(n, V::splat(1.715_124_5e-15), r);
    let square = V::mul(r, r);
    let sine = polynomial::<V, 4>(square, [-1.666_666_7e-1, 8.333_329e-3, -1.983_931_3e-4, 2.718_121_6e-6]);
    let sine = V::fused(V::mul(square, r), sine, r);
    let cosine = polynomial::<V, 3>(square, [4.166_664_6e-2, -1.388_731_6e-3, 2.443_315_7e-5]);
    let cosine = V::fused(square, V::splat(-0.5), V::fused(V::mul(square, square), cosine, V::splat(1.0)));
    let quadrant = V::int_add(V::truncate(n), V::splat_bits(u32::from(COSINE)));
    let is_odd = V::int_equal(V::and(quadrant, V::splat_bits(1)), V::splat_bits(1));
    let result = V::select(is_odd, cosine, sine);
    let sign = V::shift_left_by::<30>(V::and(quadrant, V::splat_bits(2)));
    let result = V::float(V::xor(V::bits(result), sign));
    // −0 stays −0.
    if COSINE { result } else { V::select(V::equal(x, V::splat(0.0)), x, result) }
}

/// a^b as C's `pow` defines it, NaN and infinities included.
///
/// The logarithm is computed to about 30 bits, as a sum of two numbers, because the exponential turns its absolute
/// error into a relative one.
#[inline(always)]
pub(crate) fn power<V: Lanes>(a: V::F, b: V::F) -> V::F {
    let (zero, one) = (V::splat(0.0), V::splat(1.0));
    let x = V::abs(a);
    let (high, low) = log_in_two_parts::<V>(x);
    let y = V::mul(b, high);
    let rest = V::fused(b, low, V::fused(b, high, V::neg(y)));
    let rest = V::select(V::less(V::abs(y), V::splat(110.0)), rest, zero);
    let e = exp::<V>(y);
    let result = V::select(V::less(e, V::splat(f32::INFINITY)), V::fused(e, rest, e), e);

    let half = V::mul(b, V::splat(0.5));
    let is_integral = V::equal(b, V::round(b));
    let is_even = V::mask_or(V::mask_not(is_integral), V::equal(half, V::round(half)));
    let result = V::select(is_even, result, V::with_sign(result, a));
    // A negative number has no broken power; −∞ and −0 have.
    let is_fine =
        V::mask_or(V::less_equal(zero, a), V::mask_or(is_integral, V::equal(a, V::splat(f32::NEG_INFINITY))));
    let result = V::select(is_fine, result, V::splat(f32::NAN));
    let is_one = V::mask_or(V::equal(b, zero), V::equal(a, one));
    // ±1 to an infinite power.
    let is_finite = V::mask_not(V::equal(V::abs(b), V::splat(f32::INFINITY)));
    let is_unit_to_infinity = V::mask_not(V::mask_or(V::mask_not(V::equal(x, one)), is_finite));
    let is_one = V::mask_or(is_one, is_unit_to_infinity);
    V::select(is_one, one, result)
}

/// ln x of a number that is not negative, as the sum of two numbers; infinite ones in the first.
#[inline(always)]
fn log_in_two_parts<V: Lanes>(x: V::F) -> (V::F, V::F) {
    let (zero, two) = (V::splat(0.0), V::splat(2.0));
    let is_tiny = V::less(x, V::splat(f32::MIN_POSITIVE));
    let (k, f) = split::<V>(V::select(is_tiny, V::mul(x, V::splat(16_777_216.0)), x));
    let k = V::select(is_tiny, V::sub(k, V::splat(24.0)), k);
    // ln(1 + f) = 2 artanh(s) with s = f / (2 + f), and what rounding took from the quotient.
    let u = V::add(f, two);
    let u_low = V::sub(f, V::sub(u, two));
    let s = V::div(f, u);
    let remainder = V::fused(V::neg(s), u_low, V::fused(V::neg(s), u, f));
    let s_low = V::div(remainder, u);
    let z = V::mul(s, s);
    let series = polynomial::<V, 5>(z, [2.0 / 3.0, 2.0 / 5.0, 2.0 / 7.0, 2.0 / 9.0, 2.0 / 11.0]);
    let low = V::fused(V::mul(s, z), series, V::add(s_low, s_low));
    let high = V::add(s, s);
    // k ln 2 is 0 or larger than the rest.
    let base = V::mul(k, V::splat(LN2_HIGH));
    let base_low = V::fused(k, V::splat(LN2_LOW), V::fused(k, V::splat(LN2_HIGH), V::neg(base)));
    let sum = V::add(base, high);
    let low = V::add(V::add(V::sub(high, V::sub(sum, base)), base_low), low);
    let result = V::add(sum, low);
    let rest = V::sub(low, V::sub(result, sum));
    let is_ordinary = V::less(V::abs(log_limits::<V>(x, zero)), V::splat(1.0));
    (log_limits::<V>(x, result), V::select(is_ordinary, rest, zero))
}
