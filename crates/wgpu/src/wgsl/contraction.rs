//! Sums of products over tiles: the one shader behind matrix products and the three directions of convolution.
//!
//! A contraction is `out[z, m, n] = Σ_k a[z, m, k] · b[z, k, n]`. What `a` and `b` are at a position, and where `out` goes, are
//! printed by those who ask for it. A workgroup computes a tile of `out`: it brings slices of `a` and `b` into workgroup
//! memory, the next ones on their way to registers while it multiplies the present ones, and each thread keeps a small
//! tile of sums. Where `out` is small and `k` long, `k` is split; the parts are added in fixed order by a second
//! dispatch.

use super::shader::{BufferId, Dispatch, Shader, Slot, Where};
use crate::tuning::{BUSY_THREADS, LEAST_PART, MOST_PART_WORDS, MOST_PARTS};
use std::fmt::Write;

/// Sizes of a contraction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Independent contractions.
    pub z: usize,
    pub m: usize,
    pub n: usize,
    pub k: usize,
}

/// What a contraction reads and writes.
pub(crate) trait Operands {
    /// Adds the operands to a shader, as functions `load_a(z, m, k)` and `load_b(z, k, n)` that give f32 for positions
    /// inside. Positions are u32.
    fn loads(&self, shader: &mut Shader);

    /// Adds the function `store(z, m, n, value)`.
    fn stores(&self, shader: &mut Shader);

    /// Whether neighbours in memory are neighbours along k, for `a` and `b`.
    fn along_k(&self) -> [bool; 2];
}

/// Extents of tiles: of a workgroup, and of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tile {
    m: usize,
    n: usize,
    k: usize,
    thread_m: usize,
    thread_n: usize,
}

impl Tile {
    const fn threads(self) -> usize {
        self.m / self.thread_m * (self.n / self.thread_n)
    }
}

const LARGE: Tile = Tile { m: 128, n: 128, k: 16, thread_m: 8, thread_n: 8 };
const MIDDLE: Tile = Tile { m: 64, n: 64, k: 16, thread_m: 4, thread_n: 4 };
const WIDE: Tile = Tile { m: 32, n: 128, k: 16, thread_m: 4, thread_n: 4 };
const TALL: Tile = Tile { m: 128, n: 32, k: 16, thread_m: 4, thread_n: 4 };
const SMALL: Tile = Tile { m: 32, n: 32, k: 16, thread_m: 4, thread_n: 4 };
const LINE: Tile = Tile { m: 8, n: 128, k: 16, thread_m: 4, thread_n: 4 };
const COLUMN: Tile = Tile { m: 128, n: 8, k: 16, thread_m: 4, thread_n: 4 };

/// A tile, and into how many parts k is split.
fn choose(sizes: Sizes) -> (Tile, usize) {
    let elements = sizes.z * sizes.m * sizes.n;
    let mut best = (f64::INFINITY, MIDDLE, 1);
    // What a multiplication costs in each, with all of it used: small tiles load more for each.
    for (tile, price) in
        [(LARGE, 1.0), (MIDDLE, 1.5), (WIDE, 1.7), (TALL, 1.7), (SMALL, 2.4), (LINE, 3.0), (COLUMN, 3.0)]
    {
        let tiles = sizes.z * sizes.m.div_ceil(tile.m) * sizes.n.div_ceil(tile.n);
        let busy = BUSY_THREADS / tile.threads();
        let most = (sizes.k / LEAST_PART).min(MOST_PART_WORDS / elements.max(1)).clamp(1, MOST_PARTS);
        let parts = if tiles * 2 > busy { 1 } else { (busy / tiles).clamp(1, most) };
        let rounds = ((tiles * parts) as f64 / busy as f64).max(1.0);
        let work = (tile.m * tile.n) as f64 / tile.threads() as f64;
        let split_price = if parts > 1 { 1.1 } else { 1.0 };
        let cost = rounds * work * sizes.k.div_ceil(parts) as f64 * price * split_price;
        if cost < best.0 {
            best = (cost, tile, parts);
        }
    }
    (best.1, best.2)
}

