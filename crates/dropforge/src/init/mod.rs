//! How parameters start.

mod constant;
mod given;
mod kaiming;
mod lecun;
mod normal;
mod orthogonal;
mod truncated_normal;
mod uniform;
mod xavier;

pub use constant::Constant;
pub use given::Given;
pub use kaiming::{KaimingNormal, KaimingUniform};
pub use lecun::{LecunNormal, LecunUniform};
pub use normal::Normal;
pub use orthogonal::{Identity, Orthogonal, Sparse};
pub use truncated_normal::TruncatedNormal;
pub use uniform::Uniform;
pub use xavier::{XavierNormal, XavierUniform};

use crate::settings::{Context, SettingType, TYPE, Table, Value};
use crate::{Error, Result};
use dropforge_ir::random::random_bits;
use dropforge_ir::{Array, BF16, Data, F16, Shape, ValueType};
use std::fmt;
use std::sync::Arc;

/// A rule for how a parameter starts. One of your own goes into [`Init::new`].
pub trait Initializer: Send + Sync {
    /// The elements of a parameter of this shape, row-major; `None` if the rule does not fit the shape. All randomness
    /// comes from `draw`.
    fn elements(&self, draw: Draw<'_>, shape: &Shape) -> Option<Vec<f32>>;

    /// Name and settings as a file has them.
    ///
    /// # Errors
    /// The rule cannot be written down.
    fn config(&self) -> Result<Table> {
        Err(Error::setting("an initialiser of a program's own cannot be written to a file"))
    }
}

/// The random numbers of one parameter: they depend on the seed of the run and the name of the parameter alone.
#[derive(Clone, Copy, Debug)]
pub struct Draw<'a> {
    /// Seed of the run.
    pub seed: u64,
    /// Full name of the parameter.
    pub name: &'a str,
}

impl Draw<'_> {
    /// So many numbers evenly distributed from `low` up to `high`.
    pub fn uniform(&self, count: usize, low: f64, high: f64) -> Vec<f32> {
        let number = |u: f64| {
            let number = (low + (high - low) * u) as f32;
            // Rounded up to the end, which is left out.
            if number >= high as f32 { low as f32 } else { number }
        };
        self.fractions(count).into_iter().map(number).collect()
    }

    /// So many normally distributed numbers, by Box and Muller's transform.
    pub fn normal(&self, count: usize, mean: f64, deviation: f64) -> Vec<f32> {
        let pairs = self.fractions(count.saturating_mul(2));
        let value = |pair: &[f64]| {
            // 1 − u is above 0, so its logarithm is finite.
            let radius = (-2.0 * (1.0 - pair[0]).ln()).sqrt();
            (mean + deviation * radius * (std::f64::consts::TAU * pair[1]).cos()) as f32
        };
        pairs.chunks_exact(2).map(value).collect()
    }

    /// Fractions from 0 up to 1, which is left out, from the 24 upper bits of words.
    fn fractions(&self, count: usize) -> Vec<f64> {
        let name = hash(self.name);
        let seed = [self.seed as u32, (self.seed >> 32) as u32];
        let words = random_bits(seed, name as u32, (name >> 32) as u32, count);
        words.into_iter().map(|word| f64::from(word >> 8) / 16_777_216.0).collect()
    }
}

/// How a parameter or state starts. The numbers depend on the seed of the run and the name of the parameter alone.
///
/// Fans are PyTorch's: of a shape `[out, in, ..]`, fan in is `in` and fan out is `out`, each times the product of the
/// other extents.
#[derive(Clone)]
pub struct Init(Arc<dyn Initializer>);

impl Init {
    /// By this rule.
    pub fn new(rule: impl Initializer + 'static) -> Init {
        Init(Arc::new(rule))
    }

    /// The same number everywhere.
    #[doc(alias = "constant_")]
    pub fn constant(value: f32) -> Init {
        Init::new(Constant { value })
    }

    /// These elements, in row-major order; the count must fit.
    pub fn values(values: Vec<f32>) -> Init {
        Init::new(Given { values })
    }

