//! What holds of every plan, checked: devices carry plans out with raw memory and rely on it.

use crate::kernel::{Affine, Domain, Instance, Instruction, Level, LoopKernel, Reduction, Register};
use crate::plan::{Argument, Kernel, Place, Plan, Work};
use dropforge_ir::{DType, Error, Op, Result, Value, ValueType, infer};
use std::collections::{BTreeMap, HashMap, HashSet};

type Checked = std::result::Result<(), String>;

/// Checks a plan: that its program is valid; that kernels reach only elements of their buffers, of the right type, and
/// registers that hold something; that library operations have arguments and results of the right types; that nothing
/// is read before it is written or after something else was written there; and that every state and output ends with
/// its value.
///
/// # Errors
/// The first thing that does not hold, with the kernel.
pub fn verify(plan: &Plan) -> Result<()> {
    dropforge_ir::verify::verify(&plan.program)?;
    check_buffers(plan).map_err(|message| Error::new("plan", message))?;
    let mut memory = Memory::new(plan);
    for (number, kernel) in plan.kernels.iter().enumerate() {
        let checked = match &kernel.work {
            Work::Loop { kernel, instances } => check_loop(kernel)
                .and_then(|()| instances.iter().try_for_each(|one| check_instance(plan, kernel, one))),
            Work::Call { op, args, results } => check_call(plan, op, args, results),
            Work::Copy { from, to } => check_copy(plan, *from, *to),
        };
        checked.and_then(|()| memory.run(number, kernel)).map_err(|message| {
            Error::new("plan", format!("kernel {number}: {message}")).at(&kernel.origin)
        })?;
    }
    memory.end().map_err(|message| Error::new("plan", message))
}

fn check(holds: bool, message: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(message()) }
}

fn check_buffers(plan: &Plan) -> Checked {
    let program = &plan.program;
    for (number, info) in plan.buffers.iter().enumerate() {
        check(info.value.index() < program.value_count(), || format!("b{number} holds no value"))?;
        check(info.ty == *program.ty(info.value), || {
            format!("b{number} has another type than {}", info.value)
        })?;
        let op = &program.definition(info.value).op;
        let ty_of = |value: Option<Value>| value.map(|value| program.ty(value));
        let (exists, expected) = match info.place {
            Place::Input(port) => {
                (*op == Op::Input(port), ty_of(program.inputs.get(port).map(|port| port.value)))
            }
            Place::Hyper(port) => {
                (*op == Op::Hyper(port), ty_of(program.hypers.get(port).map(|port| port.value)))
            }
            Place::State(port) => (true, ty_of(program.states.get(port).map(|port| port.value))),
            Place::Output(port) => (!op.is_leaf(), ty_of(program.outputs.get(port).map(|port| port.value))),
            Place::Constant(constant) => {
                let literal = plan.constants.get(constant);
                let is_it = matches!((op, literal), (Op::Constant(a), Some(b)) if a == b);
                (is_it, literal.map(|literal| &literal.ty))
            }
            Place::Arena(offset) => {
                let fits = offset.checked_add(info.ty.bytes()).is_some_and(|end| end <= plan.arena_bytes);
                (fits && !op.is_leaf(), Some(&info.ty))
            }
        };
        check(exists && expected == Some(&info.ty), || format!("b{number} cannot lie in its place"))?;
    }
    Ok(())
}

