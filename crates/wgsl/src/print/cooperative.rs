//! The tile shader of contractions by cooperative matrices: square ones that the lanes of a subgroup hold and multiply
//! together, on tensor cores where there are such.
//!
//! As in `tile.rs`, threads bring slices of `a` and `b` into workgroup memory while the slice before is multiplied;
//! here they lie there as in memory, along k or across it. Each subgroup keeps a part of the tile in matrices. Sums
//! leave through workgroup memory, from where each lane stores four neighbours with all that follows the contraction.
//!
//! The printed shader calls for the whole workgroup at once, which matrices need: nothing but loads and stores stands
//! behind a condition that differs between threads, and all that matrices are loaded from or stored to is workgroup
//! memory of this shader.

use super::shader::{Dispatch, Shader};
use super::tile::{Brought, Job, Slice, find_tile, store_four};
use crate::tuning::MatrixTile;
use std::fmt::Write;

/// The matrices that a contraction can go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Rows and columns.
    pub side: usize,
    /// Type of the factors; sums are f32.
    pub scalar: &'static str,
    /// Lanes of a subgroup.
    pub lanes: usize,
    /// Whether workgroup memory can be of quads.
    pub in_quads: bool,
    /// Whether variables of matrices start at zero.
    pub start_at_zero: bool,
}

impl Kind {
    fn scalar_bytes(self) -> usize {
        if self.scalar == "f32" { 4 } else { 2 }
    }

    /// Matrices side by side that a subgroup brings into workgroup memory at once, so that every lane has something to
    /// store.
    fn gathered(self) -> usize {
        (STORED_COLUMNS / self.side).max(1)
    }

    /// Elements of these.
    fn stored(self) -> usize {
        self.side * self.side * self.gathered()
    }

    /// Whether a tile consists of such matrices, its threads share the loads evenly, and a workgroup may be of so many
    /// threads and bytes.
    pub fn takes(self, tile: MatrixTile, threads: usize, bytes: usize) -> bool {
        let MatrixTile { m, n, part_m, part_n, k } = tile;
        let used = tile.threads(self.lanes);
        let sums = used / self.lanes * self.stored() * 4;
        let memory = tile.elements() * self.scalar_bytes() + sums;
        part_m.is_multiple_of(self.side)
            && part_n.is_multiple_of(self.side * self.gathered())
            && k.is_multiple_of(self.side)
            && (m * k).is_multiple_of(used)
            && (n * k).is_multiple_of(used)
            && used <= threads
            && memory <= bytes
    }
}

/// Columns that a subgroup stores at once.
const STORED_COLUMNS: usize = 16;

/// A slice in workgroup memory, in rows along the memory of its operand.
struct Stage {
    letter: char,
    slice: Slice,
    along_k: bool,
    /// Elements of a row.
    row: usize,
    kind: Kind,
}

impl Stage {
    fn new(job: &Job<'_>, number: usize, tile: MatrixTile, kind: Kind) -> Stage {
        let width = [tile.m, tile.n][number];
        let slice = Slice::new(job, number, [width, tile.k], tile.threads(kind.lanes));
        let along_k = job.operands.along_k()[number];
        let row = MatrixTile::row(if along_k { tile.k } else { width });
        Stage { letter: ['a', 'b'][number], slice, along_k, row, kind }
    }

    fn declare(&self, shader: &mut Shader, tile: MatrixTile) {
        let rows = match (self.along_k, self.letter) {
            (false, _) => tile.k,
            (true, 'a') => tile.m,
            (true, _) => tile.n,
        };
        let (scalar, elements) = (self.kind.scalar, rows * self.row);
        let array = array(self.kind.in_quads, scalar, elements);
        shader.line_head(&format!("var<workgroup> s{}: {array};", self.letter));
    }

    /// The statements that put what a thread holds into workgroup memory.
    fn put(&self, text: &mut String) {
        let letter = self.letter;
        for i in 0..self.slice.each {
            let (across, along) = self.slice.position(i);
            let (row, column) = if self.along_k { (across, along) } else { (along, across) };
            let _ = write!(text, "{{ let at = {row} * {}u + {column}; ", self.row);
            let _ = match (self.slice.brought(i, self.kind.scalar), self.kind.in_quads) {
                (Brought::Four(four, _), true) => write!(text, "s{letter}[at >> 2u] = {four};"),
                (Brought::Four(_, ones), false) => ones
                    .iter()
                    .enumerate()
                    .try_for_each(|(lane, one)| write!(text, "s{letter}[at + {lane}u] = {one}; ")),
                (Brought::One(one), true) => write!(text, "s{letter}[at >> 2u][at & 3u] = {one};"),
                (Brought::One(one), false) => write!(text, "s{letter}[at] = {one};"),
            };
            text.push_str(" }\n");
        }
    }

    /// The statement that loads the matrix `number` across k from position `across` on, at position `k` along it.
    fn load(&self, text: &mut String, number: usize, across: &str, k: usize) {
        let Stage { letter, row, kind: Kind { side, scalar, .. }, .. } = *self;
        let from = number * side;
        let at = match self.along_k {
            true => format!("({across} + {from}u) * {row}u + {k}u"),
            false => format!("{across} + {}u", k * row + from),
        };
        let at = if self.kind.in_quads { format!("({at}) >> 2u") } else { at };
        // Rows of the memory are rows of `a`, or columns of `b`, where they lie along k.
        let load = if self.along_k == (letter == 'a') { "coopLoadT" } else { "coopLoad" };
        let role = letter.to_ascii_uppercase();
        let _ = writeln!(
            text,
            "let {letter}{number} = {load}<coop_mat{side}x{side}<{scalar}, {role}>>(&s{letter}[{at}], stride_{letter});"
        );
    }
}

