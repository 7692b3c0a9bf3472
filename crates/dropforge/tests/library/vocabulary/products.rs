//! Products and sums of products.

use super::{Case, check};
use dropforge::prelude::*;

fn einsum(equation: &str, tensors: &[Tensor]) -> Tensor {
    Tensor::einsum(equation, &tensors.iter().collect::<Vec<_>>())
}

const CASES: &[Case] = &[
    ("einsum_product", |x| einsum("ij,jk->ik", x)),
    ("einsum_batched", |x| einsum("bij,bjk->bik", x)),
    ("einsum_implicit", |x| einsum("ji,ik", x)),
    ("einsum_transposed", |x| einsum("ij->ji", x)),
    ("einsum_sum", |x| einsum("ij->", x)),
    ("einsum_column", |x| einsum("ij->j", x)),
    ("einsum_diagonal", |x| einsum("ii->i", x)),
    ("einsum_trace", |x| einsum("ii", x)),
    ("einsum_outer", |x| einsum("i,j->ij", x)),
    ("einsum_elementwise", |x| einsum("ij,ij->ij", x)),
    ("einsum_ellipsis", |x| einsum("...ij,...jk->...ik", x)),
    ("einsum_ellipsis_implicit", |x| einsum("...i,...i", x)),
    ("einsum_ellipsis_sum", |x| einsum("...i->...", x)),
    ("einsum_three", |x| einsum("ij,jk,kl->il", x)),
    ("einsum_attention", |x| einsum("bhqd,bhkd->bhqk", x)),
    ("einsum_bilinear", |x| einsum("bi,oij,bj->bo", x)),
    ("einsum_lonely", |x| einsum("ij,k->i", x)),
    ("einsum_repeated", |x| einsum("iij,jk->ik", x)),
    ("einsum_single", |x| einsum("ij,ij->i", x)),
    ("einsum_scalar", |x| einsum(",ij->ij", x)),
    ("einsum_empty", |x| einsum("ij,jk->ik", x)),
    ("dot", |x| x[0].dot(&x[1])),
    ("outer", |x| x[0].outer(&x[1])),
    ("inner", |x| x[0].inner(&x[1])),
    ("tensordot", |x| x[0].tensordot(&x[1], &[1, 2], &[2, 0])),
    ("kron", |x| x[0].kron(&x[1])),
    ("kron_ranks", |x| x[0].kron(&x[1])),
    ("cross", |x| x[0].cross(&x[1], -1)),
];

#[test]
fn products_agree_with_pytorch() {
    check("tensors/products", CASES);
}