/// The dispatches of a contraction, and the words of scratch memory up to which they need it; the first `scratch_start` words
/// are left alone.
pub(crate) fn dispatches(
    label: &str,
    sizes: Sizes,
    operands: &impl Operands,
    scratch_start: usize,
) -> (Vec<Dispatch>, usize) {
    if sizes.z * sizes.m * sizes.n == 0 {
        return (Vec::new(), 0);
    }
    let (tile, parts) = choose(sizes);
    let part = sizes.k.div_ceil(parts).next_multiple_of(tile.k);
    let parts = sizes.k.div_ceil(part.max(1)).max(1);
    let job = Job { sizes, tile, part, parts, along_k: operands.along_k() };
    let mut shader = Shader::default();
    operands.loads(&mut shader);
    let elements = sizes.z * sizes.m * sizes.n;
    if parts == 1 {
        operands.stores(&mut shader);
        return (vec![print(shader, label, &job)], scratch_start);
    }
    let place = Where { buffer: BufferId::Scratch, word: scratch_start as u32 };
    let slot = shader.operand(place, true);
    shader.line_head(&format!(
        "fn store(z: u32, m: u32, n: u32, value: f32) {{ {} }}",
        slot.store(
            dropforge_ir::DType::F32,
            &format!("((z * {}u + m) * {}u + n)", sizes.m, sizes.n),
            "value"
        )
    ));
    let first = print(shader, label, &job);
    let mut shader = Shader::default();
    let slot = shader.operand(place, false);
    operands.stores(&mut shader);
    let second = print_sum(shader, &format!("{label}, sum of parts"), sizes, &slot, parts);
    (vec![first, second], scratch_start + elements * parts)
}

/// Threads that share the parts of one element, and elements of a workgroup, in the dispatch that adds parts.
const SUM_LANES: usize = 8;
const SUM_ELEMENTS: usize = 32;

fn print_sum(mut shader: Shader, label: &str, sizes: Sizes, slot: &Slot, parts: usize) -> Dispatch {
    let elements = sizes.z * sizes.m * sizes.n;
    let threads = SUM_LANES * SUM_ELEMENTS;
    shader.line_head(&format!("var<workgroup> sums: array<f32, {threads}>;"));
    shader.line(&format!("let i = wg * {SUM_ELEMENTS}u + lid % {SUM_ELEMENTS}u;"));
    shader.line("var sum = 0.0;");
    shader.line(&format!("if (i < {elements}u) {{"));
    shader.line(&format!("for (var part = lid / {SUM_ELEMENTS}u; part < {parts}u; part += {SUM_LANES}u) {{"));
    let load = slot.load(dropforge_ir::DType::F32, &format!("(part * {elements}u + i)"));
    shader.line(&format!("sum += {load}; }} }}"));
    shader.line("sums[lid] = sum; workgroupBarrier();");
    shader.line(&format!("if (lid < {SUM_ELEMENTS}u && i < {elements}u) {{"));
    shader.line(&format!(
        "for (var lane = 1u; lane < {SUM_LANES}u; lane++) {{ sum += sums[lid + lane * {SUM_ELEMENTS}u]; }}"
    ));
    let (m, n) = (sizes.m, sizes.n);
    shader.line(&format!("store(i / {}u, (i / {n}u) % {m}u, i % {n}u, sum); }}", m * n));
    shader.finish(label, threads, elements.div_ceil(SUM_ELEMENTS))
}

/// What one tile shader does.
struct Job {
    sizes: Sizes,
    tile: Tile,
    /// Length of a part of k.
    part: usize,
    parts: usize,
    along_k: [bool; 2],
}

/// How the threads of a workgroup bring a slice of one operand: each takes every `threads`-th element.
struct Slice {
    letter: char,
    /// Extent across k.
    width: usize,
    /// Whether neighbouring threads are neighbours along k.
    along_k: bool,
    each: usize,
}

impl Slice {
    /// Quads from one position along k to the next; one more than needed, so that a column meets different banks.
    fn row(&self) -> usize {
        self.width / 4 + 1
    }

    /// Expressions of the position across k and along k that thread takes in round `i`.
    fn position(&self, tile: Tile, i: usize) -> (String, String) {
        let at = format!("(lid + {}u)", i * tile.threads());
        if self.along_k {
            (format!("({at} / {}u)", tile.k), format!("({at} % {}u)", tile.k))
        } else {
            (format!("({at} % {}u)", self.width), format!("({at} / {}u)", self.width))
        }
    }
}

