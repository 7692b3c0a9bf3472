//! Sums of products over tiles: the one shader behind matrix products and the three directions of convolution.
//!
//! A contraction is `out[z, m, n] = Σ_k a[z, m, k] · b[z, k, n]`. What `a` and `b` are at a position, and where `out`
//! goes, are printed by those who ask for it. A workgroup computes a tile of `out`: it brings slices of `a` and `b`
//! into workgroup memory, the next ones on their way to registers while it multiplies the present ones, and each thread
//! keeps a small tile of sums. Where `out` is small and `k` long, `k` is split; the parts are added in fixed order by a
//! second dispatch.

use super::cooperative;
use super::epilogue::Target;
use super::pick::{Means, Pick, Tunable};
use super::shader::{BufferId, Dispatch, Shader, Slot, Where};
use super::tile::{self, Job};
use crate::printing::MatrixUse;
use crate::tuning::{
    BUSY_PRODUCT_THREADS, LEAST_PART, MATRIX_TILES, MOST_CANDIDATES, MOST_PART_WORDS, MOST_PARTS,
    PART_WORD_PRICE, SLICE_PRICE, SMALL_MATRIX_PRICE, SPLIT_PRICE, TILES,
};
use dropforge_ir::DType;

/// Sizes of a contraction.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Independent contractions.
    pub z: usize,
    pub m: usize,
    pub n: usize,
    pub k: usize,
}

impl Sizes {
    /// Floating-point operations.
    pub fn flops(self) -> f64 {
        2.0 * self.z as f64 * self.m as f64 * self.n as f64 * self.k as f64
    }
}

/// What a contraction reads and writes.
pub trait Operands {
    /// Says which buffers are bound as quads, before anything else is added.
    fn prepare(&self, shader: &mut Shader, loads: bool, stores: bool);

    /// Adds the operands to a shader, as functions `load_a(z, k0, dk, m)` and `load_b(z, k0, dk, n)` that give f32, or
    /// f16 where [`Operands::halves`] says so, for positions inside; k is `k0 + dk`, where `k0` is the same for a whole
    /// slice and a multiple of the tile's length. Where [`Operands::quads`] says so, also `load_a4` and `load_b4` of
    /// the same arguments, for four neighbours. All are u32.
    fn loads(&self, shader: &mut Shader);

    /// Adds the function `store(z, m, n, value)`, and `store4` for four neighbours along n where
    /// [`Operands::stores_quads`] says so.
    fn stores(&self, shader: &mut Shader);

    /// Whether neighbours in memory are neighbours along k, for `a` and `b`.
    fn along_k(&self) -> [bool; 2];

    /// Whether four neighbours in memory can be loaded at once, for `a` and `b`.
    fn quads(&self) -> [bool; 2] {
        [false, false]
    }

    /// Whether `a` and `b` are loaded as f16. It is converted on its way into workgroup memory: a conversion right
    /// behind the load would wait for that.
    fn halves(&self) -> [Option<&'static str>; 2] {
        [None, None]
    }

    /// Whether four neighbours along n can be stored at once.
    fn stores_quads(&self) -> bool {
        false
    }
}

/// What a tile has to do with its price.
struct Extents {
    m: usize,
    n: usize,
    k: usize,
    threads: usize,
    price: f64,
}

impl Extents {
    /// The splits of the sum that keep a device busy with this tile, and the cost of each.
    fn splits(&self, sizes: Sizes, most: usize) -> Vec<(f64, usize)> {
        let elements = (sizes.z * sizes.m * sizes.n).max(1);
        let tiles = (sizes.z * sizes.m.div_ceil(self.m) * sizes.n.div_ceil(self.n)).max(1);
        let busy = BUSY_PRODUCT_THREADS / self.threads;
        let full = (busy / tiles).clamp(1, most);
        let mut splits = vec![full, full.div_ceil(2), full.div_ceil(4), 1];
        splits.dedup();
        let cost = |parts: usize| {
            let rounds = ((tiles * parts) as f64 / busy as f64).max(1.0);
            let slices = (sizes.k.div_ceil(parts).next_multiple_of(self.k) / 16) as f64;
            let work = (self.m * self.n / self.threads) as f64;
            let split =
                if parts > 1 { SPLIT_PRICE + (elements * parts) as f64 * PART_WORD_PRICE } else { 0.0 };
            rounds * slices * work * self.price * SLICE_PRICE + split
        };
        splits.into_iter().map(|parts| (cost(parts), parts)).collect()
    }
}

