//! From a loop kernel and a layout to steps.

use super::code::{Code, Home, Reach, ReduceCode, Slot, StageCode, Step, Width};
use super::hold::{held_values, needed_items};
use super::layout::{Kind, Layout};
use super::reduce::{Accumulator, Reducer};
use super::reduce_lanes::{LANE_ARRAYS, LaneReducer};
use super::superinstruction::{Item, Program};
use super::transfer::{
    Gather, GatherBytes, GatherHalves, Positions, Scatter, ScatterBytes, ScatterHalves, Spread,
};
use super::{random::Words, superinstruction, tuning};
use crate::simd::Level as Simd;
use crate::vecmath::block::pick;
use crate::vecmath::half::{BFloat16, Binary16};
use crate::vecmath::operations::{Operation, block_function, may_be_single};
use crate::vecmath::update::{BLOCKS, RESULTS, SINGLES, UpdateKind, update_function};
use dropforge_ir::DType;
use dropforge_ir::quick_hash::QuickMap;
use dropforge_plan::kernel::{Access, Affine, Level, LoopKernel, Register};

/// How often a value changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rate {
    /// Never during a run.
    Once,
    /// From unit to unit.
    Unit,
    /// From iteration to iteration.
    Iteration,
}

/// Shape and rate of a register under a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Class {
    pub width: Width,
    pub rate: Rate,
}

/// Compiles a kernel for a layout. With `forward`, steps work in memory where they can: they read loaded values there,
/// and write results there. Without, memory is read and written where the kernel says so, and only then. `holds` says
/// that one thread walks over a whole row, so that a stage can hold values for later ones.
pub(super) fn compile(kernel: &LoopKernel, layout: &Layout, level: Simd, forward: bool, holds: bool) -> Code {
    let program = superinstruction::lower(kernel, layout);
    let mut compiler = Compiler::new(kernel, layout, &program, level, forward);
    if holds {
        compiler.held = held_values(&program, layout);
    }
    for stage in 0..program.stages.len() {
        compiler.stage(stage);
    }
    compiler.finish()
}

/// How many block registers the body of a kernel keeps alive at once, roughly: what decides how long they may be.
pub(super) fn live_registers(kernel: &LoopKernel) -> usize {
    let mut most = 0;
    for stage in &kernel.stages {
        let mut last = QuickMap::default();
        for (at, instruction) in stage.domain.iter().enumerate() {
            for source in instruction.sources() {
                last.insert(source, at);
            }
        }
        for reduce in &stage.reductions {
            last.insert(reduce.from, stage.domain.len());
        }
        let mut live: Vec<usize> = Vec::new();
        for (at, instruction) in stage.domain.iter().enumerate() {
            live.retain(|&end| end > at);
            if let Some(to) = instruction.target() {
                live.push(last.get(&to).copied().unwrap_or(at + 1));
            }
            most = most.max(live.len());
        }
    }
    most
}

/// Part of a stage.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Once,
    Before,
    Body,
    Row,
}

/// What a slot is for, until places are given out.
#[derive(Clone, Copy, Debug)]
enum Use {
    Memory,
    /// One element.
    Single,
    /// A row value, kept to the end of the unit.
    Row(Width),
    /// Lanes kept to the end of the unit.
    Kept,
    /// A whole row of lanes, of which each iteration has a block.
    Held,
    /// Lanes from one step to another.
    Temporary {
        first: usize,
        last: usize,
    },
}

struct Compiler<'a> {
    kernel: &'a LoopKernel,
    layout: &'a Layout,
    program: &'a Program,
    level: Simd,
    forward: bool,
    /// Values of iterations that later stages find.
    held: Vec<Register>,
    code: Code,
    uses: Vec<Use>,
    /// Slots of registers: of whole runs, of units, and of the current stage's iterations.
    values: QuickMap<Register, Slot>,
    /// Row values spread over the lanes of a packed block, and single values filled into one.
    spread: QuickMap<Register, Slot>,
    filled: QuickMap<Register, Slot>,
    /// Number of steps so far: the time by which lives are measured.
    time: usize,
    /// Values of the current items that are computed in the place where they are stored: their reaches.
    direct: QuickMap<Register, usize>,
    /// Loads in memory: their operand and position, for conflicts.
    loads: QuickMap<Slot, (usize, Affine)>,
    /// Results written early: slot, operand, position and time.
    early: Vec<(usize, Affine, usize)>,
    /// Readings of memory: operand, position and time.
    readings: Vec<(usize, Affine, usize)>,
}

