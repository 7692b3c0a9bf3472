//! Attention and its gradient without a stored score matrix: a workgroup per query (per key for the gradients of keys and
//! values) goes over the other side in tiles, with running largest score and sum.

use super::movement::Source;
use super::scalar::float;
use super::shader::{Dispatch, Shader, Slot, Where};
use dropforge_ir::{DType, ValueType};
use dropforge_plan::plan::Argument;

/// Threads of a workgroup, and length of a tile.
const TILE: usize = 64;

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

    /// Element `e` of row `row` of head `head`, of a tensor with `rows` rows.
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

    /// How many keys query `i` sees.
    fn visible(&self, i: &str) -> String {
        if self.causal {
            format!("u32(max(i32({i}) + {}, 0))", self.s as i64 + 1 - self.t as i64)
        } else {
            format!("{}u", self.s)
        }
    }

    /// The product of row `row` of a source with a row in workgroup memory.
    fn product(
        &self,
        shader: &mut Shader,
        to: &str,
        source: &Source<'_>,
        rows: usize,
        row: &str,
        with: &str,
    ) {
        let element = source.load(&self.row(rows, row, "e"));
        shader.line(&format!(
            "for (var e = 0u; e < {}u; e++) {{ {to} = fma({with}[e], {element}, {to}); }}",
            self.d
        ));
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
        let d = self.d.max(1);
        shader.line_head(&format!("var<workgroup> query: array<f32, {d}>;"));
        shader.line_head(&format!("var<workgroup> weights: array<f32, {TILE}>;"));
        shader.line(&format!("let head = wg / {}u; let row = wg % {}u;", self.t, self.t));
        let element = q.load(&self.row(self.t, "row", "e"));
        self.for_mine(&mut shader, &format!("query[e] = {element} * {};", float(self.scale)));
        for n in 0..self.each() {
            shader.line(&format!("var sum{n} = 0.0;"));
        }
        shader.line(&format!("let visible = {};", self.visible("row")));
        shader.line("var largest = f_bits(0xff800000u); var total = 0.0;");
        shader.line("workgroupBarrier();");
        shader.line(&format!("for (var start = 0u; start < visible; start += {TILE}u) {{"));
        shader.line(&format!("let count = min({TILE}u, visible - start); let j = start + lid;"));
        shader.line("var score = f_bits(0xff800000u);");
        shader.line("if (lid < count) { score = 0.0;");
        self.product(&mut shader, "score", &k, self.s, "j", "query");
        shader.line("}");
        shader.line("weights[lid] = score; workgroupBarrier();");
        shader.line("var top = largest; for (var i = 0u; i < count; i++) { top = f_max(top, weights[i]); }");
        shader.line("let shrink = f_exp(largest - top); largest = top;");
        shader.line("workgroupBarrier(); weights[lid] = f_exp(score - top); workgroupBarrier();");
        shader.line("total *= shrink; for (var i = 0u; i < count; i++) { total += weights[i]; }");
        let element = v.load(&self.row(self.s, "(start + i)", "e"));
        self.for_mine(
            &mut shader,
            &format!(
                "sum{{n}} *= shrink; for (var i = 0u; i < count; i++) {{ sum{{n}} = fma(weights[i], {element}, sum{{n}}); }}"
            ),
        );
        shader.line("workgroupBarrier(); }");
        let index = self.row(self.t, "row", "e");
        let store = output.store(DType::F32, &index, "select(0.0, sum{n} / total, visible > 0u)");
        self.for_mine(&mut shader, &store);
        let store =
            statistics.store(DType::F32, &format!("(head * {}u + row)", self.t), "largest + f_log(total)");
        shader.line(&format!("if (lid == 0u) {{ {store} }}"));
        vec![shader.finish(label, TILE, self.heads * self.t)]
    }

    /// Arguments q, k, v, output, logsumexp, output gradient; results the gradients of q, k and v.
    pub fn gradient(
        &self,
        label: &str,
        args: &[Argument],
        places: &[Where],
        results: &[Where],
    ) -> Vec<Dispatch> {
        let mut all = Vec::new();
        if self.heads * self.t > 0 {
            all.push(self.query_gradient(&format!("{label}, queries"), args, places, results[0]));
        }
        if self.heads * self.s > 0 {
            all.push(self.key_gradients(&format!("{label}, keys"), args, places, [results[1], results[2]]));
        }
        all
    }

    fn query_gradient(&self, label: &str, args: &[Argument], places: &[Where], result: Where) -> Dispatch {
        let mut shader = Shader::default();
        let [q, k, v, output, statistics, gradient] =
            [0, 1, 2, 3, 4, 5].map(|index| Source::new(&mut shader, &args[index], places[index]));
        let target = shader.operand(result, true);
        let d = self.d.max(1);
        shader.line_head(&format!("var<workgroup> query: array<f32, {d}>;"));
        shader.line_head(&format!("var<workgroup> change: array<f32, {d}>;"));
        shader.line_head(&format!("var<workgroup> weights: array<f32, {TILE}>;"));
        shader.line(&format!("let head = wg / {}u; let row = wg % {}u;", self.t, self.t));
        let index = self.row(self.t, "row", "e");
        self.for_mine(
            &mut shader,
            &format!(
                "query[e] = {} * {}; change[e] = {};",
                q.load(&index),
                float(self.scale),
                gradient.load(&index)
            ),
        );
        for n in 0..self.each() {
            shader.line(&format!("var sum{n} = 0.0;"));
        }
        shader.line("workgroupBarrier();");
        shader.line("var shared_part = 0.0;");
        self.product(&mut shader, "shared_part", &output, self.t, "row", "change");
        let lse = statistics.load(&format!("(head * {}u + row)", self.t));
        shader.line(&format!("let total = {lse}; let visible = {};", self.visible("row")));
        shader.line(&format!("for (var start = 0u; start < visible; start += {TILE}u) {{"));
        shader.line(&format!("let count = min({TILE}u, visible - start); let j = start + lid;"));
        shader.line("if (lid < count) { var score = 0.0; var pull = 0.0;");
        self.product(&mut shader, "score", &k, self.s, "j", "query");
        self.product(&mut shader, "pull", &v, self.s, "j", "change");
        shader.line(&format!(
            "weights[lid] = f_exp(score - total) * (pull - shared_part) * {}; }}",
            float(self.scale)
        ));
        shader.line("workgroupBarrier();");
        let element = k.load(&self.row(self.s, "(start + i)", "e"));
        self.for_mine(
            &mut shader,
            &format!(
                "for (var i = 0u; i < count; i++) {{ sum{{n}} = fma(weights[i], {element}, sum{{n}}); }}"
            ),
        );
        shader.line("workgroupBarrier(); }");
        self.for_mine(&mut shader, &target.store(DType::F32, &index, "sum{n}"));
        shader.finish(label, TILE, self.heads * self.t)
    }

    fn key_gradients(
        &self,
        label: &str,
        args: &[Argument],
        places: &[Where],
        results: [Where; 2],
    ) -> Dispatch {
        let mut shader = Shader::default();
        let [q, k, v, output, statistics, gradient] =
            [0, 1, 2, 3, 4, 5].map(|index| Source::new(&mut shader, &args[index], places[index]));
        let targets: [Slot; 2] = results.map(|result| shader.operand(result, true));
        let d = self.d.max(1);
        for name in ["key", "value"] {
            shader.line_head(&format!("var<workgroup> {name}: array<f32, {d}>;"));
        }
        for name in ["weights", "pulls"] {
            shader.line_head(&format!("var<workgroup> {name}: array<f32, {TILE}>;"));
        }
        shader.line(&format!("let head = wg / {}u; let row = wg % {}u;", self.s, self.s));
        let index = self.row(self.s, "row", "e");
        self.for_mine(
            &mut shader,
            &format!("key[e] = {} * {}; value[e] = {};", k.load(&index), float(self.scale), v.load(&index)),
        );
        for n in 0..self.each() {
            shader.line(&format!("var key_sum{n} = 0.0; var value_sum{n} = 0.0;"));
        }
        // The first query that sees this key.
        let first = if self.causal {
            format!("u32(max(i32(row) + {}, 0))", self.t as i64 - self.s as i64)
        } else {
            "0u".into()
        };
        shader.line("workgroupBarrier();");
        shader.line(&format!("for (var start = {first}; start < {}u; start += {TILE}u) {{", self.t));
        shader.line(&format!("let count = min({TILE}u, {}u - start); let i = start + lid;", self.t));
        shader.line("if (lid < count) { var score = 0.0; var pull = 0.0; var shared_part = 0.0;");
        self.product(&mut shader, "score", &q, self.t, "i", "key");
        self.product(&mut shader, "pull", &gradient, self.t, "i", "value");
        let at = self.row(self.t, "i", "e");
        shader.line(&format!(
            "for (var e = 0u; e < {}u; e++) {{ shared_part = fma({}, {}, shared_part); }}",
            self.d,
            gradient.load(&at),
            output.load(&at)
        ));
        let lse = statistics.load(&format!("(head * {}u + i)", self.t));
        shader.line(&format!("let weight = f_exp(score - {lse}); weights[lid] = weight;"));
        shader.line(&format!("pulls[lid] = weight * (pull - shared_part) * {}; }}", float(self.scale)));
        shader.line("workgroupBarrier();");
        let at = self.row(self.t, "(start + n)", "e");
        self.for_mine(
            &mut shader,
            &format!(
                "for (var n = 0u; n < count; n++) {{ value_sum{{n}} = fma(weights[n], {}, value_sum{{n}}); \
                 key_sum{{n}} = fma(pulls[n], {}, key_sum{{n}}); }}",
                gradient.load(&at),
                q.load(&at)
            ),
        );
        shader.line("workgroupBarrier(); }");
        let stores = format!(
            "{} {}",
            targets[0].store(DType::F32, &index, "key_sum{n}"),
            targets[1].store(DType::F32, &index, "value_sum{n}")
        );
        self.for_mine(&mut shader, &stores);
        shader.finish(label, TILE, self.heads * self.s)
    }
}
