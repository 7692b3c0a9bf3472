//! Epilogues: which elementwise kernels run where the product or convolution before them stores.
//!
//! It saves a launch, reading the product back, and storing it at all where nobody else reads it.

use crate::tuning::MOST_EPILOGUE_WORK;
use dropforge_ir::UnaryKind;
use dropforge_plan::kernel::{Instance, Instruction, LoopKernel};
use dropforge_plan::plan::{Kernel, Plan, Work};

/// For each kernel of a plan, whether it runs as part of the one before it, on a device whose kernels reach so many
/// buffers.
pub fn fused(plan: &Plan, most_buffers: usize) -> Vec<bool> {
    (0..plan.kernels.len()).map(|number| number > 0 && is_fused(plan, number, most_buffers)).collect()
}

fn is_fused(plan: &Plan, number: usize, most_buffers: usize) -> bool {
    let (before, kernel) = (&plan.kernels[number - 1], &plan.kernels[number]);
    let (Work::Call { op, args, results }, Some((epilogue, instance))) = (&before.work, elementwise(kernel))
    else {
        return false;
    };
    // At worst each operand lies in another buffer, and the parts of a sum in one more.
    let buffers = args.len() + instance.operands.len() + 1;
    kernel.is_epilogue
        && op.is_contraction()
        && plan.buffers[results[0]].ty.dtype.is_float()
        && buffers <= most_buffers
        && work(epilogue) <= MOST_EPILOGUE_WORK
}

/// The loop of a kernel without columns, over one set of buffers.
pub fn elementwise(kernel: &Kernel) -> Option<(&LoopKernel, &Instance)> {
    match &kernel.work {
        Work::Loop { kernel, instances } if kernel.column_axes == 0 && instances.len() == 1 => {
            Some((kernel, &instances[0]))
        }
        _ => None,
    }
}

/// About how many operations an element takes.
fn work(kernel: &LoopKernel) -> usize {
    let one = |instruction: &Instruction| match instruction {
        Instruction::RandomBits { .. } => 100,
        Instruction::Unary { kind, .. } => match kind {
            UnaryKind::Negate | UnaryKind::Absolute | UnaryKind::Relu | UnaryKind::Not => 1,
            _ => 20,
        },
        Instruction::Immediate { .. } => 0,
        _ => 1,
    };
    instructions(kernel).map(one).sum()
}

/// The value that nobody has in memory because the epilogue of the kernel with this number takes it from registers.
pub fn unstored(plan: &Plan, product: usize) -> Option<usize> {
    match &plan.kernels[product].work {
        Work::Call { results, .. } if plan.is_used_by_next_only(product, results[0]) => Some(results[0]),
        _ => None,
    }
}

/// The instructions of a kernel without columns.
fn instructions(kernel: &LoopKernel) -> impl Iterator<Item = &Instruction> + Clone {
    kernel.stages.iter().flat_map(|stage| stage.domain.iter().chain(&stage.row))
}
