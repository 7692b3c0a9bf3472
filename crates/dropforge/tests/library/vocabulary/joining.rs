//! Splitting, repeating and padding.

use super::{Case, check};
use dropforge::PadMode;

const CASES: &[Case] = &[
    ("split_last_part", |x| x[0].split(3, 1).swap_remove(2)),
    ("split_sizes", |x| x[0].split_sizes(&[1, 2, 4], 1).swap_remove(1)),
    ("chunk", |x| x[0].chunk(3, 1).swap_remove(2)),
    ("unbind", |x| x[0].unbind(1).swap_remove(5)),
    ("repeat", |x| x[0].repeat([2, 1, 3])),
    ("repeat_more", |x| x[0].repeat((2, 2))),
    ("repeat_none", |x| x[0].repeat(0)),
    ("repeat_interleave", |x| x[0].repeat_interleave(2, 1)),
    ("roll", |x| x[0].roll(&[1, -2], [0, 1])),
    ("roll_far", |x| x[0].roll(&[23], 1)),
    ("roll_empty", |x| x[0].roll(&[1], 0)),
    ("rot90_1", |x| x[0].rot90(1, 0, 1)),
    ("rot90_2", |x| x[0].rot90(2, 0, 1)),
    ("rot90_3", |x| x[0].rot90(3, 0, 1)),
    ("rot90_3_back", |x| x[0].rot90(-1, 0, 1)),
    ("movedim", |x| x[0].movedim(0, -1)),
    ("movedim_front", |x| x[0].movedim(2, 0)),
    ("unflatten", |x| x[0].unflatten(1, [3, -1])),
    ("unfold", |x| x[0].unfold(1, 3, 2)),
    ("unfold_last", |x| x[0].unfold(2, 2, 1)),
    ("unfold_whole", |x| x[0].unfold(0, 2, 5)),
    ("pad_reflect", |x| x[0].pad_with(&[(0, 0), (1, 3), (4, 2)], PadMode::Reflect)),
    ("pad_replicate", |x| x[0].pad_with(&[(0, 0), (0, 2), (3, 7)], PadMode::Replicate)),
    ("pad_circular", |x| x[0].pad_with(&[(0, 0), (1, 4), (5, 2)], PadMode::Circular)),
    ("pad_constant", |x| x[0].pad_with(&[(0, 0), (0, 3), (1, 2)], PadMode::Constant(1.5))),
    ("pad_cropping", |x| x[0].pad_with(&[(0, 0), (1, -2), (-1, 2)], PadMode::Constant(1.5))),
];

#[test]
fn joining_agree_with_pytorch() {
    check("tensors/joining", CASES);
}
