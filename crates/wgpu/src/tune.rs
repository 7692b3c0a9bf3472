//! Tiles that suit the adapter, found by timing them once.
//!
//! Before a program is loaded, those of its kernels that have a choice are sorted into classes (an operation, how its
//! operands lie, sizes in steps). For a class seen for the first time, the candidates of the table run for a moment on
//! memory of their own, and the fastest is kept for this process and in a file of the user's cache folder, one for each
//! adapter, driver and version of this crate. A program spends no more than a bounded time on this; classes left over take
//! the choice by rule, and are timed when another program has them.
//!
//! Tiles differ in the order in which sums are formed, so another choice may round differently. What a program was loaded
//! with is told to whoever loads it, and what is given when it is loaded again comes first ([`dropforge_runtime::Choices`]): runs
//! keep it with their checkpoints. `DROPFORGE_CACHE=off` times nothing and takes every choice by rule;
//! `DROPFORGE_CACHE=<folder>` keeps the file there, to be copied along. Software renderers always go by rule.

use crate::clock::Clock;
use crate::executable::{Step, Table, WgpuExecutable};
use crate::gpu::{Gpu, lock};
use crate::heap::OwnMemory;
use crate::printing::Printing;
use crate::tuning::{
    ALIGNMENT, CANDIDATE_MICROSECONDS, CLEARLY_FASTER, GUESSED_RATE, MOST_TIMED_WORDS, TIMING_MILLISECONDS,
    TIMING_ROUNDS,
};
use crate::wgsl::{self, BufferId, Dispatch, Pick, Tunable, Where};
use crate::words::width;
use dropforge_ir::{DType, Result};
use dropforge_plan::plan::{Kernel, Plan, Work};
use dropforge_runtime::Choices;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What was picked on one adapter.
pub(crate) struct Tuned {
    picks: BTreeMap<String, Pick>,
    /// Whether classes that are not known are timed.
    active: bool,
    /// Where picks are kept, and the first line of that file.
    file: Option<PathBuf>,
    header: String,
}

impl Tuned {
    /// What is known of an adapter.
    pub fn of(info: &wgpu::AdapterInfo) -> Tuned {
        let asked = std::env::var_os("DROPFORGE_CACHE");
        let off = asked.as_ref().is_some_and(|asked| asked == "off");
        if off || info.device_type == wgpu::DeviceType::Cpu {
            return Tuned { picks: BTreeMap::new(), active: false, file: None, header: String::new() };
        }
        let header = format!(
            "dropforge {} tiles for {} ({:?}) by {} {}",
            env!("CARGO_PKG_VERSION"),
            info.name,
            info.backend,
            info.driver,
            info.driver_info
        )
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
        let folder = asked.filter(|asked| !asked.is_empty()).map(PathBuf::from).or_else(cache_folder);
        let file = folder.map(|folder| folder.join(format!("tiles-{:016x}.txt", hash(&header))));
        let picks = file.as_deref().map(|file| read(file, &header)).unwrap_or_default();
        Tuned { picks, active: true, file, header }
    }

    /// What was picked for a class.
    pub fn pick(&self, class: &str) -> Option<Pick> {
        self.picks.get(class).copied()
    }

    /// Writes the file, together with what another process has written since. Whoever cannot write goes without.
    fn save(&self) {
        let Some(file) = &self.file else { return };
        let mut all = read(file, &self.header);
        all.extend(self.picks.iter().map(|(class, pick)| (class.clone(), *pick)));
        let lines: String = all.iter().map(|(class, pick)| format!("{class} {}\n", pick.text())).collect();
        let beside = file.with_extension(format!("{}.tmp", std::process::id()));
        let written = file
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::write(&beside, format!("{}\n{lines}", self.header)))
            .and_then(|()| std::fs::rename(&beside, file));
        if written.is_err() {
            // Nothing depends on it, and there may be nothing to remove.
            let _ = std::fs::remove_file(&beside);
        }
    }
}

/// The picks of a file; none if it is missing or of something else. Lines that say nothing are passed over.
fn read(file: &Path, header: &str) -> BTreeMap<String, Pick> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let mut lines = text.lines();
    if lines.next() != Some(header) {
        return BTreeMap::new();
    }
    lines
        .filter_map(|line| {
            let (class, pick) = line.split_once(' ')?;
            Some((class.to_string(), Pick::parse(pick)?))
        })
        .collect()
}

/// The folder of this user's caches, by the custom of the system.
fn cache_folder() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = if cfg!(windows) {
        folder("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        folder("HOME").map(|home| home.join("Library").join("Caches"))
    } else {
        folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")))
    };
    base.map(|base| base.join("dropforge"))
}

