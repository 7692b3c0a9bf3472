//! In which order kernels run.

use super::Planner;
use crate::emit::Emitted;
use crate::fuse::{Unit, fixed_nodes, results};
use crate::topology::{Topology, followers, sorted};
use dropforge_ir::quick_hash::{QuickMap, QuickSet};
use dropforge_ir::{Op, Value};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

impl Planner<'_> {
    /// For each unit the units that store what it reads, each once.
    pub(super) fn sources(&self) -> Vec<Vec<usize>> {
        let of_unit = |unit: &Unit| {
            let mut sources: Vec<usize> =
                self.reads(unit).iter().filter_map(|value| self.stored_by.get(value).copied()).collect();
            sources.sort_unstable();
            sources.dedup();
            sources
        };
        self.fusion.units.iter().map(of_unit).collect()
    }

    /// Products with the update of a state that reads nothing else of theirs than each element at its own place, and
    /// alone does so: the update can follow its product at once, while the gradient is in the caches, instead of
    /// waiting for the end of the step. For that the product has to wait for whatever else the update needs, and for
    /// all that read the old state; these are added to its `sources`.
    pub(super) fn pair_updates(
        &self,
        emitted: &[Option<Emitted>],
        sources: &mut [Vec<usize>],
    ) -> QuickMap<usize, usize> {
        let units = &self.fusion.units;
        let mut readers: QuickMap<Value, Vec<usize>> = QuickMap::default();
        for (number, unit) in units.iter().enumerate() {
            for value in self.reads(unit) {
                readers.entry(value).or_default().push(number);
            }
        }
        let ends: QuickSet<Value> = results(self.program).into_iter().collect();
        let replaced_by: QuickMap<Value, Value> =
            self.program.states.iter().filter_map(|state| Some((state.write?, state.value))).collect();
        let mut waits = Waits::new(sources);
        let mut pairs = QuickMap::default();
        let mut paired = QuickSet::default();
        for (product, unit) in units.iter().enumerate() {
            let Unit::Call(node) = unit else { continue };
            let node = self.program.node(*node);
            let gradient = node.results[0];
            if !matches!(node.op, Op::Dot { .. }) || ends.contains(&gradient) {
                continue;
            }
            let Some([update]) = readers.get(&gradient).map(Vec::as_slice) else { continue };
            let Some(kernel) = &emitted[*update] else { continue };
            let replaced: Vec<Value> =
                kernel.results().filter_map(|written| replaced_by.get(&written).copied()).collect();
            if replaced.is_empty()
                || paired.contains(update)
                || !kernel.visits_in_order(gradient, self.program)
            {
                continue;
            }
            let mut before: Vec<usize> = replaced
                .iter()
                .flat_map(|state| readers.get(state).cloned().unwrap_or_default())
                .chain(sources[*update].iter().copied())
                .filter(|&other| other != *update && other != product)
                .collect();
            before.sort_unstable();
            before.dedup();
            let reads_replaced = self.reads(unit).iter().any(|value| replaced.contains(value));
            if reads_replaced || before.iter().any(|&other| waits.comes_after(sources, other, product)) {
                continue;
            }
            waits.add(product, &before);
            sources[product].extend(before);
            sources[product].sort_unstable();
            sources[product].dedup();
            pairs.insert(product, *update);
            paired.insert(*update);
        }
        pairs
    }

    /// Sets of units that run as one kernel, in an order in which each comes after its sources, as close to the
    /// program's order as that allows; but the second of a pair, or else what may be the epilogue of a product or
    /// convolution, comes right after it. Both are alone in their sets.
    pub(super) fn order(
        &self,
        emitted: &[Option<Emitted>],
        sources: &[Vec<usize>],
        pairs: &QuickMap<usize, usize>,
        sets: Vec<Vec<usize>>,
    ) -> Vec<Vec<usize>> {
        let mut set_of = vec![0; sources.len()];
        for (set, units) in sets.iter().enumerate() {
            units.iter().for_each(|&unit| set_of[unit] = set);
        }
        let mut waiting: Vec<usize> = Vec::new();
        let mut readers: Vec<Vec<usize>> = vec![Vec::new(); sets.len()];
        for (set, units) in sets.iter().enumerate() {
            let mut before: Vec<usize> =
                units.iter().flat_map(|&unit| &sources[unit]).map(|&source| set_of[source]).collect();
            before.sort_unstable();
            before.dedup();
            before.iter().for_each(|&source| readers[source].push(set));
            waiting.push(before.len());
        }
        let last_node = |unit: &usize| (self.fusion.units[*unit].nodes().last().copied(), *unit);
        // What fixed states give is little, and ready when the first that needs it may follow a convolution.
        let fixed = fixed_nodes(self.program);
        let is_fixed = |unit: &usize| self.fusion.units[*unit].nodes().iter().all(|node| fixed[node.index()]);
        let urgency = |set: usize| {
            let waits = readers[set].is_empty() || !sets[set].iter().all(is_fixed);
            Reverse(((waits, sets[set].iter().map(last_node).max()), set))
        };
        let mut ready: BinaryHeap<_> =
            (0..sets.len()).filter(|&set| waiting[set] == 0).map(urgency).collect();
        let mut order = Vec::new();
        while let Some(Reverse((_, first))) = ready.pop() {
            let mut next = Some(first);
            while let Some(set) = next.take() {
                order.push(sets[set].clone());
                let unit = sets[set][0];
                let second = pairs.get(&unit).map(|&second| set_of[second]);
                for &reader in &readers[set] {
                    waiting[reader] -= 1;
                    if waiting[reader] > 0 {
                        continue;
                    }
                    let follows =
                        second.is_none() && next.is_none() && self.may_end(unit, &emitted[sets[reader][0]]);
                    if Some(reader) == second || follows {
                        next = Some(reader);
                    } else {
                        ready.push(urgency(reader));
                    }
                }
            }
        }
        assert_eq!(order.len(), sets.len(), "fusion made kernels that wait for each other");
        order
    }

    /// Whether a loop kernel may be the epilogue of a unit, as far as can be told before values have places: see
    /// [`Planner::is_epilogue`]. One that updates a state may not: others may have to read the old state first.
    pub(super) fn may_end(&self, product: usize, emitted: &Option<Emitted>) -> bool {
        let (Unit::Call(node), Some(emitted)) = (&self.fusion.units[product], emitted) else { return false };
        let node = self.program.node(*node);
        let updates = |value: Value| self.written.contains(&value);
        node.op.is_contraction()
            && emitted.visits_in_order(node.results[0], self.program)
            && !emitted.results().any(updates)
    }
}

