//! Matrix products of strided operands.

use super::contraction::{Operands, Sizes, dispatches, print_finish, tunable};
use super::epilogue::Target;
use super::index::{constant, position, sum};
use super::pick::{Means, Pick, Tunable, step};
use super::shader::{Dispatch, Shader, Where};
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

    /// Whether all steps, the last `but` axes left out, are multiples of four.
    fn skips_quads(&self, but: usize) -> bool {
        let axes = self.extents.iter().zip(&self.strides).rev().filter(|(extent, _)| **extent > 1);
        axes.skip(but).all(|(_, stride)| stride % 4 == 0)
    }

    /// Whether positions come in fours that lie side by side.
    fn is_of_quads(&self) -> bool {
        let last = self.extents.iter().zip(&self.strides).rev().find(|(extent, _)| **extent > 1);
        last.is_some_and(|(extent, stride)| *stride == 1 && extent % 4 == 0) && self.skips_quads(1)
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

    /// Adds the functions that load one element and, where that is possible, four.
    fn load(&self, shader: &mut Shader, letter: char, free: &str) {
        let slot = shader.operand(self.place, false);
        let index =
            sum(&[constant(self.offset), self.batch.at("z"), self.free.at(free), self.contract.at("k")]);
        let takes = format!("(z: u32, k0: u32, dk: u32, {free}: u32)");
        let (one, ty) = (slot.fetch(&index), slot.fetched());
        shader.line_head(&format!("fn load_{letter}{takes} -> {ty} {{ let k = k0 + dk; return {one}; }}"));
        if self.quads() {
            let four = slot.fetch_four(&index);
            shader.line_head(&format!(
                "fn load_{letter}4{takes} -> vec4<{ty}> {{ let k = k0 + dk; return {four}; }}"
            ));
        }
    }

    /// Whether neighbours come in whole quads: all other steps, and the start, are multiples of four words.
    fn quads(&self) -> bool {
        let fast = if self.along_k() { &self.contract } else { &self.free };
        let slow = if self.along_k() { &self.free } else { &self.contract };
        self.place.first.is_multiple_of(4)
            && self.offset % 4 == 0
            && fast.is_of_quads()
            && slow.skips_quads(0)
            && self.batch.skips_quads(0)
    }

    fn along_k(&self) -> bool {
        let (free, contract) = (self.free.step(), self.contract.step());
        contract == 1 || (free != 1 && contract != 0 && contract < free)
    }
}

struct Product<'a> {
    lhs: Side,
    rhs: Side,
    target: Target<'a>,
    sizes: Sizes,
}

impl Operands for Product<'_> {
    fn prepare(&self, shader: &mut Shader, loads: bool, stores: bool) {
        for side in [&self.lhs, &self.rhs] {
            if loads && side.quads() {
                shader.bind_as_quads(side.place);
            }
        }
        if stores && self.stores_quads() {
            self.target.prepare(shader);
        }
    }

    fn loads(&self, shader: &mut Shader) {
        self.lhs.load(shader, 'a', "m");
        self.rhs.load(shader, 'b', "n");
    }

    fn stores(&self, shader: &mut Shader) {
        let index = format!("((z * {}u + m) * {}u + n)", self.sizes.m, self.sizes.n);
        print_finish(shader, &self.target, "", &index, self.stores_quads());
    }

    fn along_k(&self) -> [bool; 2] {
        [self.lhs.along_k(), self.rhs.along_k()]
    }

    fn quads(&self) -> [bool; 2] {
        [self.lhs.quads(), self.rhs.quads()]
    }

    fn halves(&self) -> [Option<&'static str>; 2] {
        [self.lhs.place.packed(), self.rhs.place.packed()]
    }

    fn stores_quads(&self) -> bool {
        self.target.takes_quads() && self.sizes.n.is_multiple_of(4)
    }
}

/// The axes of a product.
pub struct DotAxes<'a> {
    pub lhs_batch: &'a [usize],
    pub rhs_batch: &'a [usize],
    pub lhs_contract: &'a [usize],
    pub rhs_contract: &'a [usize],
}

/// A product of two arguments.
pub struct Dot<'a> {
    product: Product<'a>,
    means: Means,
}

impl<'a> Dot<'a> {
    pub fn new(
        axes: &DotAxes<'_>,
        args: &[Argument],
        places: [Where; 2],
        target: Target<'a>,
        means: Means,
    ) -> Dot<'a> {
        let lhs = Side::new(&args[0], places[0], axes.lhs_batch, axes.lhs_contract);
        let rhs = Side::new(&args[1], places[1], axes.rhs_batch, axes.rhs_contract);
        let sizes =
            Sizes { z: lhs.batch.count(), m: lhs.free.count(), n: rhs.free.count(), k: lhs.contract.count() };
        Dot { product: Product { lhs, rhs, target, sizes }, means }
    }

    /// What there is to choose.
    pub fn tunable(&self) -> Tunable {
        let sizes = self.product.sizes;
        let lie = |side: &Side| {
            let along = if side.along_k() { "k" } else { "m" };
            let quads = if side.quads() { "4" } else { "" };
            let halves = if side.place.is_packed { "h" } else { "" };
            format!("{along}{quads}{halves}")
        };
        let Sizes { z, m, n, k } = sizes;
        let [z, m, n, k] = [z, m, n, k].map(step);
        let (lhs, rhs) = (lie(&self.product.lhs), lie(&self.product.rhs));
        tunable(format!("dot-{z}-{m}-{n}-{k}-{lhs}-{rhs}"), sizes, self.means)
    }

    /// The dispatches, and the words of scratch memory that they need.
    pub fn dispatches(&self, label: &str, pick: Pick) -> (Vec<Dispatch>, usize) {
        dispatches(label, self.product.sizes, &self.product, 0, (self.means, pick))
    }
}
