//! Tensor operations: what they compute, and how tensors are kept.

use crate::compare::assert_close;
use dropforge::prelude::*;

#[track_caller]
fn check(tensor: Tensor, shape: &[usize], expected: &[f32]) {
    let got = tensor.to_vec::<f32>().unwrap();
    assert_eq!(tensor.shape().to_vec(), shape);
    assert_close("element", &got, expected, 1e-6);
}

#[track_caller]
fn check_i32(tensor: Tensor, shape: &[usize], expected: &[i32]) {
    assert_eq!(tensor.to_vec::<i32>().unwrap(), expected);
    assert_eq!(tensor.shape().to_vec(), shape);
}

#[track_caller]
fn check_bool(tensor: Tensor, expected: &[bool]) {
    assert_eq!(tensor.to_vec::<bool>().unwrap(), expected);
}

#[test]
fn creation() {
    check(Tensor::zeros([2, 2]), &[2, 2], &[0.0; 4]);
    check(Tensor::ones(Tensor::zeros([3]).shape()), &[3], &[1.0; 3]);
    check(Tensor::full(vec![2, 1], 7.5), &[2, 1], &[7.5; 2]);
    check_i32(Tensor::arange(0, 4), &[4], &[0, 1, 2, 3]);
    check_i32(Tensor::arange(-1, 2), &[3], &[-1, 0, 1]);
    check_i32(Tensor::arange(3, 1), &[0], &[]);
    check(Tensor::linspace(0.0, 1.0, 5), &[5], &[0.0, 0.25, 0.5, 0.75, 1.0]);
    check(Tensor::eye(2), &[2, 2], &[1.0, 0.0, 0.0, 1.0]);
    check(Tensor::from([[1.0, 2.0], [3.0, 4.0]]), &[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    check(Tensor::from(3.0), &[], &[3.0]);
    check_i32(Tensor::from([[[1], [2]]]), &[1, 2, 1], &[1, 2]);
    check(Tensor::from_slice(&[1.0, 2.0], [2, 1]), &[2, 1], &[1.0, 2.0]);
    check(Tensor::zeros_like(&Tensor::ones([2])), &[2], &[0.0; 2]);
    check(Tensor::from([1, 0, 1]).one_hot(2), &[3, 2], &[0.0, 1.0, 1.0, 0.0, 0.0, 1.0]);
    assert_eq!(Tensor::from([true, false]).dtype(), DType::Bool);
}

#[test]
fn operators_broadcast_and_take_numbers_on_both_sides() {
    let a = Tensor::from([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    let row = Tensor::from([10.0, 20.0, 30.0]);
    let column = Tensor::from([[1.0], [2.0]]);
    check(&a + &row, &[2, 3], &[11.0, 22.0, 33.0, 14.0, 25.0, 36.0]);
    check(&row - &a, &[2, 3], &[9.0, 18.0, 27.0, 6.0, 15.0, 24.0]);
    check(&a * column.clone(), &[2, 3], &[1.0, 2.0, 3.0, 8.0, 10.0, 12.0]);
    check(column.clone() / &row.slice(0, ..2), &[2, 2], &[0.1, 0.05, 0.2, 0.1]);
    check(column.clone() + row.slice(0, 1..), &[2, 2], &[21.0, 31.0, 22.0, 32.0]);
    check(&column * 2.0 + 1.0, &[2, 1], &[3.0, 5.0]);
    check(1.0 - &column, &[2, 1], &[0.0, -1.0]);
    check(6 / column.clone(), &[2, 1], &[6.0, 3.0]);
    check(-&column, &[2, 1], &[-1.0, -2.0]);
    check_i32(Tensor::from([5, 7]) / 2, &[2], &[2, 3]);
    check(Tensor::from([5, 7]) * 0.5, &[2], &[2.5, 3.5]);
    check(1.0 - Tensor::from([5u8, 7]), &[2], &[-4.0, -6.0]);
    check(Tensor::from([5, 7]).maximum(5.5), &[2], &[5.5, 7.0]);
    check_i32(Tensor::from([true, false]) + 1, &[2], &[2, 1]);
    check(Tensor::from([true, false]) * 0.25, &[2], &[0.25, 0.0]);
    assert_eq!((Tensor::from([1.0]).cast(DType::F16) * 2.5).dtype(), DType::F16);
    check_i32(-Tensor::from([5, 7]) + Tensor::from([[1], [2]]), &[2, 2], &[-4, -6, -3, -5]);
    check(Tensor::zeros([0, 3]) + &row, &[0, 3], &[]);
}

#[test]
fn functions_of_elements() {
    let x = Tensor::from([-1.5, 0.0, 0.5, 2.0]);
    let each = |f: fn(f32) -> f32| [-1.5f32, 0.0, 0.5, 2.0].map(f);
    check(x.exp(), &[4], &each(f32::exp));
    check(x.tanh(), &[4], &each(f32::tanh));
    check(x.sigmoid(), &[4], &each(|x| 1.0 / (1.0 + (-x).exp())));
    check(x.relu(), &[4], &[0.0, 0.0, 0.5, 2.0]);
    check(x.abs().sqrt(), &[4], &each(|x| x.abs().sqrt()));
    check((&x + 2.0).log(), &[4], &each(|x| (x + 2.0).ln()));
    check((&x + 2.0).rsqrt(), &[4], &each(|x| 1.0 / (x + 2.0).sqrt()));
    check((&x + 2.0).reciprocal(), &[4], &each(|x| 1.0 / (x + 2.0)));
    check(x.sin() + x.cos(), &[4], &each(|x| x.sin() + x.cos()));
    check(x.powf(3.0), &[4], &each(|x| x * x * x));
    check(x.square(), &[4], &each(|x| x * x));
    check(x.clamp(-1.0, 1.0), &[4], &[-1.0, 0.0, 0.5, 1.0]);
    check(x.maximum(0.25), &[4], &[0.25, 0.25, 0.5, 2.0]);
    check(x.minimum(Tensor::from([0.0, -1.0, 1.0, 1.0])), &[4], &[-1.5, -1.0, 0.5, 1.0]);
    check(x.sign(), &[4], &[-1.0, 0.0, 1.0, 1.0]);
    check(x.floor() + x.ceil() + x.round(), &[4], &[-5.0, 0.0, 1.0, 6.0]);
    check(x.expm1(), &[4], &each(f32::exp_m1));
    check(x.softplus(), &[4], &each(|x| x.exp().ln_1p()));
    check(x.fmod(1.0), &[4], &each(|x| x % 1.0));
    check(Tensor::from([0.5, 2.0]).erf(), &[2], &[0.520_499_9, 0.995_322_3]);
}

#[test]
fn comparisons_and_selection() {
    let (a, b) = (Tensor::from([1.0, 2.0, 3.0]), Tensor::from([3.0, 2.0, 1.0]));
    check_bool(a.eq(&b), &[false, true, false]);
    check_bool(a.ne(2.0), &[true, false, true]);
    check_bool(a.lt(&b), &[true, false, false]);
    check_bool(a.le(2.0), &[true, true, false]);
    check_bool(a.gt(&b), &[false, false, true]);
    check_bool(a.ge(2.0), &[false, true, true]);
    check_bool(Tensor::from([1, 2]).eq(2), &[false, true]);
    check_bool(a.gt(1.0).logical_and(b.gt(1.0)), &[false, true, false]);
    check_bool(a.gt(1.0).logical_not(), &[true, false, false]);
    check_bool(a.gt(2.0).any(..), &[true]);
    check_bool(a.gt(2.0).all(..), &[false]);
    check(Tensor::select(&a.gt(&b), &a, &b), &[3], &[3.0, 2.0, 3.0]);
    check(Tensor::select(&a.gt(1.0), 1.0, -1.0), &[3], &[-1.0, 1.0, 1.0]);
    check(
        Tensor::select(&a.gt(1.0), 0.0, Tensor::from([[5.0], [6.0]])),
        &[2, 3],
        &[5.0, 0.0, 0.0, 6.0, 0.0, 0.0],
    );
    check(a.masked_fill(&a.lt(2.0), 9.0), &[3], &[9.0, 2.0, 3.0]);
    check_i32(Tensor::from([1.9, -1.9, f32::NAN]).cast(DType::I32), &[3], &[1, -1, 0]);
}

#[test]
fn matrix_products_follow_pytorch() {
    let a = Tensor::from([[1.0, 2.0], [3.0, 4.0]]);
    let v = Tensor::from([1.0, -1.0]);
    check(a.matmul(&a), &[2, 2], &[7.0, 10.0, 15.0, 22.0]);
    check(v.matmul(&v), &[], &[2.0]);
    check(a.matmul(&v), &[2], &[-1.0, -1.0]);
    check(v.matmul(&a), &[2], &[-2.0, -2.0]);
    let batch = Tensor::stack(&[&a, &(&a * 2.0)], 0);
    check(batch.matmul(&a), &[2, 2, 2], &[7.0, 10.0, 15.0, 22.0, 14.0, 20.0, 30.0, 44.0]);
    check(a.matmul(&batch), &[2, 2, 2], &[7.0, 10.0, 15.0, 22.0, 14.0, 20.0, 30.0, 44.0]);
    check(v.matmul(&batch), &[2, 2], &[-2.0, -2.0, -4.0, -4.0]);
    check(batch.matmul(&v), &[2, 2], &[-1.0, -1.0, -2.0, -2.0]);
    let broad = batch.unsqueeze(1).matmul(&batch.unsqueeze(0));
    assert_eq!(broad.shape().to_vec(), [2, 2, 2, 2]);
    check(broad.at(0, 1).at(0, 1), &[2, 2], &[28.0, 40.0, 60.0, 88.0]);
}

#[test]
fn movement() {
    let x = Tensor::arange(0, 6).reshape([2, 3]);
    check_i32(x.reshape([-1, 2]), &[3, 2], &[0, 1, 2, 3, 4, 5]);
    check_i32(x.reshape(vec![6]), &[6], &[0, 1, 2, 3, 4, 5]);
    check_i32(x.flatten(0), &[6], &[0, 1, 2, 3, 4, 5]);
    check_i32(x.unsqueeze(0).flatten(1), &[1, 6], &[0, 1, 2, 3, 4, 5]);
    check_i32(x.transpose(0, -1), &[3, 2], &[0, 3, 1, 4, 2, 5]);
    check_i32(x.t(), &[3, 2], &[0, 3, 1, 4, 2, 5]);
    check_i32(x.unsqueeze(-1).permute(&[2, 1, 0]), &[1, 3, 2], &[0, 3, 1, 4, 2, 5]);
    check_i32(x.unsqueeze(1).unsqueeze(-1).squeeze(..), &[2, 3], &[0, 1, 2, 3, 4, 5]);
    check_i32(x.unsqueeze(1).squeeze(0), &[2, 1, 3], &[0, 1, 2, 3, 4, 5]);
    check_i32(x.slice(1, 1..), &[2, 2], &[1, 2, 4, 5]);
    check_i32(x.slice(-1, ..=1), &[2, 2], &[0, 1, 3, 4]);
    check_i32(x.slice_step(1, .., 2), &[2, 2], &[0, 2, 3, 5]);
    check_i32(x.narrow(0, 1, 1), &[1, 3], &[3, 4, 5]);
    check_i32(x.at(1, 2), &[2], &[2, 5]);
    check_i32(x.flip(1), &[2, 3], &[2, 1, 0, 5, 4, 3]);
    check_i32(x.pad(&[0, 1], &[1, 0], 9.0), &[3, 4], &[9, 0, 1, 2, 9, 3, 4, 5, 9, 9, 9, 9]);
    check_i32(Tensor::concat(&[&x, &x.slice(1, ..1)], 1), &[2, 4], &[0, 1, 2, 0, 3, 4, 5, 3]);
    check_i32(Tensor::stack(&[&x.at(0, 0), &x.at(0, 1)], -1), &[3, 2], &[0, 3, 1, 4, 2, 5]);
    check_i32(x.at(0, 1).broadcast_to([2, 3]), &[2, 3], &[3, 4, 5, 3, 4, 5]);
    check_i32(x.slice(1, ..1).expand([2, 2]), &[2, 2], &[0, 0, 3, 3]);
    check_i32(x.index_select(1, &Tensor::from([2, 0])), &[2, 2], &[2, 0, 5, 3]);
    check(x.cast(DType::F32).pick(1, &Tensor::from([1, 2])), &[2], &[1.0, 5.0]);
}

#[test]
fn reductions() {
    let x = Tensor::from([[1.0, 5.0, 3.0], [4.0, 2.0, 6.0]]);
    check(x.sum(..), &[], &[21.0]);
    check(x.sum(0), &[3], &[5.0, 7.0, 9.0]);
    check(x.sum([0, 1]), &[], &[21.0]);
    check(x.sum_keep(-1), &[2, 1], &[9.0, 12.0]);
    check(x.mean(1), &[2], &[3.0, 4.0]);
    check(x.mean_keep(0), &[1, 3], &[2.5, 3.5, 4.5]);
    check(x.max(1), &[2], &[5.0, 6.0]);
    check(x.min_keep(0), &[1, 3], &[1.0, 2.0, 3.0]);
    check(x.product(1), &[2], &[15.0, 48.0]);
    check(x.var(1), &[2], &[4.0, 4.0]);
    check(x.std(1), &[2], &[2.0, 2.0]);
    check_i32(x.argmax(1), &[2], &[1, 2]);
    check_i32(x.argmin(0), &[3], &[0, 1, 0]);
    check(x.logsumexp(1), &[2], &[5.142_931_6, 6.142_931_6]);
    check(x.softmax(-1).sum(1), &[2], &[1.0, 1.0]);
    check(x.log_softmax(1).exp() - x.softmax(1), &[2, 3], &[0.0; 6]);
    let (far, near) = ((&x + 1000.0).softmax(0), x.softmax(0));
    assert_close("far", &far.to_vec().unwrap(), &near.to_vec().unwrap(), 1e-4);
    check_i32(Tensor::from([[1, 2], [3, 4]]).sum(0), &[2], &[4, 6]);
}

#[test]
fn random_numbers_are_spread_as_promised() {
    let mut generator = Generator::new(3);
    let count = 20_000;
    let uniform = generator.rand([count]).to_vec::<f32>().unwrap();
    assert!(uniform.iter().all(|u| (0.0..1.0).contains(u)));
    let mean = |x: &[f32]| x.iter().map(|&x| f64::from(x)).sum::<f64>() / x.len() as f64;
    assert!((mean(&uniform) - 0.5).abs() < 0.01);
    let normal = generator.randn([count]).to_vec::<f32>().unwrap();
    let squares: Vec<f32> = normal.iter().map(|x| x * x).collect();
    assert!(mean(&normal).abs() < 0.03 && (mean(&squares) - 1.0).abs() < 0.05);
    let dice = Tensor::from_vec(generator.randint([count], 1, 7).to_vec::<i32>().unwrap(), [count]);
    for side in 1..7 {
        let share = dice.eq(side).cast(DType::F32).mean(..).item::<f32>().unwrap();
        assert!((share - 1.0 / 6.0).abs() < 0.02, "{side}: {share}");
    }
    assert_eq!(Tensor::rand([2], &mut Generator::new(1)).rank(), 1);
    assert_eq!(Tensor::randn([2], &mut Generator::new(1)).rank(), 1);
}

#[test]
fn what_is_computed_is_kept_and_programs_are_reused() {
    let runtime = Runtime::new(Runtime::shared().unwrap().device().clone());
    let x = Tensor::from([1.0, 2.0]).to(&runtime).unwrap();
    assert_eq!(runtime.cached_programs(), 0);
    let twice = &x * 2.0;
    for _ in 0..3 {
        check(&twice + 1.0, &[2], &[3.0, 5.0]);
        check(&x * 2.0 + 1.0, &[2], &[3.0, 5.0]);
    }
    assert_eq!(runtime.cached_programs(), 1);
    runtime.evaluate(&[&twice]).unwrap();
    check(&twice + 1.0, &[2], &[3.0, 5.0]);
    assert_eq!(runtime.cached_programs(), 3);
}

#[test]
fn a_changing_number_compiles_once() {
    let runtime = Runtime::new(Runtime::shared().unwrap().device().clone());
    let x = Tensor::from([1.0, 2.0]).to(&runtime).unwrap();
    let mut rate = 0.3;
    for _ in 0..10 {
        rate *= 0.9;
        check(&x * rate, &[2], &[rate, 2.0 * rate]);
    }
    assert_eq!(runtime.cached_programs(), 1);
}

#[test]
fn a_chain_that_is_never_read_stays_bounded() {
    let mut x = Tensor::from([0.0, 1.0]);
    let ones = Tensor::ones([2]);
    for _ in 0..30_000 {
        x = x + &ones;
    }
    check(x, &[2], &[30_000.0, 30_001.0]);
}

#[test]
fn a_long_history_is_dropped_without_recursion() {
    let start = Tensor::from([1.0]).requires_grad();
    let mut x = start.clone();
    for _ in 0..50_000 {
        x = x * 1.0;
    }
    drop(x);
    drop(start);
}

#[test]
fn tensors_move_between_threads() {
    let x = Tensor::from([1.0, 2.0]) * 3.0;
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let x = x.clone();
            std::thread::spawn(move || (x + 1.0).to_vec::<f32>().unwrap())
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), [4.0, 7.0]);
    }
}
