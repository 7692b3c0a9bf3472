//! Xavier initialisation: Glorot and Bengio, AISTATS 2010.

use super::{Draw, Initializer, fans};
use crate::described;
use crate::settings::Range;
use dropforge_ir::Shape;

/// Uniform within ±gain·√(6 / (fan in + fan out)): PyTorch's `init.xavier_uniform_`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct XavierUniform {
    /// Factor for the activation that follows.
    pub gain: f32,
}

described! {
    XavierUniform = "xavier_uniform", "uniform within ±gain·√(6 / (fan in + fan out))" like "init.xavier_uniform_";
    gain: f32, Some(1.0), Range::above(0.0), "factor for the activation that follows";
}

impl Initializer for XavierUniform {
    fn elements(&self, draw: Draw<'_>, shape: &Shape) -> Option<Vec<f32>> {
        let (fan_in, fan_out) = fans(shape);
        let bound = f64::from(self.gain) * (6.0 / (fan_in + fan_out)).sqrt();
        Some(draw.uniform(shape.elements(), -bound, bound))
    }

    super::config!();
}

/// Normal with deviation gain·√(2 / (fan in + fan out)): PyTorch's `init.xavier_normal_`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct XavierNormal {
    /// Factor for the activation that follows.
    pub gain: f32,
}

described! {
    XavierNormal = "xavier_normal", "normal with deviation gain·√(2 / (fan in + fan out))" like "init.xavier_normal_";
    gain: f32, Some(1.0), Range::above(0.0), "factor for the activation that follows";
}

impl Initializer for XavierNormal {
    fn elements(&self, draw: Draw<'_>, shape: &Shape) -> Option<Vec<f32>> {
        let (fan_in, fan_out) = fans(shape);
        let deviation = f64::from(self.gain) * (2.0 / (fan_in + fan_out)).sqrt();
        Some(draw.normal(shape.elements(), 0.0, deviation))
    }

    super::config!();
}
