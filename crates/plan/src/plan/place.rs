//! Where values lie: in ports where that is safe, else in the arena, in the place of a dying argument where that is.

use super::{Draft, Place, Planner};
use crate::emit::Walk;
use crate::fuse::Unit;
use crate::memory::{Lifetime, Placement, place};
use dropforge_ir::quick_hash::{QuickMap, QuickSet};
use dropforge_ir::{Op, Value};
use std::collections::BTreeMap;

impl Planner<'_> {
    /// Puts outputs into their ports, and written values into their states where nothing reads the old state later.
    pub(super) fn place_results(&mut self, steps: &[Vec<Draft>]) -> QuickSet<Value> {
        let mut position: QuickMap<Value, usize> = QuickMap::default();
        let mut last_read: QuickMap<Value, usize> = QuickMap::default();
        for (step, drafts) in steps.iter().enumerate() {
            for draft in drafts {
                let unit = &self.fusion.units[draft.unit];
                for value in self.reads(unit) {
                    last_read.insert(value, step);
                }
                for node in unit.nodes() {
                    for &result in &self.program.node(node).results {
                        if self.stored_by.get(&result) == Some(&draft.unit) {
                            position.insert(result, step);
                        }
                    }
                }
            }
        }
        let mut direct = QuickSet::default();
        for (index, state) in self.program.states.iter().enumerate() {
            let Some(write) = state.write else { continue };
            let written_at = position[&write];
            let is_safe = match last_read.get(&state.value) {
                None => true,
                Some(&read_at) if read_at < written_at => true,
                Some(&read_at) if read_at == written_at => {
                    self.replaces(&steps[written_at], write, state.value)
                }
                Some(_) => false,
            };
            if is_safe {
                let number = self.number(write);
                self.buffers[number].place = Place::State(index);
                direct.insert(write);
            }
        }
        for (index, output) in self.program.outputs.iter().enumerate() {
            let number = self.number(output.value);
            self.buffers[number].place = Place::Output(index);
            direct.insert(output.value);
        }
        direct
    }

    /// Whether this step may run on each finished part of the product or convolution of the step before: see
    /// [`Kernel::is_epilogue`]. Results must have been placed, except those in the arena.
    pub(super) fn is_epilogue(&self, steps: &[Vec<Draft>], step: usize) -> bool {
        let Some(before) = step.checked_sub(1) else { return false };
        let ([product], [draft]) = (&steps[before][..], &steps[step][..]) else { return false };
        if let (Unit::Call(first), Unit::Call(second)) =
            (&self.fusion.units[product.unit], &self.fusion.units[draft.unit])
        {
            let (first, second) = (self.program.node(*first), self.program.node(*second));
            return matches!((&first.op, &second.op), (Op::Convolution { .. }, Op::MaxPool { .. }))
                && second.args[0] == first.results[0];
        }
        let (Unit::Call(node), Some(emitted)) = (&self.fusion.units[product.unit], &draft.emitted) else {
            return false;
        };
        let node = self.program.node(*node);
        if !node.op.is_contraction() {
            return false;
        }
        let read = self.reads(&self.fusion.units[product.unit]);
        let keeps_what_is_read =
            emitted.operands.iter().zip(&emitted.kernel.written).all(|(value, written)| {
                let replaced = match self.buffers[self.numbers[value]].place {
                    Place::State(port) if *written => Some(self.program.states[port].value),
                    _ => None,
                };
                !read.contains(value) && replaced.is_none_or(|state| !read.contains(&state))
            });
        keeps_what_is_read && emitted.visits_in_order(node.results[0], self.program)
    }

    /// For each step the last that reads its result, if what it reads has to stay for as long: see
    /// [`Kernel::is_deferrable`].
    pub(super) fn deferred(&self, steps: &[Vec<Draft>]) -> Vec<Option<usize>> {
        let call = |step: usize| match &steps[step][..] {
            [Draft { unit, .. }] => match self.fusion.units[*unit] {
                Unit::Call(node) => Some(self.program.node(node)),
                Unit::Group(_) => None,
            },
            _ => None,
        };
        let is_gradient = |op: &Op| {
            matches!(op, Op::ConvolutionInputGradient { .. } | Op::ConvolutionFilterGradient { .. })
        };
        let mut readers: QuickMap<Value, Vec<usize>> = QuickMap::default();
        for (step, drafts) in steps.iter().enumerate() {
            for draft in drafts {
                for value in self.reads(&self.fusion.units[draft.unit]) {
                    let steps = readers.entry(value).or_default();
                    if steps.last() != Some(&step) {
                        steps.push(step);
                    }
                }
            }
        }
        let last_reader = |step: usize| {
            let node = call(step).filter(|node| matches!(node.op, Op::MaxPoolGradient { .. }))?;
            let result = node.results[0];
            let readers: Vec<usize> = readers.get(&result).cloned().unwrap_or_default();
            let only_gradients =
                readers.iter().all(|&reader| call(reader).is_some_and(|node| is_gradient(&node.op)));
            readers.last().copied().filter(|_| only_gradients)
        };
        (0..steps.len()).map(last_reader).collect()
    }

    /// Whether in this step a result may lie where an argument lies.
    fn replaces(&self, step: &[Draft], result: Value, argument: Value) -> bool {
        let walks_of = |draft: &Draft, value: Value| -> Option<Walk> {
            let emitted = draft.emitted.as_ref()?;
            let operand = emitted.operands.iter().position(|&other| other == value)?;
            Some(emitted.walks[operand])
        };
        let touches = |draft: &Draft, value: Value| self.touched(draft).contains(&value);
        step.iter().filter(|draft| touches(draft, argument)).all(|draft| {
            match (walks_of(draft, result), walks_of(draft, argument)) {
                (Some(result), Some(argument)) => result.may_replace(&argument),
                _ => false,
            }
        })
    }

    /// Gives everything that has no port a place in the arena; a result takes the place of an argument that dies with
    /// it where the kernel allows that.
    pub(super) fn place_arena(
        &mut self,
        steps: &[Vec<Draft>],
        direct: &QuickSet<Value>,
        epilogues: &[bool],
        deferred: &[Option<usize>],
    ) -> Placement {
        let in_arena = |planner: &Self, value: Value| {
            !planner.program.definition(value).op.is_leaf() && !direct.contains(&value)
        };
        let mut spans: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        for (step, drafts) in steps.iter().enumerate() {
            for draft in drafts {
                for value in self.touched(draft) {
                    if in_arena(self, value) {
                        let span = spans.entry(self.numbers[&value]).or_insert((step, step));
                        // What a product reads stays until its epilogue is done, since they may run at the same time.
                        span.1 = step + usize::from(epilogues.get(step + 1) == Some(&true));
                    }
                }
            }
        }
        for (drafts, last) in steps.iter().zip(deferred) {
            for value in drafts.iter().flat_map(|draft| self.reads(&self.fusion.units[draft.unit])) {
                if let (Some(last), Some(span)) = (last, spans.get_mut(&self.numbers[&value])) {
                    span.1 = span.1.max(*last);
                }
            }
        }
        // A state that could not be written in place is copied after the last kernel.
        for state in &self.program.states {
            if let Some(number) = state.write.and_then(|write| self.numbers.get(&write))
                && let Some(span) = spans.get_mut(number)
            {
                span.1 = steps.len();
            }
        }
        // slot[b] is the buffer whose place b takes.
        let mut slot: QuickMap<usize, usize> = QuickMap::default();
        for (step, drafts) in steps.iter().enumerate() {
            if drafts.len() != 1 || drafts[0].emitted.is_none() {
                continue;
            }
            let mut taken = QuickSet::default();
            let touched = self.touched(&drafts[0]);
            for &result in touched.iter().filter(|value| in_arena(self, **value)) {
                let number = self.numbers[&result];
                if spans[&number].0 != step || self.stored_by.get(&result) != Some(&drafts[0].unit) {
                    continue;
                }
                let replaced = touched.iter().copied().find(|&argument| {
                    let Some(&old) = self.numbers.get(&argument) else { return false };
                    in_arena(self, argument)
                        && spans[&old].0 < step
                        && spans[&old].1 == step
                        && !taken.contains(&old)
                        && self.buffers[old].ty.bytes() == self.buffers[number].ty.bytes()
                        && self.replaces(drafts, result, argument)
                });
                if let Some(argument) = replaced {
                    let old = self.numbers[&argument];
                    taken.insert(old);
                    let root = *slot.get(&old).unwrap_or(&old);
                    slot.insert(number, root);
                }
            }
        }
        let mut lifetimes: BTreeMap<usize, Lifetime> = BTreeMap::new();
        for (&number, &(first, last)) in &spans {
            let root = *slot.get(&number).unwrap_or(&number);
            let bytes = self.buffers[number].ty.bytes();
            let lifetime = lifetimes.entry(root).or_insert(Lifetime { bytes, first, last });
            lifetime.first = lifetime.first.min(first);
            lifetime.last = lifetime.last.max(last);
        }
        let roots: Vec<usize> = lifetimes.keys().copied().collect();
        let placement = place(&lifetimes.into_values().collect::<Vec<_>>());
        for &number in spans.keys() {
            let root = *slot.get(&number).unwrap_or(&number);
            let index = roots.binary_search(&root).expect("every slot has a lifetime");
            self.buffers[number].place = Place::Arena(placement.offsets[index]);
        }
        placement
    }
}
