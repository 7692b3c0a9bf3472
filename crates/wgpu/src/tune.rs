//! Times the tiles of products, convolutions and attention on memory of their own; see [`dropforge_gpu::tune`].
//! Software renderers always go by rule.

use crate::clock::Clock;
use crate::executable::{Step, Table, WgpuExecutable};
use crate::gpu::{Gpu, OwnMemory};
use crate::printing::{Printing, limits_of};
use crate::wgsl::{self, BufferId, Dispatch, Pick, Tunable, Where};
use crate::words::width;
use dropforge_gpu::tune::{Tunable as _, race};
use dropforge_gpu::tuning::ALIGNMENT;
use dropforge_ir::{DType, Result};
use dropforge_plan::plan::{Kernel, Plan, Work};
use dropforge_runtime::Choices;
use dropforge_wgsl::tuning::MOST_TIMED_WORDS;
use std::sync::Arc;

/// Times the classes of a plan that are neither given nor known yet, those with most work first.
pub(crate) fn prepare(gpu: &Arc<Gpu>, plan: &Plan, given: &Choices) {
    let limits = limits_of(&gpu.limits);
    let tunable = |kernel: &Kernel| wgsl::tunable(plan, kernel, &limits, gpu.printing);
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
    let limits = limits_of(&gpu.limits);
    let mut candidates: Vec<(Pick, Vec<(usize, Dispatch)>)> = Vec::new();
    let mut scratch_words = 0;
    for &pick in &tunable.picks {
        let printed = wgsl::print(plan, kernel, None, &places, &limits, &gpu.printing, &mut |tunable| {
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
    let table = Table { chunks: &chunks, states: Vec::new(), scratch: Some(&scratch) };
    // Drivers compile slowly, and happily side by side.
    std::thread::scope(|scope| {
        for (_, dispatch) in candidates.iter().flat_map(|(_, dispatches)| dispatches) {
            scope.spawn(move || {
                // An error comes again where it is looked at.
                let _ = gpu.pipeline(&dispatch.label, &dispatch.source, &dispatch.writable());
            });
        }
    });
    let mut ready = Vec::new();
    for (pick, dispatches) in candidates {
        let (steps, params) = WgpuExecutable::steps(gpu, WHAT, &dispatches, &table)?;
        ready.push(Candidate { pick, steps, _params: params });
    }
    let clock = Clock::new(gpu, WHAT)?;
    let best = race(&ready, tunable.flops, |candidate, runs| clock.time(gpu, &candidate.steps, runs))?;
    Ok(best.map(|best| best.pick))
}

/// A choice, ready to run.
struct Candidate {
    pick: Pick,
    steps: Vec<Step>,
    /// Kept for the steps that use them.
    _params: OwnMemory,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::lock;

    #[test]
    fn every_candidate_is_timed() {
        let gpu = match Gpu::open(crate::Choice::Software) {
            Ok(gpu) => gpu,
            Err(_) if std::env::var("DROPFORGE_NO_GPU").as_deref() == Ok("1") => return,
            Err(error) => panic!("{error} (DROPFORGE_NO_GPU=1 passes without)"),
        };
        let text = "program p {
  %a: f32[1, 2, 40, 24] = input \"a\"
  %o, %l = attention %a, %a, %a {causal=1, scale=0.25}
  %x = dot %o, %a {lhs_batch=[0, 1], rhs_batch=[0, 1], lhs_contract=[3], rhs_contract=[3]}
  output \"x\" = %x
}";
        let plan = dropforge_plan::plan(&dropforge_ir::text::parse(text).unwrap()).unwrap();
        // A software renderer goes by rule unless told otherwise.
        prepare(&gpu, &plan, &Choices::new());
        assert_eq!(lock(&gpu.tuned).classes().count(), 0);
        lock(&gpu.tuned).activate();
        // What is left when the time is up comes next time.
        (0..2).for_each(|_| prepare(&gpu, &plan, &Choices::new()));
        let tuned = lock(&gpu.tuned);
        let classes: Vec<&str> = tuned.classes().collect();
        assert_eq!(classes, ["attention-2-40-40-32-true", "dot-2-40-40-24-k4-k4"]);
        drop(tuned);
        lock(&gpu.tuned).forget();
        let given = Choices::from([("dot-2-40-40-24-k4-k4".into(), "given".into())]);
        (0..2).for_each(|_| prepare(&gpu, &plan, &given));
        assert_eq!(lock(&gpu.tuned).classes().collect::<Vec<_>>(), ["attention-2-40-40-32-true"]);
    }
}
