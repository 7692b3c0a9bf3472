//! Loop kernels with columns: several lanes per row, which merge what they keep in workgroup memory.
//!
//! Where rows are few and columns many, columns are split into parts that different workgroups take: a dispatch for
//! each stage, which leaves what its parts keep in scratch memory. Whoever needs the result of a stage merges the
//! parts, always in the same order.
//!
//! Several instances share these dispatches: a table says how large each is, and which workgroups are its own.

use super::loops::{ANY_EXTENT, Busy, find_instance, together};
use super::quads::{self, Along};
use super::reduction::Accumulator;
use super::scalar::{Scene, name};
use super::shader::{BufferId, Dispatch, Shader, Slot, Where, wgsl_type};
use crate::printing::Printing;
use crate::tuning::{BUSY_THREADS, COLUMNS_PER_THREAD, LEAST_SPLIT_COLUMNS, MOST_PARTS, WORKGROUP};
use dropforge_ir::DType;
use dropforge_plan::kernel::{Instruction, Level, LoopKernel, Reduction, Stage};

/// How threads share rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lanes {
    /// Threads of a workgroup per row; a power of two.
    lanes: usize,
    /// Whether neighbouring threads stand in neighbouring rows, rather than in neighbouring columns.
    along_rows: bool,
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

    /// For so many rows of so many columns; `together` are the columns that a thread takes at once.
    fn choose(rows: usize, columns: usize, along_rows: bool, together: usize) -> Lanes {
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
        Lanes { lanes, along_rows }
    }

    /// Workgroups for so many rows.
    fn groups(self, rows: usize) -> usize {
        rows.div_ceil(WORKGROUP / self.lanes)
    }

    /// Workgroups per row, where `busy` workgroups are wanted.
    fn parts(self, rows: usize, columns: usize, busy: usize) -> usize {
        let wanted = busy / self.groups(rows).max(1);
        if columns < LEAST_SPLIT_COLUMNS || wanted < 2 {
            return 1;
        }
        wanted.min((columns / (self.lanes * COLUMNS_PER_THREAD)).clamp(1, MOST_PARTS))
    }
}

/// The dispatches of a kernel with columns for all instances, and the words of scratch memory that they need;
/// `uniform_words` is how many parameters a shader may have.
pub(super) fn dispatches<'a>(
    label: &str,
    kernel: &'a LoopKernel,
    instances: Vec<Busy<'a>>,
    uniform_words: usize,
    printing: Printing,
) -> (Vec<Dispatch>, usize) {
    let elements = |busy: &Busy<'_>| busy.domain.row_count() * busy.domain.column_count();
    let have_quads = instances.iter().map(elements).sum::<usize>() >= printing.quads_from;
    let quads = |busy: &Busy<'_>| {
        let takes = have_quads && takes_quads(kernel, busy, printing.stores_parts);
        takes.then(|| operands_in_quads(kernel, &busy.operands))
    };
    let groups = if kernel.row_axes <= 1 && kernel.column_axes <= 1 {
        together(instances, uniform_words / (TABLE_WORDS + kernel.written.len()), quads)
    } else {
        instances.into_iter().map(|instance| vec![instance]).collect()
    };
    let mut all = (Vec::new(), 0);
    for group in groups {
        let (dispatches, scratch) = Rows::new(kernel, group, printing).dispatches(label);
        all.0.extend(dispatches);
        all.1 = all.1.max(scratch);
    }
    all
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
    /// Each subgroup, where lanes merge in these, has all that the parts of a stage kept; else it is spread over all
    /// lanes.
    ByParts,
}

/// An instance, and how its columns are split.
struct Part<'a> {
    busy: Busy<'a>,
    rows: usize,
    columns: usize,
    /// Workgroups per row.
    parts: usize,
}

/// Words of the table of instances, beside an operand's first element each.
const TABLE_WORDS: usize = 6;

/// The sizes of the instance at hand, as expressions.
struct Sizes {
    /// The number of the workgroup among those of the instance.
    group: String,
    rows: String,
    last_row: String,
    /// Columns, or quads of columns, of a row, and those of a part.
    steps: String,
    part_steps: String,
    parts: String,
    /// The first word of scratch memory, and what a value that all parts keep for all rows takes there.
    scratch: String,
    kept: String,
}

