//! Attention.

use super::Tensor;
use super::node::{apply_all, fail};
use dropforge_ir::{Op, Real};

impl Tensor {
    /// Scaled dot-product attention, softmax(q·kᵀ / √d)·v, of queries `[batch, heads, time, d]` (`self`) over keys and
    /// values `[batch, heads, keys, d]`. With `causal`, position t sees keys up to t (+ keys − time) alone.
    #[doc(alias = "scaled_dot_product_attention")]
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

    /// Rotary positions of `[.., time, width]`: numbers i and i + width/2 of position t (+ `offset`) are turned by the
    /// angle t·base^(−2i/width), as in LLaMA. Su et al., arXiv:2104.09864.
    #[track_caller]
    pub fn rotary(&self, base: f32, offset: isize) -> Tensor {
        let fits = self.rank() >= 2 && self.dtype().is_float();
        let &[.., time, width] = self.shape().iter().as_slice() else {
            return fail("rotary", format!("needs f32[.., time, width], got {}", self.ty()), &[self]);
        };
        if !fits || width % 2 != 0 {
            let message = format!("needs f32[.., time, width] of even width, got {}", self.ty());
            return fail("rotary", message, &[self]);
        }
        let half = width / 2;
        let angle = |t: usize, i: usize| {
            (t as f64 + offset as f64) * f64::from(base).powf(-2.0 * i as f64 / width as f64)
        };
        let all = || (0..time).flat_map(|t| (0..half).map(move |i| (t, i)));
        let table = |function: fn(f64) -> f64| {
            let numbers = all().map(|(t, i)| function(angle(t, i)) as f32).collect();
            Tensor::from_vec(numbers, [time, half])
        };
        let (sine, cosine) = (table(f64::sin), table(f64::cos));
        let wide = self.widened();
        let (low, high) = (wide.slice(-1, ..half), wide.slice(-1, half..));
        let turned = [&low * &cosine - &high * &sine, high * cosine + low * sine];
        Tensor::concat(&[&turned[0], &turned[1]], -1).cast(self.dtype())
    }
}
