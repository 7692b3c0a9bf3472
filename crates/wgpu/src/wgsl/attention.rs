//! Attention and its gradient without a stored score matrix.
//!
//! A workgroup takes some queries (keys, for the gradients of keys and values) and goes over the other side in tiles: each
//! thread scores one row of the tile against all of its workgroup's rows, the tile lying in workgroup memory a few
//! numbers at a time; then each thread sums its numbers of the results over the tile. The forward pass keeps the
//! largest score and the sum relative to it as it goes.

use super::movement::{Source, per_element};
use super::scalar::float;
use super::shader::{BufferId, Dispatch, Shader, Slot, Where};
use dropforge_ir::{DType, ValueType};
use dropforge_plan::plan::Argument;

/// Threads of a workgroup, and rows of a tile.
const TILE: usize = 64;
/// Numbers of each row of a tile that lie in workgroup memory at once.
const SLICE: usize = 32;
/// Rows that a workgroup takes.
const ROWS: usize = 8;

/// Extents and attributes of one attention.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attention {
    /// Batch times heads.
    heads: usize,
    /// Queries.
    t: usize,
    /// Keys.
    s: usize,
    /// Numbers per query.
    d: usize,
    causal: bool,
    scale: f32,
}

impl Attention {
    pub fn new(q: &ValueType, k: &ValueType, causal: bool, scale: f64) -> Attention {
        let (q, k) = (&q.shape, &k.shape);
        Attention { heads: q[0] * q[1], t: q[2], s: k[2], d: q[3], causal, scale: scale as f32 }
    }

    /// How many numbers of a row each thread has.
    fn each(&self) -> usize {
        self.d.div_ceil(TILE)
    }

    /// Element `e` of row `row` of this head, of a tensor with `rows` rows.
    fn row(&self, rows: usize, row: &str, e: &str) -> String {
        format!("((head * {rows}u + {row}) * {}u + {e})", self.d)
    }

    /// Statements that run for each number of a row that this thread has; `e` is its position, `{n}` in `body` which of
    /// the thread's numbers it is.
    fn for_mine(&self, shader: &mut Shader, body: &str) {
        for n in 0..self.each() {
            let body = body.replace("{n}", &n.to_string());
            let e = format!("let e = lid + {}u;", n * TILE);
            if self.d.is_multiple_of(TILE) {
                shader.line(&format!("{{ {e} {body} }}"));
            } else {
                shader.line(&format!("{{ {e} if (e < {}u) {{ {body} }} }}", self.d));
            }
        }
    }

    /// The head and first row of this workgroup, for a tensor with `rows` rows; the number of workgroups.
    fn begin(&self, shader: &mut Shader, rows: usize) -> usize {
        let blocks = rows.div_ceil(ROWS);
        shader.line_head(&format!("var<workgroup> slice: array<f32, {}>;", TILE * (SLICE + 1)));
        shader.line(&format!("let head = wg / {blocks}u; let first = (wg % {blocks}u) * {ROWS}u;"));
        self.heads * blocks
    }

    /// Brings this workgroup's rows of a source into workgroup memory `name`, times a factor; rows beyond the last are 0.
    fn bring(&self, shader: &mut Shader, name: &str, source: &Source<'_>, rows: usize, factor: &str) {
        let d = self.d.max(1);
        shader.line_head(&format!("var<workgroup> {name}: array<f32, {}>;", ROWS * d));
        let load = source.load(&self.row(rows, "(first + row)", "e"));
        shader.line(&format!("for (var i = lid; i < {}u; i += {TILE}u) {{", ROWS * self.d));
        shader.line(&format!("let row = i / {d}u; let e = i % {d}u; var value = 0.0;"));
        shader.line(&format!("if (first + row < {rows}u) {{ value = {load} * {factor}; }}"));
        shader.line(&format!("{name}[i] = value; }}"));
    }

