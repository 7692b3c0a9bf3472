//! Attention and its gradient without a stored score matrix.
//!
//! The forward pass goes over the keys in tiles and keeps, for each query, the largest score so far and the sum
//! relative to it. The gradients compute the scores again: one kernel for those of queries, one for those of keys and
//! values, so that every sum has one owner and a fixed order. Tiles that a causal attention does not see are left out.

use super::attention_tiles::{COLUMNS, COMPONENTS, Side, Tiles};
use super::movement::Source;
use super::pick::{Means, Pick, Tunable, step};
use super::scalar::float;
use super::shader::{BufferId, Dispatch, Shader, Where};
use crate::tuning::{ATTENTION_TILES, AttentionTile, MOST_CANDIDATES};
use dropforge_ir::{DType, ValueType};
use dropforge_plan::plan::Argument;

/// Extents and attributes of one attention.
#[derive(Clone, Copy, Debug)]
pub struct Attention {
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

    /// What there is to choose; `gradient` says for which operation.
    pub fn tunable(&self, means: Means, gradient: bool) -> Tunable {
        let Attention { heads, t, s, d, causal, .. } = *self;
        let name = if gradient { "attention-gradient" } else { "attention" };
        let fits = |tile: &AttentionTile| Tiles { tile: *tile, d }.memory() <= means.memory as usize;
        let mut picks: Vec<Pick> =
            ATTENTION_TILES.into_iter().filter(fits).map(Pick::Attention).take(MOST_CANDIDATES).collect();
        if picks.is_empty() {
            picks.push(Pick::Attention(ATTENTION_TILES[ATTENTION_TILES.len() - 1]));
        }
        let products = if gradient { 14.0 } else { 4.0 };
        Tunable {
            class: format!(
                "{name}-{}-{}-{}-{}-{causal}",
                step(heads),
                step(t),
                step(s),
                d.next_multiple_of(16)
            ),
            picks,
            most_parts: 1,
            means,
            flops: products * heads as f64 * t as f64 * s as f64 * d as f64 / if causal { 2.0 } else { 1.0 },
        }
    }

    /// How far the last key that a query sees lies beyond its own number.
    fn ahead(&self) -> i64 {
        self.s as i64 - self.t as i64
    }

    /// Opens a shader over the rows of one side: the head and the first row of this workgroup, those with most to do
    /// first. Gives the number of workgroups.
    fn begin(&self, shader: &mut Shader, tiles: &Tiles, rows: usize, last_first: bool) -> usize {
        let blocks = rows.div_ceil(tiles.tile.rows);
        let block = format!("wg / {}u", self.heads);
        let block = if last_first { format!("{}u - {block}", blocks - 1) } else { block };
        shader
            .line(&format!("let head = wg % {}u; let first = ({block}) * {}u;", self.heads, tiles.tile.rows));
        tiles.begin(shader);
        self.heads * blocks
    }

    /// End of the keys that the last query of this workgroup sees.
    fn end_of_keys(&self, tiles: &Tiles) -> String {
        if self.causal {
            let last = format!("i32(min(first + {}u, {}u))", tiles.tile.rows - 1, self.t - 1);
            format!("u32(clamp({last} + {}, 0, {}))", self.ahead() + 1, self.s)
        } else {
            format!("{}u", self.s)
        }
    }

    /// Gives `hidden` to scores of columns beyond the last one and of keys that a query does not see.
    fn hide(&self, shader: &mut Shader, tiles: &Tiles, rows: Rows, name: &str, hidden: &str) {
        let ahead = self.ahead();
        // Whether a key lies beyond what a query sees, each as an expression of a row or a column.
        let is_unseen = |row: &str, column: &str| match rows {
            Rows::Queries => format!("i32({column}) > i32({row}) + {ahead}"),
            Rows::Keys => format!("i32({row}) > i32({column}) + {ahead}"),
        };
        // The pair of the tile whose key is the furthest beyond its query.
        let (columns, row, column) = match rows {
            Rows::Queries => (self.s, "first".into(), format!("start + {}u", COLUMNS - 1)),
            Rows::Keys => (self.t, format!("first + {}u", tiles.tile.rows - 1), "start".into()),
        };
        let mut some = vec![format!("start + {COLUMNS}u > {columns}u")];
        if self.causal {
            some.push(is_unseen(&row, &column));
        }
        shader.line(&format!("if ({}) {{", some.join(" || ")));
        for (i, row) in tiles.my_rows() {
            for (c, component) in COMPONENTS.iter().enumerate() {
                let column = format!("start + across * 4u + {c}u");
                let mut hides = vec![format!("{column} >= {columns}u")];
                if self.causal {
                    hides.push(is_unseen(&row, &column));
                }
                shader.line(&format!("if ({}) {{ {name}{i}.{component} = {hidden}; }}", hides.join(" || ")));
            }
        }
        shader.line("}");
    }