impl<'a> Compiler<'a> {
    fn new(
        kernel: &'a LoopKernel,
        layout: &'a Layout,
        program: &'a Program,
        level: Simd,
        forward: bool,
    ) -> Self {
        let code = Code {
            layout: layout.clone(),
            operands: kernel.written.len(),
            slots: Vec::new(),
            reaches: Vec::new(),
            unit_moves: Vec::new(),
            streams: false,
            once: Vec::new(),
            stages: Vec::new(),
            held: Vec::new(),
            scratch_bytes: 0,
            row_area: 0..0,
            conflicts: Vec::new(),
        };
        Compiler {
            kernel,
            layout,
            program,
            level,
            forward,
            held: Vec::new(),
            code,
            uses: Vec::new(),
            values: QuickMap::default(),
            spread: QuickMap::default(),
            filled: QuickMap::default(),
            time: 0,
            direct: QuickMap::default(),
            loads: QuickMap::default(),
            early: Vec::new(),
            readings: Vec::new(),
        }
    }

    fn class(&self, register: Register) -> Class {
        self.program.classes[register.index()]
    }

    fn is_single_pass(&self) -> bool {
        self.layout.is_single_pass()
    }

    fn slot(&mut self, what: Use) -> Slot {
        self.uses.push(what);
        Slot::try_from(self.uses.len() - 1).expect("kernels are bounded")
    }

    /// A slot for the value of a register.
    fn new_value(&mut self, register: Register, level: Level) -> Slot {
        let class = self.class(register);
        let is_row = level == Level::Row;
        let what = match class.width {
            _ if self.held.contains(&register) => Use::Held,
            Width::Single if class.rate == Rate::Unit && is_row => Use::Row(Width::Single),
            Width::Single => Use::Single,
            Width::Rows => Use::Row(Width::Rows),
            Width::Lanes if is_row && self.layout.kind == Kind::Rowwise => Use::Row(Width::Lanes),
            Width::Lanes if class.rate != Rate::Iteration => Use::Kept,
            Width::Lanes => Use::Temporary { first: self.time, last: self.time },
        };
        self.slot(what)
    }

    fn read(&mut self, slot: Slot) {
        if let Use::Temporary { last, .. } = &mut self.uses[slot as usize] {
            *last = (*last).max(self.time);
        }
        if let Some((operand, index)) = self.loads.get(&slot) {
            self.readings.push((*operand, index.clone(), self.time));
        }
    }

    fn push(&mut self, part: Part, step: Step) {
        self.time += 1;
        let stage = self.code.stages.last_mut();
        match (part, stage) {
            (Part::Once, _) | (_, None) => self.code.once.push(step),
            (Part::Before, Some(stage)) => stage.before.push(step),
            (Part::Body, Some(stage)) => stage.body.push(step),
            (Part::Row, Some(stage)) => stage.row.push(step),
        }
    }

    fn stage(&mut self, number: usize) {
        self.code.stages.push(StageCode::default());
        if !self.is_single_pass() {
            // Values of iterations end with their stage.
            let (classes, held) = (&self.program.classes, &self.held);
            self.values.retain(|register, _| {
                classes[register.index()].rate != Rate::Iteration || held.contains(register)
            });
            self.spread.clear();
            self.filled.clear();
        }
        let program = self.program;
        let stage = &program.stages[number];
        self.find_direct_stores(&stage.domain, Level::Domain);
        let items = needed_items(stage, &program.classes, |register| self.values.contains_key(&register));
        for item in items {
            self.item(item, Level::Domain);
        }
        for reduce in &stage.reductions {
            self.reduce(reduce.kind, reduce.from, &reduce.to);
        }
        // Reductions come after the whole body.
        let reductions = self.code.stages.last().map(|stage| stage.reductions.iter().map(|one| one.from));
        for slot in reductions.into_iter().flatten().collect::<Vec<Slot>>() {
            self.read(slot);
        }
        self.time += 1;
        self.find_direct_stores(&stage.row, Level::Row);
        for item in &stage.row {
            self.item(item, Level::Row);
        }
        // Iterations repeat the body: what a unit keeps must not be overwritten by them.
        self.time += 1;
    }

