//! Images that are mixed with others of their batch, and the losses that belong to them.

use crate::nn::Scope;
use crate::settings::{Described, Table};
use crate::tensor::Tensor;
use crate::tensor::node::fail;
use crate::{Error, Result, described};
use dropforge_ir::DType;
use std::sync::Arc;

/// A way to mix the images of a batch with each other, in each training step anew. The loss of a mixture is mixed as
/// well: for cross-entropy the same as one of probabilities as targets.
pub trait Mix: Send + Sync {
    /// Mixtures of images `[batch, channels, height, width]` and as many others, and the part of the first ones in
    /// them, a scalar. Random numbers come from the scope.
    fn mix(&self, scope: &Scope, images: &Tensor, others: &Tensor) -> (Tensor, Tensor);

    /// Whether inputs have to be images, `[batch, channels, height, width]`; if not, f32 of any shape is taken. Yes by
    /// default.
    fn needs_images(&self) -> bool {
        true
    }

    /// Name and settings, as a configuration has them.
    ///
    /// # Errors
    /// No file can name it.
    fn config(&self) -> Result<Table> {
        Err(Error::setting("a mixture made by a program, which has no name in files"))
    }
}

impl Mix for Box<dyn Mix> {
    fn mix(&self, scope: &Scope, images: &Tensor, others: &Tensor) -> (Tensor, Tensor) {
        (**self).mix(scope, images, others)
    }

    fn needs_images(&self) -> bool {
        (**self).needs_images()
    }

    fn config(&self) -> Result<Table> {
        (**self).config()
    }
}

/// How the inputs of a batch were mixed: each is one sample's in part, and another's for the rest.
#[derive(Clone)]
pub struct Mixed {
    part: Tensor,
}

impl Mixed {
    /// The part of the sample itself, a scalar from 0 to 1.
    pub fn part(&self) -> &Tensor {
        &self.part
    }

    /// A field of the other samples, in the order of the mixtures: each sample is mixed with the one before it, the
    /// first with the last.
    pub fn others(&self, field: &Tensor) -> Tensor {
        field.roll(&[1], 0)
    }

    /// The loss of the mixtures: of the samples' own targets and of the others', by their parts.
    pub fn loss(&self, target: &Tensor, loss: impl Fn(&Tensor) -> Tensor) -> Tensor {
        let rest = 1.0 - &self.part;
        loss(target) * &self.part + loss(&self.others(target)) * rest
    }
}

/// Each image is a weighted mean of itself and another (Zhang et al.: mixup, 2018). One weight a batch, from a Beta
/// distribution; the larger one is the image's own, which changes nothing but what metrics compare with. Rows of a
/// table and whatever else is f32 can be mixed as well.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MixUp {
    /// Both parameters of the Beta distribution: 1 makes all weights alike likely, less makes most mixtures weak.
    pub alpha: f32,
}

impl MixUp {
    /// With this parameter of the Beta distribution.
    pub fn new(alpha: f32) -> MixUp {
        MixUp { alpha }
    }
}

described! {
    MixUp = "mixup", "each image is mixed with another of its batch, as is the loss" like "torchvision.transforms.v2.MixUp";
    alpha: f32, Some(0.2), (1e-3..=1e3).into(), "of the Beta distribution of the weights: 1 makes all alike likely, less weak mixtures";
}

impl Mix for MixUp {
    fn mix(&self, scope: &Scope, images: &Tensor, others: &Tensor) -> (Tensor, Tensor) {
        let part = beta(scope, self.alpha);
        let part = part.maximum(1.0 - &part);
        (weighted(images, others, &part), part)
    }

    fn needs_images(&self) -> bool {
        false
    }

    fn config(&self) -> Result<Table> {
        self.write_named()
    }
}

/// A rectangle of each image comes from another (Yun et al.: CutMix, 2019). One rectangle a batch, whose part of the
/// area is from a Beta distribution before it is cut at the edges.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CutMix {
    /// Both parameters of the Beta distribution: 1 makes all sizes alike likely.
    pub alpha: f32,
}

impl CutMix {
    /// With this parameter of the Beta distribution.
    pub fn new(alpha: f32) -> CutMix {
        CutMix { alpha }
    }
}

described! {
    CutMix = "cutmix", "a rectangle of each image comes from another of its batch, and a part of the loss"
        like "torchvision.transforms.v2.CutMix";
    alpha: f32, Some(1.0), (1e-3..=1e3).into(), "of the Beta distribution of the area: 1 makes all alike likely, less very small and very large ones";
}

impl Mix for CutMix {
    fn mix(&self, scope: &Scope, images: &Tensor, others: &Tensor) -> (Tensor, Tensor) {
        let part = beta(scope, self.alpha);
        let middle = [number(scope), number(scope)];
        cut(images, others, &part, &middle)
    }

    fn config(&self) -> Result<Table> {
        self.write_named()
    }
}

/// One of several ways for each batch, all alike likely; `None` if there are none.
pub(super) fn any_of(mixes: &[Arc<dyn Mix>], scope: &Scope, images: &Tensor) -> Option<(Tensor, Mixed)> {
    let (first, rest) = mixes.split_first()?;
    let needs_images = mixes.iter().any(|mix| mix.needs_images());
    if images.error().is_none() && (images.dtype() != DType::F32 || needs_images && images.rank() != 4) {
        let wanted =
            if needs_images { "images f32[batch, channels, height, width]" } else { "inputs of f32" };
        let failed = fail("augment", format!("needs {wanted} to mix, got {}", images.ty()), &[images]);
        return Some((failed.clone(), Mixed { part: failed }));
    }
    let others = images.roll(&[1], 0);
    let (mut mixed, mut part) = first.mix(scope, images, &others);
    for (so_far, mix) in (1u16..).zip(rest) {
        let (images, other_part) = mix.mix(scope, images, &others);
        let takes = number(scope).lt(1.0 / (f32::from(so_far) + 1.0));
        mixed = Tensor::select(&takes, images, mixed);
        part = Tensor::select(&takes, other_part, part);
    }
    Some((mixed, Mixed { part }))
}

