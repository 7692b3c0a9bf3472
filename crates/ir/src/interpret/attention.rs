//! Scaled dot-product attention and its gradient.

use super::Numbers;
use super::reduction::log_sum_exp;

/// Sizes of one problem: each of `heads` (batch times heads) has `t` queries and `s` keys of `d` numbers.
struct Sizes {
    heads: usize,
    t: usize,
    s: usize,
    d: usize,
    causal: bool,
}

impl Sizes {
    fn new(q: &Numbers, k: &Numbers, causal: bool) -> Sizes {
        let (q, k) = (q.shape(), k.shape());
        Sizes { heads: q[0] * q[1], t: q[2], s: k[2], d: q[3], causal }
    }

    /// How many keys query `i` sees: all, or the first i + 1 + s − t.
    fn visible(&self, i: usize) -> usize {
        if self.causal { (i + 1 + self.s).saturating_sub(self.t) } else { self.s }
    }

    fn query(&self, head: usize, i: usize) -> std::ops::Range<usize> {
        let start = (head * self.t + i) * self.d;
        start..start + self.d
    }

    fn key(&self, head: usize, j: usize) -> std::ops::Range<usize> {
        let start = (head * self.s + j) * self.d;
        start..start + self.d
    }
}

fn product(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add_scaled(sum: &mut [f64], factor: f64, x: &[f64]) {
    sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += factor * x);
}

pub fn attention(q: &Numbers, k: &Numbers, v: &Numbers, causal: bool, scale: f64) -> Vec<Vec<f64>> {
    let sizes = Sizes::new(q, k, causal);
    let mut output = vec![0.0; q.elements.len()];
    let mut statistics = Vec::new();
    for head in 0..sizes.heads {
        for i in 0..sizes.t {
            let query = &q.elements[sizes.query(head, i)];
            let scores: Vec<f64> = (0..sizes.visible(i))
                .map(|j| scale * product(query, &k.elements[sizes.key(head, j)]))
                .collect();
            let total = log_sum_exp(&scores);
            for (j, score) in scores.iter().enumerate() {
                let weight = (score - total).exp();
                add_scaled(&mut output[sizes.query(head, i)], weight, &v.elements[sizes.key(head, j)]);
            }
            statistics.push(total);
        }
    }
    vec![output, statistics]
}

pub fn attention_gradient(args: &[&Numbers], causal: bool, scale: f64) -> Vec<Vec<f64>> {
    // The weights are made from the scores again: their logsumexp has been rounded at its own magnitude.
    let [q, k, v, output, _, gradient] = [0, 1, 2, 3, 4, 5].map(|i| args[i]);
    let sizes = Sizes::new(q, k, causal);
    let mut dq = vec![0.0; q.elements.len()];
    let mut dk = vec![0.0; k.elements.len()];
    let mut dv = vec![0.0; v.elements.len()];
    for head in 0..sizes.heads {
        for i in 0..sizes.t {
            let at = sizes.query(head, i);
            let (query, g) = (&q.elements[at.clone()], &gradient.elements[at.clone()]);
            let shared = product(g, &output.elements[at.clone()]);
            let scores: Vec<f64> = (0..sizes.visible(i))
                .map(|j| scale * product(query, &k.elements[sizes.key(head, j)]))
                .collect();
            let total = log_sum_exp(&scores);
            for (j, score) in scores.into_iter().enumerate() {
                let other = sizes.key(head, j);
                let key = &k.elements[other.clone()];
                let weight = (score - total).exp();
                let score_gradient = weight * (product(g, &v.elements[other.clone()]) - shared) * scale;
                add_scaled(&mut dv[other.clone()], weight, g);
                add_scaled(&mut dq[at.clone()], score_gradient, key);
                add_scaled(&mut dk[other], score_gradient, query);
            }
        }
    }
    vec![dq, dk, dv]
}
