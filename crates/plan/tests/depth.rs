//! What a plan costs grows like the program: deep networks and sums of many terms.

use dropforge_ir::gradient::append_gradients;
use dropforge_ir::passes::optimize;
use dropforge_ir::{BinaryKind, DType, Op, Program, ReduceKind, UnaryKind, Value, ValueType};
use dropforge_plan::plan;
use std::time::{Duration, Instant};

/// A training step of this many dense layers with a ReLU each, by gradient descent.
fn network(depth: usize) -> Program {
    let mut p = Program::new("deep");
    let mut x = p.input("x", ValueType::new(DType::F32, [8, 16]));
    let rate = p.hyper("rate");
    let mut parameters: Vec<(usize, Value)> = Vec::new();
    for layer in 0..depth {
        let weight = p.state(format!("{layer}.weight"), ValueType::new(DType::F32, [16, 16]));
        let bias = p.state(format!("{layer}.bias"), ValueType::new(DType::F32, [16]));
        parameters.extend([(2 * layer, weight), (2 * layer + 1, bias)]);
        let op =
            Op::Dot { lhs_batch: vec![], rhs_batch: vec![], lhs_contract: vec![1], rhs_contract: vec![1] };
        let product = p.apply(op, &[x, weight]).unwrap();
        let shape = p.shape(product).clone();
        let bias = p.apply(Op::Broadcast { shape, axes: vec![1] }, &[bias]).unwrap();
        let sum = p.binary(BinaryKind::Add, product, bias).unwrap();
        x = p.unary(UnaryKind::Relu, sum).unwrap();
    }
    let loss = p.reduce(ReduceKind::Sum, x, &[0, 1]).unwrap();
    p.output("loss", loss);
    let values: Vec<Value> = parameters.iter().map(|(_, value)| *value).collect();
    let gradients = append_gradients(&mut p, loss, &values).unwrap();
    for ((state, value), gradient) in parameters.into_iter().zip(gradients) {
        let shape = p.shape(value).clone();
        let rate = p.apply(Op::Broadcast { shape, axes: vec![] }, &[rate]).unwrap();
        let step = p.binary(BinaryKind::Multiply, gradient, rate).unwrap();
        let new = p.binary(BinaryKind::Subtract, value, step).unwrap();
        p.write(state, new).unwrap();
    }
    p
}

/// The gradient of a sum of many losses of one parameter.
fn losses(count: usize) -> Program {
    let mut p = Program::new("losses");
    let w = p.state("w", ValueType::new(DType::F32, [4]));
    let mut total = None;
    for term in 0..count {
        let x = p.input(format!("x{term}"), ValueType::new(DType::F32, [4]));
        let product = p.binary(BinaryKind::Multiply, w, x).unwrap();
        let loss = p.reduce(ReduceKind::Sum, product, &[0]).unwrap();
        total = Some(match total {
            None => loss,
            Some(total) => p.binary(BinaryKind::Add, total, loss).unwrap(),
        });
    }
    let gradients = append_gradients(&mut p, total.unwrap(), &[w]).unwrap();
    p.output("loss", total.unwrap());
    p.output("gradient", gradients[0]);
    p
}

fn time(program: &Program) -> Duration {
    let start = Instant::now();
    plan(&optimize(program).unwrap()).unwrap();
    start.elapsed()
}

/// Twice as much takes about twice as long: the least of some tries, since other programs run on the machine as well.
#[track_caller]
fn assert_linear(what: &str, make: fn(usize) -> Program, size: usize) {
    let (small, large) = (make(size), make(4 * size));
    let mut ratios = Vec::new();
    for _ in 0..6 {
        let (short, long) = (time(&small), time(&large));
        let ratio = long.as_secs_f64() / short.as_secs_f64();
        // By the square it would be 16 times.
        if ratio < 8.0 {
            return;
        }
        ratios.push((ratio, short, long));
    }
    panic!("4 times as many {what} take {ratios:?} times as long");
}

#[test]
fn deep_networks_are_planned_in_linear_time() {
    assert_linear("layers", network, 60);
}

#[test]
fn sums_of_many_losses_are_planned_in_linear_time() {
    assert_linear("losses", losses, 300);
}
