//! Which kernels become one kernel with several instances.
//!
//! Kernels with equal instructions may run as one over all their buffers: an optimizer's updates, the sums of squares of all
//! gradients. It starts when the last of what they read is there, so that what the others read stays for longer, and
//! whoever reads their results waits for longer. Kernels merge only where neither costs anything:
//!
//! - What waits for one of them waits for all of them anyway. So no two of them depend on each other, and no order of
//!   kernels becomes impossible, however many sets of kernels merge.
//! - What one of them reads from the arena is small, or is read by something that waits for the others. Elementwise kernels
//!   whose results nobody reads are updates of states, and merge in any case.

use super::Planner;
use crate::emit::Emitted;
use crate::fuse::results;
use crate::kernel::LoopKernel;
use crate::tuning::MERGED_BYTES;
use dropforge_ir::Value;
use std::collections::{HashMap, HashSet};

/// What decides whether kernels merge.
struct Merging<'a> {
    planner: &'a Planner<'a>,
    sources: &'a [Vec<usize>],
    /// For each unit those that wait for it directly.
    followers: Vec<Vec<usize>>,
    /// The units that store or read each value.
    readers: HashMap<Value, Vec<usize>>,
    /// Results of the program.
    ends: HashSet<Value>,
    /// For units that were asked for, all units that they wait for, directly or not.
    awaited: HashMap<usize, HashSet<usize>>,
}

impl Planner<'_> {
    /// The units that run as one kernel, for each kernel; those in `alone` share it with nobody.
    pub(super) fn merge_instances(
        &self,
        emitted: &[Option<Emitted>],
        sources: &[Vec<usize>],
        alone: &HashSet<usize>,
    ) -> Vec<Vec<usize>> {
        let mut merging = Merging::new(self, sources);
        let mut open: HashMap<&LoopKernel, Vec<usize>> = HashMap::new();
        let mut sets: Vec<Vec<usize>> = Vec::new();
        // In the order of the program, so that instances are too.
        let mut units: Vec<usize> = (0..self.fusion.units.len()).collect();
        units.sort_by_key(|&unit| (self.fusion.units[unit].nodes().last().copied(), unit));
        for unit in units {
            let ends_a_call = || sources[unit].iter().any(|&source| self.may_end(source, &emitted[unit]));
            let kernel = emitted[unit]
                .as_ref()
                .map(|emitted| &emitted.kernel)
                .filter(|kernel| kernel.row_axes <= 1 && kernel.column_axes <= 1)
                .filter(|_| !alone.contains(&unit) && !ends_a_call());
            let equal = kernel.map(|kernel| open.entry(kernel).or_default());
            let fits = |set: &usize| sets[*set].iter().all(|&other| merging.allows(emitted, unit, other));
            match equal.as_ref().and_then(|sets| sets.iter().copied().find(fits)) {
                Some(set) => sets[set].push(unit),
                None => {
                    equal.into_iter().for_each(|equal| equal.push(sets.len()));
                    sets.push(vec![unit]);
                }
            }
        }
        sets
    }
}

impl<'a> Merging<'a> {
    fn new(planner: &'a Planner<'a>, sources: &'a [Vec<usize>]) -> Merging<'a> {
        let mut followers = vec![Vec::new(); sources.len()];
        for (unit, sources) in sources.iter().enumerate() {
            sources.iter().for_each(|&source| followers[source].push(unit));
        }
        let mut readers: HashMap<Value, Vec<usize>> = HashMap::new();
        for (number, unit) in planner.fusion.units.iter().enumerate() {
            planner.reads(unit).into_iter().for_each(|value| readers.entry(value).or_default().push(number));
        }
        let ends = results(planner.program).into_iter().collect();
        Merging { planner, sources, followers, readers, ends, awaited: HashMap::new() }
    }

    /// Whether a unit comes after another, which is not the same, in every order.
    fn waits(&mut self, unit: usize, other: usize) -> bool {
        let sources = self.sources;
        let all = self.awaited.entry(unit).or_insert_with(|| {
            let mut all = HashSet::new();
            let mut open = sources[unit].clone();
            while let Some(source) = open.pop() {
                if all.insert(source) {
                    open.extend(&sources[source]);
                }
            }
            all
        });
        all.contains(&other)
    }

    /// Whether two units with equal kernels may be instances of one.
    fn allows(&mut self, emitted: &[Option<Emitted>], a: usize, b: usize) -> bool {
        self.delays_nothing(a, b)
            && self.delays_nothing(b, a)
            && (self.is_update(&emitted[a]) && self.is_update(&emitted[b])
                || self.keeps_little(a, b) && self.keeps_little(b, a))
    }

    /// Whether what waits for `unit` waits for `other` anyway.
    fn delays_nothing(&mut self, unit: usize, other: usize) -> bool {
        let followers = self.followers[unit].clone();
        followers.into_iter().all(|follower| self.waits(follower, other))
    }

    /// Whether nobody reads the results of an elementwise kernel.
    fn is_update(&self, emitted: &Option<Emitted>) -> bool {
        emitted.as_ref().is_some_and(|emitted| {
            emitted.kernel.column_axes == 0
                && emitted
                    .results()
                    .all(|value| self.ends.contains(&value) && !self.readers.contains_key(&value))
        })
    }

    /// Whether hardly anything that `unit` reads lives on only because it waits for `other`, and no state that it reads
    /// can be overwritten before.
    fn keeps_little(&mut self, unit: usize, other: usize) -> bool {
        let planner = self.planner;
        let mut kept = 0;
        for value in planner.reads(&planner.fusion.units[unit]) {
            if let Some(state) = planner.program.states.iter().find(|state| state.value == value) {
                let writer = state.write.and_then(|write| planner.stored_by.get(&write).copied());
                if writer.is_some_and(|writer| writer != unit && !self.waits(writer, other)) {
                    return false;
                }
            } else if !planner.program.definition(value).op.is_leaf() && !self.ends.contains(&value) {
                let readers = self.readers[&value].clone();
                let stays = readers.into_iter().any(|reader| reader == other || self.waits(reader, other));
                kept += if stays { 0 } else { planner.program.ty(value).bytes() };
            }
        }
        kept <= MERGED_BYTES
    }
}
