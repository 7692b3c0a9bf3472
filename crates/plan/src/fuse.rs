//! Fusion: which nodes share a kernel.
//!
//! Nodes are visited from the last to the first. A node that can be computed inside a loop kernel joins the kernels
//! that use it: all of them merged into one where that is possible, each of them with a copy of its own where
//! recomputing reads no more memory than loading the result would, otherwise the earliest that can take it. Visiting
//! backwards delays work to where it is needed, so that what only the backward pass needs is not stored by the forward
//! pass. Afterwards kernels over the same domain that read the same large value are merged.

use crate::kernel::Level;
use crate::mixed::argument_view;
use crate::topology::Topology;
use crate::tuning::{MAX_GROUP_NODES, MAX_GROUP_OPERANDS, MAX_REPEATED_NODES};
use crate::view::{View, Views, is_row_major, is_view, reshape_strides};
use dropforge_ir::quick_hash::{QuickMap, QuickSet};
use dropforge_ir::{NodeId, Op, Program, Shape, Value};
use std::collections::{BTreeMap, BinaryHeap};

/// Nodes that run as one loop kernel.
#[derive(Clone, Debug)]
pub struct Group {
    /// The extents that the kernel visits.
    pub domain: Shape,
    /// The axes of the domain that are columns, longer than 1 and increasing; `None` while nothing decides them.
    pub columns: Option<Vec<usize>>,
    /// What is computed, and whether for each element or each row.
    pub members: BTreeMap<NodeId, Level>,
}

impl Group {
    /// The extents without the columns.
    pub fn kept(&self) -> Shape {
        self.domain.without(self.columns.as_deref().unwrap_or(&[]))
    }

    /// The extents over which a node at `level` is computed.
    pub fn space(&self, level: Level) -> Shape {
        match level {
            Level::Domain => self.domain.clone(),
            Level::Row => self.kept(),
        }
    }
}

/// What runs as one kernel.
#[derive(Clone, Debug)]
pub enum Unit {
    /// A fused loop nest.
    Group(Group),
    /// One library operation.
    Call(NodeId),
}

impl Unit {
    /// The nodes inside, in program order.
    pub fn nodes(&self) -> Vec<NodeId> {
        match self {
            Unit::Group(group) => group.members.keys().copied().collect(),
            Unit::Call(node) => vec![*node],
        }
    }

    /// Whether a node is computed here.
    pub fn contains(&self, node: NodeId) -> bool {
        match self {
            Unit::Group(group) => group.members.contains_key(&node),
            Unit::Call(call) => *call == node,
        }
    }
}

/// The kernels of a program, in no particular order.
pub struct Fusion {
    /// How values lie in memory.
    pub views: Views,
    /// The kernels.
    pub units: Vec<Unit>,
}

/// Whether an operation reduces columns to one value a row inside a loop kernel, and over which axes.
pub fn reduced_axes(op: &Op) -> Option<Vec<usize>> {
    match op {
        Op::Reduce { axes, .. } | Op::LogSumExp { axes } | Op::MeanVariance { axes } => Some(axes.clone()),
        Op::ArgMax { axis } => Some(vec![*axis]),
        _ => None,
    }
}

/// Whether the operation can read an argument as it lies in the memory of another value.
fn reads_view(op: &Op, arg: usize, view: &View, shape: &Shape) -> bool {
    match op {
        Op::Dot { .. } => true,
        // Queries, keys, values and the output's gradient may have any strides, but each vector must be in one piece.
        Op::Attention { .. } | Op::AttentionGradient { .. } if matches!(arg, 0..=2 | 5) => {
            shape[3] <= 1 || (view.strides[3] == 1 && view.strides.iter().all(|&stride| stride >= 0))
        }
        _ => view.is_contiguous(shape),
    }
}

