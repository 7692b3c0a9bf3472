//! Plans: the kernels of a program in order, with every value in a place of its own.

use crate::emit::{Emitted, Walk, emit};
use crate::fuse::{Fusion, Unit, call_view, fuse, results};
use crate::kernel::{Instance, LoopKernel};
use crate::memory::{Lifetime, Placement, place};
use crate::view::View;
use dropforge_ir::{Literal, NodeId, Op, Origin, Program, Result, Value, ValueType};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};

/// Where a buffer lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// The input with this position.
    Input(usize),
    /// The state with this position.
    State(usize),
    /// The hyperparameter with this position.
    Hyper(usize),
    /// The constant with this position.
    Constant(usize),
    /// The output with this position.
    Output(usize),
    /// This many bytes into the arena.
    Arena(usize),
}

/// One value in memory.
#[derive(Clone, Debug)]
pub struct BufferInfo {
    /// The value.
    pub value: Value,
    /// Its type.
    pub ty: ValueType,
    /// Where it lives.
    pub place: Place,
}

/// An argument of a library operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Argument {
    /// Position in the table of buffers.
    pub buffer: usize,
    /// Shape of the argument as the operation sees it, and its type in memory: f16 or bf16 where a product or convolution of
    /// f32 reads what was cast to f32.
    pub ty: ValueType,
    /// First element, in elements of the buffer.
    pub offset: i64,
    /// Step along each axis, in elements; row-major unless the operation is a product.
    pub strides: Vec<i64>,
}

/// What a kernel does.
#[derive(Clone, Debug)]
pub enum Work {
    /// A fused loop nest over one or more sets of buffers.
    Loop {
        /// The loop nest.
        kernel: LoopKernel,
        /// Extents and buffers.
        instances: Vec<Instance>,
    },
    /// A library operation.
    Call {
        /// Which.
        op: Op,
        /// What it reads.
        args: Vec<Argument>,
        /// The buffers it fills, row-major.
        results: Vec<usize>,
    },
    /// Copies a whole buffer.
    Copy {
        /// Source, a position in the table of buffers.
        from: usize,
        /// Target.
        to: usize,
    },
}

/// One step of a plan.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// What is done.
    pub work: Work,
    /// The nodes of the plan's program that it computes.
    pub nodes: Vec<NodeId>,
    /// Where the last of them comes from.
    pub origin: Origin,
    /// Whether a device may run it on each part of the product or convolution that the kernel before computes, as soon as
    /// that part is finished: it visits just the elements of that result, in row-major order, and writes nothing that the
    /// kernel before reads. Or it is a max-pool of the convolution before.
    pub is_epilogue: bool,
    /// Whether what it reads stays until the last reader of its result is done, so that a device may compute the result where it
    /// is read: for gradients of max-pools that only gradients of convolutions read.
    pub is_deferrable: bool,
}

impl Kernel {
    /// The buffers that are read or written, each once.
    pub fn buffers(&self) -> Vec<usize> {
        let mut buffers = match &self.work {
            Work::Loop { instances, .. } => {
                instances.iter().flat_map(|instance| instance.operands.clone()).collect()
            }
            Work::Call { args, results, .. } => {
                args.iter().map(|arg| arg.buffer).chain(results.iter().copied()).collect()
            }
            Work::Copy { from, to } => vec![*from, *to],
        };
        buffers.sort_unstable();
        buffers.dedup();
        buffers
    }
}

/// A program as kernels in order, with every value placed.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The program after all passes.
    pub program: Program,
    /// The kernels in execution order.
    pub kernels: Vec<Kernel>,
    /// Every value that lives in memory.
    pub buffers: Vec<BufferInfo>,
    /// The contents of constants.
    pub constants: Vec<Literal>,
    /// Size of the arena that holds all intermediate values, in bytes.
    pub arena_bytes: usize,
    /// The largest sum of intermediate values that are alive at once, in bytes: no placement needs less.
    pub lower_bound_bytes: usize,
}

impl Plan {
    /// Whether only this kernel and the one after it touch a buffer, which is in the arena: where both run as one, the
    /// buffer need not be filled.
    pub fn is_used_by_next_only(&self, kernel: usize, buffer: usize) -> bool {
        let others =
            self.kernels.iter().enumerate().filter(|(number, _)| ![kernel, kernel + 1].contains(number));
        matches!(self.buffers[buffer].place, Place::Arena(_))
            && others.into_iter().all(|(_, other)| !other.buffers().contains(&buffer))
    }
}