/// Which units wait for which, while more waits are added.
struct Waits {
    topology: Topology,
    followers: Vec<Vec<usize>>,
}

impl Waits {
    fn new(sources: &[Vec<usize>]) -> Waits {
        Waits { topology: Topology::of(&sorted(sources)), followers: followers(sources) }
    }

    /// Whether a unit has to wait for another, directly or not, or is it.
    fn comes_after(&self, sources: &[Vec<usize>], unit: usize, other: usize) -> bool {
        let first = self.topology.key(other);
        let mut seen = QuickSet::default();
        let mut open = vec![unit];
        while let Some(unit) = open.pop() {
            if unit == other {
                return true;
            }
            if seen.insert(unit) {
                open.extend(sources[unit].iter().filter(|&&source| self.topology.key(source) >= first));
            }
        }
        false
    }

    /// Makes a unit wait for others, none of which waits for it.
    fn add(&mut self, unit: usize, others: &[usize]) {
        others.iter().for_each(|&other| self.followers[other].push(unit));
        let Some(&last) = others.iter().max_by_key(|&&other| self.topology.key(other)) else { return };
        let end = self.topology.key(last);
        let mut seen = QuickSet::default();
        let mut open = vec![unit];
        while let Some(unit) = open.pop() {
            if self.topology.key(unit) < end && seen.insert(unit) {
                open.extend(&self.followers[unit]);
            }
        }
        self.topology.move_behind(last, seen.into_iter().collect());
    }
}
