//! The tile shader of contractions.
//!
//! Threads bring a slice of `a` and `b` into workgroup memory, along k in rows of quads, and the next one is on its way
//! to registers while the present one is multiplied. Each thread keeps a block of sums in quads that lie apart in the
//! tile, so that neighbouring threads read neighbouring quads.

use super::contraction::{Operands, Sizes};
use super::shader::{Dispatch, Shader};
use crate::tuning::Tile;
use std::fmt::Write;

/// What one shader of tiles does.
pub(super) struct Job<'a> {
    pub sizes: Sizes,
    /// Length of a part of k, a multiple of that of a slice.
    pub part: usize,
    pub parts: usize,
    pub operands: &'a dyn Operands,
    /// Whether four neighbours along n can be stored at once.
    pub stores_quads: bool,
}

/// How the threads of a workgroup bring a slice of one operand: each takes every `threads`-th element or quad.
pub(super) struct Slice {
    letter: char,
    /// Extent of the tile across k, and of the operand.
    width: usize,
    extent: usize,
    /// Extent along k.
    depth: usize,
    /// Whether neighbouring threads are neighbours along k.
    along_k: bool,
    /// Whether quads are loaded.
    quads: bool,
    /// The type of halves that are loaded, if it is not f32.
    halves: Option<&'static str>,
    threads: usize,
    /// Loads of each thread.
    pub each: usize,
}

/// What a thread has loaded at once.
pub(super) enum Brought {
    One(String),
    /// As a vector, and one by one.
    Four(String, [String; 4]),
}

impl Slice {
    /// The slice of operand 0 or 1 of a job, in tiles of so many positions across k and along it.
    pub fn new(job: &Job<'_>, operand: usize, [width, depth]: [usize; 2], threads: usize) -> Slice {
        let Job { sizes, operands, .. } = *job;
        let (letter, extent) = [('a', sizes.m), ('b', sizes.n)][operand];
        let quads = operands.quads()[operand] && (width * depth / 4).is_multiple_of(threads);
        let each = width * depth / if quads { 4 } else { 1 } / threads;
        let (along_k, halves) = (operands.along_k()[operand], operands.halves()[operand]);
        Slice { letter, width, extent, depth, along_k, quads, halves, threads, each }
    }

    /// Quads from one position along k to the next; one more than needed, so that a column meets different banks.
    fn row(&self) -> usize {
        self.width / 4 + 1
    }

    /// Expressions of the position across k and along k that a thread takes in round `i`.
    pub fn position(&self, i: usize) -> (String, String) {
        let at = format!("(lid + {}u)", i * self.threads);
        let wide = if self.quads { 4 } else { 1 };
        let scaled = |text: String| if self.quads { format!("{text} * 4u") } else { text };
        if self.along_k {
            let row = self.depth / wide;
            (format!("({at} / {row}u)"), scaled(format!("({at} % {row}u)")))
        } else {
            let row = self.width / wide;
            (scaled(format!("({at} % {row}u)")), format!("({at} / {row}u)"))
        }
    }

    /// The type of what a load gives.
    fn ty(&self) -> String {
        let scalar = self.halves.unwrap_or("f32");
        if self.quads { format!("vec4<{scalar}>") } else { scalar.into() }
    }

    /// What was loaded, or an element of it, as `scalar`: f32, or halves where that loses nothing.
    fn converted(&self, value: &str, scalar: &str, four: bool) -> String {
        if scalar == self.halves.unwrap_or("f32") {
            value.to_string()
        } else if four {
            format!("vec4<{scalar}>({value})")
        } else {
            format!("{scalar}({value})")
        }
    }

    /// What this thread loaded in round `i`, or element `lane` of it, as `scalar`.
    pub fn brought(&self, i: usize, scalar: &str) -> Brought {
        let name = format!("f{}{i}", self.letter);
        if self.quads {
            let one = |lane: usize| self.converted(&format!("{name}[{lane}]"), scalar, false);
            Brought::Four(self.converted(&name, scalar, true), [0, 1, 2, 3].map(one))
        } else {
            Brought::One(self.converted(&name, scalar, false))
        }
    }

    /// The variables that hold what a thread brings.
    pub fn declare(&self, text: &mut String) {
        for i in 0..self.each {
            let _ = writeln!(text, "var f{}{i} = {}(0.0);", self.letter, self.ty());
        }
    }