    /// Arguments q, k, v; results the output and the logsumexp of each query's scores.
    pub fn forward(
        &self,
        label: &str,
        args: &[Argument],
        places: &[Where],
        results: &[Where],
        pick: Pick,
    ) -> Vec<Dispatch> {
        let Pick::Attention(tile) = pick else { return Vec::new() };
        if self.heads * self.t == 0 {
            return Vec::new();
        }
        let tiles = Tiles { tile, d: self.d };
        let mut shader = Shader::default();
        let [q, k, v] = [0, 1, 2].map(|index| Source::new(&mut shader, &args[index], places[index]));
        let output = shader.operand(results[0], true);
        let statistics = shader.operand(results[1], true);
        let groups = self.begin(&mut shader, &tiles, self.t, self.causal);
        let queries = Side::new(&mut shader, "q", &q);
        let keys = Side::new(&mut shader, "k", &k);
        let values = Side::new(&mut shader, "v", &v);
        let (rows, each) = (tiles.tile.rows, tiles.tile.each);
        // For each row: what scores are relative to, and the factor of what was found before.
        for name in ["bases", "shrinks"] {
            shader.line_head(&format!("var<workgroup> {name}: array<vec4<f32>, {}>;", rows / 4));
        }
        shader.line(&format!("var largest = {UNSEEN};"));
        for i in 0..each {
            shader.line(&format!("var total{i} = 0.0;"));
        }
        tiles.declare(&mut shader, "sum");
        shader.line(&format!("let end = {};", self.end_of_keys(&tiles)));
        shader.line(&format!("for (var start = 0u; start < end; start += {COLUMNS}u) {{"));
        tiles.scores(&mut shader, "score", &queries, &keys);
        for i in 0..each {
            shader.line(&format!("score{i} *= {};", float(self.scale)));
        }
        self.hide(&mut shader, &tiles, Rows::Queries, "score", UNSEEN);
        for i in 0..each {
            shader.line(&format!(
                "let top{i} = max(max(score{i}.x, score{i}.y), max(score{i}.z, score{i}.w));"
            ));
        }
        tiles.collect(&mut shader, "top");
        shader.line(&format!("if (lid < {rows}u) {{ var top = largest;"));
        tiles.over_collected(&mut shader, "top = max(top, part);");
        // While nothing was seen, nothing has a weight.
        shader.line(&format!("let base = select(top, 0.0, top == {UNSEEN});"));
        shader.line("bases[lid >> 2u][lid & 3u] = base;");
        shader.line("shrinks[lid >> 2u][lid & 3u] = f_exp(largest - base); largest = top; }");
        shader.line("workgroupBarrier();");
        for i in 0..each {
            let (base, shrink) = (tiles.entry("bases", false, i), tiles.entry("shrinks", false, i));
            shader.line(&format!(
                "{{ let base = {base}; score{i} = {}; }}",
                exponentials(&format!("score{i}"), "base")
            ));
            shader.line(&format!(
                "total{i} = total{i} * {shrink} + ((score{i}.x + score{i}.y) + (score{i}.z + score{i}.w));"
            ));
        }
        tiles.keep(&mut shader, "score");
        tiles.for_gathered(&mut shader, |i, n| format!("sum{i}_{n} *= {};", tiles.entry("shrinks", true, i)));
        tiles.gather(&mut shader, "sum", &values);
        shader.line("}");
        tiles.collect(&mut shader, "total");
        shader.line(&format!("if (lid < {rows}u) {{ var total = 0.0;"));
        tiles.over_collected(&mut shader, "total += part;");
        // Queries that see nothing have sums of 0.
        shader.line("bases[lid >> 2u][lid & 3u] = select(total, 1.0, total == 0.0);");
        let store =
            statistics.store(&format!("(head * {}u + first + lid)", self.t), "largest + f_log(total)");
        shader.line(&format!("if (first + lid < {}u) {{ {store} }} }}", self.t));
        shader.line("workgroupBarrier();");
        tiles.for_gathered(&mut shader, |i, n| format!("sum{i}_{n} /= {};", tiles.entry("bases", true, i)));
        tiles.store(&mut shader, "sum", &output, self.t);
        vec![shader.finish(label, tiles.threads(), groups)]
    }

