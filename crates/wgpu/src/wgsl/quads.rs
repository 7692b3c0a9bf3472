//! Kernels without columns, printed for four neighbouring elements at once: what they load and store side by side goes in
//! one piece, and what is the same for all four is computed once.

use super::scalar::{Lane, Scene};
use super::shader::{Slot, Where, from_word, to_word, wgsl_type};
use dropforge_plan::kernel::{Access, Instruction, LoopKernel};

/// Whether four neighbours, of which the first has a number that is a multiple of four, always stand in one row of the last
/// axis.
pub(crate) fn come_in_quads(rows: &[usize]) -> bool {
    rows.last().is_some_and(|extent| extent.is_multiple_of(4))
}

/// Whether the elements that four such neighbours meet are a quad of words, in memory of which the operand begins at `word`.
fn meets_quads(access: &Access, word: u32) -> bool {
    let Some((last, others)) = access.index.rows.split_last() else { return false };
    *last == 1
        && access.index.offset % 4 == 0
        && word.is_multiple_of(4)
        && others.iter().all(|stride| stride % 4 == 0)
}

/// The operands whose elements a kernel meets in quads, for rows that come in quads; the buffers of these are worth binding
/// as such.
pub(crate) fn operands_in_quads(kernel: &LoopKernel, places: &[Where]) -> Vec<usize> {
    let mut found: Vec<usize> = instructions(kernel)
        .filter_map(|instruction| match instruction {
            Instruction::Load { access, .. } | Instruction::Store { access, .. } => Some(access),
            _ => None,
        })
        .filter(|access| meets_quads(access, places[access.operand].word))
        .map(|access| access.operand)
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn instructions(kernel: &LoopKernel) -> impl Iterator<Item = &Instruction> {
    kernel.stages.iter().flat_map(|stage| stage.domain.iter().chain(&stage.row))
}

/// For each register, whether it is the same for four neighbours; `given` is an operand that never is.
fn shared(kernel: &LoopKernel, given: Option<usize>) -> Vec<bool> {
    let mut shared = vec![true; kernel.registers.len()];
    for instruction in instructions(kernel) {
        let stays = |step: Option<&i64>| step.is_none_or(|&step| step == 0);
        let is_shared = match instruction {
            Instruction::Load { access, .. } => {
                given != Some(access.operand) && stays(access.index.rows.last())
            }
            Instruction::Index { index, .. } | Instruction::RandomBits { index, .. } => {
                stays(index.rows.last())
            }
            other => other.sources().iter().all(|source| shared[source.index()]),
        };
        if let Some(to) = instruction.target() {
            shared[to.index()] = is_shared;
        }
    }
    shared
}

/// The statements for the four elements from the one on that `scene` means. Where an element is given, it is the expression
/// of a vector of four of them.
pub(crate) fn print(scene: &Scene<'_>, places: &[Where]) -> Vec<String> {
    let shared = shared(scene.kernel, scene.given.map(|(operand, _)| operand));
    let in_quads =
        |slot: &Slot, access: &Access| slot.has_quads() && meets_quads(access, places[access.operand].word);
    let given: Vec<String> = ["x", "y", "z", "w"]
        .iter()
        .map(|component| scene.given.map_or(String::new(), |(_, value)| format!("{value}.{component}")))
        .collect();
    let lane = |number: usize| Scene {
        given: scene.given.map(|(operand, _)| (operand, given[number].as_str())),
        lane: Some(Lane { number, shared: &shared }),
        ..*scene
    };
    let mut lines = Vec::new();
    for instruction in instructions(scene.kernel) {
        match instruction {
            Instruction::Load { to, access }
                if in_quads(&scene.slots[access.operand], access)
                    && scene.given.is_none_or(|(operand, _)| operand != access.operand) =>
            {
                let quad = scene.slots[access.operand].quad(&scene.position(&access.index));
                let whole = format!("q{}", to.0);
                lines.push(format!("let {whole} = {quad};"));
                let ty = wgsl_type(scene.kernel.registers[to.index()].dtype);
                for (number, component) in ["x", "y", "z", "w"].into_iter().enumerate() {
                    let value = from_word(access.dtype, &format!("{whole}.{component}"));
                    lines.push(format!("let {}: {ty} = {value};", lane(number).name(*to)));
                }
            }
            Instruction::Store { from, access } if in_quads(&scene.slots[access.operand], access) => {
                let words: Vec<String> =
                    (0..4).map(|number| to_word(access.dtype, &lane(number).name(*from))).collect();
                let quad = scene.slots[access.operand].quad(&scene.position(&access.index));
                lines.push(format!("{quad} = vec4<u32>({});", words.join(", ")));
            }
            other => {
                let is_one = other.target().is_some_and(|to| shared[to.index()]);
                let lanes = if is_one { 1 } else { 4 };
                lines.extend((0..lanes).map(|number| lane(number).print(other, true)));
            }
        }
    }
    lines
}
