//! Tiles of scores: what the three kernels of attention have in common.
//!
//! A workgroup owns some rows (queries, or keys for their gradients) and goes over the other side in tiles of columns.
//! Each thread keeps a small block of the tile of scores, and a small block of what its rows gather. Two products do
//! all the work: rows with columns over the numbers of a head ([`Tiles::scores`]), and scores with the columns' numbers
//! ([`Tiles::gather`]). Both bring their operands through workgroup memory in slices, the next one on its way to
//! registers while the present one is multiplied.

use super::movement::Source;
use super::shader::{Shader, Slot};
use crate::tuning::AttentionTile;

/// Columns of a tile.
pub(super) const COLUMNS: usize = 64;
/// Threads that share the columns of a tile; each has four.
const ACROSS: usize = COLUMNS / 4;
/// Quads of workgroup memory from one column of scores to the next, beyond the rows, so that columns meet other banks.
const PAD: usize = 1;

pub(super) const COMPONENTS: [&str; 4] = ["x", "y", "z", "w"];

/// The head of one source: an expression of its first element, and the steps to the next row and number.
pub(super) struct Side<'a> {
    source: &'a Source<'a>,
    base: String,
    rows: usize,
}

impl<'a> Side<'a> {
    /// Declares `base_{name}` for the head `head` of an argument `[batch, heads, rows, numbers]`.
    pub fn new(shader: &mut Shader, name: &str, source: &'a Source<'a>) -> Side<'a> {
        let shape = &source.argument.ty.shape;
        let zero = || "0u".to_string();
        let heads = shape[1].max(1);
        let first = source.at(&[format!("head / {heads}u"), format!("head % {heads}u"), zero(), zero()]);
        let base = format!("base_{name}");
        shader.line(&format!("let {base} = {first};"));
        Side { source, base, rows: shape[2] }
    }

    /// Number `e` of row `row`.
    fn load(&self, row: &str, e: &str) -> String {
        let strides = &self.source.argument.strides;
        let index =
            format!("({} + {row} * {}u + {e} * {}u)", self.base, strides[2] as u32, strides[3] as u32);
        self.source.slot.load(&index)
    }
}

/// How a workgroup shares its tiles.
pub(super) struct Tiles {
    pub tile: AttentionTile,
    /// Numbers of a head.
    pub d: usize,
}

impl Tiles {
    pub fn threads(&self) -> usize {
        self.tile.rows / self.tile.each * ACROSS
    }

    /// Threads that share the numbers of a gathered row.
    fn gather_across(&self) -> usize {
        if self.d <= 32 && self.tile.each == 8 { 8 } else { ACROSS }
    }

    /// Rows of the gathered block of a thread.
    fn gather_each(&self) -> usize {
        self.tile.rows * self.gather_across() / self.threads()
    }

    /// Quads of a row of the gathered block of a thread.
    fn gather_quads(&self) -> usize {
        self.d.div_ceil(4 * self.gather_across())
    }

    /// Quads from one column of `slices` of rows, and of columns, to the next position along a head.
    fn row_quads(&self) -> usize {
        self.tile.rows / 4 + PAD
    }

    /// Columns whose numbers are in workgroup memory at once while scores gather them.
    fn gather_depth(&self) -> usize {
        let quads = (self.gather_quads() * self.gather_across()).max(1);
        let fitting = (self.score_slices() / quads).max(1);
        // A power of two divides the columns.
        let depth = 1 << fitting.ilog2();
        depth.min(self.tile.depth)
    }

    fn score_slices(&self) -> usize {
        self.tile.depth * (self.row_quads() + COLUMNS / 4 + PAD)
    }

    /// Quads of the slices of operands in workgroup memory.
    fn slices(&self) -> usize {
        let gathered = self.gather_depth() * self.gather_quads() * self.gather_across();
        self.score_slices().max(gathered).max(ACROSS * self.row_quads())
    }

    /// Bytes of workgroup memory, with two tables of the rows.
    pub fn memory(&self) -> usize {
        (self.slices() + COLUMNS * self.row_quads() + 2 * self.tile.rows / 4) * 16
    }

    /// Declares workgroup memory, and which rows and columns are this thread's: in the tile of scores rows from
    /// `my_row` on and columns from `4 · across` on, in what is gathered rows from `my_gathered` on and quads from
    /// `my_quad` on.
    pub fn begin(&self, shader: &mut Shader) {
        shader.line_head(&format!("var<workgroup> slices: array<vec4<f32>, {}>;", self.slices()));
        shader
            .line_head(&format!("var<workgroup> weights: array<vec4<f32>, {}>;", COLUMNS * self.row_quads()));
        let each = self.tile.each;
        shader.line(&format!("let across = lid % {ACROSS}u; let my_row = (lid / {ACROSS}u) * {each}u;"));
        let (across, each) = (self.gather_across(), self.gather_each());
        shader
            .line(&format!("let my_quad = lid % {across}u; let my_gathered = (lid / {across}u) * {each}u;"));
    }

