//! Loops: what they capture, gradients of gradients, and what is said of bodies that do not fit. Values and gradients
//! are held to PyTorch by the conformance cases.

use crate::compare::assert_close;
use dropforge::prelude::*;
use dropforge::{scan, scan_reverse};

/// c·w + sin(x·w) from slice to slice.
fn body(w: &Tensor) -> impl Fn(&[Tensor], &[Tensor]) -> (Vec<Tensor>, Vec<Tensor>) {
    move |carried, slices| {
        let next = &carried[0] * w + (&slices[0] * w).sin();
        (vec![next.clone()], vec![next * 0.3])
    }
}

/// The same as [`body`] without a loop.
fn unrolled(initial: &Tensor, x: &Tensor, w: &Tensor, reverse: bool) -> (Tensor, Tensor) {
    let (mut carried, mut stack) = (vec![initial.clone()], Vec::new());
    for trip in 0..x.shape()[0] {
        let at = if reverse { x.shape()[0] - 1 - trip } else { trip };
        let (next, mut outputs) = body(w)(&carried, &[x.at(0, at)]);
        carried = next;
        stack.push(outputs.swap_remove(0));
    }
    if reverse {
        stack.reverse();
    }
    (carried.swap_remove(0), Tensor::stack(&stack.iter().collect::<Vec<_>>(), 0))
}

fn numbers() -> (Tensor, Tensor, Tensor) {
    let mut generator = Generator::new(5);
    (
        generator.rand([3]).requires_grad(),
        generator.rand([4, 3]).requires_grad(),
        generator.rand([3]).requires_grad(),
    )
}

#[test]
fn a_loop_is_its_trips() {
    for reverse in [false, true] {
        let (initial, x, w) = numbers();
        let run = if reverse { scan_reverse } else { scan };
        let (last, stacked) = run(&[&initial], &[&x], body(&w));
        let (expected_last, expected) = unrolled(&initial, &x, &w, reverse);
        let values = |last: &Tensor, stacked: &Tensor| {
            let loss = last.sum(..) + (stacked * stacked).sum(..);
            let slopes = gradients(&loss, &[&initial, &x, &w]);
            // Gradients of gradients too.
            let size = |slope: &Tensor| (slope * slope).sum(..);
            let sizes = size(&slopes[0]) + size(&slopes[1]) + size(&slopes[2]);
            let second = gradients(&sizes, &[&initial, &x, &w]);
            let all: Vec<Vec<f32>> = [last, stacked]
                .into_iter()
                .chain(&slopes)
                .chain(&second)
                .map(|tensor| tensor.to_vec::<f32>().unwrap())
                .collect();
            all
        };
        for (number, (found, expected)) in
            values(&last[0], &stacked[0]).iter().zip(values(&expected_last, &expected)).enumerate()
        {
            assert_close(&format!("value {number}, reverse {reverse}"), found, &expected, 2e-5);
        }
    }
}

/// What a body makes of captured tensors alone is computed once, and loops stand in loops.
#[test]
fn bodies_capture_and_nest() {
    let (initial, x, w) = numbers();
    let doubled = &w * 2.0;
    let (last, _) = scan(&[&initial], &[&x], |carried, slices| {
        let (inner, _) = scan(&[&carried[0]], &[&Tensor::arange(0, 2)], |carried, number| {
            (vec![&carried[0] + &slices[0] * &doubled * number[0].cast(DType::F32)], vec![])
        });
        (inner, vec![])
    });
    let expected = &initial + (&x * &doubled).sum(0);
    assert_close("last", &last[0].to_vec::<f32>().unwrap(), &expected.to_vec::<f32>().unwrap(), 1e-6);
    let slopes = gradients(&last[0].sum(..), &[&w]);
    assert_close(
        "slope",
        &slopes[0].to_vec::<f32>().unwrap(),
        &(x.sum(0) * 2.0).to_vec::<f32>().unwrap(),
        1e-6,
    );
}

#[test]
fn what_does_not_fit_is_said() {
    let (x, start) = (Tensor::zeros([4, 3]), Tensor::zeros([3]));
    let says = |results: (Vec<Tensor>, Vec<Tensor>)| {
        let tensor = results.0.first().or(results.1.first()).unwrap().clone();
        tensor.to_array().err().unwrap().to_string()
    };
    let same = |carried: &[Tensor], _: &[Tensor]| (carried.to_vec(), vec![]);
    assert!(says(scan(&[&start], &[], same)).contains("needs an array with a slice for each trip"));
    let shorter = Tensor::zeros([3, 3]);
    assert!(
        says(scan(&[&start], &[&x, &shorter], same))
            .contains("there are 4 slices of [4, 3] and others of [3, 3]")
    );
    assert!(
        says(scan(&[&start], &[&x], |_, _| (vec![], vec![])))
            .contains("1 values are carried, the body gives 0")
    );
    let wider = |carried: &[Tensor], _: &[Tensor]| (vec![carried[0].unsqueeze(0)], vec![]);
    assert!(says(scan(&[&start], &[&x], wider)).contains("is f32[3] before a trip and f32[1, 3] after it"));
    let detached = |carried: &[Tensor], _: &[Tensor]| (vec![(&carried[0] * 2.0).detach()], vec![]);
    assert!(says(scan(&[&start], &[&x], detached)).contains("detach what it computed"));
    let broken = |carried: &[Tensor], _: &[Tensor]| (vec![&carried[0] + Tensor::zeros([7])], vec![]);
    assert!(says(scan(&[&start], &[&x], broken)).contains("[7]"));
}
