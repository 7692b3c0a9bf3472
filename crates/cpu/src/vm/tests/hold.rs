//! Values that one stage holds for the next.

use super::build::{Builder, affine, domain};
use super::{Buffer, check_instances, numbers};
use crate::vm::compile::live_registers;
use crate::vm::hold::held_values;
use crate::vm::layout::{Kind, Layout};
use crate::vm::superinstruction::lower;
use dropforge_ir::{BinaryKind, CompareKind, DType};
use dropforge_plan::kernel::{LoopKernel, Reduction};

/// A batch norm's gradient behind a ReLU, roughly: the masked gradient g, which is stored too, and what two sums leave
/// of it, g − Σg/n − d·Σ(g·d)/n, where d is the distance from a mean. Then a third stage doubles that where the mask is
/// set.
fn gradient(images: usize, channels: usize, pixels: usize) -> LoopKernel {
    let (c, p) = (channels as i64, pixels as i64);
    let mut b = Builder::new(1, &[images, pixels], 6);
    let whole = affine(0, &[p], &[c * p, 1]);
    let row = affine(0, &[1], &[0, 0]);
    let y = b.load(0, DType::F32, whole.clone());
    let zero = b.immediate(0.0);
    let mask = b.compare(CompareKind::LessEqual, y, zero);
    let incoming = b.load(1, DType::F32, whole.clone());
    let g = b.select(mask, zero, incoming);
    let x = b.load(2, DType::F32, whole.clone());
    let mean = b.load(3, DType::F32, row);
    let distance = b.binary(BinaryKind::Subtract, x, mean);
    let product = b.binary(BinaryKind::Multiply, g, distance);
    b.store(4, DType::F32, whole.clone(), g);
    let sum = b.reduce(Reduction::Sum, g)[0];
    let sum_of_products = b.reduce(Reduction::Sum, product)[0];
    b.rows();
    let share = b.immediate(1.0 / (images * pixels) as f32);
    let mean_gradient = b.binary(BinaryKind::Multiply, sum, share);
    let slope = b.binary(BinaryKind::Multiply, sum_of_products, share);
    b.stage();
    b.repeat(&[y, mask, incoming, g, x, distance]);
    let centred = b.binary(BinaryKind::Subtract, g, mean_gradient);
    let part = b.binary(BinaryKind::Multiply, distance, slope);
    let result = b.binary(BinaryKind::Subtract, centred, part);
    let largest = b.reduce(Reduction::Max, result)[0];
    b.rows();
    b.stage();
    b.repeat(&[y, mask, incoming, g, x, distance, centred, part, result]);
    let scaled = b.binary(BinaryKind::Multiply, result, largest);
    let chosen = b.select(mask, scaled, result);
    b.store(5, DType::F32, whole, chosen);
    b.kernel
}

#[test]
fn stages_hold_what_later_ones_need() {
    // Rows of several blocks in several runs, in one, and of one block.
    for (images, pixels, held) in [(3, 700, 4), (1, 2100, 0), (4, 16, 0)] {
        let channels = 4;
        let kernel = gradient(images, channels, pixels);
        let domains = [domain(&[channels], &[images, pixels])];
        let mut layout = Layout::choose(&kernel, &domains[0], live_registers(&kernel));
        if images * pixels > 1000 {
            assert_eq!(layout.kind, Kind::Streamed);
            layout.block = 256;
        }
        let program = lower(&kernel, &layout);
        let found = held_values(&program, &layout).len();
        assert_eq!(found, held, "values held with {images} images of {pixels} pixels");
        let count = images * channels * pixels;
        let mut buffers: Vec<Buffer> = (0..3).map(|seed| numbers(count, seed)).collect();
        buffers.push(numbers(channels, 3));
        buffers.extend([Buffer::zeros(DType::F32, count), Buffer::zeros(DType::F32, count)]);
        let apart = (0..6).collect::<Vec<_>>();
        // The masked gradient in the place of the incoming one, the result in that of the activation.
        let in_place = vec![0, 1, 2, 3, 1, 0];
        for places in [apart, in_place] {
            if places[4] == 1 && held == 0 {
                // Later stages read the operands again, which is why no plan makes this.
                continue;
            }
            check_instances(&kernel, &domains, &[places], &buffers, 1e-4);
        }
    }
}