fn weighted(images: &Tensor, others: &Tensor, part: &Tensor) -> Tensor {
    images * part + others * (1.0 - part)
}

/// The rectangle about a middle, from 0 to 1 along rows and columns, that leaves about this part of the images comes
/// from others; and the part that is left.
fn cut(images: &Tensor, others: &Tensor, part: &Tensor, middle: &[Tensor; 2]) -> (Tensor, Tensor) {
    let side = (1.0 - part).maximum(0.0).sqrt() * 0.5;
    // Whole pixels, as torchvision has them.
    let span = |axis: usize| {
        let extent = images.shape().get(axis).copied().unwrap_or(1) as f32;
        let (half, at) = ((&side * extent).floor(), (&middle[axis - 2] * extent).floor());
        ((&at - &half).maximum(0.0), (&at + &half).minimum(extent), extent)
    };
    let (rows, columns) = (span(2), span(3));
    let within = |axis: usize, (start, end, _): &(Tensor, Tensor, f32)| {
        let places = super::geometry::places(images, axis);
        places.ge(start).logical_and(places.lt(end))
    };
    let inside = within(2, &rows).logical_and(within(3, &columns));
    let share = |(start, end, extent): &(Tensor, Tensor, f32)| (end - start) / *extent;
    (Tensor::select(&inside, others, images), 1.0 - share(&rows) * share(&columns))
}

/// A random number from 0 to 1, the same for the whole batch.
fn number(scope: &Scope) -> Tensor {
    scope.uniform([1]).reshape([])
}

/// A number from the Beta distribution of two equal parameters, by the Student distribution that belongs to it (Bailey:
/// Polar generation of random variates with the t-distribution, 1994), without a loop.
fn beta(scope: &Scope, alpha: f32) -> Tensor {
    let (u, v) = (number(scope), number(scope));
    let turned = (v * std::f32::consts::TAU).cos();
    // Within the range of f32 for small parameters too.
    let spread = (u.maximum(f32::MIN_POSITIVE).log() * (-1.0 / alpha)).minimum(69.0).expm1();
    let squared = (spread * turned.square()).maximum(1e-30);
    let distance = (1.0 / (1.0 + 1.0 / squared)).sqrt() * 0.5;
    Tensor::select(&turned.lt(0.0), 0.5 - &distance, 0.5 + &distance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Mode;

    fn scalar(x: f32) -> Tensor {
        Tensor::from_vec(vec![x], [])
    }

    #[test]
    fn rectangles_and_parts_are_torchvisions() {
        let images = Tensor::zeros([2, 1, 6, 8]);
        let others = Tensor::ones([2, 1, 6, 8]);
        // For λ = 0.64 half a side is int(0.3 · extent), about row 1 and column 7: rows 0 to 2, columns 5 to 8.
        let (mixed, part) = cut(&images, &others, &scalar(0.64), &[scalar(1.5 / 6.0), scalar(7.1 / 8.0)]);
        let pixels = mixed.to_vec::<f32>().unwrap();
        for (place, pixel) in pixels.iter().enumerate() {
            let (y, x) = (place / 8 % 6, place % 8);
            assert_eq!(*pixel, f32::from(u8::from(y < 2 && x >= 5)), "{y}, {x}");
        }
        assert!((part.item::<f32>().unwrap() - (1.0 - 6.0 / 48.0)).abs() < 1e-6);
        let even = weighted(&images, &others, &scalar(0.75)).to_vec::<f32>().unwrap();
        assert!(even.iter().all(|x| (x - 0.25).abs() < 1e-6));
    }

    #[test]
    fn weights_have_the_moments_of_the_beta_distribution() {
        use crate::prelude::*;
        for alpha in [0.1f32, 0.2, 1.0, 5.0] {
            // A network that gives what it draws: a new number in each step, as the input of the loss.
            let draws = move |scope: &Scope, _: &crate::step::Batch| {
                let number = match scope.mode() {
                    Mode::Train => beta(scope, alpha),
                    Mode::Eval => scalar(0.0),
                };
                scope.parameter("weight", [1], crate::init::Init::constant(0.0)).sum(..) * 0.0 + number
            };
            let batch = (Tensor::zeros([1, 1]), Tensor::zeros([1, 1]));
            let mut step = StepBuilder::of(draws, Sgd::new(0.1)).compile_for(&batch).unwrap();
            let numbers: Vec<f64> =
                (0..2000).map(|_| f64::from(step.run(&batch).unwrap().loss().unwrap())).collect();
            let mean = numbers.iter().sum::<f64>() / 2000.0;
            let variance = numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 2000.0;
            let expected = 1.0 / (4.0 * (2.0 * f64::from(alpha) + 1.0));
            assert!(numbers.iter().all(|x| (0.0..=1.0).contains(x)));
            assert!(
                (mean - 0.5).abs() < 0.04 && (variance / expected - 1.0).abs() < 0.1,
                "{alpha}: {mean} {variance}"
            );
        }
    }
}
