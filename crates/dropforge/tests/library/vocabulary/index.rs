//! Parts by ranges.

#![allow(clippy::reversed_empty_ranges, reason = "what such ranges give is a case")]

use super::{Case, check};
use dropforge::{Ellipsis, NewAxis, stepped};

const CASES: &[Case] = &[
    ("at", |x| x[0].index(1)),
    ("at_last", |x| x[0].index((-1, -2))),
    ("ranges", |x| x[0].index((1..3, ..-1, 2..))),
    ("beyond", |x| x[0].index((2..99, -99..2))),
    ("crossed", |x| x[0].index(3..1)),
    ("steps", |x| x[0].index((stepped(.., 2), stepped(1.., 3)))),
    ("back", |x| x[0].index((.., stepped(.., -2)))),
    ("back_range", |x| x[0].index((Ellipsis, stepped(4..1, -1)))),
    ("new_axis", |x| x[0].index((.., NewAxis, 2, Ellipsis, NewAxis))),
    ("ellipsis", |x| x[0].index((Ellipsis, -1))),
    ("inclusive", |x| x[0].index((1..=2, ..=-2))),
];

#[test]
fn index_agree_with_pytorch() {
    check("tensors/index", CASES);
}