/// Plans an optimised program.
///
/// # Errors
/// Only if the program is not valid.
pub fn plan(program: &Program) -> Result<Plan> {
    let program = own_results(program)?;
    let fusion = fuse(&program);
    Planner::new(&program, &fusion).build()
}

/// Gives every output and state write a value of its own that is computed, not a leaf: ports can then be places.
fn own_results(program: &Program) -> Result<Program> {
    let mut new = program.clone();
    let mut seen = HashSet::new();
    let mut own = |new: &mut Program, value: Value| -> Result<Value> {
        if !new.definition(value).op.is_leaf() && seen.insert(value) {
            return Ok(value);
        }
        new.current_origin = new.definition(value).origin.clone();
        let shape = new.shape(value).clone();
        new.apply(Op::Reshape { shape }, &[value])
    };
    // Writes first: a value that is both written and given out is computed in the state's place.
    for index in 0..new.states.len() {
        if let Some(value) = new.states[index].write {
            let value = own(&mut new, value)?;
            new.states[index].write = Some(value);
        }
    }
    for index in 0..new.outputs.len() {
        let value = new.outputs[index].value;
        new.outputs[index].value = own(&mut new, value)?;
    }
    Ok(new)
}

/// A kernel before buffers are numbered.
struct Draft {
    unit: usize,
    emitted: Option<Emitted>,
}

struct Planner<'a> {
    program: &'a Program,
    fusion: &'a Fusion,
    /// The unit that stores each value that others read.
    stored_by: HashMap<Value, usize>,
    buffers: Vec<BufferInfo>,
    numbers: HashMap<Value, usize>,
    constants: Vec<Literal>,
}

