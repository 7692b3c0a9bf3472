//! Convolutions as contractions whose operands are gathered on the way.

use super::contraction::{Operands, Sizes, dispatches};
use super::movement::per_element;
use super::shader::{BufferId, Dispatch, Shader, Slot, Where};
use dropforge_ir::{ConvolutionWindow, DType};

/// Which of the three tensors of a convolution is computed from the other two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// The output, from x and the filter.
    Forward,
    /// The gradient of x, from the output's and the filter.
    Input,
    /// The gradient of the filter, from x and the output's.
    Filter,
}

/// A convolution with all its extents.
pub(crate) struct Convolution<'a> {
    pub direction: Direction,
    pub window: &'a ConvolutionWindow,
    /// `[batch, in, h, w]`
    pub x: [usize; 4],
    /// `[out, in / groups, kh, kw]`
    pub filter: [usize; 4],
    /// `[batch, out, oh, ow]`
    pub output: [usize; 4],
    /// The arguments in the operation's order, then the result.
    pub places: [Where; 3],
}

impl Convolution<'_> {
    /// The dispatches, and the words of scratch memory that they need.
    pub fn dispatches(&self, label: &str) -> (Vec<Dispatch>, usize) {
        if let Some(direct) = self.direct(label) {
            return (vec![direct], 0);
        }
        let Sizes { z, m, n, k } = self.sizes();
        // Tiles read filters with neighbouring channels of the result side by side; for the gradient of x they are brought
        // into that order first.
        let words = z * m * k;
        if self.direction != Direction::Input || words == 0 || words > n * m {
            return dispatches(label, self.sizes(), self, 0);
        }
        let turned = Turned(self);
        let (mut all, scratch) = dispatches(label, self.sizes(), &turned, words);
        all.insert(0, turned.turn(&format!("{label}, turned filters")));
        (all, scratch)
    }

    fn out_per_group(&self) -> usize {
        self.filter[0] / self.window.groups
    }

    pub(super) fn sizes(&self) -> Sizes {
        let (inner, taps) = (self.filter[1], self.filter[2] * self.filter[3]);
        let (pixels, positions) = (self.x[2] * self.x[3], self.output[2] * self.output[3]);
        let batch = self.x[0];
        let (m, n, k) = match self.direction {
            Direction::Forward => (self.out_per_group(), batch * positions, inner * taps),
            Direction::Input => (inner, batch * pixels, self.out_per_group() * taps),
            Direction::Filter => (self.out_per_group(), inner * taps, batch * positions),
        };
        Sizes { z: self.window.groups, m, n, k }
    }

    /// Element of the filter for the output channel `o` within group `z`, input channel `i` of the group and tap `t`.
    fn filter_index(&self, o: &str, i: &str, t: &str) -> String {
        let taps = self.filter[2] * self.filter[3];
        format!("(((z * {}u + {o}) * {}u + {i}) * {taps}u + {t})", self.out_per_group(), self.filter[1])
    }

    /// Element of the output for image `b`, channel `o` within group `z` and position `p`.
    pub(super) fn output_index(&self, b: &str, o: &str, p: &str) -> String {
        let positions = self.output[2] * self.output[3];
        format!("(({b} * {}u + z * {}u + {o}) * {positions}u + {p})", self.output[1], self.out_per_group())
    }

    /// The statements that give the row and column of x that tap `t` meets at position `p`; both wrap below 0.
    fn meet(&self, t: &str, p: &str) -> String {
        let w = self.window;
        let (kw, ow) = (self.filter[3], self.output[3]);
        format!(
            "let y = ({p} / {ow}u) * {}u + ({t} / {kw}u) * {}u - {}u; let x = ({p} % {ow}u) * {}u + ({t} % {kw}u) * {}u - {}u;",
            w.stride[0], w.dilation[0], w.low[0], w.stride[1], w.dilation[1], w.low[1]
        )
    }

    /// Whether some tap meets padding.
    fn is_padded(&self) -> bool {
        let reach = |axis: usize| {
            (self.output[2 + axis].max(1) - 1) * self.window.stride[axis]
                + (self.filter[2 + axis].max(1) - 1) * self.window.dilation[axis]
                >= self.x[2 + axis] + self.window.low[axis]
        };
        self.window.low != [0, 0] || reach(0) || reach(1)
    }

    /// The statement that gives 0 outside x.
    fn guard(&self) -> String {
        if self.is_padded() {
            format!("if (y >= {}u || x >= {}u) {{ return 0.0; }}", self.x[2], self.x[3])
        } else {
            String::new()
        }
    }

    /// The function `load_b` of the gradient of x.
    fn load_gradient(&self, slot: &Slot) -> String {
        let (pixels, taps, w) = ((self.x[2] * self.x[3]).max(1), self.taps(), self.window);
        let mut find = format!(
            "let o = k / {taps}u; let t = k % {taps}u; let b = n / {pixels}u; let q = n % {pixels}u; \
             var y = q / {}u + {}u - (t / {}u) * {}u; var x = q % {}u + {}u - (t % {}u) * {}u;",
            self.x[3],
            w.low[0],
            self.filter[3],
            w.dilation[0],
            self.x[3],
            w.low[1],
            self.filter[3],
            w.dilation[1]
        );
        // Below 0 wraps to beyond any extent, before and after the division by a stride.
        for (axis, name) in ["y", "x"].into_iter().enumerate() {
            let stride = w.stride[axis];
            if stride > 1 {
                find += &format!(
                    " if ({name} > 0x7fffffffu || {name} % {stride}u != 0u) {{ return 0.0; }} {name} = {name} / {stride}u;"
                );
            }
        }
        let (rows, columns) = (self.output[2], self.output[3]);
        find += &format!(" if (y >= {rows}u || x >= {columns}u) {{ return 0.0; }}");
        let load = slot.load(DType::F32, &self.output_index("b", "o", &format!("(y * {columns}u + x)")));
        format!("fn load_b(z: u32, k: u32, n: u32) -> f32 {{ {find} return {load}; }}")
    }

    fn x_index(&self, b: &str, i: &str) -> String {
        let [_, channels, h, w] = self.x;
        let inner = self.filter[1];
        format!("((({b} * {channels}u + z * {inner}u + {i}) * {h}u + y) * {w}u + x)")
    }

    pub(super) fn positions(&self) -> usize {
        (self.output[2] * self.output[3]).max(1)
    }

    fn taps(&self) -> usize {
        (self.filter[2] * self.filter[3]).max(1)
    }
}