    /// Values computed in these items that can be computed in the place where they are stored.
    fn find_direct_stores(&mut self, items: &[Item], level: Level) {
        self.direct.clear();
        if !self.forward {
            return;
        }
        for item in items {
            let Item::Store { from, access } = item else { continue };
            let class = self.class(*from);
            let is_computed = items.iter().any(|other| match other {
                Item::Compute { to, .. } => to == from,
                Item::Update { to, .. } => to.contains(from),
                _ => false,
            });
            let full = self.full_width(level);
            let rate = if level == Level::Domain { Rate::Iteration } else { Rate::Unit };
            let fits = class.width == full
                && (class.rate == rate || (self.is_single_pass() && class.rate != Rate::Once));
            let has_place = self.values.contains_key(from) || self.held.contains(from);
            if !is_computed || !fits || has_place || self.direct.contains_key(from) {
                continue;
            }
            let reach = self.reach(access.operand, access.dtype, &access.index, level, true);
            if self.code.reaches[reach].slot.is_some() {
                self.direct.insert(*from, reach);
            }
        }
    }

    /// The width of what is stored at a level.
    fn full_width(&self, level: Level) -> Width {
        match (self.layout.kind, level) {
            (Kind::Packed, Level::Row) => Width::Rows,
            (Kind::Streamed, Level::Row) => Width::Single,
            _ => Width::Lanes,
        }
    }

    /// A reach for an access; with a slot if its elements lie one after another and `direct` allows it.
    fn reach(&mut self, operand: usize, dtype: DType, index: &Affine, level: Level, direct: bool) -> usize {
        let lanes = self.layout.lane_axes(index, level);
        let looped = self.layout.looped_strides(index).to_vec();
        let outer = self.layout.outer_strides(index);
        let full = self.full_width(level);
        let is_single = full == Width::Single || lanes.is_empty() || matches!(lanes[..], [(_, 0)]);
        let width = if is_single && !direct { Width::Single } else { full };
        let in_order = matches!(lanes[..], [] | [(_, 1)]);
        let moves = level == Level::Domain && !self.is_single_pass();
        let known = self.code.reaches.len();
        let mut reach = Reach {
            operand,
            size: dtype.size(),
            offset: index.offset,
            outer,
            lanes,
            looped,
            width,
            slot: None,
        };
        if direct && in_order && dtype.size() == 4 {
            let slot = self.slot(Use::Memory);
            reach.slot = Some(slot);
            self.loads.insert(slot, (operand, index.clone()));
            let changes = |(&stride, &extent): (&i64, &usize)| stride != 0 && extent > 1;
            let varies = self.layout.kind == Kind::Streamed
                || reach.looped.iter().zip(&self.layout.columns).any(changes);
            if moves && varies {
                if let Some(stage) = self.code.stages.last_mut() {
                    stage.moves.push(known);
                }
            } else {
                self.code.unit_moves.push(known);
            }
        }
        self.code.reaches.push(reach);
        known
    }

    /// The part of the code where a value of a class is computed.
    fn part(&self, class: Class, level: Level) -> Part {
        match (class.rate, level) {
            (Rate::Once, _) => Part::Once,
            (Rate::Unit, Level::Domain) if self.layout.kind != Kind::Packed => Part::Before,
            (_, Level::Domain) => Part::Body,
            (_, Level::Row) => Part::Row,
        }
    }

