//! Every function over the whole range of arguments, against f64.

use super::map;
use super::operations::{Operation, block_function};
use crate::simd::Level;
use dropforge_ir::{BinaryKind, DType, UnaryKind};

/// Arguments of every exponent and sign, dense enough to find a bad interval, and the special ones.
fn arguments() -> Vec<f32> {
    let step = if cfg!(miri) { 10_000_019 } else { 1009 };
    let mut x: Vec<f32> = (0..=u32::MAX).step_by(step).map(f32::from_bits).collect();
    for near in [0.0f32, 1.0, -1.0, 0.925, 0.5, 2.0, 88.72, -87.34, -103.97, 9.01, 3.92, 1e-4, 1e-7, 30_000.0]
    {
        x.extend((-40..40i32).map(|i| f32::from_bits(near.to_bits().wrapping_add_signed(i))));
        x.extend((-40..40i32).map(|i| near + i as f32 * 0.01));
    }
    x.extend([0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MIN_POSITIVE, f32::MAX, f32::MIN]);
    x
}

fn truth(kind: UnaryKind, x: f64) -> f64 {
    match kind {
        UnaryKind::Negate => -x,
        UnaryKind::Absolute => x.abs(),
        UnaryKind::Sign => {
            if x > 0.0 {
                1.0
            } else if x < 0.0 {
                -1.0
            } else {
                x
            }
        }
        UnaryKind::Exp => x.exp(),
        UnaryKind::ExpMinusOne => x.exp_m1(),
        UnaryKind::Log => x.ln(),
        UnaryKind::LogOnePlus => x.ln_1p(),
        UnaryKind::SquareRoot => x.sqrt(),
        UnaryKind::ReciprocalSquareRoot => 1.0 / x.sqrt(),
        UnaryKind::Reciprocal => 1.0 / x,
        UnaryKind::Sin => x.sin(),
        UnaryKind::Cos => x.cos(),
        UnaryKind::Tanh => x.tanh(),
        UnaryKind::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        UnaryKind::Erf => erf(x),
        UnaryKind::Relu => {
            if x <= 0.0 {
                0.0
            } else {
                x
            }
        }
        UnaryKind::Floor => x.floor(),
        UnaryKind::Ceil => x.ceil(),
        UnaryKind::Round => x.round_ties_even(),
        UnaryKind::Not => f64::NAN,
    }
}

/// The error function by its Taylor series, or by the continued fraction of its complement.
fn erf(x: f64) -> f64 {
    let size = x.abs();
    if size < 2.5 {
        let (mut sum, mut term) = (0.0, x);
        for n in 0..100 {
            sum += term / f64::from(2 * n + 1);
            term *= -x * x / f64::from(n + 1);
        }
        return sum * std::f64::consts::FRAC_2_SQRT_PI;
    }
    if size > 6.0 {
        return x.signum();
    }
    let mut fraction = 0.0;
    for n in (1..=100).rev() {
        fraction = f64::from(n) / 2.0 / (size + fraction);
    }
    let complement = (-x * x).exp() / (size + fraction) * std::f64::consts::FRAC_2_SQRT_PI / 2.0;
    (1.0 - complement) * x.signum()
}

/// The distance in units in the last place of the rounded truth.
fn ulps(got: f32, truth: f64) -> f64 {
    let rounded = truth as f32;
    if got.to_bits() == rounded.to_bits() || (got.is_nan() && rounded.is_nan()) || got == rounded {
        return 0.0;
    }
    if !got.is_finite() || !rounded.is_finite() {
        // Overflow may come one unit early or late.
        let limit = f64::from(f32::MAX) * (1.0 + 1e-7);
        let near = |x: f64| x.abs() >= f64::from(f32::MAX) * (1.0 - 2e-7) && x.abs() <= limit;
        return if near(truth) && f64::from(got).signum() == truth.signum() { 0.0 } else { f64::INFINITY };
    }
    let unit = f64::from(f32::from_bits((rounded.abs().to_bits() + 1).min(0x7f7f_ffff)))
        - f64::from(f32::from_bits((rounded.abs().to_bits() + 1).min(0x7f7f_ffff) - 1));
    (f64::from(got) - truth).abs() / unit
}

#[test]
fn every_function_is_accurate_over_its_whole_range() {
    let x = arguments();
    for level in Level::available() {
        for &kind in UnaryKind::ALL.iter().filter(|&&kind| kind != UnaryKind::Not) {
            let mut result = vec![0.0; x.len()];
            map(kind, level, &x, &mut result);
            let (mut worst, mut at) = (0.0, 0.0);
            for (&x, &got) in x.iter().zip(&result) {
                let error = ulps(got, truth(kind, x.into()));
                if error > worst {
                    (worst, at) = (error, x);
                }
            }
            assert!(worst < 2.5, "{} on {}: {worst} units at {at:e}", kind.name(), level.name());
        }
    }
}

#[test]
fn powers_are_accurate_and_follow_c() {
    let special =
        [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 3.0, 0.5, -0.5, 1e-40, -1e-40, 1e10, -1e10, 0.9999999, 1.0000001];
    let limits =
        [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, f32::MIN_POSITIVE, 16_777_217.0, -7.0];
    let special = [&special[..], &limits[..]].concat();
    let mut pairs: Vec<(f32, f32)> =
        special.iter().flat_map(|&a| special.iter().map(move |&b| (a, b))).collect();
    for i in 0..300_000u32 {
        let word = i.wrapping_mul(2_654_435_761);
        let a = f32::from_bits((word >> 1) % 0x7f80_0000);
        // Exponents that keep the result in range, and small ones.
        let limit = 88.0 / a.ln().abs().max(1e-6);
        let b = ((i.wrapping_mul(40_503) % 20_011) as f32 / 10_000.0 - 1.0)
            * if i % 2 == 0 { limit } else { 3.0 };
        pairs.push((a, b));
    }
    let (a, b): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
    for level in Level::available() {
        let mut result = vec![0f32; a.len()];
        let function = block_function(Operation::Binary(BinaryKind::Power, DType::F32), [false; 3], level);
        // SAFETY: all blocks have the length.
        unsafe {
            let (a, b) = (a.as_ptr().cast(), b.as_ptr().cast());
            function(result.as_mut_ptr().cast(), a, b, b, result.len());
        }
        for (&(a, b), &got) in pairs.iter().zip(&result) {
            let expected = f64::from(a).powf(b.into());
            let error = ulps(got, expected);
            assert!(error < 4.0, "{a:e}^{b:e} on {}: {got:e}, not {expected:e}: {error} units", level.name());
        }
    }
}
