//! Convolutions as contractions whose operands are gathered on the way.

use super::contraction::{Operands, Sizes, dispatches, print_finish, tunable};
use super::epilogue::Target;
use super::index::constant;
use super::movement::per_element;
use super::pick::{Means, Pick, Tunable, step};
use super::shader::{BufferId, Dispatch, Shader, Where};
use dropforge_ir::ConvolutionWindow;

/// Which of the three tensors of a convolution is computed from the other two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The output, from x and the filter.
    Forward,
    /// The gradient of x, from the output's and the filter.
    Input,
    /// The gradient of the filter, from x and the output's.
    Filter,
}

/// A convolution with all its extents.
pub struct Convolution<'a> {
    pub direction: Direction,
    pub window: &'a ConvolutionWindow,
    /// `[batch, in, h, w]`
    pub x: [usize; 4],
    /// `[out, in / groups, kh, kw]`
    pub filter: [usize; 4],
    /// `[batch, out, oh, ow]`
    pub output: [usize; 4],
    /// The arguments in the operation's order.
    pub places: [Where; 2],
    pub target: Target<'a>,
    pub means: Means,
}

impl Convolution<'_> {
    /// The dispatches, and the words of scratch memory that they need.
    pub fn dispatches(&self, label: &str, pick: Pick) -> (Vec<Dispatch>, usize) {
        if self.is_direct() {
            return (vec![self.direct(label)], 0);
        }
        let Some(depth) = pick.depth() else { return (Vec::new(), 0) };
        let Sizes { z, m, k, .. } = self.sizes();
        let elements = if self.is_turned() { z * m * k } else { 0 };
        let words = if self.turned().is_packed { elements.div_ceil(2) } else { elements };
        let (mut all, mut scratch) = (Vec::new(), words);
        if self.is_turned() {
            all.push(self.turn(&format!("{label}, turned filters")));
        }
        for phase in self.phases() {
            let gathered = Gathered { convolution: self, phase, depth };
            let (more, end) = dispatches(label, gathered.sizes(), &gathered, words, (self.means, pick));
            all.extend(more);
            scratch = scratch.max(end);
        }
        (all, scratch)
    }

    /// What there is to choose.
    pub fn tunable(&self) -> Tunable {
        let sizes = self.sizes();
        let phase = |phase| Gathered { convolution: self, phase, depth: 0 }.sizes();
        let largest = self.phases().into_iter().map(phase).max_by_key(|phase| phase.k);
        let Sizes { z, m, n, k } = largest.unwrap_or(sizes);
        let stride = self.window.stride.iter().product::<usize>();
        let [zs, ms, ns, ks] = [z, m, n, k].map(step);
        let (direction, taps) = (self.direction, self.taps());
        let halves = if self.places.iter().any(|place| place.is_packed) { "-h" } else { "" };
        let class = format!("convolution-{direction:?}-{zs}-{ms}-{ns}-{ks}-{taps}-{stride}{halves}");
        let flops = if self.is_direct() { 0.0 } else { sizes.flops() };
        Tunable { flops, ..tunable(class, Sizes { z, m, n, k }, self.means) }
    }

    /// Whether filters are brought into another order first.
    fn is_turned(&self) -> bool {
        let Sizes { z, m, n, k } = self.sizes();
        self.direction != Direction::Filter && n >= LEAST_TURNED && z * m * k > 0
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

    /// Channels that are summed over.
    fn channels(&self) -> usize {
        if self.direction == Direction::Forward { self.filter[1] } else { self.out_per_group() }
    }

    /// The contractions that this convolution consists of: one, but for the gradient of x with strides, where each
    /// class of pixels meets taps of its own.
    fn phases(&self) -> Vec<[Phase; 2]> {
        let axis = |axis: usize| -> Vec<Phase> {
            if self.direction != Direction::Input {
                return vec![Phase::all(self.filter[2 + axis])];
            }
            let stride = self.window.stride[axis];
            (0..stride.min(self.x[2 + axis])).map(|first| self.phase(axis, first)).collect()
        };
        let columns = axis(1);
        axis(0).into_iter().flat_map(|y| columns.iter().map(move |&x| [y, x])).collect()
    }

    fn phase(&self, axis: usize, first: usize) -> Phase {
        let window = self.window;
        let (stride, dilation) = (window.stride[axis], window.dilation[axis]);
        let at = |tap: usize| (first + window.low[axis]) as i64 - (tap * dilation) as i64;
        let meets: Vec<usize> =
            (0..self.filter[2 + axis]).filter(|&tap| at(tap) % stride as i64 == 0).collect();
        let first_tap = meets.first().copied().unwrap_or(0);
        let tap_step = meets.get(1).map_or(1, |second| second - first_tap);
        Phase {
            first,
            extent: self.x[2 + axis].saturating_sub(first).div_ceil(stride),
            taps: meets.len(),
            first_tap,
            tap_step,
            start: at(first_tap).div_euclid(stride as i64),
            step: tap_step * dilation / stride,
        }
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

    /// The statement that gives 0 of a type outside x.
    fn guard(&self, ty: &str) -> String {
        if self.is_padded() {
            format!("if (y >= {}u || x >= {}u) {{ return {ty}(0.0); }}", self.x[2], self.x[3])
        } else {
            String::new()
        }
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

    /// Adds `load_filter(z, c, t, m)`: what joins the summed channel `c` and channel `m` of the result at tap `t`.
    pub(super) fn load_filter(&self, shader: &mut Shader) {
        let slot = shader.operand(self.places[1], false);
        let index = match self.direction {
            Direction::Forward => self.filter_index("m", "c", "t"),
            _ => self.filter_index("c", "m", "t"),
        };
        let load = slot.load(&index);
        shader.line_head(&format!(
            "fn load_filter(z: u32, c: u32, t: u32, m: u32) -> f32 {{ return {load}; }}"
        ));
    }

    /// Where turned filters lie.
    fn turned(&self) -> Where {
        Where { buffer: BufferId::Scratch, first: 0, ..self.places[1] }
    }

    /// Brings filters into scratch memory, ordered by group, tap, summed channel and channel of the result, so that
    /// tiles find neighbouring channels of the result side by side.
    fn turn(&self, label: &str) -> Dispatch {
        let Sizes { z, m, k, .. } = self.sizes();
        let (channels, taps) = (self.channels(), self.taps());
        let mut shader = Shader::default();
        self.load_filter(&mut shader);
        let scratch = shader.operand(self.turned(), true);
        let body = [
            format!("let m = i % {m}u; let c = (i / {m}u) % {channels}u;"),
            format!("let t = (i / {}u) % {taps}u; let z = i / {}u;", m * channels, m * k),
            scratch.store("i", "load_filter(z, c, t, m)"),
        ];
        per_element(shader, label, z * m * k, &body)
    }
}

/// From how many positions of the result on filters are turned first.
const LEAST_TURNED: usize = 1024;

/// The pixels along one axis that meet the same taps, and these taps. For other directions than the gradient of x, all
/// taps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Phase {
    /// First pixel; the next is a stride away.
    first: usize,
    /// Number of pixels.
    extent: usize,
    /// Number of taps, the first and the step to the next.
    taps: usize,
    first_tap: usize,
    tap_step: usize,
    /// The position of the output that the first pixel meets with the first tap, and how far the next tap goes back.
    start: i64,
    step: usize,
}

impl Phase {
    fn all(taps: usize) -> Phase {
        Phase { first: 0, extent: 0, taps, first_tap: 0, tap_step: 1, start: 0, step: 1 }
    }
}

/// A convolution, or a phase of it, as a contraction.
struct Gathered<'a, 'b> {
    convolution: &'b Convolution<'a>,
    phase: [Phase; 2],
    /// Length of the tile's slices.
    depth: usize,
}

impl Gathered<'_, '_> {
    fn sizes(&self) -> Sizes {
        let whole = self.convolution.sizes();
        if self.convolution.direction != Direction::Input {
            return whole;
        }
        let [y, x] = self.phase;
        let n = self.convolution.x[0] * y.extent * x.extent;
        Sizes { n, k: self.convolution.channels() * y.taps * x.taps, ..whole }
    }

    /// The statements that split k into the summed channel `c` and the number `j` of the tap. Taps come first where
    /// slices do not cross channels: a whole slice then meets the same pixels.
    fn split(&self) -> String {
        let (channels, taps) =
            (self.convolution.channels(), (self.phase[0].taps * self.phase[1].taps).max(1));
        if channels > 0 && channels.is_multiple_of(self.depth) {
            format!("let j = k0 / {channels}u; let c = k0 % {channels}u + dk;")
        } else {
            format!("let k = k0 + dk; let c = k / {taps}u; let j = k % {taps}u;")
        }
    }

    /// The number of tap `j` in the filter.
    fn tap(&self) -> String {
        let [y, x] = self.phase;
        let kw = self.convolution.filter[3];
        if y.taps * x.taps == self.convolution.taps() {
            return "let t = j;".into();
        }
        let across = x.taps.max(1);
        format!(
            "let t = ((j / {across}u) * {}u + {}u) * {kw}u + (j % {across}u) * {}u + {}u;",
            y.tap_step, y.first_tap, x.tap_step, x.first_tap
        )
    }

    fn load_filters(&self, shader: &mut Shader) {
        let convolution = self.convolution;
        let (split, tap) = (self.split(), self.tap());
        let takes = "(z: u32, k0: u32, dk: u32, m: u32)";
        if !self.convolution.is_turned() {
            convolution.load_filter(shader);
            shader.line_head(&format!(
                "fn load_a{takes} -> f32 {{ {split} {tap} return load_filter(z, c, t, m); }}"
            ));
            return;
        }
        let scratch = shader.operand(convolution.turned(), false);
        let m = convolution.sizes().m;
        let index =
            format!("(((z * {}u + t) * {}u + c) * {m}u + m)", convolution.taps(), convolution.channels());
        let (one, ty) = (scratch.fetch(&index), scratch.fetched());
        shader.line_head(&format!("fn load_a{takes} -> {ty} {{ {split} {tap} return {one}; }}"));
        if m.is_multiple_of(4) {
            let four = scratch.fetch_four(&index);
            shader.line_head(&format!("fn load_a4{takes} -> vec4<{ty}> {{ {split} {tap} return {four}; }}"));
        }
    }

    /// The function `load_b` of the gradient of x.
    fn load_gradient(&self, shader: &mut Shader) {
        let convolution = self.convolution;
        let slot = shader.operand(convolution.places[0], false);
        let [y, x] = self.phase;
        let (rows, columns) = (convolution.output[2], convolution.output[3]);
        let pixel = self.pixel();
        let split = self.split();
        let across = x.taps.max(1);
        // Below 0 wraps to beyond any extent.
        let load = slot.fetch(&convolution.output_index("b", "c", &format!("(oy * {columns}u + ox)")));
        let ty = slot.fetched();
        shader.line_head(&format!(
            "fn load_b(z: u32, k0: u32, dk: u32, n: u32) -> {ty} {{ {split} {pixel} \
             let oy = py + {} - (j / {across}u) * {}u; let ox = px + {} - (j % {across}u) * {}u; \
             if (oy >= {rows}u || ox >= {columns}u) {{ return {ty}(0.0); }} return {load}; }}",
            constant(y.start),
            y.step,
            constant(x.start),
            x.step
        ));
    }

    /// The statements that split `n` into image, row and column of the phase.
    fn pixel(&self) -> String {
        let [height, width] = self.phase.map(|phase| phase.extent.max(1));
        format!(
            "let b = n / {}u; let py = (n / {width}u) % {height}u; let px = n % {width}u;",
            height * width
        )
    }
}

impl Operands for Gathered<'_, '_> {
    fn prepare(&self, shader: &mut Shader, loads: bool, stores: bool) {
        if loads && self.quads()[0] {
            shader.bind_as_quads(self.convolution.turned());
        }
        if stores && self.stores_quads() {
            self.convolution.target.prepare(shader);
        }
    }

    fn loads(&self, shader: &mut Shader) {
        let convolution = self.convolution;
        let (positions, taps) = (convolution.positions(), convolution.taps());
        let meet = convolution.meet("t", "p");
        match convolution.direction {
            Direction::Input => {
                self.load_filters(shader);
                self.load_gradient(shader);
            }
            Direction::Forward => {
                self.load_filters(shader);
                let (split, tap) = (self.split(), self.tap());
                let slot = shader.operand(convolution.places[0], false);
                let (load, ty) = (slot.fetch(&convolution.x_index("b", "c")), slot.fetched());
                let guard = convolution.guard(ty);
                shader.line_head(&format!(
                    "fn load_b(z: u32, k0: u32, dk: u32, n: u32) -> {ty} {{ {split} {tap} \
                     let b = n / {positions}u; let p = n % {positions}u; {meet} {guard} return {load}; }}"
                ));
            }
            Direction::Filter => {
                let [image, output] = [0, 1].map(|index| shader.operand(convolution.places[index], false));
                let split = format!("let k = k0 + dk; let b = k / {positions}u; let p = k % {positions}u;");
                let a = output.fetch(&convolution.output_index("b", "m", "p"));
                let b = image.fetch(&convolution.x_index("b", "i"));
                let [a_type, b_type] = [output.fetched(), image.fetched()];
                let guard = convolution.guard(b_type);
                shader.line_head(&format!(
                    "fn load_a(z: u32, k0: u32, dk: u32, m: u32) -> {a_type} {{ {split} return {a}; }}"
                ));
                shader.line_head(&format!(
                    "fn load_b(z: u32, k0: u32, dk: u32, n: u32) -> {b_type} {{ {split} \
                     let i = n / {taps}u; let t = n % {taps}u; {meet} {guard} return {b}; }}"
                ));
            }
        }
    }

    fn stores(&self, shader: &mut Shader) {
        let convolution = self.convolution;
        let positions = convolution.positions();
        let (find, index) = match convolution.direction {
            Direction::Forward => {
                let (b, p) = (format!("(n / {positions}u)"), format!("(n % {positions}u)"));
                (String::new(), convolution.output_index(&b, "m", &p))
            }
            Direction::Filter => (String::new(), convolution.filter_index("m", "0u", "n")),
            Direction::Input => {
                let ([y, x], stride) = (self.phase, convolution.window.stride);
                let find = format!(
                    "{} let y = py * {}u + {}u; let x = px * {}u + {}u;",
                    self.pixel(),
                    stride[0],
                    y.first,
                    stride[1],
                    x.first
                );
                (find, convolution.x_index("b", "m"))
            }
        };
        print_finish(shader, &convolution.target, &find, &index, self.stores_quads());
    }

    /// Whether neighbours along n are neighbours in memory, four at a time.
    fn stores_quads(&self) -> bool {
        let convolution = self.convolution;
        let together = match convolution.direction {
            Direction::Forward => convolution.positions(),
            Direction::Filter => convolution.sizes().n,
            Direction::Input if convolution.window.stride == [1, 1] => convolution.x[2] * convolution.x[3],
            Direction::Input => 1,
        };
        together.is_multiple_of(4) && convolution.target.takes_quads()
    }

    fn along_k(&self) -> [bool; 2] {
        match self.convolution.direction {
            // Taps of one filter, unless it was turned, and neighbouring positions.
            Direction::Forward | Direction::Input => [!self.convolution.is_turned(), false],
            Direction::Filter => [true, true],
        }
    }

    fn halves(&self) -> [Option<&'static str>; 2] {
        let places = self.convolution.places;
        let first = match self.convolution.direction {
            Direction::Filter => places[1].packed(),
            _ => self.convolution.turned().packed().filter(|_| self.convolution.is_turned()),
        };
        [first, places[0].packed()]
    }

    fn quads(&self) -> [bool; 2] {
        [self.convolution.is_turned() && self.convolution.sizes().m.is_multiple_of(4), false]
    }
}
