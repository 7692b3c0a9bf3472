//! From a fused group of nodes to a loop kernel.

use crate::fuse::{Group, reduced_axes};
use crate::kernel::{
    Access, Affine, Domain, Instruction, Level, LoopKernel, Reduce, Reduction, Register, RegisterInfo, Stage,
};
use crate::view::{View, Views, is_view, reshape_strides};
use dropforge_ir::quick_hash::{QuickMap, QuickSet};
use dropforge_ir::{BinaryKind, DType, NodeId, Op, Program, ReduceKind, Shape, UnaryKind, Value, ValueType};

/// A kernel with its extents and the value behind each operand.
pub struct Emitted {
    /// The loop nest.
    pub kernel: LoopKernel,
    /// What it visits.
    pub domain: Domain,
    /// The value whose memory each operand is.
    pub operands: Vec<Value>,
    /// How the kernel touches each operand.
    pub walks: Vec<Walk>,
}

/// How a kernel touches an operand: what decides whether a result may take the place of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walk {
    /// Whether every access visits the elements in row-major order of the domain or of the rows, and which; `None` for
    /// any other pattern.
    pub order: Option<Level>,
    /// The last stage that reads the operand.
    pub last_load: usize,
    /// The stage that writes it.
    pub store: usize,
}

impl Walk {
    /// Whether a result that is touched like `self` may lie where an argument touched like `argument` lies: each
    /// element is read for the last time before it is overwritten.
    pub fn may_replace(&self, argument: &Walk) -> bool {
        self.order.is_some() && self.order == argument.order && argument.last_load <= self.store
    }
}

impl Emitted {
    /// The values that the kernel writes.
    pub fn results(&self) -> impl Iterator<Item = Value> + '_ {
        self.operands
            .iter()
            .zip(&self.kernel.written)
            .filter(|(_, written)| **written)
            .map(|(value, _)| *value)
    }

    /// Whether the kernel is elementwise over just the elements of this value, and reads each of them at its own place.
    pub fn visits_in_order(&self, value: Value, program: &Program) -> bool {
        let kernel = &self.kernel;
        let Some(operand) = self.operands.iter().position(|&other| other == value) else { return false };
        let mut stride = 1;
        let mut row_major: Vec<i64> = self
            .domain
            .rows
            .iter()
            .rev()
            .map(|&extent| {
                stride *= extent as i64;
                stride / extent.max(1) as i64
            })
            .collect();
        row_major.reverse();
        let in_place = |instruction: &Instruction| match instruction {
            Instruction::Load { access, .. } | Instruction::Store { access, .. }
                if access.operand == operand =>
            {
                let steps = access.index.rows.iter().zip(&row_major).zip(&self.domain.rows);
                // Along an axis of one element there are no steps.
                access.index.offset == 0 && steps.into_iter().all(|((a, b), &extent)| a == b || extent == 1)
            }
            _ => true,
        };
        kernel.column_axes == 0
            && self.domain.row_count() == program.shape(value).elements()
            && kernel.stages.iter().all(|stage| {
                stage.reductions.is_empty() && stage.domain.iter().chain(&stage.row).all(in_place)
            })
    }
}

/// Emits the loop kernel of a group. `is_stored` says which of its values others need in memory.
pub fn emit(program: &Program, views: &Views, group: &Group, is_stored: impl Fn(Value) -> bool) -> Emitted {
    let mut emitter = Emitter::new(program, views, group);
    emitter.schedule();
    for stage in 0..emitter.stage_count {
        emitter.emit_stage(stage, &is_stored);
    }
    emitter.finish()
}

/// What distinguishes loads that may share a register.
type LoadKey = (Option<Value>, Affine, Level, DType);

struct Emitter<'a> {
    program: &'a Program,
    views: &'a Views,
    group: &'a Group,
    columns: Vec<usize>,
    row_axes: Vec<usize>,
    /// The stage in which a member is first available: during it for domain members, after its loop for row members.
    stages: QuickMap<NodeId, usize>,
    stage_count: usize,
    kernel: LoopKernel,
    operands: Vec<Value>,
    registers: QuickMap<Value, Register>,
    /// Results of half types before they are rounded.
    unrounded: QuickMap<Value, Register>,
    loads: QuickMap<LoadKey, (Register, Instruction)>,
    immediates: QuickMap<(u32, DType, Level), (Register, Instruction)>,
    /// What the domain part of the current stage has already computed.
    done: QuickSet<Register>,
    /// What row parts have already computed.
    row_done: QuickSet<Register>,
}

