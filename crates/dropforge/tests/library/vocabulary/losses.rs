//! Losses.

use super::{Case, check};
use dropforge::loss::*;

/// By file of tests/data/losses.
const CASES: &[(&str, &[Case])] = &[
    ("bce", &[("bce", |x| bce().loss(&x[0], &x[1])), ("bce_ends", |x| bce().loss(&x[0], &x[1]))]),
    (
        "bce_with_logits",
        &[
            ("bce_with_logits", |x| bce_with_logits().loss(&x[0], &x[1])),
            ("bce_with_logits_weighted", |x| {
                bce_with_logits().pos_weight(Some(vec![0.5, 1.0, 3.0])).loss(&x[0], &x[1])
            }),
            ("bce_with_logits_far", |x| bce_with_logits().loss(&x[0], &x[1])),
        ],
    ),
    (
        "categorical_cross_entropy",
        &[
            ("categorical_cross_entropy", |x| categorical_cross_entropy().loss(&x[0], &x[1])),
            ("categorical_cross_entropy_options", |x| {
                categorical_cross_entropy()
                    .weight(Some(vec![0.5, 1.0, 2.0, 0.25, 1.5]))
                    .label_smoothing(0.1)
                    .loss(&x[0], &x[1])
            }),
            ("categorical_cross_entropy_positions", |x| categorical_cross_entropy().loss(&x[0], &x[1])),
            ("categorical_cross_entropy_far", |x| categorical_cross_entropy().loss(&x[0], &x[1])),
        ],
    ),
    (
        "cosine_embedding",
        &[("cosine_embedding", |x| cosine_embedding().margin(-0.5).of(&x[0], &x[1], &x[2]))],
    ),
    (
        "ctc",
        &[
            ("ctc", |x| ctc().loss(&x[0], &x[1])),
            ("ctc_none", |x| ctc().reduction(Reduction::None).loss(&x[0], &x[1])),
            ("ctc_blank", |x| ctc().blank(4).reduction(Reduction::Sum).loss(&x[0], &x[1])),
            ("ctc_one", |x| ctc().loss(&x[0], &x[1])),
        ],
    ),
    ("dice", &[("dice", |x| dice().loss(&x[0], &x[1]))]),
    (
        "focal",
        &[
            ("focal", |x| focal().loss(&x[0], &x[1])),
            ("focal_plain", |x| focal().gamma(1.5).alpha(-1.0).loss(&x[0], &x[1])),
        ],
    ),
    (
        "gaussian_nll",
        &[
            ("gaussian_nll", |x| gaussian_nll().loss(&x[0], &x[1])),
            ("gaussian_nll_full", |x| gaussian_nll().full(true).loss(&x[0], &x[1])),
            ("gaussian_nll_small", |x| gaussian_nll().loss(&x[0], &x[1])),
        ],
    ),
    ("hinge", &[("hinge", |x| hinge().loss(&x[0], &x[1]))]),
    ("hinge_embedding", &[("hinge_embedding", |x| hinge_embedding().margin(0.7).loss(&x[0], &x[1]))]),
    (
        "huber",
        &[
            ("huber", |x| huber().loss(&x[0], &x[1])),
            ("huber_kinks", |x| huber().loss(&x[0], &x[1])),
            ("huber_delta", |x| huber().delta(0.5).loss(&x[0], &x[1])),
            ("huber_delta_kinks", |x| huber().delta(0.5).loss(&x[0], &x[1])),
        ],
    ),
    (
        "info_nce",
        &[
            ("info_nce", |x| info_nce().loss(&x[0], &x[1])),
            ("info_nce_symmetric", |x| info_nce().temperature(0.5).symmetric(true).loss(&x[0], &x[1])),
        ],
    ),
    (
        "kl_div",
        &[
            ("kl_div", |x| kl_div().loss(&x[0], &x[1])),
            ("kl_div_zero", |x| kl_div().loss(&x[0], &x[1])),
            ("kl_div_log", |x| kl_div().log_target(true).loss(&x[0], &x[1])),
        ],
    ),
    (
        "mae",
        &[
            ("mae", |x| mae().loss(&x[0], &x[1])),
            ("mae_kinks", |x| mae().loss(&x[0], &x[1])),
            ("mae_sum", |x| mae().reduction(Reduction::Sum).loss(&x[0], &x[1])),
            ("mae_none", |x| mae().reduction(Reduction::None).loss(&x[0], &x[1])),
        ],
    ),
    ("margin_ranking", &[("margin_ranking", |x| margin_ranking().margin(0.3).of(&x[0], &x[1], &x[2]))]),
    (
        "nll",
        &[
            ("nll", |x| nll().loss(&x[0], &x[1])),
            ("nll_weighted", |x| nll().weight(Some(vec![0.5, 1.0, 2.0, 0.25, 1.5])).loss(&x[0], &x[1])),
            ("nll_ignored", |x| {
                nll().weight(Some(vec![0.5, 1.0, 2.0, 0.25, 1.5])).ignore_index(2).loss(&x[0], &x[1])
            }),
            ("nll_none", |x| {
                nll()
                    .weight(Some(vec![0.5, 1.0, 2.0, 0.25, 1.5]))
                    .reduction(Reduction::None)
                    .loss(&x[0], &x[1])
            }),
            ("nll_positions", |x| nll().loss(&x[0], &x[1])),
        ],
    ),
    (
        "poisson_nll",
        &[
            ("poisson_nll", |x| poisson_nll().loss(&x[0], &x[1])),
            ("poisson_nll_full", |x| poisson_nll().full(true).loss(&x[0], &x[1])),
            ("poisson_nll_rates", |x| poisson_nll().log_input(false).loss(&x[0], &x[1])),
        ],
    ),
    (
        "smooth_l1",
        &[
            ("smooth_l1", |x| smooth_l1().loss(&x[0], &x[1])),
            ("smooth_l1_kinks", |x| smooth_l1().loss(&x[0], &x[1])),
            ("smooth_l1_beta", |x| smooth_l1().beta(0.5).loss(&x[0], &x[1])),
            ("smooth_l1_beta_kinks", |x| smooth_l1().beta(0.5).loss(&x[0], &x[1])),
            ("smooth_l1_zero", |x| smooth_l1().beta(0.0).loss(&x[0], &x[1])),
            ("smooth_l1_zero_kinks", |x| smooth_l1().beta(0.0).loss(&x[0], &x[1])),
        ],
    ),
    ("soft_margin", &[("soft_margin", |x| soft_margin().loss(&x[0], &x[1]))]),
    (
        "triplet",
        &[
            ("triplet", |x| triplet().of(&x[0], &x[1], &x[2])),
            ("triplet_options", |x| triplet().margin(2.5).p(3.0).swap(true).of(&x[0], &x[1], &x[2])),
        ],
    ),
];

#[test]
fn losses_agree_with_pytorch() {
    for (name, cases) in CASES {
        check(&format!("losses/{name}"), cases);
    }
}