/// FNV-1a: the same in every version of everything.
fn hash(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// Times the classes of a plan that are neither given nor known yet, those with most work first.
pub(crate) fn prepare(gpu: &Arc<Gpu>, plan: &Plan, given: &Choices) {
    let mut waiting: HashMap<String, (f64, usize, Tunable)> = HashMap::new();
    {
        let tuned = lock(&gpu.tuned);
        if !tuned.active {
            return;
        }
        for (number, kernel) in plan.kernels.iter().enumerate() {
            let Some(tunable) = wgsl::tunable(plan, kernel, &gpu.limits, gpu.printing) else { continue };
            let is_open = !given.contains_key(&tunable.class) && tuned.pick(&tunable.class).is_none();
            if tunable.flops > 0.0 && tunable.picks.len() > 1 && is_open {
                let flops = tunable.flops;
                let class = tunable.class.clone();
                waiting.entry(class).or_insert((0.0, number, tunable)).0 += flops;
            }
        }
    }
    let mut order: Vec<_> = waiting.into_values().collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.2.class.cmp(&b.2.class)));
    let start = Instant::now();
    let mut found = 0;
    for (_, kernel, tunable) in order {
        if start.elapsed() > Duration::from_millis(TIMING_MILLISECONDS) {
            break;
        }
        // What cannot be timed, for want of memory perhaps, goes by rule.
        if let Ok(Some(pick)) = fastest(gpu, plan, &plan.kernels[kernel], &tunable) {
            lock(&gpu.tuned).picks.insert(tunable.class, pick);
            found += 1;
        }
    }
    if found > 0 {
        lock(&gpu.tuned).save();
    }
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
        ready.push(Candidate { pick, steps, _params: params, seconds: f64::INFINITY });
    }
    let clock = Clock::new(gpu, WHAT)?;
    let guess = tunable.flops / GUESSED_RATE + 5.0;
    let runs = (CANDIDATE_MICROSECONDS / guess).clamp(1.0, 50.0) as usize;
    for round in 0..=TIMING_ROUNDS {
        for candidate in &mut ready {
            let time = clock.time(gpu, &candidate.steps, if round == 0 { 1 } else { runs })?;
            // The first round warms up.
            if round > 0 {
                candidate.seconds = candidate.seconds.min(time);
            }
        }
    }
    let rule = &ready[0];
    let best = ready.iter().min_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let best = best.filter(|best| best.seconds < rule.seconds * CLEARLY_FASTER).unwrap_or(rule);
    Ok(Some(best.pick))
}

/// A choice, ready to run.
struct Candidate {
    pick: Pick,
    steps: Vec<Step>,
    /// Kept for the steps that use them.
    _params: OwnMemory,
    seconds: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuning::TILES;

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
        assert!(lock(&gpu.tuned).picks.is_empty());
        lock(&gpu.tuned).active = true;
        // What is left when the time is up comes next time.
        (0..2).for_each(|_| prepare(&gpu, &plan, &Choices::new()));
        let tuned = lock(&gpu.tuned);
        let classes: Vec<&str> = tuned.picks.keys().map(String::as_str).collect();
        assert_eq!(classes, ["attention-2-40-40-32-true", "dot-2-40-40-24-k4-k4"]);
        drop(tuned);
        lock(&gpu.tuned).picks.clear();
        let given = Choices::from([("dot-2-40-40-24-k4-k4".into(), "given".into())]);
        (0..2).for_each(|_| prepare(&gpu, &plan, &given));
        assert_eq!(lock(&gpu.tuned).picks.keys().collect::<Vec<_>>(), ["attention-2-40-40-32-true"]);
    }

    #[test]
    fn files_are_read_back_and_anything_else_is_ignored() {
        let folder = std::env::temp_dir().join(format!("dropforge-tiles-{}", std::process::id()));
        let file = folder.join("inner").join("tiles.txt");
        let header = "dropforge tiles".to_string();
        let pick = Pick::Contraction(TILES[1].0, 3);
        let picks = BTreeMap::from([("dot-1".to_string(), pick)]);
        Tuned { picks, active: true, file: Some(file.clone()), header: header.clone() }.save();
        let more = BTreeMap::from([("dot-2".to_string(), pick)]);
        Tuned { picks: more, active: true, file: Some(file.clone()), header: header.clone() }.save();
        assert_eq!(read(&file, &header).into_keys().collect::<Vec<_>>(), ["dot-1", "dot-2"]);
        assert!(read(&file, "another driver").is_empty());
        assert_eq!(std::fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
        std::fs::write(
            &file,
            format!("{header}\ndot-3\n\n\u{0}\u{fffd} x\ndot-4 tile:1:1:1:1:1\ndot-5 {}\n", pick.text()),
        )
        .unwrap();
        assert_eq!(read(&file, &header).into_keys().collect::<Vec<_>>(), ["dot-5"]);
        std::fs::write(&file, [0xff, 0xfe, 0x00]).unwrap();
        assert!(read(&file, &header).is_empty());
        std::fs::remove_dir_all(&folder).unwrap();
        // A folder that cannot be made is no error.
        Tuned { picks: BTreeMap::new(), active: true, file: Some(PathBuf::from("/dev/null/x/y")), header }
            .save();
    }
}
