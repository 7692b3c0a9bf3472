//! Instructions of loop kernels, printed for four neighbouring elements at once: what they load and store side by side
//! goes in one piece, and what is the same for all four is computed once.

use super::scalar::{Lane, Scene};
use super::shader::{Slot, Where, wgsl_type};
use dropforge_plan::kernel::{Access, Affine, Instruction, LoopKernel, Register};

/// Along which axis four elements are neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Along {
    /// The last axis of the rows.
    Rows,
    /// The last axis of the columns.
    Columns,
}

impl Along {
    /// The step from one neighbour to the next.
    pub fn step(self, index: &Affine) -> i64 {
        let steps = if self == Along::Rows { &index.rows } else { &index.columns };
        steps.last().copied().unwrap_or(0)
    }

    /// The steps along all other axes.
    fn others(self, index: &Affine) -> impl Iterator<Item = &i64> {
        let (rows, columns) = (index.rows.len(), index.columns.len());
        let (rows, columns) = match self {
            Along::Rows => (rows.saturating_sub(1), columns),
            Along::Columns => (rows, columns.saturating_sub(1)),
        };
        index.rows[..rows].iter().chain(&index.columns[..columns])
    }
}

/// Whether four neighbours, of which the first has a number that is a multiple of four, always stand in one row of the
/// last axis.
pub fn come_in_quads(extents: &[usize]) -> bool {
    extents.last().is_some_and(|extent| extent.is_multiple_of(4))
}

/// Whether the elements that four such neighbours meet are a quad, in memory of which the operand begins at element
/// `first`.
fn meets_quads(access: &Access, along: Along, first: u32) -> bool {
    along.step(&access.index) == 1
        && access.index.offset % 4 == 0
        && first.is_multiple_of(4)
        && along.others(&access.index).all(|step| step % 4 == 0)
}

/// The operand that an instruction loads or stores.
fn access(instruction: &Instruction) -> Option<&Access> {
    match instruction {
        Instruction::Load { access, .. } | Instruction::Store { access, .. } => Some(access),
        _ => None,
    }
}

/// The operands that instructions meet in quads; the buffers of these are worth binding as such.
pub fn operands_in_quads<'a>(
    instructions: impl IntoIterator<Item = &'a Instruction>,
    along: Along,
    places: &[Where],
) -> Vec<usize> {
    let mut found: Vec<usize> = instructions
        .into_iter()
        .filter_map(access)
        .filter(|access| meets_quads(access, along, places[access.operand].first))
        .map(|access| access.operand)
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Whether instructions meet every operand in quads, or one element of it for all four: then four neighbours may reach
/// beyond the last element, into what is left of the place of a value.
pub fn meet_only_quads<'a>(
    instructions: impl IntoIterator<Item = &'a Instruction>,
    along: Along,
    places: &[Where],
) -> bool {
    instructions.into_iter().filter_map(access).all(|access| {
        along.step(&access.index) == 0 || meets_quads(access, along, places[access.operand].first)
    })
}

/// The instructions of a kernel without columns.
pub fn instructions(kernel: &LoopKernel) -> impl Iterator<Item = &Instruction> + Clone {
    kernel.stages.iter().flat_map(|stage| stage.domain.iter().chain(&stage.row))
}

/// For each register, whether it is the same for four neighbours; `given` is an operand that never is.
fn shared<'a>(
    kernel: &LoopKernel,
    instructions: impl IntoIterator<Item = &'a Instruction>,
    along: Along,
    given: Option<usize>,
) -> Vec<bool> {
    let mut shared = vec![true; kernel.registers.len()];
    for instruction in instructions {
        let is_shared = match instruction {
            Instruction::Load { access, .. } => {
                given != Some(access.operand) && along.step(&access.index) == 0
            }
            Instruction::Index { index, .. } | Instruction::RandomBits { index, .. } => {
                along.step(index) == 0
            }
            other => other.sources().iter().all(|source| shared[source.index()]),
        };
        if let Some(to) = instruction.target() {
            shared[to.index()] = is_shared;
        }
    }
    shared
}

/// The names of a register for the four elements from the one on that `scene` means.
pub fn names<'a>(
    scene: &Scene<'_>,
    instructions: impl IntoIterator<Item = &'a Instruction>,
    along: Along,
    register: Register,
) -> [String; 4] {
    let shared = shared(scene.kernel, instructions, along, None);
    [0, 1, 2, 3]
        .map(|number| Scene { lane: Some(Lane { number, along, shared: &shared }), ..*scene }.name(register))
}

/// The statements of instructions for the four elements from the one on that `scene` means. Where an element is given,
/// it is the expression of a vector of four of them.
pub fn print<'a>(
    scene: &Scene<'_>,
    instructions: impl IntoIterator<Item = &'a Instruction> + Clone,
    along: Along,
    places: &[Where],
) -> Vec<String> {
    const COMPONENTS: [&str; 4] = ["x", "y", "z", "w"];
    let shared = shared(scene.kernel, instructions.clone(), along, scene.given.map(|(operand, _)| operand));
    let given = COMPONENTS
        .map(|component| scene.given.map_or(String::new(), |(_, value)| format!("{value}.{component}")));
    let lanes: [Scene<'_>; 4] = [0, 1, 2, 3].map(|number| Scene {
        given: scene.given.map(|(operand, _)| (operand, given[number].as_str())),
        lane: Some(Lane { number, along, shared: &shared }),
        ..*scene
    });
    let in_quads = |slot: &Slot, access: &Access| {
        slot.has_quads() && meets_quads(access, along, places[access.operand].first)
    };
    let mut lines = Vec::new();
    for instruction in instructions {
        match instruction {
            Instruction::Load { to, access }
                if in_quads(&scene.slots[access.operand], access)
                    && scene.given.is_none_or(|(operand, _)| operand != access.operand) =>
            {
                let slot = &scene.slots[access.operand];
                let quad = slot.stored_four(&scene.position(&access.index));
                let whole = format!("q{}", to.0);
                lines.push(format!("let {whole} = {quad};"));
                let ty = wgsl_type(scene.kernel.registers[to.index()].dtype);
                for (lane, component) in lanes.iter().zip(COMPONENTS) {
                    let value = slot.value_of(&format!("{whole}.{component}"));
                    lines.push(format!("let {}: {ty} = {value};", lane.name(*to)));
                }
            }
            Instruction::Store { from, access } if in_quads(&scene.slots[access.operand], access) => {
                let values = lanes.each_ref().map(|lane| lane.name(*from));
                let slot = &scene.slots[access.operand];
                lines.push(slot.store_four(&scene.position(&access.index), &values));
            }
            other => {
                let is_one = other.target().is_some_and(|to| shared[to.index()]);
                let count = if is_one { 1 } else { 4 };
                lines.extend(lanes[..count].iter().map(|lane| lane.print(other, true)));
            }
        }
    }
    lines
}