/// The registers and operands of a loop, whatever its extents.
fn check_loop(kernel: &LoopKernel) -> Checked {
    let mut known: Vec<bool> = vec![false; kernel.registers.len()];
    let level_of = |register: Register| kernel.registers.get(register.index()).map(|info| info.level);
    for stage in &kernel.stages {
        for (register, info) in known.iter_mut().zip(&kernel.registers) {
            *register &= info.level == Level::Row;
        }
        for instruction in &stage.domain {
            check_instruction(kernel, instruction, Level::Domain, &mut known)?;
        }
        for reduce in &stage.reductions {
            check(known.get(reduce.from.index()) == Some(&true), || {
                format!("r{} is reduced and holds nothing there", reduce.from.0)
            })?;
            let expected = if reduce.kind == Reduction::MeanVariance { 2 } else { 1 };
            check(reduce.to.len() == expected, || "a reduction has another number of results".into())?;
            for to in &reduce.to {
                check(level_of(*to) == Some(Level::Row), || format!("r{} is no register of rows", to.0))?;
                known[to.index()] = true;
            }
        }
        for instruction in &stage.row {
            check_instruction(kernel, instruction, Level::Row, &mut known)?;
        }
    }
    Ok(())
}

/// The type of register that holds an element.
fn held(dtype: DType) -> DType {
    match dtype {
        DType::F16 | DType::BF16 => DType::F32,
        DType::U8 => DType::U32,
        other => other,
    }
}

fn check_instruction(
    kernel: &LoopKernel,
    instruction: &Instruction,
    level: Level,
    known: &mut [bool],
) -> Checked {
    for source in instruction.sources() {
        let holds = known.get(source.index()) == Some(&true)
            && (level == Level::Domain || kernel.registers[source.index()].level == Level::Row);
        check(holds, || format!("r{} is read and holds nothing there", source.0))?;
    }
    let operand = |operand: usize, written: bool| {
        let found = kernel.written.get(operand);
        check(found.is_some_and(|&is_written| is_written || !written), || {
            format!("o{operand} is no operand that can be {}", if written { "written" } else { "read" })
        })
    };
    let index = |index: &Affine| {
        let axes = (index.rows.len(), index.columns.len());
        let is_of_rows = level == Level::Domain || index.columns.iter().all(|&step| step == 0);
        check(axes == (kernel.row_axes, kernel.column_axes) && is_of_rows, || {
            "a position has other axes than the loop".into()
        })
    };
    let dtype_of = |register: Register| kernel.registers[register.index()].dtype;
    match instruction {
        Instruction::Load { access, .. } => {
            operand(access.operand, false)?;
            index(&access.index)?;
        }
        Instruction::Store { from, access } => {
            operand(access.operand, true)?;
            index(&access.index)?;
            check(dtype_of(*from) == held(access.dtype), || {
                format!("r{} is stored as {}", from.0, access.dtype)
            })?;
        }
        Instruction::Index { index: position, .. } => index(position)?,
        Instruction::RandomBits { seed, step, index: position, .. } => {
            operand(*seed, false)?;
            operand(*step, false)?;
            index(position)?;
        }
        Instruction::Binary { a, b, .. } | Instruction::Compare { a, b, .. } => {
            check(dtype_of(*a) == dtype_of(*b), || format!("r{} and r{} have two types", a.0, b.0))?;
        }
        Instruction::Select { condition, a, b, .. } => {
            let fits = dtype_of(*condition) == DType::Bool && dtype_of(*a) == dtype_of(*b);
            check(fits, || "a selection between two types, or by no bool".into())?;
        }
        _ => {}
    }
    let Some(to) = instruction.target() else { return Ok(()) };
    let Some(info) = kernel.registers.get(to.index()) else {
        return Err(format!("there is no register r{}", to.0));
    };
    check(info.level == level, || format!("r{} is of the other level", to.0))?;
    let expected = match instruction {
        Instruction::Load { access, .. } => Some(held(access.dtype)),
        Instruction::Index { .. } => Some(DType::I32),
        Instruction::Compare { .. } => Some(DType::Bool),
        Instruction::RandomBits { .. } => Some(DType::U32),
        Instruction::Cast { into, .. } => Some(held(*into)),
        Instruction::Binary { a, .. } | Instruction::Select { a, .. } => Some(dtype_of(*a)),
        _ => None,
    };
    check(expected.is_none_or(|expected| expected == info.dtype), || format!("r{} has another type", to.0))?;
    known[to.index()] = true;
    Ok(())
}

