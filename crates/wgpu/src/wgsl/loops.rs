//! Loop kernels: elementwise kernels with a thread per element, reductions with several lanes per row.

use super::reduction::Accumulator;
use super::scalar::Scene;
use super::shader::{Dispatch, Shader, Slot, Where, wgsl_type};
use crate::tuning::{BUSY_THREADS, COLUMNS_PER_THREAD, ELEMENTS_PER_THREAD, MANY_ELEMENTS, WORKGROUP};
use dropforge_plan::kernel::{Instance, Instruction, Level, LoopKernel, Stage};

/// The dispatches of a loop kernel. `places` gives the place of each buffer of the plan, `uniform_words` how many
/// parameters a shader may have.
pub(crate) fn dispatches(
    label: &str,
    kernel: &LoopKernel,
    instances: &[Instance],
    places: impl Fn(usize) -> Where,
    uniform_words: usize,
) -> Vec<Dispatch> {
    let rows = |instance: &Instance| instance.rows.iter().product::<usize>();
    let busy: Vec<&Instance> = instances.iter().filter(|instance| rows(instance) > 0).collect();
    if let [instance] = busy.as_slice() {
        return vec![single(label, kernel, instance, &places)];
    }
    if !kernel.columns.is_empty() || kernel.row_axes != 1 {
        return busy.iter().map(|instance| single(label, kernel, instance, &places)).collect();
    }
    // Instances that live in the same buffers share a dispatch.
    let mut groups: Vec<Vec<&Instance>> = Vec::new();
    let buffers = |instance: &Instance| -> Vec<_> {
        instance.operands.iter().map(|&operand| places(operand).buffer).collect()
    };
    let most = (uniform_words / (2 + kernel.written.len())).max(1);
    for instance in busy {
        match groups.iter_mut().find(|group| buffers(group[0]) == buffers(instance) && group.len() < most) {
            Some(group) => group.push(instance),
            None => groups.push(vec![instance]),
        }
    }
    groups.iter().map(|group| several(label, kernel, group, &places)).collect()
}

fn single(
    label: &str,
    kernel: &LoopKernel,
    instance: &Instance,
    places: &impl Fn(usize) -> Where,
) -> Dispatch {
    let mut shader = Shader::default();
    let slots: Vec<Slot> = instance
        .operands
        .iter()
        .zip(&kernel.written)
        .map(|(&operand, &written)| shader.operand(places(operand), written))
        .collect();
    let rows: usize = instance.rows.iter().product();
    if kernel.columns.is_empty() {
        return elementwise(shader, label, kernel, &instance.rows, &slots, rows);
    }
    let lanes = Lanes::choose(kernel, rows);
    Rows { kernel, extents: &instance.rows, rows, slots: &slots, lanes }.print(shader, label)
}

fn elementwise(
    mut shader: Shader,
    label: &str,
    kernel: &LoopKernel,
    extents: &[usize],
    slots: &[Slot],
    rows: usize,
) -> Dispatch {
    let per_thread = if rows >= MANY_ELEMENTS { ELEMENTS_PER_THREAD } else { 1 };
    let scene = Scene { kernel, rows: extents, slots, row: "r", column: "0u" };
    if per_thread > 1 {
        shader.line(&format!("for (var u = 0u; u < {per_thread}u; u++) {{"));
        shader.line(&format!("let r = (wg * {per_thread}u + u) * {WORKGROUP}u + lid;"));
    } else {
        shader.line(&format!("let r = wg * {WORKGROUP}u + lid;"));
    }
    shader.line(&format!("if (r < {rows}u) {{"));
    print_stages(&mut shader, &scene);
    shader.line("}");
    if per_thread > 1 {
        shader.line("}");
    }
    shader.finish(label, WORKGROUP, rows.div_ceil(WORKGROUP * per_thread))
}

/// The stages of a kernel without columns, for one row.
fn print_stages(shader: &mut Shader, scene: &Scene<'_>) {
    for stage in &scene.kernel.stages {
        for instruction in stage.domain.iter().chain(&stage.row) {
            shader.line(&scene.print(instruction, true));
        }
    }
}

