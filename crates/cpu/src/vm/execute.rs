//! Carrying out compiled code on one thread.

use super::code::{Code, Home, ReduceCode, Slot, Step, Width};
use super::layout::{Kind, MAX_AXES};
use super::random::Draw;
use super::reduce::{Accumulator, RowInfo};
use super::reduce_lanes::ColumnInfo;
use super::transfer::Walk;
use crate::memory::AlignedBuffer;
use crate::vecmath::lanes::prefetch;
use crate::vecmath::update::{BLOCKS, RESULTS, SINGLES, UpdateFn, UpdatePointers};
use std::cell::RefCell;
use std::ops::Range;

thread_local! {
    /// Scratch memory of the thread, shared by all kernels so that it stays in the cache.
    static SCRATCH: RefCell<AlignedBuffer> = RefCell::new(AlignedBuffer::new(0));
}

/// Bytes that a thread needs to run some code.
pub(super) fn scratch_bytes(code: &Code) -> usize {
    tables_bytes(code) + code.scratch_bytes
}

fn tables_bytes(code: &Code) -> usize {
    let streams = code.unit_moves.len();
    (8 * (code.slots.len() + code.reaches.len() + code.operands + streams)).next_multiple_of(64)
}

/// Calls `body` with scratch memory of this thread. The memory grows at first use only.
pub(super) fn with_scratch(bytes: usize, body: impl FnOnce(*mut u8)) {
    SCRATCH.with_borrow_mut(|scratch| {
        if scratch.as_bytes().len() < bytes {
            *scratch = AlignedBuffer::new(bytes.div_ceil(size_of::<f32>()));
        }
        body(scratch.as_bytes_mut().as_mut_ptr());
    });
}

/// The state of one thread in one instance.
pub(super) struct Machine<'a> {
    code: &'a Code,
    /// The table of addresses, by slot.
    slots: *mut *mut u32,
    /// Positions of reaches in the current unit, in elements.
    positions: *mut i64,
    /// Addresses of the operands.
    operands: *mut *mut u8,
    /// Slots of memory that the next unit will need too, each address once; none if it will be in the cache anyway.
    streams: *mut usize,
    stream_count: usize,
    scratch: *mut u8,
    /// First lane of the block, and how many there are.
    lane: usize,
    lanes: usize,
    /// First row of a packed block, and how many there are.
    row: usize,
    rows: usize,
    /// Coordinates of the column of a rowwise layout.
    columns: [usize; MAX_AXES],
    /// Where the block after this one starts, in elements from its start, if that is not where it ends.
    ahead: Option<isize>,
}

impl<'a> Machine<'a> {
    /// Sets up the tables in `scratch`.
    ///
    /// # Safety
    /// `scratch` has [`scratch_bytes`] bytes, aligned to 64, for this machine alone as long as it lives. What `operand`
    /// gives covers every access of the kernel.
    pub unsafe fn new(code: &'a Code, scratch: *mut u8, operand: impl Fn(usize) -> *mut u8) -> Machine<'a> {
        // SAFETY: the caller's promise.
        unsafe { Machine::with_operand_aside(code, scratch, None, operand) }
    }

    /// As [`Machine::new`] with an operand that will be moved from place to place in the caches.
    ///
    /// # Safety
    /// As for [`Machine::new`].
    pub unsafe fn with_operand_aside(
        code: &'a Code,
        scratch: *mut u8,
        aside: Option<usize>,
        operand: impl Fn(usize) -> *mut u8,
    ) -> Machine<'a> {
        // SAFETY: the tables fit by the definition of `scratch_bytes`.
        unsafe {
            let slots = scratch.cast::<*mut u32>();
            let positions = slots.add(code.slots.len()).cast::<i64>();
            let operands = positions.add(code.reaches.len()).cast::<*mut u8>();
            let space = scratch.add(tables_bytes(code));
            for (slot, home) in code.slots.iter().enumerate() {
                *slots.add(slot) = match home {
                    Home::Scratch(offset) => space.add(*offset).cast(),
                    Home::Memory => std::ptr::null_mut(),
                };
            }
            for number in 0..code.operands {
                *operands.add(number) = operand(number);
            }
            for (number, reach) in code.reaches.iter().enumerate() {
                *positions.add(number) = reach.offset;
            }
            let streams = operands.add(code.operands).cast::<usize>();
            let mut stream_count = 0;
            for &number in code.unit_moves.iter().filter(|_| code.streams) {
                let reach = &code.reaches[number];
                let (Some(slot), Width::Lanes) = (reach.slot, reach.width) else { continue };
                if Some(reach.operand) == aside {
                    continue;
                }
                let address = (*operands.add(reach.operand)).wrapping_offset(4 * reach.offset as isize);
                // Until the first unit, slots hold the addresses of first elements.
                let is_known =
                    (0..stream_count).any(|other| *slots.add(*streams.add(other)) == address.cast());
                *slots.add(slot as usize) = address.cast();
                if !is_known {
                    *streams.add(stream_count) = slot as usize;
                    stream_count += 1;
                }
            }
            Machine {
                code,
                slots,
                positions,
                operands,
                streams,
                stream_count,
                scratch: space,
                lane: 0,
                lanes: 0,
                row: 0,
                rows: 0,
                columns: [0; MAX_AXES],
                ahead: None,
            }
        }
    }

