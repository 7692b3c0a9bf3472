//! What the machine carries out: steps over slots.

use super::layout::Layout;
use super::reduce::Reducer;
use super::reduce_lanes::LaneReducer;
use crate::vecmath::block::BlockFn;
use crate::vecmath::update::{BLOCKS, RESULTS, SINGLES, UpdateFn};

/// A place of lanes, by its position in a thread's table of addresses.
pub(super) type Slot = u16;

/// How many elements a step works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    /// One.
    Single,
    /// One for each row of a packed block.
    Rows,
    /// One for each lane.
    Lanes,
}

/// An affine walk over memory, or over numbers, in the terms of a layout.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    pub operand: usize,
    /// Bytes of an element.
    pub size: usize,
    pub offset: i64,
    /// Steps along the outer axes.
    pub outer: Vec<i64>,
    /// Extents and steps of the lanes.
    pub lanes: Vec<(usize, i64)>,
    /// Steps along columns that are visited one after another.
    pub looped: Vec<i64>,
    pub width: Width,
    /// The slot that is this memory, if its elements lie one after another.
    pub slot: Option<Slot>,
}

/// One step.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A block function.
    Function { function: BlockFn, to: Slot, arguments: [Slot; 3], width: Width },
    /// Several values in one pass.
    Update { function: UpdateFn, to: [Slot; RESULTS], blocks: [Slot; BLOCKS], singles: [Slot; SINGLES] },
    /// Memory to a block.
    Gather { function: BlockFn, reach: usize, to: Slot },
    /// A block to memory.
    Scatter { function: BlockFn, reach: usize, from: Slot },
    /// Positions.
    Positions { function: BlockFn, reach: usize, to: Slot },
    /// Positions to random words.
    Words { function: BlockFn, to: Slot, seed: usize, step: usize, stream: u32, width: Width },
    /// Row values along the columns of a packed block.
    Spread { function: BlockFn, from: Slot, to: Slot },
}

/// A reduction of a stage.
#[derive(Clone, Debug)]
pub(super) struct ReduceCode {
    pub reducer: Reducer,
    /// Adds a run of lanes to an accumulator.
    pub run: BlockFn,
    /// Reduces the rows of a packed block.
    pub rows: BlockFn,
    pub lanes: LaneReducer,
    pub from: Slot,
    /// One, or mean and variance.
    pub to: [Option<Slot>; 2],
    /// Where in scratch its accumulators, or the second words of packed rows, start, in bytes.
    pub accumulators: usize,
}

/// A stage.
#[derive(Clone, Debug, Default)]
pub(super) struct StageCode {
    /// Once for a unit, before the iterations.
    pub before: Vec<Step>,
    /// Reaches with a slot that move from iteration to iteration.
    pub moves: Vec<usize>,
    /// Once for each iteration.
    pub body: Vec<Step>,
    pub reductions: Vec<ReduceCode>,
    /// Once for a unit, after the reductions.
    pub row: Vec<Step>,
}

/// Where a slot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Home {
    /// This many bytes into a thread's scratch memory.
    Scratch(usize),
    /// In the memory of a reach.
    Memory,
}

/// A compiled kernel for one cut of its domain.
#[derive(Clone, Debug)]
pub(super) struct Code {
    pub layout: Layout,
    pub operands: usize,
    pub slots: Vec<Home>,
    pub reaches: Vec<Reach>,
    /// Reaches with a slot that move from unit to unit.
    pub unit_moves: Vec<usize>,
    /// Whether the operands are too large to stay in a cache.
    pub streams: bool,
    /// Once for a run.
    pub once: Vec<Step>,
    pub stages: Vec<StageCode>,
    /// Slots of rows that stages hold for later ones, which move from iteration to iteration, and where the rows start
    /// in scratch, in bytes.
    pub held: Vec<(Slot, usize)>,
    /// Scratch bytes of a thread, and the part of them that holds row values.
    pub scratch_bytes: usize,
    pub row_area: std::ops::Range<usize>,
    /// Pairs of a stored and a loaded operand that must not be the same memory, because the first is written
    /// before the second is read for the last time.
    pub conflicts: Vec<(usize, usize)>,
}
