//! Normal numbers within bounds.

use super::{Draw, Initializer};
use crate::described;
use crate::settings::Range;
use dropforge_ir::Shape;

/// Normally distributed, with what lies outside the bounds drawn again: PyTorch's `init.trunc_normal_`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TruncatedNormal {
    /// Mean before the cut.
    pub mean: f32,
    /// Standard deviation before the cut.
    pub deviation: f32,
    /// Least value.
    pub low: f32,
    /// Greatest value.
    pub high: f32,
}

described! {
    TruncatedNormal = "truncated_normal", "normally distributed within bounds" like "init.trunc_normal_";
    mean: f32, Some(0.0), Range::ANY, "mean before the cut";
    deviation: f32, Some(1.0), Range::above(0.0), "standard deviation before the cut";
    low: f32, Some(-2.0), Range::ANY, "least value";
    high: f32, Some(2.0), Range::ANY, "greatest value";
}

/// The share of the standard normal distribution below x, by the error function's complement: Abramowitz and Stegun
/// 26.2.29.
fn share_below(x: f64) -> f64 {
    0.5 * erfc(-x / std::f64::consts::SQRT_2)
}

/// 2/√π · ∫ e^(−t²) from x to ∞, by its continued fraction far out and its series near 0.
fn erfc(x: f64) -> f64 {
    if x < 0.0 {
        return 2.0 - erfc(-x);
    }
    if x > 2.5 {
        // Abramowitz and Stegun 7.1.14.
        let fraction = (1..=60).rev().fold(x, |rest, k| x + f64::from(k) / 2.0 / rest);
        return (-x * x).exp() / (std::f64::consts::PI.sqrt() * fraction);
    }
    // 7.1.6: 2/√π·e^(−x²)·Σ 2ⁿ·x^(2n+1)/(1·3·…·(2n+1)).
    let (mut term, mut sum) = (x, x);
    for n in 1..80 {
        term *= 2.0 * x * x / f64::from(2 * n + 1);
        sum += term;
    }
    1.0 - std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

impl Initializer for TruncatedNormal {
    fn elements(&self, draw: Draw<'_>, shape: &Shape) -> Option<Vec<f32>> {
        let TruncatedNormal { mean, deviation, low, high } = *self;
        // NaN makes neither larger.
        if !matches!(low.partial_cmp(&high), Some(std::cmp::Ordering::Less | std::cmp::Ordering::Equal)) {
            return None;
        }
        let (mean, deviation) = (f64::from(mean), f64::from(deviation));
        let (least, greatest) = ((f64::from(low) - mean) / deviation, (f64::from(high) - mean) / deviation);
        let (from, to) = (share_below(least), share_below(greatest));
        // The number below which a share of the distribution lies, by halving: each step gives a bit.
        let inverse = |share: f64| {
            let (mut below, mut above) = (least.max(-40.0), greatest.min(40.0));
            for _ in 0..60 {
                let middle = 0.5 * (below + above);
                if share_below(middle) < share { below = middle } else { above = middle }
            }
            ((mean + deviation * 0.5 * (below + above)) as f32).clamp(low, high)
        };
        Some(draw.fractions(shape.elements()).into_iter().map(|u| inverse(from + (to - from) * u)).collect())
    }

    super::config!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_those_of_the_tables() {
        for (x, share) in [
            (0.0, 0.5),
            (1.0, 0.841_344_746_068_543),
            (-2.0, 0.022_750_131_948_179),
            (4.5, 0.999_996_602_326_875),
        ] {
            assert!((share_below(x) - share).abs() < 1e-14, "{x}: {}", share_below(x));
        }
    }

    #[test]
    fn numbers_keep_within_bounds_with_the_deviation_of_the_cut() {
        let rule = TruncatedNormal { mean: 1.0, deviation: 0.5, low: 0.0, high: 2.0 };
        let x = rule.elements(Draw { seed: 1, name: "w" }, &[40_000].into()).unwrap();
        assert!(x.iter().all(|x| (0.0..=2.0).contains(x)));
        let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / x.len() as f64;
        let variance = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / x.len() as f64;
        // Cut at two deviations, the deviation shrinks to 0.8796 of it.
        assert!(
            (mean - 1.0).abs() < 0.01 && (variance.sqrt() / 0.5 - 0.8796).abs() < 0.01,
            "{mean}, {variance}"
        );
        let crossed = TruncatedNormal { low: 2.0, high: 0.0, ..rule };
        assert!(crossed.elements(Draw { seed: 1, name: "w" }, &[1].into()).is_none());
    }
}
