//! LeCun's initialisation: "Efficient BackProp", 1998.

use super::{Draw, Initializer, fans};
use crate::described;
use dropforge_ir::Shape;

/// Uniform within ±√(3 / fan in): Keras' `LecunUniform`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LecunUniform {}

described! {
    LecunUniform = "lecun_uniform", "uniform within ±√(3 / fan in)" like "Keras' LecunUniform";
}

impl Initializer for LecunUniform {
    fn elements(&self, draw: Draw<'_>, shape: &Shape) -> Option<Vec<f32>> {
        let bound = (3.0 / fans(shape).0).sqrt();
        Some(draw.uniform(shape.elements(), -bound, bound))
    }

    super::config!();
}

/// Normal with deviation 1 / √(fan in), which suits SELU. Keras' `LecunNormal` cuts the tails off; this one does not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LecunNormal {}

described! {
    LecunNormal = "lecun_normal", "normal with deviation 1 / √(fan in)" like "Keras' LecunNormal" but "tails are not cut off";
}

impl Initializer for LecunNormal {
    fn elements(&self, draw: Draw<'_>, shape: &Shape) -> Option<Vec<f32>> {
        Some(draw.normal(shape.elements(), 0.0, 1.0 / fans(shape).0.sqrt()))
    }

    super::config!();
}
