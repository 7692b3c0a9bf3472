//! Half precision: two formats of 16 bits, and their conversions.
//!
//! Numbers of these types are stored in 16 bits and computed with in wider ones. Rounding is to the nearest, ties to
//! even; what is too large becomes infinite, what is small becomes subnormal, and a NaN stays one.

use std::fmt;

/// The bits of the nearest number with `EXPONENT` bits of exponent and `FRACTION` bits of fraction, behind a sign.
fn narrowed<const EXPONENT: u32, const FRACTION: u32>(x: f64) -> u16 {
    let (bits, bias) = (x.to_bits(), (1 << (EXPONENT - 1)) - 1);
    let sign = ((bits >> 63) as u16) << 15;
    let infinity = ((1u16 << EXPONENT) - 1) << FRACTION;
    let fraction = bits & ((1 << 52) - 1);
    if x.is_nan() {
        // The front of the payload, made quiet.
        return sign | infinity | 1 << (FRACTION - 1) | (fraction >> (52 - FRACTION)) as u16;
    }
    let exponent = ((bits >> 52) & 0x7ff) as i32 - 1023;
    if exponent > bias {
        return sign | infinity;
    }
    // Below the least normal number steps stay as large as they are there. Numbers so small that they round to zero
    // either way lose all their bits.
    let missing = (1 - bias - exponent).clamp(0, 63 - (52 - FRACTION as i32)) as u32;
    let significand = if exponent == -1023 { fraction } else { fraction | 1 << 52 };
    let dropped = 52 - FRACTION + missing;
    let kept = (significand >> dropped) as u16;
    let (rest, half) = (significand & ((1 << dropped) - 1), 1u64 << (dropped - 1));
    let up = rest > half || (rest == half && kept & 1 == 1);
    // The leading bit of a normal number adds 1 to the exponent in front of it, as does rounding up to a power of two.
    let biased = if missing > 0 { 0 } else { (exponent + bias - 1) as u16 };
    sign | ((biased << FRACTION) + kept + u16::from(up))
}

/// The number with these bits.
fn widened<const EXPONENT: u32, const FRACTION: u32>(bits: u16) -> f32 {
    let (sign, rest) = (u32::from(bits >> 15) << 31, u32::from(bits & 0x7fff));
    let bias = (1 << (EXPONENT - 1)) - 1;
    let (exponent, fraction) = (rest >> FRACTION, rest & ((1 << FRACTION) - 1));
    let magnitude = if exponent == (1 << EXPONENT) - 1 {
        0x7f80_0000 | fraction << (23 - FRACTION)
    } else if EXPONENT == 8 {
        rest << (23 - FRACTION)
    } else if exponent == 0 {
        // A whole number of the smallest steps.
        (fraction as f32 / (1u32 << (bias - 1 + FRACTION)) as f32).to_bits()
    } else {
        (exponent + 127 - bias) << 23 | fraction << (23 - FRACTION)
    };
    f32::from_bits(sign | magnitude)
}

macro_rules! half {
    ($(#[$doc:meta])* $name:ident, $exponent:literal, $fraction:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default)]
        #[repr(transparent)]
        pub struct $name(u16);

        impl $name {
            /// The number with these bits: sign, exponent, fraction.
            pub const fn from_bits(bits: u16) -> $name {
                $name(bits)
            }

            /// Sign, exponent and fraction.
            pub const fn to_bits(self) -> u16 {
                self.0
            }

            /// The nearest number.
            pub fn from_f32(x: f32) -> $name {
                $name::from_f64(x.into())
            }

            /// The nearest number, rounded once.
            pub fn from_f64(x: f64) -> $name {
                $name(narrowed::<$exponent, $fraction>(x))
            }

            /// The same number; every number of this type is one.
            pub fn to_f32(self) -> f32 {
                widened::<$exponent, $fraction>(self.0)
            }
        }

        impl From<$name> for f32 {
            fn from(x: $name) -> f32 {
                x.to_f32()
            }
        }

        impl From<$name> for f64 {
            fn from(x: $name) -> f64 {
                x.to_f32().into()
            }
        }

        impl From<f32> for $name {
            fn from(x: f32) -> $name {
                $name::from_f32(x)
            }
        }

        /// As numbers: a NaN equals nothing, the zeros are equal.
        impl PartialEq for $name {
            fn eq(&self, other: &$name) -> bool {
                self.to_f32() == other.to_f32()
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &$name) -> Option<std::cmp::Ordering> {
                self.to_f32().partial_cmp(&other.to_f32())
            }
        }

        /// With the fewest digits that read back as the same number.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let exact = self.to_f32();
                let reads_back = |text: &str| {
                    text.parse().is_ok_and(|x| $name::from_f64(x).to_bits() == self.to_bits())
                };
                // Nine digits tell any two f32 apart.
                let short = (0..9).find_map(|digits| {
                    let short: f32 = format!("{exact:.digits$e}").parse().ok()?;
                    let text = format!("{short:?}");
                    reads_back(&text).then_some(text)
                });
                f.write_str(&short.unwrap_or_else(|| format!("{exact:?}")))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.to_f32(), f)
            }
        }
    };
}