    /// Declares `{to}{i}`, a quad for each row of this thread: the products of its rows, from `first` on in `rows`,
    /// with its columns, from `start` on in `columns`.
    pub fn scores(&self, shader: &mut Shader, to: &str, rows: &Side<'_>, columns: &Side<'_>) {
        for i in 0..self.tile.each {
            shader.line(&format!("var {to}{i} = vec4<f32>(0.0);"));
        }
        if self.d == 0 {
            return;
        }
        let (depth, d, threads) = (self.tile.depth, self.d, self.threads());
        let sides = [
            ("r", "first", rows, self.tile.rows, self.row_quads(), 0),
            ("c", "start", columns, COLUMNS, COLUMNS / 4 + PAD, depth * self.row_quads()),
        ];
        shader.line("{");
        for (letter, _, _, extent, ..) in &sides {
            for i in 0..extent * depth / threads {
                shader.line(&format!("var f{letter}{i} = 0.0;"));
            }
        }
        let fetch = |shader: &mut Shader, base: &str| {
            for (letter, begin, side, extent, ..) in &sides {
                for i in 0..extent * depth / threads {
                    let at = i * threads;
                    let mut conditions = Vec::new();
                    if !side.rows.is_multiple_of(*extent) || *begin == "start" {
                        conditions.push(format!("row < {}u", side.rows));
                    }
                    if !d.is_multiple_of(depth) {
                        conditions.push(format!("e < {d}u"));
                    }
                    let load = side.load("row", "e");
                    let take = if conditions.is_empty() {
                        format!("f{letter}{i} = {load};")
                    } else {
                        format!(
                            "f{letter}{i} = 0.0; if ({}) {{ f{letter}{i} = {load}; }}",
                            conditions.join(" && ")
                        )
                    };
                    shader.line(&format!(
                        "{{ let row = {begin} + (lid + {at}u) / {depth}u; let e = {base} + (lid + {at}u) % {depth}u; {take} }}"
                    ));
                }
            }
        };
        fetch(shader, "0u");
        shader.line(&format!("for (var base = 0u; base < {d}u; base += {depth}u) {{"));
        shader.line("workgroupBarrier();");
        for (letter, _, _, extent, quads, offset) in &sides {
            for i in 0..extent * depth / threads {
                let at = i * threads;
                shader.line(&format!(
                    "{{ let x = (lid + {at}u) / {depth}u; let e = (lid + {at}u) % {depth}u; \
                     slices[{offset}u + e * {quads}u + (x >> 2u)][x & 3u] = f{letter}{i}; }}"
                ));
            }
        }
        shader.line("workgroupBarrier();");
        shader.line(&format!("if (base + {depth}u < {d}u) {{"));
        fetch(shader, &format!("base + {depth}u"));
        shader.line("}");
        shader.line(&format!("for (var e = 0u; e < {depth}u; e++) {{"));
        for i in 0..self.tile.each / 4 {
            shader.line(&format!("let a{i} = slices[e * {}u + (my_row >> 2u) + {i}u];", sides[0].4));
        }
        shader.line(&format!("let b = slices[{}u + e * {}u + across];", sides[1].5, sides[1].4));
        for i in 0..self.tile.each {
            shader.line(&format!("{to}{i} = fma(vec4<f32>(a{}.{}), b, {to}{i});", i / 4, COMPONENTS[i % 4]));
        }
        shader.line("} } }");
    }

    /// Hands the quads `{from}{i}` to whoever gathers; all of the workgroup has passed a barrier since the last
    /// gathering.
    pub fn keep(&self, shader: &mut Shader, from: &str) {
        // Columns lie in the order in which neighbouring threads meet different banks.
        for (c, component) in COMPONENTS.iter().enumerate() {
            for quad in 0..self.tile.each / 4 {
                let values: Vec<String> =
                    (0..4).map(|i| format!("{from}{}.{component}", quad * 4 + i)).collect();
                shader.line(&format!(
                    "weights[({}u + across) * {}u + (my_row >> 2u) + {quad}u] = vec4<f32>({});",
                    c * ACROSS,
                    self.row_quads(),
                    values.join(", ")
                ));
            }
        }
    }

    /// Declares `{name}{i}_{n}`, the block of what this thread gathers.
    pub fn declare(&self, shader: &mut Shader, name: &str) {
        self.for_gathered(shader, |i, n| format!("var {name}{i}_{n} = vec4<f32>(0.0);"));
    }

    /// A line for each quad of the gathered block of this thread.
    pub fn for_gathered(&self, shader: &mut Shader, line: impl Fn(usize, usize) -> String) {
        for i in 0..self.gather_each() {
            for n in 0..self.gather_quads() {
                shader.line(&line(i, n));
            }
        }
    }