/// The tile shader. Part `p` of `parts` sums over k from `p · part` on; parts number z on beyond its extent.
fn print(mut shader: Shader, label: &str, job: &Job) -> Dispatch {
    let Job { sizes, tile, part, parts, .. } = *job;
    let threads = tile.threads();
    let tiles = [sizes.m.div_ceil(tile.m), sizes.n.div_ceil(tile.n)];
    let slices = [
        Slice { letter: 'a', width: tile.m, along_k: job.along_k[0], each: tile.m * tile.k / threads },
        Slice { letter: 'b', width: tile.n, along_k: job.along_k[1], each: tile.n * tile.k / threads },
    ];
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
    let columns = tile.n / tile.thread_n;
    line!(
        "let my_m = (lid / {columns}u) * {}u; let my_n = (lid % {columns}u) * {}u;",
        tile.thread_m,
        tile.thread_n
    );
    for i in 0..tile.thread_m {
        for j in 0..tile.thread_n / 4 {
            line!("var c{i}_{j} = vec4<f32>(0.0);");
        }
    }
    // Whether positions across k, and along it, may lie outside.
    let check_k = !sizes.k.is_multiple_of(tile.k) || sizes.k == 0;
    let fetch = |text: &mut String, k: &str| {
        for slice in &slices {
            let (extent, exact) = if slice.letter == 'a' {
                (sizes.m, sizes.m % tile.m == 0)
            } else {
                (sizes.n, sizes.n % tile.n == 0)
            };
            for i in 0..slice.each {
                let (across, along) = slice.position(tile, i);
                let (letter, base) = (slice.letter, if slice.letter == 'a' { "base_m" } else { "base_n" });
                let _ = writeln!(text, "{{ let x = {base} + {across}; let k = {k} + {along};");
                let call = if letter == 'a' { "load_a(z, x, k)" } else { "load_b(z, k, x)" };
                let mut conditions = Vec::new();
                if !exact {
                    conditions.push(format!("x < {extent}u"));
                }
                if check_k {
                    conditions.push("k < k_end".to_string());
                }
                if conditions.is_empty() {
                    let _ = writeln!(text, "f{letter}{i} = {call}; }}");
                } else {
                    let _ = writeln!(
                        text,
                        "f{letter}{i} = 0.0; if ({}) {{ f{letter}{i} = {call}; }} }}",
                        conditions.join(" && ")
                    );
                }
            }
        }
    };
    for slice in &slices {
        for i in 0..slice.each {
            line!("var f{}{i} = 0.0;", slice.letter);
        }
    }
    fetch(&mut text, "k_start");
    line!("for (var k0 = k_start; k0 < k_end; k0 += {}u) {{", tile.k);
    line!("workgroupBarrier();");
    for slice in &slices {
        for i in 0..slice.each {
            let (across, along) = slice.position(tile, i);
            let (letter, quads) = (slice.letter, slice.row());
            line!(
                "{{ let x = {across}; s{letter}[{along} * {quads}u + (x >> 2u)][x & 3u] = f{letter}{i}; }}"
            );
        }
    }
    line!("workgroupBarrier();");
    line!("let next = k0 + {}u;", tile.k);
    line!("if (next < k_end) {{");
    fetch(&mut text, "next");
    line!("}}");
    line!("for (var k = 0u; k < {}u; k++) {{", tile.k);
    for i in 0..tile.thread_m / 4 {
        line!("let a{i} = sa[k * {}u + (my_m >> 2u) + {i}u];", slices[0].row());
    }
    for j in 0..tile.thread_n / 4 {
        line!("let b{j} = sb[k * {}u + (my_n >> 2u) + {j}u];", slices[1].row());
    }
    for i in 0..tile.thread_m {
        let component = ["x", "y", "z", "w"][i % 4];
        for j in 0..tile.thread_n / 4 {
            line!("c{i}_{j} = fma(vec4<f32>(a{}.{component}), b{j}, c{i}_{j});", i / 4);
        }
    }
    line!("}} }}");
    for i in 0..tile.thread_m {
        for j in 0..tile.thread_n {
            let component = ["x", "y", "z", "w"][j % 4];
            let z = if parts > 1 { format!("part * {}u + z", sizes.z) } else { "z".to_string() };
            let store = format!(
                "store({z}, base_m + my_m + {i}u, base_n + my_n + {j}u, c{i}_{}.{component});",
                j / 4
            );
            let mut conditions = Vec::new();
            if sizes.m % tile.m != 0 {
                conditions.push(format!("base_m + my_m + {i}u < {}u", sizes.m));
            }
            if sizes.n % tile.n != 0 {
                conditions.push(format!("base_n + my_n + {j}u < {}u", sizes.n));
            }
            if conditions.is_empty() {
                line!("{store}");
            } else {
                line!("if ({}) {{ {store} }}", conditions.join(" && "));
            }
        }
    }
    shader.body.push_str(&text);
    shader.finish(label, threads, tiles[0] * tiles[1] * sizes.z * parts)
}