/// A kernel with columns, applied to operands.
struct Rows<'a> {
    kernel: &'a LoopKernel,
    instances: Vec<Part<'a>>,
    lanes: Lanes,
    /// Whether a thread takes four neighbouring columns at once.
    in_quads: bool,
    /// Fewest lanes of a subgroup, if those of a row exchange values within it.
    subgroup: Option<usize>,
}

impl<'a> Rows<'a> {
    /// For instances that may share a dispatch.
    fn new(kernel: &'a LoopKernel, instances: Vec<Busy<'a>>, printing: Printing) -> Rows<'a> {
        let sizes: Vec<(usize, usize)> =
            instances.iter().map(|one| (one.domain.row_count(), one.domain.column_count())).collect();
        let rows = sizes.iter().map(|(rows, _)| rows).sum();
        let columns = sizes.iter().map(|(_, columns)| *columns).max().unwrap_or(0);
        let elements: usize = sizes.iter().map(|(rows, columns)| rows * columns).sum();
        let along_rows = Lanes::along_rows(kernel, rows);
        let in_quads = !along_rows
            && elements >= printing.quads_from
            && instances.iter().all(|one| takes_quads(kernel, one, printing.stores_parts));
        let lanes = Lanes::choose(rows, columns, along_rows, if in_quads { 4 } else { 1 });
        // In subgroups every lane merges at every step, in memory half of those of the step before: with two
        // exponentials to a merge, the rows of several subgroups were slower (softmax over 1000 columns by 16 % on an
        // H200).
        let mut reductions = kernel.stages.iter().flat_map(|stage| &stage.reductions);
        let is_costly = reductions.any(|reduce| reduce.kind == Reduction::LogSumExp);
        let fits = |least: &usize| lanes.lanes <= *least || !is_costly;
        let subgroup = printing
            .subgroup
            .map(|least| least as usize)
            .filter(|least| !along_rows && lanes.lanes > 1 && fits(least));
        // Each instance is given as many workgroups as it has of the elements.
        let busy = |rows: usize, columns: usize| {
            (printing.busy_groups * rows * columns).checked_div(elements).unwrap_or(0)
        };
        let instances = instances
            .into_iter()
            .zip(sizes)
            .map(|(one, (rows, columns))| {
                let parts = lanes.parts(rows, columns, busy(rows, columns));
                Part { busy: one, rows, columns, parts }
            })
            .collect();
        Rows { kernel, instances, lanes, in_quads, subgroup }
    }

    /// The most parts of an instance.
    fn parts(&self) -> usize {
        self.instances.iter().map(|instance| instance.parts).max().unwrap_or(1)
    }

    /// The dispatches, and the words of scratch memory that they need.
    fn dispatches(&self, label: &str) -> (Vec<Dispatch>, usize) {
        if self.parts() == 1 {
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
        let kept: usize = self.instances.iter().map(|one| one.rows * one.parts).sum();
        (all, self.words_of_all_stages() * kept)
    }

    /// Words that a part keeps of a row.
    fn words_of_all_stages(&self) -> usize {
        self.kernel.stages.iter().map(|stage| self.kept_words(stage)).sum()
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
    fn steps(&self, instance: &Part<'_>) -> usize {
        if self.in_quads { instance.columns / 4 } else { instance.columns }
    }

    /// The workgroups of an instance in a pass.
    fn groups(&self, instance: &Part<'_>, pass: Pass) -> usize {
        let parts = if matches!(pass, Pass::Stage(_)) { instance.parts } else { 1 };
        self.lanes.groups(instance.rows) * parts
    }

    /// The operands, and the sizes as they stand in a table, of which the line is found by workgroup, or in the text.
    fn place(&self, shader: &mut Shader, pass: Pass) -> (Vec<Slot>, Sizes) {
        let written = &self.kernel.written;
        if let [instance] = &self.instances[..] {
            let slots = instance
                .busy
                .operands
                .iter()
                .zip(written)
                .map(|(&place, &written)| shader.operand(place, written))
                .collect();
            let Part { rows, parts, .. } = instance;
            let sizes = Sizes {
                group: "wg".into(),
                rows: format!("{rows}u"),
                last_row: format!("{}u", rows - 1),
                steps: format!("{}u", self.steps(instance)),
                part_steps: format!("{}u", self.steps(instance).div_ceil(*parts)),
                parts: format!("{parts}u"),
                scratch: "0u".into(),
                kept: format!("{}u", rows * parts),
            };
            return (slots, sizes);
        }
        let (mut table, mut groups, mut scratch) = (Vec::new(), 0, 0);
        for instance in &self.instances {
            let steps = self.steps(instance);
            let sizes =
                [groups, instance.rows, steps, steps.div_ceil(instance.parts), instance.parts, scratch];
            table.extend(sizes.map(|size| size as u32));
            table.extend(instance.busy.operands.iter().map(|operand| operand.first));
            groups += self.groups(instance, pass);
            scratch += self.words_of_all_stages() * instance.rows * instance.parts;
        }
        find_instance(shader, &table, TABLE_WORDS + written.len());
        for (number, name) in ["first", "rows", "steps", "part_steps", "parts", "scratch"].iter().enumerate()
        {
            shader.line(&format!("let i_{name} = param_at(base + {number}u);"));
        }
        let slots = (0..written.len())
            .map(|operand| {
                shader.line(&format!("let o{operand} = param_at(base + {}u);", TABLE_WORDS + operand));
                let place = self.instances[0].busy.operands[operand];
                shader.operand_at(place, written[operand], format!("o{operand}"))
            })
            .collect();
        let sizes = Sizes {
            group: "(wg - i_first)".into(),
            rows: "i_rows".into(),
            last_row: "(i_rows - 1u)".into(),
            steps: "i_steps".into(),
            part_steps: "i_part_steps".into(),
            parts: "i_parts".into(),
            scratch: "i_scratch".into(),
            kept: "(i_rows * i_parts)".into(),
        };
        (slots, sizes)
    }

    /// The extents of rows and columns for positions.
    fn extents(&self) -> (&[usize], &[usize]) {
        match &self.instances[..] {
            [instance] => (&instance.busy.domain.rows, &instance.busy.domain.columns),
            _ => (ANY_EXTENT, ANY_EXTENT),
        }
    }

    fn print(&self, label: &str, pass: Pass) -> Dispatch {
        let Lanes { lanes, along_rows } = self.lanes;
        let mut shader = Shader::default();
        if self.subgroup.is_some() {
            shader.number_by_subgroups();
        }
        if self.in_quads {
            let operands = &self.instances[0].busy.operands;
            for operand in operands_in_quads(self.kernel, operands) {
                shader.bind_as_quads(operands[operand]);
            }
        }
        let (slots, sizes) = self.place(&mut shader, pass);
        let per_group = WORKGROUP / lanes;
        let (row, lane) = match along_rows {
            _ if lanes == 1 => ("lid".to_string(), "0u".to_string()),
            true => (format!("(lid % {per_group}u)"), format!("(lid / {per_group}u)")),
            false => (format!("(lid / {lanes}u)"), format!("(lid % {lanes}u)")),
        };
        let is_part = matches!(pass, Pass::Stage(_));
        let group =
            if is_part { format!("({} / {})", sizes.group, sizes.parts) } else { sizes.group.clone() };
        shader.line(&format!("let row = {group} * {per_group}u + {row};"));
        shader.line(&format!("let lane = {lane};"));
        if self.subgroup.is_some() {
            // Lanes of a row in one subgroup.
            shader.line(&format!("let width = min({lanes}u, subgroup_lanes);"));
        }
        shader.line(&format!("let is_row = row < {};", sizes.rows));
        shader.line(&format!("let r = min(row, {});", sizes.last_row));
        for (index, register) in self.kernel.registers.iter().enumerate() {
            if register.level == Level::Row {
                shader.line(&format!("var v{index}: {};", wgsl_type(register.dtype)));
            }
        }
        let scratch = Where::of_words(BufferId::Scratch, 0, DType::U32);
        let scratch = (self.parts() > 1).then(|| match self.instances.len() {
            1 => shader.operand(scratch, is_part),
            _ => shader.operand_at(scratch, is_part, sizes.scratch.clone()),
        });
        let Sizes { steps, part_steps, parts, .. } = &sizes;
        let mut writer = Writer { rows: self, sizes: &sizes, shader: &mut shader, slots: &slots, scratch };
        let count = self.kernel.stages.len();
        match pass {
            Pass::Whole => (0..count).for_each(|stage| {
                writer.accumulate(stage, "0u", steps);
                writer.finish_stage(stage, Held::ByLanes, true);
            }),
            Pass::Stage(last) => {
                (0..last).for_each(|stage| {
                    writer.fetch(stage);
                    writer.finish_stage(stage, Held::ByParts, false);
                });
                writer.shader.line(&format!("let part = {} % {parts};", sizes.group));
                let end = format!("min((part + 1u) * {part_steps}, {steps})");
                writer.accumulate(last, &format!("part * {part_steps}"), &end);
                writer.keep(last);
            }
            Pass::Rows => (0..count).for_each(|stage| {
                writer.fetch(stage);
                writer.finish_stage(stage, Held::ByParts, true);
            }),
        }
        let groups = self.instances.iter().map(|instance| self.groups(instance, pass)).sum();
        shader.finish(label, WORKGROUP, groups)
    }
}

/// The operands whose elements the columns of a kernel meet in quads.
fn operands_in_quads(kernel: &LoopKernel, places: &[Where]) -> Vec<usize> {
    quads::operands_in_quads(kernel.stages.iter().flat_map(|stage| &stage.domain), Along::Columns, places)
}

/// Whether threads may take four neighbouring columns at once, and have something of it.
fn takes_quads(kernel: &LoopKernel, instance: &Busy<'_>, stores_parts: bool) -> bool {
    let places = &instance.operands;
    let found = operands_in_quads(kernel, places);
    let is_bound = |place: Where| {
        let alike = |other: Where| other.buffer == place.buffer && other.stored() == place.stored();
        found.iter().any(|&operand| alike(places[operand]))
    };
    let is_alone = |instruction: &Instruction| match instruction {
        Instruction::Store { access, .. } => {
            is_bound(places[access.operand]) && !found.contains(&access.operand)
        }
        _ => false,
    };
    let mut all = kernel.stages.iter().flat_map(|stage| stage.domain.iter().chain(&stage.row));
    quads::come_in_quads(&instance.domain.columns)
        && !found.is_empty()
        && (stores_parts || !all.any(is_alone))
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
    sizes: &'b Sizes,
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
        let Rows { kernel, lanes, in_quads, ref instances, .. } = *self.rows;
        let (lanes, operands) = (lanes.lanes, &instances[0].busy.operands);
        let accumulators = self.rows.accumulators(number);
        self.declare(&accumulators);
        let stage = &kernel.stages[number];
        let is_empty = instances.iter().all(|instance| instance.columns == 0);
        if is_empty || (stage.domain.is_empty() && accumulators.is_empty()) {
            return;
        }
        let (rows, columns) = self.rows.extents();
        let scene = Scene { column: "c", columns, ..Scene::of_rows(kernel, rows, self.slots, "r") };
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

    /// The words of scratch memory of a stage: for each accumulator, part of it and component, the expression of the
    /// word that workgroup `part` keeps of row `r`.
    fn kept(&self, number: usize) -> Vec<Vec<Vec<String>>> {
        let stages = &self.rows.kernel.stages[..number];
        let mut word: usize = stages.iter().map(|stage| self.rows.kept_words(stage)).sum();
        let mut next = || {
            let Sizes { kept, parts, .. } = self.sizes;
            let index = format!("({word}u * {kept} + r * {parts} + part)");
            word += 1;
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
        let (lanes, parts) = (self.rows.lanes.lanes, &self.sizes.parts);
        let words = self.kept(number);
        let (first, step) = match self.rows.subgroup {
            // Each subgroup by itself, so that none has to wait for another.
            Some(_) => ("lane % width".into(), "width".into()),
            None => ("lane".to_string(), format!("{lanes}u")),
        };
        self.shader.line(&format!("for (var part = {first}; part < {parts}; part += {step}) {{"));
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

    /// Lanes of a subgroup, of which there are at least `least`, exchange what they have; several subgroups of a row
    /// meet in workgroup memory.
    fn merge_in_subgroups(&mut self, accumulators: &[Accumulator<'_>], held: Held, least: usize) {
        let lanes = self.rows.lanes.lanes;
        match held {
            Held::ByParts => {
                let holders = self.rows.parts().next_power_of_two();
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
        // Lanes merged in different orders; all take what the first of each subgroup has, which is the same in all of a
        // row.
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
        let Lanes { lanes, along_rows } = self.rows.lanes;
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
        let Rows { kernel, lanes, .. } = *self.rows;
        let stage = &kernel.stages[number];
        let scene = Scene::of_rows(kernel, self.rows.extents().0, self.slots, "r");
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
