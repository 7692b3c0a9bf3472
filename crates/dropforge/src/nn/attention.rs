//! Attention with several heads.

use super::declare::layers;
use super::layer::Layer;
use super::positions::{Positions, alibi};
use super::scope::Scope;
use crate::init::Init;
use crate::settings::Range;
use crate::tensor::Tensor;
use dropforge_ir::DType;

layers! {
    /// Attention with this many heads of `[batch, time, width]` to itself: PyTorch's
    /// `nn.MultiheadAttention(width, heads, batch_first=True)`; Vaswani et al., arXiv:1706.03762.
    /// [`MultiHeadAttention::of`] attends to something else, and takes a mask.
    ///
    /// Parameters as in PyTorch: `in_proj_weight [3·width, width]`, Xavier uniform, `in_proj_bias`, zeros, and
    /// `out_proj`. If keys or values have another width, or fewer heads, there are `q_proj_weight`, `k_proj_weight` and
    /// `v_proj_weight` instead of the first. With fewer heads for keys and values each of them serves several heads
    /// (Ainslie et al., arXiv:2305.13245).
    MultiHeadAttention, multi_head_attention(heads: usize) = "multi_head_attention", "attention with several heads"
        like "nn.MultiheadAttention(batch_first=True)"
        but "a position that sees nothing gets zeros, not NaN; fewer heads for keys, rotary and ALiBi positions; no \
         add_bias_kv, no weights in the result" [
        heads as "heads": usize = heads, (1..).into(), "heads of queries; divides the width";
    ] {
        key_heads: Option<usize> = None, (1..).into(), "heads of keys and values, as many as of queries by default";
        causal: bool = false, Range::ANY, "whether a position sees itself and earlier ones only";
        dropout: f32 = 0.0, (0.0..1.0).into(), "share of the attention that is dropped in training";
        bias: bool = true, Range::ANY, "whether there are biases";
        positions: Positions = Positions::None, Range::ANY, "what is known of positions";
        base: f32 = 10000.0, Range::above(0.0), "base of rotary positions";
    }
}

/// Low enough that nothing is left of it beside any score, and finite: a row that sees nothing gives zeros, not NaN.
const UNSEEN: f32 = -1e30;