    /// Moves the first element of an operand.
    ///
    /// # Safety
    /// What is accessed from now on lies there.
    pub unsafe fn move_operand(&mut self, number: usize, first: *mut u8) {
        // SAFETY: the table has an entry for every operand.
        unsafe { *self.operands.add(number) = first };
    }

    /// Computes what never changes during a run.
    ///
    /// # Safety
    /// As promised to `new`.
    pub unsafe fn once(&mut self) {
        let layout = &self.code.layout;
        // Lanes that are the same in every unit are computed for a whole block.
        (self.lane, self.lanes) = (0, layout.block);
        (self.row, self.rows) = (0, layout.rows_per_block);
        if layout.kind == Kind::Streamed {
            self.lanes = layout.columns.iter().product();
        }
        // SAFETY: the caller's promise.
        unsafe {
            for &reach in &self.code.unit_moves {
                self.place(reach);
            }
            self.steps(&self.code.once);
        }
    }

    /// Computes a unit from beginning to end.
    ///
    /// # Safety
    /// As promised to `new`; `unit` is below the layout's number; no other thread works on it.
    pub unsafe fn unit(&mut self, unit: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            self.enter(unit);
            let iterations = self.code.layout.iterations();
            for (number, stage) in self.code.stages.iter().enumerate() {
                self.steps(&stage.before);
                self.iterations(number, 0..iterations);
                if self.code.layout.kind == Kind::Rowwise {
                    self.finish_lanes(number, iterations);
                } else if self.code.layout.kind == Kind::Streamed {
                    for reduce in &stage.reductions {
                        self.put_result(reduce, 0, &*self.accumulator(reduce));
                    }
                }
                self.steps(&stage.row);
            }
        }
    }

    /// Computes some elements of an elementwise layout, counted in row-major order. `next` is where those start that
    /// will be computed after them.
    ///
    /// # Safety
    /// As promised to `new`; the elements exist; no other thread works on them.
    pub unsafe fn elements(&mut self, elements: Range<usize>, next: Option<usize>) {
        let layout = &self.code.layout;
        debug_assert_eq!(layout.kind, Kind::Elementwise);
        let rows: usize = layout.rows.iter().product();
        let mut element = elements.start;
        while element < elements.end {
            let (outer, lane) = (element / rows, element % rows);
            self.lane = lane;
            self.lanes = layout.block.min(rows - lane).min(elements.end - element);
            let ends = element + self.lanes == elements.end;
            self.ahead = next.filter(|_| ends).map(|next| next as isize - element as isize);
            element += self.lanes;
            // SAFETY: the caller's promise.
            unsafe {
                self.enter_outer(outer);
                for (number, stage) in self.code.stages.iter().enumerate() {
                    self.steps(&stage.before);
                    self.iterations(number, 0..1);
                    self.steps(&stage.row);
                }
            }
        }
    }

    /// Computes some iterations of one stage of a unit and leaves what was seen, one accumulator for each lane and
    /// reduction, in `partial`.
    ///
    /// # Safety
    /// As for `unit`; `row_values` is what [`Machine::save_rows`] saved after the stage before; `partial` has room.
    pub unsafe fn part_of_stage(
        &mut self,
        unit: usize,
        stage: usize,
        iterations: Range<usize>,
        row_values: *const u8,
        partial: *mut Accumulator,
    ) {
        let code = self.code;
        // SAFETY: the caller's promise.
        unsafe {
            self.enter(unit);
            let area = code.row_area.clone();
            std::ptr::copy_nonoverlapping(row_values, self.scratch.add(area.start), area.len());
            for earlier in &code.stages[..=stage] {
                self.steps(&earlier.before);
            }
            self.iterations(stage, iterations.clone());
            let lanes = self.lanes_of_unit();
            for (number, reduce) in code.stages[stage].reductions.iter().enumerate() {
                for lane in 0..lanes {
                    *partial.add(number * lanes + lane) = if code.layout.kind == Kind::Rowwise {
                        let arrays = self.accumulator(reduce).cast::<u32>();
                        reduce.lanes.extract(arrays, code.layout.block, lane, iterations.len())
                    } else {
                        *self.accumulator(reduce)
                    };
                }
            }
        }
    }

    /// Ends a stage of a unit whose iterations several threads have shared: `partials` gives what each has seen.
    ///
    /// # Safety
    /// As for `part_of_stage`.
    pub unsafe fn end_of_stage(
        &mut self,
        unit: usize,
        stage: usize,
        row_values: *mut u8,
        partials: impl Fn(usize) -> Option<*const Accumulator>,
    ) {
        let code = self.code;
        // SAFETY: the caller's promise.
        unsafe {
            self.enter(unit);
            let area = code.row_area.clone();
            std::ptr::copy_nonoverlapping(row_values, self.scratch.add(area.start), area.len());
            let lanes = self.lanes_of_unit();
            for (number, reduce) in code.stages[stage].reductions.iter().enumerate() {
                for lane in 0..lanes {
                    let mut total = reduce.reducer.start(0);
                    let mut thread = 0;
                    while let Some(partial) = partials(thread) {
                        let part = &*partial.add(number * lanes + lane);
                        if thread == 0 {
                            total = *part;
                        } else {
                            reduce.reducer.merge(&mut total, part);
                        }
                        thread += 1;
                    }
                    self.put_result(reduce, lane, &total);
                }
            }
            for earlier in &code.stages[..=stage] {
                self.steps(&earlier.before);
            }
            self.steps(&code.stages[stage].row);
            std::ptr::copy_nonoverlapping(self.scratch.add(area.start), row_values, area.len());
        }
    }

    /// Accumulators of a reduction in the current unit.
    pub fn lanes_of_unit(&self) -> usize {
        if self.code.layout.kind == Kind::Rowwise { self.lanes } else { 1 }
    }

    unsafe fn accumulator(&self, reduce: &ReduceCode) -> *mut Accumulator {
        // SAFETY: the compiler gave the accumulators a place in scratch memory.
        unsafe { self.scratch.add(reduce.accumulators).cast() }
    }

    /// Writes the results of a reduction of one lane or row.
    unsafe fn put_result(&self, reduce: &ReduceCode, lane: usize, seen: &Accumulator) {
        let results = reduce.reducer.finish(seen);
        for (slot, result) in reduce.to.iter().zip(results) {
            if let Some(slot) = slot {
                // SAFETY: row slots have room for the lanes of a block.
                unsafe { *(*self.slots.add(*slot as usize)).add(lane) = result };
            }
        }
    }

    /// Moves to a unit.
    unsafe fn enter(&mut self, unit: usize) {
        let code = self.code;
        let layout = &code.layout;
        let rows: usize = layout.rows.iter().product();
        let mut outer = unit;
        match layout.kind {
            Kind::Streamed => (self.lane, self.lanes) = (0, layout.columns.iter().product()),
            Kind::Packed => {
                let columns: usize = layout.columns.iter().product();
                self.row = unit * layout.rows_per_block;
                self.rows = layout.rows_per_block.min(rows - self.row);
                (self.lane, self.lanes) = (self.row * columns, self.rows * columns);
                outer = 0;
            }
            Kind::Elementwise | Kind::Rowwise => {
                let blocks = rows.div_ceil(layout.block);
                outer = unit / blocks;
                self.lane = unit % blocks * layout.block;
                self.lanes = layout.block.min(rows - self.lane);
            }
        }
        // SAFETY: the position exists.
        unsafe { self.enter_outer(outer) };
    }

    /// Moves to a position along the outer axes, the lanes being set.
    ///
    /// # Safety
    /// The position exists.
    unsafe fn enter_outer(&mut self, mut outer: usize) {
        let code = self.code;
        let layout = &code.layout;
        // SAFETY: the tables have as many entries as the code has reaches.
        unsafe {
            if !layout.outer.is_empty() {
                for (number, reach) in code.reaches.iter().enumerate() {
                    *self.positions.add(number) = reach.offset;
                }
                for (axis, &extent) in layout.outer.iter().enumerate().rev() {
                    let coordinate = (outer % extent) as i64;
                    outer /= extent;
                    if coordinate == 0 {
                        continue;
                    }
                    for (number, reach) in code.reaches.iter().enumerate() {
                        *self.positions.add(number) += reach.outer[axis] * coordinate;
                    }
                }
            }
            self.columns = [0; MAX_AXES];
            for &reach in &code.unit_moves {
                self.place(reach);
            }
        }
    }

    /// Points the slot of a reach to where it is now.
    #[inline(always)]
    unsafe fn place(&mut self, number: usize) {
        let reach = &self.code.reaches[number];
        if let Some(slot) = reach.slot {
            let (start, _) = self.range(reach.width);
            // SAFETY: slots and operands are in their tables; the address is inside the operand.
            unsafe {
                let position =
                    *self.positions.add(number) + steps(&reach.looped, &self.columns) + start as i64;
                let base = *self.operands.add(reach.operand);
                // An operand that lies aside starts outside of its memory.
                let address = base.wrapping_offset(position as isize * reach.size as isize);
                *self.slots.add(slot as usize) = address.cast();
            }
        }
    }

    /// The first of a step's elements, and how many there are.
    #[inline(always)]
    fn range(&self, width: Width) -> (usize, usize) {
        match width {
            Width::Single => (0, 1),
            Width::Rows => (self.row, self.rows),
            Width::Lanes => (self.lane, self.lanes),
        }
    }

    /// The body of a stage and what reductions add up.
    unsafe fn iterations(&mut self, number: usize, range: Range<usize>) {
        let code = self.code;
        let stage = &code.stages[number];
        // SAFETY: the caller's promise.
        unsafe {
            match code.layout.kind {
                Kind::Elementwise => self.steps_ahead(number, &stage.body),
                Kind::Packed => {
                    self.steps_ahead(number, &stage.body);
                    let columns = self.lanes / self.rows.max(1);
                    for reduce in &stage.reductions {
                        let from = *self.slots.add(reduce.from as usize);
                        let spare = self.accumulator(reduce).cast::<u32>();
                        let slot = |number: usize| reduce.to[number].map(|slot| self.slot(slot));
                        let info = RowInfo { columns, second: slot(1).unwrap_or(spare) };
                        let info: *const RowInfo = &info;
                        (reduce.rows)(slot(0).unwrap_or(spare), from, info.cast(), from, self.rows);
                    }
                }
                Kind::Streamed => {
                    let columns: usize = code.layout.columns.iter().product();
                    for reduce in &stage.reductions {
                        let start = range.start * code.layout.block;
                        *self.accumulator(reduce) = reduce.reducer.start(start);
                    }
                    if stage.body.is_empty() && stage.reductions.is_empty() {
                        return;
                    }
                    for iteration in range {
                        self.lane = iteration * code.layout.block;
                        self.lanes = code.layout.block.min(columns - self.lane);
                        for &reach in &stage.moves {
                            self.place(reach);
                        }
                        for &(slot, start) in &code.held {
                            *self.slots.add(slot as usize) = self.scratch.add(start + 4 * self.lane).cast();
                        }
                        self.steps_ahead(number, &stage.body);
                        for reduce in &stage.reductions {
                            let from = *self.slots.add(reduce.from as usize);
                            let accumulator = self.accumulator(reduce).cast();
                            (reduce.run)(accumulator, from, from, from, self.lanes);
                        }
                    }
                }
                Kind::Rowwise => self.columns_of_stage(stage, range),
            }
        }
    }

    unsafe fn columns_of_stage(&mut self, stage: &super::code::StageCode, range: Range<usize>) {
        let code = self.code;
        let block = code.layout.block;
        // SAFETY: the caller's promise.
        unsafe {
            for reduce in &stage.reductions {
                reduce.lanes.start(self.accumulator(reduce).cast(), block);
            }
            if stage.body.is_empty() && stage.reductions.is_empty() {
                return;
            }
            let extents = &code.layout.columns;
            let mut number = range.start;
            for (axis, &extent) in extents.iter().enumerate().rev() {
                self.columns[axis] = number % extent.max(1);
                number /= extent.max(1);
            }
            let start = range.start;
            for column in range {
                for &reach in &stage.moves {
                    self.place(reach);
                }
                self.steps(&stage.body);
                let info = ColumnInfo { block, column, seen: column - start };
                for reduce in &stage.reductions {
                    let from = *self.slots.add(reduce.from as usize);
                    reduce.lanes.add(self.accumulator(reduce).cast(), from, &info, self.lanes);
                }
                for (axis, &extent) in extents.iter().enumerate().rev() {
                    self.columns[axis] += 1;
                    if self.columns[axis] < extent {
                        break;
                    }
                    self.columns[axis] = 0;
                }
            }
            for reduce in &stage.reductions {
                reduce.lanes.flush(self.accumulator(reduce).cast(), block, self.lanes);
            }
            self.columns = [0; MAX_AXES];
        }
    }

    /// The results of a rowwise stage.
    unsafe fn finish_lanes(&mut self, stage: usize, seen: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            for reduce in &self.code.stages[stage].reductions {
                let arrays = self.accumulator(reduce).cast::<u32>();
                for lane in 0..self.lanes {
                    let total = reduce.lanes.extract(arrays, self.code.layout.block, lane, seen);
                    self.put_result(reduce, lane, &total);
                }
            }
        }
    }

    /// Carries out steps, and asks for the memory of the next unit between them. Steps touch one operand after another,
    /// which the hardware does not recognise as the streams they are.
    #[inline(always)]
    unsafe fn steps_ahead(&mut self, stage: usize, steps: &[Step]) {
        if stage > 0 || self.stream_count == 0 {
            // SAFETY: the caller's promise.
            return unsafe { self.steps(steps) };
        }
        if let [Step::Update { function, to, blocks, singles }] = steps {
            // It asks for memory itself.
            let ahead = 4 * self.ahead.unwrap_or(self.lanes as isize);
            // SAFETY: the caller's promise.
            return unsafe { self.update(*function, *to, *blocks, *singles, Some(ahead)) };
        }
        let bytes = 4 * self.lanes;
        let share = bytes.div_ceil(64).div_ceil(steps.len().max(1)) * 64;
        let next = 4 * self.ahead.unwrap_or(self.lanes as isize);
        let mut start = 0;
        for step in steps {
            // SAFETY: streams are slots of the table; the rest is the caller's promise.
            unsafe {
                for stream in 0..self.stream_count {
                    let slot = *self.slots.add(*self.streams.add(stream));
                    let from = slot.cast::<u8>().wrapping_offset(next).wrapping_add(start);
                    for line in (0..share.min(bytes - start.min(bytes))).step_by(64) {
                        prefetch(from.wrapping_add(line));
                    }
                }
                start += share;
                self.step(step);
            }
        }
    }

    #[inline(always)]
    unsafe fn steps(&mut self, steps: &[Step]) {
        for step in steps {
            // SAFETY: the caller's promise: the compiler made the steps for these tables.
            unsafe { self.step(step) }
        }
    }

    #[inline(always)]
    unsafe fn slot(&self, slot: u16) -> *mut u32 {
        // SAFETY: slots of steps are in the table.
        unsafe { *self.slots.add(slot as usize) }
    }

    #[inline(always)]
    unsafe fn step(&mut self, step: &Step) {
        // SAFETY: the compiler made the steps for these tables; slots have room for a block.
        unsafe {
            match step {
                Step::Function { function, to, arguments: [a, b, c], width } => {
                    let (_, count) = self.range(*width);
                    function(self.slot(*to), self.slot(*a), self.slot(*b), self.slot(*c), count);
                }
                Step::Update { function, to, blocks, singles } => {
                    self.update(*function, *to, *blocks, *singles, None);
                }
                Step::Gather { function, reach, to } => {
                    let (walk, address, count) = self.walk(*reach);
                    let walk: *const Walk = &walk;
                    function(self.slot(*to), address.cast(), walk.cast(), std::ptr::null(), count);
                }
                Step::Scatter { function, reach, from } => {
                    let (walk, address, count) = self.walk(*reach);
                    let walk: *const Walk = &walk;
                    function(address.cast(), self.slot(*from), walk.cast(), std::ptr::null(), count);
                }
                Step::Positions { function, reach, to } => {
                    let (walk, position, count) = self.walk_positions(*reach);
                    let (walk, position): (*const Walk, *const i64) = (&walk, &position);
                    function(self.slot(*to), position.cast(), walk.cast(), std::ptr::null(), count);
                }
                Step::Words { function, to, seed, step, stream, width } => {
                    let key = (*self.operands.add(*seed)).cast::<[u32; 2]>().read_unaligned();
                    let step = (*self.operands.add(*step)).cast::<u32>().read_unaligned();
                    let draw = Draw { key, step, stream: *stream };
                    let draw: *const Draw = &draw;
                    let (_, count) = self.range(*width);
                    function(self.slot(*to), std::ptr::null(), draw.cast(), std::ptr::null(), count);
                }
                Step::Spread { function, from, to } => {
                    let columns = (self.lanes / self.rows.max(1)) as u32;
                    let columns: *const u32 = &columns;
                    function(self.slot(*to), self.slot(*from), columns, std::ptr::null(), self.rows);
                }
            }
        }
    }

    /// Several values in one pass. `ahead` is the distance from memory to what will be needed of it next, in bytes.
    ///
    /// # Safety
    /// The compiler made the slots for these tables; slots have room for a block.
    #[inline(always)]
    unsafe fn update(
        &self,
        function: UpdateFn,
        to: [Slot; RESULTS],
        blocks: [Slot; BLOCKS],
        singles: [Slot; SINGLES],
        ahead: Option<isize>,
    ) {
        // SAFETY: the caller's promise; streams are slots of the table.
        unsafe {
            // Results that lie where blocks do may be listed instead of these.
            let is_stream = |slot: Slot| {
                let listed = |stream: usize| *self.slots.add(*self.streams.add(stream));
                (0..self.stream_count).any(|stream| listed(stream) == self.slot(slot))
            };
            let pointers = UpdatePointers {
                blocks: blocks.map(|slot| self.slot(slot).cast_const()),
                singles: singles.map(|slot| self.slot(slot).cast_const()),
                results: to.map(|slot| self.slot(slot)),
                ahead: blocks.map(|slot| ahead.filter(|_| is_stream(slot))),
            };
            function(&pointers, self.lanes);
        }
    }

    #[inline(always)]
    unsafe fn walk_positions(&self, number: usize) -> (Walk, i64, usize) {
        let reach = &self.code.reaches[number];
        let (start, count) = self.range(reach.width);
        let walk = Walk { axes: reach.lanes.as_ptr(), rank: reach.lanes.len(), start };
        // SAFETY: the table has an entry for every reach.
        let position = unsafe { *self.positions.add(number) } + steps(&reach.looped, &self.columns);
        (walk, position, count)
    }

    #[inline(always)]
    unsafe fn walk(&self, number: usize) -> (Walk, *mut u8, usize) {
        let reach = &self.code.reaches[number];
        // SAFETY: the address of position 0 may be outside the operand for negative steps, those of lanes are inside.
        unsafe {
            let (walk, position, count) = self.walk_positions(number);
            let base = *self.operands.add(reach.operand);
            (walk, base.wrapping_offset(position as isize * reach.size as isize), count)
        }
    }
}

/// How far coordinates are from the first element.
#[inline(always)]
fn steps(strides: &[i64], coordinates: &[usize; MAX_AXES]) -> i64 {
    strides.iter().zip(coordinates).map(|(&stride, &coordinate)| stride * coordinate as i64).sum()
}
