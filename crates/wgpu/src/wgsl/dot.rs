//! Matrix products of strided operands.

use super::contraction::{Operands, Sizes, dispatches};
use super::index::{constant, position, sum};
use super::shader::{Dispatch, Shader, Where};
use dropforge_ir::DType;
use dropforge_plan::plan::Argument;

/// Axes of an operand by their part in the product.
#[derive(Clone, Debug, Default)]
struct Axes {
    extents: Vec<usize>,
    strides: Vec<i64>,
}

impl Axes {
    fn pick(argument: &Argument, axes: &[usize]) -> Axes {
        Axes {
            extents: axes.iter().map(|&axis| argument.ty.shape[axis]).collect(),
            strides: axes.iter().map(|&axis| argument.strides[axis]).collect(),
        }
    }

    fn count(&self) -> usize {
        self.extents.iter().product()
    }

    fn at(&self, number: &str) -> String {
        position(number, &self.extents, &self.strides)
    }

    /// Step from one position to the next.
    fn step(&self) -> i64 {
        let last = self.extents.iter().zip(&self.strides).rev().find(|(extent, _)| **extent > 1);
        last.map_or(0, |(_, stride)| stride.abs())
    }
}

struct Side {
    place: Where,
    offset: i64,
    batch: Axes,
    free: Axes,
    contract: Axes,
}

impl Side {
    fn new(argument: &Argument, place: Where, batch: &[usize], contract: &[usize]) -> Side {
        let free: Vec<usize> = (0..argument.ty.shape.rank())
            .filter(|axis| !batch.contains(axis) && !contract.contains(axis))
            .collect();
        Side {
            place,
            offset: argument.offset,
            batch: Axes::pick(argument, batch),
            free: Axes::pick(argument, &free),
            contract: Axes::pick(argument, contract),
        }
    }

    fn load(&self, shader: &mut Shader, signature: &str, free: &str) {
        let slot = shader.operand(self.place, false);
        let index =
            sum(&[constant(self.offset), self.batch.at("z"), self.free.at(free), self.contract.at("k")]);
        shader.line_head(&format!("fn {signature} -> f32 {{ return {}; }}", slot.load(DType::F32, &index)));
    }

    fn along_k(&self) -> bool {
        let (free, contract) = (self.free.step(), self.contract.step());
        contract == 1 || (free != 1 && contract != 0 && contract < free)
    }
}

struct Product {
    lhs: Side,
    rhs: Side,
    result: Where,
    sizes: Sizes,
}

impl Operands for Product {
    fn loads(&self, shader: &mut Shader) {
        self.lhs.load(shader, "load_a(z: u32, m: u32, k: u32)", "m");
        self.rhs.load(shader, "load_b(z: u32, k: u32, n: u32)", "n");
    }

    fn stores(&self, shader: &mut Shader) {
        let slot = shader.operand(self.result, true);
        let index = format!("((z * {}u + m) * {}u + n)", self.sizes.m, self.sizes.n);
        let store = slot.store(DType::F32, &index, "value");
        shader.line_head(&format!("fn store(z: u32, m: u32, n: u32, value: f32) {{ {store} }}"));
    }

    fn along_k(&self) -> [bool; 2] {
        [self.lhs.along_k(), self.rhs.along_k()]
    }
}

/// The axes of a product.
pub(crate) struct DotAxes<'a> {
    pub lhs_batch: &'a [usize],
    pub rhs_batch: &'a [usize],
    pub lhs_contract: &'a [usize],
    pub rhs_contract: &'a [usize],
}

/// The dispatches of a product, and the words of scratch memory that they need.
pub(crate) fn dot(
    label: &str,
    axes: &DotAxes<'_>,
    args: &[Argument],
    places: [Where; 2],
    result: Where,
) -> (Vec<Dispatch>, usize) {
    let lhs = Side::new(&args[0], places[0], axes.lhs_batch, axes.lhs_contract);
    let rhs = Side::new(&args[1], places[1], axes.rhs_batch, axes.rhs_contract);
    let sizes =
        Sizes { z: lhs.batch.count(), m: lhs.free.count(), n: rhs.free.count(), k: lhs.contract.count() };
    dispatches(label, sizes, &Product { lhs, rhs, result, sizes }, 0)
}
