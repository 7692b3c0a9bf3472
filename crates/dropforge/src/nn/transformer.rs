//! Blocks of transformers.

use super::activation::relu;
use super::attention::{MultiHeadAttention, dropped, multi_head_attention};
use super::declare::layers;
use super::dense::dense;
use super::layer::Layer;
use super::norm::layer_norm;
use super::positions::Positions;
use super::scope::Scope;
use crate::settings::Range;
use crate::tensor::Tensor;
use std::sync::Arc;

layers! {
    /// A block of self-attention and feed-forward layer for `[batch, time, width]`: PyTorch's
    /// `nn.TransformerEncoderLayer(width, heads, batch_first=True)`; Vaswani et al., arXiv:1706.03762. With
    /// [`causal`](TransformerEncoder::causal) it is a block of a language model.
    ///
    /// Parameters: `self_attn`, `linear1`, `linear2`, `norm1` and `norm2`.
    TransformerEncoder, transformer_encoder(heads: usize) = "transformer_encoder", "self-attention and a feed-forward layer"
        like "nn.TransformerEncoderLayer(batch_first=True)" but "may be causal" [
        heads as "heads": usize = heads, (1..).into(), "heads of attention; divides the width";
    ] {
        hidden: usize = 2048, (1..).into(), "units of the feed-forward layer";
        dropout: f32 = 0.1, (0.0..1.0).into(), "probability of each element to be dropped";
        activation: Arc<dyn Layer> = Arc::new(relu()), Range::ANY, "what follows the first dense layer";
        norm_first: bool = false, Range::ANY, "whether norms stand before the parts, not behind";
        eps: f32 = 1e-5, (0.0..).into(), "added to variances";
        causal: bool = false, Range::ANY, "whether a position sees itself and earlier ones only";
        key_heads: Option<usize> = None, (1..).into(), "heads of keys and values, as many as of queries by default";
        positions: Positions = Positions::None, Range::ANY, "what attention knows of positions";
    }
    /// A block of causal self-attention, attention to a memory, and feed-forward layer: PyTorch's
    /// `nn.TransformerDecoderLayer(width, heads, batch_first=True)`. [`TransformerDecoder::of`] takes the memory; as a
    /// layer it is its own memory.
    ///
    /// Parameters: `self_attn`, `multihead_attn`, `linear1`, `linear2`, `norm1`, `norm2` and `norm3`.
    TransformerDecoder, transformer_decoder(heads: usize) = "transformer_decoder", "attention to itself and to a memory"
        like "nn.TransformerDecoderLayer(batch_first=True)"
        but "causal unless told otherwise; as a layer of a file it is its own memory" [
        heads as "heads": usize = heads, (1..).into(), "heads of attention; divides the width";
    ] {
        hidden: usize = 2048, (1..).into(), "units of the feed-forward layer";
        dropout: f32 = 0.1, (0.0..1.0).into(), "probability of each element to be dropped";
        activation: Arc<dyn Layer> = Arc::new(relu()), Range::ANY, "what follows the first dense layer";
        norm_first: bool = false, Range::ANY, "whether norms stand before the parts, not behind";
        eps: f32 = 1e-5, (0.0..).into(), "added to variances";
        causal: bool = true, Range::ANY, "whether a position sees itself and earlier ones only";
    }
}

/// What the parts of a block share.
struct Block<'a> {
    scope: &'a Scope,
    dropout: f32,
    norm_first: bool,
    eps: f32,
}

impl Block<'_> {
    /// x and what a part makes of it, added, with a norm before the part or behind.
    fn part(&self, x: &Tensor, norm: &str, part: impl FnOnce(&Tensor) -> Tensor) -> Tensor {
        let normed = |x: &Tensor| self.scope.layer(norm, &layer_norm().eps(self.eps), x);
        let drop = |y: Tensor| dropped(self.scope, &y, self.dropout);
        if self.norm_first { x + drop(part(&normed(x))) } else { normed(&(x + drop(part(x)))) }
    }

    fn feed_forward(&self, x: &Tensor, hidden: usize, activation: &Arc<dyn Layer>) -> Tensor {
        let width = x.shape().last().copied().unwrap_or(0);
        let y = activation.forward(self.scope, &self.scope.layer("linear1", &dense(hidden), x));
        self.scope.layer("linear2", &dense(width), &dropped(self.scope, &y, self.dropout))
    }
}

impl TransformerEncoder {
    /// The block with a mask as in [`MultiHeadAttention::of`].
    #[track_caller]
    pub fn masked(&self, scope: &Scope, x: &Tensor, mask: Option<&Tensor>) -> Tensor {
        let attention = MultiHeadAttention::from(self);
        let block = Block { scope, dropout: self.dropout, norm_first: self.norm_first, eps: self.eps };
        let y = block.part(x, "norm1", |x| attention.of(&scope.enter("self_attn"), x, x, x, mask));
        block.part(&y, "norm2", |y| block.feed_forward(y, self.hidden, &self.activation))
    }

    #[track_caller]
    fn trace(&self, scope: &Scope, x: &Tensor) -> Tensor {
        self.masked(scope, x, None)
    }
}

impl From<&TransformerEncoder> for MultiHeadAttention {
    fn from(block: &TransformerEncoder) -> MultiHeadAttention {
        multi_head_attention(block.heads)
            .key_heads(block.key_heads)
            .causal(block.causal)
            .dropout(block.dropout)
            .positions(block.positions)
    }
}

impl TransformerDecoder {
    /// The block for `x [batch, time, width]` and a memory `[batch, keys, width]`, with masks as in
    /// [`MultiHeadAttention::of`] for x and for the memory.
    #[track_caller]
    pub fn of(&self, scope: &Scope, x: &Tensor, memory: &Tensor, masks: [Option<&Tensor>; 2]) -> Tensor {
        let attention = multi_head_attention(self.heads).dropout(self.dropout);
        let own = attention.clone().causal(self.causal);
        let block = Block { scope, dropout: self.dropout, norm_first: self.norm_first, eps: self.eps };
        let y = block.part(x, "norm1", |x| own.of(&scope.enter("self_attn"), x, x, x, masks[0]));
        let y = block
            .part(&y, "norm2", |y| attention.of(&scope.enter("multihead_attn"), y, memory, memory, masks[1]));
        block.part(&y, "norm3", |y| block.feed_forward(y, self.hidden, &self.activation))
    }

    #[track_caller]
    fn trace(&self, scope: &Scope, x: &Tensor) -> Tensor {
        self.of(scope, x, x, [None, None])
    }
}
