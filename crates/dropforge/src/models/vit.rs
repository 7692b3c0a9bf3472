//! Transformers that see images as sequences of patches (Dosovitskiy et al.: An image is worth 16x16 words,
//! arXiv:2010.11929).

use super::Recipe;
use super::declare::models;
use crate::Tensor;
use crate::init::Init;
use crate::nn::{Layer, Scope, conv, dense, dropout, gelu, layer_norm, multi_head_attention};
use crate::seq;

models! {
    /// The model `vit_small`: patches of an image and one more token, whose last state is classified. The parameter
    /// names of torchvision: `class_token`, `conv_proj`, `encoder.pos_embedding`, `encoder.layers.encoder_layer_N` and
    /// `heads.head`. 22 million parameters.
    VitSmall = "vit_small", "a transformer over the patches of an image"
        like "torchvision's VisionTransformer" but "patches of 4 by 4 unless told otherwise",
        [3, 32, 32], Recipe::by("adamw", 5e-4); {
        patch: usize = 4, (1..).into(), "height and width of a patch; divides those of the image";
        width: usize = 384, (1..).into(), "numbers per patch between the layers";
        heads: usize = 6, (1..).into(), "heads of attention; divides the width";
        layers: usize = 12, (1..=1000).into(), "blocks of attention and feed-forward layer";
        hidden: usize = 1536, (1..).into(), "units of the feed-forward layers";
        dropout: f32 = 0.0, (0.0..1.0).into(), "probability of each element between the layers";
    }
}

impl VitSmall {
    fn network(&self, outputs: usize) -> Box<dyn Layer> {
        let VitSmall { patch, width, heads, layers, hidden, dropout: p } = *self;
        Box::new(move |scope: &Scope, x: &Tensor| {
            let divides = |extent: usize| patch > 0 && extent > 0 && extent.is_multiple_of(patch);
            if x.rank() != 4 || !x.shape()[2..].iter().all(|&extent| divides(extent)) {
                let message =
                    format!("needs images of whole patches of {patch} by {patch}, got {}", x.shape());
                return scope.fail("vit_small", message, x);
            }
            let token = scope.parameter("class_token", [1, 1, width], Init::constant(0.0));
            let patches = scope.layer("conv_proj", &conv(width, patch).stride(patch), x);
            let patches = patches.flatten(2).transpose(1, 2);
            let token = token.broadcast_to(vec![x.shape()[0], 1, width]);
            let y = Tensor::concat(&[&token, &patches], 1);
            if y.error().is_some() {
                return y;
            }
            let encoder = scope.enter("encoder");
            let shape = [1, y.shape()[1], width];
            let positions = encoder.parameter("pos_embedding", shape, Init::normal(0.0, 0.02));
            let mut y = dropout(p).forward(&encoder, &(y + positions));
            let blocks = encoder.enter("layers");
            for number in 0..layers {
                y = blocks.layer(&format!("encoder_layer_{number}"), &block(heads, hidden, p), &y);
            }
            let y = encoder.layer("ln", &layer_norm().eps(1e-6), &y);
            scope.layer("heads", &seq!["head" => dense(outputs)], &y.at(1, 0))
        })
    }
}

fn block(heads: usize, hidden: usize, p: f32) -> impl Layer {
    move |scope: &Scope, x: &Tensor| {
        let width = x.shape().last().copied().unwrap_or(0);
        let norm = layer_norm().eps(1e-6);
        let y = scope.layer("self_attention", &multi_head_attention(heads), &scope.layer("ln_1", &norm, x));
        let x = x + dropout(p).forward(scope, &y);
        let feed_forward = seq![dense(hidden), gelu(), dropout(p), dense(width), dropout(p)];
        &x + scope.layer("mlp", &feed_forward, &scope.layer("ln_2", &norm, &x))
    }
}