    /// Declares `{to}0`, `{to}1`, …: the products of row `start + lid` of a source with the workgroup's rows in `with`. The
    /// tile has `count` rows. Waits before and after workgroup memory is used.
    fn products(&self, shader: &mut Shader, to: &str, source: &Source<'_>, rows: usize, with: &str) {
        for row in 0..ROWS {
            shader.line(&format!("var {to}{row} = 0.0;"));
        }
        let (d, width) = (self.d, SLICE + 1);
        shader.line(&format!("for (var base = 0u; base < {d}u; base += {SLICE}u) {{"));
        shader.line("workgroupBarrier();");
        shader.line(&format!("for (var i = lid; i < {}u; i += {TILE}u) {{", TILE * SLICE));
        shader.line(&format!("let j = i / {SLICE}u; let e = base + i % {SLICE}u; var value = 0.0;"));
        let load = source.load(&self.row(rows, "(start + j)", "e"));
        shader.line(&format!("if (j < count && e < {d}u) {{ value = {load}; }}"));
        shader.line(&format!("slice[j * {width}u + i % {SLICE}u] = value; }}"));
        shader.line("workgroupBarrier();");
        shader.line(&format!("let length = min({SLICE}u, {d}u - base);"));
        shader.line("for (var e = 0u; e < length; e++) {");
        shader.line(&format!("let value = slice[lid * {width}u + e];"));
        for row in 0..ROWS {
            let at = row * d;
            shader.line(&format!("{to}{row} = fma({with}[{at}u + base + e], value, {to}{row});"));
        }
        shader.line("} }");
    }

    /// Adds the rows of the tile of a source, times what `weights` holds for them, to the sums `{sum}{row}_{n}`.
    fn gather(&self, shader: &mut Shader, sum: &str, source: &Source<'_>, rows: usize, weights: &str) {
        let element = source.load(&self.row(rows, "(start + i)", "e"));
        let mut body = format!("for (var i = 0u; i < count; i++) {{ let value = {element};");
        for row in 0..ROWS {
            let at = row * TILE;
            body += &format!(" {sum}{row}_{{n}} = fma({weights}[{at}u + i], value, {sum}{row}_{{n}});");
        }
        self.for_mine(shader, &(body + " }"));
    }

    fn declare_sums(&self, shader: &mut Shader, sum: &str) {
        for row in 0..ROWS {
            for n in 0..self.each() {
                shader.line(&format!("var {sum}{row}_{n} = 0.0;"));
            }
        }
    }

    /// Stores the sums of all rows; `factor` may use `{row}`.
    fn store_sums(&self, shader: &mut Shader, sum: &str, slot: &Slot, rows: usize, factor: &str) {
        for row in 0..ROWS {
            let index = self.row(rows, &format!("(first + {row}u)"), "e");
            let factor = factor.replace("{row}", &row.to_string());
            let store = slot.store(DType::F32, &index, &format!("{sum}{row}_{{n}}{factor}"));
            shader.line(&format!("if (first + {row}u < {rows}u) {{"));
            self.for_mine(shader, &store);
            shader.line("}");
        }
    }

    /// Whether query `i` sees key `j`; both are expressions.
    fn sees(&self, i: &str, j: &str) -> String {
        if self.causal {
            format!("(i32({j}) <= i32({i}) + {})", self.s as i64 - self.t as i64)
        } else {
            "true".into()
        }
    }

    /// End of the keys that the last query of this workgroup sees.
    fn end_of_keys(&self) -> String {
        if self.causal {
            let last = format!("i32(min(first + {}u, {}u))", ROWS - 1, self.t - 1);
            format!("u32(clamp({last} + {}, 0, {}))", self.s as i64 + 1 - self.t as i64, self.s)
        } else {
            format!("{}u", self.s)
        }
    }

