//! The shaders of a program without a GPU: what a device would run, for whoever wants to read or check it.

use crate::limits::Limits;
use crate::print::{self, BufferId, Tunable, Where};
use crate::printing::Printing;
use crate::words::{append, stored_bytes, width};
use dropforge_gpu::epilogue::fused;
use dropforge_gpu::tune::Picker;
use dropforge_gpu::tuning::ALIGNMENT;
use dropforge_gpu::{Layout, Spot};
use dropforge_ir::{Data, Error, Program, Result};
use dropforge_plan::plan::{Place, Plan};
use dropforge_runtime::{Choices, Options, compile};

/// Where a value lies. Every element takes one 32-bit word; bytes and truth values are widened. Elements of f16 take 2
/// bytes where the printing says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShaderPlace {
    /// Position in [`Shaders::buffers`].
    pub buffer: usize,
    /// First word.
    pub word: usize,
}

/// One dispatch. The entry point is `main`.
#[derive(Clone, Debug)]
pub struct ShaderDispatch {
    /// The kernel of the plan, for people.
    pub label: String,
    /// WGSL; it says the size of a workgroup.
    pub source: String,
    /// Words of the uniform buffer, binding 0 of group 0.
    pub params: Vec<u32>,
    /// The storage buffers of bindings 1, 2, … by position in [`Shaders::buffers`], and whether they are written.
    pub bindings: Vec<(usize, bool)>,
    /// Size of the grid.
    pub workgroups: [u32; 3],
}

/// What a device runs for one call of a program.
#[derive(Clone, Debug)]
pub struct Shaders {
    /// Bytes of each buffer. Nothing may be expected of what they hold at first, constants apart.
    pub buffers: Vec<u64>,
    /// In the order of execution, each of them after the one before is done.
    pub dispatches: Vec<ShaderDispatch>,
    /// Where the inputs are put before a run.
    pub inputs: Vec<ShaderPlace>,
    /// Where the hyperparameters are put before a run.
    pub hypers: Vec<ShaderPlace>,
    /// Where the states lie.
    pub states: Vec<ShaderPlace>,
    /// Where the outputs lie after a run.
    pub outputs: Vec<ShaderPlace>,
    /// The constants: words that are put in place once.
    pub constants: Vec<(ShaderPlace, Vec<u32>)>,
}

fn place(spot: Spot) -> ShaderPlace {
    ShaderPlace { buffer: spot.chunk, word: (spot.offset / 4) as usize }
}

/// States one after another, in as few buffers as their size allows; as those of a device that has just been opened.
fn place_states(plan: &Plan, limit: u64, printing: Printing) -> (Vec<Spot>, Vec<u64>) {
    let mut buffers = Vec::new();
    let mut spots = Vec::new();
    for port in &plan.program.states {
        let bytes = stored_bytes(plan.program.ty(port.value), printing).max(1).next_multiple_of(ALIGNMENT);
        if buffers.last().is_none_or(|&used| used + bytes > limit) {
            buffers.push(0);
        }
        let chunk = buffers.len() - 1;
        spots.push(Spot { chunk, offset: buffers[chunk] });
        buffers[chunk] += bytes;
    }
    (spots, buffers)
}

/// The dispatches that a device with these limits, for which kernels are printed like this, carries out for a program
/// where no timing was done, and the memory that they work on.
///
/// # Errors
/// If the program is not valid, or needs something that the device has not.
pub fn shaders(program: &Program, limits: &Limits, printing: &Printing) -> Result<Shaders> {
    shaders_with(program, limits, printing, &mut Choices::new())
}

