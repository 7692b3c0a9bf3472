//! What the products of a network compute in.

use crate::error::{Error, ErrorKind, Result};
use crate::settings::{Context, SettingType, Value, unknown};
use crate::tensor::Runtime;
use dropforge_ir::DType;
use dropforge_ir::passes::precision::describe;
use std::fmt;
use std::str::FromStr;

/// What products, convolutions and attention compute in; everything else computes in f32, and parameters and what
/// optimizers keep stay f32. See `docs/mixed-precision.md`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// f32.
    #[default]
    F32,
    /// bf16: 8 bits of precision in the range of f32.
    Bf16,
    /// f16: 11 bits of precision, numbers from 6e-8 to 65504. The loss is scaled so that gradients stay in that range,
    /// and a step that leaves it counts for nothing.
    F16,
    /// The half type in which the device is faster than in f32, or f32 where it is not.
    Auto,
}

impl Precision {
    /// All of them.
    pub const ALL: [Precision; 4] = [Precision::F32, Precision::Bf16, Precision::F16, Precision::Auto];

    /// The name in files and on the command line: `f32`, `bf16`, `f16`, `auto`.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
            Precision::F16 => "f16",
            Precision::Auto => "auto",
        }
    }

    /// The half type, if there is one; `Auto` has to be [resolved](Precision::on) first.
    pub fn half(self) -> Option<DType> {
        match self {
            Precision::F32 | Precision::Auto => None,
            Precision::Bf16 => Some(DType::BF16),
            Precision::F16 => Some(DType::F16),
        }
    }

    /// What this is on a device, and for `Auto` why.
    pub fn on(self, runtime: &Runtime) -> (Precision, Option<String>) {
        if self != Precision::Auto {
            return (self, None);
        }
        let (half, why) = runtime.device().faster_half();
        let chosen = Precision::ALL.into_iter().find(|precision| precision.half() == half);
        (chosen.unwrap_or_default(), Some(why))
    }

    /// What each operation computes in, a line for each sort; nothing for f32.
    pub fn table(self) -> String {
        self.half().map_or_else(String::new, describe)
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(name: &str) -> Result<Precision> {
        let known = Precision::ALL.map(Precision::name);
        let found = Precision::ALL.into_iter().find(|precision| precision.name() == name);
        found.ok_or_else(|| unknown("there is no precision", name, "there are", &known))
    }
}

impl SettingType for Precision {
    fn expects() -> String {
        "f32, bf16, f16 or auto".into()
    }

    fn read(value: &Value, _: &Context<'_>) -> Result<Precision> {
        match value {
            Value::String(name) => name.parse(),
            _ => Err(Error::of(
                ErrorKind::Setting,
                format!("should be {}, got {value}", <Precision as SettingType>::expects()),
            )),
        }
    }

    fn write(&self) -> Result<Option<Value>> {
        Ok(Some(Value::String(self.name().into())))
    }
}