    /// Evenly distributed from `low` up to `high`.
    pub fn uniform(low: f32, high: f32) -> Init {
        Init::new(Uniform { low, high })
    }

    /// Normally distributed.
    pub fn normal(mean: f32, deviation: f32) -> Init {
        Init::new(Normal { mean, deviation })
    }

    /// What dense and convolution layers start with: Kaiming uniform with a = √5, which is uniform within ±1/√(fan in).
    pub fn weight() -> Init {
        Init::kaiming_uniform_for(5f32.sqrt())
    }

    /// What the bias of a layer with this many inputs per output starts with: uniform within ±1/√inputs.
    pub fn bias(inputs: usize) -> Init {
        let bound = if inputs == 0 { 0.0 } else { 1.0 / (inputs as f64).sqrt() as f32 };
        Init::uniform(-bound, bound)
    }

    /// Kaiming uniform for a ReLU: gain √2.
    #[doc(alias = "kaiming_uniform_")]
    pub fn kaiming_uniform() -> Init {
        Init::kaiming_uniform_for(0.0)
    }

    /// Kaiming normal for a ReLU: gain √2.
    #[doc(alias = "kaiming_normal_")]
    pub fn kaiming_normal() -> Init {
        Init::new(KaimingNormal { gain: leaky_gain(0.0) })
    }

    /// Kaiming uniform for a leaky ReLU of this slope: gain √(2 / (1 + slope²)).
    pub fn kaiming_uniform_for(slope: f32) -> Init {
        Init::new(KaimingUniform { gain: leaky_gain(slope) })
    }

    /// Xavier uniform with gain 1.
    #[doc(alias = "xavier_uniform_")]
    pub fn xavier_uniform() -> Init {
        Init::new(XavierUniform { gain: 1.0 })
    }

    /// Xavier normal with gain 1.
    #[doc(alias = "xavier_normal_")]
    pub fn xavier_normal() -> Init {
        Init::new(XavierNormal { gain: 1.0 })
    }

    /// The elements of the state `name` in a run with this seed; `None` if given values do not fit its shape.
    pub fn array(&self, seed: u64, name: &str, ty: &ValueType) -> Option<Array> {
        let elements = self.0.elements(Draw { seed, name }, &ty.shape)?;
        let data = match ty.dtype {
            dropforge_ir::DType::F32 => Data::F32(elements),
            dropforge_ir::DType::F16 => Data::F16(elements.into_iter().map(F16::from_f32).collect()),
            dropforge_ir::DType::BF16 => Data::BF16(elements.into_iter().map(BF16::from_f32).collect()),
            dropforge_ir::DType::I32 => Data::I32(elements.into_iter().map(|x| x as i32).collect()),
            dropforge_ir::DType::U32 => Data::U32(elements.into_iter().map(|x| x as u32).collect()),
            dropforge_ir::DType::U8 => Data::U8(elements.into_iter().map(|x| x as u8).collect()),
            dropforge_ir::DType::Bool => {
                Data::Bool(elements.into_iter().map(|x| u8::from(x != 0.0)).collect())
            }
        };
        Array::new(ty.shape.clone(), data)
    }
}

impl From<Box<dyn Initializer>> for Init {
    fn from(rule: Box<dyn Initializer>) -> Init {
        Init(Arc::from(rule))
    }
}

impl fmt::Debug for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.config() {
            Ok(table) => write!(f, "Init({})", Value::Table(table)),
            Err(_) => f.write_str("Init(a rule of the program's own)"),
        }
    }
}

/// A number for a constant, a name, or a table with `type` and settings.
impl SettingType for Init {
    fn expects() -> String {
        "an initialiser such as \"kaiming_normal\", 0.0 or { type = \"normal\", deviation = 0.02 }".into()
    }

    fn read(value: &Value, context: &Context<'_>) -> Result<Init> {
        match value {
            Value::Float(_) | Value::Integer(_) => f32::read(value, context).map(Init::constant),
            _ => context.build("initialiser", value),
        }
    }