/// As [`shaders`], with choices as [`dropforge_runtime::load_with`] takes them.
///
/// # Errors
/// As [`shaders`].
pub fn shaders_with(
    program: &Program,
    limits: &Limits,
    printing: &Printing,
    choices: &mut Choices,
) -> Result<Shaders> {
    let plan = compile(program, &Options::unrolled())?;
    let limit = limits.buffer_bytes / ALIGNMENT * ALIGNMENT;
    let fused = fused(&plan, limits.buffers);
    let layout = Layout::new(&plan, &fused, limit, &|dtype| width(dtype, *printing))?;
    let (states, state_bytes) = place_states(&plan, limit, *printing);
    let mut buffers = layout.chunks.clone();
    let first_state = buffers.len();
    buffers.extend(state_bytes);
    let mut places = Vec::new();
    for (number, info) in plan.buffers.iter().enumerate() {
        let (buffer, offset) = match (info.place, layout.spots[number]) {
            (Place::State(port), _) => (BufferId::State(states[port].chunk), states[port].offset),
            (_, Some(Spot { chunk, offset })) => (BufferId::Own(chunk), offset),
            // In the arena, but no kernel touches it.
            (_, None) => (BufferId::Own(0), 0),
        };
        places.push(Where::at(buffer, offset, &info.ty, *printing)?);
    }
    let scratch = buffers.len();
    let mut scratch_words = 0;
    let mut dispatches = Vec::new();
    let mut picker = Picker::new(choices, &|_| None);
    for (number, kernel) in plan.kernels.iter().enumerate().filter(|(number, _)| !fused[*number]) {
        let epilogue = print::epilogue(&plan, &fused, number, &places);
        let mut pick = |tunable: &Tunable| picker.pick(tunable);
        let printed = print::print(&plan, kernel, epilogue.as_ref(), &places, limits, printing, &mut pick)?;
        scratch_words = scratch_words.max(printed.scratch_words);
        dispatches.extend(printed.dispatches);
    }
    if scratch_words > 0 {
        buffers.push(scratch_words as u64 * 4);
    }
    let position = |id: BufferId| match id {
        BufferId::Own(chunk) => chunk,
        BufferId::State(chunk) => first_state + chunk,
        BufferId::Scratch => scratch,
    };
    let dispatches = dispatches
        .into_iter()
        .map(|dispatch| ShaderDispatch {
            bindings: dispatch.bindings.iter().map(|&(id, written)| (position(id), written)).collect(),
            label: dispatch.label,
            source: dispatch.source,
            params: dispatch.params,
            workgroups: dispatch.workgroups,
        })
        .collect();
    let mut constants = Vec::new();
    for (literal, &spot) in plan.constants.iter().zip(&layout.constants) {
        let data = Data::from_bytes(literal.ty.dtype, literal.bytes())
            .ok_or_else(|| Error::new("load", format!("a constant does not hold {}", literal.ty)))?;
        constants.push((place(spot), words(&data, *printing)));
    }
    let input = |&offset: &u64| place(Spot { chunk: 0, offset });
    Ok(Shaders {
        buffers,
        dispatches,
        inputs: layout.inputs.iter().map(input).collect(),
        hypers: (0..plan.program.hypers.len())
            .map(|port| input(&(layout.hypers + 4 * port as u64)))
            .collect(),
        states: states
            .into_iter()
            .map(|spot| place(Spot { chunk: first_state + spot.chunk, ..spot }))
            .collect(),
        outputs: layout.outputs.iter().map(|&spot| place(spot)).collect(),
        constants,
    })
}

/// Elements as shaders see them.
fn words(data: &Data, printing: Printing) -> Vec<u32> {
    let mut bytes = Vec::new();
    append(data, printing, &mut bytes);
    bytes.chunks_exact(4).map(|c| u32::from_ne_bytes([c[0], c[1], c[2], c[3]])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dropforge_ir::text::parse;

    #[test]
    fn a_program_is_printed_without_a_gpu() {
        let program = parse(
            "program p {
  %x: f32[3] = input \"x\"
  %s: f32[3] = state \"s\"
  %y = add %x, %s
  write \"s\" = %y
  output \"y\" = %y
}",
        )
        .unwrap();
        let shaders = shaders(&program, &Limits::default(), &Printing::default()).unwrap();
        assert_eq!(shaders.inputs, [ShaderPlace { buffer: 0, word: 0 }]);
        assert_eq!(shaders.states, [ShaderPlace { buffer: 1, word: 0 }]);
        assert_eq!(shaders.outputs[0].buffer, 0);
        let first = &shaders.dispatches[0];
        assert!(first.source.contains("fn main("), "{}", first.source);
        assert!(first.bindings.iter().all(|&(buffer, _)| buffer < shaders.buffers.len()));
        let small = Limits { buffer_bytes: 128, ..Default::default() };
        assert!(super::shaders(&program, &small, &Printing::default()).is_err());
    }
}
