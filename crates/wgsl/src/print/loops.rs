//! Loop kernels: elementwise kernels with a thread per element, or per four neighbours where there are many; those with
//! columns stand in `rows.rs`.

use super::quads::{self, Along};
use super::rows;
use super::scalar::Scene;
use super::shader::{Dispatch, Shader, Slot, Where};
use crate::printing::Printing;
use crate::tuning::{ELEMENTS_PER_THREAD, MANY_ELEMENTS, WORKGROUP};
use dropforge_plan::kernel::{Domain, Instance, LoopKernel};

/// The dispatches of a loop kernel, and the words of scratch memory that they need. `places` gives the place of each
/// buffer of the plan, `uniform_words` how many parameters a shader may have.
pub fn dispatches(
    label: &str,
    kernel: &LoopKernel,
    instances: &[Instance],
    places: impl Fn(usize) -> Where,
    uniform_words: usize,
    printing: Printing,
) -> (Vec<Dispatch>, usize) {
    let busy: Vec<Busy<'_>> = instances
        .iter()
        .filter(|instance| instance.domain.row_count() > 0)
        .map(|instance| Busy {
            domain: &instance.domain,
            operands: instance.operands.iter().map(|&operand| places(operand)).collect(),
        })
        .collect();
    if kernel.column_axes > 0 {
        return rows::dispatches(label, kernel, busy, uniform_words, printing);
    }
    if busy.len() == 1 || kernel.row_axes > 1 {
        return (busy.iter().map(|instance| single(label, kernel, instance, printing)).collect(), 0);
    }
    let groups = together(busy, uniform_words / (2 + kernel.written.len()), |_| ());
    (groups.iter().map(|group| several(label, kernel, group, printing)).collect(), 0)
}

/// Instances that share a dispatch, at most so many: those that live in the same buffers and are alike in `kind`.
pub(super) fn together<'a, K: PartialEq>(
    instances: Vec<Busy<'a>>,
    most: usize,
    kind: impl Fn(&Busy<'a>) -> K,
) -> Vec<Vec<Busy<'a>>> {
    let key = |instance: &Busy<'a>| {
        let buffers: Vec<_> =
            instance.operands.iter().map(|operand| (operand.buffer, operand.stored())).collect();
        (buffers, kind(instance))
    };
    let mut groups: Vec<Vec<Busy<'a>>> = Vec::new();
    for instance in instances {
        let fits = |group: &&mut Vec<Busy<'a>>| key(&group[0]) == key(&instance) && group.len() < most.max(1);
        match groups.iter_mut().find(fits) {
            Some(group) => group.push(instance),
            None => groups.push(vec![instance]),
        }
    }
    groups
}

/// Extents of a single axis, where instances with different ones share a shader: they do not matter, as long as they
/// are not 1.
pub(super) const ANY_EXTENT: &[usize] = &[usize::MAX];

/// An instance with something to do.
pub(super) struct Busy<'a> {
    pub domain: &'a Domain,
    pub operands: Vec<Where>,
}

impl Busy<'_> {
    /// Of a kernel without columns.
    fn elements(&self) -> usize {
        self.domain.row_count()
    }

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
        (quads::come_in_quads(&self.domain.rows) || goes_beyond()) && !self.in_quads(kernel).is_empty()
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
    let elements = instance.elements();
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
    let scene = Scene::of_rows(kernel, &instance.domain.rows, &slots, "r");
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

/// The stages of a kernel without columns, for the row with the number `first` if it is below `end`; or, where places
/// are given, for the `first` four neighbours.
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

/// Finds the instance to which a workgroup belongs, by the first workgroup of each, which begins its line in the table.
/// The entry point then knows `base`, where that line begins.
pub(super) fn find_instance(shader: &mut Shader, table: &[u32], width: usize) {
    shader.param_table(table);
    shader.line(&format!("var low = 0u; var high = {}u;", table.len() / width));
    shader.line("while (high - low > 1u) {");
    shader.line("let middle = (low + high) >> 1u;");
    shader.line(&format!(
        "if (param_at(middle * {width}u) <= wg) {{ low = middle; }} else {{ high = middle; }}"
    ));
    shader.line("}");
    shader.line(&format!("let base = low * {width}u;"));
}

/// One dispatch over the elements of several instances; the parameters say where each starts.
fn several(label: &str, kernel: &LoopKernel, instances: &[Busy<'_>], printing: Printing) -> Dispatch {
    let mut shader = Shader::default();
    let operands = kernel.written.len();
    let width = operands + 2;
    let elements: usize = instances.iter().map(Busy::elements).sum();
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
        table.extend([groups as u32, instance.elements() as u32]);
        table.extend(instance.operands.iter().map(|operand| operand.first));
        groups += instance.elements().div_ceil(per_group);
    }
    find_instance(&mut shader, &table, width);
    let slots: Vec<Slot> = (0..operands)
        .map(|operand| {
            shader.line(&format!("let o{operand} = param_at(base + {}u);", operand + 2));
            shader.operand_at(first.operands[operand], kernel.written[operand], format!("o{operand}"))
        })
        .collect();
    let scene = Scene::of_rows(kernel, ANY_EXTENT, &slots, "r");
    let number = format!("(wg - param_at(base)) * {WORKGROUP}u + lid");
    print_stages(&mut shader, &scene, &number, "param_at(base + 1u)", in_quads);
    shader.finish(label, WORKGROUP, groups)
}
