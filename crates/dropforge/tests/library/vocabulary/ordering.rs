//! Sorting.

use super::{Case, check};

const CASES: &[Case] = &[
    ("sort_ascending", |x| x[0].sort(-1, false).0),
    ("sort_ascending_middle", |x| x[0].sort(1, false).0),
    ("argsort_ascending", |x| x[0].argsort(0, false)),
    ("argsort_ascending_ties", |x| x[0].argsort(1, false)),
    ("sort_ascending_ties", |x| x[0].sort(1, false).0),
    ("sort_ascending_integers", |x| x[0].sort(0, false).0),
    ("sort_ascending_bool", |x| x[0].sort(0, false).0),
    ("topk_ascending", |x| x[0].topk(3, 1, false).0),
    ("topk_ascending_indices", |x| x[0].topk(2, 1, false).1),
    ("topk_ascending_none", |x| x[0].topk(0, 1, false).0),
    ("sort_descending", |x| x[0].sort(-1, true).0),
    ("sort_descending_middle", |x| x[0].sort(1, true).0),
    ("argsort_descending", |x| x[0].argsort(0, true)),
    ("argsort_descending_ties", |x| x[0].argsort(1, true)),
    ("sort_descending_ties", |x| x[0].sort(1, true).0),
    ("sort_descending_integers", |x| x[0].sort(0, true).0),
    ("sort_descending_bool", |x| x[0].sort(0, true).0),
    ("topk_descending", |x| x[0].topk(3, 1, true).0),
    ("topk_descending_indices", |x| x[0].topk(2, 1, true).1),
    ("topk_descending_none", |x| x[0].topk(0, 1, true).0),
    ("sort_one", |x| x[0].sort(1, false).0),
    ("sort_empty", |x| x[0].sort(1, false).0),
    ("kthvalue", |x| x[0].kthvalue(2, 1).0),
    ("kthvalue_index", |x| x[0].kthvalue(2, 1).1),
    ("median", |x| x[0].median(1)),
    ("median_even", |x| x[0].median(0)),
    ("median_nan", |x| x[0].median(1)),
    ("median_integers", |x| x[0].median(1)),
    ("quantile_0", |x| x[0].quantile(0.0, 1)),
    ("quantile_3", |x| x[0].quantile(0.3, 1)),
    ("quantile_5", |x| x[0].quantile(0.5, 1)),
    ("quantile_10", |x| x[0].quantile(1.0, 1)),
    ("quantile_nan", |x| x[0].quantile(0.25, 1)),
    ("searchsorted", |x| x[0].searchsorted(&x[1], false)),
    ("searchsorted_right", |x| x[0].searchsorted(&x[1], true)),
];

#[test]
fn ordering_agree_with_pytorch() {
    check("tensors/ordering", CASES);
}
