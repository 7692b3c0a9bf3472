//! Networks that give back what they are given.

use super::Recipe;
use super::declare::models;
use crate::Tensor;
use crate::nn::{Layer, Scope, Sequential, conv, conv_transpose, dense, flatten, relu};
use crate::seq;

models! {
    /// The model `autoencoder`: images through a few numbers and back. What it learns from is its input: it adds the
    /// mean squared difference to the loss, which is by default nothing else.
    AutoEncoder = "autoencoder", "images through a few numbers and back", [1, 28, 28], Recipe::adam(2e-3), loss = "added"; {
        width: usize = 16, (1..=4096).into(), "channels of the first convolution";
        latent: usize = 32, (1..).into(), "numbers in the middle";
    }
    /// The model `vae`: images through normally distributed numbers and back (Kingma and Welling, arXiv:1312.6114). It
    /// adds the squared difference, summed over an image, and `beta` times the divergence of the numbers from the
    /// normal distribution to the loss, over the count of pixels.
    Vae = "vae", "images through normally distributed numbers and back"
        like "Kingma and Welling, arXiv:1312.6114" but "squared differences",
        [1, 28, 28], Recipe::adam(2e-3), loss = "added"; {
        width: usize = 16, (1..=4096).into(), "channels of the first convolution";
        latent: usize = 16, (1..).into(), "numbers in the middle";
        beta: f32 = 1.0, (0.0..).into(), "weight of the divergence";
    }
}

/// Two convolutions that halve height and width.
fn encoder(width: usize) -> Sequential {
    let half = |channels| conv(channels, 3).stride(2).padding(1);
    seq![half(width), relu(), half(2 * width), relu()]
}

/// What two halvings leave of an extent.
fn quarter(extent: usize) -> usize {
    extent.div_ceil(2).div_ceil(2)
}

/// An image of the shape of `like` from numbers.
fn decoded(scope: &Scope, numbers: &Tensor, like: &Tensor, width: usize) -> Tensor {
    let shape = like.shape();
    let (batch, height, columns) = (shape[0], shape[2], shape[3]);
    let (low, narrow) = (quarter(height), quarter(columns));
    let y = scope.layer("0", &dense((2 * width).saturating_mul(low).saturating_mul(narrow)), numbers).relu();
    let y = y.reshape(vec![batch, 2 * width, low, narrow]);
    let twice = |channels| conv_transpose(channels, 4).stride(2).padding(1);
    let y = scope.layer("2", &twice(width), &y).relu();
    let y = scope.layer("4", &twice(shape[1]), &y);
    if y.error().is_some() { y } else { y.slice(2, ..height).slice(3, ..columns) }
}

/// Refuses what is no image.
fn checked(scope: &Scope, name: &str, x: &Tensor) -> Option<Tensor> {
    let fits = x.rank() == 4 && x.dtype().is_float();
    let message = format!("needs f32[batch, channels, height, width], got {}", x.ty());
    (!fits).then(|| scope.fail(name, message, x))
}

impl AutoEncoder {
    fn network(&self, _: usize) -> Box<dyn Layer> {
        let AutoEncoder { width, latent } = *self;
        Box::new(move |scope: &Scope, x: &Tensor| {
            if let Some(failed) = checked(scope, "autoencoder", x) {
                return failed;
            }
            let middle =
                seq!["convolutions" => encoder(width), "flatten" => flatten(), "numbers" => dense(latent)];
            let numbers = scope.layer("encoder", &middle, x);
            let y = decoded(&scope.enter("decoder"), &numbers, x, width);
            scope.add_loss(&(&y - x).square().mean(..));
            y
        })
    }
}

impl Vae {
    fn network(&self, _: usize) -> Box<dyn Layer> {
        let Vae { width, latent, beta } = *self;
        Box::new(move |scope: &Scope, x: &Tensor| {
            if let Some(failed) = checked(scope, "vae", x) {
                return failed;
            }
            let within = scope.enter("encoder");
            let y = within.layer("convolutions", &encoder(width), x).flatten(1);
            let mean = within.layer("mean", &dense(latent), &y);
            let logarithm = within.layer("log_variance", &dense(latent), &y);
            let numbers = match scope.is_training() {
                true => &mean + (&logarithm * 0.5).exp() * scope.normal(mean.shape()),
                false => mean.clone(),
            };
            let y = decoded(&scope.enter("decoder"), &numbers, x, width);
            let pixels = x.shape().iter().skip(1).product::<usize>().max(1) as f32;
            // Kingma and Welling, appendix B.
            let divergence = (mean.square() + logarithm.exp() - &logarithm - 1.0).sum(1) * 0.5;
            scope.add_loss(&((&y - x).square().mean(..) + divergence.mean(..) * (beta / pixels)));
            y
        })
    }
}