/// An access of a loop, and when it happens: stage, level, position.
struct Touch<'a> {
    operand: usize,
    index: Option<&'a Affine>,
    level: Level,
    is_store: bool,
    when: (usize, Level, usize),
}

/// Every access of a loop in order.
fn touches<'k>(kernel: &'k LoopKernel) -> Vec<Touch<'k>> {
    let mut touches = Vec::new();
    for (number, stage) in kernel.stages.iter().enumerate() {
        for (level, instructions) in [(Level::Domain, &stage.domain), (Level::Row, &stage.row)] {
            for (position, instruction) in instructions.iter().enumerate() {
                let when = (number, level, position);
                let mut touch = |operand: usize, index: Option<&'k Affine>, is_store: bool| {
                    touches.push(Touch { operand, index, level, is_store, when });
                };
                match instruction {
                    Instruction::Load { access, .. } => touch(access.operand, Some(&access.index), false),
                    Instruction::Store { access, .. } => touch(access.operand, Some(&access.index), true),
                    Instruction::RandomBits { seed, step, .. } => {
                        touch(*seed, None, false);
                        touch(*step, None, false);
                    }
                    _ => {}
                }
            }
        }
    }
    touches
}

/// Least and greatest position of a walk; `None` if it visits nothing.
fn reach<'a>(offset: i64, axes: impl Iterator<Item = (&'a usize, &'a i64)>) -> Option<(i128, i128)> {
    let (mut least, mut greatest) = (i128::from(offset), i128::from(offset));
    for (&extent, &step) in axes {
        let last = i128::from(step) * (extent as i128).checked_sub(1)?;
        if extent == 0 {
            return None;
        }
        least += last.min(0);
        greatest += last.max(0);
    }
    Some((least, greatest))
}

fn check_reach(buffer: usize, ty: &ValueType, reached: Option<(i128, i128)>) -> Checked {
    let elements = ty.shape.elements() as i128;
    let fits = reached.is_none_or(|(least, greatest)| least >= 0 && greatest < elements);
    check(fits, || format!("it reaches beyond b{buffer} of {ty}"))
}

fn check_instance(plan: &Plan, kernel: &LoopKernel, instance: &Instance) -> Checked {
    let Domain { rows, columns } = &instance.domain;
    let fits = (rows.len(), columns.len(), instance.operands.len())
        == (kernel.row_axes, kernel.column_axes, kernel.written.len())
        && instance.operands.iter().all(|&buffer| buffer < plan.buffers.len());
    check(fits, || "an instance does not fit its loop".into())?;
    for stage in &kernel.stages {
        for (level, instructions) in [(Level::Domain, &stage.domain), (Level::Row, &stage.row)] {
            for instruction in instructions {
                let (Instruction::Load { access, .. } | Instruction::Store { access, .. }) = instruction
                else {
                    if let Instruction::RandomBits { seed, step, .. } = instruction {
                        for (operand, elements) in [(*seed, 2), (*step, 1)] {
                            let ty = &plan.buffers[instance.operands[operand]].ty;
                            let fits = ty.dtype == DType::U32 && ty.shape.elements() >= elements;
                            check(fits, || format!("o{operand} is no seed or step"))?;
                        }
                    }
                    continue;
                };
                let buffer = instance.operands[access.operand];
                let ty = &plan.buffers[buffer].ty;
                check(ty.dtype == access.dtype, || format!("b{buffer} is {ty}, not {}", access.dtype))?;
                let columns: &[usize] = if level == Level::Domain { columns } else { &[] };
                let axes = rows.iter().zip(&access.index.rows);
                let reached =
                    reach(access.index.offset, axes.chain(columns.iter().zip(&access.index.columns)));
                check_reach(buffer, ty, reached)?;
            }
        }
    }
    Ok(())
}

