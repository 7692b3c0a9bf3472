//! Loop kernels: elementwise kernels with a thread per element; those with columns stand in `rows.rs`.

use super::rows::Rows;
use super::scalar::Scene;
use super::shader::{Dispatch, Shader, Slot, Where};
use crate::tuning::{ELEMENTS_PER_THREAD, MANY_ELEMENTS, WORKGROUP};
use dropforge_plan::kernel::{Instance, LoopKernel};

/// The dispatches of a loop kernel, and the words of scratch memory that they need. `places` gives the place of each
/// buffer of the plan, `uniform_words` how many parameters a shader may have.
pub(crate) fn dispatches(
    label: &str,
    kernel: &LoopKernel,
    instances: &[Instance],
    places: impl Fn(usize) -> Where,
    uniform_words: usize,
) -> (Vec<Dispatch>, usize) {
    let rows = |instance: &Instance| instance.rows.iter().product::<usize>();
    let busy: Vec<&Instance> = instances.iter().filter(|instance| rows(instance) > 0).collect();
    if !kernel.columns.is_empty() {
        let mut all = (Vec::new(), 0);
        for instance in busy {
            let operands = instance.operands.iter().map(|&operand| places(operand)).collect();
            let (dispatches, scratch) = Rows::new(kernel, &instance.rows, operands).dispatches(label);
            all.0.extend(dispatches);
            all.1 = all.1.max(scratch);
        }
        return all;
    }
    if busy.len() == 1 || kernel.row_axes != 1 {
        return (busy.iter().map(|instance| single(label, kernel, instance, &places)).collect(), 0);
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
    (groups.iter().map(|group| several(label, kernel, group, &places)).collect(), 0)
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
    let per_thread = if rows >= MANY_ELEMENTS { ELEMENTS_PER_THREAD } else { 1 };
    let scene = Scene::of_rows(kernel, &instance.rows, &slots, "r");
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
    let scene = Scene::of_rows(kernel, &[usize::MAX], &slots, "r");
    print_stages(&mut shader, &scene);
    shader.line("}");
    shader.finish(label, WORKGROUP, groups)
}
