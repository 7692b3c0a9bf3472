//! Where in a sequence something stands.

use super::declare::layers;
use super::scope::Scope;
use crate::init::Init;
use crate::settings::{Context, Range, SettingType, Value};
use crate::tensor::Tensor;
use crate::{Error, Result};
use dropforge_ir::DType;

/// What attention knows of positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Positions {
    /// Nothing, beyond what the input holds.
    #[default]
    None,
    /// Queries and keys are turned by their positions. Su et al., arXiv:2104.09864.
    Rotary,
    /// Scores fall with the distance, for each head at its own rate. Press et al., arXiv:2108.12409.
    Alibi,
}

impl Positions {
    const NAMES: [(&'static str, Positions); 3] =
        [("none", Positions::None), ("rotary", Positions::Rotary), ("alibi", Positions::Alibi)];
}

impl SettingType for Positions {
    fn expects() -> String {
        "\"none\", \"rotary\" or \"alibi\"".into()
    }

    fn read(value: &Value, _: &Context<'_>) -> Result<Positions> {
        let found = Positions::NAMES.iter().find(|(name, _)| value.as_str() == Some(name));
        let wrong = || Error::setting(format!("should be {}, got {value}", Positions::expects()));
        found.map(|(_, positions)| *positions).ok_or_else(wrong)
    }

    fn write(&self) -> Result<Option<Value>> {
        let name = Positions::NAMES.iter().find(|(_, positions)| positions == self).map(|(name, _)| *name);
        Ok(name.map(|name| Value::String(name.into())))
    }
}

layers! {
    /// Adds sin(t·base^(−2i/width)) to number 2i of position t of `[batch, time, width]`, and the cosine to number 2i + 1.
    /// Vaswani et al., arXiv:1706.03762.
    SinusoidalPositions, sinusoidal_positions() = "sinusoidal_positions", "adds sines and cosines of the position"
        like "Vaswani et al., arXiv:1706.03762" [] {
        base: f32 = 10000.0, Range::above(0.0), "how much slower the last numbers turn than the first";
    }
    /// Adds a trained vector for each position to `[batch, time, width]`. Parameter: `weight [context, width]`, normal
    /// with deviation 0.02.
    LearnedPositions, learned_positions(context: usize) = "learned_positions", "adds a trained vector for each position"
        like "an nn.Embedding of positions, added" [
        context as "context": usize = context, (1..).into(), "how many positions there are";
    ] {
        weight_init: Init = Init::normal(0.0, 0.02), Range::ANY, "how the vectors start";
    }
    /// Turns the numbers of each position of `[.., time, width]` by angles that grow with it: see [`Tensor::rotary`].
    RotaryPositions, rotary_positions() = "rotary_positions", "turns pairs of numbers by the position"
        like "Su et al., arXiv:2104.09864, with the halves of LLaMA" [] {
        base: f32 = 10000.0, Range::above(0.0), "how much slower the last pairs turn than the first";
    }
}

/// The extents `[.., time, width]` of a sequence.
fn sequence(name: &str, scope: &Scope, x: &Tensor) -> std::result::Result<[usize; 2], Tensor> {
    match x.shape().iter().as_slice() {
        &[.., time, width] if x.dtype().is_float() && x.rank() >= 2 => Ok([time, width]),
        _ => Err(scope.fail(name, format!("needs f32[.., time, width], got {}", x.ty()), x)),
    }
}

impl SinusoidalPositions {
    fn trace(&self, scope: &Scope, x: &Tensor) -> Tensor {
        let [time, width] = match sequence("sinusoidal_positions", scope, x) {
            Ok(extents) => extents,
            Err(failed) => return failed,
        };
        let mut waves = Vec::with_capacity(time.saturating_mul(width).min(1 << 24));
        for t in 0..time {
            for i in 0..width {
                let rate = f64::from(self.base).powf(-((i / 2 * 2) as f64) / width as f64);
                let angle = t as f64 * rate;
                waves.push(if i % 2 == 0 { angle.sin() } else { angle.cos() } as f32);
            }
        }
        (x.widened() + Tensor::from_vec(waves, [time, width])).cast(x.dtype())
    }
}

impl LearnedPositions {
    fn trace(&self, scope: &Scope, x: &Tensor) -> Tensor {
        let [time, width] = match sequence("learned_positions", scope, x) {
            Ok(extents) => extents,
            Err(failed) => return failed,
        };
        if time > self.context {
            let message = format!("{time} positions are more than the context of {}", self.context);
            return scope.fail("learned_positions", message, x);
        }
        x + scope.parameter("weight", [self.context, width], self.weight_init.clone()).slice(0, ..time)
    }
}

impl RotaryPositions {
    #[track_caller]
    fn trace(&self, _: &Scope, x: &Tensor) -> Tensor {
        x.rotary(self.base, 0)
    }
}

/// What ALiBi adds to scores `[batch, heads, time, keys]`: minus the distance times the rate of the head.
pub(super) fn alibi(heads: usize, time: usize, keys: usize) -> Tensor {
    let rates = Tensor::from_vec(alibi_rates(heads), [heads, 1, 1]);
    // The last query stands where the last key does.
    let first = keys as i32 - time as i32;
    let queries = Tensor::arange(first, keys as i32).reshape([-1, 1]);
    let distance = (queries - Tensor::arange(0, keys as i32).reshape([1, -1])).abs().cast(DType::F32);
    -(distance.unsqueeze(0) * rates)
}

/// 2^(−8h/n) for h from 1 to n, if n is a power of 2; else those of the power below, then every other one of that
/// above.
fn alibi_rates(heads: usize) -> Vec<f32> {
    let of = |count: usize| (1..=count).map(move |head| 2f64.powf(-8.0 * head as f64 / count as f64) as f32);
    if heads.is_power_of_two() {
        return of(heads).collect();
    }
    let below = heads.next_power_of_two() / 2;
    of(below).chain(of(2 * below).step_by(2)).take(heads).collect()
}

#[cfg(test)]
mod tests {
    use super::alibi_rates;

    #[test]
    fn rates_are_those_of_the_paper() {
        assert_eq!(alibi_rates(8)[..3], [0.5, 0.25, 0.125]);
        // As the authors' code has them for 12 heads: those of 8, then every other one of 16.
        let twelve = alibi_rates(12);
        assert_eq!(twelve[..8], alibi_rates(8)[..]);
        assert_eq!(twelve[8..], [0.707_106_77, 0.353_553_38, 0.176_776_69, 0.088_388_346]);
    }
}