fn check_call(plan: &Plan, op: &Op, args: &[Argument], results: &[usize]) -> Checked {
    let buffers = args.iter().map(|arg| arg.buffer).chain(results.iter().copied());
    for buffer in buffers {
        check(buffer < plan.buffers.len(), || format!("there is no b{buffer}"))?;
    }
    let result_types: Vec<&ValueType> = results.iter().map(|&result| &plan.buffers[result].ty).collect();
    for arg in args {
        let ty = &plan.buffers[arg.buffer].ty;
        check(ty.dtype == arg.ty.dtype, || format!("b{} is {ty}, not {}", arg.buffer, arg.ty.dtype))?;
        check(arg.strides.len() == arg.ty.shape.rank(), || "an argument has other axes than steps".into())?;
        check_reach(arg.buffer, ty, reach(arg.offset, arg.ty.shape.iter().zip(&arg.strides)))?;
    }
    let mut types: Vec<ValueType> = args.iter().map(|arg| arg.ty.clone()).collect();
    if let (true, [result]) = (op.is_contraction(), result_types.as_slice()) {
        // Halves are read in place of the f32 that they were cast to.
        for ty in types.iter_mut().filter(|ty| ty.dtype.is_half()) {
            ty.dtype = result.dtype;
        }
    }
    let inferred = infer(op, &types.iter().collect::<Vec<_>>()).map_err(|error| error.to_string())?;
    check(inferred.iter().eq(result_types), || format!("{} has results of other types", op.name()))
}

fn check_copy(plan: &Plan, from: usize, to: usize) -> Checked {
    let ty = |buffer: usize| plan.buffers.get(buffer).map(|info| &info.ty);
    check(ty(from).is_some() && ty(from) == ty(to), || "a copy joins two different types".into())
}

/// What a kernel does to memory.
#[derive(Default)]
struct Effects {
    reads: Vec<usize>,
    writes: Vec<usize>,
}

/// What lies where, as kernels run.
struct Memory<'a> {
    plan: &'a Plan,
    /// The value in each place that is no part of the arena.
    ports: HashMap<Place, Value>,
    /// The values in the arena, by their first byte: end and value. No two overlap.
    arena: BTreeMap<usize, (usize, Value)>,
    /// What kernels read must still be there after the kernel with this number: which kernel, what.
    kept: Vec<(usize, usize, Vec<usize>)>,
}

impl<'a> Memory<'a> {
    fn new(plan: &'a Plan) -> Memory<'a> {
        let program = &plan.program;
        let mut ports = HashMap::new();
        let inputs = program.inputs.iter().enumerate().map(|(port, input)| (Place::Input(port), input.value));
        let states = program.states.iter().enumerate().map(|(port, state)| (Place::State(port), state.value));
        let hypers = program.hypers.iter().enumerate().map(|(port, hyper)| (Place::Hyper(port), hyper.value));
        ports.extend(inputs.chain(states).chain(hypers));
        for info in plan.buffers.iter().filter(|info| matches!(info.place, Place::Constant(_))) {
            ports.insert(info.place, info.value);
        }
        Memory { plan, ports, arena: BTreeMap::new(), kept: Vec::new() }
    }

    fn holds(&self, buffer: usize) -> bool {
        let info = &self.plan.buffers[buffer];
        match info.place {
            Place::Arena(offset) => {
                let bytes = info.ty.bytes();
                bytes == 0 || self.arena.get(&offset) == Some(&(offset + bytes, info.value))
            }
            place => self.ports.get(&place) == Some(&info.value),
        }
    }

    /// The values that lie where a buffer lies.
    fn overlapped(&self, buffer: usize) -> Vec<Value> {
        let info = &self.plan.buffers[buffer];
        match info.place {
            Place::Arena(_) if info.ty.bytes() == 0 => Vec::new(),
            Place::Arena(start) => {
                self.in_arena(start, start + info.ty.bytes()).map(|(_, value)| value).collect()
            }
            place => self.ports.get(&place).copied().into_iter().collect(),
        }
    }

    /// First byte and value of whatever reaches into a range of the arena.
    fn in_arena(&self, start: usize, end: usize) -> impl Iterator<Item = (usize, Value)> + '_ {
        let before = self.arena.range(..end).rev();
        before.take_while(move |(_, (other, _))| *other > start).map(|(&other, &(_, value))| (other, value))
    }