/// What there is to choose for a contraction.
pub fn tunable(class: String, sizes: Sizes, means: Means) -> Tunable {
    let elements = (sizes.z * sizes.m * sizes.n).max(1);
    let most = (sizes.k / LEAST_PART).min(MOST_PART_WORDS / elements).clamp(1, MOST_PARTS);
    let mut found: Vec<(f64, Pick)> = Vec::new();
    let mut class = class;
    if let Some(kind) = means.matrices.filter(|_| means.matrix_use != MatrixUse::Never) {
        class += "-matrices";
        let factor = if kind.side == 16 { 1.0 } else { SMALL_MATRIX_PRICE };
        for (tile, price) in MATRIX_TILES.into_iter().filter(|(tile, _)| means.take(*tile)) {
            let threads = tile.threads(kind.lanes);
            let extents = Extents { m: tile.m, n: tile.n, k: tile.k, threads, price: price * factor };
            let splits = extents.splits(sizes, most);
            found.extend(splits.into_iter().map(|(cost, parts)| (cost, Pick::Matrices(tile, parts))));
        }
    }
    if found.is_empty() || means.matrix_use != MatrixUse::Always {
        for (tile, price) in TILES.into_iter().filter(|(tile, _)| tile.memory() <= means.memory as usize) {
            let extents = Extents { m: tile.m, n: tile.n, k: tile.k, threads: tile.threads(), price };
            let splits = extents.splits(sizes, most);
            found.extend(splits.into_iter().map(|(cost, parts)| (cost, Pick::Contraction(tile, parts))));
        }
    }
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    let picks = found.into_iter().map(|(_, pick)| pick).take(MOST_CANDIDATES).collect();
    Tunable { class, picks, most_parts: most, means, flops: sizes.flops() }
}

/// The dispatches of a contraction, and the words of scratch memory up to which they need it; the first `scratch_start`
/// words are left alone.
pub fn dispatches(
    label: &str,
    sizes: Sizes,
    operands: &dyn Operands,
    scratch_start: usize,
    (means, pick): (Means, Pick),
) -> (Vec<Dispatch>, usize) {
    let (Some(depth), Some(parts)) = (pick.depth(), pick.parts()) else { return (Vec::new(), 0) };
    if sizes.z * sizes.m * sizes.n == 0 {
        return (Vec::new(), 0);
    }
    let part = sizes.k.div_ceil(parts).next_multiple_of(depth);
    let parts = sizes.k.div_ceil(part.max(1)).max(1);
    let mut shader = Shader::default();
    if parts == 1 {
        operands.prepare(&mut shader, true, true);
        operands.loads(&mut shader);
        operands.stores(&mut shader);
        let stores_quads = operands.stores_quads();
        let job = Job { sizes, part, parts, operands, stores_quads };
        return (print_tile(shader, label, &job, means, pick).into_iter().collect(), scratch_start);
    }
    // Parts start at whole quads.
    let start = scratch_start.next_multiple_of(4);
    let elements = sizes.z * sizes.m * sizes.n;
    let place = Where::of_words(BufferId::Scratch, start as u32, DType::F32);
    let stores_quads = sizes.n.is_multiple_of(4);
    if stores_quads {
        shader.bind_as_quads(place);
    }
    operands.prepare(&mut shader, true, false);
    operands.loads(&mut shader);
    let slot = shader.operand(place, true);
    print_stores(&mut shader, &slot, &format!("((z * {}u + m) * {}u + n)", sizes.m, sizes.n), stores_quads);
    let job = Job { sizes, part, parts, operands, stores_quads };
    let first = print_tile(shader, label, &job, means, pick);
    let mut shader = Shader::default();
    operands.prepare(&mut shader, false, true);
    let slot = shader.operand(place, false);
    operands.stores(&mut shader);
    let second = print_sum(shader, &format!("{label}, sum of parts"), sizes, &slot, parts);
    (first.into_iter().chain([second]).collect(), start + elements * parts)
}

fn print_tile(shader: Shader, label: &str, job: &Job<'_>, means: Means, pick: Pick) -> Option<Dispatch> {
    match pick {
        Pick::Contraction(tile, _) => Some(tile::print(shader, label, job, tile)),
        Pick::Matrices(tile, _) => Some(cooperative::print(shader, label, job, tile, means.matrices?)),
        Pick::Attention(_) => None,
    }
}

/// Adds the functions `store` and, for quads, `store4`, to memory.
fn print_stores(shader: &mut Shader, slot: &Slot, index: &str, quads: bool) {
    let store = slot.store(index, "value");
    shader.line_head(&format!("fn store(z: u32, m: u32, n: u32, value: f32) {{ {store} }}"));
    if quads {
        let store = slot.store_vector(index, "value");
        shader.line_head(&format!("fn store4(z: u32, m: u32, n: u32, value: vec4<f32>) {{ {store} }}"));
    }
}

