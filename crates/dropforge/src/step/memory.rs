//! Where the intermediate values of a training step lie, and when.

use super::training::Step;
use dropforge_plan::plan::{Place, Plan};

/// An intermediate value in the memory of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryBlock {
    /// What computes it: the operations of its kernel, and its layer.
    pub name: String,
    /// Bytes from the start of the memory.
    pub offset: usize,
    /// How many bytes it has.
    pub bytes: usize,
    /// The first kernel that touches it, by its number in the step.
    pub first: usize,
    /// The last kernel that does.
    pub last: usize,
}

impl Step {
    /// The intermediate values of the training program for the largest batch so far, by where they lie: what fills the
    /// memory, and when.
    pub fn memory_blocks(&self) -> Vec<MemoryBlock> {
        self.programs().largest(|executable| blocks(executable.plan())).unwrap_or_default()
    }
}

fn blocks(plan: &Plan) -> Vec<MemoryBlock> {
    let mut touched: Vec<Option<(usize, usize)>> = vec![None; plan.buffers.len()];
    for (kernel, work) in plan.kernels.iter().enumerate() {
        for buffer in work.buffers() {
            let first = touched[buffer].map_or(kernel, |(first, _)| first);
            touched[buffer] = Some((first, kernel));
        }
    }
    let block = |(buffer, touched): (&dropforge_plan::plan::BufferInfo, &Option<(usize, usize)>)| {
        let (Place::Arena(offset), Some((first, last))) = (buffer.place, *touched) else { return None };
        let kernel = &plan.kernels[first];
        let (work, path) = (dropforge_plan::explain::title(plan, kernel), &kernel.origin.path);
        let name = if path.is_empty() { work } else { format!("{work} in {path}") };
        Some(MemoryBlock { name, offset, bytes: buffer.ty.bytes(), first, last })
    };
    let mut blocks: Vec<MemoryBlock> = plan.buffers.iter().zip(&touched).filter_map(block).collect();
    blocks.sort_by_key(|block| (block.offset, block.first));
    blocks
}
