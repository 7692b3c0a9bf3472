//! Convolutions with few channels per group: a thread per position keeps the sums of all channels, and filters lie in
//! workgroup memory. Each element of the image is loaded once for all channels of the result, without the detour
//! over tiles.

use super::convolution::{Convolution, Direction};
use super::shader::{Dispatch, Shader};

/// Threads of a workgroup.
const THREADS: usize = 128;
/// Most channels of a result whose sums a thread keeps.
const MOST_CHANNELS: usize = 32;
/// Quads of filters in workgroup memory: 16 KiB.
const FILTER_QUADS: usize = 1024;
/// Fewer positions than this do not keep a large device busy; long sums are then better split.
const FEW_POSITIONS: usize = 8192;
/// What counts as a long sum.
const LONG_SUM: usize = 512;

impl Convolution<'_> {
    /// Whether this form pays.
    pub fn is_direct(&self) -> bool {
        let sizes = self.sizes();
        let taps = self.filter[2] * self.filter[3];
        self.direction != Direction::Filter
            && sizes.m <= MOST_CHANNELS
            && (sizes.n >= FEW_POSITIONS || sizes.k <= LONG_SUM)
            && taps * sizes.m.div_ceil(4) <= FILTER_QUADS
            && sizes.z * sizes.m * sizes.n * sizes.k > 0
    }

    /// The dispatch of this form.
    pub fn direct(&self, label: &str) -> Dispatch {
        let sizes = self.sizes();
        let taps = self.filter[2] * self.filter[3];
        let quads = sizes.m.div_ceil(4);
        let channels = sizes.k / taps;
        let together = (FILTER_QUADS / (taps * quads)).clamp(1, channels);
        let mut shader = Shader::default();
        self.load_filter(&mut shader);
        self.target.print(&mut shader, false);
        let groups = sizes.n.div_ceil(THREADS);
        shader.line_head(&format!("var<workgroup> filters: array<vec4<f32>, {}>;", together * taps * quads));
        shader.line(&format!("let z = wg / {groups}u; let n = (wg % {groups}u) * {THREADS}u + lid;"));
        shader.line(&format!("let inside = n < {}u; let position = min(n, {}u);", sizes.n, sizes.n - 1));
        self.origin(&mut shader);
        for quad in 0..quads {
            shader.line(&format!("var sum{quad} = vec4<f32>(0.0);"));
        }
        shader.line(&format!("for (var first = 0u; first < {channels}u; first += {together}u) {{"));
        shader.line(&format!("let count = min({together}u, {channels}u - first);"));
        shader.line("workgroupBarrier();");
        shader.line(&format!("for (var e = lid; e < count * {}u; e += {THREADS}u) {{", taps * quads));
        shader.line(&format!(
            "let m = (e % {quads}u) * 4u; let c = first + e / {}u; let t = (e / {quads}u) % {taps}u;",
            taps * quads
        ));
        shader.line("var f = vec4<f32>(0.0);");
        for component in 0..4 {
            let m = format!("m + {component}u");
            shader
                .line(&format!("if ({m} < {}u) {{ f[{component}] = load_filter(z, c, t, {m}); }}", sizes.m));
        }
        shader.line("filters[e] = f; }");
        shader.line("workgroupBarrier();");
        shader.line("for (var channel = 0u; channel < count; channel++) {");
        shader.line(&format!("let plane = {};", self.plane("(first + channel)")));
        shader.line(&format!("for (var ky = 0u; ky < {}u; ky++) {{", self.filter[2]));
        self.step(&mut shader, 0, "y", "ky");
        shader.line(&format!("for (var kx = 0u; kx < {}u; kx++) {{", self.filter[3]));
        self.step(&mut shader, 1, "x", "kx");
        let width = if self.direction == Direction::Forward { self.x[3] } else { self.output[3] };
        shader.line("var v = 0.0;");
        let load = format!("load_image(plane + y * {width}u + x)");
        shader.line(&format!("if (y_meets && x_meets) {{ v = {load}; }}"));
        shader.line(&format!("let at = (channel * {taps}u + ky * {}u + kx) * {quads}u;", self.filter[3]));
        for quad in 0..quads {
            shader.line(&format!("sum{quad} = fma(vec4<f32>(v), filters[at + {quad}u], sum{quad});"));
        }
        shader.line("} } } }");
        shader.line("if (inside) {");
        for m in 0..sizes.m {
            let index = match self.direction {
                Direction::Forward => self.output_index("image", &format!("{m}u"), "p"),
                _ => format!("({} + p)", self.x_plane(&format!("{m}u"))),
            };
            let value = format!("sum{}.{}", m / 4, ["x", "y", "z", "w"][m % 4]);
            shader.line(&format!("finish({index}, {value});"));
        }
        shader.line("}");
        let slot = shader.operand(self.places[0], false);
        let load = slot.load("i");
        shader.line_head(&format!("fn load_image(i: u32) -> f32 {{ return {load}; }}"));
        shader.finish(label, THREADS, groups * sizes.z)
    }

    /// The image, and the row and column from which steps count, for this thread's position. Rows and columns before
    /// the first wrap to beyond the last.
    fn origin(&self, shader: &mut Shader) {
        let window = self.window;
        match self.direction {
            Direction::Forward => {
                let (positions, width) = (self.positions(), self.output[3]);
                shader
                    .line(&format!("let image = position / {positions}u; let p = position % {positions}u;"));
                shader.line(&format!(
                    "let y0 = (p / {width}u) * {}u - {}u; let x0 = (p % {width}u) * {}u - {}u;",
                    window.stride[0], window.low[0], window.stride[1], window.low[1]
                ));
            }
            _ => {
                let (pixels, width) = (self.x[2] * self.x[3], self.x[3]);
                shader.line(&format!("let image = position / {pixels}u; let p = position % {pixels}u;"));
                shader.line(&format!(
                    "let y0 = p / {width}u + {}u; let x0 = p % {width}u + {}u;",
                    window.low[0], window.low[1]
                ));
            }
        }
    }

    /// First element of the plane of a channel of this thread's image and group.
    fn plane(&self, channel: &str) -> String {
        match self.direction {
            Direction::Forward => self.x_plane(channel),
            _ => format!("({})", self.output_index("image", channel, "0u")),
        }
    }

    /// First element of channel `channel` of x, of this thread's image and group.
    fn x_plane(&self, channel: &str) -> String {
        let [_, channels, height, width] = self.x;
        format!("(image * {channels}u + z * {}u + {channel}) * {}u", self.filter[1], height * width)
    }

    /// Where tap `tap` meets an axis, and whether it does.
    fn step(&self, shader: &mut Shader, axis: usize, name: &str, tap: &str) {
        let window = self.window;
        let (stride, dilation) = (window.stride[axis], window.dilation[axis]);
        match self.direction {
            Direction::Forward => {
                shader.line(&format!("let {name} = {name}0 + {tap} * {dilation}u;"));
                shader.line(&format!("let {name}_meets = {name} < {}u;", self.x[2 + axis]));
            }
            _ if stride == 1 => {
                shader.line(&format!("let {name} = {name}0 - {tap} * {dilation}u;"));
                shader.line(&format!("let {name}_meets = {name} < {}u;", self.output[2 + axis]));
            }
            _ => {
                let extent = self.output[2 + axis];
                shader.line(&format!("let {name}_wide = {name}0 - {tap} * {dilation}u;"));
                shader.line(&format!("let {name} = {name}_wide / {stride}u;"));
                shader.line(&format!(
                    "let {name}_meets = {name}_wide % {stride}u == 0u && {name}_wide < 0x80000000u && {name} < {extent}u;"
                ));
            }
        }
    }
}