/// The type of an array in workgroup memory.
fn array(in_quads: bool, scalar: &str, elements: usize) -> String {
    if in_quads {
        format!("array<vec4<{scalar}>, {}>", elements / 4)
    } else {
        format!("array<{scalar}, {elements}>")
    }
}

/// The tile shader. Parts of the sum are as in `tile.rs`.
pub(super) fn print(
    mut shader: Shader,
    label: &str,
    job: &Job<'_>,
    tile: MatrixTile,
    kind: Kind,
) -> Dispatch {
    let (sizes, side) = (job.sizes, kind.side);
    let threads = tile.threads(kind.lanes);
    let stages = [0, 1].map(|number| Stage::new(job, number, tile, kind));
    let unit = if kind.in_quads { 4 } else { 1 };
    let gathered = kind.gathered();
    let mut text = String::new();
    // Writing to a string cannot fail.
    macro_rules! line {
        ($($arg:tt)*) => { let _ = writeln!(text, $($arg)*); };
    }
    shader.enable("wgpu_cooperative_matrix");
    if kind.scalar == "f16" {
        shader.enable("f16");
    }
    shader.number_by_subgroups();
    for stage in &stages {
        stage.declare(&mut shader, tile);
    }
    let sums = array(kind.in_quads, "f32", threads / kind.lanes * kind.stored());
    shader.line_head(&format!("var<workgroup> sums: {sums};"));
    find_tile(&mut text, sizes, [tile.m, tile.n], job.part);
    let across = tile.n / tile.part_n;
    line!(
        "let my_m = (subgroup / {across}u) * {}u; let my_n = (subgroup % {across}u) * {}u;",
        tile.part_m,
        tile.part_n
    );
    line!("let my_sums = subgroup * {}u;", kind.stored() / unit);
    line!("let stride_a = {}u; let stride_b = {}u;", stages[0].row / unit, stages[1].row / unit);
    line!("let stride_sums = {}u;", side * gathered / unit);
    let (rows, columns) = (tile.part_m / side, tile.part_n / side);
    let sum_type = format!("coop_mat{side}x{side}<f32, C>");
    if !kind.start_at_zero {
        line!(
            "for (var i = lid; i < {}u; i += {threads}u) {{ sums[i] = 0.0; }}",
            threads / kind.lanes * kind.stored()
        );
        line!("workgroupBarrier();");
    }
    for (i, j) in (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))) {
        if kind.start_at_zero {
            line!("var c{i}_{j}: {sum_type};");
        } else {
            line!("var c{i}_{j} = coopLoadT<{sum_type}>(&sums[my_sums], stride_sums);");
        }
    }
    let check_k = !sizes.k.is_multiple_of(tile.k) || sizes.k == 0;
    stages.iter().for_each(|stage| stage.slice.declare(&mut text));
    stages.iter().for_each(|stage| stage.slice.fetch(&mut text, "k_start", check_k));
    line!("for (var k0 = k_start; k0 < k_end; k0 += {}u) {{", tile.k);
    line!("workgroupBarrier();");
    stages.iter().for_each(|stage| stage.put(&mut text));
    line!("workgroupBarrier();");
    line!("let next = k0 + {}u;", tile.k);
    line!("if (next < k_end) {{");
    stages.iter().for_each(|stage| stage.slice.fetch(&mut text, "next", check_k));
    line!("}}");
    for k in (0..tile.k).step_by(side) {
        line!("{{");
        (0..rows).for_each(|i| stages[0].load(&mut text, i, "my_m", k));
        (0..columns).for_each(|j| stages[1].load(&mut text, j, "my_n", k));
        for (i, j) in (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))) {
            line!("c{i}_{j} = coopMultiplyAdd(a{i}, b{j}, c{i}_{j});");
        }
        line!("}}");
    }
    line!("}}");
    let z = if job.parts > 1 { format!("part * {}u + z", sizes.z) } else { "z".to_string() };
    let row_quads = side * gathered / 4;
    for i in 0..rows {
        for j in (0..columns).step_by(gathered) {
            line!("workgroupBarrier();");
            for g in 0..gathered {
                // Where a matrix goes needs a name, or the translation loses it.
                line!(
                    "{{ let at = my_sums + {}u; coopStoreT(c{i}_{}, &sums[at], stride_sums); }}",
                    g * side / unit,
                    j + g
                );
            }
            line!("workgroupBarrier();");
            line!("for (var q = subgroup_lane; q < {}u; q += {}u) {{", kind.stored() / 4, kind.lanes);
            line!("let m = base_m + my_m + {}u + q / {row_quads}u;", i * side);
            line!("let n = base_n + my_n + {}u + q % {row_quads}u * 4u;", j * side);
            if kind.in_quads {
                line!("let four = sums[my_sums + q];");
            } else {
                let one = |lane: usize| format!("sums[my_sums + q * 4u + {lane}u]");
                line!("let four = vec4<f32>({});", [0, 1, 2, 3].map(one).join(", "));
            }
            store_four(&mut text, job, [tile.m, tile.n], [&z, "m", "n"], "four", &|lane| {
                format!("four[{lane}]")
            });
            line!("}}");
        }
    }
    shader.body.push_str(&text);
    let tiles = sizes.m.div_ceil(tile.m) * sizes.n.div_ceil(tile.n);
    shader.finish(label, threads, tiles * sizes.z * job.parts)
}