/// One dispatch over the elements of several instances; the parameters say where each starts.
fn several(
    label: &str,
    kernel: &LoopKernel,
    instances: &[&Instance],
    places: &impl Fn(usize) -> Where,
) -> Dispatch {
    let mut shader = Shader::default();
    let operands = kernel.written.len();
    let width = operands + 2;
    let mut table = Vec::new();
    let mut groups = 0;
    for instance in instances {
        let rows: usize = instance.rows.iter().product();
        table.extend([groups as u32, rows as u32]);
        table.extend(instance.operands.iter().map(|&operand| places(operand).word));
        groups += rows.div_ceil(WORKGROUP);
    }
    shader.param_table(&table);
    shader.line(&format!("var low = 0u; var high = {}u;", instances.len()));
    shader.line("while (high - low > 1u) {");
    shader.line("let middle = (low + high) >> 1u;");
    shader.line(&format!(
        "if (param_at(middle * {width}u) <= wg) {{ low = middle; }} else {{ high = middle; }}"
    ));
    shader.line("}");
    shader.line(&format!("let base = low * {width}u;"));
    let slots: Vec<Slot> = (0..operands)
        .map(|operand| {
            shader.line(&format!("let o{operand} = param_at(base + {}u);", operand + 2));
            let buffer = places(instances[0].operands[operand]).buffer;
            shader.operand_at(buffer, kernel.written[operand], format!("o{operand}"))
        })
        .collect();
    shader.line(&format!("let r = (wg - param_at(base)) * {WORKGROUP}u + lid;"));
    shader.line("if (r < param_at(base + 1u)) {");
    // One row axis, so that its extent does not matter.
    let scene = Scene { kernel, rows: &[usize::MAX], slots: &slots, row: "r", column: "0u" };
    print_stages(&mut shader, &scene);
    shader.line("}");
    shader.finish(label, WORKGROUP, groups)
}

/// How the threads of a workgroup share rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lanes {
    /// Threads per row; a power of two.
    lanes: usize,
    /// Whether neighbouring threads stand in neighbouring rows, rather than in neighbouring columns.
    along_rows: bool,
}

impl Lanes {
    fn choose(kernel: &LoopKernel, rows: usize) -> Lanes {
        let columns: usize = kernel.columns.iter().product();
        let mut votes = 0i64;
        for instruction in kernel.stages.iter().flat_map(|stage| &stage.domain) {
            if let Instruction::Load { access, .. } | Instruction::Store { access, .. } = instruction {
                let is_one = |strides: &[i64]| strides.last().is_some_and(|stride| stride.abs() == 1);
                votes += i64::from(is_one(&access.index.rows)) - i64::from(is_one(&access.index.columns));
            }
        }
        let along_rows = votes > 0 && rows > 1;
        let mut lanes = columns.div_ceil(COLUMNS_PER_THREAD).next_power_of_two().min(WORKGROUP);
        if along_rows {
            // Enough neighbouring rows for whole memory transactions.
            lanes = lanes.min(WORKGROUP / rows.next_power_of_two().clamp(1, 32));
        }
        while lanes < WORKGROUP && lanes < columns && rows * lanes < BUSY_THREADS && !along_rows {
            lanes *= 2;
        }
        if columns <= COLUMNS_PER_THREAD {
            lanes = 1;
        }
        Lanes { lanes: lanes.max(1), along_rows }
    }
}

/// A kernel with columns.
struct Rows<'a> {
    kernel: &'a LoopKernel,
    extents: &'a [usize],
    rows: usize,
    slots: &'a [Slot],
    lanes: Lanes,
}

