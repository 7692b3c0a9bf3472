//! Loop kernels with columns: several lanes per row, which merge what they keep in workgroup memory.
//!
//! Where rows are few and columns many, columns are split into parts that different workgroups take: a dispatch for each
//! stage, which leaves what its parts keep in scratch memory. Whoever needs the result of a stage merges the parts, always
//! in the same order.

use super::quads::{self, Along};
use super::reduction::Accumulator;
use super::scalar::{Scene, name};
use super::shader::{BufferId, Dispatch, Shader, Slot, Where, wgsl_type};
use crate::printing::Printing;
use crate::tuning::{
    BUSY_GROUPS, BUSY_THREADS, COLUMNS_PER_THREAD, LEAST_SPLIT_COLUMNS, MOST_PARTS, WORKGROUP,
};
use dropforge_ir::DType;
use dropforge_plan::kernel::{Instruction, Level, LoopKernel, Reduction, Stage};

/// How threads share rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lanes {
    /// Threads of a workgroup per row; a power of two.
    lanes: usize,
    /// Whether neighbouring threads stand in neighbouring rows, rather than in neighbouring columns.
    along_rows: bool,
    /// Workgroups per row.
    parts: usize,
}

impl Lanes {
    /// Whether neighbouring threads should stand in neighbouring rows.
    fn along_rows(kernel: &LoopKernel, rows: usize) -> bool {
        let mut votes = 0i64;
        for instruction in kernel.stages.iter().flat_map(|stage| &stage.domain) {
            if let Instruction::Load { access, .. } | Instruction::Store { access, .. } = instruction {
                let is_one = |strides: &[i64]| strides.last().is_some_and(|stride| stride.abs() == 1);
                votes += i64::from(is_one(&access.index.rows)) - i64::from(is_one(&access.index.columns));
            }
        }
        votes > 0 && rows > 1
    }

    /// `together` are the columns that a thread takes at once.
    fn choose(kernel: &LoopKernel, rows: usize, along_rows: bool, together: usize) -> Lanes {
        let columns: usize = kernel.columns.iter().product();
        let mut lanes = columns.div_ceil(COLUMNS_PER_THREAD).next_power_of_two().min(WORKGROUP);
        if along_rows {
            // Enough neighbouring rows for whole memory transactions.
            lanes = lanes.min(WORKGROUP / rows.next_power_of_two().clamp(1, 32));
        }
        while lanes < WORKGROUP && lanes * together < columns && rows * lanes < BUSY_THREADS && !along_rows {
            lanes *= 2;
        }
        if columns <= COLUMNS_PER_THREAD {
            lanes = 1;
        }
        let groups = rows.div_ceil(WORKGROUP / lanes).max(1);
        let mut parts = 1;
        if columns >= LEAST_SPLIT_COLUMNS && groups * 2 <= BUSY_GROUPS {
            let most = (columns / (lanes * COLUMNS_PER_THREAD)).clamp(1, MOST_PARTS);
            parts = (BUSY_GROUPS / groups).clamp(1, most);
        }
        Lanes { lanes, along_rows, parts }
    }
}

/// What a dispatch does of a kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// Everything.
    Whole,
    /// The domain part of one stage, over a part of the columns.
    Stage(usize),
    /// What is left for each row.
    Rows,
}

/// Who holds what the threads of a row are about to merge.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    /// Each lane has its own.
    ByLanes,
    /// Each subgroup, where lanes merge in these, has all that the parts of a stage kept; else it is spread over all lanes.
    ByParts,
}

/// A kernel with columns, applied to operands.
pub(crate) struct Rows<'a> {
    kernel: &'a LoopKernel,
    extents: &'a [usize],
    operands: Vec<Where>,
    rows: usize,
    columns: usize,
    lanes: Lanes,
    /// Whether a thread takes four neighbouring columns at once.
    in_quads: bool,
    /// Fewest lanes of a subgroup, if those of a row exchange values within it.
    subgroup: Option<usize>,
}

