//! Kaiming initialisation: He et al., arXiv:1502.01852.

use super::{Draw, Initializer, fans};
use crate::described;
use crate::settings::Range;
use dropforge_ir::Shape;

/// Uniform within ±gain·√(3 / fan in): PyTorch's `init.kaiming_uniform_`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KaimingUniform {
    /// Factor for the activation that follows.
    pub gain: f32,
}

described! {
    KaimingUniform = "kaiming_uniform", "uniform within ±gain·√(3 / fan in)" like "init.kaiming_uniform_" but "fan in";
    gain: f32, Some(std::f32::consts::SQRT_2), Range::above(0.0), "factor for the activation that follows, √2 for ReLU";
}

impl Initializer for KaimingUniform {
    fn elements(&self, draw: Draw<'_>, shape: &Shape) -> Option<Vec<f32>> {
        let bound = f64::from(self.gain) * (3.0 / fans(shape).0).sqrt();
        Some(draw.uniform(shape.elements(), -bound, bound))
    }

    super::config!();
}

/// Normal with deviation gain / √(fan in): PyTorch's `init.kaiming_normal_`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KaimingNormal {
    /// Factor for the activation that follows.
    pub gain: f32,
}

described! {
    KaimingNormal = "kaiming_normal", "normal with deviation gain / √(fan in)" like "init.kaiming_normal_" but "fan in";
    gain: f32, Some(std::f32::consts::SQRT_2), Range::above(0.0), "factor for the activation that follows, √2 for ReLU";
}

impl Initializer for KaimingNormal {
    fn elements(&self, draw: Draw<'_>, shape: &Shape) -> Option<Vec<f32>> {
        Some(draw.normal(shape.elements(), 0.0, f64::from(self.gain) / fans(shape).0.sqrt()))
    }

    super::config!();
}