/// How a library operation reads one of its arguments.
pub fn call_view(program: &Program, views: &Views, node: NodeId, arg: usize) -> View {
    let node = program.node(node);
    let value = node.args[arg];
    let fits = |view: &View| reads_view(&node.op, arg, view, program.shape(value));
    argument_view(program, views, &node.op, value, fits)
}

/// Decides which nodes share a kernel.
pub fn fuse(program: &Program) -> Fusion {
    let views = views_with_copies(program);
    let mut fuser = Fuser::new(program, views);
    for index in (0..program.nodes().len()).rev() {
        fuser.place(NodeId(index as u32));
    }
    fuser.merge_siblings();
    let units = fuser.units.into_iter().flatten().collect();
    Fusion { views: fuser.views, units }
}

/// Views in which everything that must lie in memory of its own, row by row, does.
fn views_with_copies(program: &Program) -> Views {
    let mut views = Views::new(program);
    for node in program.nodes() {
        let in_kernel = node.op.is_elementwise() || reduced_axes(&node.op).is_some();
        if node.op.is_leaf() || is_view(&node.op) || in_kernel {
            continue;
        }
        for (position, &arg) in node.args.iter().enumerate() {
            let root = views.view(arg).root;
            views.copy_if_counting(program, root);
            if !reads_view(&node.op, position, views.view(arg), program.shape(arg)) {
                views.copy(program, arg);
            }
        }
    }
    for value in results(program) {
        views.copy(program, value);
    }
    views
}

/// Values that leave the program: outputs and written states.
pub fn results(program: &Program) -> Vec<Value> {
    let written = program.states.iter().filter_map(|state| state.write);
    program.outputs.iter().map(|output| output.value).chain(written).collect()
}

/// One reading of a value: by an argument of a node that is computed somewhere.
#[derive(Clone, Copy)]
struct Use {
    consumer: NodeId,
    arg: usize,
}

/// Where a kernel comes to stand that takes the place of several.
enum Standing {
    /// In the place of the last of them, with these, which wait for it, right behind.
    Last(Vec<usize>),
    /// Right before the first unit that waits for it, with these, which it waits for, before it.
    Before(usize, Vec<usize>),
}

/// Units that were found, and those of them from where nobody has looked on; the greatest key first.
#[derive(Default)]
struct Search {
    seen: QuickSet<usize>,
    open: BinaryHeap<(i128, usize)>,
}

impl Search {
    /// Whether the unit is new.
    fn add(&mut self, unit: usize, key: i128) -> bool {
        let is_new = self.seen.insert(unit);
        if is_new {
            self.open.push((key, unit));
        }
        is_new
    }
}

struct Fuser<'a> {
    program: &'a Program,
    views: Views,
    units: Vec<Option<Unit>>,
    /// The units in an order in which each comes after what it reads.
    topology: Topology,
    /// For each node the units that compute it.
    homes: Vec<Vec<usize>>,
    /// For each node who reads its results.
    uses: Vec<Vec<Use>>,
    /// For each node whose results it reads.
    read_by: Vec<Vec<NodeId>>,
    leaves_program: QuickSet<NodeId>,
    /// For each node whether it is made of states alone that the program does not change.
    is_fixed: Vec<bool>,
}

/// For each node whether it is made of states alone, one at least, that the program does not change.
pub(crate) fn fixed_nodes(program: &Program) -> Vec<bool> {
    let mut has_state = vec![false; program.nodes().len()];
    let mut has_other = has_state.clone();
    for (index, node) in program.nodes().iter().enumerate() {
        let makers = || node.args.iter().map(|&arg| program.definition_id(arg).index());
        let is_kept = |port: &usize| program.states[*port].write.is_none();
        has_state[index] = matches!(node.op, Op::State(_)) || makers().any(|maker| has_state[maker]);
        has_other[index] = match &node.op {
            Op::Input(_) | Op::Hyper(_) | Op::RandomBits { .. } => true,
            Op::State(port) => !is_kept(port),
            _ => makers().any(|maker| has_other[maker]),
        };
    }
    has_state.into_iter().zip(has_other).map(|(state, other)| state && !other).collect()
}