half! {
    /// IEEE's binary16: 5 bits of exponent, 10 of fraction. Numbers up to 65504, steps of 2⁻¹¹ relative to them.
    F16, 5, 10
}

half! {
    /// The front half of an f32: 8 bits of exponent, 7 of fraction. Numbers as large as those of f32, steps of 2⁻⁸.
    BF16, 8, 7
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pattern is read as `meaning` says, comes back, and is what numbers between it and the next round to.
    fn check_all(
        read: impl Fn(u16) -> f32,
        round: impl Fn(f64) -> u16,
        meaning: impl Fn(u16) -> Option<f64>,
        infinity: u16,
    ) {
        for bits in 0..=u16::MAX {
            let (x, magnitude) = (read(bits), bits & 0x7fff);
            match meaning(magnitude) {
                None => {
                    assert!(x.is_nan(), "{bits:#x}");
                    let quiet = round(x.into());
                    assert!(quiet & 0x7fff > infinity && quiet & bits == bits, "{bits:#x} became {quiet:#x}");
                    continue;
                }
                Some(expected) => assert_eq!(f64::from(x.abs()), expected, "{bits:#x}"),
            }
            assert_eq!(x.is_sign_negative(), bits >> 15 == 1, "{bits:#x}");
            assert_eq!(round(x.into()), bits, "{x} comes back");
            if magnitude >= infinity {
                continue;
            }
            // Behind the largest stands what would be the next power of two.
            let here = f64::from(x);
            let step = (meaning(magnitude.max(1)).unwrap() - meaning(magnitude.max(1) - 1).unwrap()).abs();
            let next = match meaning(magnitude + 1) {
                Some(next) if next.is_finite() => next.copysign(here),
                _ => (here.abs() + step).copysign(here),
            };
            let middle = (here + next) / 2.0;
            let even = if magnitude & 1 == 0 { bits } else { bits + 1 };
            assert_eq!(round(middle), even, "the tie behind {here}");
            let nearer = |to: f64| middle + (to - middle) * 1e-9;
            assert_eq!(round(nearer(here)), bits, "just below the tie behind {here}");
            assert_eq!(round(nearer(next)), bits + 1, "just above the tie behind {here}");
        }
    }

    fn numbers(exponent_bits: u32, bits: u16) -> Option<f64> {
        let fraction_bits = 15 - exponent_bits;
        let (bias, top) = ((1 << (exponent_bits - 1)) - 1, (1 << exponent_bits) - 1);
        let exponent = i32::from(bits >> fraction_bits);
        let fraction = f64::from(bits & ((1 << fraction_bits) - 1)) / f64::from(1 << fraction_bits);
        match exponent {
            0 => Some(fraction * 2f64.powi(1 - bias)),
            _ if exponent == top => (fraction == 0.0).then_some(f64::INFINITY),
            _ => Some((1.0 + fraction) * 2f64.powi(exponent - bias)),
        }
    }

    #[test]
    fn every_f16_and_every_tie() {
        let round = |x| F16::from_f64(x).to_bits();
        check_all(|bits| F16::from_bits(bits).to_f32(), round, |bits| numbers(5, bits), 0x7c00);
    }

    #[test]
    fn every_bf16_and_every_tie() {
        let round = |x| BF16::from_f64(x).to_bits();
        check_all(|bits| BF16::from_bits(bits).to_f32(), round, |bits| numbers(8, bits), 0x7f80);
    }

    #[test]
    fn what_is_out_of_range() {
        assert_eq!(F16::from_f32(65519.996).to_bits(), 0x7bff);
        assert_eq!(F16::from_f32(65520.0).to_bits(), 0x7c00);
        assert_eq!(F16::from_f32(-1e9).to_bits(), 0xfc00);
        assert_eq!(F16::from_f64(2f64.powi(-25)).to_bits(), 0);
        assert_eq!(F16::from_f64(-2f64.powi(-25) * 1.000_001).to_bits(), 0x8001);
        assert_eq!(F16::from_f64(f64::MIN_POSITIVE / 4.0).to_bits(), 0);
        assert_eq!(BF16::from_f32(f32::MAX).to_bits(), 0x7f80);
        assert_eq!(BF16::from_f64(1e300).to_bits(), 0x7f80);
        assert_eq!(BF16::from_f64(-5e-324).to_bits(), 0x8000);
        assert!(F16::from_f32(f32::NAN).to_f32().is_nan() && BF16::from_f64(f64::NAN).to_f32().is_nan());
    }

    #[test]
    fn prints_the_fewest_digits_that_read_back() {
        let shown = |x: f32| format!("{:?}", F16::from_f32(x));
        assert_eq!(
            [shown(0.1), shown(1.0), shown(65504.0), shown(f32::INFINITY)],
            ["0.1", "1.0", "65500.0", "inf"]
        );
        assert_eq!(format!("{:?} {:?}", F16::from_bits(1), BF16::from_f32(3.25)), "6e-8 3.25");
        for bits in 0..=u16::MAX {
            for text in [format!("{:?}", F16::from_bits(bits)), format!("{:?}", BF16::from_bits(bits))] {
                assert!(text.parse::<f32>().is_ok(), "{text}");
            }
        }
    }
}
