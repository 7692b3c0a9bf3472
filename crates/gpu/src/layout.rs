//! Where the values of a plan lie on the device.
//!
//! The plan places intermediate values by the bytes they have on the host. Here elements have other widths, bindings
//! have a largest size, and inputs, outputs, hyperparameters and constants lie beside the intermediate values, so
//! places are found anew, from the same lifetimes. Values that share a place in the plan while both are alive (a result
//! that replaces an argument) share one here.

use crate::epilogue::unstored;
use crate::tuning::ALIGNMENT;
use dropforge_ir::{DType, Error, Program, Result, ValueType};
use dropforge_plan::plan::{Place, Plan};
use std::collections::HashMap;

/// How many bytes an element takes on a device.
pub type Width<'a> = &'a dyn Fn(DType) -> u64;

/// Bytes of a value on a device: whole words, as copies move no less.
pub fn stored_bytes(ty: &ValueType, width: Width<'_>) -> u64 {
    (ty.shape.elements() as u64 * width(ty.dtype)).next_multiple_of(4)
}

/// A position in the device buffers of an executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Which chunk.
    pub chunk: usize,
    /// First byte.
    pub offset: u64,
}

/// The memory of one executable, states left out.
#[derive(Debug, Default)]
pub struct Layout {
    /// For each buffer of the plan; nothing for states.
    pub spots: Vec<Option<Spot>>,
    /// For each input of the program, where its elements are uploaded to; in the first chunk, one after another.
    pub inputs: Vec<u64>,
    /// First hyperparameter, behind the inputs; one word each.
    pub hypers: u64,
    /// End of what is uploaded for each run.
    pub upload_bytes: u64,
    /// For each output of the program.
    pub outputs: Vec<Spot>,
    /// For each constant of the plan.
    pub constants: Vec<Spot>,
    /// Size of each chunk.
    pub chunks: Vec<u64>,
    /// Bytes of intermediate values at their fullest.
    pub arena_bytes: u64,
}

/// Something that needs a place for some steps.
struct Item {
    bytes: u64,
    first: usize,
    last: usize,
    spot: Spot,
}

impl Layout {
    /// Finds places in chunks of at most `limit` bytes, where the kernels that `fused` marks run as part of the one
    /// before; `width` says how wide elements are.
    ///
    /// # Errors
    /// If a value takes more than that; the message names it and the program.
    pub fn new(plan: &Plan, fused: &[bool], limit: u64, width: Width<'_>) -> Result<Layout> {
        Layout::find(plan, fused, limit, width)
            .map_err(|error| Error::new("load", format!("{}: {}", plan.program.name, error.message())))
    }

    fn find(plan: &Plan, fused: &[bool], limit: u64, width: Width<'_>) -> Result<Layout> {
        let stored_bytes = |ty: &ValueType| stored_bytes(ty, width);
        let mut layout = Layout { spots: vec![None; plan.buffers.len()], ..Layout::default() };
        let end = plan.kernels.len();
        let mut packer = Packer { limit, items: Vec::new(), chunks: Vec::new() };
        let mut at = 0;
        for port in &plan.program.inputs {
            layout.inputs.push(at);
            at += aligned(stored_bytes(plan.program.ty(port.value)));
        }
        layout.hypers = at;
        layout.upload_bytes = at + (plan.program.hypers.len() as u64) * 4;
        packer.place(&inputs_together(&plan.program, width), layout.upload_bytes, 0, end)?;
        for literal in &plan.constants {
            let spot =
                packer.place(&format!("a constant {}", literal.ty), stored_bytes(&literal.ty), 0, end)?;
            layout.constants.push(spot);
        }
        for output in &plan.program.outputs {
            let what = format!("output {}", output.name);
            let spot = packer.place(&what, stored_bytes(plan.program.ty(output.value)), 0, end)?;
            layout.outputs.push(spot);
        }
        let fixed: u64 = packer.chunks.iter().sum();
        layout.place_arena(plan, fused, width, &mut packer)?;
        for (number, info) in plan.buffers.iter().enumerate() {
            let spot = match info.place {
                Place::Input(port) => Spot { chunk: 0, offset: layout.inputs[port] },
                Place::Hyper(port) => Spot { chunk: 0, offset: layout.hypers + 4 * port as u64 },
                Place::Constant(constant) => layout.constants[constant],
                Place::Output(port) => layout.outputs[port],
                Place::State(_) | Place::Arena(_) => continue,
            };
            layout.spots[number] = Some(spot);
        }
        layout.chunks = packer.chunks;
        layout.arena_bytes = layout.chunks.iter().sum::<u64>() - fixed;
        Ok(layout)
    }