impl<'a> Planner<'a> {
    fn new(program: &'a Program, fusion: &'a Fusion) -> Planner<'a> {
        let mut planner = Planner {
            program,
            fusion,
            stored_by: HashMap::new(),
            buffers: Vec::new(),
            numbers: HashMap::new(),
            constants: Vec::new(),
        };
        let needed: HashSet<Value> = planner.values_in_memory();
        for (number, unit) in fusion.units.iter().enumerate() {
            for node in unit.nodes() {
                for &value in &program.node(node).results {
                    if needed.contains(&value) {
                        planner.stored_by.entry(value).or_insert(number);
                    }
                }
            }
        }
        planner
    }

    /// The values in memory that a unit reads, in order, each once.
    fn reads(&self, unit: &Unit) -> Vec<Value> {
        let mut reads = Vec::new();
        for id in unit.nodes() {
            let node = self.program.node(id);
            for (position, &arg) in node.args.iter().enumerate() {
                let fused = matches!(unit, Unit::Group(_)) && !matches!(node.op, Op::RandomBits { .. });
                if fused && self.program.splat(arg).is_some() {
                    continue;
                }
                let root = match unit {
                    Unit::Call(_) => call_view(self.program, &self.fusion.views, id, position).root,
                    Unit::Group(_) => self.fusion.views.view(arg).root,
                };
                let counting = matches!(self.program.definition(root).op, Op::Iota { .. })
                    && !self.fusion.views.copies[root.index()];
                if !counting && !unit.contains(self.program.definition_id(root)) {
                    reads.push(root);
                }
            }
        }
        let mut seen = HashSet::new();
        reads.retain(|value| seen.insert(*value));
        reads
    }

    fn values_in_memory(&self) -> HashSet<Value> {
        let mut needed: HashSet<Value> = results(self.program).into_iter().collect();
        for unit in &self.fusion.units {
            needed.extend(self.reads(unit));
            // A library operation fills all its results.
            if let Unit::Call(node) = unit {
                needed.extend(&self.program.node(*node).results);
            }
        }
        needed
    }

    /// For each unit the units that store what it reads, each once.
    fn sources(&self) -> Vec<Vec<usize>> {
        let of_unit = |unit: &Unit| {
            let mut sources: Vec<usize> =
                self.reads(unit).iter().filter_map(|value| self.stored_by.get(value).copied()).collect();
            sources.sort_unstable();
            sources.dedup();
            sources
        };
        self.fusion.units.iter().map(of_unit).collect()
    }

    /// Products with the update of a state that reads nothing else of theirs than each element at its own place, and alone
    /// does so: the update can follow its product at once, while the gradient is in the caches, instead of waiting for
    /// the end of the step. For that the product has to wait for whatever else the update needs, and for all that read
    /// the old state; these are added to its `sources`.
    fn pair_updates(&self, emitted: &[Option<Emitted>], sources: &mut [Vec<usize>]) -> HashMap<usize, usize> {
        let units = &self.fusion.units;
        let mut readers: HashMap<Value, Vec<usize>> = HashMap::new();
        for (number, unit) in units.iter().enumerate() {
            for value in self.reads(unit) {
                readers.entry(value).or_default().push(number);
            }
        }
        let ends: HashSet<Value> = results(self.program).into_iter().collect();
        let mut pairs = HashMap::new();
        let mut paired = HashSet::new();
        for (product, unit) in units.iter().enumerate() {
            let Unit::Call(node) = unit else { continue };
            let node = self.program.node(*node);
            let gradient = node.results[0];
            if !matches!(node.op, Op::Dot { .. }) || ends.contains(&gradient) {
                continue;
            }
            let Some([update]) = readers.get(&gradient).map(Vec::as_slice) else { continue };
            let Some(kernel) = &emitted[*update] else { continue };
            let written: HashSet<Value> = kernel.results().collect();
            let replaced: Vec<Value> = self
                .program
                .states
                .iter()
                .filter(|state| state.write.is_some_and(|write| written.contains(&write)))
                .map(|state| state.value)
                .collect();
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
            if reads_replaced || before.iter().any(|&other| comes_after(sources, other, product)) {
                continue;
            }
            sources[product].extend(before);
            sources[product].sort_unstable();
            sources[product].dedup();
            pairs.insert(product, *update);
            paired.insert(*update);
        }
        pairs
    }

    /// Units in an order in which each comes after its sources, as close to the program's order as that allows; but the
    /// second of a pair, or else what may be the epilogue of a product or convolution, comes right after it.
    fn order(
        &self,
        emitted: &[Option<Emitted>],
        sources: &[Vec<usize>],
        pairs: &HashMap<usize, usize>,
    ) -> Vec<usize> {
        let units = &self.fusion.units;
        let mut waiting: Vec<usize> = sources.iter().map(Vec::len).collect();
        let mut readers: Vec<Vec<usize>> = vec![Vec::new(); units.len()];
        for (number, sources) in sources.iter().enumerate() {
            for &source in sources {
                readers[source].push(number);
            }
        }
        let urgency = |number: usize| Reverse((units[number].nodes().last().copied(), number));
        let mut ready: BinaryHeap<_> =
            (0..units.len()).filter(|&number| waiting[number] == 0).map(urgency).collect();
        let mut order = Vec::new();
        while let Some(Reverse((_, first))) = ready.pop() {
            let mut next = Some(first);
            while let Some(number) = next.take() {
                order.push(number);
                let second = pairs.get(&number).copied();
                for &reader in &readers[number] {
                    waiting[reader] -= 1;
                    if waiting[reader] > 0 {
                        continue;
                    }
                    let follows =
                        second.is_none() && next.is_none() && self.may_end(number, &emitted[reader]);
                    if Some(reader) == second || follows {
                        next = Some(reader);
                    } else {
                        ready.push(urgency(reader));
                    }
                }
            }
        }
        assert_eq!(order.len(), units.len(), "fusion made kernels that wait for each other");
        order
    }

    /// Whether a loop kernel may be the epilogue of a unit, as far as can be told before values have places: see
    /// [`Planner::is_epilogue`]. One that updates a state may not: others may have to read the old state first.
    fn may_end(&self, product: usize, emitted: &Option<Emitted>) -> bool {
        let (Unit::Call(node), Some(emitted)) = (&self.fusion.units[product], emitted) else { return false };
        let node = self.program.node(*node);
        let updates = |value: Value| self.program.states.iter().any(|state| state.write == Some(value));
        node.op.is_contraction()
            && emitted.visits_in_order(node.results[0], self.program)
            && !emitted.results().any(updates)
    }

    fn build(mut self) -> Result<Plan> {
        let mut emitted: Vec<Option<Emitted>> = (0..self.fusion.units.len())
            .map(|unit| match &self.fusion.units[unit] {
                Unit::Group(group) => Some(emit(self.program, &self.fusion.views, group, |value| {
                    self.stored_by.get(&value) == Some(&unit)
                })),
                Unit::Call(_) => None,
            })
            .collect();
        let mut sources = self.sources();
        let pairs = self.pair_updates(&emitted, &mut sources);
        let order = self.order(&emitted, &sources, &pairs);
        let mut drafts: Vec<Draft> =
            order.into_iter().map(|unit| Draft { unit, emitted: emitted[unit].take() }).collect();
        let paired: HashSet<usize> = pairs.into_values().collect();
        let steps = self.merge_instances(&mut drafts, &paired);
        for step in &steps {
            for draft in step {
                for value in self.touched(draft) {
                    self.number(value);
                }
            }
        }
        let direct = self.place_results(&steps);
        let epilogues: Vec<bool> = (0..steps.len()).map(|step| self.is_epilogue(&steps, step)).collect();
        let deferred = self.deferred(&steps);
        let placement = self.place_arena(&steps, &direct, &epilogues, &deferred);
        let mut kernels: Vec<Kernel> = steps
            .iter()
            .zip(epilogues)
            .zip(&deferred)
            .map(|((step, is_epilogue), last)| Kernel {
                is_epilogue,
                is_deferrable: last.is_some(),
                ..self.kernel(step)
            })
            .collect();
        kernels.extend(self.final_copies());
        Ok(Plan {
            program: self.program.clone(),
            kernels,
            buffers: self.buffers,
            constants: self.constants,
            arena_bytes: placement.bytes,
            lower_bound_bytes: placement.lower_bound,
        })
    }

    /// The values in memory that a draft reads or writes.
    fn touched(&self, draft: &Draft) -> Vec<Value> {
        match &draft.emitted {
            Some(emitted) => emitted.operands.clone(),
            None => {
                let unit = &self.fusion.units[draft.unit];
                let mut values = self.reads(unit);
                values.extend(unit.nodes().iter().flat_map(|&node| self.program.node(node).results.clone()));
                values
            }
        }
    }

    fn number(&mut self, value: Value) -> usize {
        if let Some(&number) = self.numbers.get(&value) {
            return number;
        }
        let place = match &self.program.definition(value).op {
            Op::Input(port) => Place::Input(*port),
            Op::State(port) => Place::State(*port),
            Op::Hyper(port) => Place::Hyper(*port),
            Op::Constant(literal) => {
                self.constants.push(literal.clone());
                Place::Constant(self.constants.len() - 1)
            }
            _ => Place::Arena(0),
        };
        self.buffers.push(BufferInfo { value, ty: self.program.ty(value).clone(), place });
        self.numbers.insert(value, self.buffers.len() - 1);
        self.buffers.len() - 1
    }

    /// Equal elementwise kernels whose results nobody in the program reads become one kernel with several instances, in
    /// the place of the last of them, except the units in `alone`.
    fn merge_instances(&self, drafts: &mut Vec<Draft>, alone: &HashSet<usize>) -> Vec<Vec<Draft>> {
        let ends: HashSet<Value> = results(self.program).into_iter().collect();
        let read: HashSet<Value> = self.fusion.units.iter().flat_map(|unit| self.reads(unit)).collect();
        let mut last: HashMap<LoopKernel, usize> = HashMap::new();
        let mut steps: Vec<Vec<Draft>> = Vec::new();
        for draft in drafts.drain(..) {
            let emitted = draft.emitted.as_ref().filter(|_| !alone.contains(&draft.unit));
            let key = emitted.and_then(|emitted| {
                let is_end = emitted.results().all(|value| ends.contains(&value) && !read.contains(&value));
                (is_end && emitted.kernel.columns.is_empty() && emitted.rows.len() == 1)
                    .then(|| emitted.kernel.clone())
            });
            let mut step = Vec::new();
            if let Some(key) = key
                && let Some(earlier) = last.insert(key, steps.len())
            {
                step = std::mem::take(&mut steps[earlier]);
            }
            step.push(draft);
            steps.push(step);
        }
        steps.retain(|step| !step.is_empty());
        steps
    }

    /// Puts outputs into their ports, and written values into their states where nothing reads the old state later.
    fn place_results(&mut self, steps: &[Vec<Draft>]) -> HashSet<Value> {
        let mut position: HashMap<Value, usize> = HashMap::new();
        let mut last_read: HashMap<Value, usize> = HashMap::new();
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
        let mut direct = HashSet::new();
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
    fn is_epilogue(&self, steps: &[Vec<Draft>], step: usize) -> bool {
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
    fn deferred(&self, steps: &[Vec<Draft>]) -> Vec<Option<usize>> {
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
        let last_reader = |step: usize| {
            let node = call(step).filter(|node| matches!(node.op, Op::MaxPoolGradient { .. }))?;
            let result = node.results[0];
            let reads = |reader: &usize| {
                steps[*reader]
                    .iter()
                    .any(|draft| self.reads(&self.fusion.units[draft.unit]).contains(&result))
            };
            let readers: Vec<usize> = (step + 1..steps.len()).filter(reads).collect();
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

    /// Gives everything that has no port a place in the arena; a result takes the place of an argument that dies with it
    /// where the kernel allows that.
    fn place_arena(
        &mut self,
        steps: &[Vec<Draft>],
        direct: &HashSet<Value>,
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
        let mut slot: HashMap<usize, usize> = HashMap::new();
        for (step, drafts) in steps.iter().enumerate() {
            if drafts.len() != 1 || drafts[0].emitted.is_none() {
                continue;
            }
            let mut taken = HashSet::new();
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

    fn kernel(&self, step: &[Draft]) -> Kernel {
        let mut nodes: Vec<NodeId> =
            step.iter().flat_map(|draft| self.fusion.units[draft.unit].nodes()).collect();
        nodes.sort_unstable();
        let origin = nodes.last().map(|&node| self.program.node(node).origin.clone()).unwrap_or_default();
        let work = match (&self.fusion.units[step[0].unit], &step[0].emitted) {
            (_, Some(first)) => Work::Loop {
                kernel: first.kernel.clone(),
                instances: step
                    .iter()
                    .filter_map(|draft| draft.emitted.as_ref())
                    .map(|emitted| Instance {
                        rows: emitted.rows.clone(),
                        operands: emitted.operands.iter().map(|value| self.numbers[value]).collect(),
                    })
                    .collect(),
            },
            (unit, None) => {
                let id = unit.nodes()[0];
                let node = self.program.node(id);
                let argument = |position: usize| {
                    let View { root, offset, strides } =
                        call_view(self.program, &self.fusion.views, id, position);
                    let shape = self.program.shape(node.args[position]).clone();
                    let ty = ValueType { dtype: self.program.dtype(root), shape };
                    Argument { buffer: self.numbers[&root], ty, offset, strides }
                };
                Work::Call {
                    op: node.op.clone(),
                    args: (0..node.args.len()).map(argument).collect(),
                    results: node.results.iter().map(|value| self.numbers[value]).collect(),
                }
            }
        };
        Kernel { work, nodes, origin, is_epilogue: false, is_deferrable: false }
    }

    /// Copies into the states whose new value had to be computed beside the old one.
    fn final_copies(&mut self) -> Vec<Kernel> {
        let mut copies = Vec::new();
        for index in 0..self.program.states.len() {
            let state = &self.program.states[index];
            let Some(write) = state.write else { continue };
            let (old, origin) = (state.value, self.program.definition(write).origin.clone());
            let from = self.numbers[&write];
            if self.buffers[from].place != Place::State(index) {
                let to = self.number(old);
                let work = Work::Copy { from, to };
                copies.push(Kernel {
                    work,
                    nodes: Vec::new(),
                    origin,
                    is_epilogue: false,
                    is_deferrable: false,
                });
            }
        }
        copies
    }
}

/// Whether a unit has to wait for another, directly or not.
fn comes_after(sources: &[Vec<usize>], unit: usize, other: usize) -> bool {
    let mut seen = HashSet::new();
    let mut open = vec![unit];
    while let Some(unit) = open.pop() {
        if unit == other {
            return true;
        }
        if seen.insert(unit) {
            open.extend(&sources[unit]);
        }
    }
    false
}