    fn item(&mut self, item: &Item, level: Level) {
        if let Some(to) = item.target()
            && self.values.contains_key(&to)
        {
            return;
        }
        match item {
            Item::Store { from, access } => self.store(*from, access, level),
            Item::Load { to, access } => self.load(*to, access, level),
            Item::Index { to, index } => {
                let class = self.class(*to);
                let reach = self.reach(0, DType::I32, index, level, false);
                let slot = self.new_value(*to, level);
                let function = pick::<Positions>(self.level);
                self.push(self.part(class, level), Step::Positions { function, reach, to: slot });
                self.values.insert(*to, slot);
            }
            Item::Random { to, seed, step, stream, index } => {
                let class = self.class(*to);
                let reach = self.reach(0, DType::I32, index, level, false);
                let slot = self.new_value(*to, level);
                let part = self.part(class, level);
                let function = pick::<Positions>(self.level);
                self.push(part, Step::Positions { function, reach, to: slot });
                let function = pick::<Words>(self.level);
                let (seed, step, stream) = (*seed, *step, *stream);
                self.read(slot);
                self.push(part, Step::Words { function, to: slot, seed, step, stream, width: class.width });
                self.values.insert(*to, slot);
            }
            Item::Immediate { to, bits } => {
                // A function that makes the bits out of nothing: positions from an offset, without lanes.
                let index = Affine { offset: i64::from(*bits), rows: Vec::new(), columns: Vec::new() };
                let reach = self.constant(index.offset);
                let slot = self.slot(Use::Single);
                let function = pick::<Positions>(self.level);
                self.push(Part::Once, Step::Positions { function, reach, to: slot });
                self.values.insert(*to, slot);
            }
            Item::Compute { operation, to, arguments } => self.compute(*operation, *to, arguments, level),
            Item::Update { kind, to, blocks, singles } => self.update(*kind, to, blocks, singles),
        }
    }

    /// A reach that is one number.
    fn constant(&mut self, offset: i64) -> usize {
        self.code.reaches.push(Reach {
            operand: 0,
            size: 4,
            offset,
            outer: vec![0; self.layout.outer.len()],
            lanes: Vec::new(),
            looped: Vec::new(),
            width: Width::Single,
            slot: None,
        });
        self.code.reaches.len() - 1
    }

    fn load(&mut self, to: Register, access: &Access, level: Level) {
        let class = self.class(to);
        let part = self.part(class, level);
        let direct = self.forward && class.width != Width::Single;
        let reach = self.reach(access.operand, access.dtype, &access.index, level, direct);
        if let Some(slot) = self.code.reaches[reach].slot {
            self.values.insert(to, slot);
            return;
        }
        let slot = self.new_value(to, level);
        let function = match access.dtype {
            DType::F16 => pick::<GatherHalves<Binary16>>(self.level),
            DType::BF16 => pick::<GatherHalves<BFloat16>>(self.level),
            dtype if dtype.size() == 4 => pick::<Gather>(self.level),
            _ => pick::<GatherBytes>(self.level),
        };
        self.readings.push((access.operand, access.index.clone(), self.time));
        self.push(part, Step::Gather { function, reach, to: slot });
        self.values.insert(to, slot);
    }

    fn store(&mut self, from: Register, access: &Access, level: Level) {
        let part = if level == Level::Domain { Part::Body } else { Part::Row };
        if let Some(&reach) = self.direct.get(&from) {
            let target = &self.code.reaches[reach];
            let is_this = target.operand == access.operand;
            if is_this && target.slot.is_some_and(|slot| self.values.get(&from) == Some(&slot)) {
                return;
            }
        }
        let full = self.full_width(level);
        let reach = self.reach(access.operand, access.dtype, &access.index, level, true);
        let class = self.class(from);
        if let Some(to) = self.code.reaches[reach].slot {
            let (slot, width) = self.argument(from, full);
            let single = [width == Width::Single && full != Width::Single, false, false];
            let function = block_function(Operation::Copy, single, self.level);
            self.read(slot);
            self.early.push((access.operand, access.index.clone(), self.time));
            self.push(part, Step::Function { function, to, arguments: [slot; 3], width: full });
            return;
        }
        let slot = if class.width == Width::Single && full != Width::Single {
            self.fill(from, full, part)
        } else {
            self.argument(from, full).0
        };
        let function = match access.dtype {
            DType::F16 => pick::<ScatterHalves<Binary16>>(self.level),
            DType::BF16 => pick::<ScatterHalves<BFloat16>>(self.level),
            dtype if dtype.size() == 4 => pick::<Scatter>(self.level),
            _ => pick::<ScatterBytes>(self.level),
        };
        self.read(slot);
        self.push(part, Step::Scatter { function, reach, from: slot });
    }

