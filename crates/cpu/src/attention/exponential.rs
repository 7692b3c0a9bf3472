//! e^x of a vector, for the weights.

use crate::simd::{MAX_LANES, Vector};

/// Below this, e^x is taken for 0 (it is less than 2e-38); from here to 0 the steps below stay in the normal range.
const LEAST: f32 = -87.0;
/// Above this the result would overflow.
const GREATEST: f32 = 88.0;
/// 1.5 · 2^23: adding it rounds to an integer, which then stands in the lowest bits.
const ROUND: f32 = 12_582_912.0;
/// ln 2 in two parts, the first with so few bits that small multiples of it are exact.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// e^x for x up to 88, above which it stays the same; 0 below −87; NaN stays NaN.
///
/// x = n ln 2 + r, and for e^r the polynomial of the Cephes library (S. L. Moshier), with an error near one unit in the
/// last place.
#[inline(always)]
pub(super) fn exp<V: Vector>(x: V) -> V {
    let (least, greatest) = (V::splat(LEAST), V::splat(GREATEST));
    let small = least.beats(x);
    let inside = V::select(x.beats(greatest), greatest, V::select(small, least, x));
    let shifted = inside.mul_add(V::splat(std::f32::consts::LOG2_E), V::splat(ROUND));
    let n = shifted.sub(V::splat(ROUND));
    let r = n.mul_add(V::splat(-LN2_HIGH), inside);
    let r = n.mul_add(V::splat(-LN2_LOW), r);
    let mut sum = V::splat(1.987_569_1e-4);
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5, 1.0, 1.0] {
        sum = sum.mul_add(r, V::splat(coefficient));
    }
    // NaN was replaced by the upper bound above, to keep it out of the integers; here it comes back.
    let result = V::select(small, V::zero(), sum.mul(power_of_two(shifted)));
    V::select(x.equal(x), result, x)
}

/// 2^n where `shifted` is n + [`ROUND`].
#[inline(always)]
fn power_of_two<V: Vector>(shifted: V) -> V {
    // The compiler turns this into two vector operations.
    let mut lanes = [0.0f32; MAX_LANES];
    // SAFETY: no vector has more lanes.
    unsafe {
        shifted.store(lanes.as_mut_ptr());
        for lane in &mut lanes[..V::LANES] {
            *lane = f32::from_bits((lane.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
        }
        V::load(lanes.as_ptr())
    }
}
