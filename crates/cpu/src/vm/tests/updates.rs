//! Updates of optimizers: found among the instructions of a kernel, and computed.

use super::build::{Builder, affine, domain};
use super::{Buffer, check_instances, numbers};
use crate::vecmath::update::UpdateKind;
use crate::vm::compile::live_registers;
use crate::vm::layout::Layout;
use crate::vm::superinstruction::{Item, lower};
use dropforge_ir::{BinaryKind, DType, UnaryKind};
use dropforge_plan::kernel::{LoopKernel, Register};

use BinaryKind::{Add, Divide, Multiply, Subtract};

/// A builder that turns the sides of what commutes, if it is asked to.
struct Formulas {
    builder: Builder,
    turned: bool,
}

impl Formulas {
    fn new(operands: usize, turned: bool) -> Formulas {
        Formulas { builder: Builder::new(1, &[], operands), turned }
    }

    fn load(&mut self, operand: usize) -> Register {
        self.builder.load(operand, DType::F32, affine(0, &[1], &[]))
    }

    fn single(&mut self, operand: usize) -> Register {
        self.builder.load(operand, DType::F32, affine(0, &[0], &[]))
    }

    fn store(&mut self, operand: usize, from: Register) {
        self.builder.store(operand, DType::F32, affine(0, &[1], &[]), from);
    }

    fn binary(&mut self, kind: BinaryKind, a: Register, b: Register) -> Register {
        let turned = self.turned && matches!(kind, Add | Multiply);
        if turned { self.builder.binary(kind, b, a) } else { self.builder.binary(kind, a, b) }
    }
}

/// Operands: value, two moments, gradient, seven numbers.
fn adam(decoupled: bool, turned: bool) -> LoopKernel {
    let mut f = Formulas::new(11, turned);
    let [value, first, second, gradient] = [0, 1, 2, 3].map(|operand| f.load(operand));
    let [decay, fresh, kept, square, root, eps, size] =
        [4, 5, 6, 7, 8, 9, 10].map(|operand| f.single(operand));
    let scaled = f.binary(Multiply, value, decay);
    let (value, gradient) =
        if decoupled { (scaled, gradient) } else { (value, f.binary(Add, gradient, scaled)) };
    let change = f.binary(Subtract, gradient, first);
    let change = f.binary(Multiply, change, fresh);
    let first = f.binary(Add, first, change);
    // Stored long before the last result is known.
    f.store(1, first);
    let old = f.binary(Multiply, second, kept);
    let new = f.binary(Multiply, gradient, gradient);
    let new = f.binary(Multiply, new, square);
    let second = f.binary(Add, old, new);
    f.store(2, second);
    let denominator = f.builder.unary(UnaryKind::SquareRoot, second);
    let denominator = f.binary(Multiply, denominator, root);
    let denominator = f.binary(Add, denominator, eps);
    let step = f.binary(Divide, first, denominator);
    let step = f.binary(Multiply, step, size);
    let value = f.binary(Subtract, value, step);
    f.store(0, value);
    f.builder.kernel
}

/// Operands: value, direction, gradient, three numbers, and what decays, which should be the value.
fn momentum(turned: bool, decaying: usize, stores_direction: bool) -> LoopKernel {
    let mut f = Formulas::new(7, turned);
    let [value, direction, gradient] = [0, 1, 2].map(|operand| f.load(operand));
    let [decay, kept, rate] = [3, 4, 5].map(|operand| f.single(operand));
    let decaying = if decaying == 0 { value } else { f.load(decaying) };
    let decayed = f.binary(Multiply, decaying, decay);
    let gradient = f.binary(Add, gradient, decayed);
    let direction = f.binary(Multiply, direction, kept);
    let direction = f.binary(Add, direction, gradient);
    if stores_direction {
        f.store(1, direction);
    }
    let step = f.binary(Multiply, direction, rate);
    let value = f.binary(Subtract, value, step);
    f.store(0, value);
    f.builder.kernel
}

fn found(kernel: &LoopKernel) -> Vec<UpdateKind> {
    let layout = Layout::choose(kernel, &domain(&[1000], &[]), live_registers(kernel));
    let items = lower(kernel, &layout).stages.remove(0).domain;
    let kinds = items.iter().filter_map(|item| match item {
        Item::Update { kind, .. } => Some(*kind),
        _ => None,
    });
    kinds.collect()
}

fn positive(count: usize) -> Buffer {
    Buffer::floats(&(0..count).map(|i| ((i * 13) % 29) as f32 / 9.0).collect::<Vec<_>>())
}

/// Results lie where arguments do, and where they do not: operands 0, 1 and perhaps 2 are written.
fn check_everywhere(kernel: &LoopKernel, singles: &[f32], blocks: usize) {
    for count in [1, 5, 16, 100, 1037] {
        let mut buffers: Vec<Buffer> = (0..blocks)
            .map(|block| if block == 2 { positive(count) } else { numbers(count, block) })
            .collect();
        buffers.extend(singles.iter().map(|single| Buffer::floats(&[*single])));
        let places: Vec<usize> = (0..buffers.len()).collect();
        check_instances(kernel, &[domain(&[count], &[])], &[places], &buffers, 4e-6);
    }
}

#[test]
fn adam_is_one_step() {
    for turned in [false, true] {
        for (decoupled, kind) in [(false, UpdateKind::Adam), (true, UpdateKind::AdamW)] {
            let kernel = adam(decoupled, turned);
            assert_eq!(found(&kernel), [kind]);
            check_everywhere(&kernel, &[0.9, 0.1, 0.99, 0.01, 1.5, 1e-3, 0.05], 4);
        }
    }
}

#[test]
fn momentum_is_one_step() {
    for turned in [false, true] {
        let kernel = momentum(turned, 0, true);
        assert_eq!(found(&kernel), [UpdateKind::Momentum]);
        check_everywhere(&kernel, &[0.01, 0.9, 0.1, 0.0], 3);
    }
}

#[test]
fn what_only_resembles_an_update_stays_as_it_is() {
    // The direction is not stored.
    let kernel = momentum(false, 0, false);
    assert_eq!(found(&kernel), []);
    check_everywhere(&kernel, &[0.01, 0.9, 0.1, 0.0], 3);
    // Another value decays than the one that is changed.
    assert_eq!(found(&momentum(false, 6, true)), []);
}