    /// Adds the columns' numbers, from `start` on, times the scores that were kept.
    pub fn gather(&self, shader: &mut Shader, name: &str, columns: &Side<'_>) {
        if self.d == 0 {
            return;
        }
        let (depth, d, threads) = (self.gather_depth(), self.d, self.threads());
        let (across, quads) = (self.gather_across(), self.gather_quads());
        let rounds = (depth * d).div_ceil(threads);
        shader.line("{");
        for i in 0..rounds {
            shader.line(&format!("var f{i} = 0.0;"));
        }
        let fetch = |shader: &mut Shader, base: &str| {
            for i in 0..rounds {
                let at = format!("(lid + {}u)", i * threads);
                let mut conditions = vec![format!("row < {}u", columns.rows)];
                if !(depth * d).is_multiple_of(threads) {
                    conditions.push(format!("{at} < {}u", depth * d));
                }
                shader.line(&format!(
                    "{{ let p = {base} + {at} / {d}u; let row = start + (p % {ACROSS}u) * 4u + p / {ACROSS}u; \
                     f{i} = 0.0; if ({}) {{ f{i} = {}; }} }}",
                    conditions.join(" && "),
                    columns.load("row", &format!("({at} % {d}u)"))
                ));
            }
        };
        fetch(shader, "0u");
        shader.line(&format!("for (var base = 0u; base < {COLUMNS}u; base += {depth}u) {{"));
        shader.line("workgroupBarrier();");
        for i in 0..rounds {
            let at = format!("(lid + {}u)", i * threads);
            let inside = if (depth * d).is_multiple_of(threads) {
                String::new()
            } else {
                format!("if ({at} < {}u) ", depth * d)
            };
            shader.line(&format!(
                "{inside}{{ let e = {at} % {d}u; slices[({at} / {d}u) * {}u + (e >> 2u)][e & 3u] = f{i}; }}",
                across * quads
            ));
        }
        shader.line("workgroupBarrier();");
        shader.line(&format!("if (base + {depth}u < {COLUMNS}u) {{"));
        fetch(shader, &format!("base + {depth}u"));
        shader.line("}");
        shader.line(&format!("for (var j = 0u; j < {depth}u; j++) {{"));
        for i in 0..self.gather_each() / 4 {
            shader.line(&format!(
                "let a{i} = weights[(base + j) * {}u + (my_gathered >> 2u) + {i}u];",
                self.row_quads()
            ));
        }
        for n in 0..quads {
            shader.line(&format!("let b{n} = slices[j * {}u + my_quad + {}u];", across * quads, n * across));
        }
        self.for_gathered(shader, |i, n| {
            format!("{name}{i}_{n} = fma(vec4<f32>(a{}.{}), b{n}, {name}{i}_{n});", i / 4, COMPONENTS[i % 4])
        });
        shader.line("} } }");
    }

    /// Stores the gathered rows below `rows` in a result `[heads, rows, numbers]`.
    pub fn store(&self, shader: &mut Shader, name: &str, slot: &Slot, rows: usize) {
        let (d, across) = (self.d, self.gather_across());
        for i in 0..self.gather_each() {
            shader.line(&format!("{{ let row = first + my_gathered + {i}u; if (row < {rows}u) {{"));
            shader.line(&format!("let at = (head * {rows}u + row) * {d}u;"));
            for n in 0..self.gather_quads() {
                for (c, component) in COMPONENTS.iter().enumerate() {
                    let e = format!("(my_quad + {}u) * 4u + {c}u", n * across);
                    let store = slot.store(&format!("(at + {e})"), &format!("{name}{i}_{n}.{component}"));
                    if d.is_multiple_of(4 * across) {
                        shader.line(&store);
                    } else {
                        shader.line(&format!("if ({e} < {d}u) {{ {store} }}"));
                    }
                }
            }
            shader.line("} }");
        }
    }

    /// Brings together what the threads of a row hold in `{from}{i}`: afterwards `collected(i)` of the thread `lid`
    /// below the number of rows is what the i-th of them held for row `lid`.
    pub fn collect(&self, shader: &mut Shader, from: &str) {
        shader.line("workgroupBarrier();");
        for quad in 0..self.tile.each / 4 {
            let values: Vec<String> = (0..4).map(|i| format!("{from}{}", quad * 4 + i)).collect();
            shader.line(&format!(
                "slices[across * {}u + (my_row >> 2u) + {quad}u] = vec4<f32>({});",
                self.row_quads(),
                values.join(", ")
            ));
        }
        shader.line("workgroupBarrier();");
    }

    /// A loop over what was collected for row `lid`; `body` sees it as `part`.
    pub fn over_collected(&self, shader: &mut Shader, body: &str) {
        shader.line(&format!(
            "for (var i = 0u; i < {ACROSS}u; i++) {{ let part = slices[i * {}u + (lid >> 2u)][lid & 3u]; {body} }}",
            self.row_quads()
        ));
    }

    /// Rows of the tile of scores of this thread, as `i` and an expression of the row.
    pub fn my_rows(&self) -> impl Iterator<Item = (usize, String)> + use<> {
        (0..self.tile.each).map(|i| (i, format!("(first + my_row + {i}u)")))
    }

    /// Where this thread's i-th row of scores, or of what it gathers, is in a table with an entry per row.
    pub fn entry(&self, table: &str, gathered: bool, i: usize) -> String {
        let mine = if gathered { "my_gathered" } else { "my_row" };
        format!("{table}[({mine} >> 2u) + {}u].{}", i / 4, COMPONENTS[i % 4])
    }
}