    /// The statements that load what this thread brings of the slice from `base_k` on.
    pub fn fetch(&self, text: &mut String, base_k: &str, check_k: bool) {
        let (letter, extent, ty) = (self.letter, self.extent, self.ty());
        let base = if letter == 'a' { "base_m" } else { "base_n" };
        for i in 0..self.each {
            let (across, along) = self.position(i);
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
    fn put(&self, text: &mut String) {
        let (letter, row) = (self.letter, self.row());
        for i in 0..self.each {
            let (across, along) = self.position(i);
            let _ = writeln!(text, "{{ let x = {across}; let dk = {along};");
            let _ = match (self.brought(i, "f32"), self.along_k) {
                (Brought::Four(four, _), false) => {
                    writeln!(text, "s{letter}[dk * {row}u + (x >> 2u)] = {four}; }}")
                }
                (Brought::Four(_, ones), true) => {
                    for (c, one) in ones.iter().enumerate() {
                        let _ =
                            writeln!(text, "s{letter}[(dk + {c}u) * {row}u + (x >> 2u)][x & 3u] = {one};");
                    }
                    writeln!(text, "}}")
                }
                (Brought::One(one), _) => {
                    writeln!(text, "s{letter}[dk * {row}u + (x >> 2u)][x & 3u] = {one}; }}")
                }
            };
        }
    }
}

/// The tile shader. Part `p` of `parts` sums over k from `p · part` on; parts number z on beyond its extent.
pub(super) fn print(mut shader: Shader, label: &str, job: &Job<'_>, tile: Tile) -> Dispatch {
    let Job { sizes, part, parts, .. } = *job;
    let threads = tile.threads();
    let tiles = [sizes.m.div_ceil(tile.m), sizes.n.div_ceil(tile.n)];
    let slice = |operand, width| Slice::new(job, operand, [width, tile.k], threads);
    let slices = [slice(0, tile.m), slice(1, tile.n)];
    let mut text = String::new();
    // Writing to a string cannot fail.
    macro_rules! line {
        ($($arg:tt)*) => { let _ = writeln!(text, $($arg)*); };
    }
    for slice in &slices {
        let (letter, quads) = (slice.letter, slice.row() * tile.k);
        shader.line_head(&format!("var<workgroup> s{letter}: array<vec4<f32>, {quads}>;"));
    }
    find_tile(&mut text, sizes, [tile.m, tile.n], part);
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
        slice.declare(&mut text);
    }
    for slice in &slices {
        slice.fetch(&mut text, "k_start", check_k);
    }
    line!("for (var k0 = k_start; k0 < k_end; k0 += {}u) {{", tile.k);
    line!("workgroupBarrier();");
    for slice in &slices {
        slice.put(&mut text);
    }
    line!("workgroupBarrier();");
    line!("let next = k0 + {}u;", tile.k);
    line!("if (next < k_end) {{");
    for slice in &slices {
        slice.fetch(&mut text, "next", check_k);
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
            let component = |c: usize| format!("c{i}_{j}.{}", ["x", "y", "z", "w"][c]);
            store_four(&mut text, job, [tile.m, tile.n], [&z, &m, &n], &format!("c{i}_{j}"), &component);
        }
    }
    shader.body.push_str(&text);
    shader.finish(label, threads, tiles[0] * tiles[1] * sizes.z * parts)
}

/// The statements that find a workgroup's tile `base_m`, `base_n` of which contraction `z`, and its part of k.
pub(super) fn find_tile(text: &mut String, sizes: Sizes, [tile_m, tile_n]: [usize; 2], part: usize) {
    let (rows, columns) = (sizes.m.div_ceil(tile_m), sizes.n.div_ceil(tile_n));
    let _ = writeln!(
        text,
        "let deep = wg / {}u; let z = deep % {}u; let part = deep / {}u;
let k_start = part * {part}u; let k_end = min(k_start + {part}u, {}u);
let base_m = ((wg / {columns}u) % {rows}u) * {tile_m}u; let base_n = (wg % {columns}u) * {tile_n}u;",
        rows * columns,
        sizes.z,
        sizes.z,
        sizes.k
    );
}

/// The statements that store four neighbours along n, given as a vector and one by one, as far as they are inside.
pub(super) fn store_four(
    text: &mut String,
    job: &Job<'_>,
    [tile_m, tile_n]: [usize; 2],
    [z, m, n]: [&str; 3],
    vector: &str,
    component: &dyn Fn(usize) -> String,
) {
    let sizes = job.sizes;
    let mut conditions = Vec::new();
    if !sizes.m.is_multiple_of(tile_m) {
        conditions.push(format!("{m} < {}u", sizes.m));
    }
    let inside = |n: &str| (!sizes.n.is_multiple_of(tile_n)).then(|| format!("{n} < {}u", sizes.n));
    if job.stores_quads {
        conditions.extend(inside(n));
        return guarded(text, &conditions, &format!("store4({z}, {m}, {n}, {vector});"));
    }
    for c in 0..4 {
        let n = format!("{n} + {c}u");
        let conditions: Vec<String> = conditions.iter().cloned().chain(inside(&n)).collect();
        guarded(text, &conditions, &format!("store({z}, {m}, {n}, {});", component(c)));
    }
}

fn guarded(text: &mut String, conditions: &[String], statement: &str) {
    let _ = if conditions.is_empty() {
        writeln!(text, "{statement}")
    } else {
        writeln!(text, "if ({}) {{ {statement} }}", conditions.join(" && "))
    };
}
