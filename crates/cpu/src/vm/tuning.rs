//! Numbers that decide speed and nothing about meaning.

/// Most bytes of block registers of one kernel: what may stay in the first-level cache beside the operands.
pub(super) const REGISTER_BYTES: usize = 24 * 1024;
/// Lanes of a block register: at least, so that the cost of a step is spread over enough elements.
pub(super) const LEAST_BLOCK: usize = 256;
/// Lanes of a block register of an elementwise kernel: at most.
pub(super) const ELEMENTWISE_BLOCK: usize = 512;
/// Lanes of a block register of a kernel with columns: at most, so that rows up to this length are read once.
pub(super) const LARGEST_BLOCK: usize = 2048;
/// Innermost extent from which an elementwise kernel gives blocks to runs of the innermost axis instead of packing
/// several runs into one block.
pub(super) const ALIGNED_RUN: usize = 192;
/// Work worth a thread of its own, in nanoseconds of the estimate below.
pub(super) const GRAIN: f64 = 3000.0;
/// Iterations for each thread from which a row's columns are shared by all threads where a kernel has several
/// instances.
pub(super) const LONG_UNIT: usize = 8;
/// A column-by-column sum is added to a wider one after so many columns.
pub(super) const COLUMNS_PER_FLUSH: usize = 64;

/// Estimated nanoseconds: of starting a step, of a lane of a step, of a lane read or written along memory, and
/// elsewhere.
pub(super) const STEP: f64 = 4.0;
pub(super) const LANE: f64 = 0.04;
pub(super) const CONTIGUOUS: f64 = 0.05;
pub(super) const STRIDED: f64 = 1.0;
/// Of a run of elements that is copied into a block or out of it.
pub(super) const RUN: f64 = 3.0;
/// Of reducing one row within a block.
pub(super) const ROW: f64 = 10.0;
/// Lanes that an expensive function counts for.
pub(super) const FUNCTION: f64 = 10.0;

/// How many elements ahead memory is asked for while short runs are copied; at least a run.
pub(super) const GATHERED_AHEAD: usize = 128;
/// Most bytes that the stages of a kernel hold of a row for later ones: a part of a second-level cache.
pub(super) const HELD_BYTES: usize = 512 << 10;

/// Bytes of operands from which the next block is fetched ahead of time.
pub(super) const STREAM_BYTES: usize = 24 << 20;
