//! The tile shader of contractions.
//!
//! Threads bring a slice of `a` and `b` into workgroup memory, along k in rows of quads, and the next one is on its way to
//! registers while the present one is multiplied. Each thread keeps a block of sums in quads that lie apart in the
//! tile, so that neighbouring threads read neighbouring quads.

use super::contraction::{Operands, Sizes};
use super::shader::{Dispatch, Shader};
use crate::tuning::Tile;
use std::fmt::Write;

/// What one tile shader does.
pub(super) struct Job<'a> {
    pub sizes: Sizes,
    pub tile: Tile,
    /// Length of a part of k, a multiple of the tile's.
    pub part: usize,
    pub parts: usize,
    pub operands: &'a dyn Operands,
    /// Whether four neighbours along n can be stored at once.
    pub stores_quads: bool,
}

/// How the threads of a workgroup bring a slice of one operand: each takes every `threads`-th element or quad.
struct Slice {
    letter: char,
    /// Extent of the tile across k, and of the operand.
    width: usize,
    extent: usize,
    /// Whether neighbouring threads are neighbours along k.
    along_k: bool,
    /// Whether quads are loaded.
    quads: bool,
    /// Whether f16 is loaded.
    halves: bool,
    /// Loads of each thread.
    each: usize,
}

impl Slice {
    /// Of operand 0 or 1 of a job.
    fn new(job: &Job<'_>, operand: usize) -> Slice {
        let Job { sizes, tile, operands, .. } = *job;
        let (letter, width, extent) = [('a', tile.m, sizes.m), ('b', tile.n, sizes.n)][operand];
        let quads = operands.quads()[operand] && (width * tile.k / 4).is_multiple_of(tile.threads());
        let loads = width * tile.k / if quads { 4 } else { 1 };
        let (along_k, halves) = (operands.along_k()[operand], operands.halves()[operand]);
        Slice { letter, width, extent, along_k, quads, halves, each: loads / tile.threads() }
    }

    /// Quads from one position along k to the next; one more than needed, so that a column meets different banks.
    fn row(&self) -> usize {
        self.width / 4 + 1
    }

    /// Expressions of the position across k and along k that a thread takes in round `i`.
    fn position(&self, tile: Tile, i: usize) -> (String, String) {
        let at = format!("(lid + {}u)", i * tile.threads());
        let wide = if self.quads { 4 } else { 1 };
        let scaled = |text: String| if self.quads { format!("{text} * 4u") } else { text };
        if self.along_k {
            let row = tile.k / wide;
            (format!("({at} / {row}u)"), scaled(format!("({at} % {row}u)")))
        } else {
            let row = self.width / wide;
            (scaled(format!("({at} % {row}u)")), format!("({at} / {row}u)"))
        }
    }

    fn ty(&self) -> &'static str {
        match (self.quads, self.halves) {
            (false, false) => "f32",
            (false, true) => "f16",
            (true, false) => "vec4<f32>",
            (true, true) => "vec4<f16>",
        }
    }

    /// What was loaded, or an element of it, as f32.
    fn widened(&self, value: &str, ty: &str) -> String {
        if self.halves { format!("{ty}({value})") } else { value.to_string() }
    }

    /// The statements that load what this thread brings of the slice from `base_k` on.
    fn fetch(&self, text: &mut String, tile: Tile, base_k: &str, check_k: bool) {
        let (letter, extent, ty) = (self.letter, self.extent, self.ty());
        let base = if letter == 'a' { "base_m" } else { "base_n" };
        for i in 0..self.each {
            let (across, along) = self.position(tile, i);
            let _ = writeln!(text, "{{ let x = {base} + {across}; let dk = {along};");
            let suffix = if self.quads { "4" } else { "" };
            let call = format!("load_{letter}{suffix}(z, {base_k}, dk, x)");
            let mut conditions = Vec::new();
            if !extent.is_multiple_of(self.width) {
                conditions.push(format!("x < {extent}u"));
            }
            if check_k {
                conditions.push(format!("{base_k} + dk < k_end"));
            }
            if conditions.is_empty() {
                let _ = writeln!(text, "f{letter}{i} = {call}; }}");
            } else {
                let conditions = conditions.join(" && ");
                let _ = writeln!(
                    text,
                    "f{letter}{i} = {ty}(0.0); if ({conditions}) {{ f{letter}{i} = {call}; }} }}"
                );
            }
        }
    }

    /// The statements that put it into workgroup memory.
    fn put(&self, text: &mut String, tile: Tile) {
        let (letter, row) = (self.letter, self.row());
        for i in 0..self.each {
            let (across, along) = self.position(tile, i);
            let _ = writeln!(text, "{{ let x = {across}; let dk = {along};");
            match (self.quads, self.along_k) {
                (true, false) => {
                    let value = self.widened(&format!("f{letter}{i}"), "vec4<f32>");
                    let _ = writeln!(text, "s{letter}[dk * {row}u + (x >> 2u)] = {value}; }}");
                }
                (true, true) => {
                    for c in 0..4 {
                        let value = self.widened(&format!("f{letter}{i}[{c}]"), "f32");
                        let _ =
                            writeln!(text, "s{letter}[(dk + {c}u) * {row}u + (x >> 2u)][x & 3u] = {value};");
                    }
                    text.push_str("}\n");
                }
                _ => {
                    let value = self.widened(&format!("f{letter}{i}"), "f32");
                    let _ = writeln!(text, "s{letter}[dk * {row}u + (x >> 2u)][x & 3u] = {value}; }}");
                }
            }
        }
    }
}

