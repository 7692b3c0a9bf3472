//! Elements by index.

use super::{Case, check};

const CASES: &[Case] = &[
    ("gather", |x| x[0].gather(1, &x[1])),
    ("gather_first", |x| x[0].gather(0, &x[1])),
    ("gather_integers", |x| x[0].gather(1, &x[1])),
    ("gather_empty", |x| x[0].gather(1, &x[1])),
    ("scatter_add", |x| x[0].scatter_add(1, &x[1], &x[2])),
    ("scatter_add_first", |x| x[0].scatter_add(0, &x[1], &x[2])),
    ("scatter", |x| x[0].scatter(1, &x[1], &x[2])),
    ("scatter_mean", |x| x[0].scatter(1, &x[1], &x[2])),
    ("index_add", |x| x[0].index_add(1, &x[1], &x[2])),
    ("take", |x| x[0].take(&x[1])),
    ("bincount", |x| x[0].bincount(6)),
    ("histc", |x| x[0].histc(7, -1.5, 2.0)),
    ("histc_ends", |x| x[0].histc(2, 0.0, 1.0)),
];

#[test]
fn gather_agree_with_pytorch() {
    check("tensors/gather", CASES);
}