impl MultiHeadAttention {
    /// Attention of `query [batch, time, width]` to `key [batch, keys, ..]` and `value [batch, keys, ..]`.
    ///
    /// A mask is bool, and true where something is not seen, or float, and added to the scores; `[time, keys]`,
    /// `[batch, time, keys]` or `[batch, heads, time, keys]`, where extents of 1 stand for all. A padding mask of keys
    /// is `[batch, 1, keys]`. A position that sees nothing gets zeros.
    #[track_caller]
    pub fn of(
        &self,
        scope: &Scope,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        mask: Option<&Tensor>,
    ) -> Tensor {
        let name = "multi_head_attention";
        for x in [query, key, value] {
            if x.rank() != 3 || !x.dtype().is_float() {
                return scope.fail(name, format!("needs f32[batch, time, width], got {}", x.ty()), x);
            }
        }
        let (q_shape, k_shape, v_shape) = (query.shape(), key.shape(), value.shape());
        if q_shape[0] != k_shape[0] || k_shape[..2] != v_shape[..2] {
            let message =
                format!("queries {q_shape}, keys {k_shape} and values {v_shape} do not belong together");
            return scope.fail(name, message, query);
        }
        let (batch, time, width, keys) = (q_shape[0], q_shape[1], q_shape[2], k_shape[1]);
        let (heads, key_heads) = (self.heads, self.key_heads.unwrap_or(self.heads));
        if heads == 0
            || key_heads == 0
            || width == 0
            || !width.is_multiple_of(heads)
            || !heads.is_multiple_of(key_heads)
        {
            let message =
                format!("{heads} heads do not divide the width of {width}, or {key_heads} not the heads");
            return scope.fail(name, message, query);
        }
        let depth = width / heads;
        let narrow = depth * key_heads;
        let init = Init::xavier_uniform;
        let weights = if narrow == width && k_shape[2] == width && v_shape[2] == width {
            let all = scope.parameter("in_proj_weight", [3 * width, width], init());
            [0, 1, 2].map(|part| all.narrow(0, part * width, width))
        } else {
            [
                scope.parameter("q_proj_weight", [width, width], init()),
                scope.parameter("k_proj_weight", [narrow, k_shape[2]], init()),
                scope.parameter("v_proj_weight", [narrow, v_shape[2]], init()),
            ]
        };
        let bias =
            self.bias.then(|| scope.parameter("in_proj_bias", [width + 2 * narrow], Init::constant(0.0)));
        let project = |x: &Tensor, part: usize, heads: usize| {
            let mut y = x.linear(&weights[part]);
            if let Some(bias) = &bias {
                let start = [0, width, width + narrow][part];
                y = y + bias.narrow(0, start, heads * depth);
            }
            y.reshape(vec![batch, x.shape()[1], heads, depth]).transpose(1, 2)
        };
        let mut q = project(query, 0, heads);
        let mut k = project(key, 1, key_heads);
        let mut v = project(value, 2, key_heads);
        if self.positions == Positions::Rotary {
            q = q.rotary(self.base, keys as isize - time as isize);
            k = k.rotary(self.base, 0);
        }
        if key_heads != heads {
            k = k.repeat_interleave(heads / key_heads, 1);
            v = v.repeat_interleave(heads / key_heads, 1);
        }
        let dropout = if scope.is_training() { self.dropout } else { 0.0 };
        let plain = mask.is_none() && dropout == 0.0 && self.positions != Positions::Alibi;
        let y = if plain {
            q.attention(&k, &v, self.causal)
        } else {
            self.scored(scope, &q, &k, &v, mask, dropout)
        };
        let y = y.transpose(1, 2).reshape(vec![batch, time, width]);
        let output = scope.enter("out_proj");
        let y = y.linear(&output.parameter("weight", [width, width], Init::weight()));
        if self.bias { y + output.parameter("bias", [width], Init::constant(0.0)) } else { y }
    }

    /// Attention of heads with everything that changes the scores.
    #[track_caller]
    fn scored(
        &self,
        scope: &Scope,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        mask: Option<&Tensor>,
        p: f32,
    ) -> Tensor {
        let (time, keys, depth) = (q.shape()[2], k.shape()[2], q.shape()[3]);
        let mut scores = q.matmul(&k.transpose(2, 3)).widened() * (1.0 / (depth as f32).sqrt());
        if self.positions == Positions::Alibi {
            scores = scores + alibi(self.heads, time, keys);
        }
        let mut unseen = None;
        if self.causal {
            let ahead = Tensor::arange(keys as i32 - time as i32, keys as i32).reshape([-1, 1]);
            unseen = Some(Tensor::arange(0, keys as i32).reshape([1, -1]).gt(&ahead));
        }
        if let Some(mask) = mask {
            let mask = if mask.rank() == 3 { mask.unsqueeze(1) } else { mask.clone() };
            let hidden = if mask.dtype() == DType::Bool {
                mask
            } else {
                scores = scores + mask.cast(DType::F32).clamp_min(UNSEEN);
                mask.cast(DType::F32).le(UNSEEN)
            };
            unseen = Some(match unseen {
                Some(ahead) => ahead.logical_or(&hidden),
                None => hidden,
            });
        }
        let mut shares = match &unseen {
            Some(unseen) => scores.masked_fill(unseen, UNSEEN).softmax(-1).masked_fill(unseen, 0.0),
            None => scores.softmax(-1),
        };
        if p > 0.0 {
            shares = dropped(scope, &shares, p);
        }
        shares.cast(v.dtype()).matmul(v)
    }

    #[track_caller]
    fn trace(&self, scope: &Scope, x: &Tensor) -> Tensor {
        self.of(scope, x, x, x, None)
    }
}

/// Elements dropped at random in training, without a layer of its own.
pub(super) fn dropped(scope: &Scope, x: &Tensor, p: f32) -> Tensor {
    if p == 0.0 || !scope.is_training() {
        return x.clone();
    }
    super::dropout::dropout(p).forward(scope, x)
}