    fn write(&mut self, buffer: usize, value: Value) {
        let info = &self.plan.buffers[buffer];
        let Place::Arena(start) = info.place else {
            self.ports.insert(info.place, value);
            return;
        };
        let end = start + info.ty.bytes();
        if start == end {
            return;
        }
        let overlapping: Vec<usize> = self.in_arena(start, end).map(|(other, _)| other).collect();
        overlapping.iter().for_each(|other| {
            self.arena.remove(other);
        });
        self.arena.insert(start, (end, value));
    }

    fn overlap(&self, a: usize, b: usize) -> bool {
        let (a, b) = (&self.plan.buffers[a], &self.plan.buffers[b]);
        match (a.place, b.place) {
            (Place::Arena(first), Place::Arena(second)) => {
                first < second + b.ty.bytes() && second < first + a.ty.bytes()
            }
            (first, second) => first == second,
        }
    }

    fn run(&mut self, number: usize, kernel: &Kernel) -> Checked {
        let plan = self.plan;
        let effects: Vec<Effects> = match &kernel.work {
            Work::Loop { kernel, instances } => instances
                .iter()
                .map(|instance| self.effects(kernel, instance))
                .collect::<std::result::Result<_, _>>()?,
            Work::Call { args, results, .. } => {
                let reads = args.iter().map(|arg| arg.buffer).collect();
                vec![Effects { reads, writes: results.clone() }]
            }
            Work::Copy { from, to } => vec![Effects { reads: vec![*from], writes: vec![*to] }],
        };
        for &read in effects.iter().flat_map(|one| &one.reads) {
            check(self.holds(read), || format!("b{read} is read, and something else or nothing lies there"))?;
        }
        let mut readers: HashMap<Value, Vec<usize>> = HashMap::new();
        for (one, effect) in effects.iter().enumerate() {
            for &read in &effect.reads {
                readers.entry(plan.buffers[read].value).or_default().push(one);
            }
        }
        let is_loop = matches!(kernel.work, Work::Loop { .. });
        let mut written = HashSet::new();
        for (one, effect) in effects.iter().enumerate() {
            for &write in &effect.writes {
                // A copy brings the value of its source.
                let value = match kernel.work {
                    Work::Copy { from, .. } => plan.buffers[from].value,
                    _ => plan.buffers[write].value,
                };
                check(!plan.program.definition(value).op.is_leaf(), || {
                    format!("b{write} is written, which is given")
                })?;
                for old in self.overlapped(write) {
                    check(!written.contains(&old), || {
                        format!("b{write} is written where {old} was just written")
                    })?;
                    let mut others = readers.get(&old).into_iter().flatten();
                    // Within an instance it was checked element by element.
                    check(others.all(|&other| is_loop && other == one), || {
                        format!("b{write} is written over {old}, which is read there")
                    })?;
                }
                // An epilogue runs while what the kernel before reads is still needed, and so does what is computed
                // later.
                for (last, reader, reads) in &self.kept {
                    let clash = reads.iter().find(|&&read| number <= *last && self.overlap(read, write));
                    check(clash.is_none(), || {
                        format!("b{write} is written over what kernel {reader} may still read")
                    })?;
                }
                self.write(write, value);
                written.insert(value);
            }
        }
        self.kept.retain(|(last, _, _)| *last > number);
        self.keep(number, kernel);
        Ok(())
    }

