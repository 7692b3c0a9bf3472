//! Attention as text, of extents that the conformance cases are too small for.

/// Attention and its gradient.
pub fn program(t: usize, s: usize, d: usize, causal: usize) -> String {
    format!(
        "program attention {{
  %q: f32[1, 2, {t}, {d}] = input \"q\"
  %k: f32[1, 2, {s}, {d}] = input \"k\"
  %v: f32[1, 2, {s}, {d}] = input \"v\"
  %g: f32[1, 2, {t}, {d}] = input \"g\"
  %o, %l = attention %q, %k, %v {{causal={causal}, scale=0.25}}
  %dq, %dk, %dv = attention_gradient %q, %k, %v, %o, %l, %g {{causal={causal}, scale=0.25}}
  output \"o\" = %o
  output \"l\" = %l
  output \"dq\" = %dq
  output \"dk\" = %dk
  output \"dv\" = %dv
}}"
    )
}