    /// The slot of a register as an argument of a step of some width, spread over the lanes if need be.
    fn argument(&mut self, register: Register, width: Width) -> (Slot, Width) {
        let class = self.class(register);
        let slot = self.values[&register];
        if class.width != Width::Rows || width != Width::Lanes {
            return (slot, class.width);
        }
        if let Some(&spread) = self.spread.get(&register) {
            return (spread, Width::Lanes);
        }
        let to = self.slot(Use::Temporary { first: self.time, last: self.time });
        let function = pick::<Spread>(self.level);
        self.push(Part::Body, Step::Spread { function, from: slot, to });
        self.spread.insert(register, to);
        (to, Width::Lanes)
    }

    /// A single value in all lanes.
    fn fill(&mut self, register: Register, width: Width, part: Part) -> Slot {
        let from = self.values[&register];
        if part == Part::Body
            && let Some(&filled) = self.filled.get(&register)
        {
            return filled;
        }
        let to = match (part, width) {
            (Part::Body, _) => self.slot(Use::Temporary { first: self.time, last: self.time }),
            (_, Width::Rows) => self.slot(Use::Row(Width::Rows)),
            _ => self.slot(Use::Kept),
        };
        let function = block_function(Operation::Copy, [true, false, false], self.level);
        self.push(part, Step::Function { function, to, arguments: [from; 3], width });
        if part == Part::Body {
            self.filled.insert(register, to);
        }
        to
    }

    fn compute(&mut self, operation: Operation, to: Register, arguments: &[Register], level: Level) {
        let class = self.class(to);
        let part = self.part(class, level);
        let mut slots = [0; 3];
        let mut single = [false; 3];
        for (i, &argument) in arguments.iter().enumerate() {
            let (slot, width) = self.argument(argument, class.width);
            slots[i] = slot;
            single[i] = width == Width::Single && class.width != Width::Single;
        }
        if !may_be_single(operation, single) {
            slots[0] = self.fill(arguments[0], class.width, part);
            single[0] = false;
        }
        for slot in &mut slots[arguments.len()..] {
            *slot = 0;
        }
        for &slot in &slots[..arguments.len()] {
            self.read(slot);
        }
        let slot = self.target(to, level);
        let function = block_function(operation, single, self.level);
        self.push(part, Step::Function { function, to: slot, arguments: slots, width: class.width });
        self.values.insert(to, slot);
    }

    /// Where a value is computed: in the memory where it is stored, or in a slot of its own.
    fn target(&mut self, to: Register, level: Level) -> Slot {
        let Some(&reach) = self.direct.get(&to) else { return self.new_value(to, level) };
        let slot = self.code.reaches[reach].slot.expect("direct stores are in memory");
        let (operand, index) = self.loads[&slot].clone();
        self.early.push((operand, index, self.time));
        slot
    }

    /// An update, of elements of the domain.
    fn update(&mut self, kind: UpdateKind, to: &[Register], blocks: &[Register], singles: &[Register]) {
        let mut arguments = ([0; BLOCKS], [0; SINGLES]);
        for (slot, &register) in arguments.0.iter_mut().zip(blocks) {
            *slot = self.values[&register];
            self.read(*slot);
        }
        for (slot, &register) in arguments.1.iter_mut().zip(singles) {
            *slot = self.values[&register];
        }
        let mut targets = [0; RESULTS];
        for (target, &register) in targets.iter_mut().zip(to) {
            *target = self.target(register, Level::Domain);
            self.values.insert(register, *target);
        }
        let function = update_function(kind, self.level);
        let (blocks, singles) = arguments;
        self.push(Part::Body, Step::Update { function, to: targets, blocks, singles });
    }

    fn reduce(&mut self, kind: dropforge_plan::kernel::Reduction, from: Register, to: &[Register]) {
        let slot = if !self.values.contains_key(&from) {
            // Nothing is reduced.
            self.slot(Use::Single)
        } else if self.class(from).width == Width::Single {
            self.fill(from, Width::Lanes, Part::Body)
        } else {
            self.argument(from, Width::Lanes).0
        };
        let mut targets = [None; 2];
        for (target, &register) in targets.iter_mut().zip(to) {
            let value = self.new_value(register, Level::Row);
            self.values.insert(register, value);
            *target = Some(value);
        }
        let reducer = Reducer::new(kind, self.kernel.registers[from.index()].dtype);
        let lanes = LaneReducer::new(reducer, self.level);
        let run = reducer.run_function(self.level);
        let rows = reducer.rows_function(self.level);
        if let Some(stage) = self.code.stages.last_mut() {
            let code = ReduceCode { reducer, run, rows, lanes, from: slot, to: targets, accumulators: 0 };
            stage.reductions.push(code);
        }
    }