    /// Notes what a kernel reads for longer than it seems to run.
    fn keep(&mut self, number: usize, kernel: &Kernel) {
        let Work::Call { args, results, .. } = &kernel.work else { return };
        let reads: Vec<usize> = args.iter().map(|arg| arg.buffer).collect();
        if self.plan.kernels.get(number + 1).is_some_and(|next| next.is_epilogue) {
            self.kept.push((number + 1, number, reads.clone()));
        }
        if kernel.is_deferrable {
            let last = self.plan.touched_by[results[0]].last().copied().unwrap_or(number);
            self.kept.push((last, number, reads));
        }
    }

    /// What an instance of a loop reads before it writes it, and what it writes.
    fn effects(&self, kernel: &LoopKernel, instance: &Instance) -> std::result::Result<Effects, String> {
        let touches = touches(kernel);
        let mut effects = Effects::default();
        let mut stored: Vec<bool> = vec![false; kernel.written.len()];
        for touch in &touches {
            let buffer = instance.operands[touch.operand];
            if touch.is_store {
                stored[touch.operand] = true;
                effects.writes.push(buffer);
            } else if !stored[touch.operand] {
                effects.reads.push(buffer);
            }
        }
        for list in [&mut effects.reads, &mut effects.writes] {
            list.sort_unstable();
            list.dedup();
        }
        for write in touches.iter().filter(|touch| touch.is_store) {
            for read in touches.iter().filter(|touch| !touch.is_store && touch.operand != write.operand) {
                let (to, from) = (instance.operands[write.operand], instance.operands[read.operand]);
                if self.overlap(from, to)
                    && !replaces(&instance.domain, read, write, self.same_place(from, to))
                {
                    return Err(format!("b{to} is written over b{from} before that was read"));
                }
            }
        }
        Ok(effects)
    }

    fn same_place(&self, a: usize, b: usize) -> bool {
        let (a, b) = (&self.plan.buffers[a], &self.plan.buffers[b]);
        a.place == b.place && a.ty.bytes() == b.ty.bytes()
    }
}

impl Memory<'_> {
    /// What must be there when everything has run.
    fn end(&self) -> Checked {
        let program = &self.plan.program;
        for (port, output) in program.outputs.iter().enumerate() {
            let found = self.ports.get(&Place::Output(port));
            check(found == Some(&output.value), || format!("output {} is not written", output.name))?;
        }
        for (port, state) in program.states.iter().enumerate() {
            let expected = state.write.unwrap_or(state.value);
            let found = self.ports.get(&Place::State(port));
            check(found == Some(&expected), || format!("state {} does not end with its value", state.name))?;
        }
        Ok(())
    }
}

/// Whether each element is read for the last time before it is overwritten, if both lie in one place: both accesses
/// walk over all elements alike, each once, and the read comes first.
fn replaces(domain: &Domain, read: &Touch<'_>, write: &Touch<'_>, same_place: bool) -> bool {
    // Extents and steps of the axes along which an access moves.
    let walk = |touch: &Touch<'_>| {
        let index = touch.index.filter(|index| index.offset == 0)?;
        let columns: &[usize] = if touch.level == Level::Domain { &domain.columns } else { &[] };
        let axes = domain.rows.iter().zip(&index.rows).chain(columns.iter().zip(&index.columns));
        Some(
            axes.filter(|(extent, _)| **extent > 1)
                .map(|(&extent, &step)| (step, extent))
                .collect::<Vec<_>>(),
        )
    };
    let (Some(mut steps), other) = (walk(read), walk(write)) else { return false };
    let is_alike = other.as_ref() == Some(&steps);
    steps.sort_unstable();
    let mut expected = 1i64;
    let is_whole = steps.iter().all(|&(step, extent)| {
        let fits = step == expected;
        expected = expected.saturating_mul(extent as i64);
        fits
    });
    // In one stage everything about an element comes before what is about its row.
    let order = |touch: &Touch<'_>| (touch.when.0, touch.when.1 == Level::Row, touch.when.2);
    same_place && read.level == write.level && is_alike && is_whole && order(read) < order(write)
}