    fn place_arena(
        &mut self,
        plan: &Plan,
        fused: &[bool],
        width: Width<'_>,
        packer: &mut Packer,
    ) -> Result<()> {
        let mut lives: HashMap<usize, (usize, usize)> = HashMap::new();
        for (step, kernel) in plan.kernels.iter().enumerate() {
            // What is read by a kernel with an epilogue stays until that is done: both run at the same time.
            let has_epilogue = fused.get(step + 1) == Some(&true);
            let last = step + usize::from(has_epilogue);
            for buffer in kernel.buffers() {
                if matches!(plan.buffers[buffer].place, Place::Arena(_)) {
                    lives.entry(buffer).or_insert((step, step)).1 = last;
                }
            }
        }
        for product in (0..plan.kernels.len()).filter(|product| fused.get(product + 1) == Some(&true)) {
            if let Some(value) = unstored(plan, product) {
                lives.remove(&value);
            }
        }
        // In order of birth, so that a chain of replacements ends in one group.
        let mut order: Vec<usize> = lives.keys().copied().collect();
        order.sort_unstable_by_key(|buffer| (lives[buffer].0, *buffer));
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut last_at: HashMap<Place, usize> = HashMap::new();
        for buffer in order {
            let info = &plan.buffers[buffer];
            let replaced = last_at.get(&info.place).copied().filter(|&group| {
                let &old = groups[group].last().expect("groups are never empty");
                let (ty, old_ty) = (&info.ty, &plan.buffers[old].ty);
                // Element by element works only among elements of one width.
                let is_alike = width(ty.dtype) == width(old_ty.dtype);
                lives[&old].1 == lives[&buffer].0 && old_ty.bytes() == ty.bytes() && is_alike
            });
            let group = replaced.unwrap_or_else(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            groups[group].push(buffer);
            last_at.insert(info.place, group);
        }
        let bytes = |group: &Vec<usize>| {
            group.iter().map(|&buffer| stored_bytes(&plan.buffers[buffer].ty, width)).max().unwrap_or(0)
        };
        groups.sort_by_key(|group| (std::cmp::Reverse(bytes(group)), lives[&group[0]].0, group[0]));
        for group in &groups {
            let (first, last) = (lives[&group[0]].0, lives[&group[group.len() - 1]].1);
            let what = format!("an intermediate value {}", plan.buffers[group[0]].ty);
            let spot = packer.place(&what, bytes(group), first, last)?;
            for &buffer in group {
                self.spots[buffer] = Some(spot);
            }
        }
        Ok(())
    }
}

/// Inputs lie side by side; in errors the largest stands for them.
fn inputs_together(program: &Program, width: Width<'_>) -> String {
    let largest = program.inputs.iter().max_by_key(|port| stored_bytes(program.ty(port.value), width));
    match (largest, program.inputs.len()) {
        (Some(port), 1) => format!("input {} {}", port.name, program.ty(port.value)),
        (Some(port), count) => {
            format!("{count} inputs, the largest {} {},", port.name, program.ty(port.value))
        }
        (None, _) => "the hyperparameters".into(),
    }
}

/// Bytes of a place that holds this many.
pub fn aligned(bytes: u64) -> u64 {
    bytes.max(1).next_multiple_of(ALIGNMENT)
}

struct Packer {
    limit: u64,
    items: Vec<Item>,
    chunks: Vec<u64>,
}

impl Packer {
    /// The lowest offset that is free during the whole life, in the first chunk that has one.
    fn place(&mut self, what: &str, bytes: u64, first: usize, last: usize) -> Result<Spot> {
        let bytes = aligned(bytes);
        if bytes > self.limit {
            let message = format!("{what} takes {bytes} bytes, kernels see {} at most", self.limit);
            return Err(Error::new("load", message));
        }
        for chunk in 0.. {
            if chunk == self.chunks.len() {
                self.chunks.push(0);
            }
            let mut busy: Vec<(u64, u64)> = self
                .items
                .iter()
                .filter(|item| item.spot.chunk == chunk && item.first <= last && first <= item.last)
                .map(|item| (item.spot.offset, item.spot.offset + item.bytes))
                .collect();
            busy.sort_unstable();
            let mut offset = 0;
            for (start, end) in busy {
                if offset + bytes <= start {
                    break;
                }
                offset = offset.max(end);
            }
            if offset + bytes <= self.limit {
                let spot = Spot { chunk, offset };
                self.chunks[chunk] = self.chunks[chunk].max(offset + bytes);
                self.items.push(Item { bytes, first, last, spot });
                return Ok(spot);
            }
        }
        unreachable!("a new chunk holds anything below the limit")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_decide_what_shares_memory() {
        let mut packer = Packer { limit: 1024, items: Vec::new(), chunks: Vec::new() };
        let mut place = |bytes, first, last| {
            let spot = packer.place("x", bytes, first, last).unwrap();
            (spot.chunk, spot.offset)
        };
        assert_eq!(place(512, 0, 1), (0, 0));
        assert_eq!(place(300, 1, 2), (0, 512));
        assert_eq!(place(256, 2, 3), (0, 0));
        assert_eq!(place(512, 0, 3), (1, 0));
        assert!(packer.place("y", 2000, 0, 0).is_err());
    }
}