    /// Arguments q, k, v, output, logsumexp, output gradient; results the gradients of q, k and v. Also the words of
    /// scratch memory that they need.
    pub fn gradient(
        &self,
        label: &str,
        args: &[Argument],
        places: &[Where],
        results: &[Where],
        pick: Pick,
    ) -> (Vec<Dispatch>, usize) {
        let Pick::Attention(tile) = pick else { return (Vec::new(), 0) };
        let mut all = Vec::new();
        if self.heads * self.t > 0 {
            all.push(self.shared_parts(&format!("{label}, shared parts"), args, places));
            all.push(self.query_gradient(&format!("{label}, queries"), args, places, results[0], tile));
        }
        if self.heads * self.s > 0 {
            let results = [results[1], results[2]];
            all.push(self.key_gradients(&format!("{label}, keys"), args, places, results, tile));
        }
        (all, self.heads * self.t)
    }

    /// The product of output and output gradient of each query, into scratch memory.
    fn shared_parts(&self, label: &str, args: &[Argument], places: &[Where]) -> Dispatch {
        const THREADS: usize = 256;
        const LANES: usize = 16;
        const PER_GROUP: usize = THREADS / LANES;
        let queries = self.heads * self.t;
        let mut shader = Shader::default();
        let [output, gradient] = [3, 5].map(|index| Source::new(&mut shader, &args[index], places[index]));
        let scratch = shader.operand(SHARED, true);
        shader.line_head(&format!("var<workgroup> sums: array<f32, {THREADS}>;"));
        shader.line(&format!("let lane = lid % {LANES}u; let i = wg * {PER_GROUP}u + lid / {LANES}u;"));
        shader.line("var sum = 0.0;");
        shader.line(&format!("if (i < {queries}u) {{"));
        shader.line(&format!("for (var e = lane; e < {}u; e += {LANES}u) {{", self.d));
        let index = format!("(i * {}u + e)", self.d);
        shader.line(&format!("sum = fma({}, {}, sum); }} }}", output.load(&index), gradient.load(&index)));
        shader.line("sums[lid] = sum; workgroupBarrier();");
        shader.line(&format!("if (lane == 0u && i < {queries}u) {{"));
        shader.line(&format!(
            "for (var other = 1u; other < {LANES}u; other++) {{ sum += sums[lid + other]; }}"
        ));
        shader.line(&format!("{} }}", scratch.store("i", "sum")));
        shader.finish(label, THREADS, queries.div_ceil(PER_GROUP))
    }

    fn query_gradient(
        &self,
        label: &str,
        args: &[Argument],
        places: &[Where],
        result: Where,
        tile: AttentionTile,
    ) -> Dispatch {
        let tiles = Tiles { tile, d: self.d };
        let mut shader = Shader::default();
        let [q, k, v, statistics, gradient] =
            [0, 1, 2, 4, 5].map(|index| Source::new(&mut shader, &args[index], places[index]));
        let shared = shader.operand(SHARED, false);
        let target = shader.operand(result, true);
        let groups = self.begin(&mut shader, &tiles, self.t, self.causal);
        let queries = Side::new(&mut shader, "q", &q);
        let changes = Side::new(&mut shader, "g", &gradient);
        let keys = Side::new(&mut shader, "k", &k);
        let values = Side::new(&mut shader, "v", &v);
        tiles.declare(&mut shader, "sum");
        for (i, row) in tiles.my_rows() {
            let at = format!("(head * {}u + min({row}, {}u))", self.t, self.t - 1);
            let (total, part) = (statistics.load(&at), shared.load(&at));
            shader.line(&format!("let total{i} = {total}; let part{i} = {part};"));
        }
        shader.line(&format!("let end = {};", self.end_of_keys(&tiles)));
        shader.line(&format!("for (var start = 0u; start < end; start += {COLUMNS}u) {{"));
        tiles.scores(&mut shader, "score", &queries, &keys);
        tiles.scores(&mut shader, "pull", &changes, &values);
        let scale = float(self.scale);
        for (i, _) in tiles.my_rows() {
            let weights = exponentials(&format!("(score{i} * {scale})"), &format!("total{i}"));
            shader.line(&format!("score{i} = {weights} * (pull{i} - vec4<f32>(part{i})) * {scale};"));
        }
        self.hide(&mut shader, &tiles, Rows::Queries, "score", "0.0");
        tiles.keep(&mut shader, "score");
        tiles.gather(&mut shader, "sum", &keys);
        shader.line("}");
        tiles.store(&mut shader, "sum", &target, self.t);
        shader.finish(label, tiles.threads(), groups)
    }

