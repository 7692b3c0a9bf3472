//! Attention.

use super::Tensor;
use super::node::{apply_all, fail};
use dropforge_ir::{Op, Real};

impl Tensor {
    /// Scaled dot-product attention, softmax(q·kᵀ / √d)·v, of queries `[batch, heads, time, d]` (`self`) over keys and values
    /// `[batch, heads, keys, d]`. With `causal`, position t sees keys up to t (+ keys − time) alone.
    #[track_caller]
    pub fn attention(&self, keys: &Tensor, values: &Tensor, causal: bool) -> Tensor {
        let Some(&width) = self.shape().last().filter(|&&width| width > 0) else {
            return fail(
                "attention",
                format!("needs f32[batch, heads, time, d], got {}", self.ty()),
                &[self],
            );
        };
        let op = Op::Attention { causal: usize::from(causal), scale: Real(1.0 / (width as f64).sqrt()) };
        let [output, _logsumexp] = apply_all("attention", op, &[self, keys, values]);
        output
    }
}