impl<'a> Fuser<'a> {
    fn new(program: &'a Program, views: Views) -> Fuser<'a> {
        let count = program.nodes().len();
        let leaves_program = results(program).into_iter().map(|value| program.definition_id(value)).collect();
        let mut fuser = Fuser {
            program,
            views,
            units: Vec::new(),
            topology: Topology::default(),
            homes: vec![Vec::new(); count],
            uses: Vec::new(),
            read_by: vec![Vec::new(); count],
            leaves_program,
            is_fixed: fixed_nodes(program),
        };
        let mut uses = vec![Vec::new(); count];
        for index in 0..count {
            let consumer = NodeId(index as u32);
            if fuser.is_computed(consumer) {
                for arg in 0..program.node(consumer).args.len() {
                    if let Some(root) = fuser.read_root(consumer, arg) {
                        let maker = program.definition_id(root);
                        uses[maker.index()].push(Use { consumer, arg });
                        fuser.read_by[index].push(maker);
                    }
                }
            }
        }
        fuser.uses = uses;
        fuser
    }

    /// Whether the node runs in a kernel, rather than being a leaf or a way of looking at another value.
    fn is_computed(&self, node: NodeId) -> bool {
        let node = self.program.node(node);
        if is_view(&node.op) || matches!(node.op, Op::Iota { .. }) {
            return self.views.copies[node.results[0].index()];
        }
        !node.op.is_leaf()
    }

    fn is_call(&self, node: NodeId) -> bool {
        let op = &self.program.node(node).op;
        let fusable = op.is_elementwise()
            || is_view(op)
            || reduced_axes(op).is_some()
            || matches!(op, Op::Iota { .. } | Op::RandomBits { .. });
        !fusable
    }

    /// The value in memory or in a register that an argument is read from; `None` for numbers known in advance.
    fn read_root(&self, consumer: NodeId, arg: usize) -> Option<Value> {
        let value = self.program.node(consumer).args[arg];
        if !self.is_call(consumer) && self.program.splat(value).is_some() {
            return None;
        }
        if self.is_call(consumer) {
            return Some(call_view(self.program, &self.views, consumer, arg).root);
        }
        let root = self.views.view(value).root;
        let counting =
            matches!(self.program.definition(root).op, Op::Iota { .. }) && !self.views.copies[root.index()];
        (!counting).then_some(root)
    }

    fn group(&self, unit: usize) -> Option<&Group> {
        match self.units[unit].as_ref() {
            Some(Unit::Group(group)) => Some(group),
            _ => None,
        }
    }

    fn elements(&self, node: NodeId) -> usize {
        self.program.shape(self.program.node(node).results[0]).elements()
    }

    fn place(&mut self, id: NodeId) {
        if !self.is_computed(id) || !self.is_needed(id) {
            return;
        }
        if self.is_call(id) {
            self.add_unit(Unit::Call(id));
            return;
        }
        let mut consumers: Vec<usize> =
            self.uses[id.index()].iter().flat_map(|one| self.homes[one.consumer.index()].clone()).collect();
        consumers.sort_unstable();
        consumers.dedup();
        let groups: Vec<usize> = consumers.iter().copied().filter(|&unit| self.may_join(id, unit)).collect();
        let all_groups = groups.len() == consumers.len();
        if all_groups && !groups.is_empty() && self.join(id, &groups) {
            return;
        }
        if all_groups && groups.len() > 1 && !self.leaves_program.contains(&id) && self.is_cheap_to_repeat(id)
        {
            let copies: Option<Vec<Group>> = groups.iter().map(|&unit| self.merged(id, &[unit])).collect();
            if let Some(copies) = copies {
                for (unit, group) in groups.into_iter().zip(copies) {
                    self.units[unit] = Some(Unit::Group(group));
                    self.homes[id.index()].push(unit);
                }
                return;
            }
        }
        let mut owners = groups;
        owners.sort_by_key(|&unit| self.group(unit).and_then(|group| group.members.keys().next().copied()));
        if owners.iter().any(|&unit| self.join(id, &[unit])) {
            return;
        }
        let group = self.alone(id);
        self.add_unit(Unit::Group(group));
    }

    /// Whether a node may become part of a unit at all. What is computed of fixed states, such as a batch norm's factor
    /// in evaluation, stays apart from what is computed with it for many more elements: the latter can then follow a
    /// convolution in the order of its elements.
    fn may_join(&self, id: NodeId, unit: usize) -> bool {
        self.group(unit).is_some_and(|group| {
            !self.is_fixed[id.index()] || self.elements(id) * 2 > group.domain.elements()
        })
    }

    /// Whether anything that is computed reads the node: a cast that products read through may be left without.
    fn is_needed(&self, id: NodeId) -> bool {
        let has_home = |one: &Use| !self.homes[one.consumer.index()].is_empty();
        self.leaves_program.contains(&id) || self.uses[id.index()].iter().any(has_home)
    }

    /// A new unit. Nodes are visited from the last to the first, so that it comes before all that there are.
    fn add_unit(&mut self, unit: Unit) {
        self.topology.push_front();
        self.settle(unit);
    }

    fn settle(&mut self, unit: Unit) {
        let number = self.units.len();
        for node in unit.nodes() {
            self.homes[node.index()].push(number);
        }
        self.units.push(Some(unit));
    }

    /// A group of one node.
    fn alone(&self, id: NodeId) -> Group {
        let node = self.program.node(id);
        match reduced_axes(&node.op) {
            Some(axes) => {
                let domain = self.program.shape(node.args[0]).clone();
                let columns = Some(long_axes(&axes, &domain));
                Group { domain, columns, members: BTreeMap::from([(id, Level::Row)]) }
            }
            None => Group {
                domain: self.program.shape(node.results[0]).clone(),
                columns: None,
                members: BTreeMap::from([(id, Level::Domain)]),
            },
        }
    }

    /// Whether computing the node again, together with what only serves to compute it, reads no more large values than
    /// loading its result would.
    fn is_cheap_to_repeat(&self, id: NodeId) -> bool {
        if reduced_axes(&self.program.node(id).op).is_some() {
            return false;
        }
        let elements = self.elements(id);
        let mut large = QuickSet::default();
        let mut repeated = [id].into_iter().collect::<QuickSet<NodeId>>();
        let mut to_visit = vec![id];
        while let Some(id) = to_visit.pop() {
            let node = self.program.node(id);
            if matches!(node.op, Op::RandomBits { .. }) {
                continue;
            }
            for root in (0..node.args.len()).filter_map(|arg| self.read_root(id, arg)) {
                let maker = self.program.definition_id(root);
                if self.program.shape(root).elements() * 2 <= elements || repeated.contains(&maker) {
                    continue;
                }
                if repeated.len() < MAX_REPEATED_NODES && self.is_for_kernels_alone(maker) {
                    repeated.insert(maker);
                    to_visit.push(maker);
                } else {
                    large.insert(root);
                }
            }
        }
        large.len() <= 1
    }

    /// Whether a node is elementwise and read by nothing but kernels, so that each of them may have its own copy.
    fn is_for_kernels_alone(&self, id: NodeId) -> bool {
        let is_read_by_kernel = |one: &Use| !self.is_call(one.consumer);
        self.is_computed(id)
            && self.program.node(id).op.is_elementwise()
            && !self.leaves_program.contains(&id)
            && self.uses[id.index()].iter().all(is_read_by_kernel)
    }

    /// Puts a node into one kernel with all of `units`, if that kernel can exist.
    fn join(&mut self, id: NodeId, units: &[usize]) -> bool {
        let Some(group) = self.merged(id, units) else { return false };
        let Some(standing) = self.place_for(&group, units) else { return false };
        self.replace(units, group, standing);
        true
    }

    /// Puts a group in the place of units.
    fn replace(&mut self, units: &[usize], group: Group, standing: Standing) {
        for &unit in units {
            for node in self.units[unit].take().iter().flat_map(Unit::nodes) {
                self.homes[node.index()].retain(|home| *home != unit);
            }
        }
        match standing {
            Standing::Last(behind) => {
                self.topology.replace(units);
                self.topology.move_behind(self.units.len(), behind);
            }
            Standing::Before(reader, ahead) => self.topology.replace_before(units, reader, ahead),
        }
        self.settle(Unit::Group(group));
    }

    /// The kernel of `id` and all members of `units`, if every value inside can be passed in registers.
    fn merged(&self, id: NodeId, units: &[usize]) -> Option<Group> {
        let alone = self.alone(id);
        let mut parts: Vec<&Group> = units.iter().filter_map(|&unit| self.group(unit)).collect();
        parts.push(&alone);
        let columns_from_use = || self.row_use_columns(id, units);
        self.union(&parts, columns_from_use)
    }

    /// The columns that make `id` a row value of the kernel that reads it repeated along them.
    fn row_use_columns(&self, id: NodeId, units: &[usize]) -> Option<Vec<usize>> {
        let elements = self.elements(id);
        if elements <= 1 {
            return None;
        }
        self.uses[id.index()].iter().find_map(|one| {
            let unit = units.iter().find(|unit| self.homes[one.consumer.index()].contains(unit))?;
            let group = self.group(*unit)?;
            let strides = self.strides_in(one.consumer, one.arg, &group.domain)?;
            let repeated: Vec<usize> = (0..group.domain.rank())
                .filter(|&axis| strides[axis] == 0 && group.domain[axis] != 1)
                .collect();
            (group.domain.without(&repeated).elements() == elements && !repeated.is_empty())
                .then_some(repeated)
        })
    }

    /// One kernel out of several over a common domain. Parts over as many elements as the common domain has rows become
    /// row computations.
    fn union(&self, parts: &[&Group], columns_from_use: impl Fn() -> Option<Vec<usize>>) -> Option<Group> {
        let domain =
            parts.iter().max_by_key(|part| (part.domain.elements(), part.columns.is_some()))?.domain.clone();
        let mut columns: Option<Vec<usize>> = None;
        let mut lifted = Vec::new();
        for part in parts {
            if part.domain.elements() == domain.elements() {
                match (&columns, &part.columns) {
                    (_, None) => {}
                    (None, Some(_)) if part.domain == domain => columns = part.columns.clone(),
                    (Some(known), Some(other)) if known == other && part.domain == domain => {}
                    _ => return None,
                }
            } else if part.columns.is_none() {
                lifted.push(*part);
            } else {
                return None;
            }
        }
        if columns.is_none() && !lifted.is_empty() {
            columns = Some(columns_from_use()?);
        }
        let mut group = Group { domain, columns, members: BTreeMap::new() };
        let rows = group.kept().elements();
        for part in parts {
            let is_lifted = part.domain.elements() != group.domain.elements();
            if is_lifted && part.domain.elements() != rows {
                return None;
            }
            for (&node, &level) in &part.members {
                let level = if is_lifted { Level::Row } else { level };
                if *group.members.entry(node).or_insert(level) != level {
                    return None;
                }
            }
        }
        self.is_valid(&group).then_some(group)
    }

    /// An argument's strides over other extents with as many elements.
    fn strides_in(&self, consumer: NodeId, arg: usize, extents: &Shape) -> Option<Vec<i64>> {
        let value = self.program.node(consumer).args[arg];
        let (view, shape) = (self.views.view(value), self.program.shape(value));
        if shape == extents {
            return Some(view.strides.clone());
        }
        if shape.elements() != extents.elements() {
            return None;
        }
        reshape_strides(&view.strides, shape, extents)
    }

    fn is_valid(&self, group: &Group) -> bool {
        if group.members.len() > MAX_GROUP_NODES {
            return false;
        }
        let mut operands: QuickSet<Value> = QuickSet::default();
        for (&id, &level) in &group.members {
            let node = self.program.node(id);
            let reads_at = if reduced_axes(&node.op).is_some() { Level::Domain } else { level };
            let space = group.space(reads_at);
            if let Op::Iota { shape, .. } = &node.op {
                let counts = self.views.source(self.program, node.results[0]).strides;
                if reshape_strides(&counts, shape, &space).is_none() {
                    return false;
                }
            }
            for arg in 0..node.args.len() {
                let value = node.args[arg];
                if self.program.splat(value).is_some() && !matches!(node.op, Op::RandomBits { .. }) {
                    continue;
                }
                let root = self.views.view(value).root;
                let inside = group.members.get(&self.program.definition_id(root));
                if matches!(node.op, Op::RandomBits { .. }) {
                    // Seed and step are read from memory by every lane.
                    if inside.is_some() {
                        return false;
                    }
                    operands.insert(root);
                    continue;
                }
                let Some(strides) = self.copied_strides(id, arg, &space) else { return false };
                match inside {
                    None => {
                        operands.insert(root);
                    }
                    Some(inner) => {
                        let offset = self.views.view(value).offset;
                        let same = offset == 0 && is_row_major(&strides, &space);
                        let repeated =
                            reads_at == Level::Domain && self.repeats_rows(group, &strides, offset);
                        let passes = match inner {
                            Level::Row if reads_at == Level::Domain => repeated,
                            inner => *inner == reads_at && same,
                        };
                        if !passes {
                            return false;
                        }
                    }
                }
            }
            let read_elsewhere =
                self.uses[id.index()].iter().any(|one| !group.members.contains_key(&one.consumer));
            if read_elsewhere || self.leaves_program.contains(&id) {
                operands.extend(&node.results);
            }
        }
        operands.len() <= MAX_GROUP_OPERANDS
    }

    /// The strides with which a member reads an argument; a copy reads its source as it looks from the copy.
    fn copied_strides(&self, id: NodeId, arg: usize, space: &Shape) -> Option<Vec<i64>> {
        let node = self.program.node(id);
        if !is_view(&node.op) {
            return self.strides_in(id, arg, space);
        }
        let view = self.views.source(self.program, node.results[0]);
        let shape = self.program.shape(node.results[0]);
        if shape == space { Some(view.strides) } else { reshape_strides(&view.strides, shape, space) }
    }

    /// Whether strides over the domain walk the rows in order and stand still along the columns.
    fn repeats_rows(&self, group: &Group, strides: &[i64], offset: i64) -> bool {
        let Some(columns) = &group.columns else { return false };
        let still = columns.iter().all(|&axis| strides[axis] == 0);
        let rows: Vec<i64> =
            (0..strides.len()).filter(|axis| !columns.contains(axis)).map(|axis| strides[axis]).collect();
        offset == 0 && still && is_row_major(&rows, &group.kept())
    }

    /// Where a kernel in place of `units` fits into the order; `None` if it would wait for itself.
    ///
    /// Looks from both ends at once, and is done when either end is: whatever comes after the kernel may reach far in a
    /// deep network while next to nothing comes before it, and the other way round.
    fn place_for(&self, group: &Group, units: &[usize]) -> Option<Standing> {
        let last = units.iter().map(|&unit| self.topology.key(unit)).max()?;
        let mut behind = Search::default();
        for node in group.members.keys() {
            // What the members of the new kernel read from each other is no detour.
            self.readers(*node, last, |home| {
                !units.contains(&home) && behind.add(home, self.topology.key(home))
            });
        }
        let Some(first) = behind.seen.iter().copied().min_by_key(|&unit| self.topology.key(unit)) else {
            return Some(Standing::Last(Vec::new()));
        };
        let direct = behind.seen.clone();
        let start = self.topology.key(first);
        let mut ahead = Search::default();
        let add_sources = |unit: usize, ahead: &mut Search| {
            self.sources(unit, start, |home| {
                // Those that come earlier come first.
                !units.contains(&home) && ahead.add(home, -self.topology.key(home))
            });
        };
        units.iter().for_each(|&unit| add_sources(unit, &mut ahead));
        loop {
            // The latest first, which are the closest to those that must not be reached.
            let Some((_, unit)) = behind.open.pop() else {
                return Some(Standing::Last(behind.seen.into_iter().collect()));
            };
            if units.contains(&unit) {
                return None;
            }
            for node in self.units[unit].as_ref().map(Unit::nodes).unwrap_or_default() {
                self.readers(node, last, |home| behind.add(home, self.topology.key(home)));
            }
            let Some((_, unit)) = ahead.open.pop() else {
                return Some(Standing::Before(first, ahead.seen.into_iter().collect()));
            };
            if direct.contains(&unit) {
                return None;
            }
            add_sources(unit, &mut ahead);
        }
    }

    /// The units that read a node from memory and do not come later than `last`: those lead to none that do not.
    fn readers(&self, node: NodeId, last: i128, mut found: impl FnMut(usize) -> bool) {
        for one in &self.uses[node.index()] {
            for &home in &self.homes[one.consumer.index()] {
                let has_own = self.units[home].as_ref().is_some_and(|reader| reader.contains(node));
                if !has_own && self.topology.key(home) <= last {
                    found(home);
                }
            }
        }
    }

    /// The units that a unit reads from memory and that do not come earlier than `start`.
    fn sources(&self, unit: usize, start: i128, mut found: impl FnMut(usize) -> bool) {
        let Some(reader) = &self.units[unit] else { return };
        for node in reader.nodes() {
            for &source in &self.read_by[node.index()] {
                for &home in &self.homes[source.index()] {
                    if !reader.contains(source) && self.topology.key(home) >= start {
                        found(home);
                    }
                }
            }
        }
    }

    /// Merges kernels over one domain that read the same large value from memory.
    fn merge_siblings(&mut self) {
        let mut readers: QuickMap<Value, Vec<NodeId>> = QuickMap::default();
        for index in 0..self.program.nodes().len() {
            let id = NodeId(index as u32);
            if self.homes[index].is_empty() || self.is_call(id) {
                continue;
            }
            for arg in 0..self.program.node(id).args.len() {
                if let Some(root) = self.read_root(id, arg) {
                    readers.entry(root).or_default().push(id);
                }
            }
        }
        let mut roots: Vec<Value> = readers.keys().copied().collect();
        roots.sort_unstable();
        for root in roots {
            let mut units: Vec<usize> =
                readers[&root].iter().flat_map(|id| self.homes[id.index()].clone()).collect();
            units.sort_unstable();
            units.dedup();
            let elements = self.program.shape(root).elements();
            units.retain(|&unit| self.group(unit).is_some_and(|group| group.domain.elements() == elements));
            let mut first = 0;
            while first < units.len() {
                let mut second = first + 1;
                while second < units.len() {
                    let pair = [units[first], units[second]];
                    let parts: Vec<&Group> = pair.iter().filter_map(|&unit| self.group(unit)).collect();
                    let same = parts.len() == 2 && parts[0].domain == parts[1].domain;
                    let merged = self
                        .union(&parts, || None)
                        .filter(|_| same)
                        .and_then(|group| Some((self.place_for(&group, &pair)?, group)));
                    match merged {
                        Some((standing, group)) => {
                            self.replace(&pair, group, standing);
                            units[first] = self.units.len() - 1;
                            units.remove(second);
                        }
                        None => second += 1,
                    }
                }
                first += 1;
            }
        }
    }
}

/// The axes longer than 1.
fn long_axes(axes: &[usize], shape: &Shape) -> Vec<usize> {
    axes.iter().copied().filter(|&axis| shape[axis] != 1).collect()
}
