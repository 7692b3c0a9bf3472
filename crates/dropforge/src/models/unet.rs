//! U-shaped networks that give each pixel a class (Ronneberger et al.: U-Net, arXiv:1505.04597).

use super::Recipe;
use super::declare::models;
use crate::Tensor;
use crate::nn::{
    Layer, Scope, Sequential, batch_norm, conv, conv_transpose, max_pool, relu, upsample_bilinear,
};
use crate::seq;
use crate::settings::Range;

models! {
    /// The model `unet`: scores `[batch, outputs, height, width]` for images of any size from 16 by 16. Convolutions
    /// keep the size and have batch norms, and parameters the names of the most used implementation for PyTorch: `inc`,
    /// `down1` to `down4`, `up1` to `up4` and `outc`. 31 million parameters.
    UNet = "unet", "a class for each pixel, from parts and the whole"
        like "Ronneberger et al., arXiv:1505.04597" but "keeps the size, and has batch norms",
        [3, 128, 128], Recipe::adam(1e-3); {
        width: usize = 64, (2..=4096).into(), "channels at the start, doubled from level to level";
        bilinear: bool = false, Range::ANY, "whether images grow by interpolation, not by transposed convolutions";
    }
}

fn twice(middle: usize, channels: usize) -> Sequential {
    let part = |channels| conv(channels, 3).padding(1).bias(false);
    let both = seq![part(middle), batch_norm(), relu(), part(channels), batch_norm(), relu()];
    seq!["double_conv" => both]
}

impl UNet {
    fn network(&self, outputs: usize) -> Box<dyn Layer> {
        let UNet { width, bilinear } = *self;
        Box::new(move |scope: &Scope, x: &Tensor| {
            let share = if bilinear { 2 } else { 1 };
            let mut levels = vec![scope.layer("inc", &twice(width, width), x)];
            for level in 1..=4 {
                let channels = (width << level) / if level == 4 { share } else { 1 };
                let down = seq!["maxpool_conv" => seq![max_pool(2), twice(channels, channels)]];
                levels.push(scope.layer(&format!("down{level}"), &down, &levels[level - 1]));
            }
            let mut y = levels[4].clone();
            for level in 1..=4 {
                let beside = &levels[4 - level];
                let scope = scope.enter(&format!("up{level}"));
                let channels = width << (4 - level);
                let grown = match bilinear {
                    true => scope.layer("up", &upsample_bilinear(2, true), &y),
                    false => scope.layer("up", &conv_transpose(channels, 2).stride(2), &y),
                };
                if grown.error().is_some() || beside.error().is_some() {
                    return grown;
                }
                // Odd extents were rounded down on the way.
                let missing = |axis: usize| beside.shape()[axis].saturating_sub(grown.shape()[axis]);
                let (rows, columns) = (missing(2), missing(3));
                let low = [0, 0, rows / 2, columns / 2];
                let high = [0, 0, rows - rows / 2, columns - columns / 2];
                let joined = Tensor::concat(&[beside, &grown.pad(&low, &high, 0.0)], 1);
                let (middle, last) =
                    if bilinear { (channels, (channels / 2).max(1)) } else { (channels, channels) };
                let last = if bilinear && level == 4 { channels } else { last };
                y = scope.layer("conv", &twice(middle, last), &joined);
            }
            scope.layer("outc", &seq!["conv" => conv(outputs, 1)], &y)
        })
    }
}