impl<'a> Rows<'a> {
    pub fn new(
        kernel: &'a LoopKernel,
        extents: &'a [usize],
        operands: Vec<Where>,
        printing: Printing,
    ) -> Rows<'a> {
        let rows = extents.iter().product();
        let columns = kernel.columns.iter().product();
        let along_rows = Lanes::along_rows(kernel, rows);
        let in_quads = !along_rows
            && rows * columns >= printing.quads_from
            && takes_quads(kernel, &operands, printing.stores_parts);
        let lanes = Lanes::choose(kernel, rows, along_rows, if in_quads { 4 } else { 1 });
        // In subgroups every lane merges at every step, in memory half of those of the step before: with two exponentials to a
        // merge, the rows of several subgroups were slower (softmax over 1000 columns by 16 % on an H200).
        let mut reductions = kernel.stages.iter().flat_map(|stage| &stage.reductions);
        let is_costly = reductions.any(|reduce| reduce.kind == Reduction::LogSumExp);
        let fits = |least: &usize| lanes.lanes <= *least || !is_costly;
        let subgroup = printing
            .subgroup
            .map(|least| least as usize)
            .filter(|least| !along_rows && lanes.lanes > 1 && fits(least));
        Rows { kernel, extents, operands, rows, columns, lanes, in_quads, subgroup }
    }

    /// The dispatches, and the words of scratch memory that they need.
    pub fn dispatches(&self, label: &str) -> (Vec<Dispatch>, usize) {
        if self.lanes.parts == 1 {
            return (vec![self.print(label, Pass::Whole)], 0);
        }
        let stages = &self.kernel.stages;
        let mut all: Vec<Dispatch> = (0..stages.len())
            .filter(|&stage| !stages[stage].domain.is_empty())
            .map(|stage| self.print(&format!("{label}, stage {stage}"), Pass::Stage(stage)))
            .collect();
        let is_store = |instruction: &Instruction| matches!(instruction, Instruction::Store { .. });
        if stages.iter().any(|stage| stage.row.iter().any(is_store)) {
            all.push(self.print(&format!("{label}, rows"), Pass::Rows));
        }
        let words = stages.iter().map(|stage| self.kept_words(stage)).sum::<usize>();
        (all, words * self.rows * self.lanes.parts)
    }

    fn accumulators(&self, number: usize) -> Vec<Accumulator<'a>> {
        let one = |(index, reduce)| {
            let reduce: &'a dropforge_plan::kernel::Reduce = reduce;
            let dtype = self.kernel.registers[reduce.from.index()].dtype;
            Accumulator::new(reduce, dtype, format!("a{number}_{index}"))
        };
        self.kernel.stages[number].reductions.iter().enumerate().map(one).collect()
    }

    /// Words that a part keeps of a row in a stage.
    fn kept_words(&self, stage: &Stage) -> usize {
        let width = |reduce: &dropforge_plan::kernel::Reduce| {
            let dtype = self.kernel.registers[reduce.from.index()].dtype;
            let parts = Accumulator::new(reduce, dtype, String::new()).parts();
            parts.iter().map(|(ty, _)| components(ty).len()).sum::<usize>()
        };
        stage.reductions.iter().map(width).sum()
    }

    /// Columns, or quads of columns, of a row.
    fn steps(&self) -> usize {
        if self.in_quads { self.columns / 4 } else { self.columns }
    }

    fn print(&self, label: &str, pass: Pass) -> Dispatch {
        let Lanes { lanes, along_rows, parts } = self.lanes;
        let mut shader = Shader::default();
        if self.subgroup.is_some() {
            shader.number_by_subgroups();
        }
        if self.in_quads {
            for operand in operands_in_quads(self.kernel, &self.operands) {
                shader.bind_as_quads(self.operands[operand]);
            }
        }
        let slots: Vec<Slot> = self
            .operands
            .iter()
            .zip(&self.kernel.written)
            .map(|(&place, &written)| shader.operand(place, written))
            .collect();
        let per_group = WORKGROUP / lanes;
        let (row, lane) = match along_rows {
            _ if lanes == 1 => ("lid".to_string(), "0u".to_string()),
            true => (format!("(lid % {per_group}u)"), format!("(lid / {per_group}u)")),
            false => (format!("(lid / {lanes}u)"), format!("(lid % {lanes}u)")),
        };
        let is_part = matches!(pass, Pass::Stage(_));
        let group = if is_part { format!("(wg / {parts}u)") } else { "wg".into() };
        shader.line(&format!("let row = {group} * {per_group}u + {row};"));
        shader.line(&format!("let lane = {lane};"));
        if self.subgroup.is_some() {
            // Lanes of a row in one subgroup.
            shader.line(&format!("let width = min({lanes}u, subgroup_lanes);"));
        }
        shader.line(&format!("let is_row = row < {}u;", self.rows));
        shader.line(&format!("let r = min(row, {}u);", self.rows - 1));
        for (index, register) in self.kernel.registers.iter().enumerate() {
            if register.level == Level::Row {
                shader.line(&format!("var v{index}: {};", wgsl_type(register.dtype)));
            }
        }
        let scratch =
            (parts > 1).then(|| shader.operand(Where::of_words(BufferId::Scratch, 0, DType::U32), is_part));
        let mut writer = Writer { rows: self, shader: &mut shader, slots: &slots, scratch };
        let count = self.kernel.stages.len();
        match pass {
            Pass::Whole => (0..count).for_each(|stage| {
                writer.accumulate(stage, "0u", &format!("{}u", self.steps()));
                writer.finish_stage(stage, Held::ByLanes, true);
            }),
            Pass::Stage(last) => {
                (0..last).for_each(|stage| {
                    writer.fetch(stage);
                    writer.finish_stage(stage, Held::ByParts, false);
                });
                let part = self.steps().div_ceil(parts);
                writer.shader.line(&format!("let part = wg % {parts}u;"));
                let end = format!("min((part + 1u) * {part}u, {}u)", self.steps());
                writer.accumulate(last, &format!("part * {part}u"), &end);
                writer.keep(last);
            }
            Pass::Rows => (0..count).for_each(|stage| {
                writer.fetch(stage);
                writer.finish_stage(stage, Held::ByParts, true);
            }),
        }
        let groups = self.rows.div_ceil(per_group) * if is_part { parts } else { 1 };
        shader.finish(label, WORKGROUP, groups)
    }
}

