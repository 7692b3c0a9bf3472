//! What printed tensors look like.

use dropforge::prelude::*;

#[test]
fn numbers_stand_in_columns() {
    let x = Tensor::from([[1.0, 2.5], [3.0, -4.0]]);
    assert_eq!(x.to_string(), "[[ 1.0,  2.5],\n [ 3.0, -4.0]] f32[2, 2]");
    assert_eq!(format!("{x:.2}"), "[[ 1.00,  2.50],\n [ 3.00, -4.00]] f32[2, 2]");
    assert_eq!(format!("{:.2}", Tensor::from(1.0) / 3.0), "0.33 f32[]");
    assert_eq!((Tensor::from([1.0, 2.0]) / 3.0).to_string(), "[0.3333, 0.6667] f32[2]");
    assert_eq!(Tensor::from([true, false]).to_string(), "[ true, false] bool[2]");
    assert_eq!(Tensor::from([7, -10]).to_string(), "[  7, -10] i32[2]");
    assert_eq!(Tensor::from([f32::NAN, 1.5, f32::NEG_INFINITY]).to_string(), "[ nan,  1.5, -inf] f32[3]");
    assert_eq!(Tensor::zeros([0]).to_string(), "[] f32[0]");
    assert_eq!(Tensor::zeros([2, 0]).to_string(), "[[],\n []] f32[2, 0]");
    assert_eq!(Tensor::from([1.5, 2.0]).cast(DType::F16).to_string(), "[1.5, 2.0] f16[2]");
    assert_eq!(format!("{x:?}"), "Tensor(f32[2, 2])");
}

#[test]
fn wide_ranges_have_exponents() {
    assert_eq!(Tensor::from([1e-7, 0.0, -2.5]).to_string(), "[1.0e-7,  0.0e0, -2.5e0] f32[3]");
    assert_eq!(Tensor::from([1e10]).to_string(), "[1e10] f32[1]");
    assert_eq!(format!("{:.1}", Tensor::from([1e10])), "[10000000000.0] f32[1]");
}

#[test]
fn axes_are_set_apart_and_long_ones_cut() {
    let cube = Tensor::arange(0, 8).reshape([2, 2, 2]);
    assert_eq!(cube.to_string(), "[[[0, 1],\n  [2, 3]],\n\n [[4, 5],\n  [6, 7]]] i32[2, 2, 2]");
    let expected = "[[   0,    1,    2, …,   97,   98,   99],\n [ 100,  101,  102, …,  197,  198,  199],\n [ 200,  201,  202, \
        …,  297,  298,  299],\n …,\n [1700, 1701, 1702, …, 1797, 1798, 1799],\n [1800, 1801, 1802, …, 1897, 1898, 1899],\n [1900, \
        1901, 1902, …, 1997, 1998, 1999]] i32[20, 100]";
    assert_eq!(Tensor::arange(0, 2000).reshape([20, 100]).to_string(), expected);
    let row = Tensor::arange(0, 40).to_string();
    let lines: Vec<&str> = row.lines().collect();
    assert_eq!(lines.len(), 3, "{row}");
    assert!(lines[0].ends_with(" 18,") && lines[1].starts_with(" 19, 20"), "{row}");
    assert!(lines.iter().all(|line| line.len() <= 80), "{row}");
}

#[test]
fn an_error_is_printed_instead() {
    let text = Tensor::zeros([2]).reshape([3]).to_string();
    assert!(text.starts_with("(reshape: [2] has 2 elements, [3] has 3, at "), "{text}");
}