impl<'a> Emitter<'a> {
    fn new(program: &'a Program, views: &'a Views, group: &'a Group) -> Emitter<'a> {
        let columns = group.columns.clone().unwrap_or_default();
        let row_axes = (0..group.domain.rank()).filter(|axis| !columns.contains(axis)).collect();
        Emitter {
            program,
            views,
            group,
            columns,
            row_axes,
            stages: QuickMap::default(),
            stage_count: 1,
            kernel: LoopKernel::default(),
            operands: Vec::new(),
            registers: QuickMap::default(),
            unrounded: QuickMap::default(),
            loads: QuickMap::default(),
            immediates: QuickMap::default(),
            done: QuickSet::default(),
            row_done: QuickSet::default(),
        }
    }

    /// The member that makes an argument's root, if it is in the group.
    fn inside(&self, value: Value) -> Option<(NodeId, Level)> {
        let id = self.program.definition_id(self.views.view(value).root);
        self.group.members.get(&id).map(|&level| (id, level))
    }

    fn schedule(&mut self) {
        for (&id, &level) in &self.group.members {
            let node = self.program.node(id);
            let reads_at = if reduced_axes(&node.op).is_some() { Level::Domain } else { level };
            let mut stage = 0;
            for &arg in &node.args {
                if self.program.splat(arg).is_some() {
                    continue;
                }
                if let Some((inner, inner_level)) = self.inside(arg) {
                    let after = inner_level == Level::Row && reads_at == Level::Domain;
                    stage = stage.max(self.stages[&inner] + usize::from(after));
                }
            }
            self.stages.insert(id, stage);
            self.stage_count = self.stage_count.max(stage + 1);
        }
    }

    fn emit_stage(&mut self, stage: usize, is_stored: &impl Fn(Value) -> bool) {
        self.kernel.stages.push(Stage::default());
        self.done.clear();
        let here: Vec<(NodeId, Level)> = self
            .group
            .members
            .iter()
            .filter(|(id, _)| self.stages[*id] == stage)
            .map(|(&id, &level)| (id, level))
            .collect();
        let stored = |emitter: &Self, id: NodeId| -> Vec<Value> {
            emitter.program.node(id).results.iter().copied().filter(|&value| is_stored(value)).collect()
        };
        let mut domain_stores = Vec::new();
        for &(id, level) in &here {
            let node = self.program.node(id);
            if level == Level::Domain {
                for value in stored(self, id) {
                    let from = self.domain_value(id);
                    domain_stores.push((value, from));
                }
            } else if let Some(kind) = reduction(&node.op) {
                let from = self.argument(id, 0, Level::Domain);
                let to: Vec<Register> =
                    node.results.iter().map(|&result| self.result_register(result, Level::Row)).collect();
                self.row_done.extend(&to);
                let halves = node.results.iter().map(|&result| self.rounds_to(result, &node.op)).collect();
                self.push_reduction(kind, from, to, halves);
            }
        }
        for &(id, level) in &here {
            if level == Level::Row && reduced_axes(&self.program.node(id).op).is_none() {
                self.compute(id, Level::Row);
            }
        }
        // Stores come last, so that an operand may share memory with one that is read.
        for (value, from) in domain_stores {
            let store = self.store(value, from, Level::Domain);
            self.current().domain.push(store);
        }
        for &(id, level) in &here {
            if level == Level::Row {
                for value in stored(self, id) {
                    let from = self.registers[&value];
                    let store = self.store(value, from, Level::Row);
                    self.current().row.push(store);
                }
            }
        }
    }

    /// A reduction, and the rounding of its results to the half types that are named.
    fn push_reduction(
        &mut self,
        kind: Reduction,
        from: Register,
        to: Vec<Register>,
        halves: Vec<Option<DType>>,
    ) {
        let mut exact = Vec::new();
        for (&to, half) in to.iter().zip(halves) {
            exact.push(match half {
                None => to,
                Some(into) => {
                    let x = self.new_register(DType::F32, Level::Row);
                    self.current().row.push(Instruction::Cast { to, from: DType::F32, into, x });
                    x
                }
            });
        }
        self.current().reductions.push(Reduce { kind, from, to: exact });
    }

    /// The half type to which a result has to be rounded; none if it is exact already.
    fn rounds_to(&self, result: Value, op: &Op) -> Option<DType> {
        let dtype = self.program.dtype(result);
        (dtype.is_half() && !gives_halves(op)).then_some(dtype)
    }

    fn current(&mut self) -> &mut Stage {
        self.kernel.stages.last_mut().expect("a stage is open")
    }

    fn push(&mut self, instruction: Instruction, level: Level) {
        match level {
            Level::Domain => self.current().domain.push(instruction),
            Level::Row => self.current().row.push(instruction),
        }
    }

    fn new_register(&mut self, dtype: DType, level: Level) -> Register {
        let dtype = register_type(dtype);
        self.kernel.registers.push(RegisterInfo { dtype, level });
        Register(u16::try_from(self.kernel.registers.len() - 1).expect("groups are bounded"))
    }

    fn result_register(&mut self, value: Value, level: Level) -> Register {
        if let Some(&register) = self.registers.get(&value) {
            return register;
        }
        let register = self.new_register(self.program.dtype(value), level);
        self.registers.insert(value, register);
        register
    }

    fn operand(&mut self, value: Value) -> usize {
        match self.operands.iter().position(|&other| other == value) {
            Some(position) => position,
            None => {
                self.operands.push(value);
                self.kernel.written.push(false);
                self.operands.len() - 1
            }
        }
    }

    /// Makes sure that the current stage has the value of a domain member in its register.
    fn domain_value(&mut self, id: NodeId) -> Register {
        self.compute(id, Level::Domain)
    }

    /// Strides over the extents of a level as an affine function of rows and columns.
    fn affine(&self, offset: i64, strides: &[i64], level: Level) -> Affine {
        let pick = |axes: &[usize]| axes.iter().map(|&axis| strides[axis]).collect::<Vec<i64>>();
        match level {
            Level::Domain => Affine { offset, rows: pick(&self.row_axes), columns: pick(&self.columns) },
            Level::Row => Affine { offset, rows: strides.to_vec(), columns: vec![0; self.columns.len()] },
        }
    }

    fn view_affine(&self, view: &View, shape: &Shape, level: Level) -> Affine {
        let space = self.group.space(level);
        let strides =
            reshape_strides(&view.strides, shape, &space).expect("fusion checked that the view fits");
        self.affine(view.offset, &strides, level)
    }

    /// The register that holds an argument of a member, loading or computing it if need be.
    fn argument(&mut self, id: NodeId, arg: usize, level: Level) -> Register {
        let node = self.program.node(id);
        let value = node.args[arg];
        let is_copy = is_view(&node.op);
        if let Some(number) = self.program.splat(value) {
            return self.immediate(self.program.dtype(value), number, level);
        }
        if let Some((inner, inner_level)) = self.inside(value) {
            let root = self.views.view(value).root;
            return match (inner_level, reduced_axes(&self.program.node(inner).op).is_some()) {
                (Level::Domain, _) => self.domain_value(inner),
                // Reductions of this or an earlier stage.
                (Level::Row, true) => self.registers[&root],
                (Level::Row, false) if level == Level::Domain => self.registers[&root],
                (Level::Row, false) => self.compute(inner, Level::Row),
            };
        }
        let (view, shape) = if is_copy {
            let result = node.results[0];
            (self.views.source(self.program, result), self.program.shape(result).clone())
        } else {
            (self.views.view(value).clone(), self.program.shape(value).clone())
        };
        let counting = matches!(self.program.definition(view.root).op, Op::Iota { .. })
            && !self.views.copies[view.root.index()];
        let index = self.view_affine(&view, &shape, level);
        self.load(if counting { None } else { Some(view.root) }, index, self.program.dtype(value), level)
    }

    fn load(&mut self, root: Option<Value>, index: Affine, dtype: DType, level: Level) -> Register {
        let key = (root, index.clone(), level, dtype);
        if let Some((register, instruction)) = self.loads.get(&key).cloned() {
            self.repeat(register, instruction, level);
            return register;
        }
        let to = self.new_register(dtype, level);
        let instruction = match root {
            None => Instruction::Index { to, index },
            Some(root) => {
                let operand = self.operand(root);
                Instruction::Load { to, access: Access { operand, dtype, index } }
            }
        };
        self.loads.insert(key, (to, instruction.clone()));
        self.repeat(to, instruction, level);
        to
    }

    fn immediate(&mut self, dtype: DType, number: f64, level: Level) -> Register {
        let bits = match dtype {
            DType::F32 | DType::F16 | DType::BF16 => (number as f32).to_bits(),
            DType::I32 => (number as i32) as u32,
            DType::U32 | DType::U8 => number as u32,
            DType::Bool => u32::from(number != 0.0),
        };
        let key = (bits, dtype, level);
        if let Some((register, instruction)) = self.immediates.get(&key).cloned() {
            self.repeat(register, instruction, level);
            return register;
        }
        let to = self.new_register(dtype, level);
        let instruction = Instruction::Immediate { to, bits };
        self.immediates.insert(key, (to, instruction.clone()));
        self.repeat(to, instruction, level);
        to
    }

    /// Appends an instruction unless this part of the kernel has run it already.
    fn repeat(&mut self, register: Register, instruction: Instruction, level: Level) {
        let fresh = match level {
            Level::Domain => self.done.insert(register),
            Level::Row => self.row_done.insert(register),
        };
        if fresh {
            self.push(instruction, level);
        }
    }

    fn store(&mut self, value: Value, from: Register, level: Level) -> Instruction {
        let strides: Vec<i64> =
            self.group.space(level).strides().into_iter().map(|stride| stride as i64).collect();
        let index = self.affine(0, &strides, level);
        let operand = self.operand(value);
        self.kernel.written[operand] = true;
        Instruction::Store { from, access: Access { operand, dtype: self.program.dtype(value), index } }
    }

    /// Computes a member that is no reduction, and what it needs, in the current part of the kernel.
    fn compute(&mut self, id: NodeId, level: Level) -> Register {
        let node = self.program.node(id);
        let result = node.results[0];
        if let Some(&register) = self.registers.get(&result) {
            let done = match level {
                Level::Domain => self.done.contains(&register),
                Level::Row => self.row_done.contains(&register),
            };
            if done {
                return register;
            }
        }
        let ValueType { dtype, .. } = self.program.ty(result).clone();
        if is_view(&node.op) || matches!(node.op, Op::Iota { .. }) {
            // A copy is its argument under another name.
            let register = match self.program.splat(result) {
                Some(number) => self.immediate(dtype, number, level),
                None if is_view(&node.op) => self.argument(id, 0, level),
                None => {
                    let view = self.views.source(self.program, result);
                    let index = self.view_affine(&view, &self.program.shape(result).clone(), level);
                    self.load(None, index, dtype, level)
                }
            };
            self.registers.insert(result, register);
            return register;
        }
        let args: Vec<Register> = match node.op {
            Op::RandomBits { .. } => Vec::new(),
            _ => (0..node.args.len()).map(|arg| self.argument(id, arg, level)).collect(),
        };
        if let Op::Cast { .. } = node.op
            && let Some(register) = self.exact_cast(id, args[0])
        {
            self.registers.insert(result, register);
            return register;
        }
        let rounded = self.result_register(result, level);
        let half = self.rounds_to(result, &node.op);
        let to = match (half, self.unrounded.get(&result)) {
            (None, _) => rounded,
            (Some(_), Some(&register)) => register,
            (Some(_), None) => {
                let register = self.new_register(DType::F32, level);
                self.unrounded.insert(result, register);
                register
            }
        };
        let instruction = match &node.op {
            Op::Unary { kind } => Instruction::Unary { kind: *kind, to, x: args[0] },
            Op::Binary { kind } => Instruction::Binary { kind: *kind, to, a: args[0], b: args[1] },
            Op::Compare { kind } => Instruction::Compare { kind: *kind, to, a: args[0], b: args[1] },
            Op::Select {} => Instruction::Select { to, condition: args[0], a: args[1], b: args[2] },
            Op::Cast { to: into } => {
                // To a half by way of f32, from a half as from f32.
                let wide = |dtype: DType| if dtype.is_half() { DType::F32 } else { dtype };
                let from = wide(self.program.dtype(node.args[0]));
                Instruction::Cast { to, from, into: wide(*into), x: args[0] }
            }
            Op::RandomBits { shape, stream } => {
                let seed = self.operand(self.views.view(node.args[0]).root);
                let step = self.operand(self.views.view(node.args[1]).root);
                let position = View::whole(self.program, result);
                let index = self.view_affine(&position, shape, level);
                Instruction::RandomBits { to, seed, step, stream: *stream, index }
            }
            op => unreachable!("{} is never fused", op.name()),
        };
        match level {
            Level::Domain => self.done.insert(rounded),
            Level::Row => self.row_done.insert(rounded),
        };
        match (half, &instruction) {
            (None, _) => self.push(instruction, level),
            // Narrowing is the rounding.
            (Some(into), Instruction::Cast { from: DType::F32, x, .. }) => {
                let (from, x) = (DType::F32, *x);
                self.push(Instruction::Cast { to: rounded, from, into, x }, level);
            }
            (Some(into), _) => {
                self.push(instruction, level);
                self.push(Instruction::Cast { to: rounded, from: DType::F32, into, x: to }, level);
            }
        }
        rounded
    }

    /// The register of a cast's argument, if the result is the same in it: a half as an f32.
    fn exact_cast(&self, id: NodeId, arg: Register) -> Option<Register> {
        let node = self.program.node(id);
        let widens = self.program.dtype(node.args[0]).is_half() && node.op == (Op::Cast { to: DType::F32 });
        widens.then_some(arg)
    }

    fn finish(mut self) -> Emitted {
        let walks = (0..self.operands.len()).map(|operand| self.walk(operand)).collect();
        let rows: Vec<usize> = self.row_axes.iter().map(|&axis| self.group.domain[axis]).collect();
        let mut columns: Vec<usize> = self.columns.iter().map(|&axis| self.group.domain[axis]).collect();
        if rows.iter().all(|&extent| extent == 1) {
            self.sort_columns(&mut columns);
        }
        let mut strides: Vec<&mut Affine> = affines(&mut self.kernel.stages);
        let rows = collapse(&rows, &mut strides, |affine| &mut affine.rows);
        let mut columns = collapse(&columns, &mut strides, |affine| &mut affine.columns);
        let reduces = self.kernel.stages.iter().any(|stage| !stage.reductions.is_empty());
        if columns.is_empty() && reduces {
            columns.push(1);
            for affine in affines(&mut self.kernel.stages) {
                affine.columns.push(0);
            }
        }
        self.kernel.row_axes = rows.len();
        self.kernel.column_axes = columns.len();
        Emitted { kernel: self.kernel, domain: Domain { rows, columns }, operands: self.operands, walks }
    }

    /// Brings the columns into the order in which most of what is loaded lies in memory: a sum over all of a transposed
    /// value is then one run, like that over any other.
    fn sort_columns(&mut self, extents: &mut [usize]) {
        let mut reductions = self.kernel.stages.iter().flat_map(|stage| &stage.reductions);
        if reductions.any(|reduce| reduce.kind == Reduction::ArgMax) {
            // Its result is a number in the order that there is.
            return;
        }
        let mut steps = vec![0; extents.len()];
        for stage in &self.kernel.stages {
            for instruction in &stage.domain {
                if let Instruction::Load { access, .. } = instruction {
                    steps.iter_mut().zip(&access.index.columns).for_each(|(sum, step)| *sum += step.abs());
                }
            }
        }
        let mut order: Vec<usize> = (0..extents.len()).collect();
        order.sort_by_key(|&axis| std::cmp::Reverse(steps[axis]));
        let sorted: Vec<usize> = order.iter().map(|&axis| extents[axis]).collect();
        extents.copy_from_slice(&sorted);
        for affine in affines(&mut self.kernel.stages) {
            affine.columns = order.iter().map(|&axis| affine.columns[axis]).collect();
        }
    }

    /// How an operand is touched; to be asked before axes are merged.
    fn walk(&self, operand: usize) -> Walk {
        let mut walk = Walk { order: None, last_load: 0, store: 0 };
        let mut orders = Vec::new();
        let in_order = |level: Level| {
            let space = self.group.space(level);
            let strides: Vec<i64> = space.strides().into_iter().map(|stride| stride as i64).collect();
            (self.affine(0, &strides, level), space.elements())
        };
        let (domain, rows) = (in_order(Level::Domain), in_order(Level::Row));
        let size = self.program.shape(self.operands[operand]).elements();
        for (stage, content) in self.kernel.stages.iter().enumerate() {
            let parts = [(&content.domain, Level::Domain, &domain), (&content.row, Level::Row, &rows)];
            for (instructions, level, (expected, elements)) in parts {
                for instruction in instructions {
                    let access = match instruction {
                        Instruction::Load { access, .. } if access.operand == operand => {
                            walk.last_load = stage;
                            access
                        }
                        Instruction::Store { access, .. } if access.operand == operand => {
                            walk.store = stage;
                            access
                        }
                        Instruction::RandomBits { seed, step, .. }
                            if *seed == operand || *step == operand =>
                        {
                            orders.push(None);
                            continue;
                        }
                        _ => continue,
                    };
                    orders.push((access.index == *expected && *elements == size).then_some(level));
                }
            }
        }
        walk.order = orders
            .first()
            .copied()
            .flatten()
            .filter(|first| orders.iter().all(|order| *order == Some(*first)));
        walk
    }
}

/// The type of a register that holds values of a type.
fn register_type(dtype: DType) -> DType {
    match dtype {
        DType::U8 => DType::U32,
        DType::F16 | DType::BF16 => DType::F32,
        dtype => dtype,
    }
}

/// Whether an operation on halves gives halves without rounding, where it gives floats.
fn gives_halves(op: &Op) -> bool {
    use UnaryKind::{Absolute, Ceil, Floor, Negate, Relu, Round, Sign};
    match op {
        Op::Unary { kind } => matches!(kind, Negate | Absolute | Sign | Relu | Floor | Ceil | Round),
        Op::Binary { kind } => {
            matches!(kind, BinaryKind::Maximum | BinaryKind::Minimum | BinaryKind::Remainder)
        }
        Op::Reduce { kind, .. } => matches!(kind, ReduceKind::Max | ReduceKind::Min),
        Op::Select {} => true,
        _ => false,
    }
}

/// The loop-kernel reduction of an operation.
fn reduction(op: &Op) -> Option<Reduction> {
    Some(match op {
        Op::Reduce { kind: ReduceKind::Sum, .. } => Reduction::Sum,
        Op::Reduce { kind: ReduceKind::Max, .. } => Reduction::Max,
        Op::Reduce { kind: ReduceKind::Min, .. } => Reduction::Min,
        Op::Reduce { kind: ReduceKind::Product, .. } => Reduction::Product,
        Op::ArgMax { .. } => Reduction::ArgMax,
        Op::LogSumExp { .. } => Reduction::LogSumExp,
        Op::MeanVariance { .. } => Reduction::MeanVariance,
        _ => return None,
    })
}

/// Every affine function in the stages.
fn affines(stages: &mut [Stage]) -> Vec<&mut Affine> {
    let mut result = Vec::new();
    for stage in stages {
        for instruction in stage.domain.iter_mut().chain(&mut stage.row) {
            match instruction {
                Instruction::Load { access, .. } | Instruction::Store { access, .. } => {
                    result.push(&mut access.index)
                }
                Instruction::Index { index, .. } | Instruction::RandomBits { index, .. } => {
                    result.push(index)
                }
                _ => {}
            }
        }
    }
    result
}

/// Merges neighbouring axes that every function walks as one, and drops axes of extent 1. Returns the new extents.
fn collapse(
    extents: &[usize],
    functions: &mut [&mut Affine],
    part: impl Fn(&mut Affine) -> &mut Vec<i64>,
) -> Vec<usize> {
    let mut extents = extents.to_vec();
    let mut axis = extents.len();
    while axis > 0 {
        axis -= 1;
        if extents[axis] == 1 {
            extents.remove(axis);
            for function in functions.iter_mut() {
                part(function).remove(axis);
            }
        } else if axis + 1 < extents.len() {
            let length = extents[axis + 1] as i64;
            let merges = functions.iter_mut().all(|function| {
                let strides = part(function);
                strides[axis] == strides[axis + 1] * length
            });
            if merges {
                extents[axis] *= extents[axis + 1];
                extents.remove(axis + 1);
                for function in functions.iter_mut() {
                    let strides = part(function);
                    strides[axis] = strides[axis + 1];
                    strides.remove(axis + 1);
                }
            }
        }
    }
    extents
}