    /// Gives every slot its place.
    fn finish(mut self) -> Code {
        let lane_bytes = (4 * self.layout.block).next_multiple_of(64) + 128;
        let row_bytes = (4 * self.layout.rows_per_block).next_multiple_of(64) + 128;
        let mut bytes = 0usize;
        let mut take = |size: usize, align: usize| {
            let at = bytes.next_multiple_of(align);
            bytes = at + size;
            at
        };
        let mut homes = vec![Home::Memory; self.uses.len()];
        for (home, what) in homes.iter_mut().zip(&self.uses) {
            if let Use::Single = what {
                *home = Home::Scratch(take(4, 4));
            }
        }
        let row_start = take(0, 64);
        for (home, what) in homes.iter_mut().zip(&self.uses) {
            if let Use::Row(width) = what {
                *home = Home::Scratch(match width {
                    Width::Single => take(4, 4),
                    Width::Rows => take(row_bytes, 64),
                    Width::Lanes => take(lane_bytes, 64),
                });
            }
        }
        let row_end = take(0, 64);
        for (home, what) in homes.iter_mut().zip(&self.uses) {
            if let Use::Kept = what {
                *home = Home::Scratch(take(lane_bytes, 64));
            }
        }
        let columns: usize = self.layout.columns.iter().product();
        for (slot, what) in self.uses.iter().enumerate() {
            if let Use::Held = what {
                let start = take((4 * columns).next_multiple_of(64) + 128, 64);
                homes[slot] = Home::Scratch(start);
                self.code.held.push((Slot::try_from(slot).expect("kernels are bounded"), start));
            }
        }
        // Temporaries in the order in which they begin take the first place that is free.
        let mut order: Vec<usize> = (0..self.uses.len()).collect();
        let begin = |slot: usize| match self.uses[slot] {
            Use::Temporary { first, .. } => first,
            _ => 0,
        };
        order.sort_by_key(|&slot| begin(slot));
        let mut places: Vec<(usize, usize)> = Vec::new();
        for slot in order {
            if let Use::Temporary { first, last } = self.uses[slot] {
                let free = places.iter().position(|&(_, end)| end <= first);
                let place = free.unwrap_or_else(|| {
                    places.push((take(lane_bytes, 64), 0));
                    places.len() - 1
                });
                // A value that nobody reads is still written.
                places[place].1 = last.max(first + 1);
                homes[slot] = Home::Scratch(places[place].0);
            }
        }
        for stage in &mut self.code.stages {
            for reduce in &mut stage.reductions {
                let size = match self.layout.kind {
                    Kind::Rowwise => 4 * LANE_ARRAYS * self.layout.block.next_multiple_of(16),
                    Kind::Packed => row_bytes,
                    _ => size_of::<Accumulator>(),
                };
                reduce.accumulators = take(size, 64);
            }
        }
        self.code.scratch_bytes = take(64, 64) + 64;
        self.code.row_area = row_start..row_end;
        self.code.slots = homes;
        let elements = self.layout.units() * self.layout.block * self.code.unit_moves.len();
        self.code.streams = self.layout.is_single_pass() && 4 * elements > tuning::STREAM_BYTES;
        self.code.conflicts = self.conflicts();
        self.code
    }

    /// Loads that are read after a store to the same position was carried out early.
    fn conflicts(&self) -> Vec<(usize, usize)> {
        let mut pairs = Vec::new();
        for (stored, index, time) in &self.early {
            for (loaded, load_index, read_at) in &self.readings {
                if read_at > time && loaded != stored && load_index == index {
                    pairs.push((*stored, *loaded));
                }
            }
        }
        pairs.sort_unstable();
        pairs.dedup();
        pairs
    }
}