/// The operands whose elements the columns of a kernel meet in quads.
fn operands_in_quads(kernel: &LoopKernel, places: &[Where]) -> Vec<usize> {
    quads::operands_in_quads(kernel.stages.iter().flat_map(|stage| &stage.domain), Along::Columns, places)
}

/// Whether threads may take four neighbouring columns at once, and have something of it.
fn takes_quads(kernel: &LoopKernel, places: &[Where], stores_parts: bool) -> bool {
    let found = operands_in_quads(kernel, places);
    let is_bound = |place: Where| {
        let alike = |other: Where| other.buffer == place.buffer && other.is_packed == place.is_packed;
        found.iter().any(|&operand| alike(places[operand]))
    };
    let is_alone = |instruction: &Instruction| match instruction {
        Instruction::Store { access, .. } => {
            is_bound(places[access.operand]) && !found.contains(&access.operand)
        }
        _ => false,
    };
    let mut all = kernel.stages.iter().flat_map(|stage| stage.domain.iter().chain(&stage.row));
    quads::come_in_quads(&kernel.columns) && !found.is_empty() && (stores_parts || !all.any(is_alone))
}

/// The parts of accumulators, by name and type.
fn named<'a>(accumulators: &'a [Accumulator<'_>]) -> impl Iterator<Item = (String, &'static str)> + 'a {
    let parts = |one: &'a Accumulator<'_>| {
        one.parts().into_iter().enumerate().map(|(part, (ty, _))| (one.part(part), ty))
    };
    accumulators.iter().flat_map(parts)
}