    fn key_gradients(
        &self,
        label: &str,
        args: &[Argument],
        places: &[Where],
        results: [Where; 2],
        tile: AttentionTile,
    ) -> Dispatch {
        let tiles = Tiles { tile, d: self.d };
        let mut shader = Shader::default();
        let [q, k, v, statistics, gradient] =
            [0, 1, 2, 4, 5].map(|index| Source::new(&mut shader, &args[index], places[index]));
        let shared = shader.operand(SHARED, false);
        let [key_slot, value_slot] = results.map(|result| shader.operand(result, true));
        let groups = self.begin(&mut shader, &tiles, self.s, false);
        let queries = Side::new(&mut shader, "q", &q);
        let changes = Side::new(&mut shader, "g", &gradient);
        let keys = Side::new(&mut shader, "k", &k);
        let values = Side::new(&mut shader, "v", &v);
        tiles.declare(&mut shader, "key_sum");
        tiles.declare(&mut shader, "value_sum");
        // The first query that sees the first key of this workgroup.
        let begin =
            if self.causal { format!("u32(max(i32(first) - {}, 0))", self.ahead()) } else { "0u".into() };
        shader.line(&format!("for (var start = {begin}; start < {}u; start += {COLUMNS}u) {{", self.t));
        tiles.scores(&mut shader, "score", &keys, &queries);
        let at = |c: usize| {
            format!("(head * {}u + min(start + across * 4u + {c}u, {}u))", self.t, self.t.max(1) - 1)
        };
        let quad = |load: &dyn Fn(&str) -> String| {
            let four: Vec<String> = (0..4).map(|c| load(&at(c))).collect();
            format!("vec4<f32>({})", four.join(", "))
        };
        let totals = quad(&|at| statistics.load(at));
        let parts = quad(&|at| shared.load(at));
        let scale = float(self.scale);
        shader.line(&format!("let totals = {totals}; let parts = {parts};"));
        for (i, _) in tiles.my_rows() {
            let relative = format!("(score{i} * {scale} - totals)");
            shader.line(&format!("score{i} = {};", exponentials(&relative, "0.0")));
        }
        self.hide(&mut shader, &tiles, Rows::Keys, "score", "0.0");
        tiles.keep(&mut shader, "score");
        tiles.gather(&mut shader, "value_sum", &changes);
        tiles.scores(&mut shader, "pull", &values, &changes);
        for (i, _) in tiles.my_rows() {
            shader.line(&format!("pull{i} = score{i} * (pull{i} - parts) * {scale};"));
        }
        // Weights of 0 stay 0 whatever the pull.
        self.hide(&mut shader, &tiles, Rows::Keys, "pull", "0.0");
        tiles.keep(&mut shader, "pull");
        tiles.gather(&mut shader, "key_sum", &queries);
        shader.line("}");
        tiles.store(&mut shader, "key_sum", &key_slot, self.s);
        tiles.store(&mut shader, "value_sum", &value_slot, self.s);
        shader.finish(label, tiles.threads(), groups)
    }
}

/// What the rows of a tile of scores are; its columns are the other.
#[derive(Clone, Copy)]
enum Rows {
    Queries,
    Keys,
}

/// The score of what a query does not see. Not minus infinity: Metal's arithmetic may take for granted that differences
/// are finite.
const UNSEEN: &str = "-3.0e38";

/// Where the kernels of the gradient find what they share.
const SHARED: Where = Where::of_words(BufferId::Scratch, 0, DType::F32);

/// e to the power of each component of a quad, less a number.
fn exponentials(quad: &str, less: &str) -> String {
    let four: Vec<String> = COMPONENTS.iter().map(|c| format!("f_exp({quad}.{c} - {less})")).collect();
    format!("vec4<f32>({})", four.join(", "))
}