/// Adds the functions `store` and, for quads, `store4`, to a target; the statements `find` prepare for `index`, the
/// number of the element for `z`, `m` and `n`.
pub fn print_finish(shader: &mut Shader, target: &Target<'_>, find: &str, index: &str, quads: bool) {
    target.print(shader, quads);
    shader.line_head(&format!(
        "fn store(z: u32, m: u32, n: u32, value: f32) {{ {find} finish({index}, value); }}"
    ));
    if quads {
        shader.line_head(&format!(
            "fn store4(z: u32, m: u32, n: u32, value: vec4<f32>) {{ {find} finish4({index}, value); }}"
        ));
    }
}

/// Threads of a workgroup of the dispatch that adds parts; most of them that share an element, and parts that each
/// takes before more do.
const SUM_THREADS: usize = 256;
const SUM_LANES: usize = 8;
const SUM_PARTS: usize = 8;

fn print_sum(mut shader: Shader, label: &str, sizes: Sizes, slot: &Slot, parts: usize) -> Dispatch {
    let elements = sizes.z * sizes.m * sizes.n;
    let lanes = parts.div_ceil(SUM_PARTS).next_power_of_two().min(SUM_LANES);
    let per_group = SUM_THREADS / lanes;
    shader.line(&format!("let i = wg * {per_group}u + lid % {per_group}u;"));
    shader.line("var sum = 0.0;");
    shader.line(&format!("if (i < {elements}u) {{"));
    shader.line(&format!("for (var part = lid / {per_group}u; part < {parts}u; part += {lanes}u) {{"));
    let load = slot.load(&format!("(part * {elements}u + i)"));
    shader.line(&format!("sum += {load}; }} }}"));
    if lanes > 1 {
        shader.line_head(&format!("var<workgroup> sums: array<f32, {SUM_THREADS}>;"));
        shader.line("sums[lid] = sum; workgroupBarrier();");
    }
    shader.line(&format!("if (lid < {per_group}u && i < {elements}u) {{"));
    for lane in 1..lanes {
        shader.line(&format!("sum += sums[lid + {}u];", lane * per_group));
    }
    let (m, n) = (sizes.m, sizes.n);
    shader.line(&format!("store(i / {}u, (i / {n}u) % {m}u, i % {n}u, sum); }}", m * n));
    shader.finish(label, SUM_THREADS, elements.div_ceil(per_group))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dropforge_gpu::tune::Tunable as _;

    /// What the rule picks for a product, and its class, with matrices of so many rows.
    fn by_rule(m: usize, n: usize, k: usize, side: usize, matrix_use: MatrixUse) -> (String, Pick) {
        let kind = cooperative::Kind { side, scalar: "f16", lanes: 32, in_quads: true, start_at_zero: true };
        let means = Means { memory: 48 << 10, threads: 1024, matrices: Some(kind), matrix_use };
        let tunable = tunable("dot".into(), Sizes { z: 1, m, n, k }, means);
        assert!(tunable.picks.iter().all(|&pick| tunable.fit(Some(pick)) == pick));
        let is_matrices = |pick: &Pick| matches!(pick, Pick::Matrices(..));
        let count = tunable.picks.iter().filter(|pick| is_matrices(pick)).count();
        match matrix_use {
            MatrixUse::Never => assert_eq!(count, 0),
            MatrixUse::WhereFaster => assert!(count > 0),
            MatrixUse::Always => assert_eq!(count, tunable.picks.len()),
        }
        (tunable.class, tunable.picks[0])
    }

    #[test]
    fn products_go_through_large_matrices_by_rule() {
        for (m, n, k) in [(4096, 4096, 4096), (512, 512, 512), (128, 10, 256), (1, 1, 300)] {
            for matrix_use in [MatrixUse::WhereFaster, MatrixUse::Always] {
                let (class, pick) = by_rule(m, n, k, 16, matrix_use);
                assert!(
                    matches!(pick, Pick::Matrices(..)) && class == "dot-matrices",
                    "{m} {n} {k}: {pick:?}"
                );
            }
            let (class, pick) = by_rule(m, n, k, 16, MatrixUse::Never);
            assert!(matches!(pick, Pick::Contraction(..)) && class == "dot", "{pick:?}");
            by_rule(m, n, k, 8, MatrixUse::Always);
        }
    }
}