/// What selects each component of a kept value, and its type.
fn components(ty: &str) -> Vec<(&'static str, &'static str)> {
    match ty {
        "vec2<f32>" => vec![(".x", "f32"), (".y", "f32")],
        "vec3<f32>" => vec![(".x", "f32"), (".y", "f32"), (".z", "f32")],
        "i32" => vec![("", "i32")],
        "u32" => vec![("", "u32")],
        _ => vec![("", "f32")],
    }
}

/// Prints the stages of one dispatch.
struct Writer<'a, 'b> {
    rows: &'b Rows<'a>,
    shader: &'b mut Shader,
    slots: &'b [Slot],
    scratch: Option<Slot>,
}

impl Writer<'_, '_> {
    fn declare(&mut self, accumulators: &[Accumulator<'_>]) {
        for accumulator in accumulators {
            for (part, (ty, first)) in accumulator.parts().into_iter().enumerate() {
                self.shader.line(&format!("var {}: {ty} = {first};", accumulator.part(part)));
            }
        }
    }

    /// The domain part of a stage, over the columns, or quads of columns, from `start` to `end`.
    fn accumulate(&mut self, number: usize, start: &str, end: &str) {
        let Rows { kernel, extents, columns, lanes, in_quads, ref operands, .. } = *self.rows;
        let lanes = lanes.lanes;
        let accumulators = self.rows.accumulators(number);
        self.declare(&accumulators);
        let stage = &kernel.stages[number];
        if columns == 0 || (stage.domain.is_empty() && accumulators.is_empty()) {
            return;
        }
        let scene = Scene { column: "c", ..Scene::of_rows(kernel, extents, self.slots, "r") };
        self.shader.line(&format!("if (is_row) {{ let column_end = {end};"));
        self.shader.line(&format!("for (var i = {start} + lane; i < column_end; i += {lanes}u) {{"));
        if in_quads {
            self.shader.line("let c = i << 2u;");
            for line in quads::print(&scene, &stage.domain, Along::Columns, operands) {
                self.shader.line(&line);
            }
            for accumulator in &accumulators {
                let names = quads::names(&scene, &stage.domain, Along::Columns, accumulator.reduce.from);
                self.shader.line(&accumulator.add_four("c", &names));
            }
        } else {
            self.shader.line("let c = i;");
            for instruction in &stage.domain {
                self.shader.line(&scene.print(instruction, true));
            }
            for accumulator in &accumulators {
                self.shader.line(&accumulator.add("c", &name(accumulator.reduce.from)));
            }
        }
        self.shader.line("} }");
    }

    /// The words of scratch memory of a stage: for each accumulator, part of it and component, the expression of the word
    /// that workgroup `part` keeps of row `r`.
    fn kept(&self, number: usize) -> Vec<Vec<Vec<String>>> {
        let Rows { rows, lanes, kernel, .. } = *self.rows;
        let before: usize = kernel.stages[..number].iter().map(|stage| self.rows.kept_words(stage)).sum();
        let mut word = before * rows * lanes.parts;
        let mut next = || {
            let index = format!("({word}u + r * {}u + part)", lanes.parts);
            word += rows * lanes.parts;
            self.scratch.as_ref().map(|slot| slot.stored(&index)).unwrap_or_default()
        };
        let accumulators = self.rows.accumulators(number);
        accumulators
            .iter()
            .map(|accumulator| {
                let parts = accumulator.parts();
                parts.iter().map(|(ty, _)| components(ty).iter().map(|_| next()).collect()).collect()
            })
            .collect()
    }

    /// Leaves what this workgroup found of a stage in scratch memory.
    fn keep(&mut self, number: usize) {
        let accumulators = self.rows.accumulators(number);
        if accumulators.is_empty() {
            return;
        }
        self.merge(&accumulators, Held::ByLanes);
        let words = self.kept(number);
        self.shader.line("if (is_row && lane == 0u) {");
        for (accumulator, words) in accumulators.iter().zip(words) {
            for (part, ((ty, _), words)) in accumulator.parts().iter().zip(words).enumerate() {
                for ((select, _), word) in components(ty).iter().zip(words) {
                    let name = accumulator.part(part);
                    self.shader.line(&format!("{word} = bitcast<u32>({name}{select});"));
                }
            }
        }
        self.shader.line("}");
    }

    /// Takes what the parts of a stage kept.
    fn fetch(&mut self, number: usize) {
        let accumulators = self.rows.accumulators(number);
        if accumulators.is_empty() {
            return;
        }
        self.declare(&accumulators);
        let Lanes { lanes, parts, .. } = self.rows.lanes;
        let words = self.kept(number);
        let (first, step) = match self.rows.subgroup {
            // Each subgroup by itself, so that none has to wait for another.
            Some(_) => ("lane % width".into(), "width".into()),
            None => ("lane".to_string(), format!("{lanes}u")),
        };
        self.shader.line(&format!("for (var part = {first}; part < {parts}u; part += {step}) {{"));
        for (accumulator, words) in accumulators.iter().zip(words) {
            let others: Vec<String> = accumulator
                .parts()
                .iter()
                .zip(words)
                .map(|((ty, _), words)| {
                    let values: Vec<String> = components(ty)
                        .iter()
                        .zip(words)
                        .map(|((_, scalar), word)| format!("bitcast<{scalar}>({word})"))
                        .collect();
                    if values.len() == 1 { values.concat() } else { format!("{ty}({})", values.join(", ")) }
                })
                .collect();
            self.shader.line(&accumulator.merge(&others));
        }
        self.shader.line("}");
    }

    /// Merges lanes, gives results to registers, and runs the row instructions.
    fn finish_stage(&mut self, number: usize, held: Held, with_stores: bool) {
        let accumulators = self.rows.accumulators(number);
        self.merge(&accumulators, held);
        for accumulator in &accumulators {
            self.shader.line(&accumulator.end());
        }
        self.row_part(number, with_stores);
    }

    /// Merges the lanes of each row pairwise, always in the same order, and gives every lane the result.
    fn merge(&mut self, accumulators: &[Accumulator<'_>], held: Held) {
        match self.rows.subgroup {
            _ if self.rows.lanes.lanes == 1 || accumulators.is_empty() => {}
            Some(least) => self.merge_in_subgroups(accumulators, held, least),
            None => self.merge_in_memory(accumulators),
        }
    }

    /// Lanes of a subgroup, of which there are at least `least`, exchange what they have; several subgroups of a row meet in
    /// workgroup memory.
    fn merge_in_subgroups(&mut self, accumulators: &[Accumulator<'_>], held: Held, least: usize) {
        let Lanes { lanes, parts, .. } = self.rows.lanes;
        match held {
            Held::ByParts => {
                let holders = parts.next_power_of_two();
                self.exchange(accumulators, &format!("min({holders}u, width)"));
            }
            Held::ByLanes => self.exchange(accumulators, "width"),
        }
        if held == Held::ByLanes && lanes > least {
            self.shader.line(&format!("{{ let pieces = {lanes}u / width; let first = (lid - lane) / width;"));
            for (name, ty) in named(accumulators) {
                let most = WORKGROUP / least;
                self.shader.line_head(&format!("var<workgroup> s{name}: array<{ty}, {most}>;"));
                self.shader.line(&format!("if (lid % width == 0u) {{ s{name}[lid / width] = {name}; }}"));
            }
            self.shader.line("workgroupBarrier();");
            self.shader.line("let holders = min(pieces, width); let own = lane % holders;");
            for (name, _) in named(accumulators) {
                self.shader.line(&format!("{name} = s{name}[first + own];"));
            }
            self.shader.line("for (var i = own + holders; i < pieces; i += holders) {");
            self.merge_named(accumulators, |name| format!("s{name}[first + i]"));
            self.shader.line("}");
            self.exchange(accumulators, "holders");
            self.shader.line("}");
        }
        // Lanes merged in different orders; all take what the first of each subgroup has, which is the same in all of a row.
        for (name, _) in named(accumulators) {
            self.shader.line(&format!("{name} = subgroupShuffle({name}, subgroup_lane & ~(width - 1u));"));
        }
    }

    /// Each lane merges with those of the next `count`, a power of two, in its subgroup.
    fn exchange(&mut self, accumulators: &[Accumulator<'_>], count: &str) {
        self.shader.line(&format!("for (var apart = 1u; apart < {count}; apart <<= 1u) {{"));
        for (name, _) in named(accumulators) {
            self.shader.line(&format!("let other_{name} = subgroupShuffleXor({name}, apart);"));
        }
        self.merge_named(accumulators, |name| format!("other_{name}"));
        self.shader.line("}");
    }

    /// Joins each part of accumulators with another that is found by its name.
    fn merge_named(&mut self, accumulators: &[Accumulator<'_>], other: impl Fn(&str) -> String) {
        for accumulator in accumulators {
            let others: Vec<String> =
                (0..accumulator.parts().len()).map(|part| other(&accumulator.part(part))).collect();
            self.shader.line(&accumulator.merge(&others));
        }
    }

    /// Lanes merge in workgroup memory.
    fn merge_in_memory(&mut self, accumulators: &[Accumulator<'_>]) {
        let Lanes { lanes, along_rows, .. } = self.rows.lanes;
        let step = if along_rows { WORKGROUP / lanes } else { 1 };
        let shared = |accumulator: &Accumulator<'_>, part: usize| format!("s{}", accumulator.part(part));
        let parts: Vec<(&Accumulator<'_>, usize, &'static str)> = accumulators
            .iter()
            .flat_map(|one| one.parts().into_iter().enumerate().map(move |(index, (ty, _))| (one, index, ty)))
            .collect();
        for &(accumulator, part, ty) in &parts {
            let name = shared(accumulator, part);
            self.shader.line_head(&format!("var<workgroup> {name}: array<{ty}, {WORKGROUP}>;"));
            self.shader.line(&format!("{name}[lid] = {};", accumulator.part(part)));
        }
        self.shader.line("workgroupBarrier();");
        self.shader.line(&format!("for (var half = {}u; half > 0u; half >>= 1u) {{", lanes / 2));
        self.shader.line("if (lane < half) {");
        for accumulator in accumulators {
            let others: Vec<String> = (0..accumulator.parts().len())
                .map(|part| format!("{}[lid + half * {step}u]", shared(accumulator, part)))
                .collect();
            self.shader.line(&accumulator.merge(&others));
            for part in 0..others.len() {
                let name = shared(accumulator, part);
                self.shader.line(&format!("{name}[lid] = {};", accumulator.part(part)));
            }
        }
        self.shader.line("} workgroupBarrier(); }");
        for &(accumulator, part, _) in &parts {
            let name = shared(accumulator, part);
            self.shader.line(&format!("{} = {name}[lid - lane * {step}u];", accumulator.part(part)));
        }
    }

    /// Row instructions run in every lane, their stores in one.
    fn row_part(&mut self, number: usize, with_stores: bool) {
        let Rows { kernel, extents, lanes, .. } = *self.rows;
        let stage = &kernel.stages[number];
        let scene = Scene::of_rows(kernel, extents, self.slots, "r");
        let is_store = |instruction: &&Instruction| matches!(instruction, Instruction::Store { .. });
        for instruction in stage.row.iter().filter(|instruction| !is_store(instruction)) {
            self.shader.line(&scene.print(instruction, false));
        }
        let stores: Vec<&Instruction> = stage.row.iter().filter(is_store).collect();
        if stores.is_empty() || !with_stores {
            return;
        }
        if lanes.lanes > 1 {
            // What one lane overwrites, the others have read.
            self.shader.line("storageBarrier(); workgroupBarrier();");
        }
        self.shader.line("if (is_row && lane == 0u) {");
        for store in stores {
            self.shader.line(&scene.print(store, true));
        }
        self.shader.line("}");
    }
}