    pub fn forward(
        &self,
        label: &str,
        args: &[Argument],
        places: &[Where],
        results: &[Where],
    ) -> Vec<Dispatch> {
        if self.heads * self.t == 0 {
            return Vec::new();
        }
        let mut shader = Shader::default();
        let [q, k, v] = [0, 1, 2].map(|index| Source::new(&mut shader, &args[index], places[index]));
        let output = shader.operand(results[0], true);
        let statistics = shader.operand(results[1], true);
        let groups = self.begin(&mut shader, self.t);
        self.bring(&mut shader, "query", &q, self.t, &float(self.scale));
        shader.line_head(&format!("var<workgroup> weights: array<f32, {}>;", ROWS * TILE));
        for name in ["largest", "total", "shrink"] {
            shader.line_head(&format!("var<workgroup> {name}: array<f32, {ROWS}>;"));
        }
        shader
            .line(&format!("if (lid < {ROWS}u) {{ largest[lid] = f_bits(0xff800000u); total[lid] = 0.0; }}"));
        self.declare_sums(&mut shader, "sum");
        shader.line(&format!("let end = {};", self.end_of_keys()));
        shader.line(&format!("for (var start = 0u; start < end; start += {TILE}u) {{"));
        shader.line(&format!("let count = min({TILE}u, end - start); let j = start + lid;"));
        self.products(&mut shader, "score", &k, self.s, "query");
        for row in 0..ROWS {
            let sees = self.sees(&format!("(first + {row}u)"), "j");
            shader.line(&format!("if (!(lid < count && {sees})) {{ score{row} = f_bits(0xff800000u); }}"));
            shader.line(&format!("weights[{}u + lid] = score{row};", row * TILE));
        }
        shader.line("workgroupBarrier();");
        // One thread per row finds the largest score.
        shader.line(&format!("if (lid < {ROWS}u) {{ var top = largest[lid];"));
        shader.line(&format!(
            "for (var i = 0u; i < count; i++) {{ top = f_max(top, weights[lid * {TILE}u + i]); }}"
        ));
        let unseen = "bitcast<u32>(top) == 0xff800000u";
        shader.line(&format!("shrink[lid] = select(f_exp(largest[lid] - top), 1.0, {unseen});"));
        shader.line("largest[lid] = top; }");
        shader.line("workgroupBarrier();");
        for row in 0..ROWS {
            // A score of minus infinity has no weight, also while the largest is minus infinity.
            shader.line(&format!(
                "weights[{}u + lid] = select(f_exp(score{row} - largest[{row}]), 0.0, bitcast<u32>(score{row}) == 0xff800000u);",
                row * TILE
            ));
        }
        shader.line("workgroupBarrier();");
        shader.line(&format!("if (lid < {ROWS}u) {{ var more = total[lid] * shrink[lid];"));
        shader.line(&format!("for (var i = 0u; i < count; i++) {{ more += weights[lid * {TILE}u + i]; }}"));
        shader.line("total[lid] = more; }");
        for row in 0..ROWS {
            for n in 0..self.each() {
                shader.line(&format!("sum{row}_{n} *= shrink[{row}];"));
            }
        }
        self.gather(&mut shader, "sum", &v, self.s, "weights");
        shader.line("}");
        shader.line("workgroupBarrier();");
        // Queries that see nothing have sums of 0.
        self.store_sums(
            &mut shader,
            "sum",
            &output,
            self.t,
            " / select(total[{row}], 1.0, total[{row}] == 0.0)",
        );
        let store = statistics.store(
            DType::F32,
            &format!("(head * {}u + first + lid)", self.t),
            "largest[lid] + f_log(total[lid])",
        );
        shader.line(&format!("if (lid < {ROWS}u && first + lid < {}u) {{ {store} }}", self.t));
        vec![shader.finish(label, TILE, groups)]
    }

    /// Arguments q, k, v, output, logsumexp, output gradient; results the gradients of q, k and v. Also the words of scratch
    /// memory that they need.
    pub fn gradient(
        &self,
        label: &str,
        args: &[Argument],
        places: &[Where],
        results: &[Where],
    ) -> (Vec<Dispatch>, usize) {
        let mut all = Vec::new();
        if self.heads * self.t > 0 {
            all.push(self.shared_parts(&format!("{label}, shared parts"), args, places));
            all.push(self.query_gradient(&format!("{label}, queries"), args, places, results[0]));
        }
        if self.heads * self.s > 0 {
            all.push(self.key_gradients(&format!("{label}, keys"), args, places, [results[1], results[2]]));
        }
        (all, self.heads * self.t)
    }

    /// The product of output and output gradient of each query, into scratch memory.
    fn shared_parts(&self, label: &str, args: &[Argument], places: &[Where]) -> Dispatch {
        let mut shader = Shader::default();
        let [output, gradient] = [3, 5].map(|index| Source::new(&mut shader, &args[index], places[index]));
        let scratch = shader.operand(Where { buffer: BufferId::Scratch, word: 0 }, true);
        let index = format!("(i * {}u + e)", self.d);
        let body = [
            "var sum = 0.0;".to_string(),
            format!(
                "for (var e = 0u; e < {}u; e++) {{ sum = fma({}, {}, sum); }}",
                self.d,
                output.load(&index),
                gradient.load(&index)
            ),
            scratch.store(DType::F32, "i", "sum"),
        ];
        per_element(shader, label, self.heads * self.t, &body)
    }

