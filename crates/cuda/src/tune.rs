//! Times the tiles of products, convolutions and attention on memory of their own; see [`dropforge_gpu::tune`].

use crate::attention;
use crate::clock::Clock;
use crate::convolution;
use crate::executable::{CudaExecutable, Step, Table};
use crate::gpu::{Gpu, OwnMemory};
use crate::product;
use crate::words::width;
use dropforge_gpu::tune::{Tunable as _, race};
use dropforge_gpu::tuning::ALIGNMENT;
use dropforge_ir::{DType, Result};
use dropforge_plan::plan::{Kernel, Plan, Work};
use dropforge_runtime::Choices;
use dropforge_wgsl::tuning::MOST_TIMED_WORDS;
use dropforge_wgsl::{self as wgsl, BufferId, Dispatch, Pick, Printing, Tunable, Where};
use std::sync::Arc;

/// Times the classes of a plan that are neither given nor known yet, those with most work first.
pub fn prepare(gpu: &Arc<Gpu>, plan: &Plan, given: &Choices) {
    let is_of_library = |kernel: &Kernel| {
        (product::shape(plan, kernel, gpu.printing).is_some() && gpu.products().is_some())
            || (convolution::job(plan, kernel, gpu.printing, gpu.turns).is_some()
                && gpu.convolutions().is_some())
            || (gpu.own_attention && attention::attention(plan, kernel, gpu.printing).is_some())
    };
    let tunable = |kernel: &Kernel| match is_of_library(kernel) {
        true => None,
        false => wgsl::tunable(plan, kernel, &gpu.limits, gpu.printing),
    };
    let fastest = |kernel: &Kernel, tunable: &Tunable| fastest(gpu, plan, kernel, tunable);
    dropforge_gpu::tune::prepare(&gpu.tuned, plan, given, tunable, fastest);
}

/// A place for each buffer that a kernel touches, in one piece of memory; and its words.
fn places(plan: &Plan, kernel: &Kernel, printing: Printing) -> (Vec<Where>, usize) {
    let nowhere = Where::of_words(BufferId::Own(0), 0, DType::F32);
    let mut places = vec![nowhere; plan.buffers.len()];
    let mut end = 0usize;
    let Work::Call { args, results, .. } = &kernel.work else { return (places, 0) };
    let mut place = |buffer: usize, elements: usize| {
        let ty = &plan.buffers[buffer].ty;
        // What lies beyond all limits is too large to time.
        places[buffer] = Where::at(BufferId::Own(0), end as u64 * 4, ty, printing).unwrap_or(nowhere);
        let words = elements.saturating_mul(width(ty.dtype, printing) as usize).div_ceil(4);
        end = end.saturating_add(words.next_multiple_of(ALIGNMENT as usize / 4));
    };
    for arg in args {
        let reach = arg.ty.shape.iter().zip(&arg.strides);
        let last: i64 = reach.map(|(&extent, &stride)| stride.max(0) * (extent.max(1) as i64 - 1)).sum();
        place(arg.buffer, usize::try_from(arg.offset + last + 1).unwrap_or(0));
    }
    for &result in results {
        place(result, plan.buffers[result].ty.shape.elements());
    }
    (places, end)
}

/// What memory and errors are about.
const WHAT: &str = "the timing of tiles";

/// The candidate that takes the least time; nothing if the kernel is too large to try.
fn fastest(gpu: &Arc<Gpu>, plan: &Plan, kernel: &Kernel, tunable: &Tunable) -> Result<Option<Pick>> {
    let (places, words) = places(plan, kernel, gpu.printing);
    if words == 0 || words > MOST_TIMED_WORDS {
        return Ok(None);
    }
    let mut candidates: Vec<(Pick, Vec<(usize, Dispatch)>)> = Vec::new();
    let mut scratch_words = 0;
    for &pick in &tunable.picks {
        let printed = wgsl::print(plan, kernel, None, &places, &gpu.limits, &gpu.printing, &mut |tunable| {
            tunable.fit(Some(pick))
        })?;
        scratch_words = scratch_words.max(printed.scratch_words);
        candidates.push((pick, printed.dispatches.into_iter().map(|dispatch| (0, dispatch)).collect()));
    }
    if words + scratch_words > MOST_TIMED_WORDS {
        return Ok(None);
    }
    let memory = |words: usize| OwnMemory::storage(gpu, WHAT, words as u64 * 4);
    let (chunks, scratch) = ([memory(words)?], memory(scratch_words)?);
    let table = Table { chunks: &chunks, states: &[], scratch: Some(&scratch) };
    let sources = candidates.iter().flat_map(|(_, dispatches)| dispatches);
    gpu.compile_ahead(sources.map(|(_, dispatch)| dispatch.source.as_str()));
    let mut ready = Vec::new();
    for (pick, dispatches) in candidates {
        let steps = CudaExecutable::steps(gpu, dispatches, &table)?;
        ready.push(Candidate { pick, steps });
    }
    let clock = Clock::new(gpu, WHAT)?;
    let best = race(&ready, tunable.flops, |candidate, runs| clock.time(gpu, &candidate.steps, runs))?;
    Ok(best.map(|best| best.pick))
}

/// A choice, ready to run.
struct Candidate {
    pick: Pick,
    steps: Vec<Step>,
}
