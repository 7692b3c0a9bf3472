//! Tensors of f16 and bf16.

use crate::compare::assert_close;
use dropforge::prelude::*;
use dropforge::{BF16, Element, F16};

#[test]
fn halves_are_made_read_and_converted() {
    let x = Tensor::from_vec([1.0, 0.1, 65504.0].map(F16::from_f32).to_vec(), [3]);
    assert_eq!(x.dtype(), DType::F16);
    assert_eq!(x.to_vec::<F16>().unwrap()[1], F16::from_f32(0.1));
    assert_eq!((&x + &x).to_vec::<F16>().unwrap()[2], F16::from_f32(f32::INFINITY));
    let wide = x.cast(DType::BF16).cast(DType::F32).to_vec::<f32>().unwrap();
    assert_eq!(wide, [1.0, 0.1, 65504.0].map(|x| BF16::from_f32(F16::from_f32(x).to_f32()).to_f32()));
    let error = x.to_vec::<f32>().unwrap_err().to_string();
    assert!(error.contains("f16") && error.contains("f32"), "{error}");
    assert_eq!(x.slice(0, 2..).reshape([1; 0]).item::<F16>().unwrap(), F16::from_f32(65504.0));
}

/// What is composed of several operations rounds once: its parts would leave the range, or lose the digits.
#[test]
fn functions_of_halves_round_once() {
    fn check<T: Element + PartialEq + std::fmt::Debug>(round: fn(f32) -> T, widen: fn(T) -> f32) {
        let long = Tensor::full([70_000], 1.5).cast(T::DTYPE);
        assert_eq!(long.mean(..).item::<T>().unwrap(), round(1.5), "the sum is beyond f16");
        let values = [-300.0, -2.0, -0.3, 0.0, 0.7, 3.0, 300.0];
        let rounded: Vec<f32> = values.iter().map(|&x| widen(round(x))).collect();
        let (halves, wide) =
            (Tensor::from_slice(&values, [7]).cast(T::DTYPE), Tensor::from_slice(&rounded, [7]));
        let functions: [fn(&Tensor) -> Tensor; 6] = [
            Tensor::gelu,
            Tensor::gelu_tanh,
            Tensor::silu,
            Tensor::softplus,
            |x| x.softmax(0),
            |x| x.log_softmax(0),
        ];
        for function in functions {
            let expected: Vec<T> = function(&wide).to_vec::<f32>().unwrap().into_iter().map(round).collect();
            assert_eq!(function(&halves).to_vec::<T>().unwrap(), expected);
        }
    }
    check(F16::from_f32, F16::to_f32);
    check(BF16::from_f32, BF16::to_f32);
}

#[test]
fn gradients_pass_through_halves() {
    let w = Tensor::from([[0.5, -1.0], [2.0, 0.25]]).requires_grad();
    let x = Tensor::from([[1.0, 2.0], [3.0, 4.0], [-1.0, 0.5]]).cast(DType::F16);
    let scores = x.matmul(&w.cast(DType::F16));
    assert_eq!(scores.dtype(), DType::F16);
    let loss = cross_entropy().loss(&scores, &Tensor::from([0, 1, 1]));
    assert_eq!(loss.dtype(), DType::F32);
    loss.backward().unwrap();
    let got = w.grad().unwrap().to_vec::<f32>().unwrap();
    let wide = Tensor::from([[0.5, -1.0], [2.0, 0.25]]).requires_grad();
    let scores = x.cast(DType::F32).matmul(&wide);
    cross_entropy().loss(&scores, &Tensor::from([0, 1, 1])).backward().unwrap();
    assert_close("gradient", &got, &wide.grad().unwrap().to_vec::<f32>().unwrap(), 2e-3);
    // The loss itself may be a half.
    let h = Tensor::from([1.0, -2.0]).cast(DType::BF16).requires_grad();
    h.square().sum(..).backward().unwrap();
    assert_eq!(h.grad().unwrap().to_vec::<BF16>().unwrap(), [2.0, -4.0].map(BF16::from_f32));
}
