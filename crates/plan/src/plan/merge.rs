//! Which kernels become one kernel with several instances.
//!
//! Kernels with equal instructions may run as one over all their buffers: an optimizer's updates, the sums of squares
//! of all gradients. It starts when the last of what they read is there, so that what the others read stays for longer,
//! and whoever reads their results waits for longer. Kernels merge only where neither costs anything:
//!
//! - What waits for one of them waits for all of them anyway. So no two of them depend on each other, and no order of
//!   kernels becomes impossible, however many sets of kernels merge.
//! - What one of them reads from the arena is small, or is read by something that waits for the others. Elementwise
//!   kernels whose results nobody reads are updates of states, and merge in any case.

use super::Planner;
use crate::emit::Emitted;
use crate::fuse::results;
use crate::kernel::LoopKernel;
use crate::topology::{followers, sorted};
use crate::tuning::{MERGE_CANDIDATES, MERGE_SEARCH, MERGED_BYTES};
use dropforge_ir::quick_hash::{QuickMap, QuickSet};
use dropforge_ir::{Op, Value};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What decides whether kernels merge.
struct Merging<'a> {
    planner: &'a Planner<'a>,
    sources: &'a [Vec<usize>],
    /// For each unit those that wait for it directly.
    followers: Vec<Vec<usize>>,
    /// The units that store or read each value.
    readers: QuickMap<Value, Vec<usize>>,
    /// Results of the program.
    ends: QuickSet<Value>,
    /// The place of each unit in an order in which it comes after its sources.
    position: Vec<usize>,
}

impl Planner<'_> {
    /// The units that run as one kernel, for each kernel; those in `alone` share it with nobody.
    pub(super) fn merge_instances(
        &self,
        emitted: &[Option<Emitted>],
        sources: &[Vec<usize>],
        alone: &QuickSet<usize>,
    ) -> Vec<Vec<usize>> {
        let merging = Merging::new(self, sources);
        let mut only_last: Vec<bool> = Vec::new();
        let mut open: QuickMap<&LoopKernel, Vec<usize>> = QuickMap::default();
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
            // Updates for which nobody waits merge with each other, however many there are.
            let is_last = merging.is_last(emitted, unit);
            let fits = |set: &usize| {
                is_last && only_last[*set]
                    || sets[*set].iter().all(|&other| merging.allows(emitted, unit, other))
            };
            let recent = |known: &[usize]| {
                let first = known.len().saturating_sub(MERGE_CANDIDATES);
                known[first..].iter().copied().find(fits)
            };
            match equal.as_ref().and_then(|known| recent(known)) {
                Some(set) => {
                    sets[set].push(unit);
                    only_last[set] &= is_last;
                }
                None => {
                    equal.into_iter().for_each(|equal| equal.push(sets.len()));
                    sets.push(vec![unit]);
                    only_last.push(is_last);
                }
            }
        }
        sets
    }
}

impl<'a> Merging<'a> {
    fn new(planner: &'a Planner<'a>, sources: &'a [Vec<usize>]) -> Merging<'a> {
        let mut position = vec![0; sources.len()];
        for (place, unit) in sorted(sources).into_iter().enumerate() {
            position[unit] = place;
        }
        let mut readers: QuickMap<Value, Vec<usize>> = QuickMap::default();
        for (number, unit) in planner.fusion.units.iter().enumerate() {
            planner.reads(unit).into_iter().for_each(|value| readers.entry(value).or_default().push(number));
        }
        let ends = results(planner.program).into_iter().collect();
        Merging { planner, sources, followers: followers(sources), readers, ends, position }
    }

    /// Whether a unit comes after another, which is not the same, in every order. No, where that takes long to find
    /// out: then kernels stay apart.
    fn waits(&self, unit: usize, other: usize) -> bool {
        let first = self.position[other];
        let mut seen = QuickSet::default();
        // The earliest first, which are the closest to the other.
        let mut open = BinaryHeap::from([Reverse((self.position[unit], unit))]);
        while let Some(Reverse((_, unit))) = open.pop() {
            for &source in &self.sources[unit] {
                if source == other {
                    return true;
                }
                if self.position[source] > first && seen.insert(source) {
                    open.push(Reverse((self.position[source], source)));
                }
            }
            if seen.len() > MERGE_SEARCH {
                return false;
            }
        }
        false
    }

    /// Whether a unit is an update for which nobody waits.
    fn is_last(&self, emitted: &[Option<Emitted>], unit: usize) -> bool {
        self.followers[unit].is_empty() && self.is_update(&emitted[unit])
    }

    /// Whether two units with equal kernels may be instances of one.
    fn allows(&self, emitted: &[Option<Emitted>], a: usize, b: usize) -> bool {
        self.delays_nothing(a, b)
            && self.delays_nothing(b, a)
            && (self.is_update(&emitted[a]) && self.is_update(&emitted[b])
                || self.keeps_little(a, b) && self.keeps_little(b, a))
    }

    /// Whether what waits for `unit` waits for `other` anyway.
    fn delays_nothing(&self, unit: usize, other: usize) -> bool {
        self.followers[unit].iter().all(|&follower| self.waits(follower, other))
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
    fn keeps_little(&self, unit: usize, other: usize) -> bool {
        let planner = self.planner;
        let mut kept = 0;
        for value in planner.reads(&planner.fusion.units[unit]) {
            if let Op::State(port) = planner.program.definition(value).op {
                let write = planner.program.states[port].write;
                let writer = write.and_then(|write| planner.stored_by.get(&write).copied());
                if writer.is_some_and(|writer| writer != unit && !self.waits(writer, other)) {
                    return false;
                }
            } else if !planner.program.definition(value).op.is_leaf() && !self.ends.contains(&value) {
                let mut readers = self.readers[&value].iter();
                let stays = readers.any(|&reader| reader == other || self.waits(reader, other));
                kept += if stays { 0 } else { planner.program.ty(value).bytes() };
            }
        }
        kept <= MERGED_BYTES
    }
}