    fn kind() -> Option<&'static str> {
        Some("initialiser")
    }

    fn write(&self) -> Result<Option<Value>> {
        let mut table = self.0.config()?;
        // The name alone says it all.
        if let (1, Some(name)) = (table.len(), table.remove(TYPE)) {
            return Ok(Some(name));
        }
        self.0.config().map(|table| Some(Value::Table(table)))
    }
}

/// √(2 / (1 + slope²)), PyTorch's gain for a leaky ReLU.
fn leaky_gain(slope: f32) -> f32 {
    (2.0 / (1.0 + f64::from(slope).powi(2))).sqrt() as f32
}

/// Inputs and outputs that one element of a parameter connects, at least 1 each.
fn fans(shape: &Shape) -> (f64, f64) {
    let product = |axes: &[usize]| axes.iter().map(|&extent| extent as f64).product::<f64>();
    let (inputs, outputs) = match &shape[..] {
        [] => (1.0, 1.0),
        [width] => (*width as f64, *width as f64),
        [outputs, inputs, rest @ ..] => (*inputs as f64 * product(rest), *outputs as f64 * product(rest)),
    };
    (inputs.max(1.0), outputs.max(1.0))
}

/// A number for a name: 64-bit FNV-1a.
pub(crate) fn hash(name: &str) -> u64 {
    name.bytes()
        .fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

/// What an initialiser declared with [`described!`](crate::described) says of itself.
macro_rules! config {
    () => {
        fn config(&self) -> crate::Result<crate::settings::Table> {
            crate::settings::Described::write_named(self)
        }
    };
}
use config;

#[cfg(test)]
mod tests {
    use super::*;
    use dropforge_ir::DType;

    fn sample(init: &Init, shape: &[usize]) -> Vec<f32> {
        let array = init.array(3, "fc.weight", &ValueType::new(DType::F32, shape)).unwrap();
        array.as_f32().unwrap().to_vec()
    }

    fn moments(x: &[f32]) -> (f64, f64) {
        let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / x.len() as f64;
        let variance = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / x.len() as f64;
        (mean, variance.sqrt())
    }

    #[test]
    fn bounds_and_deviations_are_pytorchs() {
        let shape = [64, 16, 3, 3];
        let (fan_in, fan_out) = (144.0f64, 576.0f64);
        let cases = [
            (Init::weight(), 1.0 / fan_in.sqrt() / 3f64.sqrt(), Some(1.0 / fan_in.sqrt())),
            (Init::kaiming_uniform(), (2.0 / fan_in).sqrt(), Some((6.0 / fan_in).sqrt())),
            (Init::kaiming_normal(), (2.0 / fan_in).sqrt(), None),
            (
                Init::xavier_uniform(),
                (2.0 / (fan_in + fan_out)).sqrt(),
                Some((6.0 / (fan_in + fan_out)).sqrt()),
            ),
            (Init::xavier_normal(), (2.0 / (fan_in + fan_out)).sqrt(), None),
            (Init::bias(4), 0.5 / 3f64.sqrt(), Some(0.5)),
        ];
        for (init, deviation, bound) in cases {
            let x = sample(&init, &shape);
            let (mean, measured) = moments(&x);
            assert!(mean.abs() < 0.03 * deviation, "{init:?}: mean {mean}");
            assert!((measured / deviation - 1.0).abs() < 0.02, "{init:?}: {measured}, not {deviation}");
            if let Some(bound) = bound {
                let largest = x.iter().fold(0.0f64, |m, &x| m.max(f64::from(x).abs()));
                assert!(largest <= bound * 1.000_001 && largest > 0.99 * bound, "{init:?}: {largest}");
            }
        }
    }

    #[test]
    fn numbers_depend_on_seed_and_name() {
        let ty = ValueType::new(DType::F32, [8]);
        let init = Init::bias(4);
        let first = init.array(1, "a", &ty).unwrap();
        assert_eq!(first, init.array(1, "a", &ty).unwrap());
        assert_ne!(first, init.array(2, "a", &ty).unwrap());
        assert_ne!(first, init.array(1, "b", &ty).unwrap());
        assert!(Init::values(vec![1.0]).array(0, "a", &ty).is_none());
    }
}