/// The tile shader. Part `p` of `parts` sums over k from `p · part` on; parts number z on beyond its extent.
pub(super) fn print(mut shader: Shader, label: &str, job: &Job<'_>) -> Dispatch {
    let Job { sizes, tile, part, parts, .. } = *job;
    let threads = tile.threads();
    let tiles = [sizes.m.div_ceil(tile.m), sizes.n.div_ceil(tile.n)];
    let slices = [0, 1].map(|operand| Slice::new(job, operand));
    let mut text = String::new();
    // Writing to a string cannot fail.
    macro_rules! line {
        ($($arg:tt)*) => { let _ = writeln!(text, $($arg)*); };
    }
    for slice in &slices {
        let (letter, quads) = (slice.letter, slice.row() * tile.k);
        shader.line_head(&format!("var<workgroup> s{letter}: array<vec4<f32>, {quads}>;"));
    }
    line!("let tile_n = wg % {}u;", tiles[1]);
    line!("let tile_m = (wg / {}u) % {}u;", tiles[1], tiles[0]);
    line!("let deep = wg / {}u;", tiles[0] * tiles[1]);
    line!("let z = deep % {}u;", sizes.z);
    line!("let part = deep / {}u;", sizes.z);
    line!("let k_start = part * {part}u;");
    line!("let k_end = min(k_start + {part}u, {}u);", sizes.k);
    line!("let base_m = tile_m * {}u; let base_n = tile_n * {}u;", tile.m, tile.n);
    let (columns, rows) = (tile.n / tile.thread_n, tile.m / tile.thread_m);
    // Neighbouring threads stand in blocks of 8 by 4 where that is possible: they share more of what they read.
    if columns.is_multiple_of(8) && rows.is_multiple_of(4) {
        let across = columns / 8;
        line!("let my_n = (lid % 8u + ((lid / 32u) % {across}u) * 8u) * 4u;");
        line!("let my_m = ((lid / 8u) % 4u + (lid / {}u) * 4u) * 4u;", 32 * across);
    } else {
        line!("let my_n = (lid % {columns}u) * 4u; let my_m = (lid / {columns}u) * 4u;");
    }
    for i in 0..tile.thread_m {
        for j in 0..tile.thread_n / 4 {
            line!("var c{i}_{j} = vec4<f32>(0.0);");
        }
    }
    let check_k = !sizes.k.is_multiple_of(tile.k) || sizes.k == 0;
    for slice in &slices {
        for i in 0..slice.each {
            line!("var f{}{i} = {}(0.0);", slice.letter, slice.ty());
        }
    }
    for slice in &slices {
        slice.fetch(&mut text, tile, "k_start", check_k);
    }
    line!("for (var k0 = k_start; k0 < k_end; k0 += {}u) {{", tile.k);
    line!("workgroupBarrier();");
    for slice in &slices {
        slice.put(&mut text, tile);
    }
    line!("workgroupBarrier();");
    line!("let next = k0 + {}u;", tile.k);
    line!("if (next < k_end) {{");
    for slice in &slices {
        slice.fetch(&mut text, tile, "next", check_k);
    }
    line!("}}");
    line!("for (var k = 0u; k < {}u; k++) {{", tile.k);
    for i in 0..tile.thread_m / 4 {
        let quads = i * rows;
        line!("let a{i} = sa[k * {}u + (my_m >> 2u) + {quads}u];", slices[0].row());
    }
    for j in 0..tile.thread_n / 4 {
        let quads = j * columns;
        line!("let b{j} = sb[k * {}u + (my_n >> 2u) + {quads}u];", slices[1].row());
    }
    for i in 0..tile.thread_m {
        let component = ["x", "y", "z", "w"][i % 4];
        for j in 0..tile.thread_n / 4 {
            line!("c{i}_{j} = fma(vec4<f32>(a{}.{component}), b{j}, c{i}_{j});", i / 4);
        }
    }
    line!("}} }}");
    let z = if parts > 1 { format!("part * {}u + z", sizes.z) } else { "z".to_string() };
    for i in 0..tile.thread_m {
        let m = format!("base_m + my_m + {}u", i / 4 * rows * 4 + i % 4);
        for j in 0..tile.thread_n / 4 {
            let n = format!("base_n + my_n + {}u", j * columns * 4);
            let mut conditions = Vec::new();
            if !sizes.m.is_multiple_of(tile.m) {
                conditions.push(format!("{m} < {}u", sizes.m));
            }
            if job.stores_quads {
                if !sizes.n.is_multiple_of(tile.n) {
                    conditions.push(format!("{n} < {}u", sizes.n));
                }
                guarded(&mut text, &conditions, &format!("store4({z}, {m}, {n}, c{i}_{j});"));
                continue;
            }
            for (c, component) in ["x", "y", "z", "w"].into_iter().enumerate() {
                let n = format!("{n} + {c}u");
                let mut conditions = conditions.clone();
                if !sizes.n.is_multiple_of(tile.n) {
                    conditions.push(format!("{n} < {}u", sizes.n));
                }
                guarded(&mut text, &conditions, &format!("store({z}, {m}, {n}, c{i}_{j}.{component});"));
            }
        }
    }
    shader.body.push_str(&text);
    shader.finish(label, threads, tiles[0] * tiles[1] * sizes.z * parts)
}

fn guarded(text: &mut String, conditions: &[String], statement: &str) {
    let _ = if conditions.is_empty() {
        writeln!(text, "{statement}")
    } else {
        writeln!(text, "if ({}) {{ {statement} }}", conditions.join(" && "))
    };
}
