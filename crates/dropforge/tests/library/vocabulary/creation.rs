//! Tensors from nothing.

use super::{Case, check};
use dropforge::prelude::*;

const CASES: &[Case] = &[
    ("full_like", |x| Tensor::full_like(&x[0], 2.5)),
    ("arange_step", |_| Tensor::arange_step(0.0, 1.0, 0.25)),
    ("arange_step_back", |_| Tensor::arange_step(3.0, -1.0, -1.5)),
    ("logspace", |_| Tensor::logspace(-1.0, 3.0, 5, 2.0)),
    ("eye_of", |_| Tensor::eye_of(3, 4, 1)),
    ("tril_minus_7", |x| x[0].tril(-7)),
    ("triu_minus_7", |x| x[0].triu(-7)),
    ("diag_embed_minus_7", |x| x[0].diag_embed(-7)),
    ("tril_minus_2", |x| x[0].tril(-2)),
    ("triu_minus_2", |x| x[0].triu(-2)),
    ("diag_embed_minus_2", |x| x[0].diag_embed(-2)),
    ("diagonal_minus_2", |x| x[0].diagonal(-2, 0, 1)),
    ("diagonal_axes_minus_2", |x| x[0].diagonal(-2, 2, 0)),
    ("tril_0", |x| x[0].tril(0)),
    ("triu_0", |x| x[0].triu(0)),
    ("diag_embed_0", |x| x[0].diag_embed(0)),
    ("diagonal_0", |x| x[0].diagonal(0, 0, 1)),
    ("diagonal_axes_0", |x| x[0].diagonal(0, 2, 0)),
    ("tril_1", |x| x[0].tril(1)),
    ("triu_1", |x| x[0].triu(1)),
    ("diag_embed_1", |x| x[0].diag_embed(1)),
    ("diagonal_1", |x| x[0].diagonal(1, 0, 1)),
    ("diagonal_axes_1", |x| x[0].diagonal(1, 2, 0)),
    ("tril_9", |x| x[0].tril(9)),
    ("triu_9", |x| x[0].triu(9)),
    ("diag_embed_9", |x| x[0].diag_embed(9)),
    ("tril_infinite", |x| x[0].tril(0)),
    ("tril_integers", |x| x[0].tril(0)),
    ("tri", |_| Tensor::tri(3, 4, -1)),
    ("trace", |x| x[0].trace()),
    ("diag_vector", |x| x[0].diag(-1)),
    ("diag_matrix", |x| x[0].diag(1)),
    ("diag_of_nothing", |x| x[0].diag(0)),
    ("meshgrid_0", |x| Tensor::meshgrid(&[&x[0], &x[1]]).swap_remove(0)),
    ("meshgrid_1", |x| Tensor::meshgrid(&[&x[0], &x[1]]).swap_remove(1)),
];

#[test]
fn creation_agree_with_pytorch() {
    check("tensors/creation", CASES);
}