impl Rows<'_> {
    fn print(&self, mut shader: Shader, label: &str) -> Dispatch {
        let Lanes { lanes, along_rows } = self.lanes;
        let per_group = WORKGROUP / lanes;
        let (row, lane) = match along_rows {
            _ if lanes == 1 => ("lid".to_string(), "0u".to_string()),
            true => (format!("(lid % {per_group}u)"), format!("(lid / {per_group}u)")),
            false => (format!("(lid / {lanes}u)"), format!("(lid % {lanes}u)")),
        };
        shader.line(&format!("let row = wg * {per_group}u + {row};"));
        shader.line(&format!("let lane = {lane};"));
        shader.line(&format!("let is_row = row < {}u;", self.rows));
        shader.line(&format!("let r = min(row, {}u);", self.rows - 1));
        for (index, register) in self.kernel.registers.iter().enumerate() {
            if register.level == Level::Row {
                shader.line(&format!("var v{index}: {};", wgsl_type(register.dtype)));
            }
        }
        for (number, stage) in self.kernel.stages.iter().enumerate() {
            self.stage(&mut shader, number, stage);
        }
        shader.finish(label, WORKGROUP, self.rows.div_ceil(per_group))
    }

    fn stage(&self, shader: &mut Shader, number: usize, stage: &Stage) {
        let columns: usize = self.kernel.columns.iter().product();
        let lanes = self.lanes.lanes;
        let accumulators: Vec<Accumulator<'_>> = stage
            .reductions
            .iter()
            .enumerate()
            .map(|(index, reduce)| {
                let dtype = self.kernel.registers[reduce.from.index()].dtype;
                Accumulator::new(reduce, dtype, format!("a{number}_{index}"))
            })
            .collect();
        for accumulator in &accumulators {
            for (part, (ty, first)) in accumulator.parts().into_iter().enumerate() {
                shader.line(&format!("var {}: {ty} = {first};", accumulator.part(part)));
            }
        }
        let scene =
            Scene { kernel: self.kernel, rows: self.extents, slots: self.slots, row: "r", column: "c" };
        if columns > 0 && !(stage.domain.is_empty() && accumulators.is_empty()) {
            shader.line(&format!("if (is_row) {{ for (var c = lane; c < {columns}u; c += {lanes}u) {{"));
            for instruction in &stage.domain {
                shader.line(&scene.print(instruction, true));
            }
            for accumulator in &accumulators {
                shader.line(&accumulator.add("c"));
            }
            shader.line("} }");
        }
        if lanes > 1 && !accumulators.is_empty() {
            self.merge(shader, &accumulators);
        }
        for accumulator in &accumulators {
            shader.line(&accumulator.end());
        }
        self.row_part(shader, stage);
    }

    /// Merges the lanes of each row pairwise, always in the same order, and gives every lane the result.
    fn merge(&self, shader: &mut Shader, accumulators: &[Accumulator<'_>]) {
        let lanes = self.lanes.lanes;
        let step = if self.lanes.along_rows { WORKGROUP / lanes } else { 1 };
        let shared = |accumulator: &Accumulator<'_>, part: usize| format!("s{}", accumulator.part(part));
        let parts: Vec<(&Accumulator<'_>, usize, &'static str)> = accumulators
            .iter()
            .flat_map(|one| one.parts().into_iter().enumerate().map(move |(index, (ty, _))| (one, index, ty)))
            .collect();
        for &(accumulator, part, ty) in &parts {
            let name = shared(accumulator, part);
            shader.line_head(&format!("var<workgroup> {name}: array<{ty}, {WORKGROUP}>;"));
            shader.line(&format!("{name}[lid] = {};", accumulator.part(part)));
        }
        shader.line("workgroupBarrier();");
        shader.line(&format!("for (var half = {}u; half > 0u; half >>= 1u) {{", lanes / 2));
        shader.line("if (lane < half) {");
        for accumulator in accumulators {
            let others: Vec<String> = (0..accumulator.parts().len())
                .map(|part| format!("{}[lid + half * {step}u]", shared(accumulator, part)))
                .collect();
            shader.line(&accumulator.merge(&others));
            for part in 0..others.len() {
                shader.line(&format!("{}[lid] = {};", shared(accumulator, part), accumulator.part(part)));
            }
        }
        shader.line("} workgroupBarrier(); }");
        for &(accumulator, part, _) in &parts {
            let name = shared(accumulator, part);
            shader.line(&format!("{} = {name}[lid - lane * {step}u];", accumulator.part(part)));
        }
    }

    /// Row instructions run in every lane, their stores in one.
    fn row_part(&self, shader: &mut Shader, stage: &Stage) {
        let scene =
            Scene { kernel: self.kernel, rows: self.extents, slots: self.slots, row: "r", column: "0u" };
        let is_store = |instruction: &&Instruction| matches!(instruction, Instruction::Store { .. });
        for instruction in stage.row.iter().filter(|instruction| !is_store(instruction)) {
            shader.line(&scene.print(instruction, false));
        }
        let stores: Vec<&Instruction> = stage.row.iter().filter(is_store).collect();
        if stores.is_empty() {
            return;
        }
        if self.lanes.lanes > 1 {
            // What one lane overwrites, the others have read.
            shader.line("storageBarrier(); workgroupBarrier();");
        }
        shader.line("if (is_row && lane == 0u) {");
        for store in stores {
            shader.line(&scene.print(store, true));
        }
        shader.line("}");
    }
}
