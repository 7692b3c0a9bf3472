//! Transformers that predict the next token (Radford et al.: Language models are unsupervised multitask learners,
//! 2019).

use super::{Model, Recipe};
use crate::Tensor;
use crate::init::Init;
use crate::nn::{Dense, Layer, Scope, dense, gelu_tanh, layer_norm};
use crate::seq;
use crate::settings::{Described, Table};
use crate::{Result, described};

/// Sizes of a [`gpt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GptOptions {
    /// Different tokens.
    pub vocabulary: usize,
    /// Longest sequence.
    pub context: usize,
    /// Numbers per token between the layers.
    pub width: usize,
    /// Heads of attention; divides `width`.
    pub heads: usize,
    /// Blocks of attention and feed-forward layer.
    pub layers: usize,
}

/// A transformer with learned positions, norms before each part, and a head that shares the token table.
///
/// Takes token numbers `[batch, time]`, i32, and gives scores `[batch, time, vocabulary]`. Tables and dense weights
/// start normal with deviation 0.02. Parameters: `wte`, `wpe`, `h.N.ln_1`, `h.N.attn.c_attn`, `h.N.attn.c_proj`,
/// `h.N.ln_2`, `h.N.mlp.c_fc`, `h.N.mlp.c_proj` and `ln_f`, the names that Hugging Face's GPT-2 has;
/// [`LoadOptions::gpt2`](crate::run::LoadOptions::gpt2) loads its weights.
pub fn gpt(options: GptOptions) -> impl Layer {
    move |scope: &Scope, x: &Tensor| {
        let GptOptions { vocabulary, context, width, heads, layers } = options;
        let &[_, time] = x.shape().iter().as_slice() else {
            return scope.fail("gpt", format!("needs i32[batch, time], got {}", x.ty()), x);
        };
        if time > context {
            return scope.fail("gpt", format!("{time} tokens are more than the context of {context}"), x);
        }
        let tokens = scope.enter("wte").parameter("weight", [vocabulary, width], normal());
        let positions = scope.enter("wpe").parameter("weight", [context, width], normal());
        let mut y = tokens.embedding(x) + positions.slice(0, ..time);
        let blocks = scope.enter("h");
        for layer in 0..layers {
            y = blocks.layer(&layer.to_string(), &block(width, heads), &y);
        }
        scope.layer("ln_f", &layer_norm(), &y).linear(&tokens)
    }
}

fn normal() -> Init {
    Init::normal(0.0, 0.02)
}

fn small(outputs: usize) -> Dense {
    dense(outputs).weight_init(normal())
}

fn block(width: usize, heads: usize) -> impl Layer {
    move |scope: &Scope, x: &Tensor| {
        let attention = |scope: &Scope, x: &Tensor| causal_attention(scope, x, heads);
        let x = x + scope.layer("attn", &attention, &scope.layer("ln_1", &layer_norm(), x));
        let feed_forward = seq!["c_fc" => small(4 * width), gelu_tanh(), "c_proj" => small(width)];
        &x + scope.layer("mlp", &feed_forward, &scope.layer("ln_2", &layer_norm(), &x))
    }
}

/// Each token looks at itself and those before it.
fn causal_attention(scope: &Scope, x: &Tensor, heads: usize) -> Tensor {
    let &[batch, time, width] = x.shape().iter().as_slice() else {
        return scope.fail("attention", format!("needs [batch, time, width], got {}", x.ty()), x);
    };
    if heads == 0 || !width.is_multiple_of(heads) {
        return scope.fail("attention", format!("{heads} heads do not divide the width of {width}"), x);
    }
    let qkv = scope.layer("c_attn", &small(3 * width), x);
    let qkv = qkv.reshape(vec![batch, time, 3, heads, width / heads]).permute(&[2, 0, 3, 1, 4]);
    let [q, k, v] = [0, 1, 2].map(|part| qkv.at(0, part));
    let y = q.attention(&k, &v, true);
    let y = y.transpose(1, 2).reshape(vec![batch, time, width]);
    scope.layer("c_proj", &small(width), &y)
}

/// The model `gpt`, whose scores are `[batch, vocabulary, time]`; its vocabulary is that of the data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gpt {
    context: usize,
    width: usize,
    heads: usize,
    layers: usize,
}

described! {
    Gpt = "gpt", "a transformer that predicts the next token"
        like "Hugging Face's GPT2LMHeadModel" but "scores are [batch, vocabulary, time]";
    context: usize, Some(128), (1..).into(), "longest sequence, in tokens";
    width: usize, Some(128), (1..).into(), "numbers per token between the layers";
    heads: usize, Some(4), (1..).into(), "heads of attention; divides the width";
    layers: usize, Some(4), (1..).into(), "blocks of attention and feed-forward layer";
}

impl Model for Gpt {
    fn layers(&self, outputs: usize) -> Box<dyn Layer> {
        let Gpt { context, width, heads, layers } = *self;
        let net = gpt(GptOptions { vocabulary: outputs, context, width, heads, layers });
        // Classes stand behind the batch, where the cross-entropy looks for them.
        Box::new(move |scope: &Scope, x: &Tensor| net.forward(scope, x).permute(&[0, 2, 1]))
    }

    fn usual_input(&self) -> Vec<usize> {
        vec![self.context]
    }

    fn takes_tokens(&self) -> bool {
        true
    }

    fn recipe(&self) -> Recipe {
        Recipe { batch: 32, ..Recipe::by("adamw", 1e-3) }
    }

    fn config(&self) -> Result<Table> {
        self.write_named()
    }
}