/// The gradient of x with filters in scratch memory, ordered by group, k and channel of x.
struct Turned<'a, 'b>(&'b Convolution<'a>);

impl Turned<'_, '_> {
    const SCRATCH: Where = Where { buffer: BufferId::Scratch, word: 0 };

    fn turn(&self, label: &str) -> Dispatch {
        let Sizes { z, m, k, .. } = self.0.sizes();
        let mut shader = Shader::default();
        self.0.loads(&mut shader);
        let scratch = shader.operand(Turned::SCRATCH, true);
        let body = [
            format!("let m = i % {m}u; let k = (i / {m}u) % {k}u; let z = i / {}u;", m * k),
            scratch.store(DType::F32, "i", "load_a(z, m, k)"),
        ];
        per_element(shader, label, z * m * k, &body)
    }
}

impl Operands for Turned<'_, '_> {
    fn loads(&self, shader: &mut Shader) {
        let Sizes { m, k, .. } = self.0.sizes();
        let scratch = shader.operand(Turned::SCRATCH, false);
        let gradient = shader.operand(self.0.places[0], false);
        let load = scratch.load(DType::F32, &format!("((z * {k}u + k) * {m}u + m)"));
        shader.line_head(&format!("fn load_a(z: u32, m: u32, k: u32) -> f32 {{ return {load}; }}"));
        shader.line_head(&self.0.load_gradient(&gradient));
    }

    fn stores(&self, shader: &mut Shader) {
        self.0.stores(shader);
    }

    fn along_k(&self) -> [bool; 2] {
        [false, false]
    }
}

impl Operands for Convolution<'_> {
    fn loads(&self, shader: &mut Shader) {
        let (positions, taps) = (self.positions(), self.taps());
        let [first, second] = [self.places[0], self.places[1]].map(|place| shader.operand(place, false));
        let head_a = "fn load_a(z: u32, m: u32, k: u32) -> f32 {";
        let head_b = "fn load_b(z: u32, k: u32, n: u32) -> f32 {";
        let (a, b) = match self.direction {
            Direction::Forward => {
                let (meet, guard) = (self.meet("t", "p"), self.guard());
                let index = self.x_index("b", "i");
                (
                    format!("return {};", second.load(DType::F32, &self.filter_index("m", "0u", "k"))),
                    format!(
                        "let b = n / {positions}u; let p = n % {positions}u; let i = k / {taps}u; let t = k % {taps}u; \
                         {meet} {guard} return {};",
                        first.load(DType::F32, &index)
                    ),
                )
            }
            Direction::Filter => {
                let (meet, guard) = (self.meet("t", "p"), self.guard());
                let split = format!("let b = k / {positions}u; let p = k % {positions}u;");
                (
                    format!("{split} return {};", second.load(DType::F32, &self.output_index("b", "m", "p"))),
                    format!(
                        "{split} let i = n / {taps}u; let t = n % {taps}u; {meet} {guard} return {};",
                        first.load(DType::F32, &self.x_index("b", "i"))
                    ),
                )
            }
            Direction::Input => {
                let split = format!("let o = k / {taps}u; let t = k % {taps}u;");
                let load = second.load(DType::F32, &self.filter_index("o", "m", "t"));
                shader.line_head(&format!("{head_a} {split} return {load}; }}"));
                shader.line_head(&self.load_gradient(&first));
                return;
            }
        };
        shader.line_head(&format!("{head_a} {a} }}"));
        shader.line_head(&format!("{head_b} {b} }}"));
    }

    fn stores(&self, shader: &mut Shader) {
        let slot = shader.operand(self.places[2], true);
        let positions = self.positions();
        let index = match self.direction {
            Direction::Forward => {
                self.output_index(&format!("(n / {positions}u)"), "m", &format!("(n % {positions}u)"))
            }
            Direction::Filter => self.filter_index("m", "0u", "n"),
            Direction::Input => {
                let pixels = (self.x[2] * self.x[3]).max(1);
                format!(
                    "(((n / {pixels}u) * {}u + z * {}u + m) * {pixels}u + n % {pixels}u)",
                    self.x[1], self.filter[1]
                )
            }
        };
        let store = slot.store(DType::F32, &index, "value");
        shader.line_head(&format!("fn store(z: u32, m: u32, n: u32, value: f32) {{ {store} }}"));
    }

    fn along_k(&self) -> [bool; 2] {
        match self.direction {
            Direction::Forward => [true, false],
            // Taps of one filter, and neighbouring pixels.
            Direction::Input => [true, false],
            Direction::Filter => [true, true],
        }
    }
}
