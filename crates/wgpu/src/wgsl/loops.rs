//! Loop kernels: elementwise kernels with a thread per element, or per four neighbours where there are many; those with
//! columns stand in `rows.rs`.

use super::quads::{self, Along};
use super::rows::Rows;
use super::scalar::Scene;
use super::shader::{Dispatch, Shader, Slot, Where};
use crate::printing::Printing;
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
    printing: Printing,
) -> (Vec<Dispatch>, usize) {
    let busy: Vec<Busy<'_>> = instances
        .iter()
        .map(|instance| Busy {
            extents: &instance.rows,
            elements: instance.rows.iter().product(),
            operands: instance.operands.iter().map(|&operand| places(operand)).collect(),
        })
        .filter(|instance| instance.elements > 0)
        .collect();
    if !kernel.columns.is_empty() {
        let mut all = (Vec::new(), 0);
        for instance in busy {
            let rows = Rows::new(kernel, instance.extents, instance.operands, printing);
            let (dispatches, scratch) = rows.dispatches(label);
            all.0.extend(dispatches);
            all.1 = all.1.max(scratch);
        }
        return all;
    }
    if busy.len() == 1 || kernel.row_axes != 1 {
        return (busy.iter().map(|instance| single(label, kernel, instance, printing)).collect(), 0);
    }
    // Instances that live in the same buffers share a dispatch.
    let mut groups: Vec<Vec<Busy<'_>>> = Vec::new();
    let buffers = |instance: &Busy<'_>| -> Vec<_> {
        instance.operands.iter().map(|operand| (operand.buffer, operand.is_packed)).collect()
    };
    let most = (uniform_words / (2 + kernel.written.len())).max(1);
    for instance in busy {
        match groups.iter_mut().find(|group| buffers(&group[0]) == buffers(&instance) && group.len() < most) {
            Some(group) => group.push(instance),
            None => groups.push(vec![instance]),
        }
    }
    (groups.iter().map(|group| several(label, kernel, group, printing)).collect(), 0)
}

/// An instance with something to do.
struct Busy<'a> {
    extents: &'a [usize],
    elements: usize,
    operands: Vec<Where>,
}

impl Busy<'_> {
    /// The operands whose elements are met in quads.
    fn in_quads(&self, kernel: &LoopKernel) -> Vec<usize> {
        quads::operands_in_quads(quads::instructions(kernel), Along::Rows, &self.operands)
    }

    /// Whether threads may take four neighbours of this instance at once, and have something of it.
    fn takes_quads(&self, kernel: &LoopKernel) -> bool {
        let goes_beyond = || {
            let instructions = quads::instructions(kernel);
            kernel.row_axes == 1 && quads::meet_only_quads(instructions, Along::Rows, &self.operands)
        };
        (quads::come_in_quads(self.extents) || goes_beyond()) && !self.in_quads(kernel).is_empty()
    }

    /// Binds as quads what is met in quads.
    fn bind_quads(&self, shader: &mut Shader, kernel: &LoopKernel) {
        for operand in self.in_quads(kernel) {
            shader.bind_as_quads(self.operands[operand]);
        }
    }
}

fn single(label: &str, kernel: &LoopKernel, instance: &Busy<'_>, printing: Printing) -> Dispatch {
    let mut shader = Shader::default();
    let elements = instance.elements;
    let in_quads = elements >= printing.quads_from && instance.takes_quads(kernel);
    if in_quads {
        instance.bind_quads(&mut shader, kernel);
    }
    let slots: Vec<Slot> = instance
        .operands
        .iter()
        .zip(&kernel.written)
        .map(|(&place, &written)| shader.operand(place, written))
        .collect();
    let (together, times) = match in_quads {
        true => (4, 1),
        false if elements >= MANY_ELEMENTS => (1, ELEMENTS_PER_THREAD),
        false => (1, 1),
    };
    let scene = Scene::of_rows(kernel, instance.extents, &slots, "r");
    let first = if times > 1 {
        shader.line(&format!("for (var u = 0u; u < {times}u; u++) {{"));
        format!("(wg * {times}u + u) * {WORKGROUP}u + lid")
    } else {
        format!("wg * {WORKGROUP}u + lid")
    };
    print_stages(
        &mut shader,
        &scene,
        &first,
        &format!("{elements}u"),
        in_quads.then_some(&instance.operands),
    );
    if times > 1 {
        shader.line("}");
    }
    shader.finish(label, WORKGROUP, elements.div_ceil(WORKGROUP * together * times))
}

/// The stages of a kernel without columns, for the row with the number `first` if it is below `end`; or, where places are
/// given, for the `first` four neighbours.
fn print_stages(
    shader: &mut Shader,
    scene: &Scene<'_>,
    first: &str,
    end: &str,
    in_quads: Option<&Vec<Where>>,
) {
    let instructions = quads::instructions(scene.kernel);
    let (first, lines) = match in_quads {
        Some(places) => (format!("({first}) << 2u"), quads::print(scene, instructions, Along::Rows, places)),
        None => (first.into(), instructions.map(|instruction| scene.print(instruction, true)).collect()),
    };
    shader.line(&format!("let r = {first};"));
    shader.line(&format!("if (r < {end}) {{"));
    lines.iter().for_each(|line| shader.line(line));
    shader.line("}");
}

/// One dispatch over the elements of several instances; the parameters say where each starts.
fn several(label: &str, kernel: &LoopKernel, instances: &[Busy<'_>], printing: Printing) -> Dispatch {
    let mut shader = Shader::default();
    let operands = kernel.written.len();
    let width = operands + 2;
    let elements: usize = instances.iter().map(|instance| instance.elements).sum();
    let first = &instances[0];
    let in_quads = elements >= printing.quads_from
        && instances
            .iter()
            .all(|other| other.takes_quads(kernel) && other.in_quads(kernel) == first.in_quads(kernel));
    let in_quads = in_quads.then_some(&first.operands);
    if in_quads.is_some() {
        first.bind_quads(&mut shader, kernel);
    }
    let per_group = if in_quads.is_some() { 4 * WORKGROUP } else { WORKGROUP };
    let mut table = Vec::new();
    let mut groups = 0;
    for instance in instances {
        table.extend([groups as u32, instance.elements as u32]);
        table.extend(instance.operands.iter().map(|operand| operand.first));
        groups += instance.elements.div_ceil(per_group);
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
            shader.operand_at(first.operands[operand], kernel.written[operand], format!("o{operand}"))
        })
        .collect();
    // One row axis, so that its extent does not matter.
    let scene = Scene::of_rows(kernel, &[usize::MAX], &slots, "r");
    let number = format!("(wg - param_at(base)) * {WORKGROUP}u + lid");
    print_stages(&mut shader, &scene, &number, "param_at(base + 1u)", in_quads);
    shader.finish(label, WORKGROUP, groups)
}
