//! Loops written by hand on tensors: each step costs what the one before cost, and threads may share leaves.

use dropforge::prelude::*;
use dropforge::{Runtime, devices};
use std::time::{Duration, Instant};

fn runtime() -> Runtime {
    devices::open("cpu", Some(1)).unwrap()
}

/// Runs a loop and counts the programs that are compiled on its own runtime: no new ones come after some first rounds.
#[track_caller]
fn assert_constant(start: impl Fn(&Runtime) -> Box<dyn FnMut()>) {
    let runtime = runtime();
    let mut step = start(&runtime);
    (0..100).for_each(|_| step());
    let known = runtime.cached_programs();
    (0..400).for_each(|_| step());
    assert_eq!(runtime.cached_programs(), known, "programs after 500 rounds, instead of those after 100");
    assert!(known < 40, "{known} programs");
}

#[test]
fn gradient_descent_costs_the_same_in_every_step() {
    assert_constant(|runtime| {
        let target = Tensor::from([3.0, -2.0]);
        let mut x = Tensor::zeros([2]).to(runtime).unwrap().requires_grad();
        Box::new(move || {
            (&x - &target).square().sum(..).backward().unwrap();
            x = (x.detach() - x.grad().unwrap() * 0.01).requires_grad();
        })
    });
}

#[test]
fn what_is_carried_along_costs_the_same_in_every_step() {
    // A velocity that is never read, and a mean of losses that is read at the end only.
    assert_constant(|runtime| {
        let target = Tensor::from([3.0, -2.0]);
        let mut x = Tensor::zeros([2]).to(runtime).unwrap().requires_grad();
        let mut velocity = Tensor::zeros([2]).to(runtime).unwrap();
        let mut mean = Tensor::from(0.0).to(runtime).unwrap();
        Box::new(move || {
            let loss = (&x - &target).square().sum(..);
            mean = &mean * 0.9 + loss.detach() * 0.1;
            loss.backward().unwrap();
            velocity = &velocity * 0.9 + x.grad().unwrap();
            x = (x.detach() - &velocity * 0.01).requires_grad();
        })
    });
    // A state that is read in every round through something else.
    assert_constant(|runtime| {
        let mut state = Tensor::zeros([3]).to(runtime).unwrap();
        Box::new(move || {
            state = (&state * 0.5 + 1.0).tanh();
            state.sum(..).item::<f32>().unwrap();
        })
    });
    // A recurrent state that carries no gradient from step to step.
    assert_constant(|runtime| {
        let w = Tensor::from([0.5, 0.25]).to(runtime).unwrap().requires_grad();
        let mut state = Tensor::zeros([2]).to(runtime).unwrap();
        Box::new(move || {
            state = (state.detach() * &w + 1.0).tanh();
            state.sum(..).backward().unwrap();
            w.zero_grad();
        })
    });
}

#[test]
fn a_detached_value_forgets_how_it_came_to_be() {
    let x = Tensor::from([1.0, 2.0]).requires_grad();
    let y = (&x * 3.0).sum(..);
    let detached = y.detach();
    y.backward().unwrap();
    assert_eq!(detached.item::<f32>().unwrap(), 9.0);
    assert_eq!(x.grad().unwrap().to_vec::<f32>().unwrap(), [3.0, 3.0]);
    // A variable made from what waits is computed with the gradient, once.
    let z = (&x * 2.0).requires_grad();
    z.square().sum(..).backward().unwrap();
    assert_eq!(z.grad().unwrap().to_vec::<f32>().unwrap(), [4.0, 8.0]);
    assert_eq!(z.to_vec::<f32>().unwrap(), [2.0, 4.0]);
}

#[test]
fn threads_add_to_one_gradient() {
    for _ in 0..4 {
        let (w, v) = (Tensor::from([1.0]).requires_grad(), Tensor::from([2.0]).requires_grad());
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (w, v) = (&w, &v);
                scope.spawn(move || {
                    for _ in 0..50 {
                        let sum = if thread % 2 == 0 { w * 3.0 + v } else { v + w * 3.0 };
                        sum.sum(..).backward().unwrap();
                    }
                });
            }
        });
        assert_eq!(w.grad().unwrap().to_vec::<f32>().unwrap(), [1200.0]);
        assert_eq!(v.grad().unwrap().to_vec::<f32>().unwrap(), [400.0]);
    }
}

fn backward_of_many(count: usize) -> Duration {
    let w = Tensor::from([1.0, 2.0]).requires_grad();
    let x: Vec<Tensor> = (0..count).map(|i| Tensor::from([i as f32, 1.0])).collect();
    let start = Instant::now();
    let losses = x.iter().map(|x| (&w * x).sum(..));
    let total = losses.reduce(|total, loss| total + loss).unwrap();
    total.backward().unwrap();
    let sum = (count * (count - 1) / 2) as f32;
    assert_eq!(w.grad().unwrap().to_vec::<f32>().unwrap(), [sum, count as f32]);
    start.elapsed()
}

/// By the square, four times as many losses would take 16 times as long.
#[test]
fn backward_is_linear_in_the_number_of_losses() {
    let mut found = Vec::new();
    for _ in 0..5 {
        let (short, long) = (backward_of_many(400), backward_of_many(1600));
        if long < 8 * short {
            return;
        }
        found.push((short, long));
    }
    panic!("400 and 1600 losses take {found:?}");
}