    fn query_gradient(&self, label: &str, args: &[Argument], places: &[Where], result: Where) -> Dispatch {
        let mut shader = Shader::default();
        let [q, k, v, statistics, gradient] =
            [0, 1, 2, 4, 5].map(|index| Source::new(&mut shader, &args[index], places[index]));
        let shared = shader.operand(Where { buffer: BufferId::Scratch, word: 0 }, false);
        let target = shader.operand(result, true);
        let groups = self.begin(&mut shader, self.t);
        self.bring(&mut shader, "query", &q, self.t, &float(self.scale));
        self.bring(&mut shader, "change", &gradient, self.t, "1.0");
        shader.line_head(&format!("var<workgroup> weights: array<f32, {}>;", ROWS * TILE));
        self.declare_sums(&mut shader, "sum");
        for row in 0..ROWS {
            let at = format!("(head * {}u + min(first + {row}u, {}u))", self.t, self.t - 1);
            let (total, part) = (statistics.load(&at), shared.load(DType::F32, &at));
            shader.line(&format!("let total{row} = {total}; let part{row} = {part};"));
        }
        shader.line(&format!("let end = {};", self.end_of_keys()));
        shader.line(&format!("for (var start = 0u; start < end; start += {TILE}u) {{"));
        shader.line(&format!("let count = min({TILE}u, end - start); let j = start + lid;"));
        self.products(&mut shader, "score", &k, self.s, "query");
        self.products(&mut shader, "pull", &v, self.s, "change");
        for row in 0..ROWS {
            let sees = self.sees(&format!("(first + {row}u)"), "j");
            shader.line(&format!("var weight{row} = 0.0;"));
            shader.line(&format!(
                "if (lid < count && {sees}) {{ weight{row} = f_exp(score{row} - total{row}) * (pull{row} - part{row}) * {}; }}",
                float(self.scale)
            ));
            shader.line(&format!("weights[{}u + lid] = weight{row};", row * TILE));
        }
        shader.line("workgroupBarrier();");
        self.gather(&mut shader, "sum", &k, self.s, "weights");
        shader.line("}");
        self.store_sums(&mut shader, "sum", &target, self.t, "");
        shader.finish(label, TILE, groups)
    }

    fn key_gradients(
        &self,
        label: &str,
        args: &[Argument],
        places: &[Where],
        results: [Where; 2],
    ) -> Dispatch {
        let mut shader = Shader::default();
        let [q, k, v, statistics, gradient] =
            [0, 1, 2, 4, 5].map(|index| Source::new(&mut shader, &args[index], places[index]));
        let shared = shader.operand(Where { buffer: BufferId::Scratch, word: 0 }, false);
        let [key_slot, value_slot] = results.map(|result| shader.operand(result, true));
        let groups = self.begin(&mut shader, self.s);
        self.bring(&mut shader, "key", &k, self.s, &float(self.scale));
        self.bring(&mut shader, "value_row", &v, self.s, "1.0");
        for name in ["weights", "pulls"] {
            shader.line_head(&format!("var<workgroup> {name}: array<f32, {}>;", ROWS * TILE));
        }
        self.declare_sums(&mut shader, "key_sum");
        self.declare_sums(&mut shader, "value_sum");
        // The first query that sees the first key of this workgroup.
        let begin = if self.causal {
            format!("u32(max(i32(first) + {}, 0))", self.t as i64 - self.s as i64)
        } else {
            "0u".into()
        };
        shader.line(&format!("for (var start = {begin}; start < {}u; start += {TILE}u) {{", self.t));
        shader.line(&format!("let count = min({TILE}u, {}u - start); let i = start + lid;", self.t));
        self.products(&mut shader, "score", &q, self.t, "key");
        self.products(&mut shader, "pull", &gradient, self.t, "value_row");
        let at = format!("(head * {}u + min(i, {}u))", self.t, self.t.max(1) - 1);
        let (total, part) = (statistics.load(&at), shared.load(DType::F32, &at));
        shader.line(&format!("let total = {total}; let part = {part};"));
        for row in 0..ROWS {
            let sees = self.sees("i", &format!("(first + {row}u)"));
            shader.line(&format!("var weight{row} = 0.0;"));
            shader
                .line(&format!("if (lid < count && {sees}) {{ weight{row} = f_exp(score{row} - total); }}"));
            shader.line(&format!("weights[{}u + lid] = weight{row};", row * TILE));
            shader.line(&format!(
                "pulls[{}u + lid] = weight{row} * (pull{row} - part) * {};",
                row * TILE,
                float(self.scale)
            ));
        }
        shader.line("workgroupBarrier();");
        self.gather(&mut shader, "value_sum", &gradient, self.t, "weights");
        self.gather(&mut shader, "key_sum", &q, self.t, "pulls");
        shader.line("}");
        self.store_sums(&mut shader, "key_sum", &key_slot, self.s, "");
        self.store_sums(&mut shader, "value_sum", &value_slot, self.s, "");
        shader.finish(label, TILE, groups)
    }
}
